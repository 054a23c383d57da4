/* The asynchronous client of a cluster: finds the leader from any node, keeps a session for
 * exactly-once changes, retries across leader changes and reconnects with the same sequence number,
 * and holds to a deadline.
 *
 *   change: sent under (session, seq) to the leader, again after every reconnect, until answered;
 *   read:   sent to the leader, again after every reconnect.
 *
 * Nodes that are not in the options are learned from the others. When the leader owes answers and
 * is silent, the others are asked who leads, and a new leader gets everything again; the first
 * answer wins.
 *
 * Any number of requests may be in flight; what the connection does not take waits here. Thread:
 * the loop's. A client keeps its loop alive until client_close() is done. Callbacks never fire from
 * inside the call that started the request, nor from inside client_close(); inside a callback
 * everything may be called. */
#ifndef RFS_CLIENT_CLIENT_H
#define RFS_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "../base/err.h"
#include "../base/op.h"
#include "../config/config.h"
#include "../wire/codec.h"

struct client;
struct client_req;

struct client_opts {
	/* Where to start; id 0 if unknown (an endpoint). */
	struct config_node nodes[CONFIG_NODES_MAX];
	size_t n_nodes;
	char cluster[CONFIG_NAME_MAX + 1]; /* "": take what answers */
	uint32_t session_timeout_ms; /* of the session; keep-alives are sent at a third of it */
	/* What connections are encrypted and each end known by; borrowed until `closed`. NULL: plain. */
	struct tls_context *tls;
	/* Reads go to the nearest node that is connected and are answered from what that one has, with
	 * or without a quorum. They may be old, but never older than anything that this client has
	 * got an answer for: it sees its own changes, and does not go back when the node changes. */
	bool read_local;
	/* A session was lost (ended by the servers). Those of its changes that may have been done end
	 * with RFS_ESESSION, after this; those that certainly were not, and the next ones, go under
	 * another session. May be NULL. */
	void (*on_session_lost)(void *ctx, uint64_t session);
	void *ctx;
};

/* Dialling starts at once. */
struct client *client_new(uv_loop_t *loop, const struct client_opts *opts);

/* End: requests in flight end with RFS_ESHUTDOWN, the session is closed if that takes at most a
 * second; then `closed` (may be NULL) fires. Takes `c`: until `closed`, it may be used in callbacks
 * only. */
void client_close(struct client *c, void (*closed)(void *ctx), void *ctx);

/* What a request ended with. r->err: 0 or a negative errno decided by the state machine; or
 *   RFS_ENOQUORUM  deadline passed, certainly not done (a change) or not answered (a read)
 *   RFS_EUNKNOWN   deadline passed; a change that may or may not have been done, or may yet be
 *   RFS_ESESSION   as RFS_EUNKNOWN, because the session has ended
 *   RFS_ESHUTDOWN  client_close()
 * or -EFBIG for data beyond FS_WRITE_BYTES_MAX.
 * r and what it points to are borrowed during the call. */
typedef void (*client_cb)(void *ctx, const struct fs_result *r);

/* Start an operation. Everything `op` points to is copied. `timeout_ms` from now, at least 1. Never
 * NULL; the handle is dead once `cb` has been called or client_cancel() has returned. */
struct client_req *client_submit(struct client *c, const struct fs_op *op, uint64_t timeout_ms,
                                 client_cb cb, void *ctx);

/* Stop waiting: `cb` will not be called. A change may still be done. */
void client_cancel(struct client_req *r);

/* For FS_OP_LOCK. Once the servers know that it has to wait it has no deadline any more: it ends when
 * it is granted, or with its session. It keeps nothing else of this client waiting.
 *
 * interrupt: it is to wait no longer; it ends with -EINTR, or as if not asked if it was granted
 * first. Without a quorum that takes as long as it takes.
 * abandon: as client_cancel(), and the servers are told: it is no longer waited for, and a
 * whole-file lock that was granted meanwhile is given up. */
void client_interrupt_lock(struct client_req *r);
void client_abandon_lock(struct client_req *r);

/* The session that its changes go under; 0: none is open. */
uint64_t client_session(const struct client *c);

/* Number of changes sent or queued and not yet answered. */
size_t client_inflight(const struct client *c);

/* Ask one node for its status, without consensus. Fires once: `st` NULL with err if there was no
 * answer in time. `st` borrowed during the call. */
typedef void (*client_status_cb)(void *ctx, const struct wire_status *st,
                                 const struct rfs_err *err);
void client_status(struct client *c, const struct config_node *node, uint64_t timeout_ms,
                   client_status_cb cb, void *ctx);

/* Ask for something of administration: of `node`, or (NULL) of the leader, whoever that becomes. Asked again through
 * lost connections and changes of leader until the deadline. Fires once: 0 when it is done, else
 *   RFS_ENOQUORUM  deadline passed, nobody was asked
 *   RFS_EUNKNOWN   deadline passed without a last word
 *   RFS_ESHUTDOWN  client_close()
 * or what the server says; `text`, a sentence or "", is borrowed during the call. */
typedef void (*client_admin_cb)(void *ctx, int code, const char *text);
void client_admin(struct client *c, const struct config_node *node, const struct wire_admin *what,
                  uint64_t timeout_ms, client_admin_cb cb, void *ctx);

/* Changes as they happen, each once and in order, from whatever node has them: when one goes away,
 * is silent or without a leader, another one is asked to go on from there.
 *
 * `cb` is called with one or more events, or with none as a sign of life; ev->next_index and
 * next_sub are where to begin another time. With ev->lost_to != 0 no node that could be asked has
 * the changes from lost_from to lost_to any more, and it goes on behind them. ev is borrowed during
 * the call, in which client_watch_end() may be called. */
struct client_watch;
typedef void (*client_watch_cb)(void *ctx, const struct wire_events *ev);

struct client_watch_opts {
	struct fs_str prefix;          /* of paths; copied */
	uint64_t from_index, from_sub; /* 0: from now on */
};
struct client_watch *client_watch(struct client *c, const struct client_watch_opts *opts,
                                  client_watch_cb cb, void *ctx);
/* No more of it. Also of one that client_close() has ended, whose callback is never called. */
void client_watch_end(struct client_watch *w);

/* The latest changes, at most `most`, that some node knows of. Fires once, as client_status_cb. */
typedef void (*client_recent_cb)(void *ctx, const struct wire_events *ev,
                                 const struct rfs_err *err);
void client_recent(struct client *c, uint32_t most, uint64_t timeout_ms, client_recent_cb cb,
                   void *ctx);

/* The whole state of one node, the leader if there is one, as the chunks of a snapshot
 * (docs/snapshot-format.md), in order. It is at least as new as `min_index`.
 *
 * `cb` is called for each chunk; then once with p NULL: err->code 0 when all have come, or why they
 * have not: -ETIMEDOUT (nobody could begin within `timeout_ms`), what the node says. Before, it is
 * called with p NULL and -EAGAIN when the node went away or fell silent in the middle (err->msg):
 * what has come is void, and another one, or the same, is asked from the beginning, a few times.
 * It is not called any more after client_backup_end(), which is to be called in any case, and may
 * be from inside it. */
struct client_backup;
typedef void (*client_backup_cb)(void *ctx, const void *p, size_t n, const struct rfs_err *err);
struct client_backup *client_backup(struct client *c, uint64_t min_index, uint64_t timeout_ms,
                                    client_backup_cb cb, void *ctx);
void client_backup_end(struct client_backup *b);

/* From here on `node` is asked first, whatever is asked, until its connection is lost or another one
 * is chosen; NULL: nobody in particular. Reads it answers itself, as linearizable as the leader's.
 * What only the leader can do it refuses, and then that one request goes on to the leader, under the
 * same sequence number; likewise what it does not answer. client_get_info() tells of both. Before
 * `chosen_ready` it is as if it had not been chosen. */
void client_choose(struct client *c, const struct config_node *node);

/* What the client knows by itself, at once. */
struct client_info {
	uint64_t session;         /* 0: none open */
	raft_id leader;           /* 0: none known */
	char leader_address[300]; /* "" if none */
	uint64_t leader_seen_ms;  /* how long ago it last answered; UINT64_MAX: never */
	bool connected;           /* to the leader, hello done */
	size_t inflight;
	uint64_t retries, reconnects;
	struct config_node nodes[CONFIG_NODES_MAX]; /* as now known */
	bool node_up[CONFIG_NODES_MAX];             /* a ready connection exists */
	size_t n_nodes;
	raft_id chosen;         /* 0: none, or its connection was lost */
	bool chosen_ready;      /* it is connected */
	uint64_t passed_on;     /* requests that the chosen node left to the leader … */
	char passed_on_why[80]; /* … and why the last one, as "node 2 is not the leader" */
	char last_error[256];   /* why the last connection or request failed; "" */
};
void client_get_info(const struct client *c, struct client_info *info);

#endif

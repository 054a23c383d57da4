/* The node's inside. node.c: life. recover.c: from the disk to a core. drive.c: events into the core,
 * effects out. peer.c: connections to the other servers. member.c: who they are. admin.c: what
 * operators ask for. conn.c: accepted connections. serve.c: what comes in over them. apply.c: committed entries and reads. compact.c:
 * flushes, and cutting the log. snapshot_send.c, snapshot_recv.c: whole states to and from others.
 * session.c: keep-alives. watch.c, names.c: who is told of changes. version.c: the cluster's protocol version.
 * rights.c: who may do what. space.c: room on the disk. stall.c: a disk that hangs. */
#ifndef RFS_NODE_NODE_PRIV_H
#define RFS_NODE_NODE_PRIV_H

#include <utlist.h>
#include <uthash.h>
#include "node.h"
#include "../base/buf.h"
#include "../base/op.h"
#include "../metrics/histogram.h"
#include "../net/net.h"
#include "../raft/raft.h"
#include "../store/store.h"
#include "../wal/wal.h"
#include "../wire/codec.h"

#define NODE_MAGIC      0x6e6f6465u
#define NODE_CONN_MAGIC 0x6e636f6eu
#define NODE_SEND_MAGIC 0x736e6473u
#define NODE_RECV_MAGIC 0x736e6472u

/* Limits; see ARCHITECTURE.md, "Limits". */
#define NODE_APPEND_BYTES_MAX      (1u << 20)
#define NODE_INFLIGHT_BYTES_MAX    (8u << 20)
#define NODE_INFLIGHT_MSGS_MAX     256u
#define NODE_UNCOMMITTED_BYTES_MAX (64u << 20)
#define NODE_COMMIT_DELAY_MS       10u /* an idle leader tells followers of a commit this late */
#define NODE_TURN_APPLY_MAX        1024u /* entries applied before the loop looks at the network again */
#define NODE_TURN_APPLY_BYTES      (4u << 20)
#define NODE_TURN_BATCH_BYTES      (16u << 20) /* … or changed by them: a few may copy a lot */
#define NODE_TURN_APPLY_MS         20u         /* … or so long; not in the middle of an entry */
#define NODE_SEGMENT_BYTES         (16u << 20)
#define NODE_CACHE_BYTES           (32u << 20)
#define NODE_CLIENT_REQUESTS_MAX                                                                   \
	1024u /* of one connection, unanswered: then its reading pauses                            \
	       */
#define NODE_CLIENT_QUEUE_BYTES (8u << 20) /* of answers that one has not taken: likewise */
#define NODE_SLOW_SYNC_US       500000u
#define NODE_STALL_MS_MIN       1500u /* a call to the log disk that takes longer than this has hung */
/* A leader's first so many ms, in which a member that nobody has met yet may still come. */
#define NODE_VERSION_WAIT_MS 5000u

/* What has been applied is flushed after so much; a restart replays no more than that and what the
 * log keeps. */
#define NODE_FLUSH_BYTES   (16u << 20)
#define NODE_FLUSH_ENTRIES 50000u
/* The log is not cut beyond a snapshot that is on its way, unless it would keep so much more. */
#define NODE_HOLD_BYTES (128u << 20)

/* Snapshots. While clients write (a change came in of late), one takes at most this rate. */
#define NODE_SNAPSHOT_BUSY_MS     200u
#define NODE_SNAPSHOT_WINDOW      4u          /* chunks sent and not yet taken */
#define NODE_SNAPSHOT_RATE        (24u << 20) /* bytes a second */
#define NODE_SNAPSHOT_OFFER_MS    250u
#define NODE_SNAPSHOT_SILENT_MS   2000u  /* without a word it is offered again … */
#define NODE_SNAPSHOT_PATIENCE_MS 30000u /* … and then given up */
#define NODE_SNAPSHOT_AGAIN_MS    1000u  /* after a failure */

/* A server that has lost its data and asks for votes all the same is not let in for so long. */
#define NODE_SHUN_MS 5000u

/* A server that is no member keeps its connection for so long, to be told and answered. */
#define NODE_SHUN_MS  5000u /* … for so long nothing is heard from it */
#define NODE_LEAVE_MS 5000u

struct node;

/* How a server's disk stands, in order. */
enum node_room {
	NODE_ROOM_NONE = 1,  /* not even for the log */
	NODE_ROOM_SHORT = 2, /* for what frees some, and no more */
	NODE_ROOM = WIRE_ROOM_ENOUGH,
};

/* An accepted connection: a client, or another server talking to us. Lives until it is closed and
 * nobody who waits for an answer points to it. */
struct node_conn {
	uint32_t magic;
	struct node *node;
	struct net_conn *net; /* NULL once closed */
	uint64_t peer_id;     /* 0: a client */
	uint64_t incarnation; /* of the server at the other end */
	unsigned refs;
	unsigned unanswered;
	bool paused; /* too many requests without an answer */
	bool choked; /* too many bytes of answers that it has not taken */
	bool dirty;
	struct node_conn *prev, *next;             /* node->conns */
	struct node_conn *dirty_prev, *dirty_next; /* node->dirty */
};

/* Our connection to another server, over which everything for it is sent. */
struct node_peer {
	uint32_t magic;
	struct node *node;
	raft_id id;
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port;
	char address[WIRE_TEXT_MAX];
	struct net_conn *net; /* NULL while waiting to dial again */
	bool up, complained, dirty;
	bool member;         /* of the configuration in force; else it goes at leave_ms */
	bool dropped;        /* out of the list; freed when its handles are closed */
	uint64_t leave_ms;   /* a member: 0 */
	enum node_room room; /* as it said last; holds for a while */
	uint64_t room_heard_ms;
	struct net_backoff backoff;
	uv_timer_t retry;
	struct node_peer *prev, *next;
};

/* A change that waits for its entry to be applied. */
struct node_pending {
	struct raft_pos pos;
	struct node_conn *conn;
	uint64_t req_id, came_ns;
};

struct node_pending_ring {
	struct node_pending *slot;
	size_t cap, head, n;
};

/* A read that waits for its index, and then for that index to be applied. */
struct node_read {
	struct node_conn *conn;
	uint64_t req_id, came_ns;
	struct fs_op *op;
	struct node_read *next;
};

struct node_read_batch {
	uint64_t ctx;
	bool ready;
	raft_index index;
	struct node_read *reads;
	struct node_read_batch *prev, *next;
};

/* The incarnation of another server that this one has met. */
struct node_met {
	uint64_t id, incarnation;
};

/* What an operator waits for. */
struct node_admin {
	struct node_conn *conn;
	uint64_t req_id;
	enum wire_admin_kind kind;
	raft_id member;
	raft_index conf_at; /* of the entry with which the change began; 0: a transfer */
	char text[WIRE_TEXT_MAX];
	struct node_admin *next;
};

struct node_lock_wait; /* locks.c */
struct node_send;      /* snapshot_send.c */
struct node_recv;      /* snapshot_recv.c */

struct node_session {
	uint64_t id;
	uint64_t heard_ms;
	uint64_t proposed; /* the highest seq that this leader has put into its log */
	UT_hash_handle hh;
};

/* Room on the disk, and sizes chosen for it: space.c. */
struct node_space {
	uint64_t segment_bytes, uncommitted_bytes, flush_bytes, keep_bytes, hold_bytes;
	uint64_t reserve_bytes, total_bytes, free_bytes;
	enum node_room room;
	bool log_waits; /* for its next segment */
	bool reclaiming;
	bool trims, trimmed;    /* a TRIM is under way; one was applied this turn */
	uint64_t written_bytes; /* to the log since the last look */
	uint64_t unsaved_bytes; /* applied, and not in the engine for lack of room */
	uint64_t freed_ms;      /* when something was removed last; 0: never */
	uint64_t trimmed_ms;    /* when one was last asked for */
	uint64_t handed_ms, reclaim_began_ms, reclaimed_ms, said_ms;
	uv_timer_t watch;
	uv_work_t work;
};

/* What has happened since the node started; web.c tells of it. */
struct node_counts {
	uint64_t elections, terms_led, accepted, refused, denied;
	uint64_t changes, change_bytes, reads, local_reads;
	uint64_t snapshots_needed, snapshots_installed;
	struct histogram commit; /* from a change's coming in to its answer */
	struct histogram read;   /* likewise */
	struct histogram apply;  /* of one batch of entries */
};

struct node {
	uint32_t magic;
	uv_loop_t *loop;
	struct config config;
	raft_id id;
	char data_dir[CONFIG_PATH_MAX];
	void (*on_fatal)(void *ctx, const struct rfs_err *err);
	void (*on_leader)(void *ctx, raft_id leader);
	void *ctx;
	int lock_fd;
	/* Jobs and views of the store beside the loop: while any is open, the store stays. */
	unsigned store_uses;
	bool failed;
	bool joins;     /* none of the founders */
	bool removed;   /* told or seen to be no member any more */
	bool suspended; /* by an operator: takes no part */
	/* Its state has been, since it started, what the cluster had committed at some moment.
	 * Before that it may be of any age, or empty. */
	bool current;

	struct raft *raft;
	struct raft_out out;
	enum raft_role role;
	raft_index term_start; /* leader: index of its term's no-op */
	raft_index commit;
	uint64_t led_since_ms;
	raft_term quota_term;   /* in which this node looked whether the file's quota is in force */
	raft_term version_term; /* in which this node proposed to raise the cluster's version */
	uint64_t version_said_ms;

	struct wal *wal;
	struct store *store;
	uint64_t incarnation;
	struct node_met met[RAFT_MEMBERS_MAX];
	size_t n_met;
	raft_id shunned; /* has lost its data and asked for votes */
	uint64_t shunned_until_ms;

	uv_async_t wal_news; /* the writer has completions */
	uv_async_t again;    /* there is work left for another turn */
	uv_timer_t tick;
	uv_timer_t sweep; /* sessions */
	uv_prepare_t end_of_turn;
	uint64_t deadline_ms; /* what the tick timer runs to */

	struct tls_context *tls;
	struct net_identity identity;
	struct net_limits limits;
	struct net_listener *listener;
	struct config_node self; /* where it listens and serves metrics: find_self() */
	uint16_t port;
	char address[WIRE_TEXT_MAX];
	struct node_peer *peers;
	struct node_conn *conns, *dirty;
	unsigned n_choked;

	struct wire_arena *arena, *apply_arena;
	struct raft_entry *scratch; /* entries of an outgoing or applied range */
	size_t scratch_cap;

	/* gathered during a turn */
	struct buf batch_bytes;
	struct raft_entry *batch;
	struct node_pending *batch_from;
	size_t n_batch, batch_cap, batch_from_cap;
	struct node_read_batch *gathering;
	uint64_t next_read_ctx;

	struct node_pending_ring pending;
	struct node_lock_wait *lock_waits;
	struct node_read_batch *read_batches;

	struct node_admin *admins;
	uv_timer_t resume;

	/* compact.c */
	struct store_flush *flush;
	uv_work_t flush_work;
	uint64_t unflushed_bytes, unflushed_entries, flush_after_ms;

	struct node_send *sends;
	struct node_recv *recv;
	struct node_watch *watch;
	struct node_backup *backups;

	uint64_t store_bytes, store_bytes_at_ms; /* status.c */

	struct node_session *sessions;
	uint64_t last_sweep_ms, started_ms;
	uint64_t slow_said_ms, denied_said_ms;
	struct node_space space;
	bool stalled; /* the log's disk hangs */

	struct node_counts counts;
	uint64_t changed_ms; /* when the last change of a client came in */
	struct net_traffic traffic;
	struct node_web *web; /* NULL: no metrics */

	/* stopping */
	bool leaving; /* handing over before it stops */
	bool stopping;
	unsigned closing;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* node.c */
void node_closed_one(struct node *n);
void node_handover_ended(struct node *n);

/* recover.c */
/* Data directory, log, state machine, core: as they were left. */
int node_recover(struct node *n, struct rfs_err *err);
int node_open_store(struct node *n, struct rfs_err *err);
int node_unlock_dir(struct node *n);

/* drive.c */
void node_step(struct node *n, const struct raft_event *ev);
void node_end_turn(struct node *n);
void node_take_wal_news(struct node *n);
void node_fail(struct node *n, const struct rfs_err *err);
bool node_is_out(const struct node *n); /* failed, stopping or suspended: takes no part */

/* story.c */
void node_tell(struct node *n, const struct raft_notice *note);

/* peer.c */
/* A connection to `id`, dialled from now on; NULL (and a line in the log) if `address` is none. */
struct node_peer *peer_add(struct node *n, raft_id id, const char *address);
void peer_drop(struct node_peer *p);
void peer_is_back(struct node *n, raft_id id); /* it has dialled us: no need to wait */
void peers_stop(struct node *n);
struct node_peer *peer_by_id(struct node *n, raft_id id);
void peer_send(struct node *n, const struct raft_msg *m);
/* The buffer for frames to `p`, which is up; they leave at the end of the turn. */
struct buf *peer_out(struct node_peer *p);
void peers_flush(struct node *n);

/* member.c */
const char *node_address_of(const struct node *n, raft_id id); /* "" if unknown */
void members_follow(struct node *n); /* the configuration in force is another one */
void members_committed(struct node *n, const struct raft_notice *note);
void members_work(struct node *n); /* learners that have caught up become voters */
void members_sweep(struct node *n);
/* Put what is known of incarnations into a configuration to be proposed. */
void members_name(struct node *n, struct raft_conf *conf);

/* admin.c */
int admin_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err);
void admin_committed(struct node *n, raft_index conf_index);
void admin_transfer_ended(struct node *n, const char *why);
void admin_fail_all(struct node *n, int code);

/* compact.c */
void compact_work(struct node *n); /* begin a flush if one is due */
void compact_cut(struct node *n);

/* snapshot_send.c */
void sends_wanted(struct node *n, raft_id to);
void sends_take_ack(struct node *n, const struct wire_snapshot_ack *ack);
void sends_work(struct node *n); /* end those that are void */
raft_index sends_hold(
        const struct node *n); /* entries above this one are still needed; UINT64_MAX: all may go */
bool sends_has(const struct node *n, raft_id to);
/* After `bytes` of a copy of the state: not before *free_at_ms the next, so that whoever writes keeps
 * most of what the machine can do. */
void sends_pace(const struct node *n, uint64_t *free_at_ms, size_t bytes);
void sends_stop(struct node *n);

/* snapshot_recv.c */
void recv_take(struct node *n, const struct wire_snapshot *s);
void recv_work(struct node *n);
void recv_stop(struct node *n);

/* conn.c */
void conn_unref(struct node_conn *c);
void conn_gone(struct node_conn *c);      /* closed: out of the list */
void conn_taken(struct node_conn *c);     /* a request that will be answered */
void conn_answered(struct node_conn *c);  /* … was; gives the reference back */
bool conn_is_choked(struct node_conn *c); /* takes no more answers for now */
void conns_look_at_choked(struct node *n);
void conn_mark_dirty(struct node_conn *c); /* something was put into it */
void conns_flush(struct node *n);

/* serve.c */
extern const struct net_handler node_accept_handler;
void serve_propose_gathered(struct node *n);
void serve_read_gathered(struct node *n);
/* A reply as such; with where the leader is, if `hint`. */
void conn_put_reply(struct node_conn *c, uint64_t req_id, const struct fs_result *res, bool hint);
void serve_reply(struct node_conn *c, uint64_t req_id, const struct fs_result *res);
void serve_refuse(struct node_conn *c, uint64_t req_id, int code);
void serve_fail_pending(struct node *n, int code);
/* Propose a command of the node's own: 0, RFS_ENOTLEADER, or as version_judge(). */
int serve_command(struct node *n, const struct fs_op *op);
void serve_version(struct node *n, uint32_t version); /* as leader, before the turn's proposal */
void serve_push_status(struct node *n);               /* to every client: members have changed */
void pending_push(struct node_pending_ring *r, struct node_pending p);
bool pending_take(struct node_pending_ring *r, raft_index index, struct node_pending *out);

/* apply.c */
void apply_committed(struct node *n);
void reads_ready(struct node *n, const struct raft_read_ready *ready);
void reads_serve(struct node *n);
void reads_refuse_all(struct node *n);
/* As long as the state is not known to be current: find out, as by a read that nobody waits for. */
void reads_probe(struct node *n);

/* version.c */
/* The state machine has the cluster's version: make it what other servers must speak, and end
 * connections to those that do not. At start and after each entry that raises it. */
void version_applied(struct node *n);
/* As leader: propose to raise it when every member speaks a newer one. Once a turn. */
void version_look(struct node *n);
/* Whether a change may be proposed: 0, -EOPNOTSUPP, or RFS_EBUSYLIMIT while that is not settled. */
int version_judge(struct node *n, const struct fs_op *op);

/* quota.c: as leader, put the file's quota into the replicated state. Once a turn. */
void quota_look(struct node *n);

/* watch.c */
/* The state machine is open, or is another one now: changes are kept from where it stands. */
int watch_start(struct node *n, struct rfs_err *err);
void watch_change(void *ctx, const struct store_change *c); /* store_opts.on_change */
int watch_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err);
void watch_tell(struct node *n); /* what was applied since; and now and then that nothing was */
void watch_stop(struct node *n);

/* locks.c */
/* A LOCK is applied (or was), and its answer is RFS_EWAITING. */
void locks_applied(struct node *n, const struct store_cmd *cmd, const struct fs_result *res,
                   struct node_conn *c, uint64_t req_id);
void locks_take_await(struct node *n, struct node_conn *c, const struct wire_request *r);
void locks_on_news(void *ctx, const struct store_lock_news *news); /* store_opts.on_lock */
void locks_send_away(struct node *n, int code);
void locks_conn_closed(struct node *n, const struct node_conn *c);

/* session.c */
void sessions_grant_all(struct node *n);
void session_heard(struct node *n, uint64_t id);
void sessions_sweep(struct node *n);
void sessions_free(struct node *n);
void session_note_proposed(struct node *n, uint64_t id, uint64_t seq);
uint64_t session_proposed(const struct node *n, uint64_t id);

/* stall.c */
void stall_look(struct node *n);

/* space.c */
void space_choose_sizes(struct node *n); /* before log and state are opened */
void space_start(struct node *n);
void space_stop(struct node *n);
void space_end_turn(struct node *n);
void space_wrote(struct node *n, const struct raft_entry *e, size_t count); /* to the log */
void space_log_news(struct node *n, int space);                             /* wal_done's */
void space_heard(struct node *n, const struct wire_room *r);
/* A leader's answer to a change for which there is no room: -ENOSPC, certainly not done; else 0. */
int space_judge(struct node *n, const struct wire_request *r);
/* store_commit(); without room the batch stays in memory. */
int space_save(struct node *n, struct rfs_err *err);
bool space_may_apply(const struct node *n); /* not too much has stayed in memory */
void space_applied(struct node *n, const struct fs_op *op);
bool space_is_tight(const struct node *n); /* give back early what can be given back */
/* What of the log may be kept for followers, and for receivers of snapshots. */
uint64_t space_keep_bytes(const struct node *n);
uint64_t space_hold_bytes(const struct node *n);

/* incarnations.c */
int incarnations_load(struct node *n, struct rfs_err *err);
/* Whether this node has ever spoken with that server. */
bool incarnations_met(const struct node *n, uint64_t id);
/* Forget those that were removed, and believe what the configuration says. */
void incarnations_follow(struct node *n, const struct raft_conf *conf);
uint64_t incarnations_of(const struct node *n, raft_id id); /* 0: not met */
/* net_identity.judge: 0, or why that server is not let in. */
int incarnations_judge(void *ctx, uint64_t id, uint64_t incarnation, struct rfs_err *err);
/* Whether to take such a message from it: 0, or an error to end the connection with. */
int incarnations_hear(struct node *n, uint64_t id, uint64_t incarnation, enum raft_msg_kind kind,
                      struct rfs_err *err);

/* rights.c */
/* Whether who is at the other end may ask for `what`: 0, or -EACCES and a line in the log, now and then. */
int rights_judge(struct node *n, const struct node_conn *c, enum fs_right right, const char *what);

/* backup.c */
int backup_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err);
void backups_sweep(struct node *n); /* whose client has gone or is silent */
void backups_stop(struct node *n);

/* web.c */
int web_start(struct node *n, struct rfs_err *err); /* at n->self.metrics_port, if it is not 0 */
void web_stop(struct node *n);                      /* counts in n->closing */

/* status.c */
void status_fill(struct node *n, struct wire_status *st);

#endif

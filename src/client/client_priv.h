/* The client's inside. client.c: life and the one worker of a turn. request.c: tables, deadlines,
 * how a request ends. lock.c: locks that wait. link.c: a connection to one node. route.c: who leads, and what is sent there.
 * chosen.c: the node that is asked first.
 * session.c: opening, keeping and losing the session. status.c: one-off questions to one node. admin.c: what
 * operators ask for. watch.c: changes as they happen.
 *
 * How requests travel. A request waits in one of the lists of `enum req_where`; what the target
 * (the node that says it leads) shall get waits in the OUTBOX. Work is done once a turn of the loop
 * by client_work(), out of an idle handle that runs only while there is work: an active idle handle
 * keeps the loop from blocking, so nothing ever waits for a timer, and all requests of a turn leave
 * in one write. Public calls only note what is wanted and call client_schedule().
 *
 * Who leads. Only a node's own word makes it the target: its status, asked for without consensus,
 * says that it leads, with its term. What others say (refusals, statuses) tells whom to ask first.
 * The question is tiny, so while there is no target, or the target owes answers and is silent, all
 * nodes are asked again and again; requests, which may be large, are sent once to each node that
 * claims to lead. */
#ifndef RFS_CLIENT_CLIENT_PRIV_H
#define RFS_CLIENT_CLIENT_PRIV_H

#include <uthash.h>
#include <utlist.h>
#include "../net/net.h"
#include "client.h"

#define CLIENT_MAGIC       0x636c6e74u
#define CLIENT_LINK_MAGIC  0x6c696e6bu
#define CLIENT_REQ_MAGIC   0x72657175u
#define CLIENT_WAIT_MAGIC  0x77616974u
#define CLIENT_ADMIN_MAGIC 0x61646d6eu

/* Limits: bytes queued in a connection, beyond which requests wait in the client; and at which a
 * turn hands over what has gathered before its end. */
#define CLIENT_QUEUED_BYTES_MAX (32u << 20)
#define CLIENT_FLUSH_BYTES      (1u << 20)

/* Times. */
#define CLIENT_TIMEOUT_MS_MAX  (1ull << 40)
#define CLIENT_REDIAL_MIN_MS   20u
#define CLIENT_REDIAL_MAX_MS   500u
#define CLIENT_REDIAL_ALIEN_MS 2000u /* to a node of another cluster */
#define CLIENT_REDIAL_HINT_MS  100u  /* a hint skips the back-off, but not more often than this */
#define CLIENT_DOUBT_MS        400u  /* the target owes answers and gave none for this long */
#define CLIENT_SILENT_MS       3000u /* a node that owes an answer this long is dialled afresh */

#define CLIENT_ASK_MS       25u  /* between questions while there is no target … */
#define CLIENT_ASK_SLOW_MS  250u /* … after CLIENT_ASK_FAST_MS of them … */
#define CLIENT_ASK_FAST_MS  2000u
#define CLIENT_ASK_IDLE_MS  1000u /* … or while nothing waits for one */
#define CLIENT_ASK_DOUBT_MS 100u

/* without a target for this long, a claim of an older term will do */
#define CLIENT_OLD_CLAIM_MS        500u
#define CLIENT_BUSY_MS             10u /* wait after RFS_EBUSYLIMIT */
#define CLIENT_STALLED_MS          10u /* between looks at a full connection */
#define CLIENT_KEEP_ALIVE_RETRY_MS 1000u
#define CLIENT_SESSION_MS_DEFAULT  10000u
#define CLIENT_BYE_MS              1000u
#define CLIENT_ADMIN_AGAIN_MS      40u

#define CLIENT_NEVER      UINT64_MAX
#define CLIENT_NAME_BYTES 300u

/* ---- requests ---- */

enum req_where {
	REQ_NOWHERE, /* sent to the target, or will be offered to the next one */
	REQ_OUTBOX,  /* to be sent to the target */
	REQ_PARKED,  /* a change that waits for a session */
	REQ_BUSY,    /* refused for a limit: to the outbox at c->busy_at_ms */
	REQ_DONE,    /* ended with `err`: the callback comes with the next turn */
	REQ_LISTS
};

enum req_owner { REQ_OF_CALLER, REQ_OPENS_SESSION, REQ_CLOSES_SESSION, REQ_CANCELS_LOCK };

struct client_req {
	uint32_t magic;
	enum req_owner owner;
	enum req_where where;
	struct client *client;
	uint64_t id;
	struct fs_op op; /* points into `bytes` */
	client_cb cb;
	void *ctx;

	uint64_t deadline_ms, timeout_ms;
	size_t heap_at; /* in c->heap; SIZE_MAX: no deadline */

	/* Exactly once: given with the first send, the same for every copy. */
	uint64_t session, seq;
	bool is_outstanding; /* in c->by_seq: its answer is not known yet */
	bool sent;
	uint32_t open_mask; /* links, by slot, that owe an answer to a copy */
	bool passed_on;     /* the chosen node has left it to the leader */
	bool maybe;         /* a copy was lost, or may have been proposed */

	/* A lock that waits: index to ask for, and who will tell (NULL: is to be asked). */
	uint64_t waits_for;
	struct link *waits_at;
	bool interrupted;
	struct client_req *cancel,
	        *cancels; /* its LOCK_CANCEL; of a LOCK_CANCEL: the lock, or NULL */

	int err;                        /* REQ_DONE */
	UT_hash_handle hh;              /* c->by_id; kept in the order of ids */
	struct client_req *prev, *next; /* c->lists[where] */
	struct client_req *seq_prev, *seq_next;
	char bytes[];
};

/* ---- links ---- */

struct link {
	uint32_t magic;
	struct client *client;
	unsigned slot;
	raft_id id; /* 0 until somebody tells */
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port;
	/* Another address that was given for this node; the two take turns. "" if none. */
	char other_host[CONFIG_HOST_MAX + 1];
	uint16_t other_port;
	char address[CLIENT_NAME_BYTES]; /* host:port */
	bool given;                      /* in client_opts: never replaced by a learned one */

	struct net_conn *conn; /* NULL: not before dial_at_ms */
	bool up;               /* hello done, frames flow */
	bool usable;           /* up, and of our cluster */
	bool was_up, complained, dirty;
	uint64_t dial_at_ms, dialed_ms;
	struct net_backoff backoff;

	size_t n_open;        /* requests with our bit in open_mask */
	uint64_t progress_ms; /* when it last answered one, or began to owe one */
	uint64_t heard_ms;
	uint64_t asked_ms; /* CLIENT_NEVER: no question open */
	uint64_t last_asked_ms;
	uint64_t asked_us, round_trip_us; /* of the last question; 0: none was answered yet */
};

struct status_wait {
	uint32_t magic;
	struct client *client;
	uint64_t id;
	char name[CLIENT_NAME_BYTES + 32];
	struct link *link;     /* asked over this one's connection, or … */
	struct net_conn *conn; /* … over one of its own */
	uint64_t deadline_ms, timeout_ms;
	client_status_cb cb; /* NULL once called */
	void *ctx;
	bool failed; /* with `err`: the callback comes with the next turn */
	struct rfs_err err;
	struct status_wait *prev, *next;
};

struct admin_wait {
	uint32_t magic;
	struct client *client;
	struct wire_admin what;
	bool of_leader, sent;
	bool passed_on;       /* the chosen node has left it to the leader */
	struct link *node;    /* whom to ask, unless the leader */
	struct link *sent_to; /* who owes the answer; NULL: to be sent at again_ms */
	uint64_t again_ms, deadline_ms;
	char why[WIRE_TEXT_MAX]; /* what was in the way so far */
	client_admin_cb cb;
	void *ctx;
	struct admin_wait *prev, *next;
};

/* ---- the client ---- */

enum session_state { SESSION_NONE, SESSION_OPENING, SESSION_OPEN };
enum close_state { CLOSE_NOT, CLOSE_ASKED, CLOSE_SHUT };

struct client {
	uint32_t magic;
	uv_loop_t *loop;
	struct client_opts opts;
	struct net_identity identity;
	struct net_limits limits;
	uv_idle_t work;
	uv_timer_t timer;
	uint64_t timer_at_ms; /* CLIENT_NEVER: not running */
	bool scheduled;
	struct wire_arena *arena;

	uint64_t last_id; /* of requests and questions */
	struct client_req *by_id;
	struct client_req *lists[REQ_LISTS];
	struct client_req **heap; /* by deadline */
	size_t n_heap, heap_cap;
	size_t n_changes; /* of callers, not ended */
	uint64_t busy_at_ms;

	struct link *links[CONFIG_NODES_MAX];
	size_t n_links;
	struct link *target;  /* the one that says it leads; usable */
	struct link *hinted;  /* without a target: who leads as others say */
	struct link *nearest; /* opts.read_local: where reads go; NULL: to be chosen */
	struct link *chosen;  /* by the caller; NULL: nobody */
	uint64_t passed_on;
	char passed_on_why[80];
	uint64_t index_seen; /* the latest state that an answer came from */
	uint64_t leader_term;
	uint64_t leader_heard_ms;
	uint64_t no_target_since_ms, ask_at_ms;
	bool stalled; /* the outbox waits for the target's connection to drain */

	enum session_state session_state;
	uint64_t session, last_seq;
	struct client_req *by_seq; /* changes of the session without an answer, seq rising */
	uint64_t keep_alive_at_ms, keep_alive_sent_ms;
	bool keep_alive_open;

	struct status_wait *waits;
	struct client_backup *backups;
	struct admin_wait *admins;
	struct client_watch *watches;
	struct recent *recents;

	uint64_t retries, reconnects;
	char conn_error[256], last_error[256];

	enum close_state closing;
	struct client_req *bye;
	unsigned n_conns, n_handles;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

static inline uint64_t client_now(const struct client *c)
{
	return uv_now(c->loop);
}

static inline uint64_t client_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* client.c */
void client_schedule(struct client *c); /* client_work() still in this turn, or in the next */
void client_conn_gone(struct client *c);

/* request.c. Functions that end a request never call back at once, but for req_answer(). */
struct client_req *req_new(struct client *c, const struct fs_op *op, enum req_owner owner);
struct client_req *req_find(struct client *c, uint64_t id);
bool req_is_change(const struct client_req *r); /* goes under (session, seq) */
void req_set_deadline(struct client_req *r, uint64_t timeout_ms);
void req_move(struct client_req *r, enum req_where where);
/* It no longer keeps the session's answers alive: it has one and waits for more (without a deadline),
 * or there is no such session. */
void req_acknowledge(struct client_req *r, bool patient);
void req_renew(struct client_req *r); /* as if never sent */
void req_set_open(struct client_req *r, struct link *l);
bool req_clear_open(struct client_req *r, struct link *l); /* false: no copy was open there */
void req_end(struct client_req *r, int err);               /* takes r; the callback comes later */
void req_answer(struct client_req *r, const struct fs_result *res); /* takes r; calls back */
void req_drop(struct client_req *r);                                /* takes r; no callback */
void req_call_done(struct client *c);
void req_expire(struct client *c);
uint64_t req_due(const struct client *c);
uint64_t req_lowest(const struct client *c);

/* link.c */
struct link *link_add(struct client *c, raft_id id, const char *host, uint16_t port, bool given);
/* The link to node `id` at `address`, added if it is new; NULL: unparsable or no room. */
struct link *link_learn(struct client *c, raft_id id, const char *address);
struct link *link_find(struct client *c, raft_id id, const char *host, uint16_t port);
void link_dial_soon(struct link *l); /* skip the back-off, within limits */
void link_restart(struct link *l, const struct rfs_err *why);
void links_work(struct client *c);
void links_flush(struct client *c);
uint64_t links_due(const struct client *c);
struct buf *link_out(struct link *l); /* and flush at the end of the turn */
void link_describe(const struct link *l, char *out, size_t size); /* "node 2 127.0.0.1:7002" */
void link_note_error(struct client *c, const struct link *l, const char *what);

/* route.c */
void route_link_up(struct link *l);
void route_link_lost(struct link *l);
void route_take_reply(struct link *l, const struct wire_reply *reply);
void route_take_status(struct link *l, const struct wire_status *st);
void route_work(struct client *c);
uint64_t route_due(const struct client *c);
void route_refresh(struct client *c); /* ask the target who the members are */
void route_ask(struct link *l);       /* for its status, unless it owes it already */

/* chosen.c */
struct link *chosen_for(const struct client *c, const struct client_req *r); /* NULL: the target */
struct link *chosen_or_target(const struct admin_wait *w);
/* The chosen node does not take it: on to the leader, once it is known. `leader`: whom it names. */
void chosen_refused(struct client_req *r, raft_id leader);
void chosen_refused_admin(struct admin_wait *w, raft_id leader);
void chosen_work(struct client *c);
uint64_t chosen_due(const struct client *c);

/* session.c */
void session_opened(struct client *c, const struct fs_result *res);
bool session_is_over(const struct client_req *r); /* that of a change that was sent under one */
void session_refused(struct client_req *r); /* a change, for want of its session; may call back */
void session_take_keep_alive(struct client *c, const struct wire_keep_alive_reply *reply);
void session_new_target(struct client *c);
bool session_in_doubt(const struct client *c);
void session_work(struct client *c);
uint64_t session_due(const struct client *c);
void session_close(struct client *c);
void session_forget_bye(struct client *c);

/* lock.c. lock_gone() and lock_cancel_ended() may call back. */
void lock_queued(struct client_req *r, struct link *l, uint64_t asked);
void lock_gone(struct client_req *r);
void lock_cancel_ended(struct client_req *r, int err);

/* status.c */
void status_take(struct client *c, const struct wire_status *st);
void status_link_lost(struct link *l, const struct rfs_err *err);
void status_work(struct client *c);
void status_end_all(struct client *c, int code);
uint64_t status_due(const struct client *c);

/* admin.c */
void admin_take_reply(struct link *l, const struct wire_admin_reply *reply);
void admin_link_lost(struct link *l);
void admin_work(struct client *c);
void admin_end_all(struct client *c, int code);
uint64_t admin_due(const struct client *c);

/* watch.c */
void watch_take_events(struct link *l, const struct wire_events *ev);
void watch_link_lost(struct link *l);
void watch_work(struct client *c);
uint64_t watch_due(const struct client *c);
void watch_end_all(struct client *c);

/* backup.c */
void backup_take_part(struct link *l, const struct wire_backup_part *part);
void backup_link_lost(struct link *l, const struct rfs_err *why);
void backup_work(struct client *c);
uint64_t backup_due(const struct client *c);
void backup_end_all(struct client *c);

#endif

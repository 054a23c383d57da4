/* A cluster without consensus: nodes on ports of their own in the caller's loop, which answer
 * clients from one shared state, and misbehave as they are told. For tests of src/client/. */
#ifndef RFS_TESTS_FAKE_CLUSTER_H
#define RFS_TESTS_FAKE_CLUSTER_H

#include "../../src/config/config.h"
#include "../../src/net/net.h"

#define FAKE_NODES_MAX 5
#define FAKE_SEEN_MAX  65536

struct fake_cluster;
struct fake_conn;
struct fake_frame;

/* A request as a node got it. */
struct fake_seen {
	uint64_t id, session, seq, lowest;
	enum fs_op_kind kind;
	uint32_t data_len;
};

struct fake_node {
	struct fake_cluster *cluster;
	struct net_identity identity;
	struct net_listener *listener; /* NULL: down */
	uint64_t id;
	uint16_t port;
	struct fake_conn *conns;

	/* How it behaves. */
	bool frozen;            /* takes frames and does nothing, until fake_thaw() */
	bool answers_twice;     /* every reply */
	bool hides_leader;      /* no hints in refusals */
	bool serves_reads;      /* without leading, too */
	bool swallows_requests; /* answers everything else */
	bool deaf_to_locks;     /* as if no LOCK had come */
	bool drops_unapplied;   /* the next request: end of the connection, nothing done */
	bool drops_applied;     /* the next request: done, then end of the connection */
	int refuse_with; /* answer to the next `refusals` requests; then SESSION_OPEN counts too */
	unsigned refusals;
	uint64_t believes; /* who it says leads; 0: the truth */

	uint64_t events_from; /* the first change that it has; 0: all */
	bool leaderless;      /* as it says in events */

	struct fake_frame *waiting; /* while frozen */
	struct fake_seen *seen;     /* every request */
	size_t n_seen, n_waiting, n_statuses, n_keep_alives, n_accepted, n_watches;
};

struct fake_effect {
	uint64_t session, seq, value;
};

/* There is one lock, and somebody else has it until fake_grant(): every LOCK waits. */
#define FAKE_LOCKS_MAX 16
enum fake_lock_state { FAKE_LOCK_WAITS, FAKE_LOCK_GRANTED, FAKE_LOCK_CANCELLED };
struct fake_lock {
	uint64_t session, seq;
	enum fake_lock_state state;
	struct fake_conn *conn; /* whom to tell; NULL: nobody */
	uint64_t req_id;
};

struct fake_cluster {
	uv_loop_t *loop;
	struct net_limits limits;
	struct wire_arena *arena;
	struct fake_node nodes[FAKE_NODES_MAX]; /* node id - 1 */
	size_t n_nodes, n_members; /* members are told in statuses; more than n_nodes never */
	uint64_t leader, term;     /* 0: nobody leads */
	uint64_t sessions[64];     /* open ones */
	size_t n_sessions, n_opened, n_closed;
	uint64_t next_session, lowest;
	struct fake_effect *effects; /* changes that took effect, each once */
	size_t n_effects, n_duplicates, n_below_lowest;
	struct fake_lock
	        locks[FAKE_LOCKS_MAX]; /* asked for; the index to ask by is 1 + the place */
	size_t n_locks;
	uint64_t n_changes; /* watchers are told of indexes 1 … n_changes */
	unsigned stopping;
};

/* `n` nodes of cluster `name`, node 1 leads. */
struct fake_cluster *fake_cluster_new(uv_loop_t *loop, const char *name, size_t n);
void fake_cluster_free(struct fake_cluster *f); /* runs the loop until all is closed */

struct fake_node *fake_node(struct fake_cluster *f, uint64_t id);
struct config_node fake_address(struct fake_cluster *f, uint64_t id);
void fake_elect(struct fake_cluster *f, uint64_t id); /* 0: nobody; the term rises */
void fake_stop(struct fake_node *n);  /* as kill -9; runs the loop until it is down */
void fake_start(struct fake_node *n); /* again, on its port */
void fake_thaw(struct fake_node *n);  /* does now what came while frozen */
void fake_drop_conns(struct fake_node *n);
void fake_change(struct fake_cluster *f); /* one more, told by every node that does not freeze */
void fake_expire_sessions(struct fake_cluster *f);
/* Grant what was asked for as number `asked`; the token is 1000 + asked. Who is `told` hears of it
 * over the connection where it waits. */
void fake_grant(struct fake_cluster *f, uint64_t asked, bool told);
void fake_forget(struct fake_cluster *f, uint64_t asked); /* whom to tell */

#endif

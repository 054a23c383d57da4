/* A whole cluster in one process and in virtual time: the real core, the real log on simulated
 * disks, the real state machine on engines that lose in a crash what they have not flushed; a
 * network, clocks, disks and operators at their worst; clients that write, append and read.
 * Everything is drawn from one seed, so a seed replays bit for bit.
 *
 * What it is made of:
 *
 *   world.c     time, the queue of events, the run from start to rest
 *   plan.c      what the seed decides for a run, and how to overrule it
 *   net.c       messages on their way
 *   faults.c    what is done to servers and network, and when
 *   operator.c  who changes the membership, and replaces servers whose disk is lost
 *   server.h    one server and its files
 *   client.c    clients; history.c: what they asked and were told, and whether it makes sense
 *   watch.h     the invariants
 *   main.c      seeds and reports; run.c: one of them; shrink.c: a failure made smaller */
#ifndef RFS_SIM_SIM_H
#define RFS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include "../../src/base/buf.h"
#include "../../src/base/op.h"
#include "../../src/raft/raft.h"
#include "../support/linear.h"
#include "../support/rng.h"

#define SIM_SERVERS_MAX 7
#define SIM_CLIENTS_MAX 6
#define SIM_KEYS        3
#define SIM_NUMBERS_MAX 600  /* seen at once: more than fit into an inode's record … */
#define SIM_NUMBERS_PUT 200  /* … and written by one entry */
#define SIM_HISTORY_MAX 4096 /* operations on one key */
#define SIM_FAULTS_MAX  512  /* in one run */

struct sim;
struct sim_server;

/* ---- the plan ---- */

enum sim_fault {
	FAULT_CRASH,
	FAULT_CRASH_ALL,
	FAULT_DISK_CRASH, /* in the middle of a round of the log's writer */
	FAULT_PARTITION,
	FAULT_ONE_WAY,
	FAULT_BRIDGE, /* two halves that share one server */
	FAULT_LINK,   /* connections break and come back */
	FAULT_PAUSE,
	FAULT_TRANSFER,
	FAULT_CHANGE, /* of the membership */
	FAULT_CLOCK_JUMP,
	FAULT_CLOCK_DRIFT,
	FAULT_EIO,
	FAULT_FSYNC,
	FAULT_SHORT_WRITE,
	FAULT_FULL,
	FAULT_HANG,
	FAULT_ROT,    /* a flipped bit at rest */
	FAULT_WIPE,   /* the same id comes back with an empty disk */
	FAULT_EXPIRE, /* of a client's session */
	FAULT_BREAK,  /* of a lock */
	SIM_FAULTS,
};

/* What the seed decided for this run: every run has its own subset of faults and its own rates
 * (swarm testing: Groce et al., ISSTA 2012). Chances in permille, times in microseconds. */
struct sim_plan {
	unsigned servers, founders, clients; /* the other servers wait to be added */
	unsigned run_us;                     /* faults and load */
	unsigned client_retry_us, client_think_us;

	unsigned drop, duplicate;
	unsigned delay_min_us, delay_max_us;
	unsigned slow_message; /* takes up to half a second */
	unsigned old_message;  /* comes when several terms may have passed */

	unsigned disk_min_us, disk_max_us;
	unsigned slow_disk; /* a sync that takes up to half a second */
	unsigned stall_us;  /* a round that takes so long hangs */
	unsigned segment_bytes;
	unsigned uncommitted_max;

	unsigned flush_every_us, flush_us; /* of the state machine */
	unsigned margin;                   /* entries of the log kept below the last flush */
	unsigned fine_cut;                 /* the core forgets more than whole segments */
	unsigned careless_cut;             /* whatever snapshots are on their way */
	unsigned rocks;                    /* the state machines are on RocksDB */
	unsigned raise;                    /* the cluster's protocol version, under way */

	unsigned chunk_bytes, window; /* of a snapshot on its way */
	unsigned damage;              /* a chunk arrives damaged */
	unsigned install_crash;       /* somewhere in the switch to a snapshot */

	unsigned fault_every_us; /* on average; 0: none */
	unsigned weights[SIM_FAULTS];
};

/* plan.c */
void plan_draw(struct sim_plan *p, struct rng *r);
/* "drop=0,clients=1,crash=0": set what is named; false: no such thing. */
bool plan_set(struct sim_plan *p, const char *text);
void plan_print(const struct sim_plan *p);
size_t plan_knobs(void); /* what plan_set() knows, by number */
const char *plan_knob_name(size_t i);
unsigned plan_knob(const struct sim_plan *p, size_t i);

/* ---- events ---- */

enum sim_event_kind {
	/* of one life of a server */
	SIM_TICK,       /* its core's deadline */
	SIM_DISK,       /* a round of its log's writer is done */
	SIM_POLL,       /* it hears what its log's writer has done */
	SIM_FLUSH,      /* its state machine is to be flushed */
	SIM_FLUSHED,    /* … is */
	SIM_FLUSH_TOLD, /* … and it hears of it */
	SIM_SEND,       /* it looks after the snapshots it sends */
	SIM_INSTALL,    /* a snapshot that it has received is on its disk */
	/* of a server */
	SIM_MESSAGE,
	SIM_PART,    /* of a snapshot, or the answer to one */
	SIM_REQUEST, /* a client's */
	SIM_RESTART,
	SIM_RESUME,
	SIM_ROOM, /* there is room on its disk again */
	/* of a client */
	SIM_REPLY,
	SIM_CLIENT, /* time to think, or to try again */
	/* of the world */
	SIM_FAULT,
	SIM_HEAL, /* all links */
	SIM_OPERATE,
};

struct sim_message {
	struct raft_msg msg;
	uint64_t incarnation;       /* the sender's */
	struct raft_entry *entries; /* with their payloads, one allocation */
};

struct sim_part {
	raft_id from, to;
	uint64_t incarnation; /* the sender's */
	raft_term term;
	uint64_t transfer; /* number of it, unique in the run */
	bool answer, installed;
	struct raft_pos pos; /* of the snapshot */
	uint64_t number;     /* of the chunk; answer: of the one that is wanted next */
	struct buf chunk;
};

struct sim_request {
	unsigned client;
	uint64_t id, session, seq, lowest;
	raft_index committed; /* by anybody when it was asked */
	struct fs_op *op;
};

struct sim_reply {
	unsigned server;
	uint64_t id;
	struct fs_result result;
	uint8_t *data;
	raft_id leader;
};

struct sim_event {
	enum sim_event_kind kind;
	unsigned who;
	uint64_t life; /* of the server it was meant for; a client's timer: its number */
	union {
		struct sim_message *message;
		struct sim_part *part;
		struct sim_request *request;
		struct sim_reply *reply;
		uint64_t number;
	};
};

struct sim_slot { /* in the queue */
	uint64_t at_us, order;
	struct sim_event *event;
};

/* ---- clients ---- */

enum sim_client_phase { CLIENT_OPENING, CLIENT_RESOLVING, CLIENT_WORKING, CLIENT_DONE };

struct sim_client {
	unsigned at;
	enum sim_client_phase phase;
	uint64_t session, seq, next_id, timer;
	unsigned server; /* whom it will ask */
	bool busy;
	uint64_t request_id, request_seq;
	raft_index committed; /* by anybody when it first asked */
	uint64_t asked_us, deadline_us;
	struct fs_op op;
	char name[16];
	uint8_t value[8];
	unsigned key;
	uint64_t inos[SIM_KEYS];
	size_t history; /* the operation's place in its key's history */
	bool recorded;
	struct {
		uint64_t version; /* 0: none */
		uint64_t hash;
	} known[SIM_KEYS]; /* as it last saw a key */
	uint64_t nameless; /* a file that only its session knows; 0: it has none */
	uint64_t number;   /* … for numbers from this one on */
	unsigned numbers;  /* … so many of them */
	unsigned written;  /* … of which so many are in it */
	uint8_t part[SIM_NUMBERS_PUT * 8];
	uint64_t token;  /* of its lock; 0: it has none */
	unsigned locked; /* on this key */
	bool unlocks;    /* it may have one, and must be rid of it */
};

struct sim_key {
	struct linear_op ops[SIM_HISTORY_MAX];
	size_t n;
};

/* ---- the world ---- */

#define SIM_TAIL_LINES 40

/* What happened last. */
struct sim_tail {
	char lines[SIM_TAIL_LINES][160];
	unsigned n;
};

struct sim_totals {
	uint64_t steps, elections, committed, answered, crashes, transfers, changes, snapshots,
	        cuts, wiped, refused;
};

struct sim {
	uint64_t seed;
	struct sim_plan plan;
	struct rng rng;
	uint64_t now_us, order;
	struct sim_slot *heap;
	size_t n_heap, cap_heap;
	struct sim_server *servers;
	struct sim_client clients[SIM_CLIENTS_MAX];
	struct sim_key *keys;
	bool blocked[SIM_SERVERS_MAX][SIM_SERVERS_MAX];
	bool calm;     /* faults are over */
	bool expires;  /* sessions may end */
	bool operated; /* an operator is at work, and will not leave */
	unsigned n_faults;
	bool masked[SIM_FAULTS_MAX]; /* faults that do not happen */
	uint64_t next_value, next_transfer;
	struct sim_watch *watch;
	bool verbose;
	struct sim_tail *tail; /* NULL: not kept */
	jmp_buf failed;
	char failure[512];
	struct sim_totals totals;
};

/* world.c */
struct sim *sim_new(uint64_t seed);
void sim_run(struct sim *s); /* sim_fail() leaves it by s->failed */
void sim_free(struct sim *s);
struct sim_event *sim_post(struct sim *s, uint64_t after_us, enum sim_event_kind kind,
                           unsigned who);
void sim_event_free(struct sim_event *e);
void sim_fail(struct sim *s, const char *fmt, ...)
        __attribute__((format(printf, 2, 3), __noreturn__));
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* net.c */
void net_send(struct sim *s, struct sim_server *from, const struct raft_msg *m);
void net_send_part(struct sim *s, struct sim_server *from, const struct sim_part *part);
bool net_loses(struct sim *s);
uint64_t net_delay(struct sim *s); /* of a client's message; servers' may be slow or old as well */
/* Whether `v` listens to such a message of this incarnation of `from`. */
bool net_hears(struct sim_server *v, raft_id from, uint64_t incarnation, enum raft_msg_kind kind);
void net_message_free(struct sim_message *m);
void net_part_free(struct sim_part *p);

/* faults.c */
extern const struct sim_fault_kind {
	const char *name;
	unsigned odds;   /* permille of the runs that have it */
	unsigned weight; /* at most, among those of its run */
	void (*happen)(struct sim *s, struct sim_server *v, struct rng *r);
} sim_fault_kinds[SIM_FAULTS];

void faults_next(struct sim *s);
void faults_end(struct sim *s);
void faults_heal(struct sim *s);

/* operator.c */
void operator_shuffle(struct sim *s, struct rng *r); /* any membership */
void operator_start(struct sim *s);
void operator_work(struct sim *s);
/* Whether the disk of `v` may be lost, without losing more than a minority of any configuration. */
bool operator_may_lose(struct sim *s, const struct sim_server *v);
/* Whether it can be started with the file that names the founders, and not to wait until it is added. */
bool operator_trusts_file(const struct sim *s, const struct sim_server *v);
/* `v` learns that `conf` is committed. */
void operator_committed(struct sim_server *v, const struct raft_conf *conf);

/* history.c */
/* `more`: numbers behind the first, of linear_number(). */
void history_asked(struct sim *s, struct sim_client *c, enum linear_kind kind, uint64_t value,
                   uint64_t more);
void history_answered(struct sim *s, struct sim_client *c, const struct fs_result *r);
void history_forget(struct sim *s, struct sim_client *c); /* it certainly was not done */
void history_judge(struct sim *s);

/* client.c */
void client_take(struct sim *s, struct sim_event *e); /* takes `e` */
bool clients_done(const struct sim *s);

#endif

/* One server: the core, its log and its state machine, driven as src/node/ does it.
 *
 *   server.c    steps of the core and what they ask for; events
 *   boot.c      start and recovery, crash, an empty disk
 *   serve.c     clients' requests, applying, answers
 *   disk.c      rounds of the log's writer, and what the disk does to them
 *   place.c     where the state machine lives, and what a crash leaves of it
 *   flush.c     its flushes, and the log that is cut behind them
 *   send.c      snapshots out
 *   receive.c   snapshots in, and the switch to one */
#ifndef RFS_SIM_SERVER_H
#define RFS_SIM_SERVER_H

#include "../../src/store/snapshot.h"
#include "../../src/store/store.h"
#include "../../src/wal/wal.h"
#include "../support/memfs.h"
#include "sim.h"

/* How a process ends. */
enum server_end {
	END_KILL,  /* what it wrote is still in the system's cache */
	END_POWER, /* of what was not synced, any part */
	END_POWER_ALL,
};

struct sim_pending {
	struct raft_pos pos;
	unsigned client;
	uint64_t id;
};

struct sim_read {
	uint64_t ctx;
	bool ready;
	raft_index index, committed;
	unsigned client;
	uint64_t id;
	struct fs_op *op;
};

/* A clock that runs at `rate` permille of the world's. */
struct sim_clock {
	uint64_t at_us, since_us;
	unsigned rate;
	int64_t wall_us; /* how far the date is off */
};

/* A snapshot on its way out. */
struct sim_sender {
	raft_id to; /* 0: free */
	raft_term term;
	uint64_t transfer;
	struct store_snapshot *sn;
	uint64_t acked, sent; /* chunks */
	bool all;             /* the last one has been sent */
	uint64_t heard_us, progress_us;
};

/* … and on its way in; at most one at a time. */
struct sim_receiver {
	struct store_import *im; /* NULL: none, or finished */
	bool active, finished;
	raft_id from;
	raft_term term;
	uint64_t transfer;
	struct raft_pos pos;
	uint64_t ready_us; /* when all of it is on disk */
};

/* What watch_*.c remembers of it. Positions are kept by index, as terms. */
struct sim_seen {
	raft_term term, said_term, led_term;
	raft_id vote; /* in `term` */
	raft_index commit, applied, led_last;
	raft_term *durable_terms; /* of the log it has reported durable, across lives */
	raft_index durable, cap_durable;
	raft_term *disk_terms; /* of the log as its disk has it */
	raft_index disk_last, disk_changed, cap_disk;
	raft_index *
	        confs; /* where configurations stand: the state machine's, and the log's behind it */
	size_t n_confs, cap_confs;
	raft_index flushed;        /* what its state machine would come back with */
	struct raft_pos switching; /* to this snapshot, if it had come so far */
	bool switching_drops;      /* … and its log with it */
	uint64_t incarnation, incarnation_before;
	/* of the disk that it lost, until it is a member without it */
	raft_term *ghost_terms;
	raft_index ghost;
};

struct sim_server {
	struct sim *sim;
	raft_id id;
	unsigned at; /* index of this server */
	bool up, paused;
	uint64_t life;
	struct raft_conf conf_before; /* in force before the present step, or when it ended */
	bool conf_changed;            /* by that step */

	/* on disk */
	struct memfs *disk;
	struct sim_place *place;
	uint64_t incarnation;
	bool lost_its_disk;            /* once, or more often */
	uint64_t met[SIM_SERVERS_MAX]; /* incarnations of the others; 0: not met */
	enum server_end end;           /* how its last life ended */
	uint64_t rot;                  /* not 0: a bit flips before it starts again */
	bool rotten;                   /* … did */
	bool broken;                   /* it refuses to start, rightly */
	bool lost;                     /* it is a stranger on an empty disk */
	bool joins;                    /* … and was told to wait until it is added */
	bool full;

	/* of this life */
	struct wal *wal;
	struct store *store;
	struct raft *raft;
	struct raft_out out;
	uint32_t inflight_max; /* bytes */
	enum raft_role role;
	struct sim_clock clock;
	uint64_t tick_at_us;
	bool disk_busy;
	uint64_t disk_since_us; /* that it has been at the present round; 0: at none */
	bool stalled;           /* … for too long, as the core knows */
	bool dying;             /* the next disk round is cut by a power failure */
	bool disk_faulty;       /* a call will fail, or did */
	uint64_t hung_until;    /* no disk round ends before */
	struct store_flush *flush;
	bool flush_done; /* but not told */
	struct sim_sender senders[SIM_SERVERS_MAX];
	bool sending; /* SIM_SEND is due */
	struct sim_receiver receiver;
	struct sim_pending *pending;
	size_t n_pending, cap_pending;
	struct sim_read *reads;
	size_t n_reads, cap_reads;
	uint64_t next_ctx;
	raft_term raised_in;     /* it has proposed a version */
	struct sim_event **held; /* what arrives while it is paused */
	size_t n_held, cap_held;

	struct sim_seen seen;
};

/* server.c */
void server_step(struct sim_server *v, struct raft_event ev);
void server_end_turn(struct sim_server *v);
void server_take(struct sim_server *v, struct sim_event *e); /* takes `e` */
void server_change(struct sim_server *v, const struct raft_conf *conf);
void server_transfer(struct sim_server *v, raft_id to); /* 0: the best voter */
void server_link_lost(struct sim_server *v, raft_id peer);
void server_pause(struct sim_server *v);
void server_resume(struct sim_server *v);
uint64_t server_now_us(const struct sim_server *v); /* as its clock has it */
void server_set_clock(struct sim_server *v, uint64_t jump_us, unsigned rate);

/* boot.c */
void server_init(struct sim_server *v, struct sim *s, unsigned at);
void server_start(struct sim_server *v); /* or not: see `broken`, or later */
void server_crash(struct sim_server *v, enum server_end end);
void server_wipe(struct sim_server *v);
void server_free(struct sim_server *v);

/* serve.c */
void serve_request(struct sim_server *v, const struct sim_request *q);
void serve_own(struct sim_server *v, const struct fs_op *op);
void serve_trim(struct sim_server *v); /* a leader frees some of what waits for it */
void serve_raise_version(struct sim_server *v);
void serve_read_ready(struct sim_server *v, const struct raft_read_ready *ready);
void serve_reads(struct sim_server *v);
void serve_apply(struct sim_server *v);
void serve_fail_pending(struct sim_server *v, raft_index upto);
void serve_forget(struct sim_server *v); /* at the end of a life */
void serve_membership(struct sim_server *v, struct raft_conf *conf, raft_index *index);

/* disk.c */
void disk_starts(struct sim_server *v);
void disk_look(struct sim_server *v); /* does it hang? */
void disk_work(struct sim_server *v);
void disk_poll(struct sim_server *v);
void disk_full(struct sim_server *v, uint64_t room);
void disk_room(struct sim_server *v);

/* place.c: the state machine's own disk. */
struct sim_place *place_new(struct sim *s);
void place_fill(struct sim_place *p, bool full); /* flushes find no room */
bool place_refuses(const struct sim_place *p);   /* … do they? */
int place_open(struct sim_place *p, struct store **store, struct rfs_err *err);
void place_close(struct sim_place *p, struct store *store); /* … in peace */
void place_crash(struct sim_place *p, struct store *store); /* store NULL: none is open */
int place_import_begin(struct sim_place *p, struct store_import **im, struct rfs_err *err);
/* The finished import takes the place of the store, which is closed. False: the power went before,
 * in the middle or behind. */
bool place_switch(struct sim_place *p, struct store *store, bool crash, struct rng *r);
void place_free(struct sim_place *p);

/* flush.c */
void flush_begin(struct sim_server *v);
void flush_work(struct sim_server *v);
void flush_end(struct sim_server *v);
void flush_forget(struct sim_server *v, bool done);

/* send.c */
void send_start(struct sim_server *v, raft_id to);
void send_answer(struct sim_server *v, const struct sim_part *p);
void send_look(struct sim_server *v);  /* the timer */
void send_check(struct sim_server *v); /* end those that are void */
void send_forget(struct sim_server *v);
raft_index send_lowest(const struct sim_server *v); /* position of a snapshot on its way */

/* receive.c */
void receive_chunk(struct sim_server *v, const struct sim_part *p);
void receive_check(struct sim_server *v);
void receive_install(struct sim_server *v, uint64_t transfer);
void receive_forget(struct sim_server *v);

#endif

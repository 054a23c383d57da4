/* A whole cluster in one process and in virtual time: the real core, the real log on simulated
 * disks, the real state machine on the in-memory engine; a network that drops, delays, duplicates
 * and reorders; partitions, pauses and crashes that lose what was not synced; clients that put,
 * append and read. Everything is drawn from one seed, so a seed replays bit for bit.
 *
 * world.c: time, network, faults. server.c: one server, driven as src/node/ drives it. client.c:
 * clients and their history. watch.c: the invariants, checked after every step. main.c: seeds and
 * reports. */
#ifndef RFS_SIM_SIM_H
#define RFS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include "../../src/base/op.h"
#include "../../src/raft/raft.h"
#include "../../src/store/store.h"
#include "../../src/wal/wal.h"
#include "../support/linear.h"
#include "../support/memfs.h"
#include "../support/rng.h"

#define SIM_SERVERS_MAX 7
#define SIM_CLIENTS_MAX 6
#define SIM_KEYS        3
#define SIM_HISTORY_MAX 4096 /* operations on one key */

struct sim;

/* What the seed decided for this run: every run has its own subset of faults and its own rates
 * (swarm testing: Groce et al., ISSTA 2012). Chances in permille, times in microseconds. */
struct sim_plan {
	unsigned servers, founders, clients; /* the other servers wait to be added */
	unsigned drop, duplicate;
	uint64_t delay_min_us, delay_max_us;
	unsigned slow_message; /* a message that takes up to half a second */
	uint64_t disk_min_us, disk_max_us;
	unsigned slow_disk;      /* a sync that takes up to half a second */
	uint64_t fault_every_us; /* on average; 0: none */
	unsigned crash, crash_all, partition, one_way, pause, disk_crash, transfer,
	        change; /* weights among faults */
	unsigned client_retry_us;
	uint64_t run_us; /* faults and load */
};

enum sim_event_kind {
	SIM_TICK,    /* server: its core's deadline */
	SIM_DISK,    /* server: a round of its log's writer is done */
	SIM_POLL,    /* server: it hears what its log's writer has done */
	SIM_MESSAGE, /* server: a message arrives */
	SIM_REQUEST, /* server: a client's request arrives */
	SIM_REPLY,   /* client: an answer arrives */
	SIM_CLIENT,  /* client: time to think, or to try again */
	SIM_FAULT,   /* world: the next fault */
	SIM_RESTART, /* server */
	SIM_RESUME,  /* server */
	SIM_HEAL,    /* world: all links */
	SIM_OPERATE, /* world: after the faults, an operator who wants every server to vote */
};

struct sim_message {
	struct raft_msg msg;
	struct raft_entry *entries; /* with their payloads, one allocation */
};

struct sim_request {
	unsigned client;
	uint64_t id, session, seq, lowest;
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
	uint64_t at_us, order;
	enum sim_event_kind kind;
	unsigned who;
	uint64_t life; /* of the server it was meant for: an older one's disk and timer events are
	                  void */
	union {
		struct sim_message *message;
		struct sim_request *request;
		struct sim_reply *reply;
	};
};

struct sim_pending {
	struct raft_pos pos;
	unsigned client;
	uint64_t id;
};

struct sim_read {
	uint64_t ctx;
	bool ready;
	raft_index index;
	unsigned client;
	uint64_t id;
	struct fs_op *op;
};

struct sim_server {
	struct sim *sim;
	raft_id id;
	unsigned at; /* index of this server */
	bool up, paused;
	uint64_t life;
	struct memfs *disk;
	struct wal *wal;
	struct store *store;
	struct raft *raft;
	struct raft_out out;
	struct raft_conf conf_before; /* in force before the present step */
	enum raft_role role;
	uint64_t tick_at_us;
	bool disk_busy;
	bool dying; /* the next disk round is cut by a power failure */
	struct sim_pending *pending;
	size_t n_pending, cap_pending;
	struct sim_read *reads;
	size_t n_reads, cap_reads;
	uint64_t next_ctx;
	struct sim_event **held; /* what arrives while it is paused */
	size_t n_held, cap_held;

	/* what watch.c remembers of it */
	raft_term seen_term, said_term, led_term;
	raft_id seen_vote; /* in seen_term */
	raft_index seen_commit, seen_applied, led_last;
	raft_term *durable_terms; /* of the log it has reported durable, across lives */
	raft_index durable, cap_durable;
	raft_term *disk_terms; /* of the log as its disk has it */
	raft_index disk_last, disk_changed, cap_disk;
};

enum sim_client_phase { CLIENT_OPENING, CLIENT_RESOLVING, CLIENT_WORKING, CLIENT_DONE };

struct sim_client {
	unsigned at;
	enum sim_client_phase phase;
	uint64_t session, seq, next_id, timer;
	unsigned server; /* whom it will ask */
	bool busy;
	uint64_t request_id, request_seq;
	uint64_t asked_us, deadline_us;
	struct fs_op op;
	char name[16];
	uint8_t value[8];
	unsigned key;
	uint64_t inos[SIM_KEYS];
	size_t history; /* the operation's place in its key's history */
	bool recorded;
};

struct sim_key {
	struct linear_op ops[SIM_HISTORY_MAX];
	size_t n;
};

struct sim_entry_key {
	raft_index index;
	raft_term term;
};

struct sim {
	uint64_t seed;
	struct sim_plan plan;
	struct rng rng;
	uint64_t now_us, order;
	struct sim_event **heap;
	size_t n_heap, cap_heap;
	struct sim_server servers[SIM_SERVERS_MAX];
	struct sim_client clients[SIM_CLIENTS_MAX];
	struct sim_key *keys;
	bool blocked[SIM_SERVERS_MAX][SIM_SERVERS_MAX];
	bool calm; /* faults are over */
	uint64_t next_value;
	struct sim_watch *watch;
	bool verbose;
	jmp_buf failed;
	char failure[512];
	/* for the report */
	uint64_t steps, elections, committed, answered, crashes, transfers, changes;
};

/* world.c */
void sim_run(struct sim *s);
void sim_plan_draw(struct sim_plan *p, struct rng *r);
struct sim_event *sim_post(struct sim *s, uint64_t after_us, enum sim_event_kind kind,
                           unsigned who);
uint64_t sim_now_ms(const struct sim *s);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
void sim_trace(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_send(struct sim *s, struct sim_server *from, const struct raft_msg *m);
void sim_message_free(struct sim_message *m);

/* server.c */
void server_init(struct sim_server *v, struct sim *s, unsigned at);
void server_start(struct sim_server *v);
void server_crash(struct sim_server *v);
void server_change(struct sim_server *v, const struct raft_conf *conf);
void server_transfer(struct sim_server *v, raft_id to); /* 0: the best voter */
void server_free(struct sim_server *v);
void server_take(struct sim_server *v, struct sim_event *e);

/* client.c */
void client_take(struct sim *s, struct sim_event *e);
bool clients_done(const struct sim *s);
void clients_judge(struct sim *s);

/* watch.c */
struct sim_watch *watch_new(void);
void watch_free(struct sim_watch *w);
void watch_started(struct sim_server *v, const struct wal_recovered *rec);
void watch_append(struct sim_server *v, const struct raft_entry *entries, size_t n);
void watch_message(struct sim_server *v, const struct raft_msg *m);
void watch_step(struct sim_server *v);
void watch_synced(struct sim_server *v); /* a round of the log's writer is done */
void watch_applied(struct sim_server *v);
void watch_reply(struct sim *s, uint64_t session, uint64_t seq, const struct fs_result *r);
void watch_end(struct sim *s);

#endif

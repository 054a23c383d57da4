/* A cluster of consensus cores in one process, for tests: a network that keeps every message until
 * it is told what to do with it, disks that keep every write pending until it is told to be
 * durable, and one clock. Nothing happens by itself, and the same calls always give the same
 * cluster.
 *
 * After every step the safety properties are checked (cores_check.c); the first one that fails is
 * kept in `failure`. */
#ifndef RFS_TESTS_CORES_H
#define RFS_TESTS_CORES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../src/raft/raft.h"

#define CORES_MAX       9
#define CORES_READS_MAX 256
#define CORES_SNAPSHOT  31u /* stands for a kind of message: a snapshot on its way */

struct core_log {
	struct raft_pos base;
	struct raft_entry *e; /* data: text that lives as long as the process */
	size_t n, cap;
};

struct core_write {
	bool state;
	uint64_t epoch;
	raft_term term;
	raft_id vote;
	struct raft_entry *e; /* replaces the log from e[0] on */
	size_t n;
};

struct core_read {
	uint64_t ctx;
	raft_index min; /* committed anywhere when it was asked */
};

struct core {
	raft_id id;
	struct raft_opts opts;
	struct raft *r; /* NULL: down */
	struct raft_out out;
	uint64_t deadline_ms;
	bool want_flush;
	bool joining; /* boots with an empty configuration */
	bool slow;    /* writes stay pending even while the cluster persists by itself */

	struct core_log log, disk;
	raft_term disk_term;
	raft_id disk_vote;
	raft_index commit;  /* what may be applied */
	raft_index applied; /* what a restart finds applied */
	/* And the configuration then, once its log was cut or dropped; and the last snapshot. */
	struct raft_conf applied_conf;
	raft_index applied_conf_index;
	bool has_applied_conf;
	struct raft_pos installed;
	struct raft_conf conf_before; /* in force before the step that is checked */
	raft_index checked;           /* commits compared with the others' so far */
	struct core_write *writes;
	size_t n_writes, cap_writes;
	struct core_read reads[CORES_READS_MAX];
	size_t n_reads;
};

struct cores_msg {
	struct raft_msg m; /* m.entries: own copy, or NULL */
	bool snapshot;     /* m.kind is none; a whole state up to m.pos, with its configuration */
	struct raft_conf conf;
	raft_index conf_index;
};

struct cores_ballot {
	raft_term term;
	raft_id voter, candidate;
};

struct cores {
	struct core node[CORES_MAX]; /* node[id - 1] */
	unsigned n;
	struct raft_conf conf; /* what every node but a joining one finds when it boots, unless its
	                          log says otherwise; at first all are voters */
	uint64_t now_ms;
	bool auto_persist, auto_flush;
	bool cut[CORES_MAX][CORES_MAX];

	struct cores_msg *net; /* oldest first */
	size_t n_net, cap_net;

	void (*trace)(void *ctx, const char *line);
	void *trace_ctx;
	uint32_t hidden; /* bit per message kind: not traced */

	void **texts; /* payloads of configurations; they live as long as the cluster */
	size_t n_texts, cap_texts;

	/* What the checks remember. */
	struct raft_entry *committed; /* committed[i - 1]; terms only below a base */
	size_t n_committed, cap_committed;
	struct cores_ballot *leaders; /* candidate leads term */
	size_t n_leaders, cap_leaders;
	struct cores_ballot *ballots;
	size_t n_ballots, cap_ballots;
	uint64_t n_protocol; /* notices of broken protocol */
	uint64_t n_reads_done, n_reads_failed;
	char failure[256];
};

/* `opts` without id; each node gets its own seed from opts->seed. All nodes are down. */
void cores_init(struct cores *c, unsigned n, const struct raft_opts *opts);
void cores_free(struct cores *c);
struct core *cores_node(struct cores *c, raft_id id); /* NULL: no such node */

/* What a node finds when it boots; only while it is down. */
void cores_set_disk(struct cores *c, raft_id id, raft_term term, raft_id vote, struct raft_pos base,
                    const raft_term *terms, size_t n, raft_index applied);
void cores_boot(struct cores *c, raft_id id);
void cores_crash(struct cores *c, raft_id id); /* what was not durable is gone */

void cores_step(struct cores *c, raft_id id, struct raft_event ev); /* nothing if it is down */
/* One step that may be refused, and the rest of its turn; the error of the step. */
int cores_command(struct cores *c, raft_id id, struct raft_event ev);
/* What it may apply is on its state machine's disk, whatever becomes of its log. */
void cores_apply(struct cores *c, raft_id id);
/* Cut its log behind `index`, or as far as it has applied, whichever is less. */
void cores_cut(struct cores *c, raft_id id, raft_index index);
void cores_tick(struct cores *c, raft_id id);
int cores_propose(struct cores *c, raft_id id, const char *const *texts, size_t n);
void cores_read(struct cores *c, raft_id id, uint64_t ctx);
/* Make pending writes durable, oldest first; `n` of each kind at most. */
void cores_persist(struct cores *c, raft_id id, bool state, bool log, size_t n);

void cores_deliver(struct cores *c,
                   size_t i); /* message net[i] leaves the network for its receiver */
void cores_drop(struct cores *c, size_t i);
void cores_duplicate(struct cores *c, size_t i);           /* a copy at the end */
void cores_put(struct cores *c, const struct raft_msg *m); /* entries are copied */
void cores_stabilize(struct cores *c);                     /* deliver until nothing is under way */

void cores_tracef(struct cores *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cores_fail(struct cores *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* cores_trace.c */
void cores_msg_text(const struct raft_msg *m, char *text, size_t size);
void cores_trace_notice(struct cores *c, const struct core *k, const struct raft_notice *n);
void cores_trace_log(struct cores *c, const struct core *k);
void cores_trace_conf(struct cores *c, const struct core *k);
void cores_trace_status(struct cores *c, const struct core *k);

/* cores_check.c */
const struct raft_entry *core_log_at(const struct core_log *log,
                                     raft_index index); /* NULL: outside */
raft_term core_log_term(const struct core_log *log, raft_index index);
raft_index core_log_last(const struct core_log *log);
void cores_check_msg(struct cores *c, const struct core *from, const struct raft_msg *m);
void cores_check_step(struct cores *c, struct core *k);
void cores_check_boot(struct cores *c, const struct core *k);
void cores_check_logs(struct cores *c); /* all pairs */

#endif

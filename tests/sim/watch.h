/* The invariants, in the paper's terms (figure 3), and what the clients were promised. Checked after
 * every step of every server, from outside: nothing here is told to the servers.
 *
 * watch_log.c: logs, commits, disks. watch_lead.c: terms, votes, leaders, messages. watch_state.c:
 * state machines, snapshots, answers. watch_lock.c: locks. */
#ifndef RFS_SIM_WATCH_H
#define RFS_SIM_WATCH_H

#include <uthash.h>
#include "server.h"

struct known_entry; /* watch_log.c */
struct known_term;  /* watch_lead.c */
struct known_vote;
struct known_reply; /* watch_state.c */

struct sim_watch {
	struct known_entry *entries;
	struct known_term *terms;
	struct known_vote *votes;
	struct known_reply *replies;
	/* committed[i]: of entry i, once anybody has committed it */
	struct {
		raft_term term; /* the entry's */
		raft_term in;   /* of whoever committed it first */
	} * committed;
	raft_index n_committed, cap_committed;
	uint64_t *digests; /* digests[i]: of the state at i, as the first to get there had it */
	raft_index n_digests, cap_digests;
	struct watch_lock {
		uint64_t ino, session, token; /* session 0: nobody's */
	} locks[SIM_KEYS];
	raft_index locks_upto;
};

struct sim_watch *watch_new(void);
void watch_free(struct sim_watch *w);
static inline unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

#define WATCH_FREE_TABLE(type, table)                                                              \
	do {                                                                                       \
		type *item_, *next_;                                                               \
		HASH_ITER (hh, table, item_, next_) {                                              \
			HASH_DEL(table, item_);                                                    \
			free(item_);                                                               \
		}                                                                                  \
	} while (0)

/* ---- called by the servers' files ---- */

/* Recovered, before anything else happens. */
void watch_started(struct sim_server *v, const struct wal_recovered *rec);
void watch_append(struct sim_server *v, const struct raft_entry *entries, size_t n);
void watch_message(struct sim_server *v, const struct raft_msg *m);
void watch_step(struct sim_server *v);
void watch_synced(struct sim_server *v); /* all that the log's writer was given is on disk */
void watch_synced_to(struct sim_server *v, struct raft_pos pos);
void watch_cut(struct sim_server *v);
void watch_flushed(struct sim_server *v); /* what is committed in the engine would survive */
/* A snapshot takes the place of the state: perhaps; certainly. */
void watch_switching(struct sim_server *v, struct raft_pos pos, bool log_dropped);
void watch_switched(struct sim_server *v, struct raft_pos pos, bool log_dropped);
void watch_wiped(struct sim_server *v);
void watch_applied(struct sim_server *v);
void watch_command(struct sim *s, raft_index index, const struct store_cmd *cmd,
                   const struct fs_result *r);
void watch_read(struct sim_server *v, const struct sim_read *r);
void watch_end(struct sim *s);

/* ---- between them ---- */

/* Whether most of the voters have it, and of the old ones, where there are some. Counted here, and not as
 * the core counts. */
bool watch_quorum(const struct raft_conf *c, bool (*has)(const void *ctx, raft_id id),
                  const void *ctx);

bool watch_is_durable(const struct sim_server *v, raft_index index, raft_term term);
void watch_log_step(struct sim_server *v, const struct raft_status *st);
void watch_log_started(struct sim_server *v, const struct wal_recovered *rec);
void watch_log_replaced(struct sim_server *v, struct raft_pos pos);
void watch_log_free(struct sim_watch *w);
void watch_lead_started(struct sim_server *v, const struct wal_recovered *rec);
void watch_lead_free(struct sim_watch *w);
void watch_locks(struct sim *s, raft_index index, const struct store_cmd *cmd,
                 const struct fs_result *r);

#endif

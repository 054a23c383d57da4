/* Configurations and quorums. Every decision of a cluster is one question: up to which value does a
 * majority agree, and, while the configuration is joint, a majority of each half (section 6)? */
#ifndef RFS_RAFT_CONF_H
#define RFS_RAFT_CONF_H

#include "raft.h"

/* What member `id` says: an index it has, a round it confirmed, a time it was heard, a vote. */
typedef uint64_t (*raft_value_fn)(const void *ctx, raft_id id);

/* The largest v such that a quorum of `c` has a value of at least v; 0 if `c` has no voters. */
uint64_t raft_conf_quorum(const struct raft_conf *c, raft_value_fn value, const void *ctx);

/* Voter of the half that stays. */
bool raft_conf_stays_voter(const struct raft_conf *c, raft_id id);

/* NULL, or why `c` can be nobody's configuration. */
const char *raft_conf_fault(const struct raft_conf *c);
bool raft_conf_same(const struct raft_conf *a, const struct raft_conf *b);

/* The way from `from` to `to`: a joint configuration, or `to` itself if the voters are the same.
 * False: together they have too many members. */
bool raft_conf_enter(struct raft_conf *out, const struct raft_conf *from,
                     const struct raft_conf *to);
/* Where a joint configuration leads. */
void raft_conf_leave(struct raft_conf *out, const struct raft_conf *joint);

/* Every member once, in the order voters, old, learners; returns how many. */
size_t raft_conf_members(const struct raft_conf *c, raft_id ids[3 * RAFT_MEMBERS_MAX]);

#endif

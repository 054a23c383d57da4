/* What the core knows of its log: term and size of each entry behind a base, how much of it is
 * durable, and the epoch, which counts truncations. Indexes outside (below the base, behind the
 * end) have term 0, which no entry has. */
#ifndef RFS_RAFT_LOG_H
#define RFS_RAFT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/entry.h"

struct raft_log_item {
	raft_term term;
	uint64_t bytes; /* running sum of payloads, this entry included */
};

struct raft_log {
	struct raft_pos base; /* the position before items[0] */
	struct raft_log_item *items;
	size_t n, cap;
	uint64_t base_bytes; /* what items[].bytes counts from */
	raft_index durable;  /* base.index <= durable <= last */
	uint64_t epoch;
};

/* Entries follow `base` without a gap; all of them durable. Borrowed during the call. */
void raft_log_init(struct raft_log *log, struct raft_pos base, const struct raft_entry *entries,
                   size_t n);
void raft_log_free(struct raft_log *log);

struct raft_pos raft_log_last(const struct raft_log *log);
raft_term raft_log_term(const struct raft_log *log, raft_index index);

/* Payload bytes of the entries in (after, upto]; both within [base, last]. */
uint64_t raft_log_bytes(const struct raft_log *log, raft_index after, raft_index upto);

/* How many entries from `first` on have at most `bytes_max` of payload together. */
size_t raft_log_fit(const struct raft_log *log, raft_index first, uint64_t bytes_max);

/* The largest position at or below `index` whose term is at most `term`; the base if there is none.
 * Terms never decrease along a log, so everything above it differs from a log that has `term` at
 * `index`. */
struct raft_pos raft_log_search(const struct raft_log *log, raft_index index, raft_term term);

/* Entries must continue the log. */
void raft_log_append(struct raft_log *log, const struct raft_entry *entries, size_t n);

/* Forget `from` and everything behind it; a new epoch. */
void raft_log_truncate(struct raft_log *log, raft_index from);

/* The log begins behind `pos` now, which it holds and has on disk. */
void raft_log_cut(struct raft_log *log, struct raft_pos pos);

/* Nothing but `pos` is left of the log, and that is on disk; a new epoch. */
void raft_log_reset(struct raft_log *log, struct raft_pos pos);

/* The disk has the log of `epoch` up to `pos`. True if that is news: an older epoch's word, or one
 * about an entry that is not (or no longer) in the log, is none. */
bool raft_log_set_durable(struct raft_log *log, uint64_t epoch, struct raft_pos pos);

#endif

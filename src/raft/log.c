#include "log.h"

#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

void raft_log_init(struct raft_log *log, struct raft_pos base, const struct raft_entry *entries,
                   size_t n)
{
	*log = (struct raft_log){.base = base, .epoch = 1};
	raft_log_append(log, entries, n);
	log->durable = base.index + n;
}

void raft_log_free(struct raft_log *log)
{
	free(log->items);
	*log = (struct raft_log){0};
}

struct raft_pos raft_log_last(const struct raft_log *log)
{
	if (log->n == 0)
		return log->base;
	return (struct raft_pos){log->base.index + log->n, log->items[log->n - 1].term};
}

raft_term raft_log_term(const struct raft_log *log, raft_index index)
{
	if (index == log->base.index)
		return log->base.term;
	if (index < log->base.index || index - log->base.index > log->n)
		return 0;
	return log->items[index - log->base.index - 1].term;
}

/* The running sum at `index`. */
static uint64_t bytes_to(const struct raft_log *log, raft_index index)
{
	rfs_check(index >= log->base.index && index - log->base.index <= log->n);
	return index == log->base.index ? log->base_bytes
	                                : log->items[index - log->base.index - 1].bytes;
}

uint64_t raft_log_bytes(const struct raft_log *log, raft_index after, raft_index upto)
{
	rfs_check(after <= upto);
	return bytes_to(log, upto) - bytes_to(log, after);
}

size_t raft_log_fit(const struct raft_log *log, raft_index first, uint64_t bytes_max)
{
	rfs_check(first > log->base.index);
	size_t from = (size_t)(first - log->base.index - 1), lo = from, hi = log->n;
	uint64_t before = bytes_to(log, first - 1);

	/* The first item too many stands in [lo, hi]. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (log->items[mid].bytes - before <= bytes_max)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - from;
}

struct raft_pos raft_log_search(const struct raft_log *log, raft_index index, raft_term term)
{
	size_t lo = 0, hi = log->n;

	if (index <= log->base.index)
		return log->base;
	if (index - log->base.index < hi)
		hi = (size_t)(index - log->base.index);
	/* The first item whose term is too high stands in [lo, hi]. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (log->items[mid].term <= term)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return log->base;
	return (struct raft_pos){log->base.index + lo, log->items[lo - 1].term};
}

void raft_log_append(struct raft_log *log, const struct raft_entry *entries, size_t n)
{
	struct raft_pos last = raft_log_last(log);
	uint64_t bytes = bytes_to(log, last.index);

	log->items = mem_grow(log->items, &log->cap, log->n + n, sizeof(*log->items));
	for (size_t i = 0; i < n; i++) {
		rfs_check(entries[i].pos.index == last.index + 1);
		rfs_check(entries[i].pos.term >= last.term && entries[i].pos.term > 0);
		last = entries[i].pos;
		bytes += entries[i].len;
		log->items[log->n++] = (struct raft_log_item){last.term, bytes};
	}
}

void raft_log_truncate(struct raft_log *log, raft_index from)
{
	rfs_check(from > log->base.index && from - log->base.index <= log->n);
	log->n = (size_t)(from - log->base.index - 1);
	if (log->durable >= from)
		log->durable = from - 1;
	log->epoch++;
}

void raft_log_cut(struct raft_log *log, struct raft_pos pos)
{
	size_t drop = (size_t)(pos.index - log->base.index);

	rfs_check(pos.index >= log->base.index && drop <= log->n && pos.index <= log->durable);
	log->base_bytes = bytes_to(log, pos.index);
	log->base = pos;
	log->n -= drop;
	if (log->n > 0)
		memmove(log->items, log->items + drop, log->n * sizeof(*log->items));
}

void raft_log_reset(struct raft_log *log, struct raft_pos pos)
{
	log->base = pos;
	log->base_bytes = 0;
	log->n = 0;
	log->durable = pos.index;
	log->epoch++;
}

bool raft_log_set_durable(struct raft_log *log, uint64_t epoch, struct raft_pos pos)
{
	if (epoch != log->epoch || pos.index <= log->durable || pos.term == 0 ||
	    raft_log_term(log, pos.index) != pos.term)
		return false;
	log->durable = pos.index;
	return true;
}

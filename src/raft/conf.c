#include "conf.h"

#include "../base/check.h"

static bool has(const raft_id *ids, unsigned n, raft_id id)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool raft_conf_is_voter(const struct raft_conf *c, raft_id id)
{
	return has(c->voters, c->n_voters, id) || has(c->old, c->n_old, id);
}

bool raft_conf_is_member(const struct raft_conf *c, raft_id id)
{
	return raft_conf_is_voter(c, id) || has(c->learners, c->n_learners, id);
}

/* The largest value that a majority of `ids` reaches: in descending order, the one in the place of
 * the last member a smallest majority needs. */
static uint64_t majority(const raft_id *ids, unsigned n, raft_value_fn value, const void *ctx)
{
	uint64_t sorted[RAFT_MEMBERS_MAX];

	rfs_check(n > 0 && n <= RAFT_MEMBERS_MAX);
	for (unsigned i = 0; i < n; i++) {
		uint64_t v = value(ctx, ids[i]);
		unsigned k = i;

		for (; k > 0 && sorted[k - 1] < v; k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = v;
	}
	return sorted[n / 2];
}

uint64_t raft_conf_quorum(const struct raft_conf *c, raft_value_fn value, const void *ctx)
{
	if (c->n_voters == 0)
		return 0;
	uint64_t v = majority(c->voters, c->n_voters, value, ctx);

	if (c->n_old > 0) {
		uint64_t w = majority(c->old, c->n_old, value, ctx);

		v = w < v ? w : v;
	}
	return v;
}

static size_t add(raft_id *out, size_t n, const raft_id *ids, unsigned n_ids)
{
	for (unsigned i = 0; i < n_ids; i++)
		if (!has(out, (unsigned)n, ids[i]))
			out[n++] = ids[i];
	return n;
}

size_t raft_conf_members(const struct raft_conf *c, raft_id ids[3 * RAFT_MEMBERS_MAX])
{
	size_t n = add(ids, 0, c->voters, c->n_voters);

	n = add(ids, n, c->old, c->n_old);
	return add(ids, n, c->learners, c->n_learners);
}

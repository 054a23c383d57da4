/* Logs, commits, and what the disks really hold. */
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/crc.h"
#include "../../src/base/mem.h"
#include "watch.h"

/* Log Matching: (index, term) names one entry with one predecessor, for ever. */
struct known_entry {
	struct {
		raft_index index;
		raft_term term;
	} key;
	raft_term before;
	uint32_t crc;
	UT_hash_handle hh;
};

void watch_log_free(struct sim_watch *w)
{
	WATCH_FREE_TABLE(struct known_entry, w->entries);
	free(w->committed);
}

/* ---- configurations ---- */

static void add_conf(struct sim_seen *seen, raft_index index)
{
	seen->confs =
	        mem_grow(seen->confs, &seen->cap_confs, seen->n_confs + 1, sizeof(*seen->confs));
	seen->confs[seen->n_confs++] = index;
}

/* All that is left is the state machine's; 0: what it was founded with. */
static void first_conf(struct sim_server *v)
{
	struct raft_pos pos;
	const void *bytes;
	size_t len;

	store_get_membership(v->store, &pos, &bytes, &len);
	v->seen.n_confs = 0;
	add_conf(&v->seen, pos.index);
}

static void replace_confs(struct sim_seen *seen, const struct raft_entry *e)
{
	while (seen->n_confs > 1 && seen->confs[seen->n_confs - 1] >= e->pos.index)
		seen->n_confs--;
	if (e->kind == RAFT_ENTRY_CONFIG && e->pos.index > seen->confs[0])
		add_conf(seen, e->pos.index);
}

/* ---- appending ---- */

/* A leader appends a configuration only when the one before it is committed, and an entry of its
 * own term is. */
static void check_change(struct sim_server *v, raft_index index)
{
	struct raft_status st;
	raft_index before = 0;

	raft_get_status(v->raft, &st);
	if (st.role != RAFT_LEADER || raft_term_at(v->raft, index) != st.term)
		return;
	(void)raft_get_conf_at(v->raft, index - 1, &before);
	if (before > st.commit)
		sim_fail(v->sim, "leader %u appends configuration %llu while %llu is not committed",
		         v->at + 1, ull(index), ull(before));
	if (raft_term_at(v->raft, st.commit) != st.term)
		sim_fail(v->sim,
		         "leader %u appends configuration %llu before a commit in term %llu",
		         v->at + 1, ull(index), ull(st.term));
}

static void check_matching(struct sim_server *v, const struct raft_entry *e)
{
	struct sim_watch *w = v->sim->watch;
	raft_term before = raft_term_at(v->raft, e->pos.index - 1);
	uint32_t crc = e->data != NULL ? crc32c(0, e->data, e->len) : 0;
	struct known_entry *k, probe = {0};

	probe.key.index = e->pos.index;
	probe.key.term = e->pos.term;
	HASH_FIND(hh, w->entries, &probe.key, sizeof(probe.key), k);
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		*k = (struct known_entry){.key = probe.key, .before = before, .crc = crc};
		HASH_ADD(hh, w->entries, key, sizeof(k->key), k);
	} else if (k->before != before || (e->data != NULL && k->crc != crc)) {
		sim_fail(v->sim, "log matching: server %u has another entry %llu of term %llu",
		         v->at + 1, ull(e->pos.index), ull(e->pos.term));
	}
}

void watch_append(struct sim_server *v, const struct raft_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct raft_entry *e = &entries[i];

		check_matching(v, e);
		if (e->kind == RAFT_ENTRY_CONFIG)
			check_change(v, e->pos.index);
		if (e->pos.index <= v->seen.commit && v->up)
			sim_fail(v->sim, "server %u: committed entry %llu replaced", v->at + 1,
			         ull(e->pos.index));
		replace_confs(&v->seen, e);
		if (e->pos.index < v->seen.disk_changed)
			v->seen.disk_changed = e->pos.index;
		if (e->pos.index <= v->seen.durable)
			v->seen.durable = e->pos.index - 1;
	}
}

/* ---- disks ---- */

static void set_term(raft_term **terms, raft_index *cap, raft_index index, raft_term term)
{
	size_t n = *cap;

	*terms = mem_grow(*terms, &n, index + 1, sizeof(**terms));
	*cap = n;
	(*terms)[index] = term;
}

static void on_disk(struct sim_server *v, raft_index upto)
{
	struct sim_seen *seen = &v->seen;
	raft_index base = wal_base(v->wal).index;
	struct raft_entry e;

	if (seen->disk_changed <= base)
		seen->disk_changed = base + 1;
	for (; seen->disk_changed <= upto; seen->disk_changed++) {
		rfs_check(wal_entry_at(v->wal, seen->disk_changed, &e));
		set_term(&seen->disk_terms, &seen->cap_disk, seen->disk_changed, e.pos.term);
	}
	if (seen->disk_last < upto)
		seen->disk_last = upto;
}

void watch_synced(struct sim_server *v)
{
	on_disk(v, wal_last(v->wal).index);
	v->seen.disk_last = wal_last(v->wal).index;
}

/* If another entry stands at `pos` by now, what was synced is of no interest any more. */
void watch_synced_to(struct sim_server *v, struct raft_pos pos)
{
	struct raft_entry e;

	if (wal_entry_at(v->wal, pos.index, &e) && e.pos.term == pos.term)
		on_disk(v, pos.index);
}

static void set_durable(struct sim_server *v, raft_index to)
{
	struct sim_seen *seen = &v->seen;

	for (raft_index i = seen->durable + 1; i <= to; i++) {
		raft_term term = raft_term_at(v->raft, i);

		set_term(&seen->durable_terms, &seen->cap_durable, i, term);
		if (i > seen->disk_last || seen->disk_terms[i] != term)
			sim_fail(v->sim, "server %u takes entry %llu of term %llu for durable",
			         v->at + 1, ull(i), ull(term));
	}
	seen->durable = to;
}

bool watch_is_durable(const struct sim_server *v, raft_index index, raft_term term)
{
	const struct sim_seen *seen = &v->seen;

	/* A copy that is lost was a copy: the loss is one of those that a quorum bears. */
	if (v->lost && index <= seen->ghost && seen->ghost_terms[index] == term)
		return true;
	return index <= seen->durable && seen->durable_terms[index] == term;
}

/* Whoever loses power now comes back with a state that the log can continue. */
void watch_cut(struct sim_server *v)
{
	if (wal_base(v->wal).index > v->seen.flushed)
		sim_fail(v->sim,
		         "server %u: its log begins behind %llu, its state is durable at %llu",
		         v->at + 1, ull(wal_base(v->wal).index), ull(v->seen.flushed));
}

/* Up to `pos` the log is what everybody's is; what it had behind it, it has no more. */
void watch_log_replaced(struct sim_server *v, struct raft_pos pos)
{
	struct sim_watch *w = v->sim->watch;
	struct sim_seen *seen = &v->seen;

	for (raft_index i = 1; i <= pos.index; i++) {
		set_term(&seen->durable_terms, &seen->cap_durable, i, w->committed[i].term);
		set_term(&seen->disk_terms, &seen->cap_disk, i, w->committed[i].term);
	}
	seen->durable = seen->disk_last = pos.index;
	seen->disk_changed = pos.index + 1;
	first_conf(v);
}

void watch_log_started(struct sim_server *v, const struct wal_recovered *rec)
{
	struct sim_seen *seen = &v->seen;

	for (raft_index i = rec->base.index + 1; i <= seen->durable; i++)
		if (raft_term_at(v->raft, i) != seen->durable_terms[i])
			sim_fail(v->sim, "server %u: entry %llu was durable and is lost", v->at + 1,
			         ull(i));
	watch_cut(v);
	if (seen->durable < rec->base.index)
		seen->durable = rec->base.index;
	seen->disk_changed = 1;
	watch_synced(v);
	seen->commit = store_applied(v->store).index;
	first_conf(v);
}

/* ---- commit ---- */

static bool most_have(const raft_id *ids, unsigned n, bool (*has)(const void *ctx, raft_id id),
                      const void *ctx)
{
	unsigned have = 0;

	for (unsigned i = 0; i < n; i++)
		have += has(ctx, ids[i]);
	return have > n / 2;
}

bool watch_quorum(const struct raft_conf *c, bool (*has)(const void *ctx, raft_id id),
                  const void *ctx)
{
	return most_have(c->voters, c->n_voters, has, ctx) &&
	       (c->n_old == 0 || most_have(c->old, c->n_old, has, ctx));
}

struct wanted {
	struct sim *sim;
	raft_index index;
	raft_term term;
};

static bool has_durable(const void *ctx, raft_id id)
{
	const struct wanted *w = ctx;

	return watch_is_durable(&w->sim->servers[id - 1], w->index, w->term);
}

static void check_quorum(struct sim_server *v, raft_index index, raft_term term)
{
	struct wanted w = {v->sim, index, term};

	/* the first to commit has counted by what was in force before this step */
	if (!watch_quorum(&v->conf_before, has_durable, &w))
		sim_fail(v->sim, "server %u: entry %llu committed while no quorum has it durable",
		         v->at + 1, ull(index));
}

static void check_commit(struct sim_server *v, const struct raft_status *st)
{
	struct sim_watch *w = v->sim->watch;
	size_t cap = w->cap_committed;

	if (st->commit < v->seen.commit || st->commit > st->last.index)
		sim_fail(v->sim, "server %u: commit went from %llu to %llu, log ends at %llu",
		         v->at + 1, ull(v->seen.commit), ull(st->commit), ull(st->last.index));
	for (raft_index i = v->seen.commit + 1; i <= st->commit; i++) {
		raft_term term = raft_term_at(v->raft, i);

		if (i <= w->n_committed) {
			if (w->committed[i].term != term)
				sim_fail(v->sim,
				         "state machine safety: server %u commits another entry "
				         "%llu",
				         v->at + 1, ull(i));
			continue;
		}
		check_quorum(v, i, term);
		w->committed = mem_grow(w->committed, &cap, i + 1, sizeof(*w->committed));
		w->cap_committed = cap;
		w->committed[i].term = term;
		w->committed[i].in = st->term;
		w->n_committed = i;
		v->sim->totals.committed++;
	}
	if (st->role == RAFT_LEADER && st->commit > v->seen.commit &&
	    raft_term_at(v->raft, st->commit) != st->term)
		sim_fail(v->sim,
		         "leader %u of term %llu commits up to an entry of term %llu (figure 8)",
		         v->at + 1, ull(st->term), ull(raft_term_at(v->raft, st->commit)));
	v->seen.commit = st->commit;
}

void watch_log_step(struct sim_server *v, const struct raft_status *st)
{
	if (st->base.index > v->seen.flushed)
		sim_fail(v->sim,
		         "server %u: its core's log begins behind %llu, the state is durable at "
		         "%llu",
		         v->at + 1, ull(st->base.index), ull(v->seen.flushed));
	if (st->conf_index != v->seen.confs[v->seen.n_confs - 1])
		sim_fail(v->sim, "server %u: configuration %llu is in force, its newest is %llu",
		         v->at + 1, ull(st->conf_index), ull(v->seen.confs[v->seen.n_confs - 1]));
	if (st->durable < v->seen.durable)
		v->seen.durable = st->durable;
	if (st->durable > v->seen.durable)
		set_durable(v, st->durable);
	check_commit(v, st);
}

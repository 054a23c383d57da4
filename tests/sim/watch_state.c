/* State machines, snapshots, answers; and what the three files have in common. */
#include <stdlib.h>
#include "../../src/base/mem.h"
#include "watch.h"

struct known_reply {
	struct {
		uint64_t session, seq;
	} key;
	int err;
	uint64_t value;
	UT_hash_handle hh;
};

struct sim_watch *watch_new(void)
{
	return mem_zalloc(sizeof(struct sim_watch));
}

void watch_free(struct sim_watch *w)
{
	watch_log_free(w);
	watch_lead_free(w);
	WATCH_FREE_TABLE(struct known_reply, w->replies);
	free(w->digests);
	free(w);
}

/* ---- equal position, equal state ---- */

static void check_digest(struct sim_server *v)
{
	struct sim_watch *w = v->sim->watch;
	struct store_digest d;
	size_t cap = w->cap_digests;

	store_get_digest(v->store, &d);
	if (d.pos.index == 0)
		return;
	if (d.pos.index > w->n_committed || w->committed[d.pos.index].term != d.pos.term)
		sim_fail(v->sim,
		         "server %u: its state is of entry %llu of term %llu, which nobody "
		         "committed",
		         v->at + 1, ull(d.pos.index), ull(d.pos.term));
	if (d.pos.index <= w->n_digests) {
		if (w->digests[d.pos.index] != d.value)
			sim_fail(v->sim, "server %u: another state than others at %llu", v->at + 1,
			         ull(d.pos.index));
		return;
	}
	w->digests = mem_grow(w->digests, &cap, d.pos.index + 1, sizeof(*w->digests));
	w->cap_digests = cap;
	w->digests[d.pos.index] = d.value;
	w->n_digests = d.pos.index;
}

void watch_applied(struct sim_server *v)
{
	raft_index index = store_applied(v->store).index;
	const struct sim_seen *seen = &v->seen;

	if (index != seen->applied + 1 || index > seen->commit || index > seen->durable)
		sim_fail(v->sim, "server %u: applied %llu after %llu (commit %llu, durable %llu)",
		         v->at + 1, ull(index), ull(seen->applied), ull(seen->commit),
		         ull(seen->durable));
	v->seen.applied = index;
	check_digest(v);
}

/* ---- what survives ---- */

void watch_flushed(struct sim_server *v)
{
	v->seen.flushed = store_applied(v->store).index;
}

static void switched(struct sim_server *v, struct raft_pos pos, bool log_dropped)
{
	struct sim_watch *w = v->sim->watch;

	if (pos.index > w->n_committed || w->committed[pos.index].term != pos.term)
		sim_fail(v->sim,
		         "server %u: a snapshot of entry %llu of term %llu, which nobody committed",
		         v->at + 1, ull(pos.index), ull(pos.term));
	v->seen.flushed = v->seen.applied = pos.index;
	if (pos.index > v->seen.commit)
		v->seen.commit = pos.index;
	v->seen.switching = (struct raft_pos){0};
	if (log_dropped)
		watch_log_replaced(v, pos);
}

/* Old or new, the next start will show. */
void watch_switching(struct sim_server *v, struct raft_pos pos, bool log_dropped)
{
	v->seen.switching = pos;
	v->seen.switching_drops = log_dropped;
}

void watch_switched(struct sim_server *v, struct raft_pos pos, bool log_dropped)
{
	switched(v, pos, log_dropped);
	check_digest(v);
}

void watch_wiped(struct sim_server *v)
{
	struct sim_seen *seen = &v->seen;

	free(seen->ghost_terms);
	free(seen->disk_terms);
	free(seen->confs);
	*seen = (struct sim_seen){.ghost_terms = seen->durable_terms,
	                          .ghost = seen->durable,
	                          .incarnation_before = seen->incarnation};
}

/* Applied position and data come back together, and as of the last flush. */
void watch_started(struct sim_server *v, const struct wal_recovered *rec)
{
	struct raft_pos applied = store_applied(v->store);
	struct rfs_err err = {0};

	v->seen.incarnation = v->incarnation;
	if (v->seen.switching.index != 0 && applied.index == v->seen.switching.index)
		switched(v, applied, v->seen.switching_drops);
	v->seen.switching = (struct raft_pos){0};
	if (applied.index != v->seen.flushed)
		sim_fail(v->sim, "server %u: its state comes back at %llu, was flushed at %llu",
		         v->at + 1, ull(applied.index), ull(v->seen.flushed));
	check_digest(v);
	if (store_verify(v->store, &err) != 0)
		sim_fail(v->sim, "server %u: %s", v->at + 1, err.msg);
	v->seen.applied = applied.index;
	watch_lead_started(v, rec);
	watch_log_started(v, rec);
}

/* ---- answers ---- */

/* Exactly once: the same request gets the same answer, on whichever server and however often. */
static bool check_reply(struct sim *s, uint64_t session, uint64_t seq, const struct fs_result *r)
{
	struct known_reply *k, probe = {0};

	if (r->err == RFS_EUNKNOWN || r->err == RFS_ESESSION)
		return false; /* its client has given it up, or is not known any more */
	probe.key.session = session;
	probe.key.seq = seq;
	HASH_FIND(hh, s->watch->replies, &probe.key, sizeof(probe.key), k);
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		k->key = probe.key;
		k->err = r->err;
		k->value = r->value;
		HASH_ADD(hh, s->watch->replies, key, sizeof(k->key), k);
	} else if (k->err != r->err || k->value != r->value) {
		sim_fail(s, "request %llu of session %llu was answered %d/%llu, then %d/%llu",
		         ull(seq), ull(session), k->err, ull(k->value), r->err, ull(r->value));
	} else {
		return false;
	}
	return true;
}

void watch_command(struct sim *s, raft_index index, const struct store_cmd *cmd,
                   const struct fs_result *r)
{
	if (cmd->session == 0 || check_reply(s, cmd->session, cmd->seq, r))
		watch_locks(s, index, cmd, r);
}

/* What was acknowledged to anybody before the read was asked for, it sees. */
void watch_read(struct sim_server *v, const struct sim_read *r)
{
	if (r->index < r->committed)
		sim_fail(v->sim, "server %u: a read at %llu, asked for when %llu was committed",
		         v->at + 1, ull(r->index), ull(r->committed));
}

/* ---- the end ---- */

void watch_end(struct sim *s)
{
	struct store_digest first, d;
	struct rfs_err err = {0};

	store_get_digest(s->servers[0].store, &first);
	for (unsigned i = 0; i < s->plan.servers; i++) {
		store_get_digest(s->servers[i].store, &d);
		if (d.pos.index != first.pos.index || d.value != first.value)
			sim_fail(s, "servers 1 and %u end with different states", i + 1);
		if (store_verify(s->servers[i].store, &err) != 0)
			sim_fail(s, "server %u: %s", i + 1, err.msg);
	}
}

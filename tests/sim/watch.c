/* The invariants, in the paper's terms (figure 3), and what the clients were promised. Checked
 * after every step of every server, from outside: nothing here is told to the servers. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "../../src/base/check.h"
#include "../../src/base/crc.h"
#include "../../src/base/mem.h"
#include "../../src/raft/conf.h"

/* Log Matching: (index, term) names one entry with one predecessor, for ever. */
struct known_entry {
	struct sim_entry_key key;
	raft_term before;
	uint32_t crc;
	UT_hash_handle hh;
};

struct known_term {
	raft_term term;
	raft_id leader;
	UT_hash_handle hh;
};

struct known_vote {
	struct {
		raft_id voter;
		raft_term term;
	} key;
	raft_id candidate;
	UT_hash_handle hh;
};

struct known_reply {
	struct {
		uint64_t session, seq;
	} key;
	int err;
	uint64_t value;
	UT_hash_handle hh;
};

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
};

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

struct sim_watch *watch_new(void)
{
	return mem_zalloc(sizeof(struct sim_watch));
}

#define FREE_TABLE(type, table)                                                                    \
	do {                                                                                       \
		type *item_, *next_;                                                               \
		HASH_ITER (hh, table, item_, next_) {                                              \
			HASH_DEL(table, item_);                                                    \
			free(item_);                                                               \
		}                                                                                  \
	} while (0)

void watch_free(struct sim_watch *w)
{
	FREE_TABLE(struct known_entry, w->entries);
	FREE_TABLE(struct known_term, w->terms);
	FREE_TABLE(struct known_vote, w->votes);
	FREE_TABLE(struct known_reply, w->replies);
	free(w->committed);
	free(w->digests);
	free(w);
}

/* ---- logs ---- */

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

void watch_append(struct sim_server *v, const struct raft_entry *entries, size_t n)
{
	struct sim_watch *w = v->sim->watch;

	for (size_t i = 0; i < n; i++) {
		const struct raft_entry *e = &entries[i];
		struct sim_entry_key key = {e->pos.index, e->pos.term};
		raft_term before = raft_term_at(v->raft, e->pos.index - 1);
		uint32_t crc = e->data != NULL ? crc32c(0, e->data, e->len) : 0;
		struct known_entry *k;

		HASH_FIND(hh, w->entries, &key, sizeof(key), k);
		if (k == NULL) {
			k = mem_zalloc(sizeof(*k));
			*k = (struct known_entry){.key = key, .before = before, .crc = crc};
			HASH_ADD(hh, w->entries, key, sizeof(k->key), k);
		} else if (k->before != before || (e->data != NULL && k->crc != crc)) {
			sim_fail(v->sim,
			         "log matching: server %u has another entry %llu of term %llu",
			         v->at + 1, ull(key.index), ull(key.term));
		}
		if (e->kind == RAFT_ENTRY_CONFIG)
			check_change(v, e->pos.index);
		if (e->pos.index <= v->seen_commit)
			sim_fail(v->sim, "server %u: committed entry %llu replaced", v->at + 1,
			         ull(e->pos.index));
		if (e->pos.index < v->disk_changed)
			v->disk_changed = e->pos.index;
		if (e->pos.index <= v->durable)
			v->durable = e->pos.index - 1;
	}
}

/* Everything queued so far is on the disk. */
void watch_synced(struct sim_server *v)
{
	raft_index last = wal_last(v->wal).index;
	size_t cap = v->cap_disk;
	struct raft_entry e;

	v->disk_terms = mem_grow(v->disk_terms, &cap, last + 1, sizeof(*v->disk_terms));
	v->cap_disk = cap;
	for (raft_index i = v->disk_changed; i <= last; i++) {
		rfs_check(wal_entry_at(v->wal, i, &e));
		v->disk_terms[i] = e.pos.term;
	}
	v->disk_last = last;
	v->disk_changed = last + 1;
}

static void set_durable(struct sim_server *v, raft_index to)
{
	size_t cap = v->cap_durable;

	v->durable_terms = mem_grow(v->durable_terms, &cap, to + 1, sizeof(*v->durable_terms));
	v->cap_durable = cap;
	for (raft_index i = v->durable + 1; i <= to; i++) {
		v->durable_terms[i] = raft_term_at(v->raft, i);
		if (i > v->disk_last || v->disk_terms[i] != v->durable_terms[i])
			sim_fail(v->sim, "server %u takes entry %llu of term %llu for durable",
			         v->at + 1, ull(i), ull(v->durable_terms[i]));
	}
	v->durable = to;
}

static bool is_durable(const struct sim_server *v, raft_index index, raft_term term)
{
	return index <= v->durable && v->durable_terms[index] == term;
}

/* ---- commit ---- */

struct wanted {
	struct sim *sim;
	raft_index index;
	raft_term term;
};

static uint64_t has_durable(const void *ctx, raft_id id)
{
	const struct wanted *w = ctx;

	return is_durable(&w->sim->servers[id - 1], w->index, w->term);
}

static void check_quorum(struct sim_server *v, raft_index index, raft_term term)
{
	struct wanted w = {v->sim, index, term};

	/* the first to commit has counted by what was in force before this step */
	if (raft_conf_quorum(&v->conf_before, has_durable, &w) == 0)
		sim_fail(v->sim, "server %u: entry %llu committed while no quorum has it durable",
		         v->at + 1, ull(index));
}

static void check_commit(struct sim_server *v, const struct raft_status *st)
{
	struct sim_watch *w = v->sim->watch;
	size_t cap = w->cap_committed;

	if (st->commit < v->seen_commit || st->commit > st->last.index)
		sim_fail(v->sim, "server %u: commit went from %llu to %llu, log ends at %llu",
		         v->at + 1, ull(v->seen_commit), ull(st->commit), ull(st->last.index));
	for (raft_index i = v->seen_commit + 1; i <= st->commit; i++) {
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
		v->sim->committed++;
	}
	if (st->role == RAFT_LEADER && st->commit > v->seen_commit &&
	    raft_term_at(v->raft, st->commit) != st->term)
		sim_fail(v->sim,
		         "leader %u of term %llu commits up to an entry of term %llu (figure 8)",
		         v->at + 1, ull(st->term), ull(raft_term_at(v->raft, st->commit)));
	v->seen_commit = st->commit;
}

/* ---- leaders ---- */

struct electorate {
	struct sim_server *v;
	raft_term term;
};

static uint64_t has_voted(const void *ctx, raft_id id)
{
	const struct electorate *e = ctx;
	struct known_vote *k, probe = {0};

	probe.key.voter = id;
	probe.key.term = e->term;
	HASH_FIND(hh, e->v->sim->watch->votes, &probe.key, sizeof(probe.key), k);
	return id == e->v->id || (k != NULL && k->candidate == e->v->id);
}

static void check_leader(struct sim_server *v, const struct raft_status *st)
{
	struct sim_watch *w = v->sim->watch;
	struct known_term *k;

	HASH_FIND(hh, w->terms, &st->term, sizeof(st->term), k);
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		k->term = st->term;
		k->leader = v->id;
		HASH_ADD(hh, w->terms, term, sizeof(k->term), k);
	} else if (k->leader != v->id) {
		sim_fail(v->sim, "election safety: servers %llu and %u both lead term %llu",
		         ull(k->leader), v->at + 1, ull(st->term));
	}
	if (v->led_term != st->term) {
		struct electorate e = {v, st->term};

		if (raft_conf_quorum(&v->conf_before, has_voted, &e) == 0)
			sim_fail(v->sim, "leader %u of term %llu was not elected", v->at + 1,
			         ull(st->term));
		/* of entries committed in earlier terms; a late winner of an old term may lack
		 * newer ones */
		for (raft_index i = 1; i <= w->n_committed; i++)
			if (w->committed[i].in < st->term &&
			    raft_term_at(v->raft, i) != w->committed[i].term)
				sim_fail(v->sim,
				         "leader completeness: leader %u of term %llu lacks entry "
				         "%llu",
				         v->at + 1, ull(st->term), ull(i));
		v->led_term = st->term;
		v->led_last = 0;
	}
	if (st->last.index < v->led_last)
		sim_fail(v->sim, "leader append-only: leader %u's log shrinks", v->at + 1);
	v->led_last = st->last.index;
}

void watch_step(struct sim_server *v)
{
	struct raft_peer_status ps;
	struct raft_status st;

	raft_get_status(v->raft, &st);
	if (st.term < v->seen_term)
		sim_fail(v->sim, "server %u: term went from %llu to %llu", v->at + 1,
		         ull(v->seen_term), ull(st.term));
	if (st.term == v->seen_term && v->seen_vote != 0 && st.vote != v->seen_vote)
		sim_fail(v->sim, "server %u: its vote in term %llu went from %llu to %llu",
		         v->at + 1, ull(st.term), ull(v->seen_vote), ull(st.vote));
	v->seen_vote = st.vote;
	v->seen_term = st.term;
	if (st.durable < v->durable)
		v->durable = st.durable;
	if (st.durable > v->durable)
		set_durable(v, st.durable);
	if (st.role == RAFT_LEADER) {
		check_leader(v, &st);
		for (unsigned i = 0; i < v->sim->plan.servers; i++) {
			const struct sim_server *p = &v->sim->servers[i];

			/* who has gone on to a newer term may have dropped what it had in ours */
			if (p == v || p->seen_term > st.term || !raft_get_peer(v->raft, p->id, &ps))
				continue;
			if (ps.match >= ps.next)
				sim_fail(v->sim, "leader %u: match %llu >= next %llu of server %u",
				         v->at + 1, ull(ps.match), ull(ps.next), i + 1);
			if (ps.match > 0 &&
			    !is_durable(p, ps.match, raft_term_at(v->raft, ps.match)))
				sim_fail(v->sim,
				         "leader %u believes that server %u holds entry %llu; it "
				         "does not",
				         v->at + 1, i + 1, ull(ps.match));
		}
	}
	check_commit(v, &st);
}

/* ---- messages ---- */

static void check_vote(struct sim_server *v, raft_term term, raft_id candidate)
{
	struct sim_watch *w = v->sim->watch;
	struct known_vote *k, probe = {0};

	probe.key.voter = v->id;
	probe.key.term = term;
	HASH_FIND(hh, w->votes, &probe.key, sizeof(probe.key), k);
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		k->key = probe.key;
		k->candidate = candidate;
		HASH_ADD(hh, w->votes, key, sizeof(k->key), k);
	} else if (k->candidate != candidate) {
		sim_fail(v->sim, "server %u votes for %llu and for %llu in term %llu", v->at + 1,
		         ull(k->candidate), ull(candidate), ull(term));
	}
}

void watch_message(struct sim_server *v, const struct raft_msg *m)
{
	bool promise_only = m->kind == RAFT_MSG_PRE_VOTE || m->kind == RAFT_MSG_PRE_VOTE_RESP;

	if (!promise_only && m->term > v->said_term)
		v->said_term = m->term;
	if (m->kind == RAFT_MSG_VOTE_RESP && !m->reject)
		check_vote(v, m->term, m->to);
	if (m->kind == RAFT_MSG_VOTE)
		check_vote(v, m->term, v->id);
	if (m->kind == RAFT_MSG_APPEND_RESP && !m->reject && m->pos.index > 0 &&
	    !is_durable(v, m->pos.index, raft_term_at(v->raft, m->pos.index)))
		sim_fail(v->sim, "server %u acknowledges entry %llu, which is not durable",
		         v->at + 1, ull(m->pos.index));
}

/* ---- recovery ---- */

static void check_recovered_vote(struct sim_server *v, const struct wal_recovered *rec)
{
	struct known_vote *k, probe = {0};

	probe.key.voter = v->id;
	probe.key.term = rec->term;
	HASH_FIND(hh, v->sim->watch->votes, &probe.key, sizeof(probe.key), k);
	if (k != NULL && k->candidate != rec->vote)
		sim_fail(v->sim, "server %u: voted for %llu in term %llu, comes back with %llu",
		         v->at + 1, ull(k->candidate), ull(rec->term), ull(rec->vote));
}

void watch_started(struct sim_server *v, const struct wal_recovered *rec)
{
	if (rec->term < v->said_term)
		sim_fail(v->sim, "server %u: comes back in term %llu, had spoken in %llu",
		         v->at + 1, ull(rec->term), ull(v->said_term));
	for (raft_index i = 1; i <= v->durable; i++)
		if (raft_term_at(v->raft, i) != v->durable_terms[i])
			sim_fail(v->sim, "server %u: entry %llu was durable and is lost", v->at + 1,
			         ull(i));
	check_recovered_vote(v, rec);
	v->disk_changed = 1;
	watch_synced(v);
	v->seen_term = rec->term;
	v->seen_vote = rec->vote;
	v->seen_commit = v->seen_applied = 0;
	v->led_term = v->led_last = 0;
}

/* ---- state machines ---- */

void watch_applied(struct sim_server *v)
{
	struct sim_watch *w = v->sim->watch;
	struct store_digest d;
	size_t cap = w->cap_digests;

	store_get_digest(v->store, &d);
	if (d.pos.index != v->seen_applied + 1 || d.pos.index > v->seen_commit ||
	    d.pos.index > v->durable)
		sim_fail(v->sim, "server %u: applied %llu after %llu (commit %llu, durable %llu)",
		         v->at + 1, ull(d.pos.index), ull(v->seen_applied), ull(v->seen_commit),
		         ull(v->durable));
	v->seen_applied = d.pos.index;
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

/* Exactly once: the same request gets the same answer, on whichever server and however often. */
void watch_reply(struct sim *s, uint64_t session, uint64_t seq, const struct fs_result *r)
{
	struct known_reply *k, probe = {0};

	if (r->err == RFS_EUNKNOWN)
		return; /* a request that its client has given up */
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
	}
}

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

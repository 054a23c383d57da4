/* Terms, votes, leaders, and what servers say to one another. */
#include <stdlib.h>
#include "../../src/base/mem.h"
#include "watch.h"

struct known_term {
	raft_term term;
	raft_id leader;
	UT_hash_handle hh;
};

/* A server that lost its disk is another voter; nobody must listen to it until it is added. */
struct known_vote {
	struct {
		raft_id voter;
		uint64_t incarnation;
		raft_term term;
	} key;
	raft_id candidate;
	UT_hash_handle hh;
};

void watch_lead_free(struct sim_watch *w)
{
	WATCH_FREE_TABLE(struct known_term, w->terms);
	WATCH_FREE_TABLE(struct known_vote, w->votes);
}

static struct known_vote *find_vote(struct sim_watch *w, raft_id voter, uint64_t incarnation,
                                    raft_term term)
{
	struct known_vote *k, probe = {0};

	probe.key.voter = voter;
	probe.key.incarnation = incarnation;
	probe.key.term = term;
	HASH_FIND(hh, w->votes, &probe.key, sizeof(probe.key), k);
	return k;
}

/* ---- leaders ---- */

struct electorate {
	struct sim_server *v;
	raft_term term;
};

static bool has_voted(const void *ctx, raft_id id)
{
	const struct electorate *e = ctx;
	const struct sim_server *voter = &e->v->sim->servers[id - 1];
	const uint64_t who[] = {voter->incarnation, voter->seen.incarnation_before};

	if (id == e->v->id)
		return true;
	for (unsigned i = 0; i < 2; i++) {
		struct known_vote *k = find_vote(e->v->sim->watch, id, who[i], e->term);

		if (k != NULL && k->candidate == e->v->id)
			return true;
	}
	return false;
}

static void check_election(struct sim_server *v, const struct raft_status *st)
{
	struct sim_watch *w = v->sim->watch;
	struct electorate e = {v, st->term};

	if (!watch_quorum(&v->conf_before, has_voted, &e))
		sim_fail(v->sim, "leader %u of term %llu was not elected", v->at + 1,
		         ull(st->term));
	/* of entries committed in earlier terms; a late winner of an old term may lack newer ones */
	for (raft_index i = st->base.index > 0 ? st->base.index : 1; i <= w->n_committed; i++)
		if (w->committed[i].in < st->term &&
		    raft_term_at(v->raft, i) != w->committed[i].term)
			sim_fail(v->sim,
			         "leader completeness: leader %u of term %llu lacks entry %llu",
			         v->at + 1, ull(st->term), ull(i));
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
	if (v->seen.led_term != st->term) {
		check_election(v, st);
		v->seen.led_term = st->term;
		v->seen.led_last = 0;
	}
	if (st->last.index < v->seen.led_last)
		sim_fail(v->sim, "leader append-only: leader %u's log shrinks", v->at + 1);
	v->seen.led_last = st->last.index;
}

/* ---- what it believes of the others ---- */

/* One entry at a time may exceed the limit; the largest are configurations. */
#define ENTRY_BYTES_MAX 2048u

/* Some server is in a newer term. */
static bool is_followed(const struct sim *s, raft_term term)
{
	for (unsigned i = 0; i < s->plan.servers; i++)
		if (s->servers[i].seen.term > term)
			return true;
	return false;
}

static void check_peer(struct sim_server *v, const struct raft_status *st,
                       const struct sim_server *p)
{
	struct raft_peer_status ps;

	if (!raft_get_peer(v->raft, p->id, &ps))
		return;
	if (ps.match >= ps.next)
		sim_fail(v->sim, "leader %u: match %llu >= next %llu of server %u", v->at + 1,
		         ull(ps.match), ull(ps.next), p->at + 1);
	if (ps.inflight_bytes > v->inflight_max && ps.inflight_bytes > ENTRY_BYTES_MAX)
		sim_fail(v->sim, "leader %u: %llu bytes are under way to server %u, %u are allowed",
		         v->at + 1, ull(ps.inflight_bytes), p->at + 1, v->inflight_max);
	/* what it had said before it lost its disk was true then; a leader that others have followed
	 * may hear of it late, and counts it for nothing newer */
	if (p->lost_its_disk && is_followed(v->sim, st->term))
		return;
	/* who has gone on to a newer term may have dropped what it had in ours; who is no member does
	 * not count, and may have come back with another disk */
	if (!ps.leaving && ps.match > st->base.index && p->seen.term <= st->term &&
	    !watch_is_durable(p, ps.match, raft_term_at(v->raft, ps.match)))
		sim_fail(v->sim, "leader %u believes that server %u holds entry %llu; it does not",
		         v->at + 1, p->at + 1, ull(ps.match));
}

void watch_step(struct sim_server *v)
{
	struct sim_seen *seen = &v->seen;
	struct raft_status st;

	raft_get_status(v->raft, &st);
	if (st.term < seen->term)
		sim_fail(v->sim, "server %u: term went from %llu to %llu", v->at + 1,
		         ull(seen->term), ull(st.term));
	if (st.term == seen->term && seen->vote != 0 && st.vote != seen->vote)
		sim_fail(v->sim, "server %u: its vote in term %llu went from %llu to %llu",
		         v->at + 1, ull(st.term), ull(seen->vote), ull(st.vote));
	seen->vote = st.vote;
	seen->term = st.term;
	if (st.role == RAFT_LEADER)
		check_leader(v, &st);
	watch_log_step(v, &st);
	for (unsigned i = 0; st.role == RAFT_LEADER && i < v->sim->plan.servers; i++)
		if (i != v->at)
			check_peer(v, &st, &v->sim->servers[i]);
}

/* ---- messages ---- */

static void check_vote(struct sim_server *v, raft_term term, raft_id candidate)
{
	struct known_vote *k = find_vote(v->sim->watch, v->id, v->incarnation, term);

	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		k->key.voter = v->id;
		k->key.incarnation = v->incarnation;
		k->key.term = term;
		k->candidate = candidate;
		HASH_ADD(hh, v->sim->watch->votes, key, sizeof(k->key), k);
	} else if (k->candidate != candidate) {
		sim_fail(v->sim, "server %u votes for %llu and for %llu in term %llu", v->at + 1,
		         ull(k->candidate), ull(candidate), ull(term));
	}
}

void watch_message(struct sim_server *v, const struct raft_msg *m)
{
	bool promise_only = m->kind == RAFT_MSG_PRE_VOTE || m->kind == RAFT_MSG_PRE_VOTE_RESP;

	if (!promise_only && m->term > v->seen.said_term)
		v->seen.said_term = m->term;
	if (m->kind == RAFT_MSG_VOTE_RESP && !m->reject)
		check_vote(v, m->term, m->to);
	if (m->kind == RAFT_MSG_VOTE)
		check_vote(v, m->term, v->id);
	if (m->kind == RAFT_MSG_APPEND_RESP && !m->reject && m->pos.index > 0 &&
	    !watch_is_durable(v, m->pos.index, raft_term_at(v->raft, m->pos.index)))
		sim_fail(v->sim, "server %u acknowledges entry %llu, which is not durable",
		         v->at + 1, ull(m->pos.index));
}

/* ---- recovery ---- */

void watch_lead_started(struct sim_server *v, const struct wal_recovered *rec)
{
	struct known_vote *k = find_vote(v->sim->watch, v->id, v->incarnation, rec->term);

	if (rec->term < v->seen.said_term)
		sim_fail(v->sim, "server %u: comes back in term %llu, had spoken in %llu",
		         v->at + 1, ull(rec->term), ull(v->seen.said_term));
	if (k != NULL && k->candidate != rec->vote)
		sim_fail(v->sim, "server %u: voted for %llu in term %llu, comes back with %llu",
		         v->at + 1, ull(k->candidate), ull(rec->term), ull(rec->vote));
	v->seen.term = rec->term;
	v->seen.vote = rec->vote;
	v->seen.led_term = v->seen.led_last = 0;
}

/* Membership (section 6: joint consensus; thesis 4.2 for learners and for what is called rounds).
 *
 * The configuration in force is the latest one in the log, committed or not; where its entry is
 * truncated, the one before it. `confs` has all of them from the log's base on, in order; confs[0]
 * is not truncated: it stands at or below the base, or is what the server was told when it started.
 *
 * A change is two entries: one with both sets of voters, and, once that is committed, one with the
 * new set alone, which any leader appends that finds itself in the first. One with the same voters
 * needs no first step. Nothing begins while the latest configuration is not committed or joint, nor
 * before an entry of the leader's own term is committed: an earlier leader's configuration might
 * still come back.
 *
 * Who may stand for election: a voter of the latest configuration, or of the ones it replaces as
 * long as it is not known to be committed. Without the latter a server that alone has the last
 * entry, and is no voter in it, would neither lead nor let others lead whose votes are not enough
 * without its own. It leads without counting itself, as a leader does that removes itself.
 *
 * Who was removed while it was away still takes itself for a voter. Those it asks for a promise to
 * be elected tell it (PRE_VOTE_RESP), and it asks no more. */
#include "raft_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/err.h"
#include "../base/mem.h"

/* For how many election timeouts a server that was removed is still sent what is committed, so that
 * it learns of it. */
#define LEAVING_TIMEOUTS 4u

static struct raft_conf_at *latest(struct raft *r)
{
	return &r->confs[r->n_confs - 1];
}

raft_index raft_conf_index(const struct raft *r)
{
	return r->confs[r->n_confs - 1].index;
}

static bool is_settled(const struct raft *r)
{
	return raft_conf_index(r) <= r->commit;
}

/* ---- peers ---- */

static void keep_peer(struct raft *r, struct raft_peer *old, struct raft_peer *p, raft_id id)
{
	if (old != NULL) {
		*p = *old;
		old->id = 0;
		if (p->leave_ms == 0)
			return;
		/* It comes back before it has left, perhaps because it has lost its disk: what it
		 * once had counts for nothing. */
		p->leave_ms = 0;
		raft_leader_start_peer(r, p);
		return;
	}
	*p = (struct raft_peer){.id = id, .vote = RAFT_VOTE_PENDING};
	if (r->role == RAFT_LEADER)
		raft_leader_start_peer(r, p);
}

/* A leader goes on talking for a while to those that are members no more. */
static size_t keep_leaving(struct raft *r, struct raft_peer *peers, size_t n)
{
	for (size_t i = 0; i < r->n_peers; i++) {
		struct raft_peer *old = &r->peers[i];

		if (old->id == 0)
			continue;
		if (r->role != RAFT_LEADER || old->id == r->opts.id) {
			free(old->flight);
			continue;
		}
		if (old->leave_ms == 0)
			old->leave_ms = r->now_ms + LEAVING_TIMEOUTS * r->opts.election_max_ms;
		peers[n++] = *old;
	}
	return n;
}

/* The peers are the members of the configuration in force, and at a leader those that leave. */
static void follow_conf(struct raft *r)
{
	raft_id ids[3 * RAFT_MEMBERS_MAX];
	size_t n = raft_conf_members(&r->conf, ids);
	struct raft_peer *peers = mem_calloc(n + r->n_peers + 1, sizeof(*peers));

	for (size_t i = 0; i < n; i++)
		keep_peer(r, raft_peer_find(r, ids[i]), &peers[i], ids[i]);
	n = keep_leaving(r, peers, n);
	free(r->peers);
	r->peers = peers;
	r->n_peers = n;
}

static void drop_leaving(struct raft *r, bool all)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_peers; i++) {
		struct raft_peer *p = &r->peers[i];

		if (p->leave_ms != 0 && (all || r->now_ms >= p->leave_ms))
			free(p->flight);
		else
			r->peers[n++] = *p;
	}
	r->n_peers = n;
}

void raft_member_tick(struct raft *r)
{
	drop_leaving(r, false);
}

void raft_member_stop_leading(struct raft *r)
{
	drop_leaving(r, true);
}

/* ---- the configuration in force ---- */

static void note_conf(struct raft *r, enum raft_notice_kind kind, const struct raft_conf_at *at)
{
	struct raft_notice *n = raft_note(r, kind);

	n->index = at->index;
	n->text = at->conf.n_old > 0 ? "joint" : NULL;
}

static void enforce_latest(struct raft *r)
{
	r->conf = latest(r)->conf;
	follow_conf(r);
	note_conf(r, RAFT_NOTE_CONF, latest(r));
}

static void push(struct raft *r, raft_index index, const struct raft_conf *c)
{
	r->confs = mem_grow(r->confs, &r->cap_confs, r->n_confs + 1, sizeof(*r->confs));
	r->confs[r->n_confs++] = (struct raft_conf_at){index, *c};
}

static bool push_entry(struct raft *r, const struct raft_entry *e)
{
	struct raft_conf c;

	if (e->kind != RAFT_ENTRY_CONFIG || e->pos.index <= r->confs[0].index)
		return true;
	if (!raft_conf_decode(&c, e->data, e->len))
		return false;
	push(r, e->pos.index, &c);
	return true;
}

bool raft_member_init(struct raft *r, const struct raft_recovered *rec)
{
	push(r, rec->conf_index, &rec->conf);
	for (size_t i = 0; i < rec->n; i++)
		if (!push_entry(r, &rec->entries[i]))
			return false;
	r->conf = latest(r)->conf;
	follow_conf(r);
	r->conf_told = is_settled(r) ? raft_conf_index(r) : r->commit;
	return true;
}

void raft_member_free(struct raft *r)
{
	for (size_t i = 0; i < r->n_peers; i++)
		free(r->peers[i].flight);
	free(r->peers);
	free(r->confs);
}

void raft_member_truncated(struct raft *r, raft_index from)
{
	size_t n = r->n_confs;

	while (n > 1 && r->confs[n - 1].index >= from)
		n--;
	if (n == r->n_confs)
		return;
	r->n_confs = n;
	enforce_latest(r);
}

void raft_member_appended(struct raft *r, const struct raft_entry *entries, size_t n)
{
	size_t had = r->n_confs;

	for (size_t i = 0; i < n; i++)
		rfs_check(push_entry(r, &entries[i])); /* refused before, if it makes no sense */
	if (r->n_confs > had)
		enforce_latest(r);
}

/* What stands at the base, and everything behind it. */
void raft_member_cut(struct raft *r, raft_index base)
{
	size_t drop = 0;

	while (drop + 1 < r->n_confs && r->confs[drop + 1].index <= base)
		drop++;
	r->n_confs -= drop;
	memmove(r->confs, r->confs + drop, r->n_confs * sizeof(*r->confs));
}

void raft_member_reset(struct raft *r, const struct raft_conf *conf, raft_index index)
{
	raft_index was = raft_conf_index(r);

	r->n_confs = 1;
	if (conf != NULL)
		r->confs[0] = (struct raft_conf_at){index, *conf};
	r->conf_told = raft_conf_index(r);
	if (raft_conf_index(r) != was || !raft_conf_same(&r->conf, &latest(r)->conf))
		enforce_latest(r);
}

const struct raft_conf *raft_member_conf_at(const struct raft *r, raft_index index, raft_index *at)
{
	for (size_t n = r->n_confs; n > 0; n--) {
		if (r->confs[n - 1].index > index)
			continue;
		if (at != NULL)
			*at = r->confs[n - 1].index;
		return &r->confs[n - 1].conf;
	}
	return NULL;
}

raft_index raft_member_removed_at(const struct raft *r, raft_id id)
{
	raft_index at = 0;
	const struct raft_conf *c = raft_member_conf_at(r, r->commit, &at);

	return c == NULL || raft_conf_is_member(c, id) ? 0 : at;
}

/* If we are added again later, that comes with an APPEND. */
void raft_member_told_removed(struct raft *r, raft_id peer, raft_index index)
{
	struct raft_notice *n;

	if (index <= raft_conf_index(r) || index <= r->removed_at)
		return;
	r->removed_at = index;
	n = raft_note(r, RAFT_NOTE_REMOVED);
	n->peer = peer;
	n->index = index;
	raft_become_follower(r, r->term, 0);
}

bool raft_may_stand(const struct raft *r)
{
	if (r->stalled && raft_transfer_possible(r))
		return false;
	if (r->removed_at > raft_conf_index(r))
		return false;
	for (size_t n = r->n_confs; n > 0; n--) {
		if (raft_conf_is_voter(&r->confs[n - 1].conf, r->opts.id))
			return true;
		if (r->confs[n - 1].index <= r->commit)
			return false;
	}
	return false;
}

/* ---- a leader changes it ---- */

static void append_conf(struct raft *r, const struct raft_conf *c)
{
	struct raft_pos last = raft_log_last(&r->log);

	r->conf_entry = (struct raft_entry){
	        .pos = {last.index + 1, r->term},
	        .kind = RAFT_ENTRY_CONFIG,
	        .len = (uint32_t)raft_conf_encode(c, r->conf_bytes),
	        .data = r->conf_bytes,
	};
	raft_append(r, &r->conf_entry, 1);
}

int raft_member_change(struct raft *r, const struct raft_conf *target)
{
	struct raft_conf next;

	if (r->role != RAFT_LEADER)
		return RFS_ENOTLEADER;
	if (target->n_old != 0 || raft_conf_fault(target) != NULL)
		return -EINVAL;
	if (r->commit < r->term_start)
		return -EAGAIN;
	if (!is_settled(r) || r->conf.n_old > 0 || r->transfer != 0)
		return -EBUSY;
	if (!raft_conf_enter(&next, &r->conf, target))
		return -E2BIG;
	if (raft_conf_same(&next, &r->conf))
		return -EALREADY;
	append_conf(r, &next);
	return 0;
}

static void tell_committed(struct raft *r)
{
	for (size_t i = 0; i < r->n_confs; i++)
		if (r->confs[i].index > r->conf_told && r->confs[i].index <= r->commit) {
			note_conf(r, RAFT_NOTE_CONF_COMMITTED, &r->confs[i]);
			r->conf_told = r->confs[i].index;
		}
}

void raft_member_advance(struct raft *r)
{
	struct raft_conf next;

	tell_committed(r);
	if (r->role != RAFT_LEADER || !is_settled(r) || r->commit < r->term_start)
		return;
	if (r->conf.n_old > 0) {
		raft_conf_leave(&next, &r->conf);
		append_conf(r, &next);
	} else if (!raft_conf_is_voter(&r->conf, r->opts.id)) {
		/* The rest need not wait for our silence. */
		raft_transfer_leave(r);
		raft_become_follower(r, r->term, 0);
	}
}

/* ---- learners catch up ---- */

/* A round is to bring a learner to where the log ended when the round began. Each should take less
 * time than the one before; one shorter than an election timeout shows that it keeps up, and that
 * making it a voter will not hold up commits for longer than that. */
#define ROUNDS_MAX 10u

static void next_round(struct raft *r, struct raft_peer *p)
{
	p->round_target = raft_log_last(&r->log).index;
	p->round_since_ms = r->now_ms;
}

void raft_learner_start(struct raft *r, struct raft_peer *p)
{
	p->caught_up = false;
	p->rounds = 0;
	next_round(r, p);
}

void raft_learner_acked(struct raft *r, struct raft_peer *p)
{
	bool was = p->caught_up;

	if (p->match < p->round_target || !raft_conf_is_learner(&r->conf, p->id))
		return;
	p->caught_up = r->now_ms - p->round_since_ms < r->opts.election_min_ms;
	if (p->caught_up) {
		p->rounds = 0;
		if (!was)
			raft_note(r, RAFT_NOTE_CAUGHT_UP)->peer = p->id;
	} else if (++p->rounds == ROUNDS_MAX) {
		raft_note(r, RAFT_NOTE_TOO_SLOW)->peer = p->id;
		p->rounds = 0;
	}
	next_round(r, p);
}

bool raft_learner_caught_up(const struct raft *r, const struct raft_peer *p)
{
	return p->caught_up && raft_conf_is_learner(&r->conf, p->id) &&
	       r->now_ms - p->round_since_ms < r->opts.election_max_ms;
}

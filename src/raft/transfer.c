/* Leadership transfer (thesis 3.10): the leader takes no more proposals, brings one voter up to
 * date and tells it to stand at once, without pre-vote and without waiting for our silence.
 *
 * It ends in one of two ways: a newer term takes our place, whoever leads it; or an election
 * timeout has passed, and we go on as if nothing had been. A target that stands after that is a
 * candidate like any other. Reads need no care: what serves them is a round confirmed by a quorum
 * of our term, never a lease, and whoever was elected had the votes of a quorum of a newer one. */
#include "raft_priv.h"

#include <errno.h>
#include "../base/err.h"

static bool is_reachable(const struct raft *r, const struct raft_peer *p)
{
	return r->now_ms - p->heard_ms < r->opts.election_min_ms;
}

static bool is_better(const struct raft *r, const struct raft_peer *p, const struct raft_peer *than)
{
	if (than == NULL || is_reachable(r, p) != is_reachable(r, than))
		return than == NULL || is_reachable(r, p);
	return p->match != than->match ? p->match > than->match : p->heard_ms > than->heard_ms;
}

/* The voter that needs least to be brought up to date; 0: there is no other. Of a joint
 * configuration one that stays. */
static raft_id best_voter(const struct raft *r)
{
	const struct raft_peer *best = NULL;

	for (size_t i = 0; i < r->n_peers; i++) {
		const struct raft_peer *p = &r->peers[i];

		if (p->id != r->opts.id && raft_conf_stays_voter(&r->conf, p->id) &&
		    is_better(r, p, best))
			best = p;
	}
	return best != NULL ? best->id : 0;
}

int raft_transfer_begin(struct raft *r, raft_id to)
{
	if (r->role != RAFT_LEADER)
		return RFS_ENOTLEADER;
	if (to == r->opts.id)
		return 0;
	if (to == 0)
		to = r->transfer != 0 ? r->transfer : best_voter(r);
	if (to == 0 || !raft_conf_stays_voter(&r->conf, to))
		return raft_conf_is_member(&r->conf, to) ? -EINVAL : -ENOENT;
	if (r->transfer != 0)
		return r->transfer == to ? 0 : -EBUSY;
	r->transfer = to;
	r->transfer_until_ms = r->now_ms + r->opts.election_max_ms;
	r->transfer_due_ms = r->now_ms;
	raft_note(r, RAFT_NOTE_TRANSFER)->peer = to;
	return 0;
}

void raft_transfer_end(struct raft *r, const char *why)
{
	struct raft_notice *n;

	if (r->transfer == 0)
		return;
	n = raft_note(r, RAFT_NOTE_TRANSFER_END);
	n->peer = r->transfer;
	n->text = why;
	r->transfer = 0;
}

void raft_transfer_leave(struct raft *r)
{
	raft_id to = best_voter(r);

	if (to != 0)
		raft_send(r, RAFT_MSG_TIMEOUT_NOW, to)->pos = raft_log_last(&r->log);
}

bool raft_transfer_possible(const struct raft *r)
{
	return best_voter(r) != 0;
}

void raft_transfer_tick(struct raft *r)
{
	if (r->transfer != 0 && r->now_ms >= r->transfer_until_ms)
		raft_transfer_end(r, "not taken over in time");
}

/* When to tell the target (again, since a message may be lost); UINT64_MAX while it lacks entries.
 */
static uint64_t told_due(const struct raft *r)
{
	for (size_t i = 0; r->transfer != 0 && i < r->n_peers; i++)
		if (r->peers[i].id == r->transfer &&
		    r->peers[i].match == raft_log_last(&r->log).index)
			return r->transfer_due_ms;
	return UINT64_MAX;
}

bool raft_transfer_wants_flush(const struct raft *r)
{
	return told_due(r) <= r->now_ms;
}

uint64_t raft_transfer_deadline(const struct raft *r)
{
	uint64_t due = told_due(r);

	if (r->transfer == 0)
		return UINT64_MAX;
	return due < r->transfer_until_ms ? due : r->transfer_until_ms;
}

void raft_transfer_flush(struct raft *r)
{
	if (!raft_transfer_wants_flush(r))
		return;
	r->transfer_due_ms = r->now_ms + r->opts.heartbeat_ms;
	raft_send(r, RAFT_MSG_TIMEOUT_NOW, r->transfer)->pos = raft_log_last(&r->log);
}

/* A word of this term's leader, and of no other; an old one is void. */
void raft_recv_timeout_now(struct raft *r, const struct raft_msg *m)
{
	if (m->term < r->term || r->role == RAFT_CANDIDATE)
		return;
	if (m->term == r->led_term || (r->leader != 0 && r->leader != m->from)) {
		raft_note_protocol(r, m->from, "hands over what it does not lead");
		return;
	}
	raft_campaign(r, true);
}

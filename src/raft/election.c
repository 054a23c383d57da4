/* Roles and terms.
 *
 * A server that has not heard from a leader for a random time first asks whether it would be
 * elected (pre-vote, thesis 9.6), and only then starts a term; so one that was cut off comes back
 * without disturbing anybody. Those who hear a live leader refuse (stickiness, thesis 4.2.3), and a
 * leader that hears no quorum steps down (check-quorum, thesis 6.2). The two together must not shut
 * out a server whose term is ahead: it answers an older leader's APPENDs with its own term
 * (append.c), and that leader then gives way. */
#include "raft_priv.h"

#include "../base/check.h"

void raft_election_reset_timer(struct raft *r)
{
	uint32_t spread = r->opts.election_max_ms - r->opts.election_min_ms;

	r->elect_deadline_ms =
	        r->now_ms + r->opts.election_min_ms + (spread > 0 ? raft_random(r, spread) : 0);
}

static void set_role(struct raft *r, enum raft_role role)
{
	enum raft_role was = r->role;

	if (was == role)
		return;
	r->role = role;
	raft_note(r, RAFT_NOTE_ROLE)->was = was;
}

static void set_leader(struct raft *r, raft_id leader)
{
	if (r->leader == leader)
		return;
	raft_reads_fail(r);
	r->leader = leader;
	raft_note(r, RAFT_NOTE_LEADER)->peer = leader;
}

/* Nothing that was said or is owed in the old term counts in the new one. */
static void enter_term(struct raft *r, raft_term term)
{
	rfs_check(term > r->term);
	r->term = term;
	r->vote = 0;
	r->state_dirty = true;
	r->verified = 0;
	r->round_seen = 0;
	r->ack_owed = false;
	raft_send_drop_all(r);
	raft_reads_fail(r);
}

void raft_become_follower(struct raft *r, raft_term term, raft_id leader)
{
	bool led = r->role == RAFT_LEADER;

	rfs_check(term >= r->term);
	if (term > r->term) {
		enter_term(r, term);
		raft_note(r, RAFT_NOTE_TERM);
	}
	if (led)
		raft_transfer_end(r, r->term > r->led_term ? NULL : "stepped down");
	set_role(r, RAFT_FOLLOWER);
	set_leader(r, leader);
	if (!led)
		return;
	raft_member_stop_leading(r);
	raft_election_reset_timer(r);
}

/* ---- standing for election ---- */

static uint64_t vote_of(const void *ctx, raft_id id)
{
	const struct raft *r = ctx;

	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return r->peers[i].vote;
	return RAFT_VOTE_REFUSED;
}

static bool election_is_won(const struct raft *r)
{
	return raft_conf_quorum(&r->conf, vote_of, r) >= RAFT_VOTE_GRANTED;
}

static void clear_votes(struct raft *r)
{
	for (size_t i = 0; i < r->n_peers; i++)
		r->peers[i].vote = RAFT_VOTE_PENDING;
}

static void vote_for_self(struct raft *r)
{
	struct raft_peer *self = raft_peer_find(r, r->opts.id);

	if (self != NULL)
		self->vote = RAFT_VOTE_GRANTED;
}

static void ask_voters(struct raft *r, enum raft_msg_kind kind, raft_term term)
{
	for (size_t i = 0; i < r->n_peers; i++) {
		raft_id id = r->peers[i].id;

		if (id == r->opts.id || !raft_conf_is_voter(&r->conf, id))
			continue;
		struct raft_msg *m = raft_send(r, kind, id);

		m->term = term;
		m->pos = raft_log_last(&r->log);
		m->force = kind == RAFT_MSG_VOTE && r->force;
	}
}

static void become_leader(struct raft *r)
{
	struct raft_notice *n;
	unsigned votes = 0, voters = 0;

	/* Nobody was asked before the vote for ourselves was durable. */
	rfs_check(r->role == RAFT_CANDIDATE && r->vote == r->opts.id && raft_state_is_durable(r));
	for (size_t i = 0; i < r->n_peers; i++) {
		voters += raft_conf_is_voter(&r->conf, r->peers[i].id);
		votes += raft_conf_is_voter(&r->conf, r->peers[i].id) &&
		         r->peers[i].vote == RAFT_VOTE_GRANTED;
	}
	r->role = RAFT_LEADER;
	r->led_term = r->term;
	n = raft_note(r, RAFT_NOTE_ROLE);
	n->was = RAFT_CANDIDATE;
	n->votes = votes;
	n->voters = voters;
	set_leader(r, r->opts.id);
	raft_leader_start(r);
}

/* Section 5.2. The vote for ourselves counts, and those of the others are asked for, only when it
 * is on disk: see raft_election_state_durable(). */
void raft_campaign(struct raft *r, bool force)
{
	if (r->role == RAFT_LEADER || !raft_may_stand(r) || r->term >= RAFT_NUMBER_MAX)
		return;
	enter_term(r, r->term + 1);
	r->vote = r->opts.id;
	r->force = force;
	clear_votes(r);
	set_role(r, RAFT_CANDIDATE);
	set_leader(r, 0);
	raft_election_reset_timer(r);
	ask_voters(r, RAFT_MSG_VOTE, r->term);
}

static void start_pre_vote(struct raft *r)
{
	clear_votes(r);
	vote_for_self(r);
	if (election_is_won(r)) {
		raft_campaign(r, false);
		return;
	}
	set_role(r, RAFT_PRE_CANDIDATE);
	ask_voters(r, RAFT_MSG_PRE_VOTE, r->term + 1);
}

void raft_election_state_durable(struct raft *r)
{
	if (r->role != RAFT_CANDIDATE)
		return;
	vote_for_self(r);
	raft_election_reset_timer(r); /* only now are the others asked */
	if (election_is_won(r))
		become_leader(r);
}

void raft_election_tick(struct raft *r)
{
	if (r->role == RAFT_LEADER) {
		raft_transfer_tick(r);
		raft_member_tick(r);
		if (r->now_ms - raft_leader_heard_quorum(r) < r->opts.election_max_ms)
			return;
		raft_note(r, RAFT_NOTE_QUORUM_LOST);
		/* In the same term: the vote we gave ourselves stands. */
		raft_become_follower(r, r->term, 0);
		return;
	}
	if (r->now_ms < r->elect_deadline_ms)
		return;
	raft_election_reset_timer(r);
	set_leader(r, 0);
	if (r->role == RAFT_CANDIDATE && !raft_state_is_durable(r))
		return; /* a slow disk: nobody has been asked yet */
	if (raft_may_stand(r) && r->term < RAFT_NUMBER_MAX)
		start_pre_vote(r);
}

/* In the same term: a vote that was given stands. The others need not wait for our silence. */
void raft_election_disk(struct raft *r, bool stalled)
{
	bool stops =
	        stalled && !r->stalled && r->role != RAFT_FOLLOWER && raft_transfer_possible(r);

	r->stalled = stalled;
	if (!stops)
		return;
	if (r->role == RAFT_LEADER)
		raft_transfer_leave(r);
	raft_become_follower(r, r->term, 0);
}

/* ---- voting ---- */

static bool hears_leader(const struct raft *r)
{
	return r->role == RAFT_LEADER ||
	       (r->leader != 0 && r->now_ms - r->leader_heard_ms < r->opts.election_min_ms);
}

/* Section 5.4.1: the candidate's log must be at least as up to date as ours. */
static bool log_is_behind(const struct raft *r, struct raft_pos theirs)
{
	struct raft_pos ours = raft_log_last(&r->log);

	return theirs.term < ours.term || (theirs.term == ours.term && theirs.index < ours.index);
}

static void note_vote(struct raft *r, const struct raft_msg *m, const char *refused)
{
	struct raft_notice *n =
	        raft_note(r, refused == NULL ? RAFT_NOTE_VOTE_GRANTED : RAFT_NOTE_VOTE_REFUSED);

	n->peer = m->from;
	n->term = m->term;
	n->pre = m->kind == RAFT_MSG_PRE_VOTE;
	n->text = refused;
}

/* A promise to vote changes nothing here, not even the term. */
static void recv_pre_vote(struct raft *r, const struct raft_msg *m)
{
	const char *refused = NULL;
	struct raft_msg *resp;

	if (m->term <= r->term)
		refused = "its term is old";
	else if (hears_leader(r))
		refused = "the leader is alive";
	else if (r->stalled)
		refused = "this disk hangs";
	else if (log_is_behind(r, m->pos))
		refused = "its log is behind";
	note_vote(r, m, refused);
	resp = raft_send(r, RAFT_MSG_PRE_VOTE_RESP, m->from);
	resp->reject = refused != NULL;
	if (refused == NULL)
		resp->term = m->term;
	else
		resp->last = raft_member_removed_at(r, m->from);
}

void raft_recv_vote(struct raft *r, const struct raft_msg *m)
{
	const char *refused = NULL;
	bool again = m->term == r->term && r->vote == m->from;

	if (m->kind == RAFT_MSG_PRE_VOTE) {
		recv_pre_vote(r, m);
		return;
	}
	if (m->term < r->term) {
		refused = "its term is old";
	} else if (hears_leader(r) && !m->force && !again) {
		/* Its term is not taken over either; a candidate with a newer term that finds no
		 * quorum gets the leader to step down by its answer to the next APPEND. */
		note_vote(r, m, "the leader is alive");
		return;
	} else {
		if (m->term > r->term)
			raft_become_follower(r, m->term, 0);
		if (r->vote != 0 && r->vote != m->from)
			refused = "voted for another";
		else if (log_is_behind(r, m->pos))
			refused = "its log is behind";
	}
	if (!again)
		note_vote(r, m, refused);
	if (refused == NULL && !again) {
		r->vote = m->from;
		r->state_dirty = true;
		raft_election_reset_timer(r);
	}
	raft_send(r, RAFT_MSG_VOTE_RESP, m->from)->reject = refused != NULL;
}

void raft_recv_vote_resp(struct raft *r, const struct raft_msg *m)
{
	bool pre = m->kind == RAFT_MSG_PRE_VOTE_RESP;
	struct raft_peer *p = raft_peer_find(r, m->from);
	struct raft_notice *n;

	rfs_check(p != NULL);
	if (r->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
		return;
	if (!pre && !raft_state_is_durable(r))
		return; /* nobody can know of our candidacy yet */
	/* A granted pre-vote names the term asked for. A refused one names the sender's, which may
	 * be older than ours: it is behind, and yet hears a leader or has the longer log. */
	if (pre ? !m->reject && m->term != r->term + 1 : m->term != r->term)
		return;
	/* A refusal may be a late one of an earlier round; what was granted stays. */
	if (p->vote == RAFT_VOTE_GRANTED || (m->reject && p->vote == RAFT_VOTE_REFUSED))
		return;
	if (pre && m->reject && m->last > 0) {
		raft_member_told_removed(r, m->from, m->last);
		if (r->role == RAFT_FOLLOWER)
			return;
	}
	p->vote = m->reject ? RAFT_VOTE_REFUSED : RAFT_VOTE_GRANTED;
	n = raft_note(r, RAFT_NOTE_VOTE_RECEIVED);
	n->peer = m->from;
	n->pre = pre;
	n->term = pre ? r->term + 1 : r->term;
	n->text = m->reject ? "refused" : NULL;
	if (!election_is_won(r))
		return;
	if (pre)
		raft_campaign(r, false);
	else
		become_leader(r);
}

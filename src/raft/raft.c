/* Life of a core, dispatch of events, and what holds after every step. */
#include "raft_priv.h"

#include <stdlib.h>
#include "../base/check.h"
#include "../base/err.h"
#include "../base/mem.h"

const char *raft_role_name(enum raft_role role)
{
	switch (role) {
	case RAFT_FOLLOWER: return "follower";
	case RAFT_PRE_CANDIDATE: return "pre-candidate";
	case RAFT_CANDIDATE: return "candidate";
	case RAFT_LEADER: return "leader";
	}
	return "?";
}

const char *raft_msg_name(enum raft_msg_kind kind)
{
	switch (kind) {
	case RAFT_MSG_PRE_VOTE: return "PRE_VOTE";
	case RAFT_MSG_PRE_VOTE_RESP: return "PRE_VOTE_RESP";
	case RAFT_MSG_VOTE: return "VOTE";
	case RAFT_MSG_VOTE_RESP: return "VOTE_RESP";
	case RAFT_MSG_APPEND: return "APPEND";
	case RAFT_MSG_APPEND_RESP: return "APPEND_RESP";
	case RAFT_MSG_READ: return "READ";
	case RAFT_MSG_READ_RESP: return "READ_RESP";
	case RAFT_MSG_TIMEOUT_NOW: return "TIMEOUT_NOW";
	}
	return "?";
}

/* splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). */
uint32_t raft_random(struct raft *r, uint32_t below)
{
	uint64_t z = r->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % below);
}

struct raft_peer *raft_peer_find(struct raft *r, raft_id id)
{
	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return &r->peers[i];
	return NULL;
}

/* ---- life ---- */

struct raft *raft_new(const struct raft_opts *opts, const struct raft_recovered *rec,
                      uint64_t now_ms)
{
	struct raft *r = mem_zalloc(sizeof(*r));
	struct raft_pos last;

	rfs_check(opts->id != 0 && opts->election_min_ms > 0 &&
	          opts->election_max_ms >= opts->election_min_ms);
	rfs_check(opts->heartbeat_ms > 0 && opts->append_bytes_max > 0 &&
	          opts->inflight_msgs_max > 0);
	r->opts = *opts;
	r->now_ms = now_ms;
	r->rng = opts->seed;
	r->term = rec->term;
	r->vote = rec->vote;
	raft_log_init(&r->log, rec->base, rec->entries, rec->n);
	last = raft_log_last(&r->log);
	if (last.term > r->term) {
		/* The log's write overtook the one of its term. No vote of that term can have
		 * left. */
		r->term = last.term;
		r->vote = 0;
		r->state_dirty = true;
	}
	r->commit = rec->applied < last.index ? rec->applied : last.index;
	if (r->commit < rec->base.index)
		r->commit = rec->base.index; /* what the log no longer holds was applied */
	r->handed = r->commit;
	r->applied = rec->applied;

	if (!raft_member_init(r, rec)) {
		raft_free(r);
		return NULL;
	}
	raft_election_reset_timer(r);
	if (r->n_peers == 1 && r->peers[0].id == opts->id)
		r->elect_deadline_ms = now_ms; /* alone: nobody to wait for */
	return r;
}

void raft_free(struct raft *r)
{
	if (r == NULL)
		return;
	raft_log_free(&r->log);
	raft_member_free(r);
	free(r->reads);
	free(r->outbox);
	free(r->ready);
	free(r->notices);
	free(r->appended);
	free(r->snapshot_to);
	free(r);
}

/* ---- messages ---- */

/* NULL, or why this cannot come from a correct server. Nothing of such a message is used. */
static const char *msg_fault(struct raft *r, const struct raft_msg *m)
{
	if ((unsigned)m->kind < RAFT_MSG_PRE_VOTE || (unsigned)m->kind > RAFT_MSG_KIND_MAX)
		return "unknown kind of message";
	if (m->from == 0 || m->from == r->opts.id || m->to != r->opts.id)
		return "message goes astray";
	if (m->term == 0 || m->term > RAFT_NUMBER_MAX)
		return "term out of range";
	if (m->kind == RAFT_MSG_APPEND)
		return raft_append_fault(m);
	if ((m->kind == RAFT_MSG_READ || m->kind == RAFT_MSG_READ_RESP) && m->read_ctx == 0)
		return "read without a number";
	return NULL;
}

/* Whether a newer term in `m` is one that has begun; the others only ask about it. */
static bool term_has_begun(const struct raft_msg *m)
{
	return m->kind != RAFT_MSG_PRE_VOTE && (m->kind != RAFT_MSG_PRE_VOTE_RESP || m->reject);
}

/* Section 6: a server listens to a leader and to candidates whether or not they are in its own
 * configuration, which may be older than theirs, or empty. Answers come from those it asked; one
 * from a server that has been removed since is late, and its term is not ours. */
static bool is_void(struct raft *r, const struct raft_msg *m)
{
	if (raft_peer_find(r, m->from) != NULL)
		return false;
	switch (m->kind) {
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_APPEND:
	case RAFT_MSG_READ_RESP:
	case RAFT_MSG_TIMEOUT_NOW: return false;
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_APPEND_RESP: return true;
	case RAFT_MSG_READ: return m->term > r->term;
	}
	return true;
}

static void recv(struct raft *r, const struct raft_msg *m)
{
	const char *fault = msg_fault(r, m);

	if (fault != NULL) {
		raft_note_protocol(r, m->from, fault);
		return;
	}
	if (is_void(r, m))
		return;
	/* Votes and APPENDs look at the term themselves: stickiness, and who leads. */
	if (m->term > r->term && term_has_begun(m) && m->kind != RAFT_MSG_VOTE &&
	    m->kind != RAFT_MSG_APPEND)
		raft_become_follower(r, m->term, 0);
	switch (m->kind) {
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_VOTE: raft_recv_vote(r, m); break;
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE_RESP: raft_recv_vote_resp(r, m); break;
	case RAFT_MSG_APPEND: raft_recv_append(r, m); break;
	case RAFT_MSG_APPEND_RESP: raft_recv_append_resp(r, m); break;
	case RAFT_MSG_READ: raft_recv_read(r, m); break;
	case RAFT_MSG_READ_RESP: raft_recv_read_resp(r, m); break;
	case RAFT_MSG_TIMEOUT_NOW: raft_recv_timeout_now(r, m); break;
	}
}

/* ---- events ---- */

static void state_durable(struct raft *r, uint64_t epoch)
{
	if (epoch <= r->state_durable || epoch > r->state_epoch)
		return;
	r->state_durable = epoch;
	if (raft_state_is_durable(r))
		raft_election_state_durable(r);
}

static void log_durable(struct raft *r, uint64_t epoch, struct raft_pos pos)
{
	if (!raft_log_set_durable(&r->log, epoch, pos))
		return;
	if (r->role == RAFT_LEADER)
		raft_leader_log_durable(r);
	else
		raft_follower_log_durable(r);
}

static void peer_down(struct raft *r, raft_id id)
{
	if (r->role == RAFT_LEADER)
		raft_leader_peer_down(r, id);
	else if (id == r->leader)
		raft_reads_fail(r);
}

static void dispatch(struct raft *r, const struct raft_event *ev)
{
	switch (ev->kind) {
	case RAFT_EV_TICK:
		raft_election_tick(r);
		if (r->role != RAFT_LEADER)
			raft_reads_expire(r);
		break;
	case RAFT_EV_FLUSH:
		if (r->role == RAFT_LEADER)
			raft_leader_flush(r);
		break;
	case RAFT_EV_MSG: recv(r, ev->msg); break;
	case RAFT_EV_PROPOSE:
		r->out->error = raft_leader_propose(r, ev->propose.entries, ev->propose.n);
		break;
	case RAFT_EV_READ: raft_read_local(r, ev->read_ctx); break;
	case RAFT_EV_LOG_DURABLE: log_durable(r, ev->durable.epoch, ev->durable.pos); break;
	case RAFT_EV_STATE_DURABLE: state_durable(r, ev->durable.epoch); break;
	case RAFT_EV_CAMPAIGN: raft_campaign(r, ev->force); break;
	case RAFT_EV_PEER_DOWN: peer_down(r, ev->peer); break;
	case RAFT_EV_SNAPSHOT_STATUS:
		raft_snapshot_status(r, ev->snapshot.peer, ev->snapshot.pos);
		break;
	case RAFT_EV_SNAPSHOT_INSTALLED:
		r->out->error = raft_snapshot_installed(r, ev->snapshot.pos, ev->snapshot.conf,
		                                        ev->snapshot.conf_index);
		break;
	case RAFT_EV_LOG_CUT: raft_log_was_cut(r, ev->snapshot.pos); break;
	case RAFT_EV_CHANGE: r->out->error = raft_member_change(r, ev->conf); break;
	case RAFT_EV_TRANSFER: r->out->error = raft_transfer_begin(r, ev->peer); break;
	case RAFT_EV_DISK: raft_election_disk(r, ev->stalled); break;
	}
}

/* What must be true of our own doing, whatever the others send. */
static void check_invariants(const struct raft *r, raft_term term, raft_index commit)
{
	raft_index last = raft_log_last(&r->log).index;

	rfs_check(r->term >= term);
	rfs_check(r->commit >= commit && r->commit <= last);
	rfs_check(r->handed <= r->commit);
	rfs_check(r->log.durable >= r->log.base.index && r->log.durable <= last);
	rfs_check(r->verified <= last);
	rfs_check(r->transfer == 0 || r->role == RAFT_LEADER);
	if (r->role != RAFT_LEADER)
		return;
	rfs_check(r->leader == r->opts.id && r->vote == r->opts.id && raft_state_is_durable(r));
	for (size_t i = 0; i < r->n_peers; i++) {
		const struct raft_peer *p = &r->peers[i];

		rfs_check(p->match < p->next && p->match <= last && p->next <= last + 1);
		rfs_check(p->next > r->log.base.index);
		rfs_check(!p->snapshot || !p->replicating);
	}
}

void raft_step(struct raft *r, const struct raft_event *ev, struct raft_out *out)
{
	raft_term term = r->term;
	raft_index commit = r->commit;

	if (ev->now_ms > r->now_ms)
		r->now_ms = ev->now_ms;
	raft_out_begin(r, out);
	dispatch(r, ev);
	raft_member_advance(r);
	raft_out_end(r);
	check_invariants(r, term, commit);
}

/* ---- looking in ---- */

void raft_get_status(const struct raft *r, struct raft_status *st)
{
	struct raft_pos last = raft_log_last(&r->log);

	*st = (struct raft_status){
	        .id = r->opts.id,
	        .leader = r->leader,
	        .role = r->role,
	        .term = r->term,
	        .vote = r->vote,
	        .base = r->log.base,
	        .last = last,
	        .durable = r->log.durable,
	        .commit = r->commit,
	        .uncommitted_bytes = raft_log_bytes(&r->log, r->commit, last.index),
	        .conf_index = raft_conf_index(r),
	        .transfer = r->transfer,
	};
}

bool raft_get_peer(const struct raft *r, raft_id id, struct raft_peer_status *st)
{
	for (size_t i = 0; r->role == RAFT_LEADER && i < r->n_peers; i++) {
		const struct raft_peer *p = &r->peers[i];

		if (p->id != id)
			continue;
		*st = (struct raft_peer_status){
		        .id = id,
		        .match = p->match,
		        .next = p->next,
		        .replicating = p->replicating,
		        .snapshot = p->snapshot,
		        .inflight_bytes = raft_leader_flight_bytes(r, p),
		        .heard_ms = p->heard_ms,
		        .caught_up = raft_learner_caught_up(r, p),
		        .leaving = p->leave_ms != 0,
		};
		return true;
	}
	return false;
}

const struct raft_conf *raft_get_conf(const struct raft *r)
{
	return &r->conf;
}

const struct raft_conf *raft_get_conf_at(const struct raft *r, raft_index index, raft_index *at)
{
	return raft_member_conf_at(r, index, at);
}

raft_term raft_term_at(const struct raft *r, raft_index index)
{
	return raft_log_term(&r->log, index);
}

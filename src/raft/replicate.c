/* The leader's side of replication (section 5.3; thesis 10.2 for pipelining and writing in
 * parallel).
 *
 * What a peer's log holds is unknown at first: we probe, one message at a time, until one is
 * accepted. Then we replicate: `next` runs ahead of the answers, within the limits on what may be
 * under way. A refusal or a lost connection throws us back to probing.
 *
 * Nothing is resent on a timer while replicating. A heartbeat follows the last entry sent (its
 * `pos` is next - 1), so where an APPEND was lost, the next heartbeat is refused, and the hint
 * tells where to go on. A follower with a slow disk accepts the heartbeat and is not bothered.
 *
 * Only raft_leader_flush() sends. Everything else changes what there is to send. */
#include "raft_priv.h"

#include "../base/check.h"
#include "../base/err.h"
#include "../base/mem.h"

/* A probe may be thrown away by its receiver; it carries entries only to save the round trip in the
 * usual case of a new leader with little to tell. */
#define PROBE_BYTES_MAX 4096u

static raft_index last_index(const struct raft *r)
{
	return raft_log_last(&r->log).index;
}

void raft_leader_probe(struct raft *r, struct raft_peer *p, raft_index next)
{
	if (next <= r->log.base.index)
		next = r->log.base.index + 1;
	if (next <= p->match)
		next = p->match + 1;
	p->next = next;
	p->replicating = false;
	p->snapshot = false;
	p->probe_sent = false;
	p->n_flight = 0;
	/* Whatever it was told beyond what it has may not have arrived. */
	p->commit_sent = p->match < r->commit ? p->match : r->commit;
	p->round_sent = p->round;
}

static void replicate_from(struct raft_peer *p, raft_index next)
{
	p->next = next > p->match ? next : p->match + 1;
	p->flight_from = p->next - 1;
	p->replicating = true;
	p->snapshot = false;
	p->probe_sent = false;
	p->n_flight = 0;
}

void raft_leader_start_peer(struct raft *r, struct raft_peer *p)
{
	if (p->flight == NULL)
		p->flight = mem_calloc(r->opts.inflight_msgs_max, sizeof(*p->flight));
	p->match = p->id == r->opts.id ? r->log.durable : 0;
	p->round = 0;
	p->heard_ms = r->now_ms;
	p->sent_ms = r->now_ms;
	p->asked_ms = r->now_ms;
	raft_leader_probe(r, p, last_index(r) + 1);
	raft_learner_start(r, p);
}

void raft_leader_start(struct raft *r)
{
	struct raft_entry noop = {.kind = RAFT_ENTRY_NOOP};

	r->term_start = last_index(r) + 1;
	for (size_t i = 0; i < r->n_peers; i++)
		raft_leader_start_peer(r, &r->peers[i]);
	/* Only through an entry of its own term can it commit those of earlier ones (5.4.2), and
	 * know what is committed at all (section 8). */
	rfs_check(raft_leader_propose(r, &noop, 1) == 0);
}

int raft_leader_propose(struct raft *r, const struct raft_entry *entries, size_t n)
{
	struct raft_pos pos = raft_log_last(&r->log);
	uint64_t waiting = raft_log_bytes(&r->log, r->commit, pos.index), bytes = 0;

	if (r->role != RAFT_LEADER)
		return RFS_ENOTLEADER;
	if (r->transfer != 0)
		return RFS_EBUSYLIMIT;
	for (size_t i = 0; i < n; i++) {
		rfs_check(entries[i].len <= RAFT_ENTRY_BYTES_MAX &&
		          entries[i].kind != RAFT_ENTRY_CONFIG);
		bytes += entries[i].len;
	}
	/* Something without payload always passes, and one thing at a time, however large. */
	if (waiting > 0 && bytes > 0 && waiting + bytes > r->opts.uncommitted_bytes_max)
		return RFS_EBUSYLIMIT;
	if (n == 0)
		return 0;
	r->appended = mem_grow(r->appended, &r->cap_appended, n, sizeof(*r->appended));
	for (size_t i = 0; i < n; i++) {
		r->appended[i] = entries[i];
		r->appended[i].pos = (struct raft_pos){pos.index + 1 + i, r->term};
	}
	raft_append(r, r->appended, n);
	return 0;
}

/* ---- commit ---- */

static uint64_t match_of(const void *ctx, raft_id id)
{
	const struct raft *r = ctx;

	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return r->peers[i].match;
	return 0;
}

/* Section 5.4.2 and figure 8: counting replicas commits only entries of the leader's own term; the
 * older ones before it are then committed along with it. */
static void advance_commit(struct raft *r)
{
	raft_index index = raft_conf_quorum(&r->conf, match_of, r);

	if (index < r->term_start || index <= r->commit)
		return;
	rfs_check(raft_log_term(&r->log, index) == r->term);
	raft_commit_to(r, index);
}

void raft_leader_log_durable(struct raft *r)
{
	struct raft_peer *self = raft_peer_find(r, r->opts.id);

	if (self == NULL)
		return;
	self->match = r->log.durable;
	if (self->next <= self->match)
		self->next = self->match + 1;
	advance_commit(r);
}

/* ---- answers ---- */

static void accepted(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	if (m->pos.index < r->log.base.index)
		return; /* it lacks what the log no longer holds */
	if (m->pos.index > p->match) {
		if (m->pos.term == 0 || raft_log_term(&r->log, m->pos.index) != m->pos.term) {
			raft_note_protocol(r, p->id, "acknowledges what the log does not hold");
			return;
		}
		p->match = m->pos.index;
	}
	while (p->n_flight > 0 && p->flight[p->flight_head] <= p->match) {
		p->flight_head = (p->flight_head + 1) % r->opts.inflight_msgs_max;
		p->n_flight--;
	}
	if (!p->replicating)
		replicate_from(p, m->last <= last_index(r) ? m->last + 1 : 0);
	else if (p->next <= p->match)
		p->next = p->match + 1;
	raft_learner_acked(r, p);
	advance_commit(r);
}

/* `m->pos` is the largest position, up to the one refused, whose term is not above the refused
 * one's: above it the logs differ. What it says is a place to try, never a match. */
static void refused(struct raft *r, struct raft_peer *p, const struct raft_msg *m)
{
	raft_index next;

	/* Late answers: to a position known to match by now, or to another one than is probed. */
	if (m->last <= p->match || m->last >= p->next ||
	    (!p->replicating && m->last != p->next - 1))
		return;
	if (p->snapshot)
		return;
	/* Where the hint lies below the base, it has another entry there, or none. */
	if (m->last <= r->log.base.index || m->pos.index < r->log.base.index) {
		raft_snapshot_begin(r, p);
		return;
	}
	next = raft_log_search(&r->log, m->pos.index, m->pos.term).index + 1;
	raft_leader_probe(r, p, next < m->last ? next : m->last);
}

void raft_recv_append_resp(struct raft *r, const struct raft_msg *m)
{
	struct raft_peer *p = raft_peer_find(r, m->from);

	/* Who has a newer term answers an APPEND of ours, too: handled before we come here. */
	if (r->role != RAFT_LEADER || m->term != r->term)
		return;
	if (m->round > r->round) {
		raft_note_protocol(r, p->id, "confirms a read round that was not begun");
		return;
	}
	p->heard_ms = r->now_ms;
	/* Refused or not, it was in our term when it got this round. */
	if (m->round > p->round)
		p->round = m->round;
	if (m->reject)
		refused(r, p, m);
	else
		accepted(r, p, m);
	raft_reads_release(r);
}

void raft_leader_peer_down(struct raft *r, raft_id id)
{
	struct raft_peer *p = raft_peer_find(r, id);

	if (p != NULL && id != r->opts.id && !p->snapshot)
		raft_leader_probe(r, p, p->match + 1);
}

static uint64_t heard_of(const void *ctx, raft_id id)
{
	const struct raft *r = ctx;

	if (id == r->opts.id)
		return r->now_ms;
	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return r->peers[i].heard_ms;
	return 0;
}

uint64_t raft_leader_heard_quorum(struct raft *r)
{
	return raft_conf_quorum(&r->conf, heard_of, r);
}

/* ---- sending ---- */

uint64_t raft_leader_flight_bytes(const struct raft *r, const struct raft_peer *p)
{
	raft_index from = p->match > p->flight_from ? p->match : p->flight_from;

	if (from < r->log.base.index)
		from = r->log.base.index;
	return p->replicating ? raft_log_bytes(&r->log, from, p->next - 1) : 0;
}

/* How far `p` is sent the log: who leaves must not get an entry that could be lost with us, since
 * without being a voter in it he would neither stand nor vote for those who lack it. */
static raft_index end_for(const struct raft *r, const struct raft_peer *p)
{
	return p->leave_ms == 0 ? last_index(r) : r->commit;
}

static size_t at_most(size_t n, raft_index max)
{
	return n < max ? n : (size_t)max;
}

/* How many entries the next message to `p` may carry; 0: none now. */
static size_t sendable(const struct raft *r, const struct raft_peer *p)
{
	uint64_t bytes_max = r->opts.append_bytes_max;
	uint64_t flight = raft_leader_flight_bytes(r, p);
	raft_index end = end_for(r, p);
	size_t n;

	if (p->next > end)
		return 0;
	if (!p->replicating) {
		if (p->probe_sent)
			return 0;
		n = raft_log_fit(&r->log, p->next,
		                 bytes_max < PROBE_BYTES_MAX ? bytes_max : PROBE_BYTES_MAX);
		return at_most(n, end - p->next + 1);
	}
	if (p->n_flight >= r->opts.inflight_msgs_max)
		return 0;
	if (flight > 0 && flight >= r->opts.inflight_bytes_max)
		return 0;
	if (bytes_max > r->opts.inflight_bytes_max - flight)
		bytes_max = r->opts.inflight_bytes_max - flight;
	n = raft_log_fit(&r->log, p->next, bytes_max);
	return n == 0 && flight == 0 ? 1 : at_most(n, end - p->next + 1);
}

/* What a peer that was sent everything before `next` can use of the commit index. */
static raft_index commit_for(const struct raft *r, raft_index next)
{
	return r->commit < next ? r->commit : next - 1;
}

/* It must hear from us, or we from it. Entries are answered when they are durable there, which may
 * take long; so they do not replace the question. */
static uint64_t heartbeat_due(const struct raft *r, const struct raft_peer *p)
{
	uint64_t heard = p->heard_ms > p->asked_ms ? p->heard_ms : p->asked_ms;

	return (p->sent_ms < heard ? p->sent_ms : heard) + r->opts.heartbeat_ms;
}

static uint64_t commit_due(const struct raft *r, const struct raft_peer *p)
{
	if (!p->replicating || commit_for(r, p->next) <= p->commit_sent)
		return UINT64_MAX;
	return p->sent_ms + r->opts.commit_delay_ms;
}

static bool round_due(const struct raft *r, const struct raft_peer *p)
{
	return p->round_sent < r->round && r->n_reads > 0 && raft_conf_is_voter(&r->conf, p->id);
}

static void send_append(struct raft *r, struct raft_peer *p, size_t n)
{
	struct raft_msg *m = raft_send(r, RAFT_MSG_APPEND, p->id);

	m->pos = (struct raft_pos){p->next - 1, raft_log_term(&r->log, p->next - 1)};
	m->commit = r->commit;
	m->round = r->round;
	m->first = p->next;
	m->n = n;
	p->round_sent = r->round;
	p->sent_ms = r->now_ms;
	if (n == 0)
		p->asked_ms = r->now_ms;
	if (commit_for(r, p->next + n) > p->commit_sent)
		p->commit_sent = commit_for(r, p->next + n);
	if (!p->replicating) {
		p->probe_sent = true;
		return;
	}
	p->next += n;
	if (n > 0)
		p->flight[(p->flight_head + p->n_flight++) % r->opts.inflight_msgs_max] =
		        p->next - 1;
}

static void flush_peer(struct raft *r, struct raft_peer *p)
{
	bool beat = heartbeat_due(r, p) <= r->now_ms;
	bool sent = false;
	size_t n;

	if (!p->replicating && !p->probe_sent) {
		send_append(r, p, sendable(r, p));
		sent = true;
	}
	while ((n = sendable(r, p)) > 0) {
		send_append(r, p, n);
		sent = true;
	}
	if ((beat && heartbeat_due(r, p) <= r->now_ms) ||
	    (!sent && commit_due(r, p) <= r->now_ms) || round_due(r, p))
		send_append(r, p, 0);
}

void raft_leader_flush(struct raft *r)
{
	raft_reads_start_round(r);
	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id != r->opts.id)
			flush_peer(r, &r->peers[i]);
	raft_transfer_flush(r);
	raft_reads_release(r); /* alone in the cluster */
}

bool raft_leader_wants_flush(const struct raft *r)
{
	if (raft_reads_want_round(r) || raft_transfer_wants_flush(r))
		return true;
	for (size_t i = 0; i < r->n_peers; i++) {
		const struct raft_peer *p = &r->peers[i];

		if (p->id == r->opts.id)
			continue;
		if ((!p->replicating && !p->probe_sent) || sendable(r, p) > 0 || round_due(r, p) ||
		    heartbeat_due(r, p) <= r->now_ms || commit_due(r, p) <= r->now_ms)
			return true;
	}
	return false;
}

uint64_t raft_leader_deadline(const struct raft *r)
{
	uint64_t due = raft_conf_quorum(&r->conf, heard_of, r) + r->opts.election_max_ms;

	for (size_t i = 0; i < r->n_peers; i++) {
		const struct raft_peer *p = &r->peers[i];

		if (p->id == r->opts.id)
			continue;
		if (heartbeat_due(r, p) < due)
			due = heartbeat_due(r, p);
		if (commit_due(r, p) < due)
			due = commit_due(r, p);
	}
	return raft_transfer_deadline(r) < due ? raft_transfer_deadline(r) : due;
}

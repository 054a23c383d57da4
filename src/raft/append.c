/* The follower's side of replication: taking APPENDs (section 5.3, figure 2), and acknowledging
 * them as far as they are durable.
 *
 * `verified` is how far the log is known to be that of this term's leader. It only ever grows by an
 * APPEND of that leader, whose log is append-only; what was verified is never truncated in its
 * term. An acknowledgement names the lesser of that and of what is durable: not a word about
 * entries behind it that an earlier leader left here. */
#include "raft_priv.h"

#include "../base/check.h"

const char *raft_append_fault(const struct raft_msg *m)
{
	struct raft_pos prev = m->pos;
	struct raft_conf c;

	if (m->n > 0 && m->entries == NULL)
		return "entries are missing";
	if (prev.index >= RAFT_NUMBER_MAX || m->n >= RAFT_NUMBER_MAX)
		return "indexes out of range";
	if (prev.term > m->term || (prev.index == 0) != (prev.term == 0))
		return "impossible position before its entries";
	for (size_t i = 0; i < m->n; i++) {
		const struct raft_entry *e = &m->entries[i];

		if (e->pos.index != prev.index + 1)
			return "entries with a gap";
		if (e->pos.term < prev.term || e->pos.term == 0 || e->pos.term > m->term)
			return "entries out of order of terms";
		if (e->len > RAFT_ENTRY_BYTES_MAX)
			return "an entry that is too long";
		if (e->kind == RAFT_ENTRY_CONFIG && !raft_conf_decode(&c, e->data, e->len))
			return "an entry that holds no configuration";
		prev = e->pos;
	}
	return NULL;
}

static void acknowledge(struct raft *r, raft_id leader)
{
	raft_index index = r->verified < r->log.durable ? r->verified : r->log.durable;
	struct raft_msg *m = raft_send(r, RAFT_MSG_APPEND_RESP, leader);

	/* Not verified even to the base: it is committed, so any leader has it. */
	if (index < r->log.base.index)
		index = r->log.base.index;
	m->pos = (struct raft_pos){index, raft_log_term(&r->log, index)};
	m->last = r->verified > index ? r->verified : index;
	m->round = r->round_seen;
	r->ack_owed = r->verified > r->log.durable;
}

static void refuse(struct raft *r, const struct raft_msg *append)
{
	struct raft_msg *m = raft_send(r, RAFT_MSG_APPEND_RESP, append->from);

	m->reject = true;
	m->pos = raft_log_search(&r->log, append->pos.index, append->pos.term);
	m->last = append->pos.index;
	m->round = append->term == r->term ? r->round_seen : 0;
}

/* Compare entries with the log from its base on. NULL, or what is wrong; else `*skip` entries stand
 * in the log already, and the rest continues it or replaces its end. */
static const char *compare(const struct raft *r, const struct raft_msg *m, size_t *skip)
{
	raft_index last = raft_log_last(&r->log).index;

	for (*skip = 0; *skip < m->n; (*skip)++) {
		struct raft_pos pos = m->entries[*skip].pos;

		if (pos.index > last)
			return NULL;
		if (pos.index < r->log.base.index || raft_log_term(&r->log, pos.index) == pos.term)
			continue;
		if (pos.index <= r->commit)
			return "would replace a committed entry";
		if (pos.index <= r->verified)
			return "takes back an entry of its own term";
		return NULL;
	}
	return NULL;
}

/* Takes the entries that are not there yet; true if they could be. */
static bool take(struct raft *r, const struct raft_msg *m)
{
	const char *fault;
	size_t skip;

	if (m->pos.index >= r->log.base.index &&
	    raft_log_term(&r->log, m->pos.index) != m->pos.term) {
		if (m->pos.index <= r->commit)
			raft_note_protocol(r, m->from, "contradicts a committed entry");
		else
			refuse(r, m);
		return false;
	}
	fault = compare(r, m, &skip);
	if (fault != NULL) {
		raft_note_protocol(r, m->from, fault);
		return false;
	}
	/* Older than the base, and ending before it: nothing to add, nothing to learn. */
	if (skip < m->n)
		raft_append(r, m->entries + skip, m->n - skip);
	if (m->pos.index + m->n > r->verified)
		r->verified = m->pos.index + m->n;
	return true;
}

void raft_recv_append(struct raft *r, const struct raft_msg *m)
{
	bool news;

	if (m->term < r->term) {
		/* It gives way when it sees our term; silence would leave us outside for ever. */
		refuse(r, m);
		return;
	}
	if (m->term == r->led_term ||
	    (m->term == r->term && r->leader != 0 && r->leader != m->from)) {
		raft_note_protocol(r, m->from, "a second leader in one term");
		return;
	}
	raft_become_follower(r, m->term, m->from);
	r->leader_heard_ms = r->now_ms;
	raft_election_reset_timer(r);
	news = m->round > r->round_seen;
	if (news)
		r->round_seen = m->round;
	if (!take(r, m))
		return;
	raft_commit_to(r, m->commit < r->verified ? m->commit : r->verified);
	/* Questions are answered at once, entries when they are durable. */
	r->ack_owed = true;
	if (m->n == 0 || news || r->log.durable >= m->pos.index + m->n)
		acknowledge(r, m->from);
}

/* The leader need not wait for its next heartbeat to be told. */
void raft_follower_installed(struct raft *r)
{
	if (r->leader != 0 && r->role == RAFT_FOLLOWER)
		acknowledge(r, r->leader);
}

void raft_follower_log_durable(struct raft *r)
{
	if (r->ack_owed && r->leader != 0 && r->role == RAFT_FOLLOWER)
		acknowledge(r, r->leader);
}

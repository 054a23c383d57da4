/* Effects of a step, and what holds messages back. */
#include "raft_priv.h"

#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

void raft_out_init(struct raft_out *out)
{
	*out = (struct raft_out){0};
}

void raft_out_free(struct raft_out *out)
{
	*out = (struct raft_out){0};
}

bool raft_state_is_durable(const struct raft *r)
{
	return !r->state_dirty && r->state_durable == r->state_epoch;
}

void raft_out_begin(struct raft *r, struct raft_out *out)
{
	*out = (struct raft_out){0};
	r->out = out;
	if (r->outbox_released) {
		r->n_outbox = 0;
		r->outbox_released = false;
	}
	r->n_ready = 0;
	r->n_snapshot_to = 0;
	r->n_notices = 0;
}

/* What may be applied here: see out->commit. A leader's log is append-only from the start of its
 * term; so once everything before that is durable, a restart finds a prefix of what was applied. */
static raft_index handed_limit(const struct raft *r)
{
	if (r->role == RAFT_LEADER && r->log.durable + 1 >= r->term_start)
		return raft_log_last(&r->log).index;
	return r->log.durable;
}

static uint64_t deadline(const struct raft *r)
{
	uint64_t at = r->now_ms + 60000;
	uint64_t due = r->role == RAFT_LEADER ? raft_leader_deadline(r) : r->elect_deadline_ms;

	if (r->role != RAFT_LEADER && r->n_reads > 0 &&
	    r->reads[0].since_ms + r->opts.election_max_ms < due)
		due = r->reads[0].since_ms + r->opts.election_max_ms;
	return due < at ? due : at;
}

void raft_out_end(struct raft *r)
{
	struct raft_out *out = r->out;
	raft_index limit = handed_limit(r);

	if (r->state_dirty) {
		r->state_dirty = false;
		r->state_epoch++;
		out->state_changed = true;
	}
	out->term = r->term;
	out->vote = r->vote;
	out->state_epoch = r->state_epoch;
	out->log_epoch = r->log.epoch;
	if (raft_state_is_durable(r)) {
		out->msgs = r->outbox;
		out->n_msgs = r->n_outbox;
		r->outbox_released = true;
	}
	if (r->commit < limit)
		limit = r->commit;
	if (limit > r->handed)
		r->handed = limit;
	out->commit = r->handed;
	out->snapshot_to = r->snapshot_to;
	out->n_snapshot_to = r->n_snapshot_to;
	out->reads = r->ready;
	out->n_reads = r->n_ready;
	out->notices = r->notices;
	out->n_notices = r->n_notices;
	out->deadline_ms = deadline(r);
	out->want_flush = r->role == RAFT_LEADER && raft_leader_wants_flush(r);
	r->out = NULL;
}

struct raft_msg *raft_send(struct raft *r, enum raft_msg_kind kind, raft_id to)
{
	struct raft_msg *m = NULL;

	if (!raft_state_is_durable(r)) {
		/* A disk that hangs must not pile up answers; the newest one says it all. */
		for (size_t i = 0; i < r->n_outbox; i++)
			if (r->outbox[i].kind == kind && r->outbox[i].to == to &&
			    kind != RAFT_MSG_READ && kind != RAFT_MSG_READ_RESP)
				m = &r->outbox[i];
		if (m == NULL && r->n_outbox >= RAFT_HELD_MAX)
			m = &r->spill;
	}
	if (m == NULL) {
		r->outbox = mem_grow(r->outbox, &r->cap_outbox, r->n_outbox + 1, sizeof(*m));
		m = &r->outbox[r->n_outbox++];
	}
	*m = (struct raft_msg){.kind = kind, .from = r->opts.id, .to = to, .term = r->term};
	return m;
}

void raft_send_drop_all(struct raft *r)
{
	r->n_outbox = 0;
}

struct raft_notice *raft_note(struct raft *r, enum raft_notice_kind kind)
{
	struct raft_notice *n;

	r->notices = mem_grow(r->notices, &r->cap_notices, r->n_notices + 1, sizeof(*n));
	n = &r->notices[r->n_notices++];
	*n = (struct raft_notice){.kind = kind, .role = r->role, .was = r->role, .term = r->term};
	return n;
}

void raft_note_protocol(struct raft *r, raft_id peer, const char *text)
{
	struct raft_notice *n = raft_note(r, RAFT_NOTE_PROTOCOL);

	n->peer = peer;
	n->text = text;
}

void raft_append(struct raft *r, const struct raft_entry *entries, size_t n)
{
	rfs_check(n > 0 && r->out->n_append == 0);
	if (entries[0].pos.index <= raft_log_last(&r->log).index) {
		rfs_check(r->role != RAFT_LEADER && entries[0].pos.index > r->commit);
		raft_note(r, RAFT_NOTE_TRUNCATE)->index = entries[0].pos.index;
		raft_log_truncate(&r->log, entries[0].pos.index);
		raft_member_truncated(r, entries[0].pos.index);
	}
	raft_log_append(&r->log, entries, n);
	raft_member_appended(r, entries, n);
	r->out->append = entries;
	r->out->n_append = n;
}

void raft_commit_to(struct raft *r, raft_index index)
{
	rfs_check(index <= raft_log_last(&r->log).index);
	if (index > r->commit)
		r->commit = index;
}

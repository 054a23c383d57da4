/* Snapshots and log compaction (section 7), as far as they are the core's: which peer needs one,
 * what becomes of the log when one has been installed, and what follows from cutting the log. The
 * snapshots themselves, and their way from one server to another, are the caller's.
 *
 * A peer needs a snapshot when it refuses the position before the log's first entry, or an entry
 * that it has not been sent is gone. It then gets heartbeats (after the log's base, which it
 * refuses) and nothing else, until the caller reports or until it accepts one: then it has the
 * base, however it came by it. */
#include "raft_priv.h"

#include <errno.h>
#include "../base/check.h"
#include "../base/mem.h"

/* ---- leader ---- */

void raft_snapshot_begin(struct raft *r, struct raft_peer *p)
{
	raft_leader_probe(r, p, r->log.base.index + 1);
	p->probe_sent = true; /* it refuses that probe; heartbeats are enough */
	p->snapshot = true;
	if (p->leave_ms != 0)
		return; /* removed: not worth one */
	r->snapshot_to = mem_grow(r->snapshot_to, &r->cap_snapshot_to, r->n_snapshot_to + 1,
	                          sizeof(raft_id));
	r->snapshot_to[r->n_snapshot_to++] = p->id;
	raft_note(r, RAFT_NOTE_SNAPSHOT)->peer = p->id;
}

/* What the caller says is where to go on, never a match. */
void raft_snapshot_status(struct raft *r, raft_id id, struct raft_pos pos)
{
	struct raft_peer *p = raft_peer_find(r, id);

	if (r->role != RAFT_LEADER || p == NULL || !p->snapshot)
		return;
	raft_leader_probe(r, p, pos.index + 1);
	/* After a failure not at once, or it would be refused and fail again in a circle. */
	p->probe_sent = pos.index == 0;
}

void raft_log_was_cut(struct raft *r, struct raft_pos pos)
{
	if (pos.index <= r->log.base.index)
		return;
	rfs_check(pos.index <= r->commit && pos.index <= r->log.durable);
	rfs_check(raft_log_term(&r->log, pos.index) == pos.term);
	raft_log_cut(&r->log, pos);
	raft_member_cut(r, pos.index);
	if (r->role != RAFT_LEADER)
		return;
	for (size_t i = 0; i < r->n_peers; i++) {
		struct raft_peer *p = &r->peers[i];

		if (p->id == r->opts.id || p->next > pos.index)
			continue;
		if (p->replicating)
			raft_snapshot_begin(r, p);
		else
			p->next = pos.index + 1;
	}
}

/* ---- receiver ---- */

enum raft_snapshot_fate raft_snapshot_fate(const struct raft *r, struct raft_pos pos)
{
	if (pos.term == 0 || pos.term > r->term || pos.index <= r->commit ||
	    pos.index <= r->applied || pos.index >= RAFT_NUMBER_MAX)
		return RAFT_SNAPSHOT_USELESS;
	if (raft_log_term(&r->log, pos.index) == pos.term)
		return RAFT_SNAPSHOT_KEEP_LOG;
	return r->role == RAFT_LEADER ? RAFT_SNAPSHOT_USELESS : RAFT_SNAPSHOT_DROP_LOG;
}

/* What a log has that lacks `pos` is either covered by the snapshot or in conflict with it; nothing
 * of it that was acknowledged and committed is lost. */
int raft_snapshot_installed(struct raft *r, struct raft_pos pos, const struct raft_conf *conf,
                            raft_index conf_index)
{
	enum raft_snapshot_fate fate = raft_snapshot_fate(r, pos);

	if (fate == RAFT_SNAPSHOT_USELESS)
		return -ESTALE;
	if (fate == RAFT_SNAPSHOT_DROP_LOG) {
		raft_log_reset(&r->log, pos);
		if (r->verified > pos.index)
			r->verified = pos.index;
		raft_member_reset(r, conf, conf_index);
	}
	raft_commit_to(r, pos.index);
	if (r->handed < pos.index)
		r->handed = pos.index;
	raft_note(r, RAFT_NOTE_INSTALLED)->index = pos.index;
	raft_follower_installed(r);
	return 0;
}

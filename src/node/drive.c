/* Events into the core, effects out: the one place that carries out what raft_step() asks for. */
#include "node_priv.h"

#include <stdlib.h>
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

void node_fail(struct node *n, const struct rfs_err *err)
{
	if (n->failed)
		return;
	n->failed = true;
	log_error("%s", err->msg);
	n->on_fatal(n->ctx, err);
}

bool node_is_out(const struct node *n)
{
	return n->failed || n->stopping || n->suspended;
}

static void on_tick(uv_timer_t *t)
{
	node_step(t->data, &(struct raft_event){.kind = RAFT_EV_TICK});
}

/* Only at the end of a turn: a deadline may have passed that only the FLUSH answers, and a timer
 * that starts at zero inside a timer's callback would keep the loop from ever getting there. */
static void arm_tick(struct node *n)
{
	uint64_t now = clock_mono_ms(), at = n->out.deadline_ms;

	uv_update_time(n->loop);
	(void)uv_timer_start(&n->tick, on_tick, at > now ? at - now : 0, 0);
}

static void role_changed(struct node *n, enum raft_role role)
{
	bool led = n->role == RAFT_LEADER;
	struct raft_status st;

	n->role = role;
	raft_get_status(n->raft, &st);
	if (role == RAFT_LEADER) {
		n->led_since_ms = clock_mono_ms();
		n->term_start = st.last.index;
		sessions_grant_all(n);
	} else if (led) {
		serve_fail_pending(n, RFS_EUNKNOWN);
		locks_send_away(n, RFS_ENOTLEADER);
		admin_fail_all(n, RFS_ENOTLEADER);
	}
}

/* What concerns others than the reader of our log. Nothing here steps the core: its effects are being carried out. */
static void heed(struct node *n, const struct raft_notice *note)
{
	switch (note->kind) {
	case RAFT_NOTE_CONF:
	case RAFT_NOTE_INSTALLED: members_follow(n); break;
	case RAFT_NOTE_CONF_COMMITTED: members_committed(n, note); break;
	case RAFT_NOTE_REMOVED: n->removed = true; break;
	case RAFT_NOTE_TRANSFER_END: admin_transfer_ended(n, note->text); break;
	case RAFT_NOTE_LEADER:
		if (note->peer != 0 && note->peer != n->id)
			node_handover_ended(n);
		break;
	case RAFT_NOTE_ROLE:
	case RAFT_NOTE_TERM:
	case RAFT_NOTE_VOTE_GRANTED:
	case RAFT_NOTE_VOTE_REFUSED:
	case RAFT_NOTE_VOTE_RECEIVED:
	case RAFT_NOTE_QUORUM_LOST:
	case RAFT_NOTE_TRUNCATE:
	case RAFT_NOTE_CAUGHT_UP:
	case RAFT_NOTE_TOO_SLOW:
	case RAFT_NOTE_SNAPSHOT:
	case RAFT_NOTE_TRANSFER:
	case RAFT_NOTE_PROTOCOL: break;
	}
}

static void carry_out(struct node *n)
{
	struct raft_out *out = &n->out;
	struct raft_status st;

	if (out->state_changed)
		wal_set_state(n->wal, out->term, out->vote, out->state_epoch);
	if (out->n_append > 0) {
		wal_append(n->wal, out->append, out->n_append, out->log_epoch);
		space_wrote(n, out->append, out->n_append);
	}
	for (size_t i = 0; i < out->n_msgs; i++)
		peer_send(n, &out->msgs[i]);
	n->commit = out->commit;
	for (size_t i = 0; i < out->n_notices; i++) {
		node_tell(n, &out->notices[i]);
		heed(n, &out->notices[i]);
	}
	for (size_t i = 0; i < out->n_reads; i++)
		reads_ready(n, &out->reads[i]);
	raft_get_status(n->raft, &st);
	if (st.role != n->role)
		role_changed(n, st.role);
	for (size_t i = 0; i < out->n_snapshot_to; i++)
		sends_wanted(n, out->snapshot_to[i]);
}

void node_step(struct node *n, const struct raft_event *ev)
{
	struct raft_event stamped = *ev;

	if (node_is_out(n))
		return;
	stamped.now_ms = clock_mono_ms();
	raft_step(n->raft, &stamped, &n->out);
	carry_out(n);
}

static void say_slow_disk(struct node *n, const struct wal_done *done)
{
	uint64_t now = clock_mono_ms();

	if (done->sync_us_max >= NODE_SLOW_SYNC_US && now - n->slow_said_ms > 1000) {
		n->slow_said_ms = now;
		log_warn("slow disk: a sync of the log took %llu ms (%s)",
		         (unsigned long long)(done->sync_us_max / 1000), n->data_dir);
	}
}

void node_take_wal_news(struct node *n)
{
	struct rfs_err err = {0};
	struct wal_done done;

	if (node_is_out(n))
		return;
	wal_poll(n->wal, &done, &err);
	if (done.error != 0) {
		node_fail(n, &err);
		return;
	}
	say_slow_disk(n, &done);
	space_log_news(n, done.space);
	if (done.state)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_STATE_DURABLE,
		                                  .durable = {.epoch = done.state_epoch}});
	if (done.log)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_LOG_DURABLE,
		                                  .durable = {done.log_epoch, done.log_pos}});
}

/* The end of a turn of the loop, before it waits: everything that came in is known, now it leaves.
 * The other servers come first, since their disks work while ours applies. */
void node_end_turn(struct node *n)
{
	if (node_is_out(n))
		return;
	version_look(n);
	space_end_turn(n);
	quota_look(n);
	serve_propose_gathered(n);
	serve_read_gathered(n);
	members_work(n);
	sends_work(n);
	if (n->out.want_flush)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_FLUSH});
	peers_flush(n);
	apply_committed(n);
	recv_work(n);
	conns_look_at_choked(n);
	reads_serve(n);
	compact_work(n);
	watch_tell(n);
	conns_flush(n);
	if (n->out.deadline_ms != n->deadline_ms || !uv_is_active((uv_handle_t *)&n->tick)) {
		n->deadline_ms = n->out.deadline_ms;
		arm_tick(n);
	}
}

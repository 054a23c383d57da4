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

const char *node_address_of(const struct node *n, raft_id id)
{
	if (id == n->id)
		return n->address;
	for (size_t i = 0; i < n->n_peers; i++)
		if (n->peers[i].id == id)
			return n->peers[i].address;
	return "";
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
		node_handover_ended(n);
	}
}

static void carry_out(struct node *n)
{
	struct raft_out *out = &n->out;
	struct raft_status st;

	if (out->state_changed)
		wal_set_state(n->wal, out->term, out->vote, out->state_epoch);
	if (out->n_append > 0)
		wal_append(n->wal, out->append, out->n_append, out->log_epoch);
	for (size_t i = 0; i < out->n_msgs; i++)
		peer_send(n, &out->msgs[i]);
	n->commit = out->commit;
	for (size_t i = 0; i < out->n_notices; i++)
		node_tell(n, &out->notices[i]);
	for (size_t i = 0; i < out->n_reads; i++)
		reads_ready(n, &out->reads[i]);
	raft_get_status(n->raft, &st);
	if (st.role != n->role)
		role_changed(n, st.role);
}

void node_step(struct node *n, const struct raft_event *ev)
{
	struct raft_event stamped = *ev;

	if (n->failed || n->stopping)
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
	if (done->space != 0 && now - n->space_said_ms > 5000) {
		n->space_said_ms = now;
		log_error("disk full: no room for the next log segment in %s; waiting for room",
		          n->data_dir);
	}
}

void node_take_wal_news(struct node *n)
{
	struct rfs_err err = {0};
	struct wal_done done;

	if (n->failed || n->stopping)
		return;
	wal_poll(n->wal, &done, &err);
	if (done.error != 0) {
		node_fail(n, &err);
		return;
	}
	say_slow_disk(n, &done);
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
	if (n->failed || n->stopping)
		return;
	version_look(n);
	serve_propose_gathered(n);
	serve_read_gathered(n);
	if (n->out.want_flush)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_FLUSH});
	peers_flush(n);
	apply_committed(n);
	reads_serve(n);
	conns_flush(n);
	if (n->out.deadline_ms != n->deadline_ms || !uv_is_active((uv_handle_t *)&n->tick)) {
		n->deadline_ms = n->out.deadline_ms;
		arm_tick(n);
	}
}

/* Events into the core, effects out, as src/node/drive.c does it. */
#include "server.h"

#include <stdlib.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "watch.h"

/* ---- its clock ---- */

uint64_t server_now_us(const struct sim_server *v)
{
	return v->clock.at_us + (v->sim->now_us - v->clock.since_us) * v->clock.rate / 1000;
}

static void arm_tick(struct sim_server *v)
{
	uint64_t now = server_now_us(v), due = v->out.deadline_ms * 1000, after = 0;

	if (due > now)
		after = (due - now) * 1000 / v->clock.rate + 1;
	if (v->tick_at_us != 0 && v->tick_at_us <= v->sim->now_us + after)
		return;
	v->tick_at_us = v->sim->now_us + after;
	sim_post(v->sim, after, SIM_TICK, v->at)->life = v->life;
}

void server_set_clock(struct sim_server *v, uint64_t jump_us, unsigned rate)
{
	v->clock.at_us = server_now_us(v) + jump_us;
	v->clock.since_us = v->sim->now_us;
	v->clock.rate = rate;
	if (!v->up)
		return;
	v->tick_at_us = 0;
	arm_tick(v);
}

/* ---- stepping ---- */

static void send_message(struct sim_server *v, const struct raft_msg *m)
{
	struct raft_entry *entries = mem_calloc(m->n, sizeof(*entries));
	struct raft_msg full = *m;
	struct rfs_err err = {0};

	if (m->kind == RAFT_MSG_APPEND && m->n > 0) {
		if (wal_read(v->wal, m->first, m->n, UINT64_MAX, entries, &err) != (ssize_t)m->n)
			sim_fail(v->sim, "server %u: entries of a message: %s", v->at + 1, err.msg);
		full.entries = entries;
	}
	watch_message(v, &full);
	net_send(v->sim, v, &full);
	free(entries);
}

static unsigned bits(const raft_id *ids, unsigned n)
{
	unsigned set = 0;

	for (unsigned i = 0; i < n; i++)
		set |= 1u << (ids[i] - 1);
	return set;
}

static void take_conf(struct sim_server *v, const struct raft_notice *n)
{
	const struct raft_conf *c = raft_get_conf_at(v->raft, n->index, NULL);

	if (c == NULL)
		return;
	if (n->kind == RAFT_NOTE_CONF_COMMITTED)
		operator_committed(v, c);
	sim_trace(v->sim, "server %u: configuration %llu %s: voters %x old %x learners %x",
	          v->at + 1, ull(n->index), n->kind == RAFT_NOTE_CONF ? "in force" : "committed",
	          bits(c->voters, c->n_voters), bits(c->old, c->n_old),
	          bits(c->learners, c->n_learners));
}

static void take_notice(struct sim_server *v, const struct raft_notice *n)
{
	if (n->kind == RAFT_NOTE_PROTOCOL)
		sim_fail(v->sim, "server %u: protocol broken by %llu: %s", v->at + 1, ull(n->peer),
		         n->text != NULL ? n->text : "");
	if (n->kind == RAFT_NOTE_TRANSFER_END) {
		v->sim->totals.transfers += n->text == NULL;
		sim_trace(v->sim, "server %u: transfer to %llu: %s", v->at + 1, ull(n->peer),
		          n->text != NULL ? n->text : "done");
	}
	if (n->kind == RAFT_NOTE_CONF)
		v->conf_changed = true;
	if (n->kind == RAFT_NOTE_CONF || n->kind == RAFT_NOTE_CONF_COMMITTED)
		take_conf(v, n);
	if (n->kind == RAFT_NOTE_ROLE || n->kind == RAFT_NOTE_TRUNCATE)
		sim_trace(v->sim, "server %u: %s term %llu index %llu", v->at + 1,
		          n->kind == RAFT_NOTE_ROLE ? raft_role_name(n->role) : "truncates",
		          ull(n->term), ull(n->index));
}

static void role_may_change(struct sim_server *v)
{
	struct raft_status st;

	raft_get_status(v->raft, &st);
	if (st.role != v->role && v->role == RAFT_LEADER)
		serve_fail_pending(v, UINT64_MAX);
	if (st.role == RAFT_LEADER && v->role != RAFT_LEADER)
		v->sim->totals.elections++;
	v->role = st.role;
	send_check(v);
	receive_check(v);
}

void server_step(struct sim_server *v, struct raft_event ev)
{
	struct raft_out *out = &v->out;

	ev.now_ms = server_now_us(v) / 1000;
	v->sim->totals.steps++;
	if (v->conf_changed)
		v->conf_before = *raft_get_conf(v->raft);
	v->conf_changed = false;
	raft_step(v->raft, &ev, out);
	if (out->state_changed)
		wal_set_state(v->wal, out->term, out->vote, out->state_epoch);
	if (out->n_append > 0) {
		watch_append(v, out->append, out->n_append);
		wal_append(v->wal, out->append, out->n_append, out->log_epoch);
	}
	if (out->state_changed || out->n_append > 0)
		disk_starts(v);
	for (size_t i = 0; i < out->n_notices; i++)
		take_notice(v, &out->notices[i]);
	watch_step(v);
	for (size_t i = 0; i < out->n_msgs; i++)
		send_message(v, &out->msgs[i]);
	for (size_t i = 0; i < out->n_reads; i++)
		serve_read_ready(v, &out->reads[i]);
	role_may_change(v);
	for (size_t i = 0; i < out->n_snapshot_to; i++)
		send_start(v, out->snapshot_to[i]);
	arm_tick(v);
}

void server_end_turn(struct sim_server *v)
{
	disk_look(v);
	serve_raise_version(v);
	if (v->out.want_flush)
		server_step(v, (struct raft_event){.kind = RAFT_EV_FLUSH});
	serve_apply(v);
	serve_reads(v);
}

/* ---- administration ---- */

void server_change(struct sim_server *v, const struct raft_conf *conf)
{
	server_step(v, (struct raft_event){.kind = RAFT_EV_CHANGE, .conf = conf});
	v->sim->totals.changes += v->out.error == 0;
	server_end_turn(v);
}

void server_transfer(struct sim_server *v, raft_id to)
{
	if (!v->up || v->paused)
		return;
	server_step(v, (struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = to});
	server_end_turn(v);
}

void server_link_lost(struct sim_server *v, raft_id peer)
{
	if (!v->up || v->paused)
		return;
	server_step(v, (struct raft_event){.kind = RAFT_EV_PEER_DOWN, .peer = peer});
	server_end_turn(v);
}

void server_pause(struct sim_server *v)
{
	sim_trace(v->sim, "server %u: pauses", v->at + 1);
	v->paused = true;
}

void server_resume(struct sim_server *v)
{
	struct sim_event **held = v->held;
	size_t n = v->n_held;

	if (!v->up || !v->paused)
		return;
	sim_trace(v->sim, "server %u: goes on", v->at + 1);
	v->paused = false;
	v->held = NULL;
	v->n_held = v->cap_held = 0;
	for (size_t i = 0; i < n; i++)
		server_take(v, held[i]);
	free(held);
}

/* ---- events ---- */

static void take_part(struct sim_server *v, const struct sim_part *p)
{
	enum raft_msg_kind like = p->answer ? RAFT_MSG_APPEND_RESP : RAFT_MSG_APPEND;

	if (!net_hears(v, p->from, p->incarnation, like))
		return;
	if (p->answer)
		send_answer(v, p);
	else
		receive_chunk(v, p);
}

static void take_message(struct sim_server *v, const struct sim_message *m)
{
	if (net_hears(v, m->msg.from, m->incarnation, m->msg.kind))
		server_step(v, (struct raft_event){.kind = RAFT_EV_MSG, .msg = &m->msg});
}

static void dispatch(struct sim_server *v, struct sim_event *e)
{
	switch (e->kind) {
	case SIM_TICK:
		v->tick_at_us = 0;
		server_step(v, (struct raft_event){.kind = RAFT_EV_TICK});
		break;
	case SIM_DISK: disk_work(v); break;
	case SIM_POLL: disk_poll(v); break;
	case SIM_FLUSH:
		flush_begin(v);
		serve_trim(v);
		break;
	case SIM_FLUSHED: flush_work(v); break;
	case SIM_FLUSH_TOLD: flush_end(v); break;
	case SIM_SEND: send_look(v); break;
	case SIM_INSTALL: receive_install(v, e->number); break;
	case SIM_MESSAGE: take_message(v, e->message); break;
	case SIM_PART: take_part(v, e->part); break;
	case SIM_REQUEST: serve_request(v, e->request); break;
	case SIM_RESTART:
	case SIM_RESUME:
	case SIM_ROOM:
	case SIM_REPLY:
	case SIM_CLIENT:
	case SIM_FAULT:
	case SIM_HEAL:
	case SIM_OPERATE: rfs_die("not an event of a running server");
	}
	if (v->up)
		server_end_turn(v);
}

static bool is_of_a_life(enum sim_event_kind kind)
{
	return kind <= SIM_INSTALL;
}

void server_take(struct sim_server *v, struct sim_event *e)
{
	bool lives = v->up && (e->life == v->life || !is_of_a_life(e->kind));

	if (e->kind == SIM_RESTART) {
		if (!v->up)
			server_start(v);
	} else if (e->kind == SIM_RESUME) {
		server_resume(v);
	} else if (e->kind == SIM_ROOM) {
		disk_room(v);
	} else if (lives && v->paused) {
		v->held =
		        mem_grow(v->held, &v->cap_held, v->n_held + 1, sizeof(struct sim_event *));
		v->held[v->n_held++] = e;
		return;
	} else if (lives) {
		dispatch(v, e);
	}
	sim_event_free(e);
}

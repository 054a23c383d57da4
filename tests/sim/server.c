/* One server: the core, its log and its state machine, driven as src/node/ does it. */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "../../src/wire/codec.h"

#define SEGMENT_BYTES (64u << 10)

void server_init(struct sim_server *v, struct sim *s, unsigned at)
{
	v->sim = s;
	v->at = at;
	v->id = at + 1;
	v->disk = memfs_new(rng_next(&s->rng));
	raft_out_init(&v->out);
}

/* ---- answers ---- */

static void reply(struct sim_server *v, unsigned client, uint64_t id, const struct fs_result *res)
{
	struct sim *s = v->sim;
	struct sim_reply *r;
	struct raft_status st;

	if (!s->calm && rng_permille(&s->rng, s->plan.drop))
		return;
	r = mem_zalloc(sizeof(*r));
	raft_get_status(v->raft, &st);
	r->server = v->at;
	r->id = id;
	r->result = *res;
	r->leader = st.leader;
	r->data = mem_dup(res->data, res->data_len);
	r->result.data = r->data;
	sim_post(s, rng_between(&s->rng, s->plan.delay_min_us, s->plan.delay_max_us), SIM_REPLY,
	         client)
	        ->reply = r;
}

static void refuse(struct sim_server *v, unsigned client, uint64_t id, int code)
{
	reply(v, client, id, &(struct fs_result){.err = code});
}

static void drop_read(struct sim_server *v, size_t i)
{
	free(v->reads[i].op);
	v->reads[i] = v->reads[--v->n_reads];
}

static void read_ready(struct sim_server *v, const struct raft_read_ready *ready)
{
	for (size_t i = 0; i < v->n_reads; i++) {
		struct sim_read *r = &v->reads[i];

		if (r->ctx != ready->ctx)
			continue;
		if (ready->failed) {
			refuse(v, r->client, r->id, RFS_ENOTLEADER);
			drop_read(v, i);
			return;
		}
		r->ready = true;
		r->index = ready->index;
		return;
	}
}

static void serve_reads(struct sim_server *v)
{
	for (size_t i = 0; i < v->n_reads;) {
		struct sim_read *r = &v->reads[i];
		struct fs_result res = {0};
		struct rfs_err err = {0};

		if (!r->ready || r->index > store_applied(v->store).index) {
			i++;
			continue;
		}
		if (store_read(v->store, r->op, &res, &err) != 0)
			sim_fail(v->sim, "server %u: store_read: %s", v->at + 1, err.msg);
		reply(v, r->client, r->id, &res);
		drop_read(v, i);
	}
}

static void fail_pending(struct sim_server *v)
{
	for (size_t i = 0; i < v->n_pending; i++)
		refuse(v, v->pending[i].client, v->pending[i].id, RFS_EUNKNOWN);
	v->n_pending = 0;
}

/* ---- applying ---- */

static void answer_pending(struct sim_server *v, const struct raft_entry *e, struct fs_result *res)
{
	for (size_t i = 0; i < v->n_pending; i++) {
		if (v->pending[i].pos.index != e->pos.index)
			continue;
		if (v->pending[i].pos.term != e->pos.term)
			sim_fail(v->sim,
			         "server %u: a waiting change's entry %llu has another term",
			         v->at + 1, (unsigned long long)e->pos.index);
		res->index = e->pos.index;
		reply(v, v->pending[i].client, v->pending[i].id, res);
		v->pending[i] = v->pending[--v->n_pending];
		return;
	}
}

static int apply_to_store(struct sim_server *v, const struct raft_entry *e,
                          const struct store_cmd *cmd, struct fs_result *res, struct rfs_err *err)
{
	uint32_t version;

	if (e->kind != RAFT_ENTRY_VERSION)
		return store_apply(v->store, e->pos, e->kind == RAFT_ENTRY_COMMAND ? cmd : NULL,
		                   res, err);
	if (wire_get_version(e->data, e->len, &version, err) != 0)
		return err->code;
	return store_set_version(v->store, e->pos, version, err);
}

static void apply_one(struct sim_server *v, const struct raft_entry *e)
{
	struct wire_arena *arena = wire_arena_new();
	struct fs_result res = {0};
	struct rfs_err err = {0};
	struct store_cmd cmd = {0};
	struct fs_op op;

	if (e->kind == RAFT_ENTRY_COMMAND &&
	    wire_get_command(e->data, e->len, arena, &cmd, &op, &err) != 0)
		sim_fail(v->sim, "server %u: entry %llu: %s", v->at + 1,
		         (unsigned long long)e->pos.index, err.msg);
	if (apply_to_store(v, e, &cmd, &res, &err) != 0 || store_commit(v->store, &err) != 0)
		sim_fail(v->sim, "server %u: applying %llu: %s", v->at + 1,
		         (unsigned long long)e->pos.index, err.msg);
	if (e->kind == RAFT_ENTRY_COMMAND && cmd.session != 0)
		watch_reply(v->sim, cmd.session, cmd.seq, &res);
	watch_applied(v);
	answer_pending(v, e, &res);
	wire_arena_free(arena);
}

static void apply_committed(struct sim_server *v)
{
	struct raft_status st;
	struct raft_entry e;
	struct rfs_err err = {0};

	raft_get_status(v->raft, &st);
	while (store_applied(v->store).index < (st.commit < st.durable ? st.commit : st.durable)) {
		if (wal_read(v->wal, store_applied(v->store).index + 1, 1, UINT64_MAX, &e, &err) !=
		    1)
			sim_fail(v->sim, "server %u: wal_read: %s", v->at + 1, err.msg);
		apply_one(v, &e);
	}
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
	sim_send(v->sim, v, &full);
	free(entries);
}

static void disk_starts(struct sim_server *v)
{
	struct sim *s = v->sim;
	uint64_t us = rng_between(&s->rng, s->plan.disk_min_us, s->plan.disk_max_us);

	if (v->disk_busy)
		return;
	if (!s->calm && rng_permille(&s->rng, s->plan.slow_disk))
		us += rng_below(&s->rng, 500000);
	v->disk_busy = true;
	sim_post(s, us, SIM_DISK, v->at)->life = v->life;
}

static void arm_tick(struct sim_server *v)
{
	uint64_t at_us = v->out.deadline_ms * 1000;

	if (at_us < v->sim->now_us)
		at_us = v->sim->now_us;
	if (v->tick_at_us != 0 && v->tick_at_us <= at_us)
		return;
	v->tick_at_us = at_us;
	sim_post(v->sim, at_us - v->sim->now_us, SIM_TICK, v->at)->life = v->life;
}

static void trace_conf(struct sim_server *v, const struct raft_notice *n)
{
	const struct raft_conf *c = raft_get_conf_at(v->raft, n->index, NULL);
	unsigned voters = 0, old = 0, learners = 0;

	for (unsigned i = 0; c != NULL && i < c->n_voters; i++)
		voters |= 1u << (c->voters[i] - 1);
	for (unsigned i = 0; c != NULL && i < c->n_old; i++)
		old |= 1u << (c->old[i] - 1);
	for (unsigned i = 0; c != NULL && i < c->n_learners; i++)
		learners |= 1u << (c->learners[i] - 1);
	sim_trace(v->sim, "server %u: configuration %llu %s: voters %x old %x learners %x",
	          v->at + 1, (unsigned long long)n->index,
	          n->kind == RAFT_NOTE_CONF ? "in force" : "committed", voters, old, learners);
}

static void trace_notices(struct sim_server *v)
{
	for (size_t i = 0; i < v->out.n_notices; i++) {
		const struct raft_notice *n = &v->out.notices[i];

		if (n->kind == RAFT_NOTE_PROTOCOL)
			sim_fail(v->sim, "server %u: protocol broken by %llu: %s", v->at + 1,
			         (unsigned long long)n->peer, n->text != NULL ? n->text : "");
		if (n->kind == RAFT_NOTE_TRANSFER_END) {
			v->sim->transfers += n->text == NULL;
			sim_trace(v->sim, "server %u: transfer to %llu: %s", v->at + 1,
			          (unsigned long long)n->peer, n->text != NULL ? n->text : "done");
		}
		if (n->kind == RAFT_NOTE_CONF || n->kind == RAFT_NOTE_CONF_COMMITTED)
			trace_conf(v, n);
		if (n->kind == RAFT_NOTE_ROLE || n->kind == RAFT_NOTE_TRUNCATE)
			sim_trace(v->sim, "server %u: %s term %llu index %llu", v->at + 1,
			          n->kind == RAFT_NOTE_ROLE ? raft_role_name(n->role) : "truncates",
			          (unsigned long long)n->term, (unsigned long long)n->index);
	}
}

static void step(struct sim_server *v, struct raft_event ev)
{
	struct raft_out *out = &v->out;
	struct raft_status st;

	ev.now_ms = sim_now_ms(v->sim);
	v->sim->steps++;
	v->conf_before = *raft_get_conf(v->raft);
	raft_step(v->raft, &ev, out);
	if (out->state_changed)
		wal_set_state(v->wal, out->term, out->vote, out->state_epoch);
	if (out->n_append > 0) {
		watch_append(v, out->append, out->n_append);
		wal_append(v->wal, out->append, out->n_append, out->log_epoch);
	}
	if (out->state_changed || out->n_append > 0)
		disk_starts(v);
	trace_notices(v);
	watch_step(v);
	for (size_t i = 0; i < out->n_msgs; i++)
		send_message(v, &out->msgs[i]);
	for (size_t i = 0; i < out->n_reads; i++)
		read_ready(v, &out->reads[i]);
	raft_get_status(v->raft, &st);
	if (st.role != v->role && v->role == RAFT_LEADER)
		fail_pending(v);
	if (st.role == RAFT_LEADER && v->role != RAFT_LEADER)
		v->sim->elections++;
	v->role = st.role;
	arm_tick(v);
}

static void end_turn(struct sim_server *v)
{
	if (v->out.want_flush)
		step(v, (struct raft_event){.kind = RAFT_EV_FLUSH});
	apply_committed(v);
	serve_reads(v);
}

/* ---- requests ---- */

/* Half of the clusters are of a version that is raised under way. */
static bool wants_version(const struct sim_server *v)
{
	return (v->sim->seed & 2) != 0 && store_version(v->store) < FS_VERSION_MAX;
}

static void take_change(struct sim_server *v, const struct sim_request *q)
{
	struct store_cmd cmd = {q->session, q->seq, q->lowest, v->sim->now_us * 1000, q->op};
	struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
	struct raft_entry e[2] = {{.kind = RAFT_ENTRY_COMMAND}};
	struct buf b, version;

	buf_init(&b);
	buf_init(&version);
	wire_put_command(&b, &cmd);
	e[0].data = b.data;
	e[0].len = (uint32_t)b.len;
	ev.propose.entries = e;
	ev.propose.n = 1;
	if (wants_version(v)) {
		wire_put_version(&version, FS_VERSION_MAX);
		e[1] = (struct raft_entry){.kind = RAFT_ENTRY_VERSION,
		                           .len = (uint32_t)version.len,
		                           .data = version.data};
		ev.propose.n = 2;
	}
	step(v, ev);
	if (v->out.error != 0) {
		refuse(v, q->client, q->id, v->out.error);
	} else {
		v->pending = mem_grow(v->pending, &v->cap_pending, v->n_pending + 1,
		                      sizeof(*v->pending));
		v->pending[v->n_pending++] =
		        (struct sim_pending){v->out.append[0].pos, q->client, q->id};
	}
	buf_free(&b);
	buf_free(&version);
}

static void take_read(struct sim_server *v, const struct sim_request *q)
{
	uint64_t ctx = ++v->next_ctx;

	v->reads = mem_grow(v->reads, &v->cap_reads, v->n_reads + 1, sizeof(*v->reads));
	v->reads[v->n_reads++] = (struct sim_read){
	        .ctx = ctx, .client = q->client, .id = q->id, .op = fs_op_dup(q->op)};
	step(v, (struct raft_event){.kind = RAFT_EV_READ, .read_ctx = ctx});
}

/* ---- administration ---- */

void server_change(struct sim_server *v, const struct raft_conf *conf)
{
	if (!v->up || v->paused || v->role != RAFT_LEADER)
		return;
	step(v, (struct raft_event){.kind = RAFT_EV_CHANGE, .conf = conf});
	v->sim->changes += v->out.error == 0;
	end_turn(v);
}

void server_transfer(struct sim_server *v, raft_id to)
{
	if (!v->up || v->paused)
		return;
	step(v, (struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = to});
	end_turn(v);
}

/* ---- the disk ---- */

static void take_disk(struct sim_server *v)
{
	v->disk_busy = false;
	if (v->dying) {
		/* The power fails somewhere inside this round: what it had synced stays, of the
		 * rest any part. */
		memfs_power_off_at(v->disk, rng_between(&v->sim->rng, 1, 6));
		(void)wal_work(v->wal);
		server_crash(v);
		return;
	}
	(void)wal_work(v->wal);
	watch_synced(v);
	/* As with a thread of its own: what is done is heard of later, when the core may have gone
	 * on to something else. */
	sim_post(v->sim, rng_below(&v->sim->rng, v->sim->plan.disk_max_us), SIM_POLL, v->at)->life =
	        v->life;
}

static void take_poll(struct sim_server *v)
{
	struct rfs_err err = {0};
	struct wal_done done;

	wal_poll(v->wal, &done, &err);
	if (done.error != 0)
		sim_fail(v->sim, "server %u: log: %s", v->at + 1, err.msg);
	if (done.state)
		step(v, (struct raft_event){.kind = RAFT_EV_STATE_DURABLE,
		                            .durable = {.epoch = done.state_epoch}});
	if (done.log)
		step(v, (struct raft_event){.kind = RAFT_EV_LOG_DURABLE,
		                            .durable = {done.log_epoch, done.log_pos}});
}

/* ---- life ---- */

/* The core wants to see the payload of configurations. */
static void read_confs(struct sim_server *v, struct raft_entry *entries, size_t n)
{
	struct rfs_err err = {0};
	struct raft_entry e;

	for (size_t i = 0; i < n; i++) {
		if (entries[i].kind != RAFT_ENTRY_CONFIG)
			continue;
		if (wal_read(v->wal, entries[i].pos.index, 1, UINT64_MAX, &e, &err) != 1)
			sim_fail(v->sim, "server %u: wal_read: %s", v->at + 1, err.msg);
		entries[i].data = mem_dup(e.data, e.len);
	}
}

static void free_confs(struct raft_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].kind == RAFT_ENTRY_CONFIG)
			free((void *)(uintptr_t)entries[i].data);
}

void server_start(struct sim_server *v)
{
	struct sim *s = v->sim;
	struct wal_opts wopts = {
	        .ops = memfs_ops(v->disk),
	        .identity = {.cluster = "sim", .node_id = v->id, .incarnation = 1},
	        .segment_bytes = SEGMENT_BYTES,
	        .cache_bytes = 16384,
	};
	struct store_opts sopts = {.memory = true};
	struct raft_opts ropts = {
	        .id = v->id,
	        .seed = rng_next(&s->rng),
	        .election_min_ms = 150,
	        .election_max_ms = 300,
	        .heartbeat_ms = 50,
	        .append_bytes_max = (uint32_t)rng_between(&s->rng, 100, 8192),
	        .inflight_bytes_max = (uint32_t)rng_between(&s->rng, 100, 32768),
	        .inflight_msgs_max = (uint32_t)rng_between(&s->rng, 1, 32),
	        .uncommitted_bytes_max = 1u << 20,
	        .commit_delay_ms = (uint32_t)rng_below(&s->rng, 50),
	};
	struct raft_recovered rr = {0};
	struct wal_recovered rec = {0};
	struct raft_entry *entries;
	struct rfs_err err = {0};

	memfs_power_on(v->disk, MEMFS_LOSE_SOME);
	if (wal_open(&v->wal, "/wal", &wopts, &rec, &err) != 0)
		sim_fail(s, "server %u: wal_open: %s", v->at + 1, err.msg);
	if (store_open(&v->store, "", &sopts, &err) != 0)
		sim_fail(s, "server %u: store_open: %s", v->at + 1, err.msg);
	rr.base = rec.base;
	rr.n = rec.last.index - rec.base.index;
	rr.term = rec.term;
	rr.vote = rec.vote;
	entries = mem_calloc(rr.n, sizeof(*entries));
	for (size_t i = 0; i < rr.n; i++)
		rfs_check(wal_entry_at(v->wal, rec.base.index + 1 + i, &entries[i]));
	rr.entries = entries;
	for (unsigned i = 0; v->at < s->plan.founders && i < s->plan.founders; i++)
		rr.conf.voters[rr.conf.n_voters++] = i + 1;
	read_confs(v, entries, rr.n);
	v->raft = raft_new(&ropts, &rr, sim_now_ms(s));
	if (v->raft == NULL)
		sim_fail(s, "server %u: a configuration in its log makes no sense", v->at + 1);
	v->up = true;
	v->paused = v->dying = v->disk_busy = false;
	v->life++;
	v->tick_at_us = 0;
	v->role = RAFT_FOLLOWER;
	sim_trace(s, "server %u: starts, term %llu, log to %llu", v->at + 1,
	          (unsigned long long)rec.term, (unsigned long long)rec.last.index);
	watch_started(v, &rec);
	for (size_t i = 0; i < rr.n; i++)
		watch_append(v, &entries[i], 1);
	free_confs(entries, rr.n);
	free(entries);
	step(v, (struct raft_event){.kind = RAFT_EV_TICK});
	end_turn(v);
}

static void release(struct sim_server *v)
{
	for (size_t i = 0; i < v->n_held; i++) {
		if (v->held[i]->kind == SIM_MESSAGE)
			sim_message_free(v->held[i]->message);
		else if (v->held[i]->kind == SIM_REQUEST) {
			free(v->held[i]->request->op);
			free(v->held[i]->request);
		}
		free(v->held[i]);
	}
	v->n_held = 0;
	while (v->n_reads > 0)
		drop_read(v, 0);
	v->n_pending = 0;
	raft_free(v->raft);
	store_close(v->store);
	v->raft = NULL;
	v->store = NULL;
}

void server_crash(struct sim_server *v)
{
	if (!v->up)
		return;
	sim_trace(v->sim, "server %u: crashes", v->at + 1);
	v->sim->crashes++;
	memfs_power_off(v->disk);
	wal_close(v->wal);
	v->wal = NULL;
	release(v);
	v->up = false;
}

void server_free(struct sim_server *v)
{
	if (v->up) {
		wal_close(v->wal);
		release(v);
	}
	memfs_free(v->disk);
	raft_out_free(&v->out);
	free(v->pending);
	free(v->reads);
	free(v->held);
	free(v->durable_terms);
	free(v->disk_terms);
}

/* ---- events ---- */

static bool hold(struct sim_server *v, struct sim_event *e)
{
	if (!v->paused)
		return false;
	v->held = mem_grow(v->held, &v->cap_held, v->n_held + 1, sizeof(struct sim_event *));
	v->held[v->n_held++] = e;
	return true;
}

static void dispatch(struct sim_server *v, struct sim_event *e)
{
	switch (e->kind) {
	case SIM_TICK:
		v->tick_at_us = 0;
		step(v, (struct raft_event){.kind = RAFT_EV_TICK});
		break;
	case SIM_DISK: take_disk(v); break;
	case SIM_POLL: take_poll(v); break;
	case SIM_MESSAGE:
		step(v, (struct raft_event){.kind = RAFT_EV_MSG, .msg = &e->message->msg});
		break;
	case SIM_REQUEST:
		if (!fs_op_is_write(e->request->op->kind))
			take_read(v, e->request);
		else if (v->role != RAFT_LEADER)
			refuse(v, e->request->client, e->request->id, RFS_ENOTLEADER);
		else
			take_change(v, e->request);
		break;
	case SIM_REPLY:
	case SIM_CLIENT:
	case SIM_FAULT:
	case SIM_RESTART:
	case SIM_RESUME:
	case SIM_HEAL:
	case SIM_OPERATE: rfs_die("not a server's event");
	}
	if (v->up)
		end_turn(v);
}

static void free_event(struct sim_event *e)
{
	if (e->kind == SIM_MESSAGE)
		sim_message_free(e->message);
	if (e->kind == SIM_REQUEST) {
		free(e->request->op);
		free(e->request);
	}
	free(e);
}

/* Takes the event. */
void server_take(struct sim_server *v, struct sim_event *e)
{
	bool of_this_life = e->life == v->life ||
	                    (e->kind != SIM_TICK && e->kind != SIM_DISK && e->kind != SIM_POLL);

	if (v->up && of_this_life && hold(v, e))
		return;
	if (v->up && of_this_life)
		dispatch(v, e);
	free_event(e);
}

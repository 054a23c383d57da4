/* Clients' requests, the state machine, answers: src/node/serve.c and apply.c. */
#include <errno.h>
#include <stdlib.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "../../src/wire/codec.h"
#include "watch.h"

/* ---- answers ---- */

static void reply(struct sim_server *v, unsigned client, uint64_t id, const struct fs_result *res)
{
	struct sim *s = v->sim;
	struct sim_reply *r;
	struct raft_status st;

	if (net_loses(s))
		return;
	r = mem_zalloc(sizeof(*r));
	raft_get_status(v->raft, &st);
	r->server = v->at;
	r->id = id;
	r->result = *res;
	r->leader = st.leader;
	r->data = mem_dup(res->data, res->data_len);
	r->result.data = r->data;
	sim_post(s, net_delay(s), SIM_REPLY, client)->reply = r;
}

static void refuse(struct sim_server *v, unsigned client, uint64_t id, int code)
{
	reply(v, client, id, &(struct fs_result){.err = code});
}

/* ---- reads ---- */

static void drop_read(struct sim_server *v, size_t i)
{
	free(v->reads[i].op);
	v->reads[i] = v->reads[--v->n_reads];
}

void serve_read_ready(struct sim_server *v, const struct raft_read_ready *ready)
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
		watch_read(v, r);
		return;
	}
}

void serve_reads(struct sim_server *v)
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

static void take_read(struct sim_server *v, const struct sim_request *q)
{
	uint64_t ctx = ++v->next_ctx;

	v->reads = mem_grow(v->reads, &v->cap_reads, v->n_reads + 1, sizeof(*v->reads));
	v->reads[v->n_reads++] = (struct sim_read){.ctx = ctx,
	                                           .client = q->client,
	                                           .id = q->id,
	                                           .committed = q->committed,
	                                           .op = fs_op_dup(q->op)};
	server_step(v, (struct raft_event){.kind = RAFT_EV_READ, .read_ctx = ctx});
}

/* ---- changes ---- */

/* One thing at a time may be larger than the limit on what is not committed. */
static void check_limit(struct sim_server *v, uint64_t waited)
{
	struct raft_status st;

	raft_get_status(v->raft, &st);
	if (waited > 0 && st.uncommitted_bytes > v->sim->plan.uncommitted_max)
		sim_fail(v->sim, "leader %u takes more: %llu uncommitted bytes of %u", v->at + 1,
		         ull(st.uncommitted_bytes), v->sim->plan.uncommitted_max);
}

static void propose(struct sim_server *v, const struct sim_request *q, const struct raft_entry *e)
{
	struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
	struct raft_status st;

	raft_get_status(v->raft, &st);
	ev.propose.entries = e;
	ev.propose.n = 1;
	server_step(v, ev);
	if (v->out.error != 0) {
		refuse(v, q->client, q->id, v->out.error);
		return;
	}
	check_limit(v, st.uncommitted_bytes);
	v->pending = mem_grow(v->pending, &v->cap_pending, v->n_pending + 1, sizeof(*v->pending));
	v->pending[v->n_pending++] = (struct sim_pending){v->out.append[0].pos, q->client, q->id};
}

static uint64_t date_ns(const struct sim_server *v)
{
	return (server_now_us(v) + 1000000000u + (uint64_t)v->clock.wall_us) * 1000;
}

static void take_change(struct sim_server *v, const struct sim_request *q)
{
	struct store_cmd cmd = {q->session, q->seq, q->lowest, date_ns(v), q->op};
	struct buf b;

	buf_init(&b);
	wire_put_command(&b, &cmd);
	propose(v, q,
	        &(struct raft_entry){
	                .kind = RAFT_ENTRY_COMMAND, .data = b.data, .len = (uint32_t)b.len});
	buf_free(&b);
}

static void propose_own(struct sim_server *v, enum raft_entry_kind kind, const struct buf *b)
{
	struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
	struct raft_entry e = {.kind = kind, .data = b->data, .len = (uint32_t)b->len};

	ev.propose.entries = &e;
	ev.propose.n = 1;
	server_step(v, ev);
}

/* A change of the leader's own, or of an administrator's, whom no session remembers. */
void serve_own(struct sim_server *v, const struct fs_op *op)
{
	struct store_cmd cmd = {.time_ns = date_ns(v), .op = op};
	struct buf b;

	buf_init(&b);
	wire_put_command(&b, &cmd);
	propose_own(v, RAFT_ENTRY_COMMAND, &b);
	buf_free(&b);
	server_end_turn(v);
}

/* All members are programs of one version: a leader that has applied what earlier ones left raises the
 * cluster's at once (src/node/version.c). */
void serve_raise_version(struct sim_server *v)
{
	struct raft_status st;
	struct buf b;

	raft_get_status(v->raft, &st);
	if (v->sim->plan.raise == 0 || v->role != RAFT_LEADER || v->raised_in == st.term ||
	    store_version(v->store) == FS_VERSION_MAX || store_applied(v->store).term != st.term)
		return;
	v->raised_in = st.term;
	buf_init(&b);
	wire_put_version(&b, FS_VERSION_MAX);
	propose_own(v, RAFT_ENTRY_VERSION, &b);
	buf_free(&b);
}

/* As src/node/space.c, but not as often: what waits to be freed is to outlast crashes and snapshots. */
void serve_trim(struct sim_server *v)
{
	struct store_freeing f;

	store_get_freeing(v->store, &f);
	if (v->role == RAFT_LEADER && f.contents > 0)
		serve_own(v, &(struct fs_op){.kind = FS_OP_TRIM, .size = UINT64_MAX});
}

void serve_request(struct sim_server *v, const struct sim_request *q)
{
	if (!fs_op_is_write(q->op->kind))
		take_read(v, q);
	else if (v->role != RAFT_LEADER)
		refuse(v, q->client, q->id, RFS_ENOTLEADER);
	else
		take_change(v, q);
}

/* Those at or below `upto` will not be answered by applying them. */
void serve_fail_pending(struct sim_server *v, raft_index upto)
{
	size_t kept = 0;

	for (size_t i = 0; i < v->n_pending; i++) {
		if (v->pending[i].pos.index > upto)
			v->pending[kept++] = v->pending[i];
		else
			refuse(v, v->pending[i].client, v->pending[i].id, RFS_EUNKNOWN);
	}
	v->n_pending = kept;
}

void serve_forget(struct sim_server *v)
{
	while (v->n_reads > 0)
		drop_read(v, 0);
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
			         v->at + 1, ull(e->pos.index));
		res->index = e->pos.index;
		reply(v, v->pending[i].client, v->pending[i].id, res);
		v->pending[i] = v->pending[--v->n_pending];
		return;
	}
}

static int apply_command(struct sim_server *v, const struct raft_entry *e, struct rfs_err *err)
{
	struct wire_arena *arena = wire_arena_new();
	struct fs_result res = {0};
	struct store_cmd cmd = {0};
	struct fs_op op;
	int rc;

	if (wire_get_command(e->data, e->len, arena, &cmd, &op, err) != 0)
		sim_fail(v->sim, "server %u: entry %llu: %s", v->at + 1, ull(e->pos.index),
		         err->msg);
	rc = store_apply(v->store, e->pos, &cmd, &res, err);
	watch_command(v->sim, e->pos.index, &cmd, &res);
	answer_pending(v, e, &res);
	wire_arena_free(arena);
	return rc;
}

static int apply_version(struct sim_server *v, const struct raft_entry *e, struct rfs_err *err)
{
	uint32_t version;
	int rc = wire_get_version(e->data, e->len, &version, err);

	return rc == 0 ? store_set_version(v->store, e->pos, version, err) : rc;
}

static void apply_one(struct sim_server *v, const struct raft_entry *e)
{
	struct fs_result res;
	struct rfs_err err = {0};
	int rc = 0;

	switch (e->kind) {
	case RAFT_ENTRY_NOOP: rc = store_apply(v->store, e->pos, NULL, &res, &err); break;
	case RAFT_ENTRY_COMMAND: rc = apply_command(v, e, &err); break;
	case RAFT_ENTRY_CONFIG:
		rc = store_set_membership(v->store, e->pos, e->data, e->len, &err);
		break;
	case RAFT_ENTRY_VERSION: rc = apply_version(v, e, &err); break;
	}
	if (rc != 0)
		sim_fail(v->sim, "server %u: applying %llu: %s", v->at + 1, ull(e->pos.index),
		         err.msg);
	watch_applied(v);
}

/* What is committed and durable here; a few entries go into the engine in one batch. */
void serve_apply(struct sim_server *v)
{
	uint64_t batch = rng_between(&v->sim->rng, 1, 8), n = 0;
	struct rfs_err err = {0};
	struct raft_status st;
	struct raft_entry e;
	raft_index upto;

	raft_get_status(v->raft, &st);
	upto = v->out.commit < st.durable ? v->out.commit : st.durable;
	while (store_applied(v->store).index < upto) {
		if (wal_read(v->wal, store_applied(v->store).index + 1, 1, UINT64_MAX, &e, &err) !=
		    1)
			sim_fail(v->sim, "server %u: wal_read: %s", v->at + 1, err.msg);
		apply_one(v, &e);
		if (++n % batch == 0 && store_commit(v->store, &err) != 0)
			sim_fail(v->sim, "server %u: store_commit: %s", v->at + 1, err.msg);
	}
	if (store_commit(v->store, &err) != 0)
		sim_fail(v->sim, "server %u: store_commit: %s", v->at + 1, err.msg);
}

/* The configuration applied last; index 0: none was. */
void serve_membership(struct sim_server *v, struct raft_conf *conf, raft_index *index)
{
	struct raft_pos pos;
	const void *bytes;
	size_t len;

	store_get_membership(v->store, &pos, &bytes, &len);
	*index = pos.index;
	*conf = (struct raft_conf){0};
	if (pos.index > 0 && !raft_conf_decode(conf, bytes, len))
		sim_fail(v->sim, "server %u: the state machine's configuration makes no sense",
		         v->at + 1);
}

/* Committed entries into the state machine, and reads out of it. */
#include "node_priv.h"

#include <errno.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

/* ---- committed entries ---- */

/* An entry's effect on the state. The bytes are as the leader wrote them (they passed two
 * checksums), and a leader writes nothing that a member does not understand (version.c). So what is
 * not understood here must end this node: passing over it would part its state from the others'. */
static int apply_entry(struct node *n, const struct raft_entry *e, struct store_cmd *cmd,
                       struct fs_op *op, struct fs_result *res, struct rfs_err *err)
{
	uint32_t version;
	int rc;

	switch (e->kind) {
	case RAFT_ENTRY_NOOP: return store_apply(n->store, e->pos, NULL, res, err);
	case RAFT_ENTRY_CONFIG: return store_set_membership(n->store, e->pos, e->data, e->len, err);
	case RAFT_ENTRY_COMMAND:
		rc = wire_get_command(e->data, e->len, n->apply_arena, cmd, op, err);
		return rc == 0 ? store_apply(n->store, e->pos, cmd, res, err) : rc;
	case RAFT_ENTRY_VERSION:
		rc = wire_get_version(e->data, e->len, &version, err);
		return rc == 0 ? store_set_version(n->store, e->pos, version, err) : rc;
	}
	return rfs_err_set(err, RFS_ECORRUPT, "unknown kind %d", (int)e->kind);
}

static void answer(struct node *n, const struct raft_entry *e, const struct store_cmd *cmd,
                   const struct fs_result *res)
{
	struct node_pending p;

	if (!pending_take(&n->pending, e->pos.index, &p) || p.conn == NULL)
		return;
	rfs_check(p.pos.term == e->pos.term);
	histogram_add(&n->counts.commit, (clock_mono_ns() - p.came_ns) / 1000);
	if (res->err == RFS_EWAITING)
		locks_applied(n, cmd, res, p.conn, p.req_id);
	else
		serve_reply(p.conn, p.req_id, res);
}

static int apply_one(struct node *n, const struct raft_entry *e, struct rfs_err *err)
{
	struct fs_op op = {.kind = FS_OP_NONE};
	struct store_cmd cmd = {.op = &op};
	struct fs_result res = {0};

	n->unflushed_bytes += e->len;
	n->unflushed_entries++;
	if (apply_entry(n, e, &cmd, &op, &res, err) != 0)
		return rfs_err_prefix(err, "log entry %llu", (unsigned long long)e->pos.index);
	if (e->kind == RAFT_ENTRY_VERSION)
		version_applied(n);
	space_applied(n, &op);
	if (op.kind == FS_OP_SESSION_OPEN && res.err == 0)
		session_heard(n, res.value);
	answer(n, e, &cmd, &res);
	wire_arena_reset(n->apply_arena);
	return 0;
}

/* Apply what is committed and durable here, a bounded piece a turn. Durable here, so that the state
 * on disk never runs ahead of the log on disk. Replies wait in the connections until the batch is
 * in the engine, or in memory where its disk is full. */
static int apply_piece(struct node *n, raft_index upto, uint64_t end_ns, struct rfs_err *err)
{
	raft_index next = store_applied(n->store).index + 1;
	ssize_t got;
	int rc;

	n->scratch =
	        mem_grow(n->scratch, &n->scratch_cap, NODE_TURN_APPLY_MAX, sizeof(*n->scratch));
	got = wal_read(n->wal, next,
	               upto - next + 1 < NODE_TURN_APPLY_MAX ? upto - next + 1
	                                                     : NODE_TURN_APPLY_MAX,
	               NODE_TURN_APPLY_BYTES, n->scratch, err);
	if (got < 0)
		return (int)got;
	rfs_check(got > 0);
	for (ssize_t i = 0; i < got; i++) {
		rc = apply_one(n, &n->scratch[i], err);
		if (rc != 0)
			return rc;
		if (store_batch_bytes(n->store) >= NODE_TURN_BATCH_BYTES ||
		    clock_mono_ns() >= end_ns)
			break;
	}
	return space_save(n, err);
}

void apply_committed(struct node *n)
{
	struct rfs_err err = {0};
	struct raft_status st;
	uint64_t begin;
	raft_index upto;

	raft_get_status(n->raft, &st);
	upto = n->commit < st.durable ? n->commit : st.durable;
	if (store_applied(n->store).index >= upto || !space_may_apply(n))
		return;
	begin = clock_mono_ns();
	if (apply_piece(n, upto, begin + NODE_TURN_APPLY_MS * 1000000ull, &err) != 0) {
		node_fail(n, &err);
		return;
	}
	histogram_add(&n->counts.apply, (clock_mono_ns() - begin) / 1000);
	if (store_applied(n->store).index < upto)
		uv_async_send(&n->again);
}

/* ---- reads ---- */

static void free_read(struct node_read *r)
{
	free(r->op);
	free(r);
}

static void refuse_reads(struct node_read_batch *b, int code)
{
	struct node_read *r, *next;

	LL_FOREACH_SAFE(b->reads, r, next)
	{
		serve_refuse(r->conn, r->req_id, code);
		free_read(r);
	}
	b->reads = NULL;
}

void reads_ready(struct node *n, const struct raft_read_ready *ready)
{
	struct node_read_batch *b, *next;

	DL_FOREACH_SAFE (n->read_batches, b, next) {
		if (b->ctx != ready->ctx)
			continue;
		if (ready->failed) {
			refuse_reads(b, RFS_ENOTLEADER);
			DL_DELETE(n->read_batches, b);
			free(b);
			return;
		}
		b->ready = true;
		b->index = ready->index;
		return;
	}
}

static bool serve_one(struct node *n, struct node_read *r)
{
	struct fs_result res = {0};
	struct rfs_err err = {0};

	if (r->conn->net != NULL && store_read(n->store, r->op, &res, &err) != 0) {
		node_fail(n, &err);
		return false;
	}
	res.index = store_applied(n->store).index;
	histogram_add(&n->counts.read, (clock_mono_ns() - r->came_ns) / 1000);
	serve_reply(r->conn, r->req_id, &res);
	return true;
}

/* Who does not take his answers waits, and gets newer ones later. */
static bool serve_batch(struct node *n, struct node_read_batch *b)
{
	struct node_read **at = &b->reads;

	while (*at != NULL) {
		struct node_read *r = *at;

		if (conn_is_choked(r->conn)) {
			at = &r->next;
			continue;
		}
		if (!serve_one(n, r))
			return false;
		*at = r->next;
		free_read(r);
	}
	return true;
}

void reads_serve(struct node *n)
{
	raft_index applied = store_applied(n->store).index;
	struct node_read_batch *b, *next;

	DL_FOREACH_SAFE (n->read_batches, b, next) {
		if (!b->ready || b->index > applied)
			continue;
		if (!serve_batch(n, b))
			return;
		n->current = true;
		if (b->reads != NULL)
			continue;
		DL_DELETE(n->read_batches, b);
		free(b);
	}
}

void reads_probe(struct node *n)
{
	if (!n->current && n->gathering == NULL && n->read_batches == NULL)
		n->gathering = mem_zalloc(sizeof(*n->gathering));
}

void reads_refuse_all(struct node *n)
{
	struct node_read_batch *b, *next;

	if (n->gathering != NULL)
		DL_APPEND(n->read_batches, n->gathering);
	n->gathering = NULL;
	DL_FOREACH_SAFE (n->read_batches, b, next) {
		refuse_reads(b, RFS_ESHUTDOWN);
		DL_DELETE(n->read_batches, b);
		free(b);
	}
}

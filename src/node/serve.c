/* Clients' requests and the other servers' messages, as they come in over accepted connections.
 * Changes gather into one proposal a turn, reads into one read-index request a turn. */
#include "node_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

/* ---- connections ---- */

static struct node_conn *conn_of(struct net_conn *net)
{
	struct node_conn *c = net_conn_ctx(net);

	RFS_MAGIC_CHECK(c, NODE_CONN_MAGIC);
	return c;
}

static void accept_on_ready(struct net_conn *net, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct node *n = net_conn_ctx(net);
	struct node_conn *c;

	RFS_MAGIC_CHECK(n, NODE_MAGIC);
	c = mem_zalloc(sizeof(*c));
	RFS_MAGIC_SET(c, NODE_CONN_MAGIC);
	c->node = n;
	c->net = net;
	c->peer_id = peer_id;
	c->incarnation = peer_incarnation;
	c->refs = 1;
	n->counts.accepted++;
	DL_APPEND(n->conns, c);
	net_conn_set_ctx(net, c);
	if (peer_id != 0)
		peer_is_back(n, peer_id);
}

static void accept_on_close(struct net_conn *net, const struct rfs_err *err)
{
	struct node_conn *c = conn_of(net);

	if (err->code == RFS_EPROTO || err->code == RFS_ECORRUPT)
		log_warn("%s", err->msg);
	else
		log_debug("connection from %s closed: %s", net_conn_name(net), err->msg);
	c->net = NULL;
	conn_gone(c);
	locks_conn_closed(c->node, c);
	conn_unref(c);
}

/* ---- answers ---- */

void conn_put_reply(struct node_conn *c, uint64_t req_id, const struct fs_result *res, bool hint)
{
	struct wire_reply reply = {.id = req_id, .result = *res};
	struct raft_status st;

	if (c->net == NULL)
		return;
	if (hint) {
		raft_get_status(c->node->raft, &st);
		reply.leader_id = st.leader;
		if (st.leader != 0)
			(void)snprintf(reply.leader_address, sizeof(reply.leader_address), "%s",
			               node_address_of(c->node, st.leader));
	}
	wire_put_reply(net_conn_out(c->net), &reply);
	conn_mark_dirty(c);
}

/* Both give the reference back that was taken with the request. */
void serve_reply(struct node_conn *c, uint64_t req_id, const struct fs_result *res)
{
	conn_put_reply(c, req_id, res, false);
	conn_answered(c);
}

void serve_refuse(struct node_conn *c, uint64_t req_id, int code)
{
	struct fs_result res = {.err = code};

	c->node->counts.refused++;
	conn_put_reply(c, req_id, &res, true);
	conn_answered(c);
}

/* ---- changes that wait for their entry ---- */

void pending_push(struct node_pending_ring *r, struct node_pending p)
{
	if (r->n == r->cap) {
		size_t cap = r->cap > 0 ? r->cap * 2 : 256;
		struct node_pending *slot = mem_calloc(cap, sizeof(*slot));

		for (size_t i = 0; i < r->n; i++)
			slot[i] = r->slot[(r->head + i) % r->cap];
		free(r->slot);
		*r = (struct node_pending_ring){slot, cap, 0, r->n};
	}
	r->slot[(r->head + r->n) % r->cap] = p;
	r->n++;
}

bool pending_take(struct node_pending_ring *r, raft_index index, struct node_pending *out)
{
	if (r->n == 0 || r->slot[r->head].pos.index != index) {
		rfs_check(r->n == 0 || r->slot[r->head].pos.index > index);
		return false;
	}
	*out = r->slot[r->head];
	r->head = (r->head + 1) % r->cap;
	r->n--;
	return true;
}

void serve_fail_pending(struct node *n, int code)
{
	struct node_pending p;

	while (n->pending.n > 0) {
		rfs_check(
		        pending_take(&n->pending, n->pending.slot[n->pending.head].pos.index, &p));
		if (p.conn != NULL)
			serve_refuse(p.conn, p.req_id, code);
	}
}

/* ---- gathering ---- */

/* While a batch gathers, its entries keep offsets into batch_bytes in place of pointers: the buffer
 * may move. The payload is what batch_bytes has from `start` on. */
static void gather_entry(struct node *n, enum raft_entry_kind kind, size_t start,
                         struct node_conn *conn, uint64_t req_id)
{
	n->batch = mem_grow(n->batch, &n->batch_cap, n->n_batch + 1, sizeof(*n->batch));
	n->batch_from =
	        mem_grow(n->batch_from, &n->batch_from_cap, n->n_batch + 1, sizeof(*n->batch_from));
	n->batch[n->n_batch] = (struct raft_entry){
	        .kind = kind,
	        .len = (uint32_t)(n->batch_bytes.len - start),
	        .data = (const void *)(uintptr_t)start,
	};
	n->batch_from[n->n_batch] =
	        (struct node_pending){.conn = conn, .req_id = req_id, .came_ns = clock_mono_ns()};
	if (conn != NULL)
		n->changed_ms = clock_mono_ms();
	n->counts.changes++;
	n->counts.change_bytes += n->batch_bytes.len - start;
	n->n_batch++;
}

static void gather_command(struct node *n, const struct store_cmd *cmd, struct node_conn *conn,
                           uint64_t req_id)
{
	size_t start = n->batch_bytes.len;

	wire_put_command(&n->batch_bytes, cmd);
	gather_entry(n, RAFT_ENTRY_COMMAND, start, conn, req_id);
}

int serve_command(struct node *n, const struct fs_op *op)
{
	struct store_cmd cmd = {.time_ns = clock_real_ns(), .op = op};
	int rc = n->role == RAFT_LEADER ? version_judge(n, op) : RFS_ENOTLEADER;

	if (rc != 0)
		return rc;
	gather_command(n, &cmd, NULL, 0);
	uv_async_send(&n->again);
	return 0;
}

void serve_version(struct node *n, uint32_t version)
{
	size_t start = n->batch_bytes.len;

	wire_put_version(&n->batch_bytes, version);
	gather_entry(n, RAFT_ENTRY_VERSION, start, NULL, 0);
}

static void refuse_batch(struct node *n, int code)
{
	for (size_t i = 0; i < n->n_batch; i++)
		if (n->batch_from[i].conn != NULL)
			serve_refuse(n->batch_from[i].conn, n->batch_from[i].req_id, code);
}

void serve_propose_gathered(struct node *n)
{
	struct raft_event ev = {.kind = RAFT_EV_PROPOSE};

	if (n->n_batch == 0)
		return;
	for (size_t i = 0; i < n->n_batch; i++)
		n->batch[i].data = n->batch_bytes.data + (uintptr_t)n->batch[i].data;
	ev.propose.entries = n->batch;
	ev.propose.n = n->n_batch;
	node_step(n, &ev);
	if (n->out.error != 0) {
		refuse_batch(n, n->out.error);
		n->version_term = 0; /* it may have been part of this */
	} else {
		rfs_check(n->out.n_append == n->n_batch);
		for (size_t i = 0; i < n->n_batch; i++) {
			struct node_pending p = n->batch_from[i];

			p.pos = n->out.append[i].pos;
			pending_push(&n->pending, p);
		}
	}
	n->n_batch = 0;
	buf_clear(&n->batch_bytes);
}

void serve_read_gathered(struct node *n)
{
	struct node_read_batch *batch = n->gathering;
	struct raft_event ev = {.kind = RAFT_EV_READ};

	if (batch == NULL)
		return;
	n->gathering = NULL;
	batch->ctx = ++n->next_read_ctx;
	ev.read_ctx = batch->ctx;
	DL_APPEND(n->read_batches, batch);
	node_step(n, &ev);
}

static void take_read(struct node *n, struct node_conn *c, const struct wire_request *r)
{
	struct node_read *read = mem_alloc(sizeof(*read));

	*read = (struct node_read){
	        .conn = c, .req_id = r->id, .came_ns = clock_mono_ns(), .op = fs_op_dup(&r->op)};
	n->counts.reads++;
	conn_taken(c);
	if (n->gathering == NULL)
		n->gathering = mem_zalloc(sizeof(*n->gathering));
	LL_PREPEND(n->gathering->reads, read);
}

/* Whoever asks like this wants what this node has, as long as that is not older than what it has
 * seen. A node that has just started, and one that was removed, has nothing to tell: what it holds
 * may be of any age. */
static void read_local(struct node *n, struct node_conn *c, const struct wire_request *r)
{
	struct fs_result res = {0};
	struct rfs_err err = {0};

	if (fs_op_is_write(r->op.kind)) {
		serve_refuse(c, r->id, -EINVAL);
		return;
	}
	if (!n->current || n->removed) {
		serve_refuse(c, r->id, RFS_ENOTLEADER);
		return;
	}
	if (store_applied(n->store).index < r->min_index) {
		serve_refuse(c, r->id, RFS_EBUSYLIMIT);
		return;
	}
	if (store_read(n->store, &r->op, &res, &err) != 0) {
		serve_refuse(c, r->id, RFS_ESHUTDOWN);
		node_fail(n, &err);
		return;
	}
	res.index = store_applied(n->store).index;
	n->counts.local_reads++;
	serve_reply(c, r->id, &res);
}

/* What a client may ask for. */
static bool may_ask(const struct wire_request *r)
{
	switch (fs_op_by(r->op.kind)) {
	case FS_BY_STRANGER: return r->session == 0;
	case FS_BY_SESSION: return r->session != 0 && r->seq != 0;
	case FS_BY_ANYONE: return true;
	case FS_BY_SERVER: break;
	}
	return false;
}

static void take_request(struct node *n, struct node_conn *c, const struct wire_request *r)
{
	struct store_cmd cmd = {
	        .session = r->session,
	        .seq = r->seq,
	        .lowest = r->lowest,
	        .op = &r->op,
	};
	int rc = may_ask(r) ? 0 : -EINVAL;

	if (rc == 0)
		rc = rights_judge(n, c, fs_op_right(r->op.kind), fs_op_name(r->op.kind));
	if (rc == 0 && r->op.kind == FS_OP_LOCK_AWAIT) {
		locks_take_await(n, c, r);
		return;
	}
	if (rc == 0 && !fs_op_is_write(r->op.kind) && !r->local) {
		take_read(n, c, r);
		return;
	}
	conn_taken(c);
	if (rc == 0 && r->local) {
		read_local(n, c, r);
		return;
	}
	if (rc == 0 && r->op.data_len > FS_WRITE_BYTES_MAX)
		rc = -EFBIG;
	if (rc == 0)
		rc = n->role == RAFT_LEADER ? version_judge(n, &r->op) : RFS_ENOTLEADER;
	if (rc == 0)
		rc = space_judge(n, r);
	if (rc != 0) {
		serve_refuse(c, r->id, rc);
		return;
	}
	session_heard(n, r->session);
	cmd.time_ns = clock_real_ns();
	gather_command(n, &cmd, c, r->id);
	session_note_proposed(n, r->session, r->seq);
}

/* ---- frames ---- */

/* A server speaks for itself alone, and to us; and not any more once another one was added under its id. */
static int check_ends(struct node *n, const struct node_conn *c, uint64_t from, uint64_t to,
                      enum raft_msg_kind kind, struct rfs_err *err)
{
	if (c->peer_id != 0 && from == c->peer_id && to == n->id)
		return incarnations_hear(n, c->peer_id, c->incarnation, kind, err);
	return rfs_err_set(err, RFS_EPROTO, "node %llu sent a message from %llu to %llu",
	                   (unsigned long long)c->peer_id, (unsigned long long)from,
	                   (unsigned long long)to);
}

static int on_raft(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	struct raft_msg m;
	int rc;

	if (c->peer_id == 0)
		return rfs_err_set(err, RFS_EPROTO, "a client sent a message between servers");
	rc = wire_get_raft(f->payload, f->len, n->arena, &m, err);
	if (rc != 0)
		return rc;
	rc = check_ends(n, c, m.from, m.to, m.kind, err);
	if (rc != 0)
		return rc;
	node_step(n, &(struct raft_event){.kind = RAFT_EV_MSG, .msg = &m});
	return 0;
}

static int on_snapshot(struct node *n, struct node_conn *c, const struct frame *f,
                       struct rfs_err *err)
{
	struct wire_snapshot s;
	int rc = wire_get_snapshot(f->payload, f->len, n->arena, &s, err);

	if (rc == 0)
		rc = check_ends(n, c, s.from, s.to, RAFT_MSG_APPEND, err);
	if (rc == 0)
		recv_take(n, &s);
	return rc;
}

static int on_snapshot_ack(struct node *n, struct node_conn *c, const struct frame *f,
                           struct rfs_err *err)
{
	struct wire_snapshot_ack ack;
	int rc = wire_get_snapshot_ack(f->payload, f->len, &ack, err);

	if (rc == 0)
		rc = check_ends(n, c, ack.from, ack.to, RAFT_MSG_APPEND_RESP, err);
	if (rc == 0)
		sends_take_ack(n, &ack);
	return rc;
}

static int on_request(struct node *n, struct node_conn *c, const struct frame *f,
                      struct rfs_err *err)
{
	struct wire_request r;
	int rc = wire_get_request(f->payload, f->len, n->arena, &r, err);

	if (rc == 0)
		take_request(n, c, &r);
	return rc;
}

static int on_room(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	struct wire_room room;
	int rc = wire_get_room(f->payload, f->len, &room, err);

	if (rc != 0)
		return rc;
	if (c->peer_id == 0 || room.node_id != c->peer_id)
		return rfs_err_set(err, RFS_EPROTO,
		                   "word of the disk of node %llu, which it is not",
		                   (unsigned long long)room.node_id);
	space_heard(n, &room);
	return 0;
}

struct session_look {
	uint64_t id;
	bool found;
};

static void look_for_session(void *ctx, uint64_t id, uint64_t timeout_ms)
{
	struct session_look *look = ctx;

	(void)timeout_ms;
	if (id == look->id)
		look->found = true;
}

static int on_keep_alive(struct node *n, struct node_conn *c, const struct frame *f,
                         struct rfs_err *err)
{
	struct fs_result refused = {.err = RFS_ENOTLEADER};
	struct session_look look = {0};
	struct wire_keep_alive_reply reply;
	int rc = wire_get_keep_alive(f->payload, f->len, &look.id, err);

	if (rc == 0)
		rc = rights_judge(n, c, FS_RIGHT_CHANGE, "to keep a session");
	if (rc != 0)
		return err->code != 0
		               ? rc
		               : rfs_err_set(err, rc, "a session is kept by who may not have one");
	if (n->role != RAFT_LEADER) {
		conn_put_reply(c, 0, &refused, true);
		return 0;
	}
	/* Until everything of earlier terms is applied, a session that is missing may still
	 * come. */
	if (store_applied(n->store).index < n->term_start)
		return 0;
	session_heard(n, look.id);
	store_each_session(n->store, look_for_session, &look);
	reply = (struct wire_keep_alive_reply){look.id, !look.found};
	wire_put_keep_alive_reply(net_conn_out(c->net), &reply);
	conn_mark_dirty(c);
	return 0;
}

static int on_status(struct node *n, struct node_conn *c, const struct frame *f,
                     struct rfs_err *err)
{
	struct wire_status *st = mem_zalloc(sizeof(*st));
	int rc = wire_get_status_request(f->payload, f->len, &st->id, err);

	if (rc == 0) {
		status_fill(n, st);
		wire_put_status(net_conn_out(c->net), st);
		conn_mark_dirty(c);
	}
	free(st);
	return rc;
}

/* So that clients know of new members before they need them. */
void serve_push_status(struct node *n)
{
	struct wire_status *st = mem_zalloc(sizeof(*st));
	struct node_conn *c;

	status_fill(n, st);
	DL_FOREACH (n->conns, c) {
		if (c->peer_id != 0 || c->net == NULL)
			continue;
		wire_put_status(net_conn_out(c->net), st);
		conn_mark_dirty(c);
	}
	free(st);
}

static int dispatch(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	if (frame_version((enum frame_type)f->type) > net_conn_version(c->net))
		return rfs_err_set(err, RFS_EPROTO,
		                   "a frame of type %u, which protocol version %u does not have",
		                   f->type, net_conn_version(c->net));
	switch ((enum frame_type)f->type) {
	case FRAME_RAFT: return on_raft(n, c, f, err);
	case FRAME_REQUEST: return on_request(n, c, f, err);
	case FRAME_KEEP_ALIVE: return on_keep_alive(n, c, f, err);
	case FRAME_STATUS_REQUEST: return on_status(n, c, f, err);
	case FRAME_ADMIN: return admin_take(n, c, f, err);
	case FRAME_SNAPSHOT: return on_snapshot(n, c, f, err);
	case FRAME_SNAPSHOT_ACK: return on_snapshot_ack(n, c, f, err);
	case FRAME_WATCH: return watch_take(n, c, f, err);
	case FRAME_ROOM: return on_room(n, c, f, err);
	case FRAME_BACKUP: return backup_take(n, c, f, err);
	case FRAME_HELLO:
	case FRAME_HELLO_REPLY:
	case FRAME_REPLY:
	case FRAME_KEEP_ALIVE_REPLY:
	case FRAME_STATUS:
	case FRAME_ADMIN_REPLY: break;
	case FRAME_EVENTS:
	case FRAME_BACKUP_PART: break;
	}
	return rfs_err_set(err, RFS_EPROTO, "a frame of type %u, which a node does not take",
	                   f->type);
}

static void accept_on_frame(struct net_conn *net, const struct frame *f)
{
	struct node_conn *c = conn_of(net);
	struct node *n = c->node;
	struct rfs_err err = {0};

	if (node_is_out(n))
		return;
	if (dispatch(n, c, f, &err) != 0) {
		log_warn("closing the connection from %s: %s", net_conn_name(net), err.msg);
		net_conn_close(net);
	}
	wire_arena_reset(n->arena);
}

const struct net_handler node_accept_handler = {
        .on_ready = accept_on_ready,
        .on_frame = accept_on_frame,
        .on_close = accept_on_close,
};

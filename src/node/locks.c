/* Clients that wait for a lock. Who waits, and who is next, the state machine knows; here stands
 * only over which connection the answer goes. A request that has to wait is answered twice: with
 * RFS_EWAITING when its entry is applied, so that it no longer counts as unanswered, and with its
 * outcome when another entry brings that about. A client that has lost its connection, or whose
 * leader is another one now, asks again by LOCK_AWAIT.
 *
 * Only the leader keeps anybody waiting: who waits at a node that stops leading is sent away. */
#include "node_priv.h"

#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"

struct node_lock_wait {
	uint64_t asked; /* index of the entry that asked for the lock */
	struct node_conn *conn;
	uint64_t req_id;
	UT_hash_handle hh;
};

static void end_wait(struct node *n, struct node_lock_wait *w)
{
	HASH_DEL(n->lock_waits, w); // NOLINT(clang-analyzer-unix.Malloc)
	conn_unref(w->conn);
	free(w);
}

static struct node_lock_wait *find_wait(struct node *n, uint64_t asked)
{
	struct node_lock_wait *w;

	HASH_FIND(hh, n->lock_waits, &asked, sizeof(asked), w);
	return w;
}

/* Whoever asked before for the same lock has lost that connection. */
static void keep_waiting(struct node *n, uint64_t asked, struct node_conn *c, uint64_t req_id)
{
	struct node_lock_wait *w = find_wait(n, asked);

	if (w != NULL)
		end_wait(n, w);
	w = mem_zalloc(sizeof(*w));
	*w = (struct node_lock_wait){.asked = asked, .conn = c, .req_id = req_id};
	c->refs++;
	HASH_ADD(hh, n->lock_waits, asked, sizeof(w->asked), w);
}

/* What has become of a lock that waited when it was asked for. The request counts as answered. */
static void answer_or_wait(struct node *n, struct node_conn *c, uint64_t req_id,
                           const struct fs_op *op)
{
	struct fs_result res = {0};
	struct rfs_err err = {0};

	if (store_read(n->store, op, &res, &err) != 0) {
		serve_refuse(c, req_id, RFS_ESHUTDOWN);
		node_fail(n, &err);
		return;
	}
	if (res.err == RFS_EWAITING) {
		res.value = op->lock_token;
		if (c->net != NULL && n->role == RAFT_LEADER)
			keep_waiting(n, op->lock_token, c, req_id);
	}
	serve_reply(c, req_id, &res);
}

void locks_applied(struct node *n, const struct store_cmd *cmd, const struct fs_result *res,
                   struct node_conn *c, uint64_t req_id)
{
	struct fs_op await = *cmd->op;

	await.kind = FS_OP_LOCK_AWAIT;
	await.lock_session = cmd->session;
	await.lock_token = res->value;
	answer_or_wait(n, c, req_id, &await);
}

void locks_take_await(struct node *n, struct node_conn *c, const struct wire_request *r)
{
	conn_taken(c);
	if (n->role != RAFT_LEADER)
		serve_refuse(c, r->id, RFS_ENOTLEADER);
	else if (store_applied(n->store).index < r->op.lock_token)
		serve_refuse(c, r->id, RFS_EBUSYLIMIT); /* a new leader, which will soon be there */
	else
		answer_or_wait(n, c, r->id, &r->op);
}

void locks_on_news(void *ctx, const struct store_lock_news *news)
{
	struct node *n = ctx;
	struct node_lock_wait *w;
	struct fs_result res = {.err = news->err, .value = news->token, .index = news->token};

	RFS_MAGIC_CHECK(n, NODE_MAGIC);
	w = find_wait(n, news->asked);
	if (w == NULL)
		return;
	conn_put_reply(w->conn, w->req_id, &res, false);
	end_wait(n, w);
}

void locks_send_away(struct node *n, int code)
{
	const struct fs_result res = {.err = code};
	struct node_lock_wait *w, *next;

	HASH_ITER (hh, n->lock_waits, w, next) {
		conn_put_reply(w->conn, w->req_id, &res, true);
		end_wait(n, w);
	}
}

void locks_conn_closed(struct node *n, const struct node_conn *c)
{
	struct node_lock_wait *w, *next;

	HASH_ITER (hh, n->lock_waits, w, next) {
		if (w->conn == c)
			end_wait(n, w);
	}
}

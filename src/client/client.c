/* The public face, and the one worker that does everything of a turn. */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

/* ---- the turn ---- */

static void client_on_idle(uv_idle_t *h);
static void client_on_timer(uv_timer_t *h);

void client_schedule(struct client *c)
{
	if (c->scheduled || c->closing == CLOSE_SHUT)
		return;
	c->scheduled = true;
	rfs_check(uv_idle_start(&c->work, client_on_idle) == 0);
}

/* A timer that fires too early only looks and sets itself again, so it is moved only to an earlier
 * time: most turns leave it alone. */
static void arm_timer(struct client *c)
{
	uint64_t due = req_due(c), now = client_now(c);

	due = client_earlier(due, links_due(c));
	due = client_earlier(due, route_due(c));
	due = client_earlier(due, session_due(c));
	due = client_earlier(due, status_due(c));
	due = client_earlier(due, admin_due(c));
	due = client_earlier(due, watch_due(c));
	due = client_earlier(due, backup_due(c));
	if (due >= c->timer_at_ms)
		return;
	c->timer_at_ms = due;
	rfs_check(uv_timer_start(&c->timer, client_on_timer, due > now ? due - now : 0, 0) == 0);
}

static void client_shut(struct client *c);

static void client_on_idle(uv_idle_t *h)
{
	struct client *c = h->data;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	(void)uv_idle_stop(&c->work);
	c->scheduled = false;
	req_expire(c);
	req_call_done(c);
	status_work(c);
	if (c->closing != CLOSE_NOT)
		admin_end_all(c, RFS_ESHUTDOWN);
	if (c->closing == CLOSE_NOT)
		links_work(c);
	session_work(c);
	route_work(c);
	admin_work(c);
	watch_work(c);
	backup_work(c);
	links_flush(c);
	if (c->closing == CLOSE_ASKED && c->bye == NULL && !c->scheduled) {
		client_shut(c);
		return;
	}
	arm_timer(c);
}

static void client_on_timer(uv_timer_t *h)
{
	struct client *c = h->data;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	c->timer_at_ms = CLIENT_NEVER;
	client_schedule(c);
}

/* ---- life ---- */

struct client *client_new(uv_loop_t *loop, const struct client_opts *opts)
{
	struct client *c = mem_zalloc(sizeof(*c));

	rfs_check(opts->n_nodes <= CONFIG_NODES_MAX);
	RFS_MAGIC_SET(c, CLIENT_MAGIC);
	uv_update_time(loop);
	c->loop = loop;
	c->opts = *opts;
	if (c->opts.session_timeout_ms == 0)
		c->opts.session_timeout_ms = CLIENT_SESSION_MS_DEFAULT;
	(void)snprintf(c->identity.cluster, sizeof(c->identity.cluster), "%s", opts->cluster);
	c->identity.tls = opts->tls;
	c->limits = NET_LIMITS_DEFAULT;
	rfs_check(c->limits.queue_bytes_max >= CLIENT_QUEUED_BYTES_MAX + RAFT_ENTRY_BYTES_MAX);
	c->arena = wire_arena_new();
	c->timer_at_ms = CLIENT_NEVER;
	c->leader_heard_ms = CLIENT_NEVER;
	c->no_target_since_ms = client_now(c);
	rfs_check(uv_idle_init(loop, &c->work) == 0);
	rfs_check(uv_timer_init(loop, &c->timer) == 0);
	c->work.data = c;
	c->timer.data = c;
	c->n_handles = 2;
	for (size_t i = 0; i < opts->n_nodes; i++)
		(void)link_add(c, opts->nodes[i].id, opts->nodes[i].host, opts->nodes[i].port,
		               true);
	client_schedule(c);
	return c;
}

static void client_free_if_gone(struct client *c)
{
	void (*closed)(void *ctx) = c->closed;
	void *ctx = c->closed_ctx;

	if (c->closing != CLOSE_SHUT || c->n_conns > 0 || c->n_handles > 0)
		return;
	rfs_check(c->by_id == NULL && c->waits == NULL && c->admins == NULL);
	for (size_t i = 0; i < c->n_links; i++)
		free(c->links[i]);
	free(c->heap);
	wire_arena_free(c->arena);
	c->magic = 0;
	free(c);
	if (closed != NULL)
		closed(ctx);
}

void client_conn_gone(struct client *c)
{
	rfs_check(c->n_conns > 0);
	c->n_conns--;
	client_schedule(c);
	client_free_if_gone(c);
}

static void client_on_handle_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	c->n_handles--;
	client_free_if_gone(c);
}

static void client_shut(struct client *c)
{
	c->closing = CLOSE_SHUT;
	for (size_t i = 0; i < c->n_links; i++)
		if (c->links[i]->conn != NULL)
			net_conn_close(c->links[i]->conn);
	uv_close((uv_handle_t *)&c->work, client_on_handle_closed);
	uv_close((uv_handle_t *)&c->timer, client_on_handle_closed);
}

void client_close(struct client *c, void (*closed)(void *ctx), void *ctx)
{
	struct client_req *r, *next;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	rfs_check(c->closing == CLOSE_NOT);
	c->closing = CLOSE_ASKED;
	c->closed = closed;
	c->closed_ctx = ctx;
	HASH_ITER (hh, c->by_id, r, next) {
		if (r->owner == REQ_OF_CALLER)
			req_end(r, RFS_ESHUTDOWN);
		else
			req_drop(r);
	}
	status_end_all(c, RFS_ESHUTDOWN);
	watch_end_all(c);
	backup_end_all(c);
	session_close(c);
	client_schedule(c);
}

/* ---- requests ---- */

struct client_req *client_submit(struct client *c, const struct fs_op *op, uint64_t timeout_ms,
                                 client_cb cb, void *ctx)
{
	struct client_req *r;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	rfs_check(c->closing != CLOSE_SHUT);
	r = req_new(c, op, REQ_OF_CALLER);
	r->cb = cb;
	r->ctx = ctx;
	if (c->closing != CLOSE_NOT) {
		req_end(r, RFS_ESHUTDOWN);
		return r;
	}
	if (op->data_len > FS_WRITE_BYTES_MAX) {
		req_end(r, -EFBIG);
		return r;
	}
	req_set_deadline(r, timeout_ms);
	req_move(r, req_is_change(r) && c->session_state != SESSION_OPEN ? REQ_PARKED : REQ_OUTBOX);
	client_schedule(c);
	return r;
}

void client_cancel(struct client_req *r)
{
	RFS_MAGIC_CHECK(r, CLIENT_REQ_MAGIC);
	req_drop(r);
}

/* ---- looking in ---- */

uint64_t client_session(const struct client *c)
{
	return c->session_state == SESSION_OPEN ? c->session : 0;
}

size_t client_inflight(const struct client *c)
{
	return c->n_changes;
}

static void put_node(struct client_info *info, const struct link *l)
{
	struct config_node *n;

	/* Two given addresses may turn out to be one node. */
	for (size_t i = 0; i < info->n_nodes && l->id != 0; i++) {
		if (info->nodes[i].id == l->id) {
			info->node_up[i] = info->node_up[i] || l->up;
			return;
		}
	}
	n = &info->nodes[info->n_nodes];
	n->id = l->id;
	n->port = l->port;
	memcpy(n->host, l->host, sizeof(n->host));
	info->node_up[info->n_nodes++] = l->up;
}

void client_get_info(const struct client *c, struct client_info *info)
{
	const struct link *leader = c->target != NULL ? c->target : c->hinted;

	memset(info, 0, sizeof(*info));
	info->session = client_session(c);
	if (leader != NULL) {
		info->leader = leader->id;
		memcpy(info->leader_address, leader->address, sizeof(info->leader_address));
	}
	info->leader_seen_ms = c->leader_heard_ms == CLIENT_NEVER
	                               ? UINT64_MAX
	                               : client_now(c) - c->leader_heard_ms;
	info->connected = c->target != NULL;
	info->inflight = c->n_changes;
	info->retries = c->retries;
	info->reconnects = c->reconnects;
	for (size_t i = 0; i < c->n_links; i++)
		put_node(info, c->links[i]);
	info->chosen = c->chosen != NULL ? c->chosen->id : 0;
	info->chosen_ready = c->chosen != NULL && c->chosen->usable;
	info->passed_on = c->passed_on;
	memcpy(info->passed_on_why, c->passed_on_why, sizeof(info->passed_on_why));
	memcpy(info->last_error, c->last_error, sizeof(info->last_error));
}

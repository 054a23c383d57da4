/* One-off questions to one node: over the link to it if that is up, else over a connection of their
 * own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

static const struct net_handler wait_handler;

/* ---- the end of one ---- */

static void wait_free(struct status_wait *w)
{
	DL_DELETE(w->client->waits, w);
	w->magic = 0;
	free(w);
}

/* The callback, once. What has a connection of its own lives on until that is closed. */
static void wait_finish(struct status_wait *w, const struct wire_status *st,
                        const struct rfs_err *err)
{
	client_status_cb cb = w->cb;
	void *ctx = w->ctx;

	w->cb = NULL;
	w->deadline_ms = CLIENT_NEVER;
	if (w->conn != NULL)
		net_conn_close(w->conn);
	else
		wait_free(w);
	if (cb != NULL)
		cb(ctx, st, err);
}

static void wait_fail_later(struct status_wait *w, const struct rfs_err *err)
{
	if (w->failed || w->cb == NULL)
		return;
	w->failed = true;
	w->err = *err;
	client_schedule(w->client);
}

/* ---- answers ---- */

void status_take(struct client *c, const struct wire_status *st)
{
	struct rfs_err none = {0};
	struct status_wait *w;

	DL_FOREACH (c->waits, w) {
		if (w->id == st->id && w->cb != NULL && !w->failed) {
			wait_finish(w, st, &none);
			return;
		}
	}
}

void status_link_lost(struct link *l, const struct rfs_err *err)
{
	struct status_wait *w;

	DL_FOREACH (l->client->waits, w) {
		if (w->link == l)
			wait_fail_later(w, err);
	}
}

/* ---- a connection of its own ---- */

static struct status_wait *wait_of(struct net_conn *conn)
{
	struct status_wait *w = net_conn_ctx(conn);

	RFS_MAGIC_CHECK(w, CLIENT_WAIT_MAGIC);
	return w;
}

static void wait_on_ready(struct net_conn *conn, uint64_t peer_id, uint64_t peer_incarnation)
{
	(void)peer_id;
	(void)peer_incarnation;
	wire_put_status_request(net_conn_out(conn), wait_of(conn)->id);
	net_conn_flush(conn);
}

static void wait_on_frame(struct net_conn *conn, const struct frame *f)
{
	struct status_wait *w = wait_of(conn);
	struct client *c = w->client;
	struct wire_status *st = mem_zalloc(sizeof(*st));
	struct rfs_err err = {0};

	if (f->type != FRAME_STATUS) {
		(void)rfs_err_set(&err, RFS_EPROTO, "%s: a frame of type %u in place of its status",
		                  w->name, f->type);
		wait_fail_later(w, &err);
	} else if (wire_get_status(f->payload, f->len, st, &err) != 0) {
		(void)rfs_err_prefix(&err, "%s", w->name);
		wait_fail_later(w, &err);
	} else {
		status_take(c, st);
	}
	free(st);
}

static void wait_on_close(struct net_conn *conn, const struct rfs_err *err)
{
	struct status_wait *w = wait_of(conn);
	struct client *c = w->client;

	w->conn = NULL;
	if (w->cb == NULL)
		wait_free(w);
	else
		wait_fail_later(w, err);
	client_conn_gone(c);
}

static const struct net_handler wait_handler = {
        .on_ready = wait_on_ready,
        .on_frame = wait_on_frame,
        .on_close = wait_on_close,
};

/* ---- asking ---- */

static void wait_ask(struct status_wait *w, const struct config_node *node)
{
	struct client *c = w->client;
	struct link *l = link_find(c, node->id, node->host, node->port);

	if (l != NULL && l->up) {
		w->link = l;
		wire_put_status_request(link_out(l), w->id);
		return;
	}
	w->conn = net_dial(c->loop, &c->identity, &c->limits, node->host, node->port, node->id,
	                   &wait_handler, w);
	c->n_conns++;
}

void client_status(struct client *c, const struct config_node *node, uint64_t timeout_ms,
                   client_status_cb cb, void *ctx)
{
	struct status_wait *w = mem_zalloc(sizeof(*w));
	char address[CLIENT_NAME_BYTES];
	struct rfs_err err = {0};

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	rfs_check(c->closing != CLOSE_SHUT);
	RFS_MAGIC_SET(w, CLIENT_WAIT_MAGIC);
	w->client = c;
	w->id = ++c->last_id;
	w->cb = cb;
	w->ctx = ctx;
	w->timeout_ms = timeout_ms < CLIENT_TIMEOUT_MS_MAX ? timeout_ms : CLIENT_TIMEOUT_MS_MAX;
	w->deadline_ms = client_now(c) + w->timeout_ms;
	config_format_endpoint(node->host, node->port, address, sizeof(address));
	if (node->id != 0)
		(void)snprintf(w->name, sizeof(w->name), "node %llu %s",
		               (unsigned long long)node->id, address);
	else
		(void)snprintf(w->name, sizeof(w->name), "node %s", address);
	DL_APPEND(c->waits, w);
	if (c->closing != CLOSE_NOT) {
		(void)rfs_err_set(&err, RFS_ESHUTDOWN, "%s was not asked: the client is closing",
		                  w->name);
		wait_fail_later(w, &err);
		return;
	}
	wait_ask(w, node);
	client_schedule(c);
}

/* ---- the turn ---- */

static void expire(struct client *c)
{
	struct status_wait *w;

	DL_FOREACH (c->waits, w) {
		struct rfs_err err = {0};

		if (w->deadline_ms > client_now(c))
			continue;
		(void)rfs_err_set(&err, -ETIMEDOUT, "%s: no answer within %llu ms", w->name,
		                  (unsigned long long)w->timeout_ms);
		wait_fail_later(w, &err);
	}
}

static struct status_wait *first_failed(struct client *c)
{
	struct status_wait *w;

	DL_FOREACH (c->waits, w) {
		/* The analyzer does not see that what is freed has left the list. */
		if (w->failed && w->cb != NULL) // NOLINT(clang-analyzer-unix.Malloc)
			return w;
	}
	return NULL;
}

/* From the start after every callback: it may have asked anew. */
void status_work(struct client *c)
{
	struct status_wait *w;

	expire(c);
	while ((w = first_failed(c)) != NULL) {
		struct rfs_err err = w->err;

		wait_finish(w, NULL, &err);
	}
}

void status_end_all(struct client *c, int code)
{
	struct status_wait *w;

	DL_FOREACH (c->waits, w) {
		struct rfs_err err = {0};

		(void)rfs_err_set(&err, code, "%s: %s", w->name, rfs_strerror(code));
		wait_fail_later(w, &err);
	}
}

uint64_t status_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;
	const struct status_wait *w;

	DL_FOREACH (c->waits, w) {
		if (!w->failed)
			due = client_earlier(due, w->deadline_ms);
	}
	return due;
}

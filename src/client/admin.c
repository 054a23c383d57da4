/* Administration: asked of the leader, or of one node, again until somebody who can has answered. What is asked for
 * is a state to reach, so asking twice is asking once. */
#include <stdio.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

static void admin_free(struct admin_wait *w)
{
	DL_DELETE(w->client->admins, w);
	w->magic = 0;
	free(w);
}

static void admin_finish(struct admin_wait *w, int code, const char *text)
{
	client_admin_cb cb = w->cb;
	void *ctx = w->ctx;
	char sentence[WIRE_TEXT_MAX];

	(void)snprintf(sentence, sizeof(sentence), "%s", text);
	admin_free(w);
	cb(ctx, code, sentence);
}

static struct admin_wait *admin_find(struct client *c, uint64_t id)
{
	struct admin_wait *w;

	DL_FOREACH (c->admins, w) {
		if (w->what.id == id)
			return w;
	}
	return NULL;
}

static void again_later(struct admin_wait *w, const char *why)
{
	w->sent_to = NULL;
	w->again_ms = client_now(w->client) + CLIENT_ADMIN_AGAIN_MS;
	if (why[0] != '\0')
		(void)snprintf(w->why, sizeof(w->why), "%s", why);
	client_schedule(w->client);
}

/* ---- news ---- */

void admin_take_reply(struct link *l, const struct wire_admin_reply *reply)
{
	struct admin_wait *w = admin_find(l->client, reply->id);
	struct wire_reply refusal = {.leader_id = reply->leader_id};

	if (w == NULL || w->sent_to != l)
		return;
	if (reply->code == RFS_ENOTLEADER || reply->code == RFS_ESHUTDOWN) {
		(void)snprintf(refusal.leader_address, sizeof(refusal.leader_address), "%s",
		               reply->leader_address);
		again_later(w, reply->text);
		if (l == w->client->chosen)
			chosen_refused_admin(w, reply->leader_id);
		route_take_reply(l, &refusal);
	} else if (reply->code == RFS_EBUSYLIMIT) {
		again_later(w, reply->text);
	} else {
		admin_finish(w, reply->code, reply->text);
	}
}

void admin_link_lost(struct link *l)
{
	struct admin_wait *w;

	DL_FOREACH (l->client->admins, w) {
		if (w->sent_to == l)
			again_later(w, "");
	}
}

/* ---- asking ---- */

void client_admin(struct client *c, const struct config_node *node, const struct wire_admin *what,
                  uint64_t timeout_ms, client_admin_cb cb, void *ctx)
{
	struct admin_wait *w = mem_zalloc(sizeof(*w));

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	rfs_check(c->closing == CLOSE_NOT);
	RFS_MAGIC_SET(w, CLIENT_ADMIN_MAGIC);
	w->client = c;
	w->what = *what;
	w->what.id = ++c->last_id;
	w->cb = cb;
	w->ctx = ctx;
	w->deadline_ms = client_now(c) +
	                 (timeout_ms < CLIENT_TIMEOUT_MS_MAX ? timeout_ms : CLIENT_TIMEOUT_MS_MAX);
	w->of_leader = node == NULL;
	if (node != NULL) {
		w->node = link_find(c, node->id, node->host, node->port);
		if (w->node == NULL)
			w->node = link_add(c, node->id, node->host, node->port, true);
	}
	DL_APPEND(c->admins, w);
	client_schedule(c);
}

/* ---- the turn ---- */

static void send_if_possible(struct admin_wait *w)
{
	struct link *l = w->of_leader ? chosen_or_target(w) : w->node;

	if (w->sent_to != NULL || w->again_ms > client_now(w->client) || l == NULL || !l->up)
		return;
	if (net_conn_version(l->conn) < frame_version(FRAME_ADMIN)) {
		again_later(w, "that node speaks an older protocol version: upgrade it first");
		return;
	}
	wire_put_admin(link_out(l), &w->what);
	w->sent_to = l;
	w->sent = true;
}

static struct admin_wait *first_expired(struct client *c)
{
	struct admin_wait *w;

	DL_FOREACH (c->admins, w) {
		/* The analyzer does not see that what is freed has left the list. */
		if (w->deadline_ms <= client_now(c)) // NOLINT(clang-analyzer-unix.Malloc)
			return w;
	}
	return NULL;
}

void admin_work(struct client *c)
{
	struct admin_wait *w;

	while ((w = first_expired(c)) != NULL)
		admin_finish(w, w->sent ? RFS_EUNKNOWN : RFS_ENOQUORUM,
		             w->why[0] != '\0' ? w->why : c->conn_error);
	DL_FOREACH (c->admins, w)
		send_if_possible(w);
}

void admin_end_all(struct client *c, int code)
{
	struct admin_wait *w;

	while ((w = c->admins) != NULL)
		admin_finish(w, code, rfs_strerror(code)); // NOLINT(clang-analyzer-unix.Malloc)
}

uint64_t admin_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;
	const struct admin_wait *w;

	DL_FOREACH (c->admins, w) {
		due = client_earlier(due, w->deadline_ms);
		if (w->sent_to == NULL && w->again_ms > client_now(c))
			due = client_earlier(due, w->again_ms);
	}
	return due;
}

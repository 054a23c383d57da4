/* A connection to one node: dialled, kept, dialled again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "client_priv.h"

static const struct net_handler link_handler;

void link_describe(const struct link *l, char *out, size_t size)
{
	if (l->id != 0)
		(void)snprintf(out, size, "node %llu %s", (unsigned long long)l->id, l->address);
	else
		(void)snprintf(out, size, "node %s", l->address);
}

/* Sentences of connections start with the address, which link_describe() has said already. */
void link_note_error(struct client *c, const struct link *l, const char *what)
{
	char name[CLIENT_NAME_BYTES + 32], text[sizeof(name) + 512];
	size_t n = strlen(l->address);

	if (strncmp(what, l->address, n) == 0 && strncmp(what + n, ": ", 2) == 0)
		what += n + 2;
	link_describe(l, name, sizeof(name));
	(void)snprintf(text, sizeof(text), "%s: %s", name, what);
	(void)snprintf(c->conn_error, sizeof(c->conn_error), "%.255s", text);
	memcpy(c->last_error, c->conn_error, sizeof(c->last_error));
}

/* ---- the set of nodes ---- */

static void set_address(struct link *l, const char *host, uint16_t port)
{
	(void)snprintf(l->host, sizeof(l->host), "%s", host);
	l->port = port;
	config_format_endpoint(l->host, l->port, l->address, sizeof(l->address));
}

static void link_init(struct link *l, struct client *c, unsigned slot, raft_id id, const char *host,
                      uint16_t port)
{
	memset(l, 0, sizeof(*l));
	RFS_MAGIC_SET(l, CLIENT_LINK_MAGIC);
	l->client = c;
	l->slot = slot;
	l->id = id;
	l->asked_ms = CLIENT_NEVER;
	set_address(l, host, port);
	net_backoff_init(&l->backoff, CLIENT_REDIAL_MIN_MS, CLIENT_REDIAL_MAX_MS,
	                 clock_random_u64());
}

/* Room for one more: an unused slot, or that of a learned node that is down. */
static struct link *link_room(struct client *c)
{
	if (c->n_links < CONFIG_NODES_MAX) {
		struct link *l = mem_zalloc(sizeof(*l));

		l->slot = (unsigned)c->n_links;
		c->links[c->n_links++] = l;
		return l;
	}
	for (size_t i = 0; i < c->n_links; i++) {
		struct link *l = c->links[i];

		if (!l->given && l->conn == NULL && l != c->hinted && l != c->chosen)
			return l;
	}
	return NULL;
}

struct link *link_add(struct client *c, raft_id id, const char *host, uint16_t port, bool given)
{
	struct link *l = link_room(c);

	if (l == NULL)
		return NULL;
	link_init(l, c, l->slot, id, host, port);
	l->given = given;
	client_schedule(c);
	return l;
}

struct link *link_find(struct client *c, raft_id id, const char *host, uint16_t port)
{
	for (size_t i = 0; i < c->n_links && id != 0; i++)
		if (c->links[i]->id == id)
			return c->links[i];
	for (size_t i = 0; i < c->n_links; i++) {
		struct link *l = c->links[i];

		if (l->port == port && strcmp(l->host, host) == 0 && (id == 0 || l->id == 0))
			return l;
	}
	return NULL;
}

struct link *link_learn(struct client *c, raft_id id, const char *address)
{
	char host[CONFIG_HOST_MAX + 1];
	struct link *l;
	uint16_t port;

	if (id == 0 || config_parse_endpoint(address, host, &port) != 0)
		return NULL;
	l = link_find(c, id, host, port);
	if (l == NULL)
		return link_add(c, id, host, port, false);
	if (l->id == 0)
		l->id = id;
	if (!l->up && (l->port != port || strcmp(l->host, host) != 0)) {
		(void)snprintf(l->other_host, sizeof(l->other_host), "%s", host);
		l->other_port = port;
	}
	return l;
}

/* ---- dialling ---- */

static void link_dial(struct link *l)
{
	struct client *c = l->client;

	l->dialed_ms = client_now(c);
	l->conn = net_dial(c->loop, &c->identity, &c->limits, l->host, l->port, l->id,
	                   &link_handler, l);
	c->n_conns++;
}

void link_dial_soon(struct link *l)
{
	uint64_t soon = l->dialed_ms == 0 ? 0 : l->dialed_ms + CLIENT_REDIAL_HINT_MS;

	if (l->conn == NULL && l->dial_at_ms > soon) {
		l->dial_at_ms = soon;
		client_schedule(l->client);
	}
}

static void swap_addresses(struct link *l)
{
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port = l->port;

	if (l->other_host[0] == '\0')
		return;
	memcpy(host, l->host, sizeof(host));
	set_address(l, l->other_host, l->other_port);
	memcpy(l->other_host, host, sizeof(host));
	l->other_port = port;
}

/* Everybody who waited for it learns it now; its connection may still be on its way out. */
static void link_lose(struct link *l, const struct rfs_err *why)
{
	if (!l->up)
		return;
	l->up = l->usable = l->dirty = false;
	l->asked_ms = CLIENT_NEVER;
	route_link_lost(l);
	status_link_lost(l, why);
	admin_link_lost(l);
	watch_link_lost(l);
	backup_link_lost(l, why);
}

void link_restart(struct link *l, const struct rfs_err *why)
{
	link_note_error(l->client, l, why->msg);
	link_lose(l, why);
	if (l->conn != NULL)
		net_conn_close(l->conn);
}

/* ---- what the connection tells ---- */

static struct link *link_of(struct net_conn *conn)
{
	struct link *l = net_conn_ctx(conn);

	RFS_MAGIC_CHECK(l, CLIENT_LINK_MAGIC);
	return l;
}

static void link_on_ready(struct net_conn *conn, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct link *l = link_of(conn);
	struct client *c = l->client;

	(void)peer_incarnation;
	if (c->closing == CLOSE_SHUT)
		return;
	if (l->was_up)
		c->reconnects++;
	l->id = peer_id;
	l->up = l->was_up = true;
	l->complained = false;
	net_backoff_reset(&l->backoff);
	/* Without a cluster's name of our own, its status has to tell whether this is the same
	 * cluster. */
	l->usable = c->identity.cluster[0] != '\0';
	route_link_up(l);
}

static void link_complain(struct link *l, const struct rfs_err *err)
{
	char name[CLIENT_NAME_BYTES + 32];

	if (l->complained || err->code != RFS_EIDENTITY)
		return;
	l->complained = true;
	link_describe(l, name, sizeof(name));
	log_warn("%s refuses us: %s", name, err->msg);
}

static void link_on_close(struct net_conn *conn, const struct rfs_err *err)
{
	struct link *l = link_of(conn);
	struct client *c = l->client;
	uint64_t wait_ms = net_backoff_next(&l->backoff);

	if (c->closing != CLOSE_SHUT) {
		if (err->code != 0) {
			link_note_error(c, l, err->msg);
			link_complain(l, err);
		}
		link_lose(l, err);
		if (err->code == RFS_EIDENTITY)
			wait_ms = CLIENT_REDIAL_ALIEN_MS;
		l->dial_at_ms = client_now(c) + wait_ms;
		swap_addresses(l);
	}
	l->conn = NULL;
	client_conn_gone(c);
}

static int take_reply(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_reply reply;
	int rc = wire_get_reply(f->payload, f->len, l->client->arena, &reply, err);

	if (rc == 0)
		route_take_reply(l, &reply);
	return rc;
}

static int take_keep_alive(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_keep_alive_reply reply;
	int rc = wire_get_keep_alive_reply(f->payload, f->len, &reply, err);

	if (rc == 0)
		session_take_keep_alive(l->client, &reply);
	return rc;
}

static int take_status(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_status *st = mem_zalloc(sizeof(*st));
	int rc = wire_get_status(f->payload, f->len, st, err);

	if (rc == 0)
		route_take_status(l, st);
	if (rc == 0)
		status_take(l->client, st);
	free(st);
	return rc;
}

static int take_admin(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_admin_reply reply;
	int rc = wire_get_admin_reply(f->payload, f->len, &reply, err);

	if (rc == 0)
		admin_take_reply(l, &reply);
	return rc;
}

static int take_events(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_events ev;
	int rc = wire_get_events(f->payload, f->len, l->client->arena, &ev, err);

	if (rc == 0)
		watch_take_events(l, &ev);
	return rc;
}

static int take_backup(struct link *l, const struct frame *f, struct rfs_err *err)
{
	struct wire_backup_part *part = mem_zalloc(sizeof(*part));
	int rc = wire_get_backup_part(f->payload, f->len, l->client->arena, part, err);

	if (rc == 0)
		backup_take_part(l, part);
	free(part);
	return rc;
}

static int dispatch(struct link *l, const struct frame *f, struct rfs_err *err)
{
	switch ((enum frame_type)f->type) {
	case FRAME_REPLY: return take_reply(l, f, err);
	case FRAME_KEEP_ALIVE_REPLY: return take_keep_alive(l, f, err);
	case FRAME_STATUS: return take_status(l, f, err);
	case FRAME_ADMIN_REPLY: return take_admin(l, f, err);
	case FRAME_EVENTS: return take_events(l, f, err);
	case FRAME_BACKUP_PART: return take_backup(l, f, err);
	case FRAME_HELLO:
	case FRAME_HELLO_REPLY:
	case FRAME_RAFT:
	case FRAME_REQUEST:
	case FRAME_KEEP_ALIVE:
	case FRAME_STATUS_REQUEST:
	case FRAME_ADMIN:
	case FRAME_SNAPSHOT:
	case FRAME_SNAPSHOT_ACK:
	case FRAME_WATCH:
	case FRAME_ROOM:
	case FRAME_BACKUP: break;
	}
	return rfs_err_set(err, RFS_EPROTO, "a frame of type %u, which a client does not take",
	                   f->type);
}

static void link_on_frame(struct net_conn *conn, const struct frame *f)
{
	struct link *l = link_of(conn);
	struct client *c = l->client;
	struct rfs_err err = {0};

	if (!l->up || c->closing == CLOSE_SHUT)
		return;
	l->heard_ms = client_now(c);
	if (l == c->target)
		c->leader_heard_ms = client_now(c);
	if (dispatch(l, f, &err) != 0)
		link_restart(l, &err);
	wire_arena_reset(c->arena);
}

static const struct net_handler link_handler = {
        .on_ready = link_on_ready,
        .on_frame = link_on_frame,
        .on_close = link_on_close,
};

/* ---- the turn ---- */

struct buf *link_out(struct link *l)
{
	l->dirty = true;
	client_schedule(l->client);
	return net_conn_out(l->conn);
}

/* A connection that is busy with much data answers late; any sign of life extends it. */
static uint64_t owed_until(const struct link *l)
{
	if (l->asked_ms == CLIENT_NEVER)
		return CLIENT_NEVER;
	return (l->asked_ms > l->heard_ms ? l->asked_ms : l->heard_ms) + CLIENT_SILENT_MS;
}

static bool owes_for_too_long(const struct link *l, uint64_t now)
{
	return l->up && owed_until(l) <= now;
}

void links_work(struct client *c)
{
	uint64_t now = client_now(c);

	for (size_t i = 0; i < c->n_links; i++) {
		struct link *l = c->links[i];
		struct rfs_err err = {0};

		if (l->conn == NULL && l->dial_at_ms <= now)
			link_dial(l);
		if (!owes_for_too_long(l, now))
			continue;
		(void)rfs_err_set(&err, -ETIMEDOUT, "silent for %u ms, connecting afresh",
		                  CLIENT_SILENT_MS);
		link_restart(l, &err);
	}
}

uint64_t links_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;

	for (size_t i = 0; i < c->n_links && c->closing == CLOSE_NOT; i++) {
		const struct link *l = c->links[i];

		if (l->conn == NULL)
			due = client_earlier(due, l->dial_at_ms);
		else if (l->up)
			due = client_earlier(due, owed_until(l));
	}
	return due;
}

void links_flush(struct client *c)
{
	for (size_t i = 0; i < c->n_links; i++) {
		struct link *l = c->links[i];

		if (!l->dirty)
			continue;
		l->dirty = false;
		net_conn_flush(l->conn);
	}
}

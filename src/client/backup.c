/* The whole state of a node, piece by piece. */
#include <errno.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

#define BACKUP_MAGIC 0x6261636bu
#define SILENT_MS    10000u /* a node that has begun owes the next chunk within this */
#define AGAIN_MS     50u    /* after "not now", and after one that was lost */
#define TRIES_MAX    5u

struct client_backup {
	uint32_t magic;
	struct client *client; /* NULL: closed */
	client_backup_cb cb;
	void *ctx;
	uint64_t min_index, timeout_ms, deadline_ms;
	unsigned tries; /* that had begun and were lost */

	uint64_t id;
	struct link *link; /* asked; NULL: nobody, not before again_ms */
	uint64_t again_ms, heard_ms;
	uint64_t next; /* the chunk that follows */
	bool over;     /* the last call has been made, or is not wanted */
	bool calling, ended;
	struct rfs_err not_now; /* why the last one did not begin, or was lost */
	struct client_backup *prev, *next_backup;
};

struct client_backup *client_backup(struct client *c, uint64_t min_index, uint64_t timeout_ms,
                                    client_backup_cb cb, void *ctx)
{
	struct client_backup *b = mem_zalloc(sizeof(*b));

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	RFS_MAGIC_SET(b, BACKUP_MAGIC);
	b->client = c;
	b->cb = cb;
	b->ctx = ctx;
	b->min_index = min_index;
	b->timeout_ms = timeout_ms;
	b->deadline_ms = client_now(c) + timeout_ms;
	DL_APPEND2(c->backups, b, prev, next_backup);
	client_schedule(c);
	return b;
}

static void free_if_done(struct client_backup *b)
{
	if (!b->ended || b->calling)
		return;
	b->magic = 0;
	free(b);
}

static void call(struct client_backup *b, const void *p, size_t n, const struct rfs_err *err)
{
	b->calling = true;
	b->cb(b->ctx, p, n, err);
	b->calling = false;
	free_if_done(b);
}

static void leave(struct client_backup *b)
{
	const struct wire_backup stop = {.id = b->id, .stop = true};

	if (b->link != NULL && b->link->up && !b->over)
		wire_put_backup(link_out(b->link), &stop);
	b->link = NULL;
}

void client_backup_end(struct client_backup *b)
{
	RFS_MAGIC_CHECK(b, BACKUP_MAGIC);
	if (b->client != NULL) {
		leave(b);
		DL_DELETE2(b->client->backups, b, prev, next_backup);
		b->client = NULL;
	}
	b->over = b->ended = true;
	free_if_done(b);
}

static void finish(struct client_backup *b, const struct rfs_err *err)
{
	leave(b);
	b->over = true;
	call(b, NULL, 0, err);
}

static void fail(struct client_backup *b, int code, const char *why)
{
	struct rfs_err err = {0};

	(void)rfs_err_set(&err, code, "%s", why);
	finish(b, &err);
}

/* What has come is of no use without the rest: only this node has this view of the state. */
static void again(struct client_backup *b, const char *why)
{
	struct client *c = b->client;
	struct rfs_err err;

	leave(b);
	(void)rfs_err_set(&b->not_now, -EAGAIN, "%s", why);
	b->again_ms = client_now(c) + AGAIN_MS;
	client_schedule(c);
	if (b->next == 0)
		return;
	if (++b->tries >= TRIES_MAX) {
		fail(b, -ETIMEDOUT, why);
		return;
	}
	b->next = 0;
	b->deadline_ms = client_now(c) + b->timeout_ms;
	err = b->not_now; /* the call may end b */
	call(b, NULL, 0, &err);
}

/* ---- who is asked ---- */

static bool can_give(const struct link *l)
{
	return l != NULL && l->up && l->usable &&
	       net_conn_version(l->conn) >= frame_version(FRAME_BACKUP);
}

/* The leader has everything; without one, any node may be new enough. */
static struct link *choose(const struct client_backup *b)
{
	const struct client *c = b->client;

	if (can_give(c->chosen) && b->not_now.code == 0)
		return c->chosen;
	for (size_t i = 0; c->target == NULL && i < c->n_links; i++)
		if (can_give(c->links[i]))
			return c->links[i];
	return can_give(c->target) ? c->target : NULL;
}

static void begin(struct client_backup *b)
{
	struct client *c = b->client;
	struct link *l = choose(b);
	const struct wire_backup ask = {.id = c->last_id + 1, .min_index = b->min_index};

	if (l == NULL)
		return;
	b->id = ++c->last_id;
	b->link = l;
	b->heard_ms = client_now(c);
	wire_put_backup(link_out(l), &ask);
}

static void work(struct client_backup *b)
{
	uint64_t now = client_now(b->client);

	if (b->link != NULL && b->heard_ms + SILENT_MS <= now)
		again(b, "the node does not send any more");
	else if (b->link == NULL && b->deadline_ms <= now)
		fail(b, -ETIMEDOUT,
		     b->not_now.code != 0 ? b->not_now.msg : "no node can be asked for a backup");
	else if (b->link == NULL && b->again_ms <= now)
		begin(b);
}

void backup_work(struct client *c)
{
	struct client_backup *b, *next;

	for (b = c->backups; b != NULL && c->closing == CLOSE_NOT; b = next) {
		next = b->next_backup;
		if (!b->over)
			work(b);
	}
}

uint64_t backup_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;
	const struct client_backup *b;

	DL_FOREACH2(c->backups, b, next_backup)
	{
		if (b->over)
			continue;
		if (b->link != NULL)
			due = client_earlier(due, b->heard_ms + SILENT_MS);
		else
			due = client_earlier(due, b->again_ms > client_now(c) ? b->again_ms
			                                                      : b->deadline_ms);
	}
	return due;
}

/* ---- what comes in ---- */

static void take_chunk(struct client_backup *b, const struct wire_backup_part *part)
{
	const struct rfs_err none = {0};
	struct wire_backup ack = {.id = b->id, .next = ++b->next};
	struct link *l = b->link;

	wire_put_backup(link_out(l), &ack);
	call(b, part->data, part->len, &none);
}

void backup_take_part(struct link *l, const struct wire_backup_part *part)
{
	const struct rfs_err none = {0};
	struct client *c = l->client;
	struct client_backup *b;

	DL_FOREACH2(c->backups, b, next_backup)
	{
		if (b->link == l && b->id == part->id && !b->over)
			break;
	}
	if (b == NULL)
		return;
	b->heard_ms = client_now(c);
	if (part->code == RFS_EBUSYLIMIT ||
	    part->code == -ETIMEDOUT) { /* not now, or not any more */
		b->link = NULL;
		again(b, part->text);
	} else if (part->code != 0) {
		b->link = NULL; /* it has ended it itself */
		fail(b, part->code, part->text);
	} else if (part->seq != b->next) {
		fail(b, RFS_EPROTO, "the node sends a chunk out of order");
	} else if (part->last) {
		b->link = NULL;
		finish(b, &none);
	} else {
		take_chunk(b, part);
	}
}

void backup_link_lost(struct link *l, const struct rfs_err *why)
{
	struct client *c = l->client;
	struct client_backup *b, *next;

	for (b = c->backups; b != NULL; b = next) {
		next = b->next_backup;
		if (b->link != l || b->over)
			continue;
		b->link = NULL;
		again(b, why->code != 0 ? why->msg : "connection lost");
	}
}

void backup_end_all(struct client *c)
{
	struct client_backup *b;

	while ((b = c->backups) != NULL) {
		DL_DELETE2(c->backups, b, prev, next_backup);
		b->client = NULL;
		b->link = NULL;
		b->over = true;
	}
}

/* The whole state for clients that keep a copy of it.
 *
 * A view of the store is opened when the client asks and closed when it has everything, goes away, or is silent for too
 * long. A few chunks are under way at a time, each read in a thread of its own; how fast it goes is up to the client,
 * and, while others write, to sends_pace(). */
#include "node_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "../store/snapshot.h"

#define BACKUPS_MAX  4u
#define BACKUP_MAGIC 0x6e626b70u

struct node_backup {
	uint32_t magic;
	struct node *node;
	struct node_conn *conn;
	uint64_t id;
	struct store_snapshot *sn;
	uint64_t next, acked; /* chunks sent; taken by the client */
	uint64_t heard_ms, free_at_ms;
	bool working, ended;
	uv_timer_t timer; /* until free_at_ms */
	uv_work_t work;
	struct buf chunk;
	int rc;
	struct rfs_err err;
	struct node_backup *prev, *next_backup;
};

static void put_part(struct node_conn *c, const struct wire_backup_part *part)
{
	if (c->net == NULL)
		return;
	wire_put_backup_part(net_conn_out(c->net), part);
	conn_mark_dirty(c);
}

static void refuse(struct node_conn *c, uint64_t id, int code, const char *why)
{
	struct wire_backup_part part = {.id = id, .code = code};

	(void)snprintf(part.text, sizeof(part.text), "%s", why);
	put_part(c, &part);
}

static void timer_closed(uv_handle_t *h)
{
	struct node_backup *b = h->data;
	struct node *n = b->node;

	buf_free(&b->chunk);
	conn_unref(b->conn);
	b->magic = 0;
	free(b);
	node_closed_one(n);
}

/* Out of the list; a chunk that is being read is waited for. */
static void end(struct node_backup *b)
{
	if (!b->ended) {
		b->ended = true;
		DL_DELETE2(b->node->backups, b, prev, next_backup);
	}
	if (b->working)
		return;
	store_snapshot_close(b->sn);
	b->node->store_uses--;
	uv_close((uv_handle_t *)&b->timer, timer_closed);
}

static void pump(struct node_backup *b);

static void read_chunk(uv_work_t *w)
{
	struct node_backup *b = w->data;

	b->rc = store_snapshot_next(b->sn, &b->chunk, &b->err);
}

static void chunk_read(uv_work_t *w, int status)
{
	struct node_backup *b = w->data;
	struct wire_backup_part part = {.id = b->id, .seq = b->next};

	(void)status;
	RFS_MAGIC_CHECK(b, BACKUP_MAGIC);
	b->working = false;
	if (b->ended || b->conn->net == NULL) {
		end(b);
		return;
	}
	if (b->rc < 0) {
		log_error("backup: %s", b->err.msg);
		refuse(b->conn, b->id, b->rc, b->err.msg);
		end(b);
		return;
	}
	part.last = b->rc == 0;
	part.data = part.last ? NULL : b->chunk.data;
	part.len = part.last ? 0 : (uint32_t)b->chunk.len;
	put_part(b->conn, &part);
	if (part.last) {
		log_info("backup for %s: all %llu chunks are sent", net_conn_name(b->conn->net),
		         (unsigned long long)b->next);
		end(b);
		return;
	}
	b->next++;
	sends_pace(b->node, &b->free_at_ms, b->chunk.len);
	pump(b);
}

static void on_timer(uv_timer_t *t)
{
	pump(t->data);
}

static void pump(struct node_backup *b)
{
	uint64_t now = clock_mono_ms();

	if (b->working || b->next >= b->acked + NODE_SNAPSHOT_WINDOW)
		return;
	if (now < b->free_at_ms) {
		(void)uv_timer_start(&b->timer, on_timer, b->free_at_ms - now, 0);
		return;
	}
	b->working = true;
	b->work.data = b;
	rfs_check(uv_queue_work(b->node->loop, &b->work, read_chunk, chunk_read) == 0);
}

/* 0, or why it cannot be now. */
static int may_begin(const struct node *n, const struct wire_backup *ask, const char **why)
{
	const struct node_backup *b;
	unsigned count = 0;

	DL_COUNT2(n->backups, b, count, next_backup);
	if (n->recv != NULL)
		*why = "this node is being sent a snapshot itself";
	else if (store_applied(n->store).index < ask->min_index)
		*why = "this node is not there yet";
	else if (count >= BACKUPS_MAX)
		*why = "too many backups are being made of this node";
	else
		return 0;
	return RFS_EBUSYLIMIT;
}

static void begin(struct node *n, struct node_conn *c, const struct wire_backup *ask)
{
	struct store_snapshot *sn;
	struct rfs_err err = {0};
	struct node_backup *b;
	const char *why = "";
	int rc = rights_judge(n, c, FS_RIGHT_ADMIN, "a backup");

	if (rc != 0)
		why = "a backup takes the certificate of an admin";
	else
		rc = may_begin(n, ask, &why);
	if (rc != 0) {
		refuse(c, ask->id, rc, why);
		return;
	}
	if (store_snapshot_open(n->store, 0, &sn, &err) != 0) {
		refuse(c, ask->id, err.code, err.msg);
		return;
	}
	b = mem_zalloc(sizeof(*b));
	RFS_MAGIC_SET(b, BACKUP_MAGIC);
	b->node = n;
	b->conn = c;
	b->id = ask->id;
	b->sn = sn;
	b->heard_ms = clock_mono_ms();
	buf_init(&b->chunk);
	(void)uv_timer_init(n->loop, &b->timer);
	b->timer.data = b;
	c->refs++;
	n->store_uses++;
	n->closing++;
	DL_APPEND2(n->backups, b, prev, next_backup);
	log_info("backup for %s: state of %llu", net_conn_name(c->net),
	         (unsigned long long)store_snapshot_info(sn)->pos.index);
	pump(b);
}

int backup_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	struct wire_backup ask;
	struct node_backup *b;
	int rc = wire_get_backup(f->payload, f->len, &ask, err);

	if (rc != 0)
		return rc;
	DL_FOREACH2(n->backups, b, next_backup)
	{
		if (b->conn == c && b->id == ask.id)
			break;
	}
	if (b == NULL && !ask.stop && ask.next == 0) {
		begin(n, c, &ask);
	} else if (b != NULL && ask.stop) {
		end(b);
	} else if (b != NULL && ask.next > b->acked && ask.next <= b->next) {
		b->acked = ask.next;
		b->heard_ms = clock_mono_ms();
		pump(b);
	}
	return 0;
}

void backups_sweep(struct node *n)
{
	struct node_backup *b, *next;

	for (b = n->backups; b != NULL; b = next) {
		next = b->next_backup;
		if (b->conn->net == NULL) {
			end(b);
		} else if (n->recv != NULL ||
		           clock_mono_ms() - b->heard_ms > NODE_SNAPSHOT_PATIENCE_MS) {
			refuse(b->conn, b->id, -ETIMEDOUT,
			       n->recv != NULL ? "the node is being sent a snapshot itself"
			                       : "no word from the client for too long");
			end(b);
		}
	}
}

void backups_stop(struct node *n)
{
	/* The analyzer does not see that what is freed has left its list. */
	while (n->backups != NULL)
		end(n->backups); // NOLINT(clang-analyzer-unix.Malloc)
}

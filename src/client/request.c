/* Requests: where they wait, when they expire, and how they end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

/* ---- the heap of deadlines ---- */

static bool heap_before(const struct client_req *a, const struct client_req *b)
{
	return a->deadline_ms < b->deadline_ms ||
	       (a->deadline_ms == b->deadline_ms && a->id < b->id);
}

static void heap_set(struct client *c, size_t at, struct client_req *r)
{
	c->heap[at] = r;
	r->heap_at = at;
}

static void heap_up(struct client *c, size_t at)
{
	struct client_req *r = c->heap[at];

	while (at > 0 && heap_before(r, c->heap[(at - 1) / 2])) {
		heap_set(c, at, c->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_set(c, at, r);
}

static void heap_down(struct client *c, size_t at)
{
	struct client_req *r = c->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < c->n_heap && heap_before(c->heap[child + 1], c->heap[child]))
			child++;
		if (child >= c->n_heap || !heap_before(c->heap[child], r))
			break;
		heap_set(c, at, c->heap[child]);
		at = child;
	}
	heap_set(c, at, r);
}

static void heap_remove(struct client *c, struct client_req *r)
{
	size_t at = r->heap_at;
	struct client_req *last;

	if (at == SIZE_MAX)
		return;
	rfs_check(at < c->n_heap && c->heap[at] == r);
	r->heap_at = SIZE_MAX;
	last = c->heap[--c->n_heap];
	if (last == r)
		return;
	heap_set(c, at, last);
	heap_up(c, at);
	heap_down(c, last->heap_at);
}

void req_set_deadline(struct client_req *r, uint64_t timeout_ms)
{
	struct client *c = r->client;

	if (timeout_ms < 1)
		timeout_ms = 1;
	if (timeout_ms > CLIENT_TIMEOUT_MS_MAX)
		timeout_ms = CLIENT_TIMEOUT_MS_MAX;
	r->timeout_ms = timeout_ms;
	r->deadline_ms = client_now(c) + timeout_ms;
	c->heap = mem_grow(c->heap, &c->heap_cap, c->n_heap + 1, sizeof(struct client_req *));
	heap_set(c, c->n_heap++, r);
	heap_up(c, r->heap_at);
}

uint64_t req_due(const struct client *c)
{
	return c->n_heap > 0 ? c->heap[0]->deadline_ms : CLIENT_NEVER;
}

/* ---- birth ---- */

static const void *put_tail(char **tail, const void *p, size_t n)
{
	char *at = *tail;

	if (n > 0)
		memcpy(at, p, n);
	*tail += n;
	return at;
}

struct client_req *req_new(struct client *c, const struct fs_op *op, enum req_owner owner)
{
	size_t tail_len = (size_t)op->name.len + op->name2.len + op->data_len;
	struct client_req *r = mem_alloc(sizeof(*r) + tail_len);
	char *tail = r->bytes;

	memset(r, 0, sizeof(*r));
	RFS_MAGIC_SET(r, CLIENT_REQ_MAGIC);
	r->client = c;
	r->owner = owner;
	r->where = REQ_NOWHERE;
	r->id = ++c->last_id;
	r->heap_at = SIZE_MAX;
	r->op = *op;
	r->op.name.p = put_tail(&tail, op->name.p, op->name.len);
	r->op.name2.p = put_tail(&tail, op->name2.p, op->name2.len);
	r->op.data = put_tail(&tail, op->data, op->data_len);
	HASH_ADD(hh, c->by_id, id, sizeof(r->id), r);
	if (owner == REQ_OF_CALLER && fs_op_is_write(op->kind))
		c->n_changes++;
	return r;
}

struct client_req *req_find(struct client *c, uint64_t id)
{
	struct client_req *r;

	HASH_FIND(hh, c->by_id, &id, sizeof(id), r);
	return r;
}

bool req_is_change(const struct client_req *r)
{
	return fs_op_is_write(r->op.kind) && r->owner != REQ_OPENS_SESSION;
}

void req_move(struct client_req *r, enum req_where where)
{
	struct client *c = r->client;

	if (r->where != REQ_NOWHERE)
		DL_DELETE(c->lists[r->where], r);
	r->where = where;
	if (where != REQ_NOWHERE)
		DL_APPEND(c->lists[where], r);
}

/* ---- copies ---- */

void req_set_open(struct client_req *r, struct link *l)
{
	rfs_check((r->open_mask & (1u << l->slot)) == 0);
	r->open_mask |= 1u << l->slot;
	if (l->n_open++ == 0)
		l->progress_ms = client_now(r->client);
}

bool req_clear_open(struct client_req *r, struct link *l)
{
	if ((r->open_mask & (1u << l->slot)) == 0)
		return false;
	r->open_mask &= ~(1u << l->slot);
	rfs_check(l->n_open > 0);
	l->n_open--;
	return true;
}

uint64_t req_lowest(const struct client *c)
{
	return c->by_seq != NULL ? c->by_seq->seq : c->last_seq + 1;
}

static void leave_outstanding(struct client_req *r)
{
	if (r->is_outstanding)
		DL_DELETE2(r->client->by_seq, r, seq_prev, seq_next);
	r->is_outstanding = false;
}

void req_acknowledge(struct client_req *r, bool patient)
{
	leave_outstanding(r);
	if (patient)
		heap_remove(r->client, r);
}

void req_renew(struct client_req *r)
{
	leave_outstanding(r);
	r->session = r->seq = 0;
	r->sent = false;
}

/* ---- end ---- */

/* Out of everything but the list of the ended, so that no answer, refusal or loss can reach it any
 * more. */
static void req_detach(struct client_req *r)
{
	struct client *c = r->client;

	for (size_t i = 0; i < c->n_links; i++)
		(void)req_clear_open(r, c->links[i]);
	heap_remove(c, r);
	leave_outstanding(r);
	HASH_DEL(c->by_id, r);
	if (r->cancel != NULL)
		r->cancel->cancels = NULL;
	if (r->cancels != NULL)
		r->cancels->cancel = NULL;
	if (r->owner == REQ_OF_CALLER && fs_op_is_write(r->op.kind)) {
		rfs_check(c->n_changes > 0);
		c->n_changes--;
	}
}

static void req_free(struct client_req *r)
{
	r->magic = 0;
	free(r);
}

void req_end(struct client_req *r, int err)
{
	rfs_check(r->where != REQ_DONE);
	req_detach(r);
	r->err = err;
	req_move(r, REQ_DONE);
	client_schedule(r->client);
}

void req_answer(struct client_req *r, const struct fs_result *res)
{
	struct client *c = r->client;
	enum req_owner owner = r->owner;
	struct client_req *lock = r->cancels;
	client_cb cb = r->cb;
	void *ctx = r->ctx;

	req_detach(r);
	req_move(r, REQ_NOWHERE);
	req_free(r);
	switch (owner) {
	case REQ_OF_CALLER: cb(ctx, res); break;
	case REQ_OPENS_SESSION: session_opened(c, res); break;
	case REQ_CLOSES_SESSION:
		c->bye = NULL;
		client_schedule(c);
		break;
	case REQ_CANCELS_LOCK:
		if (lock != NULL)
			lock_cancel_ended(lock, res->err);
		break;
	}
}

void req_drop(struct client_req *r)
{
	if (r->where != REQ_DONE)
		req_detach(r);
	req_move(r, REQ_NOWHERE);
	req_free(r);
}

void req_call_done(struct client *c)
{
	struct client_req *r;

	while ((r = c->lists[REQ_DONE]) != NULL) {
		/* The analyzer does not see that what is freed has left its list. */
		struct fs_result res = {.err = r->err}; // NOLINT(clang-analyzer-unix.Malloc)
		client_cb cb = r->cb;
		void *ctx = r->ctx;

		rfs_check(r->owner == REQ_OF_CALLER);
		req_drop(r);
		cb(ctx, &res);
	}
}

/* ---- deadlines ---- */

/* What can be said of a request that is given up: certainly not done, or not known. */
static int outcome_at_deadline(const struct client_req *r)
{
	return req_is_change(r) && (r->open_mask != 0 || r->maybe) ? RFS_EUNKNOWN : RFS_ENOQUORUM;
}

/* If a connection fails at the moment, that is the better reason. */
static void note_expired(struct client *c, const struct client_req *r)
{
	if (c->conn_error[0] != '\0')
		memcpy(c->last_error, c->conn_error, sizeof(c->last_error));
	else
		(void)snprintf(c->last_error, sizeof(c->last_error), "%s: no answer within %llu ms",
		               fs_op_name(r->op.kind), (unsigned long long)r->timeout_ms);
}

void req_expire(struct client *c)
{
	uint64_t now = client_now(c);

	/* The analyzer does not see that what is freed has left the heap. */
	// NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
	while (c->n_heap > 0 && c->heap[0]->deadline_ms <= now) {
		struct client_req *r = c->heap[0];

		if (r->owner == REQ_CLOSES_SESSION) {
			req_drop(r);
			c->bye = NULL;
			continue;
		}
		note_expired(c, r);
		req_end(r, outcome_at_deadline(r));
	}
}

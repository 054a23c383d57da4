#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "group_priv.h"
#include "../src/base/mem.h"

struct look {
	uint64_t serial; /* of the group */
	uint32_t flags;
	uint64_t end;
	int64_t changed_ns;
	struct extents memory; /* READ: its bytes, of the range */
	struct ranges
	        ranges; /* READ: those that the staging file may have, but for TRUNC and APPEND */
	uint64_t stage; /* READ: has bytes that count; 0: none */
	bool asked_stage;
	uint64_t base; /* size of the file below */
	struct buf out;
};

/* ---- attributes ---- */

static int64_t later(int64_t then, int64_t before)
{
	return then > before ? then : before < INT64_MAX ? before + 1 : before;
}

static uint64_t size_over(uint32_t flags, uint64_t end, uint64_t base)
{
	if ((flags & FS_F_TRUNC) != 0)
		return end;
	if ((flags & FS_F_APPEND) != 0)
		return base + end;
	return end > base ? end : base;
}

static void show(uint32_t flags, uint64_t end, int64_t changed_ns, struct fs_attr *attr)
{
	uint64_t size = size_over(flags, end, attr->size);

	if ((flags & FS_F_TRUNC) != 0)
		attr->blocks = (end + 511) / 512;
	else if (size > attr->size)
		attr->blocks += (size - attr->size + 511) / 512;
	attr->size = size;
	attr->mtime_ns = later(changed_ns, attr->mtime_ns);
	attr->ctime_ns = later(changed_ns, attr->ctime_ns);
}

void look_show(const struct look *l, struct fs_attr *attr)
{
	show(l->flags, l->end, l->changed_ns, attr);
}

void look_show_group(const struct group *g, struct fs_attr *attr)
{
	show(g->flags, g->end, g->changed_ns, attr);
}

/* ---- beginning, ending ---- */

void look_end(struct request *r)
{
	struct look *l = r->look;

	if (l == NULL)
		return;
	r->look = NULL;
	extents_free(&l->memory);
	ranges_free(&l->ranges);
	buf_free(&l->out);
	free(l);
}

static void keep_ranges(struct look *l, const struct group *g, uint64_t offset, uint64_t end)
{
	for (size_t i = 0; i < g->ranges.n; i++) {
		const struct fs_range *range = &g->ranges.at[i];

		if (range->offset < end && offset < range->offset + range->len)
			ranges_add(&l->ranges, *range);
	}
}

/* What of the group is in the range of `op`; where it appends that shows only when the size below is known. */
static void keep_bytes(struct look *l, const struct group *g, const struct fs_op *op)
{
	bool appends = (g->flags & FS_F_APPEND) != 0, truncates = (g->flags & FS_F_TRUNC) != 0;
	uint64_t offset = appends ? 0 : op->offset,
	         end = appends ? UINT64_MAX : op->offset + op->size;

	extents_copy(&l->memory, &g->memory, offset, end);
	if (g->stage == 0)
		return;
	if (!appends && !truncates)
		keep_ranges(l, g, offset, end);
	if (appends || truncates || l->ranges.n > 0)
		l->stage = g->stage;
}

static void compose(struct request *r, const struct fs_result *stage);

static void ask_stage(struct look *l, const struct request *r, struct fs_op *op)
{
	uint64_t base = (l->flags & FS_F_APPEND) != 0 ? l->base : 0;

	*op = r->args.op;
	op->ino = l->stage;
	op->offset = op->offset > base ? op->offset - base : 0;
	l->asked_stage = true;
}

bool look_begin(struct request *r, struct fs_op *op, const struct group *g)
{
	struct look *l = mem_zalloc(sizeof(*l));
	bool truncates = (g->flags & FS_F_TRUNC) != 0, appends = (g->flags & FS_F_APPEND) != 0;

	l->serial = g->serial;
	l->flags = g->flags;
	l->end = g->end;
	l->changed_ns = g->changed_ns;
	buf_init(&l->out);
	r->look = l;
	if (op->kind != FS_OP_READ)
		return true;
	keep_bytes(l, g, op);
	if (!appends && extents_cover(&l->memory, op->offset, op->offset + op->size))
		l->stage = 0;
	else if (!truncates)
		return true;
	if (l->stage != 0) {
		ask_stage(l, r, op);
		return true;
	}
	compose(r, NULL);
	return false;
}

/* ---- reading ---- */

/* What the staging file has over what lies below. */
static void lay_stage_over(const struct look *l, const struct fs_result *res, uint8_t *out,
                           uint64_t offset, size_t n)
{
	uint64_t base = (l->flags & FS_F_APPEND) != 0 ? l->base : 0;
	size_t before = offset < base ? (size_t)(base - offset) : 0;

	if (before >= n || res->data_len == 0)
		return;
	if (l->ranges.n == 0) {
		memcpy(out + before, res->data,
		       res->data_len < n - before ? res->data_len : n - before);
		return;
	}
	for (size_t i = 0; i < l->ranges.n; i++) {
		uint64_t from = l->ranges.at[i].offset, to = from + l->ranges.at[i].len;
		uint64_t end = offset + (res->data_len < n ? res->data_len : n);

		from = from > offset ? from : offset;
		to = to < end ? to : end;
		if (from < to)
			memcpy(out + (from - offset), (const uint8_t *)res->data + (from - offset),
			       (size_t)(to - from));
	}
}

/* What the group has in memory over the rest. */
static void lay_memory_over(const struct look *l, uint8_t *out, uint64_t offset, size_t n)
{
	uint64_t base = (l->flags & FS_F_APPEND) != 0 ? l->base : 0;
	size_t before = offset < base ? (size_t)(base - offset) : 0;

	if (before < n)
		extents_lay_over(&l->memory, out + before, offset + before - base, n - before);
}

/* All is there: what lies below in l->out, `stage` (NULL: not asked) in the answer. Ends `r`. */
static void compose(struct request *r, const struct fs_result *stage)
{
	struct look *l = r->look;
	uint64_t offset = r->args.op.offset, size = size_over(l->flags, l->end, l->base);
	uint64_t left = offset < size ? size - offset : 0;
	size_t n = (size_t)(r->args.op.size < left ? r->args.op.size : left);
	struct fs_result res = {.data_len = (uint32_t)n};

	if (n > l->out.len) {
		size_t more = n - l->out.len;

		memset(buf_reserve(&l->out, more), 0, more);
		l->out.len = n;
	}
	if (stage != NULL)
		lay_stage_over(l, stage, l->out.data, offset, n);
	lay_memory_over(l, l->out.data, offset, n);
	res.data = l->out.data;
	request_end(r, &res);
}

static bool is_there(const struct request *r)
{
	return r->inode->group != NULL && r->inode->group->serial == r->look->serial;
}

void look_take(struct request *r, const struct fs_result *res)
{
	struct look *l = r->look;
	bool appends = (l->flags & FS_F_APPEND) != 0;
	struct fs_op op;

	if (appends && (!is_there(r) || r->inode->group->committing)) {
		request_go(r, &r->args.op);
	} else if (res->err != 0 && l->asked_stage && !is_there(r)) {
		request_go(r, &r->args.op); /* the staging file went with its commit */
	} else if (res->err != 0 || r->args.op.kind != FS_OP_READ) {
		request_end(r, res);
	} else if (l->asked_stage) {
		compose(r, res);
	} else {
		l->base = res->attr.size;
		buf_put(&l->out, res->data, res->data_len);
		if (l->stage == 0) {
			compose(r, NULL);
		} else {
			ask_stage(l, r, &op);
			request_send(r, &op);
		}
	}
}

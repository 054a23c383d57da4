#include "extents.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "../src/base/check.h"
#include "../src/base/mem.h"

/* ---- with bytes ---- */

uint64_t extent_end(const struct extent *e)
{
	return e->offset + e->bytes.len;
}

static void extent_drop(struct extents *x, struct extent *e)
{
	x->n--;
	x->bytes -= e->bytes.len;
	DL_DELETE(x->first, e);
	buf_free(&e->bytes);
	free(e);
}

void extents_free(struct extents *x)
{
	while (x->first != NULL)
		extent_drop(x, x->first);
}

static struct extent *extent_insert(struct extents *x, struct extent *before, uint64_t offset)
{
	struct extent *e = mem_zalloc(sizeof(*e));

	e->offset = offset;
	buf_init(&e->bytes);
	if (before != NULL)
		DL_PREPEND_ELEM(x->first, before, e);
	else
		DL_APPEND(x->first, e);
	x->n++;
	return e;
}

/* Bytes of `e` from `offset` on, which lies in it or at its end. */
static void extent_write(struct extents *x, struct extent *e, uint64_t offset, const void *p,
                         size_t n)
{
	size_t at = (size_t)(offset - e->offset), over = e->bytes.len - at;

	over = over < n ? over : n;
	if (over > 0)
		memcpy(e->bytes.data + at, p, over);
	buf_put(&e->bytes, (const uint8_t *)p + over, n - over);
	x->bytes += n - over;
}

/* Those behind `e` that it has reached give it what they have beyond its end. */
static void take_reached(struct extents *x, struct extent *e)
{
	struct extent *next;

	/* The analyzer does not see that what is freed has left the list. */
	// NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
	while ((next = e->next) != NULL && next->offset <= extent_end(e)) {
		uint64_t end = extent_end(e);

		if (extent_end(next) > end) {
			size_t at = (size_t)(end - next->offset);

			extent_write(x, e, end, next->bytes.data + at, next->bytes.len - at);
		}
		extent_drop(x, next);
	}
}

/* The first one that ends at or behind `offset`. Most writes go behind the last. */
static struct extent *find(const struct extents *x, uint64_t offset)
{
	struct extent *e = x->first;

	if (e != NULL && e->prev->offset <= offset)
		e = e->prev;
	while (e != NULL && extent_end(e) < offset)
		e = e->next;
	return e;
}

void extents_write(struct extents *x, uint64_t offset, const void *p, size_t n)
{
	struct extent *e = find(x, offset);

	rfs_check(n > 0);
	if (e == NULL || e->offset > offset)
		e = extent_insert(x, e, offset);
	extent_write(x, e, offset, p, n);
	take_reached(x, e);
}

void extents_drop_front(struct extents *x, struct extent *e, size_t n)
{
	struct buf rest; /* in memory of its own size */

	rfs_check(n <= e->bytes.len);
	if (n == e->bytes.len) {
		extent_drop(x, e);
		return;
	}
	buf_init(&rest);
	buf_put(&rest, e->bytes.data + n, e->bytes.len - n);
	buf_free(&e->bytes);
	e->bytes = rest;
	e->offset += n;
	x->bytes -= n;
}

bool extents_cover(const struct extents *x, uint64_t offset, uint64_t end)
{
	const struct extent *e = find(x, offset);

	return e != NULL && e->offset <= offset && extent_end(e) >= end;
}

/* What `e` has of [offset, end); false: nothing. */
static bool common(const struct extent *e, uint64_t offset, uint64_t end, struct fs_range *part)
{
	uint64_t last = extent_end(e) < end ? extent_end(e) : end;

	part->offset = e->offset > offset ? e->offset : offset;
	part->len = last > part->offset ? last - part->offset : 0;
	return part->len > 0;
}

void extents_copy(struct extents *to, const struct extents *x, uint64_t offset, uint64_t end)
{
	const struct extent *e;
	struct fs_range part;

	DL_FOREACH (x->first, e) {
		if (common(e, offset, end, &part))
			extents_write(to, part.offset, e->bytes.data + (part.offset - e->offset),
			              (size_t)part.len);
	}
}

void extents_lay_over(const struct extents *x, uint8_t *out, uint64_t offset, size_t n)
{
	const struct extent *e;
	struct fs_range part;

	DL_FOREACH (x->first, e) {
		if (common(e, offset, offset + n, &part))
			memcpy(out + (part.offset - offset),
			       e->bytes.data + (part.offset - e->offset), (size_t)part.len);
	}
}

/* ---- without ---- */

/* `range` with those that it touches, which are at[*from … *to). */
static struct fs_range merged(const struct ranges *x, struct fs_range range, size_t *from,
                              size_t *to)
{
	uint64_t end = range.offset + range.len;
	size_t low = 0, high = x->n;

	while (low < high) { /* the first that ends at or behind its offset */
		size_t middle = low + (high - low) / 2;

		if (x->at[middle].offset + x->at[middle].len < range.offset)
			low = middle + 1;
		else
			high = middle;
	}
	for (*from = *to = low; *to < x->n && x->at[*to].offset <= end; ++*to) {
		const struct fs_range *r = &x->at[*to];

		range.offset = r->offset < range.offset ? r->offset : range.offset;
		range.len = (r->offset + r->len > end ? r->offset + r->len : end) - range.offset;
	}
	return range;
}

void ranges_with(const struct ranges *x, struct fs_range range, size_t *n, uint64_t *bytes)
{
	size_t from, to;

	range = merged(x, range, &from, &to);
	*n = x->n - (to - from) + 1;
	*bytes = x->bytes + range.len;
	for (size_t i = from; i < to; i++)
		*bytes -= x->at[i].len;
}

void ranges_add(struct ranges *x, struct fs_range range)
{
	size_t from, to, n;
	uint64_t bytes;

	rfs_check(range.len > 0);
	ranges_with(x, range, &n, &bytes);
	range = merged(x, range, &from, &to);
	x->at = mem_grow(x->at, &x->cap, n > x->n ? n : x->n, sizeof(*x->at));
	memmove(x->at + from + 1, x->at + to, (x->n - to) * sizeof(*x->at));
	x->at[from] = range;
	x->n = n;
	x->bytes = bytes;
}

void ranges_free(struct ranges *x)
{
	free(x->at);
	*x = (struct ranges){0};
}

/* The bytes of regular files: in the inode's record while they are few, in chunks beyond that. A
 * file crosses the border in both directions, in the operation that changes its size. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>
#include "../base/check.h"

static bool is_small(uint64_t size)
{
	return size <= STORE_INLINE_BYTES;
}

static uint64_t blocks_of(size_t len)
{
	return (len + 511) / 512;
}

/* ---- chunks ---- */

/* A chunk's bytes on top of s->chunk (its length, not padded), and the weight of its record. */
struct piece {
	size_t len;
	uint64_t weight;
};

static int chunk_get(struct store *s, uint64_t content, uint64_t chunk, struct engine_bytes *v)
{
	struct record_key k = record_key_chunk(content, chunk);
	int rc = store_state_get(s, &k, v);
	const char *bad = rc > 0 ? record_check_chunk(*v) : NULL;

	return bad != NULL ? store_fail_record(s, record_key_bytes(&k), bad) : rc;
}

/* Load a chunk into s->chunk; absent: empty. */
static int chunk_load(struct store *s, uint64_t content, uint64_t chunk, struct piece *old)
{
	struct record_key k = record_key_chunk(content, chunk);
	struct engine_bytes v;
	int rc = chunk_get(s, content, chunk, &v);

	*old = (struct piece){0};
	buf_clear(&s->chunk);
	if (rc <= 0)
		return rc;
	*old = (struct piece){v.len, store_weight(record_key_bytes(&k), v)};
	buf_put(&s->chunk, v.p, v.len);
	return 0;
}

/* Store `len` bytes as a chunk, without the zeros at the end; keeps the inode's blocks. */
static int chunk_store(struct store *s, struct store_inode *n, uint64_t chunk, const uint8_t *p,
                       size_t len, const struct piece *old)
{
	struct record_key k = record_key_chunk(n->content, chunk);

	while (len > 0 && p[len - 1] == 0)
		len--;
	n->attr.blocks += blocks_of(len) - blocks_of(old->len);
	if (len > 0)
		return store_state_put(s, &k, (struct engine_bytes){p, len}, old->weight, NULL);
	return old->len > 0 ? store_state_del(s, &k, old->weight) : 0;
}

/* Remove the chunks from number `from` on, up to `end`. */
static int drop_chunks(struct store *s, struct store_inode *n, uint64_t from, uint64_t end)
{
	struct store_dropped gone;

	if (store_content_drop(s, n->content, from, end, UINT64_MAX, &gone) != 0)
		return STORE_FAILED;
	n->attr.blocks -= gone.blocks;
	return 0;
}

static uint64_t chunks_of(uint64_t size)
{
	return size / STORE_CHUNK_BYTES + (size % STORE_CHUNK_BYTES != 0 ? 1 : 0);
}

/* No more of its chunks than this are from number `from` on; each takes a block at least. */
static uint64_t chunks_at_most(const struct store_inode *n, uint64_t from)
{
	uint64_t chunks = chunks_of(n->attr.size) - from;

	return chunks < n->attr.blocks ? chunks : n->attr.blocks;
}

/* It needs its chunks no longer. */
static int let_go(struct store *s, const struct store_inode *n)
{
	return store_content_free(s, n->content, chunks_at_most(n, 0));
}

int store_file_clear(struct store *s, struct store_inode *n)
{
	return is_small(n->attr.size) ? 0 : let_go(s, n);
}

/* ---- size ---- */

static void set_size(struct store *s, struct store_inode *n, uint64_t size)
{
	store_quota_count(s, n->quota, 0, (int64_t)(size - n->attr.size));
	n->attr.size = size;
}

static void take_bytes(struct store_inode *n, const struct store_inode *from)
{
	n->attr.size = from->attr.size;
	n->attr.blocks = from->attr.blocks;
	n->content = from->content;
	if (is_small(n->attr.size))
		memcpy(n->data, from->data, (size_t)n->attr.size);
}

/* Small content leaves the inode's record for chunk 0. */
static int move_out(struct store *s, struct store_inode *n)
{
	const struct piece none = {0};

	n->attr.blocks = 0;
	n->content = store_content_number(s, n->attr.ino);
	return chunk_store(s, n, 0, n->data, (size_t)n->attr.size, &none);
}

/* What is left of chunk 0 comes into the inode's record. */
static int move_in(struct store *s, struct store_inode *n, size_t size)
{
	struct piece old;
	size_t have;

	if (size > 0 && chunk_load(s, n->content, 0, &old) != 0)
		return STORE_FAILED;
	memset(n->data, 0, size);
	have = size == 0 ? 0 : old.len < size ? old.len : size;
	if (have > 0)
		memcpy(n->data, s->chunk.data, have);
	return let_go(s, n);
}

/* The first `count` chunks go on under another number. */
static int copy_chunks(struct store *s, struct store_inode *n, uint64_t from, uint64_t count)
{
	const struct piece none = {0};
	struct piece old;

	n->attr.blocks = 0;
	for (uint64_t i = 0; i < count; i++)
		if (chunk_load(s, from, i, &old) != 0 ||
		    chunk_store(s, n, i, s->chunk.data, old.len, &none) != 0)
			return STORE_FAILED;
	return 0;
}

/* Where little stays of much, that is copied: then nothing waits behind its end, should it grow. */
static int cut_off(struct store *s, struct store_inode *n, uint64_t keep)
{
	struct store_inode was = *n;

	n->content = s->m.next_ino++;
	return copy_chunks(s, n, was.content, keep) != 0 ? STORE_FAILED : let_go(s, &was);
}

/* A large file becomes shorter and stays large. */
static int cut(struct store *s, struct store_inode *n, uint64_t size)
{
	uint64_t chunk = size / STORE_CHUNK_BYTES, keep = chunks_of(size);
	size_t rest = size % STORE_CHUNK_BYTES;
	struct piece old;
	int rc;

	if (store_content_goes_at_once(s, chunks_at_most(n, keep)))
		rc = drop_chunks(s, n, keep, chunks_of(n->attr.size));
	else if (keep <= s->freed_max)
		rc = cut_off(s, n, keep);
	else
		rc = store_content_cut(s, n->content, n->attr.ino, keep);
	if (rc != 0 || rest == 0)
		return rc;
	if (chunk_load(s, n->content, chunk, &old) != 0)
		return STORE_FAILED;
	return old.len > rest ? chunk_store(s, n, chunk, s->chunk.data, rest, &old) : 0;
}

/* A large file becomes longer: what still waits where it did not look comes first. */
static int grow(struct store *s, struct store_inode *n, uint64_t size)
{
	uint64_t from = store_content_tail(s, n->content), upto = chunks_of(size);

	if (from >= upto)
		return 0;
	return drop_chunks(s, n, from, upto) != 0
	               ? STORE_FAILED
	               : store_content_cut(s, n->content, n->attr.ino, upto);
}

int store_file_resize(struct store *s, struct store_inode *n, uint64_t size)
{
	uint64_t old = n->attr.size;
	int rc = 0;

	rfs_check(size <= FS_FILE_BYTES_MAX);
	if (is_small(size) && is_small(old)) {
		if (size > old)
			memset(n->data + old, 0, (size_t)(size - old));
	} else if (is_small(size)) {
		rc = move_in(s, n, (size_t)size);
	} else if (is_small(old)) {
		rc = move_out(s, n);
	} else if (size < old) {
		rc = cut(s, n, size);
	} else {
		rc = grow(s, n, size);
	}
	set_size(s, n, size);
	return rc;
}

int store_file_swap(struct store *s, struct store_inode *a, struct store_inode *b)
{
	struct store_inode was = *a;

	store_quota_count(s, a->quota, 0, (int64_t)(b->attr.size - a->attr.size));
	store_quota_count(s, b->quota, 0, (int64_t)(a->attr.size - b->attr.size));
	take_bytes(a, b);
	take_bytes(b, &was);
	if (store_content_give(s, a->content, a->attr.ino) != 0)
		return STORE_FAILED;
	return store_content_give(s, b->content, b->attr.ino);
}

/* ---- write and read ---- */

static void put_zeros(struct buf *b, size_t n)
{
	memset(buf_reserve(b, n), 0, n);
	b->len += n;
}

/* Put `len` bytes at `at` within a chunk. What the file had there is known to be nothing if
 * `fresh`. */
static int write_chunk(struct store *s, struct store_inode *n, uint64_t chunk, size_t at,
                       const uint8_t *p, size_t len, bool fresh)
{
	struct piece old = {0};
	size_t end = at + len;

	if (!fresh && chunk_load(s, n->content, chunk, &old) != 0)
		return STORE_FAILED;
	if (at == 0 && len >= old.len)
		return chunk_store(s, n, chunk, p, len, &old);
	if (fresh)
		buf_clear(&s->chunk);
	if (end > s->chunk.len)
		put_zeros(&s->chunk, end - s->chunk.len);
	memcpy(s->chunk.data + at, p, len);
	return chunk_store(s, n, chunk, s->chunk.data, s->chunk.len, &old);
}

static int write_large(struct store *s, struct store_inode *n, uint64_t offset, const uint8_t *p,
                       size_t len)
{
	uint64_t old_size = n->attr.size;

	if (offset + len > old_size && store_file_resize(s, n, offset + len) != 0)
		return STORE_FAILED;
	while (len > 0) {
		uint64_t chunk = offset / STORE_CHUNK_BYTES;
		size_t at = offset % STORE_CHUNK_BYTES;
		size_t part = STORE_CHUNK_BYTES - at < len ? STORE_CHUNK_BYTES - at : len;

		if (write_chunk(s, n, chunk, at, p, part, chunk * STORE_CHUNK_BYTES >= old_size) !=
		    0)
			return STORE_FAILED;
		offset += part;
		p += part;
		len -= part;
	}
	return 0;
}

int store_file_write(struct store *s, struct store_inode *n, uint64_t offset, const void *data,
                     size_t len)
{
	uint64_t end = offset + len;

	rfs_check(end <= FS_FILE_BYTES_MAX);
	if (len == 0)
		return 0;
	if (!is_small(end) || !is_small(n->attr.size))
		return write_large(s, n, offset, data, len);
	if (end > n->attr.size && store_file_resize(s, n, end) != 0)
		return STORE_FAILED;
	memcpy(n->data + offset, data, len);
	return 0;
}

int store_file_read(struct store *s, const struct store_inode *n, uint64_t offset, uint64_t len,
                    struct buf *out)
{
	uint64_t left = offset < n->attr.size ? n->attr.size - offset : 0;

	if (len < left)
		left = len;
	if (left == 0)
		return 0;
	if (is_small(n->attr.size)) {
		buf_put(out, n->data + offset, (size_t)left);
		return 0;
	}
	while (left > 0) {
		size_t at = offset % STORE_CHUNK_BYTES;
		size_t part = STORE_CHUNK_BYTES - at < left ? STORE_CHUNK_BYTES - at : (size_t)left,
		       have;
		struct engine_bytes v = {0};

		if (chunk_get(s, n->content, offset / STORE_CHUNK_BYTES, &v) < 0)
			return STORE_FAILED;
		have = v.len > at ? v.len - at : 0;
		have = have < part ? have : part;
		if (have > 0)
			buf_put(out, v.p + at, have);
		if (have < part)
			put_zeros(out, part - have);
		offset += part;
		left -= part;
	}
	return 0;
}

/* ---- ranges ---- */

/* Zeros from `at` up to `end` within one chunk. */
static int zero_chunk(struct store *s, struct store_inode *n, uint64_t chunk, size_t at, size_t end)
{
	struct piece old;

	if (chunk_load(s, n->content, chunk, &old) != 0)
		return STORE_FAILED;
	if (old.len <= at)
		return 0;
	if (end > old.len)
		end = old.len;
	memset(s->chunk.data + at, 0, end - at);
	return chunk_store(s, n, chunk, s->chunk.data, s->chunk.len, &old);
}

/* As many of the chunks from `first` up to `last` as one command may free; *next: where the rest begins. */
static int drop_some(struct store *s, struct store_inode *n, uint64_t first, uint64_t last,
                     uint64_t *next)
{
	uint64_t most = s->freed < s->freed_max ? s->freed_max - s->freed : 1;
	struct store_dropped gone;

	if (store_content_drop(s, n->content, first, last, most, &gone) != 0)
		return STORE_FAILED;
	n->attr.blocks -= gone.blocks;
	*next = gone.chunks == most ? gone.next : last;
	return 0;
}

int store_file_zero(struct store *s, struct store_inode *n, uint64_t offset, uint64_t len,
                    uint64_t *done)
{
	uint64_t end = offset + len, first = offset / STORE_CHUNK_BYTES,
	         last = end / STORE_CHUNK_BYTES;
	size_t at = offset % STORE_CHUNK_BYTES, tail = end % STORE_CHUNK_BYTES;

	rfs_check(end >= offset && end <= n->attr.size);
	*done = end;
	if (len == 0)
		return 0;
	if (is_small(n->attr.size)) {
		memset(n->data + offset, 0, (size_t)len);
		return 0;
	}
	if (first == last)
		return zero_chunk(s, n, first, at, tail);
	if (at > 0 && zero_chunk(s, n, first++, at, STORE_CHUNK_BYTES) != 0)
		return STORE_FAILED;
	if (tail > 0 && zero_chunk(s, n, last, 0, tail) != 0)
		return STORE_FAILED;
	if (drop_some(s, n, first, last, &first) != 0)
		return STORE_FAILED;
	if (first < last)
		*done = first * STORE_CHUNK_BYTES;
	return 0;
}

/* The first chunk that is there, or is missing, from `chunk` on. After so many that all are there the rest counts as
 * data: lseek(2) lets a file system overlook holes, and nobody should wait for a walk through a terabyte. */
static int seek_chunk(struct store *s, uint64_t content, uint64_t chunk, bool hole, uint64_t *found)
{
	struct record_key prefix = record_prefix_of(RECORD_CHUNK, content),
	                  from = record_key_chunk(content, chunk);
	uint64_t expected = chunk;
	struct store_walk w;
	int rc;

	store_walk_open(s, &w, &prefix, &from);
	while ((rc = store_walk_next(s, &w)) > 0 && hole && w.key.second == expected) {
		if (++expected - chunk >= STORE_SEEK_CHUNKS_MAX) {
			expected = UINT64_MAX;
			break;
		}
	}
	*found = hole ? expected : rc > 0 ? w.key.second : UINT64_MAX;
	store_walk_close(s, &w);
	return rc < 0 ? rc : 0;
}

int store_file_seek(struct store *s, const struct store_inode *n, uint64_t offset, bool hole,
                    uint64_t *found)
{
	uint64_t chunk, start;

	rfs_check(offset < n->attr.size);
	*found = hole ? n->attr.size : offset;
	if (is_small(n->attr.size))
		return 0;
	if (seek_chunk(s, n->content, offset / STORE_CHUNK_BYTES, hole, &chunk) != 0)
		return STORE_FAILED;
	if (chunk >= chunks_of(n->attr.size))
		return hole ? 0 : -ENXIO;
	start = chunk * STORE_CHUNK_BYTES;
	*found = start > offset ? start : offset;
	if (*found > n->attr.size)
		*found = n->attr.size;
	return 0;
}

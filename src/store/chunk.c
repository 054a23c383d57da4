#include "chunk.h"

#include <string.h>
#include "../base/check.h"
#include "../base/crc.h"
#include "store_priv.h"

static const char magic[4] = {'R', 'F', 'S', 'C'};

#define INFO_BYTES   72u
#define TOTALS_BYTES 24u

/* ---- frame ---- */

void chunk_begin(struct buf *b, enum chunk_kind kind, uint64_t seq, uint32_t link)
{
	buf_clear(b);
	buf_put(b, magic, sizeof(magic));
	buf_put_u32(b, 0); /* bytes of the body, when they are known */
	buf_put_u64(b, seq);
	buf_put_u32(b, (uint32_t)kind);
	buf_put_u32(b, link);
}

uint32_t chunk_end(struct buf *b)
{
	uint32_t crc;

	rfs_check(b->len >= CHUNK_HEAD_BYTES && b->len <= UINT32_MAX);
	put_le32(b->data + 4, (uint32_t)(b->len - CHUNK_HEAD_BYTES));
	crc = crc32c(0, b->data, b->len);
	buf_put_u32(b, crc);
	return crc;
}

const char *chunk_get(const void *p, size_t n, struct chunk *c)
{
	struct reader r = reader_of(p, n);
	uint32_t len;

	*c = (struct chunk){0};
	if (n < CHUNK_FRAME_BYTES || n > STORE_SNAPSHOT_CHUNK_BYTES_MAX)
		return "length out of range";
	if (memcmp(reader_bytes(&r, sizeof(magic)), magic, sizeof(magic)) != 0)
		return "not a chunk";
	len = reader_u32(&r);
	if (len != n - CHUNK_FRAME_BYTES)
		return "wrong length";
	c->seq = reader_u64(&r);
	c->kind = reader_u32(&r);
	c->link = reader_u32(&r);
	c->body = (struct engine_bytes){reader_bytes(&r, len), len};
	c->crc = reader_u32(&r);
	return c->crc == crc32c(0, p, CHUNK_HEAD_BYTES + len) ? NULL : "wrong checksum";
}

/* ---- head ---- */

void chunk_put_head(struct buf *b, const struct chunk_head *h)
{
	size_t start = b->len;

	buf_put_u32(b, h->stream_version);
	buf_put_u32(b, h->store_version);
	buf_put_u64(b, h->info.pos.index);
	buf_put_u64(b, h->info.pos.term);
	buf_put_u64(b, h->info.digest);
	buf_put_u64(b, h->next_ino);
	buf_put_u64(b, h->info.counts.inodes);
	buf_put_u64(b, h->info.counts.bytes);
	buf_put_u64(b, h->info.counts.sessions);
	buf_put_u64(b, 0);
	rfs_check(b->len - start == INFO_BYTES);
}

const char *chunk_get_head(struct engine_bytes body, struct chunk_head *h)
{
	struct reader r = reader_of(body.p, body.len);

	*h = (struct chunk_head){.stream_version = reader_u32(&r), .store_version = reader_u32(&r)};
	if (!r.bad && (h->stream_version != CHUNK_STREAM_VERSION ||
	               h->store_version < STORE_FORMAT_MIN || h->store_version > STORE_FORMAT_MAX))
		return NULL;
	h->info.pos.index = reader_u64(&r);
	h->info.pos.term = reader_u64(&r);
	h->info.digest = reader_u64(&r);
	h->next_ino = reader_u64(&r);
	h->info.counts.inodes = reader_u64(&r);
	h->info.counts.bytes = reader_u64(&r);
	h->info.counts.sessions = reader_u64(&r);
	if (reader_u64(&r) != 0)
		return "not zero where it should be";
	return r.bad || reader_left(&r) != 0 ? "wrong length of the head" : NULL;
}

/* ---- records ---- */

size_t chunk_record_bytes(struct engine_bytes key, struct engine_bytes value)
{
	return 1 + 4 + key.len + value.len;
}

void chunk_put_record(struct buf *b, struct engine_bytes key, struct engine_bytes value)
{
	rfs_check(key.len <= RECORD_KEY_MAX && value.len <= UINT32_MAX);
	buf_put_u8(b, (uint8_t)key.len);
	buf_put_u32(b, (uint32_t)value.len);
	buf_put(b, key.p, key.len);
	buf_put(b, value.p, value.len);
}

bool chunk_get_record(struct reader *r, struct engine_bytes *key, struct engine_bytes *value)
{
	if (reader_left(r) == 0)
		return false;
	key->len = reader_u8(r);
	value->len = reader_u32(r);
	key->p = reader_bytes(r, key->len);
	value->p = reader_bytes(r, value->len);
	return !r->bad;
}

/* ---- totals ---- */

void chunk_add_record(struct chunk_totals *t, struct engine_bytes key, struct engine_bytes value)
{
	t->records++;
	t->bytes += key.len + value.len;
	t->digest += store_weight(key, value);
}

void chunk_put_totals(struct buf *b, const struct chunk_totals *t)
{
	buf_put_u64(b, t->records);
	buf_put_u64(b, t->bytes);
	buf_put_u64(b, t->digest);
}

const char *chunk_get_totals(struct engine_bytes body, struct chunk_totals *t)
{
	struct reader r = reader_of(body.p, body.len);

	if (body.len != TOTALS_BYTES)
		return "wrong length of the end";
	t->records = reader_u64(&r);
	t->bytes = reader_u64(&r);
	t->digest = reader_u64(&r);
	return NULL;
}

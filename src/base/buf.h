/* A growable byte buffer with little-endian put helpers, and a reader that never runs past its
 * end. */
#ifndef RFS_BASE_BUF_H
#define RFS_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t len, cap;
};

void buf_init(struct buf *b);
void buf_free(struct buf *b);
void buf_clear(struct buf *b);                 /* length 0, memory kept */
uint8_t *buf_reserve(struct buf *b, size_t n); /* room for n more; pointer to it, len unchanged */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drop the first n bytes */

/* Fixed-width integers at a place in memory, little-endian (le) and big-endian (be: keys that
 * sort). */
void put_le16(void *p, uint16_t v);
void put_le32(void *p, uint32_t v);
void put_le64(void *p, uint64_t v);
void put_be32(void *p, uint32_t v);
void put_be64(void *p, uint64_t v);
uint16_t get_le16(const void *p);
uint32_t get_le32(const void *p);
uint64_t get_le64(const void *p);
uint32_t get_be32(const void *p);
uint64_t get_be64(const void *p);

/* Reads from borrowed bytes. After the first read past the end, `bad` stays true and every get
 * returns 0 or NULL: do the reads, check once (knot-dns). */
struct reader {
	const uint8_t *p, *end;
	bool bad;
};

struct reader reader_of(const void *p, size_t n);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
const uint8_t *reader_bytes(struct reader *r, size_t n); /* borrowed from the source */
size_t reader_left(const struct reader *r);

#endif

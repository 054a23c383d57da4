/* The bytes of a snapshot's chunks; docs/snapshot-format.md. Decoders return NULL or what is wrong.
 */
#ifndef RFS_STORE_CHUNK_H
#define RFS_STORE_CHUNK_H

#include "engine.h"
#include "record.h"
#include "snapshot.h"

#define CHUNK_STREAM_VERSION 1u
#define CHUNK_HEAD_BYTES     24u /* before the body */
#define CHUNK_FRAME_BYTES    28u /* … and the checksum behind it */

enum chunk_kind {
	CHUNK_HEAD = 1,
	CHUNK_RECORDS = 2,
	CHUNK_END = 3,
};

struct chunk {
	uint64_t seq;
	uint32_t kind; /* as sent: may be no enum chunk_kind */
	uint32_t link; /* checksum of the chunk before */
	uint32_t crc;
	struct engine_bytes body; /* borrowed */
};

/* Write a chunk: begin, append the body, end. Returns its checksum. */
void chunk_begin(struct buf *b, enum chunk_kind kind, uint64_t seq, uint32_t link);
uint32_t chunk_end(struct buf *b);

/* Take it apart and check its checksum. */
const char *chunk_get(const void *p, size_t n, struct chunk *c);

struct chunk_head {
	uint32_t stream_version, store_version;
	struct store_snapshot_info info;
	uint64_t next_ino;
};
void chunk_put_head(struct buf *b, const struct chunk_head *h);
/* With versions that this program does not know only these are set, and that is not an error here. */
const char *chunk_get_head(struct engine_bytes body, struct chunk_head *h);

size_t chunk_record_bytes(struct engine_bytes key, struct engine_bytes value);
void chunk_put_record(struct buf *b, struct engine_bytes key, struct engine_bytes value);
/* false at the end of the body or where it makes no sense: then r->bad. */
bool chunk_get_record(struct reader *r, struct engine_bytes *key, struct engine_bytes *value);

/* What all records together must give. */
struct chunk_totals {
	uint64_t records, bytes, digest;
};
void chunk_add_record(struct chunk_totals *t, struct engine_bytes key, struct engine_bytes value);
void chunk_put_totals(struct buf *b, const struct chunk_totals *t);
const char *chunk_get_totals(struct engine_bytes body, struct chunk_totals *t);

#endif

/* The bytes of docs/wal-format.md: encoding, decoding and the checks that need no other file. */
#ifndef RFS_WAL_FORMAT_H
#define RFS_WAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wal.h"

#define WAL_FORMAT_VERSION    1u
#define WAL_BLOCK_BYTES       4096u
#define WAL_SECTOR_BYTES      512u
#define WAL_HEAD_BYTES        128u /* identity, each copy of the state, front of a segment */
#define WAL_STATE_BYTES       (2 * WAL_BLOCK_BYTES)
#define WAL_RECORD_HEAD_BYTES 48u
#define WAL_RECORD_BYTES_MIN  56u /* head and padding of an entry without payload */
#define WAL_SEGMENT_BYTES_MIN (2 * WAL_BLOCK_BYTES)
#define WAL_SEGMENT_BYTES_MAX (1u << 30)
#define WAL_END_MARK          0xEDu

struct wal_state_head {
	uint64_t incarnation, seq;
	raft_term term;
	raft_id vote;
	uint64_t segment; /* newest one that was made */
	uint64_t first;   /* oldest one that still belongs to the log */
	/* Everything before this offset of this segment was synced when the state was written; 0: not
	 * known. */
	uint64_t end_segment, end_offset;
};

struct wal_segment_head {
	uint64_t incarnation, seq, size;
	struct raft_pos base;
	uint32_t link;
};

/* Heads: WAL_HEAD_BYTES at `p`. get: 0, RFS_ECORRUPT (magic or checksum) or RFS_EVERSION. */
void wal_identity_put(uint8_t *p, const struct wal_identity *id);
int wal_identity_get(const uint8_t *p, struct wal_identity *id);
void wal_state_put(uint8_t *p, const struct wal_state_head *h);
int wal_state_get(const uint8_t *p, struct wal_state_head *h);
void wal_segment_put(uint8_t *p, const struct wal_segment_head *h);
int wal_segment_get(const uint8_t *p, struct wal_segment_head *h);

/* Where a record stands; its header is bound to it. */
struct wal_place {
	uint64_t incarnation, segment, offset;
};

struct wal_record {
	struct raft_pos pos;
	uint64_t batch;
	uint32_t kind; /* as on disk: may be no enum raft_entry_kind */
	uint32_t len;
	uint32_t payload_crc, link, header_crc;
};

/* Bytes of a whole record with `len` bytes of payload. */
uint64_t wal_record_bytes(uint32_t len);

/* Write entry `e` as a record without batch, link and checksums: wal_record_bytes(e->len) at
 * `p`. */
void wal_record_put(uint8_t *p, const struct raft_entry *e);

/* Fill in what is known when it is written. Returns its header CRC, the next record's link. */
uint32_t wal_record_seal(uint8_t *p, const struct wal_place *at, uint64_t batch, uint32_t link);

/* The header alone, at `p` with `n` bytes to the end of the segment: true if it is there, has the
 * magic and its checksum is right for this place. The fields may still make no sense. */
bool wal_record_head_get(const uint8_t *p, uint64_t n, const struct wal_place *at,
                         struct wal_record *r);

/* Whether payload and padding match; wal_record_bytes(r->len) must be there. */
bool wal_record_payload_ok(const uint8_t *p, const struct wal_record *r);

#endif

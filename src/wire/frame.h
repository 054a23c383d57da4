/* Frames: how messages stand in a TCP stream.
 *
 *   offset  size
 *        0     4  length n of the payload, little-endian, at most FRAME_PAYLOAD_MAX
 *        4     2  type, enum frame_type
 *        6     2  0
 *        8     4  CRC32C of bytes 0 … 7 and of the payload
 *       12     n  payload: one message of raftfs.proto
 *
 * A frame that breaks a rule ends the connection: after a wrong length nothing behind it can be
 * trusted. */
#ifndef RFS_WIRE_FRAME_H
#define RFS_WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include "../base/buf.h"
#include "../base/err.h"

#define FRAME_HEADER_BYTES 12u
#define FRAME_PAYLOAD_MAX  (8u << 20)

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_HELLO_REPLY = 2,
	FRAME_RAFT = 3,
	FRAME_REQUEST = 4,
	FRAME_REPLY = 5,
	FRAME_KEEP_ALIVE = 6,
	FRAME_KEEP_ALIVE_REPLY = 7,
	FRAME_STATUS_REQUEST = 8,
	FRAME_STATUS = 9,
	FRAME_ADMIN = 10,
	FRAME_ADMIN_REPLY = 11,
	FRAME_SNAPSHOT = 12,
	FRAME_SNAPSHOT_ACK = 13,
	FRAME_WATCH = 14,
	FRAME_EVENTS = 15,
	FRAME_ROOM = 16,
	FRAME_BACKUP = 17,
	FRAME_BACKUP_PART = 18,
};

/* The protocol version that brought this type: it is not sent to a peer that speaks an older one. */
uint32_t frame_version(enum frame_type type);

/* Append a frame in place: frame_begin() leaves room for the header and returns where it starts,
 * the caller appends the payload to `b`, frame_end() fills the header in. */
size_t frame_begin(struct buf *b);
void frame_end(struct buf *b, size_t start, enum frame_type type);

struct frame {
	uint16_t type;          /* as received: may be none of frame_type */
	const uint8_t *payload; /* borrowed from the bytes given */
	uint32_t len;
};

/* Look at the first frame in `n` bytes. 1: a whole one, in *f, `*used` bytes long; 0: more bytes
 * are needed
 * (*used = how many in all, if known, else 0); negative with `err`: RFS_EPROTO, RFS_ECORRUPT. */
int frame_parse(const uint8_t *p, size_t n, struct frame *f, size_t *used, struct rfs_err *err);

#endif

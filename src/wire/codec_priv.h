/* What the files of the codec share: memory for protobuf-c, and the steps that every message
 * takes. */
#ifndef RFS_WIRE_CODEC_PRIV_H
#define RFS_WIRE_CODEC_PRIV_H

#include <stddef.h>
#include <stdint.h>
#include "codec.h"
#include "frame.h"
#include "raftfs.pb-c.h"

/* ---- arena.c ---- */

/* Start decoding one message: from here it may take ARENA_MESSAGE_BYTES_MAX, then allocation fails
 * and so does the decoding. The hooks live as long as the arena. */
ProtobufCAllocator *arena_begin(struct wire_arena *a);
/* `n` objects of `size` bytes, not zeroed, aligned for any type; NULL beyond the limit. */
void *arena_array(struct wire_arena *a, size_t n, size_t size);

/* Memory on the stack for messages that are small by nature. A message that wants more is
 * refused. */
#define SCRATCH_BYTES 65536u

struct scratch {
	uint32_t magic;
	size_t used;
	ProtobufCAllocator hooks;
	_Alignas(16) uint8_t bytes[SCRATCH_BYTES];
};

ProtobufCAllocator *scratch_begin(struct scratch *s);

/* ---- codec.c ---- */

/* Pack `m` behind what stands in `b`; no frame around it. */
void codec_pack(struct buf *b, const ProtobufCMessage *m);
/* Append `m` as one frame. */
void codec_put(struct buf *b, enum frame_type type, const ProtobufCMessage *m);

/* Unpack a message into memory of `hooks`; NULL with `err` set (RFS_ECORRUPT). */
void *codec_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *hooks, const void *p,
                   size_t n, struct rfs_err *err);

/* Copy a decoded string; RFS_ECORRUPT naming `what` if it does not fit. */
int codec_get_text(char *to, size_t size, const char *from, const char *what, struct rfs_err *err);

/* Bytes for a message to be packed: borrowed, never written to. */
static inline ProtobufCBinaryData codec_bytes(const void *p, size_t n)
{
	return (ProtobufCBinaryData){.len = n, .data = (uint8_t *)p};
}

#endif

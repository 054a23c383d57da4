#include "frame.h"

#include "../base/check.h"
#include "../base/crc.h"

/* The part of the header that the checksum covers: length, type and the two zero bytes. */
#define FRAME_SUMMED_BYTES 8u

static uint32_t frame_crc(const uint8_t *header, const uint8_t *payload, size_t len)
{
	return crc32c(crc32c(0, header, FRAME_SUMMED_BYTES), payload, len);
}

uint32_t frame_version(enum frame_type type)
{
	switch (type) {
	case FRAME_HELLO:
	case FRAME_HELLO_REPLY:
	case FRAME_RAFT:
	case FRAME_REQUEST:
	case FRAME_REPLY:
	case FRAME_KEEP_ALIVE:
	case FRAME_KEEP_ALIVE_REPLY:
	case FRAME_STATUS_REQUEST:
	case FRAME_STATUS: return 1;
	case FRAME_ADMIN:
	case FRAME_ADMIN_REPLY:
	case FRAME_SNAPSHOT:
	case FRAME_SNAPSHOT_ACK:
	case FRAME_ROOM:
	case FRAME_WATCH:
	case FRAME_EVENTS:
	case FRAME_BACKUP:
	case FRAME_BACKUP_PART: return 2;
	}
	return UINT32_MAX;
}

size_t frame_begin(struct buf *b)
{
	size_t start = b->len;

	(void)buf_reserve(b, FRAME_HEADER_BYTES);
	b->len += FRAME_HEADER_BYTES;
	return start;
}

void frame_end(struct buf *b, size_t start, enum frame_type type)
{
	uint8_t *header = b->data + start;
	size_t len;

	rfs_check(start <= b->len && b->len - start >= FRAME_HEADER_BYTES);
	len = b->len - start - FRAME_HEADER_BYTES;
	rfs_check(len <= FRAME_PAYLOAD_MAX);
	put_le32(header, (uint32_t)len);
	put_le16(header + 4, (uint16_t)type);
	put_le16(header + 6, 0);
	put_le32(header + 8, frame_crc(header, header + FRAME_HEADER_BYTES, len));
}

/* What can be said as soon as its bytes are there is said then: nobody waits for a payload that a
 * broken length has promised. */
int frame_parse(const uint8_t *p, size_t n, struct frame *f, size_t *used, struct rfs_err *err)
{
	uint32_t len;

	*used = 0;
	if (n < 4)
		return 0;
	len = get_le32(p);
	if (len > FRAME_PAYLOAD_MAX)
		return rfs_err_set(err, RFS_EPROTO, "frame of %u bytes exceeds %u", len,
		                   FRAME_PAYLOAD_MAX);
	*used = FRAME_HEADER_BYTES + (size_t)len;
	if (n >= 8 && get_le16(p + 6) != 0)
		return rfs_err_set(err, RFS_EPROTO, "frame header has 0x%04x where 0 must stand",
		                   get_le16(p + 6));
	if (n < *used)
		return 0;
	if (get_le32(p + 8) != frame_crc(p, p + FRAME_HEADER_BYTES, len))
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "frame of type %u and %u bytes fails its checksum",
		                   get_le16(p + 4), len);
	*f = (struct frame){.type = get_le16(p + 4), .payload = p + FRAME_HEADER_BYTES, .len = len};
	return 1;
}

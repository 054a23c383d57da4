/* Any bytes as a segment of the log: recovery refuses them or gives a log that can be read, goes
 * on, and is the same at the next start. The first byte chooses how much is made to look right:
 * checksums of the head, of the records' headers, of their payloads. */
#include <stdlib.h>
#include <string.h>
#include "../../src/base/buf.h"
#include "../../src/base/check.h"
#include "../../src/base/crc.h"
#include "../../src/base/mem.h"
#include "../../src/wal/wal_format.h"
#include "../support/walkit.h"

#define SEGMENT (16u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEAL_HEAD = 1, SEAL_RECORDS = 2, SEAL_PAYLOADS = 4, SEAL_LINKS = 8 };

static void seal_records(uint8_t *seg, uint64_t incarnation, unsigned how)
{
	struct wal_place at = {incarnation, 1, 0};
	uint32_t link = 0;

	for (uint64_t i = WAL_BLOCK_BYTES; i + WAL_RECORD_BYTES_MIN <= SEGMENT;) {
		uint8_t *p = seg + i, place[24];
		uint32_t len = get_le32(p + 4);
		uint64_t n = len <= RAFT_ENTRY_BYTES_MAX ? wal_record_bytes(len) : 0;

		if (memcmp(p, "RFSR", 4) != 0)
			return;
		at.offset = i;
		if ((how & SEAL_PAYLOADS) && n > 0 && i + n <= SEGMENT)
			put_le32(p + 36, crc32c(0, p + 48, n - 48));
		if (how & SEAL_LINKS)
			put_le32(p + 40, link);
		put_le64(place, at.incarnation);
		put_le64(place + 8, at.segment);
		put_le64(place + 16, at.offset);
		link = crc32c(crc32c(0, place, 24), p, 44);
		put_le32(p + 44, link);
		if (n == 0 || i + n > SEGMENT)
			return;
		i += n;
	}
}

static bool readable(struct walkit *k)
{
	struct raft_entry e[8];
	raft_index next = wal_base(k->w).index + 1;

	while (next <= wal_last(k->w).index) {
		ssize_t n = wal_read(k->w, next, 8, 10000, e, &k->err);

		if (n <= 0)
			return false;
		next += (raft_index)n;
	}
	return true;
}

static void live_on(struct walkit *k)
{
	struct raft_pos last = wal_last(k->w);
	struct raft_entry e = {.pos = {last.index + 1, k->rec.term}, .kind = RAFT_ENTRY_NOOP};

	rfs_check(readable(k));
	wal_append(k->w, &e, 1, 1);
	walkit_run(k);
	rfs_check(k->done.error == 0 && k->done.log_pos.index == last.index + 1);
	walkit_close(k);
	rfs_check(walkit_open(k) == 0);
	rfs_check(k->rec.last.index == last.index + 1 && !k->rec.torn && readable(k));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t seg[SEGMENT] = {0}, head[WAL_HEAD_BYTES];
	unsigned how = size > 0 ? data[0] : 0;
	struct walkit k;
	size_t from = how & SEAL_HEAD ? WAL_BLOCK_BYTES : 0;

	walkit_init(&k, 1, SEGMENT);
	rfs_check(walkit_open(&k) == 0);
	walkit_term(&k, 1u << 20);
	walkit_close(&k);
	memfs_peek(k.fs, walkit_segment(1), 0, head, sizeof(head));
	if (how & SEAL_HEAD)
		memcpy(seg, head, sizeof(head));
	if (size > 1)
		memcpy(seg + from, data + 1, size - 1 < SEGMENT - from ? size - 1 : SEGMENT - from);
	if (how & SEAL_RECORDS)
		seal_records(seg, k.opts.identity.incarnation, how);
	memfs_poke(k.fs, walkit_segment(1), 0, seg, SEGMENT);
	if (walkit_open(&k) == 0)
		live_on(&k);
	else
		rfs_check(k.w != NULL || k.err.msg[0] != '\0');
	walkit_free(&k);
	return 0;
}

/* Any bytes as a stream of frames. Checksums of whole frames are put right first, so that what is
 * behind them gets its share: the decoders. */
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/crc.h"
#include "../../src/base/mem.h"
#include "../../src/wire/frame.h"
#include "../support/decode_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_checksum_right(uint8_t *p, size_t n)
{
	size_t len = n >= FRAME_HEADER_BYTES ? get_le32(p) : SIZE_MAX;

	if (len <= FRAME_PAYLOAD_MAX && len <= n - FRAME_HEADER_BYTES)
		put_le32(p + 8, crc32c(crc32c(0, p, 8), p + FRAME_HEADER_BYTES, len));
}

/* Takes the frames there are; returns where it stopped. */
static size_t take_stream(uint8_t *p, size_t n, struct wire_arena *a)
{
	size_t at = 0;

	while (at < n) {
		struct rfs_err err = {0};
		struct frame f;
		size_t used;
		int rc;

		put_checksum_right(p + at, n - at);
		rc = frame_parse(p + at, n - at, &f, &used, &err);
		rfs_check(rc < 0 ? err.code == rc && err.msg[0] != '\0' : err.code == 0);
		if (rc <= 0) {
			rfs_check(rc < 0 || used == 0 || used > n - at);
			break;
		}
		rfs_check(used == FRAME_HEADER_BYTES + (size_t)f.len && used <= n - at);
		(void)decode_all(f.payload, f.len, a);
		at += used;
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire_arena *arena;
	struct rfs_err err = {0};
	struct frame f;
	size_t used;
	uint8_t *copy;

	if (arena == NULL)
		arena = wire_arena_new();
	(void)frame_parse(data, size, &f, &used, &err);
	if (size == 0)
		return 0;
	copy = mem_dup(data, size);
	(void)take_stream(copy, size, arena);
	free(copy);
	return 0;
}

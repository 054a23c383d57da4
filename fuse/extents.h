/* Pieces of a file: those whose bytes are here and not at the servers yet, and ranges without bytes. Both are kept in
 * ascending order and apart from each other; what was added last prevails. */
#ifndef RFS_FUSE_EXTENTS_H
#define RFS_FUSE_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>
#include "../src/base/buf.h"
#include "../src/base/op.h"

struct extent {
	uint64_t offset;
	struct buf bytes; /* never none */
	struct extent *prev, *next;
};

struct extents {
	struct extent *first;
	size_t n, bytes;
};

void extents_write(struct extents *x, uint64_t offset, const void *p, size_t n);
void extents_drop_front(struct extents *x, struct extent *e, size_t n);
void extents_free(struct extents *x);
uint64_t extent_end(const struct extent *e);
/* Whether all of [offset, end) is there. */
bool extents_cover(const struct extents *x, uint64_t offset, uint64_t end);
/* Add to `to` what `x` has of [offset, end). */
void extents_copy(struct extents *to, const struct extents *x, uint64_t offset, uint64_t end);
/* Put what there is over `out`, `n` bytes that begin at `offset` of the file. */
void extents_lay_over(const struct extents *x, uint8_t *out, uint64_t offset, size_t n);

struct ranges {
	struct fs_range *at;
	size_t n, cap;
	uint64_t bytes;
};

void ranges_add(struct ranges *x, struct fs_range range);
/* How many there would be, and of how many bytes, with `range`. */
void ranges_with(const struct ranges *x, struct fs_range range, size_t *n, uint64_t *bytes);
void ranges_free(struct ranges *x);

#endif

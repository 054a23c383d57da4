/* Memory for decoding. protobuf-c asks for many small pieces a message; here they are cut from one
 * block that is kept, so that decoding costs no malloc once the block has grown to what the
 * messages need. */
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "codec_priv.h"

#define ARENA_MAGIC   0x6172656eu
#define SCRATCH_MAGIC 0x73637261u
#define ARENA_ALIGN   16u

#define ARENA_FIRST_BYTES (64u << 10)
#define ARENA_KEEP_BYTES  (16u << 20)
/* A decoded message takes a few times its size on the wire (an entry of 30 bytes becomes some 200);
 * this is enough for every frame that a correct peer builds, and keeps a crafted one (four million
 * empty entries) from taking half a gigabyte. */
#define ARENA_MESSAGE_BYTES_MAX (8u * (size_t)FRAME_PAYLOAD_MAX)

struct block {
	struct block *older;
	size_t cap, used;
	_Alignas(ARENA_ALIGN) uint8_t bytes[];
};

struct wire_arena {
	uint32_t magic;
	struct block *block; /* the one being cut from; full ones hang behind it */
	size_t cap_total;
	size_t budget; /* what the message being decoded may still take */
	ProtobufCAllocator hooks;
};

static struct block *block_new(size_t cap, struct block *older)
{
	struct block *b = mem_alloc(sizeof(*b) + cap);

	*b = (struct block){.older = older, .cap = cap};
	return b;
}

static void blocks_free(struct block *b)
{
	while (b != NULL) {
		struct block *older = b->older;

		free(b);
		b = older;
	}
}

static void *arena_alloc(void *ctx, size_t size)
{
	struct wire_arena *a = ctx;
	struct block *b;
	void *p;

	RFS_MAGIC_CHECK(a, ARENA_MAGIC);
	if (size > a->budget)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	a->budget -= size < a->budget ? size : a->budget;
	b = a->block;
	if (size > b->cap - b->used) {
		size_t cap = b->cap * 2;

		b = a->block = block_new(size > cap ? size : cap, b);
		a->cap_total += b->cap;
	}
	p = b->bytes + b->used;
	b->used += size;
	return p;
}

/* Everything goes at once, with wire_arena_reset(). */
static void arena_free_nothing(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

struct wire_arena *wire_arena_new(void)
{
	struct wire_arena *a = mem_zalloc(sizeof(*a));

	RFS_MAGIC_SET(a, ARENA_MAGIC);
	a->block = block_new(ARENA_FIRST_BYTES, NULL);
	a->cap_total = a->block->cap;
	a->hooks = (ProtobufCAllocator){arena_alloc, arena_free_nothing, a};
	return a;
}

/* One block as large as all of them were: the next round of messages like the last one fits into
 * it. */
void wire_arena_reset(struct wire_arena *a)
{
	if (a->block->older != NULL) {
		size_t cap = a->cap_total < ARENA_KEEP_BYTES ? a->cap_total : ARENA_KEEP_BYTES;

		blocks_free(a->block);
		a->block = block_new(cap, NULL);
		a->cap_total = cap;
	}
	a->block->used = 0;
}

void wire_arena_free(struct wire_arena *a)
{
	if (a == NULL)
		return;
	blocks_free(a->block);
	free(a);
}

ProtobufCAllocator *arena_begin(struct wire_arena *a)
{
	a->budget = ARENA_MESSAGE_BYTES_MAX;
	return &a->hooks;
}

void *arena_array(struct wire_arena *a, size_t n, size_t size)
{
	if (n > a->budget / size)
		return NULL;
	return arena_alloc(a, n * size);
}

static void *scratch_alloc(void *ctx, size_t size)
{
	struct scratch *s = ctx;
	void *p;

	RFS_MAGIC_CHECK(s, SCRATCH_MAGIC);
	if (size > SCRATCH_BYTES - s->used)
		return NULL;
	p = s->bytes + s->used;
	/* SCRATCH_BYTES is a multiple of the alignment: rounding up never passes the end. */
	s->used += (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	return p;
}

ProtobufCAllocator *scratch_begin(struct scratch *s)
{
	_Static_assert(SCRATCH_BYTES % ARENA_ALIGN == 0, "rounding up must stay inside");
	RFS_MAGIC_SET(s, SCRATCH_MAGIC);
	s->used = 0;
	s->hooks = (ProtobufCAllocator){scratch_alloc, arena_free_nothing, s};
	return &s->hooks;
}

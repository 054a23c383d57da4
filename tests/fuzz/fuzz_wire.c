/* Any bytes as any message. */
#include "../support/decode_all.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wire_arena *arena;

	if (arena == NULL)
		arena = wire_arena_new();
	(void)decode_all(data, size, arena);
	return 0;
}

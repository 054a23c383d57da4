#include "crc.h"

#include <isa-l/crc.h>

/* ISA-L takes an int length and a non-const pointer, starts from the plain register, and leaves the
 * final inversion to the caller. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	const size_t step = 1u << 30;
	unsigned char *at = (unsigned char *)(uintptr_t)p;

	crc = ~crc;
	while (n > 0) {
		size_t now = n < step ? n : step;

		crc = crc32_iscsi(at, (int)now, crc);
		at += now;
		n -= now;
	}
	return ~crc;
}

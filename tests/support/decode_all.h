/* Feed the same bytes to every decoder of the wire, as a hostile peer could, and read all that
 * comes out. */
#ifndef RFS_TESTS_SUPPORT_DECODE_ALL_H
#define RFS_TESTS_SUPPORT_DECODE_ALL_H

#include <stddef.h>
#include <stdint.h>
#include "../../src/wire/codec.h"

/* Ends the process where a decoder gives what it must not. Returns how many decoders took the
 * bytes. */
unsigned decode_all(const uint8_t *p, size_t n, struct wire_arena *a);

#endif

/* Clocks. Nothing below src/node/ and src/client/ reads one: time comes in as an argument. */
#ifndef RFS_BASE_CLOCK_H
#define RFS_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ns(void); /* never goes back; counts suspend (CLOCK_BOOTTIME) */
uint64_t clock_mono_ms(void);
uint64_t clock_real_ns(void); /* since the epoch; may jump */
/* 64 random bits from the kernel, for seeds and incarnations. */
uint64_t clock_random_u64(void);

#endif

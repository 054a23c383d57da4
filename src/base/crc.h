/* CRC32C (Castagnoli), as iSCSI and ext4 use it; from ISA-L. Chainable:
 * crc32c(crc32c(0, a), b) == crc32c(0, a ++ b). Any thread. */
#ifndef RFS_BASE_CRC_H
#define RFS_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif

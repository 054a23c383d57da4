/* Bytes of strangers as text for people: names of files, values of keys. Any thread. */
#ifndef RFS_BASE_TEXT_H
#define RFS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include "buf.h"

bool text_is_utf8(const void *p, size_t n);
/* Append bytes as text that stays on one line and does nothing to a terminal: \n \t \r \\ \xNN; UTF-8 as it
 * is. */
void text_put_escaped(struct buf *b, const void *p, size_t n);

#endif

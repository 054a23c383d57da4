/* Memory. These never return NULL: without memory the process ends, loudly, as it would under the
 * kernel's OOM killer. That is safe here and half-done work is not: whatever was acknowledged is in
 * the log, and everything that grows has a named limit, so running out is an operator's problem and
 * not a code path. Sizes that come from disk, wire or user are checked against a limit first. */
#ifndef RFS_BASE_MEM_H
#define RFS_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);            /* not zeroed */
void *mem_zalloc(size_t size);           /* zeroed */
void *mem_calloc(size_t n, size_t size); /* zeroed, overflow checked */
void *mem_realloc(void *p, size_t size);
void *mem_grow(void *p, size_t *cap, size_t need, size_t size); /* doubles *cap until >= need */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);

#endif

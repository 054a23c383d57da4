#include "mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

static void *must(void *p, size_t size)
{
	if (p == NULL)
		rfs_die("out of memory (%zu bytes wanted)", size);
	return p;
}

void *mem_alloc(size_t size)
{
	return must(malloc(size > 0 ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
	return must(calloc(1, size > 0 ? size : 1), size);
}

void *mem_calloc(size_t n, size_t size)
{
	return must(calloc(n > 0 ? n : 1, size > 0 ? size : 1), n);
}

void *mem_realloc(void *p, size_t size)
{
	return must(realloc(p, size > 0 ? size : 1), size);
}

void *mem_grow(void *p, size_t *cap, size_t need, size_t size)
{
	size_t want = *cap > 0 ? *cap : 8;

	if (need <= *cap)
		return p;
	while (want < need) {
		rfs_check(want <= SIZE_MAX / 2);
		want *= 2;
	}
	rfs_check(want <= SIZE_MAX / size);
	p = mem_realloc(p, want * size);
	*cap = want;
	return p;
}

char *mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

char *mem_strndup(const char *s, size_t n)
{
	char *p = mem_alloc(n + 1);

	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

void *mem_dup(const void *p, size_t n)
{
	void *q = mem_alloc(n);

	if (n > 0)
		memcpy(q, p, n);
	return q;
}

#include "kvmap.h"

#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

int engine_bytes_cmp(struct engine_bytes a, struct engine_bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return (a.len > b.len) - (a.len < b.len);
}

bool engine_bytes_starts(struct engine_bytes key, struct engine_bytes prefix)
{
	return key.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(key.p, prefix.p, prefix.len) == 0);
}

void kvmap_init(struct kvmap *m)
{
	*m = (struct kvmap){.heights = 0x9e3779b97f4a7c15u};
}

static void entry_free(struct kvmap_entry *e)
{
	free((void *)(uintptr_t)e->value.p);
	free(e);
}

void kvmap_clear(struct kvmap *m)
{
	struct kvmap_entry *e = m->head[0], *next;

	for (; e != NULL; e = next) {
		next = e->next[0];
		entry_free(e);
	}
	memset(m->head, 0, sizeof(m->head));
	m->n = 0;
	m->bytes = 0;
}

/* For each level the link that leads past every key below `key`; returns the first entry >= key. */
static struct kvmap_entry *find_links(struct kvmap *m, struct engine_bytes key,
                                      struct kvmap_entry **links[KVMAP_LEVELS])
{
	struct kvmap_entry **at = m->head;

	for (int level = KVMAP_LEVELS - 1; level >= 0; level--) {
		while (at[level] != NULL && engine_bytes_cmp(at[level]->key, key) < 0)
			at = at[level]->next;
		links[level] = &at[level];
	}
	return *links[0];
}

const struct kvmap_entry *kvmap_seek(const struct kvmap *m, struct engine_bytes key)
{
	struct kvmap_entry *const *at = m->head;

	for (int level = KVMAP_LEVELS - 1; level >= 0; level--)
		while (at[level] != NULL && engine_bytes_cmp(at[level]->key, key) < 0)
			at = at[level]->next;
	return at[0];
}

const struct kvmap_entry *kvmap_find(const struct kvmap *m, struct engine_bytes key)
{
	const struct kvmap_entry *e;

	if (m->n == 0)
		return NULL;
	e = kvmap_seek(m, key);
	return e != NULL && engine_bytes_cmp(e->key, key) == 0 ? e : NULL;
}

const struct kvmap_entry *kvmap_first(const struct kvmap *m)
{
	return m->head[0];
}

const struct kvmap_entry *kvmap_next(const struct kvmap_entry *e)
{
	return e->next[0];
}

/* One level more with probability 1/4 (xorshift64). */
static size_t pick_levels(struct kvmap *m)
{
	uint64_t x = m->heights;
	size_t levels = 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	m->heights = x;
	for (; (x & 3) == 0 && levels < KVMAP_LEVELS; x >>= 2)
		levels++;
	return levels;
}

static struct kvmap_entry *entry_insert(struct kvmap *m, struct engine_bytes key,
                                        struct kvmap_entry **links[KVMAP_LEVELS])
{
	size_t levels = pick_levels(m);
	size_t head = sizeof(struct kvmap_entry) + levels * sizeof(struct kvmap_entry *);
	struct kvmap_entry *e = mem_alloc(head + key.len);
	uint8_t *copy = (uint8_t *)e + head;

	memcpy(copy, key.p, key.len);
	e->key = (struct engine_bytes){copy, key.len};
	e->value = (struct engine_bytes){0};
	e->value_cap = 0;
	e->deleted = false;
	for (size_t level = 0; level < levels; level++) {
		e->next[level] = *links[level];
		*links[level] = e;
	}
	m->n++;
	m->bytes += key.len;
	return e;
}

static void entry_set(struct kvmap *m, struct kvmap_entry *e, struct engine_bytes value)
{
	uint8_t *p = (uint8_t *)(uintptr_t)e->value.p;

	if (value.len > e->value_cap) {
		free(p);
		p = mem_alloc(value.len);
		m->bytes += value.len - e->value_cap;
		e->value_cap = value.len;
	}
	if (value.len > 0)
		memcpy(p, value.p, value.len);
	e->value = (struct engine_bytes){p, value.len};
}

static struct kvmap_entry *entry_for(struct kvmap *m, struct engine_bytes key)
{
	struct kvmap_entry **links[KVMAP_LEVELS];
	struct kvmap_entry *e = find_links(m, key, links);

	if (e != NULL && engine_bytes_cmp(e->key, key) == 0)
		return e;
	return entry_insert(m, key, links);
}

void kvmap_put(struct kvmap *m, struct engine_bytes key, struct engine_bytes value)
{
	struct kvmap_entry *e = entry_for(m, key);

	e->deleted = false;
	entry_set(m, e, value);
}

void kvmap_put_deleted(struct kvmap *m, struct engine_bytes key)
{
	struct kvmap_entry *e = entry_for(m, key);

	e->deleted = true;
	e->value.len = 0;
}

void kvmap_remove(struct kvmap *m, struct engine_bytes key)
{
	struct kvmap_entry **links[KVMAP_LEVELS];
	struct kvmap_entry *e = find_links(m, key, links);

	if (e == NULL || engine_bytes_cmp(e->key, key) != 0)
		return;
	for (size_t level = 0; level < KVMAP_LEVELS && *links[level] == e; level++)
		*links[level] = e->next[level];
	rfs_check(m->n > 0);
	m->n--;
	m->bytes -= key.len + e->value_cap;
	entry_free(e);
}

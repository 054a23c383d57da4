/* The engine in memory, for tests and the simulator. Three maps lie over each other: what a flush
 * has made durable, what was committed since, and the open batch. So a crash is the loss of the
 * upper two. */
#include "engine.h"

#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "kvmap.h"

enum layer { LAYER_BATCH, LAYER_COMMITTED, LAYER_DURABLE, LAYERS }; /* upper ones hide lower ones */

struct engine_mem {
	struct store_engine base;
	struct kvmap layers[LAYERS];
};

struct engine_iter {
	const struct kvmap_entry *at[LAYERS];
	size_t prefix_len;
	uint8_t prefix[];
};

static struct engine_mem *mem_of(struct store_engine *e)
{
	return (struct engine_mem *)e;
}

static int mem_get(struct store_engine *e, struct engine_bytes key, struct engine_bytes *value,
                   struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);

	(void)err;
	for (int layer = 0; layer < LAYERS; layer++) {
		const struct kvmap_entry *found = kvmap_find(&m->layers[layer], key);

		if (found == NULL)
			continue;
		if (found->deleted)
			return 0;
		*value = found->value;
		return 1;
	}
	return 0;
}

static int mem_put(struct store_engine *e, struct engine_bytes key, struct engine_bytes value,
                   struct rfs_err *err)
{
	(void)err;
	kvmap_put(&mem_of(e)->layers[LAYER_BATCH], key, value);
	return 0;
}

static int mem_del(struct store_engine *e, struct engine_bytes key, struct rfs_err *err)
{
	(void)err;
	kvmap_put_deleted(&mem_of(e)->layers[LAYER_BATCH], key);
	return 0;
}

/* Move everything of `upper` into `lower`; below the lowest there is nothing left to hide. */
static void merge_down(struct kvmap *upper, struct kvmap *lower, bool lowest)
{
	const struct kvmap_entry *e;

	for (e = kvmap_first(upper); e != NULL; e = kvmap_next(e)) {
		if (!e->deleted)
			kvmap_put(lower, e->key, e->value);
		else if (lowest)
			kvmap_remove(lower, e->key);
		else
			kvmap_put_deleted(lower, e->key);
	}
	kvmap_clear(upper);
}

static int mem_commit(struct store_engine *e, struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);

	(void)err;
	merge_down(&m->layers[LAYER_BATCH], &m->layers[LAYER_COMMITTED], false);
	return 0;
}

static void mem_rollback(struct store_engine *e)
{
	kvmap_clear(&mem_of(e)->layers[LAYER_BATCH]);
}

static int mem_flush(struct store_engine *e, struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);

	(void)err;
	merge_down(&m->layers[LAYER_COMMITTED], &m->layers[LAYER_DURABLE], true);
	return 0;
}

static struct engine_iter *mem_iter_open(struct store_engine *e, struct engine_bytes prefix,
                                         struct engine_bytes from)
{
	struct engine_iter *it = mem_alloc(sizeof(*it) + prefix.len);

	it->prefix_len = prefix.len;
	for (size_t i = 0; i < prefix.len; i++)
		it->prefix[i] = prefix.p[i];
	for (int layer = 0; layer < LAYERS; layer++)
		it->at[layer] = kvmap_seek(&mem_of(e)->layers[layer], from);
	return it;
}

/* The entry that stands first; where layers have the same key, the uppermost's. All of them step
 * over it. */
static const struct kvmap_entry *take_first(struct engine_iter *it)
{
	const struct kvmap_entry *first = NULL;

	for (int layer = 0; layer < LAYERS; layer++)
		if (it->at[layer] != NULL &&
		    (first == NULL || engine_bytes_cmp(it->at[layer]->key, first->key) < 0))
			first = it->at[layer];
	for (int layer = 0; layer < LAYERS && first != NULL; layer++)
		if (it->at[layer] != NULL && engine_bytes_cmp(it->at[layer]->key, first->key) == 0)
			it->at[layer] = kvmap_next(it->at[layer]);
	return first;
}

static int mem_iter_next(struct engine_iter *it, struct engine_bytes *key,
                         struct engine_bytes *value, struct rfs_err *err)
{
	const struct engine_bytes prefix = {it->prefix, it->prefix_len};
	const struct kvmap_entry *e;

	(void)err;
	do {
		e = take_first(it);
		if (e == NULL || !engine_bytes_starts(e->key, prefix))
			return 0;
	} while (e->deleted);
	*key = e->key;
	*value = e->value;
	return 1;
}

static void mem_iter_close(struct engine_iter *it)
{
	free(it);
}

static void mem_close(struct store_engine *e)
{
	struct engine_mem *m = mem_of(e);

	for (int layer = 0; layer < LAYERS; layer++)
		kvmap_clear(&m->layers[layer]);
	free(m);
}

static const struct engine_vtable mem_vtable = {
        .get = mem_get,
        .put = mem_put,
        .del = mem_del,
        .commit = mem_commit,
        .rollback = mem_rollback,
        .flush = mem_flush,
        .iter_open = mem_iter_open,
        .iter_next = mem_iter_next,
        .iter_close = mem_iter_close,
        .close = mem_close,
};

int engine_mem_open(struct store_engine **out, struct rfs_err *err)
{
	struct engine_mem *m = mem_zalloc(sizeof(*m));

	(void)err;
	m->base.vt = &mem_vtable;
	for (int layer = 0; layer < LAYERS; layer++)
		kvmap_init(&m->layers[layer]);
	*out = &m->base;
	return 0;
}

void engine_mem_crash(struct store_engine *e)
{
	rfs_check(e->vt == &mem_vtable);
	kvmap_clear(&mem_of(e)->layers[LAYER_BATCH]);
	kvmap_clear(&mem_of(e)->layers[LAYER_COMMITTED]);
}

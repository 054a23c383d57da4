/* The engine in memory, for tests and the simulator. The state is a stack of maps, upper ones
 * hiding what lies below, with the open batch over all of them. What a flush has made durable is at
 * the bottom, so a crash is the loss of what lies over it. A view holds the maps that are there
 * when it is opened: from then on they stay as they are, and changes go into a new one. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "kvmap.h"

struct layer {
	struct kvmap map;
	struct layer *below;
	size_t views;  /* that hold it */
	bool durable;  /* then all below are, too */
	bool detached; /* lost in a crash; goes with the last view */
};

struct engine_mem {
	struct store_engine base;
	struct kvmap batch;
	struct layer *top;
};

struct engine_view {
	struct engine_mem *m;
	size_t n;
	struct layer *layers[]; /* uppermost first */
};

struct engine_iter {
	size_t n;
	const struct kvmap_entry **at; /* of each map, uppermost first */
	size_t prefix_len;
	uint8_t prefix[];
};

static struct engine_mem *mem_of(struct store_engine *e)
{
	return (struct engine_mem *)e;
}

/* ---- layers ---- */

static void free_layer(struct layer *l)
{
	kvmap_clear(&l->map);
	free(l);
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

/* Put together neighbours that no view holds and a crash would treat alike. */
static void join_layers(struct engine_mem *m)
{
	struct layer **at = &m->top;

	while (*at != NULL && (*at)->below != NULL) {
		struct layer *upper = *at, *lower = upper->below;

		if (upper->views > 0 || lower->views > 0 || upper->durable != lower->durable) {
			at = &upper->below;
			continue;
		}
		merge_down(&upper->map, &lower->map, lower->below == NULL);
		*at = lower;
		free_layer(upper);
	}
}

/* The layer that takes commits. */
static struct layer *open_layer(struct engine_mem *m)
{
	struct layer *l = m->top;

	if (l != NULL && l->views == 0 && !l->durable)
		return l;
	l = mem_zalloc(sizeof(*l));
	kvmap_init(&l->map);
	l->below = m->top;
	m->top = l;
	return l;
}

/* ---- the batch and what lies below ---- */

static int give(const struct kvmap_entry *found, struct engine_bytes *value)
{
	*value = found->value;
	return found->deleted ? 0 : 1;
}

static int mem_get(struct store_engine *e, struct engine_bytes key, struct engine_bytes *value,
                   struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);
	const struct kvmap_entry *found = kvmap_find(&m->batch, key);

	(void)err;
	if (found != NULL)
		return give(found, value);
	for (const struct layer *l = m->top; l != NULL; l = l->below) {
		found = kvmap_find(&l->map, key);
		if (found != NULL)
			return give(found, value);
	}
	return 0;
}

static int mem_put(struct store_engine *e, struct engine_bytes key, struct engine_bytes value,
                   struct rfs_err *err)
{
	(void)err;
	kvmap_put(&mem_of(e)->batch, key, value);
	return 0;
}

static int mem_del(struct store_engine *e, struct engine_bytes key, struct rfs_err *err)
{
	(void)err;
	kvmap_put_deleted(&mem_of(e)->batch, key);
	return 0;
}

static int mem_commit(struct store_engine *e, struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);
	struct layer *l = open_layer(m);

	(void)err;
	merge_down(&m->batch, &l->map, l->below == NULL);
	return 0;
}

static void mem_rollback(struct store_engine *e)
{
	kvmap_clear(&mem_of(e)->batch);
}

static uint64_t mem_batch_bytes(struct store_engine *e)
{
	return mem_of(e)->batch.bytes;
}

static int mem_flush(struct store_engine *e, struct rfs_err *err)
{
	struct engine_mem *m = mem_of(e);

	(void)err;
	for (struct layer *l = m->top; l != NULL; l = l->below)
		l->durable = true;
	join_layers(m);
	return 0;
}

/* ---- iterators ---- */

static struct engine_iter *iter_new(size_t maps, struct engine_bytes prefix)
{
	struct engine_iter *it = mem_alloc(sizeof(*it) + prefix.len);

	it->n = 0;
	it->at = mem_calloc(maps, sizeof(const struct kvmap_entry *));
	it->prefix_len = prefix.len;
	if (prefix.len > 0)
		memcpy(it->prefix, prefix.p, prefix.len);
	return it;
}

static struct engine_iter *mem_iter_open(struct store_engine *e, struct engine_bytes prefix,
                                         struct engine_bytes from)
{
	const struct engine_mem *m = mem_of(e);
	struct engine_iter *it;
	size_t maps = 1;

	for (const struct layer *l = m->top; l != NULL; l = l->below)
		maps++;
	it = iter_new(maps, prefix);
	it->at[it->n++] = kvmap_seek(&m->batch, from);
	for (const struct layer *l = m->top; l != NULL; l = l->below)
		it->at[it->n++] = kvmap_seek(&l->map, from);
	return it;
}

/* The entry that stands first; where maps have the same key, the uppermost's. All of them step over
 * it. */
static const struct kvmap_entry *take_first(struct engine_iter *it)
{
	const struct kvmap_entry *first = NULL;

	for (size_t i = 0; i < it->n; i++)
		if (it->at[i] != NULL &&
		    (first == NULL || engine_bytes_cmp(it->at[i]->key, first->key) < 0))
			first = it->at[i];
	for (size_t i = 0; i < it->n && first != NULL; i++)
		if (it->at[i] != NULL && engine_bytes_cmp(it->at[i]->key, first->key) == 0)
			it->at[i] = kvmap_next(it->at[i]);
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
	free(it->at);
	free(it);
}

/* ---- views ---- */

static struct engine_view *mem_view_open(struct store_engine *e)
{
	struct engine_mem *m = mem_of(e);
	struct engine_view *v;
	size_t n = 0;

	for (const struct layer *l = m->top; l != NULL; l = l->below)
		n++;
	v = mem_zalloc(sizeof(*v) + n * sizeof(struct layer *));
	v->m = m;
	for (struct layer *l = m->top; l != NULL; l = l->below) {
		l->views++;
		v->layers[v->n++] = l;
	}
	return v;
}

static struct engine_iter *mem_view_iter(struct engine_view *v, struct engine_bytes from)
{
	struct engine_iter *it = iter_new(v->n, (struct engine_bytes){0});

	for (size_t i = 0; i < v->n; i++)
		it->at[it->n++] = kvmap_seek(&v->layers[i]->map, from);
	return it;
}

static void mem_view_close(struct engine_view *v)
{
	for (size_t i = 0; i < v->n; i++) {
		rfs_check(v->layers[i]->views > 0);
		if (--v->layers[i]->views == 0 && v->layers[i]->detached)
			free_layer(v->layers[i]);
	}
	join_layers(v->m);
	free(v);
}

/* ---- open, close, crash ---- */

static void mem_close(struct store_engine *e)
{
	struct engine_mem *m = mem_of(e);

	kvmap_clear(&m->batch);
	for (struct layer *l = m->top, *below; l != NULL; l = below) {
		below = l->below;
		rfs_check(l->views == 0);
		free_layer(l);
	}
	free(m);
}

/* Memory is given back at once. */
static void mem_reclaim(struct store_engine *e)
{
	(void)e;
}

static const struct engine_vtable mem_vtable = {
        .get = mem_get,
        .put = mem_put,
        .del = mem_del,
        .commit = mem_commit,
        .rollback = mem_rollback,
        .batch_bytes = mem_batch_bytes,
        .flush = mem_flush,
        .flush_beside = mem_flush,
        .reclaim = mem_reclaim,
        .reclaim_stop = mem_reclaim,
        .iter_open = mem_iter_open,
        .iter_next = mem_iter_next,
        .iter_close = mem_iter_close,
        .view_open = mem_view_open,
        .view_iter = mem_view_iter,
        .view_close = mem_view_close,
        .close = mem_close,
};

int engine_mem_open(struct store_engine **out, struct rfs_err *err)
{
	struct engine_mem *m = mem_zalloc(sizeof(*m));

	(void)err;
	m->base.vt = &mem_vtable;
	kvmap_init(&m->batch);
	*out = &m->base;
	return 0;
}

void engine_mem_crash(struct store_engine *e)
{
	struct engine_mem *m = mem_of(e);

	rfs_check(e->vt == &mem_vtable);
	kvmap_clear(&m->batch);
	while (m->top != NULL && !m->top->durable) {
		struct layer *l = m->top;

		m->top = l->below;
		l->below = NULL;
		l->detached = true;
		if (l->views == 0)
			free_layer(l);
	}
}

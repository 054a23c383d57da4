/* An ordered map of byte strings: the memory engine's state, and the open batch of both engines. An
 * entry holds a value or says "deleted", so that a map can lie over another one and hide what is
 * below.
 *
 * A skip list (Pugh, "Skip Lists: A Probabilistic Alternative to Balanced Trees", 1990). Thread:
 * the owner's. */
#ifndef RFS_STORE_KVMAP_H
#define RFS_STORE_KVMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "engine.h"

#define KVMAP_LEVELS 16

struct kvmap_entry {
	struct engine_bytes key, value; /* value empty if deleted */
	bool deleted;
	size_t value_cap;
	struct kvmap_entry *next[]; /* as many as the entry has levels */
};

struct kvmap {
	struct kvmap_entry *head[KVMAP_LEVELS]; /* first entry of each level */
	size_t n;
	size_t bytes;     /* of keys and values in memory, room for larger values included */
	uint64_t heights; /* state of the generator of levels; not of what the map holds */
};

void kvmap_init(struct kvmap *m);
void kvmap_clear(struct kvmap *m); /* frees every entry; the map stays usable */

/* Entries are borrowed until the map changes. NULL: none. */
const struct kvmap_entry *kvmap_find(const struct kvmap *m, struct engine_bytes key);
const struct kvmap_entry *kvmap_seek(const struct kvmap *m,
                                     struct engine_bytes key); /* first >= key */
const struct kvmap_entry *kvmap_first(const struct kvmap *m);
const struct kvmap_entry *kvmap_next(const struct kvmap_entry *e);

/* Key and value are copied. */
void kvmap_put(struct kvmap *m, struct engine_bytes key, struct engine_bytes value);
void kvmap_put_deleted(struct kvmap *m, struct engine_bytes key);
void kvmap_remove(struct kvmap *m, struct engine_bytes key); /* absent is fine */

/* Order of keys: bytes, the shorter first. */
int engine_bytes_cmp(struct engine_bytes a, struct engine_bytes b);
bool engine_bytes_starts(struct engine_bytes key, struct engine_bytes prefix);

#endif

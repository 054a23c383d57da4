/* What the store asks of an ordered key-value engine. Two stand behind it: RocksDB (engine_rocks.c)
 * and memory (engine_mem.c: tests and the simulator).
 *
 * An engine has one open batch. Puts and deletes go into it and are seen by gets and iterators at
 * once; commit makes the batch part of the state in one atomic step. Every function that can fail
 * returns 0 or a negative error and fills `err`. Thread: the owner's. */
#ifndef RFS_STORE_ENGINE_H
#define RFS_STORE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/err.h"

struct engine_bytes {
	const uint8_t *p;
	size_t len;
};

struct engine_iter;
struct engine_view;

struct store_engine {
	const struct engine_vtable *vt;
};

struct engine_vtable {
	/* 1 and *value (borrowed until the next call of any function of the engine), 0 if
	 * absent. */
	int (*get)(struct store_engine *e, struct engine_bytes key, struct engine_bytes *value,
	           struct rfs_err *err);
	int (*put)(struct store_engine *e, struct engine_bytes key, struct engine_bytes value,
	           struct rfs_err *err);
	int (*del)(struct store_engine *e, struct engine_bytes key, struct rfs_err *err);
	int (*commit)(struct store_engine *e, struct rfs_err *err);
	void (*rollback)(struct store_engine *e);        /* forget the batch */
	uint64_t (*batch_bytes)(struct store_engine *e); /* that it takes in memory */
	/* Make durable all that has been committed. */
	int (*flush)(struct store_engine *e, struct rfs_err *err);
	/* The same, for what was committed before the call, from a thread of its own while the
	 * owner goes on. */
	int (*flush_beside)(struct store_engine *e, struct rfs_err *err);
	/* Give the disk back what deleted records took, as far as that can be done, from a thread of its
	 * own while the owner goes on; and the owner's word to end that soon, for good. */
	void (*reclaim)(struct store_engine *e);
	void (*reclaim_stop)(struct store_engine *e);

	/* Walk the keys that start with `prefix`, from `from` (itself starting with prefix) on;
	 * both are copied. The engine must not be changed while an iterator is open; gets are fine.
	 * next(): 1 with key and value borrowed until the next call on the iterator, 0 at the
	 * end. */
	struct engine_iter *(*iter_open)(struct store_engine *e, struct engine_bytes prefix,
	                                 struct engine_bytes from);
	int (*iter_next)(struct engine_iter *it, struct engine_bytes *key,
	                 struct engine_bytes *value, struct rfs_err *err);
	void (*iter_close)(struct engine_iter *it);

	/* The state as of the last commit, as it stays while the engine goes on; nothing is copied.
	 * Opened and closed by the owner, closed before the engine. Walked like the engine itself,
	 * by any one thread at a time, also while the owner works. */
	struct engine_view *(*view_open)(struct store_engine *e);
	struct engine_iter *(*view_iter)(struct engine_view *v, struct engine_bytes from);
	void (*view_close)(struct engine_view *v);

	void (*close)(struct store_engine *e); /* commits nothing; flushes what was committed */
};

/* Errors: RFS_ECORRUPT, -EBUSY (another process has it open), -ENOSPC, -EACCES, -EIO. */
int engine_rocks_open(struct store_engine **out, const char *dir, struct rfs_err *err);
int engine_mem_open(struct store_engine **out, struct rfs_err *err);

/* flush_beside() of the memory engine is for the owner's thread alone. */

/* The power fails: the memory engine `e` goes back to what it was at its last flush. */
void engine_mem_crash(struct store_engine *e);

#endif

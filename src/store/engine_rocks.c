/* The engine on RocksDB (C API). The open batch is a map in memory that lies over the database; a
 * commit writes it as one WriteBatch, in key order, with RocksDB's own WAL off. There is one column
 * family, so whatever a flush brings to disk is the state after some commit, whole. */
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <rocksdb/c.h>
#include "../base/check.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "kvmap.h"

#define WRITE_BUFFER_BYTES_MAX  (16u << 20)
#define WRITE_BUFFER_BYTES_MIN  (512u << 10)
#define WRITE_BUFFER_SHARE      64 /* of the file system, at most one in so many */
#define WRITE_BUFFERS           3
#define TABLE_BYTES_MIN         (256u << 10)
#define SMALL_COMPACTION_TABLES 8          /* rewritten at a time, about */
#define MANIFEST_BYTES_SMALL    (1u << 20) /* of small disks */
#define BLOCK_CACHE_BYTES       (32u << 20)
#define BLOOM_BITS              10.0
#define OPEN_FILES_MAX          256
#define BACKGROUND_JOBS         2
/* rocksdb::InfoLogLevel::HEADER_LEVEL: what it was opened with, and nothing later. Its log lies on the same
 * disk, and a build with assertions, as Debian's is, ends the process when a second write to the log fails, as
 * on a full disk. What goes wrong comes back from the calls as well. */
#define INFO_LOG_HEADER 5
#define INFO_LOG_FILES  2

struct engine_rocks {
	struct store_engine base;
	char *dir;
	rocksdb_options_t *options;
	rocksdb_block_based_table_options_t *table;
	rocksdb_cache_t *cache;
	rocksdb_readoptions_t *read;
	rocksdb_writeoptions_t *write;
	rocksdb_flushoptions_t *flush;
	rocksdb_t *db;
	rocksdb_writebatch_t *out;       /* filled and emptied by commit */
	rocksdb_pinnableslice_t *pinned; /* what the last get lent */
	struct kvmap batch;
	bool unflushed;
};

struct engine_view {
	struct engine_rocks *r;
	const rocksdb_snapshot_t *snapshot;
};

struct engine_iter {
	struct engine_rocks *r;
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *db;
	const struct kvmap_entry *batch; /* NULL: at the end */
	bool step;                       /* the caller has what db stands on */
	size_t prefix_len;
	uint8_t *bound; /* prefix's successor: RocksDB must not look at what lies behind */
	uint8_t prefix[];
};

static struct engine_rocks *rocks_of(struct store_engine *e)
{
	return (struct engine_rocks *)e;
}

/* ---- errors ---- */

static int code_of(const char *text)
{
	if (strstr(text, "Corruption") != NULL)
		return RFS_ECORRUPT;
	if (strstr(text, "No space left") != NULL)
		return -ENOSPC;
	if (strstr(text, "lock hold by current process") != NULL ||
	    strstr(text, "LOCK: Resource temporarily unavailable") != NULL)
		return -EBUSY;
	if (strstr(text, "Permission denied") != NULL)
		return -EACCES;
	return -EIO;
}

/* Takes RocksDB's message; NULL: no error. */
static int take_error(const struct engine_rocks *r, char *text, struct rfs_err *err)
{
	int rc;

	if (text == NULL)
		return 0;
	rc = rfs_err_set(err, code_of(text), "store %s: RocksDB: %s", r->dir, text);
	rocksdb_free(text);
	return rc;
}

/* ---- the batch and what lies below ---- */

static void unpin(struct engine_rocks *r)
{
	if (r->pinned != NULL)
		rocksdb_pinnableslice_destroy(r->pinned);
	r->pinned = NULL;
}

static int rocks_get(struct store_engine *e, struct engine_bytes key, struct engine_bytes *value,
                     struct rfs_err *err)
{
	struct engine_rocks *r = rocks_of(e);
	const struct kvmap_entry *found = kvmap_find(&r->batch, key);
	char *text = NULL;

	unpin(r);
	if (found != NULL) {
		*value = found->value;
		return found->deleted ? 0 : 1;
	}
	r->pinned = rocksdb_get_pinned(r->db, r->read, (const char *)key.p, key.len, &text);
	if (text != NULL)
		return take_error(r, text, err);
	if (r->pinned == NULL)
		return 0;
	value->p = (const uint8_t *)rocksdb_pinnableslice_value(r->pinned, &value->len);
	return 1;
}

static int rocks_put(struct store_engine *e, struct engine_bytes key, struct engine_bytes value,
                     struct rfs_err *err)
{
	(void)err;
	kvmap_put(&rocks_of(e)->batch, key, value);
	return 0;
}

static int rocks_del(struct store_engine *e, struct engine_bytes key, struct rfs_err *err)
{
	(void)err;
	kvmap_put_deleted(&rocks_of(e)->batch, key);
	return 0;
}

static int rocks_commit(struct store_engine *e, struct rfs_err *err)
{
	struct engine_rocks *r = rocks_of(e);
	const struct kvmap_entry *at;
	char *text = NULL;

	unpin(r);
	rocksdb_writebatch_clear(r->out);
	for (at = kvmap_first(&r->batch); at != NULL; at = kvmap_next(at)) {
		const char *key = (const char *)at->key.p;

		if (at->deleted)
			rocksdb_writebatch_delete(r->out, key, at->key.len);
		else
			rocksdb_writebatch_put(r->out, key, at->key.len, (const char *)at->value.p,
			                       at->value.len);
	}
	rocksdb_write(r->db, r->write, r->out, &text);
	if (text != NULL)
		return take_error(r, text, err);
	kvmap_clear(&r->batch);
	r->unflushed = true;
	return 0;
}

static void rocks_rollback(struct store_engine *e)
{
	kvmap_clear(&rocks_of(e)->batch);
}

static uint64_t rocks_batch_bytes(struct store_engine *e)
{
	return rocks_of(e)->batch.bytes;
}

static int rocks_flush(struct store_engine *e, struct rfs_err *err)
{
	struct engine_rocks *r = rocks_of(e);
	char *text = NULL;

	if (!r->unflushed)
		return 0;
	rocksdb_flush(r->db, r->flush, &text);
	if (text != NULL)
		return take_error(r, text, err);
	r->unflushed = false;
	return 0;
}

/* RocksDB locks by itself, and `unflushed` is the owner's: at worst close flushes once more. */
static int rocks_flush_beside(struct store_engine *e, struct rfs_err *err)
{
	struct engine_rocks *r = rocks_of(e);
	char *text = NULL;

	rocksdb_flush(r->db, r->flush, &text);
	return take_error(r, text, err);
}

/* Deleted records are only marks until they meet what they hide; a compaction of all levels brings them
 * down to it. Tables that nothing was deleted from stay as they are. */
static void rocks_reclaim(struct store_engine *e)
{
	rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();

	rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
	rocksdb_compact_range_opt(rocks_of(e)->db, o, NULL, 0, NULL, 0);
	rocksdb_compactoptions_destroy(o);
}

static void rocks_reclaim_stop(struct store_engine *e)
{
	rocksdb_disable_manual_compaction(rocks_of(e)->db);
}

/* ---- iterators ---- */

/* The first key behind all that start with prefix; false if there is none. */
static bool successor(uint8_t *p, size_t len)
{
	while (len > 0 && p[len - 1] == 0xff)
		p[--len] = 0;
	if (len == 0)
		return false;
	p[len - 1]++;
	return true;
}

static struct engine_iter *iter_new(struct engine_rocks *r, struct engine_bytes prefix)
{
	struct engine_iter *it = mem_zalloc(sizeof(*it) + 2 * prefix.len);

	it->r = r;
	it->prefix_len = prefix.len;
	it->bound = it->prefix + prefix.len;
	if (prefix.len > 0) {
		memcpy(it->prefix, prefix.p, prefix.len);
		memcpy(it->bound, prefix.p, prefix.len);
	}
	it->read = rocksdb_readoptions_create();
	if (successor(it->bound, prefix.len))
		rocksdb_readoptions_set_iterate_upper_bound(it->read, (const char *)it->bound,
		                                            prefix.len);
	return it;
}

static void iter_start(struct engine_iter *it, struct engine_bytes from)
{
	it->db = rocksdb_create_iterator(it->r->db, it->read);
	if (from.len > 0)
		rocksdb_iter_seek(it->db, (const char *)from.p, from.len);
	else
		rocksdb_iter_seek_to_first(it->db);
}

static struct engine_iter *rocks_iter_open(struct store_engine *e, struct engine_bytes prefix,
                                           struct engine_bytes from)
{
	struct engine_iter *it = iter_new(rocks_of(e), prefix);

	iter_start(it, from);
	it->batch = kvmap_seek(&it->r->batch, from);
	return it;
}

/* What db stands on: 1, 0 at the end, or an error. */
static int db_peek(struct engine_iter *it, struct engine_bytes *key, struct rfs_err *err)
{
	char *text = NULL;

	if (it->step)
		rocksdb_iter_next(it->db);
	it->step = false;
	if (rocksdb_iter_valid(it->db)) {
		key->p = (const uint8_t *)rocksdb_iter_key(it->db, &key->len);
		return engine_bytes_starts(*key, (struct engine_bytes){it->prefix, it->prefix_len});
	}
	rocksdb_iter_get_error(it->db, &text);
	return take_error(it->r, text, err);
}

static int rocks_iter_next(struct engine_iter *it, struct engine_bytes *key,
                           struct engine_bytes *value, struct rfs_err *err)
{
	const struct engine_bytes prefix = {it->prefix, it->prefix_len};

	for (;;) {
		const struct kvmap_entry *top = it->batch;
		int have = db_peek(it, key, err), order;

		if (have < 0)
			return have;
		if (top != NULL && !engine_bytes_starts(top->key, prefix))
			top = NULL;
		if (top == NULL && have == 0)
			return 0;
		order = top == NULL ? 1 : have == 0 ? -1 : engine_bytes_cmp(top->key, *key);
		if (order > 0) {
			value->p = (const uint8_t *)rocksdb_iter_value(it->db, &value->len);
			it->step = true;
			return 1;
		}
		it->step = order == 0; /* the batch hides it */
		it->batch = kvmap_next(top);
		if (!top->deleted) {
			*key = top->key;
			*value = top->value;
			return 1;
		}
	}
}

static void rocks_iter_close(struct engine_iter *it)
{
	rocksdb_iter_destroy(it->db);
	rocksdb_readoptions_destroy(it->read);
	free(it);
}

/* ---- views ---- */

static struct engine_view *rocks_view_open(struct store_engine *e)
{
	struct engine_view *v = mem_zalloc(sizeof(*v));

	v->r = rocks_of(e);
	v->snapshot = rocksdb_create_snapshot(v->r->db);
	return v;
}

static struct engine_iter *rocks_view_iter(struct engine_view *v, struct engine_bytes from)
{
	struct engine_iter *it = iter_new(v->r, (struct engine_bytes){0});

	rocksdb_readoptions_set_snapshot(it->read, v->snapshot);
	rocksdb_readoptions_set_fill_cache(it->read, 0); /* it is for what clients read */
	iter_start(it, from);
	return it;
}

static void rocks_view_close(struct engine_view *v)
{
	rocksdb_release_snapshot(v->r->db, v->snapshot);
	free(v);
}

/* ---- open and close ---- */

static void free_all(struct engine_rocks *r)
{
	unpin(r);
	if (r->db != NULL)
		rocksdb_close(r->db);
	if (r->out != NULL)
		rocksdb_writebatch_destroy(r->out);
	rocksdb_flushoptions_destroy(r->flush);
	rocksdb_writeoptions_destroy(r->write);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_block_based_options_destroy(r->table);
	rocksdb_options_destroy(r->options);
	rocksdb_cache_destroy(r->cache);
	kvmap_clear(&r->batch);
	free(r->dir);
	free(r);
}

static void rocks_close(struct store_engine *e)
{
	struct rfs_err err = {0};

	if (rocks_flush(e, &err) != 0)
		log_warn("%s (at close; the log has it)", err.msg);
	free_all(rocks_of(e));
}

static const struct engine_vtable rocks_vtable = {
        .get = rocks_get,
        .put = rocks_put,
        .del = rocks_del,
        .commit = rocks_commit,
        .rollback = rocks_rollback,
        .batch_bytes = rocks_batch_bytes,
        .flush = rocks_flush,
        .flush_beside = rocks_flush_beside,
        .reclaim = rocks_reclaim,
        .reclaim_stop = rocks_reclaim_stop,
        .iter_open = rocks_iter_open,
        .iter_next = rocks_iter_next,
        .iter_close = rocks_iter_close,
        .view_open = rocks_view_open,
        .view_iter = rocks_view_iter,
        .view_close = rocks_view_close,
        .close = rocks_close,
};

/* After an ENOSPC RocksDB takes writes again, by itself and within some seconds, as soon as there
 * is room for all write buffers (SstFileManager's reserve); so they must be small on a small disk.
 */
static size_t write_buffer_bytes(const char *dir)
{
	struct statvfs st;
	uint64_t bytes;

	if (statvfs(dir, &st) != 0)
		return WRITE_BUFFER_BYTES_MAX;
	bytes = (uint64_t)st.f_blocks * st.f_frsize / WRITE_BUFFER_SHARE;
	if (bytes < WRITE_BUFFER_BYTES_MIN)
		return WRITE_BUFFER_BYTES_MIN;
	return bytes < WRITE_BUFFER_BYTES_MAX ? (size_t)bytes : WRITE_BUFFER_BYTES_MAX;
}

/* A compaction needs room for all that it writes before it gives any back. On a small disk tables and
 * levels are small, so that it is always a small piece of the whole that is rewritten at a time; and
 * nothing is set aside in steps that would be a good part of the disk. */
static void set_small(rocksdb_options_t *o, size_t write_buffer)
{
	size_t table = write_buffer / 4 > TABLE_BYTES_MIN ? write_buffer / 4 : TABLE_BYTES_MIN;

	if (write_buffer == WRITE_BUFFER_BYTES_MAX)
		return;
	rocksdb_options_set_target_file_size_base(o, table);
	rocksdb_options_set_max_compaction_bytes(o, SMALL_COMPACTION_TABLES * table);
	rocksdb_options_set_level0_file_num_compaction_trigger(o, 2);
	rocksdb_options_set_max_bytes_for_level_base(o, 2 * write_buffer);
	rocksdb_options_set_manifest_preallocation_size(o, MANIFEST_BYTES_SMALL / 16);
	rocksdb_options_set_max_manifest_file_size(o, MANIFEST_BYTES_SMALL);
	rocksdb_options_set_max_log_file_size(o, MANIFEST_BYTES_SMALL / 4);
}

static void set_options(struct engine_rocks *r)
{
	size_t write_buffer = write_buffer_bytes(r->dir);

	r->options = rocksdb_options_create();
	rocksdb_options_set_create_if_missing(r->options, 1);
	rocksdb_options_set_paranoid_checks(r->options, 1);
	rocksdb_options_set_write_buffer_size(r->options, write_buffer);
	set_small(r->options, write_buffer);
	rocksdb_options_set_max_write_buffer_number(r->options, WRITE_BUFFERS);
	rocksdb_options_set_max_background_jobs(r->options, BACKGROUND_JOBS);
	rocksdb_options_set_max_open_files(r->options, OPEN_FILES_MAX);
	rocksdb_options_set_info_log_level(r->options, INFO_LOG_HEADER);
	rocksdb_options_set_keep_log_file_num(r->options, INFO_LOG_FILES);
	rocksdb_options_set_stats_dump_period_sec(r->options, 0);
	rocksdb_options_set_stats_persist_period_sec(r->options, 0);
	rocksdb_options_set_compression(r->options, rocksdb_lz4_compression);
	rocksdb_options_set_block_based_table_factory(r->options, r->table);
}

static struct engine_rocks *rocks_new(const char *dir)
{
	struct engine_rocks *r = mem_zalloc(sizeof(*r));

	r->base.vt = &rocks_vtable;
	r->dir = mem_strdup(dir);
	kvmap_init(&r->batch);
	r->cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
	r->table = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(r->table, r->cache);
	/* the table owns its filter policy */
	rocksdb_block_based_options_set_filter_policy(
	        r->table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
	r->read = rocksdb_readoptions_create();
	r->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(r->write, 1);
	r->flush = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(r->flush, 1);
	r->out = rocksdb_writebatch_create();
	set_options(r);
	return r;
}

/* RocksDB would make a new, empty database where CURRENT is missing. With table files lying there
 * that is the loss of everything, not a new store. */
static int refuse_lost_current(const char *dir, struct rfs_err *err)
{
	bool tables = false, current = false;
	struct dirent *d;
	DIR *dp = opendir(dir);

	if (dp == NULL)
		return 0; /* RocksDB makes it, or says why not */
	while ((d = readdir(dp)) != NULL) {
		const char *dot = strrchr(d->d_name, '.');

		tables |= dot != NULL && strcmp(dot, ".sst") == 0;
		current |= strcmp(d->d_name, "CURRENT") == 0;
	}
	closedir(dp);
	if (tables && !current)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "store %s: there are table files, but CURRENT is missing", dir);
	return 0;
}

int engine_rocks_open(struct store_engine **out, const char *dir, struct rfs_err *err)
{
	struct engine_rocks *r;
	char *text = NULL;
	int rc = refuse_lost_current(dir, err);

	if (rc != 0)
		return rc;
	(void)mkdir(dir, 0700); /* if it is missing; RocksDB says what is wrong */
	r = rocks_new(dir);
	r->db = rocksdb_open(r->options, dir, &text);
	if (text != NULL && strstr(text, "not linked") != NULL) { /* a RocksDB built without LZ4 */
		rocksdb_free(text);
		text = NULL;
		rocksdb_options_set_compression(r->options, rocksdb_no_compression);
		r->db = rocksdb_open(r->options, dir, &text);
	}
	if (text != NULL) {
		r->db = NULL;
		rc = take_error(r, text, err);
		free_all(r);
		return rc;
	}
	*out = &r->base;
	return 0;
}

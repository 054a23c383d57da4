/* A fresh store out of a snapshot's chunks. */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "chunk.h"
#include "kvmap.h"
#include "store_priv.h"

#define IMPORT_MAGIC 0x494d504fu

struct store_import {
	uint32_t magic;
	char *dir; /* of the store that it will replace; NULL: on a caller's engine */
	struct store_engine *e;
	struct rfs_err fail; /* sticks */

	uint64_t next; /* chunk */
	uint32_t link;
	bool ended;
	struct chunk_head head;
	struct record_key last; /* key; records come in order */
	struct chunk_totals totals;
	struct store_counts counts; /* found in the records */
	uint64_t ino_max;
	uint32_t version, version_max; /* the cluster's; what may be taken */
};

/* ---- begin and end ---- */

static const char *name_of(const struct store_import *im)
{
	return im->dir != NULL ? im->dir : "in memory";
}

static int check_empty(struct store_engine *e, struct rfs_err *err)
{
	const struct engine_bytes all = {0};
	struct engine_iter *it = e->vt->iter_open(e, all, all);
	struct engine_bytes key, value;
	int rc = e->vt->iter_next(it, &key, &value, err);

	e->vt->iter_close(it);
	return rc > 0 ? rfs_err_set(err, -EEXIST, "a snapshot needs an empty engine") : rc;
}

static int open_fresh(struct store_import *im, struct rfs_err *err)
{
	char path[STORE_PATH_MAX];
	int rc = store_place_path(im->dir, STORE_PLACE_IMPORT, path, err);

	if (rc == 0)
		rc = store_place_remove(im->dir, STORE_PLACE_IMPORT, err);
	if (rc == 0)
		rc = store_place_remove(im->dir, STORE_PLACE_NEW, err);
	return rc == 0 ? engine_rocks_open(&im->e, path, err) : rc;
}

static void free_import(struct store_import *im)
{
	im->magic = 0;
	free(im->dir);
	free(im);
}

int store_import_begin(struct store_import **out, const char *dir, const struct store_opts *opts,
                       struct rfs_err *err)
{
	struct store_import *im = mem_zalloc(sizeof(*im));
	int rc;

	RFS_MAGIC_SET(im, IMPORT_MAGIC);
	rfs_check(!opts->memory || opts->engine != NULL);
	im->version = FS_VERSION_MIN;
	im->version_max = opts->version_max != 0 ? opts->version_max : FS_VERSION_MAX;
	im->e = opts->engine;
	im->dir = im->e == NULL ? mem_strdup(dir) : NULL;
	rc = im->e != NULL ? check_empty(im->e, err) : open_fresh(im, err);
	if (rc != 0) {
		free_import(im);
		return rc;
	}
	*out = im;
	return 0;
}

void store_import_abandon(struct store_import *im)
{
	if (im == NULL)
		return;
	RFS_MAGIC_CHECK(im, IMPORT_MAGIC);
	im->e->vt->rollback(im->e);
	if (im->dir != NULL) {
		im->e->vt->close(im->e);
		/* what cannot be removed now is removed by the next import or open */
		(void)store_place_remove(im->dir, STORE_PLACE_IMPORT, NULL);
	}
	free_import(im);
}

uint64_t store_import_next(const struct store_import *im)
{
	return im->next;
}

const struct store_snapshot_info *store_import_info(const struct store_import *im)
{
	return im->next > 0 ? &im->head.info : NULL;
}

/* ---- chunks ---- */

/* Nothing that comes later can mend this. */
static int spoil(struct store_import *im, int code, const char *what)
{
	return rfs_err_set(&im->fail, code, "snapshot for store %s, chunk %llu: %s", name_of(im),
	                   (unsigned long long)im->next, what);
}

static int take_head(struct store_import *im, struct engine_bytes body)
{
	const char *bad = chunk_get_head(body, &im->head);

	if (bad != NULL)
		return spoil(im, RFS_ECORRUPT, bad);
	if (im->head.stream_version != CHUNK_STREAM_VERSION)
		return spoil(im, RFS_EVERSION, "another version of the chunks' format");
	if (im->head.store_version < STORE_FORMAT_MIN || im->head.store_version > STORE_FORMAT_MAX)
		return spoil(im, RFS_EVERSION, "another version of the store's format");
	return 0;
}

static const char *count(struct store_import *im, const struct record_key_parts *key,
                         struct engine_bytes value)
{
	struct record_linger gone;
	struct record_inode n;
	const char *bad;

	if (key->kind == RECORD_VERSION)
		return record_get_version(value, &im->version);
	if (key->kind == RECORD_SESSION)
		im->counts.sessions++;
	if (key->kind == RECORD_LINGER) { /* which the counts leave out */
		bad = record_get_linger(value, &gone);
		im->counts.inodes--;
		im->counts.bytes -= bad == NULL ? gone.bytes : 0;
		return bad;
	}
	if (key->kind != RECORD_INODE)
		return NULL;
	bad = record_get_inode(value, key->first, &n);
	if (bad != NULL)
		return bad;
	im->counts.inodes++;
	if (S_ISREG(n.attr.mode))
		im->counts.bytes += n.attr.size;
	if (key->first > im->ino_max)
		im->ino_max = key->first;
	return NULL;
}

static const char *check_record(struct store_import *im, struct engine_bytes key,
                                struct engine_bytes value)
{
	struct record_key_parts parts;
	const char *bad = record_key_parse(key, &parts);

	if (bad != NULL)
		return bad;
	if (parts.kind == RECORD_META)
		return "a record of the store itself";
	if (engine_bytes_cmp(record_key_bytes(&im->last), key) >= 0)
		return "a record out of order";
	return count(im, &parts, value);
}

static int take_records(struct store_import *im, struct engine_bytes body)
{
	struct reader r = reader_of(body.p, body.len);
	struct engine_bytes key, value;
	const char *bad;

	while (chunk_get_record(&r, &key, &value)) {
		bad = check_record(im, key, value);
		if (bad != NULL)
			return spoil(im, RFS_ECORRUPT, bad);
		if (im->version > im->version_max)
			return rfs_err_set(&im->fail, RFS_EVERSION,
			                   "snapshot for store %s: the cluster speaks protocol "
			                   "version %u, this node at most %u",
			                   name_of(im), im->version, im->version_max);
		memcpy(im->last.p, key.p, key.len);
		im->last.len = (uint8_t)key.len;
		chunk_add_record(&im->totals, key, value);
		if (im->e->vt->put(im->e, key, value, &im->fail) < 0)
			return im->fail.code;
	}
	if (r.bad)
		return spoil(im, RFS_ECORRUPT, "records that do not fill it");
	return im->e->vt->commit(im->e, &im->fail);
}

static const char *compare(const struct store_import *im, const struct chunk_totals *said)
{
	const struct store_counts *want = &im->head.info.counts;

	if (said->records != im->totals.records || said->bytes != im->totals.bytes)
		return "not as many records as were sent";
	if (im->totals.digest != im->head.info.digest || said->digest != im->totals.digest)
		return "the records do not give the digest";
	if (record_format_of(im->version) != im->head.store_version)
		return "the cluster's version does not go with the format";
	if (im->counts.inodes != want->inodes || im->counts.bytes != want->bytes ||
	    im->counts.sessions != want->sessions)
		return "the records do not give the counts";
	return im->ino_max < im->head.next_ino ? NULL : "an inode above the next number";
}

static int take_end(struct store_import *im, struct engine_bytes body)
{
	struct chunk_totals said;
	const char *bad = chunk_get_totals(body, &said);

	if (bad == NULL)
		bad = compare(im, &said);
	if (bad != NULL)
		return spoil(im, RFS_ECORRUPT, bad);
	im->ended = true;
	return 0;
}

static int take(struct store_import *im, const struct chunk *c)
{
	if ((c->kind == CHUNK_HEAD) != (im->next == 0))
		return spoil(im, RFS_ECORRUPT, "the head is missing or comes twice");
	switch ((enum chunk_kind)c->kind) {
	case CHUNK_HEAD: return take_head(im, c->body);
	case CHUNK_RECORDS: return take_records(im, c->body);
	case CHUNK_END: return take_end(im, c->body);
	}
	return spoil(im, RFS_ECORRUPT, "unknown kind of chunk");
}

int store_import_chunk(struct store_import *im, const void *p, size_t n, struct rfs_err *err)
{
	struct chunk c;
	const char *bad;

	RFS_MAGIC_CHECK(im, IMPORT_MAGIC);
	if (im->fail.code == 0) {
		bad = chunk_get(p, n, &c);
		if (bad != NULL)
			return rfs_err_set(err, RFS_ECORRUPT,
			                   "snapshot for store %s, chunk %llu: %s", name_of(im),
			                   (unsigned long long)im->next, bad);
		if (im->ended || c.seq != im->next || c.link != im->link)
			return rfs_err_set(err, RFS_EPROTO,
			                   "snapshot for store %s: chunk %llu does not follow "
			                   "here; the next is %llu",
			                   name_of(im), (unsigned long long)c.seq,
			                   (unsigned long long)im->next);
	}
	if (im->fail.code != 0 || take(im, &c) != 0) {
		if (err != NULL)
			*err = im->fail;
		return im->fail.code;
	}
	im->next++;
	im->link = c.crc;
	return im->ended ? 1 : 0;
}

/* ---- finish ---- */

/* The record of the store itself comes last, so that a store without the rest is none. */
static int put_meta(struct store_import *im, struct rfs_err *err)
{
	const struct store_snapshot_info *info = &im->head.info;
	struct record_meta m = {
	        .version = im->head.store_version,
	        .applied = info->pos,
	        .digest = info->digest,
	        .next_ino = im->head.next_ino,
	        .counts = info->counts,
	        .installed = info->pos,
	};
	struct record_key k = record_key_meta();
	struct buf b;
	int rc;

	buf_init(&b);
	record_put_meta(&b, &m);
	rc = im->e->vt->put(im->e, record_key_bytes(&k), (struct engine_bytes){b.data, b.len}, err);
	if (rc == 0)
		rc = im->e->vt->commit(im->e, err);
	if (rc == 0)
		rc = im->e->vt->flush(im->e, err);
	buf_free(&b);
	return rc;
}

int store_import_finish(struct store_import *im, struct rfs_err *err)
{
	int rc = im->fail.code;

	RFS_MAGIC_CHECK(im, IMPORT_MAGIC);
	if (rc != 0 && err != NULL)
		*err = im->fail;
	if (rc == 0 && !im->ended)
		rc = rfs_err_set(err, -EINVAL, "snapshot for store %s: it ends at chunk %llu",
		                 name_of(im), (unsigned long long)im->next);
	if (rc == 0)
		rc = put_meta(im, err);
	if (rc != 0) {
		store_import_abandon(im);
		return rc;
	}
	if (im->dir != NULL) {
		im->e->vt->close(im->e);
		rc = store_place_finish(im->dir, err);
		if (rc != 0)
			(void)store_place_remove(im->dir, STORE_PLACE_IMPORT, NULL);
	}
	free_import(im);
	return rc;
}

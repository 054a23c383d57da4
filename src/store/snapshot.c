/* A store's records as chunks. Nothing is kept open between chunks but the view: each begins by
 * seeking its first key, so going back is the same as going on. */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "chunk.h"
#include "store_priv.h"

#define SNAPSHOT_MAGIC 0x534e4150u

/* Where a chunk begins, and what stands before it. */
struct mark {
	enum chunk_kind kind;
	struct record_key from; /* CHUNK_RECORDS */
	uint32_t link;
	struct chunk_totals before;
};

struct store_snapshot {
	uint32_t magic;
	struct store *s;
	char *name; /* for messages */
	struct engine_view *view;
	const struct engine_vtable *vt;
	size_t chunk_bytes;
	struct chunk_head head;
	struct mark *marks; /* of the chunks that were given, and of the next unless that was all */
	size_t n_marks, marks_cap;
	uint64_t seq, given; /* the next one to give; as many were, at least once */
};

/* ---- open and close ---- */

static struct mark *add_mark(struct store_snapshot *sn)
{
	sn->marks = mem_grow(sn->marks, &sn->marks_cap, sn->n_marks + 1, sizeof(*sn->marks));
	sn->marks[sn->n_marks] = (struct mark){0};
	return &sn->marks[sn->n_marks++];
}

int store_snapshot_open(struct store *s, size_t chunk_bytes, struct store_snapshot **out,
                        struct rfs_err *err)
{
	struct store_snapshot *sn;
	int rc = store_commit(s, err);

	if (rc != 0)
		return rc;
	rfs_check(chunk_bytes <= STORE_SNAPSHOT_CHUNK_BYTES_MAX);
	sn = mem_zalloc(sizeof(*sn));
	RFS_MAGIC_SET(sn, SNAPSHOT_MAGIC);
	sn->s = s;
	sn->name = mem_strdup(s->dir != NULL ? s->dir : "in memory");
	sn->vt = s->e->vt;
	sn->view = sn->vt->view_open(s->e);
	sn->chunk_bytes = chunk_bytes != 0 ? chunk_bytes : STORE_SNAPSHOT_CHUNK_BYTES_MAX;
	sn->head = (struct chunk_head){
	        .stream_version = CHUNK_STREAM_VERSION,
	        .store_version = s->m.version,
	        .info = {s->m.applied, s->m.digest, s->m.counts},
	        .next_ino = s->m.next_ino,
	};
	add_mark(sn)->kind = CHUNK_HEAD;
	s->snapshots++;
	*out = sn;
	return 0;
}

void store_snapshot_close(struct store_snapshot *sn)
{
	if (sn == NULL)
		return;
	RFS_MAGIC_CHECK(sn, SNAPSHOT_MAGIC);
	rfs_check(sn->s->snapshots > 0);
	sn->s->snapshots--;
	sn->vt->view_close(sn->view);
	free(sn->marks);
	free(sn->name);
	sn->magic = 0;
	free(sn);
}

const struct store_snapshot_info *store_snapshot_info(const struct store_snapshot *sn)
{
	return &sn->head.info;
}

/* ---- chunks ---- */

static int damaged(const struct store_snapshot *sn, const char *what, struct rfs_err *err)
{
	return rfs_err_set(err, RFS_ECORRUPT, "store %s: %s, found while making a snapshot",
	                   sn->name, what);
}

/* Whether a record ends the chunk before it, which has room for at least one. */
static bool is_full(const struct store_snapshot *sn, const struct buf *out, size_t n, bool empty)
{
	size_t max = empty ? STORE_SNAPSHOT_CHUNK_BYTES_MAX : sn->chunk_bytes;

	return out->len + n + CHUNK_FRAME_BYTES - CHUNK_HEAD_BYTES > max;
}

/* Records from next->from on, as many as there is room for. Then `next` is where the next chunk
 * begins. */
static int put_records(struct store_snapshot *sn, struct buf *out, struct mark *next,
                       struct rfs_err *err)
{
	struct engine_iter *it = sn->vt->view_iter(sn->view, record_key_bytes(&next->from));
	struct engine_bytes key, value;
	bool empty = true;
	int rc;

	next->kind = CHUNK_END;
	while ((rc = sn->vt->iter_next(it, &key, &value, err)) > 0) {
		if (key.len == 0 || key.len > RECORD_KEY_MAX) {
			rc = damaged(sn, "a key of a wrong length", err);
			break;
		}
		if (key.p[0] == RECORD_META) /* the reader makes its own */
			continue;
		if (is_full(sn, out, chunk_record_bytes(key, value), empty)) {
			next->kind = CHUNK_RECORDS;
			next->from.len = (uint8_t)key.len;
			memcpy(next->from.p, key.p, key.len);
			rc = empty ? damaged(sn, "a record that is too long", err) : 0;
			break;
		}
		chunk_put_record(out, key, value);
		chunk_add_record(&next->before, key, value);
		empty = false;
	}
	sn->vt->iter_close(it);
	return rc;
}

static int put_body(struct store_snapshot *sn, struct buf *out, struct mark *next,
                    struct rfs_err *err)
{
	switch (next->kind) {
	case CHUNK_HEAD:
		chunk_put_head(out, &sn->head);
		next->kind = CHUNK_RECORDS;
		return 0;
	case CHUNK_RECORDS: return put_records(sn, out, next, err);
	case CHUNK_END:
		if (next->before.digest != sn->head.info.digest)
			return damaged(sn, "the records do not give the digest", err);
		chunk_put_totals(out, &next->before);
		return 0;
	}
	return 0;
}

int store_snapshot_next(struct store_snapshot *sn, struct buf *out, struct rfs_err *err)
{
	enum chunk_kind kind;
	struct mark next;
	int rc;

	RFS_MAGIC_CHECK(sn, SNAPSHOT_MAGIC);
	if (sn->seq == sn->n_marks)
		return 0;
	next = sn->marks[sn->seq];
	kind = next.kind;
	chunk_begin(out, kind, sn->seq, next.link);
	rc = put_body(sn, out, &next, err);
	if (rc != 0)
		return rc;
	next.link = chunk_end(out);
	sn->seq++;
	if (sn->given < sn->seq)
		sn->given = sn->seq;
	if (kind != CHUNK_END && sn->seq == sn->n_marks)
		*add_mark(sn) = next;
	return 1;
}

int store_snapshot_seek(struct store_snapshot *sn, uint64_t seq)
{
	RFS_MAGIC_CHECK(sn, SNAPSHOT_MAGIC);
	if (seq > sn->given)
		return -EINVAL;
	sn->seq = seq;
	return 0;
}

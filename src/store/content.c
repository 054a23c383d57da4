/* The chunks under a content's number, and those that are nobody's any more: whole contents, and what stands behind the
 * end of a file that was cut, where the file does not look.
 *
 * To take a record away it must be read, for the digest. So they are not freed by the command that lets go of them,
 * behind which everything would wait: the content's number goes into a queue, and commands take them away bit by bit,
 * those that a leader makes for it (TRIM) and, a little, all others. A command frees STORE_FREED_MAX chunks at most.
 *
 * The highest number is freed first, so that what stands in the records is the whole of the queue: every node frees
 * the same at the same entry, whenever it was started. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

struct freeing {
	uint64_t content;
	uint64_t weight;
	struct record_freeing r;
};

struct store_freeings {
	struct freeing *at; /* by number */
	size_t n, cap;
};

/* ---- chunks ---- */

struct doomed {
	uint64_t chunk, weight;
	size_t len;
};

static int find_chunks(struct store *s, uint64_t content, uint64_t from, uint64_t end,
                       uint64_t most, struct doomed **list, size_t *n)
{
	struct record_key prefix = record_prefix_of(RECORD_CHUNK, content),
	                  first = record_key_chunk(content, from);
	struct store_walk w;
	size_t cap = 0;
	int rc = 0;

	*list = NULL;
	*n = 0;
	store_walk_open(s, &w, &prefix, &first);
	while (*n < most && (rc = store_walk_next(s, &w)) > 0 && w.key.second < end) {
		*list = mem_grow(*list, &cap, *n + 1, sizeof(**list));
		(*list)[(*n)++] = (struct doomed){w.key.second, store_weight(w.key_bytes, w.value),
		                                  w.value.len};
	}
	store_walk_close(s, &w);
	return rc < 0 ? rc : 0;
}

int store_content_drop(struct store *s, uint64_t content, uint64_t from, uint64_t end,
                       uint64_t most, struct store_dropped *gone)
{
	struct doomed *list;
	size_t n;
	int rc = find_chunks(s, content, from, end, most, &list, &n);

	*gone = (struct store_dropped){.next = from};
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct record_key k = record_key_chunk(content, list[i].chunk);

		gone->chunks++;
		gone->blocks += (list[i].len + 511) / 512;
		gone->next = list[i].chunk + 1;
		rc = store_state_del(s, &k, list[i].weight);
	}
	s->freed += gone->chunks;
	free(list);
	return rc;
}

/* ---- the queue ---- */

/* Where `content` is, or would be. */
static size_t place_of(const struct store_freeings *q, uint64_t content)
{
	size_t low = 0, high = q->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (q->at[mid].content < content)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct freeing *find(const struct store *s, uint64_t content)
{
	struct store_freeings *q = s->freeings;
	size_t i = place_of(q, content);

	return i < q->n && q->at[i].content == content ? &q->at[i] : NULL;
}

bool store_content_is_freed(const struct store *s, uint64_t content)
{
	return find(s, content) != NULL;
}

uint64_t store_content_tail(const struct store *s, uint64_t content)
{
	const struct freeing *f = find(s, content);

	return f != NULL ? f->r.next : UINT64_MAX;
}

static int save(struct store *s, struct freeing *f)
{
	struct record_key k = record_key_freeing(f->content);

	buf_clear(&s->rec);
	record_put_freeing(&s->rec, &f->r);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, f->weight,
	                       &f->weight);
}

static void insert(struct store_freeings *q, const struct freeing *f)
{
	size_t i = place_of(q, f->content);

	q->at = mem_grow(q->at, &q->cap, q->n + 1, sizeof(*q->at));
	memmove(q->at + i + 1, q->at + i, (q->n - i) * sizeof(*q->at));
	q->at[i] = *f;
	q->n++;
}

/* Its chunks from `next` on wait; `ino`: the file that has those below, or 0. */
static int put(struct store *s, uint64_t content, uint64_t ino, uint64_t next)
{
	struct freeing *old = find(s, content), f = {.content = content};

	if (old == NULL)
		insert(s->freeings, &f);
	old = find(s, content);
	old->r = (struct record_freeing){.next = next, .ino = ino};
	return save(s, old);
}

bool store_content_goes_at_once(const struct store *s, uint64_t chunks)
{
	return s->version < STORE_FREEING_VERSION ||
	       (chunks <= s->freed_at_once && s->freed + chunks <= s->freed_max);
}

int store_content_free(struct store *s, uint64_t content, uint64_t chunks)
{
	const struct freeing *f = find(s, content);
	struct store_dropped gone;

	if (f != NULL && f->r.ino == 0)
		return store_fail(s, RFS_ECORRUPT, "content %llu is let go of twice",
		                  (unsigned long long)content);
	if (f == NULL && store_content_goes_at_once(s, chunks))
		return store_content_drop(s, content, 0, UINT64_MAX, UINT64_MAX, &gone);
	return put(s, content, 0, 0);
}

int store_content_cut(struct store *s, uint64_t content, uint64_t ino, uint64_t from)
{
	return put(s, content, ino, from);
}

int store_content_give(struct store *s, uint64_t content, uint64_t ino)
{
	struct freeing *f = find(s, content);

	if (f == NULL || f->r.ino == 0)
		return 0;
	f->r.ino = ino;
	return save(s, f);
}

uint64_t store_content_number(struct store *s, uint64_t ino)
{
	return store_content_is_freed(s, ino) ? s->m.next_ino++ : ino;
}

/* The file that was cut has so many blocks less. */
static int take_blocks(struct store *s, const struct freeing *f, uint64_t blocks)
{
	struct record_key k = record_key_freeing(f->content);
	struct store_inode n;
	int rc = store_inode_load(s, f->r.ino, -ENOENT, &n);

	if (rc == -ENOENT || (rc == 0 && n.content != f->content))
		return store_fail_record(s, record_key_bytes(&k), "not of the file that it says");
	if (rc != 0)
		return STORE_FAILED;
	n.attr.blocks -= blocks;
	return store_inode_save(s, &n);
}

/* A piece of the last one; it leaves the queue once nothing more is found. */
static int free_piece(struct store *s, uint64_t most)
{
	struct store_freeings *q = s->freeings;
	struct freeing *f = &q->at[q->n - 1];
	struct record_key k = record_key_freeing(f->content);
	struct store_dropped gone;

	if (store_content_drop(s, f->content, f->r.next, UINT64_MAX, most, &gone) != 0 ||
	    (f->r.ino != 0 && take_blocks(s, f, gone.blocks) != 0))
		return STORE_FAILED;
	f->r.next = gone.next;
	if (gone.chunks == most)
		return save(s, f);
	q->n--;
	return store_state_del(s, &k, f->weight);
}

int store_content_free_some(struct store *s, uint64_t most)
{
	uint64_t upto = s->freed + most < s->freed_max ? s->freed + most : s->freed_max;

	while (s->freeings->n > 0 && s->freed < upto)
		if (free_piece(s, upto - s->freed) != 0)
			return STORE_FAILED;
	return 0;
}

size_t store_contents_to_free(const struct store *s)
{
	return s->freeings->n;
}

/* ---- at open ---- */

int store_content_load_all(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_FREEING);
	struct store_walk w;
	const char *bad;
	int rc;

	s->freeings = mem_zalloc(sizeof(*s->freeings));
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		struct freeing f = {.content = w.key.first,
		                    .weight = store_weight(w.key_bytes, w.value)};

		bad = record_get_freeing(w.value, &f.r);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		insert(s->freeings, &f);
	}
	store_walk_close(s, &w);
	return rc;
}

void store_content_unload_all(struct store *s)
{
	if (s->freeings != NULL)
		free(s->freeings->at);
	free(s->freeings);
	s->freeings = NULL;
}

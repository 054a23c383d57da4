/* The chunks under a content's number, and the contents that are nobody's any more.
 *
 * To take a record away it must be read, for the digest. So a large content is not freed by the command that lets go
 * of it, behind which everything would wait: its number goes into a queue, and commands take it away bit by bit,
 * those that a leader makes for it (TRIM) and, a little, all others. A command frees STORE_FREED_MAX chunks at most.
 *
 * The highest number is freed first, so that what stands in the records is the whole of the queue: every node frees
 * the same at the same entry, whenever it was started. */
#include "store_priv.h"

#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

struct freeing {
	uint64_t content;
	uint64_t next; /* the chunks below are gone */
	uint64_t weight;
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

bool store_content_is_freed(const struct store *s, uint64_t content)
{
	const struct store_freeings *q = s->freeings;
	size_t i = place_of(q, content);

	return i < q->n && q->at[i].content == content;
}

static int save(struct store *s, struct freeing *f)
{
	struct record_key k = record_key_freeing(f->content);

	buf_clear(&s->rec);
	record_put_freeing(&s->rec, f->next);
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

int store_content_free(struct store *s, uint64_t content, uint64_t chunks)
{
	struct freeing f = {.content = content};
	struct store_dropped gone;
	bool at_once = chunks <= s->freed_at_once && s->freed + chunks <= s->freed_max;

	if (at_once || s->version < STORE_FREEING_VERSION)
		return store_content_drop(s, content, 0, UINT64_MAX, UINT64_MAX, &gone);
	if (store_content_is_freed(s, content))
		return store_fail(s, RFS_ECORRUPT, "content %llu is let go of twice",
		                  (unsigned long long)content);
	if (save(s, &f) != 0)
		return STORE_FAILED;
	insert(s->freeings, &f);
	return 0;
}

uint64_t store_content_number(struct store *s, uint64_t ino)
{
	return store_content_is_freed(s, ino) ? s->m.next_ino++ : ino;
}

/* A piece of the last one; it leaves the queue once nothing more is found. */
static int free_piece(struct store *s, uint64_t most)
{
	struct store_freeings *q = s->freeings;
	struct freeing *f = &q->at[q->n - 1];
	struct record_key k = record_key_freeing(f->content);
	struct store_dropped gone;

	if (store_content_drop(s, f->content, f->next, UINT64_MAX, most, &gone) != 0)
		return STORE_FAILED;
	f->next = gone.next;
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

		bad = record_get_freeing(w.value, &f.next);
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

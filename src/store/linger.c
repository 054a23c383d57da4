/* Files that have lost their last name linger for a while before they are freed. Another mount may have opened one
 * just before (a reader of a configuration that is replaced by rename), and no mount tells the others what it has
 * open; so its handle goes on reading what it opened, as on a local file system, for longer than a reader needs.
 *
 * They stand in a queue in the order in which they went, and leave it as commands are applied: by the time that
 * comes with the command, or because the queue is too long. So every node frees them at the same entry. The queue in
 * memory is rebuilt from the records at open. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/check.h"
#include "../base/mem.h"

struct lingering {
	uint64_t index, ordinal; /* of the entry, and within it */
	uint64_t weight;
	struct record_linger r;
};

struct store_lingerers {
	struct lingering *at;
	size_t head, n, cap; /* at[head … head + n) */
	uint64_t bytes;
};

static void enqueue(struct store *s, const struct lingering *l)
{
	struct store_lingerers *q = s->lingerers;

	if (q->head > 0 && q->head + q->n == q->cap) {
		memmove(q->at, q->at + q->head, q->n * sizeof(*q->at));
		q->head = 0;
	}
	q->at = mem_grow(q->at, &q->cap, q->head + q->n + 1, sizeof(*q->at));
	q->at[q->head + q->n++] = *l;
	q->bytes += l->r.bytes;
}

/* The order within one entry is part of the key: it must be the same after the queue is rebuilt. */
static uint64_t next_ordinal(const struct store *s)
{
	const struct store_lingerers *q = s->lingerers;
	const struct lingering *last = q->n > 0 ? &q->at[q->head + q->n - 1] : NULL;

	return last != NULL && last->index == s->pos.index ? last->ordinal + 1 : 0;
}

int store_linger(struct store *s, struct store_inode *n)
{
	struct lingering l = {
	        .index = s->pos.index,
	        .ordinal = next_ordinal(s),
	        .r = {.ino = n->attr.ino, .since_ns = s->now_ns, .bytes = n->attr.size},
	};
	struct record_key k = record_key_linger(l.index, l.ordinal);

	rfs_check(n->attr.nlink == 0);
	if (!S_ISREG(n->attr.mode))
		return store_inode_free(s, n);
	/* Nobody counts it any more; see free_first(). */
	store_quota_count(s, n->quota, -1, -(int64_t)l.r.bytes);
	n->quota = 0;
	if (store_inode_save(s, n) != 0)
		return STORE_FAILED;
	buf_clear(&s->rec);
	record_put_linger(&s->rec, &l.r);
	if (store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, 0, &l.weight) !=
	    0)
		return STORE_FAILED;
	enqueue(s, &l);
	return 0;
}

static int free_first(struct store *s)
{
	struct store_lingerers *q = s->lingerers;
	struct lingering l = q->at[q->head];
	struct record_key k = record_key_linger(l.index, l.ordinal);
	struct store_inode n;
	int rc = store_inode_load(s, l.r.ino, -ENOENT, &n);

	if (rc == -ENOENT || (rc == 0 && n.attr.nlink != 0))
		return store_fail_record(s, record_key_bytes(&k), "its inode is gone or has names");
	if (rc != 0)
		return STORE_FAILED;
	q->head++;
	q->n--;
	q->bytes -= l.r.bytes;
	/* Freeing takes it out of the counts, where it is no longer; what was written to it since still is. */
	store_quota_count(s, 0, 1, (int64_t)l.r.bytes);
	if (store_inode_free(s, &n) != 0)
		return STORE_FAILED;
	return store_state_del(s, &k, l.weight);
}

bool store_linger_is_due(const struct store *s, int64_t now_ns)
{
	const struct store_lingerers *q = s->lingerers;
	int64_t since_ns;

	if (q->n == 0)
		return false;
	since_ns = q->at[q->head].r.since_ns;
	return q->n > STORE_LINGER_INODES_MAX || q->bytes > STORE_LINGER_BYTES_MAX ||
	       (now_ns > since_ns && (uint64_t)(now_ns - since_ns) > STORE_LINGER_NS);
}

int store_linger_trim(struct store *s)
{
	for (unsigned i = 0; i < STORE_LINGER_FREED_MAX && store_linger_is_due(s, s->now_ns); i++)
		if (free_first(s) != 0)
			return STORE_FAILED;
	return 0;
}

int store_linger_trim_old(struct store *s, uint64_t age_ms)
{
	const struct store_lingerers *q = s->lingerers;
	uint64_t age_ns = age_ms < UINT64_MAX / 1000000 ? age_ms * 1000000 : UINT64_MAX;

	for (unsigned i = 0; i < STORE_LINGER_TRIMMED_MAX && q->n > 0; i++) {
		const struct lingering *first = &q->at[q->head];

		if (s->now_ns <= first->r.since_ns ||
		    (uint64_t)(s->now_ns - first->r.since_ns) < age_ns)
			break;
		if (free_first(s) != 0)
			return STORE_FAILED;
	}
	return 0;
}

uint64_t store_lingering(const struct store *s)
{
	return s->lingerers->n;
}

/* ---- at open ---- */

int store_linger_load_all(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_LINGER);
	struct lingering l;
	struct store_walk w;
	const char *bad;
	int rc;

	s->lingerers = mem_zalloc(sizeof(*s->lingerers));
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		l = (struct lingering){.index = w.key.first,
		                       .ordinal = w.key.second,
		                       .weight = store_weight(w.key_bytes, w.value)};
		bad = record_get_linger(w.value, &l.r);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		enqueue(s, &l);
	}
	store_walk_close(s, &w);
	return rc;
}

void store_linger_free_all(struct store *s)
{
	if (s->lingerers != NULL)
		free(s->lingerers->at);
	free(s->lingerers);
	s->lingerers = NULL;
}

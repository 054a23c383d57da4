/* The owner's side of the log: opening, the queue, the table of entries, the cache, reading. */
#include "wal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../base/buf.h"
#include "../base/check.h"
#include "../base/mem.h"
#include "wal_priv.h"

/* ---- opening and closing ---- */

static int check_opts(const char *dir, const struct wal_opts *o, struct rfs_err *err)
{
	if (strlen(dir) > WAL_DIR_BYTES_MAX || dir[0] == '\0')
		return rfs_err_set(err, -ENAMETOOLONG, "log directory: 1 to %u bytes, not %zu",
		                   WAL_DIR_BYTES_MAX, strlen(dir));
	if (o->segment_bytes < WAL_SEGMENT_BYTES_MIN || o->segment_bytes > WAL_SEGMENT_BYTES_MAX)
		return rfs_err_set(err, -EINVAL,
		                   "%s: segments of %" PRIu64 " bytes: %u to %u are possible", dir,
		                   o->segment_bytes, WAL_SEGMENT_BYTES_MIN, WAL_SEGMENT_BYTES_MAX);
	return 0;
}

static struct wal *wal_new(const char *dir, const struct wal_opts *o)
{
	struct wal *w = mem_zalloc(sizeof(*w));
	pthread_condattr_t attr;

	w->ops = o->ops != NULL ? o->ops : &file_ops_posix;
	memcpy(w->dir, dir, strlen(dir));
	w->identity = o->identity;
	w->segment_bytes =
	        (o->segment_bytes + WAL_BLOCK_BYTES - 1) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
	w->cache_bytes = o->cache_bytes;
	w->threaded = o->threaded;
	w->notify = o->notify;
	w->notify_ctx = o->notify_ctx;
	w->state_fd = w->spare_fd = -1;
	w->zeros = mem_zalloc(WAL_FILL_BYTES);
	(void)pthread_mutex_init(&w->mu, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->work, &attr);
	(void)pthread_condattr_destroy(&attr);
	return w;
}

static void wal_free(struct wal *w)
{
	for (struct chunk *c = w->head, *next; c != NULL; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	for (struct segment *s = w->dead, *next; s != NULL; s = next) {
		next = s->next_dead;
		segment_free(w, s);
	}
	for (size_t i = 0; i < w->n_segments; i++)
		segment_free(w, w->segments[i]);
	io_close(w, &w->state_fd);
	io_close(w, &w->spare_fd);
	(void)pthread_mutex_destroy(&w->mu);
	(void)pthread_cond_destroy(&w->work);
	free(w->segments);
	free(w->slots);
	free(w->read_buf);
	free(w->zeros);
	free(w);
}

static int open_dir(struct wal *w, const struct wal_identity *want, struct wal_recovered *rec,
                    struct rfs_err *err)
{
	struct wal_listing l;
	int rc;

	rc = dir_list(w, &l, err);
	if (rc == 0 && !l.identity) {
		rc = dir_make(w, &l, err);
		rec->created = rc == 0;
		dir_listing_free(&l);
		if (rc == 0)
			rc = dir_list(w, &l, err);
	}
	if (rc == 0)
		rc = identity_read(w, want, err);
	if (rc == 0)
		rc = state_read(w, &rec->state_mended, err);
	if (rc == 0)
		rc = wal_recover(w, &l, rec, err);
	dir_listing_free(&l);
	return rc;
}

int wal_open(struct wal **out, const char *dir, const struct wal_opts *opts,
             struct wal_recovered *rec, struct rfs_err *err)
{
	struct wal *w;
	int rc;

	*out = NULL;
	*rec = (struct wal_recovered){0};
	rc = check_opts(dir, opts, err);
	if (rc != 0)
		return rc;
	w = wal_new(dir, opts);
	rc = open_dir(w, &opts->identity, rec, err);
	if (rc != 0) {
		wal_free(w);
		return rc;
	}
	writer_start(w);
	*out = w;
	return 0;
}

/* All that was written is synced: so it can be told from a torn tail, whatever becomes of it. A log that
 * cannot be marked is as good as one that was not closed. */
static void mark_end(struct wal *w)
{
	struct rfs_err err = {0};

	if (w->done.error == 0 && w->batch == 0 &&
	    (w->state.end_segment != w->current->seq || w->state.end_offset != w->write_offset))
		(void)state_write(w, &err);
}

void wal_close(struct wal *w)
{
	if (w == NULL)
		return;
	writer_stop(w);
	mark_end(w);
	wal_free(w);
}

/* ---- the table ---- */

static struct slot *slot_at(const struct wal *w, raft_index index)
{
	if (index <= w->base.index || index > w->last.index)
		return NULL;
	return &w->slots[index - w->base.index - 1];
}

void table_put(struct wal *w, const struct slot *slot, raft_index index)
{
	rfs_check(index > w->base.index && index <= w->last.index + 1);
	w->n_slots = index - w->base.index - 1;
	w->slots = mem_grow(w->slots, &w->slots_cap, w->n_slots + 1, sizeof(*w->slots));
	w->slots[w->n_slots++] = *slot;
	w->last = (struct raft_pos){index, slot->term};
	if (index < slot->segment->index_min)
		slot->segment->index_min = index;
}

static raft_term term_before(const struct wal *w, raft_index index)
{
	const struct slot *s = slot_at(w, index - 1);

	return s != NULL ? s->term : w->base.term;
}

/* ---- cache ---- */

/* The entries of a chunk that is going away are on disk alone from now on. */
static void forget_chunk(struct wal *w, const struct chunk *c)
{
	size_t n;

	for (size_t i = 0; i < c->len; i += n) {
		struct slot *s = slot_at(w, get_le64(c->data + i + 8));

		n = wal_record_bytes(get_le32(c->data + i + 4));
		if (s != NULL && s->chunk == c)
			s->chunk = NULL;
	}
}

/* mu held. Unlink one chunk that need not stay; NULL if there is none. */
static struct chunk *evict_one(struct wal *w)
{
	struct chunk *c = w->head;

	if (c == NULL || c->state != CHUNK_DURABLE || w->cached_bytes <= w->cache_bytes)
		return NULL;
	w->head = c->next;
	if (w->head == NULL)
		w->tail = NULL;
	w->cached_bytes -= c->cap;
	return c;
}

static void evict(struct wal *w)
{
	struct chunk *c;

	for (;;) {
		(void)pthread_mutex_lock(&w->mu);
		c = evict_one(w);
		(void)pthread_mutex_unlock(&w->mu);
		if (c == NULL)
			return;
		forget_chunk(w, c);
		free(c->data);
		free(c);
	}
}

/* ---- appending ---- */

static struct segment *newest_segment(const struct wal *w)
{
	return w->segments[w->n_segments - 1];
}

/* Small segments are for small disks, and still a large entry has to go somewhere. */
static uint64_t segment_bytes_for(const struct wal *w, uint64_t n)
{
	uint64_t need =
	        (WAL_BLOCK_BYTES + n + WAL_BLOCK_BYTES - 1) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;

	return need > w->segment_bytes ? need : w->segment_bytes;
}

/* The segment in which a record of `n` bytes goes next. */
static struct segment *place(struct wal *w, uint64_t n)
{
	struct segment *s = newest_segment(w);

	if (w->place_offset + n <= s->size)
		return s;
	s = segment_new(s->seq + 1, segment_bytes_for(w, n), w->last);
	w->segments = mem_grow(w->segments, &w->segments_cap, w->n_segments + 1,
	                       sizeof(struct segment *));
	w->segments[w->n_segments++] = s;
	w->place_offset = WAL_BLOCK_BYTES;
	return s;
}

/* mu held. The chunk that takes `n` more bytes at the place. */
static struct chunk *chunk_for(struct wal *w, struct segment *s, size_t n)
{
	struct chunk *c = w->tail;

	if (c != NULL && c->state == CHUNK_OPEN && c->segment == s &&
	    c->len + n <= WAL_CHUNK_BYTES_MAX)
		return c;
	c = mem_zalloc(sizeof(*c));
	c->segment = s;
	c->offset = w->place_offset;
	if (w->tail != NULL)
		w->tail->next = c;
	else
		w->head = c;
	w->tail = c;
	if (w->unwritten == NULL)
		w->unwritten = c;
	return c;
}

static void append_one(struct wal *w, const struct raft_entry *e, uint64_t epoch)
{
	size_t n = wal_record_bytes(e->len);
	struct segment *s = place(w, n);
	struct chunk *c = chunk_for(w, s, n);
	struct slot slot = {.segment = s,
	                    .chunk = c,
	                    .term = e->pos.term,
	                    .offset = (uint32_t)w->place_offset,
	                    .len = e->len,
	                    .kind = e->kind};

	w->cached_bytes -= c->cap;
	c->data = mem_grow(c->data, &c->cap, c->len + n, 1);
	w->cached_bytes += c->cap;
	wal_record_put(c->data + c->len, e);
	c->len += n;
	c->epoch = epoch;
	c->last = e->pos;
	w->place_offset += n;
	table_put(w, &slot, e->pos.index);
}

static void check_entries(const struct wal *w, const struct raft_entry *e, size_t n)
{
	raft_term term = term_before(w, e[0].pos.index);

	rfs_check(e[0].pos.index > w->base.index && e[0].pos.index <= w->last.index + 1);
	for (size_t i = 0; i < n; i++) {
		rfs_check(e[i].pos.index == e[0].pos.index + i);
		rfs_check(e[i].pos.term >= term && e[i].pos.term <= w->term);
		rfs_check(e[i].len <= RAFT_ENTRY_BYTES_MAX);
		rfs_check(e[i].kind <= RAFT_ENTRY_KIND_MAX);
		term = e[i].pos.term;
	}
}

void wal_append(struct wal *w, const struct raft_entry *entries, size_t n, uint64_t epoch)
{
	if (n == 0)
		return;
	check_entries(w, entries, n);
	(void)pthread_mutex_lock(&w->mu);
	for (size_t i = 0; i < n; i++)
		append_one(w, &entries[i], epoch);
	(void)pthread_cond_signal(&w->work);
	(void)pthread_mutex_unlock(&w->mu);
	evict(w);
}

void wal_set_state(struct wal *w, raft_term term, raft_id vote, uint64_t epoch)
{
	rfs_check(term >= w->term);
	w->term = term;
	(void)pthread_mutex_lock(&w->mu);
	w->want_state = true;
	w->want_term = term;
	w->want_vote = vote;
	w->want_epoch = epoch;
	(void)pthread_cond_signal(&w->work);
	(void)pthread_mutex_unlock(&w->mu);
}

void wal_poll(struct wal *w, struct wal_done *done, struct rfs_err *err)
{
	(void)pthread_mutex_lock(&w->mu);
	*done = w->done;
	w->done.log = w->done.state = false;
	w->done.sync_us_max = 0;
	if (done->error != 0 && err != NULL)
		*err = w->err;
	(void)pthread_mutex_unlock(&w->mu);
	evict(w);
}

/* ---- reading ---- */

static const uint8_t *cached(const struct slot *s)
{
	return s->chunk->data + (s->offset - s->chunk->offset);
}

static int bad_record(const struct wal *w, const struct slot *s, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];

	wal_segment_name(s->segment->seq, name);
	return rfs_err_set(err, RFS_ECORRUPT,
	                   "%s/%s offset %u: the record is no longer what was written", w->dir,
	                   name, s->offset);
}

/* Check the record at `p`, just read from disk, against what the table says of it. */
static int check_record(const struct wal *w, const struct slot *s, raft_index index,
                        const uint8_t *p, struct rfs_err *err)
{
	struct wal_place at = {w->identity.incarnation, s->segment->seq, s->offset};
	uint64_t n = wal_record_bytes(s->len);
	struct wal_record r;

	if (!wal_record_head_get(p, n, &at, &r) || r.len != s->len || r.pos.index != index ||
	    r.pos.term != s->term || r.kind != (uint32_t)s->kind || !wal_record_payload_ok(p, &r))
		return bad_record(w, s, err);
	return 0;
}

/* How many of the `n` entries from slot `s` stand one after the other in one segment, on disk
 * alone. */
static size_t run_on_disk(const struct slot *s, size_t n, uint64_t *bytes)
{
	size_t i = 0;

	*bytes = 0;
	while (i < n && s[i].chunk == NULL && s[i].segment == s[0].segment &&
	       s[i].offset == s[0].offset + *bytes)
		*bytes += wal_record_bytes(s[i++].len);
	return i;
}

static int read_run(const struct wal *w, const struct slot *s, raft_index index, size_t n,
                    uint64_t bytes, uint8_t *p, struct raft_entry *out, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc;

	wal_segment_name(s->segment->seq, name);
	rc = io_read(w, s->segment->fd, name, p, bytes, s->offset, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = check_record(w, &s[i], index + i, p, err);
		out[i].data = p + WAL_RECORD_HEAD_BYTES;
		p += wal_record_bytes(s[i].len);
	}
	return rc;
}

static size_t choose_count(const struct wal *w, raft_index first, size_t max_n, uint64_t max_bytes,
                           uint64_t *disk_bytes)
{
	const struct slot *s = slot_at(w, first);
	uint64_t left = w->last.index - first + 1, sum = 0;
	size_t n = 0;

	*disk_bytes = 0;
	if (max_n > left)
		max_n = left;
	while (n < max_n && (n == 0 || s[n].len <= max_bytes - sum)) {
		sum = s[n].len < max_bytes - sum ? sum + s[n].len : max_bytes;
		if (s[n].chunk == NULL)
			*disk_bytes += wal_record_bytes(s[n].len);
		n++;
	}
	return n;
}

ssize_t wal_read(struct wal *w, raft_index first, size_t max_n, uint64_t max_bytes,
                 struct raft_entry *out, struct rfs_err *err)
{
	const struct slot *s = slot_at(w, first);
	uint64_t disk_bytes, run_bytes;
	uint8_t *p;
	size_t n, run;
	int rc;

	if (s == NULL || max_n == 0)
		return 0;
	n = choose_count(w, first, max_n, max_bytes, &disk_bytes);
	if (disk_bytes > 0)
		w->read_buf = mem_grow(w->read_buf, &w->read_cap, disk_bytes, 1);
	p = w->read_buf;
	for (size_t i = 0; i < n; i++)
		rfs_check(wal_entry_at(w, first + i, &out[i]));
	for (size_t i = 0; i < n; i += run) {
		run = 1;
		if (s[i].chunk != NULL) {
			out[i].data = cached(&s[i]) + WAL_RECORD_HEAD_BYTES;
			continue;
		}
		run = run_on_disk(&s[i], n - i, &run_bytes);
		rc = read_run(w, &s[i], first + i, run, run_bytes, p, &out[i], err);
		if (rc != 0)
			return rc;
		p += run_bytes;
	}
	return (ssize_t)n;
}

bool wal_entry_at(const struct wal *w, raft_index index, struct raft_entry *out)
{
	const struct slot *s = slot_at(w, index);

	if (s == NULL)
		return false;
	*out = (struct raft_entry){.pos = {index, s->term}, .kind = s->kind, .len = s->len};
	return true;
}

struct raft_pos wal_base(const struct wal *w)
{
	return w->base;
}

struct raft_pos wal_last(const struct wal *w)
{
	return w->last;
}

/* ---- cutting ---- */

/* How many of the oldest segments can go: the first that stays must be on disk, begin at or below
 * `upto`, and nothing from it on may replace an entry at or below its base. */
static size_t count_dead(struct wal *w, raft_index upto)
{
	raft_index index_min = UINT64_MAX;

	for (size_t i = w->n_segments; i-- > 1;) {
		const struct segment *s = w->segments[i];

		if (s->index_min < index_min)
			index_min = s->index_min;
		if (s->made && s->base.index <= upto && index_min > s->base.index)
			return i;
	}
	return 0;
}

int wal_cut(struct wal *w, raft_index upto, struct rfs_err *err)
{
	size_t n, gone;

	(void)err;
	(void)pthread_mutex_lock(&w->mu);
	n = count_dead(w, upto);
	for (size_t i = 0; i < n; i++) {
		if (w->dead_tail != NULL)
			w->dead_tail->next_dead = w->segments[i];
		else
			w->dead = w->segments[i];
		w->dead_tail = w->segments[i];
	}
	if (n > 0) {
		w->first_live = w->segments[n]->seq;
		(void)pthread_cond_signal(&w->work);
	}
	(void)pthread_mutex_unlock(&w->mu);
	if (n == 0)
		return 0;
	w->n_segments -= n;
	memmove(w->segments, w->segments + n, w->n_segments * sizeof(struct segment *));
	gone = w->segments[0]->base.index - w->base.index;
	rfs_check(gone <= w->n_slots);
	w->n_slots -= gone;
	if (w->n_slots > 0)
		memmove(w->slots, w->slots + gone, w->n_slots * sizeof(*w->slots));
	w->base = w->segments[0]->base;
	return 0;
}

void wal_get_syncs(struct wal *w, struct histogram *out)
{
	(void)pthread_mutex_lock(&w->mu);
	*out = w->syncs;
	(void)pthread_mutex_unlock(&w->mu);
}

uint64_t wal_disk_bytes(const struct wal *w)
{
	struct wal *u = (struct wal *)(uintptr_t)w;
	uint64_t bytes;

	(void)pthread_mutex_lock(&u->mu);
	bytes = w->disk_bytes;
	(void)pthread_mutex_unlock(&u->mu);
	return bytes;
}

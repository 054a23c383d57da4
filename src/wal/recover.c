/* Reading a log that somebody may have pulled the plug on. The algorithm, and why it is right,
 * stands in docs/wal-format.md, "Recovery"; the letters below are those of its step 5. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "wal_priv.h"

#define INDEX_MAX (UINT64_MAX / 2) /* so that an index can be counted on from */

struct replay {
	struct wal *w;
	struct wal_recovered *rec;
	struct rfs_err *err;
	struct segment *segment;
	char name[WAL_NAME_BYTES];
	uint8_t *data; /* the whole segment */
	size_t cap;
	uint64_t offset;   /* first place without a valid record */
	uint64_t batch;    /* of the last record of this segment, or 0 */
	uint64_t dirt_end; /* behind the last byte that is not zero, or `offset` */
};

static int damage(struct replay *p, uint64_t offset, const char *what)
{
	return rfs_err_set(p->err, RFS_ECORRUPT, "%s/%s offset %" PRIu64 ": %s", p->w->dir, p->name,
	                   offset, what);
}

/* ---- the segment as a whole ---- */

static int check_size(struct replay *p, uint64_t found, uint64_t want)
{
	return found == want ? 0
	                     : rfs_err_set(p->err, RFS_ECORRUPT,
	                                   "%s/%s: its size is %" PRIu64 ", it should be %" PRIu64,
	                                   p->w->dir, p->name, found, want);
}

static int check_head(struct replay *p, const struct wal_segment_head *h, uint64_t seq)
{
	struct wal *w = p->w;

	if (h->incarnation != w->identity.incarnation)
		return damage(p, 0, "this segment comes from another directory");
	if (h->seq != seq)
		return damage(p, 0, "this segment was written under another name");
	if (h->size < WAL_SEGMENT_BYTES_MIN || h->size > WAL_SEGMENT_BYTES_MAX ||
	    h->size % WAL_BLOCK_BYTES != 0)
		return damage(p, 0, "the segment's size makes no sense");
	if (h->base.index > INDEX_MAX)
		return damage(p, 0, "the segment's base makes no sense");
	if (w->n_segments == 0) {
		w->base = w->last = h->base;
		w->link = h->link;
		return 0;
	}
	if (h->base.index != w->last.index || h->base.term != w->last.term || h->link != w->link)
		return damage(p, 0, "this segment does not continue the one before it");
	return 0;
}

/* Open segment `seq`, check its head, and read all of it. */
static int load(struct replay *p, uint64_t seq)
{
	struct wal *w = p->w;
	struct wal_segment_head h;
	uint8_t head[WAL_HEAD_BYTES];
	uint64_t size = 0;
	int fd, rc;

	wal_segment_name(seq, p->name);
	rc = io_open(w, p->name, false, &fd, p->err);
	if (rc != 0)
		return rc;
	p->segment = segment_new(seq, 0, (struct raft_pos){0});
	p->segment->fd = fd;
	rc = io_size(w, fd, p->name, &size, p->err);
	if (rc == 0 && size < WAL_HEAD_BYTES)
		rc = check_size(p, size, w->segment_bytes);
	if (rc == 0)
		rc = io_read(w, fd, p->name, head, sizeof(head), 0, p->err);
	if (rc != 0)
		return rc;
	rc = wal_segment_get(head, &h);
	if (rc == RFS_EVERSION)
		return rfs_err_set(p->err, rc,
		                   "%s/%s: written in another version of the format; this is %u",
		                   w->dir, p->name, WAL_FORMAT_VERSION);
	if (rc != 0)
		return damage(p, 0, "the checksum of the segment's head does not match");
	rc = check_head(p, &h, seq);
	if (rc == 0)
		rc = check_size(p, size, h.size);
	if (rc != 0)
		return rc;
	p->segment->size = h.size;
	p->segment->base = h.base;
	p->data = mem_grow(p->data, &p->cap, h.size, 1);
	return io_read(w, fd, p->name, p->data, h.size, 0, p->err);
}

/* ---- records ---- */

static bool head_at(const struct replay *p, uint64_t offset, struct wal_record *r)
{
	struct wal_place at = {p->w->identity.incarnation, p->segment->seq, offset};

	return wal_record_head_get(p->data + offset, p->segment->size - offset, &at, r);
}

static raft_term term_at(const struct wal *w, raft_index index)
{
	return index == w->base.index ? w->base.term : w->slots[index - w->base.index - 1].term;
}

/* What a record with a good header checksum must also obey; NULL if it does. */
static const char *nonsense(const struct replay *p, uint64_t offset, const struct wal_record *r)
{
	const struct wal *w = p->w;

	if (r->len > RAFT_ENTRY_BYTES_MAX || offset + wal_record_bytes(r->len) > p->segment->size)
		return "a record's length makes no sense";
	if (r->kind > RAFT_ENTRY_KIND_MAX)
		return "a record's kind is unknown to this version of the program";
	if (r->link != w->link)
		return "a record does not continue the one before it";
	if (r->batch != offset && (r->batch == 0 || r->batch != p->batch))
		return "a record's batch makes no sense";
	if (r->pos.index <= w->base.index || r->pos.index > w->last.index + 1)
		return "a record's index makes no sense";
	if (r->pos.term < term_at(w, r->pos.index - 1))
		return "a record's term is older than the one before it";
	if (r->pos.term > w->state.term)
		return "a record's term is newer than the hard state";
	return NULL;
}

static void take(struct replay *p, const struct wal_record *r)
{
	struct wal *w = p->w;
	struct slot slot = {.segment = p->segment,
	                    .term = r->pos.term,
	                    .offset = (uint32_t)p->offset,
	                    .len = r->len,
	                    .kind = (enum raft_entry_kind)r->kind};

	table_put(w, &slot, r->pos.index);
	w->link = r->header_crc;
	p->batch = r->batch;
	p->offset += wal_record_bytes(r->len);
	p->rec->bytes += wal_record_bytes(r->len);
}

/* Take valid records up to the first place without one. */
static int take_all(struct replay *p)
{
	struct wal_record r;
	const char *wrong;

	while (p->offset < p->segment->size && head_at(p, p->offset, &r)) {
		wrong = nonsense(p, p->offset, &r);
		if (wrong != NULL)
			return damage(p, p->offset, wrong);
		if (!wal_record_payload_ok(p->data + p->offset, &r))
			break;
		take(p, &r);
	}
	return 0;
}

/* ---- the tail ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static uint64_t find_dirt_end(const struct replay *p)
{
	uint64_t end = p->segment->size;

	/* By blocks first: this mostly walks over the zeros that nothing was written to yet. */
	while (end - p->offset >= WAL_BLOCK_BYTES &&
	       all_zero(p->data + end - WAL_BLOCK_BYTES, WAL_BLOCK_BYTES))
		end -= WAL_BLOCK_BYTES;
	while (end > p->offset && p->data[end - 1] == 0)
		end--;
	return end;
}

/* (a) */
static bool later_batch_follows(const struct replay *p)
{
	struct wal_record r;

	for (uint64_t at = p->offset + 8; at + WAL_RECORD_HEAD_BYTES <= p->segment->size; at += 8) {
		if (at >= p->dirt_end)
			break;
		if (head_at(p, at, &r) && r.batch > p->offset)
			return true;
	}
	return false;
}

/* (c): a sector in [from, to) that is all zero from `from` on, or from its own begin. */
static bool lost_sector_in(const struct replay *p, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to && at < p->segment->size;) {
		uint64_t end = (at / WAL_SECTOR_BYTES + 1) * WAL_SECTOR_BYTES;

		if (all_zero(p->data + at, end - at))
			return true;
		at = end;
	}
	return false;
}

static bool looks_torn(const struct replay *p)
{
	uint64_t x = p->offset, head_end = x + WAL_RECORD_HEAD_BYTES, end;
	struct wal_record r;

	if (!head_at(p, x, &r))
		return p->dirt_end < head_end || lost_sector_in(p, x, head_end);
	end = x + wal_record_bytes(r.len);
	if (p->dirt_end < end)
		return true;
	head_end = (head_end + WAL_SECTOR_BYTES - 1) / WAL_SECTOR_BYTES * WAL_SECTOR_BYTES;
	return lost_sector_in(p, head_end, end);
}

static int check_tail(struct replay *p, bool newest)
{
	const struct wal_state_head *st = &p->w->state;

	p->dirt_end = find_dirt_end(p);
	if (newest && st->end_segment == p->segment->seq && p->offset < st->end_offset)
		return damage(p, p->offset, "no valid record here, where there was one");
	if (p->dirt_end == p->offset)
		return 0;
	if (!newest || later_batch_follows(p) || !looks_torn(p))
		return damage(p, p->offset, "no valid record here");
	p->rec->torn = true;
	(void)snprintf(p->rec->torn_text, sizeof(p->rec->torn_text), "%s offset %" PRIu64, p->name,
	               p->offset);
	return 0;
}

static int replay_segment(struct replay *p, uint64_t seq, bool newest)
{
	struct wal *w = p->w;
	int rc;

	p->segment = NULL;
	p->offset = WAL_BLOCK_BYTES;
	p->batch = 0;
	rc = load(p, seq);
	if (rc != 0) {
		segment_free(w, p->segment);
		p->segment = NULL;
		return rc;
	}
	p->segment->made = true;
	w->segments = mem_grow(w->segments, &w->segments_cap, w->n_segments + 1,
	                       sizeof(struct segment *));
	w->segments[w->n_segments++] = p->segment;
	rc = take_all(p);
	return rc == 0 ? check_tail(p, newest) : rc;
}

/* ---- all of it ---- */

/* All segments from the oldest to the newest that the state names must be there; older ones are
 * what a cut has not unlinked yet, and newer ones what was made but not yet named. */
static int check_sequence(struct wal *w, const struct wal_listing *l, struct rfs_err *err)
{
	uint64_t want = w->state.first;
	char name[WAL_NAME_BYTES];
	bool gap = false;

	for (size_t i = 0; i < l->n_seqs && !gap; i++) {
		gap = l->seqs[i] > want;
		want += l->seqs[i] == want;
	}
	if (!gap && want > w->state.segment && want > w->state.first)
		return 0;
	wal_segment_name(want, name);
	return rfs_err_set(err, RFS_ECORRUPT, "%s/%s: this segment of the log is missing", w->dir,
	                   name);
}

/* Segments that the log has: what lies further on than the next one is of a reset that did not take
 * effect. */
static size_t count_known(const struct wal *w, const struct wal_listing *l)
{
	size_t n = l->n_seqs;

	while (n > 0 && l->seqs[n - 1] > w->state.segment + 1)
		n--;
	return n;
}

/* `known` segments were listed that the log has or had. */
static int remove_strays(struct wal *w, const struct wal_listing *l, size_t known,
                         struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->n_seqs; i++) {
		if (i < known && l->seqs[i] >= w->state.first)
			continue;
		wal_segment_name(l->seqs[i], name);
		rc = io_unlink(w, name, err);
	}
	return rc;
}

/* Everything is checked; from here on the directory is changed. */
static int mend(struct replay *p, const struct wal_listing *l, size_t known)
{
	struct wal *w = p->w;
	uint64_t from = p->batch != 0 ? p->batch : p->offset;
	int rc;

	rfs_check(p->segment != NULL);
	w->state.segment = p->segment->seq;
	rc = state_write(w, p->err);
	memset(p->data + p->offset, 0, p->dirt_end - p->offset);
	if (rc == 0 && p->dirt_end > from)
		rc = io_write(w, p->segment->fd, p->name, p->data + from, p->dirt_end - from, from,
		              p->err);
	if (rc == 0 && p->dirt_end > from)
		rc = io_sync(w, p->segment->fd, p->name, p->err);
	if (rc == 0)
		rc = remove_strays(w, l, known, p->err);
	if (rc == 0)
		rc = dir_remove_temporary(w, l, p->err);
	return rc == 0 ? io_sync_dir(w, p->err) : rc;
}

static void say(struct wal *w, const struct replay *p, struct wal_recovered *rec)
{
	w->current = p->segment;
	w->write_offset = w->place_offset = p->offset;
	w->term = w->state.term;
	w->disk_bytes = WAL_STATE_BYTES + WAL_HEAD_BYTES;
	for (size_t i = 0; i < w->n_segments; i++)
		w->disk_bytes += w->segments[i]->size;
	rec->identity = w->identity;
	rec->term = w->state.term;
	rec->vote = w->state.vote;
	rec->base = w->base;
	rec->last = w->last;
	rec->segments = w->n_segments;
}

int wal_recover(struct wal *w, const struct wal_listing *l, struct wal_recovered *rec,
                struct rfs_err *err)
{
	struct replay p = {.w = w, .rec = rec, .err = err};
	struct wal_listing known = *l;
	int rc;

	known.n_seqs = count_known(w, l);
	rc = check_sequence(w, &known, err);
	for (size_t i = 0; rc == 0 && i < known.n_seqs; i++)
		if (known.seqs[i] >= w->state.first)
			rc = replay_segment(&p, known.seqs[i], i + 1 == known.n_seqs);
	if (rc == 0)
		rc = mend(&p, l, known.n_seqs);
	if (rc == 0)
		say(w, &p, rec);
	free(p.data);
	return rc;
}

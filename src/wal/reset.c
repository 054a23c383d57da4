/* Starting the log anew behind a snapshot. The new first segment gets a number that leaves a gap,
 * so that it is nobody's until the state names it; docs/wal-format.md, "Reset". */
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "wal_priv.h"

/* As large as one write fills: the caller waits for it. */
static uint64_t first_segment_bytes(const struct wal *w)
{
	return w->segment_bytes < WAL_FILL_BYTES ? w->segment_bytes : WAL_FILL_BYTES;
}

/* Old and new log, and what decides between them: the one write of the state in segment_make(). */
static int make_first(struct wal *w, struct segment *s, struct rfs_err *err)
{
	uint64_t first = w->state.first;
	bool no_room;
	int rc;

	spare_drop(w);
	w->state.first = s->seq;
	rc = segment_make(w, s, 0, &no_room, err);
	if (rc == 0)
		return 0;
	if (no_room) {
		w->state.first = first;
		return rc;
	}
	/* Whether it is there, only a recovery can say. */
	w->done.error = rc;
	w->err = *err;
	return rc;
}

static void drop_chunks(struct wal *w)
{
	for (struct chunk *c = w->head, *next; c != NULL; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	w->head = w->tail = w->unwritten = NULL;
	w->cached_bytes = 0;
}

/* Old segments that have files are for the writer to unlink. */
static void drop_segments(struct wal *w)
{
	for (size_t i = 0; i < w->n_segments; i++) {
		struct segment *s = w->segments[i];

		if (!s->made) {
			segment_free(w, s);
			continue;
		}
		if (w->dead_tail != NULL)
			w->dead_tail->next_dead = s;
		else
			w->dead = s;
		w->dead_tail = s;
	}
	w->n_segments = 0;
}

static void begin_with(struct wal *w, struct segment *s)
{
	drop_chunks(w);
	drop_segments(w);
	w->segments = mem_grow(w->segments, &w->segments_cap, 1, sizeof(struct segment *));
	w->segments[w->n_segments++] = s;
	w->first_live = s->seq;
	w->n_slots = 0;
	w->base = w->last = s->base;
	w->current = s;
	w->place_offset = w->write_offset = WAL_BLOCK_BYTES;
	w->batch = 0;
	w->link = 0;
	w->spare_refused = false;
	w->retry_at_ms = 0;
	w->done.log = false;
	w->done.space = 0;
}

int wal_reset(struct wal *w, struct raft_pos pos, struct rfs_err *err)
{
	struct rfs_err e = {0};
	struct segment *s;
	int rc;

	rfs_check(pos.index > 0 && pos.term <= w->term);
	writer_stop(w); /* what is queued is written first, above all the hard state */
	rc = w->done.error;
	e = w->err;
	if (rc == 0) {
		s = segment_new(w->state.segment + 2, first_segment_bytes(w), pos);
		rc = make_first(w, s, &e);
		if (rc == 0)
			begin_with(w, s);
		else
			segment_free(w, s);
	}
	if (rc != 0 && err != NULL)
		*err = e;
	w->stop = false;
	writer_start(w);
	return rc;
}

/* The writer's side: takes what is queued, writes it, syncs once, reports. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../base/buf.h"
#include "../base/check.h"
#include "../base/clock.h"
#include "wal_priv.h"

/* What a round has taken from the queue. */
struct taken {
	struct chunk *first, *last;
	bool state;
	raft_term term;
	raft_id vote;
	uint64_t epoch;
	bool failed; /* the writer has failed: nothing was taken */
	bool stop;
};

static void tell(struct wal *w)
{
	if (w->notify != NULL)
		w->notify(w->notify_ctx);
}

static void lock(struct wal *w)
{
	(void)pthread_mutex_lock(&w->mu);
}

static void unlock(struct wal *w)
{
	(void)pthread_mutex_unlock(&w->mu);
}

static void fail(struct wal *w, const struct rfs_err *err)
{
	lock(w);
	w->done.error = err->code;
	w->err = *err;
	unlock(w);
	tell(w);
}

static void set_space(struct wal *w, int code)
{
	lock(w);
	w->done.space = code;
	unlock(w);
	if (code != 0)
		tell(w);
}

/* ---- taking and reporting ---- */

static struct taken take_queue(struct wal *w)
{
	struct taken t = {0};

	lock(w);
	t.failed = w->done.error != 0;
	t.stop = w->stop;
	if (!t.failed) {
		t.state = w->want_state;
		t.term = w->want_term;
		t.vote = w->want_vote;
		t.epoch = w->want_epoch;
		w->want_state = false;
		t.first = w->unwritten;
		t.last = w->unwritten != NULL ? w->tail : NULL;
		for (struct chunk *c = t.first; c != NULL; c = c->next)
			c->state = CHUNK_TAKEN;
	}
	unlock(w);
	return t;
}

/* Everything up to `last` is synced. */
static void report_log(struct wal *w, struct chunk *last)
{
	struct chunk *c;

	lock(w);
	do {
		c = w->unwritten;
		c->state = CHUNK_DURABLE;
		w->unwritten = c->next;
	} while (c != last);
	w->done.log = true;
	w->done.log_epoch = last->epoch;
	w->done.log_pos = last->last;
	unlock(w);
	tell(w);
}

static int do_state(struct wal *w, const struct taken *t, struct rfs_err *err)
{
	int rc;

	w->state.term = t->term;
	w->state.vote = t->vote;
	rc = state_write(w, err);
	if (rc != 0)
		return rc;
	lock(w);
	w->done.state = true;
	w->done.state_epoch = t->epoch;
	unlock(w);
	tell(w);
	return 0;
}

/* ---- records ---- */

static void seal(struct wal *w, struct chunk *c)
{
	struct wal_place at = {w->identity.incarnation, c->segment->seq, c->offset};
	size_t n;

	for (size_t i = 0; i < c->len; i += n) {
		at.offset = c->offset + i;
		n = wal_record_bytes(get_le32(c->data + i + 4));
		w->link = wal_record_seal(c->data + i, &at, w->batch, w->link);
	}
}

static int write_chunk(struct wal *w, struct chunk *c, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc;

	rfs_check(c->segment == w->current && c->offset == w->write_offset);
	rfs_check(c->offset + c->len <= c->segment->size);
	wal_segment_name(c->segment->seq, name);
	if (w->batch == 0)
		w->batch = c->offset;
	seal(w, c);
	rc = io_write(w, c->segment->fd, name, c->data, c->len, c->offset, err);
	w->write_offset += c->len;
	return rc;
}

/* Sync what is written and report it; `last` is the last chunk that was. */
static int sync_written(struct wal *w, struct chunk *last, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc;

	if (w->batch == 0)
		return 0;
	wal_segment_name(w->current->seq, name);
	rc = io_sync(w, w->current->fd, name, err);
	if (rc != 0)
		return rc;
	w->batch = 0;
	report_log(w, last);
	return 0;
}

static int switch_segment(struct wal *w, struct segment *s, bool *no_room, struct rfs_err *err)
{
	int rc = segment_make(w, s, w->link, no_room, err);

	w->spare_refused = *no_room;
	if (*no_room) {
		set_space(w, -ENOSPC);
		w->retry_at_ms = w->threaded ? clock_mono_ms() + WAL_SPACE_RETRY_MS : 0;
		return 0;
	}
	if (rc != 0)
		return rc;
	set_space(w, 0);
	w->current = s;
	w->write_offset = WAL_BLOCK_BYTES;
	return 0;
}

static int do_log(struct wal *w, const struct taken *t, bool *did, struct rfs_err *err)
{
	struct chunk *written = NULL, *c = t->first;
	bool no_room = false;
	int rc = 0;

	for (;; c = c->next) {
		if (c->segment != w->current) {
			rc = sync_written(w, written, err);
			if (rc == 0)
				rc = switch_segment(w, c->segment, &no_room, err);
			if (rc != 0 || no_room)
				return rc;
		}
		rc = write_chunk(w, c, err);
		if (rc != 0)
			return rc;
		*did = true;
		written = c;
		if (c == t->last)
			return sync_written(w, written, err);
	}
}

/* ---- between rounds ---- */

static int unlink_dead(struct wal *w, bool *did, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	struct segment *s;
	uint64_t first;
	int rc = 0;

	lock(w);
	s = w->dead;
	first = w->first_live;
	unlock(w);
	if (s == NULL)
		return 0;
	*did = true;
	/* Once the state says that they are gone, any subset of them may be. */
	if (w->state.first < first) {
		w->state.first = first;
		rc = state_write(w, err);
	}
	if (rc != 0)
		return rc;
	wal_segment_name(s->seq, name);
	io_close(w, &s->fd);
	rc = io_unlink(w, name, err);
	lock(w);
	w->dead = s->next_dead;
	if (w->dead == NULL)
		w->dead_tail = NULL;
	w->disk_bytes -= s->size;
	unlock(w);
	segment_free(w, s);
	return rc;
}

/* How much of the next segment should be there by now: from the middle of the current one on, it
 * grows twice as fast as the current one fills up. */
static uint64_t spare_due(const struct wal *w)
{
	uint64_t half = w->current->size / 2;
	uint64_t due;

	if (w->spare_refused || w->write_offset <= half)
		return 0;
	due = (w->write_offset - half) * (w->segment_bytes / WAL_BLOCK_BYTES) / half *
	      WAL_BLOCK_BYTES;
	return due < w->segment_bytes ? due : w->segment_bytes;
}

static bool spare_wanted(const struct wal *w)
{
	return spare_due(w) > 0 && w->spare_filled < w->segment_bytes;
}

static int fill_spare(struct wal *w, bool busy, bool *did, struct rfs_err *err)
{
	uint64_t upto = w->spare_filled + WAL_FILL_BYTES, due = spare_due(w);
	int rc;

	if (!spare_wanted(w) || (busy && due <= w->spare_filled))
		return 0;
	if (upto < due)
		upto = due;
	if (upto > w->segment_bytes)
		upto = w->segment_bytes;
	*did = true;
	rc = spare_fill(w, upto, err);
	if (!wal_is_no_room(rc))
		return rc;
	w->spare_refused = true;
	return 0;
}

/* ---- rounds ---- */

/* Returns whether it did anything. */
static bool do_round(struct wal *w)
{
	struct taken t = take_queue(w);
	struct rfs_err err = {0};
	bool did = false, busy;
	int rc = 0;

	if (t.failed)
		return false;
	if (t.state) {
		did = true;
		rc = do_state(w, &t, &err);
	}
	if (rc == 0 && t.first != NULL)
		rc = do_log(w, &t, &did, &err);
	busy = did;
	if (rc == 0)
		rc = unlink_dead(w, &did, &err);
	if (rc == 0 && !t.stop && (busy || !did))
		rc = fill_spare(w, busy, &did, &err);
	if (rc != 0)
		fail(w, &err);
	return did || rc != 0;
}

bool wal_work(struct wal *w)
{
	rfs_check(!w->threaded);
	return do_round(w);
}

/* mu held. Records that wait for room are no work until it is time to try again. */
static bool has_work(const struct wal *w, bool try_again)
{
	if (w->done.error != 0)
		return false;
	return w->want_state || w->dead != NULL ||
	       (w->unwritten != NULL && (w->done.space == 0 || try_again));
}

static void deadline_after(struct timespec *at, uint64_t ms)
{
	(void)clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_nsec += (long)(ms % 1000) * 1000000;
	at->tv_sec += (time_t)(ms / 1000) + at->tv_nsec / 1000000000;
	at->tv_nsec %= 1000000000;
}

/* Wait until there is something for a round to do; false when it is time to end. */
static bool wait_for_work(struct wal *w)
{
	bool time_out = false, go;
	struct timespec until;

	lock(w);
	while (!w->stop && !has_work(w, time_out)) {
		uint64_t now = clock_mono_ms();
		bool space = w->done.space != 0, fill = w->done.error == 0 && spare_wanted(w);

		if (time_out)
			break;
		if (!space && !fill) {
			(void)pthread_cond_wait(&w->work, &w->mu);
			continue;
		}
		if (space)
			deadline_after(&until, w->retry_at_ms > now ? w->retry_at_ms - now : 0);
		else
			deadline_after(&until, WAL_IDLE_FILL_MS);
		time_out = pthread_cond_timedwait(&w->work, &w->mu, &until) == ETIMEDOUT;
	}
	go = !w->stop;
	unlock(w);
	return go;
}

/* What is queued at the end, unless it cannot be written. */
static void drain(struct wal *w)
{
	bool more;

	do {
		(void)do_round(w);
		lock(w);
		more = has_work(w, false);
		unlock(w);
	} while (more);
}

static void *writer_thread(void *arg)
{
	struct wal *w = arg;

	while (wait_for_work(w))
		(void)do_round(w);
	drain(w);
	return NULL;
}

void writer_start(struct wal *w)
{
	sigset_t all, old;

	if (!w->threaded)
		return;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&w->thread, NULL, writer_thread, w) != 0)
		rfs_die("%s: the log's writer thread cannot be started", w->dir);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void writer_stop(struct wal *w)
{
	lock(w);
	w->stop = true;
	(void)pthread_cond_signal(&w->work);
	unlock(w);
	if (w->threaded)
		(void)pthread_join(w->thread, NULL);
	else
		drain(w);
}

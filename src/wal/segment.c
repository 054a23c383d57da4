#include <errno.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "wal_priv.h"

struct segment *segment_new(uint64_t seq, uint64_t size, struct raft_pos base)
{
	struct segment *s = mem_zalloc(sizeof(*s));

	s->seq = seq;
	s->size = size;
	s->base = base;
	s->index_min = UINT64_MAX;
	s->fd = -1;
	return s;
}

void segment_free(struct wal *w, struct segment *s)
{
	if (s == NULL)
		return;
	io_close(w, &s->fd);
	free(s);
}

bool wal_is_no_room(int code)
{
	return code == -ENOSPC || code == -EDQUOT;
}

static void count_disk(struct wal *w, uint64_t more, uint64_t less)
{
	(void)pthread_mutex_lock(&w->mu);
	w->disk_bytes = w->disk_bytes + more - less;
	(void)pthread_mutex_unlock(&w->mu);
}

void spare_drop(struct wal *w)
{
	if (w->spare_fd < 0)
		return;
	io_close(w, &w->spare_fd);
	(void)io_unlink(w, WAL_SEGMENT_TMP, NULL);
	count_disk(w, 0, w->spare_filled);
	w->spare_filled = 0;
}

static int fill_to(struct wal *w, uint64_t upto, struct rfs_err *err)
{
	int rc = 0;

	if (w->spare_fd < 0)
		rc = io_open(w, WAL_SEGMENT_TMP, true, &w->spare_fd, err);
	while (rc == 0 && w->spare_filled < upto) {
		uint64_t left = upto - w->spare_filled;
		size_t n = left < WAL_FILL_BYTES ? (size_t)left : WAL_FILL_BYTES;

		rc = io_write(w, w->spare_fd, WAL_SEGMENT_TMP, w->zeros, n, w->spare_filled, err);
		if (rc != 0)
			break;
		w->spare_filled += n;
		count_disk(w, n, 0);
	}
	return rc == 0 ? io_sync(w, w->spare_fd, WAL_SEGMENT_TMP, err) : rc;
}

int spare_fill(struct wal *w, uint64_t upto, struct rfs_err *err)
{
	int rc;

	if (w->spare_fd >= 0 && w->spare_filled >= upto)
		return 0;
	/* What a failed sync leaves behind is not to be trusted: nothing of it is used again. */
	rc = fill_to(w, upto, err);
	if (rc != 0)
		spare_drop(w);
	return rc;
}

static int write_head(struct wal *w, const struct segment *s, uint32_t link, struct rfs_err *err)
{
	struct wal_segment_head h = {.incarnation = w->identity.incarnation,
	                             .seq = s->seq,
	                             .size = s->size,
	                             .base = s->base,
	                             .link = link};
	uint8_t head[WAL_HEAD_BYTES];
	int rc;

	wal_segment_put(head, &h);
	rc = io_write(w, w->spare_fd, WAL_SEGMENT_TMP, head, sizeof(head), 0, err);
	return rc == 0 ? io_sync(w, w->spare_fd, WAL_SEGMENT_TMP, err) : rc;
}

int segment_make(struct wal *w, struct segment *s, uint32_t link, bool *no_room,
                 struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc;

	wal_segment_name(s->seq, name);
	rc = spare_fill(w, s->size, err);
	rfs_check(rc != 0 || w->spare_filled == s->size);
	if (rc == 0)
		rc = write_head(w, s, link, err);
	if (rc == 0)
		rc = io_rename(w, WAL_SEGMENT_TMP, name, err);
	*no_room = wal_is_no_room(rc);
	if (rc != 0) {
		spare_drop(w);
		return rc;
	}
	s->fd = w->spare_fd;
	w->spare_fd = -1;
	w->spare_filled = 0;
	rc = io_sync_dir(w, err);
	if (rc == 0 && s->seq > w->state.segment) {
		w->state.segment = s->seq;
		rc = state_write(w, err);
	}
	if (rc != 0)
		return rc;
	(void)pthread_mutex_lock(&w->mu);
	s->made = true;
	(void)pthread_mutex_unlock(&w->mu);
	return 0;
}

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "../base/clock.h"
#include "wal_priv.h"

void wal_path(const struct wal *w, const char *name, char out[WAL_PATH_BYTES_MAX])
{
	(void)snprintf(out, WAL_PATH_BYTES_MAX, "%s/%s", w->dir, name);
}

void wal_segment_name(uint64_t seq, char out[WAL_NAME_BYTES])
{
	(void)snprintf(out, WAL_NAME_BYTES, "log-%016" PRIx64, seq);
}

static int failed(const struct wal *w, const char *name, const char *call, int rc,
                  struct rfs_err *err)
{
	return rfs_err_set(err, rc, "%s/%s: %s: %s", w->dir, name, call, rfs_strerror(rc));
}

/* So that wal_stalled_ms() can see a call that does not come back. Without a thread nobody could look. */
static void begin(struct wal *w)
{
	uint64_t now = w->threaded ? clock_mono_ms() : 0;

	(void)pthread_mutex_lock(&w->mu);
	w->call_since_ms = now;
	(void)pthread_mutex_unlock(&w->mu);
}

static void end(struct wal *w)
{
	(void)pthread_mutex_lock(&w->mu);
	w->call_since_ms = 0;
	(void)pthread_mutex_unlock(&w->mu);
}

uint64_t wal_stalled_ms(struct wal *w)
{
	uint64_t since;

	(void)pthread_mutex_lock(&w->mu);
	since = w->call_since_ms;
	(void)pthread_mutex_unlock(&w->mu);
	return since != 0 ? clock_mono_ms() - since : 0;
}

int io_open(struct wal *w, const char *name, bool create, int *fd, struct rfs_err *err)
{
	char path[WAL_PATH_BYTES_MAX];
	int rc;

	wal_path(w, name, path);
	begin(w);
	rc = w->ops->open(w->ops->ctx, path, create, fd);
	end(w);
	if (rc == 0)
		return 0;
	*fd = -1;
	return failed(w, name, create ? "create" : "open", rc, err);
}

int io_read(const struct wal *w, int fd, const char *name, void *p, size_t n, uint64_t offset,
            struct rfs_err *err)
{
	uint8_t *at = p;
	size_t done = 0;

	while (done < n) {
		ssize_t got = w->ops->pread(w->ops->ctx, fd, at + done, n - done, offset + done);

		if (got == -EINTR)
			continue;
		if (got < 0)
			return failed(w, name, "read", (int)got, err);
		if (got == 0)
			return rfs_err_set(err, RFS_ECORRUPT,
			                   "%s/%s: the file ends at %" PRIu64
			                   ", within what it should hold",
			                   w->dir, name, offset + done);
		done += (size_t)got;
	}
	return 0;
}

int io_write(struct wal *w, int fd, const char *name, const void *p, size_t n, uint64_t offset,
             struct rfs_err *err)
{
	const uint8_t *at = p;
	size_t done = 0;

	while (done < n) {
		ssize_t put;

		begin(w);
		put = w->ops->pwrite(w->ops->ctx, fd, at + done, n - done, offset + done);
		end(w);
		if (put == -EINTR)
			continue;
		if (put <= 0)
			return failed(w, name, "write", put < 0 ? (int)put : -EIO, err);
		done += (size_t)put;
	}
	return 0;
}

int io_sync(struct wal *w, int fd, const char *name, struct rfs_err *err)
{
	/* Without a thread the log stays a function of its inputs, for the simulator. */
	uint64_t began = w->threaded ? clock_mono_ns() : 0, us;
	int rc;

	begin(w);
	rc = w->ops->fdatasync(w->ops->ctx, fd);
	end(w);
	us = w->threaded ? (clock_mono_ns() - began) / 1000 : 0;
	(void)pthread_mutex_lock(&w->mu);
	if (us > w->done.sync_us_max)
		w->done.sync_us_max = us;
	histogram_add(&w->syncs, us);
	(void)pthread_mutex_unlock(&w->mu);
	return rc == 0 ? 0 : failed(w, name, "fdatasync", rc, err);
}

int io_size(const struct wal *w, int fd, const char *name, uint64_t *size, struct rfs_err *err)
{
	int rc = w->ops->size(w->ops->ctx, fd, size);

	return rc == 0 ? 0 : failed(w, name, "stat", rc, err);
}

int io_rename(struct wal *w, const char *from, const char *to, struct rfs_err *err)
{
	char a[WAL_PATH_BYTES_MAX], b[WAL_PATH_BYTES_MAX];
	int rc;

	wal_path(w, from, a);
	wal_path(w, to, b);
	begin(w);
	rc = w->ops->rename(w->ops->ctx, a, b);
	end(w);
	return rc == 0 ? 0 : failed(w, to, "rename", rc, err);
}

int io_unlink(struct wal *w, const char *name, struct rfs_err *err)
{
	char path[WAL_PATH_BYTES_MAX];
	int rc;

	wal_path(w, name, path);
	begin(w);
	rc = w->ops->unlink(w->ops->ctx, path);
	end(w);
	return rc == 0 || rc == -ENOENT ? 0 : failed(w, name, "unlink", rc, err);
}

int io_sync_dir(struct wal *w, struct rfs_err *err)
{
	int rc;

	begin(w);
	rc = w->ops->sync_dir(w->ops->ctx, w->dir);
	end(w);
	return rc == 0 ? 0 : failed(w, ".", "fsync", rc, err);
}

void io_close(struct wal *w, int *fd)
{
	if (*fd >= 0)
		(void)w->ops->close(w->ops->ctx, *fd);
	*fd = -1;
}

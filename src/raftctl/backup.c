#include "backup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "../store/chunk.h"
#include "progress.h"

#define CHUNK_BODY_MAX   (4u << 20) /* a single record may be larger than a chunk is meant to be */
#define RECORD_BYTES_AVG 200u

uint64_t backup_estimate(const struct store_snapshot_info *info)
{
	return info->counts.bytes + info->counts.inodes * RECORD_BYTES_AVG;
}

int backup_check_chunk(const void *chunk, size_t n, struct rfs_err *err)
{
	struct chunk c;
	const char *bad = chunk_get(chunk, n, &c);

	return bad == NULL ? 0 : rfs_err_set(err, RFS_ECORRUPT, "a damaged chunk: %s", bad);
}

int backup_head(const void *chunk, size_t n, struct store_snapshot_info *info, struct rfs_err *err)
{
	struct chunk_head head = {0};
	struct chunk c;
	const char *bad = chunk_get(chunk, n, &c);

	if (bad == NULL && (c.seq != 0 || c.kind != CHUNK_HEAD))
		bad = "does not begin with a head";
	if (bad == NULL)
		bad = chunk_get_head(c.body, &head);
	if (bad != NULL)
		return rfs_err_set(err, RFS_ECORRUPT, "not a backup: %s", bad);
	if (head.stream_version != CHUNK_STREAM_VERSION)
		return rfs_err_set(err, RFS_EVERSION,
		                   "a backup of format %u, and this program knows %u",
		                   head.stream_version, CHUNK_STREAM_VERSION);
	*info = head.info;
	return 0;
}

static int read_exactly(FILE *f, struct buf *out, size_t n, struct rfs_err *err)
{
	size_t got = fread(buf_reserve(out, n), 1, n, f);

	out->len += got;
	if (got == n)
		return 0;
	if (ferror(f))
		return rfs_err_set(err, errno != 0 ? -errno : -EIO, "cannot be read: %s",
		                   rfs_strerror(errno != 0 ? -errno : -EIO));
	return rfs_err_set(err, RFS_ECORRUPT, "ends in the middle of a chunk");
}

int backup_read_chunk(FILE *f, struct buf *out, struct rfs_err *err)
{
	uint32_t body;
	int c = getc(f), rc;

	buf_clear(out);
	if (c == EOF && !ferror(f))
		return 0;
	(void)ungetc(c, f);
	rc = read_exactly(f, out, CHUNK_HEAD_BYTES, err);
	if (rc != 0)
		return rc;
	body = get_le32(out->data + 4);
	if (memcmp(out->data, "RFSC", 4) != 0 || body > CHUNK_BODY_MAX)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "not a backup, or damaged: no chunk begins "
		                   "where one should");
	rc = read_exactly(f, out, (size_t)body + (CHUNK_FRAME_BYTES - CHUNK_HEAD_BYTES), err);
	return rc != 0 ? rc : 1;
}

static uint64_t size_of(FILE *f)
{
	struct stat st;

	return fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static int import_all(FILE *f, struct progress *p, struct store_import *im, struct rfs_err *err)
{
	uint64_t done = 0;
	struct buf chunk;
	int rc;

	buf_init(&chunk);
	while ((rc = backup_read_chunk(f, &chunk, err)) == 1) {
		done += chunk.len;
		progress_set(p, done);
		rc = store_import_chunk(im, chunk.data, chunk.len, err);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		rc = rfs_err_set(err, RFS_ECORRUPT, "ends early: its last chunk is missing");
	if (rc == 1 && getc(f) != EOF)
		rc = rfs_err_set(err, RFS_ECORRUPT, "there is something behind its last chunk");
	buf_free(&chunk);
	return rc == 1 ? 0 : rc;
}

int backup_import(const char *path, const char *what, struct store_import *im,
                  struct store_snapshot_info *info, struct rfs_err *err)
{
	FILE *f = fopen(path, "re");
	struct progress p;
	int rc;

	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	progress_begin(&p, what, size_of(f), true);
	rc = import_all(f, &p, im, err);
	(void)progress_end(&p);
	(void)fclose(f);
	if (rc != 0)
		return rfs_err_prefix(err, "%s", path);
	*info = *store_import_info(im);
	return 0;
}

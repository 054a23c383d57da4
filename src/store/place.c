/* The directories of a store on disk, and the switch from one to another. docs/snapshot-format.md,
 * "The switch", says why a crash at any point leaves the old store or the new one. */
#include "store_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/log.h"
#include "snapshot.h"

static const char *const suffixes[] = {
        [STORE_PLACE_OWN] = "",
        [STORE_PLACE_IMPORT] = ".import",
        [STORE_PLACE_NEW] = ".new",
        [STORE_PLACE_OLD] = ".old",
};

int store_place_path(const char *dir, enum store_place place, char out[STORE_PATH_MAX],
                     struct rfs_err *err)
{
	size_t n = strlen(dir);
	int written;

	while (n > 1 && dir[n - 1] == '/')
		n--;
	written = n < STORE_PATH_MAX
	                  ? snprintf(out, STORE_PATH_MAX, "%.*s%s", (int)n, dir, suffixes[place])
	                  : STORE_PATH_MAX;
	if (n == 0 || written >= STORE_PATH_MAX)
		return rfs_err_set(err, -ENAMETOOLONG, "store directory: 1 to %d bytes, not %zu",
		                   STORE_PATH_MAX - 16, n);
	return 0;
}

static int failed(const char *path, const char *call, int code, struct rfs_err *err)
{
	return rfs_err_set(err, -code, "store %s: %s: %s", path, call, rfs_strerror(-code));
}

/* ---- one directory ---- */

/* 1 if there is one at `place`, 0 if not. */
static int exists(const char *dir, enum store_place place, struct rfs_err *err)
{
	char path[STORE_PATH_MAX];
	struct stat st;
	int rc = store_place_path(dir, place, path, err);

	if (rc != 0)
		return rc;
	if (stat(path, &st) == 0)
		return 1;
	return errno == ENOENT ? 0 : failed(path, "stat", errno, err);
}

/* Call `each` with an open directory and every name in it; RocksDB makes no directories in its own.
 * An absent directory is an empty one. */
static int each_file(const char *path, int (*each)(int dir_fd, const char *name, void *ctx),
                     void *ctx, struct rfs_err *err)
{
	DIR *dp = opendir(path);
	struct dirent *d;
	int rc = 0;

	if (dp == NULL)
		return errno == ENOENT ? 0 : failed(path, "open", errno, err);
	while (rc == 0 && (errno = 0, d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		rc = each(dirfd(dp), d->d_name, ctx);
		if (rc != 0) {
			char file[STORE_PATH_MAX + NAME_MAX + 2];

			(void)snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
			rc = failed(file, "access", -rc, err);
		}
	}
	if (rc == 0 && errno != 0)
		rc = failed(path, "read", errno, err);
	(void)closedir(dp);
	return rc;
}

static int sync_path(const char *path, struct rfs_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return failed(path, "open", errno, err);
	if (fsync(fd) != 0)
		rc = failed(path, "fsync", errno, err);
	(void)close(fd);
	return rc;
}

static int sync_parent(const char *dir, struct rfs_err *err)
{
	char path[STORE_PATH_MAX];
	int rc = store_place_path(dir, STORE_PLACE_OWN, path, err);
	char *slash;

	if (rc != 0)
		return rc;
	slash = strrchr(path, '/');
	if (slash == NULL)
		return sync_path(".", err);
	slash[slash == path ? 1 : 0] = '\0';
	return sync_path(path, err);
}

static int move(const char *dir, enum store_place from, enum store_place to, struct rfs_err *err)
{
	char a[STORE_PATH_MAX], b[STORE_PATH_MAX];
	int rc = store_place_path(dir, from, a, err);

	if (rc == 0)
		rc = store_place_path(dir, to, b, err);
	if (rc == 0 && rename(a, b) != 0)
		rc = failed(a, "rename", errno, err);
	return rc;
}

/* ---- removing, syncing, measuring ---- */

static int remove_one(int dir_fd, const char *name, void *ctx)
{
	(void)ctx;
	return unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

int store_place_remove(const char *dir, enum store_place place, struct rfs_err *err)
{
	char path[STORE_PATH_MAX];
	int rc = store_place_path(dir, place, path, err);

	if (rc == 0)
		rc = each_file(path, remove_one, NULL, err);
	if (rc == 0 && rmdir(path) != 0 && errno != ENOENT)
		rc = failed(path, "rmdir", errno, err);
	return rc;
}

static int sync_one(int dir_fd, const char *name, void *ctx)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC), rc = 0;

	(void)ctx;
	if (fd < 0)
		return -errno;
	if (fsync(fd) != 0)
		rc = -errno;
	(void)close(fd);
	return rc;
}

int store_place_finish(const char *dir, struct rfs_err *err)
{
	char path[STORE_PATH_MAX];
	int rc = store_place_path(dir, STORE_PLACE_IMPORT, path, err);

	if (rc == 0)
		rc = each_file(path, sync_one, NULL, err);
	if (rc == 0)
		rc = sync_path(path, err);
	if (rc == 0)
		rc = move(dir, STORE_PLACE_IMPORT, STORE_PLACE_NEW, err);
	return rc == 0 ? sync_parent(dir, err) : rc;
}

static int add_bytes(int dir_fd, const char *name, void *ctx)
{
	uint64_t *bytes = ctx;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		*bytes += (uint64_t)st.st_blocks * 512;
	return 0;
}

uint64_t store_place_bytes(const char *dir)
{
	static const enum store_place places[] = {STORE_PLACE_OWN, STORE_PLACE_IMPORT,
	                                          STORE_PLACE_NEW, STORE_PLACE_OLD};
	char path[STORE_PATH_MAX];
	uint64_t bytes = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (store_place_path(dir, places[i], path, NULL) == 0)
			(void)each_file(path, add_bytes, &bytes, NULL);
	return bytes;
}

/* ---- the switch ---- */

/* What a switch does, in order; each step is on disk before the next one begins. */
enum step {
	STEP_REMOVE_OLDER, /* what an earlier switch left */
	STEP_MOVE_AWAY,    /* from here on the new one counts */
	STEP_SYNC_AWAY,
	STEP_MOVE_IN,
	STEP_SYNC_IN,
	STEP_REMOVE_OLD,
	STEPS,
};

static int do_step(const char *dir, enum step step, struct rfs_err *err)
{
	int there;

	switch (step) {
	case STEP_REMOVE_OLDER: return store_place_remove(dir, STORE_PLACE_OLD, err);
	case STEP_MOVE_AWAY:
		there = exists(dir, STORE_PLACE_OWN, err);
		return there > 0 ? move(dir, STORE_PLACE_OWN, STORE_PLACE_OLD, err) : there;
	case STEP_MOVE_IN: return move(dir, STORE_PLACE_NEW, STORE_PLACE_OWN, err);
	case STEP_SYNC_AWAY:
	case STEP_SYNC_IN: return sync_parent(dir, err);
	case STEP_REMOVE_OLD: return store_place_remove(dir, STORE_PLACE_OLD, err);
	case STEPS: break;
	}
	return 0;
}

int store_place_switch(const char *dir, unsigned steps, struct rfs_err *err)
{
	int rc = exists(dir, STORE_PLACE_NEW, err);
	struct rfs_err late = {0};

	if (rc == 0)
		return rfs_err_set(err, -ENOENT, "store %s: there is no finished import", dir);
	rc = rc > 0 ? 0 : rc;
	for (unsigned i = 0; rc == 0 && i < STEPS && i < steps; i++) {
		if (i != STEP_REMOVE_OLD)
			rc = do_step(dir, (enum step)i, err);
		else if (do_step(dir, STEP_REMOVE_OLD, &late) != 0)
			log_warn("%s (the next start removes it)", late.msg);
	}
	return rc;
}

int store_switch(const char *dir, struct rfs_err *err)
{
	return store_place_switch(dir, UINT_MAX, err);
}

int store_place_recover(const char *dir, struct rfs_err *err)
{
	int own = exists(dir, STORE_PLACE_OWN, err), fresh, old, rc;

	if (own != 0)
		return own > 0 ? 0 : own;
	fresh = exists(dir, STORE_PLACE_NEW, err);
	if (fresh < 0)
		return fresh;
	if (fresh > 0) {
		rc = move(dir, STORE_PLACE_NEW, STORE_PLACE_OWN, err);
		return rc == 0 ? sync_parent(dir, err) : rc;
	}
	old = exists(dir, STORE_PLACE_OLD, err);
	if (old > 0)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "store %s: missing, and so is the one that should have taken "
		                   "its place; %s.old is there",
		                   dir, dir);
	return old;
}

int store_place_clean(const char *dir, struct rfs_err *err)
{
	int rc = store_place_remove(dir, STORE_PLACE_IMPORT, err);

	if (rc == 0)
		rc = store_place_remove(dir, STORE_PLACE_NEW, err);
	return rc == 0 ? store_place_remove(dir, STORE_PLACE_OLD, err) : rc;
}

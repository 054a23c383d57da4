#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file.h"

static int posix_open(void *ctx, const char *path, bool create, int *fd)
{
	(void)ctx;
	do
		*fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);
	while (*fd < 0 && errno == EINTR);
	return *fd < 0 ? -errno : 0;
}

static int posix_close(void *ctx, int fd)
{
	(void)ctx;
	return close(fd) != 0 ? -errno : 0;
}

static ssize_t posix_pread(void *ctx, int fd, void *p, size_t n, uint64_t offset)
{
	ssize_t got = pread(fd, p, n, (off_t)offset);

	(void)ctx;
	return got < 0 ? -errno : got;
}

static ssize_t posix_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t offset)
{
	ssize_t put = pwrite(fd, p, n, (off_t)offset);

	(void)ctx;
	return put < 0 ? -errno : put;
}

static int posix_fdatasync(void *ctx, int fd)
{
	(void)ctx;
	return fdatasync(fd) != 0 ? -errno : 0;
}

static int posix_truncate(void *ctx, int fd, uint64_t size)
{
	(void)ctx;
	return ftruncate(fd, (off_t)size) != 0 ? -errno : 0;
}

static int posix_size(void *ctx, int fd, uint64_t *size)
{
	struct stat st;

	(void)ctx;
	if (fstat(fd, &st) != 0)
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static int posix_rename(void *ctx, const char *from, const char *to)
{
	(void)ctx;
	return rename(from, to) != 0 ? -errno : 0;
}

static int posix_unlink(void *ctx, const char *path)
{
	(void)ctx;
	return unlink(path) != 0 ? -errno : 0;
}

static int posix_mkdir(void *ctx, const char *path)
{
	(void)ctx;
	return mkdir(path, 0700) != 0 ? -errno : 0;
}

static int posix_sync_dir(void *ctx, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	(void)ctx;
	if (fd < 0)
		return -errno;
	rc = fsync(fd) != 0 ? -errno : 0;
	(void)close(fd);
	return rc;
}

static int posix_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                      void *arg)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int rc;

	(void)ctx;
	if (d == NULL)
		return -errno;
	while (errno = 0, (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			each(arg, e->d_name);
	rc = -errno;
	(void)closedir(d);
	return rc;
}

const struct file_ops file_ops_posix = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .fdatasync = posix_fdatasync,
        .truncate = posix_truncate,
        .size = posix_size,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
};

/* Files that are only looked at. What would change one is taken and forgotten, so that a log can be
 * recovered and read as it stands; the descriptors themselves do not allow writing. */
#include <errno.h>
#include <fcntl.h>
#include "file.h"

static int readonly_open(void *ctx, const char *path, bool create, int *fd)
{
	(void)ctx;
	*fd = open(create ? "/dev/null" : path, (create ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

static int readonly_close(void *ctx, int fd)
{
	return file_ops_posix.close(ctx, fd);
}

static ssize_t readonly_pread(void *ctx, int fd, void *p, size_t n, uint64_t offset)
{
	return file_ops_posix.pread(ctx, fd, p, n, offset);
}

static ssize_t readonly_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t offset)
{
	(void)ctx;
	(void)fd;
	(void)p;
	(void)offset;
	return (ssize_t)n;
}

static int readonly_fdatasync(void *ctx, int fd)
{
	(void)ctx;
	(void)fd;
	return 0;
}

static int readonly_truncate(void *ctx, int fd, uint64_t size)
{
	(void)ctx;
	(void)fd;
	(void)size;
	return 0;
}

static int readonly_size(void *ctx, int fd, uint64_t *size)
{
	return file_ops_posix.size(ctx, fd, size);
}

static int readonly_rename(void *ctx, const char *from, const char *to)
{
	(void)ctx;
	(void)from;
	(void)to;
	return 0;
}

static int readonly_path(void *ctx, const char *path)
{
	(void)ctx;
	(void)path;
	return 0;
}

static int readonly_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                         void *arg)
{
	return file_ops_posix.list(ctx, path, each, arg);
}

const struct file_ops file_ops_readonly = {
        .open = readonly_open,
        .close = readonly_close,
        .pread = readonly_pread,
        .pwrite = readonly_pwrite,
        .fdatasync = readonly_fdatasync,
        .truncate = readonly_truncate,
        .size = readonly_size,
        .rename = readonly_rename,
        .unlink = readonly_path,
        .mkdir = readonly_path,
        .sync_dir = readonly_path,
        .list = readonly_list,
};

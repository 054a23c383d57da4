/* The seam between the log and the operating system. The log calls these and nothing else, so that
 * a test can make any call fail, be cut short, or lose what was not synced. Each returns 0 (or a
 * count) or a negative errno; none retries a failed sync. */
#ifndef RFS_WAL_FILE_H
#define RFS_WAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct file_ops {
	void *ctx;
	int (*open)(void *ctx, const char *path, bool create,
	            int *fd); /* read-write; create: O_EXCL */
	int (*close)(void *ctx, int fd);
	ssize_t (*pread)(void *ctx, int fd, void *p, size_t n, uint64_t offset);
	ssize_t (*pwrite)(void *ctx, int fd, const void *p, size_t n,
	                  uint64_t offset); /* may be short */
	int (*fdatasync)(void *ctx, int fd);
	int (*truncate)(void *ctx, int fd, uint64_t size);
	int (*size)(void *ctx, int fd, uint64_t *size);
	int (*rename)(void *ctx, const char *from, const char *to);
	int (*unlink)(void *ctx, const char *path);
	int (*mkdir)(void *ctx, const char *path);
	int (*sync_dir)(void *ctx, const char *path);
	/* Call `each` with every name in `path` but "." and "..", in any order. */
	int (*list)(void *ctx, const char *path, void (*each)(void *arg, const char *name),
	            void *arg);
};

extern const struct file_ops file_ops_posix;
/* Nothing is ever changed: whatever would be is taken and forgotten. For looking at a log. */
extern const struct file_ops file_ops_readonly;

#endif

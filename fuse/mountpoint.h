/* What stands at a mountpoint, and taking it away. These may block on the kernel; none of them asks
 * the file system behind a live mount for anything that it would have to ask its cluster. */
#ifndef RFS_FUSE_MOUNTPOINT_H
#define RFS_FUSE_MOUNTPOINT_H

#include "../src/base/err.h"

#define MOUNTPOINT_PATH_MAX 4096

/* Make ready to mount at `path`: the absolute path goes into `resolved`, and a dead mount left
 * there by a crashed raftfs is cleared. Errors: -ENOENT, -ENOTDIR, -EBUSY (a live raftfs is mounted
 * there) …, each with a sentence. */
int mountpoint_prepare(const char *path, char resolved[MOUNTPOINT_PATH_MAX], struct rfs_err *err);

/* Unmount what is on top of `path`, if it is the mount `mount_id` (-1: whatever it is); open files
 * of it live on until they are closed. 0 or -errno. Any thread. */
int mountpoint_detach(const char *path, int mount_id);

/* The id, as in /proc/self/mountinfo, of what is mounted on top of `path`; -1 if nothing is. Any
 * thread. */
int mountpoint_id(const char *path);

#endif

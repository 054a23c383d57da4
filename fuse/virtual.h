/* .raft/: a directory that the mount makes up, for what it knows by itself. Nothing in here waits
 * for consensus, so it can be read when nothing else can:
 *
 *   leader      "1 127.0.0.1:7001" or "none"
 *   members     a line a node: "1 127.0.0.1:7001 voter leader", follower …, or unreachable
 *   status      "key: value" lines
 *   version     of this program
 *   events      the latest changes, a line each as `raftctl watch` prints them, as of open(2); to follow
 *               them there is `raftctl watch`
 *   last_error  the last request that the cluster did not answer, or commit that failed, and when; empty if there
 *               was none
 *
 * A file's contents are made at open(2) and stay as they are for that handle; sizes are 0, as in
 * /proc. To know the nodes' roles, open asks each of them and waits VIRTUAL_WAIT_MS at most. */
#ifndef RFS_FUSE_VIRTUAL_H
#define RFS_FUSE_VIRTUAL_H

#include "mount_priv.h"

#define VIRTUAL_WAIT_MS 50u
#define VIRTUAL_NAME    ".raft"

/* Node ids that no inode of the cluster has. */
#define VIRTUAL_BIT (1ull << 63)
#define VIRTUAL_DIR VIRTUAL_BIT

static inline bool virtual_is(fuse_ino_t ino)
{
	return (ino & VIRTUAL_BIT) != 0;
}

/* Whether `name` in `parent` is one that the mount answers for (it then has no other meaning). */
bool virtual_has(fuse_ino_t parent, const char *name);

void virtual_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name);
void virtual_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino);
void virtual_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
void virtual_read(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi);
void virtual_readdir(struct mount *m, fuse_req_t req, size_t size, off_t off);

/* Answer open(2) of a file with these contents; `text` is copied. */
void virtual_reply_open(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi,
                        const struct buf *text);

/* The mount ends: whoever waits for a file to open gets ENOTCONN. */
void virtual_abandon(struct mount *m);

#endif

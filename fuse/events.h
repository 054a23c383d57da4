/* .raft/events, a file that the mount makes up (virtual.h). */
#ifndef RFS_FUSE_EVENTS_H
#define RFS_FUSE_EVENTS_H

#include "mount_priv.h"

#define EVENTS_WAIT_MS 1000u

/* Ask some node for the latest changes, and answer open(2) with them: ETIMEDOUT if none tells. */
void events_open(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi);

/* A path of the cluster as this mount has it, without the subtree that is its root; false if it is not below. */
bool events_show_path(const struct mount *m, struct fs_str *path);

#endif

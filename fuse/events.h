/* .raft/events, a file that the mount makes up (virtual.h). */
#ifndef RFS_FUSE_EVENTS_H
#define RFS_FUSE_EVENTS_H

#include "mount_priv.h"

#define EVENTS_WAIT_MS 1000u

/* Ask some node for the latest changes, and answer open(2) with them: ETIMEDOUT if none tells. */
void events_open(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi);

#endif

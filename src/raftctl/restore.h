/* A data directory out of a backup. */
#ifndef RFS_RAFTCTL_RESTORE_H
#define RFS_RAFTCTL_RESTORE_H

#include "../config/config.h"
#include "../store/snapshot.h"

/* Make `dir`, which must not be there or be empty, the data directory of a cluster of one: `node` of
 * `config`, with the state of `backup` at its index, and a log that begins behind it with the new
 * membership and the end of every session of the old cluster. It comes into being whole or not at
 * all. Errors: RFS_ECORRUPT, RFS_EVERSION, -EEXIST, -errno. */
int restore_make(const char *backup, const char *dir, const struct config *config,
                 const struct config_node *node, struct store_snapshot_info *info,
                 struct rfs_err *err);

/* rm -r. 0 also if it is not there. -errno. */
int restore_remove_tree(const char *path);

#endif

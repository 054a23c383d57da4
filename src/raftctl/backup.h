/* Backup files: the chunks of a snapshot (docs/snapshot-format.md), one behind the other. */
#ifndef RFS_RAFTCTL_BACKUP_H
#define RFS_RAFTCTL_BACKUP_H

#include <stdio.h>
#include "../base/buf.h"
#include "../store/snapshot.h"

/* Roughly how many bytes the chunks of such a state have: for showing how far one has come. */
uint64_t backup_estimate(const struct store_snapshot_info *info);

/* What the head says, if `chunk` is the first one of a snapshot. RFS_ECORRUPT, RFS_EVERSION. */
int backup_head(const void *chunk, size_t n, struct store_snapshot_info *info, struct rfs_err *err);
/* Whether a chunk is as it was made: RFS_ECORRUPT. */
int backup_check_chunk(const void *chunk, size_t n, struct rfs_err *err);

/* The next chunk of a file into `out`: 1, 0 at its end, RFS_ECORRUPT, -errno. */
int backup_read_chunk(FILE *f, struct buf *out, struct rfs_err *err);

/* All of `path` into `im`, which checks every record; shows how far it is under the name `what`.
 * Gives what it is. Errors as store_import_chunk(); a file that ends early is RFS_ECORRUPT. */
int backup_import(const char *path, const char *what, struct store_import *im,
                  struct store_snapshot_info *info, struct rfs_err *err);

#endif

/* The data directory of one node, opened without the node, to give it another membership than its
 * cluster could: docs/recover.md. One at a time; blocks. */
#ifndef RFS_RAFTCTL_RESCUE_H
#define RFS_RAFTCTL_RESCUE_H

#include "../config/config.h"
#include "../raft/raft.h"
#include "../store/store.h"
#include "../wal/wal.h"

struct rescue {
	char dir[CONFIG_PATH_MAX];
	int lock_fd;
	struct wal_identity identity;
	struct wal *wal;
	struct wal_recovered log;
	struct store *store;
	struct raft_conf conf; /* in force: the newest one in the log, or before it */
	raft_index conf_index;
	uint64_t
	        last_change_ns; /* the leader's clock at the newest change in the log; 0: not known */
};

/* Take the directory, which no node may use, and read what is in it. `file` says who the founders
 * were, where the log does not know; NULL: no cluster file. Log and state are mended as at any start
 * of the node, and not changed otherwise.
 * Errors: -ENOENT, -EBUSY (a node runs on it), RFS_ECORRUPT, RFS_EIDENTITY (the file is of another
 * cluster), RFS_ECONFIG (members unknown without a file), -errno. */
int rescue_open(struct rescue *r, const char *dir, const struct config *file, struct rfs_err *err);

/* Append `conf` at the end of the log, in a term that nobody has used, durably. */
int rescue_append(struct rescue *r, const struct raft_conf *conf, struct rfs_err *err);

void rescue_close(struct rescue *r); /* also after an error of rescue_open() */

#endif

/* The cluster files of other small Raft systems, read into ours. */
#ifndef RFS_RAFTCTL_IMPORT_H
#define RFS_RAFTCTL_IMPORT_H

#include "ctl.h"

/* Read `path`, in either of two forms:
 *
 *   lines       ID HOST PORT, or ID HOST:PORT; blank ones and what follows a # are left out
 *   JSON        an object: nodes, an array of objects with id and host and port, or id and address
 *               "host:port"; election_timeout_ms, a number, [min, max] or {min, max};
 *               heartbeat_interval_ms; data_directory; name
 *
 * Everything is checked as config_load() would. Ids that begin with 0, as some systems have them,
 * are all raised by one (`raised` tells). Errors name file and line or key: RFS_ECONFIG, -errno. */
struct import {
	struct config cfg;
	char data_directory[CONFIG_PATH_MAX]; /* as it stands in the file; "" if it does not */
	bool raised;
};
int import_read(struct import *im, const char *path, struct rfs_err *err);

/* As a cluster.toml. */
void import_put(const struct import *im, const char *path, struct buf *b);

#endif

/* How a server comes into a cluster that runs already. Both block, and talk to the cluster as a client. */
#ifndef RFS_RAFTD_JOIN_H
#define RFS_RAFTD_JOIN_H

#include "../base/err.h"
#include "../config/config.h"

/* What a server needs to know of the cluster that it will be added to: asked of `endpoint` ("HOST:PORT" of any of its
 * servers) for as long as it takes, and kept as cluster.toml in `dir`, from where it is read the next time. cfg->tls says
 * under which certificate node `id` asks, and goes into that file. Errors: RFS_ECONFIG, -errno. */
int join_config(struct config *cfg, const char *endpoint, raft_id id, const char *dir,
                struct rfs_err *err);

/* Have the cluster forget server `id`, whose data in `dir` is of no more use, and take it anew as a learner; then put
 * `dir` aside as DIR.damaged-TIME, so that the node starts with nothing. `address`: where it will listen.
 * Errors: -EBUSY (the server runs), RFS_ENOQUORUM, RFS_EUNKNOWN, RFS_EIDENTITY, -EINVAL (it is the last voter), -errno.
 * After an error it may be tried again. */
int join_rebuild(const struct config *cfg, raft_id id, const char *address, const char *dir,
                 struct tls_context *tls, struct rfs_err *err);

#endif

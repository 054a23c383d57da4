/* Where no cluster file is given or found: a single node inside the mount's process. The first
 * mount of a user runs it and says where in a file; further ones are its clients, and raftctl finds
 * it there too. */
#ifndef RFS_FUSE_EMBEDDED_H
#define RFS_FUSE_EMBEDDED_H

#include "../src/config/config.h"

struct embedded {
	char dir[CONFIG_PATH_MAX];
	char endpoint_file[CONFIG_PATH_MAX];
};

/* Find, and make if needed, the embedded store's directory; `cfg` becomes its configuration.
 * -errno. */
int embedded_config(struct embedded *e, struct config *cfg, struct rfs_err *err);

/* Say where the node listens (replaced as a whole), and take that back. */
int embedded_publish(const struct embedded *e, uint16_t port, struct rfs_err *err);
void embedded_unpublish(const struct embedded *e);

/* Somebody else runs the node: where? Into cfg->nodes[0]. -ENOENT, -EINVAL. */
int embedded_find(const struct embedded *e, struct config *cfg, struct rfs_err *err);

#endif

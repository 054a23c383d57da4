/* How a mount shows the cluster's tree: a subtree as its root (`subdir=`), and owners and modes that
 * are the mount's own (`uid=`, `gid=`, `umask=`). Nothing of it reaches the cluster: what a change
 * asks for is what it asks for, and another mount shows what it did. */
#ifndef RFS_FUSE_VIEW_H
#define RFS_FUSE_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include "../src/base/op.h"

struct view {
	/* The inode that the kernel knows as FS_ROOT_INO. Nothing outside its subtree can come up, so
	 * the two numbers stand for each other and all others for themselves. */
	uint64_t root;
	bool has_uid, has_gid, has_mode;
	uint32_t uid, gid;
	uint32_t mode; /* permission bits of every inode */
};

/* The whole tree, as it is. */
#define VIEW_WHOLE ((struct view){.root = FS_ROOT_INO})

/* From the kernel's numbers to the cluster's, and back. */
void view_op(const struct view *v, struct fs_op *op);
void view_attr(const struct view *v, struct fs_attr *a);
uint64_t view_shown(const struct view *v, uint64_t ino); /* the cluster's number, as the kernel's */

#endif

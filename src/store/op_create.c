/* MKNOD (files, directories, symlinks, devices, fifos, sockets) and LINK. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Whether the operation makes sense before anything is looked up. */
static int check_mknod(const struct fs_op *op)
{
	switch (op->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		if (op->data_len != 0)
			return -EINVAL;
		break;
	case S_IFLNK:
		if (op->data_len > FS_PATH_BYTES_MAX)
			return -ENAMETOOLONG;
		if (op->data_len == 0 || memchr(op->data, '\0', op->data_len) != NULL)
			return -EINVAL;
		break;
	default: return -EINVAL;
	}
	if ((op->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
		return -EINVAL;
	return fs_name_check(op->name);
}

/* open(2) with O_CREAT finds a file that is there already. */
static int give_existing(struct store *s, const struct fs_op *op, const struct store_slot *slot,
                         struct fs_result *res)
{
	struct store_inode n;

	if ((op->flags & FS_F_EXCL) != 0 || !S_ISREG(op->mode) || !S_ISREG(slot->type))
		return -EEXIST;
	if (store_inode_load_entry(s, slot, &n) != 0)
		return STORE_FAILED;
	store_result_attr(res, &n);
	return 0;
}

static int init_new(struct store *s, const struct fs_op *op, const struct store_inode *dir,
                    struct store_inode *n)
{
	uint32_t mode = op->mode;

	store_inode_init(s, n, dir, mode, op->uid, op->gid);
	if (S_ISCHR(mode) || S_ISBLK(mode))
		n->attr.rdev = op->rdev;
	if (S_ISLNK(mode)) {
		memcpy(n->data, op->data, op->data_len);
		n->attr.size = op->data_len;
	}
	return (op->flags & FS_F_ACL) != 0 ? store_acl_inherit(s, dir, op->umask, n) : 0;
}

/* A file that has no name yet: gone with the session, unless it is linked. */
static int make_nameless(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode dir, n;
	int rc;

	if (s->session == 0 || !S_ISREG(op->mode) || op->data_len != 0 ||
	    (op->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
		return -EINVAL;
	if ((rc = store_inode_load_dir(s, op->parent, &dir)) != 0 ||
	    (rc = store_quota_check(s, dir.quota, 1, 0)) != 0)
		return rc;
	if (init_new(s, op, &dir, &n) != 0)
		return STORE_FAILED;
	n.attr.nlink = 0;
	if (store_orphan_add(s, &n) != 0)
		return STORE_FAILED;
	store_result_attr(res, &n);
	return 0;
}

int store_op_mknod(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode dir, n;
	struct store_slot slot;
	int rc;

	if ((op->flags & FS_F_TMPFILE) != 0)
		return make_nameless(s, op, res);
	rc = check_mknod(op);
	if (rc != 0 || (rc = store_inode_load_dir(s, op->parent, &dir)) != 0 ||
	    (rc = store_dir_lookup(s, op->parent, op->name, &slot)) != 0)
		return rc;
	if (slot.found)
		return give_existing(s, op, &slot, res);
	if (slot.full)
		return -ENOSPC;
	if (S_ISDIR(op->mode) && dir.attr.nlink >= STORE_DIR_LINKS_MAX)
		return -EMLINK;
	if ((rc = store_quota_check(s, dir.quota, 1, 0)) != 0)
		return rc;
	if (init_new(s, op, &dir, &n) != 0)
		return STORE_FAILED;
	if (store_dir_add(s, &dir, &slot, op->name, n.attr.ino, op->mode) != 0 ||
	    store_inode_save(s, &dir) != 0 || store_inode_save(s, &n) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_CREATE,
	                                     .ino = n.attr.ino,
	                                     .parent = op->parent,
	                                     .name = op->name,
	                                     .mode = n.attr.mode});
	store_result_attr(res, &n);
	return 0;
}

/* An open file that has lost its names stays without one; one that was made without does not. */
static int may_get_a_name(struct store *s, const struct fs_op *op)
{
	int rc = (op->flags & FS_F_TMPFILE) != 0 ? store_orphan_is_ours(s, op->ino) : 0;

	return rc < 0 ? rc : rc == 0 ? -ENOENT : 0;
}

int store_op_link(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode dir, n;
	struct store_slot slot;
	int rc = fs_name_check(op->name);

	if (rc != 0 || (rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0)
		return rc;
	if (S_ISDIR(n.attr.mode))
		return -EPERM;
	if (n.attr.nlink == 0 && (rc = may_get_a_name(s, op)) != 0)
		return rc;
	if (n.attr.nlink >= STORE_LINKS_MAX)
		return -EMLINK;
	if ((rc = store_inode_load_dir(s, op->parent, &dir)) != 0 ||
	    (rc = store_dir_lookup(s, op->parent, op->name, &slot)) != 0)
		return rc;
	if (slot.found)
		return -EEXIST;
	if (slot.full)
		return -ENOSPC;
	if ((rc = store_quota_check_move(s, &n, &dir)) != 0)
		return rc;
	if (n.attr.nlink == 0 && store_orphan_forget(s, op->ino) != 0)
		return STORE_FAILED;
	n.attr.nlink++;
	store_inode_touch(s, &n, false);
	if (store_dir_add(s, &dir, &slot, op->name, n.attr.ino, n.attr.mode) != 0 ||
	    store_inode_save(s, &dir) != 0 || store_inode_save(s, &n) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_CREATE,
	                                     .ino = n.attr.ino,
	                                     .parent = op->parent,
	                                     .name = op->name,
	                                     .mode = n.attr.mode});
	store_result_attr(res, &n);
	return 0;
}

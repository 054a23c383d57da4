/* SETATTR and WRITE. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>

#define VALID_ALL                                                                                  \
	((uint32_t)(FS_SET_MODE | FS_SET_UID | FS_SET_GID | FS_SET_SIZE | FS_SET_ATIME |           \
	            FS_SET_MTIME | FS_SET_ATIME_NOW | FS_SET_MTIME_NOW | FS_SET_CTIME))

/* As the kernel does it: set-group-id without group execution means something else and stays. */
static void kill_set_id(struct store_inode *n)
{
	n->attr.mode &= ~(uint32_t)S_ISUID;
	if ((n->attr.mode & S_IXGRP) != 0)
		n->attr.mode &= ~(uint32_t)S_ISGID;
}

int store_check_regular(const struct store_inode *n)
{
	if (S_ISDIR(n->attr.mode))
		return -EISDIR;
	return S_ISREG(n->attr.mode) ? 0 : -EINVAL;
}

static int check_growth(const struct store *s, const struct store_inode *n, uint64_t end)
{
	return end > n->attr.size ? store_quota_check(s, n->quota, 0, end - n->attr.size) : 0;
}

static int check_setattr(const struct store *s, const struct fs_op *op, const struct store_inode *n)
{
	int rc;

	if ((op->valid & FS_SET_SIZE) != 0) {
		if ((rc = store_check_regular(n)) != 0)
			return rc;
		if (op->size > FS_FILE_BYTES_MAX)
			return -EFBIG;
		if ((rc = check_growth(s, n, op->size)) != 0)
			return rc;
	}
	return (op->valid & FS_SET_MODE) != 0 && (op->mode & ~(uint32_t)(S_IFMT | 07777)) != 0
	               ? -EINVAL
	               : 0;
}

static void set_owner_and_mode(const struct fs_op *op, struct store_inode *n)
{
	bool chown = (op->valid & (FS_SET_UID | FS_SET_GID)) != 0;

	if ((op->valid & FS_SET_UID) != 0)
		n->attr.uid = op->uid;
	if ((op->valid & FS_SET_GID) != 0)
		n->attr.gid = op->gid;
	if ((op->valid & FS_SET_MODE) != 0)
		n->attr.mode = (n->attr.mode & S_IFMT) | (op->mode & 07777);
	else if (!S_ISDIR(n->attr.mode) && (chown || (op->flags & FS_F_KILL_SUID) != 0))
		kill_set_id(n);
}

static void set_times(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	int64_t old_ctime = n->attr.ctime_ns;
	/* "now" is no earlier than what is there, so that it always shows as a change */
	bool now = (op->valid & (FS_SET_SIZE | FS_SET_MTIME_NOW)) != 0;

	store_inode_touch(s, n, now);
	if ((op->valid & FS_SET_CTIME) != 0 && op->ctime_ns > old_ctime)
		n->attr.ctime_ns = op->ctime_ns;
	if ((op->valid & FS_SET_ATIME_NOW) != 0)
		n->attr.atime_ns = s->now_ns;
	else if ((op->valid & FS_SET_ATIME) != 0)
		n->attr.atime_ns = op->atime_ns;
	if ((op->valid & FS_SET_MTIME) != 0 && (op->valid & FS_SET_MTIME_NOW) == 0)
		n->attr.mtime_ns = op->mtime_ns;
}

static void emit_modify(struct store *s, const struct store_inode *n)
{
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_MODIFY,
	                                     .ino = n->attr.ino,
	                                     .mode = n->attr.mode});
}

int store_op_setattr(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	int rc;

	if ((op->valid & ~VALID_ALL) != 0)
		return -EINVAL;
	if ((rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0 ||
	    (rc = check_setattr(s, op, &n)) != 0)
		return rc;
	if ((op->valid & FS_SET_SIZE) != 0 && store_file_resize(s, &n, op->size) != 0)
		return STORE_FAILED;
	if ((op->valid & (FS_SET_SIZE | FS_SET_UID | FS_SET_GID)) != 0 &&
	    store_xattr_drop_privileges(s, &n) != 0)
		return STORE_FAILED;
	set_owner_and_mode(op, &n);
	if ((op->valid & FS_SET_MODE) != 0 && store_acl_chmod(s, &n) != 0)
		return STORE_FAILED;
	set_times(s, op, &n);
	if (store_inode_save(s, &n) != 0)
		return STORE_FAILED;
	emit_modify(s, &n);
	store_result_attr(res, &n);
	return 0;
}

static int64_t time_of(const struct store *s, const struct fs_op *op)
{
	bool before = (op->flags & FS_F_WRITTEN_BEFORE) != 0 && op->mtime_ns < s->now_ns;

	return before ? op->mtime_ns : s->now_ns;
}

int store_end_write(struct store *s, const struct fs_op *op, struct store_inode *n, bool content)
{
	if ((op->flags & FS_F_KILL_SUID) != 0)
		kill_set_id(n);
	if (store_xattr_drop_privileges(s, n) != 0)
		return STORE_FAILED;
	store_inode_touch_at(s, n, time_of(s, op), content);
	if (store_inode_save(s, n) != 0)
		return STORE_FAILED;
	emit_modify(s, n);
	return 0;
}

/* Where the write begins. */
static uint64_t offset_of(const struct fs_op *op, const struct store_inode *n)
{
	if ((op->flags & FS_F_APPEND) == 0)
		return op->offset;
	return (op->flags & FS_F_TRUNC) != 0 ? 0 : n->attr.size;
}

static int write_bytes(struct store *s, const struct fs_op *op, uint64_t offset,
                       struct store_inode *n)
{
	if ((op->flags & FS_F_TRUNC) != 0 && store_file_resize(s, n, 0) != 0)
		return STORE_FAILED;
	if (store_file_write(s, n, offset, op->data, op->data_len) != 0)
		return STORE_FAILED;
	return store_end_write(s, op, n, true);
}

int store_op_write(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	uint64_t offset;
	int rc;

	if (op->data_len > FS_WRITE_BYTES_MAX)
		return -EINVAL;
	if ((rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0 ||
	    (rc = store_check_regular(&n)) != 0)
		return rc;
	offset = offset_of(op, &n);
	if (offset > FS_FILE_BYTES_MAX || op->data_len > FS_FILE_BYTES_MAX - offset)
		return -EFBIG;
	if ((rc = check_growth(s, &n, op->data_len > 0 ? offset + op->data_len : 0)) != 0)
		return rc;
	res->value = offset;
	if ((op->data_len > 0 || (op->flags & FS_F_TRUNC) != 0) &&
	    write_bytes(s, op, offset, &n) != 0)
		return STORE_FAILED;
	store_result_attr(res, &n);
	return 0;
}

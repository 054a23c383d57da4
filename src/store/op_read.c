/* Every operation that only reads. Data goes into s->out. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* What the memory engine says of its "file system". */
#define MEMORY_BYTES_TOTAL (1ull << 30)

/* A name that is found tells by itself that its directory is one. */
static int lookup(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	struct store_slot slot;
	int rc;

	if (op->name.len == 2 && op->name.p[0] == '.' && op->name.p[1] == '.') {
		rc = store_inode_load_dir(s, op->parent, n);
		return rc == 0 ? store_inode_load(s, n->parent, -ENOENT, n) : rc;
	}
	if ((rc = fs_name_check(op->name)) != 0 ||
	    (rc = store_dir_lookup(s, op->parent, op->name, &slot)) != 0)
		return rc;
	if (slot.found)
		return store_inode_load_entry(s, &slot, n);
	rc = store_inode_load_dir(s, op->parent, n);
	return rc != 0 ? rc : -ENOENT;
}

static int check_content(const struct store_inode *n)
{
	if (S_ISDIR(n->attr.mode))
		return -EISDIR;
	return S_ISREG(n->attr.mode) ? 0 : -EINVAL;
}

static int read_bytes(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	int rc;

	if (op->size > FS_READ_BYTES_MAX)
		return -EINVAL;
	if ((rc = store_inode_load(s, op->ino, -ESTALE, n)) != 0 || (rc = check_content(n)) != 0)
		return rc;
	return store_file_read(s, n, op->offset, op->size, &s->out);
}

static int readlink_target(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	int rc = store_inode_load(s, op->ino, -ESTALE, n);

	if (rc != 0)
		return rc;
	if (!S_ISLNK(n->attr.mode))
		return -EINVAL;
	buf_put(&s->out, n->data, (size_t)n->attr.size);
	return 0;
}

/* ---- READDIR ---- */

static int entry_attr(struct store *s, const struct store_walk *w, const struct record_dentry *d,
                      bool names, struct fs_attr *attr)
{
	struct store_inode n;

	if (names) {
		*attr = (struct fs_attr){.ino = d->ino, .mode = (uint32_t)d->type << 12};
		return 0;
	}
	if (store_inode_load(s, d->ino, STORE_FAILED, &n) != 0)
		return store_fail_record(s, w->key_bytes, "leads to no inode");
	*attr = n.attr;
	return 0;
}

/* Append the entry that the walk stands on; 0 without a change for a placeholder. 1: no room, the
 * listing ends before it. */
static int put_entry(struct store *s, const struct store_walk *w, bool names, uint64_t bytes_max)
{
	struct fs_dirent out = {.cookie = w->key.second};
	struct record_dentry d;
	const char *bad = record_get_dentry(w->value, &d);
	size_t before = s->out.len;

	if (bad != NULL)
		return store_fail_record(s, w->key_bytes, bad);
	if (d.ino == 0)
		return 0;
	if (entry_attr(s, w, &d, names, &out.attr) != 0)
		return STORE_FAILED;
	out.name = d.name;
	fs_dirent_put(&s->out, &out);
	if (before == 0 || s->out.len <= bytes_max)
		return 0;
	s->out.len = before;
	return 1;
}

static int readdir_entries(struct store *s, const struct fs_op *op, struct store_inode *dir,
                           uint64_t *complete)
{
	struct record_key prefix = record_prefix_of(RECORD_DENTRY, op->ino), from;
	uint64_t bytes_max = op->size < FS_READ_BYTES_MAX ? op->size : FS_READ_BYTES_MAX;
	struct store_walk w;
	int rc = store_inode_load(s, op->ino, -ESTALE, dir);

	if (rc != 0)
		return rc;
	if (!S_ISDIR(dir->attr.mode))
		return -ENOTDIR;
	if (op->offset > INT64_MAX)
		return -EINVAL;
	from = record_key_dentry(op->ino, op->offset + 1);
	store_walk_open(s, &w, &prefix, &from);
	while ((rc = store_walk_next(s, &w)) > 0)
		if ((rc = put_entry(s, &w, (op->flags & FS_F_NAMES) != 0, bytes_max)) != 0)
			break;
	store_walk_close(s, &w);
	*complete = rc == 0 ? 1 : 0;
	return rc < 0 ? rc : 0;
}

/* ---- STATFS ---- */

/* With a quota the cluster is as large as that says, but for what the disk has no room for. */
static void limit_to_quota(const struct store *s, struct fs_statfs *out)
{
	uint64_t max = store_quota_bytes_max(s),
	         left = max > out->bytes_used ? max - out->bytes_used : 0;

	if (max == 0)
		return;
	if (out->bytes_total > max)
		out->bytes_total = max;
	if (out->bytes_free > left)
		out->bytes_free = left;
}

static int statfs_numbers(struct store *s)
{
	struct fs_statfs out = {.bytes_total = MEMORY_BYTES_TOTAL,
	                        .bytes_free = MEMORY_BYTES_TOTAL,
	                        .inodes_used = s->m.counts.inodes,
	                        .bytes_used = s->m.counts.bytes};
	struct statvfs v;

	if (s->dir != NULL) {
		if (statvfs(s->dir, &v) != 0)
			return -EIO;
		out.bytes_total = (uint64_t)v.f_blocks * v.f_frsize;
		out.bytes_free = (uint64_t)v.f_bavail * v.f_frsize;
	}
	limit_to_quota(s, &out);
	fs_statfs_put(&s->out, &out);
	return 0;
}

/* ---- by path ---- */

static bool is_root(struct fs_str path)
{
	return path.len == 0 || (path.len == 1 && path.p[0] == '/');
}

static int resolve(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	if (is_root(op->name))
		return store_inode_load_dir(s, FS_ROOT_INO, n);
	return store_path_load(s, op->name, n);
}

static int get(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	int rc = store_path_load(s, op->name, n);

	if (rc != 0)
		return rc;
	if (S_ISLNK(n->attr.mode))
		return -ELOOP;
	if ((rc = check_content(n)) != 0)
		return rc;
	return store_file_read(s, n, 0, FS_READ_BYTES_MAX, &s->out);
}

static int seek(struct store *s, const struct fs_op *op, struct store_inode *n, uint64_t *found)
{
	int rc = store_inode_load(s, op->ino, -ESTALE, n);

	if (rc != 0 || (rc = check_content(n)) != 0)
		return rc;
	if (op->offset >= n->attr.size)
		return -ENXIO;
	return store_file_seek(s, n, op->offset, (op->flags & FS_F_HOLE) != 0, found);
}

/* *n is what the answer is about, n->attr.ino 0 if about no inode. */
static int answer(struct store *s, const struct fs_op *op, struct fs_result *res,
                  struct store_inode *n)
{
	n->attr.ino = 0;
	switch (op->kind) {
	case FS_OP_LOOKUP: return lookup(s, op, n);
	case FS_OP_GETATTR: return store_inode_load(s, op->ino, -ESTALE, n);
	case FS_OP_READ: return read_bytes(s, op, n);
	case FS_OP_READLINK: return readlink_target(s, op, n);
	case FS_OP_READDIR: return readdir_entries(s, op, n, &res->value);
	case FS_OP_GET: return get(s, op, n);
	case FS_OP_RESOLVE: return resolve(s, op, n);
	case FS_OP_STATFS: return statfs_numbers(s);
	case FS_OP_LOCK_TEST: return store_op_lock_test(s, op);
	case FS_OP_LOCK_AWAIT: return store_op_lock_await(s, op, res);
	case FS_OP_LOCK_LIST: return store_op_lock_list(s, op);
	case FS_OP_GETXATTR: return store_read_xattr(s, op, n);
	case FS_OP_LISTXATTR: return store_list_xattrs(s, op, n);
	case FS_OP_SEEK: return seek(s, op, n, &res->value);
	case FS_OP_QUOTA_LIST: return store_list_quotas(s);
	case FS_OP_NONE:
	case FS_OP_SESSION_OPEN:
	case FS_OP_SESSION_CLOSE:
	case FS_OP_SESSION_EXPIRE:
	case FS_OP_MKNOD:
	case FS_OP_LINK:
	case FS_OP_UNLINK:
	case FS_OP_RMDIR:
	case FS_OP_RENAME:
	case FS_OP_SETATTR:
	case FS_OP_WRITE:
	case FS_OP_RELEASE:
	case FS_OP_PUT:
	case FS_OP_DELETE:
	case FS_OP_TXN:
	case FS_OP_LOCK:
	case FS_OP_UNLOCK:
	case FS_OP_LOCK_CANCEL:
	case FS_OP_LOCK_BREAK:
	case FS_OP_SETXATTR:
	case FS_OP_REMOVEXATTR:
	case FS_OP_FALLOCATE:
	case FS_OP_COPY:
	case FS_OP_ADOPT:
	case FS_OP_TRIM:
	case FS_OP_QUOTA_SET: return -EINVAL;
	}
	return -EINVAL;
}

int store_op_read(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	int rc = answer(s, op, res, &n);

	if (rc == 0 && n.attr.ino != 0)
		store_result_attr(res, &n);
	return rc;
}

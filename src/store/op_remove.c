/* UNLINK and RMDIR, and what becomes of a file that has lost its last name. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>
#include "../base/check.h"

int store_drop_link(struct store *s, struct store_inode *n, uint64_t keep_ino, uint64_t *lost)
{
	*lost = 0;
	if (n->attr.nlink == 0)
		return store_fail(s, RFS_ECORRUPT, "inode %llu has a name and no links",
		                  (unsigned long long)n->attr.ino);
	n->attr.nlink--;
	store_inode_touch(s, n, false);
	if (n->attr.nlink > 0)
		return store_inode_save(s, n);
	*lost = n->attr.ino;
	if (s->session != 0 && keep_ino == n->attr.ino)
		return store_orphan_add(s, n);
	return store_linger(s, n);
}

/* The directory, and what stands there under the name. */
static int find_entry(struct store *s, const struct fs_op *op, struct store_inode *dir,
                      struct store_slot *slot, struct store_inode *n)
{
	int rc = fs_name_check(op->name);

	if (rc != 0 || (rc = store_inode_load_dir(s, op->parent, dir)) != 0 ||
	    (rc = store_dir_lookup(s, op->parent, op->name, slot)) != 0)
		return rc;
	return slot->found ? store_inode_load_entry(s, slot, n) : -ENOENT;
}

static void emit_remove(struct store *s, const struct fs_op *op, const struct store_inode *n)
{
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_REMOVE,
	                                     .ino = n->attr.ino,
	                                     .parent = op->parent,
	                                     .name = op->name,
	                                     .mode = n->attr.mode});
}

int store_op_unlink(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode dir, n;
	struct store_slot slot;
	int rc = find_entry(s, op, &dir, &slot, &n);

	if (rc != 0)
		return rc;
	if (S_ISDIR(n.attr.mode))
		return -EISDIR;
	if (store_dir_remove(s, &dir, &slot) != 0 || store_inode_save(s, &dir) != 0 ||
	    store_drop_link(s, &n, op->keep_ino, &res->value) != 0)
		return STORE_FAILED;
	emit_remove(s, op, &n);
	store_result_attr(res, &n);
	return 0;
}

int store_op_rmdir(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode dir, n;
	struct store_slot slot;
	int rc = find_entry(s, op, &dir, &slot, &n);

	if (rc != 0)
		return rc;
	if (!S_ISDIR(n.attr.mode))
		return -ENOTDIR;
	if (n.entries != 0)
		return -ENOTEMPTY;
	if (store_dir_remove(s, &dir, &slot) != 0 || store_inode_save(s, &dir) != 0 ||
	    store_inode_free(s, &n) != 0)
		return STORE_FAILED;
	res->value = n.attr.ino;
	emit_remove(s, op, &n);
	return 0;
}

/* RENAME, with POSIX's rules for what may replace what, and renameat2(2)'s NOREPLACE and
 * EXCHANGE. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>

/* The two places and what stands there. `b` is `a` where both names are in one directory, so that
 * its changes add up in one inode. */
struct move {
	struct store_inode dir_a, dir_b, *a, *b;
	struct store_slot from, to;
	struct store_inode moved, target; /* target only if to.found */
};

/* Whether the directory `ino` is `above` or lies below it: 1, 0, STORE_FAILED. */
static int is_below(struct store *s, uint64_t ino, uint64_t above)
{
	struct store_inode n;
	uint64_t steps = 0;

	for (;;) {
		if (ino == above)
			return 1;
		if (ino == FS_ROOT_INO)
			return 0;
		if (store_inode_load(s, ino, STORE_FAILED, &n) != 0 || n.parent == 0 ||
		    steps++ > s->m.counts.inodes)
			return store_fail(s, RFS_ECORRUPT, "directory %llu is not below the root",
			                  (unsigned long long)ino);
		ino = n.parent;
	}
}

static int check_names(const struct fs_op *op)
{
	int rc = fs_name_check(op->name);

	if (rc == 0)
		rc = fs_name_check(op->name2);
	if (rc == 0 && (op->flags & FS_F_NOREPLACE) != 0 && (op->flags & FS_F_EXCHANGE) != 0)
		rc = -EINVAL;
	return rc;
}

static int find_both(struct store *s, const struct fs_op *op, struct move *m)
{
	int rc;

	m->a = m->b = &m->dir_a;
	if ((rc = store_inode_load_dir(s, op->parent, m->a)) != 0)
		return rc;
	if (op->parent2 != op->parent) {
		m->b = &m->dir_b;
		if ((rc = store_inode_load_dir(s, op->parent2, m->b)) != 0)
			return rc;
	}
	if ((rc = store_dir_lookup(s, op->parent, op->name, &m->from)) != 0 ||
	    (rc = store_dir_lookup(s, op->parent2, op->name2, &m->to)) != 0)
		return rc;
	if (!m->from.found)
		return -ENOENT;
	if ((rc = store_inode_load_entry(s, &m->from, &m->moved)) != 0)
		return rc;
	return m->to.found ? store_inode_load_entry(s, &m->to, &m->target) : 0;
}

/* -EINVAL if the directory `n` would come to lie in itself. */
static int check_loop(struct store *s, const struct store_inode *n, uint64_t new_parent)
{
	int rc = S_ISDIR(n->attr.mode) ? is_below(s, new_parent, n->attr.ino) : 0;

	return rc > 0 ? -EINVAL : rc;
}

static int check_replace(const struct move *m)
{
	bool dir = S_ISDIR(m->moved.attr.mode), target_dir = S_ISDIR(m->target.attr.mode);

	if (dir && !target_dir)
		return -ENOTDIR;
	if (!dir && target_dir)
		return -EISDIR;
	return target_dir && m->target.entries != 0 ? -ENOTEMPTY : 0;
}

/* Whether a directory more fits into `to`; one that is replaced or exchanged makes room. */
static int check_links(const struct store_inode *to, const struct store_inode *comes,
                       bool makes_room)
{
	return S_ISDIR(comes->attr.mode) && !makes_room && to->attr.nlink >= STORE_DIR_LINKS_MAX
	               ? -EMLINK
	               : 0;
}

static int check_move(struct store *s, const struct fs_op *op, const struct move *m)
{
	bool exchange = (op->flags & FS_F_EXCHANGE) != 0;
	int rc;

	if (m->to.found && (op->flags & FS_F_NOREPLACE) != 0)
		return -EEXIST;
	if (!m->to.found && exchange)
		return -ENOENT;
	if (!m->to.found && m->to.full)
		return -ENOSPC;
	if ((rc = check_loop(s, &m->moved, op->parent2)) != 0)
		return rc;
	if (exchange && (rc = check_loop(s, &m->target, op->parent)) != 0)
		return rc;
	if (m->to.found && !exchange && (rc = check_replace(m)) != 0)
		return rc;
	if ((rc = store_quota_check_move(s, &m->moved, m->b)) != 0 ||
	    (exchange && (rc = store_quota_check_move(s, &m->target, m->a)) != 0))
		return rc;
	if (m->a == m->b)
		return 0;
	rc = check_links(m->b, &m->moved, m->to.found && S_ISDIR(m->to.type));
	if (rc == 0 && exchange)
		rc = check_links(m->a, &m->target, S_ISDIR(m->from.type));
	return rc;
}

static void emit_rename(struct store *s, const struct store_inode *n, uint64_t parent,
                        struct fs_str name, uint64_t old_parent, struct fs_str old_name)
{
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_RENAME,
	                                     .ino = n->attr.ino,
	                                     .parent = parent,
	                                     .name = name,
	                                     .old_parent = old_parent,
	                                     .old_name = old_name,
	                                     .mode = n->attr.mode});
}

static int save_moved(struct store *s, struct store_inode *n, uint64_t parent)
{
	if (S_ISDIR(n->attr.mode))
		n->parent = parent;
	store_inode_touch(s, n, false);
	return store_inode_save(s, n);
}

static int save_dirs(struct store *s, struct move *m)
{
	int rc = store_inode_save(s, m->a);

	return rc != 0 || m->a == m->b ? rc : store_inode_save(s, m->b);
}

static int exchange_both(struct store *s, const struct fs_op *op, struct move *m)
{
	if (store_dir_replace(s, m->a, &m->from, op->name, m->target.attr.ino,
	                      m->target.attr.mode) != 0 ||
	    store_dir_replace(s, m->b, &m->to, op->name2, m->moved.attr.ino, m->moved.attr.mode) !=
	            0 ||
	    save_dirs(s, m) != 0 || save_moved(s, &m->moved, op->parent2) != 0 ||
	    save_moved(s, &m->target, op->parent) != 0)
		return STORE_FAILED;
	emit_rename(s, &m->moved, op->parent2, op->name2, op->parent, op->name);
	emit_rename(s, &m->target, op->parent, op->name, op->parent2, op->name2);
	return 0;
}

/* What stood under the new name is there no longer. */
static int remove_target(struct store *s, const struct fs_op *op, struct move *m, uint64_t *lost)
{
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_REMOVE,
	                                     .ino = m->target.attr.ino,
	                                     .parent = op->parent2,
	                                     .name = op->name2,
	                                     .mode = m->target.attr.mode});
	if (!S_ISDIR(m->target.attr.mode))
		return store_drop_link(s, &m->target, op->keep_ino, lost);
	*lost = m->target.attr.ino;
	return store_inode_free(s, &m->target);
}

static int move_one(struct store *s, const struct fs_op *op, struct move *m, uint64_t *lost)
{
	const struct fs_attr *a = &m->moved.attr;
	int rc;

	/* The new name comes first: where both names have one hash, removing the old one looks at
	 * it. */
	if (m->to.found)
		rc = store_dir_replace(s, m->b, &m->to, op->name2, a->ino, a->mode);
	else
		rc = store_dir_add(s, m->b, &m->to, op->name2, a->ino, a->mode);
	if (rc != 0 || store_dir_remove(s, m->a, &m->from) != 0 || save_dirs(s, m) != 0)
		return STORE_FAILED;
	if (m->to.found && remove_target(s, op, m, lost) != 0)
		return STORE_FAILED;
	if (save_moved(s, &m->moved, op->parent2) != 0)
		return STORE_FAILED;
	emit_rename(s, &m->moved, op->parent2, op->name2, op->parent, op->name);
	return 0;
}

/* FS_F_IF_VERSION speaks of what is under the new name. */
static bool is_other_version(const struct fs_op *op, const struct move *m, struct fs_result *res)
{
	if ((op->flags & FS_F_IF_VERSION) == 0 ||
	    op->version == (m->to.found ? m->target.attr.version : 0))
		return false;
	if (m->to.found)
		store_result_attr(res, &m->target);
	return true;
}

int store_op_rename(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct move m;
	int rc = check_names(op);

	if (rc != 0 || (rc = find_both(s, op, &m)) != 0)
		return rc;
	if (is_other_version(op, &m, res))
		return RFS_EPRECONDITION;
	if (m.to.found && m.to.ino == m.from.ino && (op->flags & FS_F_NOREPLACE) == 0) {
		store_result_attr(res, &m.moved); /* two names of one file: both stay */
		return 0;
	}
	if ((rc = check_move(s, op, &m)) != 0)
		return rc;
	if ((op->flags & FS_F_EXCHANGE) != 0)
		rc = exchange_both(s, op, &m);
	else
		rc = move_one(s, op, &m, &res->value);
	if (rc == 0)
		store_result_attr(res, &m.moved);
	return rc;
}

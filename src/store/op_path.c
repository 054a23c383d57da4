/* PUT and DELETE: changes by path. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "../base/mem.h"

#define MODE_FILE 0644u
#define MODE_DIR  0755u

/* ---- PUT ---- */

static int check_target(const struct store_path *p)
{
	if (!p->slot.found)
		return p->slot.full ? -ENOSPC : 0;
	if (S_ISDIR(p->slot.type))
		return -EISDIR;
	if (S_ISLNK(p->slot.type))
		return -ELOOP;
	return S_ISREG(p->slot.type) ? 0 : -EINVAL;
}

/* Put the new inode `n` under a name of the directory `dir`, whose default access control list counts; both get saved. */
static int enter(struct store *s, struct store_inode *dir, const struct store_slot *slot,
                 struct fs_str name, struct store_inode *n)
{
	if (store_acl_inherit(s, dir, 0, n) != 0 ||
	    store_dir_add(s, dir, slot, name, n->attr.ino, n->attr.mode) != 0 ||
	    store_inode_save(s, dir) != 0 || store_inode_save(s, n) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_CREATE,
	                                     .ino = n->attr.ino,
	                                     .parent = dir->attr.ino,
	                                     .name = name,
	                                     .mode = n->attr.mode});
	return 0;
}

/* Make the directories that are missing, from p->name on; then *dir is the last one, and p->name
 * and p->slot say where the file itself goes. */
static int make_parents(struct store *s, const struct fs_op *op, struct store_path *p,
                        struct store_inode *dir)
{
	struct fs_str next;

	while (fs_path_next(&p->rest, &next)) {
		struct store_inode n;

		store_inode_init(s, &n, dir, S_IFDIR | MODE_DIR, op->uid, op->gid);
		if (enter(s, dir, &p->slot, p->name, &n) != 0)
			return STORE_FAILED;
		*dir = n;
		p->name = next;
		if (store_dir_lookup(s, dir->attr.ino, next, &p->slot) != 0)
			return STORE_FAILED;
	}
	return 0;
}

static int put_new(struct store *s, const struct fs_op *op, struct store_path *p,
                   struct store_inode *n)
{
	uint32_t mode = (op->mode & 07777) != 0 ? op->mode & 07777 : MODE_FILE;
	struct fs_str next, after = p->rest;
	struct store_inode dir;

	if (store_inode_load(s, p->dir, STORE_FAILED, &dir) != 0)
		return store_fail(s, RFS_ECORRUPT, "directory %llu is not there",
		                  (unsigned long long)p->dir);
	if (fs_path_next(&after, &next) && dir.attr.nlink >= STORE_DIR_LINKS_MAX)
		return -EMLINK;
	if (make_parents(s, op, p, &dir) != 0)
		return STORE_FAILED;
	store_inode_init(s, n, &dir, S_IFREG | mode, op->uid, op->gid);
	if (store_file_write(s, n, 0, op->data, op->data_len) != 0)
		return STORE_FAILED;
	return enter(s, &dir, &p->slot, p->name, n);
}

/* Whether what a PUT brings fits into the quotas. */
static int check_room(struct store *s, const struct fs_op *op, const struct store_path *p)
{
	uint64_t ino = p->slot.found ? p->slot.ino : p->dir, inodes = p->slot.found ? 0 : 1;
	struct fs_str rest = p->rest, next;
	struct store_inode n;
	uint64_t old;

	if (store_inode_load(s, ino, STORE_FAILED, &n) != 0)
		return store_fail(s, RFS_ECORRUPT, "inode %llu is not there",
		                  (unsigned long long)ino);
	while (fs_path_next(&rest, &next))
		inodes++;
	old = p->slot.found ? n.attr.size : 0;
	return store_quota_check(s, n.quota, inodes, op->data_len > old ? op->data_len - old : 0);
}

static int put_over(struct store *s, const struct fs_op *op, const struct store_path *p,
                    struct store_inode *n)
{
	if (store_inode_load_entry(s, &p->slot, n) != 0 || store_file_resize(s, n, 0) != 0 ||
	    store_file_write(s, n, 0, op->data, op->data_len) != 0)
		return STORE_FAILED;
	store_inode_touch(s, n, true);
	if (store_inode_save(s, n) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_MODIFY,
	                                     .ino = n->attr.ino,
	                                     .parent = p->dir,
	                                     .name = p->name,
	                                     .mode = n->attr.mode});
	return 0;
}

/* FS_F_IF_VERSION: the key is what the caller has seen, or RFS_EPRECONDITION and what it is now. */
static int check_version(struct store *s, const struct fs_op *op, const struct store_path *p,
                         struct fs_result *res)
{
	struct store_inode n;

	if ((op->flags & FS_F_IF_VERSION) == 0)
		return 0;
	if (!p->slot.found)
		return op->version == 0 ? 0 : RFS_EPRECONDITION;
	if (store_inode_load_entry(s, &p->slot, &n) != 0)
		return STORE_FAILED;
	if (n.attr.version == op->version)
		return 0;
	store_result_attr(res, &n);
	return RFS_EPRECONDITION;
}

int store_check_put(struct store *s, const struct fs_op *op, uint32_t puts)
{
	struct store_inode dir;
	struct store_path p;
	int rc;

	if ((rc = store_path_walk(s, op->name, &p)) != 0 || (rc = check_target(&p)) != 0 ||
	    (rc = check_room(s, op, &p)) != 0 || p.slot.found)
		return rc;
	if (store_inode_load(s, p.dir, STORE_FAILED, &dir) != 0)
		return STORE_FAILED;
	return dir.attr.nlink >= STORE_DIR_LINKS_MAX - puts ? -EMLINK : 0;
}

int store_op_put(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	struct store_path p;
	int rc;

	if (op->data_len > FS_WRITE_BYTES_MAX || (op->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
		return -EINVAL;
	if ((rc = store_path_walk(s, op->name, &p)) != 0 ||
	    (rc = check_version(s, op, &p, res)) != 0 || (rc = check_target(&p)) != 0 ||
	    (rc = check_room(s, op, &p)) != 0)
		return rc;
	rc = p.slot.found ? put_over(s, op, &p, &n) : put_new(s, op, &p, &n);
	if (rc == 0)
		store_result_attr(res, &n);
	return rc;
}

/* ---- DELETE ---- */

/* The directories still to be emptied, a stack: depth costs memory, not the program's stack. */
struct todo {
	uint64_t *dirs;
	size_t n, cap;
};

struct listed {
	struct record_key key;
	uint64_t weight;
	uint64_t ino;
	struct fs_str name; /* offset into the names until all are read */
};

struct listing {
	struct listed *at;
	size_t n, cap;
	struct buf names;
};

static int list_entry(struct store *s, const struct store_walk *w, struct listing *l)
{
	struct record_dentry d;
	const char *bad = record_get_dentry(w->value, &d);

	if (bad != NULL)
		return store_fail_record(s, w->key_bytes, bad);
	l->at = mem_grow(l->at, &l->cap, l->n + 1, sizeof(*l->at));
	l->at[l->n++] = (struct listed){.key = record_key_dentry(w->key.first, w->key.second),
	                                .weight = store_weight(w->key_bytes, w->value),
	                                .ino = d.ino,
	                                .name = {NULL, d.name.len}};
	buf_put(&l->names, d.name.p, d.name.len);
	return 0;
}

static int list_all(struct store *s, uint64_t dir, struct listing *l)
{
	struct record_key prefix = record_prefix_of(RECORD_DENTRY, dir);
	struct store_walk w;
	size_t at = 0;
	int rc;

	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0 && (rc = list_entry(s, &w, l)) == 0)
		;
	store_walk_close(s, &w);
	for (size_t i = 0; i < l->n; i++) {
		l->at[i].name.p = (const char *)l->names.data + at;
		at += l->at[i].name.len;
	}
	return rc;
}

/* A directory below the tree's root goes once everything in it is on its way; its own inode at
 * once. */
static int remove_listed(struct store *s, uint64_t dir, const struct listed *e, struct todo *todo)
{
	struct store_inode n;
	uint64_t lost;

	if (store_state_del(s, &e->key, e->weight) != 0)
		return STORE_FAILED;
	if (e->ino == 0)
		return 0;
	if (store_inode_load(s, e->ino, STORE_FAILED, &n) != 0)
		return store_fail_record(s, record_key_bytes(&e->key), "leads to no inode");
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_REMOVE,
	                                     .ino = e->ino,
	                                     .parent = dir,
	                                     .name = e->name,
	                                     .mode = n.attr.mode});
	if (!S_ISDIR(n.attr.mode))
		return store_drop_link(s, &n, 0, &lost);
	todo->dirs = mem_grow(todo->dirs, &todo->cap, todo->n + 1, sizeof(*todo->dirs));
	todo->dirs[todo->n++] = e->ino;
	return store_inode_free(s, &n);
}

static int empty_directory(struct store *s, uint64_t dir, struct todo *todo)
{
	struct listing l = {0};
	int rc = list_all(s, dir, &l);

	for (size_t i = 0; i < l.n && rc == 0; i++)
		rc = remove_listed(s, dir, &l.at[i], todo);
	free(l.at);
	buf_free(&l.names);
	return rc;
}

static int empty_tree(struct store *s, uint64_t top)
{
	struct todo todo = {.n = 1, .cap = 1, .dirs = mem_alloc(sizeof(*todo.dirs))};
	int rc = 0;

	todo.dirs[0] = top;
	while (todo.n > 0 && rc == 0)
		rc = empty_directory(s, todo.dirs[--todo.n], &todo);
	free(todo.dirs);
	return rc;
}

static int remove_named(struct store *s, const struct store_path *p, struct store_inode *n,
                        uint64_t *lost)
{
	struct store_inode dir;

	if (store_inode_load(s, p->dir, STORE_FAILED, &dir) != 0)
		return store_fail(s, RFS_ECORRUPT, "directory %llu is not there",
		                  (unsigned long long)p->dir);
	if (store_dir_remove(s, &dir, &p->slot) != 0 || store_inode_save(s, &dir) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_REMOVE,
	                                     .ino = n->attr.ino,
	                                     .parent = p->dir,
	                                     .name = p->name,
	                                     .mode = n->attr.mode});
	if (!S_ISDIR(n->attr.mode))
		return store_drop_link(s, n, 0, lost);
	*lost = n->attr.ino;
	if (n->entries != 0 && empty_tree(s, n->attr.ino) != 0)
		return STORE_FAILED;
	return store_inode_free(s, n);
}

static int find_to_delete(struct store *s, const struct fs_op *op, struct store_path *p,
                          struct store_inode *n)
{
	if (!p->slot.found)
		return -ENOENT;
	if (store_inode_load_entry(s, &p->slot, n) != 0)
		return STORE_FAILED;
	if (S_ISDIR(n->attr.mode) && n->entries != 0 && (op->flags & FS_F_RECURSIVE) == 0)
		return -ENOTEMPTY;
	return 0;
}

int store_check_delete(struct store *s, const struct fs_op *op)
{
	struct store_inode n;
	struct store_path p;
	int rc = store_path_walk(s, op->name, &p);

	return rc != 0 ? rc : find_to_delete(s, op, &p, &n);
}

int store_op_delete(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	struct store_path p;
	int rc = store_path_walk(s, op->name, &p);

	if (rc != 0 || (rc = check_version(s, op, &p, res)) != 0 ||
	    (rc = find_to_delete(s, op, &p, &n)) != 0)
		return rc;
	return remove_named(s, &p, &n, &res->value);
}

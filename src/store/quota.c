/* Quotas: one for the cluster, and one for each tree that was given one. Every inode says which tree it is in, so that
 * what a change costs is known without a walk upwards; names do not lead from one tree into another (a rename or link
 * there is -EXDEV, as between file systems, and mv copies). Trees do not lie within each other.
 *
 * The table in memory is rebuilt from the records at open; those that a command changes are written at its end.
 * What counts is sizes, so that it can be said before a change is made: a hole counts as what it hides. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "../base/check.h"
#include "../base/mem.h"

struct store_quota {
	uint32_t id;
	struct record_quota r;
	uint64_t weight; /* of the record; 0: none yet */
	bool dirty;
	UT_hash_handle hh;
};

static struct store_quota *find(const struct store *s, uint32_t id)
{
	struct store_quota *q;

	HASH_FIND(hh, s->quotas, &id, sizeof(id), q);
	return q;
}

static struct store_quota *add(struct store *s, uint32_t id)
{
	struct store_quota *q = mem_zalloc(sizeof(*q));

	q->id = id;
	HASH_ADD(hh, s->quotas, id, sizeof(q->id), q);
	return q;
}

/* ---- counting ---- */

void store_quota_count(struct store *s, uint32_t id, int64_t inodes, int64_t bytes)
{
	struct store_quota *q = id != 0 ? find(s, id) : NULL;

	s->m.counts.inodes += (uint64_t)inodes;
	s->m.counts.bytes += (uint64_t)bytes;
	if (q == NULL || (inodes == 0 && bytes == 0))
		return;
	q->r.inodes += (uint64_t)inodes;
	q->r.bytes += (uint64_t)bytes;
	q->dirty = true;
}

static bool exceeds(uint64_t used, uint64_t more, uint64_t max)
{
	return max != 0 && more > 0 && (used > max || more > max - used);
}

static int check_whole(const struct store *s, uint64_t inodes, uint64_t bytes)
{
	const struct store_quota *q = find(s, 0);

	return q != NULL && (exceeds(s->m.counts.inodes, inodes, q->r.inodes_max) ||
	                     exceeds(s->m.counts.bytes, bytes, q->r.bytes_max))
	               ? -ENOSPC
	               : 0;
}

static int check_tree(const struct store *s, uint32_t id, uint64_t inodes, uint64_t bytes)
{
	const struct store_quota *q = id != 0 ? find(s, id) : NULL;

	return q != NULL && (exceeds(q->r.inodes, inodes, q->r.inodes_max) ||
	                     exceeds(q->r.bytes, bytes, q->r.bytes_max))
	               ? -EDQUOT
	               : 0;
}

int store_quota_check(const struct store *s, uint32_t id, uint64_t inodes, uint64_t bytes)
{
	int rc = check_whole(s, inodes, bytes);

	return rc == 0 ? check_tree(s, id, inodes, bytes) : rc;
}

int store_quota_check_moved(const struct store *s, uint32_t id, uint64_t bytes, uint32_t from,
                            uint64_t freed)
{
	uint64_t rest = bytes > freed ? bytes - freed : 0;
	int rc = check_whole(s, 0, rest);

	return rc == 0 ? check_tree(s, id, 0, id == from ? rest : bytes) : rc;
}

int store_quota_check_move(const struct store *s, const struct store_inode *n,
                           const struct store_inode *to)
{
	const struct store_quota *q;

	if (n->quota == to->quota)
		return 0;
	q = to->quota == 0 ? find(s, n->quota) : NULL; /* the top of a tree moves with it */
	return q != NULL && q->r.root == n->attr.ino ? 0 : -EXDEV;
}

void store_quota_root_gone(struct store *s, const struct store_inode *n)
{
	struct store_quota *q = n->quota != 0 ? find(s, n->quota) : NULL;

	if (q == NULL || q->r.root != n->attr.ino)
		return;
	q->r.root = 0;
	q->r.bytes_max = q->r.inodes_max = 0;
	q->dirty = true;
}

static int save(struct store *s, struct store_quota *q)
{
	struct record_key k = record_key_quota(q->id);

	q->dirty = false;
	/* files that are open and have no name may outlive their tree */
	if (q->id != 0 && q->r.root == 0 && q->r.inodes == 0) {
		uint64_t weight = q->weight;

		HASH_DELETE(hh, s->quotas, q);
		free(q);
		return weight != 0 ? store_state_del(s, &k, weight) : 0;
	}
	buf_clear(&s->rec);
	record_put_quota(&s->rec, &q->r);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, q->weight,
	                       &q->weight);
}

int store_quota_save(struct store *s)
{
	struct store_quota *q, *next;

	HASH_ITER (hh, s->quotas, q, next) {
		if (q->dirty && save(s, q) != 0)
			return STORE_FAILED;
	}
	return 0;
}

/* ---- making a tree of a directory, and taking that back ---- */

/* What stands below a directory, and how often each is named there. */
struct member {
	uint64_t ino;
	uint32_t names;
	bool is_dir;
	UT_hash_handle hh;
};

struct members {
	struct member *by_ino; /* in the order in which they were found */
	uint32_t n;
};

static void free_members(struct members *all)
{
	struct member *m = all->by_ino, *next;

	HASH_CLEAR(hh, all->by_ino);
	for (; m != NULL; m = next) {
		next = m->hh.next;
		free(m);
	}
}

static int add_member(struct members *all, uint64_t ino, bool is_dir)
{
	struct member *m;

	HASH_FIND(hh, all->by_ino, &ino, sizeof(ino), m);
	if (m == NULL) {
		if (all->n++ == STORE_QUOTA_TAGGED_MAX)
			return -E2BIG;
		m = mem_zalloc(sizeof(*m));
		m->ino = ino;
		m->is_dir = is_dir;
		HASH_ADD(hh, all->by_ino, ino, sizeof(m->ino), m);
	}
	m->names++;
	return 0;
}

static int add_names(struct store *s, struct members *all, uint64_t dir)
{
	struct record_key prefix = record_prefix_of(RECORD_DENTRY, dir);
	struct record_dentry d;
	struct store_walk w;
	const char *bad;
	int rc;

	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		bad = record_get_dentry(w.value, &d);
		rc = bad != NULL ? store_fail_record(s, w.key_bytes, bad) : 0;
		if (rc == 0 && d.ino != 0)
			rc = add_member(all, d.ino, S_ISDIR((uint32_t)d.type << 12));
		if (rc != 0)
			break;
	}
	store_walk_close(s, &w);
	return rc;
}

static int find_members(struct store *s, uint64_t top, struct members *all)
{
	int rc = add_member(all, top, true);

	/* the table grows behind the one we look at */
	for (struct member *m = all->by_ino; m != NULL && rc == 0; m = m->hh.next)
		if (m->is_dir)
			rc = add_names(s, all, m->ino);
	return rc;
}

/* Each may become one of tree `to`: in tree `from` now, with no name elsewhere. */
static int check_members(struct store *s, const struct members *all, uint32_t from)
{
	const struct member *m;
	struct store_inode n;

	for (m = all->by_ino; m != NULL; m = m->hh.next) {
		if (store_inode_load(s, m->ino, STORE_FAILED, &n) != 0)
			return store_fail(s, RFS_ECORRUPT,
			                  "a name leads to inode %llu, which is not there",
			                  (unsigned long long)m->ino);
		if (n.quota != from)
			return -EBUSY;
		if (!m->is_dir && n.attr.nlink != m->names)
			return -EXDEV;
	}
	return 0;
}

static int tag_members(struct store *s, const struct members *all, uint32_t to)
{
	const struct member *m;
	struct store_inode n;

	for (m = all->by_ino; m != NULL; m = m->hh.next) {
		int64_t bytes;

		if (store_inode_load(s, m->ino, STORE_FAILED, &n) != 0)
			return STORE_FAILED;
		bytes = S_ISREG(n.attr.mode) ? (int64_t)n.attr.size : 0;
		store_quota_count(s, n.quota, -1, -bytes);
		n.quota = to;
		store_quota_count(s, n.quota, 1, bytes);
		if (store_inode_save(s, &n) != 0)
			return STORE_FAILED;
	}
	return 0;
}

/* The lowest number that is free; 0: none. */
static uint32_t free_id(const struct store *s)
{
	for (uint32_t id = 1; id <= STORE_QUOTAS_MAX; id++)
		if (find(s, id) == NULL)
			return id;
	return 0;
}

static int make_tree(struct store *s, uint64_t top, struct store_quota **out)
{
	struct members all = {0};
	uint32_t id = free_id(s);
	int rc = id == 0 ? -EUSERS : find_members(s, top, &all);

	if (rc == 0)
		rc = check_members(s, &all, 0);
	if (rc == 0) {
		*out = add(s, id);
		(*out)->r.root = top;
		(*out)->dirty = true;
		rc = tag_members(s, &all, id);
	}
	free_members(&all);
	return rc;
}

/* If not everything that counts is below the directory (open files without a name), or it is too much for one step,
 * the tree stays one, without limits. */
static int unmake_tree(struct store *s, struct store_quota *q)
{
	struct members all = {0};
	int rc = q->r.inodes <= STORE_QUOTA_TAGGED_MAX ? find_members(s, q->r.root, &all) : -E2BIG;

	if (rc == 0 && all.n == q->r.inodes) {
		rc = tag_members(s, &all, 0);
		q->r.root = 0;
	}
	free_members(&all);
	q->r.bytes_max = q->r.inodes_max = 0;
	q->dirty = true;
	return rc == -E2BIG ? 0 : rc;
}

/* ---- operations ---- */

static int set_limits(struct store *s, const struct fs_op *op, struct store_quota *q)
{
	bool none = op->size == 0 && op->offset == 0;

	if (none && q->id != 0)
		return unmake_tree(s, q);
	q->r.bytes_max = op->size;
	q->r.inodes_max = op->offset;
	q->dirty = true;
	return 0;
}

static int set_for_tree(struct store *s, const struct fs_op *op, const struct store_inode *dir)
{
	struct store_quota *q = dir->quota != 0 ? find(s, dir->quota) : NULL;
	int rc = 0;

	if (q != NULL && q->r.root != dir->attr.ino)
		return -EBUSY; /* within another tree */
	if (q == NULL && op->size == 0 && op->offset == 0)
		return 0;
	if (q == NULL)
		rc = make_tree(s, dir->attr.ino, &q);
	return rc == 0 ? set_limits(s, op, q) : rc;
}

int store_op_quota_set(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_quota *q;
	struct store_inode dir;
	int rc = 0;

	if (op->name.len == 0 || (op->name.len == 1 && op->name.p[0] == '/'))
		rc = store_inode_load_dir(s, FS_ROOT_INO, &dir);
	else
		rc = store_path_load(s, op->name, &dir);
	if (rc == 0 && !S_ISDIR(dir.attr.mode))
		rc = -ENOTDIR;
	if (rc != 0)
		return rc;
	if (dir.attr.ino == FS_ROOT_INO) {
		q = find(s, 0);
		if (q == NULL)
			q = add(s, 0);
		q->r.root = FS_ROOT_INO;
		rc = set_limits(s, op, q);
	} else {
		rc = set_for_tree(s, op, &dir);
	}
	if (rc == 0)
		store_result_attr(res, &dir);
	return rc;
}

/* The name of a directory in its parent, for people; the records only lead the other way. */
static int put_name_of(struct store *s, uint64_t parent, uint64_t ino, struct buf *out)
{
	struct record_key prefix = record_prefix_of(RECORD_DENTRY, parent);
	struct record_dentry d;
	struct store_walk w;
	int rc;

	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		if (record_get_dentry(w.value, &d) != NULL || d.ino != ino)
			continue;
		buf_put(out, d.name.p, d.name.len);
		break;
	}
	store_walk_close(s, &w);
	return rc < 0 ? rc : 0;
}

static int put_path(struct store *s, uint64_t ino, struct buf *path)
{
	struct store_inode n;
	struct buf up = {0};

	buf_clear(path);
	for (unsigned depth = 0; ino != FS_ROOT_INO && depth < FS_PATH_BYTES_MAX; depth++) {
		if (store_inode_load(s, ino, STORE_FAILED, &n) != 0)
			break;
		buf_clear(&up);
		if (put_name_of(s, n.parent, ino, &up) != 0)
			break;
		if (path->len > 0)
			buf_put_u8(&up, '/');
		buf_put(&up, path->data, path->len);
		buf_clear(path);
		buf_put(path, up.data, up.len);
		ino = n.parent;
	}
	buf_free(&up);
	return s->fail.code != 0 ? STORE_FAILED : 0;
}

int store_list_quotas(struct store *s)
{
	struct store_quota *q, *next;
	struct buf path = {0};
	int rc = 0;

	HASH_ITER (hh, s->quotas, q, next) {
		struct fs_quota out = {
		        q->r.bytes_max, q->r.inodes_max, q->r.bytes, q->r.inodes, {0}};

		if (q->r.bytes_max == 0 && q->r.inodes_max == 0)
			continue;
		if (rc == 0 && put_path(s, q->r.root, &path) != 0)
			rc = STORE_FAILED;
		if (q->id == 0) {
			out.bytes = s->m.counts.bytes;
			out.inodes = s->m.counts.inodes;
		}
		out.path = (struct fs_str){(const char *)path.data, (uint32_t)path.len};
		if (rc == 0 && path.len <= FS_PATH_BYTES_MAX)
			fs_quota_put(&s->out, &out);
	}
	buf_free(&path);
	return rc;
}

uint64_t store_quota_bytes_max(const struct store *s)
{
	const struct store_quota *q = find(s, 0);

	return q != NULL ? q->r.bytes_max : 0;
}

uint64_t store_quota_inodes_max(const struct store *s)
{
	const struct store_quota *q = find(s, 0);

	return q != NULL ? q->r.inodes_max : 0;
}

const struct record_quota *store_quota_of(const struct store *s, uint32_t id)
{
	const struct store_quota *q = find(s, id);

	return q != NULL ? &q->r : NULL;
}

/* ---- at open ---- */

int store_quota_load_all(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_QUOTA);
	struct record_quota r;
	struct store_quota *q;
	struct store_walk w;
	const char *bad;
	int rc;

	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		bad = w.key.first > STORE_QUOTAS_MAX ? "number out of range"
		                                     : record_get_quota(w.value, &r);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		q = add(s, (uint32_t)w.key.first);
		q->r = r;
		q->weight = store_weight(w.key_bytes, w.value);
	}
	store_walk_close(s, &w);
	return rc;
}

void store_quota_free_all(struct store *s)
{
	struct store_quota *q = s->quotas, *next;

	HASH_CLEAR(hh, s->quotas);
	for (; q != NULL; q = next) {
		next = q->hh.next;
		free(q);
	}
}

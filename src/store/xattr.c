/* Extended attributes: all of an inode's stand in one record, in the order in which they came; the inode counts them,
 * so that an inode without any (nearly every one) costs nothing. Who may read or set which is the mount's to say, but
 * for user.raft.*, which nobody sets. Access control lists stand here too, and go with the mode (acl.c). */
#include "store_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "../base/acl.h"

#define OWN_PREFIX "user.raft."

static bool is_own(struct fs_str name)
{
	return name.len >= sizeof(OWN_PREFIX) - 1 &&
	       memcmp(name.p, OWN_PREFIX, sizeof(OWN_PREFIX) - 1) == 0;
}

static bool same(struct fs_str a, struct fs_str b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* The record, checked; empty if there is none. */
static int load(struct store *s, const struct store_inode *n, struct engine_bytes *v,
                uint64_t *weight)
{
	struct record_key k = record_key_xattrs(n->attr.ino);
	const char *bad;
	uint32_t count;
	int rc;

	*v = (struct engine_bytes){0};
	*weight = 0;
	if (n->xattrs == 0)
		return 0;
	rc = store_state_get(s, &k, v);
	if (rc < 0)
		return rc;
	bad = rc == 0 ? "extended attributes are missing" : record_check_xattrs(*v, &count);
	if (bad == NULL && count != n->xattrs)
		bad = "not as many extended attributes as the inode says";
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	*weight = store_weight(record_key_bytes(&k), *v);
	return 0;
}

/* Put the record without `name` into s->rec; *found: it was there. */
static void copy_others(struct store *s, struct engine_bytes v, struct fs_str name, bool *found)
{
	struct reader r = reader_of(v.p, v.len);
	struct record_xattr x;

	*found = false;
	buf_clear(&s->rec);
	while (record_next_xattr(&r, &x)) {
		if (same(x.name, name))
			*found = true;
		else
			record_put_xattr(&s->rec, &x);
	}
}

static int save_rest(struct store *s, struct store_inode *n, uint64_t weight)
{
	struct record_key k = record_key_xattrs(n->attr.ino);

	if (s->rec.len == 0)
		return store_state_del(s, &k, weight);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, weight, NULL);
}

int store_xattr_remove(struct store *s, struct store_inode *n, struct fs_str name, bool *found)
{
	struct engine_bytes v;
	uint64_t weight;

	if (load(s, n, &v, &weight) != 0)
		return STORE_FAILED;
	copy_others(s, v, name, found);
	if (!*found)
		return 0;
	n->xattrs--;
	return save_rest(s, n, weight);
}

int store_xattr_find(struct store *s, const struct store_inode *n, struct fs_str name,
                     struct engine_bytes *value)
{
	struct record_xattr x;
	struct engine_bytes v;
	struct reader r;
	uint64_t weight;

	if (load(s, n, &v, &weight) != 0)
		return STORE_FAILED;
	r = reader_of(v.p, v.len);
	while (record_next_xattr(&r, &x)) {
		if (!same(x.name, name))
			continue;
		*value = (struct engine_bytes){x.value, x.value_len};
		return 1;
	}
	return 0;
}

/* Put what copy_others() has left and `x` behind it. */
static int save_with(struct store *s, struct store_inode *n, const struct record_xattr *x,
                     bool found, uint64_t weight)
{
	record_put_xattr(&s->rec, x);
	if (s->rec.len > RECORD_XATTRS_BYTES_MAX || (!found && n->xattrs == RECORD_XATTRS_MAX))
		return -ENOSPC;
	if (!found)
		n->xattrs++;
	return save_rest(s, n, weight);
}

int store_xattr_put(struct store *s, struct store_inode *n, struct fs_str name, const void *value,
                    uint32_t len)
{
	const struct record_xattr x = {name, value, len};
	struct engine_bytes v;
	uint64_t weight;
	bool found;

	if (load(s, n, &v, &weight) != 0)
		return STORE_FAILED;
	copy_others(s, v, name, &found);
	return save_with(s, n, &x, found, weight);
}

int store_xattr_clear(struct store *s, struct store_inode *n)
{
	struct record_key k = record_key_xattrs(n->attr.ino);
	struct engine_bytes v;
	uint64_t weight;

	if (n->xattrs == 0)
		return 0;
	if (load(s, n, &v, &weight) != 0)
		return STORE_FAILED;
	n->xattrs = 0;
	return store_state_del(s, &k, weight);
}

int store_xattr_drop_privileges(struct store *s, struct store_inode *n)
{
	bool found;

	return n->xattrs > 0 ? store_xattr_remove(s, n, FS_STR("security.capability"), &found) : 0;
}

/* ---- changes ---- */

static int end_change(struct store *s, struct store_inode *n, struct fs_result *res)
{
	store_inode_touch(s, n, false);
	if (store_inode_save(s, n) != 0)
		return STORE_FAILED;
	store_emit(s, &(struct store_change){.kind = STORE_CHANGE_MODIFY,
	                                     .ino = n->attr.ino,
	                                     .mode = n->attr.mode});
	store_result_attr(res, n);
	return 0;
}

static int check_set(const struct fs_op *op)
{
	int rc = fs_xattr_name_check(op->name);

	if (rc != 0)
		return rc;
	if (is_own(op->name))
		return -EPERM;
	if ((op->flags & FS_F_EXCL) != 0 && (op->flags & FS_F_MUST_EXIST) != 0)
		return -EINVAL;
	return op->data_len > FS_XATTR_BYTES_MAX ? -E2BIG : 0;
}

static int set_acl(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	bool changed;
	int rc;

	if ((rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0 ||
	    (rc = store_acl_set(s, op, &n, &changed)) != 0)
		return rc;
	if (changed)
		return end_change(s, &n, res);
	store_result_attr(res, &n);
	return 0;
}

int store_op_setxattr(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	const struct record_xattr x = {op->name, op->data, op->data_len};
	struct store_inode n;
	struct engine_bytes v;
	uint64_t weight;
	bool found;
	int rc = check_set(op);

	if (rc == 0 && acl_kind_of(op->name) != ACL_NONE)
		return set_acl(s, op, res);
	if (rc != 0 || (rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0)
		return rc;
	if (load(s, &n, &v, &weight) != 0)
		return STORE_FAILED;
	copy_others(s, v, op->name, &found);
	if (found && (op->flags & FS_F_EXCL) != 0)
		return -EEXIST;
	if (!found && (op->flags & FS_F_MUST_EXIST) != 0)
		return -ENODATA;
	rc = save_with(s, &n, &x, found, weight);
	return rc != 0 ? rc : end_change(s, &n, res);
}

int store_op_removexattr(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	bool found;
	int rc = fs_xattr_name_check(op->name);

	if (rc == 0 && is_own(op->name))
		rc = -EPERM;
	if (rc != 0 || (rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0)
		return rc;
	if (store_xattr_remove(s, &n, op->name, &found) != 0)
		return STORE_FAILED;
	if (found)
		return end_change(s, &n, res);
	if (acl_kind_of(op->name) == ACL_NONE)
		return -ENODATA;
	store_result_attr(res, &n);
	return 0;
}

/* ---- reads ---- */

int store_read_xattr(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	struct engine_bytes v;
	int rc = fs_xattr_name_check(op->name);

	if (rc != 0 || (rc = store_inode_load(s, op->ino, -ESTALE, n)) != 0)
		return rc;
	if (same(op->name, FS_STR(FS_XATTR_VERSION))) {
		buf_printf(&s->out, "%" PRIu64, n->attr.version);
		return 0;
	}
	rc = store_xattr_find(s, n, op->name, &v);
	if (rc != 1)
		return rc == 0 ? -ENODATA : rc;
	buf_put(&s->out, v.p, v.len);
	return 0;
}

int store_list_xattrs(struct store *s, const struct fs_op *op, struct store_inode *n)
{
	struct record_xattr x;
	struct engine_bytes v;
	struct reader r;
	uint64_t weight;
	int rc = store_inode_load(s, op->ino, -ESTALE, n);

	if (rc != 0)
		return rc;
	if (load(s, n, &v, &weight) != 0)
		return STORE_FAILED;
	r = reader_of(v.p, v.len);
	while (record_next_xattr(&r, &x)) {
		buf_put(&s->out, x.name.p, x.name.len);
		buf_put_u8(&s->out, 0);
	}
	return 0;
}

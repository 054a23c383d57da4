/* Access control lists among the extended attributes, kept together with the mode: whoever sets one sets the other, in
 * the same entry. What a list means is in base/acl.h. Who obeys them is the mount's business (its kernel's). */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>
#include "../base/acl.h"

/* 1, with the list; 0: there is none. */
static int find(struct store *s, const struct store_inode *n, const char *name, struct acl *a)
{
	struct engine_bytes v;
	int rc = store_xattr_find(s, n, fs_str_of(name), &v);

	if (rc != 1)
		return rc;
	if (acl_get(a, v.p, v.len) != 0 || a->n == 0)
		return store_fail(s, RFS_ECORRUPT,
		                  "inode %llu has an access control list that is none",
		                  (unsigned long long)n->attr.ino);
	return 1;
}

static int put(struct store *s, struct store_inode *n, const char *name, const struct acl *a)
{
	buf_clear(&s->out);
	acl_put(&s->out, a);
	return store_xattr_put(s, n, fs_str_of(name), s->out.data, (uint32_t)s->out.len);
}

/* The access list is `a`, which may be none or say no more than the mode. */
static int set_access(struct store *s, const struct fs_op *op, struct store_inode *n,
                      const struct acl *a, bool *changed)
{
	uint32_t mode = n->attr.mode;
	bool minimal = a->n == 0 || acl_set_mode(a, &mode);
	int rc;

	if (a->n > 0 && (op->flags & FS_F_KILL_SGID) != 0)
		mode &= ~(uint32_t)S_ISGID;
	*changed = true;
	if (!minimal)
		rc = put(s, n, ACL_XATTR_ACCESS, a);
	else
		rc = store_xattr_remove(s, n, op->name, changed);
	if (rc != 0)
		return rc;
	*changed = *changed || mode != n->attr.mode;
	n->attr.mode = mode;
	return 0;
}

int store_acl_set(struct store *s, const struct fs_op *op, struct store_inode *n, bool *changed)
{
	enum acl_kind kind = acl_kind_of(op->name);
	struct acl a;
	int rc;

	if (S_ISLNK(n->attr.mode))
		return -EOPNOTSUPP;
	if ((rc = acl_get(&a, op->data, op->data_len)) != 0)
		return rc;
	if (kind == ACL_ACCESS)
		return set_access(s, op, n, &a, changed);
	if (a.n == 0)
		return store_xattr_remove(s, n, op->name, changed);
	*changed = true;
	return S_ISDIR(n->attr.mode) ? put(s, n, ACL_XATTR_DEFAULT, &a) : -EACCES;
}

int store_acl_chmod(struct store *s, struct store_inode *n)
{
	struct acl a;
	int rc = find(s, n, ACL_XATTR_ACCESS, &a);

	if (rc != 1)
		return rc;
	acl_chmod(&a, n->attr.mode);
	return put(s, n, ACL_XATTR_ACCESS, &a);
}

int store_acl_inherit(struct store *s, const struct store_inode *dir, uint32_t umask,
                      struct store_inode *n)
{
	struct acl a;
	int rc;

	if (S_ISLNK(n->attr.mode))
		return 0;
	rc = find(s, dir, ACL_XATTR_DEFAULT, &a);
	if (rc == 0)
		n->attr.mode &= ~(umask & 0777u);
	if (rc != 1)
		return rc;
	if (S_ISDIR(n->attr.mode) && put(s, n, ACL_XATTR_DEFAULT, &a) != 0)
		return STORE_FAILED;
	if (acl_inherit(&a, &n->attr.mode))
		return 0;
	return put(s, n, ACL_XATTR_ACCESS, &a) != 0 ? STORE_FAILED : 0;
}

const char *store_acl_check(const struct record_xattr *x, struct store_acl_facts *f)
{
	enum acl_kind kind = acl_kind_of(x->name);
	struct acl a;

	if (kind == ACL_NONE)
		return NULL;
	if (acl_get(&a, x->value, x->value_len) != 0 || a.n == 0)
		return "an access control list that is none";
	if (kind == ACL_DEFAULT) {
		f->has_default = true;
		return NULL;
	}
	f->has_access = true;
	f->mode = 0;
	return acl_set_mode(&a, &f->mode) ? "an access control list that says no more than a mode"
	                                  : NULL;
}

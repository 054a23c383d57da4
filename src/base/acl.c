#include "acl.h"

#include <errno.h>
#include <string.h>
#include "check.h"

#define VERSION     2u
#define ENTRY_BYTES 8u
#define PERM_ALL    07u

static bool same(struct fs_str a, struct fs_str b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

enum acl_kind acl_kind_of(struct fs_str name)
{
	if (same(name, FS_STR(ACL_XATTR_ACCESS)))
		return ACL_ACCESS;
	return same(name, FS_STR(ACL_XATTR_DEFAULT)) ? ACL_DEFAULT : ACL_NONE;
}

static bool has_id(uint16_t tag)
{
	return tag == ACL_USER || tag == ACL_GROUP;
}

/* ---- bytes ---- */

/* Which tags may follow `tag`; 0: the beginning. */
static uint16_t may_follow(uint16_t tag, bool needs_mask)
{
	switch (tag) {
	case 0: return ACL_USER_OBJ;
	case ACL_USER_OBJ:
	case ACL_USER: return ACL_USER | ACL_GROUP_OBJ;
	case ACL_GROUP_OBJ:
	case ACL_GROUP: return (uint16_t)(ACL_GROUP | ACL_MASK | (needs_mask ? 0 : ACL_OTHER));
	case ACL_MASK: return ACL_OTHER;
	default: return 0;
	}
}

static bool is_one_tag(uint16_t tag)
{
	return tag != 0 && (tag & (tag - 1)) == 0;
}

/* Order, permissions and ids are right. */
static bool is_valid(const struct acl *a)
{
	bool needs_mask = false;
	uint16_t before = 0;

	for (uint32_t i = 0; i < a->n; i++) {
		const struct acl_entry *e = &a->entries[i];

		if (!is_one_tag(e->tag) || (e->tag & may_follow(before, needs_mask)) == 0 ||
		    (e->perm & ~PERM_ALL) != 0 || (has_id(e->tag) && e->id == ACL_ID_NONE))
			return false;
		needs_mask = needs_mask || has_id(e->tag);
		before = e->tag;
	}
	return before == ACL_OTHER;
}

int acl_get(struct acl *a, const void *p, size_t n)
{
	struct reader r = reader_of(p, n);

	a->n = 0;
	if (n == 0)
		return 0;
	if (n < sizeof(uint32_t))
		return -EINVAL;
	if (reader_u32(&r) != VERSION)
		return -EOPNOTSUPP;
	if (reader_left(&r) % ENTRY_BYTES != 0)
		return -EINVAL;
	if (n > ACL_BYTES_MAX)
		return -E2BIG;
	while (reader_left(&r) > 0) {
		struct acl_entry *e = &a->entries[a->n++];

		e->tag = reader_u16(&r);
		e->perm = reader_u16(&r);
		e->id = reader_u32(&r);
		if (!has_id(e->tag))
			e->id = ACL_ID_NONE;
	}
	return a->n == 0 || is_valid(a) ? 0 : -EINVAL;
}

void acl_put(struct buf *b, const struct acl *a)
{
	buf_put_u32(b, VERSION);
	for (uint32_t i = 0; i < a->n; i++) {
		buf_put_u16(b, a->entries[i].tag);
		buf_put_u16(b, a->entries[i].perm);
		buf_put_u32(b, a->entries[i].id);
	}
}

/* ---- list and mode ---- */

/* The entries that the mode's three digits stand for; `group` is the mask, where there is one. */
struct classes {
	struct acl_entry *owner, *group, *other;
	bool minimal;
};

static struct classes classes_of(struct acl *a)
{
	struct classes c = {.minimal = true};

	for (uint32_t i = 0; i < a->n; i++) {
		struct acl_entry *e = &a->entries[i];

		switch ((enum acl_tag)e->tag) {
		case ACL_USER_OBJ: c.owner = e; break;
		case ACL_GROUP_OBJ: c.group = e; break;
		case ACL_OTHER: c.other = e; break;
		case ACL_MASK:
			c.group = e; /* behind GROUP_OBJ */
			c.minimal = false;
			break;
		case ACL_USER:
		case ACL_GROUP: c.minimal = false; break;
		}
	}
	rfs_check(c.owner != NULL && c.group != NULL && c.other != NULL); /* acl_get() saw to it */
	return c;
}

static uint32_t mode_of(const struct classes *c)
{
	return (uint32_t)c->owner->perm << 6 | (uint32_t)c->group->perm << 3 | c->other->perm;
}

bool acl_set_mode(const struct acl *a, uint32_t *mode)
{
	struct acl copy = *a;
	struct classes c = classes_of(&copy);

	*mode = (*mode & ~0777u) | mode_of(&c);
	return c.minimal;
}

static void set_classes(const struct classes *c, uint32_t mode)
{
	c->owner->perm = (uint16_t)(mode >> 6 & PERM_ALL);
	c->group->perm = (uint16_t)(mode >> 3 & PERM_ALL);
	c->other->perm = (uint16_t)(mode & PERM_ALL);
}

void acl_chmod(struct acl *a, uint32_t mode)
{
	struct classes c = classes_of(a);

	set_classes(&c, mode);
}

bool acl_inherit(struct acl *a, uint32_t *mode)
{
	struct classes c = classes_of(a);

	*mode &= ~0777u | mode_of(&c);
	set_classes(&c, *mode);
	return c.minimal;
}

/* Access control lists of POSIX 1003.1e draft 17, as a calculation: no state, no I/O. What the kernel does for the file
 * systems that it has in itself, and asks of a FUSE file system: keep list and mode together.
 *
 * A file has an access list or none, a directory besides a default list or none. The mode's owner and other bits are the
 * list's entries for them; its group bits are the mask's, or where there is no mask the owning group's. A list of these
 * three alone (minimal) says no more than the mode and is not kept. A default list makes the lists of what is created
 * in its directory.
 *
 * In bytes it is an extended attribute of the kernel's format, version 2, little-endian: version (4), then entries of tag
 * (2), permissions (2) and id (4). In canonical form the entries stand in the order of their tags (acl_get()), and the
 * id of those that are for nobody by name is ACL_ID_NONE. */
#ifndef RFS_BASE_ACL_H
#define RFS_BASE_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "op.h"

#define ACL_XATTR_ACCESS  "system.posix_acl_access"
#define ACL_XATTR_DEFAULT "system.posix_acl_default"

#define ACL_ENTRIES_MAX 511u /* the kernel asks a FUSE file system for a page at most */
#define ACL_BYTES_MAX   (4u + 8u * ACL_ENTRIES_MAX)
#define ACL_ID_NONE     UINT32_MAX

enum acl_kind { ACL_NONE, ACL_ACCESS, ACL_DEFAULT };

enum acl_tag {
	ACL_USER_OBJ = 0x01, /* the file's owner */
	ACL_USER = 0x02,     /* a user by id */
	ACL_GROUP_OBJ = 0x04,
	ACL_GROUP = 0x08,
	ACL_MASK = 0x10, /* the most that ACL_USER, ACL_GROUP_OBJ and ACL_GROUP give */
	ACL_OTHER = 0x20,
};

struct acl_entry {
	uint16_t tag;  /* enum acl_tag */
	uint16_t perm; /* 4 read, 2 write, 1 execute */
	uint32_t id;
};

struct acl {
	uint32_t n; /* 0: no list */
	struct acl_entry entries[ACL_ENTRIES_MAX];
};

/* Which list the extended attribute `name` is; ACL_NONE: it is something else. */
enum acl_kind acl_kind_of(struct fs_str name);

/* From an attribute's value, any bytes. No bytes, or no entry, is no list: *a is empty. Otherwise it is what Linux takes,
 * no more and no less: one USER_OBJ, USERs, one GROUP_OBJ, GROUPs, a MASK (needed with USERs or GROUPs), one OTHER, in this
 * order; ids are any but ACL_ID_NONE, and may be there twice, when the first counts.
 * Errors: -EINVAL, -EOPNOTSUPP (another version), -E2BIG. */
int acl_get(struct acl *a, const void *p, size_t n);
void acl_put(struct buf *b, const struct acl *a);

/* The other functions take a list that acl_get() gave, and not an empty one. `mode` may have bits beside the nine, which
 * stay as they are. */

/* Give the mode the list's permissions. Whether the list is minimal. */
bool acl_set_mode(const struct acl *a, uint32_t *mode);

/* chmod(2): give the list the mode's permissions. */
void acl_chmod(struct acl *a, uint32_t mode);

/* Turn the default list of a directory into the access list of what is created in it with the permissions `mode` asked
 * for, the umask not counted: each gives what both do. Whether the list is minimal. */
bool acl_inherit(struct acl *a, uint32_t *mode);

#endif

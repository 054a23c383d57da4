#include "inodes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>
#include "../src/base/check.h"
#include "../src/base/mem.h"

/* Hashed by parent and name, which stand one behind the other. */
struct inode_name {
	struct inode *inode;
	struct inode_name *prev, *next;         /* of the inode */
	struct inode_name *old_prev, *old_next; /* of all, the one looked up last at the end */
	UT_hash_handle hh;
	size_t key_len;
	uint8_t key[]; /* parent (8 bytes), name */
};

struct name_key {
	size_t len;
	uint8_t bytes[8 + FS_NAME_BYTES_MAX];
};

static bool name_key_of(struct name_key *k, uint64_t parent, struct fs_str name)
{
	if (name.len > FS_NAME_BYTES_MAX)
		return false;
	memcpy(k->bytes, &parent, 8);
	memcpy(k->bytes + 8, name.p, name.len);
	k->len = 8 + (size_t)name.len;
	return true;
}

static struct inode_name *name_find(struct inode_table *t, const struct name_key *k)
{
	struct inode_name *n;

	HASH_FIND(hh, t->by_name, k->bytes, k->len, n);
	return n;
}

static void name_drop(struct inode_table *t, struct inode_name *n)
{
	HASH_DELETE(hh, t->by_name, n);
	DL_DELETE2(t->oldest, n, old_prev, old_next);
	t->n_names--;
	DL_DELETE(n->inode->names, n);
	n->inode->n_names--;
	free(n);
}

static void name_add(struct inode_table *t, struct inode *i, const struct name_key *k)
{
	struct inode_name *n = mem_zalloc(sizeof(*n) + k->len);

	if (i->n_names == INODE_NAMES_MAX)
		name_drop(t, i->names);
	n->inode = i;
	n->key_len = k->len;
	memcpy(n->key, k->bytes, k->len);
	HASH_ADD_KEYPTR(hh, t->by_name, n->key, n->key_len, n);
	DL_APPEND(i->names, n);
	i->n_names++;
	DL_APPEND2(t->oldest, n, old_prev, old_next);
	t->n_names++;
}

static void drop_oldest(struct inode_table *t)
{
	struct inode *i = t->oldest->inode;

	name_drop(t, t->oldest);
	inode_trim(t, i);
}

struct inode *inode_find(struct inode_table *t, uint64_t ino)
{
	struct inode *i;

	HASH_FIND(hh, t->by_ino, &ino, sizeof(ino), i);
	return i;
}

struct inode *inode_obtain(struct inode_table *t, uint64_t ino)
{
	struct inode *i = inode_find(t, ino);

	if (i == NULL) {
		i = mem_zalloc(sizeof(*i));
		i->ino = ino;
		HASH_ADD(hh, t->by_ino, ino, sizeof(i->ino), i);
	}
	return i;
}

void inode_found(struct inode_table *t, const struct fs_attr *attr, uint64_t parent,
                 struct fs_str name)
{
	struct inode *i = inode_obtain(t, attr->ino);
	struct inode_name *n;
	struct name_key k;

	i->attr = *attr;
	if (!name_key_of(&k, parent, name)) {
		inode_trim(t, i);
		return;
	}
	n = name_find(t, &k);
	if (n != NULL && n->inode == i) {
		DL_DELETE2(t->oldest, n, old_prev, old_next);
		DL_APPEND2(t->oldest, n, old_prev, old_next);
		return;
	}
	if (n != NULL) {
		struct inode *before = n->inode;

		name_drop(t, n);
		inode_trim(t, before);
	}
	name_add(t, i, &k);
	if (t->n_names > INODE_TABLE_NAMES_MAX)
		drop_oldest(t);
}

void inode_forget(struct inode_table *t, uint64_t ino)
{
	struct inode *i = inode_find(t, ino);

	if (i == NULL || i->files != NULL)
		return;
	i->removed = false;
	while (i->names != NULL)
		name_drop(t, i->names);
	inode_trim(t, i);
}

void inode_unname(struct inode_table *t, uint64_t parent, struct fs_str name)
{
	struct inode_name *n;
	struct name_key k;

	if (!name_key_of(&k, parent, name))
		return;
	n = name_find(t, &k);
	if (n != NULL) {
		struct inode *i = n->inode;

		name_drop(t, n);
		inode_trim(t, i);
	}
}

void inode_removed(struct inode_table *t, uint64_t ino)
{
	struct inode *i = inode_find(t, ino);

	if (i == NULL || !S_ISDIR(i->attr.mode))
		return;
	i->removed = true;
	i->attr.nlink = 0;
}

struct inode *inode_open_by_name(struct inode_table *t, uint64_t parent, struct fs_str name)
{
	struct inode_name *n;
	struct name_key k;

	if (!name_key_of(&k, parent, name))
		return NULL;
	n = name_find(t, &k);
	return n != NULL && n->inode->files != NULL ? n->inode : NULL;
}

bool inode_known_as(const struct inode *i, char name[FS_NAME_BYTES_MAX + 1])
{
	const struct inode_name *n = i->names != NULL ? i->names->prev : NULL; /* the newest */

	if (n == NULL)
		return false;
	memcpy(name, n->key + 8, n->key_len - 8);
	name[n->key_len - 8] = '\0';
	return true;
}

static void inode_drop(struct inode_table *t, struct inode *i)
{
	/* the analyzer loses sight of what the macros unlink */
	/* NOLINTBEGIN(clang-analyzer-unix.Malloc) */
	while (i->names != NULL)
		name_drop(t, i->names);
	HASH_DELETE(hh, t->by_ino, i);
	/* NOLINTEND(clang-analyzer-unix.Malloc) */
	free(i);
}

void inode_trim(struct inode_table *t, struct inode *i)
{
	if (i->busy > 0 || i->names != NULL || i->removed || i->files != NULL ||
	    i->truncation != NULL || i->group != NULL || i->waiting != NULL || i->changes != NULL ||
	    i->holds != NULL)
		return;
	inode_drop(t, i);
}

void inode_table_free(struct inode_table *t)
{
	struct inode *i, *next;

	HASH_ITER (hh, t->by_ino, i, next) {
		rfs_check(i->files == NULL && i->truncation == NULL && i->group == NULL &&
		          i->waiting == NULL && i->changes == NULL);
		inode_drop(t, i);
	}
	rfs_check(t->by_name == NULL);
}

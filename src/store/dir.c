/* Directories: names, each under a cookie that is made of the name's hash, so that it stays the
 * same while other names come and go. How names of one hash share it: docs/store-format.md. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include "../base/check.h"

uint64_t store_dir_cookie(const struct store *s, struct fs_str name)
{
	uint64_t hash = XXH3_64bits(name.p, name.len) & s->dentry_hash_mask;

	return (hash != 0 ? hash : 1) << 8;
}

/* The record at a cookie: 1, 0, STORE_FAILED. d->name is borrowed as store_state_get() says. */
static int dentry_get(struct store *s, uint64_t dir, uint64_t cookie, struct record_dentry *d,
                      uint64_t *weight)
{
	struct record_key k = record_key_dentry(dir, cookie);
	struct engine_bytes v;
	const char *bad;
	int rc = store_state_get(s, &k, &v);

	if (rc <= 0)
		return rc;
	bad = record_get_dentry(v, d);
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	*weight = store_weight(record_key_bytes(&k), v);
	return 1;
}

static bool same_name(struct fs_str a, struct fs_str b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

int store_dir_lookup(struct store *s, uint64_t dir, struct fs_str name, struct store_slot *slot)
{
	uint64_t cookie = store_dir_cookie(s, name), weight;
	struct record_dentry d;

	*slot = (struct store_slot){.full = true};
	for (uint64_t i = 0; i < STORE_DENTRY_ORDINALS; i++) {
		int rc = dentry_get(s, dir, cookie + i, &d, &weight);

		if (rc < 0)
			return rc;
		if (rc > 0 && d.ino != 0) {
			if (!same_name(d.name, name))
				continue;
			*slot = (struct store_slot){true,       d.ino,  (uint32_t)d.type << 12,
			                            cookie + i, weight, false};
			return 0;
		}
		if (slot->full)
			*slot = (struct store_slot){.cookie = cookie + i,
			                            .weight = rc > 0 ? weight : 0};
		if (rc == 0)
			return 0;
	}
	return 0;
}

static int dentry_put(struct store *s, uint64_t dir, uint64_t cookie, const struct record_dentry *d,
                      uint64_t old_weight)
{
	struct record_key k = record_key_dentry(dir, cookie);

	buf_clear(&s->rec);
	record_put_dentry(&s->rec, d);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, old_weight,
	                       NULL);
}

int store_dir_add(struct store *s, struct store_inode *dir, const struct store_slot *slot,
                  struct fs_str name, uint64_t ino, uint32_t mode)
{
	struct record_dentry d = {ino, (uint8_t)((mode & S_IFMT) >> 12), name};

	rfs_check(!slot->found && !slot->full);
	dir->entries++;
	if (S_ISDIR(mode))
		dir->attr.nlink++;
	store_inode_touch(s, dir, true);
	return dentry_put(s, dir->attr.ino, slot->cookie, &d, slot->weight);
}

int store_dir_replace(struct store *s, struct store_inode *dir, const struct store_slot *slot,
                      struct fs_str name, uint64_t ino, uint32_t mode)
{
	struct record_dentry d = {ino, (uint8_t)((mode & S_IFMT) >> 12), name};

	rfs_check(slot->found);
	if (S_ISDIR(slot->type))
		dir->attr.nlink--;
	if (S_ISDIR(mode))
		dir->attr.nlink++;
	store_inode_touch(s, dir, true);
	return dentry_put(s, dir->attr.ino, slot->cookie, &d, slot->weight);
}

/* Delete the last record of a hash, and the placeholders that become the last. */
static int delete_last(struct store *s, uint64_t dir, uint64_t cookie, uint64_t weight)
{
	struct record_dentry d;

	for (;;) {
		struct record_key k = record_key_dentry(dir, cookie);
		int rc = store_state_del(s, &k, weight);

		if (rc != 0 || cookie % STORE_DENTRY_ORDINALS == 0)
			return rc;
		rc = dentry_get(s, dir, --cookie, &d, &weight);
		if (rc <= 0 || d.ino != 0)
			return rc < 0 ? rc : 0;
	}
}

int store_dir_remove(struct store *s, struct store_inode *dir, const struct store_slot *slot)
{
	const struct record_dentry placeholder = {0};
	struct record_dentry d;
	uint64_t weight;
	int rc = 0;

	rfs_check(slot->found);
	dir->entries--;
	if (S_ISDIR(slot->type))
		dir->attr.nlink--;
	store_inode_touch(s, dir, true);
	if ((slot->cookie + 1) % STORE_DENTRY_ORDINALS != 0)
		rc = dentry_get(s, dir->attr.ino, slot->cookie + 1, &d, &weight);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return dentry_put(s, dir->attr.ino, slot->cookie, &placeholder, slot->weight);
	return delete_last(s, dir->attr.ino, slot->cookie, slot->weight);
}

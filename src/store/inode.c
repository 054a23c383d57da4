/* Inodes: in and out of their records, and what every change does to times and version. */
#include "store_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/check.h"

#define DIR_BYTES  4096u /* what a directory says it is */
#define DIR_BLOCKS 8u

int store_inode_load(struct store *s, uint64_t ino, int absent, struct store_inode *n)
{
	struct record_key k = record_key_inode(ino);
	struct record_inode rec;
	struct engine_bytes v;
	const char *bad;
	int rc = store_state_get(s, &k, &v);

	if (rc <= 0)
		return rc == 0 ? absent : rc;
	bad = record_get_inode(v, ino, &rec);
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	n->attr = rec.attr;
	n->parent = rec.parent;
	n->entries = rec.entries;
	n->xattrs = rec.xattrs;
	n->quota = rec.quota;
	n->content = rec.content;
	n->weight = store_weight(record_key_bytes(&k), v);
	if (rec.data_len > 0)
		memcpy(n->data, rec.data, rec.data_len);
	return 0;
}

int store_inode_load_dir(struct store *s, uint64_t ino, struct store_inode *n)
{
	int rc = store_inode_load(s, ino, -ENOENT, n);

	if (rc != 0)
		return rc;
	return S_ISDIR(n->attr.mode) ? 0 : -ENOTDIR;
}

int store_inode_load_entry(struct store *s, const struct store_slot *slot, struct store_inode *n)
{
	int rc = store_inode_load(s, slot->ino, STORE_FAILED, n);

	if (rc != 0)
		return store_fail(s, RFS_ECORRUPT, "a name leads to inode %llu, which is not there",
		                  (unsigned long long)slot->ino);
	if ((n->attr.mode & S_IFMT) != slot->type)
		return store_fail(s, RFS_ECORRUPT,
		                  "a name and its inode %llu are of different types",
		                  (unsigned long long)slot->ino);
	return 0;
}

int store_inode_save(struct store *s, struct store_inode *n)
{
	struct record_key k = record_key_inode(n->attr.ino);
	struct record_inode rec = {
	        .attr = n->attr,
	        .parent = n->parent,
	        .entries = n->entries,
	        .xattrs = n->xattrs,
	        .quota = n->quota,
	        .content = n->content,
	        .data = n->data,
	};

	if (record_is_inline(n->attr.mode, n->attr.size)) {
		rec.data_len = (uint32_t)n->attr.size;
		rec.attr.blocks = n->attr.blocks = (n->attr.size + 511) / 512;
	}
	buf_clear(&s->rec);
	record_put_inode(&s->rec, &rec);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, n->weight,
	                       &n->weight);
}

static void init_attr(struct store *s, struct fs_attr *a, const struct store_inode *dir,
                      uint32_t mode, uint32_t uid, uint32_t gid)
{
	bool inherit = (dir->attr.mode & S_ISGID) != 0;

	*a = (struct fs_attr){
	        .ino = s->m.next_ino++,
	        .version = s->pos.index,
	        .mode = mode | (inherit && S_ISDIR(mode) ? (uint32_t)S_ISGID : 0),
	        .nlink = S_ISDIR(mode) ? 2 : 1,
	        .size = S_ISDIR(mode) ? DIR_BYTES : 0,
	        .blocks = S_ISDIR(mode) ? DIR_BLOCKS : 0,
	        .uid = uid,
	        .gid = inherit ? dir->attr.gid : gid,
	        .atime_ns = s->now_ns,
	        .mtime_ns = s->now_ns,
	        .ctime_ns = s->now_ns,
	};
}

void store_inode_init(struct store *s, struct store_inode *n, const struct store_inode *dir,
                      uint32_t mode, uint32_t uid, uint32_t gid)
{
	init_attr(s, &n->attr, dir, mode, uid, gid);
	n->parent = S_ISDIR(mode) ? dir->attr.ino : 0;
	n->entries = n->weight = 0;
	n->xattrs = 0;
	n->quota = dir->quota;
	n->content = n->attr.ino;
	store_quota_count(s, n->quota, 1, 0);
}

int store_inode_make_root(struct store *s)
{
	struct store_inode root;

	s->m.next_ino = FS_ROOT_INO;
	store_inode_init(s, &root, &(const struct store_inode){.attr.ino = FS_ROOT_INO},
	                 S_IFDIR | 0755, 0, 0);
	return store_inode_save(s, &root);
}

int store_inode_free(struct store *s, struct store_inode *n)
{
	struct record_key k = record_key_inode(n->attr.ino);

	if (S_ISREG(n->attr.mode)) {
		if (store_file_clear(s, n) != 0)
			return STORE_FAILED;
		store_quota_count(s, n->quota, 0, -(int64_t)n->attr.size);
	}
	if (store_xattr_clear(s, n) != 0)
		return STORE_FAILED;
	store_quota_root_gone(s, n);
	store_quota_count(s, n->quota, -1, 0);
	return store_state_del(s, &k, n->weight);
}

static int64_t later(int64_t now, int64_t old)
{
	if (now > old)
		return now;
	return old < INT64_MAX ? old + 1 : old;
}

void store_inode_touch_at(struct store *s, struct store_inode *n, int64_t time_ns, bool content)
{
	n->attr.ctime_ns = later(time_ns, n->attr.ctime_ns);
	if (content)
		n->attr.mtime_ns = later(time_ns, n->attr.mtime_ns);
	n->attr.version = s->pos.index;
}

void store_inode_touch(struct store *s, struct store_inode *n, bool content)
{
	store_inode_touch_at(s, n, s->now_ns, content);
}

void store_result_attr(struct fs_result *res, const struct store_inode *n)
{
	res->has_attr = true;
	res->attr = n->attr;
}

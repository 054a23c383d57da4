/* Paths, as raftctl's keys are: components joined by slashes, from the root, symlinks not
 * followed. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>

static int check_directory(const struct store_slot *slot)
{
	if (S_ISLNK(slot->type))
		return -ELOOP;
	return S_ISDIR(slot->type) ? 0 : -ENOTDIR;
}

int store_path_walk(struct store *s, struct fs_str path, struct store_path *out)
{
	int rc = fs_path_check(path);

	if (rc != 0)
		return rc;
	*out = (struct store_path){.dir = FS_ROOT_INO, .rest = path};
	for (;;) {
		struct fs_str after;

		(void)fs_path_next(&out->rest, &out->name);
		if ((rc = store_dir_lookup(s, out->dir, out->name, &out->slot)) != 0)
			return rc;
		after = out->rest;
		if (!out->slot.found || !fs_path_next(&after, &(struct fs_str){0}))
			return 0;
		if ((rc = check_directory(&out->slot)) != 0)
			return rc;
		out->dir = out->slot.ino;
	}
}

int store_path_load(struct store *s, struct fs_str path, struct store_inode *n)
{
	struct store_path p;
	int rc = store_path_walk(s, path, &p);

	if (rc != 0)
		return rc;
	return p.slot.found ? store_inode_load_entry(s, &p.slot, n) : -ENOENT;
}

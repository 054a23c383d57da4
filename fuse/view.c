#include "view.h"

#include <sys/stat.h>

static void enter(const struct view *v, uint64_t *ino)
{
	if (*ino == FS_ROOT_INO)
		*ino = v->root;
}

void view_op(const struct view *v, struct fs_op *op)
{
	enter(v, &op->ino);
	enter(v, &op->parent);
	enter(v, &op->parent2);
}

uint64_t view_shown(const struct view *v, uint64_t ino)
{
	return ino == v->root ? FS_ROOT_INO : ino;
}

void view_attr(const struct view *v, struct fs_attr *a)
{
	a->ino = view_shown(v, a->ino);
	if (v->has_uid)
		a->uid = v->uid;
	if (v->has_gid)
		a->gid = v->gid;
	if (v->has_mode)
		a->mode = (a->mode & S_IFMT) | v->mode;
}

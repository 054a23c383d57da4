/* The notifier's calls: answered as done where they are part of the change that it is armed for, and refused otherwise.
 * Attributes are asked for each time, as for anybody's call: with old ones the kernel would cut off mapped pages. */
#include "notify_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "ops.h"
#include "reply.h"
#include "request.h"

/* NULL: somebody else's call. */
static struct notify_armed *caller(fuse_req_t req)
{
	struct notify *n = notify_of(mount_of(req));

	return n != NULL && notify_is_caller(n, fuse_req_ctx(req)->pid) ? notify_armed(n) : NULL;
}

static bool is_for(const struct notify_armed *a, uint32_t kind)
{
	return a->serial != 0 && a->head.kind == kind;
}

static bool is_name(struct fs_str want, uint64_t want_parent, const char *name, fuse_ino_t parent)
{
	return parent == want_parent && strlen(name) == want.len &&
	       memcmp(name, want.p, want.len) == 0;
}

static bool is_path(const struct notify_armed *a, const char *name, fuse_ino_t parent)
{
	return is_name(a->name, a->head.parent, name, parent);
}

static bool is_old_path(const struct notify_armed *a, const char *name, fuse_ino_t parent)
{
	return is_name(a->old_name, a->head.old_parent, name, parent);
}

/* ---- entries ---- */

static void reply_found(struct request *r, const struct fs_attr *attr)
{
	struct fuse_entry_param e;

	reply_entry(&e, attr);
	(void)fuse_reply_entry(request_take(r), &e);
}

static bool is_gone(int code)
{
	return code == -ENOENT || code == -ESTALE;
}

/* As it was before its name went: with one link more. Where nothing is left of it the kernel needs to know
 * what it was; `size` brought that along. */
static void gone_done(struct request *r, const struct fs_result *res)
{
	struct fs_attr attr = res->attr;

	if (res->err != 0 && !is_gone(res->err)) {
		request_reply_code(r, reply_errno(res->err, false));
		return;
	}
	if (res->err != 0)
		attr = (struct fs_attr){.ino = r->args.op.ino, .mode = (uint32_t)r->args.size};
	attr.nlink = S_ISDIR(attr.mode) ? 2 : attr.nlink + 1;
	reply_found(r, &attr);
}

static void moved_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno(res->err, false));
	else
		reply_found(r, &res->attr);
}

/* What is there now; if it is another kind of thing by now, its own creation is still to be told. */
static void made_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno(res->err, false));
	else if (((res->attr.mode ^ (uint32_t)r->args.size) & S_IFMT) != 0)
		request_reply_code(r, ENOENT);
	else
		reply_found(r, &res->attr);
}

static void answer_with(fuse_req_t req, uint64_t ino, uint32_t mode, request_done done)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_GETATTR, .ino = ino},
	        .done = done,
	        .size = mode,
	        .quiet = true,
	};

	request_start(mount_of(req), req, &a);
}

static void wrap_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct notify_armed *a = caller(req);

	if (a == NULL || a->serial == 0 || a->done)
		op_lookup(req, parent, name);
	else if (is_for(a, STORE_CHANGE_CREATE) && is_path(a, name, parent))
		(void)fuse_reply_err(req, ENOENT);
	else if (is_for(a, STORE_CHANGE_REMOVE) && is_path(a, name, parent))
		answer_with(req, a->head.ino, a->head.mode, gone_done);
	else if (is_for(a, STORE_CHANGE_RENAME) && is_old_path(a, name, parent))
		answer_with(req, a->head.ino, a->head.mode, moved_done);
	else if (is_for(a, STORE_CHANGE_RENAME) && is_path(a, name, parent) && a->head.over != 0)
		answer_with(req, a->head.over, a->head.mode, gone_done);
	else if (is_for(a, STORE_CHANGE_RENAME) && is_path(a, name, parent))
		(void)fuse_reply_err(req, ENOENT);
	else
		op_lookup(req, parent, name);
}

/* ---- changes ---- */

static void make(fuse_req_t req, struct notify_armed *a, fuse_ino_t parent, const char *name)
{
	if (!is_for(a, STORE_CHANGE_CREATE) || a->done || !is_path(a, name, parent)) {
		(void)fuse_reply_err(req, EPERM);
		return;
	}
	a->done = true;
	answer_with(req, a->head.ino, a->head.mode, made_done);
}

static void wrap_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct notify_armed *a = caller(req);

	if (a != NULL)
		make(req, a, parent, name);
	else
		op_mknod(req, parent, name, mode, rdev);
}

static void wrap_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct notify_armed *a = caller(req);

	if (a != NULL)
		make(req, a, parent, name);
	else
		op_mkdir(req, parent, name, mode);
}

static void wrap_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct notify_armed *a = caller(req);

	if (a != NULL)
		make(req, a, parent, name);
	else
		op_symlink(req, target, parent, name);
}

static void take_away(fuse_req_t req, struct notify_armed *a, fuse_ino_t parent, const char *name)
{
	bool ok = is_for(a, STORE_CHANGE_REMOVE) && !a->done && is_path(a, name, parent);

	a->done = a->done || ok;
	(void)fuse_reply_err(req, ok ? 0 : EPERM);
}

static void wrap_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct notify_armed *a = caller(req);

	if (a != NULL)
		take_away(req, a, parent, name);
	else
		op_unlink(req, parent, name);
}

static void wrap_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct notify_armed *a = caller(req);

	if (a != NULL)
		take_away(req, a, parent, name);
	else
		op_rmdir(req, parent, name);
}

static void wrap_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                        const char *newname, unsigned flags)
{
	struct notify_armed *a = caller(req);
	bool ok;

	if (a == NULL) {
		op_rename(req, parent, name, newparent, newname, flags);
		return;
	}
	ok = is_for(a, STORE_CHANGE_RENAME) && !a->done && is_old_path(a, name, parent) &&
	     is_path(a, newname, newparent);
	a->done = a->done || ok;
	(void)fuse_reply_err(req, ok ? 0 : EPERM);
}

static void wrap_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                         struct fuse_file_info *fi)
{
	const struct notify_armed *a = caller(req);

	if (a == NULL)
		op_setattr(req, ino, attr, to_set, fi);
	else if (is_for(a, STORE_CHANGE_MODIFY) && ino == a->head.ino)
		op_getattr(req, ino, fi);
	else
		(void)fuse_reply_err(req, EPERM);
}

/* It never makes a file so, or writes to one, or asks for anything else that changes one. */
static void wrap_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                        struct fuse_file_info *fi)
{
	if (caller(req) != NULL)
		(void)fuse_reply_err(req, EPERM);
	else
		op_create(req, parent, name, mode, fi);
}

static void wrap_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
	if (caller(req) != NULL)
		(void)fuse_reply_err(req, EPERM);
	else
		op_write(req, ino, bytes, size, off, fi);
}

static void wrap_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	size_t n = strlen(NOTIFY_ARM);

	if (caller(req) != NULL && ino == FS_ROOT_INO && strncmp(name, NOTIFY_ARM, n) == 0)
		notify_arm(notify_of(mount_of(req)), req, strtoull(name + n, NULL, 10), size);
	else
		op_getxattr(req, ino, name, size);
}

void notify_wrap(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = wrap_lookup;
	ops->mknod = wrap_mknod;
	ops->mkdir = wrap_mkdir;
	ops->symlink = wrap_symlink;
	ops->unlink = wrap_unlink;
	ops->rmdir = wrap_rmdir;
	ops->rename = wrap_rename;
	ops->setattr = wrap_setattr;
	ops->create = wrap_create;
	ops->write = wrap_write;
	ops->getxattr = wrap_getxattr;
}

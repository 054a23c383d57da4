/* Changes of directories: making, linking, removing, renaming. */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>
#include "handle.h"
#include "reply.h"
#include "virtual.h"

/* Whether a change of `name` in `parent` has to be refused here; replies then. */
static bool refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name, int exists_errno)
{
	if (virtual_is(parent)) {
		(void)fuse_reply_err(req, EACCES);
		return true;
	}
	if (virtual_has(parent, name)) {
		(void)fuse_reply_err(req, exists_errno);
		return true;
	}
	if (fs_str_of(name).len > FS_NAME_BYTES_MAX) {
		(void)fuse_reply_err(req, ENAMETOOLONG);
		return true;
	}
	return false;
}

/* ---- making ---- */

/* A cluster that is held at an older protocol version has no access control lists, and refuses what speaks of them: then
 * the umask is all there is to it. */
static bool starts_over_without_acl(struct request *r, const struct fs_result *res)
{
	struct request_args a = r->args;

	if (res->err != -EOPNOTSUPP || (a.op.flags & FS_F_ACL) == 0 || r->req == NULL)
		return false;
	a.op.flags &= ~(uint32_t)FS_F_ACL;
	a.op.mode &= ~(a.op.umask & 0777u);
	a.op.name = a.name;
	request_start(r->mount, request_take(r), &a);
	return true;
}

static void made_done(struct request *r, const struct fs_result *res)
{
	struct fuse_entry_param e;
	struct mount *m = r->mount;

	if (starts_over_without_acl(r, res))
		return;
	if (res->err != 0 || !res->has_attr) {
		request_reply_code(r, res->err != 0 ? reply_errno(res->err, true) : EIO);
		return;
	}
	reply_entry(&e, &res->attr);
	if (fuse_reply_entry(request_take(r), &e) == 0)
		inode_found(&m->inodes, &res->attr, r->args.parent, r->args.name);
}

static void start_mknod(fuse_req_t req, struct request_args *a, fuse_ino_t parent, const char *name,
                        mode_t mode)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);

	a->op.kind = FS_OP_MKNOD;
	a->op.parent = parent;
	a->op.name = fs_str_of(name);
	a->op.mode = mode;
	a->op.uid = who->uid;
	a->op.gid = who->gid;
	if (mount_of(req)->options->acl && !S_ISLNK(mode)) {
		a->op.flags |= FS_F_ACL;
		a->op.umask = (uint32_t)who->umask;
	}
	a->parent = parent;
	a->name = a->op.name;
	request_start(mount_of(req), req, a);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct request_args a = {.op = {.flags = FS_F_EXCL, .rdev = rdev}, .done = made_done};

	if (!refuse_name(req, parent, name, EEXIST))
		start_mknod(req, &a, parent, name, (mode & S_IFMT) != 0 ? mode : mode | S_IFREG);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct request_args a = {.op = {.flags = FS_F_EXCL}, .done = made_done};

	if (!refuse_name(req, parent, name, EEXIST))
		start_mknod(req, &a, parent, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs_str t = fs_str_of(target);
	struct request_args a = {
	        .op = {.flags = FS_F_EXCL, .data = t.p, .data_len = t.len},
	        .done = made_done,
	};

	if (refuse_name(req, parent, name, EEXIST))
		return;
	if (t.len > FS_PATH_BYTES_MAX)
		(void)fuse_reply_err(req, ENAMETOOLONG);
	else
		start_mknod(req, &a, parent, name, S_IFLNK | 0777);
}

/* The kernel thought there was no such file, and so checked no permission to open it. When another
 * mount was faster, the kernel is sent back to look again (ESTALE), unless the opener may open it
 * in any case. */
static bool was_made_by_other(const struct request *r, const struct fs_result *res)
{
	const struct fuse_ctx *who = fuse_req_ctx(r->req);

	return r->mount->options->check_permission && res->attr.version != res->index &&
	       who->uid != 0 && who->uid != res->attr.uid;
}

static bool is_tmpfile(const struct request *r)
{
	return (r->args.op.flags & FS_F_TMPFILE) != 0;
}

static void create_done(struct request *r, const struct fs_result *res)
{
	struct fuse_file_info fi = {.flags = r->args.open_flags};
	struct mount *m = r->mount;
	struct fuse_entry_param e;
	struct file *f;
	bool truncate;

	if (starts_over_without_acl(r, res))
		return;
	if (res->err != 0 || !res->has_attr) {
		request_reply_code(r, res->err != 0 ? reply_errno(res->err, true) : EIO);
		return;
	}
	if (was_made_by_other(r, res)) {
		request_reply_code(r, ESTALE);
		return;
	}
	truncate = (fi.flags & O_TRUNC) != 0 && res->attr.size > 0;
	f = file_new(m, res->attr.ino, fi.flags, fuse_req_ctx(r->req)->pid, truncate);
	f->uid = fuse_req_ctx(r->req)->uid;
	f->write_truncates = (fi.flags & O_TRUNC) != 0 && !truncate;
	if (is_tmpfile(r)) {
		f->inode->kept = f->inode->nameless = true;
		f->inode->attr = res->attr;
	}
	op_fill_open_reply(m, &fi, f);
	reply_entry(&e, &res->attr);
	if (fuse_reply_create(request_take(r), &e, &fi) != 0)
		file_release(m, f);
	else if (r->args.name.len > 0)
		inode_found(&m->inodes, &res->attr, r->args.parent, r->args.name);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
	struct request_args a = {
	        .op = {.flags = (fi->flags & O_EXCL) != 0 ? FS_F_EXCL : 0},
	        .done = create_done,
	        .open_flags = fi->flags,
	};

	if (strcmp(name, INIT_TMPFILE_NAME) == 0) {
		a.op.flags = FS_F_TMPFILE;
		name = "";
	}
	if (!refuse_name(req, parent, name, EEXIST))
		start_mknod(req, &a, parent, name, (mode & ~(mode_t)S_IFMT) | S_IFREG);
}

static void link_done(struct request *r, const struct fs_result *res)
{
	struct inode *i = res->err == 0 ? inode_find(&r->mount->inodes, r->args.op.ino) : NULL;

	if (i != NULL && i->nameless)
		i->nameless = i->kept = false;
	made_done(r, res);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	const struct inode *i = inode_find(&mount_of(req)->inodes, ino);
	const struct request_args a = {
	        .op = {.kind = FS_OP_LINK,
	               .ino = ino,
	               .parent = parent,
	               .name = fs_str_of(name),
	               .flags = i != NULL && i->nameless ? FS_F_TMPFILE : 0},
	        .done = link_done,
	        .ino = i != NULL && i->nameless ? ino : 0, /* who gives it a name shows it */
	        .parent = parent,
	        .name = fs_str_of(name),
	};

	if (refuse_name(req, parent, name, EEXIST))
		return;
	if (virtual_is(ino))
		(void)fuse_reply_err(req, EPERM);
	else
		request_start(mount_of(req), req, &a);
}

/* ---- removing ---- */

/* The inode of `name` if it is open here, so that the servers keep it for our handles; 0. From now
 * on it counts as kept: an FS_OP_RELEASE too many does no harm, one too few would. */
static uint64_t keep_of(struct mount *m, fuse_ino_t parent, const char *name)
{
	struct inode *i = inode_open_by_name(&m->inodes, parent, fs_str_of(name));

	if (i == NULL)
		return 0;
	i->kept = true;
	return i->ino;
}

static void unlink_done(struct request *r, const struct fs_result *res)
{
	if (res->err == 0)
		inode_unname(&r->mount->inodes, r->args.parent, r->args.name);
	request_done_code(r, res);
}

static void rmdir_done(struct request *r, const struct fs_result *res)
{
	if (res->err == 0) {
		inode_removed(&r->mount->inodes, res->value);
		inode_unname(&r->mount->inodes, r->args.parent, r->args.name);
	}
	request_done_code(r, res);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request_args a = {
	        .op = {.kind = FS_OP_UNLINK, .parent = parent, .name = fs_str_of(name)},
	        .done = unlink_done,
	        .parent = parent,
	        .name = fs_str_of(name),
	};

	if (refuse_name(req, parent, name, EACCES))
		return;
	a.op.keep_ino = keep_of(mount_of(req), parent, name);
	request_start(mount_of(req), req, &a);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_RMDIR, .parent = parent, .name = fs_str_of(name)},
	        .done = rmdir_done,
	        .parent = parent,
	        .name = fs_str_of(name),
	};

	if (!refuse_name(req, parent, name, EACCES))
		request_start(mount_of(req), req, &a);
}

/* ---- renaming ---- */

static void rename_done(struct request *r, const struct fs_result *res)
{
	/* the kernel looks up both names before it uses them again */
	if (res->err == 0) {
		inode_removed(&r->mount->inodes, res->value);
		inode_unname(&r->mount->inodes, r->args.parent, r->args.name);
	}
	request_done_code(r, res);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
               const char *newname, unsigned flags)
{
	struct request_args a = {
	        .op = {.kind = FS_OP_RENAME,
	               .parent = parent,
	               .name = fs_str_of(name),
	               .parent2 = newparent,
	               .name2 = fs_str_of(newname),
	               .flags = ((flags & RENAME_NOREPLACE) != 0 ? FS_F_NOREPLACE : 0) |
	                        ((flags & RENAME_EXCHANGE) != 0 ? FS_F_EXCHANGE : 0)},
	        .done = rename_done,
	        .parent = parent,
	        .name = fs_str_of(name),
	};

	if (refuse_name(req, parent, name, EACCES) || refuse_name(req, newparent, newname, EACCES))
		return;
	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0) {
		(void)fuse_reply_err(req, EINVAL);
		return;
	}
	if ((flags & RENAME_EXCHANGE) == 0)
		a.op.keep_ino = keep_of(mount_of(req), newparent, newname);
	request_start(mount_of(req), req, &a);
}

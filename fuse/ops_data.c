/* Open files. Every read(2) and write(2) of up to 1 MiB is one request, and so one atomic
 * operation: files are opened for direct I/O, without the page cache (whose pages and size could
 * come from different versions). */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include "group.h"
#include "handle.h"
#include "locks.h"
#include "reply.h"
#include "virtual.h"

void op_fill_open_reply(struct mount *m, struct fuse_file_info *fi, struct file *f)
{
	fi->fh = (uintptr_t)f;
	fi->direct_io = 1;
	fi->keep_cache = 0;
	/* close(2) is our business where there may be a truncation to send, or locks to end: as long
	 * as nobody here has locked a range of bytes, not where there are only reads */
	fi->noflush =
	        (f->flags & O_ACCMODE) == O_RDONLY && !f->owes_truncation && !m->has_byte_locks;
}

/* Opening asks nobody: the kernel has just looked the name up. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct fuse_file_info reply = *fi;
	struct file *f;

	if (virtual_is(ino)) {
		virtual_open(m, req, ino, fi);
		return;
	}
	f = file_new(m, ino, fi->flags, fuse_req_ctx(req)->pid, (fi->flags & O_TRUNC) != 0);
	f->uid = fuse_req_ctx(req)->uid;
	op_fill_open_reply(m, &reply, f);
	if (fuse_reply_open(req, &reply) != 0) /* interrupted: the kernel will not release it */
		file_release(m, f);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	file_release(mount_of(req), file_of(fi));
	(void)fuse_reply_err(req, 0);
}

/* ---- bytes ---- */

static void read_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, false));
	else
		(void)fuse_reply_buf(request_take(r), res->data,
		                     res->data_len < r->args.size ? res->data_len : r->args.size);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct file *f = file_of(fi);
	const struct request_args a = {
	        .op = {.kind = FS_OP_READ,
	               .ino = ino,
	               .offset = (uint64_t)off,
	               .size = size < FS_READ_BYTES_MAX ? size : FS_READ_BYTES_MAX},
	        .done = read_done,
	        .file = f,
	        .ino = ino,
	        .size = size,
	};

	if (virtual_is(ino))
		virtual_read(req, size, off, fi);
	else
		request_start(mount_of(req), req, &a);
}

static void write_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, true));
	else
		(void)fuse_reply_write(request_take(r), r->args.size);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t off,
              struct fuse_file_info *fi)
{
	/* Pages of a mapping are written back to where they came from, however the file was
	 * opened. */
	bool append = (fi->flags & O_APPEND) != 0 && !fi->writepage;
	const struct request_args a = {
	        .op = {.kind = FS_OP_WRITE,
	               .ino = ino,
	               .offset = append ? 0 : (uint64_t)off,
	               .flags = (append ? FS_F_APPEND : 0) | file_kill_suid(fuse_req_ctx(req)->uid),
	               .data = bytes,
	               .data_len = (uint32_t)size},
	        .done = write_done,
	        .file = file_of(fi),
	        .ino = ino,
	        .size = size,
	        .lock_owner = fi->lock_owner,
	        .collect = mount_of(req)->options->commit_close && size > 0 && !fi->writepage &&
	                   (fi->flags & O_DSYNC) == 0,
	        .unsignalled = fi->writepage != 0,
	};

	if (virtual_is(ino))
		(void)fuse_reply_err(req, EACCES);
	else if (size > FS_WRITE_BYTES_MAX) /* more than was agreed with the kernel */
		(void)fuse_reply_err(req, EIO);
	else
		request_start(mount_of(req), req, &a);
}

/* ---- barriers ---- */

static void barrier_done(struct request *r, const struct fs_result *res)
{
	int code = group_error(r->args.file, r->args.fsync, res->err);

	request_reply_code(r, reply_errno_ino(code, true));
}

static void flush_done(struct request *r, const struct fs_result *res)
{
	int code = group_error(r->args.file, r->args.fsync, res->err);

	locks_close(r->mount, request_take(r), r->args.file, r->args.lock_owner,
	            reply_errno_ino(code, true));
}

/* Whether to commit what was written through `f`: not when a child has closed what it inherited, as each one does that
 * a program is started in, and the process that wrote has it still. */
static bool is_to_commit(const struct mount *m, const struct file *f, pid_t pid)
{
	return f->in_group && (f->writer == pid || !file_is_held_by(m, f, f->writer));
}

/* Whether to send the truncation: not as long as the process has the descriptor twice, to write through the other one. */
static bool is_to_truncate(const struct mount *m, const struct file *f, pid_t pid)
{
	return f->owes_truncation && !file_is_held_by(m, f, pid);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	pid_t pid = fuse_req_ctx(req)->pid;
	const struct request_args a = {
	        .done = flush_done,
	        .file = file_of(fi),
	        .ino = ino,
	        .lock_owner = fi->lock_owner,
	        .unsignalled = true,
	};

	if (virtual_is(ino)) {
		(void)fuse_reply_err(req, 0);
	} else if (is_to_commit(m, a.file, pid)) {
		group_close(a.file); /* even if nobody waits: the process may have been killed */
		request_start(m, req, &a);
	} else if (is_to_truncate(m, a.file, pid)) {
		request_start(m, req, &a);
	} else {
		locks_close(m, req, a.file, a.lock_owner,
		            reply_errno_ino(group_error(a.file, false, 0), true));
	}
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	const struct request_args a = {
	        .done = barrier_done, .file = file_of(fi), .ino = ino, .fsync = true};

	(void)datasync;
	if (virtual_is(ino))
		(void)fuse_reply_err(req, 0);
	else
		request_start(mount_of(req), req, &a);
}

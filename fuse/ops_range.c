/* Ranges of open files, whose bytes stay with the servers: fallocate(2), SEEK_DATA and SEEK_HOLE,
 * copy_file_range(2). */
#include "ops.h"

#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>
#include "handle.h"
#include "reply.h"
#include "virtual.h"

static void range_done(struct request *r, const struct fs_result *res)
{
	request_reply_code(r, reply_errno_ino(res->err, true));
}

/* Where it is too much for one step, go on with the rest. Somebody who was interrupted meanwhile cannot be told that
 * nothing was done. */
static void fallocate_done(struct request *r, const struct fs_result *res)
{
	struct request_args rest = r->args;

	if (res->err != 0 || res->value <= rest.op.offset) {
		range_done(r, res);
	} else if (r->interrupted) {
		request_reply_code(r, ETIMEDOUT);
	} else {
		rest.op.size -= res->value - rest.op.offset;
		rest.op.offset = res->value;
		request_start(r->mount, request_take(r), &rest);
	}
}

/* COLLAPSE, INSERT and UNSHARE the kernel refuses for every FUSE file system. */
static bool falloc_of(int mode, uint32_t *ours)
{
	switch (mode) {
	case 0: *ours = FS_FALLOC_EXTEND; return true;
	case FALLOC_FL_KEEP_SIZE: *ours = FS_FALLOC_KEEP_SIZE; return true;
	case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: *ours = FS_FALLOC_PUNCH; return true;
	case FALLOC_FL_ZERO_RANGE: *ours = FS_FALLOC_ZERO; return true;
	case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
		*ours = FS_FALLOC_ZERO_KEEP_SIZE;
		return true;
	default: return false;
	}
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  struct fuse_file_info *fi)
{
	struct request_args a = {
	        .op = {.kind = FS_OP_FALLOCATE,
	               .ino = ino,
	               .offset = (uint64_t)offset,
	               .size = (uint64_t)length,
	               .flags = file_kill_suid(fuse_req_ctx(req)->uid)},
	        .done = fallocate_done,
	        .file = file_of(fi),
	        .ino = ino,
	};

	if (virtual_is(ino))
		(void)fuse_reply_err(req, EACCES);
	else if (!falloc_of(mode, &a.op.mode))
		(void)fuse_reply_err(req, EOPNOTSUPP);
	else
		request_start(mount_of(req), req, &a);
}

static void seek_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, false));
	else
		(void)fuse_reply_lseek(request_take(r), (off_t)res->value);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_SEEK,
	               .ino = ino,
	               .offset = (uint64_t)off,
	               .flags = whence == SEEK_HOLE ? FS_F_HOLE : 0},
	        .done = seek_done,
	        .file = file_of(fi),
	        .ino = ino,
	};

	if (virtual_is(ino) || (whence != SEEK_DATA && whence != SEEK_HOLE))
		(void)fuse_reply_err(req, EINVAL);
	else
		request_start(mount_of(req), req, &a);
}

static void copy_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, true));
	else
		(void)fuse_reply_write(request_take(r), (size_t)res->value);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
                        struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_off,
                        struct fuse_file_info *to_fi, size_t len, int flags)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_COPY,
	               .ino2 = from,
	               .offset2 = (uint64_t)from_off,
	               .ino = to,
	               .offset = (uint64_t)to_off,
	               .size = len,
	               .flags = file_kill_suid(fuse_req_ctx(req)->uid)},
	        .done = copy_done,
	        .file = file_of(to_fi),
	        .ino = to,
	};

	/* Refused so, the kernel copies by itself, through reads, which pay the source's truncation
	 * and see its group. */
	if (flags != 0)
		(void)fuse_reply_err(req, EINVAL);
	else if (virtual_is(from) || virtual_is(to) || file_of(from_fi)->owes_truncation ||
	         file_of(from_fi)->inode->group != NULL)
		(void)fuse_reply_err(req, EOPNOTSUPP);
	else
		request_start(mount_of(req), req, &a);
}

#include "reply.h"

#include <errno.h>
#include "../src/base/err.h"

#define NS_PER_S 1000000000

int reply_errno(int code, bool is_change)
{
	if (code == 0)
		return 0;
	switch (code) {
	case RFS_ENOTLEADER:
	case RFS_ENOQUORUM: return is_change ? EROFS : ETIMEDOUT;
	case RFS_EUNKNOWN:
	case RFS_ESESSION: return ETIMEDOUT;
	case RFS_EBUSYLIMIT: return EAGAIN;
	case RFS_ESHUTDOWN: return ENOTCONN;
	case RFS_ECONFIG: return EINVAL;
	case RFS_ECORRUPT:
	case RFS_EPROTO:
	case RFS_EIDENTITY:
	case RFS_EVERSION: return EIO;
	default: break;
	}
	/* libfuse and the kernel take 1…999 and 1…511: anything else would turn into ERANGE. */
	return code < 0 && code > -512 ? -code : EIO;
}

int reply_errno_ino(int code, bool is_change)
{
	return code == -ENOENT ? ESTALE : reply_errno(code, is_change);
}

static struct timespec timespec_of(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};

	if (ts.tv_nsec < 0) { /* before 1970: nanoseconds count upwards all the same */
		ts.tv_nsec += NS_PER_S;
		ts.tv_sec--;
	}
	return ts;
}

static int64_t ns_of(struct timespec ts)
{
	int64_t ns;

	/* years 1678 to 2262; beyond them the nearest that there is */
	if (__builtin_mul_overflow((int64_t)ts.tv_sec, (int64_t)NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

void reply_stat(struct stat *st, const struct fs_attr *a)
{
	*st = (struct stat){
	        .st_ino = a->ino,
	        .st_mode = a->mode,
	        .st_nlink = a->nlink,
	        .st_uid = a->uid,
	        .st_gid = a->gid,
	        .st_rdev = a->rdev,
	        .st_size = (off_t)a->size,
	        .st_blocks = (blkcnt_t)a->blocks,
	        .st_blksize = REPLY_BLOCK_BYTES,
	        .st_atim = timespec_of(a->atime_ns),
	        .st_mtim = timespec_of(a->mtime_ns),
	        .st_ctim = timespec_of(a->ctime_ns),
	};
}

void reply_entry(struct fuse_entry_param *e, const struct fs_attr *a)
{
	*e = (struct fuse_entry_param){.ino = a->ino, .generation = 0};
	reply_stat(&e->attr, a);
}

int reply_setattr_op(struct fs_op *op, const struct stat *st, int to_set)
{
	static const struct {
		int fuse;
		uint32_t ours;
	} map[] = {
	        {FUSE_SET_ATTR_MODE, FS_SET_MODE},
	        {FUSE_SET_ATTR_UID, FS_SET_UID},
	        {FUSE_SET_ATTR_GID, FS_SET_GID},
	        {FUSE_SET_ATTR_SIZE, FS_SET_SIZE},
	        {FUSE_SET_ATTR_ATIME, FS_SET_ATIME},
	        {FUSE_SET_ATTR_MTIME, FS_SET_MTIME},
	        {FUSE_SET_ATTR_ATIME_NOW, FS_SET_ATIME_NOW},
	        {FUSE_SET_ATTR_MTIME_NOW, FS_SET_MTIME_NOW},
	        {FUSE_SET_ATTR_CTIME, FS_SET_CTIME},
	};

	op->valid = 0;
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		if ((to_set & map[i].fuse) != 0)
			op->valid |= map[i].ours;
	}
	/* "now" comes with the plain flag set too; the entry's own time decides then */
	if ((op->valid & FS_SET_ATIME_NOW) != 0)
		op->valid &= ~(uint32_t)FS_SET_ATIME;
	if ((op->valid & FS_SET_MTIME_NOW) != 0)
		op->valid &= ~(uint32_t)FS_SET_MTIME;
	if ((op->valid & FS_SET_SIZE) != 0 && st->st_size < 0)
		return -EINVAL;
	op->mode = st->st_mode;
	op->uid = st->st_uid;
	op->gid = st->st_gid;
	op->size = (op->valid & FS_SET_SIZE) != 0 ? (uint64_t)st->st_size : 0;
	op->atime_ns = ns_of(st->st_atim);
	op->mtime_ns = ns_of(st->st_mtim);
	op->ctime_ns = ns_of(st->st_ctim);
	return 0;
}

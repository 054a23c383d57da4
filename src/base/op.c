#include "op.h"

#include <errno.h>
#include <string.h>
#include "check.h"
#include "mem.h"

struct fs_str fs_str_of(const char *terminated)
{
	size_t n = strlen(terminated);

	rfs_check(n <= UINT32_MAX);
	return (struct fs_str){terminated, (uint32_t)n};
}

bool fs_op_is_write(enum fs_op_kind kind)
{
	return kind > FS_OP_NONE && kind < FS_OP_LOOKUP;
}

/* What there is to know of each kind. */
static const struct op_info {
	const char *name;
	uint32_t version; /* of the protocol, that brought it */
	enum fs_op_by by;
	bool grows; /* or may */
} infos[] = {
        /* clang-format off */
	[FS_OP_NONE] = {"none", UINT32_MAX, FS_BY_SERVER, false},
	[FS_OP_SESSION_OPEN] = {"session-open", 1, FS_BY_STRANGER, false},
	[FS_OP_SESSION_CLOSE] = {"session-close", 1, FS_BY_SESSION, false},
	[FS_OP_SESSION_EXPIRE] = {"session-expire", 1, FS_BY_SERVER, false},
	[FS_OP_MKNOD] = {"create", 1, FS_BY_SESSION, true},
	[FS_OP_LINK] = {"link", 1, FS_BY_SESSION, true},
	[FS_OP_UNLINK] = {"unlink", 1, FS_BY_SESSION, false},
	[FS_OP_RMDIR] = {"rmdir", 1, FS_BY_SESSION, false},
	[FS_OP_RENAME] = {"rename", 1, FS_BY_SESSION, false},
	[FS_OP_SETATTR] = {"setattr", 1, FS_BY_SESSION, false},
	[FS_OP_WRITE] = {"write", 1, FS_BY_SESSION, true},
	[FS_OP_RELEASE] = {"release", 1, FS_BY_SESSION, false},
	[FS_OP_PUT] = {"put", 1, FS_BY_SESSION, true},
	[FS_OP_DELETE] = {"delete", 1, FS_BY_SESSION, false},
	[FS_OP_LOCK] = {"lock", 2, FS_BY_SESSION, false},
	[FS_OP_UNLOCK] = {"unlock", 2, FS_BY_SESSION, false},
	[FS_OP_LOCK_CANCEL] = {"lock-cancel", 2, FS_BY_SESSION, false},
	[FS_OP_LOCK_BREAK] = {"lock-break", 2, FS_BY_SESSION, false},
	[FS_OP_SETXATTR] = {"setxattr", 2, FS_BY_SESSION, true},
	[FS_OP_REMOVEXATTR] = {"removexattr", 2, FS_BY_SESSION, false},
	[FS_OP_FALLOCATE] = {"fallocate", 2, FS_BY_SESSION, true},
	[FS_OP_COPY] = {"copy", 2, FS_BY_SESSION, true},
	[FS_OP_TRIM] = {"trim", 2, FS_BY_SERVER, false},
	[FS_OP_TXN] = {"transaction", 2, FS_BY_SESSION, true},
	[FS_OP_QUOTA_SET] = {"quota-set", 2, FS_BY_SESSION, false},
	[FS_OP_ADOPT] = {"adopt", 2, FS_BY_SESSION, true},
	[FS_OP_LOOKUP] = {"lookup", 1, FS_BY_ANYONE, false},
	[FS_OP_GETATTR] = {"getattr", 1, FS_BY_ANYONE, false},
	[FS_OP_READ] = {"read", 1, FS_BY_ANYONE, false},
	[FS_OP_READLINK] = {"readlink", 1, FS_BY_ANYONE, false},
	[FS_OP_READDIR] = {"readdir", 1, FS_BY_ANYONE, false},
	[FS_OP_STATFS] = {"statfs", 1, FS_BY_ANYONE, false},
	[FS_OP_GET] = {"get", 1, FS_BY_ANYONE, false},
	[FS_OP_RESOLVE] = {"resolve", 1, FS_BY_ANYONE, false},
	[FS_OP_LOCK_TEST] = {"lock-test", 2, FS_BY_ANYONE, false},
	[FS_OP_LOCK_AWAIT] = {"lock-await", 2, FS_BY_ANYONE, false},
	[FS_OP_LOCK_LIST] = {"lock-list", 2, FS_BY_ANYONE, false},
	[FS_OP_GETXATTR] = {"getxattr", 2, FS_BY_ANYONE, false},
	[FS_OP_LISTXATTR] = {"listxattr", 2, FS_BY_ANYONE, false},
	[FS_OP_SEEK] = {"seek", 2, FS_BY_ANYONE, false},
	[FS_OP_QUOTA_LIST] = {"quota-list", 2, FS_BY_ANYONE, false},
        /* clang-format on */
};

static const struct op_info *info_of(enum fs_op_kind kind)
{
	static const struct op_info unknown = {"?", UINT32_MAX, FS_BY_SERVER, false};

	return (size_t)kind < sizeof(infos) / sizeof(infos[0]) && infos[kind].name != NULL
	               ? &infos[kind]
	               : &unknown;
}

const char *fs_op_name(enum fs_op_kind kind)
{
	return info_of(kind)->name;
}

enum fs_op_by fs_op_by(enum fs_op_kind kind)
{
	return info_of(kind)->by;
}

enum fs_right fs_op_right(enum fs_op_kind kind)
{
	if (kind == FS_OP_LOCK_BREAK || kind == FS_OP_QUOTA_SET)
		return FS_RIGHT_ADMIN;
	return fs_op_is_write(kind) ? FS_RIGHT_CHANGE : FS_RIGHT_READ;
}

/* Flags by the version that brought them. A new one stands in the mask of the version in work. */
#define FS_FLAGS_1                                                                                 \
	((uint32_t)(FS_F_EXCL | FS_F_NOREPLACE | FS_F_EXCHANGE | FS_F_APPEND | FS_F_TRUNC |        \
	            FS_F_RECURSIVE | FS_F_KILL_SUID))
#define FS_FLAGS_2                                                                                 \
	((uint32_t)(FS_F_LOCK_BYTES | FS_F_LOCK_SHARED | FS_F_LOCK_WAIT | FS_F_FENCED |            \
	            FS_F_IF_VERSION | FS_F_MUST_EXIST | FS_F_TMPFILE | FS_F_NAMES | FS_F_HOLE |    \
	            FS_F_LOCK_UNDO | FS_F_WRITTEN_BEFORE | FS_F_ACL | FS_F_KILL_SGID))

/* A wish that a server of version 1 passes over, and gives more than was asked for. */
static uint32_t flags_that_count(const struct fs_op *op)
{
	return op->kind == FS_OP_READDIR ? op->flags & ~(uint32_t)FS_F_NAMES : op->flags;
}

uint32_t fs_op_protocol(const struct fs_op *op)
{
	uint32_t version = info_of(op->kind)->version, flags = flags_that_count(op);

	if ((flags & ~(FS_FLAGS_1 | FS_FLAGS_2)) != 0)
		return UINT32_MAX;
	if ((flags & FS_FLAGS_2) != 0 && version < 2)
		return 2;
	return version;
}

bool fs_op_grows(const struct fs_op *op)
{
	if (op->kind == FS_OP_WRITE)
		return op->data_len > 0;
	if (op->kind == FS_OP_FALLOCATE)
		return op->mode != FS_FALLOC_PUNCH; /* whoever asks wants to know */
	if (op->kind == FS_OP_ADOPT)
		return (op->flags & FS_F_TRUNC) == 0; /* else the bytes are there already */
	return info_of(op->kind)->grows;
}

static const char *put_tail(char **tail, const void *p, size_t n)
{
	char *at = *tail;

	if (n > 0)
		memcpy(at, p, n);
	*tail += n;
	return at;
}

struct fs_op *fs_op_dup(const struct fs_op *op)
{
	size_t tail_len = (size_t)op->name.len + op->name2.len + op->data_len;
	struct fs_op *copy = mem_alloc(sizeof(*copy) + tail_len);
	char *tail = (char *)(copy + 1);

	*copy = *op;
	copy->name.p = put_tail(&tail, op->name.p, op->name.len);
	copy->name2.p = put_tail(&tail, op->name2.p, op->name2.len);
	copy->data = put_tail(&tail, op->data, op->data_len);
	return copy;
}

int fs_name_check(struct fs_str name)
{
	if (name.len == 0)
		return -EINVAL;
	if (name.len > FS_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	if (name.p[0] == '.' && (name.len == 1 || (name.len == 2 && name.p[1] == '.')))
		return -EINVAL;
	if (memchr(name.p, '/', name.len) != NULL || memchr(name.p, '\0', name.len) != NULL)
		return -EINVAL;
	return 0;
}

int fs_xattr_name_check(struct fs_str name)
{
	if (name.len == 0 || memchr(name.p, '\0', name.len) != NULL)
		return -EINVAL;
	return name.len > FS_NAME_BYTES_MAX ? -ERANGE : 0;
}

bool fs_path_next(struct fs_str *rest, struct fs_str *component)
{
	const char *slash;

	while (rest->len > 0 && rest->p[0] == '/') {
		rest->p++;
		rest->len--;
	}
	if (rest->len == 0)
		return false;
	slash = memchr(rest->p, '/', rest->len);
	component->p = rest->p;
	component->len = slash != NULL ? (uint32_t)(slash - rest->p) : rest->len;
	rest->p += component->len;
	rest->len -= component->len;
	return true;
}

int fs_path_check(struct fs_str path)
{
	struct fs_str rest = path, component;
	uint32_t expected = 0;
	int rc;

	if (path.len > FS_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	if (path.len > 0 && path.p[0] == '/')
		expected = 1;
	while (fs_path_next(&rest, &component)) {
		/* a component somewhere else than expected: slashes were doubled */
		if (component.p != path.p + expected)
			return -EINVAL;
		rc = fs_name_check(component);
		if (rc != 0)
			return rc;
		expected += component.len + 1;
	}
	return expected > 1 && expected == path.len + 1 ? 0 : -EINVAL;
}

void fs_attr_put(struct buf *b, const struct fs_attr *a)
{
	size_t start = b->len;

	buf_put_u64(b, a->ino);
	buf_put_u64(b, a->version);
	buf_put_u64(b, a->size);
	buf_put_u64(b, a->blocks);
	buf_put_u64(b, a->rdev);
	buf_put_u32(b, a->mode);
	buf_put_u32(b, a->nlink);
	buf_put_u32(b, a->uid);
	buf_put_u32(b, a->gid);
	buf_put_u64(b, (uint64_t)a->atime_ns);
	buf_put_u64(b, (uint64_t)a->mtime_ns);
	buf_put_u64(b, (uint64_t)a->ctime_ns);
	rfs_check(b->len - start == FS_ATTR_BYTES);
}

void fs_attr_get(struct reader *r, struct fs_attr *a)
{
	a->ino = reader_u64(r);
	a->version = reader_u64(r);
	a->size = reader_u64(r);
	a->blocks = reader_u64(r);
	a->rdev = reader_u64(r);
	a->mode = reader_u32(r);
	a->nlink = reader_u32(r);
	a->uid = reader_u32(r);
	a->gid = reader_u32(r);
	a->atime_ns = (int64_t)reader_u64(r);
	a->mtime_ns = (int64_t)reader_u64(r);
	a->ctime_ns = (int64_t)reader_u64(r);
}

void fs_dirent_put(struct buf *b, const struct fs_dirent *d)
{
	buf_put_u64(b, d->cookie);
	fs_attr_put(b, &d->attr);
	buf_put_u16(b, (uint16_t)d->name.len);
	buf_put(b, d->name.p, d->name.len);
}

bool fs_dirent_next(struct reader *r, struct fs_dirent *d)
{
	if (reader_left(r) == 0)
		return false;
	d->cookie = reader_u64(r);
	fs_attr_get(r, &d->attr);
	d->name.len = reader_u16(r);
	d->name.p = (const char *)reader_bytes(r, d->name.len);
	return !r->bad;
}

void fs_lock_put(struct buf *b, const struct fs_lock *l)
{
	size_t start = b->len;

	buf_put_u64(b, l->ino);
	buf_put_u64(b, l->id);
	buf_put_u64(b, l->session);
	buf_put_u64(b, l->owner);
	buf_put_u64(b, l->offset);
	buf_put_u64(b, l->size);
	buf_put_u64(b, l->token);
	buf_put_u32(b, l->flags);
	buf_put_u32(b, l->pid);
	rfs_check(b->len - start == FS_LOCK_BYTES);
}

bool fs_lock_next(struct reader *r, struct fs_lock *l)
{
	if (reader_left(r) == 0)
		return false;
	l->ino = reader_u64(r);
	l->id = reader_u64(r);
	l->session = reader_u64(r);
	l->owner = reader_u64(r);
	l->offset = reader_u64(r);
	l->size = reader_u64(r);
	l->token = reader_u64(r);
	l->flags = reader_u32(r);
	l->pid = reader_u32(r);
	return !r->bad;
}

void fs_range_put(struct buf *b, const struct fs_range *range)
{
	buf_put_u64(b, range->offset);
	buf_put_u64(b, range->len);
}

bool fs_range_next(struct reader *r, struct fs_range *range)
{
	if (reader_left(r) == 0)
		return false;
	range->offset = reader_u64(r);
	range->len = reader_u64(r);
	return !r->bad;
}

void fs_quota_put(struct buf *b, const struct fs_quota *q)
{
	buf_put_u64(b, q->bytes_max);
	buf_put_u64(b, q->inodes_max);
	buf_put_u64(b, q->bytes);
	buf_put_u64(b, q->inodes);
	buf_put_u16(b, (uint16_t)q->path.len);
	buf_put(b, q->path.p, q->path.len);
}

bool fs_quota_next(struct reader *r, struct fs_quota *q)
{
	if (reader_left(r) == 0)
		return false;
	q->bytes_max = reader_u64(r);
	q->inodes_max = reader_u64(r);
	q->bytes = reader_u64(r);
	q->inodes = reader_u64(r);
	q->path.len = reader_u16(r);
	q->path.p = (const char *)reader_bytes(r, q->path.len);
	return !r->bad;
}

void fs_statfs_put(struct buf *b, const struct fs_statfs *s)
{
	buf_put_u64(b, s->bytes_total);
	buf_put_u64(b, s->bytes_free);
	buf_put_u64(b, s->inodes_used);
	buf_put_u64(b, s->bytes_used);
}

bool fs_statfs_get(struct reader *r, struct fs_statfs *s)
{
	s->bytes_total = reader_u64(r);
	s->bytes_free = reader_u64(r);
	s->inodes_used = reader_u64(r);
	s->bytes_used = reader_u64(r);
	return !r->bad;
}

/* Listings. Offsets: 0 the start, 1 behind ".", 2 behind "..", then the cookies of the state machine, which stay valid
 * while entries come and go. All that is kept between two calls is where the listing ended: the kernel asks once more
 * behind the last entry, and gets its "nothing" without the servers. (POSIX leaves open whether a readdir(3) sees
 * what came after opendir(3); a second question there is asked again.) */
#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "handle.h"
#include "reply.h"
#include "virtual.h"
#include "../src/base/mem.h"

#define COOKIE_DOT    1
#define COOKIE_DOTDOT 2
/* A parent that is not known; programs take it as "some inode". */
#define INO_UNKNOWN 0xffffffffu
/* Bytes of the head of a dirent in the kernel's form, where names are padded to 8; and in ours. */
#define DIRENT_BYTES     24u
#define OUR_DIRENT_BYTES (8u + FS_ATTR_BYTES + 2u)
#define ANSWER_BYTES_MAX (1u << 20)

struct listing {
	fuse_req_t req;
	char *out;
	size_t size, used;
};

/* False if it does not fit. */
static bool listing_add(struct listing *l, const char *name, const struct stat *st, off_t cookie)
{
	size_t left = l->size - l->used,
	       n = fuse_add_direntry(l->req, l->out + l->used, left, name, st, cookie);

	if (n > left)
		return false;
	l->used += n;
	return true;
}

static bool listing_add_dots(struct listing *l, uint64_t ino, uint64_t offset)
{
	struct stat st = {.st_mode = S_IFDIR, .st_ino = ino};

	if (offset < COOKIE_DOT && !listing_add(l, ".", &st, COOKIE_DOT))
		return false;
	st.st_ino = ino == FS_ROOT_INO ? FS_ROOT_INO : INO_UNKNOWN;
	return offset >= COOKIE_DOTDOT || listing_add(l, "..", &st, COOKIE_DOTDOT);
}

static bool listing_add_dirent(struct listing *l, const struct fs_dirent *d)
{
	const struct stat st = {.st_mode = d->attr.mode, .st_ino = d->attr.ino};
	char name[FS_NAME_BYTES_MAX + 1];

	memcpy(name, d->name.p, d->name.len);
	name[d->name.len] = '\0';
	return listing_add(l, name, &st, (off_t)d->cookie);
}

static bool is_hidden(uint64_t parent, const struct fs_dirent *d)
{
	return parent == FS_ROOT_INO && d->name.len == sizeof(VIRTUAL_NAME) - 1 &&
	       memcmp(d->name.p, VIRTUAL_NAME, d->name.len) == 0;
}

/* Whether all dirents of `bytes` were looked at; *last is the cookie of the last one that was, and stays if there was
 * none. */
static bool listing_fill(struct listing *l, uint64_t parent, const void *bytes, size_t n,
                         uint64_t *last)
{
	struct reader rd = reader_of(bytes, n);
	struct fs_dirent d;

	while (fs_dirent_next(&rd, &d) && d.name.len <= FS_NAME_BYTES_MAX) {
		if (!is_hidden(parent, &d) && !listing_add_dirent(l, &d))
			return false;
		*last = d.cookie;
	}
	return !rd.bad;
}

static void start_listing(struct mount *m, fuse_req_t req, struct file *dir, uint64_t ino,
                          uint64_t size, uint64_t offset);

static void listing_done(struct request *r, const struct fs_result *res)
{
	struct listing l = {.req = r->req, .size = r->args.size};
	uint64_t ino = r->args.parent, last = r->args.offset;
	struct file *dir = r->args.file;
	bool all = false;

	if (res->err != 0) {
		request_reply_code(r, reply_errno(res->err, false));
		return;
	}
	l.out = mem_alloc(l.size);
	if (listing_add_dots(&l, ino, last))
		all = listing_fill(&l, ino, res->data, res->data_len, &last);
	if (all && res->value == 1 && l.used > 0)
		dir->end = last > COOKIE_DOTDOT ? last : COOKIE_DOTDOT;
	if (l.used == 0 && last > r->args.offset) /* all hidden; an empty reply would be the end */
		start_listing(r->mount, request_take(r), dir, ino, l.size, last);
	else if (l.used == 0 && res->data_len > 0)
		request_reply_code(r, EINVAL); /* as getdents(2), when not even one fits */
	else
		(void)fuse_reply_buf(request_take(r), l.out, l.used);
	free(l.out);
}

/* As many bytes of ours as fill about `size` of the kernel's, for short names. */
static uint64_t bytes_to_ask(uint64_t size)
{
	uint64_t n = (size / (DIRENT_BYTES + 8u) + 1) * (OUR_DIRENT_BYTES + 8u);

	if (n < OUR_DIRENT_BYTES + FS_NAME_BYTES_MAX)
		n = OUR_DIRENT_BYTES + FS_NAME_BYTES_MAX;
	return n < ANSWER_BYTES_MAX ? n : ANSWER_BYTES_MAX;
}

static void start_listing(struct mount *m, fuse_req_t req, struct file *dir, uint64_t ino,
                          uint64_t size, uint64_t offset)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_READDIR,
	               .ino = ino,
	               .offset = offset <= COOKIE_DOTDOT ? 0 : offset,
	               .size = bytes_to_ask(size),
	               .flags = FS_F_NAMES},
	        .done = listing_done,
	        .file = dir,
	        .parent = ino,
	        .size = size,
	        .offset = offset,
	};

	request_start(m, req, &a);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct file *dir = file_of(fi);
	bool ended = off > 0 && (uint64_t)off == dir->end;

	dir->end = 0;
	if (virtual_is(ino))
		virtual_readdir(m, req, size, off);
	else if (ended)
		(void)fuse_reply_buf(req, NULL, 0);
	else
		start_listing(m, req, dir, ino, size, (uint64_t)off);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct fuse_file_info reply = *fi;
	struct file *dir = file_new_plain(m);

	(void)ino;
	reply.fh = (uintptr_t)dir;
	if (fuse_reply_open(req, &reply) != 0)
		file_release(m, dir);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	file_release(mount_of(req), file_of(fi));
	(void)fuse_reply_err(req, 0);
}

/* Changes of directories are durable when their call returns. */
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	(void)fuse_reply_err(req, 0);
}

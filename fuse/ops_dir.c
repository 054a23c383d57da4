/* Listings, always with attributes. Offsets: 0 the start, 1 behind ".", 2 behind "..", then the
 * cookies of the state machine, which stay valid while entries come and go. Nothing is kept between
 * two calls. */
#include "ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "reply.h"
#include "request.h"
#include "virtual.h"
#include "../src/base/mem.h"

#define COOKIE_DOT    1
#define COOKIE_DOTDOT 2
/* A parent that is not known; programs take it as "some inode". */
#define INO_UNKNOWN 0xffffffffu
/* Bytes of fuse_entry_out and the head of a dirent, in the kernel's form; names are padded to 8. */
#define DIRENT_BYTES     24u
#define DIRENTPLUS_BYTES (DIRENT_BYTES + 128u)
#define OUR_DIRENT_BYTES (8u + FS_ATTR_BYTES + 2u)
#define ANSWER_BYTES_MAX (1u << 20)

struct listing {
	fuse_req_t req;
	const struct view *view;
	char *out;
	size_t size, used;
	bool plus;
};

/* False if it does not fit. */
static bool listing_add(struct listing *l, const char *name, const struct fuse_entry_param *e,
                        off_t cookie)
{
	size_t left = l->size - l->used, n;

	n = l->plus ? fuse_add_direntry_plus(l->req, l->out + l->used, left, name, e, cookie)
	            : fuse_add_direntry(l->req, l->out + l->used, left, name, &e->attr, cookie);
	if (n > left)
		return false;
	l->used += n;
	return true;
}

/* "." and "..": entries without a lookup, told by node id 0. */
static bool listing_add_dots(struct listing *l, uint64_t ino, uint64_t offset)
{
	struct fuse_entry_param e = {.attr = {.st_mode = S_IFDIR, .st_ino = ino}};

	if (offset < COOKIE_DOT && !listing_add(l, ".", &e, COOKIE_DOT))
		return false;
	e.attr.st_ino = ino == FS_ROOT_INO ? FS_ROOT_INO : INO_UNKNOWN;
	return offset >= COOKIE_DOTDOT || listing_add(l, "..", &e, COOKIE_DOTDOT);
}

static bool listing_add_dirent(struct listing *l, const struct fs_dirent *d)
{
	char name[FS_NAME_BYTES_MAX + 1];
	struct fs_attr shown = d->attr;
	struct fuse_entry_param e;

	memcpy(name, d->name.p, d->name.len);
	name[d->name.len] = '\0';
	view_attr(l->view, &shown);
	reply_entry(&e, &shown);
	return listing_add(l, name, &e, (off_t)d->cookie);
}

static bool is_hidden(uint64_t parent, const struct fs_dirent *d)
{
	return parent == FS_ROOT_INO && d->name.len == sizeof(VIRTUAL_NAME) - 1 &&
	       memcmp(d->name.p, VIRTUAL_NAME, d->name.len) == 0;
}

/* Returns how many dirents of `bytes` were looked at; *last is the cookie of the last one. */
static size_t listing_fill(struct listing *l, uint64_t parent, const void *bytes, size_t n,
                           uint64_t *last)
{
	struct reader rd = reader_of(bytes, n);
	struct fs_dirent d;
	size_t looked_at = 0;

	while (fs_dirent_next(&rd, &d) && d.name.len <= FS_NAME_BYTES_MAX) {
		if (!is_hidden(parent, &d) && !listing_add_dirent(l, &d))
			break;
		looked_at++;
		*last = d.cookie;
	}
	return looked_at;
}

/* Each entry with attributes is a lookup to the kernel. */
static void count_lookups(struct mount *m, uint64_t parent, const struct fs_result *res, size_t n)
{
	struct reader rd = reader_of(res->data, res->data_len);
	struct fs_dirent d;

	while (n-- > 0 && fs_dirent_next(&rd, &d)) {
		if (!is_hidden(parent, &d))
			inode_counted(&m->inodes, d.attr.ino);
	}
}

static void start_listing(struct mount *m, fuse_req_t req, uint64_t ino, uint64_t size,
                          uint64_t offset, bool plus);

static void listing_done(struct request *r, const struct fs_result *res)
{
	struct mount *m = r->mount;
	struct listing l = {
	        .req = r->req, .view = &m->view, .size = r->args.size, .plus = r->args.plus};
	uint64_t ino = r->args.parent, last = 0;
	size_t looked_at = 0;

	if (res->err != 0) {
		request_reply_code(r, reply_errno(res->err, false));
		return;
	}
	l.out = mem_alloc(l.size);
	if (listing_add_dots(&l, ino, r->args.offset))
		looked_at = listing_fill(&l, ino, res->data, res->data_len, &last);
	if (l.used == 0 && looked_at > 0) /* all hidden; an empty reply would be the end */
		start_listing(m, request_take(r), ino, l.size, last, l.plus);
	else if (l.used == 0 && res->data_len > 0)
		request_reply_code(r, EINVAL); /* as getdents(2), when not even one fits */
	else if (fuse_reply_buf(request_take(r), l.out, l.used) == 0 && l.plus)
		count_lookups(m, ino, res, looked_at);
	free(l.out);
}

/* As many bytes of ours as fill about `size` of the kernel's, for short names. */
static uint64_t bytes_to_ask(uint64_t size, bool plus)
{
	uint64_t kernel = (plus ? DIRENTPLUS_BYTES : DIRENT_BYTES) + 16u,
	         ours = OUR_DIRENT_BYTES + 12u;
	uint64_t n = (size / kernel + 1) * ours;

	if (n < OUR_DIRENT_BYTES + FS_NAME_BYTES_MAX)
		n = OUR_DIRENT_BYTES + FS_NAME_BYTES_MAX;
	return n < ANSWER_BYTES_MAX ? n : ANSWER_BYTES_MAX;
}

static void start_listing(struct mount *m, fuse_req_t req, uint64_t ino, uint64_t size,
                          uint64_t offset, bool plus)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_READDIR,
	               .ino = ino,
	               .offset = offset <= COOKIE_DOTDOT ? 0 : offset,
	               .size = bytes_to_ask(size, plus)},
	        .done = listing_done,
	        .parent = ino,
	        .size = size,
	        .offset = offset,
	        .plus = plus,
	};

	request_start(m, req, &a);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct mount *m = mount_of(req);

	if (virtual_is(ino))
		virtual_readdir(m, req, size, off, plus);
	else
		start_listing(m, req, ino, size, (uint64_t)off, plus);
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fuse_reply_open(req, fi);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
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

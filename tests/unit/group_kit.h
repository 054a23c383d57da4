/* What the tests of groups share: a client whose requests are answered when the test says so, by servers that keep a
 * few files in memory, and requests of the kernel without a kernel. */
#ifndef RFS_TESTS_GROUP_KIT_H
#define RFS_TESTS_GROUP_KIT_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "fuse_client.h"
#include "../../fuse/group_priv.h"
#include "../../fuse/handle.h"
#include "../../fuse/locks.h"
#include "../../src/base/log.h"
#include "../../src/base/mem.h"

#define KIT_UNUSED __attribute__((unused))

#define INO       12u
#define STAGE     1000u /* the first one */
#define SENT_MAX  8192
#define FILES_MAX 256
#define MARKS_MAX 8192
#define MIB       (1u << 20)

static struct mount m;
static struct mount_options options = {.timeout_ms = 10000, .commit_close = true};

/* ---- the servers ---- */

struct server_file {
	uint64_t ino;
	struct buf bytes;
};

static struct server_file server[FILES_MAX];
static size_t n_server;
static uint64_t next_stage;

static struct server_file *server_file(uint64_t ino)
{
	for (size_t i = 0; i < n_server; i++)
		if (server[i].ino == ino)
			return &server[i];
	return NULL;
}

static struct server_file *server_make(uint64_t ino)
{
	struct server_file *f = &server[n_server++];

	ck_assert_uint_le(n_server, FILES_MAX);
	f->ino = ino;
	buf_init(&f->bytes);
	return f;
}

static void server_remove(struct server_file *f)
{
	buf_free(&f->bytes);
	*f = server[--n_server];
}

static void server_resize(struct server_file *f, size_t size)
{
	if (size > f->bytes.len)
		memset(buf_reserve(&f->bytes, size - f->bytes.len), 0, size - f->bytes.len);
	f->bytes.len = size;
}

static void server_write(struct server_file *f, uint64_t offset, const void *p, size_t n)
{
	if (offset + n > f->bytes.len)
		server_resize(f, (size_t)offset + n);
	if (n > 0)
		memcpy(f->bytes.data + offset, p, n);
}

static void server_adopt(const struct fs_op *op, struct server_file *from, struct server_file *to)
{
	struct reader r = reader_of(op->data, op->data_len);
	struct fs_range range;

	if ((op->flags & FS_F_TRUNC) != 0 || to->bytes.len == 0) {
		buf_clear(&to->bytes);
		server_write(to, 0, from->bytes.data, from->bytes.len);
	} else if ((op->flags & FS_F_APPEND) != 0) {
		server_write(to, to->bytes.len, from->bytes.data, from->bytes.len);
	} else {
		while (fs_range_next(&r, &range)) {
			ck_assert_uint_le(range.offset + range.len, from->bytes.len);
			server_write(to, range.offset, from->bytes.data + range.offset,
			             (size_t)range.len);
		}
	}
	server_remove(from);
}

static int server_change(const struct fs_op *op, struct server_file *f)
{
	struct server_file *from;

	switch ((int)op->kind) {
	case FS_OP_WRITE:
		if ((op->flags & FS_F_TRUNC) != 0)
			server_resize(f, 0);
		server_write(f, (op->flags & FS_F_APPEND) != 0 ? f->bytes.len : op->offset,
		             op->data, op->data_len);
		return 0;
	case FS_OP_SETATTR:
		if ((op->valid & FS_SET_SIZE) != 0)
			server_resize(f, (size_t)op->size);
		return 0;
	case FS_OP_ADOPT:
		from = server_file(op->ino2);
		if (from == NULL)
			return -ESTALE;
		server_adopt(op, from, f);
		return 0;
	default: return 0;
	}
}

static void server_do(const struct fs_op *op, struct fs_result *res)
{
	struct server_file *f = server_file(op->ino);

	if (op->kind == FS_OP_MKNOD)
		f = server_make(next_stage++);
	if (op->kind == FS_OP_RELEASE) {
		if (f != NULL)
			server_remove(f);
		return;
	}
	if (f == NULL) {
		res->err = -ESTALE;
		return;
	}
	res->err = server_change(op, f);
	f = server_file(f->ino); /* it may have moved */
	if (op->kind == FS_OP_ADOPT)
		f = server_file(op->ino);
	res->has_attr = true;
	res->attr = (struct fs_attr){.ino = f->ino, .mode = S_IFREG, .size = f->bytes.len};
	if (op->kind == FS_OP_READ && op->offset < f->bytes.len) {
		uint64_t left = f->bytes.len - op->offset;

		res->data = f->bytes.data + op->offset;
		res->data_len = (uint32_t)(left < op->size ? left : op->size);
	}
}

/* ---- the client ---- */

struct client_req {
	struct fs_op *op;
	client_cb cb;
	void *ctx;
};

static struct client_req sent[SENT_MAX];
static size_t n_sent;

struct client_req *client_submit(struct client *c, const struct fs_op *op, uint64_t timeout_ms,
                                 client_cb cb, void *ctx)
{
	struct client_req *r = &sent[n_sent++];

	(void)c;
	ck_assert_uint_le(n_sent, SENT_MAX);
	ck_assert_uint_gt(timeout_ms, 0);
	*r = (struct client_req){.op = fs_op_dup(op), .cb = cb, .ctx = ctx};
	return r;
}

void client_cancel(struct client_req *r)
{
	r->cb = NULL;
}

void client_interrupt_lock(struct client_req *r)
{
	(void)r;
}

void client_abandon_lock(struct client_req *r)
{
	client_cancel(r);
}

void client_get_info(const struct client *c, struct client_info *info)
{
	(void)c;
	*info = (struct client_info){0};
}

static bool is_open(size_t i)
{
	return i < n_sent && sent[i].cb != NULL;
}

/* The answer of the servers to a request; with `code` they have not done it. */
static void answer_with(size_t i, int code)
{
	struct fs_result res = {.err = code};
	client_cb cb = sent[i].cb;

	ck_assert(is_open(i));
	if (code == 0)
		server_do(sent[i].op, &res);
	sent[i].cb = NULL;
	cb(sent[i].ctx, &res);
}

static void answer(size_t i)
{
	answer_with(i, 0);
}

/* The oldest one that is open; SENT_MAX: none. */
static KIT_UNUSED size_t oldest(void)
{
	for (size_t i = 0; i < n_sent; i++)
		if (sent[i].cb != NULL)
			return i;
	return SENT_MAX;
}

static KIT_UNUSED void answer_all(void)
{
	size_t i;

	while ((i = oldest()) != SENT_MAX)
		answer(i);
}

static KIT_UNUSED const struct fs_op *expect_sent(size_t i, enum fs_op_kind kind, uint32_t flags)
{
	ck_assert_uint_lt(i, n_sent);
	ck_assert_str_eq(fs_op_name(sent[i].op->kind), fs_op_name(kind));
	ck_assert_uint_eq(sent[i].op->flags & ~(uint32_t)FS_F_WRITTEN_BEFORE, flags);
	return sent[i].op;
}

static KIT_UNUSED size_t count_sent(enum fs_op_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < n_sent; i++)
		n += sent[i].op->kind == kind;
	return n;
}

/* ---- the kernel ---- */

#define PENDING 1 /* not ended */

struct outcome {
	int code;
	unsigned times;
	uint64_t size;    /* GETATTR */
	struct buf bytes; /* READ */
};

static struct outcome ended[MARKS_MAX]; /* by the mark a request was started with */
static size_t n_marks;

static void on_done(struct request *r, const struct fs_result *res)
{
	struct outcome *o = &ended[r->args.offset];

	o->times++;
	o->code = r->args.op.kind == FS_OP_NONE ? group_error(r->args.file, r->args.fsync, res->err)
	                                        : res->err;
	o->size = res->attr.size;
	buf_clear(&o->bytes);
	if (res->data_len > 0)
		buf_put(&o->bytes, res->data, res->data_len);
}

static size_t start(const struct request_args *args)
{
	struct request_args a = *args;
	size_t mark = n_marks++;

	ck_assert_uint_lt(mark, MARKS_MAX);
	ended[mark].code = PENDING;
	a.done = on_done;
	a.offset = mark;
	request_start(&m, NULL, &a);
	return mark;
}

static size_t write_at(struct file *f, uint64_t offset, const void *p, size_t n)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_WRITE,
	               .ino = f->inode->ino,
	               .offset = (f->flags & O_APPEND) != 0 ? 0 : offset,
	               .flags = (f->flags & O_APPEND) != 0 ? FS_F_APPEND : 0,
	               .data = p,
	               .data_len = (uint32_t)n},
	        .file = f,
	        .ino = f->inode->ino,
	        .collect = true,
	};

	return start(&a);
}

static KIT_UNUSED size_t write_many(struct file *f, uint64_t offset, size_t n, char with)
{
	char *bytes = mem_alloc(n);
	size_t mark;

	memset(bytes, with, n);
	mark = write_at(f, offset, bytes, n);
	free(bytes);
	return mark;
}

static size_t start_op(struct file *f, const struct fs_op *op)
{
	return start(&(const struct request_args){.op = *op, .file = f, .ino = f->inode->ino});
}

static KIT_UNUSED size_t read_at(struct file *f, uint64_t offset, uint64_t size)
{
	return start_op(f, &(const struct fs_op){.kind = FS_OP_READ,
	                                         .ino = f->inode->ino,
	                                         .offset = offset,
	                                         .size = size});
}

static KIT_UNUSED size_t resize(struct file *f, uint64_t size)
{
	return start_op(f, &(const struct fs_op){.kind = FS_OP_SETATTR,
	                                         .ino = f->inode->ino,
	                                         .valid = FS_SET_SIZE,
	                                         .size = size});
}

static KIT_UNUSED size_t get_attr(uint64_t ino)
{
	return start(&(const struct request_args){.op = {.kind = FS_OP_GETATTR, .ino = ino},
	                                          .ino = ino});
}

/* As op_flush() does it. */
static size_t flush(struct file *f)
{
	group_close(f);
	return start_op(f, &(const struct fs_op){.kind = FS_OP_NONE});
}

static KIT_UNUSED size_t fsync_of(struct file *f)
{
	return start(&(const struct request_args){.file = f, .ino = f->inode->ino, .fsync = true});
}

static void expect(size_t mark, int code)
{
	ck_assert_int_eq(ended[mark].code, code);
	ck_assert_uint_eq(ended[mark].times, code != PENDING);
}

static KIT_UNUSED void expect_read(size_t mark, const void *p, size_t n)
{
	expect(mark, 0);
	ck_assert_uint_eq(ended[mark].bytes.len, n);
	if (n > 0)
		ck_assert_mem_eq(ended[mark].bytes.data, p, n);
}

static KIT_UNUSED struct file *open_file(int flags)
{
	return file_new(&m, INO, flags, 100, (flags & O_TRUNC) != 0);
}

/* The request that a mark stands for, as long as it has not ended. */
static KIT_UNUSED struct request *request_of(size_t mark)
{
	struct request *r;

	DL_FOREACH (m.requests, r) {
		if (r->args.done == on_done && r->args.offset == mark)
			return r;
	}
	ck_abort_msg("it has ended");
}

static KIT_UNUSED void file_contains(const void *p, size_t n)
{
	const struct server_file *f = server_file(INO);

	ck_assert_uint_eq(f->bytes.len, n);
	if (n > 0)
		ck_assert_mem_eq(f->bytes.data, p, n);
}

/* ---- the whole ---- */

static void setup(void)
{
	m = (struct mount){.magic = MOUNT_MAGIC, .options = &options, .mount_id = -1};
	n_sent = n_marks = n_server = 0;
	next_stage = STAGE;
	memset(ended, 0, sizeof(ended));
	(void)server_make(INO);
	log_set_level(LOG_LEVEL_ERROR);
}

/* As mount_close() does it. Everything has ended then, once. */
static void teardown(void)
{
	m.closing = true;
	m.handles = 1; /* it is not to end itself */
	requests_abandon(&m);
	groups_abandon(&m);
	requests_abandon(&m);
	ck_assert(m.requests == NULL && m.groups == NULL && m.room == NULL);
	ck_assert(m.group_bytes == 0 && m.group_unanswered == 0);
	for (size_t i = 0; i < n_marks; i++) {
		ck_assert_uint_eq(ended[i].times, 1);
		buf_free(&ended[i].bytes);
	}
	files_drop_all(&m);
	inode_table_free(&m.inodes);
	ck_assert_ptr_null(m.inodes.by_ino);
	while (n_server > 0)
		server_remove(&server[0]);
	for (size_t i = 0; i < n_sent; i++)
		free(sent[i].op);
}

#endif

/* Values of any size. One operation carries up to 1 MiB; larger ones are read in pieces of one
 * version, and written beside their key and then renamed over it, so that nobody ever sees half of
 * one. Holes stay holes both ways. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/mem.h"
#include "ctl.h"

#define READ_WINDOW  4u /* pieces under way */
#define WRITE_WINDOW 8u

#define SPARSE_BYTES_MIN 65536 /* below, holes are not worth a file beside the key */

/* ---- getting ---- */

static int here(struct rfs_err *err, const char *what)
{
	return rfs_err_set(err, errno != 0 ? -errno : -EIO, "%s: %s", what,
	                   rfs_strerror(errno != 0 ? -errno : -EIO));
}

static uint64_t piece_at(uint64_t offset, uint64_t end)
{
	return end - offset < FS_READ_BYTES_MAX ? end - offset : FS_READ_BYTES_MAX;
}

/* Wait for an answer about the version that `attr` is of. */
static int finish_read(struct ctl *ctl, struct ctl_call *call, const struct fs_attr *attr)
{
	int rc = ctl_wait(ctl, call);

	/* The file is gone or another one: so the key has changed. */
	if (rc == -ENOENT || rc == -ESTALE)
		return -EAGAIN;
	if (rc == 0 && (!call->result.has_attr || call->result.attr.version != attr->version))
		return -EAGAIN;
	return rc;
}

/* All bytes from `from` to `end`. */
static int read_range(struct ctl *ctl, struct ctl_value *v, uint64_t from, uint64_t end,
                      struct rfs_err *err)
{
	struct fs_op op = {.kind = FS_OP_READ, .ino = v->attr.ino, .offset = from};
	struct ctl_call calls[READ_WINDOW] = {0};
	size_t head = 0, tail = 0;
	uint64_t got = from;
	int rc = 0;

	if (fseeko(v->file, (off_t)from, SEEK_SET) != 0)
		return here(err, "temporary file");
	while (got < end && rc == 0) {
		struct ctl_call *call = &calls[tail % READ_WINDOW];

		while (op.offset < end && head - tail < READ_WINDOW) {
			op.size = piece_at(op.offset, end);
			ctl_start(ctl, &calls[head++ % READ_WINDOW], &op);
			op.offset += op.size;
		}
		rc = finish_read(ctl, call, &v->attr);
		if (rc == 0 && call->data.len != piece_at(got, end))
			rc = -EAGAIN;
		if (rc == 0 &&
		    fwrite(call->data.data, 1, call->data.len, v->file) != call->data.len)
			rc = here(err, "temporary file");
		got += call->data.len;
		ctl_call_end(call);
		tail++;
	}
	for (size_t i = 0; i < READ_WINDOW; i++)
		ctl_call_end(&calls[i]);
	return rc;
}

/* Where a hole, or without FS_F_HOLE data, begins at or behind `from`; the file's size if none does. */
static int find(struct ctl *ctl, const struct fs_attr *attr, uint64_t from, uint32_t flags,
                uint64_t *at)
{
	const struct fs_op op = {
	        .kind = FS_OP_SEEK, .ino = attr->ino, .offset = from, .flags = flags};
	struct ctl_call call = {0};
	int rc;

	ctl_start(ctl, &call, &op);
	rc = finish_read(ctl, &call, attr);
	*at = rc == 0 ? call.result.value : attr->size;
	if (rc == -EOPNOTSUPP) { /* an older cluster: all of it is data */
		*at = flags == 0 ? from : attr->size;
		rc = 0;
	}
	ctl_call_end(&call);
	return rc == -ENXIO ? 0 : rc;
}

static int is_same_version(struct ctl *ctl, const struct fs_attr *attr)
{
	const struct fs_op op = {.kind = FS_OP_GETATTR, .ino = attr->ino};
	struct ctl_call call = {0};
	int rc;

	ctl_start(ctl, &call, &op);
	rc = finish_read(ctl, &call, attr);
	ctl_call_end(&call);
	return rc;
}

/* Holes stay holes in the temporary file. */
static int read_rest(struct ctl *ctl, struct ctl_value *v, uint64_t have, struct rfs_err *err)
{
	uint64_t end = have;
	int rc = 0;

	while (rc == 0 && end < v->attr.size) {
		uint64_t begin;

		rc = find(ctl, &v->attr, end, 0, &begin);
		end = v->attr.size;
		if (rc != 0 || begin >= v->attr.size)
			break;
		rc = find(ctl, &v->attr, begin, FS_F_HOLE, &end);
		if (rc == 0)
			rc = read_range(ctl, v, begin, end, err);
	}
	if (rc == 0 &&
	    (fflush(v->file) != 0 || ftruncate(fileno(v->file), (off_t)v->attr.size) != 0))
		return here(err, "temporary file");
	return rc != 0 ? rc : is_same_version(ctl, &v->attr); /* nobody has looked at the holes */
}

int ctl_value_finish(struct ctl *ctl, struct ctl_call *get, struct ctl_value *v,
                     struct rfs_err *err)
{
	int rc;

	*v = (struct ctl_value){.attr = get->result.attr};
	if (!get->result.has_attr)
		return -EIO;
	if (S_ISDIR(v->attr.mode))
		return -EISDIR;
	if (S_ISLNK(v->attr.mode))
		return -ELOOP;
	if (v->attr.size <= get->data.len) {
		v->data = get->data;
		get->data = (struct buf){0};
		return 0;
	}
	if (get->data.len != FS_READ_BYTES_MAX)
		return RFS_EPROTO;
	errno = 0;
	v->file = tmpfile();
	if (v->file == NULL || fwrite(get->data.data, 1, get->data.len, v->file) != get->data.len)
		rc = here(err, "temporary file");
	else
		rc = read_rest(ctl, v, get->data.len, err);
	if (rc != 0)
		ctl_value_free(v);
	return rc;
}

int ctl_value_get(struct ctl *ctl, const char *key, struct ctl_value *v, struct rfs_err *err)
{
	struct fs_op op = {.kind = FS_OP_GET, .name = fs_str_of(key)};
	uint64_t give_up_ms = clock_mono_ms() + ctl->timeout_ms;
	int rc;

	*v = (struct ctl_value){0};
	do {
		struct ctl_call get = {0};

		rc = ctl_do(ctl, &get, &op);
		if (rc == 0)
			rc = ctl_value_finish(ctl, &get, v, err);
		ctl_call_end(&get);
	} while (rc == -EAGAIN && clock_mono_ms() < give_up_ms);
	return rc;
}

int ctl_value_load(struct ctl_value *v, struct rfs_err *err)
{
	uint8_t *to;

	if (v->file == NULL)
		return 0;
	if (v->attr.size > SIZE_MAX / 2)
		return rfs_err_set(err, -EFBIG, "value: too large for memory");
	to = buf_reserve(&v->data, (size_t)v->attr.size);
	errno = 0;
	rewind(v->file);
	if (fread(to, 1, (size_t)v->attr.size, v->file) != v->attr.size)
		return here(err, "temporary file");
	v->data.len = (size_t)v->attr.size;
	(void)fclose(v->file);
	v->file = NULL;
	return 0;
}

/* Standard output is judged by main(), at its end. */
static int write_piece(FILE *to, const void *p, size_t n, struct rfs_err *err)
{
	errno = 0;
	if (n == 0 || fwrite(p, 1, n, to) == n)
		return 0;
	if (to != stdout)
		return here(err, "writing");
	ctl_note_stdout_error();
	return 0;
}

int ctl_value_write(const struct ctl_value *v, FILE *to, struct rfs_err *err)
{
	char piece[65536];
	size_t n;
	int rc = 0;

	if (v->file == NULL)
		return write_piece(to, v->data.data, v->data.len, err);
	rewind(v->file);
	while (rc == 0 && ctl_stdout_error() == 0 &&
	       (n = fread(piece, 1, sizeof(piece), v->file)) > 0)
		rc = write_piece(to, piece, n, err);
	if (rc == 0 && ferror(v->file) != 0)
		rc = here(err, "temporary file");
	return rc;
}

void ctl_value_free(struct ctl_value *v)
{
	if (v->file != NULL)
		(void)fclose(v->file);
	buf_free(&v->data);
	*v = (struct ctl_value){0};
}

/* ---- putting ---- */

static int put(struct ctl *ctl, const char *key, uint32_t mode, const void *p, size_t n,
               struct ctl_condition *only_if, struct fs_result *result)
{
	struct fs_op op = {.kind = FS_OP_PUT,
	                   .name = fs_str_of(key),
	                   .mode = mode,
	                   .uid = geteuid(),
	                   .gid = getegid(),
	                   .data = p,
	                   .data_len = (uint32_t)n};
	struct ctl_call call = {0};
	int rc;

	ctl_condition_add(only_if, &op);
	rc = ctl_do(ctl, &call, &op);
	ctl_condition_note(only_if, &call.result);
	*result = call.result;
	result->data = NULL;
	ctl_call_end(&call);
	return rc;
}

int ctl_value_put(struct ctl *ctl, const char *key, const void *p, size_t n,
                  struct ctl_condition *only_if, uint64_t *index)
{
	struct fs_result result;
	int rc = put(ctl, key, 0, p, n, only_if, &result);

	*index = result.index;
	return rc;
}

/* A large value on its way: a file beside the key, under a name that nobody else takes. */
struct upload {
	struct ctl *ctl;
	const char *key;
	char *temporary; /* path of the file that is written first */
	struct fs_str name, temporary_name;
	uint64_t dir, ino;
	struct fs_attr old; /* what is replaced; mode 0: nothing */
	struct ctl_condition *only_if;
};

static int resolve(struct ctl *ctl, struct fs_str path, struct fs_attr *attr)
{
	struct fs_op op = {.kind = FS_OP_RESOLVE, .name = path};
	struct ctl_call call = {0};
	int rc = ctl_do(ctl, &call, &op);

	if (rc == 0 && !call.result.has_attr)
		rc = -EIO;
	*attr = call.result.attr;
	ctl_call_end(&call);
	return rc;
}

/* What stands under the key now: a regular file, whose owner and mode the new one takes over, or
 * nothing. */
static int look_at_old(struct upload *u)
{
	int rc = resolve(u->ctl, fs_str_of(u->key), &u->old);

	if (rc == -ENOENT) {
		u->old = (struct fs_attr){0};
		return 0;
	}
	if (rc != 0)
		return rc;
	if (S_ISDIR(u->old.mode))
		return -EISDIR;
	if (S_ISLNK(u->old.mode))
		return -ELOOP;
	return S_ISREG(u->old.mode) ? 0 : -EINVAL;
}

/* The first piece, which also makes the directories on the way. */
static int begin(struct upload *u, const void *p, size_t n)
{
	const char *slash = strrchr(u->key, '/');
	size_t folder = slash != NULL ? (size_t)(slash - u->key) : 0;
	struct fs_attr dir = {.ino = FS_ROOT_INO};
	struct fs_result result;
	struct buf b;
	int rc;

	buf_init(&b);
	buf_printf(&b, "%.*s%s.raftctl-%016llx", (int)folder, u->key, folder > 0 ? "/" : "",
	           (unsigned long long)clock_random_u64());
	buf_put_u8(&b, 0);
	u->temporary = mem_strdup((const char *)b.data);
	buf_free(&b);
	u->name = fs_str_of(slash != NULL ? slash + 1 : u->key);
	u->temporary_name = fs_str_of(u->temporary + (folder > 0 ? folder + 1 : 0));
	rc = put(u->ctl, u->temporary, u->old.mode & 07777, p, n, NULL, &result);
	if (rc == 0 && folder > 0)
		rc = resolve(u->ctl, (struct fs_str){u->key, (uint32_t)folder}, &dir);
	u->dir = dir.ino;
	u->ino = result.attr.ino;
	return rc == 0 && !result.has_attr ? -EIO : rc;
}

static int change(struct upload *u, const struct fs_op *op, uint64_t *index)
{
	struct ctl_call call = {0};
	int rc = ctl_do(u->ctl, &call, op);

	ctl_condition_note(u->only_if, &call.result);
	*index = call.result.index;
	ctl_call_end(&call);
	return rc;
}

/* The key changes with the last step and no other, so a failure before it is never a doubt. */
static int not_yet(int rc)
{
	return rc == RFS_EUNKNOWN || rc == RFS_ESESSION ? RFS_ENOQUORUM : rc;
}

/* The last step: from now on the key is the new value. */
static int replace(struct upload *u, uint64_t *index)
{
	const struct fs_op owner = {.kind = FS_OP_SETATTR,
	                            .ino = u->ino,
	                            .valid = FS_SET_MODE | FS_SET_UID | FS_SET_GID,
	                            .mode = u->old.mode,
	                            .uid = u->old.uid,
	                            .gid = u->old.gid};
	struct fs_op rename = {.kind = FS_OP_RENAME,
	                       .parent = u->dir,
	                       .name = u->temporary_name,
	                       .parent2 = u->dir,
	                       .name2 = u->name};
	int rc = u->old.mode != 0 ? change(u, &owner, index) : 0;

	ctl_condition_add(u->only_if, &rename);
	return rc != 0 ? not_yet(rc) : change(u, &rename, index);
}

/* Not what was stored: best effort, and in a short time. */
static void discard(struct upload *u)
{
	const struct fs_op op = {.kind = FS_OP_DELETE, .name = fs_str_of(u->temporary)};
	uint64_t timeout_ms = u->ctl->timeout_ms, index;

	if (u->ctl->timeout_ms > 1000)
		u->ctl->timeout_ms = 1000;
	(void)change(u, &op, &index);
	u->ctl->timeout_ms = timeout_ms;
}

/* As much as fits, or as there is; short only at the end. */
static ssize_t read_full(struct ctl *ctl, int fd, uint8_t *to, size_t n, struct rfs_err *err)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got;

		ctl_wait_readable(ctl, fd);
		if (ctl_interrupted())
			return rfs_err_set(err, -EINTR, "interrupted; nothing was stored");
		got = read(fd, to + have, n - have);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got < 0)
			return here(err, fd == STDIN_FILENO ? "standard input" : "the file");
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

/* Writes under way, oldest at `tail`. */
struct stream {
	struct ctl *ctl;
	struct ctl_call calls[WRITE_WINDOW];
	size_t head, tail;
};

static int stream_wait_oldest(struct stream *st)
{
	struct ctl_call *call = &st->calls[st->tail++ % WRITE_WINDOW];
	int rc = ctl_wait(st->ctl, call);

	ctl_call_end(call);
	return rc;
}

/* Everything behind the first FS_WRITE_BYTES_MAX bytes; the byte behind those stands in the piece
 * already. */
static int stream_rest(struct upload *u, int fd, uint8_t *piece, struct rfs_err *err)
{
	struct fs_op op = {
	        .kind = FS_OP_WRITE, .ino = u->ino, .offset = FS_WRITE_BYTES_MAX, .data = piece};
	struct stream st = {.ctl = u->ctl};
	size_t have = 1;
	int rc = 0;

	piece[0] = piece[FS_WRITE_BYTES_MAX];
	while (rc == 0) {
		ssize_t n = read_full(u->ctl, fd, piece + have, FS_WRITE_BYTES_MAX - have, err);

		rc = n < 0 ? (int)n : 0;
		op.data_len = (uint32_t)(have + (n > 0 ? (size_t)n : 0));
		if (rc != 0 || op.data_len == 0)
			break;
		if (st.head - st.tail == WRITE_WINDOW)
			rc = stream_wait_oldest(&st);
		if (rc == 0)
			ctl_start(u->ctl, &st.calls[st.head++ % WRITE_WINDOW], &op);
		op.offset += op.data_len;
		have = 0;
	}
	while (rc == 0 && st.tail < st.head)
		rc = stream_wait_oldest(&st);
	for (size_t i = 0; i < WRITE_WINDOW; i++)
		ctl_call_end(&st.calls[i]);
	return rc;
}

/* All bytes of the file from `from` to `end`. */
static int stream_range(struct stream *st, struct fs_op *op, int fd, uint64_t from, uint64_t end,
                        struct rfs_err *err)
{
	uint8_t *piece = mem_alloc(FS_WRITE_BYTES_MAX);
	int rc = 0;

	op->data = piece;
	if (lseek(fd, (off_t)from, SEEK_SET) < 0)
		rc = here(err, "the file");
	for (op->offset = from; rc == 0 && op->offset < end; op->offset += op->data_len) {
		uint64_t left = end - op->offset;
		ssize_t n = read_full(st->ctl, fd, piece,
		                      left < FS_WRITE_BYTES_MAX ? left : FS_WRITE_BYTES_MAX, err);

		rc = n < 0 ? (int)n : 0;
		op->data_len = n > 0 ? (uint32_t)n : 0;
		if (rc != 0 || n == 0)
			break;
		if (st->head - st->tail == WRITE_WINDOW)
			rc = stream_wait_oldest(st);
		if (rc == 0)
			ctl_start(st->ctl, &st->calls[st->head++ % WRITE_WINDOW], op);
	}
	free(piece);
	return rc;
}

/* What is data in the file, and nothing of its holes. */
static int stream_sparse(struct upload *u, int fd, uint64_t size, struct rfs_err *err)
{
	struct fs_op op = {.kind = FS_OP_WRITE, .ino = u->ino};
	const struct fs_op extend = {
	        .kind = FS_OP_SETATTR, .ino = u->ino, .valid = FS_SET_SIZE, .size = size};
	struct stream st = {.ctl = u->ctl};
	off_t begin, end = 0;
	uint64_t index;
	int rc = change(u, &extend, &index);

	while (rc == 0 && (begin = lseek(fd, end, SEEK_DATA)) >= 0) {
		end = lseek(fd, begin, SEEK_HOLE);
		if (end < 0)
			rc = here(err, "the file");
		else
			rc = stream_range(&st, &op, fd, (uint64_t)begin, (uint64_t)end, err);
	}
	if (rc == 0 && errno != ENXIO)
		rc = here(err, "the file");
	while (rc == 0 && st.tail < st.head)
		rc = stream_wait_oldest(&st);
	for (size_t i = 0; i < WRITE_WINDOW; i++)
		ctl_call_end(&st.calls[i]);
	return rc;
}

static int put_large(struct ctl *ctl, const char *key, int fd, uint8_t *piece, uint64_t sparse_size,
                     struct ctl_condition *only_if, uint64_t *index, struct rfs_err *err)
{
	struct upload u = {.ctl = ctl, .key = key, .only_if = only_if};
	int rc = look_at_old(&u);
	bool caught;

	if (rc != 0)
		return rc;
	caught = ctl_catch_interrupts(); /* what has come so far is not to stay behind */
	rc = begin(&u, piece, sparse_size > 0 ? 0 : FS_WRITE_BYTES_MAX);
	if (rc == 0)
		rc = sparse_size > 0 ? stream_sparse(&u, fd, sparse_size, err)
		                     : stream_rest(&u, fd, piece, err);
	if (rc == -EINTR)
		(void)rfs_err_set(err, -EINTR, "interrupted; nothing was stored");
	rc = rc != 0 ? not_yet(rc) : replace(&u, index);
	if (rc != 0 && rc != RFS_EUNKNOWN && rc != RFS_ESESSION) {
		ctl_forget_interrupt();
		discard(&u);
	}
	if (caught)
		ctl_release_interrupts();
	free(u.temporary);
	return rc;
}

/* The size of a file with holes that are worth keeping, which nobody has read from yet; else 0. */
static uint64_t sparse_size_of(int fd)
{
	struct stat st;
	off_t hole;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < SPARSE_BYTES_MIN ||
	    lseek(fd, 0, SEEK_CUR) != 0)
		return 0;
	hole = lseek(fd, 0, SEEK_HOLE);
	(void)lseek(fd, 0, SEEK_SET);
	return hole >= 0 && hole < st.st_size ? (uint64_t)st.st_size : 0;
}

int ctl_value_put_fd(struct ctl *ctl, const char *key, int fd, struct ctl_condition *only_if,
                     uint64_t *index, struct rfs_err *err)
{
	/* One byte more than an operation carries, to know whether there is more. */
	uint8_t *piece = mem_alloc(FS_WRITE_BYTES_MAX + 1);
	uint64_t sparse_size = sparse_size_of(fd);
	ssize_t n = sparse_size > 0 ? 0 : read_full(ctl, fd, piece, FS_WRITE_BYTES_MAX + 1, err);
	int rc;

	if (n < 0)
		rc = (int)n;
	else if (sparse_size == 0 && (size_t)n <= FS_WRITE_BYTES_MAX)
		rc = ctl_value_put(ctl, key, piece, (size_t)n, only_if, index);
	else
		rc = put_large(ctl, key, fd, piece, sparse_size, only_if, index, err);
	free(piece);
	return rc;
}

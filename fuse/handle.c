#include "handle.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>
#include "group.h"
#include "locks.h"
#include "../src/base/log.h"
#include "../src/base/mem.h"

#define DESCRIPTORS_MAX 256 /* looked at in another process, at most */

struct file *file_new(struct mount *m, uint64_t ino, int flags, pid_t pid, bool owes_truncation)
{
	struct file *f = mem_zalloc(sizeof(*f));

	RFS_MAGIC_SET(f, FILE_MAGIC);
	buf_init(&f->text);
	f->inode = inode_obtain(&m->inodes, ino);
	f->flags = flags;
	f->pid = pid;
	f->owes_truncation = owes_truncation;
	if (owes_truncation)
		f->inode->n_truncating++;
	DL_APPEND(f->inode->files, f);
	return f;
}

struct file *file_new_plain(struct mount *m)
{
	struct file *f = mem_zalloc(sizeof(*f));

	RFS_MAGIC_SET(f, FILE_MAGIC);
	buf_init(&f->text);
	DL_APPEND(m->plain_files, f);
	return f;
}

uint32_t file_kill_suid(uid_t uid)
{
	return uid != 0 ? FS_F_KILL_SUID : 0;
}

static void file_free(struct file *f)
{
	f->magic = 0;
	buf_free(&f->text);
	free(f);
}

struct file *file_of(const struct fuse_file_info *fi)
{
	struct file *f;

	if (fi == NULL)
		return NULL;
	f = (struct file *)(uintptr_t)fi->fh;
	RFS_MAGIC_CHECK(f, FILE_MAGIC);
	return f;
}

/* ---- truncations ---- */

static void own_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0 && res->err != RFS_ESHUTDOWN)
		log_warn("%s of inode %llu that the mount sent by itself: %s",
		         fs_op_name(r->args.op.kind), (unsigned long long)r->args.op.ino,
		         rfs_strerror(res->err));
}

/* What the mount sends by itself is a request without a caller. */
static void start_own(struct mount *m, const struct fs_op *op)
{
	request_start(m, NULL, &(struct request_args){.op = *op, .done = own_done});
}

/* A write of nothing through the handle: it gets FS_F_TRUNC as any first write does. */
static void start_truncation(struct mount *m, struct file *f)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_WRITE, .ino = f->inode->ino, .flags = file_kill_suid(f->uid)},
	        .done = own_done,
	        .is_truncation = true,
	        .file = f,
	        .ino = f->inode->ino,
	};

	request_start(m, NULL, &a);
}

bool file_op_changes_contents(const struct fs_op *op)
{
	return op->kind == FS_OP_WRITE || op->kind == FS_OP_FALLOCATE || op->kind == FS_OP_COPY ||
	       (op->kind == FS_OP_SETATTR && (op->valid & FS_SET_SIZE) != 0);
}

static void forgive(struct file *f)
{
	f->owes_truncation = f->overtaken = false;
	f->inode->n_truncating--;
}

/* Which handle's truncation has to be done before `op`: NULL, or the handle. */
static struct file *debtor_before(const struct request *r, const struct fs_op *op)
{
	struct file *f = r->args.file;

	if (f != NULL && f->owes_truncation)
		return f;
	if (!file_op_changes_contents(op))
		return NULL;
	DL_FOREACH (r->inode->files, f) {
		if (f->overtaken)
			forgive(f);
		if (f->owes_truncation)
			return f;
	}
	return NULL;
}

bool truncation_holds(struct request *r, struct fs_op *op)
{
	struct inode *i = r->inode;
	struct file *f = r->args.file, *debtor;
	bool concerned;

	if (f != NULL && f->overtaken && op->kind != FS_OP_WRITE)
		forgive(f);
	concerned = (f != NULL && f->owes_truncation) || file_op_changes_contents(op);
	if (!concerned)
		return false;
	if (i->truncation != NULL) {
		request_wait(r, op, &i->waiting);
		return true;
	}
	debtor = i->n_truncating > 0 ? debtor_before(r, op) : NULL;
	if (debtor == NULL)
		return false;
	if (debtor == f && op->kind == FS_OP_WRITE) {
		op->flags |= FS_F_TRUNC;
		r->truncates = true;
		i->truncation = r;
		return false;
	}
	request_wait(r, op, &i->waiting);
	start_truncation(r->mount, debtor);
	return true;
}

void truncation_ended(struct inode *i, struct file *f, int code, bool was_alone)
{
	struct request *r;
	struct file *other;
	unsigned n;

	if (code == 0 && f != NULL && f->owes_truncation)
		forgive(f);
	if (code == 0)
		DL_FOREACH (i->files, other)
			other->overtaken = other->owes_truncation;
	/* What made the mount's own truncation fail is also the answer for those that it was made
	 * for. */
	DL_COUNT2(i->waiting, r, n, wait_next);
	while (was_alone && code != 0 && n-- > 0 && i->waiting != NULL)
		request_fail(i->waiting, code);
	requests_go_on(&i->waiting);
}

void file_release(struct mount *m, struct file *f)
{
	struct inode *i = f->inode;

	RFS_MAGIC_CHECK(f, FILE_MAGIC);
	if (i == NULL) {
		DL_DELETE(m->plain_files, f);
		file_free(f);
		return;
	}
	if (f->in_group) { /* and once more when it has ended */
		f->released = true;
		group_close(f);
		return;
	}
	i->busy++;
	locks_release(m, f);
	DL_DELETE(i->files, f);
	if (i->truncation != NULL && i->truncation->args.file == f)
		i->truncation->args.file = NULL;
	if (f->owes_truncation) {
		i->n_truncating--;
		/* only a descriptor that was never closed properly, or was sent elsewhere, comes
		 * here */
		if (!f->overtaken && !i->kept && i->truncation == NULL)
			start_own(m, &(struct fs_op){.kind = FS_OP_WRITE,
			                             .ino = i->ino,
			                             .flags = FS_F_TRUNC | file_kill_suid(f->uid)});
	}
	if (i->files == NULL && i->kept) {
		i->kept = false;
		start_own(m, &(struct fs_op){.kind = FS_OP_RELEASE, .ino = i->ino});
	}
	file_free(f);
	i->busy--;
	inode_trim(&m->inodes, i);
}

bool inode_is_truncated_for(const struct inode *i, pid_t pid)
{
	const struct file *f;

	DL_FOREACH (i->files, f) {
		if (f->owes_truncation && !f->overtaken && f->pid == pid)
			return true;
	}
	return false;
}

bool file_takes_probe(const struct inode *i, pid_t tid)
{
	struct file *f;

	DL_FOREACH (i->files, f) {
		if (f->pid == tid && f->owes_truncation && !f->probed) {
			f->probed = true;
			return true;
		}
	}
	return false;
}

/* ---- who else holds the descriptor ---- */

/* A field of /proc/PID/fdinfo/N; false if it is not there. */
static bool fdinfo_field(const char *text, const char *field, int base, unsigned long long *value)
{
	const char *at = strstr(text, field);

	if (at == NULL)
		return false;
	*value = strtoull(at + strlen(field), NULL, base);
	return true;
}

/* Is it a descriptor of f's inode, with f's kind of access? A look at fdinfo asks no file system,
 * ours least of all. "ino:" is there since Linux 5.14. */
static bool descriptor_is_of(int dir, const char *name, int mount_id, const struct file *f)
{
	unsigned long long number, id, flags;
	char text[512];
	ssize_t n;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	return fdinfo_field(text, "ino:", 10, &number) && number == f->inode->ino &&
	       fdinfo_field(text, "mnt_id:", 10, &id) && id == (unsigned long long)mount_id &&
	       fdinfo_field(text, "flags:", 8, &flags) && (flags & O_PATH) == 0 &&
	       (flags & O_ACCMODE) == ((unsigned)f->flags & O_ACCMODE);
}

/* Could such a descriptor of `pid` be another handle's? Those that other processes opened do not
 * count: a reader elsewhere must not make the truncation of `echo > file` visible before its
 * write. */
static bool is_mistakable(const struct file *f, pid_t pid)
{
	const struct file *other;

	DL_FOREACH (f->inode->files, other) {
		if (other != f && (other->pid == pid || other->pid == f->pid) &&
		    (other->flags & O_ACCMODE) == (f->flags & O_ACCMODE))
			return true;
	}
	return false;
}

bool file_is_held_by(const struct mount *m, const struct file *f, pid_t pid)
{
	char path[64];
	bool held = false;
	struct dirent *d;
	int looked_at = 0;
	DIR *dir;

	if (pid <= 0 || m->mount_id < 0 || is_mistakable(f, pid))
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	dir = opendir(path);
	if (dir == NULL)
		return false;
	while (!held && looked_at++ < DESCRIPTORS_MAX && (d = readdir(dir)) != NULL) {
		if (isdigit((unsigned char)d->d_name[0]))
			held = descriptor_is_of(dirfd(dir), d->d_name, m->mount_id, f);
	}
	(void)closedir(dir);
	return held;
}

void files_drop_all(struct mount *m)
{
	struct inode *i, *next;
	struct file *f;

	HASH_ITER (hh, m->inodes.by_ino, i, next) {
		i->busy++;
		while ((f = i->files) != NULL) {
			DL_DELETE(i->files, f);
			file_free(f);
		}
		locks_forget(i);
		i->n_truncating = 0;
		i->kept = false;
		i->busy--;
		inode_trim(&m->inodes, i);
	}
	while ((f = m->plain_files) != NULL) {
		DL_DELETE(m->plain_files, f);
		file_free(f);
	}
}

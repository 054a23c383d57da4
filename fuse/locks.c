#include "locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <utlist.h>
#include "handle.h"
#include "ops.h"
#include "reply.h"
#include "virtual.h"
#include "../src/base/log.h"
#include "../src/base/mem.h"

/* ---- what is held ---- */

static struct hold *hold_find(const struct inode *i, uint64_t owner, bool bytes)
{
	struct hold *h;

	DL_FOREACH (i->holds, h) {
		if (h->owner == owner && h->bytes == bytes)
			return h;
	}
	return NULL;
}

static struct hold *hold_obtain(struct file *f, uint64_t owner, bool bytes)
{
	struct hold *h = hold_find(f->inode, owner, bytes);

	if (h == NULL) {
		h = mem_zalloc(sizeof(*h));
		h->owner = owner;
		h->bytes = bytes;
		DL_APPEND(f->inode->holds, h);
	}
	h->file = f;
	return h;
}

static void hold_drop(struct inode *i, struct hold *h)
{
	DL_DELETE(i->holds, h);
	free(h);
}

void locks_forget(struct inode *i)
{
	while (i->holds != NULL)
		hold_drop(i, i->holds);
}

void mount_session_lost(struct mount *m)
{
	struct inode *i, *next;
	struct hold *h;
	unsigned n = 0;

	HASH_ITER (hh, m->inodes.by_ino, i, next) {
		DL_FOREACH (i->holds, h) {
			h->lost = true;
			n++;
		}
	}
	if (n > 0)
		log_warn("%u locks of processes on this mount went with the session: what they "
		         "write through those files fails from now on (ESTALE)",
		         n);
}

/* ---- fencing ---- */

/* The lock that a change through `f` by `owner` (0: unknown) depends on. */
static const struct hold *hold_behind(const struct file *f, uint64_t owner)
{
	const struct hold *h, *found = NULL;

	DL_FOREACH (f->inode->holds, h) {
		bool is_its = h->file == f || (h->bytes && owner != 0 && h->owner == owner);

		if (is_its && h->lost)
			return h;
		if (is_its && (found == NULL || !h->bytes) &&
		    (!h->bytes || owner == 0 || h->owner == owner))
			found = h;
	}
	return found;
}

int locks_fence(struct request *r, struct fs_op *op)
{
	const struct file *f = r->args.file;
	const struct hold *h;

	if (f == NULL || f->inode == NULL || f->inode->holds == NULL ||
	    !file_op_changes_contents(op))
		return 0;
	h = hold_behind(f, r->args.lock_owner);
	if (h == NULL)
		return 0;
	if (h->lost)
		return -ESTALE;
	if (h->token == 0 || h->converting > 0)
		return 0;
	op->flags |= FS_F_FENCED | (h->bytes ? FS_F_LOCK_BYTES : 0u);
	op->lock_owner = h->owner;
	op->lock_token = h->token;
	return 0;
}

/* ---- asking ---- */

static bool of_bytes(const struct fs_op *op)
{
	return (op->flags & FS_F_LOCK_BYTES) != 0;
}

bool locks_ask_again(struct request *r)
{
	const struct hold *h;

	if (r->args.op.kind != FS_OP_LOCK || r->interrupted)
		return false;
	h = hold_find(r->args.file->inode, r->args.op.lock_owner, of_bytes(&r->args.op));
	return h == NULL || !h->lost;
}

/* Whether it is known what the owner has now. */
static bool is_certain(int code)
{
	return code == 0 || code == -EAGAIN || code == -EDEADLK || code == -ENOLCK ||
	       code == -ESTALE || code == -EINVAL || code == -EOPNOTSUPP || code == RFS_ENOQUORUM;
}

static void lock_done(struct request *r, const struct fs_result *res)
{
	const struct fs_op *op = &r->args.op;
	struct inode *i = r->args.file->inode;
	bool bytes = of_bytes(op);
	struct hold *h = hold_find(i, op->lock_owner, bytes);

	if (h != NULL && h->converting > 0 && !bytes)
		h->converting--;
	if (h != NULL && h->lost) {
		request_reply_code(r, ESTALE);
		return;
	}
	if (res->err == 0 || !is_certain(res->err)) {
		h = hold_obtain(r->args.file, op->lock_owner, bytes);
		h->token = res->err == 0 ? res->value : bytes ? h->token : 0;
	} else if (h != NULL && !bytes && res->err == -EAGAIN) {
		hold_drop(i, h); /* as in Linux, a conversion gives the old lock up first */
	}
	request_reply_code(r, reply_errno_ino(res->err, true));
}

static void ask(struct mount *m, fuse_req_t req, struct file *f, const struct fs_op *op)
{
	struct hold *h = hold_find(f->inode, op->lock_owner, of_bytes(op));
	const struct request_args a = {
	        .op = *op,
	        .done = lock_done,
	        .file = f,
	        .patient = (op->flags & FS_F_LOCK_WAIT) != 0,
	};

	if (h != NULL && h->lost) {
		(void)fuse_reply_err(req, ESTALE);
		return;
	}
	if (h != NULL && !h->bytes)
		h->converting++;
	request_start(m, req, &a);
}

/* ---- unlocking ---- */

static void own_unlock_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0 && res->err != RFS_ESHUTDOWN && res->err != RFS_ESESSION)
		log_warn("unlocking inode %llu: %s", (unsigned long long)r->args.op.ino,
		         rfs_strerror(res->err));
}

/* Without anybody waiting for it, for as long as it takes: a lock that nobody knows of any more must
 * not stay. */
static void unlock_later(struct mount *m, const struct fs_op *op)
{
	request_start(m, NULL,
	              &(struct request_args){.op = *op, .done = own_unlock_done, .patient = true});
}

static void unlock_done(struct request *r, const struct fs_result *res)
{
	struct inode *i = r->args.file->inode;
	struct hold *h = hold_find(i, r->args.op.lock_owner, of_bytes(&r->args.op));
	int code = res->err == RFS_ESESSION ? 0 : res->err; /* it took the lock along */

	if (res->err == 0 && res->value == 0 && h != NULL && !h->lost)
		hold_drop(i, h);
	if (code != 0 && code != RFS_ESHUTDOWN)
		unlock_later(r->mount, &r->args.op);
	request_reply_code(r, r->args.is_close ? r->args.close_errno : reply_errno_ino(code, true));
}

static void unlock(struct mount *m, fuse_req_t req, struct file *f, const struct fs_op *op)
{
	const struct hold *h = hold_find(f->inode, op->lock_owner, of_bytes(op));

	if (h == NULL || h->lost)
		(void)fuse_reply_err(req, 0);
	else
		request_start(m, req,
		              &(struct request_args){.op = *op, .done = unlock_done, .file = f});
}

static struct fs_op unlock_all_op(const struct inode *i, const struct hold *h)
{
	return (struct fs_op){.kind = FS_OP_UNLOCK,
	                      .ino = i->ino,
	                      .lock_owner = h->owner,
	                      .flags = h->bytes ? FS_F_LOCK_BYTES : 0};
}

void locks_close(struct mount *m, fuse_req_t req, struct file *f, uint64_t owner, int errnum)
{
	struct hold *h = hold_find(f->inode, owner, true);
	struct request_args a = {
	        .done = unlock_done,
	        .file = f,
	        .is_close = true,
	        .close_errno = errnum,
	        .unsignalled = true,
	};

	if (h == NULL || h->lost) {
		if (h != NULL)
			hold_drop(f->inode, h);
		(void)fuse_reply_err(req, errnum);
		return;
	}
	a.op = unlock_all_op(f->inode, h);
	if (m->closing || fuse_req_interrupted(req)) {
		unlock_later(m, &a.op);
		(void)fuse_reply_err(req, errnum);
	} else {
		request_start(m, req, &a);
	}
}

void locks_release(struct mount *m, struct file *f)
{
	struct hold *h, *next;

	DL_FOREACH_SAFE (f->inode->holds, h, next) {
		if (h->file != f)
			continue;
		if (!h->lost) {
			const struct fs_op op = unlock_all_op(f->inode, h);

			unlock_later(m, &op);
		}
		hold_drop(f->inode, h);
	}
}

/* ---- what the kernel asks for ---- */

void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int how)
{
	struct mount *m = mount_of(req);
	struct fs_op op = {.kind = FS_OP_LOCK,
	                   .ino = ino,
	                   .lock_owner = fi->lock_owner,
	                   .pid = (uint32_t)fuse_req_ctx(req)->pid};

	if (virtual_is(ino)) {
		(void)fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if ((how & LOCK_SH) != 0)
		op.flags |= FS_F_LOCK_SHARED;
	if ((how & LOCK_NB) == 0)
		op.flags |= FS_F_LOCK_WAIT;
	if ((how & LOCK_UN) == 0) {
		ask(m, req, file_of(fi), &op);
		return;
	}
	op.kind = FS_OP_UNLOCK;
	op.flags = 0;
	unlock(m, req, file_of(fi), &op);
}

static void range_of(struct fs_op *op, const struct flock *lock)
{
	op->offset = (uint64_t)lock->l_start;
	op->size = (uint64_t)lock->l_len;
	op->pid = (uint32_t)lock->l_pid;
	op->flags = FS_F_LOCK_BYTES;
	if (lock->l_type == F_RDLCK)
		op->flags |= FS_F_LOCK_SHARED;
}

void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
              int sleep)
{
	struct mount *m = mount_of(req);
	struct fs_op op = {.kind = FS_OP_LOCK, .ino = ino, .lock_owner = fi->lock_owner};

	if (virtual_is(ino)) {
		(void)fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	m->has_byte_locks = true;
	range_of(&op, lock);
	if (lock->l_type == F_UNLCK) {
		op.kind = FS_OP_UNLOCK;
		unlock(m, req, file_of(fi), &op);
		return;
	}
	if (sleep != 0)
		op.flags |= FS_F_LOCK_WAIT;
	ask(m, req, file_of(fi), &op);
}

static uint64_t session_of(struct mount *m)
{
	struct client_info *info = mem_alloc(sizeof(*info));
	uint64_t session;

	client_get_info(m->client, info);
	session = info->session;
	free(info);
	return session;
}

static void getlk_done(struct request *r, const struct fs_result *res)
{
	struct flock out = {.l_type = F_UNLCK};
	struct reader rd = reader_of(res->data, res->data_len);
	struct fs_lock l;

	if (res->err != 0) {
		request_reply_code(r, reply_errno_ino(res->err, false));
		return;
	}
	if (fs_lock_next(&rd, &l)) {
		out.l_type = (l.flags & FS_F_LOCK_SHARED) != 0 ? F_RDLCK : F_WRLCK;
		out.l_whence = SEEK_SET;
		out.l_start = (off_t)l.offset;
		out.l_len = (off_t)l.size;
		/* a process of another host has no number here */
		out.l_pid = l.session == session_of(r->mount) ? (pid_t)l.pid : 0;
	}
	(void)fuse_reply_lock(request_take(r), &out);
}

void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct request_args a = {
	        .op = {.kind = FS_OP_LOCK_TEST, .ino = ino, .lock_owner = fi->lock_owner},
	        .done = getlk_done,
	};

	if (virtual_is(ino)) {
		(void)fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	range_of(&a.op, lock);
	request_start(mount_of(req), req, &a);
}

#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "caller.h"
#include "failure.h"
#include "group.h"
#include "handle.h"
#include "locks.h"
#include "look.h"
#include "reply.h"
#include "../src/base/clock.h"
#include "../src/base/log.h"
#include "../src/base/mem.h"

#define LOG_EVERY_MS           1000u /* of failed requests, of which there can be thousands */
#define GRACE_TICK_MS          10u
#define ROOT_FALLBACK_AFTER_MS 25u
#define UNSIGNALLED_AFTER_MS   3000u /* longer than any election */
#define PATIENCE_MS            (1ull << 40)

fuse_req_t request_take(struct request *r)
{
	fuse_req_t req = r->req;

	r->req = NULL;
	return req;
}

void request_reply_code(struct request *r, int errnum)
{
	if (!r->own)
		(void)fuse_reply_err(request_take(r), errnum);
}

void request_done_code(struct request *r, const struct fs_result *res)
{
	request_reply_code(r, r->args.ino != 0 ? reply_errno_ino(res->err, r->is_change)
	                                       : reply_errno(res->err, r->is_change));
}

/* ---- the end ---- */

/* The name of what a request is about: that which it came with, or one that the inode is known by. */
static const char *name_of(const struct request *r, char known[FS_NAME_BYTES_MAX + 1])
{
	const struct inode *i =
	        r->inode != NULL ? r->inode : inode_find(&r->mount->inodes, r->args.op.ino);

	if (r->name[0] != '\0')
		return r->name;
	return i != NULL && inode_known_as(i, known) ? known : NULL;
}

void request_note(struct mount *m, const struct failure *f, bool always_log)
{
	struct client_info *info = mem_alloc(sizeof(*info));

	client_get_info(m->client, info);
	m->last_error_ns = clock_real_ns();
	failure_text(m->last_error, sizeof(m->last_error), f, info);
	free(info);
	if (always_log || clock_mono_ms() - m->last_error_logged_ms >= LOG_EVERY_MS) {
		m->last_error_logged_ms = clock_mono_ms();
		log_warn("%s", m->last_error);
	}
}

/* A request that the cluster did not answer. */
static void note_failure(const struct request *r, int code)
{
	bool is_barrier = r->args.op.kind == FS_OP_NONE;
	char known[FS_NAME_BYTES_MAX + 1];
	const struct failure f = {
	        .op = !is_barrier     ? fs_op_name(r->args.op.kind)
	              : r->args.fsync ? "fsync"
	                              : "close",
	        .name = name_of(r, known),
	        .ino = is_barrier ? r->args.ino : r->args.op.ino,
	        .pid = r->caller,
	        .is_change = r->is_change || is_barrier,
	        .code = code,
	        .timeout_ms = r->mount->options->timeout_ms,
	};

	if (failure_is(code) && !r->args.quiet)
		request_note(r->mount, &f, false);
}

/* ---- queues ---- */

void request_wait(struct request *r, const struct fs_op *op, struct request **queue)
{
	rfs_check(r->waits_in == NULL);
	if (r->held == NULL)
		r->held = fs_op_dup(op);
	DL_APPEND2(*queue, r, wait_prev, wait_next);
	r->waits_in = queue;
}

void request_leave_queue(struct request *r)
{
	if (r->waits_in != NULL)
		DL_DELETE2(*r->waits_in, r, wait_prev, wait_next);
	r->waits_in = NULL;
}

void requests_go_on(struct request **queue)
{
	struct request *r;
	unsigned n;

	DL_COUNT2(*queue, r, n, wait_next);
	/* Who has to wait again is at the end. When the mount closes all are ended where they stand. */
	while (n-- > 0 && (r = *queue) != NULL && !r->mount->closing) {
		request_leave_queue(r);
		request_go(r, r->held);
	}
}

static void leave_lists(struct request *r)
{
	struct inode *i = r->inode;

	DL_DELETE(r->mount->requests, r);
	if (r->grace_ends_ms != 0)
		r->mount->n_grace--;
	if (i == NULL)
		return;
	request_leave_queue(r);
	if (r->is_listed)
		DL_DELETE2(i->changes, r, change_prev, change_next);
	if (r->truncates)
		i->truncation = NULL;
}

/* An fsync is answered when nothing that came before it is under way. The inode is busy meanwhile,
 * and so outlives its requests. */
static void answer_fsyncs(struct inode *i)
{
	const struct fs_result ok = {0};

	while (i->changes != NULL && i->changes->args.fsync &&
	       i->changes->waits_in == NULL) /* NOLINT(clang-analyzer-unix.Malloc) */
		request_end(i->changes, &ok);
}

/* Attributes as this mount shows them. */
static void show_attr(const struct request *r, struct fs_attr *attr)
{
	struct inode *i = r->inode;

	view_attr(&r->mount->view, attr);
	if (i != NULL && i->ino == attr->ino && !i->removed)
		i->attr = *attr;
	if (r->mount->options->commit_close)
		group_show(r, attr);
}

void request_end(struct request *r, const struct fs_result *res)
{
	struct mount *m = r->mount;
	struct inode *i = r->inode;
	struct file *f = r->args.file;
	bool truncates = r->truncates, is_truncation = r->args.is_truncation;
	struct fs_result shown = *res;
	int code = res->err;

	RFS_MAGIC_CHECK(r, REQUEST_MAGIC);
	leave_lists(r);
	note_failure(r, code);
	if (shown.has_attr)
		show_attr(r, &shown.attr);
	r->args.done(r, &shown);
	rfs_check(r->req == NULL); /* exactly one reply */
	look_end(r);
	r->magic = 0;
	free(r->held);
	free(r);
	if (i != NULL) {
		if (truncates)
			truncation_ended(i, f, code, is_truncation);
		answer_fsyncs(i);
		i->busy--;
		inode_trim(&m->inodes, i);
	}
	mount_check_drained(m);
}

void request_fail(struct request *r, int code)
{
	const struct fs_result res = {.err = code};

	if (r->sent != NULL && r->args.op.kind == FS_OP_LOCK)
		client_abandon_lock(r->sent);
	else if (r->sent != NULL)
		client_cancel(r->sent);
	request_end(r, &res);
}

void requests_abandon(struct mount *m)
{
	while (m->requests != NULL)
		request_fail(m->requests, RFS_ESHUTDOWN);
}

/* ---- short waits: an interrupted request, a root directory that cannot be asked for ---- */

static void start_grace(struct request *r, uint64_t ms)
{
	struct mount *m = r->mount;

	if (r->grace_ends_ms == 0 && m->n_grace++ == 0)
		(void)uv_timer_start(&m->grace, request_on_grace, GRACE_TICK_MS, GRACE_TICK_MS);
	r->grace_ends_ms = clock_mono_ms() + ms;
}

static bool answer_from_memory(struct request *r)
{
	struct mount *m = r->mount;
	bool is_acl = r->args.op.kind == FS_OP_GETXATTR, connected;
	const struct fs_result attr = {.has_attr = true, .attr = m->root},
	                       acl = {.err = m->root_acl_len == 0 ? -ENODATA : 0,
	                              .data = m->root_acl,
	                              .data_len = m->root_acl_len};
	struct client_info *info = mem_alloc(sizeof(*info));

	client_get_info(m->client, info);
	connected = info->connected;
	free(info);
	if (connected || !(is_acl ? m->root_acl_known : m->root_known))
		return false;
	if (r->sent != NULL)
		client_cancel(r->sent);
	request_end(r, is_acl ? &acl : &attr);
	return true;
}

/* Any signal ends the waiting for a lock, as it does elsewhere: alarm(2) is how programs limit it. */
static bool waits_for_lock(const struct request *r)
{
	return r->args.op.kind == FS_OP_LOCK && (r->args.op.flags & FS_F_LOCK_WAIT) != 0;
}

static bool end_interrupted(struct request *r, uint64_t now)
{
	bool sent = (r->is_change && r->sent != NULL) || group_is_awaited(r);

	if (waits_for_lock(r)) {
		request_fail(r, -EINTR);
		return true;
	}
	switch (caller_wish(r->caller)) {
	case CALLER_STAYS: break;
	case CALLER_LEAVES:
	case CALLER_UNKNOWN: request_fail(r, sent ? RFS_EUNKNOWN : -EINTR); return true;
	case CALLER_DIES: request_fail(r, -EINTR); return true;
	}
	r->grace_ends_ms = now + REQUEST_WISH_EVERY_MS;
	return false;
}

static bool is_leaving(pid_t tid)
{
	enum caller_wish wish = caller_wish(tid);

	return wish == CALLER_LEAVES || wish == CALLER_DIES;
}

/* Of a write-back the kernel does not say for whom it is: whoever opened the file may wait for it. Pages are given up
 * for a signal alone; what a close has to do is done later. */
static bool is_left(const struct request *r)
{
	const struct file *f;

	if (r->caller > 0 || r->inode == NULL)
		return is_leaving(r->caller) || caller_is_exiting(r->caller);
	DL_FOREACH (r->inode->files, f) {
		if (is_leaving(f->pid))
			return true;
	}
	return false;
}

static bool end_unsignalled(struct request *r, uint64_t now)
{
	if (is_left(r)) {
		request_fail(r, RFS_EUNKNOWN);
		return true;
	}
	r->grace_ends_ms = now + REQUEST_WISH_EVERY_MS;
	return false;
}

/* True if the request has ended. */
static bool end_grace(struct request *r, uint64_t now)
{
	if (r->grace_ends_ms == 0 || now < r->grace_ends_ms)
		return false;
	if (r->interrupted)
		return end_interrupted(r, now);
	if (r->args.unsignalled)
		return end_unsignalled(r, now);
	if (answer_from_memory(r))
		return true;
	r->grace_ends_ms = now + ROOT_FALLBACK_AFTER_MS;
	return false;
}

void request_on_grace(uv_timer_t *t)
{
	struct mount *m = t->data;
	uint64_t now = clock_mono_ms();
	struct request *r;
	bool ended;

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	do { /* the end of one can end others: start over after each */
		ended = false;
		DL_FOREACH (m->requests, r) {
			if (end_grace(r, now)) {
				ended = true;
				break;
			}
		}
	} while (ended);
	if (m->n_grace == 0)
		(void)uv_timer_stop(t);
}

static void request_on_interrupt(fuse_req_t req, void *data)
{
	struct request *r = data;

	(void)req;
	RFS_MAGIC_CHECK(r, REQUEST_MAGIC);
	if (r->interrupted)
		return;
	r->interrupted = true;
	if (waits_for_lock(r) && r->sent != NULL)
		client_interrupt_lock(r->sent);
	start_grace(r, caller_wish(r->caller) == CALLER_DIES ? 0 : REQUEST_INTERRUPT_GRACE_MS);
}

/* ---- the start ---- */

void request_send(struct request *r, const struct fs_op *op)
{
	uint64_t now = clock_mono_ms();
	struct fs_op fenced = *op;
	int rc = now >= r->deadline_ms ? RFS_ENOQUORUM : locks_fence(r, &fenced);

	if (rc != 0) {
		request_fail(r, rc);
		return;
	}
	r->mount->asked[op->kind % MOUNT_KINDS_MAX]++;
	r->sent = client_submit(r->mount->client, &fenced, r->deadline_ms - now, request_on_result,
	                        r);
	if (r->args.root_fallback)
		start_grace(r, ROOT_FALLBACK_AFTER_MS);
}

void request_on_result(void *ctx, const struct fs_result *res)
{
	struct request *r = ctx;

	RFS_MAGIC_CHECK(r, REQUEST_MAGIC);
	r->sent = NULL;
	if (res->err == RFS_ESESSION && locks_ask_again(r))
		request_send(r, &r->args.op);
	else if (r->look != NULL)
		look_take(r, res);
	else
		request_end(r, res);
}

void request_go(struct request *r, const struct fs_op *as_it_came)
{
	struct fs_op copy = *as_it_came, *op = &copy;
	const struct fs_result ok = {0};
	bool grouped = r->inode != NULL && r->mount->options->commit_close;
	enum group_verdict verdict = grouped ? group_judge(r, op) : GROUP_PASS;

	if (verdict == GROUP_HELD ||
	    (r->inode != NULL && r->args.ino != 0 && truncation_holds(r, op)))
		return;
	if (verdict == GROUP_TAKE)
		group_take(r, op);
	else if (op->kind != FS_OP_NONE)
		request_send(r, op);
	else if (!r->args.fsync || r->inode == NULL || r->inode->changes == r)
		request_end(r, &ok);
	/* else: an fsync behind others, ended by answer_fsyncs() */
}

static struct request *request_new(struct mount *m, fuse_req_t req, const struct request_args *a)
{
	struct request *r = mem_zalloc(sizeof(*r));

	RFS_MAGIC_SET(r, REQUEST_MAGIC);
	r->mount = m;
	r->req = req;
	r->own = req == NULL;
	r->caller = req != NULL ? fuse_req_ctx(req)->pid : 0;
	r->args = *a;
	r->args.op.data = NULL; /* what it borrows is gone when this call returns */
	r->args.op.name = r->args.op.name2 = (struct fs_str){NULL, 0};
	r->is_change = fs_op_is_write(a->op.kind);
	r->deadline_ms = clock_mono_ms() + (a->patient ? PATIENCE_MS : m->options->timeout_ms);
	if (a->deadline_ms != 0)
		r->deadline_ms = a->deadline_ms;
	if (a->name.len > 0 && a->name.len <= FS_NAME_BYTES_MAX) {
		memcpy(r->name, a->name.p, a->name.len);
		r->args.name.p = r->name;
	}
	DL_APPEND(m->requests, r);
	return r;
}

void request_start(struct mount *m, fuse_req_t req, const struct request_args *a)
{
	bool interrupted = req != NULL && fuse_req_interrupted(req);
	bool is_barrier = a->op.kind == FS_OP_NONE;
	struct fs_op op = a->op;
	struct request *r;

	if (req != NULL && (m->closing || (interrupted && !is_barrier))) {
		/* libfuse would call back from inside fuse_req_interrupt_func(), with the request
		 * locked */
		(void)fuse_reply_err(req, m->closing ? ENOTCONN : EINTR);
		return;
	}
	if (req != NULL) /* the mount itself speaks of inodes as the cluster does */
		view_op(&m->view, &op);
	r = request_new(m, req, a);
	if (a->file != NULL)
		r->inode = a->file->inode;
	else if (a->ino != 0)
		r->inode = inode_find(&m->inodes, a->ino);
	if (r->inode != NULL)
		r->inode->busy++; /* until it has ended */
	if (r->inode != NULL && a->ino != 0 && (r->is_change || a->fsync)) {
		DL_APPEND2(r->inode->changes, r, change_prev, change_next);
		r->is_listed = true;
	}
	if (req != NULL && a->unsignalled)
		start_grace(r, UNSIGNALLED_AFTER_MS);
	if (interrupted) /* a commit under way has its time to end */
		request_on_interrupt(req, r);
	else if (req != NULL)
		fuse_req_interrupt_func(req, request_on_interrupt, r);
	request_go(r, &op);
}

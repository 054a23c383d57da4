#include "group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "failure.h"
#include "group_priv.h"
#include "handle.h"
#include "look.h"
#include "../src/base/clock.h"
#include "../src/base/mem.h"

#define PIECES_MAX 256u /* kept in memory */

/* ---- its own requests ---- */

void group_ask(struct group *g, const struct fs_op *op, request_done done)
{
	const struct request_args a = {
	        .op = *op,
	        .done = done,
	        .group = g,
	        .quiet = true,
	        .deadline_ms = g->committing ? g->deadline_ms : 0,
	};

	g->n_requests++;
	request_start(g->mount, NULL, &a);
}

struct group *group_answered(const struct request *r)
{
	struct group *g = r->args.group;

	RFS_MAGIC_CHECK(g, GROUP_MAGIC);
	g->n_requests--;
	return g;
}

void group_fail(struct group *g, int code)
{
	if (g->code == 0)
		g->code = code;
}

/* Wrapping around makes it a subtraction. */
void group_count(struct group *g, size_t bytes, size_t unanswered)
{
	g->mount->group_bytes += bytes;
	g->mount->group_unanswered += unanswered;
	g->unanswered += unanswered;
}

/* ---- the commit ---- */

static void committed(struct request *r, const struct fs_result *res)
{
	struct group *g = group_answered(r);

	if (res->err != 0)
		group_fail(g, res->err);
	else
		g->inode->attr = res->attr;
	group_push(g);
}

static void send_commit(struct group *g, struct fs_op *op)
{
	op->ino = g->inode->ino;
	op->flags = g->flags | FS_F_WRITTEN_BEFORE;
	op->mtime_ns = g->changed_ns;
	op->lock_owner = g->lock_owner;
	op->lock_token = g->lock_token;
	g->sent = true;
	group_ask(g, op, committed);
}

/* Where everything that there was goes first, zeros can stand for what lies between the pieces. */
static bool is_one_write(const struct group *g)
{
	const struct extent *first = g->memory.first;

	return !g->staging && (g->memory.n == 1 || (g->flags & FS_F_TRUNC) != 0) &&
	       g->end - first->offset <= FS_WRITE_BYTES_MAX;
}

static void commit_by_write(struct group *g)
{
	const struct extent *first = g->memory.first;
	size_t n = (size_t)(g->end - first->offset);
	uint8_t *bytes = mem_zalloc(n);
	struct fs_op op = {
	        .kind = FS_OP_WRITE,
	        .offset = first->offset,
	        .data = bytes,
	        .data_len = (uint32_t)n,
	};

	extents_lay_over(&g->memory, bytes, first->offset, n);
	send_commit(g, &op);
	free(bytes);
}

static void commit_by_adoption(struct group *g)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .ino2 = g->stage};
	struct buf ranges;

	buf_init(&ranges);
	if ((g->flags & FS_F_APPEND) == 0)
		for (size_t i = 0; i < g->ranges.n; i++)
			fs_range_put(&ranges, &g->ranges.at[i]);
	op.data = ranges.data;
	op.data_len = (uint32_t)ranges.len;
	send_commit(g, &op);
	buf_free(&ranges);
}

bool group_is_heavy(const struct group *g)
{
	return g->memory.bytes > FS_WRITE_BYTES_MAX || g->memory.n > PIECES_MAX;
}

static void do_next(struct group *g)
{
	if (g->code != 0 || g->sent)
		return;
	if (g->committing && is_one_write(g))
		commit_by_write(g);
	else if ((g->committing || g->staging || g->squeezed || group_is_heavy(g)) &&
	         stage_push(g) && g->committing)
		commit_by_adoption(g);
}

void group_commit(struct group *g)
{
	if (!g->committing)
		g->deadline_ms = clock_mono_ms() + g->mount->options->timeout_ms;
	g->committing = true;
	group_push(g);
}

/* ---- the end ---- */

bool group_is_awaited(const struct request *r)
{
	return is_barrier(r) && r->waits_in != NULL && r->inode->group != NULL &&
	       r->inode->group->committing;
}

static void tell_failure(const struct group *g)
{
	char name[FS_NAME_BYTES_MAX + 1] = "";
	const struct failure f = {
	        .op = "commit",
	        .name = inode_known_as(g->inode, name) ? name : NULL,
	        .ino = g->inode->ino,
	        .is_change = true,
	        .code = g->code,
	        .timeout_ms = g->mount->options->timeout_ms,
	};
	bool is_told = false;
	struct request *r;

	DL_FOREACH2(g->inode->waiting, r, wait_next)
	{
		is_told = is_told || is_barrier(r);
	}
	request_note(g->mount, &f, !is_told);
}

/* Whether a request that waited to come behind the group is not done when the group was not. */
static bool shares_failure(const struct request *r)
{
	enum fs_op_kind kind = r->args.op.kind;

	return !is_look(kind) && !r->args.collect && kind != FS_OP_LOCK && kind != FS_OP_UNLOCK;
}

static void let_go(struct inode *i, int code)
{
	struct request *r;
	unsigned n;

	DL_COUNT2(i->waiting, r, n, wait_next);
	while (n-- > 0 && (r = i->waiting) != NULL && !r->mount->closing) {
		request_leave_queue(r);
		if (code != 0 && shares_failure(r))
			request_fail(r, code);
		else
			request_go(r, r->held);
	}
}

static void release_handles(struct mount *m, struct inode *i)
{
	struct file *f, *next;

	DL_FOREACH_SAFE (i->files, f, next) {
		if (f->released && !f->in_group)
			file_release(m, f);
	}
}

static void group_end(struct group *g)
{
	struct mount *m = g->mount;
	struct inode *i = g->inode;
	int code = g->code;
	struct file *f;

	i->busy++;
	i->group = NULL;
	DL_DELETE(m->groups, g); /* NOLINT(clang-analyzer-core.NullDereference) */
	group_count(g, 0 - g->memory.bytes, 0);
	if (code != 0) {
		tell_failure(g);
		stage_give_up(g);
	}
	DL_FOREACH (i->files, f) {
		if (code != 0 && f->in_group)
			f->group_error = code;
		if (code != 0 && f == g->truncator)
			f->write_truncates = true;
		f->in_group = false;
	}
	extents_free(&g->memory);
	ranges_free(&g->ranges);
	g->magic = 0;
	free(g);
	let_go(i, code);
	release_handles(m, i);
	requests_go_on(&m->room);
	i->busy--;
	inode_trim(&m->inodes, i);
	mount_check_drained(m);
}

void group_push(struct group *g)
{
	RFS_MAGIC_CHECK(g, GROUP_MAGIC);
	g->again = true;
	if (g->pushing)
		return;
	g->pushing = true;
	while (g->again) {
		g->again = false;
		do_next(g);
	}
	g->pushing = false;
	if (g->n_requests == 0 && (g->code != 0 || g->sent))
		group_end(g);
}

void group_wake(struct group *g)
{
	struct mount *m = g->mount;

	g->pushing = true; /* it stays while others look at it */
	requests_go_on(&g->inode->waiting);
	g->pushing = false;
	group_push(g);
	requests_go_on(&m->room);
}

void group_close(struct file *f)
{
	if (f->in_group)
		group_commit(f->inode->group);
}

int group_error(struct file *f, bool is_fsync, int code)
{
	if (code == 0)
		code = f->group_error;
	if (is_fsync && code == f->group_error)
		f->group_error = 0;
	return code;
}

void groups_commit(struct mount *m)
{
	struct group *g = m->groups;

	while (g != NULL) {
		if (g->committing) {
			g = g->next;
		} else {
			group_commit(g);
			g = m->groups;
		}
	}
}

void groups_abandon(struct mount *m)
{
	while (m->groups != NULL) {
		rfs_check(m->groups->n_requests == 0); // NOLINT(clang-analyzer-unix.Malloc)
		group_fail(m->groups, RFS_ESHUTDOWN);
		group_push(m->groups);
	}
}

/* ---- attributes ---- */

bool group_appends_now(const struct group *g)
{
	return g->committing && (g->flags & FS_F_APPEND) != 0;
}

void group_show(const struct request *r, struct fs_attr *attr)
{
	const struct inode *i = inode_find(&r->mount->inodes, attr->ino);

	if (r->look != NULL)
		look_show(r->look, attr);
	else if (i != NULL && i->group != NULL && !group_appends_now(i->group))
		look_show_group(i->group, attr);
}

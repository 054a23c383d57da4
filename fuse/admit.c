/* Who may add to a group, who waits for it, and who goes by. */
#include <errno.h>
#include <utlist.h>
#include "failure.h"
#include "group_priv.h"
#include "handle.h"
#include "locks.h"
#include "look.h"
#include "../src/base/clock.h"
#include "../src/base/mem.h"

#define FENCE ((uint32_t)(FS_F_FENCED | FS_F_LOCK_BYTES))

/* Changes that are not collected, or come by another handle: what O_TRUNC was to take away is no longer all there is. */
static void forget_truncations(struct inode *i)
{
	struct file *f;

	DL_FOREACH (i->files, f) {
		f->write_truncates = false;
	}
}

static bool has_same_fence(const struct group *g, const struct fs_op *op)
{
	return ((g->flags ^ op->flags) & FENCE) == 0 && g->lock_owner == op->lock_owner &&
	       g->lock_token == op->lock_token;
}

static bool can_join(const struct group *g, const struct file *f, const struct fs_op *op)
{
	bool truncates = f->owes_truncation || f->write_truncates;

	return !g->committing && g->code == 0 && !truncates && has_same_fence(g, op) &&
	       ((g->flags & FS_F_TRUNC) != 0 || ((g->flags ^ op->flags) & FS_F_APPEND) == 0);
}

static uint64_t place_of(const struct group *g, const struct fs_op *op)
{
	if ((op->flags & FS_F_APPEND) == 0)
		return op->offset;
	return g != NULL ? g->end : 0;
}

/* 0, or -EFBIG where ADOPT would refuse it. */
static int check_size(const struct request *r, const struct group *g, const struct fs_op *op)
{
	uint64_t offset = place_of(g, op), bytes;
	char name[FS_NAME_BYTES_MAX + 1] = "";
	size_t n;

	if (offset > FS_FILE_BYTES_MAX || op->data_len > FS_FILE_BYTES_MAX - offset)
		return -EFBIG;
	if (g == NULL || (g->flags & FS_F_TRUNC) != 0)
		return 0;
	ranges_with(&g->ranges, (struct fs_range){offset, op->data_len}, &n, &bytes);
	if (n <= FS_RANGES_MAX && (g->was_empty || bytes <= FS_ADOPT_BYTES_MAX))
		return 0;
	request_note(r->mount,
	             &(const struct failure){
	                     .op = "write",
	                     .name = inode_known_as(g->inode, name) ? name : NULL,
	                     .ino = g->inode->ino,
	                     .pid = r->caller,
	                     .is_change = true,
	                     .code = -EFBIG,
	                     .more = "commit=close changes at most 16 MiB, in 4096 pieces, of a "
	                             "file that is not written from its beginning; fsync(2) "
	                             "commits what there is",
	             },
	             false);
	return -EFBIG;
}

/* Send what was written last the longest ago on its way. */
static void squeeze(struct mount *m, size_t wanted)
{
	struct group *g = m->groups;

	while (g != NULL &&
	       m->group_bytes - m->group_unanswered + wanted > GROUP_MEMORY_BYTES_MAX) {
		if (g->squeezed || g->committing || g->code != 0) {
			g = g->next;
		} else {
			g->squeezed = true;
			group_push(g);
			g = m->groups;
		}
	}
}

/* False: `r` waits for room. */
static bool find_room(struct request *r, const struct fs_op *op, const struct group *g)
{
	struct mount *m = r->mount;

	if (g != NULL && g->staging &&
	    g->memory.bytes + g->unanswered >= GROUP_UNANSWERED_BYTES_MAX) {
		request_wait(r, op, &r->inode->waiting);
		return false;
	}
	if (m->group_bytes + op->data_len > GROUP_MEMORY_BYTES_MAX) {
		request_wait(r, op, &m->room);
		squeeze(m, op->data_len);
		return false;
	}
	return true;
}

static enum group_verdict wait_behind(struct request *r, const struct fs_op *op, struct group *g)
{
	request_wait(r, op, &r->inode->waiting);
	group_commit(g);
	return GROUP_HELD;
}

static enum group_verdict judge_write(struct request *r, struct fs_op *op)
{
	struct group *g = r->inode->group;
	struct file *f = r->args.file;
	int rc = f->group_error;

	op->flags &= ~FENCE; /* of an earlier look at it */
	op->lock_owner = op->lock_token = 0;
	if (rc == 0)
		rc = locks_fence(r, op);
	if (rc == 0 && g != NULL && !can_join(g, f, op))
		return wait_behind(r, op, g);
	if (rc == 0)
		rc = check_size(r, g, op);
	if (rc != 0) {
		request_fail(r, rc);
		return GROUP_HELD;
	}
	return find_room(r, op, g) ? GROUP_TAKE : GROUP_HELD;
}

static bool comes_behind(const struct request *r, const struct fs_op *op, const struct group *g)
{
	const struct file *f = r->args.file;

	if (f != NULL && f->owes_truncation && !f->overtaken && r->args.ino != 0)
		return true;
	if (is_barrier(r))
		return r->args.fsync || (f != NULL && f->in_group);
	if (op->kind == FS_OP_LOCK)
		return (g->flags & FS_F_FENCED) != 0 && g->lock_owner == op->lock_owner;
	return !is_look(op->kind);
}

static bool look_must_wait(const struct fs_op *op, const struct group *g)
{
	if (group_appends_now(g))
		return true;
	if ((g->flags & FS_F_APPEND) != 0)
		return op->kind == FS_OP_READ && g->flights != NULL;
	return op->kind == FS_OP_READ &&
	       stage_overlaps_flight(g, op->offset, op->offset + op->size);
}

enum group_verdict group_judge(struct request *r, struct fs_op *op)
{
	struct group *g = r->inode->group;

	look_end(r);
	if (r->args.collect && r->mount->stopped == NULL)
		return judge_write(r, op);
	if (file_op_changes_contents(op))
		forget_truncations(r->inode);
	if (g == NULL)
		return GROUP_PASS;
	if (comes_behind(r, op, g))
		return wait_behind(r, op, g);
	if (!is_look(op->kind))
		return GROUP_PASS;
	if (look_must_wait(op, g)) {
		request_wait(r, op, &r->inode->waiting);
		return GROUP_HELD;
	}
	return look_begin(r, op, g) ? GROUP_PASS : GROUP_HELD;
}

/* ---- adding ---- */

static struct group *group_new(struct request *r, const struct fs_op *op)
{
	struct group *g = mem_zalloc(sizeof(*g));
	struct file *f = r->args.file;
	struct mount *m = r->mount;
	struct inode *i = r->inode;
	bool truncates = (op->flags & FS_F_TRUNC) != 0 || f->write_truncates;

	RFS_MAGIC_SET(g, GROUP_MAGIC);
	g->mount = m;
	g->inode = i;
	g->serial = ++m->group_serial;
	g->flags = (op->flags & FENCE) | (truncates ? FS_F_TRUNC : op->flags & FS_F_APPEND);
	g->lock_owner = op->lock_owner;
	g->lock_token = op->lock_token;
	g->truncator = truncates ? f : NULL;
	g->was_empty = i->attr.ino == i->ino && i->attr.size == 0;
	forget_truncations(i);
	i->group = g;
	DL_APPEND(m->groups, g);
	return g;
}

void group_take(struct request *r, const struct fs_op *op)
{
	const struct fs_result ok = {0};
	struct group *g = r->inode->group;
	uint64_t offset;
	size_t before;

	rfs_check(g == NULL || (op->flags & FS_F_TRUNC) == 0);
	if (g == NULL)
		g = group_new(r, op);
	offset = place_of(g, op);
	before = g->memory.bytes;
	extents_write(&g->memory, offset, op->data, op->data_len);
	group_count(g, g->memory.bytes - before, 0);
	if ((g->flags & FS_F_TRUNC) == 0)
		ranges_add(&g->ranges, (struct fs_range){offset, op->data_len});
	if (offset + op->data_len > g->end)
		g->end = offset + op->data_len;
	g->flags |= op->flags & FS_F_KILL_SUID;
	g->changed_ns = (int64_t)clock_real_ns();
	g->squeezed = false;
	r->args.file->in_group = true;
	r->args.file->writer = r->caller;
	DL_DELETE(r->mount->groups, g);
	DL_APPEND(r->mount->groups, g);
	group_push(g);
	request_end(r, &ok);
}

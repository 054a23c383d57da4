/* LOCK, UNLOCK, LOCK_CANCEL and LOCK_BREAK; LOCK_TEST, LOCK_AWAIT and LOCK_LIST. */
#include "lock_priv.h"

#include <errno.h>
#include <utlist.h>

/* What the operation speaks of. 0, -EINVAL: not a range. */
static int take_range(const struct fs_op *op, uint64_t session, struct record_lock *r)
{
	uint64_t size = op->size != 0 ? op->size : RECORD_LOCK_LAST_MAX - op->offset + 1;

	*r = (struct record_lock){.session = session,
	                          .owner = op->lock_owner,
	                          .first = op->offset,
	                          .last = op->offset + size - 1,
	                          .pid = op->pid};
	if (op->offset > RECORD_LOCK_LAST_MAX || size > RECORD_LOCK_LAST_MAX - op->offset + 1)
		return -EINVAL;
	if ((op->flags & FS_F_LOCK_BYTES) != 0)
		r->flags |= RECORD_LOCK_BYTES;
	else if (op->offset != 0 || op->size != 0)
		return -EINVAL;
	if ((op->flags & FS_F_LOCK_SHARED) != 0)
		r->flags |= RECORD_LOCK_SHARED;
	return 0;
}

/* ---- changes ---- */

int store_op_lock(struct store *s, const struct fs_op *op, uint64_t seq, struct fs_result *res)
{
	struct record_lock ask;
	struct store_inode n;
	struct lock_file *f;
	int rc;

	if (s->session == 0)
		return -EINVAL;
	if ((rc = take_range(op, s->session, &ask)) != 0 ||
	    (rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0)
		return rc;
	ask.asked = s->pos.index;
	ask.seq = seq;
	f = lock_file_get(s, op->ino);
	rc = lock_ask(s, f, &ask, (op->flags & FS_F_LOCK_WAIT) != 0, res);
	lock_file_trim(s, f);
	return rc;
}

int store_op_unlock(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct lock_file *f = lock_file_find(s, op->ino);
	struct record_lock range;
	struct lock *l;
	int rc;

	if (s->session == 0)
		return -EINVAL;
	if ((rc = take_range(op, s->session, &range)) != 0 || f == NULL)
		return rc;
	range.asked = s->pos.index;
	rc = lock_give_up(s, f, &range);
	DL_FOREACH (f->held, l) {
		if (lock_same_owner(&l->r, &range))
			res->value++;
	}
	lock_file_trim(s, f);
	return rc;
}

static struct lock *find_asked(struct lock *list, uint64_t session, uint64_t seq)
{
	struct lock *l;

	DL_FOREACH (list, l) {
		if (l->r.session == session && l->r.seq == seq)
			return l;
	}
	return NULL;
}

int store_op_lock_cancel(struct store *s, const struct fs_op *op)
{
	struct lock_file *f = lock_file_find(s, op->ino);
	struct record_lock range;
	struct lock *l;
	int rc = -ENOENT;

	if (s->session == 0)
		return -EINVAL;
	if (f == NULL)
		return -ENOENT;
	if ((l = find_asked(f->waiting, s->session, op->lock_seq)) != NULL) {
		rc = lock_cancel(s, f, l);
	} else if ((op->flags & FS_F_LOCK_UNDO) != 0 &&
	           (l = find_asked(f->held, s->session, op->lock_seq)) != NULL &&
	           (l->r.flags & RECORD_LOCK_BYTES) == 0) {
		range = l->r;
		rc = lock_give_up(s, f, &range);
	}
	lock_file_trim(s, f);
	return rc;
}

int store_op_lock_break(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode n;
	struct lock_file *f;
	int rc = store_path_load(s, op->name, &n);

	if (rc != 0)
		return rc;
	store_result_attr(res, &n);
	f = lock_file_find(s, n.attr.ino);
	if (f == NULL)
		return 0;
	rc = lock_break(s, f, &res->value);
	lock_file_trim(s, f);
	return rc;
}

bool store_lock_stands(const struct store *s, const struct fs_op *op)
{
	const struct lock_file *f = lock_file_find(s, op->ino);
	const uint32_t space = (op->flags & FS_F_LOCK_BYTES) != 0 ? RECORD_LOCK_BYTES : 0;
	const struct lock *l;

	if (f == NULL || s->session == 0)
		return false;
	DL_FOREACH (f->held, l) {
		if (l->r.session == s->session && l->r.owner == op->lock_owner &&
		    (l->r.flags & RECORD_LOCK_BYTES) == space && l->r.since <= op->lock_token)
			return true;
	}
	return false;
}

/* ---- reads ---- */

static void put_lock(struct store *s, uint64_t ino, uint64_t id, const struct record_lock *r)
{
	uint64_t size = r->last - r->first + 1;
	struct fs_lock l = {
	        .ino = ino,
	        .id = id,
	        .session = r->session,
	        .owner = r->owner,
	        .offset = r->first,
	        .size = r->last < RECORD_LOCK_LAST_MAX ? size : 0,
	        .token = lock_waits(r) ? r->asked : r->token,
	        .pid = r->pid,
	};

	if ((r->flags & RECORD_LOCK_BYTES) != 0)
		l.flags |= FS_F_LOCK_BYTES;
	if ((r->flags & RECORD_LOCK_SHARED) != 0)
		l.flags |= FS_F_LOCK_SHARED;
	if (lock_waits(r))
		l.flags |= FS_F_LOCK_WAIT;
	fs_lock_put(&s->out, &l);
}

int store_op_lock_test(struct store *s, const struct fs_op *op)
{
	const struct lock_file *f = lock_file_find(s, op->ino);
	const struct lock *l;
	struct record_lock ask;
	int rc = take_range(op, op->lock_session, &ask);

	if (rc != 0 || f == NULL)
		return rc;
	l = lock_blocker(f, &ask);
	if (l != NULL)
		put_lock(s, l->ino, l->id, &l->r);
	return 0;
}

/* Once granted, a lock may have become part of another one of its owner's; then that is the answer. */
int store_op_lock_await(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	const struct lock_file *f = lock_file_find(s, op->ino);
	const struct record_lock of = {
	        .session = op->lock_session,
	        .owner = op->lock_owner,
	        .flags = (op->flags & FS_F_LOCK_BYTES) != 0 ? RECORD_LOCK_BYTES : 0,
	};
	const struct lock *l;

	if (!store_session_known(s, op->lock_session))
		return RFS_ESESSION;
	if (f == NULL)
		return -ENOENT;
	DL_FOREACH (f->waiting, l) {
		if (l->r.asked == op->lock_token && l->r.session == op->lock_session)
			return RFS_EWAITING;
	}
	DL_FOREACH (f->held, l) {
		if (lock_same_owner(&l->r, &of) && l->r.token > res->value)
			res->value = l->r.token;
	}
	return res->value != 0 ? 0 : -ENOENT;
}

int store_op_lock_list(struct store *s, const struct fs_op *op)
{
	struct record_key prefix = record_prefix(RECORD_LOCK);
	struct record_key from = record_key_lock(op->ino, op->offset + 1);
	uint64_t most = op->size < FS_READ_BYTES_MAX ? op->size : FS_READ_BYTES_MAX;
	struct record_lock r;
	struct store_walk w;
	const char *bad;
	int rc = 0;

	if (op->offset == UINT64_MAX || most < FS_LOCK_BYTES)
		return -EINVAL;
	store_walk_open(s, &w, &prefix, &from);
	while (s->out.len + FS_LOCK_BYTES <= most && (rc = store_walk_next(s, &w)) > 0) {
		bad = record_get_lock(w.value, w.key.second, &r);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		put_lock(s, w.key.first, w.key.second, &r);
	}
	store_walk_close(s, &w);
	return rc < 0 ? rc : 0;
}

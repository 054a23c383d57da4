/* Who gets a lock, and when.
 *
 * flock(2) and fcntl(2) locks of an inode know nothing of each other, as in Linux. What is held is
 * ruled by conflicts alone; what waits, by conflicts and its turn: a lock that waits is granted
 * when nothing held is in its way, nor any that has waited for longer. So readers that come and
 * go do not starve a writer. One exception: whoever holds another lock waits for holders only,
 * since somebody before it in the queue may be waiting for what it holds. So there is no circle
 * that goes through a place in a queue, and the search for deadlocks looks at holders alone. A
 * request that does not wait is decided by what is held, as in Linux.
 *
 * An owner's byte ranges never overlap: a new one cuts those of the other mode and swallows those
 * of its own that it touches (posix_lock_inode() in Linux). flock(2) converts as Linux does: at
 * once if nobody is in the way; if not, the old lock is given up first.
 *
 * What is decided here follows from the records of one inode, but for EDEADLK and the exception
 * above, both decided when a lock is asked for and then kept in its record. So the order in which
 * several inodes are looked at, as when a session ends, makes no difference. */
#include "lock_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>
#include "../base/check.h"
#include "../base/mem.h"

#define MODE  ((uint32_t)RECORD_LOCK_SHARED)
#define SPACE ((uint32_t)RECORD_LOCK_BYTES)

/* ---- conflicts ---- */

bool lock_same_owner(const struct record_lock *a, const struct record_lock *b)
{
	return a->session == b->session && a->owner == b->owner &&
	       ((a->flags ^ b->flags) & SPACE) == 0;
}

static bool same_mode(const struct record_lock *a, const struct record_lock *b)
{
	return ((a->flags ^ b->flags) & MODE) == 0;
}

static bool overlap(const struct record_lock *a, const struct record_lock *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* … or are next to each other. */
static bool touch(const struct record_lock *a, const struct record_lock *b)
{
	return a->first <= b->last + 1 && b->first <= a->last + 1;
}

static bool conflict(const struct record_lock *a, const struct record_lock *b)
{
	return ((a->flags ^ b->flags) & SPACE) == 0 && overlap(a, b) &&
	       (a->flags & b->flags & MODE) == 0 && !lock_same_owner(a, b);
}

const struct lock *lock_blocker(const struct lock_file *f, const struct record_lock *ask)
{
	const struct lock *l, *found = NULL;

	DL_FOREACH (f->held, l) {
		if (conflict(&l->r, ask) && (found == NULL || l->r.first < found->r.first))
			found = l;
	}
	return found;
}

static bool is_blocked(const struct lock_file *f, const struct record_lock *ask)
{
	const struct lock *l;

	DL_FOREACH (f->held, l) {
		if (conflict(&l->r, ask))
			return true;
	}
	return false;
}

/* By one that has waited for longer: all up to `end` (NULL: all). */
static bool is_queued_behind(const struct lock_file *f, const struct record_lock *ask,
                             const struct lock *end)
{
	const struct lock *l;

	for (l = f->waiting; l != end; l = l->next)
		if (conflict(&l->r, ask))
			return true;
	return false;
}

/* What the owner has over the whole range, in this mode. */
static const struct lock *find_covering(const struct lock_file *f, const struct record_lock *ask)
{
	const struct lock *l;

	DL_FOREACH (f->held, l) {
		if (lock_same_owner(&l->r, ask) && same_mode(&l->r, ask) &&
		    l->r.first <= ask->first && l->r.last >= ask->last)
			return l;
	}
	return NULL;
}

static struct lock *find_own(const struct lock_file *f, const struct record_lock *of)
{
	struct lock *l;

	DL_FOREACH (f->held, l) {
		if (lock_same_owner(&l->r, of))
			return l;
	}
	return NULL;
}

/* Any lock of the same owner or the same process, on any inode. */
static bool holds_something(const struct store *s, const struct record_lock *ask)
{
	const struct lock_holder *h = lock_holder_find(s, ask->session);
	const struct lock *l;

	if (h == NULL)
		return false;
	DL_FOREACH2(h->held, l, holder_next)
	{
		if (l->r.owner == ask->owner || (l->r.pid == ask->pid && ask->pid != 0))
			return true;
	}
	return false;
}

/* ---- deadlocks ---- */

struct search {
	const struct lock **stack;
	size_t n, cap;
	uint64_t mark;
};

/* Everything that the owner of `held` waits for. */
static void push_waits_of(struct search *x, const struct lock *held)
{
	struct lock *l;

	DL_FOREACH2(held->holder->waiting, l, holder_next)
	{
		if (l->mark == x->mark || !lock_same_owner(&l->r, &held->r))
			continue;
		l->mark = x->mark;
		x->stack = mem_grow(x->stack, &x->cap, x->n + 1, sizeof(const struct lock *));
		x->stack[x->n++] = l;
	}
}

/* Whether one of those in the way of `r` waits, in the end, for the owner of `ask`. */
static bool leads_back(struct search *x, const struct lock_file *f, const struct record_lock *r,
                       const struct record_lock *ask)
{
	const struct lock *l;

	DL_FOREACH (f->held, l) {
		if (!conflict(&l->r, r))
			continue;
		if (lock_same_owner(&l->r, ask))
			return true;
		push_waits_of(x, l);
	}
	return false;
}

/* Byte ranges only: an open file, which owns a flock(2) lock, does not wait for anything; the
 * processes that have it open do. */
static bool is_deadlock(struct store *s, const struct lock_file *f, const struct record_lock *ask)
{
	struct search x = {.mark = ++s->locks->marks};
	bool found;

	if ((ask->flags & SPACE) == 0)
		return false;
	found = leads_back(&x, f, ask, ask);
	while (!found && x.n > 0) {
		const struct lock *l = x.stack[--x.n];

		found = leads_back(&x, lock_file_find(s, l->ino), &l->r, ask);
	}
	free(x.stack);
	return found;
}

/* ---- ranges ---- */

/* Cut a piece out of `l`. What is left behind the piece becomes a lock of its own if something is
 * left before it, too; every entry makes at most one such, and one when it is granted later. */
static int cut_out(struct store *s, struct lock_file *f, struct lock *l,
                   const struct record_lock *piece)
{
	struct record_lock rest = l->r;

	rest.first = piece->last + 1;
	if (l->r.first >= piece->first && l->r.last <= piece->last)
		return lock_remove(s, f, l);
	if (l->r.first >= piece->first) {
		l->r.first = rest.first;
		return lock_save(s, l);
	}
	l->r.last = piece->first - 1;
	if (lock_save(s, l) != 0)
		return STORE_FAILED;
	return rest.last > piece->last ? lock_add(s, f, piece->asked | RECORD_LOCK_ID_REST, &rest)
	                               : 0;
}

/* Make room for `r` among its owner's ranges; what it touches of its own mode becomes part of it. */
static int make_room(struct store *s, struct lock_file *f, struct record_lock *r)
{
	const struct record_lock asked = *r;
	struct lock *l, *next;
	int rc = 0;

	DL_FOREACH_SAFE (f->held, l, next) {
		if (!lock_same_owner(&l->r, &asked))
			continue;
		if (same_mode(&l->r, &asked) && touch(&l->r, &asked)) {
			r->first = l->r.first < r->first ? l->r.first : r->first;
			r->last = l->r.last > r->last ? l->r.last : r->last;
			rc = lock_remove(s, f, l);
		} else if (overlap(&l->r, &asked)) {
			rc = cut_out(s, f, l, &asked);
		}
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int grant(struct store *s, struct lock_file *f, struct record_lock *r)
{
	const struct lock *own = find_own(f, r);

	r->token = s->pos.index;
	r->since = own != NULL ? own->r.since : s->pos.index;
	r->flags &= ~(uint32_t)(RECORD_LOCK_WAITS | RECORD_LOCK_JUMPS);
	if (make_room(s, f, r) != 0)
		return STORE_FAILED;
	return lock_add(s, f, r->asked, r);
}

/* ---- the queue ---- */

static void tell(struct store *s, const struct lock_file *f, const struct record_lock *r, int err)
{
	const struct store_lock_news news = {
	        .session = r->session,
	        .seq = r->seq,
	        .ino = f->ino,
	        .asked = r->asked,
	        .err = err,
	        .token = r->token,
	};

	if (s->opts.on_lock != NULL)
		s->opts.on_lock(s->opts.ctx, &news);
}

static bool may_have(const struct lock_file *f, const struct lock *l)
{
	if ((l->r.flags & RECORD_LOCK_JUMPS) == 0 && is_queued_behind(f, &l->r, l))
		return false;
	return !is_blocked(f, &l->r);
}

/* Grant what can be granted, in order. A grant may set something free, too (a range that goes from
 * exclusive to shared), so once more until nothing happens. */
static int settle(struct store *s, struct lock_file *f)
{
	struct lock *l, *next;
	bool again;

	do {
		again = false;
		DL_FOREACH_SAFE (f->waiting, l, next) {
			struct record_lock r = l->r;

			if (!may_have(f, l))
				continue;
			if (lock_remove(s, f, l) != 0 || grant(s, f, &r) != 0)
				return STORE_FAILED;
			tell(s, f, &r, 0);
			again = true;
		}
	} while (again && f->waiting != NULL);
	return 0;
}

static int enqueue(struct store *s, struct lock_file *f, struct record_lock *ask,
                   struct fs_result *res)
{
	ask->flags |= RECORD_LOCK_WAITS;
	if (holds_something(s, ask))
		ask->flags |= RECORD_LOCK_JUMPS;
	res->value = ask->asked;
	return lock_add(s, f, ask->asked, ask) != 0 ? STORE_FAILED : RFS_EWAITING;
}

static int grant_now(struct store *s, struct lock_file *f, struct record_lock *ask,
                     struct fs_result *res)
{
	if (grant(s, f, ask) != 0 || settle(s, f) != 0)
		return STORE_FAILED;
	res->value = ask->token;
	return 0;
}

int lock_ask(struct store *s, struct lock_file *f, struct record_lock *ask, bool wait,
             struct fs_result *res)
{
	const struct lock *covering = find_covering(f, ask);
	const struct lock_holder *h = lock_holder_find(s, ask->session);
	struct lock *own;

	if (covering != NULL) {
		res->value = covering->r.token;
		return 0;
	}
	if ((h != NULL && h->n >= STORE_LOCKS_SESSION_MAX) || f->n_held >= STORE_LOCKS_INODE_MAX)
		return -ENOLCK;
	if (!is_blocked(f, ask) &&
	    (!wait || !is_queued_behind(f, ask, NULL) || holds_something(s, ask)))
		return grant_now(s, f, ask, res);
	if (wait && f->n_waiting >= STORE_LOCKS_WAITING_MAX)
		return -ENOLCK;
	if (wait && is_deadlock(s, f, ask))
		return -EDEADLK;
	own = (ask->flags & SPACE) == 0 ? find_own(f, ask) : NULL;
	if (own != NULL && (lock_remove(s, f, own) != 0 || settle(s, f) != 0))
		return STORE_FAILED;
	return wait ? enqueue(s, f, ask, res) : -EAGAIN;
}

/* ---- the end of locks ---- */

int lock_give_up(struct store *s, struct lock_file *f, const struct record_lock *range)
{
	struct lock *l, *next;

	DL_FOREACH_SAFE (f->held, l, next) {
		if (lock_same_owner(&l->r, range) && overlap(&l->r, range) &&
		    cut_out(s, f, l, range) != 0)
			return STORE_FAILED;
	}
	return settle(s, f);
}

int lock_cancel(struct store *s, struct lock_file *f, struct lock *l)
{
	tell(s, f, &l->r, -EINTR);
	return lock_remove(s, f, l) != 0 ? STORE_FAILED : settle(s, f);
}

int lock_break(struct store *s, struct lock_file *f, uint64_t *n)
{
	struct lock *l, *next;

	*n = f->n_held;
	DL_FOREACH_SAFE (f->held, l, next) {
		if (lock_remove(s, f, l) != 0)
			return STORE_FAILED;
	}
	return settle(s, f);
}

struct touched {
	struct lock_file **files;
	size_t n, cap;
};

static int remove_of_session(struct store *s, struct lock *l, struct touched *t)
{
	struct lock_file *f = lock_file_find(s, l->ino);

	if (!f->touched) {
		t->files = mem_grow(t->files, &t->cap, t->n + 1, sizeof(struct lock_file *));
		t->files[t->n++] = f;
		f->touched = true;
	}
	if (lock_waits(&l->r))
		tell(s, f, &l->r, RFS_ESESSION);
	return lock_remove(s, f, l);
}

/* All go before the first file is settled: nothing is granted to who is on its way out. */
int store_locks_end_session(struct store *s, uint64_t session)
{
	struct lock_holder *h = lock_holder_find(s, session);
	struct touched t = {0};
	int rc = 0;

	if (h == NULL)
		return 0;
	while (rc == 0 && h->n > 0)
		rc = remove_of_session(s, h->waiting != NULL ? h->waiting : h->held, &t);
	for (size_t i = 0; i < t.n; i++) {
		t.files[i]->touched = false;
		if (rc == 0)
			rc = settle(s, t.files[i]);
		lock_file_trim(s, t.files[i]);
	}
	free(t.files);
	if (rc == 0)
		lock_holder_free(s, h);
	return rc;
}

/* ---- what must be true ---- */

static const char *check_held(const struct lock_file *f, const struct lock *l)
{
	const struct lock *other;

	for (other = l->next; other != NULL; other = other->next) {
		if (conflict(&other->r, &l->r))
			return "two locks that exclude each other are held";
		if (lock_same_owner(&other->r, &l->r) && overlap(&other->r, &l->r))
			return "two locks of one owner overlap";
		if (lock_same_owner(&other->r, &l->r) && other->r.since != l->r.since)
			return "two locks of one owner are held since different entries";
	}
	(void)f;
	return NULL;
}

int store_locks_verify(struct store *s)
{
	struct lock_file *f, *next;
	const char *bad = NULL;
	const struct lock *l;

	HASH_ITER (hh, s->locks->files, f, next) {
		DL_FOREACH (f->held, l) {
			if (bad == NULL)
				bad = check_held(f, l);
		}
		DL_FOREACH (f->waiting, l) {
			if (bad == NULL && may_have(f, l))
				bad = "a lock waits for nothing";
		}
		if (bad != NULL)
			return store_fail(s, RFS_ECORRUPT, "inode %llu: %s",
			                  (unsigned long long)f->ino, bad);
	}
	return 0;
}

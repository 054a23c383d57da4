/* Locks in memory, rebuilt from their records at open. lock_table.c keeps both in step, lock.c has
 * the rules, op_lock.c the operations. */
#ifndef RFS_STORE_LOCK_PRIV_H
#define RFS_STORE_LOCK_PRIV_H

#include "store_priv.h"

/* A lock that is held or waits. */
struct lock {
	uint64_t ino, id;
	struct record_lock r; /* lock_save() after a change */
	uint64_t weight;
	uint64_t mark; /* of a search */
	struct lock_holder *holder;
	struct lock *prev, *next; /* file->held, or file->waiting in the order of asking */
	struct lock *holder_prev, *holder_next;
};

/* An inode on which there are locks. Stays until lock_file_trim(). */
struct lock_file {
	uint64_t ino;
	struct lock *held, *waiting;
	size_t n_held, n_waiting;
	bool touched; /* lock.c: one of those that are to be settled */
	UT_hash_handle hh;
};

/* A session that has or had locks. */
struct lock_holder {
	uint64_t session;
	struct lock *held, *waiting;
	size_t n;
	UT_hash_handle hh;
};

struct store_locks {
	struct lock_file *files;
	struct lock_holder *holders;
	uint64_t n;
	uint64_t marks; /* given out */
};

/* ---- lock_table.c ---- */

struct lock_file *lock_file_find(const struct store *s, uint64_t ino); /* NULL: no locks */
struct lock_file *lock_file_get(struct store *s, uint64_t ino);
void lock_file_trim(struct store *s, struct lock_file *f); /* takes it if nothing is there */
struct lock_holder *lock_holder_find(const struct store *s, uint64_t session);
void lock_holder_free(struct store *s, struct lock_holder *h); /* without locks */

/* These keep the records. 0 or STORE_FAILED. */
int lock_add(struct store *s, struct lock_file *f, uint64_t id, const struct record_lock *r);
int lock_save(struct store *s, struct lock *l);
int lock_remove(struct store *s, struct lock_file *f, struct lock *l); /* takes l */

/* ---- lock.c ---- */

static inline bool lock_waits(const struct record_lock *r)
{
	return (r->flags & RECORD_LOCK_WAITS) != 0;
}

bool lock_same_owner(const struct record_lock *a, const struct record_lock *b);
/* What is held and in the way of `ask`: NULL, or the one that begins first. */
const struct lock *lock_blocker(const struct lock_file *f, const struct record_lock *ask);

/* LOCK: outcome. */
int lock_ask(struct store *s, struct lock_file *f, struct record_lock *ask, bool wait,
             struct fs_result *res);
int lock_give_up(struct store *s, struct lock_file *f, const struct record_lock *range);
int lock_cancel(struct store *s, struct lock_file *f, struct lock *l);
int lock_break(struct store *s, struct lock_file *f, uint64_t *n);

#endif

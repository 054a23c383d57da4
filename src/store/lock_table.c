#include "lock_priv.h"

#include <stdlib.h>
#include <utlist.h>
#include "../base/check.h"
#include "../base/mem.h"

/* ---- files and holders ---- */

struct lock_file *lock_file_find(const struct store *s, uint64_t ino)
{
	struct lock_file *f;

	HASH_FIND(hh, s->locks->files, &ino, sizeof(ino), f);
	return f;
}

struct lock_file *lock_file_get(struct store *s, uint64_t ino)
{
	struct lock_file *f = lock_file_find(s, ino);

	if (f == NULL) {
		f = mem_zalloc(sizeof(*f));
		f->ino = ino;
		HASH_ADD(hh, s->locks->files, ino, sizeof(f->ino), f);
	}
	return f;
}

void lock_file_trim(struct store *s, struct lock_file *f)
{
	if (f->n_held + f->n_waiting > 0)
		return;
	HASH_DELETE(hh, s->locks->files, f);
	free(f);
}

struct lock_holder *lock_holder_find(const struct store *s, uint64_t session)
{
	struct lock_holder *h;

	HASH_FIND(hh, s->locks->holders, &session, sizeof(session), h);
	return h;
}

static struct lock_holder *holder_get(struct store *s, uint64_t session)
{
	struct lock_holder *h = lock_holder_find(s, session);

	if (h == NULL) {
		h = mem_zalloc(sizeof(*h));
		h->session = session;
		HASH_ADD(hh, s->locks->holders, session, sizeof(h->session), h);
	}
	return h;
}

void lock_holder_free(struct store *s, struct lock_holder *h)
{
	rfs_check(h->n == 0);
	HASH_DELETE(hh, s->locks->holders, h);
	free(h);
}

/* ---- locks ---- */

static void enter(struct store *s, struct lock_file *f, struct lock *l)
{
	struct lock_holder *h = holder_get(s, l->r.session);

	l->holder = h;
	if (lock_waits(&l->r)) {
		DL_APPEND(f->waiting, l);
		DL_APPEND2(h->waiting, l, holder_prev, holder_next);
		f->n_waiting++;
	} else {
		DL_APPEND(f->held, l);
		DL_APPEND2(h->held, l, holder_prev, holder_next);
		f->n_held++;
	}
	h->n++;
	s->locks->n++;
}

static void leave(struct store *s, struct lock_file *f, struct lock *l)
{
	struct lock_holder *h = l->holder;

	if (lock_waits(&l->r)) {
		DL_DELETE(f->waiting, l);
		DL_DELETE2(h->waiting, l, holder_prev, holder_next);
		f->n_waiting--;
	} else {
		DL_DELETE(f->held, l);
		DL_DELETE2(h->held, l, holder_prev, holder_next);
		f->n_held--;
	}
	h->n--;
	s->locks->n--;
}

int lock_save(struct store *s, struct lock *l)
{
	struct record_key k = record_key_lock(l->ino, l->id);

	buf_clear(&s->rec);
	record_put_lock(&s->rec, &l->r);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, l->weight,
	                       &l->weight);
}

int lock_add(struct store *s, struct lock_file *f, uint64_t id, const struct record_lock *r)
{
	struct lock *l = mem_zalloc(sizeof(*l));

	l->ino = f->ino;
	l->id = id;
	l->r = *r;
	enter(s, f, l);
	return lock_save(s, l);
}

int lock_remove(struct store *s, struct lock_file *f, struct lock *l)
{
	struct record_key k = record_key_lock(l->ino, l->id);
	uint64_t weight = l->weight;

	leave(s, f, l);
	free(l);
	return store_state_del(s, &k, weight);
}

uint64_t store_locks_count(const struct store *s)
{
	return s->locks->n;
}

/* ---- at open ---- */

static const char *take_record(struct store *s, const struct store_walk *w)
{
	struct record_lock r;
	const char *bad = record_get_lock(w->value, w->key.second, &r);
	struct lock *l;

	if (bad != NULL)
		return bad;
	if (!store_session_known(s, r.session))
		return "lock of a session that is not there";
	l = mem_zalloc(sizeof(*l));
	l->ino = w->key.first;
	l->id = w->key.second;
	l->r = r;
	l->weight = store_weight(w->key_bytes, w->value);
	enter(s, lock_file_get(s, l->ino), l);
	return NULL;
}

/* Those that wait come in the order of their ids, which is that of asking. */
int store_locks_load_all(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_LOCK);
	struct store_walk w;
	const char *bad;
	int rc;

	s->locks = mem_zalloc(sizeof(*s->locks));
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		bad = take_record(s, &w);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
	}
	store_walk_close(s, &w);
	return rc;
}

static void free_list(struct lock *l)
{
	struct lock *next;

	for (; l != NULL; l = next) {
		next = l->next;
		free(l);
	}
}

void store_locks_free_all(struct store *s)
{
	struct lock_holder *h, *next_holder;
	struct lock_file *f, *next_file;

	if (s->locks == NULL)
		return;
	f = s->locks->files;
	h = s->locks->holders;
	HASH_CLEAR(hh, s->locks->files); /* the elements stay linked in their order */
	HASH_CLEAR(hh, s->locks->holders);
	for (; f != NULL; f = next_file) {
		next_file = f->hh.next;
		free_list(f->held);
		free_list(f->waiting);
		free(f);
	}
	for (; h != NULL; h = next_holder) {
		next_holder = h->hh.next;
		free(h);
	}
	free(s->locks);
	s->locks = NULL;
}

/* Sessions: each command of a client takes effect once, and its answer is kept until the client has
 * it. The records are the truth; what stands here in memory is rebuilt from them at open, so that a
 * command costs one overwritten record and no search. Slots and the session's mark:
 * docs/store-format.md. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"

struct reply_slot {
	uint64_t seq; /* 0: never used; below the session's mark: free */
	uint64_t weight;
};

struct store_session {
	uint64_t id, timeout_ms;
	uint64_t weight; /* of its own record */
	uint64_t lowest; /* the mark */
	struct reply_slot *slots;
	size_t n, cap;
	UT_hash_handle hh;
};

static struct store_session *find(const struct store *s, uint64_t id)
{
	struct store_session *found;

	HASH_FIND(hh, s->sessions, &id, sizeof(id), found);
	return found;
}

bool store_session_known(const struct store *s, uint64_t id)
{
	return find(s, id) != NULL;
}

bool store_session_is_new(const struct store *s, uint64_t session, uint64_t seq)
{
	const struct store_session *ses = find(s, session);

	if (ses == NULL || seq < ses->lowest)
		return false;
	for (size_t i = 0; i < ses->n; i++)
		if (ses->slots[i].seq == seq)
			return false;
	return true;
}

static struct store_session *add(struct store *s, uint64_t id, uint64_t timeout_ms, uint64_t weight)
{
	struct store_session *n = mem_zalloc(sizeof(*n));

	n->id = id;
	n->timeout_ms = timeout_ms;
	n->weight = weight;
	HASH_ADD(hh, s->sessions, id, sizeof(n->id), n);
	return n;
}

static void free_session(struct store_session *ses)
{
	free(ses->slots);
	free(ses);
}

static void forget(struct store *s, struct store_session *ses)
{
	HASH_DELETE(hh, s->sessions, ses);
	free_session(ses);
}

void store_session_free_all(struct store *s)
{
	struct store_session *at = s->sessions, *next;

	HASH_CLEAR(hh, s->sessions); /* the elements stay linked in their order */
	for (; at != NULL; at = next) {
		next = at->hh.next;
		free_session(at);
	}
}

void store_each_session(struct store *s, void (*each)(void *ctx, uint64_t id, uint64_t timeout_ms),
                        void *ctx)
{
	struct store_session *at, *next;

	HASH_ITER (hh, s->sessions, at, next) {
		each(ctx, at->id, at->timeout_ms);
	}
}

/* ---- a command ---- */

static int give_stored(struct store *s, const struct store_session *ses, uint32_t slot,
                       uint64_t seq, struct fs_result *res)
{
	struct record_key k = record_key_reply(ses->id, slot);
	struct record_reply r;
	struct engine_bytes v;
	const char *bad;
	int rc = store_state_get(s, &k, &v);

	if (rc < 0)
		return rc;
	bad = rc == 0 ? "a reply is missing" : record_get_reply(v, &r);
	if (bad == NULL && r.seq != seq)
		bad = "not the reply it was";
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	buf_clear(&s->out);
	buf_put(&s->out, r.res.data, r.res.data_len);
	*res = r.res;
	res->data = s->out.data;
	return 0;
}

/* The first slot that is free below the new mark; a new one behind them; STORE_REPLIES_MAX:
 * none. */
static uint32_t pick_slot(const struct store_session *ses, uint64_t lowest)
{
	for (size_t i = 0; i < ses->n; i++)
		if (ses->slots[i].seq < lowest)
			return (uint32_t)i;
	return (uint32_t)ses->n;
}

int store_session_enter(struct store *s, const struct store_cmd *cmd, struct fs_result *res,
                        struct store_entry_ticket *t)
{
	struct store_session *ses;

	*t = (struct store_entry_ticket){0};
	if (cmd->session == 0)
		return 1;
	ses = find(s, cmd->session);
	if (ses == NULL) {
		res->err = RFS_ESESSION;
		return 0;
	}
	if (cmd->seq == 0 || cmd->lowest > cmd->seq) {
		res->err = -EINVAL;
		return 0;
	}
	if (cmd->seq < ses->lowest) { /* applied once, and the answer acknowledged */
		res->err = RFS_EUNKNOWN;
		return 0;
	}
	for (size_t i = 0; i < ses->n; i++)
		if (ses->slots[i].seq == cmd->seq)
			return give_stored(s, ses, (uint32_t)i, cmd->seq, res);
	t->lowest = cmd->lowest > ses->lowest ? cmd->lowest : ses->lowest;
	t->slot = pick_slot(ses, t->lowest);
	if (t->slot >= STORE_REPLIES_MAX) {
		res->err = RFS_EBUSYLIMIT;
		return 0;
	}
	t->session = ses;
	return 1;
}

static struct reply_slot *slot_at(struct store_session *ses, size_t i)
{
	if (i >= ses->n) {
		ses->slots = mem_grow(ses->slots, &ses->cap, i + 1, sizeof(*ses->slots));
		for (; ses->n <= i; ses->n++)
			ses->slots[ses->n] = (struct reply_slot){0};
	}
	return &ses->slots[i];
}

int store_session_leave(struct store *s, const struct store_cmd *cmd, const struct fs_result *res,
                        const struct store_entry_ticket *t)
{
	struct record_reply r = {cmd->seq, t->lowest, *res};
	struct reply_slot *slot;
	struct record_key k;

	if (t->session == NULL || find(s, cmd->session) == NULL) /* none, or it closed itself */
		return 0;
	slot = slot_at(t->session, t->slot);
	k = record_key_reply(cmd->session, t->slot);
	t->session->lowest = t->lowest;
	slot->seq = cmd->seq;
	buf_clear(&s->rec);
	record_put_reply(&s->rec, &r);
	return store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, slot->weight,
	                       &slot->weight);
}

/* ---- a session's life ---- */

int store_session_open(struct store *s, uint64_t timeout_ms, struct fs_result *res)
{
	struct record_key k = record_key_session(s->pos.index);
	uint64_t weight = 0;

	if (s->session != 0 || timeout_ms == 0 || timeout_ms > STORE_SESSION_TIMEOUT_MS_MAX)
		return -EINVAL;
	buf_clear(&s->rec);
	record_put_session(&s->rec, timeout_ms);
	if (store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len}, 0, &weight) != 0)
		return STORE_FAILED;
	add(s, s->pos.index, timeout_ms, weight);
	s->m.counts.sessions++;
	res->value = s->pos.index;
	return 0;
}

/* ---- files without a name that a session has open ---- */

int store_orphan_add(struct store *s, struct store_inode *n)
{
	struct record_key k = record_key_orphan(s->session, n->attr.ino);

	if (store_state_put(s, &k, (struct engine_bytes){0}, 0, NULL) != 0)
		return STORE_FAILED;
	return store_inode_save(s, n);
}

int store_orphan_is_ours(struct store *s, uint64_t ino)
{
	struct record_key k = record_key_orphan(s->session, ino);
	struct engine_bytes v;

	return s->session != 0 ? store_state_get(s, &k, &v) : 0;
}

int store_orphan_forget(struct store *s, uint64_t ino)
{
	struct record_key k = record_key_orphan(s->session, ino);

	return store_state_del(s, &k, store_weight(record_key_bytes(&k), (struct engine_bytes){0}));
}

static int find_orphans(struct store *s, uint64_t id, uint64_t **inos, size_t *n)
{
	struct record_key prefix = record_prefix_of(RECORD_ORPHAN, id);
	struct store_walk w;
	size_t cap = 0;
	int rc;

	*inos = NULL;
	*n = 0;
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		*inos = mem_grow(*inos, &cap, *n + 1, sizeof(**inos));
		(*inos)[(*n)++] = w.key.second;
	}
	store_walk_close(s, &w);
	return rc;
}

static int free_orphan(struct store *s, uint64_t id, uint64_t ino)
{
	struct record_key k = record_key_orphan(id, ino);
	struct store_inode n;
	int rc = store_inode_load(s, ino, -ENOENT, &n);

	if (rc == 0 && n.attr.nlink != 0)
		rc = -EEXIST;
	if (rc == -ENOENT || rc == -EEXIST)
		return store_fail_record(s, record_key_bytes(&k), "its inode is gone or has names");
	/* another mount may have it open, too */
	if (rc != 0 || store_linger(s, &n) != 0)
		return STORE_FAILED;
	return store_state_del(s, &k, store_weight(record_key_bytes(&k), (struct engine_bytes){0}));
}

static int free_orphans(struct store *s, uint64_t id)
{
	uint64_t *inos;
	size_t n;
	int rc = find_orphans(s, id, &inos, &n);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = free_orphan(s, id, inos[i]);
	free(inos);
	return rc;
}

int store_session_end(struct store *s, uint64_t id)
{
	struct store_session *ses = find(s, id);
	struct record_key k = record_key_session(id);

	if (ses == NULL)
		return -ENOENT;
	if (store_locks_end_session(s, id) != 0 || free_orphans(s, id) != 0 ||
	    store_state_del(s, &k, ses->weight) != 0)
		return STORE_FAILED;
	for (size_t i = 0; i < ses->n; i++) {
		k = record_key_reply(id, (uint32_t)i);
		if (store_state_del(s, &k, ses->slots[i].weight) != 0)
			return STORE_FAILED;
	}
	forget(s, ses);
	s->m.counts.sessions--;
	return 0;
}

int store_op_release(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct record_key k = record_key_orphan(s->session, op->ino);
	struct engine_bytes v;
	int rc;

	(void)res;
	if (s->session == 0)
		return -EINVAL;
	rc = store_state_get(s, &k, &v);
	if (rc <= 0)
		return rc == 0 ? -ENOENT : rc;
	return free_orphan(s, s->session, op->ino);
}

/* ---- at open ---- */

static int load_sessions(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_SESSION);
	struct store_walk w;
	uint64_t timeout_ms;
	const char *bad;
	int rc;

	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		bad = record_get_session(w.value, &timeout_ms);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		add(s, w.key.first, timeout_ms, store_weight(w.key_bytes, w.value));
	}
	store_walk_close(s, &w);
	return rc;
}

static const char *take_reply(struct store *s, const struct store_walk *w)
{
	struct store_session *ses = find(s, w->key.first);
	struct record_reply r;
	const char *bad = record_get_reply(w->value, &r);

	if (bad != NULL)
		return bad;
	if (ses == NULL)
		return "reply of a session that is not there";
	if (w->key.second != ses->n || ses->n >= STORE_REPLIES_MAX)
		return "reply slots are not without a gap";
	*slot_at(ses, ses->n) = (struct reply_slot){r.seq, store_weight(w->key_bytes, w->value)};
	if (r.lowest > ses->lowest)
		ses->lowest = r.lowest;
	return NULL;
}

int store_session_load_all(struct store *s)
{
	struct record_key prefix = record_prefix(RECORD_REPLY);
	struct store_walk w;
	const char *bad;
	int rc = load_sessions(s);

	if (rc != 0)
		return rc;
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		bad = take_reply(s, &w);
		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
	}
	store_walk_close(s, &w);
	return rc;
}

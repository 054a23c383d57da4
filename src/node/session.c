/* Keep-alives. When a session was last heard of is the leader's own knowledge; its end is an entry
 * of the log. A new leader knows nothing, so it grants every session a full period first. */
#include "node_priv.h"

#include <stdlib.h>
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

#define SWEEP_LATE_MS 1000u /* a sweep this late means that we were stopped, not our clients */

static struct node_session *session_get(struct node *n, uint64_t id)
{
	struct node_session *s;

	HASH_FIND(hh, n->sessions, &id, sizeof(id), s);
	if (s == NULL) {
		s = mem_zalloc(sizeof(*s));
		s->id = id;
		s->heard_ms = clock_mono_ms();
		HASH_ADD(hh, n->sessions, id, sizeof(s->id), s);
	}
	return s;
}

void sessions_free(struct node *n)
{
	struct node_session *s, *next;

	HASH_ITER (hh, n->sessions, s, next) {
		HASH_DEL(n->sessions, s); // NOLINT(clang-analyzer-unix.Malloc)
		free(s);
	}
}

void sessions_grant_all(struct node *n)
{
	sessions_free(n);
	n->last_sweep_ms = clock_mono_ms();
}

/* We were stopped, and not our clients; what they proposed is still known. */
static void hear_all(struct node *n)
{
	struct node_session *s, *next;

	HASH_ITER (hh, n->sessions, s, next)
		s->heard_ms = n->last_sweep_ms;
}

void session_heard(struct node *n, uint64_t id)
{
	if (n->role == RAFT_LEADER && id != 0)
		session_get(n, id)->heard_ms = clock_mono_ms();
}

void session_note_proposed(struct node *n, uint64_t id, uint64_t seq)
{
	struct node_session *s;

	if (id == 0)
		return;
	s = session_get(n, id);
	if (seq > s->proposed)
		s->proposed = seq;
}

uint64_t session_proposed(const struct node *n, uint64_t id)
{
	struct node_session *s;

	HASH_FIND(hh, n->sessions, &id, sizeof(id), s);
	return s != NULL ? s->proposed : 0;
}

struct expired {
	struct node *n;
	uint64_t now_ms;
	uint64_t *ids;
	size_t len, cap;
};

static void look_at(void *ctx, uint64_t id, uint64_t timeout_ms)
{
	struct expired *e = ctx;
	struct node_session *s = session_get(e->n, id);

	if (e->now_ms <= s->heard_ms || e->now_ms - s->heard_ms <= timeout_ms)
		return;
	e->ids = mem_grow(e->ids, &e->cap, e->len + 1, sizeof(*e->ids));
	e->ids[e->len++] = id;
}

/* Sessions that are gone from the store need no memory here. */
static void forget(struct node *n, uint64_t id)
{
	struct node_session *s;

	HASH_FIND(hh, n->sessions, &id, sizeof(id), s);
	if (s != NULL) {
		HASH_DEL(n->sessions, s);
		free(s);
	}
}

void sessions_sweep(struct node *n)
{
	struct expired e = {.n = n, .now_ms = clock_mono_ms()};
	uint64_t since = e.now_ms - n->last_sweep_ms;

	if (n->role != RAFT_LEADER)
		return;
	n->last_sweep_ms = e.now_ms;
	if (since > SWEEP_LATE_MS * 2) {
		hear_all(n);
		return;
	}
	store_each_session(n->store, look_at, &e);
	for (size_t i = 0; i < e.len; i++) {
		struct fs_op op = {.kind = FS_OP_SESSION_EXPIRE, .ino = e.ids[i]};

		log_info("session %llu has been silent for too long: ending it",
		         (unsigned long long)e.ids[i]);
		if (serve_command(n, &op) == 0)
			forget(n, e.ids[i]);
	}
	free(e.ids);
}

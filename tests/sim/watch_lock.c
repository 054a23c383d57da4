/* Locks: one holder at a time, tokens that grow, and no fenced change but the holder's. Followed through
 * the log, each entry once, by whoever applies it first; so a lock that a crash, a snapshot or a
 * replay loses or keeps too long is found at the next use of it. */
#include <errno.h>
#include "watch.h"

static struct watch_lock *find(struct sim_watch *w, uint64_t ino)
{
	struct watch_lock *l = NULL;

	for (unsigned i = 0; i < SIM_KEYS && l == NULL; i++)
		if (w->locks[i].ino == ino || w->locks[i].ino == 0)
			l = &w->locks[i];
	if (l != NULL)
		l->ino = ino;
	return l;
}

static void end_session(struct sim_watch *w, uint64_t session)
{
	for (unsigned i = 0; i < SIM_KEYS; i++)
		if (w->locks[i].session == session)
			w->locks[i].session = 0;
}

static void locked(struct sim *s, struct watch_lock *l, const struct store_cmd *cmd,
                   const struct fs_result *r)
{
	if (r->err == -EAGAIN && l->session == 0)
		sim_fail(s, "a lock that nobody has is refused to session %llu", ull(cmd->session));
	if (r->err != 0)
		return;
	if (l->session != 0 && l->session != cmd->session)
		sim_fail(s, "session %llu gets a lock that session %llu has", ull(cmd->session),
		         ull(l->session));
	if (l->session == 0 && r->value <= l->token)
		sim_fail(s, "a lock gets token %llu, had %llu before", ull(r->value),
		         ull(l->token));
	l->session = cmd->session;
	l->token = r->value;
}

static void fenced(struct sim *s, const struct watch_lock *l, const struct store_cmd *cmd,
                   const struct fs_result *r)
{
	bool holds = l->session == cmd->session && l->token == cmd->op->lock_token;

	if (holds != (r->err == 0))
		sim_fail(s,
		         "a change fenced by session %llu, token %llu, is answered %d; session "
		         "%llu has the lock with token %llu",
		         ull(cmd->session), ull(cmd->op->lock_token), r->err, ull(l->session),
		         ull(l->token));
}

void watch_locks(struct sim *s, raft_index index, const struct store_cmd *cmd,
                 const struct fs_result *r)
{
	struct sim_watch *w = s->watch;
	struct watch_lock *l;

	if (index <= w->locks_upto)
		return; /* somebody has been here before */
	w->locks_upto = index;
	if (cmd->op->kind == FS_OP_SESSION_EXPIRE)
		end_session(w, cmd->op->ino);
	if (cmd->op->kind == FS_OP_LOCK_BREAK && r->err == 0 && (l = find(w, r->attr.ino)) != NULL)
		l->session = 0;
	if (r->err == RFS_ESESSION || r->err == RFS_EUNKNOWN || r->err == -EINVAL)
		return;
	if (cmd->op->kind != FS_OP_LOCK && cmd->op->kind != FS_OP_UNLOCK &&
	    (cmd->op->flags & FS_F_FENCED) == 0)
		return;
	l = find(w, cmd->op->ino);
	if (l == NULL)
		return;
	if (cmd->op->kind == FS_OP_LOCK)
		locked(s, l, cmd, r);
	else if (cmd->op->kind == FS_OP_UNLOCK && l->session == cmd->session)
		l->session = 0;
	else if ((cmd->op->flags & FS_F_FENCED) != 0)
		fenced(s, l, cmd, r);
}

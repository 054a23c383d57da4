/* Locks that wait. The servers answer such a request at once with RFS_EWAITING: from then on it has
 * no deadline, casts no doubt on a silent leader, and no longer keeps the session's older answers
 * alive. Its outcome comes by itself, over the same connection. Another leader, or the same over
 * another connection, is asked for it by LOCK_AWAIT (route.c).
 *
 * To wait no longer is an entry of the log, LOCK_CANCEL, sent by the client itself: only the answer to
 * it tells whether the lock was granted before. */
#include <errno.h>
#include "../base/check.h"
#include "client_priv.h"

static bool is_lock(const struct client_req *r)
{
	return r->owner == REQ_OF_CALLER && r->op.kind == FS_OP_LOCK;
}

/* With its session ended there is nothing to cancel. */
static bool can_cancel(const struct client_req *r)
{
	return r->sent && r->client->session_state == SESSION_OPEN &&
	       r->session == r->client->session && r->client->closing == CLOSE_NOT;
}

static struct client_req *send_cancel(const struct client_req *r, uint32_t flags)
{
	struct fs_op op = {
	        .kind = FS_OP_LOCK_CANCEL, .ino = r->op.ino, .lock_seq = r->seq, .flags = flags};
	struct client_req *cancel = req_new(r->client, &op, REQ_CANCELS_LOCK);

	req_move(cancel, REQ_OUTBOX);
	client_schedule(r->client);
	return cancel;
}

static void cancel_lock(struct client_req *r)
{
	r->cancel = send_cancel(r, 0);
	r->cancel->cancels = r;
}

void lock_queued(struct client_req *r, struct link *l, uint64_t asked)
{
	if (!is_lock(r) || asked == 0) {
		req_end(r, RFS_EPROTO);
		return;
	}
	if (r->waits_for == 0) {
		r->waits_for = asked;
		req_acknowledge(r, true);
	}
	if (l == r->client->target || r->waits_at == NULL)
		r->waits_at = l;
	if (r->interrupted && r->cancel == NULL && can_cancel(r))
		cancel_lock(r);
}

/* Neither held nor waiting: granted, and given up or taken away since; or it is this client's own
 * LOCK_CANCEL that did it, whose answer will tell. */
void lock_gone(struct client_req *r)
{
	const struct fs_result res = {.value = r->waits_for, .index = r->waits_for};

	r->waits_at = NULL;
	if (r->cancel == NULL)
		req_answer(r, &res);
}

void lock_cancel_ended(struct client_req *r, int err)
{
	const struct fs_result interrupted = {.err = -EINTR};

	r->cancel = NULL;
	if (err == 0)
		req_answer(r, &interrupted);
	else if (r->waits_for != 0 && r->open_mask == 0 && r->where == REQ_NOWHERE)
		req_move(r, REQ_OUTBOX); /* granted: its answer may have been lost */
}

void client_interrupt_lock(struct client_req *r)
{
	RFS_MAGIC_CHECK(r, CLIENT_REQ_MAGIC);
	if (r->where == REQ_DONE || r->interrupted)
		return;
	rfs_check(is_lock(r));
	r->interrupted = true;
	if (can_cancel(r))
		cancel_lock(r);
	else
		req_end(r, -EINTR);
}

void client_abandon_lock(struct client_req *r)
{
	RFS_MAGIC_CHECK(r, CLIENT_REQ_MAGIC);
	rfs_check(is_lock(r));
	if (r->where != REQ_DONE && can_cancel(r))
		(void)send_cancel(r, FS_F_LOCK_UNDO);
	req_drop(r);
}

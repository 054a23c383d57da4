/* The session, under which changes take effect exactly once: opened with the first change, kept
 * alive over the target, lost when the servers say so. */
#include <errno.h>
#include <stdio.h>
#include "../base/check.h"
#include "../base/log.h"
#include "client_priv.h"

static uint64_t keep_alive_period(const struct client *c)
{
	uint64_t third = c->opts.session_timeout_ms / 3;

	return third > 0 ? third : 1;
}

/* ---- opening ---- */

static void session_open(struct client *c)
{
	struct fs_op op = {.kind = FS_OP_SESSION_OPEN, .size = c->opts.session_timeout_ms};

	c->session_state = SESSION_OPENING;
	req_move(req_new(c, &op, REQ_OPENS_SESSION), REQ_OUTBOX);
}

/* Refused for good: so are the changes that waited for it, and certainly not done. */
static void open_failed(struct client *c, int err)
{
	struct client_req *r;

	c->session_state = SESSION_NONE;
	(void)snprintf(c->last_error, sizeof(c->last_error), "no session: %s", rfs_strerror(err));
	while ((r = c->lists[REQ_PARKED]) != NULL)
		req_end(r, err);
}

void session_opened(struct client *c, const struct fs_result *res)
{
	struct client_req *r;

	rfs_check(c->session_state == SESSION_OPENING);
	if (res->err != 0 || res->value == 0) {
		open_failed(c, res->err != 0 ? res->err : RFS_EPROTO);
		return;
	}
	c->session_state = SESSION_OPEN;
	c->session = res->value;
	c->last_seq = 0;
	rfs_check(c->by_seq == NULL);
	c->keep_alive_open = false;
	c->keep_alive_at_ms = client_now(c) + keep_alive_period(c);
	while ((r = c->lists[REQ_PARKED]) != NULL)
		req_move(r, REQ_OUTBOX);
	client_schedule(c);
}

/* ---- losing ---- */

/* Every copy that was sent was refused, so it is certainly not done: under the next session it is a
 * new change. Not a lock: whoever asks for one has to know what else was lost. */
static bool can_move_on(const struct client_req *r)
{
	return r->op.kind != FS_OP_LOCK && !r->maybe && r->open_mask == 0;
}

/* Somebody may have done it before the session ended, and tell. A lock is gone in any case. */
static bool can_still_be_told(const struct client_req *r)
{
	return r->op.kind != FS_OP_LOCK && r->open_mask != 0;
}

static void move_on(struct client_req *r)
{
	struct client *c = r->client;

	req_renew(r);
	req_move(r, c->session_state == SESSION_OPEN ? REQ_OUTBOX : REQ_PARKED);
	client_schedule(c);
}

static void leave_session(struct client_req *r)
{
	if (r->owner != REQ_OF_CALLER)
		req_drop(r);
	else if (can_move_on(r))
		move_on(r);
	else if (can_still_be_told(r))
		req_acknowledge(r, false);
	else
		req_end(r, RFS_ESESSION);
}

static void session_lost(struct client *c, const struct client_req *but)
{
	struct client_req *r, *next;
	uint64_t lost = c->session;

	rfs_check(c->session_state == SESSION_OPEN);
	log_warn("session %llu has ended", (unsigned long long)lost);
	(void)snprintf(c->last_error, sizeof(c->last_error), "session %llu has ended",
	               (unsigned long long)lost);
	rfs_check(c->closing == CLOSE_NOT);
	c->session_state = SESSION_NONE;
	c->session = 0;
	c->keep_alive_open = false;
	HASH_ITER (hh, c->by_id, r, next) {
		if (req_is_change(r) && r->where != REQ_PARKED && r != but)
			leave_session(r);
	}
	client_schedule(c);
	if (c->opts.on_session_lost != NULL)
		c->opts.on_session_lost(c->opts.ctx, lost);
}

bool session_is_over(const struct client_req *r)
{
	return req_is_change(r) && r->seq != 0 && r->session != r->client->session;
}

void session_refused(struct client_req *r)
{
	const struct fs_result ended = {.err = RFS_ESESSION};
	struct client *c = r->client;

	if (c->session_state == SESSION_OPEN && r->session == c->session)
		session_lost(c, r);
	if (r->owner != REQ_OF_CALLER)
		req_drop(r);
	else if (can_move_on(r))
		move_on(r);
	else if (can_still_be_told(r))
		req_acknowledge(r, false);
	else
		req_answer(r, &ended);
}

/* ---- keeping ---- */

void session_take_keep_alive(struct client *c, const struct wire_keep_alive_reply *reply)
{
	if (c->session_state != SESSION_OPEN || reply->session != c->session ||
	    c->closing != CLOSE_NOT)
		return;
	if (reply->expired) {
		session_lost(c, NULL);
		return;
	}
	c->keep_alive_open = false;
	c->keep_alive_at_ms = client_now(c) + keep_alive_period(c);
	route_refresh(c); /* members come and go */
}

/* What the last target did not answer, this one is asked. */
void session_new_target(struct client *c)
{
	if (c->session_state != SESSION_OPEN || !c->keep_alive_open)
		return;
	c->keep_alive_open = false;
	c->keep_alive_at_ms = client_now(c);
}

/* A keep-alive that stays without an answer casts as much doubt on the target as a request. */
bool session_in_doubt(const struct client *c)
{
	return c->keep_alive_open && c->keep_alive_sent_ms + CLIENT_DOUBT_MS <= client_now(c);
}

static void send_keep_alive(struct client *c)
{
	uint64_t again_ms = client_earlier(keep_alive_period(c), CLIENT_KEEP_ALIVE_RETRY_MS);

	wire_put_keep_alive(link_out(c->target), c->session);
	if (!c->keep_alive_open)
		c->keep_alive_sent_ms = client_now(c);
	c->keep_alive_open = true;
	c->keep_alive_at_ms = client_now(c) + again_ms;
}

void session_work(struct client *c)
{
	if (c->closing != CLOSE_NOT)
		return;
	if (c->session_state == SESSION_NONE && c->lists[REQ_PARKED] != NULL)
		session_open(c);
	if (c->session_state == SESSION_OPEN && c->target != NULL &&
	    c->keep_alive_at_ms <= client_now(c))
		send_keep_alive(c);
}

uint64_t session_due(const struct client *c)
{
	uint64_t due;

	if (c->session_state != SESSION_OPEN || c->target == NULL || c->closing != CLOSE_NOT)
		return CLIENT_NEVER;
	due = c->keep_alive_at_ms;
	if (c->keep_alive_open && !session_in_doubt(c))
		due = client_earlier(due, c->keep_alive_sent_ms + CLIENT_DOUBT_MS);
	return due;
}

/* ---- closing ---- */

void session_close(struct client *c)
{
	struct fs_op op = {.kind = FS_OP_SESSION_CLOSE};

	if (c->session_state != SESSION_OPEN || c->target == NULL)
		return;
	c->bye = req_new(c, &op, REQ_CLOSES_SESSION);
	req_set_deadline(c->bye, CLIENT_BYE_MS);
	req_move(c->bye, REQ_OUTBOX);
}

/* Nobody is there to take it: the session will expire. */
void session_forget_bye(struct client *c)
{
	struct client_req *bye = c->bye;

	if (bye == NULL)
		return;
	c->bye = NULL;
	req_drop(bye);
	client_schedule(c);
}

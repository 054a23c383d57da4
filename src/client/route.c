/* Who leads, and what is sent there. client_priv.h tells the plan. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "client_priv.h"

/* ---- asking ---- */

void route_ask(struct link *l)
{
	struct client *c = l->client;

	if (!l->up || l->asked_ms != CLIENT_NEVER)
		return;
	l->asked_ms = l->last_asked_ms = client_now(c);
	l->asked_us = clock_mono_ns() / 1000;
	wire_put_status_request(link_out(l), ++c->last_id);
}

void route_refresh(struct client *c)
{
	if (c->target != NULL)
		route_ask(c->target);
}

static void ask_all_now(struct client *c)
{
	c->ask_at_ms = client_now(c);
	client_schedule(c);
}

static bool anything_waits(const struct client *c)
{
	return c->by_id != NULL || c->keep_alive_open || c->admins != NULL;
}

/* When the target should have given an answer, at the latest. */
static uint64_t doubt_at(const struct client *c)
{
	return c->target != NULL && c->target->n_open > 0 ? c->target->progress_ms + CLIENT_DOUBT_MS
	                                                  : CLIENT_NEVER;
}

static bool in_doubt(const struct client *c)
{
	return doubt_at(c) <= client_now(c) || session_in_doubt(c);
}

static uint64_t ask_pace(const struct client *c)
{
	if (c->target != NULL)
		return CLIENT_ASK_DOUBT_MS;
	if (!anything_waits(c))
		return CLIENT_ASK_IDLE_MS;
	return client_now(c) - c->no_target_since_ms < CLIENT_ASK_FAST_MS ? CLIENT_ASK_MS
	                                                                  : CLIENT_ASK_SLOW_MS;
}

static void ask_if_needed(struct client *c)
{
	uint64_t now = client_now(c);

	if (c->closing != CLOSE_NOT || (c->target != NULL && !in_doubt(c)))
		return;
	if (c->ask_at_ms > now + ask_pace(c)) /* something has begun to wait */
		c->ask_at_ms = now + ask_pace(c);
	if (c->ask_at_ms > now)
		return;
	for (size_t i = 0; i < c->n_links; i++)
		route_ask(c->links[i]);
	c->ask_at_ms = now + ask_pace(c);
}

/* Somebody else says that `id` leads. It has to say so itself; ask it first, dial it if need be. */
static void follow_hint(struct client *c, raft_id id, const char *address)
{
	struct link *l = link_learn(c, id, address);

	if (l == NULL || c->target != NULL)
		return;
	c->hinted = l;
	if (!l->up)
		link_dial_soon(l);
	else if (l->last_asked_ms + CLIENT_ASK_MS <= client_now(c))
		route_ask(l);
}

/* ---- reads that need no leader ---- */

static bool is_local(const struct client *c, const struct client_req *r)
{
	bool of_locks = r->op.kind == FS_OP_LOCK_TEST || r->op.kind == FS_OP_LOCK_LIST;

	return c->opts.read_local && !fs_op_is_write(r->op.kind) && !of_locks;
}

/* By the time that a question took. Chosen once and kept until it is lost: going from one to another
 * costs waiting for the slower one's state. */
static struct link *nearest(struct client *c)
{
	if (c->nearest != NULL)
		return c->nearest;
	for (size_t i = 0; i < c->n_links; i++) {
		struct link *l = c->links[i];

		if (l->usable && l->round_trip_us != 0 &&
		    (c->nearest == NULL || l->round_trip_us < c->nearest->round_trip_us))
			c->nearest = l;
	}
	return c->nearest;
}

static uint64_t nearest_doubt_at(const struct client *c)
{
	return c->nearest != NULL && c->nearest->n_open > 0
	               ? c->nearest->progress_ms + CLIENT_DOUBT_MS
	               : CLIENT_NEVER;
}

/* Another one is chosen; it may come back when it answers the question. */
static void leave_nearest(struct client *c)
{
	struct link *l = c->nearest;

	c->nearest = NULL;
	l->round_trip_us = 0;
	route_ask(l);
}

/* What it owed goes to another one. */
static void leave_silent_nearest(struct client *c)
{
	struct link *l = c->nearest;
	struct client_req *r, *next;

	if (nearest_doubt_at(c) > client_now(c))
		return;
	HASH_ITER (hh, c->by_id, r, next) {
		if (is_local(c, r) && req_clear_open(r, l))
			req_move(r, REQ_OUTBOX);
	}
	leave_nearest(c);
}

static struct link *link_for(struct client *c, const struct client_req *r)
{
	struct link *l;

	if (is_local(c, r))
		return nearest(c);
	l = chosen_for(c, r);
	return l != NULL ? l : c->target;
}

/* ---- the target ---- */

/* Everything that it does not hold yet, in the order in which it was submitted. */
static void offer_all(struct client *c, const struct link *l)
{
	struct client_req *r, *next;

	HASH_ITER (hh, c->by_id, r, next) {
		if (r->where == REQ_PARKED)
			continue;
		if ((r->open_mask & (1u << l->slot)) != 0 || r->waits_at == l)
			req_move(r, REQ_NOWHERE);
		else
			req_move(r, REQ_OUTBOX);
	}
}

static void set_target(struct client *c, struct link *l, uint64_t term)
{
	log_debug("node %llu %s leads in term %llu", (unsigned long long)l->id, l->address,
	          (unsigned long long)term);
	c->target = l;
	c->hinted = NULL;
	c->leader_term = term;
	c->leader_heard_ms = client_now(c);
	c->stalled = false;
	c->conn_error[0] = '\0';
	l->progress_ms = client_now(c);
	offer_all(c, l);
	session_new_target(c);
	client_schedule(c);
}

static void drop_target(struct client *c)
{
	c->target = NULL;
	c->stalled = false;
	c->no_target_since_ms = client_now(c);
	session_forget_bye(c);
}

static void take_claim(struct link *l, uint64_t term)
{
	struct client *c = l->client;
	uint64_t now = client_now(c);

	if (l == c->target) {
		c->leader_term = term > c->leader_term ? term : c->leader_term;
		return;
	}
	if (!l->usable || c->closing != CLOSE_NOT)
		return;
	/* One leader a term: an equal term can only be the same leader, come back. An older one is
	 * a leader that does not know of its end yet; if nobody newer is found, it is a cluster
	 * that was made anew. */
	if (term > c->leader_term ||
	    (c->target == NULL &&
	     (term == c->leader_term || now - c->no_target_since_ms >= CLIENT_OLD_CLAIM_MS)))
		set_target(c, l, term);
}

/* `l` does not lead, as it says itself by refusing. */
static void take_refusal(struct link *l, const struct wire_reply *reply)
{
	struct client *c = l->client;

	if (c->target == l) {
		drop_target(c);
		c->ask_at_ms = client_now(c) + CLIENT_ASK_MS;
	}
	c->hinted = NULL;
	if (reply->leader_id != 0 && reply->leader_id != l->id)
		follow_hint(c, reply->leader_id, reply->leader_address);
	client_schedule(c);
}

/* ---- news of links ---- */

void route_link_up(struct link *l)
{
	route_ask(l);
}

void route_link_lost(struct link *l)
{
	struct client *c = l->client;
	struct client_req *r, *next;

	HASH_ITER (hh, c->by_id, r, next) {
		if (r->waits_at == l)
			r->waits_at = NULL;
		if (!req_clear_open(r, l))
			continue;
		r->maybe = true;
		if (is_local(c, r))
			req_move(r, REQ_OUTBOX);
		else if (session_is_over(r) && r->open_mask == 0)
			req_end(r, RFS_ESESSION); /* nobody is left who could tell */
		else if (l == c->chosen)
			req_move(r, REQ_OUTBOX);
	}
	l->round_trip_us = 0;
	if (c->nearest == l)
		c->nearest = NULL;
	if (c->chosen == l)
		c->chosen = NULL;
	client_schedule(c);
	if (c->target != l)
		return;
	drop_target(c);
	ask_all_now(c);
}

/* A cluster's name, once learned, holds: two clusters behind one list of endpoints must not mix. */
static void check_cluster(struct link *l, const struct wire_status *st)
{
	struct client *c = l->client;
	struct rfs_err err = {0};

	if (l->usable)
		return;
	if (c->identity.cluster[0] == '\0')
		(void)snprintf(c->identity.cluster, sizeof(c->identity.cluster), "%s", st->cluster);
	if (strcmp(c->identity.cluster, st->cluster) == 0) {
		l->usable = true;
		return;
	}
	(void)rfs_err_set(&err, RFS_EIDENTITY, "belongs to cluster \"%s\", not \"%s\"", st->cluster,
	                  c->identity.cluster);
	link_restart(l, &err);
}

void route_take_status(struct link *l, const struct wire_status *st)
{
	struct client *c = l->client;

	l->asked_ms = CLIENT_NEVER;
	check_cluster(l, st);
	if (!l->usable)
		return;
	l->round_trip_us = clock_mono_ns() / 1000 - l->asked_us + 1;
	if (c->nearest == NULL && c->lists[REQ_OUTBOX] != NULL)
		client_schedule(c);
	for (size_t i = 0; i < st->n_members; i++)
		(void)link_learn(c, st->members[i].id, st->members[i].address);
	if (st->leader_id != 0 && st->leader_id == l->id) {
		take_claim(l, st->term);
		return;
	}
	if (c->target == l && st->term >= c->leader_term) {
		drop_target(c);
		ask_all_now(c);
	}
	if (st->term < c->leader_term)
		return;
	c->hinted = NULL;
	if (st->leader_id != 0)
		follow_hint(c, st->leader_id, st->leader_address);
}

/* ---- answers ---- */

static void make_busy(struct client_req *r)
{
	struct client *c = r->client;

	if (c->lists[REQ_BUSY] == NULL)
		c->busy_at_ms = client_now(c) + CLIENT_BUSY_MS;
	req_move(r, REQ_BUSY);
	client_schedule(c);
}

void route_take_reply(struct link *l, const struct wire_reply *reply)
{
	struct client *c = l->client;
	struct client_req *r = req_find(c, reply->id);
	int err = reply->result.err;

	if (reply->id == 0) {
		take_refusal(l, reply);
		return;
	}
	/* Ended meanwhile, answered by another node, or an answer that nobody is owed. */
	if (r == NULL || (!req_clear_open(r, l) && r->waits_at != l))
		return;
	l->progress_ms = client_now(c);
	if (c->stalled)
		client_schedule(c);
	if (is_local(c, r) && err <= RFS_ENOTLEADER) {
		if (l == c->nearest && err != RFS_EBUSYLIMIT)
			leave_nearest(c);
		make_busy(r);
	} else if (err == RFS_ENOTLEADER || err == RFS_ESHUTDOWN || err == RFS_EUNKNOWN) {
		r->maybe = r->maybe || err == RFS_EUNKNOWN;
		if (r->waits_at == l)
			r->waits_at = NULL;
		if (l == c->chosen)
			chosen_refused(r, reply->leader_id);
		take_refusal(l, reply);
	} else if (err == RFS_EBUSYLIMIT) {
		if (l == c->target || l == c->chosen)
			make_busy(r);
	} else if (err == RFS_ESESSION) {
		if (req_is_change(r) && r->owner != REQ_CLOSES_SESSION)
			session_refused(r);
		else
			req_answer(r, &reply->result);
	} else if (err == RFS_EWAITING) {
		lock_queued(r, l, reply->result.value);
	} else if (err == -ENOENT && r->waits_for != 0) {
		lock_gone(r);
	} else {
		if (reply->result.index > c->index_seen)
			c->index_seen = reply->result.index;
		req_answer(r, &reply->result);
	}
}

/* ---- sending ---- */

static void send_copy(struct client_req *r, struct link *l)
{
	struct client *c = r->client;
	struct wire_request w = {.id = r->id, .op = r->op};

	if (r->waits_for != 0) {
		w.op.kind = FS_OP_LOCK_AWAIT;
		w.op.lock_session = r->session;
		w.op.lock_token = r->waits_for;
	} else if (r->op.kind == FS_OP_LOCK_TEST) {
		w.op.lock_session = c->session_state == SESSION_OPEN ? c->session : 0;
	} else if (req_is_change(r)) {
		if (r->seq == 0) {
			rfs_check(c->session_state == SESSION_OPEN);
			r->session = c->session;
			r->seq = ++c->last_seq;
			r->is_outstanding = true;
			DL_APPEND2(c->by_seq, r, seq_prev, seq_next);
		}
		w.session = r->session;
		w.seq = r->seq;
		w.lowest = req_lowest(c);
	}
	w.local = is_local(c, r);
	w.min_index = w.local ? c->index_seen : 0;
	if (r->sent)
		c->retries++;
	r->sent = true;
	req_move(r, REQ_NOWHERE);
	req_set_open(r, l);
	wire_put_request(link_out(l), &w);
}

/* The leader would not understand it, or worse, a part of it. */
static void refuse_newer(struct client_req *r, struct link *l)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%s needs protocol version %u, it speaks %u",
	               fs_op_name(r->op.kind), fs_op_protocol(&r->op), net_conn_version(l->conn));
	link_note_error(r->client, l, text);
	if (r->owner == REQ_OF_CALLER)
		req_end(r, -EOPNOTSUPP);
	else
		req_drop(r);
}

static void pump(struct client *c)
{
	struct client_req *r, *next;

	c->stalled = false;
	DL_FOREACH_SAFE (c->lists[REQ_OUTBOX], r, next) {
		struct link *l = link_for(c, r);

		if (l == NULL && !c->opts.read_local && c->chosen == NULL)
			return;
		if (l == NULL)
			continue;
		if (fs_op_protocol(&r->op) > net_conn_version(l->conn)) {
			refuse_newer(r, l);
			continue;
		}
		c->stalled = net_conn_queued(l->conn) > CLIENT_QUEUED_BYTES_MAX;
		if (c->stalled)
			return;
		if ((r->open_mask & (1u << l->slot)) != 0)
			req_move(r, REQ_NOWHERE); /* it has it already */
		else
			send_copy(r, l);
		if (net_conn_out(l->conn)->len >= CLIENT_FLUSH_BYTES)
			net_conn_flush(l->conn);
	}
}

static void busy_again(struct client *c)
{
	struct client_req *r;

	if (c->busy_at_ms > client_now(c))
		return;
	while ((r = c->lists[REQ_BUSY]) != NULL)
		req_move(r, REQ_OUTBOX);
}

void route_work(struct client *c)
{
	busy_again(c);
	leave_silent_nearest(c);
	chosen_work(c);
	ask_if_needed(c);
	pump(c);
}

uint64_t route_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;

	if (c->lists[REQ_BUSY] != NULL)
		due = client_earlier(due, c->busy_at_ms);
	if (c->stalled)
		due = client_earlier(due, client_now(c) + CLIENT_STALLED_MS);
	due = client_earlier(due, nearest_doubt_at(c));
	due = client_earlier(due, chosen_due(c));
	if (c->closing != CLOSE_NOT)
		return due;
	if (c->target == NULL || in_doubt(c))
		due = client_earlier(due, c->ask_at_ms);
	else
		due = client_earlier(due, doubt_at(c));
	return due;
}

/* The node that the caller chose. It is asked first: reads it answers itself, at an index that it has
 * from the leader; what only the leader can do it refuses, and what it does not answer it does not:
 * then that one request goes on to the leader, and is counted. */
#include <stdio.h>
#include "../base/check.h"
#include "client_priv.h"

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- who is asked ---- */

struct link *chosen_for(const struct client *c, const struct client_req *r)
{
	/* Sessions, and locks that wait, are matters of the leader. */
	bool asks = r->owner == REQ_OF_CALLER && r->op.kind != FS_OP_LOCK && !r->passed_on;

	return asks && c->chosen != NULL && c->chosen->usable ? c->chosen : NULL;
}

static struct link *chosen_for_admin(const struct admin_wait *w)
{
	struct link *l = w->client->chosen;

	return w->of_leader && !w->passed_on && l != NULL && l->usable ? l : NULL;
}

struct link *chosen_or_target(const struct admin_wait *w)
{
	struct link *l = chosen_for_admin(w);

	return l != NULL ? l : w->client->target;
}

/* ---- passing on ---- */

static void note(struct client *c, const char *why)
{
	c->passed_on++;
	(void)snprintf(c->passed_on_why, sizeof(c->passed_on_why), "node %llu %s",
	               (unsigned long long)c->chosen->id, why);
	client_schedule(c);
}

static const char *why_refused(bool change, raft_id leader)
{
	if (leader == 0)
		return "knows of no leader";
	return change ? "is not the leader" : "cannot tell what is current";
}

void chosen_refused(struct client_req *r, raft_id leader)
{
	if (r->passed_on || r->owner != REQ_OF_CALLER)
		return;
	r->passed_on = true;
	req_move(r, REQ_OUTBOX);
	note(r->client, why_refused(req_is_change(r), leader));
}

void chosen_refused_admin(struct admin_wait *w, raft_id leader)
{
	if (w->passed_on || !w->of_leader)
		return;
	w->passed_on = true;
	w->again_ms = client_now(w->client);
	note(w->client, why_refused(true, leader));
}

/* The copies that it has stay open: a late answer counts. */
static void pass_all_on(struct client *c)
{
	struct client_req *r, *next;
	struct admin_wait *w;

	HASH_ITER (hh, c->by_id, r, next) {
		if (chosen_for(c, r) == NULL ||
		    (r->where != REQ_OUTBOX && (r->open_mask & (1u << c->chosen->slot)) == 0))
			continue;
		r->passed_on = true;
		req_move(r, REQ_OUTBOX);
		note(c, "does not answer");
	}
	DL_FOREACH (c->admins, w) {
		if (chosen_for_admin(w) == NULL)
			continue;
		w->passed_on = true;
		w->sent_to = NULL;
		note(c, "does not answer");
	}
}

/* ---- silence ---- */

static bool owes(const struct client *c)
{
	struct client_req *r, *next;
	struct admin_wait *w;

	HASH_ITER (hh, c->by_id, r, next) {
		if (chosen_for(c, r) != NULL && (r->open_mask & (1u << c->chosen->slot)) != 0)
			return true;
	}
	DL_FOREACH (c->admins, w) {
		if (w->sent_to != NULL && w->sent_to == chosen_for_admin(w))
			return true;
	}
	return false;
}

/* Since when it owes an answer to the question for its status, which it can give whatever else it
 * does; CLIENT_NEVER: it does not. */
static uint64_t silent_at(const struct link *l)
{
	return l->asked_ms == CLIENT_NEVER ? CLIENT_NEVER
	                                   : later(l->asked_ms, l->heard_ms) + CLIENT_DOUBT_MS;
}

static uint64_t ask_at(const struct link *l)
{
	return later(l->n_open > 0 ? l->progress_ms : 0, l->last_asked_ms) + CLIENT_DOUBT_MS;
}

void chosen_work(struct client *c)
{
	struct link *l = c->chosen;

	if (l == NULL || !l->up)
		return;
	if (silent_at(l) <= client_now(c))
		pass_all_on(c);
	else if (l->asked_ms == CLIENT_NEVER && owes(c) && ask_at(l) <= client_now(c))
		route_ask(l);
}

uint64_t chosen_due(const struct client *c)
{
	const struct link *l = c->chosen;

	if (l == NULL || !l->up || !owes(c))
		return CLIENT_NEVER;
	return l->asked_ms != CLIENT_NEVER ? silent_at(l) : ask_at(l);
}

/* ---- choosing ---- */

void client_choose(struct client *c, const struct config_node *node)
{
	struct client_req *r, *next;
	struct link *l = NULL;

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	if (node != NULL)
		l = link_find(c, node->id, node->host, node->port);
	if (node != NULL && l == NULL)
		l = link_add(c, node->id, node->host, node->port, true);
	if (l == c->chosen)
		return;
	HASH_ITER (hh, c->by_id, r, next) {
		if (chosen_for(c, r) != NULL && (r->open_mask & (1u << c->chosen->slot)) != 0)
			req_move(r, REQ_OUTBOX);
	}
	c->chosen = l;
	if (l != NULL)
		link_dial_soon(l);
	client_schedule(c);
}

/* An accepted connection as the node sees it: who still points to it, what it owes and is owed, and when its reading
 * pauses. Nothing that a client does makes it grow without bound: it pauses while so many of its requests have no answer,
 * or so many bytes of answers have not been taken. */
#include "node_priv.h"

#include <stdlib.h>
#include "../base/check.h"

void conn_unref(struct node_conn *c)
{
	rfs_check(c->refs > 0);
	if (--c->refs == 0)
		free(c);
}

void conn_gone(struct node_conn *c)
{
	struct node *n = c->node;

	DL_DELETE(n->conns, c);
	if (c->choked)
		n->n_choked--;
	c->choked = false;
}

/* ---- pausing ---- */

static void set_pause(struct node_conn *c, bool *why, bool on)
{
	bool was = c->paused || c->choked;

	*why = on;
	if (c->net != NULL && (c->paused || c->choked) != was)
		net_conn_pause(c->net, !was);
}

static void set_choked(struct node_conn *c, bool on)
{
	c->node->n_choked += on ? 1 : -1u;
	set_pause(c, &c->choked, on);
}

void conn_taken(struct node_conn *c)
{
	c->refs++;
	c->unanswered++;
	if (!c->paused && c->unanswered >= NODE_CLIENT_REQUESTS_MAX)
		set_pause(c, &c->paused, true);
}

void conn_answered(struct node_conn *c)
{
	rfs_check(c->unanswered > 0);
	c->unanswered--;
	if (c->paused && c->unanswered <= NODE_CLIENT_REQUESTS_MAX / 2)
		set_pause(c, &c->paused, false);
	conn_unref(c);
}

bool conn_is_choked(struct node_conn *c)
{
	if (c->net == NULL)
		return false;
	if (!c->choked && net_conn_queued(c->net) > NODE_CLIENT_QUEUE_BYTES)
		set_choked(c, true);
	return c->choked;
}

void conns_look_at_choked(struct node *n)
{
	struct node_conn *c;

	if (n->n_choked == 0)
		return;
	DL_FOREACH (n->conns, c) {
		if (c->choked && net_conn_queued(c->net) <= NODE_CLIENT_QUEUE_BYTES / 2)
			set_choked(c, false);
	}
}

/* ---- what leaves at the end of the turn ---- */

void conn_mark_dirty(struct node_conn *c)
{
	(void)conn_is_choked(c);
	if (c->dirty)
		return;
	c->dirty = true;
	c->refs++;
	DL_APPEND2(c->node->dirty, c, dirty_prev, dirty_next);
}

void conns_flush(struct node *n)
{
	struct node_conn *c, *next;

	DL_FOREACH_SAFE2(n->dirty, c, next, dirty_next)
	{
		DL_DELETE2(n->dirty, c, dirty_prev, dirty_next);
		c->dirty = false;
		if (c->net != NULL)
			net_conn_flush(c->net);
		conn_unref(c);
	}
}

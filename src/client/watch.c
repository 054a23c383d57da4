/* Changes as they happen. A watch is at one node at a time, by a number that is new for every node
 * and attempt, so that late words of an earlier one are not taken; its own position says what has
 * been told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "client_priv.h"

#define WATCH_MAGIC 0x77617463u

#define SILENT_MS     2500u /* without a word (a node speaks about once a second) … */
#define LEADERLESS_MS 2000u /* … or without a leader: another node is tried */
#define AVOID_MS      3000u
#define LOST_MS       1500u /* for other nodes to say that they have it */

struct client_watch {
	uint32_t magic;
	struct client *client; /* NULL: closed */
	client_watch_cb cb;
	void *ctx;
	uint64_t next_index;
	uint32_t next_sub;

	uint64_t id; /* at `link`; 0: at none */
	struct link *link;
	uint64_t heard_ms, led_ms;
	uint32_t avoid; /* links, by slot, not to be tried before avoid_until_ms */
	uint64_t avoid_until_ms;

	/* Who has said that it does not have it any more, and the earliest that one of them has. */
	uint32_t refused;
	uint64_t refused_since_ms, earliest;

	bool calling, ended; /* cb is being called; client_watch_end() was, meanwhile */
	struct client_watch *prev, *next;
	uint32_t prefix_len;
	char prefix[];
};

/* ---- one-off: the latest ones ---- */

struct recent {
	uint64_t id, deadline_ms;
	struct link *link; /* asked */
	uint32_t most;
	client_recent_cb cb;
	void *ctx;
	struct recent *prev, *next;
};

static bool can_tell(const struct link *l, uint32_t not_these)
{
	return l != NULL && l->up && l->usable && (not_these & 1u << l->slot) == 0 &&
	       net_conn_version(l->conn) >= frame_version(FRAME_WATCH);
}

static struct link *any_link(const struct client *c, uint32_t not_these)
{
	if (can_tell(c->chosen, not_these))
		return c->chosen;
	if (can_tell(c->target, not_these))
		return c->target;
	for (size_t i = 0; i < c->n_links; i++)
		if (can_tell(c->links[i], not_these))
			return c->links[i];
	return NULL;
}

void client_recent(struct client *c, uint32_t most, uint64_t timeout_ms, client_recent_cb cb,
                   void *ctx)
{
	struct recent *r = mem_zalloc(sizeof(*r));

	r->id = ++c->last_id;
	r->most = most > 0 ? most : 1;
	r->deadline_ms = client_now(c) + timeout_ms;
	r->cb = cb;
	r->ctx = ctx;
	DL_APPEND(c->recents, r);
	client_schedule(c);
}

static void end_recent(struct client *c, struct recent *r, const struct wire_events *ev, int code)
{
	struct rfs_err err = {0};

	DL_DELETE(c->recents, r);
	if (ev == NULL)
		(void)rfs_err_set(&err, code, "no node has told of the latest changes in time");
	r->cb(r->ctx, ev, &err);
	free(r);
}

static void work_recents(struct client *c)
{
	struct recent *r, *next;

	DL_FOREACH_SAFE (c->recents, r, next) {
		struct wire_watch q = {.id = r->id, .recent = r->most};

		if (r->link == NULL && (r->link = any_link(c, 0)) != NULL)
			wire_put_watch(link_out(r->link), &q);
	}
	do { /* from the start behind every callback: it may have changed the list */
		DL_FOREACH (c->recents, r) {
			/* The analyzer does not see that what is freed has left the list. */
			// NOLINTNEXTLINE(clang-analyzer-unix.Malloc)
			if (r->deadline_ms <= client_now(c))
				break;
		}
		if (r != NULL)
			end_recent(c, r, NULL,
			           c->closing != CLOSE_NOT ? RFS_ESHUTDOWN : -ETIMEDOUT);
	} while (r != NULL);
}

static bool take_recent(struct client *c, const struct wire_events *ev)
{
	struct recent *r;

	DL_FOREACH (c->recents, r) {
		if (r->id == ev->id) {
			end_recent(c, r, ev, 0);
			return true;
		}
	}
	return false;
}

/* ---- a watch ---- */

struct client_watch *client_watch(struct client *c, const struct client_watch_opts *opts,
                                  client_watch_cb cb, void *ctx)
{
	struct client_watch *w = mem_zalloc(sizeof(*w) + opts->prefix.len);

	RFS_MAGIC_CHECK(c, CLIENT_MAGIC);
	RFS_MAGIC_SET(w, WATCH_MAGIC);
	w->client = c;
	w->cb = cb;
	w->ctx = ctx;
	w->next_index = opts->from_index;
	w->next_sub = (uint32_t)opts->from_sub;
	w->prefix_len = opts->prefix.len;
	if (opts->prefix.len > 0)
		memcpy(w->prefix, opts->prefix.p, opts->prefix.len);
	DL_APPEND(c->watches, w);
	client_schedule(c);
	return w;
}

static void leave(struct client_watch *w)
{
	struct wire_watch q = {.id = w->id, .stop = true};

	if (w->link != NULL && w->link->up)
		wire_put_watch(link_out(w->link), &q);
	w->link = NULL;
	w->id = 0;
	client_schedule(w->client);
}

void client_watch_end(struct client_watch *w)
{
	RFS_MAGIC_CHECK(w, WATCH_MAGIC);
	if (w->client != NULL) {
		leave(w);
		DL_DELETE(w->client->watches, w);
		w->client = NULL;
	}
	w->ended = true;
	if (w->calling)
		return;
	w->magic = 0;
	free(w);
}

/* True if the watch is still there afterwards. */
static bool call(struct client_watch *w, const struct wire_events *ev)
{
	w->calling = true;
	w->cb(w->ctx, ev);
	w->calling = false;
	if (!w->ended)
		return true;
	w->magic = 0;
	free(w);
	return false;
}

static void avoid(struct client_watch *w, const struct link *l)
{
	w->avoid |= 1u << l->slot;
	w->avoid_until_ms = client_now(w->client) + AVOID_MS;
	leave(w);
}

/* ---- choosing a node ---- */

static void begin(struct client_watch *w, struct link *l)
{
	struct client *c = w->client;
	struct wire_watch q = {.id = ++c->last_id,
	                       .from_index = w->next_index,
	                       .from_sub = w->next_sub,
	                       .prefix = {w->prefix, w->prefix_len}};

	w->id = q.id;
	w->link = l;
	w->heard_ms = w->led_ms = client_now(c);
	wire_put_watch(link_out(l), &q);
}

static bool give_up_lost(struct client_watch *w)
{
	struct wire_events ev = {
	        .next_index = w->earliest, .lost_from = w->next_index, .lost_to = w->earliest - 1};

	w->next_index = w->earliest;
	w->next_sub = 0;
	w->refused = 0;
	return call(w, &ev);
}

/* Whether somebody might still have it: a node that was not asked and may yet come up. */
static bool may_wait(const struct client_watch *w)
{
	if (client_now(w->client) - w->refused_since_ms >= LOST_MS)
		return false;
	for (size_t i = 0; i < w->client->n_links; i++)
		if ((w->refused & 1u << w->client->links[i]->slot) == 0)
			return true;
	return false;
}

/* False if the watch is gone. */
static bool choose(struct client_watch *w)
{
	struct client *c = w->client;
	struct link *l;

	if (w->avoid_until_ms <= client_now(c))
		w->avoid = 0;
	l = any_link(c, w->refused | w->avoid);
	if (l == NULL && w->avoid != 0) /* better one in doubt than none */
		l = any_link(c, w->refused);
	if (l == NULL && w->refused != 0 && !may_wait(w)) {
		if (!give_up_lost(w))
			return false;
		l = any_link(c, w->avoid);
	}
	if (l != NULL)
		begin(w, l);
	return true;
}

static void look_at(struct client_watch *w)
{
	uint64_t now = client_now(w->client);

	if (w->link != NULL && (now - w->heard_ms >= SILENT_MS || now - w->led_ms >= LEADERLESS_MS))
		avoid(w, w->link);
}

void watch_work(struct client *c)
{
	struct client_watch *w, *next;

	work_recents(c);
	if (c->closing != CLOSE_NOT)
		return;
	DL_FOREACH_SAFE (c->watches, w, next) {
		look_at(w);
		if (w->link != NULL || choose(w))
			continue;
		client_schedule(c); /* the list is another one: from its start in the next turn */
		return;
	}
}

uint64_t watch_due(const struct client *c)
{
	uint64_t due = CLIENT_NEVER;
	const struct client_watch *w;
	const struct recent *r;

	DL_FOREACH (c->recents, r) {
		due = client_earlier(due, r->deadline_ms);
	}
	if (c->closing != CLOSE_NOT)
		return due;
	DL_FOREACH (c->watches, w) {
		if (w->link != NULL)
			due = client_earlier(due, client_earlier(w->heard_ms + SILENT_MS,
			                                         w->led_ms + LEADERLESS_MS));
		else if (w->refused != 0)
			due = client_earlier(due, w->refused_since_ms + LOST_MS);
	}
	return due;
}

/* ---- what comes in ---- */

static void take_lost(struct client_watch *w, const struct wire_events *ev)
{
	if (w->refused == 0) {
		w->refused_since_ms = client_now(w->client);
		w->earliest = ev->next_index;
	}
	if (ev->next_index < w->earliest)
		w->earliest = ev->next_index;
	w->refused |= 1u << w->link->slot;
	w->link = NULL; /* it has ended it itself */
	w->id = 0;
	client_schedule(w->client);
}

void watch_take_events(struct link *l, const struct wire_events *ev)
{
	struct client *c = l->client;
	struct client_watch *w;

	if (take_recent(c, ev))
		return;
	DL_FOREACH (c->watches, w) {
		if (w->id == ev->id && w->link == l)
			break;
	}
	if (w == NULL)
		return;
	w->heard_ms = client_now(c);
	if (ev->has_leader)
		w->led_ms = w->heard_ms;
	if (ev->lost_to != 0) {
		take_lost(w, ev);
		return;
	}
	w->refused = 0;
	w->next_index = ev->next_index;
	w->next_sub = ev->next_sub;
	(void)call(w, ev);
}

void watch_link_lost(struct link *l)
{
	struct client_watch *w;
	struct recent *r;

	DL_FOREACH (l->client->watches, w) {
		if (w->link == l) {
			w->link = NULL;
			w->id = 0;
		}
	}
	DL_FOREACH (l->client->recents, r) {
		if (r->link == l)
			r->link = NULL;
	}
	client_schedule(l->client);
}

void watch_end_all(struct client *c)
{
	struct client_watch *w, *next;

	struct recent *r;

	DL_FOREACH (c->recents, r) {
		r->deadline_ms = 0; /* the callbacks come with the next turn */
	}
	DL_FOREACH_SAFE (c->watches, w, next) {
		DL_DELETE(c->watches, w);
		w->client = NULL;
	}
}

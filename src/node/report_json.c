/* What the page draws. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "../base/clock.h"
#include "../base/mem.h"
#include "../metrics/events.h"
#include "web.h"

static json_t *integer(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static void set(json_t *o, const char *name, uint64_t v)
{
	(void)json_object_set_new(o, name, integer(v));
}

static void set_text(json_t *o, const char *name, const char *text)
{
	json_t *v = json_string(text);

	(void)json_object_set_new(o, name, v != NULL ? v : json_string("?"));
}

static json_t *member(const struct node *n, const struct wire_member *m)
{
	const struct config_node *at =
	        m->id == n->id ? &n->self : config_node_by_id(&n->config, m->id);
	char metrics[WEB_ADDRESS_MAX] = "";
	json_t *o = json_object();

	if (at != NULL)
		web_address_of(at, metrics);
	set(o, "id", m->id);
	set_text(o, "address", m->address);
	set_text(o, "metrics", metrics);
	(void)json_object_set_new(o, "learner", json_boolean(m->learner));
	(void)json_object_set_new(o, "up", json_boolean(m->up));
	(void)json_object_set_new(o, "snapshot", json_boolean(m->snapshot));
	set(o, "match", m->match);
	return o;
}

static json_t *members(const struct node *n, const struct wire_status *st)
{
	json_t *list = json_array();

	for (size_t i = 0; i < st->n_members; i++)
		(void)json_array_append_new(list, member(n, &st->members[i]));
	return list;
}

/* [second, writes, reads, bytes, commit p50, p99, read p50, p99, sync p99] */
static void add_sample(void *ctx, const struct history_sample *s)
{
	const uint64_t values[] = {s->at_s,        s->writes,        s->reads,
	                           s->bytes,       s->commit_p50_us, s->commit_p99_us,
	                           s->read_p50_us, s->read_p99_us,   s->sync_p99_us};
	json_t *row = json_array();

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		(void)json_array_append_new(row, integer(values[i]));
	(void)json_array_append_new(ctx, row);
}

static void add_event(void *ctx, const struct event *e)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	json_t *o = json_object();

	set(o, "id", e->id);
	set(o, "at_ms", e->at_ms);
	set(o, "times", e->times);
	set_text(o, "level", levels[e->level]);
	set_text(o, "text", e->text);
	(void)json_array_append_new(ctx, o);
}

static void put_position(const struct node *n, const struct wire_status *st, json_t *o)
{
	set_text(o, "role", st->role);
	(void)json_object_set_new(o, "ready", json_boolean(web_is_ready(n)));
	set(o, "term", st->term);
	set(o, "leader", st->leader_id);
	set(o, "first", st->log_first);
	set(o, "last", st->last);
	set(o, "commit", st->commit);
	set(o, "applied", st->applied);
}

static void put_size(struct node *n, json_t *o)
{
	struct web_disk disk = web_disk_of(n);
	struct store_counts counts;
	const struct node_conn *c;
	uint64_t clients = 0;

	DL_FOREACH (n->conns, c)
		clients += c->peer_id == 0;
	store_get_counts(n->store, &counts);
	set(o, "log_bytes", wal_disk_bytes(n->wal));
	set(o, "disk_free", disk.free_bytes);
	set(o, "disk_size", disk.size_bytes);
	set(o, "inodes", counts.inodes);
	set(o, "bytes", counts.bytes);
	set(o, "sessions", counts.sessions);
	set(o, "clients", clients);
	set(o, "uptime_ms", clock_mono_ms() - n->started_ms);
}

void report_status(struct node_web *w, uint64_t since_s, uint64_t events_after_ms, struct buf *out)
{
	struct node *n = w->node;
	struct wire_status *st = mem_zalloc(sizeof(*st));
	json_t *o = json_object(), *history = json_array(), *events = json_array();
	char *text;

	status_fill(n, st);
	set_text(o, "cluster", n->config.name);
	set_text(o, "version", RAFTFS_VERSION);
	set(o, "now_ms", clock_real_ns() / 1000000u);
	set(o, "id", n->id);
	set_text(o, "address", n->address);
	put_position(n, st, o);
	put_size(n, o);
	(void)json_object_set_new(o, "members", members(n, st));
	history_each(&w->history, since_s, add_sample, history);
	(void)json_object_set_new(o, "history", history);
	events_each(events_after_ms, add_event, events);
	(void)json_object_set_new(o, "events", events);
	text = json_dumps(o, JSON_COMPACT);
	if (text != NULL)
		buf_printf(out, "%s\n", text);
	free(text);
	free(st);
	json_decref(o);
}

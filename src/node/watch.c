/* What has changed, for those who want to know: a ring of the latest changes with their paths, and
 * who reads it.
 *
 * The ring holds every change from index `start` on. It begins where the state machine stood when
 * the node started, and entries that are replayed from the log fill it again; its oldest entries
 * make room for new ones. Changes are told only once they are applied, so only committed ones; every
 * node tells the same, each as far as it has come, and a position (index and number within the
 * entry) means the same on all of them: a watcher may turn to another node and go on. Who asks for
 * more than the ring has is told what is missing, and nothing else. */
#include "node_priv.h"

#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "names.h"

#define EVENTS_MAX       65536u /* a power of two */
#define EVENTS_BYTES_MAX (16u << 20)
#define FRAME_EVENTS_MAX 2048u /* told in one frame … */
#define FRAME_BYTES_MAX  262144u
#define QUEUED_BYTES_MAX (1u << 20) /* … and none while so much waits in the connection */
#define SPEAK_MS         900u       /* at least this often */
#define WATCHERS_MAX     64u        /* of one connection */

struct event {
	raft_index index;
	uint32_t sub, kind;
	uint64_t ino, version, parent, old_parent, session;
	uint32_t mode;
	uint32_t path_len, old_len;
	char text[]; /* path, old path */
};

struct watcher {
	struct node_conn *conn;
	uint64_t id;
	raft_index next_index;
	uint32_t next_sub;
	uint64_t spoke_ms; /* 0: not yet */
	struct watcher *prev, *next;
	uint32_t prefix_len;
	char prefix[];
};

struct node_watch {
	struct names *names;
	struct event *ring[EVENTS_MAX];
	size_t head, n, bytes;
	raft_index start;
	raft_index index; /* of the entry being applied, and its next number */
	uint32_t sub;
	struct buf path, old_path;
	struct watcher *watchers;
};

/* ---- the ring ---- */

static struct event *event_at(const struct node_watch *w, size_t i)
{
	return w->ring[(w->head + i) & (EVENTS_MAX - 1)];
}

static size_t event_bytes(const struct event *e)
{
	return sizeof(*e) + e->path_len + e->old_len;
}

static void drop_oldest(struct node_watch *w)
{
	struct event *e = w->ring[w->head];

	if (e->index >= w->start)
		w->start = e->index + 1;
	w->head = (w->head + 1) & (EVENTS_MAX - 1);
	w->n--;
	w->bytes -= event_bytes(e);
	free(e);
}

static void push(struct node_watch *w, const struct store_change *c, uint64_t parent)
{
	struct event *e = mem_alloc(sizeof(*e) + w->path.len + w->old_path.len);

	*e = (struct event){
	        .index = c->index,
	        .sub = w->sub++,
	        .kind = c->kind,
	        .ino = c->ino,
	        .version = c->version,
	        .parent = parent,
	        .old_parent = c->old_parent,
	        .session = c->session,
	        .mode = c->mode,
	        .path_len = (uint32_t)w->path.len,
	        .old_len = (uint32_t)w->old_path.len,
	};
	if (w->path.len > 0)
		memcpy(e->text, w->path.data, w->path.len);
	if (w->old_path.len > 0)
		memcpy(e->text + w->path.len, w->old_path.data, w->old_path.len);
	while (w->n == EVENTS_MAX || (w->n > 0 && w->bytes + event_bytes(e) > EVENTS_BYTES_MAX))
		drop_oldest(w);
	w->ring[(w->head + w->n) & (EVENTS_MAX - 1)] = e;
	w->n++;
	w->bytes += event_bytes(e);
}

void watch_change(void *ctx, const struct store_change *c)
{
	struct node *n = ctx;
	struct node_watch *w = n->watch;
	uint64_t parent;

	if (w == NULL) /* before watch_start() */
		return;
	if (c->index != w->index)
		w->sub = 0;
	w->index = c->index;
	buf_clear(&w->path);
	buf_clear(&w->old_path);
	if (names_follow(w->names, c, &w->path, &w->old_path, &parent))
		push(w, c, parent);
}

/* The first event at or behind a position; w->n if there is none. */
static size_t find(const struct node_watch *w, raft_index index, uint32_t sub)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct event *e = event_at(w, mid);

		if (e->index < index || (e->index == index && e->sub < sub))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---- life ---- */

int watch_start(struct node *n, struct rfs_err *err)
{
	struct node_watch *w = n->watch;

	if (w == NULL) {
		w = n->watch = mem_zalloc(sizeof(*w));
		w->names = names_new();
		buf_init(&w->path);
		buf_init(&w->old_path);
	}
	while (w->n > 0)
		drop_oldest(w);
	w->start = store_applied(n->store).index + 1;
	w->index = 0;
	return names_load(w->names, n->store, err);
}

static void end_watcher(struct node_watch *w, struct watcher *r)
{
	DL_DELETE(w->watchers, r);
	conn_unref(r->conn);
	free(r);
}

void watch_stop(struct node *n)
{
	struct node_watch *w = n->watch;

	if (w == NULL)
		return;
	while (w->watchers != NULL)
		end_watcher(w, w->watchers);
	while (w->n > 0)
		drop_oldest(w);
	names_free(w->names);
	buf_free(&w->path);
	buf_free(&w->old_path);
	free(w);
	n->watch = NULL;
}

/* ---- telling ---- */

static bool begins_with(const char *text, size_t len, const char *prefix, size_t n)
{
	return len >= n && memcmp(text, prefix, n) == 0;
}

/* Whether a path concerns a prefix: it begins with it, or is a directory above it. Without a path
 * nobody knows. */
static bool concerns(const char *path, size_t len, const struct watcher *r)
{
	if (len == 0 || begins_with(path, len, r->prefix, r->prefix_len))
		return true;
	return r->prefix_len > len && r->prefix[len] == '/' &&
	       begins_with(r->prefix, r->prefix_len, path, len);
}

static bool is_wanted(const struct event *e, const struct watcher *r)
{
	if (r->prefix_len == 0 || concerns(e->text, e->path_len, r))
		return true;
	return e->old_len > 0 && concerns(e->text + e->path_len, e->old_len, r);
}

static void fill_event(struct wire_event *to, const struct event *e)
{
	*to = (struct wire_event){
	        .index = e->index,
	        .ino = e->ino,
	        .version = e->version,
	        .parent = e->parent,
	        .old_parent = e->old_parent,
	        .session = e->session,
	        .mode = e->mode,
	        .sub = e->sub,
	        .kind = e->kind,
	        .path = {e->text, e->path_len},
	        .old_path = {e->text + e->path_len, e->old_len},
	};
}

static void say(struct node *n, struct node_conn *c, struct wire_events *ev)
{
	struct raft_status st;

	raft_get_status(n->raft, &st);
	ev->has_leader = st.leader != 0;
	ev->applied = store_applied(n->store).index;
	wire_put_events(net_conn_out(c->net), ev);
	conn_mark_dirty(c);
}

static void say_lost(struct node *n, struct watcher *r)
{
	struct wire_events ev = {.id = r->id,
	                         .next_index = n->watch->start,
	                         .lost_from = r->next_index,
	                         .lost_to = n->watch->start - 1};

	say(n, r->conn, &ev);
	end_watcher(n->watch, r);
}

/* What is new for one of them. True if there is more than fits into one frame. */
static bool tell(struct node *n, struct watcher *r, uint64_t now)
{
	struct node_watch *w = n->watch;
	struct wire_event events[FRAME_EVENTS_MAX];
	struct wire_events ev = {.id = r->id, .events = events};
	size_t i = find(w, r->next_index, r->next_sub), bytes = 0;

	for (; i < w->n && ev.n < FRAME_EVENTS_MAX && bytes < FRAME_BYTES_MAX; i++) {
		const struct event *e = event_at(w, i);

		if (!is_wanted(e, r))
			continue;
		bytes += event_bytes(e);
		fill_event(&events[ev.n++], e);
	}
	if (i < w->n) {
		r->next_index = event_at(w, i)->index;
		r->next_sub = event_at(w, i)->sub;
	} else if (r->next_index <= store_applied(n->store).index) {
		r->next_index = store_applied(n->store).index + 1;
		r->next_sub = 0;
	}
	if (ev.n == 0 && r->spoke_ms != 0 && now - r->spoke_ms < SPEAK_MS)
		return false;
	ev.next_index = r->next_index;
	ev.next_sub = r->next_sub;
	r->spoke_ms = now;
	say(n, r->conn, &ev);
	return i < w->n;
}

void watch_tell(struct node *n)
{
	struct node_watch *w = n->watch;
	uint64_t now = clock_mono_ms();
	struct watcher *r, *next;
	bool more = false;

	if (w == NULL || w->watchers == NULL)
		return;
	DL_FOREACH_SAFE (w->watchers, r, next) {
		if (r->conn->net == NULL)
			end_watcher(w, r);
		else if (r->next_index < w->start)
			say_lost(n, r);
		else if (net_conn_queued(r->conn->net) < QUEUED_BYTES_MAX)
			more = tell(n, r, now) || more;
	}
	if (more)
		uv_async_send(&n->again);
}

/* ---- asking ---- */

static void say_recent(struct node *n, struct node_conn *c, const struct wire_watch *q)
{
	struct node_watch *w = n->watch;
	struct wire_event events[FRAME_EVENTS_MAX];
	struct wire_events ev = {
	        .id = q->id, .events = events, .next_index = store_applied(n->store).index + 1};
	size_t most = q->recent < FRAME_EVENTS_MAX ? q->recent : FRAME_EVENTS_MAX, bytes = 0;
	size_t i = w->n;

	while (i > 0 && w->n - i < most && bytes < FRAME_BYTES_MAX)
		bytes += event_bytes(event_at(w, --i));
	for (; i < w->n; i++)
		fill_event(&events[ev.n++], event_at(w, i));
	say(n, c, &ev);
}

static struct watcher *find_watcher(struct node_watch *w, const struct node_conn *c, uint64_t id,
                                    size_t *of_conn)
{
	struct watcher *r, *found = NULL;

	*of_conn = 0;
	DL_FOREACH (w->watchers, r) {
		*of_conn += r->conn == c;
		if (r->conn == c && r->id == id)
			found = r;
	}
	return found;
}

int watch_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	struct watcher *r;
	struct wire_watch q;
	size_t of_conn;
	int rc = wire_get_watch(f->payload, f->len, n->arena, &q, err);

	if (rc != 0)
		return rc;
	r = find_watcher(n->watch, c, q.id, &of_conn);
	if (q.recent != 0) {
		say_recent(n, c, &q);
		return 0;
	}
	if (q.stop) {
		if (r != NULL)
			end_watcher(n->watch, r);
		return 0;
	}
	if (r != NULL || of_conn >= WATCHERS_MAX)
		return rfs_err_set(err, RFS_EPROTO,
		                   r != NULL ? "watch %llu was begun already"
		                             : "watch %llu: too many of them",
		                   (unsigned long long)q.id);
	r = mem_zalloc(sizeof(*r) + q.prefix.len);
	r->conn = c;
	c->refs++;
	r->id = q.id;
	r->next_index = q.from_index != 0 ? q.from_index : store_applied(n->store).index + 1;
	r->next_sub = q.from_index != 0 ? q.from_sub : 0;
	r->prefix_len = q.prefix.len;
	if (q.prefix.len > 0)
		memcpy(r->prefix, q.prefix.p, q.prefix.len);
	DL_APPEND(n->watch->watchers, r);
	return 0; /* told at the end of the turn */
}

#include "notify_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "events.h"
#include "../src/base/clock.h"
#include "../src/base/log.h"
#include "../src/base/mem.h"

#define RESTART_MS    1000u
#define STOP_MS       500u
#define LOG_EVERY_MS  10000u
#define READ_BYTES    (64 * sizeof(struct notify_head))
#define SESSIONS_KEPT 2u /* a change may be told after its session has ended */

/* One that is to be told. `text` has the path and the old path. */
struct change {
	struct notify_head head;
	struct change *prev, *next;
	char text[];
};

/* The notifier as a process. Lives until both handles are closed. */
struct child {
	struct notify *notify; /* NULL: it is over */
	uv_process_t process;
	uv_pipe_t pipe;
	unsigned handles;
	struct buf in;
	uint8_t bytes[READ_BYTES];
};

struct message {
	uv_write_t write;
	struct buf bytes;
};

struct notify {
	struct mount *mount;
	struct client_watch *watch;
	struct child *child; /* NULL: none runs */
	uv_timer_t restart;
	bool closing;
	unsigned handles; /* of libuv, open; and children that have not ended */
	void (*ended)(struct mount *m);

	struct change *queue;  /* oldest first; those with the notifier, then the others */
	struct change *unsent; /* NULL: all are with it */
	size_t n_queued, n_sent;
	uint64_t serial;
	struct notify_armed armed;

	uint64_t sessions[SESSIONS_KEPT]; /* the latest of this mount */
	uint64_t told, dropped, logged_ms;
	uint64_t upto; /* all changes up to this index are in the queue, or were */
};

struct notify *notify_of(struct mount *m)
{
	return m->notify;
}

bool notify_is_caller(const struct notify *n, pid_t pid)
{
	/* it is not reaped as long as its handle is open, so the number is nobody else's */
	return n->child != NULL && n->child->process.pid == pid;
}

struct notify_armed *notify_armed(struct notify *n)
{
	return &n->armed;
}

static void log_now_and_then(struct notify *n, const char *what, uint64_t from, uint64_t to)
{
	if (n->logged_ms != 0 && clock_mono_ms() - n->logged_ms < LOG_EVERY_MS)
		return;
	n->logged_ms = clock_mono_ms();
	log_warn("who watches %s is not told of all changes: %s (%llu to %llu)",
	         n->mount->mountpoint, what, (unsigned long long)from, (unsigned long long)to);
}

/* ---- to the notifier ---- */

static void on_written(uv_write_t *w, int status)
{
	struct message *msg = w->data;

	(void)status; /* it shows in the reading */
	buf_free(&msg->bytes);
	free(msg);
}

static void send_change(struct child *c, const struct change *ch)
{
	struct message *msg = mem_alloc(sizeof(*msg));
	uv_buf_t b;

	buf_init(&msg->bytes);
	buf_put(&msg->bytes, &ch->head, sizeof(ch->head));
	buf_put(&msg->bytes, ch->text, ch->head.path_len + ch->head.old_len);
	msg->write.data = msg;
	b = uv_buf_init((char *)msg->bytes.data, (unsigned)msg->bytes.len);
	if (uv_write(&msg->write, (uv_stream_t *)&c->pipe, &b, 1, on_written) != 0)
		on_written(&msg->write, 0);
}

static void send_some(struct notify *n)
{
	while (n->child != NULL && n->unsent != NULL && n->n_sent < NOTIFY_SENT_MAX) {
		send_change(n->child, n->unsent);
		n->unsent = n->unsent->next;
		n->n_sent++;
	}
}

static void drop_first(struct notify *n)
{
	struct change *ch = n->queue;

	if (n->unsent == ch)
		n->unsent = ch->next;
	else
		n->n_sent--;
	DL_DELETE(n->queue, ch);
	n->n_queued--;
	if (n->armed.serial == ch->head.serial)
		n->armed.serial = 0;
	free(ch);
}

static void take_passed(struct notify *n, const struct notify_head *h)
{
	n->told += h->told;
	while (n->queue != NULL && n->queue != n->unsent && n->queue->head.serial <= h->serial)
		drop_first(n);
	send_some(n);
}

/* ---- the process ---- */

static void on_restart(uv_timer_t *t);
static void on_timer_closed(uv_handle_t *h);

static void on_child_handle_closed(uv_handle_t *h)
{
	struct child *c = h->data;
	struct notify *n = c->notify;

	if (--c->handles > 0)
		return;
	buf_free(&c->in);
	free(c);
	if (--n->handles == 0)
		n->ended(n->mount);
}

/* What it was told and has not passed is told to the next one: twice at worst, and never not at all. */
static void child_end(struct child *c)
{
	struct notify *n = c->notify;

	if (n->child != c)
		return;
	n->child = NULL;
	n->unsent = n->queue;
	n->n_sent = 0;
	n->armed.serial = 0;
	uv_close((uv_handle_t *)&c->process, on_child_handle_closed);
	uv_close((uv_handle_t *)&c->pipe, on_child_handle_closed);
	if (n->closing)
		uv_close((uv_handle_t *)&n->restart, on_timer_closed);
	else
		(void)uv_timer_start(&n->restart, on_restart, RESTART_MS, 0);
}

static void on_child_exit(uv_process_t *p, int64_t status, int term_signal)
{
	struct child *c = p->data;

	if (!c->notify->closing)
		log_warn("%s has ended (status %lld, signal %d), and is started again",
		         NOTIFIER_NAME, (long long)status, term_signal);
	child_end(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct child *c = h->data;

	(void)suggested;
	*b = uv_buf_init((char *)c->bytes, sizeof(c->bytes));
}

static void on_read(uv_stream_t *s, ssize_t got, const uv_buf_t *b)
{
	struct child *c = s->data;
	struct notify_head h;

	if (got < 0) { /* on_child_exit() follows; what it would still ask for has no answer */
		(void)uv_read_stop(s);
		return;
	}
	buf_put(&c->in, b->base, (size_t)got);
	while (c->in.len >= sizeof(h)) {
		memcpy(&h, c->in.data, sizeof(h));
		buf_consume(&c->in, sizeof(h));
		take_passed(c->notify, &h);
	}
}

static void child_start(struct notify *n)
{
	struct child *c = mem_zalloc(sizeof(*c));
	char name[] = NOTIFIER_NAME;
	char *argv[] = {name, n->mount->mountpoint, NULL};
	uv_stdio_container_t stdio[3] = {
	        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE | UV_WRITABLE_PIPE,
	         .data.stream = (uv_stream_t *)&c->pipe},
	        {.flags = UV_IGNORE},
	        {.flags = UV_INHERIT_FD, .data.fd = 2},
	};
	const uv_process_options_t options = {
	        .exit_cb = on_child_exit,
	        .file = "/proc/self/exe",
	        .args = argv,
	        .flags = UV_PROCESS_DETACHED, /* Ctrl-C is for us */
	        .stdio_count = 3,
	        .stdio = stdio,
	};
	int rc;

	c->notify = n;
	buf_init(&c->in);
	(void)uv_pipe_init(n->mount->loop, &c->pipe, 0);
	c->pipe.data = c->process.data = c;
	rc = uv_spawn(n->mount->loop, &c->process, &options);
	c->handles = 2;
	n->handles++;
	n->child = c;
	if (rc == 0)
		rc = uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
	if (rc != 0) {
		log_warn("cannot start %s: %s", NOTIFIER_NAME, uv_strerror(rc));
		child_end(c);
		return;
	}
	send_some(n);
}

static void on_restart(uv_timer_t *t)
{
	struct notify *n = t->data;

	if (n->closing)
		child_end(
		        n->child); /* whoever it waits for in the kernel: it dies when that one ends */
	else
		child_start(n);
}

/* ---- from the servers ---- */

static void push(struct notify *n, const struct wire_event *e, uint64_t over)
{
	struct fs_str path = e->path, old = e->old_path;
	bool has_path = path.len > 0 && events_show_path(n->mount, &path);
	bool has_old = old.len > 0 && events_show_path(n->mount, &old);
	struct change *ch;

	if (!has_path && !has_old)
		return;
	if (n->n_queued == NOTIFY_QUEUE_MAX) {
		n->dropped++;
		log_now_and_then(n, "more at once than can be told", e->index, e->index);
		return;
	}
	if (!has_path)
		path.len = 0;
	if (!has_old)
		old.len = 0;
	ch = mem_alloc(sizeof(*ch) + path.len + old.len);
	ch->head = (struct notify_head){
	        .bytes = (uint32_t)sizeof(ch->head) + path.len + old.len,
	        .kind = e->kind,
	        .serial = ++n->serial,
	        .ino = e->ino,
	        .parent = view_shown(&n->mount->view, e->parent),
	        .old_parent = view_shown(&n->mount->view, e->old_parent),
	        .over = over,
	        .mode = e->mode,
	        .path_len = path.len,
	        .old_len = old.len,
	};
	if (e->kind == STORE_CHANGE_RENAME &&
	    !has_old) { /* it comes in from outside the subtree … */
		ch->head.kind = STORE_CHANGE_CREATE;
	} else if (e->kind == STORE_CHANGE_RENAME && !has_path) { /* … and leaves it */
		ch->head.kind = STORE_CHANGE_REMOVE;
		ch->head.parent = ch->head.old_parent;
		ch->head.path_len = old.len;
		ch->head.old_len = 0;
	}
	if (path.len > 0)
		memcpy(ch->text, path.p, path.len);
	if (old.len > 0)
		memcpy(ch->text + path.len, old.p, old.len);
	DL_APPEND(n->queue, ch);
	n->n_queued++;
	if (n->unsent == NULL)
		n->unsent = ch;
}

static bool is_own(struct notify *n, uint64_t session)
{
	uint64_t now = client_session(n->mount->client);

	if (now != 0 && now != n->sessions[0]) {
		n->sessions[1] = n->sessions[0];
		n->sessions[0] = now;
	}
	return session != 0 && (session == n->sessions[0] || session == n->sessions[1]);
}

/* A rename tells first of what it replaced: for a watcher that is one thing. */
static bool is_replaced_by(const struct wire_event *gone, const struct wire_event *next)
{
	return gone->kind == STORE_CHANGE_REMOVE && next->kind == STORE_CHANGE_RENAME &&
	       gone->index == next->index && gone->parent == next->parent &&
	       gone->path.len == next->path.len && gone->path.len > 0 &&
	       memcmp(gone->path.p, next->path.p, gone->path.len) == 0;
}

static void on_events(void *ctx, const struct wire_events *ev)
{
	struct notify *n = ctx;
	uint64_t over = 0;

	if (ev->lost_to != 0)
		log_now_and_then(n, "the servers do not know these any more", ev->lost_from,
		                 ev->lost_to);
	for (size_t i = 0; i < ev->n; i++) {
		const struct wire_event *e = &ev->events[i];

		if (is_own(n, e->session))
			continue;
		if (i + 1 < ev->n && is_replaced_by(e, &ev->events[i + 1])) {
			over = e->ino;
			continue;
		}
		push(n, e, over);
		over = 0;
	}
	n->upto = ev->next_index - 1;
	send_some(n);
}

/* ---- arming ---- */

static struct fs_str last_name(const char *path, uint32_t len)
{
	const char *slash = len > 0 ? memrchr(path, '/', len) : NULL;
	const char *name = slash != NULL ? slash + 1 : path;

	return (struct fs_str){name, len - (uint32_t)(name - path)};
}

void notify_arm(struct notify *n, fuse_req_t req, uint64_t serial, size_t size)
{
	const struct change *ch;

	n->armed.serial = 0;
	DL_FOREACH (n->queue, ch) {
		if (ch == n->unsent || ch->head.serial >= serial)
			break;
	}
	if (ch == NULL || ch == n->unsent || ch->head.serial != serial || size == 0) {
		(void)fuse_reply_err(req, ENODATA);
		return;
	}
	n->armed = (struct notify_armed){
	        .serial = serial,
	        .head = ch->head,
	        .name = last_name(ch->text, ch->head.path_len),
	        .old_name = last_name(ch->text + ch->head.path_len, ch->head.old_len),
	};
	(void)fuse_reply_buf(req, "1", 1);
}

/* ---- life ---- */

struct notify *notify_start(struct mount *m)
{
	struct notify *n = mem_zalloc(sizeof(*n));
	const struct client_watch_opts opts = {.prefix = {"", 0}};

	n->mount = m;
	(void)uv_timer_init(m->loop, &n->restart);
	n->restart.data = n;
	n->handles = 1;
	n->watch = client_watch(m->client, &opts, on_events, n);
	child_start(n);
	return n;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct notify *n = h->data;

	if (--n->handles == 0)
		n->ended(n->mount);
}

void notify_stop(struct notify *n, void (*ended)(struct mount *m))
{
	n->closing = true;
	n->ended = ended;
	client_watch_end(n->watch);
	while (n->queue != NULL)
		drop_first(n);
	(void)uv_timer_stop(&n->restart);
	if (n->child == NULL) {
		uv_close((uv_handle_t *)&n->restart, on_timer_closed);
		return;
	}
	(void)uv_process_kill(&n->child->process, SIGKILL);
	(void)uv_timer_start(&n->restart, on_restart, STOP_MS, 0);
}

void notify_put_status(const struct notify *n, struct buf *b)
{
	buf_printf(b, "told %llu, waiting %zu, dropped %llu, up to index %llu",
	           (unsigned long long)n->told, n->n_queued, (unsigned long long)n->dropped,
	           (unsigned long long)n->upto);
}

/* A connection from the moment its socket is connected: reading, writing, and its end. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "conn_priv.h"

#define IN_FIRST_BYTES 65536u
#define IN_ROOM_MIN    16384u
#define BUF_KEEP_BYTES (2u << 20) /* an empty buffer that has grown beyond this is given back */
#define KEEPALIVE_S    10u
#define UNACKED_MS_MAX 10000u

/* Records on their way from the socket to OpenSSL, which keeps what is no whole record: of one
 * connection, and only during the read callback. */
static _Thread_local char records[IN_FIRST_BYTES];

static struct net_conn *conn_of(void *data)
{
	struct net_conn *c = data;

	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	return c;
}

/* ---- life ---- */

static void conn_on_timer(uv_timer_t *timer);

struct net_conn *conn_new(uv_loop_t *loop, const struct net_identity *self,
                          const struct net_limits *limits, const struct net_handler *handler,
                          void *ctx)
{
	struct net_conn *c = mem_zalloc(sizeof(*c));

	RFS_MAGIC_SET(c, CONN_MAGIC);
	c->loop = loop;
	c->self = self;
	c->limits = limits;
	c->handler = handler;
	c->ctx = ctx;
	rfs_check(uv_tcp_init(loop, &c->tcp) == 0);
	rfs_check(uv_timer_init(loop, &c->timer) == 0);
	c->tcp.data = c;
	c->timer.data = c;
	c->handles = 2;
	/* Work that blocked the loop must not count as the peer's delay. */
	uv_update_time(loop);
	rfs_check(uv_timer_start(&c->timer, conn_on_timer, limits->connect_timeout_ms, 0) == 0);
	return c;
}

static void conn_on_timer(uv_timer_t *timer)
{
	struct net_conn *c = conn_of(timer->data);
	const char *doing = "?";

	switch (c->state) {
	case CONN_LOOKUP: doing = "looking up its name"; break;
	case CONN_CONNECTING: doing = "connecting"; break;
	case CONN_HANDSHAKE: doing = "waiting for its side of the TLS handshake"; break;
	case CONN_HELLO: doing = "waiting for its hello"; break;
	case CONN_REFUSING: doing = "refusing it"; break;
	case CONN_READY:
	case CONN_CLOSING: rfs_die("net: timer in state %d", (int)c->state);
	}
	conn_fail(c, -ETIMEDOUT, "no connection within %u ms (%s)", c->limits->connect_timeout_ms,
	          doing);
}

static void conn_free(struct net_conn *c)
{
	if (c->listener != NULL)
		listener_forget(c);
	tls_stream_free(c->tls);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->sending);
	c->magic = 0;
	free(c);
}

void conn_on_handle_closed(uv_handle_t *handle)
{
	struct net_conn *c = conn_of(handle->data);

	if (--c->handles > 0)
		return;
	if (c->listener == NULL || c->was_ready)
		c->handler->on_close(c, &c->why);
	conn_free(c);
}

void conn_end(struct net_conn *c, const struct rfs_err *why)
{
	if (c->state == CONN_CLOSING)
		return;
	if (why != NULL && why != &c->why)
		c->why = *why;
	else if (why == NULL)
		c->why = (struct rfs_err){0};
	c->state = CONN_CLOSING;
	dial_release(c);
	listener_drop_young(c);
	if (!c->tcp_closing)
		uv_close((uv_handle_t *)&c->tcp, conn_on_handle_closed);
	uv_close((uv_handle_t *)&c->timer, conn_on_handle_closed);
}

void conn_fail(struct net_conn *c, int code, const char *fmt, ...)
{
	char text[512];
	struct rfs_err err;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)rfs_err_set(&err, code, "%s: %s", c->name, text);
	conn_end(c, &err);
}

void net_conn_close(struct net_conn *c)
{
	conn_end(conn_of(c), NULL);
}

void conn_ready(struct net_conn *c, uint32_t version, uint64_t peer_id, uint64_t peer_incarnation)
{
	c->state = CONN_READY;
	c->was_ready = true;
	c->version = version;
	c->peer_id = peer_id;
	c->peer_incarnation = peer_incarnation;
	(void)uv_timer_stop(&c->timer);
	if (c->paused)
		conn_read_off(c);
	c->handler->on_ready(c, peer_id, peer_incarnation);
}

/* ---- reading ---- */

void conn_read_off(struct net_conn *c)
{
	(void)uv_read_stop((uv_stream_t *)&c->tcp);
	c->reading = false;
}

/* Nobody knows yet who it is: a long frame is not waited for. */
static bool hello_is_too_long(const struct net_conn *c, size_t frame_bytes)
{
	return c->state == CONN_HELLO && frame_bytes > HELLO_BYTES_MAX;
}

/* Hand out the whole frames, as long as the owner wants them. */
static void conn_take_frames(struct net_conn *c)
{
	size_t at = 0;

	while ((c->state == CONN_HELLO || (c->state == CONN_READY && !c->paused)) &&
	       at < c->in.len) {
		struct rfs_err err = {0};
		struct frame f;
		size_t used;
		int rc = frame_parse(c->in.data + at, c->in.len - at, &f, &used, &err);

		if (rc < 0)
			conn_fail(c, rc, "%s", err.msg);
		else if (hello_is_too_long(c, used))
			conn_fail(c, RFS_EPROTO, "frame of %zu bytes before the hello", used);
		else if (rc == 0)
			break;
		else if (c->state == CONN_HELLO)
			hello_take(c, &f);
		else
			c->handler->on_frame(c, &f);
		at += rc > 0 ? used : 0;
	}
	buf_consume(&c->in, at);
	if (c->in.len == 0 && c->in.cap > BUF_KEEP_BYTES)
		buf_free(&c->in);
}

/* The buffer grows with what has really come, not with what a header promises. */
static void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
	struct net_conn *c = conn_of(handle->data);
	size_t room = c->in.cap - c->in.len;

	(void)suggested;
	if (c->tls != NULL) {
		*b = uv_buf_init(records, sizeof(records));
		return;
	}
	if (room < IN_ROOM_MIN) {
		(void)buf_reserve(&c->in, c->in.cap == 0 ? IN_FIRST_BYTES : IN_ROOM_MIN);
		room = c->in.cap - c->in.len;
	}
	b->base = (char *)c->in.data + c->in.len;
	b->len = room;
}

static void conn_on_eof(struct net_conn *c)
{
	if (c->state == CONN_HANDSHAKE && handshake_again(c))
		return;
	if (c->in.len > 0)
		conn_fail(c, -EPIPE, "connection closed by the peer, %zu bytes into a frame",
		          c->in.len);
	else if (c->state == CONN_HANDSHAKE)
		conn_fail(c, -EPIPE, "connection closed by the peer in the TLS handshake%s",
		          c->heard ? "" : " (is TLS on there?)");
	else if (c->state == CONN_HELLO)
		conn_fail(c, -EPIPE, "connection closed by the peer before its hello");
	else
		conn_fail(c, -EPIPE, "connection closed by the peer");
}

static void conn_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct net_conn *c = conn_of(stream->data);

	if (n > 0) {
		c->heard = true;
		if (c->limits->traffic != NULL)
			c->limits->traffic->received += (uint64_t)n;
		if (c->tls != NULL) {
			conn_take_records(c, b->base, (size_t)n);
			return;
		}
		c->in.len += (size_t)n;
		if (c->state == CONN_HANDSHAKE)
			handshake_go_on(c);
		conn_take_frames(c);
	} else if (n == UV_EOF) {
		conn_on_eof(c);
	} else if (n < 0 && !(c->state == CONN_HANDSHAKE && handshake_again(c))) {
		conn_fail(c, (int)n, "%s", rfs_strerror((int)n));
	}
}

/* What was said before an end or a failure counts; and what OpenSSL has to answer goes out, an alert
 * too. */
void conn_take_records(struct net_conn *c, const void *p, size_t n)
{
	bool shakes = c->state == CONN_HANDSHAKE && c->listener != NULL;
	uint64_t began_ns = shakes ? uv_hrtime() : 0;
	struct rfs_err err = {0};
	int rc = tls_stream_take(c->tls, p, n, &c->in, &err);

	if (shakes)
		listener_spent(c, uv_hrtime() - began_ns);
	if (rc != 0 && rc != -EPIPE)
		buf_clear(&c->out); /* nothing but an alert can leave now */
	if (tls_stream_out(c->tls)->len > 0)
		conn_write_out(c);
	if (c->state == CONN_HANDSHAKE && rc == 0)
		handshake_go_on(c);
	if (rc == 0 || rc == -EPIPE)
		conn_take_frames(c);
	if (rc == -EPIPE && c->state != CONN_CLOSING)
		conn_on_eof(c);
	else if (rc != 0)
		conn_fail(c, rc, "%s", err.msg);
}

void conn_read_on(struct net_conn *c)
{
	int rc;

	if (c->reading)
		return;
	rc = uv_read_start((uv_stream_t *)&c->tcp, conn_on_alloc, conn_on_read);
	if (rc == 0)
		c->reading = true;
	else
		conn_fail(c, rc, "%s", rfs_strerror(rc));
}

static void conn_on_resume(uv_timer_t *timer)
{
	struct net_conn *c = conn_of(timer->data);

	conn_take_frames(c);
	if (c->state == CONN_READY && !c->paused)
		conn_read_on(c);
}

void net_conn_pause(struct net_conn *c, bool paused)
{
	if (c->paused == paused)
		return;
	c->paused = paused;
	if (c->state != CONN_READY)
		return;
	if (paused) {
		(void)uv_timer_stop(&c->timer);
		conn_read_off(c);
	} else {
		/* What is in the buffer comes before what is in the socket, and not from inside
		 * this call. */
		rfs_check(uv_timer_start(&c->timer, conn_on_resume, 0, 0) == 0);
	}
}

/* A host that has lost its power answers nothing: without a bound the kernel would retransmit for a
 * quarter of an hour, and after its return wait out a backoff of up to two minutes before it
 * notices. */
static void conn_set_options(struct net_conn *c)
{
	unsigned unacked_ms = UNACKED_MS_MAX;
	uv_os_fd_t fd;

	(void)uv_tcp_nodelay(&c->tcp, 1);
	(void)uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_S);
	if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms,
		                 sizeof(unacked_ms));
}

void conn_expect_hello(struct net_conn *c)
{
	listener_drop_young(c);
	c->state = CONN_HELLO;
	if (c->listener == NULL)
		hello_send(c);
}

void conn_start(struct net_conn *c)
{
	conn_set_options(c);
	if (c->self->tls != NULL && !c->plain)
		handshake_begin(c);
	else
		conn_expect_hello(c);
	if (c->state != CONN_CLOSING)
		conn_read_on(c);
}

/* ---- writing ---- */

static void conn_on_written(uv_write_t *req, int status);

static void buf_empty(struct buf *b)
{
	if (b->cap > BUF_KEEP_BYTES)
		buf_free(b);
	else
		buf_clear(b);
}

static void conn_count_sent(const struct net_conn *c, size_t n)
{
	if (c->limits->traffic != NULL)
		c->limits->traffic->sent += n;
}

/* Give `out` to one uv_write, but for the `sent` bytes that the kernel has already. */
static int conn_start_write(struct net_conn *c, struct buf *out, size_t sent)
{
	struct buf swap = c->sending;
	uv_buf_t b;
	int rc;

	c->sending = *out;
	*out = swap;
	b.base = (char *)c->sending.data + sent;
	b.len = c->sending.len - sent;
	c->write.data = c;
	rc = uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, conn_on_written);
	if (rc == 0) {
		c->writing = true;
		conn_count_sent(c, b.len);
	}
	return rc;
}

static void conn_refused(struct net_conn *c)
{
	if (c->state == CONN_REFUSING && !c->writing && c->out.len == 0)
		conn_end(c, &c->why);
}

/* What is for the kernel: all that has gathered, under TLS as records. NULL: it has failed. */
static struct buf *conn_seal(struct net_conn *c)
{
	struct rfs_err err = {0};
	int rc;

	if (c->tls == NULL)
		return &c->out;
	rc = tls_stream_seal(c->tls, &c->out, &err);
	if (rc != 0) {
		conn_fail(c, rc, "%s", err.msg);
		return NULL;
	}
	if (c->out.cap > BUF_KEEP_BYTES)
		buf_free(&c->out);
	return tls_stream_out(c->tls);
}

static int conn_write(struct net_conn *c, struct buf *out)
{
	uv_buf_t b = {.base = (char *)out->data, .len = out->len};
	int rc = uv_try_write((uv_stream_t *)&c->tcp, &b, 1);

	if (rc > 0)
		conn_count_sent(c, (size_t)rc);
	if (rc >= 0 && (size_t)rc == out->len) {
		buf_empty(out);
		return 0;
	}
	if (rc < 0 && rc != UV_EAGAIN)
		return rc;
	return conn_start_write(c, out, rc > 0 ? (size_t)rc : 0);
}

void conn_write_out(struct net_conn *c)
{
	if (c->state == CONN_CLOSING) {
		buf_clear(&c->out);
		return;
	}
	if (!c->writing) {
		struct buf *out = conn_seal(c);
		int rc = out != NULL && out->len > 0 ? conn_write(c, out) : 0;

		if (rc < 0)
			conn_fail(c, rc, "%s", rfs_strerror(rc));
		if (out == NULL || rc < 0)
			return;
	}
	if (net_conn_queued(c) > c->limits->queue_bytes_max)
		conn_fail(c, -ENOBUFS, "does not take what it is sent: %zu bytes wait, limit %zu",
		          net_conn_queued(c), c->limits->queue_bytes_max);
	else
		conn_refused(c);
}

static void conn_on_written(uv_write_t *req, int status)
{
	struct net_conn *c = conn_of(req->data);

	c->writing = false;
	buf_empty(&c->sending);
	if (status < 0 && status != UV_ECANCELED)
		conn_fail(c, status, "%s", rfs_strerror(status));
	else if (status == 0)
		conn_write_out(c);
}

struct buf *net_conn_out(struct net_conn *c)
{
	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	rfs_check(c->state == CONN_READY || c->state == CONN_CLOSING);
	return &c->out;
}

void net_conn_flush(struct net_conn *c)
{
	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	if (c->state == CONN_READY || c->state == CONN_CLOSING)
		conn_write_out(c);
}

size_t net_conn_queued(const struct net_conn *c)
{
	return c->out.len + (c->tls != NULL ? tls_stream_out(c->tls)->len : 0) +
	       (c->writing ? uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) : 0);
}

/* ---- looking in ---- */

void *net_conn_ctx(const struct net_conn *c)
{
	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	return c->ctx;
}

void net_conn_set_ctx(struct net_conn *c, void *ctx)
{
	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	c->ctx = ctx;
}

const char *net_conn_name(const struct net_conn *c)
{
	return c->name;
}

uint64_t net_conn_peer_id(const struct net_conn *c)
{
	return c->peer_id;
}

const char *net_conn_peer_address(const struct net_conn *c)
{
	return c->peer_address;
}

bool net_conn_is_ready(const struct net_conn *c)
{
	return c->state == CONN_READY;
}

enum cert_role net_conn_role(const struct net_conn *c)
{
	struct rfs_err none;

	return c->tls != NULL ? tls_stream_peer(c->tls, &none)->role : CERT_NODE;
}

const char *net_conn_who(const struct net_conn *c)
{
	return c->who[0] != '\0' ? c->who : c->name;
}

bool net_conn_is_plain(const struct net_conn *c)
{
	return c->tls == NULL;
}

uint32_t net_conn_version(const struct net_conn *c)
{
	return c->version;
}

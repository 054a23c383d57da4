#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/log.h"
#include "../base/mem.h"

#define HTTP_MAGIC 0x68747470u
#define BACKLOG    64

struct http {
	uint32_t magic;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_timer_t timer;
	http_serve serve;
	void *ctx;
	unsigned closing;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

/* ---- answers ---- */

const char *http_query(const struct http_request *rq, const char *name)
{
	const char *v = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);

	return v != NULL ? v : "";
}

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
	if (value != NULL)
		(void)MHD_add_response_header(r, name, value);
}

static enum MHD_Result send_answer(struct MHD_Connection *c, struct http_answer *a)
{
	struct MHD_Response *r;
	enum MHD_Result queued;

	*buf_reserve(&a->body, 1) = '\0';
	r = MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_COPY);
	buf_free(&a->body);
	if (r == NULL)
		return MHD_NO;
	add_header(r, "Content-Type", a->type);
	add_header(r, "Content-Security-Policy", a->policy);
	add_header(r, "Access-Control-Allow-Origin", a->allow_origin);
	add_header(r, "Vary", a->allow_origin != NULL ? "Origin" : NULL);
	add_header(r, "Cache-Control", "no-store");
	add_header(r, "X-Content-Type-Options", "nosniff");
	add_header(r, "Allow", a->status == MHD_HTTP_METHOD_NOT_ALLOWED ? "GET, HEAD" : NULL);
	queued = MHD_queue_response(c, a->status, r);
	MHD_destroy_response(r);
	return queued;
}

/* Called once for a request's head and again for its end; only then may it be answered. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **state)
{
	static char seen;
	struct http *h = ctx;
	struct http_answer a = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
	struct http_request rq = {.path = url, .connection = c};

	(void)version;
	(void)data;
	RFS_MAGIC_CHECK(h, HTTP_MAGIC);
	if (*state == NULL) {
		*state = &seen;
		return MHD_YES;
	}
	if (*data_len > 0) { /* a body is of no interest */
		*data_len = 0;
		return MHD_YES;
	}
	rq.origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
	if (rq.origin == NULL)
		rq.origin = "";
	buf_init(&a.body);
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
		h->serve(h->ctx, &rq, &a);
	} else {
		a.status = MHD_HTTP_METHOD_NOT_ALLOWED;
		buf_printf(&a.body, "only GET and HEAD\n");
	}
	return send_answer(c, &a);
}

/* ---- the loop ---- */

static void on_timer(uv_timer_t *t);

static void turn(struct http *h)
{
	unsigned MHD_LONG_LONG ms;

	if (MHD_run(h->daemon) != MHD_YES)
		log_warn("metrics: the HTTP server cannot go on");
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
		(void)uv_timer_start(&h->timer, on_timer, ms, 0);
	else
		(void)uv_timer_stop(&h->timer);
}

static void on_timer(uv_timer_t *t)
{
	turn(t->data);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	turn(p->data);
}

/* ---- beginning ---- */

static int listen_on(const struct addrinfo *at)
{
	int one = 1, rc, fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	rc = -errno;
	(void)close(fd);
	return rc;
}

/* The descriptor, or a negative code. */
static int open_socket(const char *host, uint16_t port, struct rfs_err *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	                               .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	char service[8];
	int rc, fd;

	(void)snprintf(service, sizeof(service), "%u", (unsigned)port);
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc != 0)
		return rfs_err_set(err, -EHOSTUNREACH, "metrics: cannot look up %s: %s", host,
		                   gai_strerror(rc));
	fd = listen_on(found);
	freeaddrinfo(found);
	return fd >= 0 ? fd
	               : rfs_err_set(err, fd, "metrics: cannot listen on %s port %u: %s", host,
	                             (unsigned)port, rfs_strerror(fd));
}

__attribute__((format(printf, 2, 0))) static void on_library_log(void *ctx, const char *fmt,
                                                                 va_list args)
{
	char line[256];

	(void)ctx;
	(void)vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("metrics: %s", line);
}

static int start_daemon(struct http *h, int fd)
{
	const union MHD_DaemonInfo *info;

	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
	                             h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
	                             MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
	                             HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	                             HTTP_IDLE_SECONDS, MHD_OPTION_END);
	if (h->daemon == NULL)
		return -1;
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return info != NULL ? info->epoll_fd : -1;
}

int http_start(struct http **out, uv_loop_t *loop, const char *host, uint16_t port,
               http_serve serve, void *ctx, struct rfs_err *err)
{
	int fd = open_socket(host, port, err), epoll_fd;
	struct http *h;

	if (fd < 0)
		return fd;
	h = mem_zalloc(sizeof(*h));
	RFS_MAGIC_SET(h, HTTP_MAGIC);
	h->serve = serve;
	h->ctx = ctx;
	epoll_fd = start_daemon(h, fd);
	if (epoll_fd < 0 || uv_poll_init(loop, &h->poll, epoll_fd) != 0) {
		if (h->daemon != NULL)
			MHD_stop_daemon(h->daemon);
		else
			(void)close(fd);
		free(h);
		return rfs_err_set(err, -EIO, "metrics: libmicrohttpd does not start");
	}
	(void)uv_timer_init(loop, &h->timer);
	h->poll.data = h->timer.data = h;
	(void)uv_poll_start(&h->poll, UV_READABLE, on_poll);
	*out = h;
	return 0;
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
	struct http *h = handle->data;
	void (*stopped)(void *ctx) = h->stopped;
	void *ctx = h->stopped_ctx;

	RFS_MAGIC_CHECK(h, HTTP_MAGIC);
	if (--h->closing > 0)
		return;
	h->magic = 0;
	free(h);
	stopped(ctx);
}

void http_stop(struct http *h, void (*stopped)(void *ctx), void *ctx)
{
	RFS_MAGIC_CHECK(h, HTTP_MAGIC);
	h->stopped = stopped;
	h->stopped_ctx = ctx;
	h->closing = 2;
	/* the poll before the descriptor it polls */
	uv_close((uv_handle_t *)&h->poll, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
	MHD_stop_daemon(h->daemon);
	h->daemon = NULL;
}

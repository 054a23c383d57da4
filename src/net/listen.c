/* Listening, and the connections that came of it. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>
#include "../base/check.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "conn_priv.h"

#define BACKLOG 1024

/* Strangers decide how often a connection is refused, so lines about it are rationed. */
#define LOG_LINES_MAX 10u
#define LOG_WINDOW_MS 10000u

/* A handshake costs a node a tenth of a millisecond or one and a half, as OpenSSL is old or new, and a
 * caller, if he likes, nothing. In a turn of the loop hundreds may come, and between two turns nobody is
 * heard and no heartbeat leaves: so they may take a quarter of the time, and the others wait their
 * turn. */
#define SHAKE_WINDOW_NS 10000000u
#define SHAKE_BUDGET_NS 2500000u

struct net_listener {
	uint32_t magic;
	uv_tcp_t tcp;
	uv_loop_t *loop;
	const struct net_identity *self;
	const struct net_limits *limits;
	const struct net_handler *handler;
	void *ctx;
	char name[NET_NAME_BYTES];
	uint16_t port;

	struct net_conn *conns; /* all accepted ones, until they are freed */
	unsigned n_conns;

	/* Those in HANDSHAKE, the oldest first. */
	struct net_conn *young;
	unsigned n_young;
	uv_timer_t shake_timer;
	uint64_t settled_ns, spent_ns; /* on handshakes */

	bool closing;
	unsigned handles; /* not yet closed */
	void (*done)(void *ctx);
	void *done_ctx;

	uint64_t log_window_ms;
	unsigned log_lines, log_dropped;
};

/* ---- telling ---- */

static bool listener_may_log(struct net_listener *l)
{
	uint64_t now_ms = uv_now(l->loop);

	if (now_ms - l->log_window_ms >= LOG_WINDOW_MS) {
		if (l->log_dropped > 0)
			log_warn("%s: %u more connections failed like those before", l->name,
			         l->log_dropped);
		l->log_window_ms = now_ms;
		l->log_lines = l->log_dropped = 0;
	}
	if (l->log_lines >= LOG_LINES_MAX) {
		l->log_dropped++;
		return false;
	}
	l->log_lines++;
	return true;
}

/* A connection without a word is what port scans and health checks look like. */
static void listener_tell(struct net_listener *l, const struct net_conn *c)
{
	bool silent = !c->heard && (c->why.code == -EPIPE || c->why.code == -ECONNRESET);

	if (c->was_ready || c->why.code == 0)
		return;
	if (silent)
		log_debug("%s: connection from %s", l->name, c->why.msg);
	else if (listener_may_log(l))
		log_warn("%s: connection from %s", l->name, c->why.msg);
}

/* ---- the end ---- */

static void listener_maybe_free(struct net_listener *l)
{
	if (l->handles > 0 || l->conns != NULL)
		return;
	l->magic = 0;
	l->done(l->done_ctx);
	free(l);
}

void listener_forget(struct net_conn *c)
{
	struct net_listener *l = c->listener;

	RFS_MAGIC_CHECK(l, LISTENER_MAGIC);
	listener_tell(l, c);
	DL_DELETE(l->conns, c);
	l->n_conns--;
	listener_maybe_free(l);
}

static void listener_on_closed(uv_handle_t *handle)
{
	struct net_listener *l = handle->data;

	RFS_MAGIC_CHECK(l, LISTENER_MAGIC);
	l->handles--;
	listener_maybe_free(l);
}

void net_listener_close(struct net_listener *l, void (*done)(void *ctx), void *ctx)
{
	RFS_MAGIC_CHECK(l, LISTENER_MAGIC);
	rfs_check(!l->closing);
	l->closing = true;
	l->done = done;
	l->done_ctx = ctx;
	uv_close((uv_handle_t *)&l->tcp, listener_on_closed);
	uv_close((uv_handle_t *)&l->shake_timer, listener_on_closed);
	for (struct net_conn *c = l->conns; c != NULL; c = c->next)
		conn_end(c, NULL);
}

/* ---- who has not said yet who it is ---- */

void listener_add_young(struct net_conn *c)
{
	struct net_listener *l = c->listener;

	c->young = true;
	DL_APPEND2(l->young, c, young_prev, young_next);
	l->n_young++;
	/* Not the newcomer: then a few who never end would keep everybody else out. */
	if (l->n_young > l->limits->handshakes_max)
		conn_fail(l->young, RFS_EBUSYLIMIT,
		          "no end of its TLS handshake, and %u others want to begin theirs",
		          l->limits->handshakes_max);
}

void listener_drop_young(struct net_conn *c)
{
	if (!c->young)
		return;
	c->young = false;
	DL_DELETE2(c->listener->young, c, young_prev, young_next);
	c->listener->n_young--;
}

static void listener_on_shake(uv_timer_t *timer)
{
	struct net_listener *l = timer->data;
	struct net_conn *c, *next;

	RFS_MAGIC_CHECK(l, LISTENER_MAGIC);
	DL_FOREACH_SAFE2(l->young, c, next, young_next)
	{
		if (!c->queued)
			continue;
		c->queued = false;
		if (!listener_may_shake(c))
			return;
		handshake_accept(c);
	}
}

/* What was spent is forgotten as time goes by. */
static void listener_settle(struct net_listener *l)
{
	uint64_t now_ns = uv_hrtime(), windows = (now_ns - l->settled_ns) / SHAKE_WINDOW_NS;

	if (windows == 0)
		return;
	l->settled_ns = now_ns;
	l->spent_ns = windows * SHAKE_BUDGET_NS < l->spent_ns
	                      ? l->spent_ns - windows * SHAKE_BUDGET_NS
	                      : 0;
}

bool listener_may_shake(struct net_conn *c)
{
	struct net_listener *l = c->listener;

	listener_settle(l);
	c->queued = l->spent_ns >= SHAKE_BUDGET_NS;
	if (c->queued && !uv_is_active((uv_handle_t *)&l->shake_timer))
		rfs_check(uv_timer_start(&l->shake_timer, listener_on_shake,
		                         SHAKE_WINDOW_NS / 1000000u, 0) == 0);
	return !c->queued;
}

void listener_spent(struct net_conn *c, uint64_t ns)
{
	c->listener->spent_ns += ns;
}

/* ---- accepting ---- */

static void name_peer(struct net_conn *c)
{
	struct sockaddr_storage addr = {0};
	int len = sizeof(addr);

	if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&addr, &len) == 0)
		addr_name((const struct sockaddr *)&addr, c->name, sizeof(c->name));
	else
		(void)snprintf(c->name, sizeof(c->name), "?");
}

static void listener_on_connection(uv_stream_t *server, int status)
{
	struct net_listener *l = server->data;
	struct net_conn *c;
	int rc;

	RFS_MAGIC_CHECK(l, LISTENER_MAGIC);
	if (l->closing)
		return;
	if (status < 0) {
		if (listener_may_log(l))
			log_warn("%s: cannot accept a connection: %s", l->name,
			         rfs_strerror(status));
		return;
	}
	c = conn_new(l->loop, l->self, l->limits, l->handler, l->ctx);
	c->listener = l;
	DL_APPEND(l->conns, c);
	l->n_conns++;
	rc = uv_accept(server, (uv_stream_t *)&c->tcp);
	name_peer(c);
	if (rc < 0)
		conn_fail(c, rc, "%s", rfs_strerror(rc));
	else if (l->n_conns > l->limits->conns_max)
		conn_fail(c, RFS_EBUSYLIMIT, "there are %u connections already",
		          l->limits->conns_max);
	else
		conn_start(c);
}

/* ---- listening ---- */

void net_ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		(void)signal(SIGPIPE, SIG_IGN);
}

/* A listening socket, or -errno. Made by hand and not by libuv, which has a handle to close, in a
 * later turn of a loop that may never run, before it tells that an address is in use. */
static int socket_listen(const struct sockaddr *addr)
{
	socklen_t len = addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
	                                            : sizeof(struct sockaddr_in);
	int on = 1, rc, fd;

	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, addr, len) != 0 || listen(fd, BACKLOG) != 0) {
		rc = -errno;
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* The same for a host name: its first address that is ours. Blocks. */
static int name_listen(uv_loop_t *loop, const char *host, uint16_t port, struct rfs_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	uv_getaddrinfo_t req;
	int fd = -EADDRNOTAVAIL;
	int rc = uv_getaddrinfo(loop, &req, NULL, host, NULL, &hints);

	if (rc < 0)
		return rfs_err_set(err, -EHOSTUNREACH, "cannot look its name up: %s",
		                   uv_strerror(rc));
	for (struct addrinfo *a = req.addrinfo; a != NULL && fd < 0; a = a->ai_next) {
		addr_set_port(a->ai_addr, port);
		fd = socket_listen(a->ai_addr);
	}
	uv_freeaddrinfo(req.addrinfo);
	return fd < 0 ? rfs_err_set(err, fd, "%s", rfs_strerror(fd)) : fd;
}

static int host_listen(uv_loop_t *loop, const char *host, uint16_t port, struct rfs_err *err)
{
	struct sockaddr_storage addr;
	int fd;

	if (!addr_parse(host[0] != '\0' ? host : "0.0.0.0", port, &addr))
		return name_listen(loop, host, port, err);
	fd = socket_listen((const struct sockaddr *)&addr);
	return fd < 0 ? rfs_err_set(err, fd, "%s", rfs_strerror(fd)) : fd;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
		return 0;
	return addr_get_port((const struct sockaddr *)&addr);
}

int net_listen(struct net_listener **out, uv_loop_t *loop, const struct net_identity *self,
               const struct net_limits *limits, const char *host, uint16_t port,
               const struct net_handler *handler, void *ctx, struct rfs_err *err)
{
	struct net_listener *l;
	struct rfs_err why;
	char name[NET_NAME_BYTES];
	int fd;

	net_ignore_sigpipe();
	addr_name_of(host[0] != '\0' ? host : "0.0.0.0", port, name, sizeof(name));
	fd = host_listen(loop, host, port, &why);
	if (fd < 0)
		return rfs_err_set(err, fd, "cannot listen on %s: %s", name, why.msg);
	l = mem_zalloc(sizeof(*l));
	RFS_MAGIC_SET(l, LISTENER_MAGIC);
	l->loop = loop;
	l->self = self;
	l->limits = limits;
	l->handler = handler;
	l->ctx = ctx;
	l->log_window_ms = uv_now(loop);
	l->port = port_of(fd);
	addr_name_of(host[0] != '\0' ? host : "0.0.0.0", l->port, l->name, sizeof(l->name));
	/* The socket listens already: nothing can refuse here. */
	rfs_check(uv_tcp_init(loop, &l->tcp) == 0);
	l->tcp.data = l->shake_timer.data = l;
	rfs_check(uv_timer_init(loop, &l->shake_timer) == 0);
	l->handles = 2;
	rfs_check(uv_tcp_open(&l->tcp, fd) == 0);
	rfs_check(uv_listen((uv_stream_t *)&l->tcp, BACKLOG, listener_on_connection) == 0);
	*out = l;
	return 0;
}

uint16_t net_listener_port(const struct net_listener *l)
{
	return l->port;
}

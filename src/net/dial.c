/* Dialling: look the name up, try its addresses one after the other, say hello. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "conn_priv.h"

/* A lookup runs in the thread pool and cannot always be called back; it may outlive its
 * connection. */
struct lookup {
	uint32_t magic;
	uv_getaddrinfo_t req;
	struct net_conn *conn; /* NULL: given up */
};

static void dial_try(struct net_conn *c, const struct sockaddr *addr);

void dial_release(struct net_conn *c)
{
	if (c->lookup != NULL) {
		c->lookup->conn = NULL;
		(void)uv_cancel((uv_req_t *)&c->lookup->req);
		c->lookup = NULL;
	}
	uv_freeaddrinfo(c->addrs);
	c->addrs = c->address = NULL;
}

/* A socket that has failed to connect is of no more use, so the next address gets a new one, once
 * the old one is closed. conn_end() may come in between; then this close is the one it would have
 * asked for. */
static void dial_on_tcp_closed(uv_handle_t *handle)
{
	struct net_conn *c = handle->data;

	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	if (c->state == CONN_CLOSING) {
		conn_on_handle_closed(handle);
		return;
	}
	c->tcp_closing = false;
	rfs_check(uv_tcp_init(c->loop, &c->tcp) == 0);
	c->tcp.data = c;
	dial_try(c, (const struct sockaddr *)&c->again);
}

static void dial_anew(struct net_conn *c)
{
	c->tcp_closing = true;
	uv_close((uv_handle_t *)&c->tcp, dial_on_tcp_closed);
}

void dial_again(struct net_conn *c)
{
	int len = sizeof(c->again);

	c->state = CONN_CONNECTING;
	c->reading = false;
	if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&c->again, &len) == 0)
		dial_anew(c);
	else
		conn_fail(c, -ECONNRESET, "%s", rfs_strerror(-ECONNRESET));
}

static void dial_failed(struct net_conn *c, int code)
{
	if (c->address != NULL && c->address->ai_next != NULL) {
		c->address = c->address->ai_next;
		memcpy(&c->again, c->address->ai_addr, c->address->ai_addrlen);
		dial_anew(c);
	} else {
		conn_fail(c, code, "%s", rfs_strerror(code));
	}
}

static void dial_on_connect(uv_connect_t *req, int status)
{
	struct net_conn *c = req->data;

	RFS_MAGIC_CHECK(c, CONN_MAGIC);
	if (c->state != CONN_CONNECTING)
		return;
	if (status < 0) {
		dial_failed(c, status);
		return;
	}
	dial_release(c);
	conn_start(c);
}

static void dial_try(struct net_conn *c, const struct sockaddr *addr)
{
	int rc;

	c->state = CONN_CONNECTING;
	c->connect.data = c;
	rc = uv_tcp_connect(&c->connect, &c->tcp, addr, dial_on_connect);
	if (rc < 0)
		dial_failed(c, rc);
}

static void dial_on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *addrs)
{
	struct lookup *l = req->data;
	struct net_conn *c;

	RFS_MAGIC_CHECK(l, LOOKUP_MAGIC);
	c = l->conn;
	free(l);
	if (c == NULL) {
		uv_freeaddrinfo(addrs);
		return;
	}
	c->lookup = NULL;
	if (status < 0 || addrs == NULL) {
		/* The codes of getaddrinfo(3) are no errnos. */
		conn_fail(c, -EHOSTUNREACH, "cannot look its name up: %s", uv_strerror(status));
		return;
	}
	c->addrs = c->address = addrs;
	for (struct addrinfo *a = addrs; a != NULL; a = a->ai_next)
		addr_set_port(a->ai_addr, c->port);
	dial_try(c, addrs->ai_addr);
}

static void dial_look_up(struct net_conn *c, const char *host)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	struct lookup *l = mem_zalloc(sizeof(*l));
	int rc;

	RFS_MAGIC_SET(l, LOOKUP_MAGIC);
	l->conn = c;
	l->req.data = l;
	c->state = CONN_LOOKUP;
	rc = uv_getaddrinfo(c->loop, &l->req, dial_on_lookup, host, NULL, &hints);
	if (rc < 0) {
		free(l);
		conn_fail(c, -EHOSTUNREACH, "cannot look its name up: %s", uv_strerror(rc));
		return;
	}
	c->lookup = l;
}

struct net_conn *net_dial(uv_loop_t *loop, const struct net_identity *self,
                          const struct net_limits *limits, const char *host, uint16_t port,
                          uint64_t to_node, const struct net_handler *handler, void *ctx)
{
	struct net_conn *c = conn_new(loop, self, limits, handler, ctx);
	struct sockaddr_storage addr;

	net_ignore_sigpipe();
	c->to_node = to_node;
	c->port = port;
	addr_name_of(host, port, c->name, sizeof(c->name));
	if (addr_parse(host, port, &addr))
		dial_try(c, (const struct sockaddr *)&addr);
	else
		dial_look_up(c, host);
	return c;
}

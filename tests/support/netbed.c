#include "netbed.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct bed bed;

/* ---- handlers ---- */

static void note_ready(struct net_conn *c, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct end *e = net_conn_ctx(c);

	e->conn = c;
	e->ready++;
	e->peer_id = peer_id;
	e->peer_incarnation = peer_incarnation;
	ck_assert(net_conn_is_ready(c));
	ck_assert_uint_eq(net_conn_peer_id(c), peer_id);
	if (e->pause_at_ready)
		net_conn_pause(c, true);
}

static void note_frame(struct net_conn *c, const struct frame *f)
{
	struct end *e = net_conn_ctx(c);

	ck_assert_msg(e->ready == 1 && e->closed == 0, "a frame outside the connection's life");
	if (f->len < 4 || get_le32(f->payload) != e->frames)
		e->in_order = false;
	e->frames++;
	e->bytes += f->len;
	e->last_type = f->type;
	if (e->frames == e->pause_at)
		net_conn_pause(c, true);
	if (e->frames == e->close_at) {
		net_conn_close(c);
		ck_assert_msg(e->closed == 0, "on_close from inside net_conn_close()");
	}
}

static void note_close(struct net_conn *c, const struct rfs_err *err)
{
	struct end *e = net_conn_ctx(c);

	e->closed++;
	e->why = *err;
	e->conn = NULL;
	ck_assert_uint_eq(e->closed, 1);
	ck_assert(!net_conn_is_ready(c));
}

static void accept_on_ready(struct net_conn *c, uint64_t peer_id, uint64_t peer_incarnation)
{
	ck_assert_ptr_eq(net_conn_ctx(c), &bed);
	ck_assert_uint_lt(bed.n_accepted, BED_ENDS_MAX);
	net_conn_set_ctx(c, &bed.accepted[bed.n_accepted++]);
	note_ready(c, peer_id, peer_incarnation);
}

const struct net_handler bed_accept_handler = {accept_on_ready, note_frame, note_close};
const struct net_handler bed_dial_handler = {note_ready, note_frame, note_close};

/* ---- life ---- */

static void on_watchdog(uv_timer_t *t)
{
	(void)t;
	ck_abort_msg("still waiting after ten seconds");
}

void bed_setup(void)
{
	struct rfs_err err = {0};

	memset(&bed, 0, sizeof(bed));
	ck_assert_int_eq(uv_loop_init(&bed.loop), 0);
	ck_assert_int_eq(uv_timer_init(&bed.loop, &bed.watchdog), 0);
	ck_assert_int_eq(uv_timer_start(&bed.watchdog, on_watchdog, 10000, 0), 0);
	uv_unref((uv_handle_t *)&bed.watchdog);
	bed.node = (struct net_identity){.cluster = "demo", .node_id = 1, .incarnation = 11};
	bed.dialler = (struct net_identity){.cluster = "demo"};
	bed.limits = NET_LIMITS_DEFAULT;
	for (unsigned i = 0; i < BED_ENDS_MAX; i++)
		bed.accepted[i].in_order = bed.dialled[i].in_order = true;
	ck_assert_msg(net_listen(&bed.listener, &bed.loop, &bed.node, &bed.limits, "127.0.0.1", 0,
	                         &bed_accept_handler, &bed, &err) == 0,
	              "%s", err.msg);
	bed.port = net_listener_port(bed.listener);
	ck_assert_uint_ne(bed.port, 0);
}

static void listener_done(void *ctx)
{
	(void)ctx;
	ck_assert(!bed.listener_done);
	bed.listener_done = true;
}

void bed_close_listener(void)
{
	net_listener_close(bed.listener, listener_done, NULL);
	ck_assert_msg(!bed.listener_done, "done from inside net_listener_close()");
	bed.listener = NULL;
}

void bed_teardown(void)
{
	for (unsigned i = 0; i < bed.n_dialled; i++)
		if (bed.dialled[i].conn != NULL)
			net_conn_close(bed.dialled[i].conn);
	if (bed.listener != NULL)
		bed_close_listener();
	BED_UNTIL(bed.listener_done);
	uv_close((uv_handle_t *)&bed.watchdog, NULL);
	uv_run(&bed.loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < bed.n_dialled; i++)
		ck_assert_uint_eq(bed.dialled[i].closed, 1);
	for (unsigned i = 0; i < bed.n_accepted; i++)
		ck_assert_uint_eq(bed.accepted[i].closed, 1);
	ck_assert_msg(uv_loop_close(&bed.loop) == 0, "handles are left in the loop");
}

void bed_settle(void)
{
	for (int i = 0; i < 50; i++)
		uv_run(&bed.loop, UV_RUN_NOWAIT);
}

struct end *bed_dial_to(const char *host, uint16_t port, uint64_t to_node)
{
	struct end *e = &bed.dialled[bed.n_dialled++];

	ck_assert_uint_le(bed.n_dialled, BED_ENDS_MAX);
	e->conn = net_dial(&bed.loop, &bed.dialler, &bed.limits, host, port, to_node,
	                   &bed_dial_handler, e);
	ck_assert_ptr_nonnull(e->conn);
	ck_assert_msg(e->ready == 0 && e->closed == 0, "called back from inside net_dial()");
	return e;
}

struct end *bed_dial(uint64_t to_node)
{
	return bed_dial_to("127.0.0.1", bed.port, to_node);
}

void bed_connect(struct end **dialled, struct end **accepted)
{
	unsigned n = bed.n_accepted;

	*dialled = bed_dial(0);
	BED_UNTIL((*dialled)->ready == 1);
	ck_assert_uint_eq(bed.n_accepted, n + 1);
	*accepted = &bed.accepted[n];
	ck_assert_uint_eq((*accepted)->ready, 1);
}

void bed_put_frame(struct buf *b, uint32_t number, size_t n)
{
	size_t start = frame_begin(b);

	ck_assert_uint_ge(n, 4);
	buf_put_u32(b, number);
	memset(buf_reserve(b, n - 4), (int)(number & 0xff), n - 4);
	b->len += n - 4;
	frame_end(b, start, FRAME_RAFT);
}

/* ---- raw sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

int raw_connect(void)
{
	struct sockaddr_in a = loopback(bed.port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

int raw_listen(uint16_t *port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

int raw_accept(int fd)
{
	int got;

	while ((got = accept(fd, NULL, NULL)) < 0) {
		ck_assert_int_eq(errno, EAGAIN);
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	return got;
}

void raw_send(int fd, const void *p, size_t n)
{
	ck_assert_int_eq(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

void raw_send_buf(int fd, struct buf *b)
{
	raw_send(fd, b->data, b->len);
	buf_clear(b);
}

bool raw_read(int fd, struct buf *b, size_t until)
{
	while (b->len < until) {
		ssize_t n = recv(fd, buf_reserve(b, 65536), 65536, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
		if (n > 0)
			b->len += (size_t)n;
		else
			ck_assert_int_eq(errno, EAGAIN);
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	return false;
}

int raw_client(void)
{
	struct wire_hello h = {.version_min = WIRE_VERSION_MIN,
	                       .version_max = WIRE_VERSION_MAX,
	                       .cluster = "demo"};
	unsigned n = bed.n_accepted;
	int fd = raw_connect();
	struct buf b;

	buf_init(&b);
	wire_put_hello(&b, &h);
	raw_send_buf(fd, &b);
	BED_UNTIL(bed.n_accepted == n + 1);
	ck_assert(!raw_read(fd, &b, FRAME_HEADER_BYTES));
	buf_free(&b);
	return fd;
}

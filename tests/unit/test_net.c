/* net/: who may connect to whom, and how connections begin and end. */
#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "../support/netbed.h"

static struct buf b;

/* libuv's lookups end here: a name with two addresses, at the first of which nobody listens. */
static struct addrinfo *address_new(const char *ip, struct addrinfo *next)
{
	struct sockaddr_in *in;
	struct addrinfo *a = calloc(1, sizeof(*a) + sizeof(*in));

	in = (struct sockaddr_in *)(a + 1);
	in->sin_family = AF_INET;
	ck_assert_int_eq(inet_pton(AF_INET, ip, &in->sin_addr), 1);
	*a = (struct addrinfo){.ai_family = AF_INET,
	                       .ai_socktype = SOCK_STREAM,
	                       .ai_addrlen = sizeof(*in),
	                       .ai_addr = (struct sockaddr *)in,
	                       .ai_next = next};
	return a;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (node != NULL && strcmp(node, "two-addresses") == 0) {
		*res = address_new("127.0.0.2", address_new("127.0.0.1", NULL));
		return 0;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, res);
}

static void setup(void)
{
	bed_setup();
	buf_init(&b);
}

static void teardown(void)
{
	bed_teardown();
	buf_free(&b);
}

/* ---- hello ---- */

START_TEST(test_hello_tells_each_side_who_the_other_is)
{
	struct end *d, *a;
	char name[64];

	bed.dialler = (struct net_identity){.cluster = "demo", .node_id = 2, .incarnation = 22};
	d = bed_dial(1);
	BED_UNTIL(d->ready == 1);
	a = &bed.accepted[0];
	ck_assert_uint_eq(a->ready, 1);
	ck_assert_uint_eq(d->peer_id, 1);
	ck_assert_uint_eq(d->peer_incarnation, 11);
	ck_assert_uint_eq(a->peer_id, 2);
	ck_assert_uint_eq(a->peer_incarnation, 22);
	(void)snprintf(name, sizeof(name), "127.0.0.1:%u", bed.port);
	ck_assert_str_eq(net_conn_name(d->conn), name);
	ck_assert_int_eq(strncmp(net_conn_name(a->conn), "127.0.0.1:", 10), 0);
}
END_TEST

START_TEST(test_a_client_without_a_cluster_takes_whatever_answers)
{
	struct end *d;

	bed.dialler.cluster[0] = '\0';
	d = bed_dial(0);
	BED_UNTIL(d->ready == 1);
	ck_assert_uint_eq(bed.accepted[0].peer_id, 0);
}
END_TEST

static void expect_refusal(uint64_t to_node, int code, const char *words)
{
	struct end *d = bed_dial(to_node);

	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, code);
	ck_assert_msg(strstr(d->why.msg, words) != NULL, "%s", d->why.msg);
	ck_assert_msg(strncmp(d->why.msg, "127.0.0.1:", 10) == 0, "%s", d->why.msg);
	ck_assert_uint_eq(d->ready, 0);
	bed_settle();
	ck_assert_uint_eq(bed.n_accepted, 0);
}

START_TEST(test_another_cluster_is_refused_with_both_names)
{
	memcpy(bed.dialler.cluster, "other", 6);
	expect_refusal(0, RFS_EIDENTITY,
	               "this node belongs to cluster \"demo\", the caller to \"other\"");
}
END_TEST

START_TEST(test_a_call_for_another_node_is_refused)
{
	expect_refusal(3, RFS_EIDENTITY, "this is node 1, not node 3");
}
END_TEST

START_TEST(test_a_second_node_of_the_same_id_is_refused)
{
	bed.dialler.node_id = 1;
	expect_refusal(0, RFS_EIDENTITY, "this is node 1, and so says the caller");
}
END_TEST

static struct wire_hello_reply read_refusal(int fd)
{
	struct wire_hello_reply r = {0};
	struct rfs_err err = {0};
	struct frame f;
	size_t used;

	ck_assert_msg(raw_read(fd, &b, SIZE_MAX), "closed after the answer");
	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_uint_eq(f.type, FRAME_HELLO_REPLY);
	ck_assert_int_eq(wire_get_hello_reply(f.payload, f.len, &r, &err), 0);
	ck_assert_uint_eq(used, b.len);
	return r;
}

START_TEST(test_a_caller_without_a_common_version_is_told_so)
{
	struct wire_hello h = {WIRE_VERSION_MAX + 1, WIRE_VERSION_MAX + 2, "demo", 0, 0, 0, ""};
	struct wire_hello_reply r;
	int fd = raw_connect();

	wire_put_hello(&b, &h);
	raw_send_buf(fd, &b);
	r = read_refusal(fd);
	ck_assert_int_eq(r.code, RFS_EVERSION);
	ck_assert_ptr_nonnull(strstr(r.text, "versions 1 to 2, the caller 3 to 4"));
	close(fd);
}
END_TEST

START_TEST(test_the_highest_common_version_is_chosen)
{
	struct wire_hello h = {0, UINT32_MAX, "demo", 0, 0, 0, ""};
	struct wire_hello_reply r;
	struct rfs_err err = {0};
	int fd = raw_connect();

	wire_put_hello(&b, &h);
	raw_send_buf(fd, &b);
	BED_UNTIL(bed.n_accepted == 1);
	ck_assert(!raw_read(fd, &b, FRAME_HEADER_BYTES + 1));
	ck_assert_int_eq(wire_get_hello_reply(b.data + FRAME_HEADER_BYTES,
	                                      b.len - FRAME_HEADER_BYTES, &r, &err),
	                 0);
	ck_assert_int_eq(r.code, 0);
	ck_assert_uint_eq(r.version, WIRE_VERSION_MAX);
	close(fd);
}
END_TEST

static void expect_version(uint32_t version)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	ck_assert_uint_eq(net_conn_version(d->conn), version);
	ck_assert_uint_eq(net_conn_version(a->conn), version);
}

START_TEST(test_each_end_may_be_held_at_an_older_version)
{
	expect_version(WIRE_VERSION_MAX);
	bed.dialler.version_max = 1;
	expect_version(1);
	bed.dialler.version_max = 0;
	bed.node.version_max = 1;
	expect_version(1);
	bed.dialler.version_max = 1;
	expect_version(1);
}
END_TEST

START_TEST(test_a_node_that_does_not_speak_the_clusters_version_is_refused)
{
	bed.node.peer_version_min = 2;
	bed.dialler.version_max = 1;
	bed.dialler.node_id = 2;
	expect_refusal(0, RFS_EVERSION, "the cluster speaks protocol version 2, the caller 1 to 1");
	bed.dialler.version_max = 2;
	expect_version(2);
	bed.dialler.version_max = 1;
	bed.dialler.node_id = 0;
	expect_version(1); /* a client need not speak it */
}
END_TEST

START_TEST(test_a_node_calls_nobody_who_does_not_speak_its_clusters_version)
{
	bed.node.version_max = 1;
	bed.dialler.node_id = 2;
	bed.dialler.peer_version_min = 2;
	expect_refusal(1, RFS_EVERSION,
	               "this node speaks protocol versions 1 to 1, the caller 2 to 2");
}
END_TEST

/* What the dialler makes of an answer. */
static void expect_judgement(const struct wire_hello_reply *r, uint64_t to_node, int code,
                             const char *words)
{
	uint16_t port;
	int server = raw_listen(&port), fd;
	struct end *d = bed_dial_to("127.0.0.1", port, to_node);

	fd = raw_accept(server);
	wire_put_hello_reply(&b, r);
	raw_send_buf(fd, &b);
	BED_UNTIL(d->ready + d->closed > 0);
	ck_assert_int_eq(d->why.code, code);
	if (code != 0)
		ck_assert_msg(strstr(d->why.msg, words) != NULL, "%s", d->why.msg);
	ck_assert_uint_eq(d->ready, code == 0);
	close(fd);
	close(server);
}

START_TEST(test_the_dialler_checks_the_answer_too)
{
	struct wire_hello_reply good = {1, "demo", 3, 33, 0, ""}, r = good;

	expect_judgement(&r, 3, 0, "");
	expect_judgement(&r, 0, 0, "");
	expect_judgement(&r, 2, RFS_EIDENTITY, "is node 3, not node 2");
	memcpy(r.cluster, "other", 6);
	expect_judgement(&r, 3, RFS_EIDENTITY, "belongs to cluster \"other\", not \"demo\"");
	r = good;
	r.version = 9;
	expect_judgement(&r, 3, RFS_EVERSION, "version 9");
	r = good;
	r.code = -EPERM;
	memcpy(r.text, "not\x1b[31myou", 12);
	expect_judgement(&r, 3, -EPERM, "refused: not?[31myou");
}
END_TEST

static void expect_bad_answer(struct buf *answer, int code, const char *words)
{
	uint16_t port;
	int server = raw_listen(&port), fd;
	struct end *d = bed_dial_to("127.0.0.1", port, 0);

	fd = raw_accept(server);
	raw_send_buf(fd, answer);
	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, code);
	ck_assert_msg(strstr(d->why.msg, words) != NULL, "%s", d->why.msg);
	ck_assert_uint_eq(d->ready, 0);
	close(fd);
	close(server);
}

START_TEST(test_an_answer_that_is_none_ends_the_call)
{
	size_t start;

	wire_put_keep_alive(&b, 1);
	expect_bad_answer(&b, RFS_EPROTO, "frame of type 6 where the answer to a hello must stand");
	start = frame_begin(&b);
	buf_put(&b, "\xff", 1);
	frame_end(&b, start, FRAME_HELLO_REPLY);
	expect_bad_answer(&b, RFS_ECORRUPT, "not a message of type HelloReply");
	buf_put(&b, "SSH-2.0-OpenSSH_9.2\r\n", 21);
	expect_bad_answer(&b, RFS_EPROTO, "exceeds 8388608");
}
END_TEST

/* Whatever a stranger sends first ends his connection and no other. */
static void expect_strangers_end(const void *p, size_t n)
{
	struct end *d, *a;
	int fd;

	bed_connect(&d, &a);
	fd = raw_connect();
	raw_send(fd, p, n);
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	ck_assert_uint_eq(b.len, 0);
	close(fd);
	bed_put_frame(net_conn_out(d->conn), 0, 100);
	net_conn_flush(d->conn);
	BED_UNTIL(a->frames == 1);
	ck_assert(a->in_order);
	ck_assert_uint_eq(bed.n_accepted, 1);
}

START_TEST(test_garbage_ends_only_the_connection_it_came_by)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: me\r\n\r\n";

	expect_strangers_end(http, sizeof(http));
}
END_TEST

START_TEST(test_a_first_frame_that_is_no_hello_ends_the_connection)
{
	struct buf frame = {0};

	wire_put_keep_alive(&frame, 1);
	expect_strangers_end(frame.data, frame.len);
	buf_free(&frame);
}
END_TEST

START_TEST(test_a_hello_that_cannot_be_read_ends_the_connection)
{
	struct buf frame = {0};
	size_t start = frame_begin(&frame);

	buf_put(&frame, "\xff\xff\xff", 3);
	frame_end(&frame, start, FRAME_HELLO);
	expect_strangers_end(frame.data, frame.len);
	buf_free(&frame);
}
END_TEST

START_TEST(test_a_large_first_frame_is_not_waited_for)
{
	expect_strangers_end("\x00\x00\x10\x00\x01\x00\x00\x00", 8);
}
END_TEST

START_TEST(test_a_stranger_who_says_nothing_is_shown_out)
{
	int fd;

	bed.limits.connect_timeout_ms = 30;
	fd = raw_connect();
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	close(fd);
}
END_TEST

START_TEST(test_strangers_cannot_flood_the_log)
{
	FILE *log = tmpfile();
	char line[1500];
	unsigned lines = 0;

	ck_assert_ptr_nonnull(log);
	ck_assert_int_ge(dup2(fileno(log), STDERR_FILENO), 0);
	for (int i = 0; i < 100; i++) {
		int fd = raw_connect();

		raw_send(fd, "garbage!", 8);
		ck_assert(raw_read(fd, &b, SIZE_MAX));
		close(fd);
	}
	rewind(log);
	while (fgets(line, sizeof(line), log) != NULL) {
		ck_assert_ptr_nonnull(strstr(line, "connection from 127.0.0.1:"));
		ck_assert_ptr_nonnull(strstr(line, "exceeds 8388608"));
		lines++;
	}
	ck_assert_uint_ge(lines, 1);
	ck_assert_uint_le(lines, 20);
	fclose(log);
}
END_TEST

/* ---- dialling ---- */

START_TEST(test_dialling_a_closed_port_is_refused)
{
	uint16_t port;
	struct end *d;

	close(raw_listen(&port));
	d = bed_dial_to("127.0.0.1", port, 0);
	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(d->why.msg, "Connection refused"));
}
END_TEST

START_TEST(test_dialling_one_who_never_answers_times_out)
{
	uint16_t port;
	int server = raw_listen(&port);
	struct end *d;

	bed.limits.connect_timeout_ms = 30;
	d = bed_dial_to("127.0.0.1", port, 0);
	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(d->why.msg, "within 30 ms (waiting for its hello)"));
	close(server);
}
END_TEST

START_TEST(test_a_loop_that_was_busy_does_not_time_its_calls_out)
{
	struct end *d;

	bed.limits.connect_timeout_ms = 300;
	uv_update_time(&bed.loop);
	while (uv_hrtime() / 1000000 < uv_now(&bed.loop) + 500)
		; /* as one that recovers a log */
	d = bed_dial(0);
	BED_UNTIL(d->ready + d->closed > 0);
	ck_assert_msg(d->ready == 1, "%s", d->why.msg);
}
END_TEST

START_TEST(test_host_names_are_looked_up_and_every_address_tried)
{
	static const char *const hosts[] = {"localhost", "two-addresses"};

	for (int i = 0; i < 2; i++) {
		struct end *d = bed_dial_to(hosts[i], bed.port, 1);

		BED_UNTIL(d->ready + d->closed > 0);
		ck_assert_msg(d->ready == 1, "%s", d->why.msg);
	}
}
END_TEST

START_TEST(test_all_addresses_refused_is_the_end)
{
	uint16_t port;
	struct end *d;

	close(raw_listen(&port));
	d = bed_dial_to("two-addresses", port, 0);
	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, -ECONNREFUSED);
}
END_TEST

START_TEST(test_names_that_cannot_be_looked_up_say_so)
{
	char large[400];
	struct end *d[2];

	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	d[0] = bed_dial_to(large, 7001, 0);
	d[1] = bed_dial_to("no such name", 7001, 0);
	for (int i = 0; i < 2; i++) {
		BED_UNTIL(d[i]->closed == 1);
		ck_assert_int_eq(d[i]->why.code, -EHOSTUNREACH);
		ck_assert_ptr_nonnull(strstr(d[i]->why.msg, "cannot look its name up"));
	}
}
END_TEST

START_TEST(test_ipv6_addresses_stand_in_brackets)
{
	struct net_listener *v4 = bed.listener;
	struct rfs_err err = {0};
	struct end *d;
	char name[64];

	if (net_listen(&bed.listener, &bed.loop, &bed.node, &bed.limits, "::1", 0,
	               &bed_accept_handler, &bed, &err) != 0) {
		bed.listener = v4; /* a machine without IPv6 */
		return;
	}
	d = bed_dial_to("::1", net_listener_port(bed.listener), 0);
	BED_UNTIL(d->ready == 1);
	(void)snprintf(name, sizeof(name), "[::1]:%u", net_listener_port(bed.listener));
	ck_assert_str_eq(net_conn_name(d->conn), name);
	bed_close_listener();
	BED_UNTIL(bed.listener_done);
	bed.listener_done = false;
	bed.listener = v4;
}
END_TEST

/* Closes a connection between the callbacks of a turn and its closing phase. */
struct closer {
	uv_check_t check;
	struct end *end;
	int turns;
};

static void closer_on_check(uv_check_t *check)
{
	struct closer *k = check->data;

	if (k->turns-- > 0 || k->end->conn == NULL)
		return;
	net_conn_close(k->end->conn);
	net_conn_close(k->end->conn);
	ck_assert_uint_eq(k->end->closed, 0);
	uv_check_stop(check);
}

START_TEST(test_closing_at_any_moment_before_ready_ends_once_without_a_reason)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost", "two-addresses"};
	struct closer k = {.turns = _i / 3};

	ck_assert_int_eq(uv_check_init(&bed.loop, &k.check), 0);
	k.check.data = &k;
	k.end = bed_dial_to(hosts[_i % 3], bed.port, 0);
	if (_i < 3)
		net_conn_close(k.end->conn);
	ck_assert_int_eq(uv_check_start(&k.check, closer_on_check), 0);
	/* until it is ready each turn waits for something to happen */
	while (k.end->closed == 0)
		uv_run(&bed.loop, k.end->ready ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	ck_assert_int_eq(k.end->why.code, 0);
	ck_assert_str_eq(k.end->why.msg, "");
	uv_close((uv_handle_t *)&k.check, NULL);
	bed_settle();
}
END_TEST

/* ---- listening ---- */

START_TEST(test_an_address_in_use_is_named_and_leaves_nothing_behind)
{
	struct net_listener *l = NULL;
	struct rfs_err err = {0};
	char words[64];

	ck_assert_int_eq(net_listen(&l, &bed.loop, &bed.node, &bed.limits, "127.0.0.1", bed.port,
	                            &bed_accept_handler, &bed, &err),
	                 -EADDRINUSE);
	(void)snprintf(words, sizeof(words),
	               "cannot listen on 127.0.0.1:%u: Address already in use", bed.port);
	ck_assert_str_eq(err.msg, words);
	ck_assert_ptr_null(l);
	ck_assert_int_eq(net_listen(&l, &bed.loop, &bed.node, &bed.limits, "192.0.2.1", 0,
	                            &bed_accept_handler, &bed, &err),
	                 -EADDRNOTAVAIL);
	ck_assert_int_eq(net_listen(&l, &bed.loop, &bed.node, &bed.limits, "no such name", 0,
	                            &bed_accept_handler, &bed, &err),
	                 -EHOSTUNREACH);
}
END_TEST

START_TEST(test_all_addresses_and_host_names_can_be_listened_on)
{
	static const char *const hosts[] = {"", "0.0.0.0", "localhost"};
	struct net_listener *first = bed.listener;

	for (int i = 0; i < 3; i++) {
		struct rfs_err err = {0};
		struct end *d;

		ck_assert_msg(net_listen(&bed.listener, &bed.loop, &bed.node, &bed.limits, hosts[i],
		                         0, &bed_accept_handler, &bed, &err) == 0,
		              "%s", err.msg);
		d = bed_dial_to(i == 2 ? "localhost" : "127.0.0.1", net_listener_port(bed.listener),
		                1);
		BED_UNTIL(d->ready + d->closed > 0);
		ck_assert_msg(d->ready == 1, "%s", d->why.msg);
		bed_close_listener();
		BED_UNTIL(bed.listener_done);
		bed.listener_done = false;
	}
	bed.listener = first;
}
END_TEST

START_TEST(test_closing_a_listener_ends_its_connections_first)
{
	struct end *d[3], *a[3];
	int fd;

	for (int i = 0; i < 3; i++)
		bed_connect(&d[i], &a[i]);
	fd = raw_connect(); /* still before its hello: ends without a word to the owner */
	bed_settle();
	bed_close_listener();
	BED_UNTIL(bed.listener_done);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(a[i]->closed, 1);
		ck_assert_int_eq(a[i]->why.code, 0);
		BED_UNTIL(d[i]->closed == 1);
		ck_assert_int_eq(d[i]->why.code, -EPIPE);
	}
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	close(fd);
}
END_TEST

START_TEST(test_connections_beyond_the_limit_are_closed_and_the_others_stay)
{
	struct end *d[3], *a[2];

	bed.limits.conns_max = 2;
	bed_connect(&d[0], &a[0]);
	bed_connect(&d[1], &a[1]);
	d[2] = bed_dial(0);
	BED_UNTIL(d[2]->closed == 1);
	ck_assert_uint_eq(d[2]->ready, 0);
	ck_assert_uint_eq(d[0]->closed + d[1]->closed, 0);
	/* a place that becomes free can be taken */
	net_conn_close(d[0]->conn);
	BED_UNTIL(a[0]->closed == 1);
	bed_connect(&d[0], &a[0]);
}
END_TEST

START_TEST(test_running_out_of_descriptors_does_not_end_the_listener)
{
	struct rlimit old, low;
	struct end *d, *a;
	int fds[4];

	bed_connect(&d, &a);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 4; i++)
		fds[i] = raw_connect();
	low = old;
	low.rlim_cur = (rlim_t)fds[3] + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	bed_settle();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	ck_assert_uint_eq(d->closed, 0);
	bed_connect(&d, &a);
}
END_TEST

/* ---- the end ---- */

START_TEST(test_the_peers_end_is_told)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	net_conn_close(a->conn);
	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(a->why.code, 0);
	ck_assert_int_eq(d->why.code, -EPIPE);
	ck_assert_ptr_nonnull(strstr(d->why.msg, "closed by the peer"));
}
END_TEST

START_TEST(test_backoff_doubles_between_its_bounds)
{
	struct net_backoff w;
	uint32_t ms, seen_max = 0;

	net_backoff_init(&w, 50, 1000, 0);
	ck_assert_uint_eq(net_backoff_next(&w), 50);
	for (uint32_t top = 100; top <= 800; top *= 2) {
		ms = net_backoff_next(&w);
		ck_assert(ms >= top / 2 && ms <= top);
	}
	for (int i = 0; i < 1000; i++) {
		ms = net_backoff_next(&w);
		ck_assert(ms >= 500 && ms <= 1000);
		seen_max = ms > seen_max ? ms : seen_max;
	}
	ck_assert_uint_gt(seen_max, 900);
	net_backoff_reset(&w);
	ck_assert_uint_eq(net_backoff_next(&w), 50);
	net_backoff_init(&w, UINT32_MAX - 1, UINT32_MAX, 7);
	for (int i = 0; i < 5; i++)
		ck_assert_uint_ge(net_backoff_next(&w), UINT32_MAX - 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *t = tcase_create("net");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, test_hello_tells_each_side_who_the_other_is);
	tcase_add_test(t, test_a_client_without_a_cluster_takes_whatever_answers);
	tcase_add_test(t, test_another_cluster_is_refused_with_both_names);
	tcase_add_test(t, test_a_call_for_another_node_is_refused);
	tcase_add_test(t, test_a_second_node_of_the_same_id_is_refused);
	tcase_add_test(t, test_a_caller_without_a_common_version_is_told_so);
	tcase_add_test(t, test_the_highest_common_version_is_chosen);
	tcase_add_test(t, test_each_end_may_be_held_at_an_older_version);
	tcase_add_test(t, test_a_node_that_does_not_speak_the_clusters_version_is_refused);
	tcase_add_test(t, test_a_node_calls_nobody_who_does_not_speak_its_clusters_version);
	tcase_add_test(t, test_the_dialler_checks_the_answer_too);
	tcase_add_test(t, test_an_answer_that_is_none_ends_the_call);
	tcase_add_test(t, test_garbage_ends_only_the_connection_it_came_by);
	tcase_add_test(t, test_a_first_frame_that_is_no_hello_ends_the_connection);
	tcase_add_test(t, test_a_hello_that_cannot_be_read_ends_the_connection);
	tcase_add_test(t, test_a_large_first_frame_is_not_waited_for);
	tcase_add_test(t, test_a_stranger_who_says_nothing_is_shown_out);
	tcase_add_test(t, test_strangers_cannot_flood_the_log);
	tcase_add_test(t, test_dialling_a_closed_port_is_refused);
	tcase_add_test(t, test_dialling_one_who_never_answers_times_out);
	tcase_add_test(t, test_a_loop_that_was_busy_does_not_time_its_calls_out);
	tcase_add_test(t, test_host_names_are_looked_up_and_every_address_tried);
	tcase_add_test(t, test_all_addresses_refused_is_the_end);
	tcase_add_test(t, test_names_that_cannot_be_looked_up_say_so);
	tcase_add_test(t, test_ipv6_addresses_stand_in_brackets);
	tcase_add_loop_test(t, test_closing_at_any_moment_before_ready_ends_once_without_a_reason,
	                    0, 24);
	tcase_add_test(t, test_an_address_in_use_is_named_and_leaves_nothing_behind);
	tcase_add_test(t, test_all_addresses_and_host_names_can_be_listened_on);
	tcase_add_test(t, test_closing_a_listener_ends_its_connections_first);
	tcase_add_test(t, test_connections_beyond_the_limit_are_closed_and_the_others_stay);
	tcase_add_test(t, test_running_out_of_descriptors_does_not_end_the_listener);
	tcase_add_test(t, test_the_peers_end_is_told);
	tcase_add_test(t, test_backoff_doubles_between_its_bounds);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

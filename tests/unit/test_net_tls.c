/* net/ under TLS: who is let in, who is dialled, and what it costs to be knocked at. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../src/tls/stream.h"
#include "../support/certs.h"
#include "../support/netbed.h"

#define CUT_TESTS 8 /* each cuts at every so manyth byte */

static const char *ca;
static struct buf b;

static void setup(void)
{
	certs_setup();
	ca = certs_authority("net", "demo");
	bed_setup();
	buf_init(&b);
	bed.node.tls = certs_context(ca, certs_node(1));
}

static void teardown(void)
{
	bed_teardown();
	buf_free(&b);
	certs_teardown();
}

static void call_as(struct cert_name who)
{
	bed.dialler.tls = certs_context(ca, who);
	if (who.role == CERT_NODE)
		bed.dialler.node_id = who.node_id;
}

/* ---- who is let in ---- */

START_TEST(test_each_end_knows_the_other_by_its_certificate)
{
	struct end *d, *a;

	call_as(certs_named(CERT_CLIENT, "alice"));
	bed_connect(&d, &a);
	ck_assert_int_eq(net_conn_role(a->conn), CERT_CLIENT);
	ck_assert_int_eq(net_conn_role(d->conn), CERT_NODE);
	ck_assert_ptr_eq(strstr(net_conn_who(a->conn), "client alice of cluster demo, 127.0.0.1:"),
	                 net_conn_who(a->conn));
	ck_assert(!net_conn_is_plain(a->conn) && !net_conn_is_plain(d->conn));
}
END_TEST

START_TEST(test_every_role_is_what_its_certificate_says)
{
	static const enum cert_role roles[] = {CERT_READER, CERT_CLIENT, CERT_ADMIN};

	for (unsigned i = 0; i < 3; i++) {
		struct end *d, *a;

		call_as(certs_named(roles[i], "x"));
		bed_connect(&d, &a);
		ck_assert_int_eq(net_conn_role(a->conn), roles[i]);
	}
}
END_TEST

static struct end *expect_refusal(uint64_t to_node, const char *words)
{
	struct end *d = bed_dial(to_node);

	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, RFS_EIDENTITY);
	ck_assert_msg(strstr(d->why.msg, words) != NULL, "%s", d->why.msg);
	ck_assert_msg(strncmp(d->why.msg, "127.0.0.1:", 10) == 0, "%s", d->why.msg);
	bed_settle();
	ck_assert_uint_eq(d->ready + bed.n_accepted, 0);
	return d;
}

START_TEST(test_a_client_that_says_it_is_a_node_is_refused)
{
	call_as(certs_named(CERT_ADMIN, "mallory"));
	bed.dialler.node_id = 2;
	expect_refusal(1, "the caller says that it is node 2, and its certificate that it is admin "
	                  "mallory of cluster demo");
}
END_TEST

START_TEST(test_a_node_that_says_it_is_another_one_is_refused)
{
	call_as(certs_node(3));
	bed.dialler.node_id = 2;
	expect_refusal(1, "its certificate that it is node 3");
}
END_TEST

START_TEST(test_a_caller_hears_nothing_from_another_node_than_the_one_it_means)
{
	call_as(certs_node(2));
	expect_refusal(3, "its certificate says that it is node 1 of cluster demo, not node 3");
}
END_TEST

START_TEST(test_a_node_must_be_whom_its_certificate_names)
{
	bed.node.node_id = 4;
	call_as(certs_named(CERT_CLIENT, "alice"));
	bed.n_accepted = 0;
	struct end *d = bed_dial(0);

	BED_UNTIL(d->closed == 1);
	ck_assert_int_eq(d->why.code, RFS_EIDENTITY);
	ck_assert_ptr_nonnull(
	        strstr(d->why.msg, "says that it is node 4, but its certificate does not"));
}
END_TEST

START_TEST(test_a_plain_caller_is_told_and_nothing_more)
{
	struct wire_hello_reply r = {0};
	struct rfs_err err;
	struct frame f;
	size_t used;
	int fd = raw_connect();
	struct wire_hello h = {1, 2, "demo", 0, 0, 0, ""};

	wire_put_hello(&b, &h);
	raw_send_buf(fd, &b);
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_int_eq(wire_get_hello_reply(f.payload, f.len, &r, &err), 0);
	ck_assert_int_eq(r.code, RFS_EIDENTITY);
	ck_assert_str_eq(r.cluster, "");
	ck_assert_uint_eq(r.node_id + r.incarnation, 0);
	ck_assert_ptr_nonnull(strstr(r.text, "under TLS alone"));
	ck_assert_uint_eq(bed.n_accepted, 0);
	close(fd);
}
END_TEST

START_TEST(test_a_caller_under_tls_of_a_plain_node_is_told_what_may_be_wrong)
{
	struct end *d;

	bed.node.tls = NULL;
	call_as(certs_named(CERT_CLIENT, "alice"));
	d = bed_dial(0);
	BED_UNTIL(d->closed == 1);
	ck_assert_ptr_nonnull(strstr(d->why.msg, "in the TLS handshake (is TLS on there?)"));
	ck_assert_uint_eq(d->ready, 0);
}
END_TEST

/* ---- on the way from none to all ---- */

static struct tls_context *optional_of(struct cert_name who)
{
	struct tls_files files = certs_issue(ca, who, 30);

	return certs_load(&files, true);
}

START_TEST(test_where_tls_is_optional_all_combinations_connect)
{
	struct tls_context *node = optional_of(certs_node(5));
	struct tls_context *alice = certs_context(ca, certs_named(CERT_CLIENT, "alice"));
	struct tls_context *bob = optional_of(certs_named(CERT_CLIENT, "bob"));
	const struct {
		struct tls_context *listens, *dials;
		bool plain;
	} cases[] = {
	        {node, NULL, true},
	        {node, alice, false},
	        {node, bob, false},
	        {NULL, bob, true},
	};

	bed.node.node_id = 5;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct end *d, *a;

		bed.node.tls = cases[i].listens;
		bed.dialler.tls = cases[i].dials;
		bed_connect(&d, &a);
		ck_assert_int_eq(net_conn_is_plain(a->conn), cases[i].plain);
		ck_assert_int_eq(net_conn_is_plain(d->conn), cases[i].plain);
		bed_put_frame(net_conn_out(d->conn), 0, 100);
		net_conn_flush(d->conn);
		BED_UNTIL(a->frames == 1);
	}
}
END_TEST

START_TEST(test_a_client_that_requires_tls_never_goes_on_without)
{
	struct end *d;

	bed.node.tls = NULL;
	bed.dialler.tls = certs_context(ca, certs_named(CERT_CLIENT, "alice"));
	d = bed_dial(0);
	BED_UNTIL(d->closed == 1);
	bed_settle();
	ck_assert_uint_eq(d->ready + bed.n_accepted, 0);
}
END_TEST

/* ---- cut, garbage, floods ---- */

/* Our own end by hand: what a client says up to its hello, without a socket of its own. */
static struct tls_stream *hand_stream(struct tls_context *t, int fd, size_t cut, size_t *said)
{
	struct tls_stream *s = tls_stream_new(t, false);
	struct wire_hello h = {1, 2, "demo", 0, 0, 0, ""};
	struct buf plain, in;
	struct rfs_err err;
	bool greeted = false;

	buf_init(&plain);
	buf_init(&in);
	for (*said = 0;;) {
		struct buf *out = tls_stream_out(s);
		size_t n = out->len < cut - *said ? out->len : cut - *said;
		ssize_t got;

		raw_send(fd, out->data, n);
		*said += n;
		buf_consume(out, n);
		if (*said == cut || (greeted && plain.len > 0))
			break;
		got = recv(fd, buf_reserve(&in, 65536), 65536, MSG_DONTWAIT);
		if (got > 0)
			ck_assert_int_eq(tls_stream_take(s, in.data, (size_t)got, &plain, &err), 0);
		if (tls_stream_is_ready(s) && !greeted) {
			wire_put_hello(&b, &h);
			ck_assert_int_eq(tls_stream_seal(s, &b, &err), 0);
			greeted = true;
		}
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	buf_free(&in);
	buf_free(&plain);
	return s;
}

START_TEST(test_a_certificate_of_another_cluster_is_refused_by_both)
{
	const char *other = certs_authority("prod", "prod");
	struct tls_files ours = certs_issue(ca, certs_node(2), 30);
	struct tls_files theirs = certs_issue(other, certs_named(CERT_CLIENT, "alice"), 30);
	char cmd[4 * TLS_PATH_MAX];
	size_t said;
	int fd;

	/* both authorities for both, so that only the names tell */
	(void)snprintf(cmd, sizeof(cmd), "cat %s/ca.pem >>%s && cp %s %s", ca, theirs.ca, theirs.ca,
	               ours.ca);
	ck_assert_int_eq(system(cmd), 0);
	bed.node.tls = certs_load(&ours, false);
	bed.node.node_id = 2;
	bed.dialler.tls = certs_load(&theirs, false);
	bed.dialler.cluster[0] = '\0';
	expect_refusal(
	        0, "its certificate says that it is node 2 of cluster demo, not of cluster prod");
	/* and if it does not care, it is not let in */
	fd = raw_connect();
	tls_stream_free(hand_stream(bed.dialler.tls, fd, SIZE_MAX, &said));
	bed_settle();
	ck_assert_uint_eq(bed.n_accepted, 0);
	close(fd);
}
END_TEST

START_TEST(test_a_caller_that_is_cut_off_anywhere_leaves_nothing)
{
	struct tls_context *t = certs_context(ca, certs_named(CERT_CLIENT, "hand"));
	size_t whole, said;
	int fd = raw_connect();

	tls_stream_free(hand_stream(t, fd, SIZE_MAX, &whole));
	BED_UNTIL(bed.n_accepted == 1);
	close(fd);
	BED_UNTIL(bed.accepted[0].closed == 1);
	/* signatures are of a few bytes more or less: stop short of where the hello may be whole */
	for (size_t cut = 1 + (size_t)_i; cut < whole - 16; cut += CUT_TESTS) {
		fd = raw_connect();
		tls_stream_free(hand_stream(t, fd, cut, &said));
		ck_assert_uint_eq(said, cut);
		close(fd);
		bed_settle();
		ck_assert_uint_eq(bed.n_accepted, 1);
	}
}
END_TEST

/* Who is dialled says the first `cut` bytes of its answer, and no more. */
static void answer_cut(struct tls_context *t, size_t cut, struct end *d, int listening,
                       size_t *said)
{
	struct tls_stream *s = tls_stream_new(t, true);
	int fd = raw_accept(listening);
	struct buf plain, in;
	struct rfs_err err;

	buf_init(&plain);
	buf_init(&in);
	for (*said = 0; *said < cut && !tls_stream_is_ready(s);) {
		struct buf *out = tls_stream_out(s);
		size_t n = out->len < cut - *said ? out->len : cut - *said;
		ssize_t got;

		raw_send(fd, out->data, n);
		*said += n;
		buf_consume(out, n);
		got = recv(fd, buf_reserve(&in, 65536), 65536, MSG_DONTWAIT);
		if (got > 0)
			ck_assert_int_eq(tls_stream_take(s, in.data, (size_t)got, &plain, &err), 0);
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	close(fd);
	tls_stream_free(s);
	buf_free(&in);
	buf_free(&plain);
	BED_UNTIL(d->closed == 1);
	ck_assert_uint_eq(d->ready, 0);
}

START_TEST(test_who_is_dialled_and_cut_off_anywhere_is_not_taken_for_up)
{
	struct tls_context *t = certs_context(ca, certs_node(7));
	size_t whole, said;
	uint16_t port;
	int fd = raw_listen(&port);

	call_as(certs_named(CERT_CLIENT, "alice"));
	answer_cut(t, SIZE_MAX, bed_dial_to("127.0.0.1", port, 7), fd, &whole);
	for (size_t cut = 1 + (size_t)_i; cut < whole; cut += CUT_TESTS) {
		bed.n_dialled = 0;
		memset(&bed.dialled[0], 0, sizeof(bed.dialled[0]));
		answer_cut(t, cut, bed_dial_to("127.0.0.1", port, 7), fd, &said);
	}
	close(fd);
}
END_TEST

START_TEST(test_garbage_that_begins_like_tls_ends_its_connection_only)
{
	struct end *d, *a;
	int fd;

	call_as(certs_named(CERT_CLIENT, "alice"));
	bed_connect(&d, &a);
	fd = raw_connect();
	raw_send(fd, "\x16\x03\x01\x00\x20 this is no hello of a client at all", 40);
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	close(fd);
	bed_put_frame(net_conn_out(d->conn), 0, 10);
	net_conn_flush(d->conn);
	BED_UNTIL(a->frames == 1);
	ck_assert_uint_eq(a->closed, 0);
}
END_TEST

START_TEST(test_half_a_handshake_is_given_up_in_time)
{
	int fd;

	bed.limits.connect_timeout_ms = 50;
	fd = raw_connect();
	raw_send(fd, "\x16\x03\x01", 3);
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	close(fd);
	fd = raw_connect();
	raw_send(fd, "\x16", 1);
	ck_assert(raw_read(fd, &b, SIZE_MAX));
	close(fd);
	ck_assert_uint_eq(bed.n_accepted, 0);
}
END_TEST

START_TEST(test_those_who_never_end_their_handshake_keep_nobody_out)
{
	int fds[24];
	struct end *d, *a;

	bed.limits.handshakes_max = 8;
	for (int i = 0; i < 24; i++) {
		fds[i] = raw_connect();
		raw_send(fds[i], "\x16\x03\x01", 3);
	}
	bed_settle();
	call_as(certs_named(CERT_CLIENT, "alice"));
	bed_connect(&d, &a);
	/* the oldest made room */
	ck_assert(raw_read(fds[0], &b, SIZE_MAX));
	for (int i = 0; i < 24; i++)
		close(fds[i]);
}
END_TEST

START_TEST(test_handshakes_that_come_at_once_take_turns)
{
	struct tls_context *t = certs_context(ca, certs_named(CERT_CLIENT, "flood"));
	enum { N = 100 };
	int fds[N], answered = 0;

	bed.limits.connect_timeout_ms = 9000;
	for (int i = 0; i < N; i++) {
		struct tls_stream *s = tls_stream_new(t, false);

		fds[i] = raw_connect();
		raw_send_buf(fds[i], tls_stream_out(s));
		tls_stream_free(s);
	}
	/* after one turn, in which all have come, most still wait; in the end all are answered */
	uv_run(&bed.loop, UV_RUN_NOWAIT);
	uv_run(&bed.loop, UV_RUN_NOWAIT);
	for (int i = 0; i < N; i++) {
		char c;

		answered += recv(fds[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
	}
	ck_assert_int_lt(answered, N / 2);
	for (int i = 0; i < N; i++) {
		ck_assert(!raw_read(fds[i], &b, 1));
		buf_clear(&b);
		close(fds[i]);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_tls");
	TCase *t = tcase_create("net_tls");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_each_end_knows_the_other_by_its_certificate);
	tcase_add_test(t, test_every_role_is_what_its_certificate_says);
	tcase_add_test(t, test_a_client_that_says_it_is_a_node_is_refused);
	tcase_add_test(t, test_a_node_that_says_it_is_another_one_is_refused);
	tcase_add_test(t, test_a_certificate_of_another_cluster_is_refused_by_both);
	tcase_add_test(t, test_a_caller_hears_nothing_from_another_node_than_the_one_it_means);
	tcase_add_test(t, test_a_node_must_be_whom_its_certificate_names);
	tcase_add_test(t, test_a_plain_caller_is_told_and_nothing_more);
	tcase_add_test(t, test_a_caller_under_tls_of_a_plain_node_is_told_what_may_be_wrong);
	tcase_add_test(t, test_where_tls_is_optional_all_combinations_connect);
	tcase_add_test(t, test_a_client_that_requires_tls_never_goes_on_without);
	tcase_add_loop_test(t, test_a_caller_that_is_cut_off_anywhere_leaves_nothing, 0, CUT_TESTS);
	tcase_add_loop_test(t, test_who_is_dialled_and_cut_off_anywhere_is_not_taken_for_up, 0,
	                    CUT_TESTS);
	tcase_add_test(t, test_garbage_that_begins_like_tls_ends_its_connection_only);
	tcase_add_test(t, test_half_a_handshake_is_given_up_in_time);
	tcase_add_test(t, test_those_who_never_end_their_handshake_keep_nobody_out);
	tcase_add_test(t, test_handshakes_that_come_at_once_take_turns);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

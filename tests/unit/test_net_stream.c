/* net/: frames on an open connection, whole, in order, and in bounds. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../support/certs.h"
#include "../support/netbed.h"

static struct buf b;

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

/* The same under TLS, for tests whose ends are both ours. */
static void setup_tls(void)
{
	const char *dir;

	certs_setup();
	setup();
	dir = certs_authority("stream", "demo");
	bed.node.tls = certs_context(dir, certs_node(1));
	bed.dialler.tls = certs_context(dir, certs_named(CERT_CLIENT, "alice"));
}

static void teardown_tls(void)
{
	teardown();
	certs_teardown();
}

START_TEST(test_frames_leave_with_the_flush_and_arrive_in_order)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	for (uint32_t i = 0; i < 100000; i++)
		bed_put_frame(net_conn_out(d->conn), i, 4 + i % 100);
	bed_settle();
	ck_assert_uint_eq(a->frames, 0);
	net_conn_flush(d->conn);
	BED_UNTIL(a->frames == 100000);
	ck_assert(a->in_order);
	ck_assert_uint_eq(a->last_type, FRAME_RAFT);
	BED_UNTIL(net_conn_queued(d->conn) == 0);
}
END_TEST

START_TEST(test_frames_put_while_a_write_is_under_way_follow_it)
{
	struct end *d, *a;
	uint32_t n = 0;

	bed_connect(&d, &a);
	net_conn_pause(a->conn, true);
	while (net_conn_queued(d->conn) == 0) {
		bed_put_frame(net_conn_out(d->conn), n++, 1u << 20);
		net_conn_flush(d->conn);
	}
	for (int i = 0; i < 1000; i++) {
		bed_put_frame(net_conn_out(d->conn), n++, 100);
		net_conn_flush(d->conn);
	}
	ck_assert_uint_gt(net_conn_queued(d->conn), 100000);
	net_conn_pause(a->conn, false);
	/* nobody flushes again: what waits behind a write goes with its completion */
	BED_UNTIL(a->frames == n);
	ck_assert(a->in_order);
}
END_TEST

START_TEST(test_large_frames_pass_both_ways_at_once)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	for (uint32_t i = 0; i < 3; i++) {
		bed_put_frame(net_conn_out(d->conn), i, 4u << 20);
		bed_put_frame(net_conn_out(a->conn), i, i == 2 ? FRAME_PAYLOAD_MAX : 4u << 20);
	}
	net_conn_flush(d->conn);
	net_conn_flush(a->conn);
	BED_UNTIL(d->frames == 3 && a->frames == 3);
	ck_assert(d->in_order && a->in_order);
	ck_assert_uint_eq(a->bytes, 3u * (4u << 20));
	ck_assert_uint_eq(d->bytes, 2u * (4u << 20) + FRAME_PAYLOAD_MAX);
}
END_TEST

START_TEST(test_a_connection_delivered_byte_by_byte_is_the_same)
{
	struct wire_hello h = {1, 1, "demo", 0, 0, 0, ""};
	struct end *a = &bed.accepted[0];
	int fd = raw_connect();

	wire_put_hello(&b, &h);
	for (uint32_t i = 0; i < 3; i++)
		bed_put_frame(&b, i, 20);
	for (size_t i = 0; i < b.len; i++) {
		raw_send(fd, b.data + i, 1);
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	BED_UNTIL(a->frames == 3);
	ck_assert(a->in_order);
	close(fd);
}
END_TEST

START_TEST(test_frames_sent_right_behind_the_hello_are_taken)
{
	struct wire_hello h = {1, 1, "demo", 0, 0, 0, ""};
	struct end *a = &bed.accepted[0];
	int fd = raw_connect();

	wire_put_hello(&b, &h);
	for (uint32_t i = 0; i < 100; i++)
		bed_put_frame(&b, i, 20);
	raw_send_buf(fd, &b);
	BED_UNTIL(a->frames == 100);
	ck_assert(a->in_order);
	close(fd);
}
END_TEST

/* ---- broken rules ---- */

/* A peer that has said hello sends `b` and closes; the connection ends with `code` and `words`, any
 * other goes on. */
static void expect_end(unsigned frames_before, int code, const char *words)
{
	struct end *d, *other, *a;
	int fd;

	bed_connect(&d, &other);
	fd = raw_client();
	a = &bed.accepted[1];
	raw_send_buf(fd, &b);
	if (code == -EPIPE)
		ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	BED_UNTIL(a->closed == 1);
	ck_assert_int_eq(a->why.code, code);
	ck_assert_msg(strncmp(a->why.msg, "127.0.0.1:", 10) == 0, "%s", a->why.msg);
	ck_assert_msg(strstr(a->why.msg, words) != NULL, "%s", a->why.msg);
	ck_assert_uint_eq(a->frames, frames_before);
	close(fd);
	bed_put_frame(net_conn_out(d->conn), 0, 10);
	net_conn_flush(d->conn);
	BED_UNTIL(other->frames == 1);
}

START_TEST(test_a_frame_too_long_ends_the_connection)
{
	bed_put_frame(&b, 0, 10);
	buf_put(&b, "\xff\xff\xff\xff", 4);
	expect_end(1, RFS_EPROTO, "frame of 4294967295 bytes exceeds 8388608");
}
END_TEST

START_TEST(test_a_frame_with_a_flipped_bit_ends_the_connection)
{
	bed_put_frame(&b, 0, 10);
	bed_put_frame(&b, 1, 10);
	bed_put_frame(&b, 2, 10);
	b.data[b.len - 24] ^= 0x10;
	expect_end(1, RFS_ECORRUPT, "fails its checksum");
}
END_TEST

START_TEST(test_a_frame_cut_by_the_peers_end_is_told_as_such)
{
	bed_put_frame(&b, 0, 10);
	bed_put_frame(&b, 1, 100);
	b.len -= 50;
	expect_end(1, -EPIPE, "closed by the peer, 62 bytes into a frame");
}
END_TEST

START_TEST(test_an_end_between_frames_is_told_as_such)
{
	bed_put_frame(&b, 0, 10);
	expect_end(1, -EPIPE, "connection closed by the peer");
}
END_TEST

/* ---- bounds ---- */

START_TEST(test_a_peer_that_does_not_read_is_given_up_at_the_limit)
{
	struct end *a = &bed.accepted[0];
	uint32_t n = 0;
	int fd;

	bed.limits.queue_bytes_max = 1u << 20;
	fd = raw_client();
	while (net_conn_is_ready(a->conn)) {
		ck_assert_uint_lt(n, 1000);
		bed_put_frame(net_conn_out(a->conn), n++, 64u << 10);
		net_conn_flush(a->conn);
		ck_assert_msg(a->closed == 0, "on_close from inside net_conn_flush()");
		if (net_conn_is_ready(a->conn))
			ck_assert_uint_le(net_conn_queued(a->conn), 1u << 20);
	}
	/* still ours until on_close: more of it goes nowhere and does no harm */
	bed_put_frame(net_conn_out(a->conn), n++, 64u << 10);
	net_conn_flush(a->conn);
	BED_UNTIL(a->closed == 1);
	ck_assert_int_eq(a->why.code, -ENOBUFS);
	ck_assert_ptr_nonnull(strstr(a->why.msg, "limit 1048576"));
	close(fd);
}
END_TEST

START_TEST(test_a_peer_that_takes_nothing_is_given_up_at_the_limit)
{
	struct end *d, *a;
	uint32_t n = 0;

	bed.limits.queue_bytes_max = 1u << 20;
	bed_connect(&d, &a);
	net_conn_pause(d->conn, true);
	while (net_conn_is_ready(a->conn)) {
		ck_assert_uint_lt(n, 1000);
		bed_put_frame(net_conn_out(a->conn), n++, 64u << 10);
		net_conn_flush(a->conn);
		if (net_conn_is_ready(a->conn))
			ck_assert_uint_le(net_conn_queued(a->conn), 1u << 20);
	}
	BED_UNTIL(a->closed == 1);
	ck_assert_int_eq(a->why.code, -ENOBUFS);
}
END_TEST

START_TEST(test_closing_inside_on_frame_lets_no_further_frame_through)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	a->close_at = 2;
	for (uint32_t i = 0; i < 10; i++)
		bed_put_frame(net_conn_out(d->conn), i, 10);
	net_conn_flush(d->conn);
	BED_UNTIL(a->closed == 1 && d->closed == 1);
	ck_assert_uint_eq(a->frames, 2);
	ck_assert_int_eq(a->why.code, 0);
	ck_assert(d->why.code == -EPIPE || d->why.code == -ECONNRESET);
}
END_TEST

START_TEST(test_a_paused_connection_delivers_the_rest_after_its_resume)
{
	struct end *d, *a;

	bed_connect(&d, &a);
	a->pause_at = 3;
	for (uint32_t i = 0; i < 10; i++)
		bed_put_frame(net_conn_out(d->conn), i, 10);
	net_conn_flush(d->conn);
	BED_UNTIL(a->frames == 3);
	/* more comes meanwhile; it stays outside */
	for (uint32_t i = 10; i < 20; i++)
		bed_put_frame(net_conn_out(d->conn), i, 10);
	net_conn_flush(d->conn);
	bed_settle();
	ck_assert_uint_eq(a->frames, 3);
	net_conn_pause(a->conn, false);
	ck_assert_uint_eq(a->frames, 3);
	net_conn_pause(a->conn, true);
	bed_settle();
	ck_assert_uint_eq(a->frames, 3);
	net_conn_pause(a->conn, false);
	BED_UNTIL(a->frames == 20);
	ck_assert(a->in_order);
}
END_TEST

START_TEST(test_a_peer_that_leaves_while_paused_is_heard_to_its_end)
{
	struct end *a = &bed.accepted[0];
	int fd = raw_client();

	a->pause_at = 1;
	for (uint32_t i = 0; i < 10; i++)
		bed_put_frame(&b, i, 10);
	raw_send_buf(fd, &b);
	close(fd);
	BED_UNTIL(a->frames == 1);
	bed_settle();
	ck_assert_uint_eq(a->closed, 0);
	net_conn_pause(a->conn, false);
	BED_UNTIL(a->closed == 1);
	ck_assert_uint_eq(a->frames, 10);
}
END_TEST

START_TEST(test_pausing_before_or_at_ready_holds_the_first_frame)
{
	struct end *d[2], *a[2];

	bed.accepted[0].pause_at_ready = true;
	bed_connect(&d[0], &a[0]);
	d[1] = bed_dial(0);
	net_conn_pause(d[1]->conn, true);
	BED_UNTIL(d[1]->ready == 1);
	a[1] = &bed.accepted[1];
	bed_put_frame(net_conn_out(d[0]->conn), 0, 10);
	net_conn_flush(d[0]->conn);
	bed_put_frame(net_conn_out(a[1]->conn), 0, 10);
	net_conn_flush(a[1]->conn);
	bed_settle();
	ck_assert_uint_eq(a[0]->frames + d[1]->frames, 0);
	net_conn_pause(a[0]->conn, false);
	net_conn_pause(d[1]->conn, false);
	BED_UNTIL(a[0]->frames == 1 && d[1]->frames == 1);
}
END_TEST

START_TEST(test_writing_to_a_peer_that_is_gone_ends_the_connection_not_the_process)
{
	struct end *a = &bed.accepted[0];
	int fd = raw_client();

	net_conn_pause(a->conn, true); /* so that the write, not the read, finds out */
	close(fd);
	for (uint32_t i = 0; a->closed == 0; i++) {
		bed_put_frame(net_conn_out(a->conn), i, 1000);
		net_conn_flush(a->conn);
		uv_run(&bed.loop, UV_RUN_NOWAIT);
	}
	ck_assert(a->why.code == -EPIPE || a->why.code == -ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_stream");
	TCase *t = tcase_create("net_stream"), *tls = tcase_create("net_stream under TLS");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, test_frames_leave_with_the_flush_and_arrive_in_order);
	tcase_add_test(t, test_frames_put_while_a_write_is_under_way_follow_it);
	tcase_add_test(t, test_large_frames_pass_both_ways_at_once);
	tcase_add_test(t, test_a_connection_delivered_byte_by_byte_is_the_same);
	tcase_add_test(t, test_frames_sent_right_behind_the_hello_are_taken);
	tcase_add_test(t, test_a_frame_too_long_ends_the_connection);
	tcase_add_test(t, test_a_frame_with_a_flipped_bit_ends_the_connection);
	tcase_add_test(t, test_a_frame_cut_by_the_peers_end_is_told_as_such);
	tcase_add_test(t, test_an_end_between_frames_is_told_as_such);
	tcase_add_test(t, test_a_peer_that_does_not_read_is_given_up_at_the_limit);
	tcase_add_test(t, test_a_peer_that_takes_nothing_is_given_up_at_the_limit);
	tcase_add_test(t, test_closing_inside_on_frame_lets_no_further_frame_through);
	tcase_add_test(t, test_a_paused_connection_delivers_the_rest_after_its_resume);
	tcase_add_test(t, test_a_peer_that_leaves_while_paused_is_heard_to_its_end);
	tcase_add_test(t, test_pausing_before_or_at_ready_holds_the_first_frame);
	tcase_add_test(t, test_writing_to_a_peer_that_is_gone_ends_the_connection_not_the_process);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(tls, setup_tls, teardown_tls);
	tcase_set_timeout(tls, 30);
	tcase_add_test(tls, test_frames_leave_with_the_flush_and_arrive_in_order);
	tcase_add_test(tls, test_frames_put_while_a_write_is_under_way_follow_it);
	tcase_add_test(tls, test_large_frames_pass_both_ways_at_once);
	tcase_add_test(tls, test_closing_inside_on_frame_lets_no_further_frame_through);
	tcase_add_test(tls, test_a_paused_connection_delivers_the_rest_after_its_resume);
	tcase_add_test(tls, test_pausing_before_or_at_ready_holds_the_first_frame);
	tcase_add_test(tls, test_a_peer_that_takes_nothing_is_given_up_at_the_limit);
	suite_add_tcase(s, tls);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

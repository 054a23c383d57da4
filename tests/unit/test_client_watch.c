/* client/watch.c: each change once and in order, whatever the nodes do. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/log.h"
#include "../../src/client/client.h"
#include "../support/fake_cluster.h"

static uv_loop_t loop;
static struct fake_cluster *f;
static struct client *client;
static struct client_opts opts;
static bool closed;

/* What the watch has told. */
static uint64_t last, n_told, lost_from, lost_to;
static unsigned calls, empty_calls;
static struct client_watch *watch;
static uint64_t end_at; /* client_watch_end() in the callback that tells of it */

static void on_events(void *ctx, const struct wire_events *ev)
{
	(void)ctx;
	calls++;
	empty_calls += ev->n == 0;
	if (ev->lost_to != 0) {
		ck_assert_uint_eq(lost_to, 0);
		lost_from = ev->lost_from;
		lost_to = ev->lost_to;
		last = ev->lost_to;
	}
	for (size_t i = 0; i < ev->n; i++) {
		ck_assert_msg(last == 0 || ev->events[i].index == last + 1, "%llu behind %llu",
		              (unsigned long long)ev->events[i].index, (unsigned long long)last);
		last = ev->events[i].index;
		n_told++;
	}
	if (end_at != 0 && last >= end_at) {
		client_watch_end(watch);
		watch = NULL;
	}
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	last = n_told = lost_from = lost_to = end_at = 0;
	calls = empty_calls = 0;
	closed = false;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	f = fake_cluster_new(&loop, "demo", 3);
	opts = (struct client_opts){.cluster = "demo", .n_nodes = 3};
	for (uint64_t id = 1; id <= 3; id++)
		opts.nodes[id - 1] = fake_address(f, id);
	client = client_new(&loop, &opts);
}

static void on_closed(void *ctx)
{
	(void)ctx;
	closed = true;
}

#define RUN_UNTIL(cond)                                                                            \
	do {                                                                                       \
		uv_update_time(&loop);                                                             \
		uint64_t begin = uv_now(&loop);                                                    \
		while (!(cond)) {                                                                  \
			ck_assert_msg(uv_now(&loop) - begin < 15000,                               \
			              "waited too long for " #cond);                               \
			(void)uv_run(&loop, UV_RUN_ONCE);                                          \
		}                                                                                  \
	} while (0)

static void teardown(void)
{
	client_close(client, on_closed, NULL);
	RUN_UNTIL(closed);
	if (watch != NULL)
		client_watch_end(watch);
	watch = NULL;
	fake_cluster_free(f);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0)
		continue;
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void begin_at(uint64_t from)
{
	struct client_watch_opts o = {.from_index = from};

	watch = client_watch(client, &o, on_events, NULL);
}

static void change(unsigned n)
{
	while (n-- > 0)
		fake_change(f);
}

/* The node that the watch is at. */
static struct fake_node *node_of_watch(void)
{
	struct fake_node *at = NULL;

	for (uint64_t id = 1; id <= 3; id++)
		if (fake_node(f, id)->n_watches > 0)
			at = fake_node(f, id);
	ck_assert_ptr_nonnull(at);
	return at;
}

START_TEST(test_everything_from_an_index_on_and_then_as_it_happens)
{
	change(200); /* more than one frame holds */
	begin_at(3);
	RUN_UNTIL(last >= 66);
	change(1);
	RUN_UNTIL(last == 201);
	ck_assert_uint_eq(n_told, 199);
	change(5);
	RUN_UNTIL(last == 206);
}
END_TEST

START_TEST(test_from_now_on_leaves_out_what_was)
{
	change(10);
	begin_at(0);
	RUN_UNTIL(empty_calls > 0);
	change(2);
	RUN_UNTIL(last == 12);
	ck_assert_uint_eq(n_told, 2);
}
END_TEST

START_TEST(test_a_node_that_goes_away_is_followed_by_another)
{
	begin_at(1);
	for (unsigned round = 0; round < 3; round++) {
		struct fake_node *n;

		change(4);
		RUN_UNTIL(last == f->n_changes);
		n = node_of_watch();
		n->n_watches = 0;
		fake_stop(n);
		change(4);
		RUN_UNTIL(last == f->n_changes);
		fake_start(n);
		for (uint64_t id = 1; id <= 3; id++)
			fake_node(f, id)->n_watches = fake_node(f, id)->n_watches > 0;
	}
	ck_assert_uint_eq(n_told, 24);
}
END_TEST

START_TEST(test_a_silent_node_and_one_without_a_leader_are_left)
{
	struct fake_node *n;

	begin_at(1);
	change(1);
	RUN_UNTIL(last == 1);
	n = node_of_watch();
	n->frozen = true; /* the connection stays */
	change(3);
	RUN_UNTIL(last == 4);
	fake_thaw(n);
	for (uint64_t id = 1; id <= 3; id++)
		fake_node(f, id)->leaderless = true;
	n->leaderless = false;
	RUN_UNTIL(n->n_watches >= 1 && n->n_watches + empty_calls > 1);
	change(1);
	RUN_UNTIL(last == 5);
	ck_assert_uint_eq(n_told, 5);
}
END_TEST

START_TEST(test_what_one_node_has_lost_another_may_have)
{
	change(20);
	fake_node(f, 1)->events_from = 15;
	fake_node(f, 2)->events_from = 10;
	begin_at(5);
	RUN_UNTIL(last == 20);
	ck_assert_uint_eq(lost_to, 0);
	ck_assert_uint_eq(n_told, 16);
}
END_TEST

START_TEST(test_what_all_have_lost_is_said_and_the_rest_is_told)
{
	change(20);
	for (uint64_t id = 1; id <= 3; id++)
		fake_node(f, id)->events_from = 20 - 3 * id; /* 17, 14, 11 */
	begin_at(5);
	RUN_UNTIL(last == 20);
	ck_assert_uint_eq(lost_from, 5);
	ck_assert_uint_eq(lost_to, 10); /* the one that has most of it goes on */
	ck_assert_uint_eq(n_told, 10);
}
END_TEST

START_TEST(test_a_watch_may_end_in_its_own_callback)
{
	change(5);
	end_at = 5;
	begin_at(1);
	RUN_UNTIL(watch == NULL);
	change(2);
	for (int i = 0; i < 20; i++)
		(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(last, 5);
}
END_TEST

static unsigned n_recent;
static int recent_code;
static size_t recent_events;

static void on_recent(void *ctx, const struct wire_events *ev, const struct rfs_err *err)
{
	(void)ctx;
	n_recent++;
	recent_code = err->code;
	recent_events = ev != NULL ? ev->n : 0;
}

START_TEST(test_the_latest_ones_are_told_once)
{
	change(20);
	n_recent = 0;
	client_recent(client, 7, 5000, on_recent, NULL);
	RUN_UNTIL(n_recent == 1);
	ck_assert_int_eq(recent_code, 0);
	ck_assert_uint_eq(recent_events, 7);
	for (uint64_t id = 1; id <= 3; id++)
		fake_stop(fake_node(f, id));
	client_recent(client, 7, 50, on_recent, NULL);
	RUN_UNTIL(n_recent == 2);
	ck_assert_int_ne(recent_code, 0);
	client_recent(client, 7, 5000, on_recent, NULL); /* client_close() ends it */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client_watch");
	TCase *t = tcase_create("watch");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_everything_from_an_index_on_and_then_as_it_happens);
	tcase_add_test(t, test_from_now_on_leaves_out_what_was);
	tcase_add_test(t, test_a_node_that_goes_away_is_followed_by_another);
	tcase_add_test(t, test_a_silent_node_and_one_without_a_leader_are_left);
	tcase_add_test(t, test_what_one_node_has_lost_another_may_have);
	tcase_add_test(t, test_what_all_have_lost_is_said_and_the_rest_is_told);
	tcase_add_test(t, test_a_watch_may_end_in_its_own_callback);
	tcase_add_test(t, test_the_latest_ones_are_told_once);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

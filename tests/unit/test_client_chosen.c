/* client/: the node that is asked first. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/log.h"
#include "../../src/base/mem.h"
#include "../../src/client/client.h"
#include "../support/fake_cluster.h"

#define LONG_MS 20000u

/* What became of one request. */
struct got {
	unsigned calls;
	int err;
	uint64_t value;
	char data[64];
};

static uv_loop_t loop;
static struct fake_cluster *f;
static struct client *client;
static struct client_opts opts;
static unsigned n_closed;

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	n_closed = 0;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	f = fake_cluster_new(&loop, "demo", 3);
	memset(&opts, 0, sizeof(opts));
	memcpy(opts.cluster, "demo", 5);
	opts.session_timeout_ms = 10000;
}

static void on_closed(void *ctx)
{
	(void)ctx;
	n_closed++;
	client = NULL;
}

static uint64_t run_started_ms;

static void run_begin(void)
{
	uv_update_time(&loop);
	run_started_ms = uv_now(&loop);
}

static uint64_t elapsed_ms(void)
{
	uv_update_time(&loop);
	return uv_now(&loop) - run_started_ms;
}

/* The client's own timer keeps the loop turning. */
#define RUN_UNTIL(cond)                                                                            \
	do {                                                                                       \
		run_begin();                                                                       \
		while (!(cond)) {                                                                  \
			ck_assert_msg(elapsed_ms() < 10000, "waited too long for " #cond);         \
			(void)uv_run(&loop, UV_RUN_ONCE);                                          \
		}                                                                                  \
	} while (0)

static void teardown(void)
{
	if (client != NULL) {
		client_close(client, on_closed, NULL);
		RUN_UNTIL(n_closed == 1);
	}
	fake_cluster_free(f);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0)
		continue;
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* A client that knows nodes first … last. */
static void start(uint64_t first, uint64_t last)
{
	for (uint64_t id = first; id <= last; id++)
		opts.nodes[opts.n_nodes++] = fake_address(f, id);
	client = client_new(&loop, &opts);
}

static void on_answer(void *ctx, const struct fs_result *r)
{
	struct got *g = ctx;

	g->calls++;
	g->err = r->err;
	g->value = r->value;
	if (r->data_len > 0 && r->data_len < sizeof(g->data))
		memcpy(g->data, r->data, r->data_len);
}

static struct client_req *put(struct got *g, uint64_t timeout_ms)
{
	struct fs_op op = {.kind = FS_OP_PUT, .name = FS_STR("color"), .data = "blue"};

	op.data_len = 4;
	memset(g, 0, sizeof(*g));
	return client_submit(client, &op, timeout_ms, on_answer, g);
}

static struct client_req *get(struct got *g, uint64_t timeout_ms)
{
	struct fs_op op = {.kind = FS_OP_GET, .name = FS_STR("color")};

	memset(g, 0, sizeof(*g));
	return client_submit(client, &op, timeout_ms, on_answer, g);
}

static void put_and_wait(void)
{
	struct got g;

	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
}

static struct client_info info(void)
{
	struct client_info i;

	client_get_info(client, &i);
	return i;
}

static void on_events(void *ctx, const struct wire_events *ev)
{
	(void)ctx;
	(void)ev;
}

/* How many requests of that kind a node was sent. */
static size_t seen(uint64_t node, enum fs_op_kind kind)
{
	const struct fake_node *n = fake_node(f, node);
	size_t count = 0;

	for (size_t i = 0; i < n->n_seen; i++)
		count += n->seen[i].kind == kind;
	return count;
}

static void choose(uint64_t node)
{
	struct config_node at = fake_address(f, node);

	client_choose(client, &at);
	RUN_UNTIL(info().chosen_ready);
	ck_assert_uint_eq(info().chosen, node);
}

static void get_and_wait(void)
{
	struct got g;

	(void)get(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
}

START_TEST(test_the_chosen_node_serves_reads_and_leaves_changes_to_the_leader)
{
	start(1, 3);
	for (uint64_t id = 2; id <= 3; id++)
		fake_node(f, id)->serves_reads = true;
	choose(2);
	get_and_wait();
	ck_assert_uint_eq(seen(2, FS_OP_GET), 1);
	ck_assert_uint_eq(info().passed_on, 0);
	put_and_wait();
	ck_assert_uint_eq(seen(2, FS_OP_PUT), 1);
	ck_assert_uint_eq(seen(1, FS_OP_PUT), 1);
	ck_assert_uint_eq(fake_node(f, 2)->seen[1].seq, 1); /* the same change */
	ck_assert_uint_eq(info().passed_on, 1);
	ck_assert_str_eq(info().passed_on_why, "node 2 is not the leader");
	get_and_wait(); /* that was for this one request */
	ck_assert_uint_eq(seen(2, FS_OP_GET), 2);
	choose(3);
	get_and_wait();
	ck_assert_uint_eq(seen(3, FS_OP_GET), 1);
	client_choose(client, NULL);
	get_and_wait();
	ck_assert_uint_eq(seen(1, FS_OP_GET), 1);
	ck_assert_uint_eq(info().chosen, 0);
	ck_assert_uint_eq(f->n_opened, 1);
	ck_assert_uint_eq(f->n_effects, 1);
}
END_TEST

START_TEST(test_a_chosen_node_that_leads_gets_each_request_once)
{
	start(1, 3);
	choose(1);
	put_and_wait();
	get_and_wait();
	ck_assert_uint_eq(fake_node(f, 1)->n_seen, 3); /* with the session's beginning */
	ck_assert_uint_eq(info().passed_on + info().retries, 0);
}
END_TEST

START_TEST(test_a_chosen_node_without_a_leader_says_so_and_the_others_are_asked)
{
	start(1, 3);
	choose(2);
	fake_node(f, 2)->hides_leader = true;
	get_and_wait();
	ck_assert_str_eq(info().passed_on_why, "node 2 knows of no leader");
	ck_assert_uint_eq(seen(1, FS_OP_GET), 1);
}
END_TEST

START_TEST(test_what_a_dead_chosen_node_owed_is_done_once)
{
	struct got g;

	start(1, 3);
	fake_elect(f, 2);
	choose(2);
	put_and_wait();
	fake_node(f, 2)->drops_applied = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(info().chosen == 0);
	fake_elect(f, 3);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(f->n_effects, 2);
	ck_assert_uint_eq(f->n_duplicates, 1);
	ck_assert_uint_eq(f->n_opened, 1);
}
END_TEST

START_TEST(test_a_silent_chosen_node_does_not_hold_up_what_others_can_answer)
{
	struct got w, r;

	start(1, 3);
	put_and_wait();
	fake_node(f, 2)->serves_reads = true;
	choose(2);
	fake_node(f, 2)->frozen = true;
	(void)put(&w, LONG_MS);
	(void)get(&r, LONG_MS);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_int_eq(w.err + r.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 2000);
	ck_assert_uint_eq(info().chosen, 2);
	ck_assert_str_eq(info().passed_on_why, "node 2 does not answer");
	fake_thaw(fake_node(f, 2)); /* late answers change nothing */
	fake_node(f, 2)->frozen = false;
	get_and_wait();
	ck_assert_uint_eq(w.calls + r.calls, 2);
	ck_assert_uint_eq(f->n_effects, 2);
}
END_TEST

START_TEST(test_a_chosen_node_that_stays_silent_is_given_up)
{
	start(1, 3);
	choose(2);
	fake_node(f, 2)->frozen = true;
	get_and_wait();
	RUN_UNTIL(info().chosen == 0);
	ck_assert_uint_lt(elapsed_ms(), 5000);
	get_and_wait();
	ck_assert_uint_eq(seen(1, FS_OP_GET), 2);
}
END_TEST

START_TEST(test_a_chosen_node_that_works_long_is_waited_for_without_haste)
{
	struct got g;
	size_t statuses;

	start(1, 3);
	choose(2);
	fake_node(f, 2)->swallows_requests = true;
	statuses = fake_node(f, 2)->n_statuses;
	(void)get(&g, 1500);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_ENOQUORUM);
	ck_assert_uint_le(fake_node(f, 2)->n_statuses - statuses, 5);
	ck_assert_uint_eq(info().chosen, 2);
}
END_TEST

START_TEST(test_a_watch_is_at_the_chosen_node)
{
	const struct client_watch_opts o = {.from_index = 1};
	struct client_watch *w;

	start(1, 3);
	choose(3);
	w = client_watch(client, &o, on_events, NULL);
	RUN_UNTIL(fake_node(f, 3)->n_watches == 1);
	client_watch_end(w);
	ck_assert_uint_eq(fake_node(f, 1)->n_watches, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client, the chosen node");
	TCase *t = tcase_create("chosen");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_the_chosen_node_serves_reads_and_leaves_changes_to_the_leader);
	tcase_add_test(t, test_a_chosen_node_that_leads_gets_each_request_once);
	tcase_add_test(t, test_a_chosen_node_without_a_leader_says_so_and_the_others_are_asked);
	tcase_add_test(t, test_what_a_dead_chosen_node_owed_is_done_once);
	tcase_add_test(t, test_a_silent_chosen_node_does_not_hold_up_what_others_can_answer);
	tcase_add_test(t, test_a_chosen_node_that_stays_silent_is_given_up);
	tcase_add_test(t, test_a_chosen_node_that_works_long_is_waited_for_without_haste);
	tcase_add_test(t, test_a_watch_is_at_the_chosen_node);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

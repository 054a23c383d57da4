/* client/: leader discovery, exactly-once retries, deadlines, sessions, against nodes that
 * misbehave. */
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
	unsigned order; /* the how-manieth callback it was */
	struct client_req *to_cancel;
};

static uv_loop_t loop;
static struct fake_cluster *f;
static struct client *client;
static struct client_opts opts;
static unsigned n_callbacks, n_lost, n_closed;
static uint64_t lost_session;

static void on_session_lost(void *ctx, uint64_t session)
{
	ck_assert_ptr_eq(ctx, &opts);
	lost_session = session;
	n_lost++;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	n_callbacks = n_lost = n_closed = 0;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	f = fake_cluster_new(&loop, "demo", 3);
	memset(&opts, 0, sizeof(opts));
	memcpy(opts.cluster, "demo", 5);
	opts.session_timeout_ms = 10000;
	opts.on_session_lost = on_session_lost;
	opts.ctx = &opts;
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
	g->order = ++n_callbacks;
	if (r->data_len > 0 && r->data_len < sizeof(g->data))
		memcpy(g->data, r->data, r->data_len);
	if (g->to_cancel != NULL)
		client_cancel(g->to_cancel);
	g->to_cancel = NULL;
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

static const struct fake_seen *last_seen(uint64_t node)
{
	struct fake_node *n = fake_node(f, node);

	ck_assert_uint_gt(n->n_seen, 0);
	return &n->seen[n->n_seen - 1];
}

/* ---- finding the leader ---- */

START_TEST(test_the_leader_is_found_from_any_node)
{
	for (uint64_t id = 1; id <= 3; id++) {
		f->leader = 3;
		opts.n_nodes = 0;
		start(id, id);
		put_and_wait();
		ck_assert_uint_eq(info().leader, 3);
		ck_assert_uint_eq(info().n_nodes, 3);
		ck_assert(info().connected);
		n_closed = 0;
		client_close(client, on_closed, NULL);
		RUN_UNTIL(n_closed == 1);
	}
	ck_assert_uint_eq(f->n_effects, 6); /* with the ends of three sessions */
	ck_assert_uint_eq(f->n_closed, 3);
}
END_TEST

START_TEST(test_a_read_gives_data_and_a_callback_never_fires_from_within_submit)
{
	struct got g;

	start(1, 3);
	(void)get(&g, LONG_MS);
	ck_assert_uint_eq(g.calls, 0);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_str_eq(g.data, "color");
	ck_assert_uint_eq(last_seen(1)->session, 0);
	ck_assert_uint_eq(last_seen(1)->seq, 0);
	ck_assert_uint_eq(f->n_opened, 0);
}
END_TEST

START_TEST(test_a_refusal_leads_to_the_leader_it_names)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_elect(f, 2);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 200);
	ck_assert_uint_eq(info().leader, 2);
	ck_assert_uint_eq(last_seen(1)->seq, last_seen(2)->seq);
	ck_assert_uint_eq(info().retries, 1);
	ck_assert_uint_eq(f->n_effects, 2);
}
END_TEST

START_TEST(test_a_leader_that_nobody_listed_is_dialled)
{
	struct got g;

	f->n_members = 0; /* only hints tell of node 3 */
	start(1, 1);
	put_and_wait();
	fake_elect(f, 3);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(info().leader, 3);
	ck_assert_uint_eq(info().n_nodes, 2);
}
END_TEST

START_TEST(test_without_hints_everybody_is_asked)
{
	struct got g;

	for (uint64_t id = 1; id <= 3; id++)
		fake_node(f, id)->hides_leader = true;
	start(1, 3);
	put_and_wait();
	fake_elect(f, 3);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 500);
}
END_TEST

START_TEST(test_requests_wait_for_an_election)
{
	struct got w, r;

	fake_elect(f, 0);
	start(1, 3);
	(void)put(&w, LONG_MS);
	(void)get(&r, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->n_statuses >= 4 && fake_node(f, 3)->n_statuses >= 4);
	ck_assert_uint_eq(w.calls + r.calls, 0);
	fake_elect(f, 2);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_int_eq(w.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 500);
	ck_assert_uint_eq(fake_node(f, 1)->n_seen, 0);
}
END_TEST

START_TEST(test_a_leader_that_claims_and_refuses_is_not_asked_in_a_busy_loop)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_elect(f, 0);
	fake_node(f, 1)->believes = 1;
	(void)put(&g, 500);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_ENOQUORUM);
	ck_assert_uint_lt(fake_node(f, 1)->n_seen, 40);
}
END_TEST

START_TEST(test_nodes_that_are_down_at_first_are_dialled_until_they_are_up)
{
	struct got g;

	for (uint64_t id = 1; id <= 3; id++)
		fake_stop(fake_node(f, id));
	start(1, 3);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(strstr(info().last_error, "refused") != NULL);
	ck_assert_msg(strncmp(info().last_error, "node ", 5) == 0, "%s", info().last_error);
	for (uint64_t id = 1; id <= 3; id++)
		fake_start(fake_node(f, id));
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 1500);
}
END_TEST

/* ---- exactly once ---- */

START_TEST(test_a_change_done_by_a_node_that_died_is_retried_and_answered_once)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->drops_applied = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(g.value, 2);
	ck_assert_uint_eq(f->n_effects, 2);
	ck_assert_uint_eq(f->n_duplicates, 1);
	ck_assert_uint_lt(elapsed_ms(), 500);
	ck_assert_uint_ge(info().reconnects, 1);
}
END_TEST

START_TEST(test_the_leader_dies_and_the_next_one_gets_the_same_seq)
{
	struct got g;
	uint64_t seq;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	fake_stop(fake_node(f, 1));
	fake_elect(f, 3);
	RUN_UNTIL(g.calls == 1);
	seq = last_seen(3)->seq;
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(seq, 2);
	ck_assert_uint_lt(elapsed_ms(), 500);
	ck_assert_uint_eq(f->n_effects, 2);
}
END_TEST

START_TEST(test_an_answer_given_twice_is_delivered_once)
{
	struct got g[3];

	for (uint64_t id = 1; id <= 3; id++)
		fake_node(f, id)->answers_twice = true;
	start(1, 3);
	for (int i = 0; i < 3; i++)
		(void)put(&g[i], LONG_MS);
	RUN_UNTIL(g[0].calls + g[1].calls + g[2].calls == 3);
	put_and_wait();
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(g[i].calls, 1);
		ck_assert_uint_eq(g[i].order, (unsigned)i + 1);
	}
	ck_assert_uint_eq(f->n_opened, 1);
}
END_TEST

START_TEST(test_a_silent_leader_is_left_and_its_late_answer_changes_nothing)
{
	struct got w, r;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&w, LONG_MS);
	(void)get(&r, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	fake_elect(f, 2);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_int_eq(w.err, 0);
	ck_assert_int_eq(r.err, 0);
	ck_assert_uint_lt(elapsed_ms(), 1500);
	ck_assert_uint_eq(info().leader, 2);
	fake_thaw(fake_node(f, 1));
	put_and_wait();
	ck_assert_uint_eq(w.calls, 1);
	ck_assert_uint_eq(f->n_effects, 3);
	ck_assert_uint_eq(info().leader, 2);
}
END_TEST

START_TEST(test_a_late_answer_of_the_only_leader_is_taken)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 2)->n_statuses >= 3);
	ck_assert_uint_eq(g.calls, 0);
	fake_thaw(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(fake_node(f, 1)->n_seen, 3); /* session, two changes: none twice */
}
END_TEST

START_TEST(test_a_node_silent_for_long_is_dialled_afresh)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->n_accepted == 2);
	ck_assert_uint_gt(elapsed_ms(), 2900);
	ck_assert(strstr(info().last_error, "silent") != NULL);
	fake_thaw(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(f->n_effects, 2);
}
END_TEST

START_TEST(test_lowest_follows_the_answers)
{
	struct got held, g;
	struct client_req *r;

	start(1, 3);
	put_and_wait();
	ck_assert_uint_eq(last_seen(1)->lowest, 1);
	put_and_wait();
	ck_assert_uint_eq(last_seen(1)->seq, 2);
	ck_assert_uint_eq(last_seen(1)->lowest, 2);
	fake_node(f, 1)->frozen = true;
	r = put(&held, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->n_waiting == 2);
	client_cancel(r); /* given up: its seq will never be sent again */
	fake_thaw(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1);
	ck_assert_uint_eq(last_seen(1)->seq, 4);
	ck_assert_uint_eq(last_seen(1)->lowest, 3);
	put_and_wait();
	ck_assert_uint_eq(last_seen(1)->lowest, 5);
	ck_assert_uint_eq(held.calls, 0);
}
END_TEST

START_TEST(test_a_limit_reached_is_tried_again)
{
	struct got w, r;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->refuse_with = RFS_EBUSYLIMIT;
	fake_node(f, 1)->refusals = 5;
	(void)put(&w, LONG_MS);
	(void)get(&r, LONG_MS);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_int_eq(w.err, 0);
	ck_assert_uint_eq(f->n_effects, 2);
}
END_TEST

/* ---- deadlines ---- */

/* A cluster in the middle of an upgrade: what the leader would not understand is not even sent. */
START_TEST(test_what_is_newer_than_the_leader_is_refused_and_not_sent)
{
	struct fs_op op = {.kind = FS_OP_PUT,
	                   .name = FS_STR("color"),
	                   .flags = FS_F_IF_VERSION,
	                   .data = "blue",
	                   .data_len = 4};
	struct got newer = {0}, old;
	size_t seen;

	for (uint64_t id = 1; id <= 3; id++)
		fake_node(f, id)->identity.version_max = 1;
	start(1, 3);
	put_and_wait();
	seen = fake_node(f, 1)->n_seen;
	(void)client_submit(client, &op, LONG_MS, on_answer, &newer);
	ck_assert_uint_eq(newer.calls, 0);
	RUN_UNTIL(newer.calls == 1);
	ck_assert_int_eq(newer.err, -EOPNOTSUPP);
	ck_assert_uint_eq(fake_node(f, 1)->n_seen, seen);
	(void)put(&old, LONG_MS);
	RUN_UNTIL(old.calls == 1);
	ck_assert_int_eq(old.err, 0);
	fake_stop(fake_node(f, 2));
	fake_node(f, 2)->identity.version_max = 2;
	fake_start(fake_node(f, 2));
	fake_elect(f, 2);
	put_and_wait();
	memset(&newer, 0, sizeof(newer));
	(void)client_submit(client, &op, LONG_MS, on_answer, &newer);
	RUN_UNTIL(newer.calls == 1);
	ck_assert_int_eq(newer.err, 0);
	ck_assert_uint_eq(f->n_effects, 4);
}
END_TEST

START_TEST(test_without_any_leader_a_deadline_means_certainly_not_done)
{
	struct got w, r;

	fake_elect(f, 0);
	start(1, 3);
	(void)put(&w, 150);
	(void)get(&r, 100);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_uint_ge(elapsed_ms(), 100);
	ck_assert_uint_lt(elapsed_ms(), 400);
	ck_assert_int_eq(w.err, RFS_ENOQUORUM);
	ck_assert_int_eq(r.err, RFS_ENOQUORUM);
	ck_assert_uint_lt(r.order, w.order);
	ck_assert_uint_eq(client_inflight(client), 0);
}
END_TEST

START_TEST(test_refused_by_all_it_was_sent_to_means_certainly_not_done)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_elect(f, 0);
	(void)put(&g, 200);
	RUN_UNTIL(g.calls == 1);
	ck_assert_uint_eq(last_seen(1)->seq, 2);
	ck_assert_int_eq(g.err, RFS_ENOQUORUM);
}
END_TEST

START_TEST(test_sent_and_not_answered_means_unknown_for_a_change)
{
	struct got w, r;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&w, 200);
	(void)get(&r, 200);
	RUN_UNTIL(w.calls == 1 && r.calls == 1);
	ck_assert_int_eq(w.err, RFS_EUNKNOWN);
	ck_assert_int_eq(r.err, RFS_ENOQUORUM);
	ck_assert(strstr(info().last_error, "no answer within 200 ms") != NULL);
	fake_thaw(fake_node(f, 1));
	put_and_wait();
	ck_assert_uint_eq(w.calls, 1);
}
END_TEST

START_TEST(test_a_copy_lost_with_its_connection_stays_unknown)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->drops_unapplied = true;
	fake_node(f, 1)->believes = 2;
	(void)put(&g, 200);
	RUN_UNTIL(fake_node(f, 1)->n_accepted == 2);
	fake_elect(f, 0);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_EUNKNOWN);
}
END_TEST

START_TEST(test_a_leader_that_lost_its_office_in_between_leaves_it_unknown)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->refuse_with = RFS_EUNKNOWN;
	fake_node(f, 1)->refusals = 1;
	fake_elect(f, 0);
	(void)put(&g, 200);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_EUNKNOWN);
}
END_TEST

START_TEST(test_the_new_leader_decides_what_the_old_one_left_unknown)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->refuse_with = RFS_EUNKNOWN;
	fake_node(f, 1)->refusals = 1;
	fake_elect(f, 3);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(last_seen(1)->seq, last_seen(3)->seq);
}
END_TEST

/* ---- sessions ---- */

START_TEST(test_the_session_is_kept_alive_while_nothing_else_is_said)
{
	opts.session_timeout_ms = 90;
	start(1, 3);
	put_and_wait();
	RUN_UNTIL(fake_node(f, 1)->n_keep_alives >= 3);
	ck_assert_uint_ge(elapsed_ms(), 60);
	fake_elect(f, 2);
	RUN_UNTIL(fake_node(f, 2)->n_keep_alives >= 2);
	ck_assert_uint_eq(info().leader, 2);
	ck_assert_uint_eq(n_lost, 0);
	put_and_wait();
	ck_assert_uint_eq(f->n_opened, 1);
}
END_TEST

START_TEST(test_a_silent_leader_is_noticed_by_keep_alives_alone)
{
	opts.session_timeout_ms = 300;
	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	fake_elect(f, 2);
	RUN_UNTIL(fake_node(f, 2)->n_keep_alives >= 1);
	ck_assert_uint_lt(elapsed_ms(), 2000);
	ck_assert_uint_eq(n_lost, 0);
}
END_TEST

START_TEST(test_what_an_expired_session_refused_goes_on_under_another)
{
	struct got old[3], next;
	uint64_t session;

	start(1, 3);
	put_and_wait();
	session = info().session;
	fake_expire_sessions(f);
	for (size_t i = 0; i < 3; i++)
		(void)put(&old[i], LONG_MS);
	RUN_UNTIL(old[0].calls + old[1].calls + old[2].calls == 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(old[i].err, 0);
	ck_assert_uint_eq(n_lost, 1);
	ck_assert_uint_eq(lost_session, session);
	ck_assert_uint_eq(f->n_effects, 4); /* each once */
	(void)put(&next, LONG_MS);
	RUN_UNTIL(next.calls == 1);
	ck_assert_int_eq(next.err, 0);
	ck_assert_uint_eq(last_seen(1)->seq, 4);
	ck_assert_uint_ne(info().session, session);
	ck_assert_uint_eq(f->n_opened, 2);
}
END_TEST

START_TEST(test_a_change_that_one_of_two_leaders_refused_waits_for_the_other)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->n_waiting > 0);
	fake_expire_sessions(f);
	fake_elect(f, 2);
	RUN_UNTIL(n_lost == 1); /* node 1 may have done it before */
	put_and_wait();
	ck_assert_uint_eq(g.calls, 0);
	fake_stop(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_ESESSION);
}
END_TEST

START_TEST(test_a_keep_alive_tells_of_the_end_and_unsent_changes_move_on)
{
	struct got sent, unsent;

	opts.session_timeout_ms = 150;
	start(1, 3);
	put_and_wait();
	fake_expire_sessions(f);
	RUN_UNTIL(n_lost == 1);
	put_and_wait();
	/* One is sent and lost with the leader, one comes when nobody leads. */
	fake_node(f, 1)->frozen = true;
	(void)put(&sent, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	fake_elect(f, 0);
	fake_stop(fake_node(f, 1));
	RUN_UNTIL(!info().connected);
	(void)put(&unsent, LONG_MS);
	fake_expire_sessions(f);
	fake_elect(f, 2);
	RUN_UNTIL(sent.calls == 1 && unsent.calls == 1);
	ck_assert_int_eq(sent.err, RFS_ESESSION);
	ck_assert_uint_eq(n_lost, 2);
	/* Offered in the same turn as the first, it may have been sent as well. */
	ck_assert(unsent.err == 0 || unsent.err == RFS_ESESSION);
	put_and_wait();
}
END_TEST

START_TEST(test_a_change_that_waits_for_a_session_expires_as_not_done)
{
	struct got g;

	start(1, 3);
	fake_node(f, 1)->frozen = true;
	(void)put(&g, 200);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, RFS_ENOQUORUM);
	ck_assert_uint_eq(client_inflight(client), 0);
}
END_TEST

START_TEST(test_a_lost_session_open_is_repeated)
{
	start(1, 3);
	fake_node(f, 1)->drops_applied = true;
	put_and_wait();
	ck_assert_uint_eq(f->n_opened, 2);
	ck_assert_uint_eq(f->n_effects, 1);
	ck_assert_uint_eq(info().session, 1100);
}
END_TEST

START_TEST(test_a_refused_session_open_is_the_answer_to_what_waits)
{
	struct got g;

	fake_node(f, 1)->refuse_with = -ENOSPC;
	fake_node(f, 1)->refusals = 1;
	start(1, 3);
	(void)put(&g, LONG_MS);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, -ENOSPC);
	put_and_wait();
}
END_TEST

/* ---- many, large ---- */

#define MANY 1000

START_TEST(test_a_thousand_in_flight_survive_a_change_of_leader)
{
	struct got *g = mem_calloc(MANY, sizeof(*g));
	size_t done = 0;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	for (int i = 0; i < MANY; i++)
		(void)(i % 3 == 2 ? get(&g[i], LONG_MS) : put(&g[i], LONG_MS));
	ck_assert_uint_eq(client_inflight(client), 667);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	fake_stop(fake_node(f, 1));
	fake_elect(f, 2);
	RUN_UNTIL(n_callbacks >= MANY + 1);
	for (int i = 0; i < MANY; i++)
		done += g[i].calls == 1 && g[i].err == 0;
	ck_assert_uint_eq(done, MANY);
	ck_assert_uint_eq(f->n_effects, 668);
	ck_assert_uint_eq(client_inflight(client), 0);
	free(g);
}
END_TEST

#define LARGE 80

START_TEST(test_eighty_mebibytes_wait_their_turn)
{
	struct got g[LARGE] = {0};
	uint8_t *data = mem_zalloc(FS_WRITE_BYTES_MAX + 1);
	struct fs_op op = {.kind = FS_OP_WRITE, .ino = 3, .data = data};

	op.data_len = FS_WRITE_BYTES_MAX;
	start(1, 3);
	put_and_wait();
	for (int i = 0; i < LARGE; i++)
		(void)client_submit(client, &op, LONG_MS, on_answer, &g[i]);
	op.data_len++;
	(void)client_submit(client, &op, LONG_MS, on_answer, &g[0]);
	memset(data, 1, FS_WRITE_BYTES_MAX); /* copied */
	RUN_UNTIL(n_callbacks == LARGE + 2);
	for (int i = 1; i < LARGE; i++)
		ck_assert_int_eq(g[i].err, 0);
	ck_assert_uint_eq(g[0].calls, 2);
	ck_assert_uint_eq(last_seen(1)->data_len, FS_WRITE_BYTES_MAX);
	ck_assert_uint_eq(f->n_effects, LARGE + 1);
	ck_assert_uint_eq(info().reconnects, 0);
	free(data);
}
END_TEST

/* ---- cancel, close ---- */

START_TEST(test_a_cancelled_request_never_calls_back)
{
	struct got a, b, queued, sent;
	struct client_req *r;

	start(1, 3);
	client_cancel(put(&queued, LONG_MS));
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	r = put(&sent, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	client_cancel(r);
	fake_thaw(fake_node(f, 1));
	put_and_wait();
	/* From another one's callback, both in the same turn. */
	(void)get(&a, LONG_MS);
	a.to_cancel = get(&b, LONG_MS);
	RUN_UNTIL(a.calls == 1);
	put_and_wait();
	ck_assert_uint_eq(queued.calls + sent.calls + b.calls, 0);
	ck_assert_uint_eq(client_inflight(client), 0);
}
END_TEST

START_TEST(test_a_request_that_has_expired_can_be_cancelled_from_a_callback)
{
	struct got a, b;

	fake_elect(f, 0);
	start(1, 3);
	(void)get(&a, 50);
	a.to_cancel = get(&b, 50);
	RUN_UNTIL(a.calls == 1);
	fake_elect(f, 1);
	put_and_wait();
	ck_assert_uint_eq(b.calls, 0);
}
END_TEST

static void resubmit(void *ctx, const struct fs_result *r)
{
	struct got *g = ctx;

	if (++g->calls == 1) {
		ck_assert_int_eq(r->err, RFS_ESHUTDOWN);
		(void)get(g + 1, LONG_MS);
	}
}

START_TEST(test_close_while_busy_ends_everything_and_the_session)
{
	struct got w, q, r[2] = {0};
	struct fs_op op = {.kind = FS_OP_STATFS};

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->drops_unapplied = false;
	(void)put(&w, LONG_MS);
	(void)put(&q, LONG_MS);
	(void)client_submit(client, &op, LONG_MS, resubmit, &r[0]);
	client_close(client, on_closed, NULL);
	ck_assert_uint_eq(w.calls + q.calls + r[0].calls, 0);
	RUN_UNTIL(n_closed == 1);
	ck_assert_int_eq(w.err, RFS_ESHUTDOWN);
	ck_assert_int_eq(q.err, RFS_ESHUTDOWN);
	ck_assert_uint_eq(r[0].calls, 1);
	ck_assert_int_eq(r[1].err, RFS_ESHUTDOWN);
	ck_assert_uint_eq(r[1].calls, 1);
	ck_assert_uint_eq(f->n_closed, 1);
	ck_assert_uint_lt(elapsed_ms(), 500);
}
END_TEST

START_TEST(test_close_waits_a_second_for_a_silent_leader_at_most)
{
	struct got g;

	start(1, 3);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	(void)put(&g, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->waiting != NULL);
	client_close(client, on_closed, NULL);
	RUN_UNTIL(n_closed == 1);
	ck_assert_int_eq(g.err, RFS_ESHUTDOWN);
	ck_assert_uint_ge(elapsed_ms(), 900);
	ck_assert_uint_lt(elapsed_ms(), 1500);
}
END_TEST

START_TEST(test_close_with_nobody_there_is_quick)
{
	start(1, 3);
	client_close(client, on_closed, NULL);
	RUN_UNTIL(n_closed == 1);
	ck_assert_uint_lt(elapsed_ms(), 200);
}
END_TEST

static void close_from_callback(void *ctx, const struct fs_result *r)
{
	on_answer(ctx, r);
	client_close(client, on_closed, NULL);
}

START_TEST(test_close_from_a_callback)
{
	struct fs_op op = {.kind = FS_OP_STATFS};
	struct got g = {0};

	start(1, 3);
	(void)client_submit(client, &op, LONG_MS, close_from_callback, &g);
	RUN_UNTIL(n_closed == 1);
	ck_assert_uint_eq(g.calls, 1);
}
END_TEST

/* ---- identity ---- */

START_TEST(test_the_wrong_cluster_is_refused_until_the_deadline)
{
	struct got g;

	memcpy(opts.cluster, "other", 6);
	start(1, 3);
	(void)put(&g, 300);
	RUN_UNTIL(g.calls == 1);
	ck_assert_uint_ge(elapsed_ms(), 250);
	ck_assert_int_eq(g.err, RFS_ENOQUORUM);
	ck_assert_msg(strstr(info().last_error, "belongs to cluster \"demo\"") != NULL, "%s",
	              info().last_error);
	ck_assert_uint_eq(fake_node(f, 1)->n_accepted, 0);
}
END_TEST

START_TEST(test_without_a_name_the_first_cluster_that_answers_is_the_one)
{
	struct fake_cluster *g = fake_cluster_new(&loop, "elsewhere", 1);

	g->term = 50;
	opts.cluster[0] = '\0';
	start(1, 3);
	put_and_wait();
	client_close(client, on_closed, NULL);
	RUN_UNTIL(n_closed == 1);

	n_closed = 0;
	opts.n_nodes = 0;
	opts.nodes[opts.n_nodes++] = fake_address(f, 1);
	opts.nodes[opts.n_nodes++] = fake_address(g, 1);
	opts.nodes[1].id = 0;
	client = client_new(&loop, &opts);
	put_and_wait();
	RUN_UNTIL(strstr(info().last_error, "belongs to cluster") != NULL);
	put_and_wait();
	ck_assert(g->n_effects == 0 || f->n_effects == 2);
	fake_cluster_free(g);
}
END_TEST

START_TEST(test_an_endpoint_without_an_id_gets_one)
{
	opts.nodes[opts.n_nodes] = fake_address(f, 2);
	opts.nodes[opts.n_nodes++].id = 0;
	start(1, 0);
	put_and_wait();
	ck_assert_uint_eq(info().n_nodes, 3);
	ck_assert_uint_eq(info().nodes[0].id, 2);
}
END_TEST

/* ---- status ---- */

struct told {
	unsigned calls;
	uint64_t node_id, leader_id;
	struct rfs_err err;
};

static void on_status(void *ctx, const struct wire_status *st, const struct rfs_err *err)
{
	struct told *t = ctx;

	t->calls++;
	t->err = *err;
	if (st != NULL) {
		t->node_id = st->node_id;
		t->leader_id = st->leader_id;
	}
}

START_TEST(test_status_over_a_link_and_over_a_connection_of_its_own)
{
	struct told linked = {0}, own = {0};
	struct config_node n1 = fake_address(f, 1), n3 = fake_address(f, 3);

	f->n_members = 0;
	start(1, 1);
	put_and_wait();
	client_status(client, &n1, 1000, on_status, &linked);
	client_status(client, &n3, 1000, on_status, &own);
	ck_assert_uint_eq(linked.calls + own.calls, 0);
	RUN_UNTIL(linked.calls == 1 && own.calls == 1);
	ck_assert_uint_eq(linked.node_id, 1);
	ck_assert_uint_eq(own.node_id, 3);
	ck_assert_uint_eq(own.leader_id, 1);
	ck_assert_int_eq(own.err.code, 0);
	ck_assert_uint_eq(fake_node(f, 1)->n_accepted, 1);
}
END_TEST

START_TEST(test_status_of_nodes_that_do_not_answer)
{
	struct told frozen = {0}, down = {0}, alien = {0}, dying = {0};
	struct config_node n1 = fake_address(f, 1), n2 = fake_address(f, 2),
	                   n3 = fake_address(f, 3);
	struct config_node wrong = n3;

	f->n_members = 0;
	wrong.id = 2;
	fake_stop(fake_node(f, 2));
	start(1, 1);
	put_and_wait();
	fake_node(f, 1)->frozen = true;
	fake_node(f, 3)->frozen = true;
	client_status(client, &n3, 150, on_status, &frozen);
	client_status(client, &n2, 1000, on_status, &down);
	client_status(client, &wrong, 1000, on_status, &alien);
	client_status(client, &n1, 1000, on_status, &dying);
	RUN_UNTIL(frozen.calls == 1 && down.calls == 1 && alien.calls == 1);
	ck_assert_int_eq(frozen.err.code, -ETIMEDOUT);
	ck_assert_int_eq(down.err.code, -ECONNREFUSED);
	ck_assert_int_eq(alien.err.code, RFS_EIDENTITY);
	ck_assert_uint_eq(dying.calls, 0);
	fake_drop_conns(fake_node(f, 1));
	RUN_UNTIL(dying.calls == 1);
	ck_assert_int_ne(dying.err.code, 0);
	client_status(client, &n3, 5000, on_status, &frozen);
	client_close(client, on_closed, NULL);
	RUN_UNTIL(n_closed == 1);
	ck_assert_int_eq(frozen.err.code, RFS_ESHUTDOWN);
	ck_assert_uint_eq(frozen.calls, 2);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return t;
}

static void add_routes(Suite *s)
{
	TCase *t = tcase(s, "route");

	tcase_add_test(t, test_the_leader_is_found_from_any_node);
	tcase_add_test(t, test_a_read_gives_data_and_a_callback_never_fires_from_within_submit);
	tcase_add_test(t, test_a_refusal_leads_to_the_leader_it_names);
	tcase_add_test(t, test_a_leader_that_nobody_listed_is_dialled);
	tcase_add_test(t, test_without_hints_everybody_is_asked);
	tcase_add_test(t, test_requests_wait_for_an_election);
	tcase_add_test(t, test_a_leader_that_claims_and_refuses_is_not_asked_in_a_busy_loop);
	tcase_add_test(t, test_nodes_that_are_down_at_first_are_dialled_until_they_are_up);
	tcase_add_test(t, test_the_wrong_cluster_is_refused_until_the_deadline);
	tcase_add_test(t, test_without_a_name_the_first_cluster_that_answers_is_the_one);
	tcase_add_test(t, test_an_endpoint_without_an_id_gets_one);
	tcase_add_test(t, test_status_over_a_link_and_over_a_connection_of_its_own);
	tcase_add_test(t, test_status_of_nodes_that_do_not_answer);
}

static void add_exactly_once(Suite *s)
{
	TCase *t = tcase(s, "exactly once");

	tcase_add_test(t, test_a_change_done_by_a_node_that_died_is_retried_and_answered_once);
	tcase_add_test(t, test_the_leader_dies_and_the_next_one_gets_the_same_seq);
	tcase_add_test(t, test_an_answer_given_twice_is_delivered_once);
	tcase_add_test(t, test_a_silent_leader_is_left_and_its_late_answer_changes_nothing);
	tcase_add_test(t, test_a_late_answer_of_the_only_leader_is_taken);
	tcase_add_test(t, test_a_node_silent_for_long_is_dialled_afresh);
	tcase_add_test(t, test_lowest_follows_the_answers);
	tcase_add_test(t, test_a_limit_reached_is_tried_again);
	tcase_add_test(t, test_what_is_newer_than_the_leader_is_refused_and_not_sent);
	tcase_add_test(t, test_a_thousand_in_flight_survive_a_change_of_leader);
	tcase_add_test(t, test_eighty_mebibytes_wait_their_turn);
}

static void add_ends(Suite *s)
{
	TCase *t = tcase(s, "ends");

	tcase_add_test(t, test_without_any_leader_a_deadline_means_certainly_not_done);
	tcase_add_test(t, test_refused_by_all_it_was_sent_to_means_certainly_not_done);
	tcase_add_test(t, test_sent_and_not_answered_means_unknown_for_a_change);
	tcase_add_test(t, test_a_copy_lost_with_its_connection_stays_unknown);
	tcase_add_test(t, test_a_leader_that_lost_its_office_in_between_leaves_it_unknown);
	tcase_add_test(t, test_the_new_leader_decides_what_the_old_one_left_unknown);
	tcase_add_test(t, test_a_cancelled_request_never_calls_back);
	tcase_add_test(t, test_a_request_that_has_expired_can_be_cancelled_from_a_callback);
	tcase_add_test(t, test_close_while_busy_ends_everything_and_the_session);
	tcase_add_test(t, test_close_waits_a_second_for_a_silent_leader_at_most);
	tcase_add_test(t, test_close_with_nobody_there_is_quick);
	tcase_add_test(t, test_close_from_a_callback);
}

static void add_sessions(Suite *s)
{
	TCase *t = tcase(s, "session");

	tcase_add_test(t, test_the_session_is_kept_alive_while_nothing_else_is_said);
	tcase_add_test(t, test_a_silent_leader_is_noticed_by_keep_alives_alone);
	tcase_add_test(t, test_what_an_expired_session_refused_goes_on_under_another);
	tcase_add_test(t, test_a_change_that_one_of_two_leaders_refused_waits_for_the_other);
	tcase_add_test(t, test_a_keep_alive_tells_of_the_end_and_unsent_changes_move_on);
	tcase_add_test(t, test_a_change_that_waits_for_a_session_expires_as_not_done);
	tcase_add_test(t, test_a_lost_session_open_is_repeated);
	tcase_add_test(t, test_a_refused_session_open_is_the_answer_to_what_waits);
}

int main(void)
{
	Suite *s = suite_create("client");
	SRunner *runner;
	int failed;

	add_routes(s);
	add_exactly_once(s);
	add_ends(s);
	add_sessions(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

/* client/: locks that wait: answered twice, asked for again, interrupted. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/log.h"
#include "../../src/client/client.h"
#include "../support/fake_cluster.h"

#define LONG_MS 20000u

struct got {
	unsigned calls;
	int err;
	uint64_t value;
};

static uv_loop_t loop;
static struct fake_cluster *f;
static struct client *client;
static unsigned n_closed, n_lost;

static void on_closed(void *ctx)
{
	(void)ctx;
	n_closed++;
}

static void on_session_lost(void *ctx, uint64_t session)
{
	(void)ctx;
	(void)session;
	n_lost++;
}

/* The client's own timer keeps the loop turning. */
#define RUN_UNTIL(cond)                                                                            \
	do {                                                                                       \
		uint64_t began_ms;                                                                 \
		uv_update_time(&loop);                                                             \
		began_ms = uv_now(&loop);                                                          \
		while (!(cond)) {                                                                  \
			ck_assert_msg(uv_now(&loop) - began_ms < 10000,                            \
			              "waited too long for " #cond);                               \
			(void)uv_run(&loop, UV_RUN_ONCE);                                          \
		}                                                                                  \
	} while (0)

static void setup(void)
{
	struct client_opts opts = {.session_timeout_ms = 1000, .on_session_lost = on_session_lost};

	log_set_level(LOG_LEVEL_ERROR);
	n_closed = n_lost = 0;
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	f = fake_cluster_new(&loop, "demo", 3);
	for (uint64_t id = 1; id <= 3; id++)
		opts.nodes[opts.n_nodes++] = fake_address(f, id);
	client = client_new(&loop, &opts);
}

static void teardown(void)
{
	client_close(client, on_closed, NULL);
	RUN_UNTIL(n_closed == 1);
	fake_cluster_free(f);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0)
		continue;
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void on_answer(void *ctx, const struct fs_result *r)
{
	struct got *g = ctx;

	g->calls++;
	g->err = r->err;
	g->value = r->value;
}

static struct client_req *lock(struct got *g, uint64_t timeout_ms)
{
	const struct fs_op op = {
	        .kind = FS_OP_LOCK, .ino = 5, .lock_owner = 1, .flags = FS_F_LOCK_WAIT};

	memset(g, 0, sizeof(*g));
	return client_submit(client, &op, timeout_ms, on_answer, g);
}

static void put_and_wait(void)
{
	const struct fs_op op = {.kind = FS_OP_PUT, .name = FS_STR("color")};
	struct got g = {0};

	(void)client_submit(client, &op, LONG_MS, on_answer, &g);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
}

/* A lock of which the client knows that it waits at node `id`. */
static struct client_req *waiting_lock(struct got *g, uint64_t id)
{
	struct client_req *r = lock(g, LONG_MS);

	RUN_UNTIL(f->n_locks > 0 && f->locks[f->n_locks - 1].conn != NULL);
	put_and_wait(); /* what is answered later has been answered after it */
	ck_assert_uint_eq(f->leader, id);
	ck_assert_uint_eq(g->calls, 0);
	return r;
}

static size_t seen(uint64_t node, enum fs_op_kind kind)
{
	const struct fake_node *n = fake_node(f, node);
	size_t found = 0;

	for (size_t i = 0; i < n->n_seen; i++)
		found += n->seen[i].kind == kind;
	return found;
}

START_TEST(test_a_lock_that_waits_is_answered_when_it_is_granted)
{
	struct got g;

	(void)waiting_lock(&g, 1);
	fake_grant(f, 1, true);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(g.value, 1001);
	ck_assert_uint_eq(seen(1, FS_OP_LOCK_AWAIT), 0);
}
END_TEST

START_TEST(test_what_waits_has_no_deadline_and_holds_up_no_answers)
{
	const struct fake_node *n = fake_node(f, 1);
	uint64_t until_ms;
	struct got g;

	(void)lock(&g, 200);
	RUN_UNTIL(f->n_locks == 1);
	uv_update_time(&loop);
	until_ms = uv_now(&loop) +
	           1300; /* longer than its deadline, and than a session without keep-alives */
	RUN_UNTIL(uv_now(&loop) > until_ms);
	ck_assert_uint_eq(g.calls, 0);
	ck_assert_uint_ge(n->n_keep_alives, 2);
	ck_assert_uint_le(n->n_statuses, 20); /* nobody doubts the leader because of it */
	put_and_wait();
	put_and_wait();
	/* the lock's own number is 1: it is not held on to */
	ck_assert_uint_ge(n->seen[n->n_seen - 1].lowest, 3);
	fake_grant(f, 1, true);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
}
END_TEST

START_TEST(test_a_lost_connection_is_made_good_by_asking_again)
{
	struct got g, h;

	(void)waiting_lock(&g, 1);
	(void)waiting_lock(&h, 1);
	fake_grant(f, 1, false); /* while nobody listens */
	fake_drop_conns(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(g.value, 1001);
	ck_assert_uint_eq(h.calls, 0);
	RUN_UNTIL(f->locks[1].conn != NULL);
	ck_assert_uint_eq(f->n_locks, 2); /* nothing was asked for twice */
	fake_grant(f, 2, true);
	RUN_UNTIL(h.calls == 1);
	ck_assert_int_eq(h.err, 0);
	ck_assert_uint_eq(h.value, 1002);
}
END_TEST

START_TEST(test_another_leader_is_asked)
{
	struct got g;

	(void)waiting_lock(&g, 1);
	fake_stop(fake_node(f, 1));
	fake_elect(f, 2);
	RUN_UNTIL(seen(2, FS_OP_LOCK_AWAIT) == 1);
	ck_assert_uint_eq(g.calls, 0);
	fake_grant(f, 1, true);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(g.value, 1001);
}
END_TEST

START_TEST(test_an_answer_that_was_lost_is_given_again)
{
	struct got g;

	put_and_wait();
	fake_node(f, 1)->drops_applied = true;
	(void)lock(&g, LONG_MS);
	RUN_UNTIL(seen(1, FS_OP_LOCK) == 2);
	ck_assert_uint_eq(f->n_locks, 1);
	RUN_UNTIL(f->locks[0].conn != NULL);
	fake_grant(f, 1, true);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
}
END_TEST

START_TEST(test_an_interrupted_lock_ends_with_eintr)
{
	struct client_req *r;
	struct got g;

	r = waiting_lock(&g, 1);
	client_interrupt_lock(r);
	client_interrupt_lock(r); /* once is enough */
	ck_assert_uint_eq(g.calls, 0);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, -EINTR);
	ck_assert_int_eq(f->locks[0].state, FAKE_LOCK_CANCELLED);
	ck_assert_uint_eq(seen(1, FS_OP_LOCK_CANCEL), 1);
	put_and_wait();
	ck_assert_uint_eq(g.calls, 1);
}
END_TEST

START_TEST(test_a_lock_granted_before_its_interruption_is_held)
{
	struct client_req *r;
	struct got g;

	r = waiting_lock(&g, 1);
	fake_grant(f, 1, false); /* and the news are lost */
	client_interrupt_lock(r);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, 0);
	ck_assert_uint_eq(g.value, 1001);
	ck_assert_uint_eq(seen(1, FS_OP_LOCK_CANCEL), 1);
}
END_TEST

START_TEST(test_a_cancelled_lock_whose_answer_was_lost_is_not_taken_for_a_granted_one)
{
	struct client_req *r;
	struct got g;

	r = waiting_lock(&g, 1);
	fake_forget(f, 1);
	fake_node(f, 1)->drops_applied = true;
	client_interrupt_lock(r);
	RUN_UNTIL(f->locks[0].state == FAKE_LOCK_CANCELLED);
	RUN_UNTIL(g.calls == 1); /* LOCK_AWAIT has told that it neither waits nor is held */
	ck_assert_int_eq(g.err, -EINTR);
	ck_assert_uint_eq(seen(1, FS_OP_LOCK_AWAIT), 1);
}
END_TEST

START_TEST(test_an_interruption_survives_a_change_of_leaders)
{
	struct client_req *r;
	struct got g;

	r = waiting_lock(&g, 1);
	fake_node(f, 1)->frozen = true;
	client_interrupt_lock(r);
	RUN_UNTIL(fake_node(f, 1)->n_waiting > 0);
	fake_stop(fake_node(f, 1));
	fake_elect(f, 3);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, -EINTR);
	ck_assert_int_eq(f->locks[0].state, FAKE_LOCK_CANCELLED);
}
END_TEST

START_TEST(test_a_lock_that_was_never_sent_is_interrupted_at_once)
{
	struct client_req *r;
	struct got g;

	f->leader = 0;
	r = lock(&g, LONG_MS);
	client_interrupt_lock(r);
	RUN_UNTIL(g.calls == 1);
	ck_assert_int_eq(g.err, -EINTR);
	ck_assert_uint_eq(f->n_locks, 0);
}
END_TEST

START_TEST(test_an_abandoned_lock_is_cancelled_without_a_word)
{
	struct client_req *r;
	struct got g;

	r = waiting_lock(&g, 1);
	client_abandon_lock(r);
	RUN_UNTIL(f->locks[0].state == FAKE_LOCK_CANCELLED);
	put_and_wait();
	ck_assert_uint_eq(g.calls, 0);
}
END_TEST

START_TEST(test_a_lock_ends_with_its_session)
{
	struct client_req *r;
	struct got g, h;

	(void)waiting_lock(&g, 1);
	r = waiting_lock(&h, 1);
	fake_node(f, 1)->frozen = true;
	client_interrupt_lock(r); /* its cancelling goes, too */
	fake_expire_sessions(f);
	fake_thaw(fake_node(f, 1));
	RUN_UNTIL(g.calls == 1 && h.calls == 1);
	ck_assert_int_eq(g.err, RFS_ESESSION);
	ck_assert_int_eq(h.err, RFS_ESESSION);
	ck_assert_uint_eq(n_lost, 1);
	put_and_wait();
}
END_TEST

START_TEST(test_a_lock_without_an_answer_ends_with_its_session_too)
{
	const struct fs_op op = {.kind = FS_OP_PUT, .name = FS_STR("color")};
	struct got g, h, p = {0};
	struct client_req *r;

	put_and_wait();
	fake_node(f, 1)->frozen = true;
	r = lock(&g, LONG_MS);
	(void)lock(&h, LONG_MS);
	RUN_UNTIL(fake_node(f, 1)->n_waiting >= 2);
	client_interrupt_lock(r); /* its cancelling goes, too */
	fake_expire_sessions(f);
	fake_node(f, 1)->deaf_to_locks = true;
	fake_thaw(fake_node(f, 1));
	(void)client_submit(client, &op, LONG_MS, on_answer, &p);
	RUN_UNTIL(p.calls == 1 && g.calls == 1 && h.calls == 1);
	ck_assert_uint_eq(n_lost, 1);
	ck_assert_int_eq(p.err, 0);
	ck_assert_int_eq(g.err, RFS_ESESSION);
	ck_assert_int_eq(h.err, RFS_ESESSION);
	put_and_wait();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("client locks");
	TCase *tc = tcase_create("locks");
	SRunner *r;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_a_lock_that_waits_is_answered_when_it_is_granted);
	tcase_add_test(tc, test_what_waits_has_no_deadline_and_holds_up_no_answers);
	tcase_add_test(tc, test_a_lost_connection_is_made_good_by_asking_again);
	tcase_add_test(tc, test_another_leader_is_asked);
	tcase_add_test(tc, test_an_answer_that_was_lost_is_given_again);
	tcase_add_test(tc, test_an_interrupted_lock_ends_with_eintr);
	tcase_add_test(tc, test_a_lock_granted_before_its_interruption_is_held);
	tcase_add_test(tc,
	               test_a_cancelled_lock_whose_answer_was_lost_is_not_taken_for_a_granted_one);
	tcase_add_test(tc, test_an_interruption_survives_a_change_of_leaders);
	tcase_add_test(tc, test_a_lock_that_was_never_sent_is_interrupted_at_once);
	tcase_add_test(tc, test_an_abandoned_lock_is_cancelled_without_a_word);
	tcase_add_test(tc, test_a_lock_ends_with_its_session);
	tcase_add_test(tc, test_a_lock_without_an_answer_ends_with_its_session_too);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

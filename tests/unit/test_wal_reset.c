/* The log made to begin behind a snapshot, and cut for ever: what is on disk at any power cut, and
 * how much. The rules stand in docs/wal-format.md. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/mem.h"
#include "../support/walkit.h"

#define SEGMENT (8u << 10)

static struct walkit k;

static void setup(void)
{
	walkit_init(&k, 1, SEGMENT);
	ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
}

static void teardown(void)
{
	walkit_free(&k);
}

static void reopen(void)
{
	walkit_close(&k);
	ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
}

static struct raft_pos pos_of(raft_index index, raft_term term)
{
	return (struct raft_pos){index, term};
}

static void reset(raft_index index, raft_term term)
{
	ck_assert_msg(wal_reset(k.w, pos_of(index, term), &k.err) == 0, "%s", k.err.msg);
}

static void check_range(raft_index base, raft_index last)
{
	ck_assert_uint_eq(wal_base(k.w).index, base);
	ck_assert_uint_eq(wal_last(k.w).index, last);
	ck_assert_msg(walkit_all_right(&k), "%s", k.err.msg);
}

/* ---- what it does ---- */

START_TEST(test_reset_log_begins_behind_the_position)
{
	wal_set_state(k.w, 7, 3, 1);
	walkit_append(&k, 1, 60, 5, 1);
	walkit_run(&k);
	reset(1000, 6);
	check_range(1000, 1000);
	ck_assert_uint_eq(wal_base(k.w).term, 6);
	reopen();
	check_range(1000, 1000);
	ck_assert_uint_eq(k.rec.base.term, 6);
	ck_assert(k.rec.term == 7 && k.rec.vote == 3 && !k.rec.torn);
	walkit_append(&k, 1001, 1100, 7, 2);
	walkit_run(&k);
	ck_assert_uint_eq(k.done.log_pos.index, 1100);
	reopen();
	check_range(1000, 1100);
}
END_TEST

START_TEST(test_reset_goes_back_as_well_as_forward)
{
	walkit_term(&k, 4);
	walkit_append(&k, 1, 200, 4, 1);
	walkit_run(&k);
	reset(90, 3);
	check_range(90, 90);
	walkit_append(&k, 91, 95, 4, 2);
	walkit_run(&k);
	reopen();
	check_range(90, 95);
}
END_TEST

START_TEST(test_reset_unlinks_the_old_segments)
{
	uint64_t seq = 1;

	walkit_term(&k, 1);
	walkit_append(&k, 1, 300, 1, 1);
	walkit_run(&k);
	while (memfs_exists(k.fs, walkit_segment(seq + 1)))
		seq++;
	ck_assert_uint_gt(seq, 3);
	reset(1000, 1);
	walkit_run(&k);
	for (uint64_t i = 1; i <= seq + 1; i++)
		ck_assert(!memfs_exists(k.fs, walkit_segment(i)));
	ck_assert(memfs_exists(k.fs, walkit_segment(seq + 2)));
	ck_assert_uint_lt(wal_disk_bytes(k.w), 3 * SEGMENT);
	ck_assert_int_eq(k.done.error, 0);
}
END_TEST

START_TEST(test_reset_drops_what_is_queued_and_keeps_the_hard_state_that_is)
{
	walkit_term(&k, 2);
	walkit_run(&k);
	walkit_append(&k, 1, 100, 2, 1);
	wal_set_state(k.w, 9, 4, 17);
	reset(500, 8);
	walkit_run(&k);
	ck_assert(k.done.state && k.done.state_epoch == 17);
	ck_assert(!k.done.log);
	reopen();
	check_range(500, 500);
	ck_assert(k.rec.term == 9 && k.rec.vote == 4);
}
END_TEST

START_TEST(test_reset_may_follow_a_reset)
{
	walkit_term(&k, 1);
	for (raft_index at = 100; at < 4000; at += 100) {
		reset(at, 1);
		if (at % 300 == 0)
			walkit_append(&k, at + 1, at + 60, 1, 1);
		if (at % 700 == 0)
			walkit_run(&k);
		if (at % 500 == 0)
			reopen();
	}
	reset(4000, 1);
	reopen();
	check_range(4000, 4000);
}
END_TEST

static void notified(void *ctx)
{
	(void)ctx;
}

START_TEST(test_reset_beside_the_writers_thread)
{
	walkit_close(&k);
	k.opts.threaded = true;
	k.opts.notify = notified;
	k.opts.cache_bytes = 4096;
	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_term(&k, 3);
	for (raft_index at = 1; at < 6000; at += 200) {
		walkit_append(&k, wal_last(k.w).index + 1, wal_last(k.w).index + 70, 3, 1);
		wal_poll(k.w, &k.done, &k.err);
		reset(at + 150, 3);
		walkit_append(&k, at + 151, at + 170, 3, 2);
	}
	reopen();
	ck_assert(walkit_all_right(&k));
	ck_assert_uint_eq(k.rec.last.index, k.rec.base.index + 20);
}
END_TEST

START_TEST(test_reset_without_room_changes_nothing)
{
	walkit_term(&k, 1);
	walkit_append(&k, 1, 30, 1, 1);
	walkit_run(&k);
	memfs_capacity(k.fs, 1000);
	ck_assert_int_eq(wal_reset(k.w, pos_of(400, 1), &k.err), -ENOSPC);
	check_range(0, 30);
	memfs_capacity(k.fs, UINT64_MAX);
	walkit_append(&k, 31, 40, 1, 1);
	walkit_run(&k);
	ck_assert(k.done.error == 0 && k.done.log_pos.index == 40);
	reopen();
	check_range(0, 40);
	reset(400, 1);
	reopen();
	check_range(400, 400);
}
END_TEST

START_TEST(test_reset_ends_the_wait_for_room)
{
	walkit_term(&k, 1);
	walkit_append(&k, 1, 30, 1, 1);
	walkit_run(&k);
	memfs_capacity(k.fs, 1000);
	walkit_append(&k, 31, 200, 1, 1); /* for which there is no segment */
	walkit_run(&k);
	ck_assert_int_eq(k.done.space, -ENOSPC);
	memfs_capacity(k.fs, UINT64_MAX);
	memfs_fail(k.fs, MEMFS_PWRITE, 1, -ENOSPC); /* and still not while the queue drains */
	reset(400, 1);
	walkit_run(&k);
	ck_assert_int_eq(k.done.space, 0);
	check_range(400, 400);
	reopen();
	check_range(400, 400);
}
END_TEST

/* ---- power cuts and errors at every call ---- */

struct told {
	raft_index durable; /* of the old log */
	bool reset, error;
	raft_index durable_after;
};

/* An old log of some segments, a reset to 500 in its middle or far behind it, and what follows. */
static void life(struct told *t, raft_index to)
{
	*t = (struct told){0};
	walkit_append(&k, 61, 90, 3, 2);
	walkit_run(&k);
	if (k.done.log)
		t->durable = k.done.log_pos.index;
	t->error |= k.done.error != 0;
	walkit_append(&k, 91, 95, 3, 3);
	wal_set_state(k.w, 5, 2, 3);
	t->reset = wal_reset(k.w, pos_of(to, 4), &k.err) == 0;
	t->error |= !t->reset;
	if (!t->reset)
		return;
	walkit_append(&k, to + 1, to + 80, 5, 4);
	walkit_run(&k);
	if (k.done.log)
		t->durable_after = k.done.log_pos.index;
	t->error |= k.done.error != 0;
}

static void begin_life(uint64_t seed)
{
	walkit_init(&k, seed, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0);
	wal_set_state(k.w, 3, 1, 1);
	walkit_append(&k, 1, 60, 3, 1);
	walkit_run(&k);
	ck_assert_uint_eq(k.done.log_pos.index, 60);
}

static bool check_after(const struct told *t, raft_index to, uint64_t n)
{
	unsigned long long call = n;
	bool is_new;

	ck_assert_msg(walkit_open(&k) == 0, "call %llu: %s", call, k.err.msg);
	is_new = k.rec.base.index == to;
	ck_assert_msg(is_new || k.rec.base.index == 0, "call %llu: base %llu", call,
	              (unsigned long long)k.rec.base.index);
	ck_assert_msg(is_new || !t->reset, "call %llu: the reset is undone", call);
	if (is_new) {
		ck_assert_uint_eq(k.rec.base.term, 4);
		ck_assert(k.rec.term == 5 && k.rec.vote == 2);
		ck_assert(k.rec.last.index >= t->durable_after && k.rec.last.index <= to + 80);
	} else {
		ck_assert((k.rec.term == 3 && k.rec.vote == 1) ||
		          (k.rec.term == 5 && k.rec.vote == 2));
		ck_assert(k.rec.last.index >= 60 && k.rec.last.index >= t->durable);
		ck_assert(k.rec.last.index <= 95);
	}
	ck_assert_msg(walkit_all_right(&k), "call %llu: %s", call, k.err.msg);
	return is_new;
}

/* It goes on, over more segments than the numbers that the reset may have used. */
static void check_goes_on(void)
{
	raft_index base = k.rec.base.index, last = k.rec.last.index;

	walkit_term(&k, 6);
	walkit_append(&k, last + 1, last + 200, 6, 9);
	walkit_run(&k);
	ck_assert_int_eq(k.done.error, 0);
	memfs_power_off(k.fs);
	walkit_close(&k);
	memfs_power_on(k.fs, MEMFS_LOSE_ALL);
	ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
	check_range(base, last + 200);
}

static void cut_power_at_every_call(raft_index to, enum memfs_loss loss)
{
	bool was_old = false, was_new = false, fired = true;
	struct told t;

	for (uint64_t n = 1; fired; n++) {
		begin_life(n);
		memfs_power_off_at(k.fs, n);
		life(&t, to);
		fired = memfs_fired(k.fs);
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, loss);
		if (n % 3 == 0) { /* and once more while it comes up */
			memfs_power_off_at(k.fs, 1 + n % 29);
			(void)walkit_open(&k);
			memfs_power_off(k.fs);
			walkit_close(&k);
			memfs_power_on(k.fs, loss);
		}
		if (check_after(&t, to, n))
			was_new = true;
		else
			was_old = true;
		check_goes_on();
		walkit_free(&k);
	}
	ck_assert(was_old && was_new);
}

START_TEST(test_power_cut_at_any_call_of_a_reset_leaves_the_old_log_or_the_new)
{
	static const enum memfs_loss losses[] = {MEMFS_LOSE_NOTHING, MEMFS_LOSE_ALL,
	                                         MEMFS_LOSE_SOME};

	cut_power_at_every_call(500, losses[_i]);
	cut_power_at_every_call(70, losses[_i]);
}
END_TEST

START_TEST(test_any_failing_call_of_a_reset_leaves_the_old_log_or_the_new)
{
	for (int error = 0; error < 2; error++) {
		bool fired = true;

		for (uint64_t n = 1; fired; n++) {
			struct told t;

			begin_life(n);
			memfs_fail(k.fs, MEMFS_ANY, n, error == 0 ? -EIO : -ENOSPC);
			life(&t, 500);
			fired = memfs_fired(k.fs);
			memfs_heal(k.fs);
			if (t.error && error == 0)
				ck_assert_int_ne(wal_reset(k.w, pos_of(500, 4), &k.err), 0);
			memfs_power_off(k.fs);
			walkit_close(&k);
			memfs_power_on(k.fs, n % 2 == 0 ? MEMFS_LOSE_ALL : MEMFS_LOSE_SOME);
			(void)check_after(&t, 500, n);
			check_goes_on();
			walkit_free(&k);
		}
	}
}
END_TEST

/* ---- appending and cutting for ever ---- */

#define KEPT 200u /* entries behind the cut */

/* All that there is room for: what is kept, the segment written, the next one, and one that a cut
 * has not unlinked yet. Should more be needed, the writer would wait for room. */
static uint64_t room(void)
{
	return WALKIT_PAYLOAD_MAX * (uint64_t)KEPT + 4 * (uint64_t)SEGMENT;
}

static void append_and_cut(raft_index *last, raft_index upto)
{
	while (*last < upto) {
		walkit_append(&k, *last + 1, *last + 7, 1, *last);
		*last += 7;
		walkit_run(&k);
		if (*last > KEPT)
			wal_cut(k.w, *last - KEPT, &k.err);
	}
}

START_TEST(test_log_that_is_cut_stays_of_bounded_size_however_much_is_appended)
{
	raft_index last = 0;

	walkit_term(&k, 1);
	memfs_capacity(k.fs, room());
	for (raft_index upto = 1000; upto <= 60000; upto += 1000) {
		append_and_cut(&last, upto);
		ck_assert_int_eq(k.done.space, 0);
		ck_assert_int_eq(k.done.error, 0);
		ck_assert_uint_le(wal_disk_bytes(k.w), room());
		ck_assert(wal_base(k.w).index <= last - KEPT);
		ck_assert(wal_base(k.w).index + KEPT + 200 > last);
		if (upto % 10000 == 0)
			reopen();
	}
	ck_assert(walkit_all_right(&k));
}
END_TEST

/* The first entry of a term takes the place of one before it, again and again: what a follower sees
 * whose leaders change. Where that happens across the border of two segments they go together. */
START_TEST(test_log_with_replaced_entries_is_cut_too)
{
	raft_term term = 1;

	memfs_capacity(k.fs, 2 * room());
	walkit_term(&k, term);
	walkit_append(&k, 1, 10, 1, 1);
	for (int i = 0; i < 4000; i++) {
		raft_index last = wal_last(k.w).index;

		walkit_term(&k, ++term);
		walkit_append(&k, last - (raft_index)(i % 5), last + 3, term, 1);
		walkit_run(&k);
		ck_assert(k.done.space == 0 && k.done.error == 0);
		if (last > KEPT)
			wal_cut(k.w, last - KEPT, &k.err);
	}
	ck_assert_uint_le(wal_disk_bytes(k.w), 2 * room());
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_power_cuts_at_any_call_leave_no_files_behind_for_ever)
{
	raft_index last = 0;

	walkit_term(&k, 1);
	append_and_cut(&last, 300);
	for (uint64_t n = 1; n < 400; n++) {
		raft_index durable = last, base = wal_base(k.w).index;

		memfs_power_off_at(k.fs, 1 + n % 61);
		for (int i = 0; i < 60 && !memfs_fired(k.fs); i++) {
			walkit_append(&k, last + 1, last + 7, 1, last);
			last += 7;
			walkit_run(&k);
			if (k.done.error == 0 && k.done.log)
				durable = k.done.log_pos.index;
			wal_cut(k.w, durable > KEPT ? durable - KEPT : 0, &k.err);
		}
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, n % 2 == 0 ? MEMFS_LOSE_ALL : MEMFS_LOSE_SOME);
		memfs_capacity(k.fs, room());
		ck_assert_msg(walkit_open(&k) == 0, "round %llu: %s", (unsigned long long)n,
		              k.err.msg);
		ck_assert_uint_ge(k.rec.base.index, base);
		ck_assert_uint_le(k.rec.base.index + KEPT, durable);
		ck_assert_uint_ge(k.rec.last.index, durable);
		last = k.rec.last.index;
		ck_assert_uint_le(wal_disk_bytes(k.w), room());
		ck_assert(walkit_all_right(&k));
	}
	ck_assert_uint_gt(last, 10000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wal_reset");
	TCase *c = tcase_create("wal_reset"), *sweep = tcase_create("sweeps");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, test_reset_log_begins_behind_the_position);
	tcase_add_test(c, test_reset_goes_back_as_well_as_forward);
	tcase_add_test(c, test_reset_unlinks_the_old_segments);
	tcase_add_test(c, test_reset_drops_what_is_queued_and_keeps_the_hard_state_that_is);
	tcase_add_test(c, test_reset_may_follow_a_reset);
	tcase_add_test(c, test_reset_beside_the_writers_thread);
	tcase_add_test(c, test_reset_without_room_changes_nothing);
	tcase_add_test(c, test_reset_ends_the_wait_for_room);
	tcase_add_test(c, test_log_that_is_cut_stays_of_bounded_size_however_much_is_appended);
	tcase_add_test(c, test_log_with_replaced_entries_is_cut_too);
	tcase_add_test(c, test_power_cuts_at_any_call_leave_no_files_behind_for_ever);
	tcase_set_timeout(sweep, 120);
	tcase_add_loop_test(
	        sweep, test_power_cut_at_any_call_of_a_reset_leaves_the_old_log_or_the_new, 0, 3);
	tcase_add_test(sweep, test_any_failing_call_of_a_reset_leaves_the_old_log_or_the_new);
	suite_add_tcase(s, c);
	suite_add_tcase(s, sweep);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

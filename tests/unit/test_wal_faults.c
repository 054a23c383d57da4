/* The log when single calls of the operating system fail: an error is reported, nothing is retried
 * that must not be, and what was reported durable is there afterwards. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../support/walkit.h"

#define SEGMENT (8u << 10)

/* What the fixed workload below was told. */
struct told {
	raft_index durable;
	raft_term term;
	bool error, opened;
	bool at_close; /* where the end of the log is only marked, and nobody is left to be told */
};

static void note(struct walkit *k, struct told *t)
{
	walkit_run(k);
	if (k->done.log)
		t->durable = k->done.log_pos.index;
	if (k->done.state)
		t->term = k->done.state_epoch;
	if (k->done.error != 0) {
		t->error = true;
		ck_assert(k->err.code == k->done.error && k->err.msg[0] == '/');
	}
}

/* Opens, appends over several segments, changes the term, replaces, cuts, reads, opens again. */
static void work(struct walkit *k, struct told *t)
{
	for (unsigned life = 0; life < 2; life++) {
		raft_index from = life * 60;
		bool fired;

		if (walkit_open(k) != 0) {
			t->error = true;
			ck_assert_msg(k->err.msg[0] == '/', "%s", k->err.msg);
			ck_assert(k->w == NULL);
			return;
		}
		t->opened = true;
		for (raft_index i = from + 1; i <= from + 60; i += 12) {
			walkit_term(k, i);
			walkit_append(k, i, i + 11, i, 1);
			note(k, t);
			if (t->durable > i + 9)
				t->durable = i + 9; /* what is being replaced is nobody's */
			walkit_append(k, i + 10, i + 11, i, 2);
			note(k, t);
		}
		if (!walkit_all_right(k))
			t->error = true;
		wal_cut(k->w, from + 20, &k->err);
		note(k, t);
		fired = memfs_fired(k->fs);
		walkit_close(k);
		t->at_close |= memfs_fired(k->fs) && !fired;
		if (t->error)
			return;
	}
}

/* Afterwards, on a disk without faults: everything that was reported is there. */
static void check_after(struct walkit *k, const struct told *t, const char *what, uint64_t n)
{
	ck_assert_msg(walkit_open(k) == 0, "%s %llu: %s", what, (unsigned long long)n, k->err.msg);
	ck_assert_msg(k->rec.last.index >= t->durable, "%s %llu: %llu entries of %llu", what,
	              (unsigned long long)n, (unsigned long long)k->rec.last.index,
	              (unsigned long long)t->durable);
	ck_assert_msg(k->rec.term >= t->term, "%s %llu: term lost", what, (unsigned long long)n);
	ck_assert_msg(walkit_all_right(k), "%s %llu: %s", what, (unsigned long long)n, k->err.msg);
	walkit_close(k);
}

/* Errors of these leave no trace: what they did is not needed. */
static bool harmless(enum memfs_call kind)
{
	return kind == MEMFS_CLOSE;
}

/* Makes call after call of one kind fail until the workload is too short to reach it. */
static void sweep(enum memfs_call kind, int error, enum memfs_loss loss)
{
	for (uint64_t n = 1;; n++) {
		struct told t = {0};
		struct walkit k;
		bool fired;

		walkit_init(&k, n, SEGMENT);
		memfs_fail(k.fs, kind, n, error);
		work(&k, &t);
		fired = memfs_fired(k.fs);
		memfs_heal(k.fs);
		walkit_close(&k);
		ck_assert_uint_eq(memfs_open_files(k.fs), 0);
		if (fired && !t.at_close && !harmless(kind) && kind != MEMFS_ANY)
			ck_assert_msg(t.error || error == -ENOSPC, "%s %llu: no error",
			              memfs_call_name(kind), (unsigned long long)n);
		if (loss != MEMFS_LOSE_NOTHING)
			memfs_power_on(k.fs, loss);
		check_after(&k, &t, memfs_call_name(kind), n);
		walkit_free(&k);
		if (!fired) {
			ck_assert(!t.error && t.durable == 120);
			return;
		}
	}
}

START_TEST(test_any_failing_call_is_reported_and_nothing_durable_is_lost)
{
	sweep((enum memfs_call)_i, -EIO, MEMFS_LOSE_NOTHING);
	sweep((enum memfs_call)_i, -EIO, MEMFS_LOSE_SOME);
	sweep((enum memfs_call)_i, -EIO, MEMFS_LOSE_ALL);
}
END_TEST

/* ENOSPC at a single call is either waited out or, where only a sync could tell, final. */
START_TEST(test_a_moment_without_room_loses_nothing)
{
	sweep(MEMFS_PWRITE, -ENOSPC, MEMFS_LOSE_SOME);
	sweep(MEMFS_FDATASYNC, -ENOSPC, MEMFS_LOSE_SOME);
	sweep(MEMFS_OPEN, -ENOSPC, MEMFS_LOSE_SOME);
	sweep(MEMFS_RENAME, -ENOSPC, MEMFS_LOSE_SOME);
}
END_TEST

START_TEST(test_after_a_failed_sync_nothing_more_is_written_or_reported)
{
	uint64_t calls;
	struct walkit k;

	walkit_init(&k, 1, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_term(&k, 1);
	walkit_append(&k, 1, 5, 1, 1);
	walkit_run(&k);
	memfs_fail(k.fs, MEMFS_FDATASYNC, 1, -EIO);
	walkit_append(&k, 6, 9, 1, 1);
	walkit_run(&k);
	ck_assert_int_eq(k.done.error, -EIO);
	ck_assert_str_eq(k.err.msg, "/wal/log-0000000000000001: fdatasync: Input/output error");
	ck_assert(!k.done.log);
	calls = memfs_calls(k.fs, MEMFS_ANY);
	walkit_append(&k, 10, 12, 1, 1);
	wal_set_state(k.w, 2, 2, 2);
	walkit_run(&k);
	ck_assert(k.done.error == -EIO && !k.done.log && !k.done.state);
	ck_assert_uint_eq(memfs_calls(k.fs, MEMFS_ANY), calls);
	walkit_free(&k);
}
END_TEST

/* The kernel drops what a failed sync should have written but goes on showing it. Whoever starts
 * again and finds it readable must not take it for durable. */
START_TEST(test_what_a_failed_sync_left_in_the_page_cache_is_made_durable_at_the_start)
{
	for (int state = 0; state < 2; state++) {
		raft_index last;
		raft_term term;
		struct walkit k;

		walkit_init(&k, 1, SEGMENT);
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_term(&k, 1);
		walkit_append(&k, 1, 5, 1, 1);
		walkit_run(&k);
		memfs_fail(k.fs, MEMFS_FDATASYNC, 1, -EIO);
		if (state)
			walkit_term(&k, 2);
		else
			walkit_append(&k, 6, 9, 1, 1);
		walkit_run(&k);
		ck_assert_int_eq(k.done.error, -EIO);
		walkit_close(&k);
		ck_assert_int_eq(walkit_open(&k), 0); /* the process again, the same kernel */
		last = k.rec.last.index;
		term = k.rec.term;
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, MEMFS_LOSE_ALL);
		ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
		ck_assert_uint_eq(k.rec.last.index, last);
		ck_assert_uint_eq(k.rec.term, term);
		ck_assert(walkit_all_right(&k));
		walkit_free(&k);
	}
}
END_TEST

START_TEST(test_short_writes_are_continued)
{
	for (uint64_t n = 1; n < 40; n++) {
		struct told t = {0};
		struct walkit k;

		walkit_init(&k, n, SEGMENT);
		memfs_short_write(k.fs, n, (size_t)(n * 37 % 200 + 1));
		work(&k, &t);
		ck_assert(!t.error && t.durable == 120);
		check_after(&k, &t, "short write", n);
		walkit_free(&k);
	}
}
END_TEST

START_TEST(test_interrupted_reads_and_writes_are_repeated)
{
	for (int i = 0; i < 2; i++) {
		for (uint64_t n = 1; n < 40; n++) {
			struct told t = {0};
			struct walkit k;

			walkit_init(&k, n, SEGMENT);
			memfs_fail(k.fs, i == 0 ? MEMFS_PWRITE : MEMFS_PREAD, n, -EINTR);
			work(&k, &t);
			ck_assert(!t.error && t.durable == 120);
			walkit_free(&k);
		}
	}
}
END_TEST

/* A write that stops at any byte, and the process with it: the rest of the batch is a torn tail. */
START_TEST(test_a_process_that_dies_within_a_write_leaves_a_torn_tail)
{
	bool torn = false;

	for (size_t bytes = 1; bytes < 1200; bytes++) {
		struct walkit k;

		walkit_init(&k, 1, SEGMENT);
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_term(&k, 1);
		walkit_append(&k, 1, 3, 1, 1);
		walkit_run(&k);
		memfs_short_write(k.fs, 1, bytes);
		memfs_fail(k.fs, MEMFS_PWRITE, 2, -EIO);
		walkit_append(&k, 4, 11, 1, 1);
		walkit_run(&k);
		ck_assert(k.done.error == -EIO || k.done.log_pos.index == 11);
		walkit_close(&k);
		memfs_heal(k.fs);
		ck_assert_msg(walkit_open(&k) == 0, "%zu bytes: %s", bytes, k.err.msg);
		ck_assert(k.rec.last.index >= 3 && k.rec.last.index <= 11);
		ck_assert(walkit_all_right(&k));
		torn |= k.rec.torn;
		walkit_append(&k, k.rec.last.index + 1, 12, 1, 1);
		walkit_close(&k);
		ck_assert_int_eq(walkit_open(&k), 0);
		ck_assert(k.rec.last.index == 12 && !k.rec.torn && walkit_all_right(&k));
		walkit_free(&k);
	}
	ck_assert(torn);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wal_faults");
	TCase *c = tcase_create("wal_faults");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, test_any_failing_call_is_reported_and_nothing_durable_is_lost, 0,
	                    MEMFS_ANY + 1);
	tcase_add_test(c, test_a_moment_without_room_loses_nothing);
	tcase_add_test(c, test_after_a_failed_sync_nothing_more_is_written_or_reported);
	tcase_add_test(c,
	               test_what_a_failed_sync_left_in_the_page_cache_is_made_durable_at_the_start);
	tcase_add_test(c, test_short_writes_are_continued);
	tcase_add_test(c, test_interrupted_reads_and_writes_are_repeated);
	tcase_add_test(c, test_a_process_that_dies_within_a_write_leaves_a_torn_tail);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

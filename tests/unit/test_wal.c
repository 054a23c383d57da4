/* The log as its owner sees it: queue, group commit, reading, replacing, cutting, room. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../src/base/mem.h"
#include "../support/walkit.h"

#define SEGMENT (16u << 10)

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

START_TEST(test_a_new_directory_keeps_its_first_incarnation)
{
	uint64_t first = k.rec.identity.incarnation;

	ck_assert(k.rec.created);
	ck_assert(k.rec.term == 0 && k.rec.vote == 0 && k.rec.last.index == 0);
	k.opts.identity.incarnation = 999;
	reopen();
	ck_assert(!k.rec.created);
	ck_assert_uint_eq(k.rec.identity.incarnation, first);
	ck_assert_str_eq(k.rec.identity.cluster, "demo");
}
END_TEST

START_TEST(test_entries_and_hard_state_come_back)
{
	wal_set_state(k.w, 7, 2, 1);
	walkit_append(&k, 1, 40, 6, 9);
	walkit_run(&k);
	ck_assert(k.done.state && k.done.state_epoch == 1);
	ck_assert(k.done.log && k.done.log_epoch == 9);
	ck_assert(k.done.log_pos.index == 40 && k.done.log_pos.term == 6);
	reopen();
	ck_assert(k.rec.term == 7 && k.rec.vote == 2);
	ck_assert(k.rec.last.index == 40 && k.rec.last.term == 6 && k.rec.base.index == 0);
	ck_assert(!k.rec.torn);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_all_that_is_queued_costs_one_write_and_one_sync)
{
	uint64_t writes, syncs;

	walkit_term(&k, 1);
	walkit_run(&k);
	writes = memfs_calls(k.fs, MEMFS_PWRITE);
	syncs = memfs_calls(k.fs, MEMFS_FDATASYNC);
	walkit_append(&k, 1, 30, 1, 1);
	ck_assert(wal_work(k.w));
	ck_assert_uint_eq(memfs_calls(k.fs, MEMFS_PWRITE), writes + 1);
	ck_assert_uint_eq(memfs_calls(k.fs, MEMFS_FDATASYNC), syncs + 1);
	wal_poll(k.w, &k.done, &k.err);
	ck_assert_uint_eq(k.done.log_pos.index, 30);
	wal_poll(k.w, &k.done, &k.err);
	ck_assert(!k.done.log && !k.done.state);
}
END_TEST

START_TEST(test_entries_can_be_read_before_they_are_written_and_after_they_left_memory)
{
	struct raft_entry e[64];

	walkit_term(&k, 1);
	walkit_append(&k, 1, 60, 1, 1);
	ck_assert_int_eq(wal_read(k.w, 1, 64, UINT64_MAX, e, &k.err), 60);
	for (int i = 0; i < 60; i++)
		ck_assert(walkit_entry_right(&e[i]));
	walkit_run(&k); /* cache_bytes is 0: everything durable leaves */
	walkit_append(&k, 61, 64, 1, 1);
	ck_assert_int_eq(wal_read(k.w, 50, 64, UINT64_MAX, e, &k.err), 15);
	for (int i = 0; i < 15; i++)
		ck_assert(e[i].pos.index == 50 + (raft_index)i && walkit_entry_right(&e[i]));
}
END_TEST

START_TEST(test_the_newest_entries_stay_in_the_cache)
{
	struct raft_entry e;
	uint64_t reads;

	walkit_close(&k);
	k.opts.cache_bytes = 1 << 20;
	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_term(&k, 1);
	walkit_append(&k, 1, 30, 1, 1);
	walkit_run(&k);
	reads = memfs_calls(k.fs, MEMFS_PREAD);
	ck_assert_int_eq(wal_read(k.w, 7, 1, 1, &e, &k.err), 1);
	ck_assert(walkit_entry_right(&e));
	ck_assert_uint_eq(memfs_calls(k.fs, MEMFS_PREAD), reads);
}
END_TEST

START_TEST(test_read_obeys_count_and_bytes_but_gives_at_least_one)
{
	struct raft_entry e[8];
	char payload[100] = {'x'};

	walkit_term(&k, 1);
	for (raft_index i = 1; i <= 5; i++) {
		struct raft_entry in = {
		        .pos = {i, 1}, .kind = RAFT_ENTRY_COMMAND, .len = 100, .data = payload};

		wal_append(k.w, &in, 1, 1);
	}
	ck_assert_int_eq(wal_read(k.w, 1, 2, UINT64_MAX, e, &k.err), 2);
	ck_assert_int_eq(wal_read(k.w, 1, 8, 300, e, &k.err), 3);
	ck_assert_int_eq(wal_read(k.w, 1, 8, 299, e, &k.err), 2);
	ck_assert_int_eq(wal_read(k.w, 1, 8, 0, e, &k.err), 1);
	ck_assert_int_eq(wal_read(k.w, 0, 8, 300, e, &k.err), 0);
	ck_assert_int_eq(wal_read(k.w, 6, 8, 300, e, &k.err), 0);
	ck_assert(wal_entry_at(k.w, 5, &e[0]) && e[0].len == 100 && e[0].data == NULL);
	ck_assert(!wal_entry_at(k.w, 6, &e[0]) && !wal_entry_at(k.w, 0, &e[0]));
}
END_TEST

START_TEST(test_an_append_in_the_middle_replaces_what_is_behind)
{
	struct raft_entry e;

	walkit_term(&k, 2);
	walkit_append(&k, 1, 20, 1, 1);
	walkit_run(&k);
	walkit_append(&k, 21, 25, 1, 1);
	walkit_append(&k, 15, 16, 2, 2);
	ck_assert(wal_last(k.w).index == 16 && wal_last(k.w).term == 2);
	ck_assert(walkit_all_right(&k));
	walkit_run(&k);
	ck_assert(k.done.log_epoch == 2 && k.done.log_pos.index == 16);
	reopen();
	ck_assert(k.rec.last.index == 16 && k.rec.last.term == 2);
	ck_assert(wal_entry_at(k.w, 14, &e) && e.pos.term == 1);
	ck_assert(wal_entry_at(k.w, 15, &e) && e.pos.term == 2);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_hard_state_is_on_disk_before_entries_queued_with_it)
{
	/* Whichever call the power goes at, entries of a term are never there without the term. */
	for (uint64_t n = 1;; n++) {
		walkit_free(&k);
		setup();
		memfs_power_off_at(k.fs, n);
		walkit_term(&k, 5);
		walkit_append(&k, 1, 10, 5, 1);
		walkit_run(&k);
		if (!memfs_fired(k.fs))
			break;
		walkit_close(&k);
		memfs_power_on(k.fs, MEMFS_LOSE_NOTHING);
		ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
		ck_assert(k.rec.last.index == 0 || k.rec.term == 5);
	}
}
END_TEST

START_TEST(test_the_log_goes_on_over_many_segments)
{
	walkit_term(&k, 3);
	for (raft_index i = 1; i <= 600; i += 20) {
		walkit_append(&k, i, i + 19, 3, i);
		walkit_run(&k);
		ck_assert_uint_eq(k.done.log_pos.index, i + 19);
	}
	ck_assert(memfs_exists(k.fs, walkit_segment(4)));
	ck_assert(walkit_all_right(&k));
	reopen();
	ck_assert(k.rec.segments >= 4 && k.rec.last.index == 600);
	ck_assert(walkit_all_right(&k));
	ck_assert(wal_disk_bytes(k.w) >= k.rec.segments * SEGMENT);
}
END_TEST

START_TEST(test_one_round_may_span_segments)
{
	walkit_term(&k, 3);
	walkit_append(&k, 1, 600, 3, 1);
	ck_assert(wal_work(k.w));
	wal_poll(k.w, &k.done, &k.err);
	ck_assert_uint_eq(k.done.log_pos.index, 600);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, 600);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_the_next_segment_is_ready_before_it_is_needed)
{
	raft_index i = 1;

	walkit_term(&k, 1);
	while (!memfs_exists(k.fs, "/wal/log.tmp")) {
		walkit_append(&k, i, i, 1, 1);
		walkit_run(&k);
		ck_assert(!memfs_exists(k.fs, walkit_segment(2)));
		i++;
	}
	ck_assert_uint_eq(memfs_file_size(k.fs, "/wal/log.tmp"), SEGMENT);
	reopen();
	ck_assert(!memfs_exists(k.fs, "/wal/log.tmp"));
}
END_TEST

START_TEST(test_another_segment_size_holds_from_the_next_segment_on)
{
	walkit_term(&k, 1);
	walkit_append(&k, 1, 50, 1, 1);
	walkit_close(&k); /* writes what is queued */
	k.opts.segment_bytes = 2 * SEGMENT - 100;
	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_append(&k, 51, 300, 1, 1);
	walkit_run(&k);
	ck_assert_uint_eq(memfs_file_size(k.fs, walkit_segment(1)), SEGMENT);
	ck_assert_uint_eq(memfs_file_size(k.fs, walkit_segment(2)), 2 * SEGMENT);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, 300);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_an_entry_larger_than_a_segment_gets_one_of_its_size)
{
	static uint8_t large[RAFT_ENTRY_BYTES_MAX];
	struct raft_entry e = {
	        .pos = {2, 1}, .kind = RAFT_ENTRY_COMMAND, .len = sizeof(large), .data = large};

	memset(large, 'x', sizeof(large));
	walkit_term(&k, 1);
	walkit_append(&k, 1, 1, 1, 1);
	wal_append(k.w, &e, 1, 1);
	walkit_append(&k, 3, 60, 1, 1);
	walkit_run(&k);
	ck_assert_uint_eq(k.done.log_pos.index, 60);
	ck_assert_uint_eq(memfs_file_size(k.fs, walkit_segment(2)), 4096 + sizeof(large) + 4096);
	ck_assert_uint_eq(memfs_file_size(k.fs, walkit_segment(3)), SEGMENT);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, 60);
	ck_assert_int_eq((int)wal_read(k.w, 2, 1, UINT64_MAX, &e, &k.err), 1);
	ck_assert(e.len == sizeof(large) && memcmp(e.data, large, sizeof(large)) == 0);
	wal_cut(k.w, 60, &k.err);
	walkit_run(&k);
	ck_assert(!memfs_exists(k.fs, walkit_segment(2)));
}
END_TEST

START_TEST(test_cut_removes_whole_segments_and_moves_the_base)
{
	struct raft_pos base;
	struct raft_entry e;

	walkit_term(&k, 3);
	walkit_append(&k, 1, 600, 3, 1);
	walkit_run(&k);
	ck_assert_int_eq(wal_cut(k.w, 0, &k.err), 0);
	ck_assert_uint_eq(wal_base(k.w).index, 0);
	ck_assert_int_eq(wal_cut(k.w, 300, &k.err), 0);
	base = wal_base(k.w);
	ck_assert(base.index > 0 && base.index <= 300 && base.term == 3);
	ck_assert(!wal_entry_at(k.w, base.index, &e) && wal_entry_at(k.w, base.index + 1, &e));
	walkit_run(&k);
	ck_assert(!memfs_exists(k.fs, walkit_segment(1)));
	reopen();
	ck_assert(k.rec.base.index == base.index && k.rec.base.term == 3);
	ck_assert_uint_eq(k.rec.last.index, 600);
	ck_assert(walkit_all_right(&k));
	wal_cut(k.w, 600, &k.err);
	ck_assert(wal_base(k.w).index < 600);
	walkit_append(&k, 601, 610, 3, 1);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, 610);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_cut_keeps_a_segment_that_a_replacing_entry_still_needs)
{
	raft_index i = 1;

	walkit_term(&k, 2);
	while (!memfs_exists(k.fs, walkit_segment(2))) {
		walkit_append(&k, i, i, 1, 1);
		walkit_run(&k);
		i++;
	}
	walkit_append(&k, i - 10, i - 5, 2, 2);
	walkit_run(&k);
	wal_cut(k.w, i - 5, &k.err);
	ck_assert_uint_eq(wal_base(k.w).index, 0);
	walkit_append(&k, i - 4, i + 300, 2, 2);
	walkit_run(&k);
	wal_cut(k.w, i + 300, &k.err);
	ck_assert(wal_base(k.w).index > i);
	walkit_run(&k);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, i + 300);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_no_room_is_reported_and_waited_for)
{
	raft_index had;

	walkit_term(&k, 1);
	memfs_capacity(k.fs, SEGMENT + 12000);
	walkit_append(&k, 1, 500, 1, 4);
	walkit_run(&k);
	ck_assert(k.done.space == -ENOSPC && k.done.error == 0);
	ck_assert(k.done.log && k.done.log_pos.index < 500 && k.done.state);
	had = k.done.log_pos.index;
	walkit_append(&k, 501, 510, 1, 4);
	wal_set_state(k.w, 2, 3, 8);
	walkit_run(&k);
	ck_assert(k.done.space == -ENOSPC && !k.done.log && k.done.state &&
	          k.done.state_epoch == 8);
	ck_assert(walkit_all_right(&k)); /* what waits can be read */
	memfs_capacity(k.fs, UINT64_MAX);
	walkit_run(&k);
	ck_assert(k.done.space == 0 && k.done.log_pos.index == 510 && had < 510);
	reopen();
	ck_assert_uint_eq(k.rec.last.index, 510);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_close_without_room_ends_and_keeps_what_was_durable)
{
	raft_index had;

	walkit_term(&k, 1);
	memfs_capacity(k.fs, SEGMENT + 12000);
	walkit_append(&k, 1, 500, 1, 4);
	walkit_run(&k);
	had = k.done.log_pos.index;
	reopen();
	ck_assert_uint_eq(k.rec.last.index, had);
	ck_assert(!k.rec.torn);
}
END_TEST

START_TEST(test_a_directory_of_another_cluster_or_node_is_refused)
{
	walkit_close(&k);
	k.opts.identity.node_id = 4;
	ck_assert_int_eq(walkit_open(&k), RFS_EIDENTITY);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "/wal belongs to node 3 of cluster \"demo\""));
	k.opts.identity.node_id = 3;
	(void)snprintf(k.opts.identity.cluster, sizeof(k.opts.identity.cluster), "other");
	ck_assert_int_eq(walkit_open(&k), RFS_EIDENTITY);
	ck_assert_ptr_null(k.w);
	ck_assert_uint_eq(memfs_open_files(k.fs), 0);
}
END_TEST

START_TEST(test_a_record_that_rots_after_the_start_is_found_when_it_is_read)
{
	struct raft_entry e[4];
	uint64_t at = 4096 + 50;

	walkit_term(&k, 1);
	walkit_append(&k, 1, 4, 1, 1);
	walkit_run(&k);
	memfs_flip(k.fs, walkit_segment(1), at, 4);
	ck_assert_int_eq(wal_read(k.w, 1, 4, UINT64_MAX, e, &k.err), RFS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "log-0000000000000001 offset 4096"));
}
END_TEST

START_TEST(test_several_logs_live_side_by_side)
{
	struct walkit other;

	walkit_init(&other, 2, SEGMENT);
	ck_assert_int_eq(walkit_open(&other), 0);
	walkit_term(&k, 1);
	walkit_term(&other, 2);
	walkit_append(&k, 1, 10, 1, 1);
	walkit_append(&other, 1, 20, 2, 1);
	walkit_run(&other);
	walkit_run(&k);
	ck_assert(wal_last(k.w).index == 10 && wal_last(other.w).index == 20);
	ck_assert(walkit_all_right(&k) && walkit_all_right(&other));
	walkit_free(&other);
}
END_TEST

START_TEST(test_impossible_options_are_refused)
{
	struct wal_opts o = k.opts;
	struct wal_recovered rec;
	struct wal *w;

	o.segment_bytes = 4096;
	ck_assert_int_eq(wal_open(&w, "/x", &o, &rec, &k.err), -EINVAL);
	o.segment_bytes = SEGMENT;
	ck_assert_int_eq(wal_open(&w, "/no/parent", &o, &rec, &k.err), -ENOENT);
	wal_close(NULL);
}
END_TEST

/* ---- with the writer's thread ---- */

struct bell {
	pthread_mutex_t mu;
	pthread_cond_t rung;
	uint64_t rings;
};

static void ring(void *ctx)
{
	struct bell *b = ctx;

	(void)pthread_mutex_lock(&b->mu);
	b->rings++;
	(void)pthread_cond_signal(&b->rung);
	(void)pthread_mutex_unlock(&b->mu);
}

static struct bell bell = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

/* Poll at each ring until entry `index` is durable or something is wrong. */
static void wait_durable(struct walkit *t, raft_index index)
{
	uint64_t seen = 0;

	for (;;) {
		wal_poll(t->w, &t->done, &t->err);
		ck_assert_msg(t->done.error == 0, "%s", t->err.msg);
		if (t->done.log && t->done.log_pos.index >= index)
			return;
		if (t->done.space != 0)
			memfs_capacity(t->fs, UINT64_MAX);
		(void)pthread_mutex_lock(&bell.mu);
		while (bell.rings == seen)
			(void)pthread_cond_wait(&bell.rung, &bell.mu);
		seen = bell.rings;
		(void)pthread_mutex_unlock(&bell.mu);
	}
}

static void thread_kit(struct walkit *t)
{
	walkit_init(t, 5, 64u << 10);
	t->opts.threaded = true;
	t->opts.notify = ring;
	t->opts.notify_ctx = &bell;
	t->opts.cache_bytes = 20000;
}

START_TEST(test_the_thread_writes_while_the_owner_appends_reads_and_cuts)
{
	struct raft_entry e[32];
	struct walkit t;

	thread_kit(&t);
	ck_assert_int_eq(walkit_open(&t), 0);
	walkit_term(&t, 1);
	for (raft_index i = 1; i <= 6000; i += 10) {
		walkit_append(&t, i, i + 9, 1, i);
		wal_poll(t.w, &t.done, &t.err);
		if (i > 500) {
			ck_assert_int_gt(wal_read(t.w, i - 400, 32, 4000, e, &t.err), 0);
			ck_assert(walkit_entry_right(&e[0]));
			wal_cut(t.w, i - 450, &t.err);
		}
	}
	if (!t.done.log || t.done.log_pos.index < 6000)
		wait_durable(&t, 6000);
	ck_assert(walkit_all_right(&t));
	wal_cut(t.w, 5500, &t.err);
	walkit_close(&t);
	ck_assert_msg(walkit_open(&t) == 0, "%s", t.err.msg);
	ck_assert_uint_eq(t.rec.last.index, 6000);
	ck_assert(t.rec.base.index > 0 && walkit_all_right(&t));
	walkit_free(&t);
}
END_TEST

START_TEST(test_the_thread_goes_on_when_there_is_room_again)
{
	struct walkit t;

	thread_kit(&t);
	ck_assert_int_eq(walkit_open(&t), 0);
	memfs_capacity(t.fs, 80000);
	walkit_term(&t, 1);
	walkit_append(&t, 1, 1500, 1, 1);
	wait_durable(&t, 1500);
	walkit_close(&t);
	ck_assert_int_eq(walkit_open(&t), 0);
	ck_assert_uint_eq(t.rec.last.index, 1500);
	walkit_free(&t);
}
END_TEST

static void remove_tree(const char *dir)
{
	char command[300];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_a_log_on_the_real_file_system)
{
	const char *tmp = getenv("TMPDIR");
	char root[200], dir[210];
	struct walkit t;

	(void)snprintf(root, sizeof(root), "%s/wal-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	(void)snprintf(dir, sizeof(dir), "%s/wal", root);
	thread_kit(&t);
	t.opts.ops = NULL;
	ck_assert_int_eq(wal_open(&t.w, dir, &t.opts, &t.rec, &t.err), 0);
	walkit_term(&t, 4);
	walkit_append(&t, 1, 2000, 4, 7);
	wait_durable(&t, 2000);
	ck_assert_uint_eq(t.done.log_epoch, 7);
	walkit_append(&t, 1900, 1950, 4, 8);
	wal_cut(t.w, 1000, &t.err);
	walkit_close(&t);
	ck_assert_msg(wal_open(&t.w, dir, &t.opts, &t.rec, &t.err) == 0, "%s", t.err.msg);
	ck_assert(t.rec.term == 4 && t.rec.last.index == 1950 && t.rec.base.index > 0);
	ck_assert(walkit_all_right(&t));
	walkit_free(&t);
	remove_tree(root);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wal");
	TCase *c = tcase_create("wal");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_a_new_directory_keeps_its_first_incarnation);
	tcase_add_test(c, test_entries_and_hard_state_come_back);
	tcase_add_test(c, test_all_that_is_queued_costs_one_write_and_one_sync);
	tcase_add_test(c,
	               test_entries_can_be_read_before_they_are_written_and_after_they_left_memory);
	tcase_add_test(c, test_the_newest_entries_stay_in_the_cache);
	tcase_add_test(c, test_read_obeys_count_and_bytes_but_gives_at_least_one);
	tcase_add_test(c, test_an_append_in_the_middle_replaces_what_is_behind);
	tcase_add_test(c, test_hard_state_is_on_disk_before_entries_queued_with_it);
	tcase_add_test(c, test_the_log_goes_on_over_many_segments);
	tcase_add_test(c, test_one_round_may_span_segments);
	tcase_add_test(c, test_the_next_segment_is_ready_before_it_is_needed);
	tcase_add_test(c, test_another_segment_size_holds_from_the_next_segment_on);
	tcase_add_test(c, test_an_entry_larger_than_a_segment_gets_one_of_its_size);
	tcase_add_test(c, test_cut_removes_whole_segments_and_moves_the_base);
	tcase_add_test(c, test_cut_keeps_a_segment_that_a_replacing_entry_still_needs);
	tcase_add_test(c, test_no_room_is_reported_and_waited_for);
	tcase_add_test(c, test_close_without_room_ends_and_keeps_what_was_durable);
	tcase_add_test(c, test_a_directory_of_another_cluster_or_node_is_refused);
	tcase_add_test(c, test_a_record_that_rots_after_the_start_is_found_when_it_is_read);
	tcase_add_test(c, test_several_logs_live_side_by_side);
	tcase_add_test(c, test_impossible_options_are_refused);
	tcase_add_test(c, test_the_thread_writes_while_the_owner_appends_reads_and_cuts);
	tcase_add_test(c, test_the_thread_goes_on_when_there_is_room_again);
	tcase_add_test(c, test_a_log_on_the_real_file_system);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

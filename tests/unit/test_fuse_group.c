/* Groups: what is collected, when and how it is committed, who waits, who sees it, and what becomes of everybody when
 * it fails. */
#include "group_kit.h"

/* ---- in memory ---- */

START_TEST(test_a_thousand_small_writes_are_one_entry)
{
	struct file *f = open_file(O_WRONLY);
	const struct fs_op *op;
	size_t close;

	for (unsigned i = 0; i < 1000; i++)
		expect(write_at(f, 10u * i, "0123456789", 10), 0);
	ck_assert_uint_eq(n_sent, 0);
	close = flush(f);
	ck_assert_uint_eq(n_sent, 1);
	op = expect_sent(0, FS_OP_WRITE, 0);
	ck_assert_uint_eq(op->data_len, 10000);
	ck_assert_int_ne(op->mtime_ns, 0);
	expect(close, PENDING);
	answer(0);
	expect(close, 0);
	ck_assert_uint_eq(server_file(INO)->bytes.len, 10000);
}
END_TEST

START_TEST(test_a_truncation_travels_with_the_group_and_holes_become_zeros)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);
	size_t close;

	server_write(server_file(INO), 0, "what was there before", 21);
	expect(write_at(f, 4, "four", 4), 0);
	expect(write_at(f, 0, "ab", 2), 0);
	ck_assert(!f->owes_truncation);
	close = flush(f);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	answer(0);
	expect(close, 0);
	file_contains("ab\0\0four", 8);
	ck_assert_uint_eq(n_sent, 1);
}
END_TEST

START_TEST(test_several_pieces_are_staged_at_the_commit)
{
	struct file *f = open_file(O_WRONLY);
	size_t close;

	server_write(server_file(INO), 0, "0123456789", 10);
	expect(write_at(f, 8, "IJKL", 4), 0);
	expect(write_at(f, 1, "B", 1), 0);
	ck_assert_uint_eq(n_sent, 0);
	close = flush(f);
	expect_sent(0, FS_OP_MKNOD, FS_F_TMPFILE);
	answer(0);
	ck_assert_uint_eq(n_sent, 3);
	answer(2);
	answer(1);
	expect_sent(3, FS_OP_ADOPT, 0);
	expect(close, PENDING);
	answer(3);
	expect(close, 0);
	file_contains("0B234567IJKL", 12);
	ck_assert_ptr_null(server_file(STAGE));
}
END_TEST

START_TEST(test_an_append_is_decided_at_apply)
{
	struct file *f = open_file(O_WRONLY | O_APPEND);

	expect(write_at(f, 0, "one ", 4), 0);
	expect(write_at(f, 0, "two ", 4), 0);
	(void)flush(f);
	expect_sent(0, FS_OP_WRITE, FS_F_APPEND);
	server_write(server_file(INO), 0, "zero ", 5);
	answer(0);
	file_contains("zero one two ", 13);
}
END_TEST

START_TEST(test_an_append_behind_a_truncation_goes_behind_what_the_group_has)
{
	struct file *f = open_file(O_WRONLY | O_APPEND | O_TRUNC);

	server_write(server_file(INO), 0, "old", 3);
	expect(write_at(f, 0, "one ", 4), 0);
	expect(write_at(f, 0, "two ", 4), 0);
	(void)flush(f);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	answer(0);
	file_contains("one two ", 8);
}
END_TEST

START_TEST(
        test_a_file_made_by_its_opening_is_replaced_by_its_first_group_as_long_as_nobody_changes_it)
{
	struct file *f = open_file(O_WRONLY), *g = open_file(O_WRONLY);

	f->write_truncates = true;
	expect(write_at(f, 5, "x", 1), 0);
	expect(write_at(f, 0, "y", 1), 0);
	(void)flush(f);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	answer(0);
	expect(write_at(f, 0, "z", 1), 0);
	(void)flush(f);
	expect_sent(1, FS_OP_WRITE, 0);
	answer(1);
	f->write_truncates = true;
	expect(write_at(g, 1, "g", 1), 0);
	(void)flush(g);
	answer(2);
	expect(write_at(f, 0, "f", 1), 0);
	(void)flush(f);
	expect_sent(3, FS_OP_WRITE, 0);
	answer(3);
	f->write_truncates = true;
	(void)resize(g, 100);
	answer(4);
	expect(write_at(f, 0, "f", 1), 0);
	(void)flush(f);
	expect_sent(5, FS_OP_WRITE, 0);
	answer(5);
}
END_TEST

/* ---- staged ---- */

START_TEST(test_more_than_a_write_may_have_is_staged_and_the_rest_stays)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);
	size_t close;

	for (unsigned i = 0; i < 5; i++)
		expect(write_many(f, (uint64_t)i * MIB / 2, MIB / 2, (char)('a' + i)), 0);
	ck_assert_uint_eq(n_sent, 1);
	answer(0);
	ck_assert_uint_eq(n_sent, 3); /* 2.5 MiB: two are sent, the rest is small */
	close = flush(f);
	ck_assert_uint_eq(n_sent, 4);
	answer(1);
	answer(3);
	ck_assert_uint_eq(n_sent, 4); /* not before all of it is there */
	answer(2);
	expect_sent(4, FS_OP_ADOPT, FS_F_TRUNC);
	answer(4);
	expect(close, 0);
	ck_assert_uint_eq(server_file(INO)->bytes.len, 5 * MIB / 2);
	ck_assert_int_eq(server_file(INO)->bytes.data[2 * MIB], 'e');
}
END_TEST

START_TEST(test_writes_wait_for_answers_once_4_mib_are_unanswered)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);
	size_t mark[7];

	for (unsigned i = 0; i < 7; i++)
		mark[i] = write_many(f, (uint64_t)i * MIB, MIB, (char)('a' + i));
	for (unsigned i = 0; i < 4; i++)
		expect(mark[i], 0);
	expect(mark[4], PENDING);
	answer(0);
	expect(mark[4], PENDING);
	answer(1);
	expect(mark[4], 0);
	expect(mark[5], PENDING);
	request_fail(request_of(mark[5]), -EINTR); /* as an interrupt does: it was not done */
	(void)flush(f);
	answer_all();
	expect(mark[6], 0);
	ck_assert_int_eq(server_file(INO)->bytes.data[5 * MIB], 0);
	ck_assert_int_eq(server_file(INO)->bytes.data[6 * MIB], 'g');
}
END_TEST

START_TEST(test_what_is_written_over_bytes_under_way_comes_behind_them)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);

	expect(write_many(f, 0, MIB, 'a'), 0);
	expect(write_many(f, MIB, MIB, 'b'), 0);
	answer(0);
	ck_assert_uint_eq(n_sent, 2);
	expect(write_at(f, 3, "new", 3), 0);
	(void)flush(f);
	ck_assert_uint_eq(n_sent, 3); /* the other MiB */
	answer(2);
	ck_assert_uint_eq(n_sent, 3);
	answer(1);
	ck_assert_uint_eq(n_sent, 4);
	answer_all();
	ck_assert_mem_eq(server_file(INO)->bytes.data, "aaanewaa", 8);
	ck_assert_uint_eq(server_file(INO)->bytes.len, 2 * MIB);
}
END_TEST

START_TEST(test_all_groups_together_have_a_limit_beyond_which_the_oldest_make_room)
{
	struct file *f[80];
	size_t mark[80];

	for (unsigned i = 0; i < 80; i++) {
		(void)server_make(100 + i);
		f[i] = file_new(&m, 100 + i, O_WRONLY, 100, true);
		mark[i] = write_many(f[i], 0, MIB, 'x');
	}
	expect(mark[63], 0);
	expect(mark[64], PENDING);
	ck_assert_uint_le(m.group_bytes, GROUP_MEMORY_BYTES_MAX);
	ck_assert_uint_gt(n_sent, 0);
	answer_all();
	for (unsigned i = 0; i < 80; i++) {
		expect(mark[i], 0);
		(void)flush(f[i]);
	}
	answer_all();
	for (unsigned i = 0; i < 80; i++)
		ck_assert_uint_eq(server_file(100 + i)->bytes.len, MIB);
}
END_TEST

START_TEST(test_of_a_file_with_contents_at_most_what_an_adoption_copies)
{
	struct file *f = open_file(O_RDWR);

	server_resize(server_file(INO), 100);
	for (unsigned i = 0; i < 16; i++) {
		(void)write_many(f, (uint64_t)i * MIB, MIB, 'x');
		answer_all();
	}
	expect(write_at(f, 17 * MIB, "x", 1), -EFBIG);
	ck_assert_ptr_nonnull(strstr(m.last_error, "fsync(2)"));
	expect(write_at(f, 5, "y", 1), 0); /* nothing more */
	(void)fsync_of(f);
	answer_all();
	expect(write_at(f, 17 * MIB, "x", 1), 0);
	(void)flush(f);
	answer_all();
}
END_TEST

START_TEST(test_of_a_file_with_contents_at_most_as_many_pieces_as_an_adoption_has)
{
	struct file *f = open_file(O_RDWR);

	server_resize(server_file(INO), 100);
	for (uint64_t i = 0; i < FS_RANGES_MAX; i++)
		expect(write_at(f, 2 * i, "x", 1), 0);
	expect(write_at(f, 2 * (uint64_t)FS_RANGES_MAX, "x", 1), -EFBIG);
	expect(write_at(f, 1, "x", 1), 0); /* two become one */
	expect(write_at(f, 2 * (uint64_t)FS_RANGES_MAX, "x", 1), 0);
	(void)flush(f);
	answer_all();
	ck_assert_uint_eq(server_file(INO)->bytes.len, 2 * FS_RANGES_MAX + 1);
}
END_TEST

START_TEST(test_a_file_that_is_known_to_be_empty_takes_any_number_of_bytes)
{
	const struct fs_attr empty = {.ino = INO, .mode = S_IFREG};
	struct file *f = open_file(O_WRONLY);

	inode_found(&m.inodes, &empty, 1, FS_STR("f"));
	for (unsigned i = 0; i < 20; i++) {
		expect(write_many(f, (uint64_t)i * MIB, MIB, 'x'), 0);
		answer_all();
	}
	(void)flush(f);
	answer_all();
	ck_assert_uint_eq(server_file(INO)->bytes.len, 20 * MIB);
	inode_unname(&m.inodes, 1, FS_STR("f"));
}
END_TEST

/* ---- what comes behind a group ---- */

START_TEST(test_a_change_that_is_not_collected_comes_behind)
{
	struct file *f = open_file(O_RDWR), *other = open_file(O_RDWR);
	size_t cut;

	expect(write_at(f, 0, "0123456789", 10), 0);
	cut = resize(other, 5);
	expect_sent(0, FS_OP_WRITE, 0);
	ck_assert_uint_eq(n_sent, 1);
	answer(0);
	expect_sent(1, FS_OP_SETATTR, 0);
	answer(1);
	expect(cut, 0);
	file_contains("01234", 5);
}
END_TEST

START_TEST(test_an_fsync_of_any_handle_commits_and_a_close_of_those_that_wrote)
{
	struct file *f = open_file(O_RDWR), *other = open_file(O_RDWR);
	size_t mark;

	expect(write_at(f, 0, "x", 1), 0);
	mark = flush(other);
	expect(mark, 0);
	ck_assert_uint_eq(n_sent, 0);
	mark = fsync_of(other);
	expect_sent(0, FS_OP_WRITE, 0);
	expect(mark, PENDING);
	answer(0);
	expect(mark, 0);
	expect(flush(f), 0);
	ck_assert_uint_eq(n_sent, 1);
}
END_TEST

START_TEST(test_writes_during_a_commit_wait_and_are_the_next_group)
{
	struct file *f = open_file(O_WRONLY);
	size_t close, second;

	expect(write_at(f, 0, "a", 1), 0);
	close = flush(f);
	second = write_at(f, 0, "b", 1);
	expect(second, PENDING);
	answer(0);
	expect(close, 0);
	expect(second, 0);
	file_contains("a", 1);
	(void)flush(f);
	answer_all();
	file_contains("b", 1);
}
END_TEST

START_TEST(test_an_append_does_not_mix_with_writes_at_offsets)
{
	struct file *f = open_file(O_WRONLY), *a = open_file(O_WRONLY | O_APPEND);
	size_t mark;

	expect(write_at(f, 3, "x", 1), 0);
	mark = write_at(a, 0, "y", 1);
	expect(mark, PENDING);
	answer(0);
	expect(mark, 0);
	(void)flush(a);
	expect_sent(1, FS_OP_WRITE, FS_F_APPEND);
	answer(1);
	file_contains("\0\0\0xy", 5);
}
END_TEST

START_TEST(test_another_truncating_handle_begins_its_own_group)
{
	struct file *f = open_file(O_WRONLY), *t;
	size_t mark;

	expect(write_at(f, 0, "first", 5), 0);
	t = open_file(O_WRONLY | O_TRUNC);
	mark = write_at(t, 0, "2", 1);
	expect(mark, PENDING);
	expect_sent(0, FS_OP_WRITE, 0);
	answer(0);
	expect(mark, 0);
	(void)flush(t);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC);
	answer(1);
	file_contains("2", 1);
}
END_TEST

START_TEST(test_a_handle_that_owes_a_truncation_pays_it_behind_the_group_of_others)
{
	struct file *f = open_file(O_WRONLY), *t;
	size_t closed, again;

	expect(write_at(f, 0, "first", 5), 0);
	t = open_file(O_RDWR | O_TRUNC);
	closed = flush(t);
	again = flush(t);
	expect_sent(0, FS_OP_WRITE, 0);
	ck_assert_uint_eq(n_sent, 1);
	answer(0);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_uint_eq(n_sent, 2); /* once */
	answer(1);
	expect(closed, 0);
	expect(again, 0);
	file_contains("", 0);
}
END_TEST

/* ---- locks ---- */

static void hold(struct file *f, uint64_t owner, uint64_t token)
{
	struct hold *h = mem_zalloc(sizeof(*h));

	*h = (struct hold){.owner = owner, .file = f, .token = token};
	DL_APPEND(f->inode->holds, h);
}

START_TEST(test_a_group_written_under_a_lock_carries_its_token)
{
	struct file *f = open_file(O_WRONLY);
	const struct fs_op *op;

	hold(f, 7, 99);
	expect(write_at(f, 0, "x", 1), 0);
	f->inode->holds->token = 100; /* another one now */
	expect(write_at(f, 1, "y", 1), PENDING);
	op = expect_sent(0, FS_OP_WRITE, FS_F_FENCED);
	ck_assert(op->lock_owner == 7 && op->lock_token == 99);
	answer(0);
	(void)flush(f);
	op = expect_sent(1, FS_OP_WRITE, FS_F_FENCED);
	ck_assert(op->lock_token == 100);
	answer(1);
	f->inode->holds->lost = true;
	expect(write_at(f, 2, "z", 1), -ESTALE);
}
END_TEST

START_TEST(test_a_lock_is_given_up_behind_the_group_whatever_becomes_of_that)
{
	struct file *f = open_file(O_WRONLY);
	const struct fs_op unlock = {.kind = FS_OP_UNLOCK, .ino = INO, .lock_owner = 7},
	                   lock = {.kind = FS_OP_LOCK, .ino = INO, .lock_owner = 8};
	size_t mark;

	hold(f, 7, 99);
	expect(write_at(f, 0, "x", 1), 0);
	mark = start(&(const struct request_args){.op = lock, .file = f});
	expect_sent(0, FS_OP_LOCK, 0); /* somebody else's: nothing to wait for */
	answer(0);
	expect(mark, 0);
	mark = start(&(const struct request_args){.op = unlock, .file = f});
	expect_sent(1, FS_OP_WRITE, FS_F_FENCED);
	ck_assert_uint_eq(n_sent, 2);
	answer_with(1, -EDQUOT);
	expect_sent(2, FS_OP_UNLOCK, 0);
	answer(2);
	expect(mark, 0);
	expect(flush(f), -EDQUOT);
}
END_TEST

/* ---- failure ---- */

START_TEST(test_a_failed_commit_is_told_by_every_close_and_one_fsync_and_nothing_was_done)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);
	size_t close;

	server_write(server_file(INO), 0, "old", 3);
	expect(write_at(f, 0, "new", 3), 0);
	close = flush(f);
	answer_with(0, -EDQUOT);
	expect(close, -EDQUOT);
	expect(flush(f), -EDQUOT);
	expect(write_at(f, 3, "more", 4), -EDQUOT);
	expect(fsync_of(f), -EDQUOT);
	expect(fsync_of(f), 0);
	expect(flush(f), 0);
	ck_assert_uint_eq(n_sent, 1);
	file_contains("old", 3);
	expect(write_at(f, 0, "again", 5), 0);
	(void)flush(f);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC); /* as open(2) asked for */
	answer(1);
	file_contains("again", 5);
}
END_TEST

START_TEST(test_a_handle_released_after_a_failed_commit_leaves_the_file)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);

	expect(write_at(f, 0, "new", 3), 0);
	(void)flush(f);
	answer_with(0, RFS_ENOQUORUM);
	file_release(&m, f);
	ck_assert_uint_eq(n_sent, 1);
}
END_TEST

START_TEST(test_whoever_was_to_come_behind_a_failed_group_is_not_done)
{
	struct file *f = open_file(O_WRONLY), *other = open_file(O_WRONLY);
	size_t cut, sync, write;

	expect(write_at(f, 0, "new", 3), 0);
	cut = resize(other, 1);
	sync = fsync_of(other);
	write = write_at(other, 0, "x", 1);
	answer_with(0, -ENOSPC);
	expect(cut, -ENOSPC);
	expect(sync, -ENOSPC);
	expect(write, 0); /* a group of its own */
	ck_assert_uint_eq(n_sent, 1);
	expect(flush(f), -ENOSPC);
	(void)flush(other);
	answer_all();
	file_contains("x", 1);
}
END_TEST

START_TEST(test_a_failure_on_the_way_to_the_staging_file_fails_the_group_and_removes_that_file)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC);

	for (unsigned i = 0; i < 3; i++)
		expect(write_many(f, (uint64_t)i * MIB, MIB, 'x'), 0);
	answer(0);
	answer_with(1, RFS_EUNKNOWN);
	ck_assert_ptr_nonnull(f->inode->group); /* until the other one is answered */
	answer(2);
	ck_assert_ptr_null(f->inode->group);
	expect_sent(3, FS_OP_RELEASE, 0);
	answer(3);
	expect(write_many(f, 3 * MIB, MIB, 'x'), RFS_ENOQUORUM);
	expect(flush(f), RFS_ENOQUORUM); /* the file is certainly as it was */
	file_contains("", 0);
}
END_TEST

START_TEST(test_a_session_lost_on_the_way_is_ESTALE_and_at_the_end_unknown)
{
	struct file *f = open_file(O_WRONLY | O_TRUNC), *g = file_new(&m, 13, O_WRONLY, 1, true);

	(void)server_make(13);
	for (unsigned i = 0; i < 2; i++)
		expect(write_many(f, (uint64_t)i * MIB, MIB, 'x'), 0);
	answer(0);
	answer_with(1, RFS_ESESSION);
	expect(flush(f), -ESTALE);
	expect(write_at(g, 0, "x", 1), 0);
	(void)flush(g);
	answer_with(3, RFS_ESESSION);
	expect(flush(g), RFS_ESESSION);
}
END_TEST

/* ---- handles that go, requests that are given up ---- */

START_TEST(test_a_handle_released_during_its_commit_stays_until_then_and_so_do_its_locks)
{
	struct file *f = open_file(O_WRONLY);
	size_t close;

	f->inode->kept = true; /* and it was unlinked */
	hold(f, 7, 99);
	expect(write_at(f, 0, "x", 1), 0);
	close = flush(f);
	request_fail(request_of(close), -EINTR); /* kill -9: the kernel gets its answer at once */
	file_release(&m, f);
	ck_assert_uint_eq(n_sent, 1);
	answer(0);
	ck_assert_uint_eq(n_sent, 3);
	expect_sent(1, FS_OP_UNLOCK, 0);
	expect_sent(2, FS_OP_RELEASE, 0);
	answer(1);
	answer(2);
	ck_assert_ptr_null(m.inodes.by_ino);
}
END_TEST

START_TEST(test_a_handle_that_was_never_closed_is_committed_behind_it)
{
	struct file *f = open_file(O_WRONLY);

	expect(write_at(f, 0, "x", 1), 0);
	file_release(&m, f);
	expect_sent(0, FS_OP_WRITE, 0);
	answer(0);
	file_contains("x", 1);
	ck_assert_ptr_null(m.inodes.by_ino);
}
END_TEST

START_TEST(test_an_fsync_is_not_answered_by_the_end_of_a_change_while_it_waits_for_a_commit)
{
	struct file *f = open_file(O_WRONLY), *other = open_file(O_WRONLY);
	size_t sync,
	        first = start_op(other, &(const struct fs_op){.kind = FS_OP_SETXATTR, .ino = INO});

	expect(write_at(f, 0, "x", 1), 0);
	sync = fsync_of(other);
	answer(0);
	expect(first, 0);
	expect(sync, PENDING);
	answer(1);
	expect(sync, 0);
}
END_TEST

START_TEST(test_a_mount_that_stops_collects_no_more)
{
	struct file *f = open_file(O_WRONLY);

	m.stopped = (void (*)(void *))abort;
	m.unmounting = true; /* as long as it is not drained */
	(void)write_at(f, 0, "x", 1);
	expect_sent(0, FS_OP_WRITE, 0);
	answer(0);
	m.stopped = NULL;
}
END_TEST

/* ---- looks ---- */

START_TEST(test_reads_and_attributes_show_the_group_over_the_file)
{
	struct file *f = open_file(O_RDWR), *other = open_file(O_RDONLY);
	size_t read, attr;

	server_write(server_file(INO), 0, "0123456789", 10);
	expect(write_at(f, 2, "CD", 2), 0);
	expect(write_at(f, 12, "MN", 2), 0);
	read = read_at(other, 0, 100);
	attr = get_attr(INO);
	answer(0);
	answer(1);
	expect_read(read, "01CD456789\0\0MN", 14);
	expect(attr, 0);
	ck_assert_uint_eq(ended[attr].size, 14);
	read = read_at(other, 2, 2); /* in memory */
	expect_read(read, "CD", 2);
	ck_assert_uint_eq(n_sent, 2);
}
END_TEST

START_TEST(test_a_truncating_group_is_all_there_is)
{
	struct file *f = open_file(O_RDWR | O_TRUNC);

	server_write(server_file(INO), 0, "0123456789", 10);
	expect(write_at(f, 2, "CD", 2), 0);
	expect_read(read_at(f, 0, 100), "\0\0CD", 4);
	expect_read(read_at(f, 4, 100), "", 0);
	ck_assert_uint_eq(n_sent, 0);
}
END_TEST

START_TEST(test_a_look_shows_what_was_written_before_it_even_if_it_is_committed_meanwhile)
{
	struct file *f = open_file(O_RDWR);
	const struct fs_result old = {.has_attr = true, .attr = {.ino = INO}};
	size_t read, attr;

	expect(write_at(f, 0, "new", 3), 0);
	read = read_at(f, 0, 100);
	attr = get_attr(INO);
	(void)flush(f);
	answer(2);
	sent[0].cb(sent[0].ctx, &old); /* from a node that is behind */
	sent[1].cb(sent[1].ctx, &old);
	sent[0].cb = sent[1].cb = NULL;
	expect_read(read, "new", 3);
	ck_assert_uint_eq(ended[attr].size, 3);
}
END_TEST

START_TEST(test_a_look_at_an_append_never_shows_it_twice)
{
	struct file *a = open_file(O_RDWR | O_APPEND);
	size_t read, attr, late;

	server_write(server_file(INO), 0, "01", 2);
	expect(write_at(a, 0, "23", 2), 0);
	read = read_at(a, 1, 100);
	answer(0);
	expect_read(read, "123", 3);
	read = read_at(a, 0, 100);
	attr = get_attr(INO);
	(void)flush(a);
	late = read_at(a, 0, 100); /* waits for the commit */
	ck_assert_uint_eq(n_sent, 4);
	answer(3);
	answer(1); /* with the append in it, or without, who knows: both are asked again */
	answer(2);
	answer_all();
	expect_read(read, "0123", 4);
	expect_read(late, "0123", 4);
	ck_assert_uint_eq(ended[attr].size, 4);
}
END_TEST

START_TEST(test_reads_of_a_staged_group_wait_for_what_is_under_way_and_look_there)
{
	struct file *f = open_file(O_RDWR | O_TRUNC);
	size_t read, other;

	expect(write_many(f, 0, MIB, 'a'), 0);
	expect(write_many(f, MIB, MIB, 'b'), 0);
	answer(0);
	read = read_at(f, MIB - 1, 2);
	expect(read, PENDING);
	expect(write_many(f, 2 * MIB, MIB, 'c'), 0);
	ck_assert_uint_eq(n_sent, 2); /* nothing more while somebody waits to read */
	answer(1);
	ck_assert_uint_eq(n_sent, 4);
	expect_sent(2, FS_OP_READ, 0);
	ck_assert_uint_eq(sent[2].op->ino, STAGE);
	answer(2);
	expect_read(read, "ab", 2);
	other = read_at(f, 0, 2);
	(void)flush(f);
	answer(3);
	answer(5);
	answer(6);
	expect_sent(6, FS_OP_ADOPT, FS_F_TRUNC);
	answer(4); /* the staging file is gone: look at the file */
	answer_all();
	expect_read(other, "aa", 2);
}
END_TEST

START_TEST(test_reads_of_pieces_that_are_staged_see_the_file_between_them)
{
	struct file *f = open_file(O_RDWR);
	char wanted[40];
	size_t read;

	server_resize(server_file(INO), 3 * MIB);
	memset(server_file(INO)->bytes.data, '.', 3 * MIB);
	for (unsigned i = 0; i < 300; i++)
		expect(write_at(f, 10u * i, "abcd", 4), 0);
	answer_all(); /* some of them; the rest is in memory */
	expect(write_at(f, 2, "XY", 2), 0);
	read = read_at(f, 0, 40);
	answer_all();
	memcpy(wanted, "abXY......abcd......abcd......abcd......", 40);
	expect_read(read, wanted, 40);
}
END_TEST

START_TEST(test_reads_of_an_append_that_is_staged_find_it_behind_the_file)
{
	struct file *a = open_file(O_RDWR | O_APPEND);
	size_t read;

	server_write(server_file(INO), 0, "0123456789", 10);
	expect(write_many(a, 0, MIB, 'a'), 0);
	expect(write_many(a, 0, MIB, 'b'), 0);
	read = read_at(a, 8, 4);
	answer_all();
	expect_read(read, "89aa", 4);
	read = read_at(a, 9 + MIB, 3);
	answer_all();
	expect_read(read, "abb", 3);
	read = read_at(a, 9 + 2 * MIB, 100);
	answer_all();
	expect_read(read, "b", 1);
	expect(write_many(a, 0, MIB, 'c'), 0);
	expect_sent(n_sent - 1, FS_OP_WRITE, 0);
	read = read_at(a, 9 + 2 * MIB, 2);
	expect_sent(n_sent - 1, FS_OP_WRITE, 0); /* which is to come first */
	answer_all();
	expect_read(read, "bc", 2);
	(void)flush(a);
	answer_all();
	ck_assert_uint_eq(server_file(INO)->bytes.len, 10 + 3 * MIB);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_group");
	TCase *t = tcase_create("group");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_a_thousand_small_writes_are_one_entry);
	tcase_add_test(t, test_a_truncation_travels_with_the_group_and_holes_become_zeros);
	tcase_add_test(t, test_several_pieces_are_staged_at_the_commit);
	tcase_add_test(t, test_an_append_is_decided_at_apply);
	tcase_add_test(t, test_an_append_behind_a_truncation_goes_behind_what_the_group_has);
	tcase_add_test(
	        t,
	        test_a_file_made_by_its_opening_is_replaced_by_its_first_group_as_long_as_nobody_changes_it);
	tcase_add_test(t, test_more_than_a_write_may_have_is_staged_and_the_rest_stays);
	tcase_add_test(t, test_writes_wait_for_answers_once_4_mib_are_unanswered);
	tcase_add_test(t, test_what_is_written_over_bytes_under_way_comes_behind_them);
	tcase_add_test(t, test_all_groups_together_have_a_limit_beyond_which_the_oldest_make_room);
	tcase_add_test(t, test_of_a_file_with_contents_at_most_what_an_adoption_copies);
	tcase_add_test(t, test_of_a_file_with_contents_at_most_as_many_pieces_as_an_adoption_has);
	tcase_add_test(t, test_a_file_that_is_known_to_be_empty_takes_any_number_of_bytes);
	tcase_add_test(t, test_a_change_that_is_not_collected_comes_behind);
	tcase_add_test(t, test_an_fsync_of_any_handle_commits_and_a_close_of_those_that_wrote);
	tcase_add_test(t, test_writes_during_a_commit_wait_and_are_the_next_group);
	tcase_add_test(t, test_an_append_does_not_mix_with_writes_at_offsets);
	tcase_add_test(t, test_another_truncating_handle_begins_its_own_group);
	tcase_add_test(t, test_a_handle_that_owes_a_truncation_pays_it_behind_the_group_of_others);
	tcase_add_test(t, test_a_group_written_under_a_lock_carries_its_token);
	tcase_add_test(t, test_a_lock_is_given_up_behind_the_group_whatever_becomes_of_that);
	tcase_add_test(
	        t, test_a_failed_commit_is_told_by_every_close_and_one_fsync_and_nothing_was_done);
	tcase_add_test(t, test_a_handle_released_after_a_failed_commit_leaves_the_file);
	tcase_add_test(t, test_whoever_was_to_come_behind_a_failed_group_is_not_done);
	tcase_add_test(
	        t,
	        test_a_failure_on_the_way_to_the_staging_file_fails_the_group_and_removes_that_file);
	tcase_add_test(t, test_a_session_lost_on_the_way_is_ESTALE_and_at_the_end_unknown);
	tcase_add_test(
	        t, test_a_handle_released_during_its_commit_stays_until_then_and_so_do_its_locks);
	tcase_add_test(t, test_a_handle_that_was_never_closed_is_committed_behind_it);
	tcase_add_test(
	        t,
	        test_an_fsync_is_not_answered_by_the_end_of_a_change_while_it_waits_for_a_commit);
	tcase_add_test(t, test_a_mount_that_stops_collects_no_more);
	tcase_add_test(t, test_reads_and_attributes_show_the_group_over_the_file);
	tcase_add_test(t, test_a_truncating_group_is_all_there_is);
	tcase_add_test(
	        t, test_a_look_shows_what_was_written_before_it_even_if_it_is_committed_meanwhile);
	tcase_add_test(t, test_a_look_at_an_append_never_shows_it_twice);
	tcase_add_test(t, test_reads_of_a_staged_group_wait_for_what_is_under_way_and_look_there);
	tcase_add_test(t, test_reads_of_pieces_that_are_staged_see_the_file_between_them);
	tcase_add_test(t, test_reads_of_an_append_that_is_staged_find_it_behind_the_file);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

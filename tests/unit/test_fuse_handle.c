/* Truncations that travel with the first write, barriers, and what is known of open inodes. The
 * kernel and the cluster are played by the test: requests without a caller, and a client that
 * answers when it is told to. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "fuse_client.h"
#include "../../fuse/handle.h"
#include "../../src/base/mem.h"

#define INO  12u
#define SENT 16

static struct mount m;
static struct mount_options options = {.timeout_ms = 10000};

/* ---- the client ---- */

struct client_req {
	struct fs_op op;
	client_cb cb;
	void *ctx;
	bool used;
};

static struct client_req sent[SENT];
static size_t n_sent;

struct client_req *client_submit(struct client *c, const struct fs_op *op, uint64_t timeout_ms,
                                 client_cb cb, void *ctx)
{
	struct client_req *r = &sent[n_sent++];

	(void)c;
	ck_assert_uint_le(n_sent, SENT);
	ck_assert_uint_gt(timeout_ms, 0);
	*r = (struct client_req){.op = *op, .cb = cb, .ctx = ctx, .used = true};
	return r;
}

void client_cancel(struct client_req *r)
{
	r->used = false;
}

void client_interrupt_lock(struct client_req *r)
{
	(void)r;
}

void client_abandon_lock(struct client_req *r)
{
	client_cancel(r);
}

void client_get_info(const struct client *c, struct client_info *info)
{
	(void)c;
	*info = (struct client_info){0};
}

static void answer(size_t i, int code)
{
	const struct fs_result res = {.err = code};

	ck_assert(i < n_sent && sent[i].used);
	sent[i].used = false;
	sent[i].cb(sent[i].ctx, &res);
}

static void expect_sent(size_t i, enum fs_op_kind kind, uint32_t flags)
{
	ck_assert_uint_lt(i, n_sent);
	ck_assert_str_eq(fs_op_name(sent[i].op.kind), fs_op_name(kind));
	ck_assert_uint_eq(sent[i].op.flags, flags);
}

/* ---- the kernel ---- */

static int ended[SENT]; /* by the mark a request was started with: its code; 1: not ended */

static void on_done(struct request *r, const struct fs_result *res)
{
	ended[r->args.size] = res->err;
}

static void start(struct file *f, size_t mark, const struct fs_op *op, bool fsync)
{
	const struct request_args a = {
	        .op = *op, .done = on_done, .file = f, .ino = INO, .size = mark, .fsync = fsync};

	ended[mark] = 1;
	request_start(&m, NULL, &a);
}

static void start_write(struct file *f, size_t mark)
{
	start(f, mark, &(struct fs_op){.kind = FS_OP_WRITE, .ino = INO, .data = "x", .data_len = 1},
	      false);
}

static void start_read(struct file *f, size_t mark)
{
	start(f, mark, &(struct fs_op){.kind = FS_OP_READ, .ino = INO, .size = 10}, false);
}

static void start_flush(struct file *f, size_t mark)
{
	start(f, mark, &(struct fs_op){.kind = FS_OP_NONE}, false);
}

static void start_fsync(struct file *f, size_t mark)
{
	start(f, mark, &(struct fs_op){.kind = FS_OP_NONE}, true);
}

static struct file *open_truncating(void)
{
	return file_new(&m, INO, O_WRONLY | O_TRUNC, 100, true);
}

static struct file *open_plain(void)
{
	return file_new(&m, INO, O_RDWR, 200, false);
}

static void setup(void)
{
	m = (struct mount){.magic = MOUNT_MAGIC, .options = &options, .mount_id = -1};
	n_sent = 0;
}

static void teardown(void)
{
	requests_abandon(&m);
	files_drop_all(&m);
	inode_table_free(&m.inodes);
	ck_assert_ptr_null(m.inodes.by_ino);
}

/* ---- truncations ---- */

START_TEST(test_the_first_write_carries_the_truncation_and_the_second_does_not)
{
	struct file *f = open_truncating();

	start_write(f, 0);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	answer(0, 0);
	start_write(f, 1);
	expect_sent(1, FS_OP_WRITE, 0);
	answer(1, 0);
	ck_assert(ended[0] == 0 && ended[1] == 0);
}
END_TEST

START_TEST(test_a_write_that_races_the_first_one_waits_for_its_answer)
{
	struct file *f = open_truncating();

	start_write(f, 0);
	start_write(f, 1);
	ck_assert_uint_eq(n_sent, 1);
	answer(0, 0);
	expect_sent(1, FS_OP_WRITE, 0);
	ck_assert_mem_eq(sent[1].op.data, "x", 1);
	answer(1, 0);
	ck_assert_int_eq(ended[1], 0);
}
END_TEST

START_TEST(test_a_failed_first_write_leaves_the_truncation_to_the_next)
{
	struct file *f = open_truncating();

	start_write(f, 0);
	start_write(f, 1);
	answer(0, -ENOSPC);
	ck_assert_int_eq(ended[0], -ENOSPC);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC);
	answer(1, 0);
	ck_assert_int_eq(ended[1], 0);
}
END_TEST

START_TEST(test_a_read_through_the_handle_truncates_first)
{
	struct file *f = open_truncating();

	start_read(f, 0);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_uint_eq(sent[0].op.data_len, 0);
	answer(0, 0);
	expect_sent(1, FS_OP_READ, 0);
	answer(1, 0);
	ck_assert_int_eq(ended[0], 0);
}
END_TEST

START_TEST(test_a_read_through_another_handle_does_not_truncate)
{
	struct file *other;

	(void)open_truncating();
	other = open_plain();
	start_read(other, 0);
	expect_sent(0, FS_OP_READ, 0);
}
END_TEST

START_TEST(test_a_write_through_another_handle_comes_after_the_truncation)
{
	struct file *other;

	(void)open_truncating();
	other = open_plain();
	start_write(other, 0);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_uint_eq(sent[0].op.data_len, 0);
	answer(0, 0);
	expect_sent(1, FS_OP_WRITE, 0);
	ck_assert_uint_eq(sent[1].op.data_len, 1);
}
END_TEST

START_TEST(test_two_truncating_handles_write_one_after_the_other_with_a_truncation_each)
{
	struct file *a = open_truncating(), *b = open_truncating();

	start_write(a, 0);
	start_write(b, 1);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_uint_eq(n_sent, 1);
	answer(0, 0);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_uint_eq(sent[1].op.data_len, 1);
}
END_TEST

START_TEST(test_a_handle_that_was_overtaken_by_another_truncation_takes_nothing_away)
{
	struct file *a = open_truncating(), *b = open_truncating(), *c = open_truncating(),
	            *d = file_new(&m, INO, O_WRONLY, 100, false);

	start_write(b, 0);
	answer(0, 0);
	ck_assert(!inode_is_truncated_for(a->inode, 100));
	start_flush(a, 1);
	ck_assert_int_eq(ended[1], 0);
	start_write(d, 2); /* behind it c has nothing to take away either */
	expect_sent(1, FS_OP_WRITE, 0);
	answer(1, 0);
	start_write(c, 3);
	expect_sent(2, FS_OP_WRITE, 0);
	answer(2, 0);
	a = open_truncating();
	b = open_truncating();
	start_write(a, 4);
	answer(3, 0);
	file_release(&m, b);
	ck_assert_uint_eq(n_sent, 4);
}
END_TEST

START_TEST(test_a_close_without_a_write_truncates_and_waits)
{
	struct file *f = open_truncating();

	start_flush(f, 0);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_int_eq(ended[0], 1);
	answer(0, 0);
	ck_assert_int_eq(ended[0], 0);
	start_flush(f, 1);
	ck_assert_int_eq(ended[1], 0);
	ck_assert_uint_eq(n_sent, 1);
}
END_TEST

START_TEST(test_what_waits_for_the_mounts_own_truncation_shares_its_failure)
{
	struct file *f = open_truncating();

	start_flush(f, 0);
	start_read(f, 1);
	answer(0, -EIO);
	ck_assert(ended[0] == -EIO && ended[1] == -EIO);
	ck_assert_uint_eq(n_sent, 1);
	ck_assert(f->owes_truncation);
}
END_TEST

START_TEST(test_a_handle_that_is_dropped_without_a_close_truncates_behind_it)
{
	file_release(&m, open_truncating());
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	answer(0, 0);
}
END_TEST

START_TEST(test_a_handle_released_during_its_truncation_is_forgotten)
{
	struct file *f = open_truncating();

	start_flush(f, 0);
	file_release(&m, f);
	answer(0, -EIO);
	ck_assert_int_eq(ended[0], -EIO);
	ck_assert_ptr_null(m.inodes.by_ino);
}
END_TEST

START_TEST(test_only_the_process_that_truncates_sees_the_size_it_made)
{
	struct file *f = open_truncating();

	ck_assert(inode_is_truncated_for(f->inode, 100));
	ck_assert(!inode_is_truncated_for(f->inode, 200));
	start_write(f, 0);
	answer(0, 0);
	ck_assert(!inode_is_truncated_for(f->inode, 100));
}
END_TEST

/* ---- fsync ---- */

START_TEST(test_an_fsync_waits_for_the_changes_before_it_and_not_for_those_behind)
{
	struct file *f = open_plain();

	start_write(f, 0);
	start_write(f, 1);
	start_fsync(f, 2);
	start_write(f, 3);
	answer(1, 0);
	answer(2, 0);
	ck_assert_int_eq(ended[2], 1);
	answer(0, 0);
	ck_assert_int_eq(ended[2], 0);
}
END_TEST

START_TEST(test_an_fsync_with_nothing_under_way_ends_at_once)
{
	start_fsync(open_plain(), 0);
	ck_assert_int_eq(ended[0], 0);
	ck_assert_uint_eq(n_sent, 0);
}
END_TEST

START_TEST(test_an_fsync_pays_the_truncation)
{
	struct file *f = open_truncating();

	start_fsync(f, 0);
	expect_sent(0, FS_OP_WRITE, FS_F_TRUNC);
	ck_assert_int_eq(ended[0], 1);
	answer(0, 0);
	ck_assert_int_eq(ended[0], 0);
}
END_TEST

START_TEST(test_an_fsync_waits_for_its_truncation_when_a_change_before_it_has_ended)
{
	struct file *f, *other = open_plain();

	start(other, 0, &(struct fs_op){.kind = FS_OP_SETATTR, .ino = INO}, false);
	f = open_truncating();
	start_fsync(f, 1);
	expect_sent(1, FS_OP_WRITE, FS_F_TRUNC);
	answer(0, 0);
	ck_assert_int_eq(ended[1], 1);
	answer(1, 0);
	ck_assert_int_eq(ended[1], 0);
}
END_TEST

/* ---- names, lookups, orphans ---- */

static void found(uint64_t ino, uint64_t parent, struct fs_str name)
{
	inode_found(&m.inodes, &(const struct fs_attr){.ino = ino, .mode = S_IFREG}, parent, name);
}

START_TEST(test_the_last_handle_of_an_unlinked_inode_releases_it)
{
	struct file *a = open_plain(), *b = open_plain();

	a->inode->kept = true;
	file_release(&m, a);
	ck_assert_uint_eq(n_sent, 0);
	file_release(&m, b);
	expect_sent(0, FS_OP_RELEASE, 0);
	ck_assert_uint_eq(sent[0].op.ino, INO);
}
END_TEST

START_TEST(test_an_inode_is_found_by_each_of_its_names_while_it_is_open)
{
	struct file *f;

	found(INO, 1, FS_STR("a"));
	found(INO, 2, FS_STR("b"));
	ck_assert_ptr_null(inode_open_by_name(&m.inodes, 1, FS_STR("a")));
	f = open_plain();
	ck_assert_ptr_eq(inode_open_by_name(&m.inodes, 1, FS_STR("a")), f->inode);
	ck_assert_ptr_eq(inode_open_by_name(&m.inodes, 2, FS_STR("b")), f->inode);
	ck_assert_ptr_null(inode_open_by_name(&m.inodes, 2, FS_STR("a")));
	inode_unname(&m.inodes, 1, FS_STR("a"));
	ck_assert_ptr_null(inode_open_by_name(&m.inodes, 1, FS_STR("a")));
}
END_TEST

START_TEST(test_a_name_that_stands_for_another_inode_now_is_that_ones)
{
	(void)open_plain();
	found(INO, 1, FS_STR("a"));
	found(13, 1, FS_STR("a"));
	ck_assert_ptr_null(inode_open_by_name(&m.inodes, 1, FS_STR("a")));
}
END_TEST

START_TEST(test_an_inode_is_dropped_when_the_kernel_forgets_it_and_nobody_has_it_open)
{
	struct file *f;

	found(INO, 1, FS_STR("a"));
	f = open_plain();
	inode_forget(&m.inodes, INO); /* an older lookup's */
	ck_assert_ptr_nonnull(inode_open_by_name(&m.inodes, 1, FS_STR("a")));
	file_release(&m, f);
	ck_assert_ptr_nonnull(inode_find(&m.inodes, INO));
	inode_forget(&m.inodes, INO);
	ck_assert_ptr_null(inode_find(&m.inodes, INO));
	inode_forget(&m.inodes, INO); /* unknown: nothing happens */
}
END_TEST

START_TEST(test_of_too_many_names_the_oldest_gives_way)
{
	char name[8];

	(void)open_plain();
	for (unsigned i = 0; i <= INODE_NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		found(INO, 1, fs_str_of(name));
	}
	ck_assert_ptr_null(inode_open_by_name(&m.inodes, 1, FS_STR("n0")));
	ck_assert_ptr_nonnull(inode_open_by_name(&m.inodes, 1, FS_STR("n1")));
}
END_TEST

START_TEST(test_a_million_names_cost_no_more_than_the_latest_of_them)
{
	char name[16];

	for (unsigned i = 0; i < 3 * INODE_TABLE_NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		found(100 + i, 1, fs_str_of(name));
		if (i % 100 == 0) /* looked up all the time: not the oldest */
			found(INO, 2, FS_STR("often"));
	}
	ck_assert_uint_le(HASH_COUNT(m.inodes.by_ino), INODE_TABLE_NAMES_MAX);
	ck_assert_ptr_null(inode_find(&m.inodes, 100));
	ck_assert_ptr_nonnull(inode_find(&m.inodes, INO));
	ck_assert_ptr_nonnull(inode_find(&m.inodes, 100 + 3 * INODE_TABLE_NAMES_MAX - 1));
}
END_TEST

START_TEST(test_a_removed_directory_is_remembered_until_the_kernel_forgets_it)
{
	const struct fs_attr dir = {.ino = INO, .mode = S_IFDIR | 0750, .nlink = 2, .uid = 7};

	inode_found(&m.inodes, &dir, 1, FS_STR("d"));
	inode_removed(&m.inodes, INO);
	inode_unname(&m.inodes, 1, FS_STR("d"));
	ck_assert(inode_find(&m.inodes, INO)->removed);
	ck_assert_uint_eq(inode_find(&m.inodes, INO)->attr.nlink, 0);
	ck_assert_uint_eq(inode_find(&m.inodes, INO)->attr.uid, 7);
	inode_forget(&m.inodes, INO);
	ck_assert_ptr_null(inode_find(&m.inodes, INO));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_handle");
	TCase *t = tcase_create("handle");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_the_first_write_carries_the_truncation_and_the_second_does_not);
	tcase_add_test(t, test_a_write_that_races_the_first_one_waits_for_its_answer);
	tcase_add_test(t, test_a_failed_first_write_leaves_the_truncation_to_the_next);
	tcase_add_test(t, test_a_read_through_the_handle_truncates_first);
	tcase_add_test(t, test_a_read_through_another_handle_does_not_truncate);
	tcase_add_test(t, test_a_write_through_another_handle_comes_after_the_truncation);
	tcase_add_test(
	        t, test_two_truncating_handles_write_one_after_the_other_with_a_truncation_each);
	tcase_add_test(t,
	               test_a_handle_that_was_overtaken_by_another_truncation_takes_nothing_away);
	tcase_add_test(t, test_a_close_without_a_write_truncates_and_waits);
	tcase_add_test(t, test_what_waits_for_the_mounts_own_truncation_shares_its_failure);
	tcase_add_test(t, test_a_handle_that_is_dropped_without_a_close_truncates_behind_it);
	tcase_add_test(t, test_a_handle_released_during_its_truncation_is_forgotten);
	tcase_add_test(t, test_only_the_process_that_truncates_sees_the_size_it_made);
	tcase_add_test(t, test_an_fsync_waits_for_the_changes_before_it_and_not_for_those_behind);
	tcase_add_test(t, test_an_fsync_with_nothing_under_way_ends_at_once);
	tcase_add_test(t, test_an_fsync_pays_the_truncation);
	tcase_add_test(t, test_an_fsync_waits_for_its_truncation_when_a_change_before_it_has_ended);
	tcase_add_test(t, test_the_last_handle_of_an_unlinked_inode_releases_it);
	tcase_add_test(t, test_an_inode_is_found_by_each_of_its_names_while_it_is_open);
	tcase_add_test(t, test_a_name_that_stands_for_another_inode_now_is_that_ones);
	tcase_add_test(t,
	               test_an_inode_is_dropped_when_the_kernel_forgets_it_and_nobody_has_it_open);
	tcase_add_test(t, test_of_too_many_names_the_oldest_gives_way);
	tcase_add_test(t, test_a_million_names_cost_no_more_than_the_latest_of_them);
	tcase_add_test(t, test_a_removed_directory_is_remembered_until_the_kernel_forgets_it);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

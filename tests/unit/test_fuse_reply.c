/* Errors and attributes at the boundary to the kernel. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include "../../fuse/reply.h"
#include "../../src/base/err.h"

START_TEST(test_a_change_that_was_certainly_not_done_is_read_only_file_system)
{
	ck_assert_int_eq(reply_errno(RFS_ENOQUORUM, true), EROFS);
	ck_assert_int_eq(reply_errno(RFS_ENOTLEADER, true), EROFS);
}
END_TEST

START_TEST(test_what_cannot_be_known_is_a_timeout)
{
	ck_assert_int_eq(reply_errno(RFS_ENOQUORUM, false), ETIMEDOUT);
	ck_assert_int_eq(reply_errno(RFS_EUNKNOWN, true), ETIMEDOUT);
	ck_assert_int_eq(reply_errno(RFS_ESESSION, true), ETIMEDOUT);
}
END_TEST

START_TEST(test_a_decided_errno_passes_with_its_sign_turned)
{
	ck_assert_int_eq(reply_errno(0, true), 0);
	ck_assert_int_eq(reply_errno(-ENOENT, false), ENOENT);
	ck_assert_int_eq(reply_errno(-ENOSPC, true), ENOSPC);
	ck_assert_int_eq(reply_errno(-EFBIG, true), EFBIG);
	ck_assert_int_eq(reply_errno(-EINTR, true), EINTR);
}
END_TEST

START_TEST(test_every_code_becomes_an_errno_that_the_kernel_takes)
{
	for (int code = -5000; code <= 5; code++) {
		int e = reply_errno(code, code % 2 == 0);

		ck_assert_msg(code == 0 ? e == 0 : e > 0 && e < 512, "code %d became %d", code, e);
	}
}
END_TEST

START_TEST(test_a_missing_inode_is_stale_and_a_missing_name_is_not)
{
	ck_assert_int_eq(reply_errno_ino(-ENOENT, false), ESTALE);
	ck_assert_int_eq(reply_errno_ino(-EISDIR, false), EISDIR);
	ck_assert_int_eq(reply_errno_ino(RFS_ENOQUORUM, true), EROFS);
	ck_assert_int_eq(reply_errno_ino(0, true), 0);
}
END_TEST

START_TEST(test_attributes_keep_every_field)
{
	const struct fs_attr a = {
	        .ino = 77,
	        .size = 1ull << 40,
	        .blocks = 5,
	        .mode = S_IFREG | 04755,
	        .nlink = 3,
	        .uid = 1000,
	        .gid = 1001,
	        .rdev = 0x1234,
	        .atime_ns = 1,
	        .mtime_ns = 1234567890123456789,
	        .ctime_ns = -1,
	};
	struct fuse_entry_param e;

	reply_entry(&e, &a);
	ck_assert_uint_eq(e.ino, 77);
	ck_assert_uint_eq(e.generation, 0);
	ck_assert(e.attr_timeout == 0.0 && e.entry_timeout == 0.0);
	ck_assert_uint_eq(e.attr.st_ino, 77);
	ck_assert_int_eq(e.attr.st_size, (off_t)1 << 40);
	ck_assert_int_eq(e.attr.st_blocks, 5);
	ck_assert_uint_eq(e.attr.st_mode, S_IFREG | 04755);
	ck_assert_uint_eq(e.attr.st_nlink, 3);
	ck_assert_uint_eq(e.attr.st_uid, 1000);
	ck_assert_uint_eq(e.attr.st_gid, 1001);
	ck_assert_uint_eq(e.attr.st_rdev, 0x1234);
	ck_assert_int_eq(e.attr.st_atim.tv_nsec, 1);
	ck_assert_int_eq(e.attr.st_mtim.tv_sec, 1234567890);
	ck_assert_int_eq(e.attr.st_mtim.tv_nsec, 123456789);
	ck_assert_int_eq(e.attr.st_ctim.tv_sec, -1);
	ck_assert_int_eq(e.attr.st_ctim.tv_nsec, 999999999);
}
END_TEST

START_TEST(test_setattr_takes_the_fields_that_are_named)
{
	const struct stat st = {
	        .st_mode = S_IFREG | 0600,
	        .st_uid = 5,
	        .st_gid = 6,
	        .st_size = 7,
	        .st_mtim = {.tv_sec = -2, .tv_nsec = 500000000},
	};
	struct fs_op op = {0};

	ck_assert_int_eq(
	        reply_setattr_op(&op, &st,
	                         FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME),
	        0);
	ck_assert_uint_eq(op.valid, FS_SET_MODE | FS_SET_SIZE | FS_SET_MTIME);
	ck_assert_uint_eq(op.mode, S_IFREG | 0600);
	ck_assert_uint_eq(op.size, 7);
	ck_assert_int_eq(op.mtime_ns, -1500000000);
}
END_TEST

START_TEST(test_now_wins_over_a_given_time)
{
	const struct stat st = {0};
	struct fs_op op = {0};

	ck_assert_int_eq(reply_setattr_op(&op, &st,
	                                  FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW |
	                                          FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW),
	                 0);
	ck_assert_uint_eq(op.valid, FS_SET_ATIME_NOW | FS_SET_MTIME_NOW);
}
END_TEST

START_TEST(test_a_time_beyond_the_range_becomes_the_nearest)
{
	const struct stat st = {.st_mtim = {.tv_sec = INT64_MAX / 2},
	                        .st_atim = {.tv_sec = INT64_MIN / 2}};
	struct fs_op op = {0};

	ck_assert_int_eq(reply_setattr_op(&op, &st, FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME), 0);
	ck_assert_int_eq(op.mtime_ns, INT64_MAX);
	ck_assert_int_eq(op.atime_ns, INT64_MIN);
}
END_TEST

START_TEST(test_a_negative_size_is_invalid)
{
	const struct stat st = {.st_size = -1};
	struct fs_op op = {0};

	ck_assert_int_eq(reply_setattr_op(&op, &st, FUSE_SET_ATTR_SIZE), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_reply");
	TCase *t = tcase_create("reply");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_a_change_that_was_certainly_not_done_is_read_only_file_system);
	tcase_add_test(t, test_what_cannot_be_known_is_a_timeout);
	tcase_add_test(t, test_a_decided_errno_passes_with_its_sign_turned);
	tcase_add_test(t, test_every_code_becomes_an_errno_that_the_kernel_takes);
	tcase_add_test(t, test_a_missing_inode_is_stale_and_a_missing_name_is_not);
	tcase_add_test(t, test_attributes_keep_every_field);
	tcase_add_test(t, test_setattr_takes_the_fields_that_are_named);
	tcase_add_test(t, test_now_wins_over_a_given_time);
	tcase_add_test(t, test_a_time_beyond_the_range_becomes_the_nearest);
	tcase_add_test(t, test_a_negative_size_is_invalid);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

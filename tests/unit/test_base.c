/* base/: error sentences, readers that stop at the end, names and paths, checksums. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/buf.h"
#include "../../src/base/crc.h"
#include "../../src/base/err.h"
#include "../../src/base/log.h"
#include "../../src/base/op.h"

START_TEST(test_what_grows_is_told_from_what_frees)
{
	const enum fs_op_kind frees[] = {
	        FS_OP_UNLINK,  FS_OP_RMDIR, FS_OP_DELETE,       FS_OP_SETATTR, FS_OP_RENAME,
	        FS_OP_RELEASE, FS_OP_TRIM,  FS_OP_SESSION_OPEN, FS_OP_LOCK,    FS_OP_UNLOCK};
	const enum fs_op_kind grows[] = {FS_OP_MKNOD, FS_OP_LINK, FS_OP_PUT};

	for (size_t i = 0; i < sizeof(frees) / sizeof(frees[0]); i++)
		ck_assert(!fs_op_grows(&(struct fs_op){.kind = frees[i], .data_len = 1}));
	for (size_t i = 0; i < sizeof(grows) / sizeof(grows[0]); i++)
		ck_assert(fs_op_grows(&(struct fs_op){.kind = grows[i]}));
	ck_assert(fs_op_grows(&(struct fs_op){.kind = FS_OP_WRITE, .data_len = 1}));
	ck_assert(!fs_op_grows(&(struct fs_op){.kind = FS_OP_WRITE, .flags = FS_F_TRUNC}));
	ck_assert(fs_op_grows(&(struct fs_op){.kind = FS_OP_ADOPT, .flags = FS_F_APPEND}));
	ck_assert(!fs_op_grows(&(struct fs_op){.kind = FS_OP_ADOPT, .flags = FS_F_TRUNC}));
}
END_TEST

START_TEST(test_ranges_are_read_as_they_were_put)
{
	const struct fs_range put[] = {{1, 2}, {UINT64_MAX, 3}};
	struct fs_range range;
	struct reader r;
	struct buf b;

	buf_init(&b);
	for (size_t i = 0; i < 2; i++)
		fs_range_put(&b, &put[i]);
	ck_assert_uint_eq(b.len, 2 * FS_RANGE_BYTES);
	r = reader_of(b.data, b.len);
	for (size_t i = 0; i < 2; i++) {
		ck_assert(fs_range_next(&r, &range));
		ck_assert_mem_eq(&range, &put[i], sizeof(range));
	}
	ck_assert(!fs_range_next(&r, &range) && !r.bad);
	r = reader_of(b.data, FS_RANGE_BYTES + 15);
	ck_assert(fs_range_next(&r, &range) && !fs_range_next(&r, &range) && r.bad);
	buf_free(&b);
}
END_TEST

START_TEST(test_err_says_where_and_marks_a_cut_sentence)
{
	struct rfs_err e = {0};
	char large[2000];

	ck_assert_int_eq(rfs_err_set(&e, -ENOSPC, "%s:%d", "file", 7), -ENOSPC);
	ck_assert_str_eq(e.msg, "file:7");
	ck_assert_int_eq(rfs_err_prefix(&e, "node %d", 3), -ENOSPC);
	ck_assert_str_eq(e.msg, "node 3: file:7");
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	rfs_err_set(&e, -EIO, "%s", large);
	ck_assert_str_eq(e.msg + sizeof(e.msg) - 4, "...");
	ck_assert_int_eq(rfs_err_set(NULL, -EIO, "nobody listens"), -EIO);
}
END_TEST

START_TEST(test_every_code_has_a_text)
{
	for (int code = RFS_ESHUTDOWN; code <= RFS_ECORRUPT; code++)
		ck_assert_str_ne(rfs_strerror(code), "unknown error");
	ck_assert_str_eq(rfs_strerror(-ENOENT), "No such file or directory");
	ck_assert_str_eq(rfs_strerror(-5000), "unknown error");
	ck_assert_str_eq(rfs_strerror(0), "no error");
}
END_TEST

START_TEST(test_reader_stops_at_the_end_and_stays_bad)
{
	struct buf b;
	struct reader r;

	buf_init(&b);
	buf_put_u16(&b, 0x0102);
	buf_put_u64(&b, 0x1122334455667788u);
	buf_put_u8(&b, 9);
	r = reader_of(b.data, b.len);
	ck_assert_uint_eq(reader_u16(&r), 0x0102);
	ck_assert_uint_eq(reader_u64(&r), 0x1122334455667788u);
	ck_assert(reader_u32(&r) == 0 && r.bad);
	ck_assert(reader_u8(&r) == 0);
	ck_assert_uint_eq(reader_left(&r), 0);
	r = reader_of(NULL, 10);
	ck_assert_ptr_null(reader_bytes(&r, 1));
	buf_free(&b);
}
END_TEST

START_TEST(test_buf_keeps_bytes_while_it_grows)
{
	struct buf b;

	buf_init(&b);
	for (unsigned i = 0; i < 10000; i++)
		buf_put_u32(&b, i);
	for (unsigned i = 0; i < 10000; i++)
		ck_assert_uint_eq(get_le32(b.data + 4 * (size_t)i), i);
	buf_consume(&b, 4);
	ck_assert_uint_eq(get_le32(b.data), 1);
	buf_clear(&b);
	buf_printf(&b, "%s-%d", "k", 5);
	ck_assert(b.len == 3 && memcmp(b.data, "k-5", 3) == 0);
	buf_free(&b);
}
END_TEST

START_TEST(test_crc32c_matches_the_published_vector_and_chains)
{
	const char *digits = "123456789";

	ck_assert_uint_eq(crc32c(0, digits, 9),
	                  0xe3069283u); /* RFC 3720, appendix B.4's polynomial */
	ck_assert_uint_eq(crc32c(crc32c(0, digits, 4), digits + 4, 5), 0xe3069283u);
	ck_assert_uint_eq(crc32c(0, digits, 0), 0);
}
END_TEST

START_TEST(test_names_that_cannot_stand_in_a_directory_are_refused)
{
	char name[257];

	memset(name, 'n', sizeof(name));
	ck_assert_int_eq(fs_name_check((struct fs_str){name, 255}), 0);
	ck_assert_int_eq(fs_name_check((struct fs_str){name, 256}), -ENAMETOOLONG);
	ck_assert_int_eq(fs_name_check(FS_STR("\xff\xfe")), 0);
	ck_assert_int_eq(fs_name_check(FS_STR("...")), 0);
	ck_assert_int_eq(fs_name_check(FS_STR("")), -EINVAL);
	ck_assert_int_eq(fs_name_check(FS_STR(".")), -EINVAL);
	ck_assert_int_eq(fs_name_check(FS_STR("..")), -EINVAL);
	ck_assert_int_eq(fs_name_check(FS_STR("a/b")), -EINVAL);
	ck_assert_int_eq(fs_name_check(FS_STR("a\0b")), -EINVAL);
}
END_TEST

START_TEST(test_paths_are_components_joined_by_single_slashes)
{
	ck_assert_int_eq(fs_path_check(FS_STR("app/db/url")), 0);
	ck_assert_int_eq(fs_path_check(FS_STR("/app")), 0);
	ck_assert_int_eq(fs_path_check(FS_STR("")), -EINVAL);
	ck_assert_int_eq(fs_path_check(FS_STR("/")), -EINVAL);
	ck_assert_int_eq(fs_path_check(FS_STR("a//b")), -EINVAL);
	ck_assert_int_eq(fs_path_check(FS_STR("//a")), -EINVAL);
	ck_assert_int_eq(fs_path_check(FS_STR("a/")), -EINVAL);
	ck_assert_int_eq(fs_path_check(FS_STR("a/../b")), -EINVAL);
}
END_TEST

START_TEST(test_op_copy_owns_all_it_points_to)
{
	char name[] = "name", other[] = "other", data[] = "data";
	struct fs_op op = {.kind = FS_OP_RENAME,
	                   .name = fs_str_of(name),
	                   .name2 = fs_str_of(other),
	                   .data = data,
	                   .data_len = 4};
	struct fs_op *copy = fs_op_dup(&op);

	memset(name, '?', 4);
	memset(other, '?', 5);
	memset(data, '?', 4);
	ck_assert(copy->name.len == 4 && memcmp(copy->name.p, "name", 4) == 0);
	ck_assert(copy->name2.len == 5 && memcmp(copy->name2.p, "other", 5) == 0);
	ck_assert(memcmp(copy->data, "data", 4) == 0);
	free(copy);
}
END_TEST

START_TEST(test_an_operation_has_the_version_of_its_newest_part)
{
	struct fs_op op = {.kind = FS_OP_WRITE, .flags = FS_F_APPEND | FS_F_KILL_SUID};

	ck_assert_uint_eq(fs_op_protocol(&op), 1);
	op.flags |= 1u << 31;
	ck_assert_uint_eq(fs_op_protocol(&op), UINT32_MAX);
	op.flags = 0;
	for (uint32_t kind = FS_OP_SESSION_OPEN; kind <= FS_OP_DELETE; kind++) {
		op.kind = (enum fs_op_kind)kind;
		ck_assert_uint_eq(fs_op_protocol(&op), 1);
	}
	for (uint32_t kind = FS_OP_LOOKUP; kind <= FS_OP_RESOLVE; kind++) {
		op.kind = (enum fs_op_kind)kind;
		ck_assert_uint_eq(fs_op_protocol(&op), 1);
	}
	op = (struct fs_op){.kind = FS_OP_READDIR, .flags = FS_F_NAMES};
	ck_assert_uint_eq(fs_op_protocol(&op), 1);
	op.kind = FS_OP_MKNOD;
	ck_assert_uint_eq(fs_op_protocol(&op), 2);
	op = (struct fs_op){.kind = FS_OP_NONE};
	ck_assert_uint_eq(fs_op_protocol(&op), UINT32_MAX);
	op.kind = (enum fs_op_kind)60000;
	ck_assert_uint_eq(fs_op_protocol(&op), UINT32_MAX);
}
END_TEST

START_TEST(test_dirents_come_back_and_a_cut_one_is_noticed)
{
	struct fs_dirent d = {.cookie = 77,
	                      .attr = {.ino = 5, .size = 9, .mtime_ns = -3},
	                      .name = FS_STR("entry")};
	struct fs_dirent got;
	struct reader r;
	struct buf b;

	buf_init(&b);
	fs_dirent_put(&b, &d);
	r = reader_of(b.data, b.len);
	ck_assert(fs_dirent_next(&r, &got));
	ck_assert(got.cookie == 77 && got.attr.ino == 5 && got.attr.mtime_ns == -3);
	ck_assert(got.name.len == 5 && memcmp(got.name.p, "entry", 5) == 0);
	ck_assert(!fs_dirent_next(&r, &got) && !r.bad);
	r = reader_of(b.data, b.len - 1);
	ck_assert(!fs_dirent_next(&r, &got) && r.bad);
	buf_free(&b);
}
END_TEST

START_TEST(test_clients_may_ask_for_what_is_theirs)
{
	ck_assert_int_eq(fs_op_by(FS_OP_SESSION_OPEN), FS_BY_STRANGER);
	ck_assert_int_eq(fs_op_by(FS_OP_WRITE), FS_BY_SESSION);
	ck_assert_int_eq(fs_op_by(FS_OP_READ), FS_BY_ANYONE);
	ck_assert_int_eq(fs_op_by(FS_OP_SESSION_EXPIRE), FS_BY_SERVER);
	ck_assert_int_eq(fs_op_by((enum fs_op_kind)23),
	                 FS_BY_SERVER); /* a number that was never given */
	ck_assert_int_eq(fs_op_by((enum fs_op_kind)100000), FS_BY_SERVER);
	ck_assert_str_eq(fs_op_name((enum fs_op_kind)23), "?");
	for (int kind = 1; kind < 128; kind++) {
		enum fs_op_by by = fs_op_by((enum fs_op_kind)kind);

		ck_assert(by != FS_BY_ANYONE || !fs_op_is_write((enum fs_op_kind)kind));
		ck_assert(by != FS_BY_SESSION || fs_op_is_write((enum fs_op_kind)kind));
	}
}
END_TEST

START_TEST(test_log_levels_have_names)
{
	enum log_level level;

	ck_assert(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
	ck_assert(!log_level_parse("loud", &level));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base");
	TCase *t = tcase_create("base");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(t, test_what_grows_is_told_from_what_frees);
	tcase_add_test(t, test_ranges_are_read_as_they_were_put);
	tcase_add_test(t, test_err_says_where_and_marks_a_cut_sentence);
	tcase_add_test(t, test_every_code_has_a_text);
	tcase_add_test(t, test_reader_stops_at_the_end_and_stays_bad);
	tcase_add_test(t, test_buf_keeps_bytes_while_it_grows);
	tcase_add_test(t, test_crc32c_matches_the_published_vector_and_chains);
	tcase_add_test(t, test_names_that_cannot_stand_in_a_directory_are_refused);
	tcase_add_test(t, test_paths_are_components_joined_by_single_slashes);
	tcase_add_test(t, test_op_copy_owns_all_it_points_to);
	tcase_add_test(t, test_an_operation_has_the_version_of_its_newest_part);
	tcase_add_test(t, test_dirents_come_back_and_a_cut_one_is_noticed);
	tcase_add_test(t, test_clients_may_ask_for_what_is_theirs);
	tcase_add_test(t, test_log_levels_have_names);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

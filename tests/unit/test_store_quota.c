/* Quotas: of the whole and of trees, decided at apply, and always room to remove. */
#include "store_kit.h"

#define ROOT FS_ROOT_INO

static struct kit k;

static void setup(void)
{
	kit_open_memory(&k);
	kit_raise(&k);
}

static void teardown(void)
{
	kit_close(&k);
}

/* An outcome other than 0 must leave every record as it was. */
#define ck_refused(call, code)                                                                     \
	do {                                                                                       \
		uint64_t digest_before = kit_digest(&k);                                           \
		ck_assert_int_eq((call), (code));                                                  \
		ck_assert_uint_eq(kit_digest(&k), digest_before);                                  \
	} while (0)

static int set(const char *path, uint64_t bytes, uint64_t inodes)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_QUOTA_SET,
	                                  .name = kit_str(path),
	                                  .size = bytes,
	                                  .offset = inodes});
}

/* What is listed for a path; bytes_max 0: nothing. */
static struct fs_quota listed(const char *path)
{
	struct fs_quota q, found = {0};
	struct reader r;

	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_QUOTA_LIST}), 0);
	r = reader_of(k.res.data, k.res.data_len);
	while (fs_quota_next(&r, &q))
		if (q.path.len == strlen(path) && memcmp(q.path.p, path, q.path.len) == 0)
			found = q;
	ck_assert(!r.bad);
	return found;
}

static int fill(uint64_t ino, uint64_t offset, size_t n)
{
	static const uint8_t bytes[20000] = {1};

	return kit_write(&k, ino, offset, bytes, n);
}

START_TEST(test_the_whole_may_be_full_and_things_can_be_removed)
{
	uint64_t f = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(set("/", 10000, 3), 0); /* the root, f, and one more */
	ck_assert_int_eq(fill(f, 0, 9000), 0);
	ck_refused(fill(f, 9000, 1001), -ENOSPC);
	ck_assert_int_eq(fill(f, 0, 5000), 0); /* needs no more */
	ck_assert_int_eq(fill(f, 9000, 1000), 0);
	ck_refused(kit_resize(&k, f, 10001), -ENOSPC);
	(void)kit_mkdir(&k, ROOT, "d");
	ck_refused(kit_mknod(&k, ROOT, "g", S_IFREG | 0644), -ENOSPC);
	ck_refused(kit_put(&k, "h", "x"), -ENOSPC);
	ck_assert_int_eq(kit_put(&k, "f", "less"), 0);
	ck_assert_int_eq(kit_unlink(&k, ROOT, "f"), 0);
	ck_assert_int_eq(kit_put(&k, "h", "x"), 0);
	ck_assert_uint_eq(listed("").inodes, 3);
	ck_assert_int_eq(set("", 0, 0), 0);
	ck_assert_uint_eq(listed("").inodes_max, 0);
	(void)kit_file(&k, ROOT, "g");
}
END_TEST

START_TEST(test_a_tree_has_its_own)
{
	uint64_t d, sub, f;

	ck_assert_int_eq(kit_put(&k, "t/sub/f", "12345"), 0);
	ck_assert_int_eq(set("t", 100, 5), 0);
	ck_assert_uint_eq(listed("t").bytes, 5);
	ck_assert_uint_eq(listed("t").inodes, 3);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "t"), 0);
	d = k.res.attr.ino;
	ck_assert_int_eq(kit_lookup(&k, d, "sub"), 0);
	sub = k.res.attr.ino;
	f = kit_file(&k, sub, "g");
	ck_assert_int_eq(fill(f, 0, 95), 0);
	ck_refused(fill(f, 95, 1), -EDQUOT);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE,
	                                            .ino = f,
	                                            .size = 200,
	                                            .mode = FS_FALLOC_KEEP_SIZE}),
	                 0);
	ck_refused(kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE, .ino = f, .size = 200}),
	           -EDQUOT);
	ck_refused(
	        kit_do(&k,
	               &(struct fs_op){
	                       .kind = FS_OP_COPY, .ino2 = f, .ino = f, .offset = 95, .size = 95}),
	        -EDQUOT);
	(void)kit_mkdir(&k, sub, "last");
	ck_refused(kit_mknod(&k, d, "more", S_IFREG | 0644), -EDQUOT);
	ck_refused(kit_put(&k, "t/x/y", ""), -EDQUOT);
	ck_assert_int_eq(kit_put(&k, "outside", "as much as one likes"), 0);
	ck_assert_int_eq(kit_unlink(&k, sub, "g"), 0);
	ck_assert_uint_eq(listed("t").bytes, 5);
	ck_assert_int_eq(kit_put(&k, "t/h", "now there is room"), 0);
	kit_verify(&k);
}
END_TEST

START_TEST(test_names_do_not_lead_from_one_tree_into_another)
{
	uint64_t a, b, f;

	a = kit_mkdir(&k, ROOT, "a");
	b = kit_mkdir(&k, ROOT, "b");
	f = kit_file(&k, a, "f");
	ck_assert_int_eq(set("a", 1000, 0), 0);
	ck_refused(kit_rename(&k, a, "f", b, "f", 0), -EXDEV);
	ck_refused(kit_link(&k, f, ROOT, "f"), -EXDEV);
	ck_assert_int_eq(kit_rename(&k, a, "f", a, "g", 0), 0);
	ck_assert_int_eq(kit_rename(&k, ROOT, "a", b, "moved", 0), 0); /* the tree as a whole */
	ck_assert_uint_eq(listed("b/moved").inodes, 2);
	ck_refused(set("b", 1000, 0), -EBUSY); /* a tree is within it */
	ck_assert_int_eq(set("b/moved", 0, 0), 0);
	ck_assert_int_eq(kit_rename(&k, a, "g", b, "g", 0), 0);
	ck_assert_int_eq(kit_link(&k, f, ROOT, "f"), 0);
	ck_refused(set("b", 1000, 0), -EXDEV); /* g has a name outside */
	kit_verify(&k);
}
END_TEST

START_TEST(test_a_tree_goes_with_its_directory_and_its_open_files)
{
	uint64_t t;

	kit_open_session(&k);
	t = kit_mkdir(&k, ROOT, "t");
	ck_assert_int_eq(set("t", 1000, 0), 0);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                            .parent = t,
	                                            .mode = S_IFREG | 0600,
	                                            .flags = FS_F_TMPFILE}),
	                 0);
	ck_assert_int_eq(fill(k.res.attr.ino, 0, 10), 0);
	ck_assert_int_eq(kit_rmdir(&k, ROOT, "t"), 0);
	kit_verify(&k);
	ck_assert_ptr_nonnull(store_quota_of(k.s, 1));
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_CLOSE}), 0);
	k.session = 0;
	ck_assert_ptr_null(store_quota_of(k.s, 1));
	(void)kit_mkdir(&k, ROOT, "t");
	ck_assert_int_eq(set("t", 1000, 0), 0);
	ck_assert_int_eq(kit_delete(&k, "t", FS_F_RECURSIVE), 0);
	ck_assert_ptr_null(store_quota_of(k.s, 1));
}
END_TEST

START_TEST(test_quotas_are_there_after_the_store_was_reopened)
{
	struct kit disk;

	kit_open_disk(&disk);
	kit_close(&k);
	k = disk;
	kit_raise(&k);
	ck_assert_int_eq(kit_put(&k, "t/f", "12345"), 0);
	ck_assert_int_eq(set("t", 6, 0), 0);
	ck_assert_int_eq(set("/", 0, 100), 0);
	kit_commit(&k);
	kit_reopen_disk(&k);
	ck_assert_uint_eq(listed("t").bytes, 5);
	ck_assert_uint_eq(listed("").inodes_max, 100);
	ck_refused(kit_put(&k, "t/g", "xx"), -EDQUOT);
}
END_TEST

START_TEST(test_only_directories_that_are_there_have_quotas)
{
	(void)kit_file(&k, ROOT, "f");
	ck_refused(set("absent", 1, 0), -ENOENT);
	ck_refused(set("f", 1, 0), -ENOTDIR);
	(void)kit_mkdir(&k, kit_mkdir(&k, ROOT, "a"), "b");
	ck_assert_int_eq(set("a", 1, 0), 0);
	ck_refused(set("a/b", 1, 0), -EBUSY);
	ck_refused(set("a//b", 1, 0), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_quota");
	TCase *tc = tcase_create("quota");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_the_whole_may_be_full_and_things_can_be_removed);
	tcase_add_test(tc, test_a_tree_has_its_own);
	tcase_add_test(tc, test_names_do_not_lead_from_one_tree_into_another);
	tcase_add_test(tc, test_a_tree_goes_with_its_directory_and_its_open_files);
	tcase_add_test(tc, test_quotas_are_there_after_the_store_was_reopened);
	tcase_add_test(tc, test_only_directories_that_are_there_have_quotas);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

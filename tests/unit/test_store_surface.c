/* What goes beyond names and bytes: extended attributes, files without names, holes, listings of names alone. */
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

static int set(uint64_t ino, const char *name, const char *value, uint32_t flags)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_SETXATTR,
	                                  .ino = ino,
	                                  .name = kit_str(name),
	                                  .flags = flags,
	                                  .data = value,
	                                  .data_len = (uint32_t)strlen(value)});
}

static int drop(uint64_t ino, const char *name)
{
	return kit_do(
	        &k, &(struct fs_op){.kind = FS_OP_REMOVEXATTR, .ino = ino, .name = kit_str(name)});
}

static int get(uint64_t ino, const char *name)
{
	return kit_read(&k,
	                &(struct fs_op){.kind = FS_OP_GETXATTR, .ino = ino, .name = kit_str(name)});
}

static void assert_value(uint64_t ino, const char *name, const char *value)
{
	ck_assert_int_eq(get(ino, name), 0);
	ck_assert(kit_data_is(&k, value));
}

/* ---- extended attributes ---- */

START_TEST(test_attributes_are_set_replaced_and_removed)
{
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_refused(drop(ino, "user.a"), -ENODATA);
	ck_refused(set(ino, "user.a", "1", FS_F_MUST_EXIST), -ENODATA);
	ck_assert_int_eq(set(ino, "user.a", "1", FS_F_EXCL), 0);
	ck_assert_uint_eq(k.res.attr.version, k.pos.index);
	ck_refused(set(ino, "user.a", "2", FS_F_EXCL), -EEXIST);
	ck_assert_int_eq(set(ino, "user.b", "", 0), 0);
	ck_assert_int_eq(set(ino, "user.a", "second", FS_F_MUST_EXIST), 0);
	assert_value(ino, "user.a", "second");
	assert_value(ino, "user.b", "");
	ck_assert_int_eq(get(ino, "user.c"), -ENODATA);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_LISTXATTR, .ino = ino}), 0);
	ck_assert_uint_eq(k.res.data_len, 14);
	ck_assert_mem_eq(k.res.data, "user.b\0user.a", 14);
	ck_assert_int_eq(drop(ino, "user.b"), 0);
	ck_assert_int_eq(drop(ino, "user.a"), 0);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_LISTXATTR, .ino = ino}), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
	ck_refused(set(99, "user.a", "", 0), -ESTALE);
	ck_refused(set(ino, "", "", 0), -EINVAL);
	ck_refused(set(ino, "user.a", "", FS_F_EXCL | FS_F_MUST_EXIST), -EINVAL);
}
END_TEST

START_TEST(test_attributes_have_limits)
{
	static char large[FS_XATTR_BYTES_MAX + 2], name[FS_NAME_BYTES_MAX + 2];
	uint64_t ino = kit_file(&k, ROOT, "f");
	unsigned n = 0;

	memset(large, 'l', sizeof(large) - 1);
	memset(name, 'n', sizeof(name) - 1);
	ck_refused(set(ino, "user.a", large, 0), -E2BIG);
	ck_refused(set(ino, name, "", 0), -ERANGE);
	large[FS_XATTR_BYTES_MAX] = '\0';
	ck_assert_int_eq(set(ino, "user.a", large, 0), 0);
	ck_refused(set(ino, "user.b", large, 0), -ENOSPC); /* the second does not fit beside it */
	ck_assert_int_eq(drop(ino, "user.a"), 0);
	for (; n < RECORD_XATTRS_MAX; n++) {
		(void)snprintf(name, sizeof(name), "user.%u", n);
		ck_assert_int_eq(set(ino, name, "v", 0), 0);
	}
	ck_refused(set(ino, "user.more", "v", 0), -ENOSPC);
	ck_assert_int_eq(set(ino, "user.7", "another", 0), 0);
}
END_TEST

START_TEST(test_attributes_go_with_their_inode)
{
	uint64_t file = kit_file(&k, ROOT, "f"), dir = kit_mkdir(&k, ROOT, "d");

	ck_assert_int_eq(set(file, "user.a", "1", 0), 0);
	ck_assert_int_eq(set(dir, "user.a", "1", 0), 0);
	ck_assert_int_eq(kit_rmdir(&k, ROOT, "d"), 0);
	ck_assert_int_eq(kit_unlink(&k, ROOT, "f"), 0);
	assert_value(file, "user.a", "1"); /* it lingers */
	kit_linger_over(&k);
	ck_assert_int_eq(get(file, "user.a"), -ESTALE);
	kit_verify(&k);
}
END_TEST

START_TEST(test_the_version_is_read_and_not_set)
{
	uint64_t ino = kit_file(&k, ROOT, "f");
	char version[32];

	(void)snprintf(version, sizeof(version), "%llu", (unsigned long long)k.pos.index);
	assert_value(ino, FS_XATTR_VERSION, version);
	ck_refused(set(ino, FS_XATTR_VERSION, "1", 0), -EPERM);
	ck_refused(drop(ino, FS_XATTR_VERSION), -EPERM);
}
END_TEST

START_TEST(test_a_change_of_bytes_takes_capabilities_away)
{
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(set(ino, "security.capability", "c", 0), 0);
	ck_assert_int_eq(set(ino, "user.stays", "s", 0), 0);
	ck_assert_int_eq(kit_write(&k, ino, 0, "x", 1), 0);
	ck_assert_int_eq(get(ino, "security.capability"), -ENODATA);
	assert_value(ino, "user.stays", "s");
	ck_assert_int_eq(set(ino, "security.capability", "c", 0), 0);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SETATTR,
	                                            .ino = ino,
	                                            .valid = FS_SET_MODE,
	                                            .mode = 0755}),
	                 0);
	assert_value(ino, "security.capability", "c");
	ck_assert_int_eq(kit_resize(&k, ino, 0), 0);
	ck_assert_int_eq(get(ino, "security.capability"), -ENODATA);
}
END_TEST

START_TEST(test_attributes_are_there_after_the_store_was_reopened)
{
	struct kit disk;

	kit_open_disk(&disk);
	kit_close(&k);
	k = disk;
	kit_raise(&k);
	uint64_t ino = kit_file(&k, ROOT, "f");
	ck_assert_int_eq(set(ino, "user.a", "kept", 0), 0);
	kit_commit(&k);
	kit_reopen_disk(&k);
	assert_value(ino, "user.a", "kept");
}
END_TEST

/* ---- files without a name ---- */

static int make_nameless(uint32_t mode)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                  .parent = ROOT,
	                                  .mode = mode,
	                                  .flags = FS_F_TMPFILE});
}

static int name_it(uint64_t ino, const char *name, uint32_t flags)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_LINK,
	                                  .ino = ino,
	                                  .parent = ROOT,
	                                  .name = kit_str(name),
	                                  .flags = flags});
}

START_TEST(test_a_file_without_a_name_gets_one_or_goes)
{
	uint64_t named, lost;

	ck_refused(make_nameless(S_IFREG | 0600), -EINVAL); /* whose would it be? */
	kit_open_session(&k);
	ck_assert_int_eq(make_nameless(S_IFDIR | 0700), -EINVAL);
	ck_assert_int_eq(make_nameless(S_IFREG | 0600), 0);
	named = k.res.attr.ino;
	ck_assert_uint_eq(k.res.attr.nlink, 0);
	ck_assert_int_eq(make_nameless(S_IFREG | 0600), 0);
	lost = k.res.attr.ino;
	kit_verify(&k);
	ck_assert_int_eq(kit_write(&k, named, 0, "data", 4), 0);
	ck_assert_int_eq(name_it(named, "f", 0), -ENOENT);
	ck_assert_int_eq(name_it(named, "f", FS_F_TMPFILE), 0);
	ck_assert_uint_eq(k.res.attr.nlink, 1);
	kit_verify(&k);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_CLOSE}), 0);
	k.session = 0;
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, lost), -ESTALE);
	ck_assert_int_eq(kit_get(&k, "f"), 0);
	ck_assert(kit_data_is(&k, "data"));
}
END_TEST

START_TEST(test_another_sessions_file_cannot_be_named)
{
	uint64_t ino;

	kit_open_session(&k);
	ck_assert_int_eq(make_nameless(S_IFREG | 0600), 0);
	ino = k.res.attr.ino;
	kit_open_session(&k);
	ck_assert_int_eq(name_it(ino, "f", FS_F_TMPFILE), -ENOENT);
}
END_TEST

/* ---- holes ---- */

static int seek(uint64_t ino, uint64_t offset, uint32_t flags)
{
	return kit_read(
	        &k,
	        &(struct fs_op){.kind = FS_OP_SEEK, .ino = ino, .offset = offset, .flags = flags});
}

static void assert_seek(uint64_t ino, uint64_t offset, uint64_t data, uint64_t hole)
{
	ck_assert_int_eq(seek(ino, offset, 0), 0);
	ck_assert_uint_eq(k.res.value, data);
	ck_assert_int_eq(seek(ino, offset, FS_F_HOLE), 0);
	ck_assert_uint_eq(k.res.value, hole);
}

START_TEST(test_data_and_holes_are_found)
{
	const uint64_t c = STORE_CHUNK_BYTES;
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(seek(ino, 0, 0), -ENXIO);
	ck_assert_int_eq(kit_write(&k, ino, 0, "small", 5), 0);
	assert_seek(ino, 2, 2, 5);
	ck_assert_int_eq(seek(ino, 5, FS_F_HOLE), -ENXIO);
	ck_assert_int_eq(kit_write(&k, ino, 3 * c, "far", 3), 0);
	ck_assert_int_eq(kit_write(&k, ino, 4 * c, "next", 4), 0);
	assert_seek(ino, 0, 0, c);
	assert_seek(ino, c, 3 * c, c);
	assert_seek(ino, 3 * c + 9, 3 * c + 9, 4 * c + 4); /* the end is a hole */
	ck_assert_int_eq(kit_resize(&k, ino, 9 * c), 0);
	assert_seek(ino, 3 * c, 3 * c, 5 * c);
	ck_assert_int_eq(seek(ino, 6 * c, 0), -ENXIO);
}
END_TEST

START_TEST(test_ranges_are_checked_before_anything_changes)
{
	uint64_t ino = kit_file(&k, ROOT, "f"), dir = kit_mkdir(&k, ROOT, "d");
	struct fs_op op = {
	        .kind = FS_OP_FALLOCATE, .ino = ino, .offset = FS_FILE_BYTES_MAX, .size = 1};

	ck_refused(kit_do(&k, &op), -EFBIG);
	op.offset = UINT64_MAX;
	ck_refused(kit_do(&k, &op), -EFBIG);
	op.offset = op.size = 0;
	ck_refused(kit_do(&k, &op), -EINVAL);
	op.size = 1;
	op.mode = 5;
	ck_refused(kit_do(&k, &op), -EOPNOTSUPP);
	op.mode = 0;
	op.ino = dir;
	ck_refused(kit_do(&k, &op), -EISDIR);
	op.ino = 99;
	ck_refused(kit_do(&k, &op), -ESTALE);
	op = (struct fs_op){.kind = FS_OP_COPY, .ino = ino, .ino2 = dir, .size = 1};
	ck_refused(kit_do(&k, &op), -EISDIR);
	ck_assert_int_eq(kit_write(&k, ino, 0, "0123456789", 10), 0);
	op = (struct fs_op){.kind = FS_OP_COPY, .ino = ino, .ino2 = ino, .offset = 3, .size = 5};
	ck_refused(kit_do(&k, &op), -EINVAL); /* onto itself */
	op.offset = FS_FILE_BYTES_MAX - 2;
	ck_refused(kit_do(&k, &op), -EFBIG);
}
END_TEST

/* ---- directories ---- */

START_TEST(test_the_directory_above_is_looked_up_as_dot_dot)
{
	uint64_t a = kit_mkdir(&k, ROOT, "a"), b = kit_mkdir(&k, a, "b");

	ck_assert_int_eq(kit_lookup(&k, b, ".."), 0);
	ck_assert_uint_eq(k.res.attr.ino, a);
	ck_assert_int_eq(kit_lookup(&k, ROOT, ".."), 0);
	ck_assert_uint_eq(k.res.attr.ino, ROOT);
	ck_assert_int_eq(kit_lookup(&k, kit_file(&k, ROOT, "f"), ".."), -ENOTDIR);
	ck_assert_int_eq(kit_lookup(&k, b, "."), -EINVAL);
}
END_TEST

START_TEST(test_a_listing_of_names_says_number_and_type_and_when_it_is_complete)
{
	struct fs_op op = {.kind = FS_OP_READDIR, .ino = ROOT, .size = 4096, .flags = FS_F_NAMES};
	uint64_t dir = kit_mkdir(&k, ROOT, "d");
	struct fs_dirent d;
	struct reader r;

	ck_assert_int_eq(kit_read(&k, &op), 0);
	ck_assert_uint_eq(k.res.value, 1);
	r = reader_of(k.res.data, k.res.data_len);
	ck_assert(fs_dirent_next(&r, &d));
	ck_assert_uint_eq(d.attr.ino, dir);
	ck_assert_uint_eq(d.attr.mode, S_IFDIR);
	(void)kit_file(&k, ROOT, "f");
	op.size = 1; /* one entry is always given */
	ck_assert_int_eq(kit_read(&k, &op), 0);
	ck_assert_uint_eq(k.res.value, 0);
	r = reader_of(k.res.data, k.res.data_len);
	ck_assert(fs_dirent_next(&r, &d));
	op.offset = d.cookie;
	op.size = 4096;
	ck_assert_int_eq(kit_read(&k, &op), 0);
	ck_assert_uint_eq(k.res.value, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_surface");
	TCase *tc = tcase_create("surface");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_attributes_are_set_replaced_and_removed);
	tcase_add_test(tc, test_attributes_have_limits);
	tcase_add_test(tc, test_attributes_go_with_their_inode);
	tcase_add_test(tc, test_the_version_is_read_and_not_set);
	tcase_add_test(tc, test_a_change_of_bytes_takes_capabilities_away);
	tcase_add_test(tc, test_attributes_are_there_after_the_store_was_reopened);
	tcase_add_test(tc, test_a_file_without_a_name_gets_one_or_goes);
	tcase_add_test(tc, test_another_sessions_file_cannot_be_named);
	tcase_add_test(tc, test_data_and_holes_are_found);
	tcase_add_test(tc, test_ranges_are_checked_before_anything_changes);
	tcase_add_test(tc, test_the_directory_above_is_looked_up_as_dot_dot);
	tcase_add_test(tc, test_a_listing_of_names_says_number_and_type_and_when_it_is_complete);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

/* What each operation does to names and attributes, and which errno it gives. */
#include "store_kit.h"

#define ROOT FS_ROOT_INO

static struct kit k;

static void setup(void)
{
	kit_open_memory(&k);
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

START_TEST(test_new_store_has_an_empty_root)
{
	struct fs_attr a = kit_attr(&k, ROOT);

	ck_assert_uint_eq(a.mode, S_IFDIR | 0755);
	ck_assert_uint_eq(a.nlink, 2);
	ck_assert_uint_eq(a.uid + a.gid, 0);
	ck_assert_int_eq(a.mtime_ns, 0);
	ck_assert_int_eq(
	        kit_read(&k, &(struct fs_op){.kind = FS_OP_READDIR, .ino = ROOT, .size = 4096}), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_RESOLVE, .name = FS_STR("/")}),
	                 0);
	ck_assert_uint_eq(k.res.attr.ino, ROOT);
}
END_TEST

START_TEST(test_create_makes_each_type_with_its_attributes)
{
	static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
	struct fs_op op = {.kind = FS_OP_MKNOD, .parent = ROOT, .uid = 7, .gid = 8, .rdev = 0x501};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%zu", i);
		op.name = kit_str(name);
		op.mode = types[i] | 0640;
		ck_assert_int_eq(kit_do(&k, &op), 0);
		ck_assert_uint_eq(k.res.attr.mode, types[i] | 0640);
		ck_assert_uint_eq(k.res.attr.uid, 7);
		ck_assert_uint_eq(k.res.attr.gid, 8);
		ck_assert_uint_eq(k.res.attr.nlink, types[i] == S_IFDIR ? 2 : 1);
		ck_assert_uint_eq(k.res.attr.version, k.pos.index);
		ck_assert_uint_eq(k.res.attr.rdev,
		                  types[i] == S_IFCHR || types[i] == S_IFBLK ? 0x501 : 0);
		ck_assert_int_eq(kit_lookup(&k, ROOT, name), 0);
		ck_assert_uint_eq(k.res.attr.ino, 2 + i);
	}
	ck_assert_uint_eq(kit_attr(&k, ROOT).nlink, 3);
}
END_TEST

START_TEST(test_create_refuses_what_makes_no_sense)
{
	char long_name[300];
	uint64_t file = kit_file(&k, ROOT, "f");

	memset(long_name, 'n', sizeof(long_name));
	long_name[255] = '\0';
	ck_assert_int_eq(kit_mknod(&k, ROOT, long_name, S_IFREG), 0);
	long_name[255] = 'n';
	long_name[256] = '\0';
	ck_refused(kit_mknod(&k, ROOT, long_name, S_IFREG | 0644), -ENAMETOOLONG);
	ck_refused(kit_mknod(&k, ROOT, "", S_IFREG | 0644), -EINVAL);
	ck_refused(kit_mknod(&k, ROOT, "..", S_IFREG | 0644), -EINVAL);
	ck_refused(kit_mknod(&k, ROOT, "a/b", S_IFREG | 0644), -EINVAL);
	ck_refused(kit_mknod(&k, ROOT, "x", 0644), -EINVAL);
	ck_refused(kit_mknod(&k, ROOT, "x", S_IFREG | 0200000), -EINVAL);
	ck_refused(kit_mknod(&k, ROOT, "x", S_IFLNK | 0777), -EINVAL);
	ck_refused(kit_mknod(&k, 99, "x", S_IFREG | 0644), -ENOENT);
	ck_refused(kit_mknod(&k, file, "x", S_IFREG | 0644), -ENOTDIR);
	ck_refused(kit_mknod(&k, ROOT, "f", S_IFREG | 0644), -EEXIST);
	ck_refused(kit_mknod(&k, ROOT, "f", S_IFDIR | 0755), -EEXIST);
	ck_refused(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                      .parent = ROOT,
	                                      .name = FS_STR("x"),
	                                      .mode = S_IFREG,
	                                      .flags = 1u << 30}),
	           -EINVAL);
}
END_TEST

START_TEST(test_create_without_excl_gives_the_existing_file)
{
	struct fs_op op = {
	        .kind = FS_OP_MKNOD, .parent = ROOT, .name = FS_STR("f"), .mode = S_IFREG | 0600};
	uint64_t ino = kit_file(&k, ROOT, "f");

	kit_write(&k, ino, 0, "abc", 3);
	ck_refused(kit_do(&k, &op), 0);
	ck_assert_uint_eq(k.res.attr.ino, ino);
	ck_assert_uint_eq(k.res.attr.size, 3);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0644);
	kit_mkdir(&k, ROOT, "d");
	op.name = FS_STR("d");
	ck_refused(kit_do(&k, &op), -EEXIST);
}
END_TEST

START_TEST(test_set_group_id_directories_pass_on_their_group)
{
	struct fs_op op = {.kind = FS_OP_MKNOD,
	                   .parent = ROOT,
	                   .name = FS_STR("d"),
	                   .mode = S_IFDIR | S_ISGID | 0775,
	                   .gid = 50};
	uint64_t dir;

	ck_assert_int_eq(kit_do(&k, &op), 0);
	dir = k.res.attr.ino;
	kit_mkdir(&k, dir, "sub");
	ck_assert_uint_eq(k.res.attr.gid, 50);
	ck_assert_uint_eq(k.res.attr.mode, S_IFDIR | S_ISGID | 0755);
	kit_file(&k, dir, "f");
	ck_assert_uint_eq(k.res.attr.gid, 50);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0644);
	ck_assert_int_eq(kit_put(&k, "d/x/y", "v"), 0);
	ck_assert_uint_eq(k.res.attr.gid, 50);
}
END_TEST

START_TEST(test_symlink_keeps_its_target)
{
	static const char target[] = "../some where/else";
	struct fs_op op = {.kind = FS_OP_MKNOD,
	                   .parent = ROOT,
	                   .name = FS_STR("l"),
	                   .mode = S_IFLNK | 0777,
	                   .data = target,
	                   .data_len = sizeof(target) - 1};
	static char big[5000];
	uint64_t ino;

	ck_assert_int_eq(kit_do(&k, &op), 0);
	ino = k.res.attr.ino;
	ck_assert_uint_eq(k.res.attr.size, sizeof(target) - 1);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_READLINK, .ino = ino}), 0);
	ck_assert(kit_data_is(&k, target));
	ck_refused(kit_write(&k, ino, 0, "x", 1), -EINVAL);
	ck_refused(kit_resize(&k, ino, 0), -EINVAL);
	ck_assert_int_eq(kit_pread(&k, ino, 0, 1), -EINVAL);
	ck_assert_int_eq(kit_get(&k, "l"), -ELOOP);
	ck_refused(kit_put(&k, "l", "x"), -ELOOP);
	ck_refused(kit_put(&k, "l/x", "x"), -ELOOP);
	memset(big, 't', sizeof(big));
	op.name = FS_STR("long");
	op.data = big;
	op.data_len = FS_PATH_BYTES_MAX;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	op.name = FS_STR("longer");
	op.data_len++;
	ck_refused(kit_do(&k, &op), -ENAMETOOLONG);
	ck_assert_int_eq(kit_delete(&k, "l", 0), 0);
}
END_TEST

START_TEST(test_hard_links_share_one_inode)
{
	uint64_t dir = kit_mkdir(&k, ROOT, "d"), ino = kit_file(&k, ROOT, "a");

	ck_assert_int_eq(kit_link(&k, ino, dir, "b"), 0);
	ck_assert_uint_eq(k.res.attr.nlink, 2);
	kit_write(&k, ino, 0, "shared", 6);
	ck_assert_int_eq(kit_get(&k, "d/b"), 0);
	ck_assert(kit_data_is(&k, "shared"));
	ck_refused(kit_link(&k, ino, dir, "b"), -EEXIST);
	ck_refused(kit_link(&k, dir, ROOT, "dir"), -EPERM);
	ck_refused(kit_link(&k, 99, ROOT, "x"), -ESTALE);
	ck_refused(kit_link(&k, ino, 99, "x"), -ENOENT);
	ck_refused(kit_link(&k, ino, ino, "x"), -ENOTDIR);
	ck_assert_int_eq(kit_unlink(&k, ROOT, "a"), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_int_eq(kit_unlink(&k, dir, "b"), 0);
	ck_assert_uint_eq(k.res.value, ino);
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, ino), -ESTALE);
}
END_TEST

START_TEST(test_links_have_a_limit)
{
	uint64_t ino = kit_file(&k, ROOT, "a");
	char name[16];

	for (unsigned int i = 1; i < STORE_LINKS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "l%u", i);
		ck_assert_int_eq(kit_link(&k, ino, ROOT, name), 0);
	}
	ck_refused(kit_link(&k, ino, ROOT, "one-too-many"), -EMLINK);
}
END_TEST

START_TEST(test_unlink_and_rmdir_are_for_their_own_kind)
{
	uint64_t dir = kit_mkdir(&k, ROOT, "d"), sub;

	kit_file(&k, dir, "f");
	ck_refused(kit_unlink(&k, ROOT, "d"), -EISDIR);
	ck_refused(kit_rmdir(&k, dir, "f"), -ENOTDIR);
	ck_refused(kit_rmdir(&k, ROOT, "d"), -ENOTEMPTY);
	ck_refused(kit_unlink(&k, dir, "absent"), -ENOENT);
	ck_refused(kit_rmdir(&k, dir, "absent"), -ENOENT);
	sub = kit_mkdir(&k, dir, "sub");
	ck_assert_uint_eq(kit_attr(&k, dir).nlink, 3);
	ck_assert_int_eq(kit_rmdir(&k, dir, "sub"), 0);
	ck_assert_uint_eq(kit_attr(&k, dir).nlink, 2);
	ck_assert_int_eq(kit_getattr(&k, sub), -ESTALE);
	ck_refused(kit_mknod(&k, sub, "x", S_IFREG | 0644), -ENOENT);
	ck_assert_int_eq(kit_unlink(&k, dir, "f"), 0);
	ck_assert_int_eq(kit_rmdir(&k, ROOT, "d"), 0);
}
END_TEST

START_TEST(test_rename_replaces_files_and_empty_directories)
{
	uint64_t a = kit_file(&k, ROOT, "a"), b = kit_file(&k, ROOT, "b");
	uint64_t d = kit_mkdir(&k, ROOT, "d"), e = kit_mkdir(&k, ROOT, "e");

	ck_assert_int_eq(kit_rename(&k, ROOT, "a", ROOT, "b", 0), 0);
	ck_assert_uint_eq(k.res.value, b);
	ck_assert_uint_eq(k.res.attr.ino, a);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "a"), -ENOENT);
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, b), -ESTALE);
	ck_assert_int_eq(kit_rename(&k, ROOT, "d", ROOT, "e", 0), 0);
	ck_assert_uint_eq(k.res.value, e);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "e"), 0);
	ck_assert_uint_eq(k.res.attr.ino, d);
	ck_assert_uint_eq(kit_attr(&k, ROOT).nlink, 3);
	kit_file(&k, d, "inside");
	kit_mkdir(&k, ROOT, "g");
	ck_refused(kit_rename(&k, ROOT, "g", ROOT, "e", 0), -ENOTEMPTY);
	ck_refused(kit_rename(&k, ROOT, "b", ROOT, "g", 0), -EISDIR);
	ck_refused(kit_rename(&k, ROOT, "g", ROOT, "b", 0), -ENOTDIR);
	ck_refused(kit_rename(&k, ROOT, "absent", ROOT, "b", 0), -ENOENT);
	ck_refused(kit_rename(&k, ROOT, "b", 99, "b", 0), -ENOENT);
	ck_refused(kit_rename(&k, ROOT, "b", a, "b", 0), -ENOTDIR);
	ck_refused(kit_rename(&k, ROOT, "b", ROOT, ".", 0), -EINVAL);
}
END_TEST

START_TEST(test_rename_of_one_file_onto_itself_does_nothing)
{
	uint64_t a = kit_file(&k, ROOT, "a");

	kit_link(&k, a, ROOT, "b");
	ck_refused(kit_rename(&k, ROOT, "a", ROOT, "b", 0), 0);
	ck_refused(kit_rename(&k, ROOT, "a", ROOT, "a", 0), 0);
	ck_refused(kit_rename(&k, ROOT, "a", ROOT, "b", FS_F_NOREPLACE), -EEXIST);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "a"), 0);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "b"), 0);
}
END_TEST

START_TEST(test_rename_does_not_put_a_directory_below_itself)
{
	uint64_t a = kit_mkdir(&k, ROOT, "a"), b = kit_mkdir(&k, a, "b"), c = kit_mkdir(&k, b, "c");

	ck_refused(kit_rename(&k, ROOT, "a", c, "x", 0), -EINVAL);
	ck_refused(kit_rename(&k, ROOT, "a", a, "x", 0), -EINVAL);
	ck_refused(kit_rename(&k, b, "c", ROOT, "a", 0), -ENOTEMPTY);
	ck_refused(kit_rename(&k, b, "c", ROOT, "a", FS_F_EXCHANGE), -EINVAL);
	ck_refused(kit_rename(&k, ROOT, "a", b, "c", FS_F_EXCHANGE), -EINVAL);
}
END_TEST

START_TEST(test_rename_of_directories_keeps_parents_and_links)
{
	uint64_t a = kit_mkdir(&k, ROOT, "a"), b = kit_mkdir(&k, ROOT, "b"),
	         d = kit_mkdir(&k, a, "d");

	ck_assert_int_eq(kit_rename(&k, a, "d", b, "moved", 0), 0);
	ck_assert_uint_eq(kit_attr(&k, a).nlink, 2);
	ck_assert_uint_eq(kit_attr(&k, b).nlink, 3);
	ck_assert_uint_eq(kit_attr(&k, d).version, k.pos.index);
	kit_verify(&k);
	ck_assert_int_eq(kit_rename(&k, ROOT, "b", d, "x", 0), -EINVAL);
	ck_assert_int_eq(kit_rename(&k, ROOT, "a", d, "x", 0), 0);
	ck_assert_int_eq(
	        kit_read(&k, &(struct fs_op){.kind = FS_OP_RESOLVE, .name = FS_STR("b/moved/x")}),
	        0);
	ck_assert_uint_eq(k.res.attr.ino, a);
}
END_TEST

START_TEST(test_rename_flags)
{
	uint64_t a = kit_file(&k, ROOT, "a"), d = kit_mkdir(&k, ROOT, "d"),
	         e = kit_mkdir(&k, d, "e");

	ck_refused(kit_rename(&k, ROOT, "a", ROOT, "d", FS_F_NOREPLACE), -EEXIST);
	ck_refused(kit_rename(&k, ROOT, "a", ROOT, "x", FS_F_EXCHANGE), -ENOENT);
	ck_refused(kit_rename(&k, ROOT, "a", d, "e", FS_F_EXCHANGE | FS_F_NOREPLACE), -EINVAL);
	ck_assert_int_eq(kit_rename(&k, ROOT, "a", ROOT, "x", FS_F_NOREPLACE), 0);
	ck_assert_int_eq(kit_rename(&k, ROOT, "x", d, "e", FS_F_EXCHANGE), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_int_eq(kit_lookup(&k, d, "e"), 0);
	ck_assert_uint_eq(k.res.attr.ino, a);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "x"), 0);
	ck_assert_uint_eq(k.res.attr.ino, e);
	ck_assert_uint_eq(kit_attr(&k, d).nlink, 2);
	ck_assert_uint_eq(kit_attr(&k, ROOT).nlink, 4);
	kit_verify(&k);
	ck_assert_int_eq(kit_rename(&k, ROOT, "d", ROOT, "x", FS_F_EXCHANGE), 0);
}
END_TEST

START_TEST(test_setattr_changes_what_it_names)
{
	uint64_t ino = kit_file(&k, ROOT, "f"), dir = kit_mkdir(&k, ROOT, "d");
	struct fs_op op = {.kind = FS_OP_SETATTR,
	                   .ino = ino,
	                   .valid = FS_SET_MODE | FS_SET_UID | FS_SET_GID,
	                   .mode = 06755,
	                   .uid = 3,
	                   .gid = 4};
	struct fs_attr old, a;

	ck_assert_int_eq(kit_do(&k, &op), 0);
	a = k.res.attr;
	ck_assert_uint_eq(a.mode, S_IFREG | 06755);
	ck_assert_uint_eq(a.uid, 3);
	ck_assert_uint_eq(a.gid, 4);
	old = a;
	op.valid = FS_SET_GID;
	op.gid = 5;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0755);
	ck_assert_uint_eq(k.res.attr.uid, 3);
	ck_assert_uint_eq(k.res.attr.gid, 5);
	ck_assert_int_gt(k.res.attr.ctime_ns, old.ctime_ns);
	ck_assert_int_eq(k.res.attr.mtime_ns, old.mtime_ns);
	op = (struct fs_op){.kind = FS_OP_SETATTR,
	                    .ino = ino,
	                    .valid = FS_SET_ATIME | FS_SET_MTIME,
	                    .atime_ns = -5,
	                    .mtime_ns = 17};
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_int_eq(k.res.attr.atime_ns, -5);
	ck_assert_int_eq(k.res.attr.mtime_ns, 17);
	op.valid = FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_int_eq(k.res.attr.atime_ns, (int64_t)k.time_ns - 1000);
	ck_assert_int_eq(k.res.attr.mtime_ns, (int64_t)k.time_ns - 1000);
	ck_refused(kit_resize(&k, dir, 0), -EISDIR);
	ck_refused(kit_resize(&k, ino, FS_FILE_BYTES_MAX + 1), -EFBIG);
	ck_refused(kit_resize(&k, 99, 0), -ESTALE);
	op.valid = 1u << 20;
	ck_refused(kit_do(&k, &op), -EINVAL);
}
END_TEST

START_TEST(test_times_increase_even_if_the_clock_goes_back)
{
	uint64_t ino = kit_file(&k, ROOT, "f");
	struct fs_attr file = kit_attr(&k, ino), root = kit_attr(&k, ROOT), a;

	for (int i = 0; i < 3; i++) {
		char name[16];

		k.time_ns = 5;
		kit_write(&k, ino, 0, "x", 1);
		a = kit_attr(&k, ino);
		ck_assert_int_gt(a.mtime_ns, file.mtime_ns);
		ck_assert_int_gt(a.ctime_ns, file.ctime_ns);
		file = a;
		(void)snprintf(name, sizeof(name), "n%d", i);
		kit_file(&k, ROOT, name);
		a = kit_attr(&k, ROOT);
		ck_assert_int_gt(a.mtime_ns, root.mtime_ns);
		ck_assert_uint_eq(a.version, k.pos.index);
		root = a;
	}
	k.time_ns = UINT64_MAX - 5000;
	kit_write(&k, ino, 0, "x", 1);
	kit_write(&k, ino, 0, "x", 1);
	ck_assert_int_eq(kit_attr(&k, ino).mtime_ns, INT64_MAX);
}
END_TEST

START_TEST(test_put_makes_parents_and_replaces_the_content)
{
	uint64_t ino;

	ck_assert_int_eq(kit_put(&k, "app/db/url", "first and long"), 0);
	ino = k.res.attr.ino;
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0644);
	ck_assert_int_eq(kit_put(&k, "/app/db/url", "2nd"), 0);
	ck_assert_uint_eq(k.res.attr.ino, ino);
	ck_assert_int_eq(kit_get(&k, "app/db/url"), 0);
	ck_assert(kit_data_is(&k, "2nd"));
	ck_assert_int_eq(kit_put(&k, "app/empty", ""), 0);
	ck_assert_int_eq(kit_get(&k, "app/empty"), 0);
	ck_assert(kit_data_is(&k, ""));
	ck_assert_int_eq(
	        kit_read(&k, &(struct fs_op){.kind = FS_OP_RESOLVE, .name = FS_STR("app/db")}), 0);
	ck_assert_uint_eq(k.res.attr.mode, S_IFDIR | 0755);
	ck_refused(kit_put(&k, "app/db", "x"), -EISDIR);
	ck_refused(kit_put(&k, "app/db/url/x", "x"), -ENOTDIR);
	ck_refused(kit_put(&k, "a//b", "x"), -EINVAL);
	ck_refused(kit_put(&k, "new/../b", "x"), -EINVAL);
	ck_refused(kit_put(&k, "", "x"), -EINVAL);
	kit_mknod(&k, ROOT, "fifo", S_IFIFO | 0600);
	ck_refused(kit_put(&k, "fifo", "x"), -EINVAL);
	ck_assert_int_eq(kit_get(&k, "fifo"), -EINVAL);
	ck_assert_int_eq(kit_get(&k, "app"), -EISDIR);
	ck_assert_int_eq(kit_get(&k, "app/absent/x"), -ENOENT);
}
END_TEST

START_TEST(test_delete_by_path)
{
	struct store_counts c;

	kit_put(&k, "a/b/c", "1");
	kit_put(&k, "a/b/d", "2");
	kit_put(&k, "a/e/f/g", "3");
	kit_put(&k, "keep", "4");
	kit_lookup(&k, ROOT, "keep");
	kit_link(&k, k.res.attr.ino, ROOT, "kept-too");
	ck_assert_int_eq(kit_rename(&k, ROOT, "kept-too", ROOT, "x", 0), 0);
	ck_assert_int_eq(
	        kit_read(&k, &(struct fs_op){.kind = FS_OP_RESOLVE, .name = FS_STR("a/b")}), 0);
	kit_rename(&k, ROOT, "x", k.res.attr.ino, "hard", 0);
	ck_refused(kit_delete(&k, "a", 0), -ENOTEMPTY);
	ck_refused(kit_delete(&k, "a/absent", 0), -ENOENT);
	ck_refused(kit_delete(&k, "keep/absent", 0), -ENOTDIR);
	ck_assert_int_eq(kit_delete(&k, "a/b/c", 0), 0);
	ck_assert_int_eq(kit_delete(&k, "a", FS_F_RECURSIVE), 0);
	ck_assert_int_eq(kit_get(&k, "a/b/d"), -ENOENT);
	ck_assert_int_eq(kit_get(&k, "keep"), 0);
	ck_assert_uint_eq(k.res.attr.nlink, 1);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.inodes, 2);
	ck_assert_uint_eq(c.bytes, 1);
	kit_put(&k, "d/x", "");
	kit_delete(&k, "d/x", 0);
	ck_assert_int_eq(kit_delete(&k, "d", 0), 0);
}
END_TEST

/* One page of the root's listing behind `cookie`; gives the number of names and moves the
 * cookie. */
static unsigned int list_page(uint64_t *cookie, uint64_t bytes, char *seen, size_t n_seen)
{
	struct fs_op op = {.kind = FS_OP_READDIR, .ino = ROOT, .offset = *cookie, .size = bytes};
	struct fs_dirent d;
	struct reader r;
	unsigned int n = 0;

	ck_assert_int_eq(kit_read(&k, &op), 0);
	ck_assert_uint_eq(k.res.attr.ino, ROOT);
	r = reader_of(k.res.data, k.res.data_len);
	while (fs_dirent_next(&r, &d)) {
		unsigned long i = strtoul(d.name.p + 1, NULL, 10);

		ck_assert_uint_gt(d.cookie, *cookie);
		ck_assert_uint_gt(d.cookie, 2);
		ck_assert_int_gt((int64_t)d.cookie, 0);
		*cookie = d.cookie;
		ck_assert_uint_lt(i, n_seen);
		seen[i]++;
		n++;
	}
	ck_assert(!r.bad);
	return n;
}

START_TEST(test_listing_in_pages_is_stable_while_names_come_and_go)
{
	char name[16], seen[400] = {0};
	uint64_t cookie = 0;

	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		kit_file(&k, ROOT, name);
	}
	for (int page = 0; list_page(&cookie, page % 2 == 0 ? 1 : 900, seen, sizeof(seen)) > 0;
	     page++) {
		if (page >= 20)
			continue;
		(void)snprintf(name, sizeof(name), "n%d", 280 + page); /* goes */
		ck_assert_int_eq(kit_unlink(&k, ROOT, name), 0);
		(void)snprintf(name, sizeof(name), "n%d", 300 + page); /* comes */
		kit_file(&k, ROOT, name);
	}
	for (int i = 0; i < 280; i++)
		ck_assert_int_eq(seen[i], 1);
	for (int i = 280; i < 400; i++)
		ck_assert_int_le(seen[i], 1);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_READDIR, .ino = 2}), -ENOTDIR);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_READDIR, .ino = 999}), -ESTALE);
	cookie = 1ull << 63;
	ck_assert_int_eq(
	        kit_read(&k, &(struct fs_op){.kind = FS_OP_READDIR, .ino = ROOT, .offset = cookie}),
	        -EINVAL);
}
END_TEST

START_TEST(test_names_of_one_hash_live_together)
{
	uint64_t ino[256], d;
	char name[16];

	k.s->dentry_hash_mask = 0; /* every name collides with every other */
	for (int i = 0; i < 256; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		ino[i] = kit_file(&k, ROOT, name);
	}
	ck_refused(kit_mknod(&k, ROOT, "one-too-many", S_IFREG | 0644), -ENOSPC);
	ck_refused(kit_put(&k, "dir/file", "x"), -ENOSPC);
	ck_refused(kit_rename(&k, ROOT, "n1", ROOT, "x", 0), -ENOSPC);
	ck_refused(kit_link(&k, ino[0], ROOT, "x"), -ENOSPC);
	for (int i = 0; i < 256; i += 2) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(kit_unlink(&k, ROOT, name), 0);
	}
	kit_verify(&k);
	for (int i = 1; i < 256; i += 2) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(kit_lookup(&k, ROOT, name), 0);
		ck_assert_uint_eq(k.res.attr.ino, ino[i]);
	}
	ck_assert_int_eq(kit_lookup(&k, ROOT, "n2"), -ENOENT);
	ck_assert_int_eq(kit_lookup(&k, ino[1], "n2"), -ENOTDIR);
	ck_assert_int_eq(kit_lookup(&k, 9999, "n2"), -ENOENT);
	ck_assert_int_eq(kit_lookup(&k, ROOT, "."), -EINVAL);
	d = kit_mkdir(&k, ROOT, "d");
	ck_assert_int_eq(kit_rename(&k, ROOT, "n255", ROOT, "z", 0), 0);
	ck_assert_int_eq(kit_rename(&k, ROOT, "z", ROOT, "n1", 0), 0);
	ck_assert_int_eq(kit_rename(&k, ROOT, "n3", d, "n3", 0), 0);
	kit_verify(&k);
	ck_assert_int_eq(kit_delete(&k, "d", FS_F_RECURSIVE), 0);
	for (int i = 253; i >= 5; i -= 2) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(kit_unlink(&k, ROOT, name), 0);
	}
	ck_assert_int_eq(kit_unlink(&k, ROOT, "n1"), 0);
	ck_assert_uint_eq(kit_attr(&k, ROOT).nlink, 2);
	kit_verify(&k);
	k.s->dentry_hash_mask = STORE_DENTRY_HASH_MASK;
}
END_TEST

START_TEST(test_unknown_operations_are_refused_everywhere_alike)
{
	static const int kinds[] = {0, 14, 63, 72, 200, FS_OP_LOOKUP, FS_OP_GET};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		ck_refused(kit_do(&k, &(struct fs_op){.kind = (enum fs_op_kind)kinds[i]}), -EINVAL);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_PUT}), -EINVAL);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = (enum fs_op_kind)99}), -EINVAL);
}
END_TEST

START_TEST(test_statfs_counts_what_is_there)
{
	struct fs_statfs st;
	struct reader r;

	kit_put(&k, "a/b", "12345");
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_STATFS}), 0);
	r = reader_of(k.res.data, k.res.data_len);
	ck_assert(fs_statfs_get(&r, &st));
	ck_assert_uint_eq(st.inodes_used, 3);
	ck_assert_uint_eq(st.bytes_used, 5);
	ck_assert_uint_gt(st.bytes_total, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store operations");
	TCase *tc = tcase_create("operations");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_new_store_has_an_empty_root);
	tcase_add_test(tc, test_create_makes_each_type_with_its_attributes);
	tcase_add_test(tc, test_create_refuses_what_makes_no_sense);
	tcase_add_test(tc, test_create_without_excl_gives_the_existing_file);
	tcase_add_test(tc, test_set_group_id_directories_pass_on_their_group);
	tcase_add_test(tc, test_symlink_keeps_its_target);
	tcase_add_test(tc, test_hard_links_share_one_inode);
	tcase_add_test(tc, test_links_have_a_limit);
	tcase_add_test(tc, test_unlink_and_rmdir_are_for_their_own_kind);
	tcase_add_test(tc, test_rename_replaces_files_and_empty_directories);
	tcase_add_test(tc, test_rename_of_one_file_onto_itself_does_nothing);
	tcase_add_test(tc, test_rename_does_not_put_a_directory_below_itself);
	tcase_add_test(tc, test_rename_of_directories_keeps_parents_and_links);
	tcase_add_test(tc, test_rename_flags);
	tcase_add_test(tc, test_setattr_changes_what_it_names);
	tcase_add_test(tc, test_times_increase_even_if_the_clock_goes_back);
	tcase_add_test(tc, test_put_makes_parents_and_replaces_the_content);
	tcase_add_test(tc, test_delete_by_path);
	tcase_add_test(tc, test_listing_in_pages_is_stable_while_names_come_and_go);
	tcase_add_test(tc, test_names_of_one_hash_live_together);
	tcase_add_test(tc, test_unknown_operations_are_refused_everywhere_alike);
	tcase_add_test(tc, test_statfs_counts_what_is_there);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

/* Access control lists in the state: kept with the mode, inherited, the same on every node; a twin runs beside. */
#include "acl_kit.h"
#include "store_kit.h"

#define ROOT    FS_ROOT_INO
#define ACCESS  ACL_XATTR_ACCESS
#define DEFAULT ACL_XATTR_DEFAULT
#define FULL    "u::rwx,u:5:rwx,g::r-x,m::rwx,o::r-x"

static struct kit k, twin;

static void setup(void)
{
	kit_open_memory(&k);
	kit_open_memory(&twin);
	k.twin = twin.s;
	kit_raise(&k);
}

static void teardown(void)
{
	k.twin = NULL;
	kit_close(&twin);
	kit_close(&k);
}

#define ck_refused(call, code)                                                                     \
	do {                                                                                       \
		uint64_t digest_before = kit_digest(&k);                                           \
		ck_assert_int_eq((call), (code));                                                  \
		ck_assert_uint_eq(kit_digest(&k), digest_before);                                  \
	} while (0)

static int set_with(uint64_t ino, const char *name, const char *list, uint32_t flags)
{
	struct fs_str bytes = acl_kit_bytes(list);

	return kit_do(&k, &(struct fs_op){.kind = FS_OP_SETXATTR,
	                                  .ino = ino,
	                                  .name = kit_str(name),
	                                  .flags = flags,
	                                  .data = bytes.p,
	                                  .data_len = bytes.len});
}

static int set(uint64_t ino, const char *name, const char *list)
{
	return set_with(ino, name, list, 0);
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

/* NULL: it has none. */
static void assert_list(uint64_t ino, const char *name, const char *list)
{
	struct fs_str wanted;

	if (list == NULL) {
		ck_assert_int_eq(get(ino, name), -ENODATA);
		return;
	}
	wanted = acl_kit_bytes(list);
	ck_assert_int_eq(get(ino, name), 0);
	ck_assert_uint_eq(k.res.data_len, wanted.len);
	ck_assert_mem_eq(k.res.data, wanted.p, wanted.len);
}

static void assert_is(uint64_t ino, uint32_t mode, const char *access, const char *inherits)
{
	ck_assert_uint_eq(kit_attr(&k, ino).mode & 07777, mode);
	assert_list(ino, ACCESS, access);
	assert_list(ino, DEFAULT, inherits);
	kit_verify(&k);
}

static int chmod_to(uint64_t ino, uint32_t mode)
{
	return kit_do(
	        &k, &(struct fs_op){
	                    .kind = FS_OP_SETATTR, .ino = ino, .valid = FS_SET_MODE, .mode = mode});
}

/* As a mount with -o acl asks: the mode as the program gave it, and its umask. */
static int make(uint64_t dir, const char *name, uint32_t mode, uint32_t umask)
{
	const bool link = S_ISLNK(mode);

	return kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                  .parent = dir,
	                                  .name = kit_str(name),
	                                  .mode = mode,
	                                  .umask = umask,
	                                  .data = link ? "x" : NULL,
	                                  .data_len = link ? 1 : 0,
	                                  .flags = FS_F_EXCL | FS_F_ACL});
}

static uint64_t made(uint64_t dir, const char *name, uint32_t mode, uint32_t umask)
{
	ck_assert_int_eq(make(dir, name, mode, umask), 0);
	return k.res.attr.ino;
}

START_TEST(test_an_access_list_sets_the_mode_and_the_mode_the_list)
{
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(set(ino, ACCESS, "u::rw-,u:5:rwx,g::r--,m::rw-,o::---"), 0);
	ck_assert_uint_eq(k.res.attr.mode & 07777, 0660);
	ck_assert_uint_eq(k.res.attr.version, k.pos.index);
	assert_is(ino, 0660, "u::rw-,u:5:rwx,g::r--,m::rw-,o::---", NULL);
	ck_assert_int_eq(chmod_to(ino, 0604), 0);
	assert_is(ino, 0604, "u::rw-,u:5:rwx,g::r--,m::---,o::r--", NULL);
	ck_assert_int_eq(drop(ino, ACCESS), 0); /* the mode stays */
	assert_is(ino, 0604, NULL, NULL);
	ck_assert_int_eq(chmod_to(ino, 0644), 0);
	assert_is(ino, 0644, NULL, NULL);
}
END_TEST

START_TEST(test_a_minimal_list_is_a_mode)
{
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(set(ino, ACCESS, "u::r--,g::-w-,o::--x"), 0);
	assert_is(ino, 0421, NULL, NULL);
	ck_assert_int_eq(set(ino, ACCESS, FULL), 0);
	ck_assert_int_eq(set(ino, ACCESS, "u::rw-,g::r--,o::r--"), 0);
	assert_is(ino, 0644, NULL, NULL);
	ck_refused(set(ino, ACCESS, "u::rw-,g::r--,o::r--"), 0); /* nothing to do */
	ck_refused(drop(ino, ACCESS), 0);
	ck_refused(set(ino, ACCESS, ""), 0);
	ck_assert_int_eq(set(ino, ACCESS, FULL), 0);
	ck_assert_int_eq(set(ino, ACCESS, ""), 0);
	assert_is(ino, 0775, NULL, NULL);
}
END_TEST

START_TEST(test_lists_are_refused_where_they_make_no_sense)
{
	uint64_t file = kit_file(&k, ROOT, "f"), dir = kit_mkdir(&k, ROOT, "dir");
	uint64_t link = made(ROOT, "link", S_IFLNK | 0777, 0);

	ck_refused(set(file, DEFAULT, FULL), -EACCES);
	ck_refused(set(file, DEFAULT, ""), 0);
	ck_refused(set(file, ACCESS, "u::rwx,u:5:rwx,g::r-x,o::r-x"), -EINVAL);
	ck_refused(set(dir, DEFAULT, "u::rwx"), -EINVAL);
	ck_refused(set(link, ACCESS, FULL), -EOPNOTSUPP);
	ck_refused(set(link, DEFAULT, FULL), -EOPNOTSUPP);
	ck_refused(set(4711, ACCESS, FULL), -ESTALE);
	ck_assert_int_eq(set(dir, DEFAULT, "u::rwx,g::r-x,o::r-x"), 0); /* minimal, and kept */
	assert_is(dir, 0755, NULL, "u::rwx,g::r-x,o::r-x");
}
END_TEST

START_TEST(test_set_group_id_goes_where_that_is_asked_for)
{
	uint64_t ino = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(chmod_to(ino, 06755), 0);
	ck_assert_int_eq(set(ino, ACCESS, FULL), 0);
	assert_is(ino, 06775, FULL, NULL);
	ck_assert_int_eq(set_with(ino, ACCESS, FULL, FS_F_KILL_SGID), 0);
	assert_is(ino, 04775, FULL, NULL);
}
END_TEST

START_TEST(test_what_is_created_inherits)
{
	uint64_t dir = kit_mkdir(&k, ROOT, "dir"), sub;

	assert_is(made(dir, "before", S_IFREG | 0666, 027), 0640, NULL, NULL);
	ck_assert_int_eq(set(dir, DEFAULT, FULL), 0);
	/* the umask does not count */
	assert_is(made(dir, "f", S_IFREG | 0666, 077), 0664, "u::rw-,u:5:rwx,g::r-x,m::rw-,o::r--",
	          NULL);
	assert_is(made(dir, "p", S_IFIFO | 0600, 077), 0600, "u::rw-,u:5:rwx,g::r-x,m::---,o::---",
	          NULL);
	sub = made(dir, "sub", S_IFDIR | 0777, 077);
	assert_is(sub, 0775, FULL, FULL);
	assert_is(made(sub, "f", S_IFREG | 0777, 0), 0775, FULL, NULL);
	assert_is(made(dir, "link", S_IFLNK | 0777, 077), 0777, NULL, NULL);
	/* a mount without -o acl has its own umask only, raftctl none */
	ck_assert_int_eq(kit_mknod(&k, dir, "plain", S_IFREG | 0644), 0);
	assert_is(k.res.attr.ino, 0644, NULL, NULL);
	ck_assert_int_eq(kit_put(&k, "dir/made/key", "text"), 0);
	assert_is(k.res.attr.ino, 0644, "u::rw-,u:5:rwx,g::r-x,m::r--,o::r--", NULL);
	ck_assert_int_eq(kit_lookup(&k, dir, "made"), 0);
	assert_is(k.res.attr.ino, 0755, "u::rwx,u:5:rwx,g::r-x,m::r-x,o::r-x", FULL);
	/* what is there already is given as it is */
	ck_refused(make(dir, "f", S_IFREG | 0600, 0), -EEXIST);
	ck_assert_int_eq(set(dir, DEFAULT, "u::rwx,g::---,o::---"), 0);
	assert_is(made(dir, "minimal", S_IFREG | 0666, 0), 0600, NULL, NULL);
	ck_assert_int_eq(kit_delete(&k, "dir", FS_F_RECURSIVE), 0);
	kit_linger_over(&k);
}
END_TEST

START_TEST(test_a_file_without_a_name_inherits)
{
	uint64_t dir = kit_mkdir(&k, ROOT, "dir"), ino;

	ck_assert_int_eq(set(dir, DEFAULT, FULL), 0);
	kit_open_session(&k);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                            .parent = dir,
	                                            .mode = S_IFREG | 0660,
	                                            .umask = 077,
	                                            .flags = FS_F_TMPFILE | FS_F_ACL}),
	                 0);
	ino = k.res.attr.ino;
	assert_is(ino, 0660, "u::rw-,u:5:rwx,g::r-x,m::rw-,o::---", NULL);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_LINK,
	                                            .ino = ino,
	                                            .parent = dir,
	                                            .name = kit_str("named"),
	                                            .flags = FS_F_TMPFILE}),
	                 0);
	assert_is(ino, 0660, "u::rw-,u:5:rwx,g::r-x,m::rw-,o::---", NULL);
}
END_TEST

START_TEST(test_lists_are_attributes_with_their_limits)
{
	uint64_t ino = kit_file(&k, ROOT, "f");
	static char big[60000];

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
		        kit_do(&k, &(struct fs_op){.kind = FS_OP_SETXATTR,
		                                   .ino = ino,
		                                   .name = kit_str(i == 0 ? "user.a" : "user.b"),
		                                   .data = big,
		                                   .data_len = sizeof(big)}),
		        0);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SETXATTR,
	                                            .ino = ino,
	                                            .name = kit_str("user.c"),
	                                            .data = big,
	                                            .data_len = 11000}),
	                 0);
	ck_refused(set(ino, ACCESS, FULL), -ENOSPC);
	assert_is(ino, 0644, NULL, NULL); /* nor the mode */
	ck_assert_int_eq(drop(ino, "user.c"), 0);
	ck_assert_int_eq(set(ino, ACCESS, FULL), 0);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_LISTXATTR, .ino = ino}), 0);
	ck_assert_uint_eq(k.res.data_len, 7 + 7 + sizeof(ACCESS));
}
END_TEST

START_TEST(test_a_cluster_of_version_1_refuses_lists)
{
	struct kit old;
	struct fs_op op = {.kind = FS_OP_MKNOD,
	                   .parent = ROOT,
	                   .name = kit_str("f"),
	                   .mode = S_IFREG | 0666,
	                   .flags = FS_F_ACL};

	kit_open_memory(&old);
	ck_assert_uint_eq(fs_op_protocol(&op), 2);
	ck_assert_int_eq(kit_do(&old, &op), -EINVAL);
	op.flags = 0;
	ck_assert_int_eq(kit_do(&old, &op), 0);
	kit_close(&old);
}
END_TEST

START_TEST(test_lists_are_there_after_the_store_was_reopened)
{
	struct kit memory = k;
	uint64_t dir;

	kit_open_disk(&k);
	kit_raise(&k);
	dir = kit_mkdir(&k, ROOT, "dir");
	ck_assert_int_eq(set(dir, DEFAULT, FULL), 0);
	(void)made(dir, "f", S_IFREG | 0666, 0);
	kit_commit(&k);
	ck_assert_int_eq(store_flush(k.s, &k.pos, &k.err), 0);
	kit_reopen_disk(&k);
	ck_assert_int_eq(kit_lookup(&k, dir, "f"), 0);
	assert_is(k.res.attr.ino, 0664, "u::rw-,u:5:rwx,g::r-x,m::rw-,o::r--", NULL);
	kit_close(&k);
	k = memory;
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_acl");
	TCase *tc = tcase_create("acl");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_an_access_list_sets_the_mode_and_the_mode_the_list);
	tcase_add_test(tc, test_a_minimal_list_is_a_mode);
	tcase_add_test(tc, test_lists_are_refused_where_they_make_no_sense);
	tcase_add_test(tc, test_set_group_id_goes_where_that_is_asked_for);
	tcase_add_test(tc, test_what_is_created_inherits);
	tcase_add_test(tc, test_a_file_without_a_name_inherits);
	tcase_add_test(tc, test_lists_are_attributes_with_their_limits);
	tcase_add_test(tc, test_a_cluster_of_version_1_refuses_lists);
	tcase_add_test(tc, test_lists_are_there_after_the_store_was_reopened);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

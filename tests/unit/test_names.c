/* Paths of changes: what is known of names is kept up to date by the changes themselves. */
#include "../../src/node/names.h"
#include "store_kit.h"

static struct names *names;
static struct buf path, old_path;
static raft_index at;
static uint64_t parent_of_path;

static void setup(void)
{
	names = names_new();
	buf_init(&path);
	buf_init(&old_path);
	at = 0;
}

static void teardown(void)
{
	names_free(names);
	buf_free(&path);
	buf_free(&old_path);
}

static bool follow(struct store_change c)
{
	buf_clear(&path);
	buf_clear(&old_path);
	c.index = at;
	return names_follow(names, &c, &path, &old_path, &parent_of_path);
}

static void create(uint64_t ino, uint64_t parent, const char *name)
{
	at++;
	ck_assert(follow((struct store_change){.kind = STORE_CHANGE_CREATE,
	                                       .ino = ino,
	                                       .parent = parent,
	                                       .name = fs_str_of(name)}));
}

static bool modify(uint64_t ino)
{
	at++;
	return follow((struct store_change){.kind = STORE_CHANGE_MODIFY, .ino = ino});
}

/* Of the entry that is being applied. */
static void removed(uint64_t ino, uint64_t parent, const char *name)
{
	ck_assert(follow((struct store_change){.kind = STORE_CHANGE_REMOVE,
	                                       .ino = ino,
	                                       .parent = parent,
	                                       .name = fs_str_of(name)}));
}

static void renamed(uint64_t ino, uint64_t from, const char *old, uint64_t to, const char *name)
{
	ck_assert(follow((struct store_change){.kind = STORE_CHANGE_RENAME,
	                                       .ino = ino,
	                                       .parent = to,
	                                       .name = fs_str_of(name),
	                                       .old_parent = from,
	                                       .old_name = fs_str_of(old)}));
}

static void is(const struct buf *b, const char *text)
{
	ck_assert_msg(b->len == strlen(text) && memcmp(b->data, text, b->len) == 0, "%.*s",
	              (int)b->len, (const char *)b->data);
}

START_TEST(test_a_change_of_bytes_alone_gets_its_path)
{
	create(2, FS_ROOT_INO, "dir");
	create(3, 2, "file");
	is(&path, "dir/file");
	ck_assert(modify(3));
	is(&path, "dir/file");
	ck_assert_uint_eq(parent_of_path, 2);
	ck_assert(!modify(99)); /* no name, no key */
}
END_TEST

START_TEST(test_a_renamed_directory_takes_all_below_it_along)
{
	create(2, FS_ROOT_INO, "a");
	create(3, 2, "b");
	create(4, 3, "file");
	at++;
	renamed(2, FS_ROOT_INO, "a", FS_ROOT_INO, "z");
	is(&path, "z");
	is(&old_path, "a");
	ck_assert(modify(4));
	is(&path, "z/b/file");
	at++;
	renamed(4, 3, "file", FS_ROOT_INO, "top");
	is(&path, "top");
	is(&old_path, "z/b/file");
	ck_assert(modify(4));
	is(&path, "top");
}
END_TEST

START_TEST(test_a_tree_is_removed_from_its_top_and_every_path_is_known)
{
	create(2, FS_ROOT_INO, "a");
	create(3, 2, "b");
	create(4, 3, "file");
	at++;
	removed(2, FS_ROOT_INO, "a");
	is(&path, "a");
	removed(3, 2, "b");
	is(&path, "a/b");
	removed(4, 3, "file");
	is(&path, "a/b/file");
	ck_assert(!modify(4));
	create(5, FS_ROOT_INO, "a");
	ck_assert(modify(5));
	is(&path, "a");
}
END_TEST

START_TEST(test_a_file_of_several_names_keeps_those_that_are_left)
{
	create(2, FS_ROOT_INO, "one");
	create(2, FS_ROOT_INO, "two"); /* a link */
	create(2, FS_ROOT_INO, "three");
	at++;
	removed(2, FS_ROOT_INO, "one");
	ck_assert(modify(2));
	ck_assert(path.len == 3 || path.len == 5);
	at++;
	removed(2, FS_ROOT_INO, "three");
	ck_assert(modify(2));
	is(&path, "two");
	at++;
	removed(2, FS_ROOT_INO, "two");
	ck_assert(!modify(2));
}
END_TEST

START_TEST(test_two_that_are_exchanged)
{
	create(2, FS_ROOT_INO, "a");
	create(3, FS_ROOT_INO, "b");
	at++;
	renamed(2, FS_ROOT_INO, "a", FS_ROOT_INO, "b");
	renamed(3, FS_ROOT_INO, "b", FS_ROOT_INO, "a");
	ck_assert(modify(2));
	is(&path, "b");
	ck_assert(modify(3));
	is(&path, "a");
}
END_TEST

START_TEST(test_the_names_of_a_store_are_read)
{
	struct kit k;
	uint64_t dir, file;

	kit_open_memory(&k);
	dir = kit_mkdir(&k, FS_ROOT_INO, "dir");
	file = kit_file(&k, dir, "file");
	create(77, FS_ROOT_INO, "of another store");
	ck_assert_int_eq(names_load(names, k.s, &k.err), 0);
	ck_assert(modify(file));
	is(&path, "dir/file");
	ck_assert(!modify(77));
	kit_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("names");
	TCase *t = tcase_create("names");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_a_change_of_bytes_alone_gets_its_path);
	tcase_add_test(t, test_a_renamed_directory_takes_all_below_it_along);
	tcase_add_test(t, test_a_tree_is_removed_from_its_top_and_every_path_is_known);
	tcase_add_test(t, test_a_file_of_several_names_keeps_those_that_are_left);
	tcase_add_test(t, test_two_that_are_exchanged);
	tcase_add_test(t, test_the_names_of_a_store_are_read);
	suite_add_tcase(s, t);
	return kit_run(s);
}

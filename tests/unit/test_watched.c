/* Who watches what, from the lines that the kernel prints and from this very process. */
#include <check.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../../fuse/watched.h"
#include "store_kit.h"

#define DEV 0x2fu

static struct watched w;

static void setup(void)
{
	w = (struct watched){0};
}

static void teardown(void)
{
	watched_free(&w);
}

static void take(const char *line)
{
	watched_take_line(&w, DEV, line);
}

START_TEST(test_lines_of_this_file_system_count)
{
	take("pos:\t0\n");
	take("inotify wd:2 ino:1a sdev:2f mask:300 ignored_mask:0 fhandle-bytes:8\n");
	take("inotify wd:1 ino:7 sdev:2e mask:300 ignored_mask:0\n");
	take("fanotify flags:0 event-flags:0\n");
	take("fanotify ino:ffffffffffff sdev:2f mflags:0 mask:3b\n");
	take("inotify wd:1\n");
	take("inotify\n");
	take("");
	ck_assert_uint_eq(w.n, 2);
	ck_assert_uint_eq(w.inos[0], 0x1a);
	ck_assert_uint_eq(w.inos[1], 0xffffffffffffu);
	ck_assert(!w.all);
}
END_TEST

START_TEST(test_a_watch_of_a_whole_file_system_is_for_all)
{
	take("fanotify sdev:2e mflags:0 mask:3b\n");
	ck_assert(!w.all);
	take("fanotify sdev:2f mflags:0 mask:3b\n");
	ck_assert(w.all);
	w.all = false;
	take("fanotify mnt_id:12 mflags:0 mask:3b\n");
	ck_assert(w.all);
}
END_TEST

START_TEST(test_a_watch_of_this_process_is_found)
{
	char dir[] = "/tmp/watched-XXXXXX";
	struct stat st;
	uint64_t dev;
	int fd = inotify_init1(IN_CLOEXEC);

	ck_assert(fd >= 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(stat(dir, &st), 0);
	dev = (uint64_t)major(st.st_dev) << 20 | minor(st.st_dev);
	watched_look(&w, dev);
	ck_assert(!watched_has(&w, st.st_ino));
	ck_assert(inotify_add_watch(fd, dir, IN_CREATE) >= 0);
	watched_look(&w, dev);
	ck_assert(watched_has(&w, st.st_ino));
	ck_assert(!watched_has(&w, st.st_ino + 1));
	(void)close(fd);
	watched_look(&w, dev);
	ck_assert(!watched_has(&w, st.st_ino));
	(void)rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("watched");
	TCase *t = tcase_create("watched");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_lines_of_this_file_system_count);
	tcase_add_test(t, test_a_watch_of_a_whole_file_system_is_for_all);
	tcase_add_test(t, test_a_watch_of_this_process_is_found);
	suite_add_tcase(s, t);
	return kit_run(s);
}

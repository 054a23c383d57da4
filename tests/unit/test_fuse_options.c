/* The command line of raftfs. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../fuse/options.h"

#define ARGC(argv) ((int)(sizeof(argv) / sizeof((argv)[0]) - 1))

static struct mount_options o;
static struct rfs_err err;

static int parse(int argc, char *const argv[], bool is_root)
{
	err = (struct rfs_err){0};
	return options_parse(&o, argc, argv, is_root, &err);
}

static int parse_o(const char *list)
{
	char *argv[] = {"raftfs", "/mnt", "-o", (char *)list, NULL};

	return parse(ARGC(argv), argv, true);
}

static void teardown(void)
{
	options_free(&o);
}

START_TEST(test_a_mountpoint_alone_is_enough)
{
	char *argv[] = {"raftfs", "/mnt/raft", NULL};

	ck_assert_int_eq(parse(ARGC(argv), argv, true), 0);
	ck_assert_str_eq(o.mountpoint, "/mnt/raft");
	ck_assert_ptr_null(o.cluster);
	ck_assert_uint_eq(o.id, 0);
	ck_assert_uint_eq(o.timeout_ms, 10000);
	ck_assert(!o.foreground && !o.allow_other && !o.check_permission);
	ck_assert_str_eq((char *)o.kernel.data, "");
}
END_TEST

START_TEST(test_options_may_stand_before_and_behind_the_mountpoint)
{
	char *argv[] = {"raftfs", "-f", "--cluster",   "c.toml", "/mnt",
	                "--id",   "3",  "--log-level", "debug",  NULL};

	ck_assert_int_eq(parse(ARGC(argv), argv, true), 0);
	ck_assert_str_eq(o.mountpoint, "/mnt");
	ck_assert_str_eq(o.cluster, "c.toml");
	ck_assert_uint_eq(o.id, 3);
	ck_assert(o.foreground);
	ck_assert(o.level_given && o.level == LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(test_mount_options_of_several_lists_add_up)
{
	char *argv[] = {
	        "raftfs", "/mnt", "-o", "timeout=2.5,noexec,,ro", "-oallow_other,logfile=/l", NULL};

	ck_assert_int_eq(parse(ARGC(argv), argv, true), 0);
	ck_assert_uint_eq(o.timeout_ms, 2500);
	ck_assert(o.allow_other && o.check_permission);
	ck_assert_str_eq(o.logfile, "/l");
	ck_assert_str_eq((char *)o.kernel.data, ",noexec,ro");
}
END_TEST

START_TEST(test_the_kernel_checks_modes_unless_only_root_enters)
{
	char *argv[] = {"raftfs", "/mnt", NULL};

	ck_assert_int_eq(parse(ARGC(argv), argv, false), 0);
	ck_assert(o.check_permission);
	options_free(&o);
	ck_assert_int_eq(parse_o("default_permissions"), 0);
	ck_assert(o.check_permission && !o.allow_other);
}
END_TEST

START_TEST(test_owners_modes_and_subtree_are_taken)
{
	ck_assert_int_eq(
	        parse_o("uid=7,gid=8,umask=027,subdir=/app/db/,read=local,id=3,commit=close"), 0);
	ck_assert(o.view.has_uid && o.view.has_gid && o.view.has_mode);
	ck_assert_uint_eq(o.view.uid, 7);
	ck_assert_uint_eq(o.view.gid, 8);
	ck_assert_uint_eq(o.view.mode, 0750);
	ck_assert_str_eq(o.subdir, "/app/db");
	ck_assert(o.read_local && o.commit_close);
	ck_assert_uint_eq(o.id, 3);
	options_free(&o);
	ck_assert_int_eq(parse_o("subdir=/,read=linearizable,commit=write,sync,ro,notify,rw"), 0);
	ck_assert(o.notify && !o.ro && !o.acl);
	ck_assert_ptr_null(o.subdir);
	ck_assert(!o.read_local && !o.commit_close && !o.view.has_uid);
}
END_TEST

START_TEST(test_the_helper_of_mount_8_takes_a_cluster_file_first)
{
	char *argv[] = {"mount.raftfs", "/c.toml", "/mnt", "-s",     "-n", "-v",
	                "-o",           "rw,zz",   "-t",   "raftfs", NULL};
	char *found[] = {"mount.raftfs", "none", "/mnt", "-f", NULL};
	char *unknown[] = {"mount.raftfs", "/c.toml", "/mnt", "-o", "rw,zz", NULL};

	ck_assert_int_eq(options_parse_helper(&o, ARGC(argv), argv, true, &err), 0);
	ck_assert_str_eq(o.cluster, "/c.toml");
	ck_assert_str_eq(o.source, "/c.toml");
	ck_assert_str_eq(o.mountpoint, "/mnt");
	ck_assert_str_eq((char *)o.kernel.data, ",rw");
	ck_assert(!o.fake);
	options_free(&o);
	ck_assert_int_eq(options_parse_helper(&o, ARGC(found), found, true, &err), 0);
	ck_assert_ptr_null(o.cluster);
	ck_assert(o.fake && !o.foreground);
	options_free(&o);
	ck_assert_int_eq(options_parse_helper(&o, ARGC(unknown), unknown, true, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "-o zz"));
}
END_TEST

START_TEST(test_options_of_fstab_are_ignored)
{
	ck_assert_int_eq(parse_o("defaults,_netdev,nofail,x-systemd.requires=raftd.service"), 0);
	ck_assert_str_eq((char *)o.kernel.data, "");
}
END_TEST

static const struct {
	const char *list, *named;
} bad_lists[] = {
        {"bogus", "-o bogus"},
        {"timeout=", "-o timeout="},
        {"timeout=0", "-o timeout=0"},
        {"timeout=-1", "-o timeout=-1"},
        {"timeout=2s", "-o timeout=2s"},
        {"timeout=nan", "-o timeout=nan"},
        {"timeout=1e9", "timeout=1e9"},
        {"commit=x", "-o commit=x"},
        {"commit=close,nodev,sync", "-o sync and commit=close"},
        {"notify,ro", "-o ro and notify"},
        {"acl,umask=022", "-o acl and umask="},
        {"uid=1,acl", "-o acl and uid="},
        {"gid=1,acl", "-o acl and gid="},
        {"logfile=", "logfile="},
        {"ro,rw2", "-o rw2"},
        {"uid=root", "-o uid=root"},
        {"gid=4294967295", "-o gid=4294967295"},
        {"umask=8", "-o umask=8"},
        {"umask=1000", "-o umask=1000"},
        {"subdir=", "-o subdir="},
        {"subdir=a//b", "-o subdir=a//b"},
        {"read=", "-o read="},
        {"id=0", "-o id=0"},
        {"timeout", "-o timeout: needs a value"},
        {"remount,ro", "-o remount"},
};

START_TEST(test_a_bad_mount_option_is_refused_by_name)
{
	ck_assert_int_eq(parse_o(bad_lists[_i].list), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.msg, bad_lists[_i].named));
}
END_TEST

static const struct {
	char *argv[5];
	const char *named;
} bad_lines[] = {
        {{"raftfs", NULL}, "mountpoint"},
        {{"raftfs", "", NULL}, "mountpoint"},
        {{"raftfs", "a", "b", NULL}, "b"},
        {{"raftfs", "a", "--id", "0", NULL}, "--id 0"},
        {{"raftfs", "a", "--id", "-1", NULL}, "--id -1"},
        {{"raftfs", "a", "--id", "2147483648", NULL}, "--id 2147483648"},
        {{"raftfs", "a", "--cluster", NULL}, "--cluster needs"},
        {{"raftfs", "a", "-o", NULL}, "-o needs"},
        {{"raftfs", "a", "--zz", NULL}, "--zz"},
        {{"raftfs", "-q", "a", NULL}, "-q"},
        {{"raftfs", "a", "--log-level", "loud", NULL}, "loud"},
};

START_TEST(test_a_bad_command_line_is_refused_by_name)
{
	int argc = 0;

	while (bad_lines[_i].argv[argc] != NULL)
		argc++;
	ck_assert_int_eq(parse(argc, bad_lines[_i].argv, true), -EINVAL);
	ck_assert_msg(strstr(err.msg, bad_lines[_i].named) != NULL, "\"%s\" does not name %s",
	              err.msg, bad_lines[_i].named);
}
END_TEST

START_TEST(test_help_and_version_need_no_mountpoint)
{
	char *help[] = {"raftfs", "--help", NULL}, *version[] = {"raftfs", "--version", NULL};

	ck_assert_int_eq(parse(ARGC(help), help, true), 0);
	ck_assert(o.help);
	options_free(&o);
	ck_assert_int_eq(parse(ARGC(version), version, true), 0);
	ck_assert(o.version);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_options");
	TCase *t = tcase_create("options");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, test_a_mountpoint_alone_is_enough);
	tcase_add_test(t, test_options_may_stand_before_and_behind_the_mountpoint);
	tcase_add_test(t, test_mount_options_of_several_lists_add_up);
	tcase_add_test(t, test_the_kernel_checks_modes_unless_only_root_enters);
	tcase_add_test(t, test_options_of_fstab_are_ignored);
	tcase_add_test(t, test_owners_modes_and_subtree_are_taken);
	tcase_add_test(t, test_the_helper_of_mount_8_takes_a_cluster_file_first);
	tcase_add_loop_test(t, test_a_bad_mount_option_is_refused_by_name, 0,
	                    (int)(sizeof(bad_lists) / sizeof(bad_lists[0])));
	tcase_add_loop_test(t, test_a_bad_command_line_is_refused_by_name, 0,
	                    (int)(sizeof(bad_lines) / sizeof(bad_lines[0])));
	tcase_add_test(t, test_help_and_version_need_no_mountpoint);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

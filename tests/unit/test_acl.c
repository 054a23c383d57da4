/* The algebra of access control lists: what is one, and what lists and modes do to each other. */
#include <errno.h>
#include "acl_kit.h"

static struct acl a;

static int get(const char *text)
{
	struct fs_str bytes = acl_kit_bytes(text);

	return acl_get(&a, bytes.p, bytes.len);
}

START_TEST(test_names)
{
	ck_assert_int_eq(acl_kind_of(FS_STR("system.posix_acl_access")), ACL_ACCESS);
	ck_assert_int_eq(acl_kind_of(FS_STR("system.posix_acl_default")), ACL_DEFAULT);
	ck_assert_int_eq(acl_kind_of(FS_STR("system.posix_acl_acces")), ACL_NONE);
	ck_assert_int_eq(acl_kind_of(FS_STR("user.system.posix_acl_access")), ACL_NONE);
	ck_assert_int_eq(acl_kind_of((struct fs_str){NULL, 0}), ACL_NONE);
}
END_TEST

START_TEST(test_lists_are_read_and_written_back)
{
	static const char *const good[] = {
	        "u::rw-,g::r--,o::---",
	        "u::rwx,g::rwx,m::rwx,o::rwx",
	        "u::---,u:5:r--,u:9:-w-,u:4294967294:--x,g::rwx,g:0:r--,g:5:---,m::r-x,o::rwx",
	        "u::rwx,g::---,g:7:rwx,m::---,o::---",
	        "u::r--,u:9:r--,u:5:r--,u:5:rwx,g::r--,m::r--,o::r--", /* as Linux has it */
	        "",                                                    /* no list */
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_msg(get(good[i]) == 0, "%s", good[i]);
		acl_kit_is(&a, good[i]);
	}
	ck_assert_int_eq(acl_get(&a, NULL, 0), 0);
	ck_assert_uint_eq(a.n, 0);
}
END_TEST

START_TEST(test_what_is_no_list_is_refused)
{
	static const char *const bad[] = {
	        "u::rw-",
	        "o::r--",
	        "u::rw-,g::r--",
	        "g::r--,o::r--",
	        "u::rw-,o::r--",
	        "u::rw-,o::r--,g::r--",
	        "u::rw-,u::rw-,g::r--,o::r--",
	        "u::rw-,g::r--,g::r--,o::r--",
	        "u::rw-,g::r--,o::r--,o::r--",
	        "u::rw-,u:5:rwx,g::r--,o::---", /* wants a mask */
	        "u::rw-,g::r--,g:5:rwx,o::---",
	        "u::rw-,g::r--,u:5:r--,m::r--,o::---",
	        "u:5:r--,u::rw-,g::r--,m::r--,o::---",
	        "u::rw-,g:5:r--,g::r--,m::r--,o::---",
	        "u::rw-,g::r--,m::r--,m::r--,o::---",
	        "u::rw-,m::r--,g::r--,o::---",
	        "u::rw-,g::r--,m::r--,g:5:r--,o::---",
	        "u::rw-,g::r--,o::---,m::r--",
	        "u::rw-,u:4294967295:r--,g::r--,m::r--,o::---", /* nobody's id */
	        "u::rw-,g::r--,g:4294967295:r--,m::r--,o::---",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(get(bad[i]) == -EINVAL, "%s", bad[i]);
}
END_TEST

/* Any single byte of a list changed: it is taken as it then is, or refused, and never misread. */
START_TEST(test_bytes_that_are_not_the_format)
{
	struct fs_str whole = acl_kit_bytes("u::rw-,u:5:rwx,g::r--,m::rw-,o::---");
	uint8_t bytes[64];
	struct buf b;

	buf_init(&b);
	for (uint32_t n = 1; n < whole.len; n++) {
		int rc = acl_get(&a, whole.p, n);

		ck_assert_int_eq(rc, n == 4 ? 0 : -EINVAL);
	}
	for (uint32_t at = 0; at < whole.len; at++) {
		for (unsigned v = 0; v < 256; v++) {
			memcpy(bytes, whole.p, whole.len);
			bytes[at] = (uint8_t)v;
			if (acl_get(&a, bytes, whole.len) != 0)
				continue;
			buf_clear(&b);
			acl_put(&b, &a);
			ck_assert_uint_eq(b.len, whole.len);
			ck_assert(memcmp(b.data, bytes, whole.len) == 0 ||
			          memcmp(b.data, whole.p, whole.len) == 0);
		}
	}
	buf_free(&b);
	memcpy(bytes, whole.p, whole.len);
	bytes[0] = 1;
	ck_assert_int_eq(acl_get(&a, bytes, whole.len), -EOPNOTSUPP);
	/* ids of those that have none do not count */
	memcpy(bytes, whole.p, whole.len);
	memset(bytes + 8, 7, 4);
	ck_assert_int_eq(acl_get(&a, bytes, whole.len), 0);
	acl_kit_is(&a, "u::rw-,u:5:rwx,g::r--,m::rw-,o::---");
}
END_TEST

static void put_entry(struct buf *b, uint16_t tag, uint32_t id)
{
	buf_put_u16(b, tag);
	buf_put_u16(b, 4);
	buf_put_u32(b, id);
}

START_TEST(test_the_largest_list)
{
	struct buf b;

	buf_init(&b);
	for (uint32_t more = 0; more < 2; more++) {
		buf_clear(&b);
		buf_put_u32(&b, 2);
		put_entry(&b, ACL_USER_OBJ, 0);
		for (uint32_t i = 0; i < ACL_ENTRIES_MAX - 4 + more; i++)
			put_entry(&b, ACL_USER, i);
		put_entry(&b, ACL_GROUP_OBJ, 0);
		put_entry(&b, ACL_MASK, 0);
		put_entry(&b, ACL_OTHER, 0);
		ck_assert_int_eq(acl_get(&a, b.data, b.len), more == 0 ? 0 : -E2BIG);
	}
	ck_assert_uint_le(ACL_BYTES_MAX, 4096);
	buf_free(&b);
}
END_TEST

/* 1003.1e draft 17, 23.1.2 and 5.1: owner and other entries are the mode's, and the mask is its group's, or without one the
 * owning group's entry. */
static const struct {
	const char *list;
	uint32_t mode;
	bool minimal;
	uint32_t chmod;
	const char *then;
} modes[] = {
        {"u::rw-,g::r--,o::---", 0640, true, 0751, "u::rwx,g::r-x,o::--x"},
        {"u::rwx,g::rwx,m::r-x,o::--x", 0751, false, 0600, "u::rw-,g::rwx,m::---,o::---"},
        {"u::r--,u:5:rwx,g::---,m::rw-,o::-w-", 0462, false, 0777,
         "u::rwx,u:5:rwx,g::---,m::rwx,o::rwx"},
        {"u::---,g::r-x,g:5:-w-,m::---,o::---", 0000, false, 0070,
         "u::---,g::r-x,g:5:-w-,m::rwx,o::---"},
        {"u::rwx,u:1:r--,u:2:-w-,g::--x,g:3:rwx,m::rwx,o::rwx", 0777, false, 0123,
         "u::--x,u:1:r--,u:2:-w-,g::--x,g:3:rwx,m::-w-,o::-wx"},
};

START_TEST(test_list_and_mode)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		uint32_t mode = 0102767; /* what is beside the nine bits stays */

		a = acl_kit_of(modes[i].list);
		ck_assert_int_eq(acl_set_mode(&a, &mode), modes[i].minimal);
		ck_assert_uint_eq(mode, 0102000 | modes[i].mode);
		acl_kit_is(&a, modes[i].list);
		acl_chmod(&a, 0106000 | modes[i].chmod);
		acl_kit_is(&a, modes[i].then);
	}
}
END_TEST

/* Draft 17, 5.3.1 (open with O_CREAT) and 5.4.1 (mkdir): the default list, each of owner, mask (or group) and other
 * reduced to what was asked for. */
static const struct {
	const char *list;
	uint32_t asked, mode;
	bool minimal;
	const char *then;
} births[] = {
        {"u::rwx,g::r-x,o::---", 0666, 0640, true, "u::rw-,g::r--,o::---"},
        {"u::rwx,g::r-x,o::---", 0777, 0750, true, "u::rwx,g::r-x,o::---"},
        {"u::rw-,g::rw-,o::rw-", 0000, 0000, true, "u::---,g::---,o::---"},
        {"u::rwx,u:5:rwx,g::r-x,m::rwx,o::r-x", 0666, 0664, false,
         "u::rw-,u:5:rwx,g::r-x,m::rw-,o::r--"},
        {"u::rwx,u:5:rwx,g::r-x,m::rwx,o::r-x", 0600, 0600, false,
         "u::rw-,u:5:rwx,g::r-x,m::---,o::---"},
        {"u::r-x,u:5:rwx,g::rwx,m::r--,o::---", 0777, 0540, false,
         "u::r-x,u:5:rwx,g::rwx,m::r--,o::---"},
        {"u::rwx,g::r-x,m::rwx,o::---", 0757, 0750, false, "u::rwx,g::r-x,m::r-x,o::---"},
        {"u::rwx,g::---,g:5:r--,m::r--,o::---", 0640, 0640, false,
         "u::rw-,g::---,g:5:r--,m::r--,o::---"},
};

START_TEST(test_a_default_list_makes_list_and_mode_of_what_is_new)
{
	for (size_t i = 0; i < sizeof(births) / sizeof(births[0]); i++) {
		uint32_t mode = 0042000 | births[i].asked, again = 0042000;

		a = acl_kit_of(births[i].list);
		ck_assert_int_eq(acl_inherit(&a, &mode), births[i].minimal);
		ck_assert_uint_eq(mode, 0042000 | births[i].mode);
		acl_kit_is(&a, births[i].then);
		ck_assert_int_eq(acl_set_mode(&a, &again), births[i].minimal);
		ck_assert_uint_eq(again, mode);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("acl");
	TCase *tc = tcase_create("acl");
	SRunner *r;
	int failed;

	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_lists_are_read_and_written_back);
	tcase_add_test(tc, test_what_is_no_list_is_refused);
	tcase_add_test(tc, test_bytes_that_are_not_the_format);
	tcase_add_test(tc, test_the_largest_list);
	tcase_add_test(tc, test_list_and_mode);
	tcase_add_test(tc, test_a_default_list_makes_list_and_mode_of_what_is_new);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}

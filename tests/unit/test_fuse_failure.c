/* The sentence of .raft/last_error. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "../../fuse/failure.h"
#include "../../src/base/err.h"

static char text[FAILURE_TEXT_MAX];

static const struct client_info *two_nodes(void)
{
	static struct client_info c = {
	        .leader = 2,
	        .nodes = {{.id = 1, .host = "127.0.0.1", .port = 7001},
	                  {.id = 2, .host = "::1", .port = 7002}},
	        .node_up = {true, false},
	        .n_nodes = 2,
	        .last_error = "node 2 at [::1]:7002: connection refused",
	};

	return &c;
}

static bool says(const char *part)
{
	return strstr(text, part) != NULL;
}

START_TEST(test_the_sentence_says_what_was_asked_what_is_known_and_who_was_tried)
{
	struct failure f = {.op = "write",
	                    .name = "color",
	                    .ino = 12,
	                    .pid = 77,
	                    .is_change = true,
	                    .code = RFS_ENOQUORUM,
	                    .timeout_ms = 10000};

	failure_text(text, sizeof(text), &f, two_nodes());
	ck_assert_str_eq(
	        text,
	        "write of \"color\" (inode 12) for process 77: no answer within 10000 ms; the "
	        "change was certainly not made; tried node 1 at 127.0.0.1:7001 (connected), node 2 "
	        "at [::1]:7002 (not reachable, thought to lead); last: node 2 at [::1]:7002: "
	        "connection refused");
	f.code = RFS_EUNKNOWN;
	failure_text(text, sizeof(text), &f, two_nodes());
	ck_assert(says("is not known"));
	f.is_change = false;
	f.code = RFS_ENOQUORUM;
	failure_text(text, sizeof(text), &f, two_nodes());
	ck_assert(says("nothing was read"));
	f.code = RFS_ESESSION;
	failure_text(text, sizeof(text), &f, two_nodes());
	ck_assert(says("session ended"));
}
END_TEST

START_TEST(test_any_name_and_any_room_give_one_line)
{
	struct failure f = {.op = "lookup", .name = "a\nb\x7f\xff", .code = RFS_ENOQUORUM};

	failure_text(text, sizeof(text), &f, two_nodes());
	ck_assert(says("\"a?b?\xff\""));
	for (size_t room = 1; room < 200; room++) {
		memset(text, 'x', sizeof(text));
		failure_text(text, room, &f, two_nodes());
		ck_assert_uint_lt(strlen(text), room);
		ck_assert_int_eq(text[room], 'x');
	}
}
END_TEST

START_TEST(test_only_a_missing_answer_is_such_a_failure)
{
	ck_assert(failure_is(RFS_ENOQUORUM));
	ck_assert(failure_is(RFS_EUNKNOWN));
	ck_assert(!failure_is(-2));
	ck_assert(!failure_is(0));
	ck_assert(!failure_is(RFS_ESHUTDOWN));
	ck_assert(!failure_is(RFS_EWAITING));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_failure");
	TCase *t = tcase_create("failure");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_the_sentence_says_what_was_asked_what_is_known_and_who_was_tried);
	tcase_add_test(t, test_any_name_and_any_room_give_one_line);
	tcase_add_test(t, test_only_a_missing_answer_is_such_a_failure);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The judge of the simulator's histories must itself be able to say no. */
#include <check.h>
#include <string.h>
#include "../support/linear.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t seen(size_t n, const uint64_t *values)
{
	struct linear_state s = {0, 0};

	for (size_t i = 0; i < n; i++)
		s = linear_fold(s, values[i]);
	return s.hash;
}

START_TEST(test_reads_after_an_answer_see_it)
{
	struct linear_op ops[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_READ, 1, 3, 4, seen(1, (uint64_t[]){7}), 0, 0, false, 0},
	};
	ck_assert(linear_check(ops, COUNT(ops)));
}
END_TEST

START_TEST(test_a_stale_read_is_found)
{
	struct linear_op ops[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_REPLACE, 0, 3, 4, 8, 0, 0, false, 0},
	        {LINEAR_READ, 1, 5, 6, seen(1, (uint64_t[]){7}), 0, 0, false, 0},
	};
	ck_assert(!linear_check(ops, COUNT(ops)));
}
END_TEST

START_TEST(test_concurrent_reads_may_see_old_or_new_but_not_go_back)
{
	uint64_t old = seen(1, (uint64_t[]){7}), new = seen(1, (uint64_t[]){8});
	struct linear_op fine[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_REPLACE, 0, 3, 9, 8, 0, 0, false, 0},
	        {LINEAR_READ, 1, 4, 5, old, 0, 0, false, 0},
	        {LINEAR_READ, 1, 6, 7, new, 0, 0, false, 0},
	};
	struct linear_op back[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_REPLACE, 0, 3, 9, 8, 0, 0, false, 0},
	        {LINEAR_READ, 1, 4, 5, new, 0, 0, false, 0},
	        {LINEAR_READ, 1, 6, 7, old, 0, 0, false, 0},
	};
	ck_assert(linear_check(fine, COUNT(fine)));
	ck_assert(!linear_check(back, COUNT(back)));
}
END_TEST

START_TEST(test_an_unanswered_change_may_happen_late_or_never)
{
	uint64_t old = seen(1, (uint64_t[]){7}), new = seen(2, (uint64_t[]){7, 8});
	struct linear_op late[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_APPEND, 0, 3, LINEAR_NEVER, 8, 0, 0, false, 0},
	        {LINEAR_READ, 1, 10, 11, old, 0, 0, false, 0},
	        {LINEAR_READ, 1, 12, 13, new, 0, 0, false, 0},
	};
	struct linear_op twice[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_APPEND, 0, 3, LINEAR_NEVER, 8, 0, 0, false, 0},
	        {LINEAR_READ, 1, 12, 13, seen(3, (uint64_t[]){7, 8, 8}), 0, 0, false, 0},
	};
	ck_assert(linear_check(late, COUNT(late)));
	ck_assert(!linear_check(twice, COUNT(twice)));
	ck_assert(linear_check(late, 3));
}
END_TEST

START_TEST(test_an_append_at_the_wrong_place_is_found)
{
	struct linear_op ops[] = {
	        {LINEAR_APPEND, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_APPEND, 1, 3, 4, 8, 0, 0, false, 0},
	};
	ck_assert(!linear_check(ops, COUNT(ops)));
	ops[1].place = 1;
	ck_assert(linear_check(ops, COUNT(ops)));
}
END_TEST

START_TEST(test_numbers_of_one_change_are_seen_together)
{
	const uint64_t all[] = {7, linear_number(8, 0), linear_number(8, 1), linear_number(8, 2)};
	struct linear_op ops[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_APPEND, 0, 3, 4, 8, 1, 0, false, 2},
	        {LINEAR_READ, 1, 5, 6, seen(4, all), 0, 0, false, 0},
	        {LINEAR_APPEND, 0, 7, 8, 9, 4, 0, false, 0},
	};

	ck_assert(linear_check(ops, COUNT(ops)));
	for (size_t torn = 1; torn < 4; torn++) {
		struct linear_op copy[COUNT(ops)];

		memcpy(copy, ops, sizeof(ops));
		copy[2].value = seen(torn, all);
		ck_assert(!linear_check(copy, COUNT(copy)));
	}
}
END_TEST

START_TEST(test_a_swap_is_refused_if_and_only_if_the_key_is_not_as_expected)
{
	uint64_t seven = seen(1, (uint64_t[]){7}), eight = seen(1, (uint64_t[]){8});
	struct linear_op ops[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_SWAP, 1, 3, 4, 8, 0, seven, false, 0},
	        {LINEAR_SWAP, 2, 5, 6, 9, 0, seven, true, 0},
	        {LINEAR_READ, 0, 7, 8, eight, 0, 0, false, 0},
	};

	ck_assert(linear_check(ops, COUNT(ops)));
	ops[2].refused = false;
	ck_assert(!linear_check(ops, COUNT(ops)));
	ops[2].refused = true;
	ops[2].expected = eight;
	ck_assert(!linear_check(ops, COUNT(ops)));
	ops[2].answered = LINEAR_NEVER; /* it may still come */
	ck_assert(linear_check(ops, COUNT(ops)));
}
END_TEST

START_TEST(test_two_swaps_cannot_both_replace_the_same)
{
	uint64_t seven = seen(1, (uint64_t[]){7});
	struct linear_op ops[] = {
	        {LINEAR_REPLACE, 0, 1, 2, 7, 0, 0, false, 0},
	        {LINEAR_SWAP, 1, 3, 9, 8, 0, seven, false, 0},
	        {LINEAR_SWAP, 2, 3, 9, 9, 0, seven, false, 0},
	};

	ck_assert(!linear_check(ops, COUNT(ops)));
	ops[1].refused = true;
	ck_assert(linear_check(ops, COUNT(ops)));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("linear");
	TCase *t = tcase_create("linear");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(t, test_reads_after_an_answer_see_it);
	tcase_add_test(t, test_a_stale_read_is_found);
	tcase_add_test(t, test_concurrent_reads_may_see_old_or_new_but_not_go_back);
	tcase_add_test(t, test_an_unanswered_change_may_happen_late_or_never);
	tcase_add_test(t, test_an_append_at_the_wrong_place_is_found);
	tcase_add_test(t, test_numbers_of_one_change_are_seen_together);
	tcase_add_test(t, test_a_swap_is_refused_if_and_only_if_the_key_is_not_as_expected);
	tcase_add_test(t, test_two_swaps_cannot_both_replace_the_same);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

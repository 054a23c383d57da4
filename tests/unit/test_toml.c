/* The C face of toml++: types, order of the file, lines, and errors that say where. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "../../vendor/toml/toml.h"

static struct toml_doc *parse(const char *text)
{
	char *error = NULL;
	unsigned line = 0;
	struct toml_doc *d = toml_parse(text, strlen(text), &error, &line);

	ck_assert_msg(d != NULL, "line %u: %s", line, error);
	return d;
}

static const struct toml_node *get(const struct toml_doc *d, const char *key)
{
	const struct toml_node *n = toml_get(toml_root(d), key);

	ck_assert_msg(n != NULL, "no key %s", key);
	return n;
}

START_TEST(test_each_value_has_its_type_and_nothing_else)
{
	struct toml_doc *d =
	        parse("s = \"a\\u0000b\"\ni = -9223372036854775808\nf = 1.5\nb = true\n"
	              "t = { x = 1 }\na = [1, \"two\"]\nd = 2026-11-20\n");
	int64_t i = 0;
	bool b = false;
	size_t len = 0;

	ck_assert_int_eq(toml_type_of(toml_root(d)), TOML_TABLE);
	ck_assert_uint_eq(toml_count(toml_root(d)), 7);
	ck_assert_int_eq(toml_type_of(get(d, "s")), TOML_STRING);
	ck_assert_mem_eq(toml_string(get(d, "s"), &len), "a\0b", 4);
	ck_assert_uint_eq(len, 3);
	ck_assert(toml_integer(get(d, "i"), &i) && i == INT64_MIN);
	ck_assert_int_eq(toml_type_of(get(d, "f")), TOML_FLOAT);
	ck_assert(toml_boolean(get(d, "b"), &b) && b);
	ck_assert_int_eq(toml_type_of(get(d, "t")), TOML_TABLE);
	ck_assert_int_eq(toml_type_of(get(d, "a")), TOML_ARRAY);
	ck_assert_int_eq(toml_type_of(get(d, "d")), TOML_OTHER);
	ck_assert_ptr_null(toml_string(get(d, "i"), NULL));
	ck_assert(!toml_integer(get(d, "b"), &i) && !toml_boolean(get(d, "s"), &b));
	ck_assert_uint_eq(toml_count(get(d, "s")), 0);
	ck_assert_ptr_null(toml_get(toml_root(d), "none"));
	ck_assert_ptr_null(toml_get(get(d, "a"), "none"));
	toml_free(d);
}
END_TEST

START_TEST(test_keys_come_in_the_order_of_the_file_with_their_lines)
{
	struct toml_doc *d = parse("zeta = 1\n\nalpha = 2\nmid = { y = 1, b = 2 }\n");
	static const char *const keys[] = {"zeta", "alpha", "mid"};
	static const unsigned lines[] = {1, 3, 4};
	const struct toml_node *n;
	unsigned line;
	int64_t v;

	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(toml_key_at(toml_root(d), i, &n, &line), keys[i]);
		ck_assert_uint_eq(line, lines[i]);
		ck_assert_uint_eq(toml_line(n), lines[i]);
	}
	ck_assert_ptr_null(toml_key_at(toml_root(d), 3, NULL, NULL));
	n = get(d, "mid");
	ck_assert_str_eq(toml_key_at(n, 0, &n, NULL), "y");
	ck_assert(toml_integer(n, &v) && v == 1);
	toml_free(d);
}
END_TEST

START_TEST(test_arrays_of_tables_keep_their_order)
{
	struct toml_doc *d = parse("[[node]]\nid = 7\n[[node]]\nid = 3\n");
	const struct toml_node *a = get(d, "node");
	int64_t v;

	ck_assert_uint_eq(toml_count(a), 2);
	ck_assert(toml_integer(toml_get(toml_at(a, 0), "id"), &v) && v == 7);
	ck_assert(toml_integer(toml_get(toml_at(a, 1), "id"), &v) && v == 3);
	ck_assert_uint_eq(toml_line(toml_at(a, 1)), 3);
	ck_assert_ptr_null(toml_at(a, 2));
	ck_assert_ptr_null(toml_at(toml_root(d), 0));
	ck_assert_ptr_null(toml_key_at(a, 0, NULL, NULL));
	toml_free(d);
}
END_TEST

START_TEST(test_an_implied_table_has_a_line_too)
{
	struct toml_doc *d = parse("\n[a.b]\nx = 1\n");

	ck_assert_uint_ge(toml_line(toml_root(d)), 1);
	ck_assert_uint_ge(toml_line(get(d, "a")), 1);
	ck_assert_uint_eq(toml_line(toml_get(toml_get(get(d, "a"), "b"), "x")), 3);
	toml_free(d);
}
END_TEST

START_TEST(test_malformed_text_gives_a_sentence_and_its_line)
{
	static const struct {
		const char *text;
		size_t n;
		unsigned line;
	} bad[] = {
	        {"a = 1\nb = \nc = 2\n", 0, 2},
	        {"a = 1\na = 2\n", 0, 2},
	        {"[t\n", 0, 1},
	        {"a = 99999999999999999999\n", 0, 1},
	        {"a = 1\n\nb = \"\xff\xfe\"\n", 0, 3},
	        {"a = \"x", 0, 1},
	        {"a = 1\n\0\n", 8, 2},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *error = NULL;
		unsigned line = 0;
		size_t n = bad[i].n != 0 ? bad[i].n : strlen(bad[i].text);

		ck_assert_ptr_null(toml_parse(bad[i].text, n, &error, &line));
		ck_assert_msg(line == bad[i].line, "case %zu: line %u", i, line);
		ck_assert_ptr_nonnull(error);
		ck_assert_uint_gt(strlen(error), 5);
		free(error);
	}
}
END_TEST

START_TEST(test_absurd_nesting_is_an_error_and_not_a_crash)
{
	size_t depth = 100000;
	char *text = malloc(2 + 2 * depth), *error = NULL;
	unsigned line = 0;

	ck_assert_ptr_nonnull(text);
	memcpy(text, "a=", 2);
	memset(text + 2, '[', depth);
	memset(text + 2 + depth, ']', depth);
	ck_assert_ptr_null(toml_parse(text, 2 + 2 * depth, &error, &line));
	ck_assert_ptr_nonnull(error);
	free(error);
	free(text);
}
END_TEST

/* Found by the fuzzer: toml++ asserts that a table's name begins with a letter, and that a character
 * outside of its tables cannot be. */
START_TEST(test_malformed_text_that_breaks_an_assertion_is_an_error_with_its_line)
{
	static const char header[] = "a = 1\n\n[?OO\n\nb = 2\n";
	static const char odd[] = "a = 1\n\xef\xbb\xbd\x04";
	unsigned line = 0;
	char *error = NULL;

	ck_assert_ptr_null(toml_parse(header, sizeof(header) - 1, &error, &line));
	ck_assert_uint_eq(line, 3);
	free(error);
	error = NULL;
	ck_assert_ptr_null(toml_parse(odd, sizeof(odd) - 1, &error, &line));
	ck_assert_ptr_nonnull(error);
	free(error);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("toml");
	TCase *t = tcase_create("toml");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, test_each_value_has_its_type_and_nothing_else);
	tcase_add_test(t, test_keys_come_in_the_order_of_the_file_with_their_lines);
	tcase_add_test(t, test_arrays_of_tables_keep_their_order);
	tcase_add_test(t, test_an_implied_table_has_a_line_too);
	tcase_add_test(t, test_malformed_text_gives_a_sentence_and_its_line);
	tcase_add_test(t, test_absurd_nesting_is_an_error_and_not_a_crash);
	tcase_add_test(t, test_malformed_text_that_breaks_an_assertion_is_an_error_with_its_line);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* raftctl without a cluster: its command line, its text, and what it makes of the nodes' words. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/mem.h"
#include "../../src/raftctl/ctl.h"
#include "../../src/raftctl/shell.h"

/* ---- command line ---- */

static struct ctl_args args;
static struct rfs_err err;

#define PARSE(...) parse((const char *[]){"raftctl", __VA_ARGS__, NULL})

static int parse(const char **words)
{
	int n = 0;

	while (words[n] != NULL)
		n++;
	err = (struct rfs_err){0};
	return ctl_args_parse(&args, n, (char **)words, &err);
}

#define REFUSED(why, ...)                                                                          \
	do {                                                                                       \
		ck_assert_int_eq(PARSE(__VA_ARGS__), -EINVAL);                                     \
		ck_assert_msg(strstr(err.msg, why) != NULL, "%s", err.msg);                        \
	} while (0)

START_TEST(test_options_may_stand_before_and_behind_the_command)
{
	ck_assert_int_eq(PARSE("--cluster", "c.toml", "--timeout=2.5", "set", "--json", "k", "v"),
	                 0);
	ck_assert_str_eq(args.command->name, "set");
	ck_assert_str_eq(args.cluster, "c.toml");
	ck_assert_uint_eq(args.timeout_ms, 2500);
	ck_assert(args.json);
	ck_assert_uint_eq(args.n_operands, 2);
	ck_assert_str_eq(args.operands[1], "v");
	ck_assert_int_eq(PARSE("show", "p", "--keys", "--endpoint", "[::1]:1", "--endpoint=h:2"),
	                 0);
	ck_assert_ptr_nonnull(ctl_args_option(&args, "keys"));
	ck_assert_ptr_null(ctl_args_option(&args, "other"));
	ck_assert_uint_eq(args.n_endpoints, 2);
	ck_assert_int_eq(PARSE("--keys", "show"), 0);
	ck_assert_ptr_nonnull(ctl_args_option(&args, "keys"));
	ck_assert_int_eq(PARSE("show"), 0);
	ck_assert_ptr_null(ctl_args_option(&args, "keys"));
}
END_TEST

START_TEST(test_a_value_may_begin_with_a_dash)
{
	ck_assert_int_eq(PARSE("set", "temperature", "-5"), 0);
	ck_assert_str_eq(args.operands[1], "-5");
	ck_assert_int_eq(PARSE("set", "k", "-"), 0);
	ck_assert_str_eq(args.operands[1], "-");
	ck_assert_int_eq(PARSE("set", "k", "-h"), 0);
	ck_assert(!args.help);
	ck_assert_int_eq(PARSE("set", "--json", "--", "--cluster", "--json"), 0);
	ck_assert_str_eq(args.operands[0], "--cluster");
	ck_assert_str_eq(args.operands[1], "--json");
	ck_assert_int_eq(PARSE("--", "set", "k", "--v"), 0);
	ck_assert_str_eq(args.operands[1], "--v");
}
END_TEST

START_TEST(test_without_a_command_it_is_the_shell)
{
	ck_assert_int_eq(PARSE("--endpoint", "h:1"), 0);
	ck_assert_str_eq(args.command->name, "shell");
	ck_assert_ptr_null(ctl_args_option(&args, "k"));
	ck_assert_int_eq(PARSE("-k"), 0);
	ck_assert_str_eq(args.command->name, "shell");
	ck_assert_ptr_nonnull(ctl_args_option(&args, "k"));
}
END_TEST

START_TEST(test_an_option_of_one_letter_is_the_commands_own)
{
	ck_assert_int_eq(PARSE("ls", "-l", "app"), 0);
	ck_assert_ptr_nonnull(ctl_args_option(&args, "l"));
	ck_assert_uint_eq(args.n_operands, 1);
	ck_assert_int_eq(PARSE("set", "k", "-l"), 0);
	ck_assert_str_eq(args.operands[1], "-l");
	ck_assert_int_eq(PARSE("ls", "--", "-l"), 0);
	ck_assert_ptr_null(ctl_args_option(&args, "l"));
}
END_TEST

/* ---- a line of the shell ---- */

static struct words words;

static void split(const char *line, size_t n)
{
	err = (struct rfs_err){0};
	ck_assert_msg(words_split(&words, line, &err) == 0, "%s: %s", line, err.msg);
	ck_assert_msg(words.n == n, "%s: %zu words", line, words.n);
}

START_TEST(test_a_line_is_taken_apart_into_words)
{
	split("", 0);
	words_free(&words);
	split("  set\tkey  value \r\n", 3);
	ck_assert_str_eq(words.at[0], "set");
	ck_assert_str_eq(words.at[2], "value");
	words_free(&words);
	split("set k 'a \"b\" \\n' \"c\\t\\x41\\\"\\\\\" # not this", 4);
	ck_assert_str_eq(words.at[2], "a \"b\" \\n");
	ck_assert_str_eq(words.at[3], "c\tA\"\\");
	words_free(&words);
	split("a#b \\# '' x''\"y\"\\ z", 4);
	ck_assert_str_eq(words.at[0], "a#b");
	ck_assert_str_eq(words.at[1], "#");
	ck_assert_str_eq(words.at[2], "");
	ck_assert_str_eq(words.at[3], "xy z");
	words_free(&words);
}
END_TEST

START_TEST(test_a_line_that_is_not_closed_is_refused)
{
	static const char *const bad[] = {"set k 'a", "set k \"a", "x \"\\", "x \"\\x4\"",
	                                  "x \"\\x00\""};
	char many[4 * SHELL_WORDS_MAX] = "";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(words_split(&words, bad[i], &err), -EINVAL);
		ck_assert_str_ne(err.msg, "");
	}
	for (size_t i = 0; i < SHELL_WORDS_MAX + 1; i++)
		memcpy(many + 2 * i, "w ", 3);
	ck_assert_int_eq(words_split(&words, many, &err), -EINVAL);
}
END_TEST

START_TEST(test_help_of_the_tool_and_of_a_command)
{
	ck_assert_int_eq(PARSE("--help"), 0);
	ck_assert(args.help && args.command == NULL);
	ck_assert_int_eq(PARSE("help"), 0);
	ck_assert(args.help && args.command == NULL);
	ck_assert_int_eq(PARSE("help", "get"), 0);
	ck_assert(args.help && strcmp(args.command->name, "get") == 0);
	ck_assert_int_eq(PARSE("get", "-h"), 0);
	ck_assert(args.help && strcmp(args.command->name, "get") == 0);
	ck_assert_int_eq(PARSE("--version"), 0);
	ck_assert(args.version);
	REFUSED("no command named nope", "help", "nope");
}
END_TEST

START_TEST(test_what_is_not_understood_is_refused)
{
	REFUSED("no command named frobnicate", "frobnicate");
	REFUSED("set has no option --keys", "set", "k", "v", "--keys");
	REFUSED("too few arguments; usage: raftctl set KEY VALUE|-", "set");
	REFUSED("no option -x", "-x");
	REFUSED("no option --frob", "--frob");
	REFUSED("too many arguments", "get", "a", "b");
	REFUSED("--timeout wants a value", "leader", "--timeout");
	REFUSED("--json takes no value", "leader", "--json=1");
	REFUSED("exclude each other", "--cluster", "c", "--endpoint", "h:1", "leader");
	REFUSED("must be HOST:PORT", "--endpoint", "h", "leader");
	REFUSED("must be HOST:PORT", "--endpoint=h:0", "leader");
	REFUSED("must be seconds", "--timeout", "0", "leader");
	REFUSED("must be seconds", "--timeout", "-1", "leader");
	REFUSED("must be seconds", "--timeout", "nan", "leader");
	REFUSED("must be seconds", "--timeout", "5s", "leader");
	REFUSED("must be seconds", "--timeout", "86401", "leader");
	REFUSED("must be seconds", "--timeout", "", "leader");
}
END_TEST

START_TEST(test_every_command_has_its_help)
{
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];

		ck_assert_ptr_eq(ctl_command_by_name(c->name), c);
		ck_assert_ptr_nonnull(c->run);
		ck_assert_msg(c->details != NULL && strstr(c->details, "Exit codes:") != NULL, "%s",
		              c->name);
		ck_assert_uint_le(c->operands_max, CTL_OPERANDS_MAX);
	}
}
END_TEST

START_TEST(test_exit_codes_tell_no_from_not_now_and_not_you)
{
	ck_assert_int_eq(ctl_exit_of(0), CTL_DONE);
	ck_assert_int_eq(ctl_exit_of(-ENOENT), CTL_NO);
	ck_assert_int_eq(ctl_exit_of(RFS_ECONFIG), CTL_USAGE);
	ck_assert_int_eq(ctl_exit_of(RFS_ENOQUORUM), CTL_NO_ANSWER);
	ck_assert_int_eq(ctl_exit_of(RFS_EUNKNOWN), CTL_NO_ANSWER);
	ck_assert_int_eq(ctl_exit_of(RFS_EIDENTITY), CTL_REFUSED);
	ck_assert_int_eq(ctl_exit_of(-EACCES), CTL_REFUSED);
}
END_TEST

/* ---- text ---- */

static void escapes_to(const char *bytes, size_t n, const char *text)
{
	struct buf b;

	buf_init(&b);
	text_put_escaped(&b, bytes, n);
	buf_put_u8(&b, 0);
	ck_assert_str_eq((const char *)b.data, text);
	buf_free(&b);
}

START_TEST(test_escaped_text_stays_on_its_line_and_can_be_told_apart)
{
	escapes_to("", 0, "");
	escapes_to("a\nb\tc\r\\n", 8, "a\\nb\\tc\\r\\\\n");
	escapes_to("\x1b[31m\0\x7f", 7, "\\x1b[31m\\x00\\x7f");
	escapes_to("gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80", 14,
	           "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80");
	escapes_to("\xc3", 1, "\\xc3");
	escapes_to("\xc2\x9b"
	           "1m",
	           4, "\\xc2\\x9b1m"); /* CSI of the C1 controls */
	escapes_to("\xe2\x80\xae"
	           "x",
	           4, "\\xe2\\x80\\xaex");                         /* right-to-left override */
	escapes_to("\xc0\xaf", 2, "\\xc0\\xaf");                   /* overlong */
	escapes_to("\xed\xa0\x80", 3, "\\xed\\xa0\\x80");          /* surrogate */
	escapes_to("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
}
END_TEST

START_TEST(test_utf8_is_told_from_other_bytes)
{
	ck_assert(text_is_utf8("", 0));
	ck_assert(text_is_utf8("a\0b", 3));
	ck_assert(text_is_utf8("\xf0\x9f\x98\x80", 4));
	ck_assert(!text_is_utf8("\xf0\x9f\x98", 3));
	ck_assert(!text_is_utf8("\x80", 1));
	ck_assert(!text_is_utf8("\xff", 1));
}
END_TEST

START_TEST(test_base64_as_in_rfc_4648)
{
	static const char *const pairs[][2] = {{"", ""},
	                                       {"f", "Zg=="},
	                                       {"fo", "Zm8="},
	                                       {"foo", "Zm9v"},
	                                       {"foob", "Zm9vYg=="},
	                                       {"fooba", "Zm9vYmE="},
	                                       {"foobar", "Zm9vYmFy"},
	                                       {"\xff\xfe\xfd", "//79"}};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct buf b;

		buf_init(&b);
		ctl_put_base64(&b, pairs[i][0], strlen(pairs[i][0]));
		buf_put_u8(&b, 0);
		ck_assert_str_eq((const char *)b.data, pairs[i][1]);
		buf_free(&b);
	}
}
END_TEST

START_TEST(test_json_holds_every_byte)
{
	json_t *o = json_object();

	ctl_json_set_bytes(o, "a", "x\0\n", 3);
	ctl_json_set_bytes(o, "b", "\xff", 1);
	ctl_json_set_bytes(o, "c", NULL, 0);
	ck_assert_uint_eq(json_string_length(json_object_get(o, "a")), 3);
	ck_assert_str_eq(json_string_value(json_object_get(o, "b_base64")), "/w==");
	ck_assert_ptr_null(json_object_get(o, "b"));
	ck_assert_str_eq(json_string_value(json_object_get(o, "c")), "");
	json_decref(o);
}
END_TEST

/* ---- who leads ---- */

static struct ctl_survey *survey;

static void survey_setup(void)
{
	survey = mem_zalloc(sizeof(*survey));
}

static void survey_teardown(void)
{
	free(survey);
}

/* Node n + 1 of three says, in `term`, that `leader` leads. */
static void says(raft_term term, raft_id leader)
{
	struct ctl_survey_node *n = &survey->nodes[survey->n++];
	struct wire_status *st = &n->status;

	n->at.id = st->node_id = survey->n;
	n->done = n->reachable = true;
	st->term = term;
	st->leader_id = leader;
	st->n_members = 3;
	if (leader != 0)
		memcpy(st->leader_address, "h:1", 4);
}

static void silent(void)
{
	survey->nodes[survey->n++].done = true;
}

START_TEST(test_a_majority_in_one_term_makes_the_leader)
{
	struct ctl_leader l;

	says(5, 2);
	says(5, 2);
	silent();
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 2 && l.term == 5 && l.claims && l.confirmed);
	ck_assert_str_eq(l.address, "h:1");
}
END_TEST

START_TEST(test_an_old_leader_that_does_not_know_yet_is_not_the_leader)
{
	struct ctl_leader l;

	says(5, 1);
	says(6, 3);
	says(6, 3);
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 3 && l.term == 6 && l.confirmed);
}
END_TEST

START_TEST(test_one_voice_is_a_claim_and_no_majority)
{
	struct ctl_leader l;

	says(7, 1);
	silent();
	silent();
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 1 && l.claims && !l.confirmed);
	survey->nodes[0].status.leader_id = 2;
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 2 && !l.claims && !l.confirmed);
}
END_TEST

START_TEST(test_the_same_node_under_two_addresses_has_one_voice)
{
	struct ctl_leader l;

	says(7, 1);
	says(7, 1);
	survey->nodes[1].status.node_id = 1;
	survey->nodes[1].twin = true;
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 1 && !l.confirmed);
}
END_TEST

START_TEST(test_learners_do_not_count_as_voters)
{
	struct ctl_leader l;

	says(3, 1);
	survey->nodes[0].status.members[1].learner = true;
	survey->nodes[0].status.members[2].learner = true;
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 1 && l.confirmed);
}
END_TEST

START_TEST(test_without_answers_there_is_no_leader)
{
	struct ctl_leader l;

	silent();
	says(3, 0);
	ctl_survey_leader(survey, &l);
	ck_assert(l.id == 0 && !l.claims && !l.confirmed);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("raftctl");
	TCase *t = tcase_create("arguments and text"), *l = tcase_create("leader");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, test_without_a_command_it_is_the_shell);
	tcase_add_test(t, test_an_option_of_one_letter_is_the_commands_own);
	tcase_add_test(t, test_a_line_is_taken_apart_into_words);
	tcase_add_test(t, test_a_line_that_is_not_closed_is_refused);
	tcase_add_test(t, test_options_may_stand_before_and_behind_the_command);
	tcase_add_test(t, test_a_value_may_begin_with_a_dash);
	tcase_add_test(t, test_help_of_the_tool_and_of_a_command);
	tcase_add_test(t, test_what_is_not_understood_is_refused);
	tcase_add_test(t, test_every_command_has_its_help);
	tcase_add_test(t, test_exit_codes_tell_no_from_not_now_and_not_you);
	tcase_add_test(t, test_escaped_text_stays_on_its_line_and_can_be_told_apart);
	tcase_add_test(t, test_utf8_is_told_from_other_bytes);
	tcase_add_test(t, test_base64_as_in_rfc_4648);
	tcase_add_test(t, test_json_holds_every_byte);
	suite_add_tcase(s, l);
	tcase_add_checked_fixture(l, survey_setup, survey_teardown);
	tcase_add_test(l, test_a_majority_in_one_term_makes_the_leader);
	tcase_add_test(l, test_an_old_leader_that_does_not_know_yet_is_not_the_leader);
	tcase_add_test(l, test_one_voice_is_a_claim_and_no_majority);
	tcase_add_test(l, test_the_same_node_under_two_addresses_has_one_voice);
	tcase_add_test(l, test_learners_do_not_count_as_voters);
	tcase_add_test(l, test_without_answers_there_is_no_leader);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

/* Transactions: all or nothing, decided when they are applied. */
#include "../../src/base/txn.h"
#include "store_kit.h"

static struct kit k;
static struct buf steps;

static void setup(void)
{
	kit_open_memory(&k);
	k.pos.index++;
	ck_assert_int_eq(store_set_version(k.s, k.pos, 2, &k.err), 0);
	buf_init(&steps);
}

static void teardown(void)
{
	kit_close(&k);
	buf_free(&steps);
}

static void step(enum fs_txn_kind kind, const char *key, uint64_t version, const char *data)
{
	struct fs_txn_step t = {.kind = kind,
	                        .key = fs_str_of(key),
	                        .version = version,
	                        .data = data,
	                        .data_len = data != NULL ? (uint32_t)strlen(data) : 0};

	fs_txn_put(&steps, &t);
}

/* Apply the steps given since the last one. */
static int txn(void)
{
	int rc = kit_do(&k, &(struct fs_op){.kind = FS_OP_TXN,
	                                    .data = steps.data,
	                                    .data_len = (uint32_t)steps.len});

	buf_clear(&steps);
	return rc;
}

static bool is(const char *key, const char *text)
{
	return kit_get(&k, key) == 0 && kit_data_is(&k, text);
}

static uint64_t version_of(const char *key)
{
	ck_assert_int_eq(kit_get(&k, key), 0);
	return k.res.attr.version;
}

START_TEST(test_all_changes_are_made_in_one_entry)
{
	kit_put(&k, "old", "1");
	step(FS_TXN_IF_EXISTS, "old", 0, NULL);
	step(FS_TXN_IF_ABSENT, "a/b", 0, NULL);
	step(FS_TXN_SET, "a/b", 0, "blue");
	step(FS_TXN_SET, "/a/c", 0, "");
	step(FS_TXN_DELETE, "old", 0, NULL);
	ck_assert_int_eq(txn(), 0);
	ck_assert_uint_eq(k.res.value, 3);
	ck_assert(is("a/b", "blue"));
	ck_assert(is("a/c", ""));
	ck_assert_int_eq(kit_get(&k, "old"), -ENOENT);
	ck_assert_uint_eq(version_of("a/b"), version_of("a/c"));
}
END_TEST

START_TEST(test_a_condition_that_does_not_hold_stops_everything)
{
	static const struct {
		enum fs_txn_kind kind;
		const char *key, *data;
		uint64_t version;
	} wrong[] = {
	        {FS_TXN_IF_VERSION, "key", NULL, 999}, {FS_TXN_IF_VERSION, "key", NULL, 0},
	        {FS_TXN_IF_VERSION, "none", NULL, 1},  {FS_TXN_IF_VALUE, "key", "valu", 0},
	        {FS_TXN_IF_VALUE, "key", "valuE", 0},  {FS_TXN_IF_VALUE, "none", "", 0},
	        {FS_TXN_IF_VALUE, "dir", "", 0},       {FS_TXN_IF_EXISTS, "none", NULL, 0},
	        {FS_TXN_IF_EXISTS, "key/x", NULL, 0},  {FS_TXN_IF_ABSENT, "key", NULL, 0},
	        {FS_TXN_IF_ABSENT, "dir", NULL, 0},
	};

	kit_put(&k, "key", "value");
	kit_mkdir(&k, FS_ROOT_INO, "dir");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		step(FS_TXN_SET, "new", 0, "x");
		step(wrong[i].kind, wrong[i].key, wrong[i].version, wrong[i].data);
		ck_assert_msg(txn() == RFS_EPRECONDITION, "condition %zu", i);
		ck_assert_uint_eq(k.res.value, 2);
		ck_assert(k.res.has_attr == (strncmp(wrong[i].key, "none", 4) != 0 &&
		                             strchr(wrong[i].key, '/') == NULL));
		ck_assert_int_eq(kit_get(&k, "new"), -ENOENT);
	}
}
END_TEST

START_TEST(test_conditions_that_hold)
{
	kit_put(&k, "key", "value");
	step(FS_TXN_IF_VERSION, "key", version_of("key"), NULL);
	step(FS_TXN_IF_VERSION, "none", 0, NULL);
	step(FS_TXN_IF_VALUE, "key", 0, "value");
	step(FS_TXN_IF_ABSENT, "key/below", 0, NULL);
	step(FS_TXN_SET, "key", 0, "other"); /* conditions see the state as it was */
	step(FS_TXN_IF_VALUE, "key", 0, "value");
	ck_assert_int_eq(txn(), 0);
	ck_assert(is("key", "other"));
	step(FS_TXN_IF_EXISTS, "key", 0, NULL); /* conditions alone are fine */
	ck_assert_int_eq(txn(), 0);
	ck_assert_uint_eq(k.res.value, 0);
}
END_TEST

START_TEST(test_a_change_that_is_not_possible_stops_everything)
{
	kit_put(&k, "dir/key", "1");
	static const struct {
		enum fs_txn_kind kind;
		const char *key;
		int rc;
	} wrong[] = {
	        {FS_TXN_DELETE, "none", -ENOENT},
	        {FS_TXN_DELETE, "dir", -ENOTEMPTY},
	        {FS_TXN_SET, "dir", -EISDIR},
	        {FS_TXN_SET, "dir/key/below", -ENOTDIR},
	        {FS_TXN_SET, "", -EINVAL},
	        {FS_TXN_SET, "a//b", -EINVAL},
	        {(enum fs_txn_kind)99, "key", -EINVAL},
	        {(enum fs_txn_kind)0, "key", -EINVAL},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		step(FS_TXN_SET, "new/x", 0, "x");
		step(wrong[i].kind, wrong[i].key, 0, NULL);
		step(FS_TXN_SET, "new/y", 0, "y");
		ck_assert_msg(txn() == wrong[i].rc, "change %zu: %d", i, k.res.err);
		ck_assert_int_eq(kit_get(&k, "new"), -ENOENT);
	}
	ck_assert(is("dir/key", "1"));
}
END_TEST

START_TEST(test_changes_that_concern_each_other_are_refused)
{
	static const char *const pairs[][2] = {
	        {"a", "a"}, {"a", "/a"}, {"a", "a/b"}, {"a/b/c", "a/b"}, {"x/a!", "x"}};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		step(FS_TXN_SET, "a!", 0, "between a and a/b by bytes");
		step(FS_TXN_SET, pairs[i][0], 0, "1");
		step(FS_TXN_SET, "b", 0, "1");
		step(FS_TXN_SET, pairs[i][1], 0, "2");
		ck_assert_msg(txn() == -EINVAL, "pair %zu", i);
		ck_assert(k.res.value == 2 || k.res.value == 4);
		ck_assert_int_eq(kit_get(&k, "b"), -ENOENT);
	}
	step(FS_TXN_SET, "ab", 0, "1");
	step(FS_TXN_SET, "a/b", 0, "2");
	step(FS_TXN_SET, "a!", 0, "3");
	step(FS_TXN_IF_ABSENT, "a", 0, NULL);
	ck_assert_int_eq(txn(), 0);
}
END_TEST

START_TEST(test_names_of_one_hash_are_refused_together)
{
	k.s->dentry_hash_mask = 0;
	step(FS_TXN_SET, "one", 0, "1");
	step(FS_TXN_SET, "two", 0, "2");
	ck_assert_int_eq(txn(), -ENOSPC);
	ck_assert_int_eq(kit_get(&k, "one"), -ENOENT);
	step(FS_TXN_SET, "one", 0, "1");
	ck_assert_int_eq(txn(), 0);
}
END_TEST

START_TEST(test_cut_and_oversized_transactions_do_no_harm)
{
	struct buf whole;
	size_t first;

	step(FS_TXN_SET, "a", 0, "1");
	first = steps.len;
	step(FS_TXN_IF_VALUE, "a", 0, "1");
	buf_init(&whole);
	buf_put(&whole, steps.data, steps.len);
	for (size_t n = 0; n < whole.len; n++) {
		buf_clear(&steps);
		buf_put(&steps, whole.data, n);
		ck_assert_int_eq(txn(), n == first ? 0 : -EINVAL);
	}
	buf_free(&whole);
	for (size_t i = 0; i <= FS_TXN_STEPS_MAX; i++)
		step(FS_TXN_IF_ABSENT, "x", 0, NULL);
	ck_assert_int_eq(txn(), -EINVAL);
	for (size_t i = 0; i < FS_TXN_STEPS_MAX; i++)
		step(FS_TXN_IF_ABSENT, "x", 0, NULL);
	ck_assert_int_eq(txn(), 0);
}
END_TEST

START_TEST(test_a_duplicate_gets_the_same_answer)
{
	struct fs_op op = {.kind = FS_OP_TXN};

	kit_open_session(&k);
	step(FS_TXN_IF_ABSENT, "lock", 0, NULL);
	step(FS_TXN_SET, "lock", 0, "me");
	op.data = steps.data;
	op.data_len = (uint32_t)steps.len;
	for (int i = 0; i < 2; i++) {
		struct store_cmd cmd = {.session = k.session,
		                        .seq = 1,
		                        .lowest = 1,
		                        .time_ns = k.time_ns,
		                        .op = &op};

		ck_assert_int_eq(kit_apply(&k, &cmd), 0);
	}
	ck_assert(is("lock", "me"));
}
END_TEST

START_TEST(test_before_version_2_it_is_unknown)
{
	struct kit old;
	struct fs_txn_step t = {.kind = FS_TXN_SET, .key = fs_str_of("a")};

	kit_open_memory(&old);
	fs_txn_put(&steps, &t);
	ck_assert_int_eq(kit_do(&old, &(struct fs_op){.kind = FS_OP_TXN,
	                                              .data = steps.data,
	                                              .data_len = (uint32_t)steps.len}),
	                 -EINVAL);
	kit_close(&old);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_txn");
	TCase *t = tcase_create("transactions");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_all_changes_are_made_in_one_entry);
	tcase_add_test(t, test_a_condition_that_does_not_hold_stops_everything);
	tcase_add_test(t, test_conditions_that_hold);
	tcase_add_test(t, test_a_change_that_is_not_possible_stops_everything);
	tcase_add_test(t, test_changes_that_concern_each_other_are_refused);
	tcase_add_test(t, test_names_of_one_hash_are_refused_together);
	tcase_add_test(t, test_cut_and_oversized_transactions_do_no_harm);
	tcase_add_test(t, test_a_duplicate_gets_the_same_answer);
	tcase_add_test(t, test_before_version_2_it_is_unknown);
	suite_add_tcase(s, t);
	return kit_run(s);
}

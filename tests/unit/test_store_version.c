/* The cluster's protocol version in the state machine: raised by an entry, part of the state, in
 * snapshots, and refused by those who do not speak it. */
#include "store_kit.h"
#include "../../src/store/record.h"
#include "../../src/store/snapshot.h"

static int raise_to(struct kit *k, uint32_t version)
{
	k->pos.index++;
	if (k->pos.term == 0)
		k->pos.term = 1;
	return store_set_version(k->s, k->pos, version, &k->err);
}

static uint32_t format_of(struct kit *k)
{
	struct record_key key = record_key_meta();
	struct record_meta m;
	struct engine_bytes v;

	kit_commit(k);
	ck_assert_int_eq(k->s->e->vt->get(k->s->e, record_key_bytes(&key), &v, NULL), 1);
	ck_assert_ptr_null(record_get_meta(v, &m));
	return m.version;
}

START_TEST(test_a_new_store_speaks_version_1_and_an_entry_raises_it)
{
	uint64_t before;
	struct kit k;

	kit_open_memory(&k);
	ck_assert_uint_eq(store_version(k.s), 1);
	ck_assert_uint_eq(format_of(&k), STORE_FORMAT_MIN);
	before = kit_digest(&k);
	ck_assert_int_eq(raise_to(&k, 1), 0);
	ck_assert_uint_eq(kit_digest(&k), before);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	ck_assert_uint_eq(store_version(k.s), 2);
	ck_assert_uint_eq(store_applied(k.s).index, 2);
	ck_assert_msg(kit_digest(&k) != before, "the version is part of the state");
	ck_assert_uint_eq(format_of(&k), STORE_FORMAT_MAX);
	kit_close(&k);
}
END_TEST

START_TEST(test_the_version_never_falls)
{
	uint64_t digest;
	struct kit k;

	kit_open_memory(&k);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	digest = kit_digest(&k);
	for (uint32_t version = 2; version > 0; version--) {
		ck_assert_int_eq(raise_to(&k, version), 0);
		ck_assert_uint_eq(store_version(k.s), 2);
		ck_assert_uint_eq(kit_digest(&k), digest);
	}
	kit_close(&k);
}
END_TEST

/* A store of version 1 is opened as it is, and raised where it stands. */
START_TEST(test_a_raised_store_is_found_raised)
{
	struct kit k;

	kit_open_disk(&k);
	ck_assert_int_eq(kit_mknod(&k, FS_ROOT_INO, "old", S_IFREG | 0644), 0);
	kit_commit(&k);
	kit_reopen_disk(&k);
	ck_assert_uint_eq(store_version(k.s), 1);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	kit_commit(&k);
	kit_reopen_disk(&k);
	ck_assert_uint_eq(store_version(k.s), 2);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_LOOKUP,
	                                              .parent = FS_ROOT_INO,
	                                              .name = kit_str("old")}),
	                 0);
	kit_close(&k);
}
END_TEST

START_TEST(test_a_node_that_does_not_speak_the_version_neither_raises_nor_opens)
{
	struct store_opts held = {.version_max = 1};
	struct kit k = {.time_ns = 1};

	ck_assert_int_eq(engine_mem_open(&held.engine, NULL), 0);
	kit_open_opts(&k, &held);
	ck_assert_int_eq(raise_to(&k, 2), RFS_EVERSION);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "protocol version 2, this node at most 1"));
	ck_assert_int_eq(store_apply(k.s, k.pos, NULL, &k.res, &k.err), RFS_EVERSION);
	store_abandon(k.s);

	kit_open_opts(&k, &(struct store_opts){.engine = held.engine});
	ck_assert_uint_eq(store_version(k.s), 1);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	kit_commit(&k);
	store_abandon(k.s);
	ck_assert_int_eq(store_open(&k.s, k.dir, &held, &k.err), RFS_EVERSION);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "protocol version 2, this node at most 1"));
	held.engine->vt->close(held.engine);
}
END_TEST

START_TEST(test_a_flag_of_no_known_version_is_answered_and_changes_nothing)
{
	uint64_t before;
	struct kit k;

	kit_open_memory(&k);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	before = kit_digest(&k);
	ck_assert_int_eq(
	        kit_do(&k,
	               &(struct fs_op){.kind = FS_OP_PUT, .name = kit_str("a"), .flags = 1u << 31}),
	        -EINVAL);
	ck_assert_uint_eq(kit_digest(&k), before);
	kit_close(&k);
}
END_TEST

/* As a node of version 1 does, which takes it for nonsense; later it works. */
START_TEST(test_an_operation_of_a_newer_version_is_answered_as_unknown_until_the_version_is_raised)
{
	struct fs_op op = {.kind = FS_OP_PUT,
	                   .name = kit_str("a"),
	                   .flags = FS_F_IF_VERSION,
	                   .data = "x",
	                   .data_len = 1};
	const struct fs_op adopt = {.kind = FS_OP_ADOPT, .ino = FS_ROOT_INO, .ino2 = 99};
	uint64_t before;
	struct kit k;

	kit_open_memory(&k);
	before = kit_digest(&k);
	ck_assert_int_eq(kit_do(&k, &op), -EINVAL);
	ck_assert_int_eq(kit_do(&k, &adopt), -EINVAL);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_LOCK, .ino = FS_ROOT_INO}),
	                 -EINVAL);
	ck_assert_uint_eq(kit_digest(&k), before);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_int_eq(kit_do(&k, &op), RFS_EPRECONDITION);
	ck_assert_int_eq(kit_do(&k, &adopt), -ESTALE);
	kit_close(&k);
}
END_TEST

/* ---- snapshots ---- */

static int carry(struct kit *from, const struct store_opts *to, struct rfs_err *err)
{
	struct store_snapshot *sn;
	struct store_import *im;
	struct buf b;
	int rc;

	buf_init(&b);
	ck_assert_int_eq(store_snapshot_open(from->s, 0, &sn, err), 0);
	ck_assert_int_eq(store_import_begin(&im, "", to, err), 0);
	do {
		ck_assert_int_eq(store_snapshot_next(sn, &b, err), 1);
		rc = store_import_chunk(im, b.data, b.len, err);
	} while (rc == 0);
	store_snapshot_close(sn);
	buf_free(&b);
	if (rc == 1)
		return store_import_finish(im, err);
	store_import_abandon(im);
	return rc;
}

START_TEST(test_a_snapshot_carries_the_version)
{
	struct store_opts opts = {0};
	struct kit k, copy = {.time_ns = 1};

	kit_open_memory(&k);
	if (_i > 0)
		ck_assert_int_eq(raise_to(&k, 2), 0);
	else
		ck_assert_int_eq(kit_mknod(&k, FS_ROOT_INO, "a", S_IFREG | 0644), 0);
	kit_commit(&k);
	ck_assert_int_eq(engine_mem_open(&opts.engine, NULL), 0);
	ck_assert_msg(carry(&k, &opts, &k.err) == 0, "%s", k.err.msg);
	kit_open_opts(&copy, &opts);
	ck_assert_uint_eq(store_version(copy.s), _i > 0 ? 2 : 1);
	ck_assert_uint_eq(format_of(&copy), _i > 0 ? STORE_FORMAT_MAX : STORE_FORMAT_MIN);
	ck_assert_uint_eq(kit_digest(&copy), kit_digest(&k));
	kit_close(&copy);
	opts.engine->vt->close(opts.engine);
	kit_close(&k);
}
END_TEST

START_TEST(test_a_snapshot_of_a_newer_cluster_is_refused)
{
	struct store_opts held = {.version_max = 1};
	struct kit k;

	kit_open_memory(&k);
	ck_assert_int_eq(raise_to(&k, 2), 0);
	kit_commit(&k);
	ck_assert_int_eq(engine_mem_open(&held.engine, NULL), 0);
	ck_assert_int_eq(carry(&k, &held, &k.err), RFS_EVERSION);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "protocol version 2, this node at most 1"));
	held.engine->vt->close(held.engine);
	kit_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_version");
	TCase *t = tcase_create("store_version");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(t, test_a_new_store_speaks_version_1_and_an_entry_raises_it);
	tcase_add_test(t, test_the_version_never_falls);
	tcase_add_test(t, test_a_raised_store_is_found_raised);
	tcase_add_test(t, test_a_node_that_does_not_speak_the_version_neither_raises_nor_opens);
	tcase_add_test(t, test_a_flag_of_no_known_version_is_answered_and_changes_nothing);
	tcase_add_test(
	        t,
	        test_an_operation_of_a_newer_version_is_answered_as_unknown_until_the_version_is_raised);
	tcase_add_loop_test(t, test_a_snapshot_carries_the_version, 0, 2);
	tcase_add_test(t, test_a_snapshot_of_a_newer_cluster_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

/* What went wrong in other systems' storage, tried on ours; docs/known-bugs.md lists all of it. Most
 * of consensus stands in tests/golden/. */
#include "store_kit.h"
#include "../../src/store/snapshot.h"
#include "../support/walkit.h"

#define SEGMENT (8u << 10)

/* ---- etcd 13766: the applied index was stored apart from the data ---- */

/* An engine whose process dies at the nth call that writes: nothing reaches it from then on. */
static const struct engine_vtable *real;
static uint64_t calls_left;

static bool is_dead(void)
{
	if (calls_left > 0)
		calls_left--;
	return calls_left == 0;
}

static int dying_put(struct store_engine *e, struct engine_bytes key, struct engine_bytes value,
                     struct rfs_err *err)
{
	return is_dead() ? rfs_err_set(err, -EIO, "dead") : real->put(e, key, value, err);
}

static int dying_commit(struct store_engine *e, struct rfs_err *err)
{
	return is_dead() ? rfs_err_set(err, -EIO, "dead") : real->commit(e, err);
}

/* Ten appends to one file, a commit after every second, from wherever the store stands: what a log
 * replays after a crash. Without a session, so that only the position tells what was done. */
static int replay(struct kit *k, bool *dead)
{
	struct store_cmd cmd = {.time_ns = 5};
	struct fs_op op = {.kind = FS_OP_MKNOD,
	                   .parent = FS_ROOT_INO,
	                   .name = kit_str("log"),
	                   .mode = S_IFREG | 0644};
	int rc = 0;

	cmd.op = &op;
	while (rc == 0 && k->pos.index < 11) {
		if (k->pos.index > 0)
			op = (struct fs_op){.kind = FS_OP_WRITE,
			                    .ino = 2,
			                    .flags = FS_F_APPEND,
			                    .data = "0123456789" + k->pos.index - 1,
			                    .data_len = 1};
		k->pos = (struct raft_pos){k->pos.index + 1, 1};
		rc = store_apply(k->s, k->pos, &cmd, &k->res, &k->err);
		if (rc == 0 && k->pos.index % 2 == 1)
			rc = store_commit(k->s, &k->err);
	}
	*dead = rc != 0;
	return rc;
}

START_TEST(test_etcd_13766_the_applied_position_is_atomic_with_the_data)
{
	struct engine_vtable dying;
	uint64_t digest = 0;
	bool dead = true;

	for (uint64_t n = 1; dead; n++) {
		struct store_opts opts = {0};
		struct kit k = {.time_ns = 1};

		ck_assert_int_eq(engine_mem_open(&opts.engine, NULL), 0);
		kit_open_opts(&k, &opts);
		real = opts.engine->vt;
		dying = *real;
		dying.put = dying_put;
		dying.commit = dying_commit;
		opts.engine->vt = &dying;
		calls_left = n;
		(void)replay(&k, &dead);
		opts.engine->vt = real;
		store_abandon(k.s);

		kit_open_opts(&k, &opts);
		kit_verify(&k);
		ck_assert_int_eq(replay(&k, &dead), 0);
		dead = calls_left == 0;
		ck_assert_int_eq(kit_pread(&k, 2, 0, 100), 0);
		ck_assert_msg(kit_data_is(&k, "0123456789"), "after a crash at call %llu: %.*s",
		              (unsigned long long)n, (int)k.res.data_len, (char *)k.res.data);
		ck_assert(digest == 0 || digest == kit_digest(&k));
		digest = kit_digest(&k);
		kit_close(&k);
		opts.engine->vt->close(opts.engine);
	}
}
END_TEST

/* ---- jetcd: the client's retry of an append was applied twice ---- */

static void retry(struct kit *k, uint64_t session, uint64_t *first_index)
{
	struct fs_op op = {
	        .kind = FS_OP_WRITE, .ino = 2, .flags = FS_F_APPEND, .data = "once", .data_len = 4};
	struct store_cmd cmd = {session, 1, 1, 5, &op};

	ck_assert_int_eq(kit_apply(k, &cmd), 0);
	ck_assert_uint_eq(k->res.value, 0); /* the offset written at */
	if (*first_index == 0)
		*first_index = k->res.index;
	ck_assert_uint_eq(k->res.index, *first_index);
	ck_assert_int_eq(kit_pread(k, 2, 0, 100), 0);
	ck_assert(kit_data_is(k, "once"));
}

/* The second copy comes by another leader, after a restart, and on a server that got the first by a
 * snapshot. */
START_TEST(test_jetcd_a_retried_append_is_applied_once)
{
	struct store_opts opts = {0};
	struct kit k, copy = {.time_ns = 1};
	struct store_snapshot *sn;
	struct store_import *im;
	uint64_t index = 0;
	struct buf b;

	kit_open_disk(&k);
	ck_assert_uint_eq(kit_file(&k, FS_ROOT_INO, "f"), 2);
	kit_open_session(&k);
	retry(&k, k.session, &index);
	retry(&k, k.session, &index);
	kit_commit(&k);
	kit_reopen_disk(&k);
	retry(&k, k.session, &index);

	buf_init(&b);
	ck_assert_int_eq(engine_mem_open(&opts.engine, NULL), 0);
	ck_assert_int_eq(store_snapshot_open(k.s, 0, &sn, &k.err), 0);
	ck_assert_int_eq(store_import_begin(&im, "", &opts, &k.err), 0);
	while (store_snapshot_next(sn, &b, &k.err) == 1)
		ck_assert_int_ge(store_import_chunk(im, b.data, b.len, &k.err), 0);
	store_snapshot_close(sn);
	ck_assert_msg(store_import_finish(im, &k.err) == 0, "%s", k.err.msg);
	kit_open_opts(&copy, &opts);
	retry(&copy, k.session, &index);
	kit_close(&copy);
	opts.engine->vt->close(opts.engine);
	buf_free(&b);
	kit_close(&k);
}
END_TEST

/* ---- etcd 6368: a new file was synced, its name in the directory was not ---- */

START_TEST(test_etcd_6368_the_names_of_new_files_are_durable_before_what_is_in_them_counts)
{
	for (raft_index last = 1; last < 200; last += 7) {
		raft_index durable;
		struct walkit k;

		walkit_init(&k, last, SEGMENT);
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_term(&k, 1);
		walkit_append(&k, 1, last, 1, 1);
		walkit_run(&k);
		ck_assert(k.done.log && k.done.state);
		durable = k.done.log_pos.index;
		ck_assert_uint_eq(durable, last);
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, MEMFS_LOSE_ALL);
		ck_assert_msg(walkit_open(&k) == 0, "%llu entries: %s", (unsigned long long)last,
		              k.err.msg);
		ck_assert(!k.rec.created);
		ck_assert_uint_eq(k.rec.term, 1);
		ck_assert_uint_eq(k.rec.last.index, durable);
		ck_assert(walkit_all_right(&k));
		walkit_free(&k);
	}
}
END_TEST

/* ---- a failed fsync was retried, and the retry succeeded: the kernel had dropped the pages ---- */

START_TEST(test_a_failed_fsync_is_not_retried)
{
	for (uint64_t nth = 1; nth < 12; nth++) {
		raft_index durable = 0;
		struct walkit k;

		walkit_init(&k, nth, SEGMENT);
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_term(&k, 1);
		memfs_fail(k.fs, MEMFS_FDATASYNC, nth, -EIO);
		for (raft_index i = 1; i < 200; i += 20) {
			walkit_append(&k, i, i + 19, 1, 1);
			walkit_run(&k);
			if (k.done.log)
				durable = k.done.log_pos.index;
		}
		ck_assert_int_eq(k.done.error, -EIO);
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, MEMFS_LOSE_ALL);
		ck_assert_msg(walkit_open(&k) == 0, "sync %llu: %s", (unsigned long long)nth,
		              k.err.msg);
		ck_assert_msg(k.rec.last.index >= durable, "sync %llu: %llu entries of %llu",
		              (unsigned long long)nth, (unsigned long long)k.rec.last.index,
		              (unsigned long long)durable);
		ck_assert(walkit_all_right(&k));
		walkit_free(&k);
	}
}
END_TEST

/* ---- dqlite 309: a full disk left a gap between the snapshot and the log behind it ---- */

START_TEST(test_dqlite_309_a_full_disk_leaves_no_gap_behind_a_snapshot)
{
	for (uint64_t room = 2 * SEGMENT; room < 8 * SEGMENT; room += SEGMENT / 3) {
		raft_index snapshot, durable;
		struct walkit k;

		walkit_init(&k, room, SEGMENT);
		memfs_capacity(k.fs, room + 16384);
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_term(&k, 1);
		walkit_append(&k, 1, 300, 1, 1);
		walkit_run(&k);
		ck_assert_int_eq(k.done.space, -ENOSPC);
		snapshot = durable = k.done.log_pos.index;
		ck_assert(snapshot > 0 && snapshot < 300);
		/* the store has all that is durable: the log is cut, which makes room for a part */
		wal_cut(k.w, snapshot, &k.err);
		walkit_run(&k);
		if (k.done.log)
			durable = k.done.log_pos.index;
		memfs_power_off(k.fs);
		walkit_close(&k);
		memfs_power_on(k.fs, MEMFS_LOSE_SOME);
		memfs_capacity(k.fs, UINT64_MAX);

		ck_assert_msg(walkit_open(&k) == 0, "room for %llu bytes: %s",
		              (unsigned long long)room, k.err.msg);
		ck_assert_uint_le(k.rec.base.index, snapshot);
		ck_assert_uint_ge(k.rec.last.index, durable);
		ck_assert(walkit_all_right(&k));
		walkit_append(&k, k.rec.last.index + 1, 310, 1, 1);
		walkit_run(&k);
		walkit_close(&k);
		ck_assert_msg(walkit_open(&k) == 0, "%s", k.err.msg);
		ck_assert_uint_eq(k.rec.last.index, 310);
		ck_assert(walkit_all_right(&k));
		walkit_free(&k);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("known_bugs");
	TCase *t = tcase_create("known_bugs");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(t, test_etcd_13766_the_applied_position_is_atomic_with_the_data);
	tcase_add_test(t, test_jetcd_a_retried_append_is_applied_once);
	tcase_add_test(
	        t, test_etcd_6368_the_names_of_new_files_are_durable_before_what_is_in_them_counts);
	tcase_add_test(t, test_a_failed_fsync_is_not_retried);
	tcase_add_test(t, test_dqlite_309_a_full_disk_leaves_no_gap_behind_a_snapshot);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

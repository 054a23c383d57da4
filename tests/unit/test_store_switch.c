/* A store's directories: the switch to an imported one cut short at every step, what is left
 * behind, flushes beside the writer, and the membership configuration. */
#include "store_kit.h"

#include <limits.h>
#include <pthread.h>
#include "../../src/store/snapshot.h"

static void put_number(struct kit *k, int i)
{
	char path[32], text[32];

	(void)snprintf(path, sizeof(path), "d%d/f%d", i % 7, i % 50);
	(void)snprintf(text, sizeof(text), "value %d", i);
	ck_assert_int_eq(kit_put(k, path, text), 0);
}

static bool there(const char *dir, const char *suffix)
{
	char path[600];

	(void)snprintf(path, sizeof(path), "%s%s", dir, suffix);
	return access(path, F_OK) == 0;
}

static void move(const char *dir, const char *from, const char *to)
{
	char a[600], b[600];

	(void)snprintf(a, sizeof(a), "%s%s", dir, from);
	(void)snprintf(b, sizeof(b), "%s%s", dir, to);
	ck_assert_int_eq(rename(a, b), 0);
}

/* ---- an old store on disk, at 40, with a finished import beside it, at 90 ---- */

struct pair {
	char base[256], dir[256];
	uint64_t old_digest, new_digest;
	struct rfs_err err;
};

static void import_into(struct pair *p, struct kit *source)
{
	struct store_import *im;
	struct store_snapshot *sn;
	struct buf b;
	int rc = 0;

	buf_init(&b);
	ck_assert_int_eq(store_snapshot_open(source->s, 0, &sn, &p->err), 0);
	ck_assert_msg(store_import_begin(&im, p->dir, &(struct store_opts){0}, &p->err) == 0, "%s",
	              p->err.msg);
	while (store_snapshot_next(sn, &b, &p->err) > 0)
		rc = store_import_chunk(im, b.data, b.len, &p->err);
	ck_assert_int_eq(rc, 1);
	ck_assert_msg(store_import_finish(im, &p->err) == 0, "%s", p->err.msg);
	store_snapshot_close(sn);
	buf_free(&b);
}

static void setup(struct pair *p)
{
	struct kit old = {.time_ns = 1}, source;

	*p = (struct pair){0};
	kit_temp_dir(p->base);
	(void)snprintf(p->dir, sizeof(p->dir), "%.200s/store", p->base);
	memcpy(old.dir, p->dir, sizeof(old.dir));
	kit_open_opts(&old, &(struct store_opts){0});
	for (int i = 0; i < 40; i++)
		put_number(&old, i);
	kit_commit(&old);
	kit_open_memory(&source);
	for (int i = 0; i < 90; i++)
		put_number(&source, i);
	p->old_digest = kit_digest(&old);
	p->new_digest = kit_digest(&source);
	import_into(p, &source);
	store_close(old.s);
	kit_close(&source);
}

/* Open, and see one of the two stores, whole, and nothing beside it. */
static raft_index check_opens(struct pair *p)
{
	struct kit k = {.time_ns = 1};
	raft_index index;

	memcpy(k.dir, p->dir, sizeof(k.dir));
	kit_open_opts(&k, &(struct store_opts){0});
	index = k.pos.index;
	ck_assert(index == 40 || index == 90);
	ck_assert_uint_eq(kit_digest(&k), index == 40 ? p->old_digest : p->new_digest);
	ck_assert_uint_eq(store_installed(k.s).index, index == 40 ? 0 : 90);
	kit_verify(&k);
	ck_assert(!there(p->dir, ".import") && !there(p->dir, ".new") && !there(p->dir, ".old"));
	put_number(&k, 1);
	kit_commit(&k);
	store_close(k.s);
	return index;
}

START_TEST(test_switch_brings_the_imported_store)
{
	struct pair p;

	setup(&p);
	ck_assert_int_eq(store_switch(p.dir, &p.err), 0);
	ck_assert(!there(p.dir, ".new") && !there(p.dir, ".old"));
	ck_assert_uint_eq(check_opens(&p), 90);
	ck_assert_int_eq(store_switch(p.dir, &p.err), -ENOENT);
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_switch_cut_short_anywhere_leaves_the_old_store_or_the_new)
{
	bool was_new = false;

	for (unsigned steps = 0; steps <= 8; steps++) {
		raft_index index;
		struct pair p;

		setup(&p);
		ck_assert_int_eq(store_place_switch(p.dir, steps, &p.err), 0);
		index = check_opens(&p);
		ck_assert(!was_new || index == 90);
		was_new = index == 90;
		ck_assert(steps != 0 || !was_new);
		kit_remove_dir(p.base);
	}
	ck_assert(was_new);
}
END_TEST

/* The recovery is itself cut short: whatever it did not come to is done by the next one. */
START_TEST(test_recovery_of_a_switch_may_be_cut_short_too)
{
	char path[600];
	struct pair p;

	for (unsigned steps = 2; steps <= 5; steps++) {
		setup(&p);
		ck_assert_int_eq(store_place_switch(p.dir, steps, &p.err), 0);
		ck_assert_int_eq(store_place_recover(p.dir, &p.err), 0);
		(void)snprintf(path, sizeof(path), "%s.old/CURRENT", p.dir);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(store_place_recover(p.dir, &p.err), 0);
		ck_assert_uint_eq(check_opens(&p), 90);
		kit_remove_dir(p.base);
	}
}
END_TEST

START_TEST(test_finished_import_that_was_not_switched_to_is_dropped)
{
	struct pair p;

	setup(&p);
	ck_assert(there(p.dir, ".new"));
	ck_assert_uint_eq(check_opens(&p), 40);
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_half_an_import_is_dropped)
{
	struct pair p;

	setup(&p);
	move(p.dir, ".new", ".import");
	ck_assert_uint_eq(check_opens(&p), 40);
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_second_import_takes_the_place_of_the_first)
{
	struct kit source;
	struct pair p;

	setup(&p);
	kit_open_memory(&source);
	for (int i = 0; i < 90; i++)
		put_number(&source, i * 3);
	import_into(&p, &source);
	p.new_digest = kit_digest(&source);
	kit_close(&source);
	ck_assert_int_eq(store_switch(p.dir, &p.err), 0);
	ck_assert_uint_eq(check_opens(&p), 90);
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_switch_makes_do_with_what_an_earlier_one_left)
{
	struct pair p;
	char path[600];

	setup(&p);
	(void)snprintf(path, sizeof(path), "%s.old", p.dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(store_switch(p.dir, &p.err), 0);
	ck_assert_uint_eq(check_opens(&p), 90);
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_store_that_is_gone_is_not_made_anew_beside_an_old_one)
{
	struct store *s;
	struct pair p;

	setup(&p);
	ck_assert_int_eq(store_place_switch(p.dir, 2, &p.err), 0);
	move(p.dir, ".new", ".elsewhere");
	ck_assert_int_eq(store_open(&s, p.dir, &(struct store_opts){0}, &p.err), RFS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(p.err.msg, ".old"));
	ck_assert(!there(p.dir, ""));
	kit_remove_dir(p.base);
}
END_TEST

START_TEST(test_leftovers_of_an_open_store_are_not_touched)
{
	struct store *second;
	struct pair p;
	struct kit k = {.time_ns = 1};
	struct kit source;

	setup(&p);
	memcpy(k.dir, p.dir, sizeof(k.dir));
	kit_open_opts(&k, &(struct store_opts){0});
	kit_open_memory(&source);
	import_into(&p, &source);
	ck_assert_int_eq(store_open(&second, p.dir, &(struct store_opts){0}, &p.err), -EBUSY);
	ck_assert(there(p.dir, ".new"));
	kit_close(&source);
	store_close(k.s);
	kit_remove_dir(p.base);
}
END_TEST

/* ---- size ---- */

START_TEST(test_disk_bytes_count_the_store_and_imports)
{
	uint64_t before, with_data, with_import;
	struct raft_pos durable;
	struct pair p;
	struct kit k = {.time_ns = 1}, source;
	uint8_t *noise = mem_alloc(1u << 20);
	uint64_t ino, x = 88172645463325252u;

	for (size_t i = 0; i < 1u << 20; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (uint8_t)x;
	}
	setup(&p);
	memcpy(k.dir, p.dir, sizeof(k.dir));
	kit_open_opts(&k, &(struct store_opts){0});
	before = store_disk_bytes(k.s);
	ck_assert_uint_gt(before, 0);
	ino = kit_file(&k, 1, "big");
	ck_assert_int_eq(kit_write(&k, ino, 0, noise, 1u << 20), 0);
	kit_commit(&k);
	ck_assert_int_eq(store_flush(k.s, &durable, &p.err), 0);
	with_data = store_disk_bytes(k.s);
	ck_assert_uint_ge(with_data, before + (1u << 20));
	kit_open_memory(&source);
	import_into(&p, &source);
	with_import = store_disk_bytes(k.s);
	ck_assert_uint_gt(with_import, with_data);
	ck_assert_uint_eq(store_disk_bytes(source.s), 0);
	kit_close(&source);
	store_close(k.s);
	free(noise);
	kit_remove_dir(p.base);
}
END_TEST

/* ---- flush ---- */

static void *flush_thread(void *arg)
{
	store_flush_work(arg);
	return NULL;
}

static void copy_dir(const char *from, const char *to)
{
	char command[1200];
	int status = -1;

	/* RocksDB removes files beside us: what cp has seen may be gone when it opens it. */
	for (int tries = 0; tries < 100 && status != 0; tries++) {
		(void)snprintf(command, sizeof(command),
		               "rm -rf %s && cp -r %s %s 2>/dev/null && rm -f %s/LOCK", to, from,
		               to, to);
		status = system(command);
	}
	ck_assert_int_eq(status, 0);
}

START_TEST(test_flush_beside_the_writer_gives_a_position_that_a_crash_keeps)
{
	struct kit k, after = {.time_ns = 1};
	uint64_t digests[1001] = {0};
	struct raft_pos durable = {0};
	char base[256];
	int i = 0;

	kit_open_disk(&k);
	kit_temp_dir(base);
	for (int round = 0; round < 10; round++) {
		struct store_flush *f;
		raft_index committed;
		pthread_t thread;

		for (int n = 0; n < 50; n++) {
			put_number(&k, ++i);
			digests[k.pos.index] = kit_digest(&k);
		}
		kit_commit(&k);
		committed = k.pos.index;
		f = store_flush_begin(k.s);
		ck_assert_ptr_nonnull(f);
		ck_assert_ptr_null(store_flush_begin(k.s));
		ck_assert_int_eq(pthread_create(&thread, NULL, flush_thread, f), 0);
		for (int n = 0; n < 50; n++) {
			put_number(&k, ++i);
			digests[k.pos.index] = kit_digest(&k);
			kit_commit(&k);
		}
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_uint_lt(store_durable(k.s).index, committed);
		ck_assert_int_eq(store_flush_end(f, &durable, &k.err), 0);
		ck_assert_uint_eq(durable.index, committed);
		ck_assert_uint_eq(store_durable(k.s).index, committed);
	}
	(void)snprintf(after.dir, sizeof(after.dir), "%.200s/copy", base);
	copy_dir(k.dir, after.dir);
	kit_open_opts(&after, &(struct store_opts){0});
	ck_assert_uint_ge(after.pos.index, durable.index);
	ck_assert_uint_eq(kit_digest(&after), digests[after.pos.index]);
	ck_assert_uint_eq(store_durable(after.s).index, after.pos.index);
	kit_verify(&after);
	store_close(after.s);
	kit_remove_dir(base);
	kit_close(&k);
}
END_TEST

START_TEST(test_there_is_nothing_to_flush_after_a_flush)
{
	struct raft_pos durable;
	struct kit k;

	kit_open_disk(&k);
	ck_assert_ptr_null(store_flush_begin(k.s));
	put_number(&k, 1);
	ck_assert_ptr_null(store_flush_begin(k.s)); /* not committed */
	kit_commit(&k);
	ck_assert_int_eq(store_flush(k.s, &durable, &k.err), 0);
	ck_assert_uint_eq(durable.index, 1);
	ck_assert_ptr_null(store_flush_begin(k.s));
	kit_close(&k);
}
END_TEST

/* ---- a full disk ---- */

static struct engine_vtable full_vtable;
static int (*real_commit)(struct store_engine *e, struct rfs_err *err);
static int commit_error;

static int full_commit(struct store_engine *e, struct rfs_err *err)
{
	return commit_error != 0 ? rfs_err_set(err, commit_error, "the disk says %d", commit_error)
	                         : real_commit(e, err);
}

static int full_flush(struct store_engine *e, struct rfs_err *err)
{
	(void)e;
	return rfs_err_set(err, -ENOSPC, "the disk is full");
}

static void open_full(struct kit *k)
{
	kit_open_memory(k);
	full_vtable = *k->s->e->vt;
	real_commit = full_vtable.commit;
	full_vtable.commit = full_commit;
	k->s->e->vt = &full_vtable;
	commit_error = 0;
}

START_TEST(test_full_disk_keeps_the_batch_until_there_is_room)
{
	struct store_snapshot *sn;
	struct kit k;

	open_full(&k);
	put_number(&k, 1);
	kit_commit(&k);
	commit_error = -ENOSPC;
	put_number(&k, 2);
	ck_assert_int_eq(store_commit(k.s, &k.err), -ENOSPC);
	ck_assert_int_eq(store_snapshot_open(k.s, 0, &sn, &k.err), -ENOSPC);
	ck_assert_int_eq(kit_get(&k, "d2/f2"), 0); /* reads go on */
	put_number(&k, 3);
	ck_assert_int_eq(store_commit(k.s, &k.err), -ENOSPC);
	commit_error = 0;
	kit_commit(&k);
	k.s->e->vt->rollback(k.s->e);
	ck_assert_int_eq(kit_get(&k, "d3/f3"), 0);
	kit_close(&k);
}
END_TEST

START_TEST(test_other_errors_of_the_disk_are_final)
{
	struct kit k;

	open_full(&k);
	commit_error = -EIO;
	put_number(&k, 1);
	ck_assert_int_eq(store_commit(k.s, &k.err), -EIO);
	commit_error = 0;
	ck_assert_int_eq(store_commit(k.s, &k.err), -EIO);
	ck_assert_ptr_null(store_flush_begin(k.s));
	store_close(k.s);
}
END_TEST

START_TEST(test_flush_that_finds_no_room_can_be_tried_again)
{
	struct raft_pos durable = {9, 9};
	struct store_flush *f;
	struct kit k;

	open_full(&k);
	put_number(&k, 1);
	kit_commit(&k);
	full_vtable.flush_beside = full_flush;
	f = store_flush_begin(k.s);
	store_flush_work(f);
	ck_assert_int_eq(store_flush_end(f, &durable, &k.err), -ENOSPC);
	ck_assert_uint_eq(durable.index, 0);
	full_vtable.flush_beside = full_vtable.flush;
	f = store_flush_begin(k.s);
	store_flush_work(f);
	ck_assert_int_eq(store_flush_end(f, &durable, &k.err), 0);
	ck_assert_uint_eq(durable.index, 1);
	kit_close(&k);
}
END_TEST

/* ---- membership ---- */

static void set_membership(struct kit *k, const char *text)
{
	k->pos.index++;
	k->pos.term = 1;
	ck_assert_msg(store_set_membership(k->s, k->pos, text, strlen(text), &k->err) == 0, "%s",
	              k->err.msg);
}

static void check_membership(struct kit *k, raft_index index, const char *text)
{
	struct raft_pos pos;
	const void *conf;
	size_t len;

	store_get_membership(k->s, &pos, &conf, &len);
	ck_assert_uint_eq(pos.index, index);
	ck_assert_uint_eq(len, strlen(text));
	if (len > 0)
		ck_assert_mem_eq(conf, text, len);
}

START_TEST(test_membership_is_kept_with_the_batch_it_was_applied_in)
{
	uint64_t digest;
	struct kit k;

	kit_open_disk(&k);
	check_membership(&k, 0, "");
	set_membership(&k, "1 2 3");
	put_number(&k, 1);
	kit_commit(&k);
	digest = kit_digest(&k);
	set_membership(&k, "1 2 3 4, joint");
	check_membership(&k, 3, "1 2 3 4, joint");
	ck_assert_uint_ne(kit_digest(&k), digest);
	kit_reopen_disk(&k); /* the second one was not committed */
	ck_assert_uint_eq(k.pos.index, 2);
	ck_assert_uint_eq(kit_digest(&k), digest);
	check_membership(&k, 1, "1 2 3");
	set_membership(&k, "");
	kit_commit(&k);
	kit_reopen_disk(&k);
	check_membership(&k, 3, "");
	set_membership(&k, "5");
	kit_verify(&k);
	kit_close(&k);
}
END_TEST

START_TEST(test_verify_finds_another_membership_than_was_applied)
{
	struct record_key key = record_key_membership();
	struct engine_bytes v;
	uint8_t copy[64];
	struct kit k;

	kit_open_memory(&k);
	set_membership(&k, "1 2 3");
	kit_commit(&k);
	kit_verify(&k);
	ck_assert_int_eq(k.s->e->vt->get(k.s->e, record_key_bytes(&key), &v, NULL), 1);
	memcpy(copy, v.p, v.len);
	copy[v.len - 1] ^= 1;
	v.p = copy;
	k.s->e->vt->put(k.s->e, record_key_bytes(&key), v, NULL);
	ck_assert_int_eq(store_verify(k.s, &k.err), RFS_ECORRUPT);
	store_close(k.s);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_switch");
	TCase *c = tcase_create("store_switch");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, test_switch_brings_the_imported_store);
	tcase_add_test(c, test_switch_cut_short_anywhere_leaves_the_old_store_or_the_new);
	tcase_add_test(c, test_recovery_of_a_switch_may_be_cut_short_too);
	tcase_add_test(c, test_finished_import_that_was_not_switched_to_is_dropped);
	tcase_add_test(c, test_half_an_import_is_dropped);
	tcase_add_test(c, test_second_import_takes_the_place_of_the_first);
	tcase_add_test(c, test_switch_makes_do_with_what_an_earlier_one_left);
	tcase_add_test(c, test_store_that_is_gone_is_not_made_anew_beside_an_old_one);
	tcase_add_test(c, test_leftovers_of_an_open_store_are_not_touched);
	tcase_add_test(c, test_disk_bytes_count_the_store_and_imports);
	tcase_add_test(c, test_flush_beside_the_writer_gives_a_position_that_a_crash_keeps);
	tcase_add_test(c, test_there_is_nothing_to_flush_after_a_flush);
	tcase_add_test(c, test_full_disk_keeps_the_batch_until_there_is_room);
	tcase_add_test(c, test_other_errors_of_the_disk_are_final);
	tcase_add_test(c, test_flush_that_finds_no_room_can_be_tried_again);
	tcase_add_test(c, test_membership_is_kept_with_the_batch_it_was_applied_in);
	tcase_add_test(c, test_verify_finds_another_membership_than_was_applied);
	suite_add_tcase(s, c);
	return kit_run(s);
}

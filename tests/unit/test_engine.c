/* Both engines against the same expectations, and against each other in random work. */
#include "store_kit.h"

#include "../../src/store/kvmap.h"

struct fixture {
	struct store_engine *e;
	char dir[256];
	bool disk;
};

static void setup(struct fixture *f, int disk)
{
	struct rfs_err err = {0};
	int rc;

	*f = (struct fixture){.disk = disk != 0};
	if (f->disk)
		kit_temp_dir(f->dir);
	rc = f->disk ? engine_rocks_open(&f->e, f->dir, &err) : engine_mem_open(&f->e, &err);
	ck_assert_msg(rc == 0, "%s", err.msg);
}

static void teardown(struct fixture *f)
{
	f->e->vt->close(f->e);
	if (f->disk)
		kit_remove_dir(f->dir);
}

static struct engine_bytes bytes(const char *text)
{
	return (struct engine_bytes){(const uint8_t *)text, strlen(text)};
}

static void put(struct fixture *f, const char *key, const char *value)
{
	ck_assert_int_eq(f->e->vt->put(f->e, bytes(key), bytes(value), NULL), 0);
}

static void del(struct fixture *f, const char *key)
{
	ck_assert_int_eq(f->e->vt->del(f->e, bytes(key), NULL), 0);
}

static void commit(struct fixture *f)
{
	ck_assert_int_eq(f->e->vt->commit(f->e, NULL), 0);
}

/* "" if absent. */
static const char *get(struct fixture *f, const char *key)
{
	static char text[64];
	struct engine_bytes v;

	if (f->e->vt->get(f->e, bytes(key), &v, NULL) != 1)
		return "";
	(void)snprintf(text, sizeof(text), "%.*s", (int)v.len, (const char *)v.p);
	return text;
}

/* "key=value " of everything below prefix from `from` on. */
static const char *list(struct fixture *f, const char *prefix, const char *from)
{
	static char text[512];
	struct engine_iter *it = f->e->vt->iter_open(f->e, bytes(prefix), bytes(from));
	struct engine_bytes k, v;
	size_t n = 0;

	text[0] = '\0';
	while (f->e->vt->iter_next(it, &k, &v, NULL) == 1)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s=%.*s ", (int)k.len,
		                      (const char *)k.p, (int)v.len, (const char *)v.p);
	f->e->vt->iter_close(it);
	return text;
}

START_TEST(test_open_batch_is_seen_before_its_commit)
{
	struct fixture f;

	setup(&f, _i);
	put(&f, "a", "1");
	put(&f, "b", "2");
	commit(&f);
	put(&f, "a", "3");
	del(&f, "b");
	ck_assert_str_eq(get(&f, "a"), "3");
	ck_assert_str_eq(get(&f, "b"), "");
	ck_assert_uint_eq(f.e->vt->batch_bytes(f.e), 3); /* two keys and a value */
	f.e->vt->rollback(f.e);
	ck_assert_uint_eq(f.e->vt->batch_bytes(f.e), 0);
	ck_assert_str_eq(get(&f, "a"), "1");
	ck_assert_str_eq(get(&f, "b"), "2");
	teardown(&f);
}
END_TEST

START_TEST(test_iterator_merges_batch_and_state_within_a_prefix)
{
	struct fixture f;

	setup(&f, _i);
	put(&f, "a", "0");
	put(&f, "p1", "1");
	put(&f, "p3", "3");
	put(&f, "p5", "5");
	put(&f, "q", "9");
	commit(&f);
	del(&f, "p3");
	put(&f, "p2", "2");
	put(&f, "p5", "six");
	put(&f, "p7", "7");
	put(&f, "p", "");
	ck_assert_str_eq(list(&f, "p", "p"), "p= p1=1 p2=2 p5=six p7=7 ");
	ck_assert_str_eq(list(&f, "p", "p2"), "p2=2 p5=six p7=7 ");
	ck_assert_str_eq(list(&f, "p", "p3"), "p5=six p7=7 ");
	ck_assert_str_eq(list(&f, "x", "x"), "");
	ck_assert_str_eq(list(&f, "", ""), "a=0 p= p1=1 p2=2 p5=six p7=7 q=9 ");
	teardown(&f);
}
END_TEST

START_TEST(test_gets_are_allowed_while_an_iterator_is_open)
{
	struct engine_bytes k, v, got;
	struct engine_iter *it;
	struct fixture f;

	setup(&f, _i);
	put(&f, "k1", "one");
	put(&f, "k2", "two");
	commit(&f);
	it = f.e->vt->iter_open(f.e, bytes("k"), bytes("k"));
	ck_assert_int_eq(f.e->vt->iter_next(it, &k, &v, NULL), 1);
	ck_assert_int_eq(f.e->vt->get(f.e, bytes("k2"), &got, NULL), 1);
	ck_assert_mem_eq(v.p, "one", 3);
	ck_assert_mem_eq(got.p, "two", 3);
	ck_assert_int_eq(f.e->vt->iter_next(it, &k, &v, NULL), 1);
	ck_assert_mem_eq(k.p, "k2", 2);
	f.e->vt->iter_close(it);
	teardown(&f);
}
END_TEST

START_TEST(test_memory_engine_loses_in_a_crash_what_was_not_flushed)
{
	struct fixture f;

	setup(&f, 0);
	put(&f, "a", "1");
	put(&f, "b", "1");
	commit(&f);
	put(&f, "c", "open");
	ck_assert_int_eq(f.e->vt->flush(f.e, NULL), 0);
	commit(&f);
	put(&f, "a", "2");
	del(&f, "b");
	commit(&f);
	put(&f, "d", "open");
	engine_mem_crash(f.e);
	ck_assert_str_eq(list(&f, "", ""), "a=1 b=1 ");
	del(&f, "b");
	commit(&f);
	ck_assert_int_eq(f.e->vt->flush(f.e, NULL), 0);
	engine_mem_crash(f.e);
	ck_assert_str_eq(list(&f, "", ""), "a=1 ");
	teardown(&f);
}
END_TEST

static uint64_t next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

static void check_equal(struct store_engine *a, struct store_engine *b)
{
	const struct engine_bytes all = {0};
	struct engine_iter *ia = a->vt->iter_open(a, all, all), *ib = b->vt->iter_open(b, all, all);
	struct engine_bytes ka, kb, va, vb;
	int ra, rb;

	do {
		ra = a->vt->iter_next(ia, &ka, &va, NULL);
		rb = b->vt->iter_next(ib, &kb, &vb, NULL);
		ck_assert_int_eq(ra, rb);
		if (ra != 1)
			break;
		ck_assert_int_eq(engine_bytes_cmp(ka, kb), 0);
		ck_assert_int_eq(engine_bytes_cmp(va, vb), 0);
	} while (true);
	a->vt->iter_close(ia);
	b->vt->iter_close(ib);
}

START_TEST(test_engines_agree_in_random_work)
{
	struct fixture mem, disk;
	uint64_t seed = (uint64_t)_i + 1;

	setup(&mem, 0);
	setup(&disk, 1);
	for (int i = 0; i < 4000; i++) {
		uint64_t r = next_random(&seed);
		char key[16], value[32];

		(void)snprintf(key, sizeof(key), "k%u", (unsigned int)(r % 300));
		(void)snprintf(value, sizeof(value), "v%d-%u", i, (unsigned int)(r % 7));
		for (int side = 0; side < 2; side++) {
			struct fixture *f = side != 0 ? &disk : &mem;

			if (r % 5 == 0)
				del(f, key);
			else
				put(f, key, value);
			if (r % 11 == 0)
				commit(f);
			if (r % 97 == 0)
				f->e->vt->rollback(f->e);
			if (r % 701 == 0)
				ck_assert_int_eq(f->e->vt->flush(f->e, NULL), 0);
		}
		if (i % 100 == 0)
			check_equal(mem.e, disk.e);
	}
	check_equal(mem.e, disk.e);
	teardown(&mem);
	teardown(&disk);
}
END_TEST

/* "key=value " of all that a view holds. */
static void view_text(struct store_engine *e, struct engine_view *v, struct buf *out)
{
	struct engine_iter *it = e->vt->view_iter(v, (struct engine_bytes){0});
	struct engine_bytes key, value;

	buf_clear(out);
	while (e->vt->iter_next(it, &key, &value, NULL) == 1)
		buf_printf(out, "%.*s=%.*s ", (int)key.len, (const char *)key.p, (int)value.len,
		           (const char *)value.p);
	e->vt->iter_close(it);
}

START_TEST(test_view_stays_as_it_was_while_the_engine_goes_on)
{
	struct {
		struct engine_view *v;
		struct buf then;
	} views[4] = {0};
	uint64_t seed = (uint64_t)_i + 40;
	struct fixture f;
	struct buf now;

	setup(&f, _i & 1);
	buf_init(&now);
	for (int i = 0; i < 3000; i++) {
		uint64_t r = next_random(&seed), slot = next_random(&seed) % 4;
		char key[16], value[32];

		(void)snprintf(key, sizeof(key), "k%u", (unsigned int)(r % 40));
		(void)snprintf(value, sizeof(value), "v%d", i);
		if (r % 3 == 0)
			del(&f, key);
		else
			put(&f, key, value);
		if (r % 13 == 0)
			commit(&f);
		if (r % 71 == 0)
			ck_assert_int_eq(f.e->vt->flush(f.e, NULL), 0);
		if (r % 193 == 0 && !f.disk)
			engine_mem_crash(f.e);
		if (r % 17 != 0)
			continue;
		if (views[slot].v == NULL) {
			views[slot].v = f.e->vt->view_open(f.e);
			view_text(f.e, views[slot].v, &views[slot].then);
			continue;
		}
		view_text(f.e, views[slot].v, &now);
		ck_assert_uint_eq(now.len, views[slot].then.len);
		if (now.len > 0)
			ck_assert_mem_eq(now.data, views[slot].then.data, now.len);
		f.e->vt->view_close(views[slot].v);
		views[slot].v = NULL;
	}
	for (int i = 0; i < 4; i++) {
		if (views[i].v != NULL)
			f.e->vt->view_close(views[i].v);
		buf_free(&views[i].then);
	}
	buf_free(&now);
	teardown(&f);
}
END_TEST

START_TEST(test_view_does_not_see_the_open_batch)
{
	struct engine_view *v;
	struct fixture f;
	struct buf text;

	setup(&f, _i);
	buf_init(&text);
	put(&f, "a", "1");
	commit(&f);
	put(&f, "b", "2");
	v = f.e->vt->view_open(f.e);
	commit(&f);
	put(&f, "a", "3");
	commit(&f);
	view_text(f.e, v, &text);
	ck_assert_uint_eq(text.len, 4);
	ck_assert_mem_eq(text.data, "a=1 ", 4);
	f.e->vt->view_close(v);
	ck_assert_str_eq(list(&f, "", ""), "a=3 b=2 ");
	buf_free(&text);
	teardown(&f);
}
END_TEST

START_TEST(test_disk_engine_is_refused_to_a_second_opener)
{
	struct store_engine *second;
	struct rfs_err err = {0};
	struct fixture f;

	setup(&f, 1);
	ck_assert_int_eq(engine_rocks_open(&second, f.dir, &err), -EBUSY);
	ck_assert_ptr_nonnull(strstr(err.msg, f.dir));
	teardown(&f);
}
END_TEST

static void damage(const char *dir, const char *suffix, bool remove_it)
{
	DIR *dp = opendir(dir);
	struct dirent *d;
	char path[600];

	ck_assert_ptr_nonnull(dp);
	while ((d = readdir(dp)) != NULL) {
		FILE *file;

		if (strstr(d->d_name, suffix) == NULL)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		if (remove_it) {
			ck_assert_int_eq(remove(path), 0);
			continue;
		}
		file = fopen(path, "r+");
		ck_assert_ptr_nonnull(file);
		for (int i = 0; i < 64; i++)
			(void)fputc(0xa5, file);
		fclose(file);
	}
	closedir(dp);
}

START_TEST(test_damaged_database_is_refused_by_name)
{
	static const struct {
		const char *what;
		bool remove_it;
	} cases[] = {{"MANIFEST", false}, {".sst", true}, {"CURRENT", true}, {"CURRENT", false}};
	struct rfs_err err = {0};
	struct store_engine *e;
	struct fixture f;

	setup(&f, 1);
	put(&f, "a", "1");
	commit(&f);
	f.e->vt->close(f.e);
	damage(f.dir, cases[_i].what, cases[_i].remove_it);
	ck_assert_int_eq(engine_rocks_open(&e, f.dir, &err), RFS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(err.msg, f.dir));
	kit_remove_dir(f.dir);
}
END_TEST

START_TEST(test_map_keeps_order_and_forgets_what_is_removed)
{
	const struct kvmap_entry *at;
	struct kvmap m;
	char key[16], last[16] = "";
	size_t n = 0;

	kvmap_init(&m);
	for (unsigned int i = 0; i < 2000; i++) {
		(void)snprintf(key, sizeof(key), "%05u", i * 7919u % 2000u);
		kvmap_put(&m, bytes(key), bytes("x"));
	}
	for (unsigned int i = 0; i < 2000; i += 2) {
		(void)snprintf(key, sizeof(key), "%05u", i);
		kvmap_remove(&m, bytes(key));
	}
	kvmap_remove(&m, bytes("absent"));
	for (at = kvmap_first(&m); at != NULL; at = kvmap_next(at), n++) {
		(void)snprintf(key, sizeof(key), "%.*s", (int)at->key.len, (const char *)at->key.p);
		ck_assert_str_gt(key, last);
		memcpy(last, key, sizeof(last));
	}
	ck_assert_uint_eq(n, 1000);
	ck_assert_uint_eq(m.n, 1000);
	ck_assert_uint_eq(m.bytes, 1000 * (5 + 1));
	kvmap_put(&m, bytes("00001"), bytes("larger"));
	kvmap_put(&m, bytes("00001"), bytes("less"));
	ck_assert_uint_eq(m.bytes, 1000 * (5 + 1) + 5);
	kvmap_clear(&m);
	ck_assert_uint_eq(m.bytes, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine");
	TCase *tc = tcase_create("engine");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_open_batch_is_seen_before_its_commit, 0, 2);
	tcase_add_loop_test(tc, test_iterator_merges_batch_and_state_within_a_prefix, 0, 2);
	tcase_add_loop_test(tc, test_gets_are_allowed_while_an_iterator_is_open, 0, 2);
	tcase_add_test(tc, test_memory_engine_loses_in_a_crash_what_was_not_flushed);
	tcase_add_loop_test(tc, test_view_stays_as_it_was_while_the_engine_goes_on, 0, 10);
	tcase_add_loop_test(tc, test_view_does_not_see_the_open_batch, 0, 2);
	tcase_add_loop_test(tc, test_engines_agree_in_random_work, 0, 3);
	tcase_add_test(tc, test_disk_engine_is_refused_to_a_second_opener);
	tcase_add_loop_test(tc, test_damaged_database_is_refused_by_name, 0, 4);
	tcase_add_test(tc, test_map_keeps_order_and_forgets_what_is_removed);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

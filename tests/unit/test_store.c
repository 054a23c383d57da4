/* The store as a whole: what a reopen and a crash leave, the digest, what verify finds, the changes
 * it tells of, and random operations against a plain model, the same on both engines. */
#include "store_kit.h"

static uint64_t next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

/* ---- lifetime ---- */

START_TEST(test_reopened_store_is_where_it_was_closed)
{
	struct store_digest before, after;
	struct store_counts c;
	struct kit k;

	kit_open_disk(&k);
	kit_put(&k, "a/b", "value");
	kit_open_session(&k);
	kit_put(&k, "c", "more");
	kit_commit(&k);
	store_get_digest(k.s, &before);
	kit_reopen_disk(&k);
	store_get_digest(k.s, &after);
	ck_assert_uint_eq(after.pos.index, 3);
	ck_assert_uint_eq(after.pos.term, before.pos.term);
	ck_assert_uint_eq(after.value, before.value);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.inodes, 4);
	ck_assert_uint_eq(c.bytes, 9);
	ck_assert_uint_eq(c.sessions, 1);
	ck_assert_int_eq(kit_get(&k, "a/b"), 0);
	ck_assert(kit_data_is(&k, "value"));
	kit_close(&k);
}
END_TEST

START_TEST(test_uncommitted_batch_is_gone_after_a_reopen)
{
	uint64_t digest;
	struct kit k;

	kit_open_disk(&k);
	kit_put(&k, "a", "1");
	kit_commit(&k);
	digest = kit_digest(&k);
	kit_put(&k, "a", "2");
	kit_put(&k, "b", "2");
	kit_reopen_disk(&k);
	ck_assert_uint_eq(k.pos.index, 1);
	ck_assert_uint_eq(kit_digest(&k), digest);
	ck_assert_int_eq(kit_get(&k, "b"), -ENOENT);
	kit_close(&k);
}
END_TEST

START_TEST(test_entry_without_a_command_moves_the_position_alone)
{
	uint64_t digest;
	struct kit k;

	kit_open_memory(&k);
	digest = kit_digest(&k);
	ck_assert_int_eq(kit_apply(&k, NULL), 0);
	ck_assert_uint_eq(store_applied(k.s).index, 1);
	ck_assert_uint_eq(kit_digest(&k), digest);
	kit_close(&k);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	char part[65536];
	size_t n;

	ck_assert(in != NULL && out != NULL);
	while ((n = fread(part, 1, sizeof(part), in)) > 0)
		ck_assert_uint_eq(fwrite(part, 1, n, out), n);
	fclose(in);
	ck_assert_int_eq(fclose(out), 0);
}

/* What a crash would leave: the files as they are while the store is open. */
static void copy_dir(const char *from, const char *to)
{
	DIR *dp = opendir(from);
	struct dirent *d;
	char a[600], b[600];

	ck_assert_ptr_nonnull(dp);
	while ((d = readdir(dp)) != NULL) {
		if (d->d_name[0] == '.' || strcmp(d->d_name, "LOCK") == 0)
			continue;
		(void)snprintf(a, sizeof(a), "%s/%s", from, d->d_name);
		(void)snprintf(b, sizeof(b), "%s/%s", to, d->d_name);
		copy_file(a, b);
	}
	closedir(dp);
}

static void write_something(struct kit *k, int i)
{
	char path[32], text[64];

	(void)snprintf(path, sizeof(path), "d%d/f%d", i % 5, i % 17);
	(void)snprintf(text, sizeof(text), "value %d", i);
	ck_assert_int_eq(kit_put(k, path, text), 0);
}

START_TEST(test_crash_leaves_the_state_of_a_commit_that_was_flushed)
{
	uint64_t digests[101] = {0};
	struct raft_pos durable = {0};
	struct kit k, after;

	kit_open_disk(&k);
	after = k;
	kit_temp_dir(after.dir);
	for (int i = 1; i <= 100; i++) {
		write_something(&k, i);
		if (i % 4 == 0)
			kit_commit(&k);
		if (i == 50)
			ck_assert_int_eq(store_flush(k.s, &durable, &k.err), 0);
		digests[i] = kit_digest(&k);
	}
	ck_assert_uint_eq(durable.index, 48);
	copy_dir(k.dir, after.dir);
	kit_open_opts(&after, &(struct store_opts){0});
	ck_assert_uint_ge(after.pos.index, durable.index);
	ck_assert_uint_eq(after.pos.index % 4, 0);
	ck_assert_uint_eq(kit_digest(&after), digests[after.pos.index]);
	kit_close(&after);
	kit_close(&k);
}
END_TEST

START_TEST(test_memory_store_on_a_kept_engine_survives_its_process)
{
	struct raft_pos durable;
	struct store_engine *e;
	struct store_opts opts = {0};
	struct kit k = {.time_ns = 1};
	uint64_t digest;

	ck_assert_int_eq(engine_mem_open(&e, NULL), 0);
	opts.engine = e;
	kit_open_opts(&k, &opts);
	write_something(&k, 1);
	kit_commit(&k);
	ck_assert_int_eq(store_flush(k.s, &durable, NULL), 0);
	digest = kit_digest(&k);
	write_something(&k, 2);
	kit_commit(&k);
	write_something(&k, 3);
	store_abandon(k.s);
	kit_open_opts(&k, &opts);
	ck_assert_uint_eq(k.pos.index, 2);
	store_abandon(k.s);
	engine_mem_crash(e);
	kit_open_opts(&k, &opts);
	ck_assert_uint_eq(k.pos.index, 1);
	ck_assert_uint_eq(kit_digest(&k), digest);
	kit_verify(&k);
	store_close(k.s);
	e->vt->close(e);
}
END_TEST

/* ---- damage ---- */

static struct engine_bytes key_bytes(const struct record_key *k)
{
	return record_key_bytes(k);
}

/* Change byte `at` of a record behind the store's back. */
static void flip(struct store *s, const struct record_key *key, size_t at)
{
	struct engine_bytes v;
	uint8_t copy[8192];

	ck_assert_int_eq(s->e->vt->get(s->e, key_bytes(key), &v, NULL), 1);
	ck_assert_uint_lt(at, v.len);
	memcpy(copy, v.p, v.len);
	copy[at] ^= 0x40;
	v.p = copy;
	ck_assert_int_eq(s->e->vt->put(s->e, key_bytes(key), v, NULL), 0);
	ck_assert_int_eq(s->e->vt->commit(s->e, NULL), 0);
}

static void expect_verify_to_fail(struct kit *k)
{
	ck_assert_int_eq(store_verify(k->s, &k->err), RFS_ECORRUPT);
	ck_assert_str_ne(k->err.msg, "");
	store_close(k->s);
}

START_TEST(test_verify_finds_a_flipped_bit_in_any_byte_of_an_inode)
{
	struct record_key key = record_key_inode(3);
	struct kit k;

	kit_open_memory(&k);
	kit_put(&k, "d/f", "content");
	kit_commit(&k);
	kit_verify(&k);
	flip(k.s, &key, (size_t)_i);
	expect_verify_to_fail(&k);
}
END_TEST

START_TEST(test_verify_finds_missing_and_surplus_records)
{
	struct record_key keys[] = {record_key_inode(3),         record_key_inode(2),
	                            record_key_dentry(1, 0x100), record_key_orphan(7, 3),
	                            record_key_chunk(3, 0),      record_key_session(5)};
	static const uint8_t value[] = {1, 2, 3, 4, 5, 6, 7, 8};
	bool surplus = _i >= 2;
	struct kit k;

	kit_open_memory(&k);
	kit_put(&k, "d/f", "content");
	kit_commit(&k);
	if (surplus)
		k.s->e->vt->put(k.s->e, key_bytes(&keys[_i]), (struct engine_bytes){value, 8},
		                NULL);
	else
		k.s->e->vt->del(k.s->e, key_bytes(&keys[_i]), NULL);
	expect_verify_to_fail(&k);
}
END_TEST

START_TEST(test_damaged_record_is_named_by_its_key)
{
	struct record_key key = record_key_inode(2);
	struct fs_result res;
	struct kit k;

	kit_open_memory(&k);
	kit_put(&k, "f", "content");
	kit_commit(&k);
	flip(k.s, &key, 0);
	ck_assert_int_eq(store_read(k.s, &(struct fs_op){.kind = FS_OP_GET, .name = FS_STR("f")},
	                            &res, &k.err),
	                 RFS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(k.err.msg, "490000000000000002"));
	ck_assert_int_eq(store_commit(k.s, &k.err), RFS_ECORRUPT); /* and nothing works any more */
	store_close(k.s);
}
END_TEST

static int reopen_engine(struct store_engine *e, struct rfs_err *err)
{
	struct store *s;
	int rc = store_open(&s, NULL, &(struct store_opts){.engine = e}, err);

	if (rc == 0)
		store_close(s);
	return rc;
}

START_TEST(test_open_checks_the_record_of_the_store_itself)
{
	struct record_key key = record_key_meta();
	struct rfs_err err = {0};
	struct store_engine *e;
	struct kit k = {.time_ns = 1};

	ck_assert_int_eq(engine_mem_open(&e, NULL), 0);
	kit_open_opts(&k, &(struct store_opts){.engine = e});
	write_something(&k, 1);
	kit_commit(&k);
	flip(k.s, &key, 0);
	ck_assert_int_eq(reopen_engine(e, &err), RFS_EVERSION);
	flip(k.s, &key, 0);
	for (size_t at = 4; at < RECORD_META_BYTES; at++) {
		flip(k.s, &key, at);
		ck_assert_int_eq(reopen_engine(e, &err), RFS_ECORRUPT);
		flip(k.s, &key, at);
	}
	ck_assert_int_eq(reopen_engine(e, &err), 0);
	e->vt->del(e, key_bytes(&key), NULL);
	ck_assert_int_eq(reopen_engine(e, &err), RFS_ECORRUPT);
	store_abandon(k.s);
	e->vt->close(e);
}
END_TEST

/* ---- changes ---- */

struct heard {
	char text[1024];
	size_t n;
};

static void hear(void *ctx, const struct store_change *c)
{
	static const char *const kinds[] = {"?", "create", "modify", "remove", "rename"};
	struct heard *h = ctx;

	h->n += (size_t)snprintf(
	        h->text + h->n, sizeof(h->text) - h->n, "%llu %s %llu %llu/%.*s <%llu/%.*s\n",
	        (unsigned long long)c->index, kinds[c->kind], (unsigned long long)c->ino,
	        (unsigned long long)c->parent, (int)c->name.len, c->name.p,
	        (unsigned long long)c->old_parent, (int)c->old_name.len, c->old_name.p);
	ck_assert_uint_eq(c->version, c->index);
}

START_TEST(test_every_change_is_told)
{
	struct kit k = {.time_ns = 1};
	struct heard h = {.n = 0};
	uint64_t ino;

	kit_open_opts(&k, &(struct store_opts){.memory = true, .on_change = hear, .ctx = &h});
	kit_put(&k, "d/f", "x");
	kit_put(&k, "d/f", "y");
	ino = kit_file(&k, 1, "g");
	kit_write(&k, ino, 0, "z", 1);
	kit_rename(&k, 1, "g", 2, "f", 0);
	kit_mkdir(&k, 1, "e");
	kit_rename(&k, 1, "e", 2, "f", FS_F_EXCHANGE);
	kit_unlink(&k, 1, "absent");
	kit_link(&k, ino, 1, "l");
	kit_delete(&k, "d", FS_F_RECURSIVE);
	ck_assert_str_eq(h.text, "1 create 2 1/d <0/\n"
	                         "1 create 3 2/f <0/\n"
	                         "2 modify 3 2/f <0/\n"
	                         "3 create 4 1/g <0/\n"
	                         "4 modify 4 0/ <0/\n"
	                         "5 remove 3 2/f <0/\n"
	                         "5 rename 4 2/f <1/g\n"
	                         "6 create 5 1/e <0/\n"
	                         "7 rename 5 2/f <1/e\n"
	                         "7 rename 4 1/e <2/f\n"
	                         "9 create 4 1/l <0/\n"
	                         "10 remove 2 1/d <0/\n"
	                         "10 remove 5 2/f <0/\n");
	kit_close(&k);
}
END_TEST

/* ---- random operations against a model ---- */

#define MODEL_NAMES 24 /* "0" to "7" in each of three directories */
#define MODEL_DIRS  3

/* Files alone: a name leads to a file or to none; files may have several names. */
struct model {
	uint64_t dirs[MODEL_DIRS];
	int file_at[MODEL_NAMES]; /* -1: none */
	struct {
		uint64_t ino;
		char data[256];
		size_t len;
	} files[4096];
	int n_files;
};

static int model_links(const struct model *m, int file)
{
	int n = 0;

	for (int i = 0; i < MODEL_NAMES; i++)
		n += m->file_at[i] == file;
	return n;
}

static const char *model_name(int slot)
{
	static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7"};

	return names[slot % 8];
}

static void do_both(struct kit *sides, const struct fs_op *op, int expected)
{
	ck_assert_int_eq(kit_do(&sides[0], op), expected);
	ck_assert_int_eq(kit_do(&sides[1], op), expected);
	ck_assert_uint_eq(sides[0].res.value, sides[1].res.value);
	ck_assert_mem_eq(&sides[0].res.attr, &sides[1].res.attr, sizeof(struct fs_attr));
	ck_assert_uint_eq(kit_digest(&sides[0]), kit_digest(&sides[1]));
}

static void step_create(struct kit *sides, struct model *m, int a)
{
	struct fs_op op = {.kind = FS_OP_MKNOD,
	                   .parent = m->dirs[a / 8],
	                   .name = kit_str(model_name(a)),
	                   .mode = S_IFREG | 0644,
	                   .flags = FS_F_EXCL};

	do_both(sides, &op, m->file_at[a] >= 0 ? -EEXIST : 0);
	if (m->file_at[a] >= 0)
		return;
	m->file_at[a] = m->n_files;
	m->files[m->n_files].len = 0;
	m->files[m->n_files++].ino = sides[0].res.attr.ino;
}

static void step_append(struct kit *sides, struct model *m, int a, uint64_t r)
{
	int file = m->file_at[a];
	char text[16];
	struct fs_op op = {.kind = FS_OP_WRITE, .flags = FS_F_APPEND, .data = text};

	if (file < 0)
		return;
	op.data_len = (uint32_t)snprintf(text, sizeof(text), "%u,", (unsigned int)(r % 100000));
	if (m->files[file].len + op.data_len > sizeof(m->files[file].data)) {
		op.flags |= FS_F_TRUNC;
		m->files[file].len = 0;
	}
	op.ino = m->files[file].ino;
	do_both(sides, &op, 0);
	memcpy(m->files[file].data + m->files[file].len, text, op.data_len);
	m->files[file].len += op.data_len;
}

static void step_rename(struct kit *sides, struct model *m, int a, int b, uint64_t r)
{
	uint32_t flags = r % 4 == 0 ? FS_F_NOREPLACE : r % 4 == 1 ? FS_F_EXCHANGE : 0;
	struct fs_op op = {.kind = FS_OP_RENAME,
	                   .parent = m->dirs[a / 8],
	                   .name = kit_str(model_name(a)),
	                   .parent2 = m->dirs[b / 8],
	                   .name2 = kit_str(model_name(b)),
	                   .flags = flags};
	int from = m->file_at[a], to = m->file_at[b], expected = 0;

	if (from < 0 || (flags == FS_F_EXCHANGE && to < 0))
		expected = -ENOENT;
	else if (flags == FS_F_NOREPLACE && to >= 0)
		expected = -EEXIST;
	do_both(sides, &op, expected);
	if (expected != 0 || from == to)
		return;
	m->file_at[a] = flags == FS_F_EXCHANGE ? to : -1;
	m->file_at[b] = from;
}

static void step_link(struct kit *sides, struct model *m, int a, int b)
{
	struct fs_op op = {
	        .kind = FS_OP_LINK, .parent = m->dirs[b / 8], .name = kit_str(model_name(b))};

	if (m->file_at[a] < 0)
		return;
	op.ino = m->files[m->file_at[a]].ino;
	do_both(sides, &op, m->file_at[b] >= 0 ? -EEXIST : 0);
	if (m->file_at[b] < 0)
		m->file_at[b] = m->file_at[a];
}

static void step_unlink(struct kit *sides, struct model *m, int a)
{
	struct fs_op op = {
	        .kind = FS_OP_UNLINK, .parent = m->dirs[a / 8], .name = kit_str(model_name(a))};

	do_both(sides, &op, m->file_at[a] < 0 ? -ENOENT : 0);
	m->file_at[a] = -1;
}

static void random_step(struct kit *sides, struct model *m, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	int a = (int)(next_random(seed) % MODEL_NAMES), b = (int)(next_random(seed) % MODEL_NAMES);

	switch (r % 6) {
	case 0: step_create(sides, m, a); break;
	case 1:
	case 2: step_append(sides, m, a, r / 6); break;
	case 3: step_rename(sides, m, a, b, r / 6); break;
	case 4: step_link(sides, m, a, b); break;
	default: step_unlink(sides, m, a); break;
	}
	for (int side = 0; side < 2; side++)
		if (r % (5 + (uint64_t)side * 3) == 0)
			kit_commit(&sides[side]);
}

static void check_model(struct kit *k, const struct model *m)
{
	for (int i = 0; i < MODEL_NAMES; i++) {
		int file = m->file_at[i];

		ck_assert_int_eq(kit_lookup(k, m->dirs[i / 8], model_name(i)),
		                 file < 0 ? -ENOENT : 0);
		if (file < 0)
			continue;
		ck_assert_uint_eq(k->res.attr.ino, m->files[file].ino);
		ck_assert_int_eq((int)k->res.attr.nlink, model_links(m, file));
		ck_assert_int_eq(kit_pread(k, m->files[file].ino, 0, 1000), 0);
		ck_assert_uint_eq(k->res.data_len, m->files[file].len);
		if (m->files[file].len > 0)
			ck_assert_mem_eq(k->res.data, m->files[file].data, m->files[file].len);
	}
	kit_verify(k);
}

START_TEST(test_random_operations_follow_the_model_on_both_engines_alike)
{
	static struct model m;
	struct kit sides[2]; /* memory, disk */
	uint64_t seed = (uint64_t)_i * 7919 + 13;

	kit_open_memory(&sides[0]);
	kit_open_disk(&sides[1]);
	memset(m.file_at, 0xff, sizeof(m.file_at));
	m.n_files = 0;
	for (int d = 0; d < MODEL_DIRS; d++) {
		m.dirs[d] = kit_mkdir(&sides[0], d == 2 ? m.dirs[1] : 1, d == 0 ? "a" : "b");
		kit_mkdir(&sides[1], d == 2 ? m.dirs[1] : 1, d == 0 ? "a" : "b");
	}
	kit_open_session(&sides[0]);
	kit_open_session(&sides[1]);
	for (int i = 0; i < 3000; i++) {
		random_step(sides, &m, &seed);
		if (i % 500 == 250) {
			kit_commit(&sides[1]);
			kit_reopen_disk(&sides[1]);
		}
		if (i % 100 == 0) {
			check_model(&sides[0], &m);
			check_model(&sides[1], &m);
		}
	}
	check_model(&sides[0], &m);
	check_model(&sides[1], &m);
	kit_close(&sides[0]);
	kit_close(&sides[1]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("store");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, test_reopened_store_is_where_it_was_closed);
	tcase_add_test(tc, test_uncommitted_batch_is_gone_after_a_reopen);
	tcase_add_test(tc, test_entry_without_a_command_moves_the_position_alone);
	tcase_add_test(tc, test_crash_leaves_the_state_of_a_commit_that_was_flushed);
	tcase_add_test(tc, test_memory_store_on_a_kept_engine_survives_its_process);
	tcase_add_loop_test(tc, test_verify_finds_a_flipped_bit_in_any_byte_of_an_inode, 0,
	                    RECORD_INODE_HEAD + 7);
	tcase_add_loop_test(tc, test_verify_finds_missing_and_surplus_records, 0, 6);
	tcase_add_test(tc, test_damaged_record_is_named_by_its_key);
	tcase_add_test(tc, test_open_checks_the_record_of_the_store_itself);
	tcase_add_test(tc, test_every_change_is_told);
	tcase_add_loop_test(tc, test_random_operations_follow_the_model_on_both_engines_alike, 0,
	                    4);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

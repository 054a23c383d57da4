/* ADOPT: the bytes of a file without a name become another's. */
#include "store_kit.h"

#define ROOT  FS_ROOT_INO
#define SMALL 10u
#define LARGE (2 * STORE_CHUNK_BYTES + 100)

static struct kit k;
static struct store_change last;
static unsigned n_changes;

static void hear(void *ctx, const struct store_change *c)
{
	(void)ctx;
	last = *c;
	n_changes++;
}

static void setup(void)
{
	k = (struct kit){.time_ns = 1000};
	kit_open_opts(&k, &(struct store_opts){.memory = true, .on_change = hear});
	kit_raise(&k);
	kit_open_session(&k);
}

static void teardown(void)
{
	kit_close(&k);
}

static void fill(uint64_t ino, char with, size_t n)
{
	static char bytes[FS_WRITE_BYTES_MAX];

	memset(bytes, with, n);
	ck_assert_int_eq(kit_write(&k, ino, 0, bytes, n), 0);
}

static uint64_t filled(const char *name, char with, size_t n)
{
	uint64_t ino = kit_file(&k, ROOT, name);

	fill(ino, with, n);
	return ino;
}

static uint64_t nameless(uint64_t dir, char with, size_t n)
{
	uint64_t ino;

	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                            .parent = dir,
	                                            .mode = S_IFREG | 0600,
	                                            .flags = FS_F_TMPFILE}),
	                 0);
	ino = k.res.attr.ino;
	fill(ino, with, n);
	return ino;
}

static int adopt_ranges(uint64_t ino, uint64_t ino2, uint32_t flags, const struct fs_range *r,
                        size_t n)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .ino = ino, .ino2 = ino2, .flags = flags};
	struct buf b = {0};
	int rc;

	for (size_t i = 0; i < n; i++)
		fs_range_put(&b, &r[i]);
	op.data = b.data;
	op.data_len = (uint32_t)b.len;
	rc = kit_do(&k, &op);
	buf_free(&b);
	return rc;
}

static int adopt(uint64_t ino, uint64_t ino2, uint32_t flags)
{
	return adopt_ranges(ino, ino2, flags, NULL, 0);
}

/* The bytes from `at` on are so many of one kind. */
static void assert_bytes(uint64_t ino, uint64_t at, char c, size_t n)
{
	ck_assert_int_eq(kit_pread(&k, ino, at, n), 0);
	ck_assert_uint_eq(k.res.data_len, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(((const char *)k.res.data)[i], c);
}

/* ---- in place of all there was ---- */

START_TEST(test_the_bytes_take_the_place_of_all_there_was)
{
	static const size_t sizes[] = {0, SMALL, LARGE};
	size_t old = sizes[_i / 3], new = sizes[_i % 3];
	uint64_t f = filled("f", 'o', old), ino2 = nameless(ROOT, 'n', new);
	struct fs_attr was = kit_attr(&k, f), from = kit_attr(&k, ino2);
	struct store_counts c;

	n_changes = 0;
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_uint_eq(k.res.attr.size, new);
	ck_assert_uint_eq(k.res.attr.blocks, from.blocks);
	ck_assert_uint_eq(k.res.attr.version, k.pos.index);
	ck_assert_int_gt(k.res.attr.mtime_ns, was.mtime_ns);
	ck_assert_uint_eq(k.res.attr.mode, was.mode);
	ck_assert_uint_eq(n_changes, 1);
	ck_assert(last.kind == STORE_CHANGE_MODIFY && last.ino == f);
	assert_bytes(f, 0, 'n', new);
	ck_assert_int_eq(kit_getattr(&k, ino2), -ESTALE);
	ck_assert_uint_eq(store_lingering(k.s), 0);
	store_get_counts(k.s, &c);
	ck_assert(c.inodes == 2 && c.bytes == new);
}
END_TEST

START_TEST(test_an_empty_file_takes_all_whatever_was_asked)
{
	uint64_t f = kit_file(&k, ROOT, "f"), g = kit_file(&k, ROOT, "g");

	ck_assert_int_eq(adopt(f, nameless(ROOT, 'n', LARGE), FS_F_APPEND), 0);
	ck_assert_uint_eq(k.res.value, 0);
	assert_bytes(f, 0, 'n', LARGE);
	ck_assert_int_eq(adopt_ranges(g, nameless(ROOT, 'n', LARGE), 0,
	                              (const struct fs_range[]){{0, 1}}, 1),
	                 0);
	assert_bytes(g, 0, 'n', LARGE);
}
END_TEST

static bool has_record(struct record_key key, size_t *len)
{
	struct engine_bytes v = {0};
	int rc = store_state_get(k.s, &key, &v);

	*len = v.len;
	return rc > 0;
}

START_TEST(test_the_content_stays_where_it_is)
{
	uint64_t f = filled("f", 'o', LARGE), first = nameless(ROOT, 'n', LARGE), second;
	size_t len;

	ck_assert_int_eq(adopt(f, first, FS_F_TRUNC), 0);
	ck_assert(has_record(record_key_chunk(first, 2), &len));
	ck_assert(!has_record(record_key_chunk(f, 0), &len));
	ck_assert(has_record(record_key_inode(f), &len) && len == RECORD_INODE_HEAD + 8);
	kit_verify(&k);
	second = nameless(ROOT, 'm', LARGE);
	ck_assert_int_eq(adopt(second, nameless(ROOT, 'l', LARGE), FS_F_TRUNC), 0);
	ck_assert_int_eq(adopt(f, second, FS_F_TRUNC), 0); /* handed on */
	assert_bytes(f, 0, 'l', LARGE);
	ck_assert(!has_record(record_key_chunk(first, 0), &len));
	ck_assert_int_eq(kit_resize(&k, f, SMALL), 0);
	ck_assert(has_record(record_key_inode(f), &len) && len == RECORD_INODE_HEAD + SMALL);
	ck_assert_int_eq(kit_resize(&k, f, LARGE), 0);
	ck_assert(has_record(record_key_inode(f), &len) && len == RECORD_INODE_HEAD);
	ck_assert(has_record(record_key_chunk(f, 0), &len));
}
END_TEST

/* ---- on top of it ---- */

START_TEST(test_appended_bytes_go_behind_what_is_there)
{
	static const size_t sizes[] = {SMALL, LARGE};
	size_t old = sizes[_i / 2], new = sizes[_i % 2];
	uint64_t f = filled("f", 'o', old);

	ck_assert_int_eq(adopt(f, nameless(ROOT, 'n', new), FS_F_APPEND), 0);
	ck_assert_uint_eq(k.res.value, old);
	ck_assert_uint_eq(k.res.attr.size, old + new);
	assert_bytes(f, 0, 'o', old);
	assert_bytes(f, old, 'n', new);
	ck_assert_int_eq(adopt(f, nameless(ROOT, 'm', new), FS_F_APPEND | FS_F_TRUNC), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_uint_eq(k.res.attr.size, new);
}
END_TEST

START_TEST(test_ranges_go_to_the_same_place)
{
	const struct fs_range ranges[] = {
	        {5, 10}, {15, 5}, {STORE_CHUNK_BYTES - 1, 2}, {40000, 20000}};
	uint64_t f = filled("f", 'o', 50000), ino2 = nameless(ROOT, 'n', 70000);

	ck_assert_int_eq(adopt_ranges(f, ino2, 0, ranges, 4), 0);
	ck_assert_uint_eq(k.res.attr.size, 60000);
	assert_bytes(f, 0, 'o', 5);
	assert_bytes(f, 5, 'n', 15);
	assert_bytes(f, 20, 'o', STORE_CHUNK_BYTES - 21);
	assert_bytes(f, STORE_CHUNK_BYTES - 1, 'n', 2);
	assert_bytes(f, STORE_CHUNK_BYTES + 1, 'o', 40000 - STORE_CHUNK_BYTES - 1);
	assert_bytes(f, 40000, 'n', 20000);
	ck_assert_int_eq(kit_getattr(&k, ino2), -ESTALE);
}
END_TEST

START_TEST(test_as_much_as_may_be_copied_is_copied)
{
	static const uint64_t at = 3 * (FS_COPY_BYTES_MAX / 2);
	uint64_t f = filled("f", 'o', SMALL), ino2 = nameless(ROOT, 'n', SMALL);

	ck_assert_int_eq(kit_resize(&k, ino2, FS_ADOPT_BYTES_MAX), 0);
	ck_assert_int_eq(kit_write(&k, ino2, at, "middle", 6), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	ck_assert_uint_eq(k.res.attr.size, SMALL + FS_ADOPT_BYTES_MAX);
	ck_assert_int_eq(kit_pread(&k, f, SMALL + at, 6), 0);
	ck_assert(kit_data_is(&k, "middle"));
	ck_assert_uint_lt(kit_attr(&k, f).blocks, 100); /* holes stay holes */
}
END_TEST

/* ---- refused ---- */

static uint64_t f, ino2;

static void make_both(void)
{
	f = filled("f", 'o', SMALL);
	ino2 = nameless(ROOT, 'n', LARGE);
}

/* An outcome other than 0 must leave both as they were. */
#define ck_refused(call, code)                                                                     \
	do {                                                                                       \
		uint64_t f_was = kit_attr(&k, f).version, was = kit_attr(&k, ino2).version;        \
		ck_assert_int_eq((call), (code));                                                  \
		ck_assert_uint_eq(kit_attr(&k, f).version, f_was);                                 \
		ck_assert_uint_eq(kit_attr(&k, ino2).version, was);                                \
		kit_verify(&k);                                                                    \
	} while (0)

START_TEST(test_only_the_session_that_made_it_may_give_it)
{
	uint64_t named, gone;

	make_both();
	named = filled("g", 'x', SMALL);
	gone = nameless(ROOT, 'x', SMALL);
	ck_refused(adopt(f, 99, FS_F_TRUNC), -ESTALE);
	ck_refused(adopt(f, named, FS_F_TRUNC), -ESTALE);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_RELEASE, .ino = gone}), 0);
	ck_refused(adopt(f, gone, FS_F_TRUNC), -ESTALE); /* lingers */
	k.session = 0;
	ck_refused(adopt(f, ino2, FS_F_TRUNC), -ESTALE);
	kit_open_session(&k);
	ck_refused(adopt(f, ino2, FS_F_TRUNC), -ESTALE);
}
END_TEST

START_TEST(test_both_must_be_regular_files)
{
	uint64_t fifo;

	make_both();
	ck_refused(adopt(ino2, ino2, FS_F_TRUNC), -EINVAL);
	ck_refused(adopt(99, ino2, FS_F_TRUNC), -ESTALE);
	ck_refused(adopt(ROOT, ino2, FS_F_TRUNC), -EISDIR);
	ck_assert_int_eq(kit_mknod(&k, ROOT, "fifo", S_IFIFO | 0644), 0);
	fifo = k.res.attr.ino;
	ck_refused(adopt(fifo, ino2, FS_F_TRUNC), -EINVAL);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_UNLINK,
	                                            .parent = ROOT,
	                                            .name = kit_str("fifo"),
	                                            .keep_ino = fifo}),
	                 0);
	ck_refused(adopt(f, fifo, FS_F_TRUNC), -EINVAL);
}
END_TEST

START_TEST(test_ranges_must_make_sense)
{
	static const struct fs_range wrong[][2] = {
	        {{0, 0}, {1, 1}},          {{1, 1}, {2, 0}},          {{5, 5}, {9, 5}},
	        {{5, 5}, {0, 5}},          {{0, 1}, {LARGE, 1}},      {{0, 1}, {1, LARGE}},
	        {{0, 1}, {UINT64_MAX, 2}}, {{0, 1}, {2, UINT64_MAX}}, {{0, 1}, {2, UINT64_MAX - 1}},
	};
	static struct fs_range many[FS_RANGES_MAX + 1];
	uint64_t empty;

	make_both();
	empty = kit_file(&k, ROOT, "empty");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_refused(adopt_ranges(f, ino2, 0, wrong[i], 2), -EINVAL);
		ck_refused(adopt_ranges(f, ino2, FS_F_TRUNC, wrong[i], 2), -EINVAL);
		ck_refused(adopt_ranges(empty, ino2, 0, wrong[i], 2), -EINVAL);
	}
	for (size_t i = 0; i <= FS_RANGES_MAX; i++)
		many[i] = (struct fs_range){2 * i, 1};
	ck_refused(adopt_ranges(f, ino2, 0, many, FS_RANGES_MAX + 1), -EINVAL);
	for (uint32_t len = 1; len < FS_RANGE_BYTES; len++)
		ck_refused(kit_do(&k, &(struct fs_op){.kind = FS_OP_ADOPT,
		                                      .ino = f,
		                                      .ino2 = ino2,
		                                      .data = many + 1,
		                                      .data_len = 16 + len}),
		           -EINVAL);
	ck_assert_int_eq(adopt_ranges(f, ino2, 0, many, FS_RANGES_MAX), 0);
}
END_TEST

START_TEST(test_what_is_copied_and_what_comes_of_it_have_limits)
{
	const struct fs_range two[] = {{0, FS_ADOPT_BYTES_MAX}, {FS_ADOPT_BYTES_MAX + 5, 1}};

	make_both();
	ck_assert_int_eq(kit_resize(&k, ino2, FS_ADOPT_BYTES_MAX + 100), 0);
	ck_refused(adopt(f, ino2, FS_F_APPEND), -EFBIG);
	ck_refused(adopt_ranges(f, ino2, 0, two, 2), -EFBIG);
	ck_assert_int_eq(kit_resize(&k, ino2, SMALL), 0);
	ck_assert_int_eq(kit_resize(&k, f, FS_FILE_BYTES_MAX - SMALL + 1), 0);
	ck_refused(adopt(f, ino2, FS_F_APPEND), -EFBIG);
	ck_assert_int_eq(kit_resize(&k, f, FS_FILE_BYTES_MAX - SMALL), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	ck_assert_int_eq(kit_resize(&k, f, 1), 0);
	ino2 = nameless(ROOT, 'n', SMALL);
	ck_assert_int_eq(kit_resize(&k, ino2, FS_FILE_BYTES_MAX), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0); /* nothing is copied */
}
END_TEST

START_TEST(test_a_fenced_adoption_needs_the_lock)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .flags = FS_F_TRUNC | FS_F_FENCED};

	make_both();
	op.ino = f;
	op.ino2 = ino2;
	op.lock_owner = 7;
	ck_refused(kit_do(&k, &op), -ESTALE);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_LOCK, .ino = f, .lock_owner = 7}),
	                 0);
	op.lock_token = k.res.value;
	ck_assert_int_eq(kit_do(&k, &op), 0);
}
END_TEST

static int limit(const char *path, uint64_t bytes)
{
	return kit_do(
	        &k, &(struct fs_op){.kind = FS_OP_QUOTA_SET, .name = kit_str(path), .size = bytes});
}

START_TEST(test_what_leaves_its_account_makes_room)
{
	f = filled("f", 'o', 400);
	ino2 = nameless(ROOT, 'n', 500);
	ck_assert_int_eq(limit("/", 900), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0); /* 400 + 500, as before */
	ino2 = nameless(ROOT, 'n', 0);
	ck_assert_int_eq(limit("/", 1000), 0);
	ck_assert_int_eq(kit_resize(&k, ino2, 100), 0);
	ck_assert_int_eq(limit("/", 800), 0); /* less than there is */
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	ck_assert_uint_eq(k.res.attr.size, 1000);
}
END_TEST

START_TEST(test_growth_counts_where_the_file_is)
{
	uint64_t dir = kit_mkdir(&k, ROOT, "tree");

	f = kit_file(&k, dir, "f");
	fill(f, 'o', 400);
	ck_assert_int_eq(limit("tree", 600), 0);
	ino2 = nameless(ROOT, 'n', 700);
	ck_refused(adopt(f, ino2, FS_F_TRUNC), -EDQUOT);
	ck_assert_int_eq(kit_resize(&k, ino2, 600), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0);
	ck_assert_int_eq(limit("tree", 1200), 0);
	ino2 = nameless(dir, 'n', 600); /* in the tree itself */
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	ino2 = nameless(ROOT, 'n', 1);
	ck_refused(adopt(f, ino2, FS_F_APPEND), -EDQUOT);
	ck_refused(kit_resize(&k, f, 1201), -EDQUOT); /* as a write would be */
}
END_TEST

START_TEST(test_a_growing_hole_counts_as_a_write_would)
{
	make_both();
	ck_assert_int_eq(limit("/", SMALL + LARGE), 0);
	ck_assert_int_eq(kit_resize(&k, f, SMALL - 1), 0);
	ck_assert_int_eq(adopt_ranges(f, ino2, 0, (const struct fs_range[]){{LARGE - 1, 1}}, 1), 0);
	ck_assert_uint_eq(k.res.attr.size, LARGE);
}
END_TEST

/* ---- the rest ---- */

START_TEST(test_privileges_go_as_with_a_write)
{
	make_both();
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SETATTR,
	                                            .ino = f,
	                                            .valid = FS_SET_MODE,
	                                            .mode = 06755}),
	                 0);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SETXATTR,
	                                            .ino = f,
	                                            .name = kit_str("security.capability"),
	                                            .data = "c",
	                                            .data_len = 1}),
	                 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC | FS_F_KILL_SUID), 0);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0755);
	ck_assert_int_eq(kit_read(&k, &(struct fs_op){.kind = FS_OP_LISTXATTR, .ino = f}), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
}
END_TEST

START_TEST(test_it_was_written_when_the_mount_says)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .flags = FS_F_TRUNC | FS_F_WRITTEN_BEFORE};

	make_both();
	op.ino = f;
	op.ino2 = ino2;
	k.time_ns += 1000000;
	op.mtime_ns = (int64_t)k.time_ns - 500;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_int_eq(k.res.attr.mtime_ns, op.mtime_ns);
}
END_TEST

START_TEST(test_a_repeated_adoption_gets_the_first_answer)
{
	make_both();
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	k.seq--;
	ck_assert_int_eq(adopt(f, ino2, FS_F_APPEND), 0);
	ck_assert_uint_eq(k.res.value, SMALL);
	ck_assert_uint_eq(kit_attr(&k, f).size, SMALL + LARGE);
}
END_TEST

/* ---- what store_verify() must find ---- */

/* So that the digest is right and the sense is wrong. */
static void put_content(uint64_t ino, uint64_t content)
{
	struct store_inode n;

	ck_assert_int_eq(store_inode_load(k.s, ino, -ENOENT, &n), 0);
	n.content = content;
	ck_assert_int_eq(store_inode_save(k.s, &n), 0);
}

/* Files that are one hole, so that no chunk and no number of blocks gives it away. */
START_TEST(test_verify_finds_contents_that_are_not_one_files)
{
	static const char *const found[] = {"is another inode's, too", "nobody left it",
	                                    "nobody left it",          "nobody left it",
	                                    "no file has them",        "no file has them"};
	struct record_key nobodys = record_key_chunk(_i == 4 ? 99 : ROOT, 0);
	uint64_t g = kit_file(&k, ROOT, "g");

	make_both();
	ck_assert_int_eq(kit_resize(&k, ino2, 0), 0);
	ck_assert_int_eq(kit_resize(&k, ino2, LARGE), 0);
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0);
	ck_assert_int_eq(kit_resize(&k, g, LARGE), 0);
	kit_verify(&k);
	switch (_i) {
	case 0: put_content(g, ino2); break;
	case 1: put_content(f, ROOT); break;
	case 2: put_content(f, k.s->m.next_ino); break;
	case 3: put_content(f, UINT64_MAX); break;
	default:
		ck_assert_int_eq(store_state_put(k.s, &nobodys,
		                                 (struct engine_bytes){(const uint8_t *)"x", 1}, 0,
		                                 NULL),
		                 0);
	}
	ck_assert_int_eq(store_verify(k.s, &k.err), RFS_ECORRUPT);
	ck_assert_msg(strstr(k.err.msg, found[_i]) != NULL, "%s", k.err.msg);
	store_close(k.s);
	setup(); /* for teardown() */
}
END_TEST

START_TEST(test_verify_finds_what_is_said_of_no_inode)
{
	struct record_key key;

	make_both();
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0);
	key = record_key_orphan(k.session, ino2); /* whose number is a content's, no more */
	ck_assert_int_eq(store_state_put(k.s, &key, (struct engine_bytes){0}, 0, NULL), 0);
	ck_assert_int_eq(store_verify(k.s, &k.err), RFS_ECORRUPT);
	store_close(k.s);
	setup();
}
END_TEST

START_TEST(test_verify_finds_what_is_left_of_a_content)
{
	make_both();
	ck_assert_int_eq(adopt(f, ino2, FS_F_TRUNC), 0);
	put_content(f, f);
	ck_assert_int_eq(store_verify(k.s, &k.err), RFS_ECORRUPT);
	store_close(k.s);
	setup();
}
END_TEST

START_TEST(test_record_names_a_content_only_where_it_differs)
{
	struct record_inode n = {.attr = {.ino = 5, .mode = S_IFREG | 0644, .size = LARGE},
	                         .content = 7};
	struct buf b = {0};

	record_put_inode(&b, &n);
	ck_assert_uint_eq(b.len, RECORD_INODE_HEAD + 8);
	ck_assert_ptr_null(record_get_inode((struct engine_bytes){b.data, b.len}, 5, &n));
	ck_assert_uint_eq(n.content, 7);
	for (size_t len = RECORD_INODE_HEAD + 1; len < b.len; len++)
		ck_assert_ptr_nonnull(record_get_inode((struct engine_bytes){b.data, len}, 5, &n));
	for (uint64_t wrong = 0; wrong <= 5; wrong += 5) {
		put_le64(b.data + RECORD_INODE_HEAD, wrong);
		ck_assert_ptr_nonnull(
		        record_get_inode((struct engine_bytes){b.data, b.len}, 5, &n));
	}
	ck_assert_ptr_null(
	        record_get_inode((struct engine_bytes){b.data, RECORD_INODE_HEAD}, 5, &n));
	ck_assert_uint_eq(n.content, 5);
	buf_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store adopt");
	TCase *tc = tcase_create("adopt");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_the_bytes_take_the_place_of_all_there_was, 0, 9);
	tcase_add_test(tc, test_an_empty_file_takes_all_whatever_was_asked);
	tcase_add_test(tc, test_the_content_stays_where_it_is);
	tcase_add_loop_test(tc, test_appended_bytes_go_behind_what_is_there, 0, 4);
	tcase_add_test(tc, test_ranges_go_to_the_same_place);
	tcase_add_test(tc, test_as_much_as_may_be_copied_is_copied);
	tcase_add_test(tc, test_only_the_session_that_made_it_may_give_it);
	tcase_add_test(tc, test_both_must_be_regular_files);
	tcase_add_test(tc, test_ranges_must_make_sense);
	tcase_add_test(tc, test_what_is_copied_and_what_comes_of_it_have_limits);
	tcase_add_test(tc, test_a_fenced_adoption_needs_the_lock);
	tcase_add_test(tc, test_what_leaves_its_account_makes_room);
	tcase_add_test(tc, test_growth_counts_where_the_file_is);
	tcase_add_test(tc, test_a_growing_hole_counts_as_a_write_would);
	tcase_add_test(tc, test_privileges_go_as_with_a_write);
	tcase_add_test(tc, test_it_was_written_when_the_mount_says);
	tcase_add_test(tc, test_a_repeated_adoption_gets_the_first_answer);
	tcase_add_loop_test(tc, test_verify_finds_contents_that_are_not_one_files, 0, 6);
	tcase_add_test(tc, test_verify_finds_what_is_said_of_no_inode);
	tcase_add_test(tc, test_verify_finds_what_is_left_of_a_content);
	tcase_add_test(tc, test_record_names_a_content_only_where_it_differs);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

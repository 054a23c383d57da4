/* Contents that are nobody's any more: what commands free of them, how much, and what is left of it in the records. */
#include "store_kit.h"
#include "../../src/base/txn.h"
#include "../../src/store/snapshot.h"

#define ROOT    FS_ROOT_INO
#define CHUNKS  12u /* of a large file, each with bytes */
#define LARGE   (CHUNKS * STORE_CHUNK_BYTES - 100)
#define MAX     4u /* freed by one command; the usual is 256 */
#define AT_ONCE 2u

static struct kit k;

static void lower_limits(struct store *s)
{
	s->freed_max = MAX;
	s->freed_at_once = AT_ONCE;
}

static void setup(void)
{
	k = (struct kit){.time_ns = 1000};
	kit_open_opts(&k, &(struct store_opts){.memory = true});
	lower_limits(k.s);
	kit_raise(&k);
	kit_open_session(&k);
}

static void teardown(void)
{
	kit_close(&k);
}

/* ---- what the records say ---- */

static unsigned count(enum record_kind kind)
{
	struct record_key prefix = record_prefix(kind);
	struct store_walk w;
	unsigned n = 0;

	store_walk_open(k.s, &w, &prefix, NULL);
	while (store_walk_next(k.s, &w) > 0)
		n++;
	store_walk_close(k.s, &w);
	return n;
}

static uint64_t freed(void)
{
	struct store_freeing f;

	store_get_freeing(k.s, &f);
	ck_assert_uint_le(f.chunks_most, MAX);
	return f.chunks;
}

static uint64_t content_of(uint64_t ino)
{
	struct store_inode n;

	ck_assert_int_eq(store_inode_load(k.s, ino, -ENOENT, &n), 0);
	return n.content;
}

static uint64_t bytes(void)
{
	struct store_counts c;

	store_get_counts(k.s, &c);
	return c.bytes;
}

/* ---- files ---- */

static void fill(uint64_t ino, char with, size_t n)
{
	static char data[FS_WRITE_BYTES_MAX];

	memset(data, with, n);
	ck_assert_int_eq(kit_write(&k, ino, 0, data, n), 0);
}

static uint64_t filled(const char *name, char with, size_t n)
{
	uint64_t ino = kit_file(&k, ROOT, name);

	fill(ino, with, n);
	return ino;
}

static void assert_bytes(uint64_t ino, uint64_t at, char with, size_t n)
{
	ck_assert_int_eq(kit_pread(&k, ino, at, n), 0);
	ck_assert_uint_eq(k.res.data_len, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(((const char *)k.res.data)[i], with);
}

/* Something that has nothing to do with it. */
static void other_command(void)
{
	ck_assert_int_eq(kit_put(&k, "other", "x"), 0);
}

static void trim(uint64_t age_ms)
{
	const struct fs_op op = {.kind = FS_OP_TRIM, .size = age_ms};

	k.time_ns += 1000;
	ck_assert_int_eq(kit_apply(&k, &(struct store_cmd){.time_ns = k.time_ns, .op = &op}), 0);
}

static void free_all(void)
{
	while (store_has_to_free(k.s, k.time_ns))
		trim(UINT64_MAX);
	ck_assert_uint_eq(count(RECORD_FREEING), 0);
	kit_verify(&k);
}

/* The ways in which a large file's bytes become nobody's. */
enum way {
	CUT_OFF,
	MADE_SMALL,
	WRITTEN_OVER,
	PUT_OVER,
	REPLACED,
	REMOVED,
	SESSION_OVER,
	WAYS,
};

static void replace(uint64_t f)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .ino = f, .flags = FS_F_TRUNC};

	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                            .parent = ROOT,
	                                            .mode = S_IFREG | 0600,
	                                            .flags = FS_F_TMPFILE}),
	                 0);
	op.ino2 = k.res.attr.ino;
	fill(op.ino2, 'n', AT_ONCE * STORE_CHUNK_BYTES);
	ck_assert_int_eq(kit_do(&k, &op), 0);
}

static void let_go(uint64_t f, enum way way)
{
	switch (way) {
	case CUT_OFF: ck_assert_int_eq(kit_resize(&k, f, 0), 0); break;
	case MADE_SMALL: ck_assert_int_eq(kit_resize(&k, f, STORE_INLINE_BYTES), 0); break;
	case WRITTEN_OVER:
		ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE,
		                                            .ino = f,
		                                            .flags = FS_F_TRUNC,
		                                            .data = "new",
		                                            .data_len = 3}),
		                 0);
		break;
	case PUT_OVER: ck_assert_int_eq(kit_put(&k, "f", "new"), 0); break;
	case REPLACED: replace(f); break;
	case REMOVED:
		ck_assert_int_eq(kit_unlink(&k, ROOT, "f"), 0);
		trim(0);
		break;
	case SESSION_OVER:
		ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_UNLINK,
		                                            .parent = ROOT,
		                                            .name = kit_str("f"),
		                                            .keep_ino = f}),
		                 0);
		ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_CLOSE}), 0);
		kit_open_session(&k);
		trim(0);
		break;
	case WAYS: break;
	}
}

START_TEST(test_a_large_content_waits_and_goes_bit_by_bit)
{
	uint64_t f = filled("f", 'o', LARGE), before = bytes(), was;

	let_go(f, (enum way)_i);
	ck_assert_uint_lt(bytes(), before - LARGE / 2); /* counted no longer */
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
	kit_verify(&k);
	was = freed();
	ck_assert_uint_le(was, MAX);
	other_command();
	ck_assert_uint_eq(freed() - was, MAX);
	kit_verify(&k);
	free_all();
	ck_assert_uint_eq(freed(), CHUNKS);
	ck_assert_uint_eq(count(RECORD_CHUNK), _i == REPLACED ? AT_ONCE : 0);
}
END_TEST

START_TEST(test_a_small_content_goes_at_once)
{
	uint64_t f = filled("f", 'o', AT_ONCE * STORE_CHUNK_BYTES);

	let_go(f, (enum way)_i);
	ck_assert_uint_eq(count(RECORD_FREEING), 0);
	ck_assert_uint_eq(freed(), AT_ONCE);
	ck_assert_uint_eq(count(RECORD_CHUNK), _i == REPLACED ? AT_ONCE : 0);
}
END_TEST

/* However long it is. */
START_TEST(test_a_hole_goes_at_once)
{
	uint64_t f = kit_file(&k, ROOT, "f");

	ck_assert_int_eq(kit_resize(&k, f, FS_FILE_BYTES_MAX), 0);
	ck_assert_int_eq(kit_write(&k, f, FS_FILE_BYTES_MAX - STORE_CHUNK_BYTES, "x", 1), 0);
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 0);
	ck_assert_uint_eq(count(RECORD_CHUNK), 0);
}
END_TEST

START_TEST(test_a_file_goes_on_under_another_number)
{
	uint64_t f = filled("f", 'o', LARGE);
	uint64_t second;

	ck_assert_int_eq(kit_resize(&k, f, 10), 0);
	assert_bytes(f, 0, 'o', 10);
	ck_assert_int_eq(kit_resize(&k, f, LARGE), 0);
	second = content_of(f);
	ck_assert_uint_gt(second, f);
	assert_bytes(f, 0, 'o', 10);
	assert_bytes(f, 10, 0, STORE_CHUNK_BYTES); /* what was cut off does not come back */
	fill(f, 'n', LARGE);
	kit_verify(&k);
	free_all();
	assert_bytes(f, 0, 'n', LARGE);
	ck_assert_uint_eq(kit_attr(&k, f).blocks, CHUNKS * 32);
	/* once its own number is free it goes back to it */
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	fill(f, 'm', LARGE);
	ck_assert_uint_eq(content_of(f), f);
	kit_verify(&k);
	free_all();
	assert_bytes(f, 0, 'm', LARGE);
}
END_TEST

START_TEST(test_in_one_command_it_is_cut_off_and_large_again)
{
	static char data[STORE_CHUNK_BYTES];
	uint64_t f = filled("f", 'o', LARGE);

	memset(data, 'n', sizeof(data));
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE,
		                                            .ino = f,
		                                            .flags = FS_F_TRUNC,
		                                            .offset = 8000,
		                                            .data = data,
		                                            .data_len = sizeof(data)}),
		                 0);
		assert_bytes(f, 0, 0, 8000);
		assert_bytes(f, 8000, 'n', sizeof(data));
		kit_verify(&k);
		fill(f, 'o', LARGE);
	}
	free_all();
	assert_bytes(f, 0, 'o', LARGE);
}
END_TEST

/* ---- cutting off a part ---- */

START_TEST(test_where_little_stays_that_is_copied)
{
	static const uint64_t sizes[] = {STORE_INLINE_BYTES + 1, STORE_CHUNK_BYTES,
	                                 STORE_CHUNK_BYTES + 1, MAX * STORE_CHUNK_BYTES};
	uint64_t f = filled("f", 'o', LARGE), size = sizes[_i];

	ck_assert_int_eq(kit_resize(&k, f, size), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
	ck_assert_uint_eq(freed(), 0);
	kit_verify(&k);
	ck_assert_int_eq(kit_resize(&k, f, LARGE), 0);
	assert_bytes(f, 0, 'o', (size_t)size);
	assert_bytes(f, size, 0, (size_t)(LARGE - size));
	free_all();
	assert_bytes(f, 0, 'o', (size_t)size);
}
END_TEST

START_TEST(test_where_little_goes_it_goes_at_once)
{
	uint64_t f = filled("f", 'o', LARGE);

	ck_assert_int_eq(kit_resize(&k, f, LARGE - AT_ONCE * STORE_CHUNK_BYTES), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 0);
	ck_assert_uint_eq(count(RECORD_CHUNK), CHUNKS - AT_ONCE);
}
END_TEST

/* ---- where much stays, the rest waits behind its end ---- */

#define STAYS (MAX + 1)
#define CUT   (STAYS * STORE_CHUNK_BYTES - 1000)

static uint64_t cut_file(const char *name)
{
	uint64_t f = filled(name, 'o', LARGE);

	ck_assert_int_eq(kit_resize(&k, f, CUT), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
	ck_assert_uint_eq(content_of(f), f);
	kit_verify(&k);
	return f;
}

static int seek(uint64_t f, uint64_t offset, uint32_t flags)
{
	return kit_read(
	        &k,
	        &(struct fs_op){.kind = FS_OP_SEEK, .ino = f, .offset = offset, .flags = flags});
}

START_TEST(test_what_waits_behind_the_end_is_not_seen_and_goes)
{
	uint64_t f = cut_file("f");

	ck_assert_uint_eq(bytes(), CUT);
	assert_bytes(f, 0, 'o', CUT);
	ck_assert_int_eq(kit_pread(&k, f, 0, LARGE), 0);
	ck_assert_uint_eq(k.res.data_len, CUT);
	ck_assert_uint_eq(kit_attr(&k, f).blocks, CHUNKS * 32 - 1); /* as long as it is there */
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE,
	                                            .ino = f,
	                                            .mode = FS_FALLOC_PUNCH,
	                                            .offset = 3 * STORE_CHUNK_BYTES,
	                                            .size = LARGE}),
	                 0);
	ck_assert_int_eq(seek(f, 3 * STORE_CHUNK_BYTES, 0), -ENXIO);
	ck_assert_int_eq(seek(f, 0, FS_F_HOLE), 0);
	ck_assert_uint_eq(k.res.value, 3 * STORE_CHUNK_BYTES);
	kit_verify(&k);
	free_all();
	ck_assert_uint_eq(kit_attr(&k, f).blocks, 3 * 32);
	ck_assert_uint_eq(count(RECORD_CHUNK), 3);
}
END_TEST

START_TEST(test_it_does_not_come_back_when_the_file_grows)
{
	uint64_t f = cut_file("f"), sizes[] = {CUT + 1, CUT + STORE_CHUNK_BYTES, LARGE, 2 * LARGE};

	if (_i % 2 == 0)
		other_command();
	ck_assert_int_eq(_i < 4 ? kit_resize(&k, f, sizes[_i / 2])
	                        : kit_write(&k, f, sizes[_i / 2] - 1, "", 1),
	                 0);
	kit_verify(&k);
	assert_bytes(f, 0, 'o', CUT);
	assert_bytes(f, CUT, 0, (size_t)sizes[_i / 2] - CUT);
	fill(f, 'n', LARGE);
	kit_verify(&k);
	k.s->freed_most = 0; /* what it grew over went at once */
	free_all();
	assert_bytes(f, 0, 'n', LARGE);
}
END_TEST

START_TEST(test_it_is_cut_again)
{
	uint64_t f = filled("f", 'o', LARGE);

	k.s->freed_max = 1;
	ck_assert_int_eq(kit_resize(&k, f, 8 * STORE_CHUNK_BYTES), 0);
	ck_assert_int_eq(kit_resize(&k, f, 5 * STORE_CHUNK_BYTES + 1), 0);
	ck_assert_int_eq(kit_resize(&k, f, 2 * STORE_CHUNK_BYTES), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
	kit_verify(&k);
	assert_bytes(f, 0, 'o', 2 * STORE_CHUNK_BYTES);
	free_all();
	ck_assert_uint_eq(count(RECORD_CHUNK), 2);
	ck_assert_uint_eq(kit_attr(&k, f).blocks, 64);
}
END_TEST

START_TEST(test_it_waits_with_the_rest_when_that_goes)
{
	uint64_t f = cut_file("f");

	let_go(f, (enum way)_i);
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
	kit_verify(&k);
	free_all();
	ck_assert_uint_eq(count(RECORD_CHUNK), _i == REPLACED ? AT_ONCE : 0);
}
END_TEST

START_TEST(test_it_goes_with_the_content_to_another_file)
{
	struct fs_op op = {.kind = FS_OP_ADOPT, .flags = FS_F_TRUNC};

	op.ino = cut_file("f");
	free_all();
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                            .parent = ROOT,
	                                            .mode = S_IFREG | 0600,
	                                            .flags = FS_F_TMPFILE}),
	                 0);
	op.ino2 = k.res.attr.ino;
	fill(op.ino2, 'n', LARGE);
	ck_assert_int_eq(kit_resize(&k, op.ino2, CUT), 0);
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_uint_eq(content_of(op.ino), op.ino2);
	kit_verify(&k);
	free_all();
	assert_bytes(op.ino, 0, 'n', CUT);
	ck_assert_uint_eq(count(RECORD_CHUNK), STAYS);
}
END_TEST

/* ---- holes ---- */

static int fallocate(uint64_t ino, enum fs_falloc mode, uint64_t offset, uint64_t size)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE,
	                                  .ino = ino,
	                                  .mode = mode,
	                                  .offset = offset,
	                                  .size = size});
}

START_TEST(test_a_large_hole_is_made_in_several_steps)
{
	static const enum fs_falloc modes[] = {FS_FALLOC_PUNCH, FS_FALLOC_ZERO,
	                                       FS_FALLOC_ZERO_KEEP_SIZE};
	uint64_t f = filled("f", 'o', LARGE), at = 100, end = 10 * STORE_CHUNK_BYTES + 5;
	unsigned steps = 0;

	do {
		ck_assert_int_eq(fallocate(f, modes[_i], at, end - at), 0);
		kit_verify(&k);
		at = k.res.value;
		steps++;
	} while (at != 0);
	ck_assert_uint_eq(freed(), 9);
	ck_assert_uint_eq(steps, 3);
	assert_bytes(f, 0, 'o', 100);
	assert_bytes(f, 100, 0, (size_t)end - 100);
	assert_bytes(f, end, 'o', (size_t)(LARGE - end));
	ck_assert_uint_eq(kit_attr(&k, f).size, LARGE);
}
END_TEST

START_TEST(test_zeros_beyond_the_end_let_it_grow_at_the_first_step)
{
	uint64_t f = filled("f", 'o', LARGE);

	ck_assert_int_eq(fallocate(f, FS_FALLOC_ZERO, 0, 2 * LARGE), 0);
	ck_assert_uint_eq(k.res.value, MAX * STORE_CHUNK_BYTES);
	ck_assert_uint_eq(k.res.attr.size, 2 * LARGE);
	ck_assert_int_eq(fallocate(f, FS_FALLOC_PUNCH, 2 * LARGE, UINT64_MAX), 0);
	ck_assert_uint_eq(k.res.value, 0);
}
END_TEST

/* ---- how much ---- */

/* A transaction over files of which each could go at once. */
START_TEST(test_one_command_frees_no_more_than_it_may)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	struct buf steps = {0};

	for (size_t i = 0; i < 6; i++) {
		const struct fs_txn_step t = {
		        .kind = FS_TXN_SET, .key = kit_str(names[i]), .data = "new", .data_len = 3};

		(void)filled(names[i], 'o', AT_ONCE * STORE_CHUNK_BYTES);
		fs_txn_put(&steps, &t);
	}
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_TXN,
	                                            .data = steps.data,
	                                            .data_len = (uint32_t)steps.len}),
	                 0);
	ck_assert_uint_eq(freed(), MAX);
	ck_assert_uint_eq(count(RECORD_FREEING), 6 - MAX / AT_ONCE);
	kit_verify(&k);
	free_all();
	ck_assert_uint_eq(count(RECORD_CHUNK), 0);
	buf_free(&steps);
}
END_TEST

/* As many files as a command takes out of the queue of those that linger. */
START_TEST(test_so_do_many_files_that_go_together)
{
	char name[16];

	for (unsigned i = 0; i < STORE_LINGER_FREED_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		(void)filled(name, 'o', (i % 4 + 1) * STORE_CHUNK_BYTES);
		ck_assert_int_eq(kit_unlink(&k, ROOT, name), 0);
	}
	kit_linger_over(&k);
	ck_assert_uint_eq(store_lingering(k.s), 0);
	ck_assert_uint_le(freed(), MAX);
	kit_verify(&k);
	free_all();
	ck_assert_uint_eq(count(RECORD_CHUNK), 0);
}
END_TEST

/* What a write brings must not come faster than what is gone goes. */
START_TEST(test_who_brings_more_frees_more)
{
	static char data[FS_WRITE_BYTES_MAX];
	uint64_t f, g = kit_file(&k, ROOT, "g"), was;

	k.s->freed_max = STORE_FREED_MAX;
	memset(data, 'o', sizeof(data));
	f = filled("f", 'o', sizeof(data));
	for (unsigned i = 1; i < 8; i++)
		ck_assert_int_eq(kit_write(&k, f, (uint64_t)i * sizeof(data), data, sizeof(data)),
		                 0);
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	was = k.s->freed_total;
	other_command();
	ck_assert_uint_eq(k.s->freed_total - was, STORE_FREED_BESIDE);
	was = k.s->freed_total;
	ck_assert_int_eq(kit_write(&k, g, 0, data, sizeof(data)), 0);
	ck_assert_uint_gt(k.s->freed_total - was, sizeof(data) / STORE_CHUNK_BYTES);
	was = k.s->freed_total;
	trim(UINT64_MAX);
	ck_assert_uint_eq(k.s->freed_total - was, STORE_FREED_MAX);
	k.s->freed_most = 0;
	k.s->freed_max = MAX;
	free_all();
}
END_TEST

START_TEST(test_it_is_known_that_something_is_to_be_freed)
{
	uint64_t f = filled("f", 'o', LARGE);

	ck_assert(!store_has_to_free(k.s, k.time_ns));
	ck_assert_int_eq(kit_put(&k, "g", "x"), 0);
	ck_assert_int_eq(kit_unlink(&k, ROOT, "g"), 0);
	ck_assert(!store_has_to_free(k.s, k.time_ns));
	ck_assert(store_has_to_free(k.s, k.time_ns + STORE_LINGER_NS));
	ck_assert(store_has_to_free(k.s, UINT64_MAX));
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert(store_has_to_free(k.s, k.time_ns));
	free_all();
	ck_assert(!store_has_to_free(k.s, k.time_ns));
}
END_TEST

/* ---- every node frees the same ---- */

static void carry(struct store *from, struct store_engine *to)
{
	struct store_snapshot *sn;
	struct store_import *im;
	struct buf b = {0};
	int rc;

	ck_assert_int_eq(store_snapshot_open(from, 0, &sn, &k.err), 0);
	ck_assert_int_eq(store_import_begin(&im, "", &(struct store_opts){.engine = to}, &k.err),
	                 0);
	do {
		ck_assert_int_eq(store_snapshot_next(sn, &b, &k.err), 1);
		rc = store_import_chunk(im, b.data, b.len, &k.err);
	} while (rc == 0);
	ck_assert_msg(rc == 1, "%s", k.err.msg);
	ck_assert_int_eq(store_import_finish(im, &k.err), 0);
	store_snapshot_close(sn);
	buf_free(&b);
}

START_TEST(test_a_node_built_from_a_snapshot_in_between_does_the_same)
{
	struct store_engine *engine;
	uint64_t f = filled("f", 'o', LARGE), g = filled("g", 'o', LARGE);

	ck_assert_int_eq(kit_resize(&k, f, 10), 0);
	ck_assert_int_eq(kit_resize(&k, g, 0), 0);
	other_command();
	ck_assert_uint_eq(count(RECORD_FREEING), 2);
	kit_commit(&k);
	ck_assert_int_eq(engine_mem_open(&engine, &k.err), 0);
	carry(k.s, engine);
	ck_assert_int_eq(store_open(&k.twin, NULL, &(struct store_opts){.engine = engine}, &k.err),
	                 0);
	lower_limits(k.twin);
	ck_assert_uint_eq(store_contents_to_free(k.twin), 2);
	ck_assert_int_eq(store_verify(k.twin, &k.err), 0);
	fill(g, 'n', LARGE); /* under a number that both must choose */
	ck_assert_int_eq(kit_resize(&k, g, 0), 0);
	for (unsigned i = 0; i < CHUNKS; i++)
		other_command();
	free_all();
	ck_assert_uint_eq(store_contents_to_free(k.twin), 0);
	store_close(k.twin);
	k.twin = NULL;
	engine->vt->close(engine);
}
END_TEST

START_TEST(test_version_1_frees_at_once)
{
	uint64_t f;

	kit_close(&k);
	k = (struct kit){.time_ns = 1000};
	kit_open_opts(&k, &(struct store_opts){.memory = true});
	lower_limits(k.s);
	f = filled("f", 'o', LARGE);
	ck_assert_int_eq(kit_resize(&k, f, STORE_CHUNK_BYTES), 0);
	ck_assert_uint_eq(count(RECORD_CHUNK), 1);
	fill(f, 'o', LARGE);
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert_uint_eq(count(RECORD_CHUNK), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 0);
	kit_raise(&k);
	fill(f, 'o', LARGE);
	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert_uint_eq(count(RECORD_FREEING), 1);
}
END_TEST

/* ---- what store_verify() must find ---- */

static void put_record(struct record_key key, const void *p, size_t n)
{
	ck_assert_int_eq(store_state_put(k.s, &key, (struct engine_bytes){p, n}, 0, NULL), 0);
}

START_TEST(test_verify_finds_contents_that_are_not_nobodys)
{
	static const char *const found[] = {"its content is being freed",
	                                    "a content that memory does not know",
	                                    "a content that memory does not know",
	                                    "wrong length",
	                                    "chunks where they are said to be gone",
	                                    "no file has them",
	                                    "contents to be freed",
	                                    "beyond the size",
	                                    "is being freed",
	                                    "its content is being freed",
	                                    "its content is being freed",
	                                    "not of the file that it says"};
	static const uint8_t zero[RECORD_FREEING_BYTES];
	uint64_t g = filled("g", 'o', LARGE), cut = filled("c", 'o', LARGE),
	         f = filled("f", 'o', LARGE);

	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert_int_eq(kit_resize(&k, cut, CUT), 0);
	kit_verify(&k);
	switch (_i) {
	case 0: ck_assert_int_eq(store_content_free(k.s, g, CHUNKS), 0); break;
	case 1: put_record(record_key_freeing(99), zero, sizeof(zero)); break;
	case 2: ck_assert_int_eq(store_content_free(k.s, k.s->m.next_ino, CHUNKS), 0); break;
	case 3: put_record(record_key_freeing(99), zero, sizeof(zero) - 1); break;
	case 4: put_record(record_key_chunk(f, 0), "x", 1); break;
	case 5: put_record(record_key_chunk(ROOT, 0), "x", 1); break;
	case 7: ck_assert_int_eq(store_content_cut(k.s, cut, cut, CHUNKS - 1), 0); break;
	case 8: ck_assert_int_eq(store_content_cut(k.s, cut, cut, STAYS - 1), 0); break;
	case 9: ck_assert_int_eq(store_content_give(k.s, cut, g), 0); break;
	case 10: ck_assert_int_eq(store_content_cut(k.s, g, f, CHUNKS), 0); break;
	case 11: ck_assert_int_eq(store_content_cut(k.s, k.s->m.next_ino++, g, CHUNKS), 0); break;
	default: {
		struct record_key key = record_key_freeing(f);
		struct engine_bytes v;

		/* and with it the chunks, so that none is left over */
		ck_assert_int_eq(store_state_get(k.s, &key, &v), 1);
		ck_assert_int_eq(
		        store_state_del(k.s, &key, store_weight(record_key_bytes(&key), v)), 0);
		for (uint64_t i = 0; i < CHUNKS; i++) {
			key = record_key_chunk(f, i);
			if (store_state_get(k.s, &key, &v) > 0)
				ck_assert_int_eq(
				        store_state_del(k.s, &key,
				                        store_weight(record_key_bytes(&key), v)),
				        0);
		}
	}
	}
	ck_assert_int_eq(store_verify(k.s, &k.err), RFS_ECORRUPT);
	ck_assert_msg(strstr(k.err.msg, found[_i]) != NULL, "%s", k.err.msg);
	store_close(k.s);
	setup(); /* for teardown() */
}
END_TEST

START_TEST(test_a_content_is_let_go_of_once)
{
	uint64_t f = filled("f", 'o', LARGE);

	ck_assert_int_eq(kit_resize(&k, f, 0), 0);
	ck_assert_int_eq(store_content_free(k.s, f, CHUNKS), STORE_FAILED);
	ck_assert_int_eq(k.s->fail.code, RFS_ECORRUPT);
	store_close(k.s);
	setup();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store freeing");
	TCase *tc = tcase_create("freeing");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_a_large_content_waits_and_goes_bit_by_bit, 0, WAYS);
	tcase_add_loop_test(tc, test_a_small_content_goes_at_once, 0, WAYS);
	tcase_add_test(tc, test_a_hole_goes_at_once);
	tcase_add_test(tc, test_a_file_goes_on_under_another_number);
	tcase_add_test(tc, test_in_one_command_it_is_cut_off_and_large_again);
	tcase_add_loop_test(tc, test_where_little_stays_that_is_copied, 0, 4);
	tcase_add_test(tc, test_where_little_goes_it_goes_at_once);
	tcase_add_test(tc, test_what_waits_behind_the_end_is_not_seen_and_goes);
	tcase_add_loop_test(tc, test_it_does_not_come_back_when_the_file_grows, 0, 8);
	tcase_add_test(tc, test_it_is_cut_again);
	tcase_add_loop_test(tc, test_it_waits_with_the_rest_when_that_goes, 0, WAYS);
	tcase_add_test(tc, test_it_goes_with_the_content_to_another_file);
	tcase_add_loop_test(tc, test_a_large_hole_is_made_in_several_steps, 0, 3);
	tcase_add_test(tc, test_zeros_beyond_the_end_let_it_grow_at_the_first_step);
	tcase_add_test(tc, test_one_command_frees_no_more_than_it_may);
	tcase_add_test(tc, test_so_do_many_files_that_go_together);
	tcase_add_test(tc, test_who_brings_more_frees_more);
	tcase_add_test(tc, test_it_is_known_that_something_is_to_be_freed);
	tcase_add_test(tc, test_a_node_built_from_a_snapshot_in_between_does_the_same);
	tcase_add_test(tc, test_version_1_frees_at_once);
	tcase_add_loop_test(tc, test_verify_finds_contents_that_are_not_nobodys, 0, 12);
	tcase_add_test(tc, test_a_content_is_let_go_of_once);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

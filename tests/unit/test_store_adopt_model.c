/* Random changes of files' bytes, ADOPT among them, against plain arrays: files with names, in a tree with a quota and
 * outside, open ones that have lost theirs, and the store opened anew every now and then. A command frees so few chunks
 * that contents are nearly always waiting for that; another node, which is never opened anew, must free the same. */
#include "../support/rng.h"
#include "store_kit.h"

#define M_FILES 4u
#define M_BYTES (5u * STORE_CHUNK_BYTES)
#define M_STEPS 600u

struct m_file {
	uint64_t ino, dir;
	bool named, ours; /* without a name: this session's, or it lingers */
	uint64_t size;
	uint8_t bytes[M_BYTES]; /* zeros behind the size */
};

static struct kit k;
static struct store_engine *engine; /* NULL: on disk */
static struct rng rng;
static struct m_file files[M_FILES], nameless;
static uint64_t tree;

/* Places where something changes, and any other. */
static uint64_t place(uint64_t max)
{
	static const uint64_t borders[] = {0,
	                                   1,
	                                   STORE_INLINE_BYTES,
	                                   STORE_INLINE_BYTES + 1,
	                                   STORE_CHUNK_BYTES - 1,
	                                   STORE_CHUNK_BYTES,
	                                   2 * STORE_CHUNK_BYTES};
	uint64_t v =
	        rng_below(&rng, 2) == 0 ? rng_below(&rng, max + 1) : borders[rng_below(&rng, 7)];

	return v < max ? v : max;
}

static void m_resize(struct m_file *f, uint64_t size)
{
	if (size < f->size)
		memset(f->bytes + size, 0, f->size - size);
	f->size = size;
}

static void m_put(struct m_file *f, uint64_t offset, const uint8_t *p, uint64_t len)
{
	memmove(f->bytes + offset, p, len);
	if (len > 0 && offset + len > f->size)
		f->size = offset + len;
}

static const char *m_name(const struct m_file *f)
{
	static const char *const names[M_FILES] = {"a", "b", "c", "d"};

	return names[f - files];
}

/* ---- steps ---- */

static void make_file(struct m_file *f)
{
	f->dir = f < files + M_FILES / 2 ? FS_ROOT_INO : tree;
	f->ino = kit_file(&k, f->dir, m_name(f));
	f->named = true;
	m_resize(f, 0);
}

static void step_write(struct m_file *f)
{
	static uint8_t data[2 * STORE_CHUNK_BYTES];
	uint64_t offset = place(M_BYTES), len = place(sizeof(data)), salt = rng_next(&rng);

	len = len < M_BYTES - offset ? len : M_BYTES - offset;
	for (uint64_t i = 0; i < len; i++) /* zeros, too: they are not stored */
		data[i] = (uint8_t)(salt % 4 == 0 || i % 700 > 500 ? 0 : salt + i);
	ck_assert_int_eq(kit_write(&k, f->ino, offset, data, len), 0);
	m_put(f, offset, data, len);
}

static void step_write_over(struct m_file *f)
{
	static uint8_t data[STORE_CHUNK_BYTES];
	uint64_t len = place(sizeof(data));

	memset(data, (int)rng_below(&rng, 256), len);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE,
	                                            .ino = f->ino,
	                                            .flags = FS_F_TRUNC,
	                                            .data = data,
	                                            .data_len = (uint32_t)len}),
	                 0);
	m_resize(f, 0);
	m_put(f, 0, data, len);
}

static void step_resize(struct m_file *f)
{
	uint64_t size = place(M_BYTES);

	ck_assert_int_eq(kit_resize(&k, f->ino, size), 0);
	m_resize(f, size);
}

static void step_punch(struct m_file *f)
{
	uint64_t offset = place(M_BYTES), end = offset + place(M_BYTES - offset);

	if (end == offset)
		return;
	memset(f->bytes + offset, 0, end - offset);
	do { /* as much as one command may */
		ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE,
		                                            .ino = f->ino,
		                                            .mode = FS_FALLOC_PUNCH,
		                                            .offset = offset,
		                                            .size = end - offset}),
		                 0);
		ck_assert(k.res.value == 0 || k.res.value > offset);
		offset = k.res.value;
	} while (offset != 0);
}

static void step_copy(struct m_file *f, struct m_file *from)
{
	uint64_t at = place(M_BYTES), offset = place(M_BYTES), len = place(M_BYTES - at);
	uint64_t left = offset < from->size ? from->size - offset : 0;

	if (f == from)
		return;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_COPY,
	                                            .ino2 = from->ino,
	                                            .offset2 = offset,
	                                            .ino = f->ino,
	                                            .offset = at,
	                                            .size = len}),
	                 0);
	m_put(f, at, from->bytes + offset, len < left ? len : left);
}

/* A name goes, or a file without one is followed by a new one. */
static void step_name(struct m_file *f)
{
	if (!f->named) {
		if (f->ours)
			ck_assert_int_eq(
			        kit_do(&k, &(struct fs_op){.kind = FS_OP_RELEASE, .ino = f->ino}),
			        0);
		make_file(f);
		return;
	}
	f->named = false;
	f->ours = rng_below(&rng, 2) == 0;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_UNLINK,
	                                            .parent = f->dir,
	                                            .name = kit_str(m_name(f)),
	                                            .keep_ino = f->ours ? f->ino : 0}),
	                 0);
}

/* What lingers goes, and what waits to be freed as far as one command may. */
static void step_trim(void)
{
	struct kit of_leader = k;

	of_leader.session = 0;
	ck_assert_int_eq(kit_do(&of_leader, &(struct fs_op){.kind = FS_OP_TRIM, .size = 0}), 0);
	k.pos = of_leader.pos;
	k.time_ns = of_leader.time_ns;
	for (struct m_file *f = files; f < files + M_FILES; f++)
		if (!f->named && !f->ours)
			make_file(f);
}

/* ---- ADOPT ---- */

static void fill_nameless(void)
{
	ck_assert_int_eq(
	        kit_do(&k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                   .parent = rng_below(&rng, 2) == 0 ? tree : FS_ROOT_INO,
	                                   .mode = S_IFREG | 0600,
	                                   .flags = FS_F_TMPFILE}),
	        0);
	nameless.ino = k.res.attr.ino;
	m_resize(&nameless, 0);
	for (uint64_t n = rng_below(&rng, 4); n > 0; n--)
		step_write(&nameless);
	if (rng_below(&rng, 4) == 0)
		step_resize(&nameless);
}

static void draw_ranges(struct buf *b)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < 5 && at < nameless.size; i++) {
		struct fs_range r = {.offset = at + place(nameless.size - at)};

		r.len = place(nameless.size - r.offset);
		at = r.offset + r.len;
		if (r.len > 0)
			fs_range_put(b, &r);
	}
}

static void m_adopt(struct m_file *f, uint32_t flags, const struct buf *ranges)
{
	struct reader r = reader_of(ranges->data, ranges->len);
	struct fs_range range;

	if ((flags & FS_F_TRUNC) != 0 || f->size == 0) {
		memcpy(f->bytes, nameless.bytes, M_BYTES);
		f->size = nameless.size;
	} else if ((flags & FS_F_APPEND) != 0) {
		m_put(f, f->size, nameless.bytes, nameless.size);
	} else {
		while (fs_range_next(&r, &range))
			m_put(f, range.offset, nameless.bytes + range.offset, range.len);
	}
}

static void step_adopt(struct m_file *f)
{
	static const uint32_t all[] = {0, FS_F_TRUNC, FS_F_APPEND, FS_F_TRUNC | FS_F_APPEND};
	struct fs_op op = {.kind = FS_OP_ADOPT, .ino = f->ino, .flags = all[rng_below(&rng, 4)]};
	struct buf ranges = {0};

	fill_nameless();
	if (f->size + nameless.size > M_BYTES && (op.flags & FS_F_APPEND) != 0)
		op.flags |= FS_F_TRUNC;
	if (op.flags == 0)
		draw_ranges(&ranges);
	op.ino2 = nameless.ino;
	op.data = ranges.data;
	op.data_len = (uint32_t)ranges.len;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_uint_eq(k.res.value, op.flags == FS_F_APPEND ? f->size : 0);
	m_adopt(f, op.flags, &ranges);
	ck_assert_uint_eq(k.res.attr.size, f->size);
	ck_assert_int_eq(kit_getattr(&k, nameless.ino), -ESTALE);
	buf_free(&ranges);
}

/* ---- the whole ---- */

static void lower_limits(struct store *s, unsigned seed)
{
	s->freed_max = 1 + seed % 3;
	s->freed_at_once = seed % 2;
	s->freed_beside = seed < 3 ? 0 : 1;
}

static void reopen(unsigned seed)
{
	kit_commit(&k);
	store_close(k.s);
	kit_open_opts(&k, &(struct store_opts){.engine = engine});
	lower_limits(k.s, seed);
}

static void check(struct m_file *f)
{
	ck_assert_uint_eq(kit_attr(&k, f->ino).size, f->size);
	ck_assert_int_eq(kit_pread(&k, f->ino, 0, M_BYTES), 0);
	ck_assert_uint_eq(k.res.data_len, f->size);
	if (f->size > 0)
		ck_assert_mem_eq(k.res.data, f->bytes, f->size);
}

static void step(unsigned seed)
{
	struct m_file *f = &files[rng_below(&rng, M_FILES)];

	switch (rng_below(&rng, 12)) {
	case 0:
	case 1: step_write(f); break;
	case 2: step_resize(f); break;
	case 3: step_punch(f); break;
	case 4: step_copy(f, &files[rng_below(&rng, M_FILES)]); break;
	case 5: step_name(f); break;
	case 6: reopen(seed); break;
	case 7: step_write_over(f); break;
	case 8: step_trim(); break;
	default: step_adopt(f); break;
	}
}

static void open_both(unsigned seed)
{
	kit_open_opts(&k, &(struct store_opts){.engine = engine});
	ck_assert_int_eq(store_open(&k.twin, NULL, &(struct store_opts){.memory = true}, &k.err),
	                 0);
	lower_limits(k.s, seed);
	lower_limits(k.twin, seed);
	kit_raise(&k);
}

/* Nothing is left over once there was time for it. */
static void check_all_is_freed(void)
{
	struct store_freeing f;

	for (unsigned i = 0; i < 200 && store_has_to_free(k.s, 0); i++)
		step_trim();
	store_get_freeing(k.s, &f);
	ck_assert_uint_eq(f.contents, 0);
	kit_verify(&k);
}

START_TEST(test_random_adoptions_follow_the_model)
{
	size_t waiting = 0;

	rng.s = (uint64_t)_i + 1;
	k = (struct kit){.time_ns = 1000};
	if (_i == 0) {
		kit_temp_dir(k.dir);
		engine = NULL;
	} else {
		ck_assert_int_eq(engine_mem_open(&engine, &k.err), 0);
	}
	open_both((unsigned)_i);
	tree = kit_mkdir(&k, FS_ROOT_INO, "tree");
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_QUOTA_SET,
	                                            .name = kit_str("tree"),
	                                            .size = FS_FILE_BYTES_MAX}),
	                 0);
	kit_open_session(&k);
	for (size_t i = 0; i < M_FILES; i++)
		make_file(&files[i]);
	for (unsigned i = 0; i < M_STEPS; i++) {
		step((unsigned)_i);
		kit_verify(&k);
		waiting += store_contents_to_free(k.s);
		for (size_t at = 0; at < M_FILES; at++)
			check(&files[at]);
	}
	ck_assert_uint_gt(waiting, M_STEPS / 10);
	check_all_is_freed();
	store_close(k.twin);
	kit_close(&k);
	if (engine != NULL)
		engine->vt->close(engine);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store adopt, model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_random_adoptions_follow_the_model, 0, 6);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

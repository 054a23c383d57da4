/* The bytes of files, across the border between small contents and chunks, against a plain
 * array. */
#include "store_kit.h"

#define MODEL_BYTES (6u * STORE_CHUNK_BYTES)

static struct kit k;
static uint8_t model[MODEL_BYTES];
static uint64_t model_size;

static void setup(void)
{
	kit_open_memory(&k);
	kit_raise(&k);
	memset(model, 0, sizeof(model));
	model_size = 0;
}

static void teardown(void)
{
	kit_close(&k);
}

static void model_write(uint64_t offset, const uint8_t *p, size_t n)
{
	memcpy(model + offset, p, n);
	if (offset + n > model_size)
		model_size = offset + n;
}

static void model_resize(uint64_t size)
{
	if (size < model_size)
		memset(model + size, 0, model_size - size);
	model_size = size;
}

static void check_file(uint64_t ino)
{
	ck_assert_uint_eq(kit_attr(&k, ino).size, model_size);
	ck_assert_int_eq(kit_pread(&k, ino, 0, FS_READ_BYTES_MAX), 0);
	ck_assert_uint_eq(k.res.data_len, model_size);
	if (model_size > 0)
		ck_assert_int_eq(memcmp(k.res.data, model, model_size), 0);
}

static uint64_t next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

/* Places where something changes: the borders of the small form and of chunks, and anything
 * between. */
static uint64_t interesting(uint64_t *seed, uint64_t max)
{
	static const uint64_t borders[] = {0,     1,     100,   4095,  4096, 4097,
	                                   16383, 16384, 16385, 32768, 50000};
	uint64_t r = next_random(seed);
	uint64_t v = r % 3 == 0 ? next_random(seed) % max
	                        : borders[r / 3 % (sizeof(borders) / sizeof(borders[0]))];

	return v < max ? v : max;
}

/* fallocate(2) in each of its modes. */
static void random_range(uint64_t ino, uint64_t *seed)
{
	enum fs_falloc mode = (enum fs_falloc)(next_random(seed) % (FS_FALLOC_ZERO_KEEP_SIZE + 1));
	uint64_t offset = interesting(seed, 3 * STORE_CHUNK_BYTES);
	uint64_t len = interesting(seed, 2 * STORE_CHUNK_BYTES) + 1, end = offset + len;

	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_FALLOCATE,
	                                            .ino = ino,
	                                            .mode = mode,
	                                            .offset = offset,
	                                            .size = len}),
	                 0);
	if ((mode == FS_FALLOC_EXTEND || mode == FS_FALLOC_ZERO) && end > model_size)
		model_size = end;
	if (mode == FS_FALLOC_PUNCH || mode == FS_FALLOC_ZERO || mode == FS_FALLOC_ZERO_KEEP_SIZE)
		memset(model + offset, 0, len);
}

/* What is copied within the file must not overlap. */
static void random_copy(uint64_t ino, uint64_t *seed)
{
	uint64_t from = interesting(seed, 2 * STORE_CHUNK_BYTES);
	uint64_t to = interesting(seed, 3 * STORE_CHUNK_BYTES);
	uint64_t apart = from < to ? to - from : from - to;
	uint64_t len = interesting(seed, 2 * STORE_CHUNK_BYTES);
	uint64_t left = from < model_size ? model_size - from : 0;

	len = len < apart ? len : apart;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_COPY,
	                                            .ino2 = ino,
	                                            .offset2 = from,
	                                            .ino = ino,
	                                            .offset = to,
	                                            .size = len}),
	                 0);
	len = len < left ? len : left;
	ck_assert_uint_eq(k.res.value, len);
	if (len > 0)
		model_write(to, model + from, len);
}

static void random_step(uint64_t ino, uint64_t *seed)
{
	static uint8_t data[2 * STORE_CHUNK_BYTES];
	uint64_t r = next_random(seed), offset = interesting(seed, 3 * STORE_CHUNK_BYTES);
	uint64_t len = interesting(seed, sizeof(data));

	if (r % 4 == 0) {
		ck_assert_int_eq(kit_resize(&k, ino, offset), 0);
		model_resize(offset);
		return;
	}
	if (r % 8 == 1) {
		random_range(ino, seed);
		return;
	}
	if (r % 8 == 2) {
		random_copy(ino, seed);
		return;
	}
	if (r % 8 < 4)
		len = len % 300;
	/* runs of zeros, too: they are not stored */
	for (uint64_t i = 0; i < len; i++)
		data[i] = (uint8_t)(r % 5 == 0 || i % 700 > 500 ? 0 : r + i);
	ck_assert_int_eq(kit_write(&k, ino, offset, data, len), 0);
	ck_assert_uint_eq(k.res.value, offset);
	if (len > 0)
		model_write(offset, data, len);
}

START_TEST(test_random_writes_and_truncations_read_back)
{
	uint64_t seed = (uint64_t)_i * 977 + 1, ino = kit_file(&k, FS_ROOT_INO, "f");

	for (int i = 0; i < 300; i++) {
		random_step(ino, &seed);
		check_file(ino);
		if (i % 7 == 0)
			kit_commit(&k);
		if (i % 50 == 0)
			kit_verify(&k);
	}
	kit_verify(&k);
}
END_TEST

START_TEST(test_read_is_short_only_at_the_end)
{
	static const uint8_t data[70000] = {[0] = 'a', [16383] = 'b', [16384] = 'c', [69999] = 'd'};
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");

	kit_write(&k, ino, 0, data, sizeof(data));
	ck_assert_int_eq(kit_pread(&k, ino, 16380, 10), 0);
	ck_assert_uint_eq(k.res.data_len, 10);
	ck_assert_mem_eq(k.res.data, data + 16380, 10);
	ck_assert_int_eq(kit_pread(&k, ino, 69999, 10), 0);
	ck_assert_uint_eq(k.res.data_len, 1);
	ck_assert_int_eq(kit_pread(&k, ino, 70000, 10), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
	ck_assert_int_eq(kit_pread(&k, ino, UINT64_MAX, UINT32_MAX), -EINVAL);
	ck_assert_int_eq(kit_pread(&k, ino, UINT64_MAX, FS_READ_BYTES_MAX), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
	ck_assert_int_eq(kit_pread(&k, 99, 0, 1), -ESTALE);
	ck_assert_int_eq(kit_pread(&k, FS_ROOT_INO, 0, 1), -EISDIR);
}
END_TEST

START_TEST(test_append_goes_to_the_end_as_it_is_at_apply)
{
	struct fs_op op = {.kind = FS_OP_WRITE,
	                   .flags = FS_F_APPEND,
	                   .offset = 99,
	                   .data = "xyz",
	                   .data_len = 3};

	op.ino = kit_file(&k, FS_ROOT_INO, "f");
	for (uint64_t i = 0; i < 4; i++) {
		ck_assert_int_eq(kit_do(&k, &op), 0);
		ck_assert_uint_eq(k.res.value, 3 * i);
		ck_assert_uint_eq(k.res.attr.size, 3 * (i + 1));
	}
	op.flags |= FS_F_TRUNC;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_int_eq(kit_get(&k, "f"), 0);
	ck_assert(kit_data_is(&k, "xyz"));
}
END_TEST

START_TEST(test_truncation_and_first_write_are_one_entry)
{
	static const uint8_t big[300000] = {1, 2, 3, [299999] = 9};
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");
	struct store_counts c;

	kit_write(&k, ino, 0, big, sizeof(big));
	ck_assert_uint_eq(k.res.attr.blocks, 1 + (300000u - 18 * 16384 + 511) / 512);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE,
	                                            .ino = ino,
	                                            .flags = FS_F_TRUNC,
	                                            .offset = 4,
	                                            .data = "v",
	                                            .data_len = 1}),
	                 0);
	ck_assert_uint_eq(k.res.attr.size, 5);
	ck_assert_uint_eq(k.res.attr.blocks, 1);
	ck_assert_int_eq(kit_pread(&k, ino, 0, 10), 0);
	ck_assert_mem_eq(k.res.data, "\0\0\0\0v", 5);
	ck_assert_int_eq(
	        kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE, .ino = ino, .flags = FS_F_TRUNC}),
	        0);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.bytes, 0);
}
END_TEST

START_TEST(test_sizes_have_limits)
{
	static const uint8_t data[FS_WRITE_BYTES_MAX + 1];
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f"), digest = kit_digest(&k);
	struct store_counts c;

	ck_assert_int_eq(kit_write(&k, ino, 0, data, sizeof(data)), -EINVAL);
	ck_assert_int_eq(kit_write(&k, ino, FS_FILE_BYTES_MAX, "x", 1), -EFBIG);
	ck_assert_int_eq(kit_write(&k, ino, UINT64_MAX, "x", 1), -EFBIG);
	ck_assert_int_eq(kit_write(&k, FS_ROOT_INO, 0, "x", 1), -EISDIR);
	ck_assert_int_eq(kit_write(&k, 99, 0, "x", 1), -ESTALE);
	ck_assert_uint_eq(kit_digest(&k), digest);
	ck_assert_int_eq(kit_write(&k, ino, FS_FILE_BYTES_MAX - 1, "x", 1), 0);
	ck_assert_uint_eq(k.res.attr.size, FS_FILE_BYTES_MAX);
	ck_assert_int_eq(kit_pread(&k, ino, FS_FILE_BYTES_MAX - 2, 9), 0);
	ck_assert_mem_eq(k.res.data, "\0x", 2);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.bytes, FS_FILE_BYTES_MAX);
	kit_verify(&k);
	ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "f"), 0);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.bytes, 0);
}
END_TEST

START_TEST(test_removed_file_takes_its_chunks_along)
{
	static uint8_t data[FS_WRITE_BYTES_MAX];
	uint64_t before, ino;

	memset(data, 'x', sizeof(data));
	kit_mkdir(&k, FS_ROOT_INO, "d");
	before = kit_digest(&k);
	ino = kit_file(&k, FS_ROOT_INO, "f");
	for (uint64_t i = 0; i < 4; i++)
		kit_write(&k, ino, i * sizeof(data), data, sizeof(data));
	kit_commit(&k);
	ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "f"), 0);
	kit_commit(&k);
	kit_verify(&k);
	ck_assert_uint_ne(kit_digest(&k), before); /* the root's times */
}
END_TEST

START_TEST(test_write_by_another_user_clears_set_id_bits_if_asked)
{
	uint64_t ino;

	ck_assert_int_eq(kit_mknod(&k, FS_ROOT_INO, "f", S_IFREG | 06755), 0);
	ino = k.res.attr.ino;
	kit_write(&k, ino, 0, "x", 1);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 06755);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_WRITE,
	                                            .ino = ino,
	                                            .flags = FS_F_KILL_SUID,
	                                            .data = "x",
	                                            .data_len = 1}),
	                 0);
	ck_assert_uint_eq(k.res.attr.mode, S_IFREG | 0755);
}
END_TEST

static int64_t mtime_of_write(uint64_t ino, int64_t written_ns)
{
	const struct fs_op op = {
	        .kind = FS_OP_WRITE,
	        .ino = ino,
	        .flags = FS_F_WRITTEN_BEFORE,
	        .mtime_ns = written_ns,
	        .data = "x",
	        .data_len = 1,
	};

	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_int_eq(k.res.attr.ctime_ns, k.res.attr.mtime_ns);
	return k.res.attr.mtime_ns;
}

START_TEST(test_a_write_may_say_when_it_was_made_but_not_in_the_future_and_not_before_others)
{
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");

	k.time_ns = 50000;
	ck_assert_int_eq(mtime_of_write(ino, 40000), 40000);
	ck_assert_int_eq(mtime_of_write(ino, 30000), 40001);
	k.time_ns = 60000;
	ck_assert_int_eq(mtime_of_write(ino, 70000), 60000);
}
END_TEST

START_TEST(test_get_gives_the_first_mebibyte)
{
	static uint8_t data[FS_WRITE_BYTES_MAX];
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");

	memset(data, 'x', sizeof(data));
	kit_write(&k, ino, 0, data, sizeof(data));
	kit_write(&k, ino, sizeof(data), "tail", 4);
	ck_assert_int_eq(kit_get(&k, "f"), 0);
	ck_assert_uint_eq(k.res.data_len, FS_READ_BYTES_MAX);
	ck_assert_uint_eq(k.res.attr.size, FS_READ_BYTES_MAX + 4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store files");
	TCase *tc = tcase_create("files");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_random_writes_and_truncations_read_back, 0, 8);
	tcase_add_test(tc, test_read_is_short_only_at_the_end);
	tcase_add_test(tc, test_append_goes_to_the_end_as_it_is_at_apply);
	tcase_add_test(tc, test_truncation_and_first_write_are_one_entry);
	tcase_add_test(tc, test_sizes_have_limits);
	tcase_add_test(tc, test_removed_file_takes_its_chunks_along);
	tcase_add_test(tc, test_write_by_another_user_clears_set_id_bits_if_asked);
	tcase_add_test(
	        tc,
	        test_a_write_may_say_when_it_was_made_but_not_in_the_future_and_not_before_others);
	tcase_add_test(tc, test_get_gives_the_first_mebibyte);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

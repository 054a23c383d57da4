/* wire/frame: whole frames out of a stream, and nothing else. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/crc.h"
#include "../../src/wire/frame.h"

static struct buf b;

static void setup(void)
{
	buf_init(&b);
}

static void teardown(void)
{
	buf_free(&b);
}

static void put(enum frame_type type, const void *payload, size_t n)
{
	size_t start = frame_begin(&b);

	buf_put(&b, payload, n);
	frame_end(&b, start, type);
}

START_TEST(test_frames_come_out_as_they_went_in)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used, at;

	put(FRAME_REQUEST, "hello", 5);
	put(FRAME_STATUS_REQUEST, "", 0);
	ck_assert_uint_eq(b.len, 2 * FRAME_HEADER_BYTES + 5);
	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_uint_eq(used, FRAME_HEADER_BYTES + 5);
	ck_assert_uint_eq(f.type, FRAME_REQUEST);
	ck_assert_uint_eq(f.len, 5);
	ck_assert_mem_eq(f.payload, "hello", 5);
	at = used;
	ck_assert_int_eq(frame_parse(b.data + at, b.len - at, &f, &used, &err), 1);
	ck_assert_uint_eq(f.type, FRAME_STATUS_REQUEST);
	ck_assert_uint_eq(f.len, 0);
	ck_assert_uint_eq(at + used, b.len);
}
END_TEST

START_TEST(test_header_stands_byte_for_byte_as_documented)
{
	static const uint8_t payload[] = {1, 2, 3};

	put(FRAME_RAFT, payload, sizeof(payload));
	ck_assert_mem_eq(b.data, "\x03\0\0\0\x03\0\0\0", 8);
	ck_assert_uint_eq(get_le32(b.data + 8), crc32c(crc32c(0, b.data, 8), payload, 3));
	ck_assert_mem_eq(b.data + 12, payload, 3);
}
END_TEST

START_TEST(test_unknown_types_pass_for_the_reader_to_judge)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used;

	put((enum frame_type)4711, "x", 1);
	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_uint_eq(f.type, 4711);
}
END_TEST

START_TEST(test_a_cut_frame_asks_for_more_at_every_length)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used;

	put(FRAME_REQUEST, "0123456789", 10);
	for (size_t n = 0; n < b.len; n++) {
		/* a copy of exactly that many bytes: a sanitizer sees any read behind them */
		uint8_t *cut = malloc(n > 0 ? n : 1);

		memcpy(cut, b.data, n);
		ck_assert_int_eq(frame_parse(cut, n, &f, &used, &err), 0);
		ck_assert_uint_eq(used, n < 4 ? 0 : b.len);
		free(cut);
	}
}
END_TEST

START_TEST(test_any_flipped_bit_is_noticed_or_waited_for)
{
	struct frame f;
	size_t used;

	put(FRAME_REQUEST, "0123456789", 10);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		struct rfs_err err = {0};
		int rc;

		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rc = frame_parse(b.data, b.len, &f, &used, &err);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		/* a larger length within the limit looks like a frame that is still coming */
		ck_assert_msg(rc < 0 || (rc == 0 && bit < 32), "bit %zu: %d", bit, rc);
		ck_assert(rc == 0 || (err.code == rc && err.msg[0] != '\0'));
	}
}
END_TEST

START_TEST(test_a_length_beyond_the_limit_is_refused_at_once)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used;

	ck_assert_int_eq(frame_parse((const uint8_t *)"\xff\xff\xff\xff", 4, &f, &used, &err),
	                 RFS_EPROTO);
	ck_assert_str_eq(err.msg, "frame of 4294967295 bytes exceeds 8388608");
	ck_assert_int_eq(frame_parse((const uint8_t *)"\x01\x00\x80\x00", 4, &f, &used, &err),
	                 RFS_EPROTO);
	ck_assert_int_eq(frame_parse((const uint8_t *)"\x00\x00\x80\x00", 4, &f, &used, &err), 0);
	ck_assert_uint_eq(used, FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX);
}
END_TEST

START_TEST(test_bytes_that_must_be_zero_are_checked_before_the_payload_comes)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used;

	ck_assert_int_eq(frame_parse((const uint8_t *)"\x00\x00\x10\x00\x01\x00\x00\x01", 8, &f,
	                             &used, &err),
	                 RFS_EPROTO);
	ck_assert_ptr_nonnull(strstr(err.msg, "0x0100"));
}
END_TEST

START_TEST(test_the_largest_frame_passes)
{
	struct rfs_err err = {0};
	struct frame f;
	size_t used, start = frame_begin(&b);

	memset(buf_reserve(&b, FRAME_PAYLOAD_MAX), 0x5a, FRAME_PAYLOAD_MAX);
	b.len += FRAME_PAYLOAD_MAX;
	frame_end(&b, start, FRAME_RAFT);
	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_uint_eq(f.len, FRAME_PAYLOAD_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, test_frames_come_out_as_they_went_in);
	tcase_add_test(t, test_header_stands_byte_for_byte_as_documented);
	tcase_add_test(t, test_unknown_types_pass_for_the_reader_to_judge);
	tcase_add_test(t, test_a_cut_frame_asks_for_more_at_every_length);
	tcase_add_test(t, test_any_flipped_bit_is_noticed_or_waited_for);
	tcase_add_test(t, test_a_length_beyond_the_limit_is_refused_at_once);
	tcase_add_test(t, test_bytes_that_must_be_zero_are_checked_before_the_payload_comes);
	tcase_add_test(t, test_the_largest_frame_passes);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

/* Pieces of files, with bytes and without, against an array of bytes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "../../fuse/extents.h"
#include "../support/rng.h"

#define BYTES 400u
#define STEPS 5000u

static struct extents x;
static struct ranges ranges;
static uint8_t model[BYTES];
static bool there[BYTES], written[BYTES];

static bool are_all(const bool *marks, uint64_t offset, uint64_t end)
{
	while (offset < end && marks[offset])
		offset++;
	return offset == end;
}

/* What laying over a field of 0xee must give. */
static void check_laid(const uint8_t *out, uint64_t offset, size_t n)
{
	uint8_t wanted[BYTES];

	for (size_t i = 0; i < n; i++)
		wanted[i] = there[offset + i] ? model[offset + i] : 0xee;
	ck_assert_mem_eq(out, wanted, n);
}

static void check_extents(void)
{
	size_t n = 0, bytes = 0;
	uint64_t end = 0;
	struct extent *e;

	DL_FOREACH (x.first, e) {
		ck_assert(n == 0 || e->offset > end); /* apart */
		end = extent_end(e);
		ck_assert_uint_gt(end, e->offset);
		ck_assert_mem_eq(e->bytes.data, model + e->offset, e->bytes.len);
		ck_assert(are_all(there, e->offset, end));
		n++;
		bytes += e->bytes.len;
	}
	for (size_t i = 0; i < BYTES; i++)
		bytes -= there[i];
	ck_assert_uint_eq(bytes, 0);
	ck_assert_uint_eq(x.n, n);
}

static void check_ranges(void)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < ranges.n; i++) {
		const struct fs_range *r = &ranges.at[i];

		ck_assert(i == 0 || r->offset > r[-1].offset + r[-1].len);
		ck_assert(are_all(written, r->offset, r->offset + r->len));
		bytes += r->len;
	}
	ck_assert_uint_eq(bytes, ranges.bytes);
	for (size_t i = 0; i < BYTES; i++)
		bytes -= written[i];
	ck_assert_uint_eq(bytes, 0);
}

static void check_views(uint64_t offset, size_t n)
{
	uint8_t out[BYTES];
	struct extents part = {0};
	struct extent *e;

	memset(out, 0xee, sizeof(out));
	extents_lay_over(&x, out, offset, n);
	check_laid(out, offset, n);
	ck_assert_int_eq(extents_cover(&x, offset, offset + n), are_all(there, offset, offset + n));
	extents_copy(&part, &x, offset, offset + n);
	DL_FOREACH (part.first, e)
		ck_assert(e->offset >= offset && extent_end(e) <= offset + n);
	memset(out, 0xee, sizeof(out));
	extents_lay_over(&part, out, offset, n);
	check_laid(out, offset, n);
	extents_free(&part);
}

static void step_write(uint64_t offset, size_t n, uint8_t with)
{
	size_t count;
	uint64_t bytes;

	memset(model + offset, with, n);
	memset(there + offset, true, n);
	memset(written + offset, true, n);
	extents_write(&x, offset, model + offset, n);
	ranges_with(&ranges, (struct fs_range){offset, n}, &count, &bytes);
	ranges_add(&ranges, (struct fs_range){offset, n});
	ck_assert_uint_eq(ranges.n, count);
	ck_assert_uint_eq(ranges.bytes, bytes);
}

static void step_drop(struct rng *rng)
{
	struct extent *e = x.first;
	size_t n;

	if (e == NULL)
		return;
	for (uint64_t skip = rng_below(rng, x.n); skip > 0; skip--)
		e = e->next;
	n = (size_t)rng_below(rng, e->bytes.len) + 1;
	memset(there + e->offset, false, n);
	extents_drop_front(&x, e, n);
}

START_TEST(test_random_writes_and_drops_follow_the_model)
{
	struct rng rng = {.s = 1};

	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t offset = rng_below(&rng, BYTES);
		size_t n = (size_t)rng_below(&rng, BYTES - offset < 20 ? BYTES - offset : 20) + 1;

		if (i % 500 == 0) { /* sparse again */
			ranges_free(&ranges);
			memset(written, false, sizeof(written));
		}
		if (rng_below(&rng, 3) > 0)
			step_write(offset, n, (uint8_t)i);
		else
			step_drop(&rng);
		check_extents();
		check_ranges();
		check_views(rng_below(&rng, BYTES - 60), 1 + (size_t)rng_below(&rng, 60));
	}
	extents_free(&x);
	ranges_free(&ranges);
	ck_assert(x.first == NULL && x.n == 0 && x.bytes == 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_extents");
	TCase *t = tcase_create("extents");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_random_writes_and_drops_follow_the_model);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

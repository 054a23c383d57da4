/* metrics/: histograms, the last minutes, Prometheus' text. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/metrics/events.h"
#include "../../src/metrics/expo.h"
#include "../../src/metrics/history.h"

START_TEST(test_a_value_is_counted_in_the_first_class_that_holds_it)
{
	struct histogram h = {0};

	histogram_add(&h, 0);
	histogram_add(&h, 10);
	histogram_add(&h, 11);
	histogram_add(&h, 10000000);
	histogram_add(&h, 10000001);
	ck_assert_uint_eq(h.in_class[0], 2);
	ck_assert_uint_eq(h.in_class[1], 1);
	ck_assert_uint_eq(h.in_class[HISTOGRAM_CLASSES - 1], 1);
	ck_assert_uint_eq(h.count, 5);
	ck_assert_uint_eq(h.sum_us, 20000022);
}
END_TEST

START_TEST(test_quantiles_lie_in_the_class_they_fall_into)
{
	struct histogram h = {0};

	ck_assert_uint_eq(histogram_quantile_us(&h, 0.99), 0);
	for (unsigned i = 0; i < 99; i++)
		histogram_add(&h, 150);
	histogram_add(&h, 50000);
	ck_assert_uint_ge(histogram_quantile_us(&h, 0.5), 100);
	ck_assert_uint_le(histogram_quantile_us(&h, 0.5), 180);
	ck_assert_uint_ge(histogram_quantile_us(&h, 0.999), 32000);
	ck_assert_uint_le(histogram_quantile_us(&h, 0.999), 56000);
}
END_TEST

START_TEST(test_a_histogram_of_the_time_in_between)
{
	struct histogram before = {0}, now, d;

	histogram_add(&before, 100);
	now = before;
	histogram_add(&now, 1000);
	d = histogram_since(&now, &before);
	ck_assert_uint_eq(d.count, 1);
	ck_assert_uint_eq(d.sum_us, 1000);
	ck_assert_uint_gt(histogram_quantile_us(&d, 0.5), 500);
}
END_TEST

struct seen {
	unsigned n;
	struct history_sample last;
};

static void see(void *ctx, const struct history_sample *s)
{
	struct seen *seen = ctx;

	ck_assert(seen->n == 0 || s->at_s == seen->last.at_s + 1);
	seen->n++;
	seen->last = *s;
}

START_TEST(test_history_keeps_the_last_minutes_as_rates)
{
	static struct history h;
	struct history_totals now = {0};
	struct seen seen = {0};

	for (uint64_t s = 1; s <= HISTORY_SECONDS + 7; s++) {
		now.writes += 10;
		histogram_add(&now.commit, 400);
		history_take(&h, &now, s, s == 3 ? 2000 : 1000);
	}
	history_each(&h, 0, see, &seen);
	ck_assert_uint_eq(seen.n, HISTORY_SECONDS);
	ck_assert_uint_eq(seen.last.at_s, HISTORY_SECONDS + 7);
	ck_assert_uint_eq(seen.last.writes, 10);
	ck_assert_uint_ge(seen.last.commit_p99_us, 320);
	seen = (struct seen){0};
	history_each(&h, HISTORY_SECONDS + 5, see, &seen);
	ck_assert_uint_eq(seen.n, 2);
}
END_TEST

START_TEST(test_families_are_written_as_prometheus_reads_them)
{
	struct histogram h = {0};
	char label[32];
	struct buf b;

	buf_init(&b);
	histogram_add(&h, 15);
	expo_counter(&b, "x_total", "What it is.", 3);
	expo_family(&b, "y", "gauge", "Another.");
	expo_sample(&b, "y", "a=\"1\"", 7);
	expo_seconds(&b, "z_seconds", "Time.", &h);
	buf_put_u8(&b, 0);
	ck_assert_ptr_eq(strstr((char *)b.data,
	                        "# HELP x_total What it is.\n# TYPE x_total counter\n"
	                        "x_total 3\n"),
	                 (char *)b.data);
	ck_assert_ptr_nonnull(strstr((char *)b.data, "y{a=\"1\"} 7\n"));
	ck_assert_ptr_nonnull(strstr((char *)b.data, "z_seconds_bucket{le=\"1e-05\"} 0\n"
	                                             "z_seconds_bucket{le=\"1.8e-05\"} 1\n"));
	ck_assert_ptr_nonnull(strstr((char *)b.data,
	                             "z_seconds_bucket{le=\"+Inf\"} 1\n"
	                             "z_seconds_sum 0.000015\nz_seconds_count 1\n"));
	buf_free(&b);
	expo_escape("a\"b\\c\nd", label, sizeof(label));
	ck_assert_str_eq(label, "a\\\"b\\\\c\\nd");
	expo_escape("abcdefgh", label, 5);
	ck_assert_uint_lt(strlen(label), 5);
}
END_TEST

static void count_event(void *ctx, const struct event *e)
{
	unsigned *n = ctx;

	ck_assert_ptr_null(strchr(e->text, '\n'));
	(*n)++;
}

static void find_repeated(void *ctx, const struct event *e)
{
	uint32_t *times = ctx;

	if (strcmp(e->text, "again") == 0)
		*times += e->times + 100; /* once in the list */
}

START_TEST(test_a_line_that_comes_again_and_again_is_one_event)
{
	uint32_t times = 0;
	unsigned n = 0;

	events_listen();
	for (unsigned i = 0; i < 1000; i++) {
		log_info("again");
		log_warn("and %u", i % 4);
	}
	log_set_tap(NULL);
	events_each(0, count_event, &n);
	ck_assert_uint_eq(n, 5);
	events_each(0, find_repeated, &times);
	ck_assert_uint_eq(times, 1100);
}
END_TEST

START_TEST(test_the_last_lines_of_the_log_are_kept)
{
	unsigned n = 0;

	events_listen();
	log_set_level(LOG_LEVEL_DEBUG);
	for (unsigned i = 0; i < EVENTS_KEPT + 5; i++)
		log_info("line %u\nof two", i);
	log_line(LOG_LEVEL_DEBUG, "not an event");
	log_set_tap(NULL);
	events_each(0, count_event, &n);
	ck_assert_uint_eq(n, EVENTS_KEPT);
	n = 0;
	events_each(UINT64_MAX, count_event, &n);
	ck_assert_uint_eq(n, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("metrics");
	TCase *t = tcase_create("metrics");
	SRunner *r;
	int failed;

	tcase_add_test(t, test_a_value_is_counted_in_the_first_class_that_holds_it);
	tcase_add_test(t, test_quantiles_lie_in_the_class_they_fall_into);
	tcase_add_test(t, test_a_histogram_of_the_time_in_between);
	tcase_add_test(t, test_history_keeps_the_last_minutes_as_rates);
	tcase_add_test(t, test_families_are_written_as_prometheus_reads_them);
	tcase_add_test(t, test_the_last_lines_of_the_log_are_kept);
	tcase_add_test(t, test_a_line_that_comes_again_and_again_is_one_event);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Random work on a file whose writes are collected, against an array of bytes: what this mount sees, and what the
 * servers have in the end. Requests are answered in any order. And the same with an answer that fails, or with the end of
 * the mount, at each place: every request still ends once, and nothing stays behind. */
#include "group_kit.h"
#include "../support/rng.h"

#define BYTES_MAX (3u * MIB)
#define HANDLES   3u
#define NEVER     SIZE_MAX

static struct rng rng;
static struct file *handles[HANDLES];
static uint8_t model[BYTES_MAX], scratch[BYTES_MAX];
static size_t model_size;

static size_t n_answers, fail_at;
static int fail_with;
static bool failed;  /* from then on the model does not hold */
static bool remains; /* it was the end of a staging file that failed */

static uint64_t below(uint64_t n)
{
	return rng_below(&rng, n);
}

/* ---- the world goes on ---- */

static void answer_any(void)
{
	size_t open = 0, pick;

	for (size_t i = 0; i < n_sent; i++)
		open += sent[i].cb != NULL;
	if (open == 0)
		return;
	pick = (size_t)below(open);
	for (size_t i = 0;; i++) {
		if (sent[i].cb == NULL || pick-- > 0)
			continue;
		if (n_answers++ == fail_at) {
			failed = true;
			remains = sent[i].op->kind == FS_OP_RELEASE;
			answer_with(i, fail_with);
		} else {
			answer(i);
		}
		return;
	}
}

static void finish(size_t mark)
{
	while (ended[mark].times == 0) {
		ck_assert(oldest() != SENT_MAX); /* it waits for an answer, sooner or later */
		answer_any();
	}
	ck_assert(failed || ended[mark].code == 0);
}

/* ---- steps ---- */

static uint64_t any_size(void)
{
	switch (below(4)) {
	case 0: return below(700 << 10) + 1;
	case 1: return below(70000) + 1;
	default: return below(300) + 1;
	}
}

static struct file *any_handle(void)
{
	return handles[below(HANDLES)];
}

static void model_put(uint64_t offset, size_t n)
{
	memcpy(model + offset, scratch, n);
	if (offset + n > model_size)
		model_size = (size_t)offset + n;
}

static void step_write(struct file *f)
{
	size_t n = (size_t)any_size(), mark;
	uint64_t offset;

	if (f->owes_truncation || f->write_truncates) {
		memset(model, 0, model_size);
		model_size = 0;
	}
	offset = (f->flags & O_APPEND) != 0 ? model_size : below(model_size + 5000);
	if (offset + n > BYTES_MAX)
		return;
	memset(scratch, (int)below(256), n);
	mark = write_at(f, offset, scratch, n);
	model_put(offset, n);
	finish(mark);
}

static void step_read(struct file *f)
{
	uint64_t offset = below(model_size + 1000), size = any_size();
	uint64_t left = offset < model_size ? model_size - offset : 0;
	size_t mark;

	if (f->owes_truncation)
		return;
	mark = read_at(f, offset, size);
	finish(mark);
	if (!failed)
		expect_read(mark, model + offset, (size_t)(size < left ? size : left));
}

static void step_attr(void)
{
	size_t mark = get_attr(INO);

	finish(mark);
	ck_assert(failed || ended[mark].size == model_size);
}

static void step_resize(struct file *f)
{
	size_t size = below(3) == 0 ? 0 : (size_t)below(model_size + 1);

	if (f->owes_truncation)
		return;
	finish(resize(f, size));
	memset(model + size, 0, model_size - size);
	model_size = size;
}

/* The process that closes is killed, or not. */
static void step_close(struct file *f)
{
	size_t mark = flush(f);

	if (below(2) == 0 && ended[mark].times == 0)
		request_fail(request_of(mark), -EINTR);
	else
		finish(mark);
	if (failed) /* what it told was told, and the model is not followed any more */
		f->group_error = 0;
}

static void step_reopen(void)
{
	static const int flags[] = {O_RDWR, O_RDWR | O_APPEND, O_RDWR | O_TRUNC,
	                            O_RDWR | O_TRUNC | O_APPEND};
	size_t i = (size_t)below(HANDLES);

	if (handles[i]->owes_truncation)
		return;
	if (below(3) > 0)
		step_close(handles[i]);
	file_release(&m, handles[i]);
	handles[i] = open_file(flags[below(4)]);
	if (handles[i]->owes_truncation) /* others would see the file as it is until then */
		step_write(handles[i]);
}

static void step(void)
{
	for (uint64_t n = below(3); n > 0; n--)
		answer_any();
	switch (below(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4: step_write(any_handle()); break;
	case 5:
	case 6:
	case 7: step_read(any_handle()); break;
	case 8: step_attr(); break;
	case 9: step_close(any_handle()); break;
	case 10: step_reopen(); break;
	default:
		if (below(3) > 0)
			finish(fsync_of(any_handle()));
		else
			step_resize(any_handle());
		break;
	}
}

/* True: all steps were made. */
static bool run(uint64_t seed, unsigned steps, size_t stop_at)
{
	rng.s = seed;
	n_answers = 0;
	failed = remains = false;
	model_size = 0;
	memset(model, 0, sizeof(model));
	for (size_t i = 0; i < HANDLES; i++)
		handles[i] = open_file(i == 1 ? O_RDWR | O_APPEND : O_RDWR);
	for (unsigned i = 0; i < steps; i++) {
		if (n_answers >= stop_at)
			return false;
		step();
	}
	return true;
}

START_TEST(test_random_work_is_seen_here_at_once_and_by_the_servers_in_the_end)
{
	fail_at = NEVER;
	ck_assert(run((uint64_t)_i + 1, 400, NEVER));
	for (size_t i = 0; i < HANDLES; i++)
		finish(fsync_of(handles[i]));
	while (oldest() != SENT_MAX)
		answer_any();
	ck_assert(m.requests == NULL && m.groups == NULL);
	file_contains(model, model_size);
	ck_assert_uint_eq(n_server, 1); /* no staging file is left */
}
END_TEST

#define SWEEP_STEPS 150u

/* With the `at`th answer a failure, and everything after it as it comes. */
START_TEST(test_any_answer_may_fail)
{
	static const int codes[] = {-EDQUOT, RFS_EUNKNOWN, RFS_ESESSION, RFS_ENOQUORUM};

	fail_with = codes[_i];
	for (fail_at = 0; fail_at == 0 || failed; fail_at++) {
		if (fail_at > 0)
			setup();
		(void)run(7, SWEEP_STEPS, NEVER);
		for (size_t i = 0; i < HANDLES; i++)
			(void)fsync_of(handles[i]);
		while (oldest() != SENT_MAX)
			answer_any();
		ck_assert(m.requests == NULL && m.groups == NULL);
		ck_assert_uint_eq(n_server, remains ? 2 : 1);
		teardown();
	}
	setup();
	ck_assert_uint_gt(fail_at, 50);
}
END_TEST

START_TEST(test_the_mount_may_end_at_any_time)
{
	size_t at = 0;
	bool all;

	fail_at = NEVER;
	do {
		all = run(7, SWEEP_STEPS, at++);
		teardown();
		setup();
	} while (!all);
	ck_assert_uint_gt(at, 50);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse_group_model");
	TCase *t = tcase_create("model");
	SRunner *r;
	int n;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_random_work_is_seen_here_at_once_and_by_the_servers_in_the_end,
	                    0, 8);
	tcase_add_loop_test(t, test_any_answer_may_fail, 0, 4);
	tcase_add_test(t, test_the_mount_may_end_at_any_time);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	n = srunner_ntests_failed(r);
	srunner_free(r);
	return n == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What the mount remembers of locks: tokens on what depends on them, handles that lost theirs, and that nothing
 * stays locked that nobody has open. The kernel, libfuse's replies and the cluster are played by the test. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "fuse_client.h"
#include "../../fuse/handle.h"
#include "../../fuse/locks.h"
#include "../../fuse/ops.h"
#include "../../src/base/log.h"

#define INO   12u
#define SENT  32
#define ALICE 7u /* lock owners, as the kernel numbers them */
#define BOB   8u

static struct mount m;
static struct mount_options options = {.timeout_ms = 10000};

/* ---- the client ---- */

struct client_req {
	struct fs_op op;
	uint64_t timeout_ms;
	client_cb cb;
	void *ctx;
	bool used, interrupted, abandoned;
};

static struct client_req sent[SENT];
static size_t n_sent;

struct client_req *client_submit(struct client *c, const struct fs_op *op, uint64_t timeout_ms,
                                 client_cb cb, void *ctx)
{
	struct client_req *r = &sent[n_sent++];

	(void)c;
	ck_assert_uint_le(n_sent, SENT);
	*r = (struct client_req){
	        .op = *op, .timeout_ms = timeout_ms, .cb = cb, .ctx = ctx, .used = true};
	return r;
}

void client_cancel(struct client_req *r)
{
	r->used = false;
}

void client_interrupt_lock(struct client_req *r)
{
	r->interrupted = true;
}

void client_abandon_lock(struct client_req *r)
{
	r->used = false;
	r->abandoned = true;
}

void client_get_info(const struct client *c, struct client_info *info)
{
	(void)c;
	*info = (struct client_info){.session = 100};
}

static void answer(size_t i, int code, uint64_t value)
{
	const struct fs_result res = {.err = code, .value = value};

	ck_assert(i < n_sent && sent[i].used);
	sent[i].used = false;
	sent[i].cb(sent[i].ctx, &res);
}

static const struct fs_op *expect_sent(size_t i, enum fs_op_kind kind)
{
	ck_assert_uint_eq(n_sent, i + 1);
	ck_assert_str_eq(fs_op_name(sent[i].op.kind), fs_op_name(kind));
	return &sent[i].op;
}

/* ---- libfuse ---- */

struct call {
	int err; /* 1: not answered */
	struct flock lock;
};

static const struct fuse_ctx context = {.pid = 300, .uid = 1000};
static void (*on_interrupt)(fuse_req_t req, void *data);
static void *on_interrupt_data;

static struct call *call_of(fuse_req_t req)
{
	return (struct call *)(void *)req;
}

static struct call calls[SENT]; /* outlive their tests, which leave some without an answer */
static size_t n_calls;

static struct call *new_call(void)
{
	struct call *c = &calls[n_calls++];

	ck_assert_uint_le(n_calls, SENT);
	c->err = 1;
	return c;
}

static fuse_req_t req_of(struct call *c)
{
	return (fuse_req_t)(void *)c;
}

void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &m;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	(void)req;
	return &context;
}

int fuse_req_interrupted(fuse_req_t req)
{
	(void)req;
	return 0;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	(void)req;
	on_interrupt = func;
	on_interrupt_data = data;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	ck_assert_int_eq(call_of(req)->err, 1); /* one reply */
	call_of(req)->err = err;
	return 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	(void)count;
	return fuse_reply_err(req, 0);
}

int fuse_reply_lock(fuse_req_t req, const struct flock *lock)
{
	call_of(req)->lock = *lock;
	return fuse_reply_err(req, 0);
}

/* ---- the kernel ---- */

static struct fuse_file_info info_of(struct file *f, uint64_t owner)
{
	return (struct fuse_file_info){.fh = (uintptr_t)f, .lock_owner = owner};
}

static struct call *start_flock(struct file *f, uint64_t owner, int how)
{
	struct call *c = new_call();
	struct fuse_file_info fi = info_of(f, owner);

	op_flock(req_of(c), INO, &fi, how);
	return c;
}

static struct call *start_range(struct file *f, uint64_t owner, short type, bool wait)
{
	struct call *c = new_call();
	struct flock l = {.l_type = type, .l_start = 10, .l_len = 5, .l_pid = 300};
	struct fuse_file_info fi = info_of(f, owner);

	op_setlk(req_of(c), INO, &fi, &l, wait);
	return c;
}

static struct call *start_write(struct file *f, uint64_t owner)
{
	struct call *c = new_call();
	struct fuse_file_info fi = info_of(f, owner);

	op_write(req_of(c), INO, "x", 1, 0, &fi);
	return c;
}

static struct call *start_close(struct file *f, uint64_t owner)
{
	struct call *c = new_call();
	struct fuse_file_info fi = info_of(f, owner);

	op_flush(req_of(c), INO, &fi);
	return c;
}

static struct file *open_file(void)
{
	return file_new(&m, INO, O_RDWR, 300, false);
}

/* A handle with a flock(2) lock of token 50; one thing was sent. */
static struct file *locked_file(void)
{
	struct file *f = open_file();
	struct call *c = start_flock(f, ALICE, LOCK_EX | LOCK_NB);

	answer(0, 0, 50);
	ck_assert_int_eq(c->err, 0);
	return f;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	m = (struct mount){.magic = MOUNT_MAGIC, .options = &options, .mount_id = -1};
	m.view.root = FS_ROOT_INO;
	(void)uv_timer_init(uv_default_loop(), &m.grace);
	n_sent = n_calls = 0;
}

static void teardown(void)
{
	requests_abandon(&m);
	files_drop_all(&m);
	inode_table_free(&m.inodes);
	ck_assert_ptr_null(m.inodes.by_ino);
	uv_close((uv_handle_t *)&m.grace, NULL);
	(void)uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

/* ---- tokens ---- */

START_TEST(test_a_write_through_a_locked_handle_carries_its_token)
{
	struct file *f = locked_file(), *other = open_file();
	const struct fs_op *op;
	struct call *c;

	c = start_write(f, BOB);
	op = expect_sent(1, FS_OP_WRITE);
	ck_assert_uint_ne(op->flags & FS_F_FENCED, 0);
	ck_assert_uint_eq(op->flags & FS_F_LOCK_BYTES, 0);
	ck_assert_uint_eq(op->lock_owner, ALICE);
	ck_assert_uint_eq(op->lock_token, 50);
	answer(1, 0, 0);
	ck_assert_int_eq(c->err, 0);
	c = start_write(other, BOB);
	ck_assert_uint_eq(expect_sent(2, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
	c = start_flock(f, ALICE, LOCK_UN);
	answer(3, 0, 0);
	c = start_write(f, BOB);
	ck_assert_uint_eq(expect_sent(4, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
}
END_TEST

START_TEST(test_a_write_of_a_process_with_a_range_carries_that_token)
{
	struct file *f = open_file(), *other = open_file();
	const struct fs_op *op;

	(void)start_range(f, ALICE, F_WRLCK, false);
	op = expect_sent(0, FS_OP_LOCK);
	ck_assert(op->offset == 10 && op->size == 5 && op->pid == 300);
	answer(0, 0, 60);
	(void)start_write(other, ALICE);
	op = expect_sent(1, FS_OP_WRITE);
	ck_assert_uint_ne(op->flags & FS_F_LOCK_BYTES, 0);
	ck_assert_uint_eq(op->lock_token, 60);
	(void)start_write(other, BOB);
	ck_assert_uint_eq(expect_sent(2, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
}
END_TEST

START_TEST(test_a_conversion_that_failed_has_given_the_lock_up)
{
	struct file *f = locked_file();
	struct call *c;

	c = start_flock(f, ALICE, LOCK_SH);
	(void)start_write(f, BOB); /* neither lock is certain meanwhile */
	ck_assert_uint_eq(sent[2].op.flags & FS_F_FENCED, 0);
	answer(1, -EAGAIN, 0);
	ck_assert_int_eq(c->err, EAGAIN);
	(void)start_write(f, BOB);
	ck_assert_uint_eq(expect_sent(3, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
}
END_TEST

/* ---- a lost session ---- */

START_TEST(test_a_handle_that_lost_its_lock_changes_nothing_any_more)
{
	struct file *f = locked_file(), *other = open_file();
	struct call *c;

	mount_session_lost(&m);
	c = start_write(f, BOB);
	ck_assert_int_eq(c->err, ESTALE);
	c = start_flock(f, ALICE, LOCK_EX);
	ck_assert_int_eq(c->err, ESTALE);
	c = start_flock(f, ALICE, LOCK_UN); /* nothing to tell anybody */
	ck_assert_int_eq(c->err, 0);
	c = start_write(f, BOB);
	ck_assert_int_eq(c->err, ESTALE);
	ck_assert_uint_eq(n_sent, 1);
	file_release(&m, f);
	ck_assert_uint_eq(n_sent, 1);
	c = start_write(other, BOB);
	ck_assert_uint_eq(expect_sent(1, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
}
END_TEST

START_TEST(test_who_waits_when_the_session_is_lost_asks_again)
{
	struct file *f = open_file(), *g;
	struct call *c, *d;

	c = start_flock(f, ALICE, LOCK_EX);
	ck_assert_uint_gt(sent[0].timeout_ms, 1000ull * 3600 * 24);
	mount_session_lost(&m);
	answer(0, RFS_ESESSION, 0);
	ck_assert_int_eq(c->err, 1);
	(void)expect_sent(1, FS_OP_LOCK);
	answer(1, 0, 70);
	ck_assert_int_eq(c->err, 0);
	/* but not where another lock was lost with it */
	g = open_file();
	c = start_range(g, BOB, F_RDLCK, false);
	answer(2, 0, 71);
	d = start_range(g, BOB, F_WRLCK, true);
	mount_session_lost(&m);
	answer(3, RFS_ESESSION, 0);
	ck_assert_int_eq(d->err, ESTALE);
	ck_assert_uint_eq(n_sent, 4);
}
END_TEST

/* ---- unlocking ---- */

START_TEST(test_close_unlocks_the_ranges_of_the_process_before_it_returns)
{
	struct file *f = open_file();
	const struct fs_op *op;
	struct call *c;

	c = start_range(f, ALICE, F_WRLCK, false);
	answer(0, 0, 60);
	c = start_close(f, BOB);
	ck_assert_int_eq(c->err, 0);
	ck_assert_uint_eq(n_sent, 1);
	c = start_close(f, ALICE);
	ck_assert_int_eq(c->err, 1);
	op = expect_sent(1, FS_OP_UNLOCK);
	ck_assert(op->lock_owner == ALICE && op->offset == 0 && op->size == 0);
	answer(1, 0, 0);
	ck_assert_int_eq(c->err, 0);
	c = start_close(f, ALICE);
	ck_assert_int_eq(c->err, 0);
	ck_assert_uint_eq(n_sent, 2);
}
END_TEST

START_TEST(test_release_unlocks_the_whole_file)
{
	struct file *f = locked_file();

	file_release(&m, f);
	ck_assert_uint_eq(expect_sent(1, FS_OP_UNLOCK)->lock_owner, ALICE);
	ck_assert_uint_gt(sent[1].timeout_ms, 1000ull * 3600 * 24); /* for as long as it takes */
}
END_TEST

START_TEST(test_an_unlock_without_an_answer_is_not_left_at_that)
{
	struct file *f = open_file();
	struct call *c;

	c = start_range(f, ALICE, F_WRLCK, false);
	answer(0, 0, 60);
	c = start_close(f, ALICE);
	answer(1, RFS_ENOQUORUM, 0);
	ck_assert_int_eq(c->err, 0);
	(void)expect_sent(2, FS_OP_UNLOCK);
	ck_assert_uint_gt(sent[2].timeout_ms, 1000ull * 3600 * 24);
}
END_TEST

START_TEST(test_a_lock_that_may_be_held_is_unlocked_at_close)
{
	struct file *f = open_file();
	struct call *c;

	c = start_range(f, ALICE, F_WRLCK, false);
	answer(0, RFS_EUNKNOWN, 0);
	ck_assert_int_eq(c->err, ETIMEDOUT);
	c = start_write(f, ALICE);
	ck_assert_uint_eq(expect_sent(1, FS_OP_WRITE)->flags & FS_F_FENCED, 0);
	c = start_close(f, ALICE);
	(void)expect_sent(2, FS_OP_UNLOCK);
}
END_TEST

/* ---- waiting ---- */

START_TEST(test_any_signal_interrupts_the_waiting)
{
	struct file *f = open_file();
	struct call *c;

	ck_assert_int_eq(uv_timer_init(uv_default_loop(), &m.grace), 0);
	m.grace.data = &m;
	c = start_range(f, ALICE, F_WRLCK, true);
	on_interrupt(req_of(c), on_interrupt_data);
	ck_assert(sent[0].interrupted);
	ck_assert_int_eq(c->err, 1); /* the servers decide who was first … */
	answer(0, -EINTR, 0);
	ck_assert_int_eq(c->err, EINTR);
	c = start_range(f, ALICE, F_WRLCK, true);
	on_interrupt(req_of(c), on_interrupt_data);
	while (c->err == 1) /* … if they answer at all */
		(void)uv_run(uv_default_loop(), UV_RUN_ONCE);
	ck_assert_int_eq(c->err, EINTR);
	ck_assert(sent[1].abandoned);
}
END_TEST

START_TEST(test_the_lock_in_the_way_is_told)
{
	struct fs_lock l = {.session = 100, .offset = 3, .size = 0, .pid = 42};
	struct fuse_file_info fi = info_of(open_file(), ALICE);
	struct flock ask = {.l_type = F_WRLCK};
	struct fs_result res = {0};
	struct call *c;
	struct buf b;

	buf_init(&b);
	for (unsigned round = 0; round < 2; round++) {
		l.session +=
		        round; /* then of another mount, whose processes have no numbers here */
		buf_clear(&b);
		fs_lock_put(&b, &l);
		res.data = b.data;
		res.data_len = (uint32_t)b.len;
		c = new_call();
		op_getlk(req_of(c), INO, &fi, &ask);
		sent[round].cb(sent[round].ctx, &res);
		sent[round].used = false;
		ck_assert_int_eq(c->err, 0);
		ck_assert_int_eq(c->lock.l_type, F_WRLCK);
		ck_assert_int_eq(c->lock.l_start, 3);
		ck_assert_int_eq(c->lock.l_len, 0);
		ck_assert_int_eq(c->lock.l_pid, round == 0 ? 42 : 0);
	}
	c = new_call();
	op_getlk(req_of(c), INO, &fi, &ask);
	answer(2, 0, 0);
	ck_assert_int_eq(c->lock.l_type, F_UNLCK);
	buf_free(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fuse locks");
	TCase *tc = tcase_create("locks");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_a_write_through_a_locked_handle_carries_its_token);
	tcase_add_test(tc, test_a_write_of_a_process_with_a_range_carries_that_token);
	tcase_add_test(tc, test_a_conversion_that_failed_has_given_the_lock_up);
	tcase_add_test(tc, test_a_handle_that_lost_its_lock_changes_nothing_any_more);
	tcase_add_test(tc, test_who_waits_when_the_session_is_lost_asks_again);
	tcase_add_test(tc, test_close_unlocks_the_ranges_of_the_process_before_it_returns);
	tcase_add_test(tc, test_release_unlocks_the_whole_file);
	tcase_add_test(tc, test_an_unlock_without_an_answer_is_not_left_at_that);
	tcase_add_test(tc, test_a_lock_that_may_be_held_is_unlocked_at_close);
	tcase_add_test(tc, test_any_signal_interrupts_the_waiting);
	tcase_add_test(tc, test_the_lock_in_the_way_is_told);
	suite_add_tcase(s, tc);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

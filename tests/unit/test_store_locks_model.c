/* Byte ranges against a model that knows of each byte of each owner by itself. */
#include "lock_kit.h"

#include "../support/rng.h"

#define M_FILES   2u
#define M_OWNERS  5u
#define M_BYTES   13u /* the last one stands for all that follow */
#define M_WAITERS 64u
#define M_STEPS   2000u

enum m_mode { M_FREE, M_SHARED, M_EXCLUSIVE };

struct m_ask {
	size_t file, owner;
	size_t first, last;
	enum m_mode mode;
	uint64_t asked;
	bool jumps;
};

static struct {
	enum m_mode at[M_FILES][M_OWNERS][M_BYTES];
	struct m_ask waiting[M_WAITERS];
	size_t n;
} model;

static bool m_excludes(enum m_mode a, enum m_mode b)
{
	return a != M_FREE && b != M_FREE && (a == M_EXCLUSIVE || b == M_EXCLUSIVE);
}

static bool m_blocked_by(const struct m_ask *a, size_t owner)
{
	for (size_t i = a->first; owner != a->owner && i <= a->last; i++)
		if (m_excludes(model.at[a->file][owner][i], a->mode))
			return true;
	return false;
}

static bool m_blocked(const struct m_ask *a)
{
	for (size_t o = 0; o < M_OWNERS; o++)
		if (m_blocked_by(a, o))
			return true;
	return false;
}

static bool m_queued(const struct m_ask *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct m_ask *w = &model.waiting[i];

		if (w->file == a->file && w->owner != a->owner && w->first <= a->last &&
		    a->first <= w->last && m_excludes(w->mode, a->mode))
			return true;
	}
	return false;
}

static bool m_holds(size_t owner)
{
	for (size_t f = 0; f < M_FILES; f++)
		for (size_t i = 0; i < M_BYTES; i++)
			if (model.at[f][owner][i] != M_FREE)
				return true;
	return false;
}

/* Whether waiting for `a` leads to `to`. */
static bool m_leads_to(const struct m_ask *a, size_t to, unsigned depth)
{
	for (size_t o = 0; o < M_OWNERS && depth < 20; o++) {
		if (!m_blocked_by(a, o))
			continue;
		if (o == to)
			return true;
		for (size_t i = 0; i < model.n; i++)
			if (model.waiting[i].owner == o &&
			    m_leads_to(&model.waiting[i], to, depth + 1))
				return true;
	}
	return false;
}

static void m_set(const struct m_ask *a, enum m_mode mode)
{
	for (size_t i = a->first; i <= a->last; i++)
		model.at[a->file][a->owner][i] = mode;
}

static void m_drop(size_t i)
{
	model.n--;
	memmove(&model.waiting[i], &model.waiting[i + 1], (model.n - i) * sizeof(model.waiting[0]));
}

/* Gives the order of grants. */
static size_t m_settle(uint64_t granted[M_WAITERS], size_t n)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < model.n; i++) {
			struct m_ask a = model.waiting[i];

			if (m_blocked(&a) || (!a.jumps && m_queued(&a, i)))
				continue;
			m_set(&a, a.mode);
			m_drop(i--);
			granted[n++] = a.asked;
			again = true;
		}
	}
	return n;
}

static int m_lock(struct m_ask *a, bool wait)
{
	bool have = true;

	for (size_t i = a->first; i <= a->last; i++)
		have = have && model.at[a->file][a->owner][i] == a->mode;
	if (have)
		return 0;
	a->jumps = m_holds(a->owner);
	if (!m_blocked(a) && (!wait || a->jumps || !m_queued(a, model.n))) {
		m_set(a, a->mode);
		return 0;
	}
	if (!wait)
		return -EAGAIN;
	if (m_leads_to(a, a->owner, 0))
		return -EDEADLK;
	a->asked = k.pos.index + 1;
	model.waiting[model.n++] = *a;
	return RFS_EWAITING;
}

static uint64_t m_inos[M_FILES];
static struct store_engine *m_engine;

static size_t m_owner_of(const struct fs_lock *l)
{
	return (size_t)(l->owner - 1) * 2 + (l->session == sessions[1] ? 1 : 0);
}

/* Every owner's ranges are the longest runs of one mode. */
static void m_compare(void)
{
	struct fs_op op = {.kind = FS_OP_LOCK_LIST, .size = FS_READ_BYTES_MAX};
	enum m_mode left[M_FILES][M_OWNERS][M_BYTES];
	size_t n_waiting = 0;
	struct reader r;
	struct fs_lock l;

	memcpy(left, model.at, sizeof(left));
	ck_assert_int_eq(kit_read(&k, &op), 0);
	r = reader_of(k.res.data, k.res.data_len);
	while (fs_lock_next(&r, &l)) {
		size_t f = l.ino == m_inos[0] ? 0 : 1, o = m_owner_of(&l);
		size_t last = l.size == 0 ? M_BYTES - 1 : (size_t)(l.offset + l.size - 1);
		enum m_mode mode = (l.flags & FS_F_LOCK_SHARED) != 0 ? M_SHARED : M_EXCLUSIVE;

		if ((l.flags & FS_F_LOCK_WAIT) != 0) {
			n_waiting++;
			continue;
		}
		for (size_t i = (size_t)l.offset; i <= last; i++) {
			ck_assert_int_eq(left[f][o][i], mode);
			left[f][o][i] = M_FREE;
		}
		ck_assert(l.offset == 0 || model.at[f][o][l.offset - 1] != mode);
		ck_assert(last == M_BYTES - 1 || model.at[f][o][last + 1] != mode);
	}
	ck_assert_uint_eq(n_waiting, model.n);
	for (size_t f = 0; f < M_FILES; f++)
		for (size_t o = 0; o < M_OWNERS; o++)
			for (size_t i = 0; i < M_BYTES; i++)
				ck_assert_int_eq(left[f][o][i], M_FREE);
}

static void m_reopen(void)
{
	const struct store_opts opts = {.engine = m_engine, .on_lock = note_news};

	if (k.s != NULL) {
		kit_commit(&k);
		store_close(k.s);
	}
	kit_open_opts(&k, &opts);
}

static void m_random_ask(struct rng *rng, struct m_ask *a)
{
	*a = (struct m_ask){
	        .file = rng_below(rng, M_FILES),
	        .owner = rng_below(rng, M_OWNERS),
	        .first = rng_below(rng, M_BYTES),
	        .mode = rng_below(rng, 2) == 0 ? M_SHARED : M_EXCLUSIVE,
	};
	a->last = a->first + rng_below(rng, M_BYTES - a->first);
}

static struct fs_op m_op(enum fs_op_kind kind, const struct m_ask *a, bool wait)
{
	return (struct fs_op){
	        .kind = kind,
	        .ino = m_inos[a->file],
	        .lock_owner = a->owner / 2 + 1,
	        .offset = a->first,
	        .size = a->last == M_BYTES - 1 ? 0 : a->last - a->first + 1,
	        .flags = FS_F_LOCK_BYTES | (a->mode == M_SHARED ? FS_F_LOCK_SHARED : 0u) |
	                 (wait ? FS_F_LOCK_WAIT : 0u),
	};
}

static void m_step(struct rng *rng)
{
	bool lock = rng_below(rng, 5) < 3, wait = rng_below(rng, 2) == 0;
	uint64_t granted[M_WAITERS];
	size_t n = 0, who;
	struct m_ask a;
	struct fs_op op;
	int want = 0;

	m_random_ask(rng, &a);
	n_news = 0;
	who = a.owner % 2;
	wait = wait && model.n < M_WAITERS;
	op = m_op(lock ? FS_OP_LOCK : FS_OP_UNLOCK, &a, wait);
	if (rng_below(rng, 8) == 0 && model.n > 0) { /* an interrupted one */
		size_t i = rng_below(rng, (uint32_t)model.n);

		a = model.waiting[i];
		who = a.owner % 2;
		op = (struct fs_op){.kind = FS_OP_LOCK_CANCEL, .ino = m_inos[a.file]};
		op.lock_seq = a.asked; /* see `as` below: seq is the index */
		m_drop(i);
		granted[n++] = a.asked;
	} else if (lock) {
		want = m_lock(&a, wait);
	} else {
		m_set(&a, M_FREE);
	}
	n = m_settle(granted, n);
	seqs[who] = k.pos.index; /* of the next: its index */
	ck_assert_int_eq(as(who, &op), want);
	ck_assert_uint_eq(n_news, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(news[i].asked, granted[i]);
}

START_TEST(test_byte_ranges_are_those_of_the_model)
{
	uint64_t counts[4] = {0};
	struct rng rng;

	rng.s = (uint64_t)_i + 1;
	memset(&model, 0, sizeof(model));
	ck_assert_int_eq(engine_mem_open(&m_engine, &k.err), 0);
	k = (struct kit){.time_ns = 1000};
	m_reopen();
	raise_version();
	open_sessions();
	m_inos[0] = kit_file(&k, FS_ROOT_INO, "f");
	m_inos[1] = kit_file(&k, FS_ROOT_INO, "g");
	for (unsigned i = 0; i < M_STEPS; i++) {
		m_step(&rng);
		counts[k.res.err == 0              ? 0
		       : k.res.err == -EAGAIN      ? 1
		       : k.res.err == RFS_EWAITING ? 2
		                                   : 3]++;
		m_compare();
		/* what is rebuilt from records decides the same */
		if (rng_below(&rng, 50) == 0)
			m_reopen();
	}
	for (size_t i = 0; i < 4; i++)
		ck_assert_uint_gt(counts[i], M_STEPS / 500); /* all outcomes were met */
	kit_close(&k);
	m_engine->vt->close(m_engine);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store locks, model");
	TCase *tc = tcase_create("model");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, test_byte_ranges_are_those_of_the_model, 0, 3);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

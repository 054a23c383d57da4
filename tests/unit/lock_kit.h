/* What the tests of locks share: two sessions, and what the store tells of locks that waited. */
#ifndef RFS_TESTS_LOCK_KIT_H
#define RFS_TESTS_LOCK_KIT_H

#include "store_kit.h"

static struct kit k;
static uint64_t sessions[2], seqs[2];

#define NEWS_MAX 64u
static struct store_lock_news news[NEWS_MAX];
static size_t n_news;

static inline void note_news(void *ctx, const struct store_lock_news *n)
{
	(void)ctx;
	ck_assert_uint_lt(n_news, NEWS_MAX);
	news[n_news++] = *n;
}

/* Locks came with protocol version 2. */
static inline void raise_version(void)
{
	k.pos.index++;
	k.pos.term = 1;
	ck_assert_int_eq(store_set_version(k.s, k.pos, 2, &k.err), 0);
}

static inline void open_sessions(void)
{
	for (size_t i = 0; i < 2; i++) {
		kit_open_session(&k);
		sessions[i] = k.session;
		seqs[i] = 0;
	}
	k.session = 0;
}

/* A command of session `who`. */
static inline int as(size_t who, const struct fs_op *op)
{
	struct store_cmd cmd = {.session = sessions[who],
	                        .seq = ++seqs[who],
	                        .lowest = seqs[who],
	                        .time_ns = k.time_ns += 1000,
	                        .op = op};
	int err = kit_apply(&k, &cmd);

	kit_verify(&k);
	return err;
}

#endif

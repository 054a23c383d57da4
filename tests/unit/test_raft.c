/* The consensus core: its arithmetic, its patience with nonsense, and random clusters. The
 * scenarios with names are golden scripts (tests/golden/). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/err.h"
#include "../../src/raft/conf.h"
#include "../../src/raft/log.h"
#include "../support/cores.h"

static const struct raft_opts opts_small = {
        .seed = 1,
        .election_min_ms = 150,
        .election_max_ms = 300,
        .heartbeat_ms = 50,
        .append_bytes_max = 8,
        .inflight_bytes_max = 16,
        .inflight_msgs_max = 3,
        .uncommitted_bytes_max = 64,
};

#ifndef SEEDS
#define SEEDS 600
#endif

static uint64_t rng_state;

static uint32_t rnd(uint32_t below)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % below);
}

/* ---- quorums ---- */

/* values[id] */
static uint64_t value_of(const void *ctx, raft_id id)
{
	return ((const uint64_t *)ctx)[id];
}

START_TEST(test_raft_quorum_is_what_a_majority_reaches)
{
	struct raft_conf c = {.voters = {1, 2, 3, 4, 5}};
	uint64_t values[] = {0, 7, 3, 9, 3, 5};
	uint64_t want[] = {0, 7, 3, 7, 3, 5};

	for (c.n_voters = 0; c.n_voters <= 5; c.n_voters++)
		ck_assert_uint_eq(raft_conf_quorum(&c, value_of, values), want[c.n_voters]);
}
END_TEST

START_TEST(test_raft_quorum_of_a_joint_configuration_needs_both_halves)
{
	struct raft_conf c = {.voters = {3, 4, 5}, .n_voters = 3, .old = {1, 2, 3}, .n_old = 3};
	uint64_t new_half[] = {0, 0, 0, 9, 9, 9};
	uint64_t old_half[] = {0, 9, 9, 9, 0, 0};
	uint64_t both[] = {0, 4, 0, 9, 0, 6};

	ck_assert_uint_eq(raft_conf_quorum(&c, value_of, new_half), 0);
	ck_assert_uint_eq(raft_conf_quorum(&c, value_of, old_half), 0);
	ck_assert_uint_eq(raft_conf_quorum(&c, value_of, both), 4);
}
END_TEST

START_TEST(test_raft_learners_do_not_count)
{
	struct raft_conf c = {.voters = {1}, .n_voters = 1, .learners = {2, 3}, .n_learners = 2};
	uint64_t values[] = {0, 1, 9, 9};
	raft_id ids[3 * RAFT_MEMBERS_MAX];

	ck_assert_uint_eq(raft_conf_quorum(&c, value_of, values), 1);
	ck_assert(raft_conf_is_member(&c, 2));
	ck_assert(!raft_conf_is_voter(&c, 2));
	ck_assert_uint_eq(raft_conf_members(&c, ids), 3);
}
END_TEST

START_TEST(test_raft_members_of_a_joint_configuration_are_named_once)
{
	struct raft_conf c = {.voters = {1, 2, 3}, .n_voters = 3, .old = {2, 3, 4}, .n_old = 3};
	raft_id ids[3 * RAFT_MEMBERS_MAX];

	ck_assert_uint_eq(raft_conf_members(&c, ids), 4);
	ck_assert_uint_eq(ids[3], 4);
}
END_TEST

/* ---- configurations ---- */

START_TEST(test_raft_configuration_reads_back_as_it_was_written)
{
	uint8_t bytes[RAFT_CONF_BYTES_MAX];
	struct raft_conf c = {.voters = {1, 2, 9},
	                      .n_voters = 3,
	                      .old = {1, 2, 3},
	                      .n_old = 3,
	                      .learners = {3, 4},
	                      .n_learners = 2},
	                 d;
	char longest[RAFT_ADDRESS_MAX + 2];
	size_t n;

	memset(longest, 'x', sizeof(longest));
	longest[RAFT_ADDRESS_MAX + 1] = '\0';
	ck_assert(!raft_conf_set_member(&c, 9, longest, false));
	longest[RAFT_ADDRESS_MAX] = '\0';
	ck_assert(raft_conf_set_member(&c, 9, longest, false));
	ck_assert(raft_conf_set_member(&c, 4, "host:1", true));
	ck_assert(raft_conf_set_incarnation(&c, 9, UINT64_MAX - 1));
	ck_assert(!raft_conf_set_incarnation(&c, 1, 1));
	n = raft_conf_encode(&c, bytes);
	ck_assert_uint_eq(n, 4 + 5 * 152);
	ck_assert(raft_conf_decode(&d, bytes, n));
	ck_assert(raft_conf_same(&c, &d));
	ck_assert_str_eq(raft_conf_member(&d, 9)->address, longest);
	ck_assert_uint_eq(raft_conf_member(&d, 9)->incarnation, UINT64_MAX - 1);
	ck_assert_uint_eq(raft_conf_member(&d, 4)->incarnation, 0);
	ck_assert(raft_conf_member(&d, 4)->promote);
	ck_assert(raft_conf_is_voter(&d, 3));
	ck_assert(!raft_conf_is_learner(&d, 3));
	ck_assert(raft_conf_is_learner(&d, 4));
	ck_assert(!raft_conf_stays_voter(&d, 3));
}
END_TEST

START_TEST(test_raft_bytes_that_are_no_configuration_are_refused)
{
	uint8_t good[RAFT_CONF_BYTES_MAX], bad[RAFT_CONF_BYTES_MAX];
	struct raft_conf c = {.voters = {1, 2}, .n_voters = 2, .learners = {3}, .n_learners = 1}, d;
	static const struct {
		size_t at;
		uint8_t value;
	} broken[] = {{0, 2},  {1, 2},  {1, 0},   {1, 255},  {2, 1},  {4, 0},  {4, 2},  {12, 0},
	              {12, 5}, {12, 9}, {12, 16}, {13, 129}, {13, 1}, {14, 1}, {147, 1}};
	size_t n;

	n = raft_conf_encode(&c, good);
	ck_assert(raft_conf_decode(&d, good, n));
	ck_assert(!raft_conf_decode(&d, good, n - 1));
	ck_assert(!raft_conf_decode(&d, good, 0));
	ck_assert(!raft_conf_decode(&d, NULL, n));
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		memcpy(bad, good, n);
		bad[broken[i].at] = broken[i].value;
		ck_assert_msg(!raft_conf_decode(&d, bad, n), "case %zu", i);
	}
}
END_TEST

START_TEST(test_raft_configuration_with_other_voters_is_entered_through_a_joint_one)
{
	struct raft_conf a = {.voters = {1, 2, 3}, .n_voters = 3, .learners = {4}, .n_learners = 1};
	struct raft_conf b = {.voters = {1, 2, 4}, .n_voters = 3, .learners = {3}, .n_learners = 1};
	struct raft_conf joint, left;

	ck_assert(raft_conf_set_member(&a, 3, "three:3", false));
	ck_assert(raft_conf_set_member(&a, 4, "four:4", true));
	ck_assert(raft_conf_enter(&joint, &a, &b));
	ck_assert_uint_eq(joint.n_old, 3);
	ck_assert_str_eq(raft_conf_member(&joint, 4)->address, "four:4");
	ck_assert(!raft_conf_member(&joint, 4)->promote);
	raft_conf_leave(&left, &joint);
	ck_assert_uint_eq(left.n_old, 0);
	ck_assert_str_eq(raft_conf_member(&left, 3)->address, "three:3");
	ck_assert(raft_conf_is_learner(&left, 3));
	/* the same voters, in another order: at once */
	ck_assert(raft_conf_enter(&joint, &a,
	                          &(struct raft_conf){.voters = {3, 2, 1}, .n_voters = 3}));
	ck_assert_uint_eq(joint.n_old, 0);
	ck_assert_ptr_null(raft_conf_member(&joint, 4));
}
END_TEST

START_TEST(test_raft_configuration_with_more_members_than_there_may_be_is_not_entered)
{
	struct raft_conf a = {0}, b = {0}, joint;

	for (unsigned i = 0; i < 8; i++) {
		a.voters[a.n_voters++] = 1 + i;
		b.voters[b.n_voters++] = 8 + i;
	}
	ck_assert(raft_conf_enter(&joint, &a, &b));
	b.learners[b.n_learners++] = 99;
	ck_assert(!raft_conf_enter(&joint, &a, &b));
}
END_TEST

/* A log whose configuration cannot be read is not a log to start from. */
START_TEST(test_raft_does_not_start_from_a_log_with_a_configuration_it_cannot_read)
{
	struct raft_opts opts = opts_small;
	struct raft_entry found[] = {
	        {.pos = {1, 1}, .kind = RAFT_ENTRY_CONFIG, .len = 3, .data = "abc"}};
	struct raft_recovered rec = {
	        .conf = {.voters = {1}, .n_voters = 1}, .entries = found, .n = 1, .term = 1};
	struct raft *r;

	opts.id = 1;
	ck_assert_ptr_null(raft_new(&opts, &rec, 0));
	/* one that the state machine has taken in already is not looked at */
	rec.conf_index = 1;
	r = raft_new(&opts, &rec, 0);
	ck_assert_ptr_nonnull(r);
	raft_free(r);
}
END_TEST

/* ---- the log's metadata ---- */

static void log_with(struct raft_log *log, raft_index base, const raft_term *terms, size_t n)
{
	struct raft_entry e[32] = {0};

	for (size_t i = 0; i < n; i++)
		e[i] = (struct raft_entry){.pos = {base + 1 + i, terms[i]}, .len = 10};
	raft_log_init(log, (struct raft_pos){base, base > 0 ? 1 : 0}, e, n);
}

START_TEST(test_raft_log_knows_no_term_outside)
{
	struct raft_log log;

	log_with(&log, 4, (raft_term[]){2, 2, 5}, 3);
	ck_assert_uint_eq(raft_log_term(&log, 3), 0);
	ck_assert_uint_eq(raft_log_term(&log, 4), 1);
	ck_assert_uint_eq(raft_log_term(&log, 7), 5);
	ck_assert_uint_eq(raft_log_term(&log, 8), 0);
	ck_assert_uint_eq(raft_log_term(&log, UINT64_MAX), 0);
	raft_log_free(&log);
}
END_TEST

START_TEST(test_raft_log_search_finds_the_last_place_where_logs_may_agree)
{
	struct raft_log log;
	raft_term terms[] = {1, 1, 4, 4, 6, 6, 6};

	log_with(&log, 2, terms, 7); /* 3..9 */
	for (raft_index i = 0; i < 12; i++)
		for (raft_term t = 0; t < 8; t++) {
			raft_index want = 2;

			for (raft_index k = 3; k <= i && k <= 9; k++)
				want = terms[k - 3] <= t ? k : want;
			ck_assert_uint_eq(raft_log_search(&log, i, t).index, want);
			ck_assert_uint_eq(raft_log_search(&log, i, t).term,
			                  raft_log_term(&log, want));
		}
	raft_log_free(&log);
}
END_TEST

START_TEST(test_raft_log_fits_entries_by_their_size)
{
	struct raft_log log;

	log_with(&log, 0, (raft_term[]){1, 1, 1, 1}, 4);
	ck_assert_uint_eq(raft_log_fit(&log, 1, 9), 0);
	ck_assert_uint_eq(raft_log_fit(&log, 1, 10), 1);
	ck_assert_uint_eq(raft_log_fit(&log, 2, 29), 2);
	ck_assert_uint_eq(raft_log_fit(&log, 2, 1000), 3);
	ck_assert_uint_eq(raft_log_fit(&log, 5, 1000), 0);
	ck_assert_uint_eq(raft_log_bytes(&log, 1, 3), 20);
	raft_log_free(&log);
}
END_TEST

START_TEST(test_raft_log_keeps_terms_and_sizes_when_it_is_cut)
{
	struct raft_log log;

	log_with(&log, 0, (raft_term[]){1, 1, 2, 3}, 4);
	raft_log_cut(&log, (struct raft_pos){2, 1});
	ck_assert_uint_eq(log.base.index, 2);
	ck_assert_uint_eq(raft_log_term(&log, 1), 0);
	ck_assert_uint_eq(raft_log_term(&log, 3), 2);
	ck_assert_uint_eq(raft_log_bytes(&log, 2, 4), 20);
	ck_assert_uint_eq(raft_log_fit(&log, 3, 10), 1);
	ck_assert_uint_eq(raft_log_last(&log).index, 4);
	raft_log_cut(&log, (struct raft_pos){4, 3});
	ck_assert_uint_eq(raft_log_last(&log).term, 3);
	raft_log_reset(&log, (struct raft_pos){9, 5});
	ck_assert_uint_eq(raft_log_last(&log).index, 9);
	ck_assert_uint_eq(log.durable, 9);
	ck_assert(!raft_log_set_durable(&log, log.epoch - 1, (struct raft_pos){10, 5}));
	raft_log_append(&log, &(struct raft_entry){.pos = {10, 5}, .len = 7}, 1);
	ck_assert_uint_eq(raft_log_bytes(&log, 9, 10), 7);
	raft_log_free(&log);
}
END_TEST

START_TEST(test_raft_log_takes_no_word_of_an_older_epoch_for_durable)
{
	struct raft_log log;
	struct raft_entry e = {.pos = {3, 2}};

	log_with(&log, 0, (raft_term[]){1, 1, 1, 1}, 4);
	ck_assert_uint_eq(log.durable, 4);
	raft_log_truncate(&log, 3);
	ck_assert_uint_eq(log.durable, 2);
	raft_log_append(&log, &e, 1);
	ck_assert(!raft_log_set_durable(&log, log.epoch - 1, e.pos));
	ck_assert(!raft_log_set_durable(&log, log.epoch, (struct raft_pos){3, 1}));
	ck_assert(!raft_log_set_durable(&log, log.epoch, (struct raft_pos){4, 2}));
	ck_assert(!raft_log_set_durable(&log, log.epoch, (struct raft_pos){9, 0}));
	ck_assert_uint_eq(log.durable, 2);
	ck_assert(raft_log_set_durable(&log, log.epoch, e.pos));
	ck_assert_uint_eq(log.durable, 3);
	raft_log_free(&log);
}
END_TEST

/* ---- proposals ---- */

static void elect(struct cores *c, raft_id id)
{
	struct core *k = cores_node(c, id);

	for (int i = 0; i < 5; i++) {
		struct raft_status st;

		c->now_ms = k->deadline_ms > c->now_ms ? k->deadline_ms : c->now_ms;
		cores_tick(c, id);
		cores_stabilize(c);
		raft_get_status(k->r, &st);
		if (st.role == RAFT_LEADER)
			return;
	}
	ck_abort_msg("not elected");
}

static void cluster(struct cores *c, unsigned n, const struct raft_opts *opts)
{
	cores_init(c, n, opts);
	for (unsigned i = 1; i <= n; i++)
		cores_boot(c, i);
}

START_TEST(test_raft_refuses_proposals_beyond_the_limit_of_uncommitted_bytes)
{
	struct cores c;
	const char *big = "0123456789012345678901234567890123456789";
	const char *texts[] = {big};

	cluster(&c, 3, &opts_small);
	ck_assert_int_eq(cores_propose(&c, 2, texts, 1), RFS_ENOTLEADER);
	elect(&c, 1);
	ck_assert_int_eq(cores_propose(&c, 1, texts, 1), 0);
	ck_assert_int_eq(cores_propose(&c, 1, texts, 1), RFS_EBUSYLIMIT);
	cores_stabilize(&c);
	ck_assert_int_eq(cores_propose(&c, 1, texts, 1), 0);
	ck_assert_str_eq(c.failure, "");
	cores_free(&c);
}
END_TEST

/* ---- nonsense ---- */

static uint64_t odd_number(void)
{
	switch (rnd(8)) {
	case 0: return UINT64_MAX - rnd(3);
	case 1: return (1ull << 62) - 2 + rnd(5);
	case 2: return (uint64_t)rnd(UINT32_MAX) << 20;
	default: return rnd(12);
	}
}

/* Any servers as voters, some of the others as learners. */
static void random_conf(raft_id n, struct raft_conf *conf)
{
	*conf = (struct raft_conf){0};
	while (conf->n_voters == 0) {
		conf->n_learners = 0;
		for (raft_id id = 1; id <= n; id++) {
			uint32_t what = rnd(5);

			if (what < 3)
				conf->voters[conf->n_voters++] = id;
			else if (what == 3)
				conf->learners[conf->n_learners++] = id;
		}
	}
}

/* A configuration, or what is none. */
static void odd_conf(struct raft_entry *e)
{
	static uint8_t bytes[RAFT_CONF_BYTES_MAX];
	struct raft_conf conf;

	random_conf(5, &conf);
	if (rnd(2) == 0 && conf.n_voters > 1)
		conf.old[conf.n_old++] = conf.voters[rnd(conf.n_voters)];
	e->kind = RAFT_ENTRY_CONFIG;
	e->len = (uint32_t)raft_conf_encode(&conf, bytes);
	e->data = bytes;
	if (rnd(10) == 0)
		bytes[rnd(e->len)] ^= (uint8_t)rnd(256);
}

static void odd_message(struct raft_msg *m, struct raft_entry *e, size_t n)
{
	raft_index at = odd_number();

	*m = (struct raft_msg){
	        .kind = (enum raft_msg_kind)(rnd(20) == 0 ? rnd(300) : 1 + rnd(RAFT_MSG_KIND_MAX)),
	        .from = rnd(5) == 0 ? odd_number() : 2 + rnd(3),
	        .to = rnd(30) == 0 ? odd_number() : 1,
	        .term = odd_number(),
	        .pos = {at, odd_number()},
	        .commit = odd_number(),
	        .last = odd_number(),
	        .round = odd_number(),
	        .read_ctx = odd_number(),
	        .read_index = odd_number(),
	        .reject = rnd(2),
	        .force = rnd(2),
	        .first = odd_number(),
	        .n = rnd(3) == 0 ? rnd((uint32_t)n) : 0,
	        .entries = rnd(20) == 0 ? NULL : e};
	for (size_t i = 0; i < m->n; i++)
		e[i] = (struct raft_entry){.pos = {rnd(20) == 0 ? odd_number() : at + 1 + i,
		                                   rnd(3) == 0 ? odd_number() : m->term},
		                           .kind = (enum raft_entry_kind)rnd(5),
		                           .len = rnd(50) == 0 ? UINT32_MAX : 0};
	if (m->n > 0 && rnd(4) == 0)
		odd_conf(&e[rnd((uint32_t)m->n)]);
}

/* Make it lead, if its term is not at the end of all terms. */
static void lead(struct raft *r, struct raft_out *out)
{
	struct raft_event ev = {.kind = RAFT_EV_CAMPAIGN};
	struct raft_msg vote = {.kind = RAFT_MSG_VOTE_RESP, .from = 2, .to = 1};

	raft_step(r, &ev, out);
	ev.kind = RAFT_EV_STATE_DURABLE;
	ev.durable.epoch = out->state_epoch;
	vote.term = out->term;
	raft_step(r, &ev, out);
	ev.kind = RAFT_EV_MSG;
	ev.msg = &vote;
	raft_step(r, &ev, out);
}

/* One core, two peers out of their minds. Its own invariants are checked by every step; its disk
 * keeps up with it now and then. */
START_TEST(test_raft_survives_whatever_peers_send)
{
	struct raft_opts opts = opts_small;
	struct raft_recovered rec = {.conf = {.voters = {1, 2, 3}, .n_voters = 3}, .term = 3};
	struct raft_entry found[] = {{.pos = {3, 1}}, {.pos = {4, 3}}}, e[8];
	uint64_t now = 0, led = 0;

	rng_state = (uint64_t)_i;
	opts.id = 1;
	opts.seed = (uint64_t)_i;
	rec.base = (struct raft_pos){2, 1};
	rec.entries = found;
	rec.n = 2;
	struct raft *r = raft_new(&opts, &rec, 0);
	struct raft_out out;

	raft_out_init(&out);
	for (int i = 0; i < 3000; i++) {
		struct raft_event ev = {.kind = (enum raft_event_kind)rnd(RAFT_EV_DISK + 1)};
		struct raft_conf conf;
		struct raft_msg m;
		struct raft_status st;

		if (rnd(3) > 0)
			ev.kind = RAFT_EV_MSG;
		if (rnd(100) == 0)
			lead(r, &out);
		now += rnd(3) == 0 ? rnd(100) : 0;
		ev.now_ms = now;
		raft_get_status(r, &st);
		led += st.role == RAFT_LEADER;
		if (ev.kind == RAFT_EV_MSG) {
			odd_message(&m, e, 8);
			if (m.kind == RAFT_MSG_PRE_VOTE_RESP && rnd(200) > 0)
				m.last = 0; /* or it takes itself for removed, and never stands
				               again */
			if (rnd(2000) > 0)  /* near enough to be taken seriously */
				m.term = st.term + (rnd(10) == 0);
			if (rnd(2) == 0 && m.n == 0)
				m.pos = rnd(2) == 0 ? st.last
				                    : (struct raft_pos){st.commit, m.pos.term};
			ev.msg = &m;
		} else if (ev.kind == RAFT_EV_PROPOSE) {
			e[0] = (struct raft_entry){.len = rnd(20)};
			ev.propose.entries = e;
			ev.propose.n = rnd(2);
		} else if (ev.kind == RAFT_EV_SNAPSHOT_STATUS) {
			ev.snapshot.peer = rnd(5);
			ev.snapshot.pos = (struct raft_pos){rnd(20), 1};
		} else if (ev.kind == RAFT_EV_SNAPSHOT_INSTALLED) {
			ev.snapshot.pos = (struct raft_pos){odd_number(), odd_number()};
		} else if (ev.kind == RAFT_EV_LOG_CUT) {
			raft_index upto = st.commit < st.durable ? st.commit : st.durable;

			ev.snapshot.pos = (struct raft_pos){upto, raft_term_at(r, upto)};
		} else if (ev.kind == RAFT_EV_CHANGE) {
			random_conf(4, &conf);
			if (rnd(10) == 0)
				conf.n_old = rnd(3);
			ev.conf = &conf;
		} else if (ev.kind == RAFT_EV_READ) {
			ev.read_ctx = 1 + (uint64_t)i;
		} else if (ev.kind == RAFT_EV_LOG_DURABLE) {
			ev.durable.epoch = out.log_epoch;
			ev.durable.pos = st.last;
		} else if (ev.kind == RAFT_EV_STATE_DURABLE) {
			ev.durable.epoch = out.state_epoch;
		} else if (ev.kind == RAFT_EV_PEER_DOWN || ev.kind == RAFT_EV_TRANSFER) {
			ev.peer = rnd(5);
		} else if (ev.kind == RAFT_EV_DISK) {
			ev.stalled = rnd(4) == 0;
		}
		raft_step(r, &ev, &out);
	}
	ck_assert_msg(led > 0, "never led");
	raft_free(r);
	raft_out_free(&out);
}
END_TEST

/* ---- random clusters ---- */

static const char *const payloads[] = {"a", "bc", "defg", "hijklmno", "pqrstuvwxyz0"};

static void do_something(struct cores *c, uint64_t *ctx)
{
	raft_id id = 1 + rnd(c->n);
	struct core *k = cores_node(c, id);
	size_t i = c->n_net > 0 ? rnd((uint32_t)c->n_net) : 0;
	struct raft_conf conf;

	/* Old messages first, mostly. */
	if (rnd(4) > 0)
		i = 0;
	switch (rnd(65)) {
	case 0: c->now_ms += rnd(200); break;
	case 1: cores_tick(c, id); break;
	case 2: cores_persist(c, id, true, false, 1); break;
	case 3: cores_persist(c, id, false, true, 1 + rnd(3)); break;
	case 4: cores_persist(c, id, true, true, SIZE_MAX); break;
	case 5:
		if (c->n_net > 0 && rnd(2) == 0)
			cores_drop(c, i);
		break;
	case 6:
		if (c->n_net > 0 && c->n_net < 200)
			cores_duplicate(c, i);
		break;
	case 7:
	case 8:
		for (raft_id leader = 1; leader <= c->n; leader++)
			(void)cores_propose(c, leader, &payloads[rnd(5)], 1);
		break;
	case 9: cores_read(c, id, ++*ctx); break;
	case 10:
		if (rnd(3) != 0 || k->r == NULL)
			break;
		if (k->commit > k->applied && rnd(2) == 0)
			cores_apply(c, id); /* its state machine has it on disk */
		cores_crash(c, id);
		break;
	case 11:
	case 12:
		if (k->r == NULL)
			cores_boot(c, id);
		break;
	case 13:
		cores_step(c, id,
		           (struct raft_event){.kind = RAFT_EV_PEER_DOWN, .peer = 1 + rnd(c->n)});
		break;
	case 14:
		if (rnd(10) == 0)
			c->cut[rnd(c->n)][rnd(c->n)] = true;
		else if (rnd(4) == 0) /* alone */
			for (unsigned other = 0; other < c->n; other++)
				c->cut[id - 1][other] = c->cut[other][id - 1] = true;
		break;
	case 15:
		if (rnd(8) == 0)
			memset(c->cut, 0, sizeof(c->cut));
		break;
	case 16:
		if (rnd(20) == 0)
			cores_step(c, id,
			           (struct raft_event){.kind = RAFT_EV_CAMPAIGN, .force = rnd(2)});
		break;
	case 17: c->now_ms += rnd(5); break;
	case 18: k->slow = rnd(2); break;
	case 19:
		if (rnd(4) == 0)
			cores_step(c, id,
			           (struct raft_event){.kind = RAFT_EV_TRANSFER,
			                               .peer = rnd(c->n + 2)});
		break;
	case 21:
		if (rnd(2) == 0 && k->r != NULL)
			cores_cut(c, id, k->log.base.index + rnd(12));
		break;
	case 20:
		random_conf(c->n, &conf);
		for (raft_id leader = 1; rnd(3) == 0 && leader <= c->n; leader++)
			cores_step(c, leader,
			           (struct raft_event){.kind = RAFT_EV_CHANGE, .conf = &conf});
		break;
	default:
		if (c->n_net > 0)
			cores_deliver(c, i);
		break;
	}
}

static void pass_time(struct cores *c, uint64_t ms)
{
	for (uint64_t end = c->now_ms + ms; c->now_ms < end; c->now_ms += 5) {
		for (raft_id id = 1; id <= c->n; id++)
			if (cores_node(c, id)->deadline_ms <= c->now_ms)
				cores_tick(c, id);
		cores_stabilize(c);
	}
}

static raft_id leader_of(struct cores *c)
{
	raft_id leader = 0;
	raft_term term = 0;

	for (raft_id id = 1; id <= c->n; id++) {
		struct raft_status st;

		raft_get_status(cores_node(c, id)->r, &st);
		if (st.role == RAFT_LEADER && st.term > term) {
			leader = id;
			term = st.term;
		}
	}
	return leader;
}

/* Whoever leads makes voters of all. */
static raft_id make_all_voters(struct cores *c)
{
	struct raft_conf all = {0};
	raft_id leader = 0;

	for (raft_id id = 1; id <= c->n; id++)
		all.voters[all.n_voters++] = id;
	for (int i = 0; i < 10; i++) {
		struct raft_status st;

		leader = leader_of(c);
		if (leader != 0) {
			struct raft *r = cores_node(c, leader)->r;

			raft_get_status(r, &st);
			if (raft_conf_same(raft_get_conf(r), &all) && st.conf_index <= st.commit)
				return leader;
			cores_step(c, leader,
			           (struct raft_event){.kind = RAFT_EV_CHANGE, .conf = &all});
		}
		pass_time(c, 300);
	}
	ck_abort_msg("no way to a configuration of all");
}

/* Faults end: one leader, a write and a read on every node within a few election timeouts. */
static void check_recovers(struct cores *c, uint64_t *ctx)
{
	raft_id leader;
	uint64_t done, committed;

	memset(c->cut, 0, sizeof(c->cut));
	c->auto_persist = true;
	for (raft_id id = 1; id <= c->n; id++) {
		struct core *k = cores_node(c, id);

		k->slow = false;
		if (k->r == NULL)
			cores_boot(c, id);
		cores_persist(c, id, true, true, SIZE_MAX);
	}
	pass_time(c, 2000);
	ck_assert_msg(leader_of(c) != 0, "no leader");
	leader = make_all_voters(c);
	pass_time(c, 100);
	committed = c->n_committed;
	ck_assert_int_eq(cores_propose(c, leader, payloads, 1), 0);
	pass_time(c, 100);
	ck_assert_uint_eq(c->n_committed, committed + 1);
	done = c->n_reads_done;
	for (raft_id id = 1; id <= c->n; id++) {
		ck_assert_uint_eq(cores_node(c, id)->n_reads, 0);
		ck_assert_uint_eq(cores_node(c, id)->commit, c->n_committed);
		cores_read(c, id, ++*ctx);
	}
	cores_stabilize(c);
	ck_assert_uint_eq(c->n_reads_done, done + c->n);
}

static void on_trace(void *ctx, const char *line)
{
	fprintf(ctx, "%s\n", line);
}

/* Messages are lost, doubled and overtaken, disks lag, servers crash and connections break; nothing
 * that Raft promises may break with them. CORES_TRACE=1 tells the story. */
START_TEST(test_raft_random_clusters_stay_safe_and_recover)
{
	struct raft_opts opts = opts_small;
	struct cores c;
	uint64_t ctx = 0;

	rng_state = (uint64_t)_i;
	opts.seed = (uint64_t)_i;
	opts.commit_delay_ms = _i % 2 == 0 ? 0 : 5;
	cores_init(&c, 1 + (unsigned)_i % 6, &opts);
	if (c.n >= 3 && _i % 3 == 0) { /* the last two wait to be added */
		c.conf.n_voters = c.n - 2;
		c.node[c.n - 1].joining = c.node[c.n - 2].joining = true;
	} else if (c.n == 5 && _i % 2 == 0)
		c.conf = (struct raft_conf){
		        .voters = {1, 2, 3}, .n_voters = 3, .old = {3, 4, 5}, .n_old = 3};
	else if (c.n == 4 && _i % 2 == 0)
		c.conf = (struct raft_conf){
		        .voters = {1, 2, 3}, .n_voters = 3, .learners = {4}, .n_learners = 1};
	if (getenv("CORES_TRACE") != NULL) {
		c.trace = on_trace;
		c.trace_ctx = stdout;
	}
	for (raft_id id = 1; id <= c.n; id++)
		cores_boot(&c, id);
	for (int round = 0; round < 4; round++) {
		c.auto_persist = rnd(2);
		for (int i = 0; i < 2500 && c.failure[0] == '\0'; i++) {
			do_something(&c, &ctx);
			if (i % 50 == 0)
				cores_check_logs(&c);
		}
		ck_assert_msg(c.failure[0] == '\0', "seed %d: %s", _i, c.failure);
		check_recovers(&c, &ctx);
		ck_assert_msg(c.failure[0] == '\0', "seed %d: %s", _i, c.failure);
	}
	ck_assert_msg(c.n_protocol == 0, "seed %d: somebody broke the protocol", _i);
	cores_free(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("raft");
	TCase *t = tcase_create("parts");
	SRunner *sr;
	int failed;

	tcase_add_test(t, test_raft_quorum_is_what_a_majority_reaches);
	tcase_add_test(t, test_raft_quorum_of_a_joint_configuration_needs_both_halves);
	tcase_add_test(t, test_raft_learners_do_not_count);
	tcase_add_test(t, test_raft_members_of_a_joint_configuration_are_named_once);
	tcase_add_test(t, test_raft_configuration_reads_back_as_it_was_written);
	tcase_add_test(t, test_raft_bytes_that_are_no_configuration_are_refused);
	tcase_add_test(t, test_raft_configuration_with_other_voters_is_entered_through_a_joint_one);
	tcase_add_test(t,
	               test_raft_configuration_with_more_members_than_there_may_be_is_not_entered);
	tcase_add_test(t, test_raft_does_not_start_from_a_log_with_a_configuration_it_cannot_read);
	tcase_add_test(t, test_raft_log_knows_no_term_outside);
	tcase_add_test(t, test_raft_log_search_finds_the_last_place_where_logs_may_agree);
	tcase_add_test(t, test_raft_log_fits_entries_by_their_size);
	tcase_add_test(t, test_raft_log_keeps_terms_and_sizes_when_it_is_cut);
	tcase_add_test(t, test_raft_log_takes_no_word_of_an_older_epoch_for_durable);
	tcase_add_test(t, test_raft_refuses_proposals_beyond_the_limit_of_uncommitted_bytes);
	suite_add_tcase(s, t);

	t = tcase_create("random");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, test_raft_survives_whatever_peers_send, 1, 101);
	tcase_add_loop_test(t, test_raft_random_clusters_stay_safe_and_recover, 1, SEEDS + 1);
	suite_add_tcase(s, t);

	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

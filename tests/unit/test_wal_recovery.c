/* Recovery: power cuts at every point, damage of every kind. The rules stand in
 * docs/wal-format.md. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/buf.h"
#include "../../src/base/crc.h"
#include "../../src/base/mem.h"
#include "../../src/wal/wal_format.h"
#include "../support/walkit.h"

#define SEGMENT (8u << 10)

/* ---- power cuts ---- */

#define RECORDS_MAX 4000u

/* What the log was told, record by record, and how much of it was reported durable. */
struct model {
	struct raft_pos records[RECORDS_MAX];
	size_t n, durable;
	raft_term states[RECORDS_MAX]; /* in the order of wal_set_state(); votes follow from them */
	size_t n_states, durable_states;
	raft_index last, cut;
	raft_term term;
	uint64_t random;
};

static uint64_t draw(struct model *m, uint64_t below)
{
	m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (m->random >> 33) % below;
}

static void model_append(struct model *m, struct walkit *k, raft_index first, raft_index n)
{
	walkit_append(k, first, first + n - 1, m->term, 1);
	for (raft_index i = first; i < first + n && m->n < RECORDS_MAX; i++)
		m->records[m->n++] = (struct raft_pos){i, m->term};
	m->last = first + n - 1;
}

static void model_term(struct model *m, struct walkit *k)
{
	m->term++;
	wal_set_state(k->w, m->term, m->term * 7, m->n_states);
	m->states[m->n_states++] = m->term;
}

/* One step of a random life. */
static void live(struct model *m, struct walkit *k)
{
	raft_index base = wal_base(k->w).index;

	switch (draw(m, 10)) {
	case 0: model_term(m, k); break;
	case 1:
		if (m->last > base) {
			model_term(m, k);
			model_append(m, k,
			             m->last - draw(m, m->last - base < 9 ? m->last - base : 9),
			             1 + draw(m, 3));
		}
		break;
	case 2:
		if (m->last > m->cut + 30) {
			m->cut = m->last - 30;
			wal_cut(k->w, m->cut, &k->err);
		}
		break;
	case 3:
	case 4:
	case 5:
		(void)wal_work(k->w);
		wal_poll(k->w, &k->done, &k->err);
		if (k->done.state)
			m->durable_states = k->done.state_epoch + 1;
		for (size_t i = m->n; k->done.log && i-- > m->durable;)
			if (m->records[i].index == k->done.log_pos.index &&
			    m->records[i].term == k->done.log_pos.term) {
				m->durable = i + 1;
				break;
			}
		break;
	default: model_append(m, k, m->last + 1, 1 + draw(m, draw(m, 8) == 0 ? 40 : 4)); break;
	}
}

static struct raft_pos model_last(const struct model *m, size_t n)
{
	return n == 0 ? (struct raft_pos){0} : m->records[n - 1];
}

/* The term of entry `index` after the first `n` records. */
static raft_term model_term_at(const struct model *m, size_t n, raft_index index)
{
	while (n-- > 0)
		if (m->records[n].index == index)
			return m->records[n].term;
	return 0;
}

/* What was recovered must be what the first so many records give, no fewer than were durable. The
 * model goes on from there. */
static void check_recovered(struct model *m, struct walkit *k, uint64_t seed)
{
	const struct wal_recovered *rec = &k->rec;
	unsigned long long s = seed;
	struct raft_entry e;
	size_t n = m->n;

	while (n > m->durable && (model_last(m, n).index != rec->last.index ||
	                          model_last(m, n).term != rec->last.term))
		n--;
	ck_assert_msg(model_last(m, n).index == rec->last.index &&
	                      model_last(m, n).term == rec->last.term,
	              "seed %llu: ends at %llu, which is no prefix with what was durable", s,
	              (unsigned long long)rec->last.index);
	ck_assert_msg(rec->base.index <= m->cut, "seed %llu: base beyond what was cut", s);
	for (raft_index i = rec->base.index + 1; i <= rec->last.index; i++)
		ck_assert_msg(wal_entry_at(k->w, i, &e) && e.pos.term == model_term_at(m, n, i),
		              "seed %llu: entry %llu is another one", s, (unsigned long long)i);
	ck_assert_msg(walkit_all_right(k), "seed %llu: %s", s, k->err.msg);
	ck_assert_msg(rec->vote == rec->term * 7, "seed %llu: vote of another term", s);
	ck_assert_msg(rec->term >= (m->durable_states > 0 ? m->states[m->durable_states - 1] : 0),
	              "seed %llu: term went back", s);
	m->n = m->durable = n;
	m->last = rec->last.index;
	m->term = rec->term;
	while (m->n_states > 0 && m->states[m->n_states - 1] > rec->term)
		m->n_states--;
	m->durable_states = m->n_states;
}

static void cut_power(struct model *m, struct walkit *k)
{
	static const enum memfs_loss losses[] = {MEMFS_LOSE_SOME, MEMFS_LOSE_SOME, MEMFS_LOSE_SOME,
	                                         MEMFS_LOSE_ALL, MEMFS_LOSE_NOTHING};

	memfs_power_off(k->fs);
	walkit_close(k);
	ck_assert_uint_eq(memfs_open_files(k->fs), 0);
	memfs_power_on(k->fs, losses[draw(m, 5)]);
}

/* Open until it succeeds; the power may go meanwhile, again and again. */
static void come_up(struct model *m, struct walkit *k, uint64_t seed)
{
	for (unsigned i = 0; i < 4 && draw(m, 2) == 0; i++) {
		memfs_power_off_at(k->fs, 1 + draw(m, 40));
		(void)walkit_open(k);
		cut_power(m, k);
	}
	ck_assert_msg(walkit_open(k) == 0, "seed %llu: %s", (unsigned long long)seed, k->err.msg);
}

static void live_and_die(uint64_t seed, bool *torn)
{
	struct model *m = mem_zalloc(sizeof(*m));
	struct wal_recovered first;
	struct walkit k;

	m->random = seed;
	walkit_init(&k, seed, SEGMENT);
	for (unsigned life = 0; life < 6; life++) {
		come_up(m, &k, seed);
		*torn |= k.rec.torn;
		check_recovered(m, &k, seed);
		first = k.rec;
		walkit_close(&k);
		ck_assert_int_eq(walkit_open(&k), 0);
		ck_assert(k.rec.last.index == first.last.index &&
		          k.rec.last.term == first.last.term);
		ck_assert(k.rec.term == first.term && k.rec.vote == first.vote && !k.rec.torn);
		memfs_power_off_at(k.fs, 1 + draw(m, 90));
		for (unsigned i = 0; i < 200 && !memfs_fired(k.fs) && m->n < RECORDS_MAX / 2; i++)
			live(m, &k);
		cut_power(m, &k);
	}
	walkit_free(&k);
	free(m);
}

START_TEST(test_after_any_power_cut_the_log_is_a_prefix_with_all_that_was_durable)
{
	const char *seeds = getenv("WAL_SEEDS");
	uint64_t n = seeds != NULL ? strtoull(seeds, NULL, 10) : 1500;
	bool torn = false;

	for (uint64_t seed = 1; seed <= n; seed++)
		live_and_die(seed, &torn);
	ck_assert(torn);
}
END_TEST

/* ---- a finished log to be damaged: several segments, no sector of zeros within a record ---- */

static struct walkit k;
static struct memfs *good;
static struct raft_pos good_last, good_before; /* the last batch begins behind good_before */

/* The process ends without closing its log: nothing says where the end of what was synced is. */
static void die(void)
{
	memfs_power_off(k.fs);
	walkit_close(&k);
	memfs_power_on(k.fs, MEMFS_LOSE_NOTHING);
}

static void setup(void)
{
	walkit_init(&k, 77, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_term(&k, 4);
	for (raft_index i = 1; i <= 160; i += 8) {
		walkit_append(&k, i, i + 7, 4, 1);
		walkit_run(&k);
	}
	good_before = wal_last(k.w);
	walkit_append(&k, 161, 164, 4, 1);
	walkit_run(&k);
	good_last = wal_last(k.w);
	ck_assert(memfs_exists(k.fs, walkit_segment(3)));
	die();
	good = k.fs;
	k.fs = memfs_clone(good);
}

static void again(void)
{
	walkit_close(&k);
	memfs_free(k.fs);
	k.fs = memfs_clone(good);
}

static void teardown(void)
{
	memfs_free(good);
	walkit_free(&k);
}

static uint64_t newest(void)
{
	uint64_t seq = 1;

	while (memfs_exists(k.fs, walkit_segment(seq + 1)))
		seq++;
	return seq;
}

/* Offset of the first place without a record in segment `seq`, and of the last record before it. */
static uint64_t end_of(uint64_t seq, uint64_t *last_record)
{
	uint64_t size = memfs_file_size(k.fs, walkit_segment(seq)), at = WAL_BLOCK_BYTES;
	uint8_t head[WAL_RECORD_HEAD_BYTES];

	while (at + sizeof(head) <= size) {
		memfs_peek(k.fs, walkit_segment(seq), at, head, sizeof(head));
		if (memcmp(head, "RFSR", 4) != 0)
			break;
		*last_record = at;
		at += wal_record_bytes(get_le32(head + 4));
	}
	return at;
}

static void expect_corrupt(const char *file)
{
	int rc = walkit_open(&k);

	ck_assert_msg(rc == RFS_ECORRUPT, "%d, not corruption: %s", rc, k.err.msg);
	ck_assert_msg(strstr(k.err.msg, file) != NULL, "%s", k.err.msg);
	ck_assert_ptr_null(k.w);
	ck_assert_uint_eq(memfs_open_files(k.fs), 0);
}

/* One flipped bit: refused with file and offset, or without any effect on what is recovered. */
static void flip(const char *path, uint64_t offset, uint8_t mask)
{
	int rc;

	again();
	memfs_flip(k.fs, path, offset, mask);
	rc = walkit_open(&k);
	if (rc != 0) {
		ck_assert_msg(rc == RFS_ECORRUPT && strstr(k.err.msg, path) != NULL, "%d: %s", rc,
		              k.err.msg);
		ck_assert_ptr_nonnull(strstr(k.err.msg, "offset"));
		return;
	}
	ck_assert_msg(k.rec.last.index == good_last.index && k.rec.term == 4 && k.rec.vote == 1,
	              "%s offset %llu: something was lost without a word", path,
	              (unsigned long long)offset);
	ck_assert(walkit_all_right(&k));
}

START_TEST(test_a_flipped_bit_is_refused_or_harmless)
{
	for (uint64_t seq = 1; seq <= newest(); seq++)
		for (uint64_t i = 0; i < SEGMENT; i += 1 + i % 3)
			flip(walkit_segment(seq), i, (uint8_t)(1u << (i % 8)));
	for (uint64_t i = 0; i < WAL_STATE_BYTES; i += i % 4096 < 128 ? 1 : 17)
		flip("/wal/state", i, (uint8_t)(1u << (i % 8)));
	for (uint64_t i = 0; i < WAL_HEAD_BYTES; i++)
		flip("/wal/identity", i, (uint8_t)(1u << (i % 8)));
}
END_TEST

START_TEST(test_every_flipped_bit_of_a_record_is_refused)
{
	uint64_t last = 0, end, seq = newest();

	end = end_of(seq, &last);
	for (uint64_t i = WAL_BLOCK_BYTES; i < end; i += 1 + (i * 7) % 5) {
		again();
		memfs_flip(k.fs, walkit_segment(seq), i, (uint8_t)(1u << (i % 8)));
		expect_corrupt(walkit_segment(seq));
	}
}
END_TEST

START_TEST(test_damage_leaves_the_directory_as_it_was)
{
	uint8_t before[SEGMENT], after[SEGMENT];
	uint8_t state[2][WAL_STATE_BYTES];

	memfs_flip(k.fs, walkit_segment(2), 5000, 1);
	memfs_peek(k.fs, walkit_segment(2), 0, before, SEGMENT);
	memfs_peek(k.fs, "/wal/state", 0, state[0], WAL_STATE_BYTES);
	expect_corrupt(walkit_segment(2));
	memfs_peek(k.fs, walkit_segment(2), 0, after, SEGMENT);
	memfs_peek(k.fs, "/wal/state", 0, state[1], WAL_STATE_BYTES);
	ck_assert_mem_eq(before, after, SEGMENT);
	ck_assert_mem_eq(state[0], state[1], WAL_STATE_BYTES);
	memfs_flip(k.fs, walkit_segment(2), 5000, 1);
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert_uint_eq(k.rec.last.index, good_last.index);
}
END_TEST

START_TEST(test_a_truncated_or_grown_segment_is_refused_with_both_sizes)
{
	for (uint64_t seq = 1; seq <= newest(); seq++) {
		again();
		memfs_resize(k.fs, walkit_segment(seq), SEGMENT - 512);
		expect_corrupt(walkit_segment(seq));
		ck_assert_ptr_nonnull(strstr(k.err.msg, "size is 7680, it should be 8192"));
		again();
		memfs_resize(k.fs, walkit_segment(seq), 0);
		expect_corrupt(walkit_segment(seq));
		again();
		memfs_resize(k.fs, walkit_segment(seq), SEGMENT + 1);
		expect_corrupt(walkit_segment(seq));
	}
	again();
	memfs_resize(k.fs, "/wal/state", 4096);
	expect_corrupt("/wal/state");
	again();
	memfs_resize(k.fs, "/wal/identity", 10);
	expect_corrupt("/wal/identity");
}
END_TEST

START_TEST(test_a_missing_segment_is_named_even_the_first_or_last_one)
{
	uint64_t n = newest();

	for (uint64_t seq = 1; seq <= n; seq++) {
		again();
		memfs_remove(k.fs, walkit_segment(seq));
		expect_corrupt(walkit_segment(seq));
		ck_assert_ptr_nonnull(strstr(k.err.msg, "missing"));
	}
	again();
	for (uint64_t seq = 1; seq <= n; seq++)
		memfs_remove(k.fs, walkit_segment(seq));
	expect_corrupt(walkit_segment(1));
}
END_TEST

START_TEST(test_segments_of_another_log_or_place_are_refused)
{
	struct walkit other;
	uint8_t all[SEGMENT];
	char one[64];

	walkit_init(&other, 5, SEGMENT);
	ck_assert_int_eq(walkit_open(&other), 0);
	memfs_peek(other.fs, walkit_segment(1), 0, all, SEGMENT);
	memfs_poke(k.fs, walkit_segment(1), 0, all, SEGMENT);
	expect_corrupt(walkit_segment(1));
	ck_assert_ptr_nonnull(strstr(k.err.msg, "another directory"));
	again();
	memfs_peek(other.fs, "/wal/state", 0, all, WAL_STATE_BYTES);
	memfs_poke(k.fs, "/wal/state", 0, all, WAL_STATE_BYTES);
	expect_corrupt("/wal/state");
	walkit_free(&other);
	again();
	(void)snprintf(one, sizeof(one), "%s", walkit_segment(1));
	memfs_move(k.fs, walkit_segment(2), "/wal/x");
	memfs_move(k.fs, one, walkit_segment(2));
	memfs_move(k.fs, "/wal/x", one);
	expect_corrupt(walkit_segment(1));
}
END_TEST

/* Change bytes of a head and make its checksum right again. */
static void reseal_head(const char *path, uint64_t offset, uint64_t at, const void *p, size_t n)
{
	uint8_t head[WAL_HEAD_BYTES];

	memfs_peek(k.fs, path, offset, head, sizeof(head));
	memcpy(head + at, p, n);
	put_le32(head + 124, crc32c(0, head, 124));
	memfs_poke(k.fs, path, offset, head, sizeof(head));
}

START_TEST(test_another_version_of_the_format_is_told_from_damage)
{
	const uint8_t version[4] = {2};
	const char *files[] = {"/wal/identity", "/wal/state", walkit_segment(1)};

	for (int i = 0; i < 3; i++) {
		again();
		reseal_head(files[i], 0, 8, version, 4);
		ck_assert_int_eq(walkit_open(&k), RFS_EVERSION);
		ck_assert_ptr_nonnull(strstr(k.err.msg, files[i]));
	}
}
END_TEST

/* Change a field of a record's header and make the header's checksum right again. */
static void reseal_record(uint64_t seq, uint64_t offset, uint64_t at, uint64_t v, size_t n)
{
	uint8_t rec[WAL_RECORD_HEAD_BYTES], place[24], value[8];

	memfs_peek(k.fs, walkit_segment(seq), offset, rec, sizeof(rec));
	put_le64(value, v);
	memcpy(rec + at, value, n);
	put_le64(place, k.opts.identity.incarnation);
	put_le64(place + 8, seq);
	put_le64(place + 16, offset);
	put_le32(rec + 44, crc32c(crc32c(0, place, 24), rec, 44));
	memfs_poke(k.fs, walkit_segment(seq), offset, rec, sizeof(rec));
}

START_TEST(test_sealed_nonsense_in_a_record_is_refused)
{
	const struct {
		uint64_t at, v;
		size_t n;
		const char *says;
	} cases[] = {
	        {4, UINT32_MAX, 4, "length"},
	        {4, RAFT_ENTRY_BYTES_MAX, 4, "length"},
	        {4, UINT32_MAX - 47, 4, "length"},
	        {8, 0, 8, "index"},
	        {8, 900, 8, "index"},
	        {8, UINT64_MAX, 8, "index"},
	        {16, 3, 8, "older"},
	        {16, 5, 8, "newer"},
	        {24, 0, 8, "batch"},
	        {24, UINT64_MAX, 8, "batch"},
	        {32, RAFT_ENTRY_KIND_MAX + 1, 4, "kind"},
	        {32, UINT32_MAX, 4, "kind"},
	        {40, 1, 4, "continue"},
	};
	uint64_t last = 0, seq = newest();

	(void)end_of(seq, &last);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		again();
		reseal_record(seq, last, cases[i].at, cases[i].v, cases[i].n);
		expect_corrupt(walkit_segment(seq));
		ck_assert_msg(strstr(k.err.msg, cases[i].says) != NULL, "%s", k.err.msg);
	}
}
END_TEST

START_TEST(test_sealed_nonsense_in_a_head_is_refused)
{
	const struct {
		uint64_t at, v;
	} cases[] = {{32, 0}, {32, UINT64_MAX}, {32, 1ull << 40}, {32, 8192 + 8},
	             {24, 7}, {40, 0},          {48, 9},          {56, 0}};
	uint8_t v[8];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		again();
		put_le64(v, cases[i].v);
		reseal_head(walkit_segment(2), 0, cases[i].at, v, cases[i].at == 56 ? 4 : 8);
		expect_corrupt(walkit_segment(2));
	}
	again();
	put_le64(v, 0);
	reseal_head("/wal/state", 0, 48, v, 8);
	reseal_head("/wal/state", 4096, 48, v, 8);
	ck_assert_int_eq(walkit_open(&k),
	                 0); /* less than there is: a cut between rename and state */
}
END_TEST

START_TEST(test_the_hard_state_survives_the_loss_of_either_copy)
{
	uint8_t zeros[WAL_BLOCK_BYTES] = {0};

	for (uint64_t copy = 0; copy < 2; copy++) {
		again();
		memfs_poke(k.fs, "/wal/state", copy * WAL_BLOCK_BYTES, zeros, sizeof(zeros));
		ck_assert_int_eq(walkit_open(&k), 0);
		ck_assert(k.rec.term == 4 && k.rec.vote == 1 && k.rec.state_mended);
		walkit_close(&k);
		ck_assert_int_eq(walkit_open(&k), 0);
		ck_assert(k.rec.term == 4 && !k.rec.state_mended);
	}
	again();
	memfs_flip(k.fs, "/wal/state", 40, 1);
	memfs_flip(k.fs, "/wal/state", 4136, 1);
	expect_corrupt("/wal/state");
}
END_TEST

/* ---- torn tails, made by hand ---- */

static void zero(uint64_t seq, uint64_t from, uint64_t to)
{
	uint8_t zeros[SEGMENT] = {0};

	memfs_poke(k.fs, walkit_segment(seq), from, zeros, to - from);
}

START_TEST(test_a_lost_sector_in_the_last_batch_is_cut_and_the_rest_kept)
{
	uint64_t last = 0, seq = newest(), end = end_of(seq, &last);

	ck_assert_uint_gt(end - last, 0);
	zero(seq, last, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert_uint_eq(k.rec.last.index, good_last.index - 1);
	ck_assert(!k.rec.torn); /* nothing at all of it: as if it had never been written */
	again();
	zero(seq, end - 1, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert_uint_eq(k.rec.last.index, good_last.index - 1);
	ck_assert(k.rec.torn && strstr(k.rec.torn_text, "log-") == k.rec.torn_text);
	walkit_append(&k, good_last.index, good_last.index + 3, 4, 1);
	walkit_close(&k);
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert(!k.rec.torn && k.rec.last.index == good_last.index + 3);
	ck_assert(walkit_all_right(&k));
}
END_TEST

START_TEST(test_a_lost_sector_below_a_later_batch_is_damage)
{
	uint64_t last = 0, seq = newest();

	while (end_of(seq, &last) < WAL_BLOCK_BYTES + 2048) {
		ck_assert_int_eq(walkit_open(&k), 0);
		walkit_append(&k, wal_last(k.w).index + 1, wal_last(k.w).index + 1, 4, 1);
		walkit_close(&k);
		seq = newest();
	}
	zero(seq, WAL_BLOCK_BYTES, WAL_BLOCK_BYTES + 512);
	expect_corrupt(walkit_segment(seq));
}
END_TEST

START_TEST(test_lost_sectors_in_a_finished_segment_are_damage)
{
	uint64_t last = 0;

	(void)end_of(1, &last);
	zero(1, last, SEGMENT);
	expect_corrupt(walkit_segment(2)); /* it does not continue what is left of the first */
	again();
	(void)end_of(1, &last);
	zero(1, last + 8, SEGMENT);
	expect_corrupt(walkit_segment(1));
}
END_TEST

/* The one thing that cannot be told apart: a record of the last batch with a sector of zeros by
 * nature, damaged elsewhere, looks like a write of which a sector was lost. */
START_TEST(test_a_damaged_last_record_with_a_sector_of_zeros_passes_for_torn)
{
	static const uint8_t zeros[1500];
	struct raft_entry e = {.kind = RAFT_ENTRY_COMMAND, .len = sizeof(zeros), .data = zeros};
	uint64_t last = 0, seq;

	ck_assert_int_eq(walkit_open(&k), 0);
	e.pos = (struct raft_pos){wal_last(k.w).index + 1, 4};
	wal_append(k.w, &e, 1, 1);
	walkit_run(&k);
	die();
	seq = newest();
	(void)end_of(seq, &last);
	memfs_flip(k.fs, walkit_segment(seq), last + 60, 1);
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert(k.rec.torn && k.rec.last.index == good_last.index);
}
END_TEST

/* … but where the state has said since that it was synced, there is nothing to be guessed. */
START_TEST(test_a_log_that_was_closed_has_no_torn_tail)
{
	uint64_t last = 0, seq;

	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_close(&k);
	seq = newest();
	(void)end_of(seq, &last);
	zero(seq, last, SEGMENT);
	expect_corrupt(walkit_segment(seq));
}
END_TEST

START_TEST(test_a_change_of_term_marks_what_was_synced_before_it)
{
	uint64_t before = 0, last = 0, seq;

	ck_assert_int_eq(walkit_open(&k), 0);
	walkit_term(&k, 5);
	walkit_run(&k);
	walkit_append(&k, good_last.index + 1, good_last.index + 1, 5, 1);
	walkit_run(&k);
	die();
	seq = newest();
	before = end_of(seq, &last);
	zero(seq, last, SEGMENT);
	ck_assert_int_eq(walkit_open(&k), 0); /* behind the mark */
	ck_assert_uint_eq(k.rec.last.index, good_last.index);
	die();
	(void)end_of(seq, &before);
	zero(seq, before, SEGMENT);
	expect_corrupt(walkit_segment(seq)); /* before it */
}
END_TEST

/* ---- directories that were never finished ---- */

START_TEST(test_a_directory_whose_making_was_cut_short_is_made_anew)
{
	for (enum memfs_loss loss = MEMFS_LOSE_NOTHING; loss <= MEMFS_LOSE_SOME; loss++)
		for (uint64_t n = 1;; n++) {
			struct walkit t;
			bool fired;

			walkit_init(&t, n, SEGMENT);
			memfs_power_off_at(t.fs, n);
			(void)walkit_open(&t);
			fired = memfs_fired(t.fs);
			memfs_power_off(t.fs);
			walkit_close(&t);
			memfs_power_on(t.fs, loss);
			t.opts.identity.incarnation++;
			ck_assert_msg(walkit_open(&t) == 0, "%llu: %s", (unsigned long long)n,
			              t.err.msg);
			ck_assert(t.rec.last.index == 0 && t.rec.term == 0);
			walkit_free(&t);
			if (!fired)
				break;
		}
}
END_TEST

START_TEST(test_a_log_that_lost_its_identity_is_not_made_anew)
{
	memfs_remove(k.fs, "/wal/identity");
	expect_corrupt("/wal/identity");
	for (uint64_t seq = newest(); seq > 1; seq--)
		memfs_remove(k.fs, walkit_segment(seq));
	expect_corrupt("/wal/identity");
	memfs_remove(k.fs, "/wal/state");
	expect_corrupt("/wal/identity");
	memfs_remove(k.fs, walkit_segment(1));
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert(k.rec.created);
}
END_TEST

START_TEST(test_names_of_others_are_left_alone)
{
	int fd;

	for (int i = 0; i < 3; i++) {
		const char *names[] = {"/wal/log-1", "/wal/lost+found",
		                       "/wal/log-00000000000000ZZ"};

		ck_assert_int_eq(memfs_ops(k.fs)->open(k.fs, names[i], true, &fd), 0);
		(void)memfs_ops(k.fs)->close(k.fs, fd);
	}
	ck_assert_int_eq(walkit_open(&k), 0);
	ck_assert_uint_eq(k.rec.last.index, good_last.index);
	ck_assert(memfs_exists(k.fs, "/wal/log-1"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wal_recovery");
	TCase *power = tcase_create("power"), *c = tcase_create("damage");
	SRunner *r;
	int failed;

	tcase_set_timeout(power, 600);
	tcase_add_test(power,
	               test_after_any_power_cut_the_log_is_a_prefix_with_all_that_was_durable);
	tcase_add_test(power, test_a_directory_whose_making_was_cut_short_is_made_anew);
	suite_add_tcase(s, power);
	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, test_a_flipped_bit_is_refused_or_harmless);
	tcase_add_test(c, test_every_flipped_bit_of_a_record_is_refused);
	tcase_add_test(c, test_damage_leaves_the_directory_as_it_was);
	tcase_add_test(c, test_a_truncated_or_grown_segment_is_refused_with_both_sizes);
	tcase_add_test(c, test_a_missing_segment_is_named_even_the_first_or_last_one);
	tcase_add_test(c, test_segments_of_another_log_or_place_are_refused);
	tcase_add_test(c, test_another_version_of_the_format_is_told_from_damage);
	tcase_add_test(c, test_sealed_nonsense_in_a_record_is_refused);
	tcase_add_test(c, test_sealed_nonsense_in_a_head_is_refused);
	tcase_add_test(c, test_the_hard_state_survives_the_loss_of_either_copy);
	tcase_add_test(c, test_a_lost_sector_in_the_last_batch_is_cut_and_the_rest_kept);
	tcase_add_test(c, test_a_lost_sector_below_a_later_batch_is_damage);
	tcase_add_test(c, test_lost_sectors_in_a_finished_segment_are_damage);
	tcase_add_test(c, test_a_damaged_last_record_with_a_sector_of_zeros_passes_for_torn);
	tcase_add_test(c, test_a_log_that_was_closed_has_no_torn_tail);
	tcase_add_test(c, test_a_change_of_term_marks_what_was_synced_before_it);
	tcase_add_test(c, test_a_log_that_lost_its_identity_is_not_made_anew);
	tcase_add_test(c, test_names_of_others_are_left_alone);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A store's way to another server: out as chunks while it goes on, in with every doubt checked. */
#include "store_kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include "../../src/store/chunk.h"

#define CHUNK 2048u /* so that small stores have many chunks */

static uint64_t next_random(uint64_t *x)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return *x >> 33;
}

/* ---- a source with something of everything ---- */

static void change_something(struct kit *k, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	char path[64], text[200];
	size_t n = next_random(seed) % sizeof(text);

	(void)snprintf(path, sizeof(path), "d%u/f%u", (unsigned)(r % 4), (unsigned)(r % 23));
	memset(text, 'a' + (int)(r % 26), sizeof(text));
	if (r % 10 == 0)
		(void)kit_delete(k, path, 0);
	else
		(void)kit_do(k, &(struct fs_op){.kind = FS_OP_PUT,
		                                .name = kit_str(path),
		                                .data = text,
		                                .data_len = (uint32_t)n});
	if (r % 37 == 0 && kit_get(k, path) == 0 && k->res.has_attr)
		(void)kit_resize(k, k->res.attr.ino, r % 90000);
	if (r % 7 == 0)
		kit_commit(k);
}

static void fill(struct kit *k, uint64_t seed, int changes)
{
	uint8_t big[70000];
	uint64_t ino;

	memset(big, 0x5a, sizeof(big));
	k->pos.index++;
	k->pos.term = 1;
	ck_assert_int_eq(store_set_membership(k->s, k->pos, "1 2 3", 5, &k->err), 0);
	ino = kit_file(k, 1, "big");
	ck_assert_int_eq(kit_write(k, ino, 5, big, sizeof(big)), 0);
	kit_open_session(k);
	for (int i = 0; i < changes; i++)
		change_something(k, &seed);
	kit_commit(k);
}

static void open_source(struct kit *k, int disk, uint64_t seed)
{
	if (disk != 0)
		kit_open_disk(k);
	else
		kit_open_memory(k);
	fill(k, seed, 300);
}

/* ---- chunks, kept ---- */

#define CHUNKS_MAX 600

struct stream {
	struct buf chunk[CHUNKS_MAX];
	size_t n;
	struct store_snapshot_info info;
};

static void stream_free(struct stream *t)
{
	for (size_t i = 0; i < t->n; i++)
		buf_free(&t->chunk[i]);
	*t = (struct stream){0};
}

static struct store_snapshot *hold(struct kit *k)
{
	struct store_snapshot *sn;

	ck_assert_msg(store_snapshot_open(k->s, CHUNK, &sn, &k->err) == 0, "%s", k->err.msg);
	return sn;
}

static bool take_one(struct store_snapshot *sn, struct stream *t)
{
	struct rfs_err err = {0};
	int rc;

	ck_assert_uint_lt(t->n, CHUNKS_MAX);
	buf_init(&t->chunk[t->n]);
	rc = store_snapshot_next(sn, &t->chunk[t->n], &err);
	ck_assert_msg(rc >= 0, "%s", err.msg);
	t->n += rc > 0;
	return rc > 0;
}

static void take_all(struct kit *k, struct stream *t)
{
	struct store_snapshot *sn = hold(k);

	*t = (struct stream){.info = *store_snapshot_info(sn)};
	while (take_one(sn, t))
		;
	store_snapshot_close(sn);
	ck_assert_uint_gt(t->n, 5);
}

/* ---- an importer, on disk or in memory ---- */

struct sink {
	struct store_import *im;
	struct store_opts opts;
	struct rfs_err err;
	char dir[256];
	char base[256];
};

static void sink_begin(struct sink *k, int disk)
{
	int rc;

	*k = (struct sink){0};
	if (disk != 0) {
		kit_temp_dir(k->base);
		(void)snprintf(k->dir, sizeof(k->dir), "%.200s/store", k->base);
	} else {
		ck_assert_int_eq(engine_mem_open(&k->opts.engine, NULL), 0);
	}
	rc = store_import_begin(&k->im, k->dir, &k->opts, &k->err);
	ck_assert_msg(rc == 0, "%s", k->err.msg);
}

static int sink_take(struct sink *k, const struct buf *b)
{
	return store_import_chunk(k->im, b->data, b->len, &k->err);
}

static void sink_take_from(struct sink *k, const struct stream *t, size_t from)
{
	for (size_t i = from; i < t->n; i++) {
		ck_assert_uint_eq(store_import_next(k->im), i);
		ck_assert_msg(sink_take(k, &t->chunk[i]) == (i + 1 == t->n), "%s", k->err.msg);
	}
}

static void sink_end(struct sink *k)
{
	store_import_abandon(k->im);
	if (k->opts.engine != NULL)
		k->opts.engine->vt->close(k->opts.engine);
	else
		kit_remove_dir(k->base);
}

/* Open what was imported and see that it is what was sent. */
static void sink_open(struct sink *k, const struct stream *t, struct kit *out)
{
	int rc = store_import_finish(k->im, &k->err);

	k->im = NULL;
	ck_assert_msg(rc == 0, "%s", k->err.msg);
	if (k->opts.engine == NULL)
		ck_assert_msg(store_switch(k->dir, &k->err) == 0, "%s", k->err.msg);
	*out = (struct kit){.time_ns = 1u << 30};
	(void)snprintf(out->dir, sizeof(out->dir), "%s", k->dir);
	kit_open_opts(out, &k->opts);
	ck_assert_uint_eq(out->pos.index, t->info.pos.index);
	ck_assert_uint_eq(out->pos.term, t->info.pos.term);
	ck_assert_uint_eq(kit_digest(out), t->info.digest);
	ck_assert_uint_eq(store_installed(out->s).index, t->info.pos.index);
	kit_verify(out);
}

/* ---- whole journeys ---- */

START_TEST(test_imported_store_is_the_source_at_its_position_while_that_goes_on)
{
	uint64_t seed = (uint64_t)_i * 77 + 5;
	struct store_counts a, b;
	struct store_digest then;
	struct stream t = {0};
	struct store_snapshot *sn;
	struct kit k, copy;
	struct sink sink;

	open_source(&k, _i & 1, seed);
	sn = hold(&k);
	t.info = *store_snapshot_info(sn);
	store_get_digest(k.s, &then);
	store_get_counts(k.s, &a);
	ck_assert_uint_eq(t.info.pos.index, then.pos.index);
	do {
		struct raft_pos durable;

		for (int i = 0; i < 5; i++)
			change_something(&k, &seed);
		if (t.n % 16 == 3)
			ck_assert_int_eq(store_flush(k.s, &durable, &k.err), 0);
	} while (take_one(sn, &t));
	store_snapshot_close(sn);
	ck_assert_uint_ne(kit_digest(&k), then.value);

	sink_begin(&sink, _i & 2);
	sink_take_from(&sink, &t, 0);
	sink_open(&sink, &t, &copy);
	ck_assert_uint_eq(kit_digest(&copy), then.value);
	store_get_counts(copy.s, &b);
	ck_assert(a.inodes == b.inodes && a.bytes == b.bytes && a.sessions == b.sessions);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&t);
	kit_close(&k);
}
END_TEST

struct worker {
	struct store_snapshot *sn;
	struct stream t;
	atomic_bool done;
};

static void *take_in_thread(void *arg)
{
	struct worker *w = arg;

	while (take_one(w->sn, &w->t))
		;
	atomic_store(&w->done, true);
	return NULL;
}

START_TEST(test_snapshot_is_read_on_a_thread_of_its_own_beside_the_writer)
{
	uint64_t seed = 21;
	struct worker *w = mem_zalloc(sizeof(*w));
	struct raft_pos durable;
	pthread_t thread;
	struct kit k, copy;
	struct sink sink;

	open_source(&k, _i, seed);
	w->sn = hold(&k);
	w->t.info = *store_snapshot_info(w->sn);
	ck_assert_int_eq(pthread_create(&thread, NULL, take_in_thread, w), 0);
	for (int i = 0; !atomic_load(&w->done) || i < 200; i++) {
		change_something(&k, &seed);
		if (i % 50 == 49)
			ck_assert_int_eq(store_flush(k.s, &durable, &k.err), 0);
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	store_snapshot_close(w->sn);
	sink_begin(&sink, 0);
	sink_take_from(&sink, &w->t, 0);
	sink_open(&sink, &w->t, &copy);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&w->t);
	free(w);
	kit_close(&k);
}
END_TEST

START_TEST(test_imported_store_goes_on_as_the_source_does)
{
	uint64_t seed = 9, same;
	struct stream t;
	struct kit k, copy;
	struct sink sink;
	struct raft_pos pos;
	const void *conf;
	size_t len;

	open_source(&k, 0, seed);
	take_all(&k, &t);
	sink_begin(&sink, _i);
	sink_take_from(&sink, &t, 0);
	sink_open(&sink, &t, &copy);
	store_get_membership(copy.s, &pos, &conf, &len);
	ck_assert_uint_eq(pos.index, 1);
	ck_assert_uint_eq(len, 5);
	ck_assert_mem_eq(conf, "1 2 3", 5);
	copy.time_ns = k.time_ns;
	copy.session = k.session;
	copy.seq = k.seq;
	same = seed;
	for (int i = 0; i < 300; i++) {
		change_something(&k, &seed);
		change_something(&copy, &same);
		ck_assert_uint_eq(kit_digest(&k), kit_digest(&copy));
	}
	/* a session's answered request is known there, too */
	k.seq--;
	copy.seq--;
	ck_assert_int_eq(kit_put(&k, "d9/again", "x"), kit_put(&copy, "d9/again", "x"));
	ck_assert_uint_eq(kit_digest(&k), kit_digest(&copy));
	kit_verify(&copy);
	ck_assert_uint_eq(store_installed(copy.s).index, t.info.pos.index);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&t);
	kit_close(&k);
}
END_TEST

START_TEST(test_equal_states_give_equal_chunks_on_any_engine)
{
	struct stream a, b;
	struct kit k, l;

	open_source(&k, 0, 3);
	open_source(&l, 1, 3);
	take_all(&k, &a);
	take_all(&l, &b);
	ck_assert_uint_eq(a.n, b.n);
	for (size_t i = 0; i < a.n; i++) {
		ck_assert_uint_eq(a.chunk[i].len, b.chunk[i].len);
		ck_assert_mem_eq(a.chunk[i].data, b.chunk[i].data, a.chunk[i].len);
	}
	stream_free(&a);
	stream_free(&b);
	kit_close(&k);
	kit_close(&l);
}
END_TEST

START_TEST(test_chunks_are_of_bounded_size)
{
	struct store_snapshot *sn;
	struct stream t;
	struct kit k;
	struct buf b;
	size_t large = 0;

	open_source(&k, 0, 4);
	take_all(&k, &t);
	for (size_t i = 0; i < t.n; i++)
		large += t.chunk[i].len > CHUNK;
	ck_assert_uint_eq(large, 5); /* the pieces of the large file, each by itself */
	stream_free(&t);
	buf_init(&b);
	ck_assert_int_eq(store_snapshot_open(k.s, 0, &sn, &k.err), 0);
	while (store_snapshot_next(sn, &b, &k.err) > 0)
		ck_assert_uint_le(b.len, STORE_SNAPSHOT_CHUNK_BYTES_MAX);
	store_snapshot_close(sn);
	buf_free(&b);
	kit_close(&k);
}
END_TEST

START_TEST(test_snapshot_goes_on_from_any_chunk_that_was_given)
{
	struct store_snapshot *sn;
	struct stream t, again = {0};
	uint64_t seed = 11;
	struct kit k;

	open_source(&k, _i, 5);
	take_all(&k, &t);
	sn = hold(&k);
	ck_assert_int_eq(store_snapshot_seek(sn, 1), -EINVAL);
	for (int i = 0; i < 200; i++) {
		size_t given = again.n, to;

		for (uint64_t n = next_random(&seed) % 9; n > 0 && take_one(sn, &again); n--)
			;
		for (size_t at = given; at < again.n; at++) {
			ck_assert_uint_eq(again.chunk[at].len, t.chunk[at].len);
			ck_assert_mem_eq(again.chunk[at].data, t.chunk[at].data, t.chunk[at].len);
		}
		to = again.n - next_random(&seed) % (again.n < 4 ? again.n + 1 : 4);
		ck_assert_int_eq(store_snapshot_seek(sn, to), 0);
		while (again.n > to)
			buf_free(&again.chunk[--again.n]);
		change_something(&k, &seed);
	}
	ck_assert_int_eq(store_snapshot_seek(sn, again.n + 40), -EINVAL);
	store_snapshot_close(sn);
	stream_free(&t);
	stream_free(&again);
	kit_close(&k);
}
END_TEST

START_TEST(test_snapshot_of_a_new_store_can_be_taken)
{
	struct stream t = {0};
	struct store_snapshot *sn;
	struct kit k, copy;
	struct sink sink;

	kit_open_memory(&k);
	sn = hold(&k);
	t.info = *store_snapshot_info(sn);
	while (take_one(sn, &t))
		;
	store_snapshot_close(sn);
	ck_assert_uint_eq(t.n, 3);
	sink_begin(&sink, 0);
	sink_take_from(&sink, &t, 0);
	sink_open(&sink, &t, &copy);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&t);
	kit_close(&k);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(test_flipped_bit_is_refused_and_the_chunk_may_come_again)
{
	struct stream t;
	struct kit k, copy;
	struct sink sink;

	open_source(&k, 0, 6);
	take_all(&k, &t);
	sink_begin(&sink, 0);
	for (size_t i = 0; i < t.n; i++) {
		struct buf *b = &t.chunk[i];

		for (size_t at = 0; at<b->len; at += b->len> 4096 ? 997 : 13) {
			b->data[at] ^= (uint8_t)(1u << (at % 8));
			ck_assert_int_eq(sink_take(&sink, b), RFS_ECORRUPT);
			b->data[at] ^= (uint8_t)(1u << (at % 8));
		}
		ck_assert_int_eq(store_import_chunk(sink.im, b->data, b->len - 1, &sink.err),
		                 RFS_ECORRUPT);
		ck_assert_int_eq(sink_take(&sink, b), i + 1 == t.n);
	}
	sink_open(&sink, &t, &copy);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&t);
	kit_close(&k);
}
END_TEST

START_TEST(test_missing_doubled_and_reordered_chunks_are_refused)
{
	struct stream t;
	struct kit k, copy;
	struct sink sink;

	open_source(&k, 0, 7);
	take_all(&k, &t);
	sink_begin(&sink, 0);
	for (size_t i = 0; i < t.n; i++) {
		for (size_t other = 0; other < t.n; other++)
			if (other != i)
				ck_assert_int_eq(sink_take(&sink, &t.chunk[other]), RFS_EPROTO);
		ck_assert_uint_eq(store_import_next(sink.im), i);
		ck_assert_int_eq(sink_take(&sink, &t.chunk[i]), i + 1 == t.n);
	}
	ck_assert_int_eq(sink_take(&sink, &t.chunk[t.n - 1]), RFS_EPROTO);
	sink_open(&sink, &t, &copy);
	store_close(copy.s);
	sink_end(&sink);
	stream_free(&t);
	kit_close(&k);
}
END_TEST

START_TEST(test_chunk_of_another_snapshot_is_refused)
{
	struct stream t, later;
	struct kit k;
	struct sink sink;

	open_source(&k, 0, 8);
	take_all(&k, &t);
	ck_assert_int_eq(kit_put(&k, "new", "x"), 0);
	take_all(&k, &later);
	sink_begin(&sink, 0);
	for (size_t i = 0; i < t.n; i++) {
		if (i > 0 && i < later.n)
			ck_assert_int_eq(sink_take(&sink, &later.chunk[i]), RFS_EPROTO);
		ck_assert_int_ge(sink_take(&sink, &t.chunk[i]), 0);
	}
	sink_end(&sink);
	stream_free(&t);
	stream_free(&later);
	kit_close(&k);
}
END_TEST

START_TEST(test_import_without_its_end_cannot_be_finished)
{
	char path[300];
	struct stream t;
	struct kit k;
	struct sink sink;

	open_source(&k, 0, 9);
	take_all(&k, &t);
	for (size_t i = 0; i < t.n; i += 7) {
		sink_begin(&sink, 1);
		for (size_t j = 0; j < i; j++)
			ck_assert_int_eq(sink_take(&sink, &t.chunk[j]), 0);
		ck_assert_int_eq(store_import_finish(sink.im, &sink.err), -EINVAL);
		sink.im = NULL;
		ck_assert_int_eq(store_switch(sink.dir, &sink.err), -ENOENT);
		(void)snprintf(path, sizeof(path), "%s.import", sink.dir);
		ck_assert_int_ne(access(path, F_OK), 0);
		sink_end(&sink);
	}
	stream_free(&t);
	kit_close(&k);
}
END_TEST

/* ---- forgeries: every checksum is right, but not what they say ---- */

enum forgery {
	FORGE_NOTHING,
	FORGE_DROP_RECORD,
	FORGE_DOUBLE_RECORD,
	FORGE_SWAP_RECORDS,
	FORGE_CHANGE_VALUE,
	FORGE_STORE_RECORD,
	FORGE_UNKNOWN_RECORD,
	FORGE_BYTES_LEFT,
	FORGE_HEAD_TWICE,
	FORGE_NO_HEAD,
	FORGE_KIND,
	FORGE_COUNTS,
	FORGE_NEXT_INO,
	FORGE_DIGEST,
	FORGE_HEAD_DIGEST,
	FORGE_TOTALS,
	FORGE_NEWER_FORMAT, /* of which the records do not speak */
	FORGE_STREAM_VERSION,
	FORGE_STORE_VERSION,
	FORGERIES,
};

static void forge_head(struct buf *out, const struct chunk *c, enum forgery f)
{
	struct chunk_head h;

	ck_assert_ptr_null(chunk_get_head(c->body, &h));
	h.info.counts.inodes += f == FORGE_COUNTS;
	h.info.digest += f == FORGE_DIGEST || f == FORGE_HEAD_DIGEST;
	h.next_ino = f == FORGE_NEXT_INO ? 2 : h.next_ino;
	h.stream_version += f == FORGE_STREAM_VERSION;
	h.store_version = f == FORGE_STORE_VERSION  ? STORE_FORMAT_MAX + 1
	                  : f == FORGE_NEWER_FORMAT ? STORE_FORMAT_MAX
	                                            : h.store_version;
	chunk_put_head(out, &h);
}

/* A chunk of several records. */
#define FORGED_CHUNK 8u
static void forge_records(struct buf *out, const struct chunk *c, enum forgery f)
{
	struct reader r = reader_of(c->body.p, c->body.len);
	struct engine_bytes key[2], value[2];
	uint8_t copy[4096];
	bool hit = c->seq == FORGED_CHUNK;

	for (int i = 0; chunk_get_record(&r, &key[0], &value[0]); i++) {
		if (!hit || i != 0) {
			chunk_put_record(out, key[0], value[0]);
			continue;
		}
		if (f == FORGE_CHANGE_VALUE) {
			ck_assert(value[0].len > 0 && value[0].len <= sizeof(copy));
			memcpy(copy, value[0].p, value[0].len);
			copy[value[0].len - 1] ^= 1;
			value[0].p = copy;
		}
		if (f == FORGE_SWAP_RECORDS) {
			ck_assert(chunk_get_record(&r, &key[1], &value[1]));
			chunk_put_record(out, key[1], value[1]);
		}
		if (f != FORGE_DROP_RECORD)
			chunk_put_record(out, key[0], value[0]);
		if (f == FORGE_DOUBLE_RECORD)
			chunk_put_record(out, key[0], value[0]);
		if (f == FORGE_STORE_RECORD)
			chunk_put_record(out, (struct engine_bytes){(const uint8_t *)"M", 1},
			                 value[0]);
		if (f == FORGE_UNKNOWN_RECORD)
			chunk_put_record(out, (struct engine_bytes){(const uint8_t *)"Z", 1},
			                 value[0]);
	}
	if (hit && f == FORGE_BYTES_LEFT)
		buf_put_u8(out, 9);
}

static void forge_body(struct buf *out, const struct chunk *c, enum forgery f)
{
	struct chunk_totals totals;

	switch ((enum chunk_kind)c->kind) {
	case CHUNK_HEAD: forge_head(out, c, f); break;
	case CHUNK_RECORDS: forge_records(out, c, f); break;
	case CHUNK_END:
		ck_assert_ptr_null(chunk_get_totals(c->body, &totals));
		totals.records += f == FORGE_TOTALS;
		totals.digest += f == FORGE_DIGEST;
		chunk_put_totals(out, &totals);
		break;
	}
}

static int import_forged(struct sink *sink, const struct stream *t, enum forgery f)
{
	uint32_t link = 0;
	struct buf b;
	int rc = 0;

	buf_init(&b);
	for (size_t i = 0; i < t->n && rc == 0; i++) {
		uint64_t seq = i - (f == FORGE_NO_HEAD);
		struct chunk c;

		if (i == 0 && f == FORGE_NO_HEAD)
			continue;
		ck_assert_ptr_null(chunk_get(t->chunk[i].data, t->chunk[i].len, &c));
		if (i == 2 && f == FORGE_HEAD_TWICE)
			ck_assert_ptr_null(chunk_get(t->chunk[0].data, t->chunk[0].len, &c));
		chunk_begin(&b,
		            i == 2 && f == FORGE_KIND ? (enum chunk_kind)4
		                                      : (enum chunk_kind)c.kind,
		            seq, link);
		forge_body(&b, &c, f);
		link = chunk_end(&b);
		rc = sink_take(sink, &b);
	}
	buf_free(&b);
	return rc;
}

START_TEST(test_records_that_do_not_add_up_are_refused_for_good)
{
	struct stream t;
	struct kit k, copy;
	struct sink sink;
	int rc;

	open_source(&k, 0, 10);
	take_all(&k, &t);
	for (int f = 0; f < FORGERIES; f++) {
		sink_begin(&sink, 0);
		rc = import_forged(&sink, &t, (enum forgery)f);
		if (f == FORGE_NOTHING) {
			ck_assert_int_eq(rc, 1);
			sink_open(&sink, &t, &copy);
			store_close(copy.s);
		} else {
			ck_assert_msg(
			        rc == (f >= FORGE_STREAM_VERSION ? RFS_EVERSION : RFS_ECORRUPT),
			        "forgery %d: %d", f, rc);
			ck_assert_int_eq(sink_take(&sink, &t.chunk[0]), rc);
			ck_assert_int_eq(store_import_finish(sink.im, &sink.err), rc);
			sink.im = NULL;
		}
		sink_end(&sink);
	}
	stream_free(&t);
	kit_close(&k);
}
END_TEST

START_TEST(test_source_with_a_damaged_record_gives_no_end)
{
	struct record_key key = record_key_inode(3);
	struct store_snapshot *sn;
	struct engine_bytes v;
	uint8_t copy[8192];
	struct buf b;
	struct kit k;
	int rc;

	open_source(&k, 0, 11);
	ck_assert_int_eq(k.s->e->vt->get(k.s->e, record_key_bytes(&key), &v, NULL), 1);
	memcpy(copy, v.p, v.len);
	copy[60] ^= 4;
	v.p = copy;
	k.s->e->vt->put(k.s->e, record_key_bytes(&key), v, NULL);
	k.s->e->vt->commit(k.s->e, NULL);
	buf_init(&b);
	sn = hold(&k);
	while ((rc = store_snapshot_next(sn, &b, &k.err)) > 0)
		;
	ck_assert_int_eq(rc, RFS_ECORRUPT);
	store_snapshot_close(sn);
	buf_free(&b);
	store_close(k.s);
}
END_TEST

START_TEST(test_import_refuses_an_engine_with_records)
{
	struct store_import *im;
	struct kit k;

	open_source(&k, 0, 12);
	ck_assert_int_eq(
	        store_import_begin(&im, NULL, &(struct store_opts){.engine = k.s->e}, &k.err),
	        -EEXIST);
	kit_close(&k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_snapshot");
	TCase *c = tcase_create("store_snapshot");

	tcase_set_timeout(c, 120);
	tcase_add_loop_test(c, test_imported_store_is_the_source_at_its_position_while_that_goes_on,
	                    0, 12);
	tcase_add_loop_test(c, test_snapshot_is_read_on_a_thread_of_its_own_beside_the_writer, 0,
	                    2);
	tcase_add_loop_test(c, test_imported_store_goes_on_as_the_source_does, 0, 2);
	tcase_add_test(c, test_equal_states_give_equal_chunks_on_any_engine);
	tcase_add_test(c, test_chunks_are_of_bounded_size);
	tcase_add_loop_test(c, test_snapshot_goes_on_from_any_chunk_that_was_given, 0, 2);
	tcase_add_test(c, test_snapshot_of_a_new_store_can_be_taken);
	tcase_add_test(c, test_flipped_bit_is_refused_and_the_chunk_may_come_again);
	tcase_add_test(c, test_missing_doubled_and_reordered_chunks_are_refused);
	tcase_add_test(c, test_chunk_of_another_snapshot_is_refused);
	tcase_add_test(c, test_import_without_its_end_cannot_be_finished);
	tcase_add_test(c, test_records_that_do_not_add_up_are_refused_for_good);
	tcase_add_test(c, test_source_with_a_damaged_record_gives_no_end);
	tcase_add_test(c, test_import_refuses_an_engine_with_records);
	suite_add_tcase(s, c);
	return kit_run(s);
}

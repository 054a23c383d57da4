/* Nodes of an older release may be in the cluster as long as its protocol version is 1: a state
 * machine at version 1 must make of a log, to the byte, what the first release made of it. The
 * digests below are the first release's; they are never to be changed. What behaves in another way
 * than it did must ask store_version() and keep the old way for version 1. */
#include "store_kit.h"
#include "../support/rng.h"

#define COMMANDS 20000u
#define EVERY    2500u
#define SESSIONS 4u
#define NAMES    40u

/* The state after every 2,500 commands, for each of three seeds. */
static const uint64_t release_1[3][COMMANDS / EVERY] = {
        {0x03bd877de13e283c, 0xadfc2504cf28c3b6, 0x2b6a9c52fbd4a4d0, 0x33f9d4b527cc3920,
         0x28e53faa9da18b50, 0x4e107d6a35dd6b61, 0x8282bf8edbf2c9c6, 0x0a0c43f0d5af35c6},
        {0x9996332deb0578b6, 0x2f113d01f876bfcd, 0x8161de889b05753e, 0xd342a69960a8c5e2,
         0xb5d2959ba840dd93, 0xc8a53d174d7c204f, 0x878be23d823b3b82, 0x0d71c711c2edea45},
        {0xee2629ba11c4e201, 0x8a18c2be22f1e10a, 0x56257f761dc9f82c, 0x10fa7abb3d51ba62,
         0xba9eb9fbbfd42900, 0xbba7170a5772ee1f, 0xcc7c101f41e6af76, 0x64937a8ee571e608},
};

struct work {
	struct rng rng;
	uint64_t time_ns;
	uint64_t session[SESSIONS], seq[SESSIONS];
	uint64_t ino_max, dirs[8], files[8]; /* of late; some may be gone */
	char names[2][16], path[64];
	char data[9000];
	struct fs_op op;
};

static struct fs_str draw_name(struct work *w, int at)
{
	(void)snprintf(w->names[at], sizeof(w->names[at]), "n%u",
	               (unsigned)rng_below(&w->rng, NAMES));
	return fs_str_of(w->names[at]);
}

static struct fs_str draw_path(struct work *w)
{
	unsigned a = (unsigned)rng_below(&w->rng, 6), b = (unsigned)rng_below(&w->rng, NAMES),
	         c = (unsigned)rng_below(&w->rng, NAMES);

	switch (rng_below(&w->rng, 4)) {
	case 0: (void)snprintf(w->path, sizeof(w->path), "n%u", a); break;
	case 1: (void)snprintf(w->path, sizeof(w->path), "n%u/n%u", a, b); break;
	case 2: (void)snprintf(w->path, sizeof(w->path), "/n%u/n%u/n%u", a, b, c); break;
	default: (void)snprintf(w->path, sizeof(w->path), "n%u/../n%u", a, b); break;
	}
	return fs_str_of(w->path);
}

static uint64_t draw_dir(struct work *w)
{
	uint64_t what = rng_below(&w->rng, 100);

	if (what < 40)
		return FS_ROOT_INO;
	return what < 95 ? w->dirs[rng_below(&w->rng, 8)] : rng_below(&w->rng, w->ino_max + 2);
}

static uint64_t draw_ino(struct work *w)
{
	uint64_t what = rng_below(&w->rng, 100);

	if (what < 80)
		return w->files[rng_below(&w->rng, 8)];
	return what < 90 ? draw_dir(w) : rng_below(&w->rng, w->ino_max + 2);
}

static void note_ino(struct work *w, const struct fs_attr *a)
{
	uint64_t at = rng_below(&w->rng, 8);

	if (a->ino > w->ino_max)
		w->ino_max = a->ino;
	if (S_ISDIR(a->mode))
		w->dirs[at] = a->ino;
	else
		w->files[at] = a->ino;
}

static void draw_data(struct work *w)
{
	static const uint32_t sizes[] = {0, 1, 40, 700, 4096, 4097, 9000};

	w->op.data_len = sizes[rng_below(&w->rng, 7)];
	if (w->op.kind == FS_OP_MKNOD && rng_permille(&w->rng, 900))
		w->op.data_len = S_ISLNK(w->op.mode) ? 40 : 0;
	memset(w->data, (int)rng_below(&w->rng, 3), w->op.data_len);
	w->op.data = w->data;
}

static uint32_t draw_mode(struct work *w)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR,  S_IFDIR,
	                                 S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFSOCK, 0};

	return types[rng_below(&w->rng, 12)] | (uint32_t)rng_below(&w->rng, 010000);
}

/* Flags that the first release knows, most of the time few of them. */
static uint32_t draw_flags(struct work *w)
{
	return rng_permille(&w->rng, 300)
	               ? (uint32_t)(rng_below(&w->rng, 128) & rng_below(&w->rng, 128))
	               : 0;
}

static void draw_attributes(struct work *w)
{
	w->op.valid = (uint32_t)rng_below(&w->rng, 512);
	w->op.uid = (uint32_t)rng_below(&w->rng, 3);
	w->op.gid = (uint32_t)rng_below(&w->rng, 3);
	w->op.size = rng_permille(&w->rng, 900) ? rng_below(&w->rng, 40000)
	                                        : FS_FILE_BYTES_MAX - 2 + rng_below(&w->rng, 4);
	w->op.atime_ns = (int64_t)rng_below(&w->rng, 1000) - 500;
	w->op.mtime_ns = (int64_t)rng_below(&w->rng, 1000) - 500;
	w->op.ctime_ns = (int64_t)(w->time_ns + rng_below(&w->rng, 1000));
}

/* A command of the first release with all its fields drawn, sensible or not; now and then one of a
 * kind or with a flag that it did not know. */
static void draw_op(struct work *w)
{
	uint64_t what = rng_below(&w->rng, 1000);

	w->op = (struct fs_op){
	        .kind = (enum fs_op_kind)rng_between(&w->rng, FS_OP_MKNOD, FS_OP_DELETE),
	        .flags = draw_flags(w),
	        .ino = draw_ino(w),
	        .parent = draw_dir(w),
	        .parent2 = draw_dir(w),
	        .keep_ino = rng_permille(&w->rng, 300) ? draw_ino(w) : 0,
	        .name = draw_name(w, 0),
	        .name2 = draw_name(w, 1),
	        .mode = draw_mode(w),
	        .rdev = rng_below(&w->rng, 5),
	        .offset = rng_below(&w->rng, 50000),
	};
	draw_attributes(w);
	draw_data(w);
	if (w->op.kind == FS_OP_SETATTR && rng_permille(&w->rng, 900))
		w->op.mode &= 07777;
	if (w->op.kind == FS_OP_PUT || w->op.kind == FS_OP_DELETE)
		w->op.name = draw_path(w);
	if (what < 15)
		w->op.kind = (enum fs_op_kind)rng_between(&w->rng, FS_OP_DELETE + 1, 63);
	else if (what < 25)
		w->op.flags |= 1u << rng_between(&w->rng, 7, 31);
	else if (what < 30)
		w->op.kind = FS_OP_NONE;
	else if (what < 33)
		w->op.kind = FS_OP_SESSION_EXPIRE;
}

static struct store_cmd draw_command(struct work *w)
{
	struct store_cmd cmd = {.op = &w->op};
	size_t at = rng_below(&w->rng, SESSIONS);

	w->time_ns += rng_permille(&w->rng, 20) ? 4000000000u : rng_below(&w->rng, 100000);
	cmd.time_ns = w->time_ns;
	draw_op(w);
	if (w->session[at] == 0 || rng_permille(&w->rng, 3)) {
		w->op = (struct fs_op){.kind = FS_OP_SESSION_OPEN,
		                       .size = rng_permille(&w->rng, 950) ? 10000 : 0};
		w->session[at] = 0;
		return cmd;
	}
	if (w->op.kind == FS_OP_SESSION_EXPIRE) {
		w->op.ino = w->session[at];
		return cmd;
	}
	if (rng_permille(&w->rng, 50)) /* one without a session */
		return cmd;
	if (rng_permille(&w->rng, 3))
		w->op.kind = FS_OP_SESSION_CLOSE;
	cmd.session = w->session[at];
	cmd.seq = rng_permille(&w->rng, 40) && w->seq[at] > 0 ? w->seq[at] : ++w->seq[at];
	cmd.lowest = cmd.seq - rng_below(&w->rng, cmd.seq < 5 ? cmd.seq : 5);
	return cmd;
}

static void note_session(struct work *w, const struct store_cmd *cmd, const struct kit *k)
{
	for (size_t i = 0; k->res.err == RFS_ESESSION && i < SESSIONS; i++)
		if (w->session[i] == cmd->session)
			w->session[i] = 0;
	for (size_t i = 0; w->op.kind == FS_OP_SESSION_OPEN && i < SESSIONS; i++) {
		if (w->session[i] != 0)
			continue;
		w->session[i] = k->res.err == 0 ? k->res.value : 0;
		w->seq[i] = 0;
		return;
	}
}

static void run(uint64_t seed, uint64_t digests[COMMANDS / EVERY])
{
	struct work *w = mem_zalloc(sizeof(*w));
	unsigned good = 0;
	struct kit k = {0};

	w->rng.s = seed;
	w->time_ns = 1700000000000000000u;
	kit_open_opts(&k, &(struct store_opts){.memory = true});
	ck_assert_uint_eq(store_version(k.s), 1);
	for (unsigned i = 1; i <= COMMANDS; i++) {
		struct store_cmd cmd = draw_command(w);

		good += kit_apply(&k, &cmd) == 0;
		note_session(w, &cmd, &k);
		if (k.res.has_attr)
			note_ino(w, &k.res.attr);
		if (i % 100 == 0)
			kit_commit(&k);
		if (i % EVERY == 0)
			digests[i / EVERY - 1] = kit_digest(&k);
	}
	ck_assert_uint_gt(good, COMMANDS / 5);
	kit_close(&k);
	free(w);
}

START_TEST(test_version_1_makes_of_a_log_what_the_first_release_made_of_it)
{
	uint64_t digests[COMMANDS / EVERY];

	run((uint64_t)_i + 1, digests);
	for (size_t i = 0; i < COMMANDS / EVERY; i++)
		ck_assert_msg(digests[i] == release_1[_i][i],
		              "seed %d: another state within commands %zu to %zu", _i + 1,
		              i * EVERY + 1, (i + 1) * EVERY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store_version_1");
	TCase *t = tcase_create("store_version_1");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, test_version_1_makes_of_a_log_what_the_first_release_made_of_it, 0,
	                    3);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

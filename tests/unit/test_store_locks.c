/* Locks: who gets one, who waits, and what a lock that was lost means to its owner. */
#include "lock_kit.h"

#define ALICE 101u /* owners */
#define BOB   102u
#define CAROL 103u

static uint64_t file;

static void setup(void)
{
	k = (struct kit){.time_ns = 1000};
	kit_open_opts(&k, &(struct store_opts){.memory = true, .on_lock = note_news});
	raise_version();
	open_sessions();
	file = kit_file(&k, FS_ROOT_INO, "f");
	n_news = 0;
}

static void teardown(void)
{
	kit_close(&k);
}

static int flock_as(size_t who, uint64_t owner, uint32_t flags)
{
	return as(who, &(struct fs_op){.kind = FS_OP_LOCK,
	                               .ino = file,
	                               .lock_owner = owner,
	                               .pid = (uint32_t)owner,
	                               .flags = flags});
}

static int unflock_as(size_t who, uint64_t owner)
{
	return as(who, &(struct fs_op){.kind = FS_OP_UNLOCK, .ino = file, .lock_owner = owner});
}

static int range_of(size_t who, enum fs_op_kind kind, uint64_t ino, uint64_t owner, uint64_t offset,
                    uint64_t size, uint32_t flags)
{
	return as(who, &(struct fs_op){.kind = kind,
	                               .ino = ino,
	                               .lock_owner = owner,
	                               .pid = (uint32_t)owner,
	                               .offset = offset,
	                               .size = size,
	                               .flags = flags | FS_F_LOCK_BYTES});
}

static int lock_range(size_t who, uint64_t owner, uint64_t offset, uint64_t size, uint32_t flags)
{
	return range_of(who, FS_OP_LOCK, file, owner, offset, size, flags);
}

static int unlock_range(size_t who, uint64_t owner, uint64_t offset, uint64_t size)
{
	return range_of(who, FS_OP_UNLOCK, file, owner, offset, size, 0);
}

/* "ALICE x 0-9, …" of the byte ranges, "whole" of flock(2) locks; waiting ones with a ?. */
static const char *locks_text(void)
{
	static char text[1024];
	struct fs_op op = {.kind = FS_OP_LOCK_LIST, .size = FS_READ_BYTES_MAX};
	struct reader r;
	struct fs_lock l;
	size_t at = 0;

	text[0] = '\0';
	ck_assert_int_eq(kit_read(&k, &op), 0);
	r = reader_of(k.res.data, k.res.data_len);
	while (fs_lock_next(&r, &l)) {
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%llu%s%c",
		                       at > 0 ? " " : "", (unsigned long long)l.owner,
		                       (l.flags & FS_F_LOCK_WAIT) != 0 ? "?" : "",
		                       (l.flags & FS_F_LOCK_SHARED) != 0 ? 's' : 'x');
		if ((l.flags & FS_F_LOCK_BYTES) == 0)
			continue;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%llu-",
		                       (unsigned long long)l.offset);
		if (l.size != 0)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%llu",
			                       (unsigned long long)(l.offset + l.size - 1));
	}
	return text;
}

/* ---- flock(2) ---- */

START_TEST(test_exclusive_lock_has_one_owner_across_sessions)
{
	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_uint_eq(k.res.value, k.pos.index);
	ck_assert_int_eq(flock_as(1, ALICE, 0), -EAGAIN); /* owners are of their session */
	ck_assert_int_eq(flock_as(0, BOB, FS_F_LOCK_SHARED), -EAGAIN);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_int_eq(flock_as(1, ALICE, 0), 0);
	ck_assert_str_eq(locks_text(), "101x");
}
END_TEST

START_TEST(test_shared_locks_go_together)
{
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, CAROL, 0), -EAGAIN);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_int_eq(unflock_as(1, BOB), 0);
	ck_assert_int_eq(flock_as(1, CAROL, 0), 0);
}
END_TEST

START_TEST(test_waiting_lock_is_granted_by_the_entry_that_makes_room)
{
	uint64_t asked;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	asked = k.res.value;
	ck_assert_uint_eq(asked, k.pos.index);
	ck_assert_uint_eq(n_news, 0);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_uint_eq(n_news, 1);
	ck_assert_int_eq(news[0].err, 0);
	ck_assert_uint_eq(news[0].asked, asked);
	ck_assert_uint_eq(news[0].session, sessions[1]);
	ck_assert_uint_eq(news[0].seq, 1);
	ck_assert_uint_eq(news[0].token, k.pos.index);
	ck_assert_str_eq(locks_text(), "102x");
}
END_TEST

START_TEST(test_queue_is_first_come_first_served)
{
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	/* a reader that comes later does not overtake the writer, one that does not wait may */
	ck_assert_int_eq(flock_as(0, CAROL, FS_F_LOCK_WAIT | FS_F_LOCK_SHARED), RFS_EWAITING);
	ck_assert_int_eq(flock_as(0, CAROL + 1, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(unflock_as(0, CAROL + 1), 0);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_str_eq(locks_text(), "102x 103?s");
	ck_assert_int_eq(unflock_as(1, BOB), 0);
	ck_assert_str_eq(locks_text(), "103s");
}
END_TEST

START_TEST(test_who_holds_another_lock_waits_for_holders_only)
{
	uint64_t other = kit_file(&k, FS_ROOT_INO, "g");

	ck_assert_int_eq(as(0, &(struct fs_op){.kind = FS_OP_LOCK,
	                                       .ino = other,
	                                       .lock_owner = CAROL,
	                                       .pid = 7}),
	                 0);
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(as(0, &(struct fs_op){.kind = FS_OP_LOCK,
	                                       .ino = file,
	                                       .lock_owner = CAROL + 1,
	                                       .pid = 7,
	                                       .flags = FS_F_LOCK_WAIT | FS_F_LOCK_SHARED}),
	                 0);
}
END_TEST

START_TEST(test_flock_converts_at_once_where_nobody_is_in_the_way)
{
	uint64_t token;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	token = k.res.value;
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT | FS_F_LOCK_SHARED), RFS_EWAITING);
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_uint_gt(k.res.value, token);
	ck_assert_str_eq(locks_text(), "102s 101s");
	ck_assert_int_eq(flock_as(0, ALICE, 0), -EAGAIN);
	/* as in Linux, the old lock was given up for the try */
	ck_assert_str_eq(locks_text(), "102s");
}
END_TEST

START_TEST(test_two_readers_that_both_want_to_write_do_not_wait_for_each_other)
{
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), 0);
	ck_assert_str_eq(locks_text(), "101?x 102x");
}
END_TEST

START_TEST(test_lock_that_one_has_costs_nothing)
{
	uint64_t digest, token;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	token = k.res.value;
	digest = kit_digest(&k);
	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_uint_eq(k.res.value, token);
	ck_assert_uint_ne(kit_digest(&k), digest); /* the reply */
	ck_assert_str_eq(locks_text(), "101x");
}
END_TEST

/* ---- fcntl(2) ---- */

START_TEST(test_byte_ranges_split_and_merge)
{
	ck_assert_int_eq(lock_range(0, ALICE, 0, 100, 0), 0);
	ck_assert_int_eq(lock_range(0, ALICE, 10, 10, FS_F_LOCK_SHARED), 0);
	ck_assert_str_eq(locks_text(), "101x0-9 101s10-19 101x20-99");
	ck_assert_int_eq(unlock_range(0, ALICE, 15, 70), 0);
	ck_assert_uint_eq(k.res.value, 3);
	ck_assert_str_eq(locks_text(), "101x0-9 101s10-14 101x85-99");
	ck_assert_int_eq(lock_range(0, ALICE, 10, 75, 0), 0);
	ck_assert_str_eq(locks_text(), "101x0-99");
	ck_assert_int_eq(lock_range(0, ALICE, 100, 0, 0), 0);
	ck_assert_str_eq(locks_text(), "101x0-");
	ck_assert_int_eq(unlock_range(0, ALICE, 0, 0), 0);
	ck_assert_str_eq(locks_text(), "");
}
END_TEST

START_TEST(test_ranges_conflict_where_they_overlap)
{
	ck_assert_int_eq(lock_range(0, ALICE, 10, 10, 0), 0);
	ck_assert_int_eq(lock_range(1, BOB, 0, 10, 0), 0);
	ck_assert_int_eq(lock_range(1, BOB, 20, 0, 0), 0);
	ck_assert_int_eq(lock_range(1, BOB, 19, 1, FS_F_LOCK_SHARED), -EAGAIN);
	/* a byte-range lock and a whole-file lock know nothing of each other */
	ck_assert_int_eq(flock_as(1, BOB, 0), 0);
}
END_TEST

START_TEST(test_the_lock_in_the_way_is_told)
{
	struct fs_op op = {.kind = FS_OP_LOCK_TEST,
	                   .ino = file,
	                   .lock_session = sessions[1],
	                   .lock_owner = BOB,
	                   .flags = FS_F_LOCK_BYTES};
	struct fs_lock l;
	struct reader r;

	ck_assert_int_eq(lock_range(0, ALICE, 30, 5, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(lock_range(0, ALICE, 10, 5, 0), 0);
	ck_assert_int_eq(kit_read(&k, &op), 0);
	r = reader_of(k.res.data, k.res.data_len);
	ck_assert(fs_lock_next(&r, &l));
	ck_assert_uint_eq(l.offset, 10);
	ck_assert_uint_eq(l.size, 5);
	ck_assert_uint_eq(l.pid, ALICE);
	ck_assert_uint_eq(l.session, sessions[0]);
	ck_assert_uint_eq(l.flags, FS_F_LOCK_BYTES);
	op.flags |= FS_F_LOCK_SHARED;
	op.offset = 20;
	ck_assert_int_eq(kit_read(&k, &op), 0);
	ck_assert_uint_eq(k.res.data_len, 0);
}
END_TEST

START_TEST(test_ranges_out_of_bounds_are_refused)
{
	ck_assert_int_eq(lock_range(0, ALICE, 1ull << 63, 0, 0), -EINVAL);
	ck_assert_int_eq(lock_range(0, ALICE, 1, INT64_MAX, 0), 0); /* the last byte there is */
	ck_assert_int_eq(lock_range(0, ALICE, 2, INT64_MAX, 0), -EINVAL);
	ck_assert_int_eq(lock_range(0, ALICE, 0, UINT64_MAX, 0), -EINVAL);
	ck_assert_int_eq(unlock_range(0, ALICE, UINT64_MAX, 1), -EINVAL);
	ck_assert_int_eq(as(0, &(struct fs_op){.kind = FS_OP_LOCK, .ino = file, .size = 1}),
	                 -EINVAL);
	ck_assert_int_eq(as(0, &(struct fs_op){.kind = FS_OP_LOCK, .ino = 999}), -ESTALE);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_LOCK, .ino = file}), -EINVAL);
}
END_TEST

START_TEST(test_deadlock_across_files_is_refused)
{
	const uint32_t wait = FS_F_LOCK_WAIT;
	uint64_t g = kit_file(&k, FS_ROOT_INO, "g"), h = kit_file(&k, FS_ROOT_INO, "h");

	ck_assert_int_eq(range_of(0, FS_OP_LOCK, file, ALICE, 0, 1, 0), 0);
	ck_assert_int_eq(range_of(1, FS_OP_LOCK, g, BOB, 0, 1, 0), 0);
	ck_assert_int_eq(range_of(1, FS_OP_LOCK, h, CAROL, 0, 1, 0), 0);
	ck_assert_int_eq(range_of(0, FS_OP_LOCK, g, ALICE, 0, 1, wait), RFS_EWAITING);
	ck_assert_int_eq(range_of(1, FS_OP_LOCK, h, BOB, 0, 1, wait), RFS_EWAITING);
	ck_assert_int_eq(range_of(1, FS_OP_LOCK, file, CAROL, 0, 1, wait), -EDEADLK);
	/* a name of another session is another owner */
	ck_assert_int_eq(range_of(0, FS_OP_LOCK, file, CAROL, 0, 1, wait), RFS_EWAITING);
	/* without waiting there is no deadlock */
	ck_assert_int_eq(range_of(1, FS_OP_LOCK, file, CAROL, 0, 1, 0), -EAGAIN);
}
END_TEST

START_TEST(test_upgrade_of_two_readers_is_a_deadlock)
{
	ck_assert_int_eq(lock_range(0, ALICE, 0, 0, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(lock_range(1, BOB, 0, 0, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(lock_range(0, ALICE, 0, 0, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(lock_range(1, BOB, 0, 0, FS_F_LOCK_WAIT), -EDEADLK);
	ck_assert_int_eq(unlock_range(1, BOB, 0, 0), 0);
	ck_assert_str_eq(locks_text(), "101x0-");
}
END_TEST

/* ---- waiting and its ends ---- */

static int await(size_t who, uint64_t asked, uint64_t owner)
{
	return kit_read(&k, &(struct fs_op){.kind = FS_OP_LOCK_AWAIT,
	                                    .ino = file,
	                                    .lock_session = sessions[who],
	                                    .lock_owner = owner,
	                                    .lock_token = asked});
}

START_TEST(test_whoever_lost_the_answer_can_ask_again)
{
	struct fs_op op = {
	        .kind = FS_OP_LOCK, .ino = file, .lock_owner = BOB, .flags = FS_F_LOCK_WAIT};
	struct store_cmd again = {.session = sessions[1], .seq = 1, .lowest = 1, .op = &op};
	uint64_t asked;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_int_eq(as(1, &op), RFS_EWAITING);
	asked = k.res.value;
	ck_assert_int_eq(kit_apply(&k, &again), RFS_EWAITING);
	ck_assert_uint_eq(k.res.value, asked);
	ck_assert_str_eq(locks_text(), "101x 102?x");
	ck_assert_int_eq(await(1, asked, BOB), RFS_EWAITING);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_int_eq(await(1, asked, BOB), 0);
	ck_assert_uint_eq(k.res.value, k.pos.index);
	ck_assert_int_eq(kit_apply(&k, &again), RFS_EWAITING); /* what it was told then */
	ck_assert_int_eq(unflock_as(1, BOB), 0);
	ck_assert_int_eq(await(1, asked, BOB), -ENOENT);
	sessions[1] += 1000;
	ck_assert_int_eq(await(1, asked, BOB), RFS_ESESSION);
}
END_TEST

static int cancel(size_t who, uint64_t seq)
{
	return as(who, &(struct fs_op){.kind = FS_OP_LOCK_CANCEL, .ino = file, .lock_seq = seq});
}

START_TEST(test_cancelled_lock_waits_no_longer_nor_do_those_behind_it)
{
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(flock_as(1, CAROL, FS_F_LOCK_WAIT | FS_F_LOCK_SHARED), RFS_EWAITING);
	ck_assert_int_eq(cancel(0, 1), -ENOENT); /* another session's */
	ck_assert_int_eq(cancel(1, 1), 0);
	ck_assert_uint_eq(n_news, 2);
	ck_assert_int_eq(news[0].err, -EINTR);
	ck_assert_uint_eq(news[0].seq, 1);
	ck_assert_int_eq(news[1].err, 0);
	ck_assert_str_eq(locks_text(), "101s 103s");
	ck_assert_int_eq(cancel(1, 2), -ENOENT); /* too late: it is held */
}
END_TEST

START_TEST(test_locks_die_with_their_session)
{
	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_int_eq(lock_range(0, ALICE, 0, 10, 0), 0);
	ck_assert_int_eq(flock_as(0, CAROL, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(lock_range(1, BOB, 0, 0, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(
	        kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_EXPIRE, .ino = sessions[0]}), 0);
	ck_assert_uint_eq(n_news, 3);
	ck_assert_int_eq(news[0].err, RFS_ESESSION);
	ck_assert_int_eq(news[1].err, 0);
	ck_assert_int_eq(news[2].err, 0);
	ck_assert_str_eq(locks_text(), "102x 102x0-");
}
END_TEST

/* ---- fencing ---- */

static int write_fenced(size_t who, uint64_t owner, uint64_t token)
{
	return as(who, &(struct fs_op){.kind = FS_OP_WRITE,
	                               .ino = file,
	                               .lock_owner = owner,
	                               .lock_token = token,
	                               .flags = FS_F_FENCED,
	                               .data = "x",
	                               .data_len = 1});
}

START_TEST(test_write_with_a_lock_that_was_lost_is_refused)
{
	uint64_t token, version;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	token = k.res.value;
	ck_assert_int_eq(write_fenced(0, ALICE, token), 0);
	ck_assert_int_eq(write_fenced(1, ALICE, token), -ESTALE);
	ck_assert_int_eq(write_fenced(0, BOB, token), -ESTALE);
	/* converted meanwhile, and still its own */
	ck_assert_int_eq(flock_as(0, ALICE, FS_F_LOCK_SHARED), 0);
	ck_assert_int_eq(write_fenced(0, ALICE, token), 0);
	version = k.res.attr.version;
	/* given away and got back: what was written under the old one comes too late */
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_int_eq(write_fenced(0, ALICE, token), -ESTALE);
	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_int_eq(write_fenced(0, ALICE, token), -ESTALE);
	ck_assert_uint_eq(kit_attr(&k, file).version, version);
	ck_assert_int_eq(write_fenced(0, ALICE, flock_as(0, ALICE, 0) == 0 ? k.res.value : 0), 0);
}
END_TEST

START_TEST(test_broken_lock_fences_its_owner_and_goes_to_the_next)
{
	uint64_t token;

	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	token = k.res.value;
	ck_assert_int_eq(flock_as(1, BOB, FS_F_LOCK_WAIT), RFS_EWAITING);
	ck_assert_int_eq(
	        kit_do(&k, &(struct fs_op){.kind = FS_OP_LOCK_BREAK, .name = kit_str("f")}), 0);
	ck_assert_uint_eq(k.res.value, 1);
	ck_assert_uint_eq(k.res.attr.ino, file);
	ck_assert_str_eq(locks_text(), "102x");
	ck_assert_int_eq(write_fenced(0, ALICE, token), -ESTALE);
	ck_assert_int_eq(unflock_as(0, ALICE), 0);
	ck_assert_str_eq(locks_text(), "102x");
	ck_assert_int_eq(
	        kit_do(&k, &(struct fs_op){.kind = FS_OP_LOCK_BREAK, .name = kit_str("g")}),
	        -ENOENT);
}
END_TEST

/* ---- limits, listing ---- */

START_TEST(test_locks_of_an_inode_have_a_limit)
{
	for (uint64_t i = 0; i < STORE_LOCKS_INODE_MAX; i++) {
		struct store_cmd cmd = {.session = sessions[0], .seq = i + 1, .lowest = i + 1};
		const struct fs_op op = {.kind = FS_OP_LOCK,
		                         .ino = file,
		                         .lock_owner = ALICE,
		                         .offset = 2 * i,
		                         .size = 1,
		                         .flags = FS_F_LOCK_BYTES};

		cmd.op = &op;
		ck_assert_int_eq(kit_apply(&k, &cmd), 0);
	}
	seqs[0] = STORE_LOCKS_INODE_MAX;
	ck_assert_int_eq(
	        kit_apply(&k, &(struct store_cmd){.session = sessions[0],
	                                          .seq = ++seqs[0],
	                                          .lowest = seqs[0],
	                                          .op = &(struct fs_op){.kind = FS_OP_LOCK,
	                                                                .ino = file,
	                                                                .lock_owner = BOB,
	                                                                .offset = 1,
	                                                                .size = 1,
	                                                                .flags = FS_F_LOCK_BYTES}}),
	        -ENOLCK);
	ck_assert_int_eq(unlock_range(0, ALICE, 0, 0), 0);
}
END_TEST

START_TEST(test_list_comes_in_pages)
{
	struct fs_op op = {.kind = FS_OP_LOCK_LIST, .size = 2 * FS_LOCK_BYTES + 1};
	unsigned seen = 0;
	struct reader r;
	struct fs_lock l;

	for (uint64_t i = 0; i < 5; i++)
		ck_assert_int_eq(lock_range(0, ALICE + i, 10 * i, 1, 0), 0);
	do {
		ck_assert_int_eq(kit_read(&k, &op), 0);
		r = reader_of(k.res.data, k.res.data_len);
		while (fs_lock_next(&r, &l)) {
			ck_assert_uint_eq(l.owner, ALICE + seen++);
			op.ino = l.ino;
			op.offset = l.id;
		}
	} while (k.res.data_len > 0);
	ck_assert_uint_eq(seen, 5);
}
END_TEST

/* ---- conditional writes ---- */

static int put_if(const char *path, uint64_t version)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_PUT,
	                                  .name = kit_str(path),
	                                  .flags = FS_F_IF_VERSION,
	                                  .version = version,
	                                  .data = "new",
	                                  .data_len = 3});
}

static int delete_if(const char *path, uint64_t version)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_DELETE,
	                                  .name = kit_str(path),
	                                  .flags = FS_F_IF_VERSION,
	                                  .version = version});
}

START_TEST(test_conditional_put_needs_the_version_that_was_seen)
{
	uint64_t version;

	ck_assert_int_eq(put_if("a/b", 7), RFS_EPRECONDITION);
	ck_assert(!k.res.has_attr);
	ck_assert_int_eq(kit_get(&k, "a"), -ENOENT); /* no parents were made either */
	ck_assert_int_eq(put_if("a/b", 0), 0);
	version = k.res.attr.version;
	ck_assert_int_eq(put_if("a/b", 0), RFS_EPRECONDITION);
	ck_assert_uint_eq(k.res.attr.version, version);
	ck_assert_int_eq(put_if("a/b", version), 0);
	ck_assert_int_eq(put_if("a/b", version), RFS_EPRECONDITION);
	ck_assert_uint_gt(k.res.attr.version, version);
}
END_TEST

START_TEST(test_conditional_delete_needs_the_version_that_was_seen)
{
	uint64_t version;

	ck_assert_int_eq(kit_put(&k, "a", "x"), 0);
	version = k.res.attr.version;
	ck_assert_int_eq(delete_if("a", version + 1), RFS_EPRECONDITION);
	ck_assert_int_eq(delete_if("a", version), 0);
	ck_assert_int_eq(delete_if("a", version), RFS_EPRECONDITION);
	ck_assert_int_eq(delete_if("a", 0), -ENOENT);
}
END_TEST

START_TEST(test_conditional_rename_needs_the_version_that_was_seen)
{
	struct fs_op op = {.kind = FS_OP_RENAME,
	                   .parent = FS_ROOT_INO,
	                   .name = FS_STR("a"),
	                   .parent2 = FS_ROOT_INO,
	                   .name2 = FS_STR("b"),
	                   .flags = FS_F_IF_VERSION};

	ck_assert_int_eq(kit_put(&k, "b", "old"), 0);
	op.version = k.res.attr.version;
	ck_assert_int_eq(kit_put(&k, "a", "new"), 0);
	ck_assert_int_eq(kit_put(&k, "b", "other"), 0);
	ck_assert_int_eq(kit_do(&k, &op), RFS_EPRECONDITION);
	ck_assert_uint_gt(k.res.attr.version, op.version);
	op.version = k.res.attr.version;
	ck_assert_int_eq(kit_do(&k, &op), 0);
	ck_assert_uint_eq(k.res.attr.version, k.pos.index);
	ck_assert_int_eq(kit_get(&k, "b"), 0);
	ck_assert(kit_data_is(&k, "new"));
}
END_TEST

/* ---- older stores ---- */

static struct store_engine *engine;

static void reopen(void)
{
	if (k.s != NULL) {
		kit_commit(&k);
		store_close(k.s);
	}
	kit_open_opts(&k, &(struct store_opts){.engine = engine});
}

START_TEST(test_store_without_locks_opens_and_takes_them_once_the_cluster_may)
{
	ck_assert_int_eq(engine_mem_open(&engine, &k.err), 0);
	k = (struct kit){.time_ns = 1000};
	reopen();
	open_sessions();
	file = kit_file(&k, FS_ROOT_INO, "f");
	ck_assert_int_eq(flock_as(0, ALICE, 0), -EINVAL);
	ck_assert_int_eq(put_if("a", 0), -EINVAL);
	reopen();
	raise_version();
	ck_assert_int_eq(flock_as(0, ALICE, 0), 0);
	ck_assert_int_eq(put_if("a", 0), 0);
	reopen();
	ck_assert_str_eq(locks_text(), "101x");
	kit_close(&k);
	engine->vt->close(engine);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store locks");
	TCase *tc = tcase_create("locks"), *alone = tcase_create("stores of their own");

	tcase_set_timeout(tc, 60);
	tcase_set_timeout(alone, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_exclusive_lock_has_one_owner_across_sessions);
	tcase_add_test(tc, test_shared_locks_go_together);
	tcase_add_test(tc, test_waiting_lock_is_granted_by_the_entry_that_makes_room);
	tcase_add_test(tc, test_queue_is_first_come_first_served);
	tcase_add_test(tc, test_who_holds_another_lock_waits_for_holders_only);
	tcase_add_test(tc, test_flock_converts_at_once_where_nobody_is_in_the_way);
	tcase_add_test(tc, test_two_readers_that_both_want_to_write_do_not_wait_for_each_other);
	tcase_add_test(tc, test_lock_that_one_has_costs_nothing);
	tcase_add_test(tc, test_byte_ranges_split_and_merge);
	tcase_add_test(tc, test_ranges_conflict_where_they_overlap);
	tcase_add_test(tc, test_the_lock_in_the_way_is_told);
	tcase_add_test(tc, test_ranges_out_of_bounds_are_refused);
	tcase_add_test(tc, test_deadlock_across_files_is_refused);
	tcase_add_test(tc, test_upgrade_of_two_readers_is_a_deadlock);
	tcase_add_test(tc, test_whoever_lost_the_answer_can_ask_again);
	tcase_add_test(tc, test_cancelled_lock_waits_no_longer_nor_do_those_behind_it);
	tcase_add_test(tc, test_locks_die_with_their_session);
	tcase_add_test(tc, test_write_with_a_lock_that_was_lost_is_refused);
	tcase_add_test(tc, test_broken_lock_fences_its_owner_and_goes_to_the_next);
	tcase_add_test(tc, test_locks_of_an_inode_have_a_limit);
	tcase_add_test(tc, test_list_comes_in_pages);
	tcase_add_test(tc, test_conditional_put_needs_the_version_that_was_seen);
	tcase_add_test(tc, test_conditional_rename_needs_the_version_that_was_seen);
	tcase_add_test(tc, test_conditional_delete_needs_the_version_that_was_seen);
	tcase_add_test(alone, test_store_without_locks_opens_and_takes_them_once_the_cluster_may);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, alone);
	return kit_run(s);
}

/* Sessions: every command takes effect once, and always gets the same answer. */
#include "store_kit.h"

static struct kit k;

static void setup(void)
{
	kit_open_memory(&k);
}

static void teardown(void)
{
	kit_close(&k);
}

static int send_cmd(uint64_t session, uint64_t seq, uint64_t lowest, const struct fs_op *op)
{
	struct store_cmd cmd = {session, seq, lowest, ++k.time_ns, op};

	return kit_apply(&k, &cmd);
}

static struct fs_op append_op(uint64_t ino, const char *text)
{
	return (struct fs_op){.kind = FS_OP_WRITE,
	                      .ino = ino,
	                      .flags = FS_F_APPEND,
	                      .data = text,
	                      .data_len = (uint32_t)strlen(text)};
}

START_TEST(test_session_id_is_the_index_that_opened_it)
{
	kit_open_session(&k);
	ck_assert_uint_eq(k.session, k.pos.index);
	ck_assert_uint_eq(k.res.index, k.pos.index);
}
END_TEST

START_TEST(test_repeated_command_changes_nothing_and_gets_the_same_answer)
{
	struct fs_op op;
	struct fs_result first;
	uint64_t digest, ino = kit_file(&k, FS_ROOT_INO, "log");

	kit_open_session(&k);
	op = append_op(ino, "one\n");
	ck_assert_int_eq(send_cmd(k.session, 1, 0, &op), 0);
	first = k.res;
	ck_assert_int_eq(send_cmd(k.session, 2, 0, &op), 0);
	digest = kit_digest(&k);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(send_cmd(k.session, 1, 1, &op), 0);
		ck_assert_uint_eq(k.res.index, first.index);
		ck_assert_uint_eq(k.res.value, first.value);
		ck_assert_uint_eq(k.res.attr.version, first.attr.version);
		ck_assert_uint_eq(k.res.attr.size, 4);
		ck_assert_uint_eq(kit_digest(&k), digest);
	}
	ck_assert_int_eq(kit_pread(&k, ino, 0, 100), 0);
	ck_assert(kit_data_is(&k, "one\none\n"));
}
END_TEST

START_TEST(test_failed_command_is_answered_the_same_even_if_it_could_succeed_now)
{
	struct fs_op op = {.kind = FS_OP_UNLINK, .parent = FS_ROOT_INO, .name = FS_STR("f")};
	uint64_t session;

	kit_open_session(&k);
	ck_assert_int_eq(send_cmd(k.session, 1, 0, &op), -ENOENT);
	session = k.session;
	k.session = 0;
	ck_assert_int_eq(kit_put(&k, "f", "x"), 0);
	ck_assert_int_eq(send_cmd(session, 1, 0, &op), -ENOENT);
	ck_assert_int_eq(kit_get(&k, "f"), 0);
}
END_TEST

START_TEST(test_answers_survive_a_reopen)
{
	struct fs_op op, other;
	struct fs_result first;
	uint64_t ino, session;

	kit_close(&k);
	kit_open_disk(&k);
	ino = kit_file(&k, FS_ROOT_INO, "log");
	kit_open_session(&k);
	session = k.session;
	op = append_op(ino, "x");
	other = append_op(ino, "yy");
	ck_assert_int_eq(send_cmd(session, 7, 0, &op), 0);
	first = k.res;
	ck_assert_int_eq(send_cmd(session, 8, 5, &other), 0);
	kit_commit(&k);
	kit_reopen_disk(&k);
	ck_assert_int_eq(send_cmd(session, 7, 0, &op), 0);
	ck_assert_uint_eq(k.res.value, first.value);
	ck_assert_uint_eq(k.res.index, first.index);
	ck_assert_mem_eq(&k.res.attr, &first.attr, sizeof(first.attr));
	ck_assert_int_eq(send_cmd(session, 4, 0, &op), RFS_EUNKNOWN);
	kit_getattr(&k, ino);
	ck_assert_uint_eq(k.res.attr.size, 3);
}
END_TEST

START_TEST(test_acknowledged_command_is_not_applied_again)
{
	struct fs_op op;
	uint64_t digest, ino = kit_file(&k, FS_ROOT_INO, "log");

	kit_open_session(&k);
	op = append_op(ino, "x");
	for (uint64_t seq = 1; seq <= 10; seq++)
		ck_assert_int_eq(send_cmd(k.session, seq, seq, &op), 0);
	digest = kit_digest(&k);
	for (uint64_t seq = 1; seq < 10; seq++)
		ck_assert_int_eq(send_cmd(k.session, seq, 1, &op), RFS_EUNKNOWN);
	ck_assert_int_eq(send_cmd(k.session, 10, 10, &op), 0);
	ck_assert_uint_eq(kit_digest(&k), digest);
	kit_getattr(&k, ino);
	ck_assert_uint_eq(k.res.attr.size, 10);
}
END_TEST

START_TEST(test_commands_of_a_session_may_arrive_out_of_order)
{
	struct fs_op op;
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "log");

	kit_open_session(&k);
	op = append_op(ino, "x");
	for (uint64_t seq = 20; seq >= 1; seq--)
		ck_assert_int_eq(send_cmd(k.session, seq, 1, &op), 0);
	for (uint64_t seq = 1; seq <= 20; seq++)
		ck_assert_int_eq(send_cmd(k.session, seq, seq, &op), 0);
	kit_getattr(&k, ino);
	ck_assert_uint_eq(k.res.attr.size, 20);
}
END_TEST

START_TEST(test_command_of_an_unknown_session_is_refused_without_effect)
{
	struct fs_op op = {.kind = FS_OP_PUT, .name = FS_STR("f"), .data = "x", .data_len = 1};
	uint64_t digest = kit_digest(&k);

	ck_assert_int_eq(send_cmd(4711, 1, 0, &op), RFS_ESESSION);
	ck_assert_uint_eq(kit_digest(&k), digest);
	ck_assert_int_eq(kit_get(&k, "f"), -ENOENT);
}
END_TEST

START_TEST(test_sequence_numbers_out_of_range_are_refused)
{
	struct fs_op op = {.kind = FS_OP_PUT, .name = FS_STR("f"), .data = "x", .data_len = 1};

	kit_open_session(&k);
	ck_assert_int_eq(send_cmd(k.session, 0, 0, &op), -EINVAL);
	ck_assert_int_eq(send_cmd(k.session, 3, 4, &op), -EINVAL);
	ck_assert_int_eq(kit_get(&k, "f"), -ENOENT);
	ck_assert_int_eq(send_cmd(k.session, 3, 3, &op), 0);
}
END_TEST

START_TEST(test_unacknowledged_answers_have_a_limit)
{
	struct fs_op op;
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "log");

	kit_open_session(&k);
	op = append_op(ino, "x");
	for (uint64_t seq = 1; seq <= STORE_REPLIES_MAX; seq++)
		ck_assert_int_eq(send_cmd(k.session, seq, 1, &op), 0);
	ck_assert_int_eq(send_cmd(k.session, STORE_REPLIES_MAX + 1, 1, &op), RFS_EBUSYLIMIT);
	ck_assert_int_eq(send_cmd(k.session, STORE_REPLIES_MAX + 1, 2, &op), 0);
	kit_getattr(&k, ino);
	ck_assert_uint_eq(k.res.attr.size, STORE_REPLIES_MAX + 1);
}
END_TEST

START_TEST(test_session_timeout_must_make_sense)
{
	struct fs_op op = {.kind = FS_OP_SESSION_OPEN};

	ck_assert_int_eq(kit_do(&k, &op), -EINVAL);
	op.size = UINT64_MAX;
	ck_assert_int_eq(kit_do(&k, &op), -EINVAL);
	kit_open_session(&k);
	op.size = 1000;
	ck_assert_int_eq(kit_do(&k, &op), -EINVAL); /* within a session */
}
END_TEST

START_TEST(test_closed_session_leaves_no_records)
{
	struct store_counts before, after;
	uint64_t digest;

	kit_file(&k, FS_ROOT_INO, "f");
	digest = kit_digest(&k);
	store_get_counts(k.s, &before);
	kit_open_session(&k);
	k.lowest = 1;
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "absent"), -ENOENT);
	store_get_counts(k.s, &after);
	ck_assert_uint_eq(after.sessions, before.sessions + 1);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_CLOSE}), 0);
	ck_assert_uint_eq(kit_digest(&k), digest);
	ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "f"), RFS_ESESSION);
	store_get_counts(k.s, &after);
	ck_assert_uint_eq(after.sessions, before.sessions);
}
END_TEST

START_TEST(test_expire_ends_a_session_and_is_harmless_for_an_unknown_one)
{
	uint64_t id;

	kit_open_session(&k);
	id = k.session;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_EXPIRE, .ino = id}),
	                 -EINVAL);
	k.session = 0;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_EXPIRE, .ino = id}), 0);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_EXPIRE, .ino = id}),
	                 -ENOENT);
}
END_TEST

static int unlink_keeping(const char *name, uint64_t keep)
{
	return kit_do(&k, &(struct fs_op){.kind = FS_OP_UNLINK,
	                                  .parent = FS_ROOT_INO,
	                                  .name = kit_str(name),
	                                  .keep_ino = keep});
}

START_TEST(test_unlinked_file_stays_for_the_session_that_has_it_open)
{
	char big[10000];
	uint64_t ino;

	memset(big, 'b', sizeof(big));
	kit_open_session(&k);
	ino = kit_file(&k, FS_ROOT_INO, "f");
	kit_write(&k, ino, 0, big, sizeof(big));
	ck_assert_int_eq(unlink_keeping("f", ino), 0);
	ck_assert_uint_eq(k.res.value, ino);
	ck_assert_uint_eq(k.res.attr.nlink, 0);
	kit_verify(&k);
	ck_assert_int_eq(kit_write(&k, ino, 10000, "more", 4), 0);
	ck_assert_int_eq(kit_pread(&k, ino, 9998, 100), 0);
	ck_assert(kit_data_is(&k, "bbmore"));
	ck_assert_int_eq(kit_link(&k, ino, FS_ROOT_INO, "again"), -ENOENT);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_RELEASE, .ino = ino}), 0);
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, ino), -ESTALE);
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_RELEASE, .ino = ino}), -ENOENT);
}
END_TEST

START_TEST(test_orphans_go_with_their_session)
{
	struct store_counts c;
	uint64_t a, b, id;

	kit_open_session(&k);
	id = k.session;
	a = kit_file(&k, FS_ROOT_INO, "a");
	b = kit_file(&k, FS_ROOT_INO, "b");
	ck_assert_int_eq(unlink_keeping("a", a), 0);
	kit_file(&k, FS_ROOT_INO, "c");
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_RENAME,
	                                            .parent = FS_ROOT_INO,
	                                            .name = FS_STR("c"),
	                                            .parent2 = FS_ROOT_INO,
	                                            .name2 = FS_STR("b"),
	                                            .keep_ino = b}),
	                 0);
	ck_assert_uint_eq(k.res.value, b);
	ck_assert_int_eq(kit_getattr(&k, b), 0);
	k.session = 0;
	ck_assert_int_eq(kit_do(&k, &(struct fs_op){.kind = FS_OP_SESSION_EXPIRE, .ino = id}), 0);
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, a), -ESTALE);
	ck_assert_int_eq(kit_getattr(&k, b), -ESTALE);
	store_get_counts(k.s, &c);
	ck_assert_uint_eq(c.inodes, 2);
}
END_TEST

START_TEST(test_file_is_kept_only_if_it_was_asked_for_and_by_a_session)
{
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");

	ck_assert_int_eq(unlink_keeping("f", ino), 0); /* no session */
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, ino), -ESTALE);
	kit_open_session(&k);
	ino = kit_file(&k, FS_ROOT_INO, "f");
	ck_assert_int_eq(unlink_keeping("f", ino + 1), 0); /* another inode */
	kit_linger_over(&k);
	ck_assert_int_eq(kit_getattr(&k, ino), -ESTALE);
	ino = kit_file(&k, FS_ROOT_INO, "f");
	kit_link(&k, ino, FS_ROOT_INO, "g");
	ck_assert_int_eq(unlink_keeping("f", ino), 0); /* not its last name */
	ck_assert_uint_eq(k.res.value, 0);
	ck_assert_uint_eq(k.res.attr.nlink, 1);
}
END_TEST

/* A reader on another mount opened it just before: its name is gone, not its content. */
START_TEST(test_file_without_names_lingers_and_is_no_longer_counted)
{
	uint64_t ino = kit_file(&k, FS_ROOT_INO, "f");
	struct store_counts before, after;

	store_get_counts(k.s, &before);
	kit_write(&k, ino, 0, "old", 3);
	kit_file(&k, FS_ROOT_INO, "new");
	ck_assert_int_eq(kit_rename(&k, FS_ROOT_INO, "new", FS_ROOT_INO, "f", 0), 0);
	ck_assert_int_eq(kit_pread(&k, ino, 0, 100), 0);
	ck_assert(kit_data_is(&k, "old"));
	ck_assert_uint_eq(k.res.attr.nlink, 0);
	store_get_counts(k.s, &after);
	ck_assert(after.inodes == before.inodes && after.bytes == before.bytes);
	kit_write(&k, ino, 3, "er still", 8);
	kit_verify(&k);
	kit_linger_over(&k);
	ck_assert_int_eq(kit_pread(&k, ino, 0, 100), -ESTALE);
	store_get_counts(k.s, &after);
	ck_assert(after.inodes == before.inodes && after.bytes == before.bytes);
}
END_TEST

START_TEST(test_the_oldest_goes_when_too_much_lingers)
{
	static char big[FS_WRITE_BYTES_MAX];
	uint64_t first = 0, ino = 0;

	for (unsigned i = 0; i <= STORE_LINGER_BYTES_MAX / sizeof(big); i++) {
		ino = kit_file(&k, FS_ROOT_INO, "f");
		first = first == 0 ? ino : first;
		kit_write(&k, ino, 0, big, sizeof(big));
		ck_assert_int_eq(kit_getattr(&k, first), 0);
		ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "f"), 0);
	}
	kit_file(&k, FS_ROOT_INO, "g");
	ck_assert_int_eq(kit_getattr(&k, first), -ESTALE);
	ck_assert_int_eq(kit_getattr(&k, ino), 0);
}
END_TEST

/* One command lets many go; a node that restarts frees them in the same order as one that does not. */
START_TEST(test_what_lingers_is_the_same_after_a_restart)
{
	struct kit disk;
	char name[16];

	kit_open_disk(&disk);
	for (struct kit *at = &k;; at = &disk) {
		kit_mkdir(at, FS_ROOT_INO, "d");
		for (unsigned i = 0; i < 200; i++) {
			(void)snprintf(name, sizeof(name), "d/%u", (i * 37) % 200);
			ck_assert_int_eq(kit_put(at, name, "x"), 0);
		}
		ck_assert_int_eq(kit_delete(at, "d", FS_F_RECURSIVE), 0);
		if (at == &disk) {
			kit_commit(at);
			kit_reopen_disk(at);
		}
		kit_linger_over(at);
		if (at == &disk)
			break;
	}
	ck_assert_uint_eq(kit_digest(&k), kit_digest(&disk));
	for (unsigned i = 0; i < 4; i++)
		kit_linger_over(&disk);
	kit_close(&disk);
}
END_TEST

static int trim(uint64_t session, uint64_t age_ms)
{
	const struct fs_op op = {.kind = FS_OP_TRIM, .size = age_ms};

	return kit_apply(&k, &(struct store_cmd){.time_ns = k.time_ns,
	                                         .session = session,
	                                         .seq = session != 0,
	                                         .op = &op});
}

START_TEST(test_a_leader_short_of_room_lets_less_linger)
{
	uint64_t old, young;

	k.pos.index++;
	k.pos.term = 1;
	ck_assert_int_eq(store_set_version(k.s, k.pos, 2, &k.err), 0);
	old = kit_file(&k, FS_ROOT_INO, "old");
	ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "old"), 0);
	k.time_ns += 3000000000;
	young = kit_file(&k, FS_ROOT_INO, "young");
	ck_assert_int_eq(kit_unlink(&k, FS_ROOT_INO, "young"), 0);
	ck_assert_uint_eq(store_lingering(k.s), 2);
	ck_assert_int_eq(trim(0, 5000), 0);
	ck_assert_uint_eq(store_lingering(k.s), 2);
	ck_assert_int_eq(trim(0, 2000), 0);
	ck_assert_uint_eq(store_lingering(k.s), 1);
	ck_assert_int_eq(kit_getattr(&k, old), -ESTALE);
	ck_assert_int_eq(kit_getattr(&k, young), 0);
	ck_assert_int_eq(trim(0, UINT64_MAX), 0);
	ck_assert_uint_eq(store_lingering(k.s), 1);
	kit_verify(&k);
	kit_open_session(&k);
	ck_assert_int_eq(trim(k.session, 0), -EINVAL); /* it is no client's business */
}
END_TEST

START_TEST(test_what_was_done_or_may_have_been_is_not_new)
{
	const struct fs_op op = {.kind = FS_OP_NONE};

	kit_open_session(&k);
	ck_assert(store_session_is_new(k.s, k.session, 1));
	ck_assert(!store_session_is_new(k.s, k.session + 1, 1)); /* it may have ended since */
	for (uint64_t seq = 1; seq <= 3; seq++)
		(void)kit_apply(
		        &k, &(struct store_cmd){
		                    .session = k.session, .seq = seq, .lowest = seq, .op = &op});
	ck_assert(!store_session_is_new(k.s, k.session, 1));
	ck_assert(!store_session_is_new(k.s, k.session, 3));
	ck_assert(store_session_is_new(k.s, k.session, 4));
}
END_TEST

static void note(void *ctx, uint64_t id, uint64_t timeout_ms)
{
	uint64_t *sums = ctx;

	sums[0]++;
	sums[1] += id;
	sums[2] += timeout_ms;
}

START_TEST(test_every_open_session_is_listed)
{
	uint64_t sums[3] = {0}, a, b;

	kit_open_session(&k);
	a = k.session;
	kit_open_session(&k);
	b = k.session;
	store_each_session(k.s, note, sums);
	ck_assert_uint_eq(sums[0], 2);
	ck_assert_uint_eq(sums[1], a + b);
	ck_assert_uint_eq(sums[2], 20000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("store sessions");
	TCase *tc = tcase_create("sessions");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_session_id_is_the_index_that_opened_it);
	tcase_add_test(tc, test_repeated_command_changes_nothing_and_gets_the_same_answer);
	tcase_add_test(tc, test_failed_command_is_answered_the_same_even_if_it_could_succeed_now);
	tcase_add_test(tc, test_answers_survive_a_reopen);
	tcase_add_test(tc, test_acknowledged_command_is_not_applied_again);
	tcase_add_test(tc, test_commands_of_a_session_may_arrive_out_of_order);
	tcase_add_test(tc, test_command_of_an_unknown_session_is_refused_without_effect);
	tcase_add_test(tc, test_sequence_numbers_out_of_range_are_refused);
	tcase_add_test(tc, test_unacknowledged_answers_have_a_limit);
	tcase_add_test(tc, test_session_timeout_must_make_sense);
	tcase_add_test(tc, test_closed_session_leaves_no_records);
	tcase_add_test(tc, test_expire_ends_a_session_and_is_harmless_for_an_unknown_one);
	tcase_add_test(tc, test_unlinked_file_stays_for_the_session_that_has_it_open);
	tcase_add_test(tc, test_orphans_go_with_their_session);
	tcase_add_test(tc, test_file_is_kept_only_if_it_was_asked_for_and_by_a_session);
	tcase_add_test(tc, test_every_open_session_is_listed);
	tcase_add_test(tc, test_what_lingers_is_the_same_after_a_restart);
	tcase_add_test(tc, test_a_leader_short_of_room_lets_less_linger);
	tcase_add_test(tc, test_what_was_done_or_may_have_been_is_not_new);
	tcase_add_test(tc, test_the_oldest_goes_when_too_much_lingers);
	tcase_add_test(tc, test_file_without_names_lingers_and_is_no_longer_counted);
	suite_add_tcase(s, tc);
	return kit_run(s);
}

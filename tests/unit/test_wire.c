/* wire/codec: every message survives the way to bytes and back, and no bytes do harm. */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/wire/codec.h"
#include "../../src/wire/frame.h"
#include "../support/decode_all.h"

static struct buf b;
static struct wire_arena *arena;
static struct rfs_err err;

static void setup(void)
{
	buf_init(&b);
	arena = wire_arena_new();
	err = (struct rfs_err){0};
}

static void teardown(void)
{
	wire_arena_free(arena);
	buf_free(&b);
}

/* The one frame in `b`. */
static struct frame frame_of(enum frame_type type)
{
	struct frame f = {0};
	size_t used;

	ck_assert_int_eq(frame_parse(b.data, b.len, &f, &used, &err), 1);
	ck_assert_uint_eq(used, b.len);
	ck_assert_uint_eq(f.type, type);
	return f;
}

/* Texts as long as their arrays allow. */
static void fill(char *text, size_t size, char c)
{
	memset(text, c, size - 1);
	text[size - 1] = '\0';
}

#define FILL(array, c) fill((array), sizeof(array), (c))

START_TEST(test_hello_survives)
{
	struct wire_hello in = {.version_min = UINT32_MAX,
	                        .version_max = UINT32_MAX - 1,
	                        .node_id = UINT64_MAX,
	                        .incarnation = UINT64_MAX - 1,
	                        .to_node = UINT64_MAX - 2},
	                  out;
	struct frame f;

	FILL(in.cluster, 'c');
	FILL(in.address, 'a');
	wire_put_hello(&b, &in);
	f = frame_of(FRAME_HELLO);
	ck_assert_int_eq(wire_get_hello(f.payload, f.len, &out, &err), 0);
	ck_assert_uint_eq(out.version_min, in.version_min);
	ck_assert_uint_eq(out.version_max, in.version_max);
	ck_assert_uint_eq(out.node_id, in.node_id);
	ck_assert_uint_eq(out.incarnation, in.incarnation);
	ck_assert_uint_eq(out.to_node, in.to_node);
	ck_assert_str_eq(out.cluster, in.cluster);
	ck_assert_str_eq(out.address, in.address);
}
END_TEST

START_TEST(test_hello_reply_survives)
{
	struct wire_hello_reply in = {.version = UINT32_MAX,
	                              .node_id = UINT64_MAX,
	                              .incarnation = UINT64_MAX - 1,
	                              .code = INT_MIN},
	                        out;
	struct frame f;

	FILL(in.cluster, 'c');
	FILL(in.text, 't');
	wire_put_hello_reply(&b, &in);
	f = frame_of(FRAME_HELLO_REPLY);
	ck_assert_int_eq(wire_get_hello_reply(f.payload, f.len, &out, &err), 0);
	ck_assert_uint_eq(out.version, in.version);
	ck_assert_uint_eq(out.node_id, in.node_id);
	ck_assert_uint_eq(out.incarnation, in.incarnation);
	ck_assert_int_eq(out.code, in.code);
	ck_assert_str_eq(out.cluster, in.cluster);
	ck_assert_str_eq(out.text, in.text);
}
END_TEST

static struct raft_msg raft_extreme(void)
{
	return (struct raft_msg){.kind = RAFT_MSG_APPEND,
	                         .from = UINT64_MAX,
	                         .to = UINT64_MAX - 1,
	                         .term = UINT64_MAX - 2,
	                         .pos = {.index = UINT64_MAX - 3, .term = UINT64_MAX - 4},
	                         .commit = UINT64_MAX - 5,
	                         .last = UINT64_MAX - 6,
	                         .round = UINT64_MAX - 7,
	                         .read_ctx = UINT64_MAX - 8,
	                         .read_index = UINT64_MAX - 9,
	                         .reject = true,
	                         .force = true};
}

START_TEST(test_raft_messages_of_every_kind_survive)
{
	for (int kind = RAFT_MSG_PRE_VOTE; kind <= RAFT_MSG_KIND_MAX; kind++) {
		struct raft_msg in = raft_extreme(), out;
		struct frame f;

		in.kind = (enum raft_msg_kind)kind;
		buf_clear(&b);
		wire_put_raft(&b, &in);
		f = frame_of(FRAME_RAFT);
		ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), 0);
		ck_assert_int_eq(out.kind, in.kind);
		ck_assert_uint_eq(out.from, in.from);
		ck_assert_uint_eq(out.to, in.to);
		ck_assert_uint_eq(out.term, in.term);
		ck_assert_uint_eq(out.pos.index, in.pos.index);
		ck_assert_uint_eq(out.pos.term, in.pos.term);
		ck_assert_uint_eq(out.commit, in.commit);
		ck_assert_uint_eq(out.last, in.last);
		ck_assert_uint_eq(out.round, in.round);
		ck_assert_uint_eq(out.read_ctx, in.read_ctx);
		ck_assert_uint_eq(out.read_index, in.read_index);
		ck_assert(out.reject && out.force);
		ck_assert_uint_eq(out.n, 0);
	}
}
END_TEST

START_TEST(test_entries_come_with_consecutive_positions)
{
	static char large[RAFT_ENTRY_BYTES_MAX];
	struct raft_entry in[300];
	struct raft_msg m = {.kind = RAFT_MSG_APPEND, .pos = {.index = 41, .term = 7}}, out;
	struct frame f;

	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < 300; i++)
		in[i] = (struct raft_entry){
		        .pos = {.index = 42 + i, .term = 7 + i},
		        .kind = (enum raft_entry_kind)(i % 3),
		        .len = (uint32_t)(i == 200 ? sizeof(large) : i),
		        .data = i > 0 ? large : NULL,
		};
	m.n = 300;
	m.entries = in;
	wire_put_raft(&b, &m);
	f = frame_of(FRAME_RAFT);
	ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), 0);
	ck_assert_uint_eq(out.n, 300);
	ck_assert_uint_eq(out.first, 42);
	for (size_t i = 0; i < 300; i++) {
		ck_assert_uint_eq(out.entries[i].pos.index, 42 + i);
		ck_assert_uint_eq(out.entries[i].pos.term, 7 + i);
		ck_assert_int_eq(out.entries[i].kind, in[i].kind);
		ck_assert_uint_eq(out.entries[i].len, in[i].len);
		if (i > 0)
			ck_assert_mem_eq(out.entries[i].data, large, in[i].len);
		else
			ck_assert_ptr_null(out.entries[i].data);
	}
}
END_TEST

START_TEST(test_raft_messages_that_nobody_sends_are_refused)
{
	static char large[RAFT_ENTRY_BYTES_MAX + 1];
	struct raft_entry e = {.kind = RAFT_ENTRY_COMMAND, .len = 1, .data = large};
	struct raft_msg m = {.kind = RAFT_MSG_APPEND, .n = 1, .entries = &e}, out;
	struct frame f;

	e.len = sizeof(large);
	wire_put_raft(&b, &m);
	f = frame_of(FRAME_RAFT);
	ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "entry 1 of 2097153 bytes exceeds 2097152");

	e.len = 1;
	e.kind = (enum raft_entry_kind)(RAFT_ENTRY_KIND_MAX + 1);
	buf_clear(&b);
	wire_put_raft(&b, &m);
	f = frame_of(FRAME_RAFT);
	ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "entry 1 is of unknown kind 4");

	e.kind = RAFT_ENTRY_NOOP;
	m.pos.index = UINT64_MAX;
	buf_clear(&b);
	wire_put_raft(&b, &m);
	f = frame_of(FRAME_RAFT);
	ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), RFS_ECORRUPT);

	m.kind = (enum raft_msg_kind)99;
	buf_clear(&b);
	wire_put_raft(&b, &m);
	f = frame_of(FRAME_RAFT);
	ck_assert_int_eq(wire_get_raft(f.payload, f.len, arena, &out, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "raft message of unknown kind 99");

	/* kind 3 (VOTE) and one empty entry */
	ck_assert_int_eq(wire_get_raft((const uint8_t *)"\x08\x03\x72\x00", 4, arena, &out, &err),
	                 RFS_ECORRUPT);
}
END_TEST

static char data[FS_WRITE_BYTES_MAX];

static struct fs_op op_extreme(void)
{
	static char name[FS_PATH_BYTES_MAX];

	memset(name, 0xff, sizeof(name));
	memset(data, 0xa5, sizeof(data));
	return (struct fs_op){.kind = FS_OP_WRITE,
	                      .flags = UINT32_MAX,
	                      .valid = UINT32_MAX - 1,
	                      .ino = UINT64_MAX,
	                      .parent = UINT64_MAX - 1,
	                      .parent2 = UINT64_MAX - 2,
	                      .keep_ino = UINT64_MAX - 3,
	                      .ino2 = UINT64_MAX - 7,
	                      .offset2 = UINT64_MAX - 8,
	                      .name = {name, sizeof(name)},
	                      .name2 = {name, 255},
	                      .mode = UINT32_MAX - 2,
	                      .uid = UINT32_MAX - 3,
	                      .gid = UINT32_MAX - 4,
	                      .rdev = UINT64_MAX - 4,
	                      .offset = UINT64_MAX - 5,
	                      .size = UINT64_MAX - 6,
	                      .atime_ns = INT64_MIN,
	                      .mtime_ns = INT64_MAX,
	                      .ctime_ns = -1,
	                      .version = 31,
	                      .lock_owner = 32,
	                      .lock_token = 33,
	                      .lock_session = 34,
	                      .lock_seq = 35,
	                      .pid = 36,
	                      .umask = 37,
	                      .data = data,
	                      .data_len = sizeof(data)};
}

static void assert_str(struct fs_str a, struct fs_str e)
{
	ck_assert_uint_eq(a.len, e.len);
	if (e.len > 0)
		ck_assert_mem_eq(a.p, e.p, e.len);
	else
		ck_assert_ptr_null(a.p);
}

static void assert_op(const struct fs_op *a, const struct fs_op *e)
{
	ck_assert_int_eq(a->kind, e->kind);
	ck_assert_uint_eq(a->flags, e->flags);
	ck_assert_uint_eq(a->valid, e->valid);
	ck_assert_uint_eq(a->ino, e->ino);
	ck_assert_uint_eq(a->parent, e->parent);
	ck_assert_uint_eq(a->parent2, e->parent2);
	ck_assert_uint_eq(a->keep_ino, e->keep_ino);
	ck_assert_uint_eq(a->ino2, e->ino2);
	ck_assert_uint_eq(a->offset2, e->offset2);
	assert_str(a->name, e->name);
	assert_str(a->name2, e->name2);
	ck_assert_uint_eq(a->mode, e->mode);
	ck_assert_uint_eq(a->uid, e->uid);
	ck_assert_uint_eq(a->gid, e->gid);
	ck_assert_uint_eq(a->rdev, e->rdev);
	ck_assert_uint_eq(a->offset, e->offset);
	ck_assert_uint_eq(a->size, e->size);
	ck_assert_int_eq(a->atime_ns, e->atime_ns);
	ck_assert_int_eq(a->mtime_ns, e->mtime_ns);
	ck_assert_int_eq(a->ctime_ns, e->ctime_ns);
	ck_assert_uint_eq(a->version, e->version);
	ck_assert_uint_eq(a->lock_owner, e->lock_owner);
	ck_assert_uint_eq(a->lock_token, e->lock_token);
	ck_assert_uint_eq(a->lock_session, e->lock_session);
	ck_assert_uint_eq(a->lock_seq, e->lock_seq);
	ck_assert_uint_eq(a->pid, e->pid);
	ck_assert_uint_eq(a->umask, e->umask);
	assert_str((struct fs_str){a->data, a->data_len}, (struct fs_str){e->data, e->data_len});
}

static void check_request(const struct wire_request *in)
{
	struct wire_request out;
	struct frame f;

	buf_clear(&b);
	wire_put_request(&b, in);
	f = frame_of(FRAME_REQUEST);
	ck_assert_int_eq(wire_get_request(f.payload, f.len, arena, &out, &err), 0);
	ck_assert_uint_eq(out.id, in->id);
	ck_assert_uint_eq(out.session, in->session);
	ck_assert_uint_eq(out.seq, in->seq);
	ck_assert_uint_eq(out.lowest, in->lowest);
	ck_assert(out.local == in->local);
	ck_assert_uint_eq(out.min_index, in->min_index);
	assert_op(&out.op, &in->op);
}

START_TEST(test_requests_survive)
{
	struct wire_request in = {.id = UINT64_MAX,
	                          .session = UINT64_MAX - 1,
	                          .seq = UINT64_MAX - 2,
	                          .lowest = UINT64_MAX - 3,
	                          .local = true,
	                          .min_index = UINT64_MAX - 4,
	                          .op = op_extreme()};

	check_request(&in);
	check_request(&(struct wire_request){0});
	/* an operation of a later version: for the node to refuse, not for the codec */
	check_request(&(struct wire_request){.op = {.kind = (enum fs_op_kind)4711}});
}
END_TEST

START_TEST(test_commands_survive_without_a_frame)
{
	struct fs_op op = op_extreme(), op_out;
	struct store_cmd in = {.session = UINT64_MAX,
	                       .seq = UINT64_MAX - 1,
	                       .lowest = UINT64_MAX - 2,
	                       .time_ns = UINT64_MAX - 3,
	                       .op = &op},
	                 out;

	wire_put_command(&b, &in);
	ck_assert_uint_le(b.len, RAFT_ENTRY_BYTES_MAX);
	ck_assert_int_eq(wire_get_command(b.data, b.len, arena, &out, &op_out, &err), 0);
	ck_assert_uint_eq(out.session, in.session);
	ck_assert_uint_eq(out.seq, in.seq);
	ck_assert_uint_eq(out.lowest, in.lowest);
	ck_assert_uint_eq(out.time_ns, in.time_ns);
	ck_assert_ptr_eq(out.op, &op_out);
	assert_op(&op_out, &op);
}
END_TEST

START_TEST(test_a_message_without_its_operation_is_refused)
{
	struct wire_request r;
	struct store_cmd c;
	struct fs_op op;

	ck_assert_int_eq(wire_get_request((const uint8_t *)"\x08\x01", 2, arena, &r, &err),
	                 RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "message without an operation");
	ck_assert_int_eq(wire_get_command("", 0, arena, &c, &op, &err), RFS_ECORRUPT);
	ck_assert_int_eq(wire_get_command(NULL, 0, arena, &c, &op, &err), RFS_ECORRUPT);
}
END_TEST

START_TEST(test_versions_survive_and_what_is_none_is_refused)
{
	uint32_t version = 0;

	wire_put_version(&b, 7);
	ck_assert_int_eq(wire_get_version(b.data, b.len, &version, &err), 0);
	ck_assert_uint_eq(version, 7);
	for (size_t n = 0; n < b.len; n++)
		ck_assert_int_eq(wire_get_version(b.data, n, &version, &err), RFS_ECORRUPT);
	buf_put_u8(&b, 0);
	ck_assert_int_eq(wire_get_version(b.data, b.len, &version, &err), RFS_ECORRUPT);
	ck_assert_int_eq(wire_get_version("\0\0\0", 4, &version, &err), RFS_ECORRUPT);
}
END_TEST

START_TEST(test_every_type_of_frame_has_a_version)
{
	for (unsigned type = FRAME_HELLO; type <= FRAME_STATUS; type++)
		ck_assert_uint_eq(frame_version((enum frame_type)type), 1);
	ck_assert_uint_eq(frame_version((enum frame_type)0), UINT32_MAX);
	ck_assert_uint_eq(frame_version((enum frame_type)60000), UINT32_MAX);
}
END_TEST

START_TEST(test_replies_survive)
{
	struct wire_reply in = {.id = UINT64_MAX, .leader_id = UINT64_MAX - 1}, out;
	struct fs_attr *a = &in.result.attr;
	struct frame f;

	(void)op_extreme();
	in.result = (struct fs_result){.err = INT_MIN,
	                               .has_attr = true,
	                               .value = UINT64_MAX - 2,
	                               .index = UINT64_MAX - 3,
	                               .data = data,
	                               .data_len = sizeof(data)};
	*a = (struct fs_attr){UINT64_MAX,     UINT64_MAX - 1, UINT64_MAX - 2, UINT64_MAX - 3,
	                      UINT64_MAX - 4, UINT32_MAX,     UINT32_MAX - 1, UINT32_MAX - 2,
	                      UINT32_MAX - 3, INT64_MIN,      INT64_MAX,      -1};
	FILL(in.leader_address, 'a');
	wire_put_reply(&b, &in);
	f = frame_of(FRAME_REPLY);
	ck_assert_int_eq(wire_get_reply(f.payload, f.len, arena, &out, &err), 0);
	ck_assert_uint_eq(out.id, in.id);
	ck_assert_int_eq(out.result.err, in.result.err);
	ck_assert(out.result.has_attr);
	ck_assert_mem_eq(&out.result.attr, a, sizeof(*a));
	ck_assert_uint_eq(out.result.value, in.result.value);
	ck_assert_uint_eq(out.result.index, in.result.index);
	ck_assert_uint_eq(out.result.data_len, sizeof(data));
	ck_assert_mem_eq(out.result.data, data, sizeof(data));
	ck_assert_uint_eq(out.leader_id, in.leader_id);
	ck_assert_str_eq(out.leader_address, in.leader_address);
}
END_TEST

START_TEST(test_an_empty_reply_has_no_data_and_no_attributes)
{
	struct wire_reply in = {.id = 1}, out;
	struct frame f;

	wire_put_reply(&b, &in);
	f = frame_of(FRAME_REPLY);
	ck_assert_int_eq(wire_get_reply(f.payload, f.len, arena, &out, &err), 0);
	ck_assert(!out.result.has_attr);
	ck_assert_ptr_null(out.result.data);
	ck_assert_uint_eq(out.result.data_len, 0);
	ck_assert_str_eq(out.leader_address, "");
	/* attributes that are all zero are attributes all the same */
	in.result.has_attr = true;
	buf_clear(&b);
	wire_put_reply(&b, &in);
	f = frame_of(FRAME_REPLY);
	ck_assert_int_eq(wire_get_reply(f.payload, f.len, arena, &out, &err), 0);
	ck_assert(out.result.has_attr);
}
END_TEST

START_TEST(test_keep_alives_survive)
{
	struct wire_keep_alive_reply in = {.session = UINT64_MAX, .expired = true}, out;
	uint64_t session;
	struct frame f;

	wire_put_keep_alive(&b, UINT64_MAX);
	f = frame_of(FRAME_KEEP_ALIVE);
	ck_assert_int_eq(wire_get_keep_alive(f.payload, f.len, &session, &err), 0);
	ck_assert_uint_eq(session, UINT64_MAX);
	buf_clear(&b);
	wire_put_keep_alive_reply(&b, &in);
	f = frame_of(FRAME_KEEP_ALIVE_REPLY);
	ck_assert_int_eq(wire_get_keep_alive_reply(f.payload, f.len, &out, &err), 0);
	ck_assert_uint_eq(out.session, UINT64_MAX);
	ck_assert(out.expired);
}
END_TEST

START_TEST(test_word_of_room_survives)
{
	struct wire_room in = {UINT64_MAX, 3}, out;
	struct frame f;

	wire_put_room(&b, &in);
	f = frame_of(FRAME_ROOM);
	ck_assert_int_eq(wire_get_room(f.payload, f.len, &out, &err), 0);
	ck_assert(out.node_id == UINT64_MAX && out.room == 3);
	ck_assert_int_eq(wire_get_room((const uint8_t *)"\x08", 1, &out, &err), RFS_ECORRUPT);
}
END_TEST

static struct wire_status status_extreme(void)
{
	struct wire_status s = {.id = UINT64_MAX,
	                        .node_id = UINT64_MAX - 1,
	                        .term = UINT64_MAX - 2,
	                        .leader_id = UINT64_MAX - 3,
	                        .last = UINT64_MAX - 4,
	                        .commit = UINT64_MAX - 5,
	                        .applied = UINT64_MAX - 6,
	                        .digest = UINT64_MAX - 7,
	                        .incarnation = UINT64_MAX - 8,
	                        .log_first = UINT64_MAX - 9,
	                        .log_bytes = UINT64_MAX - 10,
	                        .sessions = UINT64_MAX - 11,
	                        .inodes = UINT64_MAX - 12,
	                        .uptime_ms = UINT64_MAX - 13,
	                        .conf_index = UINT64_MAX - 14,
	                        .durable = UINT64_MAX - 15,
	                        .store_bytes = UINT64_MAX - 16,
	                        .disk_free = UINT64_MAX - 17,
	                        .room = UINT32_MAX - 18,
	                        .election_min_ms = UINT32_MAX,
	                        .election_max_ms = UINT32_MAX - 1,
	                        .heartbeat_ms = UINT32_MAX - 2,
	                        .session_timeout_ms = UINT32_MAX - 3,
	                        .conf_joint = true,
	                        .n_members = WIRE_MEMBERS_MAX};

	FILL(s.address, 'a');
	FILL(s.leader_address, 'l');
	FILL(s.role, 'r');
	FILL(s.cluster, 'c');
	FILL(s.version, 'v');
	for (size_t i = 0; i < WIRE_MEMBERS_MAX; i++) {
		s.members[i] = (struct wire_member){.id = UINT64_MAX - i,
		                                    .match = UINT64_MAX - 2 * i,
		                                    .learner = i % 2 == 0,
		                                    .up = i % 3 == 0,
		                                    .promote = i % 5 == 0,
		                                    .snapshot = i % 7 == 0};
		FILL(s.members[i].address, 'm');
	}
	return s;
}

START_TEST(test_status_survives)
{
	struct wire_status in = status_extreme(), out;
	uint64_t id;
	struct frame f;

	wire_put_status(&b, &in);
	f = frame_of(FRAME_STATUS);
	memset(&out, 0x77, sizeof(out));
	ck_assert_msg(wire_get_status(f.payload, f.len, &out, &err) == 0, "%s", err.msg);
	/* every member is a number, a text filled to its end, or a flag */
	ck_assert_uint_eq(out.id, in.id);
	ck_assert_uint_eq(out.node_id, in.node_id);
	ck_assert_uint_eq(out.term, in.term);
	ck_assert_uint_eq(out.leader_id, in.leader_id);
	ck_assert_uint_eq(out.last, in.last);
	ck_assert_uint_eq(out.commit, in.commit);
	ck_assert_uint_eq(out.applied, in.applied);
	ck_assert_uint_eq(out.digest, in.digest);
	ck_assert_uint_eq(out.incarnation, in.incarnation);
	ck_assert_uint_eq(out.log_first, in.log_first);
	ck_assert_uint_eq(out.log_bytes, in.log_bytes);
	ck_assert_uint_eq(out.sessions, in.sessions);
	ck_assert_uint_eq(out.inodes, in.inodes);
	ck_assert_uint_eq(out.uptime_ms, in.uptime_ms);
	ck_assert_uint_eq(out.conf_index, in.conf_index);
	ck_assert_uint_eq(out.durable, in.durable);
	ck_assert_uint_eq(out.store_bytes, in.store_bytes);
	ck_assert(out.disk_free == in.disk_free && out.room == in.room);
	ck_assert_uint_eq(out.election_min_ms, in.election_min_ms);
	ck_assert_uint_eq(out.election_max_ms, in.election_max_ms);
	ck_assert_uint_eq(out.heartbeat_ms, in.heartbeat_ms);
	ck_assert_uint_eq(out.session_timeout_ms, in.session_timeout_ms);
	ck_assert(out.conf_joint);
	ck_assert_str_eq(out.address, in.address);
	ck_assert_str_eq(out.leader_address, in.leader_address);
	ck_assert_str_eq(out.role, in.role);
	ck_assert_str_eq(out.cluster, in.cluster);
	ck_assert_str_eq(out.version, in.version);
	ck_assert_uint_eq(out.n_members, WIRE_MEMBERS_MAX);
	for (size_t i = 0; i < WIRE_MEMBERS_MAX; i++) {
		ck_assert_uint_eq(out.members[i].id, in.members[i].id);
		ck_assert_uint_eq(out.members[i].match, in.members[i].match);
		ck_assert(out.members[i].learner == in.members[i].learner);
		ck_assert(out.members[i].up == in.members[i].up);
		ck_assert(out.members[i].promote == in.members[i].promote);
		ck_assert(out.members[i].snapshot == in.members[i].snapshot);
		ck_assert_str_eq(out.members[i].address, in.members[i].address);
	}
	buf_clear(&b);
	wire_put_status_request(&b, UINT64_MAX);
	f = frame_of(FRAME_STATUS_REQUEST);
	ck_assert_int_eq(wire_get_status_request(f.payload, f.len, &id, &err), 0);
	ck_assert_uint_eq(id, UINT64_MAX);
}
END_TEST

START_TEST(test_backups_survive)
{
	struct wire_backup ask = {.id = UINT64_MAX,
	                          .min_index = UINT64_MAX - 1,
	                          .next = UINT64_MAX - 2,
	                          .stop = true};
	struct wire_backup_part part = {.id = UINT64_MAX,
	                                .seq = 77,
	                                .code = RFS_EBUSYLIMIT,
	                                .text = "not now",
	                                .data = (const uint8_t *)"RFSC\0x",
	                                .len = 6,
	                                .last = true};
	struct wire_backup_part got;
	struct wire_backup out;
	struct frame f;

	wire_put_backup(&b, &ask);
	f = frame_of(FRAME_BACKUP);
	ck_assert_int_eq(wire_get_backup(f.payload, f.len, &out, &err), 0);
	ck_assert_uint_eq(out.id, ask.id);
	ck_assert_uint_eq(out.min_index, ask.min_index);
	ck_assert_uint_eq(out.next, ask.next);
	ck_assert(out.stop);
	buf_clear(&b);
	wire_put_backup_part(&b, &part);
	f = frame_of(FRAME_BACKUP_PART);
	ck_assert_int_eq(wire_get_backup_part(f.payload, f.len, arena, &got, &err), 0);
	ck_assert_uint_eq(got.id, part.id);
	ck_assert_uint_eq(got.seq, 77);
	ck_assert_int_eq(got.code, RFS_EBUSYLIMIT);
	ck_assert_str_eq(got.text, "not now");
	ck_assert_uint_eq(got.len, 6);
	ck_assert_mem_eq(got.data, "RFSC\0x", 6);
	ck_assert(got.last);
}
END_TEST

START_TEST(test_watches_and_events_survive)
{
	struct wire_watch in = {.id = UINT64_MAX,
	                        .from_index = UINT64_MAX - 1,
	                        .from_sub = UINT32_MAX,
	                        .recent = 7,
	                        .stop = true,
	                        .prefix = FS_STR("app/")},
	                  out;
	struct wire_event events[2] = {{.index = UINT64_MAX,
	                                .ino = 5,
	                                .version = 6,
	                                .parent = 7,
	                                .old_parent = 8,
	                                .session = UINT64_MAX - 9,
	                                .mode = 0100644,
	                                .sub = UINT32_MAX,
	                                .kind = STORE_CHANGE_RENAME,
	                                .path = FS_STR("new"),
	                                .old_path = FS_STR("old")},
	                               {.index = 1, .kind = 99}};
	struct wire_events all = {.id = 9,
	                          .next_index = 10,
	                          .next_sub = 11,
	                          .lost_from = 12,
	                          .lost_to = 13,
	                          .applied = 14,
	                          .has_leader = true,
	                          .events = events,
	                          .n = 2},
	                   got;
	struct frame f;

	wire_put_watch(&b, &in);
	f = frame_of(FRAME_WATCH);
	ck_assert_int_eq(wire_get_watch(f.payload, f.len, arena, &out, &err), 0);
	ck_assert_uint_eq(out.id, in.id);
	ck_assert_uint_eq(out.from_index, in.from_index);
	ck_assert_uint_eq(out.from_sub, in.from_sub);
	ck_assert_uint_eq(out.recent, in.recent);
	ck_assert(out.stop);
	ck_assert_uint_eq(out.prefix.len, 4);
	ck_assert_mem_eq(out.prefix.p, "app/", 4);

	buf_clear(&b);
	wire_put_events(&b, &all);
	f = frame_of(FRAME_EVENTS);
	ck_assert_int_eq(wire_get_events(f.payload, f.len, arena, &got, &err), 0);
	ck_assert_uint_eq(got.n, 2);
	ck_assert_uint_eq(got.events[0].index, UINT64_MAX);
	ck_assert_uint_eq(got.events[0].sub, UINT32_MAX);
	ck_assert_uint_eq(got.events[0].version, 6);
	ck_assert_uint_eq(got.events[0].parent, 7);
	ck_assert_uint_eq(got.events[0].old_parent, 8);
	ck_assert_uint_eq(got.events[0].session, UINT64_MAX - 9);
	ck_assert_uint_eq(got.events[0].mode, 0100644);
	ck_assert_mem_eq(got.events[0].old_path.p, "old", 3);
	ck_assert_uint_eq(got.events[1].kind, 99); /* of a newer program */
	ck_assert_uint_eq(got.events[1].path.len, 0);
	ck_assert_uint_eq(got.next_index + got.next_sub + got.lost_from + got.lost_to + got.applied,
	                  60);
	ck_assert(got.has_leader);
}
END_TEST

START_TEST(test_administration_survives)
{
	struct wire_admin in = {.id = UINT64_MAX,
	                        .kind = WIRE_ADMIN_SUSPEND,
	                        .member = UINT64_MAX - 1,
	                        .learner = true,
	                        .period_ms = UINT64_MAX - 2},
	                  out;
	struct wire_admin_reply reply = {.id = UINT64_MAX,
	                                 .code = INT_MIN,
	                                 .leader_id = UINT64_MAX - 1},
	                        got;
	struct frame f;

	FILL(in.address, 'a');
	wire_put_admin(&b, &in);
	f = frame_of(FRAME_ADMIN);
	ck_assert_int_eq(wire_get_admin(f.payload, f.len, &out, &err), 0);
	ck_assert_uint_eq(out.id, in.id);
	ck_assert_int_eq(out.kind, in.kind);
	ck_assert_uint_eq(out.member, in.member);
	ck_assert_str_eq(out.address, in.address);
	ck_assert(out.learner);
	ck_assert_uint_eq(out.period_ms, in.period_ms);

	buf_clear(&b);
	FILL(reply.text, 't');
	FILL(reply.leader_address, 'l');
	wire_put_admin_reply(&b, &reply);
	f = frame_of(FRAME_ADMIN_REPLY);
	ck_assert_int_eq(wire_get_admin_reply(f.payload, f.len, &got, &err), 0);
	ck_assert_uint_eq(got.id, reply.id);
	ck_assert_int_eq(got.code, reply.code);
	ck_assert_uint_eq(got.leader_id, reply.leader_id);
	ck_assert_str_eq(got.text, reply.text);
	ck_assert_str_eq(got.leader_address, reply.leader_address);
}
END_TEST

START_TEST(test_snapshots_on_their_way_survive)
{
	static const uint8_t bytes[] = {0, 1, 2, 255};
	struct wire_snapshot in = {.from = UINT64_MAX,
	                           .to = UINT64_MAX - 1,
	                           .term = UINT64_MAX - 2,
	                           .pos = {UINT64_MAX - 3, UINT64_MAX - 4},
	                           .seq = UINT64_MAX - 5,
	                           .data = bytes,
	                           .len = sizeof(bytes)},
	                     out;
	struct wire_snapshot_ack ack = {.from = 1,
	                                .to = UINT64_MAX,
	                                .term = 3,
	                                .pos = {4, 5},
	                                .next = UINT64_MAX - 6,
	                                .state = WIRE_SNAPSHOT_USELESS,
	                                .sync = true},
	                         got;
	struct frame f;

	wire_put_snapshot(&b, &in);
	f = frame_of(FRAME_SNAPSHOT);
	ck_assert_int_eq(wire_get_snapshot(f.payload, f.len, arena, &out, &err), 0);
	ck_assert_uint_eq(out.from, in.from);
	ck_assert_uint_eq(out.to, in.to);
	ck_assert_uint_eq(out.term, in.term);
	ck_assert_uint_eq(out.pos.index, in.pos.index);
	ck_assert_uint_eq(out.pos.term, in.pos.term);
	ck_assert_uint_eq(out.seq, in.seq);
	ck_assert_uint_eq(out.len, in.len);
	ck_assert_mem_eq(out.data, bytes, sizeof(bytes));

	buf_clear(&b);
	wire_put_snapshot_ack(&b, &ack);
	f = frame_of(FRAME_SNAPSHOT_ACK);
	ck_assert_int_eq(wire_get_snapshot_ack(f.payload, f.len, &got, &err), 0);
	ck_assert_uint_eq(got.from, ack.from);
	ck_assert_uint_eq(got.to, ack.to);
	ck_assert_uint_eq(got.term, ack.term);
	ck_assert_uint_eq(got.pos.index, ack.pos.index);
	ck_assert_uint_eq(got.next, ack.next);
	ck_assert_int_eq(got.state, ack.state);
	ck_assert(got.sync);

	buf_clear(&b);
	in.pos.index = 0;
	wire_put_snapshot(&b, &in);
	f = frame_of(FRAME_SNAPSHOT);
	ck_assert_int_eq(wire_get_snapshot(f.payload, f.len, arena, &out, &err), RFS_ECORRUPT);
}
END_TEST

/* A string field of `n` bytes. */
static void put_string(unsigned field, size_t n)
{
	buf_put_u8(&b, (uint8_t)(field << 3 | 2));
	buf_put_u8(&b, (uint8_t)(n & 0x7f) | 0x80);
	buf_put_u8(&b, (uint8_t)(n >> 7));
	memset(buf_reserve(&b, n), 'x', n);
	b.len += n;
}

START_TEST(test_texts_longer_than_their_place_are_refused_not_cut)
{
	struct wire_hello hello;
	struct wire_hello_reply reply;
	struct wire_status status;

	put_string(3, 64);
	ck_assert_int_eq(wire_get_hello(b.data, b.len, &hello, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "cluster name of 64 bytes exceeds 63");
	buf_clear(&b);
	put_string(6, WIRE_TEXT_MAX);
	ck_assert_int_eq(wire_get_hello_reply(b.data, b.len, &reply, &err), RFS_ECORRUPT);
	buf_clear(&b);
	put_string(4, 32);
	ck_assert_int_eq(wire_get_status(b.data, b.len, &status, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "role of 32 bytes exceeds 31");
}
END_TEST

START_TEST(test_too_many_members_are_refused)
{
	struct wire_status s;

	for (unsigned i = 0; i <= WIRE_MEMBERS_MAX; i++)
		buf_put(&b, "\x7a\x00", 2); /* field 15, empty */
	ck_assert_int_eq(wire_get_status(b.data, b.len, &s, &err), RFS_ECORRUPT);
	ck_assert_str_eq(err.msg, "status with 33 members exceeds 32");
}
END_TEST

START_TEST(test_fields_of_a_later_version_are_passed_over)
{
	uint64_t session;

	/* field 1 = 5, field 1000 = 7, field 1001 = "abc" */
	ck_assert_int_eq(wire_get_keep_alive((const uint8_t *)"\x08\x05\xc0\x3e\x07\xca\x3e\x03"
	                                                      "abc",
	                                     11, &session, &err),
	                 0);
	ck_assert_uint_eq(session, 5);
}
END_TEST

START_TEST(test_a_message_that_explodes_when_decoded_is_refused)
{
	struct wire_reply r;
	struct raft_msg m;

	buf_put(&b, "\x08\x05", 2); /* APPEND, then as many empty entries as a frame holds */
	while (b.len + 2 <= FRAME_PAYLOAD_MAX)
		buf_put(&b, "\x72\x00", 2);
	ck_assert_int_eq(wire_get_raft(b.data, b.len, arena, &m, &err), RFS_ECORRUPT);
	/* the same as fields of a later version, which protobuf-c keeps, each in its own piece */
	ck_assert_int_eq(wire_get_reply(b.data + 2, b.len - 2, arena, &r, &err), RFS_ECORRUPT);
	ck_assert_ptr_nonnull(strstr(err.msg, "not a message of type Reply"));
	wire_arena_reset(arena);
	buf_clear(&b);
	wire_put_raft(&b, &(struct raft_msg){.kind = RAFT_MSG_VOTE});
	ck_assert_int_eq(wire_get_raft(b.data + FRAME_HEADER_BYTES, b.len - FRAME_HEADER_BYTES,
	                               arena, &m, &err),
	                 0);
}
END_TEST

START_TEST(test_messages_decoded_before_a_reset_stay_beside_each_other)
{
	struct wire_request out[50];
	char text[50][4096];

	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < 50; i++) {
			struct wire_request in = {.id = i};

			memset(text[i], 'a' + (int)(i % 26), sizeof(text[i]));
			in.op.data = text[i];
			in.op.data_len = sizeof(text[i]);
			buf_clear(&b);
			wire_put_request(&b, &in);
			ck_assert_int_eq(wire_get_request(b.data + FRAME_HEADER_BYTES,
			                                  b.len - FRAME_HEADER_BYTES, arena,
			                                  &out[i], &err),
			                 0);
		}
		for (size_t i = 0; i < 50; i++)
			ck_assert_mem_eq(out[i].op.data, text[i], sizeof(text[i]));
		wire_arena_reset(arena);
	}
}
END_TEST

/* ---- damage ---- */

enum { N_SAMPLES = 9 };

/* One message of each kind, small enough to be tried at every length. */
static void put_sample(int which)
{
	struct raft_entry e[2] = {
	        {.pos = {.index = 8, .term = 3},
	         .kind = RAFT_ENTRY_COMMAND,
	         .len = 5,
	         .data = "abcde"},
	        {.pos = {.index = 9, .term = 3}, .kind = RAFT_ENTRY_NOOP},
	};
	struct raft_msg append = raft_extreme();
	struct wire_request request = {.id = 7, .session = 1ull << 40, .op = op_extreme()};
	struct wire_reply reply = {.id = 7, .result = {.has_attr = true}};
	struct wire_status status = status_extreme();
	struct store_cmd cmd = {.session = 7, .op = &request.op};

	request.op.data_len = 40;
	request.op.name.len = request.op.name2.len = 10;
	buf_clear(&b);
	switch (which) {
	case 0: wire_put_hello(&b, &(struct wire_hello){1, 2, "demo", 3, 4, 5, "host:6"}); return;
	case 1:
		wire_put_hello_reply(
		        &b, &(struct wire_hello_reply){1, "demo", 2, 3, RFS_EIDENTITY, "because"});
		return;
	case 2:
		append.pos.index = 7;
		append.n = 2;
		append.entries = e;
		wire_put_raft(&b, &append);
		return;
	case 3: wire_put_request(&b, &request); return;
	case 4:
		reply.result.attr.ino = UINT64_MAX;
		reply.result.data = "data";
		reply.result.data_len = 4;
		wire_put_reply(&b, &reply);
		return;
	case 5: wire_put_keep_alive(&b, 1ull << 60); return;
	case 6: wire_put_keep_alive_reply(&b, &(struct wire_keep_alive_reply){9, true}); return;
	case 7:
		status.n_members = 2;
		wire_put_status(&b, &status);
		return;
	case 8:
		(void)frame_begin(&b);
		wire_put_command(&b, &cmd);
		return;
	default: ck_abort();
	}
}

START_TEST(test_cut_messages_are_refused_or_valid_at_every_length)
{
	put_sample(_i);
	for (size_t n = 0; n <= b.len - FRAME_HEADER_BYTES; n++) {
		uint8_t *cut = malloc(n > 0 ? n : 1);

		memcpy(cut, b.data + FRAME_HEADER_BYTES, n);
		(void)decode_all(cut, n, arena);
		free(cut);
	}
}
END_TEST

START_TEST(test_mutated_messages_do_no_harm)
{
	uint64_t rng = 88172645463325252u + (uint64_t)_i;
	uint8_t *copy;
	size_t n;

	put_sample(_i);
	n = b.len - FRAME_HEADER_BYTES;
	copy = malloc(n);
	for (int round = 0; round < 20000; round++) {
		memcpy(copy, b.data + FRAME_HEADER_BYTES, n);
		for (int i = 0; i <= round % 4; i++) {
			rng ^= rng << 13;
			rng ^= rng >> 7;
			rng ^= rng << 17;
			copy[(rng >> 8) % n] = (uint8_t)rng;
		}
		(void)decode_all(copy, n, arena);
	}
	free(copy);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_hello_survives);
	tcase_add_test(t, test_hello_reply_survives);
	tcase_add_test(t, test_raft_messages_of_every_kind_survive);
	tcase_add_test(t, test_entries_come_with_consecutive_positions);
	tcase_add_test(t, test_raft_messages_that_nobody_sends_are_refused);
	tcase_add_test(t, test_requests_survive);
	tcase_add_test(t, test_commands_survive_without_a_frame);
	tcase_add_test(t, test_a_message_without_its_operation_is_refused);
	tcase_add_test(t, test_versions_survive_and_what_is_none_is_refused);
	tcase_add_test(t, test_every_type_of_frame_has_a_version);
	tcase_add_test(t, test_replies_survive);
	tcase_add_test(t, test_an_empty_reply_has_no_data_and_no_attributes);
	tcase_add_test(t, test_keep_alives_survive);
	tcase_add_test(t, test_word_of_room_survives);
	tcase_add_test(t, test_status_survives);
	tcase_add_test(t, test_watches_and_events_survive);
	tcase_add_test(t, test_backups_survive);
	tcase_add_test(t, test_administration_survives);
	tcase_add_test(t, test_snapshots_on_their_way_survive);
	tcase_add_test(t, test_texts_longer_than_their_place_are_refused_not_cut);
	tcase_add_test(t, test_too_many_members_are_refused);
	tcase_add_test(t, test_fields_of_a_later_version_are_passed_over);
	tcase_add_test(t, test_a_message_that_explodes_when_decoded_is_refused);
	tcase_add_test(t, test_messages_decoded_before_a_reset_stay_beside_each_other);
	tcase_add_loop_test(t, test_cut_messages_are_refused_or_valid_at_every_length, 0,
	                    N_SAMPLES);
	tcase_add_loop_test(t, test_mutated_messages_do_no_harm, 0, N_SAMPLES);
	suite_add_tcase(s, t);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}

#include "decode_all.h"

#include <string.h>
#include "../../src/base/check.h"

static volatile uint8_t sink;

/* Reads every byte, so that a sanitizer sees a pointer that is not good for all of them. */
static void touch(const void *p, size_t n)
{
	const uint8_t *bytes = p;

	rfs_check((p == NULL) == (n == 0));
	for (size_t i = 0; i < n; i++)
		sink ^= bytes[i];
}

static void touch_ranges(const void *p, size_t n)
{
	struct reader r = reader_of(p, n);
	struct fs_range range;
	size_t found = 0;

	for (; fs_range_next(&r, &range); found++)
		sink ^= (uint8_t)(range.offset + range.len);
	rfs_check(found == n / FS_RANGE_BYTES && r.bad == (n % FS_RANGE_BYTES != 0));
}

static void touch_op(const struct fs_op *op)
{
	touch(op->name.p, op->name.len);
	touch(op->name2.p, op->name2.len);
	touch(op->data, op->data_len);
	touch_ranges(op->data, op->data_len);
}

static void touch_text(const char *text, size_t size)
{
	rfs_check(memchr(text, '\0', size) != NULL);
}

static unsigned judge(int rc, const struct rfs_err *err)
{
	rfs_check(rc == 0 || rc == RFS_ECORRUPT);
	rfs_check(rc == 0 || (err->code == rc && err->msg[0] != '\0'));
	return rc == 0;
}

static unsigned decode_raft(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct raft_msg m;
	unsigned taken = judge(wire_get_raft(p, n, a, &m, &err), &err);

	if (!taken)
		return 0;
	rfs_check(m.kind >= RAFT_MSG_PRE_VOTE && m.kind <= RAFT_MSG_KIND_MAX);
	rfs_check(m.n == 0 || m.kind == RAFT_MSG_APPEND);
	for (size_t i = 0; i < m.n; i++) {
		rfs_check(m.entries[i].pos.index == m.pos.index + 1 + i);
		rfs_check(m.entries[i].kind <= RAFT_ENTRY_KIND_MAX);
		rfs_check(m.entries[i].len <= RAFT_ENTRY_BYTES_MAX);
		touch(m.entries[i].data, m.entries[i].len);
	}
	return 1;
}

static unsigned decode_backup(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct wire_backup ask;
	struct wire_backup_part part;
	unsigned taken = judge(wire_get_backup(p, n, &ask, &err), &err);

	if (judge(wire_get_backup_part(p, n, a, &part, &err), &err) == 0)
		return taken;
	touch(part.data, part.len);
	touch_text(part.text, sizeof(part.text));
	return taken + 1;
}

static unsigned decode_watch(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct wire_events events;
	struct wire_watch watch;
	unsigned taken = judge(wire_get_watch(p, n, a, &watch, &err), &err);

	if (taken)
		touch(watch.prefix.p, watch.prefix.len);
	if (wire_get_events(p, n, a, &events, &err) != 0)
		return taken;
	for (size_t i = 0; i < events.n; i++) {
		touch(events.events[i].path.p, events.events[i].path.len);
		touch(events.events[i].old_path.p, events.events[i].old_path.len);
	}
	return taken + 1;
}

static unsigned decode_ops(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct wire_request request;
	struct store_cmd cmd;
	struct fs_op op;
	unsigned taken = 0;

	if (judge(wire_get_request(p, n, a, &request, &err), &err)) {
		touch_op(&request.op);
		taken++;
	}
	if (judge(wire_get_command(p, n, a, &cmd, &op, &err), &err)) {
		rfs_check(cmd.op == &op);
		touch_op(&op);
		taken++;
	}
	return taken;
}

static unsigned decode_reply(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct wire_reply r;

	if (!judge(wire_get_reply(p, n, a, &r, &err), &err))
		return 0;
	rfs_check(r.result.err <= 0);
	touch(r.result.data, r.result.data_len);
	touch_text(r.leader_address, sizeof(r.leader_address));
	return 1;
}

static unsigned decode_status(const uint8_t *p, size_t n)
{
	struct rfs_err err = {0};
	struct wire_status s;

	if (!judge(wire_get_status(p, n, &s, &err), &err))
		return 0;
	rfs_check(s.n_members <= WIRE_MEMBERS_MAX);
	touch_text(s.address, sizeof(s.address));
	touch_text(s.leader_address, sizeof(s.leader_address));
	touch_text(s.role, sizeof(s.role));
	touch_text(s.cluster, sizeof(s.cluster));
	touch_text(s.version, sizeof(s.version));
	for (size_t i = 0; i < s.n_members; i++)
		touch_text(s.members[i].address, sizeof(s.members[i].address));
	return 1;
}

static unsigned decode_small(const uint8_t *p, size_t n)
{
	struct rfs_err err = {0};
	struct wire_hello hello;
	struct wire_hello_reply reply;
	struct wire_keep_alive_reply alive;
	struct wire_room room;
	uint64_t number;
	unsigned taken = 0;

	if (judge(wire_get_hello(p, n, &hello, &err), &err)) {
		touch_text(hello.cluster, sizeof(hello.cluster));
		taken++;
	}
	if (judge(wire_get_hello_reply(p, n, &reply, &err), &err)) {
		touch_text(reply.cluster, sizeof(reply.cluster));
		touch_text(reply.text, sizeof(reply.text));
		rfs_check(reply.code <= 0);
		taken++;
	}
	taken += judge(wire_get_room(p, n, &room, &err), &err);
	taken += judge(wire_get_keep_alive(p, n, &number, &err), &err);
	taken += judge(wire_get_keep_alive_reply(p, n, &alive, &err), &err);
	taken += judge(wire_get_status_request(p, n, &number, &err), &err);
	return taken;
}

static unsigned decode_admin(const uint8_t *p, size_t n, struct wire_arena *a)
{
	struct rfs_err err = {0};
	struct wire_admin admin;
	struct wire_admin_reply reply;
	struct wire_snapshot snapshot;
	struct wire_snapshot_ack ack;
	unsigned taken = 0;

	if (judge(wire_get_admin(p, n, &admin, &err), &err)) {
		touch_text(admin.address, sizeof(admin.address));
		taken++;
	}
	if (judge(wire_get_admin_reply(p, n, &reply, &err), &err)) {
		touch_text(reply.text, sizeof(reply.text));
		touch_text(reply.leader_address, sizeof(reply.leader_address));
		rfs_check(reply.code <= 0);
		taken++;
	}
	if (judge(wire_get_snapshot(p, n, a, &snapshot, &err), &err)) {
		touch(snapshot.data, snapshot.len);
		taken++;
	}
	if (judge(wire_get_snapshot_ack(p, n, &ack, &err), &err)) {
		rfs_check(ack.state <= WIRE_SNAPSHOT_USELESS);
		taken++;
	}
	return taken;
}

unsigned decode_all(const uint8_t *p, size_t n, struct wire_arena *a)
{
	unsigned taken = decode_raft(p, n, a) + decode_ops(p, n, a) + decode_reply(p, n, a) +
	                 decode_status(p, n) + decode_small(p, n) + decode_admin(p, n, a) +
	                 decode_watch(p, n, a) + decode_backup(p, n, a);

	wire_arena_reset(a);
	return taken;
}

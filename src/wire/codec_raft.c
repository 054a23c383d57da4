/* Messages between cores. */
#include <stdbool.h>
#include "../base/check.h"
#include "codec_priv.h"

static bool raft_kind_is_known(uint32_t kind)
{
	switch ((enum raft_msg_kind)kind) {
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_APPEND:
	case RAFT_MSG_APPEND_RESP:
	case RAFT_MSG_READ:
	case RAFT_MSG_READ_RESP:
	case RAFT_MSG_TIMEOUT_NOW: return true;
	}
	return false;
}

static bool entry_kind_is_known(uint32_t kind)
{
	switch ((enum raft_entry_kind)kind) {
	case RAFT_ENTRY_NOOP:
	case RAFT_ENTRY_COMMAND:
	case RAFT_ENTRY_CONFIG:
	case RAFT_ENTRY_VERSION: return true;
	}
	return false;
}

static void put_varint(struct buf *b, size_t v)
{
	while (v >= 0x80) {
		buf_put_u8(b, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	buf_put_u8(b, (uint8_t)v);
}

/* One element of Raft.entries as it stands behind the other fields: key, length, Entry. Writing
 * them one by one spares the array of pointers that protobuf-c wants for a repeated field. */
static void put_entry(struct buf *b, const struct raft_entry *e)
{
	enum { KEY = 14 << 3 | 2 }; /* field 14, length-delimited */
	RfsPb__Entry m = RFS_PB__ENTRY__INIT;

	m.term = e->pos.term;
	m.kind = e->kind;
	m.data = codec_bytes(e->data, e->len);
	buf_put_u8(b, KEY);
	put_varint(b, protobuf_c_message_get_packed_size(&m.base));
	codec_pack(b, &m.base);
}

void wire_put_raft(struct buf *b, const struct raft_msg *m)
{
	RfsPb__Raft pb = RFS_PB__RAFT__INIT;
	size_t start = frame_begin(b);

	pb.kind = m->kind;
	pb.from = m->from;
	pb.to = m->to;
	pb.term = m->term;
	pb.pos_index = m->pos.index;
	pb.pos_term = m->pos.term;
	pb.commit = m->commit;
	pb.last = m->last;
	pb.round = m->round;
	pb.read_ctx = m->read_ctx;
	pb.read_index = m->read_index;
	pb.reject = m->reject;
	pb.force = m->force;
	codec_pack(b, &pb.base);
	if (m->kind == RAFT_MSG_APPEND) {
		rfs_check(m->n == 0 || m->entries != NULL);
		for (size_t i = 0; i < m->n; i++)
			put_entry(b, &m->entries[i]);
	}
	frame_end(b, start, FRAME_RAFT);
}

static int get_entry(const RfsPb__Entry *pb, raft_index index, struct raft_entry *e,
                     struct rfs_err *err)
{
	if (!entry_kind_is_known(pb->kind))
		return rfs_err_set(err, RFS_ECORRUPT, "entry %llu is of unknown kind %u",
		                   (unsigned long long)index, pb->kind);
	if (pb->data.len > RAFT_ENTRY_BYTES_MAX)
		return rfs_err_set(err, RFS_ECORRUPT, "entry %llu of %zu bytes exceeds %u",
		                   (unsigned long long)index, pb->data.len, RAFT_ENTRY_BYTES_MAX);
	*e = (struct raft_entry){
	        .pos = {.index = index, .term = pb->term},
	        .kind = (enum raft_entry_kind)pb->kind,
	        .len = (uint32_t)pb->data.len,
	        .data = pb->data.len > 0 ? pb->data.data : NULL,
	};
	return 0;
}

static int get_entries(const RfsPb__Raft *pb, struct wire_arena *a, struct raft_msg *m,
                       struct rfs_err *err)
{
	struct raft_entry *entries;

	if (pb->kind != RAFT_MSG_APPEND)
		return rfs_err_set(err, RFS_ECORRUPT, "raft message of kind %u with %zu entries",
		                   pb->kind, pb->n_entries);
	if (pb->n_entries > UINT64_MAX - pb->pos_index)
		return rfs_err_set(err, RFS_ECORRUPT, "%zu entries behind index %llu",
		                   pb->n_entries, (unsigned long long)pb->pos_index);
	entries = arena_array(a, pb->n_entries, sizeof(*entries));
	if (entries == NULL)
		return rfs_err_set(err, RFS_ECORRUPT, "raft message with %zu entries is too large",
		                   pb->n_entries);
	for (size_t i = 0; i < pb->n_entries; i++) {
		int rc = get_entry(pb->entries[i], pb->pos_index + 1 + i, &entries[i], err);

		if (rc != 0)
			return rc;
	}
	m->n = pb->n_entries;
	m->entries = entries;
	return 0;
}

int wire_get_raft(const uint8_t *p, size_t n, struct wire_arena *a, struct raft_msg *m,
                  struct rfs_err *err)
{
	RfsPb__Raft *pb = codec_unpack(&rfs_pb__raft__descriptor, arena_begin(a), p, n, err);

	if (pb == NULL)
		return RFS_ECORRUPT;
	if (!raft_kind_is_known(pb->kind))
		return rfs_err_set(err, RFS_ECORRUPT, "raft message of unknown kind %u", pb->kind);
	*m = (struct raft_msg){
	        .kind = (enum raft_msg_kind)pb->kind,
	        .from = pb->from,
	        .to = pb->to,
	        .term = pb->term,
	        .pos = {.index = pb->pos_index, .term = pb->pos_term},
	        .commit = pb->commit,
	        .last = pb->last,
	        .round = pb->round,
	        .read_ctx = pb->read_ctx,
	        .read_index = pb->read_index,
	        .reject = pb->reject != 0,
	        .force = pb->force != 0,
	};
	if (pb->n_entries == 0)
		return 0;
	m->first = pb->pos_index + 1;
	return get_entries(pb, a, m, err);
}

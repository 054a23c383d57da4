/* Operations and their results: requests, replies, and the commands in the log. Which kinds, flags
 * and names are good is for the node and the store to say; here a value of any number passes. */
#include <string.h>
#include "codec_priv.h"

static void op_to_pb(RfsPb__Op *m, const struct fs_op *op)
{
	m->kind = op->kind;
	m->flags = op->flags;
	m->valid = op->valid;
	m->ino = op->ino;
	m->parent = op->parent;
	m->parent2 = op->parent2;
	m->keep_ino = op->keep_ino;
	m->ino2 = op->ino2;
	m->offset2 = op->offset2;
	m->name = codec_bytes(op->name.p, op->name.len);
	m->name2 = codec_bytes(op->name2.p, op->name2.len);
	m->mode = op->mode;
	m->uid = op->uid;
	m->gid = op->gid;
	m->rdev = op->rdev;
	m->offset = op->offset;
	m->size = op->size;
	m->atime_ns = op->atime_ns;
	m->mtime_ns = op->mtime_ns;
	m->ctime_ns = op->ctime_ns;
	m->data = codec_bytes(op->data, op->data_len);
	m->version = op->version;
	m->lock_owner = op->lock_owner;
	m->lock_token = op->lock_token;
	m->lock_session = op->lock_session;
	m->lock_seq = op->lock_seq;
	m->pid = op->pid;
	m->umask = op->umask;
}

static const void *bytes_or_null(const ProtobufCBinaryData *b)
{
	return b->len > 0 ? b->data : NULL;
}

static struct fs_str str_of_pb(const ProtobufCBinaryData *b)
{
	return (struct fs_str){.p = bytes_or_null(b), .len = (uint32_t)b->len};
}

/* Every length fits into 32 bits: a command is at most an entry long, anything else a frame. */
static int op_of_pb(const RfsPb__Op *m, struct fs_op *op, struct rfs_err *err)
{
	if (m == NULL)
		return rfs_err_set(err, RFS_ECORRUPT, "message without an operation");
	*op = (struct fs_op){
	        .kind = (enum fs_op_kind)m->kind,
	        .flags = m->flags,
	        .valid = m->valid,
	        .ino = m->ino,
	        .parent = m->parent,
	        .parent2 = m->parent2,
	        .keep_ino = m->keep_ino,
	        .ino2 = m->ino2,
	        .offset2 = m->offset2,
	        .name = str_of_pb(&m->name),
	        .name2 = str_of_pb(&m->name2),
	        .mode = m->mode,
	        .uid = m->uid,
	        .gid = m->gid,
	        .rdev = m->rdev,
	        .offset = m->offset,
	        .size = m->size,
	        .atime_ns = m->atime_ns,
	        .mtime_ns = m->mtime_ns,
	        .ctime_ns = m->ctime_ns,
	        .data = bytes_or_null(&m->data),
	        .data_len = (uint32_t)m->data.len,
	        .version = m->version,
	        .lock_owner = m->lock_owner,
	        .lock_token = m->lock_token,
	        .lock_session = m->lock_session,
	        .lock_seq = m->lock_seq,
	        .pid = m->pid,
	        .umask = m->umask,
	};
	return 0;
}

void wire_put_request(struct buf *b, const struct wire_request *r)
{
	RfsPb__Request m = RFS_PB__REQUEST__INIT;
	RfsPb__Op op = RFS_PB__OP__INIT;

	op_to_pb(&op, &r->op);
	m.id = r->id;
	m.session = r->session;
	m.seq = r->seq;
	m.lowest = r->lowest;
	m.local = r->local;
	m.min_index = r->min_index;
	m.op = &op;
	codec_put(b, FRAME_REQUEST, &m.base);
}

int wire_get_request(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_request *r,
                     struct rfs_err *err)
{
	RfsPb__Request *m = codec_unpack(&rfs_pb__request__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*r = (struct wire_request){
	        .id = m->id,
	        .session = m->session,
	        .seq = m->seq,
	        .lowest = m->lowest,
	        .local = m->local != 0,
	        .min_index = m->min_index,
	};
	return op_of_pb(m->op, &r->op, err);
}

void wire_put_command(struct buf *b, const struct store_cmd *c)
{
	RfsPb__Command m = RFS_PB__COMMAND__INIT;
	RfsPb__Op op = RFS_PB__OP__INIT;

	op_to_pb(&op, c->op);
	m.session = c->session;
	m.seq = c->seq;
	m.lowest = c->lowest;
	m.time_ns = c->time_ns;
	m.op = &op;
	codec_pack(b, &m.base);
}

int wire_get_command(const void *p, size_t n, struct wire_arena *a, struct store_cmd *c,
                     struct fs_op *op, struct rfs_err *err)
{
	RfsPb__Command *m;

	if (n > RAFT_ENTRY_BYTES_MAX)
		return rfs_err_set(err, RFS_ECORRUPT, "command of %zu bytes exceeds %u", n,
		                   RAFT_ENTRY_BYTES_MAX);
	m = codec_unpack(&rfs_pb__command__descriptor, arena_begin(a), p, n, err);
	if (m == NULL)
		return RFS_ECORRUPT;
	*c = (struct store_cmd){
	        .session = m->session,
	        .seq = m->seq,
	        .lowest = m->lowest,
	        .time_ns = m->time_ns,
	        .op = op,
	};
	return op_of_pb(m->op, op, err);
}

void wire_put_version(struct buf *b, uint32_t version)
{
	buf_put_u32(b, version);
}

int wire_get_version(const void *p, size_t n, uint32_t *version, struct rfs_err *err)
{
	struct reader r = reader_of(p, n);

	*version = reader_u32(&r);
	if (r.bad || reader_left(&r) != 0 || *version == 0)
		return rfs_err_set(err, RFS_ECORRUPT, "%zu bytes that are no version", n);
	return 0;
}

static void attr_to_pb(RfsPb__Attr *m, const struct fs_attr *a)
{
	m->ino = a->ino;
	m->version = a->version;
	m->size = a->size;
	m->blocks = a->blocks;
	m->rdev = a->rdev;
	m->mode = a->mode;
	m->nlink = a->nlink;
	m->uid = a->uid;
	m->gid = a->gid;
	m->atime_ns = a->atime_ns;
	m->mtime_ns = a->mtime_ns;
	m->ctime_ns = a->ctime_ns;
}

static struct fs_attr attr_of_pb(const RfsPb__Attr *m)
{
	return (struct fs_attr){
	        .ino = m->ino,
	        .version = m->version,
	        .size = m->size,
	        .blocks = m->blocks,
	        .rdev = m->rdev,
	        .mode = m->mode,
	        .nlink = m->nlink,
	        .uid = m->uid,
	        .gid = m->gid,
	        .atime_ns = m->atime_ns,
	        .mtime_ns = m->mtime_ns,
	        .ctime_ns = m->ctime_ns,
	};
}

void wire_put_reply(struct buf *b, const struct wire_reply *r)
{
	RfsPb__Reply m = RFS_PB__REPLY__INIT;
	RfsPb__Attr attr = RFS_PB__ATTR__INIT;

	m.id = r->id;
	m.err = r->result.err;
	if (r->result.has_attr) {
		attr_to_pb(&attr, &r->result.attr);
		m.attr = &attr;
	}
	m.value = r->result.value;
	m.index = r->result.index;
	m.data = codec_bytes(r->result.data, r->result.data_len);
	m.leader_id = r->leader_id;
	m.leader_address = (char *)r->leader_address;
	codec_put(b, FRAME_REPLY, &m.base);
}

int wire_get_reply(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_reply *r,
                   struct rfs_err *err)
{
	RfsPb__Reply *m = codec_unpack(&rfs_pb__reply__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->err > 0)
		return rfs_err_set(err, RFS_ECORRUPT, "reply %llu with error %d",
		                   (unsigned long long)m->id, m->err);
	r->id = m->id;
	r->result = (struct fs_result){
	        .err = m->err,
	        .has_attr = m->attr != NULL,
	        .value = m->value,
	        .index = m->index,
	        .data = bytes_or_null(&m->data),
	        .data_len = (uint32_t)m->data.len,
	};
	if (m->attr != NULL)
		r->result.attr = attr_of_pb(m->attr);
	r->leader_id = m->leader_id;
	return codec_get_text(r->leader_address, sizeof(r->leader_address), m->leader_address,
	                      "leader's address", err);
}

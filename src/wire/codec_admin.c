/* What operators ask, and snapshots on their way between servers. */
#include <string.h>
#include "../base/check.h"
#include "codec_priv.h"

/* ---- administration ---- */

void wire_put_admin(struct buf *b, const struct wire_admin *a)
{
	RfsPb__AdminRequest m = RFS_PB__ADMIN_REQUEST__INIT;

	m.id = a->id;
	m.kind = a->kind;
	m.member = a->member;
	m.address = (char *)a->address;
	m.learner = a->learner;
	m.period_ms = a->period_ms;
	codec_put(b, FRAME_ADMIN, &m.base);
}

int wire_get_admin(const uint8_t *p, size_t n, struct wire_admin *a, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__AdminRequest *m =
	        codec_unpack(&rfs_pb__admin_request__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	memset(a, 0, sizeof(*a));
	a->id = m->id;
	a->kind = (enum wire_admin_kind)m->kind; /* one that is unknown is answered as such */
	a->member = m->member;
	a->learner = m->learner != 0;
	a->period_ms = m->period_ms;
	return codec_get_text(a->address, sizeof(a->address), m->address, "address", err);
}

void wire_put_admin_reply(struct buf *b, const struct wire_admin_reply *r)
{
	RfsPb__AdminReply m = RFS_PB__ADMIN_REPLY__INIT;

	m.id = r->id;
	m.code = r->code;
	m.text = (char *)r->text;
	m.leader_id = r->leader_id;
	m.leader_address = (char *)r->leader_address;
	codec_put(b, FRAME_ADMIN_REPLY, &m.base);
}

int wire_get_admin_reply(const uint8_t *p, size_t n, struct wire_admin_reply *r,
                         struct rfs_err *err)
{
	struct scratch s;
	RfsPb__AdminReply *m =
	        codec_unpack(&rfs_pb__admin_reply__descriptor, scratch_begin(&s), p, n, err);
	int rc;

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->code > 0)
		return rfs_err_set(err, RFS_ECORRUPT, "administration answered with code %d",
		                   m->code);
	memset(r, 0, sizeof(*r));
	r->id = m->id;
	r->code = m->code;
	r->leader_id = m->leader_id;
	rc = codec_get_text(r->text, sizeof(r->text), m->text, "text", err);
	if (rc != 0)
		return rc;
	return codec_get_text(r->leader_address, sizeof(r->leader_address), m->leader_address,
	                      "leader's address", err);
}

/* ---- snapshots ---- */

void wire_put_snapshot(struct buf *b, const struct wire_snapshot *s)
{
	RfsPb__Snapshot m = RFS_PB__SNAPSHOT__INIT;

	m.from = s->from;
	m.to = s->to;
	m.term = s->term;
	m.pos_index = s->pos.index;
	m.pos_term = s->pos.term;
	m.seq = s->seq;
	m.data = codec_bytes(s->data, s->len);
	codec_put(b, FRAME_SNAPSHOT, &m.base);
}

int wire_get_snapshot(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_snapshot *s,
                      struct rfs_err *err)
{
	RfsPb__Snapshot *m = codec_unpack(&rfs_pb__snapshot__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*s = (struct wire_snapshot){
	        .from = m->from,
	        .to = m->to,
	        .term = m->term,
	        .pos = {m->pos_index, m->pos_term},
	        .seq = m->seq,
	        .data = m->data.len > 0 ? m->data.data : NULL,
	        .len = (uint32_t)m->data.len, /* a frame is smaller than that */
	};
	if (s->pos.index == 0 || s->pos.term == 0)
		return rfs_err_set(err, RFS_ECORRUPT, "a snapshot of no position");
	return 0;
}

void wire_put_snapshot_ack(struct buf *b, const struct wire_snapshot_ack *s)
{
	RfsPb__SnapshotAck m = RFS_PB__SNAPSHOT_ACK__INIT;

	m.from = s->from;
	m.to = s->to;
	m.term = s->term;
	m.pos_index = s->pos.index;
	m.pos_term = s->pos.term;
	m.next = s->next;
	m.state = s->state;
	m.sync = s->sync;
	codec_put(b, FRAME_SNAPSHOT_ACK, &m.base);
}

int wire_get_snapshot_ack(const uint8_t *p, size_t n, struct wire_snapshot_ack *s,
                          struct rfs_err *err)
{
	struct scratch scratch;
	RfsPb__SnapshotAck *m =
	        codec_unpack(&rfs_pb__snapshot_ack__descriptor, scratch_begin(&scratch), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->state > WIRE_SNAPSHOT_USELESS)
		return rfs_err_set(err, RFS_ECORRUPT, "a snapshot acknowledged with state %u",
		                   m->state);
	*s = (struct wire_snapshot_ack){
	        .from = m->from,
	        .to = m->to,
	        .term = m->term,
	        .pos = {m->pos_index, m->pos_term},
	        .next = m->next,
	        .state = (enum wire_snapshot_state)m->state,
	        .sync = m->sync != 0,
	};
	return 0;
}

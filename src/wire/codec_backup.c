/* The whole state on its way to a client. */
#include <string.h>
#include "codec_priv.h"

void wire_put_backup(struct buf *b, const struct wire_backup *k)
{
	RfsPb__Backup m = RFS_PB__BACKUP__INIT;

	m.id = k->id;
	m.min_index = k->min_index;
	m.next = k->next;
	m.stop = k->stop;
	codec_put(b, FRAME_BACKUP, &m.base);
}

int wire_get_backup(const uint8_t *p, size_t n, struct wire_backup *k, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__Backup *m = codec_unpack(&rfs_pb__backup__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*k = (struct wire_backup){
	        .id = m->id, .min_index = m->min_index, .next = m->next, .stop = m->stop != 0};
	return 0;
}

void wire_put_backup_part(struct buf *b, const struct wire_backup_part *k)
{
	RfsPb__BackupPart m = RFS_PB__BACKUP_PART__INIT;

	m.id = k->id;
	m.code = k->code;
	m.text = (char *)k->text;
	m.seq = k->seq;
	m.data = codec_bytes(k->data, k->len);
	m.last = k->last;
	codec_put(b, FRAME_BACKUP_PART, &m.base);
}

int wire_get_backup_part(const uint8_t *p, size_t n, struct wire_arena *a,
                         struct wire_backup_part *k, struct rfs_err *err)
{
	RfsPb__BackupPart *m =
	        codec_unpack(&rfs_pb__backup_part__descriptor, arena_begin(a), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->code > 0)
		return rfs_err_set(err, RFS_ECORRUPT, "a backup ended with code %d", m->code);
	*k = (struct wire_backup_part){
	        .id = m->id,
	        .seq = m->seq,
	        .code = m->code,
	        .data = m->data.len > 0 ? m->data.data : NULL,
	        .len = (uint32_t)m->data.len,
	        .last = m->last != 0,
	};
	return codec_get_text(k->text, sizeof(k->text), m->text, "text", err);
}

#include "txn.h"

#include "check.h"

void fs_txn_put(struct buf *b, const struct fs_txn_step *step)
{
	rfs_check(step->key.len <= UINT16_MAX);
	buf_put_u8(b, (uint8_t)step->kind);
	buf_put_u16(b, (uint16_t)step->key.len);
	buf_put(b, step->key.p, step->key.len);
	buf_put_u64(b, step->version);
	buf_put_u32(b, step->data_len);
	buf_put(b, step->data, step->data_len);
}

bool fs_txn_next(struct reader *r, struct fs_txn_step *step)
{
	if (reader_left(r) == 0)
		return false;
	step->kind = (enum fs_txn_kind)reader_u8(r);
	step->key.len = reader_u16(r);
	step->key.p = (const char *)reader_bytes(r, step->key.len);
	step->version = reader_u64(r);
	step->data_len = reader_u32(r);
	step->data = reader_bytes(r, step->data_len);
	return !r->bad;
}

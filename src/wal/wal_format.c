#include "wal_format.h"

#include <string.h>
#include "../base/buf.h"
#include "../base/check.h"
#include "../base/crc.h"

#define HEAD_CRC_AT   (WAL_HEAD_BYTES - 4)
#define RECORD_CRC_AT (WAL_RECORD_HEAD_BYTES - 4)

static const char identity_magic[] = "RFSIDENT";
static const char state_magic[] = "RFSSTATE";
static const char segment_magic[] = "RFSSEGMT";
static const char record_magic[4] = {'R', 'F', 'S', 'R'};

_Static_assert(WAL_CLUSTER_NAME_MAX + 1 == 64, "the cluster's name has 64 bytes in the head");
_Static_assert(WAL_RECORD_BYTES_MIN == ((WAL_RECORD_HEAD_BYTES + 8) & ~7u), "smallest record");

/* ---- heads ---- */

static void head_begin(uint8_t *p, const char *magic, uint64_t incarnation)
{
	memset(p, 0, WAL_HEAD_BYTES);
	memcpy(p, magic, 8);
	put_le32(p + 8, WAL_FORMAT_VERSION);
	put_le64(p + 16, incarnation);
}

static void head_end(uint8_t *p)
{
	put_le32(p + HEAD_CRC_AT, crc32c(0, p, HEAD_CRC_AT));
}

static int head_check(const uint8_t *p, const char *magic)
{
	if (memcmp(p, magic, 8) != 0 || get_le32(p + HEAD_CRC_AT) != crc32c(0, p, HEAD_CRC_AT))
		return RFS_ECORRUPT;
	return get_le32(p + 8) == WAL_FORMAT_VERSION ? 0 : RFS_EVERSION;
}

void wal_identity_put(uint8_t *p, const struct wal_identity *id)
{
	head_begin(p, identity_magic, id->incarnation);
	put_le64(p + 24, id->node_id);
	memcpy(p + 32, id->cluster, strnlen(id->cluster, WAL_CLUSTER_NAME_MAX));
	head_end(p);
}

int wal_identity_get(const uint8_t *p, struct wal_identity *id)
{
	int rc = head_check(p, identity_magic);

	if (rc != 0)
		return rc;
	id->incarnation = get_le64(p + 16);
	id->node_id = get_le64(p + 24);
	memcpy(id->cluster, p + 32, sizeof(id->cluster));
	id->cluster[WAL_CLUSTER_NAME_MAX] = '\0';
	return 0;
}

void wal_state_put(uint8_t *p, const struct wal_state_head *h)
{
	head_begin(p, state_magic, h->incarnation);
	put_le64(p + 24, h->seq);
	put_le64(p + 32, h->term);
	put_le64(p + 40, h->vote);
	put_le64(p + 48, h->segment);
	put_le64(p + 56, h->first);
	put_le64(p + 64, h->end_segment);
	put_le64(p + 72, h->end_offset);
	head_end(p);
}

int wal_state_get(const uint8_t *p, struct wal_state_head *h)
{
	int rc = head_check(p, state_magic);

	if (rc != 0)
		return rc;
	h->incarnation = get_le64(p + 16);
	h->seq = get_le64(p + 24);
	h->term = get_le64(p + 32);
	h->vote = get_le64(p + 40);
	h->segment = get_le64(p + 48);
	h->first = get_le64(p + 56);
	h->end_segment = get_le64(p + 64);
	h->end_offset = get_le64(p + 72);
	return 0;
}

void wal_segment_put(uint8_t *p, const struct wal_segment_head *h)
{
	head_begin(p, segment_magic, h->incarnation);
	put_le64(p + 24, h->seq);
	put_le64(p + 32, h->size);
	put_le64(p + 40, h->base.index);
	put_le64(p + 48, h->base.term);
	put_le32(p + 56, h->link);
	head_end(p);
}

int wal_segment_get(const uint8_t *p, struct wal_segment_head *h)
{
	int rc = head_check(p, segment_magic);

	if (rc != 0)
		return rc;
	h->incarnation = get_le64(p + 16);
	h->seq = get_le64(p + 24);
	h->size = get_le64(p + 32);
	h->base.index = get_le64(p + 40);
	h->base.term = get_le64(p + 48);
	h->link = get_le32(p + 56);
	return 0;
}

/* ---- records ---- */

uint64_t wal_record_bytes(uint32_t len)
{
	return ((uint64_t)WAL_RECORD_HEAD_BYTES + len + 8) & ~UINT64_C(7);
}

void wal_record_put(uint8_t *p, const struct raft_entry *e)
{
	uint64_t end = wal_record_bytes(e->len);

	memset(p, 0, WAL_RECORD_HEAD_BYTES);
	memcpy(p, record_magic, sizeof(record_magic));
	put_le32(p + 4, e->len);
	put_le64(p + 8, e->pos.index);
	put_le64(p + 16, e->pos.term);
	put_le32(p + 32, (uint32_t)e->kind);
	if (e->len > 0)
		memcpy(p + WAL_RECORD_HEAD_BYTES, e->data, e->len);
	memset(p + WAL_RECORD_HEAD_BYTES + e->len, 0, end - WAL_RECORD_HEAD_BYTES - e->len);
	p[end - 1] = WAL_END_MARK;
}

static uint32_t header_crc(const uint8_t *p, const struct wal_place *at)
{
	uint8_t place[24];

	put_le64(place, at->incarnation);
	put_le64(place + 8, at->segment);
	put_le64(place + 16, at->offset);
	return crc32c(crc32c(0, place, sizeof(place)), p, RECORD_CRC_AT);
}

static uint32_t payload_crc(const uint8_t *p, uint32_t len)
{
	return crc32c(0, p + WAL_RECORD_HEAD_BYTES, wal_record_bytes(len) - WAL_RECORD_HEAD_BYTES);
}

uint32_t wal_record_seal(uint8_t *p, const struct wal_place *at, uint64_t batch, uint32_t link)
{
	uint32_t crc;

	put_le64(p + 24, batch);
	put_le32(p + 36, payload_crc(p, get_le32(p + 4)));
	put_le32(p + 40, link);
	crc = header_crc(p, at);
	put_le32(p + RECORD_CRC_AT, crc);
	return crc;
}

bool wal_record_head_get(const uint8_t *p, uint64_t n, const struct wal_place *at,
                         struct wal_record *r)
{
	if (n < WAL_RECORD_HEAD_BYTES || memcmp(p, record_magic, sizeof(record_magic)) != 0)
		return false;
	r->len = get_le32(p + 4);
	r->pos.index = get_le64(p + 8);
	r->pos.term = get_le64(p + 16);
	r->batch = get_le64(p + 24);
	r->kind = get_le32(p + 32);
	r->payload_crc = get_le32(p + 36);
	r->link = get_le32(p + 40);
	r->header_crc = get_le32(p + RECORD_CRC_AT);
	return r->header_crc == header_crc(p, at);
}

bool wal_record_payload_ok(const uint8_t *p, const struct wal_record *r)
{
	return r->payload_crc == payload_crc(p, r->len);
}

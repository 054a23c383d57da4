/* The membership configuration applied last: bytes that the store keeps and does not read. */
#include "store_priv.h"

#include <errno.h>

int store_set_membership(struct store *s, struct raft_pos pos, const void *conf, size_t len,
                         struct rfs_err *err)
{
	const struct record_membership m = {pos, {conf, len}};
	struct record_key k = record_key_membership();
	int rc = store_begin(s, pos, err);

	if (rc != 0)
		return rc;
	if (len > STORE_MEMBERSHIP_BYTES_MAX) {
		store_fail(s, -EFBIG, "a configuration of %zu bytes; at most %u are possible", len,
		           STORE_MEMBERSHIP_BYTES_MAX);
		return store_give_failure(s, err);
	}
	buf_clear(&s->rec);
	record_put_membership(&s->rec, &m);
	if (store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len},
	                    s->membership_weight, &s->membership_weight) == 0) {
		s->membership_pos = pos;
		buf_clear(&s->membership);
		buf_put(&s->membership, conf, len);
	}
	return store_end(s, err);
}

void store_get_membership(const struct store *s, struct raft_pos *pos, const void **conf,
                          size_t *len)
{
	*pos = s->membership_pos;
	*conf = s->membership.data;
	*len = s->membership.len;
}

int store_membership_load(struct store *s)
{
	struct record_key k = record_key_membership();
	struct record_membership m;
	struct engine_bytes v;
	const char *bad;
	int rc = store_state_get(s, &k, &v);

	if (rc <= 0)
		return rc;
	bad = record_get_membership(v, &m);
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	s->membership_weight = store_weight(record_key_bytes(&k), v);
	s->membership_pos = m.pos;
	buf_put(&s->membership, m.conf.p, m.conf.len);
	return 0;
}

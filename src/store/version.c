/* The cluster's protocol version: raised by an entry of the log, so that every node carries out the
 * operations of a version from the same position on. */
#include "store_priv.h"

static int too_new(struct store *s, uint32_t version)
{
	return store_fail(s, RFS_EVERSION,
	                  "the cluster speaks protocol version %u, this node at most %u", version,
	                  s->opts.version_max);
}

static void raise_to(struct store *s, uint32_t version)
{
	struct record_key k = record_key_version();

	buf_clear(&s->rec);
	record_put_version(&s->rec, version);
	if (store_state_put(s, &k, (struct engine_bytes){s->rec.data, s->rec.len},
	                    s->version_weight, &s->version_weight) != 0)
		return;
	s->version = version;
	s->m.version = record_format_of(version);
}

int store_set_version(struct store *s, struct raft_pos pos, uint32_t version, struct rfs_err *err)
{
	int rc = store_begin(s, pos, err);

	if (rc != 0)
		return rc;
	if (version > s->opts.version_max)
		(void)too_new(s, version);
	else if (version > s->version)
		raise_to(s, version);
	return store_end(s, err);
}

uint32_t store_version(const struct store *s)
{
	return s->version;
}

int store_version_load(struct store *s)
{
	struct record_key k = record_key_version();
	const char *bad = NULL;
	struct engine_bytes v;
	int rc = store_state_get(s, &k, &v);

	if (rc < 0)
		return rc;
	if (rc > 0) {
		bad = record_get_version(v, &s->version);
		s->version_weight = store_weight(record_key_bytes(&k), v);
	}
	if (bad == NULL && record_format_of(s->version) != s->m.version)
		bad = "does not go with the format of the store";
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	return s->version > s->opts.version_max ? too_new(s, s->version) : 0;
}

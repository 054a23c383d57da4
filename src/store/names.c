/* Every name there is. */
#include "store_priv.h"

#include <sys/stat.h>

int store_each_name(struct store *s, store_name_cb each, void *ctx, struct rfs_err *err)
{
	struct record_key prefix = record_prefix(RECORD_DENTRY);
	struct store_walk w;
	int rc;

	if (s->fail.code != 0)
		return store_give_failure(s, err);
	store_walk_open(s, &w, &prefix, NULL);
	while ((rc = store_walk_next(s, &w)) > 0) {
		struct record_dentry d;
		const char *bad = record_get_dentry(w.value, &d);

		if (bad != NULL) {
			rc = store_fail_record(s, w.key_bytes, bad);
			break;
		}
		if (d.ino != 0)
			each(ctx, w.key.first, d.name, d.ino);
	}
	store_walk_close(s, &w);
	return rc == 0 ? 0 : store_give_failure(s, err);
}

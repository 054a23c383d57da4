/* Records and their weight in the digest: the only way from the state machine to the engine. */
#include "store_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <xxhash.h>

int store_fail(struct store *s, int code, const char *fmt, ...)
{
	char text[sizeof(s->fail.msg)];
	va_list ap;

	if (s->fail.code != 0)
		return STORE_FAILED;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rfs_err_set(&s->fail, code, "store %s: %s", s->dir != NULL ? s->dir : "in memory", text);
	return STORE_FAILED;
}

int store_fail_record(struct store *s, struct engine_bytes key, const char *what)
{
	char hex[2 * 32 + 1] = "";

	for (size_t i = 0; i < key.len && i < 32; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", (unsigned int)key.p[i]);
	return store_fail(s, RFS_ECORRUPT, "record %s: %s", hex, what);
}

/* The engine's own words, unless something failed before. */
static int engine_failed(struct store *s, const struct rfs_err *err)
{
	if (s->fail.code == 0)
		s->fail = *err;
	return STORE_FAILED;
}

uint64_t store_weight(struct engine_bytes key, struct engine_bytes value)
{
	static const uint8_t none;

	return XXH3_64bits_withSeed(value.len > 0 ? value.p : &none, value.len,
	                            XXH3_64bits(key.p, key.len));
}

int store_state_get(struct store *s, const struct record_key *k, struct engine_bytes *value)
{
	struct rfs_err err = {0};
	int rc = s->e->vt->get(s->e, record_key_bytes(k), value, &err);

	return rc < 0 ? engine_failed(s, &err) : rc;
}

int store_state_put(struct store *s, const struct record_key *k, struct engine_bytes v,
                    uint64_t old_weight, uint64_t *new_weight)
{
	struct engine_bytes key = record_key_bytes(k);
	uint64_t weight = store_weight(key, v);
	struct rfs_err err = {0};

	if (s->e->vt->put(s->e, key, v, &err) < 0)
		return engine_failed(s, &err);
	s->m.digest += weight - old_weight;
	if (new_weight != NULL)
		*new_weight = weight;
	return 0;
}

int store_state_del(struct store *s, const struct record_key *k, uint64_t old_weight)
{
	struct rfs_err err = {0};

	if (s->e->vt->del(s->e, record_key_bytes(k), &err) < 0)
		return engine_failed(s, &err);
	s->m.digest -= old_weight;
	return 0;
}

void store_walk_open(struct store *s, struct store_walk *w, const struct record_key *prefix,
                     const struct record_key *from)
{
	struct engine_bytes p = record_key_bytes(prefix);

	w->it = s->e->vt->iter_open(s->e, p, from != NULL ? record_key_bytes(from) : p);
}

int store_walk_next(struct store *s, struct store_walk *w)
{
	struct rfs_err err = {0};
	int rc = s->e->vt->iter_next(w->it, &w->key_bytes, &w->value, &err);
	const char *bad;

	if (rc < 0)
		return engine_failed(s, &err);
	if (rc == 0)
		return 0;
	bad = record_key_parse(w->key_bytes, &w->key);
	return bad != NULL ? store_fail_record(s, w->key_bytes, bad) : 1;
}

void store_walk_close(struct store *s, struct store_walk *w)
{
	s->e->vt->iter_close(w->it);
	w->it = NULL;
}

void store_emit(struct store *s, const struct store_change *c)
{
	struct store_change full = *c;

	if (s->opts.on_change == NULL)
		return;
	full.index = s->pos.index;
	full.version = s->pos.index;
	full.session = s->session;
	s->opts.on_change(s->opts.ctx, &full);
}

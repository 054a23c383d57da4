/* What clients asked and were told, a history a key, and whether it can have come from one copy of
 * everything (support/linear.h). */
#include <stdlib.h>
#include "../../src/base/check.h"
#include "server.h"

void history_asked(struct sim *s, struct sim_client *c, enum linear_kind kind, uint64_t value,
                   uint64_t more)
{
	struct sim_key *k = &s->keys[c->key];

	rfs_check(k->n < SIM_HISTORY_MAX);
	c->history = k->n;
	c->recorded = true;
	k->ops[k->n++] = (struct linear_op){.kind = kind,
	                                    .client = c->at,
	                                    .called = s->now_us,
	                                    .answered = LINEAR_NEVER,
	                                    .value = value,
	                                    .more = more,
	                                    .expected = c->known[c->key].hash};
}

static uint64_t fold(struct sim *s, const struct sim_client *c, const struct fs_result *r)
{
	struct linear_state state = {0, 0};

	if (r->data_len % 8 != 0)
		sim_fail(s, "client %u read %u bytes of key %u: a torn record", c->at, r->data_len,
		         c->key);
	for (uint32_t i = 0; i < r->data_len; i += 8)
		state = linear_fold(state, get_le64((const uint8_t *)r->data + i));
	return state.hash;
}

static void knows(struct sim_client *c, const struct fs_result *r, uint64_t hash)
{
	c->known[c->key].version = r->has_attr ? r->attr.version : 0;
	c->known[c->key].hash = hash;
}

void history_answered(struct sim *s, struct sim_client *c, const struct fs_result *r)
{
	struct linear_op *op = &s->keys[c->key].ops[c->history];

	if (!c->recorded)
		return;
	c->recorded = false;
	op->answered = s->now_us;
	s->totals.answered++;
	switch (op->kind) {
	case LINEAR_READ:
		op->value = fold(s, c, r);
		knows(c, r, op->value);
		break;
	case LINEAR_APPEND: op->place = r->value / 8; break;
	case LINEAR_SWAP: op->refused = r->err != 0; break;
	case LINEAR_REPLACE: break;
	}
	if (op->kind == LINEAR_REPLACE || (op->kind == LINEAR_SWAP && !op->refused))
		knows(c, r, linear_fold_all((struct linear_state){0, 0}, op->value, op->more).hash);
}

/* As a read without an answer, it says nothing. */
void history_forget(struct sim *s, struct sim_client *c)
{
	if (c->recorded)
		s->keys[c->key].ops[c->history].kind = LINEAR_READ;
	c->recorded = false;
}

void history_judge(struct sim *s)
{
	for (unsigned k = 0; k < SIM_KEYS; k++) {
		struct sim_key *key = &s->keys[k];
		size_t n = 0;

		for (size_t i = 0; i < key->n; i++)
			if (key->ops[i].kind != LINEAR_READ || key->ops[i].answered != LINEAR_NEVER)
				key->ops[n++] = key->ops[i];
		key->n = n;
		if (!linear_check(key->ops, key->n))
			sim_fail(s, "the history of key %u (%zu operations) is not linearizable", k,
			         key->n);
	}
}

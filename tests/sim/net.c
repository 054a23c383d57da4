/* Messages on their way: lost, doubled, late, out of order, damaged, to and from strangers. */
#include <stdlib.h>
#include <string.h>
#include "../../src/base/mem.h"
#include "server.h"

void net_message_free(struct sim_message *m)
{
	free(m->entries);
	free(m);
}

void net_part_free(struct sim_part *p)
{
	buf_free(&p->chunk);
	free(p);
}

static struct sim_message *copy_message(const struct raft_msg *m)
{
	struct sim_message *copy = mem_zalloc(sizeof(*copy));
	size_t bytes = m->n * sizeof(struct raft_entry);
	char *tail;

	copy->msg = *m;
	if (m->kind != RAFT_MSG_APPEND || m->n == 0) {
		copy->msg.n = 0;
		return copy;
	}
	for (size_t i = 0; i < m->n; i++)
		bytes += m->entries[i].len;
	copy->entries = mem_alloc(bytes);
	tail = (char *)(copy->entries + m->n);
	for (size_t i = 0; i < m->n; i++) {
		copy->entries[i] = m->entries[i];
		if (m->entries[i].len > 0)
			memcpy(tail, m->entries[i].data, m->entries[i].len);
		copy->entries[i].data = tail;
		tail += m->entries[i].len;
	}
	copy->msg.entries = copy->entries;
	return copy;
}

static struct sim_part *copy_part(struct sim *s, const struct sim_part *p)
{
	struct sim_part *copy = mem_zalloc(sizeof(*copy));

	*copy = *p;
	buf_init(&copy->chunk);
	buf_put(&copy->chunk, p->chunk.data, p->chunk.len);
	if (copy->chunk.len > 0 && !s->calm && rng_permille(&s->rng, s->plan.damage))
		copy->chunk.data[rng_below(&s->rng, copy->chunk.len)] ^=
		        (uint8_t)(1u << rng_below(&s->rng, 8));
	return copy;
}

uint64_t net_delay(struct sim *s)
{
	return rng_between(&s->rng, s->plan.delay_min_us, s->plan.delay_max_us);
}

static uint64_t server_delay(struct sim *s)
{
	uint64_t us = net_delay(s);

	if (!s->calm && rng_permille(&s->rng, s->plan.slow_message))
		us += rng_below(&s->rng, 500000);
	if (!s->calm && rng_permille(&s->rng, s->plan.old_message))
		us += rng_below(&s->rng, 5000000);
	return us;
}

bool net_loses(struct sim *s)
{
	return !s->calm && rng_permille(&s->rng, s->plan.drop);
}

/* How many of it arrive. */
static unsigned copies(struct sim *s, const struct sim_server *from, raft_id to)
{
	if (to == 0 || to > s->plan.servers || to == from->id)
		sim_fail(s, "server %u: a message to %llu", from->at + 1, (unsigned long long)to);
	if (s->blocked[from->at][to - 1] || net_loses(s))
		return 0;
	return !s->calm && rng_permille(&s->rng, s->plan.duplicate) ? 2 : 1;
}

void net_send(struct sim *s, struct sim_server *from, const struct raft_msg *m)
{
	for (unsigned n = copies(s, from, m->to); n > 0; n--) {
		struct sim_message *copy = copy_message(m);

		copy->incarnation = from->incarnation;
		sim_post(s, server_delay(s), SIM_MESSAGE, (unsigned)m->to - 1)->message = copy;
	}
}

void net_send_part(struct sim *s, struct sim_server *from, const struct sim_part *p)
{
	for (unsigned n = copies(s, from, p->to); n > 0; n--) {
		struct sim_part *copy = copy_part(s, p);

		copy->incarnation = from->incarnation;
		sim_post(s, server_delay(s), SIM_PART, (unsigned)p->to - 1)->part = copy;
	}
}

/* ---- strangers ---- */

/* Whether this is the incarnation that `v` counts on: src/node/incarnations.c. */
static bool is_known(struct sim_server *v, raft_id from, uint64_t incarnation)
{
	const struct raft_conf *conf = raft_get_conf(v->raft);
	const struct raft_member *m = raft_conf_member(conf, from);
	uint64_t *met = &v->met[from - 1];

	if (m != NULL && m->incarnation != 0)
		return m->incarnation == incarnation;
	if (*met != 0 || !raft_conf_is_member(conf, from))
		return *met == 0 || *met == incarnation;
	/* what is left on its way of one that is no more makes no acquaintances */
	if (v->sim->servers[from - 1].incarnation == incarnation)
		*met = incarnation;
	return true;
}

/* One that came back with an empty disk has forgotten whom it voted for and what it acknowledged: it
 * does not count until it is a member again. That it leads shows that others know it is; what it says
 * as a leader is how those learn of it who were away. */
bool net_hears(struct sim_server *v, raft_id from, uint64_t incarnation, enum raft_msg_kind kind)
{
	if (is_known(v, from, incarnation))
		return true;
	switch (kind) {
	case RAFT_MSG_APPEND:
	case RAFT_MSG_READ_RESP: return true;
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_APPEND_RESP:
	case RAFT_MSG_READ:
	case RAFT_MSG_TIMEOUT_NOW: return false;
	}
	return false;
}

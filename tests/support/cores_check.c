/* What Raft promises (figure 3 of the paper), and what it depends on: checked after every step. */
#include "cores.h"

#include <string.h>
#include "../../src/raft/conf.h"
#include "../../src/base/mem.h"

typedef unsigned long long llu;

raft_index core_log_last(const struct core_log *log)
{
	return log->base.index + log->n;
}

const struct raft_entry *core_log_at(const struct core_log *log, raft_index index)
{
	if (index <= log->base.index || index > core_log_last(log))
		return NULL;
	return &log->e[index - log->base.index - 1];
}

raft_term core_log_term(const struct core_log *log, raft_index index)
{
	const struct raft_entry *e = core_log_at(log, index);

	if (index == log->base.index)
		return log->base.term;
	return e != NULL ? e->pos.term : 0;
}

static bool same_entry(const struct raft_entry *a, const struct raft_entry *b)
{
	return a->pos.index == b->pos.index && a->pos.term == b->pos.term && a->kind == b->kind &&
	       a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* One name per term (and voter); true if it is new or the same as before. */
static bool once(struct cores_ballot **list, size_t *n, size_t *cap, struct cores_ballot b,
                 bool *news)
{
	*news = false;
	for (size_t i = 0; i < *n; i++)
		if ((*list)[i].term == b.term && (*list)[i].voter == b.voter)
			return (*list)[i].candidate == b.candidate;
	*news = true;
	*list = mem_grow(*list, cap, *n + 1, sizeof(b));
	(*list)[(*n)++] = b;
	return true;
}

/* ---- messages: what they depend on is durable ---- */

static void check_ballot(struct cores *c, const struct core *from, raft_term term,
                         raft_id candidate)
{
	bool news;

	if (from->disk_term != term || from->disk_vote != candidate)
		cores_fail(c, "a vote of node %llu left before it was durable", (llu)from->id);
	if (!once(&c->ballots, &c->n_ballots, &c->cap_ballots,
	          (struct cores_ballot){term, from->id, candidate}, &news))
		cores_fail(c, "node %llu voted twice in term %llu", (llu)from->id, (llu)term);
}

void cores_check_msg(struct cores *c, const struct core *from, const struct raft_msg *m)
{
	bool asks =
	        m->kind == RAFT_MSG_PRE_VOTE || (m->kind == RAFT_MSG_PRE_VOTE_RESP && !m->reject);

	if (!asks && m->term > from->disk_term)
		cores_fail(c, "a message of node %llu left before its term was durable",
		           (llu)from->id);
	if (m->kind == RAFT_MSG_VOTE)
		check_ballot(c, from, m->term, from->id);
	if (m->kind == RAFT_MSG_VOTE_RESP && !m->reject)
		check_ballot(c, from, m->term, m->to);
	if (m->kind == RAFT_MSG_APPEND_RESP && !m->reject) {
		struct core *to = cores_node(c, m->to);
		struct raft_status st = {0};

		if (m->pos.index >= from->disk.base.index &&
		    core_log_term(&from->disk, m->pos.index) != m->pos.term)
			cores_fail(c, "node %llu acknowledges %llu, which is not durable",
			           (llu)from->id, (llu)m->pos.index);
		if (to->r != NULL)
			raft_get_status(to->r, &st);
		if (st.role == RAFT_LEADER && st.term == m->term &&
		    m->pos.index >= to->log.base.index &&
		    core_log_term(&to->log, m->pos.index) != m->pos.term)
			cores_fail(c, "node %llu acknowledges %llu@%llu, which its leader has not",
			           (llu)from->id, (llu)m->pos.index, (llu)m->pos.term);
	}
}

/* ---- commits ---- */

struct on_disk {
	struct cores *c;
	struct raft_pos pos;
};

static uint64_t has_on_disk(const void *ctx, raft_id id)
{
	const struct on_disk *want = ctx;
	const struct core_log *disk = &cores_node(want->c, id)->disk;

	return disk->base.index > want->pos.index ||
	       core_log_term(disk, want->pos.index) == want->pos.term;
}

static void commit_one(struct cores *c, const struct core *k, raft_index index)
{
	const struct raft_entry *e = core_log_at(&k->log, index);
	struct raft_entry below = {.pos = {index, 0}};

	if (index <= c->n_committed) {
		if (e != NULL && c->committed[index - 1].pos.term != 0 &&
		    !same_entry(e, &c->committed[index - 1]))
			cores_fail(c, "node %llu commits another entry %llu", (llu)k->id,
			           (llu)index);
		return;
	}
	c->committed = mem_grow(c->committed, &c->cap_committed, c->n_committed + 1,
	                        sizeof(*c->committed));
	c->committed[c->n_committed++] = e != NULL ? *e : below;
	/* Who is the first to commit has counted by what was in force before this step. */
	if (e != NULL &&
	    raft_conf_quorum(&k->conf_before, has_on_disk, &(struct on_disk){c, e->pos}) == 0)
		cores_fail(c, "node %llu commits %llu, which no quorum has on disk", (llu)k->id,
		           (llu)index);
}

static void check_leader(struct cores *c, const struct core *k, const struct raft_status *st)
{
	bool news;

	if (!once(&c->leaders, &c->n_leaders, &c->cap_leaders,
	          (struct cores_ballot){st->term, 0, k->id}, &news))
		cores_fail(c, "two leaders in term %llu", (llu)st->term);
	for (raft_index i = 1; news && i <= c->n_committed; i++) {
		const struct raft_entry *e = core_log_at(&k->log, i);

		if (i > k->log.base.index && (e == NULL || !same_entry(e, &c->committed[i - 1])))
			cores_fail(c, "leader %llu of term %llu lacks committed entry %llu",
			           (llu)k->id, (llu)st->term, (llu)i);
	}
	for (unsigned i = 0; i < c->n; i++) {
		const struct core *peer = &c->node[i];
		struct raft_peer_status p;

		if (peer == k || !raft_get_peer(k->r, i + 1, &p) || p.match == 0)
			continue;
		/* What it had may be replaced once another leads. */
		if (core_log_term(&peer->disk, core_log_last(&peer->disk)) > st->term)
			continue;
		if (p.match >= peer->disk.base.index && p.match >= k->log.base.index &&
		    core_log_term(&peer->disk, p.match) != raft_term_at(k->r, p.match))
			cores_fail(c, "leader %llu counts %llu for node %llu, which lacks it",
			           (llu)k->id, (llu)p.match, (llu)peer->id);
		if (p.inflight_bytes > k->opts.inflight_bytes_max &&
		    p.inflight_bytes > core_log_at(&k->log, p.next - 1)->len) /* not a single one */
			cores_fail(c, "leader %llu has %llu bytes under way", (llu)k->id,
			           (llu)p.inflight_bytes);
	}
}

/* In force is the latest configuration in the log; at most one of them is not committed. */
static void check_conf(struct cores *c, const struct core *k, const struct raft_status *st)
{
	struct raft_conf want = k->has_applied_conf ? k->applied_conf
	                        : k->joining        ? (struct raft_conf){0}
	                                            : c->conf;
	raft_index at = 0;
	unsigned open = 0;

	for (size_t i = k->log.n; i > 0; i--) {
		const struct raft_entry *e = &k->log.e[i - 1];

		if (e->kind != RAFT_ENTRY_CONFIG)
			continue;
		open += e->pos.index > c->n_committed;
		if (at == 0 && e->pos.index > k->applied_conf_index &&
		    raft_conf_decode(&want, e->data, e->len))
			at = e->pos.index;
	}
	if (at == 0 && k->has_applied_conf)
		at = k->applied_conf_index;
	if (open > 1)
		cores_fail(c, "node %llu has two configurations that are not committed",
		           (llu)k->id);
	if (st->conf_index != at || !raft_conf_same(raft_get_conf(k->r), &want))
		cores_fail(c, "node %llu: in force is %llu, the log's latest configuration is %llu",
		           (llu)k->id, (llu)st->conf_index, (llu)at);
}

void cores_check_step(struct cores *c, struct core *k)
{
	struct raft_status st;

	raft_get_status(k->r, &st);
	if (st.last.index != core_log_last(&k->log) ||
	    st.last.term != core_log_term(&k->log, st.last.index))
		cores_fail(c, "node %llu and its core disagree about its log", (llu)k->id);
	for (; k->checked < st.commit; k->checked++)
		commit_one(c, k, k->checked + 1);
	if (k->commit > st.commit)
		cores_fail(c, "node %llu applies what is not committed", (llu)k->id);
	check_conf(c, k, &st);
	if (st.role == RAFT_LEADER)
		check_leader(c, k, &st);
}

void cores_check_boot(struct cores *c, const struct core *k)
{
	for (raft_index i = 1; i <= k->applied && i <= c->n_committed; i++) {
		const struct raft_entry *e = core_log_at(&k->disk, i);

		if (e != NULL && !same_entry(e, &c->committed[i - 1]))
			cores_fail(c,
			           "node %llu restarts with %llu applied, and another one on disk",
			           (llu)k->id, (llu)i);
	}
}

/* Log Matching: from the last position two logs have in common downwards, they are equal. */
void cores_check_logs(struct cores *c)
{
	for (unsigned a = 0; a < c->n; a++)
		for (unsigned b = 0; b < a; b++) {
			const struct core_log *x = &c->node[a].log, *y = &c->node[b].log;
			raft_index i = core_log_last(x), low = x->base.index;

			if (core_log_last(y) < i)
				i = core_log_last(y);
			if (y->base.index > low)
				low = y->base.index;
			while (i > low && core_log_term(x, i) != core_log_term(y, i))
				i--;
			for (; i > low; i--)
				if (!same_entry(core_log_at(x, i), core_log_at(y, i)))
					cores_fail(c, "logs of nodes %u and %u differ at %llu",
					           b + 1, a + 1, (llu)i);
		}
}

/* Who changes the membership: at random, as a fault; and with a purpose, where a server has lost its
 * disk. Such a server comes back under its old id with another incarnation. Those who count on the old
 * one do not believe a word of it (net.c), so it has to be removed and added again, under its new
 * incarnation, which stands in the configuration. In the end, all are voters. */
#include <stdlib.h>
#include "server.h"

#define EVERY_US 200000u

/* Which incarnation a configuration means; founders stand in none by name, and were the first. */
static uint64_t meant(const struct raft_conf *c, raft_id id)
{
	const struct raft_member *m = raft_conf_member(c, id);

	return m == NULL || m->incarnation == 0 ? id : m->incarnation;
}

static bool is_stale(const struct raft_conf *c, const struct sim_server *v)
{
	return raft_conf_is_member(c, v->id) && meant(c, v->id) != v->incarnation;
}

static void add(struct raft_conf *c, const struct sim_server *v, bool voter)
{
	if (voter)
		c->voters[c->n_voters++] = v->id;
	else
		c->learners[c->n_learners++] = v->id;
	(void)raft_conf_set_member(c, v->id, "", false);
	(void)raft_conf_set_incarnation(c, v->id, v->incarnation);
}

/* It will not start as it is, or may not. */
static bool is_damaged(const struct sim_server *v)
{
	return v->broken || v->rotten || v->rot != 0;
}

/* ---- at random ---- */

/* Any servers as voters, some of the others as learners. */
static void shuffle(struct sim *s, struct sim_server *leader, struct rng *r)
{
	const struct raft_conf *now = raft_get_conf(leader->raft);
	struct raft_conf conf = {0};

	for (unsigned i = 0; i < s->plan.servers; i++) {
		uint64_t what = rng_below(r, 5);

		if (what < 4 && !is_damaged(&s->servers[i]) && !is_stale(now, &s->servers[i]))
			add(&conf, &s->servers[i], what < 3);
	}
	if (conf.n_voters > 0)
		server_change(leader, &conf);
}

static bool leads(const struct sim_server *v)
{
	return v->up && !v->paused && v->role == RAFT_LEADER;
}

void operator_shuffle(struct sim *s, struct rng *r)
{
	for (unsigned i = 0; i < s->plan.servers; i++)
		if (leads(&s->servers[i]))
			shuffle(s, &s->servers[i], r);
}

/* ---- with a purpose ---- */

/* Out with those whose disk is lost; those that are out come in again. */
static void mend(struct sim *s, struct sim_server *leader)
{
	const struct raft_conf *now = raft_get_conf(leader->raft);
	struct raft_conf conf = {0};

	for (unsigned i = 0; i < s->plan.servers; i++) {
		const struct sim_server *v = &s->servers[i];
		bool member = raft_conf_is_member(now, v->id);

		if (is_damaged(v) || is_stale(now, v))
			continue;
		if (s->calm || v->lost)
			add(&conf, v, true);
		else if (member)
			add(&conf, v, raft_conf_is_voter(now, v->id));
	}
	if (conf.n_voters > 0)
		server_change(leader, &conf);
}

static bool has_work(const struct sim *s)
{
	for (unsigned i = 0; i < s->plan.servers; i++)
		if (s->servers[i].lost || s->servers[i].broken)
			return true;
	return s->calm;
}

void operator_work(struct sim *s)
{
	for (unsigned i = 0; i < s->plan.servers; i++) {
		struct sim_server *v = &s->servers[i];

		if (v->broken) {
			server_wipe(v);
			server_start(v);
		}
	}
	for (unsigned i = 0; i < s->plan.servers; i++)
		if (leads(&s->servers[i]))
			mend(s, &s->servers[i]);
	s->operated = has_work(s);
	if (s->operated)
		sim_post(s, EVERY_US, SIM_OPERATE, 0);
}

void operator_start(struct sim *s)
{
	if (s->operated)
		return;
	s->operated = true;
	sim_post(s, EVERY_US, SIM_OPERATE, 0);
}

/* ---- what may be lost ---- */

/* A file that names the founders starts a cluster where there is none: enough of them without a disk
 * would believe that. Who is to be added needs no file. */
bool operator_trusts_file(const struct sim *s, const struct sim_server *v)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < s->plan.founders; i++)
		lost += s->servers[i].lost || i == v->at;
	return lost <= (s->plan.founders - 1) / 2;
}

static bool is_lost(const struct sim *s, raft_id id, const struct sim_server *also)
{
	const struct sim_server *v = &s->servers[id - 1];

	return v == also || v->lost || is_damaged(v);
}

static bool bears(const struct sim *s, const raft_id *voters, unsigned n,
                  const struct sim_server *also)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < n; i++)
		lost += is_lost(s, voters[i], also);
	return n == 0 || lost <= (n - 1) / 2;
}

/* All who may come to count on it have met it: until then nobody can tell it from one that was never
 * there. */
static bool is_known(const struct sim *s, const struct sim_server *v, const struct raft_conf *c)
{
	for (unsigned i = 0; i < s->plan.servers; i++) {
		const struct sim_server *other = &s->servers[i];

		if (other != v && raft_conf_is_member(c, other->id) &&
		    other->met[v->at] != v->incarnation)
			return false;
	}
	return true;
}

bool operator_may_lose(struct sim *s, const struct sim_server *v)
{
	for (unsigned i = 0; i < s->plan.servers; i++) {
		const struct sim_server *other = &s->servers[i];
		const struct raft_conf *c =
		        other->up ? raft_get_conf(other->raft) : &other->conf_before;

		if (raft_conf_is_member(c, v->id) && !is_known(s, v, c))
			return false;
		if (!bears(s, c->voters, c->n_voters, v) || !bears(s, c->old, c->n_old, v))
			return false;
	}
	return true;
}

/* ---- what the servers learn ---- */

static void now_member(struct sim *s, struct sim_server *v)
{
	sim_trace(s, "server %u: is a member again", v->at + 1);
	v->lost = false;
	free(v->seen.ghost_terms);
	v->seen.ghost_terms = NULL;
	v->seen.ghost = 0;
}

/* As incarnations_follow() in src/node/incarnations.c. */
static void follow(struct sim_server *v, const struct raft_conf *conf)
{
	for (unsigned i = 0; i < v->sim->plan.servers; i++) {
		const struct raft_member *m = raft_conf_member(conf, i + 1);

		if (!raft_conf_is_member(conf, i + 1))
			v->met[i] = 0;
		else if (m != NULL && m->incarnation != 0)
			v->met[i] = m->incarnation;
	}
}

void operator_committed(struct sim_server *v, const struct raft_conf *conf)
{
	struct sim *s = v->sim;

	if (conf->n_old > 0)
		return;
	follow(v, conf);
	for (unsigned i = 0; i < s->plan.servers; i++) {
		struct sim_server *other = &s->servers[i];

		if (other->lost && raft_conf_is_member(conf, other->id) && !is_stale(conf, other))
			now_member(s, other);
	}
}

/* Time, the network and the faults. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"

#define CALM_US 20000000u /* after the faults, everything must have settled in this time */

uint64_t sim_now_ms(const struct sim *s)
{
	return s->now_us / 1000;
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->verbose)
		return;
	(void)printf("%10.3f ", (double)s->now_us / 1000);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)putchar('\n');
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(s->failure, sizeof(s->failure), fmt, ap);
	va_end(ap);
	sim_trace(s, "FAILED: %s", s->failure);
	longjmp(s->failed, 1);
}

/* ---- the event queue: a binary heap by (time, order of posting) ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(struct sim *s, size_t i, size_t k)
{
	struct sim_event *e = s->heap[i];

	s->heap[i] = s->heap[k];
	s->heap[k] = e;
}

struct sim_event *sim_post(struct sim *s, uint64_t after_us, enum sim_event_kind kind, unsigned who)
{
	struct sim_event *e = mem_zalloc(sizeof(*e));
	size_t i = s->n_heap++;

	*e = (struct sim_event){
	        .at_us = s->now_us + after_us, .order = ++s->order, .kind = kind, .who = who};
	s->heap = mem_grow(s->heap, &s->cap_heap, s->n_heap, sizeof(struct sim_event *));
	s->heap[i] = e;
	while (i > 0 && before(s->heap[i], s->heap[(i - 1) / 2])) {
		swap(s, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
	return e;
}

static struct sim_event *take_first(struct sim *s)
{
	struct sim_event *e = s->heap[0];
	size_t i = 0, least;

	s->heap[0] = s->heap[--s->n_heap];
	for (;;) {
		least = i;
		if (2 * i + 1 < s->n_heap && before(s->heap[2 * i + 1], s->heap[least]))
			least = 2 * i + 1;
		if (2 * i + 2 < s->n_heap && before(s->heap[2 * i + 2], s->heap[least]))
			least = 2 * i + 2;
		if (least == i)
			return e;
		swap(s, i, least);
		i = least;
	}
}

/* ---- the network ---- */

void sim_message_free(struct sim_message *m)
{
	free(m->entries);
	free(m);
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

static uint64_t draw_delay(struct sim *s)
{
	uint64_t us = rng_between(&s->rng, s->plan.delay_min_us, s->plan.delay_max_us);

	if (!s->calm && rng_permille(&s->rng, s->plan.slow_message))
		us += rng_below(&s->rng, 500000);
	return us;
}

void sim_send(struct sim *s, struct sim_server *from, const struct raft_msg *m)
{
	unsigned to = (unsigned)m->to - 1;
	unsigned copies = 1;

	if (to >= s->plan.servers || m->to == from->id)
		sim_fail(s, "server %u: a message to %llu", from->at + 1,
		         (unsigned long long)m->to);
	if (s->blocked[from->at][to])
		return;
	if (!s->calm && rng_permille(&s->rng, s->plan.drop))
		return;
	if (!s->calm && rng_permille(&s->rng, s->plan.duplicate))
		copies = 2;
	while (copies-- > 0)
		sim_post(s, draw_delay(s), SIM_MESSAGE, to)->message = copy_message(m);
}

/* ---- faults ---- */

void sim_plan_draw(struct sim_plan *p, struct rng *r)
{
	static const unsigned sizes[] = {3, 3, 3, 3, 5, 5, 1, 2, 4};
	unsigned founders = sizes[rng_below(r, sizeof(sizes) / sizeof(sizes[0]))];

	*p = (struct sim_plan){
	        .servers = founders,
	        .founders = founders,
	        .clients = (unsigned)rng_between(r, 2, SIM_CLIENTS_MAX),
	        .delay_min_us = rng_between(r, 10, 200),
	        .delay_max_us = rng_between(r, 200, 10000),
	        .disk_min_us = 50,
	        .disk_max_us = rng_between(r, 100, 20000),
	        .client_retry_us = (unsigned)rng_between(r, 100000, 600000),
	        .run_us = rng_between(r, 2000000, 6000000),
	};
	if (rng_permille(r, 600))
		p->drop = (unsigned)rng_below(r, 200);
	if (rng_permille(r, 500))
		p->duplicate = (unsigned)rng_below(r, 200);
	if (rng_permille(r, 300))
		p->slow_message = (unsigned)rng_below(r, 50);
	if (rng_permille(r, 300))
		p->slow_disk = (unsigned)rng_below(r, 50);
	if (rng_permille(r, 850))
		p->fault_every_us = rng_between(r, 100000, 1000000);
	p->crash = rng_permille(r, 700) ? (unsigned)rng_below(r, 10) : 0;
	p->disk_crash = rng_permille(r, 700) ? (unsigned)rng_below(r, 10) : 0;
	p->crash_all = rng_permille(r, 200) ? 2 : 0;
	p->partition = rng_permille(r, 600) ? (unsigned)rng_below(r, 10) : 0;
	p->one_way = rng_permille(r, 400) ? (unsigned)rng_below(r, 10) : 0;
	p->pause = rng_permille(r, 400) ? (unsigned)rng_below(r, 10) : 0;
	p->transfer = rng_permille(r, 500) ? (unsigned)rng_below(r, 10) : 0;
	if (rng_permille(r, 400)) {
		p->change = (unsigned)rng_between(r, 1, 20);
		p->servers += (unsigned)rng_below(r, SIM_SERVERS_MAX - founders + 1);
	}
}

static void crash(struct sim *s, struct sim_server *v)
{
	if (!v->up)
		return;
	server_crash(v);
	sim_post(s, rng_between(&s->rng, 1000, 1500000), SIM_RESTART, v->at);
}

static void partition(struct sim *s, bool one_way)
{
	uint64_t side = rng_next(&s->rng);

	for (unsigned a = 0; a < s->plan.servers; a++)
		for (unsigned b = 0; b < s->plan.servers; b++)
			if (((side >> a) & 1) != ((side >> b) & 1) &&
			    (!one_way || ((side >> a) & 1)))
				s->blocked[a][b] = true;
	sim_trace(s, "network: %s partition %llx", one_way ? "one-way" : "full",
	          (unsigned long long)(side & ((1u << s->plan.servers) - 1)));
	sim_post(s, rng_between(&s->rng, 10000, 1500000), SIM_HEAL, 0);
}

static void heal(struct sim *s)
{
	memset(s->blocked, 0, sizeof(s->blocked));
}

static void pause_server(struct sim *s, struct sim_server *v)
{
	if (!v->up || v->paused)
		return;
	sim_trace(s, "server %u: pauses", v->at + 1);
	v->paused = true;
	sim_post(s, rng_between(&s->rng, 10000, 1500000), SIM_RESUME, v->at);
}

static void resume_server(struct sim *s, struct sim_server *v)
{
	struct sim_event **held = v->held;
	size_t n = v->n_held;

	if (!v->up || !v->paused)
		return;
	sim_trace(s, "server %u: goes on", v->at + 1);
	v->paused = false;
	v->held = NULL;
	v->n_held = v->cap_held = 0;
	for (size_t i = 0; i < n; i++)
		server_take(v, held[i]);
	free(held);
}

/* Any servers as voters, some of the others as learners. */
static void change_members(struct sim *s)
{
	struct raft_conf conf = {0};

	while (conf.n_voters == 0) {
		conf.n_learners = 0;
		for (unsigned i = 0; i < s->plan.servers; i++) {
			uint64_t what = rng_below(&s->rng, 5);

			if (what < 3)
				conf.voters[conf.n_voters++] = i + 1;
			else if (what == 3)
				conf.learners[conf.n_learners++] = i + 1;
		}
	}
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_change(&s->servers[i], &conf);
}

/* The last word is that all are voters. */
static void operate(struct sim *s)
{
	struct raft_conf all = {0};

	for (unsigned i = 0; i < s->plan.servers; i++)
		all.voters[all.n_voters++] = i + 1;
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_change(&s->servers[i], &all);
	sim_post(s, 200000, SIM_OPERATE, 0);
}

static void one_fault(struct sim *s)
{
	const struct sim_plan *p = &s->plan;
	unsigned sum = p->crash + p->crash_all + p->partition + p->one_way + p->pause +
	               p->disk_crash + p->transfer + p->change;
	struct sim_server *v = &s->servers[rng_below(&s->rng, p->servers)];
	uint64_t pick = rng_below(&s->rng, sum);

	if (sum == 0)
		return;
	if (pick < p->crash) {
		crash(s, v);
	} else if ((pick -= p->crash) < p->crash_all) {
		for (unsigned i = 0; i < p->servers; i++)
			crash(s, &s->servers[i]);
	} else if ((pick -= p->crash_all) < p->partition) {
		partition(s, false);
	} else if ((pick -= p->partition) < p->one_way) {
		partition(s, true);
	} else if ((pick -= p->one_way) < p->pause) {
		pause_server(s, v);
	} else if ((pick -= p->pause) < p->transfer) {
		/* whoever leads, or believes to */
		for (unsigned i = 0; i < p->servers; i++)
			if (s->servers[i].role == RAFT_LEADER)
				server_transfer(&s->servers[i], rng_below(&s->rng, 2) * v->id);
	} else if ((pick -= p->transfer) < p->change) {
		change_members(s);
	} else if (v->up) {
		/* cut by the power in the middle of its next disk round; up again later */
		v->dying = true;
		sim_post(s, rng_between(&s->rng, 50000, 1500000), SIM_RESTART, v->at);
	}
}

static void next_fault(struct sim *s)
{
	if (s->calm)
		return;
	one_fault(s);
	sim_post(s, rng_between(&s->rng, 1, 2 * s->plan.fault_every_us), SIM_FAULT, 0);
}

static void calm_down(struct sim *s)
{
	sim_trace(s, "the faults are over");
	s->calm = true;
	heal(s);
	for (unsigned i = 0; i < s->plan.servers; i++) {
		struct sim_server *v = &s->servers[i];

		v->dying = false;
		resume_server(s, v);
		if (!v->up)
			server_start(v);
	}
	if (s->plan.change > 0)
		sim_post(s, 0, SIM_OPERATE, 0);
}

/* ---- the run ---- */

static void take(struct sim *s, struct sim_event *e)
{
	struct sim_server *v = &s->servers[e->who < SIM_SERVERS_MAX ? e->who : 0];

	switch (e->kind) {
	case SIM_TICK:
	case SIM_DISK:
	case SIM_POLL:
	case SIM_MESSAGE:
	case SIM_REQUEST: server_take(v, e); return;
	case SIM_REPLY:
	case SIM_CLIENT: client_take(s, e); return;
	case SIM_FAULT: next_fault(s); break;
	case SIM_RESTART:
		if (!v->up)
			server_start(v);
		break;
	case SIM_RESUME: resume_server(s, v); break;
	case SIM_HEAL: heal(s); break;
	case SIM_OPERATE: operate(s); break;
	}
	free(e);
}

static bool settled(const struct sim *s)
{
	raft_index applied = 0;

	if (!s->calm || !clients_done(s))
		return false;
	for (unsigned i = 0; i < s->plan.servers; i++) {
		struct raft_status st;

		raft_get_status(s->servers[i].raft, &st);
		if (i == 0)
			applied = st.last.index;
		if (store_applied(s->servers[i].store).index != applied || st.leader == 0 ||
		    st.conf_index > st.commit ||
		    raft_get_conf(s->servers[i].raft)->n_voters != s->plan.servers ||
		    raft_get_conf(s->servers[i].raft)->n_old > 0)
			return false;
	}
	return true;
}

void sim_run(struct sim *s)
{
	uint64_t end = 0;

	for (unsigned i = 0; i < s->plan.servers; i++)
		server_init(&s->servers[i], s, i);
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_start(&s->servers[i]);
	for (unsigned i = 0; i < s->plan.clients; i++)
		sim_post(s, rng_below(&s->rng, 100000), SIM_CLIENT, i);
	if (s->plan.fault_every_us > 0)
		sim_post(s, rng_below(&s->rng, s->plan.fault_every_us), SIM_FAULT, 0);
	while (!settled(s)) {
		rfs_check(s->n_heap > 0);
		if (!s->calm && s->heap[0]->at_us >= s->plan.run_us) {
			s->now_us = s->plan.run_us;
			calm_down(s);
			end = s->now_us + CALM_US;
			continue;
		}
		if (s->calm && s->heap[0]->at_us > end)
			sim_fail(s, "not settled %u s after the last fault", CALM_US / 1000000);
		s->now_us = s->heap[0]->at_us;
		take(s, take_first(s));
	}
	watch_end(s);
	clients_judge(s);
}

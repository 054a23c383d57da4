/* Time, the queue of events, and a run from its start until everything has come to rest. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "server.h"
#include "watch.h"

#define CALM_US 20000000u /* after the faults, everything must have settled in this time */

void sim_trace(struct sim *s, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	if (!s->verbose && s->tail == NULL)
		return;
	n = snprintf(line, sizeof(line), "%10.3f ", (double)s->now_us / 1000);
	va_start(ap, fmt);
	(void)vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (s->verbose)
		(void)puts(line);
	if (s->tail != NULL)
		(void)snprintf(s->tail->lines[s->tail->n++ % SIM_TAIL_LINES],
		               sizeof(s->tail->lines[0]), "%.159s", line);
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

static bool before(const struct sim_slot *a, const struct sim_slot *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

struct sim_event *sim_post(struct sim *s, uint64_t after_us, enum sim_event_kind kind, unsigned who)
{
	struct sim_event *e = mem_zalloc(sizeof(*e));
	struct sim_slot slot = {s->now_us + after_us, ++s->order, e};
	size_t i = s->n_heap++;

	e->kind = kind;
	e->who = who;
	s->heap = mem_grow(s->heap, &s->cap_heap, s->n_heap, sizeof(*s->heap));
	for (; i > 0 && before(&slot, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = slot;
	return e;
}

static struct sim_event *take_first(struct sim *s)
{
	struct sim_event *e = s->heap[0].event;
	struct sim_slot last = s->heap[--s->n_heap];
	size_t i = 0, least;

	while ((least = 2 * i + 1) < s->n_heap) {
		if (least + 1 < s->n_heap && before(&s->heap[least + 1], &s->heap[least]))
			least++;
		if (!before(&s->heap[least], &last))
			break;
		s->heap[i] = s->heap[least];
		i = least;
	}
	s->heap[i] = last;
	return e;
}

void sim_event_free(struct sim_event *e)
{
	switch (e->kind) {
	case SIM_MESSAGE: net_message_free(e->message); break;
	case SIM_PART: net_part_free(e->part); break;
	case SIM_REQUEST:
		free(e->request->op);
		free(e->request);
		break;
	case SIM_REPLY:
		free(e->reply->data);
		free(e->reply);
		break;
	case SIM_TICK:
	case SIM_DISK:
	case SIM_POLL:
	case SIM_FLUSH:
	case SIM_FLUSHED:
	case SIM_FLUSH_TOLD:
	case SIM_SEND:
	case SIM_INSTALL:
	case SIM_RESTART:
	case SIM_RESUME:
	case SIM_ROOM:
	case SIM_CLIENT:
	case SIM_FAULT:
	case SIM_HEAL:
	case SIM_OPERATE: break;
	}
	free(e);
}

/* ---- life ---- */

struct sim *sim_new(uint64_t seed)
{
	struct sim *s = mem_zalloc(sizeof(*s));

	s->seed = seed;
	s->rng.s = seed;
	s->keys = mem_calloc(SIM_KEYS, sizeof(*s->keys));
	s->servers = mem_calloc(SIM_SERVERS_MAX, sizeof(*s->servers));
	s->watch = watch_new();
	plan_draw(&s->plan, &s->rng);
	return s;
}

void sim_free(struct sim *s)
{
	while (s->n_heap > 0)
		sim_event_free(s->heap[--s->n_heap].event);
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_free(&s->servers[i]);
	watch_free(s->watch);
	free(s->servers);
	free(s->heap);
	free(s->keys);
	free(s);
}

/* ---- the run ---- */

static void take(struct sim *s, struct sim_event *e)
{
	switch (e->kind) {
	case SIM_TICK:
	case SIM_DISK:
	case SIM_POLL:
	case SIM_FLUSH:
	case SIM_FLUSHED:
	case SIM_FLUSH_TOLD:
	case SIM_SEND:
	case SIM_INSTALL:
	case SIM_MESSAGE:
	case SIM_PART:
	case SIM_REQUEST:
	case SIM_RESTART:
	case SIM_RESUME:
	case SIM_ROOM: server_take(&s->servers[e->who], e); return;
	case SIM_REPLY:
	case SIM_CLIENT: client_take(s, e); return;
	case SIM_FAULT: faults_next(s); break;
	case SIM_HEAL: faults_heal(s); break;
	case SIM_OPERATE: operator_work(s); break;
	}
	sim_event_free(e);
}

/* What is left to do for this server, whose log ends where all logs do; NULL: nothing. */
static const char *unrest(const struct sim_server *v, raft_index last)
{
	struct raft_status st;

	if (!v->up)
		return "one is down";
	if (v->receiver.active || v->sending)
		return "a snapshot is on its way";
	raft_get_status(v->raft, &st);
	if (st.last.index != last)
		return "the logs differ";
	if (store_applied(v->store).index != last)
		return "not all is applied";
	if (st.leader == 0)
		return "one knows no leader";
	if (st.transfer != 0)
		return "a transfer goes on";
	if (st.conf_index > st.commit || raft_get_conf(v->raft)->n_voters != v->sim->plan.servers ||
	    raft_get_conf(v->raft)->n_old > 0)
		return "not all vote";
	return v->lost ? "one is a stranger" : NULL;
}

/* NULL: everything has come to rest. */
static const char *restless(struct sim *s, unsigned *who)
{
	struct raft_status st = {0};
	const char *why = NULL;

	*who = 0;
	if (!s->calm || !clients_done(s))
		return "clients wait";
	if (s->servers[0].up)
		raft_get_status(s->servers[0].raft, &st);
	for (unsigned i = 0; why == NULL && i < s->plan.servers; i++) {
		why = unrest(&s->servers[i], st.last.index);
		*who = i;
	}
	return why;
}

static void begin(struct sim *s)
{
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_init(&s->servers[i], s, i);
	for (unsigned i = 0; i < s->plan.servers; i++)
		server_start(&s->servers[i]);
	for (unsigned i = 0; i < s->plan.clients; i++)
		sim_post(s, rng_below(&s->rng, 100000), SIM_CLIENT, i);
	if (s->plan.fault_every_us > 0)
		sim_post(s, rng_below(&s->rng, s->plan.fault_every_us), SIM_FAULT, 0);
}

void sim_run(struct sim *s)
{
	uint64_t end = 0;
	const char *why;
	unsigned who;

	begin(s);
	while ((why = restless(s, &who)) != NULL) {
		rfs_check(s->n_heap > 0);
		if (!s->calm && s->heap[0].at_us >= s->plan.run_us) {
			s->now_us = s->plan.run_us;
			sim_trace(s, "the faults are over");
			s->calm = true;
			faults_end(s);
			end = s->now_us + CALM_US;
			continue;
		}
		if (s->calm && s->heap[0].at_us > end)
			sim_fail(s, "not at rest %u s after the last fault: %s (server %u)",
			         CALM_US / 1000000, why, who + 1);
		s->now_us = s->heap[0].at_us;
		take(s, take_first(s));
	}
	watch_end(s);
	history_judge(s);
}

#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"

static void run_in(struct sim *s, const struct run_opts *o, struct run_result *r)
{
	rfs_check(plan_set(&s->plan, o->set));
	memcpy(s->masked, o->masked, sizeof(s->masked));
	r->failed = setjmp(s->failed) != 0;
	if (!r->failed)
		sim_run(s);
	r->now_us = s->now_us;
	r->totals = s->totals;
	r->n_faults = s->n_faults;
	memcpy(r->failure, s->failure, sizeof(r->failure));
}

void run(const struct run_opts *o, struct run_result *r)
{
	struct sim *s = sim_new(o->seed);

	*r = (struct run_result){0};
	s->verbose = o->verbose;
	if (o->verbose)
		plan_print(&s->plan);
	run_in(s, o, r);
	/* A failed run jumped out of the middle of something: its memory is left to the process. */
	if (!r->failed)
		sim_free(s);
}

void run_print_end(const struct run_opts *o)
{
	struct sim *s = sim_new(o->seed);
	struct run_result r = {0};

	s->tail = mem_zalloc(sizeof(*s->tail));
	run_in(s, o, &r);
	for (unsigned i = 0; i < SIM_TAIL_LINES; i++) {
		const char *line = s->tail->lines[(s->tail->n + i) % SIM_TAIL_LINES];

		if (line[0] != '\0')
			(void)printf("  %s\n", line);
	}
}

/* ---- the command line ---- */

static unsigned last_of(const struct run_opts *o, unsigned first)
{
	while (first + 1 < SIM_FAULTS_MAX && o->masked[first + 1])
		first++;
	return first;
}

static void print_mask(const struct run_opts *o)
{
	const char *before = " --mask ";

	for (unsigned i = 0; i < SIM_FAULTS_MAX; i++) {
		unsigned last = last_of(o, i);

		if (!o->masked[i])
			continue;
		(void)printf("%s%u", before, i);
		if (last > i)
			(void)printf("-%u", last);
		before = ",";
		i = last;
	}
}

void run_print_replay(const struct run_opts *o)
{
	(void)printf("  replay: simulator --seeds %llu..%llu", (unsigned long long)o->seed,
	             (unsigned long long)o->seed);
	if (o->set[0] != '\0')
		(void)printf(" --set %s", o->set);
	print_mask(o);
	(void)printf(" --verbose\n");
}

bool run_mask(struct run_opts *o, const char *list)
{
	while (*list != '\0') {
		char *end;
		unsigned long from = strtoul(list, &end, 10), to = from;

		if (end == list)
			return false;
		if (*end == '-') {
			list = end + 1;
			to = strtoul(list, &end, 10);
		}
		if (end == list || to < from || to >= SIM_FAULTS_MAX)
			return false;
		for (unsigned long i = from; i <= to; i++)
			o->masked[i] = true;
		if (*end != ',' && *end != '\0')
			return false;
		list = *end == ',' ? end + 1 : end;
	}
	return true;
}

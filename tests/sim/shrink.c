/* A failure made smaller: less that goes wrong, fewer clients and servers, a shorter run, as long as it
 * fails in the same way. Each trial runs in a process of its own, since a run that fails may leave
 * anything behind, and a check of the code's own ends it. (Zeller & Hildebrandt, "Simplifying and
 * Isolating Failure-Inducing Input", 2002, for the faults.) */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../src/base/check.h"
#include "run.h"

#define TRIALS_MAX 400u

struct search {
	struct run_opts best;
	struct run_result of_best;
	unsigned trials;
};

static void in_child(const struct run_opts *o, int fd)
{
	struct run_result r;

	(void)close(STDERR_FILENO);
	run(o, &r);
	_exit(write(fd, &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 1);
}

static void try(const struct run_opts *o, struct run_result *r)
{
	int ends[2], status;
	pid_t child;

	*r = (struct run_result){.failed = true, .failure = "a check of its own"};
	(void)fflush(stdout);
	rfs_check(pipe(ends) == 0);
	child = fork();
	rfs_check(child >= 0);
	if (child == 0)
		in_child(o, ends[1]);
	(void)close(ends[1]);
	if (read(ends[0], r, sizeof(*r)) != (ssize_t)sizeof(*r))
		r->n_faults = SIM_FAULTS_MAX;
	(void)close(ends[0]);
	rfs_check(waitpid(child, &status, 0) == child);
}

/* The same words, whatever the numbers. */
static bool is_same(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (isdigit((unsigned char)*a))
			a++;
		while (isdigit((unsigned char)*b))
			b++;
		if (*a != *b)
			return false;
		if (*a == '\0')
			return true;
	}
}

/* If it still fails, it is the best one so far. */
static bool accept(struct search *s, const struct run_opts *o)
{
	struct run_result r;

	if (s->trials >= TRIALS_MAX)
		return false;
	s->trials++;
	try(o, &r);
	if (!r.failed || !is_same(r.failure, s->of_best.failure))
		return false;
	s->best = *o;
	s->of_best = r;
	return true;
}

static bool accept_set(struct search *s, const char *name, unsigned value)
{
	struct run_opts o = s->best;
	size_t len = strlen(o.set);
	int n = snprintf(o.set + len, sizeof(o.set) - len, "%s%s=%u", len > 0 ? "," : "", name,
	                 value);

	return n > 0 && (size_t)n < sizeof(o.set) - len && accept(s, &o);
}

static struct sim_plan plan_of(const struct run_opts *o)
{
	struct sim_plan p;
	struct rng r = {o->seed};

	plan_draw(&p, &r);
	rfs_check(plan_set(&p, o->set));
	return p;
}

/* ---- what can be less ---- */

static void shorter(struct search *s)
{
	for (unsigned us = plan_of(&s->best).run_us / 2; us >= 10000; us /= 2)
		if (!accept_set(s, "run_us", us))
			return;
}

static void fewer(struct search *s)
{
	struct sim_plan p = plan_of(&s->best);

	for (unsigned n = 1; n < p.clients; n++)
		if (accept_set(s, "clients", n))
			break;
	if (p.servers > p.founders)
		(void)accept_set(s, "servers", p.founders);
}

/* Everything that can be zero. */
static void calmer(struct search *s)
{
	static const char *const names[] = {
	        "drop",  "duplicate",    "slow_message", "old_message", "slow_disk",     "damage",
	        "rocks", "careless_cut", "fine_cut",     "raise",       "install_crash", "margin"};
	struct sim_plan p = plan_of(&s->best);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t k = 0; k < plan_knobs(); k++)
			if (strcmp(plan_knob_name(k), names[i]) == 0 && plan_knob(&p, k) != 0)
				(void)accept_set(s, names[i], 0);
}

static bool without(struct search *s, unsigned from, unsigned n)
{
	struct run_opts o = s->best;
	bool any = false;

	for (unsigned i = from; i < from + n && i < SIM_FAULTS_MAX; i++) {
		any = any || !o.masked[i];
		o.masked[i] = true;
	}
	return any && accept(s, &o);
}

static void fewer_faults(struct search *s)
{
	unsigned all = s->of_best.n_faults < SIM_FAULTS_MAX ? s->of_best.n_faults : SIM_FAULTS_MAX;

	for (unsigned n = all; n > 0; n /= 2)
		for (unsigned from = 0; from < all; from += n)
			(void)without(s, from, n);
}

bool shrink(const struct run_opts *o)
{
	struct search s = {.best = *o};
	unsigned before;

	s.best.verbose = false;
	try(&s.best, &s.of_best);
	if (!s.of_best.failed)
		return false;
	do {
		before = s.trials;
		fewer_faults(&s);
		shorter(&s);
		calmer(&s);
		fewer(&s);
	} while (s.trials > before && s.trials < TRIALS_MAX / 2);
	(void)printf("seed %llu, after %u trials: %s\n", (unsigned long long)o->seed, s.trials,
	             s.of_best.failure);
	run_print_replay(&s.best);
	(void)fflush(stdout);
	run_print_end(&s.best);
	return true;
}

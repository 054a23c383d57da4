/* simulator --seeds A..B [--quick] [--verbose] [--stop]
 *
 * Runs one simulated cluster a seed. --quick: a fresh range of SIM_QUICK_SEEDS seeds behind the
 * ones that ever failed, and one line at the end; the range starts at a number drawn from the
 * kernel, which is printed, so that a failure is replayed with the seed it names. --stop: end with
 * the first failure, and say in one line what it was and how many seeds it took. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "server.h"
#include "../../src/base/clock.h"
#include "../../src/base/log.h"
#include "../../src/base/mem.h"

#define SIM_QUICK_SEEDS 2000

/* Seeds that failed once, and what they showed at that time; what a seed draws changes with the
 * simulator. Of the core: 80, 92 (a first message larger than all that may be under way), 97 (what a
 * server had acknowledged before it lost its disk counted when it was added again). Of how
 * incarnations are told apart: 961, 1450, 5899. The others: of the simulator itself. */
static const uint64_t kept_seeds[] = {20,  40,  80,   92,   93,   97,   262,  313,  552,  801,
                                      956, 961, 1104, 1279, 1450, 1714, 1728, 1993, 3802, 5899};

static char last_failure[sizeof(((struct sim *)0)->failure)];

struct totals {
	uint64_t seeds, failed, simulated_us;
	struct sim_totals sum;
};

static void add(struct totals *t, const struct sim *s)
{
	const uint64_t *from = (const uint64_t *)&s->totals;
	uint64_t *to = (uint64_t *)&t->sum;

	t->seeds++;
	t->simulated_us += s->now_us;
	for (size_t i = 0; i < sizeof(t->sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

/* --stop: which seed it is that runs, for a check of the code's own that ends the process. */
static volatile sig_atomic_t seeds_run;

static void on_abort(int sig)
{
	(void)sig;
	(void)printf("caught after %d seeds: a check of its own\n", (int)seeds_run);
	(void)fflush(stdout);
	_exit(1);
}

static bool run_seed(uint64_t seed, bool verbose, struct totals *t)
{
	struct sim *s = sim_new(seed);
	bool ok;

	s->verbose = verbose;
	if (verbose)
		plan_print(&s->plan);
	ok = setjmp(s->failed) == 0;
	if (ok)
		sim_run(s);
	else
		(void)printf("seed %llu FAILED at %.3f s (%u servers): %s\n  replay: simulator "
		             "--seeds %llu..%llu "
		             "--verbose\n",
		             (unsigned long long)seed, (double)s->now_us / 1e6, s->plan.servers,
		             s->failure, (unsigned long long)seed, (unsigned long long)seed);
	(void)fflush(stdout);
	add(t, s);
	t->failed += !ok;
	if (!ok)
		memcpy(last_failure, s->failure, sizeof(last_failure));
	/* A failed run jumped out of the middle of something: its memory is left to the process. */
	if (ok)
		sim_free(s);
	return ok;
}

static bool parse_range(const char *text, uint64_t *from, uint64_t *to)
{
	char *end;

	errno = 0;
	*from = strtoull(text, &end, 10);
	if (errno != 0 || end == text || strncmp(end, "..", 2) != 0)
		return false;
	text = end + 2;
	*to = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *to >= *from;
}

static void report(const struct totals *t, uint64_t wall_ns)
{
	const struct sim_totals *n = &t->sum;
	double wall = (double)wall_ns / 1e9, simulated = (double)t->simulated_us / 1e6;

	(void)printf("%llu seeds, %.0f cluster-seconds in %.1f s (%.0f a second), %llu steps, %llu "
	             "elections, %llu entries committed, %llu answers judged, %llu crashes, %llu "
	             "transfers, %llu changes of members, %llu cuts of logs, %llu snapshots "
	             "installed, %llu disks lost, %llu damaged disks refused\n",
	             (unsigned long long)t->seeds, simulated, wall,
	             simulated / (wall > 0 ? wall : 1), (unsigned long long)n->steps,
	             (unsigned long long)n->elections, (unsigned long long)n->committed,
	             (unsigned long long)n->answered, (unsigned long long)n->crashes,
	             (unsigned long long)n->transfers, (unsigned long long)n->changes,
	             (unsigned long long)n->cuts, (unsigned long long)n->snapshots,
	             (unsigned long long)n->wiped, (unsigned long long)n->refused);
	(void)printf("sim: %llu passed, %llu failed\n", (unsigned long long)(t->seeds - t->failed),
	             (unsigned long long)t->failed);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
	                                        {"quick", no_argument, NULL, 'q'},
	                                        {"verbose", no_argument, NULL, 'v'},
	                                        {"stop", no_argument, NULL, 'x'},
	                                        {NULL, 0, NULL, 0}};
	uint64_t from = 0, to = 0, began = clock_mono_ns();
	bool verbose = false, ranged = false, stop = false;
	struct totals t = {0};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 's') {
			ranged = parse_range(optarg, &from, &to);
		} else if (o == 'v') {
			verbose = true;
		} else if (o == 'x') {
			stop = true;
			(void)signal(SIGABRT, on_abort);
			(void)signal(SIGSEGV, on_abort);
		} else if (o != 'q') {
			ranged = false;
			break;
		}
		if (o == 's' && !ranged) {
			(void)fprintf(stderr, "simulator: --seeds wants A..B, got %s\n", optarg);
			return 2;
		}
	}
	log_set_level(LOG_LEVEL_ERROR);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (!ranged) {
		for (size_t i = 0; i < sizeof(kept_seeds) / sizeof(kept_seeds[0]); i++)
			(void)run_seed(kept_seeds[i], verbose, &t);
		from = clock_random_u64() % 1000000000u;
		to = from + SIM_QUICK_SEEDS - 1;
		(void)printf("seeds %llu..%llu\n", (unsigned long long)from,
		             (unsigned long long)to);
	}
	for (uint64_t seed = from; seed <= to; seed++) {
		seeds_run++;
		if (!run_seed(seed, verbose, &t) && stop)
			break;
	}
	if (stop && t.failed > 0)
		(void)printf("caught after %d seeds: %s\n", (int)seeds_run, last_failure);
	report(&t, clock_mono_ns() - began);
	return t.failed > 0 ? 1 : 0;
}

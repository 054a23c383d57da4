/* One run of one seed, as it is or made smaller. run.c; shrink.c: makes it smaller. */
#ifndef RFS_SIM_RUN_H
#define RFS_SIM_RUN_H

#include "sim.h"

#define RUN_SET_MAX 512

struct run_opts {
	uint64_t seed;
	char set[RUN_SET_MAX];       /* see plan_set() */
	bool masked[SIM_FAULTS_MAX]; /* faults that are left out */
	bool verbose;
};

struct run_result {
	bool failed;
	unsigned n_faults; /* those that were left out counted as well */
	uint64_t now_us;
	struct sim_totals totals;
	char failure[512];
};

/* Runs it. A run that fails leaves its memory behind. */
void run(const struct run_opts *o, struct run_result *r);

/* Runs it again, and prints what happened last before it fails. */
void run_print_end(const struct run_opts *o);

/* The command that replays it. */
void run_print_replay(const struct run_opts *o);

/* "1,4-9"; false: not a list of faults. */
bool run_mask(struct run_opts *o, const char *list);

/* Prints the smallest run it can find that fails in the same way; false: the seed does not fail. */
bool shrink(const struct run_opts *o);

#endif

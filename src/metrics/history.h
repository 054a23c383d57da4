/* The last minutes, a sample a second: what the page draws as soon as it is opened. Thread: the
 * owner's. */
#ifndef RFS_METRICS_HISTORY_H
#define RFS_METRICS_HISTORY_H

#include "histogram.h"

#define HISTORY_SECONDS 300u

/* What a sample is made from: totals since the process began. */
struct history_totals {
	uint64_t writes, reads, bytes;
	struct histogram commit, read, sync;
};

struct history_sample {
	uint64_t at_s;          /* since the epoch */
	uint32_t writes, reads; /* a second */
	uint64_t bytes;         /* of changes, a second */
	uint32_t commit_p50_us, commit_p99_us, read_p50_us, read_p99_us, sync_p99_us;
};

struct history {
	struct history_totals before;
	struct history_sample ring[HISTORY_SECONDS];
	uint64_t n_ever;
};

/* A second is over. `elapsed_ms`: how long it really was. */
void history_take(struct history *h, const struct history_totals *now, uint64_t at_s,
                  uint64_t elapsed_ms);
/* Call `each` for the samples later than `after_s`, oldest first. */
void history_each(const struct history *h, uint64_t after_s,
                  void (*each)(void *ctx, const struct history_sample *s), void *ctx);

#endif

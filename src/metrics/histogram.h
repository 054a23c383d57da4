/* How long things took: counts in fixed classes, four to a factor of ten, so that two histograms of
 * different times and nodes can be added and subtracted. Thread: the owner's. */
#ifndef RFS_METRICS_HISTOGRAM_H
#define RFS_METRICS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_CLASSES 25u /* 10 µs to 10 s; beyond them: in `count` alone */

/* The upper bounds of the classes, in µs, rising; each is included. */
extern const uint32_t histogram_bounds_us[HISTOGRAM_CLASSES];

struct histogram {
	uint64_t in_class[HISTOGRAM_CLASSES];
	uint64_t count; /* all, those beyond the last class too */
	uint64_t sum_us;
};

void histogram_add(struct histogram *h, uint64_t us);

/* What came into `now` since it was `before`. */
struct histogram histogram_since(const struct histogram *now, const struct histogram *before);

/* About the value that a part `q` (0…1) of all lies below, in µs, straight between the bounds of its
 * class; 0 for an empty one. */
uint64_t histogram_quantile_us(const struct histogram *h, double q);

#endif

#include "histogram.h"

const uint32_t histogram_bounds_us[HISTOGRAM_CLASSES] = {
        10,     18,     32,      56,      100,     180,     320,      560,    1000,
        1800,   3200,   5600,    10000,   18000,   32000,   56000,    100000, 180000,
        320000, 560000, 1000000, 1800000, 3200000, 5600000, 10000000,
};

void histogram_add(struct histogram *h, uint64_t us)
{
	unsigned low = 0, high = HISTOGRAM_CLASSES;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (us <= histogram_bounds_us[middle])
			high = middle;
		else
			low = middle + 1;
	}
	if (low < HISTOGRAM_CLASSES)
		h->in_class[low]++;
	h->count++;
	h->sum_us += us;
}

struct histogram histogram_since(const struct histogram *now, const struct histogram *before)
{
	struct histogram d = {.count = now->count - before->count,
	                      .sum_us = now->sum_us - before->sum_us};

	for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++)
		d.in_class[i] = now->in_class[i] - before->in_class[i];
	return d;
}

uint64_t histogram_quantile_us(const struct histogram *h, double q)
{
	double rank = q * (double)h->count, below = 0;

	if (h->count == 0)
		return 0;
	for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
		double n = (double)h->in_class[i];
		double from = i > 0 ? histogram_bounds_us[i - 1] : 0, to = histogram_bounds_us[i];

		if (n > 0 && below + n >= rank)
			return (uint64_t)(from + (to - from) * (rank - below) / n);
		below += n;
	}
	return histogram_bounds_us[HISTOGRAM_CLASSES - 1];
}

#include "history.h"

static uint32_t quantile(const struct histogram *h, double q)
{
	return (uint32_t)histogram_quantile_us(h, q);
}

static uint64_t a_second(uint64_t n, uint64_t elapsed_ms)
{
	return elapsed_ms > 0 ? n * 1000 / elapsed_ms : 0;
}

void history_take(struct history *h, const struct history_totals *now, uint64_t at_s,
                  uint64_t elapsed_ms)
{
	const struct history_totals *was = &h->before;
	struct histogram commit = histogram_since(&now->commit, &was->commit);
	struct histogram read = histogram_since(&now->read, &was->read);
	struct histogram sync = histogram_since(&now->sync, &was->sync);

	h->ring[h->n_ever++ % HISTORY_SECONDS] = (struct history_sample){
	        .at_s = at_s,
	        .writes = (uint32_t)a_second(now->writes - was->writes, elapsed_ms),
	        .reads = (uint32_t)a_second(now->reads - was->reads, elapsed_ms),
	        .bytes = a_second(now->bytes - was->bytes, elapsed_ms),
	        .commit_p50_us = quantile(&commit, 0.5),
	        .commit_p99_us = quantile(&commit, 0.99),
	        .read_p50_us = quantile(&read, 0.5),
	        .read_p99_us = quantile(&read, 0.99),
	        .sync_p99_us = quantile(&sync, 0.99),
	};
	h->before = *now;
}

void history_each(const struct history *h, uint64_t after_s,
                  void (*each)(void *ctx, const struct history_sample *s), void *ctx)
{
	uint64_t from = h->n_ever > HISTORY_SECONDS ? h->n_ever - HISTORY_SECONDS : 0;

	for (uint64_t i = from; i < h->n_ever; i++) {
		if (h->ring[i % HISTORY_SECONDS].at_s > after_s)
			each(ctx, &h->ring[i % HISTORY_SECONDS]);
	}
}

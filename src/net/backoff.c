#include "net.h"

/* xorshift64 (Marsaglia 2003): enough to keep nodes that lost the same peer from dialling in
 * step. */
static uint64_t backoff_random(struct net_backoff *b)
{
	b->rng ^= b->rng << 13;
	b->rng ^= b->rng >> 7;
	b->rng ^= b->rng << 17;
	return b->rng;
}

void net_backoff_init(struct net_backoff *b, uint32_t min_ms, uint32_t max_ms, uint64_t seed)
{
	*b = (struct net_backoff){
	        .min_ms = min_ms,
	        .max_ms = max_ms > min_ms ? max_ms : min_ms,
	        .next_ms = min_ms,
	        .rng = seed != 0 ? seed : 0x9e3779b97f4a7c15u, /* 0 would stay 0 */
	};
}

void net_backoff_reset(struct net_backoff *b)
{
	b->next_ms = b->min_ms;
}

uint32_t net_backoff_next(struct net_backoff *b)
{
	uint32_t top = b->next_ms;
	uint32_t bottom = top / 2 > b->min_ms ? top / 2 : b->min_ms;

	b->next_ms = top > b->max_ms / 2 ? b->max_ms : top * 2;
	return bottom + (uint32_t)(backoff_random(b) % ((uint64_t)(top - bottom) + 1));
}

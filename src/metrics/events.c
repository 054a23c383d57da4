#include "events.h"

#include <pthread.h>
#include <stdio.h>
#include "../base/clock.h"

/* The log is one for the process, and so is this. */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[EVENTS_KEPT];
static uint64_t n_ever;

static void on_line(enum log_level level, const char *text)
{
	struct event *e;

	if (level > LOG_LEVEL_INFO)
		return;
	(void)pthread_mutex_lock(&mu);
	e = &ring[n_ever++ % EVENTS_KEPT];
	e->at_ms = clock_real_ns() / 1000000u;
	e->level = level;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	(void)pthread_mutex_unlock(&mu);
}

void events_listen(void)
{
	log_set_tap(on_line);
}

void events_each(uint64_t after_ms, void (*each)(void *ctx, const struct event *e), void *ctx)
{
	uint64_t from = n_ever > EVENTS_KEPT ? n_ever - EVENTS_KEPT : 0;

	(void)pthread_mutex_lock(&mu);
	for (uint64_t i = from; i < n_ever; i++) {
		if (ring[i % EVENTS_KEPT].at_ms > after_ms)
			each(ctx, &ring[i % EVENTS_KEPT]);
	}
	(void)pthread_mutex_unlock(&mu);
}

#include "events.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "../base/clock.h"

/* The log is one for the process, and so is this. */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[EVENTS_KEPT];
static uint64_t n_ever;

#define LOOK_BACK 12u

/* The same line among the last few, or a new one for it. */
static struct event *event_for(enum log_level level, const char *text)
{
	struct event *e;

	for (uint64_t back = 1; back <= LOOK_BACK && back <= n_ever; back++) {
		e = &ring[(n_ever - back) % EVENTS_KEPT];
		if (e->level == level && strncmp(e->text, text, EVENT_TEXT_MAX - 1) == 0)
			return e;
	}
	e = &ring[n_ever % EVENTS_KEPT];
	*e = (struct event){.id = ++n_ever, .level = level};
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	return e;
}

static void on_line(enum log_level level, const char *text)
{
	struct event *e;

	if (level > LOG_LEVEL_INFO)
		return;
	(void)pthread_mutex_lock(&mu);
	e = event_for(level, text);
	e->at_ms = clock_real_ns() / 1000000u;
	e->times++;
	(void)pthread_mutex_unlock(&mu);
}

void events_listen(void)
{
	log_set_tap(on_line);
}

void events_each(uint64_t after_ms, void (*each)(void *ctx, const struct event *e), void *ctx)
{
	uint64_t from;

	(void)pthread_mutex_lock(&mu);
	from = n_ever > EVENTS_KEPT ? n_ever - EVENTS_KEPT : 0;
	for (uint64_t i = from; i < n_ever; i++) {
		if (ring[i % EVENTS_KEPT].at_ms > after_ms)
			each(ctx, &ring[i % EVENTS_KEPT]);
	}
	(void)pthread_mutex_unlock(&mu);
}

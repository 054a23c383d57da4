/* The last lines of the log, for who looks at a node through its page. Whatever the process logs
 * goes in, from any thread. A line that was among the last few already counts there, so that a node
 * which tries the same again and again does not push out what went before. */
#ifndef RFS_METRICS_EVENTS_H
#define RFS_METRICS_EVENTS_H

#include <stdint.h>
#include "../base/log.h"

#define EVENTS_KEPT    200u
#define EVENT_TEXT_MAX 240u

struct event {
	uint64_t id;    /* rising; stays when the line comes again */
	uint64_t at_ms; /* since the epoch; the last time it came */
	uint32_t times;
	enum log_level level;
	char text[EVENT_TEXT_MAX];
};

/* Begin to listen to the log; more than once is fine. */
void events_listen(void);
/* Call `each` for those that came after `after_ms`, oldest first. Nothing may be logged from it. */
void events_each(uint64_t after_ms, void (*each)(void *ctx, const struct event *e), void *ctx);

#endif

/* The certificate of a program that runs for long: a line in the log when it ends within 30 days, at
 * the start and then once a day; and read again on SIGHUP, for connections from then on. A bad file
 * is told and leaves what was in force. Thread: the loop's. */
#ifndef RFS_TLS_KEEPER_H
#define RFS_TLS_KEEPER_H

#include <uv.h>
#include "context.h"

struct tls_keeper {
	struct tls_context *tls;
	uv_signal_t hangup;
	uv_timer_t daily;
};

/* Takes `tls`; with NULL nothing happens, now or later. 0, or what libuv could not get. */
int tls_keeper_start(struct tls_keeper *k, uv_loop_t *loop, struct tls_context *tls);
/* Nothing in the loop keeps it alive; what it has there closes in the next turn. The context is freed at once:
 * nobody may dial or accept under it any more. */
void tls_keeper_stop(struct tls_keeper *k);

#endif

/* What a process that waits for us wants, when a signal has reached it. */
#ifndef RFS_FUSE_CALLER_H
#define RFS_FUSE_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

enum caller_wish {
	CALLER_STAYS, /* a timer, a child, a window: it has to learn what became of its request */
	CALLER_LEAVES, /* somebody wants it to stop: SIGINT, SIGQUIT, SIGTERM, SIGHUP, which it catches */
	CALLER_DIES,    /* it will never see the answer */
	CALLER_UNKNOWN, /* another PID namespace, no /proc, or it is gone */
};

/* By the signals that are pending for thread `tid` and not blocked; they stay pending as long as it waits in
 * the kernel. */
enum caller_wish caller_wish(pid_t tid);

/* Inside exit(2), where no signal arrives any more. */
bool caller_is_exiting(pid_t tid);

#endif

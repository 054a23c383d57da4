/* Does the mount answer? One stat(2) of the mountpoint, through the kernel and the cluster.
 *
 * A child process asks, not a thread: a thread of ours would wait for an answer of ours inside a
 * system call that no signal ends once the request was taken, not even SIGKILL. A raftfs killed
 * just then could not die, since the waiting thread would keep open the very descriptor whose
 * closing ends the wait. */
#ifndef RFS_FUSE_PROBE_H
#define RFS_FUSE_PROBE_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>
#include "../src/base/err.h"

struct probe {
	uv_poll_t poll;
	int answer; /* read end of the pipe from the child */
	pid_t child;
	bool running, answered;
	void (*done)(void *ctx, int result); /* 0 or a negative errno */
	void *ctx;
};

/* `mountpoint` is borrowed during the call. `done` fires once, later, unless probe_end() comes
 * first. */
int probe_start(struct probe *p, uv_loop_t *loop, const char *mountpoint,
                void (*done)(void *ctx, int result), void *ctx, struct rfs_err *err);

/* Stop waiting for it; harmless when it is over or was never started. */
void probe_end(struct probe *p);

#endif

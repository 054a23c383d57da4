/* Going to the background only once there is something to come back to: the parent waits until the
 * child says that the mount answers, or why it does not, and ends with the child's exit code. */
#ifndef RFS_FUSE_DAEMON_H
#define RFS_FUSE_DAEMON_H

#include <stdbool.h>
#include "../src/base/err.h"

/* Fork. Returns in the child alone; the parent exits from inside. Before any thread and any loop.
 * -errno. */
int daemon_fork(struct rfs_err *err);

/* In the child: let the parent end with 0, leave its session and terminal; stderr goes to
 * `logfile`, or nowhere if NULL. Without daemon_fork() before it, nothing happens. False if the
 * parent has gone (Ctrl-C): the child should end too. */
bool daemon_ready(const char *logfile);

/* As daemon_ready(), but the parent ends with `code`: not ready, and going on all the same. */
bool daemon_go_on(int code, const char *logfile);

/* In the child: let the parent end with `code` (its sentence is on stderr already). */
void daemon_failed(int code);

#endif

/* A mount: the kernel's requests come in on /dev/fuse, polled by the loop, and go out as requests
 * of a client.
 *
 * options.c the command line · mount_option.c what stands behind -o · helper.c mount.raftfs ·
 * view.c subtrees and shown owners · mountpoint.c what stands at the mountpoint, mounting, unmounting ·
 * init.c the session's terms with the kernel · request.c a request's life · handle.c open files and
 * their truncations · group.c what is collected for a commit at close, admit.c who adds to it and who
 * waits, stage.c how it gets to the servers before, look.c how it is seen, extents.c its pieces ·
 * locks.c what is locked here · inodes.c what is known and open · ops_*.c the operations ·
 * virtual.c .raft/ · notify.c what others change, told to who watches, by notifier.c, a process of
 * its own, whose calls ops_notify.c answers; watched.c who that is · reply.c errors and attributes.
 *
 * Thread: the loop's. */
#ifndef RFS_FUSE_MOUNT_H
#define RFS_FUSE_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "../src/base/err.h"
#include "../src/client/client.h"
#include "options.h"

struct mount;

struct mount_settings {
	const struct mount_options *options; /* borrowed until the mount has stopped */
	const char *mountpoint;              /* absolute; copied */
	const char *cluster;                 /* its name; copied */
	uint64_t root; /* the inode to show as the root: FS_ROOT_INO, or subdir= */
	/* The kernel has ended the session: unmounted from outside, or aborted. mount_stop() is
	 * still to be called. */
	void (*on_ended)(void *ctx);
	void *ctx;
};

/* Mount, and serve from then on. `c` must outlive the mount. Errors: -errno of mount(2), with a
 * sentence. */
int mount_start(struct mount **out, uv_loop_t *loop, struct client *c,
                const struct mount_settings *s, struct rfs_err *err);

/* The client has lost its session, and with it every lock that was taken through this mount. */
void mount_session_lost(struct mount *m);

/* Unmount (unless the kernel already did), let requests in flight end for a moment, give up on the
 * rest; `stopped` fires when nothing of the mount is left. Takes `m`. */
void mount_stop(struct mount *m, void (*stopped)(void *ctx), void *ctx);

#endif

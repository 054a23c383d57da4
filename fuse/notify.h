/* `-o notify`: changes that others have made, told to who watches files of this mount with inotify or
 * fanotify.
 *
 * The kernel tells a watcher of what goes through its own system calls, and has no way for a file
 * system to tell it of more. So a child process, the notifier (notifier.c), does again here what was
 * done elsewhere, and the mount answers its calls as done, without asking the cluster for a change:
 * it makes the file that is there already, removes the one that is gone. The kernel then tells its
 * watchers what happened, with the right names, cookies and order.
 *
 *     servers --- client_watch() ---> mount --- socket ---> notifier --- system calls ---> kernel --> watchers
 *                                       ^                                                    |
 *                                       +-------------- the calls, as FUSE requests ---------+
 *
 * The notifier looks first whether anybody watches (/proc/PID/fdinfo), so that a mount without
 * watchers has no work but that. For each change that is watched it asks the mount, by an extended
 * attribute of the root that nobody else can read, to be ready for the calls (arm): that the answer
 * comes through the same mount is what makes sure that the calls do too, and never touch another one.
 * A call of the notifier that is not part of the change for which it is armed is refused (EPERM), and
 * none of its calls ever becomes a change in the cluster.
 *
 * Told is each change that was made by another session, in order. Not told are: changes in directories
 * that have been renamed or removed since; whatever the servers have forgotten while this mount could
 * not ask them (the log says so); which of a file's bytes or attributes has changed (IN_MODIFY, and
 * IN_CLOSE_WRITE behind it). Latency is that of the watch plus NOTIFY_SCAN_MS at most.
 *
 * Thread: the loop's, and a process of its own. */
#ifndef RFS_FUSE_NOTIFY_H
#define RFS_FUSE_NOTIFY_H

#include "mount_priv.h"

struct notify;

#define NOTIFY_QUEUE_MAX 16384u /* changes not yet told; what comes on top is dropped, and logged */
#define NOTIFY_SENT_MAX  512u   /* of them with the notifier at a time */
#define NOTIFY_SCAN_MS                                                                             \
	1000u /* the longest time between two looks at who watches, if there is a change */

/* Begin, once the mount stands. Without a notifier (it cannot be started, or dies) it is tried again
 * now and then. */
struct notify *notify_start(struct mount *m);
/* No more. `ended` fires once nothing of it is left. Takes `n`. */
void notify_stop(struct notify *n, void (*ended)(struct mount *m));

/* `n` for .raft/status: "told 12, waiting 0, dropped 0, up to index 345". */
void notify_put_status(const struct notify *n, struct buf *b);

/* Wrap those of the operations that the notifier's calls reach. In ops_notify.c. */
void notify_wrap(struct fuse_lowlevel_ops *ops);

/* main() of the notifier: argv is NOTIFIER_NAME MOUNTPOINT, standard input the socket. In notifier.c. */
#define NOTIFIER_NAME "raftfs-notifier"
int notifier_main(int argc, char *const argv[]);

#endif

/* -o commit=close: what is written to a file is collected, and committed in one entry at close(2), fsync(2) and
 * whatever else must come behind it.
 *
 * A group is the bytes that were written to an inode through this mount, by any of its handles, since the last commit.
 * There is one of an inode at a time:
 *
 *   open        write(2) puts bytes into it and returns. Other mounts see the file as it was; reads and attributes of
 *               this one show the group over it (look.h).
 *   committing  from the first request that has to come behind it. That one waits, and so does every write.
 *   ended       nothing of it is left; those that waited go on, or share the failure.
 *
 * While it is one piece of at most FS_WRITE_BYTES_MAX the group is in memory, and its commit is a WRITE. A larger one,
 * and one of several pieces, goes to a file without a name (MKNOD, and WRITEs beside each other), and the commit is an
 * ADOPT of that file. A failure on the way fails the group at once.
 *
 * Which requests come behind it: flush of a handle through which something was written to it, fsync of any; changes of
 * the inode that are not collected (setattr, fallocate, copy, extended attributes, mapped pages, O_SYNC); seek; a write
 * that cannot be added (an append after writes at offsets or the other way round, under another lock, or the first of a
 * handle that owes a truncation); the first name of a file without one; locks that are given up or exchanged. Names
 * come and go without it.
 *
 * Failure. Nothing of a group that failed was done, unless the answer to its last entry got lost (RFS_EUNKNOWN).
 * Whoever waited to come behind it gets the error in place of being done, but for the unlocking of a lock, which is
 * done in any case. Each handle through which something was written to it keeps the error: writes fail with it, and so
 * does each close, until an fsync has told it. If nobody waited the log tells. A truncation that the group carried is
 * carried by the next group of the same handle, as long as nobody changes the file in between, and by nothing else: a
 * close after a failed commit leaves the file as it is.
 *
 * Lifecycles. What a group asks of the cluster are requests of the mount's own (request.h) with the group in their
 * arguments; each ends with one call of its `done`, which may be while the mount stops, and the group does not end
 * before the last of them has. So they may point to it. Nobody else does, but its inode, which lives as long, and
 * mount->groups.
 *   - A request that waits stands in inode->waiting or mount->room, where it can be interrupted as everywhere: it
 *     leaves the queue, nothing of it was done, the commit goes on. Only a flush or an fsync tells then that the
 *     outcome is not known. The flush of a process that is killed is answered before its commit has ended.
 *   - A handle that is released before its group has ended stays until then (file->released): its locks, which the
 *     commit may depend on, are given up afterwards, and so is an inode that was unlinked.
 *   - When the mount is to stop, all groups are committed within `timeout=`, and writes are not collected any more. What is
 *     left then fails with RFS_ESHUTDOWN, and the log says what.
 *   - Waiting never closes a circle. Writes wait for answers of the servers, and for commits; a commit waits for
 *     answers alone, each of which has a deadline. */
#ifndef RFS_FUSE_GROUP_H
#define RFS_FUSE_GROUP_H

#include "request.h"

#define GROUP_UNANSWERED_BYTES_MAX                                                                 \
	(4u << 20) /* of a group, in memory or on their way; then writes wait */
#define GROUP_MEMORY_BYTES_MAX (64u << 20) /* the same of all groups of a mount */

/* Before `op` is sent for `r`, whose inode is known. */
enum group_verdict {
	GROUP_PASS, /* as if there were no groups. A look may have got another inode to ask for */
	GROUP_TAKE, /* once no truncation holds it, it is one for group_take() */
	GROUP_HELD, /* it waits in a queue, or has ended: hands off */
};
enum group_verdict group_judge(struct request *r, struct fs_op *op);

/* Add what `op` writes, with FS_F_TRUNC behind a truncation, to the inode's group. Ends `r`. */
void group_take(struct request *r, const struct fs_op *op);

/* Commit what was written through `f`, if it was, without waiting for it: its descriptor is closed, its handle
 * released. */
void group_close(struct file *f);

/* What a close or an fsync of `f` has to tell that ended with `code`: that, or what a group failed with before. */
int group_error(struct file *f, bool is_fsync, int code);

/* Show the size and times that this mount sees. `r` asked for the attributes, or found them. */
void group_show(const struct request *r, struct fs_attr *attr);

/* Whether an fsync or a flush that is interrupted may still be done. */
bool group_is_awaited(const struct request *r);

/* The mount stops: commit all; end all, once their requests have ended. */
void groups_commit(struct mount *m);
void groups_abandon(struct mount *m);

#endif

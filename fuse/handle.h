/* Open files, and the truncation that open(O_TRUNC) leaves to the first write: `echo x > file` is
 * one entry of the log, so that nobody sees the file empty in between.
 *
 * A handle opened with O_TRUNC owes a truncation. It is paid
 *   - by the handle's first write, which carries it;
 *   - by itself, before anything else through the handle that depends on it (read, ftruncate,
 * fsync), before a change of the inode that comes by another way through this mount, and at close.
 * One truncation of an inode is under way at a time; what depends on it waits for its answer. If it
 * fails the debt stays.
 *
 * Who opened before another handle's truncation, and has not written, is overtaken by it: what he was
 * to take away is gone, and what is there now came later. Only a first write still truncates, so that
 * of two `echo x > file` one is left whole; with anything else the debt is forgiven.
 *
 * A shell opens the file, duplicates the descriptor and closes the first one before it writes: the
 * kernel tells us of each close, not which one is the last. So at a close the debt stays while the
 * process still holds a descriptor of the file (/proc/PID/fdinfo tells); when in doubt it is
 * paid. */
#ifndef RFS_FUSE_HANDLE_H
#define RFS_FUSE_HANDLE_H

#include "request.h"

#define FILE_MAGIC 0x66696c65u

struct file {
	uint32_t magic;
	struct inode *inode; /* NULL: a directory, or a file of .raft/ */
	int flags;           /* of open(2) */
	pid_t pid;           /* who opened it */
	uid_t uid;
	bool owes_truncation, overtaken;
	bool probed; /* the kernel has asked whether the truncation takes capabilities away */
	/* group.h */
	bool in_group, released;
	pid_t writer;         /* who wrote to it last */
	bool write_truncates; /* opened with O_TRUNC, and owes nothing, but its next group takes the
	                         place of all that is there */
	int group_error;
	struct buf text;          /* .raft/: its contents, as of open */
	uint64_t end;             /* a directory: where its listing has ended; 0: not known */
	struct file *prev, *next; /* inode->files, or mount->plain_files */
};

struct file *file_new(struct mount *m, uint64_t ino, int flags, pid_t pid, bool owes_truncation);
struct file *file_new_plain(struct mount *m); /* without an inode */
/* Takes `f`. Never waits: what is still owed, or collected, is sent without waiting for the answer. */
void file_release(struct mount *m, struct file *f);
struct file *file_of(const struct fuse_file_info *fi); /* NULL for NULL */

/* Whether it changes the bytes or the size of its inode. */
bool file_op_changes_contents(const struct fs_op *op);

/* FS_F_KILL_SUID if a write by `uid` takes the set-id bits away: anybody's but root's does. */
uint32_t file_kill_suid(uid_t uid);

/* The session is over: the kernel will release none of them. */
void files_drop_all(struct mount *m);

/* Whether `pid` still holds a descriptor of f's inode, and it can only be f. */
bool file_is_held_by(const struct mount *m, const struct file *f, pid_t pid);

/* Whether the process that asks for the inode's attributes opened it with O_TRUNC and has not
 * written yet: it, and only it, is to see size 0. (The kernel does not tell which descriptor an
 * fstat(2) came through.) */
bool inode_is_truncated_for(const struct inode *i, pid_t pid);

/* Whether the kernel, inside the open(2) with O_TRUNC of thread `tid`, asks for the inode's capabilities, to take them
 * away: the truncation does that at apply, so the answer may be that there are none. Once a handle. */
bool file_takes_probe(const struct inode *i, pid_t tid);

/* Called by request.c. Before `op` is sent: true if `r` must wait (it is then in the inode's
 * queue); otherwise `op` may have got FS_F_TRUNC. */
bool truncation_holds(struct request *r, struct fs_op *op);
/* A request that carried a truncation (`was_alone`: and nothing else) has ended with `code`. */
void truncation_ended(struct inode *i, struct file *f, int code, bool was_alone);

#endif

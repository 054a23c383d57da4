/* What the processes of this mount have locked: the servers decide who has a lock, the mount remembers
 * what its writes depend on.
 *
 * A change that comes through a handle with a lock carries the lock's token, and is made only if
 * the lock is still held when it is applied. When the mount's session is lost, so are all its locks:
 * a handle that had one, or whose process had one on the file, can never change the file again
 * (ESTALE), until it is closed.
 *
 * flock(2) locks belong to the open file and go with it. fcntl(2) locks belong to a process and go
 * when it closes any descriptor of the file, which the kernel tells by FLUSH. Locks of open files by
 * fcntl(2) (F_OFD_SETLK) look like those of a process, but only the release of their handle ends
 * them. */
#ifndef RFS_FUSE_LOCKS_H
#define RFS_FUSE_LOCKS_H

#include "request.h"

struct hold {
	uint64_t owner;
	bool bytes;        /* fcntl(2)'s, else flock(2)'s */
	struct file *file; /* the handle through which it was taken last */
	uint64_t token;    /* 0: it may be held, the answer was lost */
	bool lost;
	unsigned converting;      /* flock(2): another mode is asked for; the old one may be gone */
	struct hold *prev, *next; /* inode->holds */
};

/* Give `op`, which is about to be sent for `r`, the token of the lock that it depends on. 0, or
 * -ESTALE: that lock is lost. */
int locks_fence(struct request *r, struct fs_op *op);

/* Whether a request that ended with its session is a LOCK that is to be asked for under the next
 * one. */
bool locks_ask_again(struct request *r);

/* A close by `owner`: what it has locked by fcntl(2) is unlocked, then `errnum` replied. */
void locks_close(struct mount *m, fuse_req_t req, struct file *f, uint64_t owner, int errnum);

/* The handle goes: so does what was locked through it. */
void locks_release(struct mount *m, struct file *f);
void locks_forget(struct inode *i); /* all of them, without a word to the servers */

#endif

/* The boundary between our world and the kernel's: signs and codes of errors are converted here and
 * nowhere else, and attributes take the kernel's form. */
#ifndef RFS_FUSE_REPLY_H
#define RFS_FUSE_REPLY_H

#include <stdbool.h>
#include <sys/stat.h>
#include "fuse_api.h"
#include "../src/base/op.h"

/* What preferred I/O size stat(2) tells: one chunk of the state machine. */
#define REPLY_BLOCK_BYTES 65536

/* The positive errno for `code` (0, a negative errno, or a code of err.h). What can be known is
 * said: a change that was certainly not done is EROFS, one whose outcome is unknown ETIMEDOUT; a
 * read that got no answer ETIMEDOUT. */
int reply_errno(int code, bool is_change);

/* For an operation on an inode (not on a name): a missing inode is ESTALE, on which the kernel
 * looks the path up again. */
int reply_errno_ino(int code, bool is_change);

void reply_stat(struct stat *st, const struct fs_attr *a);
/* Entry and attributes with timeouts 0: the kernel asks again each time. */
void reply_entry(struct fuse_entry_param *e, const struct fs_attr *a);

/* FUSE_SET_ATTR_* and the fields they name, into op->valid and its fields. -EINVAL for a negative
 * size. */
int reply_setattr_op(struct fs_op *op, const struct stat *st, int to_set);

#endif

/* What the mount remembers of inodes while the kernel does: by which names it found them, and who
 * has them open. It serves three things: an unlink or a rename over an inode that is open here
 * tells the servers to keep it; truncations that travel with a first write are ordered with other
 * changes of the same inode; and fsync waits for the changes of its inode that are under way.
 *
 * A FUSE node id is our inode number, which is never reused: there is nothing to translate. */
#ifndef RFS_FUSE_INODES_H
#define RFS_FUSE_INODES_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include "../src/base/op.h"

struct file;
struct request;
struct inode_name;

#define INODE_NAMES_MAX 16u /* hard links remembered of one inode; the oldest gives way */

struct inode {
	uint64_t ino;
	uint64_t lookups; /* the kernel's count, less what a listing gave it before we knew the
	                     inode */
	unsigned n_names;
	struct inode_name *names; /* newest last */
	struct file *files;       /* open handles */
	unsigned n_truncating;    /* of them with a truncation still to be sent */
	bool kept; /* unlinked while open: the servers keep it for us until FS_OP_RELEASE */
	struct request *truncation; /* under way */
	struct request *waiting;    /* for that truncation; first come first */
	unsigned busy;              /* somebody works with it: not to be trimmed */
	struct request *changes; /* under way, and fsyncs that wait for those before them; in order
	                            of arrival */
	UT_hash_handle hh;
};

struct inode_table {
	struct inode *by_ino;
	struct inode_name *by_name;
};

struct inode *inode_find(struct inode_table *t, uint64_t ino);   /* NULL if unknown */
struct inode *inode_obtain(struct inode_table *t, uint64_t ino); /* made if unknown */

/* The kernel was told: `name` in `parent` is `ino`; it counts one lookup. */
void inode_found(struct inode_table *t, uint64_t ino, uint64_t parent, struct fs_str name);
/* A listing or a link gave the kernel one more lookup. */
void inode_counted(struct inode_table *t, uint64_t ino);
/* The kernel takes back `n` lookups. */
void inode_forget(struct inode_table *t, uint64_t ino, uint64_t n);
/* `name` in `parent` is gone or stands for something else. */
void inode_unname(struct inode_table *t, uint64_t parent, struct fs_str name);
/* The inode known by that name, if somebody here has it open; else NULL. */
struct inode *inode_open_by_name(struct inode_table *t, uint64_t parent, struct fs_str name);

/* Drop `i` if nothing refers to it any more. */
void inode_trim(struct inode_table *t, struct inode *i);
void inode_table_free(struct inode_table *t);

#endif

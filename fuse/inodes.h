/* What the mount remembers of inodes: by which names it found them lately, and who has them open. It serves four
 * things: an unlink or a rename over an inode that is open here tells the servers to keep it; truncations that travel
 * with a first write are ordered with other changes of the same inode; fsync waits for the changes of its inode that
 * are under way; and a directory that was removed here still has attributes for whoever is in it.
 *
 * The kernel looks a name up before it removes or replaces it, so the latest names are enough, however many the
 * kernel knows: a directory of a million files costs no memory here.
 *
 * A FUSE node id is our inode number, which is never reused: there is nothing to translate. */
#ifndef RFS_FUSE_INODES_H
#define RFS_FUSE_INODES_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include "../src/base/op.h"

struct file;
struct group;
struct hold;
struct request;
struct inode_name;

#define INODE_NAMES_MAX 16u /* hard links remembered of one inode; the oldest gives way */
#define INODE_TABLE_NAMES_MAX                                                                      \
	16384u /* remembered in all; the one not looked up for longest gives way */

struct inode {
	uint64_t ino;
	struct fs_attr attr; /* as last looked up */
	bool removed;        /* a directory, by this mount; attr says what it was */
	bool nameless;       /* made without a name (O_TMPFILE), and has none yet */
	unsigned n_names;
	struct inode_name *names; /* newest last */
	struct file *files;       /* open handles */
	struct hold *holds;       /* locks.h */
	unsigned n_truncating;    /* of them with a truncation still to be sent */
	bool kept; /* unlinked while open: the servers keep it for us until FS_OP_RELEASE */
	struct request *truncation; /* under way */
	struct group *group;        /* what was written and is not committed; group.h */
	struct request *waiting;    /* for that truncation or that group; first come first */
	unsigned busy;              /* somebody works with it: not to be trimmed */
	struct request *changes; /* under way, and fsyncs that wait for those before them; in order
	                            of arrival */
	UT_hash_handle hh;
};

struct inode_table {
	struct inode *by_ino;
	struct inode_name *by_name;
	struct inode_name *oldest; /* of all names */
	unsigned n_names;
};

struct inode *inode_find(struct inode_table *t, uint64_t ino);   /* NULL if unknown */
struct inode *inode_obtain(struct inode_table *t, uint64_t ino); /* made if unknown */

/* The kernel was told: `name` in `parent` is this inode. */
void inode_found(struct inode_table *t, const struct fs_attr *attr, uint64_t parent,
                 struct fs_str name);
/* The kernel forgets the inode, which nobody has open. */
void inode_forget(struct inode_table *t, uint64_t ino);
/* `name` in `parent` is gone or stands for something else. */
void inode_unname(struct inode_table *t, uint64_t parent, struct fs_str name);
/* The inode was removed by this mount; nothing happens if it is not known as a directory. */
void inode_removed(struct inode_table *t, uint64_t ino);
/* The inode known by that name, if somebody here has it open; else NULL. */
struct inode *inode_open_by_name(struct inode_table *t, uint64_t parent, struct fs_str name);

/* A name that `i` was found by; false if none is remembered. */
bool inode_known_as(const struct inode *i, char name[FS_NAME_BYTES_MAX + 1]);

/* Drop `i` if nothing refers to it any more. */
void inode_trim(struct inode_table *t, struct inode *i);
void inode_table_free(struct inode_table *t);

#endif

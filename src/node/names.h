/* Where every inode stands: the names by which it can be reached, kept up to date by the changes
 * that the state machine tells. A change of a file's bytes knows only the inode; people want the
 * path. Thread: the loop's. */
#ifndef RFS_NODE_NAMES_H
#define RFS_NODE_NAMES_H

#include "../store/store.h"

/* Names kept; what is made beyond has no path in events. Some 100 bytes each. */
#define NAMES_MAX 500000u

struct names;

struct names *names_new(void);
void names_free(struct names *t);
/* Forget everything and read the store's. 0 or an error of the store. */
int names_load(struct names *t, struct store *s, struct rfs_err *err);

/* Take a change in, and append the path that it is about to `path`, and to `old_path` a rename's old one. Nothing is
 * appended where no name is known. *parent: the directory that the last name of the path is in, 0 where none is known.
 * False: it is about a file without a name, which is no key. */
bool names_follow(struct names *t, const struct store_change *c, struct buf *path,
                  struct buf *old_path, uint64_t *parent);

#endif

/* How this mount sees a file with a group: reads and attributes, with the group over what the servers have.
 *
 * What is shown of the group is what was in it when the look began: by the time of the answer it may be committed, or
 * failed. That does not make a difference where the group's bytes stand at their place already; behind an append they
 * would be seen twice, so such a look begins again if the group has begun its commit in between. */
#ifndef RFS_FUSE_LOOK_H
#define RFS_FUSE_LOOK_H

#include "request.h"

struct group;
struct look;

/* `r`, a READ or a GETATTR, is about to send `op`, which may become one for the staging file. None of the group's
 * bytes in its range are under way. False: it was answered from memory, and has ended. */
bool look_begin(struct request *r, struct fs_op *op, const struct group *g);

/* The servers' answer to what look_begin() let be sent. Asks for more, or ends `r`. */
void look_take(struct request *r, const struct fs_result *res);

void look_end(struct request *r);

void look_show(const struct look *l, struct fs_attr *attr);
void look_show_group(const struct group *g, struct fs_attr *attr);

#endif

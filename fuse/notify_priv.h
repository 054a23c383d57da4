/* What notify.c, ops_notify.c and notifier.c share. */
#ifndef RFS_FUSE_NOTIFY_PRIV_H
#define RFS_FUSE_NOTIFY_PRIV_H

#include <stdint.h>
#include <sys/types.h>
#include "notify.h"

/* One message on the socket, in the machine's own order: both ends are one program. */
struct notify_head {
	uint32_t bytes; /* of the whole message */
	uint32_t kind;  /* enum store_change_kind; 0, from the notifier: done up to `serial` */
	uint64_t serial;
	/* Only of a change. Numbers as the kernel knows them; of a rename `over` is what it replaced,
	 * else 0. */
	uint64_t ino, parent, old_parent, over;
	uint32_t mode;
	uint32_t path_len, old_len; /* from the mount's root; both follow, without an end */
	uint32_t told;              /* from the notifier: how many of those were watched */
};

#define NOTIFY_MESSAGE_MAX (sizeof(struct notify_head) + 2u * 65536u)

/* Reading this attribute of the root, with a change's serial number in decimal digits behind it, arms. */
#define NOTIFY_ARM "user.raft.notify."

/* The change that the notifier's calls are to do again. */
struct notify_armed {
	uint64_t serial; /* 0: for nothing */
	struct notify_head head;
	struct fs_str name, old_name; /* last names of the paths; they live as long as the change */
	bool done;                    /* the call has come: names are what they are again */
};

struct notify *notify_of(struct mount *m); /* NULL: without -o notify */
bool notify_is_caller(const struct notify *n, pid_t pid);
struct notify_armed *notify_armed(struct notify *n);
/* Get ready for the calls of that change, then answer the request: nothing, or ENODATA. */
void notify_arm(struct notify *n, fuse_req_t req, uint64_t serial, size_t size);

#endif

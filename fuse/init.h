/* The terms between the kernel and this file system. libfuse 3.14 negotiates most of them; what it
 * does not know yet is put into its replies on their way to /dev/fuse. */
#ifndef RFS_FUSE_INIT_H
#define RFS_FUSE_INIT_H

#include <stdbool.h>
#include <stdint.h>
#include "fuse_api.h"

/* Pages of one request. A write of 1 MiB from a buffer that does not start at a page spans 257 of
 * them, and must stay one request to be one entry. */
#define INIT_PAGES_MAX 257u

/* open(2) with O_TMPFILE comes as a CREATE of this name, which no file can have. */
#define INIT_TMPFILE_NAME "/"

/* Among the flags of setxattr(2), as op_setxattr() gets them: who sets an access control list is neither in the file's
 * group nor privileged, so set-group-id goes. Only of a mount with access control lists. */
#define INIT_SETXATTR_KILL_SGID (1 << 30)

struct init_patch {
	bool acl;     /* access control lists: the kernel checks them, and leaves the umask to us */
	bool too_old; /* for that, the kernel is */
	uint64_t init_unique; /* the INIT request that waits for its reply; 0: none */
	uint64_t offered;     /* the kernel's flags, both words */
	unsigned pages;       /* what /proc/sys/fs/fuse/max_pages_limit lets us ask for */
};

/* Raise the system's limit of pages a request if it is too low and we may; before mounting. Logs
 * what it did. */
void init_raise_page_limit(struct init_patch *p);

/* libfuse's init callback. */
void init_connection(struct init_patch *p, struct fuse_conn_info *conn);

/* Route the session's reads and writes through the patch. After mounting. 0 or -errno. `userdata`
 * of the session must give its patch by init_patch_of(). */
int init_install(struct fuse_session *se);
struct init_patch *init_patch_of(void *userdata);

#endif

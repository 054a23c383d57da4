/* The inside of a mount, shared by the files of this folder. */
#ifndef RFS_FUSE_MOUNT_PRIV_H
#define RFS_FUSE_MOUNT_PRIV_H

#include <time.h>
#include "failure.h"
#include "fuse_api.h"
#include "init.h"
#include "inodes.h"
#include "mount.h"
#include "view.h"
#include "../src/base/acl.h"
#include "../src/base/check.h"

#define MOUNT_MAGIC 0x6d6e7421u

#define MOUNT_TURN_REQUESTS_MAX                                                                    \
	64u /* taken from the kernel before the loop looks at the network again */
#define MOUNT_STOP_GRACE_MS 2000u
#define MOUNT_KINDS_MAX     128u /* above every enum fs_op_kind */

/* The last answer of one node to a status request. */
struct mount_node_status {
	raft_id id;
	char address[CONFIG_HOST_MAX + 10];
	bool reachable, learner;
	char role[32];
	uint64_t term, last, commit, applied;
};

/* A lookup that got no answer in time; see ops_meta.c. */
#define MOUNT_SILENCES 64u
struct mount_silence {
	pid_t pid;
	uint64_t parent, at_ms;
	char name[FS_NAME_BYTES_MAX + 1];
};

struct mount {
	uint32_t magic;
	uv_loop_t *loop;
	struct client *client;
	const struct mount_options *options;
	struct view view;
	char *mountpoint;
	char cluster[CONFIG_NAME_MAX + 1];
	time_t started_s;
	void (*on_ended)(void *ctx);
	void *ctx;

	struct fuse_session *session;
	struct init_patch patch;
	struct fuse_buf buf; /* one request's bytes; libfuse allocates it once */
	uv_poll_t poll;
	bool gone; /* the kernel has ended the session */

	int mount_id; /* as in /proc/self/mountinfo; -1 if unknown */

	struct inode_table inodes;
	struct file *plain_files; /* open directories, and files of .raft/ */
	struct request *requests; /* every one that is not answered */
	uv_timer_t grace;         /* request.c: runs while a request waits for its grace to end */
	unsigned n_grace;

	/* group.h */
	struct group *groups;
	struct request *room; /* writes that wait for others to be sent */
	size_t group_bytes, group_unanswered;
	uint64_t group_serial;

	/* The last attributes of the root directory; see ops_meta.c. */
	struct fs_attr root;
	bool root_known;
	/* … and its access control list, none if empty; with -o acl the kernel asks for both. */
	uint8_t root_acl[ACL_BYTES_MAX];
	uint32_t root_acl_len;
	bool root_acl_known;
	bool has_byte_locks; /* or had: somebody used fcntl(2)'s */

	struct mount_silence silences[MOUNT_SILENCES]; /* by pid */

	uint64_t asked[MOUNT_KINDS_MAX]; /* requests sent, by enum fs_op_kind */

	char last_error
	        [FAILURE_TEXT_MAX]; /* the last request that failed for want of an answer; "" */
	uint64_t last_error_ns, last_error_logged_ms;

	struct notify *notify; /* NULL: without -o notify */

	struct mount_node_status status[CONFIG_NODES_MAX];
	size_t n_status;
	struct virtual_poll *status_poll; /* virtual.c: under way */
	unsigned n_status_asked;          /* client_status() calls not yet called back */

	uv_timer_t stop_timer;
	uv_work_t unmount_work;
	bool unmounting, closing;
	unsigned handles; /* of libuv, open */
	void (*stopped)(void *ctx);
	void *stopped_ctx;
};

static inline struct mount *mount_of(fuse_req_t req)
{
	struct mount *m = fuse_req_userdata(req);

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	return m;
}

void mount_check_drained(struct mount *m); /* something that a stopping mount waits for has ended */

#endif

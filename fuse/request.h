/* The life of a kernel's request on its way through the cluster: started, perhaps held back behind
 * a truncation or a group, sent, interrupted, ended. It ends with exactly one call of its `done`, which gives
 * exactly one reply. */
#ifndef RFS_FUSE_REQUEST_H
#define RFS_FUSE_REQUEST_H

#include "mount_priv.h"

#define REQUEST_MAGIC 0x72657121u

/* A signal reached the caller. Files do not fail with EINTR because of a timer or a child, and a
 * program that tries again after EINTR would write twice: so only one that is to stop, or dies, is
 * let go. It may still get its answer for as long as a healthy cluster takes; a change that was
 * sent and has none by then is not known (ETIMEDOUT), anything else was interrupted (EINTR). */
#define REQUEST_INTERRUPT_GRACE_MS 100u
#define REQUEST_WISH_EVERY_MS      50u /* another signal may come, of which we are not told */

struct failure;
struct file;
struct group;
struct look;
struct request;

/* What the request ended with. Replies to request_take(r). `res` is borrowed during the call; the
 * request is freed after it. */
typedef void (*request_done)(struct request *r, const struct fs_result *res);

/* What a request is. Everything the op points to is copied where it must outlive the call. */
struct request_args {
	struct fs_op op; /* kind FS_OP_NONE: nothing to send, only to wait for (flush, fsync) */
	request_done done;
	struct file *file; /* the handle it came through; NULL */
	uint64_t ino; /* a change of this inode's contents, or a barrier for them; 0: neither */
	bool is_truncation;  /* nothing but the truncation of `file`; others wait for it */
	uint64_t lock_owner; /* whose locks a change depends on; 0: not known */
	bool patient;        /* waits for as long as it takes, not timeout= */
	bool fsync; /* a barrier for all changes of the inode, not for the handle's truncation alone
	             */
	bool collect;         /* what it writes may wait for a commit: group.h */
	struct group *group;  /* whose own it is */
	bool quiet;           /* whoever started it tells what became of it */
	uint64_t deadline_ms; /* 0: after timeout= */
	/* for `done` */
	uint64_t parent;
	struct fs_str name;
	uint64_t size, offset;
	int open_flags;
	/* A process waits for it and no signal reaches it, not even SIGKILL: a mapping's pages that are
	 * written back, a descriptor that exit(2) closes. It ends when those who may wait want to stop. */
	bool unsignalled;
	bool root_fallback; /* GETATTR of the root, or GETXATTR of its access control list: see ops_meta.c */
	bool is_close; /* locks.c: the reply is close_errno, whatever became of the unlocking */
	int close_errno;
};

struct request {
	uint32_t magic;
	struct mount *mount;
	fuse_req_t req; /* NULL: answered, or the mount's own */
	bool own;       /* the mount's own */
	bool is_change;
	bool truncates; /* carries the truncation of `file`, inode->truncation is this one */
	struct request_args args; /* op without what it borrows; name: the copy below */
	char name[FS_NAME_BYTES_MAX + 1];
	struct fs_op *held; /* a copy of the op, once it had to wait */
	struct client_req *sent;
	struct inode *inode;
	struct look *look;                   /* how it sees the inode's group */
	struct request **waits_in;           /* inode->waiting or mount->room; NULL: in neither */
	bool is_listed;                      /* in inode->changes */
	uint64_t deadline_ms, grace_ends_ms; /* grace 0: none runs */
	bool interrupted;
	pid_t caller;                              /* thread */
	struct request *prev, *next;               /* mount->requests */
	struct request *wait_prev, *wait_next;     /* the queue it waits in */
	struct request *change_prev, *change_next; /* inode->changes */
};

/* Start one. `req` NULL: the mount's own, nobody is replied to. */
void request_start(struct mount *m, fuse_req_t req, const struct request_args *a);

/* The kernel's handle for the one reply; NULL in an own request. */
fuse_req_t request_take(struct request *r);
/* Reply with nothing but an errno (0: success). */
void request_reply_code(struct request *r, int errnum);
/* `done` for operations whose whole answer is success or an error of their name or inode. */
void request_done_code(struct request *r, const struct fs_result *res);

/* End all of them, now. */
void requests_abandon(struct mount *m);

/* For handle.c and group.c: (again) try to send `op`, or wait; send it; end, with `code` without an answer; the
 * client's answer. */
void request_go(struct request *r, const struct fs_op *op);
void request_send(struct request *r, const struct fs_op *op);
void request_end(struct request *r, const struct fs_result *res);
void request_fail(struct request *r, int code);
void request_on_result(void *ctx, const struct fs_result *res);
void request_on_grace(uv_timer_t *t); /* m->grace */

/* A queue of those that wait, with a copy of their op. Going on, each looks again at what it waits for. */
void request_wait(struct request *r, const struct fs_op *op, struct request **queue);
void request_leave_queue(struct request *r);
void requests_go_on(struct request **queue);

/* For .raft/last_error, and the log: in any case, or not more than now and then. */
void request_note(struct mount *m, const struct failure *f, bool always_log);

#endif

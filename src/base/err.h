/* Errors: one number space and one carrier for the sentence that goes with a number.
 *
 * A function that can fail returns 0 or a negative code: errno's own (-ENOSPC), or one of ours from
 * -1000 downwards. The sentence is written where the error is born, with the file, key or peer it
 * is about; callers pass it on untouched. */
#ifndef RFS_BASE_ERR_H
#define RFS_BASE_ERR_H

enum rfs_code {
	RFS_ECORRUPT = -1000,  /* bytes on disk or wire that fail their checksum or their grammar */
	RFS_EPROTO = -1001,    /* a peer broke the protocol */
	RFS_EIDENTITY = -1002, /* another cluster, another node, or another incarnation of it */
	RFS_EVERSION = -1003,  /* no protocol or format version in common */
	RFS_ENOTLEADER = -1004,    /* refused: not the leader; certainly not done */
	RFS_ENOQUORUM = -1005,     /* no quorum in time; certainly not done */
	RFS_EUNKNOWN = -1006,      /* no answer in time; done or not done, nobody can say */
	RFS_ESESSION = -1007,      /* the session has ended: its unanswered requests are unknown */
	RFS_ECONFIG = -1008,       /* configuration is malformed or contradictory */
	RFS_EBUSYLIMIT = -1009,    /* a named limit is reached; certainly not done, try again */
	RFS_ESHUTDOWN = -1010,     /* the part that was asked is shutting down */
	RFS_EWAITING = -1011,      /* a lock is queued for: done so far, the rest comes by itself */
	RFS_EPRECONDITION = -1012, /* a change was made to depend on what is not so; not done */
};

/* An error with its sentence. Callers own it, usually on the stack; msg is "" while code is 0. */
struct rfs_err {
	int code;
	char msg[512];
};

/* Set `e` (may be NULL) to `code` and the formatted sentence; returns `code`, so that
 * `return rfs_err_set(e, -EINVAL, "…")` reads as one step. Too long a sentence ends in "…". */
int rfs_err_set(struct rfs_err *e, int code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* Put "prefix: " in front of the sentence; returns e->code. */
int rfs_err_prefix(struct rfs_err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A short static text for a negative code of either kind. Any thread. */
const char *rfs_strerror(int code);

#endif

/* The command line of raftfs. */
#ifndef RFS_FUSE_OPTIONS_H
#define RFS_FUSE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include "../src/base/buf.h"
#include "../src/base/err.h"
#include "../src/base/log.h"
#include "view.h"

struct mount_options {
	const char *mountpoint; /* borrowed from argv */
	const char *cluster;    /* --cluster; NULL if not given */
	uint64_t id;            /* --id: run that node too; 0 if not given */
	bool foreground;        /* -f */
	bool help, version;
	bool fake;          /* mount.raftfs -f: look at everything, mount nothing */
	bool sloppy;        /* mount.raftfs -s: unknown mount options are no error */
	const char *source; /* mount.raftfs: what fstab calls it; NULL */
	enum log_level level;
	bool level_given;

	uint64_t timeout_ms;   /* -o timeout=; how long a request may take */
	bool allow_other;      /* -o allow_other */
	bool check_permission; /* the kernel checks modes; see options_parse() */
	bool debug;            /* -o debug: every request in the log */
	bool read_local;       /* -o read=local: see client_opts */
	bool commit_close;     /* -o commit=close: see group.h */
	bool ro;               /* -o ro: the kernel refuses changes */
	bool sync;             /* -o sync: every write is durable when it returns */
	bool notify;           /* -o notify: see notify.h */
	bool acl;              /* -o acl: access control lists; the kernel checks them, too */
	char *logfile;         /* -o logfile=; NULL if not given; owned */
	char *tls_ca, *tls_cert, *tls_key; /* -o ca=, cert=, key=; NULL if not given; owned */
	char *subdir;      /* -o subdir=: this key is the root; NULL if not given; owned */
	struct view view;  /* -o uid=, gid=, umask=; its root is FS_ROOT_INO */
	struct buf kernel; /* options for mount(2), ",ro,nosuid" or empty; terminated */
};

#define MOUNT_TIMEOUT_MS_DEFAULT 10000u
#define MOUNT_TIMEOUT_MS_MAX     3600000u

/* Borrows argv for as long as `o` lives. Errors: -EINVAL with a sentence that names the argument.
 * `o` is to be freed with options_free() in either case.
 *
 * Whether the kernel checks modes (its option default_permissions): always where others than the
 * user who mounts may come in, or where that user is not root; or when asked for. A mount that only
 * root enters goes without: root passes every check anyway, each check would cost a GETATTR of
 * every directory on the way, and .raft/ could not be read while there is no quorum to answer that
 * GETATTR (see ops_meta.c for how the other mounts manage it). */
int options_parse(struct mount_options *o, int argc, char *const argv[], bool is_root,
                  struct rfs_err *err);
void options_free(struct mount_options *o);

/* The same for mount.raftfs, as mount(8) calls it: CLUSTER-FILE MOUNTPOINT [-fnsv] [-o OPTIONS]
 * [-t TYPE]. A first operand of "none" leaves the cluster file to be found. In helper.c. */
int options_parse_helper(struct mount_options *o, int argc, char *const argv[], bool is_root,
                         struct rfs_err *err);

/* What both forms share: begin with the defaults; a node's number behind `name`, which is "--id " or
 * "-o id="; after the last word. */
void options_init(struct mount_options *o);
int options_take_id(struct mount_options *o, const char *name, const char *text,
                    struct rfs_err *err);
int options_finish(struct mount_options *o, bool is_root, struct rfs_err *err);

/* One list behind -o. In mount_option.c. Errors: -EINVAL, naming the option. */
int options_take_list(struct mount_options *o, const char *list, struct rfs_err *err);

extern const char options_help[];

#endif

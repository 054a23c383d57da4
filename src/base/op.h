/* The operations of the file system, as every part speaks of them: the mount and raftctl build a
 * `struct fs_op`, the wire carries it, the log keeps it, the state machine applies or answers it
 * and gives back a `struct fs_result`. One vocabulary, one codec (src/wire/codec.h).
 *
 * An operation either changes the state (it goes through the log) or reads it (it waits for a read
 * index); fs_op_is_write() tells which. */
#ifndef RFS_BASE_OP_H
#define RFS_BASE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"

#define FS_ROOT_INO        1u
#define FS_NAME_BYTES_MAX  255u
#define FS_PATH_BYTES_MAX  4095u      /* a key of raftctl, and a symlink's target */
#define FS_WRITE_BYTES_MAX (1u << 20) /* one write, seen entirely or not at all */
#define FS_READ_BYTES_MAX  (1u << 20)
#define FS_FILE_BYTES_MAX  (1ull << 40)        /* largest file size; beyond it -EFBIG */
#define FS_COPY_BYTES_MAX  (1u << 20)          /* copied within the servers by one entry … */
#define FS_ADOPT_BYTES_MAX (16u << 20)         /* … and by one ADOPT */
#define FS_RANGES_MAX      4096u               /* of an ADOPT */
#define FS_XATTR_BYTES_MAX 65536u              /* one value; beyond it -E2BIG */
#define FS_XATTR_VERSION   "user.raft.version" /* readable of every inode, stored of none */

/* Borrowed bytes, not terminated; names are any bytes but '/' and NUL. */
struct fs_str {
	const char *p;
	uint32_t len;
};

#define FS_STR(literal) ((struct fs_str){(literal), (uint32_t)(sizeof(literal) - 1)})
struct fs_str fs_str_of(const char *terminated);

/* Numbers are part of the wire and the log: never reuse or renumber one. */
enum fs_op_kind {
	FS_OP_NONE = 0,

	/* Changes. Fields used stand behind each; `mode` always with its S_IFMT bits. */
	FS_OP_SESSION_OPEN = 1,   /* size: timeout in ms. result.value = session id = index */
	FS_OP_SESSION_CLOSE = 2,  /* the session of the command: by its client */
	FS_OP_SESSION_EXPIRE = 3, /* ino: session id; by the leader */
	FS_OP_MKNOD = 4, /* parent name mode uid gid rdev flags(EXCL); data: symlink target.
	                     * Without EXCL an existing regular file is returned as it is.
	                     * flags(TMPFILE): a regular file without a name, this session's until
	                     * it is linked, released, or the session ends.
	                     * flags(ACL): umask */
	FS_OP_LINK = 5, /* ino parent name flags(TMPFILE: the inode may be a file without a name) */
	FS_OP_UNLINK = 6,   /* parent name keep_ino */
	FS_OP_RMDIR = 7,    /* parent name */
	FS_OP_RENAME = 8,   /* parent name parent2 name2 flags(NOREPLACE, EXCHANGE) keep_ino */
	FS_OP_SETATTR = 9,  /* ino valid + the fields it names */
	FS_OP_WRITE = 10,   /* ino offset data flags(APPEND, TRUNC). value = offset written at */
	FS_OP_RELEASE = 11, /* ino: this session no longer needs its unlinked inode */
	FS_OP_PUT = 12,     /* name: path; data; parents are made; replaces the whole content.
	                     * mode: permission bits for a new file, 0 = 0644 */
	FS_OP_DELETE = 13,  /* name: path; flags(RECURSIVE); a directory must be empty without it */

	/* Locks, of the command's session and `lock_owner`. A range is offset and size, as fcntl(2)
	 * has it: size 0 is up to any end. All with flags(LOCK_BYTES) or without.
	 * LOCK gives the lock's token as value, -EDEADLK, -ENOLCK, or if others have it -EAGAIN; with
	 * LOCK_WAIT then RFS_EWAITING, and as value the index to ask for by LOCK_AWAIT. */
	FS_OP_LOCK = 14,        /* ino lock_owner pid range flags(LOCK_SHARED, LOCK_WAIT) */
	FS_OP_UNLOCK = 15,      /* ino lock_owner range. value = locks of the owner that are left */
	FS_OP_LOCK_CANCEL = 16, /* ino lock_seq: of the LOCK that is to wait no longer. -ENOENT.
	                         * flags(LOCK_UNDO): a whole-file lock that it got is given up */
	FS_OP_LOCK_BREAK = 17,  /* name: path; it is no longer locked. value = how many locks */

	/* ino name data flags(EXCL, MUST_EXIST). An access control list (acl.h) is taken where it makes sense (-EACCES: a
	 * default one of no directory, -EOPNOTSUPP: of a symlink); an access list changes the mode, too, and with
	 * KILL_SGID set-group-id goes. Neither EXCL nor MUST_EXIST counts for them */
	FS_OP_SETXATTR = 18,
	FS_OP_REMOVEXATTR = 19, /* ino name. -ENODATA, but of an access control list */
	FS_OP_FALLOCATE =
	        20,      /* ino offset size mode(enum fs_falloc) flags(KILL_SUID). value = 0; or
	                         * where zeros would free more than one entry may: it is done up to
	                         * there, and is to be asked for again from there on */
	FS_OP_COPY = 21, /* ino2 offset2: from; ino offset: to; size; flags(KILL_SUID).
	                         * value = bytes copied: less than `size` at the end of the source, and
	                         * where it is more than FS_COPY_BYTES_MAX */
	FS_OP_TRIM = 22, /* size: ms; by the leader: files without names that have lingered for
	                         * so long are freed, and a piece of the large ones that are gone */

	FS_OP_TXN = 24, /* data: steps (txn.h), all carried out or none; mode uid gid: of new files.
	                 * value = how many changes; or, with an error, which step is in the way, from
	                 * 1 on: RFS_EPRECONDITION (with the attributes of what is there), or as PUT
	                 * and DELETE. -EINVAL also where changes concern one key twice, or a key and
	                 * one below it */

	/* name: path of a directory, or the root for the whole; size: bytes, offset: inodes; 0: no such
	 * limit. -EBUSY: within another tree, or one is within it; -EXDEV: something in it has a name
	 * outside; -E2BIG: too much in it already; -EUSERS: too many trees */
	FS_OP_QUOTA_SET = 25,

	/* The bytes of `ino2`, a file without a name that is this session's (MKNOD, TMPFILE), become those of `ino`, in
	 * this one entry, and `ino2` is gone. With TRUNC, or where `ino` is empty at apply, they take the place of all
	 * there was, whatever their number, without being copied. With APPEND they are put behind what is there;
	 * otherwise data: ranges (fs_range) within `ino2`, in ascending order and apart, which are copied to the same
	 * place. What is copied is at most FS_ADOPT_BYTES_MAX, else -EFBIG. flags(TRUNC, APPEND, KILL_SUID). value =
	 * offset of an APPEND. -ESTALE: `ino` is gone, or `ino2` is no such file; with any error it stays */
	FS_OP_ADOPT = 26, /* ino ino2 data flags */

	/* Reads. */
	FS_OP_LOOKUP = 64,   /* parent name -> attr; ".." is the directory above */
	FS_OP_GETATTR = 65,  /* ino -> attr */
	FS_OP_READ = 66,     /* ino offset size -> data (short only at end of file), attr */
	FS_OP_READLINK = 67, /* ino -> data */
	FS_OP_READDIR = 68,  /* ino offset(cookie, 0 = start) size(bytes of result) -> data: dirents
	                      * with attributes (flags(NAMES): number and type alone), attr of the
	                      * directory; no "." and "..". value = 1: that was all, 0: not known */
	FS_OP_STATFS = 69,   /* -> data: struct fs_statfs encoded by fs_statfs_put() */
	FS_OP_GET = 70,      /* name: path -> attr and data: the first FS_READ_BYTES_MAX bytes */
	FS_OP_RESOLVE = 71,  /* name: path -> attr */
	/* LOCK_AWAIT: RFS_EWAITING, or value = the token; -ENOENT: neither held nor waiting. Any state
	 * that is not before lock_token will do. */
	FS_OP_LOCK_TEST = 72,  /* ino lock_session lock_owner range flags(LOCK_SHARED) -> data: the
	                        * fs_lock in the way, or nothing */
	FS_OP_LOCK_AWAIT = 73, /* ino lock_session lock_owner lock_token: LOCK's value */
	FS_OP_LOCK_LIST = 74,  /* ino offset: id; behind that lock. size: bytes -> data: fs_locks */
	FS_OP_GETXATTR = 75,   /* ino name -> data, attr */
	FS_OP_LISTXATTR = 76,  /* ino -> data: names, each with a NUL behind it; attr */
	FS_OP_SEEK = 77,       /* ino offset flags(HOLE) -> value = where data, or with HOLE a hole,
	                       * begins at or behind offset; attr. Nothing there: -ENXIO */
	FS_OP_QUOTA_LIST = 78, /* -> data: every limit that is set, in any order: fs_quota_next() */
};

enum fs_op_flag {
	FS_F_EXCL = 1u << 0,
	FS_F_NOREPLACE = 1u << 1,
	FS_F_EXCHANGE = 1u << 2,
	FS_F_APPEND = 1u << 3, /* the offset is the size at apply */
	FS_F_TRUNC = 1u << 4,  /* size becomes 0 first, in the same entry */
	FS_F_RECURSIVE = 1u << 5,
	FS_F_KILL_SUID = 1u << 6,  /* clear set-id bits, as POSIX asks of a write by another user */
	FS_F_LOCK_BYTES = 1u << 7, /* fcntl(2)'s byte ranges; without it flock(2)'s whole files */
	FS_F_LOCK_SHARED = 1u << 8, /* without it exclusive */
	FS_F_LOCK_WAIT = 1u << 9,
	/* Any change of `ino`: only as long as the command's session has lock_owner's lock of
	 * lock_token (and LOCK_BYTES), else -ESTALE and no change. */
	FS_F_FENCED = 1u << 10,
	/* PUT, DELETE, RENAME (of the new name): only if the key is at this `version` (0: does not
	 * exist), else RFS_EPRECONDITION, with the attributes of what is there. */
	FS_F_IF_VERSION = 1u << 11,
	FS_F_MUST_EXIST = 1u << 12,
	FS_F_TMPFILE = 1u << 13,
	FS_F_NAMES = 1u << 14,
	FS_F_HOLE = 1u << 15,
	FS_F_LOCK_UNDO = 1u << 16,
	/* WRITE, ADOPT: it was written at mtime_ns, if that is before the entry's own time. */
	FS_F_WRITTEN_BEFORE = 1u << 17,
	/* MKNOD: a default access control list of the directory makes mode and list of what is new, out of `mode` as it
	 * was asked for; without one `umask` counts. Without this flag nothing is inherited. */
	FS_F_ACL = 1u << 18,
	FS_F_KILL_SGID = 1u << 19,
};

/* What FS_OP_FALLOCATE does with the range. No room is set aside by any of them. */
enum fs_falloc {
	FS_FALLOC_EXTEND = 0, /* the file reaches at least up to its end */
	FS_FALLOC_KEEP_SIZE = 1,
	FS_FALLOC_PUNCH = 2, /* it reads as zeros, and becomes a hole; the size stays */
	FS_FALLOC_ZERO = 3,  /* it reads as zeros, and the file reaches up to its end */
	FS_FALLOC_ZERO_KEEP_SIZE = 4,
};

/* Which fields of FS_OP_SETATTR count. */
enum fs_attr_valid {
	FS_SET_MODE = 1u << 0,
	FS_SET_UID = 1u << 1,
	FS_SET_GID = 1u << 2,
	FS_SET_SIZE = 1u << 3,
	FS_SET_ATIME = 1u << 4,
	FS_SET_MTIME = 1u << 5,
	FS_SET_ATIME_NOW = 1u << 6,
	FS_SET_MTIME_NOW = 1u << 7,
	FS_SET_CTIME = 1u << 8,
};

/* Protocol versions. Nodes agree on one per connection (net.h) and on one for the cluster
 * (store_version()): the state machine may only be told what every member understands, or their
 * states part. Version 2 adds all that stands behind `case …: return 2` and in FS_FLAGS_2 of op.c. */
#define FS_VERSION_MIN 1u
#define FS_VERSION_MAX 2u

struct fs_op {
	enum fs_op_kind kind;
	uint32_t flags; /* enum fs_op_flag */
	uint32_t valid; /* enum fs_attr_valid */
	uint64_t ino, parent, parent2, keep_ino, ino2;
	struct fs_str name, name2;
	uint32_t mode, uid, gid;
	uint32_t umask; /* FS_F_ACL */
	uint64_t rdev;
	uint64_t offset, size, offset2;
	int64_t atime_ns, mtime_ns, ctime_ns; /* since the epoch */
	const void *data;                     /* borrowed */
	uint32_t data_len;
	uint64_t version; /* FS_F_IF_VERSION */
	uint64_t lock_owner, lock_token, lock_session, lock_seq;
	uint32_t pid; /* for those who look at locks */
};

struct fs_attr {
	uint64_t ino;
	uint64_t version;      /* log index of the last change */
	uint64_t size, blocks; /* bytes; 512-byte units */
	uint64_t rdev;
	uint32_t mode, nlink, uid, gid;
	int64_t atime_ns, mtime_ns, ctime_ns;
};

/* What an operation gave. `err` is 0 or a negative errno that the state machine decided (the
 * operation's own outcome), or a code of err.h when there was no outcome to be had. */
struct fs_result {
	int err;
	bool has_attr;
	struct fs_attr attr;
	uint64_t value;   /* see the operation */
	uint64_t index;   /* log index at which it was applied, or as of which it was read */
	const void *data; /* borrowed from whoever gives the result, until the callback returns */
	uint32_t data_len;
};

bool fs_op_is_write(enum fs_op_kind kind);
/* Whether a change makes the state larger for good, and so needs room on the disks. What removes, cuts
 * off, renames or rewrites attributes does not, nor do sessions and locks. */
bool fs_op_grows(const struct fs_op *op);
const char *fs_op_name(enum fs_op_kind kind); /* "write"; "?" for an unknown number */

/* Who may ask for it. */
enum fs_op_by {
	FS_BY_SERVER,   /* nobody but the leader itself; also of unknown numbers */
	FS_BY_STRANGER, /* a client that names no session */
	FS_BY_SESSION,  /* a client in a session, with a number that tells a repeat */
	FS_BY_ANYONE,   /* any client: reads */
};
enum fs_op_by fs_op_by(enum fs_op_kind kind);

/* What it takes to be allowed to ask, where clients are told apart (src/node/rights.c). */
enum fs_right {
	FS_RIGHT_READ,
	FS_RIGHT_CHANGE,
	FS_RIGHT_ADMIN, /* what is done to the cluster, or to what is others' */
};
enum fs_right fs_op_right(enum fs_op_kind kind);

/* The protocol version from which on `op` means what it means here; UINT32_MAX if this program
 * knows no such kind or flag. Decides by kind and flags alone: a new field counts only under a kind
 * or a flag of its own version, since older nodes drop it. */
uint32_t fs_op_protocol(const struct fs_op *op);

/* A copy of `op` with everything it points to, in one allocation: free() it. */
struct fs_op *fs_op_dup(const struct fs_op *op);

/* Whether `name` can stand in a directory: 0, -EINVAL (empty, ".", "..", '/' or NUL in it) or
 * -ENAMETOOLONG. */
int fs_name_check(struct fs_str name);

/* Whether `name` can be an extended attribute's: 0, -EINVAL, -ERANGE. */
int fs_xattr_name_check(struct fs_str name);

/* Whether `path` can be a key: components that pass fs_name_check(), joined by single slashes, one
 * leading slash allowed and ignored. 0, -EINVAL, -ENAMETOOLONG. */
int fs_path_check(struct fs_str path);

/* Take the first component off `rest` (slashes skipped); false at the end. */
bool fs_path_next(struct fs_str *rest, struct fs_str *component);

/* The body of READDIR's result: dirents one after the other. `cookie` continues the listing behind
 * this entry and stays valid while entries come and go; 3 <= cookie < 2^63. */
struct fs_dirent {
	uint64_t cookie;
	struct fs_attr attr;
	struct fs_str name;
};

void fs_dirent_put(struct buf *b, const struct fs_dirent *d);
bool fs_dirent_next(struct reader *r,
                    struct fs_dirent *d); /* name borrowed; false at end or r->bad */

/* Fixed-size form of attributes, shared by dirents and the store's records. */
#define FS_ATTR_BYTES 80u
void fs_attr_put(struct buf *b, const struct fs_attr *a);
void fs_attr_get(struct reader *r, struct fs_attr *a);

/* A lock that is held, or that waits (LOCK_WAIT), as LOCK_TEST and LOCK_LIST give it. */
struct fs_lock {
	uint64_t ino, id;
	uint64_t session, owner;
	uint64_t offset, size; /* size 0: up to any end */
	uint64_t token;        /* index at which it was granted; of one that waits: asked for */
	uint32_t flags;        /* LOCK_BYTES, LOCK_SHARED, LOCK_WAIT */
	uint32_t pid;
};

#define FS_LOCK_BYTES 64u
void fs_lock_put(struct buf *b, const struct fs_lock *l);
bool fs_lock_next(struct reader *r, struct fs_lock *l); /* false at end or r->bad */

/* A piece of a file, as ADOPT takes them: not empty. */
struct fs_range {
	uint64_t offset, len;
};

#define FS_RANGE_BYTES 16u
void fs_range_put(struct buf *b, const struct fs_range *range);
bool fs_range_next(struct reader *r, struct fs_range *range); /* false at end or r->bad */

/* The body of QUOTA_LIST's result. `path` is empty for the whole, without a slash at its front. */
struct fs_quota {
	uint64_t bytes_max, inodes_max; /* 0: no limit */
	uint64_t bytes, inodes;         /* used */
	struct fs_str path;
};

void fs_quota_put(struct buf *b, const struct fs_quota *q);
bool fs_quota_next(struct reader *r, struct fs_quota *q); /* path borrowed; false at end or bad */

struct fs_statfs {
	uint64_t bytes_total,
	        bytes_free; /* of the file system under the answering node's data directory */
	uint64_t inodes_used;
	uint64_t bytes_used; /* sum of the sizes of all files */
};

void fs_statfs_put(struct buf *b, const struct fs_statfs *s);
bool fs_statfs_get(struct reader *r, struct fs_statfs *s);

#endif

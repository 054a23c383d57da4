/* The replicated state machine: a tree of inodes with their bytes, and the clients' sessions, in an
 * ordered key-value engine (RocksDB with its own WAL off: the Raft log is the WAL).
 *
 * Apply is deterministic: the same commands at the same positions leave the same records on every
 * node. Everything that depends on the state is decided here: O_EXCL, append offsets, emptiness,
 * NOREPLACE. Records, applied position, sessions and digest of a batch go into the engine in one
 * atomic write.
 *
 * Record formats: docs/store-format.md. Thread: the owner's loop. */
#ifndef RFS_STORE_STORE_H
#define RFS_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/entry.h"
#include "../base/err.h"
#include "../base/op.h"

struct store;
struct store_engine;

/* A file's bytes live in pieces of this size. A change rewrites the pieces it touches, which costs
 * least per change at 16 KiB; a large write or read costs least per byte at 64 KiB. */
#define STORE_CHUNK_BYTES          16384u
#define STORE_INLINE_BYTES         4096u /* unless it has this few: then in the inode itself */
#define STORE_MEMBERSHIP_BYTES_MAX 65536u

/* A command as it stands in the log. */
struct store_cmd {
	uint64_t session; /* 0: none, no exactly-once (SESSION_OPEN, the leader's own commands) */
	uint64_t seq;     /* 1, 2, … within the session */
	uint64_t lowest;  /* the client has all answers below this one; they are forgotten */
	uint64_t time_ns; /* the leader's clock when it was proposed */
	const struct fs_op *op;
};

/* A change that a command made; the source of watches, events and later of cache leases. */
enum store_change_kind {
	STORE_CHANGE_CREATE = 1,
	STORE_CHANGE_MODIFY = 2, /* bytes, size or attributes */
	STORE_CHANGE_REMOVE = 3,
	STORE_CHANGE_RENAME = 4, /* gone from the old name, there under this one, in one step */
};

struct store_change {
	raft_index index;
	enum store_change_kind kind;
	uint64_t ino, parent;
	struct fs_str name;     /* borrowed during the call; empty where only the inode changed */
	uint64_t old_parent;    /* RENAME: where it was; else 0 … */
	struct fs_str old_name; /* … and empty */
	uint64_t version;
	uint64_t session; /* whose change it is; 0: nobody's (the leader's, a node's) */
	uint32_t mode;    /* of the inode, with its type */
};

/* A lock waits no longer (FS_OP_LOCK with LOCK_WAIT). Whoever asked for it knows it by the index
 * of that entry, or by session and seq. */
struct store_lock_news {
	uint64_t session, seq;
	uint64_t ino;
	raft_index asked;
	int err;        /* 0: held now; -EINTR: cancelled; RFS_ESESSION: its session has ended */
	uint64_t token; /* of the lock that is held: index of the entry that granted it */
};

struct store_opts {
	bool memory; /* the in-memory engine (tests, simulator); `dir` is ignored */
	/* Use this engine instead, which stays the caller's and open after store_close(); `dir` is
	 * ignored. The simulator keeps its disks that way. */
	struct store_engine *engine;
	uint32_t version_max; /* of the cluster's version that may be taken; 0: FS_VERSION_MAX */
	/* May be NULL; called during store_apply(). */
	void (*on_change)(void *ctx, const struct store_change *c);
	/* The same; one entry can give many. */
	void (*on_lock)(void *ctx, const struct store_lock_news *news);
	void *ctx;
};

/* Open or make the store in `dir` (whose parent must exist). What a crash left of an import or of a
 * switch to it (snapshot.h) is finished or removed first. Errors: RFS_ECORRUPT, RFS_EVERSION (of a
 * newer program, or beyond version_max), -EBUSY (open in another process), -errno. */
int store_open(struct store **out, const char *dir, const struct store_opts *opts,
               struct rfs_err *err);

/* Close; what was committed and not flushed is flushed first, what was not committed is dropped.
 * Takes `s`; NULL is fine. */
void store_close(struct store *s);

/* Let go of `s` as if its process had died: nothing is committed or flushed. Only for a store on a
 * caller's engine. Takes `s`. */
void store_abandon(struct store *s);

/* The position of the last command applied and committed; a reopened store may be behind where it
 * was (the log has the rest), never ahead and never in between. */
struct raft_pos store_applied(const struct store *s);

/* Apply one command; its position must follow the last one's. `op` NULL: an entry without a command
 * (a no-op), only the position moves. `res` is the answer for the client, stored with the session
 * if there is one; a duplicate gets the stored answer and changes nothing. res->data is borrowed
 * until the next call. A command that is malformed, or of an unknown kind, is answered -EINVAL (the
 * same on every node). Refused, and not done now: RFS_ESESSION (no such session), RFS_EUNKNOWN
 * (below the session's lowest: done once, its answer forgotten), RFS_EBUSYLIMIT (4096 answers of
 * the session are not acknowledged). Returns 0, or a negative error of the engine: then the store
 * must not be used further. */
int store_apply(struct store *s, struct raft_pos pos, const struct store_cmd *cmd,
                struct fs_result *res, struct rfs_err *err);

/* Apply an entry that holds a membership configuration: it takes the place of the one before, as a
 * record of its own and so as part of the digest and of every snapshot. The bytes are not looked
 * at. As store_apply() with regard to position, batch and errors; more than
 * STORE_MEMBERSHIP_BYTES_MAX is -EFBIG, an error of the engine's kind. */
int store_set_membership(struct store *s, struct raft_pos pos, const void *conf, size_t len,
                         struct rfs_err *err);

/* The configuration applied last and its position; 0 bytes at position 0 if there never was one.
 * *conf is borrowed until the next store_set_membership(). */
void store_get_membership(const struct store *s, struct raft_pos *pos, const void **conf,
                          size_t *len);

/* Apply an entry that raises the cluster's protocol version (op.h), a record of its own as the
 * configuration is; one that does not raise it changes nothing. From here on operations of that
 * version are carried out; before, they are answered -EINVAL, as a node that does not know them
 * answers. So everything that makes an operation of an older version act in another way asks
 * store_version() first. As store_apply() with regard to position, batch and errors; beyond
 * version_max it is RFS_EVERSION: this node must not go on. */
int store_set_version(struct store *s, struct raft_pos pos, uint32_t version, struct rfs_err *err);
/* What the cluster as a whole may hold; 0: no such limit. */
uint64_t store_quota_bytes_max(const struct store *s);
uint64_t store_quota_inodes_max(const struct store *s);

uint32_t store_version(const struct store *s); /* FS_VERSION_MIN until it was raised */

/* End a batch of store_apply(): everything since the last commit becomes visible to store_read() of
 * the next process life together or not at all. (Reads of this life see applied commands at once.)
 * -ENOSPC alone leaves the store usable: the batch stays open, so try again later; whoever goes on
 * applying meanwhile makes it grow. */
int store_commit(struct store *s, struct rfs_err *err);

/* What the batch takes in memory that the next store_commit() makes part of the state. */
uint64_t store_batch_bytes(const struct store *s);

/* Answer a read from the current state. res->data is borrowed until the next call. Any outcome that
 * a caller can have caused stands in res->err; returns 0 or a negative error of the engine. */
int store_read(struct store *s, const struct fs_op *op, struct fs_result *res, struct rfs_err *err);

/* A digest of all replicated records as of `pos`: equal states have equal digests, in any order of
 * building them. Kept up to date with every change, so asking is free. */
struct store_digest {
	struct raft_pos pos;
	uint64_t value;
};
void store_get_digest(const struct store *s, struct store_digest *d);

/* Recompute the digest from every record, and check what the records must agree on (links, sizes,
 * orphans). 0, or RFS_ECORRUPT with the first disagreement. Slow: the whole store is read. */
int store_verify(struct store *s, struct rfs_err *err);
/* The same, which calls `told` now and then with the bytes of records it has seen. */
int store_verify_telling(struct store *s, void (*told)(void *ctx, uint64_t bytes), void *ctx,
                         struct rfs_err *err);

/* Call `each` for every open session. */
void store_each_session(struct store *s, void (*each)(void *ctx, uint64_t id, uint64_t timeout_ms),
                        void *ctx);

/* Call `each` for every name of every directory; `name` is borrowed during the call, in which the
 * store must not be used. The whole of them is read. 0 or an error of the engine. */
typedef void (*store_name_cb)(void *ctx, uint64_t parent, struct fs_str name, uint64_t ino);
int store_each_name(struct store *s, store_name_cb each, void *ctx, struct rfs_err *err);

/* Whether `session` is open and has no command `seq` applied: a command that was not applied, and has
 * not been acknowledged as applied. */
bool store_session_is_new(const struct store *s, uint64_t session, uint64_t seq);

/* Files without names that are kept for those who may have them open. */
uint64_t store_lingering(const struct store *s);

/* Whether a command (FS_OP_TRIM) would free something at that time: what is left of large files that are gone, or
 * files that have lingered for long enough. */
bool store_has_to_free(const struct store *s, uint64_t time_ns);

struct store_freeing {
	uint64_t contents; /* of large files that are gone or were cut, not freed yet */
	uint64_t chunks,
	        chunks_most; /* freed since the store was opened, and the most by one entry */
};
void store_get_freeing(const struct store *s, struct store_freeing *f);

struct store_counts {
	uint64_t inodes, bytes, sessions; /* bytes: sum of the files' sizes */
};
void store_get_counts(const struct store *s, struct store_counts *c);

/* ---- durable position, disk ---- */

/* Where a reopened store would be at least, however the process ends. At or below this the log may
 * be cut. */
struct raft_pos store_durable(const struct store *s);

/* The snapshot this store was built from (snapshot.h); 0 if it never was. */
struct raft_pos store_installed(const struct store *s);

/* Flush to disk what has been committed; *durable is then store_durable(). Blocks. -ENOSPC leaves
 * the store usable, other errors do not. */
int store_flush(struct store *s, struct raft_pos *durable, struct rfs_err *err);

/* The same in three steps, so that the owner need not wait:
 *
 *   begin  owner         notes what has been committed
 *   work   any thread    blocks (uv_queue_work); the owner goes on with everything but close
 *   end    owner         afterwards; gives position or error as store_flush() does, takes `f`
 *
 * One at a time: begin returns NULL while another one runs, when there is nothing to flush, or when
 * the store has failed. On a memory engine `work` is for the owner's thread, too. */
struct store_flush;
struct store_flush *store_flush_begin(struct store *s);
void store_flush_work(struct store_flush *f);
int store_flush_end(struct store_flush *f, struct raft_pos *durable, struct rfs_err *err);

/* Give the disk back the room of what was removed, which otherwise comes back little by little: for a
 * disk that is nearly full. Blocks; needs some room itself, and gives up quietly where there is none.
 * Any thread, one at a time; the owner goes on with everything but close. */
void store_reclaim(struct store *s);
/* The same will end soon, now and for the rest of the store's life. Thread: owner. */
void store_reclaim_stop(struct store *s);

/* Bytes that the store's files take on disk, unfinished imports included; 0 in memory. Reads the
 * directories. Any thread. */
uint64_t store_disk_bytes(const struct store *s);

#endif

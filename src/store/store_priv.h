/* What the files of the store share. Two kinds of failure never mix:
 *
 *   an outcome, 0 or a negative errno, is what an operation gives its caller, the same on every
 * node; a failure of the engine or damaged records stick in s->fail, and functions return
 * STORE_FAILED for it.
 *
 * So any value but 0 ends an operation at once, and the two functions of store.h look at s->fail
 * last. An operation checks everything that can make its outcome negative before it changes the
 * first record. */
#ifndef RFS_STORE_STORE_PRIV_H
#define RFS_STORE_STORE_PRIV_H

#include <uthash.h>
#include "../base/buf.h"
#include "engine.h"
#include "record.h"
#include "store.h"

#define STORE_FAILED (-9999)

#define STORE_LINKS_MAX        65000u      /* hard links of a file; then -EMLINK */
#define STORE_DIR_LINKS_MAX    0x7fffffffu /* two and the directories in a directory */
#define STORE_DENTRY_ORDINALS  256u        /* names of one hash in one directory */
#define STORE_DENTRY_HASH_MASK ((1ull << 55) - 1)
#define STORE_REPLIES_MAX      4096u /* unacknowledged replies of a session */
/* A file without names lingers this long, or until there are too many of them (linger.c). */
#define STORE_LINGER_NS          (30ll * 1000 * 1000 * 1000)
#define STORE_LINGER_INODES_MAX  65536u
#define STORE_LINGER_BYTES_MAX   (64ull << 20)
#define STORE_LINGER_FREED_MAX   64u   /* by one command */
#define STORE_SEEK_CHUNKS_MAX    8192u /* looked at for a hole */
#define STORE_LINGER_TRIMMED_MAX 1024u /* by one that was made for it */
/* Chunks of files that are gone (content.c). */
#define STORE_FREED_MAX     256u /* freed by one command */
#define STORE_FREED_AT_ONCE 64u  /* contents of more wait */
/* Freed of what waits by a command that was not made for it, and so many more for each chunk that it brings. */
#define STORE_FREED_BESIDE         8u
#define STORE_FREED_BESIDE_A_CHUNK 2u
#define STORE_FREEING_VERSION      2u /* of the cluster, from which on contents wait */
/* Locks; beyond them -ENOLCK. */
#define STORE_LOCKS_SESSION_MAX      65536u /* held by a session, or waited for */
#define STORE_LOCKS_INODE_MAX        8192u  /* held on an inode */
#define STORE_LOCKS_WAITING_MAX      4096u  /* for an inode */
#define STORE_QUOTAS_MAX             1024u
#define STORE_QUOTA_TAGGED_MAX       50000u /* inodes that may be below a directory that gets one */
#define STORE_SESSION_TIMEOUT_MS_MAX (7ull * 24 * 3600 * 1000)

struct store_session;
struct store_lingerers;
struct store_freeings;
struct store_locks;
struct store_quota;
struct store_slot;

struct store {
	uint32_t magic;
	struct store_engine *e;
	bool engine_borrowed;
	char *dir; /* for messages and statvfs; NULL for memory */
	struct store_opts opts;

	struct record_meta m;      /* as after the last command applied */
	struct raft_pos committed; /* … and what the engine has, and has on disk */
	struct raft_pos durable;
	bool flushing;
	size_t snapshots; /* open ones */
	struct store_session *sessions;
	struct store_lingerers *lingerers;
	struct store_freeings *freeings;
	struct store_quota *quotas;
	struct store_locks *locks;
	struct rfs_err fail;

	struct raft_pos pos; /* of the command being applied, and its time */
	int64_t now_ns;
	uint64_t session;
	uint64_t freed; /* chunks, by that command */
	uint64_t freed_most, freed_total;

	/* STORE_FREED_…; tests lower them, alike on all nodes */
	uint32_t freed_max, freed_at_once, freed_beside;
	uint64_t dentry_hash_mask; /* tests narrow it so that names collide */

	struct buf rec;   /* a record being written */
	struct buf out;   /* data of a result */
	struct buf chunk; /* a chunk being changed */

	struct buf membership; /* the configuration's bytes */
	struct raft_pos membership_pos;
	uint64_t membership_weight;
	uint32_t version; /* the cluster's */
	uint64_t version_weight;
};

/* ---- state.c: records with their weight in the digest ---- */

/* Note a failure; returns STORE_FAILED. The first one stays. */
int store_fail(struct store *s, int code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* Note that the record behind `key` is damaged. */
int store_fail_record(struct store *s, struct engine_bytes key, const char *what);

uint64_t store_weight(struct engine_bytes key, struct engine_bytes value);

/* 1 with *value borrowed until the next store_state_*() call, 0, STORE_FAILED. */
int store_state_get(struct store *s, const struct record_key *k, struct engine_bytes *value);
/* Put or delete where the old record's weight is known (0: there was none). */
int store_state_put(struct store *s, const struct record_key *k, struct engine_bytes v,
                    uint64_t old_weight, uint64_t *new_weight);
int store_state_del(struct store *s, const struct record_key *k, uint64_t old_weight);

/* Iterate. While one is open nothing may be changed. next: 1, 0, STORE_FAILED; the key has passed
 * record_key_parse(). */
struct store_walk {
	struct engine_iter *it;
	struct record_key_parts key;
	struct engine_bytes key_bytes, value;
};
void store_walk_open(struct store *s, struct store_walk *w, const struct record_key *prefix,
                     const struct record_key *from);
int store_walk_next(struct store *s, struct store_walk *w);
void store_walk_close(struct store *s, struct store_walk *w);

void store_emit(struct store *s, const struct store_change *c);

/* Before an entry's changes and after them; the failure if there is one. */
int store_begin(struct store *s, struct raft_pos pos, struct rfs_err *err);
int store_end(struct store *s, struct rfs_err *err);
int store_give_failure(const struct store *s, struct rfs_err *err);

/* ---- membership.c ---- */

int store_membership_load(struct store *s);

/* ---- version.c ---- */

int store_version_load(struct store *s);

/* ---- place.c: the directories of a store on disk ---- */

#define STORE_PATH_MAX 4096
enum store_place {
	STORE_PLACE_OWN,    /* DIR, the store itself */
	STORE_PLACE_IMPORT, /* DIR.import, being built */
	STORE_PLACE_NEW,    /* DIR.new, built and synced, to be switched to */
	STORE_PLACE_OLD,    /* DIR.old, switched from */
};

int store_place_path(const char *dir, enum store_place place, char out[STORE_PATH_MAX],
                     struct rfs_err *err);
/* Before the engine opens DIR: finish a switch that was begun. */
int store_place_recover(const char *dir, struct rfs_err *err);
/* After it did, so that nobody else has it: remove what is left of imports and switches. */
int store_place_clean(const char *dir, struct rfs_err *err);
int store_place_remove(const char *dir, enum store_place place, struct rfs_err *err);
/* An import is built: sync every file of it, and give it the name of a finished one. */
int store_place_finish(const char *dir, struct rfs_err *err);
/* The first `steps` steps of store_switch(), for tests; UINT_MAX: all. */
int store_place_switch(const char *dir, unsigned steps, struct rfs_err *err);
uint64_t store_place_bytes(const char *dir);

/* ---- inode.c ---- */

/* An inode in hand. Small content is in data[0..attr.size). */
struct store_inode {
	struct fs_attr attr;
	uint64_t parent, entries;
	uint32_t xattrs, quota;
	uint64_t content; /* the number under which its chunks stand; docs/store-format.md */
	uint64_t weight;  /* of the record as it is in the engine; 0: none yet */
	uint8_t data[STORE_INLINE_BYTES];
};

/* 0, or `absent` (the caller's errno for it), or STORE_FAILED. */
int store_inode_load(struct store *s, uint64_t ino, int absent, struct store_inode *n);
/* … and that it is a directory, -ENOTDIR. */
int store_inode_load_dir(struct store *s, uint64_t ino, struct store_inode *n);
/* … that a name leads to: it must be there. */
int store_inode_load_entry(struct store *s, const struct store_slot *slot, struct store_inode *n);
int store_inode_save(struct store *s, struct store_inode *n);
/* A new one with the next number and the times of this command, to be put into `dir`, whose group
 * it inherits if that has its set-group-id bit; counted, not yet saved. */
void store_inode_init(struct store *s, struct store_inode *n, const struct store_inode *dir,
                      uint32_t mode, uint32_t uid, uint32_t gid);
int store_inode_make_root(struct store *s); /* of a new store; saved */
/* Remove it with all its bytes. */
int store_inode_free(struct store *s, struct store_inode *n);
/* Note a change, now or then: ctime, and mtime where the content changed, go up; version. */
void store_inode_touch(struct store *s, struct store_inode *n, bool content);
void store_inode_touch_at(struct store *s, struct store_inode *n, int64_t time_ns, bool content);

/* ---- file.c: a regular file's bytes; the inode is the caller's to save ---- */

int store_file_resize(struct store *s, struct store_inode *n, uint64_t size);
int store_file_write(struct store *s, struct store_inode *n, uint64_t offset, const void *data,
                     size_t len);
/* Append up to `len` bytes from `offset` to `out`; fewer only at the end of the file. */
int store_file_read(struct store *s, const struct store_inode *n, uint64_t offset, uint64_t len,
                    struct buf *out);
int store_file_clear(struct store *s, struct store_inode *n); /* its chunks are nobody's */
/* Exchange the bytes of two files; chunks stay where they are. */
int store_file_swap(struct store *s, struct store_inode *a, struct store_inode *b);
/* Make `len` bytes from `offset` on read as zeros, within the size; whole pieces become holes, no more of them than one
 * command may free: it is done up to `*done`. */
int store_file_zero(struct store *s, struct store_inode *n, uint64_t offset, uint64_t len,
                    uint64_t *done);
/* Where data, or a hole, begins at or behind `offset`, which lies within the size; the end of the file is a hole.
 * -ENXIO: only holes follow. */
int store_file_seek(struct store *s, const struct store_inode *n, uint64_t offset, bool hole,
                    uint64_t *found);

/* ---- content.c: the chunks under a content's number ---- */

struct store_dropped {
	uint64_t chunks, blocks;
	uint64_t next; /* what was to be removed below this number is gone */
};

/* Remove `most` chunks from number `from` on and below `end`, or all there are. */
int store_content_drop(struct store *s, uint64_t content, uint64_t from, uint64_t end,
                       uint64_t most, struct store_dropped *gone);
/* A content of at most `chunks` is nobody's any more: it goes now if that is little, else bit by bit. */
int store_content_free(struct store *s, uint64_t content, uint64_t chunks);
bool store_content_goes_at_once(const struct store *s, uint64_t chunks); /* so few */
/* The file `ino`, whose content it is, does not look at its chunks from number `from` on any more: they wait to be
 * freed, and count among its blocks until then. */
int store_content_cut(struct store *s, uint64_t content, uint64_t ino, uint64_t from);
uint64_t store_content_tail(const struct store *s, uint64_t content); /* that number; UINT64_MAX */
/* It is another file's now, with what waits behind its end. */
int store_content_give(struct store *s, uint64_t content, uint64_t ino);
bool store_content_is_freed(const struct store *s,
                            uint64_t content); /* some of it waits for that */
/* The number for the first chunks of a file that has none: its own, if nothing waits under it. */
uint64_t store_content_number(struct store *s, uint64_t ino);
/* Free up to `most` chunks of what waits, within what this command may. */
int store_content_free_some(struct store *s, uint64_t most);
size_t store_contents_to_free(const struct store *s);
int store_content_load_all(struct store *s);
void store_content_unload_all(struct store *s);

/* ---- xattr.c: extended attributes, all of an inode's in one record; the inode is the caller's to save ---- */

int store_xattr_clear(struct store *s, struct store_inode *n); /* remove all */
/* A change of bytes or owner takes away the capabilities that a program had (security.capability). */
int store_xattr_drop_privileges(struct store *s, struct store_inode *n);
/* 1: borrowed until the next record is read; 0: it has none of that name. */
int store_xattr_find(struct store *s, const struct store_inode *n, struct fs_str name,
                     struct engine_bytes *value);
/* 0, or -ENOSPC: the inode has as many as it can. */
int store_xattr_put(struct store *s, struct store_inode *n, struct fs_str name, const void *value,
                    uint32_t len);
int store_xattr_remove(struct store *s, struct store_inode *n, struct fs_str name, bool *found);

/* ---- acl.c: access control lists (base/acl.h); the inode is the caller's to save ---- */

/* SETXATTR of one. *changed: so is the inode. An outcome but 0: nothing was done. */
int store_acl_set(struct store *s, const struct fs_op *op, struct store_inode *n, bool *changed);
int store_acl_chmod(struct store *s, struct store_inode *n); /* its mode was set: so is its list */
/* `n` is new in `dir`, its mode as it was asked for. `umask` counts where `dir` has no default list. */
int store_acl_inherit(struct store *s, const struct store_inode *dir, uint32_t umask,
                      struct store_inode *n);
/* For store_verify(): what an inode's lists say; an attribute that is none is passed over. NULL, or what is wrong. */
struct store_acl_facts {
	bool has_access, has_default;
	uint32_t mode; /* of the access list */
};
const char *store_acl_check(const struct record_xattr *x, struct store_acl_facts *f);

/* ---- quota.c: what the cluster and its trees may hold ---- */

/* Count inodes and bytes more (or less), in the store's counts and the tree's. */
void store_quota_count(struct store *s, uint32_t id, int64_t inodes, int64_t bytes);
/* Whether there is room for so much more: 0, -ENOSPC (the cluster's quota), -EDQUOT (the tree's). What needs no more
 * is always allowed. */
int store_quota_check(const struct store *s, uint32_t id, uint64_t inodes, uint64_t bytes);
/* … for so many bytes, where `freed` ones of the tree `from` go at the same time. */
int store_quota_check_moved(const struct store *s, uint32_t id, uint64_t bytes, uint32_t from,
                            uint64_t freed);
/* Whether a name of `n` may stand in the directory `to`: 0, -EXDEV. */
int store_quota_check_move(const struct store *s, const struct store_inode *n,
                           const struct store_inode *to);
void store_quota_root_gone(struct store *s, const struct store_inode *n); /* `n` is being freed */
int store_quota_save(struct store *s);                                    /* at a command's end */
int store_quota_load_all(struct store *s);
void store_quota_free_all(struct store *s);
int store_list_quotas(struct store *s);                                        /* into s->out */
const struct record_quota *store_quota_of(const struct store *s, uint32_t id); /* NULL: none */

/* ---- dir.c ---- */

/* What stands under a name, and where a new entry of that name would stand. */
struct store_slot {
	bool found;
	uint64_t ino;
	uint32_t type;   /* mode & S_IFMT, if found */
	uint64_t cookie; /* of the entry, or where to put it */
	uint64_t weight; /* of the record at cookie; 0: none */
	bool full;       /* not found, and no cookie is left: -ENOSPC */
};

int store_dir_lookup(struct store *s, uint64_t dir, struct fs_str name, struct store_slot *slot);
/* The three changes keep dir->entries, links and times; the caller saves `dir`. */
int store_dir_add(struct store *s, struct store_inode *dir, const struct store_slot *slot,
                  struct fs_str name, uint64_t ino, uint32_t mode);
int store_dir_replace(struct store *s, struct store_inode *dir, const struct store_slot *slot,
                      struct fs_str name, uint64_t ino, uint32_t mode);
int store_dir_remove(struct store *s, struct store_inode *dir, const struct store_slot *slot);
uint64_t store_dir_cookie(const struct store *s, struct fs_str name); /* with ordinal 0 */

/* ---- linger.c ---- */

/* Let go of a file that has lost its last name: a regular file lingers, anything else is freed. */
int store_linger(struct store *s, struct store_inode *n);
bool store_linger_is_due(const struct store *s, int64_t now_ns); /* the first of them */
int store_linger_trim(struct store *s); /* free what has lingered for long enough */
/* Free those that have lingered for `age_ms`, STORE_LINGER_TRIMMED_MAX at most. */
int store_linger_trim_old(struct store *s, uint64_t age_ms);
int store_linger_load_all(struct store *s);
void store_linger_free_all(struct store *s);

/* ---- lock_table.c, lock.c ---- */

int store_locks_load_all(struct store *s);
void store_locks_free_all(struct store *s);
uint64_t store_locks_count(const struct store *s); /* those that wait included */
int store_locks_verify(struct store *s);           /* what is held must not contradict itself */
int store_locks_end_session(struct store *s, uint64_t session);
bool store_lock_stands(const struct store *s, const struct fs_op *op); /* FS_F_FENCED */

/* ---- session.c ---- */

struct store_entry_ticket {
	struct store_session *session; /* NULL: none to keep a reply for */
	uint32_t slot;
	uint64_t lowest;
};

/* Before a command: 1: apply it, then store_session_leave(). 0: *res is the answer.
 * STORE_FAILED. */
int store_session_enter(struct store *s, const struct store_cmd *cmd, struct fs_result *res,
                        struct store_entry_ticket *t);
int store_session_leave(struct store *s, const struct store_cmd *cmd, const struct fs_result *res,
                        const struct store_entry_ticket *t);
int store_session_open(struct store *s, uint64_t timeout_ms, struct fs_result *res);
int store_session_end(struct store *s, uint64_t id); /* -ENOENT */
/* An inode without a name becomes this session's orphan; saved. */
int store_orphan_add(struct store *s, struct store_inode *n);
int store_orphan_is_ours(struct store *s, uint64_t ino); /* 1, 0, STORE_FAILED */
int store_orphan_forget(struct store *s, uint64_t ino);  /* it is, and gets a name */
bool store_session_known(const struct store *s, uint64_t id);
int store_session_load_all(struct store *s);
void store_session_free_all(struct store *s);

/* ---- op_*.c: one operation each; outcome ---- */

typedef int (*store_op_fn)(struct store *s, const struct fs_op *op, struct fs_result *res);

int store_op_mknod(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_link(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_unlink(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_rmdir(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_rename(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_setattr(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_write(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_release(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_put(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_delete(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_txn(struct store *s, const struct fs_op *op, struct fs_result *res);
/* What would stand against that PUT or DELETE, its version apart. `puts`: how many there will be
 * before the next check. */
int store_check_put(struct store *s, const struct fs_op *op, uint32_t puts);
int store_check_delete(struct store *s, const struct fs_op *op);
int store_op_lock(struct store *s, const struct fs_op *op, uint64_t seq, struct fs_result *res);
int store_op_unlock(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_lock_cancel(struct store *s, const struct fs_op *op);
int store_op_lock_break(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_lock_test(struct store *s, const struct fs_op *op);
int store_op_lock_await(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_lock_list(struct store *s, const struct fs_op *op);
int store_op_quota_set(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_setxattr(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_removexattr(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_fallocate(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_copy(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_adopt(struct store *s, const struct fs_op *op, struct fs_result *res);
int store_op_read(struct store *s, const struct fs_op *op, struct fs_result *res); /* every read */
/* For store_op_read(): into s->out. */
int store_read_xattr(struct store *s, const struct fs_op *op, struct store_inode *n);
int store_list_xattrs(struct store *s, const struct fs_op *op, struct store_inode *n);

/* op_write.c: what every change of a regular file's bytes has in common. */
int store_check_regular(const struct store_inode *n); /* 0, -EISDIR, -EINVAL */
/* After the bytes: privileges, times, save, tell. */
int store_end_write(struct store *s, const struct fs_op *op, struct store_inode *n, bool content);

/* Take one link off a file. Without links it lingers, or becomes this session's orphan if it is
 * `keep_ino`; *lost is then its number, else 0. Saves or frees `n`. */
int store_drop_link(struct store *s, struct store_inode *n, uint64_t keep_ino, uint64_t *lost);

/* path.c: follow a path to its last component. */
struct store_path {
	uint64_t dir;           /* the last directory that exists */
	struct fs_str name;     /* the component looked for there */
	struct fs_str rest;     /* what follows; not empty: directories are missing */
	struct store_slot slot; /* of name in dir */
};

/* 0, -EINVAL, -ENAMETOOLONG, -ENOTDIR, -ELOOP (a symlink before the last component),
 * STORE_FAILED. */
int store_path_walk(struct store *s, struct fs_str path, struct store_path *out);
/* The inode at `path`. -ENOENT and the above. */
int store_path_load(struct store *s, struct fs_str path, struct store_inode *n);

void store_result_attr(struct fs_result *res, const struct store_inode *n);

#endif

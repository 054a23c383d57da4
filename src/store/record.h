/* Records as bytes: keys, and the values behind them. docs/store-format.md is the specification.
 * Decoders check every byte; they return NULL or what is wrong, in a few words. */
#ifndef RFS_STORE_RECORD_H
#define RFS_STORE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/buf.h"
#include "../base/op.h"
#include "engine.h"
#include "store.h"

/* The format tells which records there may be, and follows the cluster's version: a program that
 * speaks only the older one refuses the store instead of misreading it. */
#define STORE_FORMAT_MIN     2u /* cluster version 1 */
#define STORE_FORMAT_MAX     3u /* cluster version 2 */
#define STORE_REPLY_DATA_MAX 4096u

#define RECORD_KEY_MAX 17
struct record_key {
	uint8_t p[RECORD_KEY_MAX];
	uint8_t len;
};

enum record_kind {
	RECORD_CHUNK = 'C',
	RECORD_DENTRY = 'D',
	RECORD_FREEING = 'F',
	RECORD_MEMBERSHIP = 'G',
	RECORD_INODE = 'I',
	RECORD_LOCK = 'K',
	RECORD_LINGER = 'L',
	RECORD_META = 'M',
	RECORD_ORPHAN = 'O',
	RECORD_QUOTA = 'Q',
	RECORD_REPLY = 'R',
	RECORD_SESSION = 'S',
	RECORD_VERSION = 'V',
	RECORD_XATTRS = 'X',
};

struct record_key record_key_meta(void);
struct record_key record_key_inode(uint64_t ino);
struct record_key record_key_chunk(uint64_t content, uint64_t chunk);
struct record_key record_key_dentry(uint64_t dir, uint64_t cookie);
struct record_key record_key_freeing(uint64_t content);
struct record_key record_key_membership(void);
struct record_key record_key_lock(uint64_t ino, uint64_t id);
struct record_key record_key_linger(uint64_t index, uint64_t ordinal);
struct record_key record_key_orphan(uint64_t session, uint64_t ino);
struct record_key record_key_session(uint64_t id);
struct record_key record_key_quota(uint64_t id);
struct record_key record_key_xattrs(uint64_t ino);
struct record_key record_key_reply(uint64_t session, uint32_t slot);
struct record_key record_key_version(void);

/* All records of a kind; of a kind and a first number (a file's chunks, a directory's entries,
 * …). */
struct record_key record_prefix(enum record_kind kind);
struct record_key record_prefix_of(enum record_kind kind, uint64_t first);

static inline struct engine_bytes record_key_bytes(const struct record_key *k)
{
	return (struct engine_bytes){k->p, k->len};
}

/* A key taken apart; `second` 0 where the kind has one number. */
struct record_key_parts {
	enum record_kind kind;
	uint64_t first, second;
};
const char *record_key_parse(struct engine_bytes key, struct record_key_parts *parts);

#define RECORD_META_BYTES 88u
struct record_meta {
	uint32_t version;
	struct raft_pos applied;
	uint64_t digest, next_ino;
	struct store_counts counts;
	struct raft_pos installed; /* this node's alone, as `version` is */
};
void record_put_meta(struct buf *b, const struct record_meta *m);
/* With a version that this program does not know only m->version is set, and that is not an error
 * here. */
const char *record_get_meta(struct engine_bytes v, struct record_meta *m);

#define RECORD_INODE_HEAD 96u
struct record_inode {
	struct fs_attr attr;
	uint64_t parent, entries; /* directories */
	uint32_t xattrs;          /* number of extended attributes, in a record of their own */
	uint32_t quota;           /* the tree that it counts for; 0: none */
	uint64_t content;    /* the number of its chunks: its own, or that of a file that is gone */
	const uint8_t *data; /* small content; borrowed */
	uint32_t data_len;
};
void record_put_inode(struct buf *b, const struct record_inode *n);
const char *record_get_inode(struct engine_bytes v, uint64_t ino, struct record_inode *n);

/* One extended attribute in the record of all of an inode's. */
struct record_xattr {
	struct fs_str name;
	const uint8_t *value;
	uint32_t value_len;
};
#define RECORD_XATTRS_MAX       255u
#define RECORD_XATTRS_BYTES_MAX (128u << 10)
void record_put_xattr(struct buf *b, const struct record_xattr *x);
bool record_next_xattr(struct reader *r, struct record_xattr *x); /* false at the end or r->bad */
const char *record_check_xattrs(struct engine_bytes v, uint32_t *count);

#define RECORD_QUOTA_BYTES 40u
struct record_quota {
	uint64_t root; /* inode of the tree's top; 0: gone, its open files are not */
	uint64_t bytes_max, inodes_max; /* 0: no limit */
	uint64_t bytes, inodes;         /* used; of the cluster's own (number 0) kept in M */
};
void record_put_quota(struct buf *b, const struct record_quota *q);
const char *record_get_quota(struct engine_bytes v, struct record_quota *q);

struct record_dentry {
	uint64_t ino;       /* 0: a placeholder */
	uint8_t type;       /* mode >> 12 */
	struct fs_str name; /* borrowed */
};
void record_put_dentry(struct buf *b, const struct record_dentry *d);
const char *record_get_dentry(struct engine_bytes v, struct record_dentry *d);

void record_put_session(struct buf *b, uint64_t timeout_ms);
const char *record_get_session(struct engine_bytes v, uint64_t *timeout_ms);

struct record_reply {
	uint64_t seq, lowest;
	struct fs_result res; /* data borrowed */
};
void record_put_reply(struct buf *b, const struct record_reply *r);
const char *record_get_reply(struct engine_bytes v, struct record_reply *r);

#define RECORD_LINGER_BYTES 24u
struct record_linger {
	uint64_t ino;
	int64_t since_ns;
	uint64_t bytes; /* its size when it lost its last name */
};
void record_put_linger(struct buf *b, const struct record_linger *l);
const char *record_get_linger(struct engine_bytes v, struct record_linger *l);

#define RECORD_FREEING_BYTES 16u
struct record_freeing {
	uint64_t next; /* chunks from here on are nobody's; those below are gone … */
	uint64_t ino;  /* … or this file's, which was cut; 0: the whole content is nobody's */
};
void record_put_freeing(struct buf *b, const struct record_freeing *f);
const char *record_get_freeing(struct engine_bytes v, struct record_freeing *f);

enum record_lock_flag {
	RECORD_LOCK_BYTES = 1u << 0,  /* of a range; else of the whole file */
	RECORD_LOCK_SHARED = 1u << 1, /* else exclusive */
	RECORD_LOCK_WAITS = 1u << 2,  /* else held */
	RECORD_LOCK_JUMPS = 1u << 3,  /* waits for holders only, not for those who came before */
};

#define RECORD_LOCK_VALUE_BYTES 72u
#define RECORD_LOCK_ID_REST     (1ull << 63) /* in ids: the rest of a lock that was cut in two */
#define RECORD_LOCK_LAST_MAX    ((uint64_t)INT64_MAX)
struct record_lock {
	uint64_t session, owner;
	uint64_t first, last; /* bytes, both included */
	uint64_t asked, token, since;
	uint64_t seq;
	uint32_t pid, flags;
};
void record_put_lock(struct buf *b, const struct record_lock *l);
const char *record_get_lock(struct engine_bytes v, uint64_t id, struct record_lock *l);

struct record_membership {
	struct raft_pos pos;
	struct engine_bytes conf; /* borrowed */
};
void record_put_membership(struct buf *b, const struct record_membership *m);
const char *record_get_membership(struct engine_bytes v, struct record_membership *m);

/* The cluster's version, from 2 on; the format that goes with one. */
void record_put_version(struct buf *b, uint32_t version);
const char *record_get_version(struct engine_bytes v, uint32_t *version);
uint32_t record_format_of(uint32_t version);

const char *record_check_chunk(struct engine_bytes v);

/* Whether the content of an inode stands in its own record. */
bool record_is_inline(uint32_t mode, uint64_t size);

#endif

/* Between our structs and raftfs.proto's bytes. Encoders append a whole frame to `b`; decoders
 * check every field that has a range and leave nothing out of it. Decoded structs borrow from the
 * decoder's own arena: `struct wire_arena`, reset by the caller when it is done with them.
 *
 * Errors of decoders: RFS_ECORRUPT with what was wrong. Thread: any, one arena a thread. */
#ifndef RFS_WIRE_CODEC_H
#define RFS_WIRE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/buf.h"
#include "../base/entry.h"
#include "../base/err.h"
#include "../base/op.h"
#include "../raft/raft.h"
#include "../store/store.h"

#define WIRE_VERSION_MIN FS_VERSION_MIN
#define WIRE_VERSION_MAX FS_VERSION_MAX
#define WIRE_TEXT_MAX    256u
#define WIRE_MEMBERS_MAX 32u
#define WIRE_CLASSES_MAX 64u

/* Bump allocator behind protobuf-c's allocator hooks: decode, use, reset. Any number of messages
 * may be decoded between two resets, but nothing is given back before. One message may take a few
 * times a frame's size and is refused (RFS_ECORRUPT) beyond that. */
struct wire_arena;
struct wire_arena *wire_arena_new(void);
void wire_arena_reset(struct wire_arena *a);
void wire_arena_free(struct wire_arena *a);

struct wire_hello {
	uint32_t version_min, version_max;
	char cluster[64];
	uint64_t node_id, incarnation, to_node;
	char address[WIRE_TEXT_MAX]; /* of a node: where to dial it; "" if it does not say */
};

struct wire_hello_reply {
	uint32_t version;
	char cluster[64];
	uint64_t node_id, incarnation;
	int code;
	char text[WIRE_TEXT_MAX];
};

struct wire_request {
	uint64_t id, session, seq, lowest;
	/* A read that any node answers at once if its state is at min_index or later, and refuses
	 * with RFS_EBUSYLIMIT if not; with RFS_ENOTLEADER if it cannot say how old its state is. */
	bool local;
	uint64_t min_index;
	struct fs_op op;
};

struct wire_reply {
	uint64_t id;
	struct fs_result result;
	uint64_t leader_id;
	char leader_address[WIRE_TEXT_MAX]; /* host:port; "" if unknown */
};

struct wire_keep_alive_reply {
	uint64_t session;
	bool expired;
};

struct wire_member {
	uint64_t id, match;
	char address[WIRE_TEXT_MAX];
	bool learner, up, promote, snapshot;
};

struct wire_status {
	uint64_t id, node_id, term, leader_id, last, commit, applied, digest, incarnation;
	uint64_t log_first, log_bytes, sessions, inodes, uptime_ms, conf_index, durable,
	        store_bytes, disk_free;
	uint32_t room; /* struct wire_room's; 0: not told */
	uint32_t election_min_ms, election_max_ms, heartbeat_ms, session_timeout_ms;
	bool conf_joint;
	char address[WIRE_TEXT_MAX], leader_address[WIRE_TEXT_MAX], role[32], cluster[64],
	        version[32];
	uint32_t protocol_version, protocol_version_max; /* 0: not told */
	struct wire_member members[WIRE_MEMBERS_MAX];
	size_t n_members;
	uint64_t clients, reads;
	uint64_t commit_classes[WIRE_CLASSES_MAX]; /* raftfs.proto */
	size_t n_commit_classes;
};

/* What an operator asks of a cluster. Numbers are part of the wire. */
enum wire_admin_kind {
	WIRE_ADMIN_ADD = 1,      /* member address learner */
	WIRE_ADMIN_PROMOTE = 2,  /* member */
	WIRE_ADMIN_REMOVE = 3,   /* member */
	WIRE_ADMIN_TRANSFER = 4, /* member; 0: the best voter */
	WIRE_ADMIN_SUSPEND = 5,  /* period_ms; of the node asked, for drills */
};

struct wire_admin {
	uint64_t id;
	enum wire_admin_kind kind;
	uint64_t member;
	char address[WIRE_TEXT_MAX];
	bool learner; /* ADD: stays one until it is promoted by hand */
	uint64_t period_ms;
};

struct wire_admin_reply {
	uint64_t id;
	int code; /* 0; RFS_ENOTLEADER; RFS_EBUSYLIMIT: not now, ask again; what it comes to */
	char text[WIRE_TEXT_MAX];
	uint64_t leader_id;
	char leader_address[WIRE_TEXT_MAX];
};

/* A snapshot on its way: the leader offers it (no data), the receiver says which chunk it wants, and the leader
 * sends from there on. */
struct wire_snapshot {
	uint64_t from, to, term;
	struct raft_pos pos;
	uint64_t seq;
	const uint8_t *data; /* borrowed from the arena; NULL: an offer */
	uint32_t len;
};

enum wire_snapshot_state {
	WIRE_SNAPSHOT_WANTS = 0,     /* send from `next` on */
	WIRE_SNAPSHOT_INSTALLED = 1, /* it is this server's state now, durably */
	WIRE_SNAPSHOT_USELESS =
	        2, /* has something newer, or no room for it, or an error: give up */
};

struct wire_snapshot_ack {
	uint64_t from, to, term;
	struct raft_pos pos;
	uint64_t next;
	enum wire_snapshot_state state;
	bool sync; /* go on at `next`, whatever was sent since */
};

struct wire_watch {
	uint64_t id, from_index;
	uint32_t from_sub, recent;
	bool stop;
	struct fs_str prefix;
};

struct wire_event {
	uint64_t index, ino, version;
	uint64_t parent, old_parent, session;
	uint32_t sub, mode;
	uint32_t kind; /* enum store_change_kind, or one that is newer than this program */
	struct fs_str path, old_path;
};

struct wire_events {
	uint64_t id, next_index, lost_from, lost_to, applied;
	uint32_t next_sub;
	bool has_leader;
	struct wire_event *events;
	size_t n;
};

/* How much room there is on a server's disk: 1 none, 2 for what frees some, 3 enough. */
#define WIRE_ROOM_ENOUGH 3u
struct wire_room {
	uint64_t node_id;
	uint32_t room; /* enum node_room */
};

/* The whole state for a client: it asks with `next` 0, and then says how far it has got. */
struct wire_backup {
	uint64_t id, min_index, next;
	bool stop;
};

struct wire_backup_part {
	uint64_t id, seq;
	int code; /* not 0: it has ended, and why */
	char text[WIRE_TEXT_MAX];
	const uint8_t *data; /* borrowed from the arena */
	uint32_t len;
	bool last;
};

void wire_put_hello(struct buf *b, const struct wire_hello *h);
void wire_put_hello_reply(struct buf *b, const struct wire_hello_reply *h);
/* APPEND takes its entries from m->entries (payload pointers set), not from first. */
void wire_put_raft(struct buf *b, const struct raft_msg *m);
void wire_put_request(struct buf *b, const struct wire_request *r);
void wire_put_reply(struct buf *b, const struct wire_reply *r);
void wire_put_keep_alive(struct buf *b, uint64_t session);
void wire_put_keep_alive_reply(struct buf *b, const struct wire_keep_alive_reply *r);
void wire_put_status_request(struct buf *b, uint64_t id);
void wire_put_status(struct buf *b, const struct wire_status *s);
void wire_put_room(struct buf *b, const struct wire_room *r);
void wire_put_admin(struct buf *b, const struct wire_admin *a);
void wire_put_admin_reply(struct buf *b, const struct wire_admin_reply *r);
void wire_put_snapshot(struct buf *b, const struct wire_snapshot *s);
void wire_put_snapshot_ack(struct buf *b, const struct wire_snapshot_ack *s);

void wire_put_watch(struct buf *b, const struct wire_watch *w);
void wire_put_events(struct buf *b, const struct wire_events *e);
void wire_put_backup(struct buf *b, const struct wire_backup *k);
void wire_put_backup_part(struct buf *b, const struct wire_backup_part *k);

int wire_get_hello(const uint8_t *p, size_t n, struct wire_hello *h, struct rfs_err *err);
int wire_get_hello_reply(const uint8_t *p, size_t n, struct wire_hello_reply *h,
                         struct rfs_err *err);
int wire_get_raft(const uint8_t *p, size_t n, struct wire_arena *a, struct raft_msg *m,
                  struct rfs_err *err);
int wire_get_request(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_request *r,
                     struct rfs_err *err);
int wire_get_reply(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_reply *r,
                   struct rfs_err *err);
int wire_get_keep_alive(const uint8_t *p, size_t n, uint64_t *session, struct rfs_err *err);
int wire_get_keep_alive_reply(const uint8_t *p, size_t n, struct wire_keep_alive_reply *r,
                              struct rfs_err *err);
int wire_get_status_request(const uint8_t *p, size_t n, uint64_t *id, struct rfs_err *err);
int wire_get_status(const uint8_t *p, size_t n, struct wire_status *s, struct rfs_err *err);
int wire_get_room(const uint8_t *p, size_t n, struct wire_room *r, struct rfs_err *err);
int wire_get_admin(const uint8_t *p, size_t n, struct wire_admin *a, struct rfs_err *err);
int wire_get_admin_reply(const uint8_t *p, size_t n, struct wire_admin_reply *r,
                         struct rfs_err *err);
int wire_get_snapshot(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_snapshot *s,
                      struct rfs_err *err);
int wire_get_snapshot_ack(const uint8_t *p, size_t n, struct wire_snapshot_ack *s,
                          struct rfs_err *err);

int wire_get_watch(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_watch *w,
                   struct rfs_err *err);
int wire_get_events(const uint8_t *p, size_t n, struct wire_arena *a, struct wire_events *e,
                    struct rfs_err *err);
int wire_get_backup(const uint8_t *p, size_t n, struct wire_backup *k, struct rfs_err *err);
int wire_get_backup_part(const uint8_t *p, size_t n, struct wire_arena *a,
                         struct wire_backup_part *k, struct rfs_err *err);

/* A command as the payload of a log entry; no frame around it. */
void wire_put_command(struct buf *b, const struct store_cmd *c);
/* c->op points to *op, whose bytes are borrowed from the arena. */
int wire_get_command(const void *p, size_t n, struct wire_arena *a, struct store_cmd *c,
                     struct fs_op *op, struct rfs_err *err);

/* A version as the payload of a log entry of kind RAFT_ENTRY_VERSION. */
void wire_put_version(struct buf *b, uint32_t version);
int wire_get_version(const void *p, size_t n, uint32_t *version, struct rfs_err *err);

#endif

/* Inside the log. Three parts share `struct wal`:
 *
 *   wal.c      the owner's side: decides where each record will stand, keeps the table and the
 * cache writer.c   the writer's side: rounds of write and sync; with segment.c, which makes
 * segments, and dir.c, which writes the hard state recover.c  before either of them starts
 *
 * A record goes once into memory: the owner puts it into a chunk, a run of contiguous bytes of one
 * segment; the writer seals and writes the chunk; afterwards the chunk is the cache. */
#ifndef RFS_WAL_PRIV_H
#define RFS_WAL_PRIV_H

#include <pthread.h>
#include "wal.h"
#include "wal_format.h"

#define WAL_DIR_BYTES_MAX   3800u
#define WAL_PATH_BYTES_MAX  (WAL_DIR_BYTES_MAX + 64)
#define WAL_NAME_BYTES      32u
#define WAL_CHUNK_BYTES_MAX (1u << 20) /* of several records; a larger one has its own */
#define WAL_FILL_BYTES      (256u << 10)
#define WAL_SPACE_RETRY_MS  500u
#define WAL_IDLE_FILL_MS    20u
#define WAL_SEGMENT_TMP     "log.tmp"

struct segment {
	uint64_t seq, size;
	struct raft_pos base;
	raft_index index_min; /* owner: smallest index of a record in it */
	int fd;               /* writer, before `made` */
	bool made;            /* mu: has its name and its head */
	struct segment *next_dead;
};

enum chunk_state { CHUNK_OPEN, CHUNK_TAKEN, CHUNK_DURABLE };

struct chunk {
	struct chunk *next;
	struct segment *segment;
	uint64_t offset; /* in the segment */
	uint8_t *data;   /* owner while open; the writer then touches headers and checksums alone */
	size_t len, cap;
	uint64_t epoch;         /* newest */
	struct raft_pos last;   /* of its last record */
	enum chunk_state state; /* mu */
};

/* One entry of the log: slots[i] is index base + 1 + i. */
struct slot {
	struct segment *segment;
	struct chunk *chunk; /* NULL: on disk alone */
	raft_term term;
	uint32_t offset, len;
	enum raft_entry_kind kind;
};

struct wal {
	const struct file_ops *ops;
	char dir[WAL_DIR_BYTES_MAX + 1];
	bool threaded;
	struct wal_identity identity;
	uint64_t segment_bytes, cache_bytes;
	void (*notify)(void *ctx);
	void *notify_ctx;

	/* owner */
	struct raft_pos base, last;
	raft_term term; /* newest given to wal_set_state() */
	struct slot *slots;
	size_t n_slots, slots_cap;
	struct segment **segments; /* oldest first */
	size_t n_segments, segments_cap;
	uint64_t place_offset; /* where in the newest segment the next record goes */
	uint64_t cached_bytes;
	uint8_t *read_buf;
	size_t read_cap;

	/* both, under mu */
	pthread_mutex_t mu;
	pthread_cond_t work;
	struct chunk *head, *tail, *unwritten; /* oldest; newest; first that is not durable */
	bool stop, want_state;
	raft_term want_term;
	raft_id want_vote;
	uint64_t want_epoch;
	struct segment *dead, *dead_tail; /* to be unlinked */
	uint64_t first_live;              /* the oldest segment that is not dead */
	struct wal_done done;
	struct histogram syncs;
	struct rfs_err err;     /* why the writer failed */
	uint64_t call_since_ms; /* the writer's call under way; 0: none */
	uint64_t disk_bytes;

	/* writer */
	pthread_t thread;
	struct wal_state_head state;
	struct segment *current;
	uint64_t write_offset; /* end of what is written in `current` */
	uint64_t batch;        /* where its un-synced records begin; 0: nothing un-synced */
	uint32_t link;
	int state_fd, spare_fd; /* the hard state; WAL_SEGMENT_TMP or -1 */
	bool spare_refused;     /* no room: wait until it is needed */
	uint64_t spare_filled;
	uint64_t retry_at_ms;
	uint8_t *zeros; /* WAL_FILL_BYTES */
};

/* ---- io.c: file operations with whole counts, and errors that name file and call ---- */

void wal_path(const struct wal *w, const char *name, char out[WAL_PATH_BYTES_MAX]);
void wal_segment_name(uint64_t seq, char out[WAL_NAME_BYTES]);
int io_open(struct wal *w, const char *name, bool create, int *fd, struct rfs_err *err);
int io_read(const struct wal *w, int fd, const char *name, void *p, size_t n, uint64_t offset,
            struct rfs_err *err);
int io_write(struct wal *w, int fd, const char *name, const void *p, size_t n, uint64_t offset,
             struct rfs_err *err);
int io_sync(struct wal *w, int fd, const char *name, struct rfs_err *err);
int io_size(const struct wal *w, int fd, const char *name, uint64_t *size, struct rfs_err *err);
int io_rename(struct wal *w, const char *from, const char *to, struct rfs_err *err);
int io_unlink(struct wal *w, const char *name, struct rfs_err *err);
int io_sync_dir(struct wal *w, struct rfs_err *err);
void io_close(struct wal *w, int *fd); /* sets it to -1 */

/* ---- dir.c: the directory, who it belongs to, and the hard state ---- */

struct wal_listing {
	bool exists, identity, state;
	bool tmp_identity, tmp_state, tmp_segment;
	uint64_t *seqs; /* sorted */
	size_t n_seqs, seqs_cap;
};

int dir_list(struct wal *w, struct wal_listing *out, struct rfs_err *err);
void dir_listing_free(struct wal_listing *l);
int dir_make(struct wal *w, const struct wal_listing *l, struct rfs_err *err);
int dir_remove_temporary(struct wal *w, const struct wal_listing *l, struct rfs_err *err);
int identity_read(struct wal *w, const struct wal_identity *want, struct rfs_err *err);
int state_read(struct wal *w, bool *mended, struct rfs_err *err);
/* Both copies, one after the other, synced; w->state.seq moves on, and so does the known end. */
int state_write(struct wal *w, struct rfs_err *err);

/* ---- segment.c: making segments ---- */

struct segment *segment_new(uint64_t seq, uint64_t size, struct raft_pos base);
void segment_free(struct wal *w, struct segment *s);
/* Fill log.tmp with zeros to at least `upto` and sync. On error it is dropped. */
int spare_fill(struct wal *w, uint64_t upto, struct rfs_err *err);
void spare_drop(struct wal *w);
/* Give `s` its file. *no_room: nothing was changed, try again later. */
int segment_make(struct wal *w, struct segment *s, uint32_t link, bool *no_room,
                 struct rfs_err *err);
bool wal_is_no_room(int code);

/* ---- recover.c ---- */

int wal_recover(struct wal *w, const struct wal_listing *l, struct wal_recovered *rec,
                struct rfs_err *err);

/* ---- wal.c ---- */

/* Put an entry at the end of the table, dropping what it replaces. */
void table_put(struct wal *w, const struct slot *slot, raft_index index);

/* ---- writer.c ---- */

void writer_start(struct wal *w);
/* Write what is queued, unless the writer has failed or there is no room; end the thread. */
void writer_stop(struct wal *w);

#endif

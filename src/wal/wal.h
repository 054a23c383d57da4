/* The Raft log and the hard state on disk. Format: docs/wal-format.md.
 *
 * Appends and hard-state writes go into a queue; one writer thread takes the whole queue, writes
 * it, syncs once, and takes what has arrived meanwhile (group commit). The owner hears through
 * `notify` (from the writer's thread) that wal_poll() has news. With `threaded` false there is no
 * thread: wal_work() does one round of the writer's work in the caller, for tests and the
 * simulator.
 *
 * A failed write, sync or rename of the writer is final: wal_poll() reports it, nothing is retried,
 * and the process is expected to end (a page that failed to sync may be marked clean: LWN,
 * "PostgreSQL's fsync() surprise"). -ENOSPC on creating a segment is the exception: it is reported
 * and tried again.
 *
 * Thread: all functions but wal_work() from the owner's. */
#ifndef RFS_WAL_WAL_H
#define RFS_WAL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/entry.h"
#include "../base/err.h"
#include "../metrics/histogram.h"
#include "file.h"

struct wal;

#define WAL_CLUSTER_NAME_MAX 63

/* Who this data directory belongs to; written once, when it is made. */
struct wal_identity {
	char cluster[WAL_CLUSTER_NAME_MAX + 1];
	uint64_t node_id;
	uint64_t incarnation; /* random; another one after the disk was wiped */
};

struct wal_opts {
	const struct file_ops *ops;   /* NULL: file_ops_posix; borrowed for the log's life */
	struct wal_identity identity; /* a new directory gets it; an old one must have the same
	                               * cluster and node, and keeps its own incarnation. Node 0:
	                               * whoever's it is, and it must not be new */
	uint64_t segment_bytes; /* size of each new segment file, rounded up to 4096; 8192 to 1 GiB;
	                         * an entry that needs more gets a segment of its own size */
	uint64_t cache_bytes;   /* newest entries kept in memory for wal_read() */
	bool threaded;
	void (*notify)(void *ctx); /* from the writer's thread; must not call back into the log */
	void *notify_ctx;
};

/* What wal_open() found, for the owner and for one line of the program's log. */
struct wal_recovered {
	struct wal_identity identity;
	bool created; /* the directory was new */
	raft_term term;
	raft_id vote;
	struct raft_pos base, last; /* entries (base, last] are there */
	uint64_t segments, bytes;   /* read: files, and the bytes of their records */
	bool state_mended;          /* one of the two copies of the hard state was damaged */
	bool torn;                  /* a torn tail was cut: never acknowledged */
	char torn_text[160];        /* file and offset of it */
};

/* Open or make the log in `dir` (made if its parent exists). Every record is read and checked.
 * Errors: RFS_ECORRUPT with file and offset (nothing was changed), RFS_EIDENTITY, RFS_EVERSION,
 * -errno. */
int wal_open(struct wal **out, const char *dir, const struct wal_opts *opts,
             struct wal_recovered *rec, struct rfs_err *err);

/* Wait for the queue to drain, stop the writer, free. Takes `w`; NULL is fine. */
void wal_close(struct wal *w);

/* Queue `n` consecutive entries. If entries[0] stands at or before the last one, they replace it
 * and everything behind it, in the same write. Copied: nothing is borrowed. At once readable by
 * wal_read(). entries[0].pos.index must lie in [base + 1, last + 1]; terms never decrease along the
 * log, and none is above the term last given to wal_set_state(). `epoch` comes back with the
 * completion. */
void wal_append(struct wal *w, const struct raft_entry *entries, size_t n, uint64_t epoch);

/* Queue a write of the hard state; durable before anything queued later is. The term never goes
 * back. */
void wal_set_state(struct wal *w, raft_term term, raft_id vote, uint64_t epoch);

/* What has become durable since the last poll. */
struct wal_done {
	bool log, state; /* which of the following changed */
	uint64_t log_epoch;
	struct raft_pos log_pos;
	uint64_t state_epoch;
	uint64_t sync_us_max; /* the slowest sync since the last poll */
	int error;            /* negative: the writer has failed for good; see err */
	int space;            /* -ENOSPC at every poll while waiting for room, else 0 */
};

/* Collect completions; `err` (with file and call) is set when done->error is. */
void wal_poll(struct wal *w, struct wal_done *done, struct rfs_err *err);

/* For how long the writer has been in the call to the operating system that it is in now; 0 between
 * calls. A disk that hangs shows here, and nowhere else. */
uint64_t wal_stalled_ms(struct wal *w);

/* One round of the writer without a thread; true if it did anything. While there is no room for the
 * next segment each call tries again, and returns false if nothing else could be done. */
bool wal_work(struct wal *w);

/* Up to `max_n` entries from `first` on, together at most `max_bytes` of payload, but at least one.
 * out[i].data is borrowed until the next call to any function of this log. Returns the count, 0 if
 * `first` is outside the log, or a negative error (RFS_ECORRUPT, -EIO) with `err`. */
ssize_t wal_read(struct wal *w, raft_index first, size_t max_n, uint64_t max_bytes,
                 struct raft_entry *out, struct rfs_err *err);

/* Term and payload length of entry `index`, without its payload; false outside (base, last]. */
bool wal_entry_at(const struct wal *w, raft_index index, struct raft_entry *out);

struct raft_pos wal_base(const struct wal *w);
struct raft_pos wal_last(const struct wal *w);

/* Drop whole segments whose entries all lie at or below `upto`; the base moves to the end of the
 * last one dropped. Never the segment being written, nor one that a segment with a replaced entry
 * still needs: it goes with that one. The files are unlinked by the writer; if that fails,
 * wal_poll() says so. Returns 0. */
int wal_cut(struct wal *w, raft_index upto, struct rfs_err *err);

/* Drop every entry and go on behind `pos`, as after a snapshot whose position is not in the log: base
 * and last are `pos`, which is on disk when this returns 0. A crash leaves the old log or the new
 * one, whole. The hard state stays; its term, as last given to wal_set_state(), is at least pos.term.
 * What is queued is written first if it can be; no completion of an append comes any more from
 * before. Blocks for that, a write of 256 KiB and a few syncs.
 * Errors: -ENOSPC, -EDQUOT: nothing was dropped, try again later. Others: the writer has failed. */
int wal_reset(struct wal *w, struct raft_pos pos, struct rfs_err *err);

uint64_t wal_disk_bytes(const struct wal *w);

/* How long each sync so far took. */
void wal_get_syncs(struct wal *w, struct histogram *out);

#endif

/* A whole store on its way to another server: out of one as chunks, into a fresh one, and the
 * switch to that. Format of the chunks, and the steps of the switch: docs/snapshot-format.md.
 *
 * A node that installs a snapshot does, in this order:
 *
 *   1. store_import_begin(), a store_import_chunk() for each chunk, store_import_finish()
 *   2. store_close() of its own store, store_switch(), store_open()
 *   3. unless its log has an entry of the snapshot's index and term: wal_reset() to that position
 *   4. only now does it say that it has the snapshot
 *
 * Before 2 it may change its mind at any time: store_import_abandon(), or leave a finished import
 * where it is, the next begin or open removes it. A crash between 2 and 3 shows at the next start:
 * store_applied() is store_installed(), and the log does not have that entry. Then 3 is what is
 * missing. */
#ifndef RFS_STORE_SNAPSHOT_H
#define RFS_STORE_SNAPSHOT_H

#include "../base/buf.h"
#include "store.h"

#define STORE_SNAPSHOT_CHUNK_BYTES_MAX (256u << 10)

struct store_snapshot_info {
	struct raft_pos pos;
	uint64_t digest;
	struct store_counts counts;
};

/* ---- out ---- */

struct store_snapshot;

/* Hold the state at the applied position (what is applied is committed first), however the store
 * goes on; nothing is copied, but what is overwritten meanwhile keeps its room on disk. Chunks have
 * at most `chunk_bytes` (0: STORE_SNAPSHOT_CHUNK_BYTES_MAX; fewer is for tests), or one record.
 * Thread: open and close the store's; next and seek any one at a time, also beside the store's. */
int store_snapshot_open(struct store *s, size_t chunk_bytes, struct store_snapshot **out,
                        struct rfs_err *err);
void store_snapshot_close(struct store_snapshot *sn); /* before store_close(); NULL is fine */
const struct store_snapshot_info *store_snapshot_info(const struct store_snapshot *sn);

/* Put the next chunk into `out` instead of what is in there. 1, or 0 when the last one was given;
 * the same state gives the same chunks on every node. Errors: RFS_ECORRUPT, -EIO; then this
 * snapshot is of no more use. */
int store_snapshot_next(struct store_snapshot *sn, struct buf *out, struct rfs_err *err);

/* Go on with chunk `seq` (from 0), as after a lost connection: one that was given, or the next.
 * Another one: -EINVAL. */
int store_snapshot_seek(struct store_snapshot *sn, uint64_t seq);

/* ---- in ---- */

struct store_import;

/* Begin a fresh store beside the one in `dir`; what an earlier import left there is removed. With
 * opts->engine (of the rest only version_max counts) it is built in that engine, which must be empty, and
 * `dir` is ignored. Errors: as store_open(), and -EEXIST for an engine with records. Thread: for
 * this and the following any one at a time; all may block. */
int store_import_begin(struct store_import **out, const char *dir, const struct store_opts *opts,
                       struct rfs_err *err);

/* Take a chunk. 0; 1 when it was the last one. Refused, and nothing else: RFS_EPROTO for a whole
 * chunk that is not the one that follows here (missing, doubled, out of order, of another
 * snapshot); RFS_ECORRUPT for one that is not as it was sent: ask again for store_import_next().
 * Every other error, and RFS_EVERSION, ends the import: later calls give it again. */
int store_import_chunk(struct store_import *im, const void *p, size_t n, struct rfs_err *err);

uint64_t store_import_next(const struct store_import *im); /* the chunk that follows */

/* NULL before the first chunk. */
const struct store_snapshot_info *store_import_info(const struct store_import *im);

/* Bring it to disk, after the last chunk (before it: -EINVAL): from here on it may be switched to.
 * On an engine: it may be opened. Takes `im`; on error what was built is removed. */
int store_import_finish(struct store_import *im, struct rfs_err *err);
void store_import_abandon(struct store_import *im); /* takes `im`; NULL is fine */

/* Put the finished import in the place of the store in `dir`, which must not be open. A crash
 * leaves one of the two, whole, for store_open(). -ENOENT: there is no finished import; -errno: as
 * after a crash. Blocks. */
int store_switch(const char *dir, struct rfs_err *err);

#endif

/* What the tests of the log share: a log on a disk in memory, and entries whose bytes follow from
 * their position, so that whoever reads one can tell whether it is right. */
#ifndef RFS_TESTS_WALKIT_H
#define RFS_TESTS_WALKIT_H

#include "../../src/wal/wal.h"
#include "memfs.h"

#define WALKIT_DIR     "/wal"
#define WALKIT_SEGMENT "/wal/log-%016llx"

struct walkit {
	struct memfs *fs;
	struct wal *w;
	struct wal_opts opts;
	struct wal_recovered rec;
	struct rfs_err err;
	struct wal_done done; /* of the last walkit_run() */
};

/* A new disk with no log yet; segments of `segment_bytes`, no thread, no cache beyond what must
 * be. */
void walkit_init(struct walkit *k, uint64_t seed, uint64_t segment_bytes);
void walkit_free(struct walkit *k);
int walkit_open(struct walkit *k);   /* wal_open(); the result in k->rec, k->err */
void walkit_close(struct walkit *k); /* wal_close() */

/* The entry that belongs to a position: payload without zero bytes, 0 to 700 bytes, in `space`. */
#define WALKIT_PAYLOAD_MAX 704u
struct raft_entry walkit_entry(raft_index index, raft_term term, uint8_t space[WALKIT_PAYLOAD_MAX]);
bool walkit_entry_right(const struct raft_entry *e);

void walkit_term(struct walkit *k, raft_term term);
/* Queue entries [first, last] in `term`, each with epoch `epoch`. */
void walkit_append(struct walkit *k, raft_index first, raft_index last, raft_term term,
                   uint64_t epoch);
/* Do all of the writer's work; the completions in k->done, the error in k->err. */
void walkit_run(struct walkit *k);
/* Whether every entry of the log can be read and is right. */
bool walkit_all_right(struct walkit *k);
/* The path of segment `seq`, in a buffer that the next call uses again. */
const char *walkit_segment(uint64_t seq);

#endif

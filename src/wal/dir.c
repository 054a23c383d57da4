#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "wal_priv.h"

#define IDENTITY     "identity"
#define IDENTITY_TMP "identity.tmp"
#define STATE        "state"
#define STATE_TMP    "state.tmp"

/* ---- what is there ---- */

static bool segment_seq_of(const char *name, uint64_t *seq)
{
	char same[WAL_NAME_BYTES];

	if (strncmp(name, "log-", 4) != 0 || strlen(name) != 20)
		return false;
	*seq = strtoull(name + 4, NULL, 16);
	wal_segment_name(*seq, same);
	return *seq > 0 && strcmp(name, same) == 0;
}

static void list_each(void *arg, const char *name)
{
	struct wal_listing *l = arg;
	uint64_t seq;

	l->identity |= strcmp(name, IDENTITY) == 0;
	l->state |= strcmp(name, STATE) == 0;
	l->tmp_identity |= strcmp(name, IDENTITY_TMP) == 0;
	l->tmp_state |= strcmp(name, STATE_TMP) == 0;
	l->tmp_segment |= strcmp(name, WAL_SEGMENT_TMP) == 0;
	if (!segment_seq_of(name, &seq))
		return;
	l->seqs = mem_grow(l->seqs, &l->seqs_cap, l->n_seqs + 1, sizeof(*l->seqs));
	l->seqs[l->n_seqs++] = seq;
}

static int compare_seqs(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int dir_list(struct wal *w, struct wal_listing *out, struct rfs_err *err)
{
	int rc;

	*out = (struct wal_listing){0};
	rc = w->ops->list(w->ops->ctx, w->dir, list_each, out);
	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rfs_err_set(err, rc, "%s: cannot be listed: %s", w->dir, rfs_strerror(rc));
	out->exists = true;
	if (out->n_seqs > 1)
		qsort(out->seqs, out->n_seqs, sizeof(*out->seqs), compare_seqs);
	return 0;
}

void dir_listing_free(struct wal_listing *l)
{
	free(l->seqs);
	l->seqs = NULL;
}

int dir_remove_temporary(struct wal *w, const struct wal_listing *l, struct rfs_err *err)
{
	int rc = 0;

	if (l->tmp_identity)
		rc = io_unlink(w, IDENTITY_TMP, err);
	if (rc == 0 && l->tmp_state)
		rc = io_unlink(w, STATE_TMP, err);
	if (rc == 0 && l->tmp_segment)
		rc = io_unlink(w, WAL_SEGMENT_TMP, err);
	return rc;
}

/* ---- making a directory ---- */

/* A file that appears under its name with all of its bytes; the directory is not synced yet. */
static int make_file(struct wal *w, const char *tmp, const char *name, const void *p, size_t n,
                     struct rfs_err *err)
{
	int fd, rc;

	rc = io_open(w, tmp, true, &fd, err);
	if (rc != 0)
		return rc;
	rc = io_write(w, fd, tmp, p, n, 0, err);
	if (rc == 0)
		rc = io_sync(w, fd, tmp, err);
	io_close(w, &fd);
	return rc == 0 ? io_rename(w, tmp, name, err) : rc;
}

static int sync_parent(struct wal *w, struct rfs_err *err)
{
	char parent[WAL_DIR_BYTES_MAX + 1];
	size_t n = strlen(w->dir);
	int rc;

	while (n > 1 && w->dir[n - 1] == '/')
		n--;
	while (n > 0 && w->dir[n - 1] != '/')
		n--;
	while (n > 1 && w->dir[n - 1] == '/')
		n--;
	memcpy(parent, n > 0 ? w->dir : ".", n > 0 ? n : 1);
	parent[n > 0 ? n : 1] = '\0';
	rc = w->ops->sync_dir(w->ops->ctx, parent);
	return rc == 0 ? 0 : rfs_err_set(err, rc, "%s: fsync: %s", parent, rfs_strerror(rc));
}

static int lost_identity(const struct wal *w, const char *what, struct rfs_err *err)
{
	return rfs_err_set(err, RFS_ECORRUPT, "%s/" IDENTITY ": missing, but %s", w->dir, what);
}

static int check_initial_state(struct wal *w, struct rfs_err *err)
{
	struct wal_state_head h;
	uint8_t head[WAL_HEAD_BYTES];
	int fd, rc;

	rc = io_open(w, STATE, false, &fd, err);
	if (rc != 0)
		return rc;
	rc = io_read(w, fd, STATE, head, sizeof(head), 0, err);
	io_close(w, &fd);
	if (rc != 0)
		return rc;
	if (wal_state_get(head, &h) != 0 || h.term != 0 || h.vote != 0)
		return lost_identity(w, "there is a hard state that was used", err);
	return 0;
}

static int check_empty_segment(struct wal *w, struct rfs_err *err)
{
	uint8_t block[WAL_BLOCK_BYTES];
	char name[WAL_NAME_BYTES];
	int fd, rc;

	wal_segment_name(1, name);
	rc = io_open(w, name, false, &fd, err);
	if (rc != 0)
		return rc;
	rc = io_read(w, fd, name, block, sizeof(block), WAL_BLOCK_BYTES, err);
	io_close(w, &fd);
	for (size_t i = 0; rc == 0 && i < sizeof(block); i++)
		if (block[i] != 0)
			rc = lost_identity(w, "there is a log with entries", err);
	return rc;
}

/* Whether what stands here without an identity is only what dir_make() leaves half-way. */
static int check_half_made(struct wal *w, const struct wal_listing *l, struct rfs_err *err)
{
	int rc = 0;

	if (l->n_seqs > 1 || (l->n_seqs == 1 && l->seqs[0] != 1))
		return lost_identity(w, "there is a log with several segments", err);
	if (l->state)
		rc = check_initial_state(w, err);
	if (rc == 0 && l->n_seqs == 1)
		rc = check_empty_segment(w, err);
	return rc;
}

static int remove_half_made(struct wal *w, const struct wal_listing *l, struct rfs_err *err)
{
	char name[WAL_NAME_BYTES];
	int rc = dir_remove_temporary(w, l, err);

	if (rc == 0 && l->state)
		rc = io_unlink(w, STATE, err);
	wal_segment_name(1, name);
	if (rc == 0 && l->n_seqs == 1)
		rc = io_unlink(w, name, err);
	return rc;
}

static int make_state(struct wal *w, struct rfs_err *err)
{
	uint8_t *both = mem_zalloc(WAL_STATE_BYTES);
	int rc;

	w->state = (struct wal_state_head){
	        .incarnation = w->identity.incarnation, .seq = 1, .segment = 1, .first = 1};
	wal_state_put(both, &w->state);
	wal_state_put(both + WAL_BLOCK_BYTES, &w->state);
	rc = make_file(w, STATE_TMP, STATE, both, WAL_STATE_BYTES, err);
	free(both);
	return rc;
}

static int make_first_segment(struct wal *w, struct rfs_err *err)
{
	struct segment *s = segment_new(1, w->segment_bytes, (struct raft_pos){0});
	bool no_room;
	int rc = segment_make(w, s, 0, &no_room, err);

	segment_free(w, s);
	return rc;
}

int dir_make(struct wal *w, const struct wal_listing *l, struct rfs_err *err)
{
	uint8_t head[WAL_HEAD_BYTES];
	int rc = 0;

	if (l->exists)
		rc = check_half_made(w, l, err);
	if (rc == 0 && l->exists)
		rc = remove_half_made(w, l, err);
	if (rc == 0 && !l->exists) {
		rc = w->ops->mkdir(w->ops->ctx, w->dir);
		if (rc != 0)
			return rfs_err_set(err, rc, "%s: mkdir: %s", w->dir, rfs_strerror(rc));
	}
	if (rc == 0)
		rc = sync_parent(w, err);
	if (rc == 0)
		rc = make_state(w, err);
	if (rc == 0)
		rc = make_first_segment(w, err);
	if (rc == 0)
		rc = io_sync_dir(w, err);
	if (rc != 0)
		return rc;
	wal_identity_put(head, &w->identity);
	rc = make_file(w, IDENTITY_TMP, IDENTITY, head, sizeof(head), err);
	return rc == 0 ? io_sync_dir(w, err) : rc;
}

/* ---- identity ---- */

static int head_error(const struct wal *w, const char *name, uint64_t offset, int rc,
                      struct rfs_err *err)
{
	if (rc == RFS_EVERSION)
		return rfs_err_set(err, rc,
		                   "%s/%s: written in another version of the format; this is %u",
		                   w->dir, name, WAL_FORMAT_VERSION);
	return rfs_err_set(err, rc, "%s/%s offset %" PRIu64 ": the checksum does not match", w->dir,
	                   name, offset);
}

int identity_read(struct wal *w, const struct wal_identity *want, struct rfs_err *err)
{
	uint8_t head[WAL_HEAD_BYTES];
	int fd, rc;

	rc = io_open(w, IDENTITY, false, &fd, err);
	if (rc != 0)
		return rc;
	rc = io_read(w, fd, IDENTITY, head, sizeof(head), 0, err);
	io_close(w, &fd);
	if (rc != 0)
		return rc;
	rc = wal_identity_get(head, &w->identity);
	if (rc != 0)
		return head_error(w, IDENTITY, 0, rc, err);
	if (want->node_id == 0 || (strcmp(w->identity.cluster, want->cluster) == 0 &&
	                           w->identity.node_id == want->node_id))
		return 0;
	return rfs_err_set(err, RFS_EIDENTITY,
	                   "%s belongs to node %" PRIu64 " of cluster \"%s\", not to node %" PRIu64
	                   " of cluster \"%s\"",
	                   w->dir, w->identity.node_id, w->identity.cluster, want->node_id,
	                   want->cluster);
}

/* ---- hard state ---- */

/* The newer good one of two copies; a bad one is no harm, since a state is reported only when both
 * are synced, and one copy at a time is written. */
static int state_choose(struct wal *w, const uint8_t *a, const uint8_t *b, bool *mended,
                        struct rfs_err *err)
{
	struct wal_state_head h[2];
	int rc[2] = {wal_state_get(a, &h[0]), wal_state_get(b, &h[1])};
	int best;

	for (unsigned i = 0; i < 2; i++)
		if (rc[i] == RFS_EVERSION)
			return head_error(w, STATE, i * WAL_BLOCK_BYTES, rc[i], err);
	if (rc[0] != 0 && rc[1] != 0)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s/" STATE " offset 0 and %u: neither copy's checksum matches",
		                   w->dir, WAL_BLOCK_BYTES);
	best = rc[0] != 0 || (rc[1] == 0 && h[1].seq > h[0].seq) ? 1 : 0;
	if (h[best].incarnation != w->identity.incarnation)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s/" STATE " offset %u: it comes from another directory",
		                   w->dir, (unsigned)best * WAL_BLOCK_BYTES);
	*mended = rc[0] != 0 || rc[1] != 0;
	w->state = h[best];
	return 0;
}

int state_read(struct wal *w, bool *mended, struct rfs_err *err)
{
	uint8_t both[2][WAL_HEAD_BYTES];
	uint64_t size;
	int rc;

	rc = io_open(w, STATE, false, &w->state_fd, err);
	if (rc == 0)
		rc = io_size(w, w->state_fd, STATE, &size, err);
	if (rc == 0 && size != WAL_STATE_BYTES)
		rc = rfs_err_set(err, RFS_ECORRUPT,
		                 "%s/" STATE ": its size is %" PRIu64 ", it should be %u", w->dir,
		                 size, WAL_STATE_BYTES);
	if (rc == 0)
		rc = io_read(w, w->state_fd, STATE, both[0], WAL_HEAD_BYTES, 0, err);
	if (rc == 0)
		rc = io_read(w, w->state_fd, STATE, both[1], WAL_HEAD_BYTES, WAL_BLOCK_BYTES, err);
	return rc == 0 ? state_choose(w, both[0], both[1], mended, err) : rc;
}

/* Before recovery has ended, what the state says of the end stays: what it found may stand in the page
 * cache alone. */
static void note_end(struct wal *w)
{
	if (w->current == NULL || w->batch != 0)
		return;
	w->state.end_segment = w->current->seq;
	w->state.end_offset = w->write_offset;
}

int state_write(struct wal *w, struct rfs_err *err)
{
	uint8_t head[WAL_HEAD_BYTES];
	int rc = 0;

	note_end(w);
	w->state.seq++;
	wal_state_put(head, &w->state);
	for (uint64_t i = 0; rc == 0 && i < 2; i++) {
		rc = io_write(w, w->state_fd, STATE, head, sizeof(head), i * WAL_BLOCK_BYTES, err);
		if (rc == 0)
			rc = io_sync(w, w->state_fd, STATE, err);
	}
	return rc;
}

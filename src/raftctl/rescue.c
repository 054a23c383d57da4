#include "rescue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "../wal/wal_format.h"
#include "../wire/codec.h"

#define SEGMENT_BYTES     (1u << 20) /* of a new one, should the last one be full */
#define LOOK_BACK_ENTRIES 1000u      /* for a change, which has a time */

/* The lost servers may have had terms that this one has never heard of, with entries at the very
 * indexes that come next here. None of them may ever be taken for one of ours. */
#define TERM_STEP 1000000u

/* ---- opening ---- */

static int take_lock(struct rescue *r, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/LOCK", r->dir);
	r->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->lock_fd < 0)
		return rfs_err_set(err, -errno, "%s: %s; is this the data directory of a node?",
		                   path, rfs_strerror(-errno));
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return rfs_err_set(err, -EBUSY, "a node runs on %s: stop it first", r->dir);
	return 0;
}

static int read_identity(struct rescue *r, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 16];
	uint8_t head[WAL_HEAD_BYTES];
	int fd, rc;

	(void)snprintf(path, sizeof(path), "%s/wal/identity", r->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	rc = read(fd, head, sizeof(head)) == (ssize_t)sizeof(head)
	             ? wal_identity_get(head, &r->identity)
	             : RFS_ECORRUPT;
	(void)close(fd);
	return rc == 0 ? 0 : rfs_err_set(err, rc, "%s: %s", path, rfs_strerror(rc));
}

static int open_both(struct rescue *r, struct rfs_err *err)
{
	struct wal_opts opts = {.identity = r->identity, .segment_bytes = SEGMENT_BYTES};
	char path[CONFIG_PATH_MAX + 8];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/wal", r->dir);
	rc = wal_open(&r->wal, path, &opts, &r->log, err);
	if (rc != 0)
		return rc;
	(void)snprintf(path, sizeof(path), "%s/store", r->dir);
	return store_open(&r->store, path, &(struct store_opts){0}, err);
}

/* The state must lie within what the log can continue; what a crash has left half done is for the
 * node to finish. */
static int check_fit(const struct rescue *r, struct rfs_err *err)
{
	struct raft_pos applied = store_applied(r->store);
	struct raft_entry e = {.pos = r->log.base};

	if (applied.index == r->log.base.index || wal_entry_at(r->wal, applied.index, &e))
		if (e.pos.index == applied.index && e.pos.term == applied.term)
			return 0;
	return rfs_err_set(err, RFS_ECORRUPT,
	                   "%s: the state was applied to %" PRIu64 " and the log has %" PRIu64
	                   " to %" PRIu64 ": start the node once, so that it can mend that",
	                   r->dir, applied.index, r->log.base.index + 1, r->log.last.index);
}

/* ---- who the members are ---- */

static int founders(struct rescue *r, const struct config *file, struct rfs_err *err)
{
	char address[CONFIG_HOST_MAX + 16];

	if (file == NULL)
		return rfs_err_set(
		        err, RFS_ECONFIG,
		        "the members of this cluster have never changed, so they stand in "
		        "its cluster file alone: name it with --cluster");
	for (size_t i = 0; i < file->n_nodes; i++) {
		r->conf.voters[r->conf.n_voters++] = file->nodes[i].id;
		config_format_endpoint(file->nodes[i].host, file->nodes[i].port, address,
		                       sizeof(address));
		if (!raft_conf_set_member(&r->conf, file->nodes[i].id, address, false))
			return rfs_err_set(err, RFS_ECONFIG,
			                   "%s: the address of node %" PRIu64 " is too long",
			                   file->path, file->nodes[i].id);
	}
	return 0;
}

static int known_before_the_log(struct rescue *r, const struct config *file, struct rfs_err *err)
{
	struct raft_pos pos;
	const void *bytes;
	size_t len;

	store_get_membership(r->store, &pos, &bytes, &len);
	r->conf_index = pos.index;
	if (pos.index == 0)
		return founders(r, file, err);
	if (!raft_conf_decode(&r->conf, bytes, len))
		return rfs_err_set(err, RFS_ECORRUPT, "%s: the membership record does not decode",
		                   r->dir);
	return 0;
}

static int newest_in_the_log(struct rescue *r, struct rfs_err *err)
{
	for (raft_index i = r->log.last.index; i > r->log.base.index && i > r->conf_index; i--) {
		struct raft_entry e;

		if (!wal_entry_at(r->wal, i, &e) || e.kind != RAFT_ENTRY_CONFIG)
			continue;
		if (wal_read(r->wal, i, 1, UINT64_MAX, &e, err) != 1)
			return err->code != 0 ? err->code : RFS_ECORRUPT;
		if (!raft_conf_decode(&r->conf, e.data, e.len))
			return rfs_err_set(err, RFS_ECORRUPT,
			                   "%s: the membership of entry %" PRIu64
			                   " does not decode",
			                   r->dir, i);
		r->conf_index = i;
		return 0;
	}
	return 0;
}

static void find_last_change(struct rescue *r)
{
	struct wire_arena *arena = wire_arena_new();
	raft_index i = r->log.last.index;

	for (unsigned n = 0; n < LOOK_BACK_ENTRIES && i > r->log.base.index; n++, i--) {
		struct rfs_err err = {0};
		struct store_cmd cmd;
		struct raft_entry e;
		struct fs_op op;

		if (!wal_entry_at(r->wal, i, &e) || e.kind != RAFT_ENTRY_COMMAND ||
		    wal_read(r->wal, i, 1, UINT64_MAX, &e, &err) != 1 ||
		    wire_get_command(e.data, e.len, arena, &cmd, &op, &err) != 0)
			continue;
		r->last_change_ns = cmd.time_ns;
		break;
	}
	wire_arena_free(arena);
}

int rescue_open(struct rescue *r, const char *dir, const struct config *file, struct rfs_err *err)
{
	int rc;

	*r = (struct rescue){.lock_fd = -1};
	rc = config_absolute(dir, r->dir, err);
	if (rc == 0)
		rc = take_lock(r, err);
	if (rc == 0)
		rc = read_identity(r, err);
	if (rc == 0 && file != NULL && strcmp(file->name, r->identity.cluster) != 0)
		rc = rfs_err_set(err, RFS_EIDENTITY, "%s belongs to cluster %s, %s describes %s",
		                 r->dir, r->identity.cluster, file->path, file->name);
	if (rc == 0)
		rc = open_both(r, err);
	if (rc == 0)
		rc = check_fit(r, err);
	if (rc == 0)
		rc = known_before_the_log(r, file, err);
	if (rc == 0)
		rc = newest_in_the_log(r, err);
	if (rc == 0)
		find_last_change(r);
	return rc;
}

/* ---- changing ---- */

int rescue_append(struct rescue *r, const struct raft_conf *conf, struct rfs_err *err)
{
	struct raft_pos pos = {r->log.last.index + 1, r->log.term + TERM_STEP};
	uint8_t bytes[RAFT_CONF_BYTES_MAX];
	struct raft_entry e = {.pos = pos, .kind = RAFT_ENTRY_CONFIG, .data = bytes};
	struct wal_done done = {0};

	e.len = (uint32_t)raft_conf_encode(conf, bytes);
	wal_set_state(r->wal, pos.term, 0, 1);
	wal_append(r->wal, &e, 1, 1);
	while (wal_work(r->wal))
		;
	wal_poll(r->wal, &done, err);
	if (done.error != 0)
		return done.error;
	if (!done.log || done.log_pos.index != pos.index)
		return rfs_err_set(err, -ENOSPC, "%s/wal: no room for one more entry", r->dir);
	return 0;
}

void rescue_close(struct rescue *r)
{
	store_close(r->store);
	wal_close(r->wal);
	if (r->lock_fd >= 0)
		(void)close(r->lock_fd);
}

/* From what is on disk to a core that goes on from there. */
#include "node_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

#define LOCK_WAIT_MS  500u
#define LOCK_EVERY_MS 10u

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

/* ---- data directory ---- */

/* mkdir -p, each new directory synced into its parent. */
static int make_dirs(const char *path, struct rfs_err *err)
{
	char part[CONFIG_PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return rfs_err_set(err, -ENAMETOOLONG,
		                   "data directory \"%s\": path too long or empty", path);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return rfs_err_set(err, -errno, "cannot make data directory %s: %s", part,
			                   rfs_strerror(-errno));
	}
	return 0;
}

/* A process that was killed a moment ago may not be quite gone. */
static int take_lock(int fd)
{
	uint64_t until = clock_mono_ms() + LOCK_WAIT_MS;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK || clock_mono_ms() >= until)
			return -1;
		uv_sleep(LOCK_EVERY_MS);
	}
	return 0;
}

static int lock_dir(struct node *n, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 8];
	char holder[32] = "";
	ssize_t got;

	(void)snprintf(path, sizeof(path), "%s/LOCK", n->data_dir);
	n->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (n->lock_fd < 0)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	if (take_lock(n->lock_fd) != 0) {
		got = pread(n->lock_fd, holder, sizeof(holder) - 1, 0);
		return rfs_err_set(err, -EBUSY,
		                   "data directory %s is in use by another process%s%s",
		                   n->data_dir, got > 0 ? ", pid " : "", holder);
	}
	/* The pid is a help for people; the lock does not depend on it. Written over the old one: a
	 * full disk might have no room for it a second time. */
	(void)snprintf(holder, sizeof(holder), "%-10ld", (long)getpid());
	if (pwrite(n->lock_fd, holder, strlen(holder), 0) < 0)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	return 0;
}

int node_unlock_dir(struct node *n)
{
	return n->lock_fd >= 0 ? close(n->lock_fd) : 0;
}

/* ---- recovery ---- */

static void on_wal_notify(void *ctx)
{
	struct node *n = ctx;

	uv_async_send(&n->wal_news);
}

static void tell_recovered(const struct node *n, const struct wal_recovered *rec)
{
	if (rec->created) {
		log_info("new data directory %s", n->data_dir);
		return;
	}
	if (rec->torn)
		log_warn("log: a torn tail was cut (never acknowledged): %s", rec->torn_text);
	log_info(
	        "recovered: term %llu, log %llu..%llu in %llu segments, state applied to %llu (%s)",
	        ull(rec->term), ull(rec->base.index + 1), ull(rec->last.index), ull(rec->segments),
	        ull(store_applied(n->store).index), n->data_dir);
}

static int open_log(struct node *n, struct wal_recovered *rec, struct rfs_err *err)
{
	struct wal_opts opts = {
	        .identity = {.node_id = n->id, .incarnation = clock_random_u64()},
	        .segment_bytes = n->space.segment_bytes,
	        .cache_bytes = NODE_CACHE_BYTES,
	        .threaded = true,
	        .notify = on_wal_notify,
	        .notify_ctx = n,
	};
	char dir[CONFIG_PATH_MAX + 8];

	_Static_assert(sizeof(opts.identity.cluster) >= sizeof(n->config.name), "cluster name");
	memcpy(opts.identity.cluster, n->config.name, sizeof(n->config.name));
	(void)snprintf(dir, sizeof(dir), "%s/wal", n->data_dir);
	return wal_open(&n->wal, dir, &opts, rec, err);
}

int node_open_store(struct node *n, struct rfs_err *err)
{
	struct store_opts opts = {
	        .version_max = n->config.protocol_version_max,
	        .on_change = watch_change,
	        .on_lock = locks_on_news,
	        .ctx = n,
	};
	char dir[CONFIG_PATH_MAX + 8];
	int rc;

	(void)snprintf(dir, sizeof(dir), "%s/store", n->data_dir);
	rc = store_open(&n->store, dir, &opts, err);
	return rc == 0 ? watch_start(n, err) : rc;
}

/* The state on disk must lie within what the log can continue. A crash between a store that was switched to a snapshot
 * and the log that was to begin anew behind it is mended here (docs/snapshot-format.md, "The log"). */
static int fit_log(struct node *n, struct wal_recovered *rec, struct rfs_err *err)
{
	struct raft_pos applied = store_applied(n->store), installed = store_installed(n->store);
	struct raft_entry e = {.pos = rec->base};

	if (applied.index < rec->base.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: the state ends at %llu but the log starts behind %llu: "
		                   "entries are missing",
		                   n->data_dir, ull(applied.index), ull(rec->base.index));
	if (applied.index == rec->base.index || wal_entry_at(n->wal, applied.index, &e))
		if (e.pos.term == applied.term)
			return 0;
	if (applied.index != installed.index || applied.term != installed.term)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: the state was applied to %llu of term %llu but the log, "
		                   "which ends at %llu, does not have that: log entries are lost",
		                   n->data_dir, ull(applied.index), ull(applied.term),
		                   ull(rec->last.index));
	log_info("the log begins anew behind the snapshot of %llu", ull(applied.index));
	if (rec->term < applied.term) {
		rec->term = applied.term;
		rec->vote = 0;
		wal_set_state(n->wal, rec->term, 0, 0);
	}
	rec->base = rec->last = applied;
	return wal_reset(n->wal, applied, err);
}

/* Whom the cluster was founded with: those of the file, unless we join later. */
static int founders(const struct node *n, struct raft_conf *conf, struct rfs_err *err)
{
	char address[CONFIG_HOST_MAX + 16];

	_Static_assert(CONFIG_NODES_MAX <= RAFT_MEMBERS_MAX,
	               "every node of the file can be a voter");
	if (n->joins || config_node_by_id(&n->config, n->id) == NULL)
		return 0;
	for (size_t i = 0; i < n->config.n_nodes; i++) {
		const struct config_node *cn = &n->config.nodes[i];

		conf->voters[conf->n_voters++] = cn->id;
		config_format_endpoint(cn->host, cn->port, address, sizeof(address));
		if (!raft_conf_set_member(conf, cn->id, address, false))
			return rfs_err_set(err, RFS_ECONFIG,
			                   "%s: the address of node %llu has more than %u bytes",
			                   n->config.path, ull(cn->id), RAFT_ADDRESS_MAX);
	}
	return 0;
}

/* The newest configuration outside the log: what the state machine has applied, or the founders. */
static int known_conf(const struct node *n, struct raft_recovered *state, struct rfs_err *err)
{
	struct raft_pos pos;
	const void *bytes;
	size_t len;

	store_get_membership(n->store, &pos, &bytes, &len);
	state->conf_index = pos.index;
	if (pos.index == 0)
		return founders(n, &state->conf, err);
	if (!raft_conf_decode(&state->conf, bytes, len))
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: the membership record of entry %llu does not decode",
		                   n->data_dir, ull(pos.index));
	return 0;
}

/* The core wants to see the payload of configurations that the state machine has not applied. */
static int read_confs(struct node *n, struct raft_entry *entries, size_t len, raft_index behind,
                      struct rfs_err *err)
{
	for (size_t i = 0; i < len; i++) {
		struct raft_entry e;

		if (entries[i].kind != RAFT_ENTRY_CONFIG || entries[i].pos.index <= behind)
			continue;
		if (wal_read(n->wal, entries[i].pos.index, 1, UINT64_MAX, &e, err) != 1)
			return err->code != 0 ? err->code : RFS_ECORRUPT;
		entries[i].data = mem_dup(e.data, e.len);
	}
	return 0;
}

static void free_entries(struct raft_entry *entries, size_t len)
{
	for (size_t i = 0; i < len; i++)
		free((void *)(uintptr_t)entries[i].data);
	free(entries);
}

static int start_core(struct node *n, const struct wal_recovered *rec, struct rfs_err *err)
{
	size_t len = rec->last.index - rec->base.index;
	struct raft_entry *entries = mem_calloc(len, sizeof(*entries));
	struct raft_opts opts = {
	        .id = n->id,
	        .seed = clock_random_u64(),
	        .election_min_ms = n->config.election_min_ms,
	        .election_max_ms = n->config.election_max_ms,
	        .heartbeat_ms = n->config.heartbeat_ms,
	        .append_bytes_max = NODE_APPEND_BYTES_MAX,
	        .inflight_bytes_max = NODE_INFLIGHT_BYTES_MAX,
	        .inflight_msgs_max = NODE_INFLIGHT_MSGS_MAX,
	        .uncommitted_bytes_max = n->space.uncommitted_bytes,
	        .commit_delay_ms = NODE_COMMIT_DELAY_MS,
	};
	struct raft_recovered *state = mem_zalloc(sizeof(*state));
	int rc;

	*state = (struct raft_recovered){
	        .base = rec->base,
	        .entries = entries,
	        .n = len,
	        .term = rec->term,
	        .vote = rec->vote,
	        .applied = store_applied(n->store).index,
	};
	for (size_t i = 0; i < len; i++) {
		rfs_check(wal_entry_at(n->wal, rec->base.index + 1 + i, &entries[i]));
		entries[i].data = NULL;
	}
	rc = known_conf(n, state, err);
	if (rc == 0)
		rc = read_confs(n, entries, len, state->conf_index, err);
	if (rc == 0)
		n->raft = raft_new(&opts, state, clock_mono_ms());
	n->commit = state->applied;
	n->role = RAFT_FOLLOWER;
	free_entries(entries, len);
	free(state);
	if (rc == 0 && n->raft == NULL)
		rc = rfs_err_set(err, RFS_ECORRUPT,
		                 "%s: a configuration in the log does not decode", n->data_dir);
	return rc;
}

/* A server that joins stays one until the log says otherwise, however often it is restarted and whatever the file says:
 * as a founder with an empty log it could vote. */
static int mark_joining(struct node *n, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 16];
	int fd, dir, rc = 0;

	(void)snprintf(path, sizeof(path), "%s/joins", n->data_dir);
	if (access(path, F_OK) == 0)
		n->joins = true;
	if (!n->joins || access(path, F_OK) == 0)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	dir = open(n->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || dir < 0 || fsync(fd) != 0 || fsync(dir) != 0)
		rc = rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	if (fd >= 0)
		(void)close(fd);
	if (dir >= 0)
		(void)close(dir);
	return rc;
}

int node_recover(struct node *n, struct rfs_err *err)
{
	struct wal_recovered rec = {0};
	int rc;

	rc = make_dirs(n->data_dir, err);
	if (rc == 0)
		rc = lock_dir(n, err);
	if (rc == 0)
		rc = mark_joining(n, err);
	if (rc == 0)
		rc = incarnations_load(n, err);
	space_choose_sizes(n);
	if (rc == 0)
		rc = open_log(n, &rec, err);
	if (rc == 0)
		rc = node_open_store(n, err);
	if (rc == 0)
		rc = fit_log(n, &rec, err);
	if (rc != 0)
		return rc;
	n->incarnation = rec.identity.incarnation;
	tell_recovered(n, &rec);
	return start_core(n, &rec, err);
}

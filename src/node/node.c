/* A node's life: data directory, recovery, start, stop. */
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
#define SWEEP_MS      500u

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
	/* The pid is a help for people; the lock does not depend on it. */
	(void)snprintf(holder, sizeof(holder), "%ld", (long)getpid());
	if (ftruncate(n->lock_fd, 0) != 0 || pwrite(n->lock_fd, holder, strlen(holder), 0) < 0)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	return 0;
}

static int unlock_dir(struct node *n)
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
	        .segment_bytes = NODE_SEGMENT_BYTES,
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

static int open_store(struct node *n, struct rfs_err *err)
{
	struct store_opts opts = {.version_max = n->config.protocol_version_max};
	char dir[CONFIG_PATH_MAX + 8];

	(void)snprintf(dir, sizeof(dir), "%s/store", n->data_dir);
	return store_open(&n->store, dir, &opts, err);
}

/* The state on disk must lie within what the log can continue. */
static int check_fit(const struct node *n, const struct wal_recovered *rec, struct rfs_err *err)
{
	struct raft_pos applied = store_applied(n->store);

	if (applied.index < rec->base.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: the state ends at %llu but the log starts behind %llu: "
		                   "entries are missing",
		                   n->data_dir, ull(applied.index), ull(rec->base.index));
	if (applied.index > rec->last.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: the state was applied to %llu but the log ends at %llu: "
		                   "log entries are lost",
		                   n->data_dir, ull(applied.index), ull(rec->last.index));
	return 0;
}

static void make_conf(const struct node *n, struct raft_conf *conf)
{
	_Static_assert(CONFIG_NODES_MAX <= RAFT_MEMBERS_MAX,
	               "every node of the file can be a voter");
	for (size_t i = 0; i < n->config.n_nodes; i++)
		conf->voters[conf->n_voters++] = n->config.nodes[i].id;
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
	        .uncommitted_bytes_max = NODE_UNCOMMITTED_BYTES_MAX,
	        .commit_delay_ms = NODE_COMMIT_DELAY_MS,
	};
	struct raft_recovered state = {
	        .base = rec->base,
	        .entries = entries,
	        .n = len,
	        .term = rec->term,
	        .vote = rec->vote,
	        .applied = store_applied(n->store).index,
	};

	for (size_t i = 0; i < len; i++)
		rfs_check(wal_entry_at(n->wal, rec->base.index + 1 + i, &entries[i]));
	make_conf(n, &state.conf);
	n->raft = raft_new(&opts, &state, clock_mono_ms());
	n->commit = state.applied;
	n->role = RAFT_FOLLOWER;
	free(entries);
	if (n->raft == NULL)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "%s: a configuration in the log does not decode", n->data_dir);
	return 0;
}

static int recover(struct node *n, struct rfs_err *err)
{
	struct wal_recovered rec = {0};
	int rc;

	rc = make_dirs(n->data_dir, err);
	if (rc == 0)
		rc = lock_dir(n, err);
	if (rc == 0)
		rc = incarnations_load(n, err);
	if (rc == 0)
		rc = open_log(n, &rec, err);
	if (rc == 0)
		rc = open_store(n, err);
	if (rc == 0)
		rc = check_fit(n, &rec, err);
	if (rc != 0)
		return rc;
	n->incarnation = rec.identity.incarnation;
	tell_recovered(n, &rec);
	return start_core(n, &rec, err);
}

/* ---- the loop's handles ---- */

static void on_wal_news(uv_async_t *a)
{
	node_take_wal_news(a->data);
}

static void on_again(uv_async_t *a)
{
	(void)a; /* the end of this turn does the work */
}

static void on_prepare(uv_prepare_t *p)
{
	node_end_turn(p->data);
}

static void on_sweep(uv_timer_t *t)
{
	sessions_sweep(t->data);
}

static void init_handles(struct node *n)
{
	rfs_check(uv_async_init(n->loop, &n->wal_news, on_wal_news) == 0);
	rfs_check(uv_async_init(n->loop, &n->again, on_again) == 0);
	(void)uv_timer_init(n->loop, &n->tick);
	(void)uv_timer_init(n->loop, &n->sweep);
	(void)uv_prepare_init(n->loop, &n->end_of_turn);
	n->wal_news.data = n->again.data = n->tick.data = n->sweep.data = n->end_of_turn.data = n;
}

static void free_node(struct node *n)
{
	wire_arena_free(n->arena);
	wire_arena_free(n->apply_arena);
	sessions_free(n);
	raft_out_free(&n->out);
	raft_free(n->raft);
	buf_free(&n->batch_bytes);
	free(n->batch);
	free(n->batch_from);
	free(n->pending.slot);
	free(n->scratch);
	free(n->peers);
	if (unlock_dir(n) != 0)
		log_warn("closing the lock of %s: %s", n->data_dir, rfs_strerror(-errno));
	free(n);
}

/* ---- start ---- */

static int listen_and_identify(struct node *n, const struct config_node *self, struct rfs_err *err)
{
	int rc;

	memcpy(n->identity.cluster, n->config.name, sizeof(n->config.name));
	n->identity.node_id = n->id;
	n->identity.incarnation = n->incarnation;
	n->identity.version_max = n->config.protocol_version_max;
	n->identity.judge = incarnations_judge;
	n->identity.judge_ctx = n;
	n->limits = NET_LIMITS_DEFAULT;
	version_applied(n);
	rc = net_listen(&n->listener, n->loop, &n->identity, &n->limits, self->host, self->port,
	                &node_accept_handler, n, err);
	if (rc != 0)
		return rc;
	n->port = net_listener_port(n->listener);
	config_format_endpoint(self->host, n->port, n->address, sizeof(n->address));
	return 0;
}

/* Whatever has to close before the node can be freed counts in n->closing. */
void node_closed_one(struct node *n)
{
	void (*stopped)(void *ctx) = n->stopped;
	void *ctx = n->stopped_ctx;

	rfs_check(n->closing > 0);
	if (--n->closing > 0)
		return;
	store_close(n->store);
	free_node(n);
	if (stopped != NULL)
		stopped(ctx);
}

static void handle_closed(uv_handle_t *h)
{
	node_closed_one(h->data);
}

static void close_handles(struct node *n)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&n->wal_news, (uv_handle_t *)&n->again,
	                          (uv_handle_t *)&n->tick, (uv_handle_t *)&n->sweep,
	                          (uv_handle_t *)&n->end_of_turn};

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
		n->closing++;
		uv_close(handles[i], handle_closed);
	}
}

int node_start(struct node **out, uv_loop_t *loop, const struct node_opts *opts,
               struct rfs_err *err)
{
	const struct config_node *self = config_node_by_id(opts->config, opts->id);
	struct node *n;
	int rc;

	if (self == NULL)
		return rfs_err_set(err, RFS_ECONFIG, "%s: no [[node]] has id %llu",
		                   opts->config->path, ull(opts->id));
	n = mem_zalloc(sizeof(*n));
	RFS_MAGIC_SET(n, NODE_MAGIC);
	n->loop = loop;
	n->config = *opts->config;
	n->id = opts->id;
	n->lock_fd = -1;
	n->on_fatal = opts->on_fatal;
	n->ctx = opts->ctx;
	n->started_ms = clock_mono_ms();
	if (opts->data_dir != NULL)
		(void)snprintf(n->data_dir, sizeof(n->data_dir), "%s", opts->data_dir);
	else if ((size_t)snprintf(n->data_dir, sizeof(n->data_dir), "%s/%llu",
	                          n->config.data_directory, ull(n->id)) >= sizeof(n->data_dir))
		n->data_dir[0] = '\0';
	n->arena = wire_arena_new();
	n->apply_arena = wire_arena_new();
	raft_out_init(&n->out);
	init_handles(n);
	rc = recover(n, err);
	if (rc == 0)
		rc = listen_and_identify(n, self, err);
	if (rc != 0) {
		wal_close(n->wal);
		n->wal = NULL;
		close_handles(n);
		return rc;
	}
	peers_start(n);
	(void)uv_prepare_start(&n->end_of_turn, on_prepare);
	(void)uv_timer_start(&n->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	log_info("node %llu of cluster %s listens on %s", ull(n->id), n->config.name, n->address);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TICK});
	*out = n;
	return 0;
}

/* ---- stop ---- */

/* ---- stop ---- */

static void listener_closed(void *ctx)
{
	node_closed_one(ctx);
}

static void stop_now(struct node *n)
{
	n->leaving = false;
	n->stopping = true;
	/* Tell those who wait, so that they turn to the others at once. */
	serve_fail_pending(n, RFS_EUNKNOWN);
	reads_refuse_all(n);
	conns_flush(n);
	/* The writer first: it must not send to a handle that is closing. */
	wal_close(n->wal);
	n->wal = NULL;
	n->closing++;
	peers_stop(n);
	n->closing++;
	net_listener_close(n->listener, listener_closed, n);
	close_handles(n);
	node_closed_one(n);
}

static void on_handover_timeout(uv_timer_t *t)
{
	stop_now(t->data);
}

void node_handover_ended(struct node *n)
{
	/* not from inside a step: the timer's next turn */
	if (n->leaving)
		(void)uv_timer_start(&n->sweep, on_handover_timeout, 0, 0);
}

/* A leader hands over first, so that nobody has to notice its silence: thesis 3.10. */
static bool hand_over(struct node *n)
{
	if (n->role != RAFT_LEADER || n->failed)
		return false;
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TRANSFER});
	if (n->out.error != 0 || n->role != RAFT_LEADER)
		return false;
	n->leaving = true;
	(void)uv_timer_start(&n->sweep, on_handover_timeout, 2u * n->config.election_max_ms, 0);
	return true;
}

void node_stop(struct node *n, void (*stopped)(void *ctx), void *ctx)
{
	RFS_MAGIC_CHECK(n, NODE_MAGIC);
	rfs_check(n->stopped == NULL);
	n->stopped = stopped;
	n->stopped_ctx = ctx;
	if (!hand_over(n))
		stop_now(n);
}

uint16_t node_port(const struct node *n)
{
	return n->port;
}

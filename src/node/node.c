/* A node's life: data directory, recovery, start, stop. */
#include "node_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

#define SWEEP_MS 500u

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
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
	struct node *n = t->data;

	if (node_is_out(n))
		return;
	sessions_sweep(n);
	members_sweep(n);
	backups_sweep(n);
	reads_probe(n);
}

static void init_handles(struct node *n)
{
	rfs_check(uv_async_init(n->loop, &n->wal_news, on_wal_news) == 0);
	rfs_check(uv_async_init(n->loop, &n->again, on_again) == 0);
	(void)uv_timer_init(n->loop, &n->tick);
	(void)uv_timer_init(n->loop, &n->sweep);
	(void)uv_timer_init(n->loop, &n->resume);
	(void)uv_timer_init(n->loop, &n->space.watch);
	(void)uv_prepare_init(n->loop, &n->end_of_turn);
	n->wal_news.data = n->again.data = n->tick.data = n->sweep.data = n->end_of_turn.data = n;
	n->resume.data = n->space.watch.data = n;
}

static void free_node(struct node *n)
{
	wire_arena_free(n->arena);
	wire_arena_free(n->apply_arena);
	sessions_free(n);
	watch_stop(n);
	raft_out_free(&n->out);
	raft_free(n->raft);
	buf_free(&n->batch_bytes);
	free(n->batch);
	free(n->batch_from);
	free(n->pending.slot);
	free(n->scratch);
	if (node_unlock_dir(n) != 0)
		log_warn("closing the lock of %s: %s", n->data_dir, rfs_strerror(-errno));
	free(n);
}

/* ---- start ---- */

/* Where to listen: as told, as the membership says, or as the file does. Metrics: as told, or as the file says. */
static int find_self(struct node *n, const struct node_opts *opts, struct rfs_err *err)
{
	const struct raft_member *m = raft_conf_member(raft_get_conf(n->raft), n->id);
	const struct config_node *cn = config_node_by_id(&n->config, n->id);
	struct config_node *self = &n->self;

	if (cn != NULL)
		*self = *cn;
	if (opts->metrics != NULL &&
	    config_parse_listen(opts->metrics, self->metrics_host, &self->metrics_port) != 0)
		return rfs_err_set(err, RFS_ECONFIG, "\"%s\" is not HOST:PORT", opts->metrics);
	if (opts->listen != NULL)
		return config_parse_endpoint(opts->listen, self->host, &self->port) == 0
		               ? 0
		               : rfs_err_set(err, RFS_ECONFIG, "\"%s\" is not HOST:PORT",
		                             opts->listen);
	if (m != NULL && config_parse_endpoint(m->address, self->host, &self->port) == 0)
		return 0;
	return cn != NULL ? 0
	                  : rfs_err_set(err, RFS_ECONFIG, "%s: no [[node]] has id %llu",
	                                n->config.path, ull(n->id));
}

static int listen_and_identify(struct node *n, struct rfs_err *err)
{
	int rc;

	memcpy(n->identity.cluster, n->config.name, sizeof(n->config.name));
	n->identity.node_id = n->id;
	n->identity.incarnation = n->incarnation;
	n->identity.version_max = n->config.protocol_version_max;
	n->identity.judge = incarnations_judge;
	n->identity.judge_ctx = n;
	n->identity.tls = n->tls;
	n->limits = NET_LIMITS_DEFAULT;
	version_applied(n);
	n->limits.traffic = &n->traffic;
	rc = net_listen(&n->listener, n->loop, &n->identity, &n->limits, n->self.host, n->self.port,
	                &node_accept_handler, n, err);
	if (rc != 0)
		return rc;
	n->port = net_listener_port(n->listener);
	config_format_endpoint(n->self.host, n->port, n->address, sizeof(n->address));
	(void)snprintf(n->identity.address, sizeof(n->identity.address), "%s", n->address);
	return 0;
}

/* Whatever has to close before the node can be freed counts in n->closing, and so does its life. */
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
	uv_handle_t *handles[] = {(uv_handle_t *)&n->wal_news,   (uv_handle_t *)&n->again,
	                          (uv_handle_t *)&n->tick,       (uv_handle_t *)&n->sweep,
	                          (uv_handle_t *)&n->resume,     (uv_handle_t *)&n->end_of_turn,
	                          (uv_handle_t *)&n->space.watch};

	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
		n->closing++;
		uv_close(handles[i], handle_closed);
	}
	web_stop(n);
}

/* A server that joined once needs no line in the file to come back. */
static bool has_log(const struct node *n)
{
	char path[CONFIG_PATH_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s/wal", n->data_dir);
	return access(path, F_OK) == 0;
}

static void tell_membership(const struct node *n)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);

	if (conf->n_voters == 0)
		log_info("this node waits to be added: raftctl member add %llu %s", ull(n->id),
		         n->address);
	else if (!raft_conf_is_member(conf, n->id))
		log_warn("this node (%llu) is no member of cluster %s as far as it knows",
		         ull(n->id), n->config.name);
}

int node_start(struct node **out, uv_loop_t *loop, const struct node_opts *opts,
               struct rfs_err *err)
{
	struct node *n = mem_zalloc(sizeof(*n));
	int rc = 0;

	RFS_MAGIC_SET(n, NODE_MAGIC);
	n->closing = 1;
	n->joins = opts->join;
	n->loop = loop;
	n->config = *opts->config;
	n->id = opts->id;
	n->lock_fd = -1;
	n->on_fatal = opts->on_fatal;
	n->on_leader = opts->on_leader;
	n->tls = opts->tls;
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
	if (!n->joins && config_node_by_id(&n->config, n->id) == NULL && !has_log(n))
		rc = rfs_err_set(err, RFS_ECONFIG, "%s: no [[node]] has id %llu", n->config.path,
		                 ull(n->id));
	if (rc == 0)
		rc = node_recover(n, err);
	if (rc == 0)
		rc = find_self(n, opts, err);
	if (rc == 0)
		rc = web_start(n, err);
	if (rc == 0)
		rc = listen_and_identify(n, err);
	if (rc != 0) {
		wal_close(n->wal);
		n->wal = NULL;
		close_handles(n);
		node_closed_one(n);
		return rc;
	}
	members_follow(n);
	tell_membership(n);
	(void)uv_prepare_start(&n->end_of_turn, on_prepare);
	(void)uv_timer_start(&n->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	space_start(n);
	log_info("node %llu of cluster %s listens on %s", ull(n->id), n->config.name, n->address);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TICK});
	*out = n;
	return 0;
}

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
	locks_send_away(n, RFS_ESHUTDOWN);
	reads_refuse_all(n);
	admin_fail_all(n, RFS_ESHUTDOWN);
	watch_stop(n);
	conns_flush(n);
	sends_stop(n);
	recv_stop(n);
	backups_stop(n);
	/* The writer first: it must not send to a handle that is closing. */
	wal_close(n->wal);
	n->wal = NULL;
	peers_stop(n);
	space_stop(n);
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

/* A leader hands over first, so that nobody has to notice its silence: thesis 3.10. It stays until the other leads: its
 * own vote may be the one that is needed. */
static bool hand_over(struct node *n)
{
	if (n->role != RAFT_LEADER || n->failed || n->suspended)
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

#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include "../base/log.h"
#include "../client/client.h"

#define ASK_MS         1000u
#define ADMIN_MS       30000u
#define FILE_BYTES_MAX 16384

/* ---- a client for a few questions ---- */

struct asker {
	uv_loop_t loop;
	struct client *client;
	bool done;
	int code;
	char text[WIRE_TEXT_MAX];
	struct wire_status status;
};

static void asker_open(struct asker *a, const struct client_opts *opts)
{
	(void)uv_loop_init(&a->loop);
	a->client = client_new(&a->loop, opts);
}

static void asker_close(struct asker *a)
{
	client_close(a->client, NULL, NULL);
	(void)uv_run(&a->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&a->loop);
}

static void wait_done(struct asker *a)
{
	while (!a->done)
		(void)uv_run(&a->loop, UV_RUN_ONCE);
}

static void on_status(void *ctx, const struct wire_status *st, const struct rfs_err *err)
{
	struct asker *a = ctx;

	a->done = true;
	a->code = st != NULL ? 0 : err->code;
	if (st != NULL)
		a->status = *st;
	else
		(void)snprintf(a->text, sizeof(a->text), "%.255s", err->msg);
}

static void on_admin(void *ctx, int code, const char *text)
{
	struct asker *a = ctx;

	a->done = true;
	a->code = code;
	(void)snprintf(a->text, sizeof(a->text), "%s", text);
}

/* ---- join ---- */

static void on_pause(uv_timer_t *t)
{
	uv_close((uv_handle_t *)t, NULL);
}

static void pause_loop(struct asker *a)
{
	uv_timer_t timer;
	uint64_t until;

	(void)uv_timer_init(&a->loop, &timer);
	(void)uv_timer_start(&timer, on_pause, ASK_MS, 0);
	uv_update_time(&a->loop);
	until = uv_now(&a->loop) + ASK_MS;
	while (uv_now(&a->loop) < until || uv_is_active((uv_handle_t *)&timer))
		(void)uv_run(&a->loop, UV_RUN_ONCE);
}

/* Until it answers and knows of a membership. */
static void ask_until_answered(struct asker *a, const struct config_node *node,
                               const char *endpoint)
{
	bool said = false;

	for (;;) {
		a->done = false;
		client_status(a->client, node, ASK_MS, on_status, a);
		wait_done(a);
		if (a->code == 0 && a->status.n_members > 0)
			return;
		if (!said)
			log_info("waiting for %s to say which cluster this is: %s", endpoint,
			         a->code != 0 ? a->text : "it waits itself");
		said = true;
		pause_loop(a);
	}
}

static int write_file(const char *path, const char *text, struct rfs_err *err)
{
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) != 0)
		rc = errno != 0 ? -errno : -EIO;
	(void)close(fd);
	return rc == 0 ? 0 : rfs_err_set(err, rc, "%s: %s", path, rfs_strerror(rc));
}

/* What was learned, as a cluster file. */
static int keep(const struct wire_status *st, const struct config_tls *tls, const char *path,
                struct rfs_err *err)
{
	char text[FILE_BYTES_MAX], tmp[CONFIG_PATH_MAX + 32];
	size_t at;
	int rc;

	at = (size_t)snprintf(
	        text, sizeof(text),
	        "# What this server was told when it joined. The membership itself is in the log.\n"
	        "[cluster]\nname = \"%s\"\n\n[raft]\n"
	        "election_timeout_ms = { min = %u, max = %u }\n"
	        "heartbeat_interval_ms = %u\n\n[client]\nsession_timeout_ms = %u\n",
	        st->cluster, st->election_min_ms, st->election_max_ms, st->heartbeat_ms,
	        st->session_timeout_ms);
	for (size_t i = 0; i < st->n_members && i < CONFIG_NODES_MAX && at < sizeof(text); i++) {
		char host[CONFIG_HOST_MAX + 1];
		uint16_t port;

		if (config_parse_endpoint(st->members[i].address, host, &port) != 0)
			continue;
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		                       "\n[[node]]\nid = %" PRIu64 "\nhost = \"%s\"\nport = %u\n",
		                       st->members[i].id, host, port);
	}
	if (tls->on && at < sizeof(text))
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		                       "\n[tls]\nca = '%s'\ncert = '%s'\nkey = '%s'\n", tls->ca,
		                       tls->cert, tls->key);
	if (at >= sizeof(text))
		return rfs_err_set(err, -E2BIG, "%s: what the cluster says of itself is too long",
		                   path);
	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	rc = write_file(tmp, text, err);
	if (rc == 0 && rename(tmp, path) != 0)
		rc = rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	return rc;
}

/* TOML's literal strings have no escapes. */
static bool can_stand_in_file(const struct config_tls *tls)
{
	const char *const paths[] = {tls->ca, tls->cert, tls->key};

	for (size_t i = 0; i < 3; i++)
		for (const char *p = paths[i]; *p != '\0'; p++)
			if (*p == '\'' || (unsigned char)*p < 0x20 || *p == 0x7f)
				return false;
	return true;
}

int join_config(struct config *cfg, const char *endpoint, raft_id id, const char *dir,
                struct rfs_err *err)
{
	static struct asker a;
	struct client_opts opts = {.n_nodes = 1};
	struct tls_context *tls = NULL;
	char path[CONFIG_PATH_MAX + 16];
	int rc;

	(void)snprintf(path, sizeof(path), "%s/cluster.toml", dir);
	if (access(path, F_OK) == 0)
		return config_load(cfg, path, err);
	if (config_parse_endpoint(endpoint, opts.nodes[0].host, &opts.nodes[0].port) != 0)
		return rfs_err_set(err, RFS_ECONFIG,
		                   "--join wants HOST:PORT of a server, not \"%s\"", endpoint);
	if (!can_stand_in_file(&cfg->tls))
		return rfs_err_set(err, RFS_ECONFIG,
		                   "--ca, --cert, --key: a path with quotes or control characters");
	if (config_tls_node(cfg, id, &tls, err) != 0)
		return err->code;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
		rc = rfs_err_set(err, -errno, "%s: %s", dir, rfs_strerror(-errno));
		tls_context_free(tls);
		return rc;
	}
	opts.tls = tls;
	asker_open(&a, &opts);
	ask_until_answered(&a, &opts.nodes[0], endpoint);
	asker_close(&a);
	tls_context_free(tls);
	rc = keep(&a.status, &cfg->tls, path, err);
	return rc == 0 ? config_load(cfg, path, err) : rc;
}

/* ---- rebuild ---- */

static int check_not_running(const char *dir, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 8];
	int fd, rc = 0;

	(void)snprintf(path, sizeof(path), "%s/LOCK", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0; /* nothing there, or nothing that could run */
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		rc = rfs_err_set(err, -EBUSY, "data directory %s is in use: stop the node first",
		                 dir);
	(void)close(fd);
	return rc;
}

static int ask_cluster(struct asker *a, enum wire_admin_kind kind, raft_id id, const char *address)
{
	struct wire_admin what = {.kind = kind, .member = id};

	(void)snprintf(what.address, sizeof(what.address), "%s", address);
	a->done = false;
	client_admin(a->client, NULL, &what, ADMIN_MS, on_admin, a);
	wait_done(a);
	if (a->code == 0)
		log_info("%s", a->text);
	return a->code;
}

static int put_aside(const char *dir, struct rfs_err *err)
{
	char to[CONFIG_PATH_MAX + 64];
	struct tm tm;
	time_t now = time(NULL);
	size_t n = (size_t)snprintf(to, sizeof(to), "%s.damaged-", dir);

	if (access(dir, F_OK) != 0)
		return 0;
	if (gmtime_r(&now, &tm) == NULL || n >= sizeof(to) ||
	    strftime(to + n, sizeof(to) - n, "%Y%m%dT%H%M%SZ", &tm) == 0)
		return rfs_err_set(err, -ENAMETOOLONG, "%s: no name to put it aside", dir);
	if (rename(dir, to) != 0)
		return rfs_err_set(err, -errno, "%s to %s: %s", dir, to, rfs_strerror(-errno));
	log_info("the old data is in %s; remove it when the node has caught up", to);
	return 0;
}

int join_rebuild(const struct config *cfg, raft_id id, const char *address, const char *dir,
                 struct tls_context *tls, struct rfs_err *err)
{
	static struct asker a;
	struct client_opts opts = {.tls = tls};
	int rc = check_not_running(dir, err);

	if (rc != 0)
		return rc;
	for (size_t i = 0; i < cfg->n_nodes; i++)
		if (cfg->nodes[i].id != id)
			opts.nodes[opts.n_nodes++] = cfg->nodes[i];
	memcpy(opts.cluster, cfg->name, sizeof(opts.cluster));
	if (opts.n_nodes == 0)
		return rfs_err_set(err, -EINVAL, "%s names no other node to rebuild this one from",
		                   cfg->path);
	asker_open(&a, &opts);
	rc = ask_cluster(&a, WIRE_ADMIN_REMOVE, id, "");
	if (rc == 0 || rc == -ENOENT)
		rc = ask_cluster(&a, WIRE_ADMIN_ADD, id, address);
	asker_close(&a);
	if (rc != 0)
		return rfs_err_set(err, rc, "the cluster does not take node %" PRIu64 " anew: %s",
		                   id, a.text[0] != '\0' ? a.text : rfs_strerror(rc));
	return put_aside(dir, err);
}

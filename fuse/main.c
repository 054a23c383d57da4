/* raftfs: mounts the directory that a cluster keeps; with --id, or where there is no cluster, also
 * runs a node.
 *
 * It starts node, client and mount, in this order, on one loop; is ready once a stat(2) of the
 * mountpoint has come back through the kernel and the cluster; and ends them in the reverse
 * order. Under the name of mount.raftfs it is mount(8)'s helper. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>
#include "daemon.h"
#include "embedded.h"
#include "mount.h"
#include "mountpoint.h"
#include "notify.h"
#include "options.h"
#include "probe.h"
#include "../src/base/check.h"
#include "../src/base/log.h"
#include "../src/base/stdfd.h"
#include "../src/client/client.h"
#include "../src/config/config.h"
#include "../src/node/node.h"
#include "../src/tls/keeper.h"

enum { EXIT_USAGE = 2, EXIT_NO_QUORUM = 3, EXIT_REFUSED = 4, EXIT_MOUNT = 32 };

#define N_SIGNALS 3

struct program {
	struct mount_options options;
	struct config config;
	struct embedded embedded;
	bool is_embedded, published;
	char mountpoint[MOUNTPOINT_PATH_MAX];

	uv_loop_t loop;
	uv_signal_t signals[N_SIGNALS];
	struct tls_keeper node_keeper, client_keeper; /* certificates */
	struct probe probes[2]; /* one may still be closing while the next one asks */
	unsigned probing;
	struct node *node;
	struct client *client;
	struct mount *mount;
	struct client_req *looking; /* for subdir=, before the mount */
	uint64_t root;              /* the inode that becomes the mount's root */
	bool ready, ending;
	bool waiting; /* for a quorum, in the background */
	int status;   /* exit code */
};

static int complain(const struct rfs_err *err, int status)
{
	(void)fprintf(stderr, "raftfs: %s\n", err->msg);
	return status;
}

/* ---- the end ---- */

static void close_signals(struct program *p)
{
	for (size_t i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&p->signals[i], NULL);
	tls_keeper_stop(&p->client_keeper);
	tls_keeper_stop(&p->node_keeper);
}

static void on_node_stopped(void *ctx)
{
	struct program *p = ctx;

	p->node = NULL;
	close_signals(p);
}

static void stop_node(struct program *p)
{
	if (p->published)
		embedded_unpublish(&p->embedded);
	if (p->node != NULL)
		node_stop(p->node, on_node_stopped, p);
	else
		close_signals(p);
}

static void on_client_closed(void *ctx)
{
	struct program *p = ctx;

	p->client = NULL;
	stop_node(p);
}

static void stop_client(struct program *p)
{
	if (p->client != NULL)
		client_close(p->client, on_client_closed, p);
	else
		stop_node(p);
}

static void on_mount_stopped(void *ctx)
{
	struct program *p = ctx;

	p->mount = NULL;
	stop_client(p);
}

/* Take down what is up, in reverse order. The first reason decides the exit code. */
static void end(struct program *p, int status)
{
	if (p->ending)
		return;
	p->ending = true;
	p->status = status;
	if (p->looking != NULL)
		client_cancel(p->looking);
	p->looking = NULL;
	for (unsigned i = 0; i < 2; i++)
		probe_end(&p->probes[i]);
	if (p->mount != NULL)
		mount_stop(p->mount, on_mount_stopped, p);
	else
		stop_client(p);
}

static void on_signal(uv_signal_t *s, int number)
{
	struct program *p = s->data;

	if (number == SIGHUP || p->ending)
		return;
	log_info("%s: unmounting %s", number == SIGTERM ? "SIGTERM" : "SIGINT", p->mountpoint);
	end(p, p->ready ? 0 : EXIT_MOUNT);
}

static void on_session_ended(void *ctx)
{
	struct program *p = ctx;

	if (!p->ending)
		log_info("%s was unmounted", p->mountpoint);
	end(p, p->ready ? 0 : EXIT_MOUNT);
}

static void on_node_fatal(void *ctx, const struct rfs_err *err)
{
	struct program *p = ctx;

	log_error("%s: unmounting %s", err->msg, p->mountpoint);
	end(p, 1);
}

static void on_session_lost(void *ctx, uint64_t session)
{
	struct program *p = ctx;

	log_warn("session %llu was ended by the cluster; the next change opens a new one",
	         (unsigned long long)session);
	if (p->mount != NULL)
		mount_session_lost(p->mount);
}

/* ---- the beginning ---- */

static void report_silence(struct program *p)
{
	struct client_info info;

	client_get_info(p->client, &info);
	(void)fprintf(
	        stderr,
	        "raftfs: cluster %s did not answer within %g s: no quorum of its %zu nodes can be "
	        "reached%s%s; %s\n",
	        p->config.name, (double)p->options.timeout_ms / 1000.0, info.n_nodes,
	        info.last_error[0] != '\0' ? "; " : "", info.last_error,
	        p->options.id != 0 ? "its node goes on, and the mount answers once there is one"
	                           : "nothing is mounted");
}

static void on_probe(void *ctx, int result);
static void on_root(void *ctx, const struct fs_result *res);

static int start_probe(struct program *p, struct rfs_err *err)
{
	p->probing ^= 1u;
	return probe_start(&p->probes[p->probing], &p->loop, p->mountpoint, on_probe, p, err);
}

/* What is to be mounted. Before the mount: until the cluster answers, whoever came near one would hang; and systemd, which
 * learns only from mount(8) that it is one of the network, would hold up the local file systems for it. */
static void look_for_root(struct program *p)
{
	const char *key = p->options.subdir != NULL ? p->options.subdir : "";
	const struct fs_op op = {.kind = FS_OP_RESOLVE, .name = fs_str_of(key)};

	p->looking = client_submit(p->client, &op, p->options.timeout_ms, on_root, p);
}

/* A mount without a node has nothing to stay for. One with a node has: the others need it to become a
 * quorum, and may be started after this one. So it says what is wrong and goes on trying. */
static void no_quorum(struct program *p)
{
	struct rfs_err err = {0};

	if (!p->waiting)
		report_silence(p);
	if (p->options.id == 0) {
		end(p, EXIT_NO_QUORUM);
		return;
	}
	if (!p->waiting && !daemon_go_on(EXIT_NO_QUORUM, p->options.logfile))
		end(p, EXIT_MOUNT);
	else if (p->mount == NULL)
		look_for_root(p);
	else if (start_probe(p, &err) != 0)
		end(p, complain(&err, EXIT_MOUNT));
	p->waiting = true;
}

static void on_probe(void *ctx, int result)
{
	struct program *p = ctx;

	if (p->ending)
		return;
	if (result == -ETIMEDOUT) {
		no_quorum(p);
		return;
	}
	if (result != 0) {
		(void)fprintf(stderr, "raftfs: %s does not answer: %s\n", p->mountpoint,
		              rfs_strerror(result));
		end(p, EXIT_MOUNT);
		return;
	}
	p->ready = true;
	log_set_level(p->options.level);
	if (p->waiting || daemon_ready(p->options.logfile))
		log_info("cluster %s%s%s is mounted at %s", p->config.name,
		         p->options.subdir != NULL ? ", subtree " : "",
		         p->options.subdir != NULL ? p->options.subdir : "", p->mountpoint);
	else
		end(p, EXIT_MOUNT);
}

static int exit_code_of_node(int rc)
{
	switch (rc) {
	case RFS_ECONFIG: return EXIT_USAGE;
	case RFS_EIDENTITY:
	case -EBUSY:
	case -EACCES:
	case -EPERM: return EXIT_REFUSED;
	default: return EXIT_MOUNT;
	}
}

/* What node and mount show of themselves. A mount beside a node that has nothing of its own to show
 * shows the node's: who may read that key may be the node anyway. */
static int load_certificates(struct program *p)
{
	const struct config_tls *tls = &p->config.tls;
	struct tls_context *node = NULL, *client = NULL;
	struct rfs_err err = {0};
	int rc = 0;

	if (p->options.id != 0)
		rc = config_tls_node(&p->config, p->options.id, &node, &err);
	if (rc == 0 && p->options.id != 0 && tls->client_cert[0] == '\0')
		rc = config_tls_node(&p->config, p->options.id, &client, &err);
	else if (rc == 0)
		rc = config_tls_client(&p->config, &client, &err);
	if (rc != 0) {
		tls_context_free(node);
		return complain(&err, EXIT_USAGE);
	}
	rc = tls_keeper_start(&p->node_keeper, &p->loop, node);
	if (rc == 0)
		rc = tls_keeper_start(&p->client_keeper, &p->loop, client);
	else
		tls_context_free(client);
	if (rc == 0)
		return 0;
	(void)rfs_err_set(&err, rc, "SIGHUP: %s", rfs_strerror(rc));
	return complain(&err, EXIT_MOUNT);
}

/* Run the node that was asked for; 0 or an exit code. */
static int start_node(struct program *p)
{
	const struct node_opts opts = {
	        .config = &p->config,
	        .id = p->is_embedded ? p->config.nodes[0].id : p->options.id,
	        .tls = p->node_keeper.tls,
	        .on_fatal = on_node_fatal,
	        .ctx = p,
	};
	struct rfs_err err = {0};
	int rc;

	if (opts.id == 0)
		return 0;
	rc = node_start(&p->node, &p->loop, &opts, &err);
	if (rc == -EBUSY && p->is_embedded) {
		rc = embedded_find(&p->embedded, &p->config, &err);
		if (rc == 0)
			log_info("the embedded node runs in another process: using it");
		return rc == 0 ? 0 : complain(&err, EXIT_MOUNT);
	}
	if (rc != 0)
		return complain(&err, exit_code_of_node(rc));
	if (!p->is_embedded)
		return 0;
	p->config.nodes[0].port = node_port(p->node);
	rc = embedded_publish(&p->embedded, p->config.nodes[0].port, &err);
	p->published = rc == 0;
	return rc == 0 ? 0 : complain(&err, EXIT_MOUNT);
}

static void start_client(struct program *p)
{
	struct client_opts opts = {
	        .n_nodes = p->config.n_nodes,
	        .session_timeout_ms = p->config.session_timeout_ms,
	        .tls = p->client_keeper.tls,
	        .read_local = p->options.read_local,
	        .on_session_lost = on_session_lost,
	        .ctx = p,
	};

	memcpy(opts.nodes, p->config.nodes, sizeof(opts.nodes));
	(void)snprintf(opts.cluster, sizeof(opts.cluster), "%s", p->config.name);
	p->client = client_new(&p->loop, &opts);
}

static int start_mount(struct program *p)
{
	const struct mount_settings settings = {
	        .options = &p->options,
	        .mountpoint = p->mountpoint,
	        .cluster = p->config.name,
	        .root = p->root,
	        .on_ended = on_session_ended,
	        .ctx = p,
	};
	struct rfs_err err = {0};

	if (mount_start(&p->mount, &p->loop, p->client, &settings, &err) != 0)
		return complain(&err, EXIT_MOUNT);
	if (start_probe(p, &err) != 0)
		return complain(&err, EXIT_MOUNT);
	return 0;
}

/* subdir= names a directory that is there: a mount that made it would hide a misspelt one. */
static void on_root(void *ctx, const struct fs_result *res)
{
	struct program *p = ctx;
	int status;

	p->looking = NULL;
	if (res->err == RFS_ENOQUORUM) {
		no_quorum(p);
		return;
	}
	if (res->err != 0 || !res->has_attr || !S_ISDIR(res->attr.mode)) {
		(void)fprintf(stderr, "raftfs: %s%s: %s in cluster %s\n",
		              p->options.subdir != NULL ? "-o subdir=" : "/",
		              p->options.subdir != NULL ? p->options.subdir : "",
		              res->err != 0 ? rfs_strerror(res->err) : "not a directory",
		              p->config.name);
		end(p, EXIT_MOUNT);
		return;
	}
	p->root = res->attr.ino;
	status = start_mount(p);
	if (status != 0)
		end(p, status);
}

/* 0, or what libuv could not get from the system. */
static int start_signals(struct program *p)
{
	static const int numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

	int rc = 0;

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; rc == 0 && i < N_SIGNALS; i++) {
		rc = uv_signal_init(&p->loop, &p->signals[i]);
		p->signals[i].data = p;
		if (rc == 0)
			rc = uv_signal_start(&p->signals[i], on_signal, numbers[i]);
	}
	return rc;
}

static int run(struct program *p)
{
	struct rfs_err err = {0};
	int status, rc = uv_loop_init(&p->loop);

	if (rc == 0)
		rc = start_signals(p);
	if (rc != 0) {
		(void)rfs_err_set(&err, rc, "event loop: %s", rfs_strerror(rc));
		return complain(&err, EXIT_MOUNT);
	}
	status = load_certificates(p);
	if (status == 0)
		status = start_node(p);
	if (status == 0) {
		start_client(p);
		/* with a node of its own it mounts at once: .raft/ tells what the quorum waits for */
		if (p->node != NULL && p->options.subdir == NULL)
			status = start_mount(p);
		else
			look_for_root(p);
	}
	if (status != 0)
		end(p, status);
	(void)uv_run(&p->loop, UV_RUN_DEFAULT);
	rfs_check(uv_loop_close(&p->loop) == 0);
	return p->status;
}

/* The embedded store is all its user's, but its root directory is root's, as every new cluster's: an
 * ordinary user could write nothing there. */
static void show_as_own(struct view *v)
{
	if (geteuid() == 0 || v->has_uid)
		return;
	v->has_uid = true;
	v->uid = geteuid();
}

/* Which cluster: the file's, or the embedded one. 0 or an exit code. */
static int find_cluster(struct program *p)
{
	const struct config_tls_given given = {p->options.tls_ca, p->options.tls_cert,
	                                       p->options.tls_key};
	char path[CONFIG_PATH_MAX];
	struct rfs_err err = {0};
	int rc = config_find(p->options.cluster, path, &err);

	if (rc == -ENOENT && p->options.cluster == NULL && p->options.id == 0) {
		p->is_embedded = true;
		show_as_own(&p->options.view);
		rc = embedded_config(&p->embedded, &p->config, &err);
		return rc == 0 ? 0 : complain(&err, EXIT_USAGE);
	}
	if (rc == 0)
		rc = config_load(&p->config, path, &err);
	if (rc == 0)
		rc = config_tls_override(&p->config, &given, &err);
	if (rc == 0 && p->options.id != 0 && config_node_by_id(&p->config, p->options.id) == NULL)
		rc = rfs_err_set(&err, RFS_ECONFIG, "%s: no node has the id %llu", path,
		                 (unsigned long long)p->options.id);
	return rc == 0 ? 0 : complain(&err, EXIT_USAGE);
}

static int prepare(struct program *p)
{
	struct rfs_err err = {0};
	int status = find_cluster(p);

	if (status != 0)
		return status;
	if (mountpoint_prepare(p->options.mountpoint, p->mountpoint, &err) != 0)
		return complain(&err, EXIT_MOUNT);
	if (p->options.fake)
		return 0;
	if (!p->options.foreground && daemon_fork(&err) != 0)
		return complain(&err, EXIT_MOUNT);
	/* in the background there is nobody to read a diary before there is a log file: only what
	 * is wrong */
	log_set_level(p->options.foreground || p->options.level_given ? p->options.level
	                                                              : LOG_LEVEL_WARN);
	return 0;
}

static int mount_program(struct program *p)
{
	int status = prepare(p);

	if (p->options.fake)
		return status;
	if (status == 0)
		status = run(p);
	if (!p->ready || status != 0)
		daemon_failed(status);
	return status;
}

/* Whether it is run under that name. */
static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash != NULL ? slash + 1 : path, name) == 0;
}

int main(int argc, char **argv)
{
	static struct program p = {.root = FS_ROOT_INO};
	bool helper = argc > 0 && is_called(argv[0], "mount.raftfs"); /* by mount(8) */
	struct rfs_err err = {0};
	int status = 0;

	if (argc > 0 && is_called(argv[0], NOTIFIER_NAME))
		return notifier_main(argc, argv);
	stdfd_open_missing();
	log_set_name("raftfs");
	if ((helper ? options_parse_helper : options_parse)(&p.options, argc, argv, geteuid() == 0,
	                                                    &err) != 0) {
		status = complain(&err, EXIT_USAGE);
		(void)fputs("Try 'raftfs --help'.\n", stderr);
	} else if (p.options.help) {
		(void)fputs(options_help, stdout);
	} else if (p.options.version) {
		(void)puts("raftfs " RAFTFS_VERSION);
	} else {
		status = mount_program(&p);
	}
	options_free(&p.options);
	return status;
}

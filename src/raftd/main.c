/* raftd: one Raft node as a program. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include "../base/log.h"
#include "../base/stdfd.h"
#include "../config/config.h"
#include "../node/node.h"
#include "../tls/keeper.h"
#include "notify.h"
#include "join.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 4 };

struct daemon {
	uv_loop_t loop;
	uv_signal_t term, interrupt;
	struct tls_keeper keeper;
	struct node *node;
	raft_id id;
	bool ready, stopping;
	int status;
};

struct args {
	const char *cluster;
	const char *data_dir;
	const char *join, *listen, *metrics;
	const char *ca, *cert, *key;
	bool rebuild;
	raft_id id;
};

static const char usage_text[] =
        "usage: raftd [--cluster FILE] --id N [OPTION]...\n"
        "       raftd --join HOST:PORT --id N --listen HOST:PORT --data-dir DIR [OPTION]...\n"
        "\n"
        "Runs node N of the cluster described by FILE (without --cluster: $RAFTFS_CLUSTER, "
        "./cluster.toml,\n"
        "/etc/raftfs/cluster.toml) until SIGTERM or SIGINT.\n"
        "\n"
        "  --cluster FILE    the cluster file\n"
        "  --id N            which of its nodes this is\n"
        "  --data-dir DIR    where the node keeps its log and state (default: data_directory/N of "
        "the file)\n"
        "  --listen H:P      where to listen, and what the others dial (default: as the membership "
        "or "
        "the file says)\n"
        "  --metrics H:P     where to serve metrics and the page (default: metrics_port of the "
        "file, if it\n"
        "                    has one; 0.0.0.0:P for every address of this host)\n"
        "  --join HOST:PORT  this server is not in the file: learn from that server which cluster "
        "it "
        "is, and\n"
        "                    wait to be added (raftctl member add N HOST:PORT)\n"
        "  --ca FILE --cert FILE --key FILE\n"
        "                    with --join, of a cluster under TLS: whom to believe, and what to "
        "show; "
        "otherwise\n"
        "                    they stand in [tls] of the cluster file\n"
        "  --rebuild         the node's data is damaged or lost: put it aside, have the cluster "
        "remove the\n"
        "                    node and add it anew, and get everything from the others\n"
        "  --log-level L     how much to tell on stderr: error, warn, info (default), debug\n"
        "  --help, --version\n"
        "\n"
        "exit codes: 0 stopped cleanly; 1 failed (disk, port in use); 2 usage or configuration;\n"
        "4 refused (the data directory belongs to another cluster or node, or is in use)\n";

static int usage_error(const char *what, const char *arg)
{
	(void)fprintf(stderr, "raftd: %s%s%s\nTry 'raftd --help'.\n", what, arg != NULL ? ": " : "",
	              arg != NULL ? arg : "");
	return EXIT_USAGE;
}

static bool parse_id(const char *text, raft_id *id)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v == 0)
		return false;
	*id = v;
	return true;
}

/* What goes with what. -1: go on; else the exit code. */
static int check_together(const struct args *a)
{
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port;

	if (a->listen != NULL && (config_parse_endpoint(a->listen, host, &port) != 0 ||
	                          !config_host_ok(host) || port == 0))
		return usage_error("--listen wants HOST:PORT that the others can dial", a->listen);
	if (a->metrics != NULL && config_parse_listen(a->metrics, host, &port) != 0)
		return usage_error("--metrics wants HOST:PORT to listen on", a->metrics);
	if (a->join != NULL && config_parse_endpoint(a->join, host, &port) != 0)
		return usage_error("--join wants HOST:PORT of a server of the cluster", a->join);
	if (a->join != NULL && a->rebuild)
		return usage_error("--join and --rebuild exclude each other", NULL);
	if (a->join != NULL && a->listen == NULL)
		return usage_error("--join needs --listen HOST:PORT: where is this server?", NULL);
	if ((a->ca == NULL) != (a->cert == NULL) || (a->cert == NULL) != (a->key == NULL))
		return usage_error("--ca, --cert and --key go together", NULL);
	if (a->ca != NULL && (a->join == NULL || a->cluster != NULL))
		return usage_error(
		        "--ca, --cert and --key go with --join; a cluster file has them in [tls]",
		        NULL);
	if (a->join != NULL && a->cluster == NULL && a->data_dir == NULL)
		return usage_error("--join needs --data-dir DIR: where is its data to be?", NULL);
	return -1;
}

/* -1: go on; else the exit code. */
static int parse_args(int argc, char **argv, struct args *a)
{
	static const struct option options[] = {
	        {"cluster", required_argument, NULL, 'c'},
	        {"id", required_argument, NULL, 'i'},
	        {"data-dir", required_argument, NULL, 'd'},
	        {"join", required_argument, NULL, 'j'},
	        {"listen", required_argument, NULL, 'L'},
	        {"metrics", required_argument, NULL, 'm'},
	        {"rebuild", no_argument, NULL, 'r'},
	        {"ca", required_argument, NULL, 'A'},
	        {"cert", required_argument, NULL, 'C'},
	        {"key", required_argument, NULL, 'K'},
	        {"log-level", required_argument, NULL, 'l'},
	        {"help", no_argument, NULL, 'h'},
	        {"version", no_argument, NULL, 'v'},
	        {NULL, 0, NULL, 0},
	};
	enum log_level level;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'c': a->cluster = optarg; break;
		case 'd': a->data_dir = optarg; break;
		case 'j': a->join = optarg; break;
		case 'L': a->listen = optarg; break;
		case 'm': a->metrics = optarg; break;
		case 'r': a->rebuild = true; break;
		case 'A': a->ca = optarg; break;
		case 'C': a->cert = optarg; break;
		case 'K': a->key = optarg; break;
		case 'i':
			if (!parse_id(optarg, &a->id))
				return usage_error("--id wants a number from 1 on", optarg);
			break;
		case 'l':
			if (!log_level_parse(optarg, &level))
				return usage_error("--log-level wants error, warn, info or debug",
				                   optarg);
			log_set_level(level);
			break;
		case 'h': (void)fputs(usage_text, stdout); return EXIT_DONE;
		case 'v': (void)puts("raftd " RAFTFS_VERSION); return EXIT_DONE;
		default: (void)fputs("Try 'raftd --help'.\n", stderr); return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	if (a->id == 0)
		return usage_error("--id N is missing: which node of the cluster file is this?",
		                   NULL);
	return check_together(a);
}

static int exit_code_of(int code)
{
	if (code == RFS_ECONFIG)
		return EXIT_USAGE;
	if (code == RFS_EIDENTITY || code == -EBUSY || code == -EACCES || code == -EPERM)
		return EXIT_REFUSED;
	return EXIT_FAILED;
}

/* ---- ending ---- */

static void on_closed(uv_handle_t *h)
{
	(void)h;
}

static void close_signals(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->term, on_closed);
	uv_close((uv_handle_t *)&d->interrupt, on_closed);
	/* closing gave them their default action back: a second signal must not spoil a clean end */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	tls_keeper_stop(&d->keeper);
}

static void on_stopped(void *ctx)
{
	close_signals(ctx);
	log_info("stopped");
}

static void stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	notify_manager("STOPPING=1");
	node_stop(d->node, on_stopped, d);
}

static void on_signal(uv_signal_t *s, int signum)
{
	struct daemon *d = s->data;

	if (!d->stopping)
		log_info("%s: stopping", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	stop(d);
}

/* The node contradicts its disk, or its disk failed: nothing it would still do could be trusted, so
 * the process ends here and now. Whatever was acknowledged is in the log. */
static void on_fatal(void *ctx, const struct rfs_err *err)
{
	(void)ctx;
	log_error("cannot go on: %s", rfs_strerror(err->code));
	_Exit(EXIT_FAILED);
}

/* The service has started once there is somebody to serve for. */
static void on_leader(void *ctx, raft_id leader)
{
	struct daemon *d = ctx;
	char state[96];

	if (leader == 0)
		(void)snprintf(state, sizeof(state), "STATUS=no leader is known");
	else if (leader == d->id)
		(void)snprintf(state, sizeof(state), "STATUS=leads");
	else
		(void)snprintf(state, sizeof(state), "STATUS=follows node %llu",
		               (unsigned long long)leader);
	notify_manager(state);
	if (leader != 0 && !d->ready)
		notify_manager("READY=1");
	d->ready = d->ready || leader != 0;
}

static void start_signals(struct daemon *d)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN); /* the terminal it was started from may close */
	(void)uv_signal_init(&d->loop, &d->term);
	(void)uv_signal_init(&d->loop, &d->interrupt);
	d->term.data = d->interrupt.data = d;
	(void)uv_signal_start(&d->term, on_signal, SIGTERM);
	(void)uv_signal_start(&d->interrupt, on_signal, SIGINT);
}

/* Takes `tls`. */
static int start_loop(struct daemon *d, struct tls_context *tls)
{
	if (uv_loop_init(&d->loop) != 0) {
		tls_context_free(tls);
		return EXIT_FAILED;
	}
	start_signals(d); /* one that comes while the node recovers is acted on afterwards */
	return tls_keeper_start(&d->keeper, &d->loop, tls) == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int run(struct daemon *d, const struct config *config, const struct args *a)
{
	struct node_opts opts = {
	        .config = config,
	        .id = a->id,
	        .data_dir = a->data_dir,
	        .listen = a->listen,
	        .metrics = a->metrics,
	        .tls = d->keeper.tls,
	        .join = a->join != NULL || a->rebuild,
	        .on_fatal = on_fatal,
	        .on_leader = on_leader,
	        .ctx = d,
	};
	struct rfs_err err = {0};
	int rc, status = EXIT_DONE;

	d->id = a->id;
	rc = node_start(&d->node, &d->loop, &opts, &err);
	if (rc != 0) {
		log_error("%s", err.msg);
		status = exit_code_of(rc);
		d->stopping = true;
		close_signals(d);
	} else if (!d->ready) {
		notify_manager("STATUS=waits for a quorum");
	}
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&d->loop) != 0)
		log_warn("the event loop still had open handles");
	return status;
}

/* Learn it from another server, to whom we show what was given. */
static int ask_config(struct config *config, const struct args *a, struct rfs_err *err)
{
	struct config_tls *tls = &config->tls; /* of the answer it becomes [tls] */

	if (a->ca != NULL && (config_absolute(a->ca, tls->ca, err) != 0 ||
	                      config_absolute(a->cert, tls->cert, err) != 0 ||
	                      config_absolute(a->key, tls->key, err) != 0))
		return err->code;
	tls->on = a->ca != NULL;
	return join_config(config, a->join, a->id, a->data_dir, err);
}

/* Which cluster this is. */
static int find_config(struct config *config, const struct args *a, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX];

	if (a->join != NULL && a->cluster == NULL)
		return ask_config(config, a, err);
	if (config_find(a->cluster, path, err) != 0)
		return RFS_ECONFIG;
	return config_load(config, path, err);
}

static int rebuild(const struct config *config, const struct args *a, struct tls_context *tls,
                   struct rfs_err *err)
{
	const struct config_node *cn = config_node_by_id(config, a->id);
	char address[CONFIG_HOST_MAX + 16] = "", dir[CONFIG_PATH_MAX + 32];

	if (cn != NULL)
		config_format_endpoint(cn->host, cn->port, address, sizeof(address));
	if (a->listen == NULL && cn == NULL)
		return rfs_err_set(err, RFS_ECONFIG,
		                   "%s: no [[node]] has id %llu, so --rebuild needs --listen",
		                   config->path, (unsigned long long)a->id);
	if (a->data_dir != NULL)
		(void)snprintf(dir, sizeof(dir), "%s", a->data_dir);
	else
		(void)snprintf(dir, sizeof(dir), "%s/%llu", config->data_directory,
		               (unsigned long long)a->id);
	return join_rebuild(config, a->id, a->listen != NULL ? a->listen : address, dir, tls, err);
}

int main(int argc, char **argv)
{
	static struct config config;
	static struct daemon daemon;
	char name[32];
	struct tls_context *tls = NULL;
	struct args args = {0};
	struct rfs_err err = {0};
	int rc;

	stdfd_open_missing();
	rc = parse_args(argc, argv, &args);

	if (rc >= 0)
		return rc;
	(void)snprintf(name, sizeof(name), "raftd %llu", (unsigned long long)args.id);
	log_set_name(name);
	if (find_config(&config, &args, &err) != 0 ||
	    config_tls_node(&config, args.id, &tls, &err) != 0) {
		log_error("%s", err.msg);
		return EXIT_USAGE;
	}
	if (args.rebuild && rebuild(&config, &args, tls, &err) != 0) {
		log_error("%s", err.msg);
		tls_context_free(tls);
		return exit_code_of(err.code);
	}
	rc = start_loop(&daemon, tls);
	if (rc != EXIT_DONE)
		return rc;
	return run(&daemon, &config, &args);
}

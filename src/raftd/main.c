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

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 4 };

struct daemon {
	uv_loop_t loop;
	uv_signal_t term, interrupt;
	struct node *node;
	bool stopping;
	int status;
};

struct args {
	const char *cluster;
	const char *data_dir;
	raft_id id;
};

static const char usage_text[] =
        "usage: raftd [--cluster FILE] --id N [--data-dir DIR] [--log-level "
        "error|warn|info|debug]\n"
        "\n"
        "Runs node N of the cluster described by FILE (without --cluster: $RAFTFS_CLUSTER, "
        "./cluster.toml,\n"
        "/etc/raftfs/cluster.toml) until SIGTERM or SIGINT.\n"
        "\n"
        "  --cluster FILE    the cluster file\n"
        "  --id N            which of its nodes this is\n"
        "  --data-dir DIR    where the node keeps its log and state (default: data_directory/N of "
        "the file)\n"
        "  --log-level L     how much to tell on stderr (default: info)\n"
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

/* -1: go on; else the exit code. */
static int parse_args(int argc, char **argv, struct args *a)
{
	static const struct option options[] = {
	        {"cluster", required_argument, NULL, 'c'},
	        {"id", required_argument, NULL, 'i'},
	        {"data-dir", required_argument, NULL, 'd'},
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
	return -1;
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

static int run(struct daemon *d, const struct config *config, const struct args *a)
{
	struct node_opts opts = {
	        .config = config,
	        .id = a->id,
	        .data_dir = a->data_dir,
	        .on_fatal = on_fatal,
	        .ctx = d,
	};
	struct rfs_err err = {0};
	int rc, status = EXIT_DONE;

	if (uv_loop_init(&d->loop) != 0)
		return EXIT_FAILED;
	start_signals(d); /* one that comes while the node recovers is acted on afterwards */
	rc = node_start(&d->node, &d->loop, &opts, &err);
	if (rc != 0) {
		log_error("%s", err.msg);
		status = exit_code_of(rc);
		d->stopping = true;
		close_signals(d);
	}
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&d->loop) != 0)
		log_warn("the event loop still had open handles");
	return status;
}

int main(int argc, char **argv)
{
	static struct config config;
	static struct daemon daemon;
	char path[CONFIG_PATH_MAX], name[32];
	struct args args = {0};
	struct rfs_err err = {0};
	int rc;

	stdfd_open_missing();
	rc = parse_args(argc, argv, &args);

	if (rc >= 0)
		return rc;
	(void)snprintf(name, sizeof(name), "raftd %llu", (unsigned long long)args.id);
	log_set_name(name);
	if (config_find(args.cluster, path, &err) != 0 || config_load(&config, path, &err) != 0) {
		log_error("%s", err.msg);
		return EXIT_USAGE;
	}
	return run(&daemon, &config, &args);
}

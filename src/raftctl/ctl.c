/* The run: which cluster, the loop, the end. */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

#define READABLE_TURN_MS   100
#define SESSION_MS_DEFAULT 10000

static const char *error_place;

void ctl_set_place(const char *place)
{
	error_place = place;
}

int ctl_error(enum ctl_exit status, const char *fmt, ...)
{
	va_list ap;

	(void)fflush(stdout);
	(void)fputs("raftctl: ", stderr);
	if (error_place != NULL)
		(void)fprintf(stderr, "%s: ", error_place);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return (int)status;
}

/* ---- which cluster ---- */

static int add_endpoint(struct ctl *ctl, const char *text)
{
	struct config_node *n = &ctl->nodes[ctl->n_nodes];

	if (config_parse_endpoint(text, n->host, &n->port) != 0)
		return -EINVAL;
	n->id = 0;
	ctl->n_nodes++;
	return 0;
}

/* The store inside a raftfs on this machine says in a file where it listens. `none` is what to
 * answer if there is no such file either. */
static int find_embedded(struct ctl *ctl, const struct rfs_err *none, struct rfs_err *err)
{
	char dir[CONFIG_PATH_MAX], path[CONFIG_PATH_MAX + 16], line[CONFIG_HOST_MAX + 16] = "";
	FILE *f;

	if (config_embedded_dir(dir, err) != 0)
		return err->code;
	(void)snprintf(path, sizeof(path), "%s/endpoint", dir);
	f = fopen(path, "re");
	if (f == NULL && errno == ENOENT)
		return rfs_err_set(
		        err, RFS_ECONFIG,
		        "%s; and no raftfs with a store of its own runs here (no %s).\n"
		        "Name the cluster: raftctl --cluster FILE ..., or raftctl --endpoint "
		        "HOST:PORT ...",
		        none->msg, path);
	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	(void)fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (add_endpoint(ctl, line) != 0)
		return rfs_err_set(err, RFS_ECONFIG, "%s: holds no HOST:PORT", path);
	return 0;
}

static int use_file(struct ctl *ctl, const char *path, struct config *cfg, struct rfs_err *err)
{
	int rc = config_load(cfg, path, err);

	if (rc != 0)
		return rc;
	memcpy(ctl->nodes, cfg->nodes, sizeof(ctl->nodes));
	memcpy(ctl->cluster, cfg->name, sizeof(ctl->cluster));
	ctl->n_nodes = cfg->n_nodes;
	return 0;
}

static int find_nodes(struct ctl *ctl, struct config *cfg, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX];
	struct rfs_err none = {0};
	int rc;

	for (size_t i = 0; i < ctl->args.n_endpoints; i++)
		rfs_check(add_endpoint(ctl, ctl->args.endpoints[i]) == 0); /* args.c has looked */
	if (ctl->n_nodes > 0)
		return 0;
	rc = config_find(ctl->args.cluster, path, &none);
	if (rc == 0)
		return use_file(ctl, path, cfg, err);
	if (rc == -ENOENT)
		return find_embedded(ctl, &none, err);
	*err = none;
	return rc;
}

/* ---- the loop ---- */

/* What is shown and believed. A certificate tells the cluster's name where no file does. */
static int load_certificate(struct ctl *ctl, struct config *cfg, struct rfs_err *err)
{
	int rc = 0;

	if (ctl->tls_settled)
		cfg->tls = ctl->tls_files;
	else
		rc = config_tls_override(cfg, &ctl->args.tls, err);
	if (rc == 0)
		rc = config_tls_client(cfg, &ctl->tls, err);
	if (rc != 0)
		return rc;
	ctl->tls_files = cfg->tls;
	ctl->tls_settled = true;
	if (ctl->tls != NULL)
		memcpy(ctl->cluster, tls_context_name(ctl->tls)->cluster, sizeof(ctl->cluster));
	return 0;
}

int ctl_open(struct ctl *ctl, struct rfs_err *err)
{
	static struct config cfg;
	struct client_opts opts = {0};
	int rc;

	cfg = (struct config){.session_timeout_ms = SESSION_MS_DEFAULT};
	rc = find_nodes(ctl, &cfg, err);
	if (rc == 0)
		rc = load_certificate(ctl, &cfg, err);
	if (rc != 0)
		return rc;
	ctl->loop = mem_zalloc(sizeof(*ctl->loop));
	rc = uv_loop_init(ctl->loop);
	if (rc != 0) {
		free(ctl->loop);
		tls_context_free(ctl->tls);
		ctl->tls = NULL;
		return rfs_err_set(err, rc, "event loop: %s", uv_strerror(rc));
	}
	(void)uv_timer_init(ctl->loop, &ctl->timer);
	opts.session_timeout_ms = cfg.session_timeout_ms;
	opts.tls = ctl->tls;
	memcpy(opts.nodes, ctl->nodes, sizeof(opts.nodes));
	memcpy(opts.cluster, ctl->cluster, sizeof(opts.cluster));
	opts.n_nodes = ctl->n_nodes;
	ctl->client = client_new(ctl->loop, &opts);
	return 0;
}

static bool looks_up;

bool ctl_looks_up(void)
{
	return looks_up;
}

static void on_client_closed(void *ctx)
{
	struct ctl *ctl = ctx;

	ctl->client = NULL;
	uv_close((uv_handle_t *)&ctl->timer, NULL);
}

void ctl_close(struct ctl *ctl)
{
	client_close(ctl->client, on_client_closed, ctl);
	while (ctl->client != NULL)
		(void)uv_run(ctl->loop, UV_RUN_ONCE);
	(void)uv_run(ctl->loop, UV_RUN_NOWAIT); /* the timer */
	ctl_surveys_free(ctl);
	/* A lookup that goes on needs the loop as long as it lives. */
	if (uv_loop_close(ctl->loop) == 0)
		free(ctl->loop);
	else
		looks_up = true;
	ctl->loop = NULL;
	tls_context_free(ctl->tls);
	ctl->tls = NULL;
	ctl->n_nodes = 0;
	ctl->cluster[0] = '\0';
	ctl->refusal = (struct rfs_err){0};
	ctl->looked_for_refusal = false;
}

int ctl_run(struct ctl *ctl)
{
	const struct ctl_command *command = ctl->args.command;
	struct rfs_err err = {0};
	int status;

	ctl->timeout_ms = ctl->args.timeout_ms != 0 ? ctl->args.timeout_ms : CTL_TIMEOUT_MS_DEFAULT;
	if (!command->offline && ctl->client == NULL && ctl_open(ctl, &err) != 0)
		return ctl_error(ctl_exit_of(err.code), "%s", err.msg);
	status = command->run(ctl);
	if (ctl->client != NULL && ctl->shell == NULL)
		ctl_close(ctl);
	return status;
}

/* ---- interrupts ---- */

#define INTERRUPT_TURN_MS 100u

static volatile sig_atomic_t interrupted, catching;

static void on_interrupt(int signum)
{
	(void)signum;
	interrupted = 1;
}

bool ctl_catch_interrupts(void)
{
	struct sigaction act = {.sa_handler = on_interrupt};
	bool already = catching != 0;

	catching = 1;
	(void)sigaction(SIGINT, &act, NULL);
	return !already;
}

void ctl_release_interrupts(void)
{
	catching = 0;
	(void)signal(SIGINT, SIG_DFL);
}

bool ctl_interrupted(void)
{
	return interrupted != 0;
}

void ctl_forget_interrupt(void)
{
	interrupted = 0;
}

/* ---- turns ---- */

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
}

void ctl_turn(struct ctl *ctl, uint64_t ms)
{
	/* The loop goes on through a signal: only its next turn can look. */
	if (catching && ms > INTERRUPT_TURN_MS)
		ms = INTERRUPT_TURN_MS;
	uv_update_time(ctl->loop);
	(void)uv_timer_start(&ctl->timer, on_timer, ms, 0);
	(void)uv_run(ctl->loop, UV_RUN_ONCE);
	(void)uv_timer_stop(&ctl->timer);
}

void ctl_wait_readable(struct ctl *ctl, int fd)
{
	/* Not uv_poll: that would make the descriptor non-blocking for everybody who shares it. */
	struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
	                        {.fd = uv_backend_fd(ctl->loop), .events = POLLIN}};

	while (!ctl_interrupted() && poll(fds, 1, 0) == 0) {
		int ms;

		(void)uv_run(ctl->loop, UV_RUN_NOWAIT);
		ms = uv_backend_timeout(ctl->loop);
		(void)poll(fds, 2, ms < 0 || ms > READABLE_TURN_MS ? READABLE_TURN_MS : ms);
	}
}

static int stdout_error;

void ctl_note_stdout_error(void)
{
	if (stdout_error == 0)
		stdout_error = errno;
}

int ctl_stdout_error(void)
{
	return stdout_error;
}

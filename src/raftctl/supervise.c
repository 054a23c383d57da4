/* Nodes as child processes: started, listened to, started again when they die, and ended together. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "cluster.h"

#define BACKOFF_MIN_MS 250u
#define BACKOFF_MAX_MS 10000u
#define STEADY_MS      10000u /* after this long a death is one of its own, and not the next of a row */
#define LINE_BYTES_MAX 65536u
#define SIGNALS        4

struct supervisor;

struct child {
	struct supervisor *sup;
	const struct config_node *node;
	uv_process_t process;
	uv_timer_t again;
	bool running, handle_open; /* the process; its handle */
	bool wanted_again;         /* somebody asked to restart it */
	uint64_t started_ms, backoff_ms;
	int status; /* of its last end: exit code, or 128 and the signal */
};

struct supervisor {
	const struct cluster *cluster;
	struct supervise_opts opts;
	uv_loop_t loop;
	uv_signal_t signals[SIGNALS];
	uv_timer_t grace;
	struct child children[CONFIG_NODES_MAX];
	size_t n;
	bool colour, stopping, closing;
};

/* ---- output ---- */

/* What one of a child's two descriptors says, line by line. */
struct output {
	struct child *child; /* which outlives it */
	uv_pipe_t pipe;
	struct buf line;
	char piece[16384];
};

static void print_line(const struct child *c, const uint8_t *p, size_t n)
{
	static const char *const colours[] = {"36", "33", "35", "32", "34", "31"};
	const struct supervisor *s = c->sup;
	size_t place = (size_t)(c - s->children);

	if (s->colour)
		(void)printf("\033[%sm%" PRIu64 " |\033[0m ",
		             colours[place % (sizeof(colours) / sizeof(colours[0]))], c->node->id);
	else
		(void)printf("%" PRIu64 " | ", c->node->id);
	(void)fwrite(p, 1, n, stdout);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void print_lines(struct output *o)
{
	const uint8_t *end;

	while (o->line.len > 0 && (end = memchr(o->line.data, '\n', o->line.len)) != NULL) {
		size_t n = (size_t)(end - o->line.data);

		print_line(o->child, o->line.data, n);
		buf_consume(&o->line, n + 1);
	}
	if (o->line.len > LINE_BYTES_MAX) {
		print_line(o->child, o->line.data, o->line.len);
		buf_clear(&o->line);
	}
}

static void output_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct output *o = h->data;

	(void)suggested;
	*buf = uv_buf_init(o->piece, sizeof(o->piece));
}

static void output_closed(uv_handle_t *h)
{
	struct output *o = h->data;

	buf_free(&o->line);
	free(o);
}

static void output_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct output *o = stream->data;

	if (n > 0) {
		buf_put(&o->line, buf->base, (size_t)n);
		print_lines(o);
		return;
	}
	if (n == 0)
		return;
	if (o->line.len > 0)
		print_line(o->child, o->line.data, o->line.len);
	uv_close((uv_handle_t *)stream, output_closed);
}

static struct output *output_new(struct child *c)
{
	struct output *o = mem_zalloc(sizeof(*o));

	o->child = c;
	buf_init(&o->line);
	(void)uv_pipe_init(&c->sup->loop, &o->pipe, 0);
	o->pipe.data = o;
	return o;
}

/* ---- starting ---- */

static int open_log(const struct cluster *c, raft_id id, struct rfs_err *err)
{
	char path[CLUSTER_PATH_MAX];
	int fd;

	cluster_path(c, "raftd", id, "log", path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return fd >= 0 ? fd : rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
}

static void record_pid(const struct cluster *c, raft_id id, pid_t pid)
{
	char path[CLUSTER_PATH_MAX];
	struct rfs_err err = {0};

	cluster_path(c, "raftd", id, "pid", path);
	if (cluster_write_pid(path, pid, &err) != 0)
		log_warn("%s ('raftctl cluster stop' will not find node %" PRIu64 ")", err.msg, id);
}

/* In a session of its own: Ctrl-C is for us, and we pass it on in our way. */
static int spawn(uv_loop_t *loop, const struct cluster *c, raft_id id, uv_process_t *process,
                 uv_exit_cb on_exit, uv_stdio_container_t stdio[3], struct rfs_err *err)
{
	char number[32];
	char *argv[] = {(char *)c->raftd, "--cluster", (char *)c->file, "--id", number, NULL};
	uv_process_options_t options = {
	        .exit_cb = on_exit,
	        .file = c->raftd,
	        .args = argv,
	        .cwd = "/",
	        .flags = UV_PROCESS_DETACHED,
	        .stdio = stdio,
	        .stdio_count = 3,
	};
	int rc;

	(void)snprintf(number, sizeof(number), "%" PRIu64, id);
	rc = uv_spawn(loop, process, &options);
	if (rc != 0)
		return rfs_err_set(err, rc, "cannot start node %" PRIu64 ": %s: %s", id, c->raftd,
		                   rfs_strerror(rc));
	record_pid(c, id, process->pid);
	return 0;
}

static void child_exited(uv_process_t *process, int64_t code, int signum);

static void process_closed(uv_handle_t *h)
{
	struct child *c = h->data;

	c->handle_open = false;
}

static int start_to_log(struct child *c, struct rfs_err *err)
{
	int fd = open_log(c->sup->cluster, c->node->id, err), rc;
	uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
	                                 {.flags = UV_INHERIT_FD, .data.fd = fd},
	                                 {.flags = UV_INHERIT_FD, .data.fd = fd}};

	if (fd < 0)
		return fd;
	rc = spawn(&c->sup->loop, c->sup->cluster, c->node->id, &c->process, child_exited, stdio,
	           err);
	(void)close(fd);
	return rc;
}

static int start_to_terminal(struct child *c, struct rfs_err *err)
{
	const uv_stdio_flags flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
	struct output *out[2] = {output_new(c), output_new(c)};
	uv_stdio_container_t stdio[3] = {
	        {.flags = UV_IGNORE},
	        {.flags = flags, .data.stream = (uv_stream_t *)&out[0]->pipe},
	        {.flags = flags, .data.stream = (uv_stream_t *)&out[1]->pipe}};
	int rc = spawn(&c->sup->loop, c->sup->cluster, c->node->id, &c->process, child_exited,
	               stdio, err);

	for (size_t i = 0; i < 2; i++) {
		if (rc != 0)
			uv_close((uv_handle_t *)&out[i]->pipe, output_closed);
		else
			(void)uv_read_start((uv_stream_t *)&out[i]->pipe, output_alloc,
			                    output_read);
	}
	return rc;
}

static void start_child(struct child *c)
{
	struct rfs_err err = {0};
	int rc;

	rfs_check(!c->running && !c->handle_open);
	c->process.data = c;
	c->handle_open = true; /* also when it could not be started */
	rc = c->sup->opts.to_logs ? start_to_log(c, &err) : start_to_terminal(c, &err);
	c->started_ms = clock_mono_ms();
	c->running = rc == 0;
	if (rc == 0) {
		log_info("node %" PRIu64 ": started, pid %d", c->node->id, c->process.pid);
		return;
	}
	log_error("%s", err.msg);
	c->status = CTL_NO;
	uv_close((uv_handle_t *)&c->process, process_closed);
}

int supervise_detached(const struct cluster *c, const struct config_node *node, struct rfs_err *err)
{
	int fd = open_log(c, node->id, err), rc;
	uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
	                                 {.flags = UV_INHERIT_FD, .data.fd = fd},
	                                 {.flags = UV_INHERIT_FD, .data.fd = fd}};
	uv_process_t process;
	uv_loop_t loop;

	if (fd < 0)
		return fd;
	rfs_check(uv_loop_init(&loop) == 0);
	rc = spawn(&loop, c, node->id, &process, NULL, stdio, err);
	uv_close((uv_handle_t *)&process, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	(void)close(fd);
	return rc;
}

/* ---- ending ---- */

static void close_all(struct supervisor *s)
{
	if (s->closing)
		return;
	s->closing = true;
	for (size_t i = 0; i < SIGNALS; i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
	uv_close((uv_handle_t *)&s->grace, NULL);
	for (size_t i = 0; i < s->n; i++)
		uv_close((uv_handle_t *)&s->children[i].again, NULL);
}

static void check_all_ended(struct supervisor *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->children[i].running || uv_is_active((uv_handle_t *)&s->children[i].again))
			return;
	close_all(s);
}

static void signal_all(struct supervisor *s, int signum)
{
	for (size_t i = 0; i < s->n; i++) {
		(void)uv_timer_stop(&s->children[i].again);
		if (!s->children[i].running)
			continue;
		(void)uv_process_kill(&s->children[i].process, signum);
		(void)uv_process_kill(&s->children[i].process, SIGCONT); /* one that was stopped */
	}
	check_all_ended(s);
}

static void on_grace_over(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	log_warn("not all nodes have ended: killing them");
	signal_all(s, SIGKILL);
}

static void stop_all(struct supervisor *s)
{
	if (s->stopping) {
		log_warn("killing the nodes");
		signal_all(s, SIGKILL);
		return;
	}
	s->stopping = true;
	log_info("ending the nodes (once more: at once)");
	(void)uv_timer_start(&s->grace, on_grace_over, CLUSTER_STOP_MS, 0);
	signal_all(s, SIGTERM);
}

/* ---- dying ---- */

static void on_again(uv_timer_t *t)
{
	start_child(t->data);
	check_all_ended(((struct child *)t->data)->sup);
}

static void start_later(struct child *c, uint64_t ms)
{
	(void)uv_timer_start(&c->again, on_again, ms, 0);
}

/* What an exit code of raftd means: whether another start could end otherwise. */
static bool start_may_help(const struct child *c)
{
	return c->status != CTL_DONE && c->status != CTL_USAGE && c->status != CTL_REFUSED;
}

static void tell_end(const struct child *c)
{
	if (c->status >= 128)
		log_warn("node %" PRIu64 ": ended by signal %d (%s)", c->node->id, c->status - 128,
		         strsignal(c->status - 128)); // NOLINT(concurrency-mt-unsafe): one thread
	else if (c->status == CTL_DONE)
		log_info("node %" PRIu64 ": stopped", c->node->id);
	else
		log_warn("node %" PRIu64 ": ended with exit code %d", c->node->id, c->status);
}

static void decide(struct child *c)
{
	if (c->sup->stopping)
		return;
	if (c->wanted_again) {
		c->wanted_again = false;
		c->backoff_ms = 0;
		start_later(c, 0);
		return;
	}
	if (!start_may_help(c)) {
		if (c->status != CTL_DONE)
			log_error("node %" PRIu64
			          " is not started again: it would end the same way; "
			          "its words above say why",
			          c->node->id);
		return;
	}
	if (!c->sup->opts.restart) {
		log_info("node %" PRIu64 " is not started again (--no-auto-restart); "
		         "'raftctl cluster restart %" PRIu64 "' does it",
		         c->node->id, c->node->id);
		return;
	}
	if (clock_mono_ms() - c->started_ms >= STEADY_MS)
		c->backoff_ms = 0;
	c->backoff_ms = c->backoff_ms == 0                   ? BACKOFF_MIN_MS
	                : c->backoff_ms * 2 < BACKOFF_MAX_MS ? c->backoff_ms * 2
	                                                     : BACKOFF_MAX_MS;
	log_info("node %" PRIu64 " is started again in %g s", c->node->id,
	         (double)c->backoff_ms / 1000);
	start_later(c, c->backoff_ms);
}

static void child_exited(uv_process_t *process, int64_t code, int signum)
{
	struct child *c = process->data;
	char path[CLUSTER_PATH_MAX];

	c->running = false;
	c->status = signum != 0 ? 128 + signum : (int)code;
	uv_close((uv_handle_t *)process, process_closed);
	cluster_path(c->sup->cluster, "raftd", c->node->id, "pid", path);
	(void)unlink(path);
	tell_end(c);
	decide(c);
	check_all_ended(c->sup);
}

/* ---- wishes ---- */

/* SIGUSR1: which nodes shall be started anew? */
static void look_for_wishes(struct supervisor *s)
{
	for (size_t i = 0; i < s->n && !s->stopping; i++) {
		struct child *c = &s->children[i];
		char path[CLUSTER_PATH_MAX];

		cluster_path(s->cluster, "raftd", c->node->id, "restart", path);
		if (unlink(path) != 0)
			continue;
		log_info("node %" PRIu64 ": to be restarted", c->node->id);
		c->wanted_again = c->running;
		if (c->running) {
			(void)uv_process_kill(&c->process, SIGTERM);
			(void)uv_process_kill(&c->process, SIGCONT);
		} else {
			start_later(c, 0);
		}
	}
}

static void on_signal(uv_signal_t *sig, int signum)
{
	if (signum == SIGUSR1)
		look_for_wishes(sig->data);
	else
		stop_all(sig->data);
}

/* ---- the run ---- */

/* Every node of the file, also those that are not started now: `restart` may ask for them. */
static void init(struct supervisor *s, const struct cluster *c)
{
	static const int signums[SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

	rfs_check(uv_loop_init(&s->loop) == 0);
	for (size_t i = 0; i < SIGNALS; i++) {
		(void)uv_signal_init(&s->loop, &s->signals[i]);
		s->signals[i].data = s;
		(void)uv_signal_start(&s->signals[i], on_signal, signums[i]);
	}
	(void)uv_timer_init(&s->loop, &s->grace);
	s->grace.data = s;
	s->cluster = c;
	s->n = c->cfg.n_nodes;
	for (size_t i = 0; i < s->n; i++) {
		struct child *child = &s->children[i];

		child->sup = s;
		child->node = &c->cfg.nodes[i];
		(void)uv_timer_init(&s->loop, &child->again);
		child->again.data = child;
	}
}

int supervise(const struct cluster *c, const struct cluster_choice *choice,
              const struct supervise_opts *opts)
{
	struct supervisor *s = mem_zalloc(sizeof(*s));
	char path[CLUSTER_PATH_MAX];
	struct rfs_err err = {0};
	int status = CTL_DONE;

	cluster_path(c, "supervisor", 0, "pid", path);
	if (cluster_write_pid(path, getpid(), &err) != 0) {
		free(s);
		return ctl_error(CTL_NO, "%s", err.msg);
	}
	log_set_level(LOG_LEVEL_INFO);
	s->opts = *opts;
	s->colour = !opts->to_logs && isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
	init(s, c);
	for (size_t i = 0; i < choice->n; i++)
		start_child(&s->children[choice->nodes[i] - c->cfg.nodes]);
	check_all_ended(s);
	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&s->loop);
	for (size_t i = 0; i < s->n && !s->stopping; i++)
		if (s->children[i].status != CTL_DONE)
			status = CTL_NO;
	(void)unlink(path);
	log_info("all nodes have ended; the data stays in %s", c->cfg.data_directory);
	log_set_level(LOG_LEVEL_ERROR);
	free(s);
	return status;
}

/* cluster start|stop|restart ID|status: the nodes of a cluster file on this machine */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "cluster.h"
#include "commands.h"
#include "shell.h"

#define READY_MS  15000u
#define STATUS_MS 1000u
#define ROUND_MS  300u
#define PAUSE_MS  20u

/* ---- asking the nodes ---- */

/* A client of its own for this cluster file; NULL with a message. */
static struct ctl *open_ctl(const struct cluster *c)
{
	struct ctl *ask = mem_zalloc(sizeof(*ask));
	struct rfs_err err = {0};

	ask->args.cluster = c->file;
	ask->args.tls = c->tls;
	ask->timeout_ms = STATUS_MS;
	if (ctl_open(ask, &err) == 0)
		return ask;
	(void)ctl_error(CTL_NO, "%s", err.msg);
	free(ask);
	return NULL;
}

static void close_ctl(struct ctl *ask)
{
	ctl_close(ask);
	free(ask);
}

static const struct ctl_survey_node *node_in(const struct ctl_survey *s, raft_id id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].at.id == id && s->nodes[i].reachable)
			return &s->nodes[i];
	return NULL;
}

/* ---- start ---- */

static int make_data_directory(const struct cluster *c, struct rfs_err *err)
{
	if (mkdir(c->cfg.data_directory, 0755) == 0 || errno == EEXIST)
		return 0;
	return rfs_err_set(err, -errno, "%s: %s", c->cfg.data_directory, rfs_strerror(-errno));
}

/* Those of the choice that do not run yet. */
static void leave_out_running(const struct cluster *c, struct cluster_choice *choice)
{
	size_t n = 0;

	for (size_t i = 0; i < choice->n; i++) {
		pid_t pid = cluster_node_pid(c, choice->nodes[i]->id);

		if (pid != 0)
			(void)printf("node %" PRIu64 " runs already, pid %ld\n",
			             choice->nodes[i]->id, (long)pid);
		else
			choice->nodes[n++] = choice->nodes[i];
	}
	choice->n = n;
	(void)fflush(stdout);
}

/* Every node of the choice answers; with a majority of the file's nodes among those, one leads. */
static bool is_ready(struct ctl *ask, const struct cluster_choice *choice, size_t of,
                     struct ctl_leader *leader)
{
	struct ctl_survey *s = ctl_survey_start(ask, ROUND_MS);
	size_t up = 0;

	ctl_survey_wait(s, ROUND_MS);
	for (size_t i = 0; i < choice->n; i++)
		up += node_in(s, choice->nodes[i]->id) != NULL;
	ctl_survey_leader(s, leader);
	return up == choice->n && (leader->confirmed || up <= of / 2);
}

static void tell_up(const struct cluster *c, size_t n, const struct ctl_leader *leader, bool json)
{
	if (json) {
		ctl_json_print(json_pack("{s:s, s:I, s:o, s:s}", "cluster", c->cfg.name, "nodes",
		                         (json_int_t)n, "leader",
		                         leader->id != 0 ? json_integer((json_int_t)leader->id)
		                                         : json_null(),
		                         "logs", c->cfg.data_directory));
		return;
	}
	(void)printf("the cluster '%s' is up: %zu nodes", c->cfg.name, n);
	if (leader->id != 0)
		(void)printf(", node %" PRIu64 " at %s leads", leader->id, leader->address);
	(void)printf("\nlogs in %s; 'raftctl cluster stop' ends it\n", c->cfg.data_directory);
}

static int wait_ready(const struct cluster *c, const struct cluster_choice *choice,
                      pid_t supervisor, bool json)
{
	uint64_t give_up_ms = clock_mono_ms() + READY_MS;
	struct ctl_leader leader = {0};
	struct ctl *ask = open_ctl(c);
	bool ready = false;

	if (ask == NULL)
		return CTL_NO;
	while (!(ready = is_ready(ask, choice, c->cfg.n_nodes, &leader)) &&
	       clock_mono_ms() < give_up_ms && !ctl_interrupted()) {
		if (waitpid(supervisor, NULL, WNOHANG) == supervisor)
			break;
		ctl_turn(ask, PAUSE_MS);
	}
	close_ctl(ask);
	if (!ready)
		return ctl_error(CTL_NO_ANSWER,
		                 "the nodes are not up within %u s; %s/raftd-*.log and "
		                 "supervisor.log say why",
		                 READY_MS / 1000, c->cfg.data_directory);
	tell_up(c, choice->n, &leader, json);
	return CTL_DONE;
}

/* The supervisor as a daemon: a session of its own, nothing of the terminal, its words in a file. */
static void become_daemon(const struct cluster *c)
{
	char path[CLUSTER_PATH_MAX];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log;

	cluster_path(c, "supervisor", 0, "log", path);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	(void)setsid();
	if (chdir("/") != 0) /* then it stays where it is, and keeps that file system busy */
		log_warn("cannot leave the working directory: %s", rfs_strerror(-errno));
	if (null >= 0)
		(void)dup2(null, STDIN_FILENO);
	if (log >= 0 || null >= 0) {
		(void)dup2(log >= 0 ? log : null, STDOUT_FILENO);
		(void)dup2(log >= 0 ? log : null, STDERR_FILENO);
	}
}

static int start_daemon(const struct cluster *c, const struct cluster_choice *choice,
                        const struct supervise_opts *opts, bool json)
{
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		return ctl_error(CTL_NO, "fork: %s", rfs_strerror(-errno));
	if (pid == 0) {
		become_daemon(c);
		_exit(supervise(c, choice, opts));
	}
	return wait_ready(c, choice, pid, json);
}

static int start(struct ctl *ctl, const struct cluster *c)
{
	const char *nodes = ctl_args_option(&ctl->args, "nodes");
	struct supervise_opts opts = {
	        .restart = ctl_args_option(&ctl->args, "no-auto-restart") == NULL,
	        .to_logs = ctl_args_option(&ctl->args, "d") != NULL,
	};
	struct cluster_choice choice;
	struct rfs_err err = {0};
	pid_t pid = cluster_supervisor_pid(c);

	if (ctl->shell != NULL && !opts.to_logs)
		return ctl_error(
		        CTL_USAGE,
		        "cluster start: runs until Ctrl-C; in the shell: cluster start -d");
	if (cluster_choose(c, nodes != NULL ? nodes : "all", &choice, &err) != 0)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (pid != 0)
		return ctl_error(
		        CTL_NO,
		        "'raftctl cluster start' runs already for this cluster, pid %ld; "
		        "'raftctl cluster restart ID' starts a node, 'raftctl cluster stop' "
		        "ends them all",
		        (long)pid);
	if (make_data_directory(c, &err) != 0)
		return ctl_error(CTL_NO, "%s", err.msg);
	leave_out_running(c, &choice);
	if (choice.n == 0)
		return CTL_DONE;
	if (opts.to_logs)
		return start_daemon(c, &choice, &opts, ctl->args.json);
	(void)printf("starting %zu nodes of the cluster '%s'; Ctrl-C ends them\n", choice.n,
	             c->cfg.name);
	(void)fflush(stdout);
	return supervise(c, &choice, &opts);
}

/* ---- stop ---- */

static bool end_process(pid_t pid, const char *what)
{
	if (kill(pid, SIGTERM) != 0 && errno != ESRCH) {
		(void)ctl_error(CTL_REFUSED, "%s, pid %ld: %s; try as the user who started it",
		                what, (long)pid, rfs_strerror(-errno));
		return false;
	}
	(void)kill(pid, SIGCONT);
	return true;
}

static int stop(const struct ctl *ctl, const struct cluster *c)
{
	pid_t pids[CONFIG_NODES_MAX] = {0}, supervisor = cluster_supervisor_pid(c);
	size_t n = 0;
	int status = CTL_DONE;
	char path[CLUSTER_PATH_MAX];

	for (size_t i = 0; i < c->cfg.n_nodes; i++) {
		pids[i] = cluster_node_pid(c, c->cfg.nodes[i].id);
		n += pids[i] != 0;
	}
	if (supervisor != 0 && !end_process(supervisor, "the supervisor"))
		return CTL_REFUSED;
	if (supervisor != 0 && !cluster_wait_gone(supervisor, CLUSTER_STOP_MS + 2000))
		(void)kill(supervisor, SIGKILL);
	for (size_t i = 0; i < c->cfg.n_nodes; i++)
		if (pids[i] != 0 && cluster_node_pid(c, c->cfg.nodes[i].id) == pids[i] &&
		    !end_process(pids[i], "a node"))
			status = CTL_REFUSED;
	for (size_t i = 0; i < c->cfg.n_nodes && status == CTL_DONE; i++) {
		if (pids[i] == 0)
			continue;
		if (!cluster_wait_gone(pids[i], CLUSTER_STOP_MS)) {
			(void)kill(pids[i], SIGKILL);
			(void)cluster_wait_gone(pids[i], CLUSTER_STOP_MS);
		}
		cluster_path(c, "raftd", c->cfg.nodes[i].id, "pid", path);
		(void)unlink(path);
	}
	if (status == CTL_DONE && ctl->args.json)
		ctl_json_print(
		        json_pack("{s:s, s:I}", "cluster", c->cfg.name, "stopped", (json_int_t)n));
	else if (status == CTL_DONE && n > 0)
		(void)printf("stopped %zu nodes; the data stays in %s\n", n, c->cfg.data_directory);
	else if (status == CTL_DONE)
		(void)printf("no node of the cluster '%s' runs here\n", c->cfg.name);
	return status;
}

/* ---- restart ---- */

/* Until the node runs as another process than `old`. */
static pid_t wait_new(const struct cluster *c, raft_id id, pid_t old)
{
	uint64_t give_up_ms = clock_mono_ms() + CLUSTER_STOP_MS + 2000;
	pid_t pid;

	while ((pid = cluster_node_pid(c, id)) == 0 || pid == old) {
		if (clock_mono_ms() >= give_up_ms)
			return 0;
		uv_sleep(PAUSE_MS);
	}
	return pid;
}

static int ask_supervisor(const struct cluster *c, raft_id id, pid_t supervisor)
{
	char path[CLUSTER_PATH_MAX];
	struct rfs_err err = {0};

	cluster_path(c, "raftd", id, "restart", path);
	if (cluster_write_pid(path, getpid(), &err) != 0)
		return ctl_error(CTL_NO, "%s", err.msg);
	if (kill(supervisor, SIGUSR1) == 0)
		return CTL_DONE;
	(void)unlink(path);
	return ctl_error(CTL_REFUSED, "the supervisor, pid %ld: %s", (long)supervisor,
	                 rfs_strerror(-errno));
}

static int end_alone(pid_t pid)
{
	if (!end_process(pid, "the node"))
		return CTL_REFUSED;
	if (!cluster_wait_gone(pid, CLUSTER_STOP_MS)) {
		(void)kill(pid, SIGKILL);
		(void)cluster_wait_gone(pid, CLUSTER_STOP_MS);
	}
	return CTL_DONE;
}

static int start_alone(const struct cluster *c, const struct config_node *node)
{
	struct rfs_err err = {0};

	if (make_data_directory(c, &err) != 0 || supervise_detached(c, node, &err) != 0)
		return ctl_error(CTL_NO, "%s", err.msg);
	return CTL_DONE;
}

static int restart(struct ctl *ctl, const struct cluster *c)
{
	struct cluster_choice choice;
	struct rfs_err err = {0};
	const struct config_node *node;
	pid_t supervisor = cluster_supervisor_pid(c), old, pid;
	int status = CTL_DONE;

	if (ctl->args.n_operands != 2)
		return ctl_error(CTL_USAGE, "cluster restart: which node? cluster restart ID");
	if (cluster_choose(c, ctl->args.operands[1], &choice, &err) != 0 || choice.n != 1)
		return ctl_error(CTL_USAGE, "cluster restart: %s has no node '%s'", c->file,
		                 ctl->args.operands[1]);
	node = choice.nodes[0];
	old = cluster_node_pid(c, node->id);
	if (old != 0 && (supervisor == 0 || !cluster_is_child(old, supervisor)))
		status = end_alone(old);
	if (status == CTL_DONE)
		status = supervisor != 0 ? ask_supervisor(c, node->id, supervisor)
		                         : start_alone(c, node);
	if (status != CTL_DONE)
		return status;
	pid = wait_new(c, node->id, old);
	if (pid == 0)
		return ctl_error(CTL_NO,
		                 "node %" PRIu64 " does not come up again; see %s/raftd-%" PRIu64
		                 ".log and 'raftctl cluster status'",
		                 node->id, c->cfg.data_directory, node->id);
	if (ctl->args.json)
		ctl_json_print(json_pack("{s:I, s:I}", "id", (json_int_t)node->id, "pid",
		                         (json_int_t)pid));
	else
		(void)printf("node %" PRIu64 " runs anew, pid %ld\n", node->id, (long)pid);
	return CTL_DONE;
}

/* ---- status ---- */

static void print_node(const struct cluster *c, const struct ctl_survey *s,
                       const struct config_node *node)
{
	const struct ctl_survey_node *up = node_in(s, node->id);
	pid_t pid = cluster_node_pid(c, node->id);
	char address[CONFIG_HOST_MAX + 16], number[32] = "-";

	config_format_endpoint(node->host, node->port, address, sizeof(address));
	if (pid != 0)
		(void)snprintf(number, sizeof(number), "%ld", (long)pid);
	(void)printf("%-4" PRIu64 " %-22s %-8s %s\n", node->id, address, number,
	             up != NULL ? up->status.role
	             : pid != 0 ? "runs, but does not answer"
	                        : "does not run here");
}

static json_t *json_node(const struct cluster *c, const struct ctl_survey *s,
                         const struct config_node *node)
{
	const struct ctl_survey_node *up = node_in(s, node->id);
	pid_t pid = cluster_node_pid(c, node->id);
	char address[CONFIG_HOST_MAX + 16];
	json_t *o = json_object();

	config_format_endpoint(node->host, node->port, address, sizeof(address));
	(void)json_object_set_new(o, "id", json_integer((json_int_t)node->id));
	(void)json_object_set_new(o, "address", json_string(address));
	(void)json_object_set_new(o, "pid", pid != 0 ? json_integer(pid) : json_null());
	(void)json_object_set_new(o, "reachable", json_boolean(up != NULL));
	(void)json_object_set_new(o, "role",
	                          up != NULL ? json_string(up->status.role) : json_null());
	return o;
}

static int status(struct ctl *ctl, const struct cluster *c)
{
	pid_t supervisor = cluster_supervisor_pid(c);
	struct ctl *ask = open_ctl(c);
	struct ctl_survey *s;
	json_t *nodes = json_array();
	size_t up = 0;

	if (ask == NULL)
		return CTL_NO;
	s = ctl_survey_start(ask, STATUS_MS);
	ctl_survey_wait(s, STATUS_MS);
	if (!ctl->args.json)
		(void)printf("cluster %s, data in %s\n%-4s %-22s %-8s %s\n", c->cfg.name,
		             c->cfg.data_directory, "id", "address", "pid", "role");
	for (size_t i = 0; i < c->cfg.n_nodes; i++) {
		up += node_in(s, c->cfg.nodes[i].id) != NULL;
		if (ctl->args.json)
			(void)json_array_append_new(nodes, json_node(c, s, &c->cfg.nodes[i]));
		else
			print_node(c, s, &c->cfg.nodes[i]);
	}
	if (ctl->args.json)
		ctl_json_print(json_pack("{s:s, s:s, s:o, s:O}", "cluster", c->cfg.name,
		                         "data_directory", c->cfg.data_directory, "supervisor",
		                         supervisor != 0 ? json_integer(supervisor) : json_null(),
		                         "nodes", nodes));
	else if (supervisor != 0)
		(void)printf("kept running by 'raftctl cluster start', pid %ld\n",
		             (long)supervisor);
	json_decref(nodes);
	close_ctl(ask);
	return up == c->cfg.n_nodes ? CTL_DONE : CTL_NO;
}

/* ---- the command ---- */

static int run_sub(struct ctl *ctl, const struct cluster *c)
{
	const char *sub = ctl->args.operands[0];

	if (strcmp(sub, "restart") == 0)
		return restart(ctl, c);
	if (ctl->args.n_operands > 1)
		return ctl_error(CTL_USAGE, "cluster %s: takes no '%s'", sub,
		                 ctl->args.operands[1]);
	if (strcmp(sub, "start") == 0)
		return start(ctl, c);
	return strcmp(sub, "stop") == 0 ? stop(ctl, c) : status(ctl, c);
}

static int cluster_run(struct ctl *ctl)
{
	static const char *const subs[] = {"start", "stop", "restart", "status"};
	const char *sub = ctl->args.operands[0];
	struct rfs_err err = {0};
	struct cluster *c;
	size_t k = 0;
	int rc;

	while (k < 4 && strcmp(subs[k], sub) != 0)
		k++;
	if (k == 4)
		return ctl_error(CTL_USAGE,
		                 "cluster %s: there are start, stop, restart ID and status", sub);
	if (ctl->args.n_endpoints > 0)
		return ctl_error(CTL_USAGE, "cluster %s: wants a cluster file, no endpoint", sub);
	c = mem_zalloc(sizeof(*c));
	c->tls = ctl->args.tls;
	rc = cluster_load(c, ctl->args.cluster, &err) == 0 ? run_sub(ctl, c)
	                                                   : ctl_error(CTL_USAGE, "%s", err.msg);
	free(c);
	return rc;
}

static const struct ctl_option options[] = {
        {"nodes", "LIST", "start: which nodes, such as 1,2,3 (default: all)"},
        {"no-auto-restart", NULL, "start: do not start nodes again that die"},
        {"d", NULL, "start: as a daemon; returns once the nodes are up"},
        {0},
};

static const char details[] =
        "Runs the nodes of the cluster file on this machine, for trying and developing; on servers "
        "systemd does\n"
        "this, one node a host.\n"
        "\n"
        "  start       starts the nodes, shows what they say, each line with its node's id in "
        "front, starts again\n"
        "              those that die (0.25 s later, then twice as long each time, up to 10 s), "
        "and "
        "ends them all\n"
        "              on Ctrl-C. A node that stops cleanly, or that says that its configuration "
        "or "
        "data is\n"
        "              refused, is left alone\n"
        "  stop        ends the nodes, also those that 'make up' has started\n"
        "  restart ID  ends one node and starts it again\n"
        "  status      which nodes run, and as what\n"
        "\n"
        "  raftctl cluster start --cluster examples/five-nodes.toml --nodes 1,2,3 -d\n"
        "  raftctl cluster restart 2\n"
        "\n"
        "Pid files and logs stand in data_directory: raftd-N.pid, raftd-N.log, supervisor.log.\n"
        "Exit codes: 0 done, or status: every node answers; 1 failed, or status: some do not; 2 "
        "usage or\n"
        "configuration; 3 the nodes were not up in time; 4 refused by the system.\n";

const struct ctl_command cmd_cluster = {
        .name = "cluster",
        .operands = "start|stop|restart ID|status",
        .summary = "run the nodes of a cluster on this machine",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .options = options,
        .offline = true,
        .run = cluster_run,
};

/* demo: what raftfs is for, in a quarter of a minute, and nothing stays behind */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../base/mem.h"
#include "cluster.h"
#include "commands.h"

#define NODES        3u
#define KEYS         60u /* written while the leader is killed */
#define KILL_AT      20u
#define READY_MS     10000u
#define END_MS       5000u
#define PAUSE_MS     900u /* for a person to read */
#define POLL_MS      20u
#define KEY_EVERY_MS 10u

struct demo {
	struct ctl *ctl;    /* the command's: for its options */
	struct ctl *client; /* of the demo's cluster; NULL: not yet */
	struct cluster *cluster;
	char dir[64], toml[128], mount[128];
	bool has_dir, mounted, slow; /* slow: a person reads */
	uint64_t started_ms, longest_ms;
	unsigned written, lost;
	raft_id killed;
};

/* ---- telling ---- */

__attribute__((format(printf, 2, 3))) static void say(const struct demo *d, const char *fmt, ...)
{
	va_list ap;

	if (d->ctl->args.json)
		return;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)fflush(stdout);
}

static void pause_for_reading(const struct demo *d)
{
	uint64_t until_ms = clock_mono_ms() + (d->slow ? PAUSE_MS : 0);

	while (clock_mono_ms() < until_ms && !ctl_interrupted())
		uv_sleep(POLL_MS);
}

static int failed(const char *what, const char *why)
{
	return ctl_error(CTL_NO, "demo: %s: %s", what, why);
}

static int interrupted(void)
{
	return ctl_interrupted() ? ctl_error(CTL_NO, "demo: interrupted") : CTL_DONE;
}

/* ---- a cluster in a temporary place ---- */

/* Below the kernel's range for outgoing connections, where a node that is down could be dialled by
 * itself; held until all are found, so that none is given twice. */
static int free_ports(uint16_t ports[NODES])
{
	int fds[NODES], rc = 0;
	unsigned n = 0;

	for (unsigned tries = 0; n < NODES && tries < 1000; tries++) {
		struct sockaddr_in at = {.sin_family = AF_INET,
		                         .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};

		ports[n] = (uint16_t)(10000 + clock_random_u64() % 20000);
		at.sin_port = htons(ports[n]);
		fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[n] < 0)
			break;
		if (bind(fds[n], (struct sockaddr *)&at, sizeof(at)) == 0)
			n++;
		else
			(void)close(fds[n]);
	}
	if (n < NODES)
		rc = -EADDRINUSE;
	while (n > 0)
		(void)close(fds[--n]);
	return rc;
}

static int write_toml(const struct demo *d)
{
	uint16_t ports[NODES];
	FILE *f;

	if (free_ports(ports) != 0)
		return -EADDRINUSE;
	f = fopen(d->toml, "we");
	if (f == NULL)
		return -errno;
	(void)fprintf(f, "[cluster]\nname = \"raftctl-demo\"\ndata_directory = \"./data\"\n");
	for (unsigned i = 0; i < NODES; i++)
		(void)fprintf(f, "\n[[node]]\nid = %u\nhost = \"127.0.0.1\"\nport = %u\n", i + 1,
		              ports[i]);
	return fclose(f) == 0 ? 0 : -errno;
}

static int make_place(struct demo *d)
{
	const char *tmp = getenv("TMPDIR");
	char data[128];
	struct rfs_err err = {0};
	int rc;

	if (tmp == NULL || tmp[0] != '/' || strlen(tmp) > 30)
		tmp = "/tmp";
	(void)snprintf(d->dir, sizeof(d->dir), "%s/raftfs-demo-XXXXXX", tmp);
	if (mkdtemp(d->dir) == NULL)
		return failed(d->dir, rfs_strerror(-errno));
	d->has_dir = true;
	(void)snprintf(d->toml, sizeof(d->toml), "%s/cluster.toml", d->dir);
	(void)snprintf(d->mount, sizeof(d->mount), "%s/mnt", d->dir);
	(void)snprintf(data, sizeof(data), "%s/data", d->dir);
	rc = write_toml(d);
	if (rc == 0 && (mkdir(data, 0700) != 0 || mkdir(d->mount, 0700) != 0))
		rc = -errno;
	if (rc != 0)
		return failed(d->dir, rfs_strerror(rc));
	if (cluster_load(d->cluster, d->toml, &err) != 0)
		return failed("cluster file", err.msg);
	return CTL_DONE;
}

static int start_node(struct demo *d, raft_id id)
{
	struct rfs_err err = {0};

	if (supervise_detached(d->cluster, config_node_by_id(&d->cluster->cfg, id), &err) != 0)
		return failed("starting a node", err.msg);
	return CTL_DONE;
}

static int open_client(struct demo *d)
{
	struct rfs_err err = {0};

	d->client = mem_zalloc(sizeof(*d->client));
	d->client->args.cluster = d->toml;
	d->client->timeout_ms = READY_MS;
	if (ctl_open(d->client, &err) == 0)
		return CTL_DONE;
	free(d->client);
	d->client = NULL;
	return failed("client", err.msg);
}

/* All nodes answer, one leads, and with `agree` all have the same state. */
static bool look(struct demo *d, bool agree, struct ctl_leader *leader)
{
	struct ctl_survey *s = ctl_survey_start(d->client, 500);
	bool all = true;

	ctl_survey_wait(s, 500);
	ctl_survey_leader(s, leader);
	for (size_t i = 0; i < s->n; i++) {
		const struct wire_status *st = &s->nodes[i].status;

		all = all && s->nodes[i].reachable && st->leader_id == leader->id;
		all = all && (!agree || (st->applied == s->nodes[0].status.applied &&
		                         st->digest == s->nodes[0].status.digest));
	}
	if (s->pending == 0)
		ctl_surveys_prune(d->client);
	return all && leader->confirmed;
}

static int wait_all(struct demo *d, bool agree, struct ctl_leader *leader)
{
	uint64_t give_up_ms = clock_mono_ms() + READY_MS;

	while (!look(d, agree, leader)) {
		if (ctl_interrupted())
			return interrupted();
		if (clock_mono_ms() >= give_up_ms)
			return failed(d->dir, "the nodes are not up in time");
		ctl_turn(d->client, POLL_MS);
	}
	return CTL_DONE;
}

/* ---- the mount ---- */

static void process_ended(uv_process_t *p, int64_t code, int signum)
{
	*(int *)p->data = signum != 0 ? 128 + signum : (int)code;
	uv_close((uv_handle_t *)p, NULL);
}

/* Run a program of ours to its end; its exit code, or a negative errno. */
static int run(char **argv)
{
	uv_stdio_container_t stdio[3] = {
	        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
	uv_process_options_t options = {.exit_cb = process_ended,
	                                .file = argv[0],
	                                .args = argv,
	                                .stdio = stdio,
	                                .stdio_count = 3};
	uv_process_t process;
	uv_loop_t loop;
	int code = -1, rc;

	if (uv_loop_init(&loop) != 0)
		return -ENOMEM;
	process.data = &code;
	rc = uv_spawn(&loop, &process, &options);
	if (rc != 0)
		uv_close((uv_handle_t *)&process, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	return rc != 0 ? rc : code;
}

/* Without /dev/fuse or the permission to mount the demo goes on with raftctl's own client. */
static void try_mount(struct demo *d)
{
	char raftfs[CLUSTER_PATH_MAX], options[160];
	char *argv[] = {raftfs, d->mount, "--cluster", d->toml, "-o", options, NULL};
	const char *slash = strrchr(d->cluster->raftd, '/');
	int code;

	(void)snprintf(raftfs, sizeof(raftfs), "%.*sraftfs",
	               slash != NULL ? (int)(slash - d->cluster->raftd) + 1 : 0, d->cluster->raftd);
	/* the root directory of a new cluster is root's: show it as ours */
	(void)snprintf(options, sizeof(options), "uid=%u,gid=%u,logfile=%s/raftfs.log",
	               (unsigned)geteuid(), (unsigned)getegid(), d->dir);
	code = access("/dev/fuse", R_OK | W_OK) == 0 ? run(argv) : -ENOENT;
	d->mounted = code == 0;
	if (d->mounted)
		say(d, "  mounted at %s\n", d->mount);
	else
		say(d, "  (nothing can be mounted here, so keys are written by raftctl instead)\n");
}

static int write_key(struct demo *d, const char *key, const char *value)
{
	char path[256];
	int fd, rc = 0;

	if (!d->mounted)
		return ctl_value_put(d->client, key, value, strlen(value), NULL, &(uint64_t){0});
	(void)snprintf(path, sizeof(path), "%s/%s", d->mount, key);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		rc = -errno;
	return close(fd) != 0 && rc == 0 ? -errno : rc;
}

/* ---- the steps ---- */

static int step_start(struct demo *d)
{
	struct ctl_leader leader;
	int rc = make_place(d);

	if (rc == CTL_DONE)
		say(d, "1. Three nodes, and a directory that they keep together (in %s)\n", d->dir);
	for (raft_id id = 1; id <= NODES && rc == CTL_DONE; id++)
		rc = start_node(d, id);
	if (rc == CTL_DONE)
		rc = open_client(d);
	if (rc == CTL_DONE)
		rc = wait_all(d, false, &leader);
	if (rc != CTL_DONE)
		return rc;
	say(d, "  node %" PRIu64 " was elected leader, %" PRIu64 " ms after the start\n", leader.id,
	    clock_mono_ms() - d->started_ms);
	try_mount(d);
	pause_for_reading(d);
	return interrupted();
}

static int step_write(struct demo *d)
{
	struct rfs_err err = {0};
	struct ctl_value v;
	int rc = write_key(d, "color", "blue\n");

	say(d, d->mounted ? "\n2. Every key is a file: echo blue > mnt/color\n"
	                  : "\n2. raftctl set color blue\n");
	if (rc != 0)
		return failed("color", rfs_strerror(rc));
	rc = ctl_value_get(d->client, "color", &v, &err);
	if (rc != 0)
		return failed("get color", rfs_strerror(rc));
	say(d, "  raftctl get color gives %.*s", (int)v.data.len, (const char *)v.data.data);
	say(d, "  when the write returned it was on the disks of two of the three nodes\n");
	ctl_value_free(&v);
	pause_for_reading(d);
	return interrupted();
}

static int kill_leader(struct demo *d)
{
	struct ctl_leader leader = {0};
	int rc = wait_all(d, false, &leader);
	pid_t pid;

	if (rc != CTL_DONE)
		return rc;
	pid = cluster_node_pid(d->cluster, leader.id);
	if (pid == 0 || kill(pid, SIGKILL) != 0)
		return failed("killing the leader", "its process is not to be found");
	d->killed = leader.id;
	say(d, "  kill -9 of node %" PRIu64 ", the leader, in the middle of it\n", leader.id);
	return CTL_DONE;
}

static int step_kill(struct demo *d)
{
	int rc = CTL_DONE;

	say(d, "\n3. %u keys, one after the other\n", KEYS);
	for (unsigned i = 0; i < KEYS && rc == CTL_DONE; i++) {
		char key[32], value[32];
		uint64_t begin_ms;

		if (i == KILL_AT)
			rc = kill_leader(d);
		(void)snprintf(key, sizeof(key), "key%02u", i);
		(void)snprintf(value, sizeof(value), "value %u\n", i);
		begin_ms = clock_mono_ms();
		if (rc == CTL_DONE && write_key(d, key, value) != 0)
			rc = failed(key, "could not be written");
		if (clock_mono_ms() - begin_ms > d->longest_ms)
			d->longest_ms = clock_mono_ms() - begin_ms;
		d->written += rc == CTL_DONE;
		uv_sleep(KEY_EVERY_MS);
		if (rc == CTL_DONE)
			rc = interrupted();
	}
	if (rc != CTL_DONE)
		return rc;
	say(d, "  all %u writes succeeded; the one that met the election took %" PRIu64 " ms\n",
	    d->written, d->longest_ms);
	pause_for_reading(d);
	return interrupted();
}

static int step_count(struct demo *d)
{
	struct ctl_leader leader = {0};
	uint64_t give_up_ms = clock_mono_ms() + READY_MS;

	say(d, "\n4. Was anything lost?\n");
	for (unsigned i = 0; i < d->written; i++) {
		char key[32], value[32];
		struct rfs_err err = {0};
		struct ctl_value v;

		(void)snprintf(key, sizeof(key), "key%02u", i);
		(void)snprintf(value, sizeof(value), "value %u\n", i);
		d->lost += ctl_value_get(d->client, key, &v, &err) != 0 ||
		           v.data.len != strlen(value) ||
		           memcmp(v.data.data, value, v.data.len) != 0;
		ctl_value_free(&v);
	}
	do {
		(void)look(d, false, &leader);
	} while (!leader.confirmed && clock_mono_ms() < give_up_ms && !ctl_interrupted());
	say(d, "  node %" PRIu64 " leads now; %u of %u keys are there with their values\n",
	    leader.id, d->written - d->lost, d->written);
	pause_for_reading(d);
	return d->lost == 0 ? interrupted() : failed("keys", "some are lost");
}

static int step_return(struct demo *d)
{
	struct ctl_leader leader;
	int rc;

	say(d, "\n5. Node %" PRIu64 " is started again\n", d->killed);
	rc = start_node(d, d->killed);
	if (rc == CTL_DONE)
		rc = wait_all(d, true, &leader);
	if (rc != CTL_DONE)
		return rc;
	say(d, "  it has caught up: the same state, digest for digest, on all three\n");
	pause_for_reading(d);
	return CTL_DONE;
}

/* ---- the end ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void unmount(struct demo *d)
{
	char *argv[] = {"fusermount3", "-u", "-z", d->mount, NULL};

	if (d->mounted && umount2(d->mount, MNT_DETACH) != 0)
		(void)run(argv);
}

/* Whatever was started or made, however far it got. */
static void clean_up(struct demo *d)
{
	pid_t pids[NODES] = {0};

	unmount(d);
	if (d->client != NULL) {
		ctl_close(d->client);
		free(d->client);
	}
	for (unsigned i = 0; i < NODES && d->cluster->cfg.n_nodes == NODES; i++) {
		pids[i] = cluster_node_pid(d->cluster, i + 1);
		if (pids[i] != 0)
			(void)kill(pids[i], SIGTERM);
	}
	for (unsigned i = 0; i < NODES; i++) {
		if (pids[i] != 0 && !cluster_wait_gone(pids[i], END_MS))
			(void)kill(pids[i], SIGKILL);
	}
	if (d->has_dir && nftw(d->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		(void)ctl_error(CTL_NO, "demo: %s could not be removed: %s", d->dir,
		                rfs_strerror(-errno));
}

static int run_steps(struct demo *d)
{
	static int (*const steps[])(struct demo *) = {step_start, step_write, step_kill, step_count,
	                                              step_return};
	int rc = CTL_DONE;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && rc == CTL_DONE; i++)
		rc = steps[i](d);
	return rc;
}

static int demo_run(struct ctl *ctl)
{
	struct demo *d = mem_zalloc(sizeof(*d));
	int status;

	d->ctl = ctl;
	d->cluster = mem_zalloc(sizeof(*d->cluster));
	d->slow = isatty(STDOUT_FILENO) && !ctl->args.json;
	d->started_ms = clock_mono_ms();
	(void)ctl_catch_interrupts(); /* nothing may stay behind */
	status = run_steps(d);
	clean_up(d);
	if (status == CTL_DONE && ctl->args.json)
		ctl_json_print(json_pack("{s:i, s:i, s:I, s:b, s:I}", "written", (int)d->written,
		                         "lost", (int)d->lost, "longest_write_ms",
		                         (json_int_t)d->longest_ms, "mounted", d->mounted,
		                         "took_ms", (json_int_t)(clock_mono_ms() - d->started_ms)));
	else if (status == CTL_DONE)
		say(d,
		    "\nThe nodes are stopped and %s is removed. That took %.1f s.\nYour own "
		    "cluster: "
		    "make up, or raftctl cluster start.\n",
		    d->dir, (double)(clock_mono_ms() - d->started_ms) / 1000);
	free(d->cluster);
	free(d);
	return status;
}

static const char details[] =
        "Starts three nodes and a mount in a temporary place, writes keys, kills the leader in the "
        "middle of it,\n"
        "counts what is there, brings the node back, and cleans everything up. It takes less than "
        "20 "
        "seconds and\n"
        "touches nothing else; without /dev/fuse it does without the mount.\n"
        "\n"
        "  raftctl demo\n"
        "\n"
        "Exit codes: 0 nothing was lost; 1 it failed, or was interrupted; 2 usage.\n";

const struct ctl_command cmd_demo = {
        .name = "demo",
        .operands = "",
        .summary = "three nodes, a mount, a leader killed: see that nothing is lost",
        .details = details,
        .offline = true,
        .run = demo_run,
};

/* Which processes are a cluster's, by what is written down and what /proc says. */
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/clock.h"

#define POLL_MS       20u
#define CMDLINE_BYTES 16384u

/* ---- files ---- */

/* Absolute, with the folder's links followed: as scripts/running.sh writes it. */
static void resolve_folder(const char *path, char out[CONFIG_PATH_MAX])
{
	char folder[CONFIG_PATH_MAX], *real;
	const char *slash = strrchr(path, '/');

	(void)snprintf(folder, sizeof(folder), "%.*s", slash > path ? (int)(slash - path) : 1,
	               path);
	real = realpath(folder, NULL);
	(void)snprintf(out, CONFIG_PATH_MAX, "%s%s",
	               real != NULL && strcmp(real, "/") == 0 ? ""
	               : real != NULL                         ? real
	                                                      : folder,
	               slash);
	free(real);
}

/* Beside this program; else by $PATH. */
static void find_raftd(struct cluster *c)
{
	char self[CONFIG_PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash != NULL) {
		*slash = '\0';
		(void)snprintf(c->raftd, sizeof(c->raftd), "%s/raftd", self);
		if (access(c->raftd, X_OK) == 0)
			return;
	}
	(void)snprintf(c->raftd, sizeof(c->raftd), "raftd");
}

int cluster_load(struct cluster *c, const char *given, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX];
	int rc = config_find(given, path, err);

	if (rc == 0)
		rc = config_load(&c->cfg, path, err);
	if (rc != 0)
		return rc;
	resolve_folder(path, c->file);
	find_raftd(c);
	return 0;
}

void cluster_path(const struct cluster *c, const char *name, raft_id id, const char *end,
                  char out[CLUSTER_PATH_MAX])
{
	if (id != 0)
		(void)snprintf(out, CLUSTER_PATH_MAX, "%s/%s-%" PRIu64 ".%s", c->cfg.data_directory,
		               name, id, end);
	else
		(void)snprintf(out, CLUSTER_PATH_MAX, "%s/%s.%s", c->cfg.data_directory, name, end);
}

int cluster_write_pid(const char *path, pid_t pid, struct rfs_err *err)
{
	FILE *f = fopen(path, "we");
	int bad;

	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	bad = fprintf(f, "%ld\n", (long)pid) < 0;
	errno = EIO;
	if (fclose(f) != 0 || bad)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	return 0;
}

/* ---- processes ---- */

static pid_t read_pid(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[32] = "";
	long pid;

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	(void)fclose(f);
	pid = strtol(line, NULL, 10);
	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

/* Whether the program behind the pid is called that; one that was built anew meanwhile, too. */
static bool runs_program(pid_t pid, const char *name)
{
	char link[64], exe[CONFIG_PATH_MAX], *base;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/%ld/exe", (long)pid);
	n = readlink(link, exe, sizeof(exe) - 1);
	if (n <= 0)
		return false;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	base = base != NULL ? base + 1 : exe;
	n = (ssize_t)strlen(name);
	return strncmp(base, name, (size_t)n) == 0 &&
	       (base[n] == '\0' || strcmp(base + n, " (deleted)") == 0);
}

static bool has_word(pid_t pid, const char *word)
{
	char path[64], line[CMDLINE_BYTES];
	bool found = false;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(line, 1, sizeof(line) - 1, f);
	(void)fclose(f);
	line[n] = '\0';
	for (size_t at = 0; at < n && !found; at += strlen(line + at) + 1)
		found = strcmp(line + at, word) == 0;
	return found;
}

pid_t cluster_node_pid(const struct cluster *c, raft_id id)
{
	char path[CLUSTER_PATH_MAX], word[32];
	pid_t pid;

	cluster_path(c, "raftd", id, "pid", path);
	(void)snprintf(word, sizeof(word), "%" PRIu64, id);
	pid = read_pid(path);
	return pid != 0 && runs_program(pid, "raftd") && has_word(pid, c->file) &&
	                       has_word(pid, word)
	               ? pid
	               : 0;
}

pid_t cluster_supervisor_pid(const struct cluster *c)
{
	char path[CLUSTER_PATH_MAX];
	pid_t pid;

	cluster_path(c, "supervisor", 0, "pid", path);
	pid = read_pid(path);
	return pid != 0 && runs_program(pid, "raftctl") && has_word(pid, "start") ? pid : 0;
}

/* State and parent by /proc/PID/stat; false if there is no such process. */
static bool read_stat(pid_t pid, char *state, long *parent)
{
	char path[64], line[512] = "";
	const char *end;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	(void)fclose(f);
	end = strrchr(line, ')');
	if (end == NULL || end[1] != ' ' || end[2] == '\0' || end[3] != ' ')
		return false;
	*state = end[2];
	*parent = strtol(end + 4, NULL, 10);
	return true;
}

/* One that has ended and was not collected yet is gone as well. */
bool cluster_is_alive(pid_t pid)
{
	long parent;
	char state;

	return read_stat(pid, &state, &parent) && state != 'Z' && state != 'X';
}

bool cluster_is_child(pid_t pid, pid_t parent)
{
	long its;
	char state;

	return read_stat(pid, &state, &its) && its == (long)parent;
}

bool cluster_wait_gone(pid_t pid, uint64_t ms)
{
	uint64_t give_up_ms = clock_mono_ms() + ms;

	while (cluster_is_alive(pid)) {
		if (clock_mono_ms() >= give_up_ms)
			return false;
		uv_sleep(POLL_MS);
	}
	return true;
}

/* ---- which nodes ---- */

static int choose_one(const struct cluster *c, const char *text, size_t n,
                      struct cluster_choice *choice, struct rfs_err *err)
{
	const struct config_node *node = NULL;
	raft_id id = 0;

	for (size_t i = 0; i < n && id <= INT32_MAX; i++)
		id = text[i] >= '0' && text[i] <= '9' ? id * 10 + (raft_id)(text[i] - '0')
		                                      : (raft_id)INT32_MAX + 1;
	if (n > 0 && id <= INT32_MAX)
		node = config_node_by_id(&c->cfg, id);
	if (node == NULL)
		return rfs_err_set(err, RFS_ECONFIG, "--nodes: %s has no node '%.*s'", c->file,
		                   (int)n, text);
	for (size_t i = 0; i < choice->n; i++)
		if (choice->nodes[i] == node)
			return rfs_err_set(err, RFS_ECONFIG, "--nodes: node %" PRIu64 " twice", id);
	choice->nodes[choice->n++] = node;
	return 0;
}

int cluster_choose(const struct cluster *c, const char *text, struct cluster_choice *choice,
                   struct rfs_err *err)
{
	choice->n = 0;
	if (strcmp(text, "all") == 0) {
		for (size_t i = 0; i < c->cfg.n_nodes; i++)
			choice->nodes[choice->n++] = &c->cfg.nodes[i];
		return 0;
	}
	for (;;) {
		size_t n = strcspn(text, ",");

		if (choose_one(c, text, n, choice, err) != 0)
			return err->code;
		if (text[n] == '\0')
			return 0;
		text += n + 1;
	}
}

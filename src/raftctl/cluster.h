/* A cluster on this machine, as `raftctl cluster` and scripts/up.sh run it: which processes are its
 * nodes, and where that is written down.
 *
 * Beside the nodes' data, in data_directory: raftd-N.pid and raftd-N.log of node N; supervisor.pid
 * and supervisor.log of the process that keeps them running, if there is one; raftd-N.restart, a
 * wish that the supervisor looks at when it gets SIGUSR1. A pid is believed only while the process
 * behind it is that program, started for that cluster file. scripts/running.sh believes the same. */
#ifndef RFS_RAFTCTL_CLUSTER_H
#define RFS_RAFTCTL_CLUSTER_H

#include <sys/types.h>
#include "ctl.h"

#define CLUSTER_PATH_MAX (CONFIG_PATH_MAX + 64)
#define CLUSTER_STOP_MS  10000u /* of grace before SIGKILL */

struct cluster {
	struct config cfg;
	char file[CONFIG_PATH_MAX];   /* as it stands on the nodes' command lines */
	char raftd[CLUSTER_PATH_MAX]; /* the program */
	struct config_tls_given tls;  /* for asking its nodes */
};

/* Read the cluster file that is named or found. RFS_ECONFIG, -errno. */
int cluster_load(struct cluster *c, const char *given, struct rfs_err *err);
/* "DATA/NAME-ID.END", or "DATA/NAME.END" with id 0. */
void cluster_path(const struct cluster *c, const char *name, raft_id id, const char *end,
                  char out[CLUSTER_PATH_MAX]);

/* 0: it does not run. */
pid_t cluster_node_pid(const struct cluster *c, raft_id id);
pid_t cluster_supervisor_pid(const struct cluster *c);
bool cluster_is_alive(pid_t pid);
bool cluster_is_child(pid_t pid, pid_t parent);
/* Wait until the process is gone; false after `ms`. */
bool cluster_wait_gone(pid_t pid, uint64_t ms);

/* Write the decimal number and a newline. */
int cluster_write_pid(const char *path, pid_t pid, struct rfs_err *err);

/* The nodes that a command is about, in the file's order. */
struct cluster_choice {
	const struct config_node *nodes[CONFIG_NODES_MAX];
	size_t n;
};
/* "all" or "1,2,3". RFS_ECONFIG naming what is wrong. */
int cluster_choose(const struct cluster *c, const char *text, struct cluster_choice *choice,
                   struct rfs_err *err);

/* ---- supervise.c ---- */

struct supervise_opts {
	bool restart; /* those that die */
	bool to_logs; /* output into log files, not to the terminal */
};

/* Start the nodes and stay with them until SIGINT, SIGTERM, SIGHUP, or all of them have ended for good.
 * Gives an exit code. */
int supervise(const struct cluster *c, const struct cluster_choice *choice,
              const struct supervise_opts *opts);

/* Start one node detached, with its output in its log file. */
int supervise_detached(const struct cluster *c, const struct config_node *node,
                       struct rfs_err *err);

#endif

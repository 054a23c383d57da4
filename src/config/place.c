/* Where things are: the cluster file, and the embedded node's folder. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER_FILE         "cluster.toml"
#define CLUSTER_FILE_OF_HOST "/etc/raftfs/cluster.toml"

static int too_long(const char *what, struct rfs_err *err)
{
	return rfs_err_set(err, -ENAMETOOLONG, "%s: the path is too long", what);
}

int config_absolute(const char *file, char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	char cwd[PATH_MAX];
	int n;

	while (strncmp(file, "./", 2) == 0)
		file += 2 + strspn(file + 2, "/");
	if (file[0] == '/') {
		n = snprintf(path, CONFIG_PATH_MAX, "%s", file);
	} else {
		if (getcwd(cwd, sizeof(cwd)) == NULL)
			return rfs_err_set(err, -errno, "current directory: %s",
			                   rfs_strerror(-errno));
		n = snprintf(path, CONFIG_PATH_MAX, "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd,
		             file);
	}
	return n < 0 || n >= CONFIG_PATH_MAX ? too_long(file, err) : 0;
}

/* A file that somebody named must be there. */
static int named(const char *file, const char *by, char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	if (file[0] == '\0')
		return rfs_err_set(err, RFS_ECONFIG, "%s names no file", by);
	if (access(file, F_OK) != 0)
		return rfs_err_set(err, RFS_ECONFIG, "%s: %s (named by %s)", file,
		                   rfs_strerror(-errno), by);
	return config_absolute(file, path, err);
}

int config_find(const char *given, char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	const char *variable = getenv("RAFTFS_CLUSTER");

	if (given != NULL)
		return named(given, "--cluster", path, err);
	if (variable != NULL && variable[0] != '\0')
		return named(variable, "$RAFTFS_CLUSTER", path, err);
	if (access(CLUSTER_FILE, F_OK) == 0)
		return config_absolute(CLUSTER_FILE, path, err);
	if (access(CLUSTER_FILE_OF_HOST, F_OK) == 0)
		return config_absolute(CLUSTER_FILE_OF_HOST, path, err);
	return rfs_err_set(
	        err, -ENOENT,
	        "no cluster file: looked for --cluster FILE, $RAFTFS_CLUSTER, ./%s and %s",
	        CLUSTER_FILE, CLUSTER_FILE_OF_HOST);
}

static const char *home(void)
{
	const char *dir = getenv("HOME");
	const struct passwd *user;

	if (dir != NULL && dir[0] == '/')
		return dir;
	user = getpwuid(geteuid()); // NOLINT(concurrency-mt-unsafe): before any thread is started
	return user != NULL && user->pw_dir != NULL && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
}

int config_embedded_dir(char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	const char *data = getenv("XDG_DATA_HOME"), *dir;
	int n;

	/* A relative one is to be ignored (XDG Base Directory Specification). */
	if (data != NULL && data[0] == '/') {
		n = snprintf(path, CONFIG_PATH_MAX, "%s/raftfs", data);
	} else if (geteuid() == 0) {
		n = snprintf(path, CONFIG_PATH_MAX, "/var/lib/raftfs");
	} else {
		dir = home();
		if (dir == NULL)
			return rfs_err_set(err, -ENOENT,
			                   "no home directory: set $HOME or $XDG_DATA_HOME");
		n = snprintf(path, CONFIG_PATH_MAX, "%s/.local/share/raftfs", dir);
	}
	return n < 0 || n >= CONFIG_PATH_MAX ? too_long("data directory", err) : 0;
}

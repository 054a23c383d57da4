#include "mountpoint.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../src/base/log.h"

#define FSTYPE         "fuse.raftfs"
#define DEAD_STACK_MAX 16 /* dead mounts on top of each other that are cleared */

extern char **environ;

/* One line of /proc/self/mountinfo: what is on top of a path. */
struct mounted {
	int id; /* -1: nothing */
	char fstype[64];
};

/* Space, tab, newline and backslash stand as \ooo. In place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* "36 35 98:0 /root /mount/point rw,noatime shared:1 - fstype source options" (proc(5)). True if it
 * is about `path`. */
static bool parse_line(char *line, const char *path, struct mounted *m)
{
	char *rest = line, *words[5], *fstype = strstr(line, " - ");

	if (fstype == NULL)
		return false;
	*fstype = '\0';
	fstype += 3;
	fstype[strcspn(fstype, " ")] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		words[i] = strsep(&rest, " ");
		if (words[i] == NULL)
			return false;
	}
	unescape(words[4]);
	if (strcmp(words[4], path) != 0)
		return false;
	m->id = (int)strtol(words[0], NULL, 10);
	(void)snprintf(m->fstype, sizeof(m->fstype), "%s", fstype);
	return true;
}

/* The last line about a path is the mount on top. */
static struct mounted look(const char *path)
{
	struct mounted top = {.id = -1};
	char *line = NULL;
	size_t size = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");

	if (f == NULL)
		return top;
	while (getline(&line, &size, f) > 0)
		(void)parse_line(line, path, &top);
	free(line);
	(void)fclose(f);
	return top;
}

int mountpoint_id(const char *path)
{
	return look(path).id;
}

/* fusermount3 is set-uid root: it lets a user take away what the user mounted. */
static int detach_as_user(const char *path)
{
	char *argv[] = {"fusermount3", "-u", "-z", "-q", "--", (char *)path, NULL};
	int status, rc;
	pid_t pid;

	rc = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (rc != 0)
		return -rc;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

int mountpoint_detach(const char *path, int mount_id)
{
	if (mount_id >= 0 && look(path).id != mount_id)
		return -EINVAL;
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? detach_as_user(path) : -errno;
}

/* An absolute path without symbolic links, also where a dead mount stands. */
static int resolve(const char *path, char resolved[MOUNTPOINT_PATH_MAX], struct rfs_err *err)
{
	char copy[MOUNTPOINT_PATH_MAX], parent[PATH_MAX], *slash;
	size_t len = strlen(path);

	if (len >= sizeof(copy))
		return rfs_err_set(err, -ENAMETOOLONG, "the mountpoint's path is too long");
	if (realpath(path, resolved) != NULL)
		return 0;
	if (errno != ENOTCONN && errno != ECONNABORTED)
		return rfs_err_set(err, -errno, "mountpoint %s: %s", path, strerror(errno));
	memcpy(copy, path, len + 1);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	if (slash != NULL)
		*slash = '\0';
	if (realpath(slash == NULL ? "." : slash == copy ? "/" : copy, parent) == NULL)
		return rfs_err_set(err, -errno, "mountpoint %s: %s", path, strerror(errno));
	if (snprintf(resolved, MOUNTPOINT_PATH_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
	             slash == NULL ? copy : slash + 1) >= MOUNTPOINT_PATH_MAX)
		return rfs_err_set(err, -ENAMETOOLONG, "the mountpoint's path is too long");
	return 0;
}

/* A live mount answers for .raft by itself; a dead one's kernel side says ENOTCONN. */
static bool is_dead(const char *path)
{
	char inside[MOUNTPOINT_PATH_MAX + 8];
	struct stat st;

	(void)snprintf(inside, sizeof(inside), "%s/.raft", path);
	return stat(inside, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

static int clear_dead(const char *path, struct rfs_err *err)
{
	for (int i = 0; i < DEAD_STACK_MAX; i++) {
		struct mounted top = look(path);
		int rc;

		if (top.id < 0 || strcmp(top.fstype, FSTYPE) != 0)
			return 0;
		if (!is_dead(path))
			return rfs_err_set(err, -EBUSY, "%s: a raftfs is mounted there already",
			                   path);
		rc = mountpoint_detach(path, top.id);
		if (rc != 0)
			return rfs_err_set(err, rc,
			                   "%s: cannot clear the dead mount that stands there: %s",
			                   path, rfs_strerror(rc));
		log_info("%s: cleared the dead mount of a raftfs that has ended", path);
	}
	return 0;
}

int mountpoint_prepare(const char *path, char resolved[MOUNTPOINT_PATH_MAX], struct rfs_err *err)
{
	struct stat st;
	int rc = resolve(path, resolved, err);

	if (rc == 0)
		rc = clear_dead(resolved, err);
	if (rc != 0)
		return rc;
	if (stat(resolved, &st) != 0)
		return rfs_err_set(err, -errno, "mountpoint %s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return rfs_err_set(err, -ENOTDIR, "mountpoint %s is not a directory", path);
	return 0;
}

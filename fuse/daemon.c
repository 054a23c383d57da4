#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../src/base/log.h"

static int to_parent = -1;

#define GOES_ON 0x80u /* with an exit code: the child will not end */

/* One byte, the exit code; the end of file instead of it: the child has died. */
static int wait_for_child(int fd, pid_t pid)
{
	uint8_t code;
	ssize_t n;
	int status;

	do {
		n = read(fd, &code, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1 && (code == 0 || (code & GOES_ON) != 0))
		return (int)(code & ~GOES_ON);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (n == 1)
		return code;
	log_error("raftfs ended before the mount was ready");
	return 32;
}

int daemon_fork(struct rfs_err *err)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return rfs_err_set(err, -errno, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		int rc = rfs_err_set(err, -errno, "fork: %s", strerror(errno));

		(void)close(ends[0]);
		(void)close(ends[1]);
		return rc;
	}
	if (pid > 0) {
		(void)close(ends[1]);
		_exit(wait_for_child(ends[0], pid));
	}
	(void)close(ends[0]);
	to_parent = ends[1];
	return 0;
}

static bool tell_parent(uint8_t code)
{
	bool told = write(to_parent, &code, 1) == 1;

	(void)close(to_parent);
	to_parent = -1;
	return told;
}

static void redirect(const char *logfile)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = logfile != NULL ? open(logfile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)
	                          : null;

	if (log < 0) {
		log_warn("cannot open the log file %s: %s", logfile, strerror(errno));
		log = null;
	}
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
	if (log >= 0)
		(void)dup2(log, STDERR_FILENO);
	if (log > STDERR_FILENO && log != null)
		(void)close(log);
	if (null > STDERR_FILENO)
		(void)close(null);
}

static bool leave(uint8_t word, const char *logfile)
{
	if (to_parent < 0)
		return true;
	redirect(logfile); /* its path may be relative */
	(void)setsid();
	if (chdir("/") != 0)
		log_warn("/: %s", strerror(errno));
	return tell_parent(word);
}

bool daemon_ready(const char *logfile)
{
	return leave(0, logfile);
}

bool daemon_go_on(int code, const char *logfile)
{
	return leave((uint8_t)((unsigned)code | GOES_ON), logfile);
}

void daemon_failed(int code)
{
	if (to_parent >= 0)
		(void)tell_parent((uint8_t)code);
}

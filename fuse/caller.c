#include "caller.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PF_EXITING 0x4u /* of /proc/TID/stat, proc_pid_stat(5) */

/* A mask of /proc/PID/status: bit n - 1 is signal n. */
static uint64_t mask_in(const char *status, const char *field)
{
	const char *at = strstr(status, field);

	return at != NULL ? strtoull(at + strlen(field), NULL, 16) : 0;
}

static uint64_t bit_of(int signal_number)
{
	return 1ull << (signal_number - 1);
}

/* The text of a file in /proc/TID; false if it cannot be read. */
static bool read_proc(pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool caller_is_exiting(pid_t tid)
{
	const char *at;
	char text[1024];

	if (!read_proc(tid, "stat", text, sizeof(text)) || (at = strrchr(text, ')')) == NULL)
		return false;
	/* behind the name: state, ppid, pgrp, session, tty, tpgid, flags */
	for (int fields = 0; at != NULL && fields < 7; fields++)
		at = strchr(at + 1, ' ');
	return at != NULL && (strtoul(at, NULL, 10) & PF_EXITING) != 0;
}

enum caller_wish caller_wish(pid_t tid)
{
	const uint64_t leave = bit_of(SIGINT) | bit_of(SIGQUIT) | bit_of(SIGTERM) | bit_of(SIGHUP);
	char status[4096];
	uint64_t pending;

	if (tid <= 0 || !read_proc(tid, "status", status, sizeof(status)) ||
	    strstr(status, "SigPnd:") == NULL)
		return CALLER_UNKNOWN;
	pending = (mask_in(status, "SigPnd:") | mask_in(status, "ShdPnd:")) &
	          ~mask_in(status, "SigBlk:");
	/* A signal that ends the process shows as SIGKILL, whichever it was. */
	if ((pending & bit_of(SIGKILL)) != 0)
		return CALLER_DIES;
	return (pending & leave) != 0 ? CALLER_LEAVES : CALLER_STAYS;
}

#include "caller.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

enum caller_wish caller_wish(pid_t tid)
{
	const uint64_t leave = bit_of(SIGINT) | bit_of(SIGQUIT) | bit_of(SIGTERM) | bit_of(SIGHUP);
	char path[64], status[4096];
	uint64_t pending;
	ssize_t n;
	int fd;

	if (tid <= 0)
		return CALLER_LEAVES;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return CALLER_LEAVES;
	n = read(fd, status, sizeof(status) - 1);
	(void)close(fd);
	status[n > 0 ? n : 0] = '\0';
	if (strstr(status, "SigPnd:") == NULL)
		return CALLER_LEAVES;
	pending = mask_in(status, "SigPnd:") | mask_in(status, "ShdPnd:");
	/* A signal that ends the process shows as SIGKILL, whichever it was. */
	if ((pending & bit_of(SIGKILL)) != 0)
		return CALLER_DIES;
	return (pending & leave) != 0 ? CALLER_LEAVES : CALLER_STAYS;
}

/* raftctl: keys, cluster administration, diagnosis. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "../base/log.h"
#include "../base/stdfd.h"
#include "ctl.h"

/* What was printed counts only once it is out. */
static int flush_stdout(int status)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	errno = EIO;
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return status;
	if (ctl_stdout_error() != 0)
		errno = ctl_stdout_error();
	else if (errno == EIO && poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0)
		errno = EPIPE; /* which printf(3) has kept to itself */
	if (errno == EPIPE)    /* `raftctl show | head`: nobody wants to know */
		return status != CTL_DONE ? status : CTL_NO;
	return ctl_error(CTL_NO, "standard output: %s", rfs_strerror(-errno));
}

int main(int argc, char **argv)
{
	static struct ctl ctl;
	struct rfs_err err = {0};
	int status;

	stdfd_open_missing();
	(void)signal(SIGPIPE, SIG_IGN);
	log_set_name("raftctl");
	log_set_level(LOG_LEVEL_ERROR);
	if (ctl_args_parse(&ctl.args, argc, argv, &err) != 0) {
		const struct ctl_command *c = ctl.args.command;

		return ctl_error(CTL_USAGE, "%s\nTry 'raftctl %s%s--help'.", err.msg,
		                 c != NULL ? c->name : "", c != NULL ? " " : "");
	}
	if (ctl.args.help) {
		ctl_help(ctl.args.command);
		return flush_stdout(CTL_DONE);
	}
	if (ctl.args.version) {
		(void)puts("raftctl " RAFTFS_VERSION);
		return flush_stdout(CTL_DONE);
	}
	status = flush_stdout(ctl_run(&ctl));
	if (ctl_looks_up())
		_exit(status);
	return status;
}

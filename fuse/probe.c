#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../src/base/check.h"

/* Between fork and _exit: system calls only. All descriptors but the pipe are closed, above all the
 * session's: held open here it would keep a dead mount from being noticed. */
static noreturn void ask(const char *mountpoint, int answer)
{
	struct stat st;
	int result;

	/* the loop's handlers would write to its pipe, which is closed here */
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGHUP, SIG_DFL);
	if (dup2(answer, STDIN_FILENO) < 0 || close_range(STDIN_FILENO + 1, ~0u, 0) != 0)
		_exit(1);
	result = stat(mountpoint, &st) == 0 ? 0 : -errno;
	_exit(write(STDIN_FILENO, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

static void on_answer(uv_poll_t *poll, int status, int events)
{
	struct probe *p = poll->data;
	int result = -EIO; /* the child died without a word */

	(void)events;
	if (status == 0 && read(p->answer, &result, sizeof(result)) != sizeof(result))
		result = -EIO;
	p->answered = true;
	probe_end(p);
	p->done(p->ctx, result);
}

int probe_start(struct probe *p, uv_loop_t *loop, const char *mountpoint,
                void (*done)(void *ctx, int result), void *ctx, struct rfs_err *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return rfs_err_set(err, -errno, "pipe: %s", strerror(errno));
	*p = (struct probe){.answer = ends[0], .done = done, .ctx = ctx};
	p->child = fork();
	if (p->child == 0)
		ask(mountpoint, ends[1]);
	(void)close(ends[1]);
	if (p->child < 0) {
		int rc = rfs_err_set(err, -errno, "fork: %s", strerror(errno));

		(void)close(ends[0]);
		return rc;
	}
	rfs_check(uv_poll_init(loop, &p->poll, p->answer) == 0);
	p->poll.data = p;
	p->running = true;
	rfs_check(uv_poll_start(&p->poll, UV_READABLE | UV_DISCONNECT, on_answer) == 0);
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct probe *p = h->data;

	(void)close(p->answer);
}

void probe_end(struct probe *p)
{
	if (!p->running)
		return;
	p->running = false;
	(void)kill(p->child, SIGKILL);
	/* After its answer it is on its way out. One that still waits for the mount dies when the
	 * mount ends, which is our doing: no waiting for it; init takes it then. */
	(void)waitpid(p->child, NULL, p->answered ? 0 : WNOHANG);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

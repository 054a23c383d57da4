/* monitor */
#include <stdlib.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../base/mem.h"
#include "commands.h"
#include "monitor.h"

/* Rates need two questions. */
static int once(struct monitor *m)
{
	uint64_t give_up_ms = clock_mono_ms() + m->ctl->timeout_ms;
	unsigned taken = 0;

	while (taken < 2 && !ctl_interrupted() && clock_mono_ms() < give_up_ms) {
		taken += monitor_work(m);
		ctl_turn(m->ctl, 20);
	}
	if (m->up == 0)
		return ctl_error(
		        CTL_NO_ANSWER,
		        "no node answers; are they running, and is this their cluster file?");
	if (m->ctl->args.json)
		monitor_print_json(m);
	else
		monitor_print_text(m);
	return CTL_DONE;
}

static int monitor_run(struct ctl *ctl)
{
	bool text = ctl->args.json || ctl_args_option(&ctl->args, "once") != NULL;
	struct monitor *m;
	int status;

	if (!text && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return ctl_error(CTL_USAGE,
		                 "monitor: wants a terminal on standard input and output; "
		                 "'raftctl monitor --once' prints text");
	m = mem_zalloc(sizeof(*m));
	m->ctl = ctl;
	(void)snprintf(m->cluster, sizeof(m->cluster), "%s", ctl->cluster);
	status = text ? once(m) : monitor_screen(m);
	free(m);
	return status;
}

static const struct ctl_option options[] = {
        {"once", NULL, "print it once as text (with --json: as JSON)"},
        {0},
};

static const char details[] =
        "A live screen: what each node says of itself, changes and reads a second and how long "
        "changes "
        "take, with their\n"
        "last minutes as a line of bars, and elections, failures and changes of membership as they "
        "happen.\n"
        "\n"
        "  last, commit, applied   positions in the log; lag: committed and not applied there yet\n"
        "  disk                    of log and state; conn: connected clients\n"
        "  p50/p99                 half of the changes, and 99 of 100, took at most so long, from "
        "their "
        "coming in\n"
        "                          at the leader to their answer\n"
        "\n"
        "Keys: up and down choose a node; t hands the leadership to it, s suspends it for some "
        "seconds "
        "(where its\n"
        "configuration allows that), both after a question; p pauses; q quits.\n"
        "\n"
        "  raftctl monitor\n"
        "  raftctl monitor --once\n"
        "\n"
        "Exit codes: 0 ended by q, or printed; 2 usage, or no terminal to draw on; 3 --once: no "
        "node "
        "answers.\n";

const struct ctl_command cmd_monitor = {
        .name = "monitor",
        .operands = "",
        .summary = "a live screen of the cluster",
        .details = details,
        .options = options,
        .run = monitor_run,
};

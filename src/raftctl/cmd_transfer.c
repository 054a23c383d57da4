/* transfer [ID] */
#include "commands.h"

static int transfer_run(struct ctl *ctl)
{
	struct wire_admin what = {.kind = WIRE_ADMIN_TRANSFER};
	char text[WIRE_TEXT_MAX];

	if (ctl->args.n_operands == 1 && !ctl_parse_id(ctl->args.operands[0], &what.member))
		return ctl_error(CTL_USAGE,
		                 "transfer: the id of a node is a number from 1 on, not %s",
		                 ctl->args.operands[0]);
	return ctl_admin_finish(ctl, ctl_admin(ctl, NULL, &what, text), text);
}

static const char details[] =
        "The leader takes no more changes for a moment, brings node ID up to date (without ID: the "
        "voter\n"
        "that needs least), and lets it lead. Writers wait for about a round trip. If the other "
        "does not\n"
        "take over within an election timeout the leader goes on, and the exit code is 1.\n"
        "\n"
        "Exit codes: 0 handed over; 1 no (no such voter, not taken over in time); 2 usage or\n"
        "configuration; 3 no answer from a quorum in time; 4 refused.\n";

const struct ctl_command cmd_transfer = {
        .name = "transfer",
        .operands = "[ID]",
        .summary = "hand the leadership over to another node",
        .details = details,
        .operands_max = 1,
        .run = transfer_run,
};

/* suspend ID SECONDS */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"

#define SUSPEND_SECONDS_MAX 3600

static bool parse_seconds(const char *text, uint64_t *ms)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(v) || v <= 0 || v > SUSPEND_SECONDS_MAX)
		return false;
	*ms = (uint64_t)ceil(v * 1000);
	return true;
}

/* Where node `id` is: as configured, or as the members say. */
static bool find_node(struct ctl *ctl, raft_id id, struct config_node *out)
{
	struct ctl_survey *s = ctl_survey_start(ctl, ctl->timeout_ms);

	ctl_survey_wait(s, 500);
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].reachable && s->nodes[i].status.node_id == id) {
			*out = s->nodes[i].at;
			out->id = id;
			return true;
		}
	return false;
}

static int suspend_run(struct ctl *ctl)
{
	struct wire_admin what = {.kind = WIRE_ADMIN_SUSPEND};
	struct config_node node;
	char text[WIRE_TEXT_MAX];
	raft_id id;

	if (!ctl_parse_id(ctl->args.operands[0], &id))
		return ctl_error(CTL_USAGE,
		                 "suspend: the id of a node is a number from 1 on, not %s",
		                 ctl->args.operands[0]);
	if (!parse_seconds(ctl->args.operands[1], &what.period_ms))
		return ctl_error(CTL_USAGE, "suspend: the period is in seconds, up to %d, not %s",
		                 SUSPEND_SECONDS_MAX, ctl->args.operands[1]);
	if (!find_node(ctl, id, &node))
		return ctl_error(
		        CTL_NO_ANSWER,
		        "node %llu does not answer\n'raftctl status' shows which nodes do.",
		        (unsigned long long)id);
	return ctl_admin_finish(ctl, ctl_admin(ctl, &node, &what, text), text);
}

static const char details[] =
        "Node ID takes no part for that long, as if its machine had stopped, and then returns: for "
        "drills.\n"
        "Refused unless the node's cluster file has [debug] allow_suspend = true.\n"
        "\n"
        "  raftctl suspend 1 2.5\n"
        "\n"
        "Exit codes: 0 suspended; 2 usage or configuration; 3 the node does not answer; 4 "
        "refused.\n";

const struct ctl_command cmd_suspend = {
        .name = "suspend",
        .operands = "ID SECONDS",
        .summary = "take a node out for a while, for drills",
        .details = details,
        .operands_min = 2,
        .operands_max = 2,
        .run = suspend_run,
};

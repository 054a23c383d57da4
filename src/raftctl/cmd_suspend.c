/* suspend [ID] SECONDS */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/clock.h"
#include "commands.h"
#include "shell.h"

#define SUSPEND_SECONDS_MAX 3600
#define ROUND_MS            300u
#define ANOTHER_MS          3000u /* for the others to elect one */

static bool parse_seconds(const char *text, uint64_t *ms)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(v) || v <= 0 || v > SUSPEND_SECONDS_MAX)
		return false;
	*ms = (uint64_t)ceil(v * 1000);
	return true;
}

/* Where node `id` is: as configured, or as the members say. An exit code. */
static int find_node(struct ctl *ctl, raft_id id, struct config_node *out)
{
	struct ctl_survey *s = ctl_survey_start(ctl, ctl->timeout_ms);
	bool heard = false, known = false;

	ctl_survey_wait(s, 500);
	for (size_t i = 0; i < s->n; i++) {
		heard = heard || s->nodes[i].reachable;
		known = known || s->nodes[i].at.id == id;
		if (!s->nodes[i].reachable || s->nodes[i].status.node_id != id)
			continue;
		*out = s->nodes[i].at;
		out->id = id;
		return CTL_DONE;
	}
	if (heard && !known)
		return ctl_error(CTL_NO, "node %" PRIu64 " is no member", id);
	return ctl_error(CTL_NO_ANSWER,
	                 "node %" PRIu64 " does not answer\n'raftctl status' shows which nodes do.",
	                 id);
}

/* Without an ID: the node that the shell has chosen, or the leader. */
static int find_default(struct ctl *ctl, struct config_node *out)
{
	struct ctl_survey *s;
	struct ctl_leader leader;

	if (ctl->shell != NULL && ctl->shell->chosen.port != 0) {
		*out = ctl->shell->chosen;
		return CTL_DONE;
	}
	s = ctl_survey_start(ctl, ctl->timeout_ms);
	ctl_survey_wait(s, 500);
	ctl_survey_leader(s, &leader);
	if (leader.id == 0 || config_parse_endpoint(leader.address, out->host, &out->port) != 0)
		return ctl_error(CTL_NO_ANSWER,
		                 "suspend: no leader known, and no node chosen; name one: "
		                 "suspend ID SECONDS\n'raftctl status' shows which nodes are up.");
	out->id = leader.id;
	return CTL_DONE;
}

static bool leads(struct ctl *ctl, raft_id id)
{
	struct ctl_survey *s = ctl_survey_start(ctl, ROUND_MS);
	struct ctl_leader leader;

	ctl_survey_wait(s, ROUND_MS / 2);
	ctl_survey_leader(s, &leader);
	return leader.id == id && leader.id != 0;
}

/* Whoever asks next shall not hear of it as the leader. The others need an election timeout; where
 * they are no majority it leads on once it is back. */
static void wait_for_another(struct ctl *ctl, raft_id id, uint64_t period_ms)
{
	uint64_t most_ms = period_ms < ANOTHER_MS ? period_ms : ANOTHER_MS;
	uint64_t give_up_ms = clock_mono_ms() + most_ms;
	struct ctl_leader leader = {0};

	while (clock_mono_ms() < give_up_ms && !ctl_interrupted()) {
		struct ctl_survey *s = ctl_survey_start(ctl, ROUND_MS);

		do {
			ctl_turn(ctl, 10);
			ctl_survey_leader(s, &leader);
		} while (s->pending > 0 && !(leader.confirmed && leader.id != id) &&
		         !ctl_interrupted());
		if (leader.confirmed && leader.id != id)
			return;
	}
}

static int suspend_run(struct ctl *ctl)
{
	struct wire_admin what = {.kind = WIRE_ADMIN_SUSPEND};
	const char *period = ctl->args.operands[ctl->args.n_operands - 1];
	struct config_node node = {0};
	char text[WIRE_TEXT_MAX];
	raft_id id = 0;
	bool led;
	int rc;

	if (ctl->args.n_operands == 2 && !ctl_parse_id(ctl->args.operands[0], &id))
		return ctl_error(CTL_USAGE,
		                 "suspend: the id of a node is a number from 1 on, not %s",
		                 ctl->args.operands[0]);
	if (!parse_seconds(period, &what.period_ms))
		return ctl_error(CTL_USAGE, "suspend: the period is in seconds, up to %d, not %s",
		                 SUSPEND_SECONDS_MAX, period);
	rc = id == 0 ? find_default(ctl, &node) : find_node(ctl, id, &node);
	if (rc != CTL_DONE)
		return rc;
	led = leads(ctl, node.id);
	rc = ctl_admin(ctl, &node, &what, text);
	if (rc == 0 && led)
		wait_for_another(ctl, node.id, what.period_ms);
	return ctl_admin_finish(ctl, rc, text);
}

static const char details[] =
        "Node ID takes no part for that long, as if its machine had stopped, and then returns: for "
        "drills.\n"
        "Without ID: the node that 'connect' has chosen in the shell, else the leader. If it "
        "leads, the "
        "command waits\n"
        "until another one does.\n"
        "Refused unless the node's cluster file has [debug] allow_suspend = true.\n"
        "\n"
        "  raftctl suspend 1 2.5\n"
        "\n"
        "Exit codes: 0 suspended; 2 usage or configuration; 3 the node does not answer; 4 "
        "refused.\n";

const struct ctl_command cmd_suspend = {
        .name = "suspend",
        .operands = "[ID] SECONDS",
        .summary = "take a node out for a while, for drills",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .run = suspend_run,
};

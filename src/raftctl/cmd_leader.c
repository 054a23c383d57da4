/* leader */
#include <inttypes.h>
#include "../base/clock.h"
#include "commands.h"

#define ROUND_MS                                                                                   \
	500u /* one round of questions; a node that hangs must not hold up the others' answer */
#define PAUSE_MS 20u
#define SOLE_MS  1000u

static void print_leader(const struct ctl *ctl, const struct ctl_leader *leader)
{
	if (ctl->args.json)
		ctl_json_print(json_pack("{s:I, s:s, s:I}", "id", (json_int_t)leader->id, "address",
		                         leader->address, "term", (json_int_t)leader->term));
	else
		(void)printf("%" PRIu64 " %s\n", leader->id, leader->address);
}

/* What the rounds have come to. */
struct search {
	struct ctl *ctl;
	struct ctl_leader leader; /* as of the last round */
	struct ctl_leader sole;   /* known of by itself or by a majority alone … */
	uint64_t sole_ms;         /* … and since when that stands */
	struct rfs_err refusal;
	bool answered;
};

/* It says so itself, and a majority does: those that follow one that has just died are a majority, too. */
static bool is_certain(const struct ctl_leader *leader)
{
	return leader->confirmed && leader->claims;
}

/* One round. True when there is an answer, in s->leader. */
static bool ask_all(struct search *s, uint64_t timeout_ms)
{
	uint64_t now = clock_mono_ms();
	bool known;
	struct ctl_survey *survey =
	        ctl_survey_start(s->ctl, timeout_ms < ROUND_MS ? timeout_ms : ROUND_MS);

	do {
		ctl_turn(s->ctl, PAUSE_MS);
		ctl_survey_leader(survey, &s->leader);
	} while (!is_certain(&s->leader) && survey->pending > 0 && !ctl_interrupted());
	known = s->leader.confirmed || s->leader.claims;
	s->answered |= survey->first_answer_ms != 0;
	(void)ctl_survey_refused(survey, &s->refusal);
	/* From here perhaps only the leader can be reached. It would have stepped down without its
	 * majority, so a claim that stands for a while is true. Or all but the leader: had it died,
	 * they would have another one by then. */
	if (!known || s->leader.id != s->sole.id || s->leader.term != s->sole.term) {
		s->sole = s->leader;
		s->sole_ms = now;
	}
	return is_certain(&s->leader) || (known && clock_mono_ms() - s->sole_ms >= SOLE_MS);
}

static int leader_run(struct ctl *ctl)
{
	uint64_t now = clock_mono_ms(), give_up_ms = now + ctl->timeout_ms;
	struct search s = {.ctl = ctl};

	for (; now < give_up_ms && !ctl_interrupted(); now = clock_mono_ms()) {
		if (ask_all(&s, give_up_ms - now)) {
			print_leader(ctl, &s.leader);
			return CTL_DONE;
		}
		if (s.refusal.code != 0)
			return ctl_error(CTL_REFUSED, "%s", s.refusal.msg);
		ctl_turn(ctl, PAUSE_MS);
	}
	if (ctl_interrupted())
		return ctl_error(CTL_NO_ANSWER, "interrupted; no leader known yet");
	return ctl_error(
	        CTL_NO_ANSWER,
	        "no leader known within %g s: %s\n'raftctl status' shows which nodes are up.",
	        (double)ctl->timeout_ms / 1000,
	        s.answered ? "the nodes that answer have none; a majority must be up to elect one"
	                   : "no node answers");
}

static const char details[] =
        "Asks all nodes at once, and again until the leader and a majority of them agree. Prints "
        "ID HOST:PORT.\n"
        "\n"
        "  raftctl leader                      1 127.0.0.1:7001\n"
        "  raftctl --timeout 15 leader         wait for one, up to 15 seconds\n"
        "\n"
        "Exit codes: 0 printed; 2 usage or configuration; 3 none known in time; 4 refused.\n";

/* The name that other systems' sessions have for it. */
const struct ctl_command cmd_getleader = {
        .name = "getleader",
        .operands = "",
        .summary = "the same as leader",
        .details = details,
        .run = leader_run,
};

const struct ctl_command cmd_leader = {
        .name = "leader",
        .operands = "",
        .summary = "print the leader's id and address",
        .details = details,
        .run = leader_run,
};

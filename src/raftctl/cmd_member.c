/* member list | add ID HOST:PORT | promote ID | remove ID */
#include <inttypes.h>
#include <string.h>
#include "commands.h"

#define LIST_GRACE_MS 500u

/* `found`: the argument that is none; NULL. */
static int usage(const char *why, const char *found)
{
	return ctl_error(
	        CTL_USAGE,
	        "%s%s%s\nusage: raftctl member list | add ID HOST:PORT [--learner] | promote ID "
	        "| remove ID",
	        why, found != NULL ? ", not " : "", found != NULL ? found : "");
}

/* ---- list ---- */

/* Whose word on the members counts: the leader's, or else the newest. */
static const struct wire_status *best_word(const struct ctl_survey *s, struct ctl_leader *leader)
{
	const struct wire_status *best = NULL;

	ctl_survey_leader(s, leader);
	for (size_t i = 0; i < s->n; i++) {
		const struct wire_status *st = &s->nodes[i].status;

		if (!s->nodes[i].reachable || s->nodes[i].twin)
			continue;
		if (leader->claims && st->node_id == leader->id)
			return st;
		if (best == NULL || st->conf_index > best->conf_index)
			best = st;
	}
	return best;
}

static const char *role_of(const struct ctl_survey *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->nodes[i].reachable && s->nodes[i].status.node_id == id)
			return s->nodes[i].status.role;
	return "unreachable";
}

static void print_member(const struct ctl_survey *s, const struct wire_member *m, json_t *list)
{
	const char *kind = m->learner ? "learner" : "voter", *role = role_of(s, m->id);

	if (list == NULL)
		(void)printf("%" PRIu64 " %s %s %s\n", m->id, m->address, kind, role);
	else
		(void)json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:b}", "id",
		                                            (json_int_t)m->id, "address",
		                                            m->address, "kind", kind, "role", role,
		                                            "promote", m->promote));
}

static int list(struct ctl *ctl)
{
	struct ctl_survey *s = ctl_survey_start(ctl, ctl->timeout_ms);
	const struct wire_status *word;
	struct ctl_leader leader;
	json_t *members = ctl->args.json ? json_array() : NULL;
	struct rfs_err refusal = {0};

	ctl_survey_wait(s, LIST_GRACE_MS);
	if (ctl_survey_refused(s, &refusal))
		return ctl_error(CTL_REFUSED, "%s", refusal.msg);
	word = best_word(s, &leader);
	if (word == NULL)
		return ctl_error(CTL_NO_ANSWER, "no node answers\n'raftctl status' says why.");
	for (size_t i = 0; i < word->n_members; i++)
		print_member(s, &word->members[i], members);
	if (members != NULL)
		ctl_json_print(json_pack("{s:o, s:b, s:I, s:b}", "members", members, "confirmed",
		                         leader.confirmed, "index", (json_int_t)word->conf_index,
		                         "joint", word->conf_joint));
	else if (!leader.confirmed)
		(void)fputs("raftctl: no leader confirms this list: it may be old\n", stderr);
	return CTL_DONE;
}

/* ---- changes ---- */

static int change(struct ctl *ctl, enum wire_admin_kind kind)
{
	struct wire_admin what = {.kind = kind};
	size_t operands = kind == WIRE_ADMIN_ADD ? 3 : 2;
	char host[CONFIG_HOST_MAX + 1], text[WIRE_TEXT_MAX];
	uint16_t port;

	if (ctl->args.n_operands != operands)
		return usage(ctl->args.n_operands < operands ? "too few arguments"
		                                             : "too many arguments",
		             NULL);
	if (!ctl_parse_id(ctl->args.operands[1], &what.member))
		return usage("the id of a node is a number from 1 on", ctl->args.operands[1]);
	if (kind == WIRE_ADMIN_ADD) {
		if (config_parse_endpoint(ctl->args.operands[2], host, &port) != 0 ||
		    !config_host_ok(host))
			return usage("the address of a node is HOST:PORT, as the others dial it",
			             ctl->args.operands[2]);
		config_format_endpoint(host, port, what.address, sizeof(what.address));
		what.learner = ctl_args_option(&ctl->args, "learner") != NULL;
	} else if (ctl_args_option(&ctl->args, "learner") != NULL) {
		return usage("--learner goes with add", NULL);
	}
	return ctl_admin_finish(ctl, ctl_admin(ctl, NULL, &what, text), text);
}

static int member_run(struct ctl *ctl)
{
	const char *verb = ctl->args.operands[0];

	if (strcmp(verb, "list") == 0)
		return ctl->args.n_operands == 1 ? list(ctl) : usage("too many arguments", NULL);
	if (strcmp(verb, "add") == 0)
		return change(ctl, WIRE_ADMIN_ADD);
	if (strcmp(verb, "promote") == 0)
		return change(ctl, WIRE_ADMIN_PROMOTE);
	if (strcmp(verb, "remove") == 0)
		return change(ctl, WIRE_ADMIN_REMOVE);
	return usage("member knows list, add, promote and remove", ctl->args.operands[0]);
}

static const char details[] =
        "Adds and removes servers while clients go on.\n"
        "\n"
        "  raftctl member list              a line a server: ID HOST:PORT voter|learner ROLE\n"
        "  raftd --join OLD:PORT --id 4 --listen HOST:PORT --data-dir DIR      (on the new "
        "machine)\n"
        "  raftctl member add 4 HOST:PORT   it gets everything, then votes\n"
        "  raftctl member remove 1          a leader hands over first\n"
        "\n"
        "A server that was added is a learner: it gets the log, or a snapshot, and counts for "
        "nothing. As\n"
        "soon as it keeps up it is made a voter, unless it was added with --learner; then promote "
        "does it.\n"
        "One change at a time; asking again for what is done already is fine. A server whose disk "
        "was lost\n"
        "is removed and added again (raftd --rebuild does both).\n"
        "\n"
        "Exit codes: 0 done, and committed; 1 no (no such member, address in use, last voter);\n"
        "2 usage or configuration; 3 no answer from a quorum in time; 4 refused.\n";

static const struct ctl_option options[] = {
        {"learner", NULL, "with add: stays a learner until it is promoted"},
        {NULL, NULL, NULL},
};

const struct ctl_command cmd_member = {
        .name = "member",
        .operands = "list | add ID HOST:PORT | promote ID | remove ID",
        .summary = "list, add, promote and remove servers",
        .details = details,
        .operands_min = 1,
        .operands_max = 3,
        .options = options,
        .run = member_run,
};

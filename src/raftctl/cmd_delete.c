/* delete KEY */
#include <string.h>
#include "commands.h"

static int delete_run(struct ctl *ctl)
{
	const char *key = ctl->args.operands[0];
	struct fs_op op = {.kind = FS_OP_DELETE};
	struct ctl_condition only_if;
	struct ctl_call call = {0};
	uint64_t index;
	int rc = ctl_check_key(key);

	if (rc == 0)
		rc = ctl_condition_take(ctl, key, &only_if);
	if (rc != 0)
		return rc;
	ctl_condition_add(&only_if, &op);
	op.name = fs_str_of(key);
	if (ctl_args_option(&ctl->args, "recursive") != NULL)
		op.flags |= FS_F_RECURSIVE;
	rc = ctl_do(ctl, &call, &op);
	ctl_condition_note(&only_if, &call.result);
	index = call.result.index;
	ctl_call_end(&call);
	if (only_if.failed)
		return ctl_condition_failed(&only_if, key);
	if (rc != 0)
		return ctl_failed(ctl, key, rc, true);
	if (ctl->args.json)
		ctl_json_print_change(key, index);
	return CTL_DONE;
}

static const struct ctl_option options[] = {
        {"recursive", NULL, "a directory with everything below it, in one step"},
        {"if-version", "N", "only if KEY is at version N ('raftctl get --json')"},
        {0},
};

static const char details[] =
        "Returns once a majority of the nodes has it on disk. KEY may be an empty directory.\n"
        "\n"
        "  raftctl delete color\n"
        "  raftctl delete --recursive app\n"
        "\n"
        "Exit codes: 0 removed; 1 no such key, another version, or a directory with something in "
        "it; 2 usage; 3 no "
        "answer from a\n"
        "quorum in time, the message tells whether it may have been removed; 4 refused.\n";

const struct ctl_command cmd_delete = {
        .name = "delete",
        .operands = "KEY",
        .summary = "remove a key",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .options = options,
        .run = delete_run,
};

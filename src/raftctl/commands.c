/* The list of commands: a new one is a file cmd_NAME.c and a line here. */
#include <string.h>
#include "commands.h"

/* One a line, for whoever adds one. */
/* clang-format off */
const struct ctl_command *const ctl_commands[] = {
	&cmd_set,
	&cmd_get,
	&cmd_delete,
	&cmd_show,
	&cmd_ls,
	&cmd_watch,
	&cmd_txn,
	&cmd_lock,
	&cmd_quota,
	&cmd_leader,
	&cmd_status,
	&cmd_getleader,
	&cmd_setval,
	&cmd_getval,
	&cmd_member,
	&cmd_transfer,
	&cmd_recover,
	&cmd_suspend,
	&cmd_monitor,
	&cmd_cluster,
	&cmd_demo,
	&cmd_backup,
	&cmd_restore,
	&cmd_check,
	&cmd_export,
	&cmd_import,
	&cmd_cert,
	&cmd_config,
	&cmd_connect,
	&cmd_shell,
	NULL,
};
/* clang-format on */

const struct ctl_command *ctl_command_by_name(const char *name)
{
	for (size_t i = 0; ctl_commands[i] != NULL; i++)
		if (strcmp(ctl_commands[i]->name, name) == 0)
			return ctl_commands[i];
	return NULL;
}

/* Every command, each in a file of its name. */
#ifndef RFS_RAFTCTL_COMMANDS_H
#define RFS_RAFTCTL_COMMANDS_H

#include "ctl.h"

extern const struct ctl_command cmd_set, cmd_get, cmd_delete, cmd_show, cmd_leader, cmd_status,
        cmd_config;

#endif

/* Every command, each in a file of its name. */
#ifndef RFS_RAFTCTL_COMMANDS_H
#define RFS_RAFTCTL_COMMANDS_H

#include "ctl.h"

extern const struct ctl_command cmd_set, cmd_get, cmd_delete, cmd_show, cmd_ls, cmd_leader,
        cmd_status, cmd_getleader, cmd_setval, cmd_getval, cmd_connect, cmd_shell, cmd_config,
        cmd_cluster;

#endif

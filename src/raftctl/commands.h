/* Every command, each in a file of its name. */
#ifndef RFS_RAFTCTL_COMMANDS_H
#define RFS_RAFTCTL_COMMANDS_H

#include "ctl.h"

extern const struct ctl_command cmd_quota;
extern const struct ctl_command cmd_set;
extern const struct ctl_command cmd_get;
extern const struct ctl_command cmd_delete;
extern const struct ctl_command cmd_show;
extern const struct ctl_command cmd_ls;
extern const struct ctl_command cmd_watch;
extern const struct ctl_command cmd_txn;
extern const struct ctl_command cmd_lock;
extern const struct ctl_command cmd_leader;
extern const struct ctl_command cmd_status;
extern const struct ctl_command cmd_getleader;
extern const struct ctl_command cmd_setval;
extern const struct ctl_command cmd_getval;
extern const struct ctl_command cmd_member;
extern const struct ctl_command cmd_transfer;
extern const struct ctl_command cmd_recover;
extern const struct ctl_command cmd_suspend;
extern const struct ctl_command cmd_monitor;
extern const struct ctl_command cmd_cluster;
extern const struct ctl_command cmd_demo;
extern const struct ctl_command cmd_backup;
extern const struct ctl_command cmd_restore;
extern const struct ctl_command cmd_check;
extern const struct ctl_command cmd_export;
extern const struct ctl_command cmd_import;
extern const struct ctl_command cmd_cert;
extern const struct ctl_command cmd_config;
extern const struct ctl_command cmd_connect;
extern const struct ctl_command cmd_shell;

#endif

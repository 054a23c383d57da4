/* restore */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "commands.h"
#include "restore.h"

/* Which of the nodes; NULL after a word about it. */
static const struct config_node *choose_node(const struct ctl *ctl, const struct config *config)
{
	const char *text = ctl_args_option(&ctl->args, "id");
	const struct config_node *node;
	char *end = NULL;
	unsigned long long id = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL && config->n_nodes == 1)
		return &config->nodes[0];
	if (text == NULL) {
		(void)ctl_error(CTL_USAGE, "restore: which node of %s is this to be? Give --id N.",
		                config->path);
		return NULL;
	}
	node = end != text && *end == '\0' && text[0] != '-' ? config_node_by_id(config, id) : NULL;
	if (node == NULL)
		(void)ctl_error(CTL_USAGE, "restore: --id %s: %s has no such node", text,
		                config->path);
	return node;
}

static int find_dir(const struct ctl *ctl, const struct config *config,
                    const struct config_node *node, char dir[CONFIG_PATH_MAX], struct rfs_err *err)
{
	const char *given = ctl_args_option(&ctl->args, "data-dir");
	size_t len;

	if (given != NULL) {
		if (config_absolute(given, dir, err) != 0)
			return err->code;
	} else if (snprintf(dir, CONFIG_PATH_MAX, "%s/%" PRIu64, config->data_directory,
	                    node->id) >= CONFIG_PATH_MAX) {
		return rfs_err_set(err, -ENAMETOOLONG, "the data directory's path is too long");
	}
	for (len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		dir[len - 1] = '\0';
	return len > 1 ? 0 : rfs_err_set(err, -EINVAL, "--data-dir: not a directory to make");
}

static void tell(const struct ctl *ctl, const char *dir, const struct config *config,
                 const struct config_node *node, const struct store_snapshot_info *info)
{
	char digest[17];

	(void)snprintf(digest, sizeof(digest), "%016" PRIx64, info->digest);
	if (ctl->args.json) {
		ctl_json_print(json_pack("{s:s, s:s, s:I, s:I, s:s, s:I}", "data_dir", dir,
		                         "cluster", config->name, "id", (json_int_t)node->id,
		                         "index", (json_int_t)info->pos.index, "digest", digest,
		                         "inodes", (json_int_t)info->counts.inodes));
		return;
	}
	(void)printf("%s: node %" PRIu64 " of cluster %s, state of index %" PRIu64
	             ", digest %s, %" PRIu64 " inodes\n",
	             dir, node->id, config->name, info->pos.index, digest, info->counts.inodes);
	(void)printf("It is a cluster of this one node. Start it, then have the others join:\n"
	             "  raftd --cluster %s --id %" PRIu64 "\n"
	             "  raftd --cluster %s --id N --rebuild\n",
	             config->path, node->id, config->path);
}

static int restore_run(struct ctl *ctl)
{
	const char *backup = ctl->args.operands[0];
	struct config *config = mem_zalloc(sizeof(*config));
	char path[CONFIG_PATH_MAX], dir[CONFIG_PATH_MAX];
	struct store_snapshot_info info;
	struct rfs_err err = {0};
	const struct config_node *node;
	int status = CTL_DONE;

	if (config_find(ctl->args.cluster, path, &err) != 0 ||
	    config_load(config, path, &err) != 0) {
		status = ctl_error(CTL_USAGE, "%s", err.msg);
	} else if ((node = choose_node(ctl, config)) == NULL) {
		status = CTL_USAGE;
	} else if (find_dir(ctl, config, node, dir, &err) != 0) {
		status = ctl_error(CTL_USAGE, "%s", err.msg);
	} else if (restore_make(backup, dir, config, node, &info, &err) != 0) {
		status = ctl_error(CTL_NO, "nothing was restored: %s", err.msg);
	} else {
		tell(ctl, dir, config, node, &info);
	}
	free(config);
	return status;
}

static const struct ctl_option options[] = {
        {"data-dir", "DIR", "the directory to make (default: data_directory/N of the file)"},
        {"id", "N", "which node of the cluster file this is to be"},
        {0},
};

static const char details[] =
        "Makes the data directory of a new cluster out of what 'raftctl backup' wrote: with its "
        "files as they were at\n"
        "the backup's index, without its members and sessions. The new cluster has one node; the "
        "others of the\n"
        "cluster file are started with --rebuild and join it.\n"
        "\n"
        "  raftctl restore backup --cluster cluster.toml --id 1\n"
        "  raftd --cluster cluster.toml --id 1              (host 1)\n"
        "  raftd --cluster cluster.toml --id 2 --rebuild    (host 2, then 3)\n"
        "\n"
        "Every record is checked. DIR must not be there, or be empty; it comes into being whole or "
        "not at all. Never\n"
        "restore beside a cluster of the same name that still runs: give the new one another "
        "name.\n"
        "Exit codes: 0 restored; 1 not restored (the file is damaged, DIR is in use, no room); 2 "
        "usage or configuration.\n";

const struct ctl_command cmd_restore = {
        .name = "restore",
        .operands = "FILE",
        .summary = "make the data directory of a new cluster out of a backup",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .options = options,
        .offline = true,
        .run = restore_run,
};

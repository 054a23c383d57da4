/* config check [FILE] */
#include <inttypes.h>
#include <string.h>
#include "commands.h"

static void print_text(const struct config *cfg)
{
	char address[CONFIG_HOST_MAX + 16];

	(void)printf("cluster %s\ndata_directory %s\n", cfg->name, cfg->data_directory);
	for (size_t i = 0; i < cfg->n_nodes; i++) {
		config_format_endpoint(cfg->nodes[i].host, cfg->nodes[i].port, address,
		                       sizeof(address));
		(void)printf("node %" PRIu64 " %s\n", cfg->nodes[i].id, address);
	}
}

static void print_json(const struct config *cfg)
{
	json_t *o = json_object(), *nodes = json_array();
	char address[CONFIG_HOST_MAX + 16];

	for (size_t i = 0; i < cfg->n_nodes; i++) {
		config_format_endpoint(cfg->nodes[i].host, cfg->nodes[i].port, address,
		                       sizeof(address));
		(void)json_array_append_new(nodes, json_pack("{s:I, s:s}", "id",
		                                             (json_int_t)cfg->nodes[i].id,
		                                             "address", address));
	}
	ctl_json_set_bytes(o, "file", cfg->path, strlen(cfg->path));
	(void)json_object_set_new(o, "cluster", json_string(cfg->name));
	ctl_json_set_bytes(o, "data_directory", cfg->data_directory, strlen(cfg->data_directory));
	(void)json_object_set_new(o, "nodes", nodes);
	ctl_json_print(o);
}

static int config_run(struct ctl *ctl)
{
	static struct config cfg;
	const char *given = ctl->args.n_operands > 1 ? ctl->args.operands[1] : ctl->args.cluster;
	char path[CONFIG_PATH_MAX];
	struct rfs_err err = {0};

	if (strcmp(ctl->args.operands[0], "check") != 0)
		return ctl_error(CTL_USAGE, "config %s: there is only 'config check'",
		                 ctl->args.operands[0]);
	if (config_find(given, path, &err) != 0 || config_load(&cfg, path, &err) != 0)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (ctl->args.json)
		print_json(&cfg);
	else
		print_text(&cfg);
	return CTL_DONE;
}

static const char details[] = "Reads the cluster file as the nodes would and says the first thing "
                              "that is wrong with it, with its\n"
                              "line and key. If nothing is, prints the cluster's name, where its "
                              "data is, and its nodes:\n"
                              "\n"
                              "  cluster demo\n"
                              "  data_directory /srv/raftfs/data\n"
                              "  node 1 127.0.0.1:7001\n"
                              "\n"
                              "Exit codes: 0 the file is good; 2 it is not, or there is none.\n";

const struct ctl_command cmd_config = {
        .name = "config",
        .operands = "check [FILE]",
        .summary = "check a cluster file",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .offline = true,
        .run = config_run,
};

/* config check [FILE], config import FILE */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/mem.h"
#include "commands.h"
#include "import.h"

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

static int check(const struct ctl *ctl)
{
	static struct config cfg;
	const char *given = ctl->args.n_operands > 1 ? ctl->args.operands[1] : ctl->args.cluster;
	char path[CONFIG_PATH_MAX];
	struct rfs_err err = {0};

	if (config_find(given, path, &err) != 0 || config_load(&cfg, path, &err) != 0)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (ctl->args.json)
		print_json(&cfg);
	else
		print_text(&cfg);
	return CTL_DONE;
}

/* A file that is there already may be the cluster that runs: it is left alone. */
static int write_new(const char *file, const struct buf *b)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t n;

	if (fd < 0 && errno == EEXIST)
		return ctl_error(CTL_NO,
		                 "%s is there already; remove it first, or name another one", file);
	if (fd < 0)
		return ctl_error(CTL_NO, "%s: %s", file, rfs_strerror(-errno));
	errno = ENOSPC;
	n = write(fd, b->data, b->len);
	if (close(fd) == 0 && n == (ssize_t)b->len)
		return CTL_DONE;
	n = errno;
	(void)unlink(file);
	return ctl_error(CTL_NO, "%s: %s", file, rfs_strerror(-(int)n));
}

static void tell_import(const struct ctl *ctl, const struct import *im, const char *out,
                        const struct buf *b)
{
	if (ctl->args.json) {
		json_t *o =
		        json_pack("{s:s?, s:I}", "file", out, "nodes", (json_int_t)im->cfg.n_nodes);

		if (out == NULL)
			ctl_json_set_bytes(o, "toml", b->data, b->len);
		ctl_json_print(o);
	} else if (out != NULL) {
		(void)printf("%s: %zu nodes\n", out, im->cfg.n_nodes);
	} else {
		(void)fwrite(b->data, 1, b->len, stdout);
	}
}

static int import(const struct ctl *ctl)
{
	const char *out = ctl_args_option(&ctl->args, "out");
	struct import *im = mem_zalloc(sizeof(*im));
	struct rfs_err err = {0};
	struct buf b;
	int status = CTL_DONE;

	buf_init(&b);
	if (ctl->args.n_operands < 2) {
		status = ctl_error(CTL_USAGE, "config import: of which FILE?");
	} else if (import_read(im, ctl->args.operands[1], &err) != 0) {
		status = ctl_error(CTL_USAGE, "%s", err.msg);
	} else {
		import_put(im, ctl->args.operands[1], &b);
		if (out != NULL)
			status = write_new(out, &b);
		if (status == CTL_DONE)
			tell_import(ctl, im, out, &b);
	}
	buf_free(&b);
	free(im);
	return status;
}

static int config_run(struct ctl *ctl)
{
	const char *sub = ctl->args.operands[0];

	if (strcmp(sub, "check") == 0)
		return check(ctl);
	if (strcmp(sub, "import") == 0)
		return import(ctl);
	return ctl_error(CTL_USAGE, "config %s: there are 'config check' and 'config import'", sub);
}

static const struct ctl_option options[] = {
        {"out", "FILE", "import: write there, if it is not there yet (default: standard output)"},
        {0},
};

static const char details[] =
        "check reads the cluster file as the nodes would and says the first thing "
        "that is wrong with it, with its\n"
        "line and key. If nothing is, prints the cluster's name, where its "
        "data is, and its nodes:\n"
        "\n"
        "  cluster demo\n"
        "  data_directory /srv/raftfs/data\n"
        "  node 1 127.0.0.1:7001\n"
        "\n"
        "import reads the file of another small Raft system and gives a cluster.toml: "
        "lines of ID HOST PORT, or JSON\n"
        "with nodes (id, host and port, or address), election_timeout_ms (a "
        "number, [min, max] or {min, max}),\n"
        "heartbeat_interval_ms, data_directory and name.\n"
        "\n"
        "  raftctl config import servers.conf --out cluster.toml\n"
        "\n"
        "Exit codes: 0 the file is good; 1 cannot write; 2 it is not good, or "
        "there is none.\n";

const struct ctl_command cmd_config = {
        .name = "config",
        .operands = "check [FILE] | import FILE",
        .summary = "check a cluster file, or make one from another system's",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .options = options,
        .offline = true,
        .run = config_run,
};

/* connect HOST PORT */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "commands.h"
#include "shell.h"

#define CONNECT_MS 2000u

/* "HOST PORT" or "HOST:PORT". */
static int parse_node(const struct ctl_args *a, struct config_node *at)
{
	char text[CONFIG_HOST_MAX + 32];
	bool v6 = a->n_operands == 2 && strchr(a->operands[0], ':') != NULL &&
	          a->operands[0][0] != '[';
	int n;

	if (a->n_operands == 1)
		n = snprintf(text, sizeof(text), "%s", a->operands[0]);
	else
		n = snprintf(text, sizeof(text), "%s%s%s:%s", v6 ? "[" : "", a->operands[0],
		             v6 ? "]" : "", a->operands[1]);
	at->id = 0;
	if (n < 0 || (size_t)n >= sizeof(text))
		return -EINVAL;
	return config_parse_endpoint(text, at->host, &at->port);
}

/* What is shown to nodes: as to those before, or as the cluster file says, if there is one. */
static void take_certificate(struct ctl *trial, const struct ctl *ctl)
{
	char path[CONFIG_PATH_MAX];
	struct config *cfg;
	struct rfs_err none;

	trial->args.tls = ctl->args.tls;
	trial->tls_files = ctl->tls_files;
	trial->tls_settled = ctl->tls_settled;
	if (ctl->tls_settled || config_find(ctl->args.cluster, path, &none) != 0)
		return;
	cfg = mem_zalloc(sizeof(*cfg));
	if (config_load(cfg, path, &none) == 0 &&
	    config_tls_override(cfg, &ctl->args.tls, &none) == 0) {
		trial->tls_files = cfg->tls;
		trial->tls_settled = true;
	}
	free(cfg);
}

/* Ask it who it is, over a client of its own: the one in use stays until this one is known to be
 * there. */
static int ask(struct ctl *ctl, struct config_node *at, struct wire_status *st, struct rfs_err *err)
{
	struct ctl *trial = mem_zalloc(sizeof(*trial));
	char text[CONFIG_HOST_MAX + 16];
	uint64_t given_ms = ctl->args.timeout_ms;
	struct ctl_survey *s;
	int rc;

	config_format_endpoint(at->host, at->port, text, sizeof(text));
	trial->args.endpoints[0] = text;
	trial->args.n_endpoints = 1;
	take_certificate(trial, ctl);
	rc = ctl_open(trial, err);
	if (rc != 0) {
		free(trial);
		return rc;
	}
	s = ctl_survey_start(trial, given_ms != 0 ? given_ms : CONNECT_MS);
	while (!s->nodes[0].done && !ctl_interrupted())
		ctl_turn(trial, CONNECT_MS);
	if (!s->nodes[0].done) {
		rc = rfs_err_set(err, -EINTR, "%s: interrupted", text);
	} else if (s->nodes[0].reachable) {
		*st = s->nodes[0].status;
		at->id = st->node_id;
	} else {
		*err = s->nodes[0].err;
		rc = err->code;
	}
	ctl_close(trial);
	free(trial);
	return rc;
}

static void print(const struct ctl *ctl, const struct config_node *at, const struct wire_status *st)
{
	char text[CONFIG_HOST_MAX + 16];

	config_format_endpoint(at->host, at->port, text, sizeof(text));
	if (ctl->args.json)
		ctl_json_print(json_pack("{s:I, s:s, s:s, s:s}", "id", (json_int_t)st->node_id,
		                         "address", text, "cluster", st->cluster, "role",
		                         st->role));
	else
		(void)printf("connected to node %" PRIu64 " at %s, %s of cluster %s\n", st->node_id,
		             text, st->role, st->cluster);
}

static int connect_run(struct ctl *ctl)
{
	struct wire_status *st = mem_zalloc(sizeof(*st));
	struct config_node at;
	struct rfs_err err = {0};
	int rc = parse_node(&ctl->args, &at);

	if (rc != 0) {
		free(st);
		return ctl_error(CTL_USAGE,
		                 "connect: must be HOST PORT, such as: connect 127.0.0.1 7001");
	}
	rc = ask(ctl, &at, st, &err);
	if (rc == 0 && ctl->shell != NULL)
		rc = shell_choose(ctl->shell, &at, &err);
	if (rc == 0)
		print(ctl, &at, st);
	free(st);
	if (rc == RFS_ECONFIG)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (rc == RFS_EIDENTITY || rc == RFS_EVERSION)
		return ctl_error(CTL_REFUSED, "%s", err.msg);
	if (rc != 0)
		return ctl_error(
		        CTL_NO_ANSWER,
		        "%s\nIs a raftd running there? 'raftctl status' shows which nodes of "
		        "a cluster are up.",
		        err.msg);
	return CTL_DONE;
}

static const char details[] =
        "In the shell: from here on commands go to this node, until it dies or another one is "
        "chosen. It\n"
        "answers reads itself, as current as the leader's. What only the leader can do, above all "
        "changes, it\n"
        "refuses, naming the leader; then that one command goes on there, and the shell says so "
        "once. Likewise\n"
        "if it does not answer. A connection that is lost is told, and the next command finds the "
        "cluster again\n"
        "by itself. On the command line: only says who answers there.\n"
        "\n"
        "  connect 127.0.0.1 7001\n"
        "  connect db1.example.com:7001\n"
        "\n"
        "Exit codes: 0 it answers; 2 usage; 3 it does not; 4 it refuses us.\n";

const struct ctl_command cmd_connect = {
        .name = "connect",
        .operands = "HOST PORT",
        .summary = "choose the node that the shell talks to",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .offline = true,
        .run = connect_run,
};

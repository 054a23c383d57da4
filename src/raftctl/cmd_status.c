/* status */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"

#define STATUS_TIMEOUT_MS 2000u
#define STATUS_GRACE_MS   700u /* for the others, once one node has answered */

#define COLUMNS 10
#define CELL    320

struct row {
	const struct ctl_survey_node *node;
	char address[CELL];
	char cells[COLUMNS][CELL];
};

static int by_id(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->node->at.id > y->node->at.id) - (x->node->at.id < y->node->at.id);
}

/* The nodes in order of their ids, each once. */
static size_t make_rows(const struct ctl_survey *s, struct row *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct ctl_survey_node *node = &s->nodes[i];

		if (node->twin)
			continue;
		rows[n].node = node;
		if (node->reachable && node->status.address[0] != '\0')
			(void)snprintf(rows[n].address, CELL, "%s", node->status.address);
		else
			config_format_endpoint(node->at.host, node->at.port, rows[n].address, CELL);
		n++;
	}
	qsort(rows, n, sizeof(*rows), by_id);
	return n;
}

/* ---- as a table ---- */

/* Why it is not reachable; the address in front of it has a column of its own. */
static const char *reason_of(const struct row *r)
{
	const char *text = r->node->err.msg;
	size_t n = strlen(r->address);

	return strncmp(text, r->address, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2
	                                                                            : text;
}

/* "2", or "1 of 2" where the node speaks a newer version than its cluster. */
static void fill_protocol(char *cell, const struct wire_status *st)
{
	if (st->protocol_version == 0) /* of a program before there were two */
		(void)snprintf(cell, CELL, "1");
	else if (st->protocol_version == st->protocol_version_max)
		(void)snprintf(cell, CELL, "%u", st->protocol_version);
	else
		(void)snprintf(cell, CELL, "%u of %u", st->protocol_version,
		               st->protocol_version_max);
}

static bool disk_is_full(const struct wire_status *st)
{
	return st->room != 0 && st->room < WIRE_ROOM_ENOUGH;
}

static void fill_cells(struct row *r)
{
	const struct ctl_survey_node *n = r->node;
	const struct wire_status *st = &n->status;

	for (size_t c = 0; c < COLUMNS; c++)
		(void)snprintf(r->cells[c], CELL, "-");
	if (n->at.id != 0)
		(void)snprintf(r->cells[0], CELL, "%" PRIu64, n->at.id);
	(void)snprintf(r->cells[1], CELL, "%s", r->address);
	if (!n->reachable) {
		(void)snprintf(r->cells[9], CELL, "no: %.300s", reason_of(r));
		return;
	}
	(void)snprintf(r->cells[2], CELL, "%s", st->role);
	(void)snprintf(r->cells[3], CELL, "%" PRIu64, st->term);
	(void)snprintf(r->cells[4], CELL, "%" PRIu64, st->last);
	(void)snprintf(r->cells[5], CELL, "%" PRIu64, st->commit);
	(void)snprintf(r->cells[6], CELL, "%" PRIu64, st->applied);
	(void)snprintf(r->cells[7], CELL, "%016" PRIx64, st->digest);
	fill_protocol(r->cells[8], st);
	(void)snprintf(r->cells[9], CELL, "yes%s", disk_is_full(st) ? ", disk full" : "");
}

static void print_table(struct row *rows, size_t n)
{
	static const char *const heads[COLUMNS] = {"id",       "address",  "role",    "term",
	                                           "last",     "commit",   "applied", "digest",
	                                           "protocol", "reachable"};
	int widths[COLUMNS];

	for (size_t i = 0; i < n; i++)
		fill_cells(&rows[i]);
	for (size_t c = 0; c < COLUMNS; c++) {
		widths[c] = (int)strlen(heads[c]);
		for (size_t i = 0; i < n; i++)
			if ((int)strlen(rows[i].cells[c]) > widths[c])
				widths[c] = (int)strlen(rows[i].cells[c]);
	}
	for (size_t c = 0; c < COLUMNS; c++)
		(void)printf("%-*s%s", c + 1 < COLUMNS ? widths[c] : 0, heads[c],
		             c + 1 < COLUMNS ? "  " : "\n");
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < COLUMNS; c++)
			(void)printf("%-*s%s", c + 1 < COLUMNS ? widths[c] : 0, rows[i].cells[c],
			             c + 1 < COLUMNS ? "  " : "\n");
}

/* ---- as JSON ---- */

static void set_number(json_t *o, const char *name, uint64_t v)
{
	(void)json_object_set_new(o, name, json_integer((json_int_t)v));
}

static void set_facts(json_t *o, const struct wire_status *st)
{
	char digest[17];

	(void)snprintf(digest, sizeof(digest), "%016" PRIx64, st->digest);
	(void)json_object_set_new(o, "role", json_string(st->role));
	set_number(o, "term", st->term);
	set_number(o, "last", st->last);
	set_number(o, "commit", st->commit);
	set_number(o, "applied", st->applied);
	(void)json_object_set_new(o, "digest", json_string(digest));
	set_number(o, "leader_id", st->leader_id);
	set_number(o, "log_first", st->log_first);
	set_number(o, "log_bytes", st->log_bytes);
	set_number(o, "sessions", st->sessions);
	set_number(o, "inodes", st->inodes);
	set_number(o, "uptime_ms", st->uptime_ms);
	set_number(o, "disk_free", st->disk_free);
	(void)json_object_set_new(o, "disk_full", json_boolean(disk_is_full(st)));
	set_number(o, "protocol_version", st->protocol_version != 0 ? st->protocol_version : 1);
	set_number(o, "protocol_version_max",
	           st->protocol_version_max != 0 ? st->protocol_version_max : 1);
	(void)json_object_set_new(o, "version", json_string(st->version));
}

static json_t *node_json(const struct row *r)
{
	static const char *const unknown[] = {"role",   "term",    "last",
	                                      "commit", "applied", "digest"};
	const struct ctl_survey_node *n = r->node;
	json_t *o = json_object();

	(void)json_object_set_new(o, "id",
	                          n->at.id != 0 ? json_integer((json_int_t)n->at.id) : json_null());
	(void)json_object_set_new(o, "address", json_string(r->address));
	(void)json_object_set_new(o, "reachable", json_boolean(n->reachable));
	if (n->reachable) {
		set_facts(o, &n->status);
		return o;
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		(void)json_object_set_new(o, unknown[i], json_null());
	ctl_json_set_bytes(o, "error", n->err.msg, strlen(n->err.msg));
	return o;
}

static void print_json(const struct ctl_survey *s, const struct row *rows, size_t n)
{
	json_t *o = json_object(), *nodes = json_array();
	struct ctl_leader leader;
	const char *cluster = s->ctl->cluster;

	ctl_survey_leader(s, &leader);
	for (size_t i = 0; i < n; i++) {
		(void)json_array_append_new(nodes, node_json(&rows[i]));
		if (cluster[0] == '\0' && rows[i].node->reachable)
			cluster = rows[i].node->status.cluster;
	}
	(void)json_object_set_new(o, "cluster",
	                          cluster[0] != '\0' ? json_string(cluster) : json_null());
	(void)json_object_set_new(
	        o, "leader", leader.confirmed ? json_integer((json_int_t)leader.id) : json_null());
	(void)json_object_set_new(o, "nodes", nodes);
	ctl_json_print(o);
}

static int status_run(struct ctl *ctl)
{
	static struct row rows[CTL_SURVEY_NODES_MAX];
	uint64_t given_ms = ctl->args.timeout_ms;
	struct ctl_survey *s = ctl_survey_start(ctl, given_ms != 0 ? given_ms : STATUS_TIMEOUT_MS);
	struct rfs_err err = {0};
	size_t n;

	ctl_survey_wait(s, given_ms != 0 ? given_ms : STATUS_GRACE_MS);
	n = make_rows(s, rows);
	if (ctl->args.json)
		print_json(s, rows, n);
	else
		print_table(rows, n);
	for (size_t i = 0; i < n; i++)
		if (rows[i].node->reachable)
			return CTL_DONE;
	if (ctl_survey_refused(s, &err))
		return ctl_error(CTL_REFUSED, "%s", err.msg);
	return ctl_error(CTL_NO_ANSWER,
	                 "no node answers; are they running, and is this their cluster file?");
}

static const char details[] =
        "One line a node, with what it knows by itself: this works without a quorum, too.\n"
        "\n"
        "  role       leader, follower or candidate\n"
        "  term       the election it is in; a higher one is newer\n"
        "  last       index of the last entry of its log\n"
        "  commit     index up to which it knows that a majority has the log\n"
        "  applied    index up to which its state stands\n"
        "  digest     of the state at `applied`: equal indexes must show equal digests\n"
        "  protocol   version that the cluster speaks; \"1 of 2\": this node could speak 2\n"
        "  reachable  whether it answered; \"disk full\": too little room there for what grows\n"
        "\n"
        "  raftctl status\n"
        "  raftctl status --json | jq '.nodes[] | select(.reachable | not)'\n"
        "\n"
        "Waits 2 s for the nodes, less once one has answered; --timeout sets another time.\n"
        "Exit codes: 0 at least one node answered; 2 usage or configuration; 3 none did; 4 all "
        "refused.\n";

const struct ctl_command cmd_status = {
        .name = "status",
        .operands = "",
        .summary = "show every node: role, term, log, state",
        .details = details,
        .run = status_run,
};

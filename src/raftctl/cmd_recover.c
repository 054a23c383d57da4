/* recover */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "commands.h"
#include "rescue.h"

#define YES "yes-i-may-lose-data"

static enum ctl_exit exit_of(const struct rfs_err *err)
{
	return ctl_exit_of(err->code == -EBUSY ? RFS_EIDENTITY : err->code);
}

/* The cluster file, if there is one; a named one must be good. */
static int find_file(const struct ctl *ctl, struct config *cfg, bool *found, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX];
	int rc = config_find(ctl->args.cluster, path, err);

	*found = false;
	if (rc == -ENOENT)
		return 0;
	if (rc == 0)
		rc = config_load(cfg, path, err);
	*found = rc == 0;
	return rc;
}

/* ---- who stays ---- */

/* "1,3" into voters, this node first. */
static int keep(const struct ctl *ctl, const struct rescue *r, struct raft_conf *next,
                struct rfs_err *err)
{
	const char *text = ctl_args_option(&ctl->args, "keep");
	char one[32];

	*next = (struct raft_conf){.n_voters = 1, .voters = {r->identity.node_id}};
	while (text != NULL && *text != '\0') {
		size_t n = strcspn(text, ",");
		raft_id id;

		(void)snprintf(one, sizeof(one), "%.*s", (int)n, text);
		text += n + (text[n] == ',');
		if (n >= sizeof(one) || !ctl_parse_id(one, &id))
			return rfs_err_set(err, RFS_ECONFIG,
			                   "--keep wants ids, such as 1,3; not %s", one);
		if (!raft_conf_is_voter(&r->conf, id))
			return rfs_err_set(err, RFS_ECONFIG,
			                   "--keep: node %s is no voter of this cluster", one);
		if (!raft_conf_is_voter(next, id))
			next->voters[next->n_voters++] = id;
	}
	for (unsigned i = 0; i < next->n_voters; i++) {
		const struct raft_member *m = raft_conf_member(&r->conf, next->voters[i]);

		if (m != NULL && raft_conf_set_member(next, m->id, m->address, false))
			(void)raft_conf_set_incarnation(next, m->id, m->incarnation);
	}
	return 0;
}

/* ---- telling ---- */

static void print_ids(const struct raft_conf *of, const struct raft_conf *without)
{
	const char *between = "";

	for (unsigned i = 0; i < of->n_voters; i++) {
		if (without != NULL && raft_conf_is_voter(without, of->voters[i]))
			continue;
		(void)printf("%s%" PRIu64, between, of->voters[i]);
		between = ", ";
	}
	(void)printf("%s\n", between[0] == '\0' ? "none" : "");
}

static void print_time(uint64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	char text[64];
	struct tm tm;

	if (ns == 0 || gmtime_r(&s, &tm) == NULL)
		return;
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	(void)printf("  its newest change is of %s\n", text);
}

static void tell(const struct rescue *r, const struct raft_conf *next)
{
	struct raft_pos applied = store_applied(r->store);

	(void)printf("node %" PRIu64 " of cluster %s, %s\n", r->identity.node_id,
	             r->identity.cluster, r->dir);
	(void)printf("  log up to entry %" PRIu64 " of term %" PRIu64 "; state up to %" PRIu64 "\n",
	             r->log.last.index, r->log.last.term, applied.index);
	print_time(r->last_change_ns);
	(void)printf("  voters until now: ");
	print_ids(&r->conf, NULL);
	(void)printf("  voters from now on: ");
	print_ids(next, NULL);
	(void)printf("  given up for ever: ");
	print_ids(&r->conf, next);
	(void)printf(
	        "\nWhat may be lost: every change that the others acknowledged behind entry "
	        "%" PRIu64
	        ". Nobody can\nsay how many; nobody is told. A program that saw such a change "
	        "sees it gone.\nWhat may become true: %" PRIu64
	        " entries behind the state's, of which some may never have been\nacknowledged.\n"
	        "What must never happen: that a server which is given up runs again with its old "
	        "data. Two\nof them would be a second cluster of the same name. Destroy their data "
	        "directories first.\n",
	        r->log.last.index, r->log.last.index - applied.index);
}

static json_t *json_ids(const struct raft_conf *of, const struct raft_conf *without)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < of->n_voters; i++)
		if (without == NULL || !raft_conf_is_voter(without, of->voters[i]))
			(void)json_array_append_new(list, json_integer((json_int_t)of->voters[i]));
	return list;
}

static void tell_json(const struct rescue *r, const struct raft_conf *next, bool done)
{
	json_t *o =
	        json_pack("{s:b, s:I, s:s, s:I, s:I, s:I}", "done", done, "id",
	                  (json_int_t)r->identity.node_id, "cluster", r->identity.cluster, "last",
	                  (json_int_t)r->log.last.index, "term", (json_int_t)r->log.last.term,
	                  "applied", (json_int_t)store_applied(r->store).index);

	ctl_json_set_bytes(o, "data_dir", r->dir, strlen(r->dir));
	(void)json_object_set_new(o, "voters_before", json_ids(&r->conf, NULL));
	(void)json_object_set_new(o, "voters", json_ids(next, NULL));
	(void)json_object_set_new(o, "given_up", json_ids(&r->conf, next));
	ctl_json_print(o);
}

static int recover(struct ctl *ctl, struct rescue *r)
{
	bool sure = ctl_args_option(&ctl->args, YES) != NULL;
	struct raft_conf next;
	struct rfs_err err = {0};

	if (keep(ctl, r, &next, &err) != 0)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (!ctl->args.json)
		tell(r, &next);
	else if (!sure)
		tell_json(r, &next, false);
	if (!sure)
		return ctl_error(CTL_NO, "nothing was changed; --" YES " does it");
	if (rescue_append(r, &next, &err) != 0)
		return ctl_error(exit_of(&err), "%s", err.msg);
	if (ctl->args.json)
		tell_json(r, &next, true);
	else
		(void)printf("\nDone: start node %" PRIu64
		             ", and add servers with `raftctl member add`.\n",
		             r->identity.node_id);
	return CTL_DONE;
}

static int recover_run(struct ctl *ctl)
{
	static struct config cfg;
	static struct rescue r;
	struct rfs_err err = {0};
	bool found;
	int status;

	if (find_file(ctl, &cfg, &found, &err) != 0)
		return ctl_error(CTL_USAGE, "%s", err.msg);
	if (rescue_open(&r, ctl->args.operands[0], found ? &cfg : NULL, &err) != 0)
		status = ctl_error(exit_of(&err), "%s", err.msg);
	else
		status = recover(ctl, &r);
	rescue_close(&r);
	return status;
}

static const struct ctl_option options[] = {
        {"keep", "ID,…", "these survive, too, and stay voters"},
        {YES, NULL, "do it; without it, only say what would be done"},
        {NULL, NULL, NULL},
};

static const char details[] =
        "For a cluster that has lost its majority for good. Makes the node whose data directory "
        "this "
        "is,\nand those of --keep, the only voters, by an entry at the end of its log. The node "
        "must "
        "not run.\n\n"
        "This gives up what Raft promises: whatever the lost servers had acknowledged and this one "
        "had not\nyet, is lost, and nobody is told. Do it on the survivor with the newest log "
        "(this "
        "command tells term\nand entry; the higher term counts, then the higher entry), on that "
        "one "
        "alone, and after the data\nof the lost ones was destroyed. docs/recover.md has the "
        "steps.\n\n"
        "  raftctl recover /var/lib/raftfs/1\n"
        "  raftctl recover /var/lib/raftfs/1 --" YES "\n"
        "  raftctl recover /var/lib/raftfs/1 --keep 4 --" YES "\n\n"
        "Where the members never changed they stand in the cluster file: --cluster FILE, or as "
        "every "
        "command\nfinds it. Exit codes: 0 done; 1 not done (not confirmed, damaged, no room); 2 "
        "usage; "
        "4 a node runs on\nthe directory, or it is of another cluster.\n";

const struct ctl_command cmd_recover = {
        .name = "recover",
        .operands = "DATA-DIR",
        .summary = "make a surviving node the only voter, when the majority is lost for good",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .options = options,
        .offline = true,
        .run = recover_run,
};

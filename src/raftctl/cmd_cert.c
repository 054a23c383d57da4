/* cert init|node|client|reader|admin|show: the certificates of a cluster under TLS */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../base/mem.h"
#include "../tls/issue.h"
#include "commands.h"

#define DAY_S      86400
#define WARN_DAYS  30
#define DAYS_MAX   36500
#define DATE_BYTES 32

static int failed(const struct rfs_err *err)
{
	switch (err->code) {
	case -EACCES:
	case -EPERM: return ctl_error(CTL_REFUSED, "%s", err->msg);
	case -EINVAL: return ctl_error(CTL_USAGE, "%s", err->msg);
	default: return ctl_error(CTL_NO, "%s", err->msg);
	}
}

static const char *date_of(int64_t at_s, char out[DATE_BYTES])
{
	time_t t = (time_t)at_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, DATE_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
	return out;
}

/* --days; false: not a number that can be. */
static bool take_days(const struct ctl *ctl, int *days)
{
	const char *text = ctl_args_option(&ctl->args, "days");
	char *end;
	long n;

	*days = ISSUE_CERT_DAYS;
	if (text == NULL)
		return true;
	errno = 0;
	n = strtol(text, &end, 10);
	*days = (int)n;
	return errno == 0 && end != text && *end == '\0' && n >= 1 && n <= DAYS_MAX;
}

/* ---- issuing ---- */

static int issue(struct ctl *ctl, const char *dir, struct cert_name *who, int days)
{
	struct tls_files *made = mem_zalloc(sizeof(*made));
	struct issue_facts facts = {0};
	char text[CERT_URI_MAX], date[DATE_BYTES];
	struct rfs_err err = {0};
	int status = CTL_DONE;

	if (issue_cert(dir, who, days, made, &err) != 0 ||
	    issue_show(made->cert, &facts, &err) != 0) {
		status = failed(&err);
	} else if (ctl->args.json) {
		cert_name_uri(who, text);
		ctl_json_print(json_pack("{s:s, s:s, s:s, s:s, s:s}", "uri", text, "role",
		                         cert_role_name(who->role), "cert", made->cert, "key",
		                         made->key, "expires", date_of(facts.ends_s, date)));
	} else {
		cert_name_describe(who, text);
		(void)printf("%s: %s, until %.10s\n", made->cert, text,
		             date_of(facts.ends_s, date));
	}
	free(made);
	return status;
}

static int issue_run(struct ctl *ctl, enum cert_role role)
{
	const char *dir = ctl->args.operands[1], *name = ctl->args.operands[2];
	struct cert_name who = {.role = role};
	raft_id id = 0;
	int days;

	if (!take_days(ctl, &days))
		return ctl_error(CTL_USAGE, "--days: must be a number from 1 to %d", DAYS_MAX);
	if (role == CERT_NODE && !ctl_parse_id(name, &id))
		return ctl_error(CTL_USAGE, "cert node: wants the id of a node, not '%s'", name);
	if (role != CERT_NODE && !cert_word_ok(name))
		return ctl_error(CTL_USAGE,
		                 "'%s': a name has letters, digits, '.', '_' and '-', at most %u",
		                 name, CERT_WORD_MAX);
	who.node_id = id;
	if (role != CERT_NODE)
		(void)snprintf(who.name, sizeof(who.name), "%s", name);
	return issue(ctl, dir, &who, days);
}

/* ---- init ---- */

/* `dir` as it may stand in the cluster file: relative to the file's folder if it is below that. */
static void path_for_file(const struct config *cfg, const char *dir, char out[CONFIG_PATH_MAX])
{
	const char *slash = strrchr(cfg->path, '/');
	size_t folder = slash != NULL ? (size_t)(slash - cfg->path) + 1 : 0;
	char *real = realpath(dir, NULL);
	const char *path = real != NULL ? real : dir;

	if (folder > 0 && strncmp(path, cfg->path, folder) == 0 && path[folder] != '\0')
		path += folder;
	(void)snprintf(out, CONFIG_PATH_MAX, "%s", path);
	free(real);
}

static void tell_init(const struct config *cfg, const char *dir)
{
	char path[CONFIG_PATH_MAX];

	path_for_file(cfg, dir, path);
	(void)printf("The authority of cluster %s is in %s. Its ca.key signs: keep it where the "
	             "certificates are made,\nand nowhere else. For the cluster file:\n\n"
	             "[tls]\n"
	             "ca = \"%s/ca.pem\"\n"
	             "cert = \"%s/node-{id}.pem\"\n"
	             "key = \"%s/node-{id}.key\"\n"
	             "client_cert = \"%s/client-main.pem\"\n"
	             "client_key = \"%s/client-main.key\"\n",
	             cfg->name, dir, path, path, path, path, path);
}

/* One for each node of the file, one for raftctl and mounts, one for who administers. */
static int issue_all(struct ctl *ctl, const struct config *cfg, const char *dir, int days)
{
	struct cert_name client = {.role = CERT_CLIENT, .name = "main"};
	struct cert_name admin = {.role = CERT_ADMIN, .name = "main"};
	int status = CTL_DONE;

	for (size_t i = 0; i < cfg->n_nodes && status == CTL_DONE; i++) {
		struct cert_name node = {.role = CERT_NODE, .node_id = cfg->nodes[i].id};

		status = issue(ctl, dir, &node, days);
	}
	if (status == CTL_DONE)
		status = issue(ctl, dir, &client, days);
	if (status == CTL_DONE)
		status = issue(ctl, dir, &admin, days);
	return status;
}

/* The cluster's name: --name, or the cluster file's. */
static int find_cluster(const struct ctl *ctl, struct config *cfg, struct rfs_err *err)
{
	const char *name = ctl_args_option(&ctl->args, "name");
	char path[CONFIG_PATH_MAX];
	int rc;

	if (name != NULL && !cert_word_ok(name))
		return rfs_err_set(err, -EINVAL, "--name %s: cannot be the name of a cluster",
		                   name);
	if (name != NULL) {
		(void)snprintf(cfg->name, sizeof(cfg->name), "%s", name);
		return 0;
	}
	rc = config_find(ctl->args.cluster, path, err);
	if (rc == 0)
		rc = config_load(cfg, path, err);
	if (rc == -ENOENT)
		return rfs_err_set(err, -EINVAL,
		                   "which cluster? There is no cluster file here: name it by "
		                   "--cluster FILE, or the cluster by --name NAME");
	if (rc != 0)
		err->code = -EINVAL;
	return rc;
}

static int init_run(struct ctl *ctl)
{
	const char *dir = ctl->args.operands[1];
	bool all = ctl_args_option(&ctl->args, "all") != NULL;
	struct config *cfg = mem_zalloc(sizeof(*cfg));
	struct rfs_err err = {0};
	int days, status;

	if (!take_days(ctl, &days))
		status = ctl_error(CTL_USAGE, "--days: must be a number from 1 to %d", DAYS_MAX);
	else if (find_cluster(ctl, cfg, &err) != 0 || issue_ca(dir, cfg->name, &err) != 0)
		status = failed(&err);
	else
		status = all ? issue_all(ctl, cfg, dir, days) : CTL_DONE;
	if (status == CTL_DONE && ctl->args.json && !all)
		ctl_json_print(json_pack("{s:s, s:s}", "cluster", cfg->name, "directory", dir));
	else if (status == CTL_DONE && !ctl->args.json)
		tell_init(cfg, dir);
	free(cfg);
	return status;
}

/* ---- show ---- */

static json_t *json_facts(const struct issue_facts *f)
{
	char begins[DATE_BYTES], ends[DATE_BYTES], uri[CERT_URI_MAX] = "";
	int64_t left_s = f->ends_s - (int64_t)time(NULL);
	json_t *o = json_pack("{s:s, s:s, s:s}", "subject", f->subject, "issuer", f->issuer,
	                      "serial", f->serial);

	if (f->named && !f->is_ca)
		cert_name_uri(&f->name, uri);
	(void)json_object_set_new(o, "cluster",
	                          f->named ? json_string(f->name.cluster) : json_null());
	(void)json_object_set_new(o, "role",
	                          f->is_ca   ? json_string("authority")
	                          : f->named ? json_string(cert_role_name(f->name.role))
	                                     : json_null());
	(void)json_object_set_new(o, "uri", uri[0] != '\0' ? json_string(uri) : json_null());
	(void)json_object_set_new(o, "begins", json_string(date_of(f->begins_s, begins)));
	(void)json_object_set_new(o, "expires", json_string(date_of(f->ends_s, ends)));
	(void)json_object_set_new(o, "expires_in_days", json_integer(left_s / DAY_S));
	return o;
}

static void print_facts(const struct issue_facts *f)
{
	char begins[DATE_BYTES], ends[DATE_BYTES], text[CERT_URI_MAX] = "nobody of raftfs";
	int64_t left_s = f->ends_s - (int64_t)time(NULL);

	if (f->named && f->is_ca)
		(void)snprintf(text, sizeof(text), "the authority of cluster %s", f->name.cluster);
	else if (f->named)
		cert_name_describe(&f->name, text);
	(void)printf(
	        "subject  %s\nissuer   %s\nserial   %s\nis       %s\nbegins   %s\nexpires  %s, ",
	        f->subject, f->issuer, f->serial, text, date_of(f->begins_s, begins),
	        date_of(f->ends_s, ends));
	if (left_s <= 0)
		(void)printf("HAS EXPIRED\n");
	else
		(void)printf("in %" PRId64 " days%s\n", left_s / DAY_S,
		             left_s < WARN_DAYS * DAY_S ? ": RENEW IT" : "");
}

static int show_run(struct ctl *ctl)
{
	struct issue_facts facts;
	struct rfs_err err = {0};

	if (issue_show(ctl->args.operands[1], &facts, &err) != 0)
		return ctl_error(err.code == -EACCES ? CTL_REFUSED : CTL_NO, "%s", err.msg);
	if (ctl->args.json)
		ctl_json_print(json_facts(&facts));
	else
		print_facts(&facts);
	return facts.ends_s > (int64_t)time(NULL) ? CTL_DONE : CTL_NO;
}

/* ---- the command ---- */

static int cert_run(struct ctl *ctl)
{
	const char *sub = ctl->args.operands[0];
	size_t n = ctl->args.n_operands;

	if (strcmp(sub, "init") == 0)
		return n == 2 ? init_run(ctl) : ctl_error(CTL_USAGE, "usage: cert init DIR");
	if (strcmp(sub, "show") == 0)
		return n == 2 ? show_run(ctl) : ctl_error(CTL_USAGE, "usage: cert show FILE");
	for (enum cert_role r = CERT_READER; r <= CERT_NODE; r++) {
		if (strcmp(sub, cert_role_name(r)) != 0)
			continue;
		if (n == 3)
			return issue_run(ctl, r);
		return ctl_error(CTL_USAGE, "usage: cert %s DIR %s", sub,
		                 r == CERT_NODE ? "ID" : "NAME");
	}
	return ctl_error(CTL_USAGE, "cert %s: there are init, node, client, reader, admin and show",
	                 sub);
}

static const struct ctl_option options[] = {
        {"all", NULL, "init: also issue for each node of the cluster file, a client and an admin"},
        {"days", "N", "how long what is issued is good (default: 730)"},
        {"name", "NAME", "init: the cluster's name, where there is no cluster file"},
        {0},
};

static const char details[] =
        "init makes an authority for the cluster in DIR: ca.pem, which every host gets, and "
        "ca.key, which signs and\n"
        "none should have. The others issue certificates with it, as DIR/node-ID.pem and .key, "
        "DIR/client-NAME.pem\n"
        "and .key and so on. show tells what is in a file. Nothing that exists is written over.\n"
        "\n"
        "  raftctl --cluster cluster.toml cert init --all tls\n"
        "  raftctl cert node tls 4                       for raftd --id 4\n"
        "  raftctl cert client tls web1                  reads and changes keys, takes locks\n"
        "  raftctl cert reader tls backup                reads keys\n"
        "  raftctl cert admin tls alice                  also members, leaders, quotas, backups\n"
        "  raftctl cert show tls/node-1.pem\n"
        "\n"
        "Exit codes: 0 done, and what is shown has not expired; 1 a file exists already, cannot "
        "be read or written, or\n"
        "has expired; 2 usage or configuration; 4 refused (permission).\n";

const struct ctl_command cmd_cert = {
        .name = "cert",
        .operands = "init DIR|node DIR ID|client|reader|admin DIR NAME|show FILE",
        .summary = "make and show the certificates of TLS",
        .details = details,
        .operands_min = 2,
        .operands_max = 3,
        .options = options,
        .offline = true,
        .run = cert_run,
};

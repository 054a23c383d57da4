/* cluster.toml, read strictly: what is not understood is an error and not a default, because three
 * nodes that each ignore a different slip in the same file are no cluster. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../vendor/toml/toml.h"
#include "../base/check.h"
#include "../base/mem.h"
#include "../base/op.h"

#define FILE_BYTES_MAX (1u << 20)
#define ID_MAX         INT32_MAX

#define ELECTION_MS_MAX 60000
#define SESSION_MS_MIN  1000
#define SESSION_MS_MAX  3600000

#define ELECTION_MIN_MS_DEFAULT 150
#define ELECTION_MAX_MS_DEFAULT 300
#define HEARTBEAT_MS_DEFAULT    50
#define SESSION_MS_DEFAULT      10000

#define KEEP_BYTES_MIN       (1 << 20)
#define KEEP_BYTES_MAX       (1LL << 40)
#define KEEP_BYTES_DEFAULT   (32 << 20)
#define KEEP_ENTRIES_MAX     1000000000
#define KEEP_ENTRIES_DEFAULT 100000

struct loader {
	struct config cfg;
	const char *path;
	struct rfs_err *err;
	unsigned node_line[CONFIG_NODES_MAX]; /* of each [[node]] */
};

/* "cluster.toml:12: raft.heartbeat_interval_ms: sentence" */
__attribute__((format(printf, 4, 5))) static int bad(struct loader *l, unsigned line,
                                                     const char *key, const char *fmt, ...)
{
	char sentence[sizeof(l->err->msg)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return rfs_err_set(l->err, RFS_ECONFIG, "%s:%u: %s: %s", l->path, line, key, sentence);
}

static const char *type_name(enum toml_type type)
{
	switch (type) {
	case TOML_TABLE: return "a table";
	case TOML_ARRAY: return "an array";
	case TOML_STRING: return "a string";
	case TOML_INTEGER: return "a whole number";
	case TOML_FLOAT: return "a number with a fraction";
	case TOML_BOOLEAN: return "true or false";
	case TOML_OTHER: return "a date or a time";
	}
	return "something else";
}

/* ---- one value ---- */

/* A table, where it stands, and what its keys are called in a sentence. */
struct section {
	const struct toml_node *table; /* NULL: not in the file */
	const char *name;              /* "raft"; "" for the whole file */
	unsigned line;
};

static const char *key_name(const struct section *s, const char *key, char out[128])
{
	(void)snprintf(out, 128, "%s%s%s", s->name, s->name[0] != '\0' ? "." : "", key);
	return out;
}

/* The value of `key`: 0 with *out NULL when it is absent; an error when it is of another type. */
static int value_of(struct loader *l, const struct section *s, const char *key, enum toml_type type,
                    const struct toml_node **out)
{
	const struct toml_node *n = s->table != NULL ? toml_get(s->table, key) : NULL;
	char name[128];

	*out = n;
	if (n == NULL || toml_type_of(n) == type)
		return 0;
	return bad(l, toml_line(n), key_name(s, key, name), "must be %s, is %s", type_name(type),
	           type_name(toml_type_of(n)));
}

static int missing(struct loader *l, const struct section *s, const char *key, const char *example)
{
	char name[128];

	return bad(l, s->line, key_name(s, key, name), "is missing; for example: %s", example);
}

/* Every key of the table must be one of `known` (NULL at its end). */
static int check_keys(struct loader *l, const struct section *s, const char *const *known)
{
	const char *key;
	char name[128], list[256] = "";
	unsigned line;

	for (size_t i = 0; s->table != NULL && i < toml_count(s->table); i++) {
		size_t k = 0, used = 0;

		key = toml_key_at(s->table, i, NULL, &line);
		while (known[k] != NULL && strcmp(known[k], key) != 0)
			k++;
		if (known[k] != NULL)
			continue;
		for (k = 0; known[k] != NULL && used < sizeof(list); k++)
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
			                         k > 0 ? ", " : "", known[k]);
		return bad(l, line, key_name(s, key, name), "unknown key; %s%s here: %s",
		           s->name[0] != '\0' ? "known" : "known tables",
		           s->name[0] != '\0' ? "" : " and keys", list);
	}
	return 0;
}

/* A whole number in [min, max]; *out and *line stay as they are when the key is absent. */
static int get_integer(struct loader *l, const struct section *s, const char *key, int64_t min,
                       int64_t max, int64_t *out, unsigned *line)
{
	const struct toml_node *n;
	int64_t v = 0;
	char name[128];
	int rc = value_of(l, s, key, TOML_INTEGER, &n);

	if (rc != 0 || n == NULL)
		return rc;
	rfs_check(toml_integer(n, &v));
	if (v < min || v > max)
		return bad(l, toml_line(n), key_name(s, key, name),
		           "must be from %lld to %lld, is %lld", (long long)min, (long long)max,
		           (long long)v);
	*out = v;
	*line = toml_line(n);
	return 0;
}

/* The bytes of a string, at most `max`, not empty and without NUL; "" in `out` when the key is
 * absent. */
static int get_string(struct loader *l, const struct section *s, const char *key, size_t max,
                      char *out, unsigned *line)
{
	const struct toml_node *n;
	const char *text;
	size_t len;
	char name[128];
	int rc = value_of(l, s, key, TOML_STRING, &n);

	out[0] = '\0';
	if (rc != 0 || n == NULL)
		return rc;
	text = toml_string(n, &len);
	rfs_check(text != NULL);
	(void)key_name(s, key, name);
	*line = toml_line(n);
	if (len == 0)
		return bad(l, *line, name, "must not be empty");
	if (len > max)
		return bad(l, *line, name, "must have at most %zu bytes, has %zu", max, len);
	if (memchr(text, '\0', len) != NULL)
		return bad(l, *line, name, "must not contain a NUL byte");
	memcpy(out, text, len + 1);
	return 0;
}

/* A table below the file's root; s->table NULL when it is absent. */
static int get_section(struct loader *l, const struct section *root, const char *key,
                       const char *const *known, struct section *s)
{
	int rc = value_of(l, root, key, TOML_TABLE, &s->table);

	s->name = key;
	s->line = s->table != NULL ? toml_line(s->table) : root->line;
	return rc != 0 ? rc : check_keys(l, s, known);
}

/* ---- [cluster] ---- */

/* The folder of the cluster file and `path` below it. */
static int place(struct loader *l, const char *path, unsigned line, const char *key,
                 char out[CONFIG_PATH_MAX])
{
	size_t folder = (size_t)(strrchr(l->cfg.path, '/') - l->cfg.path);
	int n;

	while (strncmp(path, "./", 2) == 0)
		path += 2 + strspn(path + 2, "/");
	if (path[0] == '/')
		n = snprintf(out, CONFIG_PATH_MAX, "%s", path);
	else
		n = snprintf(out, CONFIG_PATH_MAX, "%.*s/%s", (int)folder, l->cfg.path, path);
	if (n < 0 || n >= CONFIG_PATH_MAX)
		return bad(l, line, key, "the path is too long");
	return 0;
}

static int load_cluster(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"name", "data_directory", "protocol_version_max",
	                                    "quota_bytes", NULL};
	static const char chars[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	char dir[CONFIG_PATH_MAX];
	struct section s;
	int64_t version = FS_VERSION_MAX, quota = 0;
	unsigned line = 0;
	int rc = get_section(l, root, "cluster", known, &s);

	if (rc == 0)
		rc = get_string(l, &s, "name", CONFIG_NAME_MAX, l->cfg.name, &line);
	if (rc != 0)
		return rc;
	if (l->cfg.name[0] == '\0')
		return missing(l, &s, "name", "[cluster] name = \"demo\"");
	if (l->cfg.name[strspn(l->cfg.name, chars)] != '\0')
		return bad(l, line, "cluster.name",
		           "may only have letters, digits, '.', '_' and '-'");
	rc = get_integer(l, &s, "protocol_version_max", FS_VERSION_MIN, FS_VERSION_MAX, &version,
	                 &line);
	if (rc != 0)
		return rc;
	l->cfg.protocol_version_max = (uint32_t)version;
	rc = get_integer(l, &s, "quota_bytes", 1, INT64_MAX, &quota, &line);
	if (rc != 0)
		return rc;
	l->cfg.quota_bytes = (uint64_t)quota;
	line = s.line;
	rc = get_string(l, &s, "data_directory", CONFIG_PATH_MAX - 1, dir, &line);
	return rc != 0 ? rc
	               : place(l, dir[0] != '\0' ? dir : "data", line, "cluster.data_directory",
	                       l->cfg.data_directory);
}

/* ---- [raft] ---- */

static int load_election(struct loader *l, const struct section *raft, struct config *cfg,
                         unsigned *line)
{
	static const char *const known[] = {"min", "max", NULL};
	struct section s = {.name = "raft.election_timeout_ms"};
	int64_t min = 0, max = 0;
	int rc = value_of(l, raft, "election_timeout_ms", TOML_TABLE, &s.table);

	if (rc != 0 || s.table == NULL)
		return rc;
	s.line = *line = toml_line(s.table);
	rc = check_keys(l, &s, known);
	if (rc == 0)
		rc = get_integer(l, &s, "min", 1, ELECTION_MS_MAX, &min, line);
	if (rc == 0)
		rc = get_integer(l, &s, "max", 1, ELECTION_MS_MAX, &max, line);
	if (rc != 0)
		return rc;
	if (min == 0)
		return missing(l, &s, "min", "{ min = 150, max = 300 }");
	if (max == 0)
		return missing(l, &s, "max", "{ min = 150, max = 300 }");
	if (min > max)
		return bad(l, *line, s.name, "min (%lld) must not be above max (%lld)",
		           (long long)min, (long long)max);
	cfg->election_min_ms = (uint32_t)min;
	cfg->election_max_ms = (uint32_t)max;
	return 0;
}

static int load_raft(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"election_timeout_ms", "heartbeat_interval_ms", NULL};
	unsigned election_line = 0, heartbeat_line = 0;
	int64_t heartbeat = HEARTBEAT_MS_DEFAULT;
	struct section s;
	int rc = get_section(l, root, "raft", known, &s);

	if (rc == 0)
		rc = load_election(l, &s, &l->cfg, &election_line);
	if (rc == 0)
		rc = get_integer(l, &s, "heartbeat_interval_ms", 1, ELECTION_MS_MAX, &heartbeat,
		                 &heartbeat_line);
	if (rc != 0)
		return rc;
	if (heartbeat >= l->cfg.election_min_ms)
		return bad(l, heartbeat_line != 0 ? heartbeat_line : election_line,
		           "raft.heartbeat_interval_ms",
		           "heartbeat >= election timeout: %lld%s must be below "
		           "raft.election_timeout_ms.min, "
		           "which is %u; otherwise every pause looks like a dead leader",
		           (long long)heartbeat, heartbeat_line != 0 ? "" : " (the default)",
		           l->cfg.election_min_ms);
	l->cfg.heartbeat_ms = (uint32_t)heartbeat;
	return 0;
}

/* ---- [client] ---- */

static int load_client(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"session_timeout_ms", NULL};
	int64_t timeout = SESSION_MS_DEFAULT;
	struct section s;
	unsigned line = 0;
	int rc = get_section(l, root, "client", known, &s);

	if (rc == 0)
		rc = get_integer(l, &s, "session_timeout_ms", SESSION_MS_MIN, SESSION_MS_MAX,
		                 &timeout, &line);
	l->cfg.session_timeout_ms = (uint32_t)timeout;
	return rc;
}

/* ---- [log] ---- */

static int load_log(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"keep_bytes", "keep_entries", NULL};
	int64_t bytes = KEEP_BYTES_DEFAULT, entries = KEEP_ENTRIES_DEFAULT;
	struct section s;
	unsigned line = 0;
	int rc = get_section(l, root, "log", known, &s);

	if (rc == 0)
		rc = get_integer(l, &s, "keep_bytes", KEEP_BYTES_MIN, KEEP_BYTES_MAX, &bytes,
		                 &line);
	if (rc == 0)
		rc = get_integer(l, &s, "keep_entries", 1, KEEP_ENTRIES_MAX, &entries, &line);
	l->cfg.keep_bytes = (uint64_t)bytes;
	l->cfg.keep_entries = (uint64_t)entries;
	return rc;
}

/* ---- [debug] ---- */

static int load_debug(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"allow_suspend", NULL};
	const struct toml_node *n = NULL;
	struct section s;
	int rc = get_section(l, root, "debug", known, &s);

	if (rc == 0)
		rc = value_of(l, &s, "allow_suspend", TOML_BOOLEAN, &n);
	if (rc == 0 && n != NULL)
		rfs_check(toml_boolean(n, &l->cfg.allow_suspend));
	return rc;
}

/* ---- [tls] ---- */

static int get_path(struct loader *l, const struct section *s, const char *key,
                    char out[CONFIG_PATH_MAX], unsigned *line)
{
	char path[CONFIG_PATH_MAX], name[128];
	int rc = get_string(l, s, key, CONFIG_PATH_MAX - 1, path, line);

	if (rc != 0 || path[0] == '\0')
		return rc;
	return place(l, path, *line, key_name(s, key, name), out);
}

/* Neither means anything without the other. */
static int get_pair(struct loader *l, const struct section *s, const char *cert_key,
                    char cert[CONFIG_PATH_MAX], const char *key_key, char key[CONFIG_PATH_MAX])
{
	unsigned cert_line = 0, key_line = 0;
	char name[128];
	int rc = get_path(l, s, cert_key, cert, &cert_line);

	if (rc == 0)
		rc = get_path(l, s, key_key, key, &key_line);
	if (rc != 0 || (cert_line != 0) == (key_line != 0))
		return rc;
	if (key_line == 0)
		return bad(l, cert_line, key_name(s, cert_key, name), "means nothing without %s",
		           key_key);
	return bad(l, key_line, key_name(s, key_key, name), "means nothing without %s", cert_key);
}

static int get_mode(struct loader *l, const struct section *s, bool *optional)
{
	char mode[16];
	unsigned line = 0;
	int rc = get_string(l, s, "mode", sizeof(mode) - 1, mode, &line);

	*optional = strcmp(mode, "optional") == 0;
	if (rc != 0 || mode[0] == '\0' || *optional || strcmp(mode, "required") == 0)
		return rc;
	return bad(l, line, "tls.mode", "must be \"required\" or \"optional\", is \"%s\"", mode);
}

static int load_tls(struct loader *l, const struct section *root)
{
	static const char *const known[] = {"ca",         "cert", "key", "client_cert",
	                                    "client_key", "mode", NULL};
	struct config_tls *tls = &l->cfg.tls;
	struct section s;
	unsigned line = 0;
	int rc = get_section(l, root, "tls", known, &s);

	if (rc != 0 || s.table == NULL)
		return rc;
	tls->on = true;
	rc = get_path(l, &s, "ca", tls->ca, &line);
	if (rc == 0 && tls->ca[0] == '\0')
		return missing(l, &s, "ca", "ca = \"tls/ca.pem\"");
	if (rc == 0)
		rc = get_pair(l, &s, "cert", tls->cert, "key", tls->key);
	if (rc == 0)
		rc = get_pair(l, &s, "client_cert", tls->client_cert, "client_key",
		              tls->client_key);
	return rc != 0 ? rc : get_mode(l, &s, &tls->optional);
}

/* ---- [[node]] ---- */

static int check_unique(struct loader *l, const struct config_node *n, unsigned id_line,
                        unsigned port_line)
{
	char address[CONFIG_HOST_MAX + 16];

	for (size_t i = 0; i < l->cfg.n_nodes; i++) {
		const struct config_node *other = &l->cfg.nodes[i];

		if (other->id == n->id)
			return bad(l, id_line, "node.id",
			           "%llu is already the id of the node in line %u",
			           (unsigned long long)n->id, l->node_line[i]);
		if (other->port != n->port || strcasecmp(other->host, n->host) != 0)
			continue;
		config_format_endpoint(n->host, n->port, address, sizeof(address));
		return bad(l, port_line, "node.port",
		           "%s is already the address of node %llu in line %u", address,
		           (unsigned long long)other->id, l->node_line[i]);
	}
	return 0;
}

#define METRICS_HOST_DEFAULT "127.0.0.1"

static bool is_same_place(const char *a_host, uint16_t a, const char *b_host, uint16_t b)
{
	return a != 0 && a == b && strcasecmp(a_host, b_host) == 0;
}

/* Two listeners cannot share an address. Names and wildcards may hide that two are the same: then the
 * node says so when it starts. */
static int check_metrics_unique(struct loader *l, const struct config_node *n, unsigned line)
{
	for (size_t i = 0; i <= l->cfg.n_nodes; i++) {
		const struct config_node *o = &l->cfg.nodes[i];

		if (is_same_place(n->metrics_host, n->metrics_port, o->host, o->port) ||
		    (o != n && is_same_place(n->metrics_host, n->metrics_port, o->metrics_host,
		                             o->metrics_port)))
			return bad(l, line, "node.metrics_port",
			           "%s:%u is already an address of node %llu", n->metrics_host,
			           (unsigned)n->metrics_port, (unsigned long long)o->id);
		if (o != n && is_same_place(n->host, n->port, o->metrics_host, o->metrics_port))
			return bad(l, l->node_line[i], "node.metrics_port",
			           "%s:%u is also the address of node %llu", n->host,
			           (unsigned)n->port, (unsigned long long)n->id);
	}
	return 0;
}

static int load_metrics(struct loader *l, const struct section *s, struct config_node *n)
{
	unsigned host_line = 0, port_line = 0;
	int64_t port = 0;
	int rc = get_string(l, s, "metrics_host", CONFIG_HOST_MAX, n->metrics_host, &host_line);

	if (rc == 0)
		rc = get_integer(l, s, "metrics_port", 1, UINT16_MAX, &port, &port_line);
	if (rc != 0)
		return rc;
	if (n->metrics_host[0] != '\0' && port == 0)
		return bad(l, host_line, "node.metrics_host",
		           "means nothing without metrics_port; for example: metrics_port = 9001");
	if (n->metrics_host[0] == '\0')
		(void)snprintf(n->metrics_host, sizeof(n->metrics_host), METRICS_HOST_DEFAULT);
	n->metrics_port = (uint16_t)port;
	return check_metrics_unique(l, n, port_line);
}

static int load_node(struct loader *l, const struct toml_node *table)
{
	static const char *const known[] = {"id",           "host",         "port",
	                                    "metrics_port", "metrics_host", NULL};
	struct config_node *n = &l->cfg.nodes[l->cfg.n_nodes];
	struct section s = {.table = table, .name = "node", .line = toml_line(table)};
	unsigned id_line = 0, host_line = 0, port_line = 0;
	int64_t id = 0, port = 0;
	int rc = check_keys(l, &s, known);

	if (rc == 0)
		rc = get_integer(l, &s, "id", 1, ID_MAX, &id, &id_line);
	if (rc == 0)
		rc = get_string(l, &s, "host", CONFIG_HOST_MAX, n->host, &host_line);
	if (rc == 0)
		rc = get_integer(l, &s, "port", 1, UINT16_MAX, &port, &port_line);
	if (rc != 0)
		return rc;
	if (id == 0)
		return missing(l, &s, "id", "id = 1");
	if (n->host[0] == '\0')
		return missing(l, &s, "host", "host = \"127.0.0.1\"");
	if (port == 0)
		return missing(l, &s, "port", "port = 7001");
	if (!config_host_ok(n->host))
		return bad(l, host_line, "node.host",
		           "\"%s\" is not a host name or an address that the other nodes can dial",
		           n->host);
	n->id = (raft_id)id;
	n->port = (uint16_t)port;
	rc = check_unique(l, n, id_line, port_line);
	if (rc == 0)
		rc = load_metrics(l, &s, n);
	if (rc != 0)
		return rc;
	l->node_line[l->cfg.n_nodes++] = s.line;
	return 0;
}

static int load_nodes(struct loader *l, const struct section *root)
{
	static const char example[] = "[[node]] with id = 1, host = \"127.0.0.1\", port = 7001";
	const struct toml_node *nodes;
	int rc = value_of(l, root, "node", TOML_ARRAY, &nodes);

	if (rc != 0)
		return bad(l, toml_line(nodes), "node",
		           "must be written as [[node]], once for each node");
	if (nodes == NULL || toml_count(nodes) == 0)
		return bad(l, root->line, "node", "there is none; each node is a table: %s",
		           example);
	for (size_t i = 0; i < toml_count(nodes); i++) {
		const struct toml_node *n = toml_at(nodes, i);

		if (i == CONFIG_NODES_MAX)
			return bad(l, toml_line(n), "node", "more than %d nodes", CONFIG_NODES_MAX);
		if (toml_type_of(n) != TOML_TABLE)
			return bad(l, toml_line(n), "node", "must be %s, is %s",
			           type_name(TOML_TABLE), type_name(toml_type_of(n)));
		rc = load_node(l, n);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- the file ---- */

static int load_root(struct loader *l, const struct toml_node *table)
{
	static const char *const known[] = {"cluster", "raft", "client", "log",
	                                    "debug",   "tls",  "node",   NULL};
	struct section root = {.table = table, .name = "", .line = 1};
	int rc = check_keys(l, &root, known);

	if (rc == 0)
		rc = load_cluster(l, &root);
	if (rc == 0)
		rc = load_raft(l, &root);
	if (rc == 0)
		rc = load_client(l, &root);
	if (rc == 0)
		rc = load_log(l, &root);
	if (rc == 0)
		rc = load_debug(l, &root);
	if (rc == 0)
		rc = load_tls(l, &root);
	if (rc == 0)
		rc = load_nodes(l, &root);
	return rc;
}

static int read_errno(const char *path, int code, struct rfs_err *err)
{
	return rfs_err_set(err, code, "%s: %s", path, rfs_strerror(code));
}

/* The whole file into *text (free() it); one byte above the limit is read to know that there are
 * more. */
static int read_file(const char *path, char **text, size_t *len, struct rfs_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
	char *p;
	ssize_t n;

	if (fd < 0)
		return read_errno(path, -errno, err);
	p = mem_alloc(FILE_BYTES_MAX + 1);
	*len = 0;
	do {
		n = read(fd, p + *len, FILE_BYTES_MAX + 1 - *len);
		if (n > 0)
			*len += (size_t)n;
	} while ((n > 0 && *len <= FILE_BYTES_MAX) || (n < 0 && errno == EINTR));
	if (n < 0)
		rc = read_errno(path, -errno, err);
	else if (*len > FILE_BYTES_MAX)
		rc = rfs_err_set(err, RFS_ECONFIG, "%s: larger than %u bytes: not a cluster file",
		                 path, FILE_BYTES_MAX);
	(void)close(fd);
	if (rc != 0)
		free(p);
	else
		*text = p;
	return rc;
}

int config_load(struct config *cfg, const char *path, struct rfs_err *err)
{
	struct loader *l;
	struct toml_doc *doc;
	char *text = NULL, *sentence = NULL;
	size_t len = 0;
	unsigned line = 0;
	int rc;

	rc = read_file(path, &text, &len, err);
	if (rc != 0)
		return rc;
	doc = toml_parse(text, len, &sentence, &line);
	free(text);
	if (doc == NULL) {
		rc = rfs_err_set(err, RFS_ECONFIG, "%s:%u: %s", path, line,
		                 sentence != NULL ? sentence : "not TOML");
		free(sentence);
		return rc;
	}
	l = mem_zalloc(sizeof(*l));
	l->path = path;
	l->err = err;
	l->cfg.election_min_ms = ELECTION_MIN_MS_DEFAULT;
	l->cfg.election_max_ms = ELECTION_MAX_MS_DEFAULT;
	rc = config_absolute(path, l->cfg.path, err);
	if (rc == 0)
		rc = load_root(l, toml_root(doc));
	if (rc == 0)
		*cfg = l->cfg;
	free(l);
	toml_free(doc);
	return rc;
}

void config_single(struct config *cfg, const char *dir, uint16_t port)
{
	*cfg = (struct config){
	        .name = "local",
	        .protocol_version_max = FS_VERSION_MAX,
	        .election_min_ms = ELECTION_MIN_MS_DEFAULT,
	        .election_max_ms = ELECTION_MAX_MS_DEFAULT,
	        .heartbeat_ms = HEARTBEAT_MS_DEFAULT,
	        .session_timeout_ms = SESSION_MS_DEFAULT,
	        .keep_bytes = KEEP_BYTES_DEFAULT,
	        .keep_entries = KEEP_ENTRIES_DEFAULT,
	        .nodes = {{.id = 1, .host = "127.0.0.1", .port = port}},
	        .n_nodes = 1,
	};
	(void)snprintf(cfg->data_directory, sizeof(cfg->data_directory), "%s", dir);
}

const struct config_node *config_node_by_id(const struct config *cfg, raft_id id)
{
	for (size_t i = 0; i < cfg->n_nodes; i++)
		if (cfg->nodes[i].id == id)
			return &cfg->nodes[i];
	return NULL;
}

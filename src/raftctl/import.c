#include "import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "../base/mem.h"

#define FILE_BYTES_MAX      (1u << 20)
#define ID_MAX              INT32_MAX
#define ELECTION_MS_MAX     60000
#define ELECTION_MS_DEFAULT 150
#define HEARTBEAT_MS_MAX    60000

struct reading {
	struct import *im;
	const char *path;
	bool has_zero;  /* an id 0 */
	char where[64]; /* "line 3", "nodes[2].port" */
	struct rfs_err *err;
};

__attribute__((format(printf, 2, 3))) static int bad(struct reading *r, const char *fmt, ...)
{
	char sentence[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return rfs_err_set(r->err, RFS_ECONFIG, "%s: %s: %s", r->path, r->where, sentence);
}

__attribute__((format(printf, 2, 3))) static void at(struct reading *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->where, sizeof(r->where), fmt, ap);
	va_end(ap);
}

/* ---- what both forms have ---- */

static int add_node(struct reading *r, int64_t id, const char *host, int64_t port)
{
	struct config *cfg = &r->im->cfg;
	struct config_node *n = &cfg->nodes[cfg->n_nodes];

	if (cfg->n_nodes == CONFIG_NODES_MAX)
		return bad(r, "more than %d nodes", CONFIG_NODES_MAX);
	if (id < 0 || id >= ID_MAX)
		return bad(r, "the id must be a number from 0 to %d", ID_MAX - 1);
	if (strlen(host) > CONFIG_HOST_MAX || !config_host_ok(host))
		return bad(r,
		           "\"%s\" is not a host name or an address that the other nodes can dial",
		           host);
	if (port < 1 || port > UINT16_MAX)
		return bad(r, "the port must be a number from 1 to %d", UINT16_MAX);
	for (size_t i = 0; i < cfg->n_nodes; i++) {
		if (cfg->nodes[i].id == (raft_id)id)
			return bad(r, "the id %" PRId64 " is there already", id);
		if (cfg->nodes[i].port == port && strcasecmp(cfg->nodes[i].host, host) == 0)
			return bad(r,
			           "%s and port %" PRId64 " are those of node %" PRIu64 " already",
			           host, port, cfg->nodes[i].id);
	}
	r->has_zero = r->has_zero || id == 0;
	n->id = (raft_id)id;
	n->port = (uint16_t)port;
	(void)snprintf(n->host, sizeof(n->host), "%s", host);
	cfg->n_nodes++;
	return 0;
}

/* Ours begin at 1. */
static void raise_ids(struct reading *r)
{
	for (size_t i = 0; r->has_zero && i < r->im->cfg.n_nodes; i++)
		r->im->cfg.nodes[i].id++;
	r->im->raised = r->has_zero;
}

static int check_times(struct reading *r)
{
	const struct config *cfg = &r->im->cfg;

	if (cfg->heartbeat_ms < cfg->election_min_ms)
		return 0;
	at(r, "heartbeat_interval_ms");
	return bad(r, "%u must be below the election timeout, which is %u", cfg->heartbeat_ms,
	           cfg->election_min_ms);
}

/* ---- lines ---- */

/* A decimal number; -1 if it is none. */
static int64_t number_of(const char *text)
{
	if (text == NULL || text[0] == '\0' || strlen(text) > 10 ||
	    strspn(text, "0123456789") != strlen(text))
		return -1;
	return strtoll(text, NULL, 10);
}

static int take_line(struct reading *r, char *line)
{
	static const char blanks[] = " \t\r,;";
	char *words[4] = {NULL}, *state = NULL;
	char host[CONFIG_HOST_MAX + 1];
	size_t n = 0;
	uint16_t port;

	line[strcspn(line, "#")] = '\0';
	for (char *w = strtok_r(line, blanks, &state); w != NULL;
	     w = strtok_r(NULL, blanks, &state)) {
		if (n == 4)
			return bad(r, "more than ID HOST PORT");
		words[n++] = w;
	}
	if (n == 0)
		return 0;
	if (n == 2 && config_parse_endpoint(words[1], host, &port) == 0)
		return add_node(r, number_of(words[0]), host, port);
	if (n != 3)
		return bad(r, "must be ID HOST PORT, such as: 1 127.0.0.1 7001");
	return add_node(r, number_of(words[0]), words[1], number_of(words[2]));
}

static int read_lines(struct reading *r, char *text)
{
	unsigned number = 0;
	int rc = 0;

	while (text != NULL && rc == 0) {
		char *end = strchr(text, '\n');

		if (end != NULL)
			*end = '\0';
		at(r, "line %u", ++number);
		rc = take_line(r, text);
		text = end != NULL ? end + 1 : NULL;
	}
	return rc;
}

/* ---- JSON ---- */

static int get_ms(struct reading *r, const json_t *v, int64_t most, uint32_t *out)
{
	json_int_t ms = json_integer_value(v);

	if (json_is_real(v) && json_real_value(v) >= 1 && json_real_value(v) <= (double)most)
		ms = (json_int_t)json_real_value(v);
	else if (!json_is_integer(v))
		return bad(r, "must be a number of milliseconds");
	if (ms < 1 || ms > most)
		return bad(r, "must be from 1 to %" PRId64 ", is %" JSON_INTEGER_FORMAT, most, ms);
	*out = (uint32_t)ms;
	return 0;
}

/* A number (then twice as much is the most), [min, max], or {min, max}. */
static int take_election(struct reading *r, const json_t *v)
{
	struct config *cfg = &r->im->cfg;
	bool pair = json_is_array(v), object = json_is_object(v);
	int rc;

	if (!pair && !object) {
		rc = get_ms(r, v, ELECTION_MS_MAX / 2, &cfg->election_min_ms);
		cfg->election_max_ms = cfg->election_min_ms * 2;
		return rc;
	}
	if (pair ? json_array_size(v) != 2
	         : json_object_get(v, "min") == NULL || json_object_get(v, "max") == NULL ||
	                    json_object_size(v) != 2)
		return bad(r, "must be a number, [min, max] or {\"min\": …, \"max\": …}");
	rc = get_ms(r, pair ? json_array_get(v, 0) : json_object_get(v, "min"), ELECTION_MS_MAX,
	            &cfg->election_min_ms);
	if (rc == 0)
		rc = get_ms(r, pair ? json_array_get(v, 1) : json_object_get(v, "max"),
		            ELECTION_MS_MAX, &cfg->election_max_ms);
	if (rc == 0 && cfg->election_min_ms > cfg->election_max_ms)
		rc = bad(r, "min (%u) must not be above max (%u)", cfg->election_min_ms,
		         cfg->election_max_ms);
	return rc;
}

/* A number, or a number in a string. */
static int64_t json_number(const json_t *v)
{
	if (json_is_integer(v))
		return json_integer_value(v);
	return json_is_string(v) ? number_of(json_string_value(v)) : -1;
}

static int check_members(struct reading *r, const json_t *o, const char *const *known,
                         const char *list)
{
	const char *key;
	json_t *v;
	size_t k;

	json_object_foreach((json_t *)o, key, v)
	{
		for (k = 0; known[k] != NULL && strcmp(known[k], key) != 0; k++)
			;
		if (known[k] == NULL)
			return bad(r, "unknown key \"%s\"; known here: %s", key, list);
	}
	return 0;
}

static int take_node(struct reading *r, size_t i, const json_t *o)
{
	static const char *const known[] = {"id", "host", "port", "address", NULL};
	const char *host, *address;
	char parsed[CONFIG_HOST_MAX + 1];
	uint16_t port;

	at(r, "nodes[%zu]", i);
	if (!json_is_object(o))
		return bad(r, "must be an object with id, host and port");
	if (check_members(r, o, known, "id, host, port, address") != 0)
		return r->err->code;
	host = json_string_value(json_object_get(o, "host"));
	address = json_string_value(json_object_get(o, "address"));
	if (json_object_get(o, "id") == NULL)
		return bad(r, "has no id");
	if (host != NULL && address == NULL && json_object_get(o, "port") != NULL)
		return add_node(r, json_number(json_object_get(o, "id")), host,
		                json_number(json_object_get(o, "port")));
	if (address == NULL || host != NULL || json_object_get(o, "port") != NULL)
		return bad(r, "must have host and port, or address \"host:port\"");
	if (config_parse_endpoint(address, parsed, &port) != 0)
		return bad(r, "address \"%s\" is not host:port", address);
	return add_node(r, json_number(json_object_get(o, "id")), parsed, port);
}

static int take_text(struct reading *r, const json_t *v, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(v);

	at(r, "%s", key);
	if (v == NULL)
		return 0;
	if (text == NULL || text[0] == '\0' || strlen(text) >= size ||
	    strpbrk(text, "\"\\\n\r\t") != NULL)
		return bad(r,
		           "must be a string, not empty, of at most %zu bytes, without quotes, "
		           "backslashes and line ends",
		           size - 1);
	(void)snprintf(out, size, "%s", text);
	return 0;
}

static int take_object(struct reading *r, const json_t *root)
{
	static const char *const known[] = {
	        "nodes", "election_timeout_ms", "heartbeat_interval_ms", "data_directory", "name",
	        NULL};
	static const char letters[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const json_t *nodes = json_object_get(root, "nodes");
	const json_t *election = json_object_get(root, "election_timeout_ms");
	const json_t *heartbeat = json_object_get(root, "heartbeat_interval_ms");
	struct config *cfg = &r->im->cfg;
	int rc;

	at(r, "the file");
	rc = check_members(
	        r, root, known,
	        "nodes, election_timeout_ms, heartbeat_interval_ms, data_directory, name");
	if (rc == 0 && !json_is_array(nodes))
		rc = bad(r, "must have \"nodes\", an array of objects with id, host and port");
	for (size_t i = 0; rc == 0 && i < json_array_size(nodes); i++)
		rc = take_node(r, i, json_array_get(nodes, i));
	at(r, "election_timeout_ms");
	if (rc == 0 && election != NULL)
		rc = take_election(r, election);
	at(r, "heartbeat_interval_ms");
	if (rc == 0 && heartbeat != NULL)
		rc = get_ms(r, heartbeat, HEARTBEAT_MS_MAX, &cfg->heartbeat_ms);
	else if (cfg->heartbeat_ms >= cfg->election_min_ms) /* not given: a third */
		cfg->heartbeat_ms = (cfg->election_min_ms + 2) / 3;
	if (rc == 0)
		rc = take_text(r, json_object_get(root, "data_directory"), "data_directory",
		               r->im->data_directory, sizeof(r->im->data_directory));
	if (rc == 0)
		rc = take_text(r, json_object_get(root, "name"), "name", cfg->name,
		               sizeof(cfg->name));
	if (rc == 0 && cfg->name[strspn(cfg->name, letters)] != '\0')
		rc = bad(r, "may only have letters, digits, '.', '_' and '-'");
	return rc;
}

static int read_json(struct reading *r, const char *text, size_t len)
{
	json_error_t why;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	int rc;

	if (root == NULL) {
		at(r, "line %d", why.line);
		return bad(r, "%s", why.text);
	}
	at(r, "line 1");
	rc = json_is_object(root) ? take_object(r, root) : bad(r, "must be an object");
	json_decref(root);
	return rc;
}

/* ---- the file ---- */

/* Terminated; free() it. */
static char *read_file(const char *path, size_t *len, struct rfs_err *err)
{
	FILE *f = fopen(path, "re");
	char *text;

	if (f == NULL) {
		(void)rfs_err_set(err, RFS_ECONFIG, "%s: %s", path, rfs_strerror(-errno));
		return NULL;
	}
	text = mem_alloc(FILE_BYTES_MAX + 1);
	errno = 0;
	*len = fread(text, 1, FILE_BYTES_MAX + 1, f);
	if (ferror(f) != 0)
		(void)rfs_err_set(err, RFS_ECONFIG, "%s: %s", path, rfs_strerror(-errno));
	else if (*len > FILE_BYTES_MAX)
		(void)rfs_err_set(err, RFS_ECONFIG, "%s: larger than %u bytes: not a cluster file",
		                  path, FILE_BYTES_MAX);
	else if (memchr(text, '\0', *len) != NULL)
		(void)rfs_err_set(err, RFS_ECONFIG, "%s: has NUL bytes: not a cluster file", path);
	(void)fclose(f);
	if (err->code != 0) {
		free(text);
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

int import_read(struct import *im, const char *path, struct rfs_err *err)
{
	struct reading r = {.im = im, .path = path, .err = err};
	size_t len = 0;
	char *text = read_file(path, &len, err);
	char first;
	int rc;

	if (text == NULL)
		return err->code;
	*im = (struct import){0};
	config_single(&im->cfg, "", 0); /* for the defaults */
	im->cfg.n_nodes = 0;
	(void)snprintf(im->cfg.name, sizeof(im->cfg.name), "imported");
	first = text[strspn(text, " \t\r\n")];
	rc = first == '{' || first == '[' ? read_json(&r, text, len) : read_lines(&r, text);
	free(text);
	at(&r, "nodes");
	if (rc == 0 && im->cfg.n_nodes == 0)
		rc = bad(&r, "there is none; lines are ID HOST PORT, such as: 1 127.0.0.1 7001");
	if (rc == 0)
		rc = check_times(&r);
	raise_ids(&r);
	return rc;
}

void import_put(const struct import *im, const char *path, struct buf *b)
{
	const struct config *cfg = &im->cfg;
	const char *base = strrchr(path, '/');

	buf_printf(b,
	           "# From %s, by 'raftctl config import'. Explained in cluster.toml and\n"
	           "# examples/five-nodes.toml of raftfs.\n",
	           base != NULL ? base + 1 : path);
	if (im->raised)
		buf_printf(b, "# The ids began with 0 there; here they are one higher.\n");
	buf_printf(b, "\n[cluster]\nname = \"%s\"\ndata_directory = \"%s\"\n", cfg->name,
	           im->data_directory[0] != '\0' ? im->data_directory : "./data");
	buf_printf(b,
	           "\n[raft]\nelection_timeout_ms = { min = %u, max = %u }\n"
	           "heartbeat_interval_ms = %u\n",
	           cfg->election_min_ms, cfg->election_max_ms, cfg->heartbeat_ms);
	for (size_t i = 0; i < cfg->n_nodes; i++)
		buf_printf(b, "\n[[node]]\nid = %" PRIu64 "\nhost = \"%s\"\nport = %u\n",
		           cfg->nodes[i].id, cfg->nodes[i].host, cfg->nodes[i].port);
}

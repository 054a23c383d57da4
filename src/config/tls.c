/* From [tls] and what is given in its place to certificates in force. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MARK "{id}"

/* ---- what is given elsewhere ---- */

struct given {
	const char *path, *by; /* by: how it was given, for sentences */
};

/* An option counts; the environment does where TLS is on, or no file says that it is not. */
static struct given given_by(const char *option, const char *option_name, const char *variable,
                             bool environment_counts)
{
	const char *value = environment_counts ? getenv(variable) : NULL;

	if (option != NULL)
		return (struct given){option, option_name};
	if (value != NULL && value[0] != '\0')
		return (struct given){value, variable};
	return (struct given){0};
}

static int take(const struct given *g, char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	if (g->path == NULL)
		return 0;
	if (g->path[0] == '\0')
		return rfs_err_set(err, RFS_ECONFIG, "%s names no file", g->by);
	if (config_absolute(g->path, path, err) != 0)
		return rfs_err_set(err, RFS_ECONFIG, "%s: the path is too long", g->by);
	return 0;
}

int config_tls_override(struct config *cfg, const struct config_tls_given *given,
                        struct rfs_err *err)
{
	struct config_tls *tls = &cfg->tls;
	bool env = tls->on || cfg->path[0] == '\0' || given->ca != NULL;
	const struct given ca = given_by(given->ca, "ca", "RAFTFS_CA", env);
	const struct given cert = given_by(given->cert, "cert", "RAFTFS_CERT", env);
	const struct given key = given_by(given->key, "key", "RAFTFS_KEY", env);
	int rc;

	if ((cert.path != NULL) != (key.path != NULL))
		return rfs_err_set(err, RFS_ECONFIG,
		                   "a certificate and its key go together: %s is given, %s is not",
		                   cert.path != NULL ? cert.by : key.by,
		                   cert.path != NULL ? "the key" : "the certificate");
	if (given->cert != NULL && ca.path == NULL && !tls->on)
		return rfs_err_set(
		        err, RFS_ECONFIG,
		        "a certificate is given, but no authority to believe: the cluster "
		        "file has no [tls], and there is no --ca, ca= or $RAFTFS_CA");
	rc = take(&ca, tls->ca, err);
	if (rc == 0)
		rc = take(&cert, tls->client_cert, err);
	if (rc == 0)
		rc = take(&key, tls->client_key, err);
	tls->on = tls->on || ca.path != NULL;
	return rc;
}

/* ---- in force ---- */

/* `pattern` with the node's id in the place of every "{id}"; false: too long. */
static bool put_id(const char *pattern, raft_id id, char path[TLS_PATH_MAX])
{
	size_t used = 0;

	while (*pattern != '\0' && used < TLS_PATH_MAX) {
		size_t n = strcspn(pattern, "{");

		if (strncmp(pattern, ID_MARK, strlen(ID_MARK)) == 0) {
			used += (size_t)snprintf(path + used, TLS_PATH_MAX - used, "%" PRIu64, id);
			pattern += strlen(ID_MARK);
			continue;
		}
		n = n > 0 ? n : 1; /* a brace that is just one */
		used += (size_t)snprintf(path + used, TLS_PATH_MAX - used, "%.*s", (int)n, pattern);
		pattern += n;
	}
	return used < TLS_PATH_MAX;
}

static void begin(struct tls_opts *o, const struct config *cfg)
{
	*o = (struct tls_opts){.optional = cfg->tls.optional};
	(void)snprintf(o->files.ca, sizeof(o->files.ca), "%s", cfg->tls.ca);
	(void)snprintf(o->cluster, sizeof(o->cluster), "%s", cfg->name);
}

int config_tls_node(const struct config *cfg, raft_id id, struct tls_context **out,
                    struct rfs_err *err)
{
	struct tls_opts o;

	*out = NULL;
	if (!cfg->tls.on)
		return 0;
	if (cfg->tls.cert[0] == '\0')
		return rfs_err_set(err, RFS_ECONFIG,
		                   "%s: tls.cert and tls.key are missing, which a node needs",
		                   cfg->path);
	begin(&o, cfg);
	o.node_id = id;
	if (!put_id(cfg->tls.cert, id, o.files.cert) || !put_id(cfg->tls.key, id, o.files.key))
		return rfs_err_set(err, RFS_ECONFIG, "%s: tls.cert, tls.key: the path is too long",
		                   cfg->path);
	return tls_context_new(out, &o, err);
}

int config_tls_client(const struct config *cfg, struct tls_context **out, struct rfs_err *err)
{
	struct tls_opts o;

	*out = NULL;
	if (!cfg->tls.on)
		return 0;
	if (cfg->tls.client_cert[0] == '\0')
		return rfs_err_set(
		        err, RFS_ECONFIG,
		        "no certificate to show: name one by client_cert and client_key in [tls] "
		        "of the cluster file, by --cert and --key (of a mount: -o cert=,key=), "
		        "or by $RAFTFS_CERT and $RAFTFS_KEY");
	begin(&o, cfg);
	(void)snprintf(o.files.cert, sizeof(o.files.cert), "%s", cfg->tls.client_cert);
	(void)snprintf(o.files.key, sizeof(o.files.key), "%s", cfg->tls.client_key);
	return tls_context_new(out, &o, err);
}

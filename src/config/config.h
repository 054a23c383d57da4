/* cluster.toml: read, checked, and given as one plain struct. Every error names file, line and
 * key. */
#ifndef RFS_CONFIG_CONFIG_H
#define RFS_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/entry.h"
#include "../base/err.h"
#include "../tls/context.h"

#define CONFIG_NODES_MAX 15
#define CONFIG_NAME_MAX  63
#define CONFIG_HOST_MAX  255
#define CONFIG_PATH_MAX  4096

struct config_node {
	raft_id id;                     /* 1 … 2^31-1 */
	char host[CONFIG_HOST_MAX + 1]; /* name, IPv4 or IPv6 address */
	uint16_t port;
	/* Where the node serves metrics and its page; 0: nowhere. The host is "127.0.0.1" unless the
	 * file says otherwise. */
	char metrics_host[CONFIG_HOST_MAX + 1];
	uint16_t metrics_port;
};

/* [tls]: absolute paths, of which `cert` and `key` may have "{id}" in them. "": not given. */
struct config_tls {
	bool on; /* the file has the table, or config_tls_override() was given an authority */
	bool optional;
	char ca[CONFIG_PATH_MAX];
	char cert[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];               /* a node's */
	char client_cert[CONFIG_PATH_MAX], client_key[CONFIG_PATH_MAX]; /* raftctl's and mounts' */
};

struct config {
	char path[CONFIG_PATH_MAX]; /* of the file; "" when made by config_single() */
	char name[CONFIG_NAME_MAX + 1];
	/* Absolute: a relative data_directory is relative to the cluster file's folder. */
	char data_directory[CONFIG_PATH_MAX];
	/* The newest protocol version that this node speaks; default FS_VERSION_MAX. */
	uint32_t protocol_version_max;
	/* What the cluster may hold, in bytes, as the sizes of files add up; 0: the file says nothing. The leader's file
	 * counts. */
	uint64_t quota_bytes;
	uint32_t election_min_ms, election_max_ms, heartbeat_ms; /* defaults 150, 300, 50 */
	uint32_t session_timeout_ms;                             /* [client]; default 10000 */
	/* [log]: how much of the log behind the state on disk is kept for followers that are a little
	 * behind: the lesser of both. Defaults 32 MiB, 100000. */
	uint64_t keep_bytes, keep_entries;
	bool allow_suspend; /* [debug]; default false */
	struct config_tls tls;
	struct config_node nodes[CONFIG_NODES_MAX];
	size_t n_nodes;
};

/* Which file to read: `given` if not NULL, $RAFTFS_CLUSTER, ./cluster.toml,
 * /etc/raftfs/cluster.toml. An absolute path into `path`; -ENOENT with a sentence that lists the
 * places when there is none. A file that was named (by flag or environment) and is not there is
 * RFS_ECONFIG: nobody may go on without it. */
int config_find(const char *given, char path[CONFIG_PATH_MAX], struct rfs_err *err);

/* "x", "./x" and "/x" alike as an absolute path; links are left as they are. -ENAMETOOLONG,
 * -errno. */
int config_absolute(const char *file, char path[CONFIG_PATH_MAX], struct rfs_err *err);

/* Read and check `path`. Errors: RFS_ECONFIG, -errno. `cfg` is only written when it is all good. */
int config_load(struct config *cfg, const char *path, struct rfs_err *err);

/* The configuration of the embedded single node: cluster "local", node 1 at 127.0.0.1:port (0: any
 * free one), data in `dir`. */
void config_single(struct config *cfg, const char *dir, uint16_t port);

/* $XDG_DATA_HOME/raftfs if that is set, else ~/.local/share/raftfs; for root /var/lib/raftfs. */
int config_embedded_dir(char path[CONFIG_PATH_MAX], struct rfs_err *err);

/* ---- tls.c ---- */

/* Files that were named elsewhere than in the cluster file, by options or the environment; NULL: not.
 */
struct config_tls_given {
	const char *ca, *cert, *key;
};

/* Put them in the place of the file's: `ca`, which turns TLS on, and client_cert and client_key. What
 * `given` does not have is taken from $RAFTFS_CA, $RAFTFS_CERT and $RAFTFS_KEY, unless `cfg` is of a
 * file without TLS. RFS_ECONFIG: a certificate without a key or an authority, or the other way
 * round. */
int config_tls_override(struct config *cfg, const struct config_tls_given *given,
                        struct rfs_err *err);

/* What node `id` shows to others, what a client shows; *out is NULL, without an error, where TLS is not
 * on. Errors: RFS_ECONFIG, with the file's name, or what is missing in `cfg`. The caller frees. */
int config_tls_node(const struct config *cfg, raft_id id, struct tls_context **out,
                    struct rfs_err *err);
int config_tls_client(const struct config *cfg, struct tls_context **out, struct rfs_err *err);

/* NULL if the file has no such node. */
const struct config_node *config_node_by_id(const struct config *cfg, raft_id id);

/* Whether `host` can be dialled by others: a name, an IPv4 or an IPv6 address; not a wildcard. */
bool config_host_ok(const char *host);

/* Whether it stands for every address of this machine: 0.0.0.0 or ::. */
bool config_host_is_any(const char *host);

/* "host:port" or "[v6]:port" into host and port; -EINVAL. */
int config_parse_endpoint(const char *text, char host[CONFIG_HOST_MAX + 1], uint16_t *port);
/* The same for a place to listen on: the host may stand for every address. */
int config_parse_listen(const char *text, char host[CONFIG_HOST_MAX + 1], uint16_t *port);
/* The reverse, with brackets where needed. */
void config_format_endpoint(const char *host, uint16_t port, char *out, size_t out_size);

#endif

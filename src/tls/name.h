/* Who the bearer of a certificate is: one URI in its subjectAltName, and nothing else, says so.
 *
 *   raftfs://CLUSTER/node/ID         a node of the cluster
 *   raftfs://CLUSTER/admin/NAME      may do everything that is asked of nodes
 *   raftfs://CLUSTER/client/NAME     may read and write keys
 *   raftfs://CLUSTER/reader/NAME     may read keys
 *
 * Addresses are not part of it: nodes move, and what counts is which node somebody is. */
#ifndef RFS_TLS_NAME_H
#define RFS_TLS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/err.h"

#define CERT_WORD_MAX 63u /* CLUSTER and NAME: letters, digits, '.', '_', '-' */
#define CERT_URI_MAX  160u

/* In order: each may do what those before it may. */
enum cert_role {
	CERT_READER = 1,
	CERT_CLIENT,
	CERT_ADMIN,
	CERT_NODE,
};

struct cert_name {
	char cluster[CERT_WORD_MAX + 1];
	enum cert_role role;
	uint64_t node_id;             /* CERT_NODE */
	char name[CERT_WORD_MAX + 1]; /* the others */
};

/* -EINVAL with a sentence if `uri` is none of the above. */
int cert_name_parse(struct cert_name *name, const char *uri, struct rfs_err *err);
void cert_name_uri(const struct cert_name *name, char uri[CERT_URI_MAX]);
/* "node 2 of cluster demo", "client alice of cluster demo" */
void cert_name_describe(const struct cert_name *name, char text[CERT_URI_MAX]);

const char *cert_role_name(enum cert_role role); /* "node" */
/* Whether `text` can be a CLUSTER or a NAME. */
bool cert_word_ok(const char *text);

#endif

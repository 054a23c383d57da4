/* An authority for one cluster, as two files in a directory, and the certificates that it issues.
 * EC P-256 throughout. No file that exists is ever written to; keys are for their owner alone. */
#ifndef RFS_TLS_ISSUE_H
#define RFS_TLS_ISSUE_H

#include <stdbool.h>
#include <stdint.h>
#include "context.h"

#define ISSUE_CA_DAYS   3653 /* ten years */
#define ISSUE_CERT_DAYS 730

/* Make `dir`, if it is not there, and in it ca.pem and ca.key for `cluster`. Errors: -EEXIST, -errno, -EINVAL. */
int issue_ca(const char *dir, const char *cluster, struct rfs_err *err);

/* For whom the authority in `dir` issues. */
int issue_cluster(const char *dir, char cluster[CERT_WORD_MAX + 1], struct rfs_err *err);

/* Issue NAME.pem and NAME.key in `dir`: "node-1", "client-alice". who->cluster is filled in. Good from an hour ago, for clocks
 * that differ, to `days` from now; negative: it has ended, for tests. Errors: -EEXIST, -ENOENT (no authority in
 * `dir`), -EINVAL (a name that cannot be), -errno. */
int issue_cert(const char *dir, struct cert_name *who, int days, struct tls_files *made,
               struct rfs_err *err);

/* What is in the first certificate of a file. */
struct issue_facts {
	char subject[256], issuer[256], serial[64];
	bool is_ca;
	bool named; /* `name` says whom it is for */
	struct cert_name name;
	int64_t begins_s, ends_s; /* since the epoch */
};
int issue_show(const char *file, struct issue_facts *facts, struct rfs_err *err);

#endif

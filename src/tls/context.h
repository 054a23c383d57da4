/* What a program shows of itself and whom it believes: certificate, key and authorities, out of
 * files, checked, and as OpenSSL wants them. TLS 1.3 alone, both ends with a certificate.
 *
 * Every error is RFS_ECONFIG and names the file and what is wrong with it. Thread: the loop's. */
#ifndef RFS_TLS_CONTEXT_H
#define RFS_TLS_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>
#include "name.h"

#define TLS_PATH_MAX 4096

struct tls_context;

struct tls_files {
	char ca[TLS_PATH_MAX];   /* PEM: authorities, one or more */
	char cert[TLS_PATH_MAX]; /* PEM: ours, and what leads from it to an authority */
	char key[TLS_PATH_MAX];  /* PEM, not encrypted; nobody else may read it */
};

struct tls_opts {
	struct tls_files files;
	char cluster[CERT_WORD_MAX + 1]; /* whose the certificate must be; "": of any */
	uint64_t node_id;                /* of that node; 0: of anybody */
	/* Also without TLS: accepted connections may be plain, and who does not speak it when it is
	 * dialled is dialled again without. It protects nothing; for the way from none to all. */
	bool optional;
};

/* The certificate must be good now, by the authorities in `ca`, and the key must be its own. */
int tls_context_new(struct tls_context **out, const struct tls_opts *opts, struct rfs_err *err);
/* Read the files again, for connections from now on. With an error all stays as it was. */
int tls_context_reload(struct tls_context *t, struct rfs_err *err);
/* Connections that were made of it may go on. NULL is fine. */
void tls_context_free(struct tls_context *t);

const struct cert_name *tls_context_name(const struct tls_context *t); /* ours */
bool tls_context_is_optional(const struct tls_context *t);
/* When the first certificate that we depend on ends, in seconds since the epoch, and in which file
 * it is. */
int64_t tls_context_expiry_s(const struct tls_context *t, const char **file);

#endif

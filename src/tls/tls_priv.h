/* What the files of this folder share. */
#ifndef RFS_TLS_TLS_PRIV_H
#define RFS_TLS_TLS_PRIV_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include "context.h"

/* ---- context.c ---- */

SSL_CTX *tls_context_ssl(struct tls_context *t);

/* ---- x509.c ---- */

/* What OpenSSL has to say about the last failure; clears it. Static text, or "unknown error". */
const char *tls_reason(void);

/* A whole file of at most 1 MiB as a BIO; NULL with -errno and a sentence. `secret`: nobody but its owner (this
 * process or root), or the group of root's, may read it, else -EACCES. */
BIO *tls_read_file(const char *path, bool secret, struct rfs_err *err);
/* The first certificate, the key: NULL with a sentence. */
X509 *tls_read_cert(const char *path, struct rfs_err *err);
EVP_PKEY *tls_read_key(const char *path, struct rfs_err *err);

/* Who a certificate is for: RFS_EIDENTITY if it does not say, or says more than one thing. */
int tls_cert_name(X509 *cert, struct cert_name *name, struct rfs_err *err);
/* The one URI of ours in it; false if there is none, or several. */
bool tls_cert_uri(X509 *cert, char *uri, size_t size);
int64_t tls_time_s(const ASN1_TIME *t); /* since the epoch */

#endif

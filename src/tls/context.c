#include "context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "tls_priv.h"

#define CHAIN_MAX           4     /* certificates between ours and the authority */
#define PEER_CERT_BYTES_MAX 16384 /* of a handshake, from somebody we do not know yet */

struct tls_context {
	struct tls_opts opts;
	SSL_CTX *ssl;
	struct cert_name name;
	int64_t expiry_s;
	bool expiry_of_ca;
};

/* While the files are read, all goes into this, and into the context once it is good. */
struct loader {
	const struct tls_opts *opts;
	struct rfs_err *err;
	SSL_CTX *ssl;
	X509 *cert; /* borrowed from ssl */
	struct cert_name name;
	int64_t expiry_s;
	bool expiry_of_ca;
};

static int bad_file(struct loader *l, const char *path, const char *why)
{
	return rfs_err_set(l->err, RFS_ECONFIG, "%s: %s", path, why);
}

/* The sentence is there already. */
static int bad(struct loader *l)
{
	l->err->code = RFS_ECONFIG;
	ERR_clear_error();
	return RFS_ECONFIG;
}

/* ---- what OpenSSL is told ---- */

static bool set_rules(SSL_CTX *ssl)
{
	const uint64_t options = SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;

	SSL_CTX_set_options(ssl, options);
	/* Nothing is resumed: connections are few and long, and a ticket would outlive the certificate. */
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify_depth(ssl, CHAIN_MAX);
	SSL_CTX_set_max_cert_list(ssl, PEER_CERT_BYTES_MAX);
	return SSL_CTX_set_num_tickets(ssl, 0) == 1 &&
	       SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
	                                     "TLS_CHACHA20_POLY1305_SHA256") == 1;
}

/* ---- the files ---- */

static int load_ca(struct loader *l)
{
	X509_STORE *store = SSL_CTX_get_cert_store(l->ssl);
	BIO *b = tls_read_file(l->opts->files.ca, false, l->err);
	int n = 0;
	X509 *ca;

	if (b == NULL)
		return bad(l);
	while ((ca = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_cert(store, ca);
		X509_free(ca);
	}
	BIO_free(b);
	/* The end of the file is an error as any other, but for its number. */
	if (n > 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return bad_file(l, l->opts->files.ca, tls_reason());
	ERR_clear_error();
	return n > 0 ? 0 : bad_file(l, l->opts->files.ca, "no certificate in PEM");
}

static int load_chain(struct loader *l)
{
	const char *path = l->opts->files.cert;
	BIO *b = tls_read_file(path, false, l->err);
	X509 *cert;
	int rc = 0;

	if (b == NULL)
		return bad(l);
	cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
	if (cert == NULL)
		rc = bad_file(l, path, "no certificate in PEM");
	else if (SSL_CTX_use_certificate(l->ssl, cert) != 1)
		rc = bad_file(l, path, tls_reason());
	X509_free(cert);
	while (rc == 0 && (cert = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL) {
		if (SSL_CTX_add1_chain_cert(l->ssl, cert) != 1)
			rc = bad_file(l, path, tls_reason());
		X509_free(cert);
	}
	BIO_free(b);
	ERR_clear_error();
	l->cert = SSL_CTX_get0_certificate(l->ssl);
	return rc;
}

static int load_key(struct loader *l)
{
	EVP_PKEY *key = tls_read_key(l->opts->files.key, l->err);
	int rc = 0;

	if (key == NULL)
		return bad(l);
	if (X509_check_private_key(l->cert, key) != 1)
		rc = rfs_err_set(l->err, RFS_ECONFIG, "%s: is not the key of %s",
		                 l->opts->files.key, l->opts->files.cert);
	else if (SSL_CTX_use_PrivateKey(l->ssl, key) != 1)
		rc = bad_file(l, l->opts->files.key, tls_reason());
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

/* ---- are they any good ---- */

static int tell_unverified(struct loader *l, X509_STORE_CTX *v)
{
	const struct tls_files *f = &l->opts->files;
	int code = X509_STORE_CTX_get_error(v);
	const char *path = X509_STORE_CTX_get_error_depth(v) > 0 ? f->ca : f->cert;

	if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	    code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	    code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ||
	    code == X509_V_ERR_CERT_SIGNATURE_FAILURE ||
	    code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)
		return rfs_err_set(l->err, RFS_ECONFIG, "%s: was not issued by an authority in %s",
		                   f->cert, f->ca);
	return bad_file(l, path, X509_verify_cert_error_string(code));
}

static void note_expiry(struct loader *l, X509_STORE_CTX *v)
{
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(v);

	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t ends_s = tls_time_s(X509_get0_notAfter(sk_X509_value(chain, i)));

		if (i > 0 && ends_s >= l->expiry_s)
			continue;
		l->expiry_s = ends_s;
		l->expiry_of_ca = i > 0;
	}
}

static int verify_own(struct loader *l)
{
	X509_STORE_CTX *v = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	int rc = 0;

	(void)SSL_CTX_get0_chain_certs(l->ssl, &chain);
	if (v == NULL ||
	    X509_STORE_CTX_init(v, SSL_CTX_get_cert_store(l->ssl), l->cert, chain) != 1)
		rc = bad_file(l, l->opts->files.cert, tls_reason());
	else if (X509_verify_cert(v) != 1)
		rc = tell_unverified(l, v);
	else
		note_expiry(l, v);
	X509_STORE_CTX_free(v);
	ERR_clear_error();
	return rc;
}

static int check_name(struct loader *l)
{
	const struct tls_opts *o = l->opts;
	char text[CERT_URI_MAX];

	if (tls_cert_name(l->cert, &l->name, l->err) != 0) {
		(void)rfs_err_prefix(l->err, "%s", o->files.cert);
		return bad(l);
	}
	cert_name_describe(&l->name, text);
	if (o->cluster[0] != '\0' && strcmp(o->cluster, l->name.cluster) != 0)
		return rfs_err_set(l->err, RFS_ECONFIG, "%s: is for %s, and this is cluster %s",
		                   o->files.cert, text, o->cluster);
	if (o->node_id != 0 && (l->name.role != CERT_NODE || l->name.node_id != o->node_id))
		return rfs_err_set(l->err, RFS_ECONFIG, "%s: is for %s, and this is node %llu",
		                   o->files.cert, text, (unsigned long long)o->node_id);
	return 0;
}

static int load(struct loader *l)
{
	int rc;

	ERR_clear_error();
	l->ssl = SSL_CTX_new(TLS_method());
	if (l->ssl == NULL || !set_rules(l->ssl))
		return rfs_err_set(l->err, RFS_ECONFIG, "TLS cannot be set up: %s", tls_reason());
	rc = load_ca(l);
	if (rc == 0)
		rc = load_chain(l);
	if (rc == 0)
		rc = load_key(l);
	if (rc == 0)
		rc = verify_own(l);
	return rc != 0 ? rc : check_name(l);
}

/* ---- life ---- */

int tls_context_reload(struct tls_context *t, struct rfs_err *err)
{
	struct loader l = {.opts = &t->opts, .err = err};
	int rc = load(&l);

	if (rc != 0) {
		SSL_CTX_free(l.ssl);
		return rc;
	}
	SSL_CTX_free(t->ssl); /* those that were made of it hold it */
	t->ssl = l.ssl;
	t->name = l.name;
	t->expiry_s = l.expiry_s;
	t->expiry_of_ca = l.expiry_of_ca;
	return 0;
}

int tls_context_new(struct tls_context **out, const struct tls_opts *opts, struct rfs_err *err)
{
	struct tls_context *t = mem_zalloc(sizeof(*t));
	struct rfs_err why = {0};
	int rc;

	t->opts = *opts;
	rc = tls_context_reload(t, &why);
	if (rc != 0) {
		tls_context_free(t);
		return rfs_err_set(err, rc, "%s", why.msg);
	}
	*out = t;
	return 0;
}

void tls_context_free(struct tls_context *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ssl);
	free(t);
}

/* ---- looking in ---- */

SSL_CTX *tls_context_ssl(struct tls_context *t)
{
	return t->ssl;
}

const struct cert_name *tls_context_name(const struct tls_context *t)
{
	return &t->name;
}

bool tls_context_is_optional(const struct tls_context *t)
{
	return t->opts.optional;
}

int64_t tls_context_expiry_s(const struct tls_context *t, const char **file)
{
	if (file != NULL)
		*file = t->expiry_of_ca ? t->opts.files.ca : t->opts.files.cert;
	return t->expiry_s;
}

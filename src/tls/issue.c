#include "issue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tls_priv.h"

#define CA_CERT "ca.pem"
#define CA_KEY  "ca.key"

#define SKEW_S       3600
#define DAY_S        86400L
#define SERIAL_BYTES 16 /* 127 random bits: positive, and never twice */

/* ---- files ---- */

static int path_in(const char *dir, const char *name, const char *end, char out[TLS_PATH_MAX],
                   struct rfs_err *err)
{
	int n = snprintf(out, TLS_PATH_MAX, "%s%s%s%s", dir,
	                 dir[0] != '\0' && dir[strlen(dir) - 1] == '/' ? "" : "/", name, end);

	return n > 0 && n < TLS_PATH_MAX
	               ? 0
	               : rfs_err_set(err, -ENAMETOOLONG, "%s: the path is too long", dir);
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		p += put;
		n -= (size_t)put;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

/* A new file; one that is there already is an error. */
static int write_new(const char *path, mode_t mode, BIO *from, struct rfs_err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode), rc;
	char *p;
	long n;

	if (fd < 0)
		return rfs_err_set(err, -errno, "%s: %s", path,
		                   errno == EEXIST ? "exists already; it is left as it is"
		                                   : rfs_strerror(-errno));
	n = BIO_get_mem_data(from, &p);
	rc = write_all(fd, p, (size_t)n);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0)
		return 0;
	(void)unlink(path);
	return rfs_err_set(err, rc, "%s: %s", path, rfs_strerror(rc));
}

static int no_openssl(struct rfs_err *err)
{
	return rfs_err_set(err, -EIO, "OpenSSL: %s", tls_reason());
}

/* The key first: a certificate without one would be of no use, a key without one does no harm. */
static int write_pair(const char *cert_path, X509 *cert, const char *key_path, EVP_PKEY *key,
                      struct rfs_err *err)
{
	BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_secmem());
	int rc = 0;

	if (c == NULL || k == NULL || PEM_write_bio_X509(c, cert) != 1 ||
	    PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1)
		rc = no_openssl(err);
	if (rc == 0 && access(cert_path, F_OK) == 0)
		rc = rfs_err_set(err, -EEXIST, "%s: exists already; it is left as it is",
		                 cert_path);
	if (rc == 0)
		rc = write_new(key_path, 0600, k, err);
	if (rc == 0) {
		rc = write_new(cert_path, 0644, c, err);
		if (rc != 0)
			(void)unlink(key_path);
	}
	BIO_free(c);
	BIO_free(k);
	return rc;
}

/* ---- a certificate ---- */

struct draft {
	const char *subject,
	        *uri; /* both printable, and without what would mean something to OpenSSL */
	const char *basic, *usage, *extended; /* NULL: none */
	long begins_s, ends_s;                /* from now */
};

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	if (value == NULL)
		return true;
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] &= 0x7f;
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
	BN_free(n);
	return ok;
}

static bool set_subject(X509 *cert, const char *text)
{
	X509_NAME *name = X509_NAME_new();
	bool ok = name != NULL &&
	          X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text,
	                                     -1, -1, 0) == 1 &&
	          X509_set_subject_name(cert, name) == 1;

	X509_NAME_free(name);
	return ok;
}

/* `issuer` NULL: it signs itself. */
static X509 *sign(const struct draft *d, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new(), *by = issuer != NULL ? issuer : cert;
	char san[CERT_URI_MAX + 8];

	(void)snprintf(san, sizeof(san), "URI:%s", d->uri);
	if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
	    set_subject(cert, d->subject) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(by)) == 1 &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), d->begins_s) != NULL &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), (int)(d->ends_s / DAY_S), d->ends_s % DAY_S,
	                     NULL) != NULL &&
	    X509_set_pubkey(cert, key) == 1 &&
	    add_extension(cert, by, NID_basic_constraints, d->basic) &&
	    add_extension(cert, by, NID_key_usage, d->usage) &&
	    add_extension(cert, by, NID_ext_key_usage, d->extended) &&
	    add_extension(cert, by, NID_subject_alt_name, san) &&
	    add_extension(cert, by, NID_subject_key_identifier, "hash") &&
	    add_extension(cert, by, NID_authority_key_identifier, "keyid:always") &&
	    X509_sign(cert, issuer_key, EVP_sha256()) > 0)
		return cert;
	X509_free(cert);
	return NULL;
}

/* ---- the authority ---- */

static void ca_uri(const char *cluster, char uri[CERT_URI_MAX])
{
	(void)snprintf(uri, CERT_URI_MAX, "raftfs://%s/ca", cluster);
}

int issue_ca(const char *dir, const char *cluster, struct rfs_err *err)
{
	char subject[CERT_URI_MAX], uri[CERT_URI_MAX], cert_path[TLS_PATH_MAX],
	        key_path[TLS_PATH_MAX];
	const struct draft d = {.subject = subject,
	                        .uri = uri,
	                        .basic = "critical,CA:TRUE,pathlen:0",
	                        .usage = "critical,keyCertSign,cRLSign",
	                        .begins_s = -SKEW_S,
	                        .ends_s = ISSUE_CA_DAYS * DAY_S};
	EVP_PKEY *key;
	X509 *cert;
	int rc;

	if (!cert_word_ok(cluster))
		return rfs_err_set(err, -EINVAL, "\"%s\" cannot be the name of a cluster", cluster);
	if (path_in(dir, CA_CERT, "", cert_path, err) != 0 ||
	    path_in(dir, CA_KEY, "", key_path, err) != 0)
		return err->code;
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return rfs_err_set(err, -errno, "%s: %s", dir, rfs_strerror(-errno));
	(void)snprintf(subject, sizeof(subject), "raftfs cluster %s: authority", cluster);
	ca_uri(cluster, uri);
	key = EVP_EC_gen("P-256");
	cert = key != NULL ? sign(&d, key, NULL, key) : NULL;
	rc = cert != NULL ? write_pair(cert_path, cert, key_path, key, err) : no_openssl(err);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

static int cluster_of(X509 *ca, const char *path, char cluster[CERT_WORD_MAX + 1],
                      struct rfs_err *err)
{
	char uri[CERT_URI_MAX], wanted[CERT_URI_MAX];

	if (tls_cert_uri(ca, uri, sizeof(uri)) &&
	    sscanf(uri, "raftfs://%63[^/]/ca", cluster) == 1 && cert_word_ok(cluster)) {
		ca_uri(cluster, wanted);
		if (strcmp(uri, wanted) == 0)
			return 0;
	}
	return rfs_err_set(err, -EINVAL, "%s: is not an authority made by 'raftctl cert init'",
	                   path);
}

static X509 *read_ca(const char *dir, char cluster[CERT_WORD_MAX + 1], struct rfs_err *err)
{
	char path[TLS_PATH_MAX];
	X509 *ca = NULL;

	if (path_in(dir, CA_CERT, "", path, err) == 0)
		ca = tls_read_cert(path, err);
	if (ca != NULL && cluster_of(ca, path, cluster, err) != 0) {
		X509_free(ca);
		ca = NULL;
	}
	return ca;
}

int issue_cluster(const char *dir, char cluster[CERT_WORD_MAX + 1], struct rfs_err *err)
{
	X509 *ca = read_ca(dir, cluster, err);

	X509_free(ca);
	return ca != NULL ? 0 : err->code;
}

/* ---- certificates ---- */

/* Where to, and the authority's certificate as the bearer's `ca`. */
static int name_files(const char *dir, const struct cert_name *who, struct tls_files *made,
                      struct rfs_err *err)
{
	char name[CERT_WORD_MAX + 32];

	if (who->role == CERT_NODE)
		(void)snprintf(name, sizeof(name), "node-%" PRIu64, who->node_id);
	else
		(void)snprintf(name, sizeof(name), "%s-%s", cert_role_name(who->role), who->name);
	if (path_in(dir, CA_CERT, "", made->ca, err) != 0 ||
	    path_in(dir, name, ".pem", made->cert, err) != 0 ||
	    path_in(dir, name, ".key", made->key, err) != 0)
		return err->code;
	return 0;
}

static int make(const struct cert_name *who, int days, X509 *ca, EVP_PKEY *ca_key,
                const struct tls_files *made, struct rfs_err *err)
{
	char subject[CERT_URI_MAX], uri[CERT_URI_MAX], text[CERT_URI_MAX];
	struct draft d = {.subject = subject,
	                  .uri = uri,
	                  .basic = "critical,CA:FALSE",
	                  .usage = "critical,digitalSignature",
	                  .extended =
	                          who->role == CERT_NODE ? "serverAuth,clientAuth" : "clientAuth",
	                  .begins_s = days > 0 ? -SKEW_S : (days - 1) * DAY_S,
	                  .ends_s = days * DAY_S};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert;
	int rc;

	cert_name_uri(who, uri);
	cert_name_describe(who, text);
	/* a common name has at most 64 characters (X.520) */
	(void)snprintf(subject, sizeof(subject), "%.64s", text);
	cert = key != NULL ? sign(&d, key, ca, ca_key) : NULL;
	rc = cert != NULL ? write_pair(made->cert, cert, made->key, key, err) : no_openssl(err);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

int issue_cert(const char *dir, struct cert_name *who, int days, struct tls_files *made,
               struct rfs_err *err)
{
	char key_path[TLS_PATH_MAX];
	EVP_PKEY *ca_key = NULL;
	X509 *ca;
	int rc;

	if (who->role != CERT_NODE && !cert_word_ok(who->name))
		return rfs_err_set(
		        err, -EINVAL,
		        "\"%s\": a name has letters, digits, '.', '_' and '-', at most %u",
		        who->name, CERT_WORD_MAX);
	ca = read_ca(dir, who->cluster, err);
	if (ca == NULL)
		return err->code;
	rc = name_files(dir, who, made, err);
	if (rc == 0)
		rc = path_in(dir, CA_KEY, "", key_path, err);
	if (rc == 0) {
		ca_key = tls_read_key(key_path, err);
		rc = ca_key != NULL ? 0 : err->code;
	}
	if (rc == 0 && X509_check_private_key(ca, ca_key) != 1)
		rc = rfs_err_set(err, -EINVAL, "%s: is not the key of %s", key_path, made->ca);
	if (rc == 0)
		rc = make(who, days, ca, ca_key, made, err);
	ERR_clear_error();
	EVP_PKEY_free(ca_key);
	X509_free(ca);
	return rc;
}

/* ---- looking ---- */

static void print_name(const X509_NAME *name, char *out, size_t size)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long n = 0;

	if (b != NULL && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) >= 0)
		n = BIO_get_mem_data(b, &p);
	(void)snprintf(out, size, "%.*s", (int)n, n > 0 ? p : "");
	BIO_free(b);
}

static void print_serial(X509 *cert, char *out, size_t size)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *hex = n != NULL ? BN_bn2hex(n) : NULL;

	(void)snprintf(out, size, "%s", hex != NULL ? hex : "");
	OPENSSL_free(hex);
	BN_free(n);
}

int issue_show(const char *file, struct issue_facts *facts, struct rfs_err *err)
{
	X509 *cert = tls_read_cert(file, err);
	struct rfs_err none;

	if (cert == NULL)
		return err->code;
	*facts = (struct issue_facts){
	        .is_ca = X509_check_ca(cert) == 1,
	        .begins_s = tls_time_s(X509_get0_notBefore(cert)),
	        .ends_s = tls_time_s(X509_get0_notAfter(cert)),
	};
	print_name(X509_get_subject_name(cert), facts->subject, sizeof(facts->subject));
	print_name(X509_get_issuer_name(cert), facts->issuer, sizeof(facts->issuer));
	print_serial(cert, facts->serial, sizeof(facts->serial));
	if (facts->is_ca)
		facts->named = cluster_of(cert, file, facts->name.cluster, &none) == 0;
	else
		facts->named = tls_cert_name(cert, &facts->name, &none) == 0;
	X509_free(cert);
	return 0;
}

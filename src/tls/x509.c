/* Certificates and keys in files. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tls_priv.h"

#define FILE_BYTES_MAX (1u << 20)

const char *tls_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	ERR_clear_error();
	return text != NULL ? text : "unknown error";
}

/* ---- files ---- */

static int file_errno(const char *path, int code, struct rfs_err *err)
{
	return rfs_err_set(err, code, "%s: %s", path, rfs_strerror(code));
}

/* As PostgreSQL has it: ours and ours alone, or root's, who may let a group read it. */
static int check_secret(const char *path, const struct stat *st, struct rfs_err *err)
{
	mode_t allowed = st->st_uid == 0 ? 0740 : 0700;

	if (st->st_uid != 0 && st->st_uid != geteuid())
		return rfs_err_set(err, -EACCES,
		                   "%s: the key belongs to another user (uid %u): chown it", path,
		                   (unsigned)st->st_uid);
	if ((st->st_mode & 0777 & ~allowed) != 0)
		return rfs_err_set(
		        err, -EACCES,
		        "%s: the key can be read or written by others (mode %04o): chmod 600 %s",
		        path, (unsigned)(st->st_mode & 07777), path);
	return 0;
}

static int check_file(const char *path, int fd, bool secret, struct rfs_err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return file_errno(path, -errno, err);
	if (!S_ISREG(st.st_mode))
		return rfs_err_set(err, -EINVAL, "%s: not a file", path);
	if (st.st_size > (off_t)FILE_BYTES_MAX)
		return rfs_err_set(err, -EFBIG, "%s: larger than %u bytes: not what it should be",
		                   path, FILE_BYTES_MAX);
	return secret ? check_secret(path, &st, err) : 0;
}

static BIO *read_all(const char *path, int fd, struct rfs_err *err)
{
	BIO *b = BIO_new(BIO_s_secmem());
	char piece[4096];
	size_t total = 0;
	ssize_t n;

	while (b != NULL && (n = read(fd, piece, sizeof(piece))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (total += (size_t)n) > FILE_BYTES_MAX ||
		    BIO_write(b, piece, (int)n) != (int)n) {
			(void)file_errno(path, n < 0 ? -errno : -EFBIG, err);
			BIO_free(b);
			b = NULL;
		}
	}
	OPENSSL_cleanse(piece, sizeof(piece));
	return b;
}

BIO *tls_read_file(const char *path, bool secret, struct rfs_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	BIO *b = NULL;

	if (fd < 0)
		(void)file_errno(path, -errno, err);
	else if (check_file(path, fd, secret, err) == 0)
		b = read_all(path, fd, err);
	if (fd >= 0)
		(void)close(fd);
	return b;
}

X509 *tls_read_cert(const char *path, struct rfs_err *err)
{
	BIO *b = tls_read_file(path, false, err);
	X509 *cert;

	if (b == NULL)
		return NULL;
	cert = PEM_read_bio_X509(b, NULL, NULL, NULL);
	if (cert == NULL)
		(void)rfs_err_set(err, -EINVAL, "%s: no certificate in PEM: %s", path,
		                  tls_reason());
	BIO_free(b);
	return cert;
}

/* A daemon has nobody to ask. */
static int no_password(char *buf, int size, int for_writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)for_writing;
	*(bool *)ctx = true;
	return -1;
}

EVP_PKEY *tls_read_key(const char *path, struct rfs_err *err)
{
	BIO *b = tls_read_file(path, true, err);
	bool encrypted = false;
	EVP_PKEY *key;

	if (b == NULL)
		return NULL;
	key = PEM_read_bio_PrivateKey(b, NULL, no_password, &encrypted);
	if (key == NULL && encrypted)
		(void)rfs_err_set(err, -EINVAL, "%s: the key is encrypted, which cannot be used",
		                  path);
	else if (key == NULL)
		(void)rfs_err_set(err, -EINVAL, "%s: no key in PEM: %s", path, tls_reason());
	ERR_clear_error();
	BIO_free(b);
	return key;
}

/* ---- what is in them ---- */

int64_t tls_time_s(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool is_ours(const GENERAL_NAME *name)
{
	const char *text;

	if (name->type != GEN_URI)
		return false;
	text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
	return strncmp(text, "raftfs:", 7) == 0; /* OpenSSL puts a NUL behind every string */
}

bool tls_cert_uri(X509 *cert, char *uri, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *s;
		size_t n;

		if (!is_ours(name))
			continue;
		s = name->d.uniformResourceIdentifier;
		n = (size_t)ASN1_STRING_length(s);
		/* A NUL within would end the name early for us, and not for whoever signed it. */
		if (n >= size || memchr(ASN1_STRING_get0_data(s), '\0', n) != NULL) {
			found = 2;
			break;
		}
		memcpy(uri, ASN1_STRING_get0_data(s), n);
		uri[n] = '\0';
		found++;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return found == 1;
}

int tls_cert_name(X509 *cert, struct cert_name *name, struct rfs_err *err)
{
	char uri[CERT_URI_MAX];

	if (!tls_cert_uri(cert, uri, sizeof(uri)))
		return rfs_err_set(err, RFS_EIDENTITY,
		                   "the certificate does not have one raftfs:// name");
	if (cert_name_parse(name, uri, err) == 0)
		return 0;
	(void)rfs_err_prefix(err, "the certificate's name");
	err->code = RFS_EIDENTITY;
	return RFS_EIDENTITY;
}

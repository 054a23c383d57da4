#include "stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "tls_priv.h"

#define RECORD_BYTES_MAX 16384u
#define STREAM_MAGIC     0x746c7373u
/* AES-GCM is good for 2^24.5 full records under one key (RFC 8446, 5.5), and connections live for
 * months: another key after so many. */
#define RECORDS_PER_KEY (1u << 23)

struct tls_stream {
	uint32_t magic;
	SSL *ssl;
	bool ready, failed;
	uint64_t records;    /* sealed under this key */
	const uint8_t *from; /* what tls_stream_take() was given, and OpenSSL has not yet read */
	size_t left;
	struct buf out;
	struct rfs_err peer_err; /* its certificate names nobody */
	struct cert_name peer;
	char claim[CERT_URI_MAX + 32]; /* whom a certificate that was refused is for, as it says */
};

/* ---- OpenSSL's end of the bytes ---- */

static struct tls_stream *stream_of(BIO *b)
{
	struct tls_stream *s = BIO_get_data(b);

	RFS_MAGIC_CHECK(s, STREAM_MAGIC);
	return s;
}

static int bio_read(BIO *b, char *p, size_t n, size_t *got)
{
	struct tls_stream *s = stream_of(b);

	BIO_clear_retry_flags(b);
	if (s->left == 0) {
		BIO_set_retry_read(b);
		return 0;
	}
	*got = n < s->left ? n : s->left;
	memcpy(p, s->from, *got);
	s->from += *got;
	s->left -= *got;
	return 1;
}

static int bio_write(BIO *b, const char *p, size_t n, size_t *put)
{
	buf_put(&stream_of(b)->out, p, n);
	*put = n;
	return 1;
}

static long bio_ctrl(BIO *b, int what, long number, void *p)
{
	(void)b;
	(void)number;
	(void)p;
	return what == BIO_CTRL_FLUSH;
}

/* Made once, never freed. */
static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method != NULL)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "raftfs");
	rfs_check(method != NULL && BIO_meth_set_read_ex(method, bio_read) == 1 &&
	          BIO_meth_set_write_ex(method, bio_write) == 1 &&
	          BIO_meth_set_ctrl(method, bio_ctrl) == 1);
	return method;
}

/* ---- life ---- */

static int on_verify(int ok, X509_STORE_CTX *v);

struct tls_stream *tls_stream_new(struct tls_context *t, bool accepts)
{
	struct tls_stream *s = mem_zalloc(sizeof(*s));
	BIO *b = BIO_new(bio_method());

	RFS_MAGIC_SET(s, STREAM_MAGIC);
	s->ssl = SSL_new(tls_context_ssl(t));
	rfs_check(s->ssl != NULL && b != NULL); /* only for want of memory */
	BIO_set_data(b, s);
	BIO_set_init(b, 1);
	SSL_set_bio(s->ssl, b, b);
	SSL_set_app_data(s->ssl, s);
	SSL_set_verify(s->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
	if (accepts) {
		SSL_set_accept_state(s->ssl);
	} else {
		SSL_set_connect_state(s->ssl);
		(void)SSL_do_handshake(s->ssl); /* puts the first bytes */
		ERR_clear_error();
	}
	return s;
}

void tls_stream_free(struct tls_stream *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	buf_free(&s->out);
	s->magic = 0;
	free(s);
}

/* ---- what goes wrong ---- */

/* Changes nothing of OpenSSL's verdict; only remembers whom it was about. */
static int on_verify(int ok, X509_STORE_CTX *v)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(v, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_stream *s = SSL_get_app_data(ssl);
	char text[CERT_URI_MAX];
	struct rfs_err none;
	struct cert_name name;

	if (!ok && tls_cert_name(X509_STORE_CTX_get0_cert(v), &name, &none) == 0) {
		cert_name_describe(&name, text);
		(void)snprintf(s->claim, sizeof(s->claim), " (it says: %s)", text);
	}
	return ok;
}

/* Alerts by which a peer says that it does not take our certificate (RFC 8446, 6.2). */
static bool is_about_certificate(int alert)
{
	switch (alert) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case TLS13_AD_CERTIFICATE_REQUIRED: return true;
	default: return false;
	}
}

static int tell_failure(struct tls_stream *s, struct rfs_err *err)
{
	unsigned long code = ERR_peek_error();
	int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
	long verdict = SSL_get_verify_result(s->ssl);

	s->failed = true;
	if (alert > 0 && is_about_certificate(alert)) {
		ERR_clear_error();
		return rfs_err_set(err, RFS_EIDENTITY, "does not take our certificate: %s",
		                   SSL_alert_desc_string_long(alert));
	}
	if (alert > 0) {
		ERR_clear_error();
		return rfs_err_set(err, RFS_EPROTO, "ends TLS: %s",
		                   SSL_alert_desc_string_long(alert));
	}
	if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		ERR_clear_error();
		return rfs_err_set(err, RFS_EIDENTITY, "its certificate is refused: %s%s",
		                   X509_verify_cert_error_string(verdict), s->claim);
	}
	if (ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		ERR_clear_error();
		return rfs_err_set(err, RFS_EIDENTITY, "shows no certificate");
	}
	return rfs_err_set(err, RFS_EPROTO, "TLS: %s", tls_reason());
}

/* 0: wait for more bytes. */
static int look_at(struct tls_stream *s, int rc, struct rfs_err *err)
{
	switch (SSL_get_error(s->ssl, rc)) {
	case SSL_ERROR_NONE:
	case SSL_ERROR_WANT_READ: return 0;
	case SSL_ERROR_ZERO_RETURN:
		s->failed = true;
		return rfs_err_set(err, -EPIPE, "connection closed by the peer");
	default: return tell_failure(s, err);
	}
}

/* ---- in ---- */

static void note_peer(struct tls_stream *s)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);

	rfs_check(cert != NULL && SSL_get_verify_result(s->ssl) == X509_V_OK);
	(void)tls_cert_name(cert, &s->peer, &s->peer_err);
}

static int handshake(struct tls_stream *s, struct rfs_err *err)
{
	int rc = SSL_do_handshake(s->ssl);

	if (rc != 1)
		return look_at(s, rc, err);
	s->ready = true;
	note_peer(s);
	return 0;
}

static int open_records(struct tls_stream *s, struct buf *plain, struct rfs_err *err)
{
	size_t got = 0;
	int rc;

	do {
		uint8_t *room = buf_reserve(plain, RECORD_BYTES_MAX);

		rc = SSL_read_ex(s->ssl, room, RECORD_BYTES_MAX, &got);
		if (rc == 1)
			plain->len += got;
	} while (rc == 1);
	return look_at(s, rc, err);
}

int tls_stream_take(struct tls_stream *s, const void *p, size_t n, struct buf *plain,
                    struct rfs_err *err)
{
	int rc = 0;

	RFS_MAGIC_CHECK(s, STREAM_MAGIC);
	rfs_check(!s->failed);
	s->from = p;
	s->left = n;
	ERR_clear_error();
	if (!s->ready)
		rc = handshake(s, err);
	if (rc == 0 && s->ready)
		rc = open_records(s, plain, err);
	rfs_check(rc != 0 || s->left == 0);
	s->from = NULL;
	s->left = 0;
	return rc;
}

bool tls_stream_is_ready(const struct tls_stream *s)
{
	return s->ready;
}

const struct cert_name *tls_stream_peer(const struct tls_stream *s, struct rfs_err *err)
{
	rfs_check(s->ready);
	if (s->peer_err.code == 0)
		return &s->peer;
	*err = s->peer_err;
	return NULL;
}

/* ---- out ---- */

static void renew_key(struct tls_stream *s, size_t n)
{
	s->records += n / RECORD_BYTES_MAX + 1;
	if (s->records < RECORDS_PER_KEY)
		return;
	s->records = 0;
	(void)SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
}

int tls_stream_seal(struct tls_stream *s, struct buf *plain, struct rfs_err *err)
{
	size_t put = 0;
	int rc;

	RFS_MAGIC_CHECK(s, STREAM_MAGIC);
	if (plain->len == 0)
		return 0;
	rfs_check(s->ready);
	ERR_clear_error();
	renew_key(s, plain->len);
	rc = SSL_write_ex(s->ssl, plain->data, plain->len, &put);
	if (rc != 1)
		return tell_failure(s, err);
	rfs_check(put == plain->len);
	buf_clear(plain);
	return 0;
}

struct buf *tls_stream_out(struct tls_stream *s)
{
	return &s->out;
}

/* ---- is it TLS at all ---- */

enum tls_guess tls_guess(const uint8_t *p, size_t n)
{
	if ((n > 0 && p[0] != SSL3_RT_HANDSHAKE) || (n > 1 && p[1] != SSL3_VERSION_MAJOR) ||
	    (n > 2 && (p[2] < 1 || p[2] > 4)))
		return TLS_GUESS_NO;
	return n < TLS_PROBE_BYTES ? TLS_GUESS_UNKNOWN : TLS_GUESS_YES;
}

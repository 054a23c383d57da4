/* TLS of one connection, without the connection: bytes go in, bytes come out, and nothing here
 * reads, writes or waits. The owner gives what came from the socket to tls_stream_take(), and sends
 * what stands in tls_stream_out() after any call. */
#ifndef RFS_TLS_STREAM_H
#define RFS_TLS_STREAM_H

#include "../base/buf.h"
#include "context.h"

struct tls_stream;

/* `accepts`: the other end begins; else our first bytes stand in tls_stream_out() at once. */
struct tls_stream *tls_stream_new(struct tls_context *t, bool accepts);
void tls_stream_free(struct tls_stream *s); /* NULL is fine */

/* `n` bytes from the peer: goes on with the handshake, and appends what they say to `plain`. All of
 * them are taken. Errors, after which only what stands in tls_stream_out() (an alert) may still be
 * sent:
 *   -EPIPE         the peer has ended it
 *   RFS_EIDENTITY  we do not take its certificate, or it does not take ours
 *   RFS_EPROTO     anything else that is no TLS 1.3 */
int tls_stream_take(struct tls_stream *s, const void *p, size_t n, struct buf *plain,
                    struct rfs_err *err);

/* Both ends have shown and checked certificates: tls_stream_peer() and tls_stream_seal() may be
 * called. */
bool tls_stream_is_ready(const struct tls_stream *s);
/* Who the peer is; NULL with RFS_EIDENTITY and a sentence if its certificate, though good, names
 * nobody. */
const struct cert_name *tls_stream_peer(const struct tls_stream *s, struct rfs_err *err);

/* Append all of `plain` to tls_stream_out(), as records, and empty it. RFS_EPROTO. */
int tls_stream_seal(struct tls_stream *s, struct buf *plain, struct rfs_err *err);

/* What is to be sent; whoever sends it consumes it, or takes the whole by swapping buffers. */
struct buf *tls_stream_out(struct tls_stream *s);

#define TLS_PROBE_BYTES 3u
/* Whether a connection begins like TLS, by its first bytes: a ClientHello's record is 22 3 1…4, and
 * a frame that begins so would be longer than any hello (src/wire/frame.h). */
enum tls_guess { TLS_GUESS_UNKNOWN, TLS_GUESS_YES, TLS_GUESS_NO };
enum tls_guess tls_guess(const uint8_t *p, size_t n);

#endif

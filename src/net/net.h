/* Connections: libuv TCP that carries whole frames, opened by a hello that checks protocol version,
 * cluster and node. What is sent gathers in the connection and leaves with net_conn_flush(), once a
 * turn of the loop.
 *
 * Life: a connection ends exactly once with on_close, never from inside a call on it; after
 * on_close the pointer is dead. The owner asks for the end with net_conn_close(). Thread: the
 * loop's. */
#ifndef RFS_NET_NET_H
#define RFS_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "../base/buf.h"
#include "../base/err.h"
#include "../tls/context.h"
#include "../wire/codec.h"
#include "../wire/frame.h"

struct net_conn;
struct net_listener;

/* Who we are, for hellos. Borrowed as long as connections or listeners live. */
struct net_identity {
	char cluster[64]; /* "": a client that takes whatever cluster answers */
	uint64_t node_id; /* 0: a client */
	uint64_t incarnation;
	/* Protocol versions spoken here; 0: WIRE_VERSION_MIN and WIRE_VERSION_MAX. `peer_version_min`
	 * is what another node must speak at least (the cluster's version), clients need not; it may be
	 * raised at any time and counts for hellos from then on. */
	uint32_t version_max, peer_version_min;
	char address[WIRE_TEXT_MAX]; /* a node: where others can dial it */
	/* What connections are encrypted and peers known by; borrowed. NULL: plain TCP, and who says
	 * that he is somebody is believed. With it:
	 *   who is dialled must show a certificate of a node of our own certificate's cluster, and
	 *   of the one that is meant; who dials, one of that cluster; and who says in its hello that
	 *   it is a node, that node's. All else ends with RFS_EIDENTITY. */
	struct tls_context *tls;
	/* A word on the node at the other end, before it is answered or believed: 0, or a code with the
	 * sentence that the peer is told. NULL: anybody. Not called for clients. */
	int (*judge)(void *ctx, uint64_t peer_id, uint64_t peer_incarnation, struct rfs_err *err);
	void *judge_ctx;
};

struct net_handler {
	/* The hello is done: frames may be sent and will come. `peer_id` 0: a client. */
	void (*on_ready)(struct net_conn *c, uint64_t peer_id, uint64_t peer_incarnation);
	/* A whole, checked frame. Borrowed during the call. May close the connection. */
	void (*on_frame)(struct net_conn *c, const struct frame *f);
	/* The end, with the reason; err->code is 0 after net_conn_close() and net_listener_close();
	 * else err->msg begins with the peer's name: -ECONNREFUSED, -EHOSTUNREACH (also: name not
	 * found), -ETIMEDOUT, RFS_EIDENTITY, RFS_EVERSION, RFS_EPROTO, RFS_ECORRUPT, -ENOBUFS,
	 * -ECONNRESET, -EPIPE (the peer closed) … A dialled connection always gets it, even if
	 * on_ready never was; an accepted one only after on_ready: those that fail before are
	 * logged, with address and reason, at most a few lines a second. */
	void (*on_close)(struct net_conn *c, const struct rfs_err *err);
};

/* Bytes that went through connections. */
struct net_traffic {
	uint64_t received, sent;
};

struct net_limits {
	uint32_t connect_timeout_ms; /* dial and hello together; also an accepted one's hello */
	size_t queue_bytes_max; /* unsent bytes, at a flush, that end the connection: -ENOBUFS */
	unsigned conns_max; /* accepted connections of a listener; beyond it they are closed at once
	                     */
	struct net_traffic *traffic; /* where bytes are counted; borrowed; NULL: nowhere */
	/* Under TLS, accepted connections of a listener that have not shown yet who they are; beyond it
	 * the one that has taken longest gives way. */
	unsigned handshakes_max;
};

#define NET_LIMITS_DEFAULT ((struct net_limits){2000, 64u << 20, 4096, NULL, 256})

/* Dial. `to_node` 0: whoever answers. Name lookup is asynchronous; every address of a name is
 * tried. The connection is valid at once, until on_close. Never fails here: failures come through
 * on_close, never from inside this call. handler, identity, limits: borrowed. */
struct net_conn *net_dial(uv_loop_t *loop, const struct net_identity *self,
                          const struct net_limits *limits, const char *host, uint16_t port,
                          uint64_t to_node, const struct net_handler *handler, void *ctx);

void *net_conn_ctx(const struct net_conn *c);
void net_conn_set_ctx(struct net_conn *c, void *ctx);
const char *net_conn_name(const struct net_conn *c); /* "127.0.0.1:7001", for messages */
uint64_t net_conn_peer_id(const struct net_conn *c); /* after on_ready */
/* Where the dialling node says that it can be dialled; "" if it did not say. Accepted ones, after
 * on_ready. */
const char *net_conn_peer_address(const struct net_conn *c);
bool net_conn_is_ready(const struct net_conn *c);
/* What its certificate lets the peer do; everything (CERT_NODE) on a plain one. After on_ready. */
enum cert_role net_conn_role(const struct net_conn *c);
/* "client alice of cluster demo, 127.0.0.1:7001", for messages; on a plain one the address alone. */
const char *net_conn_who(const struct net_conn *c);
bool net_conn_is_plain(const struct net_conn *c); /* no TLS */
/* What both ends speak, from on_ready on. Send nothing that came with a later version:
 * frame_version(), fs_op_protocol(). */
uint32_t net_conn_version(const struct net_conn *c);

/* The buffer to append whole frames to (wire_put_*). It leaves at the next flush. From on_ready
 * until on_close; on a connection that is ending, what is appended goes nowhere. */
struct buf *net_conn_out(struct net_conn *c);
/* Hand what has gathered to the kernel: a try-write first, the rest as one uv_write. Calls nobody
 * back. */
void net_conn_flush(struct net_conn *c);
size_t net_conn_queued(const struct net_conn *c); /* bytes not yet taken by the kernel */
/* Stop or resume reading: backpressure towards a client that asks too much. While paused there is
 * no on_frame; after a resume they come from a later turn of the loop, in order. */
void net_conn_pause(struct net_conn *c, bool paused);
/* End it: no on_frame any more, on_close from a later turn. What the kernel has not taken is
 * dropped. */
void net_conn_close(struct net_conn *c);

/* Listen on host:port (host "": all IPv4 addresses; a name: its first address that is ours, looked
 * up blocking; port 0: any free one). Accepted connections get `handler` and `ctx` from on_ready
 * on. Errors: -EADDRINUSE, -EADDRNOTAVAIL, -EHOSTUNREACH (name not found) … with the address in the
 * sentence; then nothing is left in the loop. */
int net_listen(struct net_listener **out, uv_loop_t *loop, const struct net_identity *self,
               const struct net_limits *limits, const char *host, uint16_t port,
               const struct net_handler *handler, void *ctx, struct rfs_err *err);
uint16_t net_listener_port(const struct net_listener *l);
/* Stop listening and close every accepted connection (each gets its on_close); `done` fires when
 * the last is gone, never from inside this call. Takes `l`. */
void net_listener_close(struct net_listener *l, void (*done)(void *ctx), void *ctx);

/* A peer that closes must not kill us: ignore SIGPIPE unless the program has a handler of its own.
 * net_dial() and net_listen() call it. */
void net_ignore_sigpipe(void);

/* Waiting times between attempts to reconnect: each drawn between half and the whole of a span that
 * doubles from min to max, never below min. */
struct net_backoff {
	uint32_t min_ms, max_ms, next_ms;
	uint64_t rng;
};
void net_backoff_init(struct net_backoff *b, uint32_t min_ms, uint32_t max_ms, uint64_t seed);
void net_backoff_reset(struct net_backoff *b);
uint32_t net_backoff_next(struct net_backoff *b);

#endif

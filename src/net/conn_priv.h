/* Inside of a connection, shared by the files of this folder.
 *
 * States of a dialled one: LOOKUP, CONNECTING (once for every address of the name), HANDSHAKE (under
 * TLS), HELLO, READY, CLOSING; of an accepted one: HANDSHAKE (where TLS may come), HELLO, READY or
 * REFUSING (the refusal is on its way), CLOSING.
 * CLOSING is entered once, by conn_end(), which closes both handles; the close callback of the last
 * one tells the owner and frees. */
#ifndef RFS_NET_CONN_PRIV_H
#define RFS_NET_CONN_PRIV_H

#include <sys/socket.h>
#include "../tls/stream.h"
#include "net.h"

#define CONN_MAGIC     0x636f6e6eu
#define LISTENER_MAGIC 0x6c697374u
#define LOOKUP_MAGIC   0x6c6f6f6bu

#define NET_NAME_BYTES 300u /* a host name of 255 bytes, brackets, colon, port */

enum conn_state {
	CONN_LOOKUP,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_HELLO,
	CONN_REFUSING,
	CONN_READY,
	CONN_CLOSING,
};

struct net_conn {
	uint32_t magic;
	enum conn_state state;
	uv_loop_t *loop;
	const struct net_identity *self;
	const struct net_limits *limits;
	const struct net_handler *handler;
	void *ctx;
	char name[NET_NAME_BYTES];
	uint64_t to_node, peer_id, peer_incarnation;
	uint32_t version;                 /* agreed on */
	char peer_address[WIRE_TEXT_MAX]; /* from its hello */
	struct rfs_err why;               /* why it ended, or is about to */

	/* Life. The timer bounds the time to on_ready; then it carries what waits for a later
	 * turn. */
	uv_tcp_t tcp;
	uv_timer_t timer;
	unsigned handles; /* not yet closed */
	bool tcp_closing; /* between two addresses: a close of our own, see dial.c */
	bool was_ready;   /* the owner knows of it */

	/* TLS. NULL: plain, or (in HANDSHAKE) not known yet. */
	struct tls_stream *tls;
	char who[CERT_URI_MAX + NET_NAME_BYTES + 2]; /* its certificate, and `name` */
	bool plain;                                  /* dialled again without */
	bool young;  /* accepted: in the listener's list of those in HANDSHAKE */
	bool queued; /* … whose turn has not come */
	struct net_conn *young_prev, *young_next;

	/* Dialling. */
	struct lookup *lookup;            /* while the name is being looked up */
	struct addrinfo *addrs, *address; /* all found, and the one being tried */
	uint16_t port;
	uv_connect_t connect;
	struct sockaddr_storage again; /* where to, when it is dialled again */

	/* Accepted: whose, and its neighbours. */
	struct net_listener *listener;
	struct net_conn *prev, *next;

	/* Reading: whole and cut frames from in.data on. */
	struct buf in;
	bool reading, paused, heard;

	/* Writing: `out` gathers; `sending` belongs to the one uv_write that may be under way. */
	struct buf out, sending;
	uv_write_t write;
	bool writing;
};

/* ---- conn.c ---- */

struct net_conn *conn_new(uv_loop_t *loop, const struct net_identity *self,
                          const struct net_limits *limits, const struct net_handler *handler,
                          void *ctx);
/* The socket is connected: set its options, start to read, expect a hello. */
void conn_start(struct net_conn *c);
/* What comes from now on is frames, of which the first is a hello. */
void conn_expect_hello(struct net_conn *c);
/* Bytes that came under TLS. */
void conn_take_records(struct net_conn *c, const void *p, size_t n);
/* on_ready, from the read callback. */
void conn_ready(struct net_conn *c, uint32_t version, uint64_t peer_id, uint64_t peer_incarnation);
void conn_read_on(struct net_conn *c);
void conn_read_off(struct net_conn *c);
/* Write what has gathered, in any state but CLOSING. */
void conn_write_out(struct net_conn *c);
/* End it; `why` NULL: as asked. What was not written is dropped. Without effect on one that is
 * ending. */
void conn_end(struct net_conn *c, const struct rfs_err *why);
/* End it with "name: sentence". */
void conn_fail(struct net_conn *c, int code, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

/* Close callback of both handles. */
void conn_on_handle_closed(uv_handle_t *handle);

/* ---- hello.c ---- */

#define HELLO_BYTES_MAX 65536u /* longer frames are not read from somebody we do not know */

void hello_send(struct net_conn *c);
/* The first frame: the dialler's hello or the answer to ours. */
void hello_take(struct net_conn *c, const struct frame *f);

/* Answer in the clear, without saying who we are, that this is no place for plain connections. */
void hello_refuse_plain(struct net_conn *c);

/* ---- handshake.c ---- */

/* The socket is connected, and we are to speak TLS. */
void handshake_begin(struct net_conn *c);
/* In HANDSHAKE: something has come. */
void handshake_go_on(struct net_conn *c);
/* An accepted one that begins like TLS, now that its turn has come. */
void handshake_accept(struct net_conn *c);
/* The connection broke in HANDSHAKE: true if it is dialled again, without TLS. */
bool handshake_again(struct net_conn *c);

/* ---- dial.c ---- */

/* The address that is connected, once more. */
void dial_again(struct net_conn *c);

/* Give up a lookup that is under way; give back the addresses. */
void dial_release(struct net_conn *c);

/* ---- listen.c ---- */

/* An accepted connection is gone; after it `c` is out of the listener's list. */
void listener_forget(struct net_conn *c);
/* It has begun, or (also if it had not) ended to tell who it is. */
void listener_add_young(struct net_conn *c);
void listener_drop_young(struct net_conn *c);
/* Whether its handshake, which costs us more than the peer, may begin now; else it is begun by
 * handshake_accept() later. */
bool listener_may_shake(struct net_conn *c);
void listener_spent(struct net_conn *c, uint64_t ns); /* on its handshake */

/* ---- addr.c ---- */

/* Whether `host` is a literal IPv4 or IPv6 address; then with `port` in *addr. */
bool addr_parse(const char *host, uint16_t port, struct sockaddr_storage *addr);
/* "127.0.0.1:7001", "[::1]:7001" */
void addr_name(const struct sockaddr *addr, char *name, size_t size);
void addr_name_of(const char *host, uint16_t port, char *name, size_t size);
void addr_set_port(struct sockaddr *addr, uint16_t port);
uint16_t addr_get_port(const struct sockaddr *addr);

#endif

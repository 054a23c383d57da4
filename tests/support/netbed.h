/* A loop with one listener and any number of connections to it, each end of which notes what
 * happens to it. Raw sockets stand in for peers that keep no rule. */
#ifndef RFS_TESTS_SUPPORT_NETBED_H
#define RFS_TESTS_SUPPORT_NETBED_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include "../../src/net/net.h"

#define BED_ENDS_MAX 16

/* One end of a connection: the dialler's or the listener's. */
struct end {
	struct net_conn *conn; /* NULL after on_close */
	unsigned ready, closed, frames;
	uint64_t peer_id, peer_incarnation;
	uint64_t bytes; /* of payloads */
	uint16_t last_type;
	bool in_order; /* every payload began with its number, from 0 */
	bool pause_at_ready;
	unsigned pause_at, close_at; /* do so inside on_frame of that number; 0: never */
	struct rfs_err why;
};

struct bed {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct net_identity node, dialler; /* node 1 and client of cluster "demo" */
	struct net_limits limits;
	struct net_listener *listener;
	uint16_t port;
	struct end accepted[BED_ENDS_MAX], dialled[BED_ENDS_MAX];
	unsigned n_accepted, n_dialled;
	bool listener_done;
};

extern struct bed bed;
extern const struct net_handler bed_accept_handler, bed_dial_handler;

void bed_setup(void);    /* loop and listener on 127.0.0.1 */
void bed_teardown(void); /* closes everything; fails if anything is left in the loop */
void bed_close_listener(void);

/* Dial the listener; `to_node` 0: whoever. */
struct end *bed_dial(uint64_t to_node);
struct end *bed_dial_to(const char *host, uint16_t port, uint64_t to_node);
/* One connection, ready at both ends. */
void bed_connect(struct end **dialled, struct end **accepted);

/* Run the loop until `cond` holds; fails after ten seconds, or when nothing can make it hold any
 * more. */
#define BED_UNTIL(cond)                                                                            \
	do {                                                                                       \
		bool alive_ = true;                                                                \
		while (!(cond)) {                                                                  \
			ck_assert_msg(alive_, "nothing left to wait for: %s", #cond);              \
			alive_ = uv_run(&bed.loop, UV_RUN_ONCE) != 0;                              \
		}                                                                                  \
	} while (0)
/* Turns of the loop without waiting: whatever could happen by now has happened. */
void bed_settle(void);

/* Append a frame of `n` bytes, at least 4, that begins with `number`. */
void bed_put_frame(struct buf *b, uint32_t number, size_t n);

/* ---- raw sockets ---- */

int raw_connect(void);          /* to the listener; blocking for writes */
int raw_listen(uint16_t *port); /* somebody else's node */
int raw_accept(int fd);         /* waits, turning the loop */
void raw_send(int fd, const void *p, size_t n);
void raw_send_buf(int fd, struct buf *b); /* and empties it */
/* Read what comes until the peer closes (true) or `until` bytes are there; turns the loop. */
bool raw_read(int fd, struct buf *b, size_t until);
/* A raw connection that has said a good hello and read the answer. */
int raw_client(void);

#endif

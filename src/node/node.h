/* A Raft server: the only place where consensus, log, state machine and network meet.
 *
 * raftd runs one, and so does raftfs with --id or without a cluster. Everything happens on the
 * loop's thread; the log's writer thread only says "done". Each turn of the loop takes all input
 * that is ready, steps the core, applies what is committed, and flushes once. */
#ifndef RFS_NODE_NODE_H
#define RFS_NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "../base/err.h"
#include "../config/config.h"

struct node;

struct node_opts {
	const struct config *config; /* copied */
	raft_id id;
	const char *data_dir; /* NULL: <data_directory>/<id> of the configuration */
	/* "HOST:PORT" to listen on, which is what the others dial; NULL: as the membership says, or
	 * else the configuration. */
	const char *listen;
	/* "HOST:PORT" to serve metrics and the page on; NULL: as the configuration says, if it does. */
	const char *metrics;
	/* What connections are encrypted and others known by; borrowed until it has stopped. NULL: plain. */
	struct tls_context *tls;
	/* The server is none of the founders: it waits to be added, whatever the configuration
	 * lists. */
	bool join;
	/* The node can go on no longer (disk failure, corruption found late): the process must end.
	 * After it, only node_stop() may be called. */
	void (*on_fatal)(void *ctx, const struct rfs_err *err);
	/* Who leads is known now, or (0) not any more. From inside the node, which must not be
	 * called. May be NULL. */
	void (*on_leader)(void *ctx, raft_id leader);
	void *ctx;
};

/* Open the data directory, recover, listen, dial the peers. Blocks while recovering.
 * Errors: RFS_ECONFIG (id not in the file, and not known from the membership either), RFS_EIDENTITY, RFS_ECORRUPT, -EBUSY (directory in use),
 * -EADDRINUSE, -errno. */
int node_start(struct node **out, uv_loop_t *loop, const struct node_opts *opts,
               struct rfs_err *err);

/* Stop cleanly: what is in the log's queue is written, the store is flushed. `stopped` fires when
 * every handle of the node is closed. Takes `n`. */
void node_stop(struct node *n, void (*stopped)(void *ctx), void *ctx);

uint16_t node_port(const struct node *n); /* the port it listens on */

#endif

/* What a client that the test plays never answers: what .raft/ and -o notify ask for. */
#ifndef RFS_TESTS_FUSE_CLIENT_H
#define RFS_TESTS_FUSE_CLIENT_H

#include "../../src/client/client.h"

void client_status(struct client *c, const struct config_node *node, uint64_t timeout_ms,
                   client_status_cb cb, void *ctx)
{
	(void)c;
	(void)node;
	(void)timeout_ms;
	(void)cb;
	(void)ctx;
}

void client_recent(struct client *c, uint32_t most, uint64_t timeout_ms, client_recent_cb cb,
                   void *ctx)
{
	(void)c;
	(void)most;
	(void)timeout_ms;
	(void)cb;
	(void)ctx;
}

struct client_watch *client_watch(struct client *c, const struct client_watch_opts *opts,
                                  client_watch_cb cb, void *ctx)
{
	(void)c;
	(void)opts;
	(void)cb;
	(void)ctx;
	return NULL;
}

void client_watch_end(struct client_watch *w)
{
	(void)w;
}

uint64_t client_session(const struct client *c)
{
	(void)c;
	return 0;
}

#endif

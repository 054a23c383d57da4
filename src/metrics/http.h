/* A small HTTP server on the loop: GET and HEAD of a few paths, answered at once. libmicrohttpd
 * without a thread of its own, its epoll descriptor polled by libuv. Thread: the loop's. */
#ifndef RFS_METRICS_HTTP_H
#define RFS_METRICS_HTTP_H

#include <stdint.h>
#include <uv.h>
#include "../base/buf.h"
#include "../base/err.h"

#define HTTP_CONNECTIONS_MAX 64u
#define HTTP_IDLE_SECONDS    30u

struct http;

struct http_request {
	const char *path;   /* "/metrics" */
	const char *origin; /* of the page that asks; "" if none */
	void *connection;   /* for http_query() */
};

/* The value of ?name=, "" if there is none. Borrowed during the call. */
const char *http_query(const struct http_request *rq, const char *name);

struct http_answer {
	unsigned status;          /* 200 unless set */
	const char *type;         /* of the body; text/plain unless set */
	const char *policy;       /* Content-Security-Policy; NULL */
	const char *allow_origin; /* Access-Control-Allow-Origin; NULL */
	struct buf body;
};

/* Fill in `a`, which comes empty. What its pointers point to is read before the loop's next turn. */
typedef void (*http_serve)(void *ctx, const struct http_request *rq, struct http_answer *a);

/* Listen on host:port, `host` a name or an address. Errors: -errno with a sentence. */
int http_start(struct http **out, uv_loop_t *loop, const char *host, uint16_t port,
               http_serve serve, void *ctx, struct rfs_err *err);
/* Connections end at once; `stopped` fires from a later turn. Takes `h`. */
void http_stop(struct http *h, void (*stopped)(void *ctx), void *ctx);

#endif

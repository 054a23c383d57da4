#include "web.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "../metrics/events.h"
#include "../metrics/expo.h"

#define SECOND_MS 1000u
#define MARGIN_MS 5u /* a timer may fire a millisecond early */

/* metrics/page.html, put into the program by the Makefile. */
extern const char _binary_src_metrics_page_html_start[], _binary_src_metrics_page_html_end[];

/* ---- facts ---- */

void web_address_of(const struct config_node *node, char out[WEB_ADDRESS_MAX])
{
	out[0] = '\0';
	if (node->metrics_port != 0)
		config_format_endpoint(config_host_is_any(node->metrics_host) ? node->host
		                                                              : node->metrics_host,
		                       node->metrics_port, out, WEB_ADDRESS_MAX);
}

bool web_is_ready(const struct node *n)
{
	struct raft_status st;

	raft_get_status(n->raft, &st);
	return !n->failed && !n->stopping && st.leader != 0;
}

struct web_disk web_disk_of(const struct node *n)
{
	struct statvfs st;

	if (statvfs(n->data_dir, &st) != 0)
		return (struct web_disk){0};
	return (struct web_disk){st.f_bavail * st.f_frsize, st.f_blocks * st.f_frsize};
}

/* ---- paths ---- */

/* The pages of the other nodes may ask this one, nobody else's: what other sites a browser has open
 * are not to see the cluster. */
static const char *allowed_origin(const struct node *n, const char *origin)
{
	char address[WEB_ADDRESS_MAX], local[WEB_ADDRESS_MAX];
	const char *from = strncmp(origin, "http://", 7) == 0 ? origin + 7 : "";

	for (size_t i = 0; from[0] != '\0' && i < n->config.n_nodes; i++) {
		web_address_of(&n->config.nodes[i], address);
		(void)snprintf(local, sizeof(local), "localhost:%u",
		               (unsigned)n->config.nodes[i].metrics_port);
		if (strcmp(from, address) == 0 ||
		    (strncmp(address, "127.0.0.1:", 10) == 0 && strcmp(from, local) == 0))
			return origin;
	}
	return NULL;
}

/* No resource from anywhere, and connections to the cluster's nodes alone. */
static const char *page_policy(const struct node *n, char *out, size_t size)
{
	char address[WEB_ADDRESS_MAX];
	size_t used;

	used = (size_t)snprintf(out, size,
	                        "default-src 'none'; style-src 'unsafe-inline'; script-src "
	                        "'unsafe-inline'; img-src data:; base-uri 'none'; form-action "
	                        "'none'; frame-ancestors 'none'; connect-src 'self'");
	for (size_t i = 0; i < n->config.n_nodes && used + WEB_ADDRESS_MAX + 8 < size; i++) {
		web_address_of(&n->config.nodes[i], address);
		if (address[0] != '\0')
			used += (size_t)snprintf(out + used, size - used, " http://%s", address);
	}
	return out;
}

static void serve_ready(struct node *n, struct http_answer *a)
{
	if (web_is_ready(n)) {
		buf_printf(&a->body, "ready: %s\n", raft_role_name(n->role));
		return;
	}
	a->status = 503;
	buf_printf(&a->body, "not ready: no leader is known; a majority of the nodes must be up\n");
}

static void serve_page(struct node *n, struct http_answer *a)
{
	static char policy[8192];
	const char *from = _binary_src_metrics_page_html_start;

	a->type = "text/html; charset=utf-8";
	a->policy = page_policy(n, policy, sizeof(policy));
	buf_put(&a->body, from, (uintptr_t)_binary_src_metrics_page_html_end - (uintptr_t)from);
}

static void serve_web(void *ctx, const struct http_request *rq, struct http_answer *a)
{
	struct node_web *w = ctx;
	struct node *n = w->node;

	if (strcmp(rq->path, "/health") == 0) {
		a->status = n->failed ? 503 : 200;
		buf_printf(&a->body, n->failed ? "failed\n" : "ok\n");
	} else if (n->failed || n->stopping) {
		a->status = 503;
		buf_printf(&a->body, n->failed ? "failed\n" : "stopping\n");
	} else if (strcmp(rq->path, "/") == 0) {
		serve_page(n, a);
	} else if (strcmp(rq->path, "/api/status") == 0) {
		a->type = "application/json";
		a->allow_origin = allowed_origin(n, rq->origin);
		report_status(w, strtoull(http_query(rq, "since"), NULL, 10),
		              strtoull(http_query(rq, "events"), NULL, 10), &a->body);
	} else if (strcmp(rq->path, "/metrics") == 0) {
		a->type = EXPO_CONTENT_TYPE;
		report_metrics(n, &a->body);
	} else if (strcmp(rq->path, "/ready") == 0) {
		serve_ready(n, a);
	} else {
		a->status = 404;
		buf_printf(&a->body,
		           "not here; there are /, /metrics, /health, /ready, /api/status\n");
	}
}

/* ---- samples ---- */

static void on_second(uv_timer_t *t);

/* At the beginning of each second of the clock, so that all nodes' seconds are the same ones. */
static void await_second(struct node_web *w)
{
	uint64_t into_ms = clock_real_ns() / 1000000u % SECOND_MS;

	(void)uv_timer_start(&w->second, on_second, SECOND_MS + MARGIN_MS - into_ms, 0);
}

static void on_second(uv_timer_t *t)
{
	struct node_web *w = t->data;
	struct node *n = w->node;
	uint64_t now_ms = clock_mono_ms();
	struct history_totals now = {
	        .writes = n->counts.commit.count,
	        .reads = n->counts.read.count + n->counts.local_reads,
	        .bytes = n->counts.change_bytes,
	        .commit = n->counts.commit,
	        .read = n->counts.read,
	};

	if (n->failed || n->stopping)
		return;
	await_second(w);
	wal_get_syncs(n->wal, &now.sync);
	history_take(&w->history, &now, clock_real_ns() / 1000000000u, now_ms - w->sampled_ms);
	w->sampled_ms = now_ms;
}

/* ---- life ---- */

int web_start(struct node *n, struct rfs_err *err)
{
	char address[WEB_ADDRESS_MAX];
	struct node_web *w;
	int rc;

	if (n->self.metrics_port == 0)
		return 0;
	w = mem_zalloc(sizeof(*w));
	w->node = n;
	w->sampled_ms = clock_mono_ms();
	rc = http_start(&w->http, n->loop, n->self.metrics_host, n->self.metrics_port, serve_web, w,
	                err);
	if (rc != 0) {
		free(w);
		return rc;
	}
	events_listen();
	(void)uv_timer_init(n->loop, &w->second);
	w->second.data = w;
	await_second(w);
	n->web = w;
	web_address_of(&n->self, address);
	log_info("metrics and a page at http://%s/", address);
	return 0;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct node_web *w = h->data;
	struct node *n = w->node;

	free(w);
	node_closed_one(n);
}

static void on_http_stopped(void *ctx)
{
	struct node_web *w = ctx;

	uv_close((uv_handle_t *)&w->second, on_timer_closed);
}

void web_stop(struct node *n)
{
	if (n->web == NULL)
		return;
	n->closing++;
	(void)uv_timer_stop(&n->web->second);
	http_stop(n->web->http, on_http_stopped, n->web);
	n->web = NULL;
}

/* What a node tells over HTTP, to people, Prometheus and load balancers:
 *
 *   /            the page: the cluster as it is (metrics/page.html)
 *   /api/status  what the page draws, as JSON; ?since=SECOND&events=MS leave out what is older
 *   /metrics     Prometheus
 *   /health      200 while the process can go on
 *   /ready       200 while the node leads or follows a leader, else 503 with the reason
 *
 * Nothing here waits for consensus. web.c: the server and its paths. report.c: Prometheus' text.
 * report_json.c: JSON. */
#ifndef RFS_NODE_WEB_H
#define RFS_NODE_WEB_H

#include "node_priv.h"
#include "../metrics/history.h"
#include "../metrics/http.h"

struct node_web {
	struct node *node;
	struct http *http;
	uv_timer_t second;
	uint64_t sampled_ms;
	struct history history;
};

/* "host:port" under which others find node's metrics; "" if it serves none. */
#define WEB_ADDRESS_MAX (CONFIG_HOST_MAX + 16)
void web_address_of(const struct config_node *node, char out[WEB_ADDRESS_MAX]);

/* Whether it leads or follows a leader. */
bool web_is_ready(const struct node *n);

struct web_disk {
	uint64_t free_bytes, size_bytes;
};
struct web_disk web_disk_of(const struct node *n);

void report_metrics(struct node *n, struct buf *out);
void report_status(struct node_web *w, uint64_t since_s, uint64_t events_after_ms, struct buf *out);

#endif

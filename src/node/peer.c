/* Connections to the other servers. Each server dials every other one and sends over what it
 * dialled; what it receives comes in over what the others dialled. So no two servers have to agree
 * on whose connection counts. */
#include "node_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"

#define PEER_MAGIC       0x70656572u
#define PEER_RETRY_MIN   20u
#define PEER_RETRY_ALIEN 3000u /* refused by name: nothing changes soon */
#define PEER_RETRY_MAX   500u

static const struct net_handler peer_handler;

static struct node_peer *peer_of(struct net_conn *c)
{
	struct node_peer *p = net_conn_ctx(c);

	RFS_MAGIC_CHECK(p, PEER_MAGIC);
	return p;
}

static void peer_dial(struct node_peer *p)
{
	struct node *n = p->node;

	p->net = net_dial(n->loop, &n->identity, &n->limits, p->host, p->port, p->id, &peer_handler,
	                  p);
}

static void on_retry(uv_timer_t *t)
{
	struct node_peer *p = t->data;

	RFS_MAGIC_CHECK(p, PEER_MAGIC);
	if (p->net == NULL && !p->node->stopping)
		peer_dial(p);
}

static void peer_on_ready(struct net_conn *c, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct node_peer *p = peer_of(c);

	(void)peer_incarnation;
	rfs_check(peer_id == p->id);
	p->up = true;
	p->complained = false;
	net_backoff_reset(&p->backoff);
	log_info("node %llu up at %s, protocol version %u", (unsigned long long)p->id, p->address,
	         net_conn_version(c));
}

static void peer_on_frame(struct net_conn *c, const struct frame *f)
{
	struct node_peer *p = peer_of(c);

	log_warn("node %llu at %s sent a frame of type %u where none was asked for; closing",
	         (unsigned long long)p->id, p->address, f->type);
	net_conn_close(c);
}

static void peer_on_close(struct net_conn *c, const struct rfs_err *err)
{
	struct node_peer *p = peer_of(c);
	struct node *n = p->node;
	bool was_up = p->up;

	p->net = NULL;
	p->up = p->dirty = false;
	if (n->stopping) {
		node_closed_one(n);
		return;
	}
	if (was_up) {
		log_warn("node %llu down: %s", (unsigned long long)p->id,
		         err->code != 0 ? err->msg : "connection closed");
		node_step(n, &(struct raft_event){.kind = RAFT_EV_PEER_DOWN, .peer = p->id});
	} else if (!p->complained) {
		log_warn("node %llu is not reachable: %s", (unsigned long long)p->id, err->msg);
		p->complained = true;
	}
	(void)uv_timer_start(&p->retry, on_retry,
	                     err->code == RFS_EIDENTITY || err->code == RFS_EVERSION
	                             ? PEER_RETRY_ALIEN
	                             : net_backoff_next(&p->backoff),
	                     0);
}

static const struct net_handler peer_handler = {
        .on_ready = peer_on_ready,
        .on_frame = peer_on_frame,
        .on_close = peer_on_close,
};

void peers_start(struct node *n)
{
	size_t at = 0;

	n->peers = mem_calloc(n->config.n_nodes, sizeof(*n->peers));
	for (size_t i = 0; i < n->config.n_nodes; i++) {
		const struct config_node *cn = &n->config.nodes[i];
		struct node_peer *p = &n->peers[at];

		if (cn->id == n->id)
			continue;
		RFS_MAGIC_SET(p, PEER_MAGIC);
		p->node = n;
		p->id = cn->id;
		memcpy(p->host, cn->host, sizeof(p->host));
		p->port = cn->port;
		config_format_endpoint(cn->host, cn->port, p->address, sizeof(p->address));
		net_backoff_init(&p->backoff, PEER_RETRY_MIN, PEER_RETRY_MAX, clock_random_u64());
		(void)uv_timer_init(n->loop, &p->retry);
		p->retry.data = p;
		at++;
	}
	n->n_peers = at;
	for (size_t i = 0; i < n->n_peers; i++)
		peer_dial(&n->peers[i]);
}

static void retry_closed(uv_handle_t *h)
{
	struct node_peer *p = h->data;

	node_closed_one(p->node);
}

void peers_stop(struct node *n)
{
	for (size_t i = 0; i < n->n_peers; i++) {
		struct node_peer *p = &n->peers[i];

		if (p->net != NULL) {
			n->closing++;
			net_conn_close(p->net);
		}
		n->closing++;
		uv_close((uv_handle_t *)&p->retry, retry_closed);
	}
}

struct node_peer *peer_by_id(struct node *n, raft_id id)
{
	for (size_t i = 0; i < n->n_peers; i++)
		if (n->peers[i].id == id)
			return &n->peers[i];
	return NULL;
}

/* Fetch the entries that an AppendEntries names from the log. They are there: the core speaks of
 * its log as it is now, and the log has been told of every change before any message. */
static bool fill_entries(struct node *n, struct raft_msg *m)
{
	struct rfs_err err = {0};
	ssize_t got;

	n->scratch = mem_grow(n->scratch, &n->scratch_cap, m->n, sizeof(*n->scratch));
	got = wal_read(n->wal, m->first, m->n, UINT64_MAX, n->scratch, &err);
	if (got < 0) {
		node_fail(n, &err);
		return false;
	}
	rfs_check((size_t)got == m->n);
	m->entries = n->scratch;
	return true;
}

void peer_send(struct node *n, const struct raft_msg *m)
{
	struct node_peer *p = peer_by_id(n, m->to);
	struct raft_msg full = *m;

	/* A message to a server that cannot be reached is lost, as on any network. */
	if (p == NULL || !p->up)
		return;
	if (full.kind == RAFT_MSG_APPEND && full.n > 0 && !fill_entries(n, &full))
		return;
	wire_put_raft(net_conn_out(p->net), &full);
	p->dirty = true;
}

void peers_flush(struct node *n)
{
	for (size_t i = 0; i < n->n_peers; i++) {
		struct node_peer *p = &n->peers[i];

		if (!p->dirty)
			continue;
		p->dirty = false;
		if (p->up)
			net_conn_flush(p->net);
	}
}

/* Connections to the other servers. Each server dials every other one and sends over what it
 * dialled; what it receives comes in over what the others dialled. So no two servers have to agree
 * on whose connection counts.
 *
 * Who is dialled follows the membership (member.c). Somebody else who has dialled us is dialled
 * back when there is an answer for him, at the address that his hello gave: a leader whom a server
 * that was just added does not know yet, or a server that does not know yet that it was removed. */
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

/* ---- life ---- */

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

struct node_peer *peer_add(struct node *n, raft_id id, const char *address)
{
	struct node_peer *p = mem_zalloc(sizeof(*p));

	if (id == 0 || id == n->id || config_parse_endpoint(address, p->host, &p->port) != 0) {
		log_warn("node %llu: \"%s\" is no address to dial", (unsigned long long)id,
		         address);
		free(p);
		return NULL;
	}
	RFS_MAGIC_SET(p, PEER_MAGIC);
	p->node = n;
	p->id = id;
	(void)snprintf(p->address, sizeof(p->address), "%s", address);
	net_backoff_init(&p->backoff, PEER_RETRY_MIN, PEER_RETRY_MAX, clock_random_u64());
	(void)uv_timer_init(n->loop, &p->retry);
	p->retry.data = p;
	DL_APPEND(n->peers, p);
	peer_dial(p);
	return p;
}

void peer_is_back(struct node *n, raft_id id)
{
	struct node_peer *p = peer_by_id(n, id);

	if (p != NULL && p->net == NULL)
		(void)uv_timer_start(&p->retry, on_retry, 0, 0);
}

static void free_if_gone(struct node_peer *p)
{
	struct node *n = p->node;

	if (!p->dropped || p->net != NULL || p->retry.data != NULL)
		return;
	p->magic = 0;
	free(p);
	node_closed_one(n);
}

static void retry_closed(uv_handle_t *h)
{
	struct node_peer *p = h->data;

	h->data = NULL;
	free_if_gone(p);
}

void peer_drop(struct node_peer *p)
{
	struct node *n = p->node;

	rfs_check(!p->dropped);
	DL_DELETE(n->peers, p);
	p->dropped = true;
	p->up = p->dirty = false;
	n->closing++;
	if (p->net != NULL)
		net_conn_close(p->net);
	uv_close((uv_handle_t *)&p->retry, retry_closed);
}

void peers_stop(struct node *n)
{
	while (n->peers != NULL)
		peer_drop(n->peers);
}

struct node_peer *peer_by_id(struct node *n, raft_id id)
{
	struct node_peer *p;

	DL_FOREACH (n->peers, p) {
		if (p->id == id)
			return p;
	}
	return NULL;
}

/* ---- what the connection tells ---- */

static void peer_on_ready(struct net_conn *c, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct node_peer *p = peer_of(c);
	struct node *n = p->node;

	(void)peer_incarnation;
	rfs_check(peer_id == p->id);
	if (p->dropped)
		return;
	p->up = true;
	p->complained = false;
	net_backoff_reset(&p->backoff);
	log_info("node %llu up at %s, protocol version %u%s", (unsigned long long)p->id, p->address,
	         net_conn_version(c),
	         n->tls != NULL && net_conn_is_plain(c) ? ", without TLS" : "");
}

static void peer_on_frame(struct net_conn *c, const struct frame *f)
{
	struct node_peer *p = peer_of(c);

	log_warn("node %llu at %s sent a frame of type %u where none was asked for; closing",
	         (unsigned long long)p->id, p->address, f->type);
	net_conn_close(c);
}

static void tell_closed(struct node_peer *p, bool was_up, const struct rfs_err *err)
{
	if (was_up) {
		log_warn("node %llu down: %s", (unsigned long long)p->id,
		         err->code != 0 ? err->msg : "connection closed");
	} else if (!p->complained) {
		log_warn("node %llu is not reachable: %s", (unsigned long long)p->id, err->msg);
		p->complained = true;
	}
}

static void peer_on_close(struct net_conn *c, const struct rfs_err *err)
{
	struct node_peer *p = peer_of(c);
	struct node *n = p->node;
	bool was_up = p->up;

	p->net = NULL;
	p->up = p->dirty = false;
	if (p->dropped) {
		free_if_gone(p);
		return;
	}
	tell_closed(p, was_up, err);
	if (was_up)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_PEER_DOWN, .peer = p->id});
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

/* ---- sending ---- */

/* Somebody who is no member but has dialled us, and now is to be answered. */
static struct node_peer *dial_back(struct node *n, raft_id id)
{
	struct node_conn *c;
	struct node_peer *p = NULL;

	DL_FOREACH (n->conns, c) {
		if (c->peer_id == id && net_conn_peer_address(c->net)[0] != '\0')
			p = peer_add(n, id, net_conn_peer_address(c->net));
		if (p != NULL)
			return p;
	}
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

struct buf *peer_out(struct node_peer *p)
{
	rfs_check(p->up);
	p->dirty = true;
	return net_conn_out(p->net);
}

void peer_send(struct node *n, const struct raft_msg *m)
{
	struct node_peer *p = peer_by_id(n, m->to);
	struct raft_msg full = *m;

	if (p == NULL)
		p = dial_back(n, m->to);
	if (p != NULL && !p->member)
		p->leave_ms = clock_mono_ms() + NODE_LEAVE_MS;
	/* A message to a server that cannot be reached is lost, as on any network. */
	if (p == NULL || !p->up)
		return;
	if (full.kind == RAFT_MSG_APPEND && full.n > 0 && !fill_entries(n, &full))
		return;
	wire_put_raft(peer_out(p), &full);
}

void peers_flush(struct node *n)
{
	struct node_peer *p;

	DL_FOREACH (n->peers, p) {
		if (!p->dirty)
			continue;
		p->dirty = false;
		if (p->up)
			net_conn_flush(p->net);
	}
}

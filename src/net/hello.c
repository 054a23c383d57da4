/* The first frame each way: do we speak the same protocol, are we of the same cluster, is this the
 * node meant? */
#include <stdio.h>
#include <string.h>
#include "conn_priv.h"

struct versions {
	uint32_t min, max;
};

/* What we speak with a node or with a client. */
static struct versions own_versions(const struct net_identity *self, bool with_node)
{
	struct versions v = {WIRE_VERSION_MIN, WIRE_VERSION_MAX};

	if (self->version_max != 0)
		v.max = self->version_max;
	if (with_node && self->peer_version_min > v.min)
		v.min = self->peer_version_min;
	return v;
}

/* The highest version in both ranges; 0 if there is none. */
static uint32_t common_version(struct versions a, struct versions b)
{
	uint32_t low = a.min > b.min ? a.min : b.min;
	uint32_t high = a.max < b.max ? a.max : b.max;

	return low <= high ? high : 0;
}

/* A dialled server is a node; who dials has said what it is. */
static bool dials_as_node(const struct net_conn *c)
{
	return c->self->node_id != 0;
}

/* A stranger's words end up in our log and on terminals. */
static void make_printable(char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

void hello_send(struct net_conn *c)
{
	struct versions own = own_versions(c->self, dials_as_node(c));
	struct wire_hello h = {
	        .version_min = own.min,
	        .version_max = own.max,
	        .node_id = c->self->node_id,
	        .incarnation = c->self->incarnation,
	        .to_node = c->to_node,
	};

	memcpy(h.cluster, c->self->cluster, sizeof(h.cluster));
	memcpy(h.address, c->self->address, sizeof(h.address));
	wire_put_hello(&c->out, &h);
	conn_write_out(c);
}

static int judge_peer(const struct net_identity *self, uint64_t id, uint64_t incarnation,
                      struct rfs_err *err)
{
	if (self->judge == NULL || id == 0)
		return 0;
	return self->judge(self->judge_ctx, id, incarnation, err);
}

/* ---- certificates ---- */

static int judge_cluster(const struct net_conn *c, const struct cert_name *who, struct rfs_err *err)
{
	const struct cert_name *own = tls_context_name(c->self->tls);

	if (strcmp(who->cluster, own->cluster) == 0)
		return 0;
	return rfs_err_set(err, RFS_EIDENTITY,
	                   "this is cluster \"%s\", and the certificate of the caller of "
	                   "cluster \"%s\"",
	                   own->cluster, who->cluster);
}

/* Nobody is who its certificate does not say. */
static int judge_caller(const struct net_conn *c, uint64_t node_id, struct rfs_err *err)
{
	const struct cert_name *who;
	char text[CERT_URI_MAX];
	int rc;

	if (c->tls == NULL)
		return 0;
	who = tls_stream_peer(c->tls, err);
	if (who == NULL)
		return rfs_err_prefix(err, "the caller's certificate is refused");
	rc = judge_cluster(c, who, err);
	if (rc != 0 || node_id == 0 || (who->role == CERT_NODE && who->node_id == node_id))
		return rc;
	cert_name_describe(who, text);
	return rfs_err_set(
	        err, RFS_EIDENTITY,
	        "the caller says that it is node %llu, and its certificate that it is %s",
	        (unsigned long long)node_id, text);
}

/* ---- accepting side ---- */

/* 0, or what stands against this peer, in words for the peer: "this" is we. */
static int judge_hello(const struct net_conn *c, const struct wire_hello *h, uint32_t *version,
                       struct rfs_err *err)
{
	const struct net_identity *self = c->self;
	const struct versions own = own_versions(self, h->node_id != 0);
	int rc = judge_caller(c, h->node_id, err);

	if (rc != 0)
		return rc;
	*version = common_version(own, (struct versions){h->version_min, h->version_max});
	if (*version == 0 && own.min > WIRE_VERSION_MIN && h->version_max < own.min)
		return rfs_err_set(err, RFS_EVERSION,
		                   "the cluster speaks protocol version %u, the caller %u to %u",
		                   own.min, h->version_min, h->version_max);
	if (*version == 0)
		return rfs_err_set(
		        err, RFS_EVERSION,
		        "this node speaks protocol versions %u to %u, the caller %u to %u", own.min,
		        own.max, h->version_min, h->version_max);
	if (h->cluster[0] != '\0' && strcmp(h->cluster, self->cluster) != 0)
		return rfs_err_set(err, RFS_EIDENTITY,
		                   "this node belongs to cluster \"%s\", the caller to \"%s\"",
		                   self->cluster, h->cluster);
	if (h->to_node != 0 && h->to_node != self->node_id)
		return rfs_err_set(err, RFS_EIDENTITY, "this is node %llu, not node %llu",
		                   (unsigned long long)self->node_id,
		                   (unsigned long long)h->to_node);
	if (h->node_id != 0 && h->node_id == self->node_id)
		return rfs_err_set(err, RFS_EIDENTITY, "this is node %llu, and so says the caller",
		                   (unsigned long long)self->node_id);
	return judge_peer(self, h->node_id, h->incarnation, err);
}

static void answer(struct net_conn *c, uint32_t version, const struct rfs_err *refusal)
{
	struct wire_hello_reply r = {
	        .version = version,
	        .node_id = c->self->node_id,
	        .incarnation = c->self->incarnation,
	        .code = refusal->code,
	};

	memcpy(r.cluster, c->self->cluster, sizeof(r.cluster));
	(void)snprintf(r.text, sizeof(r.text), "%.255s", refusal->msg);
	wire_put_hello_reply(&c->out, &r);
	conn_write_out(c);
}

static void refuse(struct net_conn *c, const struct rfs_err *refusal)
{
	conn_read_off(c);
	(void)rfs_err_set(&c->why, refusal->code, "%s: %s", c->name, refusal->msg);
	c->state = CONN_REFUSING; /* ends as soon as the answer is written */
	answer(c, 0, refusal);
}

void hello_refuse_plain(struct net_conn *c)
{
	struct wire_hello_reply r = {.code = RFS_EIDENTITY};

	conn_read_off(c);
	(void)snprintf(r.text, sizeof(r.text),
	               "this node takes connections under TLS alone: [tls] of its cluster file");
	(void)rfs_err_set(&c->why, RFS_EIDENTITY, "%s: a plain connection, where TLS is required",
	                  c->name);
	listener_drop_young(c);
	c->state = CONN_REFUSING;
	wire_put_hello_reply(&c->out, &r);
	conn_write_out(c);
}

static void take_hello(struct net_conn *c, const struct frame *f)
{
	struct rfs_err err = {0};
	struct wire_hello h;
	uint32_t version;

	if (f->type != FRAME_HELLO) {
		conn_fail(c, RFS_EPROTO, "frame of type %u where a hello must stand", f->type);
		return;
	}
	if (wire_get_hello(f->payload, f->len, &h, &err) != 0) {
		conn_fail(c, err.code, "%s", err.msg);
		return;
	}
	make_printable(h.cluster);
	make_printable(h.address);
	if (judge_hello(c, &h, &version, &err) != 0) {
		refuse(c, &err);
		return;
	}
	answer(c, version, &err);
	memcpy(c->peer_address, h.address, sizeof(c->peer_address));
	if (c->state == CONN_HELLO)
		conn_ready(c, version, h.node_id, h.incarnation);
}

/* ---- dialling side ---- */

/* Whether the certificate of who was dialled, which was good enough for the handshake, is that of the
 * node that answers. */
static bool is_certified(const struct net_conn *c, uint64_t node_id)
{
	struct rfs_err none;

	return c->tls == NULL || tls_stream_peer(c->tls, &none)->node_id == node_id;
}

static void take_reply(struct net_conn *c, const struct frame *f)
{
	struct versions own = own_versions(c->self, dials_as_node(c));
	struct rfs_err err = {0};
	struct wire_hello_reply r;

	if (f->type != FRAME_HELLO_REPLY) {
		conn_fail(c, RFS_EPROTO, "frame of type %u where the answer to a hello must stand",
		          f->type);
		return;
	}
	if (wire_get_hello_reply(f->payload, f->len, &r, &err) != 0) {
		conn_fail(c, err.code, "%s", err.msg);
		return;
	}
	make_printable(r.cluster);
	make_printable(r.text);
	if (r.code != 0)
		conn_fail(c, r.code, "refused: %s", r.text);
	else if (common_version(own, (struct versions){r.version, r.version}) == 0)
		conn_fail(c, RFS_EVERSION, "answers with protocol version %u, we speak %u to %u",
		          r.version, own.min, own.max);
	else if (c->self->cluster[0] != '\0' && strcmp(r.cluster, c->self->cluster) != 0)
		conn_fail(c, RFS_EIDENTITY, "belongs to cluster \"%s\", not \"%s\"", r.cluster,
		          c->self->cluster);
	else if (c->to_node != 0 && r.node_id != c->to_node)
		conn_fail(c, RFS_EIDENTITY, "is node %llu, not node %llu",
		          (unsigned long long)r.node_id, (unsigned long long)c->to_node);
	else if (!is_certified(c, r.node_id))
		conn_fail(c, RFS_EIDENTITY,
		          "says that it is node %llu, but its certificate does not",
		          (unsigned long long)r.node_id);
	else if (judge_peer(c->self, r.node_id, r.incarnation, &err) != 0)
		conn_fail(c, err.code, "%s", err.msg);
	else
		conn_ready(c, r.version, r.node_id, r.incarnation);
}

void hello_take(struct net_conn *c, const struct frame *f)
{
	if (c->listener != NULL)
		take_hello(c, f);
	else
		take_reply(c, f);
}

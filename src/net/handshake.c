/* From the connected socket to the hello, where TLS is spoken or may be. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "conn_priv.h"

void handshake_begin(struct net_conn *c)
{
	c->state = CONN_HANDSHAKE;
	if (c->listener != NULL) {
		listener_add_young(c); /* what comes tells whether it is TLS at all */
		return;
	}
	c->tls = tls_stream_new(c->self->tls, false);
	conn_write_out(c);
}

bool handshake_again(struct net_conn *c)
{
	if (c->listener != NULL || c->heard || !tls_context_is_optional(c->self->tls))
		return false;
	c->plain = true;
	tls_stream_free(c->tls);
	c->tls = NULL;
	dial_again(c);
	return true;
}

/* ---- it is done ---- */

/* Everything that is known of a caller is judged with its hello, so that he can be told. Who was
 * dialled is to hear nothing of us unless it is the one that was meant. */
static int judge_dialled(const struct net_conn *c, const struct cert_name *who, struct rfs_err *err)
{
	const struct cert_name *own = tls_context_name(c->self->tls);
	char text[CERT_URI_MAX];

	cert_name_describe(who, text);
	if (strcmp(who->cluster, own->cluster) != 0)
		return rfs_err_set(err, RFS_EIDENTITY,
		                   "its certificate says that it is %s, not of cluster %s", text,
		                   own->cluster);
	if (who->role != CERT_NODE)
		return rfs_err_set(err, RFS_EIDENTITY,
		                   "its certificate says that it is %s, which is no node", text);
	if (c->to_node != 0 && who->node_id != c->to_node)
		return rfs_err_set(err, RFS_EIDENTITY,
		                   "its certificate says that it is %s, not node %llu", text,
		                   (unsigned long long)c->to_node);
	return 0;
}

static void note_who(struct net_conn *c, const struct cert_name *who)
{
	char text[CERT_URI_MAX];

	cert_name_describe(who, text);
	(void)snprintf(c->who, sizeof(c->who), "%s, %s", text, c->name);
}

static void handshake_done(struct net_conn *c)
{
	struct rfs_err err = {0};
	const struct cert_name *who = tls_stream_peer(c->tls, &err);

	if (who != NULL)
		note_who(c, who);
	if (c->listener == NULL && (who == NULL || judge_dialled(c, who, &err) != 0))
		conn_fail(c, err.code, "%s", err.msg);
	else
		conn_expect_hello(c);
}

/* ---- a caller's first bytes ---- */

static void take_plain(struct net_conn *c)
{
	if (tls_context_is_optional(c->self->tls))
		conn_expect_hello(c);
	else
		hello_refuse_plain(c);
}

void handshake_accept(struct net_conn *c)
{
	struct buf first = c->in;

	buf_init(&c->in);
	c->tls = tls_stream_new(c->self->tls, true);
	conn_take_records(c, first.data, first.len);
	buf_free(&first);
	if (c->state == CONN_HANDSHAKE || c->state == CONN_HELLO)
		conn_read_on(c);
}

static void look_at_caller(struct net_conn *c)
{
	switch (tls_guess(c->in.data, c->in.len)) {
	case TLS_GUESS_UNKNOWN: break;
	case TLS_GUESS_NO: take_plain(c); break;
	case TLS_GUESS_YES:
		if (listener_may_shake(c))
			handshake_accept(c);
		else
			conn_read_off(c);
		break;
	}
}

void handshake_go_on(struct net_conn *c)
{
	if (c->tls == NULL)
		look_at_caller(c);
	else if (tls_stream_is_ready(c->tls))
		handshake_done(c);
}

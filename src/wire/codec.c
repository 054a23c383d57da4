/* The steps that every message takes, and the small messages: hello, keep-alive. */
#include "codec.h"

#include <string.h>
#include "../base/check.h"
#include "codec_priv.h"

void codec_pack(struct buf *b, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *to = buf_reserve(b, n);

	rfs_check(protobuf_c_message_pack(m, to) == n);
	b->len += n;
}

void codec_put(struct buf *b, enum frame_type type, const ProtobufCMessage *m)
{
	size_t start = frame_begin(b);

	codec_pack(b, m);
	frame_end(b, start, type);
}

void *codec_unpack(const ProtobufCMessageDescriptor *type, ProtobufCAllocator *hooks, const void *p,
                   size_t n, struct rfs_err *err)
{
	/* protobuf-c forms pointers from `p` even for no bytes at all. */
	void *m = protobuf_c_message_unpack(type, hooks, n, n > 0 ? p : "");

	if (m == NULL)
		(void)rfs_err_set(err, RFS_ECORRUPT, "%zu bytes that are not a message of type %s",
		                  n, type->short_name);
	return m;
}

int codec_get_text(char *to, size_t size, const char *from, const char *what, struct rfs_err *err)
{
	size_t n = strlen(from);

	if (n >= size)
		return rfs_err_set(err, RFS_ECORRUPT, "%s of %zu bytes exceeds %zu", what, n,
		                   size - 1);
	memcpy(to, from, n + 1);
	return 0;
}

void wire_put_hello(struct buf *b, const struct wire_hello *h)
{
	RfsPb__Hello m = RFS_PB__HELLO__INIT;

	m.version_min = h->version_min;
	m.version_max = h->version_max;
	m.cluster = (char *)h->cluster;
	m.node_id = h->node_id;
	m.incarnation = h->incarnation;
	m.to_node = h->to_node;
	m.address = (char *)h->address;
	codec_put(b, FRAME_HELLO, &m.base);
}

int wire_get_hello(const uint8_t *p, size_t n, struct wire_hello *h, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__Hello *m = codec_unpack(&rfs_pb__hello__descriptor, scratch_begin(&s), p, n, err);
	int rc;

	if (m == NULL)
		return RFS_ECORRUPT;
	memset(h, 0, sizeof(*h));
	h->version_min = m->version_min;
	h->version_max = m->version_max;
	h->node_id = m->node_id;
	h->incarnation = m->incarnation;
	h->to_node = m->to_node;
	rc = codec_get_text(h->cluster, sizeof(h->cluster), m->cluster, "cluster name", err);
	if (rc != 0)
		return rc;
	return codec_get_text(h->address, sizeof(h->address), m->address, "address", err);
}

void wire_put_hello_reply(struct buf *b, const struct wire_hello_reply *h)
{
	RfsPb__HelloReply m = RFS_PB__HELLO_REPLY__INIT;

	m.version = h->version;
	m.cluster = (char *)h->cluster;
	m.node_id = h->node_id;
	m.incarnation = h->incarnation;
	m.code = h->code;
	m.text = (char *)h->text;
	codec_put(b, FRAME_HELLO_REPLY, &m.base);
}

int wire_get_hello_reply(const uint8_t *p, size_t n, struct wire_hello_reply *h,
                         struct rfs_err *err)
{
	struct scratch s;
	RfsPb__HelloReply *m =
	        codec_unpack(&rfs_pb__hello_reply__descriptor, scratch_begin(&s), p, n, err);
	int rc;

	if (m == NULL)
		return RFS_ECORRUPT;
	if (m->code > 0)
		return rfs_err_set(err, RFS_ECORRUPT, "hello answered with code %d", m->code);
	memset(h, 0, sizeof(*h));
	h->version = m->version;
	h->node_id = m->node_id;
	h->incarnation = m->incarnation;
	h->code = m->code;
	rc = codec_get_text(h->cluster, sizeof(h->cluster), m->cluster, "cluster name", err);
	if (rc != 0)
		return rc;
	return codec_get_text(h->text, sizeof(h->text), m->text, "text", err);
}

void wire_put_keep_alive(struct buf *b, uint64_t session)
{
	RfsPb__KeepAlive m = RFS_PB__KEEP_ALIVE__INIT;

	m.session = session;
	codec_put(b, FRAME_KEEP_ALIVE, &m.base);
}

int wire_get_keep_alive(const uint8_t *p, size_t n, uint64_t *session, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__KeepAlive *m =
	        codec_unpack(&rfs_pb__keep_alive__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*session = m->session;
	return 0;
}

void wire_put_keep_alive_reply(struct buf *b, const struct wire_keep_alive_reply *r)
{
	RfsPb__KeepAliveReply m = RFS_PB__KEEP_ALIVE_REPLY__INIT;

	m.session = r->session;
	m.expired = r->expired;
	codec_put(b, FRAME_KEEP_ALIVE_REPLY, &m.base);
}

int wire_get_keep_alive_reply(const uint8_t *p, size_t n, struct wire_keep_alive_reply *r,
                              struct rfs_err *err)
{
	struct scratch s;
	RfsPb__KeepAliveReply *m =
	        codec_unpack(&rfs_pb__keep_alive_reply__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*r = (struct wire_keep_alive_reply){.session = m->session, .expired = m->expired != 0};
	return 0;
}

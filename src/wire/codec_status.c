/* What a node tells of itself and the cluster. */
#include <string.h>
#include "../base/check.h"
#include "codec_priv.h"

void wire_put_status_request(struct buf *b, uint64_t id)
{
	RfsPb__StatusRequest m = RFS_PB__STATUS_REQUEST__INIT;

	m.id = id;
	codec_put(b, FRAME_STATUS_REQUEST, &m.base);
}

int wire_get_status_request(const uint8_t *p, size_t n, uint64_t *id, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__StatusRequest *m =
	        codec_unpack(&rfs_pb__status_request__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	*id = m->id;
	return 0;
}

void wire_put_room(struct buf *b, const struct wire_room *r)
{
	RfsPb__Room m = RFS_PB__ROOM__INIT;

	m.node_id = r->node_id;
	m.room = r->room;
	codec_put(b, FRAME_ROOM, &m.base);
}

int wire_get_room(const uint8_t *p, size_t n, struct wire_room *r, struct rfs_err *err)
{
	struct scratch s;
	RfsPb__Room *m = codec_unpack(&rfs_pb__room__descriptor, scratch_begin(&s), p, n, err);

	if (m == NULL)
		return RFS_ECORRUPT;
	r->node_id = m->node_id;
	r->room = m->room;
	return 0;
}

static void member_to_pb(RfsPb__Member *m, const struct wire_member *from)
{
	rfs_pb__member__init(m);
	m->id = from->id;
	m->address = (char *)from->address;
	m->learner = from->learner;
	m->match = from->match;
	m->up = from->up;
	m->promote = from->promote;
	m->snapshot = from->snapshot;
}

void wire_put_status(struct buf *b, const struct wire_status *s)
{
	RfsPb__Status m = RFS_PB__STATUS__INIT;
	RfsPb__Member members[WIRE_MEMBERS_MAX];
	RfsPb__Member *pointers[WIRE_MEMBERS_MAX];

	rfs_check(s->n_members <= WIRE_MEMBERS_MAX);
	for (size_t i = 0; i < s->n_members; i++) {
		member_to_pb(&members[i], &s->members[i]);
		pointers[i] = &members[i];
	}
	m.id = s->id;
	m.node_id = s->node_id;
	m.address = (char *)s->address;
	m.role = (char *)s->role;
	m.term = s->term;
	m.leader_id = s->leader_id;
	m.leader_address = (char *)s->leader_address;
	m.last = s->last;
	m.commit = s->commit;
	m.applied = s->applied;
	m.digest = s->digest;
	m.cluster = (char *)s->cluster;
	m.version = (char *)s->version;
	m.incarnation = s->incarnation;
	m.n_members = s->n_members;
	m.members = s->n_members > 0 ? pointers : NULL;
	m.log_first = s->log_first;
	m.log_bytes = s->log_bytes;
	m.sessions = s->sessions;
	m.inodes = s->inodes;
	m.uptime_ms = s->uptime_ms;
	m.protocol_version = s->protocol_version;
	m.protocol_version_max = s->protocol_version_max;
	m.conf_index = s->conf_index;
	m.conf_joint = s->conf_joint;
	m.election_min_ms = s->election_min_ms;
	m.election_max_ms = s->election_max_ms;
	m.heartbeat_ms = s->heartbeat_ms;
	m.session_timeout_ms = s->session_timeout_ms;
	m.durable = s->durable;
	m.store_bytes = s->store_bytes;
	m.disk_free = s->disk_free;
	m.room = s->room;
	m.clients = s->clients;
	m.reads = s->reads;
	m.n_commit_classes = s->n_commit_classes;
	m.commit_classes = (uint64_t *)s->commit_classes;
	codec_put(b, FRAME_STATUS, &m.base);
}

static int get_texts(const RfsPb__Status *m, struct wire_status *s, struct rfs_err *err)
{
	const struct {
		char *to;
		size_t size;
		const char *from, *what;
	} texts[] = {
	        {s->address, sizeof(s->address), m->address, "address"},
	        {s->role, sizeof(s->role), m->role, "role"},
	        {s->leader_address, sizeof(s->leader_address), m->leader_address,
	         "leader's address"},
	        {s->cluster, sizeof(s->cluster), m->cluster, "cluster name"},
	        {s->version, sizeof(s->version), m->version, "version"},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int rc = codec_get_text(texts[i].to, texts[i].size, texts[i].from, texts[i].what,
		                        err);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static int get_members(const RfsPb__Status *m, struct wire_status *s, struct rfs_err *err)
{
	if (m->n_members > WIRE_MEMBERS_MAX)
		return rfs_err_set(err, RFS_ECORRUPT, "status with %zu members exceeds %u",
		                   m->n_members, WIRE_MEMBERS_MAX);
	for (size_t i = 0; i < m->n_members; i++) {
		const RfsPb__Member *from = m->members[i];
		struct wire_member *to = &s->members[i];
		int rc = codec_get_text(to->address, sizeof(to->address), from->address,
		                        "member's address", err);

		if (rc != 0)
			return rc;
		to->id = from->id;
		to->match = from->match;
		to->learner = from->learner != 0;
		to->up = from->up != 0;
		to->promote = from->promote != 0;
		to->snapshot = from->snapshot != 0;
	}
	s->n_members = m->n_members;
	return 0;
}

int wire_get_status(const uint8_t *p, size_t n, struct wire_status *s, struct rfs_err *err)
{
	struct scratch scratch;
	RfsPb__Status *m =
	        codec_unpack(&rfs_pb__status__descriptor, scratch_begin(&scratch), p, n, err);
	int rc;

	if (m == NULL)
		return RFS_ECORRUPT;
	memset(s, 0, sizeof(*s));
	s->id = m->id;
	s->node_id = m->node_id;
	s->term = m->term;
	s->leader_id = m->leader_id;
	s->last = m->last;
	s->commit = m->commit;
	s->applied = m->applied;
	s->digest = m->digest;
	s->incarnation = m->incarnation;
	s->log_first = m->log_first;
	s->log_bytes = m->log_bytes;
	s->sessions = m->sessions;
	s->inodes = m->inodes;
	s->uptime_ms = m->uptime_ms;
	s->protocol_version = m->protocol_version;
	s->protocol_version_max = m->protocol_version_max;
	s->conf_index = m->conf_index;
	s->conf_joint = m->conf_joint != 0;
	s->election_min_ms = m->election_min_ms;
	s->election_max_ms = m->election_max_ms;
	s->heartbeat_ms = m->heartbeat_ms;
	s->session_timeout_ms = m->session_timeout_ms;
	s->durable = m->durable;
	s->store_bytes = m->store_bytes;
	s->disk_free = m->disk_free;
	s->room = m->room;
	s->clients = m->clients;
	s->reads = m->reads;
	/* of a newer program with more of them: nothing that could be understood */
	if (m->n_commit_classes <= WIRE_CLASSES_MAX) {
		s->n_commit_classes = m->n_commit_classes;
		for (size_t i = 0; i < m->n_commit_classes; i++)
			s->commit_classes[i] = m->commit_classes[i];
	}
	rc = get_texts(m, s, err);
	return rc != 0 ? rc : get_members(m, s, err);
}

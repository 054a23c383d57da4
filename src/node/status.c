/* What this node knows by itself, without consensus. */
#include "node_priv.h"

#include <stdio.h>
#include <string.h>
#include "../base/clock.h"

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

static void fill_members(struct node *n, struct wire_status *st)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);

	for (size_t i = 0; i < n->config.n_nodes && st->n_members < WIRE_MEMBERS_MAX; i++) {
		raft_id id = n->config.nodes[i].id;
		struct wire_member *m = &st->members[st->n_members++];
		struct node_peer *p = peer_by_id(n, id);
		struct raft_peer_status ps;

		m->id = id;
		m->learner = !raft_conf_is_voter(conf, id);
		m->up = id == n->id || (p != NULL && p->up);
		copy_text(m->address, sizeof(m->address), node_address_of(n, id));
		if (raft_get_peer(n->raft, id, &ps))
			m->match = ps.match;
	}
}

void status_fill(struct node *n, struct wire_status *st)
{
	struct store_digest digest;
	struct store_counts counts;
	struct raft_status rs;

	raft_get_status(n->raft, &rs);
	store_get_digest(n->store, &digest);
	store_get_counts(n->store, &counts);
	st->node_id = n->id;
	copy_text(st->address, sizeof(st->address), n->address);
	copy_text(st->role, sizeof(st->role), raft_role_name(rs.role));
	st->term = rs.term;
	st->leader_id = rs.leader;
	if (rs.leader != 0)
		copy_text(st->leader_address, sizeof(st->leader_address),
		          node_address_of(n, rs.leader));
	st->last = rs.last.index;
	st->commit = rs.commit;
	st->applied = digest.pos.index;
	st->digest = digest.value;
	copy_text(st->cluster, sizeof(st->cluster), n->config.name);
	copy_text(st->version, sizeof(st->version), RAFTFS_VERSION);
	st->incarnation = n->incarnation;
	st->log_first = rs.base.index + 1;
	st->log_bytes = wal_disk_bytes(n->wal);
	st->sessions = counts.sessions;
	st->inodes = counts.inodes;
	st->uptime_ms = clock_mono_ms() - n->started_ms;
	st->protocol_version = store_version(n->store);
	st->protocol_version_max = n->config.protocol_version_max;
	fill_members(n, st);
}

/* What this node knows by itself, without consensus. */
#include "node_priv.h"

#include <stdio.h>
#include <string.h>
#include "../base/clock.h"

#define STORE_BYTES_MS 2000u

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

static void fill_member(struct node *n, struct wire_status *st, raft_id id)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	const struct raft_member *rm = raft_conf_member(conf, id);
	struct node_peer *p = peer_by_id(n, id);
	struct raft_peer_status ps;
	struct wire_member *m;

	for (size_t i = 0; i < st->n_members; i++)
		if (st->members[i].id == id)
			return;
	if (st->n_members == WIRE_MEMBERS_MAX)
		return;
	m = &st->members[st->n_members++];
	m->id = id;
	m->learner = !raft_conf_is_voter(conf, id);
	m->promote = m->learner && rm != NULL && rm->promote;
	m->up = id == n->id || (p != NULL && p->up);
	m->snapshot = sends_has(n, id);
	copy_text(m->address, sizeof(m->address), node_address_of(n, id));
	if (raft_get_peer(n->raft, id, &ps))
		m->match = ps.match;
}

static void fill_members(struct node *n, struct wire_status *st)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);

	for (unsigned i = 0; i < conf->n_voters; i++)
		fill_member(n, st, conf->voters[i]);
	for (unsigned i = 0; i < conf->n_old; i++)
		fill_member(n, st, conf->old[i]);
	for (unsigned i = 0; i < conf->n_learners; i++)
		fill_member(n, st, conf->learners[i]);
}

/* As people see it: who is no member has no role to play. */
static const char *role_of(const struct node *n, enum raft_role role)
{
	if (n->removed)
		return "removed";
	if (raft_get_conf(n->raft)->n_voters == 0)
		return "waiting";
	return raft_role_name(role);
}

/* What is asked for many times a second may be a second old where it costs a look at the disk. */
static uint64_t store_bytes(struct node *n)
{
	uint64_t now = clock_mono_ms();

	if (n->store_bytes_at_ms == 0 || now - n->store_bytes_at_ms >= STORE_BYTES_MS) {
		n->store_bytes = store_disk_bytes(n->store);
		n->store_bytes_at_ms = now;
	}
	return n->store_bytes;
}

_Static_assert(HISTOGRAM_CLASSES < WIRE_CLASSES_MAX, "and one for what is beyond them");

static void fill_load(struct node *n, struct wire_status *st)
{
	const struct histogram *h = &n->counts.commit;
	uint64_t beyond = h->count;
	struct node_conn *c;

	st->reads = n->counts.reads + n->counts.local_reads;
	for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
		st->commit_classes[i] = h->in_class[i];
		beyond -= h->in_class[i];
	}
	st->commit_classes[HISTOGRAM_CLASSES] = beyond;
	st->n_commit_classes = HISTOGRAM_CLASSES + 1;

	st->store_bytes = store_bytes(n);
	st->disk_free = n->space.free_bytes;
	st->room = n->space.room;
	DL_FOREACH (n->conns, c) {
		st->clients += c->net != NULL && c->peer_id == 0;
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
	copy_text(st->role, sizeof(st->role), role_of(n, rs.role));
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
	st->conf_index = rs.conf_index;
	st->conf_joint = raft_get_conf(n->raft)->n_old > 0;
	st->election_min_ms = n->config.election_min_ms;
	st->election_max_ms = n->config.election_max_ms;
	st->heartbeat_ms = n->config.heartbeat_ms;
	st->session_timeout_ms = n->config.session_timeout_ms;
	st->durable = rs.durable;
	fill_load(n, st);
	fill_members(n, st);
}

/* The cluster's protocol version: what all its members understand, and so what may be written into
 * the log. It is part of the replicated state, rises by an entry of its own, and never falls.
 *
 * The leader proposes to raise it once it is connected to every member, learners too, and all of
 * them speak a newer one. From the moment a node has applied that entry it lets no server in that
 * speaks only the older version, and a node that finds the entry in its own log and cannot follow
 * ends (store_set_version()); so whoever might misread what comes later does not get to read it.
 *
 * A member that this node has never met in its life holds the cluster back only for a leader's
 * first seconds: three servers of which one was never started are to be a whole cluster, and should
 * it turn out to be an old one, it is refused until it is upgraded. */
#include "node_priv.h"

#include <errno.h>
#include "../base/clock.h"
#include "../base/log.h"

/* What a member speaks, as far as is known now; 0: unknown; UINT32_MAX: it does not count. */
static uint32_t version_of(struct node *n, raft_id id)
{
	struct node_peer *p = peer_by_id(n, id);

	if (id == n->id)
		return n->config.protocol_version_max;
	if (p != NULL && p->up)
		return net_conn_version(p->net);
	if (!incarnations_met(n, id) && clock_mono_ms() - n->led_since_ms >= NODE_VERSION_WAIT_MS)
		return UINT32_MAX;
	return 0;
}

static void take_lowest(struct node *n, const raft_id *ids, size_t len, uint32_t *lowest,
                        raft_id *who)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t version = version_of(n, ids[i]);

		if (version >= *lowest)
			continue;
		*lowest = version;
		*who = ids[i];
	}
}

/* What all members speak; 0 if that is not known. *who: the one that makes it so. */
static uint32_t common_version(struct node *n, raft_id *who)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	uint32_t lowest = n->config.protocol_version_max;

	*who = n->id;
	take_lowest(n, conf->voters, conf->n_voters, &lowest, who);
	take_lowest(n, conf->old, conf->n_old, &lowest, who);
	take_lowest(n, conf->learners, conf->n_learners, &lowest, who);
	return lowest;
}

/* Whether everything of earlier terms is applied here, a raise among it. */
static bool is_settled(const struct node *n)
{
	return n->role == RAFT_LEADER && store_applied(n->store).index >= n->term_start;
}

void version_look(struct node *n)
{
	uint32_t now = store_version(n->store), next;
	struct raft_status st;
	raft_id who;

	if (now >= n->config.protocol_version_max || !is_settled(n))
		return;
	raft_get_status(n->raft, &st);
	if (n->version_term == st.term)
		return;
	next = common_version(n, &who);
	if (next <= now)
		return;
	n->version_term = st.term;
	log_info("every member speaks protocol version %u: raising the cluster from %u", next, now);
	serve_version(n, next);
}

static void end_older_connections(struct node *n, uint32_t version)
{
	struct node_peer *p;
	struct node_conn *c;

	DL_FOREACH (n->peers, p)
		if (p->up && net_conn_version(p->net) < version)
			net_conn_close(p->net);
	DL_FOREACH (n->conns, c)
		if (c->net != NULL && c->peer_id != 0 && net_conn_version(c->net) < version)
			net_conn_close(c->net);
}

void version_applied(struct node *n)
{
	uint32_t version = store_version(n->store);

	if (version <= n->identity.peer_version_min)
		return;
	n->identity.peer_version_min = version;
	log_info("the cluster speaks protocol version %u", version);
	end_older_connections(n, version);
}

static void say_refused(struct node *n, const struct fs_op *op, uint32_t needed)
{
	uint64_t now = clock_mono_ms();
	uint32_t common;
	raft_id who;

	if (n->version_said_ms != 0 && now - n->version_said_ms < 1000)
		return;
	n->version_said_ms = now;
	if (needed > FS_VERSION_MAX) {
		log_warn("%s with flags %x refused: not of a protocol version that this program "
		         "knows",
		         fs_op_name(op->kind), op->flags);
		return;
	}
	common = common_version(n, &who);
	if (common == 0)
		log_warn("%s refused: it needs protocol version %u, the cluster speaks %u, since "
		         "node %llu is not reachable and may be an older one",
		         fs_op_name(op->kind), needed, store_version(n->store),
		         (unsigned long long)who);
	else
		log_warn("%s refused: it needs protocol version %u, the cluster speaks %u, and "
		         "node %llu no more than %u",
		         fs_op_name(op->kind), needed, store_version(n->store),
		         (unsigned long long)who, common);
}

int version_judge(struct node *n, const struct fs_op *op)
{
	uint32_t needed = fs_op_protocol(op), common;
	raft_id who;

	if (needed <= store_version(n->store))
		return 0;
	if (needed <= n->config.protocol_version_max) {
		if (!is_settled(n))
			return RFS_EBUSYLIMIT;
		common = common_version(n, &who);
		/* about to be raised; or the others have hardly had the time to connect */
		if (common >= needed ||
		    (common == 0 && clock_mono_ms() - n->led_since_ms < NODE_VERSION_WAIT_MS))
			return RFS_EBUSYLIMIT;
	}
	say_refused(n, op, needed);
	return -EOPNOTSUPP;
}

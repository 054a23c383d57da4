/* Who the other servers are: the configuration in force says it, wherever in the log it stands; the
 * cluster file only names the founders. */
#include "node_priv.h"

#include <stdio.h>
#include <string.h>
#include "../base/clock.h"
#include "../base/log.h"

static const char *file_address(const struct node *n, raft_id id, char out[WIRE_TEXT_MAX])
{
	const struct config_node *cn = config_node_by_id(&n->config, id);

	if (cn == NULL)
		return "";
	config_format_endpoint(cn->host, cn->port, out, WIRE_TEXT_MAX);
	return out;
}

const char *node_address_of(const struct node *n, raft_id id)
{
	const struct raft_member *m = raft_conf_member(raft_get_conf(n->raft), id);
	struct node_peer *p;

	if (id == n->id)
		return n->address;
	if (m != NULL && m->address[0] != '\0')
		return m->address;
	DL_FOREACH (n->peers, p) {
		if (p->id == id)
			return p->address;
	}
	return "";
}

/* ---- connections follow ---- */

static void keep_or_dial(struct node *n, raft_id id)
{
	const struct raft_member *m = raft_conf_member(raft_get_conf(n->raft), id);
	struct node_peer *p = peer_by_id(n, id);
	char from_file[WIRE_TEXT_MAX];
	const char *address;

	if (id == n->id)
		return;
	address = m != NULL && m->address[0] != '\0' ? m->address : file_address(n, id, from_file);
	if (p != NULL && address[0] != '\0' && strcmp(p->address, address) != 0) {
		peer_drop(p);
		p = NULL;
	}
	if (p == NULL && address[0] != '\0')
		p = peer_add(n, id, address);
	if (p == NULL)
		return;
	p->member = true;
	p->leave_ms = 0;
}

void members_follow(struct node *n)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	struct node_peer *p;

	DL_FOREACH (n->peers, p) {
		if (p->member && !raft_conf_is_member(conf, p->id)) {
			p->member = false;
			p->leave_ms = clock_mono_ms() + NODE_LEAVE_MS;
		}
	}
	for (unsigned i = 0; i < conf->n_voters; i++)
		keep_or_dial(n, conf->voters[i]);
	for (unsigned i = 0; i < conf->n_old; i++)
		keep_or_dial(n, conf->old[i]);
	for (unsigned i = 0; i < conf->n_learners; i++)
		keep_or_dial(n, conf->learners[i]);
	n->removed = n->removed && !raft_conf_is_member(conf, n->id);
}

static struct node_peer *first_gone(struct node *n, uint64_t now)
{
	struct node_peer *p;

	DL_FOREACH (n->peers, p) {
		if (!p->member && now >= p->leave_ms)
			return p;
	}
	return NULL;
}

void members_sweep(struct node *n)
{
	struct node_peer *p;

	while ((p = first_gone(n, clock_mono_ms())) != NULL)
		peer_drop(p);
}

/* ---- a configuration is committed ---- */

/* Who catches up passes through what was before he was added. */
static void look_at_ourselves(struct node *n)
{
	if (raft_conf_is_member(raft_get_conf(n->raft), n->id) || n->removed)
		return;
	n->removed = true;
	log_warn("this node (%llu) has been removed from cluster %s: it takes no part any more and "
	         "can be "
	         "stopped; its data directory %s is of no more use",
	         (unsigned long long)n->id, n->config.name, n->data_dir);
}

void members_committed(struct node *n, const struct raft_notice *note)
{
	const struct raft_conf *conf = raft_get_conf_at(n->raft, note->index, NULL);

	if (conf == NULL || conf->n_old > 0)
		return;
	incarnations_follow(n, conf);
	look_at_ourselves(n);
	admin_committed(n, note->index);
	serve_push_status(n);
}

/* ---- learners become voters ---- */

void members_name(struct node *n, struct raft_conf *conf)
{
	for (unsigned i = 0; i < conf->n_members; i++) {
		struct raft_member *m = &conf->members[i];

		if (m->incarnation == 0)
			m->incarnation =
			        m->id == n->id ? n->incarnation : incarnations_of(n, m->id);
	}
}

static raft_id one_to_promote(struct node *n, const struct raft_conf *conf)
{
	for (unsigned i = 0; i < conf->n_learners; i++) {
		const struct raft_member *m = raft_conf_member(conf, conf->learners[i]);
		struct raft_peer_status ps;

		if (m != NULL && m->promote && raft_get_peer(n->raft, m->id, &ps) && ps.caught_up)
			return m->id;
	}
	return 0;
}

void members_work(struct node *n)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	struct raft_status st;
	struct raft_conf next;
	raft_id id;

	if (n->role != RAFT_LEADER || conf->n_learners == 0 || conf->n_old > 0 || n->leaving)
		return;
	raft_get_status(n->raft, &st);
	id = st.conf_index <= st.commit && st.transfer == 0 ? one_to_promote(n, conf) : 0;
	if (id == 0)
		return;
	next = *conf;
	next.n_learners = 0;
	for (unsigned i = 0; i < conf->n_learners; i++)
		if (conf->learners[i] != id)
			next.learners[next.n_learners++] = conf->learners[i];
	next.voters[next.n_voters++] = id;
	members_name(n, &next);
	log_info("node %llu has caught up: making it a voter", (unsigned long long)id);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_CHANGE, .conf = &next});
}

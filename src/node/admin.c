/* What operators ask for: members, the leadership, and drills. All of it names a state to reach, so
 * that it may be asked for again after a lost answer. */
#include "node_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/check.h"
#include "../base/log.h"
#include "../base/mem.h"

#define SUSPEND_MS_MAX 3600000u

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

/* ---- answers ---- */

__attribute__((format(printf, 5, 6))) static void
reply(struct node *n, struct node_conn *c, uint64_t req_id, int code, const char *fmt, ...)
{
	struct wire_admin_reply r = {.id = req_id, .code = code};
	struct raft_status st;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	if (c->net != NULL) {
		raft_get_status(n->raft, &st);
		r.leader_id = st.leader;
		if (st.leader != 0)
			(void)snprintf(r.leader_address, sizeof(r.leader_address), "%s",
			               node_address_of(n, st.leader));
		wire_put_admin_reply(net_conn_out(c->net), &r);
		conn_mark_dirty(c);
	}
	conn_answered(c);
}

static void finish(struct node *n, struct node_admin *a, int code, const char *text)
{
	LL_DELETE(n->admins, a);
	reply(n, a->conn, a->req_id, code, "%s", text);
	free(a);
}

static struct node_admin *wait_for(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	struct node_admin *a = mem_zalloc(sizeof(*a));

	a->conn = c;
	a->req_id = w->id;
	a->kind = w->kind;
	a->member = w->member;
	LL_PREPEND(n->admins, a);
	return a;
}

void admin_fail_all(struct node *n, int code)
{
	while (n->admins != NULL)
		finish(n, n->admins, code, rfs_strerror(code));
}

/* ---- members ---- */

static const char *busy_text(int code)
{
	return code == -EAGAIN ? "the leader has just been elected"
	                       : "another change of members or a transfer is under way";
}

/* Propose `next`; the answer comes when it is committed. */
__attribute__((format(printf, 5, 6))) static void change(struct node *n, struct node_conn *c,
                                                         const struct wire_admin *w,
                                                         struct raft_conf *next, const char *fmt,
                                                         ...)
{
	char text[WIRE_TEXT_MAX];
	struct node_admin *a;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	members_name(n, next);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_CHANGE, .conf = next});
	rc = n->out.error;
	if (rc == -EAGAIN || rc == -EBUSY) {
		reply(n, c, w->id, RFS_EBUSYLIMIT, "%s", busy_text(rc));
	} else if (rc == -E2BIG) {
		reply(n, c, w->id, -E2BIG, "a cluster has at most %d members", RAFT_MEMBERS_MAX);
	} else if (rc != 0) { /* -EALREADY: asked for again */
		reply(n, c, w->id, rc == -EALREADY ? 0 : rc, "%s",
		      rc == -EALREADY ? text : rfs_strerror(rc));
	} else {
		a = wait_for(n, c, w);
		a->conf_at = n->out.append[0].pos.index;
		memcpy(a->text, text, sizeof(a->text));
	}
}

void admin_committed(struct node *n, raft_index conf_index)
{
	struct node_admin *a, *next;

	LL_FOREACH_SAFE(n->admins, a, next)
	{
		if (a->conf_at != 0 && a->conf_at <= conf_index)
			finish(n, a, 0, a->text);
	}
}

static raft_id member_at(const struct raft_conf *conf, const char *address)
{
	for (unsigned i = 0; i < conf->n_members; i++)
		if (strcmp(conf->members[i].address, address) == 0)
			return conf->members[i].id;
	return 0;
}

static void add(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	const struct raft_member *m = raft_conf_member(conf, w->member);
	char host[CONFIG_HOST_MAX + 1];
	struct raft_conf next = *conf;
	uint16_t port;

	if (w->member == 0 || w->member > INT32_MAX || strlen(w->address) > RAFT_ADDRESS_MAX ||
	    config_parse_endpoint(w->address, host, &port) != 0 || !config_host_ok(host) ||
	    port == 0) {
		reply(n, c, w->id, -EINVAL, "\"%s\" is not an address that the others can dial",
		      w->address);
	} else if (raft_conf_is_member(conf, w->member)) {
		if (m != NULL && strcmp(m->address, w->address) == 0)
			reply(n, c, w->id, 0, "node %llu is a member already", ull(w->member));
		else
			reply(n, c, w->id, -EEXIST, "node %llu is a member already, at %s",
			      ull(w->member), node_address_of(n, w->member));
	} else if (member_at(conf, w->address) != 0) {
		reply(n, c, w->id, -EADDRINUSE, "%s is the address of node %llu", w->address,
		      ull(member_at(conf, w->address)));
	} else if (next.n_learners == RAFT_MEMBERS_MAX ||
	           !raft_conf_set_member(&next, w->member, w->address, !w->learner)) {
		reply(n, c, w->id, -E2BIG, "a cluster has at most %d members", RAFT_MEMBERS_MAX);
	} else {
		next.learners[next.n_learners++] = w->member;
		change(n, c, w, &next, "node %llu at %s added as a learner%s", ull(w->member),
		       w->address,
		       w->learner ? "" : "; it becomes a voter by itself once it has caught up");
	}
}

static unsigned without(raft_id *ids, unsigned n, raft_id id)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++)
		if (ids[i] != id)
			ids[kept++] = ids[i];
	return kept;
}

static void promote(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	struct raft_conf next = *conf;
	struct raft_peer_status ps;

	if (!raft_conf_is_member(conf, w->member)) {
		reply(n, c, w->id, -ENOENT, "node %llu is no member", ull(w->member));
	} else if (!raft_conf_is_learner(conf, w->member)) {
		reply(n, c, w->id, 0, "node %llu is a voter already", ull(w->member));
	} else if (raft_get_peer(n->raft, w->member, &ps) && ps.caught_up) {
		next.n_learners = without(next.learners, next.n_learners, w->member);
		next.voters[next.n_voters++] = w->member;
		change(n, c, w, &next, "node %llu is a voter now", ull(w->member));
	} else if (raft_conf_set_member(&next, w->member, node_address_of(n, w->member), true)) {
		change(n, c, w, &next, "node %llu becomes a voter once it has caught up",
		       ull(w->member));
	} else {
		reply(n, c, w->id, -EINVAL, "node %llu has no address", ull(w->member));
	}
}

/* A leader that is to go hands over first; whoever leads then is asked again. */
static void hand_over_first(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	int rc;

	node_step(n, &(struct raft_event){.kind = RAFT_EV_TRANSFER});
	rc = n->out.error;
	if (rc == 0 || rc == -EBUSY)
		reply(n, c, w->id, RFS_EBUSYLIMIT, "the leader hands over before it is removed");
	else
		reply(n, c, w->id, -EINVAL, "node %llu is the last voter", ull(w->member));
}

static void remove_member(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	struct raft_conf next = *conf;

	if (!raft_conf_is_member(conf, w->member)) {
		reply(n, c, w->id, -ENOENT, "node %llu is no member", ull(w->member));
		return;
	}
	next.n_learners = without(next.learners, next.n_learners, w->member);
	next.n_voters = without(next.voters, next.n_voters, w->member);
	if (next.n_voters == 0)
		reply(n, c, w->id, -EINVAL,
		      "node %llu is the last voter: a cluster cannot be without one",
		      ull(w->member));
	else if (w->member == n->id)
		hand_over_first(n, c, w);
	else
		change(n, c, w, &next, "node %llu removed", ull(w->member));
}

/* ---- the leadership ---- */

void admin_transfer_ended(struct node *n, const char *why)
{
	struct node_admin *a, *next;

	LL_FOREACH_SAFE(n->admins, a, next)
	{
		if (a->conf_at == 0)
			finish(n, a, why == NULL ? 0 : -ETIMEDOUT, why == NULL ? a->text : why);
	}
}

static void transfer(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	struct node_admin *a;
	struct raft_status st;
	int rc;

	if (w->member == n->id) {
		reply(n, c, w->id, 0, "node %llu leads already", ull(n->id));
		return;
	}
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = w->member});
	rc = n->out.error;
	if (rc == -EBUSY) {
		reply(n, c, w->id, RFS_EBUSYLIMIT, "another transfer is under way");
	} else if (rc == -ENOENT) {
		if (w->member != 0)
			reply(n, c, w->id, rc, "node %llu is no member", ull(w->member));
		else
			reply(n, c, w->id, rc, "there is nobody to hand over to");
	} else if (rc == -EINVAL) {
		reply(n, c, w->id, rc, "node %llu does not vote", ull(w->member));
	} else if (rc != 0) {
		reply(n, c, w->id, rc, "%s", rfs_strerror(rc));
	} else {
		raft_get_status(n->raft, &st);
		a = wait_for(n, c, w);
		(void)snprintf(a->text, sizeof(a->text), "handed over to node %llu",
		               ull(st.transfer));
	}
}

/* ---- drills ---- */

static void on_resume(uv_timer_t *t)
{
	struct node *n = t->data;

	n->suspended = false;
	log_info("the suspension is over");
	node_take_wal_news(n);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TICK});
}

static void suspend(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	if (!n->config.allow_suspend) {
		reply(n, c, w->id, -EPERM,
		      "node %llu may not be suspended: its configuration does not have [debug] "
		      "allow_suspend = true",
		      ull(n->id));
		return;
	}
	if (w->period_ms == 0 || w->period_ms > SUSPEND_MS_MAX) {
		reply(n, c, w->id, -EINVAL, "a node is suspended for 1 ms to %u s, not for %llu ms",
		      SUSPEND_MS_MAX / 1000, ull(w->period_ms));
		return;
	}
	log_warn("suspended for %llu ms, as asked: taking no part", ull(w->period_ms));
	reply(n, c, w->id, 0, "node %llu is suspended for %llu ms", ull(n->id), ull(w->period_ms));
	conns_flush(n);
	n->suspended = true;
	(void)uv_timer_start(&n->resume, on_resume, w->period_ms, 0);
}

/* ---- the frame ---- */

static void of_leader(struct node *n, struct node_conn *c, const struct wire_admin *w)
{
	if (n->role != RAFT_LEADER) {
		reply(n, c, w->id, RFS_ENOTLEADER, "node %llu does not lead", ull(n->id));
		return;
	}
	if (store_version(n->store) < 2 && w->kind != WIRE_ADMIN_TRANSFER) {
		reply(n, c, w->id, RFS_EBUSYLIMIT,
		      "the cluster speaks protocol version %u, which knows no change of members: "
		      "are all nodes up, and upgraded?",
		      store_version(n->store));
		return;
	}
	switch (w->kind) {
	case WIRE_ADMIN_ADD: add(n, c, w); return;
	case WIRE_ADMIN_PROMOTE: promote(n, c, w); return;
	case WIRE_ADMIN_REMOVE: remove_member(n, c, w); return;
	case WIRE_ADMIN_TRANSFER: transfer(n, c, w); return;
	case WIRE_ADMIN_SUSPEND: break;
	}
	reply(n, c, w->id, -EOPNOTSUPP, "node %llu does not know request %u", ull(n->id),
	      (unsigned)w->kind);
}

int admin_take(struct node *n, struct node_conn *c, const struct frame *f, struct rfs_err *err)
{
	struct wire_admin w;
	int rc = wire_get_admin(f->payload, f->len, &w, err);

	if (rc != 0)
		return rc;
	conn_taken(c);
	if (rights_judge(n, c, FS_RIGHT_ADMIN, "administration") != 0) {
		reply(n, c, w.id, -EACCES,
		      "node %llu does not take this from %s: it takes the certificate of an admin",
		      ull(n->id), net_conn_who(c->net));
		return 0;
	}
	if (w.kind == WIRE_ADMIN_SUSPEND)
		suspend(n, c, &w);
	else
		of_leader(n, c, &w);
	return 0;
}

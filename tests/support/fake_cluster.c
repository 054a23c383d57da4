#include "fake_cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"

struct fake_conn {
	struct fake_node *node;
	struct net_conn *net; /* NULL: closed, only frames that wait point here */
	struct fake_conn *prev, *next;
	unsigned refs;
	uint64_t watch, next_index; /* one watch a connection is enough; 0: none */
};

struct fake_frame {
	struct fake_conn *conn;
	uint16_t type;
	uint32_t len;
	struct fake_frame *prev, *next;
	uint8_t payload[];
};

static const struct net_handler fake_handler;

static void conn_unref(struct fake_conn *c)
{
	if (--c->refs == 0)
		free(c);
}

/* ---- state ---- */

static bool session_is_open(const struct fake_cluster *f, uint64_t id)
{
	for (size_t i = 0; i < f->n_sessions; i++)
		if (f->sessions[i] == id)
			return true;
	return false;
}

static void open_session(struct fake_cluster *f, struct fs_result *res)
{
	res->value = f->next_session;
	f->next_session += 100;
	rfs_check(f->n_sessions < 64);
	f->sessions[f->n_sessions++] = res->value;
	f->n_opened++;
}

static void close_session(struct fake_cluster *f, uint64_t id)
{
	for (size_t i = 0; i < f->n_sessions; i++)
		if (f->sessions[i] == id)
			f->sessions[i] = f->sessions[--f->n_sessions];
	f->n_closed++;
}

static void tell(struct fake_lock *l, int err, uint64_t token);

static int cancel(struct fake_cluster *f, const struct wire_request *r)
{
	for (size_t i = 0; i < f->n_locks; i++) {
		struct fake_lock *l = &f->locks[i];

		if (l->session != r->session || l->seq != r->op.lock_seq ||
		    l->state != FAKE_LOCK_WAITS)
			continue;
		l->state = FAKE_LOCK_CANCELLED;
		tell(l, -EINTR, 0);
		return 0;
	}
	return -ENOENT;
}

static void change(struct fake_cluster *f, const struct wire_request *r, struct fs_result *res)
{
	if (!session_is_open(f, r->session)) {
		res->err = RFS_ESESSION;
		return;
	}
	for (size_t i = 0; i < f->n_effects; i++) {
		if (f->effects[i].session == r->session && f->effects[i].seq == r->seq) {
			f->n_duplicates++;
			res->value = f->effects[i].value;
			return;
		}
	}
	if (r->seq < f->lowest) {
		f->n_below_lowest++;
		res->err = -ESTALE;
		return;
	}
	f->lowest = r->lowest;
	f->effects[f->n_effects] = (struct fake_effect){r->session, r->seq, f->n_effects + 1};
	res->value = ++f->n_effects;
	rfs_check(f->n_effects < FAKE_SEEN_MAX);
	if (r->op.kind == FS_OP_LOCK) {
		rfs_check(f->n_locks < FAKE_LOCKS_MAX);
		f->locks[f->n_locks++] = (struct fake_lock){.session = r->session, .seq = r->seq};
	}
	if (r->op.kind == FS_OP_LOCK_CANCEL)
		res->err = cancel(f, r);
	if (r->op.kind == FS_OP_SESSION_CLOSE)
		close_session(f, r->session);
}

static void apply(struct fake_cluster *f, const struct wire_request *r, struct fs_result *res)
{
	if (r->op.kind == FS_OP_SESSION_OPEN) {
		f->lowest = 0;
		open_session(f, res);
	} else if (fs_op_is_write(r->op.kind)) {
		change(f, r, res);
	} else {
		res->value = f->n_effects;
		res->data = r->op.name.p;
		res->data_len = r->op.name.len;
	}
}

/* ---- frames ---- */

static void address_of(const struct fake_node *n, char *out, size_t size)
{
	config_format_endpoint("127.0.0.1", n->port, out, size);
}

static void answer(struct fake_conn *c, uint64_t id, const struct fs_result *res)
{
	struct fake_node *n = c->node;
	struct fake_cluster *f = n->cluster;
	struct wire_reply reply = {.id = id, .result = *res};
	uint64_t leader = n->believes != 0 ? n->believes : f->leader;

	if (c->net == NULL)
		return;
	if (leader != 0 && res->err != 0 && !n->hides_leader) {
		reply.leader_id = leader;
		address_of(fake_node(f, leader), reply.leader_address,
		           sizeof(reply.leader_address));
	}
	for (int i = 0; i < (n->answers_twice ? 2 : 1); i++)
		wire_put_reply(net_conn_out(c->net), &reply);
	net_conn_flush(c->net);
}

static void forget(struct fake_lock *l)
{
	if (l->conn != NULL)
		conn_unref(l->conn);
	l->conn = NULL;
}

static void tell(struct fake_lock *l, int err, uint64_t token)
{
	const struct fs_result res = {.err = err, .value = token};

	if (l->conn != NULL && l->conn->node->cluster->leader == l->conn->node->id)
		answer(l->conn, l->req_id, &res);
	forget(l);
}

/* What a LOCK that was applied before, or a LOCK_AWAIT, is told. */
static void tell_of_lock(struct fake_conn *c, const struct wire_request *r, struct fs_result *res)
{
	struct fake_cluster *f = c->node->cluster;
	uint64_t asked = r->op.lock_token;
	struct fake_lock *l;

	for (size_t i = 0; i < f->n_locks && r->op.kind == FS_OP_LOCK; i++)
		if (f->locks[i].session == r->session && f->locks[i].seq == r->seq)
			asked = i + 1;
	rfs_check(asked >= 1 && asked <= f->n_locks);
	l = &f->locks[asked - 1];
	res->value = l->state == FAKE_LOCK_WAITS ? asked : 1000 + asked;
	res->err = l->state == FAKE_LOCK_WAITS     ? RFS_EWAITING
	           : l->state == FAKE_LOCK_GRANTED ? 0
	                                           : -ENOENT;
	if (l->state != FAKE_LOCK_WAITS)
		return;
	forget(l);
	c->refs++;
	l->conn = c;
	l->req_id = r->id;
}

static void take_request(struct fake_conn *c, const struct wire_request *r)
{
	struct fake_node *n = c->node;
	struct fs_result res = {0};

	rfs_check(n->n_seen < FAKE_SEEN_MAX);
	n->seen[n->n_seen++] = (struct fake_seen){r->id,     r->session, r->seq,
	                                          r->lowest, r->op.kind, r->op.data_len};
	if (n->swallows_requests || (n->deaf_to_locks && r->op.kind == FS_OP_LOCK))
		return;
	if (n->drops_unapplied) {
		n->drops_unapplied = false;
		net_conn_close(c->net);
		return;
	}
	if (n->refusals > 0) {
		n->refusals--;
		res.err = n->refuse_with;
	} else if (n->cluster->leader != n->id &&
	           (!n->serves_reads || fs_op_is_write(r->op.kind))) {
		res.err = RFS_ENOTLEADER;
	} else {
		apply(n->cluster, r, &res);
		if (res.err == 0 && (r->op.kind == FS_OP_LOCK || r->op.kind == FS_OP_LOCK_AWAIT))
			tell_of_lock(c, r, &res);
	}
	if (n->drops_applied) {
		n->drops_applied = false;
		net_conn_close(c->net);
		return;
	}
	answer(c, r->id, &res);
}

static void take_keep_alive(struct fake_conn *c, uint64_t session)
{
	struct fake_cluster *f = c->node->cluster;
	struct fs_result refused = {.err = RFS_ENOTLEADER};
	struct wire_keep_alive_reply reply = {session, !session_is_open(f, session)};

	c->node->n_keep_alives++;
	if (f->leader != c->node->id) {
		answer(c, 0, &refused);
		return;
	}
	wire_put_keep_alive_reply(net_conn_out(c->net), &reply);
	net_conn_flush(c->net);
}

static void take_status(struct fake_conn *c, uint64_t id)
{
	struct fake_node *n = c->node;
	struct fake_cluster *f = n->cluster;
	struct wire_status *st = mem_zalloc(sizeof(*st));

	n->n_statuses++;
	st->id = id;
	st->node_id = n->id;
	st->term = f->term;
	st->leader_id = n->believes != 0 ? n->believes : f->leader;
	if (st->leader_id != 0)
		address_of(fake_node(f, st->leader_id), st->leader_address,
		           sizeof(st->leader_address));
	(void)snprintf(st->cluster, sizeof(st->cluster), "%s", n->identity.cluster);
	for (size_t i = 0; i < f->n_members; i++) {
		st->members[i].id = f->nodes[i].id;
		address_of(&f->nodes[i], st->members[i].address, sizeof(st->members[i].address));
	}
	st->n_members = f->n_members;
	wire_put_status(net_conn_out(c->net), st);
	net_conn_flush(c->net);
	free(st);
}

/* ---- watches ---- */

static void say_events(struct fake_conn *c, uint64_t id, uint64_t from, uint64_t to)
{
	struct wire_event events[64];
	struct wire_events ev = {.id = id,
	                         .events = events,
	                         .has_leader = !c->node->leaderless,
	                         .applied = c->node->cluster->n_changes};

	for (; from <= to && ev.n < 64; from++)
		events[ev.n++] = (struct wire_event){
		        .index = from, .ino = from, .kind = STORE_CHANGE_MODIFY, .version = from};
	ev.next_index = from;
	c->next_index = from;
	wire_put_events(net_conn_out(c->net), &ev);
	net_conn_flush(c->net);
	if (from <= to && c->watch == id)
		say_events(c, id, from, to);
}

static void say_lost(struct fake_conn *c, const struct wire_watch *q)
{
	struct wire_events ev = {.id = q->id,
	                         .next_index = c->node->events_from,
	                         .lost_from = q->from_index,
	                         .lost_to = c->node->events_from - 1,
	                         .has_leader = true};

	wire_put_events(net_conn_out(c->net), &ev);
	net_conn_flush(c->net);
}

static void take_watch(struct fake_conn *c, const struct wire_watch *q)
{
	uint64_t latest = c->node->cluster->n_changes;

	if (q->stop) {
		c->watch = c->watch == q->id ? 0 : c->watch;
		return;
	}
	if (q->recent != 0) {
		say_events(c, q->id, latest > q->recent ? latest - q->recent + 1 : 1, latest);
		return;
	}
	c->node->n_watches++;
	if (q->from_index != 0 && q->from_index < c->node->events_from) {
		say_lost(c, q);
		return;
	}
	c->watch = q->id;
	say_events(c, q->id, q->from_index != 0 ? q->from_index : latest + 1, latest);
}

void fake_change(struct fake_cluster *f)
{
	struct fake_conn *c;

	f->n_changes++;
	for (size_t i = 0; i < f->n_nodes; i++)
		DL_FOREACH (f->nodes[i].conns, c) {
			if (c->watch != 0 && !f->nodes[i].frozen && net_conn_is_ready(c->net))
				say_events(c, c->watch, c->next_index, f->n_changes);
		}
}

static void take(struct fake_conn *c, const struct frame *fr)
{
	struct fake_cluster *f = c->node->cluster;
	struct rfs_err err = {0};
	struct wire_request r;
	struct wire_watch q;
	uint64_t v;

	if (fr->type == FRAME_WATCH) {
		if (wire_get_watch(fr->payload, fr->len, f->arena, &q, &err) != 0)
			rfs_die("fake node: %s", err.msg);
		take_watch(c, &q);
	} else if (fr->type == FRAME_REQUEST) {
		if (wire_get_request(fr->payload, fr->len, f->arena, &r, &err) != 0)
			rfs_die("fake node: %s", err.msg);
		take_request(c, &r);
	} else if (fr->type == FRAME_KEEP_ALIVE) {
		if (wire_get_keep_alive(fr->payload, fr->len, &v, &err) != 0)
			rfs_die("fake node: %s", err.msg);
		take_keep_alive(c, v);
	} else if (fr->type == FRAME_STATUS_REQUEST) {
		if (wire_get_status_request(fr->payload, fr->len, &v, &err) != 0)
			rfs_die("fake node: %s", err.msg);
		take_status(c, v);
	}
	wire_arena_reset(f->arena);
}

/* ---- connections ---- */

static void fake_on_ready(struct net_conn *net, uint64_t peer_id, uint64_t peer_incarnation)
{
	struct fake_node *n = net_conn_ctx(net);
	struct fake_conn *c = mem_zalloc(sizeof(*c));

	(void)peer_incarnation;
	rfs_check(peer_id == 0);
	c->node = n;
	c->net = net;
	c->refs = 1;
	n->n_accepted++;
	DL_APPEND(n->conns, c);
	net_conn_set_ctx(net, c);
}

static void fake_on_frame(struct net_conn *net, const struct frame *fr)
{
	struct fake_conn *c = net_conn_ctx(net);
	struct fake_frame *w;

	if (!c->node->frozen) {
		take(c, fr);
		return;
	}
	w = mem_alloc(sizeof(*w) + fr->len);
	w->conn = c;
	w->type = fr->type;
	w->len = fr->len;
	memcpy(w->payload, fr->payload, fr->len);
	c->refs++;
	DL_APPEND(c->node->waiting, w);
	c->node->n_waiting++;
}

static void fake_on_close(struct net_conn *net, const struct rfs_err *err)
{
	struct fake_conn *c = net_conn_ctx(net);

	(void)err;
	c->net = NULL;
	DL_DELETE(c->node->conns, c);
	conn_unref(c);
}

static const struct net_handler fake_handler = {
        .on_ready = fake_on_ready,
        .on_frame = fake_on_frame,
        .on_close = fake_on_close,
};

/* ---- nodes ---- */

struct fake_node *fake_node(struct fake_cluster *f, uint64_t id)
{
	rfs_check(id >= 1 && id <= f->n_nodes);
	return &f->nodes[id - 1];
}

struct config_node fake_address(struct fake_cluster *f, uint64_t id)
{
	return (struct config_node){.id = id, .host = "127.0.0.1", .port = fake_node(f, id)->port};
}

void fake_elect(struct fake_cluster *f, uint64_t id)
{
	f->leader = id;
	f->term++;
}

void fake_start(struct fake_node *n)
{
	struct rfs_err err = {0};

	if (net_listen(&n->listener, n->cluster->loop, &n->identity, &n->cluster->limits,
	               "127.0.0.1", n->port, &fake_handler, n, &err) != 0)
		rfs_die("fake node %llu: %s", (unsigned long long)n->id, err.msg);
	n->port = net_listener_port(n->listener);
}

static void forget_waiting(struct fake_node *n, bool take_them)
{
	struct fake_frame *w;

	while ((w = n->waiting) != NULL) {
		struct frame fr = {w->type, w->payload, w->len};

		DL_DELETE(n->waiting, w);
		n->n_waiting--;
		if (take_them && w->conn->net != NULL)
			take(w->conn, &fr);
		conn_unref(w->conn);
		free(w);
	}
}

static void on_stopped(void *ctx)
{
	struct fake_cluster *f = ctx;

	f->stopping--;
}

void fake_stop(struct fake_node *n)
{
	struct fake_cluster *f = n->cluster;

	if (n->listener == NULL)
		return;
	n->frozen = false;
	forget_waiting(n, false);
	f->stopping++;
	net_listener_close(n->listener, on_stopped, f);
	n->listener = NULL;
	while (f->stopping > 0)
		(void)uv_run(f->loop, UV_RUN_ONCE);
}

void fake_thaw(struct fake_node *n)
{
	n->frozen = false;
	forget_waiting(n, true);
}

void fake_drop_conns(struct fake_node *n)
{
	struct fake_conn *c;

	DL_FOREACH (n->conns, c)
		net_conn_close(c->net);
}

void fake_grant(struct fake_cluster *f, uint64_t asked, bool told)
{
	struct fake_lock *l = &f->locks[asked - 1];

	rfs_check(asked <= f->n_locks && l->state == FAKE_LOCK_WAITS);
	l->state = FAKE_LOCK_GRANTED;
	if (told)
		tell(l, 0, 1000 + asked);
	else
		forget(l);
}

void fake_forget(struct fake_cluster *f, uint64_t asked)
{
	forget(&f->locks[asked - 1]);
}

void fake_expire_sessions(struct fake_cluster *f)
{
	f->n_sessions = 0;
}

struct fake_cluster *fake_cluster_new(uv_loop_t *loop, const char *name, size_t n)
{
	struct fake_cluster *f = mem_zalloc(sizeof(*f));

	rfs_check(n <= FAKE_NODES_MAX);
	f->loop = loop;
	f->limits = NET_LIMITS_DEFAULT;
	f->arena = wire_arena_new();
	f->n_nodes = f->n_members = n;
	f->leader = f->term = 1;
	f->next_session = 1000;
	f->effects = mem_calloc(FAKE_SEEN_MAX, sizeof(*f->effects));
	for (size_t i = 0; i < n; i++) {
		struct fake_node *node = &f->nodes[i];

		node->cluster = f;
		node->id = i + 1;
		node->seen = mem_calloc(FAKE_SEEN_MAX, sizeof(*node->seen));
		node->identity = (struct net_identity){.node_id = node->id, .incarnation = 1};
		(void)snprintf(node->identity.cluster, sizeof(node->identity.cluster), "%s", name);
		fake_start(node);
	}
	return f;
}

void fake_cluster_free(struct fake_cluster *f)
{
	for (size_t i = 0; i < f->n_nodes; i++) {
		fake_stop(&f->nodes[i]);
		free(f->nodes[i].seen);
	}
	for (size_t i = 0; i < f->n_locks; i++)
		forget(&f->locks[i]);
	wire_arena_free(f->arena);
	free(f->effects);
	free(f);
}

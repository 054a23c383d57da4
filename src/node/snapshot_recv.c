/* A snapshot from the leader: chunks into a fresh store beside ours, and the switch to that.
 *
 * Chunks are checked and written by a thread of their own, one job at a time. When the last one is in and everything is on
 * disk, the loop itself closes our store, switches, opens the new one, and begins the log anew if it does not contain the
 * snapshot's position; nothing else happens in between (raft.h, raft_snapshot_fate()). Until then the snapshot can be
 * given up at any moment: when the term or the leader changes, or when the leader offers another one. */
#include "node_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "../store/snapshot.h"

struct chunk {
	struct buf bytes;
	struct chunk *next;
};

struct node_recv {
	uint32_t magic;
	struct node *node;
	raft_id from;
	raft_term term;
	struct raft_pos pos;
	struct store_import *import;
	struct chunk *queue;
	uint64_t expected; /* the chunk that follows what is queued … */
	uint64_t done;     /* … and what is in the new store */
	bool working, void_, complete, again;

	uv_work_t work;
	struct chunk *taken; /* by the job */
	int rc;
	struct rfs_err err;
};

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

/* ---- answers ---- */

static void answer(struct node_recv *v, enum wire_snapshot_state state, bool sync)
{
	struct node_peer *p = peer_by_id(v->node, v->from);
	struct wire_snapshot_ack ack = {
	        .from = v->node->id,
	        .to = v->from,
	        .term = v->term,
	        .pos = v->pos,
	        .next = sync ? v->expected : v->done,
	        .state = state,
	        .sync = sync,
	};

	if (p == NULL || !p->up)
		return;
	wire_put_snapshot_ack(peer_out(p), &ack);
}

/* ---- end ---- */

static void free_chunks(struct chunk *c)
{
	while (c != NULL) {
		struct chunk *next = c->next;

		buf_free(&c->bytes);
		free(c);
		c = next;
	}
}

/* Forget it; a job that is under way is waited for. */
static void give_up(struct node *n)
{
	struct node_recv *v = n->recv;

	if (v == NULL)
		return;
	v->void_ = true;
	if (v->working)
		return;
	n->recv = NULL;
	store_import_abandon(v->import);
	free_chunks(v->queue);
	v->magic = 0;
	free(v);
}

void recv_stop(struct node *n)
{
	give_up(n);
}

/* ---- the switch ---- */

static int reopen(struct node *n, struct rfs_err *err)
{
	char dir[CONFIG_PATH_MAX + 8];
	int rc;

	(void)snprintf(dir, sizeof(dir), "%s/store", n->data_dir);
	store_close(n->store);
	n->store = NULL;
	rc = store_switch(dir, err);
	return rc != 0 ? rc : node_open_store(n, err);
}

static int tell_core(struct node *n, struct raft_pos pos, struct rfs_err *err)
{
	struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED, .snapshot = {.pos = pos}};
	struct raft_conf conf;
	struct raft_pos at;
	const void *bytes;
	size_t len;

	store_get_membership(n->store, &at, &bytes, &len);
	if (at.index != 0) {
		if (!raft_conf_decode(&conf, bytes, len))
			return rfs_err_set(err, RFS_ECORRUPT,
			                   "the snapshot's membership does not decode");
		ev.snapshot.conf = &conf;
		ev.snapshot.conf_index = at.index;
	}
	node_step(n, &ev);
	rfs_check(n->out.error == 0); /* asked in this turn */
	if (at.index != 0)
		incarnations_follow(n, &conf);
	return 0;
}

/* 1: done; 0: of no use; or what the node cannot go on with. */
static int install(struct node *n, struct raft_pos pos, struct rfs_err *err)
{
	enum raft_snapshot_fate fate = raft_snapshot_fate(n->raft, pos);
	int rc;

	if (fate == RAFT_SNAPSHOT_USELESS)
		return 0;
	rc = reopen(n, err);
	if (rc == 0 && (store_applied(n->store).index != pos.index ||
	                store_applied(n->store).term != pos.term))
		rc = rfs_err_set(err, RFS_ECORRUPT, "the installed snapshot is not the one sent");
	if (rc == 0 && fate == RAFT_SNAPSHOT_DROP_LOG)
		rc = wal_reset(n->wal, pos, err);
	if (rc == 0)
		rc = tell_core(n, pos, err);
	n->unflushed_bytes = n->unflushed_entries = 0;
	return rc == 0 ? 1 : rc;
}

static void install_when_possible(struct node_recv *v)
{
	struct node *n = v->node;
	struct rfs_err err = {0};
	int rc;

	/* A flush of ours, or somebody who reads our state: it is a matter of moments. */
	if (n->store_uses > 0)
		return;
	rc = install(n, v->pos, &err);
	if (rc < 0) {
		node_fail(n, &err);
		return;
	}
	answer(v, rc == 1 ? WIRE_SNAPSHOT_INSTALLED : WIRE_SNAPSHOT_USELESS, false);
	give_up(n);
}

/* ---- the job: a chunk into the new store ---- */

static int take_chunk(struct node_recv *v)
{
	char dir[CONFIG_PATH_MAX + 8];
	struct store_opts opts = {.version_max = v->node->config.protocol_version_max};
	int rc = 0;

	(void)snprintf(dir, sizeof(dir), "%s/store", v->node->data_dir);
	if (v->import == NULL)
		rc = store_import_begin(&v->import, dir, &opts, &v->err);
	if (rc == 0)
		rc = store_import_chunk(v->import, v->taken->bytes.data, v->taken->bytes.len,
		                        &v->err);
	if (rc != 1)
		return rc;
	rc = store_import_finish(v->import, &v->err);
	v->import = NULL;
	return rc == 0 ? 1 : rc;
}

static void job_work(uv_work_t *w)
{
	struct node_recv *v = w->data;

	v->rc = take_chunk(v);
}

static void start_job(struct node_recv *v);

static void job_done(uv_work_t *w, int status)
{
	struct node_recv *v = w->data;
	struct node *n = v->node;

	(void)status;
	v->working = false;
	v->taken->next = NULL;
	free_chunks(v->taken);
	v->taken = NULL;
	if (v->void_) {
		give_up(n);
	} else if (v->rc == 1) {
		log_info("snapshot of %llu from node %llu is complete", ull(v->pos.index),
		         ull(v->from));
		v->complete = true;
	} else if (v->rc == 0) {
		v->done++;
		answer(v, WIRE_SNAPSHOT_WANTS, false);
		start_job(v);
	} else {
		log_error("snapshot of %llu from node %llu given up: %s", ull(v->pos.index),
		          ull(v->from), v->err.msg);
		answer(v, WIRE_SNAPSHOT_USELESS, false);
		give_up(n);
	}
	node_closed_one(n);
}

static void start_job(struct node_recv *v)
{
	if (v->working || v->complete || v->queue == NULL)
		return;
	v->taken = v->queue;
	v->queue = v->queue->next;
	v->working = true;
	v->node->closing++;
	v->work.data = v;
	rfs_check(uv_queue_work(v->node->loop, &v->work, job_work, job_done) == 0);
}

/* ---- frames ---- */

static struct node_recv *begin(struct node *n, const struct wire_snapshot *s)
{
	struct node_recv *v = mem_zalloc(sizeof(*v));

	RFS_MAGIC_SET(v, NODE_RECV_MAGIC);
	v->node = n;
	v->from = s->from;
	v->term = s->term;
	v->pos = s->pos;
	log_info("snapshot of %llu offered by node %llu: taking it", ull(s->pos.index),
	         ull(s->from));
	return v;
}

static bool is_same(const struct node_recv *v, const struct wire_snapshot *s)
{
	return v->from == s->from && v->term == s->term && v->pos.index == s->pos.index &&
	       v->pos.term == s->pos.term;
}

static void take_data(struct node_recv *v, const struct wire_snapshot *s)
{
	struct chunk *c;

	/* Sent before the sender knew where we are; or more than it may have under way. */
	if (s->seq != v->expected || v->complete)
		return;
	c = mem_zalloc(sizeof(*c));
	buf_init(&c->bytes);
	buf_put(&c->bytes, s->data, s->len);
	LL_APPEND(v->queue, c);
	v->expected++;
	start_job(v);
}

/* Whoever leads may offer; what a leader of another term began is given up. */
void recv_take(struct node *n, const struct wire_snapshot *s)
{
	struct node_recv refusal = {.node = n, .from = s->from, .term = s->term, .pos = s->pos};
	struct raft_status st;

	raft_get_status(n->raft, &st);
	if (s->term != st.term || s->from != st.leader || n->role != RAFT_FOLLOWER)
		return;
	if (n->recv != NULL && !is_same(n->recv, s))
		give_up(n);
	if (n->recv != NULL && n->recv->void_)
		return; /* its job ends in a moment; we are asked again */
	if (n->recv == NULL && raft_snapshot_fate(n->raft, s->pos) == RAFT_SNAPSHOT_USELESS) {
		answer(&refusal, WIRE_SNAPSHOT_USELESS, false);
		return;
	}
	if (n->recv == NULL && s->data != NULL)
		return; /* in the middle of one that we know nothing of: it is offered first */
	if (n->recv == NULL)
		n->recv = begin(n, s);
	if (s->data == NULL)
		answer(n->recv, WIRE_SNAPSHOT_WANTS, true);
	else
		take_data(n->recv, s);
}

void recv_work(struct node *n)
{
	struct node_recv *v = n->recv;
	struct raft_status st;

	if (v == NULL)
		return;
	raft_get_status(n->raft, &st);
	if (!v->void_ && (st.term != v->term || (st.leader != 0 && st.leader != v->from))) {
		log_info("snapshot of %llu from node %llu given up: term or leader has changed",
		         ull(v->pos.index), ull(v->from));
		give_up(n);
	} else if (v->complete && !v->void_) {
		install_when_possible(v);
	}
}

/* Snapshots to servers that lack what the log does not hold any more.
 *
 * The leader offers one; the receiver says which chunk it wants, which is not the first when it has got some before the
 * connection was lost. A few chunks are under way at a time, each read from RocksDB in a thread of its own, and while
 * clients write no more than NODE_SNAPSHOT_RATE goes out. A sender ends when the receiver has installed the snapshot
 * and has gone on from there, or when we lead no more, or after too long a silence.
 *
 *   OFFERING   until the receiver says where to begin
 *   SENDING
 *   INSTALLED  the core has been told; the log is held until the receiver is behind it
 *   FAILED     the core is told at again_ms, so that it does not ask again at once */
#include "node_priv.h"

#include <stdlib.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "../store/snapshot.h"

enum send_state { SEND_OFFERING, SEND_SENDING, SEND_INSTALLED, SEND_FAILED };

struct node_send {
	uint32_t magic;
	struct node *node;
	raft_id to;
	raft_term term;
	enum send_state state;
	struct store_snapshot *sn; /* NULL once it is not needed any more */
	struct raft_pos pos;
	uint64_t acked, next; /* chunks taken by the receiver; sent */
	uint64_t bytes;
	bool read_all;
	uint64_t heard_ms, offered_ms, began_ms, again_ms;
	uint64_t free_at_ms; /* when the rate allows the next chunk */

	uv_timer_t timer;
	uv_work_t work;
	bool working, closing;
	struct buf chunk;
	int rc;
	struct rfs_err err;
	struct node_send *prev, *next_send;
};

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

/* ---- end ---- */

static void drop_snapshot(struct node_send *s)
{
	if (s->sn == NULL || s->working)
		return;
	store_snapshot_close(s->sn);
	s->sn = NULL;
	s->node->store_uses--;
}

static void timer_closed(uv_handle_t *h)
{
	struct node_send *s = h->data;
	struct node *n = s->node;

	buf_free(&s->chunk);
	s->magic = 0;
	free(s);
	node_closed_one(n);
}

/* Out of the list; a chunk that is being read is waited for. */
static void end(struct node_send *s)
{
	if (!s->closing) {
		s->closing = true;
		DL_DELETE2(s->node->sends, s, prev, next_send);
	}
	if (s->working)
		return;
	drop_snapshot(s);
	uv_close((uv_handle_t *)&s->timer, timer_closed);
}

static void fail(struct node_send *s, const char *why)
{
	log_warn("snapshot of %llu for node %llu given up: %s", ull(s->pos.index), ull(s->to), why);
	s->state = SEND_FAILED;
	s->again_ms = clock_mono_ms() + NODE_SNAPSHOT_AGAIN_MS;
	drop_snapshot(s);
}

/* ---- sending ---- */

static void pump(struct node_send *s);

static void put(struct node_send *s, struct node_peer *p, uint64_t seq, const struct buf *chunk)
{
	struct wire_snapshot m = {
	        .from = s->node->id,
	        .to = s->to,
	        .term = s->term,
	        .pos = s->pos,
	        .seq = seq,
	        .data = chunk != NULL ? chunk->data : NULL,
	        .len = chunk != NULL ? (uint32_t)chunk->len : 0,
	};

	wire_put_snapshot(peer_out(p), &m);
}

void sends_pace(const struct node *n, uint64_t *free_at_ms, size_t bytes)
{
	uint64_t now = clock_mono_ms();

	if (*free_at_ms < now)
		*free_at_ms = now;
	if (now < n->changed_ms + NODE_SNAPSHOT_BUSY_MS)
		*free_at_ms += bytes * 1000 / NODE_SNAPSHOT_RATE;
}

static void read_chunk(uv_work_t *w)
{
	struct node_send *s = w->data;

	s->rc = store_snapshot_next(s->sn, &s->chunk, &s->err);
}

static void chunk_read(uv_work_t *w, int status)
{
	struct node_send *s = w->data;
	struct node_peer *p = peer_by_id(s->node, s->to);

	(void)status;
	s->working = false;
	if (s->closing) {
		end(s);
		return;
	}
	if (s->state != SEND_SENDING) { /* has lost the connection, or failed, meanwhile */
		if (s->state != SEND_OFFERING)
			drop_snapshot(s);
		return;
	}
	if (s->rc < 0) {
		fail(s, s->err.msg);
	} else if (s->rc == 0) {
		s->read_all = true;
	} else if (p != NULL && p->up) {
		put(s, p, s->next, &s->chunk);
		s->next++;
		s->bytes += s->chunk.len;
		sends_pace(s->node, &s->free_at_ms, s->chunk.len);
		pump(s);
	}
}

static void offer(struct node_send *s, struct node_peer *p)
{
	uint64_t now = clock_mono_ms();

	if (now < s->offered_ms + NODE_SNAPSHOT_OFFER_MS)
		return;
	s->offered_ms = now;
	put(s, p, 0, NULL);
}

static void pump(struct node_send *s)
{
	if (s->state != SEND_SENDING || s->working || s->read_all || s->sn == NULL ||
	    s->next >= s->acked + NODE_SNAPSHOT_WINDOW || clock_mono_ms() < s->free_at_ms)
		return;
	s->working = true;
	s->work.data = s;
	rfs_check(uv_queue_work(s->node->loop, &s->work, read_chunk, chunk_read) == 0);
}

/* ---- what happens meanwhile ---- */

static void look_at_receiver(struct node_send *s)
{
	struct node_peer *p = peer_by_id(s->node, s->to);

	if (clock_mono_ms() - s->heard_ms > NODE_SNAPSHOT_PATIENCE_MS) {
		fail(s, "no word from the receiver");
		return;
	}
	if (p == NULL || !p->up) {
		s->state = SEND_OFFERING; /* when it is back, it says how far it got */
		return;
	}
	if (net_conn_version(p->net) < frame_version(FRAME_SNAPSHOT)) {
		fail(s, "it speaks a protocol version that has no snapshots: upgrade it");
		return;
	}
	if (s->next > s->acked && clock_mono_ms() - s->heard_ms > NODE_SNAPSHOT_SILENT_MS)
		s->state = SEND_OFFERING; /* the connection may have been another one meanwhile */
	if (s->state == SEND_OFFERING)
		offer(s, p);
	else
		pump(s);
}

static void on_timer(uv_timer_t *t)
{
	struct node_send *s = t->data;
	struct node *n = s->node;
	struct raft_peer_status ps;

	RFS_MAGIC_CHECK(s, NODE_SEND_MAGIC);
	switch (s->state) {
	case SEND_OFFERING:
	case SEND_SENDING: look_at_receiver(s); return;
	case SEND_INSTALLED:
		if (raft_get_peer(n->raft, s->to, &ps) && ps.match < s->pos.index &&
		    clock_mono_ms() - s->heard_ms < NODE_SNAPSHOT_PATIENCE_MS)
			return;
		end(s);
		return;
	case SEND_FAILED:
		if (clock_mono_ms() < s->again_ms)
			return;
		node_step(n, &(struct raft_event){.kind = RAFT_EV_SNAPSHOT_STATUS,
		                                  .snapshot = {.peer = s->to}});
		end(s);
		return;
	}
}

static struct node_send *send_to(struct node *n, raft_id to)
{
	struct node_send *s;

	DL_FOREACH2(n->sends, s, next_send)
	{
		if (s->to == to)
			return s;
	}
	return NULL;
}

void sends_wanted(struct node *n, raft_id to)
{
	struct node_send *s = send_to(n, to);
	struct rfs_err err = {0};
	struct raft_status st;

	if (s != NULL && s->state != SEND_INSTALLED)
		return;
	if (s != NULL)
		end(s); /* it has lost what it had */
	raft_get_status(n->raft, &st);
	s = mem_zalloc(sizeof(*s));
	RFS_MAGIC_SET(s, NODE_SEND_MAGIC);
	s->node = n;
	s->to = to;
	s->term = st.term;
	s->heard_ms = s->began_ms = clock_mono_ms();
	buf_init(&s->chunk);
	n->closing++;
	DL_APPEND2(n->sends, s, prev, next_send);
	(void)uv_timer_init(n->loop, &s->timer);
	s->timer.data = s;
	(void)uv_timer_start(&s->timer, on_timer, 0, 10);
	if (store_snapshot_open(n->store, 0, &s->sn, &err) != 0) {
		fail(s, err.msg);
		return;
	}
	n->store_uses++;
	s->pos = store_snapshot_info(s->sn)->pos;
	log_info("snapshot of %llu for node %llu: %llu inodes, %llu bytes of files",
	         ull(s->pos.index), ull(to), ull(store_snapshot_info(s->sn)->counts.inodes),
	         ull(store_snapshot_info(s->sn)->counts.bytes));
}

static void go_on_at(struct node_send *s, uint64_t next)
{
	if (s->working)
		return; /* it is offered again */
	if (store_snapshot_seek(s->sn, next) != 0) {
		fail(s, "the receiver wants a chunk that there is not");
		return;
	}
	if (next > 0)
		log_info("snapshot of %llu for node %llu: going on at chunk %llu",
		         ull(s->pos.index), ull(s->to), ull(next));
	s->state = SEND_SENDING;
	s->acked = s->next = next;
	s->read_all = false;
	pump(s);
}

static void installed(struct node_send *s)
{
	uint64_t ms = clock_mono_ms() - s->began_ms;

	log_info("snapshot of %llu for node %llu: installed, %llu bytes in %llu ms",
	         ull(s->pos.index), ull(s->to), ull(s->bytes), ull(ms));
	s->state = SEND_INSTALLED;
	drop_snapshot(s);
	node_step(s->node, &(struct raft_event){.kind = RAFT_EV_SNAPSHOT_STATUS,
	                                        .snapshot = {.peer = s->to, .pos = s->pos}});
}

void sends_take_ack(struct node *n, const struct wire_snapshot_ack *ack)
{
	struct node_send *s = send_to(n, ack->from);

	if (s == NULL || ack->term != s->term || ack->pos.index != s->pos.index ||
	    ack->pos.term != s->pos.term || (s->state != SEND_OFFERING && s->state != SEND_SENDING))
		return;
	s->heard_ms = clock_mono_ms();
	switch (ack->state) {
	case WIRE_SNAPSHOT_WANTS:
		if (ack->sync) {
			go_on_at(s, ack->next);
		} else if (ack->next > s->acked && ack->next <= s->next) {
			s->acked = ack->next;
			pump(s);
		}
		return;
	case WIRE_SNAPSHOT_INSTALLED: installed(s); return;
	case WIRE_SNAPSHOT_USELESS: fail(s, "the receiver does not want it"); return;
	}
}

void sends_work(struct node *n)
{
	struct node_send *s, *next;
	struct raft_status st;

	if (n->sends == NULL)
		return;
	raft_get_status(n->raft, &st);
	for (s = n->sends; s != NULL; s = next) {
		next = s->next_send;
		if (n->role != RAFT_LEADER || st.term != s->term ||
		    !raft_conf_is_member(raft_get_conf(n->raft), s->to))
			end(s);
	}
}

raft_index sends_hold(const struct node *n)
{
	const struct node_send *s;
	raft_index hold = UINT64_MAX;

	DL_FOREACH2(n->sends, s, next_send)
	{
		if (s->state != SEND_FAILED && s->pos.index < hold)
			hold = s->pos.index;
	}
	return hold;
}

bool sends_has(const struct node *n, raft_id to)
{
	const struct node_send *s;

	DL_FOREACH2(n->sends, s, next_send)
	{
		if (s->to == to && (s->state == SEND_OFFERING || s->state == SEND_SENDING))
			return true;
	}
	return false;
}

void sends_stop(struct node *n)
{
	while (n->sends != NULL)
		end(n->sends);
}

/* Room on the disk of the data directory.
 *
 * A part of it, the reserve, is not given to what makes the state larger, so that what makes it smaller
 * still finds room for its entries in the log, for the flush of the state and for the compaction that
 * gives the room of deleted records back. Each server looks at its own disk and tells the others when it
 * is within the reserve. The leader refuses a growing change (ENOSPC, at once, certainly not done) while
 * fewer than a quorum have room for it; one full disk in three stops nobody, and a leader whose own disk
 * is the full one hands over to a server with room.
 *
 * Where others fill the disk to the last block the log waits for its next segment and the state machine
 * keeps in memory what the engine cannot take; reads go on, and both try again until there is room. */
#include "node_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../raft/conf.h"

#define WATCH_MS 200u
#define LOOK_EVERY_BYTES                                                                           \
	(64u << 10)             /* written to the log: look at once, not only at the next watch */
#define NEWS_VOID_MS     2000u  /* what another server said of its disk holds so long */
#define HANDOVER_MS      2000u  /* between two tries */
#define RECLAIM_WORTH_MS 60000u /* after something was removed */
#define RECLAIM_PAUSE_MS 1000u
#define RECLAIM_PAUSES   10u   /* times as long as the last one took */
#define LINGER_SHORT_MS  2000u /* on a full disk files without names do not linger for longer */
#define SAID_MS          5000u
#define QUIET_MS         5000u /* without a change of a client */
#define TRIM_LOST_MS     2000u /* a TRIM that has not been applied by then is not coming */

/* Shares of the file system, and what they are at most and at least. */
#define SEGMENT_SHARE         128
#define SEGMENT_BYTES_MIN     (512u << 10)
#define RESERVE_SHARE         8
#define RESERVE_BYTES_MAX     (512ull << 20)
#define TIGHT_RESERVES        2 /* with less than so many free, what was removed is given back early */
#define UNCOMMITTED_SHARE     16
#define KEEP_SHARE            64
#define UNCOMMITTED_BYTES_MIN (2 * RAFT_ENTRY_BYTES_MAX)
/* Applied, and kept in memory because the engine's disk is full; beyond it nothing more is applied. */
#define UNSAVED_BYTES_MAX (16u << 20)

static uint64_t between(uint64_t least, uint64_t v, uint64_t most)
{
	return v < least ? least : v > most ? most : v;
}

/* ---- what is there ---- */

static bool measure(struct node *n)
{
	struct node_space *s = &n->space;
	struct statvfs st;

	if (statvfs(n->data_dir, &st) != 0)
		return false; /* what fails there will say so when it is written to */
	s->total_bytes = (uint64_t)st.f_blocks * st.f_frsize;
	s->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return true;
}

void space_choose_sizes(struct node *n)
{
	struct node_space *s = &n->space;
	uint64_t total = measure(n) ? s->total_bytes : UINT64_MAX;

	s->room = NODE_ROOM;
	s->segment_bytes = between(SEGMENT_BYTES_MIN, total / SEGMENT_SHARE, NODE_SEGMENT_BYTES);
	s->uncommitted_bytes = between(UNCOMMITTED_BYTES_MIN, total / UNCOMMITTED_SHARE,
	                               NODE_UNCOMMITTED_BYTES_MAX);
	s->flush_bytes = between(SEGMENT_BYTES_MIN, total / SEGMENT_SHARE, NODE_FLUSH_BYTES);
	s->keep_bytes = between(SEGMENT_BYTES_MIN, total / KEEP_SHARE, n->config.keep_bytes);
	s->hold_bytes = between(SEGMENT_BYTES_MIN, total / KEEP_SHARE, NODE_HOLD_BYTES);
	s->reserve_bytes = between(0, total / RESERVE_SHARE, RESERVE_BYTES_MAX);
}

bool space_is_tight(const struct node *n)
{
	return n->space.free_bytes < TIGHT_RESERVES * n->space.reserve_bytes;
}

/* What the log keeps for those who are a little behind is the first to go. */
uint64_t space_keep_bytes(const struct node *n)
{
	return space_is_tight(n) ? 0 : n->space.keep_bytes;
}

uint64_t space_hold_bytes(const struct node *n)
{
	return space_is_tight(n) ? 0 : n->space.hold_bytes;
}

static enum node_room room_of(const struct node_space *s)
{
	/* a little more to come back than to leave, so as not to waver */
	uint64_t want =
	        s->room == NODE_ROOM ? s->reserve_bytes : s->reserve_bytes + s->reserve_bytes / 8;

	if (s->log_waits || s->unsaved_bytes > UNSAVED_BYTES_MAX)
		return NODE_ROOM_NONE;
	return s->free_bytes < want ? NODE_ROOM_SHORT : NODE_ROOM;
}

static void say(struct node *n, enum node_room was)
{
	struct node_space *s = &n->space;
	uint64_t now = clock_mono_ms();

	if (s->room == NODE_ROOM) {
		log_info("there is room again in %s: %" PRIu64 " MiB free", n->data_dir,
		         s->free_bytes >> 20);
		return;
	}
	if (s->room == NODE_ROOM_SHORT && was == NODE_ROOM_NONE && now - s->said_ms < SAID_MS)
		return;
	s->said_ms = now;
	log_warn("disk full: %" PRIu64 " KiB free in %s, %" PRIu64
	         " KiB are kept for what frees some%s",
	         s->free_bytes >> 10, n->data_dir, s->reserve_bytes >> 10,
	         s->room == NODE_ROOM_NONE ? "; the log waits for room" : "");
}

static void tell_peers(struct node *n)
{
	struct wire_room r = {.node_id = n->id, .room = (uint32_t)n->space.room};

	struct node_peer *p;

	DL_FOREACH (n->peers, p) {
		if (p->up && net_conn_version(p->net) >= frame_version(FRAME_ROOM))
			wire_put_room(peer_out(p), &r);
	}
}

static void look(struct node *n)
{
	struct node_space *s = &n->space;
	enum node_room was = s->room;

	s->written_bytes = 0;
	if (!measure(n))
		return;
	s->room = room_of(s);
	if (s->room == was)
		return;
	say(n, was);
	tell_peers(n);
}

/* ---- the others ---- */

void space_heard(struct node *n, const struct wire_room *r)
{
	struct node_peer *p = peer_by_id(n, r->node_id);

	if (p == NULL)
		return;
	p->room = (enum node_room)between(NODE_ROOM_NONE, r->room, NODE_ROOM);
	p->room_heard_ms = clock_mono_ms();
}

struct quorum_question {
	const struct node *n;
	enum node_room least; /* NODE_ROOM_NONE: whoever is there */
};

static bool is_there(const struct node *n, raft_id id, enum node_room least)
{
	const struct node_peer *p;

	if (id == n->id)
		return n->space.room >= least;
	p = peer_by_id((struct node *)(uintptr_t)n, id);
	if (p == NULL || !p->up)
		return false;
	return p->room_heard_ms == 0 || clock_mono_ms() - p->room_heard_ms > NEWS_VOID_MS ||
	       p->room >= least;
}

static uint64_t question_value(const void *ctx, raft_id id)
{
	const struct quorum_question *q = ctx;

	return is_there(q->n, id, q->least);
}

static bool quorum_has(const struct node *n, enum node_room least)
{
	const struct quorum_question q = {n, least};

	return raft_conf_quorum(raft_get_conf(n->raft), question_value, &q) > 0;
}

/* ---- refusing ---- */

/* Whether it is certain that this command stands nowhere in the log: then a refusal is the truth, and no
 * older copy of it can still take effect. */
static bool is_new(const struct node *n, const struct wire_request *r)
{
	return store_applied(n->store).index >= n->term_start &&
	       session_proposed(n, r->session) < r->seq &&
	       store_session_is_new(n->store, r->session, r->seq);
}

/* A few bytes, for which somebody else may be waiting: no more of them come than were let in before. */
static bool sets_free(enum fs_op_kind kind)
{
	return kind == FS_OP_SESSION_CLOSE || kind == FS_OP_UNLOCK || kind == FS_OP_LOCK_CANCEL;
}

int space_judge(struct node *n, const struct wire_request *r)
{
	enum node_room least = fs_op_grows(&r->op) ? NODE_ROOM : NODE_ROOM_SHORT;

	if (r->session == 0 || sets_free(r->op.kind) || quorum_has(n, least))
		return 0;
	/* Those who are missing, and not their disks, are what stops us. */
	if (!quorum_has(n, NODE_ROOM_NONE))
		return 0;
	return is_new(n, r) ? -ENOSPC : 0;
}

/* ---- getting room ---- */

static raft_id roomy_voter(struct node *n)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	struct raft_peer_status st;
	struct node_peer *p;
	raft_index best = 0;
	raft_id id = 0;

	DL_FOREACH (n->peers, p) {
		if (!raft_conf_stays_voter(conf, p->id) || !is_there(n, p->id, NODE_ROOM) ||
		    !raft_get_peer(n->raft, p->id, &st) || st.match < best)
			continue;
		best = st.match;
		id = p->id;
	}
	return id;
}

/* Others can take what this leader's disk cannot. */
static void hand_over(struct node *n)
{
	uint64_t now = clock_mono_ms();
	bool leads = n->role == RAFT_LEADER;
	raft_id to = leads && quorum_has(n, NODE_ROOM) ? roomy_voter(n) : 0;

	if (to == 0 || n->leaving || now - n->space.handed_ms < HANDOVER_MS)
		return;
	n->space.handed_ms = now;
	log_info("this node's disk is full and node %" PRIu64 " has room", to);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = to});
}

/* What has lingered is freed by the next change of a client: only where none comes is an entry made for it. */
static bool has_to_free(const struct node *n)
{
	bool quiet = clock_mono_ms() - n->changed_ms >= QUIET_MS;
	struct store_freeing f;

	store_get_freeing(n->store, &f);
	return f.contents > 0 || (quiet && store_has_to_free(n->store, clock_real_ns())) ||
	       (space_is_tight(n) && store_lingering(n->store) > 0);
}

/* Have the state machine free a piece of what waits for that; at most one such entry is under way. */
static void trim(struct node *n)
{
	const struct fs_op op = {.kind = FS_OP_TRIM,
	                         .size = space_is_tight(n) ? LINGER_SHORT_MS : UINT64_MAX};
	uint64_t now = clock_mono_ms();

	if (!has_to_free(n) || n->role != RAFT_LEADER ||
	    fs_op_protocol(&op) > store_version(n->store) ||
	    (n->space.trims && now - n->space.trimmed_ms < TRIM_LOST_MS))
		return;
	n->space.trims = serve_command(n, &op) == 0;
	n->space.trimmed_ms = now;
}

/* One after the other while nobody else has anything to write, and room is to be had; else at each watch. */
static void trim_on(struct node *n)
{
	if (!n->space.trimmed)
		return;
	n->space.trimmed = false;
	if (clock_mono_ms() - n->changed_ms >= WATCH_MS || space_is_tight(n))
		trim(n);
}

void space_applied(struct node *n, const struct fs_op *op)
{
	if (op->kind == FS_OP_TRIM) {
		n->space.trims = false;
		n->space.trimmed = true;
		uv_async_send(&n->again);
	}
	if (op->kind != FS_OP_NONE && fs_op_is_write(op->kind) && !fs_op_grows(op))
		n->space.freed_ms = clock_mono_ms();
}

static void reclaim_work(uv_work_t *w)
{
	struct node *n = w->data;

	store_reclaim(n->store);
}

/* Again for a while: one that found no room for itself is not told from one that had nothing to do. A
 * large store takes its time; most of that is to be for others. */
static bool reclaim_is_due(const struct node_space *s)
{
	uint64_t now = clock_mono_ms();
	uint64_t took = s->reclaimed_ms - s->reclaim_began_ms;
	uint64_t pause = took * RECLAIM_PAUSES;

	if (pause < RECLAIM_PAUSE_MS)
		pause = RECLAIM_PAUSE_MS;
	return s->freed_ms != 0 && now - s->freed_ms < pause + RECLAIM_WORTH_MS && !s->reclaiming &&
	       now - s->reclaimed_ms >= pause;
}

static void reclaim_done(uv_work_t *w, int status)
{
	struct node *n = w->data;

	(void)status;
	n->space.reclaiming = false;
	n->space.reclaimed_ms = clock_mono_ms();
	n->store_uses--;
	node_closed_one(n);
}

static void reclaim(struct node *n)
{
	struct node_space *s = &n->space;

	if (!reclaim_is_due(s))
		return;
	s->reclaiming = true;
	s->reclaim_began_ms = clock_mono_ms();
	s->work.data = n;
	n->store_uses++;
	n->closing++;
	rfs_check(uv_queue_work(n->loop, &s->work, reclaim_work, reclaim_done) == 0);
}

/* ---- the state machine on a full disk ---- */

bool space_may_apply(const struct node *n)
{
	return n->space.unsaved_bytes <= UNSAVED_BYTES_MAX;
}

int space_save(struct node *n, struct rfs_err *err)
{
	struct node_space *s = &n->space;
	int rc = store_commit(n->store, err);
	uint64_t now = clock_mono_ms();

	if (rc == 0) {
		s->unsaved_bytes = 0;
		return 0;
	}
	if (rc != -ENOSPC)
		return rc;
	s->unsaved_bytes = store_batch_bytes(n->store);
	if (now - s->said_ms >= SAID_MS) {
		s->said_ms = now;
		log_error("disk full: %s; kept in memory until there is room (the log has it)",
		          err->msg);
	}
	return 0;
}

/* ---- watching ---- */

void space_wrote(struct node *n, const struct raft_entry *e, size_t count)
{
	for (size_t i = 0; i < count; i++)
		n->space.written_bytes += e[i].len;
}

void space_end_turn(struct node *n)
{
	if (n->space.written_bytes >= LOOK_EVERY_BYTES)
		look(n);
	trim_on(n);
}

static void on_watch(uv_timer_t *t)
{
	struct node *n = t->data;
	struct rfs_err err = {0};

	if (node_is_out(n))
		return;
	stall_look(n);
	look(n);
	if (n->space.unsaved_bytes > 0) {
		if (space_save(n, &err) != 0)
			node_fail(n, &err);
		uv_async_send(&n->again);
	}
	if (space_is_tight(n))
		reclaim(n);
	trim(n);
	if (n->space.room == NODE_ROOM)
		return;
	tell_peers(n); /* again: a word may be lost, or its hearer may be new */
	hand_over(n);
}

void space_log_news(struct node *n, int space)
{
	bool waits = space != 0;

	if (waits == n->space.log_waits)
		return;
	n->space.log_waits = waits;
	look(n);
}

void space_start(struct node *n)
{
	(void)uv_timer_start(&n->space.watch, on_watch, 0, WATCH_MS);
}

void space_stop(struct node *n)
{
	if (n->space.reclaiming)
		store_reclaim_stop(n->store);
}

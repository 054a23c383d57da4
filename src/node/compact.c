/* The state machine comes to disk beside the work of the loop, and the log is cut behind it.
 *
 * Whoever restarts replays what was not flushed, and reads what the log keeps: both are bounded here. The log keeps a
 * margin behind the flushed position for followers that are a little behind, and for a while everything that a
 * receiver of a snapshot will ask for next. */
#include "node_priv.h"

#include <errno.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/log.h"

#define FLUSH_AGAIN_MS 1000u /* after one without room */

/* ---- cutting ---- */

/* The first entry that the margin keeps: counted from the newest on disk. */
static raft_index margin_begin(const struct node *n, raft_index last)
{
	raft_index base = wal_base(n->wal).index, i = last;
	uint64_t keep_bytes = space_keep_bytes(n), bytes = 0, entries = 0;
	struct raft_entry e;

	while (i > base && entries < n->config.keep_entries && wal_entry_at(n->wal, i, &e)) {
		bytes += e.len;
		if (bytes > keep_bytes)
			break;
		entries++;
		i--;
	}
	return i;
}

void compact_cut(struct node *n)
{
	raft_index upto = margin_begin(n, store_durable(n->store).index), hold = sends_hold(n);
	struct rfs_err err = {0};
	struct raft_status st;

	if (hold < upto && wal_disk_bytes(n->wal) < space_keep_bytes(n) + space_hold_bytes(n))
		upto = hold;
	if (wal_cut(n->wal, upto, &err) != 0) {
		node_fail(n, &err);
		return;
	}
	raft_get_status(n->raft, &st);
	if (wal_base(n->wal).index > st.base.index)
		node_step(n, &(struct raft_event){.kind = RAFT_EV_LOG_CUT,
		                                  .snapshot = {.pos = wal_base(n->wal)}});
}

/* ---- flushing ---- */

static void flush_work(uv_work_t *w)
{
	struct node *n = w->data;

	store_flush_work(n->flush);
}

static void flush_done(uv_work_t *w, int status)
{
	struct node *n = w->data;
	struct raft_pos durable;
	struct rfs_err err = {0};
	int rc;

	(void)status;
	rc = store_flush_end(n->flush, &durable, &err);
	n->flush = NULL;
	n->store_uses--;
	if (rc == -ENOSPC) {
		log_error("the state cannot be written: %s", err.msg);
		n->flush_after_ms = clock_mono_ms() + FLUSH_AGAIN_MS;
		n->unflushed_bytes += n->space.flush_bytes;
	} else if (rc != 0) {
		node_fail(n, &err);
	} else if (!n->failed && !n->stopping) {
		log_debug("state flushed up to %llu", (unsigned long long)durable.index);
		compact_cut(n);
	}
	node_closed_one(n);
}

void compact_work(struct node *n)
{
	if ((n->unflushed_bytes < n->space.flush_bytes &&
	     n->unflushed_entries < NODE_FLUSH_ENTRIES) ||
	    n->flush != NULL || clock_mono_ms() < n->flush_after_ms)
		return;
	n->flush = store_flush_begin(n->store);
	if (n->flush == NULL)
		return;
	n->unflushed_bytes = n->unflushed_entries = 0;
	n->store_uses++;
	n->closing++;
	n->flush_work.data = n;
	rfs_check(uv_queue_work(n->loop, &n->flush_work, flush_work, flush_done) == 0);
}

/* The state machine's flushes, which run beside everything else, and the log that is cut behind
 * them. */
#include <errno.h>
#include "watch.h"

static void again(struct sim_server *v)
{
	struct sim *s = v->sim;

	sim_post(s, rng_between(&s->rng, 1, 2 * (uint64_t)s->plan.flush_every_us), SIM_FLUSH, v->at)
	        ->life = v->life;
}

void flush_begin(struct sim_server *v)
{
	struct sim *s = v->sim;

	if (v->flush == NULL)
		v->flush = store_flush_begin(v->store);
	if (v->flush == NULL)
		again(v); /* there is nothing */
	else
		sim_post(s, rng_below(&s->rng, s->plan.flush_us), SIM_FLUSHED, v->at)->life =
		        v->life;
}

/* ---- the log ---- */

static raft_index lowest_needed(const struct sim_server *v, raft_index durable)
{
	raft_index upto = durable > v->sim->plan.margin ? durable - v->sim->plan.margin : 0;

	if (!v->sim->plan.careless_cut && send_lowest(v) < upto)
		upto = send_lowest(v);
	return upto;
}

static void cut_log(struct sim_server *v, raft_index durable)
{
	raft_index upto = lowest_needed(v, durable);
	struct raft_event ev = {.kind = RAFT_EV_LOG_CUT};
	struct raft_status st;
	struct rfs_err err = {0};

	raft_get_status(v->raft, &st);
	if (upto <= st.base.index)
		return;
	ev.snapshot.pos = (struct raft_pos){upto, raft_term_at(v->raft, upto)};
	if (wal_cut(v->wal, upto, &err) != 0)
		sim_fail(v->sim, "server %u: wal_cut: %s", v->at + 1, err.msg);
	watch_cut(v);
	disk_starts(v);
	if (v->sim->plan.fine_cut == 0)
		ev.snapshot.pos = wal_base(v->wal);
	if (ev.snapshot.pos.index <= st.base.index)
		return;
	v->sim->totals.cuts++;
	sim_trace(v->sim, "server %u: its log begins behind %llu", v->at + 1,
	          ull(ev.snapshot.pos.index));
	server_step(v, ev);
}

/* In a thread of its own: the owner goes on, and hears of it later. */
void flush_work(struct sim_server *v)
{
	struct sim *s = v->sim;

	if (v->flush == NULL) {
		again(v); /* the store was switched meanwhile */
		return;
	}
	store_flush_work(v->flush);
	v->flush_done = true;
	if (!place_refuses(v->place))
		watch_flushed(v);
	sim_post(s, rng_below(&s->rng, s->plan.disk_max_us), SIM_FLUSH_TOLD, v->at)->life = v->life;
}

static int finish(struct sim_server *v, struct raft_pos *durable, struct rfs_err *err)
{
	int rc = store_flush_end(v->flush, durable, err);

	v->flush = NULL;
	v->flush_done = false;
	return rc;
}

void flush_end(struct sim_server *v)
{
	struct raft_pos durable = {0};
	struct rfs_err err = {0};
	int rc;

	if (v->flush == NULL) {
		again(v);
		return;
	}
	rc = finish(v, &durable, &err);
	again(v);
	if (rc == 0)
		cut_log(v, durable.index);
	else if (rc != -ENOSPC)
		sim_fail(v->sim, "server %u: flush: %s", v->at + 1, err.msg);
}

void flush_forget(struct sim_server *v, bool done)
{
	struct raft_pos durable;

	if (v->flush != NULL && done && !v->flush_done) {
		store_flush_work(v->flush);
		if (!place_refuses(v->place))
			watch_flushed(v);
	}
	if (v->flush != NULL)
		(void)finish(v, &durable, NULL);
}

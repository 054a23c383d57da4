/* Rounds of the log's writer in virtual time, and what the disk does to them. */
#include <errno.h>
#include <string.h>
#include "watch.h"

/* While the disk is full, the writer tries again after so long. */
#define SPACE_RETRY_US 30000u

static void starts_in(struct sim_server *v, uint64_t us)
{
	if (v->disk_busy)
		return;
	v->disk_busy = true;
	sim_post(v->sim, us, SIM_DISK, v->at)->life = v->life;
}

void disk_starts(struct sim_server *v)
{
	struct sim *s = v->sim;
	uint64_t us = rng_between(&s->rng, s->plan.disk_min_us, s->plan.disk_max_us);

	if (!s->calm && rng_permille(&s->rng, s->plan.slow_disk))
		us += rng_below(&s->rng, 500000);
	if (v->hung_until > s->now_us + us)
		us = v->hung_until - s->now_us;
	if (!v->disk_busy)
		v->disk_since_us = s->now_us;
	starts_in(v, us);
}

static void tell_core(struct sim_server *v, bool stalled)
{
	sim_trace(v->sim, "server %u: its disk %s", v->at + 1, stalled ? "hangs" : "works again");
	v->stalled = stalled;
	server_step(v, (struct raft_event){.kind = RAFT_EV_DISK, .stalled = stalled});
}

/* src/node/stall.c */
void disk_look(struct sim_server *v)
{
	bool stalled =
	        v->disk_since_us != 0 && v->sim->now_us - v->disk_since_us >= v->sim->plan.stall_us;

	if (stalled != v->stalled)
		tell_core(v, stalled);
}

/* The power fails somewhere inside this round: what it had synced stays, of the rest any part. */
static void die(struct sim_server *v)
{
	memfs_power_off_at(v->disk, rng_between(&v->sim->rng, 1, 6));
	(void)wal_work(v->wal);
	server_crash(v, rng_permille(&v->sim->rng, 700) ? END_POWER : END_POWER_ALL);
}

void disk_work(struct sim_server *v)
{
	bool did;

	v->disk_busy = false;
	if (v->hung_until > v->sim->now_us) {
		starts_in(v, v->hung_until - v->sim->now_us);
		return;
	}
	if (v->dying) {
		die(v);
		return;
	}
	v->disk_since_us = 0;
	did = wal_work(v->wal);
	if (!v->full && !(v->disk_faulty && memfs_fired(v->disk)))
		watch_synced(v);
	if (!did && !v->full && !v->disk_faulty)
		return;
	/* As with a thread of its own: what is done is heard of later, when the core may have gone
	 * on to something else. */
	sim_post(v->sim, rng_below(&v->sim->rng, v->sim->plan.disk_max_us), SIM_POLL, v->at)->life =
	        v->life;
	if (did)
		disk_starts(v);
}

/* A disk that fails ends the process. */
static void failed(struct sim_server *v, const struct rfs_err *err)
{
	struct sim *s = v->sim;

	if (!v->disk_faulty)
		sim_fail(s, "server %u: log: %s", v->at + 1, err->msg);
	sim_trace(s, "server %u: %s", v->at + 1, err->msg);
	server_crash(v, END_KILL);
	sim_post(s, rng_between(&s->rng, 1000, 500000), SIM_RESTART, v->at);
}

void disk_poll(struct sim_server *v)
{
	struct rfs_err err = {0};
	struct wal_done done;

	wal_poll(v->wal, &done, &err);
	if (done.error != 0) {
		failed(v, &err);
		return;
	}
	if (done.space != 0)
		starts_in(v, SPACE_RETRY_US);
	if (done.log)
		watch_synced_to(v, done.log_pos);
	if (done.state)
		server_step(v, (struct raft_event){.kind = RAFT_EV_STATE_DURABLE,
		                                   .durable = {.epoch = done.state_epoch}});
	if (done.log)
		server_step(v, (struct raft_event){.kind = RAFT_EV_LOG_DURABLE,
		                                   .durable = {done.log_epoch, done.log_pos}});
}

void disk_full(struct sim_server *v, uint64_t room)
{
	v->full = true;
	memfs_capacity(v->disk, memfs_used(v->disk) + room);
	place_fill(v->place, true);
}

void disk_room(struct sim_server *v)
{
	if (!v->full)
		return;
	sim_trace(v->sim, "server %u: its disk has room", v->at + 1);
	v->full = false;
	memfs_capacity(v->disk, UINT64_MAX);
	place_fill(v->place, false);
	if (v->up)
		disk_starts(v);
}

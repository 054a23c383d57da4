/* Snapshots in, from whoever leads: chunks into a fresh store, which takes the place of the old one
 * when it is complete and on disk; then the log, by the paper's rule (section 7). The order, and
 * what a crash leaves: store/snapshot.h, docs/snapshot-format.md. */
#include <errno.h>
#include "watch.h"

static void answer(struct sim_server *v, const struct sim_part *p, uint64_t next, bool installed)
{
	struct sim_part a = {.from = v->id,
	                     .to = p->from,
	                     .term = p->term,
	                     .transfer = p->transfer,
	                     .answer = true,
	                     .installed = installed,
	                     .pos = p->pos,
	                     .number = next};

	net_send_part(v->sim, v, &a);
}

static void drop(struct sim_server *v, const char *why)
{
	if (!v->receiver.active)
		return;
	sim_trace(v->sim, "server %u: drops the snapshot of %llu: %s", v->at + 1,
	          ull(v->receiver.pos.index), why);
	store_import_abandon(v->receiver.im);
	v->receiver = (struct sim_receiver){0};
}

void receive_forget(struct sim_server *v)
{
	store_import_abandon(v->receiver.im);
	v->receiver = (struct sim_receiver){0};
}

/* Another term or leader: what the new one has to send may be something else. And the log may come
 * after all: then nobody goes on sending. */
void receive_check(struct sim_server *v)
{
	struct raft_status st;

	if (!v->receiver.active)
		return;
	raft_get_status(v->raft, &st);
	if (v->receiver.pos.index <= st.commit)
		drop(v, "the log was faster");
	else if ((st.term != v->receiver.term || st.leader != v->receiver.from))
		drop(v, "another leader");
}

static void begin(struct sim_server *v, const struct sim_part *p)
{
	struct rfs_err err = {0};

	drop(v, "another one comes");
	v->receiver = (struct sim_receiver){.active = true,
	                                    .from = p->from,
	                                    .term = p->term,
	                                    .transfer = p->transfer,
	                                    .pos = p->pos};
	if (place_import_begin(v->place, &v->receiver.im, &err) != 0)
		sim_fail(v->sim, "server %u: import: %s", v->at + 1, err.msg);
}

static void complete(struct sim_server *v)
{
	struct sim *s = v->sim;
	uint64_t us = rng_below(&s->rng, s->plan.flush_us);
	struct sim_event *e = sim_post(s, us, SIM_INSTALL, v->at);

	v->receiver.finished = true;
	e->life = v->life;
	e->number = v->receiver.transfer;
}

void receive_chunk(struct sim_server *v, const struct sim_part *p)
{
	struct sim_receiver *r = &v->receiver;
	struct rfs_err err = {0};
	struct raft_status st;
	int rc;

	raft_get_status(v->raft, &st);
	if (p->term != st.term || p->from != st.leader)
		return; /* the core does not know him yet, or any more */
	if (p->pos.index <= st.commit) {
		answer(v, p, 0, true);
		return;
	}
	if (!r->active || r->transfer != p->transfer) {
		if (p->number != 0 || (r->active && r->transfer > p->transfer)) {
			answer(v, p, 0, false);
			return;
		}
		begin(v, p);
	}
	if (!r->finished) {
		rc = store_import_chunk(r->im, p->chunk.data, p->chunk.len, &err);
		if (rc < 0 && rc != RFS_EPROTO && (rc != RFS_ECORRUPT || v->sim->plan.damage == 0))
			sim_fail(v->sim, "server %u: %s", v->at + 1, err.msg);
		if (rc == 1)
			complete(v);
	}
	answer(v, p, store_import_next(r->im), false);
}

/* ---- the switch ---- */

static void die_here(struct sim_server *v)
{
	struct sim *s = v->sim;

	server_crash(v, rng_permille(&s->rng, 500) ? END_POWER : END_POWER_ALL);
	sim_post(s, rng_between(&s->rng, 1000, 1000000), SIM_RESTART, v->at);
}

static bool dies(struct sim_server *v)
{
	return !v->sim->calm && rng_permille(&v->sim->rng, v->sim->plan.install_crash);
}

/* The new store is in its place, or the server has died. */
static bool switch_store(struct sim_server *v, enum raft_snapshot_fate fate)
{
	struct raft_pos pos = v->receiver.pos;
	struct rfs_err err = {0};
	bool crash = dies(v);

	flush_forget(v, true);
	send_forget(v);
	v->receiver = (struct sim_receiver){0};
	if (!place_switch(v->place, v->store, crash, &v->sim->rng)) {
		v->store = NULL;
		/* whether before or behind it: the next start shows */
		watch_switching(v, pos, fate == RAFT_SNAPSHOT_DROP_LOG);
		die_here(v);
		return false;
	}
	v->store = NULL;
	if (place_open(v->place, &v->store, &err) != 0)
		sim_fail(v->sim, "server %u: after the switch: %s", v->at + 1, err.msg);
	watch_switched(v, pos, fate == RAFT_SNAPSHOT_DROP_LOG);
	return true;
}

static bool reset_log(struct sim_server *v, struct raft_pos pos)
{
	struct rfs_err err = {0};
	bool crash = dies(v);
	int rc;

	if (crash)
		memfs_power_off_at(v->disk, rng_between(&v->sim->rng, 1, 20));
	rc = wal_reset(v->wal, pos, &err);
	if (rc == 0 && !crash)
		return true;
	if (rc != 0 && !crash && !v->full && !v->disk_faulty)
		sim_fail(v->sim, "server %u: wal_reset: %s", v->at + 1, err.msg);
	sim_trace(v->sim, "server %u: resetting its log: %s", v->at + 1, err.msg);
	die_here(v);
	return false;
}

static void tell_core(struct sim_server *v, struct raft_pos pos)
{
	struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED, .snapshot = {.pos = pos}};
	struct raft_conf conf;

	serve_membership(v, &conf, &ev.snapshot.conf_index);
	if (ev.snapshot.conf_index > 0)
		ev.snapshot.conf = &conf;
	serve_fail_pending(v, pos.index);
	server_step(v, ev);
	if (v->out.error != 0)
		sim_fail(v->sim, "server %u: the core does not take the snapshot: %d", v->at + 1,
		         v->out.error);
	if (ev.snapshot.conf_index > 0)
		operator_committed(v, &conf);
	disk_starts(v);
}

void receive_install(struct sim_server *v, uint64_t transfer)
{
	struct raft_pos pos = v->receiver.pos;
	enum raft_snapshot_fate fate;
	struct rfs_err err = {0};
	int rc;

	/* given up meanwhile, and perhaps begun anew */
	if (!v->receiver.active || v->receiver.transfer != transfer || !v->receiver.finished)
		return;
	fate = raft_snapshot_fate(v->raft, pos);
	if (fate == RAFT_SNAPSHOT_USELESS) {
		drop(v, "useless");
		return;
	}
	rc = store_import_finish(v->receiver.im, &err);
	v->receiver.im = NULL;
	if (rc != 0)
		sim_fail(v->sim, "server %u: import: %s", v->at + 1, err.msg);
	sim_trace(v->sim, "server %u: installs the snapshot of %llu, %s its log", v->at + 1,
	          ull(pos.index), fate == RAFT_SNAPSHOT_DROP_LOG ? "drops" : "keeps");
	v->sim->totals.snapshots++;
	if (!switch_store(v, fate))
		return;
	if (fate == RAFT_SNAPSHOT_DROP_LOG && !reset_log(v, pos))
		return;
	tell_core(v, pos);
}

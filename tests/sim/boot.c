/* A server's lives: start and recovery as in src/node/node.c, the ways to die, an empty disk. */
#include <errno.h>
#include <stdlib.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "watch.h"

void server_init(struct sim_server *v, struct sim *s, unsigned at)
{
	v->sim = s;
	v->at = at;
	v->id = at + 1;
	v->incarnation = v->id;
	v->disk = memfs_new(rng_next(&s->rng));
	v->place = place_new(s);
	v->clock = (struct sim_clock){.at_us = rng_below(&s->rng, 1000000), .rate = 1000};
	raft_out_init(&v->out);
}

/* ---- recovery ---- */

static struct raft_opts core_opts(const struct sim_server *v)
{
	struct rng *r = &v->sim->rng;

	return (struct raft_opts){
	        .id = v->id,
	        .seed = rng_next(r),
	        .election_min_ms = 150,
	        .election_max_ms = 300,
	        .heartbeat_ms = 50,
	        .append_bytes_max = (uint32_t)rng_between(r, 100, 8192),
	        .inflight_bytes_max = (uint32_t)rng_between(r, 100, 32768),
	        .inflight_msgs_max = (uint32_t)rng_between(r, 1, 32),
	        .uncommitted_bytes_max = v->sim->plan.uncommitted_max,
	        .commit_delay_ms = (uint32_t)rng_below(r, 50),
	};
}

static int open_log(struct sim_server *v, struct wal_recovered *rec, struct rfs_err *err)
{
	struct wal_opts opts = {
	        .ops = memfs_ops(v->disk),
	        .identity = {.cluster = "sim", .node_id = v->id, .incarnation = v->incarnation},
	        .segment_bytes = v->sim->plan.segment_bytes,
	        .cache_bytes = 16384,
	};

	if (v->end == END_KILL)
		memfs_kill(v->disk);
	else
		memfs_power_on(v->disk, v->end == END_POWER ? MEMFS_LOSE_SOME : MEMFS_LOSE_ALL);
	if (v->rot != 0)
		v->rotten = memfs_rot(v->disk, v->rot);
	v->rot = 0;
	return wal_open(&v->wal, "/wal", &opts, rec, err);
}

static bool log_contains(const struct sim_server *v, struct raft_pos pos)
{
	struct raft_entry e;

	if (pos.index == wal_base(v->wal).index)
		return pos.term == wal_base(v->wal).term;
	return wal_entry_at(v->wal, pos.index, &e) && e.pos.term == pos.term;
}

/* docs/snapshot-format.md, "The log": the end came between the switch and the log's reset. The term of
 * the snapshot may not have reached the disk either, and then no vote of it has left. */
static int finish_install(struct sim_server *v, struct wal_recovered *rec, struct rfs_err *err)
{
	struct raft_pos pos = store_applied(v->store);
	int rc;

	if (rec->term < pos.term) {
		rec->term = pos.term;
		rec->vote = 0;
		wal_set_state(v->wal, rec->term, rec->vote, 0);
	}
	rc = wal_reset(v->wal, pos, err);
	if (rc != 0)
		return rc;
	sim_trace(v->sim, "server %u: its log begins anew behind the snapshot at %llu", v->at + 1,
	          ull(pos.index));
	rec->base = rec->last = pos;
	return 0;
}

/* The state machine must stand within what the log can continue. */
static int fit(struct sim_server *v, struct wal_recovered *rec, struct rfs_err *err)
{
	struct raft_pos applied = store_applied(v->store);
	bool installed = applied.index > 0 && applied.index == store_installed(v->store).index;

	if (applied.index < rec->base.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "the state ends at %llu, the log begins behind %llu",
		                   ull(applied.index), ull(rec->base.index));
	if (log_contains(v, applied))
		return 0;
	if (!installed)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "the state was applied to %llu, the log ends at %llu",
		                   ull(applied.index), ull(rec->last.index));
	return finish_install(v, rec, err);
}

static int recover(struct sim_server *v, struct wal_recovered *rec, struct rfs_err *err)
{
	int rc = open_log(v, rec, err);

	if (rc == 0)
		rc = place_open(v->place, &v->store, err);
	return rc == 0 ? fit(v, rec, err) : rc;
}

/* ---- the core ---- */

/* The core wants to see the payload of configurations. */
static void read_confs(struct sim_server *v, struct raft_entry *entries, size_t n)
{
	struct rfs_err err = {0};
	struct raft_entry e;

	for (size_t i = 0; i < n; i++) {
		if (entries[i].kind != RAFT_ENTRY_CONFIG)
			continue;
		if (wal_read(v->wal, entries[i].pos.index, 1, UINT64_MAX, &e, &err) != 1)
			sim_fail(v->sim, "server %u: wal_read: %s", v->at + 1, err.msg);
		entries[i].data = mem_dup(e.data, e.len);
	}
}

static void free_confs(struct raft_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (entries[i].kind == RAFT_ENTRY_CONFIG)
			free((void *)(uintptr_t)entries[i].data);
	free(entries);
}

/* The state machine's configuration, or what its file says; the log's come on top of it. */
static void first_conf(struct sim_server *v, struct raft_recovered *rr)
{
	const struct sim_plan *p = &v->sim->plan;

	serve_membership(v, &rr->conf, &rr->conf_index);
	if (rr->conf_index > 0 || v->joins || v->at >= p->founders)
		return;
	for (unsigned i = 0; i < p->founders; i++)
		rr->conf.voters[rr->conf.n_voters++] = i + 1;
}

static void start_core(struct sim_server *v, const struct wal_recovered *rec)
{
	struct raft_opts opts = core_opts(v);
	size_t n = rec->last.index - rec->base.index;
	struct raft_entry *entries = mem_calloc(n, sizeof(*entries));
	struct raft_recovered rr = {
	        .base = rec->base,
	        .entries = entries,
	        .n = n,
	        .term = rec->term,
	        .vote = rec->vote,
	        .applied = store_applied(v->store).index,
	};

	for (size_t i = 0; i < n; i++)
		rfs_check(wal_entry_at(v->wal, rec->base.index + 1 + i, &entries[i]));
	read_confs(v, entries, n);
	first_conf(v, &rr);
	v->inflight_max = opts.inflight_bytes_max;
	v->raft = raft_new(&opts, &rr, server_now_us(v) / 1000);
	if (v->raft == NULL)
		sim_fail(v->sim, "server %u: a configuration in its log makes no sense", v->at + 1);
	watch_started(v, rec);
	for (size_t i = 0; i < n; i++)
		watch_append(v, &entries[i], 1);
	free_confs(entries, n);
}

/* ---- start ---- */

static void stop_half_way(struct sim_server *v)
{
	memfs_power_off(v->disk);
	wal_close(v->wal);
	v->wal = NULL;
	place_crash(v->place, v->store);
	v->store = NULL;
	v->end = END_KILL;
}

/* What is damaged must be refused; what is full may be tried again. */
static void refused(struct sim_server *v, const struct rfs_err *err)
{
	struct sim *s = v->sim;

	sim_trace(s, "server %u: does not start: %s", v->at + 1, err->msg);
	stop_half_way(v);
	if (err->code == RFS_ECORRUPT && v->rotten) {
		s->totals.refused++;
		v->broken = true;
		operator_start(s);
	} else if (err->code == -ENOSPC && v->full) {
		sim_post(s, 100000, SIM_RESTART, v->at);
	} else {
		sim_fail(s, "server %u does not start: %s", v->at + 1, err->msg);
	}
}

void server_start(struct sim_server *v)
{
	struct sim *s = v->sim;
	struct wal_recovered rec = {0};
	struct rfs_err err = {0};

	if (v->broken)
		return;
	if (recover(v, &rec, &err) != 0) {
		refused(v, &err);
		return;
	}
	v->life++;
	v->role = RAFT_FOLLOWER;
	v->paused = v->dying = v->disk_busy = v->sending = v->rotten = false;
	v->disk_faulty = false;
	v->hung_until = v->tick_at_us = v->disk_since_us = 0;
	v->stalled = false;
	sim_trace(s, "server %u: starts, term %llu, log %llu..%llu, state at %llu", v->at + 1,
	          ull(rec.term), ull(rec.base.index), ull(rec.last.index),
	          ull(store_applied(v->store).index));
	start_core(v, &rec);
	v->up = v->conf_changed = true;
	disk_starts(v); /* what recovery has left to the writer */
	sim_post(s, rng_below(&s->rng, s->plan.flush_every_us), SIM_FLUSH, v->at)->life = v->life;
	server_step(v, (struct raft_event){.kind = RAFT_EV_TICK});
	server_end_turn(v);
}

/* ---- the end ---- */

static void release(struct sim_server *v)
{
	for (size_t i = 0; i < v->n_held; i++)
		sim_event_free(v->held[i]);
	v->n_held = 0;
	serve_forget(v);
	v->conf_before = *raft_get_conf(v->raft);
	raft_free(v->raft);
	v->raft = NULL;
	v->up = false;
}

void server_crash(struct sim_server *v, enum server_end end)
{
	static const char *const names[] = {"is killed", "loses its power",
	                                    "loses its power, and all it had not synced"};

	sim_trace(v->sim, "server %u: %s", v->at + 1, names[end]);
	v->sim->totals.crashes++;
	v->end = end;
	memfs_power_off(v->disk);
	wal_close(v->wal);
	v->wal = NULL;
	send_forget(v);
	receive_forget(v);
	flush_forget(v, rng_permille(&v->sim->rng, 500));
	place_crash(v->place, v->store);
	v->store = NULL;
	release(v);
}

/* Its disk is gone, and with it all it knew and whom it had met. */
void server_wipe(struct sim_server *v)
{
	struct sim *s = v->sim;

	memfs_free(v->disk);
	place_free(v->place);
	v->disk = memfs_new(rng_next(&s->rng));
	v->place = place_new(s);
	v->incarnation = rng_next(&s->rng) | 0x100;
	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++)
		v->met[i] = 0;
	v->broken = v->rotten = v->full = false;
	v->rot = 0;
	v->lost = true;
	v->joins = !operator_trusts_file(s, v) || rng_permille(&s->rng, 500);
	v->end = END_KILL;
	s->totals.wiped++;
	v->lost_its_disk = true;
	sim_trace(s, "server %u: loses its disk, is now %llx", v->at + 1, ull(v->incarnation));
	watch_wiped(v);
	operator_start(s);
}

void server_free(struct sim_server *v)
{
	if (v->up) {
		wal_close(v->wal);
		send_forget(v);
		receive_forget(v);
		flush_forget(v, true);
		place_close(v->place, v->store);
		release(v);
	}
	memfs_free(v->disk);
	place_free(v->place);
	raft_out_free(&v->out);
	free(v->pending);
	free(v->reads);
	free(v->held);
	free(v->seen.durable_terms);
	free(v->seen.disk_terms);
	free(v->seen.ghost_terms);
	free(v->seen.confs);
}

/* What is done to servers and network. Each fault of a run has a number and draws from a source of
 * its own, so that the others stay the same when it is left out (--mask). */
#include <errno.h>
#include <string.h>
#include "server.h"

/* Most of what breaks is mended within a second and a half. */
static uint64_t while_us(struct rng *r)
{
	return rng_between(r, 10000, 1500000);
}

/* ---- processes and machines ---- */

static enum server_end some_end(struct rng *r)
{
	static const enum server_end ends[] = {END_KILL, END_KILL, END_POWER, END_POWER,
	                                       END_POWER_ALL};

	return ends[rng_below(r, sizeof(ends) / sizeof(ends[0]))];
}

static void crash(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (!v->up)
		return;
	server_crash(v, some_end(r));
	sim_post(s, while_us(r), SIM_RESTART, v->at);
}

static void crash_all(struct sim *s, struct sim_server *v, struct rng *r)
{
	(void)v;
	for (unsigned i = 0; i < s->plan.servers; i++)
		crash(s, &s->servers[i], r);
}

static void disk_crash(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (!v->up)
		return;
	v->dying = true;
	sim_post(s, rng_between(r, 50000, 1500000), SIM_RESTART, v->at);
}

static void pause_one(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (!v->up || v->paused)
		return;
	server_pause(v);
	sim_post(s, while_us(r), SIM_RESUME, v->at);
}

/* ---- the network ---- */

static void partition(struct sim *s, struct rng *r, bool one_way, unsigned bridge)
{
	uint64_t side = rng_next(r);

	for (unsigned a = 0; a < s->plan.servers; a++)
		for (unsigned b = 0; b < s->plan.servers; b++)
			if (((side >> a) & 1) != ((side >> b) & 1) && a != bridge && b != bridge &&
			    (!one_way || ((side >> a) & 1)))
				s->blocked[a][b] = true;
	sim_trace(s, "network: %s partition %llx", one_way ? "one-way" : "full",
	          (unsigned long long)(side & ((1u << s->plan.servers) - 1)));
	if (bridge < s->plan.servers)
		sim_trace(s, "network: server %u reaches both sides", bridge + 1);
	sim_post(s, while_us(r), SIM_HEAL, 0);
}

static void full_partition(struct sim *s, struct sim_server *v, struct rng *r)
{
	(void)v;
	partition(s, r, false, UINT32_MAX);
}

static void one_way_partition(struct sim *s, struct sim_server *v, struct rng *r)
{
	(void)v;
	partition(s, r, true, UINT32_MAX);
}

static void bridging_partition(struct sim *s, struct sim_server *v, struct rng *r)
{
	partition(s, r, false, v->at);
}

/* One end, or both, notice that connections are gone. */
static void break_links(struct sim *s, struct sim_server *v, struct rng *r)
{
	sim_trace(s, "network: server %u's connections break", v->at + 1);
	for (unsigned i = 0; i < s->plan.servers; i++) {
		if (i == v->at || rng_permille(r, 400))
			continue;
		server_link_lost(v, i + 1);
		if (rng_permille(r, 700))
			server_link_lost(&s->servers[i], v->id);
	}
}

void faults_heal(struct sim *s)
{
	memset(s->blocked, 0, sizeof(s->blocked));
}

/* ---- the cluster ---- */

static bool leads(const struct sim_server *v)
{
	return v->up && !v->paused && v->role == RAFT_LEADER;
}

/* Whoever leads, or believes to. */
static void transfer(struct sim *s, struct sim_server *v, struct rng *r)
{
	raft_id to = rng_below(r, 2) * v->id;

	for (unsigned i = 0; i < s->plan.servers; i++)
		if (leads(&s->servers[i]))
			server_transfer(&s->servers[i], to);
}

static void change(struct sim *s, struct sim_server *v, struct rng *r)
{
	(void)v;
	operator_shuffle(s, r);
}

/* Whoever leads, or believes to, takes a client for dead. */
static void expire(struct sim *s, struct sim_server *v, struct rng *r)
{
	const struct sim_client *c = &s->clients[rng_below(r, s->plan.clients)];
	struct fs_op op = {.kind = FS_OP_SESSION_EXPIRE, .ino = c->session};

	(void)v;
	s->expires = true;
	for (unsigned i = 0; i < s->plan.servers && c->session != 0; i++)
		if (leads(&s->servers[i]))
			serve_own(&s->servers[i], &op);
}

/* Somebody takes a lock from whoever has it. */
static void break_lock(struct sim *s, struct sim_server *v, struct rng *r)
{
	char name[] = "key0";
	struct fs_op op = {.kind = FS_OP_LOCK_BREAK, .name = {name, sizeof(name) - 1}};

	(void)s;
	name[3] = (char)('0' + rng_below(r, SIM_KEYS));
	if (leads(v) && store_version(v->store) > FS_VERSION_MIN)
		serve_own(v, &op);
}

/* ---- clocks ---- */

static void clock_jump(struct sim *s, struct sim_server *v, struct rng *r)
{
	uint64_t us = rng_below(r, 3) == 0 ? rng_below(r, 5000000) : 0;

	v->clock.wall_us += (int64_t)rng_below(r, 20000000) - 10000000;
	sim_trace(s, "server %u: its clock jumps %llu ms, the date is off by %lld ms", v->at + 1,
	          (unsigned long long)us / 1000, (long long)v->clock.wall_us / 1000);
	server_set_clock(v, us, v->clock.rate);
}

static void clock_drift(struct sim *s, struct sim_server *v, struct rng *r)
{
	unsigned rate = (unsigned)rng_between(r, 800, 1250);

	sim_trace(s, "server %u: its clock runs at %u permille", v->at + 1, rate);
	server_set_clock(v, 0, rate);
}

/* ---- disks ---- */

static void io_error(struct sim *s, struct sim_server *v, struct rng *r)
{
	static const enum memfs_call calls[] = {MEMFS_PWRITE, MEMFS_PWRITE,   MEMFS_RENAME,
	                                        MEMFS_UNLINK, MEMFS_SYNC_DIR, MEMFS_OPEN};
	enum memfs_call call = calls[rng_below(r, sizeof(calls) / sizeof(calls[0]))];

	if (!v->up)
		return;
	sim_trace(s, "server %u: %s will fail", v->at + 1, memfs_call_name(call));
	v->disk_faulty = true;
	memfs_fail(v->disk, call, rng_between(r, 1, 3), -EIO);
}

static void sync_error(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (!v->up)
		return;
	sim_trace(s, "server %u: a sync will fail", v->at + 1);
	v->disk_faulty = true;
	memfs_fail(v->disk, MEMFS_FDATASYNC, rng_between(r, 1, 3), -EIO);
}

static void short_write(struct sim *s, struct sim_server *v, struct rng *r)
{
	(void)s;
	memfs_short_write(v->disk, rng_between(r, 1, 3), rng_between(r, 1, 600));
}

static void full_disk(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (v->full)
		return;
	sim_trace(s, "server %u: its disk is full", v->at + 1);
	disk_full(v, rng_below(r, 8192));
	sim_post(s, while_us(r), SIM_ROOM, v->at);
}

static void hanging_disk(struct sim *s, struct sim_server *v, struct rng *r)
{
	uint64_t us = rng_between(r, 300000, 3000000);

	sim_trace(s, "server %u: its disk hangs for %llu ms", v->at + 1,
	          (unsigned long long)us / 1000);
	v->hung_until = s->now_us + us;
}

static void rot(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (v->lost || v->rot != 0 || v->rotten || v->broken || !operator_may_lose(s, v))
		return;
	if (v->up)
		server_crash(v, some_end(r));
	v->rot = rng_next(r) | 1;
	sim_post(s, while_us(r), SIM_RESTART, v->at);
}

static void wipe(struct sim *s, struct sim_server *v, struct rng *r)
{
	if (v->lost || v->rot != 0 || v->rotten || v->broken || !operator_may_lose(s, v))
		return;
	if (v->up)
		server_crash(v, END_POWER);
	server_wipe(v);
	sim_post(s, while_us(r), SIM_RESTART, v->at);
}

/* ---- which, and when ---- */

const struct sim_fault_kind sim_fault_kinds[SIM_FAULTS] = {
        [FAULT_CRASH] = {"crash", 700, 9, crash},
        [FAULT_CRASH_ALL] = {"crash_all", 250, 2, crash_all},
        [FAULT_DISK_CRASH] = {"disk_crash", 700, 9, disk_crash},
        [FAULT_PARTITION] = {"partition", 600, 9, full_partition},
        [FAULT_ONE_WAY] = {"one_way", 400, 9, one_way_partition},
        [FAULT_BRIDGE] = {"bridge", 300, 9, bridging_partition},
        [FAULT_LINK] = {"link", 300, 9, break_links},
        [FAULT_PAUSE] = {"pause", 400, 9, pause_one},
        [FAULT_TRANSFER] = {"transfer", 500, 9, transfer},
        [FAULT_CHANGE] = {"change", 400, 20, change},
        [FAULT_CLOCK_JUMP] = {"clock_jump", 250, 9, clock_jump},
        [FAULT_CLOCK_DRIFT] = {"clock_drift", 250, 9, clock_drift},
        [FAULT_EIO] = {"eio", 250, 5, io_error},
        [FAULT_FSYNC] = {"fsync", 250, 5, sync_error},
        [FAULT_SHORT_WRITE] = {"short_write", 250, 9, short_write},
        [FAULT_FULL] = {"full", 250, 5, full_disk},
        [FAULT_HANG] = {"hang", 250, 5, hanging_disk},
        [FAULT_ROT] = {"rot", 250, 4, rot},
        [FAULT_WIPE] = {"wipe", 250, 4, wipe},
        [FAULT_EXPIRE] = {"expire", 250, 9, expire},
        [FAULT_BREAK] = {"break", 250, 20, break_lock},
};

static const struct sim_fault_kind *draw_kind(const struct sim_plan *p, struct rng *r)
{
	uint64_t sum = 0, pick;

	for (unsigned i = 0; i < SIM_FAULTS; i++)
		sum += p->weights[i];
	pick = rng_below(r, sum);
	for (unsigned i = 0; i < SIM_FAULTS; i++) {
		if (pick < p->weights[i])
			return &sim_fault_kinds[i];
		pick -= p->weights[i];
	}
	return NULL;
}

void faults_next(struct sim *s)
{
	unsigned number = s->n_faults++;
	struct rng r = {s->seed * 0x2545f4914f6cdd1du + number};
	const struct sim_fault_kind *kind = draw_kind(&s->plan, &r);
	struct sim_server *v = &s->servers[rng_below(&r, s->plan.servers)];

	if (s->calm)
		return;
	sim_post(s, rng_between(&r, 1, 2 * (uint64_t)s->plan.fault_every_us), SIM_FAULT, 0);
	if (kind == NULL || (number < SIM_FAULTS_MAX && s->masked[number]))
		return;
	sim_trace(s, "fault %u: %s", number, kind->name);
	kind->happen(s, v, &r);
}

void faults_end(struct sim *s)
{
	faults_heal(s);
	for (unsigned i = 0; i < s->plan.servers; i++) {
		struct sim_server *v = &s->servers[i];

		v->dying = false;
		v->hung_until = 0;
		memfs_heal(v->disk);
		disk_room(v);
		server_resume(v);
		if (!v->up)
			server_start(v);
	}
	if (s->totals.changes > 0 || s->operated || s->plan.servers > s->plan.founders)
		operator_start(s);
}

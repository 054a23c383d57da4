/* Where a state machine lives: in an engine in memory that stays when its server's life ends, less
 * what it had not flushed; in some runs in RocksDB, in a directory of its own. There a crash is a
 * copy: what the files hold at that moment is what the next life finds. */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "../../src/store/engine.h"
#include "../../src/store/store_priv.h"
#include "server.h"

struct sim_place {
	/* in memory */
	struct store_engine *engine, *fresh; /* fresh: of an import */
	const struct engine_vtable *real;
	struct engine_vtable vt; /* that of `engine`, which can be full */
	bool full;
	/* on RocksDB */
	bool rocks;
	unsigned generation;
	char base[64];
};

/* ---- in memory ---- */

static int flush_beside(struct store_engine *e, struct rfs_err *err)
{
	const char *vt = (const char *)e->vt;
	const struct sim_place *p =
	        (const struct sim_place *)(const void *)(vt - offsetof(struct sim_place, vt));

	if (p->full)
		return rfs_err_set(err, -ENOSPC, "the disk is full");
	return p->real->flush_beside(e, err);
}

static void take_engine(struct sim_place *p, struct store_engine *e)
{
	p->engine = e;
	p->real = e->vt;
	p->vt = *e->vt;
	p->vt.flush_beside = flush_beside;
	e->vt = &p->vt;
}

static void drop_engine(struct sim_place *p)
{
	p->engine->vt = p->real;
	p->engine->vt->close(p->engine);
	p->engine = NULL;
}

static void drop_fresh(struct sim_place *p)
{
	if (p->fresh != NULL)
		p->fresh->vt->close(p->fresh);
	p->fresh = NULL;
}

/* ---- RocksDB's directories ---- */

static void dir_of(const struct sim_place *p, char dir[128])
{
	(void)snprintf(dir, 128, "%s/%u/store", p->base, p->generation);
}

static void run(const char *command)
{
	if (system(command) != 0)
		rfs_die("simulator: %s failed", command);
}

/* The engine is still open: what it holds in memory is not in the copy. It may be tidying up, and a
 * copy counts only if nothing changed meanwhile. */
static void copy_generation(struct sim_place *p)
{
	char command[512];

	(void)snprintf(command, sizeof(command),
	               "cd %s && for i in 1 2 3 4 5 6 7 8 9; do a=$(ls -lR --full-time %u) && "
	               "cp -r %u %u 2>/dev/null && [ \"$a\" = \"$(ls -lR --full-time %u)\" ] && "
	               "exit; rm -rf %u; sleep 0.05; done; exit 1",
	               p->base, p->generation, p->generation, p->generation + 1, p->generation,
	               p->generation + 1);
	run(command);
}

static void drop_generation(struct sim_place *p)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "rm -rf %s/%u", p->base, p->generation++);
	run(command);
}

static void drop_base(struct sim_place *p)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "rm -rf %s", p->base);
	run(command);
}

/* ---- both ---- */

struct sim_place *place_new(struct sim *s)
{
	struct sim_place *p = mem_zalloc(sizeof(*p));
	struct store_engine *e;
	char first[80];

	p->rocks = s->plan.rocks != 0;
	if (!p->rocks) {
		rfs_check(engine_mem_open(&e, NULL) == 0);
		take_engine(p, e);
		return p;
	}
	/* in memory if possible: how long a sync takes is not the question here */
	(void)snprintf(p->base, sizeof(p->base), "%s/raftfs-sim-XXXXXX",
	               access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(p->base) == NULL)
		rfs_die("simulator: no directory for RocksDB");
	(void)snprintf(first, sizeof(first), "%s/0", p->base);
	rfs_check(mkdir(first, 0700) == 0);
	return p;
}

void place_free(struct sim_place *p)
{
	if (p->rocks)
		drop_base(p);
	else
		drop_engine(p);
	drop_fresh(p);
	free(p);
}

void place_fill(struct sim_place *p, bool full)
{
	p->full = full;
}

/* RocksDB has a disk of its own. */
bool place_refuses(const struct sim_place *p)
{
	return p->full && !p->rocks;
}

int place_open(struct sim_place *p, struct store **store, struct rfs_err *err)
{
	struct store_opts opts = {.engine = p->engine};
	struct raft_pos durable;
	char dir[128];
	int rc;

	dir_of(p, dir);
	rc = store_open(store, dir, &opts, err);
	if (rc == 0) { /* files are small here, and wait to be freed as large ones do */
		(*store)->freed_max = 1;
		(*store)->freed_at_once = (*store)->freed_beside = 0;
	}
	/* An engine of ours holds only what is durable when it is opened. */
	return rc == 0 && !p->rocks ? store_flush(*store, &durable, err) : rc;
}

void place_close(struct sim_place *p, struct store *store)
{
	(void)p;
	store_close(store);
}

void place_crash(struct sim_place *p, struct store *store)
{
	if (p->rocks && store != NULL) {
		copy_generation(p);
		store_close(store);
		drop_generation(p);
	} else if (!p->rocks) {
		if (store != NULL)
			store_abandon(store);
		p->engine->vt = p->real;
		engine_mem_crash(p->engine);
		p->engine->vt = &p->vt;
	}
	drop_fresh(p);
}

int place_import_begin(struct sim_place *p, struct store_import **im, struct rfs_err *err)
{
	struct store_opts opts = {0};
	char dir[128];
	int rc = 0;

	drop_fresh(p);
	if (!p->rocks)
		rc = engine_mem_open(&p->fresh, err);
	opts.engine = p->fresh;
	dir_of(p, dir);
	return rc == 0 ? store_import_begin(im, dir, &opts, err) : rc;
}

static bool switch_directories(struct sim_place *p, struct store *store, bool crash, struct rng *r)
{
	struct rfs_err err = {0};
	char dir[128];

	dir_of(p, dir);
	store_close(store);
	if (store_place_switch(dir, crash ? (unsigned)rng_below(r, 7) : 7, &err) != 0)
		rfs_die("simulator: %s", err.msg);
	return !crash;
}

bool place_switch(struct sim_place *p, struct store *store, bool crash, struct rng *r)
{
	struct store_engine *fresh = p->fresh;

	if (p->rocks)
		return switch_directories(p, store, crash, r);
	if (crash && rng_below(r, 2) == 0) {
		place_crash(p, store);
		return false;
	}
	store_abandon(store);
	drop_engine(p);
	p->fresh = NULL;
	take_engine(p, fresh);
	return !crash;
}

/* Read index (thesis 6.4): a read is served at the commit index of a leader that, after the read
 * began, heard from a quorum that it still leads.
 *
 * The leader gathers reads until the end of the turn, gives them the next round, and sends its
 * number with APPENDs; answers echo the newest number seen. A number is never used twice, so an
 * answer to something older says nothing about a newer read. Before an entry of its own term is
 * committed a leader does not know what is committed, and reads wait. */
#include "raft_priv.h"

#include <string.h>
#include "../base/check.h"
#include "../base/mem.h"

static void ready(struct raft *r, uint64_t ctx, raft_index index, bool failed)
{
	r->ready = mem_grow(r->ready, &r->cap_ready, r->n_ready + 1, sizeof(*r->ready));
	r->ready[r->n_ready++] = (struct raft_read_ready){ctx, index, failed};
}

static void respond(struct raft *r, raft_id to, uint64_t ctx, raft_index index, bool failed)
{
	struct raft_msg *m;

	if (to == r->opts.id) {
		ready(r, ctx, index, failed);
		return;
	}
	m = raft_send(r, RAFT_MSG_READ_RESP, to);
	m->read_ctx = ctx;
	m->read_index = index;
	m->reject = failed;
}

static void add(struct raft *r, raft_id from, uint64_t ctx)
{
	if (r->n_reads >= RAFT_READS_MAX) {
		respond(r, from, ctx, 0, true);
		return;
	}
	r->reads = mem_grow(r->reads, &r->cap_reads, r->n_reads + 1, sizeof(*r->reads));
	r->reads[r->n_reads++] =
	        (struct raft_read){.from = from, .ctx = ctx, .since_ms = r->now_ms};
}

static void drop_first(struct raft *r, size_t n)
{
	r->n_reads -= n;
	if (n > 0 && r->n_reads > 0)
		memmove(r->reads, r->reads + n, r->n_reads * sizeof(*r->reads));
}

void raft_read_local(struct raft *r, uint64_t ctx)
{
	if (r->leader == 0) {
		ready(r, ctx, 0, true);
		return;
	}
	add(r, r->opts.id, ctx);
	if (r->role != RAFT_LEADER)
		raft_send(r, RAFT_MSG_READ, r->leader)->read_ctx = ctx;
}

/* ---- leader ---- */

/* Its reader's term does not matter: the index was committed by whoever led, and the answer is true
 * if we do. */
void raft_recv_read(struct raft *r, const struct raft_msg *m)
{
	if (r->role == RAFT_LEADER)
		add(r, m->from, m->read_ctx);
	else
		respond(r, m->from, m->read_ctx, 0, true);
}

bool raft_reads_want_round(const struct raft *r)
{
	return r->n_reads > 0 && r->reads[r->n_reads - 1].round == 0 && r->commit >= r->term_start;
}

void raft_reads_start_round(struct raft *r)
{
	if (!raft_reads_want_round(r))
		return;
	r->round++;
	for (size_t i = r->n_reads; i > 0 && r->reads[i - 1].round == 0; i--) {
		r->reads[i - 1].round = r->round;
		r->reads[i - 1].index = r->commit;
	}
}

static uint64_t round_of(const void *ctx, raft_id id)
{
	const struct raft *r = ctx;

	if (id == r->opts.id)
		return r->round;
	for (size_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].id == id)
			return r->peers[i].round;
	return 0;
}

void raft_reads_release(struct raft *r)
{
	uint64_t round;
	size_t n;

	if (r->n_reads == 0)
		return;
	round = raft_conf_quorum(&r->conf, round_of, r);
	for (n = 0; n < r->n_reads && r->reads[n].round != 0 && r->reads[n].round <= round; n++)
		respond(r, r->reads[n].from, r->reads[n].ctx, r->reads[n].index, false);
	drop_first(r, n);
}

/* ---- anybody else ---- */

void raft_recv_read_resp(struct raft *r, const struct raft_msg *m)
{
	if (r->role == RAFT_LEADER || m->from != r->leader)
		return;
	for (size_t i = 0; i < r->n_reads; i++) {
		if (r->reads[i].ctx != m->read_ctx)
			continue;
		ready(r, m->read_ctx, m->reject ? 0 : m->read_index, m->reject);
		r->n_reads--;
		memmove(r->reads + i, r->reads + i + 1, (r->n_reads - i) * sizeof(*r->reads));
		return;
	}
}

void raft_reads_fail(struct raft *r)
{
	for (size_t i = 0; i < r->n_reads; i++)
		respond(r, r->reads[i].from, r->reads[i].ctx, 0, true);
	r->n_reads = 0;
}

/* The question or its answer was lost. */
void raft_reads_expire(struct raft *r)
{
	size_t n = 0;

	while (n < r->n_reads && r->now_ms - r->reads[n].since_ms >= r->opts.election_max_ms) {
		ready(r, r->reads[n].ctx, 0, true);
		n++;
	}
	drop_first(r, n);
}

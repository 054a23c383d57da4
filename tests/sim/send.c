/* Snapshots out: a stream of chunks, a few of them under way at a time. What is not answered is sent
 * again from there; what is not answered for long is given up, and the core asks again if it must. */
#include <string.h>
#include "watch.h"

#define LOOK_US    50000u
#define RESEND_US  200000u
#define GIVE_UP_US 3000000u

static struct sim_sender *find(struct sim_server *v, raft_id to)
{
	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++)
		if (v->senders[i].to == to)
			return &v->senders[i];
	return NULL;
}

static void end(struct sim_server *v, struct sim_sender *snd, const char *why)
{
	sim_trace(v->sim, "server %u: its snapshot for %llu: %s", v->at + 1, ull(snd->to), why);
	store_snapshot_close(snd->sn);
	*snd = (struct sim_sender){0};
}

static void report(struct sim_server *v, raft_id to, struct raft_pos pos)
{
	server_step(v, (struct raft_event){.kind = RAFT_EV_SNAPSHOT_STATUS,
	                                   .snapshot = {.peer = to, .pos = pos}});
}

static void failed(struct sim_server *v, struct sim_sender *snd, const char *why)
{
	raft_id to = snd->to;

	end(v, snd, why);
	report(v, to, (struct raft_pos){0});
}

/* As many chunks as may be under way. */
static void pump(struct sim_server *v, struct sim_sender *snd)
{
	struct sim_part p = {.from = v->id,
	                     .to = snd->to,
	                     .term = snd->term,
	                     .transfer = snd->transfer,
	                     .pos = store_snapshot_info(snd->sn)->pos};
	struct rfs_err err = {0};
	int rc;

	buf_init(&p.chunk);
	while (!snd->all && snd->sent < snd->acked + v->sim->plan.window) {
		rc = store_snapshot_next(snd->sn, &p.chunk, &err);
		if (rc < 0)
			sim_fail(v->sim, "server %u: snapshot: %s", v->at + 1, err.msg);
		snd->all = rc == 0;
		if (rc == 0)
			break;
		p.number = snd->sent++;
		net_send_part(v->sim, v, &p);
	}
	buf_free(&p.chunk);
}

static void send_from(struct sim_server *v, struct sim_sender *snd, uint64_t chunk)
{
	if (store_snapshot_seek(snd->sn, chunk) != 0)
		sim_fail(v->sim, "server %u: its snapshot cannot go back to chunk %llu", v->at + 1,
		         ull(chunk));
	snd->acked = snd->sent = chunk;
	snd->all = false;
	pump(v, snd);
}

static void look_later(struct sim_server *v)
{
	if (v->sending)
		return;
	v->sending = true;
	sim_post(v->sim, LOOK_US, SIM_SEND, v->at)->life = v->life;
}

void send_start(struct sim_server *v, raft_id to)
{
	struct sim_sender *snd = find(v, to);
	struct rfs_err err = {0};
	struct raft_status st;

	if (snd != NULL)
		end(v, snd, "another is wanted");
	snd = find(v, 0);
	raft_get_status(v->raft, &st);
	*snd = (struct sim_sender){.to = to,
	                           .term = st.term,
	                           .transfer = ++v->sim->next_transfer,
	                           .heard_us = v->sim->now_us,
	                           .progress_us = v->sim->now_us};
	if (store_snapshot_open(v->store, v->sim->plan.chunk_bytes, &snd->sn, &err) != 0)
		sim_fail(v->sim, "server %u: snapshot: %s", v->at + 1, err.msg);
	sim_trace(v->sim, "server %u: sends %llu a snapshot of %llu", v->at + 1, ull(to),
	          ull(store_snapshot_info(snd->sn)->pos.index));
	pump(v, snd);
	look_later(v);
}

void send_answer(struct sim_server *v, const struct sim_part *p)
{
	struct sim_sender *snd = find(v, p->from);
	raft_id to;

	if (snd == NULL || snd->transfer != p->transfer)
		return;
	snd->heard_us = v->sim->now_us;
	if (p->installed) {
		to = snd->to;
		end(v, snd, "installed");
		report(v, to, p->pos);
		return;
	}
	if (p->number > snd->sent)
		return; /* of before it began again */
	if (p->number > snd->acked) {
		snd->progress_us = v->sim->now_us;
		snd->acked = p->number;
		pump(v, snd);
	} else if (p->number < snd->acked) {
		send_from(v, snd, p->number); /* it has lost what it had */
	}
}

void send_look(struct sim_server *v)
{
	uint64_t now = v->sim->now_us;

	v->sending = false;
	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++) {
		struct sim_sender *snd = &v->senders[i];

		if (snd->to == 0)
			continue;
		if (now - snd->progress_us > GIVE_UP_US) {
			failed(v, snd, "given up");
			continue;
		}
		if (now - snd->heard_us > RESEND_US) {
			snd->heard_us = now;
			/* the last one again, if all were taken: is it installed? */
			send_from(v, snd,
			          snd->all && snd->acked == snd->sent ? snd->acked - 1
			                                              : snd->acked);
		}
		look_later(v);
	}
}

void send_check(struct sim_server *v)
{
	struct raft_peer_status ps;
	struct raft_status st;

	raft_get_status(v->raft, &st);
	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++) {
		struct sim_sender *snd = &v->senders[i];

		if (snd->to == 0)
			continue;
		if (st.role != RAFT_LEADER || st.term != snd->term)
			end(v, snd, "leads no more");
		else if (!raft_get_peer(v->raft, snd->to, &ps) || !ps.snapshot)
			end(v, snd, "not needed any more");
	}
}

void send_forget(struct sim_server *v)
{
	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++) {
		store_snapshot_close(v->senders[i].sn);
		v->senders[i] = (struct sim_sender){0};
	}
}

raft_index send_lowest(const struct sim_server *v)
{
	raft_index lowest = UINT64_MAX;

	for (unsigned i = 0; i < SIM_SERVERS_MAX; i++)
		if (v->senders[i].to != 0 &&
		    store_snapshot_info(v->senders[i].sn)->pos.index < lowest)
			lowest = store_snapshot_info(v->senders[i].sn)->pos.index;
	return lowest;
}

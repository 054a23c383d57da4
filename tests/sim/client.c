/* Clients: each has one request at a time, keeps it under the same sequence number however often it
 * must ask, and writes down when it asked and what it was told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../../src/base/buf.h"
#include "../../src/base/check.h"
#include "../../src/base/mem.h"
#include "server.h"
#include "watch.h"

#define GIVE_UP_US 4000000u

/* One timer a client: a newer one makes the older void. */
static void think(struct sim *s, struct sim_client *c, uint64_t us)
{
	sim_post(s, us, SIM_CLIENT, c->at)->life = ++c->timer;
}

static void ask(struct sim *s, struct sim_client *c)
{
	unsigned copies = !s->calm && rng_permille(&s->rng, s->plan.duplicate) ? 2 : 1;
	bool change = fs_op_is_write(c->op.kind);

	think(s, c, s->plan.client_retry_us);
	if (net_loses(s))
		return;
	while (copies-- > 0) {
		struct sim_request *q = mem_zalloc(sizeof(*q));

		*q = (struct sim_request){
		        .client = c->at, .id = c->request_id, .committed = c->committed};
		if (change && c->op.kind != FS_OP_SESSION_OPEN) {
			q->session = c->session;
			q->seq = q->lowest = c->request_seq;
		}
		q->op = fs_op_dup(&c->op);
		sim_post(s, net_delay(s), SIM_REQUEST, c->server)->request = q;
	}
}

static void start(struct sim *s, struct sim_client *c, const struct fs_op *op)
{
	c->op = *op;
	c->busy = true;
	c->request_id = ++c->next_id;
	if (fs_op_is_write(op->kind) && op->kind != FS_OP_SESSION_OPEN)
		c->request_seq = ++c->seq;
	c->asked_us = s->now_us;
	c->committed = s->watch->n_committed;
	c->deadline_us = s->now_us + GIVE_UP_US;
	ask(s, c);
}

/* ---- what to do next ---- */

static void open_session(struct sim *s, struct sim_client *c)
{
	start(s, c, &(struct fs_op){.kind = FS_OP_SESSION_OPEN, .size = 10000});
}

static struct fs_str key_name(struct sim_client *c)
{
	(void)snprintf(c->name, sizeof(c->name), "key%u", c->key);
	return fs_str_of(c->name);
}

static void make_key(struct sim *s, struct sim_client *c)
{
	start(s, c,
	      &(struct fs_op){.kind = FS_OP_MKNOD,
	                      .parent = FS_ROOT_INO,
	                      .name = key_name(c),
	                      .mode = S_IFREG | 0644});
}

static struct fs_op put(struct sim *s, struct sim_client *c)
{
	bool swap =
	        s->plan.raise != 0 && c->known[c->key].version != 0 && rng_permille(&s->rng, 400);
	struct fs_op op = {.kind = FS_OP_PUT, .name = key_name(c), .data = c->value, .data_len = 8};

	history_asked(s, c, swap ? LINEAR_SWAP : LINEAR_REPLACE, s->next_value, 0);
	if (swap) {
		op.flags = FS_F_IF_VERSION;
		op.version = c->known[c->key].version;
	}
	return op;
}

/* Only while it has the key's lock, where it has it. */
static void fence(const struct sim_client *c, struct fs_op *op)
{
	if (c->token == 0 || c->locked != c->key)
		return;
	op->flags |= FS_F_FENCED;
	op->lock_owner = c->at;
	op->lock_token = c->token;
}

static struct fs_op append(struct sim *s, struct sim_client *c)
{
	struct fs_op op = {.kind = FS_OP_WRITE,
	                   .ino = c->inos[c->key],
	                   .flags = FS_F_APPEND,
	                   .data = c->value,
	                   .data_len = 8};

	history_asked(s, c, LINEAR_APPEND, s->next_value, 0);
	fence(c, &op);
	return op;
}

/* Many numbers at once: collected in a file without a name, which becomes the key's content or goes behind it. */
static struct fs_op make_nameless(struct sim *s, struct sim_client *c)
{
	c->number = s->next_value;
	c->numbers =
	        rng_permille(&s->rng, 500) ? SIM_NUMBERS_MAX : (unsigned)rng_between(&s->rng, 1, 8);
	c->written = 0;
	return (struct fs_op){.kind = FS_OP_MKNOD,
	                      .parent = FS_ROOT_INO,
	                      .mode = S_IFREG | 0600,
	                      .flags = FS_F_TMPFILE};
}

static struct fs_op collect(struct sim_client *c)
{
	unsigned left = c->numbers - c->written,
	         n = left < SIM_NUMBERS_PUT ? left : SIM_NUMBERS_PUT;

	for (unsigned i = 0; i < n; i++)
		put_le64(c->part + (size_t)8 * i, linear_number(c->number, c->written + i));
	return (struct fs_op){.kind = FS_OP_WRITE,
	                      .ino = c->nameless,
	                      .offset = (uint64_t)8 * c->written,
	                      .data = c->part,
	                      .data_len = 8 * n};
}

static struct fs_op adopt(struct sim *s, struct sim_client *c)
{
	bool behind = rng_permille(&s->rng, 400);
	struct fs_op op = {.kind = FS_OP_ADOPT,
	                   .ino = c->inos[c->key],
	                   .ino2 = c->nameless,
	                   .flags = behind ? FS_F_APPEND : FS_F_TRUNC};

	history_asked(s, c, behind ? LINEAR_APPEND : LINEAR_REPLACE, c->number, c->numbers - 1);
	fence(c, &op);
	return op;
}

static struct fs_op read(struct sim *s, struct sim_client *c)
{
	history_asked(s, c, LINEAR_READ, 0, 0);
	/* reads are asked of anybody, changes of whom it takes for the leader */
	if (rng_permille(&s->rng, 500))
		c->server = (unsigned)rng_below(&s->rng, s->plan.servers);
	return (struct fs_op){
	        .kind = FS_OP_READ, .ino = c->inos[c->key], .size = FS_READ_BYTES_MAX};
}

/* One lock at a time, and back with it after a while. */
static struct fs_op lock_or_unlock(struct sim_client *c)
{
	bool unlock = c->unlocks || c->token != 0;

	if (unlock)
		c->key = c->locked;
	c->locked = c->key;
	c->unlocks = true; /* until the answer says otherwise */
	c->token = 0;
	return (struct fs_op){.kind = unlock ? FS_OP_UNLOCK : FS_OP_LOCK,
	                      .ino = c->inos[c->key],
	                      .lock_owner = c->at};
}

static void work(struct sim *s, struct sim_client *c)
{
	unsigned kind = (unsigned)rng_below(&s->rng, 100);
	struct fs_op op;

	c->key = (unsigned)rng_below(&s->rng, SIM_KEYS);
	put_le64(c->value, ++s->next_value);
	if (c->unlocks || (s->plan.raise != 0 && kind < 12))
		op = lock_or_unlock(c);
	else if (c->nameless != 0)
		op = c->written < c->numbers ? collect(c) : adopt(s, c);
	else if (s->plan.raise != 0 && kind < 16)
		op = make_nameless(s, c);
	else if (kind < 35)
		op = put(s, c);
	else if (kind < 65)
		op = append(s, c);
	else
		op = read(s, c);
	start(s, c, &op);
}

static void next(struct sim *s, struct sim_client *c)
{
	switch (c->phase) {
	case CLIENT_OPENING: open_session(s, c); break;
	case CLIENT_RESOLVING: make_key(s, c); break;
	case CLIENT_WORKING:
		if (s->calm)
			c->phase = CLIENT_DONE;
		else
			work(s, c);
		break;
	case CLIENT_DONE: break;
	}
}

static void advance(struct sim_client *c, const struct sim_reply *r)
{
	if (c->phase == CLIENT_OPENING) {
		c->session = r->result.value;
		c->phase = CLIENT_RESOLVING;
		c->key = 0;
	} else if (c->phase == CLIENT_RESOLVING) {
		c->inos[c->key] = r->result.attr.ino;
		if (++c->key == SIM_KEYS)
			c->phase = CLIENT_WORKING;
	}
}

/* ---- answers and time ---- */

static bool try_again(int err)
{
	return err == RFS_ENOTLEADER || err == RFS_EUNKNOWN || err == RFS_EBUSYLIMIT;
}

/* What was asked is done or not, nobody can say; its locks are gone. */
static void begin_again(struct sim_client *c)
{
	c->phase = CLIENT_OPENING;
	c->recorded = c->unlocks = false;
	c->token = c->nameless = 0;
}

/* Refused, by the state as it was; certainly not done. False: nothing that can be. */
static bool is_refusal(const struct sim_client *c, int err)
{
	/* the cluster does not know it yet */
	if (err == -EINVAL && fs_op_protocol(&c->op) > FS_VERSION_MIN)
		return true;
	return (err == -EAGAIN && c->op.kind == FS_OP_LOCK) ||
	       (err == -ESTALE && (c->op.flags & FS_F_FENCED) != 0);
}

static void note_nameless(struct sim_client *c, const struct fs_result *r)
{
	if (c->op.kind == FS_OP_MKNOD && (c->op.flags & FS_F_TMPFILE) != 0)
		c->nameless = r->attr.ino;
	else if (c->op.kind == FS_OP_WRITE && c->op.ino == c->nameless)
		c->written += c->op.data_len / 8;
	else if (c->op.kind == FS_OP_ADOPT)
		c->nameless = 0;
}

static void take_answer(struct sim *s, struct sim_client *c, const struct sim_reply *r)
{
	int err = r->result.err;

	if (err == RFS_ESESSION && s->expires) {
		begin_again(c);
		return;
	}
	if (c->op.kind == FS_OP_LOCK || c->op.kind == FS_OP_UNLOCK)
		c->unlocks = false;
	if (c->op.kind == FS_OP_LOCK && err == 0)
		c->token = r->result.value;
	if (err == -ESTALE)
		c->token = 0;
	if (is_refusal(c, err)) {
		history_forget(s, c);
		return;
	}
	if (err != 0 && (err != RFS_EPRECONDITION || (c->op.flags & FS_F_IF_VERSION) == 0))
		sim_fail(s, "client %u: %s of key %u was answered %d", c->at,
		         fs_op_name(c->op.kind), c->key, err);
	note_nameless(c, &r->result);
	history_answered(s, c, &r->result);
	advance(c, r);
}

static void on_reply(struct sim *s, struct sim_client *c, const struct sim_reply *r)
{
	if (!c->busy || r->id != c->request_id)
		return;
	if (try_again(r->result.err)) {
		if (r->leader != 0)
			c->server = (unsigned)r->leader - 1;
		else
			c->server = (unsigned)rng_below(&s->rng, s->plan.servers);
		think(s, c, rng_between(&s->rng, 1000, 30000));
		return;
	}
	c->busy = false;
	take_answer(s, c, r);
	c->request_id = ++c->next_id;
	think(s, c, rng_below(&s->rng, s->plan.client_think_us));
}

/* An answer that does not come in time is given up for good: its sequence number is never asked for
 * again. */
static void give_up(struct sim *s, struct sim_client *c)
{
	c->busy = c->recorded = false;
	c->nameless = 0;
	c->request_id = ++c->next_id;
	next(s, c);
}

static void on_time(struct sim *s, struct sim_client *c, uint64_t timer)
{
	if (timer != c->timer)
		return;
	if (!c->busy) {
		next(s, c);
	} else if (c->phase == CLIENT_WORKING && !s->calm && s->now_us > c->deadline_us) {
		give_up(s, c);
	} else {
		if (rng_permille(&s->rng, 500))
			c->server = (unsigned)rng_below(&s->rng, s->plan.servers);
		ask(s, c);
	}
}

/* Takes the event. */
void client_take(struct sim *s, struct sim_event *e)
{
	struct sim_client *c = &s->clients[e->who];

	c->at = e->who;
	if (e->kind == SIM_REPLY)
		on_reply(s, c, e->reply);
	else
		on_time(s, c, e->life);
	sim_event_free(e);
}

bool clients_done(const struct sim *s)
{
	for (unsigned i = 0; i < s->plan.clients; i++)
		if (s->clients[i].phase != CLIENT_DONE)
			return false;
	return true;
}

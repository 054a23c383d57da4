#include "cores.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/mem.h"

void cores_tracef(struct cores *c, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (c->trace == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	c->trace(c->trace_ctx, line);
}

void cores_fail(struct cores *c, const char *fmt, ...)
{
	va_list ap;

	if (c->failure[0] != '\0')
		return;
	va_start(ap, fmt);
	(void)vsnprintf(c->failure, sizeof(c->failure), fmt, ap);
	va_end(ap);
	cores_tracef(c, "VIOLATED: %s", c->failure);
}

/* ---- logs and disks ---- */

static void log_put(struct core_log *log, const struct raft_entry *e, size_t n)
{
	if (n == 0)
		return;
	log->n = (size_t)(e[0].pos.index - log->base.index - 1);
	log->e = mem_grow(log->e, &log->cap, log->n + n, sizeof(*e));
	memcpy(log->e + log->n, e, n * sizeof(*e));
	log->n += n;
}

static void log_copy(struct core_log *to, const struct core_log *from)
{
	to->base = from->base;
	to->n = 0;
	log_put(to, from->e, from->n);
}

static void log_reset(struct core_log *log, struct raft_pos pos)
{
	log->base = pos;
	log->n = 0;
}

static void write_add(struct core *k, struct core_write w)
{
	k->writes = mem_grow(k->writes, &k->cap_writes, k->n_writes + 1, sizeof(w));
	k->writes[k->n_writes++] = w;
}

static void writes_forget(struct core *k)
{
	for (size_t i = 0; i < k->n_writes; i++)
		free(k->writes[i].e);
	k->n_writes = 0;
}

/* Complete the oldest write of a kind; false if there is none. */
static bool write_complete(struct cores *c, struct core *k, bool state)
{
	for (size_t i = 0; i < k->n_writes; i++) {
		struct core_write w = k->writes[i];
		struct raft_event ev = {.kind = state ? RAFT_EV_STATE_DURABLE
		                                      : RAFT_EV_LOG_DURABLE};

		if (w.state != state)
			continue;
		k->n_writes--;
		memmove(k->writes + i, k->writes + i + 1, (k->n_writes - i) * sizeof(w));
		ev.durable.epoch = w.epoch;
		if (state) {
			k->disk_term = w.term;
			k->disk_vote = w.vote;
		} else {
			log_put(&k->disk, w.e, w.n);
			ev.durable.pos = w.e[w.n - 1].pos;
		}
		free(w.e);
		cores_step(c, k->id, ev);
		return true;
	}
	return false;
}

void cores_persist(struct cores *c, raft_id id, bool state, bool log, size_t n)
{
	struct core *k = cores_node(c, id);

	for (size_t i = 0; state && i < n && k->r != NULL; i++)
		if (!write_complete(c, k, true))
			break;
	for (size_t i = 0; log && i < n && k->r != NULL; i++)
		if (!write_complete(c, k, false))
			break;
}

/* ---- life ---- */

struct core *cores_node(struct cores *c, raft_id id)
{
	return id >= 1 && id <= c->n ? &c->node[id - 1] : NULL;
}

void cores_init(struct cores *c, unsigned n, const struct raft_opts *opts)
{
	*c = (struct cores){.n = n, .auto_persist = true, .auto_flush = true};
	for (unsigned i = 0; i < n; i++) {
		c->conf.voters[c->conf.n_voters++] = i + 1;
		c->node[i].id = i + 1;
		c->node[i].opts = *opts;
		c->node[i].opts.id = i + 1;
		c->node[i].opts.seed = opts->seed * 1000 + i + 1;
		raft_out_init(&c->node[i].out);
	}
}

void cores_free(struct cores *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct core *k = &c->node[i];

		raft_free(k->r);
		raft_out_free(&k->out);
		writes_forget(k);
		free(k->writes);
		free(k->log.e);
		free(k->disk.e);
	}
	while (c->n_net > 0)
		cores_drop(c, c->n_net - 1);
	free(c->net);
	free(c->committed);
	free(c->leaders);
	free(c->ballots);
	for (size_t i = 0; i < c->n_texts; i++)
		free(c->texts[i]);
	free(c->texts);
	*c = (struct cores){0};
}

void cores_set_disk(struct cores *c, raft_id id, raft_term term, raft_id vote, struct raft_pos base,
                    const raft_term *terms, size_t n, raft_index applied)
{
	struct core *k = cores_node(c, id);

	k->disk_term = term;
	k->disk_vote = vote;
	k->disk.base = base;
	k->disk.n = 0;
	for (size_t i = 0; i < n; i++) {
		struct raft_entry e = {.pos = {base.index + 1 + i, terms[i]},
		                       .kind = RAFT_ENTRY_COMMAND,
		                       .len = 1,
		                       .data = "-"};

		log_put(&k->disk, &e, 1);
	}
	k->applied = applied;
}

void cores_boot(struct cores *c, raft_id id)
{
	struct core *k = cores_node(c, id);

	/* A crash may have left the log behind the state machine, or in conflict with it. */
	if (k->installed.index > k->disk.base.index &&
	    core_log_term(&k->disk, k->installed.index) != k->installed.term)
		log_reset(&k->disk, k->installed);

	struct raft_recovered rec = {.base = k->disk.base,
	                             .entries = k->disk.e,
	                             .n = k->disk.n,
	                             .term = k->disk_term,
	                             .vote = k->disk_vote,
	                             .applied = k->applied};

	if (k->has_applied_conf) {
		rec.conf = k->applied_conf;
		rec.conf_index = k->applied_conf_index;
	} else if (!k->joining) {
		rec.conf = c->conf;
	}
	log_copy(&k->log, &k->disk);
	k->commit = 0;
	k->checked = 0;
	k->r = raft_new(&k->opts, &rec, c->now_ms);
	cores_check_boot(c, k);
	cores_tick(c, id);
}

void cores_crash(struct cores *c, raft_id id)
{
	struct core *k = cores_node(c, id);

	raft_free(k->r);
	k->r = NULL;
	k->n_reads = 0;
	k->want_flush = false;
	writes_forget(k);
}

/* ---- network ---- */

void cores_put(struct cores *c, const struct raft_msg *m)
{
	struct cores_msg copy = {.m = *m};

	if (m->n > 0 && m->entries != NULL)
		copy.m.entries = mem_dup(m->entries, m->n * sizeof(*m->entries));
	c->net = mem_grow(c->net, &c->cap_net, c->n_net + 1, sizeof(copy));
	c->net[c->n_net++] = copy;
}

/* ---- snapshots ---- */

static void keep_conf(struct core *k, const struct raft_conf *conf, raft_index index)
{
	k->has_applied_conf = true;
	k->applied_conf = *conf;
	k->applied_conf_index = index;
}

static void log_cut(struct core_log *log, struct raft_pos pos)
{
	size_t drop = (size_t)(pos.index - log->base.index);

	log->base = pos;
	log->n -= drop;
	memmove(log->e, log->e + drop, log->n * sizeof(*log->e));
}

void cores_apply(struct cores *c, raft_id id)
{
	struct core *k = cores_node(c, id);
	const struct raft_conf *conf;
	raft_index at = 0;

	if (k->r == NULL || k->commit <= k->applied || k->commit <= k->log.base.index)
		return;
	conf = raft_get_conf_at(k->r, k->commit, &at);
	keep_conf(k, conf, at);
	k->applied = k->commit;
	k->installed = (struct raft_pos){k->commit, core_log_term(&k->log, k->commit)};
	(void)c;
}

void cores_cut(struct cores *c, raft_id id, raft_index index)
{
	struct core *k = cores_node(c, id);
	struct raft_event ev = {.kind = RAFT_EV_LOG_CUT};
	struct raft_status st;
	const struct raft_conf *conf;
	raft_index at = 0;

	if (k->r == NULL)
		return;
	raft_get_status(k->r, &st);
	index = index < k->commit ? index : k->commit;
	index = index < st.durable ? index : st.durable;
	if (index <= k->log.base.index)
		return;
	conf = raft_get_conf_at(k->r, index, &at);
	if (k->applied < index || !k->has_applied_conf) {
		keep_conf(k, conf, at);
		if (k->applied < index)
			k->applied = index;
	}
	ev.snapshot.pos = (struct raft_pos){index, core_log_term(&k->log, index)};
	log_cut(&k->log, ev.snapshot.pos);
	log_cut(&k->disk, ev.snapshot.pos);
	cores_step(c, id, ev);
}

/* The state as it is now sets out for `to`. */
static void snapshot_send(struct cores *c, struct core *k, raft_id to)
{
	struct cores_msg s = {.snapshot = true};

	s.m.kind = (enum raft_msg_kind)CORES_SNAPSHOT;
	s.m.from = k->id;
	s.m.to = to;
	s.m.term = k->out.term;
	s.m.pos = (struct raft_pos){k->commit, core_log_term(&k->log, k->commit)};
	s.conf = *raft_get_conf_at(k->r, k->commit, &s.conf_index);
	cores_tracef(c, "%llu -> %llu SNAPSHOT t%llu of %llu@%llu%s", (unsigned long long)k->id,
	             (unsigned long long)to, (unsigned long long)s.m.term,
	             (unsigned long long)s.m.pos.index, (unsigned long long)s.m.pos.term,
	             c->cut[k->id - 1][to - 1] ? " (held up)" : "");
	c->net = mem_grow(c->net, &c->cap_net, c->n_net + 1, sizeof(s));
	c->net[c->n_net++] = s;
}

static void snapshot_report(struct cores *c, const struct cores_msg *s, bool installed)
{
	struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_STATUS};

	ev.snapshot.peer = s->m.to;
	if (installed)
		ev.snapshot.pos = s->m.pos;
	cores_step(c, s->m.from, ev);
}

/* As src/node/ does it: ask, switch the state, deal with the log, tell the core. */
static void snapshot_deliver(struct cores *c, const struct cores_msg *s)
{
	struct core *k = cores_node(c, s->m.to);
	struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_INSTALLED};
	enum raft_snapshot_fate fate;

	if (k->r == NULL || c->cut[s->m.from - 1][s->m.to - 1]) {
		snapshot_report(c, s, false);
		return;
	}
	fate = raft_snapshot_fate(k->r, s->m.pos);
	if (fate == RAFT_SNAPSHOT_USELESS) {
		cores_tracef(c, "%llu: has no use for a snapshot of %llu@%llu",
		             (unsigned long long)k->id, (unsigned long long)s->m.pos.index,
		             (unsigned long long)s->m.pos.term);
		snapshot_report(c, s, false);
		return;
	}
	if (k->applied > s->m.pos.index)
		cores_fail(c, "node %llu goes back from %llu to a snapshot of %llu",
		           (unsigned long long)k->id, (unsigned long long)k->applied,
		           (unsigned long long)s->m.pos.index);
	k->applied = s->m.pos.index;
	k->installed = s->m.pos;
	keep_conf(k, &s->conf, s->conf_index);
	if (fate == RAFT_SNAPSHOT_DROP_LOG) {
		log_reset(&k->log, s->m.pos);
		log_reset(&k->disk, s->m.pos);
		for (size_t i = k->n_writes; i > 0; i--) {
			if (k->writes[i - 1].state)
				continue;
			free(k->writes[i - 1].e);
			k->n_writes--;
			memmove(k->writes + i - 1, k->writes + i,
			        (k->n_writes - (i - 1)) * sizeof(*k->writes));
		}
	}
	ev.snapshot.pos = s->m.pos;
	ev.snapshot.conf = &s->conf;
	ev.snapshot.conf_index = s->conf_index;
	if (cores_command(c, k->id, ev) != 0)
		cores_fail(c, "node %llu refuses a snapshot that it wanted",
		           (unsigned long long)k->id);
	snapshot_report(c, s, true);
}

static struct raft_msg net_take(struct cores *c, size_t i)
{
	struct raft_msg m = c->net[i].m;

	c->n_net--;
	memmove(c->net + i, c->net + i + 1, (c->n_net - i) * sizeof(*c->net));
	return m;
}

void cores_deliver(struct cores *c, size_t i)
{
	struct cores_msg s = c->net[i];
	struct raft_msg m = net_take(c, i);

	if (s.snapshot) {
		snapshot_deliver(c, &s);
		return;
	}
	cores_step(c, m.to, (struct raft_event){.kind = RAFT_EV_MSG, .msg = &m});
	free((void *)(uintptr_t)m.entries);
}

void cores_drop(struct cores *c, size_t i)
{
	struct cores_msg s = c->net[i];
	struct raft_msg m = net_take(c, i);

	if (s.snapshot)
		snapshot_report(c, &s, false);
	free((void *)(uintptr_t)m.entries);
}

void cores_duplicate(struct cores *c, size_t i)
{
	struct raft_msg m = c->net[i].m;

	if (!c->net[i].snapshot)
		cores_put(c, &m);
}

void cores_stabilize(struct cores *c)
{
	for (size_t guard = 0; c->n_net > 0; guard++) {
		cores_deliver(c, 0);
		if (guard > 100000) {
			cores_fail(c, "messages never end");
			return;
		}
	}
}

static void send_msg(struct cores *c, struct core *k, const struct raft_msg *m)
{
	struct raft_msg filled = *m;
	char text[512];
	bool lost;

	cores_check_msg(c, k, m);
	if (m->kind == RAFT_MSG_APPEND && m->n > 0)
		filled.entries = core_log_at(&k->log, m->first);
	lost = c->cut[k->id - 1][m->to - 1];
	if ((c->hidden & (1u << m->kind)) == 0) {
		cores_msg_text(&filled, text, sizeof(text));
		cores_tracef(c, "%s%s", text, lost ? " (lost)" : "");
	}
	if (!lost)
		cores_put(c, &filled);
}

/* ---- steps ---- */

static void take_reads(struct cores *c, struct core *k)
{
	for (size_t i = 0; i < k->out.n_reads; i++) {
		const struct raft_read_ready *ready = &k->out.reads[i];
		size_t j = 0;

		while (j < k->n_reads && k->reads[j].ctx != ready->ctx)
			j++;
		if (j == k->n_reads) {
			cores_fail(c, "node %llu answers read #%llu, which is not open",
			           (unsigned long long)k->id, (unsigned long long)ready->ctx);
			return;
		}
		if (ready->failed)
			cores_tracef(c, "%llu: read #%llu failed", (unsigned long long)k->id,
			             (unsigned long long)ready->ctx);
		else
			cores_tracef(c, "%llu: read #%llu at %llu", (unsigned long long)k->id,
			             (unsigned long long)ready->ctx,
			             (unsigned long long)ready->index);
		if (!ready->failed && ready->index < k->reads[j].min)
			cores_fail(c, "read #%llu at %llu misses what was committed: %llu",
			           (unsigned long long)ready->ctx, (unsigned long long)ready->index,
			           (unsigned long long)k->reads[j].min);
		c->n_reads_done += !ready->failed;
		c->n_reads_failed += ready->failed;
		k->reads[j] = k->reads[--k->n_reads];
	}
}

/* The core's own entries are borrowed from it. */
static const void *keep(struct cores *c, const void *data, size_t len)
{
	c->texts = mem_grow(c->texts, &c->cap_texts, c->n_texts + 1, sizeof(*c->texts));
	return c->texts[c->n_texts++] = mem_dup(data, len);
}

static void take_writes(struct cores *c, struct core *k)
{
	bool show = !c->auto_persist || k->slow;

	if (k->out.state_changed) {
		if (show)
			cores_tracef(c, "%llu: writes term %llu, vote %llu",
			             (unsigned long long)k->id, (unsigned long long)k->out.term,
			             (unsigned long long)k->out.vote);
		write_add(k, (struct core_write){.state = true,
		                                 .epoch = k->out.state_epoch,
		                                 .term = k->out.term,
		                                 .vote = k->out.vote});
	}
	if (k->out.n_append > 0) {
		const struct raft_entry *e = k->out.append;
		size_t n = k->out.n_append;

		if (show)
			cores_tracef(c, "%llu: writes %llu..%llu", (unsigned long long)k->id,
			             (unsigned long long)e[0].pos.index,
			             (unsigned long long)e[n - 1].pos.index);
		struct raft_entry *kept = mem_dup(e, n * sizeof(*e));

		for (size_t i = 0; i < n; i++)
			if (e[i].kind == RAFT_ENTRY_CONFIG)
				kept[i].data = keep(c, e[i].data, e[i].len);
		log_put(&k->log, kept, n);
		write_add(k, (struct core_write){.epoch = k->out.log_epoch, .e = kept, .n = n});
	}
}

static void take_effects(struct cores *c, struct core *k)
{
	for (size_t i = 0; i < k->out.n_notices; i++)
		cores_trace_notice(c, k, &k->out.notices[i]);
	take_writes(c, k);
	for (size_t i = 0; i < k->out.n_msgs; i++)
		send_msg(c, k, &k->out.msgs[i]);
	if (k->out.commit > k->commit) {
		k->commit = k->out.commit;
		cores_tracef(c, "%llu: commit %llu", (unsigned long long)k->id,
		             (unsigned long long)k->commit);
	}
	for (size_t i = 0; i < k->out.n_snapshot_to; i++)
		snapshot_send(c, k, k->out.snapshot_to[i]);
	take_reads(c, k);
	k->deadline_ms = k->out.deadline_ms;
	k->want_flush = k->out.want_flush;
	cores_check_step(c, k);
}

static void step_once(struct cores *c, struct core *k, struct raft_event ev)
{
	ev.now_ms = c->now_ms;
	k->conf_before = *raft_get_conf(k->r);
	raft_step(k->r, &ev, &k->out);
	take_effects(c, k);
}

/* The rest of a turn: writes that complete at once, and the flush. */
static void settle(struct cores *c, struct core *k)
{
	while (c->auto_persist && !k->slow && k->n_writes > 0)
		(void)write_complete(c, k, k->writes[0].state);
	for (int guard = 0; c->auto_flush && k->want_flush; guard++) {
		step_once(c, k, (struct raft_event){.kind = RAFT_EV_FLUSH});
		if (guard > 10) {
			cores_fail(c, "node %llu wants to be flushed for ever",
			           (unsigned long long)k->id);
			return;
		}
	}
}

int cores_command(struct cores *c, raft_id id, struct raft_event ev)
{
	struct core *k = cores_node(c, id);
	int err;

	if (k == NULL || k->r == NULL)
		return -ENOTCONN;
	step_once(c, k, ev);
	err = k->out.error;
	settle(c, k);
	return err;
}

void cores_step(struct cores *c, raft_id id, struct raft_event ev)
{
	(void)cores_command(c, id, ev);
}

void cores_tick(struct cores *c, raft_id id)
{
	cores_step(c, id, (struct raft_event){.kind = RAFT_EV_TICK});
}

int cores_propose(struct cores *c, raft_id id, const char *const *texts, size_t n)
{
	struct raft_entry *e = mem_calloc(n, sizeof(*e));
	struct raft_event ev = {.kind = RAFT_EV_PROPOSE};
	int err;

	for (size_t i = 0; i < n; i++)
		e[i] = (struct raft_entry){.kind = RAFT_ENTRY_COMMAND,
		                           .len = (uint32_t)strlen(texts[i]),
		                           .data = texts[i]};
	ev.propose.entries = e;
	ev.propose.n = n;
	err = cores_command(c, id, ev);
	free(e);
	return err;
}

void cores_read(struct cores *c, raft_id id, uint64_t ctx)
{
	struct core *k = cores_node(c, id);

	if (k->r == NULL || k->n_reads == CORES_READS_MAX)
		return;
	k->reads[k->n_reads++] = (struct core_read){ctx, c->n_committed};
	cores_step(c, id, (struct raft_event){.kind = RAFT_EV_READ, .read_ctx = ctx});
}

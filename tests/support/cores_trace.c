/* What a cluster of cores does, in words: one line an event, "3@2" for index 3 of term 2. */
#include "cores.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long llu;

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	if (len + 1 >= size)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

static void add_ids(char *text, size_t size, const char *before, const raft_id *ids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		add(text, size, "%s%llu", i == 0 ? before : ",", (llu)ids[i]);
}

static void add_conf(char *text, size_t size, const struct raft_conf *c)
{
	add_ids(text, size, "voters ", c->voters, c->n_voters);
	add_ids(text, size, " and ", c->old, c->n_old);
	add_ids(text, size, " learners ", c->learners, c->n_learners);
	if (c->n_voters == 0)
		add(text, size, "nobody");
}

static void add_entry(char *text, size_t size, const struct raft_entry *e)
{
	struct raft_conf c;

	add(text, size, "%llu@%llu ", (llu)e->pos.index, (llu)e->pos.term);
	if (e->kind == RAFT_ENTRY_NOOP)
		add(text, size, "noop");
	else if (e->kind == RAFT_ENTRY_CONFIG && raft_conf_decode(&c, e->data, e->len))
		add_conf(text, size, &c);
	else
		add(text, size, "%.*s", e->len > 16 ? 16 : (int)e->len, (const char *)e->data);
}

static void add_append(const struct raft_msg *m, char *text, size_t size)
{
	add(text, size, " after %llu@%llu", (llu)m->pos.index, (llu)m->pos.term);
	if (m->n > 4) {
		add(text, size, ": %zu entries to %llu@%llu", m->n,
		    (llu)m->entries[m->n - 1].pos.index, (llu)m->entries[m->n - 1].pos.term);
	} else {
		for (size_t i = 0; i < m->n; i++) {
			add(text, size, i == 0 ? ": " : ", ");
			add_entry(text, size, &m->entries[i]);
		}
	}
	add(text, size, "; commit %llu", (llu)m->commit);
}

void cores_msg_text(const struct raft_msg *m, char *text, size_t size)
{
	(void)snprintf(text, size, "%llu -> %llu %s t%llu", (llu)m->from, (llu)m->to,
	               raft_msg_name(m->kind), (llu)m->term);
	switch (m->kind) {
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_TIMEOUT_NOW:
		add(text, size, " last %llu@%llu%s", (llu)m->pos.index, (llu)m->pos.term,
		    m->force ? ", forced" : "");
		break;
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE_RESP:
		add(text, size, m->reject ? " no" : " yes");
		if (m->last > 0)
			add(text, size, ", removed by %llu", (llu)m->last);
		break;
	case RAFT_MSG_APPEND: add_append(m, text, size); break;
	case RAFT_MSG_APPEND_RESP:
		if (m->reject)
			add(text, size, " refuses %llu, try %llu@%llu", (llu)m->last,
			    (llu)m->pos.index, (llu)m->pos.term);
		else
			add(text, size, " has %llu@%llu", (llu)m->pos.index, (llu)m->pos.term);
		if (!m->reject && m->last > m->pos.index)
			add(text, size, ", soon %llu", (llu)m->last);
		break;
	case RAFT_MSG_READ: add(text, size, " #%llu", (llu)m->read_ctx); break;
	case RAFT_MSG_READ_RESP:
		add(text, size, " #%llu", (llu)m->read_ctx);
		if (m->reject)
			add(text, size, " no");
		else
			add(text, size, " at %llu", (llu)m->read_index);
		break;
	}
	if (m->round != 0)
		add(text, size, "; round %llu", (llu)m->round);
}

static void trace_conf(struct cores *c, const struct core *k, raft_index index, const char *what)
{
	const struct raft_conf *conf = raft_get_conf_at(k->r, index, NULL);
	char text[200] = "";

	if (conf != NULL)
		add_conf(text, sizeof(text), conf);
	cores_tracef(c, "%llu: %s by entry %llu: %s", (llu)k->id, what, (llu)index, text);
}

void cores_trace_conf(struct cores *c, const struct core *k)
{
	char text[400] = "";
	struct raft_status st;

	if (k->r == NULL)
		return;
	raft_get_status(k->r, &st);
	add_conf(text, sizeof(text), raft_get_conf(k->r));
	for (unsigned i = 0; i < raft_get_conf(k->r)->n_members; i++) {
		const struct raft_member *m = &raft_get_conf(k->r)->members[i];

		if (m->address[0] != '\0')
			add(text, sizeof(text), "; %llu at %s%s", (llu)m->id, m->address,
			    m->promote ? ", to be promoted" : "");
	}
	cores_tracef(c, "%llu: %s, by entry %llu%s", (llu)k->id, text, (llu)st.conf_index,
	             st.conf_index > st.commit ? ", not committed" : "");
}

void cores_trace_notice(struct cores *c, const struct core *k, const struct raft_notice *n)
{
	llu id = k->id;

	switch (n->kind) {
	case RAFT_NOTE_ROLE:
		if (n->role == RAFT_LEADER)
			cores_tracef(c, "%llu: %s -> %s, term %llu, %u of %u votes", id,
			             raft_role_name(n->was), raft_role_name(n->role), (llu)n->term,
			             n->votes, n->voters);
		else
			cores_tracef(c, "%llu: %s -> %s, term %llu", id, raft_role_name(n->was),
			             raft_role_name(n->role), (llu)n->term);
		break;
	case RAFT_NOTE_TERM: cores_tracef(c, "%llu: enters term %llu", id, (llu)n->term); break;
	case RAFT_NOTE_VOTE_GRANTED:
		cores_tracef(c, "%llu: %s %llu in term %llu", id,
		             n->pre ? "would vote for" : "votes for", (llu)n->peer, (llu)n->term);
		break;
	case RAFT_NOTE_VOTE_REFUSED:
		cores_tracef(c, "%llu: %s %llu in term %llu: %s", id,
		             n->pre ? "would not vote for" : "does not vote for", (llu)n->peer,
		             (llu)n->term, n->text);
		break;
	case RAFT_NOTE_VOTE_RECEIVED:
		cores_tracef(c, "%llu: %s%s from %llu", id, n->pre ? "pre-vote" : "vote",
		             n->text != NULL ? " refused" : "", (llu)n->peer);
		break;
	case RAFT_NOTE_LEADER:
		if (n->peer == 0)
			cores_tracef(c, "%llu: knows no leader", id);
		else if (n->peer != k->id)
			cores_tracef(c, "%llu: follows %llu", id, (llu)n->peer);
		break;
	case RAFT_NOTE_QUORUM_LOST: cores_tracef(c, "%llu: hears no quorum", id); break;
	case RAFT_NOTE_TRUNCATE:
		cores_tracef(c, "%llu: replaces its log from %llu on", id, (llu)n->index);
		break;
	case RAFT_NOTE_CONF: trace_conf(c, k, n->index, "in force"); break;
	case RAFT_NOTE_CONF_COMMITTED: trace_conf(c, k, n->index, "committed"); break;
	case RAFT_NOTE_SNAPSHOT:
		cores_tracef(c, "%llu: %llu needs a snapshot", id, (llu)n->peer);
		break;
	case RAFT_NOTE_INSTALLED:
		cores_tracef(c, "%llu: installs a snapshot of %llu", id, (llu)n->index);
		break;
	case RAFT_NOTE_REMOVED:
		cores_tracef(c, "%llu: was removed by entry %llu, says %llu", id, (llu)n->index,
		             (llu)n->peer);
		break;
	case RAFT_NOTE_CAUGHT_UP:
		cores_tracef(c, "%llu: learner %llu has caught up", id, (llu)n->peer);
		break;
	case RAFT_NOTE_TOO_SLOW:
		cores_tracef(c, "%llu: learner %llu is too slow", id, (llu)n->peer);
		break;
	case RAFT_NOTE_TRANSFER:
		cores_tracef(c, "%llu: hands over to %llu", id, (llu)n->peer);
		break;
	case RAFT_NOTE_TRANSFER_END:
		if (n->text == NULL)
			cores_tracef(c, "%llu: has handed over to %llu", id, (llu)n->peer);
		else
			cores_tracef(c, "%llu: has not handed over to %llu: %s", id, (llu)n->peer,
			             n->text);
		break;
	case RAFT_NOTE_PROTOCOL:
		c->n_protocol++;
		cores_tracef(c, "%llu: ignores %llu: %s", id, (llu)n->peer, n->text);
		break;
	}
}

void cores_trace_log(struct cores *c, const struct core *k)
{
	char text[800] = "";

	if (k->log.base.index > 0)
		add(text, sizeof(text), " (base %llu@%llu)", (llu)k->log.base.index,
		    (llu)k->log.base.term);
	for (size_t i = 0; i < k->log.n; i++) {
		add(text, sizeof(text), i == 0 ? " " : ", ");
		add_entry(text, sizeof(text), &k->log.e[i]);
	}
	cores_tracef(c, "%llu: log%s", (llu)k->id, text[0] != '\0' ? text : " empty");
}

void cores_trace_status(struct cores *c, const struct core *k)
{
	struct raft_status st;

	if (k->r == NULL) {
		cores_tracef(c, "%llu: down, disk term %llu, vote %llu, last %llu@%llu", (llu)k->id,
		             (llu)k->disk_term, (llu)k->disk_vote, (llu)core_log_last(&k->disk),
		             (llu)core_log_term(&k->disk, core_log_last(&k->disk)));
		return;
	}
	raft_get_status(k->r, &st);
	cores_tracef(c,
	             "%llu: %s, term %llu, vote %llu, leader %llu, last %llu@%llu, durable %llu, "
	             "commit %llu",
	             (llu)k->id, raft_role_name(st.role), (llu)st.term, (llu)st.vote,
	             (llu)st.leader, (llu)st.last.index, (llu)st.last.term, (llu)st.durable,
	             (llu)st.commit);
	for (unsigned i = 0; i < c->n; i++) {
		struct raft_peer_status p;

		if (i + 1 != k->id && raft_get_peer(k->r, i + 1, &p))
			cores_tracef(c,
			             "     %llu: match %llu, next %llu, %s, %llu bytes under way%s",
			             (llu)p.id, (llu)p.match, (llu)p.next,
			             p.replicating ? "replicating"
			             : p.snapshot  ? "waiting for a snapshot"
			                           : "probing",
			             (llu)p.inflight_bytes,
			             p.leaving     ? ", leaving"
			             : p.caught_up ? ", caught up"
			                           : "");
	}
}

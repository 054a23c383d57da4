/* The story of the cluster, one readable line an event. */
#include "node_priv.h"

#include <stdio.h>
#include "../base/log.h"

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

static void tell_leader(struct node *n, const struct raft_notice *note)
{
	const char *at = node_address_of(n, note->peer);

	if (note->peer == 0)
		log_info("no leader known in term %llu", ull(note->term));
	else if (note->peer == n->id)
		log_info("leader of term %llu is this node", ull(note->term));
	else
		log_info("leader of term %llu is node %llu%s%s", ull(note->term), ull(note->peer),
		         at[0] != '\0' ? " at " : "", at);
}

static void tell_vote(const struct raft_notice *note)
{
	const char *what = note->pre ? "pre-vote" : "vote";
	const char *why = note->text != NULL ? note->text : "no reason given";

	switch (note->kind) {
	case RAFT_NOTE_VOTE_GRANTED:
		log_info("%s given to node %llu for term %llu", what, ull(note->peer),
		         ull(note->term));
		break;
	case RAFT_NOTE_VOTE_REFUSED:
		log_info("%s refused to node %llu for term %llu: %s", what, ull(note->peer),
		         ull(note->term), why);
		break;
	case RAFT_NOTE_VOTE_RECEIVED:
		if (note->text != NULL)
			log_info("node %llu refused its %s for term %llu: %s", ull(note->peer),
			         what, ull(note->term), note->text);
		else
			log_info("node %llu gave its %s for term %llu", ull(note->peer), what,
			         ull(note->term));
		break;
	case RAFT_NOTE_ROLE:
	case RAFT_NOTE_TERM:
	case RAFT_NOTE_LEADER:
	case RAFT_NOTE_QUORUM_LOST:
	case RAFT_NOTE_TRUNCATE:
	case RAFT_NOTE_CONF:
	case RAFT_NOTE_CONF_COMMITTED:
	case RAFT_NOTE_SNAPSHOT:
	case RAFT_NOTE_INSTALLED:
	case RAFT_NOTE_REMOVED:
	case RAFT_NOTE_CAUGHT_UP:
	case RAFT_NOTE_TOO_SLOW:
	case RAFT_NOTE_TRANSFER:
	case RAFT_NOTE_TRANSFER_END:
	case RAFT_NOTE_PROTOCOL: break;
	}
}

static void tell_role(const struct raft_notice *note)
{
	const char *was = raft_role_name(note->was), *is = raft_role_name(note->role);

	switch (note->role) {
	case RAFT_PRE_CANDIDATE:
		log_info("%s -> %s: asking for pre-votes for term %llu", was, is,
		         ull(note->term + 1));
		break;
	case RAFT_CANDIDATE:
		log_info("%s -> %s: asking for votes in term %llu", was, is, ull(note->term));
		break;
	case RAFT_LEADER:
		log_info("%s -> %s, term %llu, %u of %u votes", was, is, ull(note->term),
		         note->votes, note->voters);
		break;
	case RAFT_FOLLOWER: log_info("%s -> %s, term %llu", was, is, ull(note->term)); break;
	}
}

static void count(struct node *n, const struct raft_notice *note)
{
	bool role = note->kind == RAFT_NOTE_ROLE;

	n->counts.elections += role && note->role == RAFT_CANDIDATE;
	n->counts.terms_led += role && note->role == RAFT_LEADER;
	n->counts.snapshots_needed += note->kind == RAFT_NOTE_SNAPSHOT;
	n->counts.snapshots_installed += note->kind == RAFT_NOTE_INSTALLED;
}

void node_tell(struct node *n, const struct raft_notice *note)
{
	count(n, note);
	if (note->kind == RAFT_NOTE_LEADER && note->peer != 0)
		reads_probe(n);
	if (note->kind == RAFT_NOTE_LEADER && n->on_leader != NULL)
		n->on_leader(n->ctx, note->peer);
	switch (note->kind) {
	case RAFT_NOTE_ROLE: tell_role(note); break;
	case RAFT_NOTE_TERM: log_info("term %llu seen", ull(note->term)); break;
	case RAFT_NOTE_VOTE_GRANTED:
	case RAFT_NOTE_VOTE_REFUSED:
	case RAFT_NOTE_VOTE_RECEIVED: tell_vote(note); break;
	case RAFT_NOTE_LEADER: tell_leader(n, note); break;
	case RAFT_NOTE_QUORUM_LOST:
		log_warn("quorum lost in term %llu: too few servers have answered; stepping down",
		         ull(note->term));
		break;
	case RAFT_NOTE_TRUNCATE:
		log_info("log: uncommitted entries from %llu on replaced by the leader's",
		         ull(note->index));
		break;
	case RAFT_NOTE_CONF:
		log_info("membership of entry %llu is in force%s", ull(note->index),
		         note->text != NULL ? " (joint)" : "");
		break;
	case RAFT_NOTE_CONF_COMMITTED:
		log_info("membership of entry %llu is committed%s", ull(note->index),
		         note->text != NULL ? " (joint)" : "");
		break;
	case RAFT_NOTE_SNAPSHOT:
		log_info("node %llu is too far behind the log: it needs a snapshot",
		         ull(note->peer));
		break;
	case RAFT_NOTE_INSTALLED:
		log_info("snapshot installed: state up to %llu", ull(note->index));
		break;
	case RAFT_NOTE_REMOVED:
		log_warn("this node is no member any more: node %llu knows of membership %llu",
		         ull(note->peer), ull(note->index));
		break;
	case RAFT_NOTE_CAUGHT_UP: log_info("node %llu has caught up", ull(note->peer)); break;
	case RAFT_NOTE_TOO_SLOW:
		log_warn("node %llu does not catch up: it is slower than the writers",
		         ull(note->peer));
		break;
	case RAFT_NOTE_TRANSFER: log_info("handing over to node %llu", ull(note->peer)); break;
	case RAFT_NOTE_TRANSFER_END:
		if (note->text == NULL)
			log_info("handed over to node %llu", ull(note->peer));
		else
			log_warn("not handed over to node %llu: %s", ull(note->peer), note->text);
		break;
	case RAFT_NOTE_PROTOCOL:
		log_warn("node %llu broke the protocol: %s; ignored", ull(note->peer),
		         note->text != NULL ? note->text : "");
		break;
	}
}

/* A disk that hangs. The log's writer waits in its thread, the loop goes on, and so would heartbeats and
 * reads: a leader under which nothing is done, and which nobody replaces (hashicorp/raft 503). So the loop
 * looks how long the writer's present call has been running, and tells the core. */
#include "node_priv.h"

#include "../base/log.h"

/* Longer than any disk takes that works, also one that many share. */
static uint64_t limit_ms(const struct node *n)
{
	uint64_t elections = 2u * (uint64_t)n->config.election_max_ms;

	return elections > NODE_STALL_MS_MIN ? elections : NODE_STALL_MS_MIN;
}

void stall_look(struct node *n)
{
	uint64_t ms = wal_stalled_ms(n->wal);
	bool stalled = ms > limit_ms(n);

	if (stalled == n->stalled)
		return;
	n->stalled = stalled;
	if (stalled)
		log_error("the disk hangs: a write of the log in %s has taken %llu ms so far; "
		          "until it "
		          "works again this node neither leads nor votes",
		          n->data_dir, (unsigned long long)ms);
	else
		log_warn("the disk works again (%s)", n->data_dir);
	node_step(n, &(struct raft_event){.kind = RAFT_EV_DISK, .stalled = stalled});
}

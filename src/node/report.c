/* The node's numbers for Prometheus. Names: raftfs_ in front, base units, _total behind what only
 * grows. docs/operations.md tells which of them call for somebody. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../metrics/expo.h"
#include "web.h"

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

static void put_identity(struct node *n, struct buf *b)
{
	char labels[256];

	(void)snprintf(labels, sizeof(labels), "cluster=\"%s\",node=\"%llu\",version=\"%s\"",
	               n->config.name, ull(n->id), RAFTFS_VERSION);
	expo_family(b, "raftfs_build_info", "gauge", "Always 1; the labels tell who this is.");
	expo_sample(b, "raftfs_build_info", labels, 1);
	expo_gauge(b, "raftfs_uptime_seconds", "Since this node started.",
	           (clock_mono_ms() - n->started_ms) / 1000);
}

static void put_role(const struct raft_status *st, struct buf *b)
{
	static const enum raft_role roles[] = {RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE,
	                                       RAFT_LEADER};
	char labels[64];

	expo_family(b, "raftfs_role", "gauge", "1 for the role that the node has.");
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		(void)snprintf(labels, sizeof(labels), "role=\"%s\"", raft_role_name(roles[i]));
		expo_sample(b, "raftfs_role", labels, st->role == roles[i]);
	}
	expo_gauge(b, "raftfs_has_leader", "1 while the node leads or knows who does.",
	           st->leader != 0);
	expo_gauge(b, "raftfs_leader_id", "Id of the leader; 0: none is known.", st->leader);
	expo_gauge(b, "raftfs_term", "Current term.", st->term);
}

static void put_log(struct node *n, const struct raft_status *st, struct buf *b)
{
	expo_gauge(b, "raftfs_log_first_index", "Oldest entry of the log.", st->base.index + 1);
	expo_gauge(b, "raftfs_log_last_index", "Newest entry of the log.", st->last.index);
	expo_gauge(b, "raftfs_log_durable_index", "Newest entry that is synced here.", st->durable);
	expo_gauge(b, "raftfs_commit_index", "Newest entry known to be committed.", st->commit);
	expo_gauge(b, "raftfs_applied_index", "Newest entry in the state.",
	           store_applied(n->store).index);
	expo_gauge(b, "raftfs_log_bytes", "Room that the log takes on disk.",
	           wal_disk_bytes(n->wal));
	expo_gauge(b, "raftfs_uncommitted_bytes", "Leader: proposed and not committed yet.",
	           st->uncommitted_bytes);
}

static void put_state(struct node *n, struct buf *b)
{
	struct web_disk disk = web_disk_of(n);
	struct store_counts counts;
	struct store_freeing freeing;

	store_get_counts(n->store, &counts);
	store_get_freeing(n->store, &freeing);
	expo_gauge(b, "raftfs_store_bytes", "Room that the state takes on disk.",
	           store_disk_bytes(n->store));
	expo_gauge(b, "raftfs_disk_free_bytes", "Free room where the data directory is.",
	           disk.free_bytes);
	expo_gauge(b, "raftfs_disk_size_bytes", "Size of the file system it is on.",
	           disk.size_bytes);
	expo_gauge(b, "raftfs_disk_room",
	           "3: enough, 2: changes that need more are refused, 1: nothing is taken.",
	           (uint64_t)n->space.room);
	expo_gauge(b, "raftfs_inodes", "Files, directories and links.", counts.inodes);
	expo_gauge(b, "raftfs_file_bytes", "Sum of the sizes of all files.", counts.bytes);
	expo_gauge(b, "raftfs_contents_to_free",
	           "Large files that are gone or were cut, and not freed as a whole yet.",
	           freeing.contents);
	expo_counter(b, "raftfs_chunks_freed_total", "Pieces of files freed since the start.",
	             freeing.chunks);
	expo_gauge(b, "raftfs_chunks_freed_by_one_change_max", "The most by one entry of the log.",
	           freeing.chunks_most);
	expo_gauge(b, "raftfs_sessions", "Open sessions: mounts and other clients.",
	           counts.sessions);
}

/* One family, a sample for each peer. */
static void put_peers(struct node *n, struct buf *b, const char *name, const char *help,
                      bool (*value)(struct node *n, const struct node_peer *p, uint64_t *out))
{
	const struct node_peer *p;
	char labels[32];
	uint64_t v = 0;

	expo_family(b, name, "gauge", help);
	DL_FOREACH (n->peers, p) {
		if (!value(n, p, &v))
			continue;
		(void)snprintf(labels, sizeof(labels), "peer=\"%llu\"", ull(p->id));
		expo_sample(b, name, labels, v);
	}
}

static bool peer_up(struct node *n, const struct node_peer *p, uint64_t *out)
{
	(void)n;
	*out = p->up;
	return true;
}

static bool peer_match(struct node *n, const struct node_peer *p, uint64_t *out)
{
	struct raft_peer_status ps;

	if (!raft_get_peer(n->raft, p->id, &ps))
		return false;
	*out = ps.match;
	return true;
}

static bool peer_lag(struct node *n, const struct node_peer *p, uint64_t *out)
{
	struct raft_status st;
	uint64_t match;

	raft_get_status(n->raft, &st);
	if (!peer_match(n, p, &match))
		return false;
	*out = st.last.index > match ? st.last.index - match : 0;
	return true;
}

static bool peer_inflight(struct node *n, const struct node_peer *p, uint64_t *out)
{
	struct raft_peer_status ps;

	if (!raft_get_peer(n->raft, p->id, &ps))
		return false;
	*out = ps.inflight_bytes;
	return true;
}

static void put_connections(struct node *n, struct buf *b)
{
	uint64_t clients = 0, nodes = 0, plain = 0;
	const struct node_conn *c;

	DL_FOREACH (n->conns, c) {
		clients += c->peer_id == 0;
		nodes += c->peer_id != 0;
		plain += c->net != NULL && net_conn_is_plain(c->net);
	}
	expo_family(b, "raftfs_connections", "gauge", "Accepted connections that are open.");
	expo_sample(b, "raftfs_connections", "kind=\"client\"", clients);
	expo_sample(b, "raftfs_connections", "kind=\"node\"", nodes);
	if (n->tls != NULL) {
		expo_gauge(b, "raftfs_plain_connections", "Of them, those without TLS.", plain);
		expo_counter(b, "raftfs_denied_total",
		             "Requests that a certificate's role does not allow.",
		             n->counts.denied);
		expo_gauge(b, "raftfs_tls_certificate_expiry_seconds",
		           "When the first certificate that the node depends on ends, in seconds "
		           "since the "
		           "epoch.",
		           (uint64_t)tls_context_expiry_s(n->tls, NULL));
	}
	expo_gauge(b, "raftfs_pending_changes", "Changes that wait for their entry.", n->pending.n);
	put_peers(n, b, "raftfs_peer_up", "1 while the connection to this node is up.", peer_up);
	put_peers(n, b, "raftfs_peer_match_index",
	          "Leader: up to where this node's log is known to agree.", peer_match);
	put_peers(n, b, "raftfs_peer_lag_entries", "Leader: entries that this node has not.",
	          peer_lag);
	put_peers(n, b, "raftfs_peer_inflight_bytes",
	          "Leader: sent to this node and not acknowledged.", peer_inflight);
}

static void put_counts(struct node *n, struct buf *b)
{
	const struct node_counts *c = &n->counts;

	expo_counter(b, "raftfs_elections_total", "Times the node stood for election.",
	             c->elections);
	expo_counter(b, "raftfs_terms_led_total", "Elections that it won.", c->terms_led);
	expo_counter(b, "raftfs_changes_total", "Changes taken as leader.", c->changes);
	expo_counter(b, "raftfs_change_bytes_total", "Their bytes, as entries of the log.",
	             c->change_bytes);
	expo_counter(b, "raftfs_reads_total", "Linearizable reads taken.", c->reads);
	expo_counter(b, "raftfs_local_reads_total", "Reads answered without a quorum.",
	             c->local_reads);
	expo_counter(b, "raftfs_refused_requests_total",
	             "Requests answered with: not the leader, a limit reached, shutting down.",
	             c->refused);
	expo_counter(b, "raftfs_connections_accepted_total", "Connections since the start.",
	             c->accepted);
	expo_counter(b, "raftfs_received_bytes_total", "From nodes that dialled and clients.",
	             n->traffic.received);
	expo_counter(b, "raftfs_sent_bytes_total", "To nodes and clients.", n->traffic.sent);
	expo_counter(b, "raftfs_snapshots_needed_total",
	             "Leader: times a node was too far behind for the log.", c->snapshots_needed);
	expo_counter(b, "raftfs_snapshots_installed_total", "Snapshots that became its state.",
	             c->snapshots_installed);
}

static void put_latencies(struct node *n, struct buf *b)
{
	struct histogram syncs;

	wal_get_syncs(n->wal, &syncs);
	expo_seconds(b, "raftfs_commit_seconds",
	             "Leader: from a change's coming in to its answer, committed and applied.",
	             &n->counts.commit);
	expo_seconds(b, "raftfs_read_seconds",
	             "From a linearizable read's coming in to its answer.", &n->counts.read);
	expo_seconds(b, "raftfs_apply_seconds", "Applying one batch of committed entries.",
	             &n->counts.apply);
	expo_seconds(b, "raftfs_fsync_seconds", "One fdatasync of the log.", &syncs);
}

static void put_process(struct buf *b)
{
	struct rusage use = {0};
	char line[128] = "", *resident = line;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		if (fgets(line, sizeof(line), f) != NULL)
			(void)strtoull(line, &resident,
			               10); /* the first number is the whole size */
		(void)fclose(f);
	}
	(void)getrusage(RUSAGE_SELF, &use);
	expo_gauge(b, "process_resident_memory_bytes", "Resident memory of the process.",
	           strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE));
	expo_family(b, "process_cpu_seconds_total", "counter", "User and system CPU time.");
	buf_printf(b, "process_cpu_seconds_total %.3f\n",
	           (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	                   (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

void report_metrics(struct node *n, struct buf *out)
{
	struct raft_status st;

	raft_get_status(n->raft, &st);
	put_identity(n, out);
	put_role(&st, out);
	put_log(n, &st, out);
	put_state(n, out);
	put_connections(n, out);
	put_counts(n, out);
	put_latencies(n, out);
	put_process(out);
}

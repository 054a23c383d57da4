/* cluster.quota_bytes of the file becomes a part of the replicated state, where apply finds it: the leader proposes it
 * once a term, if the state says something else. */
#include "node_priv.h"

void quota_look(struct node *n)
{
	const struct fs_op op = {
	        .kind = FS_OP_QUOTA_SET,
	        .name = FS_STR("/"),
	        .size = n->config.quota_bytes,
	        .offset = store_quota_inodes_max(n->store),
	};
	struct raft_status st;

	if (n->role != RAFT_LEADER || n->config.quota_bytes == 0 ||
	    store_applied(n->store).index < n->term_start ||
	    store_version(n->store) < fs_op_protocol(&op))
		return;
	raft_get_status(n->raft, &st);
	if (n->quota_term == st.term)
		return;
	n->quota_term = st.term;
	if (store_quota_bytes_max(n->store) != n->config.quota_bytes)
		(void)serve_command(n, &op);
}

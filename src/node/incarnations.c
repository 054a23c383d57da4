/* Which incarnation of each other server this one has met.
 *
 * A server whose disk was lost comes back with an empty log and no memory of its votes: under its old id it could
 * vote a second time in a term, and help to elect a leader without entries that it had acknowledged (rethinkdb 5289).
 * Its data directory was made anew, so it has another incarnation; those who have met the old one refuse it, on
 * every connection, before a word of Raft is exchanged (but see may_lead()). What was met is on disk before it is
 * believed. The configuration carries the incarnations of the members that were known when it was made, for those who
 * missed how it came to be.
 *
 * The file `peers` holds a line a server: id, incarnation in hexadecimal. A line goes when the server is removed from the
 * cluster, or by hand. */
#include "node_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../base/log.h"

static void path_of(const struct node *n, const char *name, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/%s", n->data_dir, name);
}

static bool parse_line(const char *line, struct node_met *met)
{
	char *end;

	errno = 0;
	met->id = strtoull(line, &end, 10);
	if (errno != 0 || end == line || *end != ' ')
		return false;
	line = end + 1;
	met->incarnation = strtoull(line, &end, 16);
	return errno == 0 && end != line && *end == '\n';
}

int incarnations_load(struct node *n, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 16], line[128];
	unsigned number = 0;
	FILE *f;
	int rc = 0;

	path_of(n, "peers", path, sizeof(path));
	f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT
		               ? 0
		               : rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	while (rc == 0 && fgets(line, sizeof(line), f) != NULL) {
		struct node_met met;

		number++;
		if (!parse_line(line, &met) || n->n_met == RAFT_MEMBERS_MAX)
			rc = rfs_err_set(err, RFS_ECORRUPT, "%s:%u: not a line \"ID INCARNATION\"",
			                 path, number);
		else
			n->met[n->n_met++] = met;
	}
	(void)fclose(f);
	return rc;
}

/* A new file under the old name, synced, and the directory with it. */
static int save(const struct node *n, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 16], tmp[CONFIG_PATH_MAX + 16];
	int dir, rc = 0;
	FILE *f;

	path_of(n, "peers", path, sizeof(path));
	path_of(n, "peers.tmp", tmp, sizeof(tmp));
	f = fopen(tmp, "we");
	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", tmp, rfs_strerror(-errno));
	for (size_t i = 0; i < n->n_met; i++)
		if (fprintf(f, "%" PRIu64 " %016" PRIx64 "\n", n->met[i].id,
		            n->met[i].incarnation) < 0)
			rc = -EIO;
	if (fflush(f) != 0 || fsync(fileno(f)) != 0)
		rc = errno != 0 ? -errno : -EIO;
	if (fclose(f) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(tmp, path) != 0)
		rc = -errno;
	dir = open(n->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0 && (dir < 0 || fsync(dir) != 0))
		rc = -errno;
	if (dir >= 0)
		(void)close(dir);
	return rc == 0 ? 0 : rfs_err_set(err, rc, "%s: %s", path, rfs_strerror(rc));
}

bool incarnations_met(const struct node *n, uint64_t id)
{
	const struct raft_member *m = raft_conf_member(raft_get_conf(n->raft), id);

	if (m != NULL && m->incarnation != 0)
		return true;
	for (size_t i = 0; i < n->n_met; i++)
		if (n->met[i].id == id)
			return true;
	return false;
}

uint64_t incarnations_of(const struct node *n, raft_id id)
{
	for (size_t i = 0; i < n->n_met; i++)
		if (n->met[i].id == id)
			return n->met[i].incarnation;
	return 0;
}

void incarnations_follow(struct node *n, const struct raft_conf *conf)
{
	struct node_met was[RAFT_MEMBERS_MAX];
	size_t n_was = n->n_met, kept = 0;
	struct rfs_err err = {0};

	memcpy(was, n->met, sizeof(was));
	for (size_t i = 0; i < n_was; i++) {
		const struct raft_member *m = raft_conf_member(conf, was[i].id);

		if (!raft_conf_is_member(conf, was[i].id))
			continue;
		n->met[kept] = was[i];
		if (m != NULL && m->incarnation != 0)
			n->met[kept].incarnation = m->incarnation;
		kept++;
	}
	n->n_met = kept;
	if (kept == n_was && memcmp(was, n->met, kept * sizeof(was[0])) == 0)
		return;
	/* On failure what is on disk refuses too many: said, and tried again with the next change. */
	if (save(n, &err) != 0)
		log_error("%s", err.msg);
}

static int lost_its_data(uint64_t id, uint64_t was, uint64_t is, struct rfs_err *err)
{
	return rfs_err_set(err, RFS_EIDENTITY,
	                   "node %" PRIu64 " has lost its data (it was %016" PRIx64
	                   ", now %016" PRIx64 ") and could vote twice: it must be removed "
	                   "from the cluster and added again (raftd --rebuild does both)",
	                   id, was, is);
}

static int judge(struct node *n, uint64_t id, uint64_t incarnation, struct rfs_err *err)
{
	const struct raft_conf *conf = raft_get_conf(n->raft);
	const struct raft_member *m = raft_conf_member(conf, id);

	if (m != NULL && m->incarnation != 0)
		return m->incarnation == incarnation
		               ? 0
		               : lost_its_data(id, m->incarnation, incarnation, err);
	for (size_t i = 0; i < n->n_met; i++) {
		if (n->met[i].id != id)
			continue;
		return n->met[i].incarnation == incarnation
		               ? 0
		               : lost_its_data(id, n->met[i].incarnation, incarnation, err);
	}
	/* Strangers do not fill the table; what they say is judged by the core. */
	if (!raft_conf_is_member(conf, id) || n->n_met == RAFT_MEMBERS_MAX)
		return 0;
	n->met[n->n_met++] = (struct node_met){id, incarnation};
	if (save(n, err) == 0)
		return 0;
	n->n_met--;
	log_error("%s", err->msg);
	return err->code;
}

/* It may be that we were away while it was removed and added again, and that it leads by now: then what it says as a
 * leader is how we learn of that. While another one leads there is nothing to learn from it, nor for a while from one that
 * has asked for votes. */
static bool may_lead(const struct node *n, uint64_t id)
{
	struct raft_status st;

	raft_get_status(n->raft, &st);
	return (st.leader == 0 || st.leader == id) &&
	       (n->shunned != id || clock_mono_ms() >= n->shunned_until_ms);
}

int incarnations_judge(void *ctx, uint64_t id, uint64_t incarnation, struct rfs_err *err)
{
	struct node *n = ctx;
	int rc = judge(n, id, incarnation, err);

	if (rc != RFS_EIDENTITY || !may_lead(n, id))
		return rc;
	*err = (struct rfs_err){0};
	return 0;
}

/* Said by nobody who does not lead, and nothing that counts as a vote or as a copy. */
static bool is_of_a_leader(enum raft_msg_kind kind)
{
	switch (kind) {
	case RAFT_MSG_APPEND:
	case RAFT_MSG_READ_RESP: return true;
	case RAFT_MSG_PRE_VOTE:
	case RAFT_MSG_PRE_VOTE_RESP:
	case RAFT_MSG_VOTE:
	case RAFT_MSG_VOTE_RESP:
	case RAFT_MSG_APPEND_RESP:
	case RAFT_MSG_READ:
	case RAFT_MSG_TIMEOUT_NOW: return false;
	}
	return false;
}

int incarnations_hear(struct node *n, uint64_t id, uint64_t incarnation, enum raft_msg_kind kind,
                      struct rfs_err *err)
{
	int rc = judge(n, id, incarnation, err);

	if (rc != RFS_EIDENTITY)
		return rc;
	if (!is_of_a_leader(kind)) {
		n->shunned = id;
		n->shunned_until_ms = clock_mono_ms() + NODE_SHUN_MS;
	}
	if (!may_lead(n, id))
		return rc;
	*err = (struct rfs_err){0};
	return 0;
}

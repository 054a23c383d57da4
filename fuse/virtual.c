#include "virtual.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "events.h"
#include "handle.h"
#include "notify.h"
#include "ops.h"
#include "reply.h"
#include "../src/base/clock.h"
#include "../src/base/mem.h"

enum virtual_file {
	VIRTUAL_STATUS,
	VIRTUAL_LEADER,
	VIRTUAL_MEMBERS,
	VIRTUAL_VERSION,
	VIRTUAL_LAST_ERROR,
	VIRTUAL_EVENTS,
	VIRTUAL_FILES
};

static const char *const file_names[VIRTUAL_FILES] = {"status",  "leader",     "members",
                                                      "version", "last_error", "events"};

/* Somebody whose open(2) waits for the nodes' answers. */
struct virtual_waiter {
	fuse_req_t req;
	enum virtual_file which;
	struct fuse_file_info fi;
	struct virtual_waiter *next;
};

/* One round of questions to all nodes. */
struct virtual_poll {
	unsigned unanswered;
	struct virtual_waiter *waiters;
};

struct virtual_question {
	struct mount *mount;
	size_t slot; /* in mount->status */
};

static fuse_ino_t ino_of(size_t file)
{
	return VIRTUAL_BIT | (file + 1);
}

bool virtual_has(fuse_ino_t parent, const char *name)
{
	return virtual_is(parent) || (parent == FS_ROOT_INO && strcmp(name, VIRTUAL_NAME) == 0);
}

static void fill_stat(const struct mount *m, struct stat *st, fuse_ino_t ino)
{
	bool dir = ino == VIRTUAL_DIR;

	*st = (struct stat){
	        .st_ino = ino,
	        .st_mode = dir ? S_IFDIR | 0555 : S_IFREG | 0444,
	        .st_nlink = dir ? 2 : 1,
	        .st_uid = getuid(),
	        .st_gid = getgid(),
	        .st_blksize = 4096,
	        .st_mtim = {.tv_sec = m->started_s},
	        .st_ctim = {.tv_sec = m->started_s},
	        .st_atim = {.tv_sec = m->started_s},
	};
}

void virtual_lookup(struct mount *m, fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = 0};

	if (parent == FS_ROOT_INO)
		e.ino = VIRTUAL_DIR;
	for (size_t i = 0; parent == VIRTUAL_DIR && i < VIRTUAL_FILES; i++) {
		if (strcmp(name, file_names[i]) == 0)
			e.ino = ino_of(i);
	}
	if (e.ino == 0) {
		(void)fuse_reply_err(req, ENOENT);
		return;
	}
	fill_stat(m, &e.attr, e.ino);
	(void)fuse_reply_entry(req, &e);
}

void virtual_getattr(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	fill_stat(m, &st, ino);
	(void)fuse_reply_attr(req, &st, 0.0);
}

/* ".", "..", the files: entry i continues at i + 1. */
void virtual_readdir(struct mount *m, fuse_req_t req, size_t size, off_t off)
{
	char out[4096];
	size_t used = 0, room = size < sizeof(out) ? size : sizeof(out);

	for (off_t i = off; i >= 0 && i < VIRTUAL_FILES + 2; i++) {
		const char *name = i == 0 ? "." : i == 1 ? ".." : file_names[i - 2];
		struct fuse_entry_param e = {.ino = i < 2 ? 0 : ino_of((size_t)i - 2)};
		size_t n;

		fill_stat(m, &e.attr, i < 2 ? VIRTUAL_DIR : e.ino);
		n = fuse_add_direntry(req, out + used, room - used, name, &e.attr, i + 1);
		if (n > room - used)
			break;
		used += n;
	}
	(void)fuse_reply_buf(req, out, used);
}

/* ---- contents ---- */

static const struct mount_node_status *find_leader(const struct mount *m)
{
	const struct mount_node_status *leader = NULL;

	for (size_t i = 0; i < m->n_status; i++) {
		const struct mount_node_status *s = &m->status[i];

		if (s->reachable && strcmp(s->role, "leader") == 0 &&
		    (leader == NULL || s->term > leader->term))
			leader = s;
	}
	return leader;
}

static void put_leader(const struct mount *m, struct buf *b)
{
	const struct mount_node_status *s = find_leader(m);

	if (s != NULL)
		buf_printf(b, "%llu %s\n", (unsigned long long)s->id, s->address);
	else
		buf_printf(b, "none\n");
}

static void put_members(const struct mount *m, struct buf *b)
{
	for (size_t i = 0; i < m->n_status; i++) {
		const struct mount_node_status *s = &m->status[i];

		buf_printf(b, "%llu %s %s %s\n", (unsigned long long)s->id, s->address,
		           s->learner ? "learner" : "voter",
		           s->reachable ? s->role : "unreachable");
	}
}

static void put_last_error(const struct mount *m, struct buf *b)
{
	time_t s = (time_t)(m->last_error_ns / 1000000000u);
	char when[32];
	struct tm tm;

	if (m->last_error[0] == '\0')
		return;
	(void)localtime_r(&s, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	buf_printf(b, "%s.%03u %s\n", when, (unsigned)(m->last_error_ns / 1000000u % 1000u),
	           m->last_error);
}

static void put_client(const struct mount *m, struct buf *b)
{
	struct client_info *info = mem_alloc(sizeof(*info));

	client_get_info(m->client, info);
	buf_printf(b, "connected: %s\n", info->connected ? "yes" : "no");
	if (info->leader_seen_ms != UINT64_MAX)
		buf_printf(b, "leader_seen_ms: %llu\n", (unsigned long long)info->leader_seen_ms);
	buf_printf(b, "session: %llu\ninflight: %zu\nretries: %llu\nreconnects: %llu\n",
	           (unsigned long long)info->session, info->inflight,
	           (unsigned long long)info->retries, (unsigned long long)info->reconnects);
	if (info->last_error[0] != '\0')
		buf_printf(b, "last_connection_error: %s\n", info->last_error);
	free(info);
}

/* What this mount has asked the cluster for: what a program costs. */
static void put_asked(const struct mount *m, struct buf *b)
{
	buf_printf(b, "asked:");
	for (size_t i = 0; i < MOUNT_KINDS_MAX; i++) {
		if (m->asked[i] > 0)
			buf_printf(b, " %s=%llu", fs_op_name((enum fs_op_kind)i),
			           (unsigned long long)m->asked[i]);
	}
	buf_printf(b, "\n");
}

static void put_status(const struct mount *m, struct buf *b)
{
	size_t reachable = 0;

	for (size_t i = 0; i < m->n_status; i++)
		reachable += m->status[i].reachable;
	buf_printf(b, "cluster: %s\nmountpoint: %s\nversion: %s\npid: %d\ntimeout_ms: %llu\n",
	           m->cluster, m->mountpoint, RAFTFS_VERSION, (int)getpid(),
	           (unsigned long long)m->options->timeout_ms);
	buf_printf(b, "reads: %s\n", m->options->read_local ? "local" : "linearizable");
	buf_printf(b, "commits: %s\n", m->options->commit_close ? "close" : "write");
	if (m->notify != NULL) {
		buf_printf(b, "notify: ");
		notify_put_status(m->notify, b);
		buf_printf(b, "\n");
	}
	if (m->options->subdir != NULL)
		buf_printf(b, "subdir: %s\n", m->options->subdir);
	buf_printf(b, "leader: ");
	put_leader(m, b);
	buf_printf(b, "reachable: %zu of %zu\n", reachable, m->n_status);
	put_client(m, b);
	put_asked(m, b);
	for (size_t i = 0; i < m->n_status; i++) {
		const struct mount_node_status *s = &m->status[i];

		buf_printf(b, "node %llu: %s ", (unsigned long long)s->id, s->address);
		if (s->reachable)
			buf_printf(b, "%s term %llu last %llu commit %llu applied %llu\n", s->role,
			           (unsigned long long)s->term, (unsigned long long)s->last,
			           (unsigned long long)s->commit, (unsigned long long)s->applied);
		else
			buf_printf(b, "unreachable\n");
	}
}

static void put_contents(const struct mount *m, enum virtual_file which, struct buf *b)
{
	switch (which) {
	case VIRTUAL_STATUS: put_status(m, b); break;
	case VIRTUAL_LEADER: put_leader(m, b); break;
	case VIRTUAL_MEMBERS: put_members(m, b); break;
	case VIRTUAL_VERSION: buf_printf(b, "%s\n", RAFTFS_VERSION); break;
	case VIRTUAL_LAST_ERROR: put_last_error(m, b); break;
	case VIRTUAL_EVENTS: /* events.c */
	case VIRTUAL_FILES: break;
	}
}

void virtual_reply_open(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi,
                        const struct buf *text)
{
	struct fuse_file_info reply = *fi;
	struct file *f = file_new_plain(m);

	if (text->len > 0)
		buf_put(&f->text, text->data, text->len);
	op_fill_open_reply(m, &reply, f);
	if (fuse_reply_open(req, &reply) != 0)
		file_release(m, f);
}

static void reply_open(struct mount *m, fuse_req_t req, enum virtual_file which,
                       const struct fuse_file_info *fi)
{
	struct buf text;

	buf_init(&text);
	put_contents(m, which, &text);
	virtual_reply_open(m, req, fi, &text);
	buf_free(&text);
}

/* ---- asking the nodes ---- */

static void poll_end(struct mount *m)
{
	struct virtual_poll *p = m->status_poll;
	struct virtual_waiter *w;

	m->status_poll = NULL;
	while ((w = p->waiters) != NULL) {
		p->waiters = w->next;
		reply_open(m, w->req, w->which, &w->fi);
		free(w);
	}
	free(p);
}

static void take_status(struct mount *m, struct mount_node_status *s, const struct wire_status *st)
{
	s->reachable = true;
	if (st->node_id != 0)
		s->id = st->node_id;
	if (st->address[0] != '\0')
		(void)snprintf(s->address, sizeof(s->address), "%s", st->address);
	(void)snprintf(s->role, sizeof(s->role), "%s", st->role);
	s->term = st->term;
	s->last = st->last;
	s->commit = st->commit;
	s->applied = st->applied;
	for (size_t i = 0; i < st->n_members; i++) {
		for (size_t j = 0; j < m->n_status; j++) {
			if (m->status[j].id == st->members[i].id)
				m->status[j].learner = st->members[i].learner;
		}
	}
}

static void on_status(void *ctx, const struct wire_status *st, const struct rfs_err *err)
{
	struct virtual_question *q = ctx;
	struct mount *m = q->mount;

	(void)err;
	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	if (st != NULL && q->slot < m->n_status)
		take_status(m, &m->status[q->slot], st);
	free(q);
	m->n_status_asked--;
	if (m->status_poll != NULL && --m->status_poll->unanswered == 0)
		poll_end(m);
	mount_check_drained(m);
}

static void poll_start(struct mount *m)
{
	struct client_info *info = mem_alloc(sizeof(*info));

	m->status_poll = mem_zalloc(sizeof(*m->status_poll));
	client_get_info(m->client, info);
	memset(m->status, 0, sizeof(m->status));
	m->n_status = info->n_nodes;
	m->n_status_asked += (unsigned)info->n_nodes;
	m->status_poll->unanswered = (unsigned)info->n_nodes;
	for (size_t i = 0; i < info->n_nodes; i++) {
		struct virtual_question *q = mem_alloc(sizeof(*q));

		*q = (struct virtual_question){.mount = m, .slot = i};
		m->status[i].id = info->nodes[i].id;
		config_format_endpoint(info->nodes[i].host, info->nodes[i].port,
		                       m->status[i].address, sizeof(m->status[i].address));
		client_status(m->client, &info->nodes[i], VIRTUAL_WAIT_MS, on_status, q);
	}
	free(info);
}

static void wait_for_poll(struct mount *m, fuse_req_t req, enum virtual_file which,
                          const struct fuse_file_info *fi)
{
	struct virtual_waiter *w = mem_alloc(sizeof(*w));

	if (m->status_poll == NULL)
		poll_start(m);
	*w = (struct virtual_waiter){
	        .req = req, .which = which, .fi = *fi, .next = m->status_poll->waiters};
	m->status_poll->waiters = w;
	if (m->status_poll->unanswered == 0) /* no node to ask */
		poll_end(m);
}

void virtual_open(struct mount *m, fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	enum virtual_file which = (enum virtual_file)((ino & ~VIRTUAL_BIT) - 1);

	if (m->closing)
		(void)fuse_reply_err(req, ENOTCONN);
	else if ((fi->flags & O_ACCMODE) != O_RDONLY)
		(void)fuse_reply_err(req, EACCES);
	else if (which == VIRTUAL_STATUS || which == VIRTUAL_LEADER || which == VIRTUAL_MEMBERS)
		wait_for_poll(m, req, which, fi);
	else if (which == VIRTUAL_EVENTS)
		events_open(m, req, fi);
	else
		reply_open(m, req, which, fi);
}

void virtual_read(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi)
{
	const struct file *f = file_of(fi);
	size_t from = (size_t)off < f->text.len ? (size_t)off : f->text.len;
	size_t n = f->text.len - from < size ? f->text.len - from : size;

	(void)fuse_reply_buf(req, n > 0 ? (const char *)f->text.data + from : NULL, n);
}

void virtual_abandon(struct mount *m)
{
	struct virtual_poll *p = m->status_poll;
	struct virtual_waiter *w;

	m->status_poll = NULL;
	while (p != NULL && (w = p->waiters) != NULL) {
		p->waiters = w->next;
		(void)fuse_reply_err(w->req, ENOTCONN);
		free(w);
	}
	free(p);
}

/* .raft/events: the latest changes as some node knows them. The same lines as `raftctl watch`. */
#include "events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "virtual.h"
#include "../src/base/mem.h"
#include "../src/base/text.h"

#define EVENTS_SHOWN 1000u

struct question {
	struct mount *mount;
	fuse_req_t req;
	struct fuse_file_info fi;
};

static const char *kind_name(uint32_t kind)
{
	switch ((enum store_change_kind)kind) {
	case STORE_CHANGE_CREATE: return "create";
	case STORE_CHANGE_MODIFY: return "modify";
	case STORE_CHANGE_REMOVE: return "remove";
	case STORE_CHANGE_RENAME: return "rename";
	}
	return "change";
}

bool events_show_path(const struct mount *m, struct fs_str *path)
{
	const char *top = m->options->subdir;
	size_t n = top != NULL ? strlen(top) : 0;

	while (n > 0 && top[0] == '/') {
		top++;
		n--;
	}
	if (n == 0)
		return true;
	if (path->len <= n || memcmp(path->p, top, n) != 0 || path->p[n] != '/')
		return false;
	path->p += n + 1;
	path->len -= (uint32_t)n + 1;
	return true;
}

static void put_event(const struct mount *m, const struct wire_event *e, struct buf *b)
{
	struct fs_str path = e->path, old = e->old_path;
	bool has_path = path.len > 0 && events_show_path(m, &path);
	bool has_old = old.len > 0 && events_show_path(m, &old);

	if (!has_path && !has_old)
		return;
	buf_printf(b, "%llu %s ", (unsigned long long)e->index, kind_name(e->kind));
	if (has_old)
		text_put_escaped(b, old.p, old.len);
	if (e->old_path.len > 0)
		buf_printf(b, "%s->%s", has_old ? " " : "", has_path ? " " : "");
	if (has_path)
		text_put_escaped(b, path.p, path.len);
	buf_printf(b, " v%llu\n", (unsigned long long)e->version);
}

static void on_recent(void *ctx, const struct wire_events *ev, const struct rfs_err *err)
{
	struct question *q = ctx;
	struct mount *m = q->mount;
	struct buf text;

	RFS_MAGIC_CHECK(m, MOUNT_MAGIC);
	buf_init(&text);
	for (size_t i = 0; ev != NULL && i < ev->n; i++)
		put_event(m, &ev->events[i], &text);
	if (ev != NULL)
		virtual_reply_open(m, q->req, &q->fi, &text);
	else
		(void)fuse_reply_err(q->req, err->code == RFS_ESHUTDOWN ? ENOTCONN : ETIMEDOUT);
	buf_free(&text);
	free(q);
	m->n_status_asked--;
	mount_check_drained(m);
}

void events_open(struct mount *m, fuse_req_t req, const struct fuse_file_info *fi)
{
	struct question *q = mem_alloc(sizeof(*q));

	*q = (struct question){.mount = m, .req = req, .fi = *fi};
	m->n_status_asked++;
	client_recent(m->client, EVENTS_SHOWN, EVENTS_WAIT_MS, on_recent, q);
}

/* lock list [PREFIX] | break KEY */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>
#include "../base/mem.h"
#include "commands.h"

#define PAGE_BYTES 262144u

static int usage(const char *why)
{
	return ctl_error(CTL_USAGE, "%s\nusage: raftctl lock list [PREFIX] | break KEY", why);
}

/* ---- all locks ---- */

struct locks {
	struct fs_lock *at;
	size_t n, cap;
};

static int take_page(const struct ctl_call *call, struct locks *all)
{
	struct reader r = reader_of(call->data.data, call->data.len);
	struct fs_lock l;

	while (fs_lock_next(&r, &l)) {
		all->at = mem_grow(all->at, &all->cap, all->n + 1, sizeof(*all->at));
		all->at[all->n++] = l;
	}
	return r.bad ? RFS_EPROTO : 0;
}

static int get_all(struct ctl *ctl, struct locks *all)
{
	struct fs_op op = {.kind = FS_OP_LOCK_LIST, .size = PAGE_BYTES};
	size_t before;
	int rc;

	do {
		struct ctl_call call = {0};

		before = all->n;
		rc = ctl_do(ctl, &call, &op);
		if (rc == 0)
			rc = take_page(&call, all);
		ctl_call_end(&call);
		if (rc == 0 && all->n > before) {
			op.ino = all->at[all->n - 1].ino;
			op.offset = all->at[all->n - 1].id;
		}
	} while (rc == 0 && all->n > before);
	return rc;
}

/* ---- their keys ---- */

/* A locked inode, and the first name that was found for it. */
struct named {
	uint64_t ino;
	char *key; /* NULL: none yet */
	UT_hash_handle hh;
};

/* Directories still to be looked into. */
struct todo {
	struct {
		uint64_t ino;
		char *path;
	} * dirs;
	size_t n, cap;
};

struct search {
	struct ctl *ctl;
	struct named *inodes;
	size_t missing; /* inodes without a name */
	struct todo todo;
	const char *path; /* of the directory in hand */
};

static void add_inode(struct search *s, uint64_t ino)
{
	struct named *n;

	HASH_FIND(hh, s->inodes, &ino, sizeof(ino), n);
	if (n != NULL)
		return;
	n = mem_zalloc(sizeof(*n));
	n->ino = ino;
	HASH_ADD(hh, s->inodes, ino, sizeof(n->ino), n);
	s->missing++;
}

static void found(struct search *s, uint64_t ino, const char *key)
{
	struct named *n;

	HASH_FIND(hh, s->inodes, &ino, sizeof(ino), n);
	if (n == NULL || n->key != NULL)
		return;
	n->key = mem_strdup(key);
	s->missing--;
}

static const char *key_of(const struct search *s, uint64_t ino)
{
	const struct named *n;

	HASH_FIND(hh, s->inodes, &ino, sizeof(ino), n);
	return n != NULL ? n->key : NULL;
}

static int take_entry(void *ctx, const struct fs_dirent *d)
{
	struct search *s = ctx;
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "%s%s", s->path, s->path[0] != '\0' ? "/" : "");
	buf_put(&b, d->name.p, d->name.len);
	buf_put_u8(&b, 0);
	found(s, d->attr.ino, (const char *)b.data);
	if (S_ISDIR(d->attr.mode)) {
		s->todo.dirs =
		        mem_grow(s->todo.dirs, &s->todo.cap, s->todo.n + 1, sizeof(*s->todo.dirs));
		s->todo.dirs[s->todo.n].ino = d->attr.ino;
		s->todo.dirs[s->todo.n++].path = mem_strdup((const char *)b.data);
	}
	buf_free(&b);
	return 0;
}

/* A directory that was removed meanwhile has no names to give. */
static int look_into(struct search *s, uint64_t ino, const char *path)
{
	int rc;

	s->path = path;
	rc = ctl_list_dir(s->ctl, ino, take_entry, s);
	return rc == -ENOENT || rc == -ESTALE || rc == -ENOTDIR ? 0 : rc;
}

static int look_below(struct search *s, uint64_t ino, const char *path)
{
	int rc = look_into(s, ino, path);

	while (rc == 0 && s->todo.n > 0 && s->missing > 0) {
		char *at = s->todo.dirs[--s->todo.n].path;

		rc = look_into(s, s->todo.dirs[s->todo.n].ino, at);
		free(at);
	}
	return rc;
}

static int find_keys(struct search *s, const char *prefix, const struct locks *all)
{
	struct fs_attr attr;
	int rc;

	for (size_t i = 0; i < all->n; i++)
		add_inode(s, all->at[i].ino);
	rc = ctl_resolve(s->ctl, prefix, strlen(prefix), &attr);
	if (rc != 0)
		return rc;
	if (prefix[0] != '\0')
		found(s, attr.ino, prefix);
	return S_ISDIR(attr.mode) ? look_below(s, attr.ino, prefix) : 0;
}

static void search_free(struct search *s)
{
	struct named *n, *next;

	HASH_ITER (hh, s->inodes, n, next) {
		HASH_DEL(s->inodes, n); // NOLINT(clang-analyzer-unix.Malloc)
		free(n->key);
		free(n);
	}
	while (s->todo.n > 0)
		free(s->todo.dirs[--s->todo.n].path);
	free(s->todo.dirs);
}

/* ---- list ---- */

static const char *kind_of(const struct fs_lock *l)
{
	return (l->flags & FS_F_LOCK_BYTES) != 0 ? "fcntl" : "flock";
}

static const char *mode_of(const struct fs_lock *l)
{
	return (l->flags & FS_F_LOCK_SHARED) != 0 ? "shared" : "exclusive";
}

static bool is_waiting(const struct fs_lock *l)
{
	return (l->flags & FS_F_LOCK_WAIT) != 0;
}

static void print_text(const struct fs_lock *l, const char *key)
{
	struct buf b;

	buf_init(&b);
	if (key != NULL)
		text_put_escaped(&b, key, strlen(key));
	else
		buf_printf(&b, "(inode %" PRIu64 ", no name)", l->ino);
	buf_printf(&b, "  %s %s", kind_of(l), mode_of(l));
	if ((l->flags & FS_F_LOCK_BYTES) != 0)
		buf_printf(&b, " %" PRIu64 "-", l->offset);
	if (l->size != 0)
		buf_printf(&b, "%" PRIu64, l->offset + l->size - 1);
	buf_printf(&b, "  %s %" PRIu64 "  session %" PRIu64 " pid %" PRIu32 "\n",
	           is_waiting(l) ? "waiting since" : "token", l->token, l->session, l->pid);
	(void)fwrite(b.data, 1, b.len, stdout);
	buf_free(&b);
}

static void add_json(json_t *list, const struct fs_lock *l, const char *key)
{
	json_t *o = json_object();
	char owner[20];

	(void)snprintf(owner, sizeof(owner), "%016" PRIx64, l->owner);
	if (key != NULL)
		ctl_json_set_bytes(o, "key", key, strlen(key));
	(void)json_object_set_new(o, "inode", json_integer((json_int_t)l->ino));
	(void)json_object_set_new(o, "kind", json_string(kind_of(l)));
	(void)json_object_set_new(o, "mode", json_string(mode_of(l)));
	(void)json_object_set_new(o, "first", json_integer((json_int_t)l->offset));
	(void)json_object_set_new(o, "last",
	                          l->size != 0 ? json_integer((json_int_t)(l->offset + l->size - 1))
	                                       : json_null());
	(void)json_object_set_new(o, "state", json_string(is_waiting(l) ? "waiting" : "held"));
	(void)json_object_set_new(o, is_waiting(l) ? "asked" : "token",
	                          json_integer((json_int_t)l->token));
	(void)json_object_set_new(o, "session", json_integer((json_int_t)l->session));
	(void)json_object_set_new(o, "owner", json_string(owner));
	(void)json_object_set_new(o, "pid", json_integer(l->pid));
	(void)json_array_append_new(list, o);
}

static void print_all(const struct ctl *ctl, const struct search *s, const struct locks *all,
                      bool nameless)
{
	json_t *list = ctl->args.json ? json_array() : NULL;

	for (size_t i = 0; i < all->n; i++) {
		const char *key = key_of(s, all->at[i].ino);

		if (key == NULL && !nameless)
			continue;
		if (list != NULL)
			add_json(list, &all->at[i], key);
		else
			print_text(&all->at[i], key);
	}
	if (list != NULL)
		ctl_json_print(list);
}

static int list(struct ctl *ctl)
{
	char *prefix = mem_strdup(ctl->args.n_operands > 1 ? ctl->args.operands[1] : "");
	size_t n = strlen(prefix);
	struct search s = {.ctl = ctl};
	struct locks all = {0};
	int rc = 0;

	if (n > 0 && prefix[n - 1] == '/') /* app/ is app */
		prefix[n - 1] = '\0';
	if (prefix[0] != '\0')
		rc = ctl_check_key(prefix);
	if (rc == 0) {
		rc = get_all(ctl, &all);
		if (rc == 0)
			rc = find_keys(&s, prefix[0] == '/' ? prefix + 1 : prefix, &all);
		if (rc == 0)
			print_all(ctl, &s, &all, prefix[0] == '\0');
		else
			rc = ctl_failed(ctl, prefix[0] != '\0' ? prefix : "lock list", rc, false);
	}
	search_free(&s);
	free(all.at);
	free(prefix);
	return rc;
}

/* ---- break ---- */

static int break_locks(struct ctl *ctl)
{
	const char *key = ctl->args.operands[1];
	struct fs_op op = {.kind = FS_OP_LOCK_BREAK, .name = fs_str_of(key)};
	struct ctl_call call = {0};
	uint64_t n, index;
	int rc = ctl_check_key(key);

	if (rc != 0)
		return rc;
	rc = ctl_do(ctl, &call, &op);
	n = call.result.value;
	index = call.result.index;
	ctl_call_end(&call);
	if (rc != 0)
		return ctl_failed(ctl, key, rc, true);
	if (n == 0)
		return ctl_error(CTL_NO, "%s: is not locked", key);
	if (ctl->args.json) {
		json_t *o = json_object();

		ctl_json_set_bytes(o, "key", key, strlen(key));
		(void)json_object_set_new(o, "broken", json_integer((json_int_t)n));
		(void)json_object_set_new(o, "index", json_integer((json_int_t)index));
		ctl_json_print(o);
	} else {
		(void)printf("%" PRIu64 " broken\n", n);
	}
	return CTL_DONE;
}

static int lock_run(struct ctl *ctl)
{
	const char *what = ctl->args.operands[0];

	if (strcmp(what, "list") == 0)
		return list(ctl);
	if (strcmp(what, "break") != 0)
		return usage("lock: list or break");
	return ctl->args.n_operands == 2 ? break_locks(ctl) : usage("lock break: of which key?");
}

static const char details[] =
        "list: every lock that is held or waited for, by flock(2) or fcntl(2), on any mount; with "
        "PREFIX those of\n"
        "that key and of the keys below it. A lock that is held shows its token: the log index at "
        "which it was\n"
        "granted, higher than that of any lock of the file before it. With --json: key, inode, "
        "kind, mode, first\n"
        "and last byte, state, token (asked: of one that waits), session, owner, pid.\n"
        "break KEY: whoever has locked KEY no longer has, and those who wait get their turn. A "
        "mount whose lock\n"
        "was broken can no longer write through the file that it had locked (ESTALE).\n"
        "\n"
        "  raftctl lock list app\n"
        "  raftctl lock break app/db/lock\n"
        "\n"
        "Exit codes: 0 done; 1 no such key, or not locked; 2 usage; 3 no answer from a quorum in "
        "time; 4 refused.\n";

const struct ctl_command cmd_lock = {
        .name = "lock",
        .operands = "list [PREFIX] | break KEY",
        .summary = "who has locked what; take a lock away",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .run = lock_run,
};

/* show [PREFIX]: first the tree is listed, then the values of its keys are fetched in order, many
 * at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/mem.h"
#include "commands.h"

#define PAGE_BYTES    262144u
#define DIRS_WINDOW   16u         /* listings under way */
#define VALUES_WINDOW 64u         /* values under way: so many, … */
#define WINDOW_BYTES  (16u << 20) /* … and not more than this, but always one */

struct key {
	char *path;
	size_t len;
	struct fs_attr attr;
};

struct dir {
	char *path; /* with a slash at its end; "" for the root */
	uint64_t ino, cookie;
};

struct listing {
	struct ctl *ctl;
	const char *prefix;
	struct key *keys;
	size_t n_keys, keys_cap;
	struct dir *dirs; /* still to be read, a queue from `next_dir` on */
	size_t next_dir, n_dirs, dirs_cap;
};

/* ---- listing ---- */

static void add_dir(struct listing *l, const char *path, uint64_t ino, uint64_t cookie)
{
	l->dirs = mem_grow(l->dirs, &l->dirs_cap, l->n_dirs + 1, sizeof(*l->dirs));
	l->dirs[l->n_dirs++] = (struct dir){mem_strdup(path), ino, cookie};
}

static char *join(const char *dir, struct fs_str name, const char *end)
{
	struct buf b;

	buf_init(&b);
	buf_put(&b, dir, strlen(dir));
	buf_put(&b, name.p, name.len);
	buf_put(&b, end, strlen(end) + 1);
	return (char *)b.data; /* free() is all that buf_free() does with it */
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void take_entry(struct listing *l, const struct dir *d, const struct fs_dirent *e)
{
	bool is_dir = S_ISDIR(e->attr.mode);
	char *path = join(d->path, e->name, is_dir ? "/" : "");

	if (is_dir) {
		/* Of a directory on the way to the prefix only what matches is listed. */
		if (starts_with(path, l->prefix) || starts_with(l->prefix, path))
			add_dir(l, path, e->attr.ino, 0);
	} else if (starts_with(path, l->prefix)) {
		l->keys = mem_grow(l->keys, &l->keys_cap, l->n_keys + 1, sizeof(*l->keys));
		l->keys[l->n_keys++] = (struct key){path, strlen(path), e->attr};
		return;
	}
	free(path);
}

static int take_page(struct listing *l, const struct dir *d, const struct ctl_call *call)
{
	struct reader r = reader_of(call->data.data, call->data.len);
	struct fs_dirent e;
	uint64_t cookie = 0;

	while (fs_dirent_next(&r, &e)) {
		take_entry(l, d, &e);
		cookie = e.cookie;
	}
	if (r.bad)
		return RFS_EPROTO;
	if (cookie != 0)
		add_dir(l, d->path, d->ino, cookie);
	return 0;
}

static int list_all(struct listing *l)
{
	struct ctl_call calls[DIRS_WINDOW] = {0};
	size_t done = 0;
	int rc = 0;

	while (done < l->n_dirs && rc == 0) {
		struct ctl_call *call = &calls[done % DIRS_WINDOW];
		struct dir d;

		for (; l->next_dir < l->n_dirs && l->next_dir - done < DIRS_WINDOW; l->next_dir++) {
			const struct dir *next = &l->dirs[l->next_dir];
			struct fs_op op = {.kind = FS_OP_READDIR,
			                   .ino = next->ino,
			                   .offset = next->cookie,
			                   .size = PAGE_BYTES};

			ctl_start(l->ctl, &calls[l->next_dir % DIRS_WINDOW], &op);
		}
		rc = ctl_wait(l->ctl, call);
		d = l->dirs[done]; /* a copy: the array moves as it grows */
		if (rc == 0)
			rc = take_page(l, &d, call);
		else if (rc == -ENOENT || rc == -ESTALE)
			rc = 0; /* removed meanwhile */
		ctl_call_end(call);
		done++;
	}
	for (size_t i = 0; i < DIRS_WINDOW; i++)
		ctl_call_end(&calls[i]);
	return rc;
}

/* The directory that everything with the prefix is below; its own path ends in a slash. */
static int start_at(struct listing *l)
{
	const char *slash = strrchr(l->prefix, '/');
	size_t n = slash != NULL ? (size_t)(slash - l->prefix) : 0;
	struct fs_op op = {.kind = FS_OP_RESOLVE, .name = {l->prefix, (uint32_t)n}};
	struct ctl_call call = {0};
	char *path;
	int rc;

	if (n == 0) {
		add_dir(l, "", FS_ROOT_INO, 0);
		return 0;
	}
	rc = ctl_do(l->ctl, &call, &op);
	if (rc == 0 && call.result.has_attr && S_ISDIR(call.result.attr.mode)) {
		path = mem_strndup(l->prefix, n + 1);
		add_dir(l, path, call.result.attr.ino, 0);
		free(path);
	}
	ctl_call_end(&call);
	return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP ? 0 : rc;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct key *)a)->path, ((const struct key *)b)->path);
}

static void listing_free(struct listing *l)
{
	for (size_t i = 0; i < l->n_keys; i++)
		free(l->keys[i].path);
	for (size_t i = 0; i < l->n_dirs; i++)
		free(l->dirs[i].path);
	free(l->keys);
	free(l->dirs);
}

/* ---- printing ---- */

struct printer {
	bool json;
	size_t printed;
};

static const char *kind_name(uint32_t mode)
{
	if (S_ISFIFO(mode))
		return "fifo";
	if (S_ISSOCK(mode))
		return "socket";
	return S_ISCHR(mode) ? "character device" : "block device";
}

static void print_json_entry(struct printer *p, json_t *o)
{
	(void)fputs(p->printed++ > 0 ? ",\n " : "[\n ", stdout);
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	json_decref(o);
}

/* One key; `what` says what the bytes are: "value" or a symlink's "target". */
static void print_key(struct printer *p, const struct key *k, const char *what, const void *bytes,
                      size_t n)
{
	struct buf line;

	if (p->json) {
		json_t *o = json_object();

		ctl_json_set_bytes(o, "key", k->path, k->len);
		if (what != NULL)
			ctl_json_set_bytes(o, what, bytes, n);
		print_json_entry(p, o);
		return;
	}
	buf_init(&line);
	text_put_escaped(&line, k->path, k->len);
	if (what != NULL) {
		bool is_value = strcmp(what, "value") == 0;

		buf_printf(&line, "%s",
		           is_value                      ? ": "
		           : strcmp(what, "target") == 0 ? " -> "
		                                         : ": a ");
		/* The newline that `echo` leaves behind would only be noise on every line. */
		if (is_value && n > 0 && ((const char *)bytes)[n - 1] == '\n')
			n--;
		text_put_escaped(&line, bytes, n);
	}
	buf_put_u8(&line, '\n');
	if (fwrite(line.data, 1, line.len, stdout) != line.len)
		ctl_note_stdout_error();
	buf_free(&line);
	p->printed++;
}

static bool has_bytes(const struct key *k)
{
	return S_ISREG(k->attr.mode) || S_ISLNK(k->attr.mode);
}

static void start_value(struct ctl *ctl, struct ctl_call *call, const struct key *k)
{
	struct fs_op get = {.kind = FS_OP_GET, .name = {k->path, (uint32_t)k->len}};
	struct fs_op link = {.kind = FS_OP_READLINK, .ino = k->attr.ino};

	ctl_start(ctl, call, S_ISLNK(k->attr.mode) ? &link : &get);
}

/* `call` is this key's, answered or not. A key that went away since it was listed is left out. */
static int finish_value(struct ctl *ctl, struct printer *p, struct ctl_call *call,
                        const struct key *k, struct rfs_err *err)
{
	struct ctl_value v;
	int rc = ctl_wait(ctl, call);

	if (S_ISLNK(k->attr.mode) && rc == 0) {
		print_key(p, k, "target", call->data.data, call->data.len);
		return 0;
	}
	if (rc == 0) {
		rc = ctl_value_finish(ctl, call, &v, err);
		if (rc == -EAGAIN)
			rc = ctl_value_get(ctl, k->path, &v, err);
		if (rc == 0)
			rc = ctl_value_load(&v, err);
		if (rc == 0)
			print_key(p, k, "value", v.data.data, v.data.len);
		ctl_value_free(&v);
	}
	if (rc == -ENOENT || rc == -ESTALE || rc == -EISDIR || rc == -ELOOP || rc == -ENOTDIR ||
	    rc == -EINVAL)
		rc = 0;
	return rc;
}

static uint64_t bytes_of(const struct key *k)
{
	return k->attr.size < FS_READ_BYTES_MAX ? k->attr.size : FS_READ_BYTES_MAX;
}

static int print_values(struct ctl *ctl, struct printer *p, const struct listing *l,
                        struct rfs_err *err)
{
	static struct ctl_call calls[VALUES_WINDOW];
	uint64_t bytes = 0; /* under way */
	size_t started = 0;
	int rc = 0;

	for (size_t i = 0; i < l->n_keys && rc == 0 && ctl_stdout_error() == 0; i++) {
		const struct key *k = &l->keys[i];

		for (; started < l->n_keys && started - i < VALUES_WINDOW &&
		       (started == i || bytes < WINDOW_BYTES);
		     started++) {
			if (!has_bytes(&l->keys[started]))
				continue;
			bytes += bytes_of(&l->keys[started]);
			start_value(ctl, &calls[started % VALUES_WINDOW], &l->keys[started]);
		}
		if (!has_bytes(k)) {
			const char *kind = kind_name(k->attr.mode);

			print_key(p, k, "type", kind, strlen(kind));
			continue;
		}
		rc = finish_value(ctl, p, &calls[i % VALUES_WINDOW], k, err);
		ctl_call_end(&calls[i % VALUES_WINDOW]);
		bytes -= bytes_of(k);
	}
	for (size_t i = 0; i < VALUES_WINDOW; i++)
		ctl_call_end(&calls[i]);
	return rc;
}

static int print_all(struct ctl *ctl, const struct listing *l, struct rfs_err *err)
{
	struct printer p = {.json = ctl->args.json};
	int rc = 0;

	if (ctl_args_option(&ctl->args, "keys") == NULL)
		rc = print_values(ctl, &p, l, err);
	else
		for (size_t i = 0; i < l->n_keys; i++)
			print_key(&p, &l->keys[i], NULL, NULL, 0);
	if (ctl->args.json)
		(void)puts(p.printed > 0 ? "\n]" : "[]");
	else if (p.printed == 0 && isatty(STDERR_FILENO) && rc == 0)
		(void)fprintf(stderr,
		              l->prefix[0] != '\0' ? "no key begins with %s\n" : "no keys yet%s\n",
		              l->prefix);
	return rc;
}

/* ---- the command ---- */

static int check_prefix(const char *prefix)
{
	size_t n = strlen(prefix);
	char *folder;
	int rc;

	/* "app/" and "app/d" alike: what stands before the last slash must be a path. */
	while (n > 0 && prefix[n - 1] != '/')
		n--;
	if (n == 0)
		return 0;
	folder = mem_strndup(prefix, n - 1);
	rc = ctl_check_key(folder);
	free(folder);
	return rc;
}

static int show_run(struct ctl *ctl)
{
	const char *option = ctl_args_option(&ctl->args, "prefix");
	struct listing l = {.ctl = ctl, .prefix = option != NULL ? option : ""};
	struct rfs_err err = {0};
	int rc;

	if (ctl->args.n_operands > 0 && option != NULL)
		return ctl_error(CTL_USAGE, "show: PREFIX and --prefix are the same; give one");
	if (ctl->args.n_operands > 0)
		l.prefix = ctl->args.operands[0];
	l.prefix += l.prefix[0] == '/';
	rc = check_prefix(l.prefix);
	if (rc != 0)
		return rc;
	rc = start_at(&l);
	if (rc == 0)
		rc = list_all(&l);
	if (rc == 0 && l.n_keys > 0)
		qsort(l.keys, l.n_keys, sizeof(*l.keys), by_path);
	if (rc == 0)
		rc = print_all(ctl, &l, &err);
	if (err.code != 0)
		rc = ctl_error(CTL_NO, "show: %s", err.msg);
	else if (rc != 0)
		rc = ctl_failed(ctl, l.prefix[0] != '\0' ? l.prefix : "show", rc, false);
	listing_free(&l);
	return rc;
}

static const struct ctl_option options[] = {
        {"keys", NULL, "the keys alone, without their values"},
        {"prefix", "PREFIX", "the same as PREFIX as an operand"},
        {0},
};

static const char details[] = "One line a key, sorted: KEY: VALUE. For display a newline at a "
                              "value's end is left out, and what would\n"
                              "not show as it is stands as \\n, \\t, \\r, \\\\ or \\xNN; `raftctl "
                              "get` and --json are exact. PREFIX is\n"
                              "the beginning of a key: app/ selects what is in app, app/d also "
                              "app/db/url. Each value is read as it\n"
                              "is at that moment; the list as a whole is no snapshot.\n"
                              "With --json: an array of objects with key and value (key_base64, "
                              "value_base64 if not UTF-8).\n"
                              "\n"
                              "  raftctl show\n"
                              "  raftctl show --keys app/\n"
                              "\n"
                              "Exit codes: 0 shown, also if there was nothing to show; 2 usage; 3 "
                              "no answer from a quorum in time;\n"
                              "4 refused.\n";

const struct ctl_command cmd_show = {
        .name = "show",
        .operands = "[PREFIX]",
        .summary = "list keys and their values",
        .details = details,
        .operands_min = 0,
        .operands_max = 1,
        .options = options,
        .run = show_run,
};

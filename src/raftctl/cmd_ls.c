/* ls [KEY] */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "../base/mem.h"
#include "commands.h"

struct entry {
	char *name;
	size_t len;
	struct fs_attr attr;
};

struct listing {
	struct entry *at;
	size_t n, cap;
};

static void add(struct listing *l, const char *name, size_t len, const struct fs_attr *attr)
{
	l->at = mem_grow(l->at, &l->cap, l->n + 1, sizeof(*l->at));
	l->at[l->n++] = (struct entry){mem_strndup(name, len), len, *attr};
}

static int take(void *ctx, const struct fs_dirent *d)
{
	add(ctx, d->name.p, d->name.len, &d->attr);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static const char *kind_of(uint32_t mode)
{
	if (S_ISDIR(mode))
		return "directory";
	if (S_ISREG(mode))
		return "file";
	if (S_ISLNK(mode))
		return "symlink";
	if (S_ISFIFO(mode))
		return "fifo";
	if (S_ISSOCK(mode))
		return "socket";
	return S_ISCHR(mode) ? "character device" : "block device";
}

static char letter_of(uint32_t mode)
{
	if (S_ISDIR(mode))
		return 'd';
	if (S_ISREG(mode))
		return '-';
	if (S_ISLNK(mode))
		return 'l';
	if (S_ISFIFO(mode))
		return 'p';
	if (S_ISSOCK(mode))
		return 's';
	return S_ISCHR(mode) ? 'c' : 'b';
}

/* ---- as text ---- */

static void put_long(struct buf *b, const struct fs_attr *a)
{
	static const char bits[] = "rwxrwxrwx";
	time_t s = (time_t)(a->mtime_ns / 1000000000);
	char when[32] = "?";
	struct tm tm;

	buf_put_u8(b, (uint8_t)letter_of(a->mode));
	for (unsigned i = 0; i < 9; i++)
		buf_put_u8(b, (uint8_t)((a->mode >> (8 - i) & 1) != 0 ? bits[i] : '-'));
	if (localtime_r(&s, &tm) != NULL)
		(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	buf_printf(b, " %2" PRIu32 " %5" PRIu32 " %5" PRIu32 " %10" PRIu64 " %s %8" PRIu64 " ",
	           a->nlink, a->uid, a->gid, a->size, when, a->version);
}

static void print_text(const struct listing *l, bool detailed)
{
	struct buf b;

	buf_init(&b);
	for (size_t i = 0; i < l->n; i++) {
		if (detailed)
			put_long(&b, &l->at[i].attr);
		text_put_escaped(&b, l->at[i].name, l->at[i].len);
		if (S_ISDIR(l->at[i].attr.mode))
			buf_put_u8(&b, '/');
		buf_put_u8(&b, '\n');
	}
	if (b.len > 0)
		(void)fwrite(b.data, 1, b.len, stdout);
	buf_free(&b);
}

/* ---- as JSON ---- */

static void print_json(const struct listing *l)
{
	json_t *all = json_array();

	for (size_t i = 0; i < l->n; i++) {
		const struct fs_attr *a = &l->at[i].attr;
		json_t *o = json_object();
		char mode[16];

		ctl_json_set_bytes(o, "name", l->at[i].name, l->at[i].len);
		(void)snprintf(mode, sizeof(mode), "%04o", a->mode & 07777);
		(void)json_object_set_new(o, "type", json_string(kind_of(a->mode)));
		(void)json_object_set_new(o, "mode", json_string(mode));
		(void)json_object_set_new(o, "uid", json_integer(a->uid));
		(void)json_object_set_new(o, "gid", json_integer(a->gid));
		(void)json_object_set_new(o, "links", json_integer(a->nlink));
		(void)json_object_set_new(o, "size", json_integer((json_int_t)a->size));
		(void)json_object_set_new(o, "mtime_ns", json_integer(a->mtime_ns));
		(void)json_object_set_new(o, "version", json_integer((json_int_t)a->version));
		(void)json_array_append_new(all, o);
	}
	ctl_json_print(all);
}

/* ---- the command ---- */

/* A directory's entries; of anything else itself. */
static int list(struct ctl *ctl, const char *key, struct listing *l)
{
	struct fs_attr attr;
	const char *slash = strrchr(key, '/');
	int rc = ctl_resolve(ctl, key, strlen(key), &attr);

	if (rc != 0)
		return rc;
	if (S_ISDIR(attr.mode))
		return ctl_list_dir(ctl, attr.ino, take, l);
	add(l, slash != NULL ? slash + 1 : key, strlen(slash != NULL ? slash + 1 : key), &attr);
	return 0;
}

static int ls_run(struct ctl *ctl)
{
	char *key = mem_strdup(ctl->args.n_operands > 0 ? ctl->args.operands[0] : "");
	size_t n = strlen(key);
	struct listing l = {0};
	int rc = 0;

	if (n > 0 && key[n - 1] == '/') /* app/ is app */
		key[n - 1] = '\0';
	if (key[0] != '\0')
		rc = ctl_check_key(key);
	if (rc == 0) {
		rc = list(ctl, key, &l);
		if (rc != 0)
			rc = ctl_failed(ctl, key[0] != '\0' ? key : "ls", rc, false);
		else if (l.n > 0)
			qsort(l.at, l.n, sizeof(*l.at), by_name);
		if (rc == 0 && ctl->args.json)
			print_json(&l);
		else if (rc == 0)
			print_text(&l, ctl_args_option(&ctl->args, "l") != NULL);
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.at[i].name);
	free(l.at);
	free(key);
	return rc;
}

static const struct ctl_option options[] = {
        {"l", NULL, "mode, links, owner, size, time of change and version as well"},
        {0},
};

static const char details[] =
        "The names in a directory, one a line, sorted; a slash behind those that are directories "
        "themselves.\n"
        "Without KEY: of the root. 'show' lists whole trees, with values.\n"
        "With -l: type and mode, links, uid, gid, size, time of the last change, version (the log "
        "index of the\n"
        "last change). With --json: an array of objects with all of that.\n"
        "\n"
        "  raftctl ls app\n"
        "  raftctl ls -l\n"
        "\n"
        "Exit codes: 0 listed; 1 no such key; 2 usage; 3 no answer from a quorum in time; 4 "
        "refused.\n";

const struct ctl_command cmd_ls = {
        .name = "ls",
        .operands = "[KEY]",
        .summary = "list a directory",
        .details = details,
        .operands_min = 0,
        .operands_max = 1,
        .options = options,
        .run = ls_run,
};

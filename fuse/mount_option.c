/* What stands behind -o: our own options, those that the kernel understands, those that are for the
 * readers of fstab. Everything else is refused by name. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../src/base/mem.h"
#include "../src/base/op.h"

#define ID_TEXT_MAX 4294967294u /* the highest uid or gid; the next one means "none" */

/* Passed on to the kernel as they are. */
static const char *const kernel_options[] = {
        "ro",    "rw",    "exec",    "noexec", "suid",  "nosuid",  "dev",
        "nodev", "atime", "noatime", "sync",   "async", "dirsync", NULL,
};

/* They mean something to mount(8), systemd or boot scripts, or ask for what is so anyway: the
 * kernel keeps no access times of a FUSE mount. */
static const char *const ignored_options[] = {
        "defaults", "auto",       "noauto",        "nofail",      "_netdev",  "user",
        "nouser",   "users",      "nousers",       "owner",       "noowner",  "group",
        "nogroup",  "relatime",   "norelatime",    "strictatime", "diratime", "nodiratime",
        "lazytime", "nolazytime", "nostrictatime", "silent",      "loud",     NULL,
};

static bool is_one_of(const char *const *list, const char *word)
{
	for (; *list != NULL; list++) {
		if (strcmp(*list, word) == 0)
			return true;
	}
	return false;
}

/* ---- options with a value ---- */

static int take_timeout(struct mount_options *o, const char *text, struct rfs_err *err)
{
	char *end;
	double seconds;

	errno = 0;
	seconds = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !isfinite(seconds) || seconds < 0.001 ||
	    seconds > MOUNT_TIMEOUT_MS_MAX / 1000.0)
		return rfs_err_set(err, -EINVAL,
		                   "-o timeout=%s: not a number of seconds from 0.001 to %u", text,
		                   MOUNT_TIMEOUT_MS_MAX / 1000);
	o->timeout_ms = (uint64_t)(seconds * 1000.0 + 0.5);
	return 0;
}

static int take_commit(struct mount_options *o, const char *text, struct rfs_err *err)
{
	o->commit_close = strcmp(text, "close") == 0;
	if (o->commit_close || strcmp(text, "write") == 0)
		return 0;
	return rfs_err_set(err, -EINVAL, "-o commit=%s: must be write or close", text);
}

static int take_read(struct mount_options *o, const char *text, struct rfs_err *err)
{
	o->read_local = strcmp(text, "local") == 0;
	if (o->read_local || strcmp(text, "linearizable") == 0)
		return 0;
	return rfs_err_set(err, -EINVAL, "-o read=%s: must be linearizable or local", text);
}

static int take_path(char **path, const char *name, const char *text, struct rfs_err *err)
{
	if (text[0] == '\0')
		return rfs_err_set(err, -EINVAL, "-o %s= needs a path", name);
	free(*path);
	*path = mem_strdup(text);
	return 0;
}

static int take_logfile(struct mount_options *o, const char *text, struct rfs_err *err)
{
	return take_path(&o->logfile, "logfile", text, err);
}

static int take_ca(struct mount_options *o, const char *text, struct rfs_err *err)
{
	return take_path(&o->tls_ca, "ca", text, err);
}

static int take_cert(struct mount_options *o, const char *text, struct rfs_err *err)
{
	return take_path(&o->tls_cert, "cert", text, err);
}

static int take_key(struct mount_options *o, const char *text, struct rfs_err *err)
{
	return take_path(&o->tls_key, "key", text, err);
}

static int take_subdir(struct mount_options *o, const char *text, struct rfs_err *err)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '/')
		len--;
	free(o->subdir);
	o->subdir = NULL;
	if (len == 0) /* the root itself */
		return text[0] == '/' ? 0 : rfs_err_set(err, -EINVAL, "-o subdir= needs a key");
	o->subdir = mem_strdup(text);
	o->subdir[len] = '\0';
	if (len > FS_PATH_BYTES_MAX || fs_path_check(fs_str_of(o->subdir)) != 0)
		return rfs_err_set(err, -EINVAL,
		                   "-o subdir=%s: not a key: names with single slashes in between",
		                   text);
	return 0;
}

/* A whole number in `base` without sign, at most `max`. */
static bool parse_number(const char *text, int base, unsigned long long max, uint32_t *out)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, base);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v > max)
		return false;
	*out = (uint32_t)v;
	return true;
}

static int take_uid(struct mount_options *o, const char *text, struct rfs_err *err)
{
	o->view.has_uid = parse_number(text, 10, ID_TEXT_MAX, &o->view.uid);
	return o->view.has_uid
	               ? 0
	               : rfs_err_set(err, -EINVAL, "-o uid=%s: not the number of a user", text);
}

static int take_gid(struct mount_options *o, const char *text, struct rfs_err *err)
{
	o->view.has_gid = parse_number(text, 10, ID_TEXT_MAX, &o->view.gid);
	return o->view.has_gid
	               ? 0
	               : rfs_err_set(err, -EINVAL, "-o gid=%s: not the number of a group", text);
}

static int take_id(struct mount_options *o, const char *text, struct rfs_err *err)
{
	return options_take_id(o, "-o id=", text, err);
}

static int take_umask(struct mount_options *o, const char *text, struct rfs_err *err)
{
	uint32_t mask;

	if (!parse_number(text, 8, 0777, &mask))
		return rfs_err_set(err, -EINVAL, "-o umask=%s: not an octal number from 0 to 777",
		                   text);
	o->view.has_mode = true;
	o->view.mode = 0777u & ~mask;
	return 0;
}

static const struct {
	const char *name; /* with its '=' */
	int (*take)(struct mount_options *o, const char *text, struct rfs_err *err);
} valued_options[] = {
        {"timeout=", take_timeout}, {"commit=", take_commit}, {"read=", take_read},
        {"logfile=", take_logfile}, {"subdir=", take_subdir}, {"uid=", take_uid},
        {"gid=", take_gid},         {"umask=", take_umask},   {"id=", take_id},
        {"ca=", take_ca},           {"cert=", take_cert},     {"key=", take_key},
};

/* ---- a word ---- */

static int take_word(struct mount_options *o, const char *word, struct rfs_err *err)
{
	for (size_t i = 0; i < sizeof(valued_options) / sizeof(valued_options[0]); i++) {
		size_t len = strlen(valued_options[i].name);

		if (strncmp(word, valued_options[i].name, len) == 0)
			return valued_options[i].take(o, word + len, err);
		if (strlen(word) == len - 1 && strncmp(word, valued_options[i].name, len - 1) == 0)
			return rfs_err_set(err, -EINVAL, "-o %s: needs a value, %s=…", word, word);
	}
	if (strcmp(word, "allow_other") == 0) {
		o->allow_other = true;
		return 0;
	}
	if (strcmp(word, "default_permissions") == 0) {
		o->check_permission = true;
		return 0;
	}
	if (strcmp(word, "notify") == 0) {
		o->notify = true;
		return 0;
	}
	if (strcmp(word, "acl") == 0 || strcmp(word, "noacl") == 0) {
		o->acl = word[0] == 'a';
		return 0;
	}
	if (strcmp(word, "debug") == 0) {
		o->debug = true;
		return 0;
	}
	if (is_one_of(ignored_options, word) || strncmp(word, "x-", 2) == 0 ||
	    strncmp(word, "comment=", 8) == 0)
		return 0;
	if (is_one_of(kernel_options, word)) {
		if (strcmp(word, "sync") == 0 || strcmp(word, "async") == 0)
			o->sync = word[0] == 's';
		if (strcmp(word, "ro") == 0 || strcmp(word, "rw") == 0)
			o->ro = word[1] == 'o';
		buf_printf(&o->kernel, ",%s", word);
		return 0;
	}
	if (strcmp(word, "remount") == 0)
		return rfs_err_set(err, -EINVAL,
		                   "-o remount: options cannot be changed while mounted; unmount "
		                   "and mount again");
	return o->sloppy ? 0 : rfs_err_set(err, -EINVAL, "-o %s: unknown option", word);
}

int options_take_list(struct mount_options *o, const char *list, struct rfs_err *err)
{
	char *copy = mem_strdup(list), *rest = copy, *word;
	int rc = 0;

	while (rc == 0 && (word = strsep(&rest, ",")) != NULL) {
		if (*word != '\0')
			rc = take_word(o, word, err);
	}
	free(copy);
	return rc;
}

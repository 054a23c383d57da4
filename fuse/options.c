#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../src/base/mem.h"

const char options_help[] =
        "usage: raftfs MOUNTPOINT [--cluster FILE] [--id N] [-o OPTION[,OPTION…]] [-f]\n"
        "\n"
        "Mounts the directory that a raftfs cluster keeps. Returns once the mount answers.\n"
        "\n"
        "  --cluster FILE     cluster file; otherwise $RAFTFS_CLUSTER, ./cluster.toml,\n"
        "                     /etc/raftfs/cluster.toml; without any, an embedded single node\n"
        "  --id N             also run node N of the cluster in this process; without a quorum in\n"
        "                     time it exits with 3, and node and mount stay and wait for one\n"
        "  -f                 stay in the foreground, log to stderr\n"
        "  --log-level LEVEL  error, warn, info or debug\n"
        "  --help, --version\n"
        "\n"
        "  -o timeout=SECONDS     how long a request may wait for the cluster (10)\n"
        "  -o logfile=PATH        where the log goes without -f (otherwise nowhere)\n"
        "  -o commit=write        every write(2) is committed when it returns (default)\n"
        "  -o debug               log every request\n"
        "  -o allow_other         other users may enter; the kernel checks modes\n"
        "  -o default_permissions the kernel checks modes (always, unless only root enters)\n"
        "  -o ro, rw, noexec, nosuid, nodev, noatime, sync, dirsync …  as in mount(8)\n"
        "\n"
        "exit status: 0 mounted, 2 usage or configuration, 3 no answer from a quorum in\n"
        "time, 4 refused (identity, permission, node in use), 32 the mount failed\n";

enum { ARG_CLUSTER = 256, ARG_ID, ARG_LEVEL, ARG_HELP, ARG_VERSION };

static const struct option long_options[] = {
        {"cluster", required_argument, NULL, ARG_CLUSTER},
        {"id", required_argument, NULL, ARG_ID},
        {"log-level", required_argument, NULL, ARG_LEVEL},
        {"foreground", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, ARG_HELP},
        {"version", no_argument, NULL, ARG_VERSION},
        {NULL, 0, NULL, 0},
};

/* Options of mount(8) that the kernel understands, passed on as they are. */
static const char *const kernel_options[] = {
        "ro",    "rw",    "exec",    "noexec", "suid",  "nosuid",  "dev",
        "nodev", "atime", "noatime", "sync",   "async", "dirsync", NULL,
};

/* Options that mean something to fstab's readers and nothing to us. */
static const char *const ignored_options[] = {
        "defaults", "auto",  "noauto", "nofail", "_netdev", "user",
        "nouser",   "users", "owner",  "group",  NULL,
};

static bool is_one_of(const char *const *list, const char *word)
{
	for (; *list != NULL; list++) {
		if (strcmp(*list, word) == 0)
			return true;
	}
	return false;
}

static int parse_timeout(struct mount_options *o, const char *text, struct rfs_err *err)
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

static int parse_commit(const char *text, struct rfs_err *err)
{
	if (strcmp(text, "write") == 0)
		return 0;
	if (strcmp(text, "close") == 0)
		return rfs_err_set(err, -EINVAL,
		                   "-o commit=close: this version commits every write only");
	return rfs_err_set(err, -EINVAL, "-o commit=%s: only commit=write is known", text);
}

static int take_mount_option(struct mount_options *o, const char *word, struct rfs_err *err)
{
	if (strncmp(word, "timeout=", 8) == 0)
		return parse_timeout(o, word + 8, err);
	if (strncmp(word, "commit=", 7) == 0)
		return parse_commit(word + 7, err);
	if (strncmp(word, "logfile=", 8) == 0) {
		if (word[8] == '\0')
			return rfs_err_set(err, -EINVAL, "-o logfile= needs a path");
		free(o->logfile);
		o->logfile = mem_strdup(word + 8);
		return 0;
	}
	if (strcmp(word, "allow_other") == 0) {
		o->allow_other = true;
		return 0;
	}
	if (strcmp(word, "default_permissions") == 0) {
		o->check_permission = true;
		return 0;
	}
	if (strcmp(word, "debug") == 0) {
		o->debug = true;
		return 0;
	}
	if (is_one_of(ignored_options, word) || strncmp(word, "x-", 2) == 0)
		return 0;
	if (is_one_of(kernel_options, word)) {
		buf_printf(&o->kernel, ",%s", word);
		return 0;
	}
	return rfs_err_set(err, -EINVAL, "-o %s: unknown option", word);
}

static int take_mount_options(struct mount_options *o, const char *list, struct rfs_err *err)
{
	char *copy = mem_strdup(list), *rest = copy, *word;
	int rc = 0;

	while (rc == 0 && (word = strsep(&rest, ",")) != NULL) {
		if (*word != '\0')
			rc = take_mount_option(o, word, err);
	}
	free(copy);
	return rc;
}

static int parse_id(struct mount_options *o, const char *text, struct rfs_err *err)
{
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || id == 0 ||
	    id > INT32_MAX)
		return rfs_err_set(err, -EINVAL, "--id %s: not a number from 1 to %d", text,
		                   INT32_MAX);
	o->id = id;
	return 0;
}

/* What getopt_long() complains about: a letter, or the word before the next one. */
static const char *culprit(char *const argv[], char spelled[3])
{
	if (optopt > 0 && optopt < ARG_CLUSTER) {
		spelled[0] = '-';
		spelled[1] = (char)optopt;
		spelled[2] = '\0';
		return spelled;
	}
	return optind > 0 ? argv[optind - 1] : "";
}

static int take_argument(struct mount_options *o, int which, const char *word, struct rfs_err *err)
{
	switch (which) {
	case ARG_CLUSTER: o->cluster = optarg; return 0;
	case ARG_ID: return parse_id(o, optarg, err);
	case ARG_LEVEL:
		o->level_given = true;
		if (log_level_parse(optarg, &o->level))
			return 0;
		return rfs_err_set(err, -EINVAL,
		                   "--log-level %s: not one of error, warn, info, debug", optarg);
	case ARG_HELP: o->help = true; return 0;
	case ARG_VERSION: o->version = true; return 0;
	case 'f': o->foreground = true; return 0;
	case 'o': return take_mount_options(o, optarg, err);
	case ':': return rfs_err_set(err, -EINVAL, "%s needs a value", word);
	default: return rfs_err_set(err, -EINVAL, "%s: unknown option", word);
	}
}

static int check_arguments(struct mount_options *o, int n_words, char *const words[],
                           struct rfs_err *err)
{
	if (o->help || o->version)
		return 0;
	if (n_words == 0)
		return rfs_err_set(err, -EINVAL, "no mountpoint given");
	if (n_words > 1)
		return rfs_err_set(err, -EINVAL, "%s: only one mountpoint can be given", words[1]);
	if (words[0][0] == '\0')
		return rfs_err_set(err, -EINVAL, "the mountpoint is empty");
	o->mountpoint = words[0];
	if (o->debug && !o->level_given)
		o->level = LOG_LEVEL_DEBUG;
	return 0;
}

int options_parse(struct mount_options *o, int argc, char *const argv[], bool is_root,
                  struct rfs_err *err)
{
	char spelled[3];
	int which, rc = 0;

	*o = (struct mount_options){.timeout_ms = MOUNT_TIMEOUT_MS_DEFAULT,
	                            .level = LOG_LEVEL_INFO};
	buf_init(&o->kernel);
	opterr = 0;
	optind = 0; /* start over: tests parse more than once */
	while (rc == 0 && (which = getopt_long(argc, argv, ":fo:", long_options, NULL)) != -1)
		rc = take_argument(o, which, culprit(argv, spelled), err);
	if (rc == 0)
		rc = check_arguments(o, argc - optind, argv + optind, err);
	if (o->allow_other || !is_root)
		o->check_permission = true;
	*buf_reserve(&o->kernel, 1) = '\0';
	return rc;
}

void options_free(struct mount_options *o)
{
	free(o->logfile);
	buf_free(&o->kernel);
	o->logfile = NULL;
}

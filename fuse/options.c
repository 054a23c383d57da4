#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

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
        "  -o subdir=KEY          the directory KEY, which must exist, as the root of the mount\n"
        "  -o ro                  no changes through this mount (EROFS)\n"
        "  -o uid=N, gid=N        show everything as owned by this user, this group\n"
        "  -o umask=OCTAL         show everything with the modes that this leaves of 0777\n"
        "  -o read=linearizable   a read sees every change that was acknowledged before (default)\n"
        "  -o read=local          reads are answered by the nearest node, without a quorum; they\n"
        "                         may be old, but never older than what this mount has seen\n"
        "  -o id=N                as --id N\n"
        "  -o timeout=SECONDS     how long a request may wait for the cluster (10)\n"
        "  -o logfile=PATH        where the log goes without -f (otherwise nowhere)\n"
        "  -o commit=write        every write(2) is committed when it returns (default)\n"
        "  -o commit=close        all that was written to a file is committed by close or fsync,\n"
        "                         in one change; others see nothing of it before; not with sync\n"
        "  -o notify              inotify and fanotify hear of what other mounts do, too\n"
        "  -o cert=FILE, key=FILE the certificate that this mount shows, and its key ([tls]\n"
        "                         client_cert, client_key)\n"
        "  -o ca=FILE             whom it believes ([tls] ca)\n"
        "  -o acl                 access control lists (setfacl), and the kernel checks them: up "
        "to\n"
        "                         one request more a step of a path; not with uid=, gid=, umask=\n"
        "  -o noacl               none (default)\n"
        "  -o debug               log every request\n"
        "  -o allow_other         other users may enter; the kernel checks modes\n"
        "  -o default_permissions the kernel checks modes (always, unless only root enters)\n"
        "  -o rw, exec, noexec, suid, nosuid, dev, nodev, noatime, sync, dirsync …  as in\n"
        "                         mount(8); _netdev, nofail, noauto, user, x-… belong to fstab\n"
        "\n"
        "In fstab, or for mount -t raftfs, the cluster file takes the place of a device:\n"
        "  /etc/raftfs/cluster.toml  /mnt/raft  raftfs  _netdev,nofail,allow_other  0 0\n"
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

int options_take_id(struct mount_options *o, const char *name, const char *text,
                    struct rfs_err *err)
{
	char *end;
	unsigned long long id;

	errno = 0;
	id = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || id == 0 ||
	    id > INT32_MAX)
		return rfs_err_set(err, -EINVAL, "%s%s: not a number from 1 to %d", name, text,
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
	case ARG_ID: return options_take_id(o, "--id ", optarg, err);
	case ARG_LEVEL:
		o->level_given = true;
		if (log_level_parse(optarg, &o->level))
			return 0;
		return rfs_err_set(err, -EINVAL,
		                   "--log-level %s: not one of error, warn, info, debug", optarg);
	case ARG_HELP: o->help = true; return 0;
	case ARG_VERSION: o->version = true; return 0;
	case 'f': o->foreground = true; return 0;
	case 'o': return options_take_list(o, optarg, err);
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
	return 0;
}

void options_init(struct mount_options *o)
{
	*o = (struct mount_options){.timeout_ms = MOUNT_TIMEOUT_MS_DEFAULT,
	                            .level = LOG_LEVEL_INFO,
	                            .view = VIEW_WHOLE};
	buf_init(&o->kernel);
}

int options_finish(struct mount_options *o, bool is_root, struct rfs_err *err)
{
	if (o->allow_other || !is_root || o->acl)
		o->check_permission = true;
	if (o->debug && !o->level_given)
		o->level = LOG_LEVEL_DEBUG;
	*buf_reserve(&o->kernel, 1) = '\0';
	if (o->commit_close && o->sync)
		return rfs_err_set(
		        err, -EINVAL,
		        "-o sync and commit=close contradict each other: with sync every "
		        "write is committed when it returns");
	if (o->notify && o->ro)
		return rfs_err_set(err, -EINVAL,
		                   "-o ro and notify contradict each other: on a read-only mount "
		                   "the kernel has nothing to tell");
	if (o->acl && (o->view.has_uid || o->view.has_gid || o->view.has_mode))
		return rfs_err_set(err, -EINVAL,
		                   "-o acl and %s contradict each other: access control lists go "
		                   "with the owners and modes that the cluster keeps",
		                   o->view.has_uid   ? "uid="
		                   : o->view.has_gid ? "gid="
		                                     : "umask=");
	return 0;
}

int options_parse(struct mount_options *o, int argc, char *const argv[], bool is_root,
                  struct rfs_err *err)
{
	char spelled[3];
	int which, rc = 0;

	options_init(o);
	opterr = 0;
	optind = 0; /* start over: tests parse more than once */
	while (rc == 0 && (which = getopt_long(argc, argv, ":fo:", long_options, NULL)) != -1)
		rc = take_argument(o, which, culprit(argv, spelled), err);
	if (rc == 0)
		rc = check_arguments(o, argc - optind, argv + optind, err);
	return rc == 0 ? options_finish(o, is_root, err) : rc;
}

void options_free(struct mount_options *o)
{
	free(o->logfile);
	free(o->subdir);
	free(o->tls_ca);
	free(o->tls_cert);
	free(o->tls_key);
	o->tls_ca = o->tls_cert = o->tls_key = NULL;
	buf_free(&o->kernel);
	o->logfile = o->subdir = NULL;
}

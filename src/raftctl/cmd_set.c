/* set KEY VALUE|-, set KEY --file FILE */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "commands.h"
#include "shell.h"

/* A folder of that name at the root belongs to the mount itself. */
static bool is_reserved(const char *key)
{
	key += key[0] == '/';
	return strncmp(key, ".raft", 5) == 0 && (key[5] == '\0' || key[5] == '/');
}

static int put_file(struct ctl *ctl, const char *key, const char *file,
                    struct ctl_condition *only_if, uint64_t *index, struct rfs_err *err)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), rc;
	struct stat st;

	if (fd < 0)
		return rfs_err_set(err, -errno, "%s: %s", file, rfs_strerror(-errno));
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		rc = rfs_err_set(err, -EISDIR, "%s: %s", file, rfs_strerror(-EISDIR));
	else
		rc = ctl_value_put_fd(ctl, key, fd, only_if, index, err);
	(void)close(fd);
	return rc;
}

/* A script that comes from standard input cannot give a value from there, too. */
static bool stdin_is_taken(const struct ctl *ctl)
{
	return ctl->shell != NULL && !ctl->shell->person;
}

/* Exactly one of VALUE and --file; VALUE "-" is standard input. */
static int check_source(const struct ctl *ctl, const char *key, const char *value, const char *file)
{
	if ((value == NULL) == (file == NULL))
		return ctl_error(CTL_USAGE, "set %s: what? One of VALUE, - and --file FILE", key);
	if (value != NULL && strcmp(value, "-") == 0 && stdin_is_taken(ctl))
		return ctl_error(CTL_USAGE,
		                 "set %s -: standard input is the script itself; use --file FILE",
		                 key);
	if (value != NULL && strlen(value) > FS_WRITE_BYTES_MAX)
		return ctl_error(CTL_USAGE,
		                 "%s: too long a value for the command line; use: raftctl set %s -",
		                 key, key);
	return CTL_DONE;
}

static int set_run(struct ctl *ctl)
{
	const char *key = ctl->args.operands[0];
	const char *value = ctl->args.n_operands > 1 ? ctl->args.operands[1] : NULL;
	const char *file = ctl_args_option(&ctl->args, "file");
	struct ctl_condition only_if;
	struct rfs_err err = {0};
	uint64_t index = 0;
	int rc = ctl_check_key(key);

	if (rc == 0)
		rc = check_source(ctl, key, value, file);
	if (rc == 0)
		rc = ctl_condition_take(ctl, key, &only_if);
	if (rc != 0)
		return rc;
	if (is_reserved(key))
		return ctl_error(CTL_USAGE,
		                 "%s: .raft is the mount's own folder; choose another key", key);
	if (value == NULL)
		rc = put_file(ctl, key, file, &only_if, &index, &err);
	else if (strcmp(value, "-") == 0)
		rc = ctl_value_put_fd(ctl, key, STDIN_FILENO, &only_if, &index, &err);
	else
		rc = ctl_value_put(ctl, key, value, strlen(value), &only_if, &index);
	if (only_if.failed)
		return ctl_condition_failed(&only_if, key);
	if (err.code != 0)
		return ctl_error(CTL_NO, "%s: %s", key, err.msg);
	if (rc != 0)
		return ctl_failed(ctl, key, rc, true);
	if (ctl->args.json)
		ctl_json_print_change(key, index);
	return CTL_DONE;
}

static const struct ctl_option options[] = {
        {"file", "FILE", "the value is what FILE holds, of any size"},
        {"create", NULL, "only if KEY does not exist"},
        {"if-version", "N", "only if KEY is at version N: nobody has changed it since"},
        {0},
};

static const char details[] = "Returns once a majority of the nodes has it on disk. The "
                              "directories on the way to KEY are made.\n"
                              "VALUE is stored as it is, without a newline behind it; with - "
                              "standard input is stored, to its end.\n"
                              "Others see the old value or the new one and nothing between, "
                              "however large it is; one of more than\n"
                              "1 MiB is written beside KEY and then renamed over it.\n"
                              "The version of a key is the log index of its last change: 'raftctl "
                              "get --json', 'ls -l', and what\n"
                              "--json gives here as index. In a mount: getfattr -n "
                              "user.raft.version FILE.\n"
                              "\n"
                              "  raftctl set color blue\n"
                              "  raftctl set app/db/url postgres://db.example.com/app\n"
                              "  raftctl set app/tls/cert - < cert.pem\n"
                              "  raftctl set app/tls/cert --file cert.pem\n"
                              "  raftctl set temperature -5\n"
                              "  raftctl set --create jobs/leader host-7\n"
                              "  raftctl set --if-version 1042 app/db/url postgres://db2/app\n"
                              "\n"
                              "Exit codes: 0 stored; 1 not stored (another version, KEY is a "
                              "directory, no room, ...); 2 usage, or not a possible key;\n"
                              "3 no answer from a quorum in time, the message tells whether it may "
                              "have been stored; 4 refused.\n";

const struct ctl_command cmd_set = {
        .name = "set",
        .operands = "KEY VALUE|-",
        .summary = "store a value under a key",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .options = options,
        .run = set_run,
};

/* The name that other systems' sessions have for it. */
const struct ctl_command cmd_setval = {
        .name = "setval",
        .operands = "KEY VALUE|-",
        .summary = "the same as set",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .options = options,
        .run = set_run,
};

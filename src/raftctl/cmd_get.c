/* get KEY */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "commands.h"

/* With the value, unless it is in a file. */
static int print_json(const char *key, struct ctl_value *v, const char *file, struct rfs_err *err)
{
	json_t *o;
	int rc = file == NULL ? ctl_value_load(v, err) : 0;

	if (rc != 0)
		return rc;
	o = json_object();
	ctl_json_set_bytes(o, "key", key, strlen(key));
	if (file != NULL)
		ctl_json_set_bytes(o, "file", file, strlen(file));
	else
		ctl_json_set_bytes(o, "value", v->data.data, v->data.len);
	(void)json_object_set_new(o, "size", json_integer((json_int_t)v->attr.size));
	(void)json_object_set_new(o, "version", json_integer((json_int_t)v->attr.version));
	ctl_json_print(o);
	return 0;
}

/* Exactly the bytes; only where a person would find the prompt behind them, a newline more. */
static int print_bytes(const struct ctl_value *v, struct rfs_err *err)
{
	int rc = ctl_value_write(v, stdout, err);

	if (rc == 0 && isatty(STDOUT_FILENO) && v->data.len > 0 &&
	    v->data.data[v->data.len - 1] != '\n')
		(void)fputc('\n', stdout);
	return rc;
}

/* Into a file, whole or not at all: written beside it and then renamed over it. What is no regular
 * file (a device, a pipe) is written to as it is. */
static int write_beside(const struct ctl_value *v, const char *file, const struct stat *old,
                        struct rfs_err *err)
{
	char name[CONFIG_PATH_MAX];
	mode_t mask = umask(0);
	int fd, rc;
	FILE *f;

	(void)umask(mask);
	if (snprintf(name, sizeof(name), "%s.XXXXXX", file) >= (int)sizeof(name))
		return rfs_err_set(err, -ENAMETOOLONG, "%s: the path is too long", file);
	fd = mkstemp(name);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", file, rfs_strerror(-errno));
	rc = ctl_value_write(v, f, err);
	errno = 0;
	if (rc == 0 && (fchmod(fd, old != NULL ? old->st_mode & 0777 : 0666 & ~mask) != 0 ||
	                fflush(f) != 0 || fsync(fd) != 0 || rename(name, file) != 0))
		rc = rfs_err_set(err, -errno, "%s: %s", file, rfs_strerror(-errno));
	if (rc != 0)
		(void)unlink(name);
	(void)fclose(f);
	return rc;
}

static int write_file(const struct ctl_value *v, const char *file, struct rfs_err *err)
{
	struct stat old;
	bool there = stat(file, &old) == 0;
	FILE *f;
	int rc;

	if (!there || S_ISREG(old.st_mode))
		return write_beside(v, file, there ? &old : NULL, err);
	f = fopen(file, "we");
	if (f == NULL)
		return rfs_err_set(err, -errno, "%s: %s", file, rfs_strerror(-errno));
	rc = ctl_value_write(v, f, err);
	if (fclose(f) != 0 && rc == 0)
		rc = rfs_err_set(err, -errno, "%s: %s", file, rfs_strerror(-errno));
	return rc;
}

static int give(const struct ctl *ctl, const char *key, struct ctl_value *v, struct rfs_err *err)
{
	const char *file = ctl_args_option(&ctl->args, "out");
	int rc = file != NULL ? write_file(v, file, err) : 0;

	if (rc == 0 && ctl->args.json)
		return print_json(key, v, file, err);
	return rc == 0 && file == NULL ? print_bytes(v, err) : rc;
}

static int get_run(struct ctl *ctl)
{
	const char *key = ctl->args.operands[0];
	struct rfs_err err = {0};
	struct ctl_value v;
	int rc = ctl_check_key(key);

	if (rc != 0)
		return rc;
	rc = ctl_value_get(ctl, key, &v, &err);
	if (rc == 0)
		rc = give(ctl, key, &v, &err);
	ctl_value_free(&v);
	if (err.code != 0)
		return ctl_error(CTL_NO, "%s: %s", key, err.msg);
	return rc != 0 ? ctl_failed(ctl, key, rc, false) : CTL_DONE;
}

static const struct ctl_option options[] = {
        {"out", "FILE", "write the value into FILE, whole or not at all"},
        {0},
};

static const char details[] =
        "Writes exactly the bytes that are stored, the same as `cat` of the "
        "file in a mount; on a terminal a\n"
        "newline more if the value does not end in one. The read is "
        "linearizable: it sees every change that was\n"
        "acknowledged before it began. With --json: key, value (value_base64 "
        "if it is not UTF-8), size, version.\n"
        "\n"
        "  raftctl get color\n"
        "  raftctl get app/tls/cert --out cert.pem      whole, or cert.pem stays as it was\n"
        "\n"
        "Exit codes: 0 found; 1 no such key, or a directory; 2 usage; 3 no "
        "answer from a quorum in time;\n"
        "4 refused.\n";

const struct ctl_command cmd_get = {
        .name = "get",
        .operands = "KEY",
        .summary = "print the value of a key",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .options = options,
        .run = get_run,
};

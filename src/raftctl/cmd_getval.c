/* getval KEY and setval KEY VAL: get and set as the sessions of other key-value systems have them. */
#include <errno.h>
#include <string.h>
#include "commands.h"

static void print(const struct ctl *ctl, const char *key, const struct ctl_value *v)
{
	struct buf line;

	if (ctl->args.json) {
		json_t *o = json_object();

		ctl_json_set_bytes(o, "key", key, strlen(key));
		if (v == NULL)
			(void)json_object_set_new(o, "value", json_null());
		else
			ctl_json_set_bytes(o, "value", v->data.data, v->data.len);
		ctl_json_print(o);
		return;
	}
	buf_init(&line);
	if (v == NULL)
		buf_printf(&line, "None");
	else /* the newline that `echo` into the file left is not shown a second time */
		text_put_escaped(&line, v->data.data,
		                 v->data.len > 0 && v->data.data[v->data.len - 1] == '\n'
		                         ? v->data.len - 1
		                         : v->data.len);
	buf_put_u8(&line, '\n');
	(void)fwrite(line.data, 1, line.len, stdout);
	buf_free(&line);
}

static int getval_run(struct ctl *ctl)
{
	const char *key = ctl->args.operands[0];
	struct rfs_err err = {0};
	struct ctl_value v;
	int rc = ctl_check_key(key);

	if (rc != 0)
		return rc;
	rc = ctl_value_get(ctl, key, &v, &err);
	if (rc == 0)
		rc = ctl_value_load(&v, &err);
	if (rc == 0 || rc == -ENOENT)
		print(ctl, key, rc == 0 ? &v : NULL);
	ctl_value_free(&v);
	if (rc == 0 || rc == -ENOENT)
		return CTL_DONE;
	return err.code != 0 ? ctl_error(CTL_NO, "%s: %s", key, err.msg)
	                     : ctl_failed(ctl, key, rc, false);
}

static const char get_details[] =
        "Prints the value on a line of its own, or None when there is no such key, which is no "
        "failure here.\n"
        "What does not show as it is stands as \\n, \\xNN and the like; 'get' gives the exact "
        "bytes "
        "and tells\n"
        "an absent key by its exit code. With --json: key and value, null when absent.\n"
        "\n"
        "  raftctl getval key1\n"
        "\n"
        "Exit codes: 0 printed; 1 a directory; 2 usage; 3 no answer from a quorum in time; 4 "
        "refused.\n";

const struct ctl_command cmd_getval = {
        .name = "getval",
        .operands = "KEY",
        .summary = "print the value of a key, or None",
        .details = get_details,
        .operands_min = 1,
        .operands_max = 1,
        .run = getval_run,
};

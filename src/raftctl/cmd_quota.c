/* quota list | get KEY | set KEY --bytes N --inodes N | remove KEY */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "commands.h"

/* `found`: the argument that is none; NULL. */
static int usage(const char *why, const char *found)
{
	return ctl_error(
	        CTL_USAGE,
	        "%s%s%s\nusage: raftctl quota list | get KEY | set KEY [--bytes N] [--inodes "
	        "N] | remove "
	        "KEY",
	        why, found != NULL ? ", not " : "", found != NULL ? found : "");
}

static bool is_root(const char *key)
{
	return strcmp(key, "/") == 0;
}

/* "100", "64K", "10M", "2G", "1T"; above 0. */
static bool parse_amount(const char *text, uint64_t *n)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*n = strtoull(text, &end, 10);
	if (errno != 0 || *n == 0)
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end);
	if (unit == NULL || end[1] != '\0')
		return false;
	for (const char *u = units; u <= unit; u++)
		if (__builtin_mul_overflow(*n, (uint64_t)1024, n))
			return false;
	return true;
}

/* ---- list and get ---- */

struct quotas {
	struct fs_quota *at; /* paths borrowed from the call */
	size_t n, cap;
};

static int by_path(const void *a, const void *b)
{
	const struct fs_quota *x = a, *y = b;
	uint32_t n = x->path.len < y->path.len ? x->path.len : y->path.len;
	int order = n > 0 ? memcmp(x->path.p, y->path.p, n) : 0;

	return order != 0 ? order : (x->path.len > y->path.len) - (x->path.len < y->path.len);
}

static void read_quotas(struct quotas *all, const struct ctl_call *call)
{
	struct reader r = reader_of(call->result.data, call->result.data_len);
	struct fs_quota q;

	while (fs_quota_next(&r, &q)) {
		all->at = mem_grow(all->at, &all->cap, all->n + 1, sizeof(*all->at));
		all->at[all->n++] = q;
	}
	if (all->n > 0)
		qsort(all->at, all->n, sizeof(*all->at), by_path);
}

static void print_use(const char *what, uint64_t used, uint64_t max)
{
	if (max != 0)
		(void)printf("  %s %" PRIu64 " of %" PRIu64, what, used, max);
	else
		(void)printf("  %s %" PRIu64, what, used);
}

static void print_text(const struct fs_quota *q)
{
	struct buf path = {0};

	buf_put_u8(&path, '/');
	text_put_escaped(&path, q->path.p, q->path.len);
	(void)printf("%.*s", (int)path.len, (const char *)path.data);
	print_use("bytes", q->bytes, q->bytes_max);
	print_use("inodes", q->inodes, q->inodes_max);
	(void)printf("\n");
	buf_free(&path);
}

static json_t *json_of(const struct fs_quota *q)
{
	json_t *o = json_object();

	ctl_json_set_bytes(o, "key", q->path.len > 0 ? q->path.p : "/",
	                   q->path.len > 0 ? q->path.len : 1);
	(void)json_object_set_new(o, "bytes", json_integer((json_int_t)q->bytes));
	(void)json_object_set_new(o, "inodes", json_integer((json_int_t)q->inodes));
	if (q->bytes_max != 0)
		(void)json_object_set_new(o, "bytes_max", json_integer((json_int_t)q->bytes_max));
	if (q->inodes_max != 0)
		(void)json_object_set_new(o, "inodes_max", json_integer((json_int_t)q->inodes_max));
	return o;
}

static void print_all(const struct ctl *ctl, const struct quotas *all)
{
	json_t *list;

	if (!ctl->args.json) {
		for (size_t i = 0; i < all->n; i++)
			print_text(&all->at[i]);
		return;
	}
	list = json_array();
	for (size_t i = 0; i < all->n; i++)
		(void)json_array_append_new(list, json_of(&all->at[i]));
	ctl_json_print(list);
}

static int print_one(const struct ctl *ctl, const struct quotas *all, const char *key)
{
	const char *path = key + (key[0] == '/' ? 1 : 0);

	for (size_t i = 0; i < all->n; i++) {
		const struct fs_quota *q = &all->at[i];

		if (q->path.len != strlen(path) || memcmp(q->path.p, path, q->path.len) != 0)
			continue;
		if (ctl->args.json)
			ctl_json_print(json_of(q));
		else
			print_text(q);
		return CTL_DONE;
	}
	return ctl_error(CTL_NO, "%s has no quota of its own", key);
}

static int show(struct ctl *ctl, const char *key)
{
	const struct fs_op op = {.kind = FS_OP_QUOTA_LIST};
	struct ctl_call call = {0};
	struct quotas all = {0};
	int rc = key == NULL || is_root(key) ? 0 : ctl_check_key(key);

	if (rc != 0)
		return rc;
	rc = ctl_do(ctl, &call, &op);
	if (rc != 0) {
		rc = ctl_failed(ctl, key != NULL ? key : "/", rc, false);
	} else {
		read_quotas(&all, &call);
		if (key != NULL)
			rc = print_one(ctl, &all, key);
		else
			print_all(ctl, &all);
	}
	free(all.at);
	ctl_call_end(&call);
	return rc;
}

/* ---- set and remove ---- */

static int refused(struct ctl *ctl, const char *key, int code)
{
	switch (code) {
	case -EBUSY:
		return ctl_error(CTL_NO, "%s: a tree with a quota cannot lie within another one",
		                 key);
	case -EXDEV:
		return ctl_error(CTL_NO, "%s: a file in it has another name (a hard link) outside",
		                 key);
	case -E2BIG:
		return ctl_error(
		        CTL_NO,
		        "%s: there is too much in it already (50,000 files at most): give an empty "
		        "directory the quota, and move the files into it",
		        key);
	case -EUSERS:
		return ctl_error(CTL_NO, "%s: there are 1,024 trees with a quota already", key);
	default: return ctl_failed(ctl, key, code, true);
	}
}

static int change(struct ctl *ctl, const char *key, uint64_t bytes, uint64_t inodes)
{
	const struct fs_op op = {
	        .kind = FS_OP_QUOTA_SET, .name = fs_str_of(key), .size = bytes, .offset = inodes};
	struct ctl_call call = {0};
	uint64_t index;
	int rc = is_root(key) ? 0 : ctl_check_key(key);

	if (rc != 0)
		return rc;
	rc = ctl_do(ctl, &call, &op);
	index = call.result.index;
	ctl_call_end(&call);
	if (rc != 0)
		return refused(ctl, key, rc);
	if (ctl->args.json)
		ctl_json_print_change(key, index);
	return CTL_DONE;
}

static int set(struct ctl *ctl, const char *key)
{
	const char *bytes = ctl_args_option(&ctl->args, "bytes"),
	           *inodes = ctl_args_option(&ctl->args, "inodes");
	static const char no_amount[] =
	        "an amount is a number above 0, perhaps with K, M, G or T behind it";
	uint64_t n_bytes = 0, n_inodes = 0;

	if (bytes == NULL && inodes == NULL)
		return usage("set wants --bytes, --inodes or both", NULL);
	if (bytes != NULL && !parse_amount(bytes, &n_bytes))
		return usage(no_amount, bytes);
	if (inodes != NULL && !parse_amount(inodes, &n_inodes))
		return usage(no_amount, inodes);
	return change(ctl, key, n_bytes, n_inodes);
}

static int quota_run(struct ctl *ctl)
{
	const char *verb = ctl->args.operands[0];
	bool is_set = strcmp(verb, "set") == 0;

	if (!is_set && (ctl_args_option(&ctl->args, "bytes") != NULL ||
	                ctl_args_option(&ctl->args, "inodes") != NULL))
		return usage("--bytes and --inodes go with set", NULL);
	if (strcmp(verb, "list") == 0)
		return ctl->args.n_operands == 1 ? show(ctl, NULL)
		                                 : usage("too many arguments", NULL);
	if (!is_set && strcmp(verb, "get") != 0 && strcmp(verb, "remove") != 0)
		return usage("quota knows list, get, set and remove", verb);
	if (ctl->args.n_operands != 2)
		return usage("which KEY?", NULL);
	if (is_set)
		return set(ctl, ctl->args.operands[1]);
	if (strcmp(verb, "get") == 0)
		return show(ctl, ctl->args.operands[1]);
	return change(ctl, ctl->args.operands[1], 0, 0);
}

static const struct ctl_option options[] = {
        {"bytes", "N", "most bytes, as the sizes of files add up: 4096, 64K, 10M, 2G, 1T"},
        {"inodes", "N", "most files, directories and other things, the directory itself included"},
        {0},
};

static const char details[] = "KEY is a directory; \"/\" stands for the whole cluster. Beyond a "
                              "directory's quota changes fail with EDQUOT,\n"
                              "beyond the cluster's with ENOSPC; what needs no more room than "
                              "before always works. Between a tree with a\n"
                              "quota and what is outside, rename and link give EXDEV (mv copies "
                              "then). Trees do not lie within each other.\n"
                              "\n"
                              "  raftctl quota set app --bytes 100M --inodes 10000\n"
                              "  raftctl quota set / --bytes 10G\n"
                              "  raftctl quota list\n"
                              "  raftctl quota remove app\n"
                              "\n"
                              "Exit codes: 0 done; 1 no such directory, no quota, or refused as "
                              "said above; 2 usage; 3 no answer from a\n"
                              "quorum in time; 4 refused.\n";

const struct ctl_command cmd_quota = {
        .name = "quota",
        .operands = "list|get|set|remove [KEY]",
        .summary = "what a directory or the cluster may hold",
        .details = details,
        .operands_min = 1,
        .operands_max = 2,
        .options = options,
        .run = quota_run,
};

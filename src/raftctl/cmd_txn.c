/* txn [FILE|-] */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/mem.h"
#include "../base/txn.h"
#include "commands.h"
#include "shell.h"

#define TEXT_BYTES_MAX (8u << 20)

struct reading {
	struct ctl *ctl;
	const char *file; /* for messages */
	unsigned line;
	struct buf steps;
	unsigned lines[FS_TXN_STEPS_MAX]; /* where each one stands */
	char *texts[FS_TXN_STEPS_MAX];    /* … and as what: for messages */
	size_t n, changes;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct reading *r, const char *fmt, ...)
{
	char sentence[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	return ctl_error(CTL_USAGE, "%s:%u: %s", r->file, r->line, sentence);
}

/* ---- a line ---- */

static int parse_compare(const struct reading *r, const struct words *w, struct fs_txn_step *step)
{
	const char *what = w->n > 2 ? w->at[2] : "";
	bool version = strcmp(what, "version") == 0, value = strcmp(what, "value") == 0;

	if (w->n == 3 && strcmp(what, "exists") == 0)
		step->kind = FS_TXN_IF_EXISTS;
	else if (w->n == 3 && strcmp(what, "absent") == 0)
		step->kind = FS_TXN_IF_ABSENT;
	else if (w->n != 5 || strcmp(w->at[3], "=") != 0 || !(version || value))
		return bad(r,
		           "must be compare KEY exists, compare KEY absent, compare KEY version = "
		           "N, or compare KEY value = \"...\"");
	if (version && !ctl_parse_version(w->at[4], &step->version))
		return bad(r, "a version is a whole number, not %s", w->at[4]);
	if (version)
		step->kind = FS_TXN_IF_VERSION;
	if (value) {
		step->kind = FS_TXN_IF_VALUE;
		step->data = w->at[4];
		step->data_len = (uint32_t)strlen(w->at[4]);
	}
	return 0;
}

static int parse_step(const struct reading *r, const struct words *w, struct fs_txn_step *step)
{
	if (strcmp(w->at[0], "compare") == 0 && w->n >= 2)
		return parse_compare(r, w, step);
	if (strcmp(w->at[0], "set") == 0 && w->n == 3) {
		step->kind = FS_TXN_SET;
		step->data = w->at[2];
		step->data_len = (uint32_t)strlen(w->at[2]);
		return 0;
	}
	if (strcmp(w->at[0], "delete") == 0 && w->n == 2) {
		step->kind = FS_TXN_DELETE;
		return 0;
	}
	return bad(r, "must be compare KEY ..., set KEY VALUE, or delete KEY");
}

static int take_words(struct reading *r, const struct words *w, const char *text)
{
	struct fs_txn_step step = {0};
	int rc = parse_step(r, w, &step);

	if (rc != 0)
		return rc;
	if (r->n == FS_TXN_STEPS_MAX)
		return bad(r, "more than %u steps", FS_TXN_STEPS_MAX);
	step.key = fs_str_of(w->at[1]);
	if (step.key.len > FS_PATH_BYTES_MAX || fs_path_check(step.key) != 0)
		return bad(r, "'%s' cannot be a key", w->at[1]);
	r->changes += step.kind == FS_TXN_SET || step.kind == FS_TXN_DELETE;
	fs_txn_put(&r->steps, &step);
	r->lines[r->n] = r->line;
	r->texts[r->n++] = mem_strdup(text);
	if (r->steps.len > FS_WRITE_BYTES_MAX)
		return bad(r, "the transaction has more than %u bytes", FS_WRITE_BYTES_MAX);
	return 0;
}

static int take_line(struct reading *r, const char *text)
{
	struct rfs_err err = {0};
	struct words w;
	int rc = 0;

	r->line++;
	if (words_split(&w, text, &err) != 0)
		return bad(r, "%s", err.msg);
	if (w.n > 0)
		rc = take_words(r, &w, text);
	words_free(&w);
	return rc;
}

/* ---- the text ---- */

/* Everything that `fd` gives, terminated. */
static int read_all(struct ctl *ctl, int fd, struct buf *b, struct rfs_err *err)
{
	ssize_t n;

	do {
		ctl_wait_readable(ctl, fd);
		if (ctl_interrupted())
			return rfs_err_set(err, -EINTR, "interrupted; nothing was done");
		n = read(fd, buf_reserve(b, 65536), 65536);
		b->len += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && b->len <= TEXT_BYTES_MAX) || (n < 0 && errno == EINTR));
	if (n < 0)
		return rfs_err_set(err, -errno, "%s", rfs_strerror(-errno));
	if (b->len > TEXT_BYTES_MAX)
		return rfs_err_set(err, -EFBIG, "larger than %u bytes", TEXT_BYTES_MAX);
	if (b->len > 0 && memchr(b->data, '\0', b->len) != NULL)
		return rfs_err_set(err, -EINVAL, "has NUL bytes: not a transaction");
	buf_put_u8(b, '\0');
	return 0;
}

static int read_text(struct reading *r, const char *file, struct buf *text)
{
	bool from_stdin = file == NULL || strcmp(file, "-") == 0;
	struct rfs_err err = {0};
	int fd = STDIN_FILENO, rc;

	r->file = from_stdin ? "standard input" : file;
	if (from_stdin && r->ctl->shell != NULL && !r->ctl->shell->person)
		return ctl_error(CTL_USAGE,
		                 "txn: standard input is the script itself; use txn FILE");
	if (!from_stdin)
		fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return ctl_error(CTL_NO, "%s: %s", file, rfs_strerror(-errno));
	rc = read_all(r->ctl, fd, text, &err);
	if (!from_stdin)
		(void)close(fd);
	return rc == 0 ? CTL_DONE : ctl_error(CTL_NO, "%s: %s", r->file, err.msg);
}

static int parse_text(struct reading *r, char *text)
{
	char *state = text, *line;
	int rc = 0;

	while (rc == 0 && (line = strsep(&state, "\n")) != NULL)
		rc = take_line(r, line);
	if (rc == 0 && r->n == 0)
		return ctl_error(CTL_USAGE,
		                 "%s: no step; a line is compare KEY ..., set KEY VALUE, or "
		                 "delete KEY",
		                 r->file);
	return rc;
}

/* ---- carrying it out ---- */

static void print_done(const struct reading *r, uint64_t index)
{
	if (r->ctl->args.json)
		ctl_json_print(json_pack("{s:b, s:I, s:I}", "done", 1, "index", (json_int_t)index,
		                         "changes", (json_int_t)r->changes));
	else
		(void)printf("done at index %" PRIu64 ": %zu changes\n", index, r->changes);
}

/* Which step was in the way. */
static int tell_failed(const struct reading *r, const struct fs_result *res)
{
	size_t k = res->value > 0 && res->value <= r->n ? (size_t)res->value - 1 : 0;
	const char *why = rfs_strerror(res->err);
	char is[64] = "";

	if (res->err == RFS_EPRECONDITION && res->has_attr)
		(void)snprintf(is, sizeof(is), " (its version is %" PRIu64 ")", res->attr.version);
	else if (res->err == RFS_EPRECONDITION)
		(void)snprintf(is, sizeof(is), " (there is no such key)");
	if (res->err == RFS_EPRECONDITION)
		why = "it is not so";
	else if (res->err == -EINVAL)
		why = "another step changes this key, or one above or below it";
	else if (res->err == -ENOENT)
		why = "no such key";
	if (r->ctl->args.json)
		ctl_json_print(json_pack("{s:b, s:I, s:s, s:s}", "done", 0, "line",
		                         (json_int_t)r->lines[k], "step", r->texts[k], "error",
		                         why));
	return ctl_error(CTL_NO, "%s:%u: %s: %s%s; nothing was done", r->file, r->lines[k],
	                 r->texts[k], why, is);
}

static int carry_out(const struct reading *r)
{
	struct fs_op op = {.kind = FS_OP_TXN,
	                   .uid = geteuid(),
	                   .gid = getegid(),
	                   .data = r->steps.data,
	                   .data_len = (uint32_t)r->steps.len};
	struct ctl_call call = {0};
	int rc = ctl_do(r->ctl, &call, &op), status;

	if (rc == 0) {
		print_done(r, call.result.index);
		status = CTL_DONE;
	} else if (ctl_exit_of(rc) == CTL_NO && call.result.value != 0) {
		status = tell_failed(r, &call.result);
	} else {
		status = ctl_failed(r->ctl, "txn", rc, true);
	}
	ctl_call_end(&call);
	return status;
}

static int txn_run(struct ctl *ctl)
{
	struct reading *r = mem_zalloc(sizeof(*r));
	struct buf text;
	int status;

	r->ctl = ctl;
	buf_init(&r->steps);
	buf_init(&text);
	status = read_text(r, ctl->args.n_operands > 0 ? ctl->args.operands[0] : NULL, &text);
	if (status == CTL_DONE)
		status = parse_text(r, (char *)text.data);
	if (status == CTL_DONE)
		status = carry_out(r);
	for (size_t i = 0; i < r->n; i++)
		free(r->texts[i]);
	buf_free(&r->steps);
	buf_free(&text);
	free(r);
	return status;
}

static const char details[] =
        "Conditions and changes, a line each, from FILE or standard input; all changes are made if "
        "every condition\n"
        "holds, as one step that nobody sees half of, and none otherwise:\n"
        "\n"
        "  compare KEY version = N        N as 'get --json' tells it; 0: there is no such key\n"
        "  compare KEY value = \"text\"\n"
        "  compare KEY exists\n"
        "  compare KEY absent\n"
        "  set KEY VALUE\n"
        "  delete KEY\n"
        "\n"
        "Words are quoted as in the shell ('raftctl shell --help'); # begins a comment. No two "
        "changes "
        "may concern one\n"
        "key, or a key and one below it. At most 1,024 steps and 1 MiB.\n"
        "\n"
        "  printf 'compare lock absent\\nset lock me\\nset owner/me now\\n' | raftctl txn\n"
        "\n"
        "With --json: done, index and changes; or done, line, step and error.\n"
        "Exit codes: 0 done; 1 a condition does not hold or a change is not possible, and nothing "
        "was "
        "done; 2 usage;\n"
        "3 no answer from a quorum in time; 4 refused.\n";

const struct ctl_command cmd_txn = {
        .name = "txn",
        .operands = "[FILE|-]",
        .summary = "several changes under conditions, all or nothing",
        .details = details,
        .operands_min = 0,
        .operands_max = 1,
        .run = txn_run,
};

/* watch [PREFIX] */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../base/clock.h"
#include "commands.h"

struct watching {
	struct ctl *ctl;
	uint64_t left; /* changes still to be shown; UINT64_MAX: no end */
	bool allow_loss;
	bool heard, ended;
	int status;
};

static const char *kind_name(uint32_t kind)
{
	switch ((enum store_change_kind)kind) {
	case STORE_CHANGE_CREATE: return "create";
	case STORE_CHANGE_MODIFY: return "modify";
	case STORE_CHANGE_REMOVE: return "remove";
	case STORE_CHANGE_RENAME: return "rename";
	}
	return "change"; /* of a kind that is newer than this program */
}

static void print_text(const struct wire_event *e)
{
	struct buf b;

	buf_init(&b);
	buf_printf(&b, "%" PRIu64 " %s ", e->index, kind_name(e->kind));
	if (e->old_path.len > 0) {
		text_put_escaped(&b, e->old_path.p, e->old_path.len);
		buf_printf(&b, " -> ");
	}
	if (e->path.len > 0)
		text_put_escaped(&b, e->path.p, e->path.len);
	else
		buf_printf(&b, "(inode %" PRIu64 ")", e->ino);
	buf_printf(&b, " v%" PRIu64 "\n", e->version);
	(void)fwrite(b.data, 1, b.len, stdout);
	buf_free(&b);
}

static void print_json_line(json_t *o)
{
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	(void)fputc('\n', stdout);
	json_decref(o);
}

static void print_json(const struct wire_event *e)
{
	json_t *o = json_object();

	(void)json_object_set_new(o, "index", json_integer((json_int_t)e->index));
	(void)json_object_set_new(o, "kind", json_string(kind_name(e->kind)));
	if (e->path.len > 0)
		ctl_json_set_bytes(o, "key", e->path.p, e->path.len);
	if (e->old_path.len > 0)
		ctl_json_set_bytes(o, "old_key", e->old_path.p, e->old_path.len);
	(void)json_object_set_new(o, "version", json_integer((json_int_t)e->version));
	(void)json_object_set_new(o, "inode", json_integer((json_int_t)e->ino));
	print_json_line(o);
}

static void tell_lost(struct watching *w, const struct wire_events *ev)
{
	if (w->ctl->args.json)
		print_json_line(json_pack("{s:I, s:I}", "lost_from", (json_int_t)ev->lost_from,
		                          "lost_to", (json_int_t)ev->lost_to));
	(void)ctl_error(CTL_NO,
	                "changes from %" PRIu64 " to %" PRIu64
	                " are lost: no node that answers has "
	                "them any more",
	                ev->lost_from, ev->lost_to);
	if (w->allow_loss)
		return;
	(void)ctl_error(CTL_NO,
	                "read the keys as they are now ('raftctl show'), then go on with: raftctl "
	                "watch --from %" PRIu64,
	                ev->lost_to + 1);
	w->status = CTL_NO;
	w->ended = true;
}

static void on_events(void *ctx, const struct wire_events *ev)
{
	struct watching *w = ctx;

	w->heard = true;
	if (w->ended)
		return;
	if (ev->lost_to != 0) {
		tell_lost(w, ev);
		return;
	}
	for (size_t i = 0; i < ev->n && w->left > 0; i++) {
		if (w->ctl->args.json)
			print_json(&ev->events[i]);
		else
			print_text(&ev->events[i]);
		w->left -= w->left != UINT64_MAX;
	}
	if (ev->n > 0 && fflush(stdout) != 0) { /* `raftctl watch | head` */
		ctl_note_stdout_error();
		w->ended = true;
	}
	w->ended = w->ended || w->left == 0;
}

/* A whole number from 1 on; 0 when it is none. */
static uint64_t number_of(const char *text)
{
	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 19)
		return 0;
	return strtoull(text, NULL, 10);
}

static int take_number(const struct ctl *ctl, const char *name, uint64_t *out)
{
	const char *text = ctl_args_option(&ctl->args, name);

	if (text == NULL)
		return CTL_DONE;
	*out = number_of(text);
	if (*out != 0)
		return CTL_DONE;
	return ctl_error(CTL_USAGE, "watch: --%s %s: must be a number from 1 on", name, text);
}

/* Until the first node has answered, as long as any call waits; then without an end. */
static int follow(struct ctl *ctl, struct watching *w, const struct client_watch_opts *opts)
{
	uint64_t give_up_ms = clock_mono_ms() + ctl->timeout_ms;
	struct client_watch *watch = client_watch(ctl->client, opts, on_events, w);
	struct client_info info;

	while (!w->ended && !ctl_interrupted() && (w->heard || clock_mono_ms() < give_up_ms))
		ctl_turn(ctl, 1000);
	client_watch_end(watch);
	if (w->heard)
		return w->status;
	client_get_info(ctl->client, &info);
	return ctl_error(CTL_NO_ANSWER,
	                 "no node has answered within %g s%s%s%s\n'raftctl status' shows which "
	                 "nodes are up.",
	                 (double)ctl->timeout_ms / 1000, info.last_error[0] != '\0' ? " (" : "",
	                 info.last_error, info.last_error[0] != '\0' ? ")" : "");
}

static int watch_run(struct ctl *ctl)
{
	const char *prefix = ctl->args.n_operands > 0 ? ctl->args.operands[0] : "";
	struct watching w = {
	        .ctl = ctl,
	        .left = UINT64_MAX,
	        .allow_loss = ctl_args_option(&ctl->args, "allow-loss") != NULL,
	};
	struct client_watch_opts opts = {0};

	prefix += prefix[0] == '/';
	if (strlen(prefix) > FS_PATH_BYTES_MAX)
		return ctl_error(CTL_USAGE, "watch: a prefix has at most %u bytes",
		                 FS_PATH_BYTES_MAX);
	opts.prefix = fs_str_of(prefix);
	if (take_number(ctl, "from", &opts.from_index) != CTL_DONE ||
	    take_number(ctl, "count", &w.left) != CTL_DONE)
		return CTL_USAGE;
	return follow(ctl, &w, &opts);
}

static const struct ctl_option options[] = {
        {"from", "INDEX", "begin with the changes of this log index (default: from now on)"},
        {"count", "N", "end after so many changes"},
        {"allow-loss", NULL, "where changes are lost, say so and go on"},
        {0},
};

static const char details[] =
        "A line a change, as it is committed, each once and in order, until Ctrl-C:\n"
        "\n"
        "  INDEX create|modify|remove KEY vVERSION\n"
        "  INDEX rename OLD -> NEW vVERSION\n"
        "\n"
        "INDEX is that of the log entry, VERSION what the key's version is after it. Changes of "
        "one "
        "entry have one\n"
        "index. A directory that is renamed is one line. PREFIX is the beginning of a key, as with "
        "show.\n"
        "Any node can tell; when one dies or is cut off, another one goes on where it ended. To go "
        "on another time,\n"
        "give --from the last index and one more. Nodes keep some ten thousand changes, and what "
        "their logs still\n"
        "have; asked for older ones, watch says which are lost and ends. With --json: an object a "
        "line with index,\n"
        "kind, key, old_key (of a rename), version, inode; or lost_from and lost_to.\n"
        "\n"
        "  raftctl watch app/ --json\n"
        "  raftctl watch --from 1200\n"
        "\n"
        "Exit codes: 0 ended by --count or Ctrl-C in the shell; 1 changes are lost; 2 usage; 3 no "
        "node answers.\n";

const struct ctl_command cmd_watch = {
        .name = "watch",
        .operands = "[PREFIX]",
        .summary = "print changes as they happen",
        .details = details,
        .operands_min = 0,
        .operands_max = 1,
        .options = options,
        .run = watch_run,
};

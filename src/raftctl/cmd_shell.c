/* The shell: `raftctl` without a command. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/clock.h"
#include "../base/mem.h"
#include "commands.h"
#include "shell.h"

#define CHOSEN_UP_MS 2000u

/* ---- the chosen node ---- */

/* Whether the client in use knows this very node: then it goes on, with its session. */
static bool is_known(struct ctl *ctl, const struct config_node *at)
{
	struct client_info info;

	if (ctl->client == NULL)
		return false;
	client_get_info(ctl->client, &info);
	for (size_t i = 0; i < info.n_nodes; i++) {
		const struct config_node *n = &info.nodes[i];

		if (n->id == at->id && n->port == at->port && strcmp(n->host, at->host) == 0)
			return true;
	}
	return false;
}

/* Another cluster, for all we know. */
static int open_afresh(struct shell *sh, struct rfs_err *err)
{
	struct ctl *ctl = sh->ctl;

	if (ctl->client != NULL)
		ctl_close(ctl);
	sh->base.cluster = NULL;
	sh->base.endpoints[0] = sh->chosen_text;
	sh->base.n_endpoints = 1;
	memcpy(ctl->args.endpoints, sh->base.endpoints, sizeof(sh->base.endpoints));
	ctl->args.cluster = NULL;
	ctl->args.n_endpoints = 1;
	return ctl_open(ctl, err);
}

/* So that surveys need no answer of the chosen node to know of the others. */
static void use_known(struct ctl *ctl, const struct client_info *info)
{
	ctl->n_nodes = info->n_nodes;
	memcpy(ctl->nodes, info->nodes, sizeof(ctl->nodes));
}

int shell_choose(struct shell *sh, const struct config_node *at, struct rfs_err *err)
{
	struct ctl *ctl = sh->ctl;
	uint64_t give_up_ms = clock_mono_ms() + CHOSEN_UP_MS;
	struct client_info info;
	bool known = is_known(ctl, at);

	sh->chosen = *at;
	sh->passed_on_to = 0;
	config_format_endpoint(at->host, at->port, sh->chosen_text, sizeof(sh->chosen_text));
	if (!known && open_afresh(sh, err) != 0) {
		sh->chosen.port = 0;
		return err->code;
	}
	client_choose(ctl->client, at);
	do {
		ctl_turn(ctl, 10);
		client_get_info(ctl->client, &info);
	} while (!info.chosen_ready && clock_mono_ms() < give_up_ms && !ctl_interrupted());
	sh->passed_on = info.passed_on;
	if (info.chosen_ready) {
		if (!known)
			use_known(ctl, &info);
		return 0;
	}
	sh->chosen.port = 0;
	client_choose(ctl->client, NULL);
	return rfs_err_set(err, -ETIMEDOUT, "%s: no connection in time", sh->chosen_text);
}

/* Who was asked in place of the chosen node; once, until that changes. */
static void tell_passed_on(struct shell *sh)
{
	struct client_info info;

	client_get_info(sh->ctl->client, &info);
	if (info.passed_on == sh->passed_on)
		return;
	sh->passed_on = info.passed_on;
	if (info.leader == 0 || info.leader == sh->chosen.id ||
	    (info.leader == sh->passed_on_to && strcmp(info.passed_on_why, sh->passed_on_why) == 0))
		return;
	sh->passed_on_to = info.leader;
	memcpy(sh->passed_on_why, info.passed_on_why, sizeof(sh->passed_on_why));
	(void)ctl_error(CTL_DONE, "%s, asked node %" PRIu64 " at %s (said once)",
	                info.passed_on_why, info.leader, info.leader_address);
}

void shell_look(struct shell *sh)
{
	struct ctl *ctl = sh->ctl;
	struct client_info info;

	if (sh->chosen.port == 0 || ctl->client == NULL)
		return;
	(void)uv_run(ctl->loop, UV_RUN_NOWAIT);
	tell_passed_on(sh);
	client_get_info(ctl->client, &info);
	if (info.chosen != 0)
		return;
	(void)ctl_error(CTL_NO_ANSWER,
	                "the connection to %s is lost; going on with the other nodes of the "
	                "cluster ('connect' chooses one)",
	                sh->chosen_text);
	sh->chosen.port = 0;
	use_known(ctl, &info);
}

/* ---- one line ---- */

/* The words that are the shell's own. */
static bool is_quit(const char *word)
{
	return strcmp(word, "quit") == 0 || strcmp(word, "exit") == 0;
}

static void help(const struct ctl_command *command)
{
	ctl_help(command);
	if (command == NULL)
		(void)printf("\nIn the shell also: help [COMMAND], quit (or exit, or Ctrl-D).\n");
}

/* A line that names a cluster of its own is run as if it stood alone. */
static int run_elsewhere(const struct ctl_args *args)
{
	struct ctl *other = mem_zalloc(sizeof(*other));
	int status;

	other->args = *args;
	status = ctl_run(other);
	free(other);
	return status;
}

static int run_args(struct shell *sh, struct ctl_args *args)
{
	struct ctl *ctl = sh->ctl;
	int status;

	args->json = args->json || sh->base.json;
	if (args->timeout_ms == 0)
		args->timeout_ms = sh->base.timeout_ms;
	if (args->tls.ca == NULL && args->tls.cert == NULL && args->tls.key == NULL)
		args->tls = sh->base.tls;
	if (args->cluster != NULL || args->n_endpoints > 0)
		return run_elsewhere(args);
	args->cluster = sh->base.cluster;
	args->n_endpoints = sh->base.n_endpoints;
	memcpy(args->endpoints, sh->base.endpoints, sizeof(args->endpoints));
	ctl->args = *args;
	shell_look(sh);
	status = ctl_run(ctl);
	shell_look(sh);
	if (ctl->client != NULL)
		ctl_surveys_prune(ctl);
	return status;
}

static const char quit_help[] = "usage: quit\n\nleave the shell, as do exit and Ctrl-D.\n";

static int run_quit(struct shell *sh, const struct words *w)
{
	if (w->n > 1 && strcmp(w->at[1], "--help") == 0) {
		(void)fputs(quit_help, stdout);
		return CTL_DONE;
	}
	if (w->n > 1)
		return ctl_error(CTL_USAGE, "too many arguments; usage: %s", w->at[0]);
	sh->ended = true;
	return CTL_DONE;
}

static int run_words(struct shell *sh, struct words *w)
{
	char *argv[SHELL_WORDS_MAX + 2] = {"raftctl"};
	struct ctl_args args;
	struct rfs_err err = {0};

	if (is_quit(w->at[0]))
		return run_quit(sh, w);
	if (w->n == 2 && strcmp(w->at[0], "help") == 0 && is_quit(w->at[1])) {
		(void)fputs(quit_help, stdout);
		return CTL_DONE;
	}
	memcpy(argv + 1, w->at, w->n * sizeof(*argv));
	if (ctl_args_parse(&args, (int)w->n + 1, argv, &err) != 0)
		return ctl_error(CTL_USAGE, "%s ('help' lists the commands)", err.msg);
	if (args.help) {
		help(args.command);
		return CTL_DONE;
	}
	if (args.version) {
		(void)puts("raftctl " RAFTFS_VERSION);
		return CTL_DONE;
	}
	if (args.command == &cmd_shell)
		return ctl_error(CTL_USAGE, "which command? ('help' lists them)");
	return run_args(sh, &args);
}

static int run_line(struct shell *sh, const char *line)
{
	char place[32];
	struct words w;
	struct rfs_err err = {0};
	int status = CTL_DONE;

	sh->line++;
	(void)snprintf(place, sizeof(place), "line %u", sh->line);
	ctl_set_place(sh->person ? NULL : place);
	if (words_split(&w, line, &err) != 0) {
		status = ctl_error(CTL_USAGE, "%s", err.msg);
	} else {
		if (w.n > 0)
			status = run_words(sh, &w);
		words_free(&w);
	}
	(void)fflush(stdout);
	ctl_set_place(NULL);
	return status;
}

/* ---- lines ---- */

static void converse(struct shell *sh)
{
	struct edit *e = edit_new(sh);
	const char *line;
	bool interrupted;

	(void)ctl_catch_interrupts();
	while (!sh->ended && (line = edit_line(e, &interrupted)) != NULL) {
		ctl_forget_interrupt();
		if (!interrupted)
			(void)run_line(sh, line);
		ctl_forget_interrupt();
	}
	edit_free(e);
}

/* What was read of the script and is not run yet. Read by hand: stdio would hide from
 * ctl_wait_readable() what it has read already. */
struct script {
	struct buf bytes;
	size_t taken;
	bool end;
};

/* The next line, terminated; NULL at the end, or when a line has no end in sight (`err`). */
static char *next_line(struct shell *sh, struct script *sc, struct rfs_err *err)
{
	for (;;) {
		char *from = (char *)sc->bytes.data + sc->taken;
		size_t left = sc->bytes.len - sc->taken;
		char *newline = left > 0 ? memchr(from, '\n', left) : NULL;
		ssize_t n;

		if (newline == NULL && sc->end && left > 0) {
			buf_put_u8(&sc->bytes, '\n');
			continue;
		}
		if (newline != NULL) {
			*newline = '\0';
			sc->taken += (size_t)(newline - from) + 1;
			return from;
		}
		if (sc->end)
			return NULL;
		buf_consume(&sc->bytes, sc->taken);
		sc->taken = 0;
		if (left > SHELL_LINE_BYTES_MAX) {
			(void)rfs_err_set(err, -EFBIG,
			                  "longer than %u bytes; use: set KEY --file FILE",
			                  SHELL_LINE_BYTES_MAX);
			return NULL;
		}
		if (sh->ctl->client != NULL)
			ctl_wait_readable(sh->ctl, STDIN_FILENO);
		n = read(STDIN_FILENO, buf_reserve(&sc->bytes, 65536), 65536);
		if (n < 0 && errno != EINTR && errno != EAGAIN) {
			(void)rfs_err_set(err, -errno, "standard input: %s", rfs_strerror(-errno));
			return NULL;
		}
		sc->end = n == 0;
		sc->bytes.len += n > 0 ? (size_t)n : 0;
	}
}

static int run_script(struct shell *sh)
{
	struct script sc = {0};
	struct rfs_err err = {0};
	int first = CTL_DONE;
	char *line;

	buf_init(&sc.bytes);
	while (!sh->ended && (line = next_line(sh, &sc, &err)) != NULL) {
		int status = run_line(sh, line);

		if (first == CTL_DONE)
			first = status;
		if (status != CTL_DONE && !sh->keep_going)
			break;
	}
	buf_free(&sc.bytes);
	return err.code != 0 ? ctl_error(CTL_NO, "line %u: %s", sh->line + 1, err.msg) : first;
}

static int shell_run(struct ctl *ctl)
{
	struct shell sh = {
	        .ctl = ctl,
	        .base = ctl->args,
	        .person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
	        .keep_going = ctl_args_option(&ctl->args, "k") != NULL,
	};
	int status = CTL_DONE;

	ctl->shell = &sh;
	if (sh.person)
		converse(&sh);
	else
		status = run_script(&sh);
	if (ctl->client != NULL)
		ctl_close(ctl);
	ctl->shell = NULL;
	return status;
}

static const struct ctl_option options[] = {
        {"k", NULL, "go on behind a line that failed (lines from a pipe or file)"},
        {0},
};

static const char details[] =
        "Takes the commands of raftctl one a line, each with its own options; 'help' lists them. "
        "On "
        "a terminal\n"
        "with editing, history and completion of commands and keys (Tab); from a pipe or a file "
        "without a prompt,\n"
        "to the first line that fails. 'quoted' and \"quoted\" words may hold blanks; in \"\" \\n, "
        "\\t and \\xNN are\n"
        "those bytes; # begins a comment.\n"
        "\n"
        "  raftctl\n"
        "  raftctl> connect 127.0.0.1 7001       commands go to this node, until it dies\n"
        "  raftctl> getleader\n"
        "  raftctl> setval key1 100\n"
        "  raftctl> getval key1\n"
        "  raftctl> quit\n"
        "\n"
        "  printf 'set a 1\\nset b 2\\n' | raftctl\n"
        "\n"
        "Exit codes: from a terminal 0; else that of the first line that failed, or 0.\n";

const struct ctl_command cmd_shell = {
        .name = "shell",
        .operands = "",
        .summary = "take commands line by line (without a command: this)",
        .details = details,
        .options = options,
        .offline = true,
        .run = shell_run,
};

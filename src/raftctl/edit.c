/* Lines from a person: libedit, which waits for keys while the client's loop turns, so that the
 * session lives on during a pause for thought. */
#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>
#include "../base/mem.h"
#include "shell.h"

#define HISTORY_LINES    1000
#define COMPLETE_MS      700u /* for keys: Tab must not feel stuck */
#define CANDIDATES_MAX   2000u
#define CANDIDATES_SHOWN 200u
#define COLUMNS_DEFAULT  80

struct edit {
	struct shell *sh;
	EditLine *el;
	History *history;
	HistEvent event;
	char *history_path; /* NULL: none is kept */
	char *line;
};

/* ---- keys from the terminal ---- */

static void wait_for_key(struct shell *sh)
{
	struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};

	if (sh->ctl->client != NULL)
		ctl_wait_readable(sh->ctl, STDIN_FILENO);
	else
		(void)poll(&fd, 1, -1);
}

/* One character, of as many bytes as it has. 1, 0 at the end, -1 when Ctrl-C was pressed. */
static int get_char(EditLine *el, wchar_t *to)
{
	struct edit *e = NULL;
	mbstate_t state = {0};
	char c;

	(void)el_get(el, EL_CLIENTDATA, &e);
	for (;;) {
		ssize_t n;

		wait_for_key(e->sh);
		if (ctl_interrupted())
			return -1;
		n = read(STDIN_FILENO, &c, 1);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (n < 0)
			continue;
		switch (mbrtowc(to, &c, 1, &state)) {
		case (size_t)-2: break; /* more bytes belong to it */
		case (size_t)-1: state = (mbstate_t){0}; break;
		default: return 1;
		}
	}
}

/* ---- completion ---- */

struct candidates {
	char **names;
	size_t n, cap;
	const char *prefix; /* of a name */
	size_t prefix_len;
};

static void add_candidate(struct candidates *c, const char *name, size_t n, const char *end)
{
	struct buf b;

	if (n < c->prefix_len || memcmp(name, c->prefix, c->prefix_len) != 0 ||
	    c->n == CANDIDATES_MAX)
		return;
	buf_init(&b);
	buf_put(&b, name, n);
	buf_put(&b, end, strlen(end) + 1);
	c->names = mem_grow(c->names, &c->cap, c->n + 1, sizeof(*c->names));
	c->names[c->n++] = (char *)b.data;
}

static int take_dirent(void *ctx, const struct fs_dirent *d)
{
	struct candidates *c = ctx;

	/* A name that would do something to the terminal is left to be typed. */
	if (!text_is_utf8(d->name.p, d->name.len) || memchr(d->name.p, '\x1b', d->name.len) != NULL)
		return 0;
	add_candidate(c, d->name.p, d->name.len, S_ISDIR(d->attr.mode) ? "/" : "");
	return c->n == CANDIDATES_MAX;
}

static void complete_command(struct candidates *c)
{
	static const char *const own[] = {"help", "quit", "exit"};

	for (size_t i = 0; ctl_commands[i] != NULL; i++)
		add_candidate(c, ctl_commands[i]->name, strlen(ctl_commands[i]->name), "");
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		add_candidate(c, own[i], strlen(own[i]), "");
}

/* The first word of the line. */
static const struct ctl_command *command_of(const char *line)
{
	size_t skip = strspn(line, " \t"), n = strcspn(line + skip, " \t");
	char *name = mem_strndup(line + skip, n);
	const struct ctl_command *c = ctl_command_by_name(name);

	free(name);
	return c;
}

static bool is_help(const char *line)
{
	line += strspn(line, " \t");
	return strncmp(line, "help", 4) == 0 && strchr(" \t", line[4]) != NULL;
}

static void complete_option(struct candidates *c, const struct ctl_command *command)
{
	static const char *const common[] = {"--json", "--timeout", "--help"};

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		add_candidate(c, common[i], strlen(common[i]), "");
	for (size_t i = 0;
	     command != NULL && command->options != NULL && command->options[i].name != NULL; i++) {
		char text[64];
		int n = snprintf(text, sizeof(text), "--%s", command->options[i].name);

		if (command->options[i].name[1] != '\0')
			add_candidate(c, text, (size_t)n, "");
	}
}

/* What comes second behind a command that is several, by how its usage has them: "start|stop|restart
 * ID|status". False: this one is not. */
static bool complete_verb(struct candidates *c, const struct ctl_command *command)
{
	const char *at = command != NULL ? command->operands : "";
	bool any = false;

	while (*at != '\0') {
		size_t n;

		at += strspn(at, " |");
		n = strspn(at, "abcdefghijklmnopqrstuvwxyz-");
		if (n > 1)
			add_candidate(c, at, n, "");
		any = any || n > 1;
		at += strcspn(at, "|");
	}
	return any;
}

/* The entries of the directory in front of the word's last slash. */
static void complete_key(struct shell *sh, struct candidates *c, const char *word)
{
	struct ctl *ctl = sh->ctl;
	uint64_t timeout_ms = ctl->timeout_ms;
	const char *slash = strrchr(word, '/');
	struct fs_attr dir;
	struct rfs_err err = {0};

	if (ctl->client == NULL) {
		ctl->args = sh->base;
		if (ctl_open(ctl, &err) != 0)
			return;
	}
	ctl->timeout_ms = COMPLETE_MS;
	c->prefix = slash != NULL ? slash + 1 : word;
	c->prefix_len = strlen(c->prefix);
	if (ctl_resolve(ctl, word, slash != NULL ? (size_t)(slash - word) : 0, &dir) == 0 &&
	    S_ISDIR(dir.mode))
		(void)ctl_list_dir(ctl, dir.ino, take_dirent, c);
	ctl->timeout_ms = timeout_ms;
}

static size_t common_length(const struct candidates *c)
{
	size_t n = strlen(c->names[0]);

	for (size_t i = 1; i < c->n; i++) {
		size_t k = 0;

		while (k < n && c->names[i][k] == c->names[0][k])
			k++;
		n = k;
	}
	/* not in the middle of a character */
	while (n > 0 && ((unsigned char)c->names[0][n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* What is missing of the word, with a backslash where the shell needs one. */
static void insert(EditLine *el, const char *text, size_t n, const char *end)
{
	struct buf b;

	buf_init(&b);
	for (size_t i = 0; i < n; i++) {
		if (strchr(" \t\"'\\#", text[i]) != NULL)
			buf_put_u8(&b, '\\');
		buf_put_u8(&b, (uint8_t)text[i]);
	}
	buf_put(&b, end, strlen(end) + 1);
	(void)el_insertstr(el, (const char *)b.data);
	buf_free(&b);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show(const struct candidates *c)
{
	size_t width = 0, columns, shown = c->n < CANDIDATES_SHOWN ? c->n : CANDIDATES_SHOWN;

	qsort(c->names, c->n, sizeof(*c->names), by_name);
	for (size_t i = 0; i < shown; i++)
		if (strlen(c->names[i]) > width)
			width = strlen(c->names[i]);
	columns = width + 2 < COLUMNS_DEFAULT ? COLUMNS_DEFAULT / (width + 2) : 1;
	for (size_t i = 0; i < shown; i++)
		(void)printf("%s%-*s", i % columns == 0 ? "\n" : "", (int)width + 2, c->names[i]);
	if (shown < c->n)
		(void)printf("\n… and %zu more", c->n - shown);
	(void)printf("\n");
	(void)fflush(stdout);
}

static unsigned char offer(EditLine *el, struct candidates *c)
{
	size_t n;

	if (c->n == 0)
		return CC_REFRESH_BEEP;
	n = common_length(c);
	if (c->n == 1) {
		bool dir = c->names[0][n - 1] == '/';

		insert(el, c->names[0] + c->prefix_len, n - c->prefix_len, dir ? "" : " ");
		return CC_REFRESH;
	}
	if (n > c->prefix_len) {
		insert(el, c->names[0] + c->prefix_len, n - c->prefix_len, "");
		return CC_REFRESH;
	}
	show(c);
	return CC_REDISPLAY;
}

static unsigned char complete(EditLine *el, int ch)
{
	const LineInfo *line = el_line(el);
	const char *start = line->cursor;
	struct candidates c = {0};
	struct edit *e = NULL;
	unsigned char result;
	char *word;

	(void)ch;
	(void)el_get(el, EL_CLIENTDATA, &e);
	while (start > line->buffer && strchr(" \t", start[-1]) == NULL)
		start--;
	word = mem_strndup(start, (size_t)(line->cursor - start));
	c.prefix = word;
	c.prefix_len = strlen(word);
	if (strpbrk(word, "\"'\\") != NULL)
		;
	else if (strspn(line->buffer, " \t") >= (size_t)(start - line->buffer))
		complete_command(&c);
	else if (word[0] == '-')
		complete_option(&c, command_of(line->buffer));
	else if (is_help(line->buffer))
		complete_command(&c);
	else if (!complete_verb(&c, command_of(line->buffer)))
		complete_key(e->sh, &c, word);
	result = offer(el, &c);
	for (size_t i = 0; i < c.n; i++)
		free(c.names[i]);
	free(c.names);
	free(word);
	return result;
}

/* ---- history ---- */

/* $XDG_STATE_HOME/raftctl_history or ~/.raftctl_history; free() it. NULL: there is no place. */
static char *find_history(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool has_state = state != NULL && state[0] == '/';
	struct buf b;

	if (!has_state && (home == NULL || home[0] != '/'))
		return NULL;
	buf_init(&b);
	buf_printf(&b, "%s/%sraftctl_history", has_state ? state : home, has_state ? "" : ".");
	buf_put_u8(&b, 0);
	return (char *)b.data;
}

/* Values stand in it: nobody else's business. */
static void save_history(struct edit *e)
{
	int fd;
	FILE *f;

	if (e->history_path == NULL)
		return;
	fd = open(e->history_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	(void)history(e->history, &e->event, H_SAVE_FP, f);
	(void)fclose(f);
}

/* ---- life ---- */

static char *prompt(EditLine *el)
{
	static char text[CONFIG_HOST_MAX + 40];
	struct edit *e = NULL;

	(void)el_get(el, EL_CLIENTDATA, &e);
	(void)snprintf(text, sizeof(text), "raftctl%s%s> ", e->sh->chosen.port != 0 ? " " : "",
	               e->sh->chosen.port != 0 ? e->sh->chosen_text : "");
	return text;
}

struct edit *edit_new(struct shell *sh)
{
	struct edit *e = mem_zalloc(sizeof(*e));

	(void)setlocale(LC_CTYPE, "");
	e->sh = sh;
	e->el = el_init("raftctl", stdin, stdout, stderr);
	e->history = history_init();
	e->history_path = find_history();
	(void)history(e->history, &e->event, H_SETSIZE, HISTORY_LINES);
	(void)history(e->history, &e->event, H_SETUNIQUE, 1);
	if (e->history_path != NULL)
		(void)history(e->history, &e->event, H_LOAD, e->history_path);
	(void)el_set(e->el, EL_CLIENTDATA, e);
	(void)el_set(e->el, EL_PROMPT, prompt);
	(void)el_set(e->el, EL_EDITOR, "emacs");
	(void)el_set(e->el, EL_HIST, history, e->history);
	(void)el_set(e->el, EL_GETCFN, get_char);
	/* the wide form: the other one makes copies that el_end() forgets */
	(void)el_wset(e->el, EL_ADDFN, L"raftctl-complete", L"complete a command or a key",
	              complete);
	(void)el_set(e->el, EL_BIND, "^I", "raftctl-complete", NULL);
	(void)el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	(void)el_source(e->el, NULL); /* ~/.editrc */
	return e;
}

const char *edit_line(struct edit *e, bool *interrupted)
{
	const char *got;
	int n = 0;

	*interrupted = false;
	free(e->line);
	e->line = NULL;
	got = el_gets(e->el, &n);
	if (ctl_interrupted()) {
		*interrupted = true;
		el_reset(e->el);
		(void)puts("^C");
		return "";
	}
	if (got == NULL || n <= 0) {
		(void)putchar('\n');
		return NULL;
	}
	e->line = mem_strndup(got, strcspn(got, "\n"));
	/* As in other shells, a line that begins with a blank is not remembered. */
	if (e->line[0] != '\0' && e->line[0] != ' ')
		(void)history(e->history, &e->event, H_ENTER, e->line);
	return e->line;
}

void edit_free(struct edit *e)
{
	save_history(e);
	history_end(e->history);
	el_end(e->el);
	free(e->history_path);
	free(e->line);
	free(e);
}

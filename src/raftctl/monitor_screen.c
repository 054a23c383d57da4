/* The monitor's picture, live on a terminal. Everything is drawn anew from the picture at each
 * change and each resize; what does not fit is left out from the right and from below, events
 * first. */
#include <curses.h>
#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>
#include "monitor.h"

#define WAIT_MS             250
#define SUSPEND_MS_DEFAULT  5000u
#define SUSPEND_SECONDS_MAX 3600u
#define ADMIN_MS            10000u
#define WIDE_COLUMNS        110 /* from here on there is room for more columns */

enum asking { ASK_NOTHING, ASK_TRANSFER, ASK_SUSPEND };

struct screen {
	struct monitor *m;
	bool utf8, colour, ended, paused;
	raft_id chosen; /* the node that keys are about; 0: none yet */
	enum asking asking;
	uint64_t seconds;       /* being typed */
	struct errand *errands; /* not answered */
};

enum { PAIR_GOOD = 1, PAIR_BAD, PAIR_WARN, PAIR_DIM };

/* ---- pieces ---- */

/* How many bytes of `text` take at most so many columns, where each character takes one. */
static int bytes_of(const char *text, int columns)
{
	int n = 0;

	for (; text[n] != '\0'; n++) {
		bool begins = ((unsigned char)text[n] & 0xc0) != 0x80;

		if (begins && columns-- == 0)
			break;
	}
	return n;
}

static void put(int y, int x, attr_t attributes, const char *text)
{
	if (y < 0 || y >= LINES || x >= COLS)
		return;
	(void)attrset((int)attributes);
	(void)mvaddnstr(y, x, text, bytes_of(text, COLS - x));
	(void)attrset((int)A_NORMAL);
}

static attr_t paint(const struct screen *sc, int pair, attr_t otherwise)
{
	return sc->colour ? (attr_t)COLOR_PAIR(pair) : otherwise;
}

/* A bar chart of one line, the latest value at its right end. */
static void put_spark(struct screen *sc, int y, int x, int width,
                      double (*value)(const struct monitor_sample *))
{
	static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const signs[] = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
	double most = 0;

	for (int i = 0; i < width; i++) {
		const struct monitor_sample *s = monitor_sample(sc->m, (size_t)i);

		if (s != NULL && value(s) > most)
			most = value(s);
	}
	for (int i = 0; i < width; i++) {
		const struct monitor_sample *s = monitor_sample(sc->m, (size_t)(width - 1 - i));
		double v = s != NULL ? value(s) : 0;
		int level = v <= 0 ? 0 : 1 + (int)(v / most * 7 + 0.5);

		level = level > 8 ? 8 : level;
		put(y, x + i, paint(sc, PAIR_GOOD, A_NORMAL),
		    sc->utf8 ? blocks[level] : signs[level]);
	}
}

static double writes_of(const struct monitor_sample *s)
{
	return s->writes;
}

static double reads_of(const struct monitor_sample *s)
{
	return s->reads;
}

static double p99_of(const struct monitor_sample *s)
{
	return (double)s->p99_us;
}

/* ---- the parts of the screen ---- */

static void draw_title(struct screen *sc)
{
	const struct monitor *m = sc->m;
	char text[512], when[16];
	time_t now = time(NULL);
	struct tm tm;

	if (m->leader != 0)
		(void)snprintf(text, sizeof(text),
		               " raftfs %s   %zu of %zu nodes up   leader %" PRIu64
		               ", term %" PRIu64 "   commit %" PRIu64 "%s",
		               m->cluster, m->up, m->n, m->leader, m->term, m->commit,
		               sc->paused ? "   PAUSED" : "");
	else
		(void)snprintf(text, sizeof(text), " raftfs %s   %zu of %zu nodes up   NO LEADER%s",
		               m->cluster, m->up, m->n, sc->paused ? "   PAUSED" : "");
	(void)attrset((int)A_REVERSE);
	(void)mvhline(0, 0, ' ', COLS);
	(void)attrset((int)A_NORMAL);
	put(0, 0, A_REVERSE, text);
	(void)localtime_r(&now, &tm);
	(void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
	if ((int)strlen(text) + 12 < COLS)
		put(0, COLS - 9, A_REVERSE, when);
}

static attr_t role_paint(const struct screen *sc, const struct monitor_node *n)
{
	if (!n->up)
		return paint(sc, PAIR_BAD, A_BOLD);
	if (strcmp(n->now.role, "leader") == 0)
		return paint(sc, PAIR_GOOD, A_BOLD) | A_BOLD;
	return strcmp(n->now.role, "follower") == 0 ? A_NORMAL : paint(sc, PAIR_WARN, A_BOLD);
}

static void draw_node(struct screen *sc, int y, const struct monitor_node *n, int address)
{
	const struct wire_status *st = &n->now;
	attr_t base = n->id == sc->chosen ? A_REVERSE : A_NORMAL;
	char text[512], lag[24], disk[16];

	(void)attrset((int)base);
	(void)mvhline(y, 0, ' ', COLS);
	(void)attrset((int)A_NORMAL);
	(void)snprintf(text, sizeof(text), "%3" PRIu64 " %-*.*s ", n->id, address, address,
	               n->address);
	put(y, 0, base, text);
	(void)snprintf(text, sizeof(text), "%-9.9s", monitor_role(n));
	put(y, address + 5, base | role_paint(sc, n), text);
	if (!n->up) {
		put(y, address + 15, base | paint(sc, PAIR_BAD, A_NORMAL), n->why);
		return;
	}
	monitor_lag(sc->m, n, lag, sizeof(lag));
	monitor_bytes(st->log_bytes + st->store_bytes, disk, sizeof(disk));
	(void)snprintf(text, sizeof(text),
	               "%4" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64 " %5s %5s %4" PRIu64,
	               st->term, st->last, st->commit, st->applied, lag, disk, st->clients);
	put(y, address + 15, base, text);
	if (COLS < WIDE_COLUMNS)
		return;
	(void)snprintf(text, sizeof(text), "%8" PRIu64 " %9" PRIu64 " %9" PRIu64 "s  %-10.10s",
	               st->sessions, st->inodes, st->uptime_ms / 1000, st->version);
	put(y, address + 64, base, text);
}

static int draw_nodes(struct screen *sc, int y, int room)
{
	const struct monitor *m = sc->m;
	int address = COLS < WIDE_COLUMNS ? COLS - 64 : 24;
	char text[256];
	size_t shown = (size_t)(room > 1 ? room - 1 : 0);

	address = address < 9 ? 9 : address > 24 ? 24 : address;
	(void)snprintf(text, sizeof(text), " id %-*s %-9s %4s %8s %8s %8s %5s %5s %4s", address,
	               "address", "role", "term", "last", "commit", "applied", "lag", "disk",
	               "conn");
	put(y, 0, A_BOLD, text);
	if (COLS >= WIDE_COLUMNS)
		put(y, address + 64, A_BOLD, "sessions    inodes    uptime  version");
	for (size_t i = 0; i < m->n && i < shown; i++)
		draw_node(sc, ++y, &m->nodes[i], address);
	if (m->n > shown)
		put(y, COLS - 10, paint(sc, PAIR_DIM, A_DIM), "... more");
	return y + 1;
}

static void draw_chart(struct screen *sc, int y, const char *name, const char *value,
                       double (*of)(const struct monitor_sample *))
{
	char text[64];

	(void)snprintf(text, sizeof(text), " %-12s %10s ", name, value);
	put(y, 0, A_NORMAL, text);
	if (COLS > 30)
		put_spark(sc, y, 25, COLS - 26, of);
}

static int draw_charts(struct screen *sc, int y)
{
	const struct monitor_sample *s = monitor_sample(sc->m, 0);
	char value[64], p50[24], p99[24];

	(void)snprintf(value, sizeof(value), "%.0f", s != NULL ? s->writes : 0);
	draw_chart(sc, y++, "writes/s", value, writes_of);
	(void)snprintf(value, sizeof(value), "%.0f", s != NULL ? s->reads : 0);
	draw_chart(sc, y++, "reads/s", value, reads_of);
	monitor_time(s != NULL ? s->p50_us : 0, false, p50, sizeof(p50));
	monitor_time(s != NULL ? s->p99_us : 0, false, p99, sizeof(p99));
	(void)snprintf(value, sizeof(value), "%s/%s", p50, p99);
	draw_chart(sc, y++, "p50/p99", value, p99_of);
	return y;
}

static void draw_events(struct screen *sc, int y, int end)
{
	const struct monitor_event *e;

	for (size_t i = 0; y < end && (e = monitor_event(sc->m, i)) != NULL; i++, y++) {
		char text[MONITOR_EVENT_BYTES + 32], when[16];
		struct tm tm;

		(void)localtime_r(&e->at, &tm);
		(void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
		(void)snprintf(text, sizeof(text), " %.15s %.199s", when, e->text);
		put(y, 0, i == 0 ? A_NORMAL : paint(sc, PAIR_DIM, A_NORMAL), text);
	}
}

static void draw_foot(struct screen *sc)
{
	char text[256];
	int y = LINES - 1;

	switch (sc->asking) {
	case ASK_NOTHING:
		(void)snprintf(
		        text, sizeof(text),
		        " q quit  up/down choose  t transfer leadership to it  s suspend it  "
		        "p pause");
		break;
	case ASK_TRANSFER:
		(void)snprintf(text, sizeof(text),
		               " Transfer the leadership to node %" PRIu64 "?  y yes, n no",
		               sc->chosen);
		break;
	case ASK_SUSPEND:
		(void)snprintf(text, sizeof(text),
		               " Suspend node %" PRIu64 " for how many seconds? %" PRIu64
		               "_  Enter, or Esc",
		               sc->chosen, sc->seconds);
		break;
	}
	(void)attrset((int)A_REVERSE);
	(void)mvhline(y, 0, ' ', COLS);
	(void)attrset((int)A_NORMAL);
	put(y, 0, A_REVERSE | (sc->asking != ASK_NOTHING ? A_BOLD : 0), text);
}

static void draw(struct screen *sc)
{
	int y;

	(void)erase();
	draw_title(sc);
	/* nodes have what charts (3), a line between, and the foot leave them */
	y = draw_nodes(sc, 1, LINES - 6);
	if (y + 4 < LINES)
		y = draw_charts(sc, y + 1);
	draw_events(sc, y + 1, LINES - 1);
	draw_foot(sc);
	(void)refresh();
}

/* ---- keys ---- */

static void choose(struct screen *sc, int step)
{
	const struct monitor *m = sc->m;
	size_t at = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->nodes[i].id == sc->chosen)
			at = i;
	if (m->n == 0)
		return;
	if (sc->chosen != 0)
		at = (at + m->n + (size_t)(step + (int)m->n)) % m->n;
	sc->chosen = m->nodes[at].id;
}

struct errand {
	struct screen *sc; /* NULL: gone */
	raft_id id;
	bool transfer;
	struct errand *prev, *next;
};

static void on_admin(void *ctx, int code, const char *text)
{
	struct errand *e = ctx;

	if (e->sc != NULL) {
		DL_DELETE(e->sc->errands, e);
		monitor_tell(e->sc->m, "%s node %" PRIu64 ": %s",
		             e->transfer ? "transfer to" : "suspend", e->id,
		             text[0] != '\0' ? text
		             : code == 0     ? "done"
		                             : rfs_strerror(code));
	}
	free(e);
}

/* What was asked for is sent if it can be; nobody waits for the answer. */
static void leave_errands(struct screen *sc)
{
	struct errand *e;

	if (sc->errands != NULL)
		(void)uv_run(sc->m->ctl->loop, UV_RUN_NOWAIT);
	while ((e = sc->errands) != NULL) {
		DL_DELETE(sc->errands, e);
		e->sc = NULL;
	}
}

static void send_errand(struct screen *sc, bool transfer)
{
	struct wire_admin what = {.kind = transfer ? WIRE_ADMIN_TRANSFER : WIRE_ADMIN_SUSPEND,
	                          .member = transfer ? sc->chosen : 0,
	                          .period_ms = sc->seconds * 1000};
	struct config_node at = {.id = sc->chosen};
	struct errand *e;

	for (size_t i = 0; i < sc->m->n; i++)
		if (sc->m->nodes[i].id == sc->chosen)
			(void)config_parse_endpoint(sc->m->nodes[i].address, at.host, &at.port);
	if (at.port == 0)
		return;
	e = malloc(sizeof(*e));
	if (e == NULL)
		return;
	*e = (struct errand){.sc = sc, .id = sc->chosen, .transfer = transfer};
	DL_APPEND(sc->errands, e);
	monitor_tell(sc->m,
	             transfer ? "asking for a transfer to node %" PRIu64
	                      : "asking node %" PRIu64 " to suspend",
	             sc->chosen);
	client_admin(sc->m->ctl->client, transfer ? NULL : &at, &what, ADMIN_MS, on_admin, e);
}

static void answer_key(struct screen *sc, int key)
{
	if (sc->asking == ASK_TRANSFER) {
		if (key == 'y' || key == 'Y' || key == '\n')
			send_errand(sc, true);
		sc->asking = ASK_NOTHING;
		return;
	}
	if (key >= '0' && key <= '9' && sc->seconds * 10 <= SUSPEND_SECONDS_MAX)
		sc->seconds = sc->seconds * 10 + (uint64_t)(key - '0');
	else if (key == KEY_BACKSPACE || key == 127 || key == '\b')
		sc->seconds /= 10;
	else if ((key == '\n' || key == KEY_ENTER) && sc->seconds > 0) {
		send_errand(sc, false);
		sc->asking = ASK_NOTHING;
	} else if (key == 27 || key == 'n' || key == 'q') {
		sc->asking = ASK_NOTHING;
	}
}

static void take_key(struct screen *sc, int key)
{
	if (key == KEY_RESIZE)
		return; /* ncurses knows the new size already */
	if (sc->asking != ASK_NOTHING) {
		answer_key(sc, key);
		return;
	}
	switch (key) {
	case 'q':
	case 'Q': sc->ended = true; break;
	case KEY_UP:
	case 'k': choose(sc, -1); break;
	case KEY_DOWN:
	case 'j':
	case '\t': choose(sc, 1); break;
	case 'p': sc->paused = !sc->paused; break;
	case 't':
	case 's':
		if (sc->chosen == 0)
			choose(sc, 0);
		sc->asking = key == 't' ? ASK_TRANSFER : ASK_SUSPEND;
		sc->seconds = SUSPEND_MS_DEFAULT / 1000;
		break;
	default: break;
	}
}

/* ---- the loop ---- */

static void wait_for_something(struct screen *sc)
{
	uv_loop_t *loop = sc->m->ctl->loop;
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
	                        {.fd = uv_backend_fd(loop), .events = POLLIN}};
	int ms = uv_backend_timeout(loop);

	(void)poll(fds, 2, ms < 0 || ms > WAIT_MS ? WAIT_MS : ms);
	if ((fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
		sc->ended = true; /* the terminal has gone */
	(void)uv_run(loop, UV_RUN_NOWAIT);
}

static void start_colours(struct screen *sc)
{
	sc->colour = has_colors() && getenv("NO_COLOR") == NULL;
	if (!sc->colour)
		return;
	(void)start_color();
	(void)use_default_colors();
	(void)init_pair(PAIR_GOOD, COLOR_GREEN, -1);
	(void)init_pair(PAIR_BAD, COLOR_RED, -1);
	(void)init_pair(PAIR_WARN, COLOR_YELLOW, -1);
	(void)init_pair(PAIR_DIM, COLOR_CYAN, -1);
}

static void follow(struct screen *sc)
{
	time_t drawn = 0;

	draw(sc);
	while (!sc->ended && !ctl_interrupted()) {
		bool changed = false;
		int key;

		wait_for_something(sc);
		while ((key = getch()) != ERR) {
			take_key(sc, key);
			changed = true;
		}
		if (!sc->paused)
			changed = monitor_work(sc->m) || changed;
		if (!changed && time(NULL) == drawn)
			continue;
		drawn = time(NULL);
		draw(sc);
	}
}

int monitor_screen(struct monitor *m)
{
	struct screen sc = {.m = m};
	SCREEN *terminal;

	(void)setlocale(LC_CTYPE, "");
	sc.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	terminal = monitor_can_draw() ? newterm(NULL, stdout, stdin) : NULL;
	if (terminal == NULL)
		return ctl_error(
		        CTL_USAGE,
		        "monitor: cannot draw on a terminal of type '%s' ($TERM); 'raftctl "
		        "monitor --once' prints text",
		        getenv("TERM") != NULL ? getenv("TERM") : "");
	(void)ctl_catch_interrupts();
	(void)cbreak();
	(void)noecho();
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)curs_set(0);
	set_escdelay(50);
	start_colours(&sc);
	follow(&sc);
	(void)endwin();
	delscreen(terminal);
	leave_errands(&sc);
	return CTL_DONE;
}

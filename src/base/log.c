#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Atomic(enum log_level) level_now = LOG_LEVEL_INFO;
static char name_now[64];
static void (*_Atomic tap_now)(enum log_level level, const char *text);
static bool journald;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char letters[] = "EWID";
static const char *const names[] = {"error", "warn", "info", "debug"};
/* syslog's priorities, which journald reads from the "<N>" in front of a line */
static const char priorities[] = "3467";

/* Is stderr the stream that journald opened for us? (systemd.exec(5), JOURNAL_STREAM) */
static void find_journald(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
		return;
	(void)snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	journald = strcmp(stream, here) == 0;
}

void log_set_level(enum log_level level)
{
	atomic_store(&level_now, level);
}

bool log_level_parse(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_name(const char *name)
{
	(void)snprintf(name_now, sizeof(name_now), "%s: ", name);
}

void log_set_tap(void (*tap)(enum log_level level, const char *text))
{
	atomic_store(&tap_now, tap);
}

bool log_enabled(enum log_level level)
{
	return level <= atomic_load(&level_now);
}

static int put_stamp(char *line, size_t size, enum log_level level)
{
	struct timespec ts;
	struct tm tm;
	char when[32];

	(void)pthread_once(&once, find_journald);
	if (journald)
		return snprintf(line, size, "<%c>", priorities[level]);
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)localtime_r(&ts.tv_sec, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	return snprintf(line, size, "%s.%03ld %c ", when, ts.tv_nsec / 1000000, letters[level]);
}

/* One write(2) a line, so that lines of several threads and processes never mix. */
void log_line(enum log_level level, const char *fmt, ...)
{
	void (*tap)(enum log_level level, const char *text) = atomic_load(&tap_now);
	char line[1400];
	size_t room = sizeof(line) - 1, len, text;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	n = put_stamp(line, room, level);
	len = n > 0 ? (size_t)n : 0;
	n = snprintf(line + len, room - len, "%s", name_now);
	len += n > 0 ? (size_t)n : 0;
	text = len;
	va_start(ap, fmt);
	n = vsnprintf(line + len, room - len, fmt, ap);
	va_end(ap);
	len += n > 0 ? (size_t)n : 0;
	if (len > room)
		len = room;
	for (size_t i = 0; i < len; i++)
		if (line[i] == '\n')
			line[i] = ' ';
	line[len] = '\0';
	if (tap != NULL)
		tap(level, line + text);
	line[len++] = '\n';
	/* Nobody is left to tell when stderr itself is gone. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

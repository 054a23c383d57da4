/* The program's diary: one line an event on stderr, made for a person or journald to read.
 *
 *   2026-11-20 12:00:01.123 I node 2: follower -> leader, term 7, 2 of 3 votes
 *
 * Under journald (JOURNAL_STREAM names stderr's file) a line starts with "<6>" and has no
 * timestamp, since the journal keeps its own. Any thread. */
#ifndef RFS_BASE_LOG_H
#define RFS_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);                    /* default LOG_LEVEL_INFO */
bool log_level_parse(const char *name, enum log_level *out); /* error warn info debug */
void log_set_name(const char *name); /* "raftd 1"; stands in front of each line; copied */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_enabled(enum log_level level);
/* Everything that is logged goes to `tap` too, without stamp and name; NULL: to nobody. It may be
 * called from any thread and must not log. */
void log_set_tap(void (*tap)(enum log_level level, const char *text));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	(log_enabled(LOG_LEVEL_DEBUG) ? log_line(LOG_LEVEL_DEBUG, __VA_ARGS__) : (void)0)

#endif

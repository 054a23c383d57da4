/* Which inodes of a file system are watched with inotify or fanotify, by any process that may be looked at: all for
 * root, one's own for others. From /proc/PID/fdinfo. Thread: any. */
#ifndef RFS_FUSE_WATCHED_H
#define RFS_FUSE_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watched {
	bool all; /* somebody watches a whole mount or file system: perhaps this one */
	uint64_t *inos;
	size_t n, cap;
};

/* `dev` as the kernel prints it: major << 20 | minor. Starts over; memory is kept. */
void watched_look(struct watched *w, uint64_t dev);
bool watched_has(const struct watched *w, uint64_t ino);
void watched_free(struct watched *w);

/* Take in one line of fdinfo, as watched_look() does. */
void watched_take_line(struct watched *w, uint64_t dev, const char *line);

#endif

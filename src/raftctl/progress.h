/* A line that shows how far something long has come: on standard error, if that is a terminal. */
#ifndef RFS_RAFTCTL_PROGRESS_H
#define RFS_RAFTCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;     /* "backup"; borrowed */
	uint64_t done, total; /* total 0: nobody knows */
	bool bytes;           /* what is counted: bytes, with their rate; else steps */
	bool shown, terminal;
	uint64_t began_ms, said_ms;
};

/* With rates and sizes of bytes, or counting steps. */
void progress_begin(struct progress *p, const char *what, uint64_t total, bool bytes);
/* So much is done by now. Cheap: the line changes a few times a second. */
void progress_set(struct progress *p, uint64_t done);
/* Take the line away. Gives how long it took. */
uint64_t progress_end(struct progress *p);

/* "1.5 MiB". */
void progress_format_bytes(uint64_t bytes, char *out, unsigned size);

#endif

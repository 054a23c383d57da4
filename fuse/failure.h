/* What .raft/last_error says, in a sentence: the last request of this mount that the cluster did not answer, or the last
 * commit of a group (group.h) that failed. */
#ifndef RFS_FUSE_FAILURE_H
#define RFS_FUSE_FAILURE_H

#include "../src/client/client.h"

#define FAILURE_TEXT_MAX 2048u

struct failure {
	const char *op;   /* "write" */
	const char *name; /* as far as it is known, else NULL or "" */
	uint64_t ino;     /* 0: none */
	pid_t pid;        /* who asked; 0: the mount itself */
	bool is_change;
	int code; /* RFS_… */
	uint64_t timeout_ms;
	const char *more; /* half a sentence; NULL */
};

/* Whether an end with `code` is such a failure. */
bool failure_is(int code);

/* The sentence, on one line whatever the name is made of; cut at `size`. */
void failure_text(char *out, size_t size, const struct failure *f, const struct client_info *c);

#endif

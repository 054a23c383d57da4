/* The shell: what `raftctl` without a command is. It takes the commands of the command line one a
 * line, with the same options, over one client that lives as long as the shell. */
#ifndef RFS_RAFTCTL_SHELL_H
#define RFS_RAFTCTL_SHELL_H

#include "ctl.h"

#define SHELL_LINE_BYTES_MAX (FS_WRITE_BYTES_MAX + 65536u)
#define SHELL_WORDS_MAX      (CTL_OPERANDS_MAX + CTL_OPTIONS_MAX * 2)

struct shell {
	struct ctl *ctl;
	struct ctl_args base; /* what stands on the program's own command line */
	bool person;          /* in front of a terminal: prompt, editing, history */
	bool keep_going;
	bool ended;
	unsigned line;

	/* What `connect` chose; port 0: nothing. */
	struct config_node chosen;
	char chosen_text[CONFIG_HOST_MAX + 16];
	/* What was said of requests that it left to the leader. */
	uint64_t passed_on;
	char passed_on_why[80];
	raft_id passed_on_to; /* 0: nothing was said */
};

/* From here on commands go to that node. The client in use goes on, if it knows the node. */
int shell_choose(struct shell *sh, const struct config_node *at, struct rfs_err *err);
/* Say what the chosen node has left to the leader, and if its connection is lost; then go on with
 * the cluster's other nodes. */
void shell_look(struct shell *sh);

/* ---- words.c: a line taken apart ---- */

struct words {
	char *bytes;
	char *at[SHELL_WORDS_MAX + 1]; /* NULL at the end */
	size_t n;
};

/* Words are separated by blanks; '…' is taken as it is, in "…" and outside of quotes a backslash
 * takes the next character as it is, but "\n", "\t", "\r" and "\xNN" in "…" are those bytes. A word
 * that begins with # begins a comment. -EINVAL with a sentence; then nothing needs to be freed. */
int words_split(struct words *w, const char *line, struct rfs_err *err);
void words_free(struct words *w);

/* ---- edit.c: a line from a person ---- */

struct edit;

struct edit *edit_new(struct shell *sh);
/* The next line without its end, borrowed until the next call; NULL at the end of input. *interrupted:
 * Ctrl-C took the line back. */
const char *edit_line(struct edit *e, bool *interrupted);
void edit_free(struct edit *e); /* writes the history */

#endif

/* raftctl: one run of the tool, and what its commands share.
 *
 * A command is one file cmd_NAME.c with one `const struct ctl_command`, listed in commands.c.
 * Commands run one after the other's steps as if calls were synchronous: ctl_start() sends,
 * ctl_wait() turns the loop until the answer is there, and any number of calls may be under way. */
#ifndef RFS_RAFTCTL_CTL_H
#define RFS_RAFTCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <jansson.h>
#include <uv.h>
#include "../base/buf.h"
#include "../base/err.h"
#include "../base/op.h"
#include "../base/text.h"
#include "../client/client.h"
#include "../config/config.h"

enum ctl_exit {
	CTL_DONE = 0,
	CTL_NO = 1,        /* absent key, failed precondition, the operation's own error */
	CTL_USAGE = 2,     /* usage or configuration */
	CTL_NO_ANSWER = 3, /* none from a quorum in time */
	CTL_REFUSED = 4,   /* identity, permission */
};

#define CTL_OPERANDS_MAX       16
#define CTL_OPTIONS_MAX        16
#define CTL_TIMEOUT_MS_DEFAULT 10000u

struct ctl;

/* An option of one command, beyond those that all have. */
struct ctl_option {
	const char *name;  /* without the dashes; one letter: "-k"; NULL ends the list */
	const char *value; /* what its value is called in the help; NULL: a switch */
	const char *help;
};

struct ctl_command {
	const char *name;
	const char *operands; /* as in the usage line: "KEY VALUE|-" */
	const char *summary;  /* one line for the list of commands */
	const char *details;  /* what `raftctl NAME --help` says below the usage: rules, examples,
	                         exit codes */
	size_t operands_min, operands_max;
	const struct ctl_option *options; /* may be NULL */
	bool offline;                     /* needs no cluster, or opens it itself */
	int (*run)(struct ctl *ctl);      /* gives an exit code */
};

/* ---- commands.c ---- */

extern const struct ctl_command *const ctl_commands[];           /* NULL at its end */
const struct ctl_command *ctl_command_by_name(const char *name); /* NULL if there is none */

/* ---- args.c: the command line ---- */

struct ctl_args {
	const char *cluster;         /* NULL: look for it */
	struct config_tls_given tls; /* --ca, --cert, --key */
	const char *endpoints[CONFIG_NODES_MAX];
	size_t n_endpoints;
	uint64_t timeout_ms; /* 0: not given */
	bool json, help, version;
	const struct ctl_command *command; /* NULL: only with help or version */
	const char *operands[CTL_OPERANDS_MAX];
	size_t n_operands;
	const char *options[CTL_OPTIONS_MAX]; /* by place in command->options; "" for a switch, NULL
	                                         if not given */
};

/* Options may stand before and behind the command; "--" ends them; "-" and "-5" are operands.
 * Pointers are borrowed from argv. -EINVAL with a sentence. */
int ctl_args_parse(struct ctl_args *a, int argc, char **argv, struct rfs_err *err);

/* The value of an option of the command: "" for a switch, NULL if it was not given. */
const char *ctl_args_option(const struct ctl_args *a, const char *name);

/* ---- help.c ---- */

void ctl_help(const struct ctl_command *command); /* on stdout; NULL: of the tool as a whole */

/* ---- ctl.c: the run ---- */

struct ctl_survey;
struct shell;

struct ctl {
	struct ctl_args args;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct client *client;                      /* NULL in an offline command */
	struct config_node nodes[CONFIG_NODES_MAX]; /* from the cluster file or --endpoint (id 0) */
	size_t n_nodes;
	char cluster[CONFIG_NAME_MAX + 1]; /* "" if unknown */
	struct tls_context *tls;           /* NULL: plain */
	struct config_tls tls_files;       /* what it is made of … */
	bool tls_settled;    /* … whatever cluster is opened next: an endpoint has no file */
	uint64_t timeout_ms; /* of one call */
	struct ctl_survey *surveys;
	struct rfs_err refusal; /* set once it is known that the nodes refuse us */
	bool looked_for_refusal;
	struct shell *shell; /* the command is a line of it; NULL: of the command line */
};

/* Find the cluster and start a client. The error's code tells the exit: ctl_exit_of(). */
int ctl_open(struct ctl *ctl, struct rfs_err *err);
void ctl_close(struct ctl *ctl);
/* Whether a thread of the pool still looks a name up. Nothing calls that back, and exit(3) would wait
 * for it as long as it takes. */
bool ctl_looks_up(void);

/* Run ctl->args.command: open the cluster first where that is needed and was not done, and close it
 * again unless a shell goes on with it. Gives the exit code. */
int ctl_run(struct ctl *ctl);

/* Ctrl-C ends the command and not the program (a shell with a person in front). From then on
 * waiting ends early: ctl_wait() gives -EINTR. False: that was so already. */
bool ctl_catch_interrupts(void);
void ctl_release_interrupts(void); /* Ctrl-C ends the program again */
bool ctl_interrupted(void);
void ctl_forget_interrupt(void);

/* Where a command comes from, for messages: "line 3". NULL: the command line. Borrowed. */
void ctl_set_place(const char *place);

/* "raftctl: sentence" on stderr; gives `status` back, so that a command can end with it. */
int ctl_error(enum ctl_exit status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Turn the loop once: something arrived or `ms` have passed. */
void ctl_turn(struct ctl *ctl, uint64_t ms);
/* Turn it until reading from `fd` would not wait, so that the session lives on meanwhile; or until
 * ctl_interrupted(). */
void ctl_wait_readable(struct ctl *ctl, int fd);

/* ---- call.c: operations ---- */

/* One operation and, once `done`, its result with bytes of its own. */
struct ctl_call {
	bool done;
	struct client_req *req;  /* while it is under way */
	struct fs_result result; /* result.data points into `data` */
	struct buf data;
};

void ctl_start(struct ctl *ctl, struct ctl_call *call, const struct fs_op *op);
/* Wait for it; gives result.err. Does not wait to the end if all nodes refuse us: RFS_EIDENTITY,
 * RFS_EVERSION. */
int ctl_wait(struct ctl *ctl, struct ctl_call *call);
/* ctl_start() and ctl_wait(). */
int ctl_do(struct ctl *ctl, struct ctl_call *call, const struct fs_op *op);
/* Give up waiting, if it is still under way, and free the bytes. A zeroed call is fine. */
void ctl_call_end(struct ctl_call *call);

/* Say on stderr why an operation on `key` failed with `code`, and what can be done about it; gives
 * the exit code. `change`: whether it was one (then not every failure says that nothing
 * happened). */
int ctl_failed(struct ctl *ctl, const char *key, int code, bool change);
enum ctl_exit ctl_exit_of(int code);

/* Whether `text` can be a key; else says why not on stderr and gives an exit code. 0: it can. */
int ctl_check_key(const char *text);

/* ---- condition.c: what a change is made to depend on ---- */

/* --if-version N; 0, or --create: the key must not exist. */
struct ctl_condition {
	bool is_set;
	uint64_t version;
	bool failed;
	uint64_t found; /* the version that it has, if it failed; 0: it does not exist */
};

bool ctl_parse_version(const char *text, uint64_t *version);
/* From the options; an exit code. */
int ctl_condition_take(struct ctl *ctl, const char *key, struct ctl_condition *c);
/* NULL is fine for both. */
void ctl_condition_add(const struct ctl_condition *c, struct fs_op *op);
void ctl_condition_note(struct ctl_condition *c, const struct fs_result *res);
int ctl_condition_failed(const struct ctl_condition *c, const char *key); /* CTL_NO, and why */

/* ---- list.c: one directory ---- */

/* The attributes of what `n` bytes of path lead to; "" and "/" are the root. As ctl_wait(). */
int ctl_resolve(struct ctl *ctl, const char *path, size_t n, struct fs_attr *attr);
/* Every entry, in the directory's own order; `each` ends the listing with anything but 0, which is
 * then given back. */
int ctl_list_dir(struct ctl *ctl, uint64_t ino, int (*each)(void *ctx, const struct fs_dirent *d),
                 void *ctx);

/* ---- admin.c: what operators ask for ---- */

/* Of `node`, or (NULL) of the leader: client_admin(), waited for. */
int ctl_admin(struct ctl *ctl, const struct config_node *node, const struct wire_admin *what,
              char text[WIRE_TEXT_MAX]);
/* Print what came of it; gives the exit code. */
int ctl_admin_finish(struct ctl *ctl, int code, const char *text);
bool ctl_parse_id(const char *text, raft_id *id);

/* ---- survey.c: what the nodes say of themselves ---- */

#define CTL_SURVEY_NODES_MAX 32

struct ctl_survey_node {
	struct ctl_survey *survey;
	struct config_node at; /* id 0 until it has told */
	bool done, reachable;
	bool twin;                 /* of another one here: the same node under two addresses */
	struct wire_status status; /* if reachable */
	struct rfs_err err;        /* if not reachable */
};

struct ctl_survey {
	struct ctl_survey *next;
	struct ctl *ctl;
	uint64_t timeout_ms, first_answer_ms; /* when the first one answered; 0: none did */
	size_t n, pending;
	struct ctl_survey_node nodes[CTL_SURVEY_NODES_MAX];
};

/* Ask all nodes at once, and those that they name as members. Owned by `ctl`; complete when
 * `pending` is 0. */
struct ctl_survey *ctl_survey_start(struct ctl *ctl, uint64_t timeout_ms);
/* Wait until it is complete; once one node has answered, at most `grace_ms` longer for the
 * others. */
void ctl_survey_wait(struct ctl_survey *s, uint64_t grace_ms);
void ctl_surveys_free(struct ctl *ctl);
void ctl_surveys_prune(struct ctl *ctl); /* those that are complete; nobody may look at them then */
/* Whether those that were heard refuse us (RFS_EIDENTITY, RFS_EVERSION), all of them. */
bool ctl_survey_refused(const struct ctl_survey *s, struct rfs_err *err);

/* The leader by what has been heard so far: the highest term's. id 0: nobody knows of one. */
struct ctl_leader {
	raft_id id;
	raft_term term;
	char address[WIRE_TEXT_MAX];
	bool claims;    /* it says so itself */
	bool confirmed; /* a majority of the members says so */
};
void ctl_survey_leader(const struct ctl_survey *s, struct ctl_leader *leader);

/* ---- value.c: whole values, of any size ---- */

/* The bytes of one version of a key: in memory, or in an unnamed temporary file when there are
 * many. */
struct ctl_value {
	struct fs_attr attr;
	struct buf data; /* all of it, unless `file` */
	FILE *file;
};

/* 0, or a negative code: as client_cb gives it; -EISDIR; -EAGAIN when it changed faster than it
 * could be read; with a sentence in `err` when it is about this machine. */
int ctl_value_get(struct ctl *ctl, const char *key, struct ctl_value *v, struct rfs_err *err);
/* The same, behind a GET that has been answered already; takes the call's bytes. */
int ctl_value_finish(struct ctl *ctl, struct ctl_call *get, struct ctl_value *v,
                     struct rfs_err *err);
/* Everything in memory, for who needs it so. */
int ctl_value_load(struct ctl_value *v, struct rfs_err *err);
/* Exactly its bytes. What fails on stdout is noted for main(), and no error here. */
int ctl_value_write(const struct ctl_value *v, FILE *to, struct rfs_err *err);
void ctl_value_free(struct ctl_value *v);

/* Store `n` bytes, at most FS_WRITE_BYTES_MAX, under `key`. *index: where in the log it was
 * done, and the key's version from then on. `only_if` may be NULL; with RFS_EPRECONDITION it has failed. */
int ctl_value_put(struct ctl *ctl, const char *key, const void *p, size_t n,
                  struct ctl_condition *only_if, uint64_t *index);
/* Store what can be read from `fd`, any amount, seen entirely or not at all. `err` as for
 * ctl_value_get(). */
int ctl_value_put_fd(struct ctl *ctl, const char *key, int fd, struct ctl_condition *only_if,
                     uint64_t *index, struct rfs_err *err);

/* ---- text.c: for people and for JSON ---- */

void ctl_put_base64(struct buf *b, const void *p, size_t n);
/* Member `name` as a string if the bytes are UTF-8, else `name`_base64. */
void ctl_json_set_bytes(json_t *object, const char *name, const void *p, size_t n);
/* On stdout, with a newline. Takes `value`. */
void ctl_json_print(json_t *value);
/* The same of a change to `key`, which says no more than where in the log it was made. */
void ctl_json_print_change(const char *key, uint64_t index);

/* Keep errno of a write to standard output that failed just now: main() tells at the end why the
 * output is not whole. */
void ctl_note_stdout_error(void);
int ctl_stdout_error(void); /* a positive errno; 0: none noted */

#endif

/* raftctl monitor: what the nodes say of themselves, asked again and again, and what follows from
 * it. monitor.c keeps the picture, monitor_text.c writes it down, monitor_screen.c draws it. */
#ifndef RFS_RAFTCTL_MONITOR_H
#define RFS_RAFTCTL_MONITOR_H

#include <time.h>
#include "../metrics/histogram.h"
#include "ctl.h"

#define MONITOR_PERIOD_MS   500u /* between two questions */
#define MONITOR_HISTORY     512u /* samples kept */
#define MONITOR_EVENTS      200u
#define MONITOR_EVENT_BYTES 200u
#define MONITOR_NODES       CTL_SURVEY_NODES_MAX

struct monitor_node {
	raft_id id; /* 0: it has never answered and has no id in the file */
	char address[WIRE_TEXT_MAX];
	bool up, was_up, seen; /* now; at the question before; in this round */
	char why[160];         /* not up */
	struct wire_status now;
	/* Its totals when it was asked last, for what is a difference; they begin anew with the node. */
	uint64_t reads_before;
	struct histogram commit_before;
};

/* What a period between two questions has come to. */
struct monitor_sample {
	double writes, reads;    /* a second */
	uint64_t p50_us, p99_us; /* of changes; 0: there were none */
};

struct monitor_event {
	time_t at;
	char text[MONITOR_EVENT_BYTES];
};

struct monitor {
	struct ctl *ctl;
	struct ctl_survey *asked; /* NULL: none under way */
	uint64_t asked_ms, taken_ms;

	char cluster[64];
	struct monitor_node nodes[MONITOR_NODES]; /* in order of their ids */
	size_t n;
	raft_id leader; /* 0: none known */
	raft_term term;
	raft_index commit; /* the highest that any node knows of */
	size_t members, up;

	raft_index conf_index; /* of the membership shown, and who is in it */
	struct wire_member conf[WIRE_MEMBERS_MAX];
	size_t n_conf;

	raft_index commit_before; /* the highest so far: who lags does not take it back */
	bool has_before;

	struct monitor_sample samples[MONITOR_HISTORY]; /* a ring */
	size_t n_samples;                               /* ever */
	struct monitor_event events[MONITOR_EVENTS];    /* a ring */
	size_t n_events;                                /* ever */
};

/* Begin the next question once it is time, or take the answers to the last one when they are there
 * or overdue. True: the picture is a new one. */
bool monitor_work(struct monitor *m);
/* The sample or event that is `back` before the latest; NULL if there is none. */
const struct monitor_sample *monitor_sample(const struct monitor *m, size_t back);
const struct monitor_event *monitor_event(const struct monitor *m, size_t back);
void monitor_tell(struct monitor *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How many committed entries a node has not applied; "-" where nobody can say. */
void monitor_lag(const struct monitor *m, const struct monitor_node *n, char *out, size_t size);
/* "1.2M" of bytes; "250µs", "1.2ms" or "-" of µs (utf8: with the sign for micro, else "us"). */
void monitor_bytes(uint64_t bytes, char *out, size_t size);
void monitor_time(uint64_t us, bool utf8, char *out, size_t size);
const char *monitor_role(const struct monitor_node *n);

void monitor_print_text(const struct monitor *m);
void monitor_print_json(const struct monitor *m);

/* Whether $TERM is a terminal on which a screen can be drawn. */
bool monitor_can_draw(void);

/* Live, until q or Ctrl-C, without waiting for any answer. An exit code. */
int monitor_screen(struct monitor *m);

#endif

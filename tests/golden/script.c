#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../../src/base/err.h"
#include "../../src/base/mem.h"

typedef unsigned long long llu;

struct words {
	char *w[SCRIPT_WORDS_MAX];
	size_t n;
	char *line; /* what the words point into */
};

__attribute__((format(printf, 2, 3))) static void complain(struct script *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->failed = true;
	s->say(s->ctx, text);
}

static uint64_t number(const char *w)
{
	return w == NULL ? 0 : strtoull(w, NULL, 10);
}

static const char *word(const struct words *ws, size_t i)
{
	return i < ws->n ? ws->w[i] : "";
}

/* "KEY=VALUE" among the words; NULL if it is not there. */
static const char *value(const struct words *ws, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 1; i < ws->n; i++)
		if (strncmp(ws->w[i], key, len) == 0 && ws->w[i][len] == '=')
			return ws->w[i] + len + 1;
	return NULL;
}

static uint32_t option(const struct words *ws, const char *key, uint32_t fallback)
{
	const char *v = value(ws, key);

	return v != NULL ? (uint32_t)number(v) : fallback;
}

static struct raft_pos position(const char *w)
{
	const char *at = w != NULL ? strchr(w, '@') : NULL;

	return (struct raft_pos){number(w), at != NULL ? number(at + 1) : 0};
}

static const char *keep_text(struct script *s, const char *text)
{
	s->texts = mem_grow(s->texts, &s->cap_texts, s->n_texts + 1, sizeof(*s->texts));
	return s->texts[s->n_texts++] = mem_strdup(text);
}

/* ---- the cluster ---- */

static unsigned id_list(const char *list, raft_id ids[RAFT_MEMBERS_MAX], unsigned n_max)
{
	unsigned n = 0;

	for (; list != NULL && n < RAFT_MEMBERS_MAX; list = strchr(list, ',')) {
		list += *list == ',';
		if (number(list) >= 1 && number(list) <= n_max)
			ids[n++] = number(list);
	}
	return n;
}

/* nodes N [OPTION=VALUE…] [voters=ID,…] [old=ID,…] [learners=ID,…] [joining=ID,…] */
static void cmd_nodes(struct script *s, const struct words *ws)
{
	struct raft_opts opts = {
	        .seed = option(ws, "seed", 1),
	        .election_min_ms = option(ws, "election_min", 150),
	        .election_max_ms = option(ws, "election_max", 300),
	        .heartbeat_ms = option(ws, "heartbeat", 50),
	        .append_bytes_max = option(ws, "append_bytes", 1u << 20),
	        .inflight_bytes_max = option(ws, "inflight_bytes", 4u << 20),
	        .inflight_msgs_max = option(ws, "inflight_msgs", 64),
	        .uncommitted_bytes_max = option(ws, "uncommitted_bytes", 64u << 20),
	        .commit_delay_ms = option(ws, "commit_delay", 0),
	};
	unsigned n = (unsigned)number(word(ws, 1)), joining;
	raft_id ids[RAFT_MEMBERS_MAX];

	if (s->started || n < 1 || n > CORES_MAX) {
		complain(s, "ERROR: nodes N, once, N up to %d", CORES_MAX);
		return;
	}
	cores_init(&s->c, n, &opts);
	s->c.trace = s->say;
	s->c.trace_ctx = s->ctx;
	s->started = true;
	if (value(ws, "voters") != NULL)
		s->c.conf.n_voters = id_list(value(ws, "voters"), s->c.conf.voters, n);
	joining = id_list(value(ws, "joining"), ids, n);
	for (unsigned i = 0; i < joining; i++)
		s->c.node[ids[i] - 1].joining = true;
	if (value(ws, "voters") == NULL) {
		s->c.conf.n_voters = 0;
		for (unsigned i = 1; i <= n; i++)
			if (!s->c.node[i - 1].joining)
				s->c.conf.voters[s->c.conf.n_voters++] = i;
	}
	s->c.conf.n_old = id_list(value(ws, "old"), s->c.conf.old, n);
	s->c.conf.n_learners = id_list(value(ws, "learners"), s->c.conf.learners, n);
	for (unsigned i = 1; i <= n; i++)
		cores_boot(&s->c, i);
}

/* disk ID [term=T] [vote=V] [base=I@T] [applied=A] [log=T,T,…]: the node restarts with that */
static void cmd_disk(struct script *s, const struct words *ws)
{
	raft_id id = number(word(ws, 1));
	raft_term terms[SCRIPT_WORDS_MAX];
	const char *list = value(ws, "log");
	size_t n = 0;

	while (list != NULL && *list != '\0' && n < SCRIPT_WORDS_MAX) {
		terms[n++] = number(list);
		list = strchr(list, ',');
		list = list != NULL ? list + 1 : NULL;
	}
	cores_crash(&s->c, id);
	cores_set_disk(&s->c, id, number(value(ws, "term")), number(value(ws, "vote")),
	               position(value(ws, "base")), terms, n, number(value(ws, "applied")));
	cores_boot(&s->c, id);
}

static void set_mode(struct script *s, const struct words *ws, bool on)
{
	if (strcmp(word(ws, 1), "persist") == 0)
		s->c.auto_persist = on;
	else if (strcmp(word(ws, 1), "flush") == 0)
		s->c.auto_flush = on;
	else
		complain(s, "ERROR: persist or flush?");
}

static void set_hidden(struct script *s, const struct words *ws, bool hide)
{
	for (unsigned kind = RAFT_MSG_PRE_VOTE; kind <= RAFT_MSG_KIND_MAX; kind++)
		for (size_t i = 1; i < ws->n; i++) {
			uint32_t bit = 1u << kind;

			if (strcasecmp(ws->w[i], raft_msg_name((enum raft_msg_kind)kind)) != 0 &&
			    strcmp(ws->w[i], "all") != 0)
				continue;
			s->c.hidden = hide ? s->c.hidden | bit : s->c.hidden & ~bit;
		}
}

/* ---- time ---- */

static void cmd_tick(struct script *s, const struct words *ws)
{
	if (ws->n > 2) {
		s->c.now_ms += number(word(ws, 2));
		cores_tick(&s->c, number(word(ws, 1)));
		return;
	}
	s->c.now_ms += number(word(ws, 1));
	for (unsigned i = 1; i <= s->c.n; i++)
		cores_tick(&s->c, i);
}

/* The clock goes on to what the node waits for next, and only it looks at the clock. */
static void cmd_timeout(struct script *s, raft_id id)
{
	struct core *k = cores_node(&s->c, id);

	if (s->c.now_ms < k->deadline_ms)
		s->c.now_ms = k->deadline_ms;
	cores_tick(&s->c, id);
}

/* Time passes, messages arrive at once, timers fire. */
static void cmd_run(struct script *s, uint64_t ms)
{
	uint64_t end = s->c.now_ms + ms;

	for (int guard = 0; guard < 100000; guard++) {
		uint64_t next = end;

		cores_stabilize(&s->c);
		for (unsigned i = 0; i < s->c.n; i++)
			if (s->c.node[i].r != NULL && s->c.node[i].deadline_ms < next)
				next = s->c.node[i].deadline_ms;
		if (next >= end)
			break;
		s->c.now_ms = next > s->c.now_ms ? next : s->c.now_ms + 1;
		for (unsigned i = 0; i < s->c.n; i++)
			if (s->c.node[i].deadline_ms <= s->c.now_ms)
				cores_tick(&s->c, i + 1);
	}
	s->c.now_ms = end;
}

/* ---- the network ---- */

struct link {
	raft_id from, to; /* 0: any */
	unsigned kind;    /* 0: any */
	size_t n;
};

/* A->B [KIND] [N], or all */
static struct link parse_link(const struct words *ws)
{
	struct link l = {.n = SIZE_MAX};
	char *arrow = strstr(word(ws, 1), "->");

	if (arrow != NULL) {
		l.from = number(word(ws, 1));
		l.to = number(arrow + 2);
	}
	for (size_t i = 2; i < ws->n; i++) {
		if (strcasecmp(ws->w[i], "snapshot") == 0)
			l.kind = CORES_SNAPSHOT;
		for (unsigned kind = RAFT_MSG_PRE_VOTE; kind <= RAFT_MSG_KIND_MAX; kind++)
			if (strcasecmp(ws->w[i], raft_msg_name((enum raft_msg_kind)kind)) == 0)
				l.kind = kind;
		if (ws->w[i][0] >= '0' && ws->w[i][0] <= '9')
			l.n = (size_t)number(ws->w[i]);
	}
	return l;
}

static bool link_has(const struct link *l, const struct raft_msg *m)
{
	return (l->from == 0 || l->from == m->from) && (l->to == 0 || l->to == m->to) &&
	       (l->kind == 0 || l->kind == (unsigned)m->kind);
}

/* Do `what` to the messages that are under way now, not to those that this causes. */
static void cmd_net(struct script *s, const struct words *ws,
                    void (*what)(struct cores *c, size_t i))
{
	struct link l = parse_link(ws);
	size_t left = s->c.n_net, i = 0, done = 0;

	for (; left > 0 && done < l.n; left--) {
		size_t before = s->c.n_net;

		if (!link_has(&l, &s->c.net[i].m)) {
			i++;
			continue;
		}
		what(&s->c, i);
		done++;
		if (what == cores_duplicate && s->c.n_net > before)
			i++;
	}
	if (done == 0)
		complain(s, "ERROR: no such message is under way");
}

/* reverse A->B: what is under way there changes its order */
static void cmd_reverse(struct script *s, const struct words *ws)
{
	struct link l = parse_link(ws);
	size_t at[256], n = 0;

	for (size_t i = 0; i < s->c.n_net && n < 256; i++)
		if (link_has(&l, &s->c.net[i].m))
			at[n++] = i;
	for (size_t i = 0; i < n / 2; i++) {
		struct cores_msg tmp = s->c.net[at[i]];

		s->c.net[at[i]] = s->c.net[at[n - 1 - i]];
		s->c.net[at[n - 1 - i]] = tmp;
	}
}

/* cut A->B, or cut A,B,… : these on one side, all others on the other */
static void cmd_cut(struct script *s, const struct words *ws)
{
	char *arrow = strstr(word(ws, 1), "->");
	bool side[CORES_MAX] = {false};
	struct link l = parse_link(ws);

	if (arrow != NULL && cores_node(&s->c, l.from) != NULL && cores_node(&s->c, l.to) != NULL) {
		s->c.cut[l.from - 1][l.to - 1] = true;
		return;
	}
	for (const char *p = word(ws, 1); p != NULL; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (cores_node(&s->c, number(p)) != NULL)
			side[number(p) - 1] = true;
	for (unsigned a = 0; a < s->c.n; a++)
		for (unsigned b = 0; b < s->c.n; b++)
			if (side[a] != side[b])
				s->c.cut[a][b] = true;
}

static void cmd_list_net(struct script *s)
{
	char text[512];

	for (size_t i = 0; i < s->c.n_net; i++) {
		if (s->c.net[i].snapshot)
			(void)snprintf(text, sizeof(text), "%llu -> %llu SNAPSHOT of %llu@%llu",
			               (llu)s->c.net[i].m.from, (llu)s->c.net[i].m.to,
			               (llu)s->c.net[i].m.pos.index, (llu)s->c.net[i].m.pos.term);
		else
			cores_msg_text(&s->c.net[i].m, text, sizeof(text));
		s->say(s->ctx, text);
	}
}

/* inject A->B KIND term=T [pos=I@T] [commit=C] [last=L] [round=R] [ctx=C] [index=I] [reject=1]
 * [entries=T,T,…]: a message that nobody sent arrives */
static void cmd_inject(struct script *s, const struct words *ws)
{
	struct link l = parse_link(ws);
	struct raft_entry e[SCRIPT_WORDS_MAX];
	const char *list = value(ws, "entries");
	struct raft_msg m = {
	        .kind = (enum raft_msg_kind)(l.kind != 0 ? l.kind : option(ws, "kind", 0)),
	        .from = l.from,
	        .to = l.to,
	        .term = number(value(ws, "term")),
	        .pos = position(value(ws, "pos")),
	        .commit = number(value(ws, "commit")),
	        .last = number(value(ws, "last")),
	        .round = number(value(ws, "round")),
	        .read_ctx = number(value(ws, "ctx")),
	        .read_index = number(value(ws, "index")),
	        .reject = value(ws, "reject") != NULL,
	        .entries = e,
	};

	while (list != NULL && m.n < SCRIPT_WORDS_MAX) {
		e[m.n] = (struct raft_entry){.pos = {m.pos.index + 1 + m.n, number(list)},
		                             .kind = RAFT_ENTRY_COMMAND,
		                             .len = 1,
		                             .data = "-"};
		m.n++;
		list = strchr(list, ',');
		list = list != NULL ? list + 1 : NULL;
	}
	cores_step(&s->c, l.to, (struct raft_event){.kind = RAFT_EV_MSG, .msg = &m});
}

/* ---- what clients do ---- */

static void cmd_propose(struct script *s, const struct words *ws)
{
	const char *texts[SCRIPT_WORDS_MAX];
	size_t n = 0;
	int err;

	for (size_t i = 2; i < ws->n; i++)
		texts[n++] = keep_text(s, ws->w[i]);
	err = cores_propose(&s->c, number(word(ws, 1)), texts, n);
	if (err != 0)
		cores_tracef(&s->c, "%s: refused (%d)", word(ws, 1), err);
}

/* change ID voters=ID,… [learners=ID,…] [address=ID,HOST:PORT]: it shall be the configuration */
static void cmd_change(struct script *s, const struct words *ws, raft_id id)
{
	struct raft_conf conf = {0};
	const char *at = value(ws, "address"), *comma = at != NULL ? strchr(at, ',') : NULL;
	int err;

	conf.n_voters = id_list(value(ws, "voters"), conf.voters, 99);
	conf.n_old = id_list(value(ws, "old"), conf.old, 99);
	conf.n_learners = id_list(value(ws, "learners"), conf.learners, 99);
	if (comma != NULL)
		(void)raft_conf_set_member(&conf, number(at), comma + 1,
		                           value(ws, "promote") != NULL);
	err = cores_command(&s->c, id, (struct raft_event){.kind = RAFT_EV_CHANGE, .conf = &conf});
	if (err != 0)
		cores_tracef(&s->c, "%llu: refused (%s)", (llu)id, rfs_strerror(err));
}

/* transfer ID [PEER]: it hands over, to the best voter if none is named */
static void cmd_transfer(struct script *s, const struct words *ws, raft_id id)
{
	int err = cores_command(
	        &s->c, id,
	        (struct raft_event){.kind = RAFT_EV_TRANSFER, .peer = number(word(ws, 2))});

	if (err != 0)
		cores_tracef(&s->c, "%llu: refused (%s)", (llu)id, rfs_strerror(err));
}

/* stall ID, unstall ID: its disk hangs, or works again */
static void cmd_stall(struct script *s, raft_id id, bool stalled)
{
	(void)cores_command(&s->c, id,
	                    (struct raft_event){.kind = RAFT_EV_DISK, .stalled = stalled});
}

static void cmd_persist(struct script *s, const struct words *ws)
{
	bool state = true, log = true;
	size_t n = SIZE_MAX;

	for (size_t i = 2; i < ws->n; i++) {
		if (strcmp(ws->w[i], "state") == 0)
			log = false;
		else if (strcmp(ws->w[i], "log") == 0)
			state = false;
		else
			n = (size_t)number(ws->w[i]);
	}
	cores_persist(&s->c, number(word(ws, 1)), state, log, n);
}

/* ---- expectations ---- */

static void expect_log(struct script *s, const struct words *ws, const struct core *k)
{
	bool same = k->log.n == ws->n - 3;

	for (size_t i = 0; same && i < k->log.n; i++)
		same = k->log.e[i].pos.term == number(ws->w[3 + i]);
	if (!same)
		complain(s, "FAILED: the log is another one");
}

/* expect ID role|term|vote|leader|last|durable|commit VALUE; expect ID log T T T… */
static void cmd_expect(struct script *s, const struct words *ws)
{
	const struct core *k = cores_node(&s->c, number(word(ws, 1)));
	const char *what = word(ws, 2), *want = word(ws, 3);
	struct raft_status st;
	uint64_t is;

	if (k->r == NULL) {
		complain(s, "FAILED: the node is down");
		return;
	}
	raft_get_status(k->r, &st);
	if (strcmp(what, "log") == 0) {
		expect_log(s, ws, k);
		return;
	}
	if (strcmp(what, "role") == 0) {
		if (strcmp(raft_role_name(st.role), want) != 0)
			complain(s, "FAILED: it is %s", raft_role_name(st.role));
		return;
	}
	if (strcmp(what, "term") == 0)
		is = st.term;
	else if (strcmp(what, "vote") == 0)
		is = st.vote;
	else if (strcmp(what, "leader") == 0)
		is = st.leader;
	else if (strcmp(what, "last") == 0)
		is = st.last.index;
	else if (strcmp(what, "durable") == 0)
		is = st.durable;
	else if (strcmp(what, "commit") == 0)
		is = st.commit;
	else {
		complain(s, "ERROR: expect what?");
		return;
	}
	if (is != number(want))
		complain(s, "FAILED: it is %llu", (llu)is);
}

/* ---- dispatch ---- */

static bool run_node_command(struct script *s, const char *cmd, const struct words *ws, raft_id id)
{
	struct cores *c = &s->c;

	if (strcmp(cmd, "timeout") == 0)
		cmd_timeout(s, id);
	else if (strcmp(cmd, "campaign") == 0)
		cores_step(c, id,
		           (struct raft_event){.kind = RAFT_EV_CAMPAIGN,
		                               .force = strcmp(word(ws, 2), "force") == 0});
	else if (strcmp(cmd, "propose") == 0)
		cmd_propose(s, ws);
	else if (strcmp(cmd, "read") == 0)
		cores_read(c, id, number(word(ws, 2)));
	else if (strcmp(cmd, "flush") == 0)
		cores_step(c, id, (struct raft_event){.kind = RAFT_EV_FLUSH});
	else if (strcmp(cmd, "down") == 0)
		cores_step(c, id,
		           (struct raft_event){.kind = RAFT_EV_PEER_DOWN,
		                               .peer = number(word(ws, 2))});
	else if (strcmp(cmd, "compact") == 0)
		cores_cut(c, id, ws->n > 2 ? number(word(ws, 2)) : UINT64_MAX);
	else if (strcmp(cmd, "change") == 0)
		cmd_change(s, ws, id);
	else if (strcmp(cmd, "stall") == 0 || strcmp(cmd, "unstall") == 0)
		cmd_stall(s, id, cmd[0] == 's');
	else if (strcmp(cmd, "transfer") == 0)
		cmd_transfer(s, ws, id);
	else if (strcmp(cmd, "persist") == 0)
		cmd_persist(s, ws);
	else if (strcmp(cmd, "slow") == 0)
		cores_node(c, id)->slow = true;
	else if (strcmp(cmd, "fast") == 0)
		cores_node(c, id)->slow = false;
	else if (strcmp(cmd, "crash") == 0)
		cores_crash(c, id);
	else if (strcmp(cmd, "restart") == 0)
		cores_crash(c, id), cores_boot(c, id);
	else if (strcmp(cmd, "disk") == 0)
		cmd_disk(s, ws);
	else if (strcmp(cmd, "expect") == 0)
		cmd_expect(s, ws);
	else
		return false;
	return true;
}

static bool run_cluster_command(struct script *s, const char *cmd, const struct words *ws)
{
	struct cores *c = &s->c;

	if (strcmp(cmd, "tick") == 0)
		cmd_tick(s, ws);
	else if (strcmp(cmd, "run") == 0)
		cmd_run(s, number(word(ws, 1)));
	else if (strcmp(cmd, "stabilize") == 0)
		cores_stabilize(c);
	else if (strcmp(cmd, "deliver") == 0)
		cmd_net(s, ws, cores_deliver);
	else if (strcmp(cmd, "drop") == 0)
		cmd_net(s, ws, cores_drop);
	else if (strcmp(cmd, "dup") == 0)
		cmd_net(s, ws, cores_duplicate);
	else if (strcmp(cmd, "reverse") == 0)
		cmd_reverse(s, ws);
	else if (strcmp(cmd, "cut") == 0)
		cmd_cut(s, ws);
	else if (strcmp(cmd, "heal") == 0)
		memset(c->cut, 0, sizeof(c->cut));
	else if (strcmp(cmd, "net") == 0)
		cmd_list_net(s);
	else if (strcmp(cmd, "inject") == 0)
		cmd_inject(s, ws);
	else if (strcmp(cmd, "auto") == 0)
		set_mode(s, ws, true);
	else if (strcmp(cmd, "manual") == 0)
		set_mode(s, ws, false);
	else if (strcmp(cmd, "hide") == 0)
		set_hidden(s, ws, true);
	else if (strcmp(cmd, "show") == 0)
		set_hidden(s, ws, false);
	else
		return false;
	return true;
}

static void run_look(struct script *s, const char *cmd, const struct words *ws)
{
	for (unsigned i = 1; i <= s->c.n; i++) {
		if (ws->n > 1 && number(word(ws, 1)) != i)
			continue;
		if (strcmp(cmd, "status") == 0)
			cores_trace_status(&s->c, &s->c.node[i - 1]);
		else if (strcmp(cmd, "conf") == 0)
			cores_trace_conf(&s->c, &s->c.node[i - 1]);
		else
			cores_trace_log(&s->c, &s->c.node[i - 1]);
	}
}

void script_run(struct script *s, const char *line)
{
	struct words ws = {.line = mem_strdup(line)};
	char *save = NULL;
	const char *cmd;

	for (char *w = strtok_r(ws.line, " \t", &save); w != NULL && ws.n < SCRIPT_WORDS_MAX;
	     w = strtok_r(NULL, " \t", &save))
		ws.w[ws.n++] = w;
	cmd = word(&ws, 0);
	if (strcmp(cmd, "nodes") == 0)
		cmd_nodes(s, &ws);
	else if (!s->started)
		complain(s, "ERROR: begin with nodes N");
	else if (strcmp(cmd, "status") == 0 || strcmp(cmd, "conf") == 0 || strcmp(cmd, "log") == 0)
		run_look(s, cmd, &ws);
	else if (!run_cluster_command(s, cmd, &ws) &&
	         (cores_node(&s->c, number(word(&ws, 1))) == NULL ||
	          !run_node_command(s, cmd, &ws, number(word(&ws, 1)))))
		complain(s, "ERROR: unknown command or node");
	if (s->started)
		cores_check_logs(&s->c);
	s->failed = s->failed || s->c.failure[0] != '\0';
	free(ws.line);
}

void script_init(struct script *s, void (*say)(void *ctx, const char *line), void *ctx)
{
	*s = (struct script){.say = say, .ctx = ctx};
}

void script_free(struct script *s)
{
	if (s->started)
		cores_free(&s->c);
	for (size_t i = 0; i < s->n_texts; i++)
		free(s->texts[i]);
	free(s->texts);
}

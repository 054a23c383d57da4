#include "monitor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "../base/clock.h"

#define ANSWER_MS 1000u /* for a node to answer */
#define GRACE_MS  300u  /* for the others, once one has */

/* ---- events ---- */

void monitor_tell(struct monitor *m, const char *fmt, ...)
{
	struct monitor_event *e = &m->events[m->n_events++ % MONITOR_EVENTS];
	va_list ap;

	e->at = time(NULL);
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

const struct monitor_event *monitor_event(const struct monitor *m, size_t back)
{
	size_t kept = m->n_events < MONITOR_EVENTS ? m->n_events : MONITOR_EVENTS;

	return back < kept ? &m->events[(m->n_events - 1 - back) % MONITOR_EVENTS] : NULL;
}

const struct monitor_sample *monitor_sample(const struct monitor *m, size_t back)
{
	size_t kept = m->n_samples < MONITOR_HISTORY ? m->n_samples : MONITOR_HISTORY;

	return back < kept ? &m->samples[(m->n_samples - 1 - back) % MONITOR_HISTORY] : NULL;
}

/* ---- nodes ---- */

static int by_id(const void *a, const void *b)
{
	const struct monitor_node *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static struct monitor_node *find_node(struct monitor *m, const struct ctl_survey_node *s,
                                      const char *address)
{
	struct monitor_node *n;

	for (size_t i = 0; i < m->n; i++) {
		n = &m->nodes[i];
		if (s->at.id != 0 ? n->id == s->at.id : strcmp(n->address, address) == 0)
			return n;
	}
	for (size_t i = 0; i < m->n; i++) /* an endpoint that has told its id only now */
		if (m->nodes[i].id == 0 && strcmp(m->nodes[i].address, address) == 0)
			return &m->nodes[i];
	if (m->n == MONITOR_NODES)
		return NULL;
	n = &m->nodes[m->n++];
	*n = (struct monitor_node){0};
	return n;
}

static void take_node(struct monitor *m, const struct ctl_survey_node *s)
{
	char address[WIRE_TEXT_MAX + CONFIG_HOST_MAX];
	struct monitor_node *n;

	config_format_endpoint(s->at.host, s->at.port, address, sizeof(address));
	n = find_node(m, s, address);
	if (n == NULL)
		return;
	n->seen = true;
	if (s->at.id != 0)
		n->id = s->at.id;
	n->up = s->reachable;
	(void)snprintf(n->address, sizeof(n->address), "%.255s",
	               s->reachable && s->status.address[0] != '\0' ? s->status.address : address);
	if (s->reachable)
		n->now = s->status;
	else
		(void)snprintf(n->why, sizeof(n->why), "%.159s", s->err.msg);
}

static void take_nodes(struct monitor *m, const struct ctl_survey *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++) {
		m->nodes[i].was_up = m->nodes[i].up;
		m->nodes[i].seen = m->nodes[i].up = false;
	}
	for (size_t i = 0; i < s->n; i++)
		if (!s->nodes[i].twin)
			take_node(m, &s->nodes[i]);
	for (size_t i = 0; i < m->n; i++)
		if (m->nodes[i].seen)
			m->nodes[kept++] = m->nodes[i];
	m->n = kept;
	qsort(m->nodes, m->n, sizeof(*m->nodes), by_id);
	m->up = 0;
	m->commit = 0;
	for (size_t i = 0; i < m->n; i++) {
		const struct monitor_node *n = &m->nodes[i];

		m->up += n->up;
		if (n->up && n->now.commit > m->commit)
			m->commit = n->now.commit;
		if (n->up && m->cluster[0] == '\0')
			(void)snprintf(m->cluster, sizeof(m->cluster), "%s", n->now.cluster);
	}
}

/* ---- what has changed ---- */

static void tell_nodes(struct monitor *m)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct monitor_node *n = &m->nodes[i];

		if (n->up && !n->was_up && m->has_before)
			monitor_tell(m, "node %" PRIu64 " at %s answers", n->id, n->address);
		if (!n->up && n->was_up)
			monitor_tell(m, "node %" PRIu64 " at %s does not answer", n->id,
			             n->address);
	}
}

static void tell_leader(struct monitor *m, const struct ctl_leader *leader)
{
	raft_id now = leader->confirmed || leader->claims ? leader->id : 0;

	if (now != 0 && (now != m->leader || leader->term != m->term))
		monitor_tell(m, "node %" PRIu64 " leads in term %" PRIu64 "%s", now, leader->term,
		             m->leader != 0 && now == m->leader ? " again" : "");
	else if (now == 0 && m->leader != 0)
		monitor_tell(m, "no leader: an election is under way, or too few nodes are up");
	m->leader = now;
	if (leader->term > m->term)
		m->term = leader->term;
}

static const struct wire_member *member_in(const struct wire_member *list, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].id == id)
			return &list[i];
	return NULL;
}

static void tell_members(struct monitor *m, const struct wire_status *st)
{
	for (size_t i = 0; i < st->n_members; i++) {
		const struct wire_member *now = &st->members[i];
		const struct wire_member *old = member_in(m->conf, m->n_conf, now->id);

		if (old == NULL)
			monitor_tell(m, "node %" PRIu64 " at %s is a member now, a %s", now->id,
			             now->address, now->learner ? "learner" : "voter");
		else if (old->learner != now->learner)
			monitor_tell(m, "node %" PRIu64 " is a %s now", now->id,
			             now->learner ? "learner" : "voter");
	}
	for (size_t i = 0; i < m->n_conf; i++)
		if (member_in(st->members, st->n_members, m->conf[i].id) == NULL)
			monitor_tell(m, "node %" PRIu64 " is no member any more", m->conf[i].id);
}

/* The newest membership that a node tells of. */
static void take_members(struct monitor *m)
{
	const struct wire_status *newest = NULL;

	for (size_t i = 0; i < m->n; i++) {
		const struct monitor_node *n = &m->nodes[i];

		if (n->up && n->now.n_members > 0 &&
		    (newest == NULL || n->now.conf_index > newest->conf_index))
			newest = &n->now;
	}
	if (newest == NULL || newest->conf_index < m->conf_index)
		return;
	if (m->n_conf > 0)
		tell_members(m, newest);
	m->conf_index = newest->conf_index;
	memcpy(m->conf, newest->members, sizeof(m->conf));
	m->n_conf = newest->n_members;
	m->members = newest->n_members;
}

/* ---- rates ---- */

/* How long changes took on that node, since it started. */
static void commits_of(const struct wire_status *st, struct histogram *h)
{
	*h = (struct histogram){0};
	for (size_t i = 0; i < st->n_commit_classes; i++) {
		if (i < HISTOGRAM_CLASSES)
			h->in_class[i] += st->commit_classes[i];
		h->count += st->commit_classes[i];
	}
}

static bool went_back(const struct histogram *now, const struct histogram *before)
{
	for (size_t i = 0; i < HISTOGRAM_CLASSES; i++)
		if (now->in_class[i] < before->in_class[i])
			return true;
	return now->count < before->count;
}

/* What the node has done since it was asked last, added to the others'. One that comes back, or has
 * started anew, counts from its next answer on. */
static void add_node(struct monitor_node *n, uint64_t *reads, struct histogram *commits)
{
	struct histogram now, since;

	commits_of(&n->now, &now);
	if (n->was_up && n->now.reads >= n->reads_before && !went_back(&now, &n->commit_before)) {
		since = histogram_since(&now, &n->commit_before);
		for (size_t i = 0; i < HISTOGRAM_CLASSES; i++)
			commits->in_class[i] += since.in_class[i];
		commits->count += since.count;
		*reads += n->now.reads - n->reads_before;
	}
	n->reads_before = n->now.reads;
	n->commit_before = now;
}

static void take_rates(struct monitor *m, uint64_t now_ms)
{
	struct monitor_sample *s = &m->samples[m->n_samples % MONITOR_HISTORY];
	double seconds = (double)(now_ms - m->taken_ms) / 1000;
	struct histogram commits = {0};
	uint64_t reads = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->nodes[i].up)
			add_node(&m->nodes[i], &reads, &commits);
	if (m->has_before && seconds > 0) {
		*s = (struct monitor_sample){.reads = (double)reads / seconds};
		if (m->commit > m->commit_before)
			s->writes = (double)(m->commit - m->commit_before) / seconds;
		s->p50_us = histogram_quantile_us(&commits, 0.5);
		s->p99_us = histogram_quantile_us(&commits, 0.99);
		m->n_samples++;
	}
	if (m->commit > m->commit_before || !m->has_before)
		m->commit_before = m->commit;
	m->has_before = m->up > 0;
	m->taken_ms = now_ms;
}

/* ---- the questions ---- */

static bool is_over(const struct monitor *m, uint64_t now)
{
	const struct ctl_survey *s = m->asked;

	return s->pending == 0 || now - m->asked_ms >= ANSWER_MS ||
	       (s->first_answer_ms != 0 && now - s->first_answer_ms >= GRACE_MS);
}

static void take(struct monitor *m, uint64_t now)
{
	struct ctl_leader leader;

	ctl_survey_leader(m->asked, &leader);
	for (size_t i = 0; i < m->asked->n; i++)
		if (!m->asked->nodes[i].done)
			(void)rfs_err_set(&m->asked->nodes[i].err, RFS_ENOQUORUM,
			                  "no answer in time");
	take_nodes(m, m->asked);
	tell_nodes(m);
	tell_leader(m, &leader);
	take_members(m);
	take_rates(m, now);
	m->asked = NULL;
	ctl_surveys_prune(m->ctl);
}

bool monitor_work(struct monitor *m)
{
	uint64_t now = clock_mono_ms();

	if (m->asked == NULL && now - m->asked_ms >= MONITOR_PERIOD_MS) {
		m->asked = ctl_survey_start(m->ctl, ANSWER_MS);
		m->asked_ms = now;
		return false;
	}
	if (m->asked == NULL || !is_over(m, now))
		return false;
	take(m, now);
	return true;
}

/* ---- words ---- */

const char *monitor_role(const struct monitor_node *n)
{
	return n->up ? n->now.role : "down";
}

void monitor_lag(const struct monitor *m, const struct monitor_node *n, char *out, size_t size)
{
	if (!n->up)
		(void)snprintf(out, size, "-");
	else
		(void)snprintf(out, size, "%" PRIu64,
		               m->commit > n->now.applied ? m->commit - n->now.applied : 0);
}

void monitor_bytes(uint64_t bytes, char *out, size_t size)
{
	static const char units[] = "BKMGTP";
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1000 && u < sizeof(units) - 2) {
		v /= 1024;
		u++;
	}
	(void)snprintf(out, size, u > 0 && v < 10 ? "%.1f%c" : "%.0f%c", v, units[u]);
}

void monitor_time(uint64_t us, bool utf8, char *out, size_t size)
{
	if (us == 0)
		(void)snprintf(out, size, "-");
	else if (us < 1000)
		(void)snprintf(out, size, "%" PRIu64 "%ss", us, utf8 ? "µ" : "u");
	else if (us < 1000000)
		(void)snprintf(out, size, us < 10000 ? "%.1fms" : "%.0fms", (double)us / 1000);
	else
		(void)snprintf(out, size, "%.1fs", (double)us / 1000000);
}

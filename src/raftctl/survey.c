/* Asking every node for its status, without consensus: works with whatever is left of a cluster. */
#include <stdlib.h>
#include <string.h>
#include "../base/clock.h"
#include "../base/mem.h"
#include "ctl.h"

static void on_status(void *ctx, const struct wire_status *st, const struct rfs_err *err);

static void ask(struct ctl_survey_node *n)
{
	n->survey->pending++;
	client_status(n->survey->ctl->client, &n->at, n->survey->timeout_ms, on_status, n);
}

static struct ctl_survey_node *add(struct ctl_survey *s, const struct config_node *at)
{
	struct ctl_survey_node *n = &s->nodes[s->n];

	if (s->n == CTL_SURVEY_NODES_MAX)
		return NULL;
	s->n++;
	n->survey = s;
	n->at = *at;
	return n;
}

static bool is_known(const struct ctl_survey *s, const struct config_node *at)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct ctl_survey_node *n = &s->nodes[i];

		if (n->at.id == at->id)
			return true;
		if (n->at.id == 0 && n->at.port == at->port && strcmp(n->at.host, at->host) == 0)
			return true;
	}
	return false;
}

/* Once everybody known has answered or failed: are there members that we were not told of? Not
 * earlier, since an endpoint may turn out to be one of them under another name. */
static void ask_members(struct ctl_survey *s)
{
	size_t known = s->n;

	for (size_t i = 0; i < known; i++) {
		const struct wire_status *st = &s->nodes[i].status;

		for (size_t k = 0; s->nodes[i].reachable && k < st->n_members; k++) {
			struct config_node at = {.id = st->members[k].id};
			struct ctl_survey_node *n;

			if (config_parse_endpoint(st->members[k].address, at.host, &at.port) != 0 ||
			    is_known(s, &at))
				continue;
			n = add(s, &at);
			if (n != NULL)
				ask(n);
		}
	}
}

static void mark_twins(const struct ctl_survey *s, struct ctl_survey_node *n)
{
	for (size_t i = 0; i < s->n; i++)
		if (&s->nodes[i] != n && s->nodes[i].reachable && s->nodes[i].at.id == n->at.id)
			n->twin = true;
}

static void on_status(void *ctx, const struct wire_status *st, const struct rfs_err *err)
{
	struct ctl_survey_node *n = ctx;
	struct ctl_survey *s = n->survey;

	n->done = true;
	s->pending--;
	if (st != NULL) {
		n->status = *st;
		n->at.id = st->node_id;
		n->reachable = true;
		mark_twins(s, n);
		if (s->first_answer_ms == 0)
			s->first_answer_ms = clock_mono_ms();
	} else {
		n->err = *err;
	}
	if (s->pending == 0 && s->ctl->client != NULL)
		ask_members(s);
}

struct ctl_survey *ctl_survey_start(struct ctl *ctl, uint64_t timeout_ms)
{
	struct ctl_survey *s = mem_zalloc(sizeof(*s));

	s->ctl = ctl;
	s->timeout_ms = timeout_ms;
	s->next = ctl->surveys;
	ctl->surveys = s;
	for (size_t i = 0; i < ctl->n_nodes; i++)
		(void)add(s, &ctl->nodes[i]);
	for (size_t i = 0; i < s->n; i++)
		ask(&s->nodes[i]);
	return s;
}

void ctl_survey_wait(struct ctl_survey *s, uint64_t grace_ms)
{
	while (s->pending > 0 && !ctl_interrupted()) {
		uint64_t now = clock_mono_ms(), turn_ms = s->timeout_ms;

		if (s->first_answer_ms != 0) {
			if (now >= s->first_answer_ms + grace_ms)
				break;
			turn_ms = s->first_answer_ms + grace_ms - now;
		}
		ctl_turn(s->ctl, turn_ms);
	}
	for (size_t i = 0; i < s->n; i++)
		if (!s->nodes[i].done)
			(void)rfs_err_set(&s->nodes[i].err, RFS_ENOQUORUM, "no answer in time");
}

void ctl_surveys_prune(struct ctl *ctl)
{
	struct ctl_survey **at = &ctl->surveys;

	while (*at != NULL) {
		struct ctl_survey *s = *at;

		if (s->pending > 0) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		free(s);
	}
}

void ctl_surveys_free(struct ctl *ctl)
{
	while (ctl->surveys != NULL) {
		struct ctl_survey *s = ctl->surveys;

		ctl->surveys = s->next;
		free(s);
	}
}

bool ctl_survey_refused(const struct ctl_survey *s, struct rfs_err *err)
{
	bool refused = false;

	for (size_t i = 0; i < s->n; i++) {
		const struct ctl_survey_node *n = &s->nodes[i];

		if (n->reachable)
			return false;
		if (n->err.code == RFS_EIDENTITY || n->err.code == RFS_EVERSION) {
			refused = true;
			*err = n->err;
		}
	}
	return refused;
}

/* ---- who leads ---- */

/* The voters, by the newest view; without any, the nodes we know of. */
static size_t voters(const struct ctl_survey *s)
{
	const struct wire_status *newest = NULL;
	size_t count = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct ctl_survey_node *n = &s->nodes[i];

		if (n->reachable && (newest == NULL || n->status.term > newest->term))
			newest = &n->status;
	}
	for (size_t i = 0; newest != NULL && i < newest->n_members; i++)
		count += !newest->members[i].learner;
	return count > 0 ? count : s->n;
}

void ctl_survey_leader(const struct ctl_survey *s, struct ctl_leader *leader)
{
	size_t agree = 0;

	*leader = (struct ctl_leader){0};
	for (size_t i = 0; i < s->n; i++) {
		const struct wire_status *st = &s->nodes[i].status;

		if (!s->nodes[i].reachable || s->nodes[i].twin || st->leader_id == 0 ||
		    st->term < leader->term)
			continue;
		if (st->term > leader->term)
			*leader = (struct ctl_leader){.id = st->leader_id, .term = st->term};
		if (st->node_id == st->leader_id)
			leader->claims = true;
		if (leader->address[0] == '\0' || st->node_id == st->leader_id)
			memcpy(leader->address, st->leader_address, sizeof(leader->address));
	}
	for (size_t i = 0; i < s->n; i++) {
		const struct ctl_survey_node *n = &s->nodes[i];

		agree += n->reachable && !n->twin && n->status.term == leader->term &&
		         n->status.leader_id == leader->id;
	}
	leader->confirmed = leader->id != 0 && agree > voters(s) / 2;
}

/* The monitor's picture, written down once. */
#include <inttypes.h>
#include <string.h>
#include "monitor.h"

static void print_node(const struct monitor *m, const struct monitor_node *n)
{
	const struct wire_status *st = &n->now;
	char lag[24], disk[16];

	if (!n->up) {
		(void)printf("%-4" PRIu64 " %-22s down: %s\n", n->id, n->address, n->why);
		return;
	}
	monitor_lag(m, n, lag, sizeof(lag));
	monitor_bytes(st->log_bytes + st->store_bytes, disk, sizeof(disk));
	(void)printf("%-4" PRIu64 " %-22s %-10s %6" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64
	             " %6s %7s %5" PRIu64 "\n",
	             n->id, n->address, st->role, st->term, st->last, st->commit, st->applied, lag,
	             disk, st->clients);
}

void monitor_print_text(const struct monitor *m)
{
	const struct monitor_sample *s = monitor_sample(m, 0);
	char p50[24], p99[24];

	(void)printf("cluster %s: %zu of %zu nodes answer, ", m->cluster, m->up, m->n);
	if (m->leader != 0)
		(void)printf("node %" PRIu64 " leads in term %" PRIu64 "\n", m->leader, m->term);
	else
		(void)printf("no leader\n");
	(void)printf("%-4s %-22s %-10s %6s %9s %9s %9s %6s %7s %5s\n", "id", "address", "role",
	             "term", "last", "commit", "applied", "lag", "disk", "conn");
	for (size_t i = 0; i < m->n; i++)
		print_node(m, &m->nodes[i]);
	if (s == NULL)
		return;
	monitor_time(s->p50_us, true, p50, sizeof(p50));
	monitor_time(s->p99_us, true, p99, sizeof(p99));
	(void)printf("writes %.0f/s, reads %.0f/s, change p50 %s, p99 %s\n", s->writes, s->reads,
	             p50, p99);
}

static void set(json_t *o, const char *name, uint64_t v)
{
	(void)json_object_set_new(o, name, json_integer((json_int_t)v));
}

static json_t *node_json(const struct monitor *m, const struct monitor_node *n)
{
	const struct wire_status *st = &n->now;
	json_t *o = json_object();

	set(o, "id", n->id);
	(void)json_object_set_new(o, "address", json_string(n->address));
	(void)json_object_set_new(o, "reachable", json_boolean(n->up));
	if (!n->up) {
		ctl_json_set_bytes(o, "error", n->why, strlen(n->why));
		return o;
	}
	(void)json_object_set_new(o, "role", json_string(st->role));
	set(o, "term", st->term);
	set(o, "last", st->last);
	set(o, "commit", st->commit);
	set(o, "applied", st->applied);
	set(o, "lag", m->commit > st->applied ? m->commit - st->applied : 0);
	set(o, "disk_bytes", st->log_bytes + st->store_bytes);
	set(o, "clients", st->clients);
	return o;
}

void monitor_print_json(const struct monitor *m)
{
	const struct monitor_sample *s = monitor_sample(m, 0);
	json_t *o = json_object(), *nodes = json_array();

	for (size_t i = 0; i < m->n; i++)
		(void)json_array_append_new(nodes, node_json(m, &m->nodes[i]));
	(void)json_object_set_new(o, "cluster", json_string(m->cluster));
	(void)json_object_set_new(
	        o, "leader", m->leader != 0 ? json_integer((json_int_t)m->leader) : json_null());
	set(o, "term", m->term);
	(void)json_object_set_new(o, "nodes", nodes);
	if (s != NULL) {
		(void)json_object_set_new(o, "writes_per_second", json_real(s->writes));
		(void)json_object_set_new(o, "reads_per_second", json_real(s->reads));
		set(o, "change_p50_us", s->p50_us);
		set(o, "change_p99_us", s->p99_us);
	}
	ctl_json_print(o);
}

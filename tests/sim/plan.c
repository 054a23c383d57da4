/* What the seed decides before the run begins. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim.h"

/* Most runs are spared most of what can go wrong: what is rare alone is found where it is frequent. */
static unsigned sometimes(struct rng *r, unsigned permille, unsigned below)
{
	return rng_permille(r, permille) ? (unsigned)rng_below(r, below) : 0;
}

static unsigned between(struct rng *r, unsigned low, unsigned high)
{
	return (unsigned)rng_between(r, low, high);
}

static void draw_faults(struct sim_plan *p, struct rng *r)
{
	if (rng_permille(r, 850))
		p->fault_every_us = between(r, 100000, 1000000);
	for (unsigned i = 0; i < SIM_FAULTS; i++)
		p->weights[i] =
		        sometimes(r, sim_fault_kinds[i].odds, sim_fault_kinds[i].weight + 1);
}

static void draw_disks(struct sim_plan *p, struct rng *r)
{
	p->disk_min_us = 50;
	p->disk_max_us = between(r, 100, 20000);
	p->slow_disk = sometimes(r, 300, 50);
	p->stall_us = between(r, 300000, 1500000);
	p->segment_bytes = between(r, 2, 6) * 4096;
	p->flush_every_us = between(r, 20000, 2000000);
	p->flush_us = between(r, 1000, 200000);
	p->margin = rng_permille(r, 700) ? between(r, 0, 40) : between(r, 0, 400);
	p->fine_cut = rng_permille(r, 500);
	p->careless_cut = rng_permille(r, 150);
	p->rocks = rng_permille(r, 5);
	p->raise = rng_permille(r, 500);
	p->chunk_bytes = between(r, 100, 4096);
	p->window = between(r, 1, 8);
	p->damage = sometimes(r, 200, 100);
	p->install_crash = sometimes(r, 300, 500);
}

void plan_draw(struct sim_plan *p, struct rng *r)
{
	static const unsigned sizes[] = {3, 3, 3, 3, 5, 5, 1, 2, 4};
	unsigned founders = sizes[rng_below(r, sizeof(sizes) / sizeof(sizes[0]))];

	*p = (struct sim_plan){
	        .servers = founders,
	        .founders = founders,
	        .clients = between(r, 2, SIM_CLIENTS_MAX),
	        .run_us = between(r, 2000000, 6000000),
	        .client_retry_us = between(r, 100000, 600000),
	        .client_think_us = rng_permille(r, 300) ? 2000 : 20000,
	        .delay_min_us = between(r, 10, 200),
	        .delay_max_us = between(r, 200, 10000),
	        .uncommitted_max = rng_permille(r, 200) ? between(r, 100, 2000) : 1u << 20,
	};
	p->drop = sometimes(r, 600, 200);
	p->duplicate = sometimes(r, 500, 200);
	p->slow_message = sometimes(r, 300, 50);
	p->old_message = sometimes(r, 200, 30);
	draw_disks(p, r);
	draw_faults(p, r);
	if (p->weights[FAULT_CHANGE] > 0)
		p->servers += (unsigned)rng_below(r, SIM_SERVERS_MAX - founders + 1);
}

/* ---- overruling it ---- */

#define KNOB(field)                                                                                \
	{                                                                                          \
#field, offsetof(struct sim_plan, field)                                           \
	}

static const struct {
	const char *name;
	size_t offset;
} knobs[] = {
        KNOB(servers),         KNOB(founders),        KNOB(clients),        KNOB(run_us),
        KNOB(client_retry_us), KNOB(client_think_us), KNOB(drop),           KNOB(duplicate),
        KNOB(delay_min_us),    KNOB(delay_max_us),    KNOB(slow_message),   KNOB(old_message),
        KNOB(disk_min_us),     KNOB(disk_max_us),     KNOB(slow_disk),      KNOB(stall_us),
        KNOB(segment_bytes),   KNOB(uncommitted_max), KNOB(flush_every_us), KNOB(flush_us),
        KNOB(margin),          KNOB(fine_cut),        KNOB(careless_cut),   KNOB(rocks),
        KNOB(raise),           KNOB(chunk_bytes),     KNOB(window),         KNOB(damage),
        KNOB(install_crash),   KNOB(fault_every_us),
};

#define N_KNOBS (sizeof(knobs) / sizeof(knobs[0]))

size_t plan_knobs(void)
{
	return N_KNOBS + SIM_FAULTS;
}

const char *plan_knob_name(size_t i)
{
	return i < N_KNOBS ? knobs[i].name : sim_fault_kinds[i - N_KNOBS].name;
}

static unsigned *knob(struct sim_plan *p, size_t i)
{
	if (i >= N_KNOBS)
		return &p->weights[i - N_KNOBS];
	return (unsigned *)(void *)((char *)p + knobs[i].offset);
}

unsigned plan_knob(const struct sim_plan *p, size_t i)
{
	struct sim_plan copy = *p;

	return *knob(&copy, i);
}

static bool set_one(struct sim_plan *p, const char *name, size_t len, const char *value,
                    const char **end)
{
	char *stop;
	unsigned long n = strtoul(value, &stop, 10);

	*end = stop;
	if (stop == value || n > UINT32_MAX)
		return false;
	for (size_t i = 0; i < plan_knobs(); i++)
		if (strlen(plan_knob_name(i)) == len && memcmp(plan_knob_name(i), name, len) == 0) {
			*knob(p, i) = (unsigned)n;
			return true;
		}
	return false;
}

bool plan_set(struct sim_plan *p, const char *text)
{
	while (*text != '\0') {
		const char *equals = strchr(text, '=');

		if (equals == NULL || !set_one(p, text, (size_t)(equals - text), equals + 1, &text))
			return false;
		if (*text == ',')
			text++;
		else if (*text != '\0')
			return false;
	}
	return p->servers >= p->founders && p->founders > 0 && p->servers <= SIM_SERVERS_MAX &&
	       p->clients <= SIM_CLIENTS_MAX && p->delay_min_us <= p->delay_max_us &&
	       p->disk_min_us <= p->disk_max_us;
}

void plan_print(const struct sim_plan *p)
{
	(void)printf("plan:");
	for (size_t i = 0; i < plan_knobs(); i++)
		if (plan_knob(p, i) != 0)
			(void)printf(" %s=%u", plan_knob_name(i), plan_knob(p, i));
	(void)printf("\n");
}

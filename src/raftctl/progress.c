#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../base/clock.h"

#define EVERY_MS  200u
#define BAR_CELLS 24u

void progress_format_bytes(uint64_t bytes, char *out, unsigned size)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	unsigned u = 0;

	for (; v >= 1024 && u < 4; u++)
		v /= 1024;
	(void)snprintf(out, size, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

void progress_begin(struct progress *p, const char *what, uint64_t total, bool bytes)
{
	*p = (struct progress){.what = what, .total = total, .bytes = bytes};
	p->began_ms = clock_mono_ms();
	p->terminal = isatty(STDERR_FILENO) != 0;
}

static void put_bar(const struct progress *p, char *out, size_t size)
{
	uint64_t done = p->done < p->total ? p->done : p->total;
	unsigned cells = p->total > 0 ? (unsigned)((double)done / (double)p->total * BAR_CELLS) : 0;
	char bar[BAR_CELLS + 1];

	memset(bar, '.', BAR_CELLS);
	memset(bar, '#', cells);
	bar[BAR_CELLS] = '\0';
	if (p->total > 0)
		(void)snprintf(out, size, " [%s] %3.0f %%", bar,
		               100.0 * (double)done / (double)p->total);
	else
		out[0] = '\0';
}

static void show(struct progress *p, uint64_t now)
{
	uint64_t ms = now - p->began_ms > 0 ? now - p->began_ms : 1;
	char bar[64], amount[32], rate[32];

	put_bar(p, bar, sizeof(bar));
	progress_format_bytes(p->done, amount, sizeof(amount));
	progress_format_bytes(p->done * 1000 / ms, rate, sizeof(rate));
	if (p->bytes)
		(void)fprintf(stderr, "\r%s%s  %s  %s/s\x1b[K", p->what, bar, amount, rate);
	else
		(void)fprintf(stderr, "\r%s%s  %llu\x1b[K", p->what, bar,
		              (unsigned long long)p->done);
	(void)fflush(stderr);
	p->shown = true;
}

void progress_set(struct progress *p, uint64_t done)
{
	uint64_t now;

	p->done = done;
	if (!p->terminal)
		return;
	now = clock_mono_ms();
	if (now - p->said_ms < EVERY_MS)
		return;
	p->said_ms = now;
	show(p, now);
}

uint64_t progress_end(struct progress *p)
{
	if (p->shown)
		(void)fprintf(stderr, "\r\x1b[K");
	p->shown = false;
	return clock_mono_ms() - p->began_ms;
}

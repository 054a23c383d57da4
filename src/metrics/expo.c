#include "expo.h"

#include <stdbool.h>
#include <string.h>

static unsigned long long ull(uint64_t v)
{
	return (unsigned long long)v;
}

void expo_family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void expo_sample(struct buf *b, const char *name, const char *labels, uint64_t value)
{
	bool bare = labels[0] == '\0';

	buf_printf(b, "%s%s%s%s %llu\n", name, bare ? "" : "{", labels, bare ? "" : "}",
	           ull(value));
}

void expo_counter(struct buf *b, const char *name, const char *help, uint64_t value)
{
	expo_family(b, name, "counter", help);
	expo_sample(b, name, "", value);
}

void expo_gauge(struct buf *b, const char *name, const char *help, uint64_t value)
{
	expo_family(b, name, "gauge", help);
	expo_sample(b, name, "", value);
}

void expo_seconds(struct buf *b, const char *name, const char *help, const struct histogram *h)
{
	uint64_t below = 0;

	expo_family(b, name, "histogram", help);
	for (unsigned i = 0; i < HISTOGRAM_CLASSES; i++) {
		below += h->in_class[i];
		buf_printf(b, "%s_bucket{le=\"%g\"} %llu\n", name,
		           (double)histogram_bounds_us[i] / 1e6, ull(below));
	}
	buf_printf(b, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name,
	           ull(h->count), name, (double)h->sum_us / 1e6, name, ull(h->count));
}

void expo_escape(const char *text, char *out, size_t size)
{
	size_t used = 0;

	for (; *text != '\0' && used + 3 < size; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			out[used++] = '\\';
		out[used++] = *text == '\n' ? 'n' : *text;
	}
	out[used] = '\0';
}

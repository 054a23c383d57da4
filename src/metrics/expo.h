/* Prometheus' text format, version 0.0.4: families with their help and type, and their samples.
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
#ifndef RFS_METRICS_EXPO_H
#define RFS_METRICS_EXPO_H

#include <stdint.h>
#include "../base/buf.h"
#include "histogram.h"

#define EXPO_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* "# HELP" and "# TYPE"; its samples follow. `type`: counter, gauge, histogram. */
void expo_family(struct buf *b, const char *name, const char *type, const char *help);
/* One sample. `labels` as they stand between the braces, "" for none. */
void expo_sample(struct buf *b, const char *name, const char *labels, uint64_t value);

/* Families of one sample without labels. */
void expo_counter(struct buf *b, const char *name, const char *help, uint64_t value);
void expo_gauge(struct buf *b, const char *name, const char *help, uint64_t value);
void expo_seconds(struct buf *b, const char *name, const char *help, const struct histogram *h);

/* `text` with what a label's value may not hold escaped. */
void expo_escape(const char *text, char *out, size_t size);

#endif

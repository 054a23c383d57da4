/* The language of the golden scripts: one command a line. */
#ifndef RFS_TESTS_GOLDEN_SCRIPT_H
#define RFS_TESTS_GOLDEN_SCRIPT_H

#include <stdbool.h>
#include "../support/cores.h"

#define SCRIPT_WORDS_MAX 64

struct script {
	struct cores c;
	bool started;
	char **texts; /* payloads of entries; they live as long as the script */
	size_t n_texts, cap_texts;
	bool failed; /* an expectation, a safety property or the command itself */
	void (*say)(void *ctx, const char *line);
	void *ctx;
};

void script_init(struct script *s, void (*say)(void *ctx, const char *line), void *ctx);
void script_free(struct script *s);

/* Carry out one command; what it causes is told through `say`. */
void script_run(struct script *s, const char *line);

#endif

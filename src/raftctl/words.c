/* A line of the shell, taken apart into words. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../base/mem.h"
#include "shell.h"

struct split {
	const char *at; /* what is left of the line */
	char *to;       /* where the word's next byte goes */
	struct rfs_err *err;
};

static int digit_of(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

	return found != NULL ? (int)(found - digits) : -1;
}

/* Behind a backslash in "…". */
static int take_escape(struct split *s)
{
	char c = *s->at++;
	int high, low;

	switch (c) {
	case 'n': *s->to++ = '\n'; return 0;
	case 't': *s->to++ = '\t'; return 0;
	case 'r': *s->to++ = '\r'; return 0;
	case 'x':
		high = digit_of(s->at[0]);
		low = high >= 0 ? digit_of(s->at[1]) : -1;
		if (low < 0 || (high == 0 && low == 0))
			return rfs_err_set(s->err, -EINVAL,
			                   "\\x wants two hexadecimal digits, from 01 to ff");
		*s->to++ = (char)(high << 4 | low);
		s->at += 2;
		return 0;
	case '\0': s->at--; return 0; /* the missing quote is told */
	default: *s->to++ = c; return 0;
	}
}

static int take_quoted(struct split *s, char quote)
{
	for (s->at++; *s->at != quote;) {
		if (*s->at == '\0')
			return rfs_err_set(s->err, -EINVAL, "a %c is opened and not closed", quote);
		if (*s->at == '\\' && quote == '"') {
			s->at++;
			if (take_escape(s) != 0)
				return -EINVAL;
			continue;
		}
		*s->to++ = *s->at++;
	}
	s->at++;
	return 0;
}

static int take_word(struct split *s)
{
	while (strchr(" \t\r\n", *s->at) == NULL) { /* finds the end, too */
		if (*s->at == '"' || *s->at == '\'') {
			if (take_quoted(s, *s->at) != 0)
				return -EINVAL;
			continue;
		}
		if (*s->at == '\\' && s->at[1] != '\0')
			s->at++;
		*s->to++ = *s->at++;
	}
	*s->to++ = '\0';
	return 0;
}

int words_split(struct words *w, const char *line, struct rfs_err *err)
{
	struct split s = {.at = line, .err = err};
	int rc = 0;

	/* Every word is at most as long as what it was made of, and ends where a blank was. */
	*w = (struct words){.bytes = mem_alloc(strlen(line) + 2)};
	s.to = w->bytes;
	while (rc == 0) {
		s.at += strspn(s.at, " \t\r\n");
		if (*s.at == '\0' || *s.at == '#')
			break;
		if (w->n == SHELL_WORDS_MAX) {
			rc = rfs_err_set(err, -EINVAL, "more than %u words", SHELL_WORDS_MAX);
			break;
		}
		w->at[w->n++] = s.to;
		rc = take_word(&s);
	}
	if (rc != 0)
		words_free(w);
	return rc;
}

void words_free(struct words *w)
{
	free(w->bytes);
	*w = (struct words){0};
}

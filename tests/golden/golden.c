/* Golden traces: scripts that drive a cluster of consensus cores, with what must come of it.
 *
 *   golden [--rewrite] [--verbose] FILE…
 *
 * A line in the first column is a command or a comment (#), and is kept as it is. The indented
 * lines behind a command are what it causes, in order; they are compared, or with --rewrite written
 * anew. README.md lists the commands. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/buf.h"
#include "script.h"

static void say(void *ctx, const char *line)
{
	buf_printf(ctx, "  %s\n", line);
}

static bool read_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "r");
	bool ok;
	size_t n;

	if (f == NULL)
		return false;
	do {
		n = fread(buf_reserve(b, 65536), 1, 65536, f);
		b->len += n;
	} while (n > 0);
	ok = ferror(f) == 0;
	(void)fclose(f);
	buf_put_u8(b, 0);
	b->len--;
	return ok;
}

static bool write_file(const char *path, const struct buf *b)
{
	FILE *f = fopen(path, "w");
	bool ok;

	if (f == NULL)
		return false;
	ok = fwrite(b->data, 1, b->len, f) == b->len;
	return fclose(f) == 0 && ok;
}

/* Commands of `in` and what they cause, as it should stand in the file. */
static bool play(const struct buf *in, struct buf *out)
{
	struct script s;
	const char *p = (const char *)in->data, *end = p + in->len;
	bool ok;

	script_init(&s, say, out);
	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol != NULL ? eol : end) - p);

		if (n == 0 || (p[0] != ' ' && p[0] != '\t')) {
			char line[1024];

			(void)snprintf(line, sizeof(line), "%.*s", (int)n, p);
			buf_printf(out, "%s\n", line);
			if (n > 0 && p[0] != '#')
				script_run(&s, line);
		}
		p += n + 1;
	}
	ok = !s.failed;
	script_free(&s);
	return ok;
}

/* The first line in which they differ, with its number. */
static void show_difference(const struct buf *want, const struct buf *got)
{
	const char *a = (const char *)want->data, *b = (const char *)got->data;

	for (int line = 1; *a != '\0' || *b != '\0'; line++) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

		if (n != m || memcmp(a, b, n) != 0) {
			printf("  line %d\n    expected %.*s\n    but got  %.*s\n", line, (int)n, a,
			       (int)m, b);
			return;
		}
		a += n + (a[n] == '\n');
		b += m + (b[m] == '\n');
	}
}

static bool run_file(const char *path, bool rewrite, bool verbose)
{
	struct buf in, out;
	bool ok = false;

	buf_init(&in);
	buf_init(&out);
	if (!read_file(path, &in)) {
		printf("  cannot read: %s\n", strerror(errno));
	} else {
		ok = play(&in, &out);
		buf_put_u8(&out, 0);
		out.len--;
		if (verbose || !ok)
			printf("%s", (const char *)out.data);
		if (rewrite)
			ok = write_file(path, &out) && ok;
		else if (strcmp((const char *)in.data, (const char *)out.data) != 0) {
			show_difference(&in, &out);
			ok = false;
		}
	}
	buf_free(&in);
	buf_free(&out);
	printf("%s %s\n", ok ? "ok  " : "FAIL", path);
	return ok;
}

int main(int argc, char **argv)
{
	bool rewrite = false, verbose = false;
	unsigned passed = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--rewrite") == 0)
			rewrite = true;
		else if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (run_file(argv[i], rewrite, verbose))
			passed++;
		else
			failed++;
	}
	printf("golden: %u passed, %u failed\n", passed, failed);
	return failed > 0 || passed == 0;
}

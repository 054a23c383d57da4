#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "log.h"

noreturn void rfs_check_failed(const char *expr, const char *file, int line)
{
	log_error("internal error: %s does not hold (%s:%d)", expr, file, line);
	abort();
}

noreturn void rfs_die(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	log_error("%s", text);
	abort();
}

#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(char *text, size_t size)
{
	static const char dots[] = "...";

	memcpy(text + size - sizeof(dots), dots, sizeof(dots));
}

int rfs_err_set(struct rfs_err *e, int code, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (e == NULL)
		return code;
	e->code = code;
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n < 0)
		e->msg[0] = '\0';
	else if ((size_t)n >= sizeof(e->msg))
		mark_cut(e->msg, sizeof(e->msg));
	return code;
}

int rfs_err_prefix(struct rfs_err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	int n, m;

	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(e->msg)) {
		mark_cut(e->msg, sizeof(e->msg));
		return e->code;
	}
	m = snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", old);
	if (m < 0 || (size_t)m >= sizeof(e->msg) - (size_t)n)
		mark_cut(e->msg, sizeof(e->msg));
	return e->code;
}

static const char *own_text(enum rfs_code code)
{
	switch (code) {
	case RFS_ECORRUPT: return "damaged data";
	case RFS_EPROTO: return "protocol violation";
	case RFS_EIDENTITY: return "wrong cluster or node";
	case RFS_EVERSION: return "no common version";
	case RFS_ENOTLEADER: return "not the leader";
	case RFS_ENOQUORUM: return "no quorum in time; not done";
	case RFS_EUNKNOWN: return "no answer in time; outcome unknown";
	case RFS_ESESSION: return "the session has ended";
	case RFS_ECONFIG: return "bad configuration";
	case RFS_EBUSYLIMIT: return "limit reached";
	case RFS_ESHUTDOWN: return "shutting down";
	case RFS_EWAITING: return "waiting for a lock";
	case RFS_EPRECONDITION: return "precondition failed";
	}
	return NULL;
}

const char *rfs_strerror(int code)
{
	const char *text = own_text((enum rfs_code)code);

	if (text != NULL)
		return text;
	if (code > 0 || code <= -1000)
		return "unknown error";
	text = code == 0 ? "no error" : strerrordesc_np(-code);
	return text != NULL ? text : "unknown error";
}

#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include "../src/base/err.h"

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at, t->left, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= t->left)
		n = t->left > 0 ? (int)t->left - 1 : 0;
	t->at += n;
	t->left -= (size_t)n;
}

bool failure_is(int code)
{
	return code <= RFS_ECORRUPT && code != RFS_ESHUTDOWN && code != RFS_EWAITING &&
	       code != RFS_EPRECONDITION;
}

static void put_name(struct text *t, const char *name)
{
	put(t, "\"");
	for (; *name != '\0'; name++)
		put(t, "%c", (unsigned char)*name < ' ' || *name == 127 ? '?' : *name);
	put(t, "\"");
}

static void put_asked(struct text *t, const struct failure *f)
{
	put(t, "%s", f->op);
	if (f->name != NULL && f->name[0] != '\0') {
		put(t, " of ");
		put_name(t, f->name);
		if (f->ino != 0)
			put(t, " (inode %llu)", (unsigned long long)f->ino);
	} else if (f->ino != 0) {
		put(t, " of inode %llu", (unsigned long long)f->ino);
	}
	if (f->pid != 0)
		put(t, " for process %d", (int)f->pid);
}

static void put_outcome(struct text *t, const struct failure *f)
{
	switch (f->code) {
	case RFS_ENOQUORUM:
	case RFS_ENOTLEADER:
		put(t, ": no answer within %llu ms; %s", (unsigned long long)f->timeout_ms,
		    f->is_change ? "the change was certainly not made" : "nothing was read");
		break;
	case RFS_EUNKNOWN:
		put(t, ": no answer in time to a request that was sent; whether the change was or "
		       "will be made "
		       "is not known");
		break;
	case RFS_ESESSION:
		put(t, ": the mount's session ended before the answer came; whether the change was "
		       "made is not "
		       "known");
		break;
	default:
		put(t, ": %s; %s", rfs_strerror(f->code),
		    f->more != NULL ? f->more : "the change was not made");
		break;
	}
}

static void put_nodes(struct text *t, const struct client_info *c)
{
	char address[CONFIG_HOST_MAX + 10];

	for (size_t i = 0; i < c->n_nodes; i++) {
		config_format_endpoint(c->nodes[i].host, c->nodes[i].port, address,
		                       sizeof(address));
		put(t, "%s", i == 0 ? "; tried " : ", ");
		if (c->nodes[i].id != 0)
			put(t, "node %llu at ", (unsigned long long)c->nodes[i].id);
		put(t, "%s (%s%s)", address, c->node_up[i] ? "connected" : "not reachable",
		    c->leader != 0 && c->leader == c->nodes[i].id ? ", thought to lead" : "");
	}
}

void failure_text(char *out, size_t size, const struct failure *f, const struct client_info *c)
{
	struct text t = {out, size};

	put_asked(&t, f);
	put_outcome(&t, f);
	if (!failure_is(f->code))
		return;
	put_nodes(&t, c);
	if (c->last_error[0] != '\0')
		put(&t, "; last: %s", c->last_error);
}

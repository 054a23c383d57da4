/* Administration, as if it were one call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"

struct wait {
	bool done;
	int code;
	char *text;
};

static void on_answer(void *ctx, int code, const char *text)
{
	struct wait *w = ctx;

	w->done = true;
	w->code = code;
	(void)snprintf(w->text, WIRE_TEXT_MAX, "%s", text);
}

int ctl_admin(struct ctl *ctl, const struct config_node *node, const struct wire_admin *what,
              char text[WIRE_TEXT_MAX])
{
	struct wait w = {.text = text};

	text[0] = '\0';
	client_admin(ctl->client, node, what, ctl->timeout_ms, on_answer, &w);
	while (!w.done) /* an interrupt does not take it back: it ends by its deadline */
		ctl_turn(ctl, 1000);
	return w.code;
}

int ctl_admin_finish(struct ctl *ctl, int code, const char *text)
{
	if (code == 0 && ctl->args.json) {
		ctl_json_print(json_pack("{s:b, s:s}", "done", 1, "text", text));
		return CTL_DONE;
	}
	if (code == 0) {
		(void)puts(text);
		return CTL_DONE;
	}
	switch (code) {
	case RFS_EUNKNOWN:
		return ctl_error(
		        CTL_NO_ANSWER,
		        "no last word within %g s%s%s; it may still be done: look with "
		        "'raftctl member list', or ask again (asking twice is asking once)",
		        (double)ctl->timeout_ms / 1000, text[0] != '\0' ? ": " : "", text);
	case RFS_ENOQUORUM:
		return ctl_error(
		        CTL_NO_ANSWER,
		        "no leader within %g s, so nothing was asked%s%s\n'raftctl status' "
		        "shows which nodes are up.",
		        (double)ctl->timeout_ms / 1000, text[0] != '\0' ? ": " : "", text);
	case -EPERM: return ctl_error(CTL_REFUSED, "%s", text);
	case -EINVAL: return ctl_error(CTL_NO, "%s", text);
	default:
		return ctl_error(ctl_exit_of(code), "%s",
		                 text[0] != '\0' ? text : rfs_strerror(code));
	}
}

bool ctl_parse_id(const char *text, raft_id *id)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v == 0 || v > INT32_MAX)
		return false;
	*id = v;
	return true;
}

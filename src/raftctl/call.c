/* Operations on the cluster, and what to say when one fails. */
#include <errno.h>
#include <string.h>
#include "../base/clock.h"
#include "ctl.h"

#define PATIENCE_MS 1000u /* without an answer, before asking whether we are refused */
#define REFUSED_MS  500u

static void on_result(void *ctx, const struct fs_result *r)
{
	struct ctl_call *call = ctx;

	call->done = true;
	call->req = NULL;
	call->result = *r;
	buf_clear(&call->data);
	buf_put(&call->data, r->data, r->data_len);
	call->result.data = call->data.data;
}

void ctl_start(struct ctl *ctl, struct ctl_call *call, const struct fs_op *op)
{
	buf_init(&call->data);
	call->done = false;
	uv_update_time(
	        ctl->loop); /* the time allowed begins now, whatever was done since the last turn */
	call->req = client_submit(ctl->client, op, ctl->timeout_ms, on_result, call);
}

/* Nobody answers. Perhaps because every node refuses us, which no waiting would change. Asked
 * once. */
static bool is_refused(struct ctl *ctl)
{
	struct ctl_survey *s;

	if (!ctl->looked_for_refusal) {
		ctl->looked_for_refusal = true;
		s = ctl_survey_start(ctl, REFUSED_MS);
		ctl_survey_wait(s, 0);
		(void)ctl_survey_refused(s, &ctl->refusal);
	}
	return ctl->refusal.code != 0;
}

static void give_up(struct ctl_call *call, int code)
{
	client_cancel(call->req);
	call->req = NULL;
	call->done = true;
	call->result = (struct fs_result){.err = code};
}

int ctl_wait(struct ctl *ctl, struct ctl_call *call)
{
	uint64_t ask_ms = clock_mono_ms() + PATIENCE_MS;

	while (!call->done) {
		ctl_turn(ctl, PATIENCE_MS);
		if (!call->done && ctl_interrupted())
			give_up(call, -EINTR);
		if (call->done || clock_mono_ms() < ask_ms || !is_refused(ctl) || call->done)
			continue;
		give_up(call, ctl->refusal.code);
	}
	return call->result.err;
}

int ctl_do(struct ctl *ctl, struct ctl_call *call, const struct fs_op *op)
{
	ctl_start(ctl, call, op);
	return ctl_wait(ctl, call);
}

void ctl_call_end(struct ctl_call *call)
{
	if (call->req != NULL)
		client_cancel(call->req);
	buf_free(&call->data);
	*call = (struct ctl_call){0};
}

/* ---- failing ---- */

enum ctl_exit ctl_exit_of(int code)
{
	switch (code) {
	case 0: return CTL_DONE;
	case RFS_ECONFIG: return CTL_USAGE;
	case RFS_EIDENTITY:
	case RFS_EVERSION:
	case -EACCES:
	case -EPERM: return CTL_REFUSED;
	case RFS_ENOQUORUM:
	case RFS_ENOTLEADER:
	case RFS_EUNKNOWN:
	case RFS_ESESSION:
	case RFS_ESHUTDOWN:
	case RFS_EBUSYLIMIT: return CTL_NO_ANSWER;
	default: return CTL_NO;
	}
}

static int failed_in_time(struct ctl *ctl, const char *key, int code, bool change)
{
	struct client_info info;
	const char *outcome = "";

	client_get_info(ctl->client, &info);
	if (change)
		outcome = code == RFS_ENOQUORUM ? "; it was certainly not done"
		                                : "; it may or may not have been done ('raftctl "
		                                  "get' tells once nodes answer)";
	return ctl_error(CTL_NO_ANSWER,
	                 "%s: no answer from a quorum within %g s%s%s%s%s\n"
	                 "'raftctl status' shows which nodes are up.",
	                 key, (double)ctl->timeout_ms / 1000, outcome,
	                 info.last_error[0] != '\0' ? " (" : "", info.last_error,
	                 info.last_error[0] != '\0' ? ")" : "");
}

int ctl_failed(struct ctl *ctl, const char *key, int code, bool change)
{
	enum ctl_exit status = ctl_exit_of(code);

	key = key[0] != '\0' ? key : "/";
	if (code == -EINTR)
		return ctl_error(CTL_NO_ANSWER, "%s: interrupted%s", key,
		                 change ? "; it may or may not have been done" : "");
	if (status == CTL_NO_ANSWER && !is_refused(ctl))
		return failed_in_time(ctl, key, code, change);
	if (ctl->refusal.code != 0)
		return ctl_error(CTL_REFUSED, "%s: %s", key, ctl->refusal.msg);
	switch (code) {
	case -ENOENT: return ctl_error(status, "%s: no such key", key);
	case -EISDIR:
		return ctl_error(
		        status,
		        "%s: a directory, not a key; 'raftctl show %s/' lists what is in it", key,
		        key);
	case -ENOTDIR:
		return ctl_error(
		        status,
		        "%s: not a directory: what stands before a slash is a key of its own", key);
	case -ENOTEMPTY:
		return ctl_error(status,
		                 "%s: a directory that is not empty; 'raftctl delete --recursive "
		                 "%s' removes it "
		                 "with all that is in it",
		                 key, key);
	case -ELOOP:
		return ctl_error(status,
		                 "%s: a symbolic link, or behind one; raftctl does not follow them",
		                 key);
	case -EINVAL:
		return ctl_error(status, "%s: not a file with a value (a fifo, a socket, a device)",
		                 key);
	case -EAGAIN:
		return ctl_error(
		        CTL_NO_ANSWER,
		        "%s: kept changing while it was read; try again, or raise --timeout", key);
	case -EFBIG: return ctl_error(status, "%s: larger than a value may be", key);
	case -EOPNOTSUPP:
		return ctl_error(status,
		                 "%s: the cluster does not speak this yet: a node of an older "
		                 "version holds it back ('raftctl status', column protocol)",
		                 key);
	case -ENOSPC:
		return ctl_error(
		        status,
		        "%s: the nodes have no room left, or the cluster's quota is used up", key);
	case -EDQUOT:
		return ctl_error(
		        status,
		        "%s: the quota of a directory above it is used up ('raftctl quota list')",
		        key);
	case -EACCES:
		if (ctl->tls != NULL)
			return ctl_error(status,
			                 "%s: the nodes do not allow that to a %s, which is what "
			                 "the certificate says",
			                 key, cert_role_name(tls_context_name(ctl->tls)->role));
		return ctl_error(status, "%s: %s", key, rfs_strerror(code));
	default: return ctl_error(status, "%s: %s", key, rfs_strerror(code));
	}
}

int ctl_check_key(const char *text)
{
	int rc = strlen(text) <= FS_PATH_BYTES_MAX ? fs_path_check(fs_str_of(text)) : -ENAMETOOLONG;

	if (rc == -ENAMETOOLONG)
		return ctl_error(
		        CTL_USAGE,
		        "%s: too long: a key has at most %u bytes, and %u between two slashes",
		        text, FS_PATH_BYTES_MAX, FS_NAME_BYTES_MAX);
	if (rc != 0)
		return ctl_error(
		        CTL_USAGE,
		        "'%s' cannot be a key: names joined by single slashes, none of them "
		        "'.' or '..', such as app/db/url",
		        text);
	return 0;
}

/* What a change is made to depend on: --if-version N, --create. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "ctl.h"

bool ctl_parse_version(const char *text, uint64_t *version)
{
	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 19)
		return false;
	*version = strtoull(text, NULL, 10);
	return true;
}

int ctl_condition_take(struct ctl *ctl, const char *key, struct ctl_condition *c)
{
	const char *version = ctl_args_option(&ctl->args, "if-version");
	const char *create = ctl_args_option(&ctl->args, "create");

	*c = (struct ctl_condition){.is_set = version != NULL || create != NULL};
	if (version != NULL && create != NULL)
		return ctl_error(CTL_USAGE,
		                 "%s: one of --create and --if-version; --create is --if-version 0",
		                 key);
	if (version != NULL && !ctl_parse_version(version, &c->version))
		return ctl_error(CTL_USAGE, "--if-version: a version is a whole number, not '%s'",
		                 version);
	return CTL_DONE;
}

void ctl_condition_add(const struct ctl_condition *c, struct fs_op *op)
{
	if (c == NULL || !c->is_set)
		return;
	op->flags |= FS_F_IF_VERSION;
	op->version = c->version;
}

void ctl_condition_note(struct ctl_condition *c, const struct fs_result *res)
{
	if (c == NULL || res->err != RFS_EPRECONDITION)
		return;
	c->failed = true;
	c->found = res->has_attr ? res->attr.version : 0;
}

int ctl_condition_failed(const struct ctl_condition *c, const char *key)
{
	if (c->version == 0)
		return ctl_error(CTL_NO, "%s: exists already, at version %" PRIu64, key, c->found);
	if (c->found == 0)
		return ctl_error(CTL_NO, "%s: does not exist, and so is not at version %" PRIu64,
		                 key, c->version);
	return ctl_error(CTL_NO, "%s: is at version %" PRIu64 " now, not %" PRIu64, key, c->found,
	                 c->version);
}

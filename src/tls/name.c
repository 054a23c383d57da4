#include "name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEME "raftfs://"

const char *cert_role_name(enum cert_role role)
{
	switch (role) {
	case CERT_READER: return "reader";
	case CERT_CLIENT: return "client";
	case CERT_ADMIN: return "admin";
	case CERT_NODE: return "node";
	}
	return "?";
}

static bool word_ok(const char *text, size_t n)
{
	static const char chars[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	for (size_t i = 0; i < n; i++)
		if (memchr(chars, text[i], sizeof(chars) - 1) == NULL)
			return false;
	return n > 0 && n <= CERT_WORD_MAX;
}

bool cert_word_ok(const char *text)
{
	return word_ok(text, strlen(text));
}

/* The word up to the next slash, or the rest; false if it can be none. */
static bool take_word(const char **rest, char word[CERT_WORD_MAX + 1])
{
	size_t n = strcspn(*rest, "/");

	if (!word_ok(*rest, n))
		return false;
	memcpy(word, *rest, n);
	word[n] = '\0';
	*rest += n;
	if (**rest == '/')
		(*rest)++;
	return true;
}

static bool take_role(const char *word, enum cert_role *role)
{
	for (enum cert_role r = CERT_READER; r <= CERT_NODE; r++) {
		if (strcmp(word, cert_role_name(r)) != 0)
			continue;
		*role = r;
		return true;
	}
	return false;
}

static bool take_id(const char *word, uint64_t *id)
{
	char *end;

	errno = 0;
	*id = strtoull(word, &end, 10);
	return errno == 0 && word[0] >= '1' && word[0] <= '9' && *end == '\0' && *id <= INT32_MAX;
}

int cert_name_parse(struct cert_name *name, const char *uri, struct rfs_err *err)
{
	struct cert_name n = {0};
	char role[CERT_WORD_MAX + 1];
	const char *rest = uri + strlen(SCHEME);

	if (strncmp(uri, SCHEME, strlen(SCHEME)) == 0 && take_word(&rest, n.cluster) &&
	    take_word(&rest, role) && take_role(role, &n.role) && take_word(&rest, n.name) &&
	    rest[0] == '\0' && rest[-1] != '/' &&
	    (n.role != CERT_NODE || take_id(n.name, &n.node_id))) {
		if (n.role == CERT_NODE)
			n.name[0] = '\0';
		*name = n;
		return 0;
	}
	return rfs_err_set(err, -EINVAL,
	                   "\"%.100s\" is not " SCHEME "CLUSTER/node/ID, nor /admin/, /client/ or "
	                   "/reader/ with a name",
	                   uri);
}

void cert_name_uri(const struct cert_name *name, char uri[CERT_URI_MAX])
{
	if (name->role == CERT_NODE)
		(void)snprintf(uri, CERT_URI_MAX, SCHEME "%s/node/%" PRIu64, name->cluster,
		               name->node_id);
	else
		(void)snprintf(uri, CERT_URI_MAX, SCHEME "%s/%s/%s", name->cluster,
		               cert_role_name(name->role), name->name);
}

void cert_name_describe(const struct cert_name *name, char text[CERT_URI_MAX])
{
	if (name->role == CERT_NODE)
		(void)snprintf(text, CERT_URI_MAX, "node %" PRIu64 " of cluster %s", name->node_id,
		               name->cluster);
	else
		(void)snprintf(text, CERT_URI_MAX, "%s %s of cluster %s",
		               cert_role_name(name->role), name->name, name->cluster);
}

#include "certs.h"

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONTEXTS_MAX 64

static char top[256];
static struct tls_context *contexts[CONTEXTS_MAX];
static unsigned n_contexts;

void certs_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(top, sizeof(top), "%s/certs.XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	n_contexts = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void certs_teardown(void)
{
	for (unsigned i = 0; i < n_contexts; i++)
		tls_context_free(contexts[i]);
	n_contexts = 0;
	ck_assert_int_eq(nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *certs_authority(const char *name, const char *cluster)
{
	static char dirs[8][300];
	static unsigned next;
	char *dir = dirs[next++ % 8];
	struct rfs_err err = {0};
	struct stat st;

	(void)snprintf(dir, sizeof(dirs[0]), "%s/%s", top, name);
	if (stat(dir, &st) != 0)
		ck_assert_msg(issue_ca(dir, cluster, &err) == 0, "%s", err.msg);
	return dir;
}

struct cert_name certs_node(uint64_t id)
{
	return (struct cert_name){.role = CERT_NODE, .node_id = id};
}

struct cert_name certs_named(enum cert_role role, const char *name)
{
	struct cert_name who = {.role = role};

	(void)snprintf(who.name, sizeof(who.name), "%s", name);
	return who;
}

struct tls_files certs_issue(const char *dir, struct cert_name who, int days)
{
	struct rfs_err err = {0};
	struct tls_files made;

	ck_assert_msg(issue_cert(dir, &who, days, &made, &err) == 0, "%s", err.msg);
	return made;
}

struct tls_context *certs_load(const struct tls_files *files, bool optional)
{
	struct tls_opts opts = {.files = *files, .optional = optional};
	struct rfs_err err = {0};

	ck_assert_uint_lt(n_contexts, CONTEXTS_MAX);
	ck_assert_msg(tls_context_new(&contexts[n_contexts], &opts, &err) == 0, "%s", err.msg);
	return contexts[n_contexts++];
}

struct tls_context *certs_context(const char *dir, struct cert_name who)
{
	struct tls_files files = certs_issue(dir, who, 30);

	return certs_load(&files, false);
}

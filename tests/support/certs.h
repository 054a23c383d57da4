/* Authorities and certificates for tests, in a temporary directory. */
#ifndef RFS_TESTS_SUPPORT_CERTS_H
#define RFS_TESTS_SUPPORT_CERTS_H

#include "../../src/tls/context.h"
#include "../../src/tls/issue.h"

void certs_setup(void);
void certs_teardown(void); /* frees every context, removes the directory */

/* A directory NAME below the temporary one with an authority for `cluster` in it, made when it is
 * first asked for. */
const char *certs_authority(const char *name, const char *cluster);

struct cert_name certs_node(uint64_t id);
struct cert_name certs_named(enum cert_role role, const char *name);

/* Issue one and give its files; `days` as issue_cert(). */
struct tls_files certs_issue(const char *dir, struct cert_name who, int days);
/* The same as a context of its own. */
struct tls_context *certs_context(const char *dir, struct cert_name who);
struct tls_context *certs_load(const struct tls_files *files, bool optional);

#endif

/* Who may do what, by the role in the certificate of a connection; over a plain one, anybody anything:
 *
 *   reader  reads keys and what lies about them, follows changes, asks for statuses
 *   client  also changes keys, keeps a session, takes locks
 *   admin   also changes members and leaders, suspends, breaks locks, sets quotas, takes backups: what is
 *           done to the cluster, or to what is others'
 *   node    also everything that nodes say to each other, in its own name alone (src/net/hello.c)
 */
#include "node_priv.h"

#include <errno.h>
#include "../base/clock.h"
#include "../base/log.h"

#define TELL_MS 1000u

static enum cert_role role_for(enum fs_right right)
{
	switch (right) {
	case FS_RIGHT_READ: return CERT_READER;
	case FS_RIGHT_CHANGE: return CERT_CLIENT;
	case FS_RIGHT_ADMIN: break;
	}
	return CERT_ADMIN;
}

int rights_judge(struct node *n, const struct node_conn *c, enum fs_right right, const char *what)
{
	uint64_t now = clock_mono_ms();

	if (net_conn_role(c->net) >= role_for(right))
		return 0;
	n->counts.denied++;
	if (n->denied_said_ms == 0 || now - n->denied_said_ms >= TELL_MS) {
		n->denied_said_ms = now;
		log_warn("%s: refused %s, which takes the certificate of a role from %s on",
		         net_conn_who(c->net), what, cert_role_name(role_for(right)));
	}
	return -EACCES;
}

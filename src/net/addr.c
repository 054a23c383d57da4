#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "conn_priv.h"

bool addr_parse(const char *host, uint16_t port, struct sockaddr_storage *addr)
{
	memset(addr, 0, sizeof(*addr));
	return uv_ip4_addr(host, port, (struct sockaddr_in *)addr) == 0 ||
	       uv_ip6_addr(host, port, (struct sockaddr_in6 *)addr) == 0;
}

void addr_name_of(const char *host, uint16_t port, char *name, size_t size)
{
	bool v6 = strchr(host, ':') != NULL;

	/* A name cut short does no harm: it only ever stands in messages. */
	(void)snprintf(name, size, "%s%.255s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

void addr_name(const struct sockaddr *addr, char *name, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	if (uv_ip_name(addr, host, sizeof(host)) != 0)
		(void)snprintf(host, sizeof(host), "?");
	addr_name_of(host, addr_get_port(addr), name, size);
}

void addr_set_port(struct sockaddr *addr, uint16_t port)
{
	if (addr->sa_family == AF_INET6)
		((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)addr)->sin_port = htons(port);
}

uint16_t addr_get_port(const struct sockaddr *addr)
{
	if (addr->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)addr)->sin_port);
}

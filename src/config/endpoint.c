/* "host:port" in and out. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_v6(const char *host)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;
	char plain[INET6_ADDRSTRLEN];
	size_t n = strcspn(host, "%"); /* fe80::1%eth0: the zone is the resolver's business */
	struct in6_addr addr;

	if (n >= sizeof(plain) || (host[n] == '%' && host[n + 1] == '\0'))
		return false;
	memcpy(plain, host, n);
	plain[n] = '\0';
	return inet_pton(AF_INET6, plain, &addr) == 1 && memcmp(&addr, &any, sizeof(any)) != 0;
}

bool config_host_ok(const char *host)
{
	static const char name_chars[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(host);
	struct in_addr addr;

	if (n == 0 || n > CONFIG_HOST_MAX)
		return false;
	if (strchr(host, ':') != NULL)
		return is_v6(host);
	if (strspn(host, name_chars) != n || host[0] == '-' || host[0] == '.')
		return false;
	if (inet_pton(AF_INET, host, &addr) == 1)
		return addr.s_addr != htonl(INADDR_ANY);
	/* Only digits and dots is an address with a slip in it, not a name. */
	return strspn(host, "0123456789.") != n;
}

static int parse_port(const char *text, uint16_t *port)
{
	unsigned long v;

	if (strspn(text, "0123456789") != strlen(text) || text[0] == '\0' || strlen(text) > 5)
		return -EINVAL;
	v = strtoul(text, NULL, 10);
	if (v == 0 || v > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

bool config_host_is_any(const char *host)
{
	return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static int parse(const char *text, bool any, char host[CONFIG_HOST_MAX + 1], uint16_t *port)
{
	const char *start = text, *end, *colon = strrchr(text, ':');
	char found[CONFIG_HOST_MAX + 1];
	bool bracket = text[0] == '[';
	uint16_t number;
	size_t n;

	if (colon == NULL)
		return -EINVAL;
	end = colon;
	if (bracket) {
		start++;
		if (colon == text || colon[-1] != ']')
			return -EINVAL;
		end = colon - 1;
	}
	n = end > start ? (size_t)(end - start) : 0;
	if (n == 0 || n > CONFIG_HOST_MAX)
		return -EINVAL;
	memcpy(found, start, n);
	found[n] = '\0';
	/* Without brackets nobody can tell where a v6 address ends. */
	if (bracket != (strchr(found, ':') != NULL))
		return -EINVAL;
	if (!config_host_ok(found) && !(any && config_host_is_any(found)))
		return -EINVAL;
	if (parse_port(colon + 1, &number) != 0)
		return -EINVAL;
	memcpy(host, found, n + 1);
	*port = number;
	return 0;
}

int config_parse_endpoint(const char *text, char host[CONFIG_HOST_MAX + 1], uint16_t *port)
{
	return parse(text, false, host, port);
}

int config_parse_listen(const char *text, char host[CONFIG_HOST_MAX + 1], uint16_t *port)
{
	return parse(text, true, host, port);
}

void config_format_endpoint(const char *host, uint16_t port, char *out, size_t out_size)
{
	bool v6 = strchr(host, ':') != NULL;

	(void)snprintf(out, out_size, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* The command line. Not getopt: what begins with a dash and is not an option of ours is an operand,
 * so that `raftctl set temperature -5` stores "-5". */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "commands.h"

#define TIMEOUT_S_MAX 86400

struct parse {
	struct ctl_args *a;
	int argc;
	char **argv;
	struct rfs_err *err;
	bool implied; /* no command stands there, so it is the shell */
};

/* Options that every command has. */
enum common {
	COMMON_CLUSTER,
	COMMON_ENDPOINT,
	COMMON_CA,
	COMMON_CERT,
	COMMON_KEY,
	COMMON_TIMEOUT,
	COMMON_JSON,
	COMMON_HELP,
	COMMON_VERSION,
	COMMON_N
};

static const struct {
	const char *name;
	bool has_value;
} common_options[COMMON_N] = {
        [COMMON_CLUSTER] = {"cluster", true},
        [COMMON_ENDPOINT] = {"endpoint", true},
        [COMMON_CA] = {"ca", true},
        [COMMON_CERT] = {"cert", true},
        [COMMON_KEY] = {"key", true},
        [COMMON_TIMEOUT] = {"timeout", true},
        [COMMON_JSON] = {"json", false},
        [COMMON_HELP] = {"help", false},
        [COMMON_VERSION] = {"version", false},
};

/* "--name" or "--name=value" against `name`. */
static bool is_option(const char *arg, const char *name)
{
	size_t n = strlen(name);

	return strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, n) == 0 &&
	       (arg[2 + n] == '\0' || arg[2 + n] == '=');
}

/* "-l", for an option whose name is that letter. */
static bool is_letter(const char *arg, const char *name)
{
	return arg[0] == '-' && arg[1] != '\0' && arg[2] == '\0' && name[0] == arg[1] &&
	       name[1] == '\0';
}

static bool is_own_letter(const struct parse *p, const char *arg)
{
	const struct ctl_option *o = p->a->command != NULL ? p->a->command->options : NULL;

	for (; o != NULL && o->name != NULL; o++)
		if (is_letter(arg, o->name))
			return true;
	return false;
}

static int common_option(const char *arg)
{
	for (int i = 0; i < COMMON_N; i++)
		if (is_option(arg, common_options[i].name))
			return i;
	return -1;
}

/* Where the command stands: the first argument that is no option and no option's value. 0:
 * nowhere. */
static int find_command(const struct parse *p)
{
	for (int i = 1; i < p->argc; i++) {
		const char *arg = p->argv[i];
		int o = common_option(arg);

		if (strcmp(arg, "--") == 0)
			return i + 1 < p->argc ? i + 1 : 0;
		if (o >= 0 && common_options[o].has_value && strchr(arg, '=') == NULL)
			i++;
		if (o < 0 && arg[0] != '-')
			return i;
	}
	return 0;
}

/* The value of the option at *i, behind its '=' or in the next argument. */
static int take_value(const struct parse *p, int *i, bool wanted, const char **value)
{
	const char *arg = p->argv[*i], *equals = strchr(arg, '=');
	size_t n = equals != NULL ? (size_t)(equals - arg) : strlen(arg);

	*value = "";
	if (!wanted)
		return equals == NULL
		               ? 0
		               : rfs_err_set(p->err, -EINVAL, "%.*s takes no value", (int)n, arg);
	if (equals != NULL)
		*value = equals + 1;
	else if (*i + 1 < p->argc)
		*value = p->argv[++*i];
	else
		return rfs_err_set(p->err, -EINVAL, "%s wants a value", arg);
	return 0;
}

static int parse_timeout(const struct parse *p, const char *text)
{
	char *end;
	double s;

	errno = 0;
	s = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !(s >= 0.001) || !(s <= TIMEOUT_S_MAX))
		return rfs_err_set(p->err, -EINVAL,
		                   "--timeout %s: must be seconds, from 0.001 to %d", text,
		                   TIMEOUT_S_MAX);
	p->a->timeout_ms = (uint64_t)(s * 1000);
	return 0;
}

static int add_endpoint(const struct parse *p, const char *text)
{
	struct ctl_args *a = p->a;
	char host[CONFIG_HOST_MAX + 1];
	uint16_t port;

	if (config_parse_endpoint(text, host, &port) != 0)
		return rfs_err_set(p->err, -EINVAL,
		                   "--endpoint %s: must be HOST:PORT, such as 127.0.0.1:7001",
		                   text);
	if (a->n_endpoints == CONFIG_NODES_MAX)
		return rfs_err_set(p->err, -EINVAL, "more than %d times --endpoint",
		                   CONFIG_NODES_MAX);
	a->endpoints[a->n_endpoints++] = text;
	return 0;
}

static int take_common(const struct parse *p, enum common option, int *i)
{
	const char *value;
	int rc = take_value(p, i, common_options[option].has_value, &value);

	if (rc != 0)
		return rc;
	switch (option) {
	case COMMON_CLUSTER: p->a->cluster = value; break;
	case COMMON_CA: p->a->tls.ca = value; break;
	case COMMON_CERT: p->a->tls.cert = value; break;
	case COMMON_KEY: p->a->tls.key = value; break;
	case COMMON_ENDPOINT: return add_endpoint(p, value);
	case COMMON_TIMEOUT: return parse_timeout(p, value);
	case COMMON_JSON: p->a->json = true; break;
	case COMMON_HELP: p->a->help = true; break;
	case COMMON_VERSION: p->a->version = true; break;
	case COMMON_N: break;
	}
	return 0;
}

/* An option of the command itself. */
static int take_own(const struct parse *p, int *i)
{
	const struct ctl_option *o = p->a->command != NULL ? p->a->command->options : NULL;
	const char *arg = p->argv[*i];

	for (size_t k = 0; o != NULL && o[k].name != NULL; k++)
		if (is_option(arg, o[k].name) || is_letter(arg, o[k].name))
			return take_value(p, i, o[k].value != NULL, &p->a->options[k]);
	if (p->a->command == NULL || p->implied)
		return rfs_err_set(p->err, -EINVAL, "no option %s", arg);
	return rfs_err_set(
	        p->err, -EINVAL,
	        "%s has no option %s (a value that begins with -- goes behind a lone --)",
	        p->a->command->name, arg);
}

static int add_operand(const struct parse *p, const char *arg)
{
	struct ctl_args *a = p->a;

	if (a->n_operands == CTL_OPERANDS_MAX)
		return rfs_err_set(p->err, -EINVAL, "too many arguments");
	a->operands[a->n_operands++] = arg;
	return 0;
}

static int take_all(const struct parse *p, int command_at)
{
	bool options_ended = false;
	int rc = 0;

	for (int i = 1; i < p->argc && rc == 0; i++) {
		const char *arg = p->argv[i];
		int o = common_option(arg);

		if (i == command_at)
			continue;
		if (options_ended || strncmp(arg, "-", 1) != 0)
			rc = add_operand(p, arg);
		else if (strcmp(arg, "--") == 0)
			options_ended = true;
		else if (o >= 0)
			rc = take_common(p, (enum common)o, &i);
		else if (strncmp(arg, "--", 2) == 0 || is_own_letter(p, arg))
			rc = take_own(p, &i);
		else if (strcmp(arg, "-h") == 0 && p->a->n_operands == 0)
			p->a->help = true;
		else if (p->implied && arg[1] != '\0')
			rc = rfs_err_set(p->err, -EINVAL, "no option %s", arg);
		else
			rc = add_operand(p, arg);
	}
	return rc;
}

static int check_count(const struct parse *p)
{
	const struct ctl_command *c = p->a->command;

	if (p->a->n_operands >= c->operands_min && p->a->n_operands <= c->operands_max)
		return 0;
	return rfs_err_set(p->err, -EINVAL, "too %s arguments; usage: raftctl %s%s%s",
	                   p->a->n_operands < c->operands_min ? "few" : "many", c->name,
	                   c->operands[0] != '\0' ? " " : "", c->operands);
}

int ctl_args_parse(struct ctl_args *a, int argc, char **argv, struct rfs_err *err)
{
	struct parse p = {.a = a, .argc = argc, .argv = argv, .err = err};
	int at, rc;

	*a = (struct ctl_args){0};
	at = find_command(&p);
	if (at != 0 && strcmp(argv[at], "help") != 0) {
		a->command = ctl_command_by_name(argv[at]);
		if (a->command == NULL)
			return rfs_err_set(err, -EINVAL, "no command named %s", argv[at]);
	}
	if (at == 0) {
		p.implied = true;
		a->command = &cmd_shell;
	}
	rc = take_all(&p, at);
	/* `raftctl help COMMAND` is `raftctl COMMAND --help` */
	if (rc == 0 && at != 0 && a->command == NULL) {
		const char *topic = a->n_operands > 0 ? a->operands[0] : "help";

		a->help = true;
		a->command = ctl_command_by_name(topic);
		if (a->command == NULL && strcmp(topic, "help") != 0)
			return rfs_err_set(err, -EINVAL, "no command named %s", topic);
		if (a->n_operands > 1)
			return rfs_err_set(err, -EINVAL,
			                   "too many arguments; usage: raftctl help [COMMAND]");
	}
	if (p.implied && (rc != 0 || a->help))
		a->command = NULL;
	if (rc != 0 || a->help || a->version)
		return rc;
	if (a->cluster != NULL && a->n_endpoints > 0)
		return rfs_err_set(err, -EINVAL, "--cluster and --endpoint exclude each other");
	return check_count(&p);
}

const char *ctl_args_option(const struct ctl_args *a, const char *name)
{
	const struct ctl_option *o = a->command->options;

	for (size_t i = 0; o != NULL && o[i].name != NULL; i++)
		if (strcmp(o[i].name, name) == 0)
			return a->options[i];
	return NULL;
}

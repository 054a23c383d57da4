/* --help, of the tool and of each command. */
#include <stdio.h>
#include "ctl.h"

#define HELP_COLUMN 24 /* where what something does begins */

static const char options_text[] =
        "  --cluster FILE        the cluster file\n"
        "  --endpoint HOST:PORT  any node, instead of a cluster file; may be given several times\n"
        "  --cert FILE           the certificate to show, --key FILE its key, --ca FILE whom to "
        "believe, instead\n"
        "                        of those in [tls] of the cluster file, or $RAFTFS_CERT, _KEY, "
        "_CA\n"
        "  --timeout SECONDS     how long to wait for an answer (default: 10)\n"
        "  --json                print facts as JSON\n";

static const char lookup_text[] =
        "Without --cluster and --endpoint the cluster file is $RAFTFS_CLUSTER, ./cluster.toml or\n"
        "/etc/raftfs/cluster.toml; without any of them, the store inside a raftfs that runs on "
        "this machine.\n";

static const char exits_text[] =
        "Exit codes: 0 done; 1 no (absent key, or the operation failed as its message says); 2 "
        "usage or\n"
        "configuration; 3 no answer from a quorum in time; 4 refused (identity, permission).\n";

static void help_tool(void)
{
	(void)printf("usage: raftctl [OPTION]... [COMMAND ...]\n\n"
	             "Keys of a raftfs cluster, and what its nodes are doing. Without a command: a "
	             "shell that takes them\nline by line.\n\ncommands:\n");
	for (size_t i = 0; ctl_commands[i] != NULL; i++) {
		const struct ctl_command *c = ctl_commands[i];
		int width = printf("  %s %s", c->name, c->operands);

		if (width < HELP_COLUMN)
			(void)printf("%*s%s\n", HELP_COLUMN - width, "", c->summary);
		else
			(void)printf("\n%*s%s\n", HELP_COLUMN, "", c->summary);
	}
	(void)printf("\noptions, before or behind the command:\n%s"
	             "  --help                this text; of one command: raftctl COMMAND --help\n"
	             "  --version\n\n%s\n%s",
	             options_text, lookup_text, exits_text);
}

static void help_command(const struct ctl_command *c)
{
	(void)printf("usage: raftctl [OPTION]... %s%s%s\n\n%s.\n", c->name,
	             c->operands[0] != '\0' ? " " : "", c->operands, c->summary);
	if (c->details != NULL)
		(void)printf("\n%s", c->details);
	(void)printf("\noptions:\n");
	for (size_t i = 0; c->options != NULL && c->options[i].name != NULL; i++) {
		const struct ctl_option *o = &c->options[i];
		int width = printf("  %s%s%s%s", o->name[1] != '\0' ? "--" : "-", o->name,
		                   o->value != NULL ? " " : "", o->value != NULL ? o->value : "");

		(void)printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 2, "", o->help);
	}
	(void)printf("%s", options_text);
}

void ctl_help(const struct ctl_command *command)
{
	if (command == NULL)
		help_tool();
	else
		help_command(command);
}

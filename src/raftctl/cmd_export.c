/* export, import */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "archive.h"
#include "commands.h"
#include "progress.h"

static void tell(const struct ctl *ctl, const char *path, const struct archive_counts *c)
{
	char size[32];

	if (ctl->args.json) {
		ctl_json_print(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "path", path,
		                         "files", (json_int_t)c->files, "directories",
		                         (json_int_t)c->directories, "links", (json_int_t)c->links,
		                         "others", (json_int_t)c->others, "bytes",
		                         (json_int_t)c->bytes, "skipped", (json_int_t)c->skipped));
		return;
	}
	progress_format_bytes(c->bytes, size, sizeof(size));
	(void)printf("%s: %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " links, %" PRIu64
	             " others, %s\n",
	             path, c->files, c->directories, c->links, c->others, size);
	if (c->skipped > 0)
		(void)printf("left out, as no archive has them: %" PRIu64 " sockets\n", c->skipped);
}

static const char *key_operand(const struct ctl *ctl)
{
	return ctl->args.n_operands > 1 ? ctl->args.operands[1] : "";
}

static int check_operand(const struct ctl *ctl)
{
	const char *key = key_operand(ctl);

	return key[0] == '\0' || strcmp(key, "/") == 0 ? CTL_DONE : ctl_check_key(key);
}

static int export_run(struct ctl *ctl)
{
	const char *path = ctl->args.operands[0];
	struct archive_counts counts;
	int status = check_operand(ctl);

	if (status == CTL_DONE)
		status = archive_export(ctl, key_operand(ctl), path, &counts);
	if (status == CTL_DONE && strcmp(path, "-") != 0)
		tell(ctl, path, &counts);
	return status;
}

static int import_run(struct ctl *ctl)
{
	const char *path = ctl->args.operands[0];
	struct archive_counts counts;
	int status = check_operand(ctl);

	if (status == CTL_DONE)
		status = archive_import(ctl, path, key_operand(ctl), &counts);
	if (status == CTL_DONE)
		tell(ctl, path, &counts);
	return status;
}

static const char export_details[] = "Writes everything below KEY (without it: everything) as a "
                                     "plain tree of files, with modes, owners, times,\n"
                                     "links, devices and extended attributes: into the directory "
                                     "DIR, which must be empty or not be there, or into\n"
                                     "a tar file (.tar, .tar.gz, .tar.xz, .tar.zst; - is standard "
                                     "output). Owners are set when root exports to a\n"
                                     "directory. Holes stay holes.\n"
                                     "\n"
                                     "Clients may go on meanwhile. Each file's bytes and "
                                     "attributes are of one version (extended attributes are\n"
                                     "read after them), but the files are not of one moment: what "
                                     "is renamed meanwhile may be missing or there\n"
                                     "twice, what is made or removed may be there or not. The "
                                     "whole at one index of the log: 'raftctl backup'.\n"
                                     "\n"
                                     "  raftctl export /srv/copy\n"
                                     "  raftctl export app.tar.gz app\n"
                                     "\n"
                                     "Exit codes: 0 done; 1 no such KEY, cannot write; 2 usage; 3 "
                                     "no answer from a quorum in time; 4 refused.\n";

static const char import_details[] = "Puts a plain tree of files below KEY (without it: the root), "
                                     "which is made: the contents of a directory, or a\n"
                                     "tar file (compressed or not; - is standard input), with "
                                     "modes, owners, times, links, devices and extended\n"
                                     "attributes; holes stay holes. What is there already under "
                                     "the same name is replaced; a directory by nothing\n"
                                     "else. Each file comes whole, the tree as a whole bit by bit. "
                                     "Interrupted, it can be run again.\n"
                                     "\n"
                                     "  raftctl import /srv/copy\n"
                                     "  raftctl import app.tar.gz app\n"
                                     "\n"
                                     "Exit codes: 0 done; 1 cannot read, or an entry cannot be "
                                     "made; 2 usage; 3 no answer from a quorum in time;\n"
                                     "4 refused.\n";

const struct ctl_command cmd_export = {
        .name = "export",
        .operands = "DIR|TAR [KEY]",
        .summary = "write a plain tree of files, or a tar file",
        .details = export_details,
        .operands_min = 1,
        .operands_max = 2,
        .run = export_run,
};

const struct ctl_command cmd_import = {
        .name = "import",
        .operands = "DIR|TAR [KEY]",
        .summary = "take in a plain tree of files, or a tar file",
        .details = import_details,
        .operands_min = 1,
        .operands_max = 2,
        .run = import_run,
};

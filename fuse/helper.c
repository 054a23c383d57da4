/* raftfs under the name of mount.raftfs: what mount(8) runs for `mount -t raftfs` and for lines of
 * fstab. Its words are in mount(8), "EXTERNAL HELPERS". */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

/* Neither says which cluster: it is looked for in the usual places. */
static bool is_no_source(const char *source)
{
	return strcmp(source, "none") == 0 || strcmp(source, "raftfs") == 0;
}

static int take_operands(struct mount_options *o, int n, char *const words[], struct rfs_err *err)
{
	if (n != 2)
		return rfs_err_set(err, -EINVAL,
		                   n < 2 ? "a cluster file and a mountpoint are needed"
		                         : "only a cluster file and a mountpoint can be given");
	if (words[0][0] == '\0' || words[1][0] == '\0')
		return rfs_err_set(err, -EINVAL, "the %s is empty",
		                   words[0][0] == '\0' ? "cluster file's name" : "mountpoint");
	o->source = words[0];
	o->cluster = is_no_source(words[0]) ? NULL : words[0];
	o->mountpoint = words[1];
	return 0;
}

int options_parse_helper(struct mount_options *o, int argc, char *const argv[], bool is_root,
                         struct rfs_err *err)
{
	static const struct option long_options[] = {
	        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	struct buf lists;
	int which, rc = 0;

	options_init(o);
	buf_init(&lists);
	opterr = 0;
	optind = 0;
	while (rc == 0 &&
	       (which = getopt_long(argc, argv, ":fnsvo:t:", long_options, NULL)) != -1) {
		switch (which) {
		case 'f': o->fake = true; break;
		case 's': o->sloppy = true; break;
		case 'n': /* no mtab: there is none */
		case 'v':
		case 't': break;
		case 'o': buf_printf(&lists, "%s,", optarg); break; /* -s may yet come */
		case 'h': o->help = true; break;
		case 'V': o->version = true; break;
		case ':': rc = rfs_err_set(err, -EINVAL, "-%c needs a value", optopt); break;
		default:
			rc = rfs_err_set(err, -EINVAL, "%s: unknown option", argv[optind - 1]);
			break;
		}
	}
	if (rc == 0 && !o->help && !o->version)
		rc = take_operands(o, argc - optind, argv + optind, err);
	if (rc == 0) {
		*buf_reserve(&lists, 1) = '\0';
		rc = options_take_list(o, (const char *)lists.data, err);
	}
	buf_free(&lists);
	return rc == 0 ? options_finish(o, is_root, err) : rc;
}

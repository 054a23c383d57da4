/* Trees of files outside the cluster, by libarchive: a directory, or a tar file by its name (also
 * .tar.gz, .tgz, .tar.xz, .tar.zst; "-" is standard input or output). */
#ifndef RFS_RAFTCTL_ARCHIVE_H
#define RFS_RAFTCTL_ARCHIVE_H

#include <stdbool.h>
#include "ctl.h"

/* Whether `path` names a tar file; else it is a directory. */
bool archive_is_tar(const char *path);

/* What libarchive says went wrong with `path`, on stderr; gives CTL_NO. */
struct archive;
int archive_complain(struct archive *a, const char *path);

/* libarchive works in the current directory: back to `here`, which is closed. */
void archive_go_back(int here);

/* What was done. */
struct archive_counts {
	uint64_t files, directories, links, others, bytes, skipped;
};

/* The directory `key` ("" or "/": the root) and everything below it, with attributes, into `path`; a directory that is
 * there must be empty. Each file is of one version; the whole is no snapshot. Gives an exit code; what is wrong
 * stands on stderr. */
int archive_export(struct ctl *ctl, const char *key, const char *path, struct archive_counts *c);

/* The other way: what is in `path` comes below `key`, which is made. What is there already is replaced, but no
 * directory by anything else. */
int archive_import(struct ctl *ctl, const char *path, const char *key, struct archive_counts *c);

#endif

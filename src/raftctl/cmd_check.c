/* check */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../wal/file.h"
#include "../wal/wal.h"
#include "../wire/codec.h"
#include "backup.h"
#include "commands.h"
#include "progress.h"
#include "restore.h"

#define READ_ENTRIES  256u
#define READ_BYTES    (8u << 20)
#define SEGMENT_BYTES (16u << 20)

/* What has been found, for the last lines. */
struct finding {
	struct wal_recovered log;
	uint64_t commands, others;
	struct raft_pos applied, installed;
	struct store_snapshot_info state;
};

/* ---- a folder of our own ---- */

static int make_temporary(char path[CONFIG_PATH_MAX], struct rfs_err *err)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(path, CONFIG_PATH_MAX, "%s/raftctl-check-XXXXXX",
	               tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
	if (mkdtemp(path) == NULL)
		return rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	return 0;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC), to, rc = 0;
	char buf[65536];
	ssize_t n;

	if (from < 0)
		return -errno;
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (to >= 0 && rc == 0 && (n = read(from, buf, sizeof(buf))) != 0)
		if (n < 0 || write(to, buf, (size_t)n) != n)
			rc = errno != 0 ? -errno : -EIO;
	if (to < 0)
		rc = -errno;
	else
		(void)close(to);
	(void)close(from);
	return rc;
}

/* RocksDB writes into every directory it opens. So it gets one of its own, with a copy of what is
 * small and changes, and links to the tables, which nobody ever writes to again. */
static int mirror_one(int from_dir, const char *from, int to_dir, const char *name)
{
	const char *dot = strrchr(name, '.');
	char target[CONFIG_PATH_MAX + NAME_MAX + 32];

	if (name[0] == '.' || strncmp(name, "LOG", 3) == 0 || strcmp(name, "LOCK") == 0)
		return 0;
	if (dot == NULL || strcmp(dot, ".sst") != 0)
		return copy_file(from_dir, to_dir, name);
	(void)snprintf(target, sizeof(target), "%s/%s", from, name);
	return symlinkat(target, to_dir, name) == 0 ? 0 : -errno;
}

static int mirror(const char *from, const char *to, struct rfs_err *err)
{
	DIR *d = opendir(from);
	int to_dir = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct dirent *e;

	if (d == NULL || to_dir < 0)
		rc = rfs_err_set(err, -errno, "%s: %s", d == NULL ? from : to,
		                 rfs_strerror(-errno));
	while (rc == 0 && d != NULL && (e = readdir(d)) != NULL)
		if ((rc = mirror_one(dirfd(d), from, to_dir, e->d_name)) != 0)
			rc = rfs_err_set(err, rc, "%s/%s: %s", from, e->d_name, rfs_strerror(rc));
	if (d != NULL)
		(void)closedir(d);
	if (to_dir >= 0)
		(void)close(to_dir);
	return rc;
}

/* ---- the log ---- */

static int check_entry(const struct raft_entry *e, struct wire_arena *arena, struct finding *f,
                       struct rfs_err *err)
{
	struct store_cmd cmd;
	struct fs_op op;
	int rc = 0;

	if (e->kind == RAFT_ENTRY_COMMAND) {
		rc = wire_get_command(e->data, e->len, arena, &cmd, &op, err);
		wire_arena_reset(arena);
		f->commands++;
	} else {
		f->others++;
	}
	return rc == 0 ? 0 : rfs_err_prefix(err, "log entry %" PRIu64, e->pos.index);
}

static int check_entries(struct wal *w, struct finding *f, struct rfs_err *err)
{
	struct raft_entry *list = calloc(READ_ENTRIES, sizeof(*list));
	struct wire_arena *arena = wire_arena_new();
	raft_index first = f->log.base.index + 1, at = first;
	struct progress p;
	ssize_t n;
	int rc = 0;

	progress_begin(&p, "log", f->log.last.index - f->log.base.index, false);
	while (rc == 0 && list != NULL && at <= f->log.last.index) {
		n = wal_read(w, at, READ_ENTRIES, READ_BYTES, list, err);
		rc = n > 0 ? 0 : n < 0 ? (int)n : RFS_ECORRUPT;
		for (ssize_t i = 0; rc == 0 && i < n; i++)
			rc = check_entry(&list[i], arena, f, err);
		at += n > 0 ? (raft_index)n : 0;
		progress_set(&p, at - first);
	}
	(void)progress_end(&p);
	wire_arena_free(arena);
	free(list);
	return rc;
}

static int check_log(const char *dir, struct finding *f, struct rfs_err *err)
{
	const struct wal_opts opts = {.ops = &file_ops_readonly, .segment_bytes = SEGMENT_BYTES};
	char path[CONFIG_PATH_MAX + 16];
	struct wal *w;
	int rc;

	(void)snprintf(path, sizeof(path), "%s/wal/identity", dir);
	if (access(path, R_OK) != 0)
		return rfs_err_set(
		        err, -errno,
		        "%s: %s\nThe data of node N is data_directory/N of its cluster file.", path,
		        rfs_strerror(-errno));
	(void)snprintf(path, sizeof(path), "%s/wal", dir);
	rc = wal_open(&w, path, &opts, &f->log, err);
	if (rc != 0)
		return rc;
	rc = check_entries(w, f, err);
	wal_close(w);
	return rc;
}

/* ---- the state ---- */

static void on_told(void *ctx, uint64_t bytes)
{
	progress_set(ctx, bytes);
}

static int check_open_store(struct store *s, struct finding *f, struct rfs_err *err)
{
	struct store_digest digest;
	struct progress p;
	int rc;

	store_get_counts(s, &f->state.counts);
	store_get_digest(s, &digest);
	f->state.digest = digest.value;
	f->applied = store_applied(s);
	f->installed = store_installed(s);
	progress_begin(&p, "state", backup_estimate(&f->state), true);
	rc = store_verify_telling(s, on_told, &p, err);
	(void)progress_end(&p);
	return rc;
}

static int check_store(const char *dir, struct finding *f, struct rfs_err *err)
{
	const struct store_opts opts = {0};
	char from[CONFIG_PATH_MAX + 16], to[CONFIG_PATH_MAX];
	struct store *s = NULL;
	int rc = make_temporary(to, err);

	if (rc != 0)
		return rc;
	(void)snprintf(from, sizeof(from), "%s/store", dir);
	rc = mirror(from, to, err);
	if (rc == 0)
		rc = store_open(&s, to, &opts, err);
	if (rc == 0)
		rc = check_open_store(s, f, err);
	store_close(s);
	(void)restore_remove_tree(to);
	return rc;
}

/* ---- both together ---- */

/* As the node sees it when it starts. */
static int check_fit(const struct finding *f, struct rfs_err *err)
{
	raft_index a = f->applied.index;

	if (a < f->log.base.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "the state ends at %" PRIu64
		                   " but the log starts behind %" PRIu64 ": entries are missing",
		                   a, f->log.base.index);
	if (a > f->log.last.index && a != f->installed.index)
		return rfs_err_set(err, RFS_ECORRUPT,
		                   "the state was applied to %" PRIu64
		                   " but the log ends at %" PRIu64 ": log entries are lost",
		                   a, f->log.last.index);
	return 0;
}

static int lock_dir(const char *dir, int *fd, struct rfs_err *err)
{
	char path[CONFIG_PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/LOCK", dir);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd >= 0 && flock(*fd, LOCK_SH | LOCK_NB) != 0)
		return rfs_err_set(err, -EBUSY, "%s is in use: stop its node first", dir);
	return 0; /* without a LOCK no node has run there yet */
}

static int check_dir(const char *dir, struct finding *f, struct rfs_err *err)
{
	int fd = -1, rc = lock_dir(dir, &fd, err);

	if (rc == 0)
		rc = check_log(dir, f, err);
	if (rc == 0)
		rc = check_store(dir, f, err);
	if (rc == 0)
		rc = check_fit(f, err);
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

/* A backup is looked through by building the state that it holds, and throwing that away. */
static int check_backup(const char *path, struct finding *f, struct rfs_err *err)
{
	const struct store_opts opts = {0};
	char tmp[CONFIG_PATH_MAX], store_dir[CONFIG_PATH_MAX + 16];
	struct store_import *im;
	int rc = make_temporary(tmp, err);

	if (rc != 0)
		return rc;
	(void)snprintf(store_dir, sizeof(store_dir), "%s/store", tmp);
	rc = store_import_begin(&im, store_dir, &opts, err);
	if (rc == 0) {
		rc = backup_import(path, "backup", im, &f->state, err);
		store_import_abandon(im);
	}
	(void)restore_remove_tree(tmp);
	return rc;
}

/* ---- the command ---- */

static void tell_dir(const struct ctl *ctl, const char *dir, const struct finding *f)
{
	const struct wal_recovered *l = &f->log;
	char digest[17], size[32];

	(void)snprintf(digest, sizeof(digest), "%016" PRIx64, f->state.digest);
	if (ctl->args.json) {
		ctl_json_print(json_pack(
		        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:s, s:I}", "path",
		        dir, "kind", "data directory", "cluster", l->identity.cluster, "id",
		        (json_int_t)l->identity.node_id, "term", (json_int_t)l->term, "log_first",
		        (json_int_t)l->base.index + 1, "log_last", (json_int_t)l->last.index,
		        "segments", (json_int_t)l->segments, "log_bytes", (json_int_t)l->bytes,
		        "torn", l->torn, "applied", (json_int_t)f->applied.index, "digest", digest,
		        "inodes", (json_int_t)f->state.counts.inodes));
		return;
	}
	progress_format_bytes(l->bytes, size, sizeof(size));
	(void)printf("%s: node %" PRIu64 " of cluster %s\n", dir, l->identity.node_id,
	             l->identity.cluster);
	(void)printf("log: good, entries %" PRIu64 " to %" PRIu64 ", term %" PRIu64 ", %" PRIu64
	             " segments, %s\n",
	             l->base.index + 1, l->last.index, l->term, l->segments, size);
	if (l->torn)
		(void)printf(
		        "  its tail is torn, as after a loss of power; never acknowledged, and "
		        "cut at the next start: %s\n",
		        l->torn_text);
	(void)printf("state: good, applied to %" PRIu64 ", digest %s, %" PRIu64 " inodes\n",
	             f->applied.index, digest, f->state.counts.inodes);
}

static void tell_backup(const struct ctl *ctl, const char *path, const struct finding *f)
{
	const struct store_snapshot_info *i = &f->state;
	char digest[17];

	(void)snprintf(digest, sizeof(digest), "%016" PRIx64, i->digest);
	if (ctl->args.json)
		ctl_json_print(json_pack("{s:s, s:s, s:I, s:I, s:s, s:I}", "path", path, "kind",
		                         "backup", "index", (json_int_t)i->pos.index, "term",
		                         (json_int_t)i->pos.term, "digest", digest, "inodes",
		                         (json_int_t)i->counts.inodes));
	else
		(void)printf("%s: a good backup of index %" PRIu64 ", digest %s, %" PRIu64
		             " inodes\n",
		             path, i->pos.index, digest, i->counts.inodes);
}

static int check_run(struct ctl *ctl)
{
	char path[CONFIG_PATH_MAX];
	struct finding f = {0};
	struct rfs_err err = {0};
	struct stat st;
	int rc;

	if (config_absolute(ctl->args.operands[0], path, &err) != 0)
		return ctl_error(CTL_USAGE, "check: %s", err.msg);
	if (stat(path, &st) != 0)
		return ctl_error(CTL_USAGE, "check: %s: %s", ctl->args.operands[0],
		                 rfs_strerror(-errno));
	rc = S_ISDIR(st.st_mode) ? check_dir(path, &f, &err) : check_backup(path, &f, &err);
	if (rc != 0)
		return ctl_error(rc == -EBUSY || rc == -EACCES ? CTL_REFUSED : CTL_NO, "check: %s",
		                 err.msg);
	if (S_ISDIR(st.st_mode))
		tell_dir(ctl, path, &f);
	else
		tell_backup(ctl, path, &f);
	return CTL_DONE;
}

static const char details[] =
        "Looks through the data directory of a node that does not run: every record of its log, "
        "every record of its\n"
        "state, and whether the two fit. Nothing in it is changed. Or through a file that 'raftctl "
        "backup' wrote.\n"
        "Says the first thing that is wrong, with file and offset.\n"
        "\n"
        "  raftctl check /var/lib/raftfs/nodes/1\n"
        "  raftctl check /var/backups/raftfs-2026-11-20\n"
        "\n"
        "A damaged node is made anew from the others: raftd --rebuild.\n"
        "Exit codes: 0 all is good; 1 damaged, the message says where; 2 usage, or no such path; 4 "
        "refused (in use,\n"
        "permission).\n";

const struct ctl_command cmd_check = {
        .name = "check",
        .operands = "DATA-DIR|BACKUP",
        .summary = "look through a node's data or a backup for damage",
        .details = details,
        .operands_min = 1,
        .operands_max = 1,
        .offline = true,
        .run = check_run,
};

/* The restored state is, to the byte, what the backup holds; its digest says so. What has to be
 * different in the new cluster follows as entries of the log, as it would in any cluster: entry
 * index + 1 is the membership, one voter; then each session of the old cluster is ended. They stand
 * in a term of their own, which the old cluster never had. One voter and not the nodes of the file:
 * two directories restored by hand from different files would otherwise pass for one cluster. */
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/check.h"
#include "../base/clock.h"
#include "../base/mem.h"
#include "../wal/wal.h"
#include "../wire/codec.h"
#include "backup.h"

#define SEGMENT_BYTES (16u << 20)
#define TREE_FDS_MAX  16

/* ---- folders ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) == 0 ? 0 : -errno;
}

int restore_remove_tree(const char *path)
{
	int rc = nftw(path, remove_one, TREE_FDS_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (rc == -1)
		return errno == ENOENT ? 0 : -errno;
	return rc;
}

static int make_folders(const char *path, struct rfs_err *err)
{
	char part[CONFIG_PATH_MAX];
	size_t len = strlen(path);

	for (size_t i = 1; i <= len && len < sizeof(part); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return rfs_err_set(err, -errno, "%s: %s", part, rfs_strerror(-errno));
	}
	return len < sizeof(part) ? 0 : rfs_err_set(err, -ENAMETOOLONG, "path too long");
}

static int sync_path(const char *path, struct rfs_err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd) != 0)
		rc = rfs_err_set(err, -errno, "%s: %s", path, rfs_strerror(-errno));
	if (fd >= 0)
		(void)close(fd);
	return rc;
}

/* ---- the log ---- */

struct entries {
	struct raft_entry *list;
	size_t n, cap;
	struct buf bytes; /* list[].data are offsets into it, until all are there */
	struct raft_pos last;
};

static void add_entry(struct entries *es, enum raft_entry_kind kind, size_t start)
{
	es->list = mem_grow(es->list, &es->cap, es->n + 1, sizeof(*es->list));
	es->last.index++;
	es->list[es->n++] = (struct raft_entry){
	        .pos = es->last,
	        .kind = kind,
	        .len = (uint32_t)(es->bytes.len - start),
	        .data = (const void *)(uintptr_t)start,
	};
}

static int add_membership(struct entries *es, const struct config_node *node, uint64_t incarnation,
                          struct rfs_err *err)
{
	struct raft_conf *conf = mem_zalloc(sizeof(*conf));
	uint8_t bytes[RAFT_CONF_BYTES_MAX];
	char address[CONFIG_HOST_MAX + 16];
	bool fits;

	config_format_endpoint(node->host, node->port, address, sizeof(address));
	conf->voters[conf->n_voters++] = node->id;
	fits = raft_conf_set_member(conf, node->id, address, false) &&
	       raft_conf_set_incarnation(conf, node->id, incarnation);
	if (fits) {
		buf_put(&es->bytes, bytes, raft_conf_encode(conf, bytes));
		add_entry(es, RAFT_ENTRY_CONFIG, 0);
	}
	free(conf);
	return fits ? 0 : rfs_err_set(err, -EINVAL, "the address %s is too long", address);
}

static void add_end_of_session(void *ctx, uint64_t id, uint64_t timeout_ms)
{
	const struct fs_op op = {.kind = FS_OP_SESSION_EXPIRE, .ino = id};
	const struct store_cmd cmd = {.time_ns = clock_real_ns(), .op = &op};
	struct entries *es = ctx;
	size_t start = es->bytes.len;

	(void)timeout_ms;
	wire_put_command(&es->bytes, &cmd);
	add_entry(es, RAFT_ENTRY_COMMAND, start);
}

/* Without a thread the log does its work when it is told to. */
static int work_off(struct wal *w, struct rfs_err *err)
{
	struct wal_done done = {0};

	while (wal_work(w))
		;
	wal_poll(w, &done, err);
	if (done.space != 0)
		return rfs_err_set(err, -ENOSPC, "no room for the log");
	return done.error;
}

static int write_log(const char *dir, const struct config *config, const struct config_node *node,
                     struct raft_pos base, struct entries *es, uint64_t incarnation,
                     struct rfs_err *err)
{
	struct wal_opts opts = {
	        .identity = {.node_id = node->id, .incarnation = incarnation},
	        .segment_bytes = SEGMENT_BYTES,
	};
	struct wal_recovered rec;
	struct wal *w;
	int rc;

	_Static_assert(sizeof(opts.identity.cluster) >= sizeof(config->name), "cluster name");
	memcpy(opts.identity.cluster, config->name, sizeof(config->name));
	rc = wal_open(&w, dir, &opts, &rec, err);
	if (rc != 0)
		return rc;
	wal_set_state(w, es->last.term, 0, 1);
	rc = work_off(w, err);
	if (rc == 0)
		rc = wal_reset(w, base, err);
	if (rc == 0) {
		for (size_t i = 0; i < es->n; i++)
			es->list[i].data = es->bytes.data + (uintptr_t)es->list[i].data;
		wal_append(w, es->list, es->n, 1);
		rc = work_off(w, err);
	}
	wal_close(w);
	return rc;
}

/* ---- the state ---- */

static int import_state(const char *backup, const char *store_dir, struct store_snapshot_info *info,
                        struct rfs_err *err)
{
	const struct store_opts opts = {0};
	struct store_import *im;
	int rc = store_import_begin(&im, store_dir, &opts, err);

	if (rc != 0)
		return rc;
	rc = backup_import(backup, "restore", im, info, err);
	if (rc != 0) {
		store_import_abandon(im);
		return rc;
	}
	rc = store_import_finish(im, err);
	return rc == 0 ? store_switch(store_dir, err) : rc;
}

/* What follows the state in the log. */
static int plan(const char *store_dir, const struct store_snapshot_info *info,
                const struct config_node *node, uint64_t incarnation, struct entries *es,
                struct rfs_err *err)
{
	const struct store_opts opts = {0};
	struct store_digest digest;
	struct store *s;
	int rc = store_open(&s, store_dir, &opts, err);

	if (rc != 0)
		return rc;
	store_get_digest(s, &digest);
	if (digest.value != info->digest || digest.pos.index != info->pos.index)
		rc = rfs_err_set(err, RFS_ECORRUPT, "the restored state is not the one saved");
	es->last = (struct raft_pos){info->pos.index, info->pos.term + 1};
	if (rc == 0)
		rc = add_membership(es, node, incarnation, err);
	if (rc == 0)
		store_each_session(s, add_end_of_session, es);
	store_close(s);
	return rc;
}

static int make_in(const char *dir, const char *backup, const struct config *config,
                   const struct config_node *node, struct store_snapshot_info *info,
                   struct rfs_err *err)
{
	uint64_t incarnation = clock_random_u64();
	char store_dir[CONFIG_PATH_MAX + 32], wal_dir[CONFIG_PATH_MAX + 32];
	struct entries es = {0};
	int rc;

	(void)snprintf(store_dir, sizeof(store_dir), "%s/store", dir);
	(void)snprintf(wal_dir, sizeof(wal_dir), "%s/wal", dir);
	buf_init(&es.bytes);
	rc = import_state(backup, store_dir, info, err);
	if (rc == 0)
		rc = plan(store_dir, info, node, incarnation, &es, err);
	if (rc == 0)
		rc = write_log(wal_dir, config, node, info->pos, &es, incarnation, err);
	if (rc == 0)
		rc = sync_path(dir, err);
	buf_free(&es.bytes);
	free(es.list);
	return rc;
}

int restore_make(const char *backup, const char *dir, const struct config *config,
                 const struct config_node *node, struct store_snapshot_info *info,
                 struct rfs_err *err)
{
	char making[CONFIG_PATH_MAX + 16], parent[CONFIG_PATH_MAX], *slash;
	int rc;

	(void)snprintf(parent, sizeof(parent), "%s", dir);
	slash = strrchr(parent, '/');
	rfs_check(slash != NULL); /* absolute */
	slash[slash == parent] = '\0';
	(void)snprintf(making, sizeof(making), "%s.restoring", dir);
	if (rmdir(dir) != 0 && errno != ENOENT)
		return rfs_err_set(err, -EEXIST,
		                   "%s: there is something in it already; a restore makes a new "
		                   "directory",
		                   dir);
	rc = make_folders(parent, err);
	if (rc == 0 && (rc = restore_remove_tree(making)) != 0)
		rc = rfs_err_set(err, rc, "%s: %s", making, rfs_strerror(rc));
	if (rc == 0 && mkdir(making, 0700) != 0)
		rc = rfs_err_set(err, -errno, "%s: %s", making, rfs_strerror(-errno));
	if (rc != 0)
		return rc;
	rc = make_in(making, backup, config, node, info, err);
	if (rc == 0 && rename(making, dir) != 0)
		rc = rfs_err_set(err, -errno, "%s: %s", dir, rfs_strerror(-errno));
	if (rc != 0)
		(void)restore_remove_tree(making);
	return rc == 0 ? sync_path(parent, err) : rc;
}

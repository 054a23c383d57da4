/* Opening, the applied position, and the way of a command through the store. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include "../base/check.h"
#include "../base/mem.h"

#define STORE_MAGIC 0x53544f52u
#define FLUSH_MAGIC 0x53464c55u

/* ---- open and close ---- */

int store_give_failure(const struct store *s, struct rfs_err *err)
{
	if (err != NULL)
		*err = s->fail;
	return s->fail.code;
}

static bool has_records(struct store *s)
{
	struct engine_iter *it =
	        s->e->vt->iter_open(s->e, (struct engine_bytes){0}, (struct engine_bytes){0});
	struct engine_bytes key, value;
	struct rfs_err err = {0};
	int rc = s->e->vt->iter_next(it, &key, &value, &err);

	s->e->vt->iter_close(it);
	if (rc < 0)
		s->fail = err;
	return rc > 0;
}

static int make_new(struct store *s)
{
	if (has_records(s))
		return store_fail(s, RFS_ECORRUPT,
		                  "there are records, but not the one of the store itself (M)");
	if (s->fail.code != 0)
		return STORE_FAILED;
	s->m = (struct record_meta){.version = record_format_of(s->version)};
	if (store_linger_load_all(s) != 0 || store_content_load_all(s) != 0 ||
	    store_locks_load_all(s) != 0)
		return STORE_FAILED;
	return store_inode_make_root(s);
}

static int load(struct store *s)
{
	struct record_key k = record_key_meta();
	struct engine_bytes v;
	const char *bad;
	int rc = store_state_get(s, &k, &v);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return make_new(s);
	bad = record_get_meta(v, &s->m);
	if (bad != NULL)
		return store_fail_record(s, record_key_bytes(&k), bad);
	if (s->m.version < STORE_FORMAT_MIN || s->m.version > STORE_FORMAT_MAX)
		return store_fail(s, RFS_EVERSION,
		                  "format version %u; this program knows versions %u to %u",
		                  s->m.version, STORE_FORMAT_MIN, STORE_FORMAT_MAX);
	s->committed = s->m.applied;
	if (!s->engine_borrowed) /* which may not have been flushed */
		s->durable = s->committed;
	if (store_version_load(s) != 0 || store_session_load_all(s) != 0 ||
	    store_quota_load_all(s) != 0 || store_linger_load_all(s) != 0 ||
	    store_content_load_all(s) != 0 || store_locks_load_all(s) != 0)
		return STORE_FAILED;
	return store_membership_load(s);
}

static int open_engine(struct store *s, const char *dir, struct rfs_err *err)
{
	int rc;

	s->engine_borrowed = s->opts.engine != NULL;
	if (s->engine_borrowed) {
		s->e = s->opts.engine;
		return 0;
	}
	if (s->opts.memory)
		return engine_mem_open(&s->e, err);
	s->dir = mem_strdup(dir);
	rc = store_place_recover(dir, err);
	if (rc == 0)
		rc = engine_rocks_open(&s->e, dir, err);
	return rc == 0 ? store_place_clean(dir, err) : rc;
}

static void free_store(struct store *s)
{
	store_session_free_all(s);
	store_linger_free_all(s);
	store_content_unload_all(s);
	store_quota_free_all(s);
	store_locks_free_all(s);
	buf_free(&s->rec);
	buf_free(&s->out);
	buf_free(&s->chunk);
	buf_free(&s->membership);
	free(s->dir);
	s->magic = 0;
	free(s);
}

int store_open(struct store **out, const char *dir, const struct store_opts *opts,
               struct rfs_err *err)
{
	struct store *s = mem_zalloc(sizeof(*s));
	int rc;

	RFS_MAGIC_SET(s, STORE_MAGIC);
	s->opts = *opts;
	s->version = FS_VERSION_MIN;
	if (s->opts.version_max == 0)
		s->opts.version_max = FS_VERSION_MAX;
	s->dentry_hash_mask = STORE_DENTRY_HASH_MASK;
	s->freed_max = STORE_FREED_MAX;
	s->freed_at_once = STORE_FREED_AT_ONCE;
	s->freed_beside = STORE_FREED_BESIDE;
	rc = open_engine(s, dir, err);
	if (rc == 0 && (load(s) != 0 || store_commit(s, NULL) != 0))
		rc = store_give_failure(s, err);
	if (rc == 0) {
		*out = s;
		return 0;
	}
	if (s->e != NULL && !s->engine_borrowed)
		s->e->vt->close(s->e);
	free_store(s);
	return rc;
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	rfs_check(!s->flushing && s->snapshots == 0);
	if (!s->engine_borrowed) {
		s->e->vt->close(s->e);
	} else {
		s->e->vt->rollback(s->e);
		(void)s->e->vt->flush(s->e, NULL);
	}
	free_store(s);
}

void store_abandon(struct store *s)
{
	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	rfs_check(s->engine_borrowed && s->snapshots == 0);
	s->e->vt->rollback(s->e);
	free_store(s);
}

/* ---- apply ---- */

static int trim(struct store *s, const struct store_cmd *cmd)
{
	if (cmd->session != 0)
		return -EINVAL;
	if (store_linger_trim_old(s, cmd->op->size) != 0)
		return STORE_FAILED;
	return store_content_free_some(s, s->freed_max);
}

static int change(struct store *s, const struct store_cmd *cmd, struct fs_result *res)
{
	const struct fs_op *op = cmd->op;

	if (fs_op_protocol(op) > s->version)
		return -EINVAL;
	if ((op->flags & FS_F_FENCED) != 0 && !store_lock_stands(s, op))
		return -ESTALE;
	switch (op->kind) {
	case FS_OP_SESSION_OPEN: return store_session_open(s, op->size, res);
	case FS_OP_SESSION_CLOSE:
		return cmd->session != 0 ? store_session_end(s, cmd->session) : -EINVAL;
	case FS_OP_SESSION_EXPIRE:
		return cmd->session == 0 ? store_session_end(s, op->ino) : -EINVAL;
	case FS_OP_MKNOD: return store_op_mknod(s, op, res);
	case FS_OP_LINK: return store_op_link(s, op, res);
	case FS_OP_UNLINK: return store_op_unlink(s, op, res);
	case FS_OP_RMDIR: return store_op_rmdir(s, op, res);
	case FS_OP_RENAME: return store_op_rename(s, op, res);
	case FS_OP_SETATTR: return store_op_setattr(s, op, res);
	case FS_OP_WRITE: return store_op_write(s, op, res);
	case FS_OP_RELEASE: return store_op_release(s, op, res);
	case FS_OP_PUT: return store_op_put(s, op, res);
	case FS_OP_DELETE: return store_op_delete(s, op, res);
	case FS_OP_TXN: return store_op_txn(s, op, res);
	case FS_OP_LOCK: return store_op_lock(s, op, cmd->seq, res);
	case FS_OP_UNLOCK: return store_op_unlock(s, op, res);
	case FS_OP_LOCK_CANCEL: return store_op_lock_cancel(s, op);
	case FS_OP_LOCK_BREAK: return store_op_lock_break(s, op, res);
	case FS_OP_SETXATTR: return store_op_setxattr(s, op, res);
	case FS_OP_REMOVEXATTR: return store_op_removexattr(s, op, res);
	case FS_OP_FALLOCATE: return store_op_fallocate(s, op, res);
	case FS_OP_COPY: return store_op_copy(s, op, res);
	case FS_OP_ADOPT: return store_op_adopt(s, op, res);
	case FS_OP_TRIM: return trim(s, cmd);
	case FS_OP_QUOTA_SET: return store_op_quota_set(s, op, res);
	case FS_OP_NONE:
	case FS_OP_LOOKUP:
	case FS_OP_GETATTR:
	case FS_OP_READ:
	case FS_OP_READLINK:
	case FS_OP_READDIR:
	case FS_OP_STATFS:
	case FS_OP_GET:
	case FS_OP_RESOLVE:
	case FS_OP_LOCK_TEST:
	case FS_OP_LOCK_AWAIT:
	case FS_OP_LOCK_LIST:
	case FS_OP_GETXATTR:
	case FS_OP_LISTXATTR:
	case FS_OP_SEEK:
	case FS_OP_QUOTA_LIST: return -EINVAL;
	}
	return -EINVAL;
}

/* What a command does beside its own work: a little of what waits. */
static int tidy_up(struct store *s, const struct fs_op *op)
{
	uint64_t brought = op->data_len / STORE_CHUNK_BYTES;

	if (store_linger_trim(s) != 0)
		return STORE_FAILED;
	return store_content_free_some(s, s->freed_beside + STORE_FREED_BESIDE_A_CHUNK * brought);
}

static void apply_command(struct store *s, const struct store_cmd *cmd, struct fs_result *res)
{
	struct store_entry_ticket ticket;

	s->now_ns = cmd->time_ns <= INT64_MAX ? (int64_t)cmd->time_ns : INT64_MAX;
	s->session = cmd->session;
	if (tidy_up(s, cmd->op) != 0)
		return;
	if (store_session_enter(s, cmd, res, &ticket) != 1)
		return;
	res->err = change(s, cmd, res);
	if (s->fail.code == 0 && store_quota_save(s) == 0)
		(void)store_session_leave(s, cmd, res, &ticket);
}

int store_begin(struct store *s, struct raft_pos pos, struct rfs_err *err)
{
	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	rfs_check(pos.index == s->m.applied.index + 1 && pos.term >= s->m.applied.term);
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	s->pos = pos;
	s->freed = 0;
	return 0;
}

int store_end(struct store *s, struct rfs_err *err)
{
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	s->m.applied = s->pos;
	s->freed_total += s->freed;
	if (s->freed > s->freed_most)
		s->freed_most = s->freed;
	return 0;
}

int store_apply(struct store *s, struct raft_pos pos, const struct store_cmd *cmd,
                struct fs_result *res, struct rfs_err *err)
{
	int rc = store_begin(s, pos, err);

	*res = (struct fs_result){.index = pos.index};
	if (rc != 0)
		return rc;
	if (cmd != NULL && cmd->op != NULL)
		apply_command(s, cmd, res);
	return store_end(s, err);
}

/* A full disk is nothing final: the engine has changed nothing. */
static int engine_failed(struct store *s, const struct rfs_err *why, struct rfs_err *err)
{
	if (why->code != -ENOSPC)
		s->fail = *why;
	if (err != NULL)
		*err = *why;
	return why->code;
}

int store_commit(struct store *s, struct rfs_err *err)
{
	struct record_key k = record_key_meta();
	struct rfs_err e = {0};

	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	/* index 0: a new store, whose root is yet to be committed */
	if (s->m.applied.index == s->committed.index && s->m.applied.index != 0)
		return 0;
	buf_clear(&s->rec);
	record_put_meta(&s->rec, &s->m);
	if (s->e->vt->put(s->e, record_key_bytes(&k),
	                  (struct engine_bytes){s->rec.data, s->rec.len}, &e) < 0 ||
	    s->e->vt->commit(s->e, &e) < 0)
		return engine_failed(s, &e, err);
	s->committed = s->m.applied;
	return 0;
}

uint64_t store_batch_bytes(const struct store *s)
{
	return s->e->vt->batch_bytes(s->e);
}

/* ---- flush ---- */

struct store_flush {
	uint32_t magic;
	struct store *s;
	struct raft_pos pos;
	struct rfs_err err;
};

struct store_flush *store_flush_begin(struct store *s)
{
	struct store_flush *f;

	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	if (s->flushing || s->fail.code != 0 || s->committed.index == s->durable.index)
		return NULL;
	f = mem_zalloc(sizeof(*f));
	RFS_MAGIC_SET(f, FLUSH_MAGIC);
	f->s = s;
	f->pos = s->committed;
	s->flushing = true;
	return f;
}

void store_flush_work(struct store_flush *f)
{
	RFS_MAGIC_CHECK(f, FLUSH_MAGIC);
	(void)f->s->e->vt->flush_beside(f->s->e, &f->err);
}

int store_flush_end(struct store_flush *f, struct raft_pos *durable, struct rfs_err *err)
{
	struct store *s = f->s;
	int rc = f->err.code;

	RFS_MAGIC_CHECK(f, FLUSH_MAGIC);
	s->flushing = false;
	if (rc != 0)
		rc = engine_failed(s, &f->err, err);
	else if (f->pos.index > s->durable.index)
		s->durable = f->pos;
	*durable = s->durable;
	free(f);
	return rc;
}

int store_flush(struct store *s, struct raft_pos *durable, struct rfs_err *err)
{
	struct rfs_err e = {0};

	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	*durable = s->durable;
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	if (s->e->vt->flush(s->e, &e) < 0)
		return engine_failed(s, &e, err);
	*durable = s->durable = s->committed;
	return 0;
}

void store_reclaim(struct store *s)
{
	s->e->vt->reclaim(s->e);
}

void store_reclaim_stop(struct store *s)
{
	s->e->vt->reclaim_stop(s->e);
}

struct raft_pos store_durable(const struct store *s)
{
	return s->durable;
}

struct raft_pos store_installed(const struct store *s)
{
	return s->m.installed;
}

uint64_t store_disk_bytes(const struct store *s)
{
	return s->dir != NULL ? store_place_bytes(s->dir) : 0;
}

/* ---- reads ---- */

int store_read(struct store *s, const struct fs_op *op, struct fs_result *res, struct rfs_err *err)
{
	RFS_MAGIC_CHECK(s, STORE_MAGIC);
	*res = (struct fs_result){.index = s->m.applied.index};
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	buf_clear(&s->out);
	res->err = store_op_read(s, op, res);
	if (s->fail.code != 0)
		return store_give_failure(s, err);
	if (res->err == 0) {
		rfs_check(s->out.len <= UINT32_MAX);
		res->data = s->out.data;
		res->data_len = (uint32_t)s->out.len;
	}
	return 0;
}

struct raft_pos store_applied(const struct store *s)
{
	return s->m.applied;
}

void store_get_digest(const struct store *s, struct store_digest *d)
{
	*d = (struct store_digest){s->m.applied, s->m.digest};
}

void store_get_counts(const struct store *s, struct store_counts *c)
{
	*c = s->m.counts;
}

void store_get_freeing(const struct store *s, struct store_freeing *f)
{
	*f = (struct store_freeing){
	        .contents = store_contents_to_free(s),
	        .chunks = s->freed_total,
	        .chunks_most = s->freed_most,
	};
}

bool store_has_to_free(const struct store *s, uint64_t time_ns)
{
	return store_contents_to_free(s) > 0 ||
	       store_linger_is_due(s, time_ns <= INT64_MAX ? (int64_t)time_ns : INT64_MAX);
}

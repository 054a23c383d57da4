/* What the tests of the store share: a store that counts its own log positions, and short forms of
 * the operations. Every function that can fail checks the engine's error itself and gives the
 * outcome. */
#ifndef RFS_TESTS_STORE_KIT_H
#define RFS_TESTS_STORE_KIT_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../src/base/mem.h"
#include "../../src/store/engine.h"
#include "../../src/store/store.h"
#include "../../src/store/store_priv.h"

#define KIT_UNUSED __attribute__((unused))

#ifdef __SANITIZE_THREAD__
/* RocksDB is not built with ThreadSanitizer, which so does not see its locks. Only reports with a
 * frame inside it are left out. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:librocksdb.so\nrace:libstdc++.so\n";
}
#endif

struct kit {
	struct store *s;
	struct raft_pos pos;
	uint64_t time_ns;
	uint64_t session, seq, lowest; /* 0: commands without a session */
	struct store *twin; /* another node's, if not NULL: the same commands must leave the same */
	struct fs_result res; /* of the last operation */
	struct rfs_err err;
	char dir[256]; /* "" in memory */
};

static inline struct fs_str kit_str(const char *p)
{
	return fs_str_of(p);
}

static inline void kit_open_opts(struct kit *k, const struct store_opts *opts)
{
	int rc = store_open(&k->s, k->dir, opts, &k->err);

	ck_assert_msg(rc == 0, "open: %d %s", rc, k->err.msg);
	k->pos = store_applied(k->s);
}

static inline void kit_open_memory(struct kit *k)
{
	*k = (struct kit){.time_ns = 1000};
	kit_open_opts(k, &(struct store_opts){.memory = true});
}

static inline void kit_temp_dir(char dir[256])
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, 256, "%s/raftfs-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline int kit_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void kit_remove_dir(const char *dir)
{
	(void)nftw(dir, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kit_open_disk(struct kit *k)
{
	*k = (struct kit){.time_ns = 1000};
	kit_temp_dir(k->dir);
	kit_open_opts(k, &(struct store_opts){0});
}

static inline void kit_reopen_disk(struct kit *k)
{
	store_close(k->s);
	kit_open_opts(k, &(struct store_opts){0});
}

static inline void kit_verify(struct kit *k)
{
	int rc = store_verify(k->s, &k->err);

	ck_assert_msg(rc == 0, "verify: %s", k->err.msg);
}

static inline void kit_commit(struct kit *k)
{
	int rc = store_commit(k->s, &k->err);

	ck_assert_msg(rc == 0, "commit: %s", k->err.msg);
}

/* Verifies, too: every test ends with a store that agrees with itself. */
static inline void kit_close(struct kit *k)
{
	kit_verify(k);
	kit_commit(k);
	store_close(k->s);
	if (k->dir[0] != '\0')
		kit_remove_dir(k->dir);
}

static inline uint64_t kit_digest_of(const struct store *s)
{
	struct store_digest d;

	store_get_digest(s, &d);
	return d.value;
}

static inline void kit_apply_to_twin(struct kit *k, const struct store_cmd *cmd)
{
	struct fs_result res;

	ck_assert_int_eq(store_apply(k->twin, k->pos, cmd, &res, &k->err), 0);
	ck_assert_int_eq(res.err, k->res.err);
	ck_assert_uint_eq(kit_digest_of(k->twin), kit_digest_of(k->s));
}

static inline int kit_apply(struct kit *k, const struct store_cmd *cmd)
{
	int rc;

	k->pos.index++;
	if (k->pos.term == 0)
		k->pos.term = 1;
	rc = store_apply(k->s, k->pos, cmd, &k->res, &k->err);
	ck_assert_msg(rc == 0, "apply: %d %s", rc, k->err.msg);
	if (k->twin != NULL)
		kit_apply_to_twin(k, cmd);
	return k->res.err;
}

/* Whatever this program knows may be asked for from now on. */
static inline void kit_raise(struct kit *k)
{
	int rc;

	k->pos.index++;
	if (k->pos.term == 0)
		k->pos.term = 1;
	rc = store_set_version(k->s, k->pos, FS_VERSION_MAX, &k->err);
	ck_assert_msg(rc == 0, "version: %d %s", rc, k->err.msg);
	if (k->twin != NULL)
		ck_assert_int_eq(store_set_version(k->twin, k->pos, FS_VERSION_MAX, &k->err), 0);
}

static inline int kit_do(struct kit *k, const struct fs_op *op)
{
	struct store_cmd cmd = {.time_ns = k->time_ns, .op = op};

	if (k->session != 0) {
		cmd.session = k->session;
		cmd.seq = ++k->seq;
		cmd.lowest = k->lowest != 0 ? k->lowest : k->seq;
	}
	k->time_ns += 1000;
	return kit_apply(k, &cmd);
}

/* Time passes until every file that lost its last name is freed. */
static inline void kit_linger_over(struct kit *k)
{
	k->time_ns += STORE_LINGER_NS + 1;
	(void)kit_apply(k, &(struct store_cmd){.time_ns = k->time_ns,
	                                       .op = &(const struct fs_op){.kind = FS_OP_NONE}});
}

static inline int kit_read(struct kit *k, const struct fs_op *op)
{
	int rc = store_read(k->s, op, &k->res, &k->err);

	ck_assert_msg(rc == 0, "read: %d %s", rc, k->err.msg);
	return k->res.err;
}

static inline uint64_t kit_digest(struct kit *k)
{
	return kit_digest_of(k->s);
}

/* ---- operations ---- */

static inline int kit_mknod(struct kit *k, uint64_t parent, const char *name, uint32_t mode)
{
	return kit_do(k, &(struct fs_op){.kind = FS_OP_MKNOD,
	                                 .parent = parent,
	                                 .name = kit_str(name),
	                                 .mode = mode,
	                                 .flags = FS_F_EXCL});
}

/* The new inode's number. */
static inline uint64_t kit_file(struct kit *k, uint64_t parent, const char *name)
{
	ck_assert_int_eq(kit_mknod(k, parent, name, S_IFREG | 0644), 0);
	return k->res.attr.ino;
}

static inline uint64_t kit_mkdir(struct kit *k, uint64_t parent, const char *name)
{
	ck_assert_int_eq(kit_mknod(k, parent, name, S_IFDIR | 0755), 0);
	return k->res.attr.ino;
}

static inline int kit_write(struct kit *k, uint64_t ino, uint64_t offset, const void *data,
                            size_t len)
{
	return kit_do(k, &(struct fs_op){.kind = FS_OP_WRITE,
	                                 .ino = ino,
	                                 .offset = offset,
	                                 .data = data,
	                                 .data_len = (uint32_t)len});
}

static inline int kit_resize(struct kit *k, uint64_t ino, uint64_t size)
{
	return kit_do(
	        k, &(struct fs_op){
	                   .kind = FS_OP_SETATTR, .ino = ino, .valid = FS_SET_SIZE, .size = size});
}

static inline int kit_unlink(struct kit *k, uint64_t parent, const char *name)
{
	return kit_do(
	        k, &(struct fs_op){.kind = FS_OP_UNLINK, .parent = parent, .name = kit_str(name)});
}

static inline int kit_rmdir(struct kit *k, uint64_t parent, const char *name)
{
	return kit_do(
	        k, &(struct fs_op){.kind = FS_OP_RMDIR, .parent = parent, .name = kit_str(name)});
}

static inline int kit_rename(struct kit *k, uint64_t parent, const char *name, uint64_t parent2,
                             const char *name2, uint32_t flags)
{
	return kit_do(k, &(struct fs_op){.kind = FS_OP_RENAME,
	                                 .parent = parent,
	                                 .name = kit_str(name),
	                                 .parent2 = parent2,
	                                 .name2 = kit_str(name2),
	                                 .flags = flags});
}

static inline int kit_link(struct kit *k, uint64_t ino, uint64_t parent, const char *name)
{
	return kit_do(k, &(struct fs_op){.kind = FS_OP_LINK,
	                                 .ino = ino,
	                                 .parent = parent,
	                                 .name = kit_str(name)});
}

static inline int kit_put(struct kit *k, const char *path, const char *text)
{
	return kit_do(k, &(struct fs_op){.kind = FS_OP_PUT,
	                                 .name = kit_str(path),
	                                 .data = text,
	                                 .data_len = (uint32_t)strlen(text)});
}

static inline int kit_delete(struct kit *k, const char *path, uint32_t flags)
{
	return kit_do(k,
	              &(struct fs_op){.kind = FS_OP_DELETE, .name = kit_str(path), .flags = flags});
}

static inline int kit_lookup(struct kit *k, uint64_t parent, const char *name)
{
	return kit_read(
	        k, &(struct fs_op){.kind = FS_OP_LOOKUP, .parent = parent, .name = kit_str(name)});
}

static inline int kit_getattr(struct kit *k, uint64_t ino)
{
	return kit_read(k, &(struct fs_op){.kind = FS_OP_GETATTR, .ino = ino});
}

static inline int kit_pread(struct kit *k, uint64_t ino, uint64_t offset, uint64_t size)
{
	return kit_read(
	        k, &(struct fs_op){.kind = FS_OP_READ, .ino = ino, .offset = offset, .size = size});
}

static inline int kit_get(struct kit *k, const char *path)
{
	return kit_read(k, &(struct fs_op){.kind = FS_OP_GET, .name = kit_str(path)});
}

static inline bool kit_data_is(const struct kit *k, const char *text)
{
	return k->res.data_len == strlen(text) &&
	       (k->res.data_len == 0 || memcmp(k->res.data, text, k->res.data_len) == 0);
}

static inline void kit_open_session(struct kit *k)
{
	k->session = 0;
	ck_assert_int_eq(kit_do(k, &(struct fs_op){.kind = FS_OP_SESSION_OPEN, .size = 10000}), 0);
	k->session = k->res.value;
	k->seq = k->lowest = 0;
}

/* The attributes of an inode that must be there. */
static inline struct fs_attr kit_attr(struct kit *k, uint64_t ino)
{
	ck_assert_int_eq(kit_getattr(k, ino), 0);
	ck_assert(k->res.has_attr);
	return k->res.attr;
}

static inline int kit_run(Suite *suite)
{
	SRunner *r = srunner_create(suite);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}

#endif

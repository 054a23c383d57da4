/* TXN: conditions and changes as one entry, all or nothing.
 *
 * Everything is checked before the first record changes, each change against the state as it was.
 * That is enough since no two changes may concern the same key, or one the other's directory: then
 * none can make another one impossible, but for room in a directory, which is looked at apart. */
#include "store_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../base/check.h"
#include "../base/mem.h"
#include "../base/txn.h"

struct txn {
	const struct fs_op *op;
	struct fs_txn_step *steps;
	size_t n, cap;
	const struct fs_txn_step **changes; /* sorted by key */
	size_t n_changes;
};

static bool is_change(const struct fs_txn_step *t)
{
	return t->kind == FS_TXN_SET || t->kind == FS_TXN_DELETE;
}

/* ---- taking apart ---- */

static int check_step(struct fs_txn_step *t)
{
	if (t->kind < FS_TXN_IF_VERSION || t->kind > FS_TXN_DELETE ||
	    t->data_len > FS_WRITE_BYTES_MAX)
		return -EINVAL;
	if (t->key.len > 0 && t->key.p[0] == '/') {
		t->key.p++;
		t->key.len--;
	}
	return fs_path_check(t->key);
}

static int decode(struct txn *x, struct fs_result *res)
{
	struct reader r = reader_of(x->op->data, x->op->data_len);
	struct fs_txn_step step;
	int rc = 0;

	while (rc == 0 && fs_txn_next(&r, &step)) {
		if (x->n == FS_TXN_STEPS_MAX)
			return -EINVAL;
		rc = check_step(&step);
		x->steps = mem_grow(x->steps, &x->cap, x->n + 1, sizeof(*x->steps));
		x->steps[x->n++] = step;
		res->value = x->n;
	}
	return rc == 0 && (r.bad || x->n == 0) ? -EINVAL : rc;
}

/* With '/' before every other byte, so that what is below a directory follows it at once. */
static int compare_keys(struct fs_str a, struct fs_str b)
{
	uint32_t n = a.len < b.len ? a.len : b.len;

	for (uint32_t i = 0; i < n; i++) {
		int x = a.p[i] == '/' ? 0 : (unsigned char)a.p[i];
		int y = b.p[i] == '/' ? 0 : (unsigned char)b.p[i];

		if (x != y)
			return x - y;
	}
	return (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b)
{
	return compare_keys((*(const struct fs_txn_step *const *)a)->key,
	                    (*(const struct fs_txn_step *const *)b)->key);
}

static bool is_same_or_above(struct fs_str a, struct fs_str b)
{
	return b.len >= a.len && memcmp(a.p, b.p, a.len) == 0 &&
	       (b.len == a.len || b.p[a.len] == '/');
}

static int check_independent(struct txn *x, struct fs_result *res)
{
	x->changes = mem_calloc(x->n, sizeof(struct fs_txn_step *));
	for (size_t i = 0; i < x->n; i++)
		if (is_change(&x->steps[i]))
			x->changes[x->n_changes++] = &x->steps[i];
	qsort(x->changes, x->n_changes, sizeof(struct fs_txn_step *), by_key);
	for (size_t i = 1; i < x->n_changes; i++) {
		if (!is_same_or_above(x->changes[i - 1]->key, x->changes[i]->key))
			continue;
		res->value = (uint64_t)(x->changes[i] - x->steps) + 1;
		return -EINVAL;
	}
	return 0;
}

/* ---- conditions ---- */

static int has_value(struct store *s, const struct store_inode *n, const struct fs_txn_step *t)
{
	int rc;

	if (!S_ISREG(n->attr.mode) || n->attr.size != t->data_len)
		return RFS_EPRECONDITION;
	buf_clear(&s->out);
	rc = store_file_read(s, n, 0, t->data_len, &s->out);
	if (rc != 0)
		return rc;
	return t->data_len == 0 || memcmp(s->out.data, t->data, t->data_len) == 0
	               ? 0
	               : RFS_EPRECONDITION;
}

static int check_condition(struct store *s, const struct fs_txn_step *t, struct fs_result *res)
{
	struct store_inode n;
	int rc = store_path_load(s, t->key, &n);
	bool absent = rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP;

	if (rc != 0 && !absent)
		return rc;
	if (absent)
		return t->kind == FS_TXN_IF_ABSENT ||
		                       (t->kind == FS_TXN_IF_VERSION && t->version == 0)
		               ? 0
		               : RFS_EPRECONDITION;
	if (t->kind == FS_TXN_IF_VALUE)
		rc = has_value(s, &n, t);
	else if (t->kind == FS_TXN_IF_VERSION)
		rc = n.attr.version == t->version ? 0 : RFS_EPRECONDITION;
	else
		rc = t->kind == FS_TXN_IF_EXISTS ? 0 : RFS_EPRECONDITION;
	if (rc == RFS_EPRECONDITION)
		store_result_attr(res, &n);
	return rc;
}

/* ---- room ---- */

struct new_name {
	uint64_t cookie;
	struct fs_str name;
};

static int by_cookie(const void *a, const void *b)
{
	const struct new_name *x = a, *y = b;

	return (x->cookie > y->cookie) - (x->cookie < y->cookie);
}

static bool same_name(struct fs_str a, struct fs_str b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* Names of one hash share a number of places in a directory. Two of them in one transaction are
 * next to impossible unless somebody has made them so; they are refused rather than counted. */
static int check_hashes(const struct store *s, const struct txn *x)
{
	struct new_name *names = NULL;
	size_t n = 0, cap = 0;
	int rc = 0;

	for (size_t i = 0; i < x->n_changes; i++) {
		struct fs_str rest = x->changes[i]->key, name;

		while (x->changes[i]->kind == FS_TXN_SET && fs_path_next(&rest, &name)) {
			names = mem_grow(names, &cap, n + 1, sizeof(*names));
			names[n++] = (struct new_name){store_dir_cookie(s, name), name};
		}
	}
	if (n > 1)
		qsort(names, n, sizeof(*names), by_cookie);
	for (size_t i = 1; i < n && rc == 0; i++)
		if (names[i].cookie == names[i - 1].cookie &&
		    !same_name(names[i].name, names[i - 1].name))
			rc = -ENOSPC;
	free(names);
	return rc;
}

/* ---- changes ---- */

static struct fs_op op_of(const struct txn *x, const struct fs_txn_step *t)
{
	return (struct fs_op){
	        .kind = t->kind == FS_TXN_SET ? FS_OP_PUT : FS_OP_DELETE,
	        .name = t->key,
	        .mode = x->op->mode,
	        .uid = x->op->uid,
	        .gid = x->op->gid,
	        .data = t->data,
	        .data_len = t->data_len,
	};
}

static int check_all(struct store *s, struct txn *x, struct fs_result *res)
{
	int rc;

	for (size_t i = 0; i < x->n; i++) {
		const struct fs_txn_step *t = &x->steps[i];
		struct fs_op op = op_of(x, t);

		res->value = i + 1;
		if (!is_change(t))
			rc = check_condition(s, t, res);
		else
			rc = t->kind == FS_TXN_SET ? store_check_put(s, &op, (uint32_t)x->n_changes)
			                           : store_check_delete(s, &op);
		if (rc != 0)
			return rc;
	}
	return check_hashes(s, x);
}

static int change_all(struct store *s, const struct txn *x)
{
	for (size_t i = 0; i < x->n; i++) {
		const struct fs_op op = op_of(x, &x->steps[i]);
		struct fs_result one = {0};
		int rc;

		if (!is_change(&x->steps[i]))
			continue;
		rc = op.kind == FS_OP_PUT ? store_op_put(s, &op, &one)
		                          : store_op_delete(s, &op, &one);
		rfs_check(rc == 0 || rc == STORE_FAILED); /* it was checked */
		if (rc != 0)
			return rc;
	}
	return 0;
}

int store_op_txn(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct txn x = {.op = op};
	int rc;

	if (op->data_len > FS_WRITE_BYTES_MAX || (op->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
		return -EINVAL;
	rc = decode(&x, res);
	if (rc == 0)
		rc = check_independent(&x, res);
	if (rc == 0)
		rc = check_all(s, &x, res);
	if (rc == 0)
		rc = change_all(s, &x);
	if (rc == 0)
		res->value = x.n_changes;
	free(x.steps);
	free((void *)x.changes);
	return rc;
}

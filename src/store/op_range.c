/* FALLOCATE and COPY: changes of ranges that carry no bytes. */
#include "store_priv.h"

#include <errno.h>
#include <sys/stat.h>

static bool keeps_size(enum fs_falloc mode)
{
	return mode == FS_FALLOC_KEEP_SIZE || mode == FS_FALLOC_PUNCH ||
	       mode == FS_FALLOC_ZERO_KEEP_SIZE;
}

static bool makes_zeros(enum fs_falloc mode)
{
	return mode == FS_FALLOC_PUNCH || mode == FS_FALLOC_ZERO ||
	       mode == FS_FALLOC_ZERO_KEEP_SIZE;
}

/* The range stays within what a file can be. */
static int check_range(uint64_t offset, uint64_t len)
{
	return offset > FS_FILE_BYTES_MAX || len > FS_FILE_BYTES_MAX - offset ? -EFBIG : 0;
}

int store_op_fallocate(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	enum fs_falloc mode = (enum fs_falloc)op->mode;
	uint64_t end = op->offset + op->size, old_size, upto, done;
	struct store_inode n;
	int rc;

	if (op->mode > FS_FALLOC_ZERO_KEEP_SIZE)
		return -EOPNOTSUPP;
	if (op->size == 0)
		return -EINVAL;
	/* punching beyond every file is nothing, however far beyond */
	if (mode != FS_FALLOC_PUNCH && (rc = check_range(op->offset, op->size)) != 0)
		return rc;
	if ((rc = store_inode_load(s, op->ino, -ESTALE, &n)) != 0 ||
	    (rc = store_check_regular(&n)) != 0)
		return rc;
	old_size = n.attr.size;
	if (!keeps_size(mode) && end > old_size &&
	    (rc = store_quota_check(s, n.quota, 0, end - old_size)) != 0)
		return rc;
	upto = end < op->offset || end > old_size ? old_size : end;
	if (makes_zeros(mode) && op->offset < upto) {
		if (store_file_zero(s, &n, op->offset, upto - op->offset, &done) != 0)
			return STORE_FAILED;
		res->value = done < upto ? done : 0;
	}
	if (!keeps_size(mode) && end > old_size && store_file_resize(s, &n, end) != 0)
		return STORE_FAILED;
	if (store_end_write(s, op, &n, makes_zeros(mode) || n.attr.size != old_size) != 0)
		return STORE_FAILED;
	store_result_attr(res, &n);
	return 0;
}

/* Both files; one inode in hand where they are one. */
static int load_both(struct store *s, const struct fs_op *op, struct store_inode *from,
                     struct store_inode *to)
{
	int rc = store_inode_load(s, op->ino2, -ESTALE, from);

	if (rc == 0)
		rc = store_inode_load(s, op->ino, -ESTALE, to);
	if (rc == 0)
		rc = store_check_regular(from);
	return rc == 0 ? store_check_regular(to) : rc;
}

static uint64_t bytes_to_copy(const struct fs_op *op, const struct store_inode *from)
{
	uint64_t left = op->offset2 < from->attr.size ? from->attr.size - op->offset2 : 0;
	uint64_t len = op->size < left ? op->size : left;

	return len < FS_COPY_BYTES_MAX ? len : FS_COPY_BYTES_MAX;
}

int store_op_copy(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode from, to;
	uint64_t len;
	int rc = load_both(s, op, &from, &to);

	if (rc != 0)
		return rc;
	len = bytes_to_copy(op, &from);
	if ((rc = check_range(op->offset, len)) != 0)
		return rc;
	if (op->ino == op->ino2 && op->offset < op->offset2 + len && op->offset2 < op->offset + len)
		return -EINVAL;
	if (op->offset + len > to.attr.size &&
	    (rc = store_quota_check(s, to.quota, 0, op->offset + len - to.attr.size)) != 0)
		return rc;
	res->value = len;
	if (len > 0) {
		buf_clear(&s->out);
		if (store_file_read(s, &from, op->offset2, len, &s->out) != 0 ||
		    store_file_write(s, &to, op->offset, s->out.data, (size_t)len) != 0 ||
		    store_end_write(s, op, &to, true) != 0)
			return STORE_FAILED;
	}
	store_result_attr(res, &to);
	return 0;
}

/* ADOPT: the bytes of a file without a name become another's, all of them in place of what was there or some of them on
 * top of it. So what was written little by little, where nobody else looks, is seen at once. */
#include "store_priv.h"

#include <errno.h>
#include "../base/check.h"

/* What becomes of the two files. */
struct adoption {
	bool swap;     /* else ranges are copied */
	uint64_t size; /* of the file afterwards */
	uint64_t by;   /* what is copied moves up by so much */
	uint64_t copied;
};

/* Whether the ranges make sense by themselves; *end is where the last one ends. */
static int check_ranges(const struct fs_op *op, uint64_t *end, uint64_t *sum)
{
	struct reader r = reader_of(op->data, op->data_len);
	struct fs_range range;

	*end = *sum = 0;
	if (op->data_len > FS_RANGES_MAX * FS_RANGE_BYTES)
		return -EINVAL;
	while (fs_range_next(&r, &range)) {
		if (range.len == 0 || range.offset < *end || range.offset > FS_FILE_BYTES_MAX ||
		    range.len > FS_FILE_BYTES_MAX - range.offset)
			return -EINVAL;
		*end = range.offset + range.len;
		*sum += range.len;
	}
	return r.bad ? -EINVAL : 0;
}

/* The file that is to give its bytes. */
static int load_giver(struct store *s, const struct fs_op *op, struct store_inode *from)
{
	int rc = store_orphan_is_ours(s, op->ino2);

	if (rc <= 0)
		return rc == 0 ? -ESTALE : rc;
	rc = store_inode_load(s, op->ino2, -ESTALE, from);
	return rc == 0 ? store_check_regular(from) : rc;
}

static int plan(const struct fs_op *op, const struct store_inode *from,
                const struct store_inode *to, struct adoption *a)
{
	uint64_t end;
	int rc = check_ranges(op, &end, &a->copied);

	if (rc != 0 || end > from->attr.size)
		return -EINVAL;
	a->by = 0;
	a->swap = (op->flags & FS_F_TRUNC) != 0 || to->attr.size == 0;
	a->size = from->attr.size;
	if (a->swap)
		return 0;
	if ((op->flags & FS_F_APPEND) != 0) {
		a->by = to->attr.size;
		end = a->copied = from->attr.size;
	}
	if (a->copied > FS_ADOPT_BYTES_MAX || end > FS_FILE_BYTES_MAX - a->by)
		return -EFBIG;
	a->size = a->by + end > to->attr.size ? a->by + end : to->attr.size;
	return 0;
}

static int copy(struct store *s, struct store_inode *from, struct store_inode *to,
                struct fs_range range, uint64_t by)
{
	while (range.len > 0) {
		uint64_t at = range.offset + by;
		uint64_t len = FS_COPY_BYTES_MAX - at % FS_COPY_BYTES_MAX;

		len = len < range.len ? len : range.len;
		buf_clear(&s->out);
		if (store_file_read(s, from, range.offset, len, &s->out) != 0 ||
		    store_file_write(s, to, at, s->out.data, (size_t)len) != 0)
			return STORE_FAILED;
		range.offset += len;
		range.len -= len;
	}
	return 0;
}

static int copy_ranges(struct store *s, const struct fs_op *op, struct store_inode *from,
                       struct store_inode *to, const struct adoption *a)
{
	struct reader r = reader_of(op->data, op->data_len);
	struct fs_range range = {0, from->attr.size};

	if ((op->flags & FS_F_APPEND) != 0)
		return copy(s, from, to, range, a->by);
	while (fs_range_next(&r, &range))
		if (copy(s, from, to, range, 0) != 0)
			return STORE_FAILED;
	return 0;
}

static int adopt(struct store *s, const struct fs_op *op, struct store_inode *from,
                 struct store_inode *to, const struct adoption *a)
{
	if ((a->swap ? store_file_swap(s, from, to) : copy_ranges(s, op, from, to, a)) != 0)
		return STORE_FAILED;
	rfs_check(to->attr.size == a->size);
	if (store_orphan_forget(s, op->ino2) != 0 || store_inode_free(s, from) != 0)
		return STORE_FAILED;
	return store_end_write(s, op, to, true);
}

int store_op_adopt(struct store *s, const struct fs_op *op, struct fs_result *res)
{
	struct store_inode from, to;
	struct adoption a;
	int rc;

	if (op->ino == op->ino2)
		return -EINVAL;
	if ((rc = load_giver(s, op, &from)) != 0 ||
	    (rc = store_inode_load(s, op->ino, -ESTALE, &to)) != 0 ||
	    (rc = store_check_regular(&to)) != 0 || (rc = plan(op, &from, &to, &a)) != 0)
		return rc;
	if (a.size > to.attr.size &&
	    (rc = store_quota_check_moved(s, to.quota, a.size - to.attr.size, from.quota,
	                                  from.attr.size)) != 0)
		return rc;
	res->value = a.by;
	if (adopt(s, op, &from, &to, &a) != 0)
		return STORE_FAILED;
	store_result_attr(res, &to);
	return 0;
}

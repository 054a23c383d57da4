/* One directory, listed. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "ctl.h"

#define PAGE_BYTES 262144u

int ctl_resolve(struct ctl *ctl, const char *path, size_t n, struct fs_attr *attr)
{
	struct fs_op by_path = {.kind = FS_OP_RESOLVE, .name = {path, (uint32_t)n}};
	struct fs_op root = {.kind = FS_OP_GETATTR, .ino = FS_ROOT_INO};
	struct ctl_call call = {0};
	bool is_root = n == 0 || (n == 1 && path[0] == '/');
	int rc = ctl_do(ctl, &call, is_root ? &root : &by_path);

	if (rc == 0 && !call.result.has_attr)
		rc = -EIO;
	*attr = call.result.attr;
	ctl_call_end(&call);
	return rc;
}

static int take_page(const struct ctl_call *call, int (*each)(void *, const struct fs_dirent *),
                     void *ctx, uint64_t *cookie)
{
	struct reader r = reader_of(call->data.data, call->data.len);
	struct fs_dirent e;
	int rc = 0;

	*cookie = 0;
	while (rc == 0 && fs_dirent_next(&r, &e)) {
		*cookie = e.cookie;
		rc = each(ctx, &e);
	}
	return r.bad ? RFS_EPROTO : rc;
}

int ctl_list_dir(struct ctl *ctl, uint64_t ino, int (*each)(void *, const struct fs_dirent *),
                 void *ctx)
{
	struct fs_op op = {.kind = FS_OP_READDIR, .ino = ino, .size = PAGE_BYTES};
	int rc;

	do {
		struct ctl_call call = {0};

		rc = ctl_do(ctl, &call, &op);
		if (rc == 0)
			rc = take_page(&call, each, ctx, &op.offset);
		ctl_call_end(&call);
	} while (rc == 0 && op.offset != 0);
	return rc;
}

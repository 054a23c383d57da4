/* user.raft.version is the inode's version, in decimal digits: for scripts that change a key only if nobody else has
 * (raftctl set --if-version). It is not listed, so that copies do not carry it along, and cannot be set.
 *
 * Extended attributes: user.*, trusted.* and security.*, as the kernel lets the caller have them. Not here:
 *
 *   system.posix_acl_*   access control lists, but with -o acl: each lookup lets the kernel forget what it knows of them,
 *                        so it asks again at every step of a path that belongs to somebody else and has group bits;
 *   security.selinux     a label of its own for each file; the mount has one for all (-o context=).
 *
 * They are refused without asking the cluster, so that `ls -l`, which asks for both, costs no more. */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "handle.h"
#include "reply.h"
#include "virtual.h"
#include "../src/base/acl.h"
#include "../src/base/mem.h"

#define TRUSTED "trusted."
#define VERSION "user.raft.version"

static bool begins(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_acl(const char *name)
{
	return acl_kind_of(fs_str_of(name)) != ACL_NONE;
}

static bool is_kept(const struct mount *m, const char *name)
{
	if (is_acl(name))
		return m->options->acl;
	return begins(name, "user.") || begins(name, TRUSTED) ||
	       (begins(name, "security.") && strcmp(name, "security.selinux") != 0);
}

/* Replies if there is nothing to ask the cluster for. */
static bool refuse(fuse_req_t req, fuse_ino_t ino, const char *name, int virtual_errno)
{
	const char *dot = strchr(name, '.');

	if (!is_kept(mount_of(req), name))
		(void)fuse_reply_err(req, EOPNOTSUPP);
	else if (strcmp(name, VERSION) == 0)
		(void)fuse_reply_err(req, virtual_errno == ENODATA ? ENODATA : EPERM);
	else if (dot[1] == '\0') /* nothing behind the kind */
		(void)fuse_reply_err(req, EINVAL);
	else if (virtual_is(ino))
		(void)fuse_reply_err(req, virtual_errno);
	else
		return false;
	return true;
}

static void done(struct request *r, const struct fs_result *res)
{
	request_reply_code(r, reply_errno_ino(res->err, true));
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_SETXATTR,
	               .ino = ino,
	               .name = fs_str_of(name),
	               .flags = ((flags & XATTR_CREATE) != 0 ? FS_F_EXCL : 0) |
	                        ((flags & XATTR_REPLACE) != 0 ? FS_F_MUST_EXIST : 0) |
	                        ((flags & INIT_SETXATTR_KILL_SGID) != 0 ? FS_F_KILL_SGID : 0),
	               .data = value,
	               .data_len = (uint32_t)size},
	        .done = done,
	        .ino = ino,
	};

	if (refuse(req, ino, name, EACCES))
		return;
	if (size > FS_XATTR_BYTES_MAX)
		(void)fuse_reply_err(req, E2BIG);
	else
		request_start(mount_of(req), req, &a);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_REMOVEXATTR, .ino = ino, .name = fs_str_of(name)},
	        .done = done,
	        .ino = ino,
	};

	if (!refuse(req, ino, name, EACCES))
		request_start(mount_of(req), req, &a);
}

/* `size` 0 asks how many bytes there are. */
static void reply_bytes(struct request *r, const char *p, size_t n)
{
	if (r->args.size == 0)
		(void)fuse_reply_xattr(request_take(r), n);
	else if (n > r->args.size)
		request_reply_code(r, ERANGE);
	else
		(void)fuse_reply_buf(request_take(r), p, n);
}

static void get_done(struct request *r, const struct fs_result *res)
{
	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, false));
	else
		reply_bytes(r, res->data, res->data_len);
}

/* ---- access control lists ---- */

static void keep_root_acl(struct mount *m, const struct fs_result *res)
{
	if ((res->err != 0 && res->err != -ENODATA) || res->data_len > sizeof(m->root_acl))
		return;
	m->root_acl_known = true;
	m->root_acl_len = res->err == 0 ? res->data_len : 0;
	if (m->root_acl_len > 0)
		memmove(m->root_acl, res->data, m->root_acl_len);
}

/* The kernel checks permissions with what this says. A cluster that is held at an older protocol version has none. */
static void acl_done(struct request *r, const struct fs_result *res)
{
	struct fs_result shown = *res;

	if (res->err == -EOPNOTSUPP)
		shown.err = -ENODATA;
	if (r->args.root_fallback)
		keep_root_acl(r->mount, &shown);
	get_done(r, &shown);
}

static void get_acl(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct mount *m = mount_of(req);
	bool of_root = ino == FS_ROOT_INO && acl_kind_of(fs_str_of(name)) == ACL_ACCESS;

	request_start(m, req,
	              &(struct request_args){
	                      .op = {.kind = FS_OP_GETXATTR, .ino = ino, .name = fs_str_of(name)},
	                      .done = acl_done,
	                      .size = size,
	                      .root_fallback = of_root});
}

static void learn_done(struct request *r, const struct fs_result *res)
{
	keep_root_acl(r->mount, res);
}

void ops_learn_root_acl(struct mount *m)
{
	request_start(m, NULL,
	              &(struct request_args){.op = {.kind = FS_OP_GETXATTR,
	                                            .ino = m->view.root,
	                                            .name = FS_STR(ACL_XATTR_ACCESS)},
	                                     .done = learn_done,
	                                     .quiet = true});
}

static void version_done(struct request *r, const struct fs_result *res)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)res->attr.version);

	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, false));
	else
		reply_bytes(r, digits, (size_t)n);
}

static void get_version(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	request_start(mount_of(req), req,
	              &(struct request_args){.op = {.kind = FS_OP_GETATTR, .ino = ino},
	                                     .done = version_done,
	                                     .size = size});
}

static bool is_probe(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	const struct inode *i;

	if (size != 0 || strcmp(name, "security.capability") != 0)
		return false;
	i = inode_find(&mount_of(req)->inodes, ino);
	return i != NULL && file_takes_probe(i, fuse_req_ctx(req)->pid);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_GETXATTR, .ino = ino, .name = fs_str_of(name)},
	        .done = get_done,
	        .size = size,
	};

	if (is_probe(req, ino, name, size))
		(void)fuse_reply_err(req, ENODATA);
	else if (strcmp(name, VERSION) == 0 && !virtual_is(ino))
		get_version(req, ino, size);
	else if (refuse(req, ino, name, ENODATA))
		return;
	else if (is_acl(name))
		get_acl(req, ino, name, size);
	else
		request_start(mount_of(req), req, &a);
}

/* trusted.* is not even named to those who may not read it, nor what this mount has not. */
static bool is_listed(const struct request *r, struct fs_str name)
{
	if (acl_kind_of(name) != ACL_NONE)
		return r->mount->options->acl;
	return !begins(name.p, TRUSTED) || (r->req != NULL && fuse_req_ctx(r->req)->uid == 0);
}

static void list_done(struct request *r, const struct fs_result *res)
{
	const char *name = res->data_len > 0 ? res->data : "", *end = name + res->data_len;
	size_t n = 0, len;
	char *out;

	if (res->err != 0) {
		request_reply_code(r, reply_errno_ino(res->err, false));
		return;
	}
	out = mem_alloc((size_t)res->data_len + 1);
	for (; name < end; name += len) {
		len = strnlen(name, (size_t)(end - name)) + 1;
		if (len > (size_t)(end - name)) /* no NUL at its end */
			break;
		if (!is_listed(r, (struct fs_str){name, (uint32_t)len - 1}))
			continue;
		memcpy(out + n, name, len);
		n += len;
	}
	reply_bytes(r, out, n);
	free(out);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	const struct request_args a = {
	        .op = {.kind = FS_OP_LISTXATTR, .ino = ino},
	        .done = list_done,
	        .size = size,
	};

	if (!virtual_is(ino))
		request_start(mount_of(req), req, &a);
	else if (size == 0)
		(void)fuse_reply_xattr(req, 0);
	else
		(void)fuse_reply_buf(req, NULL, 0);
}

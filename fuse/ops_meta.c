/* Names and attributes.
 *
 * A mount whose modes the kernel checks (default_permissions) is asked for the root's attributes on
 * every path, as their timeout is 0; for .raft/ too, which has to answer without a quorum. So
 * there, and only while the client has no connection to a leader, a GETATTR of the root that stays
 * unanswered for a moment is answered with the root's last known attributes; with -o acl its access
 * control list, too. Whatever else is below
 * the root still waits for the cluster. Rejected: a longer timeout for the root's attributes (stale
 * in a healthy cluster, too). */
#include "ops.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "handle.h"
#include "reply.h"
#include "virtual.h"
#include "../src/base/clock.h"

#define SILENCE_REPEATS_MS 20u

/* When a lookup of a name that the kernel knew fails, the kernel forgets the name and looks it up
 * at once a second time, for the same system call. The caller has waited long enough: such a second
 * lookup gets the first one's answer. */
static struct mount_silence *silence_slot(struct mount *m, pid_t pid)
{
	return &m->silences[(unsigned)pid % MOUNT_SILENCES];
}

static void note_silence(struct mount *m, pid_t pid, uint64_t parent, const char *name)
{
	struct mount_silence *s = silence_slot(m, pid);

	s->pid = pid;
	s->parent = parent;
	s->at_ms = clock_mono_ms();
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
}

static bool was_silent(struct mount *m, pid_t pid, uint64_t parent, const char *name)
{
	struct mount_silence *s = silence_slot(m, pid);
	bool same = s->pid == pid && s->parent == parent && strcmp(s->name, name) == 0 &&
	            clock_mono_ms() - s->at_ms < SILENCE_REPEATS_MS;

	if (same)
		s->pid = 0; /* once */
	return same;
}

static void lookup_done(struct request *r, const struct fs_result *res)
{
	struct fuse_entry_param e;
	struct mount *m = r->mount;

	if (res->err == RFS_ENOQUORUM)
		note_silence(m, fuse_req_ctx(r->req)->pid, r->args.parent, r->name);

	if (res->err != 0 || !res->has_attr) {
		request_reply_code(r, res->err != 0 ? reply_errno(res->err, false) : EIO);
		return;
	}
	reply_entry(&e, &res->attr);
	if (fuse_reply_entry(request_take(r), &e) == 0 && r->args.name.len > 0)
		inode_found(&m->inodes, &res->attr, r->args.parent, r->args.name);
}

/* Who has a handle of an inode (open_by_handle_at(2), an NFS server) and no name of it asks for its "." and "..". */
static void lookup_dots(struct mount *m, fuse_req_t req, fuse_ino_t ino, bool parent)
{
	struct request_args a = {.op = {.kind = FS_OP_GETATTR, .ino = ino}, .done = lookup_done};

	if (m->options->subdir != NULL) { /* a handle may lead out of the subtree */
		(void)fuse_reply_err(req, ESTALE);
		return;
	}
	if (parent)
		a.op = (struct fs_op){.kind = FS_OP_LOOKUP, .parent = ino, .name = FS_STR("..")};
	request_start(m, req, &a);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fs_str n = fs_str_of(name);
	const struct request_args a = {
	        .op = {.kind = FS_OP_LOOKUP, .parent = parent, .name = n},
	        .done = lookup_done,
	        .parent = parent,
	        .name = n,
	};

	if (virtual_has(parent, name))
		virtual_lookup(m, req, parent, name);
	else if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		lookup_dots(m, req, parent, name[1] == '.');
	else if (was_silent(m, fuse_req_ctx(req)->pid, parent, name))
		(void)fuse_reply_err(req, reply_errno(RFS_ENOQUORUM, false));
	else if (n.len > FS_NAME_BYTES_MAX)
		(void)fuse_reply_err(req, ENAMETOOLONG);
	else
		request_start(m, req, &a);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	(void)nlookup;
	inode_forget(&mount_of(req)->inodes, ino);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct mount *m = mount_of(req);

	for (size_t i = 0; i < count; i++)
		inode_forget(&m->inodes, forgets[i].ino);
	fuse_reply_none(req);
}

/* ---- attributes ---- */

static void attr_done(struct request *r, const struct fs_result *res)
{
	struct mount *m = r->mount;
	struct inode *i;
	struct stat st;

	if (res->err != 0 || !res->has_attr) {
		request_reply_code(r,
		                   res->err != 0 ? reply_errno_ino(res->err, r->is_change) : EIO);
		return;
	}
	if (res->attr.ino == FS_ROOT_INO) {
		m->root = res->attr;
		m->root_known = true;
	}
	reply_stat(&st, &res->attr);
	i = inode_find(&m->inodes, res->attr.ino);
	if (i != NULL && i->n_truncating > 0 &&
	    inode_is_truncated_for(i, fuse_req_ctx(r->req)->pid)) {
		st.st_size = 0;
		st.st_blocks = 0;
	}
	(void)fuse_reply_attr(request_take(r), &st, 0.0);
}

/* A directory that was removed here, with somebody still in it. */
static bool reply_removed(struct mount *m, fuse_req_t req, fuse_ino_t ino)
{
	const struct inode *i = inode_find(&m->inodes, ino);
	struct stat st;

	if (i == NULL || !i->removed)
		return false;
	reply_stat(&st, &i->attr);
	(void)fuse_reply_attr(req, &st, 0.0);
	return true;
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	const struct request_args a = {
	        .op = {.kind = FS_OP_GETATTR, .ino = ino},
	        .done = attr_done,
	        .ino = ino,
	        .root_fallback = ino == FS_ROOT_INO && m->options->check_permission,
	};

	(void)fi;
	if (virtual_is(ino))
		virtual_getattr(m, req, ino);
	else if (!reply_removed(m, req, ino))
		request_start(m, req, &a);
}

/* Asked only on a mount whose modes the kernel does not check, and that is one that only root enters:
 * root may do anything but execute what nobody may execute. */
static void access_done(struct request *r, const struct fs_result *res)
{
	bool refused = S_ISREG(res->attr.mode) && (res->attr.mode & 0111) == 0;

	if (res->err != 0)
		request_reply_code(r, reply_errno_ino(res->err, false));
	else
		request_reply_code(r, refused ? EACCES : 0);
}

void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	const struct request_args a = {.op = {.kind = FS_OP_GETATTR, .ino = ino},
	                               .done = access_done};

	if (virtual_is(ino))
		(void)fuse_reply_err(req, (mask & W_OK) != 0 ? EACCES : 0);
	else if ((mask & X_OK) == 0 || ino == FS_ROOT_INO)
		(void)fuse_reply_err(req, 0);
	else
		request_start(mount_of(req), req, &a);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi)
{
	struct request_args a = {
	        .op = {.kind = FS_OP_SETATTR, .ino = ino},
	        .done = attr_done,
	        .ino = ino,
	};
	int rc;

	if (virtual_is(ino)) {
		(void)fuse_reply_err(req, EACCES);
		return;
	}
	a.file = file_of(fi);
	rc = reply_setattr_op(&a.op, attr, to_set);
	if (rc != 0)
		(void)fuse_reply_err(req, reply_errno(rc, true));
	else
		request_start(mount_of(req), req, &a);
}

static void readlink_done(struct request *r, const struct fs_result *res)
{
	char target[FS_PATH_BYTES_MAX + 1];

	if (res->err != 0 || res->data_len > FS_PATH_BYTES_MAX) {
		request_reply_code(r, res->err != 0 ? reply_errno_ino(res->err, false) : EIO);
		return;
	}
	if (res->data_len > 0)
		memcpy(target, res->data, res->data_len);
	target[res->data_len] = '\0';
	(void)fuse_reply_readlink(request_take(r), target);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct request_args a = {.op = {.kind = FS_OP_READLINK, .ino = ino},
	                               .done = readlink_done};

	if (virtual_is(ino))
		(void)fuse_reply_err(req, EINVAL);
	else
		request_start(mount_of(req), req, &a);
}

#define STATFS_BLOCK_BYTES 4096u

static void statfs_done(struct request *r, const struct fs_result *res)
{
	struct fs_statfs s;
	struct reader rd = reader_of(res->data, res->data_len);
	struct statvfs st = {
	        .f_bsize = STATFS_BLOCK_BYTES,
	        .f_frsize = STATFS_BLOCK_BYTES,
	        .f_namemax = FS_NAME_BYTES_MAX,
	};

	if (res->err != 0 || !fs_statfs_get(&rd, &s)) {
		request_reply_code(r, res->err != 0 ? reply_errno(res->err, false) : EIO);
		return;
	}
	st.f_blocks = s.bytes_total / STATFS_BLOCK_BYTES;
	st.f_bfree = s.bytes_free / STATFS_BLOCK_BYTES;
	st.f_bavail = st.f_bfree;
	/* inodes are bounded by space alone: one for each free block */
	st.f_ffree = st.f_bfree;
	st.f_favail = st.f_bfree;
	st.f_files = s.inodes_used + st.f_ffree;
	(void)fuse_reply_statfs(request_take(r), &st);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct request_args a = {.op = {.kind = FS_OP_STATFS}, .done = statfs_done};

	(void)ino;
	request_start(mount_of(req), req, &a);
}

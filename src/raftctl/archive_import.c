/* Into the cluster: an archive entry after the other, each as the operations that make it. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/mem.h"
#include "archive.h"
#include "progress.h"

#define READ_BLOCK_BYTES 65536u

/* A directory's times, which are set when everything is in it. */
struct later {
	uint64_t ino;
	int64_t atime_ns, mtime_ns;
	struct later *next;
};

struct importing {
	struct ctl *ctl;
	struct archive *in;
	struct archive_counts *counts;
	const char *source;
	struct buf key; /* of the entry, "" for the root of it all */
	size_t root_len;
	struct later *later;
	struct progress progress;
	char block[READ_BLOCK_BYTES]; /* of standard input */
};

static int archive_failed(struct importing *x)
{
	return archive_complain(x->in, x->source);
}

static const char *key_text(struct importing *x)
{
	*buf_reserve(&x->key, 1) = '\0';
	return (const char *)x->key.data;
}

static int failed(struct importing *x, int rc)
{
	return ctl_failed(x->ctl, key_text(x), rc, true);
}

/* ---- names ---- */

/* "./a//b/" as "a/b" behind the root's key; false if it would lead out of it. */
static bool take_path(struct importing *x, const char *path)
{
	x->key.len = x->root_len;
	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.')
			return false;
		if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (x->key.len > 0)
				buf_put(&x->key, "/", 1);
			buf_put(&x->key, path, n);
		}
		path += n + (path[n] == '/');
	}
	return true;
}

/* Directory and last name of the key. 0 or a negative code. */
static int find_parent(struct importing *x, uint64_t *parent, struct fs_str *name)
{
	const char *key = key_text(x), *slash = strrchr(key, '/');
	size_t n = slash != NULL ? (size_t)(slash - key) : 0;
	struct fs_attr attr;
	int rc = ctl_resolve(x->ctl, key, n, &attr);

	*parent = attr.ino;
	*name = fs_str_of(slash != NULL ? slash + 1 : key);
	return rc == 0 && !S_ISDIR(attr.mode) ? -ENOTDIR : rc;
}

/* One operation; *ino: what it is about, if it says so. */
static int do_op(struct importing *x, const struct fs_op *op, uint64_t *ino)
{
	struct ctl_call call = {0};
	int rc = ctl_do(x->ctl, &call, op);

	if (rc == 0 && ino != NULL)
		*ino = call.result.attr.ino;
	ctl_call_end(&call);
	return rc;
}

static int remove_old(struct importing *x)
{
	const struct fs_op op = {.kind = FS_OP_DELETE, .name = fs_str_of(key_text(x))};
	int rc = do_op(x, &op, NULL);

	return rc == -ENOENT ? 0 : rc;
}

/* mkdir -p of the key's first `len` bytes. */
static int make_directories(struct importing *x, size_t len, uint64_t *ino)
{
	const char *key = key_text(x);
	struct fs_attr attr = {.ino = FS_ROOT_INO, .mode = S_IFDIR};
	struct fs_op op = {.kind = FS_OP_MKNOD, .flags = FS_F_EXCL, .mode = S_IFDIR | 0755};
	size_t from = 0;
	int rc = ctl_resolve(x->ctl, key, len, &attr);

	if (rc == 0)
		*ino = attr.ino;
	if (rc != -ENOENT)
		return rc != 0 ? rc : S_ISDIR(attr.mode) ? 0 : -ENOTDIR;
	op.parent = FS_ROOT_INO;
	while (from < len) {
		size_t n = strcspn(key + from, "/");

		n = from + n > len ? len - from : n;
		op.name = (struct fs_str){key + from, (uint32_t)n};
		rc = do_op(x, &op, &op.parent);
		if (rc == -EEXIST)
			rc = ctl_resolve(x->ctl, key, from + n, &attr);
		else
			attr.ino = op.parent;
		if (rc != 0)
			return rc;
		op.parent = attr.ino;
		from += n + 1;
	}
	*ino = op.parent;
	return 0;
}

static int make_parent(struct importing *x)
{
	const char *key = key_text(x), *slash = strrchr(key, '/');
	uint64_t ino;

	return slash != NULL ? make_directories(x, (size_t)(slash - key), &ino) : 0;
}

/* ---- attributes ---- */

static int64_t ns_of(time_t s, long ns)
{
	return (int64_t)s * 1000000000 + ns;
}

static int set_xattrs(struct importing *x, struct archive_entry *e, uint64_t ino)
{
	const char *name;
	const void *value;
	size_t size;
	int rc = 0;

	(void)archive_entry_xattr_reset(e);
	while (rc == 0 && archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
		const struct fs_op op = {.kind = FS_OP_SETXATTR,
		                         .ino = ino,
		                         .name = fs_str_of(name),
		                         .data = value,
		                         .data_len = (uint32_t)size};

		rc = strcmp(name, FS_XATTR_VERSION) == 0 || size > FS_XATTR_BYTES_MAX
		             ? 0
		             : do_op(x, &op, NULL);
	}
	return rc;
}

static void set_times_later(struct importing *x, uint64_t ino, int64_t atime_ns, int64_t mtime_ns)
{
	struct later *l = mem_zalloc(sizeof(*l));

	*l = (struct later){
	        .ino = ino, .atime_ns = atime_ns, .mtime_ns = mtime_ns, .next = x->later};
	x->later = l;
}

static int set_attributes(struct importing *x, struct archive_entry *e, uint64_t ino)
{
	struct fs_op op = {
	        .kind = FS_OP_SETATTR,
	        .ino = ino,
	        .valid = FS_SET_UID | FS_SET_GID | FS_SET_MODE | FS_SET_ATIME | FS_SET_MTIME,
	        .mode = (uint32_t)archive_entry_mode(e),
	        .uid = (uint32_t)archive_entry_uid(e),
	        .gid = (uint32_t)archive_entry_gid(e),
	        .mtime_ns = ns_of(archive_entry_mtime(e), archive_entry_mtime_nsec(e)),
	};
	int rc;

	op.atime_ns = archive_entry_atime_is_set(e)
	                      ? ns_of(archive_entry_atime(e), archive_entry_atime_nsec(e))
	                      : op.mtime_ns;
	rc = set_xattrs(x, e, ino);
	if (rc == 0)
		rc = do_op(x, &op, NULL);
	if (rc == 0 && archive_entry_filetype(e) == AE_IFDIR)
		set_times_later(x, ino, op.atime_ns, op.mtime_ns);
	return rc;
}

static int set_later(struct importing *x)
{
	struct later *l;
	int rc = 0;

	while ((l = x->later) != NULL) {
		const struct fs_op op = {.kind = FS_OP_SETATTR,
		                         .ino = l->ino,
		                         .valid = FS_SET_ATIME | FS_SET_MTIME,
		                         .atime_ns = l->atime_ns,
		                         .mtime_ns = l->mtime_ns};

		x->later = l->next;
		free(l);
		if (rc == 0)
			rc = do_op(x, &op, NULL);
	}
	return rc == -ENOENT || rc == -ESTALE ? 0 : rc;
}

/* ---- kinds of files ---- */

/* The session lives on while an archive is read, however long that takes. */
static void keep_session(struct importing *x)
{
	(void)uv_run(x->ctl->loop, UV_RUN_NOWAIT);
}

/* What archive_read_data_block() gives, at its places, so that holes stay holes. */
static int copy_blocks(struct importing *x, FILE *f)
{
	const void *bytes;
	size_t n;
	la_int64_t at;
	int rc;

	while ((rc = archive_read_data_block(x->in, &bytes, &n, &at)) >= ARCHIVE_WARN &&
	       rc != ARCHIVE_EOF) {
		keep_session(x);
		if (ctl_interrupted())
			return ctl_error(CTL_NO, "interrupted");
		if (n > 0 && (fseeko(f, (off_t)at, SEEK_SET) != 0 || fwrite(bytes, 1, n, f) != n))
			return ctl_error(CTL_NO, "temporary file: %s", rfs_strerror(-errno));
	}
	return rc == ARCHIVE_EOF ? CTL_DONE : archive_failed(x);
}

/* The entry's bytes in a file of our own: they are put as one value. NULL: it has been said why. */
static FILE *spool(struct importing *x, struct archive_entry *e)
{
	FILE *f = tmpfile();

	if (f == NULL) {
		(void)ctl_error(CTL_NO, "temporary file: %s", rfs_strerror(-errno));
		return NULL;
	}
	if (copy_blocks(x, f) != CTL_DONE) {
		(void)fclose(f);
		return NULL;
	}
	if (fflush(f) != 0 || ftruncate(fileno(f), archive_entry_size(e)) != 0) {
		(void)ctl_error(CTL_NO, "temporary file: %s", rfs_strerror(-errno));
		(void)fclose(f);
		return NULL;
	}
	rewind(f);
	return f;
}

/* In the place of whatever is there, but a directory. */
static int put(struct importing *x, FILE *f, struct rfs_err *err)
{
	uint64_t index;
	int rc = ctl_value_put_fd(x->ctl, key_text(x), fileno(f), NULL, &index, err);

	if (rc != -ELOOP && rc != -EINVAL)
		return rc;
	rc = remove_old(x); /* a symbolic link, a fifo, a device */
	if (rc != 0 || lseek(fileno(f), 0, SEEK_SET) < 0)
		return rc != 0 ? rc : -EIO;
	return ctl_value_put_fd(x->ctl, key_text(x), fileno(f), NULL, &index, err);
}

static int import_file(struct importing *x, struct archive_entry *e)
{
	FILE *f = spool(x, e);
	struct rfs_err err = {0};
	struct fs_attr attr;
	int rc;

	if (f == NULL)
		return CTL_NO;
	rc = put(x, f, &err);
	(void)fclose(f);
	if (rc == 0)
		rc = ctl_resolve(x->ctl, key_text(x), x->key.len, &attr);
	if (rc == 0)
		rc = set_attributes(x, e, attr.ino);
	x->counts->files++;
	x->counts->bytes += (uint64_t)archive_entry_size(e);
	if (rc != 0 && err.msg[0] != '\0')
		return ctl_error(CTL_NO, "%s: %s", key_text(x), err.msg);
	return rc == 0 ? CTL_DONE : failed(x, rc);
}

static int import_hardlink(struct importing *x, const char *target)
{
	struct fs_op op = {.kind = FS_OP_LINK};
	struct buf key = x->key; /* of this entry, while the target's is looked at */
	struct fs_attr attr = {0};
	int rc;

	buf_init(&x->key);
	buf_put(&x->key, key.data, x->root_len);
	rc = take_path(x, target) ? ctl_resolve(x->ctl, key_text(x), x->key.len, &attr) : -EINVAL;
	buf_free(&x->key);
	x->key = key;
	if (rc == 0)
		rc = remove_old(x);
	if (rc == 0)
		rc = find_parent(x, &op.parent, &op.name);
	op.ino = attr.ino;
	if (rc == 0)
		rc = do_op(x, &op, NULL);
	x->counts->links++;
	return rc == 0 ? CTL_DONE : failed(x, rc);
}

static int import_node(struct importing *x, struct archive_entry *e)
{
	struct fs_op op = {
	        .kind = FS_OP_MKNOD,
	        .flags = FS_F_EXCL,
	        .mode = (uint32_t)archive_entry_mode(e),
	        .uid = (uint32_t)archive_entry_uid(e),
	        .gid = (uint32_t)archive_entry_gid(e),
	        .rdev = archive_entry_rdev(e),
	};
	const char *target = archive_entry_symlink(e);
	uint64_t ino;
	int rc = remove_old(x);

	if (archive_entry_filetype(e) == AE_IFLNK && target != NULL) {
		op.data = target;
		op.data_len = (uint32_t)strlen(target);
		op.mode = S_IFLNK | 0777;
	}
	if (rc == 0)
		rc = find_parent(x, &op.parent, &op.name);
	if (rc == 0)
		rc = do_op(x, &op, &ino);
	if (rc == 0)
		rc = set_attributes(x, e, ino);
	x->counts->links += archive_entry_filetype(e) == AE_IFLNK;
	x->counts->others += archive_entry_filetype(e) != AE_IFLNK;
	return rc == 0 ? CTL_DONE : failed(x, rc);
}

static int import_directory(struct importing *x, struct archive_entry *e)
{
	uint64_t ino = 0;
	int rc = make_directories(x, x->key.len, &ino);

	if (rc == 0)
		rc = set_attributes(x, e, ino);
	x->counts->directories++;
	return rc == 0 ? CTL_DONE : failed(x, rc);
}

static int import_entry(struct importing *x, struct archive_entry *e)
{
	const char *path = archive_entry_pathname(e), *hardlink = archive_entry_hardlink(e);
	int rc;

	if (path == NULL || !take_path(x, path))
		return ctl_error(CTL_NO, "%s: an entry would come outside: %s", x->source,
		                 path != NULL ? path : "(no name)");
	if (x->key.len == x->root_len) /* the top itself: its attributes are the cluster's affair */
		return CTL_DONE;
	if (fs_path_check((struct fs_str){key_text(x), (uint32_t)x->key.len}) != 0)
		return ctl_error(CTL_NO, "%s: not a possible key: %s", x->source, key_text(x));
	rc = make_parent(x);
	if (rc != 0)
		return failed(x, rc);
	if (hardlink != NULL)
		return import_hardlink(x, hardlink);
	switch (archive_entry_filetype(e)) {
	case AE_IFREG: return import_file(x, e);
	case AE_IFDIR: return import_directory(x, e);
	case AE_IFLNK:
	case AE_IFIFO:
	case AE_IFCHR:
	case AE_IFBLK: return import_node(x, e);
	default: x->counts->skipped++; return CTL_DONE;
	}
}

/* ---- the archive ---- */

/* Standard input: a pipe may be silent for longer than a session lives. */
static la_ssize_t read_stdin(struct archive *a, void *ctx, const void **bytes)
{
	struct importing *x = ctx;
	ssize_t n;

	do {
		ctl_wait_readable(x->ctl, STDIN_FILENO);
		if (ctl_interrupted())
			return 0;
		n = read(STDIN_FILENO, x->block, sizeof(x->block));
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		archive_set_error(a, errno, "standard input");
	*bytes = x->block;
	return n;
}

/* Files of a directory that have several names are links to the first. */
static int each_entry(struct importing *x, bool tar)
{
	struct archive_entry_linkresolver *links = archive_entry_linkresolver_new();
	struct archive_entry *e = archive_entry_new(), *spare;
	int status = CTL_DONE, rc;

	archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
	while (status == CTL_DONE && !ctl_interrupted() &&
	       (rc = archive_read_next_header2(x->in, e)) != ARCHIVE_EOF) {
		if (rc < ARCHIVE_WARN) {
			status = archive_failed(x);
			break;
		}
		if (!tar) {
			(void)archive_read_disk_descend(x->in);
			archive_entry_linkify(links, &e, &spare);
		}
		status = import_entry(x, e);
		progress_set(&x->progress, x->counts->bytes);
	}
	archive_entry_free(e);
	archive_entry_linkresolver_free(links);
	return status == CTL_DONE && ctl_interrupted() ? ctl_error(CTL_NO, "interrupted") : status;
}

static int open_source(struct importing *x, const char *path, bool tar)
{
	int rc;

	if (!tar) {
		if (chdir(path) != 0)
			return ctl_error(CTL_NO, "import: %s: %s", path,
			                 errno == ENOTDIR ? "neither a directory nor a tar file "
			                                    "(.tar, .tar.gz, .tar.xz, .tar.zst)"
			                                  : rfs_strerror(-errno));
		x->in = archive_read_disk_new();
		(void)archive_read_disk_set_symlink_physical(x->in);
		rc = archive_read_disk_open(x->in, ".");
	} else {
		x->in = archive_read_new();
		(void)archive_read_support_filter_all(x->in);
		(void)archive_read_support_format_tar(x->in);
		rc = strcmp(path, "-") == 0
		             ? archive_read_open(x->in, x, NULL, read_stdin, NULL)
		             : archive_read_open_filename(x->in, path, READ_BLOCK_BYTES);
	}
	return rc == ARCHIVE_OK ? CTL_DONE : archive_failed(x);
}

int archive_import(struct ctl *ctl, const char *path, const char *key, struct archive_counts *c)
{
	static struct importing x;
	bool tar = archive_is_tar(path);
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the shell stays where it is */
	struct fs_attr root;
	uint64_t ino;
	int status, rc;

	memset(&x, 0, sizeof(x));
	x.ctl = ctl;
	x.counts = c;
	x.source = path;
	*c = (struct archive_counts){0};
	key += key[0] == '/';
	buf_init(&x.key);
	buf_put(&x.key, key, strlen(key));
	x.root_len = x.key.len;
	status = open_source(&x, path, tar);
	rc = 0;
	if (status == CTL_DONE)
		rc = x.root_len > 0 ? make_directories(&x, x.root_len, &ino)
		                    : ctl_resolve(ctl, "", 0, &root);
	if (rc != 0)
		status = failed(&x, rc);
	progress_begin(&x.progress, "import", 0, true);
	if (status == CTL_DONE)
		status = each_entry(&x, tar);
	x.key.len = x.root_len;
	rc = set_later(&x);
	if (status == CTL_DONE && rc != 0)
		status = failed(&x, rc);
	(void)progress_end(&x.progress);
	buf_free(&x.key);
	if (x.in != NULL)
		(void)archive_read_free(x.in);
	archive_go_back(here);
	return status;
}

/* Out of the cluster: a walk by inodes, an archive entry each. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>
#include "../base/mem.h"
#include "archive.h"
#include "progress.h"

#define COPY_BYTES     65536u
#define REPLACED_TRIES 10u

/* A file with several names: the first one under which it was written. */
struct first_name {
	uint64_t ino;
	UT_hash_handle hh;
	char path[];
};

/* One name of a directory, kept while its page is gone. */
struct name {
	struct fs_attr attr;
	struct name *next;
	uint32_t len;
	char text[];
};

struct exporting {
	struct ctl *ctl;
	struct archive *out;
	struct archive_counts *counts;
	struct first_name *seen;
	struct buf path; /* in the archive */
	struct buf key;  /* in the cluster */
	struct progress progress;
	const char *target;
	bool is_tar;
};

bool archive_is_tar(const char *path)
{
	static const char *const ends[] = {".tar",    ".tgz",     ".tar.gz",
	                                   ".tar.xz", ".tar.zst", ".tar.bz2"};
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		size_t n = strlen(ends[i]);

		if (len > n && strcmp(path + len - n, ends[i]) == 0)
			return true;
	}
	return strcmp(path, "-") == 0;
}

int archive_complain(struct archive *a, const char *path)
{
	const char *what = archive_error_string(a) != NULL ? archive_error_string(a) : "failed";
	int no = archive_errno(a); /* the system's, or EILSEQ for a format, or below 0 */
	const char *why = no > 0 && no != EILSEQ ? rfs_strerror(-no) : "";
	bool more = why[0] != '\0' && strstr(what, why) == NULL;

	return ctl_error(CTL_NO, "%s: %s%s%s", path, what, more ? ": " : "", more ? why : "");
}

static int archive_failed(struct exporting *x)
{
	return archive_complain(x->out, x->target);
}

void archive_go_back(int here)
{
	if (here < 0)
		return;
	if (fchdir(here) != 0)
		(void)ctl_error(CTL_NO, "cannot go back to the working directory: %s",
		                rfs_strerror(-errno));
	(void)close(here);
}

static const char *text_of(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return (const char *)b->data;
}

/* ---- an entry ---- */

static void set_time(struct archive_entry *e, int64_t ns,
                     void (*set)(struct archive_entry *, time_t, long))
{
	int64_t s = ns / 1000000000, rest = ns % 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		s--;
	}
	set(e, (time_t)s, (long)rest);
}

static struct archive_entry *entry_of(struct exporting *x, const struct fs_attr *a)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, text_of(&x->path));
	archive_entry_set_mode(e, (mode_t)a->mode);
	archive_entry_set_uid(e, a->uid);
	archive_entry_set_gid(e, a->gid);
	archive_entry_set_rdev(e, (dev_t)a->rdev);
	set_time(e, a->mtime_ns, archive_entry_set_mtime);
	set_time(e, a->atime_ns, archive_entry_set_atime);
	if (S_ISREG(a->mode))
		archive_entry_set_size(e, (int64_t)a->size);
	return e;
}

static int get_xattr(struct exporting *x, uint64_t ino, const char *name, struct archive_entry *e)
{
	const struct fs_op op = {.kind = FS_OP_GETXATTR, .ino = ino, .name = fs_str_of(name)};
	struct ctl_call call = {0};
	int rc = ctl_do(x->ctl, &call, &op);

	if (rc == 0)
		archive_entry_xattr_add_entry(e, name, call.data.data, call.data.len);
	ctl_call_end(&call);
	return rc == -ENODATA ? 0 : rc;
}

/* 0 or a negative code; a cluster of an older version has none. */
static int get_xattrs(struct exporting *x, uint64_t ino, struct archive_entry *e)
{
	const struct fs_op op = {.kind = FS_OP_LISTXATTR, .ino = ino};
	struct ctl_call call = {0};
	int rc = ctl_do(x->ctl, &call, &op);
	const char *name = (const char *)call.data.data;
	size_t left = call.data.len, n;

	for (; rc == 0 && left > 0 && (n = strnlen(name, left)) < left;
	     name += n + 1, left -= n + 1)
		if (strcmp(name, FS_XATTR_VERSION) != 0)
			rc = get_xattr(x, ino, name, e);
	ctl_call_end(&call);
	return rc == -EOPNOTSUPP || rc == -EINVAL ? 0 : rc;
}

static int put_head(struct exporting *x, struct archive_entry *e)
{
	return archive_write_header(x->out, e) < ARCHIVE_WARN ? archive_failed(x) : CTL_DONE;
}

/* ---- kinds of files ---- */

/* The connections live on while a slow disk or pipe takes the archive. */
static void keep_connections(struct exporting *x)
{
	(void)uv_run(x->ctl->loop, UV_RUN_NOWAIT);
}

/* Bytes of a large value, at their place; to a tar file all of them, one after the other. */
static int put_range(struct exporting *x, FILE *f, off_t from, off_t end)
{
	char bytes[COPY_BYTES];
	off_t at = from;

	if (fseeko(f, from, SEEK_SET) != 0)
		return ctl_error(CTL_NO, "temporary file: %s", rfs_strerror(-errno));
	while (at < end && !ctl_interrupted()) {
		size_t want = end - at < (off_t)sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);
		size_t n = fread(bytes, 1, want, f);
		la_ssize_t rc = n == 0      ? ARCHIVE_OK
		                : x->is_tar ? archive_write_data(x->out, bytes, n)
		                            : archive_write_data_block(x->out, bytes, n, at);

		if (n == 0)
			return ctl_error(CTL_NO, "temporary file: %s", rfs_strerror(-errno));
		if (rc < 0)
			return archive_failed(x);
		keep_connections(x);
		at += (off_t)n;
	}
	return CTL_DONE;
}

static int put_value(struct exporting *x, const struct ctl_value *v)
{
	off_t begin, end = 0;
	int status = CTL_DONE;

	if (v->file == NULL)
		return archive_write_data(x->out, v->data.data, v->data.len) < 0 ? archive_failed(x)
		                                                                 : CTL_DONE;
	if (x->is_tar)
		return put_range(x, v->file, 0, (off_t)v->attr.size);
	while (status == CTL_DONE && (begin = lseek(fileno(v->file), end, SEEK_DATA)) >= 0) {
		end = lseek(fileno(v->file), begin, SEEK_HOLE);
		status = put_range(x, v->file, begin, end);
	}
	return status;
}

/* Where a large value has its data; an archive takes the rest for holes. */
static void put_sparse(struct archive_entry *e, const struct ctl_value *v)
{
	int fd = fileno(v->file);
	off_t begin, end = 0, size = (off_t)v->attr.size;
	bool holes = false;

	while ((begin = lseek(fd, end, SEEK_DATA)) >= 0) {
		holes = holes || begin > end;
		end = lseek(fd, begin, SEEK_HOLE);
		if (end < 0)
			break;
		archive_entry_sparse_add_entry(e, begin, end - begin);
	}
	holes = holes || end < size;
	if (holes && end < size)
		archive_entry_sparse_add_entry(e, size, 0);
	if (!holes || end < 0)
		archive_entry_sparse_clear(e);
}

/* True if it was written under another name before: the entry is then a link to that. */
static bool is_link(struct exporting *x, const struct fs_attr *a, struct archive_entry *e)
{
	struct first_name *first;
	size_t len = x->path.len;

	if (a->nlink < 2)
		return false;
	HASH_FIND(hh, x->seen, &a->ino, sizeof(a->ino), first);
	if (first != NULL) {
		archive_entry_set_hardlink(e, first->path);
		archive_entry_unset_size(e);
		return true;
	}
	first = mem_zalloc(sizeof(*first) + len + 1);
	first->ino = a->ino;
	memcpy(first->path, text_of(&x->path), len);
	HASH_ADD(hh, x->seen, ino, sizeof(first->ino), first);
	return false;
}

/* Whether a failure means that the key, or a directory above it, is gone or something else by now. */
static bool is_gone(int rc)
{
	return rc == -ENOENT || rc == -ESTALE || rc == -EISDIR || rc == -ENOTDIR || rc == -ELOOP ||
	       rc == -EINVAL;
}

/* Value and extended attributes of one inode; *e is given if that worked. */
static int get_file(struct exporting *x, struct ctl_value *v, struct archive_entry **e,
                    struct rfs_err *err)
{
	unsigned tries = 0;
	int rc;

	do {
		rc = ctl_value_get(x->ctl, text_of(&x->key), v, err);
		if (rc != 0)
			return rc;
		*e = entry_of(x, &v->attr);
		rc = get_xattrs(x, v->attr.ino, *e);
		if (rc == 0)
			return 0;
		archive_entry_free(*e);
		ctl_value_free(v);
	} while (is_gone(rc) && ++tries < REPLACED_TRIES); /* another file has taken its name */
	return rc;
}

/* One version of it, all of it. Gone meanwhile: nothing. */
static int export_file(struct exporting *x)
{
	struct ctl_value v = {0};
	struct rfs_err err = {0};
	struct archive_entry *e;
	int rc = get_file(x, &v, &e, &err), status;

	if (rc != 0) {
		ctl_value_free(&v);
		if (is_gone(rc) && err.msg[0] == '\0')
			return CTL_DONE;
		return err.msg[0] != '\0' ? ctl_error(CTL_NO, "%s: %s", text_of(&x->key), err.msg)
		                          : ctl_failed(x->ctl, text_of(&x->key), rc, false);
	}
	if (is_link(x, &v.attr, e)) {
		status = put_head(x, e);
		x->counts->links++;
	} else {
		if (v.file != NULL)
			put_sparse(e, &v);
		status = put_head(x, e);
		if (status == CTL_DONE)
			status = put_value(x, &v);
		x->counts->files++;
		x->counts->bytes += v.attr.size;
	}
	archive_entry_free(e);
	ctl_value_free(&v);
	return status;
}

static int export_link(struct exporting *x, const struct fs_attr *a)
{
	const struct fs_op op = {.kind = FS_OP_READLINK, .ino = a->ino};
	struct archive_entry *e = entry_of(x, a);
	struct ctl_call call = {0};
	int rc = ctl_do(x->ctl, &call, &op), status = CTL_DONE;

	if (rc == 0) {
		if (!is_link(x, a, e))
			archive_entry_set_symlink(e, text_of(&call.data));
		status = put_head(x, e);
		x->counts->links++;
	} else if (!is_gone(rc)) {
		status = ctl_failed(x->ctl, text_of(&x->key), rc, false);
	}
	ctl_call_end(&call);
	archive_entry_free(e);
	return status;
}

static int export_other(struct exporting *x, const struct fs_attr *a)
{
	struct archive_entry *e;
	int rc, status;

	if (S_ISSOCK(a->mode)) { /* no archive has them */
		x->counts->skipped++;
		return CTL_DONE;
	}
	e = entry_of(x, a);
	if (!S_ISDIR(a->mode) && is_link(x, a, e)) {
		status = put_head(x, e);
		x->counts->links++;
		archive_entry_free(e);
		return status;
	}
	rc = get_xattrs(x, a->ino, e);
	status = rc != 0 && !is_gone(rc) ? ctl_failed(x->ctl, text_of(&x->key), rc, false)
	                                 : put_head(x, e);
	x->counts->directories += S_ISDIR(a->mode);
	x->counts->others += !S_ISDIR(a->mode);
	archive_entry_free(e);
	return status;
}

/* ---- the walk ---- */

static int keep_name(void *ctx, const struct fs_dirent *d)
{
	struct name ***tail = ctx, *n = mem_zalloc(sizeof(*n) + d->name.len + 1);

	n->attr = d->attr;
	n->len = d->name.len;
	memcpy(n->text, d->name.p, d->name.len);
	**tail = n;
	*tail = &n->next;
	return 0;
}

static int export_directory(struct exporting *x, uint64_t ino);

static int export_one(struct exporting *x, const struct name *n)
{
	size_t path_len = x->path.len, key_len = x->key.len;
	int status;

	buf_printf(&x->path, "%s%s", path_len > 0 ? "/" : "", n->text);
	buf_printf(&x->key, "%s%s", key_len > 0 ? "/" : "", n->text);
	if (S_ISREG(n->attr.mode))
		status = export_file(x);
	else if (S_ISLNK(n->attr.mode))
		status = export_link(x, &n->attr);
	else
		status = export_other(x, &n->attr);
	if (status == CTL_DONE && S_ISDIR(n->attr.mode))
		status = export_directory(x, n->attr.ino);
	x->path.len = path_len;
	x->key.len = key_len;
	progress_set(&x->progress, x->counts->bytes);
	return status;
}

static int export_directory(struct exporting *x, uint64_t ino)
{
	struct name *names = NULL, **tail = &names, *n;
	int rc = ctl_list_dir(x->ctl, ino, keep_name, &tail), status = CTL_DONE;

	if (rc != 0 && !is_gone(rc))
		status = ctl_failed(x->ctl, text_of(&x->key), rc, false);
	while ((n = names) != NULL) {
		names = n->next;
		if (status == CTL_DONE)
			status = ctl_interrupted() ? ctl_error(CTL_NO, "interrupted")
			                           : export_one(x, n);
		free(n);
	}
	return status;
}

/* ---- the archive ---- */

static bool is_empty_or_absent(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	bool empty = true;

	if (d == NULL)
		return errno == ENOENT;
	while (empty && (e = readdir(d)) != NULL)
		empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	(void)closedir(d);
	return empty;
}

static int open_tar(struct exporting *x, const char *path)
{
	x->out = archive_write_new();
	if (strcmp(path, "-") == 0) {
		(void)archive_write_set_format_pax(x->out);
		(void)archive_write_set_bytes_in_last_block(x->out, 1);
		return archive_write_open_fd(x->out, STDOUT_FILENO) == ARCHIVE_OK
		               ? CTL_DONE
		               : archive_failed(x);
	}
	if (strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".tar") != 0 &&
	    archive_write_set_format_filter_by_ext(x->out, path) < ARCHIVE_WARN)
		return archive_failed(x);
	/* after the filter, which sets a format with whole seconds */
	(void)archive_write_set_format_pax(x->out);
	return archive_write_open_filename(x->out, path) == ARCHIVE_OK ? CTL_DONE
	                                                               : archive_failed(x);
}

/* libarchive writes below the current directory. */
static int open_directory(struct exporting *x, const char *path)
{
	int flags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_XATTR |
	            ARCHIVE_EXTRACT_SPARSE | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
	            ARCHIVE_EXTRACT_SECURE_SYMLINKS;

	if (!is_empty_or_absent(path))
		return ctl_error(CTL_NO, "export: %s: is not an empty directory", path);
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		return ctl_error(CTL_NO, "export: %s: %s", path, rfs_strerror(-errno));
	if (chdir(path) != 0)
		return ctl_error(CTL_NO, "export: %s: %s", path, rfs_strerror(-errno));
	x->out = archive_write_disk_new();
	(void)archive_write_disk_set_options(x->out, geteuid() == 0 ? flags | ARCHIVE_EXTRACT_OWNER
	                                                            : flags);
	return CTL_DONE;
}

static void free_all(struct exporting *x)
{
	struct first_name *n, *next;

	HASH_ITER (hh, x->seen, n, next) {
		HASH_DEL(x->seen, n); // NOLINT(clang-analyzer-unix.Malloc): out before it is freed
		free(n);
	}
	buf_free(&x->path);
	buf_free(&x->key);
	if (x->out != NULL)
		(void)archive_write_free(x->out);
}

int archive_export(struct ctl *ctl, const char *key, const char *path, struct archive_counts *c)
{
	bool tar = archive_is_tar(path);
	struct exporting x = {.ctl = ctl, .counts = c, .target = path, .is_tar = tar};
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the shell stays where it is */
	struct fs_attr root;
	int rc, status;

	*c = (struct archive_counts){0};
	buf_init(&x.path);
	buf_init(&x.key);
	key += key[0] == '/';
	rc = ctl_resolve(ctl, key, strlen(key), &root);
	if (rc == 0 && !S_ISDIR(root.mode))
		rc = -ENOTDIR;
	buf_put(&x.key, key, strlen(key));
	if (rc != 0)
		status = ctl_failed(ctl, key, rc, false);
	else
		status = tar ? open_tar(&x, path) : open_directory(&x, path);
	progress_begin(&x.progress, "export", 0, true);
	if (status == CTL_DONE)
		status = export_directory(&x, root.ino);
	if (status == CTL_DONE && archive_write_close(x.out) < ARCHIVE_WARN)
		status = archive_failed(&x);
	(void)progress_end(&x.progress);
	free_all(&x);
	archive_go_back(here);
	return status;
}

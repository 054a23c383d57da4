#include "memfs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"

#define SECTOR    512u
#define PATH_SIZE 4096u

/* A file or directory, alive while a name on either side or a descriptor holds it. */
struct node {
	unsigned refs;
	bool dir;
	uint8_t *live, *disk; /* what is read; what survives */
	uint64_t live_size, disk_size, cap;
	uint8_t *dirty;  /* one byte a sector: written since the last sync */
	size_t *sectors; /* those that are dirty */
	size_t n_sectors, sectors_cap;
};

struct name {
	char *path;
	struct node *node;
};

struct names {
	struct name *v;
	size_t n, cap;
};

enum change_kind { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME };

/* A change of a directory that was not synced yet. */
struct change {
	enum change_kind kind;
	char *path, *to;
	struct node *node;
};

struct fault {
	uint64_t at; /* fires when this many calls of its kind have been made; 0: unset */
	int error;
	size_t bytes;
};

struct memfs {
	pthread_mutex_t mu;
	struct file_ops ops;
	uint64_t random;
	struct names live, disk;
	struct change *changes;
	size_t n_changes, changes_cap;
	struct node **fds;
	size_t n_fds, fds_cap;
	uint64_t calls[MEMFS_ANY + 1];
	struct fault fail[MEMFS_ANY + 1], cut, power;
	bool off, fired;
	uint64_t capacity, used;
};

static const char *const call_names[] = {"open",     "close", "pread",  "pwrite", "fdatasync",
                                         "truncate", "size",  "rename", "unlink", "mkdir",
                                         "sync_dir", "list",  "any"};

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) */
static uint64_t draw(struct memfs *fs)
{
	uint64_t z = fs->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* ---- nodes ---- */

static struct node *node_new(bool dir)
{
	struct node *n = mem_zalloc(sizeof(*n));

	n->dir = dir;
	return n;
}

static void node_put(struct memfs *fs, struct node *n)
{
	if (--n->refs > 0)
		return;
	fs->used -= n->live_size;
	free(n->live);
	free(n->disk);
	free(n->dirty);
	free(n->sectors);
	free(n);
}

static void node_room(struct node *n, uint64_t size)
{
	uint64_t cap = n->cap > 0 ? n->cap : 4096;

	if (size <= n->cap)
		return;
	while (cap < size)
		cap *= 2;
	n->live = mem_realloc(n->live, cap);
	n->disk = mem_realloc(n->disk, cap);
	n->dirty = mem_realloc(n->dirty, cap / SECTOR);
	memset(n->live + n->cap, 0, cap - n->cap);
	memset(n->disk + n->cap, 0, cap - n->cap);
	memset(n->dirty + n->cap / SECTOR, 0, (cap - n->cap) / SECTOR);
	n->cap = cap;
}

static void node_soil(struct node *n, uint64_t offset, uint64_t len)
{
	for (size_t s = offset / SECTOR; len > 0 && s <= (offset + len - 1) / SECTOR; s++) {
		if (n->dirty[s])
			continue;
		n->dirty[s] = 1;
		n->sectors = mem_grow(n->sectors, &n->sectors_cap, n->n_sectors + 1,
		                      sizeof(*n->sectors));
		n->sectors[n->n_sectors++] = s;
	}
}

static void node_clean(struct node *n)
{
	for (size_t i = 0; i < n->n_sectors; i++)
		n->dirty[n->sectors[i]] = 0;
	n->n_sectors = 0;
}

static void node_sync(struct node *n)
{
	for (size_t i = 0; i < n->n_sectors; i++)
		memcpy(n->disk + n->sectors[i] * SECTOR, n->live + n->sectors[i] * SECTOR, SECTOR);
	node_clean(n);
	n->disk_size = n->live_size;
}

static void node_resize(struct memfs *fs, struct node *n, uint64_t size)
{
	node_room(n, size);
	if (size < n->live_size) {
		memset(n->live + size, 0, n->live_size - size);
		node_soil(n, size, n->live_size - size);
	}
	fs->used = fs->used - n->live_size + size;
	n->live_size = size;
}

/* What the disk makes of a file when the power goes. */
static void node_lose(struct memfs *fs, struct node *n, enum memfs_loss loss)
{
	if (n->cap == 0)
		return;
	for (size_t i = 0; i < n->n_sectors; i++) {
		size_t at = n->sectors[i] * SECTOR;

		if (loss == MEMFS_LOSE_NOTHING || (loss == MEMFS_LOSE_SOME && (draw(fs) & 1) == 0))
			memcpy(n->disk + at, n->live + at, SECTOR);
	}
	node_clean(n);
	if (loss == MEMFS_LOSE_NOTHING)
		memcpy(n->disk, n->live, n->cap);
	if (n->disk_size != n->live_size &&
	    (loss == MEMFS_LOSE_NOTHING || (loss == MEMFS_LOSE_SOME && (draw(fs) & 1) == 0)))
		n->disk_size = n->live_size;
	memset(n->disk + n->disk_size, 0, n->cap - n->disk_size);
	fs->used = fs->used - n->live_size + n->disk_size;
	n->live_size = n->disk_size;
	memcpy(n->live, n->disk, n->cap);
}

/* ---- names ---- */

static struct name *names_find(struct names *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].path, path) == 0)
			return &t->v[i];
	return NULL;
}

static void names_drop(struct memfs *fs, struct names *t, const char *path)
{
	struct name *e = names_find(t, path);

	if (e == NULL)
		return;
	free(e->path);
	node_put(fs, e->node);
	*e = t->v[--t->n];
}

static void names_set(struct memfs *fs, struct names *t, const char *path, struct node *n)
{
	n->refs++;
	names_drop(fs, t, path);
	t->v = mem_grow(t->v, &t->cap, t->n + 1, sizeof(*t->v));
	t->v[t->n++] = (struct name){mem_strdup(path), n};
}

static void names_clear(struct memfs *fs, struct names *t)
{
	while (t->n > 0)
		names_drop(fs, t, t->v[0].path);
	free(t->v);
	*t = (struct names){0};
}

static size_t parent_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? (size_t)(slash - path) : 0;
}

static bool is_root(const char *path)
{
	return path[0] == '\0' || strcmp(path, "/") == 0 || strcmp(path, ".") == 0;
}

/* Whether `path` stands in directory `dir`. */
static bool stands_in(const char *path, const char *dir)
{
	size_t n = is_root(dir) ? 0 : strlen(dir);

	return parent_len(path) == n && strncmp(path, dir, n) == 0;
}

static bool has_parent(struct names *t, const char *path)
{
	char dir[PATH_SIZE];
	size_t n = parent_len(path);
	struct name *e;

	rfs_check(n < sizeof(dir));
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (is_root(dir))
		return true;
	e = names_find(t, dir);
	return e != NULL && e->node->dir;
}

static void change_apply(struct memfs *fs, struct names *t, const struct change *c)
{
	switch (c->kind) {
	case CHANGE_LINK: names_set(fs, t, c->path, c->node); break;
	case CHANGE_UNLINK: names_drop(fs, t, c->path); break;
	case CHANGE_RENAME:
		names_set(fs, t, c->to, c->node);
		names_drop(fs, t, c->path);
		break;
	}
}

static void change_free(struct memfs *fs, struct change *c)
{
	node_put(fs, c->node);
	free(c->path);
	free(c->to);
}

/* Do a change at once where it is seen, and remember it for the disk. */
static void change(struct memfs *fs, enum change_kind kind, const char *path, const char *to,
                   struct node *n)
{
	struct change c = {kind, mem_strdup(path), to != NULL ? mem_strdup(to) : NULL, n};

	n->refs++;
	change_apply(fs, &fs->live, &c);
	fs->changes =
	        mem_grow(fs->changes, &fs->changes_cap, fs->n_changes + 1, sizeof(*fs->changes));
	fs->changes[fs->n_changes++] = c;
}

/* ---- faults ---- */

static bool reached(struct memfs *fs, struct fault *f, uint64_t count)
{
	if (f->at == 0 || f->at != count)
		return false;
	f->at = 0;
	fs->fired = true;
	return true;
}

/* Count a call; 0, or the error it must fail with. */
static int begin(struct memfs *fs, enum memfs_call kind)
{
	if (fs->off)
		return -EIO;
	fs->calls[kind]++;
	fs->calls[MEMFS_ANY]++;
	if (reached(fs, &fs->power, fs->calls[MEMFS_ANY])) {
		fs->off = true;
		return -EIO;
	}
	if (reached(fs, &fs->fail[kind], fs->calls[kind]))
		return fs->fail[kind].error;
	if (reached(fs, &fs->fail[MEMFS_ANY], fs->calls[MEMFS_ANY]))
		return fs->fail[MEMFS_ANY].error;
	return 0;
}

static struct memfs *enter(void *ctx)
{
	struct memfs *fs = ctx;

	(void)pthread_mutex_lock(&fs->mu);
	return fs;
}

static int leave(struct memfs *fs, int rc)
{
	(void)pthread_mutex_unlock(&fs->mu);
	return rc;
}

static struct node *file_of(const struct memfs *fs, int fd)
{
	return fd >= 0 && (size_t)fd < fs->n_fds ? fs->fds[fd] : NULL;
}

/* ---- calls ---- */

static int new_fd(struct memfs *fs, struct node *n)
{
	size_t fd = 0;

	while (fd < fs->n_fds && fs->fds[fd] != NULL)
		fd++;
	if (fd == fs->n_fds) {
		fs->fds = mem_grow(fs->fds, &fs->fds_cap, fd + 1, sizeof(struct node *));
		fs->n_fds++;
	}
	fs->fds[fd] = n;
	n->refs++;
	return (int)fd;
}

static int mem_open(void *ctx, const char *path, bool create, int *fd)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_OPEN);
	struct name *e;

	if (rc != 0)
		return leave(fs, rc);
	e = names_find(&fs->live, path);
	if (e != NULL && (create || e->node->dir))
		return leave(fs, create ? -EEXIST : -EISDIR);
	if (e == NULL && (!create || !has_parent(&fs->live, path)))
		return leave(fs, -ENOENT);
	if (e == NULL) {
		change(fs, CHANGE_LINK, path, NULL, node_new(false));
		e = names_find(&fs->live, path);
	}
	*fd = new_fd(fs, e->node);
	return leave(fs, 0);
}

static int mem_close(void *ctx, int fd)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_CLOSE);
	struct node *n = file_of(fs, fd);

	/* As with close(2), the descriptor is gone even where an error is reported. */
	if (n != NULL) {
		fs->fds[fd] = NULL;
		node_put(fs, n);
	} else if (rc == 0) {
		rc = -EBADF;
	}
	return leave(fs, rc);
}

static ssize_t mem_pread(void *ctx, int fd, void *p, size_t n, uint64_t offset)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_PREAD);
	struct node *f = file_of(fs, fd);

	if (rc != 0 || f == NULL)
		return leave(fs, rc != 0 ? rc : -EBADF);
	if (offset >= f->live_size)
		n = 0;
	else if (n > f->live_size - offset)
		n = f->live_size - offset;
	if (n > 0)
		memcpy(p, f->live + offset, n);
	(void)leave(fs, 0);
	return (ssize_t)n;
}

static ssize_t mem_pwrite(void *ctx, int fd, const void *p, size_t n, uint64_t offset)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_PWRITE);
	struct node *f = file_of(fs, fd);
	uint64_t end;

	if (rc != 0 || f == NULL)
		return leave(fs, rc != 0 ? rc : -EBADF);
	if (reached(fs, &fs->cut, fs->calls[MEMFS_PWRITE]) && n > fs->cut.bytes)
		n = fs->cut.bytes;
	end = offset + n;
	if (end > f->live_size && fs->used + (end - f->live_size) > fs->capacity) {
		uint64_t room = fs->capacity > fs->used ? fs->capacity - fs->used : 0;

		if (f->live_size + room <= offset)
			return leave(fs, -ENOSPC);
		n = f->live_size + room - offset;
		end = offset + n;
	}
	if (end > f->live_size)
		node_resize(fs, f, end);
	memcpy(f->live + offset, p, n);
	node_soil(f, offset, n);
	(void)leave(fs, 0);
	return (ssize_t)n;
}

static int mem_fdatasync(void *ctx, int fd)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_FDATASYNC);
	struct node *f = file_of(fs, fd);

	if (f == NULL)
		return leave(fs, rc != 0 ? rc : -EBADF);
	if (rc == 0)
		node_sync(f);
	else if (!fs->off)
		node_clean(f);
	return leave(fs, rc);
}

static int mem_truncate(void *ctx, int fd, uint64_t size)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_TRUNCATE);
	struct node *f = file_of(fs, fd);

	if (rc != 0 || f == NULL)
		return leave(fs, rc != 0 ? rc : -EBADF);
	if (size > f->live_size && fs->used + (size - f->live_size) > fs->capacity)
		return leave(fs, -ENOSPC);
	node_resize(fs, f, size);
	return leave(fs, 0);
}

static int mem_size(void *ctx, int fd, uint64_t *size)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_SIZE);
	struct node *f = file_of(fs, fd);

	if (rc != 0 || f == NULL)
		return leave(fs, rc != 0 ? rc : -EBADF);
	*size = f->live_size;
	return leave(fs, 0);
}

static int mem_rename(void *ctx, const char *from, const char *to)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_RENAME);
	struct name *e;

	if (rc != 0)
		return leave(fs, rc);
	e = names_find(&fs->live, from);
	if (e == NULL || !has_parent(&fs->live, to))
		return leave(fs, -ENOENT);
	change(fs, CHANGE_RENAME, from, to, e->node);
	return leave(fs, 0);
}

static int mem_unlink(void *ctx, const char *path)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_UNLINK);
	struct name *e;

	if (rc != 0)
		return leave(fs, rc);
	e = names_find(&fs->live, path);
	if (e == NULL || e->node->dir)
		return leave(fs, e == NULL ? -ENOENT : -EISDIR);
	change(fs, CHANGE_UNLINK, path, NULL, e->node);
	return leave(fs, 0);
}

static int mem_mkdir(void *ctx, const char *path)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_MKDIR);

	if (rc != 0)
		return leave(fs, rc);
	if (names_find(&fs->live, path) != NULL || !has_parent(&fs->live, path))
		return leave(fs, names_find(&fs->live, path) != NULL ? -EEXIST : -ENOENT);
	change(fs, CHANGE_LINK, path, NULL, node_new(true));
	return leave(fs, 0);
}

static int mem_sync_dir(void *ctx, const char *path)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_SYNC_DIR);
	size_t kept = 0;

	if (rc != 0)
		return leave(fs, rc);
	if (!is_root(path) && names_find(&fs->live, path) == NULL)
		return leave(fs, -ENOENT);
	for (size_t i = 0; i < fs->n_changes; i++) {
		struct change *c = &fs->changes[i];

		if (!stands_in(c->path, path)) {
			fs->changes[kept++] = *c;
			continue;
		}
		change_apply(fs, &fs->disk, c);
		change_free(fs, c);
	}
	fs->n_changes = kept;
	return leave(fs, 0);
}

static int mem_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                    void *arg)
{
	struct memfs *fs = enter(ctx);
	int rc = begin(fs, MEMFS_LIST);

	if (rc != 0)
		return leave(fs, rc);
	if (!is_root(path) && names_find(&fs->live, path) == NULL)
		return leave(fs, -ENOENT);
	for (size_t i = 0; i < fs->live.n; i++) {
		const char *full = fs->live.v[i].path, *slash = strrchr(full, '/');

		if (stands_in(full, path))
			each(arg, slash != NULL ? slash + 1 : full);
	}
	return leave(fs, 0);
}

/* ---- the disk ---- */

struct memfs *memfs_new(uint64_t seed)
{
	struct memfs *fs = mem_zalloc(sizeof(*fs));

	(void)pthread_mutex_init(&fs->mu, NULL);
	fs->random = seed;
	fs->capacity = UINT64_MAX;
	fs->ops = (struct file_ops){.ctx = fs,
	                            .open = mem_open,
	                            .close = mem_close,
	                            .pread = mem_pread,
	                            .pwrite = mem_pwrite,
	                            .fdatasync = mem_fdatasync,
	                            .truncate = mem_truncate,
	                            .size = mem_size,
	                            .rename = mem_rename,
	                            .unlink = mem_unlink,
	                            .mkdir = mem_mkdir,
	                            .sync_dir = mem_sync_dir,
	                            .list = mem_list};
	return fs;
}

struct memfs *memfs_clone(const struct memfs *fs)
{
	struct memfs *copy = memfs_new(fs->random);

	rfs_check(fs->n_changes == 0 || fs->off || fs->n_fds == 0);
	copy->capacity = fs->capacity;
	for (size_t i = 0; i < fs->live.n; i++) {
		const struct node *from = fs->live.v[i].node;
		struct node *n = node_new(from->dir);

		node_room(n, from->live_size);
		if (from->live_size > 0) {
			memcpy(n->live, from->live, from->live_size);
			memcpy(n->disk, from->live, from->live_size);
		}
		n->live_size = n->disk_size = from->live_size;
		copy->used += n->live_size;
		names_set(copy, &copy->live, fs->live.v[i].path, n);
		names_set(copy, &copy->disk, fs->live.v[i].path, n);
	}
	return copy;
}

static void close_all(struct memfs *fs)
{
	for (size_t i = 0; i < fs->n_fds; i++)
		if (fs->fds[i] != NULL)
			node_put(fs, fs->fds[i]);
	free(fs->fds);
	fs->fds = NULL;
	fs->n_fds = fs->fds_cap = 0;
}

static void drop_changes(struct memfs *fs)
{
	for (size_t i = 0; i < fs->n_changes; i++)
		change_free(fs, &fs->changes[i]);
	free(fs->changes);
	fs->changes = NULL;
	fs->n_changes = fs->changes_cap = 0;
}

void memfs_free(struct memfs *fs)
{
	if (fs == NULL)
		return;
	close_all(fs);
	drop_changes(fs);
	names_clear(fs, &fs->live);
	names_clear(fs, &fs->disk);
	(void)pthread_mutex_destroy(&fs->mu);
	free(fs);
}

const struct file_ops *memfs_ops(struct memfs *fs)
{
	return &fs->ops;
}

const char *memfs_call_name(enum memfs_call kind)
{
	return call_names[kind];
}

/* Names whose directory was lost are lost too. */
static void drop_orphans(struct memfs *fs)
{
	for (size_t i = 0; i < fs->disk.n;) {
		if (has_parent(&fs->disk, fs->disk.v[i].path)) {
			i++;
			continue;
		}
		names_drop(fs, &fs->disk, fs->disk.v[i].path);
		i = 0;
	}
}

static void unset_faults(struct memfs *fs)
{
	memset(fs->fail, 0, sizeof(fs->fail));
	fs->cut = fs->power = (struct fault){0};
}

void memfs_power_on(struct memfs *fs, enum memfs_loss loss)
{
	(void)enter(fs);
	for (size_t i = 0; i < fs->n_changes; i++)
		if (loss == MEMFS_LOSE_NOTHING || (loss == MEMFS_LOSE_SOME && (draw(fs) & 1) == 0))
			change_apply(fs, &fs->disk, &fs->changes[i]);
	drop_changes(fs);
	drop_orphans(fs);
	close_all(fs);
	names_clear(fs, &fs->live);
	for (size_t i = 0; i < fs->disk.n; i++) {
		node_lose(fs, fs->disk.v[i].node, loss);
		names_set(fs, &fs->live, fs->disk.v[i].path, fs->disk.v[i].node);
	}
	unset_faults(fs);
	fs->off = fs->fired = false;
	(void)leave(fs, 0);
}

void memfs_kill(struct memfs *fs)
{
	(void)enter(fs);
	close_all(fs);
	unset_faults(fs);
	fs->off = fs->fired = false;
	(void)leave(fs, 0);
}

/* ---- setting faults ---- */

void memfs_fail(struct memfs *fs, enum memfs_call kind, uint64_t nth, int error)
{
	(void)enter(fs);
	fs->fail[kind] = (struct fault){.at = fs->calls[kind] + nth, .error = error};
	fs->fired = false;
	(void)leave(fs, 0);
}

void memfs_short_write(struct memfs *fs, uint64_t nth, size_t bytes)
{
	(void)enter(fs);
	fs->cut = (struct fault){.at = fs->calls[MEMFS_PWRITE] + nth, .bytes = bytes};
	fs->fired = false;
	(void)leave(fs, 0);
}

void memfs_power_off_at(struct memfs *fs, uint64_t nth)
{
	(void)enter(fs);
	fs->power = (struct fault){.at = fs->calls[MEMFS_ANY] + nth};
	fs->fired = false;
	(void)leave(fs, 0);
}

void memfs_power_off(struct memfs *fs)
{
	(void)enter(fs);
	fs->off = true;
	(void)leave(fs, 0);
}

void memfs_heal(struct memfs *fs)
{
	(void)enter(fs);
	unset_faults(fs);
	(void)leave(fs, 0);
}

bool memfs_fired(struct memfs *fs)
{
	bool fired;

	(void)enter(fs);
	fired = fs->fired;
	(void)leave(fs, 0);
	return fired;
}

void memfs_capacity(struct memfs *fs, uint64_t bytes)
{
	(void)enter(fs);
	fs->capacity = bytes;
	(void)leave(fs, 0);
}

/* ---- looking and tampering ---- */

uint64_t memfs_calls(struct memfs *fs, enum memfs_call kind)
{
	uint64_t n;

	(void)enter(fs);
	n = fs->calls[kind];
	(void)leave(fs, 0);
	return n;
}

size_t memfs_open_files(const struct memfs *fs)
{
	size_t n = 0;

	for (size_t i = 0; i < fs->n_fds; i++)
		n += fs->fds[i] != NULL;
	return n;
}

uint64_t memfs_used(struct memfs *fs)
{
	return fs->used;
}

static struct node *must_find(struct memfs *fs, const char *path)
{
	struct name *e = names_find(&fs->live, path);

	if (e == NULL)
		rfs_die("memfs: %s: no such file", path);
	return e->node;
}

bool memfs_exists(struct memfs *fs, const char *path)
{
	return names_find(&fs->live, path) != NULL;
}

uint64_t memfs_file_size(struct memfs *fs, const char *path)
{
	struct name *e = names_find(&fs->live, path);

	return e != NULL ? e->node->live_size : 0;
}

void memfs_peek(struct memfs *fs, const char *path, uint64_t offset, void *p, size_t n)
{
	struct node *f = must_find(fs, path);

	rfs_check(offset <= f->live_size && n <= f->live_size - offset);
	memcpy(p, f->live + offset, n);
}

void memfs_poke(struct memfs *fs, const char *path, uint64_t offset, const void *p, size_t n)
{
	struct node *f = must_find(fs, path);

	rfs_check(offset <= f->live_size && n <= f->live_size - offset);
	memcpy(f->live + offset, p, n);
	memcpy(f->disk + offset, p, n);
}

void memfs_flip(struct memfs *fs, const char *path, uint64_t offset, uint8_t mask)
{
	uint8_t byte;

	memfs_peek(fs, path, offset, &byte, 1);
	byte ^= mask;
	memfs_poke(fs, path, offset, &byte, 1);
}

/* The `at`th byte of all files. */
static struct name *find_byte(struct memfs *fs, uint64_t *at)
{
	for (size_t i = 0; i < fs->live.n; i++) {
		struct name *e = &fs->live.v[i];

		if (*at < e->node->live_size)
			return e;
		*at -= e->node->live_size;
	}
	return NULL;
}

bool memfs_rot(struct memfs *fs, uint64_t random)
{
	struct memfs dice = {.random = random};
	struct name *e = NULL;
	uint64_t at = 0, bytes = 0;

	for (size_t i = 0; i < fs->live.n; i++)
		bytes += fs->live.v[i].node->live_size;
	/* Most of a log is zeros yet to be written to. */
	for (unsigned tries = 0; bytes > 0 && tries < 16; tries++) {
		at = draw(&dice) % bytes;
		e = find_byte(fs, &at);
		rfs_check(e != NULL);
		if (e->node->live[at] != 0)
			break;
	}
	if (e != NULL)
		memfs_flip(fs, e->path, at, (uint8_t)(1u << (draw(&dice) & 7)));
	return e != NULL;
}

void memfs_resize(struct memfs *fs, const char *path, uint64_t size)
{
	struct node *f = must_find(fs, path);

	node_resize(fs, f, size);
	node_sync(f);
}

void memfs_remove(struct memfs *fs, const char *path)
{
	(void)must_find(fs, path);
	names_drop(fs, &fs->live, path);
	names_drop(fs, &fs->disk, path);
}

void memfs_move(struct memfs *fs, const char *from, const char *to)
{
	struct node *f = must_find(fs, from);

	names_set(fs, &fs->live, to, f);
	names_set(fs, &fs->disk, to, f);
	memfs_remove(fs, from);
}

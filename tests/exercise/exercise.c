/* A randomised exerciser of a file system that is mounted twice: one process does what programs do (read, write,
 * append, truncate, map, punch, copy, link, rename, unlink, name a nameless file, set attributes, list) through either
 * mount, and compares every result with a model in memory.
 *
 * usage: exercise [--seed N] [--ops N] DIR [DIR2]      the same empty directory, through one mount or two
 *
 * Ends with 0, or with 1 and the seed, the number of the operation, the difference and the last operations. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "../support/rng.h"

#define FILES     12
#define NAMES     18
#define DIRS      3 /* names are spread over them; 0 is the top */
#define BYTES_MAX (200u << 10)
#define HISTORY   24
#define PAGE      4096u

struct file {
	bool used;
	uint32_t size;
	unsigned links;
	int fd[2]; /* by mount; -1 */
	bool appends[2];
	bool has_value;
	uint32_t value; /* of user.x */
	uint8_t data[BYTES_MAX];
};

static struct file files[FILES];
static struct file *names[NAMES];
static bool moved[DIRS]; /* the directory has its other name */
static const char *tops[2];
static int mounts;
static struct rng rng;
static uint64_t seed = 1, op_number;
static char history[HISTORY][160];
static uint8_t scratch[BYTES_MAX + PAGE];

/* ---- telling ---- */

__attribute__((format(printf, 1, 2), noreturn)) static void differs(const char *fmt, ...)
{
	va_list ap;

	printf("exercise: seed %llu, operation %llu: ", (unsigned long long)seed,
	       (unsigned long long)op_number);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	printf("\nthe last operations:\n");
	for (unsigned i = 0; i < HISTORY; i++)
		if (history[(op_number + 1 + i) % HISTORY][0] != '\0')
			printf("  %s\n", history[(op_number + 1 + i) % HISTORY]);
	(void)fflush(stdout);
	exit(1);
}

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	char *line = history[op_number % HISTORY];
	int n = snprintf(line, sizeof(history[0]), "%llu ", (unsigned long long)op_number);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line + n, sizeof(history[0]) - (size_t)n, fmt, ap);
	va_end(ap);
}

/* `got` is what a call returned; `wanted` what it should have, or a negative errno. */
static void expect(const char *what, int64_t got, int64_t wanted)
{
	int64_t found = got < 0 ? -errno : got;

	if (found != wanted)
		differs("%s gave %lld%s%s%s, wanted %lld", what, (long long)found,
		        found < 0 ? " (" : "", found < 0 ? strerror((int)-found) : "",
		        found < 0 ? ")" : "", (long long)wanted);
}

static void expect_bytes(const char *what, const uint8_t *got, const struct file *f, uint32_t at,
                         uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (got[i] != f->data[at + i])
			differs("%s: byte %u of %u is %02x, wanted %02x", what, at + i, f->size,
			        got[i], f->data[at + i]);
}

/* ---- choosing ---- */

static uint32_t below(uint32_t n)
{
	return (uint32_t)rng_below(&rng, n);
}

static int any_mount(void)
{
	return (int)below((uint32_t)mounts);
}

static int file_number(const struct file *f)
{
	return (int)(f - files);
}

static const char *path_of(int mount, int name)
{
	static char paths[4][512];
	static unsigned turn;
	char *path = paths[turn++ % 4];
	int dir = name % DIRS;

	if (dir == 0)
		(void)snprintf(path, sizeof(paths[0]), "%s/n%d", tops[mount], name);
	else
		(void)snprintf(path, sizeof(paths[0]), "%s/%s%d/n%d", tops[mount],
		               moved[dir] ? "moved" : "d", dir, name);
	return path;
}

static int any_name(bool taken)
{
	for (int tries = 0; tries < 4 * NAMES; tries++) {
		int name = (int)below(NAMES);

		if ((names[name] != NULL) == taken)
			return name;
	}
	return -1;
}

static struct file *free_file(void)
{
	for (int i = 0; i < FILES; i++)
		if (!files[i].used)
			return &files[i];
	return NULL;
}

/* Sizes and offsets: small ones often, borders of pages and pieces, and anything. */
static uint32_t any_length(uint32_t max)
{
	static const uint32_t borders[] = {1, 4095, 4096, 4097, 16383, 16384, 16385, 65536};
	uint32_t n;

	switch (below(4)) {
	case 0: n = below(300) + 1; break;
	case 1: n = borders[below(sizeof(borders) / sizeof(borders[0]))]; break;
	default: n = below(max) + 1; break;
	}
	return n < max ? n : max;
}

static uint32_t any_offset(const struct file *f, uint32_t room)
{
	uint32_t max = f->size + 20000 < BYTES_MAX - room ? f->size + 20000 : BYTES_MAX - room;

	return below(2) == 0 ? below(max + 1) : below(max + 1) / PAGE * PAGE;
}

static void fill(uint8_t *p, uint32_t n)
{
	uint8_t with = (uint8_t)below(256);

	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)(with + i * 7);
	if (below(4) == 0)
		memset(p, 0, n);
}

/* ---- the model ---- */

static void model_write(struct file *f, uint32_t at, const uint8_t *p, uint32_t n)
{
	memcpy(f->data + at, p, n);
	if (at + n > f->size)
		f->size = at + n;
}

static void model_resize(struct file *f, uint32_t size)
{
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	f->size = size;
}

static void close_fd(struct file *f, int mount)
{
	if (f->fd[mount] < 0)
		return;
	expect("close", close(f->fd[mount]), 0);
	f->fd[mount] = -1;
}

static void drop_if_gone(struct file *f)
{
	if (f->links == 0 && f->fd[0] < 0 && f->fd[1] < 0)
		f->used = false;
}

static struct file *model_new(int mount, int fd, bool appends)
{
	struct file *f = free_file();

	memset(f, 0, sizeof(*f));
	f->used = true;
	f->fd[0] = f->fd[1] = -1;
	f->fd[mount] = fd;
	f->appends[mount] = appends;
	return f;
}

/* Before `mount` takes the last name away: what another mount has open would live for a while only. */
static void before_losing(struct file *f, int mount)
{
	if (f->links == 1)
		close_fd(f, 1 - mount);
}

static void lose_link(struct file *f)
{
	f->links--;
	drop_if_gone(f);
}

/* An open handle of some file; NULL if there is none. */
static struct file *any_open(int *mount)
{
	for (int tries = 0; tries < 4 * FILES; tries++) {
		struct file *f = &files[below(FILES)];

		*mount = any_mount();
		if (f->used && f->fd[*mount] >= 0)
			return f;
	}
	return NULL;
}

/* ---- operations on open files ---- */

static void do_write(void)
{
	int m;
	struct file *f = any_open(&m);
	uint32_t n = any_length(60000), at;

	if (f == NULL)
		return;
	if (f->appends[m] && f->size + n > BYTES_MAX)
		return;
	at = f->appends[m] ? f->size : any_offset(f, n);
	fill(scratch, n);
	note("write file %d mount %d at %u, %u bytes%s", file_number(f), m, at, n,
	     f->appends[m] ? " (append)" : "");
	expect("write", pwrite(f->fd[m], scratch, n, f->appends[m] ? 0 : at), n);
	model_write(f, at, scratch, n);
}

static void do_read(void)
{
	int m;
	struct file *f = any_open(&m);
	uint32_t n = any_length(100000), at, left;

	if (f == NULL)
		return;
	at = any_offset(f, 0);
	left = at < f->size ? f->size - at : 0;
	note("read file %d mount %d at %u, %u bytes", file_number(f), m, at, n);
	expect("read", pread(f->fd[m], scratch, n, at), n < left ? n : left);
	expect_bytes("read", scratch, f, at, n < left ? n : left);
}

static void do_truncate(void)
{
	int m;
	struct file *f = any_open(&m);
	uint32_t size;

	if (f == NULL)
		return;
	size = below(3) == 0 ? 0 : any_offset(f, 0);
	note("truncate file %d mount %d from %u to %u", file_number(f), m, f->size, size);
	expect("ftruncate", ftruncate(f->fd[m], size), 0);
	model_resize(f, size);
}

static void do_fallocate(void)
{
	static const int modes[] = {
	        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int m, mode = modes[below(5)];
	struct file *f = any_open(&m);
	uint32_t n = any_length(60000), at, end;

	if (f == NULL)
		return;
	at = any_offset(f, n);
	end = at + n;
	note("fallocate file %d mount %d mode %d at %u, %u bytes of %u", file_number(f), m, mode,
	     at, n, f->size);
	expect("fallocate", fallocate(f->fd[m], mode, at, n), 0);
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0 && at < f->size)
		memset(f->data + at, 0, (end < f->size ? end : f->size) - at);
	if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > f->size)
		f->size = end;
}

static void do_copy(void)
{
	int m, m2;
	struct file *from = any_open(&m), *to = any_open(&m2);
	uint32_t n = any_length(60000), at, dst, left;
	loff_t off_in, off_out;

	if (from == NULL || to == NULL || m != m2 || to->appends[m])
		return;
	at = below(from->size + 1);
	dst = any_offset(to, n);
	left = from->size - at;
	n = n < left ? n : left;
	if (from == to && at < dst + n && dst < at + n)
		return;
	off_in = at;
	off_out = dst;
	note("copy from file %d at %u to file %d at %u, %u bytes, mount %d", file_number(from), at,
	     file_number(to), dst, n, m);
	/* the kernel cuts the length by the size that it last heard of */
	(void)fstat(from->fd[m], &(struct stat){0});
	expect("copy_file_range", copy_file_range(from->fd[m], &off_in, to->fd[m], &off_out, n, 0),
	       n);
	if (n > 0) {
		memcpy(scratch, from->data + at, n);
		model_write(to, dst, scratch, n);
	}
}

static void do_map(void)
{
	int m;
	struct file *f = any_open(&m);
	uint32_t at, n;
	uint8_t *p;

	if (f == NULL || f->size == 0 || f->appends[m])
		return;
	note("map file %d mount %d, %u bytes", file_number(f), m, f->size);
	/* as programs do; the kernel maps what it last heard of the size */
	(void)fstat(f->fd[m], &(struct stat){0});
	p = mmap(NULL, f->size, PROT_READ | PROT_WRITE, below(2) == 0 ? MAP_SHARED : MAP_PRIVATE,
	         f->fd[m], 0);
	if (p == MAP_FAILED)
		differs("mmap: %s", strerror(errno));
	expect_bytes("mapping", p, f, 0, f->size);
	expect("munmap", munmap(p, f->size), 0);
	if (below(2) == 0)
		return;
	at = below(f->size);
	n = any_length(f->size - at);
	(void)fstat(f->fd[m], &(struct stat){0});
	note("write through a mapping of file %d mount %d at %u, %u bytes", file_number(f), m, at,
	     n);
	p = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd[m], 0);
	if (p == MAP_FAILED)
		differs("mmap: %s", strerror(errno));
	fill(scratch, n);
	memcpy(p + at, scratch, n);
	expect("msync", msync(p, f->size, MS_SYNC), 0);
	expect("munmap", munmap(p, f->size), 0);
	memcpy(f->data + at, scratch, n);
}

/* What is told as a hole reads as zeros, and what is told as data lies within the file. */
static void do_seek(void)
{
	int m;
	struct file *f = any_open(&m);
	uint32_t at;
	off_t data;

	if (f == NULL || f->size == 0)
		return;
	at = below(f->size);
	note("seek data in file %d mount %d from %u", file_number(f), m, at);
	data = lseek(f->fd[m], at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		differs("SEEK_DATA: %s", strerror(errno));
	if (data >= 0 && (data < at || data >= f->size))
		differs("SEEK_DATA from %u of %u gave %lld", at, f->size, (long long)data);
	for (uint32_t i = at; i < (data < 0 ? f->size : (uint32_t)data); i++)
		if (f->data[i] != 0)
			differs("byte %u is said to lie in a hole, and is %02x", i, f->data[i]);
	data = lseek(f->fd[m], at, SEEK_HOLE);
	if (data < at || data > f->size)
		differs("SEEK_HOLE from %u of %u gave %lld", at, f->size, (long long)data);
}

static void do_stat(void)
{
	int m;
	struct file *f = any_open(&m);
	struct stat st;

	if (f == NULL)
		return;
	note("fstat file %d mount %d", file_number(f), m);
	expect("fstat", fstat(f->fd[m], &st), 0);
	if (st.st_size != f->size || st.st_nlink != f->links)
		differs("fstat gave size %lld and %lu links, wanted %u and %u",
		        (long long)st.st_size, (unsigned long)st.st_nlink, f->size, f->links);
}

static void do_fsync_or_close(void)
{
	int m;
	struct file *f = any_open(&m);

	if (f == NULL)
		return;
	if (below(2) == 0) {
		note("fsync file %d mount %d", file_number(f), m);
		expect("fsync", fsync(f->fd[m]), 0);
		return;
	}
	note("close file %d mount %d", file_number(f), m);
	close_fd(f, m);
	drop_if_gone(f);
}

static void do_attribute(void)
{
	int m, n;
	struct file *f = any_open(&m);
	char text[16];

	if (f == NULL)
		return;
	if (below(2) == 0) {
		f->value = (uint32_t)rng_next(&rng);
		n = snprintf(text, sizeof(text), "%u", f->value);
		note("set user.x of file %d mount %d to %s", file_number(f), m, text);
		expect("fsetxattr",
		       fsetxattr(f->fd[m], "user.x", text, (size_t)n,
		                 f->has_value ? XATTR_REPLACE : XATTR_CREATE),
		       0);
		f->has_value = true;
	} else if (below(3) == 0) {
		note("remove user.x of file %d mount %d", file_number(f), m);
		expect("fremovexattr", fremovexattr(f->fd[m], "user.x"),
		       f->has_value ? 0 : -ENODATA);
		f->has_value = false;
	} else {
		char got[16] = "";

		note("get user.x of file %d mount %d", file_number(f), m);
		n = snprintf(text, sizeof(text), "%u", f->value);
		expect("fgetxattr", fgetxattr(f->fd[m], "user.x", got, sizeof(got)),
		       f->has_value ? n : -ENODATA);
		if (f->has_value && memcmp(text, got, (size_t)n) != 0)
			differs("user.x is %.15s, wanted %s", got, text);
	}
}

/* ---- operations on names ---- */

static int flags_of_open(bool *appends)
{
	*appends = below(5) == 0;
	return O_RDWR | (*appends ? O_APPEND : 0) | (below(8) == 0 ? O_SYNC : 0);
}

static void do_create(void)
{
	int m = any_mount(), name = any_name(false), fd;
	bool appends;
	int flags = flags_of_open(&appends);

	if (name < 0 || free_file() == NULL)
		return;
	note("create name %d mount %d", name, m);
	fd = open(path_of(m, name), flags | O_CREAT | O_EXCL, 0644);
	if (fd < 0)
		differs("create: %s", strerror(errno));
	names[name] = model_new(m, fd, appends);
	names[name]->links = 1;
	expect("create again", open(path_of(any_mount(), name), O_RDWR | O_CREAT | O_EXCL, 0644),
	       -EEXIST);
}

static void do_open(void)
{
	int m = any_mount(), name = any_name(true);
	struct file *f = name >= 0 ? names[name] : NULL;
	bool appends, truncates = below(4) == 0;
	int flags = flags_of_open(&appends);

	if (f == NULL)
		return;
	close_fd(f, m);
	note("open name %d (file %d) mount %d%s", name, file_number(f), m,
	     truncates ? " with O_TRUNC" : "");
	f->fd[m] = open(path_of(m, name), flags | (truncates ? O_TRUNC : 0));
	if (f->fd[m] < 0)
		differs("open: %s", strerror(errno));
	f->appends[m] = appends;
	if (!truncates)
		return;
	model_resize(f, 0);
	/* through this handle the truncation is seen at once, elsewhere with the first write or close */
	fill(scratch, 100);
	expect("first write", write(f->fd[m], scratch, 100), 100);
	model_write(f, 0, scratch, 100);
}

static void do_nameless(void)
{
	int m = any_mount(), name = any_name(false), fd;
	uint32_t n = any_length(20000);
	struct file *f;
	char path[512];

	if (name < 0 || free_file() == NULL)
		return;
	(void)snprintf(path, sizeof(path), "%s", path_of(m, name));
	*strrchr(path, '/') = '\0';
	note("nameless file, mount %d, %u bytes, name %d later", m, n, name);
	fd = open(path, O_TMPFILE | O_RDWR, 0644);
	if (fd < 0)
		differs("O_TMPFILE: %s", strerror(errno));
	f = model_new(m, fd, false);
	fill(scratch, n);
	expect("write", pwrite(fd, scratch, n, 0), n);
	model_write(f, 0, scratch, n);
	if (below(3) == 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect("linkat", linkat(AT_FDCWD, path, AT_FDCWD, path_of(m, name), AT_SYMLINK_FOLLOW), 0);
	f->links = 1;
	names[name] = f;
}

static void do_unlink(void)
{
	int m = any_mount(), name = (int)below(NAMES);
	struct file *f = names[name];

	note("unlink name %d (file %d) mount %d", name, f != NULL ? file_number(f) : -1, m);
	if (f != NULL)
		before_losing(f, m);
	expect("unlink", unlink(path_of(m, name)), f != NULL ? 0 : -ENOENT);
	names[name] = NULL;
	if (f != NULL)
		lose_link(f);
}

static void do_link(void)
{
	int m = any_mount(), from = any_name(true), to = (int)below(NAMES);

	if (from < 0)
		return;
	note("link name %d to %d, mount %d", from, to, m);
	expect("link", link(path_of(m, from), path_of(m, to)), names[to] != NULL ? -EEXIST : 0);
	if (names[to] == NULL) {
		names[to] = names[from];
		names[to]->links++;
	}
}

static int rename_outcome(const struct file *a, const struct file *b, unsigned flags)
{
	if (a == NULL)
		return -ENOENT;
	if (flags == RENAME_NOREPLACE && b != NULL)
		return -EEXIST;
	return flags == RENAME_EXCHANGE && b == NULL ? -ENOENT : 0;
}

static void do_rename(void)
{
	static const unsigned all_flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	int m = any_mount(), from = (int)below(NAMES), to = (int)below(NAMES);
	unsigned flags = all_flags[below(4)];
	struct file *a = names[from], *b = names[to];
	int outcome = rename_outcome(a, b, flags);

	note("rename name %d to %d, flags %u, mount %d", from, to, flags, m);
	if (outcome == 0 && flags != RENAME_EXCHANGE && a != b && b != NULL)
		before_losing(b, m);
	expect("rename", renameat2(AT_FDCWD, path_of(m, from), AT_FDCWD, path_of(m, to), flags),
	       outcome);
	if (outcome != 0 || a == b)
		return;
	names[to] = a;
	names[from] = flags == RENAME_EXCHANGE ? b : NULL;
	if (flags != RENAME_EXCHANGE && b != NULL)
		lose_link(b);
}

static void do_move_directory(void)
{
	int m = any_mount(), dir = 1 + (int)below(DIRS - 1);
	char from[512], to[512];

	(void)snprintf(from, sizeof(from), "%s/%s%d", tops[m], moved[dir] ? "moved" : "d", dir);
	(void)snprintf(to, sizeof(to), "%s/%s%d", tops[m], moved[dir] ? "d" : "moved", dir);
	note("rename directory %d mount %d", dir, m);
	expect("rename of a directory", rename(from, to), 0);
	moved[dir] = !moved[dir];
}

static void do_path_stat(void)
{
	int m = any_mount(), name = (int)below(NAMES);
	const struct file *f = names[name];
	struct stat st;

	note("stat name %d mount %d", name, m);
	expect("stat", stat(path_of(m, name), &st), f != NULL ? 0 : -ENOENT);
	if (f != NULL && (st.st_size != f->size || st.st_nlink != f->links))
		differs("stat gave size %lld and %lu links, wanted %u and %u",
		        (long long)st.st_size, (unsigned long)st.st_nlink, f->size, f->links);
}

static void do_list(void)
{
	int m = any_mount(), dir = (int)below(DIRS), found = 0, wanted = 0, number;
	char path[512];
	struct dirent *d;
	DIR *stream;

	(void)snprintf(path, sizeof(path), "%s", path_of(m, dir));
	*strrchr(path, '/') = '\0';
	note("list directory %d mount %d", dir, m);
	stream = opendir(path);
	if (stream == NULL)
		differs("opendir: %s", strerror(errno));
	while ((d = readdir(stream)) != NULL) {
		if (d->d_name[0] != 'n')
			continue;
		number = atoi(d->d_name + 1);
		if (number < 0 || number >= NAMES || number % DIRS != dir || names[number] == NULL)
			differs("%s is listed and should not be there", d->d_name);
		found++;
	}
	(void)closedir(stream);
	for (int i = dir; i < NAMES; i += DIRS)
		wanted += names[i] != NULL;
	if (found != wanted)
		differs("%d names listed, wanted %d", found, wanted);
}

/* ---- the run ---- */

static void step(void)
{
	static const struct {
		unsigned weight;
		void (*act)(void);
	} acts[] = {
	        {20, do_write},         {20, do_read},     {6, do_truncate}, {8, do_fallocate},
	        {8, do_copy},           {5, do_map},       {4, do_seek},     {6, do_stat},
	        {6, do_fsync_or_close}, {4, do_attribute}, {6, do_create},   {10, do_open},
	        {2, do_nameless},       {4, do_unlink},    {4, do_link},     {6, do_rename},
	        {1, do_move_directory}, {5, do_path_stat}, {3, do_list},
	};
	unsigned sum = 0, pick;

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		sum += acts[i].weight;
	pick = below(sum);
	for (size_t i = 0;; i++) {
		if (pick < acts[i].weight) {
			acts[i].act();
			return;
		}
		pick -= acts[i].weight;
	}
}

/* Everything once more, through both mounts. */
static void check_all(void)
{
	for (int name = 0; name < NAMES; name++) {
		for (int m = 0; m < mounts && names[name] != NULL; m++) {
			int fd = open(path_of(m, name), O_RDONLY);

			note("check name %d mount %d", name, m);
			if (fd < 0)
				differs("open: %s", strerror(errno));
			expect("read", pread(fd, scratch, sizeof(scratch), 0), names[name]->size);
			expect_bytes("content", scratch, names[name], 0, names[name]->size);
			(void)close(fd);
		}
	}
}

static void start(void)
{
	char path[512];

	for (int i = 0; i < FILES; i++)
		files[i].fd[0] = files[i].fd[1] = -1;
	for (int dir = 1; dir < DIRS; dir++) {
		(void)snprintf(path, sizeof(path), "%s/d%d", tops[0], dir);
		expect("mkdir", mkdir(path, 0755), 0);
	}
}

int main(int argc, char **argv)
{
	uint64_t ops = 1000;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--ops") == 0 && i + 1 < argc)
			ops = strtoull(argv[++i], NULL, 10);
		else if (argv[i][0] != '-' && mounts < 2)
			tops[mounts++] = argv[i];
		else
			mounts = 3;
	}
	if (mounts < 1 || mounts > 2) {
		(void)fprintf(stderr, "usage: exercise [--seed N] [--ops N] DIR [DIR2]\n");
		return 2;
	}
	rng.s = seed;
	start();
	for (op_number = 1; op_number <= ops; op_number++)
		step();
	check_all();
	printf("exercise: %llu operations, seed %llu, no difference\n", (unsigned long long)ops,
	       (unsigned long long)seed);
	return 0;
}

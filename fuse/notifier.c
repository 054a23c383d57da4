/* The notifier: a process that does again, in the mount, what others have done elsewhere; see notify.h. It ends when
 * its socket does. Nothing is open on the mount between two rounds, so that it can be unmounted. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "notify_priv.h"
#include "watched.h"
#include "../src/base/clock.h"

#define READ_BYTES     65536u
#define SCAN_SHARE     20u /* of the time goes into looking at who watches: a twentieth */
#define PATH_MAX_BYTES 65536u

struct notifier {
	const char *mountpoint;
	struct buf in;
	struct watched watched;
	uint64_t next_look_ms;
	int root; /* of this round; -1 */
	char name[FS_NAME_BYTES_MAX + 1], old_name[FS_NAME_BYTES_MAX + 1];
	int dir, old_dir; /* of this change; -1 */
};

/* ---- the socket ---- */

/* Wait for more, until `deadline_ms` at most if that is not 0. False: it has ended. */
static bool fill(struct notifier *n, uint64_t deadline_ms)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	uint64_t now = clock_mono_ms();
	ssize_t got;
	int rc;

	if (deadline_ms != 0 && deadline_ms <= now)
		return true;
	rc = poll(&p, 1, deadline_ms == 0 ? -1 : (int)(deadline_ms - now));
	if (rc <= 0)
		return rc == 0 || errno == EINTR;
	got = read(STDIN_FILENO, buf_reserve(&n->in, READ_BYTES), READ_BYTES);
	if (got > 0)
		n->in.len += (size_t)got;
	return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* The message at `at`, and where its two paths stand; NULL if it is not all there. */
static const uint8_t *message_at(const struct notifier *n, size_t at, struct notify_head *h)
{
	if (n->in.len - at < sizeof(*h))
		return NULL;
	memcpy(h, n->in.data + at, sizeof(*h));
	return n->in.len - at < h->bytes ? NULL : n->in.data + at + sizeof(*h);
}

static bool say_passed(uint64_t serial, uint32_t told)
{
	const struct notify_head h = {.bytes = sizeof(h), .serial = serial, .told = told};
	const uint8_t *p = (const uint8_t *)&h;
	size_t done = 0;

	while (done < sizeof(h)) {
		ssize_t n = write(STDIN_FILENO, p + done, sizeof(h) - done);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd out = {.fd = STDIN_FILENO, .events = POLLOUT};

			(void)poll(&out, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return false;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* ---- one change ---- */

static uint64_t ino_of(int fd)
{
	struct statx x;

	/* what the kernel knows; the number of an inode does not change */
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &x) == 0 ? x.stx_ino
	                                                                             : 0;
}

/* The directory of the path's last name, if it is still `ino`; the name into `name`. -1: it is not. */
static int open_parent(const struct notifier *n, const uint8_t *path, size_t len, uint64_t ino,
                       char name[FS_NAME_BYTES_MAX + 1])
{
	struct open_how how = {
	        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
	        .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
	                   RESOLVE_NO_MAGICLINKS,
	};
	const uint8_t *slash = len > 0 ? memrchr(path, '/', len) : NULL;
	size_t above = slash != NULL ? (size_t)(slash - path) : 0;
	size_t skip = slash != NULL ? above + 1 : 0;
	char dir[PATH_MAX_BYTES];
	int fd;

	if (len - skip == 0 || len - skip > FS_NAME_BYTES_MAX || above >= sizeof(dir))
		return -1;
	memcpy(name, path + skip, len - skip);
	name[len - skip] = '\0';
	memcpy(dir, path, above);
	dir[above] = '\0';
	fd = (int)syscall(SYS_openat2, n->root, above > 0 ? dir : ".", &how, sizeof(how));
	if (fd >= 0 && ino_of(fd) == ino)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* The mount is ready for it, and it is this mount. */
static bool arm(const struct notifier *n, uint64_t serial)
{
	char path[40], name[48], answer[8];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", n->root);
	(void)snprintf(name, sizeof(name), NOTIFY_ARM "%llu", (unsigned long long)serial);
	return getxattr(path, name, answer, sizeof(answer)) == 1;
}

/* As a writer does it. Not with a program: one that is open for writing cannot be started. */
static bool touch_file(const struct notifier *n, const struct notify_head *h, bool modify)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 0}};
	int fd;

	if ((h->mode & 0111) != 0)
		return modify && utimensat(n->dir, n->name, times, AT_SYMLINK_NOFOLLOW) == 0;
	fd = openat(n->dir, n->name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (modify && ino_of(fd) == h->ino)
		(void)futimens(fd, times);
	(void)close(fd);
	return true;
}

static bool make(const struct notifier *n, const struct notify_head *h)
{
	switch (h->mode & S_IFMT) {
	case S_IFDIR: return mkdirat(n->dir, n->name, 0700) == 0;
	case S_IFLNK: return symlinkat(".", n->dir, n->name) == 0;
	case S_IFREG:
		if (mknodat(n->dir, n->name, S_IFREG | 0600, 0) != 0)
			return false;
		(void)touch_file(n, h, false); /* it may have been made with its contents */
		return true;
	default: return mknodat(n->dir, n->name, (h->mode & S_IFMT) | 0600, 0) == 0;
	}
}

static bool modify(const struct notifier *n, const struct notify_head *h)
{
	const struct timespec times[2] = {{.tv_sec = 0}, {.tv_sec = 0}};

	if (S_ISREG(h->mode))
		return touch_file(n, h, true);
	return utimensat(n->dir, n->name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool act(const struct notifier *n, const struct notify_head *h)
{
	switch ((enum store_change_kind)h->kind) {
	case STORE_CHANGE_CREATE: return make(n, h);
	case STORE_CHANGE_MODIFY: return modify(n, h);
	case STORE_CHANGE_REMOVE:
		return unlinkat(n->dir, n->name, S_ISDIR(h->mode) ? AT_REMOVEDIR : 0) == 0;
	case STORE_CHANGE_RENAME: return renameat(n->old_dir, n->old_name, n->dir, n->name) == 0;
	}
	return false;
}

static bool is_watched(const struct watched *w, const struct notify_head *h)
{
	return w->all || watched_has(w, h->ino) || watched_has(w, h->parent) ||
	       (h->old_parent != 0 && watched_has(w, h->old_parent)) ||
	       (h->over != 0 && watched_has(w, h->over));
}

static bool tell(struct notifier *n, const struct notify_head *h, const uint8_t *paths)
{
	bool told = false;

	n->dir = open_parent(n, paths, h->path_len, h->parent, n->name);
	n->old_dir = h->old_len > 0 ? open_parent(n, paths + h->path_len, h->old_len, h->old_parent,
	                                          n->old_name)
	                            : -1;
	if (n->dir >= 0 && (h->old_len == 0 || n->old_dir >= 0) && arm(n, h->serial))
		told = act(n, h);
	if (n->dir >= 0)
		(void)close(n->dir);
	if (n->old_dir >= 0)
		(void)close(n->old_dir);
	return told;
}

/* ---- a round ---- */

static void look(struct notifier *n)
{
	uint64_t begin = clock_mono_ms(), took;
	struct statx x;

	n->watched.n = 0;
	n->watched.all = false;
	n->root = open(n->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (n->root >= 0 &&
	    statx(n->root, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &x) == 0)
		watched_look(&n->watched, (uint64_t)x.stx_dev_major << 20 | x.stx_dev_minor);
	took = (clock_mono_ms() - begin) * SCAN_SHARE;
	n->next_look_ms = clock_mono_ms() + (took < NOTIFY_SCAN_MS ? took : NOTIFY_SCAN_MS);
}

/* All that has come before the look. False: the socket has ended. */
static bool run_round(struct notifier *n)
{
	struct notify_head h;
	const uint8_t *paths;
	uint64_t last = 0;
	size_t at = 0;
	bool ok = true;

	look(n);
	while (ok && (paths = message_at(n, at, &h)) != NULL) {
		if (n->root >= 0 && is_watched(&n->watched, &h))
			ok = say_passed(h.serial, tell(n, &h, paths));
		last = h.serial;
		at += h.bytes;
	}
	if (n->root >= 0)
		(void)close(n->root);
	n->root = -1;
	buf_consume(&n->in, at);
	return ok && say_passed(last, 0);
}

int notifier_main(int argc, char *const argv[])
{
	struct notifier n = {.root = -1, .dir = -1, .old_dir = -1};
	struct notify_head h;
	bool ok = argc == 2;

	if (!ok)
		(void)fprintf(stderr, "%s is started by raftfs -o notify\n", NOTIFIER_NAME);
	n.mountpoint = argv[1];
	(void)umask(0);
	buf_init(&n.in);
	while (ok) {
		if (message_at(&n, 0, &h) == NULL)
			ok = fill(&n, 0);
		else if (clock_mono_ms() < n.next_look_ms)
			ok = fill(&n, n.next_look_ms);
		else
			ok = run_round(&n);
	}
	buf_free(&n.in);
	watched_free(&n.watched);
	return argc == 2 ? 0 : 2;
}

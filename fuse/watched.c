#include "watched.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../src/base/mem.h"

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The hexadecimal number behind " KEY:", or at the front; false if there is none. */
static bool number(const char *line, const char *key, uint64_t *value)
{
	const char *at = strstr(line, key);

	if (at == NULL || (at > line && at[-1] != ' '))
		return false;
	*value = strtoull(at + strlen(key), NULL, 16);
	return true;
}

void watched_take_line(struct watched *w, uint64_t dev, const char *line)
{
	bool fanotify = strncmp(line, "fanotify ", 9) == 0;
	uint64_t ino, sdev;

	if (!fanotify && strncmp(line, "inotify ", 8) != 0)
		return;
	if (!number(line, "sdev:", &sdev)) {
		w->all = w->all || (fanotify && strstr(line, " mnt_id:") != NULL);
		return;
	}
	if (sdev != dev)
		return;
	if (!number(line, "ino:", &ino)) {
		w->all = true;
		return;
	}
	w->inos = mem_grow(w->inos, &w->cap, w->n + 1, sizeof(*w->inos));
	w->inos[w->n++] = ino;
}

static void look_at_descriptor(struct watched *w, uint64_t dev, int proc, const char *pid,
                               const char *fd)
{
	char path[64], target[32] = "", line[512];
	FILE *f;
	int info;

	(void)snprintf(path, sizeof(path), "%s/fd/%s", pid, fd);
	if (readlinkat(proc, path, target, sizeof(target) - 1) < 0 ||
	    (strncmp(target, "anon_inode:inotify", 18) != 0 &&
	     strncmp(target, "anon_inode:[fanotify]", 21) != 0))
		return;
	(void)snprintf(path, sizeof(path), "%s/fdinfo/%s", pid, fd);
	info = openat(proc, path, O_RDONLY | O_CLOEXEC);
	f = info >= 0 ? fdopen(info, "r") : NULL;
	if (f == NULL) {
		if (info >= 0)
			(void)close(info);
		return;
	}
	while (fgets(line, sizeof(line), f) != NULL)
		watched_take_line(w, dev, line);
	(void)fclose(f);
}

static void look_at_process(struct watched *w, uint64_t dev, int proc, const char *pid)
{
	char path[32];
	struct dirent *e;
	DIR *d;
	int fds;

	(void)snprintf(path, sizeof(path), "%.20s/fd", pid);
	fds = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fds >= 0 ? fdopendir(fds) : NULL;
	if (d == NULL) {
		if (fds >= 0)
			(void)close(fds);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (isdigit((unsigned char)e->d_name[0]) && strlen(e->d_name) < 16)
			look_at_descriptor(w, dev, proc, pid, e->d_name);
	}
	(void)closedir(d);
}

void watched_look(struct watched *w, uint64_t dev)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	w->n = 0;
	w->all = false;
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (isdigit((unsigned char)e->d_name[0]) && strlen(e->d_name) < 16)
			look_at_process(w, dev, dirfd(d), e->d_name);
	}
	if (d != NULL)
		(void)closedir(d);
	if (w->n > 0)
		qsort(w->inos, w->n, sizeof(*w->inos), compare);
}

bool watched_has(const struct watched *w, uint64_t ino)
{
	return w->n > 0 && bsearch(&ino, w->inos, w->n, sizeof(*w->inos), compare) != NULL;
}

void watched_free(struct watched *w)
{
	free(w->inos);
	*w = (struct watched){0};
}

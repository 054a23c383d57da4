#include "names.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "../base/mem.h"

#define DEPTH_MAX      4096u
#define PATH_BYTES_MAX 65536u

struct name {
	uint64_t ino, parent;
	struct name *more; /* another name of the same file */
	struct name *dead; /* the next one in names->dead */
	UT_hash_handle hh; /* by ino: the first one of it */
	uint32_t len;
	char text[];
};

struct names {
	struct name *by_ino;
	size_t n;
	bool incomplete; /* some did not fit */
	/* A tree is removed from its top: what is gone is still needed for the paths below it, until
	 * the next entry. */
	struct name *dead;
	raft_index index;
};

struct names *names_new(void)
{
	return mem_zalloc(sizeof(struct names));
}

static struct name *first_of(const struct names *t, uint64_t ino)
{
	struct name *n;

	HASH_FIND(hh, t->by_ino, &ino, sizeof(ino), n);
	return n;
}

static void drop(struct names *t, struct name *n)
{
	t->n--;
	free(n);
}

static void drop_dead(struct names *t)
{
	while (t->dead != NULL) {
		struct name *n = t->dead;

		t->dead = n->dead;
		/* The analyzer does not see what is in a hash. */
		HASH_DEL(t->by_ino, n); // NOLINT(clang-analyzer-core.NullDereference)
		if (n->more != NULL)    /* named anew meanwhile */
			HASH_ADD(hh, t->by_ino, ino, sizeof(n->more->ino), n->more);
		drop(t, n);
	}
}

static void forget_all(struct names *t)
{
	struct name *n, *next, *more;

	t->dead = NULL;
	t->incomplete = false;
	HASH_ITER (hh, t->by_ino, n, next) {
		HASH_DEL(t->by_ino, n); // NOLINT(clang-analyzer-unix.Malloc)
		for (; n != NULL; n = more) {
			more = n->more;
			drop(t, n);
		}
	}
}

void names_free(struct names *t)
{
	if (t == NULL)
		return;
	forget_all(t);
	free(t);
}

/* ---- taking in ---- */

static void add(struct names *t, uint64_t parent, struct fs_str text, uint64_t ino)
{
	struct name *n, *first;

	t->incomplete = t->incomplete || t->n >= NAMES_MAX;
	if (t->n >= NAMES_MAX)
		return;
	n = mem_zalloc(sizeof(*n) + text.len);
	n->ino = ino;
	n->parent = parent;
	n->len = text.len;
	memcpy(n->text, text.p, text.len);
	t->n++;
	first = first_of(t, ino);
	if (first != NULL) {
		n->more = first->more;
		first->more = n;
		return;
	}
	HASH_ADD(hh, t->by_ino, ino, sizeof(n->ino), n);
}

static bool is_this(const struct name *n, uint64_t parent, struct fs_str text)
{
	return n->parent == parent && n->len == text.len && memcmp(n->text, text.p, text.len) == 0;
}

static void take_out(struct names *t, uint64_t parent, struct fs_str text, uint64_t ino)
{
	struct name *first = first_of(t, ino), **at, *gone;

	if (first == NULL)
		return;
	if (is_this(first, parent, text) && first->more == NULL) {
		for (gone = t->dead; gone != NULL && gone != first; gone = gone->dead)
			;
		if (gone == NULL) {
			first->dead = t->dead;
			t->dead = first;
		}
		return;
	}
	if (is_this(first, parent, text)) {
		HASH_DEL(t->by_ino, first);
		HASH_ADD(hh, t->by_ino, ino, sizeof(first->ino), first->more);
		drop(t, first);
		return;
	}
	for (at = &first->more; *at != NULL && !is_this(*at, parent, text); at = &(*at)->more)
		;
	gone = *at;
	if (gone == NULL)
		return;
	*at = gone->more;
	drop(t, gone);
}

static void load_one(void *ctx, uint64_t parent, struct fs_str name, uint64_t ino)
{
	add(ctx, parent, name, ino);
}

int names_load(struct names *t, struct store *s, struct rfs_err *err)
{
	forget_all(t);
	return store_each_name(s, load_one, t, err);
}

/* ---- paths ---- */

/* The directories from `dir` up to the root, and then the name. */
static void put_path(const struct names *t, uint64_t dir, struct fs_str name, struct buf *b)
{
	const struct name *up[DEPTH_MAX];
	size_t depth = 0, bytes = name.len;

	while (dir != FS_ROOT_INO) {
		const struct name *n = first_of(t, dir);

		bytes += n != NULL ? n->len + 1u : 0;
		if (n == NULL || depth == DEPTH_MAX || bytes > PATH_BYTES_MAX)
			return;
		up[depth++] = n;
		dir = n->parent;
	}
	while (depth > 0) {
		const struct name *n = up[--depth];

		buf_put(b, n->text, n->len);
		buf_put_u8(b, '/');
	}
	buf_put(b, name.p, name.len);
}

bool names_follow(struct names *t, const struct store_change *c, struct buf *path,
                  struct buf *old_path, uint64_t *parent)
{
	const struct name *n;

	if (c->index != t->index)
		drop_dead(t);
	t->index = c->index;
	*parent = c->parent;
	if (c->name.len > 0) {
		put_path(t, c->parent, c->name, path);
	} else if ((n = first_of(t, c->ino)) != NULL) {
		*parent = n->parent;
		put_path(t, n->parent, (struct fs_str){n->text, n->len}, path);
	}
	switch (c->kind) {
	case STORE_CHANGE_CREATE: add(t, c->parent, c->name, c->ino); break;
	case STORE_CHANGE_MODIFY: break;
	case STORE_CHANGE_REMOVE: take_out(t, c->parent, c->name, c->ino); break;
	case STORE_CHANGE_RENAME:
		put_path(t, c->old_parent, c->old_name, old_path);
		/* the new one first: the old one may be the last, and is dropped only later */
		add(t, c->parent, c->name, c->ino);
		take_out(t, c->old_parent, c->old_name, c->ino);
		break;
	}
	return path->len > 0 || c->name.len > 0 || t->incomplete;
}

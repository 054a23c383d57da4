/* Reads every record and checks what they must agree on. What each record says of inodes is
 * gathered in one table; then each inode is compared with what the others say of it. */
#include "store_priv.h"

#include <stdlib.h>
#include <sys/stat.h>
#include "../base/mem.h"

#define TELL_EVERY 1024u

struct seen {
	uint64_t ino;
	bool known; /* its own record was seen … */
	bool below_root;
	bool freeing; /* some of the chunks under its number are nobody's */
	uint8_t type; /* as the names that lead to it say */
	uint32_t xattrs_found;
	/* … and says: */
	uint32_t xattrs, quota;
	struct fs_attr attr;
	uint64_t parent, entries, content;
	/* from the names that lead to it */
	uint64_t names, named_in;
	/* from the names in it */
	uint64_t names_in, dirs_in;
	/* from the chunks under its number, and whose content they are */
	uint64_t chunk_blocks, chunk_first, chunk_end, content_of;
	uint64_t tail;    /* those from here on are nobody's, if `freeing` … */
	uint64_t tail_of; /* … and this file has those below, if any */
	uint64_t orphans; /* or lingering */
	struct store_acl_facts acl;
	UT_hash_handle hh;
};

struct verify {
	struct store *s;
	struct seen *inodes;
	uint64_t digest, ino_max, locks, freeings;
	struct store_counts counts;
	/* the name before this one */
	uint64_t last_dir, last_cookie;
	struct {
		uint64_t inodes, bytes;
	} quota_used[STORE_QUOTAS_MAX + 1];
	bool last_placeholder;
	void (*told)(void *ctx, uint64_t bytes); /* NULL: nobody wants to know */
	void *told_ctx;
	uint64_t records, bytes;
};

static struct seen *seen_of(struct verify *v, uint64_t ino)
{
	struct seen *n;

	HASH_FIND(hh, v->inodes, &ino, sizeof(ino), n);
	if (n == NULL) {
		n = mem_zalloc(sizeof(*n));
		n->ino = ino;
		HASH_ADD(hh, v->inodes, ino, sizeof(n->ino), n);
	}
	return n;
}

static void free_seen(struct verify *v)
{
	struct seen *n = v->inodes, *next;

	HASH_CLEAR(hh, v->inodes); /* the elements stay linked in their order */
	for (; n != NULL; n = next) {
		next = n->hh.next;
		free(n);
	}
}

/* ---- each record by itself; NULL, or what is wrong with it ---- */

static const char *see_inode(struct verify *v, const struct store_walk *w)
{
	struct seen *n = seen_of(v, w->key.first);
	struct record_inode r;
	const char *bad = record_get_inode(w->value, w->key.first, &r);

	if (bad != NULL)
		return bad;
	n->known = true;
	n->attr = r.attr;
	n->parent = r.parent;
	n->entries = r.entries;
	n->xattrs = r.xattrs;
	n->quota = r.quota;
	n->content = r.content;
	if (n->quota != 0) {
		if (store_quota_of(v->s, n->quota) == NULL)
			return "in a tree that is not there";
		v->quota_used[n->quota].inodes++;
		v->quota_used[n->quota].bytes += S_ISREG(r.attr.mode) ? r.attr.size : 0;
	}
	v->counts.inodes++;
	if (S_ISREG(r.attr.mode))
		v->counts.bytes += r.attr.size;
	if (w->key.first > v->ino_max)
		v->ino_max = w->key.first;
	return r.attr.version > v->s->m.applied.index ? "changed by an entry that is not applied"
	                                              : NULL;
}

static const char *see_quota(struct verify *v, const struct store_walk *w)
{
	struct record_quota r;
	const char *bad = record_get_quota(w->value, &r);

	if (bad != NULL)
		return bad;
	return w->key.first <= STORE_QUOTAS_MAX &&
	                       store_quota_of(v->s, (uint32_t)w->key.first) != NULL
	               ? NULL
	               : "a quota that memory does not know";
}

static const char *see_xattrs(struct verify *v, const struct store_walk *w)
{
	struct seen *n = seen_of(v, w->key.first);
	const char *bad = record_check_xattrs(w->value, &n->xattrs_found);
	struct reader r = reader_of(w->value.p, w->value.len);
	struct record_xattr x;

	while (bad == NULL && record_next_xattr(&r, &x))
		bad = store_acl_check(&x, &n->acl);
	return bad;
}

static const char *see_chunk(struct verify *v, const struct store_walk *w)
{
	struct seen *n = seen_of(v, w->key.first);
	const char *bad = record_check_chunk(w->value);

	if (bad != NULL)
		return bad;
	if (w->key.second >= FS_FILE_BYTES_MAX / STORE_CHUNK_BYTES)
		return "chunk beyond the largest file";
	if (n->chunk_end == 0)
		n->chunk_first = w->key.second;
	n->chunk_blocks += (w->value.len + 511) / 512;
	n->chunk_end = w->key.second * STORE_CHUNK_BYTES + w->value.len;
	return NULL;
}

/* The chunks have been seen already: C sorts before F. */
static const char *see_freeing(struct verify *v, const struct store_walk *w)
{
	struct seen *n = seen_of(v, w->key.first);
	struct record_freeing f;
	const char *bad = record_get_freeing(w->value, &f);

	if (bad != NULL)
		return bad;
	n->freeing = true;
	n->tail = f.next;
	n->tail_of = f.ino;
	v->freeings++;
	if (w->key.first >= v->s->m.next_ino || !store_content_is_freed(v->s, w->key.first))
		return "a content that memory does not know";
	return f.ino == 0 && n->chunk_end > 0 && n->chunk_first < f.next
	               ? "chunks where they are said to be gone"
	               : NULL;
}

/* Ordinals of a hash have no gap and do not end with a placeholder. */
static const char *see_cookie(struct verify *v, const struct store_walk *w, bool placeholder)
{
	bool follows = w->key.second % STORE_DENTRY_ORDINALS != 0;

	if (follows && (v->last_dir != w->key.first || v->last_cookie + 1 != w->key.second))
		return "a gap before this ordinal";
	if (!follows && v->last_placeholder)
		return "before this one stands a placeholder that nothing follows";
	v->last_dir = w->key.first;
	v->last_cookie = w->key.second;
	v->last_placeholder = placeholder;
	return NULL;
}

static const char *see_name(struct verify *v, const struct store_walk *w,
                            const struct record_dentry *d)
{
	struct seen *dir = seen_of(v, w->key.first), *n = seen_of(v, d->ino);

	if (w->key.second - w->key.second % STORE_DENTRY_ORDINALS !=
	    store_dir_cookie(v->s, d->name))
		return "the cookie is not this name's";
	if (n->names > 0 && n->type != d->type)
		return "names of one inode say different types";
	n->names++;
	n->named_in = w->key.first;
	n->type = d->type;
	dir->names_in++;
	if (S_ISDIR((uint32_t)d->type << 12))
		dir->dirs_in++;
	return NULL;
}

static const char *see_dentry(struct verify *v, const struct store_walk *w)
{
	struct record_dentry d;
	const char *bad = record_get_dentry(w->value, &d);

	if (bad == NULL)
		bad = see_cookie(v, w, d.ino == 0);
	return bad != NULL || d.ino == 0 ? bad : see_name(v, w, &d);
}

static const char *see_orphan(struct verify *v, const struct store_walk *w)
{
	if (w->value.len != 0)
		return "orphan with a value";
	seen_of(v, w->key.second)->orphans++;
	return store_session_known(v->s, w->key.first) ? NULL
	                                               : "orphan of a session that is not there";
}

/* It is out of the counts, but for what was written to it since. */
static const char *see_linger(struct verify *v, const struct store_walk *w)
{
	struct record_linger l;
	const char *bad = record_get_linger(w->value, &l);

	if (bad != NULL)
		return bad;
	seen_of(v, l.ino)->orphans++;
	v->counts.inodes--;
	v->counts.bytes -= l.bytes;
	return NULL;
}

static const char *see_reply(struct verify *v, const struct store_walk *w)
{
	struct record_reply r;

	if (!store_session_known(v->s, w->key.first))
		return "reply of a session that is not there";
	return record_get_reply(w->value, &r);
}

static const char *see_session(struct verify *v, const struct store_walk *w)
{
	uint64_t timeout_ms;

	v->counts.sessions++;
	if (!store_session_known(v->s, w->key.first))
		return "session that memory does not know";
	return record_get_session(w->value, &timeout_ms);
}

static const char *see_membership(struct verify *v, const struct store_walk *w)
{
	struct record_membership m;
	const char *bad = record_get_membership(w->value, &m);

	if (bad != NULL)
		return bad;
	return m.pos.index == v->s->membership_pos.index && m.pos.index <= v->s->m.applied.index
	               ? NULL
	               : "not the configuration that memory knows";
}

static const char *see_lock(struct verify *v, const struct store_walk *w)
{
	struct record_lock l;
	const char *bad = record_get_lock(w->value, w->key.second, &l);

	if (bad != NULL)
		return bad;
	v->locks++;
	if (!store_session_known(v->s, l.session))
		return "lock of a session that is not there";
	return l.asked > v->s->m.applied.index || l.token > v->s->m.applied.index
	               ? "asked for or granted by an entry that is not applied"
	               : NULL;
}

static const char *see_version(struct verify *v, const struct store_walk *w)
{
	uint32_t version;
	const char *bad = record_get_version(w->value, &version);

	if (bad != NULL)
		return bad;
	return version == v->s->version ? NULL : "not the version that memory knows";
}

static const char *see(struct verify *v, const struct store_walk *w)
{
	if (w->key.kind != RECORD_META)
		v->digest += store_weight(w->key_bytes, w->value);
	switch (w->key.kind) {
	case RECORD_CHUNK: return see_chunk(v, w);
	case RECORD_DENTRY: return see_dentry(v, w);
	case RECORD_FREEING: return see_freeing(v, w);
	case RECORD_INODE: return see_inode(v, w);
	case RECORD_MEMBERSHIP: return see_membership(v, w);
	case RECORD_LINGER: return see_linger(v, w);
	case RECORD_LOCK: return see_lock(v, w);
	case RECORD_META: return NULL;
	case RECORD_ORPHAN: return see_orphan(v, w);
	case RECORD_QUOTA: return see_quota(v, w);
	case RECORD_REPLY: return see_reply(v, w);
	case RECORD_SESSION: return see_session(v, w);
	case RECORD_VERSION: return see_version(v, w);
	case RECORD_XATTRS: return see_xattrs(v, w);
	}
	return NULL;
}

static void tell(struct verify *v, uint64_t bytes)
{
	v->bytes += bytes;
	if (v->told != NULL && ++v->records % TELL_EVERY == 0)
		v->told(v->told_ctx, v->bytes);
}

static int see_all(struct verify *v)
{
	const struct record_key all = {.len = 0};
	struct store_walk w;
	const char *bad;
	int rc;

	store_walk_open(v->s, &w, &all, NULL);
	while ((rc = store_walk_next(v->s, &w)) > 0) {
		bad = see(v, &w);
		tell(v, w.key_bytes.len + w.value.len);
		if (bad != NULL) {
			rc = store_fail_record(v->s, w.key_bytes, bad);
			break;
		}
	}
	store_walk_close(v->s, &w);
	if (rc == 0 && v->last_placeholder)
		rc = store_fail(v->s, RFS_ECORRUPT,
		                "the last name of directory %llu is a placeholder",
		                (unsigned long long)v->last_dir);
	return rc;
}

/* ---- inodes against what others say of them ---- */

static bool has_chunks(const struct seen *n)
{
	return n->known && S_ISREG(n->attr.mode) && !record_is_inline(n->attr.mode, n->attr.size);
}

/* Behind the end of a file that was cut there are chunks only from where its content's record says. */
static const char *check_tail(struct verify *v, const struct seen *n, const struct seen *c)
{
	struct record_key prefix = record_prefix_of(RECORD_CHUNK, c->ino),
	                  from = record_key_chunk(c->ino, n->attr.size / STORE_CHUNK_BYTES);
	const char *bad = NULL;
	struct store_walk w;

	if (c->tail < (n->attr.size + STORE_CHUNK_BYTES - 1) / STORE_CHUNK_BYTES)
		return "its content is being freed";
	store_walk_open(v->s, &w, &prefix, &from);
	while (bad == NULL && store_walk_next(v->s, &w) > 0 && w.key.second < c->tail)
		if (w.key.second * STORE_CHUNK_BYTES + w.value.len > n->attr.size)
			bad = "there are chunks beyond the size";
	store_walk_close(v->s, &w);
	return bad;
}

/* Chunks stand under a file's own number or under that of a file that is gone, and are one file's. */
static const char *check_content(struct verify *v, struct seen *n)
{
	struct seen *c = seen_of(v, n->content);
	const char *bad = NULL;

	if (n->content >= v->s->m.next_ino || (c != n && c->known))
		return "its content is under a number that nobody left it";
	if (c->freeing && c->tail_of != n->ino)
		return "its content is being freed";
	if (c->content_of != 0)
		return "its content is another inode's, too";
	c->content_of = n->ino;
	if (c->freeing)
		bad = check_tail(v, n, c);
	else if (c->chunk_end > n->attr.size)
		bad = "there are chunks beyond the size";
	if (bad != NULL)
		return bad;
	return n->attr.blocks == c->chunk_blocks ? NULL : "the number of blocks is wrong";
}

static int check_contents(struct verify *v)
{
	struct seen *n, *next;
	const char *bad;

	HASH_ITER (hh, v->inodes, n, next) {
		bad = has_chunks(n) ? check_content(v, n) : NULL;
		if (bad != NULL)
			return store_fail(v->s, RFS_ECORRUPT, "inode %llu: %s",
			                  (unsigned long long)n->ino, bad);
	}
	return 0;
}

static const char *check_dir(const struct seen *n)
{
	if (n->entries != n->names_in)
		return "a directory's number of names is wrong";
	if (n->attr.nlink != 2 + n->dirs_in)
		return "a directory's links are wrong";
	if (n->ino == FS_ROOT_INO)
		return n->names == 0 && n->parent == FS_ROOT_INO
		               ? NULL
		               : "the root has a name or a parent";
	if (n->names != 1 || n->named_in != n->parent)
		return "a directory's parent is not the one that names it";
	return n->orphans == 0 ? NULL : "a directory is an orphan";
}

static const char *check_file(const struct seen *n)
{
	if (n->names_in != 0)
		return "there are names in what is no directory";
	if (n->attr.nlink != n->names)
		return "links and names differ in number";
	if (n->orphans != (n->attr.nlink == 0 ? 1 : 0))
		return "it has no names and nobody keeps it, or both";
	return NULL;
}

static const char *check_inode(const struct seen *n)
{
	if (n->tail_of != 0 && n->tail_of != n->content_of)
		return "what is being freed under its number is not of the file that it says";
	if (n->chunk_end > 0 && n->content_of == 0 && !n->freeing)
		return "there are chunks under its number, and no file has them";
	if (!n->known)
		return n->names + n->names_in + n->orphans + n->xattrs_found == 0
		               ? NULL
		               : "it is spoken of and does not exist";
	if (n->names > 0 && n->type != (n->attr.mode & S_IFMT) >> 12)
		return "its names say another type";
	if (n->xattrs != n->xattrs_found)
		return "not as many extended attributes as it says";
	if (n->acl.has_access && n->acl.mode != (n->attr.mode & 0777))
		return "mode and access control list differ";
	if (n->acl.has_default && !S_ISDIR(n->attr.mode))
		return "a default access control list of what is no directory";
	return S_ISDIR(n->attr.mode) ? check_dir(n) : check_file(n);
}

/* Follow a directory's parents up to the root or to one that is known to be below it; every
 * directory has one parent, so what does not get there within as many steps as there are inodes
 * goes round in a circle. */
static bool reaches_root(struct verify *v, struct seen *dir)
{
	struct seen *at = dir;

	for (uint64_t steps = 0; !at->below_root && at->ino != FS_ROOT_INO; steps++) {
		if (steps > HASH_COUNT(v->inodes))
			return false;
		at = seen_of(v, at->parent);
	}
	for (at = dir; !at->below_root && at->ino != FS_ROOT_INO; at = seen_of(v, at->parent))
		at->below_root = true;
	return true;
}

static int check_inodes(struct verify *v)
{
	struct seen *n, *next;
	const char *bad;

	HASH_ITER (hh, v->inodes, n, next) {
		bad = check_inode(n);
		if (bad != NULL)
			return store_fail(v->s, RFS_ECORRUPT, "inode %llu: %s",
			                  (unsigned long long)n->ino, bad);
	}
	HASH_ITER (hh, v->inodes, n, next) {
		if (S_ISDIR(n->attr.mode) && !reaches_root(v, n))
			return store_fail(v->s, RFS_ECORRUPT,
			                  "directory %llu is not below the root",
			                  (unsigned long long)n->ino);
	}
	return 0;
}

static int compare(struct store *s, const char *what, uint64_t kept, uint64_t found)
{
	if (kept == found)
		return 0;
	return store_fail(s, RFS_ECORRUPT, "%s: kept as %llu, but the records give %llu", what,
	                  (unsigned long long)kept, (unsigned long long)found);
}

static int check_totals(struct verify *v)
{
	const struct record_meta *m = &v->s->m;

	if (compare(v->s, "number of inodes", m->counts.inodes, v->counts.inodes) != 0 ||
	    compare(v->s, "bytes", m->counts.bytes, v->counts.bytes) != 0 ||
	    compare(v->s, "number of sessions", m->counts.sessions, v->counts.sessions) != 0 ||
	    compare(v->s, "number of locks", store_locks_count(v->s), v->locks) != 0 ||
	    compare(v->s, "contents to be freed", store_contents_to_free(v->s), v->freeings) != 0 ||
	    compare(v->s, "digest", m->digest, v->digest) != 0)
		return STORE_FAILED;
	if (store_locks_verify(v->s) != 0)
		return STORE_FAILED;
	if (v->ino_max >= m->next_ino)
		return store_fail(v->s, RFS_ECORRUPT, "inode %llu is above the next number, %llu",
		                  (unsigned long long)v->ino_max, (unsigned long long)m->next_ino);
	return 0;
}

static int check_quotas(struct verify *v)
{
	for (uint32_t id = 1; id <= STORE_QUOTAS_MAX; id++) {
		const struct record_quota *q = store_quota_of(v->s, id);

		if (q == NULL)
			continue;
		if (compare(v->s, "inodes of a quota", q->inodes, v->quota_used[id].inodes) != 0 ||
		    compare(v->s, "bytes of a quota", q->bytes, v->quota_used[id].bytes) != 0)
			return STORE_FAILED;
	}
	return 0;
}

int store_verify(struct store *s, struct rfs_err *err)
{
	return store_verify_telling(s, NULL, NULL, err);
}

int store_verify_telling(struct store *s, void (*told)(void *ctx, uint64_t bytes), void *ctx,
                         struct rfs_err *err)
{
	struct verify v = {.s = s, .told = told, .told_ctx = ctx};

	if (s->fail.code == 0 && see_all(&v) == 0 && check_contents(&v) == 0 &&
	    check_inodes(&v) == 0 && check_quotas(&v) == 0)
		(void)check_totals(&v);
	free_seen(&v);
	if (s->fail.code != 0 && err != NULL)
		*err = s->fail;
	return s->fail.code;
}

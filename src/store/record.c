#include "record.h"

#include <sys/stat.h>
#include <xxhash.h>
#include "../base/check.h"

#define META_SUMMED (RECORD_META_BYTES - 8)
/* Where an inode keeps three numbers in one: names in it, extended attributes, quota. */
#define ENTRIES_BITS 40
#define XATTRS_AT    40
#define QUOTA_AT     48

/* ---- keys ---- */

static struct record_key key_of(enum record_kind kind, size_t numbers, uint64_t first,
                                uint64_t second)
{
	struct record_key k = {.p = {(uint8_t)kind}, .len = (uint8_t)(1 + 8 * numbers)};

	if (numbers > 0)
		put_be64(k.p + 1, first);
	if (numbers > 1)
		put_be64(k.p + 9, second);
	return k;
}

struct record_key record_key_meta(void)
{
	return key_of(RECORD_META, 0, 0, 0);
}

struct record_key record_key_inode(uint64_t ino)
{
	return key_of(RECORD_INODE, 1, ino, 0);
}

struct record_key record_key_chunk(uint64_t content, uint64_t chunk)
{
	return key_of(RECORD_CHUNK, 2, content, chunk);
}

struct record_key record_key_dentry(uint64_t dir, uint64_t cookie)
{
	return key_of(RECORD_DENTRY, 2, dir, cookie);
}

struct record_key record_key_freeing(uint64_t content)
{
	return key_of(RECORD_FREEING, 1, content, 0);
}

struct record_key record_key_lock(uint64_t ino, uint64_t id)
{
	return key_of(RECORD_LOCK, 2, ino, id);
}

struct record_key record_key_linger(uint64_t index, uint64_t ordinal)
{
	return key_of(RECORD_LINGER, 2, index, ordinal);
}

struct record_key record_key_membership(void)
{
	return key_of(RECORD_MEMBERSHIP, 0, 0, 0);
}

struct record_key record_key_orphan(uint64_t session, uint64_t ino)
{
	return key_of(RECORD_ORPHAN, 2, session, ino);
}

struct record_key record_key_session(uint64_t id)
{
	return key_of(RECORD_SESSION, 1, id, 0);
}

struct record_key record_key_quota(uint64_t id)
{
	return key_of(RECORD_QUOTA, 1, id, 0);
}

struct record_key record_key_xattrs(uint64_t ino)
{
	return key_of(RECORD_XATTRS, 1, ino, 0);
}

struct record_key record_key_reply(uint64_t session, uint32_t slot)
{
	struct record_key k = key_of(RECORD_REPLY, 1, session, 0);

	put_be32(k.p + k.len, slot);
	k.len = (uint8_t)(k.len + 4);
	return k;
}

struct record_key record_key_version(void)
{
	return key_of(RECORD_VERSION, 0, 0, 0);
}

struct record_key record_prefix(enum record_kind kind)
{
	return key_of(kind, 0, 0, 0);
}

struct record_key record_prefix_of(enum record_kind kind, uint64_t first)
{
	return key_of(kind, 1, first, 0);
}

static size_t key_len(enum record_kind kind)
{
	switch (kind) {
	case RECORD_CHUNK:
	case RECORD_DENTRY:
	case RECORD_LINGER:
	case RECORD_LOCK:
	case RECORD_ORPHAN: return 17;
	case RECORD_REPLY: return 13;
	case RECORD_FREEING:
	case RECORD_INODE:
	case RECORD_QUOTA:
	case RECORD_SESSION:
	case RECORD_XATTRS: return 9;
	case RECORD_MEMBERSHIP:
	case RECORD_META:
	case RECORD_VERSION: return 1;
	}
	return 0;
}

const char *record_key_parse(struct engine_bytes key, struct record_key_parts *parts)
{
	*parts = (struct record_key_parts){0};
	if (key.len == 0)
		return "empty key";
	parts->kind = (enum record_kind)key.p[0];
	if (key_len(parts->kind) == 0)
		return "unknown kind of record";
	if (key_len(parts->kind) != key.len)
		return "key of a wrong length";
	if (key.len >= 9)
		parts->first = get_be64(key.p + 1);
	if (key.len == 13)
		parts->second = get_be32(key.p + 9);
	if (key.len == 17)
		parts->second = get_be64(key.p + 9);
	return NULL;
}

/* ---- M ---- */

void record_put_meta(struct buf *b, const struct record_meta *m)
{
	size_t start = b->len;

	buf_put_u32(b, m->version);
	buf_put_u32(b, 0);
	buf_put_u64(b, m->applied.index);
	buf_put_u64(b, m->applied.term);
	buf_put_u64(b, m->digest);
	buf_put_u64(b, m->next_ino);
	buf_put_u64(b, m->counts.inodes);
	buf_put_u64(b, m->counts.bytes);
	buf_put_u64(b, m->counts.sessions);
	buf_put_u64(b, m->installed.index);
	buf_put_u64(b, m->installed.term);
	rfs_check(b->len - start == META_SUMMED);
	buf_put_u64(b, XXH3_64bits(b->data + start, META_SUMMED));
}

const char *record_get_meta(struct engine_bytes v, struct record_meta *m)
{
	struct reader r = reader_of(v.p, v.len);

	*m = (struct record_meta){0};
	m->version = reader_u32(&r);
	if (!r.bad && (m->version < STORE_FORMAT_MIN || m->version > STORE_FORMAT_MAX))
		return NULL;
	if (v.len != RECORD_META_BYTES)
		return "wrong length";
	if (get_le64(v.p + META_SUMMED) != XXH3_64bits(v.p, META_SUMMED))
		return "wrong checksum";
	if (reader_u32(&r) != 0)
		return "not zero where it should be";
	m->applied.index = reader_u64(&r);
	m->applied.term = reader_u64(&r);
	m->digest = reader_u64(&r);
	m->next_ino = reader_u64(&r);
	m->counts.inodes = reader_u64(&r);
	m->counts.bytes = reader_u64(&r);
	m->counts.sessions = reader_u64(&r);
	m->installed.index = reader_u64(&r);
	m->installed.term = reader_u64(&r);
	if (m->next_ino <= FS_ROOT_INO)
		return "next inode number out of range";
	return NULL;
}

/* ---- I ---- */

bool record_is_inline(uint32_t mode, uint64_t size)
{
	return S_ISLNK(mode) || (S_ISREG(mode) && size <= STORE_INLINE_BYTES);
}

static bool has_chunks(const struct fs_attr *a)
{
	return S_ISREG(a->mode) && !record_is_inline(a->mode, a->size);
}

void record_put_inode(struct buf *b, const struct record_inode *n)
{
	rfs_check(n->data_len == (record_is_inline(n->attr.mode, n->attr.size) ? n->attr.size : 0));
	fs_attr_put(b, &n->attr);
	buf_put_u64(b, n->parent);
	rfs_check(n->entries < 1ull << ENTRIES_BITS && n->xattrs <= RECORD_XATTRS_MAX &&
	          n->quota <= UINT16_MAX);
	buf_put_u64(b,
	            n->entries | (uint64_t)n->xattrs << XATTRS_AT | (uint64_t)n->quota << QUOTA_AT);
	if (has_chunks(&n->attr) && n->content != n->attr.ino)
		buf_put_u64(b, n->content);
	buf_put(b, n->data, n->data_len);
}

static bool type_is_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) ||
	       S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
}

static const char *check_inode(const struct record_inode *n, uint64_t ino)
{
	const struct fs_attr *a = &n->attr;
	bool dir = S_ISDIR(a->mode);

	if (a->ino != ino || ino == 0)
		return "another inode's number in it";
	if (!type_is_known(a->mode) || (a->mode & ~(uint32_t)(S_IFMT | 07777)) != 0)
		return "unknown type or mode bits";
	if (S_ISREG(a->mode) ? a->size > FS_FILE_BYTES_MAX : a->size > STORE_INLINE_BYTES)
		return "size out of range";
	if (dir ? n->parent == 0 || a->nlink < 2 : n->parent != 0 || n->entries != 0)
		return "parent, links or entries do not fit the type";
	if (n->data_len != (record_is_inline(a->mode, a->size) ? a->size : 0))
		return "content does not fit the size";
	return NULL;
}

const char *record_get_inode(struct engine_bytes v, uint64_t ino, struct record_inode *n)
{
	struct reader r = reader_of(v.p, v.len);
	uint64_t numbers;

	fs_attr_get(&r, &n->attr);
	n->parent = reader_u64(&r);
	numbers = reader_u64(&r);
	n->entries = numbers & ((1ull << ENTRIES_BITS) - 1);
	n->xattrs = numbers >> XATTRS_AT & RECORD_XATTRS_MAX;
	n->quota = (uint32_t)(numbers >> QUOTA_AT);
	if (r.bad)
		return "too short";
	if (reader_left(&r) > STORE_INLINE_BYTES)
		return "too long";
	n->content = ino;
	if (has_chunks(&n->attr) && reader_left(&r) > 0) {
		n->content = reader_u64(&r);
		if (r.bad || n->content == ino || n->content == 0)
			return "not the number of another's content";
	}
	n->data_len = (uint32_t)reader_left(&r);
	n->data = reader_bytes(&r, n->data_len);
	return check_inode(n, ino);
}

/* ---- L ---- */

void record_put_linger(struct buf *b, const struct record_linger *l)
{
	buf_put_u64(b, l->ino);
	buf_put_u64(b, (uint64_t)l->since_ns);
	buf_put_u64(b, l->bytes);
}

const char *record_get_linger(struct engine_bytes v, struct record_linger *l)
{
	struct reader r = reader_of(v.p, v.len);

	l->ino = reader_u64(&r);
	l->since_ns = (int64_t)reader_u64(&r);
	l->bytes = reader_u64(&r);
	return v.len == RECORD_LINGER_BYTES ? NULL : "wrong length";
}

/* ---- F ---- */

void record_put_freeing(struct buf *b, const struct record_freeing *f)
{
	buf_put_u64(b, f->next);
	buf_put_u64(b, f->ino);
}

const char *record_get_freeing(struct engine_bytes v, struct record_freeing *f)
{
	struct reader r = reader_of(v.p, v.len);

	f->next = reader_u64(&r);
	f->ino = reader_u64(&r);
	return v.len == RECORD_FREEING_BYTES ? NULL : "wrong length";
}

/* ---- C ---- */

const char *record_check_chunk(struct engine_bytes v)
{
	if (v.len == 0 || v.len > STORE_CHUNK_BYTES)
		return "chunk of a wrong length";
	return v.p[v.len - 1] == 0 ? "chunk with zeros at its end" : NULL;
}

/* ---- X ---- */

void record_put_xattr(struct buf *b, const struct record_xattr *x)
{
	buf_put_u8(b, (uint8_t)x->name.len);
	buf_put_u32(b, x->value_len);
	buf_put(b, x->name.p, x->name.len);
	buf_put(b, x->value, x->value_len);
}

bool record_next_xattr(struct reader *r, struct record_xattr *x)
{
	if (reader_left(r) == 0)
		return false;
	x->name.len = reader_u8(r);
	x->value_len = reader_u32(r);
	x->name.p = (const char *)reader_bytes(r, x->name.len);
	x->value = reader_bytes(r, x->value_len);
	return !r->bad;
}

const char *record_check_xattrs(struct engine_bytes v, uint32_t *count)
{
	struct reader r = reader_of(v.p, v.len);
	struct record_xattr x;

	*count = 0;
	while (record_next_xattr(&r, &x)) {
		if (fs_xattr_name_check(x.name) != 0 || x.value_len > FS_XATTR_BYTES_MAX)
			return "not an extended attribute";
		(*count)++;
	}
	if (r.bad)
		return "too short";
	return *count == 0 || *count > RECORD_XATTRS_MAX || v.len > RECORD_XATTRS_BYTES_MAX
	               ? "number or size of extended attributes out of range"
	               : NULL;
}

/* ---- Q ---- */

void record_put_quota(struct buf *b, const struct record_quota *q)
{
	buf_put_u64(b, q->root);
	buf_put_u64(b, q->bytes_max);
	buf_put_u64(b, q->inodes_max);
	buf_put_u64(b, q->bytes);
	buf_put_u64(b, q->inodes);
}

const char *record_get_quota(struct engine_bytes v, struct record_quota *q)
{
	struct reader r = reader_of(v.p, v.len);

	q->root = reader_u64(&r);
	q->bytes_max = reader_u64(&r);
	q->inodes_max = reader_u64(&r);
	q->bytes = reader_u64(&r);
	q->inodes = reader_u64(&r);
	return v.len == RECORD_QUOTA_BYTES ? NULL : "wrong length";
}

/* ---- D ---- */

void record_put_dentry(struct buf *b, const struct record_dentry *d)
{
	buf_put_u64(b, d->ino);
	if (d->ino == 0)
		return;
	buf_put_u8(b, d->type);
	buf_put(b, d->name.p, d->name.len);
}

const char *record_get_dentry(struct engine_bytes v, struct record_dentry *d)
{
	struct reader r = reader_of(v.p, v.len);

	*d = (struct record_dentry){.ino = reader_u64(&r)};
	if (!r.bad && d->ino == 0)
		return reader_left(&r) > 0 ? "placeholder with a name" : NULL;
	d->type = reader_u8(&r);
	if (r.bad)
		return "too short";
	d->name.len = (uint32_t)(reader_left(&r) <= FS_NAME_BYTES_MAX ? reader_left(&r) : 0);
	d->name.p = (const char *)reader_bytes(&r, d->name.len);
	return fs_name_check(d->name) != 0 ? "not a name" : NULL;
}

/* ---- K ---- */

void record_put_lock(struct buf *b, const struct record_lock *l)
{
	size_t start = b->len;

	buf_put_u64(b, l->session);
	buf_put_u64(b, l->owner);
	buf_put_u64(b, l->first);
	buf_put_u64(b, l->last);
	buf_put_u64(b, l->asked);
	buf_put_u64(b, l->token);
	buf_put_u64(b, l->since);
	buf_put_u64(b, l->seq);
	buf_put_u32(b, l->pid);
	buf_put_u32(b, l->flags);
	rfs_check(b->len - start == RECORD_LOCK_VALUE_BYTES);
}

static const char *check_lock(uint64_t id, const struct record_lock *l)
{
	bool waits = (l->flags & RECORD_LOCK_WAITS) != 0;
	bool whole = l->first == 0 && l->last == RECORD_LOCK_LAST_MAX;

	if ((l->flags & ~(uint32_t)(RECORD_LOCK_BYTES | RECORD_LOCK_SHARED | RECORD_LOCK_WAITS |
	                            RECORD_LOCK_JUMPS)) != 0)
		return "unknown flags";
	if (l->first > l->last || l->last > RECORD_LOCK_LAST_MAX ||
	    ((l->flags & RECORD_LOCK_BYTES) == 0 && !whole))
		return "range out of bounds";
	if (waits ? l->token != 0 || l->since != 0 || id != l->asked
	          : l->token < l->asked || l->since == 0 || l->since > l->token)
		return "it was granted before it was asked for, or waits and was granted";
	return NULL;
}

const char *record_get_lock(struct engine_bytes v, uint64_t id, struct record_lock *l)
{
	struct reader r = reader_of(v.p, v.len);

	if (v.len != RECORD_LOCK_VALUE_BYTES)
		return "wrong length";
	l->session = reader_u64(&r);
	l->owner = reader_u64(&r);
	l->first = reader_u64(&r);
	l->last = reader_u64(&r);
	l->asked = reader_u64(&r);
	l->token = reader_u64(&r);
	l->since = reader_u64(&r);
	l->seq = reader_u64(&r);
	l->pid = reader_u32(&r);
	l->flags = reader_u32(&r);
	return check_lock(id, l);
}

/* ---- G ---- */

void record_put_membership(struct buf *b, const struct record_membership *m)
{
	buf_put_u64(b, m->pos.index);
	buf_put_u64(b, m->pos.term);
	buf_put(b, m->conf.p, m->conf.len);
}

const char *record_get_membership(struct engine_bytes v, struct record_membership *m)
{
	struct reader r = reader_of(v.p, v.len);

	m->pos.index = reader_u64(&r);
	m->pos.term = reader_u64(&r);
	if (r.bad)
		return "too short";
	m->conf.len = reader_left(&r);
	if (m->conf.len > STORE_MEMBERSHIP_BYTES_MAX)
		return "too long";
	m->conf.p = reader_bytes(&r, m->conf.len);
	return NULL;
}

/* ---- S and R ---- */

void record_put_session(struct buf *b, uint64_t timeout_ms)
{
	buf_put_u64(b, timeout_ms);
}

const char *record_get_session(struct engine_bytes v, uint64_t *timeout_ms)
{
	if (v.len != 8)
		return "wrong length";
	*timeout_ms = get_le64(v.p);
	return NULL;
}

void record_put_reply(struct buf *b, const struct record_reply *r)
{
	rfs_check(r->res.data_len <= STORE_REPLY_DATA_MAX);
	buf_put_u64(b, r->seq);
	buf_put_u64(b, r->lowest);
	buf_put_u64(b, r->res.index);
	buf_put_u64(b, r->res.value);
	buf_put_u32(b, (uint32_t)r->res.err);
	buf_put_u8(b, r->res.has_attr ? 1 : 0);
	if (r->res.has_attr)
		fs_attr_put(b, &r->res.attr);
	buf_put_u32(b, r->res.data_len);
	buf_put(b, r->res.data, r->res.data_len);
}

const char *record_get_reply(struct engine_bytes v, struct record_reply *out)
{
	struct reader r = reader_of(v.p, v.len);
	uint8_t has_attr;

	*out = (struct record_reply){0};
	out->seq = reader_u64(&r);
	out->lowest = reader_u64(&r);
	out->res.index = reader_u64(&r);
	out->res.value = reader_u64(&r);
	out->res.err = (int)reader_u32(&r);
	has_attr = reader_u8(&r);
	out->res.has_attr = has_attr == 1;
	if (has_attr == 1)
		fs_attr_get(&r, &out->res.attr);
	out->res.data_len = reader_u32(&r);
	if (r.bad || has_attr > 1 || out->res.data_len != reader_left(&r))
		return "lengths do not fit";
	if (out->res.data_len > STORE_REPLY_DATA_MAX)
		return "too long";
	out->res.data = reader_bytes(&r, out->res.data_len);
	if (out->seq == 0 || out->lowest > out->seq)
		return "sequence number out of range";
	return NULL;
}

/* ---- V ---- */

void record_put_version(struct buf *b, uint32_t version)
{
	buf_put_u32(b, version);
}

const char *record_get_version(struct engine_bytes v, uint32_t *version)
{
	struct reader r = reader_of(v.p, v.len);

	*version = reader_u32(&r);
	if (r.bad || reader_left(&r) != 0)
		return "wrong length";
	return *version >= 2 ? NULL : "a version that has no record";
}

uint32_t record_format_of(uint32_t version)
{
	return version < 2 ? STORE_FORMAT_MIN : STORE_FORMAT_MAX;
}

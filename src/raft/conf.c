/* Sets of servers, their quorums, and how a configuration is written down.
 *
 * Format (little-endian), 4 + 152 n bytes:
 *
 *   0   u8   version, 1
 *   1   u8   n, members: 1 to RAFT_MEMBERS_MAX
 *   2   u16  0
 *   4   n members of 152 bytes, each id once:
 *         0   u64  id, not 0
 *         8   u8   1 voter | 2 voter of the old half | 4 learner | 8 promote; one of the first three
 *         9   u8   bytes of address
 *        10   u8   address[128], the rest 0
 *       138   u8   0[6]
 *       144   u64  incarnation, 0 if not known
 *
 * Valid: exactly that, at least one voter, nobody voter and learner, promote only with learner. */
#include "conf.h"

#include <string.h>
#include "../base/buf.h"
#include "../base/check.h"

enum {
	CONF_VERSION = 1,
	HEADER_BYTES = 4,
	MEMBER_BYTES = 152,
	ADDRESS_AT = 10,
	INCARNATION_AT = 144,
	IS_VOTER = 1,
	IS_OLD = 2,
	IS_LEARNER = 4,
	IS_PROMOTE = 8,
};

_Static_assert(RAFT_CONF_BYTES_MAX == HEADER_BYTES + RAFT_MEMBERS_MAX * MEMBER_BYTES,
               "size of a configuration");
_Static_assert(ADDRESS_AT + RAFT_ADDRESS_MAX <= INCARNATION_AT, "room for an address");

static bool has(const raft_id *ids, unsigned n, raft_id id)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

bool raft_conf_is_voter(const struct raft_conf *c, raft_id id)
{
	return has(c->voters, c->n_voters, id) || has(c->old, c->n_old, id);
}

bool raft_conf_stays_voter(const struct raft_conf *c, raft_id id)
{
	return has(c->voters, c->n_voters, id);
}

bool raft_conf_is_member(const struct raft_conf *c, raft_id id)
{
	return raft_conf_is_voter(c, id) || has(c->learners, c->n_learners, id);
}

bool raft_conf_is_learner(const struct raft_conf *c, raft_id id)
{
	return has(c->learners, c->n_learners, id) && !raft_conf_is_voter(c, id);
}

const struct raft_member *raft_conf_member(const struct raft_conf *c, raft_id id)
{
	for (unsigned i = 0; i < c->n_members; i++)
		if (c->members[i].id == id)
			return &c->members[i];
	return NULL;
}

bool raft_conf_set_member(struct raft_conf *c, raft_id id, const char *address, bool promote)
{
	size_t len = strlen(address);
	unsigned i = 0;

	while (i < c->n_members && c->members[i].id != id)
		i++;
	if (i == RAFT_MEMBERS_MAX || len > RAFT_ADDRESS_MAX)
		return false;
	c->members[i] = (struct raft_member){
	        .id = id,
	        .promote = promote,
	        .incarnation = i < c->n_members ? c->members[i].incarnation : 0,
	};
	memcpy(c->members[i].address, address, len);
	if (i == c->n_members)
		c->n_members++;
	return true;
}

bool raft_conf_set_incarnation(struct raft_conf *c, raft_id id, uint64_t incarnation)
{
	for (unsigned i = 0; i < c->n_members; i++)
		if (c->members[i].id == id) {
			c->members[i].incarnation = incarnation;
			return true;
		}
	return false;
}

/* The largest value that a majority of `ids` reaches: in descending order, the one in the place of
 * the last member a smallest majority needs. */
static uint64_t majority(const raft_id *ids, unsigned n, raft_value_fn value, const void *ctx)
{
	uint64_t sorted[RAFT_MEMBERS_MAX];

	rfs_check(n > 0 && n <= RAFT_MEMBERS_MAX);
	for (unsigned i = 0; i < n; i++) {
		uint64_t v = value(ctx, ids[i]);
		unsigned k = i;

		for (; k > 0 && sorted[k - 1] < v; k--)
			sorted[k] = sorted[k - 1];
		sorted[k] = v;
	}
	return sorted[n / 2];
}

uint64_t raft_conf_quorum(const struct raft_conf *c, raft_value_fn value, const void *ctx)
{
	if (c->n_voters == 0)
		return 0;
	uint64_t v = majority(c->voters, c->n_voters, value, ctx);

	if (c->n_old > 0) {
		uint64_t w = majority(c->old, c->n_old, value, ctx);

		v = w < v ? w : v;
	}
	return v;
}

static size_t add(raft_id *out, size_t n, const raft_id *ids, unsigned n_ids)
{
	for (unsigned i = 0; i < n_ids; i++)
		if (!has(out, (unsigned)n, ids[i]))
			out[n++] = ids[i];
	return n;
}

size_t raft_conf_members(const struct raft_conf *c, raft_id ids[3 * RAFT_MEMBERS_MAX])
{
	size_t n = add(ids, 0, c->voters, c->n_voters);

	n = add(ids, n, c->old, c->n_old);
	return add(ids, n, c->learners, c->n_learners);
}

/* ---- from one configuration to another ---- */

static bool is_set(const raft_id *ids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == 0 || has(ids, i, ids[i]))
			return false;
	return true;
}

const char *raft_conf_fault(const struct raft_conf *c)
{
	raft_id ids[3 * RAFT_MEMBERS_MAX];

	if (c->n_voters > RAFT_MEMBERS_MAX || c->n_old > RAFT_MEMBERS_MAX ||
	    c->n_learners > RAFT_MEMBERS_MAX || c->n_members > RAFT_MEMBERS_MAX)
		return "too many members";
	if (c->n_voters == 0)
		return "no voter";
	if (!is_set(c->voters, c->n_voters) || !is_set(c->old, c->n_old) ||
	    !is_set(c->learners, c->n_learners))
		return "a member is named twice, or 0";
	for (unsigned i = 0; i < c->n_learners; i++)
		if (has(c->voters, c->n_voters, c->learners[i]))
			return "a learner that votes";
	if (raft_conf_members(c, ids) > RAFT_MEMBERS_MAX)
		return "too many members";
	return NULL;
}

static bool same_set(const raft_id *a, unsigned n_a, const raft_id *b, unsigned n_b)
{
	for (unsigned i = 0; i < n_a; i++)
		if (!has(b, n_b, a[i]))
			return false;
	return n_a == n_b;
}

static bool same_member(const struct raft_conf *a, const struct raft_conf *b, raft_id id)
{
	static const struct raft_member none;
	const struct raft_member *x = raft_conf_member(a, id), *y = raft_conf_member(b, id);

	x = x != NULL ? x : &none;
	y = y != NULL ? y : &none;
	return x->promote == y->promote && x->incarnation == y->incarnation &&
	       strcmp(x->address, y->address) == 0;
}

bool raft_conf_same(const struct raft_conf *a, const struct raft_conf *b)
{
	raft_id ids[3 * RAFT_MEMBERS_MAX];
	size_t n = raft_conf_members(a, ids);

	for (size_t i = 0; i < n; i++)
		if (!same_member(a, b, ids[i]))
			return false;
	return same_set(a->voters, a->n_voters, b->voters, b->n_voters) &&
	       same_set(a->old, a->n_old, b->old, b->n_old) &&
	       same_set(a->learners, a->n_learners, b->learners, b->n_learners);
}

/* What `first` says of the members of `out`, or else `second`. */
static void name_members(struct raft_conf *out, const struct raft_conf *first,
                         const struct raft_conf *second)
{
	raft_id ids[3 * RAFT_MEMBERS_MAX];
	size_t n = raft_conf_members(out, ids);

	out->n_members = 0;
	for (size_t i = 0; i < n; i++) {
		const struct raft_member *m = raft_conf_member(first, ids[i]);

		if (m == NULL && second != NULL)
			m = raft_conf_member(second, ids[i]);
		if (m == NULL)
			continue;
		rfs_check(raft_conf_set_member(out, m->id, m->address,
		                               m->promote &&
		                                       has(out->learners, out->n_learners, m->id)));
		rfs_check(raft_conf_set_incarnation(out, m->id, m->incarnation));
	}
}

bool raft_conf_enter(struct raft_conf *out, const struct raft_conf *from,
                     const struct raft_conf *to)
{
	struct raft_conf named = *to;

	*out = *to;
	out->n_old = 0;
	if (!same_set(from->voters, from->n_voters, to->voters, to->n_voters)) {
		memcpy(out->old, from->voters, sizeof(out->old));
		out->n_old = from->n_voters;
	}
	if (raft_conf_fault(out) != NULL)
		return false;
	name_members(out, &named, from);
	return true;
}

void raft_conf_leave(struct raft_conf *out, const struct raft_conf *joint)
{
	*out = *joint;
	memset(out->old, 0, sizeof(out->old));
	out->n_old = 0;
	name_members(out, joint, NULL);
}

/* ---- on disk and wire ---- */

size_t raft_conf_encode(const struct raft_conf *c, uint8_t out[RAFT_CONF_BYTES_MAX])
{
	raft_id ids[3 * RAFT_MEMBERS_MAX];
	size_t n = raft_conf_members(c, ids);

	rfs_check(raft_conf_fault(c) == NULL);
	memset(out, 0, HEADER_BYTES + n * MEMBER_BYTES);
	out[0] = CONF_VERSION;
	out[1] = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = out + HEADER_BYTES + i * MEMBER_BYTES;
		const struct raft_member *m = raft_conf_member(c, ids[i]);
		bool learner = has(c->learners, c->n_learners, ids[i]);
		unsigned flags = has(c->voters, c->n_voters, ids[i]) ? IS_VOTER : 0;

		flags |= has(c->old, c->n_old, ids[i]) ? IS_OLD : 0;
		flags |= learner ? IS_LEARNER : 0;
		flags |= learner && m != NULL && m->promote ? IS_PROMOTE : 0;
		put_le64(p, ids[i]);
		p[8] = (uint8_t)flags;
		if (m == NULL)
			continue;
		p[9] = (uint8_t)strlen(m->address);
		memcpy(p + ADDRESS_AT, m->address, p[9]);
		put_le64(p + INCARNATION_AT, m->incarnation);
	}
	return HEADER_BYTES + n * MEMBER_BYTES;
}

static bool decode_member(struct raft_conf *c, const uint8_t *p)
{
	char address[RAFT_ADDRESS_MAX + 1] = "";
	raft_id id = get_le64(p);
	unsigned flags = p[8];
	size_t len = p[9];

	if (len > RAFT_ADDRESS_MAX || (flags & (IS_VOTER | IS_OLD | IS_LEARNER)) == 0 ||
	    flags > (IS_VOTER | IS_OLD | IS_LEARNER | IS_PROMOTE) ||
	    (flags & (IS_LEARNER | IS_PROMOTE)) == IS_PROMOTE || raft_conf_is_member(c, id))
		return false;
	memcpy(address, p + ADDRESS_AT, len);
	if (strlen(address) != len)
		return false;
	for (size_t i = ADDRESS_AT + len; i < INCARNATION_AT; i++)
		if (p[i] != 0)
			return false;
	if ((flags & IS_VOTER) != 0)
		c->voters[c->n_voters++] = id;
	if ((flags & IS_OLD) != 0)
		c->old[c->n_old++] = id;
	if ((flags & IS_LEARNER) != 0)
		c->learners[c->n_learners++] = id;
	return raft_conf_set_member(c, id, address, (flags & IS_PROMOTE) != 0) &&
	       raft_conf_set_incarnation(c, id, get_le64(p + INCARNATION_AT));
}

bool raft_conf_decode(struct raft_conf *c, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	*c = (struct raft_conf){0};
	if (p == NULL || n < HEADER_BYTES || p[0] != CONF_VERSION || p[1] == 0 ||
	    p[1] > RAFT_MEMBERS_MAX || get_le16(p + 2) != 0 ||
	    n != HEADER_BYTES + (size_t)p[1] * MEMBER_BYTES)
		return false;
	for (size_t i = 0; i < p[1]; i++)
		if (!decode_member(c, p + HEADER_BYTES + i * MEMBER_BYTES))
			return false;
	return raft_conf_fault(c) == NULL;
}

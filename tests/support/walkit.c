#include "walkit.h"

#include <stdio.h>
#include <string.h>
#include "../../src/base/mem.h"

void walkit_init(struct walkit *k, uint64_t seed, uint64_t segment_bytes)
{
	*k = (struct walkit){.fs = memfs_new(seed)};
	k->opts = (struct wal_opts){
	        .ops = memfs_ops(k->fs),
	        .identity = {.cluster = "demo", .node_id = 3, .incarnation = 0x1234 + seed},
	        .segment_bytes = segment_bytes,
	};
}

void walkit_free(struct walkit *k)
{
	walkit_close(k);
	memfs_free(k->fs);
	k->fs = NULL;
}

int walkit_open(struct walkit *k)
{
	k->err = (struct rfs_err){0};
	k->opts.ops = memfs_ops(k->fs);
	return wal_open(&k->w, WALKIT_DIR, &k->opts, &k->rec, &k->err);
}

void walkit_close(struct walkit *k)
{
	wal_close(k->w);
	k->w = NULL;
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

struct raft_entry walkit_entry(raft_index index, raft_term term, uint8_t space[WALKIT_PAYLOAD_MAX])
{
	uint64_t seed = mix(index * 1000003 + term);
	uint32_t len =
	        seed % 8 == 0 ? 0 : (uint32_t)(seed % 4 == 1 ? seed / 8 % 700 : seed / 8 % 90);

	for (uint32_t i = 0; i < len; i++)
		space[i] = (uint8_t)(mix(seed + i) | 1);
	return (struct raft_entry){.pos = {index, term},
	                           .kind = len == 0 ? RAFT_ENTRY_NOOP : RAFT_ENTRY_COMMAND,
	                           .len = len,
	                           .data = space};
}

bool walkit_entry_right(const struct raft_entry *e)
{
	uint8_t space[WALKIT_PAYLOAD_MAX];
	struct raft_entry want = walkit_entry(e->pos.index, e->pos.term, space);

	return e->kind == want.kind && e->len == want.len &&
	       (e->len == 0 || memcmp(e->data, want.data, e->len) == 0);
}

void walkit_term(struct walkit *k, raft_term term)
{
	wal_set_state(k->w, term, 1, term);
}

void walkit_append(struct walkit *k, raft_index first, raft_index last, raft_term term,
                   uint64_t epoch)
{
	uint8_t space[WALKIT_PAYLOAD_MAX];

	for (raft_index i = first; i <= last; i++) {
		struct raft_entry e = walkit_entry(i, term, space);

		wal_append(k->w, &e, 1, epoch);
		memset(space, 0xee, sizeof(space));
	}
}

void walkit_run(struct walkit *k)
{
	while (wal_work(k->w))
		;
	k->err = (struct rfs_err){0};
	wal_poll(k->w, &k->done, &k->err);
}

bool walkit_all_right(struct walkit *k)
{
	struct raft_entry e[16];
	raft_index next = wal_base(k->w).index + 1;

	while (next <= wal_last(k->w).index) {
		ssize_t n = wal_read(k->w, next, 16, 2000, e, &k->err);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n; i++, next++)
			if (e[i].pos.index != next || !walkit_entry_right(&e[i]))
				return false;
	}
	return true;
}

const char *walkit_segment(uint64_t seq)
{
	static _Thread_local char path[64];

	(void)snprintf(path, sizeof(path), WALKIT_SEGMENT, (unsigned long long)seq);
	return path;
}

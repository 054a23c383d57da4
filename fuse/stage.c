/* The way of a group's bytes to a file without a name, where nobody else looks. */
#include <stdlib.h>
#include <sys/stat.h>
#include <utlist.h>
#include "group_priv.h"
#include "../src/base/err.h"
#include "../src/base/mem.h"

/* Whatever became of a request for the staging file, the group's own file is certainly as it was. */
static int code_of(int err)
{
	switch (err) {
	case RFS_EUNKNOWN: return RFS_ENOQUORUM;
	case RFS_ESESSION: return -ESTALE; /* it went with the session */
	default: return err;
	}
}

static void made(struct request *r, const struct fs_result *res)
{
	struct group *g = group_answered(r);

	if (res->err != 0)
		group_fail(g, code_of(res->err));
	else
		g->stage = res->attr.ino;
	group_push(g);
}

static void make(struct group *g)
{
	struct fs_op op = {
	        .kind = FS_OP_MKNOD,
	        .parent = FS_ROOT_INO,
	        .mode = S_IFREG | 0600,
	        .flags = FS_F_TMPFILE,
	};

	g->staging = true;
	group_ask(g, &op, made);
}

static void written(struct request *r, const struct fs_result *res)
{
	struct group *g = group_answered(r);
	struct flight *f;

	DL_SEARCH_SCALAR(g->flights, f, range.offset, r->args.op.offset);
	DL_DELETE(g->flights, f);
	group_count(g, 0 - (size_t)f->range.len, 0 - (size_t)f->range.len);
	free(f);
	if (res->err != 0)
		group_fail(g, code_of(res->err));
	group_wake(g);
}

/* One WRITE of what stands at the front of `e`. */
static void send_piece(struct group *g, struct extent *e)
{
	struct flight *f = mem_zalloc(sizeof(*f));
	size_t n = e->bytes.len < FS_WRITE_BYTES_MAX ? e->bytes.len : FS_WRITE_BYTES_MAX;
	struct fs_op op = {
	        .kind = FS_OP_WRITE,
	        .ino = g->stage,
	        .offset = e->offset,
	        .data = e->bytes.data,
	        .data_len = (uint32_t)n,
	};

	f->range = (struct fs_range){e->offset, n};
	DL_APPEND(g->flights, f);
	group_count(g, 0, n);
	group_ask(g, &op, written);
	extents_drop_front(&g->memory, e, n);
}

bool stage_overlaps_flight(const struct group *g, uint64_t offset, uint64_t end)
{
	const struct flight *f;

	DL_FOREACH (g->flights, f) {
		if (f->range.offset < end && offset < f->range.offset + f->range.len)
			return true;
	}
	return false;
}

static bool is_read_waiting(const struct group *g)
{
	const struct request *r;

	DL_FOREACH2(g->inode->waiting, r, wait_next)
	{
		if (r->args.op.kind == FS_OP_READ)
			return true;
	}
	return false;
}

/* What is to be sent next, which is not what may overtake an older WRITE to the same place. A read waits for all that
 * is under way in its range: as long as there may be more all the time it would wait for ever. */
static struct extent *next_piece(const struct group *g)
{
	struct extent *e;

	if (!g->committing && !g->squeezed && (!group_is_heavy(g) || is_read_waiting(g)))
		return NULL;
	DL_FOREACH (g->memory.first, e) {
		if (!stage_overlaps_flight(g, e->offset, extent_end(e)))
			return e;
	}
	return NULL;
}

bool stage_push(struct group *g)
{
	struct extent *e;

	if (!g->staging)
		make(g);
	if (g->stage == 0)
		return false;
	while (g->code == 0 && (e = next_piece(g)) != NULL)
		send_piece(g, e);
	return g->memory.first == NULL && g->flights == NULL;
}

static void given_up(struct request *r, const struct fs_result *res)
{
	(void)r;
	(void)res;
}

void stage_give_up(struct group *g)
{
	if (g->stage != 0 && !g->mount->closing)
		request_start(g->mount, NULL,
		              &(const struct request_args){
		                      .op = {.kind = FS_OP_RELEASE, .ino = g->stage},
		                      .done = given_up,
		                      .quiet = true,
		                      .patient = true,
		              });
}

/* The inside of a group, shared by group.c (its life), admit.c (who may add to it), stage.c (its way to a file without a
 * name), look.c (how reads see it). */
#ifndef RFS_FUSE_GROUP_PRIV_H
#define RFS_FUSE_GROUP_PRIV_H

#include "extents.h"
#include "group.h"

#define GROUP_MAGIC 0x67727021u

/* A WRITE to the staging file that is not answered. */
struct flight {
	struct fs_range range;
	struct flight *prev, *next;
};

struct group {
	uint32_t magic;
	struct mount *mount;
	struct inode *inode;
	uint64_t serial;
	/* Of the commit: TRUNC or APPEND, KILL_SUID, a fence. With APPEND offsets count from the end of the
	 * file. */
	uint32_t flags;
	uint64_t lock_owner, lock_token; /* of the fence */
	struct file *truncator;          /* whose truncation it carries; NULL */
	bool was_empty;                  /* as far as is known: ADOPT copies nothing */
	struct extents memory;           /* what is not on its way yet */
	struct ranges ranges;            /* all of it; empty with TRUNC */
	uint64_t end;                    /* of all of it */
	int64_t changed_ns;              /* when something was written last */

	uint64_t stage; /* the file without a name; 0: there is none */
	bool staging;   /* from its MKNOD on */
	bool squeezed;  /* everything is to go there, to make room */
	struct flight *flights;
	size_t unanswered; /* bytes of them */

	unsigned n_requests; /* of its own */
	bool committing, sent;
	uint64_t deadline_ms;      /* of the commit */
	int code;                  /* what it has failed with */
	bool pushing, again;       /* group_push() runs, is to run again */
	struct group *prev, *next; /* mount->groups: written last at the end */
};

/* A flush or an fsync. */
static inline bool is_barrier(const struct request *r)
{
	return r->args.op.kind == FS_OP_NONE;
}

static inline bool is_look(enum fs_op_kind kind)
{
	return kind == FS_OP_READ || kind == FS_OP_GETATTR;
}

/* Do what can be done next; begin the commit. `g` may be gone afterwards. */
void group_push(struct group *g);
void group_commit(struct group *g);
/* Whether what the servers say may be with what it appends or without. */
bool group_appends_now(const struct group *g);
/* Start a request of the group's own, which it counts; group_answered() is the first thing its `done` does. */
void group_ask(struct group *g, const struct fs_op *op, request_done done);
struct group *group_answered(const struct request *r);
void group_fail(struct group *g, int code);
void group_count(struct group *g, size_t bytes, size_t unanswered); /* more of them */
bool group_is_heavy(const struct group *g); /* too much, or too many pieces, to stay in memory */
/* Those that waited look again; then as group_push(). */
void group_wake(struct group *g);

/* stage.c: make the file, send what is to go there; true: all of it is there and acknowledged. */
bool stage_push(struct group *g);
bool stage_overlaps_flight(const struct group *g, uint64_t offset, uint64_t end);
void stage_give_up(struct group *g);

#endif

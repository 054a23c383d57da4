/* Is a history of one key linearizable? (Wing & Gong, "Testing and Verifying Concurrent Objects",
 * 1993, with the memo of Lowe, "Testing for Linearizability", 2017.)
 *
 * The key is a file that is replaced as a whole, with or without a condition, appended to, and read as a whole. Its state is the
 * sequence of the numbers written to it, folded into one hash. A change without an answer may have
 * happened at any time after it was asked for, or never. */
#ifndef RFS_SIM_LINEAR_H
#define RFS_SIM_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linear_kind {
	LINEAR_REPLACE,
	LINEAR_APPEND,
	LINEAR_READ,
	LINEAR_SWAP, /* replaces if the key is as expected; answered: if `refused`, it was not */
};

#define LINEAR_NEVER UINT64_MAX

struct linear_op {
	enum linear_kind kind;
	unsigned client;
	uint64_t called, answered; /* LINEAR_NEVER: no answer; reads without one are left out */
	uint64_t
	        value; /* REPLACE, APPEND, SWAP: the number; READ: linear_fold() of what was seen */
	uint64_t place;    /* APPEND, answered: how many numbers stood before it */
	uint64_t expected; /* SWAP: linear_fold() of it */
	bool refused;
	uint64_t more; /* REPLACE, APPEND: numbers behind the first, see linear_number() */
};

struct linear_state {
	uint64_t hash, count;
};

/* The empty file is {0, 0}; fold a further number into it. */
struct linear_state linear_fold(struct linear_state s, uint64_t value);

/* The i-th number of an operation that writes several. */
static inline uint64_t linear_number(uint64_t value, uint64_t i)
{
	return value + (i << 32);
}

/* Fold all of an operation's numbers. */
struct linear_state linear_fold_all(struct linear_state s, uint64_t value, uint64_t more);

/* True if there is an order. `ops` may be reordered. A key starts empty. */
bool linear_check(struct linear_op *ops, size_t n);

#endif

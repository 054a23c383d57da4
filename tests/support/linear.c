#include "linear.h"

#include <stdlib.h>
#include <string.h>
#include "../../src/base/check.h"
#include "../../src/base/mem.h"

struct linear_state linear_fold(struct linear_state s, uint64_t value)
{
	uint64_t z = (s.hash ^ value) * 0x9e3779b97f4a7c15u + s.count + 1;

	z = (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9u;
	return (struct linear_state){z ^ (z >> 32), s.count + 1};
}

struct linear_state linear_fold_all(struct linear_state s, uint64_t value, uint64_t more)
{
	for (uint64_t i = 0; i <= more; i++)
		s = linear_fold(s, linear_number(value, i));
	return s;
}

/* The search walks the history's calls and answers in time order as a doubly linked list;
 * linearizing an operation lifts its two nodes out, backtracking puts them back. */
struct node {
	size_t op;
	bool is_call;
	uint64_t at;
	struct node *match, *prev, *next;
};

struct memo {
	uint64_t *slot; /* hashes of (set of linearized operations, state); 0: free */
	size_t cap, n;
};

struct search {
	const struct linear_op *ops;
	size_t n;
	struct node head, *nodes;
	uint64_t *keys; /* one random number an operation: the set's hash is their sum */
	uint64_t set;
	size_t left; /* answered operations not yet linearized */
	struct memo memo;
	struct {
		struct node *call;
		struct linear_state before;
	} * stack;
	size_t depth;
};

static int by_time(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	/* at one instant calls come first: operations that touch are concurrent */
	return (int)y->is_call - (int)x->is_call;
}

static bool memo_add(struct memo *m, uint64_t key)
{
	size_t i;

	key |= 1;
	if ((m->n + 1) * 2 > m->cap) {
		struct memo bigger = {.cap = m->cap > 0 ? m->cap * 2 : 1024};

		bigger.slot = mem_calloc(bigger.cap, sizeof(*bigger.slot));
		for (size_t k = 0; k < m->cap; k++)
			if (m->slot[k] != 0)
				(void)memo_add(&bigger, m->slot[k]);
		free(m->slot);
		*m = bigger;
	}
	for (i = (key >> 1) % m->cap; m->slot[i] != 0; i = (i + 1) % m->cap)
		if (m->slot[i] == key)
			return false;
	m->slot[i] = key;
	m->n++;
	return true;
}

/* One without an answer was refused or not, whichever it was. */
static bool swaps(const struct linear_op *op, struct linear_state *s)
{
	bool refused = s->hash != op->expected;

	if (op->answered != LINEAR_NEVER && op->refused != refused)
		return false;
	if (!refused)
		*s = linear_fold((struct linear_state){0, 0}, op->value);
	return true;
}

/* Whether `op` may come next in state *s; *s becomes the state behind it. */
static bool takes_effect(const struct linear_op *op, struct linear_state *s)
{
	switch (op->kind) {
	case LINEAR_READ: return s->hash == op->value;
	case LINEAR_REPLACE:
		*s = linear_fold_all((struct linear_state){0, 0}, op->value, op->more);
		return true;
	case LINEAR_SWAP: return swaps(op, s);
	case LINEAR_APPEND:
		if (op->answered != LINEAR_NEVER && op->place != s->count)
			return false;
		*s = linear_fold_all(*s, op->value, op->more);
		return true;
	}
	return false;
}

static void lift(struct node *call)
{
	struct node *ret = call->match;

	call->prev->next = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	ret->prev->next = ret->next;
	if (ret->next != NULL)
		ret->next->prev = ret->prev;
}

static void put_back(struct node *call)
{
	struct node *ret = call->match;

	ret->prev->next = ret;
	if (ret->next != NULL)
		ret->next->prev = ret;
	call->prev->next = call;
	if (call->next != NULL)
		call->next->prev = call;
}

static void build(struct search *s)
{
	struct node **calls = mem_calloc(s->n, sizeof(struct node *));
	uint64_t mix = 0x243f6a8885a308d3u;

	for (size_t i = 0; i < s->n; i++) {
		s->nodes[2 * i] = (struct node){.op = i, .is_call = true, .at = s->ops[i].called};
		s->nodes[2 * i + 1] = (struct node){.op = i, .at = s->ops[i].answered};
		s->left += s->ops[i].answered != LINEAR_NEVER;
		mix = mix * 6364136223846793005u + 1442695040888963407u;
		s->keys[i] = mix ^ (mix >> 29);
	}
	qsort(s->nodes, 2 * s->n, sizeof(*s->nodes), by_time);
	s->head.next = s->n > 0 ? s->nodes : NULL;
	for (size_t i = 0; i < 2 * s->n; i++) {
		struct node *node = &s->nodes[i];

		node->prev = i > 0 ? &s->nodes[i - 1] : &s->head;
		node->next = i + 1 < 2 * s->n ? &s->nodes[i + 1] : NULL;
		if (node->is_call) {
			calls[node->op] = node;
		} else {
			node->match = calls[node->op];
			node->match->match = node;
		}
	}
	free(calls);
}

static bool run(struct search *s)
{
	struct linear_state state = {0, 0};
	struct node *at = s->head.next;

	while (s->left > 0) {
		rfs_check(at != NULL);
		if (at->is_call) {
			const struct linear_op *op = &s->ops[at->op];
			struct linear_state next = state;

			if (takes_effect(op, &next) &&
			    memo_add(&s->memo, (s->set + s->keys[at->op]) ^ (next.hash * 3))) {
				s->stack[s->depth].call = at;
				s->stack[s->depth++].before = state;
				s->set += s->keys[at->op];
				s->left -= op->answered != LINEAR_NEVER;
				state = next;
				lift(at);
				at = s->head.next;
				continue;
			}
			at = at->next;
			continue;
		}
		/* An answer whose call is still here: nothing that may come first is left. Take
		 * back. */
		if (s->depth == 0)
			return false;
		s->depth--;
		at = s->stack[s->depth].call;
		state = s->stack[s->depth].before;
		s->set -= s->keys[at->op];
		s->left += s->ops[at->op].answered != LINEAR_NEVER;
		put_back(at);
		at = at->next;
	}
	return true;
}

bool linear_check(struct linear_op *ops, size_t n)
{
	struct search s = {.ops = ops, .n = n};
	bool ok;

	s.nodes = mem_calloc(2 * n, sizeof(*s.nodes));
	s.keys = mem_calloc(n, sizeof(*s.keys));
	s.stack = mem_calloc(n, sizeof(*s.stack));
	build(&s);
	ok = run(&s);
	free(s.nodes);
	free(s.keys);
	free(s.stack);
	free(s.memo.slot);
	return ok;
}

/* The words that consensus, the log and the state machine share: a position in the log and an
 * entry. They stand here because those three know nothing of each other. */
#ifndef RFS_BASE_ENTRY_H
#define RFS_BASE_ENTRY_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t raft_index; /* 1 is the first entry; 0 is "before the log" */
typedef uint64_t raft_term;  /* 0 is "before the first election" */
typedef uint64_t raft_id;    /* a server; 0 is "none" */

/* A position in the log. By the Log Matching Property (Raft, section 5.3) it names a whole
 * prefix. */
struct raft_pos {
	raft_index index;
	raft_term term;
};

enum raft_entry_kind {
	RAFT_ENTRY_NOOP = 0,    /* opens a leader's term; no payload */
	RAFT_ENTRY_COMMAND = 1, /* payload: a command for the state machine */
	RAFT_ENTRY_CONFIG = 2,  /* payload: a membership configuration */
	RAFT_ENTRY_VERSION = 3, /* payload: the cluster's protocol version from here on (op.h) */
};

#define RAFT_ENTRY_KIND_MAX RAFT_ENTRY_VERSION

#define RAFT_ENTRY_BYTES_MAX (2u << 20) /* largest payload of one entry */

struct raft_entry {
	struct raft_pos pos;
	enum raft_entry_kind kind;
	uint32_t len;     /* bytes at data */
	const void *data; /* borrowed: each function says until when */
};

#endif

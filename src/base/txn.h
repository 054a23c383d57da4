/* A transaction: several conditions on keys and several changes, carried out as one log entry, all
 * of them or none. It stands in the data of an operation of kind FS_OP_TXN. */
#ifndef RFS_BASE_TXN_H
#define RFS_BASE_TXN_H

#include "buf.h"
#include "op.h"

#define FS_TXN_STEPS_MAX 1024u

/* Numbers are part of the wire and the log. */
enum fs_txn_kind {
	FS_TXN_IF_VERSION = 1, /* key version; 0: there is none */
	FS_TXN_IF_VALUE = 2,   /* key data: a file with exactly these bytes */
	FS_TXN_IF_EXISTS = 3,  /* key */
	FS_TXN_IF_ABSENT = 4,  /* key */
	FS_TXN_SET = 5,        /* key data; as FS_OP_PUT */
	FS_TXN_DELETE = 6,     /* key; as FS_OP_DELETE */
};

struct fs_txn_step {
	enum fs_txn_kind kind;
	struct fs_str key;
	uint64_t version;
	const void *data; /* borrowed */
	uint32_t data_len;
};

void fs_txn_put(struct buf *b, const struct fs_txn_step *step);
/* Key and data are borrowed from the source. False at the end, or with r->bad. */
bool fs_txn_next(struct reader *r, struct fs_txn_step *step);

#endif

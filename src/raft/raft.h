/* The Raft consensus algorithm as a pure function: events in, effects out.
 *
 * It follows Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended
 * version, 2014; "the paper") and Ongaro's dissertation ("the thesis", 2014). There is no I/O,
 * clock, thread or true randomness in here: time comes with each event, the seed with the options.
 * The same events give the same effects, bit for bit; so the golden tests, the simulator and raftd
 * drive the same code.
 *
 * How it is driven: call raft_step() with one event, carry out everything in `out` before the next
 * call, and once per turn of the loop send RAFT_EV_FLUSH, which is when a leader's AppendEntries
 * and read rounds go out (one message a peer, whatever came in during the turn).
 *
 * The core sees no payload but that of configurations. It keeps term and size of each entry of the
 * log; the bytes pass from the event to `out->append`, and a message to be sent names a range of
 * the log (`first`, `n`) that the caller fills from its log before anything else happens.
 *
 * Durability. Every change of hard state and every append is handed out with an epoch, and the
 * caller reports it back when it is on disk. The core holds back whatever depends on it: no message
 * of a term leaves before that term and its vote are durable, an AppendEntries is acknowledged only
 * as far as the log is durable, and the leader counts itself only so far. So whatever stands in
 * `out->msgs` may be sent at once. A truncation starts a new epoch of the log: a completion of an
 * older one says nothing about what stands there now, and is ignored.
 *
 * Thread: one at a time. */
#ifndef RFS_RAFT_RAFT_H
#define RFS_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../base/entry.h"

#define RAFT_MEMBERS_MAX                                                                           \
	15 /* voters and learners together, of both halves of a joint configuration */

struct raft;

enum raft_role {
	RAFT_FOLLOWER,
	RAFT_PRE_CANDIDATE,
	RAFT_CANDIDATE,
	RAFT_LEADER,
};

const char *raft_role_name(enum raft_role role); /* "follower" … */

/* ---- configuration ---- */

#define RAFT_ADDRESS_MAX 128 /* bytes of "host:port" */

/* What all servers know of one; the core carries it and uses none of it. */
struct raft_member {
	raft_id id;
	bool promote; /* a learner: to be made a voter as soon as it has caught up */
	/* Of its data directory: another one means that it has lost what it promised. 0: not known
	 * yet. */
	uint64_t incarnation;
	char address[RAFT_ADDRESS_MAX + 1];
};

/* Who counts. While `n_old` > 0 the configuration is joint (section 6): a decision then needs a
 * majority of `voters` and a majority of `old`. Learners receive the log and count for nothing; a
 * voter that is to become one is in `old` and in `learners` until then. An empty configuration is
 * that of a server which waits to be added: it takes the log of whoever leads and never stands. */
struct raft_conf {
	raft_id voters[RAFT_MEMBERS_MAX], old[RAFT_MEMBERS_MAX], learners[RAFT_MEMBERS_MAX];
	unsigned n_voters, n_old, n_learners;
	struct raft_member members[RAFT_MEMBERS_MAX]; /* in any order; some may be missing */
	unsigned n_members;
};

bool raft_conf_is_voter(const struct raft_conf *c, raft_id id);   /* of either half */
bool raft_conf_is_learner(const struct raft_conf *c, raft_id id); /* and not a voter */
bool raft_conf_is_member(const struct raft_conf *c, raft_id id);
/* What is known of `id`; NULL: nothing. */
const struct raft_member *raft_conf_member(const struct raft_conf *c, raft_id id);
/* Add or replace; false: no room, or an address that is too long. */
bool raft_conf_set_member(struct raft_conf *c, raft_id id, const char *address, bool promote);
/* Of a member that has been set; false: it has not. */
bool raft_conf_set_incarnation(struct raft_conf *c, raft_id id, uint64_t incarnation);

/* The payload of a CONFIG entry, and how a configuration is kept elsewhere: see conf.c. */
#define RAFT_CONF_BYTES_MAX (4u + RAFT_MEMBERS_MAX * 152u)
size_t raft_conf_encode(const struct raft_conf *c, uint8_t out[RAFT_CONF_BYTES_MAX]);
/* False: these bytes are no configuration. */
bool raft_conf_decode(struct raft_conf *c, const void *p, size_t n);

/* ---- messages ---- */

enum raft_msg_kind {
	RAFT_MSG_PRE_VOTE = 1, /* thesis 9.6: would you vote for me in `term`? */
	RAFT_MSG_PRE_VOTE_RESP = 2,
	RAFT_MSG_VOTE = 3, /* RequestVote */
	RAFT_MSG_VOTE_RESP = 4,
	RAFT_MSG_APPEND = 5, /* AppendEntries; n = 0 is a heartbeat or a probe */
	RAFT_MSG_APPEND_RESP = 6,
	RAFT_MSG_READ = 7, /* follower to leader: at which index may I answer reads? */
	RAFT_MSG_READ_RESP = 8,
	RAFT_MSG_TIMEOUT_NOW = 9, /* leadership transfer: stand for election now */
};

#define RAFT_MSG_KIND_MAX RAFT_MSG_TIMEOUT_NOW

const char *raft_msg_name(enum raft_msg_kind kind);

struct raft_msg {
	enum raft_msg_kind kind;
	raft_id from, to;
	raft_term term; /* the sender's, except PRE_VOTE and a granted PRE_VOTE_RESP: the term asked
	                   for */

	/* PRE_VOTE, VOTE, TIMEOUT_NOW: the sender's last entry. APPEND: the entry before the first
	 * one sent. APPEND_RESP: accepted: the last entry known to match and to be durable here;
	 * rejected: hint, the last position at which the logs may agree (largest index whose term
	 * <= prev's term). */
	struct raft_pos pos;
	raft_index commit; /* APPEND: leader's commit index */
	/* APPEND_RESP: rejected: `pos.index` of the APPEND it answers; accepted: the last entry
	 * known to match, durable or not: where to go on sending, never a match. */
	/* PRE_VOTE_RESP: rejected: the index of a committed configuration without the candidate; or
	 * 0. */
	raft_index last;
	uint64_t round;        /* APPEND, APPEND_RESP: the newest read round; echoed back */
	uint64_t read_ctx;     /* READ, READ_RESP: the follower's own number for its batch */
	raft_index read_index; /* READ_RESP: where to read; with `reject`, none */
	bool reject;
	bool force; /* VOTE: leadership transfer, stickiness does not apply */

	raft_index first; /* APPEND sent: entries are log[first … first + n) */
	size_t n;
	const struct raft_entry
	        *entries; /* APPEND received: n of them, borrowed during raft_step() */
};

/* ---- events ---- */

enum raft_event_kind {
	RAFT_EV_TICK,          /* time has passed; due at out->deadline_ms or earlier */
	RAFT_EV_FLUSH,         /* end of a turn: send what has gathered */
	RAFT_EV_MSG,           /* msg */
	RAFT_EV_PROPOSE,       /* propose */
	RAFT_EV_READ,          /* read: a batch of local reads under one number */
	RAFT_EV_LOG_DURABLE,   /* durable: the log up to `pos` of `epoch` */
	RAFT_EV_STATE_DURABLE, /* durable: hard state `epoch` */
	RAFT_EV_CAMPAIGN,      /* stand for election now, without pre-vote */
	RAFT_EV_PEER_DOWN, /* peer: the connection to it is lost; what was in flight may be too */
	/* snapshot: the transfer to `peer` (out->snapshot_to) has ended. `pos`: it has installed a
	 * snapshot of that position; index 0: it failed, and is asked for again if it is still
	 * needed. */
	RAFT_EV_SNAPSHOT_STATUS,
	/* snapshot: one of `pos` has been installed here, durably, and holds the configuration
	 * `conf` of `conf_index` (NULL: none was ever applied). Only after raft_snapshot_fate() in
	 * the same turn, and with the log dealt with as that said. Error: -ESTALE, and nothing has
	 * changed. */
	RAFT_EV_SNAPSHOT_INSTALLED,
	/* snapshot: the log now begins behind `pos`, which is applied durably, and so committed. */
	RAFT_EV_LOG_CUT,
	/* conf: shall be the configuration. Not joint: the way there is ours. In force from the
	 * moment the first entry for it is appended (out->append); done when the notice
	 * CONF_COMMITTED tells of one that is not joint. What a member of `conf` is not given
	 * (address) is taken from the present configuration. Errors: RFS_ENOTLEADER; -EAGAIN: no
	 * entry of this term is committed yet; -EBUSY: another change or a transfer is under way;
	 * -EALREADY: it is in force; -EINVAL: no configuration; -E2BIG: both together exceed
	 * RAFT_MEMBERS_MAX. */
	RAFT_EV_CHANGE,
	/* peer: it shall lead instead of us; 0: whoever is best suited. Until it does, or
	 * election_max_ms have passed, proposals are refused with RFS_EBUSYLIMIT; the notices
	 * TRANSFER and TRANSFER_END tell. Errors: RFS_ENOTLEADER; -ENOENT: no such member, or
	 * nobody else is a voter; -EINVAL: it is no voter (or will cease to be one); -EBUSY: a
	 * transfer to another is under way. To ourselves, or again to the same: 0, and nothing
	 * happens. */
	RAFT_EV_TRANSFER,
	/* stalled: the disk has been at one write for so long that nobody should wait for it; or it
	 * works again. Meanwhile this server neither leads, if there is anybody else who could, nor
	 * stands, nor promises a vote that it could not give: whoever waits for a disk answers
	 * heartbeats and reads as ever, and would be a leader under which nothing is done. */
	RAFT_EV_DISK,
};

struct raft_event {
	enum raft_event_kind kind;
	uint64_t now_ms; /* monotonic; never less than in the event before */
	union {
		const struct raft_msg *msg;
		struct {
			/* kind (not CONFIG: that is CHANGE), len and data are taken; positions
			 * are given by the core. All or none. */
			const struct raft_entry *entries;
			size_t n;
		} propose;
		uint64_t read_ctx; /* unique among the caller's unanswered reads, not 0 */
		struct {
			uint64_t epoch;
			struct raft_pos pos;
		} durable;
		raft_id peer;
		const struct raft_conf *conf; /* borrowed during raft_step() */
		struct {
			raft_id peer;
			struct raft_pos pos;
			const struct raft_conf *conf;
			raft_index conf_index;
		} snapshot;
		bool stalled; /* DISK */
		bool force; /* CAMPAIGN: a leader handed over; voters need not wait for its silence
		             */
	};
};

/* ---- effects ---- */

/* What happened, for the log of the program and for tests; never needed to be correct. */
enum raft_notice_kind {
	RAFT_NOTE_ROLE,          /* was -> role, term; candidates that won: votes of voters */
	RAFT_NOTE_TERM,          /* term: a newer one was seen (peer told us) */
	RAFT_NOTE_VOTE_GRANTED,  /* we voted for peer in term; pre: only promised to */
	RAFT_NOTE_VOTE_REFUSED,  /* we refused peer; text says why */
	RAFT_NOTE_VOTE_RECEIVED, /* peer voted for us (or refused, then text) */
	RAFT_NOTE_LEADER,        /* peer: the leader now known; 0: lost */
	RAFT_NOTE_QUORUM_LOST,   /* leader steps down: a quorum has been silent */
	RAFT_NOTE_TRUNCATE,      /* index: entries from here on were replaced */
	RAFT_NOTE_CONF, /* the configuration of entry `index` is in force; text "joint" or NULL */
	RAFT_NOTE_CONF_COMMITTED, /* … is committed. Who is not in it has been removed */
	RAFT_NOTE_REMOVED,   /* peer says that configuration `index`, newer than ours, is committed
	                        without us */
	RAFT_NOTE_CAUGHT_UP, /* leader: learner `peer` keeps up and may be made a voter */
	RAFT_NOTE_TOO_SLOW,  /* leader: learner `peer` does not catch up in ten rounds */
	RAFT_NOTE_SNAPSHOT,  /* leader: peer needs a snapshot */
	RAFT_NOTE_INSTALLED, /* a snapshot up to `index` is our state */
	RAFT_NOTE_TRANSFER,  /* proposals are refused until peer has taken over */
	RAFT_NOTE_TRANSFER_END, /* a newer term took our place; or text says why not */
	RAFT_NOTE_PROTOCOL,     /* peer sent what no correct peer sends; text says what; ignored */
};

struct raft_notice {
	enum raft_notice_kind kind;
	enum raft_role role, was;
	raft_term term;
	raft_id peer;
	raft_index index;
	unsigned votes, voters;
	bool pre;
	const char *text; /* static */
};

/* Reads of the batch `ctx` may be answered from a state machine that has applied `index`; with
 * failed, they may not: the node must ask its clients to try elsewhere. */
struct raft_read_ready {
	uint64_t ctx;
	raft_index index;
	bool failed;
};

/* The effects of one step, in the order in which to carry them out. Made once by raft_out_init(),
 * reused for every step; the arrays are borrowed from the core until its next step or its end. */
struct raft_out {
	/* 0, or what was asked is refused, and nothing was done. PROPOSE: RFS_ENOTLEADER,
	 * RFS_EBUSYLIMIT (too many uncommitted bytes, or a transfer is under way). Others: at the
	 * event. */
	int error;

	bool state_changed; /* write hard state, report STATE_DURABLE{state_epoch} */
	raft_term term;
	raft_id vote;
	uint64_t state_epoch;

	/* Append these, replacing whatever stands at entries[0].pos.index and behind; report
	 * LOG_DURABLE{log_epoch, last pos}. Data borrowed from the event, or from the core until
	 * the next step: it appends configurations by itself. */
	const struct raft_entry *append;
	size_t n_append;
	uint64_t log_epoch;

	const struct raft_msg *msgs; /* send now */
	size_t n_msgs;

	/* Leader: these lack what the log does not hold any more. Send each a snapshot of a
	 * position at or above the log's base, and report SNAPSHOT_STATUS. Named once each time;
	 * void when we lead no more. Whoever cuts the log meanwhile beyond the snapshot's position
	 * makes it useless. */
	const raft_id *snapshot_to;
	size_t n_snapshot_to;

	/* Entries up to here may be applied; never goes back. A leader may learn that two others
	 * have what its own disk has not; anybody else waits for his own, so that what a restart
	 * finds on disk never contradicts what was applied (it may fall short of it). */
	raft_index commit;

	const struct raft_read_ready *reads;
	size_t n_reads;

	const struct raft_notice *notices;
	size_t n_notices;

	uint64_t deadline_ms; /* the latest time for the next TICK */
	bool want_flush;      /* there is something that only FLUSH sends */
};

void raft_out_init(struct raft_out *out);
void raft_out_free(struct raft_out *out);

/* ---- life ---- */

struct raft_opts {
	raft_id id;
	uint64_t seed;
	uint32_t election_min_ms, election_max_ms; /* timeouts are drawn from [min, max) */
	uint32_t heartbeat_ms;
	uint32_t append_bytes_max;   /* payload of one APPEND (one entry may exceed it) */
	uint32_t inflight_bytes_max; /* payload sent to a peer and not yet answered */
	uint32_t inflight_msgs_max;
	uint64_t uncommitted_bytes_max; /* beyond it PROPOSE is refused with RFS_EBUSYLIMIT */
	/* A commit index rides on the next APPEND. Where nothing else goes out, it is sent by
	 * itself after so long; 0: by the next FLUSH. Reads do not wait for it: their rounds carry
	 * it. */
	uint32_t commit_delay_ms;
};

/* What was found on disk: the log's base (the position before its first entry), term and length of
 * each entry behind it, the hard state, and up to where the state machine has already applied. That
 * may lie beyond the log's end (a leader that applied ahead of its own disk): the rest comes again
 * from the next leader, and `out->commit` starts at the log's end. Where leaders cut their logs it
 * may come no more: so a log that does not contain the position applied is dropped and begins anew
 * behind it, before we are made. */
struct raft_recovered {
	struct raft_pos base;
	/* Borrowed during raft_new(); data is needed of CONFIG entries behind `conf_index`. */
	const struct raft_entry *entries;
	size_t n;
	raft_term term;
	raft_id vote;
	raft_index applied;
	/* The newest configuration known from elsewhere than the log, and the index where it
	 * stands: the state machine's at `applied`, or what the cluster was founded with, at 0.
	 * Entries behind it override it. */
	struct raft_conf conf;
	raft_index conf_index;
};

/* A server as it comes up: follower, no leader known. Everything in `rec` is durable. Give it a
 * TICK first: that tells the first deadline, and is when a server alone in its cluster elects
 * itself. NULL: a CONFIG entry of the log holds no configuration. */
struct raft *raft_new(const struct raft_opts *opts, const struct raft_recovered *rec,
                      uint64_t now_ms);
void raft_free(struct raft *r);

/* Take one event. `out` is overwritten. */
void raft_step(struct raft *r, const struct raft_event *ev, struct raft_out *out);

/* ---- looking in ---- */

struct raft_status {
	raft_id id, leader; /* leader 0: unknown */
	enum raft_role role;
	raft_term term;
	raft_id vote;
	struct raft_pos base, last;
	raft_index durable, commit;
	uint64_t uncommitted_bytes;
	raft_index conf_index; /* where the configuration in force stands; committed if <= commit */
	raft_id transfer;      /* leader: to whom it hands over; 0: to nobody */
};

struct raft_peer_status {
	raft_id id;
	raft_index match, next;
	bool replicating; /* else probing, or: */
	bool snapshot;    /* it needs one, and gets nothing else meanwhile */
	uint64_t inflight_bytes;
	uint64_t heard_ms; /* now_ms of the last answer in this term */
	bool caught_up;    /* a learner that keeps up */
	bool leaving;      /* no member any more; it is being told */
};

void raft_get_status(const struct raft *r, struct raft_status *st);
/* A leader's view of `id`; false if not leader or no such peer. */
bool raft_get_peer(const struct raft *r, raft_id id, struct raft_peer_status *st);
const struct raft_conf *raft_get_conf(const struct raft *r); /* borrowed until the next step */
/* The configuration at `index`, which is at or below commit if it is to be kept anywhere, and where
 * it stands; NULL: not known any more. Borrowed until the next step. */
const struct raft_conf *raft_get_conf_at(const struct raft *r, raft_index index, raft_index *at);
/* What becomes of a received snapshot of `pos`. To be asked when it is complete, just before it
 * takes the place of the state machine; then, in this order: the state machine is switched durably,
 * the log dropped, the event SNAPSHOT_INSTALLED given, and nothing else in between. A crash in
 * between leaves a state machine that is ahead of the log or disagrees with it: the log is then
 * dropped at the start, by the same rule. */
enum raft_snapshot_fate {
	RAFT_SNAPSHOT_USELESS,  /* not newer than what is committed or applied here, or its term is
	                           to come */
	RAFT_SNAPSHOT_KEEP_LOG, /* the log contains `pos`: all of it stays (section 7) */
	RAFT_SNAPSHOT_DROP_LOG, /* the log begins anew behind `pos` */
};
enum raft_snapshot_fate raft_snapshot_fate(const struct raft *r, struct raft_pos pos);
/* The term at `index`: of the base, or of an entry the log holds; 0 outside. */
raft_term raft_term_at(const struct raft *r, raft_index index);

#endif

/* The inside of the core, shared by its files. A step runs through them like this:
 *
 *   raft.c       life, dispatch of events, what holds after every step
 *   election.c   roles and terms: pre-vote, vote, stickiness, check-quorum
 *   replicate.c  leader: what each peer has, what to send it next, what is committed
 *   append.c     follower: taking APPENDs, acknowledging what is durable
 *   transfer.c   leader: handing over
 *   snapshot.c   who needs a snapshot, and what one does to the log
 *   member.c     configurations: which is in force, changes, learners that catch up
 *   read.c       read index: rounds at the leader, batches forwarded by followers
 *   out.c        effects: messages and what holds them back, notices
 *   log.c, conf.c  the log's terms and sizes; quorums */
#ifndef RFS_RAFT_RAFT_PRIV_H
#define RFS_RAFT_RAFT_PRIV_H

#include "conf.h"
#include "log.h"
#include "raft.h"

/* No correct cluster gets here; a number beyond it is refused, so that sums cannot overflow. */
#define RAFT_NUMBER_MAX (1ull << 62)

#define RAFT_READS_MAX 65536u /* batches waiting at a leader; beyond it they fail at once */
#define RAFT_HELD_MAX  1024u  /* messages waiting for the hard state; the rest is lost */

/* Ordered, so that the quorum value of the votes is the outcome: >= GRANTED won, < PENDING lost. */
enum raft_vote {
	RAFT_VOTE_REFUSED,
	RAFT_VOTE_PENDING,
	RAFT_VOTE_GRANTED,
};

/* A member, ourselves included, as a candidate and a leader see it. */
struct raft_peer {
	raft_id id;
	enum raft_vote vote;

	/* Leader. An entry up to `match` is durable there; from `next` on nothing has been sent, or
	 * it must be sent again. */
	raft_index match, next;
	bool replicating; /* else probing: the log's last agreement is being searched */
	bool snapshot;    /* it needs one: see snapshot.c; also probing, and waiting */
	bool probe_sent;  /* probing: one message is under way; the next one at a heartbeat */
	uint64_t round;   /* the newest read round it has confirmed */
	uint64_t round_sent;
	raft_index commit_sent; /* how much of the commit index it has been told in usable form */
	uint64_t sent_ms;       /* last APPEND */
	uint64_t asked_ms;      /* last APPEND that is answered at once (one without entries) */
	uint64_t heard_ms;      /* last answer in this term */

	/* Replicating: entries behind `flight_from` and `match` are under way. The last index of
	 * each message that carries some, oldest at `flight_head` in a ring of
	 * opts.inflight_msgs_max. */
	raft_index flight_from;
	raft_index *flight;
	size_t flight_head, n_flight;

	uint64_t leave_ms; /* no member any more, and sent what is committed until then; else 0 */

	/* A learner: see member.c. */
	raft_index round_target;
	uint64_t round_since_ms;
	unsigned rounds; /* too long ones, in a row */
	bool caught_up;
};

struct raft_conf_at {
	raft_index index;
	struct raft_conf conf;
};

/* Reads waiting for an index. At the leader: in the order of their rounds, those without one yet
 * (round 0) at the end; `from` may be another server. Elsewhere: our own, forwarded to the
 * leader. */
struct raft_read {
	raft_id from;
	uint64_t ctx;
	uint64_t round;
	raft_index index;
	uint64_t since_ms;
};

struct raft {
	struct raft_opts opts;
	struct raft_conf conf; /* in force: that of confs[n_confs - 1] */
	struct raft_conf_at *confs;
	size_t n_confs, cap_confs;
	bool stalled;          /* the disk hangs */
	raft_index removed_at; /* a newer configuration is committed without us, others say */
	raft_index conf_told;  /* up to here it was told which ones are committed */
	uint64_t now_ms;
	uint64_t rng;

	enum raft_role role;
	bool state_dirty;     /* the hard state changed in this step, its epoch is not yet given */
	bool force;           /* candidate: our VOTEs override stickiness */
	bool ack_owed;        /* follower: entries were taken that were not durable yet */
	bool outbox_released; /* the outbox was handed out; the next step clears it */

	/* Hard state. */
	raft_term term;
	raft_id vote;
	uint64_t state_epoch, state_durable;

	struct raft_log log;
	raft_index commit;
	raft_index handed;  /* out->commit */
	raft_index applied; /* before we started; the log may end before it */

	raft_id leader;
	uint64_t leader_heard_ms;
	uint64_t elect_deadline_ms;

	/* Leader. */
	raft_term led_term;    /* the last term we led; in it nobody else does */
	raft_index term_start; /* our no-op */
	raft_id transfer;      /* to whom we hand over; 0: nobody */
	uint64_t transfer_until_ms, transfer_due_ms;

	/* Follower, towards the leader of this term. */
	raft_index verified; /* up to here the log is known to be the leader's */
	uint64_t round_seen; /* newest read round it sent */

	uint64_t round; /* the last read round given; never reused while we live */
	struct raft_read *reads;
	size_t n_reads, cap_reads;

	struct raft_peer *peers;
	size_t n_peers;

	/* Effects. The outbox keeps its messages across steps while the hard state is not
	 * durable. */
	struct raft_out *out; /* of the step that runs */
	struct raft_msg *outbox;
	size_t n_outbox, cap_outbox;
	struct raft_msg spill;
	struct raft_read_ready *ready;
	size_t n_ready, cap_ready;
	struct raft_notice *notices;
	size_t n_notices, cap_notices;
	raft_id *snapshot_to;
	size_t n_snapshot_to, cap_snapshot_to;
	struct raft_entry *appended; /* a leader's own entries, positions filled in */
	size_t cap_appended;
	struct raft_entry conf_entry; /* and a configuration, with its payload */
	uint8_t conf_bytes[RAFT_CONF_BYTES_MAX];
};

struct raft_peer *raft_peer_find(struct raft *r, raft_id id); /* NULL: not a member */
uint32_t raft_random(struct raft *r, uint32_t below);         /* below > 0 */

/* ---- out.c ---- */

void raft_out_begin(struct raft *r, struct raft_out *out);
void raft_out_end(struct raft *r);
bool raft_state_is_durable(const struct raft *r);
/* A message of the present term, to be filled in at once. It leaves as soon as the hard state is
 * durable; until then a newer one of its kind to the same server replaces it. */
struct raft_msg *raft_send(struct raft *r, enum raft_msg_kind kind, raft_id to);
void raft_send_drop_all(struct raft *r); /* the term changes: what was held is void */
struct raft_notice *raft_note(struct raft *r, enum raft_notice_kind kind);
void raft_note_protocol(struct raft *r, raft_id peer, const char *text);
/* Hand `entries` (continuing the log, or replacing its end) to be written. */
void raft_append(struct raft *r, const struct raft_entry *entries, size_t n);
void raft_commit_to(struct raft *r, raft_index index);

/* ---- election.c ---- */

void raft_election_tick(struct raft *r);
void raft_election_disk(struct raft *r, bool stalled);
void raft_election_reset_timer(struct raft *r);
void raft_campaign(struct raft *r, bool force);
void raft_election_state_durable(struct raft *r);
/* Follow `leader` (0: nobody yet) in `term`, which is not below ours. */
void raft_become_follower(struct raft *r, raft_term term, raft_id leader);
void raft_recv_vote(struct raft *r, const struct raft_msg *m); /* PRE_VOTE, VOTE */
void raft_recv_vote_resp(struct raft *r, const struct raft_msg *m);

/* ---- replicate.c ---- */

void raft_leader_start(struct raft *r);
void raft_leader_probe(struct raft *r, struct raft_peer *p, raft_index next);
void raft_leader_start_peer(struct raft *r, struct raft_peer *p);
int raft_leader_propose(struct raft *r, const struct raft_entry *entries, size_t n);
void raft_leader_flush(struct raft *r);
bool raft_leader_wants_flush(const struct raft *r);
uint64_t raft_leader_deadline(const struct raft *r);
/* Payload sent to `p` and not yet answered. */
uint64_t raft_leader_flight_bytes(const struct raft *r, const struct raft_peer *p);
uint64_t raft_leader_heard_quorum(struct raft *r); /* when a quorum was last heard, ourselves now */
void raft_leader_log_durable(struct raft *r);
void raft_leader_peer_down(struct raft *r, raft_id id);
void raft_recv_append_resp(struct raft *r, const struct raft_msg *m);

/* ---- snapshot.c ---- */

void raft_snapshot_begin(struct raft *r, struct raft_peer *p);
void raft_snapshot_status(struct raft *r, raft_id id, struct raft_pos pos);
void raft_log_was_cut(struct raft *r, struct raft_pos pos);
int raft_snapshot_installed(struct raft *r, struct raft_pos pos, const struct raft_conf *conf,
                            raft_index conf_index);

/* ---- member.c ---- */

bool raft_member_init(struct raft *r, const struct raft_recovered *rec); /* false: see raft_new() */
void raft_member_free(struct raft *r);
void raft_member_tick(struct raft *r);
void raft_member_stop_leading(struct raft *r);
/* The log was, or is, changed: what is in force follows it. */
void raft_member_truncated(struct raft *r, raft_index from);
void raft_member_appended(struct raft *r, const struct raft_entry *entries, size_t n);
void raft_member_cut(struct raft *r, raft_index base);
/* The log is dropped; `conf` (NULL: the first one known) is all that is left. */
void raft_member_reset(struct raft *r, const struct raft_conf *conf, raft_index index);
int raft_member_change(struct raft *r, const struct raft_conf *target);
void raft_member_advance(struct raft *r); /* at the end of a step: what follows from its commits */
raft_index raft_conf_index(const struct raft *r);
const struct raft_conf *raft_member_conf_at(const struct raft *r, raft_index index, raft_index *at);
/* The newest committed configuration, if `id` is no member of it: its index; else 0. */
raft_index raft_member_removed_at(const struct raft *r, raft_id id);
/* Others say that configuration `index` is committed, and that we are not in it. */
void raft_member_told_removed(struct raft *r, raft_id peer, raft_index index);
bool raft_may_stand(const struct raft *r); /* for election */
void raft_learner_start(struct raft *r, struct raft_peer *p);
void raft_learner_acked(struct raft *r, struct raft_peer *p);
bool raft_learner_caught_up(const struct raft *r, const struct raft_peer *p);

/* ---- transfer.c ---- */

int raft_transfer_begin(struct raft *r, raft_id to);
void raft_transfer_end(struct raft *r, const char *why); /* NULL: a newer term took our place */
void raft_transfer_leave(struct raft *r);          /* we step down: let the best voter stand */
bool raft_transfer_possible(const struct raft *r); /* there is another voter */
void raft_transfer_tick(struct raft *r);
void raft_transfer_flush(struct raft *r);
bool raft_transfer_wants_flush(const struct raft *r);
uint64_t raft_transfer_deadline(const struct raft *r);
void raft_recv_timeout_now(struct raft *r, const struct raft_msg *m);

/* ---- append.c ---- */

/* NULL, or what is wrong with an APPEND that no correct leader would send. */
const char *raft_append_fault(const struct raft_msg *m);
void raft_recv_append(struct raft *r, const struct raft_msg *m);
void raft_follower_log_durable(struct raft *r);
void raft_follower_installed(struct raft *r);

/* ---- read.c ---- */

void raft_read_local(struct raft *r, uint64_t ctx);
void raft_recv_read(struct raft *r, const struct raft_msg *m);
void raft_recv_read_resp(struct raft *r, const struct raft_msg *m);
bool raft_reads_want_round(const struct raft *r);
void raft_reads_start_round(struct raft *r);
void raft_reads_release(struct raft *r); /* a leader's, as far as a quorum confirmed their rounds */
void raft_reads_fail(struct raft *r);    /* all: the leader is not, or no longer, known */
void raft_reads_expire(struct raft *r);  /* forwarded ones that were not answered in time */

#endif

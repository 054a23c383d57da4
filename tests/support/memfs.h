/* A file system in memory behind `struct file_ops`, for tests and the simulator: any call can be
 * made to fail or be cut short, the power can go at any call, and then what was not synced is lost
 * as the worst disk within docs/wal-format.md's assumptions would lose it. Deterministic:
 * everything that is drawn comes from the seed. Each memfs is a disk of its own; any thread.
 *
 * What was not synced: each 512-byte sector that was written, each change of a file's size, and
 * each create, rename, unlink and mkdir. A sync that is made to fail forgets what it should have
 * written, as Linux does: it stays readable, is never written by later syncs, and goes with the
 * power. */
#ifndef RFS_TESTS_MEMFS_H
#define RFS_TESTS_MEMFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../src/wal/file.h"

struct memfs;

enum memfs_call {
	MEMFS_OPEN,
	MEMFS_CLOSE,
	MEMFS_PREAD,
	MEMFS_PWRITE,
	MEMFS_FDATASYNC,
	MEMFS_TRUNCATE,
	MEMFS_SIZE,
	MEMFS_RENAME,
	MEMFS_UNLINK,
	MEMFS_MKDIR,
	MEMFS_SYNC_DIR,
	MEMFS_LIST,
	MEMFS_ANY, /* every call counts */
};

struct memfs *memfs_new(uint64_t seed);
struct memfs *memfs_clone(const struct memfs *fs); /* the same disk, nothing open, no faults set */
void memfs_free(struct memfs *fs);
const struct file_ops *memfs_ops(struct memfs *fs); /* lives as long as `fs` */
const char *memfs_call_name(enum memfs_call kind);

/* ---- faults; each set once, each fires once; set again to use again ---- */

/* The `nth` call of `kind` from now on (1: the next) fails with `error` (negative errno),
 * undone. */
void memfs_fail(struct memfs *fs, enum memfs_call kind, uint64_t nth, int error);
/* The `nth` pwrite from now on writes only `bytes` and returns that. */
void memfs_short_write(struct memfs *fs, uint64_t nth, size_t bytes);
/* Before the `nth` call of any kind from now on the power goes: it and all later ones fail with
 * -EIO. */
void memfs_power_off_at(struct memfs *fs, uint64_t nth);
void memfs_power_off(struct memfs *fs);
void memfs_heal(struct memfs *fs);  /* unset what has not fired */
bool memfs_fired(struct memfs *fs); /* whether any fault has fired since the last set */
/* At most `bytes` of all files together; growing beyond fails with -ENOSPC. UINT64_MAX: no
 * limit. */
void memfs_capacity(struct memfs *fs, uint64_t bytes);

enum memfs_loss {
	MEMFS_LOSE_NOTHING, /* only the process died */
	MEMFS_LOSE_ALL,     /* everything that was not synced */
	MEMFS_LOSE_SOME,    /* any subset of it, drawn */
};

/* The machine comes up again: losses happen, nothing is open, faults are unset. */
void memfs_power_on(struct memfs *fs, enum memfs_loss loss);
/* The process ended, the machine did not: nothing is open, faults are unset; what was not synced is
 * still read, and may still go with the power. */
void memfs_kill(struct memfs *fs);

/* ---- looking and tampering; these count as no call and change the disk at once ---- */

uint64_t memfs_calls(struct memfs *fs, enum memfs_call kind); /* so far */
size_t memfs_open_files(const struct memfs *fs);
uint64_t memfs_used(struct memfs *fs); /* bytes of all files together */
bool memfs_exists(struct memfs *fs, const char *path);
uint64_t memfs_file_size(struct memfs *fs, const char *path); /* 0 if there is none */
void memfs_peek(struct memfs *fs, const char *path, uint64_t offset, void *p, size_t n);
void memfs_poke(struct memfs *fs, const char *path, uint64_t offset, const void *p, size_t n);
void memfs_flip(struct memfs *fs, const char *path, uint64_t offset, uint8_t mask);
/* A bit of any file flips, which one `random` says; more likely one that is in use. False: all files
 * are empty. */
bool memfs_rot(struct memfs *fs, uint64_t random);
void memfs_resize(struct memfs *fs, const char *path, uint64_t size);
void memfs_remove(struct memfs *fs, const char *path);
void memfs_move(struct memfs *fs, const char *from, const char *to);

#endif

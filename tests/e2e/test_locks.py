"""Locks across hosts: flock(2) and fcntl(2) through two mounts, waiting and being interrupted, and what becomes of a
lock whose mount dies or freezes."""

import errno
import fcntl
import json
import mmap
import os
import signal
import sqlite3
import struct
import subprocess
import time

from harness import FULL, check, equal, errno_of, limit, slow, wait_for
from locker import Locker

SHORT_SESSION = "\n[client]\nsession_timeout_ms = 2000\n"


def waits(locker, what, seconds=0.3):
    """That it does not get its answer can only be seen by waiting."""
    check(not locker.has_answer(seconds), f"{what} did not wait")


def pair(shared, n=2):
    """`n` processes with the same file open, in turn through the one and the other mount."""
    lockers = [Locker() for _ in range(n)]
    dirs = shared.fresh()
    for i, one in enumerate(lockers):
        equal(one("open", str(dirs[i % 2] / "f")), None, "open")
    return lockers


# flock(2)

def test_an_exclusive_lock_has_one_holder_on_all_mounts(shared):
    one, two = pair(shared)
    with one, two:
        equal(one("flock", "EX NB"), None, "the first lock")
        equal(two("flock", "EX NB"), "EAGAIN", "a second one on another mount")
        equal(two("flock", "SH NB"), "EAGAIN", "a shared one")
        equal(one("flock", "UN"), None, "unlock")
        equal(two("flock", "SH NB"), None, "shared, once it is free")
        equal(one("flock", "SH NB"), None, "two shared ones")
        equal(one("flock", "EX NB"), "EAGAIN", "an upgrade while another one reads")
        # as on Linux, the failed conversion gave up the shared lock
        equal(two("flock", "EX NB"), None, "an upgrade that nobody is in the way of")


def test_a_waiter_gets_the_lock_when_it_is_free_and_in_its_turn(shared):
    lockers = pair(shared, 6)
    order = []
    first, rest = lockers[0], lockers[1:]
    equal(first("flock", "EX"), None, "the first lock")
    for one in rest:
        one.begin("flock", "EX")
        waits(one, "a lock that another one has", 0.1) # and so they queue in this order
    for i, holder in enumerate(lockers[:-1]):
        equal(holder("flock", "UN"), None, "unlock")
        equal(lockers[i + 1].answer(), None, f"lock number {i + 1}")
        order.append(i + 1)
        for later in lockers[i + 2:]:
            check(not later.has_answer(), "somebody got the lock out of turn")
    for one in lockers:
        one.end()


def test_a_writer_is_not_starved_by_readers_that_come_later(shared):
    reader, writer, late = pair(shared, 3)
    with reader, writer, late:
        equal(reader("flock", "SH"), None, "a reader")
        writer.begin("flock", "EX")
        waits(writer, "the writer")
        late.begin("flock", "SH")
        waits(late, "a reader behind a writer")
        equal(reader("flock", "UN"), None, "unlock")
        equal(writer.answer(), None, "the writer's turn")
        waits(late, "a reader behind a writer")
        equal(writer("flock", "UN"), None, "unlock")
        equal(late.answer(), None, "the late reader's turn")


def test_a_downgrade_lets_readers_in(shared):
    one, two = pair(shared)
    with one, two:
        equal(one("flock", "EX"), None, "exclusive")
        two.begin("flock", "SH")
        waits(two, "a reader behind a writer")
        equal(one("flock", "SH"), None, "the downgrade")
        equal(two.answer(), None, "the reader")


def test_a_signal_ends_the_waiting_and_leaves_nothing_behind(shared):
    one, two, three = pair(shared, 3)
    with one, two, three:
        equal(one("flock", "EX"), None, "the lock")
        two.begin("flock", "EX")
        waits(two, "the second")
        three.begin("flock", "EX")
        waits(three, "the third")
        begin = time.monotonic()
        two.signal(signal.SIGUSR1)
        equal(two.answer(), "interrupted", "a signal")
        check(time.monotonic() - begin < slow(1), "a signal took too long to end the waiting")
        equal(one("flock", "UN"), None, "unlock")
        equal(three.answer(), None, "the third, which need not wait for the one that was interrupted")
        three.signal(signal.SIGKILL)
        wait_for(lambda: two("flock", "EX NB") is None, 5, "the lock of a process that was killed")


def test_a_waiting_process_can_be_killed(shared):
    one, two, three = pair(shared, 3)
    with one, two, three:
        equal(one("flock", "EX"), None, "the lock")
        two.begin("flock", "EX")
        waits(two, "the second")
        two.signal(signal.SIGKILL)
        two.popen.wait(slow(2))
        equal(one("flock", "UN"), None, "unlock")
        equal(three("flock", "EX NB"), None, "a lock that nobody else waits for any more")


def test_the_lock_belongs_to_the_open_file_and_goes_with_its_last_descriptor(shared):
    one, two = pair(shared)
    with one, two:
        equal(one("flock", "EX"), None, "the lock")
        one("fork_that_keeps_it", 1)
        equal(one("close"), None, "close")
        equal(two("flock", "EX NB"), "EAGAIN", "a lock that a child still has open")
        two.begin("flock", "EX")
        equal(two.answer(5), None, "once the child has ended")


def test_the_flock_tool_works_across_mounts(shared):
    a, b = shared.fresh()
    (a / "lock").touch()
    script = "flock {0}/lock sh -c 'n=$(cat {0}/n 2>/dev/null || echo 0); sleep 0.01; echo $((n + 1)) > {0}/n'"
    running = [subprocess.Popen(["sh", "-c", script.format((a, b)[i % 2])]) for i in range(12)]
    for one in running:
        equal(one.wait(30), 0, "flock's exit code")
    equal((b / "n").read_text(), "12\n", "increments under flock(1)")
    with subprocess.Popen(["flock", a / "lock", "sleep", "5"]) as holder:
        wait_for(lambda: subprocess.run(["flock", "-n", b / "lock", "true"]).returncode == 1, 5, "flock -n to be refused")
        equal(subprocess.run(["flock", "-w", "0.3", b / "lock", "true"]).returncode, 1, "flock -w that runs out")
        holder.kill()
    equal(subprocess.run(["flock", "-w", "5", b / "lock", "true"]).returncode, 0, "flock -w once it is free")


def test_sixteen_processes_for_one_lock_do_not_hang_the_mounts(shared):
    a, b = shared.fresh()
    (a / "f").write_text("0")

    def count(path, rounds=10):
        fd = os.open(path, os.O_RDWR)
        for _ in range(rounds):
            fcntl.flock(fd, fcntl.LOCK_EX)
            n = int(os.pread(fd, 20, 0))
            os.pwrite(fd, b"%d" % (n + 1), 0)
            fcntl.flock(fd, fcntl.LOCK_UN)
        os._exit(0)
    pids = []
    for i in range(16):
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                count((a, b)[i % 2] / "f")
            finally:
                os._exit(1)
    (b / "meanwhile").write_text("the mount goes on")
    equal((a / "meanwhile").read_text(), "the mount goes on", "what is written beside")
    for pid in pids:
        equal(os.waitpid(pid, 0)[1], 0, "status of a process")
    equal((b / "f").read_text(), "160", "increments under the lock")


# fcntl(2)

def test_byte_ranges_exclude_each_other_where_they_overlap(shared):
    one, two = pair(shared)
    with one, two:
        equal(one("range", "W", 0, 100), None, "0-99")
        equal(two("range", "W", 100, 0), None, "100 to any end")
        equal(two("range", "R", 99, 1), "EAGAIN", "a byte that is locked")
        equal(one("range", "U", 50, 10), None, "a hole")
        equal(two("range", "W", 50, 10), None, "the hole")
        equal(two("test", "W", 0, 10)[:3], ["W", 0, 50], "what is in the way")
        equal(two("test", "W", 50, 10)[0], "U", "what nobody has")
        equal(one("range", "R", 0, 50), None, "a downgrade")
        equal(two("range", "R", 10, 10), None, "two readers")
        equal(one("range", "W", 0, 50), "EAGAIN", "an upgrade beside a reader")


def test_the_process_that_has_a_lock_is_told_on_its_own_mount(shared):
    one, two, three = pair(shared, 3)
    with one, two, three:
        equal(one("range", "W", 10, 5), None, "the lock")
        equal(three("test", "W", 0, 0), ["W", 10, 5, one.pid], "what is told on the same mount")
        equal(two("test", "W", 0, 0), ["W", 10, 5, 0], "what is told on another one")


def test_any_close_of_the_file_ends_the_ranges_of_the_process(shared):
    one, two = pair(shared)
    a, b = shared.fresh()
    with one, two:
        for locker, path in (one, a), (two, b):
            equal(locker("open", str(path / "g"), "g"), None, "open")
        equal(one("open", str(a / "g"), "again"), None, "the same file once more")
        equal(one("range", "W", 0, 0, "g"), None, "a lock")
        equal(two("range", "W", 0, 0, "g"), "EAGAIN", "a lock that another one has")
        equal(one("close", "again"), None, "close of the other descriptor")
        equal(two("range", "W", 0, 0, "g"), None, "a lock once it is free")


def test_ranges_of_an_open_file_go_with_its_last_descriptor_alone(shared):
    one, two = pair(shared)
    a, b = shared.fresh()
    with one, two:
        one("open", str(a / "g"), "g")
        one("open", str(a / "g"), "again")
        two("open", str(b / "g"), "g")
        equal(one("ofd", "W", 0, 10, "g"), None, "a lock")
        equal(one("ofd", "W", 0, 10, "again"), "EAGAIN", "one through another open file of the process")
        equal(two("ofd", "R", 5, 1, "g"), "EAGAIN", "one on another mount")
        equal(one("close", "again"), None, "close of the other descriptor")
        equal(two("ofd", "R", 5, 1, "g"), "EAGAIN", "a lock that is still held")
        equal(two("test", "W", 0, 0, "g")[:3], ["W", 0, 10], "what is in the way")
        equal(one("close", "g"), None, "close")
        wait_for(lambda: two("ofd", "W", 0, 0, "g") is None, 5, "the lock to go with its open file")


def test_ranges_wait_and_are_interrupted(shared):
    one, two, three = pair(shared, 3)
    with one, two, three:
        equal(one("range", "W", 0, 10), None, "the lock")
        two.begin("range", "WW", 5, 10)
        waits(two, "the second")
        three.begin("range", "WW", 0, 2)
        waits(three, "the third")
        two.signal(signal.SIGUSR1)
        equal(two.answer(), "interrupted", "a signal")
        equal(one("range", "U", 0, 5), None, "half of it")
        equal(three.answer(), None, "a range that is free")
        equal(two("range", "W", 5, 5), "EAGAIN", "the half that is not")


def test_two_that_wait_for_each_other_are_a_deadlock(shared):
    one, two = pair(shared)
    with one, two:
        equal(one("range", "W", 0, 1), None, "one's first")
        equal(two("range", "W", 1, 1), None, "two's first")
        one.begin("range", "WW", 1, 1)
        waits(one, "one")
        equal(two("range", "WW", 0, 1), "EDEADLK", "what would close the circle")
        equal(two("range", "U", 1, 1), None, "unlock")
        equal(one.answer(), None, "one's second")


# raftctl

def test_raftctl_lists_locks_by_key(shared):
    c = shared.cluster
    one, two = Locker(), Locker()
    a, b = shared.fresh()
    os.mkdir(a / "deep")
    with one, two:
        one("open", str(a / "deep" / "whole"))
        two("open", str(b / "deep" / "whole"))
        two("open", str(b / "ranges"), "r")
        equal(one("flock", "EX"), None, "a lock")
        equal(two("range", "R", 10, 5, "r"), None, "a range")
        two.begin("flock", "SH")
        waits(two, "the second")
        said = json.loads(c.ctl("lock", "list", a.name, "--json").stdout)
        held, range, waiting = (next(l for l in said if pick(l)) for pick in (
            lambda l: l["key"].endswith("whole") and l["state"] == "held",
            lambda l: l["key"].endswith("ranges"),
            lambda l: l["state"] == "waiting"))
        equal(len(said), 3, "number of locks listed")
        equal((held["key"], held["kind"], held["mode"], held["pid"]), (f"{a.name}/deep/whole", "flock", "exclusive", one.pid),
              "the one held")
        equal((range["kind"], range["mode"], range["first"], range["last"]), ("fcntl", "shared", 10, 14), "the range")
        equal((waiting["key"], waiting["mode"]), (held["key"], "shared"), "the one that waits")
        check(waiting["asked"] > held["token"] and waiting["session"] != held["session"], f"{waiting} behind {held}")
        text = c.ctl("lock", "list", f"{a.name}/deep").stdout.decode()
        equal(len(text.splitlines()), 2, f"lines of lock list below a folder: {text!r}")
        equal(c.ctl("lock", "list", f"{a.name}/none", code=1).stdout, b"", "of a key that does not exist")
        equal(one("flock", "UN"), None, "unlock")
        equal(two.answer(), None, "the second")
    wait_for(lambda: c.ctl("lock", "list", a.name, "--json").stdout == b"[]\n", 5, "the locks to go with their processes")


def test_raftctl_breaks_a_lock_and_fences_who_had_it(shared):
    c = shared.cluster
    one, two = Locker(), Locker()
    a, b = shared.fresh()
    with one, two:
        one("open", str(a / "f"))
        two("open", str(b / "f"))
        key = f"{a.name}/f"
        done = c.ctl("lock", "break", key, code=1)
        check(b"not locked" in done.stderr, f"break of what is not locked: {done.stderr!r}")
        equal(one("flock", "EX"), None, "a lock")
        equal(one("write", "one"), 3, "a write with it")
        two.begin("flock", "EX")
        waits(two, "the second")
        equal(json.loads(c.ctl("lock", "break", key, "--json").stdout)["broken"], 1, "locks broken")
        equal(two.answer(), None, "who waited for it")
        equal(one("write", "xxx"), "ESTALE", "a write with a lock that was broken")
        equal(two("write", "two"), 3, "a write with the new one")
        equal(two("read"), "two", "the file")
        equal(two("flock", "UN"), None, "unlock")
        equal(one("flock", "EX"), None, "a new lock through the same handle")
        equal(one("write", "one"), 3, "a write with that")
        c.ctl("lock", "break", f"{a.name}/none", code=1)
        c.ctl("lock", "brake", key, code=2)
        c.ctl("lock", "break", code=2)


def test_conditional_changes_have_one_winner(env, shared):
    c = shared.cluster
    a, b = shared.fresh()
    key, large = f"{a.name}/dir/k", os.urandom(3 << 20)

    def version():
        return json.loads(c.ctl("get", key, "--json").stdout)["version"]
    c.ctl("set", "--if-version", "5", key, "x", code=1)
    check(not (a / "dir").exists(), "a change that was refused made directories")
    index = json.loads(c.ctl("set", "--create", key, "first", "--json").stdout)["index"]
    equal(version(), index, "the version of a new key, and the index that set gave")
    equal(os.getxattr(b / "dir/k", "user.raft.version"), b"%d" % index, "user.raft.version")
    done = c.ctl("set", "--create", key, "again", code=1)
    check(b"exists already" in done.stderr and str(index).encode() in done.stderr, f"what is said: {done.stderr!r}")
    c.ctl("set", "--if-version", str(index), key, "second")
    done = c.ctl("set", "--if-version", str(index), key, "third", code=1)
    check(str(version()).encode() in done.stderr, f"the version that it has is not told: {done.stderr!r}")
    equal((b / "dir/k").read_text(), "second", "value")
    c.ctl("set", "--if-version", str(index), key, "-", data=large, code=1)
    equal(os.listdir(a / "dir"), ["k"], "what a refused large value leaves behind")
    c.ctl("set", "--if-version", str(version()), key, "-", data=large)
    check((b / "dir/k").read_bytes() == large, "a large value")
    (b / "dir/k").write_text("by the mount")
    before = version()
    c.ctl("delete", "--if-version", str(before + 1), key, code=1)
    c.ctl("delete", "--if-version", str(before), key)
    c.ctl("delete", "--if-version", str(before), key, code=1)
    c.ctl("set", "--if-version", "x", key, "v", code=2)
    c.ctl("set", "--create", "--if-version", "1", key, "v", code=2)
    for name in "user.raft.version", :
        (a / "f").touch()
        equal(errno_of(os.setxattr, a / "f", name, b"1"), "EPERM", "setting the version")
        equal(os.listxattr(a / "f"), [], "names of attributes")


def sqlite_writer(path, rounds):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    for _ in range(rounds):
        db.execute("BEGIN IMMEDIATE")
        (n,) = db.execute("SELECT n FROM counter").fetchone()
        db.execute("UPDATE counter SET n = ?", (n + 1,))
        db.execute("INSERT INTO log VALUES (?, ?)", (os.getpid(), n))
        db.execute("COMMIT")
    db.close()


def sqlite_with_writers(env, paths, mode):
    """Processes that write to one database, by turns through the one and the other of its paths."""
    db = sqlite3.connect(paths[0], isolation_level=None)
    equal(db.execute(f"PRAGMA journal_mode={mode}").fetchone(), (mode,), "the journal's mode")
    db.executescript("CREATE TABLE counter(n INTEGER); INSERT INTO counter VALUES(0); CREATE TABLE log(pid, n)")
    db.close()
    writers, rounds = (8, 25) if FULL else (4, 6)
    begin, pids = time.monotonic(), []
    for i in range(writers):
        pids.append(os.fork())
        if pids[-1] == 0:
            try:
                sqlite_writer(paths[i % len(paths)], rounds)
                os._exit(0)
            finally:
                os._exit(1)
    for pid in pids:
        equal(os.waitpid(pid, 0)[1], 0, "status of a writer")
    env.note(f"{writers * rounds} transactions of {writers} writers with journal_mode={mode} in {time.monotonic() - begin:.1f} s")
    db = sqlite3.connect(paths[-1])
    equal(db.execute("SELECT n FROM counter").fetchone(), (writers * rounds,), "the counter")
    equal(db.execute("SELECT count(*), count(DISTINCT n) FROM log").fetchone(), (writers * rounds,) * 2, "the log")
    equal(db.execute("PRAGMA integrity_check").fetchone(), ("ok",), "the integrity check")
    db.close()


@limit(120)
def test_sqlite_has_writers_on_two_mounts(env, shared):
    a, b = shared.fresh()
    sqlite_with_writers(env, [a / "db", b / "db"], "delete")


@limit(120)
def test_sqlite_has_writers_on_one_mount_with_a_write_ahead_log(env, shared):
    """On one: SQLite keeps the log's index in memory that the processes share, on any file system."""
    a, b = shared.fresh()
    sqlite_with_writers(env, [a / "db"], "wal")
    db = sqlite3.connect(b / "db") # the last one to close has folded the log in
    equal(db.execute("PRAGMA integrity_check").fetchone(), ("ok",), "the integrity check through the other mount")
    db.close()


# Mounts and nodes that die

@limit(60)
def test_locks_of_a_mount_that_was_killed_go_with_its_session(env):
    with env.cluster(more=SHORT_SESSION) as cluster, Locker() as one, Locker() as two, Locker() as three:
        a, b = cluster.mount("a"), cluster.mount("b")
        one("open", str(a / "f"))
        two("open", str(b / "f"))
        three("open", str(b / "f"))
        equal(one("flock", "EX"), None, "the lock")
        equal(one("range", "W", 0, 10), None, "the range")
        two.begin("flock", "EX")
        three.begin("range", "WW", 0, 0)
        waits(two, "the second mount")
        begin = time.monotonic()
        a.kill()
        equal(two.answer(slow(10)), None, "the lock of a dead mount")
        took = time.monotonic() - begin
        equal(three.answer(slow(5)), None, "the range of a dead mount")
        env.note(f"the lock of a killed mount went on after {took:.2f} s; its session's timeout is 2 s")
        check(took > 1, f"the lock was given away after {took:.2f} s, before the session could have ended")


@limit(60)
def test_a_mount_that_was_frozen_past_its_session_can_not_write_with_its_lock(env):
    with env.cluster(more=SHORT_SESSION) as cluster, Locker() as one, Locker() as two, Locker() as three:
        a, b = cluster.mount("a"), cluster.mount("b")
        for locker, mount in (one, a), (two, b), (three, a):
            locker("open", str(mount / "f"))
        equal(three("open", str(a / "g"), "g"), None, "open")
        equal(one("flock", "EX"), None, "the lock")
        equal(one("write", "one's"), 5, "a write under the lock")
        equal(three("range", "W", 100, 10), None, "a range")
        two.begin("flock", "EX")
        waits(two, "the second mount")
        a.proc.signal(signal.SIGSTOP)
        try:
            one.begin("write", "frozen")
            equal(two.answer(slow(15)), None, "the lock of a frozen mount, once its session has ended")
            equal(two("write", "two's"), 5, "a write under the new lock")
        finally:
            a.proc.signal(signal.SIGCONT)
        equal(one.answer(slow(15)), "ESTALE", "the write that was under way when the mount froze")
        equal(one("write", "after!"), "ESTALE", "a later write")
        equal(one("truncate", 0), "ESTALE", "a truncation")
        equal(one("flock", "EX NB"), "ESTALE", "another try to lock, through the same handle")
        equal(three("write", "range"), "ESTALE", "a write of a process that had a range")
        equal(three("write", "other", 0, "g"), 5, "a write to a file of which it had no lock")
        equal(two("read"), "two's", "the file")
        equal(one("read"), "two's", "the file, through the handle that lost its lock")
        equal(two("flock", "UN"), None, "unlock")
        for locker in one, three:
            equal(locker("close"), None, "close")
            equal(locker("open", str(a / "f")), None, "open again")
        equal(one("flock", "EX"), None, "a new lock")
        equal(one("write", "fresh"), 5, "a write with it")
        equal(three("write", "range", 100), 5, "a write of the other process through a new handle")


@limit(60)
def test_waiting_survives_the_leaders_death_and_can_be_interrupted_without_a_quorum(env):
    with env.cluster() as cluster, Locker() as one, Locker() as two, Locker() as three:
        a, b = cluster.mount("a", "timeout=2"), cluster.mount("b", "timeout=2")
        for locker, mount in (one, a), (two, b), (three, b):
            locker("open", str(mount / "f"))
        equal(one("flock", "EX"), None, "the lock")
        two.begin("flock", "EX")
        waits(two, "the second mount")
        leader = cluster.wait_leader()
        cluster.kill(leader)
        others = [id for id in cluster.ids if id != leader]
        cluster.wait_leader(others)
        equal(one("flock", "UN"), None, "unlock, at another leader")
        equal(two.answer(), None, "a lock that was asked for at the leader that died")
        three.begin("flock", "EX")
        waits(three, "the third")
        cluster.kill(*others)
        waits(three, "without any node, longer than timeout=", 2.5)
        begin = time.monotonic()
        three.signal(signal.SIGUSR1)
        equal(three.answer(), "interrupted", "a signal, without any node")
        check(time.monotonic() - begin < slow(1), "a signal took too long to end the waiting")
        cluster.start()
        cluster.wait_ready()
        equal(two("flock", "UN"), None, "unlock")
        equal(one("flock", "EX"), None, "the lock is not with the one that was interrupted")


@limit(60)
def test_a_mount_with_waiters_can_be_unmounted_and_frees_what_it_had(env):
    with env.cluster() as cluster, Locker() as one, Locker() as two, Locker() as three, Locker() as four:
        a, b = cluster.mount("a"), cluster.mount("b")
        for locker, mount in (one, a), (two, b), (three, b), (four, a):
            locker("open", str(mount / "f"))
        equal(one("flock", "EX"), None, "the lock")
        equal(two("range", "W", 0, 0), None, "the range")
        three.begin("flock", "EX")
        four.begin("range", "WW", 0, 0)
        waits(three, "a lock")
        begin = time.monotonic()
        b.stop()
        env.note(f"a mount with a waiter stopped within {time.monotonic() - begin:.2f} s")
        equal(three.answer(), "ENOTCONN", "who waited when the mount was stopped")
        equal(four.answer(), None, "the range that its session had")


# Counting under a lock while everything dies: one write has the total and a column for each process, so that every
# increment of everybody can be found again.

class Counters:
    """Processes that add until they are told to end, and each at least `rounds`."""

    def __init__(self, mounts, processes, rounds):
        self.mounts, self.rounds = mounts, rounds
        self.row = struct.Struct(f"<{processes + 1}Q")
        cells = memoryview(mmap.mmap(-1, 16 * processes + 8)).cast("Q")
        self.done = cells[:2 * processes] # by process: acknowledged, not known
        self.told_to_end = cells[2 * processes:]
        self.processes, self.pids = processes, []
        fd = os.open(mounts[0] / "counter", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, self.row.pack(*[0] * (processes + 1)))
        os.close(fd)

    def start(self):
        for i in range(self.processes):
            self.pids.append(os.fork())
            if self.pids[-1] == 0:
                try:
                    self._work(i)
                    os._exit(0)
                except BaseException as e: # must not go on as a second runner
                    print(f"process {i}: {e!r}", flush=True)
                finally:
                    os._exit(1)

    def acknowledged(self):
        return sum(self.done[::2])

    def end(self, seconds):
        self.told_to_end[0] = 1
        deadline = time.monotonic() + seconds
        for pid in self.pids:
            wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, max(0.1, deadline - time.monotonic()), "a process to end")

    def _is_done(self, i):
        return self.told_to_end[0] and self.done[2 * i] >= self.rounds

    def _work(self, i):
        while not self._is_done(i):
            try:
                fd = os.open(self.mounts[i % len(self.mounts)] / "counter", os.O_RDWR)
            except OSError:
                time.sleep(0.05) # its mount is dead or not yet back
                continue
            try:
                while not self._is_done(i):
                    self._increment(fd, i)
            except OSError:
                pass
            finally:
                try:
                    os.close(fd)
                except OSError:
                    pass

    def _increment(self, fd, i):
        fcntl.flock(fd, fcntl.LOCK_EX)
        row = list(self.row.unpack(os.pread(fd, self.row.size, 0)))
        known = self.done[2 * i] + self.done[2 * i + 1]
        if row[i + 1] == known - 1: # the one of which nothing was known was not done
            self.done[2 * i + 1] -= 1
        row[0] += 1
        row[i + 1] += 1
        self.done[2 * i + 1] += 1
        try:
            os.pwrite(fd, self.row.pack(*row), 0)
        except OSError as e:
            if e.errno in (errno.ESTALE, errno.EROFS):
                self.done[2 * i + 1] -= 1 # certainly not done
            raise
        self.done[2 * i + 1] -= 1
        self.done[2 * i] += 1
        fcntl.flock(fd, fcntl.LOCK_UN)

    def verify(self, path):
        total, *by_process = self.row.unpack(path.read_bytes())
        equal(total, sum(by_process), "the total and the sum of what each process has added")
        for i, n in enumerate(by_process):
            low, high = self.done[2 * i], self.done[2 * i] + self.done[2 * i + 1]
            check(low <= n <= high, f"process {i}: {low} to {high} increments, but the file has {n}")
        return total


@limit(240 if FULL else 120)
def test_every_acknowledged_increment_under_a_lock_is_there_while_leaders_and_mounts_are_killed(env):
    processes, rounds, kills = (100, 40, 6) if FULL else (24, 8, 2)
    with env.cluster(more=SHORT_SESSION) as cluster:
        a, b = cluster.mount("a"), cluster.mount("b")
        counters = Counters([a, b], processes, rounds)
        begin = time.monotonic()
        counters.start()
        for kill in range(kills):
            before = counters.acknowledged()
            step = processes * rounds // (2 * kills + 1)
            wait_for(lambda: counters.acknowledged() >= before + step, 60, "increments before the next kill")
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.wait_leader([id for id in cluster.ids if id != leader])
            cluster.start(leader)
            wait_for(lambda: counters.acknowledged() >= before + 2 * step, 60, "increments after a leader's death")
            mount = (a, b)[kill % 2]
            mount.proc.signal(signal.SIGKILL)
            mount.proc.wait(5, "SIGKILL")
            mount.start()
        counters.end(120 if FULL else 60)
        total = counters.verify(b.path / "counter")
        env.note(f"{total} increments by {processes} processes in {time.monotonic() - begin:.1f} s, {kills} leaders and "
                 f"{kills} mounts killed")
        check(total >= processes * rounds, "fewer increments than were acknowledged")
        cluster.wait_agreed()

"""The leader dies, everybody dies, the leader freezes: nothing acknowledged is lost, nothing old is read."""

import mmap
import os
import random
import subprocess
import sys
import time

from harness import FULL, check, equal, limit, slow, wait_for
from load import Load
import rawpeer
from rawpeer import Peer, message

KILLS = 20
OP_SECONDS_MAX = 3.0


def two_mounts(cluster, options=""):
    return cluster.mount("a", options), cluster.mount("b", options)


def load_on(env, mounts, workers=8):
    os.mkdir(mounts[0] / "load")
    load = Load(env.dir, [m / "load" for m in mounts], workers)
    load.start()
    wait_for(lambda: load.done() > 10 * workers, 20, "the workers to get going")
    return load


def keeps_going(load, more, seconds, what):
    before = load.done()
    wait_for(lambda: load.done() >= before + more, seconds, what)


@limit(150)
def test_twenty_kills_of_the_leader_fail_no_operation_and_lose_and_double_nothing(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        load = load_on(env, mounts)
        for kill in range(KILLS):
            time.sleep(random.uniform(0, 0.3)) # the moment is random; nothing depends on how long this takes
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.wait_leader([id for id in cluster.ids if id != leader])
            keeps_going(load, 8, 10, f"operations to go on after kill {kill + 1}")
            cluster.start(leader)
            wait_for(lambda: leader in cluster.status(), 10, f"node {leader} to answer after its restart")
        load.stop()
        env.note(f"{load.acknowledged()} operations, slowest {load.slowest:.2f} s: {load.slowest_call}")
        equal(load.failures(), [], "operations that failed")
        check(load.slowest <= slow(OP_SECONDS_MAX), f"an operation took {load.slowest:.2f} s: {load.slowest_call}")
        for m in mounts:
            load.verify(m / "load")
        cluster.wait_agreed()


@limit(120)
def test_killing_all_nodes_at_once_under_load_loses_nothing_acknowledged(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        load = load_on(env, mounts)
        for round in range(5 if FULL else 3):
            keeps_going(load, 200, 20, "work between the crashes")
            cluster.kill(*cluster.ids)
            cluster.start()
            cluster.wait_ready()
            keeps_going(load, 8, 15, f"operations to go on after crash {round + 1}")
        load.stop()
        env.note(f"{load.acknowledged()} operations, {len(load.failures())} failed, slowest {load.slowest:.2f} s")
        equal(load.failures(), [], "operations that failed though the nodes were back well within the timeout")
        for m in mounts:
            load.verify(m / "load")
        cluster.wait_agreed()


@limit(90)
def test_what_is_acknowledged_survives_when_mounts_and_nodes_all_die_together(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster, "timeout=2")
        load = load_on(env, mounts)
        keeps_going(load, 300, 20, "work before the crash")
        cluster.kill(*cluster.ids)
        time.sleep(slow(0.2)) # a moment in which only failures are possible
        for m in mounts:
            m.proc.kill()
        load.stop()
        for m in mounts:
            m.kill()
        cluster.start()
        cluster.wait_ready()
        for m in mounts:
            m.start()
            load.verify(m / "load")
        cluster.wait_agreed()


class Counter:
    """A number that one process raises through one mount and that others read through all mounts.

    words[0]: stop; words[1]: the newest acknowledged number; words[2]: writes; words[3 + i]: reads of reader i."""

    def __init__(self, env, mounts):
        self.env, self.mounts = env, mounts
        self.words = memoryview(mmap.mmap(-1, 4096)).cast("Q")
        (mounts[0] / "counter").write_bytes(b"%020d" % 0)
        self.pids = [self.fork("writer", self.write, mounts[0] / "counter")]
        for i, m in enumerate(mounts):
            self.pids.append(self.fork(f"reader{2 * i}", self.read_open, m / "counter", 3 + 2 * i))
            self.pids.append(self.fork(f"reader{2 * i + 1}", self.read_kept, m / "counter", 4 + 2 * i))

    def fork(self, name, work, *args):
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            work(*args)
            code = 0
        except BaseException as e: # noqa: B902 - whatever it is, the parent must hear of it
            (self.env.dir / f"counter-{name}.log").write_text(f"{name}: {e!r}\n")
        finally:
            os._exit(code)

    def write(self, path):
        fd = os.open(path, os.O_WRONLY)
        while not self.words[0]:
            number = self.words[1] + 1
            if number % 2:
                os.pwrite(fd, b"%020d" % number, 0)
            else:
                path.write_bytes(b"%020d" % number)
            self.words[1] = number
            self.words[2] += 1

    def check_read(self, data, acknowledged, seen):
        check(len(data) == 20, f"read {data!r}: not a whole number, after {acknowledged} was acknowledged")
        check(int(data) >= acknowledged, f"read {int(data)} after {acknowledged} was acknowledged")
        check(int(data) >= seen, f"read {int(data)} after reading {seen}")
        return int(data)

    def read_open(self, path, word):
        seen = 0
        while not self.words[0]:
            acknowledged = self.words[1]
            seen = self.check_read(path.read_bytes(), acknowledged, seen)
            self.words[word] += 1

    def read_kept(self, path, word):
        fd = os.open(path, os.O_RDONLY)
        seen = 0
        while not self.words[0]:
            acknowledged = self.words[1]
            seen = self.check_read(os.pread(fd, 100, 0), acknowledged, seen)
            self.words[word] += 1

    def counts(self):
        return list(self.words[2:4 + 2 * len(self.mounts) - 1])

    def all_go_on(self, seconds, what):
        before = self.counts()
        wait_for(lambda: all(n >= b + 3 for n, b in zip(self.counts(), before)), seconds, what)

    def stop(self):
        self.words[0] = 1
        for pid in self.pids:
            _, status = os.waitpid(pid, 0)
            said = "; ".join(p.read_text().strip() for p in self.env.dir.glob("counter-*.log"))
            check(status == 0, said or f"a process of the counter ended with status {status}")


@limit(90)
def test_a_frozen_leader_is_replaced_and_no_mount_reads_an_old_value(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        load = load_on(env, mounts, workers=2)
        counter = Counter(env, mounts)
        for round in range(2 if FULL else 1):
            counter.all_go_on(10, "the counter to get going")
            old = cluster.wait_leader()
            cluster.pause(old)
            frozen_at = time.monotonic()
            new = cluster.wait_leader([id for id in cluster.ids if id != old], seconds=4)
            counter.all_go_on(5, f"reads and writes to go on under node {new}")
            while time.monotonic() < frozen_at + 5: # the freeze lasts 5 s, with load all the time
                time.sleep(0.05)
            cluster.resume(old)
            counter.all_go_on(5, f"reads and writes to go on after node {old} woke up")
            wait_for(lambda: cluster.status().get(old, {}).get("role") == "follower", 5, f"node {old} to follow")
        counter.stop()
        load.stop()
        env.note(f"{counter.words[1]} counts, reads {counter.counts()[1:]}, slowest operation {load.slowest:.2f} s")
        equal(load.failures(), [], "operations that failed")
        check(load.slowest <= slow(OP_SECONDS_MAX), f"an operation took {load.slowest:.2f} s: {load.slowest_call}")
        load.verify(mounts[1] / "load")
        cluster.wait_agreed()


@limit(60)
def test_a_leader_that_wakes_up_answers_no_read_from_its_past(env):
    """Reads wait in its socket when it wakes, before it can have heard that another leads. Asked by hand: our own
    clients have gone to the new leader by then."""
    get = 70
    with env.cluster() as cluster:
        m = cluster.mount()
        for round in range(2):
            (m / "key").write_text(f"old {round}")
            old = cluster.wait_leader()
            peers = [Peer(cluster.address(old), rawpeer.hello(cluster.name.encode())) for _ in range(3)]
            cluster.pause(old)
            for id, peer in enumerate(peers, 1):
                peer.send(rawpeer.frame(rawpeer.REQUEST, message(f1=id, f5=message(f1=get, f8=b"key"))))
            cluster.wait_leader([id for id in cluster.ids if id != old])
            (m / "key").write_text(f"new {round}")
            cluster.resume(old)
            for peer in peers:
                kind, payload = peer.receive()
                equal(kind, rawpeer.REPLY, "type of the answer")
                answer = rawpeer.fields(payload)
                value = answer.get(6, b"")
                check(answer.get(2, 0) != 0 or value == b"new %d" % round,
                      f"a leader that woke up answered {value!r} after \"new {round}\" was acknowledged elsewhere")
                peer.close()
            cluster.wait_ready()


@limit(60)
def test_no_mount_reads_an_old_value_while_leaders_are_killed(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        counter = Counter(env, mounts)
        for _ in range(5):
            counter.all_go_on(10, "the counter to go on")
            leader = cluster.wait_leader()
            cluster.kill(leader)
            counter.all_go_on(10, "the counter to go on under another leader")
            cluster.start(leader)
            wait_for(lambda: leader in cluster.status(), 10, f"node {leader} to answer after its restart")
        counter.stop()
        cluster.wait_agreed()


@limit(60)
def test_a_follower_that_dies_and_comes_back_disturbs_nobody_and_catches_up(env):
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        load = load_on(env, mounts)
        leader = cluster.wait_leader()
        follower = next(id for id in cluster.ids if id != leader)
        term = cluster.status()[leader]["term"]
        for _ in range(3):
            cluster.kill(follower)
            keeps_going(load, 200, 20, "work without the follower")
            cluster.start(follower)
            wait_for(lambda: follower in cluster.status(), 10, "the follower to answer")
            keeps_going(load, 50, 20, "work with the follower")
        load.stop()
        equal(load.failures(), [], "operations that failed")
        load.verify(mounts[0] / "load")
        st = cluster.wait_agreed()
        equal((st[leader]["role"], st[leader]["term"]), ("leader", term), "role and term of the leader")


def record(process, number):
    return b"%03d %05d %s\n" % (process, number, b"x" * 89)


def append_records(path, process, records):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(records):
        equal(os.write(fd, record(process, number)), 100, "bytes written")
    os.close(fd)


@limit(600 if FULL else 60)
def test_many_processes_append_whole_records_each_once_while_leaders_are_killed(env):
    processes, records, kills = (64, 1000, 20) if FULL else (16, 50, 2)
    with env.cluster() as cluster:
        mounts = two_mounts(cluster)
        (mounts[0] / "log").write_bytes(b"")
        pids = []
        for process in range(processes):
            pids.append(os.fork())
            if pids[-1] == 0:
                try:
                    append_records(mounts[process % 2] / "log", process, records)
                    os._exit(0)
                finally:
                    os._exit(1)

        def size_at_least(size):
            return lambda: os.stat(mounts[0] / "log").st_size >= size
        step = processes * records * 100 // (kills + 1)
        for kill in range(kills):
            wait_for(size_at_least(kill * step + 1), 60, "records before the next kill")
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.wait_leader([id for id in cluster.ids if id != leader])
            cluster.start(leader)
        for pid in pids:
            equal(os.waitpid(pid, 0)[1], 0, "status of a process")
        for m in mounts:
            lines = (m / "log").read_bytes().splitlines(keepends=True)
            equal(len(lines), processes * records, f"records through mount {m.name}")
            for process in range(processes):
                mine = [line for line in lines if line.startswith(b"%03d " % process)]
                equal(mine, [record(process, n) for n in range(records)], f"records of process {process}, whole and in order")
        env.note(f"{len(lines)} records of {processes} processes, {kills} leaders killed")
        cluster.wait_agreed()


@limit(90)
def test_a_timer_signal_does_not_make_a_program_append_twice(env):
    """write(2) to a file does not end with EINTR because of SIGALRM: whoever tries again would append twice."""
    script = """
import os, signal, sys, time
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
end, n = time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    os.write(fd, b"%08d\\n" % n)
    n += 1
signal.setitimer(signal.ITIMER_REAL, 0) # at its end the interpreter takes the handler away before the timer
print(n)
"""
    with env.cluster(n=3) as cluster:
        m = cluster.mount()
        writer = subprocess.Popen([sys.executable, "-c", script, str(m / "log"), "6"], stdout=subprocess.PIPE)
        for _ in range(4):
            time.sleep(0.8) # the load goes on meanwhile; not a wait for anything
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.start(leader)
            cluster.wait_leader()
        count = int(writer.communicate(timeout=slow(30))[0])
        equal(writer.returncode, 0, "exit code of the writer")
        lines = (m / "log").read_bytes().splitlines()
        equal(lines, [b"%08d" % i for i in range(count)], "records, each once and in order")


@limit(90)
def test_in_a_rolling_restart_with_sigterm_leaders_hand_over_and_no_write_fails(env):
    """A leader that is asked to end hands over first."""
    script = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
slowest = 0
while not os.path.exists(sys.argv[2]):
    began = time.monotonic()
    os.write(fd, b"x")
    slowest = max(slowest, time.monotonic() - began)
print(slowest)
"""
    with env.cluster(n=3) as cluster:
        m = cluster.mount()
        writer = subprocess.Popen([sys.executable, "-c", script, str(m / "log"), str(env.dir / "stop")],
                                  stdout=subprocess.PIPE)
        def caught_up():
            nodes = cluster.status().values()
            return len(nodes) == 3 and max(n["last"] for n in nodes) - min(n["applied"] for n in nodes) < 1000
        for _ in range(2):
            for id in cluster.ids:
                wait_for(caught_up, 15, "every node to be nearly where the last one is")
                cluster.stop(id)
                cluster.start(id)
                cluster.wait_leader()
        (env.dir / "stop").touch()
        slowest = float(writer.communicate(timeout=slow(30))[0])
        equal(writer.returncode, 0, "exit code of the writer")
        env.note(f"slowest write during six restarts: {slowest * 1000:.0f} ms")
        check(slowest < slow(0.5), f"a write took {slowest:.3f} s")
        check(any("handing over to node" in cluster.log(id).read_text() for id in cluster.ids), "nobody handed over")

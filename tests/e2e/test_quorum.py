"""Two of three nodes gone: honest errors in time, interruptible, and the same mount works again afterwards."""

import concurrent.futures
import os
import signal
import statistics
import subprocess
import sys
import time

from harness import check, equal, errno_of, limit, slow, wait_for

TIMEOUT = 2.0
SLACK = 1.0

# A process that handles SIGINT itself, so that the system call has to end with EINTR: the default action
# would kill it whatever the mount does.
INTERRUPTIBLE = """
import os, signal, sys
def stop(number, frame): raise KeyboardInterrupt
signal.signal(signal.SIGINT, stop)
os.write(1, b"ready")
try:
    if sys.argv[1] == "read":
        with open(sys.argv[2], "rb") as f: f.read()
    else:
        fd = os.open(sys.argv[2], os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"new")
        os.close(fd)
except KeyboardInterrupt:
    os._exit(42)
except OSError as e:
    os.write(1, str(e).encode())
    os._exit(1)
os._exit(0)
"""


def timed_errno(call, *args):
    begin = time.monotonic()
    name = errno_of(call, *args)
    return name, time.monotonic() - begin


def overwrite(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def lose_two(cluster, keep_leader):
    """Kill two nodes, the leader among them or not; gives the ids of the dead."""
    leader = cluster.wait_leader()
    others = [id for id in cluster.ids if id != leader]
    dead = others if keep_leader else [leader, others[0]]
    cluster.kill(*dead)
    return dead


OPERATIONS = {
    "write": lambda d: overwrite(d / "key", b"never"),
    "append": lambda d: (d / "key").open("ab", buffering=0).write(b"never"),
    "read": lambda d: (d / "key").read_bytes(),
    "stat": lambda d: os.stat(d / "key"),
    "list": os.listdir,
    "create": lambda d: (d / "new").write_bytes(b"x"),
    "mkdir": lambda d: os.mkdir(d / "dir"),
    "unlink": lambda d: os.unlink(d / "key"),
    "rename": lambda d: os.rename(d / "key", d / "moved"),
    "chmod": lambda d: os.chmod(d / "key", 0o600),
}
READS = ("read", "stat", "list")


def fails_honestly(m):
    """Every kind of operation at once; gives their outcomes. Each in a directory of its own, since the kernel
    itself lets changes of one directory wait for each other."""
    with concurrent.futures.ThreadPoolExecutor(len(OPERATIONS)) as pool:
        results = pool.map(lambda what: timed_errno(OPERATIONS[what], m / what), OPERATIONS)
        outcomes = dict(zip(OPERATIONS, results))
    for what, (name, took) in outcomes.items():
        check(name == "ETIMEDOUT" or (name == "EROFS" and what not in READS), f"{what} without quorum gave {name}")
        check(took <= slow(TIMEOUT + SLACK), f"{what} without quorum took {took:.1f} s")
    return {what: name for what, (name, _) in outcomes.items()}


def without_quorum(env, keep_leader):
    with env.cluster() as cluster:
        m = cluster.mount("a", f"timeout={TIMEOUT:.0f}")
        other = cluster.mount("b", f"timeout={TIMEOUT:.0f}")
        for what in OPERATIONS:
            os.mkdir(m / what)
            (m / what / "key").write_text("before")
        dead = lose_two(cluster, keep_leader)
        outcomes = fails_honestly(m)
        env.note(f"outcomes without quorum: {outcomes}")
        cluster.start(dead[0])
        cluster.wait_leader()
        # the mount needs no remount; what failed with "unknown" may have come through meanwhile
        wait_for(lambda: errno_of(os.stat, m / "read" / "key") == "ok", 5, "the mount to read again")
        for what, name in outcomes.items():
            if name == "EROFS" or what in READS:
                equal((sorted(os.listdir(m / what)), (m / what / "key").read_text()), (["key"], "before"), f"after {what} ({name})")
        check((m / "write" / "key").read_text() in ("before", "never"), "a key holds what nobody wrote")
        (m / "after").write_text("works")
        equal((other / "after").read_text(), "works", "a key written after the recovery, through the other mount")
        cluster.start(dead[1])
        cluster.wait_agreed()


@limit(60)
def test_without_quorum_changes_and_reads_fail_in_time_and_the_mount_recovers_when_the_leader_was_lost(env):
    without_quorum(env, keep_leader=False)


@limit(60)
def test_without_quorum_changes_and_reads_fail_in_time_and_the_mount_recovers_when_the_leader_is_left(env):
    without_quorum(env, keep_leader=True)


@limit(60)
def test_a_change_refused_with_erofs_is_never_done(env):
    with env.cluster() as cluster:
        m = cluster.mount("a", "timeout=1")
        (m / "log").write_text("")
        fd = os.open(m / "log", os.O_WRONLY | os.O_APPEND)
        dead = lose_two(cluster, keep_leader=False)
        outcomes = {}
        for i in range(4):
            outcomes[b"%04d\n" % i] = errno_of(os.write, fd, b"%04d\n" % i)
        env.note(f"outcomes of writes without quorum: {sorted(outcomes.values())}")
        cluster.start(*dead)
        cluster.wait_ready()
        wait_for(lambda: errno_of(os.write, fd, b"last\n") == "ok", 10, "the handle to write again")
        os.close(fd)
        found = (m / "log").read_bytes().splitlines(keepends=True)
        for record, outcome in outcomes.items():
            check(outcome in ("EROFS", "ETIMEDOUT"), f"a write without quorum gave {outcome}")
            check(found.count(record) <= (0 if outcome == "EROFS" else 1), f"{record!r} ({outcome}) is there: {found}")


def interrupt(argv, ready=None):
    """Start argv, SIGINT it once it waits inside the mount; (exit code, seconds from SIGINT to its end, output)."""
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        if ready:
            equal(p.stdout.read(len(ready)), ready, "what the process says first")
        wait_for(lambda: waits_in_mount(p.pid), 5, f"{argv[0]} to wait inside the mount")
        begin = time.monotonic()
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=slow(10))
        return p.returncode, time.monotonic() - begin, out
    finally:
        if p.poll() is None:
            p.kill()


def waits_in_mount(pid):
    try:
        with open(f"/proc/{pid}/wchan") as f:
            return f.read() == "request_wait_answer"
    except OSError:
        return False


@limit(60)
def test_waiting_reads_and_writes_can_be_interrupted_at_once(env):
    with env.cluster() as cluster:
        m = cluster.mount("a") # 10 s: nothing here ends by itself
        (m / "key").write_text("before")
        dead = lose_two(cluster, keep_leader=False)
        for what in ("read", "write"):
            code, took, out = interrupt([sys.executable, "-I", "-c", INTERRUPTIBLE, what, m / "key"], b"ready")
            equal((code, out), (42, b""), f"exit code and words of an interrupted {what}")
            check(took < slow(0.5), f"SIGINT took {took:.2f} s to end a waiting {what}")
        for argv in (["cat", m / "key"], ["ls", "-la", m.path], ["sh", "-c", f"echo new > {m / 'key'}"]):
            code, took, _ = interrupt(argv)
            check(code in (-signal.SIGINT, 130), f"{argv[0]} ended with {code}")
            check(took < slow(0.5), f"SIGINT took {took:.2f} s to end {argv[0]}")
        cluster.start(*dead)
        cluster.wait_ready()
        wait_for(lambda: errno_of(os.stat, m / "key") == "ok", 5, "the mount to answer again")
        check((m / "key").read_text().strip() in ("before", "new"), "the key holds what nobody wrote")


@limit(60)
def test_status_is_readable_within_100_ms_without_quorum_and_without_any_node(env):
    with env.cluster() as cluster:
        m = cluster.mount("a", "timeout=2")
        (m / "key").write_text("before")
        dead = lose_two(cluster, keep_leader=False)
        for phase in ("one node left", "no node left"):
            blocked = subprocess.Popen(["cat", m / "key"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took = []
            for _ in range(9):
                begin = time.monotonic()
                done = subprocess.run(["cat", m / ".raft" / "status"], capture_output=True, timeout=slow(5))
                took.append(time.monotonic() - begin)
                equal(done.returncode, 0, f"exit code of cat .raft/status with {phase}: {done.stderr!r}")
                check(done.stdout, f".raft/status is empty with {phase}")
            env.note(f"cat .raft/status with {phase}: {statistics.median(took) * 1000:.1f} ms")
            check(statistics.median(took) < slow(0.1), f"cat .raft/status took {statistics.median(took):.3f} s with {phase}")
            for name in ("leader", "members", "version"):
                equal(errno_of((m / ".raft" / name).read_bytes), "ok", f".raft/{name} with {phase}")
            blocked.wait(slow(10))
            cluster.kill(*cluster.running())
        cluster.start()
        cluster.wait_ready()
        del dead
        wait_for(lambda: errno_of((m / "key").read_bytes) == "ok", 5, "the mount to answer again")


@limit(60)
def test_a_read_that_waits_goes_on_when_the_quorum_comes_back_in_time(env):
    with env.cluster() as cluster:
        m = cluster.mount("a")
        (m / "key").write_text("value")
        dead = lose_two(cluster, keep_leader=False)
        reader = subprocess.Popen(["cat", m / "key"], stdout=subprocess.PIPE)
        writer = subprocess.Popen(["sh", "-c", f"echo late > {m / 'late'}"])
        for p in (reader, writer):
            wait_for(lambda: waits_in_mount(p.pid), 5, "a process to wait inside the mount")
        cluster.start(dead[0])
        out, _ = reader.communicate(timeout=slow(10))
        equal((reader.returncode, out), (0, b"value"), "what cat read once the quorum was back")
        equal(writer.wait(slow(10)), 0, "exit code of the writer that waited")
        equal((m / "late").read_bytes(), b"late\n", "what the writer wrote")

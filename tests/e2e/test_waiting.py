"""Without a quorum: every system call that waits for the cluster ends with Ctrl-C and with kill -9, at once and not
at its deadline, and when raftfs dies; and `.raft/last_error` says afterwards what was asked, what is known, and who was
tried."""

import errno
import fcntl
import mmap
import os
import signal
import struct
import time
from pathlib import Path

from harness import check, equal, errno_of, limit, slow, wait_for
from test_syscalls import PUNCH, fallocate, get

SLEEPER = "sleep with a dirty mapping"
PATIENCE_S = 60 # of the mount: far beyond what a signal may take
LOCK_1 = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0) # a flock of the first byte


def calls(top):
    """name -> a call that must ask the cluster; handles are opened while it still answers."""
    f, g = os.open(top / "f", os.O_RDWR), os.open(top / "g", os.O_RDWR)
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    locked = [os.open(top / "locked", os.O_RDWR) for _ in range(5)]
    return {
        "open": lambda: os.open(top / "f", os.O_RDONLY),
        "create": lambda: os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=here),
        "stat": lambda: os.stat(top / "f"),
        "fstat": lambda: os.fstat(f),
        "access": lambda: os.access(top / "f", os.R_OK) or os.stat(top / "f"), # (it tells no errno)
        "chdir": lambda: os.chdir(top / "folder"),
        "execve": lambda: os.execv(top / "program", ["program"]),
        "read": lambda: os.pread(f, 10, 0),
        "write": lambda: os.pwrite(f, b"x", 0),
        "truncate": lambda: os.truncate(top / "f", 1),
        "ftruncate": lambda: os.ftruncate(f, 1),
        "fallocate": lambda: fallocate(f, PUNCH, 0, 1),
        "seek": lambda: os.lseek(f, 0, os.SEEK_DATA),
        "copy": lambda: os.copy_file_range(f, g, 3, 0, 0),
        "list": lambda: os.listdir(here),
        "mkdir": lambda: os.mkdir("d", dir_fd=here),
        "rmdir": lambda: os.rmdir("folder", dir_fd=here),
        "unlink": lambda: os.unlink("g", dir_fd=here),
        "rename": lambda: os.rename("f", "h", src_dir_fd=here, dst_dir_fd=here),
        "link": lambda: os.link("f", "f2", src_dir_fd=here, dst_dir_fd=here),
        "symlink": lambda: os.symlink("x", "l", dir_fd=here),
        "readlink": lambda: os.readlink("link", dir_fd=here),
        "mkfifo": lambda: os.mkfifo("p", dir_fd=here),
        "fchmod": lambda: os.fchmod(f, 0o600),
        "utime": lambda: os.utime(f, (1, 1)),
        "setxattr": lambda: os.setxattr(f, "user.x", b"1"),
        "getxattr": lambda: os.getxattr(f, "user.x"),
        "listxattr": lambda: os.listxattr(f),
        "statfs": lambda: os.statvfs(top),
        "open with O_TMPFILE": lambda: os.open(top, os.O_TMPFILE | os.O_RDWR),
        "flock": lambda: fcntl.flock(locked[0], fcntl.LOCK_SH),
        "flock that does not wait": lambda: fcntl.flock(locked[1], fcntl.LOCK_SH | fcntl.LOCK_NB),
        "fcntl": lambda: fcntl.lockf(locked[2], fcntl.LOCK_EX, 1, 1),
        "fcntl that does not wait": lambda: fcntl.lockf(locked[3], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2),
        "F_GETLK": lambda: fcntl.fcntl(locked[4], fcntl.F_GETLK, LOCK_1),
    }


def prepare(top):
    for name in ("f", "g", "t", "locked"):
        (top / name).write_text("content")
    for name in ("m1", "m2", "m3"):
        (top / name).write_bytes(b"m" * 65536)
    (top / "program").write_text("#!/bin/sh\n")
    os.chmod(top / "program", 0o755)
    os.mkdir(top / "folder")
    os.symlink("f", top / "link")
    return calls(top)


def begin(call, gate=None):
    """A child that makes the call, with every signal's default action, and exits with its errno. With a pipe as `gate`
    the call has two steps, and a byte in the pipe lets it go on after its first."""
    pid = os.fork()
    if pid == 0:
        code = 0
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            steps = call()
            if gate:
                next(steps)
                os.read(gate[0], 1)
                next(steps, None)
        except OSError as e:
            code = e.errno
        finally:
            os._exit(code)
    return pid


def ends_of_handles(top):
    """name -> a call in two steps, in whose second one its process lets go of something."""
    def truncated(end):
        fd = os.open(top / "t", os.O_WRONLY | os.O_TRUNC)
        yield
        end(fd)

    def locked(end):
        fd = os.open(top / "locked", os.O_RDWR)
        fcntl.lockf(fd, fcntl.LOCK_SH, 1, 9)
        yield
        end(fd)

    def map_and_read():
        m = mmap.mmap(os.open(top / "m1", os.O_RDONLY), 65536, prot=mmap.PROT_READ)
        yield
        m[0]

    def map_and_write(name, end):
        m = mmap.mmap(os.open(top / name, os.O_RDWR), 65536)
        m[0] # a page that is there: to write into it asks nobody
        yield
        m[:5] = b"dirty"
        end(m)
    return {
        "mapped read": map_and_read,
        "msync": lambda: map_and_write("m2", lambda m: m.flush()),
        SLEEPER: lambda: map_and_write("m3", lambda m: time.sleep(1000)),
        "close that truncates": lambda: truncated(os.close),
        "exit that truncates": lambda: truncated(lambda fd: os._exit(0)),
        "fsync that truncates": lambda: truncated(os.fsync),
        "close that unlocks": lambda: locked(os.close),
        "fcntl that unlocks": lambda: locked(lambda fd: fcntl.lockf(fd, fcntl.LOCK_UN)),
    }


def open_early(top, gate):
    """Children that have made the first step of ends_of_handles()."""
    children = {name: begin(call, gate) for name, call in ends_of_handles(top).items()}
    for name, pid in children.items():
        wait_for(lambda: stands_at_gate(pid), 10, f"the first step of {name}")
    return children


def stands_at_gate(pid):
    return "pipe_read" in Path(f"/proc/{pid}/wchan").read_text()


def under_way(waiting, early=None, gate=None):
    """Children that make the calls and wait for the cluster, and those that stand at the gate: name -> pid."""
    children = {name: begin(call) for name, call in waiting.items()}
    if gate:
        os.write(gate[1], b"." * len(early))
        children.update(early)
    settled = time.monotonic() + slow(0.5)
    wait_for(lambda: time.monotonic() > settled, 2, "the calls to be under way")
    for name, pid in children.items():
        check(state_of(pid) != "Z" and not stands_at_gate(pid), f"{name} did not wait for the cluster")
    return children


def end_of(name, pid, why):
    """Wait for its end; its status as waitpid(2) gives it."""
    status = []

    def ended():
        done, code = os.waitpid(pid, os.WNOHANG)
        status.append(code)
        return done == pid
    wait_for(ended, 5, f"{name} to end by {why}")
    return status[-1]


def lose_quorum(cluster):
    leader = cluster.wait_leader()
    cluster.kill(*[id for id in cluster.ids if id != leader])
    wait_for(lambda: cluster.leader_now() is None, 10, "the last node to lead no more")


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def goes_on(call, what):
    """It answers, if only that what it would make is there already."""
    name = errno_of(call)
    check(name in ("ok", "EEXIST", "ENOENT", "ENOTEMPTY", "ENODATA", "EAGAIN"), f"{what} gave {name} with a quorum")


@limit(120)
def test_every_call_that_waits_is_ended_by_a_signal_and_goes_on_with_a_quorum(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a", f"timeout={PATIENCE_S}")
        waiting, gates = prepare(a.path), {number: os.pipe() for number in (signal.SIGINT, signal.SIGKILL)}
        early = {number: open_early(a.path, gate) for number, gate in gates.items()}
        lose_quorum(cluster)
        for number, gate in gates.items():
            children = under_way(waiting, early[number], gate)
            for pid in children.values():
                os.kill(pid, number)
            sent = time.monotonic()
            for name, pid in children.items():
                end_of(name, pid, signal.Signals(number).name)
            env.note(f"{len(children)} calls ended {time.monotonic() - sent:.2f} s after {signal.Signals(number).name}")
        children = under_way(waiting)
        cluster.start()
        cluster.wait_ready()
        for name, pid in children.items():
            goes_on(lambda: give(end_of(name, pid, "the quorum's return")), name)
        cluster.wait_agreed()


def give(status):
    """As the call in the child did: its errno as an OSError."""
    check(os.WIFEXITED(status), f"a child ended with status {status}")
    if os.WEXITSTATUS(status) != 0:
        raise OSError(os.WEXITSTATUS(status), "")


@limit(120)
def test_every_call_goes_on_while_each_node_is_killed_in_turn(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a")
        for id in cluster.ids:
            os.mkdir(a / str(id))
            waiting = prepare(a / str(id))
            cluster.kill(id)
            for name, call in waiting.items():
                goes_on(lambda: give(end_of(name, begin(call), "its own")), name)
            cluster.start(id)
            cluster.wait_ready()


@limit(60)
def test_who_stands_behind_the_call_of_another_in_the_kernel_needs_no_more_than_ctrl_c(env):
    """Creating locks the directory in the kernel, where no signal reaches who waits: the first one's end has to come."""
    timeout_s = 3
    with env.cluster(3) as cluster:
        a = cluster.mount("a", f"timeout={timeout_s}")
        here = os.open(a.path, os.O_RDONLY | os.O_DIRECTORY)
        lose_quorum(cluster)

        def create(name):
            return begin(lambda: os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=here))
        first = create("first")
        wait_for(lambda: state_of(first) == "S", 2, "the first one to wait for the cluster")
        began = time.monotonic()
        behind = [create(f"behind-{i}") for i in range(4)]
        for pid in behind:
            wait_for(lambda: state_of(pid) == "D", 2, "the others to wait in the kernel")
            os.kill(pid, signal.SIGINT)
        for pid in behind:
            equal(end_of("who stands behind", pid, "SIGINT"), signal.SIGINT, "its end")
        env.note(f"{len(behind)} ended {time.monotonic() - began:.2f} s after SIGINT, behind one that was let wait")
        check(time.monotonic() - began < slow(timeout_s + 1), "they waited for each other too")
        equal(end_of("the first", first, "itself"), errno.ETIMEDOUT << 8, "who was not interrupted")


@limit(60)
def test_the_death_of_raftfs_frees_everybody_and_a_restart_takes_the_mount_over(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a", f"timeout={PATIENCE_S}")
        waiting, gate = prepare(a.path), os.pipe()
        early = open_early(a.path, gate)
        lose_quorum(cluster)
        children = under_way(waiting, early, gate)
        a.proc.signal(signal.SIGKILL)
        os.kill(children[SLEEPER], signal.SIGKILL)
        ends = {name: end_of(name, pid, "the death of raftfs") for name, pid in children.items()}
        a.proc.wait(5, "SIGKILL")
        others = {"mapped read": signal.SIGBUS, "msync": errno.EIO << 8, "exit that truncates": 0, SLEEPER: signal.SIGKILL}
        for name, status in ends.items():
            check(status in (errno.ENOTCONN << 8, errno.ECONNABORTED << 8) or status == others.get(name),
                  f"{name} ended with status {status}")
        equal(errno_of(os.stat, a.path), "ENOTCONN", "stat of the dead mount")
        cluster.start()
        cluster.wait_ready()
        a.start()
        equal(get(a / "m1"), b"m" * 65536, "content after the restart")


@limit(60)
def test_last_error_is_a_sentence_about_the_last_failure(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a", "timeout=1")
        (a / "color").write_text("blue")
        equal(get(a / ".raft/last_error"), b"", "last_error before anything failed")
        fd = os.open(a / "color", os.O_RDWR)
        leader = cluster.wait_leader()
        others = [id for id in cluster.ids if id != leader]
        cluster.kill(*others)
        wait_for(lambda: errno_of(os.pwrite, fd, b"x", 0) == "EROFS", 20, "a write that is certainly not made")
        said = get(a / ".raft/last_error").decode()
        for part in ('write of "color" (inode ', f"for process {os.getpid()}", "within 1000 ms", "certainly not made",
                     *(f"{cluster.address(id)} (not reachable" for id in others)):
            check(part in said, f"last_error lacks {part!r}: {said}")
        equal(errno_of(os.listdir, a.path), "ETIMEDOUT", "a listing")
        said = get(a / ".raft/last_error").decode()
        check("readdir of inode 1" in said or "getattr of inode 1" in said and "nothing was read" in said, f"last_error: {said}")
        cluster.start()
        cluster.wait_ready()
        os.close(fd)

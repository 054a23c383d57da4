"""Without a quorum: every system call that waits for the cluster ends with Ctrl-C and with kill -9, at once and not
at its deadline; and `.raft/last_error` says afterwards what was asked, what is known, and who was tried."""

import mmap
import os
import signal
import time

from harness import check, equal, errno_of, limit, slow, wait_for
from test_syscalls import PUNCH, fallocate, get

PATIENCE_S = 60 # of the mount: far beyond what a signal may take


def calls(top):
    """name -> a call that must ask the cluster; handles are opened while it still answers."""
    f, g = os.open(top / "f", os.O_RDWR), os.open(top / "g", os.O_RDWR)
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    mapping = mmap.mmap(os.open(top / "mapped", os.O_RDWR), 65536)
    return {
        "open": lambda: os.open(top / "f", os.O_RDONLY),
        "create": lambda: os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=here),
        "stat": lambda: os.stat(top / "f"),
        "fstat": lambda: os.fstat(f),
        "read": lambda: os.pread(f, 10, 0),
        "write": lambda: os.pwrite(f, b"x", 0),
        "ftruncate": lambda: os.ftruncate(f, 1),
        "fallocate": lambda: fallocate(f, PUNCH, 0, 1),
        "seek": lambda: os.lseek(f, 0, os.SEEK_DATA),
        "copy": lambda: os.copy_file_range(f, g, 3, 0, 0),
        "mapped read": lambda: mapping[0],
        "list": lambda: os.listdir(here),
        "mkdir": lambda: os.mkdir("d", dir_fd=here),
        "unlink": lambda: os.unlink("g", dir_fd=here),
        "rename": lambda: os.rename("f", "h", src_dir_fd=here, dst_dir_fd=here),
        "symlink": lambda: os.symlink("x", "l", dir_fd=here),
        "fchmod": lambda: os.fchmod(f, 0o600),
        "utime": lambda: os.utime(f, (1, 1)),
        "setxattr": lambda: os.setxattr(f, "user.x", b"1"),
        "getxattr": lambda: os.getxattr(f, "user.x"),
        "listxattr": lambda: os.listxattr(f),
        "statfs": lambda: os.statvfs(top),
        "open with O_TMPFILE": lambda: os.open(top, os.O_TMPFILE | os.O_RDWR),
    }


def begin(call):
    """A child that makes the call, with every signal's default action."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            call()
        except BaseException:
            pass
        os._exit(0)
    return pid


def state_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


@limit(120)
def test_every_call_that_waits_is_ended_by_a_signal(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a", f"timeout={PATIENCE_S}")
        for name in ("f", "g"):
            (a / name).write_text("content")
        (a / "mapped").write_bytes(b"m" * 65536)
        waiting = calls(a.path)
        leader = cluster.wait_leader()
        cluster.kill(*[id for id in cluster.ids if id != leader])
        wait_for(lambda: cluster.leader_now() is None, 10, "the last node to lead no more")
        for number in (signal.SIGINT, signal.SIGKILL):
            children = {name: begin(call) for name, call in waiting.items()}
            settled = time.monotonic() + slow(0.5)
            wait_for(lambda: time.monotonic() > settled, 2, "the calls to be under way")
            for name, pid in children.items():
                check(state_of(pid) != "Z", f"{name} did not wait for the cluster")
                os.kill(pid, number)
            sent = time.monotonic()
            for name, pid in children.items():
                wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 5, f"{name} to end by {signal.Signals(number).name}")
            env.note(f"{len(children)} calls ended {time.monotonic() - sent:.2f} s after {signal.Signals(number).name}")
        cluster.start()
        cluster.wait_ready()
        wait_for(lambda: errno_of(os.stat, a / "mapped") == "ok", 10, "the mount to answer again")
        cluster.wait_agreed()


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

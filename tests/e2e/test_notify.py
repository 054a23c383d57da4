"""-o notify: what others have done is told to who watches the mount with inotify, as if it had been done here; nothing
of it becomes a change."""

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
import subprocess
import time
from pathlib import Path

from harness import check, equal, errno_of, limit, slow, wait_for

libc = ctypes.CDLL(None, use_errno=True)

NAMES = {0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE",
         0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF"}
ISDIR, IGNORED = 0x40000000, 0x8000
WANTED = sum(NAMES)


class Watch:
    """inotify of some paths; `seen` are the events so far, in order: (event, name)."""

    def __init__(self, *paths):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.seen, self.cookies = [], {}
        for path in paths:
            check(libc.inotify_add_watch(self.fd, os.fsencode(path), WANTED) >= 0, f"inotify_add_watch({path})")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)

    def read(self):
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.fd, 65536)
            while data:
                _, mask, cookie, size = struct.unpack_from("iIII", data)
                name = os.fsdecode(data[16:16 + size].rstrip(b"\0"))
                if not mask & IGNORED:
                    word = NAMES[mask & WANTED] + ("/" if mask & ISDIR else "")
                    self.seen.append((word, name))
                    if cookie:
                        self.cookies.setdefault(cookie, []).append(name)
                data = data[16 + size:]
        return self.seen

    def gets(self, *wanted, what="events"):
        """Exactly these, and no other before them; then it starts anew."""
        wanted = list(wanted)
        try:
            wait_for(lambda: len(self.read()) >= len(wanted), 10, what)
        finally:
            got, self.seen = self.seen, []
        equal(got, wanted, what)


@contextlib.contextmanager
def two_mounts(env, options="notify"):
    with env.cluster(3) as cluster:
        a, b = cluster.mount("a"), cluster.mount("b", options)
        yield cluster, a, b


def settle(cluster, mount):
    """Whatever was done so far has been told, or nobody watched."""
    cluster.wait_agreed()
    index = applied(cluster)

    def is_told():
        words = status_of(mount).replace(",", "").split()
        return words[4] == "0" and int(words[-1]) >= index
    wait_for(is_told, 10, "the changes so far to be told")


def applied(cluster):
    return max(n["applied"] for n in cluster.status().values())


def status_of(mount):
    return next(line for line in (mount / ".raft/status").read_text().splitlines() if line.startswith("notify:"))


@limit(60)
def test_what_another_mount_does_is_told_as_it_is_on_a_local_disk(env):
    with two_mounts(env) as (cluster, a, b):
        os.mkdir(a / "d")
        os.mkdir(a / "d/e")
        (a / "d/kept").write_text("1")
        settle(cluster, b)
        with Watch(b / "d", b / "d/e") as w:
            (a / "d/f").write_text("hello")
            w.gets(("CREATE", "f"), ("CLOSE_WRITE", "f"), ("MODIFY", "f"), ("CLOSE_WRITE", "f"), what="a new file")
            (a / "d/f").write_text("again")
            w.gets(("MODIFY", "f"), ("CLOSE_WRITE", "f"), what="contents")
            os.chmod(a / "d/f", 0o600)
            w.gets(("MODIFY", "f"), ("CLOSE_WRITE", "f"), what="a mode")
            os.rename(a / "d/f", a / "d/g")
            w.gets(("MOVED_FROM", "f"), ("MOVED_TO", "g"), what="a rename")
            equal(list(w.cookies.values()), [["f", "g"]], "the two halves of a rename have one cookie")
            os.rename(a / "d/g", a / "d/kept")
            w.gets(("MOVED_FROM", "g"), ("MOVED_TO", "kept"), what="a rename over a file")
            os.rename(a / "d/kept", a / "d/e/moved")
            w.gets(("MOVED_FROM", "kept"), ("MOVED_TO", "moved"), what="a rename to another directory")
            os.link(a / "d/e/moved", a / "d/link")
            w.gets(("CREATE", "link"), ("CLOSE_WRITE", "link"), what="a hard link")
            os.unlink(a / "d/link")
            w.gets(("DELETE", "link"), what="one name less")
            os.unlink(a / "d/e/moved")
            w.gets(("DELETE", "moved"), what="a file that goes")
            os.symlink("x", a / "d/s")
            w.gets(("CREATE", "s"), what="a symbolic link")
            os.mkfifo(a / "d/p")
            w.gets(("CREATE", "p"), what="a fifo")
            os.mkdir(a / "d/new")
            w.gets(("CREATE/", "new"), what="a directory")
            os.utime(a / "d/new", (1, 1))
            w.gets(("ATTRIB/", "new"), what="a directory's times")
            os.rmdir(a / "d/new")
            w.gets(("DELETE/", "new"), what="a directory that goes")
            os.rename(a / "d/e", a / "away")
            w.gets(("MOVED_FROM/", "e"), ("MOVE_SELF", ""), what="a watched directory that moves")
        equal(sorted(os.listdir(b / "d")), ["p", "s"], "what is there in the end")
        equal(sorted(os.listdir(a / "d")), ["p", "s"], "what is there in the end, on the other mount")


@limit(60)
def test_a_watched_file_that_is_replaced_says_so(env):
    with two_mounts(env) as (cluster, a, b):
        (a / "config").write_text("old")
        settle(cluster, b)
        with Watch(b / "config") as w:
            (a / "config.new").write_text("new")
            os.rename(a / "config.new", a / "config")
            wait_for(lambda: ("DELETE_SELF", "") in w.read(), 10, "the end of the watched file")
        equal((b / "config").read_text(), "new", "content")
        settle(cluster, b)
        with Watch(b / "config") as w: # as editors and raftctl do it
            cluster.ctl("set", "config", "newer")
            w.gets(("MODIFY", ""), ("CLOSE_WRITE", ""), what="raftctl set")


@limit(60)
def test_nothing_that_is_told_becomes_a_change_and_what_is_done_here_is_told_once(env):
    with two_mounts(env) as (cluster, a, b):
        os.mkdir(a / "d")
        (a / "d/f").write_bytes(b"x" * 100_000)
        settle(cluster, b)
        with Watch(b / "d") as w:
            for i in range(20):
                (a / f"d/n{i}").write_text("x")
                os.rename(a / f"d/n{i}", a / f"d/m{i}")
                os.unlink(a / f"d/m{i}")
            wait_for(lambda: w.read().count(("DELETE", "m19")) == 1, 10, "the last of them")
            check(all(w.seen.count((e, f"{n}{i}")) == 1 for i in range(20)
                      for e, n in (("CREATE", "n"), ("MOVED_FROM", "n"), ("MOVED_TO", "m"), ("DELETE", "m"))),
                  f"not each once: {w.seen}")
            settle(cluster, b)
            w.read()
            w.seen = []
            before = os.stat(a / "d/f"), applied(cluster)
            fd = os.open(a / "d/f", os.O_WRONLY)
            os.pwrite(fd, b"y", 0)
            w.gets(("MODIFY", "f"), ("CLOSE_WRITE", "f"), what="a write elsewhere")
            os.close(fd)
            after = os.stat(a / "d/f")
            equal(after.st_size, before[0].st_size, "size")
            equal((b / "d/f").read_bytes(), b"y" + b"x" * 99_999, "content")
            cluster.wait_agreed()
            entries = applied(cluster) - before[1]
            check(entries <= 3, f"{entries} log entries for one write")
            (b / "d/own").write_text("1")
            w.gets(("CREATE", "own"), ("MODIFY", "own"), ("CLOSE_WRITE", "own"), what="what this mount does itself")
            (a / "d/end").write_text("")
            w.gets(("CREATE", "end"), ("CLOSE_WRITE", "end"), what="the next thing")
        check("dropped 0" in status_of(b), status_of(b))


@limit(60)
def test_a_mapped_file_keeps_what_was_written_to_it(env):
    import mmap
    with two_mounts(env) as (cluster, a, b):
        (a / "m").write_bytes(b"-" * 65536)
        fd = os.open(b / "m", os.O_RDWR)
        m = mmap.mmap(fd, 65536)
        settle(cluster, b)
        with Watch(b.path) as w:
            m[65000:65005] = b"dirty"
            for i in range(5):
                os.chmod(a / "m", 0o600 + i % 2 * 4)
                w.gets(("MODIFY", "m"), ("CLOSE_WRITE", "m"), what="a change of the mapped file")
            os.rename(a / "m", a / "moved")
            w.gets(("MOVED_FROM", "m"), ("MOVED_TO", "moved"), what="a rename of the mapped file")
            m.flush()
        equal((a / "moved").read_bytes()[65000:65005], b"dirty", "what was written to the mapping")
        m.close()
        os.close(fd)


@limit(90)
def test_faults_on_the_way(env):
    with two_mounts(env) as (cluster, a, b):
        with Watch(b.path) as w:
            (a / "one").write_text("")
            w.gets(("CREATE", "one"), ("CLOSE_WRITE", "one"), what="before")
            leader = cluster.wait_leader()
            cluster.kill(leader)
            (a / "two").write_text("")
            w.gets(("CREATE", "two"), ("CLOSE_WRITE", "two"), what="with another leader")
            cluster.start(leader)
            pid = notifier_of(b)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: notifier_of(b) not in (None, pid), 10, "another notifier")
            (a / "three").write_text("")
            w.gets(("CREATE", "three"), ("CLOSE_WRITE", "three"), what="with another notifier")
        pid = notifier_of(b)
        b.stop()
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 5, "the notifier's end with its mount")


def notifier_of(mount):
    """Its pid; None while there is none."""
    for p in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = p.read_bytes().split(b"\0")
            if words[0] == b"raftfs-notifier" and words[1] == os.fsencode(mount.path):
                return int(p.parent.name)
    return None


@limit(60)
def test_a_mount_with_a_notifier_can_be_unmounted_as_any_other(env):
    with two_mounts(env) as (cluster, a, b):
        with Watch(b.path) as w:
            (a / "f").write_text("")
            w.gets(("CREATE", "f"), ("CLOSE_WRITE", "f"), what="a file")
        subprocess.run(["umount", b.path], check=True)
        equal(b.proc.wait(10, "umount"), 0, "the exit code of raftfs")


@limit(60)
def test_a_subtree_hears_of_itself_alone(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a")
        os.makedirs(a / "app/db")
        b = cluster.mount("b", "notify,subdir=app")
        with Watch(b.path, b / "db") as w:
            (a / "outside").write_text("")
            (a / "app/db/x").write_text("")
            w.gets(("CREATE", "x"), ("CLOSE_WRITE", "x"), what="inside")
            os.rename(a / "outside", a / "app/in")
            w.gets(("CREATE", "in"), ("CLOSE_WRITE", "in"), what="it comes in")
            os.rename(a / "app/in", a / "out")
            w.gets(("DELETE", "in"), what="it goes out")


@limit(60)
def test_what_is_told_to_the_notifier_alone_is_hidden_from_everybody_else(env):
    with two_mounts(env) as (cluster, a, b):
        equal(errno_of(os.getxattr, b.path, "user.raft.notify.1"), "ENODATA", "the attribute that arms")
        equal(errno_of(os.getxattr, a.path, "user.raft.notify.1"), "ENODATA", "without -o notify")


@limit(60)
def test_many_at_once_are_told_each_once_and_in_order(env):
    files = 1000
    with two_mounts(env) as (cluster, a, b):
        os.mkdir(a / "d")
        settle(cluster, b)
        with Watch(b / "d") as w:
            begin = time.monotonic()
            for i in range(files):
                os.mknod(a / f"d/{i}")
            made = time.monotonic() - begin
            wait_for(lambda: len([e for e, _ in w.read() if e == "CREATE"]) >= files, 30, "all of them")
            env.note(f"{files} files made in {made:.2f} s, the last one told {time.monotonic() - begin - made:.2f} s later")
        equal([name for e, name in w.seen if e == "CREATE"], [str(i) for i in range(files)], "names, in order")

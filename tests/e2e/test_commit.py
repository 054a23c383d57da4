"""-o commit=close: what is written is seen by this mount at once and by everybody else as a whole, at close or fsync, or
not at all."""

import errno
import fcntl
import importlib
import os
import signal
import subprocess
import time

from harness import FULL, Mount, check, equal, errno_of, limit, slow, wait_for
from test_atomic import Beside
from test_exercise import OPS, SEED, exercise
from test_locks import SHORT_SESSION
from test_posix import get, put
from test_quorum import lose_two, waits_in_mount
from test_requests import Counter
from test_syscalls import name_file
from test_tools import tool

MIB = 1 << 20


class Closing:
    """The shared cluster, with a mount of commit=close in place of its first one."""

    def __init__(self, env, shared):
        self.cluster, self.shared, self.b = shared.cluster, shared, shared.b
        self.a = self.mount = Mount(env.dir, "close", ["--cluster", shared.cluster.toml], "commit=close")

    def fresh(self):
        name = self.shared.fresh()[0].name
        return self.mount / name, self.b / name

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind is None:
            self.mount.stop()
        return False


def pieces(n, size=MIB):
    return [bytes([i % 251 + 1]) * size for i in range(n)]


def in_child(work):
    """Run work() in a process beside the test, which waits then for signals, and to be killed; an error is its exit code.
    Gives its pid once work() is done."""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(say, b"!")
            while True:
                signal.pause()
        except OSError as e:
            os._exit(e.errno)
        finally:
            os._exit(1)
    os.close(say)
    equal(os.read(ready, 1), b"!", "the child's word that it has written")
    os.close(ready)
    return pid


def kill_child(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# What others see, and when

@limit(60)
def test_others_see_a_file_when_it_is_closed_and_all_of_it(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        count = Counter(c.mount)
        for name, data in ("small", [b"hello, ", b"world"]), ("5m", pieces(5)), ("100m", pieces(100) if FULL else []):
            put(b / name, b"before")
            for flags in os.O_TRUNC, os.O_CREAT | os.O_TRUNC: # an old file, then a new one
                if flags & os.O_CREAT:
                    os.unlink(b / name)
                fd = os.open(a / name, os.O_RDWR | flags, 0o644)
                for piece in data:
                    equal(os.write(fd, piece), len(piece), "bytes written")
                subprocess.run(["true"], close_fds=False) # a child that closes what it inherited
                whole = b"".join(data)
                if data:
                    equal(get(b / name), b"" if flags & os.O_CREAT else b"before", f"{name} elsewhere before its close")
                    equal((get(a / name) == whole, os.fstat(fd).st_size), (True, len(whole)), f"{name} here, and its size")
                os.close(fd)
                check(get(b / name) == whole, f"{name} is not elsewhere what was written")
        def thousand_writes():
            with open(a / "thousand", "wb", buffering=0) as f:
                for i in range(1000):
                    f.write(b"%04d\n" % i)
        equal({k: v for k, v in count.during(thousand_writes).items() if k not in ("lookup", "getattr")}, {"create": 1, "write": 1},
              "requests of a file that is written in a thousand pieces")
        equal(count.during(lambda: subprocess.run(["sh", "-c", "echo x > small"], cwd=a, check=True)).get("write"), 1, "echo x > file")
        equal((get(b / "small"), get(b / "thousand")), (b"x\n", b"".join(b"%04d\n" % i for i in range(1000))), "contents")
        with open(c.mount / ".raft/status") as f:
            check("commits: close\n" in f.read(), "the status does not tell")


@limit(60)
def test_changes_here_and_there_in_a_file_are_seen_together_and_appends_whole_while_leaders_die(env):
    places, size, parts = 30, 600_000, 3
    with env.cluster() as cluster:
        mounts = [cluster.mount(name, "commit=close") for name in "ab"]
        other = cluster.mount("other")
        put(other / "f", b"\1" * size)
        put(other / "log", b"")
        value, turn = [1], [0, 0]
        fd = os.open(other / "f", os.O_RDONLY)

        def read():
            data = os.pread(fd, size, 0)
            seen = {data[i * 20_000] for i in range(places)}
            check(len(seen) == 1, f"a read saw the values {sorted(seen)} together")

        def append(w):
            turn[w] += 1
            with open(mounts[w] / "log", "ab", buffering=0) as f:
                for part in range(parts):
                    f.write(b"%d %05d %d %s\n" % (w, turn[w], part, b"x" * 5000))
        beside = [Beside(env, read), Beside(env, lambda: append(0)), Beside(env, lambda: append(1))]

        def write_rounds(n):
            for _ in range(n):
                value[0] = value[0] % 250 + 1
                with open(mounts[0] / "f", "r+b", buffering=0) as f:
                    for i in range(places):
                        f.seek(i * 20_000)
                        f.write(bytes([value[0]]))
        for _ in range(2):
            write_rounds(10)
            leader = cluster.wait_leader()
            cluster.kill(leader)
            write_rounds(5)
            cluster.start(leader)
            cluster.wait_ready()
        env.note(f"rounds of reads and of appends beside 30 commits: {[one.stop() for one in beside]}")
        os.close(fd)
        equal(get(other / "f")[::20_000], bytes([value[0]]) * places, "the last values")
        lines = [line.split() for line in get(other / "log").splitlines()]
        for i in range(0, len(lines), parts):
            equal([(w, n, part) for w, n, part, _ in lines[i:i + parts]],
                  [(lines[i][0], lines[i][1], b"%d" % part) for part in range(parts)], "the parts of an append")
        for w in (0, 1):
            numbers = [int(n) for who, n, part, _ in lines if who == b"%d" % w and part == b"0"]
            equal(numbers, list(range(1, len(numbers) + 1)), f"appends of mount {w}")


def test_reads_see_what_is_pending_small_or_staged_over_nothing_or_over_a_file(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        old = bytes(range(1, 251)) * 20_000 # 5 MB
        for base in b"", old:
            for size in 100, 3 * MIB:
                put(b / "f", base)
                fd = os.open(a / "f", os.O_RDWR)
                wanted = bytearray(base)
                for at in 5, 4_000_000:
                    os.pwrite(fd, b"N" * size, at)
                    wanted.extend(b"\0" * (at + size - len(wanted)))
                    wanted[at:at + size] = b"N" * size
                check(get(a / "f") == wanted, f"{size} bytes over {len(base)} read back wrong")
                equal(os.pread(fd, 20, 0), bytes(wanted[:20]), "the beginning")
                equal(os.stat(a / "f").st_size, len(wanted), "size here")
                check(get(b / "f") == base, "seen elsewhere before its time")
                os.fsync(fd)
                check(get(b / "f") == wanted, "not there after an fsync")
                os.close(fd)
                tail = os.open(a / "f", os.O_RDWR | os.O_APPEND)
                for _ in range(2):
                    os.write(tail, b"T" * size)
                check(os.pread(tail, 3 * size, len(wanted) - size) == bytes(wanted[-size:]) + b"T" * 2 * size, "an append reads back wrong")
                os.close(tail)
                check(get(b / "f") == wanted + b"T" * 2 * size, "the append is not there")


# Order

def test_times_and_sizes_that_programs_set_before_they_close_are_what_stays(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        fd = os.open(a / "f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"0123456789")
        os.ftruncate(fd, 4)
        os.pwrite(fd, b"!", 2)
        os.utime(fd, ns=(10**18, 10**18 + 1))
        os.close(fd)
        equal((get(b / "f"), os.stat(b / "f").st_mtime_ns), (b"01!3", 10**18 + 1), "written, cut, written, dated")
        with open(a / "g", "wb", buffering=0) as f:
            f.write(b"x" * 100)
            before = os.fstat(f.fileno())
        after = os.stat(b / "g")
        equal((after.st_mtime_ns, after.st_ctime_ns, after.st_size), (before.st_mtime_ns, before.st_ctime_ns, before.st_size),
              "what fstat said before the commit, and stat after it")
        out = env.dir / "tree"
        out.mkdir()
        for name, size in ("small", 10), ("large", 3 * MIB):
            put(out / name, b"x" * size)
            os.utime(out / name, ns=(1_500_000_000_000_000_000, 1_500_000_000_123_456_789))
        tool("cp", "-pr", out, a / "cp")
        tool("cp", "-p", a / "cp" / "large", a / "copied") # within the mount
        tool("sh", "-c", f"tar cf - --format=pax -C {out} . | (mkdir {a / 'tar'} && tar xf - -C {a / 'tar'})")
        tool("rsync", "-a", f"{out}/", a / "rsync")
        for path in b / "copied", *(b / how / name for how in ("cp", "tar", "rsync") for name in ("small", "large")):
            equal(os.stat(path).st_mtime_ns, 1_500_000_000_123_456_789, f"time of {path}")
            check(set(get(path)) == {ord("x")}, f"{path} is not what was copied")


def test_a_file_gets_its_name_with_its_contents_and_unlinked_ones_go_on(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        fd = os.open(a.parent, os.O_TMPFILE | os.O_RDWR, 0o644)
        os.write(fd, b"contents")
        name_file(fd, a / "named")
        equal(get(b / "named"), b"contents", "before its close")
        os.unlink(a / "named")
        os.write(fd, b" and more")
        os.fsync(fd)
        equal(os.pread(fd, 100, 0), b"contents and more", "an open file without a name")
        os.close(fd)
        with open(a / "new", "wb", buffering=0) as f:
            f.write(b"2")
            os.rename(a / "new", a / "f")
            equal(get(a / "f"), b"2", "a renamed file here")
        equal(get(b / "f"), b"2", "and elsewhere, once it is closed")


def test_unlocking_commits(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        for lock, unlock in (fcntl.flock, (fcntl.LOCK_EX, fcntl.LOCK_UN)), (fcntl.lockf, (fcntl.LOCK_EX, fcntl.LOCK_UN)):
            fd = os.open(a / "f", os.O_RDWR | os.O_CREAT)
            lock(fd, unlock[0])
            os.pwrite(fd, b"under %s" % lock.__name__.encode(), 0)
            lock(fd, unlock[1])
            equal(get(b / "f"), b"under %s" % lock.__name__.encode(), "what was written under a lock, once it is given up")
            os.close(fd)


# Failure

def test_a_commit_that_is_refused_is_the_error_of_close_and_nothing_of_it_was_done(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        put(b / "f", b"before")
        c.cluster.ctl("quota", "set", a.name, "--bytes", "100K")
        for size in 200_000, 3 * MIB:
            fd = os.open(a / "f", os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b"x" * size)
            equal(errno_of(os.close, fd), "EDQUOT", f"close after {size} bytes")
            equal(get(b / "f"), b"before", "the file")
        with open(c.mount / ".raft/last_error") as f:
            said = f.read()
        check('commit of "f"' in said and "quota" in said.lower(), f"last_error says: {said}")
        fd = os.open(a / "f", os.O_WRONLY)
        os.write(fd, b"x" * 200_000)
        equal(errno_of(os.fsync, fd), "EDQUOT", "fsync")
        os.pwrite(fd, b"after ", 0)
        os.close(fd)
        equal(get(b / "f"), b"after ", "what was written after the error had been told")
        c.cluster.ctl("quota", "remove", a.name)


@limit(60)
def test_more_than_can_be_changed_at_once_is_refused_when_it_is_written(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        put(b / "f", b"before")
        fd = os.open(a / "f", os.O_RDWR)
        for i, piece in enumerate(pieces(16)):
            os.pwrite(fd, piece, i * MIB)
        equal(errno_of(os.pwrite, fd, b"x", 16 * MIB), "EFBIG", "one byte more")
        with open(c.mount / ".raft/last_error") as f:
            check("fsync(2)" in f.read(), "last_error does not tell what to do")
        os.fsync(fd)
        os.pwrite(fd, b"x", 16 * MIB)
        os.close(fd)
        equal(os.stat(b / "f").st_size, 16 * MIB + 1, "size")
        check(get(b / "f") == b"".join(pieces(16)) + b"x", "the file is not what was written")


def test_a_writer_that_is_killed_has_closed_its_file(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        for n in 1, 3:
            put(b / "f", b"before")
            def work():
                fd = os.open(a / "f", os.O_WRONLY | os.O_TRUNC)
                for piece in pieces(n):
                    os.write(fd, piece)
            pid = in_child(work)
            equal(get(b / "f"), b"before", "while it lives")
            kill_child(pid)
            wait_for(lambda: get(b / "f") == b"".join(pieces(n)), 5, "what a killed process had written")


@limit(60)
def test_a_mount_that_ends_commits_what_is_pending_and_one_that_is_killed_loses_it(env):
    with env.cluster() as cluster:
        a, b = cluster.mount("a", "commit=close,timeout=2"), cluster.mount("b")
        for how, wanted in ("kill", b"before"), ("stop", b"".join(pieces(2))):
            put(b / "f", b"before")
            put(b / "g", b"before")
            def work():
                fd, small = os.open(a / "f", os.O_WRONLY | os.O_TRUNC), os.open(a / "g", os.O_WRONLY | os.O_TRUNC)
                os.write(small, b"small")
                for piece in pieces(2):
                    os.write(fd, piece)
            pid = in_child(work)
            getattr(a, how)()
            kill_child(pid)
            check(get(b / "f") == wanted, f"the file after raftfs was asked to {how}")
            equal(get(b / "g"), b"before" if how == "kill" else b"small", "the small one")
            a.start()
        # without a quorum
        fd = os.open(a / "f", os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"never")
        fd2 = os.open(a / "g", os.O_WRONLY | os.O_TRUNC)
        os.write(fd2, b"never")
        dead = lose_two(cluster, keep_leader=True)
        begin = time.monotonic()
        outcome = errno_of(os.close, fd)
        check(outcome in ("EROFS", "ETIMEDOUT"), f"close without a quorum gave {outcome}")
        check(1.5 < time.monotonic() - begin < slow(4), f"close took {time.monotonic() - begin:.1f} s")
        a.proc.terminate(10)
        check('commit of "g"' in a.proc.said(), f"the log does not name what was lost: {a.proc.said()[-500:]}")
        check(errno_of(os.close, fd2) in ("ok", "ENOTCONN"), "close of a file whose mount is gone")
        cluster.start(*dead)
        cluster.wait_ready()
        if outcome == "EROFS":
            wait_for(lambda: errno_of(os.stat, b / "f") == "ok", 5, "the other mount to answer again")
            check(get(b / "f") == b"".join(pieces(2)), "what was certainly not done was done")


@limit(60)
def test_a_close_that_waits_can_be_interrupted_and_a_lost_session_takes_what_was_staged(env):
    with env.cluster(more=SHORT_SESSION) as cluster:
        a, b = cluster.mount("a", "commit=close"), cluster.mount("b")
        for name in "staged", "locked", "free":
            put(b / name, b"before")
        staged, locked, free = (os.open(a / name, os.O_WRONLY) for name in ("staged", "locked", "free"))
        fcntl.flock(locked, fcntl.LOCK_EX)
        for i, piece in enumerate(pieces(2)):
            os.pwrite(staged, piece, i * MIB)
        os.write(locked, b"never")
        os.write(free, b"free")
        wait_for(lambda: Counter(a).now().get("write") and "inflight: 0" in (a / ".raft/status").read_text(), 5, "the staging")
        a.proc.signal(signal.SIGSTOP)
        try:
            other = os.open(b / "locked", os.O_WRONLY)
            fcntl.flock(other, fcntl.LOCK_EX) # once the session of the frozen mount has ended
        finally:
            a.proc.signal(signal.SIGCONT)
        equal([errno_of(os.close, fd) for fd in (staged, locked, free)], ["ESTALE", "ESTALE", "ok"], "closes after the session")
        equal([get(b / name)[:6] for name in ("staged", "locked", "free")], [b"before", b"before", b"freere"], "the files")
        os.close(other)
        def work():
            signal.signal(signal.SIGUSR1, lambda number, frame: os.close(fd))
            signal.signal(signal.SIGINT, lambda number, frame: None)
            fd = os.open(a / "free", os.O_WRONLY)
            os.write(fd, b"never?")
        pid = in_child(work)
        lose_two(cluster, keep_leader=False)
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: waits_in_mount(pid), 5, "the close to wait")
        begin = time.monotonic()
        os.kill(pid, signal.SIGINT)
        equal(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), errno.ETIMEDOUT, "what an interrupted close says")
        check(time.monotonic() - begin < slow(0.5), f"SIGINT took {time.monotonic() - begin:.2f} s to end a waiting close")
        cluster.start()
        cluster.wait_ready()


# Everything else

@limit(60 + slow(OPS / 150))
def test_random_operations_agree_with_the_model(env, shared):
    with Closing(env, shared) as c:
        exercise(env, SEED or 3, OPS // 2, c.fresh()[0])


AS_EVER = {
    "test_posix": "test_create_and_open_flags test_hard_links test_modes_owners_and_times test_truncate_and_sparse_files "
                  "test_reads_and_writes_through_one_handle test_an_open_file_outlives_its_name test_private_and_shared_mappings",
    "test_syscalls": "test_a_write_takes_the_capabilities_of_a_program_away test_fallocate test_holes_and_data "
                     "test_copy_file_range test_mappings_and_truncation test_a_file_that_is_opened_with_o_trunc_twice "
                     "test_files_without_a_name test_times_and_what_moves_them",
    "test_tools": "test_sqlite_keeps_a_database_with_journal_mode_delete test_editors_ways_of_saving_work",
}


@limit(120)
def test_programs_and_system_calls_find_what_they_find_on_any_mount(env, shared):
    """Tests of other modules, on such a mount."""
    with Closing(env, shared) as c:
        for module, names in AS_EVER.items():
            for name in names.split():
                own = type(env)(env.dir / name)
                own.dir.mkdir()
                call = getattr(importlib.import_module(module), name)
                arguments = {"env": own, "shared": c}
                call(**{k: arguments[k] for k in call.__code__.co_varnames[:call.__code__.co_argcount]})


@limit(60)
def test_a_clone_is_whole_and_git_finds_nothing_changed_in_it(env, shared):
    with Closing(env, shared) as c:
        a, b = c.fresh()
        me = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_COUNT": "1",
              "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        source = env.dir / "source"
        source.mkdir()
        tool("git", "init", "-q", source, env=me)
        for i in range(30):
            put(source / f"f{i}", b"line %d\n" % i * (i * 97))
        tool("git", "add", ".", cwd=source, env=me)
        tool("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "all", cwd=source, env=me)
        tool("git", "clone", "-q", source, a / "clone", env=me)
        equal(tool("git", "diff-files", cwd=a / "clone", env=me), b"", "files whose times are not those of the index")
        tool("git", "fsck", "--full", "--strict", cwd=b / "clone", env=me)
        equal(tool("git", "status", "--porcelain", cwd=b / "clone", env=me), b"", "git status through the other mount")

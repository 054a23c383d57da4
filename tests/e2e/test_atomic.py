"""What is seen while it changes: whole values, whole records, whole listings, through both mounts."""

import collections
import ctypes
import mmap
import os
import subprocess
import time

from harness import LIBC, check, equal, limit, slow


class Beside:
    """Runs work(stopped) in a process beside the test; its exception becomes the test's failure."""

    def __init__(self, env, work):
        self.flag = mmap.mmap(-1, 4096)
        self.said = env.dir / "beside.log"
        self.rounds = memoryview(self.flag).cast("Q")
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                while not self.rounds[0]:
                    work()
                    self.rounds[1] += 1
                code = 0
            except BaseException as e: # noqa: B902 - whatever it is, the parent must hear of it
                self.said.write_text(f"{e!r}\n")
            finally:
                os._exit(code)

    def stop(self):
        self.rounds[0] = 1
        _, status = os.waitpid(self.pid, 0)
        check(status == 0, self.said.read_text() if self.said.exists() else f"status {status}")
        check(self.rounds[1] > 0, "the process beside the test never got round once")
        return self.rounds[1]


def write_all(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        equal(os.write(fd, data), len(data), "bytes written")
    finally:
        os.close(fd)


@limit(90)
def test_echo_over_a_file_is_never_seen_as_an_empty_one(env, shared):
    a, b = shared.fresh()
    (a / "f").write_text("value 0\n")
    seen = [0]

    def read():
        for place in (a, b):
            text = (place / "f").read_text()
            check(text.startswith("value ") and text.endswith("\n"), f"read {text!r}")
            check(int(text[6:]) >= seen[0], f"read {text!r} after value {seen[0]}")
            seen[0] = int(text[6:])
        check(os.stat(b / "f").st_size > 0, "size 0")
    reader = Beside(env, read)
    script = 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "value $i" > f; done'
    equal(subprocess.run(["sh", "-c", script], cwd=a, timeout=slow(60)).returncode, 0, "exit code of the loop")
    env.note(f"{reader.stop()} rounds of reads beside 2000 echoes")
    equal((b / "f").read_text(), "value 2000\n", "the last value")


@limit(60)
def test_a_name_that_is_renamed_over_is_never_absent_and_never_half(env, shared):
    """Nor does a reader that opened the old file just before it was replaced lose it (ESTALE)."""
    a, b = shared.fresh()
    (a / "f").write_text("0" * 1000)

    def read():
        for place in (a, b):
            os.stat(place / "f")
            text = (place / "f").read_text()
            check(len(text) == 1000 and len(set(text)) == 1, f"read {text[:20]!r}… of {len(text)} bytes")
        equal([n for n in os.listdir(b) if n == "f"], ["f"], "the name in a listing")
    reader = Beside(env, read)
    for i in range(500):
        (a / "new").write_text(str(i % 10) * 1000)
        os.rename(a / "new", a / "f")
    env.note(f"{reader.stop()} rounds of reads beside 500 renames")


def test_a_file_open_on_one_mount_can_still_be_read_after_the_other_has_removed_it(shared):
    a, b = shared.fresh()
    for gone in (os.unlink, lambda path: os.rename(path.with_name("new"), path)):
        (a / "f").write_text("kept")
        (a / "new").write_text("other")
        fd = os.open(b / "f", os.O_RDONLY)
        gone(a / "f")
        equal(os.read(fd, 100), b"kept", "content of the open file")
        equal(os.fstat(fd).st_nlink, 0, "links of the open file")
        os.close(fd)


def whole_writes(env, shared, size, buffers, offset=0):
    """One mount writes pages of one byte value at a time with single write calls; the other reads with single
    read calls, and may never see two values at once."""
    a, b = shared.fresh()
    write_all(a / "f", b"." * offset + b"\0" * size)
    there = os.open(b / "f", os.O_RDONLY)

    def read():
        data = os.pread(there, size, offset)
        equal(len(data), size, "bytes read")
        if data.count(data[0]) != size:
            cut = next(i for i, v in enumerate(data) if v != data[0])
            check(False, f"a read saw two writes at once: value {data[0]} up to {cut}, then {data[cut]}")
    reader = Beside(env, read)
    here = os.open(a / "f", os.O_WRONLY)
    for i in range(60):
        for make in buffers:
            equal(os.pwrite(here, make(bytes([i % 250 + 1]) * size), offset), size, "bytes written")
    env.note(f"{reader.stop()} reads of {size} bytes beside {60 * len(buffers)} writes")
    os.close(here)
    os.close(there)


def aligned(data):
    m = mmap.mmap(-1, len(data))
    m[:] = data
    return m


def unaligned(data):
    m = mmap.mmap(-1, len(data) + 4096)
    m[13:13 + len(data)] = data
    return memoryview(m)[13:13 + len(data)]


def test_a_write_of_64_kib_is_seen_entirely_or_not_at_all(env, shared):
    whole_writes(env, shared, 64 << 10, [aligned, unaligned])


@limit(60)
def test_a_write_of_1_mib_is_seen_entirely_or_not_at_all(env, shared):
    whole_writes(env, shared, 1 << 20, [aligned, unaligned])


@limit(60)
def test_a_write_of_1_mib_at_an_odd_offset_is_seen_entirely_or_not_at_all(env, shared):
    whole_writes(env, shared, 1 << 20, [aligned, unaligned], offset=4095)


@limit(60)
def test_a_write_of_1_mib_costs_one_log_entry(env):
    with env.cluster(3) as cluster: # where the leader has nothing to free
        a = cluster.mount("a")
        write_all(a / "f", b"warm")
        fd = os.open(a / "f", os.O_WRONLY)
        for make in (aligned, unaligned):
            before = cluster.last()
            equal(os.pwrite(fd, make(b"x" * (1 << 20)), 0), 1 << 20, "bytes written")
            equal(cluster.last() - before, 1, f"log entries of a 1 MiB write from an {make.__name__} buffer")
        os.close(fd)


@limit(60)
def test_appends_through_two_mounts_interleave_whole_records(env, shared):
    a, b = shared.fresh()
    writers, records = 8, 200
    pids = []
    for w in range(writers):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                fd = os.open((a, b)[w % 2] / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                for i in range(records):
                    line = b"%d %d %s\n" % (w, i, b"x" * (i * 13 % 300))
                    if os.write(fd, line) != len(line):
                        os._exit(2)
                os.close(fd)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    for pid in pids:
        equal(os.waitpid(pid, 0)[1], 0, "status of a writer")
    lines = (a / "log").read_bytes().splitlines()
    equal((b / "log").read_bytes().splitlines(), lines, "the file through the other mount")
    following = [0] * writers
    for line in lines:
        w, i, rest = line.split(b" ")
        equal((int(i), len(rest)), (following[int(w)], int(i) * 13 % 300), f"next record of writer {int(w)}, and its length")
        following[int(w)] += 1
    equal(following, [records] * writers, "records of each writer")


@limit(60)
def test_exclusive_creation_has_one_winner_across_mounts(shared):
    a, b = shared.fresh()
    for i in range(50):
        pids = []
        for w in range(4):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(os.open((a, b)[w % 2] / f"lock{i}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                    os._exit(0)
                except FileExistsError:
                    os._exit(1)
                except BaseException: # noqa: B902
                    os._exit(2)
            pids.append(pid)
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
        equal(codes, [0, 1, 1, 1], f"winners and losers of round {i}")


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_ulong), ("off", ctypes.c_long), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]


LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.POINTER(Dirent)
LIBC.telldir.restype = ctypes.c_long
for function in ("readdir", "telldir", "closedir", "rewinddir"):
    getattr(LIBC, function).argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


def fill(directory, names):
    """Make empty files with four processes at once."""
    pids = []
    for part in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for name in names[part::4]:
                    os.close(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    for pid in pids:
        equal(os.waitpid(pid, 0)[1], 0, "status of a process that makes files")


@limit(120)
def test_a_listing_of_5000_names_shows_each_stable_one_once_while_others_come_and_go(env, shared):
    a, b = shared.fresh()
    stable = [f"stable-{i:05d}" for i in range(5000)]
    begin = time.monotonic()
    fill(a, stable)
    env.note(f"5000 files made in {time.monotonic() - begin:.1f} s")
    turn = [0]

    def churn():
        turn[0] += 1
        name = a / f"guest-{turn[0] * 7919 % 100_000:05d}"
        name.write_bytes(b"")
        os.rename(name, a / f"moved-{turn[0]:05d}")
        os.unlink(a / f"moved-{turn[0]:05d}")
    other = Beside(env, churn)
    begin = time.monotonic()
    for place in (b, a) * 15:
        seen = collections.Counter(os.listdir(place))
        wrong = [f"{n} {seen[n]} times" for n in stable if seen[n] != 1]
        equal(wrong, [], "stable names not listed exactly once")
        strange = [n for n in seen if not n.startswith(("stable-", "guest-", "moved-"))]
        equal(strange, [], "names nobody made")
    env.note(f"30 listings of 5000 names in {time.monotonic() - begin:.2f} s beside {other.stop()} rounds of change")
    with os.scandir(b) as entries:
        equal(sum(e.is_file(follow_symlinks=False) for e in entries), 5000, "regular files in a listing with types")


def test_a_listing_can_be_continued_from_any_place(shared):
    a, b = shared.fresh()
    names = {f"n{i:03d}" for i in range(300)}
    fill(a, sorted(names))
    d = LIBC.opendir(os.fsencode(str(b)))
    check(d, "opendir failed")

    def following():
        entry = LIBC.readdir(d)
        return entry.contents.name.decode() if entry else None
    order, places = [], []
    while True:
        places.append(LIBC.telldir(d))
        name = following()
        if name is None:
            break
        order.append(name)
    equal(sorted(set(order) - {".", ".."}), sorted(names), "names listed")
    equal(len(order), len(set(order)), "names listed, each once")
    for i in (0, 1, 2, 5, 150, len(order) - 1, len(order), 77):
        LIBC.seekdir(d, places[i])
        equal(following(), order[i] if i < len(order) else None, f"the name after going back to place {i}")
    os.unlink(a / order[100]) # places stay good while names go
    LIBC.seekdir(d, places[101])
    equal(following(), order[101], "the name behind a removed one")
    LIBC.rewinddir(d)
    count = 0
    while following() is not None:
        count += 1
    equal(count, len(order) - 1, "names after a rewind")
    LIBC.closedir(d)

"""Processes that work through mounts while nodes die, and the check of what they were told.

Each worker goes round three operations and notes, after each, what came of it:

  write    open(O_CREAT|O_TRUNC), one write of a whole value, close: five files of its own
  append   one record to a file that all workers share, through a handle kept open with O_APPEND
  rename   a whole value into a temporary name, then rename over one of five targets of its own

A value names its worker and number and fixes its own length and bytes, so that a mixture of two is noticed.
An outcome is "ok" (acknowledged), "unknown" (ETIMEDOUT, ESTALE, EIO, EINTR: may be there or not) or
"refused" (EROFS: the mount said that it was certainly not done, so it must not be there)."""

import collections
import errno
import mmap
import os
import signal
import struct
import time
from pathlib import Path

from harness import Failure, check, slow

FILES_A_WORKER = 5
RECORD = struct.Struct("=16s")

Event = collections.namedtuple("Event", "kind target number outcome error")


def value(worker, number):
    head = b"%d:%d:" % (worker, number)
    return head + (b"%d." % number) * (number * 37 % 700) + b"end\n"


def record(worker, number):
    return b"%03d %010d\n" % (worker, number)


class Load:
    """Use: load = Load(directory, [path of a directory under each mount]); load.start(); …; load.stop();
    load.verify(path of the same directory under any mount)."""

    def __init__(self, directory, roots, workers=8):
        self.directory, self.roots, self.workers = Path(directory), [Path(r) for r in roots], workers
        self.shared = mmap.mmap(-1, 4096)
        self.words = memoryview(self.shared).cast("Q") # [0]: stop; [8 + i]: operations done by worker i
        self.pids = []

    # The workers' side

    def start(self):
        for w in range(self.workers):
            os.mkdir(self.roots[0] / f"w{w}")
        for w in range(self.workers):
            pid = os.fork()
            if pid == 0:
                self._child(w)
            self.pids.append(pid)

    def _child(self, w):
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with open(self.directory / f"load{w}.journal", "w", buffering=1) as journal:
                Worker(w, self.roots[w % len(self.roots)], journal).run(self.words)
            code = 0
        except BaseException as e: # noqa: B902 - whatever it is, the parent must hear of it
            (self.directory / f"load{w}.log").write_text(repr(e) + "\n")
        finally:
            os._exit(code)

    # The test's side

    def done(self):
        return sum(self.words[8:8 + self.workers])

    def stop(self, seconds=20):
        """Let each worker finish its operation. Failure if one does not within `seconds` (stretched)."""
        self.words[0] = 1
        end = time.monotonic() + slow(seconds)
        for w, pid in enumerate(self.pids):
            while True:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    check(status == 0, f"worker {w} failed: {self._said(w)}")
                    break
                check(time.monotonic() < end, f"worker {w} still hangs in an operation after {slow(seconds):.0f} s")
                time.sleep(0.005)
        self.pids = []
        self._read_journals()

    def _said(self, w):
        log = self.directory / f"load{w}.log"
        return log.read_text() if log.exists() else "without a word"

    def _read_journals(self):
        self.events, self.slowest, self.slowest_call = [[] for _ in range(self.workers)], 0.0, ""
        for w in range(self.workers):
            for line in open(self.directory / f"load{w}.journal"):
                kind, target, number, outcome, error, call, seconds = line.split()
                self.events[w].append(Event(kind, target, int(number), outcome, error))
                if float(seconds) > self.slowest:
                    self.slowest = float(seconds)
                    self.slowest_call = f"{call} of worker {w}, {kind} {number}"

    def failures(self):
        """Every operation that did not succeed, as text."""
        return [f"worker {w}: {e.kind} {e.target} number {e.number}: {e.error}"
                for w, events in enumerate(self.events) for e in events if e.outcome != "ok"]

    def acknowledged(self):
        return sum(e.outcome == "ok" for events in self.events for e in events)

    def verify(self, root):
        """Every acknowledged change is there, none that was refused, no append missing or doubled."""
        root = Path(root)
        wrong = []
        for w, events in enumerate(self.events):
            wrong += self._verify_files(root, w, events)
        wrong += self._verify_appends(root)
        if wrong:
            raise Failure("\n  ".join([f"{len(wrong)} differences:", *wrong[:20]]))

    def _verify_files(self, root, w, events):
        wrong = []
        targets = collections.defaultdict(list)
        for e in events:
            if e.kind != "append":
                targets[e.target].append(e)
        for target, history in targets.items():
            acked = [e.number for e in history if e.outcome == "ok"]
            maybe = {e.number for e in history if e.outcome == "unknown"}
            allowed = maybe | ({acked[-1]} if acked else set())
            try:
                got = (root / f"w{w}" / target).read_bytes()
            except FileNotFoundError:
                if acked:
                    wrong.append(f"w{w}/{target} is missing; {acked[-1]} was acknowledged")
                continue
            if got not in [value(w, n) for n in allowed] and not (got == b"" and not acked):
                wrong.append(f"w{w}/{target} holds {got[:40]!r}… ({len(got)} bytes), wanted number {sorted(allowed)}")
        names = set(os.listdir(root / f"w{w}")) if events else set()
        strange = names - set(targets) - {"temporary"}
        if strange:
            wrong.append(f"w{w} holds names that nobody made: {sorted(strange)}")
        if "temporary" in names and not any(e.kind == "rename" and e.outcome != "ok" for e in events):
            wrong.append(f"w{w} still holds the temporary name though every rename succeeded")
        return wrong

    def _verify_appends(self, root):
        size = len(record(0, 0))
        data = (root / "appended").read_bytes() if (root / "appended").exists() else b""
        wrong = [] if len(data) % size == 0 else [f"the appended file has {len(data)} bytes: not whole records of {size}"]
        found = [collections.Counter() for _ in range(self.workers)]
        newest = [0] * self.workers
        for at in range(0, len(data) - size + 1, size):
            piece = data[at:at + size]
            try:
                w, number = int(piece[:3]), int(piece[4:14])
                ok = piece == record(w, number) and w < self.workers
            except ValueError:
                ok = False
            if not ok:
                wrong.append(f"the appended file holds {piece!r} at {at}")
                break
            found[w][number] += 1
            newest[w] = max(newest[w], number)
        for w, events in enumerate(self.events):
            appends = {e.number: e.outcome for e in events if e.kind == "append"}
            for number, outcome in appends.items():
                count = found[w][number]
                if count > 1 or (outcome == "ok" and count != 1) or (outcome == "refused" and count):
                    wrong.append(f"append {number} of worker {w} ({outcome}) is there {count} times")
            for number in found[w].keys() - appends.keys():
                wrong.append(f"append {number} of worker {w} is there, but was never made")
        return wrong


class Worker:
    def __init__(self, w, root, journal):
        self.w, self.root, self.journal = w, root, journal
        self.dir = root / f"w{w}"
        self.append_fd = -1

    def run(self, words):
        number = 0
        while not words[0]:
            number += 1
            slot = number // 3 % FILES_A_WORKER
            if number % 3 == 0:
                self.step("write", f"f{slot}", number, self.write)
            elif number % 3 == 1:
                self.step("append", "appended", number, self.append)
            else:
                self.step("rename", f"r{slot}", number, self.rename)
            words[8 + self.w] = number

    def step(self, kind, target, number, operation):
        self.slowest, self.call = 0.0, "none"
        outcome, error = "ok", "-"
        try:
            operation(target, number)
        except OSError as e:
            error = errno.errorcode.get(e.errno, str(e.errno))
            outcome = "refused" if e.errno == errno.EROFS else "unknown"
        self.journal.write(f"{kind} {target} {number} {outcome} {error} {self.call} {self.slowest:.4f}\n")

    def timed(self, name, call, *args):
        begin = time.monotonic()
        try:
            return call(*args)
        finally:
            took = time.monotonic() - begin
            if took > self.slowest:
                self.slowest, self.call = took, name

    def put(self, path, data):
        fd = self.timed("open", os.open, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            done = self.timed("write", os.write, fd, data)
            if done != len(data):
                raise OSError(errno.EIO, f"short write of {done}")
        except OSError:
            try:
                os.close(fd)
            except OSError:
                pass # the write's error is the one that counts
            raise
        self.timed("close", os.close, fd)

    def write(self, target, number):
        self.put(self.dir / target, value(self.w, number))

    def append(self, target, number):
        if self.append_fd < 0:
            self.append_fd = self.timed("open", os.open, self.root / target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        done = self.timed("write", os.write, self.append_fd, record(self.w, number))
        if done != len(record(0, 0)):
            raise OSError(errno.EIO, f"short append of {done}")

    def rename(self, target, number):
        self.put(self.dir / "temporary", value(self.w, number))
        self.timed("rename", os.rename, self.dir / "temporary", self.dir / target)

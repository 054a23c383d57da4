#!/usr/bin/python3
"""Runs the end-to-end tests: run.py [-k PATTERN] [--list] [-v] [-j N] [FILES...]

A test is a function test_* of a file test_*.py; it asks for what it needs by the names of its parameters:
`env` (harness.Env) and `shared` (harness.Shared). Each runs in a process of its own with a time limit. The
runner adopts every orphan (PR_SET_CHILD_SUBREAPER), so that it can end whatever a test leaves behind, however
far that has daemonized, and nothing else; mounts below the test's directory are detached lazily.

The programs must have been built; see harness.py for the environment variables.
"""

import argparse
import faulthandler
import importlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import harness  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
LIMIT_SECONDS = 30
TAIL_LINES = 40


def collect(files, pattern):
    """[(name, function)] in the order of files and of definitions."""
    tests = []
    for path in files or sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(Path(path).stem)
        for name, function in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(function) and function.__module__ == module.__name__:
                full = f"{module.__name__}.{name}"
                if re.search(pattern, full):
                    tests.append((full, function))
    return tests


# Cleaning up

def descendants(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as f:
                parent = int(f.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry))
    found, queue = [], list(children.get(pid, []))
    while queue:
        p = queue.pop()
        found.append(p)
        queue += children.get(p, [])
    return found


def end_leftovers(keep):
    """SIGKILL every descendant but `keep` and their descendants; returns how many there were."""
    spared = set(keep)
    for p in keep:
        spared.update(descendants(p))
    ended = 0
    for _ in range(20): # those that are killed may leave children, which then become ours
        left = [p for p in descendants(os.getpid()) if p not in spared]
        if not left:
            break
        for p in left:
            ended += 1
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for p in left:
            reap(p, 2.0)
    return ended


def reap(pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError: # a grandchild: its parent or, later, our next round takes it
            return
        if done:
            return
        time.sleep(0.005)


def detach_below(directory):
    prefix = os.fsencode(str(directory)) + b"/"
    for point in reversed(harness.mount_points()):
        if point.startswith(prefix):
            harness.detach(os.fsdecode(point))


def print_tails(directory):
    for log in harness.logs_of(directory):
        lines = log.read_text(errors="replace").splitlines()
        print(f"--- {log} (last {min(len(lines), TAIL_LINES)} of {len(lines)} lines)")
        print("\n".join(lines[-TAIL_LINES:]))


# Running

class Runner:
    def __init__(self, verbose):
        self.base = Path(tempfile.mkdtemp(prefix="raftfs-e2e-"))
        self.verbose = verbose
        self.shared = None
        self.shared_count = 0
        self.passed = self.failed = 0

    def shared_cluster(self):
        if self.shared is not None and not self.shared.healthy():
            self.drop_shared()
        if self.shared is None:
            self.shared_count += 1
            directory = self.base / f"shared{self.shared_count}"
            try:
                self.shared = harness.Shared(directory)
            except BaseException:
                detach_tails(directory)
                raise
        return self.shared

    def drop_shared(self):
        self.shared = None
        detach_below(self.base)
        end_leftovers([])

    def keep(self):
        return [p.pid for p in self.shared.cluster.processes()] if self.shared else []

    def report(self, ok, name, seconds, notes=""):
        self.passed += ok
        self.failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {seconds:6.1f} s  {name}{notes}", flush=True)

    def run(self, name, function):
        directory = self.base / name
        directory.mkdir()
        wants_shared = "shared" in inspect.signature(function).parameters
        begin = time.monotonic()
        arguments = {}
        try:
            if wants_shared:
                arguments["shared"] = self.shared_cluster()
        except harness.Failure as e:
            print(f"the shared cluster did not start: {e}")
            detach_below(self.base)
            end_leftovers([])
            self.report(False, name, time.monotonic() - begin)
            return
        limit = harness.slow(getattr(function, "limit", LIMIT_SECONDS))
        child = os.fork()
        if child == 0:
            run_child(function, directory, arguments, limit)
        ok, why = self.wait_child(child, limit, directory)
        seconds = time.monotonic() - begin
        if not ok:
            print((directory / "output").read_text(errors="replace"), end="")
            if why:
                print(why)
            print_tails(directory)
            if wants_shared:
                print_tails(self.shared.cluster.directory)
                self.drop_shared()
        detach_below(directory)
        end_leftovers(self.keep())
        notes = ""
        if (directory / "notes").exists():
            notes = "".join(f"\n          {line}" for line in (directory / "notes").read_text().splitlines())
        self.report(ok, name, seconds, notes if self.verbose or not ok else "")
        if ok or os.environ.get("E2E_KEEP") != "1":
            shutil.rmtree(directory, ignore_errors=True)

    def wait_child(self, child, limit, directory):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                code = os.waitstatus_to_exitcode(status)
                return code == 0, "" if code in (0, 1) else f"the test's process ended with {code}"
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        detach_below(self.base if self.shared is None else directory) # a process that waits for a mount dies with it
        end_leftovers(self.keep())
        return False, f"time limit of {limit:.0f} s"

    def finish(self):
        """The shared cluster ends as politely as any other; that it can is a test of its own."""
        if self.shared is not None:
            begin = time.monotonic()
            try:
                self.shared.cluster.close()
                self.report(True, "shared cluster ends cleanly", time.monotonic() - begin)
            except harness.Failure as e:
                print(e)
                print_tails(self.shared.cluster.directory)
                self.report(False, "shared cluster ends cleanly", time.monotonic() - begin)
        self.clean()

    def clean(self):
        self.shared = None
        detach_below(self.base)
        end_leftovers([])
        if os.environ.get("E2E_KEEP") == "1" and self.failed:
            print(f"kept: {self.base}")
        else:
            shutil.rmtree(self.base, ignore_errors=True)


def detach_tails(directory):
    print_tails(directory)
    detach_below(directory)


def run_child(function, directory, arguments, limit):
    """The test's own process: never returns."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        out = os.open(directory / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        # From a thread of its own: also works while a system call into a mount hangs.
        faulthandler.dump_traceback_later(max(limit - 1, 0.5), file=out)
        if "env" in inspect.signature(function).parameters:
            arguments["env"] = harness.Env(directory)
        function(**arguments)
        reports = harness.sanitizer_reports(directory)
        harness.check(not reports, "\n  ".join(["reports in the logs:", *reports[:20]]))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_parallel(jobs, tests, verbose):
    """Deal the tests out to `jobs` runners, each with a shared cluster of its own."""
    workers, counts = [], [0, 0]
    for i in range(jobs):
        names = "|".join(f"^{re.escape(name)}$" for name, _ in tests[i::jobs])
        if names:
            workers.append(subprocess.Popen([sys.executable, __file__, "-k", names] + ["-v"] * verbose,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for w in workers:
        for line in w.stdout:
            m = re.fullmatch(r"e2e: (\d+) passed, (\d+) failed\n", line)
            if m:
                counts = [counts[0] + int(m[1]), counts[1] + int(m[2])]
            else:
                print(line, end="", flush=True)
        if w.wait() not in (0, 1):
            counts[1] += 1
    return counts


def main():
    parser = argparse.ArgumentParser(description="The end-to-end tests of raftfs.")
    parser.add_argument("-k", metavar="PATTERN", default="", help="only tests whose name matches this expression")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("-v", action="store_true", help="print the measurements of tests that pass, too")
    parser.add_argument("-j", type=int, metavar="N", default=1, help="run N tests at a time (default 1)")
    parser.add_argument("files", nargs="*", metavar="FILE")
    args = parser.parse_args()
    tests = collect(args.files, args.k)
    if args.list:
        print("\n".join(name for name, _ in tests))
        return 0
    if args.j > 1:
        passed, failed = run_parallel(args.j, tests, args.v)
    else:
        harness.LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(130))
        runner = Runner(args.v)
        try:
            for name, function in tests:
                runner.run(name, function)
            runner.finish()
        finally:
            runner.clean()
        passed, failed = runner.passed, runner.failed
    print(f"e2e: {passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())

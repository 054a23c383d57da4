"""A directory with very many files: made, listed through two mounts while it changes, removed; and no process grows
with it. LARGE_DIR_FILES=1000000 for the full size."""

import os
import time

from harness import Failure, check, equal, limit

FILES = int(os.environ.get("LARGE_DIR_FILES") or 4_000)
PROCESSES = 8
MIB_MAX = 300


def in_parallel(directory, call):
    """call(directory, number) for every file, by some processes side by side."""
    children = []
    for p in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                for i in range(p, FILES, PROCESSES):
                    call(fd, i)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    check(not any(codes), f"children ended with {codes}")


def memory_mib(processes):
    """The largest resident size each has had."""
    found = {}
    for p in processes:
        with open(f"/proc/{p.pid}/status") as f:
            found[p.name] = next(int(l.split()[1]) for l in f if l.startswith("VmHWM:")) // 1024
    return found


def names_of(directory):
    with os.scandir(directory) as entries:
        return [e.name for e in entries]


@limit(120 + FILES / 100)
def test_a_directory_of_very_many_files(env):
    with env.cluster(3) as cluster:
        a, b = cluster.mount("a"), cluster.mount("b")
        os.mkdir(a / "large")
        start = time.monotonic()
        in_parallel(a / "large", lambda fd, i: os.mknod(f"file-{i:07}", 0o644, dir_fd=fd))
        made = time.monotonic()
        wanted = {f"file-{i:07}" for i in range(FILES)}
        for mount in (a, b):
            got = names_of(mount / "large")
            equal(len(got), FILES, f"names listed through {mount.name}")
            equal(set(got) == wanted, True, "the names are those that were made")
        listed = time.monotonic()
        with os.scandir(b / "large") as entries: # some come and go while it is listed
            seen = []
            for n, e in enumerate(entries):
                seen.append(e.name)
                if n % (FILES // 20) == 0 and n < FILES:
                    os.unlink(a / "large" / f"file-{n:07}")
                    os.mknod(a / "large" / f"late-{n:07}")
        check(len(seen) == len(set(seen)), "a name was listed twice")
        gone = {f"file-{n:07}" for n in range(0, FILES, FILES // 20)}
        check(wanted - gone <= set(seen), "a name that was there all the time was not listed")
        removing = time.monotonic()
        in_parallel(b / "large", lambda fd, i: f"file-{i:07}" in gone or os.unlink(f"file-{i:07}", dir_fd=fd))
        for n in range(0, FILES, FILES // 20):
            os.unlink(b / "large" / f"late-{n:07}")
        equal(names_of(a / "large"), [], "names left")
        os.rmdir(a / "large")
        end = time.monotonic()
        memory = memory_mib(cluster.processes())
        env.note(f"{FILES} files: made in {made - start:.1f} s, listed twice in {listed - made:.1f} s, removed in "
                 f"{end - removing:.1f} s; largest resident sizes in MiB: {memory}")
        if any(mib >= MIB_MAX for mib in memory.values()):
            raise Failure(f"resident sizes in MiB: {memory}, wanted below {MIB_MAX}")

"""What common programs cost in requests to the cluster, as `.raft/status` counts them: the numbers are part of the
design, and a change of them should be one that was meant.

A stat(2) costs two: the kernel looks the name up and then asks for the attributes, and only a lease could tell it that
the first answer is still good. What carries no information is not sent: opening and closing, the second look behind
the end of a listing, attributes of a listing, which the kernel asks for again."""

import os
import subprocess

from harness import Mount, equal
from test_posix import put


class Counter:
    """Requests of one mount while something runs in a directory of it."""

    def __init__(self, mount):
        self.mount = mount

    def now(self):
        with open(self.mount / ".raft/status") as f:
            line = next(l for l in f if l.startswith("asked:"))
        return {k: int(v) for k, v in (word.split("=") for word in line.split()[1:])}

    def during(self, call):
        before = self.now()
        call()
        after = self.now()
        return {k: after[k] - before.get(k, 0) for k in after if after[k] != before.get(k, 0)}


def test_what_programs_ask_for(env, shared):
    top, _ = shared.fresh()
    name = top.name
    for i in range(10):
        put(top / f"f{i}", b"hello")
    mount = Mount(env.dir, "counted", ["--cluster", shared.cluster.toml])
    count, top = Counter(mount), mount / name
    here = os.open(top, os.O_RDONLY)

    def tool(*argv):
        return lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)

    def at(flags, use=lambda fd: None, path="f1"):
        def call():
            fd = os.open(path, flags, 0o644, dir_fd=here)
            use(fd)
            os.close(fd)
        return call

    equal(count.during(at(os.O_RDONLY)), {"lookup": 1}, "open and close")
    equal(count.during(lambda: os.stat("f1", dir_fd=here)), {"lookup": 1, "getattr": 1}, "stat")
    equal(count.during(at(os.O_RDONLY, lambda fd: os.read(fd, 100))), {"lookup": 1, "read": 1}, "open, read, close")
    equal(count.during(at(os.O_WRONLY, lambda fd: os.write(fd, b"x"))), {"lookup": 1, "write": 1}, "open, write, close")
    equal(count.during(at(os.O_WRONLY | os.O_TRUNC, lambda fd: os.write(fd, b"x"))), {"lookup": 1, "write": 1}, "echo x > file")
    equal(count.during(at(os.O_WRONLY | os.O_CREAT, lambda fd: os.write(fd, b"x"), "new")), {"lookup": 1, "create": 1, "write": 1},
          "a new file")
    equal(count.during(lambda: os.unlink("new", dir_fd=here)), {"lookup": 1, "unlink": 1}, "unlink")
    listing = count.during(lambda: os.listdir(here))
    equal(listing, {"readdir": 1, "getattr": 1}, "a listing of ten names (fdopendir(3) calls fstat(2))")
    # two names a path
    equal(count.during(tool("test", "-e", top / "f2")), {"lookup": 2, "getattr": 1}, "test -e")
    equal(count.during(tool("stat", top / "f2")), {"lookup": 2, "getattr": 1}, "stat(1)")
    # the second read finds the end
    equal(count.during(tool("cat", top / "f2")), {"lookup": 2, "getattr": 1, "read": 2}, "cat")
    # the directory itself, then each entry's path and attributes; ls asks the first one for an access control list, is
    # told at once that there are none here, and does not ask again
    equal(count.during(tool("ls", "-l", top)), {"lookup": 2 + 2 * 10 + 2, "getattr": 2 + 10, "readdir": 1}, "ls -l of ten files")
    found = count.during(tool("cp", top / "f2", top / "copy"))
    equal({k: found.get(k, 0) for k in ("create", "copy", "read", "write")}, {"create": 1, "copy": 1, "read": 0, "write": 0}, "cp")
    os.close(here)
    mount.stop()

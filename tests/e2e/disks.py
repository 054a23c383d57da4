"""Small disks for the end-to-end tests: ext4 in a file, mounted through a loop device."""

import os
import subprocess
from pathlib import Path

from harness import check, wait_for

MIB = 1 << 20


class SmallDisk:
    """A file system of `size` bytes at `path`, which must not exist. The image lies beside it. The runner unmounts
    what a failed test leaves, and the loop device goes with the mount."""

    def __init__(self, path, size=64 * MIB):
        check(os.geteuid() == 0, "mounting a loop device needs root")
        self.path = Path(path)
        self.image = self.path.with_name(self.path.name + ".img")
        self.path.mkdir(parents=True)
        with open(self.image, "wb") as f:
            f.truncate(size)
        self.command("mkfs.ext4", "-q", "-F", self.image)
        self.command("mount", "-o", "loop", self.image, self.path)
        self.mounted, self.frozen = True, False

    @staticmethod
    def command(*argv):
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
        check(done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stderr.strip()}")

    def free(self):
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize

    def fill(self):
        """Somebody else's file takes all there is, what root alone may use included."""
        with open(self.path / "filler", "ab", buffering=0) as f:
            for size in (MIB, 4096, 512):
                try:
                    while True:
                        f.write(bytes(size))
                except OSError:
                    pass
            os.fsync(f.fileno())

    def empty(self):
        os.unlink(self.path / "filler")

    def freeze(self):
        """From now on whoever writes to it hangs, until thaw()."""
        self.command("fsfreeze", "-f", self.path)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            self.command("fsfreeze", "-u", self.path)
        self.frozen = False

    def close(self):
        """Its users must have ended."""
        self.thaw()
        if self.mounted:
            wait_for(lambda: subprocess.run(["umount", self.path], capture_output=True).returncode == 0, 5,
                     f"{self.path} to be unmounted")
        self.mounted = False

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        self.thaw()
        if kind is None:
            self.close()
        return False

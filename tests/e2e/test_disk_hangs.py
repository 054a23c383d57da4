"""A disk that hangs, and one that says that a sync failed."""

import os
import subprocess
import threading
import time

from disks import SmallDisk
from harness import Failure, check, equal, limit, slow, wait_for

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
/* Once the file named by FAIL_SYNC is there, syncs fail: the first one is enough. */
int fdatasync(int fd)
{
	static int (*real)(int);
	const char *when = getenv("FAIL_SYNC");

	if (when != NULL && access(when, F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	if (real == NULL)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	return real(fd);
}
"""


class Writer(threading.Thread):
    """Writes one file after the other; every one that was acknowledged must be there."""

    def __init__(self, m):
        super().__init__(daemon=True)
        self.m, self.done, self.worst, self.stop = m, 0, 0.0, False
        self.error = None

    def run(self):
        try:
            while not self.stop:
                began = time.monotonic()
                (self.m / f"w{self.done}").write_text(f"value {self.done}")
                self.worst = max(self.worst, time.monotonic() - began)
                self.done += 1
        except OSError as e:
            self.error = e

    def end(self):
        self.stop = True
        self.join(slow(20))
        check(not self.is_alive(), "a write still hangs")
        if self.error is not None:
            raise Failure(f"write {self.done} failed: {self.error}")

    def verify(self):
        for i in range(self.done):
            equal((self.m / f"w{i}").read_text(), f"value {i}", f"file {i}")


def make_leader(cluster, id):
    def leads():
        if cluster.leader_now() == id:
            return True
        cluster.ctl("transfer", id, code=None)
        return False
    wait_for(leads, 10, f"node {id} to lead")


@limit(60)
def test_hashicorp_503_leader_whose_disk_hangs_is_replaced(env):
    with SmallDisk(env.dir / "hung") as disk, env.cluster(start=False) as cluster:
        (cluster.directory / "data").mkdir()
        os.symlink(disk.path, cluster.data(1))
        cluster.start()
        cluster.wait_ready()
        make_leader(cluster, 1)
        m = cluster.mount()
        writer = Writer(m)
        writer.start()
        wait_for(lambda: writer.done > 20, 10, "some writes")
        disk.freeze()
        try:
            began = time.monotonic()
            wait_for(lambda: cluster.leader_now() not in (None, 1), 10, "another leader")
            env.note(f"another leader {time.monotonic() - began:.1f} s after the disk began to hang")
            done = writer.done
            wait_for(lambda: writer.done > done + 20, 10, "writes to go on")
            check("the disk hangs" in cluster.nodes[1].said(), "node 1 does not say that its disk hangs")
            # whoever asks: a node whose disk hangs is not elected
            cluster.ctl("transfer", 1, code=None)
            check(cluster.wait_leader() != 1, "the node whose disk hangs was elected")
        finally:
            disk.thaw()
        writer.end()
        wait_for(lambda: "the disk works again" in cluster.nodes[1].said(), 10, "node 1 to say that its disk works")
        cluster.wait_agreed()
        writer.verify()
        env.note(f"the slowest of {writer.done} writes took {writer.worst:.1f} s")


@limit(60)
def test_follower_whose_disk_hangs_stops_nobody(env):
    with SmallDisk(env.dir / "hung") as disk, env.cluster(start=False) as cluster:
        (cluster.directory / "data").mkdir()
        os.symlink(disk.path, cluster.data(3))
        cluster.start()
        cluster.wait_ready()
        make_leader(cluster, 1)
        m = cluster.mount()
        writer = Writer(m)
        writer.start()
        wait_for(lambda: writer.done > 20, 10, "some writes")
        disk.freeze()
        try:
            done = writer.done
            wait_for(lambda: writer.done > done + 200, 20, "writes to go on")
        finally:
            disk.thaw()
        writer.end()
        cluster.wait_agreed()
        writer.verify()
        check(writer.worst < slow(1), f"a write took {writer.worst:.1f} s because of a follower's disk")


def build_shim(directory):
    source, shim = directory / "shim.c", directory / "shim.so"
    source.write_text(SHIM)
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    return shim


@limit(60)
def test_node_whose_sync_fails_ends_and_nothing_is_lost(env):
    trigger = env.dir / "trigger"
    shim = build_shim(env.dir)
    with env.cluster(start=False) as cluster:
        cluster.start(1, 3)
        old = {name: os.environ.get(name) for name in ("LD_PRELOAD", "FAIL_SYNC", "ASAN_OPTIONS")}
        os.environ.update(LD_PRELOAD=str(shim), FAIL_SYNC=str(trigger))
        os.environ["ASAN_OPTIONS"] = ":".join(filter(None, [old["ASAN_OPTIONS"], "verify_asan_link_order=0"]))
        try:
            cluster.start(2)
        finally:
            for name, value in old.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
        cluster.wait_ready()
        m = cluster.mount()
        writer = Writer(m)
        writer.start()
        wait_for(lambda: writer.done > 20, 10, "some writes")
        trigger.touch()
        code = cluster.nodes[2].wait(10, "its end")
        equal(code, 1, "exit code of the node whose sync failed")
        said = cluster.nodes[2].said()
        check("fdatasync: Input/output error" in said and "/wal/" in said, f"it does not say which file: {said[-500:]}")
        done = writer.done
        wait_for(lambda: writer.done > done + 20, 10, "writes to go on")
        cluster.start(2) # the disk is whole again
        writer.end()
        cluster.wait_agreed()
        writer.verify()

"""A large file that is removed, cut off or replaced is freed bit by bit, and nobody waits for it."""

import os
import threading

from harness import FULL, check, equal, limit, wait_for
from test_metrics import get, observed_cluster, samples
from test_syscalls import PUNCH, fallocate

MIB = 1 << 20
CHUNKS_A_MIB = 64
MOST = 256                 # STORE_FREED_MAX
SIZE = 300 if FULL else 80 # MiB; more than lingers


class Small:
    """Another client meanwhile: a small file written over and over through a mount."""

    def __init__(self, path):
        self.path, self.written, self.error, self.over = path, 0, None, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            while not self.over.wait(0.01):
                self.path.write_text(str(self.written + 1))
                self.written += 1
        except OSError as e:
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, value, tb):
        self.over.set()
        self.thread.join()
        return False


def fill(path, mib, byte=b"o"):
    with open(path, "wb") as f:
        for _ in range(mib):
            f.write(byte * MIB)


def numbers(ports, name):
    return {id: samples(get(port, "/metrics")[2])[name] for id, port in ports.items()}


def freed(ports):
    return numbers(ports, "raftfs_chunks_freed_total")


def wait_freed(ports, before, mib):
    """On every node so much more is freed than before, all of it, and no entry of the log has freed more than it may."""
    def done():
        now, left = freed(ports), numbers(ports, "raftfs_contents_to_free")
        return not any(left.values()) and all(now[id] - before[id] >= mib * CHUNKS_A_MIB for id in now)
    wait_for(done, 60, "all of it to be freed", every=0.1)
    for id, most in numbers(ports, "raftfs_chunks_freed_by_one_change_max").items():
        check(most <= MOST, f"an entry of the log has freed {most} chunks on node {id}")


def replace(closing, name):
    fill(closing / name, 8, b"n")


@limit(300)
def test_others_go_on_while_a_large_file_is_freed(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        a, b = cluster.mount("a"), cluster.mount("b")
        closing = cluster.mount("closing", "commit=close")
        for way, act, gone, left in (("removed", lambda: os.unlink(a / "big"), SIZE, None),
                                     ("cut off", lambda: os.truncate(a / "big", 0), SIZE, b""),
                                     ("cut in two", lambda: os.truncate(a / "big", 10 * MIB), SIZE - 10, b"o" * 10 * MIB),
                                     ("written over", lambda: (a / "big").write_bytes(b"new"), SIZE, b"new"),
                                     ("replaced", lambda: replace(closing, "big"), SIZE, b"n" * 8 * MIB)):
            fill(a / "big", SIZE)
            before = freed(ports)
            with Small(b / "small") as small:
                act()
                wait_freed(ports, before, gone)
                env.note(f"{way}: {small.written} small writes meanwhile")
            check(small.error is None and small.written > 0, f"a small write meanwhile: {small.error}")
            equal((b / "small").read_text(), str(small.written), "what was written last")
            if left is None:
                check(not (b / "big").exists(), "a removed file is there")
            else:
                equal((b / "big").read_bytes(), left, f"the file that was {way}")
        cluster.wait_agreed()


@limit(120)
def test_others_go_on_while_a_large_hole_is_made(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        a, b = cluster.mount("a"), cluster.mount("b")
        fill(a / "big", SIZE)
        before = freed(ports)
        with Small(b / "small") as small, open(a / "big", "r+b") as f:
            fallocate(f.fileno(), PUNCH, MIB, (SIZE - 2) * MIB)
            wait_freed(ports, before, SIZE - 2)
        check(small.error is None and small.written > 0, f"a small write meanwhile: {small.error}")
        with open(b / "big", "rb") as f:
            equal([f.read(MIB) for _ in range(2)], [b"o" * MIB, bytes(MIB)], "the first two MiB")
            f.seek((SIZE - 2) * MIB)
            equal([f.read(MIB) for _ in range(3)], [bytes(MIB), b"o" * MIB, b""], "the last two MiB")
        cluster.wait_agreed()


@limit(120)
def test_room_comes_back_without_another_write(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        a = cluster.mount("a")
        fill(a / "big", SIZE)
        before = freed(ports)
        os.unlink(a / "big")
        wait_freed(ports, before, SIZE)
        cluster.wait_agreed()


@limit(120)
def test_a_node_that_dies_in_between_frees_the_rest(env):
    cluster, ports = observed_cluster(env)
    with cluster:
        a = cluster.mount("a")
        fill(a / "big", SIZE)
        os.truncate(a / "big", 0)
        cluster.kill(*cluster.ids)
        cluster.start()
        cluster.wait_ready()
        wait_for(lambda: not any(numbers(ports, "raftfs_contents_to_free").values()), 60, "all of it to be freed", every=0.1)
        fill(a / "big", 2, b"n")
        equal((a / "big").read_bytes(), b"n" * 2 * MIB, "the file after it was written anew")
        cluster.wait_agreed()
        ids = list(cluster.ids)
    for id in ids:
        done = cluster.ctl("check", str(cluster.data(id)), alone=True)
        check(done.returncode == 0, f"check of node {id}'s data")

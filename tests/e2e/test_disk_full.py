"""Disks of 64 MiB that fill up: reads go on, writers are told at once, nothing is lost, removing works, and with room
everything works again by itself."""

import contextlib
import errno
import fcntl
import os
import time

from disks import MIB, SmallDisk
from harness import check, equal, errno_of, limit, wait_for

PROMPT_SECONDS = 1.0
BLOCK = os.urandom(256 << 10) # so that nothing becomes smaller by compression


def content(i, size):
    at = i * 4093 % (len(BLOCK) - size)
    return b"%d:" % i + BLOCK[at:at + size]


def fill(m, size, most=120 * MIB):
    """Write files until there is no room: how many there are. The refusal is prompt."""
    for i in range(most // size):
        began = time.monotonic()
        try:
            (m / f"f{i}").write_bytes(content(i, size))
        except OSError as e:
            took = time.monotonic() - began
            equal(errno.errorcode[e.errno], "ENOSPC", f"the error of file {i}")
            check(took < PROMPT_SECONDS, f"ENOSPC after {took:.1f} s only")
            return i
    raise AssertionError(f"{most >> 20} MiB went into disks of 64 MiB")


def all_there(m, first, end, size):
    for i in range(first, end):
        equal((m / f"f{i}").read_bytes(), content(i, size), f"file {i}")


def writes_again(m, name, seconds=20):
    wait_for(lambda: errno_of((m / name).write_bytes, b"again") == "ok", seconds, "writing to work again")
    equal((m / name).read_bytes(), b"again", "what was written then")


def lock_and_unlock(m):
    """Locks are no data: they work on a full cluster."""
    with open(m / "f0", "rb") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.flock(f, fcntl.LOCK_UN)


def full_cycle(env, cluster, size, at_least):
    m = cluster.mount()
    n = fill(m, size)
    env.note(f"{n} files of {size >> 10} KiB, {n * size / MIB:.1f} MiB in all, before there was no room")
    check(n * size >= at_least, f"only {n * size / MIB:.1f} MiB fit")
    for name in ("new", "another"):
        began = time.monotonic()
        equal(errno_of((m / name).write_bytes, content(0, size)), "ENOSPC", "writing a file")
        check(time.monotonic() - began < PROMPT_SECONDS, "ENOSPC was not prompt")
    equal(errno_of(os.mkdir, m / "d"), "ENOSPC", "mkdir")
    all_there(m, 0, n, size)
    lock_and_unlock(m)
    os.truncate(m / "f0", 0)
    (m / "f1").rename(m / "f0")

    # restarted as they are, all at once and the hard way
    cluster.kill(*cluster.ids)
    cluster.start()
    cluster.wait_ready()
    all_there(m, 2, n, size)
    equal((m / "f0").read_bytes(), content(1, size), "the file renamed")
    for i in range(2, n // 2):
        os.unlink(m / f"f{i}")
    began = time.monotonic()
    writes_again(m, "again")
    env.note(f"writing worked again {time.monotonic() - began:.1f} s after half of them were removed")
    all_there(m, n // 2, n, size)
    left_over = {f"f{n}", "new", "another"} # made, and then there was no room for the bytes, as on any disk
    equal(set(os.listdir(m.path)) - left_over, {"f0", "again"} | {f"f{i}" for i in range(n // 2, n)}, "names")
    cluster.wait_agreed()


@limit(120)
def test_three_nodes_on_one_full_disk(env):
    with SmallDisk(env.dir / "cluster" / "data"), env.cluster() as cluster:
        full_cycle(env, cluster, 8 << 10, 10 * MIB)


@limit(120)
def test_each_node_on_a_full_disk_of_its_own(env):
    with contextlib.ExitStack() as disks:
        for id in (1, 2, 3):
            disks.enter_context(SmallDisk(env.dir / "cluster" / "data" / str(id)))
        with env.cluster() as cluster:
            full_cycle(env, cluster, 64 << 10, 20 * MIB)


@contextlib.contextmanager
def cluster_on_small_disks(env):
    with contextlib.ExitStack() as stack:
        disks = {id: stack.enter_context(SmallDisk(env.dir / "cluster" / "data" / str(id))) for id in (1, 2, 3)}
        with env.cluster() as cluster:
            yield cluster, disks


def write_and_check(m, name, count, size=20 << 10):
    for i in range(count):
        (m / f"{name}{i}").write_bytes(content(i, size))
    for i in range(count):
        equal((m / f"{name}{i}").read_bytes(), content(i, size), f"{name}{i}")


@limit(60)
def test_one_follower_without_room_stops_nobody(env):
    with cluster_on_small_disks(env) as (cluster, disks):
        m = cluster.mount()
        write_and_check(m, "before", 20)
        full = next(id for id in cluster.ids if id != cluster.wait_leader())
        disks[full].fill()
        write_and_check(m, "meanwhile", 150)
        check("disk full" in cluster.nodes[full].said(), f"node {full} says nothing of its disk")
        equal({id: n["disk_full"] for id, n in cluster.status().items()}, {id: id == full for id in cluster.ids},
              "which disks are full")
        disks[full].empty()
        cluster.wait_agreed(seconds=30)


@limit(60)
def test_leader_without_room_hands_over_to_a_node_with_room(env):
    with cluster_on_small_disks(env) as (cluster, disks):
        m = cluster.mount()
        write_and_check(m, "before", 20)
        full = cluster.wait_leader()
        disks[full].fill()
        wait_for(lambda: cluster.leader_now() not in (None, full), 10, "another leader")
        write_and_check(m, "meanwhile", 150)
        check(cluster.leader_now() != full, "the node with the full disk leads again")
        disks[full].empty()
        cluster.wait_agreed(seconds=30)


@limit(90)
def test_disks_that_others_fill_to_the_last_block(env):
    with cluster_on_small_disks(env) as (cluster, disks):
        m = cluster.mount()
        write_and_check(m, "f", 60)
        for disk in disks.values():
            disk.fill()
        equal(wait_for(lambda: errno_of((m / "new").write_bytes, b"x" * 5000) == "ENOSPC", 5, "ENOSPC"), True, "ENOSPC")
        for i in range(60):
            equal((m / f"f{i}").read_bytes(), content(i, 20 << 10), f"file {i}")
        lock_and_unlock(m)
        for i in range(30):
            os.unlink(m / f"f{i}")
        (m / "f30").rename(m / "renamed")
        for disk in disks.values():
            disk.empty()
        writes_again(m, "again")
        equal((m / "renamed").read_bytes(), content(30, 20 << 10), "the file renamed")
        equal(set(os.listdir(m.path)) - {"new"}, {"renamed", "again"} | {f"f{i}" for i in range(31, 60)}, "names")
        cluster.wait_agreed()

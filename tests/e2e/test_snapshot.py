"""The log is cut, and who is too far behind is sent the whole state: disk use stays bounded, writers go on."""

import os
import subprocess
import threading
import time

from harness import FULL, SLOW, check, equal, limit, slow, wait_for

MIB = 1 << 20
KEEP = "\n[log]\nkeep_bytes = {}\nkeep_entries = 100000\n"


def disk_bytes(directory):
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError: # cut, or compacted away, while we looked
                pass
    return total


class Overwriters:
    """Threads that overwrite the same files again and again, and count the bytes."""

    def __init__(self, directory, files, size, threads=4):
        self.paths = [directory / f"f{i}" for i in range(files)]
        self.size, self.written, self.failed, self.end = size, 0, [], False
        self.lock, self.next = threading.Lock(), 0
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]
        for t in self.threads:
            t.start()

    def run(self):
        try:
            fds = {}
            while not self.end:
                with self.lock:
                    n, self.next = self.next, self.next + 1
                path = self.paths[n % len(self.paths)]
                if path not in fds:
                    fds[path] = os.open(path, os.O_CREAT | os.O_WRONLY)
                os.pwrite(fds[path], n.to_bytes(8, "big") * (self.size // 8), 0)
                with self.lock:
                    self.written += self.size
            for fd in fds.values():
                os.close(fd)
        except OSError as e:
            self.failed.append(repr(e))

    def stop(self):
        self.end = True
        for t in self.threads:
            t.join()


class DiskWatch:
    """The most that each node's directory ever took."""

    def __init__(self, cluster):
        self.cluster, self.most, self.end = cluster, {id: 0 for id in cluster.ids}, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.end:
            for id in self.cluster.ids:
                self.most[id] = max(self.most[id], disk_bytes(self.cluster.data(id)))
            time.sleep(0.1)

    def stop(self):
        self.end = True
        self.thread.join()


def installed(cluster, id, since=0):
    return "snapshot installed" in cluster.log(id).read_text(errors="replace")[since:]


@limit(400 if FULL else 120)
def test_a_follower_that_was_away_catches_up_by_snapshot_while_writers_and_disks_stay_within_bounds(env):
    store, overwrites = (50, 2048) if FULL else (24, 384)
    with env.cluster(more="" if FULL else KEEP.format(8 * MIB)) as cluster:
        mount = cluster.mount()
        leader = cluster.wait_leader()
        away = next(id for id in cluster.ids if id != leader)
        watch = DiskWatch(cluster)
        load = Overwriters(mount.path, store, MIB)
        wait_for(lambda: load.written >= store * MIB, 60, "the first round of writes")
        cluster.pause(away)
        began, at = time.monotonic(), load.written
        wait_for(lambda: load.written >= at + overwrites * MIB, 300, "the overwrites")
        alone = (load.written - at) / (time.monotonic() - began)
        began, at = time.monotonic(), load.written
        cluster.resume(away)
        wait_for(lambda: installed(cluster, away), 60, "the snapshot to be installed")
        during = (load.written - at) / (time.monotonic() - began)
        took = time.monotonic() - began
        # with all three at work: what a follower costs that is not behind
        began, at = time.monotonic(), load.written
        wait_for(lambda: load.written >= at + overwrites // 4 * MIB, 300, "writes after the snapshot")
        after = (load.written - at) / (time.monotonic() - began)
        load.stop()
        watch.stop()
        equal(load.failed, [], "writes that failed")
        cluster.wait_agreed(60)
        env.note(f"writers: {alone / MIB:.0f} MiB/s with two nodes, {during / MIB:.0f} during the snapshot ({took:.1f} s), "
                 f"{after / MIB:.0f} with three; most disk: " + ", ".join(f"{v // MIB} MiB" for v in watch.most.values()))
        if FULL:
            check(max(watch.most.values()) < 400 * MIB, f"a node took {max(watch.most.values()) // MIB} MiB of disk")
        check(max(watch.most.values()) < (overwrites + store) * MIB, "nothing was ever cut")


@limit(120)
def test_a_restart_reads_what_the_log_keeps_and_not_history(env):
    with env.cluster(n=1, more=KEEP.format(2 * MIB)) as cluster:
        mount = cluster.mount()
        load = Overwriters(mount.path, 4, MIB, threads=2)
        wait_for(lambda: load.written >= 200 * MIB, 100, "the writes")
        load.stop()
        equal(load.failed, [], "writes that failed")
        check(disk_bytes(cluster.data(1) / "wal") < 100 * MIB, "the log was not cut")
        cluster.kill(1)
        cluster.start(1)
        cluster.wait_ready()
        said = cluster.log(1).read_text().splitlines()
        line = [l for l in said if "recovered:" in l][-1]
        first, last = map(int, line.split("log ")[1].split(" in ")[0].split(".."))
        check(last - first < 100, f"too much is read at a start: {line}")
        for path in load.paths:
            equal(len((mount.path / path.name).read_bytes()), MIB, "size of a file after the restart")


def cut_connections(port):
    """Whatever TCP connection leads to `port`, both sides are told that it is gone (ss -K: CONFIG_INET_DIAG_DESTROY)."""
    done = subprocess.run(["ss", "-K", "dst", "127.0.0.1", "dport", "=", str(port)], capture_output=True, text=True)
    check("ESTAB" in done.stdout, f"ss -K cut nothing: {done.stdout}{done.stderr}")


@limit(120)
def test_a_snapshot_goes_on_where_it_was_after_a_lost_connection(env):
    with env.cluster(more=KEEP.format(MIB)) as cluster:
        mount = cluster.mount()
        leader = cluster.wait_leader()
        away = next(id for id in cluster.ids if id != leader)
        cluster.kill(away)
        load = Overwriters(mount.path, 96, MIB, threads=2) # while somebody writes, a snapshot takes its time
        wait_for(lambda: load.written >= 200 * MIB, 60, "the writes")
        said = cluster.log(away).stat().st_size
        cluster.start(away)
        for cut in range(3):
            wait_for(lambda: cluster.log(leader).read_text(errors="replace").count("going on at chunk") == cut and
                     "taking it" in cluster.log(away).read_text(errors="replace")[said:], 20, "the snapshot to go on")
            time.sleep(0.4) # somewhere in the middle
            cut_connections(cluster.ports[away])
        wait_for(lambda: installed(cluster, away), 60, "the snapshot to be installed")
        load.stop()
        equal(load.failed, [], "writes that failed")
        text = cluster.log(leader).read_text(errors="replace")
        check(text.count("going on at chunk") >= 1, "it did not go on in the middle")
        cluster.wait_agreed(30)


@limit(120)
def test_a_receiver_may_die_in_the_middle_of_a_snapshot(env):
    with env.cluster(more=KEEP.format(MIB)) as cluster:
        mount = cluster.mount()
        leader = cluster.wait_leader()
        away = next(id for id in cluster.ids if id != leader)
        cluster.kill(away)
        load = Overwriters(mount.path, 64, MIB, threads=2)
        wait_for(lambda: load.written >= 160 * MIB, 60, "the writes")
        for _ in range(3): # dies in the middle of receiving it
            said = cluster.log(away).stat().st_size
            cluster.start(away)
            wait_for(lambda: "taking it" in cluster.log(away).read_text(errors="replace")[said:], 20, "the offer")
            time.sleep(0.15)
            cluster.kill(away)
        cluster.start(away)
        wait_for(lambda: installed(cluster, away), 60, "the snapshot to be installed")
        load.stop()
        equal(load.failed, [], "writes that failed")
        cluster.wait_agreed(30)
        # and it can do without the one it came from
        cluster.kill(leader)
        for i, path in enumerate(load.paths):
            equal(len(path.read_bytes()), MIB, f"size of {path.name} without the old leader")

"""Everything at once, for as long as SOAK_SECONDS says (`make soak`; ten seconds in the ordinary run): kills, pauses,
restarts, cut connections, transfers and changes of members, with a log so short that snapshots are common, while
processes work through two mounts. At the end nothing is lost, nothing doubled, and all nodes agree."""

import os
import random
import subprocess
import time

from harness import check, equal, limit, slow, wait_for
from load import Load
from test_snapshot import Overwriters

SECONDS = float(os.environ.get("SOAK_SECONDS") or 10)
MIB = 1 << 20


class Drill:
    """One fault after the other, drawn by a seed; what it did stands in its journal."""

    def __init__(self, env, cluster, seed):
        self.env, self.cluster, self.random, self.counts = env, cluster, random.Random(seed), {}
        self.spare = [4, 5] # servers that come and go

    def up(self):
        return self.cluster.running()

    def kill(self):
        victim = self.random.choice(self.up())
        self.cluster.kill(victim)
        time.sleep(self.random.uniform(0, 1.5))
        self.cluster.start(victim)

    def kill_all(self):
        ids = self.up()
        self.cluster.kill(*ids)
        self.cluster.start(*ids)

    def restart(self):
        victim = self.random.choice(self.up())
        self.cluster.stop(victim)
        self.cluster.start(victim)

    def pause(self):
        victim = self.random.choice(self.up())
        self.cluster.pause(victim)
        time.sleep(self.random.uniform(0, 3))
        self.cluster.resume(victim)

    def cut(self):
        port = self.cluster.ports[self.random.choice(self.up())]
        subprocess.run(["ss", "-K", "dst", "127.0.0.1", "dport", "=", str(port)], capture_output=True)

    def transfer(self):
        self.cluster.ctl("transfer", code=None)

    def member(self):
        """A server joins, or leaves for good: under its id comes another one later."""
        done = self.cluster.ctl("member", "list", code=None)
        members = {int(line.split()[0]) for line in done.stdout.decode().splitlines()}
        if not members:
            return
        id = self.random.choice(self.spare)
        if id in members:
            self.cluster.ctl("--timeout", "5", "member", "remove", str(id), code=None, seconds=40)
        else:
            if id in self.up():
                self.cluster.kill(id)
            subprocess.run(["rm", "-rf", str(self.cluster.data(id))], check=True)
            self.cluster.join(id)
            self.cluster.ctl("--timeout", "5", "member", "add", str(id), self.cluster.address(id), code=None, seconds=40)

    def once(self):
        faults = [self.kill] * 4 + [self.restart] * 3 + [self.pause] * 3 + [self.cut] * 3 + [self.transfer] * 2 + \
                 [self.member] * 3 + [self.kill_all]
        fault = self.random.choice(faults)
        self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        fault()


@limit(SECONDS + 120)
def test_faults_of_every_kind_at_once_lose_and_double_nothing(env):
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1 << 32))
    env.note(f"SOAK_SEED={seed}")
    more = "\n[log]\nkeep_bytes = 1048576\nkeep_entries = 2000\n"
    with env.cluster(more=more) as cluster:
        # an operation may meet several faults one after the other: it has a minute
        mounts = [cluster.mount(name, "timeout=60") for name in "ab"]
        os.mkdir(mounts[0] / "load")
        load = Load(env.dir, [m / "load" for m in mounts], 8)
        load.start()
        bulk = Overwriters(mounts[1].path, 16, MIB, threads=1)
        drill = Drill(env, cluster, seed)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            drill.once()
            before = load.done()
            wait_for(lambda: load.done() > before + 20, 60, f"work to go on after {drill.counts}")
        load.stop(70)
        bulk.stop()
        env.note(f"{load.acknowledged()} operations and {bulk.written // MIB} MiB, slowest {load.slowest:.2f} s: {load.slowest_call}; "
                 + ", ".join(f"{n} {name}" for name, n in sorted(drill.counts.items())))
        equal(load.failures() + bulk.failed, [], "operations that failed")
        for m in mounts:
            load.verify(m / "load")
        leader = cluster.wait_leader(seconds=10)
        check(leader in cluster.running(), "the leader runs")
        wait_for(lambda: same_digests(cluster), 60, "all members to agree")


def same_digests(cluster):
    members = cluster.members()
    st = {id: n for id, n in cluster.status().items() if id in members}
    if set(st) != set(members) or len({n["applied"] for n in st.values()}) != 1:
        return False
    check(len({n["digest"] for n in st.values()}) == 1, f"digests differ: {st}")
    return True

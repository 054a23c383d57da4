"""Servers of two protocol versions in one cluster, side by side: one is held at version 1 (protocol_version_max), as
it would be before an upgrade or to be able to go back."""

import errno
import os
import subprocess
import sys
from pathlib import Path

from harness import Proc, check, equal, limit, program, slow, wait_for
from rawpeer import REPLY, REQUEST, Peer, fields, frame, hello, message

SESSION_OPEN, PUT, LOCK = 1, 12, 14 # src/base/op.h
IF_VERSION = 1 << 11                # of version 2: only if the key is at this version, 0: does not exist
EPRECONDITION, EBUSYLIMIT = -1012, -1009 # src/base/err.h


def hold(cluster, version=1):
    """A second cluster file, which holds whoever reads it at `version`; it stands beside the first one."""
    held = cluster.directory / "held.toml"
    held.write_text(cluster.toml.read_text().replace("[raft]", f"protocol_version_max = {version}\n\n[raft]"))
    return held


def start_held(cluster, id, held):
    args = [program("raftd"), "--cluster", held, "--id", id]
    cluster.nodes[id] = Proc(f"raftd {id}", args, cluster.log(id))


def protocols(cluster):
    return {id: (n["protocol_version"], n["protocol_version_max"]) for id, n in cluster.status().items()}


def wait_protocols(cluster, wanted):
    wait_for(lambda: protocols(cluster) == wanted, 10, f"protocol versions {wanted}")


def mixed(env):
    """Three nodes of which the third is held at version 1."""
    cluster = env.cluster(start=False)
    held = hold(cluster)
    start_held(cluster, 3, held)
    cluster.start(1, 2)
    cluster.wait_ready()
    return cluster, held


def lead(cluster, id):
    """Make `id` the leader: whoever else leads is stopped for an election and started again."""
    while cluster.wait_leader() != id:
        other = cluster.wait_leader()
        if other == id:
            break
        cluster.pause(other)
        cluster.wait_leader([i for i in cluster.ids if i != other])
        cluster.resume(other)
        cluster.wait_ready()


def use(m, text):
    """Operations of version 1, of every kind that changes something."""
    directory = m / f"dir-{text}"
    directory.mkdir()
    (directory / "a").write_text(text)
    with open(directory / "a", "a") as f:
        f.write(text)
    equal((directory / "a").read_text(), text * 2, "a file that was appended to")
    (directory / "a").chmod(0o600)
    equal(os.listdir(directory), ["a"], "names listed")
    (directory / "b").hardlink_to(directory / "a")
    (directory / "a").rename(directory / "c")
    (directory / "s").symlink_to("c")
    (directory / "c").unlink()
    equal((directory / "b").read_text(), text * 2, "its other name")
    (directory / "s").unlink()
    (directory / "b").unlink()
    directory.rmdir()
    (m / "kept").write_text(text)


class Client:
    """Speaks to the leader by hand, so that what a node refuses is not held back by our own client."""

    def __init__(self, cluster):
        self.peer = Peer(cluster.address(cluster.wait_leader()), hello(cluster.name.encode(), high=2))
        self.id = self.session = self.seq = 0
        equal(self.ask(message(f1=SESSION_OPEN, f15=10000)), 0, "error of opening a session")
        self.session = self.value

    def ask(self, op):
        """The reply's error; asked again while the node says that it cannot tell yet."""
        def answer():
            self.id += 1
            self.peer.send(frame(REQUEST, message(f1=self.id, f2=self.session, f3=self.seq, f4=self.seq, f5=op)))
            kind, payload = self.peer.receive()
            equal(kind, REPLY, "type of the answer")
            reply = fields(payload)
            zigzag = reply.get(2, 0)
            self.error, self.value = zigzag >> 1 ^ -(zigzag & 1), reply.get(4, 0)
            return self.error != EBUSYLIMIT
        self.seq += self.session != 0
        wait_for(answer, 10, "an answer that holds")
        return self.error

    def put_if_absent(self, name):
        return self.ask(message(f1=PUT, f2=IF_VERSION, f8=name, f19=b"one"))


@limit(90)
def test_a_mixed_cluster_works_under_a_leader_of_either_version_and_moves_on_when_the_last_node_does(env):
    cluster, held = mixed(env)
    with cluster:
        m = cluster.mount()
        wait_protocols(cluster, {1: (1, 2), 2: (1, 2), 3: (1, 1)})
        check("1 of 2" in cluster.ctl("status").stdout.decode(), "raftctl status does not show that two nodes are held back")
        lead(cluster, 3)
        use(m, "old")
        equal(Client(cluster).put_if_absent(b"new"), -errno.EOPNOTSUPP, "a change of version 2 at the held leader")
        lead(cluster, 1)
        use(m, "new")
        equal(Client(cluster).put_if_absent(b"new"), -errno.EOPNOTSUPP, "a change of version 2 at a new leader")
        equal(Client(cluster).ask(message(f1=LOCK, f4=1)), -errno.EOPNOTSUPP, "an operation of version 2")
        check("it needs protocol version 2, the cluster speaks 1, and node 3 no more than 1" in cluster.nodes[1].said(),
              "the new leader does not say who holds the cluster back")
        check(not (m / "new").exists(), "what was refused was done")
        cluster.wait_agreed()
        equal(protocols(cluster), {1: (1, 2), 2: (1, 2), 3: (1, 1)}, "protocol versions")

        cluster.kill(3) # and the cluster does not move on without it
        (m / "alone").write_text("two of three")
        equal(protocols(cluster), {1: (1, 2), 2: (1, 2)}, "protocol versions while a member is down")
        cluster.start(3)
        wait_protocols(cluster, {1: (2, 2), 2: (2, 2), 3: (2, 2)})
        use(m, "all")
        client = Client(cluster)
        equal(client.put_if_absent(b"new"), 0, "the same change once all speak version 2")
        equal(client.put_if_absent(b"new"), EPRECONDITION, "and again")
        equal((m / "new").read_bytes(), b"one", "what it wrote")
        cluster.wait_agreed()
        equal((m / "alone").read_text(), "two of three", "what was written before")


@limit(60)
def test_a_node_held_back_later_is_refused_and_says_which_versions(env):
    with env.cluster() as cluster:
        m = cluster.mount()
        wait_protocols(cluster, {1: (2, 2), 2: (2, 2), 3: (2, 2)})
        m3 = (m / "before")
        m3.write_text("all")
        cluster.wait_agreed()
        cluster.stop(3)
        start_held(cluster, 3, hold(cluster))
        code = cluster.nodes[3].wait(10, "its refusal to start")
        said = cluster.nodes[3].said()
        check(0 < code < 99, f"exit code {code}")
        check("protocol version 2, this node at most 1" in said, f"versions are not named: {said[-1500:]}")
        (m / "after").write_text("works")
        cluster.start(3)
        cluster.wait_agreed()


@limit(60)
def test_a_cluster_does_not_wait_for_a_member_that_was_never_there_nor_let_it_in_when_it_is_older(env):
    cluster = env.cluster(start=False)
    with cluster:
        cluster.start(1, 2)
        cluster.wait_ready()
        wait_protocols(cluster, {1: (2, 2), 2: (2, 2)})
        start_held(cluster, 3, hold(cluster))
        wait_for(lambda: "the caller 2 to 2" in cluster.nodes[3].said(), 10, "node 3 to tell why it calls in vain")
        wait_for(lambda: "the cluster speaks protocol version 2, the caller 1 to 1" in cluster.nodes[1].said()
                 or "the cluster speaks protocol version 2, the caller 1 to 1" in cluster.nodes[2].said(), 10,
                 "the others to tell why it is refused")
        m = cluster.mount()
        (m / "a").write_text("two of three")
        equal(cluster.status()[3]["last"], 0, "entries that the refused node has got")
        cluster.stop(3)
        cluster.start(3)
        cluster.wait_agreed()


@limit(240)
def test_a_cluster_held_at_version_1_is_the_file_system_that_it_was(env):
    """What the mount asks for must not depend on what only a newer version has."""
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, here / "run.py", "-j2", "-k", "test_posix|test_keys.test_ls"], capture_output=True,
                          env={**os.environ, "E2E_HOLD": "1", "TMPDIR": str(env.dir)}, timeout=slow(200))
    check(done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:])

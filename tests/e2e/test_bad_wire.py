"""Nonsense on a node's port: the sender is cut off, everybody else goes on undisturbed."""

import errno
import os
import random
import socket
import stat
import struct
import threading
import time

import rawpeer
from rawpeer import Peer, frame, hello, message
from harness import check, equal, limit, slow, wait_for


class Undisturbed:
    """Works through a mount in a thread meanwhile; at the end nothing has failed or stalled, and the nodes still
    are the same processes in the same term."""

    def __init__(self, shared):
        self.shared = shared
        self.a, self.b = shared.fresh()

    def __enter__(self):
        self.before = self.roles()
        self.pids = [p.pid for p in self.shared.cluster.processes()]
        self.ended, self.rounds, self.slowest, self.error = False, 0, 0.0, None
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()
        wait_for(lambda: self.rounds > 3 or self.error, 10, "the client beside the test to work")
        return self

    def work(self):
        try:
            while not self.ended:
                begin = time.monotonic()
                (self.a / "f").write_text(str(self.rounds))
                equal((self.b / "f").read_text(), str(self.rounds), "content through the other mount")
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.rounds += 1
        except Exception as e: # noqa: B902 - told in __exit__
            self.error = e

    def __exit__(self, kind, value, tb):
        rounds = self.rounds
        if kind is None:
            wait_for(lambda: self.rounds > rounds + 3 or self.error, 10, "the client to go on")
        self.ended = True
        self.thread.join(slow(10))
        if kind is None:
            check(self.error is None, f"a client beside the nonsense failed: {self.error!r}")
            check(self.slowest < slow(1.0), f"a client beside the nonsense waited {self.slowest:.2f} s")
            check(self.shared.healthy(), "a process ended")
            equal(self.roles(), self.before, "roles and terms afterwards")
        return False

    def roles(self):
        return {id: (n["role"], n["term"]) for id, n in self.shared.cluster.status().items()}


def addresses(shared):
    return [shared.cluster.address(id) for id in shared.cluster.ids]


def greeting(shared, **more):
    return hello(shared.cluster.name.encode(), **more)


def cut_off(address, data, what, greet=None, seconds=5):
    """Send `data`; the node must end the connection."""
    peer = Peer(address, greet)
    if greet is not None:
        check(peer.reply is not None and peer.reply[0] == rawpeer.HELLO_REPLY, f"{what}: the hello got {peer.reply}")
    peer.send(data)
    check(peer.closed(seconds), f"{what}: the connection is still open after {slow(seconds):.0f} s")
    peer.close()


def test_a_hello_by_hand_is_answered(shared):
    """So that the nonsense of the other tests stands behind a door that really opens."""
    for address in addresses(shared):
        peer = Peer(address, greeting(shared))
        kind, payload = peer.reply
        equal(kind, rawpeer.HELLO_REPLY, "type of the answer")
        check(shared.cluster.name.encode() in payload, "the answer does not name the cluster")
        peer.send(frame(rawpeer.STATUS_REQUEST, message(f1=77)))
        kind, payload = peer.receive()
        equal((kind, payload[:2]), (rawpeer.STATUS, message(f1=77)), "answer to a status request")
        peer.close()


@limit(60)
def test_random_bytes_instead_of_a_hello(shared):
    rng = random.Random(4)
    with Undisturbed(shared):
        for i in range(60):
            data = rng.randbytes(rng.choice((12, 13, 100, 5000, 70_000)))
            # the length says more than a frame may have, so that no node waits for the rest
            cut_off(addresses(shared)[i % 3], data[:3] + b"\xff" + data[4:], f"random bytes {i}")


def test_random_bytes_behind_a_good_hello(shared):
    rng = random.Random(5)
    with Undisturbed(shared):
        for i in range(30):
            data = rng.randbytes(rng.choice((12, 100, 5000)))
            cut_off(addresses(shared)[i % 3], data[:3] + b"\xff" + data[4:], f"random bytes {i}", greeting(shared))


def test_oversized_frames_and_wrong_checksums(shared):
    with Undisturbed(shared):
        for address in addresses(shared):
            for greet in (None, greeting(shared)):
                for length in (rawpeer.PAYLOAD_MAX + 1, 0x7FFFFFFF, 0xFFFFFFFF):
                    cut_off(address, frame(rawpeer.REQUEST, b"x" * 100, length=length), f"length {length}", greet)
                cut_off(address, frame(rawpeer.HELLO, message(f1=1, f2=1), crc=1), "wrong checksum", greet)
                cut_off(address, frame(rawpeer.REQUEST, message(f1=1), crc=0xDEADBEEF), "wrong checksum", greet)
                cut_off(address, frame(rawpeer.REQUEST, message(f1=1), reserved=1, crc=5), "reserved bits", greet)


def test_good_frames_with_nonsense_in_them(shared):
    rng = random.Random(6)
    with Undisturbed(shared):
        for kind in (rawpeer.RAFT, rawpeer.REQUEST, rawpeer.REPLY, rawpeer.KEEP_ALIVE, rawpeer.STATUS, 0, 99, 0xFFFF):
            for address in addresses(shared):
                peer = Peer(address, greeting(shared))
                for _ in range(5):
                    peer.send(frame(kind, rng.randbytes(200)))
                peer.close()
        # requests that parse, with operations that make no sense
        operations = [message(f1=kind, f4=ino, f5=ino, f15=1 << 63, f14=1 << 63, f19=b"x" * 17, f26=ino)
                      for kind in (0, 1, 3, 4, 9, 10, 12, 14, 20, 21, 24, 26, 63, 66, 68, 70, 99)
                      for ino in (0, 1, 12345678, (1 << 64) - 1)]
        leader = shared.cluster.address(shared.cluster.wait_leader())
        for address in {leader, *addresses(shared)}:
            for op in operations:
                peer = Peer(address, greeting(shared))
                peer.send(frame(rawpeer.REQUEST, message(f1=1, f2=0, f5=op)))
                peer.send(frame(rawpeer.REQUEST, message(f1=2, f2=(1 << 64) - 1, f3=1, f5=op)))
                peer.close()
        for name in (b"", b".", b"..", b"a/b", b"n" * 256, b"nul\0", b"\xff"):
            peer = Peer(leader, greeting(shared))
            for kind in (4, 6, 7, 8, 12, 13, 64, 70, 71):
                op = message(f1=kind, f5=1, f6=1, f8=name, f9=name, f10=0o100644)
                peer.send(frame(rawpeer.REQUEST, message(f1=kind, f2=0, f5=op)))
            peer.close()
    shared.cluster.wait_agreed()


def test_adoptions_that_make_no_sense_are_refused(shared):
    """In a session of their own, so that they get as far as the state machine."""
    leader = shared.cluster.address(shared.cluster.wait_leader())
    session = seq = 0

    def ask(peer, **op):
        nonlocal seq
        seq += session != 0
        peer.send(frame(rawpeer.REQUEST, message(f1=1, f2=session, f3=seq, f4=seq, f5=message(**op))))
        kind, payload = peer.receive()
        equal(kind, rawpeer.REPLY, "type of the answer")
        reply = rawpeer.fields(payload)
        return -((reply.get(2, 0) + 1) // 2), reply

    with Undisturbed(shared):
        peer = Peer(leader, greeting(shared, high=2))
        session = ask(peer, f1=1, f15=10_000)[1][4]
        nameless = rawpeer.fields(ask(peer, f1=4, f2=1 << 13, f5=1, f10=stat.S_IFREG | 0o600)[1][3])[1]
        target = rawpeer.fields(ask(peer, f1=4, f5=1, f8=b"target", f10=stat.S_IFREG | 0o600)[1][3])[1]
        ask(peer, f1=10, f4=nameless, f19=b"n" * 5000)
        ask(peer, f1=10, f4=target, f19=b"t" * 5000)
        for ranges in ((0, 0), (0, 5001), (5000, 1), (4, 4, 2, 4), (1 << 40, 1), (1, (1 << 64) - 1), ((1 << 64) - 1, 2), (0, 4, 4)):
            data = struct.pack(f"<{len(ranges)}Q", *ranges)
            equal(ask(peer, f1=26, f4=target, f26=nameless, f19=data)[0], -errno.EINVAL, f"outcome of ranges {ranges}")
        for op, wanted in (({"f4": 1}, errno.EISDIR), ({"f4": 1 << 60}, errno.ESTALE), ({"f26": target}, errno.EINVAL), ({"f26": 1}, errno.ESTALE),
                           ({"f26": 0}, errno.ESTALE), ({"f2": 1 << 31}, errno.EOPNOTSUPP)):
            got, _ = ask(peer, **{"f1": 26, "f2": 1 << 4, "f4": target, "f26": nameless, **op})
            equal(got, -wanted, f"outcome with {op}")
        err, reply = ask(peer, f1=26, f4=target, f26=nameless, f19=struct.pack("<4Q", 0, 1, 4000, 1000))
        equal((err, rawpeer.fields(reply[3])[3]), (0, 5000), "outcome and size of one that makes sense")
        peer.close()
    shared.cluster.wait_agreed()


def test_raft_messages_from_a_client_do_not_touch_the_terms(shared):
    """A vote request with an enormous term, sent by somebody who said that he is a client."""
    with Undisturbed(shared):
        for address, to in zip(addresses(shared), shared.cluster.ids):
            for kind in range(1, 10):
                peer = Peer(address, greeting(shared))
                peer.send(frame(rawpeer.RAFT, message(f1=kind, f2=1 + to % 3, f3=to, f4=1_000_000, f5=9_999_999, f6=999_999, f13=1)))
                peer.close()


def test_raft_messages_from_a_stranger_do_not_touch_the_terms(shared):
    """The same by somebody who claims to be a node that is no member."""
    name = shared.cluster.name.encode()
    with Undisturbed(shared):
        for address, to in zip(addresses(shared), shared.cluster.ids):
            for kind in range(1, 10):
                peer = Peer(address, hello(name, node_id=55, incarnation=5, to_node=to))
                peer.send(frame(rawpeer.RAFT, message(f1=kind, f2=55, f3=to, f4=1_000_000, f5=9_999_999, f6=999_999, f13=1)))
                peer.close()


def test_hellos_that_do_not_fit_are_refused_with_a_reason(shared):
    name = shared.cluster.name.encode()
    with Undisturbed(shared):
        for what, greet in (("another cluster", hello(b"elsewhere")), ("an unknown version", hello(name, low=900, high=901)),
                            ("another node", hello(name, to_node=77)),
                            ("a name too long", hello(b"x" * 5000)), ("no version", hello(name, low=0, high=0))):
            peer = Peer(shared.cluster.address(1), greet)
            check(peer.closed(), f"{what}: the connection is still open")
            if peer.reply is not None:
                equal(peer.reply[0], rawpeer.HELLO_REPLY, f"{what}: type of the answer")
                check(len(peer.reply[1]) > 10, f"{what}: no reason given")
            peer.close()


@limit(60)
def test_cut_frames_and_connections_that_say_nothing_are_given_up(shared):
    with Undisturbed(shared):
        silent = [Peer(address) for address in addresses(shared) for _ in range(30)]
        for peer in silent[::3]:
            peer.send(greeting(shared)[:7]) # a hello cut in its header
        for peer in silent[1::3]:
            peer.send(greeting(shared)[:-3]) # and in its payload
        for address in addresses(shared):
            for data in (frame(rawpeer.REQUEST, b"x" * 1000)[:500], frame(rawpeer.REQUEST, b"x")[:11], b"\0"):
                for abruptly in (False, True):
                    peer = Peer(address, greeting(shared))
                    peer.send(data)
                    peer.close(abruptly)
        for peer in silent:
            check(peer.closed(10), "a connection without a whole hello is still open")
            peer.close()


def test_a_frame_in_single_bytes_is_taken_as_any_other(shared):
    peer = Peer(shared.cluster.address(1))
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in greeting(shared):
        peer.send(bytes([byte]))
    equal(peer.receive()[0], rawpeer.HELLO_REPLY, "type of the answer")
    peer.close()


def test_many_connections_at_once_come_and_go(shared):
    with Undisturbed(shared):
        for _ in range(3):
            peers = [Peer(addresses(shared)[i % 3]) for i in range(300)]
            for i, peer in enumerate(peers):
                if i % 2:
                    peer.send(os.urandom(50))
                peer.close(abruptly=i % 3 == 0)

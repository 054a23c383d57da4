"""What happens at the limits: nothing grows without bound, and those who keep within them notice nothing."""

import os
import socket
import time

from harness import check, equal, limit, slow, wait_for
from rawpeer import REQUEST, Peer, frame, hello, message

MIB = 1 << 20
READ, GETATTR = 66, 65


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) // 1024


def client_of(cluster, id):
    """A socket over which a client's frames can be sent by hand."""
    return Peer(cluster.address(id), hello(cluster.name.encode())).socket


def request(number, **op):
    return frame(REQUEST, message(f1=number, f5=message(**op)))


def push(sock, data, seconds):
    """Send until the other side takes no more; gives how much it took."""
    sock.setblocking(False)
    sent, end, last = 0, time.monotonic() + slow(seconds), time.monotonic()
    while sent < len(data) and time.monotonic() < end:
        try:
            sent += sock.send(data[sent:sent + 65536])
            last = time.monotonic()
        except BlockingIOError:
            if time.monotonic() - last > 1.0:
                break
            time.sleep(0.01)
    return sent


@limit(90)
def test_a_client_that_takes_no_answers_is_not_read_from_any_more_and_costs_little_memory(env):
    with env.cluster() as cluster:
        mount = cluster.mount()
        (mount / "big").write_bytes(b"x" * MIB)
        ino = os.stat(mount / "big").st_ino
        leader = cluster.leader_now()
        before = resident_mib(cluster.nodes[leader].pid)
        with client_of(cluster, leader) as sock:
            asked = b"".join(request(i, f1=READ, f4=ino, f14=0, f15=MIB) for i in range(1, 200001))
            took = push(sock, asked, 20)
            (mount / "other").write_bytes(b"still served")
            equal((mount / "other").read_bytes(), b"still served", "what another client reads meanwhile")
            after = resident_mib(cluster.nodes[leader].pid)
            env.note(f"{took} of {len(asked)} bytes of requests taken; leader's memory {before} -> {after} MiB")
            check(after - before < 100, f"the leader grew by {after - before} MiB")
            check(took < len(asked), "all requests were taken though no answer was")
            # and it gets all of them as soon as it reads
            sock.setblocking(True)
            sock.settimeout(slow(20))
            got = 0
            while got < 50 * MIB:
                piece = sock.recv(1 << 20)
                check(piece, "the connection was ended")
                got += len(piece)


@limit(60)
def test_a_client_with_many_small_requests_is_served_in_full_when_it_reads(env):
    with env.cluster(n=1) as cluster:
        with client_of(cluster, 1) as sock:
            n = 30000
            asked = b"".join(request(i, f1=GETATTR, f4=1) for i in range(1, n + 1))
            sent = push(sock, asked, 20)
            sock.setblocking(True)
            sock.settimeout(slow(20))
            answers, data = 0, b""
            while answers < n:
                if sent < len(asked):
                    sent += sock.send(asked[sent:sent + 16384])
                data += sock.recv(1 << 20)
                while len(data) >= 12:
                    size = 12 + int.from_bytes(data[:4], "little")
                    if len(data) < size:
                        break
                    data, answers = data[size:], answers + 1
        check(resident_mib(cluster.nodes[1].pid) < 300, "the node grew")


@limit(90)
def test_a_follower_that_takes_nothing_costs_the_others_neither_writes_nor_memory(env):
    with env.cluster() as cluster:
        mount = cluster.mount()
        leader = cluster.leader_now()
        frozen = next(id for id in cluster.ids if id != leader)
        fd = os.open(mount / "f", os.O_CREAT | os.O_WRONLY)
        os.pwrite(fd, b"y" * MIB, 0)
        cluster.pause(frozen)
        before = resident_mib(cluster.nodes[leader].pid)
        for i in range(150):
            os.pwrite(fd, b"%d" % (i % 10) * MIB, 0)
        os.close(fd)
        after = resident_mib(cluster.nodes[leader].pid)
        env.note(f"leader's memory {before} -> {after} MiB while 150 MiB went past a frozen follower")
        check(after - before < 150, f"the leader grew by {after - before} MiB")
        equal(cluster.leader_now([leader]), leader, "leader")
        cluster.resume(frozen)
        cluster.wait_agreed(30)


@limit(60)
def test_connections_beyond_the_limit_are_refused_and_the_others_go_on(env):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "k", "v")
        socks = []
        for _ in range(4096):
            s = socket.create_connection(("127.0.0.1", cluster.ports[1]), timeout=slow(5))
            socks.append(s)
            if len(socks) % 512 == 0: # connections without a hello are closed after two seconds: be quick
                cluster.nodes[1].running()
        extra = [socket.create_connection(("127.0.0.1", cluster.ports[1]), timeout=slow(5)) for _ in range(50)]
        closed = wait_for(lambda: sum(is_closed(s) for s in extra + socks), 10, "connections to be closed")
        check(closed > 0, "none was refused")
        for s in socks + extra:
            s.close()
        wait_for(lambda: cluster.ctl("get", "k", code=None).stdout == b"v", 15, "the node to serve again")
        check("there are 4096 connections already" in cluster.log(1).read_text(), "the limit is not named in the log")


def is_closed(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True

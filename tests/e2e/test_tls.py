"""[tls]: who is let in and who is not, what can be read on the way, certificates that change, and the way from a
cluster without to one with."""

import json
import os
import re
import select
import socket
import ssl
import threading
import time
import urllib.request

from harness import Failure, Proc, check, equal, errno_of, free_ports, limit, program, run, slow, text_of, wait_for
from rawpeer import HELLO_REPLY, Peer, fields, frame, hello, message

SECRET = "a-secret-that-nobody-else-shall-see-0123456789"


def tls_cluster(env, n=3, mode="required", client="client-main", start=True, **more):
    cluster = env.cluster(n, start=False, **more)
    cluster.certify(mode, client)
    if start:
        cluster.start()
        cluster.wait_ready()
    return cluster


class Writer:
    """Writes to a key one number after the other, in a thread; every failure counts."""

    def __init__(self, write):
        self.write, self.written, self.failures, self.longest = write, 0, [], 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                self.write(self.written + 1)
                self.written += 1
            except (OSError, Failure) as e:
                self.failures.append(str(e))
                return
            self.longest = max(self.longest, time.monotonic() - began)

    def goes_on(self, count=3):
        """So many more have been written from now on."""
        seen = self.written
        wait_for(lambda: self.failures or self.written >= seen + count, 15, "the writer to go on")
        equal(self.failures, [], "failed writes")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        self.ended.set()
        self.thread.join()
        if kind is None:
            equal(self.failures, [], "failed writes")
        return False


def through(mount, name):
    def write(number):
        (mount / name).write_text(str(number))
    return write


# ---- it works ----

@limit(60)
def test_mount_and_tool_go_on_when_a_leader_is_killed(env):
    with tls_cluster(env) as cluster:
        m = cluster.mount("a")
        with Writer(through(m, "count")) as writer:
            writer.goes_on()
            leader = cluster.wait_leader()
            cluster.kill(leader)
            writer.goes_on(20)
            cluster.start(leader)
            cluster.wait_ready()
            writer.goes_on()
        equal(cluster.ctl("get", "count").stdout.decode(), str(writer.written), "the last number written")
        cluster.wait_agreed()


@limit(60)
def test_members_come_and_are_rebuilt(env):
    with tls_cluster(env, client="admin-main") as cluster:
        cluster.ctl("set", "a", "1")
        cluster.join(4)
        cluster.ctl("member", "add", "4", cluster.address(4))
        wait_for(lambda: cluster.members().get(4, ("",))[0] == "voter", 15, "node 4 to become a voter")
        check("[tls]" in (cluster.data(4) / "cluster.toml").read_text(), "node 4 has not kept its certificates' names")
        cluster.stop(4)
        cluster.start(4)
        cluster.wait_ready()
        cluster.stop(2)
        cluster.nodes[2] = Proc("raftd 2", [program("raftd"), "--cluster", cluster.toml, "--id", 2, "--rebuild"], cluster.log(2))
        wait_for(lambda: cluster.members().get(2, ("",))[0] == "voter", 15, "node 2 to become a voter again")
        cluster.wait_ready()
        cluster.wait_agreed()


# ---- who is let in ----

def log_of(cluster):
    return "".join(cluster.log(id).read_text() for id in cluster.ids if cluster.log(id).exists())


@limit(60)
def test_who_shows_nothing_or_something_else_is_refused_with_4(env):
    with tls_cluster(env) as cluster:
        cluster.ctl("set", "a", "1")
        endpoint = ["--endpoint", cluster.address(1), "--timeout", "2"]
        done = cluster.ctl(*endpoint, "get", "a", alone="bare", code=4)
        check("under TLS alone" in text_of(done), f"a plain client is told: {text_of(done)}")
        plain = cluster.directory / "plain.toml"
        plain.write_text(cluster.toml.read_text().split("\n[tls]")[0])
        done = run([program("raftctl"), "--cluster", plain, "--timeout", "2", "set", "a", "2"], env.dir)
        equal(done.returncode, 4, f"exit code of a plain set: {text_of(done)}")
        done = run([program("raftfs"), env.dir, "-f", "--cluster", plain, "-o", "timeout=1"], env.dir)
        check(done.returncode != 0 and "under TLS alone" in text_of(done), f"a plain mount: {done.returncode} {text_of(done)}")

        strange = env.dir / "strange"
        run([program("raftctl"), "cert", "init", "--name", cluster.name, "--all", strange], env.dir)
        (strange / "both.pem").write_text((strange / "ca.pem").read_text() + (cluster.tls / "ca.pem").read_text())
        run([program("raftctl"), "cert", "client", strange, "mallory"], env.dir)
        done = cluster.ctl(*endpoint, "--ca", strange / "both.pem", "--cert", strange / "client-mallory.pem", "--key",
                           strange / "client-mallory.key", "get", "a", alone="bare", code=4)
        check("does not take our certificate" in text_of(done), f"a client of another authority is told: {text_of(done)}")
        done = cluster.ctl(*endpoint, "--ca", strange / "ca.pem", "--cert", strange / "client-mallory.pem", "--key",
                           strange / "client-mallory.key", "get", "a", alone="bare", code=4)
        check("its certificate is refused" in text_of(done), f"a client that does not know the authority: {text_of(done)}")
        equal(cluster.ctl("get", "a").stdout, b"1", "the key afterwards")
        said = cluster.log(1).read_text()
        check("a plain connection, where TLS is required" in said, "the log does not tell of the plain client")
        check("it says: client mallory of cluster" in said, "the log does not tell who was refused")


def tls_socket(cluster, id, cert):
    context = ssl.create_default_context(cafile=cluster.tls / "ca.pem")
    context.check_hostname = False
    context.load_cert_chain(cluster.tls / f"{cert}.pem", cluster.tls / f"{cert}.key")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", cluster.ports[id]), slow(5)))


class TlsPeer(Peer):
    """As Peer, with a certificate of the cluster."""

    def __init__(self, cluster, id, cert, greet):
        self.socket = tls_socket(cluster, id, cert)
        self.send(greet)
        self.reply = self.receive()


def code_of(reply):
    """The refusal in a hello's answer, and its words."""
    equal(reply and reply[0], HELLO_REPLY, "what answers a hello")
    found = fields(reply[1])
    return found.get(5, 0), found.get(6, b"").decode()


@limit(60)
def test_a_stolen_client_certificate_makes_nobody_a_node(env):
    with tls_cluster(env) as cluster:
        name = cluster.name.encode()
        for cert in ("client-main", "admin-main", "node-3"):
            peer = TlsPeer(cluster, 1, cert, hello(name, node_id=2, incarnation=7, to_node=1, high=2))
            code, text = code_of(peer.reply)
            check(code != 0 and "the caller says that it is node 2, and its certificate that it is" in text,
                  f"{cert} as node 2 was answered {code} {text!r}")
            check(peer.closed(), f"the connection of {cert} as node 2 is still open")
        check("the caller says that it is node 2, and its certificate that it is admin main" in cluster.log(1).read_text(),
              "the log does not tell of the false node")
        peer = TlsPeer(cluster, 1, "client-main", hello(name, high=2))
        equal(code_of(peer.reply)[0], 0, "a client as a client")
        peer.send(frame(3, message(f1=1))) # a message between nodes
        check(peer.closed(), "a client may say what nodes say to each other")
        cluster.wait_ready()


READS = ["get a", "show", "ls", "watch --from 1 --count 1", "status", "leader", "member list", "lock list", "quota list", "monitor --once"]
CHANGES = ["set b 1", "delete nothing", "setval n 1"]
ADMINISTERS = ["member add 9 127.0.0.1:1 --learner", "member remove 9", "transfer {leader}", "quota set d --bytes 1M", "quota remove d",
               "lock break a", "backup {dir}/backup-{role}"]


@limit(90)
def test_each_role_may_do_what_is_its_own(env):
    with tls_cluster(env) as cluster:
        cluster.ctl("set", "a", "1")
        cluster.ctl("set", "d/x", "1")
        for rank, role in enumerate(("reader", "client", "admin")):
            who = cluster.certificate(role, "test")
            leader = cluster.wait_leader()
            for least, rows in ((0, READS), (1, CHANGES), (2, ADMINISTERS)):
                for row in rows:
                    args = [w.format(leader=leader, dir=env.dir, role=role) for w in row.split()]
                    done = cluster.ctl(*who, *args, code=None)
                    wanted = (0, 1) if rank >= least else (4,) # 1: there is no such key, no lock to break
                    check(done.returncode in wanted, f"{role}: raftctl {row}: exit code {done.returncode}: {text_of(done)}")
        check(re.search(r"reader test of cluster \w+, 127\.0\.0\.1:\d+: refused session-open", log_of(cluster)),
              "the log does not tell what was refused to whom")


@limit(60)
def test_a_readers_mount_reads_and_changes_nothing(env):
    with tls_cluster(env, n=1) as cluster:
        cluster.ctl("set", "d/a", "1")
        cluster.certificate("reader", "web")
        m = cluster.mount("r", f"cert={cluster.tls}/reader-web.pem,key={cluster.tls}/reader-web.key")
        equal((m / "d" / "a").read_text(), "1", "what the reader reads")
        equal(os.listdir(m / "d"), ["a"], "what it lists")
        for what, call in (("write", lambda: (m / "d" / "a").write_text("2")), ("create", lambda: (m / "b").write_text("x")),
                           ("mkdir", lambda: (m / "e").mkdir()), ("unlink", lambda: (m / "d" / "a").unlink()),
                           ("chmod", lambda: (m / "d" / "a").chmod(0o600))):
            equal(errno_of(call), "EACCES", f"{what} by a reader")
        equal(cluster.ctl("get", "d/a").stdout, b"1", "the key afterwards")


# ---- what can be read on the way ----

class Proxy:
    """Passes bytes between a port of its own and another one, and keeps them."""

    def __init__(self, to):
        self.to, self.seen = to, bytearray()
        self.listener = socket.create_server(("127.0.0.1", free_ports(1)[0]))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a = self.listener.accept()[0]
            except OSError:
                return
            try:
                b = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                a.close()
                continue
            threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        other = {a: b, b: a}
        try:
            while True:
                for s in select.select([a, b], [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    self.seen += data
                    other[s].sendall(data)
        except OSError:
            pass
        finally:
            a.close()
            b.close()


def through_proxies(env, tls):
    """A cluster all of whose traffic passes proxies; what they saw while a secret went in and out."""
    cluster = env.cluster(start=False)
    if tls:
        cluster.certify(client="client-main")
    proxies = {id: Proxy(port) for id, port in cluster.ports.items()}
    text = cluster.toml.read_text()
    for id, p in proxies.items():
        text = text.replace(f"port = {cluster.ports[id]}", f"port = {p.port}")
    cluster.toml.write_text(text)
    for id in cluster.ids:
        cluster.nodes[id] = Proc(f"raftd {id}", [program("raftd"), "--cluster", cluster.toml, "--id", id, "--listen", cluster.address(id)],
                                 cluster.log(id))
    with cluster:
        # the founders' addresses are those of the file: so everybody dials proxies
        cluster.wait_ready()
        m = cluster.mount("a")
        (m / "password").write_text(SECRET)
        equal((m / "password").read_text(), SECRET, "the secret as the mount reads it")
        equal(cluster.ctl("get", "password").stdout.decode(), SECRET, "the secret as raftctl reads it")
        cluster.wait_agreed()
    for p in proxies.values():
        p.listener.close()
    return {id: bytes(p.seen) for id, p in proxies.items()}


@limit(90)
def test_nothing_of_a_key_can_be_read_on_the_way(env):
    plain = through_proxies(env, False) if os.environ.get("E2E_TLS") != "1" else None
    if plain:
        check(all(SECRET.encode() in seen and b"password" in seen for seen in plain.values()), "the test is blind: without TLS the secret was not seen")
        run(["rm", "-rf", env.dir / "cluster"], env.dir)
    for id, seen in through_proxies(env, True).items():
        check(len(seen) > 5000, f"only {len(seen)} bytes passed on the way to node {id}")
        for word in (SECRET.encode(), SECRET[:8].encode(), b"password", b"e2e"):
            check(word not in seen, f"{word!r} was seen on the way to node {id}")


# ---- certificates that change ----

def metric(port, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=slow(5)) as r:
        text = r.read().decode()
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    return float(found[1]) if found else None


def told(proc, sentence, since=0):
    wait_for(lambda: sentence in proc.said()[since:], 10, f"{proc.name} to say {sentence!r}")


@limit(90)
def test_certificates_are_changed_while_somebody_writes(env):
    """From one authority to another, as one does when a key was stolen: both are believed, then the new one shows, then the
    old one is forgotten. Every step by SIGHUP."""
    cluster = env.cluster(start=False)
    ports = dict(zip(cluster.ids, free_ports(3)))
    text = cluster.toml.read_text()
    for id, port in ports.items():
        text = text.replace(f"port = {cluster.ports[id]}\n", f"port = {cluster.ports[id]}\nmetrics_port = {port}\n")
    cluster.toml.write_text(text)
    cluster.certify(client="client-main")
    cluster.start()
    cluster.wait_ready()
    with cluster:
        m = cluster.mount("a")
        everybody = [*cluster.nodes.values(), m.proc]

        def hang_up():
            marks = [(p, len(p.said())) for p in everybody]
            for p in everybody:
                p.signal(1)
            for p, mark in marks:
                told(p, "SIGHUP: certificate read again", mark)

        with Writer(through(m, "count")) as writer:
            writer.goes_on()
            before = metric(ports[1], "raftfs_tls_certificate_expiry_seconds")
            check(abs(before - time.time() - 730 * 86400) < 3600, f"the certificate ends at {before}")
            new = env.dir / "new"
            cluster.ctl("cert", "init", "--all", "--days", "300", new)
            ca = (cluster.tls / "ca.pem").read_text()
            (cluster.tls / "ca.pem").write_text(ca + (new / "ca.pem").read_text())
            hang_up()
            writer.goes_on()
            for name in [f"node-{id}" for id in cluster.ids] + ["client-main", "admin-main"]:
                for end in ("pem", "key"):
                    os.replace(new / f"{name}.{end}", cluster.tls / f"{name}.{end}")
            hang_up()
            writer.goes_on()
            (cluster.tls / "ca.pem").write_text((new / "ca.pem").read_text())
            hang_up()
            writer.goes_on()
            after = metric(ports[1], "raftfs_tls_certificate_expiry_seconds")
            check(abs(after - time.time() - 300 * 86400) < 3600, f"the new certificate ends at {after}")
            # who comes now meets the new one only
            leader = cluster.wait_leader()
            cluster.kill(leader)
            cluster.start(leader)
            writer.goes_on(20)
            cluster.wait_ready()
            equal(cluster.ctl("get", "count", code=None).returncode, 0, "raftctl under the new authority")

            # a bad file changes nothing
            mark = len(cluster.nodes[1].said())
            (cluster.tls / "node-1.pem").rename(cluster.tls / "node-1.kept")
            (cluster.tls / "node-1.pem").write_text("nonsense")
            cluster.nodes[1].signal(1)
            told(cluster.nodes[1], "SIGHUP: the certificate stays as it was: ", mark)
            check("node-1.pem: no certificate in PEM" in cluster.nodes[1].said()[mark:], "the log does not say what is wrong with the file")
            writer.goes_on()
            equal(cluster.ctl("get", "count", code=None).returncode, 0, "raftctl with node 1's file broken")
            (cluster.tls / "node-1.kept").rename(cluster.tls / "node-1.pem")


@limit(60)
def test_a_certificate_that_ends_soon_is_told_at_the_start(env):
    with tls_cluster(env, n=1, start=False) as cluster:
        for end in ("pem", "key"):
            (cluster.tls / f"node-1.{end}").unlink()
        cluster.ctl("cert", "node", "--days", "20", cluster.tls, "1")
        cluster.start()
        cluster.wait_ready()
        check(re.search("the certificate ends in (19|20) days", cluster.log(1).read_text()), f"the log says: {cluster.log(1).read_text()}")
        shown = cluster.ctl("cert", "show", cluster.tls / "node-1.pem").stdout.decode()
        check("RENEW IT" in shown, f"cert show: {shown}")


# ---- from none to all ----

@limit(120)
def test_tls_is_turned_on_in_a_running_cluster(env):
    if os.environ.get("E2E_TLS") == "1":
        return
    cluster = env.cluster()
    with cluster:
        plain = cluster.directory / "plain.toml"
        plain.write_text(cluster.toml.read_text())
        m = cluster.mount("plain")
        with Writer(through(m, "count")) as writer:
            writer.goes_on()
            for mode in ("optional", "required"):
                cluster.certify(mode, "admin-main")
                for id in cluster.ids:
                    cluster.stop(id)
                    cluster.start(id)
                    cluster.wait_ready()
                    writer.goes_on()
                    cluster.ctl("set", f"{mode}-{id}", "x")
                if mode == "optional":
                    # who has not been changed yet is still served
                    done = run([program("raftctl"), "--cluster", plain, "get", "count"], env.dir)
                    equal(done.returncode, 0, f"a plain client while TLS is optional: {text_of(done)}")
                    writer.ended.set()
                    writer.thread.join()
                    n = writer.written
                    m.stop()
                    m = cluster.mount("tls")
                    writer.ended.clear()
                    writer.write = through(m, "count")
                    writer.thread = threading.Thread(target=writer.run)
                    writer.thread.start()
                    writer.goes_on()
                    check(writer.written > n, "the writer has not gone on")
        done = run([program("raftctl"), "--cluster", plain, "--timeout", "2", "get", "count"], env.dir)
        equal(done.returncode, 4, f"a plain client at the end: {text_of(done)}")
        equal(cluster.ctl("get", "count").stdout.decode(), str(writer.written), "the last number written")
        said = cluster.log(1).read_text()
        check("without TLS" in said, "node 1 never had a plain connection: the test shows nothing")
        for id in cluster.ids:
            ups = re.findall(r"node \d+ up at .*", cluster.log(id).read_text())
            check("without TLS" not in ups[-1], f"node {id} ends with {ups[-1]}")
        cluster.wait_agreed()


# ---- files and the command ----

@limit(60)
def test_files_that_are_no_good_are_named_at_the_start(env):
    with tls_cluster(env, n=1, start=False) as cluster:
        tls = cluster.tls

        def refused(*words):
            done = run([program("raftd"), "--cluster", cluster.toml, "--id", "1"], env.dir)
            equal(done.returncode, 2, f"exit code of raftd: {text_of(done)}")
            for word in words:
                check(word in text_of(done), f"raftd does not say {word!r}: {text_of(done)}")
        (tls / "node-1.key").chmod(0o644)
        refused("node-1.key", "can be read or written by others", "chmod 600")
        (tls / "node-1.key").chmod(0o600)
        (tls / "node-1.key").rename(tls / "kept")
        refused("node-1.key", "No such file")
        cluster.ctl("cert", "node", tls, "2")
        (tls / "node-2.key").rename(tls / "node-1.key")
        refused("node-1.key", "is not the key of", "node-1.pem")
        (tls / "node-2.pem").rename(tls / "node-1.pem")
        refused("node-1.pem", "is for node 2 of cluster", "this is node 1")
        cluster.toml.write_text(cluster.toml.read_text().replace("tls/client-main", "tls/nobody"))
        done = cluster.ctl("get", "a", code=2)
        check("nobody.pem: No such file" in text_of(done), text_of(done))
        cluster.toml.write_text(cluster.toml.read_text() + 'cipher = "none"\n')
        refused("tls.cipher", "unknown key")


def test_the_command_makes_and_shows_certificates(env):
    tls = env.dir / "tls"

    def ctl(*args, code=0):
        done = run([program("raftctl"), *args], env.dir)
        equal(done.returncode, code, f"exit code of raftctl {args}: {text_of(done)}")
        return done.stdout.decode()
    old = os.umask(0)
    try:
        said = ctl("cert", "init", "--name", "demo", tls)
        check('[tls]\nca = "' in said and "node-{id}.pem" in said, f"cert init says: {said}")
        for row in (["node", tls, "1"], ["client", tls, "web"], ["reader", tls, "web"], ["admin", tls, "me"]):
            ctl("cert", *row)
            ctl("cert", *row, code=1) # exists
    finally:
        os.umask(old)
    ctl("cert", "init", "--name", "demo", tls, code=1)
    for key in tls.glob("*.key"):
        equal(key.stat().st_mode & 0o777, 0o600, f"mode of {key.name}")
    facts = json.loads(ctl("cert", "show", tls / "reader-web.pem", "--json"))
    equal((facts["role"], facts["cluster"], facts["uri"]), ("reader", "demo", "raftfs://demo/reader/web"), "cert show --json")
    check(facts["expires_in_days"] in (729, 730), f"days left: {facts['expires_in_days']}")
    made = json.loads(ctl("cert", "node", tls, "2", "--days", "10", "--json"))
    equal((made["uri"], made["cert"]), ("raftfs://demo/node/2", str(tls / "node-2.pem")), "cert node --json")
    ctl("cert", "show", tls / "node-1.key", code=1)
    ctl("cert", "node", tls, "x", code=2)
    ctl("cert", "client", tls, "a/b", code=2)
    ctl("cert", "client", env.dir / "none", "a", code=1)
    # what others make of it
    done = run(["openssl", "verify", "-CAfile", tls / "ca.pem", "-purpose", "sslserver", tls / "node-1.pem"], env.dir)
    equal(done.returncode, 0, f"openssl verify: {text_of(done)}")

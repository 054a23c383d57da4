"""Real processes for the end-to-end tests: clusters of raftd, mounts of raftfs, and the waiting in between.

Nothing here sleeps for correctness: wait_for() polls a condition against a deadline. Every process runs in
a session of its own and writes to a log in the test's directory; the runner prints the tails when a test
fails, and ends whatever a test has left behind (run.py).

Environment:
  RAFTFS_BIN  folder of the programs (default bin/ of the tree)
  E2E_SLOW    factor on every deadline (default 1, but 3 where MODE names a build with sanitizers)
  E2E_FULL    1: the full sizes of the heavy tests
  E2E_KEEP    1: keep the directories of failed tests
  E2E_TLS     1: every cluster that a test makes is under TLS
  E2E_HOLD    hold every node at this protocol version (protocol_version_max)
"""

import ctypes
import errno
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("RAFTFS_BIN") or TREE / "bin").resolve()
SLOW = float(os.environ.get("E2E_SLOW") or (1 if os.environ.get("MODE", "release") in ("release", "debug") else 3))
FULL = os.environ.get("E2E_FULL") == "1"
HOLD = os.environ.get("E2E_HOLD")
TLS = os.environ.get("E2E_TLS") == "1"

SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion|check failed")
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(AssertionError):
    """What a test found wrong, in one sentence."""


def check(condition, sentence):
    if not condition:
        raise Failure(sentence)


def equal(got, wanted, what):
    if got == wanted:
        return
    if isinstance(got, dict) and isinstance(wanted, dict): # only where they differ
        keys = [k for k in {**got, **wanted} if k not in got or k not in wanted or got[k] != wanted[k]]
        got, wanted = ({k: d[k] for k in keys[:5] if k in d} for d in (got, wanted))
        what += f" ({len(keys)} keys differ)"
    raise Failure(f"{what}: got {shortened(got)}, wanted {shortened(wanted)}")


def shortened(value, most=1500):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def slow(seconds):
    """A deadline, stretched by E2E_SLOW."""
    return seconds * SLOW


def wait_for(condition, seconds, what, every=0.01):
    """Poll until condition() is true and return what it gave; Failure after `seconds` (stretched)."""
    end = time.monotonic() + slow(seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {slow(seconds):.1f} s in vain for {what}")
        time.sleep(every)


def limit(seconds):
    """Decorator: the time limit of a test (the runner's default is 30 s), stretched by E2E_SLOW."""
    def mark(function):
        function.limit = seconds
        return function
    return mark


def errno_of(call, *args):
    """The name of the errno that call(*args) fails with, or "ok"."""
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))
    return "ok"


def sanitizer_env(directory, extra=None):
    """An environment in which sanitizers write their reports into `directory` and leaks fail the exit."""
    env = dict(os.environ)
    for name in ("RAFTFS_CLUSTER", "JOURNAL_STREAM"):
        env.pop(name, None)
    report = f"log_path={directory}/sanitizer"
    # freed memory that is held back (256 MiB unless told) would pass for growth
    env["ASAN_OPTIONS"] = ":".join(filter(None, [env.get("ASAN_OPTIONS"), "detect_leaks=1", "exitcode=99", "quarantine_size_mb=16", report]))
    env["UBSAN_OPTIONS"] = ":".join(filter(None, [env.get("UBSAN_OPTIONS"), "print_stacktrace=1", "halt_on_error=1", report]))
    env.update(extra or {})
    return env


def logs_of(directory):
    """Logs and sanitizer reports below `directory`; never looks into mounts, which may hang, or data."""
    for folder, dirs, files in os.walk(directory):
        dirs[:] = sorted(d for d in dirs if not d.startswith(("mnt", "data")))
        for name in sorted(files):
            if name.endswith(".log") or name.startswith("sanitizer"):
                yield Path(folder) / name


def sanitizer_reports(directory):
    """Every line of a log or of a report below `directory` that a sanitizer or a failed check left."""
    found = []
    for path in logs_of(directory):
        for line in path.read_text(errors="replace").splitlines():
            if SANITIZER.search(line):
                found.append(f"{path.name}: {line}")
    return found


def program(name):
    path = BIN / name
    check(path.exists(), f"{path} is missing: run make first, or set RAFTFS_BIN")
    return str(path)


def run(argv, directory, seconds=20, env=None, cwd=None, data=None):
    """Run a program to its end; gives the CompletedProcess with bytes. Failure if it does not end in time."""
    try:
        return subprocess.run([str(a) if not isinstance(a, bytes) else a for a in argv], input=data,
                              stdin=None if data is not None else subprocess.DEVNULL, capture_output=True,
                              timeout=slow(seconds), cwd=cwd, env=sanitizer_env(directory, env))
    except subprocess.TimeoutExpired as e:
        said = ((e.stdout or b"") + (e.stderr or b"")).decode(errors="replace")[-2000:]
        raise Failure(f"{' '.join(map(str, argv))} did not end within {slow(seconds):.0f} s; it said: {said}")


def text_of(done):
    """All that a finished program said."""
    return (done.stdout + done.stderr).decode(errors="replace")


_ports_given = set()


def free_ports(count):
    """Ports nobody listens on, outside the kernel's range for outgoing connections: from inside it, a
    dial to a node that is down could be given the node's own port and connect to itself."""
    held = []
    while len(held) < count:
        port = random.SystemRandom().randrange(10000, 32000)
        if port in _ports_given:
            continue
        s = socket.socket()
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            s.close()
            continue
        _ports_given.add(port)
        held.append(s)
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Proc:
    """A process that this test started, in a session of its own, with its output in a log."""

    def __init__(self, name, argv, log, env=None, cwd=None):
        self.name, self.log = name, Path(log)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          start_new_session=True, cwd=cwd, env=sanitizer_env(self.log.parent, env))
        self.pid, self.parent = self.popen.pid, os.getpid()

    def running(self):
        if os.getpid() == self.parent:
            return self.popen.poll() is None
        try: # the shared cluster's processes are children of the runner, not of the test
            with open(f"/proc/{self.pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
        except OSError:
            return False

    def signal(self, number):
        if self.running():
            os.kill(self.pid, number)

    def wait(self, seconds, what="its end"):
        try:
            return self.popen.wait(slow(seconds))
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} (pid {self.pid}) still runs after {slow(seconds):.1f} s of waiting for {what}")

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(5, "SIGKILL")

    def terminate(self, seconds=10, again=True):
        """SIGTERM, and its exit code must be 0. `again` false: the signal was sent already."""
        if again:
            self.signal(signal.SIGTERM)
        code = self.wait(seconds, "SIGTERM")
        equal(code, 0, f"exit code of {self.name} after SIGTERM")

    def said(self):
        return self.log.read_text(errors="replace")


def mount_points():
    """Every mount point of this namespace, as bytes paths."""
    points = []
    with open("/proc/self/mountinfo", "rb") as f:
        for line in f:
            raw = line.split()[4]
            points.append(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m.group(1), 8)]), raw))
    return points


def is_mounted(path):
    return os.fsencode(str(path)) in mount_points()


def detach(path):
    """Forced and lazy unmount: works on a dead mount and on one that hangs, and ends whoever waits for it."""
    mnt_force, mnt_detach = 1, 2
    LIBC.umount2(os.fsencode(str(path)), mnt_force | mnt_detach)


def need_fuse():
    check(os.path.exists("/dev/fuse"), "/dev/fuse is missing: the mount cannot be tested here (modprobe fuse, or run "
          "the container with --device /dev/fuse --cap-add SYS_ADMIN)")


class Mount:
    """raftfs in the foreground (-f), so that it is our child, on a mount point of its own."""

    def __init__(self, directory, name, args, options="", env=None, cwd=None, wait=True):
        need_fuse()
        self.name, self.directory = name, Path(directory)
        self.path = self.directory / f"mnt-{name}"
        self.path.mkdir(exist_ok=True)
        self.args = ["-f", *args] + (["-o", options] if options else [])
        self.env, self.cwd, self.proc = env, cwd, None
        self.start(wait)

    def start(self, wait=True):
        log = self.directory / f"mnt-{self.name}.log"
        self.said_before = len(log.read_text(errors="replace")) if log.exists() else 0
        self.proc = Proc(f"raftfs {self.name}", [program("raftfs"), self.path, *self.args], log, self.env, self.cwd)
        if wait:
            self.wait_answer()

    def wait_answer(self, seconds=10):
        def answers():
            check(self.proc.running(), f"raftfs {self.name} ended with {self.proc.popen.poll()}: {self.proc.said()[-1500:]}")
            return is_mounted(self.path) and "is mounted at" in self.proc.said()[self.said_before:]
        wait_for(answers, seconds, f"mount {self.name} to answer")

    def __truediv__(self, name):
        return self.path / name

    def stop(self):
        """SIGTERM; the process ends with 0 and the mount is gone."""
        self.proc.terminate()
        check(not is_mounted(self.path), f"{self.path} is still mounted after raftfs ended")

    def kill(self):
        self.proc.signal(signal.SIGKILL)
        detach(self.path)
        self.proc.wait(5, "SIGKILL")


class Cluster:
    """Nodes on 127.0.0.1 with a cluster.toml and data below `directory`."""

    def __init__(self, directory, n=3, name="e2e", start=True, more=""):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name, self.ids = name, list(range(1, n + 1))
        self.ports = dict(zip(self.ids, free_ports(n)))
        self.toml = self.directory / "cluster.toml"
        self.toml.write_text(cluster_toml(name, self.ports) + more)
        self.nodes, self.mounts, self.joined = {}, {}, set()
        self.tls = None
        if TLS:
            self.certify()
        if start:
            self.start()
            self.wait_ready()

    def certify(self, mode="required", client="admin-main"):
        """From the next start on it is under TLS; gives the folder of its certificates."""
        if self.tls is None:
            self.tls = self.directory / "tls"
            done = run([program("raftctl"), "--cluster", self.toml, "cert", "init", "--all", self.tls], self.directory)
            equal(done.returncode, 0, f"exit code of raftctl cert init: {text_of(done)}")
        text = self.toml.read_text().split("\n[tls]\n")[0]
        self.toml.write_text(text + f"""
[tls]
mode = "{mode}"
ca = "tls/ca.pem"
cert = "tls/node-{{id}}.pem"
key = "tls/node-{{id}}.key"
client_cert = "tls/{client}.pem"
client_key = "tls/{client}.key"
""")
        return self.tls

    def certificate(self, role, name, *more):
        """Have one issued; gives its options for raftctl."""
        self.ctl("cert", role, self.tls, name, *more)
        return ["--cert", self.tls / f"{role}-{name}.pem", "--key", self.tls / f"{role}-{name}.key"]

    # nodes

    def data(self, id):
        return self.directory / "data" / str(id)

    def address(self, id):
        return f"127.0.0.1:{self.ports[id]}"

    def log(self, id):
        return self.directory / f"node{id}.log"

    def start(self, *ids):
        for id in ids or self.ids:
            if id in self.joined:
                if not self.nodes[id].running():
                    self.join(id)
            elif id not in self.nodes or not self.nodes[id].running():
                self.nodes[id] = Proc(f"raftd {id}", [program("raftd"), "--cluster", self.toml, "--id", id], self.log(id))

    def join(self, id, via=None, *more):
        """Start a server that is not in the file and waits to be added; once it is known, start(id) restarts it."""
        if id not in self.ports:
            self.ports[id] = free_ports(1)[0]
        self.joined.add(id)
        if id not in self.ids:
            self.ids.append(id)
        via = via or next(i for i in self.ids if i != id and self.nodes.get(i) and self.nodes[i].running())
        if self.tls:
            if not (self.tls / f"node-{id}.pem").exists():
                self.certificate("node", id)
            more = [*more, "--ca", self.tls / "ca.pem", "--cert", self.tls / f"node-{id}.pem", "--key", self.tls / f"node-{id}.key"]
        self.nodes[id] = Proc(f"raftd {id}", [program("raftd"), "--join", self.address(via), "--id", id, "--listen",
                                              self.address(id), "--data-dir", self.data(id), *more], self.log(id))

    def members(self):
        """id -> (kind, role) as `member list` prints it."""
        lines = self.ctl("member", "list").stdout.decode().splitlines()
        return {int(id): (kind, role) for id, address, kind, role in (line.split() for line in lines)}

    def running(self):
        return [id for id in self.ids if id in self.nodes and self.nodes[id].running()]

    def kill(self, *ids):
        """kill -9, all of them before the first is waited for."""
        for id in ids:
            self.nodes[id].signal(signal.SIGKILL)
        for id in ids:
            self.nodes[id].wait(5, "SIGKILL")

    def stop(self, *ids):
        ids = ids or self.running()
        for id in ids:
            self.nodes[id].signal(signal.SIGTERM)
        for id in ids:
            self.nodes[id].terminate(again=False)

    def pause(self, id):
        self.nodes[id].signal(signal.SIGSTOP)

    def resume(self, id):
        self.nodes[id].signal(signal.SIGCONT)

    # facts

    def ctl(self, *args, data=None, code=0, seconds=20, alone=False):
        """raftctl on this cluster; its exit code must be `code` (None: any). Gives the CompletedProcess. `alone`: without
        the cluster file; "bare": also without a certificate that E2E_TLS would give."""
        which = [] if alone else ["--cluster", self.toml]
        if TLS and alone is True and self.tls: # an endpoint has no file that says what to show
            which = ["--ca", self.tls / "ca.pem", "--cert", self.tls / "admin-main.pem", "--key", self.tls / "admin-main.key"]
        done = run([program("raftctl"), *which, *args], self.directory, seconds, data=data)
        if code is not None and done.returncode != code:
            raise Failure(f"raftctl {' '.join(map(str, args))}: exit code {done.returncode}, wanted {code}: {text_of(done)}")
        return done

    def status(self):
        """id -> facts of that node, for the nodes that answer."""
        done = self.ctl("status", "--json", code=None)
        try:
            nodes = json.loads(done.stdout)["nodes"]
        except (ValueError, KeyError):
            raise Failure(f"raftctl status --json gave no nodes: {text_of(done)!r}")
        return {n["id"]: n for n in nodes if n.get("reachable")}

    def leader_now(self, among=None):
        """The leader of the highest term that any node of `among` (default: all) claims to be, or None."""
        claims = [(n["term"], id) for id, n in self.status().items() if n["role"] == "leader" and id in (among or self.ids)]
        return max(claims)[1] if claims else None

    def wait_leader(self, among=None, seconds=5):
        return wait_for(lambda: self.leader_now(among), seconds, f"a leader among {among or self.ids}")

    def wait_ready(self, seconds=10):
        """Every node that runs answers, and all of them are in the term of the one that leads."""
        def ready():
            for id, node in self.nodes.items():
                code = node.popen.poll()
                check(code is None or code < 0, f"raftd {id} ended with {code}: {node.said()[-1500:]}")
            st = self.status()
            leads = [n for n in st.values() if n["role"] == "leader"]
            return set(st) >= set(self.running()) and len(leads) == 1 and len({n["term"] for n in st.values()}) == 1
        wait_for(ready, seconds, "the cluster to be ready")

    def agreed(self):
        """All running nodes stand at the same applied index; then their digests must be the same."""
        st = self.status()
        if set(st) != set(self.running()) or len({n["applied"] for n in st.values()}) != 1:
            return None
        if any(n["applied"] != n["last"] for n in st.values()):
            return None
        digests = {id: n["digest"] for id, n in st.items()}
        check(len(set(digests.values())) == 1, f"digests differ at applied {next(iter(st.values()))['applied']}: {digests}")
        return st

    def wait_agreed(self, seconds=15):
        return wait_for(self.agreed, seconds, "all nodes to stand at the same applied index")

    def last(self):
        """The last log index of the leader."""
        st = self.status()
        return max((n["term"], n["last"]) for n in st.values() if n["role"] == "leader")[1]

    # mounts

    def mount(self, name="a", options="", wait=True):
        self.mounts[name] = Mount(self.directory, name, ["--cluster", self.toml], options, wait=wait)
        return self.mounts[name]

    def processes(self):
        return [m.proc for m in self.mounts.values() if m.proc] + list(self.nodes.values())

    def close(self):
        """End everything the polite way and see that it ends clean: exit code 0, mounts gone, no report."""
        for m in self.mounts.values():
            if m.proc.running():
                m.stop()
        self.stop()
        reports = sanitizer_reports(self.directory)
        check(not reports, "\n  ".join(["reports in the logs:", *reports[:20]]))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        if kind is None:
            self.close()
        return False


def cluster_toml(name, ports, data="./data", raft=None):
    """The text of a cluster file; `ports`: id -> port."""
    lines = ["[cluster]", f'name = "{name}"', f'data_directory = "{data}"']
    lines += [f"protocol_version_max = {HOLD}"] if HOLD else []
    lines += ["", "[raft]"]
    lines += raft or ["election_timeout_ms = { min = 150, max = 300 }", "heartbeat_interval_ms = 50"]
    for id, port in ports.items():
        lines += ["", "[[node]]", f"id = {id}", 'host = "127.0.0.1"', f"port = {port}"]
    return "\n".join(lines) + "\n"


class Shared:
    """One cluster with two mounts that many small tests use, each in directories of its own. Tests that
    kill, stop or damage something start a cluster themselves."""

    def __init__(self, directory):
        self.cluster = Cluster(directory, name="shared")
        self.a = self.cluster.mount("a")
        self.b = self.cluster.mount("b")
        self._made = 0

    def fresh(self):
        """A new directory, as seen through both mounts: (path under a, path under b)."""
        self._made += 1
        name = f"d{os.getpid()}-{self._made}"
        os.mkdir(self.a / name)
        return self.a / name, self.b / name

    def healthy(self):
        return all(p.running() for p in self.cluster.processes())


class Env:
    """What a test gets besides the shared cluster: its directory, and notes for the report."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.notes = self.dir / "notes"

    def cluster(self, n=3, **more):
        """Use with `with`: at its end everything must stop cleanly."""
        return Cluster(self.dir / "cluster", n, **more)

    def note(self, sentence):
        """A measurement worth a look; printed behind the test's line."""
        with open(self.notes, "a") as f:
            f.write(sentence + "\n")

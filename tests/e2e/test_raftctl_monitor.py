"""raftctl monitor in a real terminal: tmux, which tells what stands on its screen."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
import time

from harness import Failure, check, equal, limit, program, run, sanitizer_env, slow, text_of, wait_for
from test_raftctl_shell import ALLOW


class Tmux:
    """A terminal of a given size with one program in it, on a server of its own."""

    def __init__(self, directory, columns, lines, argv, locale="C.UTF-8", term=""):
        self.place = tempfile.mkdtemp(prefix="tmux-") # the name of a socket must be short
        self.socket = self.place + "/s"
        self.env = sanitizer_env(directory, {"LC_ALL": locale, "TERM": "screen-256color"})
        self.env.pop("TMUX", None)
        # The shell outlives its program, to say how it ended.
        self.run("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "--", "sh", "-c",
                 'trap : INT; TERM=${1:-$TERM}; shift; "$@"; echo "ended with $?"; exec sleep 60', "sh", term, *map(str, argv))

    def run(self, *args):
        done = subprocess.run(["tmux", "-u", "-S", self.socket, *args], env=self.env, capture_output=True, timeout=20)
        if done.returncode != 0:
            raise Failure(f"tmux {args[0]}: {text_of(done)}")
        return done.stdout.decode(errors="replace")

    def screen(self):
        return self.run("capture-pane", "-p").rstrip("\n").split("\n")

    def expect(self, pattern, seconds=10):
        """The screen, once a line of it matches."""
        last = []
        def seen():
            last[:] = self.screen()
            return any(re.search(pattern, line) for line in last) and list(last)
        try:
            return wait_for(seen, seconds, f"a line with {pattern!r}", every=0.05)
        except Failure as e:
            raise Failure("\n".join([str(e), *last]))

    def keys(self, *keys):
        self.run("send-keys", *keys)

    def ended(self, code):
        self.expect(f"ended with {code}$")

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.env, capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)


@limit(90)
def test_a_session_of_lines_is_pasted_into_a_shell_while_two_of_five_are_dead(env):
    with env.cluster(n=5, more=ALLOW) as c:
        first = c.wait_leader()
        c.kill(first, next(id for id in c.ids if id != first))
        leader = c.wait_leader()
        t = Tmux(env.dir, 120, 40, [program("raftctl"), "--cluster", c.toml])
        try:
            t.expect("raftctl>")
            lines = [f"connect {c.address(leader).replace(':', ' ')}", "getleader", "getval key1", "setval key1 100", "getval key1", "suspend 1", "getleader",
                     "getval key1", "setval key1 101", "getval key1", "quit"]
            t.run("set-buffer", "".join(line + "\n" for line in lines))
            t.run("paste-buffer")
            t.ended(0)
            answers = [line for line in t.screen() if line and not line.startswith(("raftctl", "ended")) and line not in lines]
            equal(answers[1:4], [f"{leader} {c.address(leader)}", "None", "100"], "answers")
            check(answers[0].startswith(f"connected to node {leader}") and answers[4] == f"node {leader} is suspended for 1000 ms", f"answers: {answers}")
            check(re.fullmatch(r"[1-5] 127.0.0.1:\d+", answers[5]), f"getleader behind suspend: {answers}")
            equal(answers[6:], ["100", "101"], "values behind suspend")
        finally:
            t.close()
        c.start()
        c.wait_ready()


def monitor(cluster, columns, lines, **more):
    return Tmux(cluster.directory, columns, lines, [program("raftctl"), "--cluster", cluster.toml, "monitor"], **more)


def check_picture(cluster, screen, columns, lines):
    leader = cluster.wait_leader()
    text = "\n".join(screen)
    check(all(len(line) <= columns for line in screen) and len(screen) <= lines, f"larger than {columns}x{lines}: {text}")
    check(re.search(rf"raftfs e2e +3 of 3 nodes up +leader {leader}, term \d+", screen[0]), f"title: {screen[0]}")
    for word in ("id", "address", "role", "term", "last", "commit", "applied", "lag", "disk", "conn"):
        check(word in screen[1].split(), f"no column {word}: {screen[1]}")
    for id in cluster.ids:
        role = "leader" if id == leader else "follower"
        port = cluster.ports[id]
        check(re.search(rf"^ +{id} 127\.0\.[\d.]*:?{port if columns > 90 else ''}\d* +{role} +\d+ +\d+ +\d+ +\d+ +\d+ +[\d.]+[BKM] +\d+", screen[1 + id]),
              f"line of node {id}: {screen[1 + id]}")
    for name in ("writes/s", "reads/s", "p50/p99"):
        check(any(line.startswith(f" {name}") for line in screen), f"no {name}: {text}")
    check("q quit" in screen[-1] and "t transfer" in screen[-1], f"keys: {screen[-1]}")


@limit(120)
def test_the_monitor_at_80x24_and_200x50_and_in_between(env):
    with env.cluster(more=ALLOW) as c:
        stop = threading.Event()
        def load():
            i = 0
            while not stop.is_set():
                i += 1
                c.ctl("set", "k", str(i), code=None)
        writer = threading.Thread(target=load)
        writer.start()
        t = monitor(c, 80, 24)
        try:
            leader = c.wait_leader()
            t.expect(r"writes/s +[1-9]\d* .*[▁▂▃▄▅▆▇█]")
            check_picture(c, t.expect(r"p50/p99 +[\d.]+.?s/[\d.]+.?s .*[▁▂▃▄▅▆▇█]"), 80, 24)
            t.run("resize-window", "-x", "200", "-y", "50")
            check_picture(c, t.expect("sessions +inodes +uptime +version"), 200, 50)
            t.run("resize-window", "-x", "80", "-y", "24")
            wait_for(lambda: "sessions" not in t.screen()[1], 10, "the narrow screen")
            for columns, lines in ((40, 10), (10, 3), (20, 5), (80, 24)): # nothing breaks, whatever fits is shown
                t.run("resize-window", "-x", str(columns), "-y", str(lines))
                wait_for(lambda: len(t.screen()) <= lines, 10, "the new size")
                t.expect("raftfs", 10)
            check_picture(c, t.expect("p50/p99"), 80, 24)

            c.kill(leader) # an election as it happens
            t.expect(rf"node {leader} at .* does not answer")
            t.expect(rf"^ +{leader} +127.0.*down")
            new = c.wait_leader([id for id in c.ids if id != leader])
            t.expect(rf"node {new} leads in term")
            c.start(leader)
            t.expect(rf"node {leader} at .* answers")
            c.wait_ready()

            other = next(id for id in c.ids if id not in (leader, new))
            for _ in range(6): # choose a node: its line is drawn in reverse, which the text does not show
                t.keys("Down")
                t.keys("t")
                if any(f"leadership to node {other}?" in line for line in t.expect("leadership to node")):
                    break
                t.keys("n")
                t.expect("q quit")
            t.keys("y")
            t.expect(rf"node {other} leads in term", 15)
            t.keys("s")
            t.expect(rf"Suspend node {other} for how many seconds\? 5")
            t.keys("BSpace", "2", "Enter")
            t.expect(rf"suspend node {other}:")
            t.expect(rf"node (?!{other})\d leads in term", 15)
            t.expect(rf"node {other} at .* answers", 15)
            t.keys("p")
            t.expect("PAUSED")
            t.keys("q")
            t.ended(0)
        finally:
            stop.set()
            writer.join()
            t.close()
        c.wait_ready()


@limit(60)
def test_membership_changes_are_told_and_ascii_terminals_get_ascii(env):
    with env.cluster() as c:
        t = monitor(c, 80, 24, locale="C")
        try:
            check_picture(c, t.expect("3 of 3 nodes up"), 80, 24)
            follower = next(id for id in c.ids if id != c.wait_leader())
            c.ctl("member", "remove", follower, "--timeout", "30")
            t.expect(rf"node {follower} is no member any more")
            c.ctl("set", "k", "v")
            screen = t.expect(r"writes/s")
            check(all(ord(ch) < 128 for line in screen for ch in line), f"not ASCII: {screen}")
            t.keys("C-c")
            t.ended(0)
        finally:
            t.close()


def ends_at_once(t, *keys):
    t.keys(*keys)
    began = time.monotonic()
    t.ended(0)
    took = time.monotonic() - began
    check(took < slow(1.5), f"{took:.1f} s from q to the end")


@limit(60)
def test_q_ends_it_at_once_whatever_is_unanswered(env):
    with env.cluster(more=ALLOW) as c:
        t = monitor(c, 80, 24)
        try:
            t.expect("3 of 3 nodes up")
            stopped = next(id for id in c.ids if id != c.wait_leader())
            c.pause(stopped)
            t.expect(rf"node {stopped} at .* does not answer")
            for _ in range(4):
                t.keys("Down")
                t.keys("s")
                if any(f"Suspend node {stopped} " in line for line in t.expect("Suspend node")):
                    break
                t.keys("n")
                t.expect("q quit")
            t.keys("Enter")
            t.expect(rf"asking node {stopped} to suspend")
            ends_at_once(t, "q")
        finally:
            t.close()
            c.resume(stopped)
        c.wait_ready()


SILENT_RESOLVER = """set -e
ip link set lo up
echo nameserver 127.0.0.9 > resolv.conf
mount --bind resolv.conf /etc/resolv.conf
python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.9", 53))
print("bound", flush=True)
time.sleep(60)' > bound &
until grep -q bound bound; do sleep 0.05; done
code=0
"$@" || code=$?
kill $!
exit $code
"""


@limit(60)
def test_q_and_the_end_of_a_command_do_not_wait_for_a_name_that_nobody_resolves(env):
    inside = ["unshare", "-m", "-n", "sh", "-c", f"cd {env.dir}\n{SILENT_RESOLVER}", "sh", program("raftctl"), "--endpoint", "name.invalid.example:7000",
              "--endpoint", "127.0.0.1:1"]
    t = Tmux(env.dir, 80, 24, [*inside, "monitor"])
    try:
        t.expect("0 of 2 nodes up")
        ends_at_once(t, "q")
    finally:
        t.close()
    began = time.monotonic()
    equal(run([*inside, "--timeout", "1", "get", "k"], env.dir).returncode, 3, "exit code of get")
    check(time.monotonic() - began < slow(3), f"{time.monotonic() - began:.1f} s for a get with a timeout of 1")


def test_once_prints_it_as_text_and_as_json(env, shared):
    c = shared.cluster
    leader = c.wait_leader()
    text = c.ctl("monitor", "--once").stdout.decode()
    check(text.startswith(f"cluster shared: 3 of 3 nodes answer, node {leader} leads in term "), f"--once: {text}")
    for id in c.ids:
        check(re.search(rf"^{id} +{c.address(id)} +{'leader' if id == leader else 'follower'} ", text, re.M), f"node {id}: {text}")
    check(re.search(r"^writes \d+/s, reads \d+/s, change p50 ", text, re.M), f"rates: {text}")
    got = json.loads(c.ctl("monitor", "--json").stdout)
    equal((got["cluster"], got["leader"], len(got["nodes"])), ("shared", leader, 3), "--json")
    for key in ("id", "address", "reachable", "role", "term", "last", "commit", "applied", "lag", "disk_bytes", "clients"):
        check(key in got["nodes"][0], f"{key} is missing: {got['nodes'][0]}")
    check(got["nodes"][leader - 1]["disk_bytes"] > 0 and got["nodes"][leader - 1]["clients"] >= 3, f"the leader: {got['nodes'][leader - 1]}")


def test_wrong_use_of_monitor(env, shared):
    c = shared.cluster
    check("--once" in text_of(c.ctl("monitor", code=2)), "without a terminal")
    for term in ("dumb", "no-such-terminal"):
        t = Tmux(env.dir, 120, 24, [program("raftctl"), "--cluster", c.toml, "monitor"], term=term)
        try:
            t.expect(rf"cannot draw on a terminal of type '{term}'.*'raftctl")
            t.expect("--once")
            t.ended(2)
        finally:
            t.close()
    c.ctl("monitor", "x", code=2)
    done = run([program("raftctl"), "--endpoint", "127.0.0.1:1", "--timeout", "1", "monitor", "--once"], env.dir)
    equal(done.returncode, 3, f"exit code without nodes: {text_of(done)}")

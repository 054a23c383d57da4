"""raftctl cluster: nodes as child processes, and that it agrees with make up and make down about them."""

import json
import os
import re
import shutil
import signal
import subprocess

from harness import TREE, Proc, check, cluster_toml, equal, free_ports, limit, program, run, slow, text_of, wait_for
from test_raftctl_shell import Terminal
from test_updown import processes_of, script


class Own:
    """A cluster file of the test's own, and raftctl on it."""

    def __init__(self, env, n=3, name="own"):
        self.env, self.dir = env, env.dir / name
        self.dir.mkdir()
        self.toml = self.dir / "cluster.toml"
        self.ids = list(range(1, n + 1))
        self.ports = dict(zip(self.ids, free_ports(n)))
        self.toml.write_text(cluster_toml(name, self.ports))

    def ctl(self, *args, code=0, seconds=30):
        done = run([program("raftctl"), "--cluster", self.toml, *args], self.env.dir, seconds)
        equal(done.returncode, code, f"exit code of raftctl {' '.join(map(str, args))}: {text_of(done)}")
        return done.stdout.decode() + done.stderr.decode()

    def nodes(self):
        done = run([program("raftctl"), "--cluster", self.toml, "cluster", "status", "--json"], self.env.dir)
        return {n["id"]: n for n in json.loads(done.stdout)["nodes"]}

    def pid(self, id):
        return self.nodes()[id]["pid"]


@limit(60)
def test_a_cluster_in_the_foreground_shows_restarts_and_ends_its_nodes(env):
    own = Own(env)
    p = Proc("cluster start", [program("raftctl"), "cluster", "start", "--cluster", own.toml], env.dir / "start.log")
    wait_for(lambda: all(n["reachable"] for n in own.nodes().values()), 15, "the nodes to answer")
    check("starting 3 nodes" in p.said(), f"what it says first: {p.said()[:300]}")
    for id in own.ids:
        check(re.search(rf"^{id} \| .*raftd {id}: node {id} of cluster own listens", p.said(), re.M), f"node {id}'s lines: {p.said()}")
    check("\033" not in p.said(), "colours in a file")
    old = own.pid(2)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: own.pid(2) not in (None, old) and own.nodes()[2]["reachable"], 15, "node 2 to be started again")
    check("node 2: ended by signal 9" in p.said() and "started again in 0.25 s" in p.said(), f"the death is not told: {p.said()[-800:]}")
    check("pid" in own.ctl("cluster", "start", code=1), "a second start")
    own.ctl("set", "color", "blue")
    before = own.pid(3)
    check("runs anew" in own.ctl("cluster", "restart", "3"), "cluster restart")
    check(own.pid(3) not in (None, before), "node 3 is the same process")
    os.kill(own.pid(1), signal.SIGTERM) # somebody stops it on purpose
    wait_for(lambda: "node 1: stopped" in p.said(), 10, "node 1 to stop")
    equal(own.pid(1), None, "pid of a node that was stopped")
    own.ctl("cluster", "restart", "1")
    wait_for(lambda: own.nodes()[1]["reachable"], 10, "node 1 to come back")
    p.signal(signal.SIGINT)
    equal(p.wait(15), 0, f"exit code after Ctrl-C: {p.said()[-500:]}")
    equal(processes_of(own.toml), [], "processes left")
    equal(sorted(f for f in os.listdir(own.dir / "data") if f.endswith((".pid", ".restart"))), [], "files left")


@limit(60)
def test_a_cluster_as_a_daemon_and_its_status(env):
    own = Own(env)
    said = own.ctl("cluster", "start", "-d")
    check("is up: 3 nodes" in said and "leads" in said, f"start -d said {said}")
    equal(own.ctl("get", "none", code=1).strip(), "raftctl: none: no such key", "get, right after start -d")
    said = own.ctl("cluster", "status")
    for id in own.ids:
        check(re.search(rf"^{id} +127.0.0.1:{own.ports[id]} +{own.pid(id)} +(leader|follower)$", said, re.M), f"status of node {id}: {said}")
    check("kept running by" in said, f"status does not name the supervisor: {said}")
    os.kill(own.pid(1), signal.SIGKILL)
    wait_for(lambda: own.nodes()[1]["reachable"], 15, "the daemon to start node 1 again")
    check("ended by signal 9" in (own.dir / "data" / "supervisor.log").read_text(), "supervisor.log")
    check("listens on" in (own.dir / "data" / "raftd-1.log").read_text(), "raftd-1.log")
    check("stopped 3 nodes" in own.ctl("cluster", "stop"), "cluster stop")
    equal(processes_of(own.toml), [], "processes left")
    check("no node" in own.ctl("cluster", "stop"), "a second stop")
    said = own.ctl("cluster", "status", code=1)
    check("does not run here" in said, f"status of a stopped cluster: {said}")
    facts = json.loads(own.ctl("cluster", "start", "-d", "--json"))
    equal((facts["cluster"], facts["nodes"], facts["leader"] in own.ids), ("own", 3, True), "cluster start -d --json")
    facts = json.loads(own.ctl("cluster", "restart", "2", "--json"))
    equal((facts["id"], facts["pid"]), (2, own.pid(2)), "cluster restart --json")
    equal(json.loads(own.ctl("cluster", "stop", "--json"))["stopped"], 3, "cluster stop --json")


@limit(90)
def test_three_of_five_serve_and_two_may_be_killed(env):
    own = Own(env, n=5)
    own.ctl("cluster", "start", "-d", "--nodes", "1,2,3", "--no-auto-restart")
    own.ctl("set", "color", "blue")
    own.ctl("cluster", "restart", "4")
    own.ctl("cluster", "restart", "5")
    wait_for(lambda: all(n["reachable"] for n in own.nodes().values()), 15, "five nodes")
    for id in (1, 2):
        os.kill(own.pid(id), signal.SIGKILL)
    equal(own.ctl("get", "color"), "blue", "value with two of five killed")
    own.ctl("set", "color", "green")
    log = own.dir / "data" / "supervisor.log"
    wait_for(lambda: log.read_text().count("no-auto-restart") == 2, 10, "the supervisor to leave them")
    equal([own.pid(1), own.pid(2)], [None, None], "pids of the killed")
    own.ctl("cluster", "stop")
    equal(processes_of(own.toml), [], "processes left")


@limit(90)
def test_make_down_and_cluster_stop_understand_each_other(env):
    own = Own(env)
    own.ctl("cluster", "start", "-d")
    script(env, "down.sh", own.toml, own.dir / "mnt")
    equal(processes_of(own.toml), [], "processes after start -d and down.sh")
    check("supervisor.pid" not in os.listdir(own.dir / "data"), "supervisor.pid is left")
    script(env, "up.sh", own.toml, own.dir / "mnt")
    said = own.ctl("cluster", "start", "-d")
    equal(said.count("runs already"), 3, f"start after up.sh: {said}")
    own.ctl("cluster", "restart", "2")
    wait_for(lambda: own.nodes()[2]["reachable"], 10, "node 2 to answer")
    check("stopped 3 nodes" in own.ctl("cluster", "stop"), "cluster stop after up.sh")
    script(env, "down.sh", own.toml, own.dir / "mnt") # the mount
    equal(processes_of(own.toml), [], "processes left")


@limit(60)
def test_a_node_that_cannot_start_is_not_started_for_ever(env):
    own = Own(env, n=1)
    own.ctl("cluster", "start", "-d")
    own.ctl("cluster", "stop")
    own.toml.write_text(own.toml.read_text().replace('name = "own"', 'name = "other"'))
    p = Proc("cluster start", [program("raftctl"), "cluster", "start", "--cluster", own.toml], env.dir / "start.log")
    equal(p.wait(10), 1, f"exit code: {p.said()}")
    check("ended with exit code 4" in p.said() and "is not started again" in p.said(), f"what it said: {p.said()}")
    said = own.ctl("cluster", "start", "-d", code=3)
    check("supervisor.log" in said, f"start -d said {said}")


@limit(60)
def test_on_a_terminal_prefixes_have_colours_and_ctrl_c_ends_everything(env):
    own = Own(env)
    t = Terminal(env.dir, "cluster", "start", "--cluster", own.toml)
    t.expect(r"\033\[\d+m1 \|\033\[0m .*listens on")
    t.expect("candidate -> leader", 15)
    t.type("\x03")
    t.expect("ending the nodes")
    equal(t.end(15), 0, "exit code after Ctrl-C")
    equal(processes_of(own.toml), [], "processes left")


def test_wrong_use_of_cluster_is_refused_with_2(env):
    own = Own(env)
    for args, why in ((["frob"], "start, stop, restart ID and status"), ([], "too few"), (["start", "x"], "takes no"),
                      (["start", "--nodes", "4"], "no node '4'"), (["start", "--nodes", "1,1"], "twice"),
                      (["start", "--nodes", ""], "no node ''"), (["start", "--nodes", "1,x"], "no node 'x'"),
                      (["restart"], "which node"), (["restart", "9"], "no node '9'"), (["stop", "--frob"], "no option")):
        said = own.ctl("cluster", *args, code=2)
        check(why in said, f"cluster {' '.join(args)}: {said}")
    said = text_of(run([program("raftctl"), "--endpoint", "127.0.0.1:1", "cluster", "stop"], env.dir))
    check("cluster file" in said, f"with an endpoint: {said}")


def test_the_prepared_files_are_good(env):
    for path in (TREE / "cluster.toml", TREE / "examples" / "five-nodes.toml"):
        done = run([program("raftctl"), "config", "check", path, "--json"], env.dir)
        equal(done.returncode, 0, f"{path.name}: {text_of(done)}")
        check(len(json.loads(done.stdout)["nodes"]) in (3, 5), f"nodes of {path.name}")

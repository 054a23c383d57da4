"""raftctl without a command: the shell, from a pipe and on a terminal."""

import errno
import json
import os
import pty
import re
import subprocess
import time

from test_metrics import get, observed_cluster, samples
from harness import Failure, Proc, check, equal, free_ports, limit, program, run, sanitizer_env, slow, text_of, wait_for


def shell(cluster, script, *args, code=0, data=None):
    """A script from a pipe; gives its standard output as text."""
    done = run([program("raftctl"), "--cluster", cluster.toml, *args], cluster.directory, data=script.encode() if data is None else data)
    equal(done.returncode, code, f"exit code of raftctl {' '.join(args)} with {script!r}: {text_of(done)}")
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Shell:
    """raftctl at the end of a pipe, line by line."""

    def __init__(self, directory, *args):
        reader, self.writer = os.pipe()
        self.paths = [directory / name for name in ("shell.out", "shell.err")]
        with open(self.paths[0], "w") as out, open(self.paths[1], "w") as err:
            self.popen = subprocess.Popen([program("raftctl"), *map(str, args)], stdin=reader, stdout=out, stderr=err, env=sanitizer_env(directory))
        os.close(reader)
        self.seen = 0

    def out(self):
        return self.paths[0].read_text()

    def err(self):
        return self.paths[1].read_text()

    def line(self, text, answer, seconds=15):
        """Run a line (or some), and wait until standard output has `answer` behind what was waited for before."""
        os.write(self.writer, (text + "\n").encode())
        try:
            wait_for(lambda: answer in self.out()[self.seen:], seconds, f"{answer!r} as the answer to {text!r}")
        except Failure as e:
            raise Failure(f"{e}; said: {self.out()!r} {self.err()!r}") from None
        self.seen = self.out().index(answer, self.seen) + len(answer) - answer.endswith("\n")

    def end(self, seconds=10):
        os.close(self.writer)
        return self.popen.wait(slow(seconds))


class Terminal:
    """raftctl with a person in front of it."""

    def __init__(self, directory, *args, env=None):
        self.master, slave = pty.openpty()
        env = {"TERM": "xterm", "HOME": str(directory), "LC_ALL": "C.UTF-8", **(env or {})}
        self.popen = subprocess.Popen([program("raftctl"), *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
                                      start_new_session=True, env=sanitizer_env(directory, env),
                                      preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
        os.close(slave)
        os.set_blocking(self.master, False)
        self.said = ""
        self.seen = 0

    def pump(self):
        try:
            while True:
                piece = os.read(self.master, 65536)
                if not piece:
                    return
                self.said += piece.decode(errors="replace")
        except BlockingIOError:
            pass
        except OSError as e: # EIO: the other side has closed
            if e.errno != errno.EIO:
                raise

    def expect(self, pattern, seconds=10):
        """Wait until what was said since the last match has `pattern` in it; gives the match."""
        end = time.monotonic() + slow(seconds)
        while True:
            self.pump()
            found = re.compile(pattern).search(self.said, self.seen)
            if found:
                self.seen = found.end()
                return found
            if time.monotonic() > end:
                raise Failure(f"the terminal did not show {pattern!r}, only {self.said[self.seen:]!r}")
            time.sleep(0.01)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=10):
        def ended():
            self.pump()
            return self.popen.poll() is not None
        wait_for(ended, seconds, "the shell to end")
        self.pump()
        os.close(self.master)
        return self.popen.returncode


def test_a_session_as_other_systems_have_it_works_from_a_pipe(env, shared):
    c = shared.cluster
    leader, d = c.wait_leader(), shared.fresh()[0].name
    out, err = shell(c, f"""connect 127.0.0.1 {c.ports[2]}
getleader
getval {d}/key1
setval {d}/key1 100
getval {d}/key1
quit
never 'reached
""")
    lines = out.splitlines()
    check(lines[0].startswith(f"connected to node 2 at 127.0.0.1:{c.ports[2]}"), f"first line: {lines[0]}")
    equal(lines[1:], [f"{leader} {c.address(leader)}", "None", "100"], "the session's answers")
    equal(err, "" if leader == 2 else f"raftctl: line 4: node 2 is not the leader, asked node {leader} at {c.address(leader)} (said once)\n",
          "what the session said besides")


def test_every_node_says_who_leads(env, shared):
    c = shared.cluster
    leader = c.wait_leader()
    for id in c.ids:
        out, _ = shell(c, f"connect {c.address(id)}\ngetleader\nleader\n")
        equal(out.splitlines()[1:], [f"{leader} {c.address(leader)}"] * 2, f"getleader and leader by node {id}")
        done = run([program("raftctl"), "--endpoint", c.address(id), "getleader", "--json"], env.dir)
        equal(json.loads(done.stdout)["address"], c.address(leader), "getleader --json")


def test_a_script_has_no_prompt_and_stops_at_the_first_error_with_its_code(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    script = f"set {d}/a 1 # a comment\n\n# another one\nget {d}/absent\nset {d}/b 2\n"
    out, err = shell(c, script, code=1)
    equal(out, "", "standard output")
    check("line 4:" in err and f"{d}/absent: no such key" in err, f"the error does not name line and key: {err}")
    c.ctl("get", f"{d}/b", code=1)
    out, err = shell(c, script, "-k", code=1)
    equal(c.ctl("get", f"{d}/b").stdout, b"2", "what stands behind the error, with -k")
    out, err = shell(c, f"set {d}/c 'x\nset {d}/c 1\n", code=2)
    check("line 1:" in err and "not closed" in err, f"an open quote: {err}")
    for bad, why in (("frobnicate", "no command named frobnicate"), ("set", "too few arguments"), ("get a b", "too many arguments"),
                     ("--json", "which command"), ("ls --frob", "ls has no option"), ("connect here", "HOST PORT"),
                     (f"set {d}/x -", "--file")):
        out, err = shell(c, bad + "\n", code=2)
        check(why in err, f"{bad}: {err}")


def test_words_may_be_quoted_and_options_are_those_of_the_command_line(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    (env.dir / "value").write_bytes(b"from a\0file\n")
    out, _ = shell(c, f"""set {d}/q "two words\\n" --json
get {d}/q
set '{d}/with space' \\#1
show {d} --keys
set {d}/f --file {env.dir}/value
get {d}/f --out {env.dir}/copy
ls {d}
delete {d}/q""")
    answer, rest = out.split("}\n", 1)
    equal(json.loads(answer + "}")["key"], f"{d}/q", "set --json")
    equal(rest, f"two words\n{d}/f\n{d}/q\n{d}/with space\nf\nq\nwith space\n"
          .replace(f"{d}/f\n{d}/q\n{d}/with space\nf", f"{d}/q\n{d}/with space\nf"), "what the lines printed")
    equal((env.dir / "copy").read_bytes(), b"from a\0file\n", "set --file and get --out")
    equal(c.ctl("get", f"{d}/with space").stdout, b"#1", "a quoted value")
    c.ctl("get", f"{d}/q", code=1)


def test_a_long_line_and_one_without_an_end_are_taken(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    value = "v" * 1_000_000
    shell(c, f"set {d}/long {value}\nset {d}/last 1")
    equal(len(c.ctl("get", f"{d}/long").stdout), len(value), "bytes of a value from a long line")
    equal(c.ctl("get", f"{d}/last").stdout, b"1", "the line without a newline")
    _, err = shell(c, "", code=1, data=b"x" * 1_300_000)
    check("longer than" in err, f"a line without an end: {err}")


def test_connect_alone_says_who_answers(env, shared):
    c = shared.cluster
    done = run([program("raftctl"), "connect", "127.0.0.1", c.ports[1], "--json"], env.dir)
    equal((done.returncode, json.loads(done.stdout)["id"]), (0, 1), "connect --json")
    dead = free_ports(1)[0]
    done = run([program("raftctl"), "connect", f"127.0.0.1:{dead}"], env.dir)
    equal(done.returncode, 3, f"exit code of connect to nobody: {text_of(done)}")
    check(str(dead) in text_of(done) and "status" in text_of(done), f"connect to nobody said {text_of(done)}")
    equal(run([program("raftctl"), "connect"], env.dir).returncode, 2, "exit code of connect without a place")


def counts(ports):
    """For each node (reads taken, requests refused), and the number of open sessions."""
    found, sessions = {}, 0
    for id, port in ports.items():
        now = samples(get(port, "/metrics")[2])
        found[id] = (now["raftfs_reads_total"], now["raftfs_refused_requests_total"])
        sessions = max(sessions, now["raftfs_sessions"])
    return found, sessions


def grown(before, after):
    return {id: tuple(int(b - a) for a, b in zip(before[id], after[id])) for id in before}


@limit(60)
def test_commands_go_to_the_chosen_node_and_what_only_the_leader_can_do_is_asked_of_it(env):
    c, ports = observed_cluster(env)
    with c:
        leader = c.wait_leader()
        a, b = (id for id in c.ids if id != leader)
        c.ctl("set", "color", "blue")
        start, _ = counts(ports)
        p = Shell(env.dir, "--cluster", c.toml)
        p.line(f"connect {c.address(a)}", "connected to node")
        for _ in range(5):
            p.line("getval color", "blue\n")
        now, sessions = counts(ports)
        equal(grown(start, now), {leader: (0, 0), a: (5, 0), b: (0, 0)}, "reads and refusals by node, after five reads at one")
        equal(sessions, 0, "sessions that reads have opened")
        p.line("set color red\ngetval color", "red\n")
        p.line("set color green\ngetval color", "green\n")
        after, sessions = counts(ports)
        equal(grown(now, after), {leader: (0, 0), a: (2, 2), b: (0, 0)}, "reads and refusals by node, after two changes")
        equal(p.err(), f"raftctl: line 7: node {a} is not the leader, asked node {leader} at {c.address(leader)} (said once)\n", "what was said")
        p.line(f"connect {c.address(b)}\ngetval color", "green\n")
        p.line("set color white\ngetval color", "white\n")
        now, again = counts(ports)
        equal(grown(after, now), {leader: (0, 0), a: (0, 0), b: (2, 1)}, "reads and refusals by node, with another one chosen")
        equal((sessions, again), (1, 1), "open sessions before and after another node was chosen")
        p.line("getleader", f"{leader} {c.address(leader)}\n")
        p.line(f"connect {c.address(leader)}\nset color black\nget color --json", '"black"')
        equal(grown(now, counts(ports)[0])[leader], (1, 0), "reads and refusals of the leader, when it is chosen")
        check(f"node {b} is not the leader" in p.err(), f"nothing was said of another node's redirect: {p.err()}")
        equal(p.end(), 0, "exit code")


ALLOW = "\n[debug]\nallow_suspend = true\n"


@limit(60)
def test_a_chosen_node_that_is_silent_or_without_a_leader_costs_no_command(env):
    with env.cluster(more=ALLOW) as c:
        leader = c.wait_leader()
        other = next(id for id in c.ids if id != leader)
        p = Shell(env.dir)
        p.line(f"connect {c.address(other)}\nset k 1\nsuspend 30\ngetleader", f"{leader} {c.address(leader)}\n")
        began = time.monotonic()
        p.line("getval k", "\n1\n")
        p.line("set k 2\ngetval k", "\n2\n")
        check(time.monotonic() - began < slow(2.5), f"{time.monotonic() - began:.1f} s for three commands with a silent node chosen")
        check(f"node {other} does not answer, asked node {leader}" in p.err(), f"nothing was said of the silence: {p.err()}")
        def lost():
            p.line("getval k", "\n2\n")
            return f"the connection to {c.address(other)} is lost" in p.err()
        wait_for(lost, 10, "the shell to give the silent node up")
        equal(p.end(), 0, "exit code")
        c.kill(other) # it would sleep on
        c.start(other)
        c.wait_ready()


@limit(60)
def test_the_chosen_node_dies_and_the_session_goes_on(env):
    with env.cluster() as c:
        leader = c.wait_leader()
        reader, writer = os.pipe()
        out = open(env.dir / "shell.out", "w+")
        err = open(env.dir / "shell.err", "w+")
        p = subprocess.Popen([program("raftctl")], stdin=reader, stdout=out, stderr=err, env=sanitizer_env(env.dir))
        os.close(reader)
        def said(f):
            f.seek(0)
            return f.read()
        os.write(writer, f"connect {c.address(leader)}\nset color blue\nget color\n".encode())
        wait_for(lambda: "blue" in said(out), 10, "the first answer")
        c.kill(leader)
        os.write(writer, b"get color --json\nset color green\ngetleader\ngetval color\n")
        wait_for(lambda: "green" in said(out), 15, "the session to go on")
        os.close(writer)
        equal(p.wait(slow(10)), 0, f"exit code: {said(out)} {said(err)}")
        check(f"the connection to {c.address(leader)} is lost" in said(err), f"nothing was said of the loss: {said(err)}")
        new = said(out).splitlines()[-2]
        check(new != f"{leader} {c.address(leader)}", f"getleader gives the dead one: {new}")
        c.start(leader)
        c.wait_ready()


def test_a_person_gets_a_prompt_completion_history_and_a_working_ctrl_c(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    c.ctl("set", f"{d}/apple", "1")
    c.ctl("set", f"{d}/apricot/stone", "2")
    t = Terminal(env.dir, "--cluster", c.toml)
    t.expect("raftctl> ")
    t.type("help\n")
    t.expect("getval KEY")
    t.expect("quit")
    t.expect("raftctl> ")
    t.type(f"getv\t{d}/app\t\n") # completes getval and apple
    t.expect("\n1\r\n")
    t.expect("raftctl> ")
    t.type(f"ls {d}/ap\t")
    t.expect("apple  *apricot/")
    t.type("r\t\t\n") # apricot/, then stone
    t.expect("stone")
    t.expect("raftctl> ")
    t.type("clu\tsta\t") # two begin with that
    t.expect("start +status")
    t.type("\x15help wa\t\n")
    t.expect("usage: raftctl .* watch")
    t.expect("raftctl> ")
    t.type(f"delete --rec\t{d}/none\n")
    t.expect(f"{d}/none: no such key")
    t.type("get nothing\x03") # a line taken back
    t.expect("\\^C")
    t.expect("raftctl> ")
    t.type("\x1b[A" * 4 + "\n") # four lines up: getval apple
    t.expect("\n1\r\n")
    t.type(f"get {d}/absent\n")
    t.expect("no such key")
    t.expect("raftctl> ")
    t.type(f"connect {c.address(3)}\n")
    t.expect(f"raftctl {c.address(3)}> ")
    t.type(f"set {d}/ünï 'ça va'\nget {d}/ünï\n")
    t.expect("\nça va\r\n")
    t.type("\x04")
    equal(t.end(), 0, "exit code after Ctrl-D")
    history = env.dir / ".raftctl_history"
    equal(history.stat().st_mode & 0o777, 0o600, "mode of the history")
    t = Terminal(env.dir, "--cluster", c.toml)
    t.expect("raftctl> ")
    t.type("\x1b[A\n")
    t.expect("ça va")
    t.type("exit\n")
    equal(t.end(), 0, "exit code after exit")


@limit(60)
def test_ctrl_c_ends_a_command_and_not_the_shell(env):
    with env.cluster() as c:
        c.kill(2, 3)
        t = Terminal(env.dir, "--cluster", c.toml)
        t.expect("raftctl> ")
        t.type("set color blue --timeout 50\n")
        t.expect("blue --timeout 50")
        time.sleep(0.3) # it waits for a quorum; that is not to be seen from outside
        t.type("\x03")
        t.expect("interrupted; it may or may not have been done", 5)
        t.expect("raftctl> ")
        t.type("status\n")
        t.expect(c.address(1))
        t.type("quit\n")
        equal(t.end(), 0, "exit code")
        c.start(2, 3)
        c.wait_ready()


def test_watch_in_the_shell_ends_with_ctrl_c_or_its_count(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    out, _ = shell(c, f"set {d}/a 1\nwatch {d}/ --from 1 --allow-loss --count 2 --json\nget {d}/a\n")
    equal([json.loads(line)["kind"] for line in out.splitlines()[:-1]], ["create", "create"], "watch in a script")
    t = Terminal(env.dir, "--cluster", c.toml)
    t.expect("raftctl> ")
    t.type(f"watch {d}/\n")
    t.expect(f"watch {d}/")
    def told():
        c.ctl("set", f"{d}/b", "2")
        t.pump()
        return f"{d}/b v" in t.said
    wait_for(told, 10, "a change to be shown")
    t.type("\x03")
    t.expect("raftctl> ")
    t.type(f"get {d}/a\n")
    t.expect("\n1\r\n")
    t.type("quit\n")
    equal(t.end(), 0, "exit code")


@limit(60)
def test_suspend_in_a_session_makes_another_node_lead(env):
    with env.cluster(more=ALLOW) as c:
        leader = c.wait_leader()
        out, err = shell(c, f"""connect {c.address(leader)}
getleader
setval key1 100
suspend 2
getleader
getval key1
set key1 200
get key1
quit
""")
        lines = out.splitlines()
        equal(lines[1], f"{leader} {c.address(leader)}", "the first getleader")
        check(re.fullmatch(r"\d+ 127\.0\.0\.1:\d+", lines[3]) and lines[3] != lines[1], f"getleader behind suspend: {out} {err}")
        equal([lines[4], lines[5]], ["100", "200"], "values behind suspend")
        wait_for(lambda: len(c.status()) == 3, 10, "the suspended node to return")
        c.wait_ready()
        other = next(id for id in c.ids if id != c.wait_leader())
        shell(c, f"suspend {other} 0.5\n")
        out, err = shell(c, "suspend x\n", code=2)
        check("seconds" in err, f"suspend x: {err}")
        c.ctl("suspend", code=2)
        c.ctl("suspend", "1", "2", "3", code=2)
        wait_for(lambda: len(c.status()) == 3, 10, "the suspended node to return")


def test_suspend_is_refused_where_it_is_not_allowed(env, shared):
    _, err = shell(shared.cluster, "suspend 1\n", code=4)
    check("allow_suspend" in err, f"it does not say how to allow it: {err}")


@limit(90)
def test_a_session_goes_on_while_a_server_is_added_and_another_removed(env):
    with env.cluster() as c:
        port = free_ports(1)[0]
        new = Proc("raftd 4", [program("raftd"), "--join", c.address(1), "--id", "4", "--listen", f"127.0.0.1:{port}", "--data-dir", env.dir / "four"],
                   env.dir / "node4.log")
        leader = c.wait_leader()
        gone = next(id for id in c.ids if id != leader)
        out, err = shell(c, f"""set k/1 one
member add 4 127.0.0.1:{port} --timeout 30
set k/2 two
get k/1 --json
member remove {gone} --timeout 30
set k/3 three
delete k/2
show k/
member list --json
""")
        check(out.count("k/1: one\nk/3: three\n") == 1 and '"value": "one"' in out, f"what the session printed: {out} {err}")
        equal({m["id"] for m in json.loads(out[out.rindex('{\n  "members"'):])["members"]}, set(c.ids) - {gone} | {4}, "members")
        new.terminate()


def test_ls_get_out_and_show_prefix(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    c.ctl("set", f"{d}/db/url", "pg")
    c.ctl("set", f"{d}/color", "blue")
    equal(c.ctl("ls", d).stdout.decode(), "color\ndb/\n", "ls")
    equal(c.ctl("ls", f"{d}/").stdout.decode(), "color\ndb/\n", "ls with a slash behind it")
    check(c.ctl("ls", "-l", f"{d}/color").stdout.decode().startswith("-rw-r--r--  1 "), "ls -l")
    listed = {e["name"]: e for e in json.loads(c.ctl("ls", d, "--json").stdout)}
    equal((listed["color"]["size"], listed["db"]["type"], listed["color"]["mode"]), (4, "directory", "0644"), "ls --json")
    check(f"{d}/" in c.ctl("ls").stdout.decode().splitlines(), "ls of the root")
    check("no such key" in text_of(c.ctl("ls", f"{d}/none", code=1)), "ls of an absent key")
    c.ctl("ls", "a", "b", code=2)
    c.ctl("ls", f"{d}//x", code=2)
    equal(c.ctl("show", "--prefix", f"{d}/db").stdout.decode(), f"{d}/db/url: pg\n", "show --prefix")
    c.ctl("show", d, "--prefix", d, code=2)
    out = env.dir / "out"
    out.write_text("old")
    c.ctl("get", f"{d}/none", "--out", out, code=1)
    equal(out.read_text(), "old", "the file after a get that failed")
    c.ctl("get", f"{d}/color", "--out", out)
    equal(out.read_bytes(), b"blue", "get --out")
    check("No such file" in text_of(c.ctl("get", f"{d}/color", "--out", env.dir / "no" / "where", code=1)), "--out to nowhere")
    big = os.urandom(3_000_000)
    (env.dir / "big").write_bytes(big)
    c.ctl("set", f"{d}/big", "--file", env.dir / "big")
    c.ctl("get", f"{d}/big", "--out", out)
    equal(out.read_bytes() == big, True, "a large value by --file and --out")
    c.ctl("set", f"{d}/x", code=2)
    c.ctl("set", f"{d}/x", "v", "--file", out, code=2)
    check("nowhere" in text_of(c.ctl("set", f"{d}/x", "--file", "/nowhere", code=1)), "a file that is not there")


def test_setval_and_getval_alone(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    equal(c.ctl("getval", f"{d}/k").stdout, b"None\n", "getval of an absent key")
    equal(json.loads(c.ctl("getval", f"{d}/k", "--json").stdout)["value"], None, "getval --json of an absent key")
    c.ctl("setval", f"{d}/k", "100")
    equal(c.ctl("getval", f"{d}/k").stdout, b"100\n", "getval")
    equal(json.loads(c.ctl("getval", f"{d}/k", "--json").stdout)["value"], "100", "getval --json")
    c.ctl("getval", d, code=1)
    c.ctl("getval", code=2)
    c.ctl("setval", f"{d}/k", code=2)

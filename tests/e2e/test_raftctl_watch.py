"""raftctl watch: every change once, in order, through whatever happens to the nodes."""

import json
import os
import subprocess
import threading
import time

from harness import check, equal, limit, program, run, sanitizer_env, slow, text_of, wait_for


class Watch:
    """raftctl watch in the background."""

    def __init__(self, cluster, *args):
        self.log = cluster.directory / f"watch-{time.monotonic_ns()}.out"
        self.err = self.log.with_suffix(".err")
        self.popen = subprocess.Popen([program("raftctl"), "--cluster", str(cluster.toml), "watch", *map(str, args)], stdin=subprocess.DEVNULL,
                                      stdout=open(self.log, "wb"), stderr=open(self.err, "wb"), env=sanitizer_env(cluster.directory))

    def lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def events(self):
        return [json.loads(line) for line in self.lines()]

    def end(self, code=0, seconds=10):
        equal(self.popen.wait(slow(seconds)), code, f"exit code of watch: {self.err.read_text()}")

    def stop(self):
        self.popen.terminate()
        self.popen.wait(slow(10))


def index_of(cluster, key, value):
    return json.loads(cluster.ctl("set", key, value, "--json").stdout)["index"]


def test_each_kind_of_change_is_a_line(env, shared):
    c, a = shared.cluster, shared.fresh()[0]
    d = a.name
    start = index_of(c, f"{d}/begin", "1")
    (a / "file").write_text("one")          # by the mount: create, then modify by inode alone
    (a / "file").write_text("two")
    os.rename(a / "file", a / "moved")
    os.mkdir(a / "dir")
    (a / "dir" / "in side").write_text("x")
    os.rename(a / "dir", a / "other")
    (a / "other" / "in side").write_text("y") # below the new name
    os.link(a / "moved", a / "hard")
    os.unlink(a / "moved")
    (a / "hard").write_text("three")
    with open(a / "nameless", "w") as f: # no key any more, so no change of one
        os.unlink(a / "nameless")
        f.write("x")
    c.ctl("delete", "--recursive", f"{d}/other")
    end = index_of(c, f"{d}/end", "1")
    w = Watch(c, f"{d}/", "--from", start)
    wait_for(lambda: any(line.startswith(f"{end} ") for line in w.lines()), 10, "the last change")
    w.stop()
    lines = [line.split(" ", 1) for line in w.lines()]
    said = [text.rsplit(" v", 1)[0] for _, text in lines]
    said = [s for i, s in enumerate(said) if i == 0 or said[i - 1] != s] # echo > file may be two modifies
    equal(said, [f"create {d}/begin", f"create {d}/file", f"modify {d}/file", f"rename {d}/file -> {d}/moved", f"create {d}/dir",
                 f"create {d}/dir/in side", f"modify {d}/dir/in side", f"rename {d}/dir -> {d}/other", f"modify {d}/other/in side",
                 f"create {d}/hard", f"remove {d}/moved", f"modify {d}/hard", f"create {d}/nameless", f"remove {d}/nameless", f"remove {d}/other", f"remove {d}/other/in side", f"create {d}/end"], "changes")
    equal([int(i) for i, _ in lines], sorted(int(i) for i, _ in lines), "indexes in order")
    equal(lines[-1][1].rsplit(" v", 1)[1], str(end), "version of the last change")


def test_the_mount_shows_the_latest_changes(env, shared):
    a, b = shared.fresh()
    (a / "key").write_text("1")
    os.rename(a / "key", a / "a\nb")
    events = (shared.b / ".raft" / "events").read_text()
    check(f"create {a.name}/key v" in events and f"rename {a.name}/key -> {a.name}/a\\nb v" in events, f".raft/events: {events}")
    own = [line for line in events.splitlines() if f" {a.name}/" in line] # others may be at work
    equal(own[-1].split()[1], "rename", "the last line")


def test_a_prefix_selects_and_count_ends(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    start = index_of(c, f"{d}/app/one", "1")
    c.ctl("set", f"{d}/web/one", "1")
    c.ctl("set", f"{d}/app/two", "1")
    c.ctl("set", f"{d}/apple", "1")
    (shared.a / d / "app").rename(shared.a / d / "gone") # concerns everything below
    done = c.ctl("watch", f"/{d}/app/", "--from", start, "--count", "3")
    equal([line.split(" ", 1)[1].rsplit(" v", 1)[0] for line in done.stdout.decode().splitlines()],
          [f"create {d}/app", f"create {d}/app/one", f"create {d}/app/two"], "what --count 3 shows")
    done = c.ctl("watch", f"{d}/app/", "--from", start, "--count", "4", "--json")
    last = json.loads(done.stdout.decode().splitlines()[-1])
    equal((last["kind"], last["key"], last["old_key"]), ("rename", f"{d}/gone", f"{d}/app"), "a directory above the prefix is renamed")
    equal(set(last), {"index", "kind", "key", "old_key", "version", "inode"}, "members of the JSON")


def test_now_means_from_now_on(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    c.ctl("set", f"{d}/old", "1")
    c.wait_agreed() # a node that is behind would rightly tell it
    w = Watch(c, d, "--json")
    i = 0
    def seen():
        nonlocal i
        i += 1
        c.ctl("set", f"{d}/new", str(i))
        return w.lines()
    wait_for(seen, 10, "the first change after the beginning")
    w.stop()
    equal({e["key"] for e in w.events()}, {f"{d}/new"}, "keys")


def test_wrong_use_of_watch_and_no_answer(env, shared):
    c = shared.cluster
    for args, why in ((["a", "b"], "too many"), (["--from", "x"], "--from x"), (["--from", "0"], "--from 0"), (["--count", "-1"], "--count -1"),
                      (["x" * 5000], "4095")):
        check(why in text_of(c.ctl("watch", *args, code=2)), f"watch {args[0][:20]}")
    done = run([program("raftctl"), "--endpoint", "127.0.0.1:1", "--timeout", "0.5", "watch"], env.dir)
    equal(done.returncode, 3, f"exit code without nodes: {text_of(done)}")
    check("raftctl status" in text_of(done), f"what it says without nodes: {text_of(done)}")


@limit(120)
def test_every_change_once_and_in_order_through_kills_restarts_and_handovers(env):
    with env.cluster() as c:
        start = index_of(c, "begin", "1")
        w = Watch(c, "load/", "--from", start, "--json")
        acked, stop = [], threading.Event()
        def write():
            i = 0
            while not stop.is_set():
                i += 1
                done = c.ctl("set", f"load/k{i % 7}", str(i), "--json", code=None)
                if done.returncode == 0:
                    acked.append((json.loads(done.stdout)["index"], f"load/k{i % 7}"))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for round in range(3):
                wait_for(lambda: len(acked) >= 20 * (round * 3 + 1), 20, "some writes")
                leader = c.wait_leader()
                c.kill(leader)
                wait_for(lambda: len(acked) >= 20 * (round * 3 + 2), 20, "writes without the old leader")
                c.start(leader)
                c.wait_ready()
                if round == 1:
                    c.ctl("transfer")
                if round == 2: # a clean restart, whose ring begins at its end
                    other = next(id for id in c.ids if id != c.wait_leader())
                    c.stop(other)
                    c.start(other)
                    c.wait_ready()
                wait_for(lambda: len(acked) >= 20 * (round * 3 + 3), 20, "writes behind the restart")
        finally:
            stop.set()
            writer.join()
        last = index_of(c, "load/last", "1")
        wait_for(lambda: any(e["index"] == last for e in w.events()), 15, "the last change")
        w.stop()
        events = w.events()
        got = [(e["index"], e["key"]) for e in events if e["key"] not in ("load", "load/last")]
        equal([i for i, _ in got], sorted({i for i, _ in got}), "indexes: each once, in order")
        equal([e for e in got if e in set(acked)], sorted(acked), "the acknowledged changes")
        again = c.ctl("watch", "load/", "--from", start, "--count", len(events), "--json", seconds=30)
        equal([json.loads(line) for line in again.stdout.decode().splitlines()], events, "the same told another time")
        env.note(f"{len(events)} changes, {len(acked)} acknowledged, three leaders killed")


@limit(60)
def test_what_no_node_has_any_more_is_said_to_be_lost(env):
    with env.cluster() as c:
        for i in range(5):
            c.ctl("set", "color", str(i))
        c.stop() # cleanly: what was applied is flushed, and will not be replayed
        c.start()
        c.wait_ready()
        done = c.ctl("watch", "--from", "2", code=1)
        check("changes from 2 to " in text_of(done) and "are lost" in text_of(done) and "--from" in text_of(done), f"it said {text_of(done)}")
        resume = int(text_of(done).rsplit("--from ", 1)[1].split()[0])
        done = c.ctl("watch", "--from", "2", "--json", code=1)
        equal(json.loads(done.stdout), {"lost_from": 2, "lost_to": resume - 1}, "what --json says")
        w = Watch(c, "--from", 2, "--allow-loss", "--json")
        wait_for(w.lines, 10, "the loss to be told")
        c.ctl("set", "color", "after")
        wait_for(lambda: len(w.lines()) >= 2, 10, "a change after the loss")
        w.stop()
        equal(w.events()[1]["key"], "color", "the change after the loss")

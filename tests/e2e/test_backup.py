"""Backups: made while clients go on, restored into a new cluster, and what is wrong with a damaged one."""

import json
import os
import pty
import re
import subprocess
import threading
import urllib.request
from pathlib import Path

from harness import Cluster, Proc, check, equal, free_ports, limit, program, run, sanitizer_env, text_of, wait_for


def tree(path):
    """relative name -> what it is, for everything below `path` but .raft."""
    found = {}
    for folder, dirs, files in os.walk(path):
        for name in dirs + files:
            full = Path(folder) / name
            st = os.lstat(full)
            what = os.readlink(full) if full.is_symlink() else full.read_bytes() if full.is_file() else None
            found[str(full.relative_to(path))] = (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_nlink, what)
    return found


def fill(path):
    (path / "dir" / "below").mkdir(parents=True)
    (path / "dir" / "file").write_bytes(b"small")
    (path / "dir" / "below" / "large").write_bytes(os.urandom(3_000_000))
    os.link(path / "dir" / "file", path / "hard")
    os.symlink("dir/file", path / "soft")
    os.chmod(path / "dir" / "file", 0o4751)
    os.chown(path / "dir" / "file", 12, 34)
    os.utime(path / "dir" / "file", ns=(1, 1_234_567_890_123_456_789))
    os.mkfifo(path / "fifo")


def backup(cluster, path, code=0):
    done = cluster.ctl("backup", path, "--json", code=code, seconds=60)
    return json.loads(done.stdout) if code == 0 else text_of(done)


def new_cluster(env, name="e2e", n=3):
    return Cluster(env.dir / "new", n, name=name, start=False)


def restore(cluster, path, id=1, code=0):
    done = cluster.ctl("restore", path, "--id", id, "--json", code=code, seconds=60)
    return json.loads(done.stdout) if code == 0 else text_of(done)


@limit(120)
def test_a_backup_under_load_is_restored_into_a_new_cluster_to_the_digest(env):
    kept = env.dir / "backup"
    with env.cluster() as old:
        mount = old.mount()
        fill(mount.path)
        stop, written = threading.Event(), []

        def load():
            i = 0
            while not stop.is_set():
                i += 1
                (mount / f"load{i % 20}").write_bytes(b"%d" % i * (i % 3000))
                written.append(i)

        writers = [threading.Thread(target=load) for _ in range(3)]
        for w in writers:
            w.start()
        wait_for(lambda: len(written) > 200, 20, "load")
        before, last = len(written), old.last()
        said = backup(old, kept)
        check(said["index"] >= last, f"the backup is of {said['index']}, and {last} was committed before it began")
        wait_for(lambda: len(written) > before + 20, 20, "the writers to go on during the backup")
        stop.set()
        for w in writers:
            w.join()
        (mount / "after").write_text("not in the backup")
        sessions = old.status()[1].get("sessions")

    with new_cluster(env, name="restored") as new:
        made = restore(new, kept)
        equal((made["index"], made["digest"]), (said["index"], said["digest"]), "what the restore says it made")
        # alone and before anything else was applied: the state at the backup's index, to the digest
        new.start(1)
        first = wait_for(lambda: new.status().get(1), 10, "the restored node to answer")
        new.wait_leader([1])
        for id in (2, 3):
            new.nodes[id] = Proc(f"raftd {id}", [program("raftd"), "--cluster", new.toml, "--id", id, "--rebuild"], new.log(id))
        wait_for(lambda: new.ctl("member", "list").stdout.decode().count("voter") == 3, 30, "the others to have joined as voters")
        new.wait_ready()
        agreed = new.wait_agreed()
        check(all(n["applied"] > said["index"] for n in agreed.values()), "nothing follows the backup's index in the new cluster")
        log = new.log(1).read_text()
        check(f"state applied to {said['index']} " in log, f"the node did not start at the backup's index: {log[:600]}")
        mount = new.mount()
        check(not (mount / "after").exists(), "something written after the backup is in it")
        equal((mount / "dir" / "file").read_bytes(), b"small", "a file of the backup")
        equal(os.stat(mount / "hard").st_ino, os.stat(mount / "dir" / "file").st_ino, "a hard link")
        (mount / "new").write_text("goes on")
        equal(new.ctl("get", "new").stdout, b"goes on", "a change in the restored cluster")
        # a backup of the restored node alone, unchanged since, would be the same file: see the next test
        check(first["term"] > 0, "no term")


class Writers:
    """Threads that write small files until the block ends."""

    def __init__(self, path, n=4):
        self.path, self.stop, self.written = path, threading.Event(), 0
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(n)]

    def write(self, i):
        while not self.stop.is_set():
            (self.path / f"load{i}").write_bytes(b"%d" % self.written * 200)
            self.written += 1

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join()


@limit(120)
def test_a_backup_whose_node_dies_begins_again_with_another_and_is_whole(env):
    folder = env.dir / "kept"
    folder.mkdir()
    with env.cluster() as cluster:
        mount = cluster.mount()
        for i in range(4):
            cluster.ctl("set", "--file", "/dev/stdin", f"random{i}", data=os.urandom(12 << 20))
        leader = cluster.wait_leader()
        with Writers(mount.path):
            made = Proc("backup", [program("raftctl"), "--cluster", cluster.toml, "backup", folder / "backup"], env.dir / "backup.log")
            wait_for(lambda: sum(p.stat().st_size for p in folder.iterdir()) > 4 << 20, 20, "a part of the backup")
            cluster.pause(leader) # so that it is not done before the kill
            check(not (folder / "backup").exists(), "the backup was done before the leader could be stopped")
        others = [id for id in cluster.ids if id != leader]
        cluster.wait_leader(others)
        def agreed():
            digests = {n["digest"] for n in cluster.status().values()}
            return len(digests) == 1 and digests.pop()
        digest = wait_for(agreed, 10, "the others to agree") # nobody writes any more
        cluster.kill(leader)
        equal(made.wait(60, "the backup"), 0, f"exit code of backup: {made.said()}")
        check("the backup begins again" in made.said(), f"it does not say that it begins again: {made.said()}")
        equal([p.name for p in folder.iterdir()], ["backup"], "what is in the folder")
        facts = json.loads(cluster.ctl("check", folder / "backup", "--json").stdout)
        equal(facts["digest"], digest, "the digest of the backup and of the nodes")
        check(f"digest {digest}" in made.said(), f"what backup said: {made.said()}")

        cluster.start()
        cluster.wait_ready()
        leader = cluster.wait_leader()
        with Writers(mount.path) as writers: # the rate of a copy, while somebody writes
            before = writers.written
            said = backup(cluster, folder / "paced")
            check(said["ms"] > said["bytes"] * 1000 / (24 << 20) / 2, f"{said['bytes']} bytes in {said['ms']} ms, while clients wrote")
            check(writers.written > before, "nobody could write during the backup")
            piped = env.dir / "piped" # nothing takes back what a pipe has got
            made = Proc("backup -", ["sh", "-c", '"$0" --cluster "$1" backup - >"$2"', program("raftctl"), cluster.toml, piped], env.dir / "pipe.log")
            wait_for(lambda: piped.exists() and piped.stat().st_size > 4 << 20, 20, "a part of the backup")
            cluster.kill(leader)
            equal(made.wait(20, "the backup"), 1, f"exit code of backup -: {made.said()}")
            check("no backup was made" in made.said(), f"what backup - said: {made.said()}")


@limit(60)
def test_the_restored_state_is_to_the_digest_the_one_saved(env):
    kept, again = env.dir / "backup", env.dir / "again"
    with env.cluster(n=1) as old:
        mount = old.mount()
        fill(mount.path)
        saved_tree = tree(mount.path)
        said = backup(old, kept)
        status = old.status()[1]
        equal(said["digest"], status["digest"], "the backup's digest and the node's")
        equal(said["index"], status["applied"], "the backup's index and the node's")
    with new_cluster(env, n=1) as new:
        restore(new, kept)
        facts = json.loads(new.ctl("check", new.data(1), "--json").stdout)
        equal((facts["applied"], facts["digest"], facts["log_first"]), (said["index"], said["digest"], said["index"] + 1),
              "what raftctl check says of the restored directory")
        new.start()
        new.wait_ready()
        mount = new.mount()
        equal(tree(mount.path), saved_tree, "the tree of the restored cluster")
        (mount / "dir" / "file").write_bytes(b"changed")
        equal((mount / "hard").read_bytes(), b"changed", "a hard link follows a change")
        check(backup(new, again)["index"] > said["index"], "the new cluster's index does not go on")


def test_sessions_of_the_old_cluster_end_at_once(env):
    kept = env.dir / "backup"
    with env.cluster(n=1) as old:
        mount = old.mount()
        (mount / "x").write_text("1") # opens a session
        backup(old, kept)
    with new_cluster(env, n=1) as new:
        restore(new, kept)
        port = free_ports(1)[0]
        new.toml.write_text(new.toml.read_text() + f"metrics_port = {port}\n")
        new.start()
        new.wait_ready()
        def sessions():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=5) as answer:
                return json.load(answer)["sessions"]
        wait_for(lambda: sessions() == 0, 3, "the sessions of the old cluster to be gone, long before they time out")


def test_a_backup_goes_to_standard_output_and_leaves_no_half_file(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "a", "b")
        done = cluster.ctl("backup", "-")
        check(done.stdout.startswith(b"RFSC"), f"standard output begins with {done.stdout[:20]!r}")
        path = env.dir / "backup"
        said = backup(cluster, path)
        equal(path.stat().st_size, said["bytes"], "the file's size")
        equal(path.stat().st_mode & 0o777, 0o600, "the file's mode")
        equal(cluster.ctl("backup", env.dir / "none" / "x", code=1).returncode, 1, "exit code where it cannot be written")
        equal(sorted(p.name for p in env.dir.glob("backup*")), ["backup"], "what was left beside it")
        equal(cluster.ctl("backup", code=2).returncode, 2, "exit code without a file")


@limit(60)
def test_on_a_terminal_backup_shows_how_far_it_is(env):
    with env.cluster(n=1) as cluster:
        for i in range(8):
            cluster.ctl("set", "--file", program("raftctl"), f"program{i}")
        ours, theirs = pty.openpty()
        done = subprocess.run([program("raftctl"), "--cluster", cluster.toml, "backup", env.dir / "backup"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=theirs, timeout=60, env=sanitizer_env(env.dir))
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
        equal(done.returncode, 0, f"exit code; on the terminal: {shown}")
        check(re.search(r"backup \[[#.]{24}\] +\d+ %  [0-9.]+ [KMG]?i?B  [0-9.]+ [KMG]?i?B/s", shown), f"what the terminal shows: {shown!r}")
        check(shown.endswith("\r\x1b[K"), f"the line is not taken away: {shown!r}")
        check(b"state of index" in done.stdout, f"standard output: {done.stdout!r}")


def test_without_a_quorum_there_is_no_backup(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "a", "b")
        cluster.kill(1, 2)
        done = cluster.ctl("--timeout", "2", "backup", env.dir / "backup", code=3)
        check(not (env.dir / "backup").exists(), f"a backup was made: {text_of(done)}")
        cluster.start()
        cluster.wait_ready()


@limit(60)
def test_damaged_and_cut_backups_are_refused_and_leave_nothing(env):
    kept = env.dir / "backup"
    with env.cluster(n=1) as old:
        old.ctl("set", "--file", program("raftctl"), "program")
        backup(old, kept)
    good = kept.read_bytes()
    new = new_cluster(env, n=1)
    for name, bad, words in (("flipped", good[:len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1:], ("",)),
                             ("cut", good[:-10], ("ends in the middle",)), ("short", good[:300], ("",)),
                             ("without its end", good[:good.rfind(b"RFSC")], ("last chunk is missing",)),
                             ("with more", good + b"x", ("behind its last chunk",)), ("text", b"hello world" * 100, ("not a backup",)),
                             ("empty", b"", ("ends early",))):
        kept.write_bytes(bad)
        said = restore(new, kept, code=1)
        for word in ("nothing was restored", str(kept), *words):
            check(word in said, f"a backup {name} is refused with: {said}")
        check(not new.data(1).exists(), f"a directory was made of a backup {name}")
        equal(list(new.data(1).parent.glob("*")) if new.data(1).parent.exists() else [], [], f"what a backup {name} left behind")


def test_restore_refuses_a_directory_in_use_and_wrong_arguments(env):
    kept = env.dir / "backup"
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "a", "b")
        backup(cluster, kept)
        said = restore(cluster, kept, code=1)
        check("something in it already" in said, f"restoring over a cluster that runs: {said}")
        equal(cluster.ctl("get", "a").stdout, b"b", "the cluster that runs")
    new = new_cluster(env)
    check("--id" in text_of(new.ctl("restore", kept, code=2)), "restore without --id into a file of three nodes")
    for id in ("9", "x", "-1"):
        check(id in text_of(new.ctl("restore", kept, "--id", id, code=2)), f"--id {id}")
    done = new.ctl("restore", kept, "--id", "2", "--data-dir", env.dir / "deep" / "down", "--json")
    equal(json.loads(done.stdout)["data_dir"], str(env.dir / "deep" / "down"), "where it was restored")
    equal(sorted(os.listdir(env.dir / "deep" / "down")), ["store", "wal"], "what was made")
    check("none.toml" in text_of(run([program("raftctl"), "restore", kept, "--cluster", env.dir / "none.toml"], env.dir)), "a missing cluster file")


def contents(path):
    """Every file below `path` with its bytes and times."""
    return {str(p.relative_to(path)): (p.stat().st_mtime_ns, p.stat().st_size, p.read_bytes()) for p in sorted(path.rglob("*")) if p.is_file()}


@limit(60)
def test_check_looks_through_everything_and_changes_nothing(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "--file", program("raftd"), "program")
        for i in range(50):
            cluster.ctl("set", f"dir/key{i}", "x" * i) if i % 10 == 0 else None
        kept = env.dir / "backup"
        said = backup(cluster, kept)
        done = cluster.ctl("check", cluster.data(1), code=4)
        check("in use" in text_of(done), f"check of a node that runs: {text_of(done)}")
        facts = json.loads(cluster.ctl("check", kept, "--json").stdout)
        equal((facts["kind"], facts["index"], facts["digest"]), ("backup", said["index"], said["digest"]), "check of a backup")
        cluster.kill(1) # what a crash leaves has to be fine, too
        before = contents(cluster.data(1))
        facts = json.loads(cluster.ctl("check", cluster.data(1), "--json").stdout)
        equal((facts["kind"], facts["id"], facts["cluster"]), ("data directory", 1, "e2e"), "check of a data directory")
        check("log: good" in text_of(cluster.ctl("check", cluster.data(1))), "check for people")
        equal(contents(cluster.data(1)), before, "the data directory after check")
        equal([p for p in Path("/tmp").glob("raftctl-check-*") if p.owner() == "root" and not list(p.rglob("*"))], [], "left in /tmp")

        segment = max(cluster.data(1).glob("wal/log-*"), key=lambda p: p.stat().st_size)
        good = segment.read_bytes()
        at = good.find(b"\x7fELF")
        check(at > 0, "the program is not found in the log")
        segment.write_bytes(good[:at + 100] + bytes([good[at + 100] ^ 4]) + good[at + 101:])
        done = cluster.ctl("check", cluster.data(1), code=1)
        check(segment.name in text_of(done), f"a flipped bit in the log: {text_of(done)}")
        segment.write_bytes(good)

        tables = sorted(cluster.data(1).glob("store/*.sst"), key=lambda p: -p.stat().st_size)
        if tables:
            good = tables[0].read_bytes()
            tables[0].write_bytes(good[:200] + bytes(50) + good[250:])
            done = cluster.ctl("check", cluster.data(1), code=1)
            check("check:" in text_of(done), f"a damaged table: {text_of(done)}")
            tables[0].write_bytes(good)
        cluster.ctl("check", cluster.data(1))
        for path in (env.dir / "none", ):
            equal(cluster.ctl("check", path, code=2).returncode, 2, "exit code for what is not there")
        check("identity" in text_of(cluster.ctl("check", env.dir, code=1)), "a folder that is no data directory")
        cluster.start()
        cluster.wait_ready()


@limit(60)
def test_export_and_import_keep_the_tree_with_its_attributes(env):
    with env.cluster(n=1) as cluster:
        mount = cluster.mount()
        fill(mount.path)
        (mount / "dir" / "empty").mkdir(mode=0o700)
        (mount / "name with\nodd \xff characters").write_text("x")
        os.setxattr(mount / "dir" / "file", "user.color", b"blue\0green")
        os.utime(mount / "dir", ns=(5, 1_111_111_111_222_222_222))
        os.mknod(mount / "null", 0o620 | 0o020000, os.makedev(1, 3))
        saved = tree(mount.path)
        plain, tar = env.dir / "plain", env.dir / "all.tar.gz"
        said = json.loads(cluster.ctl("export", plain, "--json").stdout)
        equal((said["files"], said["directories"]), (3, 3), "what export says it wrote")
        equal(tree(plain), saved, "the tree that was exported")
        equal(os.getxattr(plain / "dir" / "file", "user.color"), b"blue\0green", "an extended attribute")
        cluster.ctl("export", tar)
        listed = run(["tar", "tvzf", tar], env.dir)
        equal(listed.returncode, 0, f"what tar says: {text_of(listed)}")
        check(b"link to dir/file" in listed.stdout or b"link to hard" in listed.stdout, f"tar sees no hard link: {text_of(listed)}")
        check(b"./.raft" not in listed.stdout and b" .raft" not in listed.stdout, "the mount's own files were exported")

        for n, source in enumerate((plain, tar)):
            cluster.ctl("import", source, f"again/{n}")
            got = tree(mount / "again" / str(n))
            equal(got, saved, f"the tree that was imported from {source.name}")
            equal(os.getxattr(mount / "again" / str(n) / "dir" / "file", "user.color"), b"blue\0green", "an extended attribute")
        cluster.ctl("import", tar, "again/1") # over itself
        equal(tree(mount / "again" / "1"), saved, "the tree that was imported twice")

        piped = cluster.ctl("export", "-", "dir")
        check(len(piped.stdout) > 3_000_000, f"{len(piped.stdout)} bytes of tar")
        cluster.ctl("import", "-", "piped", data=piped.stdout)
        equal(tree(mount / "piped")["file"][5], b"small", "a file that went through a pipe")


def test_export_and_import_refuse_what_they_cannot_do(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "a/b", "x")
        full = env.dir / "full"
        (full / "x").mkdir(parents=True)
        check("not an empty directory" in text_of(cluster.ctl("export", full, code=1)), "export into a directory with something in it")
        equal(sorted(os.listdir(full)), ["x"], "what is in it")
        check("none" in text_of(cluster.ctl("export", env.dir / "out", "none", code=1)), "export of a key that is not there")
        cluster.ctl("export", env.dir / "out2", "a/b", code=1)
        check("gone" in text_of(cluster.ctl("import", env.dir / "gone", code=1)), "import of a directory that is not there")
        bad = env.dir / "bad.tar"
        bad.write_bytes(b"nonsense" * 200)
        check("bad.tar" in text_of(cluster.ctl("import", bad, code=1)), "import of what is no tar file")
        (env.dir / "evil").mkdir()
        (env.dir / "evil" / "file").write_text("x")
        evil = env.dir / "evil.tar"
        equal(run(["tar", "cf", evil, "--transform", "s,^file,../outside,", "-P", "-C", env.dir / "evil", "file"], env.dir).returncode, 0, "tar")
        check("outside" in text_of(cluster.ctl("import", evil, "a", code=1)), "import of a name that leads out")
        equal(cluster.ctl("ls").stdout, b"a/\n", "the root after that")
        (env.dir / "evil2" / "a" / "b").mkdir(parents=True)
        cluster.ctl("import", env.dir / "evil2", code=1) # a directory over a file
        equal(cluster.ctl("get", "a/b").stdout, b"x", "the file in the way")
        equal(cluster.ctl("export", code=2).returncode, 2, "export without an operand")

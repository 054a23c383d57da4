"""Every key is a file: what a change costs, what ls shows, what the other mount sees."""

import os
import subprocess

from harness import check, equal, limit, slow, wait_for


def shell(script, directory):
    done = subprocess.run(["sh", "-c", script], cwd=directory, capture_output=True, timeout=slow(20))
    equal((done.returncode, done.stderr), (0, b""), f"sh -c {script!r}")
    return done.stdout


# Entries are counted on clusters of their own: elsewhere the leader frees meanwhile what others have removed.

def test_echo_into_an_existing_key_costs_one_log_entry_and_into_a_new_one_at_most_two(env):
    with env.cluster(3) as cluster:
        a = cluster.mount("a").path
        shell("echo warm > warm", a) # the session is open now
        for round in range(5):
            before = cluster.last()
            shell(f"echo red > new{round}", a)
            created = cluster.last()
            shell(f"echo blue > new{round}", a)
            overwritten = cluster.last()
            shell(f"echo more >> new{round}", a)
            appended = cluster.last()
            check(created - before <= 2, f"echo into a new key took {created - before} log entries")
            equal(overwritten - created, 1, "log entries of echo into an existing key")
            equal(appended - overwritten, 1, "log entries of echo >> into an existing key")
            equal((a / f"new{round}").read_bytes(), b"blue\nmore\n", "content")


def test_reading_costs_no_log_entry(env):
    with env.cluster(3) as cluster:
        a, b = cluster.mount("a").path, cluster.mount("b").path
        shell("echo blue > color", a)
        before = cluster.last()
        for place in (a, b):
            shell("cat color; ls -la; stat color; test -e absent || true", place)
        equal(cluster.last(), before, "the leader's last log index after reads")


def test_ls_shows_all_keys_and_only_keys(shared):
    a, b = shared.fresh()
    names = {f"key{i}" for i in range(50)} | {".hidden", "with space", "ünïcode", "*"}
    for name in names:
        (a / name).write_text(name)
    for place in (a, b):
        equal(set(os.listdir(place)), names, f"names in {place}")
    for mount in (shared.a, shared.b):
        at_root = os.listdir(mount.path)
        equal([n for n in at_root if n in (".raft", ".", "..")], [], "names at the root that are no keys")
        equal(len(at_root), len(set(at_root)), "names at the root, each once")
        check(all(os.path.isdir(mount / n) or os.path.isfile(mount / n) for n in at_root), "a name at the root is no file")
    shell("for i in 1 2 3; do echo $i > over; mv over key$i; done; rm 'with space'", b)
    equal(set(os.listdir(a)), names - {"with space"}, "names after renames over keys and a removal")


def test_ls_of_an_empty_cluster_is_empty_and_status_files_are_still_there(env):
    with env.cluster(n=1) as cluster:
        m = cluster.mount()
        equal(os.listdir(m.path), [], "names in a new cluster")
        for name in ("status", "leader", "members", "version"):
            check((m / ".raft" / name).read_bytes(), f".raft/{name} is empty")
        leader = (m / ".raft" / "leader").read_text()
        check(cluster.address(1) in leader, f".raft/leader does not name the leader: {leader!r}")
        check(cluster.address(1) in (m / ".raft" / "members").read_text(), ".raft/members does not name the node")
        for change in (lambda: (m / ".raft" / "status").write_text("x"), lambda: os.mkdir(m / ".raft" / "d"),
                       lambda: os.unlink(m / ".raft" / "status"), lambda: os.mkdir(m / ".raft"),
                       lambda: os.rmdir(m / ".raft"), lambda: os.rename(m / ".raft", m / "other")):
            try:
                change()
            except OSError:
                continue
            check(False, "something under .raft could be changed")
        equal(os.listdir(m.path), [], "names after the attempts")


@limit(60)
def test_each_mount_sees_the_other_ones_change_at_the_next_read(shared):
    a, b = shared.fresh()
    (a / "ball").write_text("0")
    sides = [(a, b), (b, a)]
    for i in range(1, 1001):
        here, there = sides[i % 2]
        text = f"{i} " * (i % 60 + 1)
        (here / "ball").write_text(text)
        equal((there / "ball").read_text(), text, f"content at exchange {i}")
        equal(os.stat(there / "ball").st_size, len(text), f"size at exchange {i}")


@limit(60)
def test_a_handle_kept_open_sees_the_other_mounts_change_at_the_next_read(shared):
    a, b = shared.fresh()
    path = a / "cell"
    path.write_bytes(b"%08d" % 0)
    writer, reader = os.open(path, os.O_WRONLY), os.open(b / "cell", os.O_RDONLY)
    try:
        for i in range(1, 1001):
            os.pwrite(writer, b"%08d" % i, 0)
            equal(os.pread(reader, 100, 0), b"%08d" % i, f"content at write {i}")
    finally:
        os.close(writer)
        os.close(reader)


def test_names_made_moved_and_removed_are_seen_at_once_by_the_other_mount(shared):
    a, b = shared.fresh()
    sides = [(a, b), (b, a)]
    for i in range(200):
        here, there = sides[i % 2]
        check(not os.path.exists(there / "x"), f"x is there before round {i}") # a negative entry must not be kept
        (here / "x").write_text(str(i))
        check(os.path.exists(there / "x"), f"x is not seen in round {i}")
        os.rename(here / "x", here / "y")
        equal(sorted(os.listdir(there)), ["y"], f"names in round {i}")
        check(not os.path.exists(there / "x"), f"x is still seen after its rename in round {i}")
        os.chmod(there / "y", 0o600 + i % 8)
        equal(os.stat(here / "y").st_mode & 0o777, 0o600 + i % 8, f"mode in round {i}")
        os.unlink(there / "y")
        check(not os.path.exists(here / "y"), f"y is still seen after its removal in round {i}")


def test_raftctl_and_the_mount_show_the_same_bytes(shared):
    a, b = shared.fresh()
    base = a.name
    for name, data in (("empty", b""), ("line", b"blue\n"), ("nul", b"a\0b\xff\n\n"), ("big", os.urandom(300_000))):
        (a / name).write_bytes(data)
        equal(shared.cluster.ctl("get", f"{base}/{name}").stdout, (b / name).read_bytes(), f"raftctl get {name}")
        shared.cluster.ctl("set", f"{base}/back/{name}", "-", data=data)
        equal((b / "back" / name).read_bytes(), data, f"{name} as set by raftctl")
    shared.cluster.ctl("set", f"{base}/deep/er/url", "postgres://db")
    equal((a / "deep" / "er" / "url").read_bytes(), shared.cluster.ctl("get", f"{base}/deep/er/url").stdout,
          "a value set by raftctl")
    shared.cluster.ctl("delete", f"{base}/line")
    check(not os.path.exists(a / "line") and not os.path.exists(b / "line"), "a deleted key is still there")


def test_mtime_changes_with_every_write_however_fast(shared):
    a, b = shared.fresh()
    path = a / "clock"
    path.write_text("0")
    seen = [os.stat(b / "clock").st_mtime_ns]
    fd = os.open(path, os.O_WRONLY)
    for i in range(200):
        os.pwrite(fd, b"%d" % (i % 10), 0)
        seen.append(os.stat(b / "clock").st_mtime_ns)
    os.close(fd)
    check(all(x < y for x, y in zip(seen, seen[1:])), "mtime did not rise with every write")


def test_a_new_mount_shows_what_was_there_before(shared):
    a, _ = shared.fresh()
    (a / "old").write_text("still here")
    m = shared.cluster.mount(f"late{os.getpid()}")
    equal((m / a.name / "old").read_text(), "still here", "content through a mount made later")
    m.stop()
    del shared.cluster.mounts[m.name]
    wait_for(lambda: os.path.exists(a / "old"), 5, "the first mount to go on")

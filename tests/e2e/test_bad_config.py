"""Wrong cluster files, ids, ports and directories: a clear error with the thing and the place, and no harm done."""

import os
import re
import shutil
import socket

from harness import Cluster, check, cluster_toml, equal, free_ports, program, run, text_of, wait_for

GOOD = """[cluster]
name = "demo"
data_directory = "./data"

[raft]
election_timeout_ms = { min = 150, max = 300 }
heartbeat_interval_ms = 50

[[node]]
id = 1
host = "127.0.0.1"
port = 7001

[[node]]
id = 2
host = "127.0.0.1"
port = 7002
"""

# What is changed in GOOD, by what; the line and the word that the error must name.
MISTAKES = [
    ("an open bracket", "[raft]", "[raft", 5, None),
    ("an open string", 'name = "demo"', 'name = "demo', 2, None),
    ("a key without a value", "id = 1", "id =", 10, None),
    ("the same key twice", "id = 1\n", "id = 1\nid = 1\n", 11, "id"),
    ("an unknown key in [raft]", "heartbeat_interval_ms", "hartbeat_interval_ms", 7, "hartbeat_interval_ms"),
    ("an unknown key in [[node]]", "port = 7001", "port = 7001\nprot = 7", 13, "prot"),
    ("an unknown table", "[raft]", "[rafts]", 5, "rafts"),
    ("a name that is no text", 'name = "demo"', "name = 5", 2, "name"),
    ("an empty name", 'name = "demo"', 'name = ""', 2, "name"),
    ("no name", 'name = "demo"\n', "", None, "name"),
    ("a port that is no number", "port = 7001", 'port = "7001"', 12, "port"),
    ("a port too big", "port = 7001", "port = 70001", 12, "port"),
    ("a negative port", "port = 7001", "port = -1", 12, "port"),
    ("no port", "port = 7001\n", "", None, "port"),
    ("no host", 'host = "127.0.0.1"\nport = 7001', "port = 7001", None, "host"),
    ("an id of zero", "id = 1", "id = 0", 10, "id"),
    ("an id that is text", "id = 1", 'id = "one"', 10, "id"),
    ("a duplicate id", "id = 2", "id = 1", 15, "id"),
    ("a duplicate address", "port = 7002", "port = 7001", 17, "7001"),
    ("heartbeats rarer than elections", "heartbeat_interval_ms = 50", "heartbeat_interval_ms = 500", 7, "heartbeat_interval_ms"),
    ("heartbeats as rare as elections", "heartbeat_interval_ms = 50", "heartbeat_interval_ms = 150", 7, "heartbeat_interval_ms"),
    ("no heartbeats", "heartbeat_interval_ms = 50", "heartbeat_interval_ms = 0", 7, "heartbeat_interval_ms"),
    ("min above max", "min = 150", "min = 400", 6, "election_timeout_ms"),
    ("an election timeout of zero", "min = 150", "min = 0", 6, "min"),
    ("an unknown key in election_timeout_ms", "max = 300", "max = 300, avg = 5", 6, "avg"),
    ("no node", GOOD[GOOD.index("[[node]]"):], "", None, "node"),
]


def raftd(env, toml, id=1, *more):
    return run([program("raftd"), "--cluster", toml, "--id", id, *more], env.dir)


def names(text, what):
    return re.search(rf"(?<!\w){re.escape(str(what))}(?![\w])", text) is not None


def test_each_mistake_in_the_cluster_file_is_named_with_file_line_and_key(env):
    wrong = []
    for what, old, new, line, word in MISTAKES:
        check(GOOD.count(old) >= 1, f"{old!r} is not in the good file")
        toml = env.dir / "mistake.toml"
        toml.write_text(GOOD.replace(old, new, 1))
        done = raftd(env, toml)
        said = text_of(done)
        if done.returncode != 2:
            wrong.append(f"{what}: exit code {done.returncode}, wanted 2: {said.strip()}")
        elif "mistake.toml" not in said:
            wrong.append(f"{what}: the file is not named: {said.strip()}")
        elif line is not None and not names(said.split("mistake.toml", 1)[1], line):
            wrong.append(f"{what}: line {line} is not named: {said.strip()}")
        elif word is not None and not names(said, word):
            wrong.append(f"{what}: {word!r} is not named: {said.strip()}")
        elif len(said.strip().splitlines()) > 3:
            wrong.append(f"{what}: more than one sentence: {said.strip()}")
    check(not wrong, "\n  ".join([f"{len(wrong)} of {len(MISTAKES)}:", *wrong]))
    check(not (env.dir / "data").exists(), "a data directory was made though the cluster file is wrong")


def test_all_three_programs_refuse_a_wrong_cluster_file_alike(env):
    toml = env.dir / "mistake.toml"
    toml.write_text(GOOD.replace("port = 7001", "port = 70001"))
    mnt = env.dir / "mnt"
    mnt.mkdir()
    for argv in ([program("raftd"), "--cluster", toml, "--id", 1], [program("raftctl"), "--cluster", toml, "get", "x"],
                 [program("raftfs"), mnt, "--cluster", toml]):
        done = run(argv, env.dir)
        equal(done.returncode, 2, f"exit code of {argv[0]}: {text_of(done)}")
        check("mistake.toml" in text_of(done) and "port" in text_of(done), f"{argv[0]} said {text_of(done)!r}")


def test_a_missing_unreadable_or_absurd_cluster_file_is_named(env):
    cases = {"absent.toml": None, "empty.toml": b"", "binary.toml": os.urandom(4096), "nul.toml": b"[cluster]\0\nname='x'\n",
             "long.toml": b"[cluster]\nname = \"" + b"n" * 100_000 + b"\"\n"}
    for name, data in cases.items():
        if data is not None:
            (env.dir / name).write_bytes(data)
        done = raftd(env, env.dir / name)
        equal(done.returncode, 2, f"exit code of raftd with {name}: {text_of(done)[:500]}")
        check(name in text_of(done), f"{name} is not named: {text_of(done)[:500]}")
    (env.dir / "folder.toml").mkdir()
    done = raftd(env, env.dir / "folder.toml")
    equal(done.returncode, 2, f"exit code of raftd with a folder: {text_of(done)}")
    check("folder.toml" in text_of(done), f"the folder is not named: {text_of(done)}")


def test_without_any_cluster_file_raftd_and_raftctl_say_where_they_looked(env):
    nowhere = env.dir / "nowhere"
    nowhere.mkdir()
    if os.path.exists("/etc/raftfs/cluster.toml"):
        return # this machine has a cluster of its own
    done = run([program("raftd"), "--id", 1], env.dir, cwd=nowhere, env={"XDG_DATA_HOME": str(env.dir / "xdg")})
    equal(done.returncode, 2, f"exit code of raftd: {text_of(done)}")
    check("cluster.toml" in text_of(done), f"raftd said {text_of(done)!r}")
    done = run([program("raftd"), "--id", 1], env.dir, cwd=nowhere, env={"RAFTFS_CLUSTER": str(env.dir / "gone.toml")})
    equal(done.returncode, 2, f"exit code of raftd with RAFTFS_CLUSTER: {text_of(done)}")
    check("gone.toml" in text_of(done), f"raftd said {text_of(done)!r}")


def test_the_cluster_file_is_found_by_environment_and_folder(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "color", "blue")
        ctl = program("raftctl")
        done = run([ctl, "get", "color"], env.dir, env={"RAFTFS_CLUSTER": str(cluster.toml)}, cwd="/")
        equal((done.returncode, done.stdout), (0, b"blue"), f"raftctl by $RAFTFS_CLUSTER: {text_of(done)}")
        done = run([ctl, "get", "color"], env.dir, cwd=cluster.directory)
        equal((done.returncode, done.stdout), (0, b"blue"), f"raftctl by ./cluster.toml: {text_of(done)}")


def test_an_id_that_is_not_in_the_file_is_refused(env):
    toml = env.dir / "good.toml"
    toml.write_text(GOOD)
    for id in ("9", "0", "-1", "x", "1x", "", "99999999999999999999"):
        done = raftd(env, toml, id)
        equal(done.returncode, 2, f"exit code of raftd --id {id!r}: {text_of(done)}")
        check(names(text_of(done), id) or not id, f"the id {id!r} is not named: {text_of(done)}")
    check("good.toml" in text_of(raftd(env, toml, 9)), "the file is not named")
    check(not (env.dir / "data").exists(), "a data directory was made for an id that is not in the file")


def test_wrong_options_of_raftd_are_refused_with_usage(env):
    for args in ([], ["--cluster"], ["--no-such-option"], ["--id", "1", "surplus"], ["--log-level", "loud", "--id", "1"]):
        done = run([program("raftd"), *args], env.dir, cwd=env.dir)
        equal(done.returncode, 2, f"exit code of raftd {' '.join(args)}: {text_of(done)}")
        check(text_of(done), "nothing was said")
    done = run([program("raftd"), "--help"], env.dir)
    equal(done.returncode, 0, "exit code of raftd --help")
    for word in ("--cluster", "--id", "--data-dir", "--log-level"):
        check(word in done.stdout.decode(), f"raftd --help does not tell of {word}")


def test_a_port_in_use_is_named(env):
    with socket.socket() as s:
        port = free_ports(1)[0]
        s.bind(("127.0.0.1", port))
        s.listen()
        toml = env.dir / "cluster.toml"
        toml.write_text(cluster_toml("demo", {1: port}))
        done = raftd(env, toml)
        check(0 < done.returncode < 99, f"exit code {done.returncode}: {text_of(done)}")
        check(f"127.0.0.1:{port}" in text_of(done), f"the address is not named: {text_of(done)}")
    done = None
    with Cluster(env.dir / "later", 1) as cluster:
        cluster.ctl("set", "x", "y") # the harness's way to start: the same machine, a port that is free


def test_a_data_directory_of_another_cluster_or_node_is_refused_and_left_alone(env):
    with env.cluster(n=3) as cluster:
        cluster.ctl("set", "color", "blue")
        cluster.wait_agreed()
        cluster.stop(3)
        other = env.dir / "other.toml"
        other.write_text(cluster_toml("elsewhere", dict(zip(cluster.ids, free_ports(3)))))
        before = snapshot(cluster.data(3))
        done = raftd(env, other, 3, "--data-dir", cluster.data(3))
        equal(done.returncode, 4, f"exit code with another cluster's directory: {text_of(done)}")
        for word in (str(cluster.data(3)), cluster.name, "elsewhere"):
            check(word in text_of(done), f"{word} is not named: {text_of(done)}")
        done = raftd(env, cluster.toml, 2, "--data-dir", cluster.data(3))
        check(done.returncode == 4, f"exit code with another node's directory: {done.returncode}: {text_of(done)}")
        check(str(cluster.data(3)) in text_of(done), f"the directory is not named: {text_of(done)}")
        equal(snapshot(cluster.data(3)), before, "the refused directory")
        cluster.start(3)
        cluster.wait_agreed()


def snapshot(directory):
    """Names and sizes below a data directory, but for RocksDB's own diary and lock files."""
    found = {}
    for folder, _, files in os.walk(directory):
        for name in files:
            if not name.startswith("LOG") and "lock" not in name.lower():
                found[os.path.join(folder, name)] = os.path.getsize(os.path.join(folder, name))
    return found


def test_a_second_raftd_on_the_same_directory_is_refused_and_the_first_goes_on(env):
    with env.cluster(n=3) as cluster:
        twin = env.dir / "twin.toml"
        twin.write_text(cluster_toml(cluster.name, dict(zip(cluster.ids, free_ports(3)))))
        done = raftd(env, twin, 1, "--data-dir", cluster.data(1))
        check(0 < done.returncode < 99, f"exit code {done.returncode}: {text_of(done)}")
        check(str(cluster.data(1)) in text_of(done), f"the directory is not named: {text_of(done)}")
        done = raftd(env, cluster.toml, 1)
        check(0 < done.returncode < 99, f"exit code of a second raftd with the same arguments: {done.returncode}")
        cluster.ctl("set", "still", "here")
        wait_for(lambda: 1 in cluster.status(), 5, "node 1 to answer")
        cluster.wait_agreed()


def test_a_data_directory_that_cannot_be_made_is_named(env):
    (env.dir / "file").write_text("in the way")
    toml = env.dir / "cluster.toml"
    toml.write_text(cluster_toml("demo", {1: free_ports(1)[0]}, data="./file/data"))
    done = raftd(env, toml)
    check(0 < done.returncode < 99, f"exit code {done.returncode}: {text_of(done)}")
    check("file/data" in text_of(done), f"the directory is not named: {text_of(done)}")


def test_a_node_whose_directory_was_emptied_does_not_stop_the_others(env):
    with env.cluster(n=3) as cluster:
        m = cluster.mount()
        (m / "key").write_text("kept")
        cluster.wait_agreed()
        leader = cluster.wait_leader()
        victim = next(id for id in cluster.ids if id != leader)
        cluster.kill(victim)
        shutil.rmtree(cluster.data(victim))
        cluster.start(victim) # joins as a new incarnation, or refuses; either way nothing acknowledged is lost
        for i in range(20):
            (m / "key").write_text(f"kept {i}")
        equal((m / "key").read_text(), "kept 19", "content")
        equal(cluster.wait_leader([id for id in cluster.ids if id != victim]), leader, "the leader")
        wait_for(lambda: victim in cluster.status() or not cluster.nodes[victim].running(), 5, "the emptied node to decide")

"""raftctl: what each command prints, as text and as JSON, and what its exit code says."""

import json
import os

from harness import check, cluster_toml, equal, free_ports, limit, program, run, text_of


def ctl(env, *args, **more):
    return run([program("raftctl"), *args], env.dir, **more)


def folder(shared):
    return shared.fresh()[0].name


def test_set_get_delete(env, shared):
    c, d = shared.cluster, folder(shared)
    done = c.ctl("get", f"{d}/color", code=1)
    check(f"{d}/color" in text_of(done), f"get of an absent key does not name it: {text_of(done)}")
    equal(done.stdout, b"", "what get of an absent key prints")
    c.ctl("set", f"{d}/color", "blue")
    equal(c.ctl("get", f"{d}/color").stdout, b"blue", "value")
    c.ctl("set", f"/{d}/color", "red") # a leading slash is the same key
    equal(c.ctl("get", f"{d}/color").stdout, b"red", "value")
    c.ctl("set", f"{d}/empty", "")
    equal(c.ctl("get", f"{d}/empty").stdout, b"", "an empty value")
    for size in (1, 4096, 4097, 65_536, 1 << 20):
        data = os.urandom(size)
        c.ctl("set", f"{d}/bytes", "-", data=data)
        equal(c.ctl("get", f"{d}/bytes").stdout, data, f"a value of {size} bytes")
    c.ctl("delete", f"{d}/color")
    c.ctl("get", f"{d}/color", code=1)
    c.ctl("delete", f"{d}/color", code=1)
    equal(c.ctl("get", f"{d}/empty").returncode, 0, "exit code of get of a neighbour")


def test_set_makes_parents_and_refuses_what_cannot_be_a_key(env, shared):
    c, d = shared.cluster, folder(shared)
    c.ctl("set", f"{d}/a/b/c", "deep")
    equal(c.ctl("get", f"{d}/a/b/c").stdout, b"deep", "value")
    for key in (f"{d}/a/b", f"{d}/a/b/c/d"): # a directory; below a file
        done = c.ctl("set", key, "x", code=None)
        check(done.returncode in (1, 2, 4), f"exit code of set {key}: {done.returncode}: {text_of(done)}")
        check(key in text_of(done), f"{key} is not named: {text_of(done)}")
    for key in ("", "/", f"{d}//x", f"{d}/./x", f"{d}/../x", f"{d}/", f"{d}/" + "n" * 256, "p/" * 3000 + "x"):
        done = c.ctl("set", key, "x", code=None)
        check(done.returncode in (1, 2), f"exit code of set {key[:40]!r}: {done.returncode}: {text_of(done)[:300]}")
        check(done.stderr, f"set {key[:40]!r} was refused without a word")
    done = c.ctl("get", f"{d}/a", code=None)
    check(done.returncode in (1, 2, 4) and done.stderr, f"get of a directory: {done.returncode}: {text_of(done)}")
    done = c.ctl("delete", f"{d}/a", code=None)
    check(done.returncode in (1, 4) and done.stderr, f"delete of a full directory: {done.returncode}: {text_of(done)}")
    equal(c.ctl("get", f"{d}/a/b/c").stdout, b"deep", "value after all that")


def test_show_lists_keys_with_values_one_a_line(env, shared):
    c, d = shared.cluster, folder(shared)
    for key, value in (("color", "blue"), ("db/url", "pg://x"), ("db/user", "me"), ("shape", "round")):
        c.ctl("set", f"{d}/{key}", value)
    lines = c.ctl("show", d).stdout.decode().splitlines()
    equal(len(lines), 4, f"lines of show {d}")
    for line, (key, value) in zip(lines, (("color", "blue"), ("db/url", "pg://x"), ("db/user", "me"), ("shape", "round"))):
        check(f"{d}/{key}" in line and value in line, f"line {line!r} does not hold {key} and {value}")
    names = [f"{d}/{k}" for k in ("color", "db/url", "db/user", "shape")]
    equal(c.ctl("show", d, "--keys").stdout.decode().split(), names, "show --keys")
    equal(c.ctl("show", "--keys", f"{d}/db").stdout.decode().split(), names[1:3], "show --keys of a folder below")
    everything = c.ctl("show", "--keys").stdout.decode(errors="replace").split("\n")
    check(set(names) <= set(everything), "show without a prefix does not show all")
    text = c.ctl("show", d, "--json").stdout
    check("blue" in text.decode() and f"{d}/db/url" in text.decode(), f"show --json: {text!r}")
    json.loads(text)
    c.ctl("set", f"{d}/lines", "-", data=b"one\ntwo\n\x1b[31m\xff")
    equal(len(c.ctl("show", d).stdout.split(b"\n")), 6, "lines of show when a value has line ends")
    check(b"\x1b" not in c.ctl("show", d).stdout, "a control character of a value reaches the terminal")
    json.loads(c.ctl("show", d, "--json").stdout)


def test_get_and_set_in_json(env, shared):
    c, d = shared.cluster, folder(shared)
    json.loads(c.ctl("set", f"{d}/k", "v", "--json").stdout)
    got = c.ctl("get", f"{d}/k", "--json").stdout.decode()
    json.loads(got)
    check('"v"' in got, f"get --json does not hold the value: {got}")
    json.loads(c.ctl("delete", f"{d}/k", "--json").stdout)


@limit(60)
def test_leader_is_never_the_one_that_has_just_died(env):
    with env.cluster() as c:
        for _ in range(4):
            leader = c.wait_leader()
            c.kill(leader) # the others follow it until an election timeout has passed
            said = c.ctl("leader").stdout.decode()
            check(not said.startswith(f"{leader} "), f"raftctl leader says {said!r} behind the end of node {leader}")
            c.start(leader)
            c.wait_ready()


def test_leader_prints_id_and_address(env, shared):
    c = shared.cluster
    leader = c.wait_leader()
    equal(c.ctl("leader").stdout.decode(), f"{leader} {c.address(leader)}\n", "raftctl leader")
    check(c.address(leader) in json.dumps(json.loads(c.ctl("leader", "--json").stdout)), "leader --json lacks the address")
    equal((shared.a / ".raft" / "leader").read_text(), f"{leader} {c.address(leader)}\n", ".raft/leader")


def test_status_shows_every_node(env, shared):
    c = shared.cluster
    nodes = json.loads(c.ctl("status", "--json").stdout)["nodes"]
    equal([n["id"] for n in nodes], [1, 2, 3], "ids")
    equal([n["address"] for n in nodes], [c.address(id) for id in c.ids], "addresses")
    equal([n["reachable"] for n in nodes], [True] * 3, "reachable")
    equal(sorted(n["role"] for n in nodes), ["follower", "follower", "leader"], "roles")
    equal(len({n["term"] for n in nodes}), 1, "number of different terms")
    for n in nodes:
        for key in ("term", "last", "commit", "applied"):
            check(isinstance(n[key], int) and n[key] > 0, f"{key} of node {n['id']} is {n[key]!r}")
        check(n["digest"] not in (None, "", 0), f"digest of node {n['id']} is {n['digest']!r}")
    text = c.ctl("status").stdout.decode()
    for id in c.ids:
        check(any(c.address(id) in line for line in text.splitlines()), f"status does not show {c.address(id)}: {text}")
    st = c.wait_agreed()
    digest = next(iter(st.values()))["digest"]
    c.ctl("set", folder(shared) + "/x", "changes the digest")
    check(next(iter(c.wait_agreed().values()))["digest"] != digest, "the digest is the same after a change")


def test_an_endpoint_is_enough(env, shared):
    c, d = shared.cluster, folder(shared)
    for id in c.ids: # a follower names the leader
        done = ctl(env, "--endpoint", c.address(id), "set", f"{d}/by{id}", "endpoint")
        equal(done.returncode, 0, f"exit code of set by {c.address(id)}: {text_of(done)}")
        done = ctl(env, "--endpoint", c.address(id), "get", f"{d}/by{id}")
        equal((done.returncode, done.stdout), (0, b"endpoint"), "value by endpoint")
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    done = ctl(env, "--endpoint", dead, "--endpoint", c.address(2), "get", f"{d}/by1")
    equal((done.returncode, done.stdout), (0, b"endpoint"), "value with one endpoint of two dead")


@limit(60)
def test_without_a_quorum_raftctl_says_so_with_3(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "color", "blue")
        leader = cluster.wait_leader()
        cluster.kill(*[id for id in cluster.ids if id != leader])
        for command in (["get", "color"], ["set", "color", "red"], ["delete", "color"], ["show"]):
            done = cluster.ctl("--timeout", "1", *command, code=3)
            check(done.stderr and not done.stdout, f"{command[0]} without quorum said {text_of(done)!r}")
        nodes = {n["id"]: n for n in json.loads(cluster.ctl("status", "--json", code=None).stdout)["nodes"]}
        equal([nodes[id]["reachable"] for id in cluster.ids], [id == leader for id in cluster.ids], "reachable")
        cluster.kill(leader)
        done = cluster.ctl("--timeout", "1", "leader", code=3)
        check(done.stderr, "leader without any node said nothing")
        cluster.start()
        cluster.wait_ready()
        check(cluster.ctl("get", "color", code=None).stdout in (b"blue", b"red", b""), "an impossible value")


def test_wrong_use_is_refused_with_2(env):
    toml = env.dir / "cluster.toml"
    toml.write_text(cluster_toml("demo", {1: free_ports(1)[0]}))
    for args in (["frobnicate"], ["set"], ["set", "k"], ["set", "k", "v", "w"], ["get"], ["get", "a", "b"], ["delete"],
                 ["leader", "x"], ["status", "x"], ["show", "a", "b"], ["get", "k", "--no-such"], ["--no-such", "get", "k"]):
        done = ctl(env, "--cluster", toml, *args)
        equal(done.returncode, 2, f"exit code of raftctl {' '.join(args)}: {text_of(done)}")
        check(done.stderr and not done.stdout, f"raftctl {' '.join(args)} said {text_of(done)!r}")
    for endpoint in ("nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ":1", "127.0.0.1:x", ""):
        done = ctl(env, "--endpoint", endpoint, "leader")
        equal(done.returncode, 2, f"exit code with endpoint {endpoint!r}: {text_of(done)}")


def test_help_for_raftctl_and_for_each_command(env):
    done = ctl(env, "--help")
    equal(done.returncode, 0, "exit code of raftctl --help")
    commands = ("set", "get", "delete", "show", "leader", "status")
    for command in commands:
        check(command in done.stdout.decode(), f"raftctl --help does not tell of {command}")
        own = ctl(env, command, "--help")
        equal(own.returncode, 0, f"exit code of raftctl {command} --help: {text_of(own)}")
        check(f"raftctl {command}" in own.stdout.decode().replace("[OPTIONS] ", "") or command in own.stdout.decode(),
              f"raftctl {command} --help: {own.stdout!r}")
    equal(ctl(env, "--version").returncode, 0, "exit code of raftctl --version")


def test_a_value_too_big_for_one_entry_is_refused_with_its_limit(env, shared):
    c, d = shared.cluster, folder(shared)
    done = c.ctl("set", f"{d}/big", "-", data=b"x" * ((1 << 20) + 1), code=None)
    if done.returncode == 0: # or taken whole
        equal(len(c.ctl("get", f"{d}/big").stdout), (1 << 20) + 1, "bytes of the value")
    else:
        check(done.returncode in (1, 2), f"exit code {done.returncode}: {text_of(done)}")
        check(done.stderr, "refused without a word")


def test_output_to_a_closed_pipe_and_a_full_disk_is_no_success(env, shared):
    c, d = shared.cluster, folder(shared)
    c.ctl("set", f"{d}/k", "-", data=b"x" * 300_000)
    done = run(["sh", "-c", '"$0" --cluster "$1" get "$2" > /dev/full', program("raftctl"), c.toml, f"{d}/k"], env.dir)
    check(done.returncode != 0, "get into /dev/full succeeded")

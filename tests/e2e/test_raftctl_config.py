"""raftctl config import: the cluster files of other small Raft systems."""

import json

from harness import check, equal, program, run, text_of


def config(env, *args, code=0):
    done = run([program("raftctl"), "config", *args], env.dir, cwd=env.dir)
    equal(done.returncode, code, f"exit code of raftctl config {' '.join(map(str, args))}: {text_of(done)}")
    return text_of(done)


def imported(env, text):
    """The file as read by `config check` after its import."""
    (env.dir / "their.conf").write_text(text)
    (env.dir / "ours.toml").write_text(config(env, "import", env.dir / "their.conf"))
    toml = (env.dir / "ours.toml").read_text()
    return json.loads(config(env, "check", env.dir / "ours.toml", "--json")), toml


def test_lines_of_id_host_and_port(env):
    got, toml = imported(env, "0 127.0.0.1 50000\n1 127.0.0.1 50001 # the second\n\n# more\n2\tdb3.example.com\t50002\n")
    equal([(n["id"], n["address"]) for n in got["nodes"]], [(1, "127.0.0.1:50000"), (2, "127.0.0.1:50001"), (3, "db3.example.com:50002")], "nodes")
    check("one higher" in toml, f"raised ids are not told: {toml}")
    got, _ = imported(env, "7 10.0.0.1:1\r\n9 [::1]:2\r\n")
    equal([(n["id"], n["address"]) for n in got["nodes"]], [(7, "10.0.0.1:1"), (9, "[::1]:2")], "nodes by HOST:PORT")


def test_json_with_its_variants(env):
    got, toml = imported(env, json.dumps({"nodes": [{"id": 1, "host": "127.0.0.1", "port": 7001}, {"id": "2", "address": "127.0.0.1:7002"}],
                                          "election_timeout_ms": {"min": 200, "max": 500}, "heartbeat_interval_ms": 40,
                                          "data_directory": "/srv/raft", "name": "theirs"}))
    equal((got["cluster"], got["data_directory"]), ("theirs", "/srv/raft"), "name and data")
    equal([n["address"] for n in got["nodes"]], ["127.0.0.1:7001", "127.0.0.1:7002"], "nodes")
    check("{ min = 200, max = 500 }" in toml and "heartbeat_interval_ms = 40" in toml, f"times: {toml}")
    for election, wanted in ((300, "min = 300, max = 600"), ([150, 300], "min = 150, max = 300"), (30, "min = 30, max = 60")):
        _, toml = imported(env, json.dumps({"nodes": [{"id": 1, "host": "h", "port": 1}], "election_timeout_ms": election}))
        check(wanted in toml, f"election timeout {election}: {toml}")


def test_what_is_wrong_is_named_with_its_place(env):
    their = env.dir / "their.conf"
    node = {"id": 1, "host": "h", "port": 1}
    for text, why in (("1 h 1\n2 h\n", "line 2"), ("1 h 1\n1 h 2\n", "line 2: the id 1"), ("1 h 1\n2 h 1\n", "those of node 1"),
                      ("x h 1\n", "line 1: the id"), ("1 h 70000\n", "line 1: the port"), ("1 0.0.0.0 1\n", "0.0.0.0"), ("1 h 1 x y\n", "more than"),
                      ("", "there is none"), ("{\n\"nodes\": [}", "line 2"), ("[]", "must be an object"), ("{}", "must have \"nodes\""),
                      (json.dumps({"nodes": [node, {**node, "id": 2}]}), "nodes[1]"), (json.dumps({"nodes": [{**node, "prot": 1}]}), "unknown key \"prot\""),
                      (json.dumps({"nodes": [node], "heartbeat_interval_ms": 500}), "heartbeat_interval_ms"),
                      (json.dumps({"nodes": [node], "election_timeout_ms": [5]}), "election_timeout_ms"),
                      (json.dumps({"nodes": [node], "election_timeout_ms": [9, 5]}), "min (9)"),
                      (json.dumps({"nodes": [node], "election_timeout": 5}), "unknown key \"election_timeout\""),
                      (json.dumps({"nodes": [node], "name": "a b"}), "name"), (json.dumps({"nodes": [{"id": 1, "address": "h"}]}), "nodes[0]"),
                      ("\n".join(f"{i} h {i}" for i in range(1, 17)), "line 16")):
        their.write_text(text)
        said = config(env, "import", their, code=2)
        check(why in said and "their.conf" in said, f"{text!r}: {said}")
    check("No such file" in config(env, "import", env.dir / "none", code=2), "a file that is not there")
    check("which FILE" in config(env, "import", code=2), "no file")
    check("config import" in config(env, "frob", code=2), "another word")


def test_out_writes_a_new_file_and_never_over_one(env):
    their, ours = env.dir / "their.conf", env.dir / "ours.toml"
    their.write_text("1 127.0.0.1 7001\n")
    equal(json.loads(config(env, "import", their, "--out", ours, "--json"))["nodes"], 1, "import --json")
    text = ours.read_text()
    check("there already" in config(env, "import", their, "--out", ours, code=1), "over a file")
    equal(ours.read_text(), text, "the file")
    config(env, "import", their, "--out", env.dir / "no" / "where", code=1)

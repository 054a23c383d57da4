"""raftctl txn: several changes under conditions, all or nothing."""

import json
import threading

from harness import check, equal, text_of


def txn(cluster, text, *args, code=0):
    return cluster.ctl("txn", *args, data=text.encode(), code=code)


def test_conditions_and_changes_are_one_entry(env):
    with env.cluster(3) as c: # where the leader has nothing to free
        d = "dir"
        c.ctl("set", f"{d}/old", "x")
        before = c.last()
        done = txn(c, f'compare {d}/old value = "x"\ncompare {d}/new absent # a comment\n\nset {d}/new "two words\\n"\nset {d}/sub/key 1\ndelete {d}/old\n', "--json")
        got = json.loads(done.stdout)
        equal((got["done"], got["changes"]), (True, 3), "txn --json")
        equal(c.last() - before, 3, "log entries: a session, the transaction, the session's end")
        equal(c.ctl("show", d).stdout.decode(), f"{d}/new: two words\n{d}/sub/key: 1\n", "keys")
        version = json.loads(c.ctl("get", f"{d}/new", "--json").stdout)["version"]
        equal(version, got["index"], "version of what was set")
        (env.dir / "file").write_text(f"compare {d}/new version = {version}\nset {d}/new again\n")
        check("done at index" in c.ctl("txn", env.dir / "file").stdout.decode(), "txn FILE")
        done = c.ctl("txn", env.dir / "file", code=1) # the version is another one now
        check(":1: compare" in text_of(done) and "nothing was done" in text_of(done) and "its version is" in text_of(done), f"it said {text_of(done)}")
        done = c.ctl("txn", env.dir / "file", "--json", code=1)
        equal((json.loads(done.stdout)["done"], json.loads(done.stdout)["line"]), (False, 1), "a failed txn --json")


def test_what_is_not_possible_stops_all_of_it(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    c.ctl("set", f"{d}/dir/key", "1")
    for line, why in ((f"delete {d}/none", "no such key"), (f"set {d}/dir x", "directory"), (f"delete {d}/dir", "not empty"),
                      (f"set {d}/new/below x", "above or below"), (f"compare {d}/none exists", "there is no such key")):
        done = txn(c, f"set {d}/new 1\n{line}\n", code=1)
        check(why in text_of(done).lower() and ":2: " in text_of(done), f"{line}: {text_of(done)}")
        c.ctl("get", f"{d}/new", code=1)


def test_a_text_that_is_no_transaction_is_refused_with_its_line(env, shared):
    c = shared.cluster
    for text, why in (("", "no step"), ("frob x\n", ":1: must be"), ("\nset k\n", ":2: must be"), ("compare k\n", "compare KEY exists"),
                      ("compare k version = x\n", "whole number"), ("compare k version 3\n", "compare KEY exists"), ("set a//b 1\n", "cannot be a key"),
                      ("set k 'x\n", "not closed"), ("delete a b\n", ":1: must be"), ("set k v\n" * 1025, ":1025: more than 1024")):
        done = txn(c, text, code=2)
        check(why in text_of(done), f"{text[:30]!r}: {text_of(done)}")
    c.ctl("txn", "a", "b", code=2)
    check("nowhere" in text_of(c.ctl("txn", "/nowhere", code=1)), "a file that is not there")
    check("NUL" in text_of(txn(c, "set k \0\n", code=1)), "a NUL byte")


def test_of_many_who_want_it_one_gets_it(env, shared):
    c, d = shared.cluster, shared.fresh()[0].name
    codes = []
    def take(i):
        codes.append(txn(c, f"compare {d}/lock absent\nset {d}/lock {i}\nset {d}/owner {i}\n", code=None).returncode)
    threads = [threading.Thread(target=take, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(sorted(codes), [0] + [1] * 7, "exit codes")
    equal(c.ctl("get", f"{d}/lock").stdout, c.ctl("get", f"{d}/owner").stdout, "both keys of the one who got it")

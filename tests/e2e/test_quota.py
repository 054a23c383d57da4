"""Quotas: set by raftctl or the cluster file, met by programs in the mount, with room to remove things always."""

import json
import os

from harness import Cluster, check, equal, errno_of, text_of, wait_for
from test_posix import get, put


def test_a_tree_with_a_quota_gives_edquot_and_lets_people_delete(shared):
    a, b = shared.fresh()
    ctl, key = shared.cluster.ctl, a.name
    put(a / "before", b"x" * 100)
    ctl("quota", "set", key, "--bytes", "10K", "--inodes", "5")
    put(a / "one", b"1" * 10_000)
    equal(errno_of(put, b / "one", b"1" * 10_200), "EDQUOT", "a write beyond the quota, through the other mount")
    equal(get(a / "one"), b"", "what `> file` left of it: the truncation, as on ext4")
    put(b / "one", b"1" * 10_000)
    put(b / "one", b"2" * 5_000, os.O_WRONLY)
    equal(errno_of(os.truncate, a / "before", 10_000), "EDQUOT", "truncate beyond the quota")
    os.mkdir(a / "dir")
    put(a / "dir" / "last", b"")
    for call in (lambda: put(a / "dir" / "more", b""), lambda: os.mkdir(a / "more"), lambda: os.symlink("x", a / "more")):
        equal(errno_of(call), "EDQUOT", "one inode too many")
    equal(errno_of(os.rename, a / "before", shared.a / f"{key}-out"), "EXDEV", "a rename out of the tree")
    equal(errno_of(os.link, a / "before", shared.a / f"{key}-out"), "EXDEV", "a link out of the tree")
    facts = json.loads(ctl("quota", "get", key, "--json").stdout)
    equal(facts, {"key": key, "bytes": 10_100, "inodes": 5, "bytes_max": 10_240, "inodes_max": 5}, "what raftctl says")
    done = ctl("set", f"{key}/by-raftctl", "x", code=1)
    check("quota" in text_of(done), f"raftctl set said: {text_of(done)}")
    os.unlink(b / "one")
    put(a / "again", b"x" * 10_000)
    check(f"/{key}  bytes 10100 of 10240  inodes 5 of 5" in text_of(ctl("quota", "list")), text_of(ctl("quota", "list")))
    ctl("quota", "remove", key)
    ctl("quota", "get", key, code=1)
    put(a / "again", b"x" * 100_000)
    os.rename(a / "before", shared.a / f"{key}-out")
    os.unlink(shared.b / f"{key}-out")


def test_the_files_quota_is_the_clusters_and_survives_its_leaders(env):
    with Cluster(env.dir / "cluster", start=False) as cluster:
        cluster.toml.write_text(cluster.toml.read_text().replace("[cluster]", "[cluster]\nquota_bytes = 100000"))
        cluster.start()
        cluster.wait_ready()
        a = cluster.mount("a")
        wait_for(lambda: b"100000" in cluster.ctl("quota", "list", code=None).stdout, 10, "the quota to be in force")
        put(a / "f", b"x" * 90_000)
        equal(errno_of(put, a / "g", b"x" * 20_000), "ENOSPC", "a write beyond the quota")
        equal(os.statvfs(a.path).f_blocks, 100_000 // 4096, "blocks in all")
        equal(os.statvfs(a.path).f_bfree, 10_000 // 4096, "blocks free")
        cluster.kill(cluster.wait_leader())
        cluster.wait_leader()
        equal(errno_of(put, a / "g", b"x" * 20_000), "ENOSPC", "a write beyond the quota, with another leader")
        os.unlink(a / "f")
        put(a / "g", b"x" * 20_000)
        cluster.start()
        cluster.wait_ready()
        cluster.wait_agreed()


def test_what_quota_does_not_take(shared):
    a, _ = shared.fresh()
    ctl, key = shared.cluster.ctl, a.name
    put(a / "f", b"")
    for args, code, word in ((["set", key], 2, "--bytes"), (["set", key, "--bytes", "10X"], 2, "amount"), (["set", key, "--bytes", "0"], 2, "amount"),
                             (["set", key, "--bytes", "99999999999T"], 2, "amount"), (["list", key], 2, "too many"), (["get"], 2, "KEY"),
                             (["remove", key, "--bytes", "1"], 2, "set"), (["frob", key], 2, "not frob"), (["get", key], 1, "no quota"),
                             (["set", f"{key}/absent", "--bytes", "1"], 1, "no such key"), (["set", f"{key}/f", "--bytes", "1"], 1, "director")):
        done = ctl("quota", *args, code=code)
        check(word in text_of(done), f"quota {' '.join(args)} said {text_of(done)!r}, wanted {word!r} in it")
    os.mkdir(a / "sub")
    ctl("quota", "set", f"{key}/sub", "--inodes", "100")
    check("within another" in text_of(ctl("quota", "set", key, "--inodes", "100", code=1)), "a tree around a tree")
    os.rmdir(a / "sub")
    check(key not in text_of(ctl("quota", "list")), "the quota went with its directory")

"""scripts/up.sh and scripts/down.sh, which make up and make down call: both twice in a row, nothing left."""

import os
import shutil
from pathlib import Path

from harness import BIN, TREE, check, cluster_toml, detach, equal, free_ports, is_mounted, limit, need_fuse, run, text_of, wait_for


def script(env, name, toml, mount, code=0):
    """up.sh or down.sh on a cluster of the test's own, so that a running one is not disturbed."""
    done = run([TREE / "scripts" / name], env.dir, 60, cwd=TREE, env={"CLUSTER": str(toml), "MOUNT": str(mount), "RAFTFS_BIN": str(BIN)})
    equal(done.returncode, code, f"exit code of {name}: {text_of(done)}")
    return text_of(done)


def processes_of(toml):
    """Pids of our programs that work on this cluster file."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                state = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if os.path.basename(words[0]) in (b"raftd", b"raftfs") and os.fsencode(str(toml)) in words and state != "Z":
                found.append(int(entry))
    return found


def own_cluster(env, folder):
    need_fuse()
    directory = env.dir / folder
    directory.mkdir()
    toml = directory / "cluster.toml"
    toml.write_text(cluster_toml("updown", dict(zip((1, 2, 3), free_ports(3)))))
    return toml, directory / "mnt"


@limit(120)
def test_up_and_down_twice_in_a_row_keep_the_data_and_leave_nothing_running(env):
    toml, mount = own_cluster(env, "a")
    for round in range(2):
        script(env, "up.sh", toml, mount)
        check(is_mounted(mount), f"{mount} is not mounted after up")
        if round:
            equal((mount / "color").read_text(), "blue\n", "what was there before down")
        (mount / "color").write_text("blue\n")
        up = processes_of(toml)
        equal(len(up), 4, "processes after up: three nodes and a mount")
        script(env, "up.sh", toml, mount) # once more changes nothing
        equal(sorted(processes_of(toml)), sorted(up), "processes after a second up")
        equal((mount / "color").read_text(), "blue\n", "content after a second up")
        for _ in range(2):
            script(env, "down.sh", toml, mount)
            check(not is_mounted(mount), f"{mount} is still mounted after down")
            equal(processes_of(toml), [], "processes after down")


@limit(60)
def test_the_defaults_are_the_trees_own_cluster_file_data_and_mnt(env):
    """In a copy of the tree, so that a running one is not disturbed."""
    need_fuse()
    copy = env.dir / "copy"
    shutil.copytree(TREE / "scripts", copy / "scripts")
    os.symlink(BIN, copy / "bin")
    (copy / "cluster.toml").write_text(cluster_toml("copy", dict(zip((1, 2, 3), free_ports(3)))))
    for name in ("up.sh", "down.sh") * 2:
        done = run([copy / "scripts" / name], env.dir, 60, cwd=copy)
        equal(done.returncode, 0, f"exit code of {name}: {text_of(done)}")
        equal(is_mounted(copy / "mnt"), name == "up.sh", f"mounted after {name}")
        if name == "up.sh":
            (copy / "mnt" / "color").write_text("blue\n")
    check((copy / "data" / "1").is_dir(), "the data is not below ./data")


@limit(90)
def test_up_repairs_what_is_missing(env):
    toml, mount = own_cluster(env, "b")
    script(env, "up.sh", toml, mount)
    (mount / "key").write_text("value")
    pids = processes_of(toml)
    for pid in pids: # a crash of everything: dead mount, stale pid files
        os.kill(pid, 9)
    wait_for(lambda: not processes_of(toml), 5, "the processes to die")
    script(env, "up.sh", toml, mount)
    equal((mount / "key").read_text(), "value", "content after a crash and up")
    script(env, "down.sh", toml, mount)
    equal((processes_of(toml), is_mounted(mount)), ([], False), "what is left after down")


@limit(60)
def test_two_clusters_are_up_side_by_side(env):
    first, second = own_cluster(env, "c"), own_cluster(env, "d")
    for toml, mount in (first, second):
        script(env, "up.sh", toml, mount)
        (mount / "who").write_text(str(mount))
    script(env, "down.sh", *first)
    equal((second[1] / "who").read_text(), str(second[1]), "content of the cluster that stays")
    equal(len(processes_of(second[0])), 4, "processes of the cluster that stays")
    script(env, "down.sh", *second)
    equal(processes_of(second[0]), [], "processes after down")


def test_up_with_a_broken_cluster_file_says_why_and_leaves_nothing(env):
    toml, mount = own_cluster(env, "e")
    toml.write_text(toml.read_text().replace("port =", "prot =", 1))
    done = run([TREE / "scripts" / "up.sh"], env.dir, 60, cwd=TREE, env={"CLUSTER": str(toml), "MOUNT": str(mount), "RAFTFS_BIN": str(BIN)})
    check(done.returncode != 0, "up.sh succeeded with a broken cluster file")
    check("prot" in text_of(done), f"the wrong key is not named: {text_of(done)}")
    equal((processes_of(toml), is_mounted(mount)), ([], False), "what is left")
    detach(mount)

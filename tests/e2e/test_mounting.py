"""Mounting as any other file system is mounted: options, subtrees, mount.raftfs, fstab, local reads."""

import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from harness import (BIN, Mount, check, equal, errno_of, is_mounted, limit, need_fuse, program, run, slow, text_of,
                     wait_for)


def helper(env, *args, seconds=20):
    """mount.raftfs, as mount(8) runs it."""
    return run([program("mount.raftfs"), *args], env.dir, seconds)


def unmount(path):
    subprocess.run(["umount", path], check=True, timeout=slow(10))
    wait_for(lambda: not is_mounted(path), 5, f"{path} to be unmounted")


def source_of(path):
    """What stands for a device in /proc/self/mountinfo."""
    with open("/proc/self/mountinfo") as f:
        for line in f:
            words = line.split()
            if words[4] == str(path):
                return words[words.index("-") + 2]
    return None


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def test_a_read_only_mount_refuses_every_change(env, shared):
    there, _ = shared.fresh()
    put(there / "file", b"x")
    mount = Mount(env.dir, "ro", ["--cluster", shared.cluster.toml], "ro")
    here = mount / there.name
    equal((here / "file").read_bytes(), b"x", "a file read through the read-only mount")
    for call, args in ((put, (here / "new", b"y")), (put, (here / "file", b"y")), (os.mkdir, (here / "dir",)),
                       (os.unlink, (here / "file",)), (os.rename, (here / "file", here / "other")),
                       (os.chmod, (here / "file", 0o600)), (os.symlink, ("x", here / "link")),
                       (os.truncate, (here / "file", 0)), (os.utime, (here / "file",))):
        equal(errno_of(call, *args), "EROFS", f"{call.__name__} on a read-only mount")
    equal((there / "file").read_bytes(), b"x", "the file after all refusals")
    mount.stop()


def test_noexec_and_nosuid_reach_the_kernel(env, shared):
    there, _ = shared.fresh()
    put(there / "script", b"#!/bin/sh\nexit 0\n")
    os.chmod(there / "script", 0o755)
    equal(subprocess.run([there / "script"]).returncode, 0, "a script run where that is allowed")
    mount = Mount(env.dir, "noexec", ["--cluster", shared.cluster.toml], "noexec,nosuid,nodev")
    equal(errno_of(subprocess.run, [mount / there.name / "script"]), "EACCES", "a script run on a noexec mount")
    flags = os.statvfs(mount.path).f_flag
    for name in ("ST_NOEXEC", "ST_NOSUID", "ST_NODEV"):
        check(flags & getattr(os, name), f"statvfs does not show {name}")
    mount.stop()


def test_a_subtree_is_the_root_of_the_mount(env, shared):
    there, _ = shared.fresh()
    os.makedirs(there / "a" / "b")
    put(there / "a" / "in", b"inside")
    put(there / "out", b"outside")
    mount = Mount(env.dir, "sub", ["--cluster", shared.cluster.toml], f"subdir=/{there.name}/a/")
    equal(sorted(os.listdir(mount.path)), ["b", "in"], "the root of the subtree")
    equal((mount / "in").read_bytes(), b"inside", "a file in the subtree")
    equal(os.stat(mount / "..").st_ino, os.stat(env.dir).st_ino, "what .. of the root is")
    put(mount / "b" / "made", b"by the subtree")
    os.rename(mount / "in", mount / "b" / "moved")
    os.mkdir(mount / "dir")
    os.chmod(mount.path, 0o711)
    equal((there / "a" / "b" / "made").read_bytes(), b"by the subtree", "a file made in the subtree, seen from outside")
    equal(sorted(os.listdir(there / "a")), ["b", "dir"], "the subtree, seen from outside")
    equal((there / "a" / "b" / "moved").read_bytes(), b"inside", "a file moved in the subtree, seen from outside")
    equal(stat.S_IMODE(os.stat(there / "a").st_mode), 0o711, "the mode of the subtree's root, seen from outside")
    check(f"subdir: /{there.name}/a\n" in (mount / ".raft" / "status").read_text(), ".raft/status does not tell of subdir")
    check(source_of(mount.path).startswith("raftfs:shared/"), f"the mount's source is {source_of(mount.path)}")
    mount.stop()


def test_a_subtree_that_is_not_there_is_refused_by_name(env, shared):
    there, _ = shared.fresh()
    put(there / "file", b"")
    path = env.dir / "mnt"
    path.mkdir()
    for key, why in ((f"{there.name}/none", "No such file"), (f"{there.name}/file", "not a directory")):
        done = run([program("raftfs"), path, "--cluster", shared.cluster.toml, "-o", f"subdir={key}"], env.dir)
        equal(done.returncode, 32, f"exit code of raftfs -o subdir={key}: {text_of(done)}")
        check(key in text_of(done) and why in text_of(done), f"subdir={key} is refused with: {text_of(done)}")
    check(not is_mounted(path), "something is mounted after a refusal")
    check(not (there / "none").exists(), "a refused subdir was made")


def test_owners_and_modes_are_shown_as_asked(env, shared):
    there, _ = shared.fresh()
    put(there / "file", b"x")
    os.chmod(there / "file", 0o640)
    mount = Mount(env.dir, "own", ["--cluster", shared.cluster.toml], "uid=1234,gid=4321,umask=027")
    here = mount / there.name
    for path, kind in ((here / "file", stat.S_IFREG), (here, stat.S_IFDIR), (mount.path, stat.S_IFDIR)):
        st = os.stat(path)
        equal((st.st_uid, st.st_gid, st.st_mode), (1234, 4321, kind | 0o750), f"owner and mode of {path.name}")
    with os.scandir(here) as entries:
        equal([e.stat().st_uid for e in entries], [1234], "owners in a listing")
    put(here / "new", b"")
    equal(os.stat(here / "new").st_uid, 1234, "the owner of a new file, here")
    equal((os.stat(there / "new").st_uid, stat.S_IMODE(os.stat(there / "file").st_mode)), (0, 0o640),
          "the owner of a new file and the mode of an old one, on the other mount")
    mount.stop()


def test_nothing_is_mounted_before_the_cluster_answers(env):
    with env.cluster(n=1, start=False) as cluster:
        with socket.create_server(("127.0.0.1", cluster.ports[1])) as nobody:
            mount = cluster.mount(wait=False)
            nobody.settimeout(slow(10))
            nobody.accept()[0].close() # it has come so far
            check(not is_mounted(mount.path), "whoever looks at the mount point has to wait for a quorum")
        cluster.start()
        mount.wait_answer()
        mount.stop()


def test_an_ordinary_user_can_write_in_a_store_of_his_own(env):
    with tempfile.TemporaryDirectory(prefix="raftfs-e2e-home-") as home: # he may not enter the test's own directory
        for name in ("raftfs", "raftctl"):
            shutil.copy(program(name), home)
        os.mknod(f"{home}/fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229)) # where nobody has opened /dev/fuse to others
        os.chmod(f"{home}/fuse", 0o666)
        os.mkdir(f"{home}/notes")
        for path in (home, f"{home}/notes"):
            os.chown(path, 65534, 65534)
        script = """mount --bind "$HOME/fuse" /dev/fuse
exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec '
    cd; ./raftfs notes; mkdir notes/dir; echo hello >notes/dir/file; cat notes/dir/file; stat -c %u:%g notes/dir; fusermount3 -u notes'"""
        done = run(["unshare", "--mount", "sh", "-ec", script], env.dir, env={"HOME": home, "XDG_DATA_HOME": f"{home}/data"}, cwd=home)
        equal((done.returncode, text_of(done)), (0, "hello\n65534:65534\n"), "what he sees")


def test_wrong_values_of_options_are_refused_by_name(env, shared):
    path = env.dir / "mnt"
    path.mkdir()
    for options in ("uid=root", "uid=", "gid=-1", "umask=888", "umask=01000", "subdir=", "subdir=a//b", "subdir=a/../b",
                    "read=fast", "commit=never", "id=0", "timeout", "remount", "sync2"):
        for argv in ([program("raftfs"), path, "--cluster", shared.cluster.toml], [program("mount.raftfs"), shared.cluster.toml, path]):
            done = run([*argv, "-o", f"rw,{options}"], env.dir)
            equal(done.returncode, 2, f"exit code of -o {options}: {text_of(done)}")
            check(f"-o {options}" in text_of(done), f"-o {options} is not named: {text_of(done)}")
    check(not is_mounted(path), "something is mounted after a refusal")


def test_mount_raftfs_takes_what_mount_8_gives_it(env, shared):
    there, _ = shared.fresh()
    put(there / "file", b"x")
    path = env.dir / "mnt-helper"
    path.mkdir()
    toml = shared.cluster.toml
    done = helper(env, toml, path, "-f", "-o", "rw,no_such_option")
    equal(done.returncode, 2, "exit code with an unknown option")
    done = helper(env, toml, path, "-f", "-v", "-n", "-s", "-o", "rw,no_such_option", "-t", "raftfs")
    equal(done.returncode, 0, f"exit code of a sloppy mount that is only tried: {text_of(done)}")
    check(not is_mounted(path), "mount.raftfs -f mounted something")
    done = helper(env, env.dir / "gone.toml", path, "-o", "rw")
    equal(done.returncode, 2, f"exit code without the cluster file: {text_of(done)}")
    check("gone.toml" in text_of(done), f"the missing cluster file is not named: {text_of(done)}")
    for args in ([toml], [toml, path, "surplus"], ["", path], [toml, path, "-x"]):
        equal(helper(env, *args).returncode, 2, f"exit code of mount.raftfs {args}")
    done = helper(env, toml, path, "-o", "rw,_netdev,nofail,noauto,user,x-systemd.automount,timeout=5")
    equal(done.returncode, 0, f"exit code of mount.raftfs: {text_of(done)}")
    equal((path / there.name / "file").read_bytes(), b"x", "a file read through it")
    equal(source_of(path), str(toml), "what stands for a device")
    unmount(path)


@limit(60)
def test_fstab_mount_and_umount_work_as_for_any_file_system(env, shared):
    """In a mount namespace of its own, with mount.raftfs where mount(8) looks for it."""
    there, _ = shared.fresh()
    put(there / "file", b"from fstab")
    path, upper, work = (env.dir / n for n in ("mnt-fstab", "upper", "work"))
    for d in (path, upper, work):
        d.mkdir()
    os.symlink(BIN / "mount.raftfs", upper / "mount.raftfs")
    fstab = env.dir / "fstab"
    fstab.write_text(f"{shared.cluster.toml} {path} raftfs _netdev,nofail,noexec,subdir={there.name} 0 0\n")
    script = f"""set -e
mount -t tmpfs none {work.parent}/work && mkdir {work}/u {work}/w && cp -P {upper}/mount.raftfs {work}/u/
mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir={work}/u,workdir={work}/w /usr/sbin
mount -T {fstab} {path}
cat {path}/file; echo
mount -a -T {fstab}
grep -c ' {path} ' /proc/self/mountinfo
umount {path}
mount -t raftfs {shared.cluster.toml} {path} -o ro,noatime
cat {path}/{there.name}/file; echo
touch {path}/{there.name}/file 2>&1 || echo refused
umount {path}
grep -c ' {path} ' /proc/self/mountinfo || true
"""
    done = run(["unshare", "-m", "sh", "-c", script], env.dir, 40)
    equal(done.returncode, 0, f"exit code of the script: {text_of(done)}")
    lines = done.stdout.decode().splitlines()
    equal(lines[:3], ["from fstab", "1", "from fstab"], "what the script printed")
    check("Read-only file system" in lines[3], f"touch on a read-only mount said {lines[3]}")
    equal(lines[4:], ["refused", "0"], "the end of what the script printed")


@limit(60)
def test_local_reads_need_no_quorum_and_see_what_this_mount_wrote(env):
    with env.cluster() as cluster:
        mount = cluster.mount("local", "read=local,timeout=2")
        check("reads: local\n" in (mount / ".raft" / "status").read_text(), ".raft/status does not say that reads are local")
        for i in range(200): # whichever node answers, it has to have what was written
            put(mount / f"key{i % 5}", b"%d" % i)
            equal((mount / f"key{i % 5}").read_bytes(), b"%d" % i, "what this mount wrote a moment ago")
        strict = cluster.mount("strict", "timeout=1")
        check("reads: linearizable\n" in (strict / ".raft" / "status").read_text(), ".raft/status does not say linearizable")
        cluster.wait_agreed()
        leader = cluster.wait_leader()
        others = [id for id in cluster.ids if id != leader]
        cluster.kill(leader, others[0])
        wait_for(lambda: errno_of((strict / "key0").read_bytes) == "ETIMEDOUT", 10, "linearizable reads to fail")
        equal((mount / "key4").read_bytes(), b"199", "a local read without a quorum")
        equal(sorted(os.listdir(mount.path)), [f"key{i}" for i in range(5)], "a listing without a quorum")
        check(errno_of(put, mount / "key0", b"new") in ("EROFS", "ETIMEDOUT"), "a write without a quorum")
        cluster.start()
        cluster.wait_ready()
        wait_for(lambda: errno_of(put, mount / "key0", b"back") == "ok", 10, "a write with a quorum")
        equal((mount / "key0").read_bytes(), b"back", "what was written with a quorum")


@limit(60)
def test_a_node_that_has_just_started_does_not_pass_for_an_empty_file_system(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "key", "x")
        cluster.kill(*cluster.ids)
        cluster.start(1) # what it has in its state may be anything up to nothing, and there is nobody to ask
        path = env.dir / "mnt"
        path.mkdir()
        done = run([program("raftfs"), path, "--cluster", cluster.toml, "-o", "read=local,timeout=1.5"], env.dir)
        equal(done.returncode, 3, f"exit code of a mount whose only node has just started: {text_of(done)}")
        cluster.start()
        cluster.wait_ready()
        mount = cluster.mount("local", "read=local,timeout=5")
        equal(os.listdir(mount.path), ["key"], "the root once there was a quorum")
        cluster.kill(cluster.wait_leader())
        cluster.wait_ready()
        cluster.kill(cluster.wait_leader())
        for _ in range(20): # the one that is left, whichever it is
            equal((mount / "key").read_bytes(), b"x", "a read from the last node")
        cluster.start()
        cluster.wait_ready()


@limit(60)
def test_local_reads_leave_a_node_that_hangs(env):
    with env.cluster() as cluster:
        mount = cluster.mount("local", "read=local,timeout=5")
        put(mount / "key", b"x")
        cluster.wait_agreed()
        for id in cluster.ids:
            cluster.pause(id)
            begin = time.monotonic()
            try:
                equal((mount / "key").read_bytes(), b"x", f"a local read while node {id} hangs")
                took = time.monotonic() - begin
                check(took < slow(2), f"a local read took {took:.1f} s while node {id} hangs")
            finally:
                cluster.resume(id)
            cluster.wait_ready()

"""raftfs in its three forms: how it begins, what its exit code says, how it ends; and the story in raftd's log."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from harness import (Cluster, Mount, Proc, check, cluster_toml, detach, equal, errno_of, free_ports, is_mounted, limit,
                     need_fuse, program, run, text_of, wait_for)


def mountpoint(env, name="mnt-here"):
    need_fuse()
    path = env.dir / name
    path.mkdir(exist_ok=True)
    return path


def raftfs(test, *args, seconds=20, **more):
    return run([program("raftfs"), *args], test.dir, seconds, **more)


def pid_of_mount(path):
    """The raftfs process, daemonized or not, that was started with this mount point; None if there is none."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                state = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if words[0].endswith(b"raftfs") and os.fsencode(str(path)) in words and state != "Z":
                return int(entry)
    return None


def wait_gone(path, pid, what):
    wait_for(lambda: not is_mounted(path), 5, f"the mount to go after {what}")
    wait_for(lambda: pid_of_mount(path) is None, 10, f"raftfs (pid {pid}) to end after {what}")


def test_wrong_options_of_raftfs_are_refused_with_2(env):
    path = mountpoint(env)
    toml = env.dir / "cluster.toml"
    toml.write_text(cluster_toml("demo", {1: free_ports(1)[0]}))
    for args, word in (([], "mountpoint"), ([path, "surplus"], "surplus"), ([path, "--no-such"], "--no-such"),
                       ([path, "-o", "no_such_option"], "no_such_option"), ([path, "-o", "timeout=soon"], "timeout"),
                       ([path, "-o", "timeout=0"], "timeout"), ([path, "-o", "timeout=-1"], "timeout"),
                       ([path, "-o", "commit=never"], "commit"), ([path, "--id", "x"], "x"), ([path, "--cluster"], "--cluster"),
                       ([path, "--cluster", toml, "--id", "9"], "9"), ([path, "--cluster", env.dir / "gone.toml"], "gone.toml"),
                       ([path, "--log-level", "loud"], "loud")):
        done = raftfs(env, *args, cwd=env.dir)
        equal(done.returncode, 2, f"exit code of raftfs {' '.join(map(str, args))}: {text_of(done)}")
        check(word in text_of(done), f"raftfs {' '.join(map(str, args))} does not name {word!r}: {text_of(done)}")
        check(not is_mounted(path), "something is mounted after a refusal")
    done = raftfs(env, "--help")
    equal(done.returncode, 0, "exit code of raftfs --help")
    for word in ("--cluster", "--id", "timeout=", "-f"):
        check(word in done.stdout.decode(), f"raftfs --help does not tell of {word}")
    equal(raftfs(env, "--version").returncode, 0, "exit code of raftfs --version")


def test_a_missing_mountpoint_or_one_that_is_a_file_gives_32(env):
    with env.cluster(n=1) as cluster:
        (env.dir / "file").write_text("x")
        for path in (env.dir / "absent", env.dir / "file", env.dir / "file" / "below"):
            done = raftfs(env, path, "--cluster", cluster.toml)
            equal(done.returncode, 32, f"exit code of raftfs {path}: {text_of(done)}")
            check(path.name in text_of(done), f"the mount point is not named: {text_of(done)}")
        equal((env.dir / "file").read_text(), "x", "the file in the way")


@limit(60)
def test_without_a_quorum_the_mount_fails_in_time_with_3_and_leaves_nothing(env):
    path = mountpoint(env)
    toml = env.dir / "cluster.toml"
    toml.write_text(cluster_toml("demo", dict(zip((1, 2, 3), free_ports(3)))))
    for form in ([], ["-f"]):
        begin = time.monotonic()
        done = raftfs(env, path, "--cluster", toml, "-o", "timeout=1", *form)
        equal(done.returncode, 3, f"exit code without any node: {text_of(done)}")
        check(text_of(done), "nothing was said")
        check(time.monotonic() - begin < 10, "it took more than 10 s")
        check(not is_mounted(path) and pid_of_mount(path) is None, "a mount or a process is left")
        equal(os.listdir(path), [], "names at the mount point")


@limit(60)
def test_raftfs_exits_0_only_when_the_mount_answers(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "color", "blue")
        path = mountpoint(env)
        for _ in range(10):
            done = raftfs(env, path, "--cluster", cluster.toml)
            equal(done.returncode, 0, f"exit code: {text_of(done)}")
            equal((path / "color").read_bytes(), b"blue", "the first read right after the exit")
            pid = pid_of_mount(path)
            check(pid, "no raftfs process serves the mount")
            os.kill(pid, signal.SIGTERM)
            wait_gone(path, pid, "SIGTERM")
        equal(os.listdir(path), [], "names at the mount point")


def test_the_daemon_holds_neither_terminal_nor_pipes_nor_the_folder_it_was_started_in(env):
    with env.cluster(n=1) as cluster:
        path = mountpoint(env)
        folder = env.dir / "folder"
        folder.mkdir()
        begin = time.monotonic()
        # subprocess waits for the end of both pipes: a daemon that kept one would keep us here
        done = raftfs(env, os.path.relpath(path, folder), "--cluster", os.path.relpath(cluster.toml, folder), cwd=folder)
        equal(done.returncode, 0, f"exit code: {text_of(done)}")
        check(time.monotonic() - begin < 10, "the daemon keeps the pipes open")
        check(is_mounted(path), "not mounted at the place named by a relative path")
        pid = next(int(e) for e in os.listdir("/proc") if e.isdigit() and is_raftfs_below(int(e), env.dir))
        check(os.readlink(f"/proc/{pid}/cwd") == "/", f"the daemon stands in {os.readlink(f'/proc/{pid}/cwd')}")
        check(os.getsid(pid) != os.getsid(0), "the daemon is in our session")
        (path / "f").write_text("x")
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not is_mounted(path), 5, "the mount to go")


def is_raftfs_below(pid, directory):
    """Is it a raftfs whose sanitizer reports would go below `directory`, that is, one started by this test?"""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[0].endswith(b"raftfs") and os.fsencode(str(directory)) in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@limit(60)
def test_fusermount_and_umount_end_the_process(env):
    with env.cluster(n=1) as cluster:
        path = mountpoint(env)
        for command in (["fusermount3", "-u"], ["umount"], ["umount", "-l"]):
            equal(raftfs(env, path, "--cluster", cluster.toml).returncode, 0, "exit code")
            (path / "f").write_text(command[0])
            pid = pid_of_mount(path)
            done = subprocess.run([*command, str(path)], capture_output=True)
            equal(done.returncode, 0, f"exit code of {' '.join(command)}: {text_of(done)}")
            wait_gone(path, pid, " ".join(command))
        m = Mount(cluster.directory, "front", ["--cluster", cluster.toml])
        subprocess.run(["fusermount3", "-u", str(m.path)], check=True)
        equal(m.proc.wait(10), 0, "exit code of raftfs -f after fusermount3 -u")


@limit(60)
def test_signals_end_it_cleanly_even_while_requests_wait_and_files_are_open(env):
    with env.cluster() as cluster:
        m = cluster.mount("a")
        (m / "f").write_text("x")
        for number in (signal.SIGTERM, signal.SIGINT):
            fd = os.open(m / "f", os.O_RDWR)
            m.proc.signal(number)
            equal(m.proc.wait(10), 0, f"exit code after signal {number} with a file open")
            check(not is_mounted(m.path), f"still mounted after signal {number}")
            check(errno_of(os.pread, fd, 1, 0) in ("ENOTCONN", "ECONNABORTED", "EIO"), "the open file still answers")
            check(errno_of(os.close, fd) in ("ok", "ENOTCONN"), "close of a file whose mount is gone")
            m.start()
        leader = cluster.wait_leader()
        cluster.kill(*[id for id in cluster.ids if id != leader])
        waiting = subprocess.Popen(["cat", m / "f"], stderr=subprocess.DEVNULL)
        wait_for(lambda: Path(f"/proc/{waiting.pid}/wchan").read_text() == "request_wait_answer", 5, "cat to wait")
        begin = time.monotonic()
        m.proc.terminate(10)
        check(time.monotonic() - begin < 5, "SIGTERM took more than 5 s while a request waited")
        check(waiting.wait(5) != 0, "a read that could not be done succeeded")


def test_a_raftfs_that_waits_for_a_quorum_can_be_killed_at_once(env):
    """Its own question whether the mount answers must not keep it from dying. (Without a node of its own it mounts only
    once the cluster has answered.)"""
    toml = env.dir / "cluster.toml"
    toml.write_text(cluster_toml("demo", dict(zip((1, 2, 3), free_ports(3)))))
    for number, code in ((signal.SIGTERM, 32), (signal.SIGKILL, -9)):
        m = Mount(env.dir, "waiting", ["--cluster", toml, "--id", 1], wait=False)
        wait_for(lambda: is_mounted(m.path), 5, "the mount to appear")
        wait_for(lambda: any_waits_for(m.proc.pid), 5, "raftfs to wait for the mount's first answer")
        m.proc.signal(number)
        equal(m.proc.wait(3), code, f"exit code after signal {number}")
        detach(m.path)


def any_waits_for(pid):
    """Does a thread or a child of this process wait for an answer of a mount?"""
    waiting = [Path(f"/proc/{pid}/task/{t}/wchan") for t in os.listdir(f"/proc/{pid}/task")]
    waiting += [Path(f"/proc/{c}/wchan") for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return any(w.read_text() == "request_wait_answer" for w in waiting if w.exists())


def test_a_dead_mount_of_a_killed_predecessor_is_cleared(env):
    with env.cluster(n=1) as cluster:
        m = cluster.mount("a")
        (m / "f").write_text("x")
        m.proc.kill() # the mount stays behind: "Transport endpoint is not connected"
        check(is_mounted(m.path), "the mount went with its process: nothing to test")
        equal(errno_of(os.stat, m.path), "ENOTCONN", "stat of the dead mount")
        done = raftfs(env, m.path, "--cluster", cluster.toml)
        equal(done.returncode, 0, f"exit code over a dead mount: {text_of(done)}")
        equal((m / "f").read_text(), "x", "content")
        pid = pid_of_mount(m.path)
        os.kill(pid, signal.SIGTERM)
        wait_gone(m.path, pid, "SIGTERM")
        check(not is_mounted(m.path), "the dead mount is still below")


def test_what_lies_open_in_a_killed_mount_fails_and_its_session_is_no_hindrance(env):
    with env.cluster(n=1) as cluster:
        m = cluster.mount("a")
        fd = os.open(m / "f", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"kept")
        m.kill()
        equal(errno_of(os.write, fd, b"lost"), "ENOTCONN", "a write through a handle of the dead mount")
        check(errno_of(os.close, fd) in ("ok", "ENOTCONN"), "close of a file whose mount is gone")
        m.start()
        equal((m / "f").read_bytes(), b"kept", "content")
        os.unlink(m / "f")


def test_a_mount_over_a_living_mount_is_refused_or_works_and_never_harms_the_first(env):
    with env.cluster(n=1) as cluster:
        m = cluster.mount("a")
        (m / "f").write_text("x")
        done = raftfs(env, m.path, "--cluster", cluster.toml)
        if done.returncode == 0:
            subprocess.run(["umount", str(m.path)], check=True)
        else:
            equal(done.returncode, 32, f"exit code over a living mount: {text_of(done)}")
        equal((m / "f").read_text(), "x", "content of the first mount")
        wait_for(lambda: m.proc.running(), 1, "the first raftfs to run")


@limit(60)
def test_without_a_cluster_file_an_embedded_node_is_started_and_keeps_its_data(env):
    check(not os.path.exists("/etc/raftfs/cluster.toml"), "this machine has /etc/raftfs/cluster.toml: cannot be tested here")
    path = mountpoint(env)
    home = env.dir / "data-home"
    home.mkdir()
    nowhere = env.dir / "nowhere"
    nowhere.mkdir()
    where = {"XDG_DATA_HOME": str(home), "HOME": str(env.dir)}
    for round in range(3):
        done = raftfs(env, path, env=where, cwd=nowhere)
        equal(done.returncode, 0, f"exit code: {text_of(done)}")
        if round:
            equal((path / "color").read_text(), f"blue {round - 1}\n", "content after a restart")
        (path / "color").write_text(f"blue {round}\n")
        check((home / "raftfs").is_dir(), f"nothing was made in {home}/raftfs")
        done = run([program("raftctl"), "get", "color"], env.dir, env=where, cwd=nowhere)
        equal((done.returncode, done.stdout), (0, b"blue %d\n" % round), f"raftctl get by itself: {text_of(done)}")
        done = run([program("raftctl"), "set", "shape", "round"], env.dir, env=where, cwd=nowhere)
        equal(done.returncode, 0, f"exit code of raftctl set: {text_of(done)}")
        equal((path / "shape").read_bytes(), b"round", "what raftctl set")
        second = mountpoint(env, "mnt-second")
        done = raftfs(env, second, env=where, cwd=nowhere)
        check(done.returncode == 0 or text_of(done), "a second mount of the same store was refused without a word")
        if done.returncode == 0:
            equal((second / "shape").read_bytes(), b"round", "content through the second mount")
            os.kill(pid_of_mount(second), signal.SIGTERM)
            wait_gone(second, 0, "SIGTERM")
        pid = pid_of_mount(path)
        os.kill(pid, (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)[round]) # the second time without a farewell
        if round == 1:
            wait_for(lambda: pid_of_mount(path) is None, 5, "SIGKILL")
        else:
            wait_gone(path, pid, "the signal")
    done = run([program("raftctl"), "get", "color"], env.dir, env=where, cwd=nowhere)
    check(done.returncode in (2, 3), f"raftctl get with nobody there: exit code {done.returncode}: {text_of(done)}")


@limit(60)
def test_three_raftfs_with_id_are_a_cluster_of_mount_and_node_each(env):
    with Cluster(env.dir / "cluster", 3, start=False) as cluster:
        for id in cluster.ids:
            cluster.mounts[str(id)] = Mount(cluster.directory, str(id), ["--cluster", cluster.toml, "--id", str(id)], wait=False)
        for m in cluster.mounts.values():
            m.wait_answer()
        one, two, three = cluster.mounts.values()
        (one / "color").write_text("blue")
        for m in (one, two, three):
            equal((m / "color").read_text(), "blue", f"content through mount {m.name}")
        equal(set(cluster.status()), {1, 2, 3}, "nodes that answer")
        leader = str(cluster.wait_leader())
        cluster.mounts[leader].kill() # mount and node die together
        others = [m for name, m in cluster.mounts.items() if name != leader]
        (others[0] / "color").write_text("red")
        equal((others[1] / "color").read_text(), "red", "content with two of three left")
        cluster.mounts[leader].start()
        equal((cluster.mounts[leader] / "color").read_text(), "red", "content through the mount that came back")


def test_raftd_and_raftfs_with_the_same_id_refuse_each_other(env):
    with env.cluster(n=1) as cluster:
        path = mountpoint(env)
        done = raftfs(env, path, "--cluster", cluster.toml, "--id", 1)
        check(done.returncode in (4, 1), f"exit code of raftfs --id 1 beside raftd --id 1: {done.returncode}: {text_of(done)}")
        check(not is_mounted(path), "mounted all the same")
        cluster.ctl("set", "x", "y")


@limit(60)
def test_allow_other_lets_others_in_as_far_as_modes_allow(env):
    with env.cluster(n=1) as cluster:
        for folder in [env.dir.parent, env.dir, cluster.directory]:
            os.chmod(folder, 0o755)
        m = cluster.mount("a", "allow_other")
        os.chmod(m.path, 0o755)
        (m / "secret").write_text("x")
        os.chmod(m / "secret", 0o600)
        (m / "public").write_text("x")
        os.mkdir(m / "open")
        os.chmod(m / "open", 0o777)
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            steps = [errno_of((m / "public").read_text), errno_of((m / "secret").read_text), errno_of((m / "public").write_text, "y"),
                     errno_of((m / "new").write_text, "y"), errno_of((m / "open" / "mine").write_text, "y"),
                     errno_of(os.unlink, m / "public"), errno_of(os.chmod, m / "public", 0o777),
                     errno_of((m / ".raft" / "status").read_text)]
            os.write(1, json.dumps(steps).encode() + b"\n")
            os._exit(0 if steps == ["ok", "EACCES", "EACCES", "EACCES", "ok", "EACCES", "EPERM", "ok"] else 1)
        _, status = os.waitpid(pid, 0)
        equal(status, 0, "status of the process of another user (what it got is printed above)")
        equal(os.stat(m / "open" / "mine").st_uid, 65534, "owner of what the other user made")


def test_a_read_only_mount_reads_and_refuses_changes(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "color", "blue")
        m = cluster.mount("ro", "ro")
        equal((m / "color").read_bytes(), b"blue", "content")
        equal(errno_of((m / "color").write_text, "red"), "EROFS", "a write")
        equal(errno_of(os.mkdir, m / "d"), "EROFS", "mkdir")


def test_without_dev_fuse_the_error_names_it(env):
    """In a mount namespace of its own, with /dev/fuse hidden by /dev/null."""
    with env.cluster(n=1) as cluster:
        path = mountpoint(env)
        script = 'mount --bind /dev/null /dev/fuse && exec "$0" "$@"'
        done = run(["unshare", "-m", "sh", "-c", script, program("raftfs"), path, "--cluster", cluster.toml], env.dir)
        equal(done.returncode, 32, f"exit code without /dev/fuse: {text_of(done)}")
        check("fuse" in text_of(done), f"raftfs said {text_of(done)!r}")


@limit(60)
def test_the_logs_tell_roles_votes_leaders_peers_and_recovery(env):
    with env.cluster() as cluster:
        old = cluster.wait_leader()
        cluster.ctl("set", "x", "y")
        cluster.kill(old)
        new = cluster.wait_leader([id for id in cluster.ids if id != old])
        cluster.start(old)
        cluster.wait_agreed()
        said = {id: cluster.nodes[id].said() for id in cluster.ids} # each since its first start
        check("-> leader, term" in said[old], f"node {old} does not tell that it became the leader")
        check("-> leader, term" in said[new], f"node {new} does not tell that it became the leader")
        third = next(id for id in cluster.ids if id not in (old, new))
        for id in (old, third):
            check(f"is node {new} at {cluster.address(new)}" in said[id], f"node {id} does not tell of the new leader")
        votes = [line for line in "\n".join(said.values()).splitlines() if "vote" in line]
        for word in ("given to node", "gave its", "pre-vote", "asking for votes"):
            check(any(word in line for line in votes), f"no log tells of {word!r}")
        for id in (new, third):
            check(f"node {old}" in said[id] and any(w in said[id] for w in ("down", "lost", "disconnected")),
                  f"node {id} does not tell that its peer went")
        check("recover" in said[old].lower(), f"node {old} does not tell what it recovered")
        for id, text in said.items():
            for line in text.splitlines():
                check(len(line) < 400, f"a line of {len(line)} bytes in the log of node {id}")
                check(line[:4].isdigit() and line[4] == "-" and f"raftd {id}" in line, f"no time or no name: {line!r}")
                check(" E " not in line[:30], f"an error in an ordinary story: {line!r}")
        cluster.stop(third)
        quiet = Proc("raftd quiet", [program("raftd"), "--cluster", cluster.toml, "--id", third, "--log-level", "error"],
                     env.dir / "quiet.log")
        wait_for(lambda: third in cluster.status(), 5, "the quiet node to answer")
        quiet.terminate()
        equal(quiet.said(), "", "what a node says with --log-level error")


def test_sigterm_ends_raftd_with_0_and_sigint_too(env):
    with env.cluster(n=1) as cluster:
        for number in (signal.SIGTERM, signal.SIGINT):
            cluster.ctl("set", "n", str(int(number)))
            for _ in range(50): # impatience changes nothing
                cluster.nodes[1].signal(number)
                time.sleep(0.001)
            equal(cluster.nodes[1].wait(10), 0, f"exit code after signal {number}")
            cluster.start()
            cluster.wait_ready()
            equal(cluster.ctl("get", "n").stdout, str(int(number)).encode(), "a key after the restart")


def test_a_mount_with_a_node_stays_until_the_others_come(env):
    """Started one after the other: the first one finds no quorum, says so with 3, and becomes part of it."""
    with Cluster(env.dir / "cluster", 3, start=False) as cluster:
        paths = [mountpoint(env, f"m{id}") for id in cluster.ids]
        codes = []
        try:
            for id, path in zip(cluster.ids, paths):
                codes.append(raftfs(env, path, "--cluster", cluster.toml, "--id", id, "-o", "timeout=1").returncode)
            equal(codes, [3, 0, 0], "exit codes in their order")
            (paths[1] / "color").write_text("blue")
            equal((paths[0] / "color").read_text(), "blue", "content through the mount that had to wait")
        finally:
            for path in paths:
                subprocess.run(["fusermount3", "-u", str(path)], capture_output=True)


@limit(60)
def test_a_write_by_another_user_takes_set_id_bits_away(env):
    with env.cluster(n=1) as cluster:
        for folder in [env.dir.parent, env.dir, cluster.directory]:
            os.chmod(folder, 0o755)
        m = cluster.mount("a", "allow_other")
        os.chmod(m.path, 0o755)
        for script in ("echo z >> {}", "echo z > {}", ": > {}"):
            (m / "f").write_text("#!/bin/sh\n")
            os.chmod(m / "f", 0o6777)
            done = subprocess.run(["sh", "-c", script.format(m / "f")], user=1234, group=1234, extra_groups=[])
            equal(done.returncode, 0, f"exit code of {script}")
            equal(oct(os.stat(m / "f").st_mode & 0o7777), oct(0o777), f"mode after {script}")
        os.chmod(m / "f", 0o6777)
        (m / "f").write_text("by root")
        equal(oct(os.stat(m / "f").st_mode & 0o7777), oct(0o6777), "mode after a write by root")


def test_closed_standard_descriptors_hurt_nobody(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "k", "v")
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            path = mountpoint(env, "closed")
            code = subprocess.run(["bash", "-c", f"{program('raftfs')} {path} --cluster {cluster.toml} {closed}"]).returncode
            equal(code, 0, f"exit code of raftfs {closed}")
            equal((path / "k").read_text(), "v", f"content through a mount started with {closed}")
            subprocess.run(["fusermount3", "-u", str(path)], check=True)
            code = subprocess.run(["bash", "-c", f"{program('raftctl')} --cluster {cluster.toml} get k {closed}"],
                                  capture_output=True).returncode
            check(code in (0, 1), f"exit code of raftctl get {closed}: {code}")

"""What is shipped with the programs: manuals, units, completion, `make install`, and the word to systemd."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from harness import TREE, check, cluster_toml, equal, free_ports, program, run, sanitizer_env, text_of, wait_for

MANUALS = TREE / "docs" / "man"


def manual(name):
    """A manual's text without roff: "\\-" is a dash, font changes are nothing."""
    text = (MANUALS / name).read_text()
    text = re.sub(r"\\f[BIRP]|\\\"|\"", "", text.replace("\\-", "-"))
    return re.sub(r"^\.[A-Z]+ ?", "", text, flags=re.M)


def help_of(env, name, *command):
    done = run([program(name), *command, "--help"], env.dir)
    equal(done.returncode, 0, f"exit code of {name} {' '.join(command)} --help")
    return done.stdout.decode()


def options_in(text):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))


def test_every_option_stands_in_the_manual(env):
    for name, page in (("raftd", "raftd.1"), ("raftfs", "raftfs.1"), ("raftctl", "raftctl.1")):
        lines = [l for l in help_of(env, name).splitlines() if l.lstrip().startswith("-")]
        options = options_in(" ".join(re.split(r"\s{2,}", l.strip())[0] for l in lines))
        missing = options - options_in(manual(page))
        equal(missing, set(), f"options of {name} --help that {page} does not have")
    helped = set(re.findall(r"-o ([a-z_]+=?)", help_of(env, "raftfs"))) | {"gid=", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "sync", "dirsync", "_netdev", "nofail", "noauto", "user"}
    text = manual("raftfs.1")
    for option in helped:
        check(re.search(rf"(?<!\w){option}(?!\w)" if option[-1] != "=" else option, text), f"raftfs.1 does not have the mount option {option}")
    known = re.findall(r'^ {8}\{"([a-z]+=)"|\{"([a-z]+=)", take', (TREE / "fuse" / "mount_option.c").read_text(), flags=re.M)
    for option in {a or b for a, b in known}:
        check(option in text, f"raftfs.1 does not have the mount option {option}")


def test_every_command_of_raftctl_and_its_options_stand_in_the_manual(env):
    text = manual("raftctl.1")
    commands = re.findall(r"^  ([a-z][a-z-]*)", help_of(env, "raftctl").split("commands:")[1].split("\n\n")[0], flags=re.M)
    check(len(commands) > 5, f"only these commands were found: {commands}")
    for command in set(commands):
        check(re.search(rf"^(.*, )?{command}\b", text, flags=re.M), f"raftctl.1 does not have the command {command}")
        own = help_of(env, "raftctl", command).split("\noptions:\n")[-1]
        missing = options_in(" ".join(re.split(r"\s{2,}", l.strip())[0] for l in own.splitlines())) - options_in(text)
        equal(missing, set(), f"options of raftctl {command} that raftctl.1 does not have")


def test_every_key_of_the_cluster_file_stands_in_its_manual():
    source = (TREE / "src" / "config" / "config.c").read_text()
    keys = {k for block in re.findall(r"known\[\] = \{(.*?)\}", source, flags=re.S) for k in re.findall(r'"([a-z_]+)"', block)}
    text = manual("cluster.toml.5")
    for key in keys:
        check(re.search(rf"\b{key}\b", text), f"cluster.toml.5 does not have {key}")


def test_the_manuals_are_well_formed(env):
    if shutil.which("man") is None:
        env.note("skipped: no man(1) here")
        return
    for page in sorted(MANUALS.iterdir()):
        done = run(["man", "--warnings", "-E", "UTF-8", "-l", page], env.dir, env={"MANWIDTH": "100", "MAN_KEEP_STDERR": "1"})
        equal((done.returncode, done.stderr.decode()), (0, ""), f"what man says of {page.name}")


def test_make_install_puts_everything_in_its_place(env):
    root = env.dir / "root"
    done = run(["make", "-C", TREE, "-o", program("raftd"), "install-files", f"DESTDIR={root}", "PREFIX=/usr", f"PROGRAMS={program('raftd')} {program('raftfs')} {program('raftctl')}"], env.dir, 30)
    equal(done.returncode, 0, f"exit code of make install-files: {text_of(done)}")
    for path, mode in (("usr/bin/raftd", 0o755), ("usr/bin/raftfs", 0o755), ("usr/bin/raftctl", 0o755), ("usr/lib/systemd/system/raftd@.service", 0o644),
                       ("usr/lib/sysusers.d/raftfs.conf", 0o644), ("usr/lib/tmpfiles.d/raftfs.conf", 0o644), ("usr/share/man/man8/mount.raftfs.8", 0o644),
                       ("usr/share/man/man5/cluster.toml.5", 0o644), ("usr/share/bash-completion/completions/raftctl", 0o644),
                       ("usr/share/doc/raftfs/operations.md", 0o644), ("usr/share/doc/raftfs/examples/three-hosts.toml", 0o644)):
        check((root / path).is_file(), f"{path} is not installed")
        equal((root / path).stat().st_mode & 0o777, mode, f"mode of {path}")
    equal((root / "usr/sbin/mount.raftfs").resolve(), (root / "usr/bin/raftfs").resolve(), "what mount.raftfs is")
    equal(run([root / "usr/sbin/mount.raftfs", "--version"], env.dir).returncode, 0, "exit code of mount.raftfs --version")
    check("ExecStart=/usr/bin/raftd " in (root / "usr/lib/systemd/system/raftd@.service").read_text(), "the unit does not run the installed raftd")


def test_the_units_pass_systemd_analyze_verify(env):
    if shutil.which("systemd-analyze") is None:
        env.note("skipped: no systemd-analyze here")
        return
    unit = env.dir / "raftd@.service"
    unit.write_text((TREE / "contrib/systemd/raftd@.service").read_text().replace("@bindir@", str(Path(program("raftd")).parent)))
    mount = env.dir / "mnt-raft.mount"
    shutil.copy(TREE / "contrib/systemd/mnt-raft.mount", mount)
    manuals = env.dir / "man"
    for page in MANUALS.iterdir():
        (manuals / f"man{page.suffix[1:]}").mkdir(parents=True, exist_ok=True)
        shutil.copy(page, manuals / f"man{page.suffix[1:]}")
    done = run(["systemd-analyze", "verify", "--recursive-errors=no", env.dir / "raftd@1.service", mount], env.dir, 60,
               env={"MANPATH": str(manuals), "SYSTEMD_UNIT_PATH": f"{env.dir}:"})
    equal((done.returncode, text_of(done)), (0, ""), "what systemd-analyze verify says")


def test_the_examples_are_good_cluster_files(env):
    for path in [TREE / "cluster.toml", *sorted((TREE / "examples").glob("*.toml"))]:
        done = run([program("raftctl"), "config", "check", path], env.dir)
        equal(done.returncode, 0, f"raftctl config check {path.name}: {text_of(done)}")


def test_raftd_tells_systemd_that_it_is_ready_only_once_it_has_a_leader(env):
    with env.cluster(start=False) as cluster:
        name = f"raftfs-e2e-{os.getpid()}" # an abstract address: paths of tests are too long for a socket
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind("\0" + name)
        s.setblocking(False)
        said = []

        def heard(word):
            while True:
                try:
                    said.append(s.recv(4096).decode())
                except BlockingIOError:
                    return word in said

        os.environ["NOTIFY_SOCKET"] = "@" + name
        try:
            cluster.start(1)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        wait_for(lambda: heard("STATUS=waits for a quorum"), 5, "the node to say that it waits")
        check("READY=1" not in said, f"ready without a leader: {said}")
        cluster.start(2)
        wait_for(lambda: heard("READY=1"), 5, "the node to say that it is ready")
        check(said.index("READY=1") > 0 and ("STATUS=leads" in said or "STATUS=follows node 2" in said), f"what it said: {said}")
        cluster.stop(1)
        wait_for(lambda: heard("STOPPING=1"), 5, "the node to say that it stops")
        equal(said.count("READY=1"), 1, "times it said that it is ready")


def complete(env, line, toml):
    """What bash offers for the last word of `line`."""
    words = line.split(" ")
    script = f"""
source {TREE}/contrib/completion/raftfs.bash
compopt() {{ :; }}
PATH={Path(program("raftctl")).parent}:$PATH RAFTFS_CLUSTER={toml}
export RAFTFS_CLUSTER
COMP_WORDS=({' '.join(f"'{w}'" for w in words)}) COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
_{words[0]} {words[0]} '{words[-1]}' '{words[-2]}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, env=sanitizer_env(env.dir))
    equal(done.stderr.decode(), "", f"what bash says on completing {line!r}")
    return set(done.stdout.decode().split())


def test_bash_completes_commands_options_and_keys(env):
    with env.cluster(n=1) as cluster:
        cluster.ctl("set", "app/db/url", "x")
        cluster.ctl("set", "apple", "x")
        toml = cluster.toml
        check({"status", "set", "show"} <= complete(env, "raftctl s", toml), "commands of raftctl")
        check({"--recursive", "--json"} <= complete(env, "raftctl delete --", toml), "options of a command")
        equal(complete(env, "raftctl get ap", toml), {"app/", "apple"}, "keys")
        equal(complete(env, "raftctl --timeout 5 get app/d", toml), {"app/db/"}, "keys in a directory")
        check({"list", "add", "remove"} <= complete(env, "raftctl member ", toml), "what member can do")
        check({"--id", "--data-dir"} <= complete(env, "raftd --", toml), "options of raftd")
        check("ro,subdir=" in complete(env, "raftfs /mnt -o ro,su", toml), "mount options")
        equal(complete(env, "raftd --log-level w", toml), {"warn"}, "levels")

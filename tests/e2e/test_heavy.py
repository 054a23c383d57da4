"""Programs that take minutes, or packages that `make test` does not install: with E2E_FULL=1 (make heavy).

stress-ng's file system stressors that are left out, and why:
  chroot, mount, fsname    work on the machine's own file systems, not in the directory they are given
  dev, devlist, loop       devices; a FUSE mount is nodev
  open, close, fd-fork     the descriptor table, with no more than one file in the directory
  verity, fiemap, io-uring, aio, aiol   ioctls that FUSE has not, or kernels that lack them: they skip themselves
  bind-mount, swap, quota  need what a FUSE file system cannot be (swap) or has not (quotactl)
"""

import os
import shutil
import subprocess

from harness import FULL, TREE, check, equal, limit, slow
from test_tools import tool

STRESSORS = """access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl file-ioctl filename
    flock fpunch fstat getdent handle hdd inode-flags inotify io iomix link locka lockf lockofd mknod mmap rename seek
    sendfile symlink sync-file touch utime xattr""".split()
GIT = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
       "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def shell(script, seconds=600, **env):
    """bash -e; gives what it printed."""
    done = subprocess.run(["bash", "-euc", script], capture_output=True, timeout=slow(seconds), text=True, env={**os.environ, **env})
    check(done.returncode == 0, f"exit code {done.returncode} of {script[:200]}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def need(program):
    check(shutil.which(program), f"{program} is missing: apt-get install {program}")


def everybody(env):
    """A cluster with two mounts that other users may enter."""
    cluster = env.cluster(3)
    for folder in (env.dir.parent, env.dir, cluster.directory):
        os.chmod(folder, 0o755)
    cluster.mount("a", "allow_other")
    cluster.mount("b", "allow_other")
    return cluster


if FULL:
    @limit(900)
    def test_this_repository_is_cloned_committed_to_collected_and_checked(env, shared):
        a, b = shared.fresh()
        tool_env = {**GIT, "A": str(a), "B": str(b), "SRC": str(TREE)}
        shell("""git clone -q "$SRC" $A/repo; cd $A/repo; echo more >> README.md; git commit -qam more; git fsck --full
                 cd $B/repo; test -z "$(git status --porcelain)"; git gc -q; git fsck --full
                 cd $A/repo; git checkout -q HEAD~3; cd $B/repo; git status --porcelain | grep -c . && exit 1; git log --oneline | head -1""",
              800, **tool_env)

    @limit(900)
    def test_fio_verifies_what_it_wrote(env, shared):
        need("fio")
        a, _ = shared.fresh()
        for engine, direct, size in (("psync", 0, "16m"), ("psync", 1, "16m"), ("libaio", 1, "32m"), ("mmap", 0, "4m")):
            shell(f"cd {a}; fio --name=v --rw=randwrite --bs=4k-64k --size={size} --verify=crc32c --verify_fatal=1 --direct={direct} "
                  f"--ioengine={engine} --iodepth=8 --thread; rm -f v.*", 300)

    @limit(2400)
    def test_stressors_of_file_systems(env, shared):
        need("stress-ng")
        a, b = shared.fresh()
        for name in STRESSORS:
            top = (a, b)[len(name) % 2] / name
            os.mkdir(top)
            shell(f"stress-ng --{name} 2 --timeout 5 --temp-path {top} --verify", 300)
            shutil.rmtree(top)

    @limit(900)
    def test_postgresql_lives_on_a_mount(env):
        folder = "/usr/lib/postgresql"
        check(os.path.isdir(folder), "postgresql is missing: apt-get install postgresql")
        with everybody(env) as cluster:
            out = shell("""mkdir $A/pg; chown postgres $A/pg; cd /
                su postgres -c "$P/initdb -D $A/pg -A trust --no-instructions" > /dev/null
                su postgres -c "$P/pg_ctl -D $A/pg -o '-k $A/pg -c listen_addresses=' -l $A/pg/log -w -t 300 start" > /dev/null
                su postgres -c "createdb -h $A/pg bench; $P/pgbench -h $A/pg -i -s 1 -q bench; $P/pgbench -h $A/pg -c 4 -T 20 bench"
                su postgres -c "psql -h $A/pg bench -Atc 'select sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts'"
                su postgres -c "$P/pg_ctl -D $A/pg -m fast -w -t 300 stop" > /dev/null""",
                        800, A=str(cluster.mounts["a"].path), P=f"{folder}/{sorted(os.listdir(folder))[-1]}/bin")
            equal("\nt\n" in out, True, f"the accounts agree with the history: {out[-500:]}")
            env.note(next(l for l in out.splitlines() if l.startswith("tps")))

    @limit(300)
    def test_vim_saves_through_its_backup(env, shared):
        need("vim")
        a, b = shared.fresh()
        (a / "text").write_text("hello\n")
        tool("vim", "-Nu", "NONE", "-es", "-c", "set backup backupskip= | s/hello/world/ | wq", a / "text")
        equal((b / "text").read_text(), "world\n", "the file")
        equal((b / "text~").read_text(), "hello\n", "its backup")
        equal(sorted(os.listdir(b)), ["text", "text~"], "names left")

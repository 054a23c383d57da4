"""Programs that take minutes, or packages that `make test` does not install: with E2E_FULL=1 (make heavy).

stress-ng's stressors of the classes filesystem and io that are left out, and why; each was tried:
  binderfs, class, eventfd, ioprio, procfs, rawdev    do nothing in the directory they are given
  bind-mount, umount, loop, quota, resources, chroot  change the machine: mounts, devices, memory
  exec         refuses to run as root
  fiemap, swap, verity    what FUSE has not; they skip themselves
  io-uring     fails on ext4, too (Linux 6.18)
"""

import os
import shutil
import subprocess

from harness import FULL, TREE, Proc, check, equal, free_ports, limit, slow, wait_for
from test_tools import tool

STRESSORS = """access aio aiol chattr chdir chmod chown close copy-file dentry dir dirdeep dirmany dnotify dup fallocate
    fanotify fault fcntl fifo file-ioctl filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix
    lease link locka lockf lockofd madvise mincore mknod mmap mmapfork mmapmany msync msyncmany open readahead remap rename
    revio seek sendfile symlink sync-file touch utime xattr""".split()
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
    def test_fio_verifies_what_it_wrote_here_and_through_the_other_mount(env, shared):
        need("fio")
        a, b = shared.fresh()
        for engine, direct, size in (("psync", 0, "16m"), ("psync", 1, "16m"), ("pvsync2", 1, "8m"), ("libaio", 1, "32m"), ("io_uring", 1, "32m"),
                                     ("posixaio", 0, "16m"), ("mmap", 0, "4m")):
            job = f"--name=v --rw=randwrite --bs=4k-64k --size={size} --verify=crc32c --verify_fatal=1 --direct={direct} " \
                  f"--ioengine={engine} --iodepth=8 --thread --randseed=7"
            shell(f"cd {a}; fio {job}; cd {b}; fio {job} --verify_only; rm -f v.*", 300)

    @limit(2400)
    def test_stressors_of_file_systems(env, shared):
        need("stress-ng")
        a, b = shared.fresh()
        for name in STRESSORS:
            top = (a, b)[len(name) % 2] / name
            os.mkdir(top)
            shell(f"unshare -m stress-ng --{name} 2 --timeout 5 --temp-path {top} --verify", 300)
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

    @limit(1800)
    def test_this_project_is_built_inside_a_mount(env, shared):
        a, b = shared.fresh()
        shell("""git clone -q "$SRC" $A/repo; cd $A/repo; make -s -j2 programs > /dev/null; make -q programs
                 cd $B/repo; make -q programs; bin/raftctl --version; make -s clean; test -z "$(git status --porcelain)" """,
              1700, **GIT, A=str(a), B=str(b), SRC=str(TREE))

    @limit(300)
    def test_vim_saves_through_its_backup(env, shared):
        need("vim")
        a, b = shared.fresh()
        (a / "text").write_text("hello\n")
        tool("vim", "-Nu", "NONE", "-es", "-c", "set backup backupskip= | s/hello/world/ | wq", a / "text")
        equal((b / "text").read_text(), "world\n", "the file")
        equal((b / "text~").read_text(), "hello\n", "its backup")
        equal(sorted(os.listdir(b)), ["text", "text~"], "names left")

    @limit(120)
    def test_a_mount_is_exported_over_nfs(env, shared):
        """By NFS-Ganesha, which works with handles; the client is libnfs. Neither needs anything of the kernel."""
        need("ganesha.nfsd")
        need("nfs-cp")
        a, b = shared.fresh()
        data, port = os.urandom(3_000_000), free_ports(1)[0]
        (a / "large").write_bytes(data)
        (env.dir / "recovery").mkdir()
        (env.dir / "small").write_bytes(data[:1000]) # nfs-cp fails with more, on ext4, too
        (env.dir / "ganesha.conf").write_text(f"""
            NFS_CORE_PARAM {{ NFS_Port = {port}; Bind_addr = 127.0.0.1; NFS_Protocols = 4;
                Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }}
            NFSv4 {{ Graceless = true; RecoveryRoot = {env.dir / "recovery"}; }}
            EXPORT {{ Export_Id = 1; Path = {shared.a.path}; Pseudo = /x; Access_Type = RW; Squash = None; Protocols = 4;
                Transports = TCP; SecType = sys; FSAL {{ Name = VFS; fsid_type = One64; }} }}""")
        log = env.dir / "ganesha.log"
        server = Proc("ganesha", ["ganesha.nfsd", "-F", "-f", env.dir / "ganesha.conf", "-L", log, "-p", env.dir / "ganesha.pid"], env.dir / "out.log")
        wait_for(lambda: log.exists() and "NFS SERVER INITIALIZED" in log.read_text(), 20, "NFS-Ganesha to be there")

        def url(name=""):
            return f"nfs://127.0.0.1/x/{a.name}/{name}?version=4&nfsport={port}"
        equal(tool("nfs-cat", url("large")) == data, True, "a file read over NFS is equal")
        tool("nfs-cp", env.dir / "small", url("made"))
        equal((b / "made").read_bytes(), data[:1000], "a file that was made over NFS, through the other mount")
        os.rename(b / "made", b / "moved")
        equal(tool("nfs-cat", url("moved")), data[:1000], "the file after a rename, over NFS")
        equal(sorted(line.split()[-1] for line in tool("nfs-ls", url()).decode().splitlines()), ["large", "moved"], "names over NFS")
        server.kill()

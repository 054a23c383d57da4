"""Many files at once, and the tools that people use every day."""

import hashlib
import os
import random
import sqlite3
import stat
import subprocess
import time

from harness import FULL, SLOW, check, equal, limit, slow

WRITERS = 16
FILES = 10_000 if FULL else 4_000 if SLOW <= 1 else 2_000 # fewer where sanitizers slow everything down
BIG_BYTES = 64 << 20


def contents(i):
    """What file number i holds: 0 to 64 KiB, the same in every process. Every size class gets its share."""
    rng = random.Random(i)
    size = rng.choice((0, rng.randrange(0, 200), rng.randrange(0, 4097), rng.randrange(0, 65537), 65536))
    return rng.randbytes(size)


def place_of(i):
    return f"{i % 16:x}/{i:05d}"


def big_piece(n):
    return random.Random(-n - 1).randbytes(1 << 20)


def write_share(root, w):
    for i in range(w, FILES, WRITERS):
        with open(root / place_of(i), "wb", buffering=0) as f:
            data = contents(i)
            at = 0
            while at < len(data):
                at += f.write(data[at:])
    if w == 0:
        with open(root / "big", "wb") as f:
            for n in range(BIG_BYTES >> 20):
                f.write(big_piece(n))


def in_processes(count, work, *args):
    pids = []
    for w in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(*args, w)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    equal(codes, [0] * count, "exit codes of the processes")


def compare_share(root, w):
    for i in range(w, FILES, 4):
        with open(root / place_of(i), "rb") as f:
            check(f.read() == contents(i), f"file {place_of(i)} differs")
    if w == 0:
        with open(root / "big", "rb") as f:
            for n in range(BIG_BYTES >> 20):
                check(f.read(1 << 20) == big_piece(n), f"MiB {n} of the big file differs")
            equal(f.read(1), b"", "bytes behind the big file's end")
        names = sorted(os.path.relpath(os.path.join(folder, name), root)
                       for folder, _, files in os.walk(root) for name in files)
        equal(names, sorted([place_of(i) for i in range(FILES)] + ["big"]), "all names")


@limit(150)
def test_thousands_of_files_and_a_big_one_compare_equal_on_the_other_mount_and_after_a_restart(env):
    """10,000 files of 0 to 64 KiB and one of 64 MiB, by 16 processes; 2,000 with E2E_SLOW above 1."""
    with env.cluster() as cluster:
        a, b = cluster.mount("a"), cluster.mount("b")
        os.mkdir(a / "many")
        for i in range(16):
            os.mkdir(a / "many" / f"{i:x}")
        begin = time.monotonic()
        in_processes(WRITERS, write_share, a / "many")
        written = time.monotonic()
        in_processes(4, compare_share, b / "many")
        compared = time.monotonic()
        cluster.wait_agreed(30)
        for m in (a, b):
            m.stop()
        cluster.stop()
        cluster.start()
        cluster.wait_ready(30)
        a.start()
        started = time.monotonic()
        in_processes(4, compare_share, a / "many")
        cluster.wait_agreed(30)
        env.note(f"{FILES} files and 64 MiB: written in {written - begin:.1f} s, compared in {compared - written:.1f} s, "
                 f"restarted in {started - compared:.1f} s, compared again in {time.monotonic() - started:.1f} s")


def tool(*argv, cwd=None, env=None):
    done = subprocess.run([str(a) for a in argv], cwd=cwd, capture_output=True, timeout=slow(60),
                          env={**os.environ, **(env or {})})
    equal(done.returncode, 0, f"exit code of {' '.join(map(str, argv))}: {(done.stdout + done.stderr)[-1500:]!r}")
    return done.stdout


def sample_tree(top):
    """A small tree with what archivers find hard: modes, times, links, holes, odd names."""
    rng = random.Random(1)
    os.makedirs(top / "sub" / "deeper")
    os.mkdir(top / "empty")
    for i in range(40):
        place = (top, top / "sub", top / "sub" / "deeper")[i % 3] / f"file {i}"
        place.write_bytes(rng.randbytes(rng.randrange(0, 100_000)))
        os.chmod(place, (0o644, 0o600, 0o755, 0o4711)[i % 4])
        os.utime(place, ns=(1_600_000_000_000_000_000 + i, 1_500_000_000_123_456_789 + i))
    os.symlink("sub/file 1", top / "link")
    os.symlink("/nowhere/at all", top / "dangling")
    os.link(top / "file 0", top / "sub" / "hard")
    with open(top / "holes", "wb") as f:
        f.seek(300_000)
        f.write(b"end")
    with open(os.fsencode(str(top)) + b"/n\xff\xfeme", "wb") as f:
        f.write(b"x")
    os.chmod(top / "sub", 0o750)
    for folder in ("sub/deeper", "sub", "empty", "."):
        os.utime(top / folder, ns=(1_400_000_000_000_000_000, 1_400_000_000_000_000_001))


def same_trees(got, wanted, what, top=True):
    """Same names, modes, owners, times, links and bytes; `top` false: the top's own times may differ."""
    (found, links), (found_wanted, links_wanted) = fingerprint(got), fingerprint(wanted)
    if not top:
        del found[b"."], found_wanted[b"."]
    equal(found, found_wanted, what)
    equal(links, links_wanted, f"hard links of {what}")


def fingerprint(top):
    found = {}
    raw = os.fsencode(str(top))
    inodes = {}
    for folder, dirs, files in os.walk(raw):
        for name in dirs + files + [b"."]:
            path = os.path.normpath(os.path.join(folder, name))
            st = os.lstat(path)
            what = [oct(st.st_mode), st.st_uid, st.st_gid]
            if os.path.islink(path):
                what.append(os.readlink(path))
            else:
                what.append(st.st_mtime_ns)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    what += [st.st_size, hashlib.sha256(f.read()).hexdigest()]
                if st.st_nlink > 1:
                    inodes.setdefault(st.st_ino, []).append(os.path.relpath(path, raw))
            found[os.path.relpath(path, raw)] = what
    return found, sorted(sorted(names) for names in inodes.values())


def test_tar_packs_and_unpacks(env, shared):
    a, b = shared.fresh()
    sample_tree(env.dir / "source")
    tool("tar", "--format=pax", "-cf", a / "x.tar", "-C", env.dir / "source", ".")
    os.mkdir(b / "out")
    tool("tar", "-xpf", b / "x.tar", "-C", b / "out")
    same_trees(a / "out", env.dir / "source", "the tree unpacked in the mount")
    tool("tar", "--format=pax", "-czf", env.dir / "back.tgz", "-C", a / "out", ".")
    os.mkdir(env.dir / "back")
    tool("tar", "-xpzf", env.dir / "back.tgz", "-C", env.dir / "back")
    same_trees(env.dir / "back", env.dir / "source", "the tree packed from the mount")


def test_cp_a_copies_in_within_and_out(env, shared):
    a, b = shared.fresh()
    sample_tree(env.dir / "source")
    tool("cp", "-a", env.dir / "source", a / "in")
    same_trees(b / "in", env.dir / "source", "the tree copied in")
    tool("cp", "-a", b / "in", b / "again")
    tool("cp", "-a", a / "again", env.dir / "out")
    same_trees(env.dir / "out", env.dir / "source", "the tree copied within the mount and out")
    tool("rm", "-r", a / "in", a / "again")
    equal(os.listdir(b), [], "names after rm -r")


def test_rsync_copies_updates_and_finds_nothing_left_to_do(env, shared):
    a, b = shared.fresh()
    sample_tree(env.dir / "source")
    tool("rsync", "-aH", f"{env.dir / 'source'}/", f"{a / 'copy'}/")
    same_trees(b / "copy", env.dir / "source", "the tree copied by rsync")
    equal(tool("rsync", "-aHi", "--checksum", f"{env.dir / 'source'}/", f"{b / 'copy'}/"), b"", "changes a second rsync finds")
    (env.dir / "source" / "file 0").write_text("changed")
    os.unlink(env.dir / "source" / "file 3")
    tool("rsync", "-aH", "--delete", "--inplace", f"{env.dir / 'source'}/", f"{b / 'copy'}/")
    same_trees(a / "copy", env.dir / "source", "the tree after an update in place", top=False)


def test_rsync_takes_attributes_along_there_and_back(env, shared):
    a, b = shared.fresh()
    source = env.dir / "source"
    sample_tree(source)
    os.setxattr(source / "file 0", "user.color", b"blue")
    os.setxattr(source / "sub", "user.kind", b"folder")
    os.mkfifo(source / "fifo")
    os.mknod(source / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    for name in ("fifo", "null", "."): # rsync takes no nanoseconds along for those
        os.utime(source / name, (1_400_000_000, 1_400_000_000))
    tool("rsync", "-aHAX", "--delete", f"{source}/", f"{a / 'copy'}/")
    same_trees(b / "copy", source, "the tree copied by rsync -aHAX")
    equal(os.getxattr(b / "copy" / "file 0", "user.color"), b"blue", "an extended attribute")
    os.unlink(source / "file 3")
    os.removexattr(source / "sub", "user.kind")
    os.utime(source, (1_400_000_000, 1_400_000_000))
    tool("rsync", "-aHAX", "--delete", f"{source}/", f"{b / 'copy'}/")
    equal(os.listxattr(a / "copy" / "sub"), [], "attributes of a folder that has none any more")
    tool("rsync", "-aHAX", "--delete", f"{a / 'copy'}/", f"{env.dir / 'back'}/")
    same_trees(env.dir / "back", source, "the tree that came back")
    equal(tool("rsync", "-aHAXin", "--delete", "--checksum", f"{env.dir / 'back'}/", f"{source}/"), b"", "changes rsync still finds")


def test_a_project_is_built_by_make_on_both_mounts(shared):
    a, b = shared.fresh()
    for i in range(4):
        (a / f"f{i}.c").write_text(f"int f{i}(void);\nint f{i}(void)\n{{\n\treturn {i};\n}}\n")
    (a / "main.c").write_text("int f3(void);\nint main(void)\n{\n\treturn f3() - 3;\n}\n")
    (a / "Makefile").write_text("prog: main.o f0.o f1.o f2.o f3.o\n\tcc -o $@ $^\nclean:\n\trm -f *.o prog\n")
    tool("make", "-s", "-j2", cwd=a)
    tool(b / "prog")
    equal(tool("make", "-s", "-q", cwd=b), b"", "what make has left to do on the other mount")
    tool("make", "-s", "clean", cwd=b)
    tool("make", "-s", "-j2", cwd=b)
    tool(a / "prog")


def test_git_init_commit_fsck_and_clone(env, shared):
    a, b = shared.fresh()
    me = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_NAME": "t",
          "GIT_COMMITTER_EMAIL": "t@example.org", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
          "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    repo = a / "repo"
    tool("git", "init", "-q", repo, env=me)
    for i in range(3):
        for n in range(10):
            (repo / f"file{n}").write_text(f"version {i} of {n}\n" * (n * 50))
        tool("git", "add", ".", cwd=repo, env=me)
        tool("git", "commit", "-q", "-m", f"change {i}", cwd=repo, env=me)
    tool("git", "fsck", "--full", "--strict", cwd=repo, env=me)
    equal(tool("git", "status", "--porcelain", cwd=b / "repo", env=me), b"", "git status through the other mount")
    tool("git", "gc", "-q", cwd=b / "repo", env=me)
    tool("git", "fsck", "--full", cwd=repo, env=me)
    tool("git", "clone", "-q", b / "repo", env.dir / "clone", env=me)
    equal(tool("git", "log", "--format=%s", cwd=env.dir / "clone", env=me), b"change 2\nchange 1\nchange 0\n", "history")
    tool("git", "checkout", "-q", "HEAD~2", cwd=repo, env=me)
    equal((b / "repo" / "file1").read_text(), "version 0 of 1\n" * 50, "a file of an older commit")


@limit(60)
def test_sqlite_keeps_a_database_with_journal_mode_delete(shared):
    a, b = shared.fresh()
    script = """PRAGMA journal_mode=delete; CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
        BEGIN; INSERT INTO t (name) SELECT hex(randomblob(50)) FROM generate_series(1, 2000); COMMIT;
        UPDATE t SET name = 'changed' WHERE id % 3 = 0; PRAGMA integrity_check;"""
    out = tool("sqlite3", a / "db", script)
    equal(out.split(), [b"delete", b"ok"], "what sqlite3 says")
    equal(sorted(os.listdir(b)), ["db"], "names left")
    db = sqlite3.connect(a / "db", isolation_level=None)
    for i in range(30): # a transaction each: journal written, synced, removed
        db.execute("INSERT INTO t (name) VALUES (?)", (f"row {i}",))
    db.execute("BEGIN")
    db.execute("DELETE FROM t")
    db.execute("ROLLBACK")
    db.close()
    out = tool("sqlite3", b / "db", "SELECT count(*), sum(name = 'changed') FROM t; PRAGMA integrity_check; VACUUM;")
    equal(out.split(), [b"2030|666", b"ok"], "what the other mount finds")
    out = tool("sqlite3", a / "db", "SELECT count(*) FROM t; PRAGMA integrity_check;")
    equal(out.split(), [b"2030", b"ok"], "what the first mount finds after the other one's VACUUM")


def test_editors_ways_of_saving_work(shared):
    """sed -i, a temporary file moved over the old one with its backup kept, dd in pieces, tee -a, install."""
    a, b = shared.fresh()
    (a / "conf").write_text("color = blue\nsize = 3\n")
    tool("sed", "-i.bak", "s/blue/red/", a / "conf")
    equal((b / "conf").read_text(), "color = red\nsize = 3\n", "the file after sed -i")
    equal((b / "conf.bak").read_text(), "color = blue\nsize = 3\n", "its backup")
    tool("install", "-m", "640", a / "conf", b / "installed")
    equal(os.stat(a / "installed").st_mode & 0o777, 0o640, "mode of an installed file")
    tool("dd", "if=/dev/zero", f"of={a / 'zeros'}", "bs=100k", "count=7", "conv=fsync", "status=none")
    tool("dd", "if=/dev/zero", f"of={b / 'zeros'}", "bs=1", "count=1", "seek=350000", "conv=notrunc", "status=none")
    equal(os.stat(a / "zeros").st_size, 7 * 102_400, "size after dd")
    tool("sh", "-c", f"for i in 1 2 3; do echo $i | tee -a {a / 'log'}; done")
    equal((b / "log").read_text(), "1\n2\n3\n", "a log written by tee -a")
    tool("touch", "-d", "2001-02-03 04:05:06 UTC", a / "log")
    equal(os.stat(b / "log").st_mtime, 981173106, "mtime set by touch")
    tool("find", a, "-name", "*.bak", "-delete")
    equal(sorted(os.listdir(b)), ["conf", "installed", "log", "zeros"], "names after find -delete")
    tool("truncate", "-s", "5", a / "zeros")
    equal((b / "zeros").read_bytes(), b"\0" * 5, "a file cut by truncate")

"""raftctl export and import with what archives find hard: holes, names of any bytes, links of everything, times of all kinds; and while
clients go on."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time

from harness import check, equal, limit, program, run, sanitizer_env, slow, text_of, wait_for

GIB = 1 << 30
NAMES = [b"new\nline", b"\xff\xfe\x80", b"-dash", b"--help", b"n" * 255, b"\xc3\xbc" * 127, b" lead", b"trail ", b"a\\b", b"*?[", b"\x01\x7f", b"..x",
         b".hidden", b"tab\t", b"PaxHeaders.0"]


def holey(path, size, *parts):
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, n in parts:
            f.seek(offset)
            f.write(os.urandom(n))


def make_tree(top):
    os.mkdir(top)
    for i, name in enumerate(NAMES):
        path = top + b"/" + name
        with open(path, "wb") as f:
            f.write(name)
        os.chmod(path, (0o644, 0o000, 0o7777, 0o4711, 0o2755, 0o1777)[i % 6])
    os.makedirs(top + b"/deep" + b"".join(b"/" + (b"%d" % i) * 60 for i in range(15)) + b"/bottom")
    os.mkdir(top + b"/empty\xff")
    os.mkdir(top + b"/dir\nx")
    os.chmod(top + b"/empty\xff", 0o3750)
    os.symlink(b"/no\xffwhere" + b"q" * 1000, top + b"/dangling")
    os.symlink(b".", top + b"/dot")
    os.mkfifo(top + b"/fifo", 0o620)
    os.mknod(top + b"/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with open(top + b"/hard", "wb") as f:
        f.write(b"hard")
    for old, new in ((b"hard", b"hard\xff2"), (b"hard", b"dir\nx/hard3"), (b"fifo", b"fifo2"), (b"dot", b"dot2")):
        os.link(top + b"/" + old, top + b"/" + new, follow_symlinks=False)
    holey(top + b"/gigabyte", GIB, (GIB // 2, 100_000))
    holey(top + b"/nothing", GIB)
    holey(top + b"/ends", GIB // 4, (0, 10), (GIB // 4 - 5, 5))
    holey(top + b"/small", 600_000, (500_000, 1000))
    holey(top + b"/many", 64 << 20, *((i << 20, 4096) for i in range(0, 64, 2)))
    for name, n in ((b"large", 3 << 20), (b"exact", 1 << 20), (b"none", 0)):
        with open(top + b"/" + name, "wb") as f:
            f.write(os.urandom(n))
    os.chown(top + b"/none", 12345, 4294967294)
    for name, value in (("user.bin", b"\0\xff\n"), ("user.long", os.urandom(3000)), ("trusted.x", b"1")):
        os.setxattr(top + b"/hard", name, value)
    os.setxattr(top + b"/empty\xff", "user.empty", b"")
    for n, (folder, folders, files) in enumerate(os.walk(top, topdown=False)):
        for i, name in enumerate(files + folders):
            times = (1_600_000_000_000_000_001 + n * 1000 + i, 1_500_000_000_123_456_789 + n * 1_000_003 + i)
            os.utime(folder + b"/" + name, ns=times, follow_symlinks=False)
    os.utime(top + b"/none", ns=(-5_000_000_001, -2_000_000_000))
    os.utime(top + b"/exact", ns=(4_500_000_000_000_000_007, 5_000_000_000_000_000_009))


def picture(top):
    """All of a tree but its own attributes: name -> facts; and which names are one file."""
    seen, groups = {}, {}
    for folder, folders, files in os.walk(top):
        for name in files + folders:
            path = folder + b"/" + name
            s = os.lstat(path)
            facts = {"mode": oct(s.st_mode), "owner": (s.st_uid, s.st_gid), "mtime": s.st_mtime_ns, "rdev": s.st_rdev}
            if stat.S_ISLNK(s.st_mode):
                facts["target"] = os.readlink(path)
            else:
                facts["attributes"] = {a: os.getxattr(path, a) for a in os.listxattr(path) if a != "user.raft.version"}
            if stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    facts["bytes"] = (s.st_size, hashlib.file_digest(f, "blake2b").hexdigest() if s.st_size < GIB // 8 else pieces(f))
            if not stat.S_ISDIR(s.st_mode):
                groups.setdefault(s.st_ino, set()).add(path[len(top):])
            seen[path[len(top):]] = facts
    return seen, sorted(sorted(g) for g in groups.values() if len(g) > 1)


def pieces(f):
    """What a file with large holes has in it, by position; reading it all would take its time."""
    size, at, found = os.fstat(f.fileno()).st_size, 0, hashlib.blake2b()
    while at < size:
        try:
            begin = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(f.fileno(), begin, os.SEEK_HOLE)
        for offset in range(begin, at, 4096):
            data = os.pread(f.fileno(), 4096, offset)
            if data.strip(b"\0"):
                found.update(b"%d" % offset + data)
    return found.hexdigest()


def room(top):
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for folder, _, files in os.walk(top) for name in files)


def check_same(got, wanted, what):
    (got, got_links), (wanted, wanted_links) = got, wanted
    equal(set(got), set(wanted), f"names of {what}")
    for name, facts in wanted.items():
        equal(got[name], facts, f"{name!r} of {what}")
    equal(got_links, wanted_links, f"hard links of {what}")


@limit(180)
def test_everything_comes_back_as_it_was_by_directory_and_by_tar(env):
    os.umask(0)
    with env.cluster(n=1) as c:
        source = os.fsencode(env.dir / "source")
        make_tree(source)
        wanted = picture(source)
        c.ctl("import", env.dir / "source", "one", seconds=60)
        c.ctl("export", env.dir / "by-dir", "one", seconds=60)
        check_same(picture(os.fsencode(env.dir / "by-dir")), wanted, "the tree by directories")
        c.ctl("export", env.dir / "all.tar.gz", "one", seconds=60)
        c.ctl("import", env.dir / "all.tar.gz", "two", seconds=60)
        c.ctl("export", env.dir / "by-tar", "two", seconds=60)
        check_same(picture(os.fsencode(env.dir / "by-tar")), wanted, "the tree by tar files")
        for copy in ("by-dir", "by-tar"):
            check(room(env.dir / copy) < room(env.dir / "source") + (4 << 20), f"{copy} takes {room(env.dir / copy)} bytes, its source {room(env.dir / 'source')}")
        check((env.dir / "all.tar.gz").stat().st_size < 16 << 20, "the tar file has the holes in it")
        check(room(c.directory / "data") < 256 << 20, f"the node's data takes {room(c.directory / 'data')} bytes")
        os.mkdir(env.dir / "by-gnu-tar")
        done = run(["tar", "--xattrs", "--xattrs-include=*", "-xpzSf", env.dir / "all.tar.gz", "-C", env.dir / "by-gnu-tar"], env.dir, 60)
        equal(done.returncode, 0, f"tar: {text_of(done)}")
        check_same(picture(os.fsencode(env.dir / "by-gnu-tar")), wanted, "the tree that tar unpacked")
        for name in ("source", "by-dir", "by-tar", "by-gnu-tar"):
            shutil.rmtree(env.dir / name)


def test_what_is_in_the_way_of_an_import_is_replaced_but_no_directory(env):
    with env.cluster(n=1) as c:
        mount = c.mount()
        os.mkdir(mount / "t")
        os.symlink("elsewhere", mount / "t" / "link")
        os.mkfifo(mount / "t" / "fifo")
        (mount / "t" / "file").write_text("old")
        os.mkdir(mount / "t" / "dir")
        source = env.dir / "source"
        source.mkdir()
        for name in ("link", "fifo"):
            (source / name).write_text(name)
        os.symlink("target", source / "file")
        c.ctl("import", source, "t")
        equal([(mount / "t" / name).read_bytes() for name in ("link", "fifo")], [b"link", b"fifo"], "files in the place of a link and a fifo")
        equal(os.readlink(mount / "t" / "file"), "target", "a link in the place of a file")
        (source / "dir").write_text("x")
        check("t/dir: a directory" in text_of(c.ctl("import", source, "t", code=1)), "a file in the place of a directory")


@limit(60)
def test_a_slow_pipe_does_not_cost_the_session(env):
    """Longer between two pieces than a session lives without a sign of life (one second here)."""
    with env.cluster(n=1, more="\n[client]\nsession_timeout_ms = 1000\n") as c:
        source = env.dir / "source"
        source.mkdir()
        for i in range(3):
            (source / f"file{i}").write_bytes(os.urandom(200_000))
        done = run(["tar", "-cf", env.dir / "x.tar", "-C", source, "."], env.dir)
        equal(done.returncode, 0, "tar")
        data = (env.dir / "x.tar").read_bytes()
        p = subprocess.Popen([program("raftctl"), "--cluster", c.toml, "import", "-", "t"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=sanitizer_env(env.dir))
        for at in (0, 350_000):
            p.stdin.write(data[at:at + 350_000])
            p.stdin.flush()
            time.sleep(2.5) # the time itself is what is tried
        p.stdin.write(data[700_000:])
        _, err = p.communicate(timeout=slow(20))
        equal((p.returncode, err), (0, b""), "exit code and words of an import from a slow pipe")
        equal(c.ctl("get", "t/file2").stdout, (source / "file2").read_bytes(), "the last file")


@limit(60)
def test_ctrl_c_in_the_middle_of_a_large_value_leaves_nothing_behind(env):
    with env.cluster(n=1) as c:
        c.ctl("set", "big", "old")
        p = subprocess.Popen([program("raftctl"), "--cluster", c.toml, "set", "big", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=sanitizer_env(env.dir))
        p.stdin.write(os.urandom(5 << 20))
        p.stdin.flush()
        wait_for(lambda: b".raftctl-" in c.ctl("ls").stdout, 10, "the value to be on its way")
        p.send_signal(signal.SIGINT)
        code, err = p.wait(slow(10)), p.stderr.read().decode()
        equal(code, 1, f"exit code: {err}")
        equal(err, "raftctl: big: interrupted; nothing was stored\n", "what was said")
        equal(c.ctl("ls").stdout, b"big\n", "what is there")
        equal(c.ctl("get", "big").stdout, b"old", "the key")
        p.stdin.close()


@limit(120)
def test_an_export_while_clients_write_has_each_file_in_one_version(env):
    with env.cluster() as c:
        mount = c.mount()
        os.mkdir(mount / "t")
        for i in range(12):
            os.mkdir(mount / "t" / f"d{i}")
            for k in range(12):
                (mount / "t" / f"d{i}" / f"f{k}").write_bytes(b"0" * 1000)
        (mount / "t" / "fixed").write_bytes(b"fixed")
        stop, failed = threading.Event(), []

        def in_a_loop(change):
            n = 0
            try:
                while not stop.is_set():
                    n += 1
                    change(n)
            except OSError as e:
                failed.append(e)

        def rewrite(n): # one write, seen as a whole
            with open(mount / "t" / f"d{n % 12}" / f"f{n % 7}", "wb", buffering=0) as f:
                f.write(b"%d" % (n % 10) * (1000 + n % 5000))

        def replace(n):
            (mount / "t" / "new").write_bytes(b"%d" % (n % 10) * 3000)
            os.rename(mount / "t" / "new", mount / "t" / f"d{n % 12}" / f"f{7 + n % 5}")

        def change_kind(n):
            place = mount / "t" / "d5" / "changes"
            place.mkdir()
            (place / "in").write_bytes(b"1" * 10)
            (place / "in").unlink()
            place.rmdir()
            os.symlink("x", place)
            place.unlink()
            place.write_bytes(b"1" * 10)
            place.unlink()

        threads = [threading.Thread(target=in_a_loop, args=(f,)) for f in (rewrite, replace, change_kind)]
        for t in threads:
            t.start()
        try:
            for i in range(10):
                out = env.dir / (f"out{i}" if i % 2 else f"out{i}.tar")
                said = json.loads(c.ctl("export", out, "t", "--json", seconds=40).stdout)
                check(said["files"] >= 145 - 2, f"{said['files']} files of 145")
                if i % 2 == 0:
                    folder = env.dir / f"un{i}"
                    folder.mkdir()
                    done = run(["tar", "-xf", out, "-C", folder], env.dir)
                    equal(done.returncode, 0, f"tar: {text_of(done)}")
                    out = folder
                for path in out.rglob("f[0-9]*"):
                    data = path.read_bytes()
                    equal(len(set(data)), 1, f"versions in {path}, {len(data)} bytes")
                equal((out / "fixed").read_bytes(), b"fixed", "a file that nobody changes")
        finally:
            stop.set()
            for t in threads:
                t.join()
        equal(failed, [], "failures of the writers")

"""The same calls on a local directory and on a mount, side by side: same results, same errors."""

import ctypes
import errno
import mmap
import os
import stat

from harness import LIBC, Failure, check, equal, errno_of, limit

AT_FDCWD = -100
NOREPLACE, EXCHANGE = 1, 2


def renameat2(old, new, flags):
    if LIBC.renameat2(AT_FDCWD, os.fsencode(str(old)), AT_FDCWD, os.fsencode(str(new)), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def outcome(call, *args, **more):
    """What a call gave, in a form that can be compared: its value or its errno."""
    try:
        return call(*args, **more)
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))


def facts(path, times=False):
    """What lstat says and two file systems must agree on. A directory's size and links are its maker's business."""
    st = os.lstat(path)
    found = [oct(st.st_mode), st.st_uid, st.st_gid]
    if not stat.S_ISDIR(st.st_mode):
        found += [st.st_nlink, st.st_size]
    if times:
        found += [st.st_atime_ns, st.st_mtime_ns]
    return found


def put(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def side_by_side(script, env, shared):
    """Run script(directory) -> iterator of results on ext4 and on the mount, and compare step by step; then
    what is left must look the same through the other mount, too."""
    a, b = shared.fresh()
    local = env.dir / "local"
    local.mkdir()
    wanted, got = list(script(local)), list(script(a))
    for step, (w, g) in enumerate(zip(wanted, got), 1):
        equal(g, w, f"step {step} of {len(wanted)} on the mount, compared with a local directory")
    equal(len(got), len(wanted), "number of steps")
    equal(tree(b), tree(local), "what is left, through the other mount, compared with the local directory")


def tree(top):
    found = {}
    for folder, dirs, files in os.walk(os.fsencode(str(top))):
        for name in dirs + files:
            path = os.path.join(folder, name)
            what = facts(path)
            if os.path.islink(path):
                what.append(os.readlink(path))
            elif os.path.isfile(path):
                what.append(get(path))
            found[os.path.relpath(path, os.fsencode(str(top)))] = what
    return found


def test_create_and_open_flags(env, shared):
    def script(d):
        f = d / "f"
        yield outcome(os.open, f, os.O_RDONLY)
        yield put(f, b"hello", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        yield outcome(put, f, b"x", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        yield facts(f)
        yield put(f, b"HE", os.O_WRONLY), get(f)
        yield put(f, b"!", os.O_WRONLY | os.O_APPEND), get(f)
        yield put(f, b"new", os.O_WRONLY | os.O_TRUNC), get(f)
        os.close(os.open(f, os.O_WRONLY | os.O_TRUNC)) # truncation without a write behind it
        yield get(f), facts(f)
        yield outcome(os.open, f, os.O_RDONLY | os.O_DIRECTORY)
        yield outcome(os.open, d / "absent" / "f", os.O_WRONLY | os.O_CREAT)
        yield outcome(os.open, f / "below", os.O_RDONLY)
        yield outcome(os.open, d, os.O_WRONLY)
        fd = os.open(f, os.O_RDONLY)
        yield outcome(os.write, fd, b"x")
        os.close(fd)
        os.chmod(f, 0o444)
        yield facts(f)
        yield outcome(os.mknod, d / "fifo", 0o644 | stat.S_IFIFO), facts(d / "fifo")
        yield outcome(os.mknod, d / "plain", 0o600 | stat.S_IFREG), facts(d / "plain")
        yield outcome(os.mknod, d / "plain", 0o600 | stat.S_IFREG)
        old = os.umask(0o077)
        put(d / "masked", b"", mode=0o666)
        os.mkdir(d / "maskeddir")
        os.umask(old)
        yield facts(d / "masked"), facts(d / "maskeddir")
    side_by_side(script, env, shared)


def test_directories(env, shared):
    def script(d):
        yield outcome(os.mkdir, d / "dir", 0o750), facts(d / "dir")
        yield outcome(os.mkdir, d / "dir")
        yield outcome(os.mkdir, d / "no" / "dir")
        put(d / "dir" / "f", b"x")
        yield outcome(os.rmdir, d / "dir")
        yield outcome(os.unlink, d / "dir")
        yield outcome(os.rmdir, d / "dir" / "f")
        os.unlink(d / "dir" / "f")
        yield outcome(os.rmdir, d / "dir"), outcome(os.stat, d / "dir")
        yield outcome(os.rmdir, d / "dir")
        yield outcome(os.unlink, d / "absent")
        os.makedirs(d / "p" / "q" / "r")
        put(d / "p" / "q" / "r" / "f", b"deep")
        yield sorted(os.listdir(d)), os.listdir(d / "p" / "q" / "r")
        os.rename(d / "p" / "q", d / "moved")
        yield get(d / "moved" / "r" / "f"), os.listdir(d / "p")
        yield outcome(os.rename, d / "moved", d / "moved" / "r" / "inside") # a directory into itself
        yield os.path.samefile(d / "moved" / "..", d)
    side_by_side(script, env, shared)


def test_rename_with_and_without_flags(env, shared):
    def script(d):
        put(d / "a", b"A")
        put(d / "b", b"B")
        yield outcome(os.rename, d / "absent", d / "x")
        yield outcome(os.rename, d / "a", d / "no" / "x")
        os.rename(d / "a", d / "b")
        yield get(d / "b"), outcome(os.stat, d / "a")
        yield outcome(os.rename, d / "b", d / "b"), get(d / "b")
        put(d / "a", b"A2")
        yield outcome(renameat2, d / "a", d / "b", NOREPLACE), get(d / "a"), get(d / "b")
        yield outcome(renameat2, d / "a", d / "c", NOREPLACE), get(d / "c")
        yield outcome(renameat2, d / "b", d / "c", EXCHANGE), get(d / "b"), get(d / "c")
        yield outcome(renameat2, d / "b", d / "absent", EXCHANGE)
        os.mkdir(d / "dir")
        os.mkdir(d / "full")
        put(d / "full" / "f", b"x")
        yield outcome(os.rename, d / "b", d / "dir")
        yield outcome(os.rename, d / "dir", d / "b")
        yield outcome(os.rename, d / "dir", d / "full")
        yield outcome(os.rename, d / "full", d / "dir"), sorted(os.listdir(d))
        yield outcome(renameat2, d / "b", d / "dir", EXCHANGE), os.path.isdir(d / "b"), get(d / "dir")
        yield get(d / "b" / "f")
        yield outcome(renameat2, d / "b", d / "dir", NOREPLACE | EXCHANGE)
        os.link(d / "c", d / "c2")
        yield outcome(os.rename, d / "c", d / "c2"), sorted(os.listdir(d)) # two names of one file: nothing happens
    side_by_side(script, env, shared)


def test_symlinks(env, shared):
    def script(d):
        put(d / "f", b"data")
        os.symlink("f", d / "l")
        yield os.readlink(d / "l"), facts(d / "l"), get(d / "l")
        yield outcome(os.symlink, "f", d / "l")
        os.symlink("nowhere", d / "dangling")
        yield outcome(os.stat, d / "dangling"), os.readlink(d / "dangling")
        os.symlink("loop", d / "loop")
        yield outcome(os.stat, d / "loop")
        yield outcome(os.readlink, d / "f")
        os.symlink("t" * 4000, d / "long")
        yield os.readlink(d / "long") == "t" * 4000, os.lstat(d / "long").st_size
        put(d / "l", b"through") # writes to the target
        yield get(d / "f")
        os.unlink(d / "l")
        yield get(d / "f")
        os.symlink(b"bytes\xff\xfe", os.fsencode(str(d / "raw")))
        yield os.readlink(os.fsencode(str(d / "raw")))
        yield outcome(os.open, d / "dangling", os.O_RDONLY | os.O_NOFOLLOW)
        os.lchown(d / "dangling", 7, 8)
        yield facts(d / "dangling")
    side_by_side(script, env, shared)


def test_hard_links(env, shared):
    def script(d):
        put(d / "one", b"data")
        os.link(d / "one", d / "two")
        yield facts(d / "one"), os.path.samefile(d / "one", d / "two")
        put(d / "two", b"changed")
        yield get(d / "one")
        yield outcome(os.link, d / "one", d / "two")
        yield outcome(os.link, d / "absent", d / "x")
        os.mkdir(d / "dir")
        yield outcome(os.link, d / "dir", d / "x")
        os.link(d / "one", d / "dir" / "three")
        os.unlink(d / "one")
        yield facts(d / "two"), get(d / "dir" / "three")
        os.rename(d / "dir" / "three", d / "two")
        yield sorted(os.listdir(d)), sorted(os.listdir(d / "dir"))
    side_by_side(script, env, shared)


def test_modes_owners_and_times(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"x")
        for mode in (0, 0o777, 0o4755, 0o2755, 0o1644, 0o600):
            os.chmod(f, mode)
            yield facts(f)
        os.chown(f, 1000, 1001)
        yield facts(f)
        os.chown(f, -1, 5)
        yield facts(f)
        os.chmod(f, 0o6755)
        os.chown(f, 3, 3)
        yield facts(f) # a change of owner takes the set-id bits away
        for pair in ((1, 2), (1_700_000_000_123_456_789, 1_600_000_000_987_654_321), (0, 0), (-5_000_000_000, -1_500_000_000)):
            os.utime(f, ns=pair)
            yield facts(f, times=True)
        os.utime(d, ns=(10, 20))
        yield facts(d, times=True)
        before = os.stat(f).st_mtime_ns
        os.utime(f)
        yield os.stat(f).st_mtime_ns > before
        mark = os.stat(f)
        put(f, b"longer")
        after = os.stat(f)
        yield after.st_mtime_ns > mark.st_mtime_ns, after.st_ctime_ns > mark.st_ctime_ns
        yield outcome(os.chmod, d / "absent", 0o600)
    side_by_side(script, env, shared)


def test_truncate_and_sparse_files(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"0123456789" * 10_000)
        for size in (99_999, 65_536, 65_537, 70_000, 4096, 5000, 4095, 1, 0, 200_000):
            os.truncate(f, size)
            data = get(f)
            yield size, len(data), hash(data) == hash(b"0123456789" * 10_000), data[-20:], data.count(0)
        put(f, b"end", os.O_WRONLY)
        fd = os.open(f, os.O_RDWR)
        yield os.pwrite(fd, b"far", 1_000_000), os.fstat(fd).st_size
        yield os.pread(fd, 10, 999_995), os.pread(fd, 10, 500_000), os.pread(fd, 10, 2_000_000)
        yield os.pwrite(fd, b"across", 65_533), os.pread(fd, 12, 65_530)
        os.ftruncate(fd, 65_535)
        yield os.fstat(fd).st_size, os.pread(fd, 12, 65_530)
        os.ftruncate(fd, 65_545)
        yield os.pread(fd, 20, 65_530) # what was cut off must come back as zeros
        yield outcome(os.ftruncate, fd, -1)
        os.close(fd)
        yield outcome(os.truncate, d, 5)
        yield outcome(os.truncate, d / "absent", 5)
        put(d / "small", b"tiny")
        fd = os.open(d / "small", os.O_RDWR)
        yield os.pwrite(fd, b"x", 4096), os.pwrite(fd, b"y", 10), os.pread(fd, 5000, 0)
        yield os.pwrite(fd, b"", 9000), os.fstat(fd).st_size
        os.close(fd)
    side_by_side(script, env, shared)


def test_reads_and_writes_through_one_handle(env, shared):
    def script(d):
        fd = os.open(d / "f", os.O_RDWR | os.O_CREAT)
        yield os.write(fd, b"abc"), os.write(fd, b"def"), os.lseek(fd, 0, os.SEEK_CUR)
        yield os.lseek(fd, -4, os.SEEK_END), os.read(fd, 2), os.read(fd, 100), os.read(fd, 100)
        yield os.lseek(fd, 10, os.SEEK_SET), os.write(fd, b"gap"), os.pread(fd, 100, 0)
        yield os.writev(fd, [b"1", b"22", b"333"]), os.preadv(fd, [bytearray(3), bytearray(50)], 0)
        os.fsync(fd)
        os.fdatasync(fd)
        yield os.fstat(fd).st_size
        ap = os.open(d / "f", os.O_WRONLY | os.O_APPEND)
        os.lseek(ap, 0, os.SEEK_SET)
        yield os.write(ap, b"tail"), os.lseek(ap, 0, os.SEEK_CUR), get(d / "f")
        os.close(ap)
        os.close(fd)
        big = bytes(range(256)) * 12_000 # 3 MB: several writes and reads on the way
        yield put(d / "big", big) == len(big), get(d / "big") == big
        fd = os.open(d / "big", os.O_RDONLY)
        for at in (0, 1, 65_535, 131_071, 1_048_575, 3_071_990):
            yield os.pread(fd, 70_000, at) == big[at:at + 70_000]
        os.close(fd)
    side_by_side(script, env, shared)


def test_an_open_file_outlives_its_name(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"still here")
        fd = os.open(f, os.O_RDWR)
        os.unlink(f)
        yield outcome(os.stat, f), os.pread(fd, 100, 0), os.fstat(fd).st_nlink
        yield os.pwrite(fd, b"STILL", 0), os.pread(fd, 100, 0)
        os.ftruncate(fd, 5)
        yield os.fstat(fd).st_size
        put(f, b"another file")
        yield os.pread(fd, 100, 0), get(f)
        os.close(fd)
        put(d / "old", b"old")
        put(d / "new", b"new")
        fd = os.open(d / "old", os.O_RDONLY)
        os.rename(d / "new", d / "old")
        yield os.pread(fd, 100, 0), get(d / "old")
        os.close(fd)
        yield sorted(os.listdir(d))
    side_by_side(script, env, shared)


def test_names_at_their_limit_and_beyond(env, shared):
    def script(d):
        raw = os.fsencode(str(d))
        for name in (b"n" * 255, b"\xff\xfe\x80 not utf-8", b"new\nline", b"\x01", b"-rf", b"..."):
            path = raw + b"/" + name
            yield put(path, name), get(path), name in os.listdir(raw)
            os.rename(path, path[:-1] + b"_")
            yield name[:-1] + b"_" in os.listdir(raw), name in os.listdir(raw)
        long = raw + b"/" + b"n" * 256
        put(raw + b"/f", b"x")
        for call in (lambda: put(long, b"x"), lambda: os.mkdir(long), lambda: os.stat(long), lambda: os.unlink(long),
                     lambda: os.symlink("f", long), lambda: os.link(raw + b"/f", long), lambda: os.rename(raw + b"/f", long)):
            yield outcome(call)
        yield sorted(os.listdir(raw))
    side_by_side(script, env, shared)


def test_deep_paths(env, shared):
    def script(d):
        path = d
        for i in range(40):
            path = path / f"level{i}"
            os.mkdir(path)
        put(path / "f", b"bottom")
        yield get(path / "f"), os.path.getsize(path / "f")
    side_by_side(script, env, shared)


def test_private_and_shared_mappings(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"0123456789" * 1000)
        fd = os.open(f, os.O_RDWR)
        m = mmap.mmap(fd, 10_000, mmap.MAP_PRIVATE)
        m[0:5] = b"ABCDE"
        yield m[:10], m[9_990:], get(f)[:10]
        m.close()
        s = mmap.mmap(fd, 10_000, mmap.MAP_SHARED)
        yield s[:10]
        s[5_000:5_003] = b"xyz"
        s.flush()
        yield get(f)[4_995:5_010]
        s.close()
        os.close(fd)
    side_by_side(script, env, shared)


def test_a_shared_mapping_is_seen_by_the_other_mount_after_msync(shared):
    a, b = shared.fresh()
    put(a / "f", b"." * 8192)
    fd = os.open(a / "f", os.O_RDWR)
    try:
        m = mmap.mmap(fd, 8192)
        m[4096:4101] = b"hello"
        m.flush()
        equal(get(b / "f")[4090:4110], b"......hello.........", "bytes through the other mount")
        put(b / "f", b"HELLO", os.O_WRONLY)
        equal(get(a / "f")[:8], b"HELLO...", "bytes through the first mount")
        m.close()
    finally:
        os.close(fd)


def test_a_write_past_the_size_limit_gives_efbig_and_one_at_the_limit_works(shared):
    a, b = shared.fresh()
    limit_bytes = 1 << 40
    put(a / "f", b"content")
    fd = os.open(a / "f", os.O_RDWR)
    try:
        equal(errno_of(os.pwrite, fd, b"x", limit_bytes), "EFBIG", "a write at 1 TiB")
        equal(errno_of(os.pwrite, fd, b"xy", limit_bytes - 1), "EFBIG", "a write across 1 TiB")
        equal(errno_of(os.pwrite, fd, b"x", (1 << 62)), "EFBIG", "a write at 4 EiB")
        equal(errno_of(os.ftruncate, fd, limit_bytes + 1), "EFBIG", "a truncation to more than 1 TiB")
        equal(get(b / "f"), b"content", "content after refused writes")
        equal(os.pwrite(fd, b"x", limit_bytes - 1), 1, "bytes written just below 1 TiB")
        equal(os.stat(b / "f").st_size, limit_bytes, "size")
        other = os.open(b / "f", os.O_RDONLY)
        equal(os.pread(other, 10, limit_bytes - 3), b"\0\0x", "the last bytes")
        equal(os.pread(other, 10, 0), b"content\0\0\0", "the first bytes")
        os.close(other)
        os.ftruncate(fd, 3)
        equal(get(b / "f"), b"con", "content after cutting it back")
    finally:
        os.close(fd)


def test_statfs_gives_plausible_numbers(shared):
    a, _ = shared.fresh()
    s = os.statvfs(a)
    check(s.f_bsize > 0 and s.f_frsize > 0, f"block sizes {s.f_bsize}, {s.f_frsize}")
    check(s.f_blocks >= s.f_bfree >= s.f_bavail > 0, f"blocks {s.f_blocks}, free {s.f_bfree}, available {s.f_bavail}")
    equal(s.f_namemax, 255, "longest name")


@limit(60)
def test_a_process_without_privileges_is_held_to_modes_and_owners(shared):
    """default_permissions with allow_other, or the calls are refused altogether: never more than the mode allows."""
    a, _ = shared.fresh()
    os.chmod(a, 0o755)
    put(a / "secret", b"x", mode=0o600)
    put(a / "public", b"x", mode=0o644)
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        refused = {"EACCES", "EPERM"}
        ok = errno_of(get, a / "secret") in refused and errno_of(put, a / "public", b"y") in refused and \
            errno_of(put, a / "new", b"y") in refused and errno_of(os.unlink, a / "public") in refused and \
            errno_of(os.chmod, a / "public", 0o777) in refused
        os._exit(0 if ok else 1)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise Failure("a process without privileges got more than the mode allows")
    equal(get(a / "public"), b"x", "content afterwards")

"""System calls of the whole surface, each run on a local directory (ext4) and on a mount, and compared call by call:
extended attributes, ranges of files, files without names, directories that are read and removed, handles, times,
set-id bits. What must differ is said where it does."""

import ctypes
import mmap
import os
import stat
import struct
from pathlib import Path

from harness import LIBC, Mount, check, equal, errno_of, limit
from test_posix import AT_FDCWD, facts, get, outcome, put, renameat2, side_by_side
from test_requests import Counter

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
PUNCH = PUNCH_HOLE | KEEP_SIZE
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x400, 0x1000


def called(result):
    """The result of a function of libc, or its OSError."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


def fallocate(fd, mode, offset, length):
    return called(LIBC.fallocate(fd, mode, offset, length))


def utimens(path, atime, mtime, flags=0):
    """utimensat(2) with nanoseconds, UTIME_NOW or UTIME_OMIT as they are."""
    times = (ctypes.c_long * 4)(*[0, atime] if atime in (UTIME_NOW, UTIME_OMIT) else divmod(atime, 10**9),
                                *[0, mtime] if mtime in (UTIME_NOW, UTIME_OMIT) else divmod(mtime, 10**9))
    return called(LIBC.utimensat(AT_FDCWD, os.fsencode(str(path)), times, flags))


def name_file(fd, path):
    """Give the open file a name, as programs do that have written a file of O_TMPFILE."""
    return called(LIBC.linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(str(path)), AT_SYMLINK_FOLLOW))


class opened:
    def __init__(self, path, flags, mode=0o644):
        self.fd = os.open(path, flags, mode)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def changes(path, call, *args):
    """Which times of `path` a call moved, besides what it gave."""
    before = os.lstat(path)
    result = outcome(call, *args)
    after = os.lstat(path)
    return result, after.st_mtime_ns > before.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns


# Extended attributes

def test_extended_attributes(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"x")
        yield os.listxattr(f), outcome(os.getxattr, f, "user.a"), outcome(os.removexattr, f, "user.a")
        yield outcome(os.setxattr, f, "user.a", b"1"), os.getxattr(f, "user.a"), os.listxattr(f)
        yield outcome(os.setxattr, f, "user.a", b"2", os.XATTR_CREATE), outcome(os.setxattr, f, "user.b", b"2", os.XATTR_REPLACE)
        yield outcome(os.setxattr, f, "user.b", b"\0\xff", os.XATTR_CREATE), outcome(os.setxattr, f, "user.a", b"", os.XATTR_REPLACE)
        yield os.getxattr(f, "user.a"), os.getxattr(f, "user.b"), sorted(os.listxattr(f))
        yield outcome(os.setxattr, f, "user.", b"x"), outcome(os.setxattr, f, "nonsense", b"x"), outcome(os.setxattr, f, "", b"x")
        yield outcome(os.setxattr, f, "user." + "n" * 250, b"x"), outcome(os.setxattr, f, "user." + "n" * 251, b"x")
        yield outcome(os.setxattr, f, "user.big", b"x" * 65537)
        yield outcome(os.setxattr, f, "trusted.t", b"T"), os.getxattr(f, "trusted.t"), outcome(os.setxattr, f, "security.s", b"S")
        yield sorted(os.listxattr(f)), os.getxattr(f, "security.s")
        for name in ("user.a", "user.b", "security.s"):
            yield outcome(os.removexattr, f, name), outcome(os.removexattr, f, name)
        yield sorted(os.listxattr(f))
        os.mkdir(d / "dir")
        os.symlink("f", d / "link")
        os.mkfifo(d / "fifo")
        yield outcome(os.setxattr, d / "dir", "user.d", b"D"), os.getxattr(d / "dir", "user.d")
        for special in (d / "link", d / "fifo"): # user.* is for files and directories alone
            yield outcome(os.setxattr, special, "user.x", b"x", 0, follow_symlinks=False)
            yield outcome(os.getxattr, special, "user.x", follow_symlinks=False)
            yield outcome(os.setxattr, special, "trusted.x", b"y", 0, follow_symlinks=False)
            yield os.getxattr(special, "trusted.x", follow_symlinks=False), os.listxattr(special, follow_symlinks=False)
        yield outcome(os.getxattr, d / "absent", "user.x"), outcome(os.setxattr, d / "absent", "user.x", b"")
        os.link(f, d / "f2")
        os.rename(f, d / "f3")
        yield sorted(os.listxattr(d / "f2")), sorted(os.listxattr(d / "f3"))
        yield changes(d / "f3", os.setxattr, d / "f3", "user.time", b"1"), changes(d / "f3", os.removexattr, d / "f3", "user.time")
        yield outcome(os.rmdir, d / "dir"), outcome(os.unlink, d / "f2"), outcome(os.unlink, d / "f3")
    side_by_side(script, env, shared)


def test_sizes_of_extended_attributes(shared, env):
    """The sizes that are asked for, small buffers, and values as large as the kernel takes them. (ext4 keeps a block
    of them; here they are 128 KiB a file.)"""
    def sizes(d):
        f = os.fsencode(str(d / "f"))
        put(d / "f", b"")
        yield LIBC.listxattr(f, None, 0)
        os.setxattr(f, "user.name", b"0123456789")
        room = ctypes.create_string_buffer(100)
        yield LIBC.listxattr(f, None, 0), LIBC.getxattr(f, b"user.name", None, 0)
        for n in (1, 9, 10, 100):
            yield n, outcome(lambda n=n: called(LIBC.getxattr(f, b"user.name", room, n))), outcome(lambda n=n: called(LIBC.listxattr(f, room, n)))
    side_by_side(sizes, env, shared)
    a, b = shared.fresh()
    put(a / "f", b"")
    os.setxattr(a / "f", "user.large", b"L" * 65536)
    os.setxattr(a / "f", "user.more", b"M" * 60000)
    equal(errno_of(os.setxattr, a / "f", "user.toomuch", b"x" * 20000), "ENOSPC", "more than 128 KiB")
    equal(os.getxattr(b / "f", "user.large"), b"L" * 65536, "a value of 64 KiB through the other mount")
    equal(sorted(os.listxattr(b / "f")), ["user.large", "user.more"], "names")


def test_the_version_is_an_extended_attribute_and_names_of_others_are_refused(shared):
    a, b = shared.fresh()
    put(a / "f", b"1")
    first = int(os.getxattr(a / "f", "user.raft.version"))
    equal(os.listxattr(a / "f"), [], "names: the version is not copied along by rsync -X")
    put(b / "f", b"2")
    check(int(os.getxattr(a / "f", "user.raft.version")) > first, "the version did not grow with a write")
    equal(errno_of(os.setxattr, a / "f", "user.raft.version", b"1"), "EPERM", "setting the version")
    for name in ("system.posix_acl_access", "system.posix_acl_default", "security.selinux"):
        equal(errno_of(os.getxattr, a / "f", name), "ENOTSUP", f"reading {name}")


def test_a_write_takes_the_capabilities_of_a_program_away(env, shared):
    capability = struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0)

    def script(d):
        for call in (lambda f: put(f, b"y", os.O_WRONLY), lambda f: os.truncate(f, 3), lambda f: os.chown(f, 5, 5)):
            put(d / "f", b"program", mode=0o755)
            yield outcome(os.setxattr, d / "f", "security.capability", capability), len(os.getxattr(d / "f", "security.capability"))
            call(d / "f")
            yield outcome(os.getxattr, d / "f", "security.capability")
            os.unlink(d / "f")
    side_by_side(script, env, shared)


# Ranges

def test_fallocate(env, shared):
    def script(d):
        f = d / "f"
        put(f, bytes(range(256)) * 1024) # 256 KiB
        with opened(f, os.O_RDWR) as fd:
            for mode in (PUNCH, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, 0, KEEP_SIZE):
                for offset, length in ((0, 10), (5000, 3), (16384, 16384), (16000, 40000), (200_000, 100_000), (262_144, 4096),
                                       (300_000, 20_000), (1 << 30, 1)):
                    yield mode, offset, length, outcome(fallocate, fd, mode, offset, length)
                    yield os.fstat(fd).st_size
                    if os.fstat(fd).st_size < 1 << 20:
                        yield hash(get(f))
                os.ftruncate(fd, 262_144)
                os.pwrite(fd, b"again" * 1000, 12_345)
            yield outcome(fallocate, fd, PUNCH_HOLE, 0, 10), outcome(fallocate, fd, 0, -1, 10), outcome(fallocate, fd, 0, 0, 0)
            yield changes(f, fallocate, fd, PUNCH, 0, 10), changes(f, fallocate, fd, 0, 0, 1 << 19)
        put(d / "small", b"0123456789")
        with opened(d / "small", os.O_RDWR) as fd:
            yield fallocate(fd, PUNCH, 3, 2), os.pread(fd, 100, 0), fallocate(fd, ZERO_RANGE, 8, 6), os.pread(fd, 100, 0)
            yield fallocate(fd, 0, 0, 5000), os.pread(fd, 20, 0), os.fstat(fd).st_size
        with opened(d / "small", os.O_RDONLY) as fd:
            yield outcome(fallocate, fd, 0, 0, 10)
        with opened(d, os.O_RDONLY) as fd:
            yield outcome(fallocate, fd, 0, 0, 10)
        os.posix_fallocate(os.open(d / "posix", os.O_RDWR | os.O_CREAT), 100, 1000)
        yield os.stat(d / "posix").st_size
    side_by_side(script, env, shared)


def test_ranges_that_only_fuse_refuses(shared):
    """COLLAPSE and INSERT: the kernel says no for every FUSE file system before anybody is asked."""
    a, _ = shared.fresh()
    put(a / "f", b"x" * 65536)
    with opened(a / "f", os.O_RDWR) as fd:
        for mode in (COLLAPSE, INSERT):
            equal(errno_of(fallocate, fd, mode, 0, 4096), "ENOTSUP", f"fallocate mode {mode}")
        equal(errno_of(fallocate, fd, 0, 1 << 40, 1), "EFBIG", "beyond the largest file")


def test_holes_and_data(env, shared):
    """At borders of 64 KiB, which are pieces of both file systems."""
    def script(d):
        unit = 65536
        with opened(d / "f", os.O_RDWR | os.O_CREAT) as fd:
            yield outcome(os.lseek, fd, 0, os.SEEK_DATA), outcome(os.lseek, fd, 0, os.SEEK_HOLE)
            for at in (1, 2, 5, 9):
                os.pwrite(fd, b"d" * unit, at * unit)
            os.ftruncate(fd, 12 * unit)
            for at in (0, unit, unit + 7, 2 * unit, 3 * unit, 5 * unit + 1, 6 * unit, 10 * unit, 12 * unit - 1, 12 * unit, 13 * unit):
                yield at, outcome(os.lseek, fd, at, os.SEEK_DATA), outcome(os.lseek, fd, at, os.SEEK_HOLE)
            fallocate(fd, PUNCH, 2 * unit, unit)
            yield os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, unit, os.SEEK_HOLE), os.lseek(fd, 2 * unit, os.SEEK_DATA)
            yield outcome(os.lseek, fd, -1, os.SEEK_DATA), os.lseek(fd, -5, os.SEEK_END)
    side_by_side(script, env, shared)


def test_a_sparse_file_of_a_tebibyte(shared):
    a, b = shared.fresh()
    with opened(a / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, 1 << 40)
        os.pwrite(fd, b"middle", 1 << 39)
        equal(os.lseek(fd, 0, os.SEEK_DATA), 1 << 39, "where data begins")
        equal(os.lseek(fd, (1 << 39) + (1 << 20), os.SEEK_HOLE), (1 << 39) + (1 << 20), "a hole behind it")
        check(os.stat(b / "f").st_blocks < 100, f"{os.stat(b / 'f').st_blocks} blocks")
        with opened(b / "f", os.O_RDONLY) as other:
            equal(os.pread(other, 10, (1 << 39) - 2), b"\0\0middle\0\0", "bytes through the other mount")
        fallocate(fd, PUNCH, 0, 1 << 40)
        equal(errno_of(os.lseek, fd, 0, os.SEEK_DATA), "ENXIO", "data after punching all of it")


def test_copy_file_range(env, shared):
    def whole(src, dst, want, at, to):
        done = 0
        while done < want:
            n = os.copy_file_range(src, dst, want - done, at + done, to + done)
            if n == 0:
                break
            done += n
        return done

    def script(d):
        put(d / "from", bytes(range(256)) * 12_000) # 3 MB
        with opened(d / "from", os.O_RDONLY) as src, opened(d / "to", os.O_RDWR | os.O_CREAT) as dst:
            yield whole(src, dst, 3_072_000, 0, 0), hash(get(d / "to")) == hash(get(d / "from"))
            yield whole(src, dst, 10_000, 3_070_000, 123_457), os.fstat(dst).st_size, hash(get(d / "to"))
            yield outcome(os.copy_file_range, src, dst, 10, 4_000_000, 0), outcome(os.copy_file_range, src, dst, 0, 0, 0)
            yield outcome(os.copy_file_range, dst, src, 10, 0, 0), os.copy_file_range(src, dst, 5), os.lseek(src, 0, os.SEEK_CUR)
            yield whole(src, dst, 100, 7, 5_000_000), os.pread(dst, 120, 4_999_990), os.fstat(dst).st_size
        with opened(d / "to", os.O_RDWR) as same:
            yield outcome(os.copy_file_range, same, same, 100, 0, 50), os.copy_file_range(same, same, 100, 0, 200), os.pread(same, 300, 0)
        with opened(d / "to", os.O_WRONLY | os.O_APPEND) as ap, opened(d / "from", os.O_RDONLY) as src:
            yield outcome(os.copy_file_range, src, ap, 10, 0, 0)
    side_by_side(script, env, shared)


def test_a_copy_within_the_mount_sends_no_bytes(shared):
    """cp between two files of the mount: entries of the log, not reads and writes."""
    a, b = shared.fresh()
    data = os.urandom(4 << 20)
    put(a / "from", data)

    def copy():
        done = 0
        while done < len(data):
            done += os.copy_file_range(src, dst, len(data) - done)
    with opened(a / "from", os.O_RDONLY) as src, opened(a / "to", os.O_WRONLY | os.O_CREAT) as dst:
        asked = Counter(shared.a).during(copy)
    equal((asked.get("copy", 0), asked.get("read"), asked.get("write")), (4, None, None), f"copies, reads and writes among {asked}")
    equal(get(b / "to") == data, True, "the copy through the other mount is equal")


def test_mappings_and_truncation(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"0123456789" * 2000)
        with opened(f, os.O_RDWR) as fd:
            m = mmap.mmap(fd, 20_000)
            m[0:3] = b"ABC"
            m.flush()
            yield get(f)[:5], os.pwrite(fd, b"xyz", 10), os.pread(fd, 20, 0)
            m[19_990:20_000] = b"e" * 10
            m.close()
            os.fsync(fd)
            yield get(f)[-12:]
            os.ftruncate(fd, 4)
            yield get(f), os.fstat(fd).st_size
        with opened(f, os.O_RDWR | os.O_SYNC) as fd:
            yield os.write(fd, b"sync"), get(f)
        with opened(f, os.O_RDWR | os.O_DIRECT) as fd:
            block = mmap.mmap(-1, 4096)
            block[:] = b"d" * 4096
            yield os.writev(fd, [block]), os.fstat(fd).st_size, os.preadv(fd, [block], 0)
    side_by_side(script, env, shared)


def test_a_file_that_is_opened_with_o_trunc_twice(env, shared):
    def script(d):
        for how in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            for second in (os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
                put(d / "f", b"old")
                with opened(d / "f", how | os.O_TRUNC) as first:
                    yield how, second, put(d / "f", b"new", second), os.fstat(first).st_size
                yield get(d / "f")
        put(d / "f", b"old")
        with opened(d / "f", os.O_WRONLY | os.O_TRUNC) as first:
            put(d / "f", b"newer")
            yield put(d / "f", b" and more", os.O_WRONLY | os.O_APPEND), os.write(first, b"N"), get(d / "f")
    side_by_side(script, env, shared)


# Files and their names

def test_files_without_a_name(env, shared):
    def script(d):
        with opened(d, os.O_TMPFILE | os.O_RDWR, 0o640) as fd:
            yield os.listdir(d), os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode), os.write(fd, b"hello")
            yield outcome(name_file, fd, d / "named"), get(d / "named"), os.fstat(fd).st_nlink, facts(d / "named")
            yield outcome(name_file, fd, d / "named"), outcome(name_file, fd, d / "again"), os.fstat(fd).st_nlink
        yield get(d / "again"), sorted(os.listdir(d))
        with opened(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600) as fd: # never to be named
            yield os.write(fd, b"private"), outcome(name_file, fd, d / "refused"), os.pread(fd, 10, 0)
        yield outcome(os.open, d, os.O_TMPFILE | os.O_RDONLY), outcome(os.open, d / "named", os.O_TMPFILE | os.O_RDWR)
        put(d / "f", b"x")
        with opened(d / "f", os.O_RDWR) as fd:
            os.unlink(d / "f")
            yield outcome(name_file, fd, d / "back"), os.fstat(fd).st_nlink # a name that is gone does not come back
            yield os.write(fd, b"still here"), os.pread(fd, 20, 0), os.lseek(fd, 0, os.SEEK_DATA)
            yield outcome(os.setxattr, fd, "user.x", b"1"), os.getxattr(fd, "user.x"), outcome(os.fchmod, fd, 0o600), outcome(os.fchown, fd, 3, 3)
        yield sorted(os.listdir(d))
    side_by_side(script, env, shared)


def test_a_nameless_file_goes_with_its_last_handle_and_a_named_one_stays(shared):
    a, b = shared.fresh()
    with opened(a, os.O_TMPFILE | os.O_RDWR) as fd:
        os.write(fd, b"data")
        name_file(fd, a / "kept")
        equal(get(b / "kept"), b"data", "the file under its first name, through the other mount")
    equal(get(b / "kept"), b"data", "after its handle was closed")
    equal(os.stat(a / "kept").st_nlink, 1, "links")


def test_special_files_and_links(env, shared):
    def script(d):
        import socket
        os.mknod(d / "chr", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(d / "blk", 0o600 | stat.S_IFBLK, os.makedev(200, 300))
        os.mkfifo(d / "fifo", 0o620)
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(d / "sock"))
        for name in ("chr", "blk", "fifo", "sock"):
            yield name, facts(d / name), os.lstat(d / name).st_rdev
        yield outcome(os.truncate, d / "fifo", 0) # (a device is not opened: FUSE file systems are mounted nodev)
        s.listen()
        c = socket.socket(socket.AF_UNIX)
        yield outcome(c.connect, str(d / "sock"))
        os.link(d / "fifo", d / "fifo2")
        os.link(d / "sock", d / "sock2")
        os.symlink("chr", d / "sym")
        os.link(d / "sym", d / "sym2", follow_symlinks=False)
        yield os.readlink(d / "sym2"), os.lstat(d / "sym").st_nlink
        yield outcome(os.mknod, d / "dir", 0o600 | stat.S_IFDIR), outcome(os.chmod, d / "sym", 0o600)
        with opened(d / "fifo", os.O_RDWR | os.O_NONBLOCK) as fd:
            yield os.write(fd, b"through"), os.read(fd, 20)
        yield outcome(os.unlink, d / "chr"), outcome(os.unlink, d / "sock"), sorted(os.listdir(d))
    side_by_side(script, env, shared)


def test_names_of_every_byte_and_length(env, shared):
    def script(d):
        raw = os.fsencode(str(d)) + b"/"
        every = bytes(b for b in range(1, 256) if b != ord("/"))
        for name in (every, every[::-1], b"x" * 255, "ü".encode() * 127, b" ", b"a\nb", b"..."):
            yield put(raw + name, b"1"), name in os.listdir(raw), outcome(os.mkdir, raw + name)
        yield outcome(put, raw + b"x" * 256, b""), outcome(os.symlink, b"t" * 4095, raw + b"long"), outcome(os.symlink, b"t" * 4096, raw + b"longer")
        yield outcome(os.symlink, b"", raw + b"empty"), outcome(os.open, raw + b"", os.O_RDONLY | os.O_DIRECTORY) > 0
        yield outcome(os.stat, raw + b"x/" * 2048)
    side_by_side(script, env, shared)


@limit(60)
def test_rename_in_every_corner(env, shared):
    kinds = ("absent", "file", "empty", "full", "symlink", "fifo")

    def make(path, kind):
        if kind == "file":
            put(path, b"content of " + os.fsencode(path.name))
        elif kind in ("empty", "full"):
            os.mkdir(path)
            if kind == "full":
                put(path / "inside", b"x")
        elif kind == "symlink":
            os.symlink("target", path)
        elif kind == "fifo":
            os.mkfifo(path)

    def script(d):
        for flags in (0, 1, 2): # plain, NOREPLACE, EXCHANGE
            for source in kinds:
                for target in kinds:
                    top = d / f"{flags}-{source}-{target}"
                    os.mkdir(top)
                    os.mkdir(top / "other")
                    make(top / "s", source)
                    make(top / "other" / "t", target)
                    yield top.name, outcome(renameat2, top / "s", top / "other" / "t", flags)
                    yield sorted(os.listdir(top)), sorted(os.listdir(top / "other")), os.stat(top).st_nlink, os.stat(top / "other").st_nlink
        os.makedirs(d / "a" / "b" / "c")
        yield outcome(os.rename, d / "a", d / "a" / "b" / "c" / "d"), outcome(os.rename, d / "a", d / "a" / "b")
        yield outcome(renameat2, d / "a", d / "a" / "b", 2), outcome(renameat2, d / "a" / "b", d / "a", 2)
        yield outcome(os.rename, d / "a" / "b" / "c", d / "a"), outcome(os.rename, d / "a" / ".", d / "x"), outcome(os.rename, d / "a", d / "x" / "..")
        put(d / "f", b"f")
        os.link(d / "f", d / "g")
        for flags in (0, 1, 2):
            yield flags, outcome(renameat2, d / "f", d / "g", flags), outcome(renameat2, d / "f", d / "f", flags)
        yield outcome(os.rename, d / "f", d / ("n" * 256)), outcome(renameat2, d / "f", d / "h", 8)
        yield changes(d / "f", os.rename, d / "f", d / "f"), sorted(os.listdir(d))[:5]
        put(d / "old", b"")
        with opened(d / "old", os.O_RDONLY) as fd:
            before = os.fstat(fd).st_ctime_ns
            os.rename(d / "old", d / "new")
            yield os.fstat(fd).st_ctime_ns > before
        yield changes(d, os.mkdir, d / "m"), changes(d, os.rename, d / "m", d / "m2"), changes(d, os.rmdir, d / "m2")
    side_by_side(script, env, shared)


# Modes, owners, times

def in_child(uid, gid, groups, call):
    """What `call` gives when somebody else runs it."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(w, repr(outcome(call)).encode())
        finally:
            os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        said = f.read().decode()
    os.waitpid(pid, 0)
    return said


class OpenToAll:
    """One more mount of the shared cluster, which other users may enter."""

    def __init__(self, env, shared):
        self.shared, self.mount = shared, Mount(env.dir, "all", ["--cluster", shared.cluster.toml], "allow_other")

    def fresh(self):
        a, b = self.shared.fresh()
        return self.mount / a.name, b

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mount.stop()


@limit(60)
def test_set_id_bits_and_sticky_directories(env, shared):
    def script(d):
        os.chmod(d, 0o777)
        os.chdir(d) # nobody but root could come here by the whole path
        f = Path("prog")
        for mode in (0o6755, 0o6745, 0o2644, 0o4644):
            put(f, b"program")
            os.chown(f, 1000, 1000)
            os.chmod(f, mode)
            yield in_child(1000, 1000, [], lambda: put(f, b"W", os.O_WRONLY)), oct(os.stat(f).st_mode)
            os.chmod(f, mode)
            yield in_child(1000, 1000, [], lambda: os.truncate(f, 2)), oct(os.stat(f).st_mode)
            os.chmod(f, mode)
            yield in_child(1000, 1000, [1001], lambda: os.chown(f, -1, 1001)), oct(os.stat(f).st_mode), os.stat(f).st_gid
            os.chmod(f, mode)
            os.chown(f, 1000, 1000)
            yield oct(os.stat(f).st_mode)
            os.chmod(f, mode)
            put(f, b"by root", os.O_WRONLY)
            yield oct(os.stat(f).st_mode)
            os.unlink(f)
        put(f, b"")
        os.chown(f, 1000, 2000)
        yield in_child(1000, 1000, [], lambda: os.chmod(f, 0o2755)), oct(os.stat(f).st_mode) # not in the file's group
        yield in_child(1001, 1001, [], lambda: os.chmod(f, 0o755)), in_child(1001, 1001, [], lambda: os.utime(f, (1, 1)))
        yield in_child(1000, 1000, [], lambda: os.chown(f, 0, 0)), in_child(1000, 1000, [], lambda: os.chown(f, -1, 3000))
        sticky = Path("sticky")
        os.mkdir(sticky)
        os.chmod(sticky, 0o1777)
        put(sticky / "theirs", b"")
        os.chown(sticky / "theirs", 1000, 1000)
        yield in_child(1001, 1001, [], lambda: os.unlink(sticky / "theirs")), in_child(1001, 1001, [], lambda: os.rename(sticky / "theirs", sticky / "x"))
        yield in_child(1000, 1000, [], lambda: os.unlink(sticky / "theirs")), sorted(os.listdir(sticky))
        group = Path("group")
        os.mkdir(group)
        os.chown(group, 0, 1234)
        os.chmod(group, 0o2777)
        yield in_child(1000, 1000, [], lambda: (os.mkdir(group / "sub"), put(group / "f", b""), os.mkfifo(group / "p"), os.symlink("x", group / "l")))
        yield [(n, facts(group / n)) for n in ("sub", "f", "p", "l")], oct(os.stat(group / "sub").st_mode)
        yield in_child(1000, 1000, [], lambda: put(group / "setgid", b"", mode=0o2775)), facts(group / "setgid")
        os.chdir("/")
    with OpenToAll(env, shared) as mount:
        side_by_side(script, env, mount)


def test_times_and_what_moves_them(env, shared):
    def script(d):
        f = d / "f"
        put(f, b"x")
        for a, m in ((1_000_000_001, 2_000_000_002), (UTIME_OMIT, 5), (7, UTIME_OMIT), (UTIME_OMIT, UTIME_OMIT)):
            yield utimens(f, a, m), os.stat(f).st_atime_ns, os.stat(f).st_mtime_ns
        old = os.stat(f)
        yield utimens(f, UTIME_NOW, UTIME_OMIT), os.stat(f).st_atime_ns > old.st_atime_ns, os.stat(f).st_mtime_ns
        yield utimens(f, 3, UTIME_NOW), os.stat(f).st_atime_ns, os.stat(f).st_mtime_ns > old.st_mtime_ns
        os.symlink("f", d / "l")
        yield utimens(d / "l", 1, 2, 0x100), os.lstat(d / "l").st_mtime_ns, outcome(utimens, d / "absent", 1, 2)
        yield changes(f, os.chmod, f, 0o600), changes(f, os.chown, f, 1, 1), changes(f, os.link, f, d / "g"), changes(f, os.unlink, d / "g")
        yield changes(f, os.truncate, f, 100), changes(f, put, f, b"y", os.O_WRONLY), changes(f, utimens, f, 1, 2)
        yield changes(f, os.truncate, f, 100)[0], changes(f, put, f, b"", os.O_WRONLY), changes(f, get, f)
        yield changes(f, utimens, f, UTIME_OMIT, UTIME_OMIT)
        yield changes(d, os.mkdir, d / "sub"), changes(d, put, d / "sub" / "f", b""), changes(d, os.chmod, d / "sub", 0o700)
        yield changes(d, os.unlink, d / "l"), changes(d, os.symlink, "x", d / "l2"), changes(d, os.mkfifo, d / "p")
    side_by_side(script, env, shared)


def test_links_of_directories_and_their_limits(env, shared):
    def script(d):
        yield os.stat(d).st_nlink
        for name in ("a", "b", "c"):
            os.mkdir(d / name)
        yield os.stat(d).st_nlink
        os.rename(d / "a", d / "b" / "a")
        yield os.stat(d).st_nlink, os.stat(d / "b").st_nlink
        os.rename(d / "b" / "a", d / "c")
        os.rmdir(d / "c")
        yield os.stat(d).st_nlink, os.stat(d / "b").st_nlink
    side_by_side(script, env, shared)


# Directories

class c_dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
                ("name", ctypes.c_char * 256)]


LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype, LIBC.readdir.argtypes = ctypes.POINTER(c_dirent), [ctypes.c_void_p]
LIBC.telldir.restype, LIBC.telldir.argtypes = ctypes.c_long, [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
LIBC.closedir.argtypes = LIBC.rewinddir.argtypes = [ctypes.c_void_p]


class Listing:
    """A directory stream of libc."""

    def __init__(self, path):
        self.dir = LIBC.opendir(os.fsencode(str(path)))
        check(self.dir, f"opendir {path}")

    def next(self):
        d = LIBC.readdir(self.dir)
        return d.contents.name if d else None

    def rest(self):
        return list(iter(self.next, None))

    def tell(self):
        return LIBC.telldir(self.dir)

    def seek(self, where):
        LIBC.seekdir(self.dir, where)

    def rewind(self):
        LIBC.rewinddir(self.dir)

    def close(self):
        LIBC.closedir(self.dir)


@limit(60)
def test_positions_in_a_listing_stay_while_entries_come_and_go(shared):
    a, b = shared.fresh()
    names = {f"file {i}".encode() for i in range(3000)}
    for n in names:
        put(os.fsencode(str(a)) + b"/" + n, b"")
    d = Listing(a)
    seen, marks = [], []
    for i in range(1500):
        marks.append((d.tell(), len(seen)))
        seen.append(d.next())
    for n in seen[:200]: # what was listed goes, and new ones come, through the other mount
        if n not in (b".", b".."):
            os.unlink(os.fsencode(str(b)) + b"/" + n)
    for i in range(200):
        put(b / f"new {i}", b"")
    rest = d.rest()
    equal(len(seen + rest), len(set(seen + rest)), "names listed once")
    check(names | {b".", b".."} <= set(seen + rest), "a name that was there all the time is missing")
    for where, count in marks[::100]:
        d.seek(where)
        n = next(n for n in seen[count:] + rest if os.path.lexists(os.path.join(os.fsencode(str(b)), n)))
        got = d.next()
        while got.startswith(b"new"):
            got = d.next()
        equal(got, n, f"the name behind position {where}")
    d.rewind()
    again = d.rest()
    equal(set(again), (names - set(seen[:200])) | {b".", b".."} | {f"new {i}".encode() for i in range(200)}, "names after rewinddir")
    d.close()


def test_a_listing_that_ended_goes_on_with_what_is_new_after_a_second_look(shared):
    a, b = shared.fresh()
    put(a / "one", b"")
    d = Listing(a)
    equal(sorted(d.rest()), [b".", b"..", b"one"], "names")
    put(b / "two", b"")
    d.rewind()
    equal(sorted(d.rest()), [b".", b"..", b"one", b"two"], "names after rewinddir")
    d.close()


def test_a_removed_directory_that_is_still_in_use(env, shared):
    def script(d):
        os.mkdir(d / "gone", 0o750)
        fd = os.open(d / "gone", os.O_RDONLY | os.O_DIRECTORY)
        d2 = d / "gone"
        here = os.getcwd()
        os.chdir(d2)
        os.rmdir(d2)
        yield os.fstat(fd).st_nlink, oct(os.fstat(fd).st_mode), outcome(os.listdir, fd)
        yield outcome(os.open, "f", os.O_WRONLY | os.O_CREAT), outcome(os.mkdir, "sub"), outcome(os.stat, "f"), outcome(os.listdir, ".")
        yield os.stat(".").st_nlink, outcome(os.getcwd), outcome(os.rename, d2, d / "x"), outcome(os.symlink, "a", "b")
        os.chdir(here)
        os.close(fd)
        os.mkdir(d / "target")
        os.mkdir(d / "moved")
        fd = os.open(d / "target", os.O_RDONLY | os.O_DIRECTORY)
        os.rename(d / "moved", d / "target")
        yield os.fstat(fd).st_nlink, outcome(os.listdir, fd), os.listdir(d)
        os.close(fd)
    side_by_side(script, env, shared)


def test_what_another_mount_removed_is_stale(shared):
    a, b = shared.fresh()
    os.mkdir(a / "dir")
    fd = os.open(a / "dir", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(b / "dir")
    equal(errno_of(os.fstat, fd), "ESTALE", "fstat of a directory that the other mount removed")
    os.close(fd)


# Handles

class file_handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("handle", ctypes.c_char * 128)]


def handle_of(path):
    h, mount_id = file_handle(bytes=128), ctypes.c_int()
    called(LIBC.name_to_handle_at(AT_FDCWD, os.fsencode(str(path)), ctypes.byref(h), ctypes.byref(mount_id), 0))
    return h


def open_handle(top, h, flags=os.O_RDONLY):
    with opened(top, os.O_RDONLY | os.O_DIRECTORY) as fd:
        return called(LIBC.open_by_handle_at(fd, ctypes.byref(h), flags))


def test_open_by_handle(shared):
    """As an NFS server does it: by handles that it got long ago, maybe from another mount."""
    a, b = shared.fresh()
    os.makedirs(a / "x" / "y")
    put(a / "x" / "y" / "f", b"by handle")
    file, folder = handle_of(a / "x" / "y" / "f"), handle_of(a / "x" / "y")
    for top in (a, b):
        fd = open_handle(top, file)
        equal(os.read(fd, 100), b"by handle", "content")
        os.close(fd)
        fd = open_handle(top, folder)
        equal(os.listdir(fd), ["f"], "names")
        above = os.open("..", os.O_RDONLY, dir_fd=fd)
        equal(os.fstat(above).st_ino, os.stat(a / "x").st_ino, "the directory above")
        os.close(above)
        os.close(fd)
    os.rename(b / "x" / "y" / "f", b / "x" / "g")
    fd = open_handle(a, file, os.O_RDWR)
    os.write(fd, b"BY")
    os.close(fd)
    equal(get(b / "x" / "g"), b"BY handle", "content of the renamed file")
    os.unlink(b / "x" / "g")
    os.rmdir(b / "x" / "y")
    equal(errno_of(open_handle, b, folder), "ESTALE", "a handle of a removed directory")


def test_statfs_counts(shared):
    a, _ = shared.fresh()
    before = os.statvfs(a)
    for i in range(20):
        put(a / f"f{i}", b"x" * 100)
    after = os.statvfs(a)
    used = (after.f_files - after.f_ffree) - (before.f_files - before.f_ffree)
    check(used >= 20, f"{used} inodes more after 20 files were made")

"""Access control lists (-o acl), run on a local directory (ext4) and on a mount, and compared call by call: setting and
reading them, chmod, what default lists make of new files, and what users may do and may not."""

import os
import stat
import struct
import subprocess
from itertools import islice
from pathlib import Path

from harness import Mount, check, equal, errno_of, limit, wait_for
from test_posix import facts, get, outcome, put, side_by_side
from test_syscalls import changes, in_child, name_file, opened
from test_versions import hold, start_held

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
KINDS = (ACCESS, DEFAULT)
TAGS = {"u": (1, 2), "g": (4, 8), "m": (0x10, 0x10), "o": (0x20, 0x20)}
ANN, BEN, CAT = 70001, 70002, 70003 # users, each in the group of the same number
TEAM = 70010


def acl(text, version=2):
    """u::rwx,u:5:r-x,g::---,g:7:rw-,m::rwx,o::--- as the extended attribute has it."""
    value = struct.pack("<I", version)
    for entry in filter(None, text.split(",")):
        tag, id, perm = entry.split(":")
        bits = sum(bit for letter, bit in zip("rwx", (4, 2, 1)) if letter in perm)
        value += struct.pack("<HHI", TAGS[tag][id != ""], bits, int(id) if id else 0xffffffff)
    return value


def lists(path):
    """Mode, owners and both lists."""
    return [facts(path)[:3]] + [outcome(os.getxattr, path, kind, follow_symlinks=False) for kind in KINDS]


def set_list(path, kind, text):
    return outcome(os.setxattr, path, kind, acl(text))


def as_user(d, who, call):
    """What `call` gives somebody else in the directory d, to which nobody but root could come by the whole path."""
    os.chdir(d)
    try:
        return in_child(*who, call)
    finally:
        os.chdir("/")


class Acls:
    """Two more mounts of the shared cluster, which other users may enter, with lists."""

    def __init__(self, env, shared):
        self.shared = shared
        self.a, self.b = (Mount(env.dir, name, ["--cluster", shared.cluster.toml], "allow_other,acl") for name in "xy")

    def fresh(self):
        a, _ = self.shared.fresh()
        return self.a / a.name, self.b / a.name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.a.stop()
        self.b.stop()


def compared(script, env, shared):
    """side_by_side(), and then the lists of everything that is left, through the other mount."""
    with Acls(env, shared) as mounts:
        def fresh():
            fresh.made = Acls.fresh(mounts)
            return fresh.made
        mounts.fresh = fresh
        side_by_side(script, env, mounts)
        for folder, dirs, files in os.walk(env.dir / "local"):
            for name in dirs + files:
                path = os.path.join(folder, name)
                there = fresh.made[1] / os.path.relpath(path, env.dir / "local")
                equal(lists(there), lists(path), f"lists of {path} through the other mount")


GOOD = ["u::rw-,g::r--,o::---", "u::rwx,g::rwx,o::rwx", "u::rw-,g::r--,m::r--,o::r--", "u::rw-,u:5:rwx,g::r--,m::rw-,o::---",
        "u::---,u:5:r--,u:9:-w-,u:4294967294:--x,g::rwx,g:0:r--,g:5:---,m::r-x,o::rwx", "u::rwx,g::---,g:7:rwx,m::---,o::---",
        "u::r--,u:9:r--,u:5:r--,g::r--,m::r--,o::r--", "u::r--,u:5:r--,u:5:rwx,g::r--,m::r--,o::r--"]
BAD = ["u::rw-", "u::rw-,g::r--", "g::r--,o::r--", "u::rw-,o::r--", "u::rw-,o::r--,g::r--", "u::rw-,u::rw-,g::r--,o::r--",
       "u::rw-,g::r--,g::r--,o::r--", "u::rw-,g::r--,o::r--,o::r--", "u::rw-,u:5:rwx,g::r--,o::---",
       "u::rw-,g::r--,g:5:rwx,o::---", "u::rw-,g::r--,u:5:r--,m::r--,o::---", "u::rw-,g:5:r--,g::r--,m::r--,o::---",
       "u::rw-,g::r--,m::r--,m::r--,o::---", "u::rw-,m::r--,g::r--,o::---", "u::rw-,g::r--,o::---,m::r--",
       "u::rw-,u:4294967295:r--,g::r--,m::r--,o::---", "o::r--"]
RAW = [b"", b"\2", b"\2\0\0\0", b"\1\0\0\0", acl(GOOD[0], 1), acl(GOOD[0])[:-1], acl(GOOD[0]) + b"\0" * 4,
       acl(GOOD[0]).replace(b"\x20\0", b"\x40\0"), acl(GOOD[0]).replace(b"\x20\0\0\0", b"\x20\0\x08\0"),
       acl(GOOD[0]).replace(b"\xff" * 4, b"\7\0\0\0"), struct.pack("<IHHI", 2, 0, 7, 0)]


@limit(60)
def test_lists_are_set_read_and_removed(env, shared):
    def script(d):
        put(d / "f", b"text", mode=0o2750)
        os.mkdir(d / "dir", 0o750)
        os.mkfifo(d / "fifo", 0o600)
        os.symlink("f", d / "link")
        for name in ("f", "dir", "fifo"):
            for kind in KINDS:
                for value in [acl(text) for text in GOOD + BAD] + RAW:
                    yield name, kind, value, outcome(os.setxattr, d / name, kind, value), lists(d / name), sorted(os.listxattr(d / name))
                yield outcome(os.removexattr, d / name, kind), lists(d / name), outcome(os.removexattr, d / name, kind)
        for kind in KINDS: # of the link itself
            yield outcome(os.setxattr, d / "link", kind, acl(GOOD[3]), follow_symlinks=False), lists(d / "link")
            yield outcome(os.removexattr, d / "link", kind, follow_symlinks=False)
        for flags in (os.XATTR_CREATE, os.XATTR_REPLACE, os.XATTR_CREATE):
            yield outcome(os.setxattr, d / "f", ACCESS, acl(GOOD[4]), flags), lists(d / "f")
        for room in (0, 1, 1000):
            yield outcome(lambda room=room: len(os.getxattr(d / "f", ACCESS)))
        yield sorted(os.listxattr(d / "f"))
        os.setxattr(d / "f", "user.x", b"1")
        yield sorted(os.listxattr(d / "f"))
        for text in GOOD:
            yield changes(d / "f", os.setxattr, d / "f", ACCESS, acl(text))[:1]
        with opened(d / "f", os.O_RDONLY) as fd:
            yield outcome(os.setxattr, fd, ACCESS, acl(GOOD[3])), outcome(os.getxattr, fd, ACCESS), sorted(os.listxattr(fd))
            yield outcome(os.removexattr, fd, ACCESS), outcome(os.getxattr, fd, ACCESS)
    compared(script, env, shared)


@limit(60)
def test_chmod_and_chown_change_lists(env, shared):
    def script(d):
        for name, make in (("f", lambda p: put(p, b"")), ("dir", os.mkdir)):
            make(d / name)
            for text in GOOD:
                set_list(d / name, ACCESS, text)
                for mode in (0o640, 0o777, 0, 0o4711, 0o1070, 0o2750):
                    yield text, oct(mode), outcome(os.chmod, d / name, mode), lists(d / name)
                yield outcome(os.chown, d / name, ANN, TEAM), lists(d / name)
                yield outcome(os.chown, d / name, 0, 0), lists(d / name)
        os.chmod(d / "f", 0o4777)
        set_list(d / "f", ACCESS, GOOD[3])
        yield put(d / "f", b"written", os.O_WRONLY), os.truncate(d / "f", 3), lists(d / "f")
        os.rename(d / "f", d / "g")
        os.link(d / "g", d / "h")
        yield lists(d / "g"), os.chmod(d / "h", 0o666), lists(d / "g"), os.unlink(d / "g"), lists(d / "h")
    compared(script, env, shared)


DEFAULTS = ["", "u::rwx,g::r-x,o::---", "u::rw-,g::rw-,o::r--", "u::rwx,u:70001:rwx,g::r-x,g:70010:r--,m::rwx,o::r-x",
            "u::r-x,u:70001:rwx,g::rwx,m::r--,o::---", "u::rwx,g::rwx,m::rwx,o::rwx", "u::---,g::---,o::---"]


@limit(90)
def test_what_is_created_inherits(env, shared):
    def script(d):
        old = os.umask(0)
        try:
            for n, text in enumerate(DEFAULTS):
                for sticky in (0o755, 0o2775)[:1 + (n == 3)]:
                    top = d / f"{n}-{sticky:o}"
                    os.mkdir(top)
                    os.chown(top, 0, TEAM)
                    os.chmod(top, sticky)
                    if text:
                        yield set_list(top, DEFAULT, text)
                    for mask in (0, 0o27):
                        os.umask(mask)
                        for mode in (0o666, 0o4755, 0o2070):
                            here = f"{mask:o}-{mode:o}"
                            os.close(os.open(top / f"f{here}", os.O_RDWR | os.O_CREAT, mode))
                            os.mkdir(top / f"d{here}", mode)
                            os.mknod(top / f"p{here}", stat.S_IFIFO | mode)
                            with opened(top, os.O_TMPFILE | os.O_RDWR, mode) as fd:
                                yield oct(os.fstat(fd).st_mode), outcome(os.getxattr, fd, ACCESS)
                                name_file(fd, top / f"t{here}")
                            os.symlink("target", top / f"s{here}")
                            yield text, here, [(kind, lists(top / f"{kind}{here}")) for kind in "fdpts"]
                    os.umask(0)
                    os.makedirs(top / "a" / "b" / "c")
                    yield lists(top / "a" / "b" / "c"), outcome(os.removexattr, top / "a", DEFAULT)
                    os.mkdir(top / "a" / "plain")
                    yield lists(top / "a" / "plain"), os.chmod(top / "a" / "b", 0o700), lists(top / "a" / "b")
        finally:
            os.umask(old)
    compared(script, env, shared)


USERS = [(0, 0, []), (ANN, ANN, []), (BEN, BEN, [TEAM]), (CAT, CAT, []), (CAT, TEAM, [ANN])]
RIGHTS = ["u::rwx,g::---,o::---", "u::rwx,u:70001:rwx,g::---,m::rwx,o::---", "u::rwx,u:70001:r-x,g::---,g:70010:rwx,m::rwx,o::---",
          "u::rwx,u:70001:rwx,g::rwx,m::r-x,o::---", "u::rwx,u:70001:---,g::---,g:70010:--x,m::rwx,o::rwx",
          "u::rwx,g::---,g:70001:r-x,g:70010:-wx,m::rwx,o::r-x", "u::rwx,u:70002:-wx,g::rwx,m::---,o::--x",
          "u::r--,u:70003:rwx,g::rw-,g:70003:rwx,m::rwx,o::--x"]


@limit(120)
def test_users_may_do_what_the_lists_say(env, shared):
    d, f, inside, new = Path("dir"), Path("f"), Path("dir/in"), Path("dir/new")

    def tries():
        """What one user can do: every step by itself."""
        def said(call, *args):
            result = outcome(call, *args)
            return result if isinstance(result, (str, bytes, bool, int, list)) else repr(result)
        def closed(*args):
            os.close(os.open(*args))
        yield [said(os.access, path, how) for path in (d, inside, f) for how in (os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK)]
        yield said(lambda: sorted(os.listdir(d))), said(lambda: oct(os.stat(inside).st_mode))
        yield [said(closed, path, how) for path in (f, inside) for how in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)]
        yield said(get, f), said(put, new, b"mine"), said(os.mkdir, d / "sub"), said(os.rename, new, d / "other")
        yield said(os.unlink, d / "other"), said(os.rmdir, d / "sub")
        yield said(os.chmod, f, 0o777), said(os.setxattr, f, ACCESS, acl(GOOD[0])), said(os.removexattr, f, ACCESS)
        yield said(os.setxattr, f, "user.x", b"1"), said(os.getxattr, f, ACCESS), said(os.chdir, d)

    def script(d):
        os.chmod(d, 0o755)
        os.mkdir(d / "dir")
        put(d / "dir" / "in", b"inside", mode=0o644)
        put(d / "f", b"text")
        for owner, group in ((0, 0), (CAT, TEAM)):
            for text in RIGHTS:
                for name in ("dir", "f"):
                    os.chown(d / name, owner, group)
                    yield set_list(d / name, ACCESS, text), lists(d / name)
                for uid, gid, groups in USERS[1:]:
                    if uid == owner: # who may change the list, which the next user is to find as it is
                        yield uid, as_user(d, (uid, gid, groups), lambda: list(islice(tries(), 3)))
                    else:
                        yield text, uid, gid, groups, as_user(d, (uid, gid, groups), lambda: list(tries()))
    compared(script, env, shared)


@limit(60)
def test_set_group_id_goes_when_somebody_else_sets_a_list(env, shared):
    def script(d):
        os.chmod(d, 0o777)
        for name, make in (("f", lambda p: put(p, b"")), ("dir", os.mkdir)):
            for uid, gid, groups in USERS:
                for kind, text in [(ACCESS, GOOD[1]), (ACCESS, GOOD[3]), (ACCESS, GOOD[4]), (ACCESS, ""), (DEFAULT, GOOD[3])]:
                    path = d / f"{name}-{uid}-{gid}-{kind[-3:]}-{len(text)}"
                    make(path)
                    os.chown(path, uid, TEAM)
                    os.chmod(path, 0o6775)
                    yield as_user(d, (uid, gid, groups), lambda: os.setxattr(path.name, kind, acl(text))), lists(path)
    compared(script, env, shared)


def run(*args, cwd=None):
    done = subprocess.run([str(a) for a in args], cwd=cwd, env=os.environ | {"LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    equal(done.returncode, 0, f"exit code of {args}: {done.stdout.decode()[-500:]}")
    return done.stdout.decode()


def getfacl(d, top):
    names = [top] + [os.path.relpath(os.path.join(folder, name), d) for folder, dirs, files in os.walk(d / top) for name in dirs + files]
    return run("getfacl", "-n", *sorted(names), cwd=d)


@limit(90)
def test_tools_carry_lists(env, shared):
    """setfacl and getfacl; cp, rsync and tar there, within and back."""
    def tree_of(d):
        os.makedirs(d / "tree" / "sub")
        put(d / "tree" / "a", b"a", mode=0o640)
        put(d / "tree" / "sub" / "b", b"b")
        os.symlink("a", d / "tree" / "link")
        run("setfacl", "-m", f"u:{ANN}:rw,g:{TEAM}:r", d / "tree" / "a")
        run("setfacl", "-R", "-m", f"u:{BEN}:rwX", d / "tree" / "sub")
        run("setfacl", "-d", "-m", f"g:{TEAM}:rwx,o::-", d / "tree" / "sub")
        put(d / "tree" / "sub" / "new", b"n")
        os.mkdir(d / "tree" / "sub" / "below")

    def script(d):
        tree_of(d)
        yield getfacl(d, "tree")
        run("setfacl", "-x", f"u:{BEN}", d / "tree" / "sub" / "b")
        run("setfacl", "-b", d / "tree" / "a")
        run("setfacl", "-k", d / "tree" / "sub" / "below")
        yield getfacl(d, "tree")
        run("setfacl", "-m", f"u:{ANN}:rwx,m::r", d / "tree" / "a")
        yield run("cp", "-a", d / "tree", d / "copy"), getfacl(d, "copy")
        yield run("rsync", "-aHAX", f"{d}/tree/", d / "synced"), getfacl(d, "synced")
        run("tar", "--acls", "-C", d, "-cf", d / "t.tar", "tree")
        os.mkdir(d / "out")
        yield run("tar", "--acls", "-C", d / "out", "-xpf", d / "t.tar"), getfacl(d / "out", "tree")
        os.unlink(d / "t.tar")
    compared(script, env, shared)
    with Acls(env, shared) as mounts:
        there, other = mounts.fresh()
        run("rsync", "-aHAX", f"{env.dir / 'local'}/", there)
        wanted = getfacl(env.dir / "local", ".")
        equal(getfacl(other, "."), wanted, "lists after rsync to the mount, through the other one")
        run("rsync", "-aHAX", f"{other}/", env.dir / "back")
        equal(getfacl(env.dir / "back", "."), wanted, "lists after rsync back")
        equal(run("rsync", "-aHAXni", f"{env.dir / 'local'}/", there), "", "what rsync would still copy")


@limit(60)
def test_two_mounts_agree_at_once_and_a_mount_without_the_option_leaves_lists_right(env, shared):
    with Acls(env, shared) as mounts:
        a, b = mounts.fresh()
        plain = shared.a / a.name
        os.chmod(a, 0o755)
        put(a / "f", b"text", mode=0o600)
        os.mkdir(a / "dir", 0o700)
        put(a / "dir" / "in", b"in")
        may = lambda top, path: as_user(top, (ANN, ANN, []), lambda: get(path))
        for _ in range(20):
            equal(set_list(a / "f", ACCESS, f"u::rw-,u:{ANN}:r--,g::---,m::r--,o::---"), None, "setting a list")
            equal(may(b, "f"), "b'text'", "reading with a list that the other mount has just set")
            os.chmod(b / "f", 0o600)
            equal(may(a, "f"), "'EACCES'", "reading with a mask that the other mount has just emptied")
            os.setxattr(b / "dir", ACCESS, acl(f"u::rwx,g::---,g:{ANN}:--x,m::--x,o::---"))
            equal(may(a, "dir/in"), "b'in'", "reading in a directory that the other mount has just opened")
            os.removexattr(a / "dir", ACCESS)
            os.chmod(a / "dir", 0o700)
            equal(may(b, "dir/in"), "'EACCES'", "reading in a directory that the other mount has just closed")

        set_list(a / "f", ACCESS, f"u::rw-,u:{ANN}:rw-,g::---,m::rw-,o::---")
        set_list(a / "dir", DEFAULT, f"u::rwx,u:{ANN}:rwx,g::---,m::rwx,o::---")
        equal(os.listxattr(plain / "f"), [], "names on a mount without the option")
        for call, args in ((os.getxattr, ()), (os.setxattr, (acl(GOOD[3]),)), (os.removexattr, ())):
            equal(errno_of(call, plain / "f", ACCESS, *args), "ENOTSUP", f"{call.__name__} on a mount without the option")
        os.chmod(plain / "f", 0o640)
        equal(lists(a / "f"), [facts(plain / "f")[:3], acl(f"u::rw-,u:{ANN}:rw-,g::---,m::r--,o::---"), "ENODATA"],
              "the list after a chmod on a mount without the option")
        put(plain / "dir" / "plain", b"", mode=0o644)
        equal(lists(a / "dir" / "plain")[1], "ENODATA", "the list of what was made on a mount without the option")
        check(stat.S_IMODE(os.stat(a / "dir" / "plain").st_mode) & 0o600 == 0o600, "its mode")

        key = f"{a.name}/dir/sub/key" # raftctl knows no umask, and asks for 0644
        equal(shared.cluster.ctl("set", key, "x").returncode, 0, "raftctl set")
        equal(lists(b / "dir" / "sub" / "key")[1], acl(f"u::rw-,u:{ANN}:rwx,g::---,m::r--,o::---"), "the list of a key of raftctl")
        equal(lists(b / "dir" / "sub")[2], os.getxattr(a / "dir", DEFAULT), "the default list of a directory that it made")


@limit(60)
def test_a_cluster_that_is_held_back_has_no_lists_and_creates_as_ever(env):
    cluster = env.cluster(start=False)
    held = hold(cluster)
    with cluster:
        for id in cluster.ids:
            start_held(cluster, id, held)
        cluster.wait_ready()
        m = cluster.mount(options="allow_other,acl")
        old = os.umask(0o027)
        try:
            put(m / "f", b"text", mode=0o666)
            os.mkdir(m / "dir", 0o777)
            os.mkfifo(m / "fifo", 0o666)
        finally:
            os.umask(old)
        equal([oct(os.stat(m / name).st_mode & 0o777) for name in ("f", "dir", "fifo")], ["0o640", "0o750", "0o640"], "modes")
        os.chmod(m / "f", 0o664)
        equal(as_user(m.path, (ANN, ANN, []), lambda: get("f")), "b'text'", "reading as somebody else")
        equal(errno_of(os.getxattr, m / "f", ACCESS), "ENODATA", "reading a list")
        equal(set_list(m / "f", ACCESS, GOOD[3]), "ENOTSUP", "setting a list")


@limit(60)
def test_without_a_quorum_others_reach_the_status(env):
    """As on any mount; the kernel asks for the root's list on the way."""
    with env.cluster() as cluster:
        m = cluster.mount(options="allow_other,acl,timeout=5")
        set_list(m.path, ACCESS, f"u::rwx,u:{ANN}:r-x,g::---,m::r-x,o::---")
        look = lambda uid: as_user(m.path, (uid, uid, []), lambda: get(".raft/status")[:1] != b"")
        equal(look(ANN), "True", "reading .raft/status")
        equal(look(BEN), "'EACCES'", "reading it without being in the list")
        for id in cluster.ids:
            cluster.kill(id)
        wait_for(lambda: look(ANN) == "True", 10, "reading .raft/status without a quorum")
        equal(look(BEN), "'EACCES'", "reading it without a quorum and without being in the list")
        cluster.start()
        cluster.wait_ready()


@limit(60)
def test_an_archive_of_raftctl_has_the_lists(env, shared):
    with Acls(env, shared) as mounts:
        a, b = mounts.fresh()
        put(a / "f", b"text")
        os.mkdir(a / "dir")
        set_list(a / "f", ACCESS, GOOD[3])
        set_list(a / "dir", DEFAULT, GOOD[4])
        set_list(a / "dir", ACCESS, GOOD[5])
        wanted = [lists(a / name) for name in ("f", "dir")]
        archive = env.dir / "a.tar"
        equal(shared.cluster.ctl("export", archive, a.name).returncode, 0, "raftctl export")
        run("rm", "-r", a / "f", a / "dir")
        done = shared.cluster.ctl("import", archive, a.name)
        equal(done.returncode, 0, f"raftctl import: {done.stderr}")
        equal([lists(b / name) for name in ("f", "dir")], wanted, "lists after the import")

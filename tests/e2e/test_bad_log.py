"""Damage in one node's log: it says which file and where, and ends; the others go on; a good copy puts it right."""

import os
import re
import shutil

from harness import check, equal, limit, wait_for

SEGMENT_BYTES = 16 << 20
NEEDLES = 40


def needle(i):
    return b"needle-%04d-" % i + b"n" * 500


def fill(cluster, segments):
    """Needles all over at least `segments` segments of the log."""
    m = cluster.mount()
    ballast = os.urandom(1 << 20)
    for i in range(NEEDLES):
        (m / f"needle{i}").write_bytes(needle(i))
    if segments > 1:
        for i in range(SEGMENT_BYTES // len(ballast) * (segments - 1) + 2):
            with open(m / "ballast", "r+b" if i else "wb", buffering=0) as f:
                f.write(ballast)
    for i in range(NEEDLES, 2 * NEEDLES):
        (m / f"needle{i}").write_bytes(needle(i))
    cluster.wait_agreed()
    return m


def files_with(directory, data):
    """[(path, offset)] of `data` in the files of a log."""
    found = []
    for name in sorted(os.listdir(directory)):
        path = directory / name
        at = path.read_bytes().find(data)
        if at >= 0:
            found.append((path, at))
    return found


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


def victim_of(cluster):
    leader = cluster.wait_leader()
    return next(id for id in cluster.ids if id != leader)


def refuses(cluster, id, path, at):
    """Start the node: it must end by itself, name the file and an offset at or before `at`, and not crash."""
    before = len(cluster.log(id).read_bytes())
    cluster.start(id)
    code = cluster.nodes[id].wait(10, "its refusal to start")
    said = cluster.log(id).read_bytes()[before:].decode(errors="replace")
    check(0 < code < 99, f"exit code {code}: {said}")
    error = " ".join(line for line in said.splitlines() if " E " in line)
    check(path.name in error, f"{path.name} is not named: {said}")
    numbers = [int(n) for n in re.findall(r"\d+", error.split(path.name, 1)[1])]
    check(numbers, f"no offset is named: {said}")
    if at is not None:
        check(any(at - 4096 <= n <= at + 4096 for n in numbers), f"no number near offset {at} is named: {said}")
    return error


def others_go_on(cluster, m, id, text):
    (m / "meanwhile").write_text(text)
    equal((m / "meanwhile").read_text(), text, "content with two nodes")
    check(id not in cluster.status(), f"the damaged node {id} answers")
    for i in range(2 * NEEDLES):
        equal((m / f"needle{i}").read_bytes(), needle(i), f"needle {i}")


@limit(60)
def test_a_flipped_bit_before_the_tail_is_refused_with_file_and_offset_and_a_good_copy_puts_it_right(env):
    with env.cluster() as cluster:
        m = fill(cluster, 1)
        id = victim_of(cluster)
        cluster.stop(id)
        data = cluster.data(id)
        good = env.dir / "good"
        shutil.copytree(data, good)
        path, at = files_with(data / "wal", needle(NEEDLES // 2))[0]
        for place in (at + 20, at + 480): # in the payload, at its beginning and at its end
            flip(path, place)
            damaged = path.read_bytes()
            refuses(cluster, id, path, at)
            others_go_on(cluster, m, id, f"while {place} is damaged")
            check(path.read_bytes() == damaged, "the refused node changed the damaged file")
            flip(path, place)
        flip(path, at + 20)
        shutil.rmtree(data)
        shutil.copytree(good, data)
        cluster.start(id)
        cluster.wait_agreed()
        others = [i for i in cluster.ids if i != id]
        cluster.kill(others[0]) # now the repaired node counts for the majority
        (m / "after").write_text("works")
        equal((m / "after").read_text(), "works", "content with the repaired node in the majority")


@limit(90)
def test_a_truncated_segment_in_the_middle_is_refused(env):
    with env.cluster() as cluster:
        m = fill(cluster, 2)
        id = victim_of(cluster)
        cluster.stop(id)
        path, at = files_with(cluster.data(id) / "wal", needle(NEEDLES // 2))[0]
        whole = path.read_bytes()
        for size in (at + 100, at - 200, 10, 0):
            os.truncate(path, size)
            refuses(cluster, id, path, None)
            others_go_on(cluster, m, id, f"while only {size} bytes are left")
            equal(path.stat().st_size, size, "size of the truncated file after the refusal")
            path.write_bytes(whole)
        cluster.start(id)
        cluster.wait_agreed()


@limit(60)
def test_a_missing_newest_segment_is_refused(env):
    with env.cluster() as cluster:
        m = fill(cluster, 2)
        id = victim_of(cluster)
        cluster.stop(id)
        path, _ = files_with(cluster.data(id) / "wal", needle(2 * NEEDLES - 1))[0]
        gone = env.dir / "gone"
        os.rename(path, gone)
        before = len(cluster.log(id).read_bytes())
        cluster.start(id)
        code = cluster.nodes[id].wait(10, "its refusal to start")
        said = cluster.log(id).read_bytes()[before:].decode(errors="replace")
        check(0 < code < 99 and path.name in said, f"exit code {code} with {path.name} missing: {said}")
        others_go_on(cluster, m, id, "while a segment is missing")
        os.rename(gone, path)
        cluster.start(id)
        cluster.wait_agreed()


@limit(60)
def test_a_newest_segment_truncated_below_what_was_applied_is_refused(env):
    """Cut where a crash could have torn it; but the state on disk knows of later entries."""
    with env.cluster() as cluster:
        m = fill(cluster, 1)
        id = victim_of(cluster)
        cluster.stop(id)
        path, at = files_with(cluster.data(id) / "wal", needle(NEEDLES // 2))[0]
        whole = path.read_bytes()
        os.truncate(path, at + 100)
        before = len(cluster.log(id).read_bytes())
        cluster.start(id)
        code = cluster.nodes[id].wait(10, "its refusal to start")
        check(0 < code < 99, f"exit code {code}: {cluster.log(id).read_bytes()[before:]!r}")
        others_go_on(cluster, m, id, "while the tail is missing")
        path.write_bytes(whole)
        cluster.start(id)
        cluster.wait_agreed()


@limit(60)
def test_a_torn_tail_is_cut_with_a_word_and_the_rest_is_kept(env):
    """Bytes of a record that was being written when the power went: never acknowledged, so no loss."""
    with env.cluster() as cluster:
        m = fill(cluster, 1)
        id = victim_of(cluster)
        cluster.kill(id)
        newest = max(files_with(cluster.data(id) / "wal", needle(2 * NEEDLES - 1)), key=lambda found: found[0].name)
        path, at = newest
        raw = path.read_bytes()
        end = len(raw.rstrip(b"\0"))
        check(at < end, "the newest needle lies behind the end of the log")
        with open(path, "r+b") as f:
            f.seek((end + 63) // 64 * 64)
            f.write(os.urandom(300))
        before = len(cluster.log(id).read_bytes())
        cluster.start(id)
        wait_for(lambda: id in cluster.status() or not cluster.nodes[id].running(), 10, "the node to start or to refuse")
        said = cluster.log(id).read_bytes()[before:].decode(errors="replace")
        if cluster.nodes[id].running():
            cluster.wait_agreed()
        else: # it may take the bytes for damage, as long as it says where
            check(path.name in said, f"{path.name} is not named: {said}")
            path.write_bytes(raw)
            cluster.start(id)
            cluster.wait_agreed()
        for i in range(2 * NEEDLES):
            equal((m / f"needle{i}").read_bytes(), needle(i), f"needle {i}")


@limit(60)
def test_a_damaged_hard_state_or_identity_is_refused_and_named(env):
    """Every small file of the log's directory, overwritten: never a crash, never a node that votes anew."""
    with env.cluster() as cluster:
        m = fill(cluster, 1)
        id = victim_of(cluster)
        cluster.stop(id)
        wal = cluster.data(id) / "wal"
        small = [wal / name for name in sorted(os.listdir(wal)) if (wal / name).stat().st_size < 1 << 20]
        check(small, f"no small file in {wal}: {os.listdir(wal)}")
        for path in small:
            whole = path.read_bytes()
            for damaged in (os.urandom(len(whole)), b""):
                path.write_bytes(damaged)
                before = len(cluster.log(id).read_bytes())
                cluster.start(id)
                code = cluster.nodes[id].wait(10, f"its refusal with a damaged {path.name}")
                said = cluster.log(id).read_bytes()[before:].decode(errors="replace")
                check(0 < code < 99, f"exit code {code} with a damaged {path.name}: {said}")
                check(path.name in said, f"{path.name} is not named: {said}")
            path.write_bytes(whole)
        others_go_on(cluster, m, id, "meanwhile")
        cluster.start(id)
        cluster.wait_agreed()


@limit(60)
def test_a_damaged_store_is_refused_or_rebuilt_but_never_served(env):
    with env.cluster() as cluster:
        m = fill(cluster, 1)
        id = victim_of(cluster)
        cluster.stop(id)
        store = cluster.data(id) / "store"
        tables = [p for p in sorted(store.iterdir()) if p.suffix == ".sst"]
        check(tables, f"no table in {store}: {os.listdir(store)}")
        for path in tables:
            raw = bytearray(path.read_bytes())
            for at in range(0, len(raw), 256):
                raw[at] ^= 0x55
            path.write_bytes(raw)
        cluster.start(id)
        wait_for(lambda: not cluster.nodes[id].running() or cluster.agreed(), 15, "the node to refuse or to catch up")
        (m / "meanwhile").write_text("text")
        for i in range(2 * NEEDLES):
            equal((m / f"needle{i}").read_bytes(), needle(i), f"needle {i}")


@limit(60)
def test_rethinkdb_5289_a_node_that_lost_its_data_cannot_vote_under_its_old_id(env):
    """Nodes 1 and 2 hold an acknowledged value; 1 loses its disk while 2 is down. 1 and 3 must not become a
    quorum without it, and node 2 brings it back."""
    with env.cluster(n=3) as cluster:
        cluster.wait_agreed()
        leader = cluster.wait_leader()
        lost, away = [id for id in cluster.ids if id != leader]
        cluster.kill(away)
        cluster.ctl("set", "durable", "yes")
        cluster.kill(leader, lost)
        shutil.rmtree(cluster.data(lost))
        cluster.start(lost, away)
        for id in (lost, away):
            wait_for(lambda: f"node {lost} has lost its data" in cluster.log(id).read_text(), 10,
                     f"node {id} says that node {lost} lost its data")
        cluster.ctl("--timeout", "1", "get", "durable", code=3)
        cluster.start(leader)
        cluster.wait_leader(among=[leader, away], seconds=10)
        equal(cluster.ctl("get", "durable").stdout.decode(), "yes", "the acknowledged value")


@limit(60)
def test_damage_found_while_running_ends_the_node_and_the_others_go_on(env):
    with env.cluster() as cluster:
        m = cluster.mount()
        leader = cluster.wait_leader()
        away = next(id for id in cluster.ids if id != leader)
        cluster.kill(away)
        for i in range(NEEDLES):
            (m / f"needle{i}").write_bytes(needle(i))
        rest = [id for id in cluster.ids if id != away]
        cluster.stop(*rest) # so that nothing of the log is in memory
        cluster.start(*rest)
        leader = cluster.wait_leader(among=rest)
        path, at = files_with(cluster.data(leader) / "wal", needle(7))[0]
        flip(path, at)
        cluster.start(away) # it lacks the entries, and the leader reads them for it
        code = cluster.nodes[leader].wait(10, "its end")
        check(0 < code < 99, f"exit code {code}")
        said = cluster.log(leader).read_text(errors="replace")
        check(path.name in said and "no longer what was written" in said, f"{path.name} is not named: {said[-800:]}")
        for i in range(NEEDLES):
            equal((m / f"needle{i}").read_bytes(), needle(i), f"needle {i}")
        refuses(cluster, leader, path, at) # nor does it start again
        flip(path, at)
        cluster.start(leader)
        cluster.wait_agreed()

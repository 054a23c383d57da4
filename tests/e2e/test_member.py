"""Servers come and go while clients work: join, learners, promotion, removal, replacement, rebuilding."""

import json
import os
import random
import shutil
import threading
import time

from harness import FULL, Proc, check, equal, limit, program, slow, text_of, wait_for
from load import Load


def voters(cluster):
    done = cluster.ctl("--endpoint", cluster.address(max(cluster.running())), "member", "list", alone=True, code=None)
    return {int(line.split()[0]) for line in done.stdout.decode().splitlines() if line.split()[2] == "voter"}


def facts_of(cluster, id):
    """What a node says of itself, member or not; {} if it does not answer."""
    done = cluster.ctl("--endpoint", cluster.address(id), "status", "--json", code=None, alone=True)
    return next((n for n in json.loads(done.stdout or b'{"nodes": []}')["nodes"] if n["id"] == id and n["reachable"]), {})


def add(cluster, id, *more):
    cluster.join(id)
    cluster.ctl("member", "add", str(id), cluster.address(id), *more, seconds=40)


def add_voter(cluster, id):
    add(cluster, id)
    wait_for(lambda: id in voters(cluster), 30, f"node {id} to become a voter")


def test_member_list_prints_id_address_kind_and_role(env):
    with env.cluster() as cluster:
        lines = cluster.ctl("member", "list").stdout.decode().splitlines()
        leader = cluster.leader_now()
        equal(lines, [f"{id} {cluster.address(id)} voter {'leader' if id == leader else 'follower'}" for id in (1, 2, 3)],
              "member list")
        cluster.kill(3 if leader != 3 else 2)
        check("unreachable" in cluster.ctl("member", "list").stdout.decode(), "a node that is down is listed as reachable")


def test_a_server_joins_catches_up_votes_and_is_removed_again(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "before", "1")
        cluster.join(4)
        wait_for(lambda: "waits to be added" in cluster.log(4).read_text(), 10, "node 4 to say that it waits")
        equal(cluster.status()[1]["role"] in ("leader", "follower"), True, "role of node 1")
        cluster.ctl("member", "add", "4", cluster.address(4))
        wait_for(lambda: 4 in voters(cluster), 10, "node 4 to become a voter")
        # it votes, leads, and has everything
        cluster.ctl("transfer", "4")
        equal(cluster.ctl("leader").stdout.decode(), f"4 {cluster.address(4)}\n", "leader")
        equal(cluster.ctl("get", "before").stdout, b"1", "a key from before")
        # removing the leader hands over first, and it says what has become of it
        cluster.ctl("member", "remove", "4")
        equal(voters(cluster), {1, 2, 3}, "voters")
        wait_for(lambda: "has been removed" in cluster.log(4).read_text(), 10, "node 4 to say that it is removed")
        cluster.ctl("set", "after", "2")
        # asking again for what is done is fine, or said
        check("no member" in text_of(cluster.ctl("member", "remove", "4", code=1)), "what is said of removing twice")


def test_wrong_changes_are_refused_with_a_reason(env):
    with env.cluster(n=1) as cluster:
        own, other = cluster.address(1), "127.0.0.1:1"
        for args, code, said in [(("add", "1", other), 1, "member already"), (("add", "2", own), 1, "address of node 1"),
                                 (("remove", "1"), 1, "last voter"), (("remove", "7"), 1, "no member"),
                                 (("promote", "7"), 1, "no member"), (("add", "2", "0.0.0.0:5"), 2, "HOST:PORT"),
                                 (("add", "x", other), 2, "number"), (("add", "2"), 2, "too few"), (("frob",), 2, "knows"),
                                 (("remove", "1", "--learner"), 2, "--learner")]:
            done = cluster.ctl("member", *args, code=code)
            check(said in text_of(done), f"member {args}: {text_of(done)!r} does not say {said!r}")
        equal(cluster.ctl("member", "add", "1", own).returncode, 0, "adding again what is there")


def test_a_learner_that_is_not_there_costs_the_quorum_nothing(env):
    with env.cluster() as cluster:
        cluster.ports[4] = 1 # nobody will ever listen there
        cluster.ctl("member", "add", "4", "127.0.0.1:1")
        equal(cluster.members()[4], ("learner", "unreachable"), "the new member")
        cluster.kill(next(id for id in cluster.ids if id != cluster.leader_now()))
        cluster.ctl("set", "k", "v") # two of three voters are up
        check("becomes a voter once" in text_of(cluster.ctl("member", "promote", "4")), "what promote says of it")
        equal(json.loads(cluster.ctl("member", "promote", "4", "--json").stdout)["done"], True, "promote --json")
        equal(cluster.members()[4][0], "learner", "kind of a server that cannot catch up")
        cluster.ctl("member", "remove", "4")


def test_a_learner_stays_one_until_it_is_promoted_by_hand(env):
    with env.cluster() as cluster:
        add(cluster, 4, "--learner")
        cluster.ctl("set", "k", "v")
        wait_for(lambda: facts_of(cluster, 4).get("applied", 0) >= cluster.last(), 10,
                 "the learner to have everything")
        equal(cluster.members()[4], ("learner", "follower"), "a learner that has caught up")
        wait_for(lambda: "voter" in text_of(cluster.ctl("member", "promote", "4")), 5, "promote to be taken")
        wait_for(lambda: 4 in voters(cluster), 10, "node 4 to be a voter")


def test_a_removed_server_disturbs_nobody_however_often_it_is_started(env):
    with env.cluster() as cluster:
        add_voter(cluster, 4)
        cluster.kill(4)
        cluster.ctl("member", "remove", "4") # it was away and does not know
        term = cluster.status()[cluster.leader_now()]["term"]
        cluster.start(4)
        wait_for(lambda: "no member any more" in cluster.log(4).read_text() or "has been removed" in cluster.log(4).read_text(),
                 10, "node 4 to learn that it was removed")
        wait_for(lambda: facts_of(cluster, 4).get("role") == "removed", 5, "its role to say so")
        cluster.kill(4)
        cluster.start(4)
        for i in range(20):
            cluster.ctl("set", f"k{i}", "v")
        equal(cluster.status()[cluster.leader_now(among=[1, 2, 3])]["term"], term, "term of the cluster")


def test_a_server_that_joined_comes_back_by_itself(env):
    with env.cluster() as cluster:
        add_voter(cluster, 4)
        cluster.ctl("set", "k", "v")
        cluster.kill(4)
        cluster.start(4)
        wait_for(lambda: cluster.members()[4] == ("voter", "follower"), 10, "node 4 to be back")
        cluster.wait_agreed()
        # without --join, too: its directory and the membership say it all
        cluster.kill(4)
        cluster.nodes[4] = Proc("raftd 4", [program("raftd"), "--cluster", cluster.data(4) / "cluster.toml", "--id", 4,
                                            "--data-dir", cluster.data(4)], cluster.log(4))
        wait_for(lambda: cluster.members()[4] == ("voter", "follower"), 10, "node 4 to be back without --join")


@limit(300 if FULL else 120)
def test_three_servers_are_replaced_by_three_others_under_load_and_kills(env):
    every = 5.0 if FULL else 2.0
    with env.cluster() as cluster:
        mount = cluster.mount()
        os.mkdir(mount / "load")
        load = Load(env.dir, [mount / "load"], 16)
        load.start()
        wait_for(lambda: load.done() > 200, 20, "the workers to get going")
        end = threading.Event()
        kills, broken = [], []

        def killer():
            try:
                while not end.wait(slow(every)):
                    up = [id for id in cluster.running() if id not in gone]
                    victim = random.choice(up)
                    kills.append(victim)
                    cluster.kill(victim)
                    cluster.start(victim)
            except Exception as e: # noqa: B902 - the test must hear of it
                broken.append(repr(e))

        gone = set()
        thread = threading.Thread(target=killer)
        thread.start()
        try:
            for old, new in ((1, 4), (2, 5), (3, 6)):
                add_voter(cluster, new)
                cluster.ctl("--endpoint", cluster.address(new), "--timeout", "30", "member", "remove", str(old), seconds=60,
                            alone=True)
                gone.add(old)
                cluster.stop(old)
                before = load.done()
                wait_for(lambda: load.done() > before + 500 and len(kills) >= old * 2, 60, "more work and kills")
        finally:
            end.set()
            thread.join()
        load.stop()
        env.note(f"{load.acknowledged()} operations, {len(kills)} kills, slowest {load.slowest:.2f} s: {load.slowest_call}")
        equal(broken, [], "what went wrong in killing")
        equal(load.failures(), [], "operations that failed")
        load.verify(mount / "load")
        lines = cluster.ctl("--endpoint", cluster.address(4), "member", "list", alone=True).stdout.decode().splitlines()
        equal([line.split()[:3:2] for line in lines], [["4", "voter"], ["5", "voter"], ["6", "voter"]], "members at the end")


def test_a_node_with_damaged_data_is_rebuilt_with_one_command(env):
    with env.cluster() as cluster:
        for i in range(50):
            cluster.ctl("set", f"k{i}", "v" * 1000)
        leader = cluster.leader_now()
        broken = next(id for id in cluster.ids if id != leader)
        cluster.kill(broken)
        segment = sorted((cluster.data(broken) / "wal").glob("*.log"))[0] if list((cluster.data(broken) / "wal").glob("*.log")) \
            else max((cluster.data(broken) / "wal").iterdir(), key=lambda p: p.stat().st_size)
        with open(segment, "r+b") as f:
            f.seek(8192)
            f.write(b"\xff" * 64)
        cluster.start(broken)
        wait_for(lambda: not cluster.nodes[broken].running(), 10, "the node to refuse its damaged log")
        check(segment.name in cluster.log(broken).read_text(), "the file is not named")
        cluster.nodes[broken] = Proc(f"raftd {broken}", [program("raftd"), "--cluster", cluster.toml, "--id", broken, "--rebuild"],
                                     cluster.log(broken))
        wait_for(lambda: "waits to be added" in cluster.log(broken).read_text(), 20, "the node to start with nothing")
        wait_for(lambda: broken in voters(cluster), 30, "the rebuilt node to vote again")
        cluster.wait_agreed()
        check(list(cluster.directory.glob(f"data/{broken}.damaged-*")), "the damaged data was not kept")
        # it counts: without one of the others the cluster goes on, and it restarts as any node does
        cluster.kill(leader)
        cluster.ctl("set", "after", "1")
        cluster.kill(broken)
        cluster.start(broken)
        wait_for(lambda: cluster.ctl("get", "after", code=None).stdout == b"1", 15, "the rebuilt node to work after a restart")


def test_a_wiped_node_is_refused_until_it_is_removed_and_added(env):
    with env.cluster() as cluster:
        cluster.ctl("set", "k", "v")
        leader = cluster.leader_now()
        wiped = next(id for id in cluster.ids if id != leader)
        cluster.kill(wiped)
        shutil.rmtree(cluster.data(wiped))
        cluster.start(wiped)
        wait_for(lambda: "has lost its data" in cluster.log(wiped).read_text(), 10, "the wiped node to be refused")
        cluster.kill(wiped)
        shutil.rmtree(cluster.data(wiped))
        cluster.ctl("member", "remove", str(wiped))
        cluster.join(wiped)
        cluster.ctl("member", "add", str(wiped), cluster.address(wiped))
        wait_for(lambda: wiped in voters(cluster), 15, "the node to vote again")
        cluster.wait_agreed()


def test_a_node_that_was_away_follows_one_that_was_rebuilt_meanwhile(env):
    with env.cluster(n=5) as cluster:
        cluster.ctl("set", "k", "v")
        rebuilt, away = [id for id in cluster.ids if id != cluster.leader_now()][:2]
        cluster.kill(away)
        cluster.kill(rebuilt)
        shutil.rmtree(cluster.data(rebuilt))
        cluster.ctl("member", "remove", str(rebuilt))
        cluster.join(rebuilt)
        cluster.ctl("member", "add", str(rebuilt), cluster.address(rebuilt))
        wait_for(lambda: rebuilt in voters(cluster), 30, "the rebuilt node to vote")
        cluster.ctl("transfer", str(rebuilt))
        equal(cluster.leader_now([id for id in cluster.ids if id != away]), rebuilt, "leader")
        cluster.start(away)
        cluster.wait_agreed()
        equal(cluster.leader_now(), rebuilt, "leader at the end")


def test_transfer_hands_over_and_gives_up_cleanly(env):
    with env.cluster() as cluster:
        leader = cluster.leader_now()
        others = [id for id in cluster.ids if id != leader]
        check(f"handed over to node {others[0]}" in text_of(cluster.ctl("transfer", str(others[0]))), "what transfer says")
        equal(cluster.ctl("leader").stdout.decode().split()[0], str(others[0]), "leader")
        cluster.ctl("transfer", str(others[0])) # leads already
        check("no member" in text_of(cluster.ctl("transfer", "9", code=1)), "what is said of a stranger")
        cluster.ctl("transfer", "x", code=2)
        cluster.pause(others[1])
        done = cluster.ctl("transfer", str(others[1]), code=1)
        check("not taken over in time" in text_of(done), f"what is said of one that does not: {text_of(done)}")
        cluster.ctl("set", "k", "v") # the leader goes on
        equal(cluster.ctl("leader").stdout.decode().split()[0], str(others[0]), "leader after a transfer that failed")
        cluster.resume(others[1])
        cluster.wait_agreed() # it may have stood when the late word reached it
        before = cluster.ctl("leader").stdout
        cluster.ctl("transfer") # to whoever is best
        check(cluster.ctl("leader").stdout != before, "the leader is the same")


def test_suspend_takes_a_node_out_for_a_while_if_it_may(env):
    with env.cluster(more="\n[debug]\nallow_suspend = true\n") as cluster:
        leader = cluster.leader_now()
        cluster.ctl("suspend", str(leader), "2")
        other = wait_for(lambda: cluster.leader_now([id for id in cluster.ids if id != leader]), 5, "another leader")
        cluster.ctl("set", "k", "v")
        wait_for(lambda: leader in cluster.status() and cluster.status()[leader]["role"] == "follower", 10, "its return")
        equal(cluster.leader_now(), other, "leader after the drill")
        cluster.wait_agreed()
        for args in (("x", "1"), ("1", "x"), ("1", "-1"), ("1", "0"), ()):
            cluster.ctl("suspend", *args, code=2)


def test_suspend_is_refused_where_it_is_not_allowed(env):
    with env.cluster(n=1) as cluster:
        check("allow_suspend" in text_of(cluster.ctl("suspend", "1", "1", code=4)), "what is said")

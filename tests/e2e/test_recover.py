"""raftctl recover: a cluster whose majority is lost for good goes on with who is left, when an operator says so."""

import json
import shutil

from harness import check, equal, limit, text_of, wait_for

YES = "--yes-i-may-lose-data"


def write(m, name, count):
    for i in range(count):
        (m / f"{name}{i}").write_text(f"{name} {i}")


def all_there(m, name, count):
    for i in range(count):
        equal((m / f"{name}{i}").read_text(), f"{name} {i}", f"{name}{i}")


def lose(cluster, *ids):
    for id in ids:
        shutil.rmtree(cluster.data(id))


@limit(60)
def test_one_of_three_goes_on_alone_and_grows_again(env):
    with env.cluster() as cluster:
        m = cluster.mount()
        write(m, "before", 30)
        cluster.wait_agreed()
        running = cluster.ctl("recover", cluster.data(1), YES, code=4)
        check("a node runs on" in text_of(running), f"it does not say why: {text_of(running)}")
        cluster.kill(1, 2, 3)
        lose(cluster, 2, 3)

        told = text_of(cluster.ctl("recover", cluster.data(1), code=1))
        for what in ("voters until now: 1, 2, 3", "voters from now on: 1", "given up for ever: 2, 3",
                     "What may be lost", "nothing was changed", "its newest change is of 20"):
            check(what in told, f"{what!r} is not in: {told}")
        cluster.start(1)
        wait_for(lambda: 1 in cluster.status(), 5, "node 1 to answer")
        check(cluster.leader_now() is None, "one of three leads")
        cluster.kill(1)

        told = text_of(cluster.ctl("recover", cluster.data(1), YES))
        check("Done: start node 1" in told, told)
        term = 1000000
        cluster.start(1)
        equal(cluster.wait_leader(), 1, "leader")
        check(cluster.status()[1]["term"] > term, "a term that the lost ones may have had is used again")
        all_there(m, "before", 30)
        write(m, "after", 10)

        cluster.join(4, via=1)
        cluster.ctl("member", "add", 4, cluster.address(4))
        wait_for(lambda: [n["role"] for n in cluster.status().values()].count("follower") == 1, 10, "node 4 to follow")
        cluster.wait_agreed()
        all_there(m, "before", 30)
        all_there(m, "after", 10)


@limit(60)
def test_a_server_that_was_given_up_does_not_disturb_when_it_comes_back(env):
    with env.cluster() as cluster:
        m = cluster.mount()
        write(m, "before", 10)
        cluster.wait_agreed()
        cluster.kill(1, 2, 3)
        lose(cluster, 3)
        cluster.ctl("recover", cluster.data(1), YES)
        cluster.start(1)
        equal(cluster.wait_leader(), 1, "leader")
        write(m, "after", 10)
        term = cluster.status()[1]["term"]
        cluster.start(2)
        wait_for(lambda: "no member any more" in cluster.nodes[2].said(), 10, "node 2 to be told")
        write(m, "later", 10)
        all_there(m, "after", 10)
        status = cluster.status()
        equal((status[1]["role"], status[1]["term"]), ("leader", term), "node 1 after node 2 has come back")
        check(status[2]["last"] < status[1]["last"], "node 2 takes part again")


@limit(60)
def test_two_of_five_go_on_together(env):
    with env.cluster(5) as cluster:
        m = cluster.mount()
        write(m, "before", 10)
        cluster.wait_agreed()
        cluster.kill(*cluster.ids)
        lose(cluster, 1, 2, 3)
        done = cluster.ctl("recover", cluster.data(4), "--keep", "5,9", YES, code=2)
        check("node 9 is no voter" in text_of(done), text_of(done))
        told = json.loads(cluster.ctl("recover", cluster.data(4), "--keep", "5", "--json", code=1).stdout)
        equal((told["done"], told["id"], told["voters_before"], told["voters"], told["given_up"]), (False, 4, [1, 2, 3, 4, 5], [4, 5], [1, 2, 3]), "recover --json")
        equal(json.loads(cluster.ctl("recover", cluster.data(4), "--keep", "5", YES, "--json").stdout)["done"], True, "recover --json")
        cluster.start(4, 5)
        cluster.wait_leader(among=[4, 5])
        all_there(m, "before", 10)
        write(m, "after", 10)
        cluster.kill(4) # two voters: one of them is no majority
        wait_for(lambda: cluster.leader_now(among=[5]) is None, 5, "node 5 to lead no more")
        cluster.start(4)
        cluster.wait_leader(among=[4, 5])
        all_there(m, "after", 10)

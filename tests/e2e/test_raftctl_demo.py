"""raftctl demo: what it says is so, and nothing of it stays behind."""

import json
import os
import re
import signal

from harness import Proc, check, equal, limit, program, run, text_of, wait_for
from test_updown import processes_of


def demo(env, *args, code=0):
    done = run([program("raftctl"), "demo", *args], env.dir, 30, env={"TMPDIR": str(env.short)})
    equal(done.returncode, code, f"exit code of raftctl demo: {text_of(done)}")
    equal(os.listdir(env.short), [], "what is left in the temporary folder")
    return done.stdout.decode()


def short_dir(env):
    """A temporary folder of the test's own, with the short name that demo asks for."""
    env.short = f"/tmp/d{os.getpid()}"
    os.mkdir(env.short)


@limit(60)
def test_the_demo_kills_a_leader_loses_nothing_and_cleans_up(env):
    short_dir(env)
    try:
        said = demo(env)
        for part in ("was elected leader", "raftctl get color gives blue", "kill -9 of node", "all 60 writes succeeded", "60 of 60 keys", "digest for digest", "is removed"):
            check(part in said, f"it does not say {part!r}: {said}")
        killed, new = re.search(r"kill -9 of node (\d)", said)[1], re.search(r"node (\d) leads now", said)[1]
        check(killed != new and new in "123", f"killed {killed}, leads {new}")
        check(float(re.search(r"took ([\d.]+) s\.", said)[1]) < 20, f"it took too long: {said}")
        got = json.loads(demo(env, "--json"))
        equal((got["written"], got["lost"]), (60, 0), "demo --json")
        demo(env, "x", code=2)
    finally:
        os.rmdir(env.short)


@limit(60)
def test_a_demo_that_is_interrupted_cleans_up_too(env):
    short_dir(env)
    try:
        p = Proc("demo", [program("raftctl"), "demo"], env.dir / "demo.log", env={"TMPDIR": env.short})
        wait_for(lambda: "60 keys" in p.said(), 15, "the third step")
        toml = f"{env.short}/{os.listdir(env.short)[0]}/cluster.toml"
        check(len(processes_of(toml)) >= 3, "no processes of the demo")
        p.signal(signal.SIGINT)
        equal(p.wait(15), 1, f"exit code: {p.said()}")
        check("interrupted" in p.said(), f"it said {p.said()}")
        equal(os.listdir(env.short), [], "what is left")
        wait_for(lambda: processes_of(toml) == [], 5, "the mount's process to end")
    finally:
        os.rmdir(env.short)

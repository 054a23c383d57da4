"""The randomised exerciser (tests/exercise) on two mounts against its model: some thousand operations here,
`make exercise` for a million."""

import os
from pathlib import Path

from harness import TREE, check, limit, run, slow, text_of

OPS = int(os.environ.get("EXERCISE_OPS") or 2500)
SEED = int(os.environ.get("EXERCISE_SEED") or 0)


def exercise(env, seed, ops, *directories):
    program = Path(os.environ.get("B") or "build/release") / "exercise"
    check((TREE / program).exists(), f"{program} is missing: run make check-programs first")
    done = run([TREE / program, "--seed", seed, "--ops", ops, *directories], env.dir, 60 + ops / 200)
    check(done.returncode == 0, f"exit code {done.returncode}: {text_of(done)}")
    env.note(text_of(done).strip())


@limit(120 + slow(OPS / 150))
def test_random_operations_on_two_mounts_agree_with_the_model(env, shared):
    for seed in [SEED] if SEED else (1, 2):
        exercise(env, seed, OPS, *shared.fresh())


@limit(60 + slow(OPS / 150))
def test_random_operations_agree_with_the_model_on_a_local_directory(env):
    """What the model expects is what ext4 does."""
    (env.dir / "local").mkdir()
    exercise(env, SEED or 1, OPS, env.dir / "local", env.dir / "local" / "." )

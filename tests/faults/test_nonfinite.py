"""Batches and steps that are not finite: not taken, counted, and in the end told by the name of what is not finite."""

import itertools
import json
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import small_run
import spoilt_game

from jaxgan import checkpoint, chunks, guard, lift, monitor

GAME = pathlib.Path(__file__).with_name("spoilt_game.py")
EVERY = ("--log-every", "10", "--sample-every", "100", "--checkpoint-every", "1")
BATCH = 16
KEY = jax.random.key(3)


def spoilt_run(workdir, steps, *options, kind="plain", **changes):
    """Exit code and lines of a run of the spoilt game."""
    code, said = small_run.finish(
        workdir, steps, "--kind", kind, *options, experiment=GAME, game=(), every=EVERY, **changes
    )
    return code, said.splitlines()


def batches(spoil, examples=BATCH):
    """The batch of one step, `[1, batch, ...]`, with a number added to some of its examples."""
    x = np.random.default_rng(5).uniform(-1, 1, (1, BATCH, 8, 8, 1)).astype(np.float32)
    x[0, BATCH - examples :] += np.float32(spoil)
    return {"x": x}


LIFTS = ("jit", "mesh", "pmap", "fsdp")
QUICK = {("jit", "twice")}
"""Lifts and steps that are tried usually; the others with `-m slow`."""


def machines(lift_name, kind):
    """`run(machine, state, number, *spoil) -> (state, metrics)` on the host; machines with and without the guard."""
    axis = {"axis_name": lift.AXIS} if lift_name == "pmap" else {}
    gan, traced = spoilt_game.experiment(kind=kind, **axis).gan, []

    def step(key, state, batch):
        traced.append(state.step)
        return guard.finite(gan.step)(key, state, batch)

    guarded, plain = chunks.machine(step, lift_name), chunks.machine(gan.step, lift_name)
    first = {"x": batches(0.0)["x"][0]}
    sharding = chunks.state_sharding(plain, lift_name, jax.eval_shape(gan.init, KEY, first))

    def run(machine, state, number, *spoil):
        state = jax.device_put(state._replace(step=np.int32(number)), sharding)
        given = jax.device_put((KEY, np.int32(1)), machine.whole)
        batch = jax.device_put(batches(*spoil), machine.batches)
        return jax.device_get(machine.chunk(given[0], state, batch, given[1]))

    start, _ = run(guarded, jax.device_get(jax.jit(gan.init)(KEY, first)), 0, 0.0)
    return run, guarded, plain, start, traced


@pytest.mark.parametrize(
    ("lift_name", "kind"),
    [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in itertools.product(LIFTS, spoilt_game.Kind.__args__)
    ],
)
def test_a_step_that_is_not_finite_leaves_the_whole_state(lift_name, kind):
    """Every leaf to the last bit, whatever is not finite and wherever, and one program does it."""
    run, guarded, _, start, traced = machines(lift_name, kind)
    calls = len(traced)
    for number, (spoil, examples) in enumerate(itertools.product([np.nan, np.inf, -np.inf], [BATCH, 1]), start=1):
        after, rows = run(guarded, start, number, spoil, examples)
        assert rows[guard.SKIPPED] == [1] and after.step == number + 1
        jax.tree.map(np.testing.assert_array_equal, after._replace(step=start.step), start)
    after, rows = run(guarded, start, 7, 0.0)
    assert rows[guard.SKIPPED] == [0] and all(np.isfinite(row).all() for row in rows.values())
    for part in zip(after, start, strict=True):  # all parts of a state move in a step that is taken
        assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, part), strict=True))
    assert len(traced) == calls


@pytest.mark.slow
@pytest.mark.parametrize("lift_name", LIFTS)
def test_other_steps_are_as_without_the_guard(lift_name):
    """To rounding: the compiler may fuse an update with the choice between new and old in another order."""
    run, guarded, plain, start, _ = machines(lift_name, "twice")
    (state, rows), expected = (run(machine, start, 1, 0.0) for machine in (guarded, plain))
    assert rows.pop(guard.SKIPPED) == [0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), (state, rows), expected)


def leaves(workdir):
    """The digest of every leaf of a run's newest checkpoint, and its step."""
    found = small_run.left(workdir)
    return found["leaves"], found["step"]


LIFTED = {
    "jit": ("plain",),
    "mesh, extragradient": ("extragradient", "--lift", "mesh", "--devices", "4", "--one-example"),
    "pmap, two discriminator steps": ("twice", "--lift", "pmap", "--devices", "4", "--one-example"),
    "fsdp, consensus": ("consensus", "--lift", "fsdp", "--devices", "4"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LIFTED)
@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_a_run_skips_and_counts(case, bad, tmp_path):
    """Steps 6 to 8; in the middle of them and after them it is stopped, and goes on."""
    kind, *options = LIFTED[case]
    options += ["--bad", bad, "--bad-steps", "3"]
    seen = []
    for steps in (5, 7, 8):
        code, said = spoilt_run(tmp_path, steps, *options, kind=kind)
        assert code == 0, said
        seen.append(leaves(tmp_path))
    assert "step 8: 1 of the last 1 steps left the finite numbers, not taken" in said
    for after, step in seen[1:]:
        assert {name for name in after if after[name] != seen[0][0][name]} == {"step"}, step
    code, said = spoilt_run(tmp_path, 10, *options, kind=kind)
    assert code == 0 and any(line.endswith("3 steps skipped") for line in said), said
    assert monitor.line_of(tmp_path, 10)["skipped_steps"] == 3
    assert len({name for name in after if leaves(tmp_path)[0][name] != after[name]}) > len(after) / 2


@pytest.mark.slow
@pytest.mark.parametrize("case", LIFTED)
def test_a_run_ends_after_so_many_steps_in_a_row(case, tmp_path):
    """All from step 6 on are skipped; it is stopped after two of them, goes on, and counts them too."""
    kind, *options = LIFTED[case]
    options += ["--bad-steps", "1000", "--most-skips", "4"]
    assert spoilt_run(tmp_path, 7, *options, kind=kind)[0] == 0
    code, said = spoilt_run(tmp_path, 20, *options, kind=kind)
    why = "x of its batch is not finite, clean the data; the last checkpoint is step 7"
    assert code == 3 and said[-1] == f"jaxgan: diverged at step 9, the last of 4 in a row not taken: {why}"
    there = checkpoint.steps(tmp_path / "checkpoints")
    assert there == [4, 5, 7]
    records = [json.loads((tmp_path / f"checkpoints/{step}/record/metadata").read_text()) for step in (5, 7)]
    before, after = (record["leaves"] for record in records)
    assert {name for name in after if after[name] != before[name]} == {"step"}
    assert [record["note"]["skips"] for record in records] == [0, 2]


@pytest.mark.slow
def test_a_learning_rate_that_is_too_large(tmp_path):
    """Ten times as large with every step: at last nothing is finite, and what was before is there to be used."""
    code, said = spoilt_run(tmp_path, 100, "--growth", "10", "--most-skips", "3")
    words = r"jaxgan: diverged at step (\d+), the last of 3 in a row not taken: not finite are (?:\S+ and )?\S+/\S+, "
    told = re.fullmatch(words + r"try a lower learning rate; the last checkpoint is step (\d+)", said[-1])
    assert code == 3 and told and int(told[2]) <= int(told[1]) - 3, said
    newest = checkpoint.steps(tmp_path / "checkpoints")[-1]
    assert newest == int(told[2]) > 3 and checkpoint.examine(tmp_path / "checkpoints", newest) == "sound"
    code, again = spoilt_run(tmp_path, 100, "--growth", "10", "--most-skips", "3")  # it ends where it ended
    assert code == 3 and again[-1] == said[-1]
    words = ["sample", GAME, "--workdir", tmp_path, "--out", tmp_path / "samples.npy", "--count", "2"]
    program = [sys.executable, "-c", "from jaxgan.cli import main; main()"]
    subprocess.run([*program, *map(str, words)], check=True, capture_output=True)
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (2, 8, 8, 1) and np.isfinite(samples).all()


@pytest.mark.slow
def test_a_learning_rate_that_is_too_large_from_the_first_step_on(tmp_path):
    code, said = small_run.finish(tmp_path, 60, "--learning-rate", "1e6")
    last = said.splitlines()[-1]
    assert code == 3 and last.startswith("jaxgan: diverged at step 10, the last of 10 in a row not taken: not finite")
    assert last.endswith("try a lower learning rate; there is no checkpoint") and "/opt/" in last
    assert checkpoint.steps(tmp_path / "checkpoints") == []


def test_one_number_among_millions_is_found():
    """XLA's maximum of so many passes over it on a CPU."""
    leaf = np.zeros((1000, 1000), np.float32)
    assert guard.first_nonfinite({"a": jax.device_put(leaf)}) is None
    leaf[0, 5] = np.nan
    assert guard.first_nonfinite({"a": jax.device_put(leaf)}) == "a"

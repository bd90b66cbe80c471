"""Training a state that no device holds whole: `jaxgan train --lift fsdp`, its checkpoints and its samples."""

import json
import pathlib
import sys

import jax
import numpy as np
import pytest

from jaxgan import chunks, cli, experiment, lift, preflight, progress, report, run, sampling

RING = pathlib.Path(__file__).parent.parent / "experiments" / "ring.py"
DEVICES = 8
OPTIONS = {"width": 256, "batch_size": 16}
"""Hidden layers of 256 x 256 numbers are large enough to be spread."""
TIMES = {"examples_per_second", "input_wait_seconds"}


def train_to(monkeypatch, workdir, steps, lift_name):
    options = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    every = ["--log-every", "1", "--checkpoint-every", "3", "--evaluate-every", "3"]
    where = ["--workdir", str(workdir), "--steps", str(steps), "--lift", lift_name]
    monkeypatch.setattr(sys, "argv", ["jaxgan", "train", str(RING), *where, *every, *options])
    cli.main()


def lines_of(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def state_of(workdir, lift_name):
    """The newest state of a run, where a training with that lift would have it."""
    game = experiment.load(str(RING))(**OPTIONS)
    config = run.read(workdir)
    where = chunks.machine(game.gan.step, lift_name)
    shapes = jax.eval_shape(game.gan.init, jax.random.key(0), run.template_batch(config))
    return progress.newest(game, config, workdir, chunks.state_sharding(where, lift_name, shapes)).state


def test_a_run_of_spread_states_is_the_run_of_one_device(tmp_path, monkeypatch):
    """Its metrics, checkpoints and evaluations; Adam makes rounding grow, so the steps are few."""
    train_to(monkeypatch, tmp_path / "one", 3, "jit")
    train_to(monkeypatch, tmp_path / "eight", 3, "fsdp")
    assert "evaluate/modes" in lines_of(tmp_path / "eight")[-1]
    for one, eight in zip(lines_of(tmp_path / "one"), lines_of(tmp_path / "eight"), strict=True):
        assert one.keys() == eight.keys()
        np.testing.assert_allclose(list(one.values()), list(eight.values()), rtol=2e-3, atol=2e-3)
    one, eight = state_of(tmp_path / "one", "jit"), state_of(tmp_path / "eight", "fsdp")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-3), one, eight)
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(eight))
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(eight))
    assert whole / DEVICES < held < 1.3 * whole / DEVICES  # biases and first layers are small, and whole


@pytest.mark.slow
def test_a_run_goes_on_under_another_lift_and_is_saved_and_read_bit_for_bit(tmp_path, monkeypatch):
    for steps, lift_name in enumerate(["fsdp", "jit", "fsdp", "mesh"], start=1):
        train_to(monkeypatch, tmp_path, 3 * steps, lift_name)
        states = [state_of(tmp_path, name) for name in ("jit", "fsdp")]
        assert int(states[0].step) == 3 * steps
        jax.tree.map(np.testing.assert_array_equal, *states)
    assert [line["step"] for line in lines_of(tmp_path)] == list(range(1, 13))


def test_the_loop_makes_no_hidden_transfer_and_one_program(tmp_path):
    game = experiment.load(str(RING))(**OPTIONS)
    options = {name: p.default for name, p in experiment.options(experiment.load(str(RING))).items()} | OPTIONS
    _, data = preflight.prepare(game, str(RING), options, tmp_path, seed=0, lift_name="fsdp")
    where = chunks.machine(game.gan.step, "fsdp")
    key, batch = jax.device_put(jax.random.key(0), where.whole), data.batch_at(0, 0)
    sharding = chunks.state_sharding(where, "fsdp", jax.eval_shape(game.gan.init, key, batch))
    state = jax.jit(game.gan.init, out_shardings=sharding)(key, batch)
    load = chunks.loader(data, 0, 4, where)
    done = list(chunks.run(where, load, key, state, 0, 8, lambda step: step + 4))  # the guard is on in it
    assert [chunk.step for chunk in done] == [4, 8]
    assert jax.tree.map(lambda leaf: leaf.sharding, done[-1].state) == sharding
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert where.chunk._cache_size() == 1


@pytest.mark.parametrize("lift_name", ["jit", "fsdp"])
def test_samples_of_a_spread_state_are_those_of_a_whole_one(lift_name):
    game = experiment.load(str(RING))(**OPTIONS)
    batch = game.data().batch_at(0, 0)
    state = jax.jit(game.gan.init)(jax.random.key(0), batch)
    expected = game.gan.sample(jax.random.fold_in(jax.random.key(1), 0), state, {"x": np.zeros((sampling.PIECE, 2))})
    where = chunks.machine(game.gan.step, lift_name)
    placed = jax.device_put(state, chunks.state_sharding(where, lift_name, state))
    samples = sampling.draw(game, jax.random.key(1), placed, batch, sampling.PIECE)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-5)
    spread = {leaf.shape for leaf in jax.tree.leaves(placed) if not leaf.sharding.is_fully_replicated}
    assert spread == ({(256, 256)} if lift_name == "fsdp" else set()) and lift.LEAST <= 256 * 256


def test_what_several_processes_sample_and_measure_is_whole(monkeypatch):
    """What each of several processes would gather: the average and the discriminator, on one device."""
    game = experiment.load(str(RING))(**OPTIONS)
    state = jax.jit(game.gan.init)(jax.random.key(0), game.data().batch_at(0, 0))
    where = chunks.machine(game.gan.step, "fsdp")
    placed = jax.device_put(state, chunks.state_sharding(where, "fsdp", state))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    found = report.gathered(placed)
    for name in ("params", "stats"):
        jax.tree.map(np.testing.assert_array_equal, *(getattr(s.discriminator, name) for s in (found, state)))
    jax.tree.map(np.testing.assert_array_equal, found.ema, state.ema)
    assert {len(leaf.devices()) for leaf in jax.tree.leaves(found)} == {1}
    assert found.generator.params["Dense_1"]["kernel"] is None  # spread, and not asked for

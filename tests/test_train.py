"""A run: exact resume, the guard against hidden transfers, targets, divergence, every lift."""

import json
import pathlib
import shutil
import time

import jax
import numpy as np
import pytest

from jaxgan import checkpoint, chunks, experiment, guard, lift, preflight, progress, run, sampling, schedule, train
from jaxgan.data import mixtures
from jaxgan.errors import DivergedError, InputError

FILES = pathlib.Path(__file__).parent.parent / "experiments"
TIMES = {"examples_per_second", "input_wait_seconds"}
TINY = {
    "ring": {"width": 16, "batch_size": 16},
    "digits": {"features": 8, "batch_size": 16},
}


def go(workdir, steps, *, name="ring", lift_name="jit", target=None, seed=0, when=None, **options):
    """What `jaxgan train` does, without the command line."""
    path = str(FILES / f"{name}.py")
    function = experiment.load(path)
    defaults = {key: p.default for key, p in experiment.options(function).items()}
    options = defaults | TINY[name] | options
    axis = {"axis_name": lift.AXIS} if lift_name == "pmap" else {}
    game = function(**options, **axis)
    when = when or schedule.Schedule(log=4, sample=100, checkpoint=5, evaluate=0)
    config, data = preflight.prepare(game, path, options, workdir, seed=seed, lift_name=lift_name)
    goal = schedule.parse_target(target, when) if target else None
    train.train(game, config, data=data, workdir=workdir, steps=steps, lift_name=lift_name, schedule=when, target=goal)
    return game


def newest_of(workdir, game):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return progress.newest(game, run.read(workdir), workdir, device)


def state_of(workdir, game):
    return newest_of(workdir, game).state


def lines_of(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def assert_same_run(a, b, game):
    jax.tree.map(np.testing.assert_array_equal, state_of(a, game), state_of(b, game))
    assert lines_of(a) == lines_of(b)


@pytest.mark.parametrize("name", ["ring", pytest.param("digits", marks=pytest.mark.slow)])
def test_a_run_that_stopped_ends_bit_equal_to_one_that_did_not(tmp_path, name):
    """7 + 7 steps against 14: the stop lies between two lines of metrics, and between two chunks."""
    game = go(tmp_path / "whole", 14, name=name)
    go(tmp_path / "parts", 7, name=name)
    assert [line["step"] for line in lines_of(tmp_path / "parts")] == [4]
    go(tmp_path / "parts", 14, name=name)
    assert [line["step"] for line in lines_of(tmp_path / "parts")] == [4, 8, 12]
    assert_same_run(tmp_path / "whole", tmp_path / "parts", game)


def test_a_run_killed_after_its_checkpoint_ends_the_same(tmp_path):
    game = go(tmp_path / "whole", 14)
    go(tmp_path / "killed", 10)
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "10")  # as if it had died before this was written
    assert lines_of(tmp_path / "killed")[-1]["step"] == 8
    go(tmp_path / "killed", 14)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", game)


def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path):
    game = go(tmp_path / "whole", 5)
    go(tmp_path / "killed", 5)
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    go(tmp_path / "killed", 5)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", game)


def test_a_run_that_is_there_does_nothing(tmp_path, capsys):
    go(tmp_path, 5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    go(tmp_path, 5)
    assert "nothing to do" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}


def test_another_seed_is_another_run(tmp_path):
    game = go(tmp_path / "a", 5)
    go(tmp_path / "b", 5, seed=1)
    assert lines_of(tmp_path / "a") != lines_of(tmp_path / "b")
    leaf = [jax.tree.leaves(state_of(tmp_path / name, game).generator.params)[0] for name in "ab"]
    assert (leaf[0] != leaf[1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pmap", "mesh"])
def test_eight_devices_run_what_one_runs(tmp_path, name):
    """The loop, the loader and its guard on eight devices; Adam makes rounding grow, so the steps are few."""
    when = schedule.Schedule(log=1, sample=100, checkpoint=5)
    go(tmp_path / "one", 3, when=when)
    go(tmp_path / "eight", 3, lift_name=name, when=when)
    for one, eight in zip(lines_of(tmp_path / "one"), lines_of(tmp_path / "eight"), strict=True):
        np.testing.assert_allclose(list(one.values()), list(eight.values()), rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_a_run_goes_on_on_other_devices(tmp_path):
    go(tmp_path, 3)
    go(tmp_path, 6, lift_name="mesh")
    go(tmp_path, 9)
    assert [line["step"] for line in lines_of(tmp_path)] == [4, 8]


def test_what_a_run_leaves(tmp_path):
    go(tmp_path, 10, when=schedule.Schedule(log=5, sample=5, checkpoint=5, evaluate=10))
    assert {p.name for p in (tmp_path / "samples").iterdir()} == {"real.png", "0000005.png", "0000010.png"}
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"5", "10"}
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"]["width"] == 16 and config["batch"]["x"] == {"shape": [16, 2], "dtype": "float32"}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10]
    assert lines[0].keys() >= TIMES | {
        "discriminator/loss",
        "discriminator/real_accuracy",
        "discriminator/fake_accuracy",
        "discriminator/gradient_norm",
        "generator/loss",
        "generator/gradient_norm",
    }
    assert lines[0]["examples_per_second"] > 0
    assert "evaluate/modes" in lines[1] and "evaluate/modes" not in lines[0]


def test_lines_hold_the_mean_over_their_steps(tmp_path, monkeypatch):
    rows, run_chunks = [], chunks.run

    def seen(*args, **options):
        for done in run_chunks(*args, **options):
            rows.append(done.rows)
            yield done

    monkeypatch.setattr(chunks, "run", seen)
    go(tmp_path, 8)
    assert max(len(part[guard.SKIPPED]) for part in rows) > 1  # several steps in a chunk,
    assert len(rows) > 2  # and several chunks in a line
    lines = lines_of(tmp_path)
    assert [line.pop("step") for line in lines] == [4, 8]
    for name in lines[0]:
        means = np.concatenate([part[name] for part in rows]).reshape(2, 4).mean(1, dtype=np.float64)
        np.testing.assert_allclose([line[name] for line in lines], means, rtol=1e-12)


def test_a_target_ends_a_run_for_good(tmp_path, capsys):
    target = "discriminator/loss<=1000"
    go(tmp_path, 50, target=target)
    assert [line["step"] for line in lines_of(tmp_path)] == [4]
    go(tmp_path, 50, target=target)
    assert "nothing to do" in capsys.readouterr().err
    go(tmp_path, 8)  # without the target the run goes on
    assert [line["step"] for line in lines_of(tmp_path)] == [4, 8]


@pytest.mark.parametrize("text", ["loss", "loss<1", "a<=b", "evaluate/modes>=8"])
def test_targets_that_make_no_sense_are_refused(text):
    with pytest.raises(InputError, match="--target"):
        schedule.parse_target(text, schedule.Schedule())


def test_a_target_that_no_line_has_is_refused_at_the_first_line(tmp_path):
    with pytest.raises(InputError, match="--target names discriminator/lost"):
        go(tmp_path, 8, target="discriminator/lost<=1")


def test_divergence_ends_the_run_and_keeps_the_last_checkpoint(tmp_path):
    poison(tmp_path, go(tmp_path, 5))
    with pytest.raises(
        DivergedError, match=r"step 15, the last of 10 in a row .*/Dense_0/\w+, .*; the last checkpoint is step 5$"
    ):
        go(tmp_path, 20)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["5"]


def poison(workdir, game):
    """Rewrites the checkpoint of step 5 with weights so large that the next step overflows."""
    newest = newest_of(workdir, game)
    huge = jax.tree.map(lambda v: v * 1e30, newest.state.generator.params)
    state = newest.state._replace(generator=newest.state.generator._replace(params=huge))
    shutil.rmtree(workdir / "checkpoints" / "5")
    with checkpoint.open_checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoint.save(checkpoints, 5, state, newest.note)


def test_the_loop_makes_no_hidden_transfer():
    """The guard is on: a loader that leaves its batches on the host is caught."""
    game = experiment.load(str(FILES / "ring.py"))(**TINY["ring"])
    data = game.data()
    where = chunks.machine(game.gan.step, "jit")
    load = chunks.loader(data, 0, 4, where)
    key = jax.device_put(jax.random.key(0), where.whole)

    def run_with(load):
        state = jax.jit(game.gan.init)(key, data.batch_at(0, 0))
        return list(chunks.run(where, load, key, state, 0, 8, lambda step: step + 4))

    assert [chunk.step for chunk in run_with(load)] == [4, 8]
    with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
        run_with(lambda start, count: jax.device_get(load(start, count)))


def test_waiting_for_batches_is_measured():
    game = experiment.load(str(FILES / "ring.py"))(**TINY["ring"])
    data = game.data()

    def slow_feed(seed, step):
        time.sleep(0.1)
        return data.feed(seed, step)

    where = chunks.machine(game.gan.step, "jit")
    waits = []
    for feed in (data.feed, slow_feed):
        load = chunks.loader(data._replace(feed=feed), 0, 2, where)
        key = jax.device_put(jax.random.key(0), where.whole)
        state = jax.jit(game.gan.init)(key, data.batch_at(0, 0))
        done = list(chunks.run(where, load, key, state, 0, 6, lambda step: step + 2))
        waits.append(sum(chunk.waited for chunk in done[1:]))  # the first chunk compiles
    assert waits[1] > 0.2 > waits[0] >= 0


def test_the_loader_gives_the_batches_of_its_steps():
    data = mixtures.mixture(mixtures.ring_centers(), 0.01, batch_size=16)
    game = experiment.load(str(FILES / "ring.py"))(**TINY["ring"])
    for name in ("jit", "mesh"):
        batches = chunks.loader(data, 3, 4, chunks.machine(game.gan.step, name))(10, 3)["x"]
        assert batches.shape == (4, 16, 2)
        for i, step in enumerate([10, 11, 12, 12]):  # padded with the last
            np.testing.assert_allclose(batches[i], data.batch_at(3, step)["x"], rtol=1e-6, atol=1e-7)


def test_chunks_end_where_the_host_has_something_to_do():
    when = schedule.Schedule(log=4, sample=10, checkpoint=7, evaluate=0)
    step, ends = 0, []
    while step < 16:
        step = when.next_event(step, 16)
        ends.append(step)
    assert ends == [4, 7, 8, 10, 12, 14, 16]
    assert chunks.chunk_length({"x": np.zeros((1, 2**20), np.float32)}, 1000) == chunks.CHUNK_BYTES // 2**22


def test_the_first_samples_do_not_depend_on_how_many_are_drawn():
    game = experiment.load(str(FILES / "ring.py"))(**TINY["ring"])
    batch = game.data().batch_at(0, 0)
    state = game.gan.init(jax.random.key(0), batch)
    few, many = (sampling.draw(game, jax.random.key(1), state, batch, count) for count in (3, 150))
    assert few.shape == (3, 2) and many.shape == (150, 2)
    np.testing.assert_array_equal(few, many[:3])
    assert len(np.unique(many, axis=0)) == 150

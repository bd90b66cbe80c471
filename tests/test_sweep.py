"""A sweep: each member is the run that `jaxgan train` makes, in one program, and the means are those of its members."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from scipy import stats

from jaxgan import chunks, experiment, population, progress, run, summary
from jaxgan.data import images, mixtures

# Gradient descent, so that a factor in a gradient shows (Adam would hide it); `gamma` and `lr` may be swept.
GAME = '''
import jax.numpy as jnp
import optax

from jaxgan import losses, penalties
from jaxgan.data import mixtures
from jaxgan.experiment import image_experiment, mixture_experiment
from jaxgan.latents import normal_latents
from jaxgan.gan import make_gan
from jaxgan.network import flax_network
from jaxgan.networks import dcgan, mlp

POINTS = {points}


def experiment(*, lr: float = 0.1, gamma: float = 0.5, decay: float = 0.9, std: float = 0.02, width: int = 8,
               batch_size: int = 16, name: str = "digits"):
    """Made up.

    Args:
      lr: learning rate.
    """
    rate = lr if decay < 1 else 0.0  # decay must be known

    def penalty(key, step, critic, real, fake):
        return 0.5 * gamma * penalties.gradient_squared_norm(critic, real)

    if POINTS:
        generator, discriminator = mlp.Generator((2,), widths=(width,)), mlp.Discriminator(widths=(width,))
    else:
        maps = dict(features=(width, width), strides=(1, 2), kernel_size=3, slope=0.2)
        generator, discriminator = dcgan.Generator(start=4, norm=False, **maps), dcgan.Discriminator(**maps)
    gan = make_gan(
        flax_network(generator),
        flax_network(discriminator),
        losses.relativistic,
        generator_tx=optax.sgd(rate),
        discriminator_tx=optax.sgd(rate),
        latent=normal_latents(4),
        discriminator_penalty=penalty,
    )
    if POINTS:
        return mixture_experiment(gan, mixtures.ring_centers(), std, batch_size=batch_size)
    return image_experiment(gan, name, size=8, channels=1, batch_size=batch_size)
'''
TIMES = {"examples_per_second", "input_wait_seconds"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The experiment file for points and the one for images."""
    folder = tmp_path_factory.mktemp("games")
    for name, points in (("points", True), ("images", False)):
        (folder / f"{name}.py").write_text(GAME.replace("{points}", str(points)))
    return folder


def restored(file, workdir):
    """The last state of a run directory."""
    config = run.read(workdir)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return progress.newest(experiment.load(str(file))(**config.options), config, workdir, device).state


def assert_close(a, b):
    jax.tree.map(lambda v, w: np.testing.assert_allclose(v, w, rtol=2e-4, atol=2e-6), a, b)


class Outcome(NamedTuple):
    """What became of a member."""

    state: Any
    metrics: dict[str, float]
    diverged: tuple[int, str] | None


def outcomes(file, members, steps, **options):
    """What becomes of members, who are one program: the game is built once to begin and once to train."""
    function, built = experiment.load(str(file)), []

    def gan_of(setting):
        built.append(setting)
        return function(**setting).gan

    found = population.train(gan_of, function().data(), members, steps, **options)
    assert len(built) == 2
    return [
        Outcome(jax.tree.map(lambda v, i=i: v[i], found.states), found.metrics(i), found.diverged.get(i))
        for i in range(len(members))
    ]


def grid(rates, seeds, name="lr"):
    return [population.Member({name: rate}, seed) for rate in rates for seed in range(seeds)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "images"])
def test_a_member_is_the_run_that_train_makes(jaxgan, files, tmp_path, monkeypatch, kind):
    """Nine members on five of eight devices, so that one place is empty, in chunks of two steps."""
    monkeypatch.setattr(population, "TAIL", 2)
    file, members = files / f"{kind}.py", grid((0.1, 0.3, 0.01), 3)
    assert len(population.devices(9)) == 5
    in_turn = outcomes(file, members, 5)
    monkeypatch.setattr(population, "_in_turn", jax.vmap)  # as on an accelerator
    at_once = outcomes(file, members, 5) if kind == "points" else in_turn
    for i in (5, 8) if kind == "points" else (5,):
        workdir = tmp_path / str(i)
        setting = ("--lr", members[i].setting["lr"], "--seed", members[i].seed, "--log-every", 1)
        assert jaxgan("train", file, "--workdir", workdir, "--steps", 5, *setting)[0] == 0
        last = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()][-2:]
        means = {name: np.mean([line[name] for line in last]) for name in last[0].keys() - TIMES - {"step"}}
        for found in (in_turn[i], at_once[i]):
            assert found.diverged is None
            assert_close(found.state, restored(file, workdir))
            assert_close(found.metrics, means)
    leaves = [jax.tree.leaves(outcome.state.generator.params)[0] for outcome in in_turn]
    assert all((leaves[0] != leaf).any() for leaf in leaves[1:])


def test_the_batches_of_a_member_are_those_of_its_seed():
    """Bit for bit those of `chunks.loader`, each on its member's device alone; the held images on one device."""
    members = [3, 0, 3, 1]
    mesh = jax.sharding.Mesh(jax.devices()[:2], population.AXIS)
    _, where = population.machine(None, mesh)
    alone = chunks.machine(lambda key, state, batch: None, "jit")
    for data in (
        images.from_array(images.digits("train"), batch_size=500),
        mixtures.mixture(np.eye(2), 0.1, batch_size=6),
    ):
        batches = population.loader(data, members, 4, where)(1, 3)["x"]
        assert [shard.data.shape[0] for shard in batches.addressable_shards] == [2, 2]
        for i, seed in enumerate(members):
            np.testing.assert_array_equal(batches[i], chunks.loader(data, seed, 4, alone)(1, 3)["x"])


@pytest.mark.slow
def test_a_member_that_diverges_changes_no_other(jaxgan, files, tmp_path, monkeypatch):
    """One device, so that all run in one loop; what is reported is what `jaxgan train` reports."""
    monkeypatch.setattr(population, "devices", lambda count: jax.devices()[:1])
    monkeypatch.setattr(population, "TAIL", 3)
    file = files / "points.py"
    with_it, without = outcomes(file, grid((0.1, 1e20, 0.3), 2), 8), outcomes(file, grid((0.1, 0.3), 2), 8)
    assert [outcome.diverged is None for outcome in with_it] == [True, True, False, False, True, True]
    for a, b in zip(with_it[:2] + with_it[4:], without, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    code, _, err = jaxgan(
        "train", file, "--workdir", tmp_path, "--steps", 8, "--lr", 1e20, "--seed", 1, "--most-skips", 1
    )
    step, metric = with_it[3].diverged
    assert code == 3 and f"diverged at step {step}, the last of 1 in a row not taken: not finite are {metric}" in err


def test_members_go_on_as_if_they_had_never_stopped(files):
    """Three rates with two seeds each; the members of one rate diverge."""
    function = experiment.load(str(files / "points.py"))
    members = grid((0.1, 1e20, 0.3), 2)
    kept = []
    whole = outcomes(files / "points.py", members, 12)
    play = lambda steps, **options: population.train(  # noqa: E731
        lambda setting: function(**setting).gan, function().data(), members, steps, **options
    )
    play(12, keep=kept.append, every=5)
    assert [standing.step for standing in kept] == [5, 10, 12]
    for standing in kept:
        after = play(12, standing=standing)
        assert after.diverged == {i: outcome.diverged for i, outcome in enumerate(whole) if outcome.diverged}
        for i, outcome in enumerate(whole):
            if outcome.diverged is None:
                jax.tree.map(lambda v, w, i=i: np.testing.assert_array_equal(v[i], w), after.states, outcome.state)
                assert after.metrics(i) == outcome.metrics


def test_a_sweep_goes_on_where_it_was_stopped(jaxgan, files, tmp_path):
    """To a later step, with the results of one that never stopped; at the same step nothing is done again."""
    given = ("sweep", files / "points.py", "--seeds", 2, "--lr", "0.1,1e20", "--samples", 200, "--checkpoint-every", 4)

    def play(name, steps):
        code, out, err = jaxgan(*given, "--workdir", tmp_path / name, "--steps", steps)
        assert code == 0, err
        return out, err

    whole, _ = play("whole", 9)
    play("parts", 5)
    parts, said = play("parts", 9)
    assert parts == whole and "compiled in" in said
    again, said = play("parts", 9)
    assert again == whole and "compiled in" not in said
    assert sorted(int(path.name) for path in (tmp_path / "parts/checkpoints").iterdir()) == [5, 8, 9]
    for options, says in (("--steps", 8), "at step 9"), (("--steps", 9, "--gamma", 2.0), "gamma 0.5 -> 2.0"):
        code, _, err = jaxgan(*given, "--workdir", tmp_path / "parts", *options)
        assert code == 2 and says in err, err


def test_a_signal_ends_a_sweep_with_everything_kept(files, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from jaxgan.cli import main; main()",
        "sweep",
        files / "points.py",
        "--seeds",
        "2",
    ]
    command += ["--workdir", tmp_path, "--steps", "2000000000"]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    assert "compiled in" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1].splitlines()
    there = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert process.returncode == 128 + signal.SIGTERM
    assert said[-1] == f"SIGTERM: step {max(there)} is kept; the same command goes on"


@pytest.fixture(scope="module")
def swept(files, tmp_path_factory):
    """A sweep by the console script, in a process that has not been told of devices: two rates, three seeds."""
    workdir = tmp_path_factory.mktemp("sweep") / "runs"
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "sweep", files / "points.py"]
    command += ["--workdir", workdir, "--seeds", "3", "--steps", "6", "--lr", "0.1,1e20", "--samples", "200"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return workdir, done


def test_a_cpu_runs_as_many_members_at_a_time_as_it_has_cores(swept):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = -(-6 // -(-6 // min(cores, 6)))
    assert f"6 members on {devices} cpu device(s)" in swept[1].stderr


def test_the_means_are_those_of_the_members(swept):
    workdir, done = swept
    results = json.loads(done.stdout.splitlines()[-1])
    assert results == json.loads((workdir / "results.json").read_text())
    assert [row["finished"] for row in results["settings"]] == [3, 0]
    rows = [row for row in results["members"] if row["setting"] == {"lr": 0.1}]
    assert [row["seed"] for row in rows] == [0, 1, 2]
    for name in ("high_quality", "modes", "discriminator/loss"):
        values = [(row["metrics"] | row["figures"])[name] for row in rows]
        told = results["settings"][0]["means"][name]
        assert told["count"] == 3
        np.testing.assert_allclose([told["mean"], told["standard_error"]], [np.mean(values), stats.sem(values)])
    heading, names, first, second, _ = done.stdout.splitlines()
    assert "standard error" in heading and "n - 1" in heading and "last 6 steps" in heading
    assert names.split()[:4] == ["lr", "finished", "discriminator/loss", "generator/loss"] and "samples" not in names
    loss = results["settings"][0]["means"]["discriminator/loss"]
    assert re.match(rf"0.1 +3 of 3 +{loss['mean']:.4g} \+- {loss['standard_error']:.2g} ", first)
    assert re.match(r"1e\+20 +0 of 3 +-", second)


def test_a_figure_that_some_seeds_lack_is_counted():
    """None is what a figure is where it has no value, a dict what an extractor tells of itself."""
    figures = [{"kl": 1.0, "about": {}}, {"kl": None, "about": {}}, {"kl": 4.0, "about": {}}, {"kl": 4.0, "about": {}}]
    rows = [{"diverged": None, "metrics": {}, "figures": f} for f in figures] + [{"diverged": {"step": 1}}]
    row = summary.over_seeds({"lr": 0.1}, rows)
    assert row["finished"] == 4 and row["means"] == {"kl": {"mean": 3.0, "standard_error": 1.0, "count": 3}}
    assert "3 +- 1 (3 seeds)" in summary.table([row], 5, 50)
    assert summary.mean([2.5]) == (2.5, None, 1)


def test_a_member_can_be_sampled_measured_and_trained_on(jaxgan, files, swept, tmp_path):
    workdir, file = swept[0], files / "points.py"
    results = json.loads((workdir / "results.json").read_text())
    member = results["members"][1]
    runs = workdir / member["directory"]
    assert member["directory"] == "lr=0.1,seed=1"
    assert jaxgan("sample", file, "--workdir", runs, "--count", 5, "--out", tmp_path / "x.npy")[0] == 0
    code, out, _ = jaxgan("evaluate", file, "--workdir", runs, "--samples", 200)
    figures = json.loads(out)
    assert code == 0 and figures["step"] == 6 and figures["train_seed"] == 1
    assert {name: figures[name] for name in member["figures"]} == member["figures"]
    setting = ("--lr", 0.1, "--seed", 1)
    code, _, err = jaxgan("train", file, "--workdir", runs, "--steps", 9, *setting)
    assert code == 0 and "step 6 of 9" in err
    assert jaxgan("train", file, "--workdir", tmp_path / "whole", "--steps", 9, *setting)[0] == 0
    assert_close(restored(file, runs), restored(file, tmp_path / "whole"))
    assert jaxgan("train", file, "--workdir", runs, "--steps", 9, "--lr", 0.2, "--seed", 1)[0] == 2


def test_a_member_that_diverged_is_told_and_has_no_state(jaxgan, files, swept):
    workdir, done = swept
    member = json.loads(done.stdout.splitlines()[-1])["members"][3]
    assert member["directory"] == "lr=1e+20,seed=0" and member["diverged"].keys() == {"step", "metric"}
    what = f"{member['diverged']['metric']} of step {member['diverged']['step']}"
    assert f"{{'lr': 1e+20}} with seed 0 diverged: {what} is not finite" in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("step 6/6  ")]
    assert len(told) == 1 and told[0].endswith(" steps/s, 3 of 6 members")
    code, _, err = jaxgan("evaluate", files / "points.py", "--workdir", workdir / member["directory"])
    assert code == 2 and "train first" in err.splitlines()[-1]


REFUSALS = {
    "a size": (["--width", "8,16"], "option width takes one value"),
    "not a number": (["--lr", "0.1,high"], "--lr"),
    "a value twice": (["--lr", "0.1,1e-1"], "twice: 0.1, 0.1"),
    "what the experiment asks about": (["--decay", "0.5,0.9"], "option decay cannot be swept"),
    "what changes the data": (["--std", "0.02,0.03"], "option std cannot be swept, it changes the data"),
    "an impossible value": (["--std", "0"], "expected a positive number"),
    "seeds": (["--seeds", "0"], "--seeds"),
    "steps": (["--steps", "0"], "--steps"),
    "a metric of images": (["--metrics", "frechet"], "modes alone"),
    "a directory that is used": (["--workdir", "used"], "used holds something else"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_swept_is_said_in_one_line(jaxgan, files, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("used").mkdir()
    pathlib.Path("used", "a").touch()
    arguments, says = REFUSALS[name]
    usual = {"--workdir": "new", "--seeds": "2", "--steps": "3"}
    usual = [word for pair in usual.items() if pair[0] not in arguments for word in pair]
    code, out, err = jaxgan("sweep", files / "points.py", *usual, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and says in err, err
    assert not pathlib.Path("new").exists() or not list(pathlib.Path("new").iterdir())


def test_help_names_the_options(jaxgan, files):
    code, out, _ = jaxgan("sweep", files / "points.py", "--help")
    assert code == 0
    for words in ("--seeds", "--lr FLOAT,...", "learning rate", "--width INT", "--metrics"):
        assert words in out

"""The tables of `experiments/tables`: their games, and the commands that make them."""

import inspect
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import experiment as experiments
from jaxgan import penalties

TABLES = pathlib.Path(__file__).parent.parent / "experiments" / "tables"
MIXTURES = experiments.load(str(TABLES / "mixtures.py"))
STACKED = experiments.load(str(TABLES / "stacked_mnist.py"))
SMALL = experiments.load(str(TABLES / "small_discriminator.py"))
LOSSES = experiments.load(str(TABLES / "image_losses.py"))
ENDS = {"_floor": 0.5, "_ceiling": 100.0}
"""Of made-up figures, times the figure."""


def methods(function, *quick):
    """Those that an experiment offers; all but the quick ones wait for `-m slow`."""
    offered = inspect.signature(function).parameters["method"].annotation.__args__
    assert set(quick) <= set(offered)
    return [pytest.param(method, marks=[] if method in quick else pytest.mark.slow) for method in offered]


def play(game, batch):
    """What comes of one step: its metrics, and samples."""

    @jax.jit
    def run(k_init, k_step, k_sample):
        state, metrics = game.gan.step(k_step, game.gan.init(k_init, batch), batch)
        return metrics, game.gan.sample(k_sample, state, batch)

    with jax.debug_key_reuse(True):
        metrics, samples = run(*jax.random.split(jax.random.key(0), 3))
    assert samples.shape == batch["x"].shape and np.isfinite(samples).all()
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("method", methods(MIXTURES, "plain", "sharp"))
def test_a_method_takes_a_step_on_the_data_of_the_protocol(method):
    game = MIXTURES(method=method, data="ring")
    batch = game.data().batch_at(0, 0)
    assert np.abs(np.hypot(*batch["x"].T) - 1).max() < 0.06
    play(game, batch)


@pytest.mark.parametrize("method", methods(STACKED, "penalised"))
def test_a_method_takes_a_step_on_stacked_images(method):
    play(STACKED(method=method, width=4), {"x": jax.random.uniform(jax.random.key(1), (8, 28, 28, 3), minval=-1.0)})


@pytest.mark.parametrize("method", methods(SMALL, "penalised"))
def test_a_method_takes_a_step_against_a_small_discriminator(method):
    images = jax.random.uniform(jax.random.key(1), (8, 28, 28, 3), minval=-1.0)
    play(SMALL(method=method, unroll_steps=1), {"x": images})


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("method", methods(LOSSES, "hinge-spectral", "relativistic"))
def test_a_loss_takes_a_step_on_images(method, tuned):
    play(LOSSES(method=method, tuned=tuned, width=4), {"x": jax.random.uniform(jax.random.key(1), (10, 28, 28, 1))})


def count(player):
    return sum(leaf.size for leaf in jax.tree.leaves(player.params))


def test_the_networks_are_as_large_as_those_of_pacgans_code():
    """400 (2 + 3 x 400) weights, scales and shifts of four normalisations, 400 x 2 + 2 out; maxout of 5 pieces."""
    game = MIXTURES(method="plain")
    state = jax.eval_shape(game.gan.init, jax.random.key(0), game.data().batch_at(0, 0))
    assert count(state.generator) == 400 * (2 + 3 * 400) + 4 * 2 * 400 + 400 * 2 + 2
    assert count(state.discriminator) == 1000 * (2 + 1) + 2 * 1000 * (200 + 1) + 200 + 1


def test_the_networks_of_stacked_images_are_as_large_as_those_of_pacgans_code():
    """Weights and biases of 5x5 kernels from 3 to 64 to 512 maps and back, scales and shifts, 100 and 2,048 numbers."""
    game = STACKED(method="plain")
    state = jax.eval_shape(game.gan.init, jax.random.key(0), {"x": np.zeros((64, 28, 28, 3), np.float32)})
    maps = [3, 64, 128, 256, 512]
    kernels = sum(25 * a * b for a, b in zip(maps, maps[1:], strict=False))
    assert count(state.discriminator) == kernels + sum(maps[1:]) + 2 * sum(maps[2:]) + 4 * 512 + 1
    assert count(state.generator) == 100 * 2048 + 2048 + 2 * 512 + kernels + sum(maps[:-1]) + 2 * sum(maps[1:-1])


def test_a_small_discriminator_is_as_large_as_that_of_pacgans_code():
    """3x3 kernels from 3 to 2, 4 and 8 maps; from 64 to 32, 16, 8 and 3; scales and shifts; 256 and 1,024 numbers."""
    game = SMALL(method="plain")
    state = jax.eval_shape(game.gan.init, jax.random.key(0), {"x": np.zeros((128, 28, 28, 3), np.float32)})
    assert count(state.discriminator) == 9 * (3 * 2 + 2 * 4 + 4 * 8) + 3 * (2 + 4 + 8) + 4 * 4 * 8 + 1
    kernels = 9 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 3)
    assert count(state.generator) == 256 * 1024 + 1024 + 2 * 64 + kernels + 3 * (32 + 16 + 8) + 3


def test_the_networks_of_the_losses_are_as_large_as_those_of_compare_gans_code():
    """4x4 kernels 1-64-128 and back, 1,024 numbers before 7x7x128 and after; scales and shifts of the normalised."""
    game = LOSSES(method="non-saturating")
    state = jax.eval_shape(game.gan.init, jax.random.key(0), {"x": np.zeros((64, 28, 28, 1), np.float32)})
    kernels, dense, maps = 16 * (64 + 64 * 128), 1024 * 6272, 7 * 7 * 128
    assert count(state.discriminator) == kernels + 64 + 128 * 3 + dense + 1024 * 3 + 1024 + 1
    assert count(state.generator) == 64 * 1024 + 1024 * 3 + dense + maps * 3 + kernels + 64 * 3 + 1


def test_a_penalty_of_the_losses_is_in_pixels_of_zero_to_one(monkeypatch):
    """A slope of 3 in each pixel of [-1, 1] is one of 6 in those of [0, 1]: of four pixels 12, 11 from 1."""
    monkeypatch.syspath_prepend(str(TABLES))
    import image_losses

    points = jax.random.uniform(jax.random.key(0), (2, 2, 2, 1), minval=-1.0)
    for where in (penalties.interpolate, image_losses.around):
        penalty = image_losses.slopes(2.0, where)
        of_each = penalty(jax.random.key(1), 0, lambda x: 3.0 * x.sum((1, 2, 3)), points, -points)
        np.testing.assert_allclose(of_each, 2 * 11.0**2, rtol=1e-5)


@pytest.mark.slow
def test_clipped_weights_leave_slopes_far_above_what_adam_divides_by():
    """Scales that are clipped as well, of a normalisation, leave a quarter of the width less than 1e-12."""
    gan = LOSSES(method="wasserstein-clip", tuned=True, width=16).gan
    batch = {"x": jax.random.uniform(jax.random.key(0), (64, 28, 28, 1), minval=-1.0)}
    state, step = gan.init(jax.random.key(1), batch), jax.jit(gan.step)
    for key in jax.random.split(jax.random.key(2), 100):
        state, metrics = step(key, state, batch)
    assert metrics["generator/gradient_norm"] > 1e-4


def test_a_row_of_other_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TABLES))
    import tabulate

    row = tmp_path / "end.json"
    assert not tabulate.made(row, ["--seeds", 2])
    row.write_text('{"command": ["--seeds", "2"]}')
    assert tabulate.made(row, ["--seeds", 2])
    with pytest.raises(SystemExit, match="made by `--seeds 2`, not `--seeds 3`: give another --workdir"):
        tabulate.made(row, ["--seeds", 3])


def test_the_table_of_losses_has_rows_that_finished_and_both_ends(tmp_path, monkeypatch):
    """Figures go by the classifier's name, which its file need not have."""
    monkeypatch.syspath_prepend(str(TABLES))
    import make_image_losses

    figures = {figure.format("cnn-digits"): 2.0 + i for i, figure in enumerate(make_image_losses.FIGURES)}
    means = {figure: {"mean": value, "standard_error": 0.5} for figure, value in figures.items()}
    ends = {f"{figure}{end}": value * times for figure, value in figures.items() for end, times in ENDS.items()}
    lost = {"seed": 0, "diverged": {"step": 3, "metric": "generator/loss"}}
    kept = {"seed": 1, "diverged": None, "figures": {"extractor": {"name": "cnn-digits"}} | figures | ends}
    row = {"settings": [{"finished": 1, "means": means}], "seeds": 2, "hours": 1.5, "members": [lost, kept]}
    (tmp_path / "tuned-dragan").mkdir()
    (tmp_path / "tuned-dragan" / "end.json").write_text(json.dumps(row))
    make_image_losses.tell(make_image_losses.Arguments(tmp_path, tmp_path / "mine.npz", dataset="digits"))
    lines = [line.strip("| ").split(" | ") for line in (tmp_path / "table.md").read_text().splitlines()[4:]]
    assert lines[0] == ["dragan", "tuned", "1 of 2", "1.5", *(f"{v:.3g} +- 0.5" for v in figures.values()), "-"]
    for cells, times in zip(lines[1:], ENDS.values(), strict=True):
        assert cells[4:-1] == [f"{v * times:.3g}" for v in figures.values()]


@pytest.mark.slow
def test_a_table_is_made_and_goes_on_with_what_is_missing(tmp_path):
    pytest.importorskip("matplotlib", reason="the tables' curves are drawn with it")

    def make(*methods):
        command = [sys.executable, TABLES / "make_mixtures.py", "--workdir", tmp_path, "--seeds", 2, "--steps", 60]
        subprocess.run([*map(str, command), "--data", "grid", "--methods", *methods], check=True, timeout=600)
        return json.loads((tmp_path / "table.json").read_text())

    made = make("sharp")
    written = (tmp_path / "grid-sharp.json").stat().st_mtime_ns
    all_three = make("sharp", "plain", "demo-unrolled")
    assert (tmp_path / "grid-sharp.json").stat().st_mtime_ns == written
    assert all_three["grid-sharp"] == made["grid-sharp"]
    assert all_three.keys() == {"grid-sharp", "grid-plain", "grid-demo-unrolled"}
    for member in all_three["grid-plain"]["members"]:
        assert np.isfinite(member["largest_real_part"]) and member["stayed"] in (True, False)
    table = (tmp_path / "table.md").read_text()
    for told in ("0.989 of high quality", "17.3 +- .8", "| grid | demo-unrolled | 60 |"):
        assert told in table
    assert table.count("| grid |") == 3
    with Image.open(tmp_path / "grid-plain.gif") as shown:
        assert shown.n_frames > 10
    for picture in ("samples.png", "grid.curves.png"):
        with Image.open(tmp_path / picture) as sheet:
            assert sheet.size[0] > 320


@pytest.mark.slow
def test_the_table_of_stacked_images_tells_modes_beside_those_of_the_data(tmp_path, data_sets):
    extractor, prepared = tmp_path / "cnn.npz", ["--data-dir", tmp_path / "prepared"]
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "extractor", "mnist", "--out", extractor]
    subprocess.run([*map(str, [*command, *prepared, "--manual-dir", data_sets / "mnist"])], check=True)
    command = [sys.executable, TABLES / "make_stacked.py", "--workdir", tmp_path, "--extractor", extractor, *prepared]
    command += ["--seeds", "2", "--steps", "4", "--rows", "penalised", "--width", "8"]
    subprocess.run([*map(str, command)], check=True, timeout=1200)
    row = json.loads((tmp_path / "table.json").read_text())["penalised"]
    for member in row["members"]:
        figures = member["figures"]
        assert figures["samples"] == 26_000 and figures["modes_floor"] == 1000 and figures["modes"] < 900
        assert 0.01 < figures["reverse_kl_floor"] < 0.04 < figures["reverse_kl"]
    assert "As many stacked images of the data: 1000 modes" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "penalised.png").exists()

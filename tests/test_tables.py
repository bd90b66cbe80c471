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

TABLES = pathlib.Path(__file__).parent.parent / "experiments" / "tables"
MIXTURES = experiments.load(str(TABLES / "mixtures.py"))
METHODS = inspect.signature(MIXTURES).parameters["method"].annotation.__args__


@pytest.mark.parametrize("method", METHODS)
def test_a_method_takes_a_step_on_the_data_of_the_protocol(method):
    game = MIXTURES(method=method, data="ring")
    data = game.data()
    batch = data.batch_at(0, 0)
    assert np.abs(np.hypot(*batch["x"].T) - 1).max() < 0.06

    @jax.jit
    def play(k_init, k_step, k_sample):
        state, metrics = game.gan.step(k_step, game.gan.init(k_init, batch), batch)
        return state.step, metrics, game.gan.sample(k_sample, state, batch)

    with jax.debug_key_reuse(True):
        step, metrics, samples = play(*jax.random.split(jax.random.key(0), 3))
    assert step == 1 and samples.shape == batch["x"].shape
    assert all(np.isfinite(value) for value in metrics.values())


def test_the_networks_are_as_large_as_those_of_pacgans_code():
    """400 (2 + 3 x 400) weights, scales and shifts of four normalisations, 400 x 2 + 2 out; maxout of 5 pieces."""
    game = MIXTURES(method="plain")
    state = jax.eval_shape(game.gan.init, jax.random.key(0), game.data().batch_at(0, 0))
    count = lambda player: sum(leaf.size for leaf in jax.tree.leaves(player.params))  # noqa: E731
    assert count(state.generator) == 400 * (2 + 3 * 400) + 4 * 2 * 400 + 400 * 2 + 2
    assert count(state.discriminator) == 1000 * (2 + 1) + 2 * 1000 * (200 + 1) + 200 + 1


@pytest.mark.slow
def test_a_table_is_made_and_goes_on_with_what_is_missing(tmp_path):
    def make(*methods):
        command = [sys.executable, TABLES / "make_mixtures.py", "--workdir", tmp_path, "--seeds", 2, "--steps", 60]
        subprocess.run([*map(str, command), "--data", "grid", "--methods", *methods], check=True, timeout=600)
        return json.loads((tmp_path / "table.json").read_text())

    made = make("sharp")
    written = (tmp_path / "grid-sharp.json").stat().st_mtime_ns
    both = make("sharp", "plain")
    assert (tmp_path / "grid-sharp.json").stat().st_mtime_ns == written
    assert both["grid-sharp"] == made["grid-sharp"] and both.keys() == {"grid-sharp", "grid-plain"}
    for member in both["grid-plain"]["members"]:
        assert np.isfinite(member["largest_real_part"]) and member["stayed"] in (True, False)
    table = (tmp_path / "table.md").read_text()
    assert "17.3 +- .8" in table and "0.989 of high quality" in table and table.count("| grid |") == 2
    with Image.open(tmp_path / "grid-plain.gif") as shown:
        assert shown.n_frames > 10
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.size[0] > 320

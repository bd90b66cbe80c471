"""Every experiment: two steps, no key used twice, a program for every platform; and one that learns."""

import inspect
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_families
from jax import export

from jaxgan import experiment as experiments
from jaxgan import lift
from jaxgan.evaluation import Wanted

# Those of the families have their steps in test_families.py.
FILES = sorted(pathlib.Path(__file__).parent.parent.joinpath("experiments").glob("*.py"))
SHAPES = {"ring": (2,), "grid": (2,), "digits": (8, 8, 1)}
SMALL = {"batch_size": 4}


@pytest.fixture(params=[path for path in FILES if path.stem not in test_families.FAMILIES], ids=lambda path: path.stem)
def small(request):
    """An experiment with a small batch, a batch of its shape, and its axis option."""
    function = experiments.load(str(request.param))
    game = function(**SMALL)
    count = SMALL["batch_size"] * inspect.signature(function).parameters.get("critic_steps", _one).default
    x = jax.random.uniform(jax.random.key(9), (count, *SHAPES.get(request.param.stem, (28, 28, 1))), minval=-1.0)
    return game, {"x": x}


_one = inspect.Parameter("none", inspect.Parameter.KEYWORD_ONLY, default=1)


def test_an_experiment_takes_two_steps_without_using_a_key_twice(small):
    game, batch = small
    key = jax.random.key(0)
    with jax.debug_key_reuse(True):
        state = jax.jit(game.gan.init)(jax.random.key(1), batch)
        batches = jax.tree.map(lambda v: jnp.stack([v, v]), batch)
        state, metrics = lift.jit(lift.scan(game.gan.step))(key, state, batches)
        samples = jax.jit(game.gan.sample)(key, state, batch)
    assert int(state.step) == 2 and samples.shape == batch["x"].shape
    for name, values in {**metrics, "samples": samples}.items():
        assert np.isfinite(values).all(), name
    picture = game.picture(np.asarray(samples))
    assert picture.dtype == np.uint8 and picture.ndim == 3


def test_an_experiment_lowers_for_every_platform(small):
    game, batch = small
    key = jax.random.key(0)
    state = jax.eval_shape(game.gan.init, key, batch)
    program = export.export(jax.jit(game.gan.step), platforms=["cpu", "cuda", "tpu"])(key, state, batch)
    assert program.platforms == ("cpu", "cuda", "tpu")


def test_the_key_reuse_checker_finds_a_key_used_twice():
    """The control: were the checker off, the test above could not fail."""
    with jax.debug_key_reuse(True), pytest.raises(jax.errors.KeyReuseError):
        jax.jit(lambda key: jax.random.normal(key) + jax.random.uniform(key))(jax.random.key(0))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_explains_its_options_and_gives_its_numbers(path):
    function = experiments.load(str(path))
    text = inspect.getdoc(function)
    for name in inspect.signature(function).parameters:
        assert f"  {name}: " in text, f"{name} is not in the docstring"
    assert "Measured" in text and "--steps" in text and "seed" in text


def test_the_digits_are_evaluated_between_floor_and_noise():
    game = experiments.load(str(next(path for path in FILES if path.stem == "digits")))()
    arrays = game.data().arrays["images"]
    real = np.asarray(arrays, np.float32) / 127.5 - 1
    figures = game.evaluate(Wanted())(lambda count: real[-count:])
    json.dumps(figures, allow_nan=False)
    assert 0 < figures["FD-pixels"] < 2 * figures["FD-pixels_floor"] < figures["FD-pixels_ceiling"] / 10


@pytest.mark.slow
def test_the_ring_is_learned():
    """3,000 steps from one seed: all modes, and more good points than a smear round the ring would have."""
    game = experiments.load(str(next(path for path in FILES if path.stem == "ring")))()
    data, key = game.data(), jax.random.key(0)
    state = game.gan.init(key, data.batch_at(0, 0))
    steps = jax.jit(lift.scan(game.gan.step))
    for start in range(0, 3000, 500):
        fed = np.stack([data.feed(0, step) for step in range(start, start + 500)])
        state, _ = steps(key, state, jax.vmap(data.batch, in_axes=(None, 0))(data.arrays, fed))
    batch = {"x": jnp.zeros((2500, 2))}
    figures = game.evaluate(Wanted())(
        lambda count: np.asarray(game.gan.sample(jax.random.key(1), state, batch))[:count]
    )
    assert figures["modes"] == 8 and figures["high_quality"] > 0.3

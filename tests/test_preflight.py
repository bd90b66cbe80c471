"""What is refused before anything compiles, and that the message says what it was."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import losses, preflight, run
from jaxgan.data import Data
from jaxgan.errors import InputError
from jaxgan.experiment import Experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import mlp

B = 8


def make_data(x, *, bounds=(-1.0, 1.0), cond=None):
    """Data whose every batch is `x`."""
    batch = {"x": x} if cond is None else {"x": x, "cond": cond}
    size = len(jax.tree.leaves(x)[0])
    return Data(
        feed=lambda seed, step: np.int32(step),
        batch=lambda arrays, fed: arrays,
        arrays=batch,
        size=None,
        batch_size=size,
        range=bounds,
    )


def make_experiment(shape=(2,), data=None, generator=None):
    gan = make_gan(
        flax_network(generator or mlp.Generator(shape, widths=(4,))),
        flax_network(mlp.Discriminator(widths=(4,))),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(3),
    )
    return Experiment(gan=gan, data=lambda: data, picture=None, picture_count=0, evaluate=None)


def check(x, *, shape=(2,), devices=1, bounds=(-1.0, 1.0)):
    data = make_data(x, bounds=bounds)
    preflight.check_batch(make_experiment(shape), data, data.batch_at(0, 0), devices)


def points(*values, dtype=np.float32):
    """A batch of zeros but for some values, at its end."""
    x = np.zeros((B, 2), dtype)
    x.reshape(-1)[B * 2 - len(values) :] = values
    return x


ACCEPTED = [
    {"x": points(-1.0, 1.0)},  # both ends of the range are in it
    {"x": points(), "devices": 8},
    {"x": points(), "devices": 2},
    {"x": points(1e30), "bounds": None},
    {"x": points(0.5, dtype=np.float16)},
    {"x": jnp.asarray(points(0.5), jnp.bfloat16)},
    {"x": np.zeros((B, 4, 4, 1), np.float32), "shape": (4, 4, 1)},
]
REFUSED = [
    ({"x": points(dtype=np.uint8)}, "the first batch is uint8: expected floating point"),
    ({"x": points(dtype=np.int32), "bounds": None}, "the first batch is int32: expected floating point"),
    ({"x": points(dtype=bool)}, "the first batch is bool: expected floating point"),
    ({"x": points(np.nan)}, "not finite"),
    ({"x": points(np.nan, 0.5)}, "not finite"),
    ({"x": points(np.inf), "bounds": None}, "not finite"),
    ({"x": points(-np.inf), "bounds": None}, "not finite"),
    ({"x": points(1.5, -0.5)}, r"lies in \[-0.5, 1.5\]: expected \[-1.0, 1.0\]"),
    ({"x": points(-1.001)}, r"lies in \[-1.001, 0\]: expected \[-1.0, 1.0\]"),
    ({"x": points(0.5), "bounds": (1.0, 2.0)}, r"expected \[1.0, 2.0\]"),
    ({"x": points(), "shape": (3,)}, r"the generator makes \[\[3\]\], the data are \[\[2\]\]"),
    ({"x": points(), "shape": (2, 1)}, r"the generator makes \[\[2, 1\]\], the data are \[\[2\]\]"),
    (
        {"x": np.zeros((B, 32, 32, 1), np.float32), "shape": (28, 28, 1)},
        r"the generator makes \[\[28, 28, 1\]\], the data are \[\[32, 32, 1\]\]",
    ),
    ({"x": points(), "devices": 3}, "a batch of 8 examples does not split over 3 devices"),
    ({"x": points(), "devices": 16}, "a batch of 8 examples does not split over 16 devices: use 16, say"),
    ({"x": points(), "devices": 5}, "a batch of 8 examples does not split over 5 devices: use 5, say"),
    ({"x": points(dtype=np.complex64)}, "the first batch is complex64: expected floating point"),
    ({"x": points(dtype=np.complex64) * np.nan}, "not finite"),
    ({"x": np.full((B, 2), np.nan, jnp.bfloat16)}, "not finite"),
    ({"x": points(np.finfo(np.float32).max, np.inf), "bounds": None}, "not finite"),
    ({"x": points() * 255 + 255}, r"lies in \[255, 255\]: expected \[-1.0, 1.0\]; rescale"),
    ({"x": points(), "bounds": (0.5, 1.0)}, r"lies in \[0, 0\]: expected \[0.5, 1.0\]"),
    (
        {"x": np.zeros((B, 4, 4, 3), np.float32), "shape": (4, 4, 1)},
        r"makes \[\[4, 4, 1\]\], .* \[\[4, 4, 3\]\]",
    ),
    (
        {"x": np.zeros((B, 3, 4, 4), np.float32), "shape": (4, 4, 3)},
        r"makes \[\[4, 4, 3\]\], .* \[\[3, 4, 4\]\]",
    ),
    ({"x": np.zeros((B,), np.float32), "shape": (1,)}, r"makes \[\[1\]\], the data are \[\[\]\]"),
    ({"x": np.zeros((B, 0), np.float32)}, r"has an array of \[8, 0\]: expected no axis of length 0"),
    ({"x": np.zeros((0, 2), np.float32)}, "a batch of 0 examples: expected at least 1"),
]


@pytest.mark.parametrize("arguments", ACCEPTED)
def test_a_batch_that_training_is_right_with(arguments):
    check(**arguments)


@pytest.mark.parametrize("arguments, message", REFUSED)
def test_a_batch_that_training_would_be_wrong_with(arguments, message):
    with pytest.raises(InputError, match=message):
        check(**arguments)


def test_every_leaf_is_looked_at():
    """Pairs: the second leaf is as wrong as the first would be."""
    data = make_data({"a": points(), "b": points(np.nan)})
    with pytest.raises(InputError, match="not finite"):
        preflight.check_batch(make_experiment(), data, data.batch_at(0, 0), 1)


@pytest.mark.parametrize("length", [0, B - 1, B + 1, 1, None])
def test_every_array_has_as_many_examples(length):
    cond = np.float32(0) if length is None else np.zeros((length, 3), np.float32)
    data = make_data(points(), cond=cond)
    shape = [] if length is None else [length, 3]
    shown = re.escape(f"arrays of {[shape, [B, 2]]}: expected {B} examples in each")
    with pytest.raises(InputError, match=shown):
        preflight.check_batch(make_experiment(), data._replace(batch_size=B), {"x": points(), "cond": cond}, 1)


def test_conditions_are_finite_too():
    data = make_data(points(), cond=points(np.nan))
    with pytest.raises(InputError, match="not finite"):
        preflight.check_batch(make_experiment(), data, data.batch_at(0, 0), 1)


@pytest.mark.parametrize("batch", [{}, {"y": points()}, {"x": {}}, points(), None])
def test_a_batch_without_examples_under_x(batch):
    with pytest.raises(InputError, match='no examples under "x": expected {"x": array, ...}'):
        preflight.check_batch(make_experiment(), make_data(points()), batch, 1)


@pytest.mark.parametrize("size, use", [(None, "use 8, say"), (8, "use 8, say"), (7, "use fewer, the set has 7")])
def test_a_size_is_suggested_that_the_set_has(size, use):
    data = make_data(np.zeros((6, 2), np.float32))
    with pytest.raises(InputError, match=f"a batch of 6 examples does not split over 8 devices: {use}$"):
        preflight.check_batch(make_experiment(), data._replace(size=size), data.batch_at(0, 0), 8)


def test_nothing_is_made_of_a_large_network():
    """Its shapes are found by tracing: the parameters of this one are four terabytes."""
    data = make_data(points())
    experiment = make_experiment(generator=mlp.Generator((2,), widths=(10**6, 10**6)))
    preflight.check_batch(experiment, data, data.batch_at(0, 0), 1)


def prepare(tmp_path, x, *, options=None, seed=0, lift_name="jit", shape=(2,)):
    path = tmp_path / "points.py"
    path.write_text("")
    experiment = make_experiment(shape, make_data(x))
    return preflight.prepare(
        experiment, str(path), options or {"width": 4}, tmp_path / "run", seed=seed, lift_name=lift_name
    )


def test_prepare_describes_the_run_and_writes_none(tmp_path):
    config, data = prepare(tmp_path, points())
    assert config.experiment == "points.py" and config.options == {"width": 4} and config.seed == 0
    assert config.batch == {"x": {"shape": [B, 2], "dtype": "float32"}}
    assert data.batch_size == B
    assert list((tmp_path / "run").iterdir()) == []  # a refusal to come must not leave a run behind


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"options": {"width": 5}}, "width 4 -> 5"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"x": np.zeros((2 * B, 2), np.float32)}, "batch"),
    ],
)
def test_prepare_refuses_a_directory_with_another_run(changes, message, tmp_path):
    config, _ = prepare(tmp_path, points())
    run.write(tmp_path / "run", config)
    assert prepare(tmp_path, points())[0] == config  # the same run is resumed
    with pytest.raises(InputError, match=f"holds another run .*{message}"):
        prepare(tmp_path, **{"x": points(), **changes})
    assert run.read(tmp_path / "run") == config


@pytest.mark.parametrize("lift_name, refused", [("jit", False), ("pmap", True), ("mesh", True)])
def test_prepare_counts_the_devices_of_the_lift(lift_name, refused, tmp_path):
    odd = np.zeros((6, 2), np.float32)
    if refused:
        with pytest.raises(InputError, match="a batch of 6 examples does not split over 8 devices"):
            prepare(tmp_path, odd, lift_name=lift_name)
    else:
        prepare(tmp_path, odd, lift_name=lift_name)
    prepare(tmp_path, points(), lift_name=lift_name)


def test_prepare_refuses_a_batch_that_is_wrong_and_a_place_that_is_none(tmp_path):
    with pytest.raises(InputError, match="not finite"):
        prepare(tmp_path, points(np.nan))
    (tmp_path / "run").rmdir()
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        prepare(tmp_path, points())

"""Samples of classes, along lines of latents, and nearer to the mean."""

import dataclasses
import json
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from PIL import Image

from jaxgan import losses, sampling
from jaxgan.errors import InputError
from jaxgan.experiment import Experiment
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents, uniform_latents
from jaxgan.layers import Dense
from jaxgan.network import flax_network

LATENTS = 6
EXPERIMENTS = pathlib.Path(__file__).parent.parent / "experiments"
LINEAR = """
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.experiment import image_experiment
from jaxgan.latents import normal_latents
from jaxgan.gan import make_gan
from jaxgan.network import flax_network


class Generator(nn.Module):
    @nn.compact
    def __call__(self, z, cond=None):
        z = z if cond is None else jnp.concatenate([z, jax.nn.one_hot(cond, 10)], axis=-1)
        return jnp.tanh(nn.Dense(64)(z)).reshape(-1, 8, 8, 1)


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x, cond=None):
        return nn.Dense(1)(x.reshape(-1, 64))[:, 0]


def experiment(*, classes: int = 10):
    tx = optax.sgd(0.1)
    gan = make_gan(
        flax_network(Generator()),
        flax_network(Discriminator()),
        losses.hinge,
        generator_tx=tx,
        discriminator_tx=tx,
        latent=normal_latents(4),
    )
    return image_experiment(gan, "digits", size=8, channels=1, batch_size=10, classes=classes)
"""


class Shown(nn.Module):
    """Shows latents and class, nearer to a mean by a statistic."""

    @nn.compact
    def __call__(self, z, cond=None):
        mean = self.variable("latents", "mean", lambda: jnp.full(LATENTS, 2.0))
        truncation = self.variable("latents", sampling.TRUNCATION, lambda: jnp.ones(()))
        mean = mean.value[None]
        z = mean + truncation.value * (z - mean) + 0.0 * self.param("weight", nn.initializers.ones, ())
        return z if cond is None else jnp.concatenate([z, cond[:, None].astype(z.dtype)], axis=-1)


class Plain(nn.Module):
    """Shows latents."""

    @nn.compact
    def __call__(self, z, cond=None):
        return z


class Judge(nn.Module):
    @nn.compact
    def __call__(self, x, cond=None):
        return Dense(1)(x)[:, 0]


def conditional(conditions):
    gan = make_gan(
        flax_network(Shown()),
        flax_network(Judge()),
        losses.hinge,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(LATENTS),
    )
    width = LATENTS if conditions is None else LATENTS + 1
    batch = {"x": jnp.zeros((2, width))} | ({} if conditions is None else {"cond": jnp.zeros(2, jnp.int32)})
    state = gan.init(jax.random.key(0), batch)
    return Experiment(gan, None, None, 0, None, conditions=conditions), state, batch


def test_samples_are_of_one_class_after_another():
    game, state, batch = conditional(np.arange(7))
    samples = sampling.draw(game, jax.random.key(1), state, batch, 150)
    np.testing.assert_array_equal(samples[:, -1], np.arange(150) % 7)  # across pieces, too
    few = sampling.draw(game, jax.random.key(1), state, batch, 3)
    np.testing.assert_array_equal(few, samples[:3])


@pytest.mark.parametrize("conditions", [None, np.arange(3)])
def test_a_line_goes_from_one_latent_to_another(conditions):
    game, state, batch = conditional(conditions)
    lines, steps = 20, 9
    found = sampling.interpolate(game, jax.random.key(1), state, batch, lines, steps).reshape(lines, steps, -1)
    if conditions is not None:
        np.testing.assert_array_equal(found[:, :, -1], np.repeat(np.arange(lines)[:, None] % 3, steps, axis=1))
    z = found[:, :, :LATENTS].astype(np.float64)
    start, end = z[:, 0], z[:, -1]
    assert np.std(z[:, 0]) == pytest.approx(1.0, abs=0.2) and abs(np.sum(start * end, 1)).max() < 4 * LATENTS
    unit = z / np.linalg.norm(z, axis=-1, keepdims=True)

    def angle(a, b):
        return np.arccos(np.clip(np.sum(a * b, axis=-1), -1, 1))

    whole = angle(unit[:, 0], unit[:, -1])
    # In the plane of both ends, lengths between theirs' parallelogram; where both have one length, at equal angles.
    for i, t in enumerate(np.linspace(0, 1, steps)):
        near, far = (np.sin(share * whole)[:, None] / np.sin(whole)[:, None] for share in (1 - t, t))
        expected = near * start + far * end
        np.testing.assert_allclose(z[:, i], expected, rtol=1e-3, atol=1e-4)
    ends = [jnp.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), jnp.float32) for v in (start, end)]
    thirds = sampling.spherical(1 / 3, *ends)
    np.testing.assert_allclose(angle(np.asarray(ends[0]), np.asarray(thirds)), whole / 3, rtol=1e-3)


def test_a_line_between_parallel_latents_is_straight():
    z = jnp.array([[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(sampling.spherical(0.25, z, 3.0 * z), 1.5 * z, rtol=1e-6)


@pytest.mark.parametrize("truncation", [1.0, 0.5, 0.0])
def test_truncation_goes_to_the_mean(truncation):
    game, state, batch = conditional(None)
    plain = sampling.draw(game, jax.random.key(1), state, batch, 5)
    game, state = sampling.truncate(game, state, truncation)
    found = sampling.draw(game, jax.random.key(1), state, batch, 5)
    np.testing.assert_allclose(found, 2.0 + truncation * (plain - 2.0), rtol=1e-5, atol=1e-6)


def plain_latents(latent=None):
    """An experiment whose samples are its latents, about 0 as drawn, whose generator keeps no mean."""
    game, state, batch = conditional(None)
    gan = game.gan._replace(game=dataclasses.replace(game.gan.game, generator=flax_network(Plain())))
    if latent is not None:
        gan = gan._replace(game=dataclasses.replace(gan.game, latent=latent))
    return game._replace(gan=gan._replace(sample=gan.game.sample)), state._replace(ema={"params": {}}), batch


@pytest.mark.parametrize("threshold", [2.0, 0.5])
def test_without_a_mean_normal_latents_are_truncated(threshold):
    game, state, batch = sampling.truncate(*plain_latents()[:2], threshold) + plain_latents()[2:]
    found = sampling.draw(game, jax.random.key(1), state, batch, 500).ravel()
    truth = scipy.stats.truncnorm(-threshold, threshold)
    assert abs(found).max() <= threshold and scipy.stats.kstest(found, truth.cdf).pvalue > 1e-3
    ends = sampling.interpolate(game, jax.random.key(1), state, batch, 200, 2).ravel()
    assert abs(ends).max() <= threshold * (1 + 1e-6) and scipy.stats.kstest(ends, truth.cdf).pvalue > 1e-3


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_latents_are_truncated_above_zero_alone(threshold):
    with pytest.raises(InputError, match="expected more than 0"):
        sampling.truncate(*plain_latents()[:2], threshold)


def test_truncation_without_a_mean_or_normal_latents_is_refused():
    with pytest.raises(InputError, match="--truncation 0.5: this generator keeps no mean and its latents are not norm"):
        sampling.truncate(*plain_latents(uniform_latents(LATENTS))[:2], 0.5)


@pytest.fixture
def linear(tmp_path):
    """An experiment with the digits, of a dense layer: its file, its number of classes, and no options."""
    file = tmp_path / "linear.py"
    file.write_text(LINEAR)
    return file, 10, []


@pytest.fixture
def biggan(tmp_path):
    """The conditional residual family, made small: its file, and images of three classes with options for them."""
    noise = np.random.default_rng(0)
    for name in ("bags", "coats", "shirts"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            pixels = noise.integers(0, 256, (28, 28), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    options = ["--dataset", tmp_path / "data", "--classes", 3, "--batch-size", 4, "--width", 8]
    return EXPERIMENTS / "fashion_biggan.py", 3, options


@pytest.mark.parametrize("name", ["linear", pytest.param("biggan", marks=pytest.mark.slow)])
def test_the_command_line_draws_the_class_asked_for(jaxgan, tmp_path, request, name):
    """Sample i of class `label` is sample i of one class after another, wherever that is of this class."""
    file, classes, options = request.getfixturevalue(name)
    run, out = tmp_path / "run", tmp_path / "samples.npy"
    code, _, err = jaxgan("train", file, "--workdir", run, "--steps", 2, *options)
    assert code == 0, err
    sample, count = ("sample", file, "--workdir", run), 3 * classes

    def drawn(*more):
        code, _, err = jaxgan(*sample, "--count", count, "--out", out, *more)
        assert code == 0, err
        return np.load(out, allow_pickle=False)

    mixed, of_class = drawn(), np.arange(count) % classes
    for label in (0, classes - 1):
        found = drawn("--label", label)
        np.testing.assert_array_equal(found[of_class == label], mixed[of_class == label])
        assert (found != mixed)[of_class != label].any(axis=(1, 2, 3)).all()
    out.unlink()
    for label in (-1, classes):
        code, _, err = jaxgan(*sample, "--out", out, "--label", label)
        assert code == 2 and err == f"jaxgan: --label {label}: no such class, expected 0 to {classes - 1}\n"
    assert not out.exists()


def test_the_command_line_refuses_a_class_where_there_are_none(jaxgan, tmp_path, linear):
    file, run, out = linear[0], tmp_path / "run", tmp_path / "samples.npy"
    assert jaxgan("train", file, "--workdir", run, "--steps", 1, "--classes", 0)[0] == 0
    code, said, err = jaxgan("sample", file, "--workdir", run, "--out", out, "--label", 0)
    assert code == 2 and said == "" and err == "jaxgan: --label 0: no such class, its samples have none\n"
    assert not out.exists()


def test_the_command_line_truncates_latents(jaxgan, tmp_path, linear):
    file, run, out = linear[0], tmp_path / "run", tmp_path / "samples.npy"
    assert jaxgan("train", file, "--workdir", run, "--steps", 1, "--classes", 0)[0] == 0

    def spread(*more):
        code, _, err = jaxgan("sample", file, "--workdir", run, "--out", out, *more)
        assert code == 0, err
        return np.load(out, allow_pickle=False).std(axis=0).mean()

    assert spread("--truncation", 0.01) < 0.02 * spread() and spread("--truncation", 1.0) < 0.8 * spread()
    code, said, err = jaxgan("evaluate", file, "--workdir", run, "--truncation", 0.01, "--samples", 50)
    assert code == 0, err
    whole = json.loads(jaxgan("evaluate", file, "--workdir", run, "--samples", 50)[1])
    figures = json.loads(said)
    assert figures.pop("truncation") == 0.01 and figures.keys() == whole.keys()
    assert figures["SW-pixels"] != whole["SW-pixels"] and figures["SW-pixels_floor"] == whole["SW-pixels_floor"]
    code, said, err = jaxgan("evaluate", file, "--workdir", run, "--truncation", 0)
    assert code == 2 and said == "" and err == "jaxgan: latents truncated at 0: expected more than 0\n"

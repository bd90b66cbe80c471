"""Losses: golden values from elsewhere, and one table of properties that every loss has to have."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit

from jaxgan import losses
from jaxgan.losses import LOSSES

# The vector of TensorFlow-GAN's losses_impl_test.py; its expected values are used below where they are published.
REAL = np.array([-5.0, 1.4, 12.5, 2.7])
FAKE = np.array([10.0, 4.4, -5.5, 3.6])

# Float64 formulas in the papers' own terms, with SciPy's log-sigmoid (log D) and no function of jax:
# per example (discriminator, generator).
GOLDEN = {
    "minimax": (-log_expit(REAL) - log_expit(-FAKE), log_expit(-FAKE)),
    "non_saturating": (-log_expit(REAL) - log_expit(-FAKE), -log_expit(FAKE)),
    "wasserstein": (FAKE - REAL, -FAKE),
    "least_squares": (((REAL - 1) ** 2 + FAKE**2) / 2, (FAKE - 1) ** 2 / 2),
    "hinge": (np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
    "relativistic": (-log_expit(REAL - FAKE), -log_expit(FAKE - REAL)),
}
# Means: the first four from TensorFlow-GAN's tests. Its minimax discriminator smooths labels (6.19637); the textbook
# value 5.83387 is numpy's.
PUBLISHED = [
    (losses.least_squares_discriminator_loss, (REAL, FAKE), 41.73375),
    (losses.least_squares_generator_loss, (FAKE,), 17.69625),
    (losses.wasserstein_discriminator_loss, (REAL, FAKE), 0.225),
    (losses.wasserstein_generator_loss, (FAKE,), -3.125),
    (losses.non_saturating_generator_loss, (FAKE,), 1.38582),
    (losses.minimax_discriminator_loss, (REAL, FAKE), 5.83387),
]
AT_ZERO = {  # (discriminator, generator) at zero logits
    "minimax": (2 * np.log(2), -np.log(2)),
    "non_saturating": (2 * np.log(2), np.log(2)),
    "wasserstein": (0.0, 0.0),
    "least_squares": (0.5, 0.5),
    "hinge": (2.0, 0.0),
    "relativistic": (np.log(2), np.log(2)),
}

every_loss = pytest.mark.parametrize("name", LOSSES)


def gradients(loss, real, fake):
    """The derivative of each player's loss with respect to its own logits: (d/d real, d/d fake), d/d fake."""
    of_discriminator = jax.grad(lambda r, f: jnp.sum(loss.discriminator(r, f)), argnums=(0, 1))(real, fake)
    of_generator = jax.grad(lambda f: jnp.sum(loss.generator(f, real)))(fake)
    return of_discriminator, of_generator


def test_the_tables_have_a_row_for_every_loss():
    assert set(GOLDEN) == set(AT_ZERO) == set(LOSSES)
    for name, loss in LOSSES.items():
        assert getattr(losses, name) is loss
        assert getattr(losses, f"{name}_discriminator_loss") is loss.discriminator
        assert getattr(losses, f"{name}_generator_loss") is loss.generator


@every_loss
@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2), (1, 2, 2, 1)])
def test_golden_values_in_float64(name, shape):
    with jax.enable_x64(True):
        real, fake = jnp.asarray(REAL.reshape(shape)), jnp.asarray(FAKE.reshape(shape))
        found = LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake, real)
        for values, golden in zip(found, GOLDEN[name], strict=True):
            assert values.dtype == jnp.float64
            np.testing.assert_allclose(values, golden.reshape(shape), rtol=1e-13, atol=1e-15)


@every_loss
def test_scalar_logits(name):
    for i in range(len(REAL)):
        real, fake = jnp.float32(REAL[i]), jnp.float32(FAKE[i])
        for value, golden in zip(
            (LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake, real)), GOLDEN[name], strict=True
        ):
            assert value.shape == ()
            np.testing.assert_allclose(value, golden[i], rtol=1e-5)


@pytest.mark.parametrize("function, logits, mean", PUBLISHED)
def test_published_means(function, logits, mean):
    # the published figures have five decimals
    np.testing.assert_allclose(np.mean(function(*map(jnp.asarray, logits))), mean, atol=6e-6)


@every_loss
def test_value_at_zero_logits(name):
    zero = jnp.zeros(3)
    np.testing.assert_allclose(LOSSES[name].discriminator(zero, zero), np.full(3, AT_ZERO[name][0]), rtol=1e-6)
    np.testing.assert_allclose(LOSSES[name].generator(zero, zero), np.full(3, AT_ZERO[name][1]), rtol=1e-6)


@every_loss
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients_at_extreme_logits(name, dtype):
    """Against the derivative in closed form; log(sigmoid + epsilon), for one, has lost its gradient at -25."""
    sizes = [1e4, 100.0, 25.0]
    real = jnp.array([sign * size for size in sizes for sign in (1, 1, -1, -1)], dtype)
    fake = jnp.array([sign * size for size in sizes for sign in (1, -1, 1, -1)], dtype)
    r, f = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    slopes = {  # d D/d real, d D/d fake, d G/d fake
        "minimax": (-expit(-r), expit(f), -expit(f)),
        "non_saturating": (-expit(-r), expit(f), -expit(-f)),
        "wasserstein": (-1 + 0 * r, 1 + 0 * f, -1 + 0 * f),
        "least_squares": (r - 1, f, f - 1),
        "hinge": (-1.0 * (r < 1), 1.0 * (f > -1), -1 + 0 * f),
        "relativistic": (-expit(f - r), expit(f - r), -expit(r - f)),
    }[name]
    for values in (LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake, real)):
        assert values.dtype == dtype
        assert np.isfinite(np.asarray(values, np.float64)).all()
    (d_real, d_fake), g_fake = gradients(LOSSES[name], real, fake)
    tolerance = {jnp.float32: 1e-6, jnp.bfloat16: 1e-2}[dtype]
    for found, slope in zip((d_real, d_fake, g_fake), slopes, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(np.asarray(found, np.float64), slope, rtol=tolerance, atol=1e-10)


@every_loss
def test_dtypes_are_kept_or_promoted_as_jax_does(name):
    half, single = jnp.zeros(2, jnp.bfloat16), jnp.zeros(2, jnp.float32)
    assert LOSSES[name].discriminator(half, half).dtype == LOSSES[name].generator(half, half).dtype == jnp.bfloat16
    assert LOSSES[name].discriminator(half, single).dtype == jnp.float32


@every_loss
@pytest.mark.parametrize(
    "real_shape, fake_shape", [((4,), (4, 1)), ((4,), (1,)), ((4,), ()), ((4, 1), (1, 4)), ((4,), (2,)), ((1, 4), (4,))]
)
def test_unequal_shapes_raise(name, real_shape, fake_shape):
    """Also two batch sizes: torchgan builds the targets of one player's batch from the shape of the other's."""
    with pytest.raises(ValueError, match="same shape"):
        LOSSES[name].discriminator(jnp.zeros(real_shape), jnp.zeros(fake_shape))
    with pytest.raises(ValueError, match="same shape"):
        jax.jit(LOSSES[name].discriminator)(jnp.zeros(real_shape), jnp.zeros(fake_shape))


def test_relativistic_generator_raises_on_unequal_shapes():
    with pytest.raises(ValueError, match="same shape"):
        losses.relativistic_generator_loss(jnp.zeros(4), jnp.zeros((4, 1)))


@every_loss
def test_gradients_push_the_logits_apart_and_together(name):
    # inside every margin and on the wrong side of every target, so that no gradient may be zero
    real, fake = jnp.array([-2.0, -0.5, 0.25]), jnp.array([0.9, 0.5, 0.75])
    (d_real, d_fake), g_fake = gradients(LOSSES[name], real, fake)
    assert (d_real < 0).all() and (d_fake > 0).all()  # a descending discriminator raises real, lowers fake
    assert (g_fake < 0).all()  # a descending generator raises fake


@every_loss
def test_the_boundary_is_the_centre_of_symmetry(name, key):
    """Reflected at the boundary, with real and fake exchanged, the game is the same; without one, shifts are free."""
    loss = LOSSES[name]
    real, fake = 3 * jax.random.normal(key, (2, 50))
    values = loss.discriminator(real, fake)
    shifts_are_free = np.allclose(loss.discriminator(real + 7.0, fake + 7.0), values, rtol=1e-4, atol=1e-5)
    assert shifts_are_free == (loss.boundary is None)
    if loss.boundary is not None:
        reflected = loss.discriminator(2 * loss.boundary - fake, 2 * loss.boundary - real)
        np.testing.assert_allclose(reflected, values, rtol=1e-5, atol=2e-6)


@every_loss
def test_only_relativistic_generators_read_the_real_logits(name):
    """PyTorch-GAN's relativistic generator loss was overwritten by the plain one."""
    generator, fake = LOSSES[name].generator, jnp.asarray(FAKE)
    moved = np.abs(generator(fake, jnp.asarray(REAL)) - generator(fake, jnp.asarray(REAL) + 1.0))
    if name == "relativistic":
        assert (moved > 1e-4).any()
        with pytest.raises(ValueError, match="real_logits"):
            generator(fake)
    else:
        assert (moved == 0).all()
        np.testing.assert_array_equal(generator(fake), generator(fake, jnp.asarray(REAL)))


def test_relativistic_players_mirror_each_other():
    np.testing.assert_allclose(
        losses.relativistic_generator_loss(jnp.asarray(FAKE), jnp.asarray(REAL)),
        losses.relativistic_discriminator_loss(jnp.asarray(FAKE), jnp.asarray(REAL)),
    )


def test_minimax_generator_is_minus_the_fake_part_of_its_discriminator():
    fake = jnp.linspace(-20.0, 20.0, 41)
    real = jnp.full(41, 1e4)  # where the real part, softplus(-1e4), is zero
    np.testing.assert_array_equal(losses.minimax.generator(fake), -losses.minimax.discriminator(real, fake))
    (_, d_fake), g_fake = gradients(losses.minimax, real, fake)
    np.testing.assert_array_equal(g_fake, -d_fake)


def test_minimax_saturates_where_non_saturating_does_not():
    """mimicry and StudioGAN give the name minimax, or vanilla, to the non-saturating loss."""
    for logit in (-10.0, -100.0):
        assert abs(jax.grad(losses.minimax_generator_loss)(logit)) < 1e-4
        np.testing.assert_allclose(jax.grad(losses.non_saturating_generator_loss)(logit), -1.0, atol=1e-4)
    assert losses.non_saturating.discriminator is losses.minimax.discriminator


@every_loss
def test_jit_and_vmap_change_nothing(name):
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    for function, args in ((LOSSES[name].discriminator, (real, fake)), (LOSSES[name].generator, (fake, real))):
        np.testing.assert_allclose(jax.jit(function)(*args), function(*args), rtol=1e-6)
        np.testing.assert_allclose(jax.vmap(function)(*args), function(*args), rtol=1e-6)


def test_importing_a_loss_loads_jax_and_no_framework():
    code = """
import sys
from jaxgan import losses
loaded = {"flax", "optax", "orbax", "tensorflow", "tensorflow_datasets"} & set(sys.modules)
assert not loaded, loaded
assert "jax" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Adversarial losses: golden values from elsewhere, and one table of properties that every loss has to have."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit

from jaxgan import losses
from jaxgan.losses import LOSSES

# The vector of TensorFlow-GAN's losses_impl_test.py, whose expected values are in test_losses_peers.py.
REAL = np.array([-5.0, 1.4, 12.5, 2.7])
FAKE = np.array([10.0, 4.4, -5.5, 3.6])

DIVERGENCES = {
    "kl": losses.KL,
    "reverse_kl": losses.REVERSE_KL,
    "pearson": losses.PEARSON,
    "squared_hellinger": losses.SQUARED_HELLINGER,
    "jensen_shannon": losses.JENSEN_SHANNON,
}
# Every row of the library's table, and the games that need a parameter.
GAMES = {
    **LOSSES,
    **{f"{name}, non-saturating": losses.f_gan(d, non_saturating=True) for name, d in DIVERGENCES.items()},
    "energy_based": losses.energy_based(10.0),
    "least_squares_coded": losses.least_squares_coded(-0.5, 2.0, 1.5),
}
every_game = pytest.mark.parametrize("name", GAMES)
COUPLED = {name for name in GAMES if "average" in name}  # examples of a batch depend on one another
RELATIVISTIC = COUPLED | {"relativistic"}
SHIFTS_ARE_FREE = RELATIVISTIC | {"wasserstein"}
SYMMETRIC = {
    *("minimax", "non_saturating", "least_squares", "pearson_least_squares", "least_squares_coded", "hinge"),
    *("squared_hellinger", "squared_hellinger, non-saturating", "jensen_shannon", "jensen_shannon, non-saturating"),
}


def log_d(v):
    return log_expit(v)  # SciPy's log-sigmoid: log D


def exp(v):
    """exp, and from the exponent 32 on its tangent, as the library promises."""
    return np.where(v > 32, np.exp(32.0) * (v - 31), np.exp(np.minimum(v, 32)))


def squares(a, b, c):
    return (lambda r, f: ((r - b) ** 2 + (f - a) ** 2) / 2), (lambda f, r: (f - c) ** 2 / 2)


def average(of_real, of_fake):
    """Jolicoeur-Martineau 2018, the average forms: the generator exchanges the roles."""

    def discriminator(r, f):
        return of_real(r - np.mean(f)) + of_fake(f - np.mean(r))

    return discriminator, lambda f, r: discriminator(f, r)


# Float64 formulas in the papers' own terms, with NumPy and SciPy and no function of jax: discriminator, generator.
GOLDEN = {
    "minimax": (lambda r, f: -log_d(r) - log_d(-f), lambda f, r: log_d(-f)),
    "non_saturating": (lambda r, f: -log_d(r) - log_d(-f), lambda f, r: -log_d(f)),
    "wasserstein": (lambda r, f: f - r, lambda f, r: -f),
    "hinge": (lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f), lambda f, r: -f),
    "least_squares": squares(0, 1, 1),
    "pearson_least_squares": squares(-1, 1, 0),
    "least_squares_coded": squares(-0.5, 2, 1.5),
    "relativistic": (lambda r, f: -log_d(r - f), lambda f, r: -log_d(f - r)),
    "relativistic_average": average(lambda v: -log_d(v), lambda v: -log_d(-v)),
    "relativistic_average_least_squares": average(lambda v: (v - 1) ** 2 / 2, lambda v: (v + 1) ** 2 / 2),
    "relativistic_average_hinge": average(lambda v: np.maximum(0, 1 - v), lambda v: np.maximum(0, 1 + v)),
    "kl": (lambda r, f: -r + exp(f - 1), lambda f, r: -exp(f - 1)),
    "reverse_kl": (lambda r, f: exp(-r) + f - 1, lambda f, r: 1 - f),
    "pearson": (lambda r, f: -r + f**2 / 4 + f, lambda f, r: -(f**2 / 4 + f)),
    "squared_hellinger": (lambda r, f: exp(-r) + exp(f) - 2, lambda f, r: 1 - exp(f)),
    "jensen_shannon": (lambda r, f: -log_d(r) - log_d(-f) - 2 * np.log(2), lambda f, r: log_d(-f) + np.log(2)),
    "energy_based": (lambda r, f: -r + np.maximum(0, 10 + f), lambda f, r: -f),
}
for _name, _generator in {
    "kl": lambda f, r: -f,
    "reverse_kl": lambda f, r: exp(-f),
    "pearson": lambda f, r: -f,
    "squared_hellinger": lambda f, r: exp(-f) - 1,
    "jensen_shannon": lambda f, r: -log_d(f) - np.log(2),
}.items():
    GOLDEN[f"{_name}, non-saturating"] = GOLDEN[_name][0], _generator

AT_ZERO = {  # (discriminator, generator) at zero logits
    "minimax": (2 * np.log(2), -np.log(2)),
    "non_saturating": (2 * np.log(2), np.log(2)),
    "wasserstein": (0.0, 0.0),
    "hinge": (2.0, 0.0),
    "least_squares": (0.5, 0.5),
    "pearson_least_squares": (1.0, 0.0),
    "least_squares_coded": (2.125, 1.125),
    "relativistic": (np.log(2), np.log(2)),
    "relativistic_average": (2 * np.log(2), 2 * np.log(2)),
    "relativistic_average_least_squares": (1.0, 1.0),
    "relativistic_average_hinge": (2.0, 2.0),
    "kl": (np.exp(-1), -np.exp(-1)),
    "kl, non-saturating": (np.exp(-1), 0.0),
    "reverse_kl": (0.0, 1.0),
    "reverse_kl, non-saturating": (0.0, 1.0),
    "pearson": (0.0, 0.0),
    "pearson, non-saturating": (0.0, 0.0),
    "squared_hellinger": (0.0, 0.0),
    "squared_hellinger, non-saturating": (0.0, 0.0),
    "jensen_shannon": (0.0, 0.0),
    "jensen_shannon, non-saturating": (0.0, 0.0),
    "energy_based": (10.0, 0.0),
}


def slopes_of_average(of_real, of_fake):
    """Of the sum over the batch, the derivatives of the average forms; the means carry gradient too."""

    def slopes(r, f):
        real, fake = of_real(r - np.mean(f)), of_fake(f - np.mean(r))
        return real - np.mean(fake), fake - np.mean(real)

    return lambda r, f: (*slopes(r, f), slopes(f, r)[0])


def d_exp(v):
    return np.exp(np.minimum(v, 32))


# d D/d real, d D/d fake, d G/d fake, in closed form
SLOPES = {
    "minimax": lambda r, f: (-expit(-r), expit(f), -expit(f)),
    "non_saturating": lambda r, f: (-expit(-r), expit(f), -expit(-f)),
    "wasserstein": lambda r, f: (-1 + 0 * r, 1 + 0 * f, -1 + 0 * f),
    "hinge": lambda r, f: (-1.0 * (r < 1), 1.0 * (f > -1), -1 + 0 * f),
    "least_squares": lambda r, f: (r - 1, f, f - 1),
    "pearson_least_squares": lambda r, f: (r - 1, f + 1, f),
    "least_squares_coded": lambda r, f: (r - 2, f + 0.5, f - 1.5),
    "relativistic": lambda r, f: (-expit(f - r), expit(f - r), -expit(r - f)),
    "relativistic_average": slopes_of_average(lambda v: -expit(-v), expit),
    "relativistic_average_least_squares": slopes_of_average(lambda v: v - 1, lambda v: v + 1),
    "relativistic_average_hinge": slopes_of_average(lambda v: -1.0 * (v < 1), lambda v: 1.0 * (v > -1)),
    "kl": lambda r, f: (-1 + 0 * r, d_exp(f - 1), -d_exp(f - 1)),
    "kl, non-saturating": lambda r, f: (-1 + 0 * r, d_exp(f - 1), -1 + 0 * f),
    "reverse_kl": lambda r, f: (-d_exp(-r), 1 + 0 * f, -1 + 0 * f),
    "reverse_kl, non-saturating": lambda r, f: (-d_exp(-r), 1 + 0 * f, -d_exp(-f)),
    "pearson": lambda r, f: (-1 + 0 * r, f / 2 + 1, -(f / 2 + 1)),
    "pearson, non-saturating": lambda r, f: (-1 + 0 * r, f / 2 + 1, -1 + 0 * f),
    "squared_hellinger": lambda r, f: (-d_exp(-r), d_exp(f), -d_exp(f)),
    "squared_hellinger, non-saturating": lambda r, f: (-d_exp(-r), d_exp(f), -d_exp(-f)),
    "jensen_shannon": lambda r, f: (-expit(-r), expit(f), -expit(f)),
    "jensen_shannon, non-saturating": lambda r, f: (-expit(-r), expit(f), -expit(-f)),
    "energy_based": lambda r, f: (-1 + 0 * r, 1.0 * (f > -10), -1 + 0 * f),
}


def gradients(loss, real, fake):
    """The derivative of each player's loss with respect to its own logits: (d/d real, d/d fake), d/d fake."""
    of_discriminator = jax.grad(lambda r, f: jnp.sum(loss.discriminator(r, f)), argnums=(0, 1))(real, fake)
    of_generator = jax.grad(lambda f: jnp.sum(loss.generator(f, real)))(fake)
    return of_discriminator, of_generator


def test_the_tables_have_a_row_for_every_game():
    assert set(GOLDEN) == set(AT_ZERO) == set(SLOPES) == set(GAMES)
    for name, loss in LOSSES.items():
        assert getattr(losses, name) is loss
        assert loss.boundary is None or isinstance(loss.boundary, float)


def test_the_losses_written_out_have_functions_by_their_names():
    for name in ("minimax", "non_saturating", "wasserstein", "hinge", "least_squares", "relativistic"):
        assert getattr(losses, f"{name}_discriminator_loss") is LOSSES[name].discriminator
        assert getattr(losses, f"{name}_generator_loss") is LOSSES[name].generator


def test_the_public_names_are_there():
    assert len(set(losses.__all__)) == len(losses.__all__)
    assert set(LOSSES) | {"LOSSES", "Loss"} <= set(losses.__all__)
    for name in losses.__all__:
        value = getattr(losses, name)
        assert not callable(value) or isinstance(value, tuple) or value.__doc__.strip()


@every_game
@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 2, 2, 1)])
def test_golden_values_in_float64(name, shape):
    r, f = REAL.reshape(shape), FAKE.reshape(shape)
    with jax.enable_x64(True):
        real, fake = jnp.asarray(r), jnp.asarray(f)
        found = GAMES[name].discriminator(real, fake), GAMES[name].generator(fake, real)
        for values, golden in zip(found, (GOLDEN[name][0](r, f), GOLDEN[name][1](f, r)), strict=True):
            assert values.dtype == jnp.float64
            np.testing.assert_allclose(values, golden, rtol=1e-13, atol=1e-14)


@every_game
def test_scalar_logits(name):
    for r, f in zip(REAL, FAKE, strict=True):
        real, fake = jnp.float32(r), jnp.float32(f)
        found = GAMES[name].discriminator(real, fake), GAMES[name].generator(fake, real)
        for value, golden in zip(found, (GOLDEN[name][0](r, f), GOLDEN[name][1](f, r)), strict=True):
            assert value.shape == ()
            np.testing.assert_allclose(value, golden, rtol=1e-5, atol=2e-7)


@every_game
def test_value_at_zero_logits(name):
    zero = jnp.zeros(4)
    np.testing.assert_allclose(GAMES[name].discriminator(zero, zero), np.full(4, AT_ZERO[name][0]), rtol=1e-6)
    np.testing.assert_allclose(GAMES[name].generator(zero, zero), np.full(4, AT_ZERO[name][1]), rtol=1e-6)


@every_game
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients_at_extreme_logits(name, dtype):
    """Against the derivative in closed form; log(sigmoid + epsilon), for one, has lost its gradient at -25."""
    sizes = [1e4, 100.0, 25.0]
    real = jnp.array([sign * size for size in sizes for sign in (1, 1, -1, -1)], dtype)
    fake = jnp.array([sign * size for size in sizes for sign in (1, -1, 1, -1)], dtype)
    r, f = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    for values in (GAMES[name].discriminator(real, fake), GAMES[name].generator(fake, real)):
        assert values.dtype == dtype
        assert np.isfinite(np.asarray(values, np.float64)).all()
    (d_real, d_fake), g_fake = gradients(GAMES[name], real, fake)
    tolerance = {jnp.float32: 1e-6, jnp.bfloat16: 1e-2}[dtype]
    for found, slope in zip((d_real, d_fake, g_fake), SLOPES[name](r, f), strict=True):
        assert found.dtype == dtype
        # means of large numbers of both signs lose what is small beside these
        lost = tolerance * np.abs(slope).max() if name in COUPLED else 0
        np.testing.assert_allclose(np.asarray(found, np.float64), slope, rtol=tolerance, atol=1e-10 + lost)


@every_game
def test_dtypes_are_kept_or_promoted_as_jax_does(name):
    half, single = jnp.zeros(4, jnp.bfloat16), jnp.zeros(4, jnp.float32)
    assert GAMES[name].discriminator(half, half).dtype == GAMES[name].generator(half, half).dtype == jnp.bfloat16
    assert GAMES[name].discriminator(half, single).dtype == jnp.float32


@every_game
@pytest.mark.parametrize(
    "real_shape, fake_shape", [((4,), (4, 1)), ((4,), (1,)), ((4,), ()), ((4, 1), (1, 4)), ((4,), (2,)), ((1, 4), (4,))]
)
def test_unequal_shapes_raise(name, real_shape, fake_shape):
    """Also two batch sizes: torchgan builds the targets of one player's batch from the shape of the other's."""
    with pytest.raises(ValueError, match="real_logits and fake_logits must have the same shape, got"):
        GAMES[name].discriminator(np.zeros(real_shape, np.float32), np.zeros(fake_shape, np.float32))


@pytest.mark.parametrize("name", sorted(RELATIVISTIC))
def test_relativistic_generators_raise_on_unequal_shapes(name):
    with pytest.raises(ValueError, match="same shape"):
        GAMES[name].generator(jnp.zeros(4), jnp.zeros((4, 1)))


@every_game
def test_gradients_push_the_logits_apart_and_together(name):
    # inside every margin and on the wrong side of every target, so that no gradient may be zero
    real, fake = jnp.array([-2.0, -0.5, 0.25, 0.0]), jnp.array([0.9, 0.5, 0.75, 0.6])
    if name in ("pearson_least_squares", "relativistic_average_least_squares"):
        fake = fake - 1.0  # here fakes can be too real for the generator: its target is 0, or 1 above the data
    (d_real, d_fake), g_fake = gradients(GAMES[name], real, fake)
    assert (d_real < 0).all() and (d_fake > 0).all()  # a descending discriminator raises real, lowers fake
    assert (g_fake < 0).all()  # a descending generator raises fake


@every_game
def test_the_boundary_is_where_likes_are_judged_alike(name):
    """Where data and samples have one density their best common logit is the boundary; without one, any is."""
    loss = GAMES[name]
    with jax.enable_x64(True):

        def slopes(at):
            return jax.grad(lambda v: jnp.sum(loss.discriminator(v, v)))(jnp.asarray(at))

        if loss.boundary is None:
            for at in (-5.0, 0.0, 1.5):
                np.testing.assert_allclose(slopes([at] * 4), np.zeros(4), atol=1e-12)
        else:
            np.testing.assert_allclose(slopes([loss.boundary] * 4), np.zeros(4), atol=1e-12)
            below, above = slopes([loss.boundary - 1.5] * 4), slopes([loss.boundary + 1.5] * 4)
            assert (below < -0.1).all() and (above > 0.1).all()


@every_game
def test_symmetry_and_shifts(name):
    """Reflected at the boundary, with real and fake exchanged, a symmetric game is the same."""
    loss = GAMES[name]
    real, fake = (np.random.default_rng(seed).normal(size=4).astype(np.float32) for seed in (0, 1))
    values = loss.discriminator(real, fake)
    moved = np.allclose(loss.discriminator(real - 20.0, fake - 20.0), values, rtol=1e-4, atol=1e-5)
    assert moved == (name in SHIFTS_ARE_FREE)
    if loss.boundary is not None:
        reflected = loss.discriminator(2 * loss.boundary - fake, 2 * loss.boundary - real)
        assert np.allclose(reflected, values, rtol=1e-5, atol=2e-6) == (name in SYMMETRIC)


def test_a_zero_sum_game_has_one_value():
    """log D(real) + log(1 - D(fake)), by hand: what the discriminator maximises, the generator minimises."""
    loss = losses.zero_sum(losses.minimax)
    real, fake = np.array([-2.0, 0.5, 3.0]), np.array([1.5, -0.5, 4.0])
    value = np.log(1 / (1 + np.exp(-real))) + np.log(1 - 1 / (1 + np.exp(-fake)))
    np.testing.assert_allclose(loss.generator(jnp.array(fake), jnp.array(real)), value, rtol=1e-5)
    np.testing.assert_allclose(loss.discriminator(jnp.array(real), jnp.array(fake)), -value, rtol=1e-5)


@every_game
def test_only_relativistic_generators_read_the_real_logits(name):
    """PyTorch-GAN's relativistic generator loss was overwritten by the plain one."""
    generator, fake = GAMES[name].generator, jnp.asarray(FAKE)
    moved = np.abs(generator(fake, jnp.asarray(REAL)) - generator(fake, jnp.asarray(REAL) + 1.0))
    if name in RELATIVISTIC:
        assert (moved > 1e-4).any()
        with pytest.raises(ValueError, match="real_logits"):
            generator(fake)
    else:
        assert (moved == 0).all()
        np.testing.assert_array_equal(generator(fake), generator(fake, jnp.asarray(REAL)))


@pytest.mark.parametrize("name", sorted(RELATIVISTIC))
def test_relativistic_players_mirror_each_other(name):
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    np.testing.assert_array_equal(GAMES[name].generator(fake, real), GAMES[name].discriminator(fake, real))


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


@every_game
def test_jit_and_vmap_change_nothing(name):
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    for function, args in ((GAMES[name].discriminator, (real, fake)), (GAMES[name].generator, (fake, real))):
        np.testing.assert_allclose(jax.jit(function)(*args), function(*args), rtol=1e-6, atol=1e-6)
        # over batches, where the examples of one depend on one another
        batched = [arg[None] for arg in args] if name in COUPLED else args
        np.testing.assert_allclose(jax.vmap(function)(*batched).reshape(-1), function(*args), rtol=1e-6, atol=1e-6)


def test_a_relativistic_average_over_devices_is_that_of_the_whole_batch():
    """Values and gradients: without the axis name, each device would compare with its own part's mean."""
    game, whole = losses.relative_to_average(losses.minimax, axis_name="devices"), losses.relativistic_average
    real, fake = (np.random.default_rng(seed).normal(size=8).astype(np.float32) for seed in (0, 1))
    parts = real.reshape(4, 2), fake.reshape(4, 2)

    def loss_and_gradient(game, real, fake):
        """Of a critic with one weight, as a step takes them: the gradient of the own part's mean."""
        return jax.value_and_grad(lambda w: jnp.mean(game.discriminator(w * real, w * fake)))(jnp.float32(1.5))

    def on_a_device(game, real, fake):
        return jax.lax.pmean(loss_and_gradient(game, real, fake), "devices")

    expected = loss_and_gradient(whole, jnp.asarray(real), jnp.asarray(fake))
    for lift in (jax.pmap, jax.vmap):
        found = lift(lambda r, f: on_a_device(game, r, f), axis_name="devices")(*parts)
        np.testing.assert_allclose(np.array(found)[:, 0], expected, rtol=1e-5)
    alone = jax.vmap(lambda r, f: on_a_device(whole, r, f), axis_name="devices")(*parts)
    assert abs(alone[0][0] - expected[0]) > 1e-2


@pytest.mark.parametrize("name", ["least_squares", "kl", "wasserstein", "relativistic"])
def test_only_losses_undecided_at_zero_can_be_made_relative(name):
    with pytest.raises(ValueError, match="undecided at 0"):
        losses.relative_to_average(LOSSES[name])


def test_the_energy_of_a_game_is_minus_its_logit():
    real, fake = jnp.asarray([0.5, 3.0]), jnp.asarray([2.0, 12.0])
    game = losses.energy_based(10.0)
    expected = losses.energy_based_discriminator_loss(real, fake, margin=10.0)
    np.testing.assert_allclose(expected, [8.5, 3.0])
    np.testing.assert_array_equal(game.discriminator(-real, -fake), expected)
    np.testing.assert_array_equal(game.generator(-fake), fake)


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

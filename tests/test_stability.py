"""Eigenvalues against the closed forms of the Dirac-GAN, and against Jacobians that were built whole."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import block_diag

from jaxgan import losses, penalties
from jaxgan.game import Game
from jaxgan.gan import make_gan
from jaxgan.joint import make_consensus_gan, make_extragradient_gan, make_unrolled_gan
from jaxgan.latents import normal_latents
from jaxgan.losses import LOSSES
from jaxgan.network import Network, flax_network
from jaxgan.networks import dcgan, mlp
from jaxgan.stability import eigenvalues, gradient_field

KEY = jax.random.key(0)
RATE = 0.1
# f'(0) of the paper's `f(D(G(z))) + f(-D(x))`: the original games with f(t) = -log(1 + exp(-t)), Wasserstein f(t) = t.
SLOPES = {"minimax": 0.5, "non_saturating": 0.5, "wasserstein": 1.0}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def one_parameter(apply) -> Network:
    def init(key, x, cond):
        return {"params": {"w": jnp.zeros(())}}

    return Network(
        init, lambda variables, x, cond, *, key, train, step=None: (apply(variables["params"]["w"], x), variables)
    )


def dirac(loss, **options) -> Game:
    """The Dirac-GAN: data at 0, samples at theta, `D(x) = psi x`; Mescheder et al. 2018, Definition 2.1."""
    generator = one_parameter(lambda theta, z: jnp.full(z.shape, theta))
    discriminator = one_parameter(lambda psi, x: psi * x)
    return Game(generator, discriminator, loss, lambda key, batch: jnp.zeros(batch["x"].shape), **options)


BATCH = {"x": np.zeros(2)}


def at_equilibrium(game):
    """Eigenvalues of the field at `theta = psi = 0`, by falling imaginary part."""
    tx = optax.identity()
    values = eigenvalues(*gradient_field(game, KEY, game.init(KEY, BATCH, tx, tx), BATCH))
    return values[np.lexsort((values.real, -values.imag))]


def pair(half_trace, determinant):
    """The roots of `x^2 - 2 half_trace x + determinant`, by falling imaginary part."""
    root = np.sqrt(complex(half_trace**2 - determinant))
    values = np.array([half_trace + root, half_trace - root])
    return values[np.lexsort((values.real, -values.imag))]


@pytest.mark.parametrize("name", SLOPES)
def test_unregularised_training_has_imaginary_eigenvalues(name):
    """Section 2 of the paper: the eigenvalues are `+- f'(0) i`."""
    values = at_equilibrium(dirac(LOSSES[name]))
    np.testing.assert_allclose(values, [1j * SLOPES[name], -1j * SLOPES[name]], atol=1e-6)
    np.testing.assert_array_equal(values.real, 0.0)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_eigenvalues_of_its_slopes(name):
    """For any losses the Jacobian at the origin is `[[0, -a], [-b, 0]]`, a and b their slopes in the fake logit."""
    loss, zero = LOSSES[name], jnp.zeros(2)
    a = jax.grad(lambda fake: loss.discriminator(zero, fake).mean())(zero).sum()
    b = jax.grad(lambda fake: loss.generator(fake, zero).mean())(zero).sum()
    np.testing.assert_allclose(at_equilibrium(dirac(loss)), pair(0.0, -float(a * b)), atol=1e-6)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])  # below, at and above the critical value of 2 f'(0)
@pytest.mark.parametrize("name", SLOPES)
def test_r1_moves_them_to_the_left(name, gamma):
    """Section 4, the penalty `gamma/2 |grad D|^2` on data: `-gamma/2 +- sqrt(gamma^2/4 - f'(0)^2)`."""

    def penalty(key, step, critic, real, fake):
        return gamma / 2 * penalties.gradient_squared_norm(critic, real)

    values = at_equilibrium(dirac(LOSSES[name], discriminator_penalty=penalty))
    np.testing.assert_allclose(values, pair(-gamma / 2, SLOPES[name] ** 2), atol=1e-6)
    assert (values.real < 0).all()


@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_instance_noise_moves_them_to_the_left(std):
    """Section 3: `f''(0) std^2 +- sqrt(f''(0)^2 std^4 - f'(0)^2)`, with f'' = -1/4; noise of two points, +-std."""

    def noise(key, step, x):
        return x + std * jnp.array([1.0, -1.0])

    values = at_equilibrium(dirac(losses.non_saturating, augment=noise))
    np.testing.assert_allclose(values, pair(-(std**2) / 4, 0.25), atol=1e-6)


def after_a_step(gan):
    """Eigenvalues of one step as a map of `(d_params, g_params)` at the origin."""
    start = gan.init(KEY, BATCH)

    def step(params):
        d_params, g_params = params
        state = start._replace(
            discriminator=start.discriminator._replace(params=d_params),
            generator=start.generator._replace(params=g_params),
        )
        state, _ = gan.step(KEY, state, BATCH)
        return state.discriminator.params, state.generator.params

    values = eigenvalues(step, (start.discriminator.params, start.generator.params))
    return values[np.lexsort((values.real, -values.imag))]


def build(make, name, **options):
    """One of the constructors on the Dirac-GAN, with gradient descent."""
    rates = {"generator_tx": optax.sgd(RATE), "discriminator_tx": optax.sgd(RATE)}
    game = dirac(LOSSES[name])
    if make is make_gan:
        return make_gan(game.generator, game.discriminator, game.loss, latent=game.latent, **rates, **options)
    return make(game, **rates, **options)


@pytest.mark.parametrize("name", SLOPES)
def test_simultaneous_steps_spiral_outwards(name):
    """Section 2: `1 +- i h f'(0)`, outside the unit circle for every rate."""
    values = after_a_step(build(make_gan, name, simultaneous=True))
    np.testing.assert_allclose(values, 1 + RATE * SLOPES[name] * np.array([1j, -1j]), atol=1e-6)
    assert (abs(values) > 1).all()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", SLOPES)
def test_alternating_steps_stay_on_the_unit_circle(name, steps):
    """Section 2, `steps` discriminator updates: of `x^2 - (2 - n (h f'(0))^2) x + 1`, on the circle for small rates."""
    batch_of_each = build(make_gan, name, discriminator_steps=steps)
    start = {"x": np.zeros(2 * steps)}
    gan = batch_of_each._replace(
        init=lambda key, batch: batch_of_each.init(key, start),
        step=lambda key, state, batch: batch_of_each.step(key, state, start),
    )
    values = after_a_step(gan)
    np.testing.assert_allclose(values, pair(1 - steps * (RATE * SLOPES[name]) ** 2 / 2, 1.0), atol=1e-6)
    np.testing.assert_allclose(abs(values), 1.0, atol=1e-9)


@pytest.mark.parametrize("name", SLOPES)
def test_consensus_steps_converge(name):
    """The field's Jacobian J becomes `J - strength J^T J`: eigenvalues `-strength f'(0)^2 +- i f'(0)`."""
    strength, slope = 3.0, SLOPES[name]
    values = after_a_step(build(make_consensus_gan, name, strength=strength))
    np.testing.assert_allclose(values, 1 + RATE * (-strength * slope**2 + slope * np.array([1j, -1j])), atol=1e-6)
    assert (abs(values) < 1).all()


@pytest.mark.parametrize("name", SLOPES)
def test_extragradient_steps_converge(name):
    """`w + h J (w + h J w)`: `1 + h lambda + (h lambda)^2`."""
    values = after_a_step(build(make_extragradient_gan, name))
    turn = RATE * SLOPES[name] * np.array([1j, -1j])
    np.testing.assert_allclose(values, 1 + turn + turn**2, atol=1e-6)
    assert (abs(values) < 1).all()


@pytest.mark.parametrize("unroll_steps", [0, 1, 5])
def test_unrolled_steps_converge(unroll_steps):
    """Wasserstein: `psi_K = psi - K h theta`, so the generator's field is `psi - 2 K h theta`."""
    values = after_a_step(build(make_unrolled_gan, "wasserstein", unroll_steps=unroll_steps))
    np.testing.assert_allclose(values, 1 + RATE * pair(-unroll_steps * RATE, 1.0), atol=1e-6)
    assert (abs(values) < 1).all() == (unroll_steps > 0)


def r1(key, step, critic, real, fake):
    return penalties.gradient_squared_norm(critic, real)


GAMES = {
    "points": (mlp.Generator((2,), widths=(6,)), mlp.Discriminator(widths=(8,), activation=jnp.tanh), (2,)),
    "images": (  # convolutions, which have no forward-mode derivative, and batch normalisation
        dcgan.Generator(start=3, features=(2,), strides=(1,), kernel_size=3),
        dcgan.Discriminator(features=(3,), strides=(1,), kernel_size=3),
        (3, 3, 1),
    ),
}


def field_of(name):
    generator, discriminator, shape = GAMES[name]
    game = Game(
        flax_network(generator),
        flax_network(discriminator),
        losses.non_saturating,
        normal_latents(3),
        discriminator_penalty=r1,
    )
    batch = {"x": np.random.default_rng(0).normal(size=(16, *shape))}
    tx = optax.identity()
    state = jax.tree.map(
        lambda v: v.astype(jnp.float64) if v.dtype == jnp.float32 else v, game.init(KEY, batch, tx, tx)
    )
    field, point = gradient_field(game, KEY, state, batch)
    flat, unravel = jax.flatten_util.ravel_pytree(point)
    # An independent way to the matrix: row after row, by one reverse pass over the field.
    matrix = jax.jit(jax.jacrev(lambda x: jax.flatten_util.ravel_pytree(field(unravel(x)))[0]))(flat)
    return field, point, np.linalg.eigvals(np.asarray(matrix))


@pytest.mark.parametrize(("name", "which"), [("points", "LM"), pytest.param("images", "LR", marks=pytest.mark.slow)])
def test_networks_have_the_eigenvalues_of_their_whole_jacobian(name, which):
    field, point, all_values = field_of(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(point)) > 64  # so it is Arnoldi's iteration that answers
    size = {"LR": np.real, "LM": np.abs}[which]
    found = eigenvalues(field, point, count=4, which=which, basis=64)
    expected = np.sort(size(all_values))[::-1][:4]
    np.testing.assert_allclose(size(found), expected, rtol=1e-6, atol=1e-8)
    for value in found:
        assert np.abs(all_values - value).min() < 1e-6


def test_a_field_is_minus_what_the_plain_step_descends():
    """`w_after - w` is the rate times the field, for simultaneous gradient descent."""
    generator, discriminator, shape = GAMES["images"]
    gan = make_gan(
        flax_network(generator),
        flax_network(discriminator),
        losses.hinge,
        generator_tx=optax.sgd(RATE),
        discriminator_tx=optax.sgd(RATE),
        latent=normal_latents(3),
        discriminator_penalty=r1,
        simultaneous=True,
    )
    batch = {"x": np.random.default_rng(1).normal(size=(8, *shape))}
    state = gan.init(KEY, batch)
    after, _ = jax.jit(gan.step)(KEY, state, batch)
    field, (d_params, g_params) = gradient_field(gan.game, KEY, state, batch)
    d_field, g_field = jax.jit(field)((d_params, g_params))
    for before, direction, now in (
        (d_params, d_field, after.discriminator.params),
        (g_params, g_field, after.generator.params),
    ):
        moved = jax.tree.map(lambda a, b: a + RATE * b, before, direction)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, now)


@pytest.mark.parametrize(
    "which, expected", [("LR", [3.0, 1.0]), ("SR", [-5.0, -2j]), ("LM", [-5.0, 3.0]), ("LI", [2j, -2j])]
)
def test_which_eigenvalues_and_in_which_order(which, expected):
    matrix = jnp.zeros((5, 5)).at[0, 0].set(1.0).at[1, 1].set(-5.0).at[2, 2].set(3.0)
    matrix = matrix.at[3, 4].set(-2.0).at[4, 3].set(2.0)  # +- 2i
    values = eigenvalues(lambda x: matrix @ x, jnp.zeros(5), count=2, which=which)
    if which == "SR":  # the pair shares its real part: by falling imaginary part
        expected = [-5.0, 2j]
    np.testing.assert_allclose(values, expected, atol=1e-9)


def test_leaves_of_a_tree_keep_their_places():
    """`a' = 2 b_0`, `b_0' = a`, `b_1' = b_1`."""
    point = {"a": jnp.zeros(1), "b": jnp.zeros(2)}
    values = eigenvalues(lambda t: {"a": 2 * t["b"][:1], "b": jnp.stack([t["a"][0], t["b"][1]])}, point)
    np.testing.assert_allclose(values, [np.sqrt(2), 1.0, -np.sqrt(2)], atol=1e-9)


def test_a_count_has_to_be_positive():
    with pytest.raises(ValueError, match="count=0: expected at least 1"):
        eigenvalues(lambda x: x, jnp.zeros(3), count=0)


@pytest.mark.parametrize(("which", "basis"), [("LR", 64), ("LR", 256), ("LR", 600), ("SR", 64), ("LI", 64)])
def test_eigenvalues_are_found_beside_far_larger_ones(which, basis):
    """Where a field is steep in some directions, as after a collapse, and its rounding is of those."""
    random = np.random.default_rng(0)
    turned, _ = np.linalg.qr(random.normal(size=(600, 600)))
    sign = -1 if which == "SR" else 1
    turns = [[0, 30], [-30, 0]] if which == "LI" else np.diag([30, 29])
    blocks = block_diag(-np.diag(np.logspace(-2, 6, 200)), turns, np.diag(np.linspace(0, 28, 20)), np.zeros((378, 378)))
    matrix = (sign * turned @ blocks @ turned.T).astype(np.float32)
    exact = np.linalg.eigvals(matrix.astype(float))
    first = {"LR": -exact.real, "SR": exact.real, "LI": -abs(exact.imag)}[which]
    expected = sorted(exact[np.argsort(first)[:2]], key=lambda value: (-value.imag, -sign * value.real))
    found = eigenvalues(lambda x: matrix @ x, jnp.zeros(600, jnp.float32), count=2, which=which, basis=basis)
    np.testing.assert_allclose(found, expected, atol=0.01)

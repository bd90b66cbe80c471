"""Families with an encoder: bidirectional GANs, adversarial autoencoders, discriminators that reconstruct."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import losses
from jaxgan.game import Game
from jaxgan.gan import make_descent_gan
from jaxgan.latents import normal_latents
from jaxgan.network import flax_network
from jaxgan.networks import adversarial_autoencoder, bigan, energy

B, N, SHAPE = 6, 3, (4, 5, 1)
Z = jax.random.normal(jax.random.key(1), (B, N))
X = jax.random.uniform(jax.random.key(2), (B, *SHAPE), minval=-1.0)


def initial(module, x):
    return jax.jit(module.init)(jax.random.key(0), x)


def test_a_bidirectional_generator_makes_a_pair_of_each_side(key):
    module = bigan.Generator((16, 8))
    variables = initial(module, {"z": Z, "x": X})
    made = module.apply(variables, {"z": Z, "x": X})
    np.testing.assert_array_equal(made["real"]["x"], X)
    np.testing.assert_array_equal(made["fake"]["z"], Z)
    assert made["real"]["z"].shape == Z.shape and made["fake"]["x"].shape == X.shape
    assert np.abs(made["fake"]["x"]).max() <= 1
    # E sees the data alone, G the latents alone.
    other = module.apply(variables, {"z": 2 * Z, "x": X})
    np.testing.assert_array_equal(other["real"]["z"], made["real"]["z"])
    assert (other["fake"]["x"] != made["fake"]["x"]).any()
    other = module.apply(variables, {"z": Z, "x": -X})
    np.testing.assert_array_equal(other["fake"]["x"], made["fake"]["x"])
    assert (other["real"]["z"] != made["real"]["z"]).any()
    widths = {name: [p["kernel"].shape[1] for p in part.values()] for name, part in variables["params"].items()}
    assert widths == {"encoder": [8, 16, N], "generator": [16, 8, 20]}


def test_a_bidirectional_generator_normalises_over_the_batch_in_training():
    """All of G's hidden layers and E's second: by hand, with statistics that move a hundredth of the way."""
    module = bigan.Generator((16, 8))
    variables = initial(module, {"z": Z, "x": X})
    made, moved = module.apply(variables, {"z": Z, "x": X}, train=True, mutable=["batch_stats"])
    statistics = {name: sorted(part) for name, part in moved["batch_stats"].items()}
    assert statistics == {"encoder": ["BatchNorm_0"], "generator": ["BatchNorm_0", "BatchNorm_1"]}

    def normal(h):
        return (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-5)

    def dense(part, i, h):
        layer = variables["params"][part][f"Dense_{i}"]
        return h @ np.asarray(layer["kernel"]) + np.asarray(layer.get("bias", 0.0))

    h = dense("encoder", 0, np.asarray(X).reshape(B, -1))
    second = dense("encoder", 1, np.where(h > 0, h, 0.2 * h))
    h = normal(second)
    code = np.tanh(dense("encoder", 2, np.where(h > 0, h, 0.2 * h)) / 2)
    np.testing.assert_allclose(made["real"]["z"], code, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        moved["batch_stats"]["encoder"]["BatchNorm_0"]["mean"], 0.01 * second.mean(axis=0), rtol=1e-3, atol=1e-6
    )
    h = np.asarray(Z)
    for i in range(2):
        h = np.maximum(normal(dense("generator", i, h)), 0)
    sample = np.tanh(dense("generator", 2, h)).reshape(B, *SHAPE)
    np.testing.assert_allclose(made["fake"]["x"], sample, rtol=1e-4, atol=1e-5)


def test_a_discriminator_of_pairs_sees_both():
    module = bigan.Discriminator((16, 8))
    pair = {"x": X, "z": Z}
    variables = initial(module, pair)
    logits = module.apply(variables, pair)
    assert logits.shape == (B,)
    for name in pair:
        assert (module.apply(variables, {**pair, name: -pair[name]}) != logits).all()


def test_an_exchanged_game_is_that_of_the_other_side():
    """-log D(fake) - log(1 - D(real)), by hand; the row's own generator knows nothing of the real side."""
    real, fake = np.array([-2.0, 0.5, 3.0]), np.array([1.5, -0.5, 4.0])
    loss = losses.exchanged(losses.non_saturating)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    expected = -np.log(sigmoid(fake)) - np.log(1 - sigmoid(real))
    np.testing.assert_allclose(loss.generator(jnp.array(fake), jnp.array(real)), expected, rtol=1e-5)
    np.testing.assert_array_equal(
        loss.discriminator(jnp.array(real), jnp.array(fake)), losses.non_saturating.discriminator(real, fake)
    )


@pytest.mark.parametrize("microbatches", [1, 3])
def test_an_encoder_learns_the_inverse_of_a_generator_that_stands_still(microbatches):
    """Data are `2 z + 1`: a bidirectional game of numbers finds an encoder of them that is linear, `(x - 1) / 2`."""

    class Pair:
        """`G(z) = 2 z + 1` for good, and `E(x) = a x + b`."""

        @staticmethod
        def init(key, latents, cond):
            return {"params": {"a": jnp.zeros(()), "b": jnp.zeros(())}}

        @staticmethod
        def apply(variables, latents, cond, *, key, train, step=None):
            z, x, p = latents["z"], latents["x"], variables["params"]
            return {"real": jnp.stack([x, p["a"] * x + p["b"]], 1), "fake": jnp.stack([2 * z + 1, z], 1)}, variables

    class Judge:
        """Logits that are quadratic in a pair, as those between two normal distributions are."""

        @staticmethod
        def init(key, pair, cond):
            return {"params": {"q": jnp.zeros((2, 2)), "l": jnp.zeros(2)}}

        @staticmethod
        def apply(variables, pair, cond, *, key, train, step=None):
            p = variables["params"]
            return jnp.einsum("bi,ij,bj->b", pair, p["q"], pair) + pair @ p["l"], variables

    game = Game(
        Pair,
        Judge,
        losses.exchanged(losses.non_saturating),
        lambda key, batch: {"z": jax.random.normal(key, batch["x"].shape), "x": batch["x"]},
        discriminator_penalty=lambda key, step, critic, real, fake: (
            0.05 * sum(jnp.sum(v**2) for v in jax.tree.leaves(critic.params))
        ),
        sides=lambda batch, made: (made["real"], made["fake"]),
        shown=lambda made: made["fake"][:, 0],
    )
    gan = make_descent_gan(
        game, generator_tx=optax.sgd(0.02), discriminator_tx=optax.sgd(0.1), microbatches=microbatches, ema_decay=0.99
    )
    key, count = jax.random.key(0), 192

    def batch(i):
        return {"x": 2 * jax.random.normal(jax.random.fold_in(key, i), (count,)) + 1}

    def step(state, i):
        return gan.step(key, state, batch(i))

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(3000)))(gan.init(key, batch(0)))
    found = state.ema["params"]
    np.testing.assert_allclose([found["a"], found["b"]], [0.5, -0.5], atol=0.06)
    assert gan.sample(key, state, batch(0)).shape == (count,)


def test_an_adversarial_autoencoder_decodes_codes_and_draws_alike():
    module = adversarial_autoencoder.Generator((16, 8))
    variables = initial(module, {"z": Z, "x": X})
    made = module.apply(variables, {"z": Z, "x": X})
    np.testing.assert_array_equal(made["prior"], Z)
    again = module.apply(variables, {"z": made["code"], "x": X})
    np.testing.assert_allclose(again["sample"], made["reconstruction"], rtol=1e-5, atol=1e-6)
    assert made["code"].shape == Z.shape and made["sample"].shape == X.shape
    assert jax.tree.leaves(variables["params"]["encoder"])[1].shape == (20, 8)


def test_an_adversarial_autoencoder_reconstructs_and_its_codes_become_normal():
    """A shifted, narrow Gaussian in five dimensions of rank two; what the encoder makes of it ends near N(0, I)."""
    draw = normal_latents(2)
    mixing = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    game = Game(
        flax_network(adversarial_autoencoder.Generator((32,))),
        flax_network(adversarial_autoencoder.Discriminator((32, 32))),
        losses.non_saturating,
        lambda key, batch: {"z": draw(key, batch), "x": batch["x"]},
        generator_penalty=lambda key, step, generator, latents, made, batch: (
            20.0 * losses.l2_loss(made["reconstruction"], batch["x"])
        ),
        sides=lambda batch, made: (made["prior"], made["code"]),
        shown=lambda made: made["sample"],
    )
    gan = make_descent_gan(game, generator_tx=optax.adam(1e-3, b1=0.5), discriminator_tx=optax.adam(1e-3, b1=0.5))
    key = jax.random.key(0)

    def batch(i):
        return {"x": 0.3 * jnp.tanh(jax.random.normal(jax.random.fold_in(key, i), (64, 2)) @ mixing) + 0.2}

    def step(state, i):
        return gan.step(key, state, batch(i))

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(2000)))(gan.init(key, batch(0)))
    held_out = jnp.concatenate([batch(10_000 + i)["x"] for i in range(16)])
    latents = {"z": jnp.zeros((len(held_out), 2)), "x": held_out}
    made, _ = game.generator.apply(state.ema, latents, None, key=key, train=False)
    assert np.mean((made["reconstruction"] - held_out) ** 2) < 0.05 * np.var(held_out)
    assert np.abs(made["code"].mean(axis=0)).max() < 0.25
    assert np.abs(np.cov(np.asarray(made["code"]).T) - np.eye(2)).max() < 0.4


def test_an_energy_is_the_error_of_reconstruction():
    module = energy.Discriminator((8, 4))
    variables = initial(module, X)
    kernels = [layer["kernel"] for _, layer in sorted(variables["params"].items())]
    assert [k.shape for k in kernels] == [(20, 8), (8, 4), (4, 8), (8, 20)]
    x = np.asarray(X).reshape(B, -1)
    y = x
    for kernel in kernels[:-1]:
        y = np.maximum(y @ np.asarray(kernel), 0)
    expected = -np.mean((y @ np.asarray(kernels[-1]) - x) ** 2, axis=1)
    np.testing.assert_allclose(module.apply(variables, X), expected, rtol=1e-4)

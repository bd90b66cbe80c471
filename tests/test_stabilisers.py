"""Instance noise and packing: what the discriminator is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import losses, penalties
from jaxgan.gan import make_gan
from jaxgan.latents import normal_latents
from jaxgan.network import Network, flax_network
from jaxgan.networks import mlp
from jaxgan.stabilisers import instance_noise, packed


def test_noise_has_the_standard_deviation_of_the_schedule(key):
    augment = jax.jit(instance_noise(optax.linear_schedule(0.5, 0.0, 10)))
    x = jnp.full((1000, 7), 3.0)
    for step, std in [(0, 0.5), (5, 0.25)]:
        noise = np.asarray(augment(key, step, x), np.float64) - 3.0
        assert abs(noise.mean()) < 5 * std / np.sqrt(noise.size)
        np.testing.assert_allclose(noise.std(), std, rtol=0.05)
    np.testing.assert_array_equal(augment(key, 10, x), x)


def test_noise_of_a_constant_size_on_pytrees(key):
    """Every leaf has noise of its own, in its own dtype; the same key gives the same."""
    x = {"a": jnp.zeros((1000, 4)), "b": jnp.zeros((1000, 2, 2), jnp.bfloat16)}
    noisy = jax.jit(instance_noise(0.5))(key, 3, x)
    assert noisy["b"].dtype == jnp.bfloat16 and noisy["b"].shape == (1000, 2, 2)
    a, b = (np.asarray(noisy[name], np.float64).ravel() for name in ("a", "b"))
    np.testing.assert_allclose([a.std(), b.std()], 0.5, rtol=0.05)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1
    again, other = (jax.jit(instance_noise(0.5))(k, 3, x)["a"] for k in (key, jax.random.key(1)))
    np.testing.assert_array_equal(again, noisy["a"])
    assert (other != noisy["a"]).all()


def test_the_gradient_passes_through_noise(key):
    slope = jax.grad(lambda x: jnp.sum(instance_noise(0.5)(key, 0, x) * jnp.arange(3.0)))(jnp.ones(3))
    np.testing.assert_array_equal(slope, np.arange(3.0))


def identity():
    """A discriminator that gives back what it is shown, as logits and as variables."""

    def init(key, x, cond):
        return {"params": {"x": x, "cond": cond}}

    return Network(
        init, lambda variables, x, cond, *, key, train, step=None: ((x, cond), {**variables, "train": train})
    )


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(3,), (5, 2), (4, 3, 2), (2, 3, 3, 2)], ids=str)
def test_packs_by_loops(count, shape):
    x, labels = np.arange(6 * np.prod(shape), dtype=np.float32).reshape(6, *shape), np.arange(6)
    network = packed(identity(), count)
    (packs, pack_labels), variables = network.apply({}, x, {"y": labels}, key=None, train=True)
    assert packs.shape == (6 // count, *shape[:-1], count * shape[-1])
    for i in range(6 // count):
        members = [x[i * count + j] for j in range(count)]
        np.testing.assert_array_equal(packs[i], np.concatenate(members, axis=-1))
        np.testing.assert_array_equal(pack_labels["y"][i], labels[i * count : (i + 1) * count])
    assert variables == {"train": True}
    made = network.init(None, x, {"y": labels})["params"]
    np.testing.assert_array_equal(made["x"], packs)
    np.testing.assert_array_equal(made["cond"]["y"], pack_labels["y"])


def test_packs_need_a_batch_that_splits():
    with pytest.raises(ValueError, match="batch of 7 does not split into packs of 2"):
        packed(identity(), 2).init(None, jnp.ones((7, 3)), None)
    with pytest.raises(ValueError, match="count=0"):
        packed(identity(), 0)


def game(**options):
    return make_gan(
        flax_network(mlp.Generator((2,), widths=(4,))),
        packed(flax_network(mlp.Discriminator(widths=(4,))), 2),
        losses.non_saturating,
        generator_tx=optax.sgd(0.1),
        discriminator_tx=optax.sgd(0.1),
        latent=normal_latents(2),
        **options,
    )


def test_a_step_of_a_packed_and_noisy_training(key):
    batch = {"x": jnp.ones((8, 2))}
    gan = game(augment=instance_noise(optax.linear_schedule(0.1, 0.0, 100)))
    before = gan.init(key, batch)
    assert before.discriminator.params["Dense_0"]["kernel"].shape == (4, 4)  # two examples of two numbers
    after, metrics = jax.jit(gan.step)(key, before, batch)
    assert np.isfinite(jax.tree.leaves(metrics)).all()
    for one, other in zip(
        jax.tree.leaves(before.generator.params), jax.tree.leaves(after.generator.params), strict=True
    ):
        assert np.any(one != other)


def test_a_gradient_penalty_of_a_packed_critic_is_refused(key):
    """Its logits are half as many as its points, and nobody can tell whose gradient is whose."""

    def penalty(key, step, critic, real, fake):
        return penalties.gradient_squared_norm(critic, real)

    gan, batch = game(discriminator_penalty=penalty), {"x": jnp.ones((8, 2))}
    with pytest.raises(ValueError, match="batch of 4 for 8 points"):
        jax.eval_shape(gan.step, key, jax.eval_shape(gan.init, key, batch), batch)

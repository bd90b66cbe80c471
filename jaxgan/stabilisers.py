"""Stabilisers that change what a discriminator is shown: noise on every example, or several examples at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.network import Network

PyTree = Any
Augment = Callable[[jax.Array, jax.Array, PyTree], PyTree]


def instance_noise(std: float | Callable[[jax.Array], jax.Array]) -> Augment:
    """Gaussian noise on data and samples alike: `x + std * N(0, I)`.

    Their distributions then overlap, and no discriminator tells them apart without error. A schedule lets the noise go
    to zero over the training, such as `optax.linear_schedule(0.1, 0.0, 10_000)`.

    >>> instance_noise(0.0)(jax.random.key(0), 7, jnp.ones(2))
    Array([1., 1.], dtype=float32)

    Args:
      std: standard deviation of the noise, in units of x, or a schedule `step -> std`.

    Returns:
      `(key, step, x) -> x`, for the `augment` of a GAN: x floating point, a leaf or a pytree, every leaf with noise of
      its own.

    References:
      Sønderby et al., Amortised MAP Inference for Image Super-resolution, https://arxiv.org/abs/1610.04490, 2017.
      Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks,
      https://arxiv.org/abs/1701.04862, 2017.
    """

    def augment(key: jax.Array, step: jax.Array, x: PyTree) -> PyTree:
        size = std(step) if callable(std) else std
        leaves, structure = jax.tree.flatten(x)
        keys = jax.random.split(key, len(leaves))
        noisy = [
            leaf + jnp.asarray(size, leaf.dtype) * jax.random.normal(key, leaf.shape, leaf.dtype)
            for key, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, noisy)

    return augment


def packed(discriminator: Network, count: int) -> Network:
    """A discriminator that judges packs of examples, all real or all fake: a collapse shows within a pack.

    `count` neighbours of a batch are joined along their last axis, `[B, ..., C] -> [B / count, ..., count * C]`, the
    first example's channels first; scalars `[B]` (labels) become `[B / count, count]`. Conditions are packed likewise.
    Logits are one to a pack, so a penalty on the critic's gradient cannot be told which example is whose: it raises.

    Args:
      discriminator: judges packs as if they were examples of `count` times the channels.
      count: examples in a pack, 2 to 4 in the paper.

    Returns:
      A network that takes examples and gives logits `[B / count]`.

    Raises:
      ValueError: when it is called, if a batch does not split into packs.

    References:
      Lin et al., PacGAN: The power of two samples in generative adversarial networks,
      https://arxiv.org/abs/1712.04086, 2018.
    """
    if count < 1:
        raise ValueError(f"count={count}: expected at least 1")

    def pack(leaf: jax.Array) -> jax.Array:
        batch = leaf.shape[0]
        if batch % count:
            raise ValueError(f"a batch of {batch} does not split into packs of {count}: change one of them")
        if leaf.ndim == 1:
            return leaf.reshape(batch // count, count)
        members = jnp.moveaxis(leaf.reshape(batch // count, count, *leaf.shape[1:]), 1, -2)
        return members.reshape(*members.shape[:-2], count * leaf.shape[-1])

    def init(key, x, cond):
        return discriminator.init(key, *jax.tree.map(pack, (x, cond)))

    def apply(variables, x, cond, *, key, train, step=None):
        return discriminator.apply(variables, *jax.tree.map(pack, (x, cond)), key=key, train=train, step=step)

    return Network(init, apply)

"""Gradient penalties: `(critic, points)` in, one penalty per example out.

A critic is a function from points `[batch, ...]`, or a pytree of them, to logits `[batch, ...]`, or a pytree of them;
the logits of an example are summed. It must treat examples independently (no batch normalisation, no minibatch
statistics): then the gradient of the sum over the batch holds each example's own gradient. Close over its parameters:

    penalties.gradient_squared_norm(lambda x: discriminator(params, x), real).mean()

Norms are taken over all dimensions of an example and all leaves, and accumulated in float32 or wider.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any
Critic = Callable[[PyTree], PyTree]


def gradient_squared_norm(critic: Critic, points: PyTree) -> jax.Array:
    """Squared norm of the critic's gradient at each point: R1 on data, R2 on samples.

    `|grad D(x)|^2`. The paper's penalties are `gamma / 2` times its mean, and the half is the caller's.

    >>> gradient_squared_norm(lambda x: x @ jnp.array([3.0, 4.0]), jnp.ones((2, 2)))
    Array([25., 25.], dtype=float32)

    Args:
      critic: `points -> logits`, independent across the batch.
      points: where to take the gradient, floating point, leaves `[batch, ...]`.

    Returns:
      Squared norms `[batch]`, float32 or wider.

    Raises:
      ValueError: leaves of the points or the logits differ in their batch size.

    References:
      Mescheder et al., Which Training Methods for GANs do actually Converge?, https://arxiv.org/abs/1801.04406, 2018,
      Eq. 9.
    """
    batch_size = _batch_size(points, "points")

    def total(points: PyTree) -> jax.Array:
        logits = critic(points)
        if (size := _batch_size(logits, "logits")) != batch_size:
            raise ValueError(f"the critic must give logits [batch, ...], got a batch of {size} for {batch_size} points")
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(logits))

    # One gradient of the batched critic, not vmap(grad): mapping would also map the rules of its convolutions, and turn
    # their weight gradients into one slow product per example.
    gradients = jax.grad(total)(points)
    return sum(_squared_norm(leaf) for leaf in jax.tree.leaves(gradients))


def gradient_penalty(critic: Critic, points: PyTree, *, target: float = 1.0, one_sided: bool = False) -> jax.Array:
    """Squared distance of the critic's gradient norm from a target at each point.

    `(|grad D(x)| - target)^2`, or `max(0, |grad D(x)| - target)^2` if one-sided. The weight (10 in the paper) is the
    caller's, and so are the points: between data and samples (`interpolate`) in the paper.

    >>> gradient_penalty(lambda x: x @ jnp.array([3.0, 4.0]), jnp.ones((2, 2)))
    Array([16., 16.], dtype=float32)

    Args:
      critic: `points -> logits`, independent across the batch.
      points: where to take the gradient, floating point, leaves `[batch, ...]`.
      target: the norm that costs nothing.
      one_sided: whether smaller norms cost nothing either (WGAN-LP).

    Returns:
      Penalties `[batch]`, float32 or wider. Where the critic is flat their gradient is zero.

    Raises:
      ValueError: leaves of the points or the logits differ in their batch size.

    References:
      Gulrajani et al., Improved Training of Wasserstein GANs, https://arxiv.org/abs/1704.00028, 2017, Eq. 3.
      Petzka et al., On the regularization of Wasserstein GANs, https://arxiv.org/abs/1709.08894, 2018 (one-sided).
    """
    squared = gradient_squared_norm(critic, points)
    # The root has an infinite slope at zero, and `where` alone would multiply it by zero: NaN. So the root is taken of
    # one there, and its result not used. Below the smallest normal number, hardware may flush to zero.
    flat = squared < jnp.finfo(squared.dtype).tiny
    norm = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))
    excess = norm - target
    return (jnp.maximum(excess, 0.0) if one_sided else excess) ** 2


def interpolate(key: jax.Array, real: PyTree, fake: PyTree) -> PyTree:
    """Points drawn uniformly on the segments between data and samples.

    `weight * real + (1 - weight) * fake`, one `weight ~ U[0, 1)` per example, shared by its dimensions and leaves.

    Args:
      key: random key.
      real: data, leaves `[batch, ...]`.
      fake: samples, same structure and shapes.

    Returns:
      Points, same structure, shapes and (promoted) dtypes.

    Raises:
      ValueError: structures or shapes differ.

    References:
      Gulrajani et al., Improved Training of Wasserstein GANs, https://arxiv.org/abs/1704.00028, 2017, Algorithm 1.
    """
    weights = jax.random.uniform(key, (_batch_size(real, "real"),))

    def between(real: jax.Array, fake: jax.Array) -> jax.Array:
        if real.shape != fake.shape:
            raise ValueError(f"real and fake must have the same shape, got {real.shape} and {fake.shape}")
        weight = weights.astype(jnp.result_type(real, fake)).reshape(-1, *(1,) * (real.ndim - 1))
        return weight * real + (1.0 - weight) * fake

    return jax.tree.map(between, real, fake)


def _squared_norm(gradient: jax.Array) -> jax.Array:
    wide = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
    return jnp.sum(wide**2, axis=tuple(range(1, wide.ndim)))


def _batch_size(tree: PyTree, name: str) -> int:
    # A scalar is refused too: the gradient of an averaging critic would be too small by the size of the batch.
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if not shapes or any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(f"{name} must have leaves [batch, ...] of one batch size, got the shapes {shapes}")
    return shapes[0][0]

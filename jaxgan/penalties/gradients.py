"""Penalties on the critic's gradient, and the points where it is taken."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.penalties.examples import batch_size, noise, roots, squared_norms, widened

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
    count = batch_size(points, "points")

    def total(points: PyTree) -> jax.Array:
        logits = critic(points)
        if (size := batch_size(logits, "logits")) != count:
            raise ValueError(f"the critic must give logits [batch, ...], got a batch of {size} for {count} points")
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(logits))

    # One gradient of the batched critic, not vmap(grad): mapping would also map the rules of its convolutions, and turn
    # their weight gradients into one slow product per example.
    return squared_norms(jax.grad(total)(points))


def r1_r2(gamma: float | Callable[[jax.Array], jax.Array]) -> Callable:
    """The discriminator's penalty for gradients on data and on fakes: R1 and R2, halved, of one weight.

    `gamma / 2 (|grad D(x)|^2 + |grad D(G(z))|^2)`, as `discriminator_penalty` of a GAN.

    >>> penalty = r1_r2(0.5)
    >>> points = jnp.ones((2, 2))
    >>> penalty(jax.random.key(0), 0, lambda x: x @ jnp.array([3.0, 4.0]), points, points)
    Array([12.5, 12.5], dtype=float32)

    Args:
      gamma: weight of both, before it is halved; or a function of the step.

    Returns:
      `(key, step, critic, real, fake) -> penalties [batch]`.

    References:
      Mescheder et al., Which Training Methods for GANs do actually Converge?, https://arxiv.org/abs/1801.04406, 2018,
      Eqs. 9 and 10. Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN,
      https://arxiv.org/abs/2501.05441, 2024, takes both.
    """

    def penalty(key, step, critic, real, fake):
        weight = gamma(step) if callable(gamma) else gamma
        return weight / 2 * (gradient_squared_norm(critic, real) + gradient_squared_norm(critic, fake))

    return penalty


def gradient_penalty(critic: Critic, points: PyTree, *, target: float = 1.0, one_sided: bool = False) -> jax.Array:
    """Squared distance of the critic's gradient norm from a target at each point.

    `(|grad D(x)| - target)^2`, or `max(0, |grad D(x)| - target)^2` if one-sided. The weight (10 in the papers) is the
    caller's, and so are the points: between data and samples (`interpolate`) in WGAN-GP, around data (`perturb`) in
    DRAGAN.

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
    excess = roots(gradient_squared_norm(critic, points)) - target
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
    weights = jax.random.uniform(key, (batch_size(real, "real"),))

    def between(real: jax.Array, fake: jax.Array) -> jax.Array:
        if real.shape != fake.shape:
            raise ValueError(f"real and fake must have the same shape, got {real.shape} and {fake.shape}")
        weight = weights.astype(jnp.result_type(real, fake)).reshape(-1, *(1,) * (real.ndim - 1))
        return weight * real + (1.0 - weight) * fake

    return jax.tree.map(between, real, fake)


def perturb(key: jax.Array, real: PyTree, *, scale: float = 0.5) -> PyTree:
    """Points around data, where DRAGAN takes the gradient: every coordinate is moved by a draw of its own.

    `real + scale * std(real) * u`, `u ~ U[0, 1)`, with one standard deviation over the batch and all dimensions of a
    leaf. This is the authors' code; their text draws from `N(0, c I)` instead, in all directions. DRAGAN itself is
    `gradient_penalty(critic, perturb(key, real))`, times 10. Peers move the points less, with more draws: torchgan
    multiplies by a second uniform draw for each coordinate, StudioGAN by one for each example; compare_gan centres
    the noise (`std * (u - 1/2)`) and clips the points to [0, 1].

    Args:
      key: random key.
      real: data, leaves `[batch, ...]`.
      scale: the largest move, in standard deviations.

    Returns:
      Points, same structure, shapes and dtypes; whole numbers become floating point.

    Raises:
      ValueError: leaves differ in their batch size.

    References:
      Kodali et al., On Convergence and Stability of GANs, https://arxiv.org/abs/1705.07215, 2017, Section 2.4, and
      `get_perturbed_batch` of https://github.com/kodalinaveen3/DRAGAN.
    """
    batch_size(real, "real")

    def moved(leaf: jax.Array, u: jax.Array) -> jax.Array:
        return leaf + (scale * jnp.std(widened(leaf))).astype(u.dtype) * u

    return jax.tree.map(moved, real, noise(jax.random.uniform, key, real))

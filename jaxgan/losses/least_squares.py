"""The least squares GAN: the discriminator regresses onto a number for data and one for samples.

D is the logit itself, without a sigmoid.
"""

import functools

import jax

from jaxgan.losses.loss import Loss, check_same_shape


def least_squares_discriminator_loss(
    real_logits: jax.Array, fake_logits: jax.Array, *, a: float = 0.0, b: float = 1.0
) -> jax.Array:
    """Discriminator loss of the least squares GAN, with the targets `b` for data and `a` for samples.

    `(D(x) - b)^2 / 2 + (D(G(z)) - a)^2 / 2` with the paper's halves: for its usual targets 1/2 at zero logits.

    Args:
      real_logits: discriminator outputs on data, shape `[...]`.
      fake_logits: discriminator outputs on samples, same shape.
      a: the target of samples.
      b: the target of data.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Mao et al., Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076, 2016, Eq. 2.
    """
    check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
    return 0.5 * (real_logits - b) ** 2 + 0.5 * (fake_logits - a) ** 2


def least_squares_generator_loss(
    fake_logits: jax.Array, real_logits: jax.Array | None = None, *, c: float = 1.0
) -> jax.Array:
    """Generator loss of the least squares GAN: `(D(G(z)) - c)^2 / 2`, with the paper's half.

    Args:
      fake_logits: discriminator outputs on samples, shape `[...]`.
      real_logits: not used.
      c: what the generator wants the discriminator to say of samples.

    Returns:
      Per-example losses, same shape.

    References:
      Mao et al., Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076, 2016, Eq. 2.
    """
    return 0.5 * (fake_logits - c) ** 2


def least_squares_coded(a: float, b: float, c: float) -> Loss:
    """The least squares game with the targets `a` (samples), `b` (data) and `c` (the generator's).

    Against the optimal discriminator `(b p + a q) / (p + q)` (p the density of data, q of samples) the generator
    minimises half of Pearson's chi-square divergence between `p + q` and `2 q` where `b - c = 1` and `b - a = 2`, as
    with `least_squares_coded(-1, 1, 0)`, the row `pearson_least_squares`. The usual `(0, 1, 1)`, the row
    `least_squares`, meets neither condition: there samples are to be judged as data are.

    >>> least_squares_coded(-1.0, 1.0, 0.0).boundary
    0.0

    Args:
      a: the discriminator's target for samples.
      b: the discriminator's target for data.
      c: the generator's target; at most `b`, and not below the middle of `a` and `b`, for a game with two sides.

    Returns:
      The `Loss`, undecided at `(a + b) / 2`.

    References:
      Mao et al., Least Squares Generative Adversarial Networks, https://arxiv.org/abs/1611.04076, 2016, Section 3.2.
    """
    return Loss(
        functools.partial(least_squares_discriminator_loss, a=a, b=b),
        functools.partial(least_squares_generator_loss, c=c),
        boundary=(a + b) / 2,
    )


least_squares = Loss(least_squares_discriminator_loss, least_squares_generator_loss, boundary=0.5)
pearson_least_squares = least_squares_coded(-1.0, 1.0, 0.0)

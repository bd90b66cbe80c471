"""What a loss is: the two objectives of a game."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """The two objectives of a game; each player minimises its own.

    Args:
      discriminator: `(real_logits, fake_logits) -> losses`, all of one shape.
      generator: `(fake_logits, real_logits=None) -> losses`; only relativistic, `exchanged` and `zero_sum` losses read
        the second.
      boundary: the logit at which the discriminator is undecided between real and fake, or None where no one logit is
        (only differences count, or a whole range is as good); the midpoint of the two mean logits then takes its place.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[..., jax.Array]
    boundary: float | None = 0.0


def exchanged(loss: Loss) -> Loss:
    """A game whose generator minimises the discriminator's loss with the two sides exchanged.

    For a generator with an encoder, which makes a part of what is real and wants it taken for what is not:
    `generator(fake_logits, real_logits) = discriminator(real_logits=fake_logits, fake_logits=real_logits)`. Of the
    non-saturating (or minimax) row that is the non-saturating game of bidirectional GANs.

    Args:
      loss: whose discriminator's loss is taken; its generator's is not.

    Returns:
      The `Loss`.

    References:
      Donahue et al., Adversarial Feature Learning, https://arxiv.org/abs/1605.09782, 2017, Section 3.
    """
    return Loss(
        loss.discriminator, lambda fake_logits, real_logits: loss.discriminator(fake_logits, real_logits), loss.boundary
    )


def zero_sum(loss: Loss) -> Loss:
    """A game whose generator maximises the whole of what the discriminator minimises.

    `generator(fake_logits, real_logits) = -discriminator(real_logits, fake_logits)`, with the term of the data, which
    generators' losses leave out elsewhere, since no sample stands in it. It has its part where the generator looks
    ahead (`joint.make_unrolled_gan`): through what the discriminator learns from samples, they move what it says of
    data.

    Args:
      loss: whose discriminator's loss is taken; its generator's is not. Of `minimax` this is the saddle point game.

    Returns:
      The `Loss`.

    References:
      Goodfellow et al., Generative Adversarial Nets, https://arxiv.org/abs/1406.2661, 2014, Eq. 1.
    """
    return Loss(
        loss.discriminator,
        lambda fake_logits, real_logits: -loss.discriminator(real_logits, fake_logits),
        loss.boundary,
    )


def check_same_shape(**arrays: jax.Array) -> None:
    """Raises a ValueError that names the arrays, unless all have one shape."""
    # [B] against [B, 1] would broadcast to [B, B], and one target shape would hide two batch sizes
    shapes = [jnp.shape(array) for array in arrays.values()]
    if len(set(shapes)) > 1:
        raise ValueError(f"{' and '.join(arrays)} must have the same shape, got {' and '.join(map(str, shapes))}")

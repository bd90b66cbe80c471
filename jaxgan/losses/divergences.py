"""f-GAN: a game for each f-divergence, built from its two functions of the logit.

For a convex f with `f(1) = 0` the divergence `D_f(p || q) = E_q[f(p / q)]` of data p from samples q is the most that

    E_p[g(v)] - E_q[f*(g(v))]

can be, where v is the logit, g an increasing map of all numbers into those where the conjugate f* is finite, and the
best logit has `g(v) = f'(p / q)`. The paper's divergences (p / q = u):

    divergence          f(u)                                 g(v)                 f*(g(v))               best v
    KL                  u log u                              v                    exp(v - 1)             1 + log u
    reverse KL          -log u                               -exp(-v)             v - 1                  log u
    Pearson chi-square  (u - 1)^2                            v                    v^2 / 4 + v            2 (u - 1)
    squared Hellinger   (sqrt u - 1)^2                       1 - exp(-v)          exp(v) - 1             log(u) / 2
    Jensen-Shannon      u log u - (u + 1) log((u + 1) / 2)   log 2 - log(1 + exp(-v))
                                                                                  log(1 + exp(v)) - log 2    log u

Jensen-Shannon is the sum of two KL divergences from the mixture, twice what is usually called by that name. Its game
is `minimax` with `2 log 2` taken off, and the paper's divergence "GAN" is `minimax` itself.

Where the paper's exp would overflow, it is continued along its tangent: from the exponent 32 on, values are below the
paper's, finite and still growing.

References:
  Nowozin et al., f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization,
  https://arxiv.org/abs/1606.00709, 2016, Table 2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.losses.loss import Loss, check_same_shape


class Divergence(NamedTuple):
    """What the game needs of an f-divergence, as functions of the logit v.

    Args:
      activation: `v -> g(v)`, increasing.
      conjugate: `v -> f*(g(v))`, the two composed, since their exponentials cancel.
      boundary: the logit where `g(v) = f'(1)`: the best one where data and samples are equally likely.
    """

    activation: Callable[[jax.Array], jax.Array]
    conjugate: Callable[[jax.Array], jax.Array]
    boundary: float


def f_gan(divergence: Divergence, *, non_saturating: bool = False) -> Loss:
    """The game of an f-divergence.

    The discriminator minimises `-g(D(x)) + f*(g(D(G(z))))`, so that minus its mean is a lower bound of the divergence.
    The generator minimises that bound, `-f*(g(D(G(z))))`, the paper's saddle point; or, where `non_saturating`,
    `-g(D(G(z)))`: what raises the logit of data raises that of samples, as in the original GAN's second game.

    At the saddle point the generator's losses are old acquaintances:

    * KL: `-exp(v - 1)`, minus the ratio of densities that the discriminator believes in. This is the maximum
      likelihood generator of Goodfellow, `-exp(sigmoid^-1(D))`, with `v - 1` as the logit of D.
    * reverse KL: `1 - v`, where v estimates the log ratio: `-log(D / (1 - D))` of Arjovsky and Bottou, and of
      Sonderby et al., but for the constant.
    * Pearson: `-(v^2 / 4 + v)`, whose slope turns round at `v = -2`, the lowest logit that a ratio can have. A sample
      below it is pushed further down, until the discriminator, whom such logits cost, lifts it.

    >>> game = f_gan(KL)
    >>> float(game.discriminator(jnp.array(1.0), jnp.array(1.0))), float(game.generator(jnp.array(1.0)))
    (0.0, -1.0)

    Args:
      divergence: the divergence of data from samples.
      non_saturating: whether the generator has the second form.

    Returns:
      The `Loss`; its discriminator raises a ValueError where the shapes differ.

    References:
      Nowozin et al., f-GAN, https://arxiv.org/abs/1606.00709, 2016, Sections 2.3 and 3.2.
      Goodfellow, On distinguishability criteria for estimating generative models, https://arxiv.org/abs/1412.6515,
      2014; NIPS 2016 Tutorial, https://arxiv.org/abs/1701.00160, 2016, Section 3.2.4.
      Arjovsky and Bottou, Towards Principled Methods for Training GANs, https://arxiv.org/abs/1701.04862, 2017.
      Sonderby et al., Amortised MAP Inference for Image Super-resolution, https://arxiv.org/abs/1610.04490, 2016.
    """

    def discriminator(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
        check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
        return divergence.conjugate(fake_logits) - divergence.activation(real_logits)

    def generator(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
        return -(divergence.activation if non_saturating else divergence.conjugate)(fake_logits)

    return Loss(discriminator, generator, divergence.boundary)


# Of float32 and bfloat16 (not float16) exp overflows at 88, and the square of a slope, which norms and Adam take, at
# 44. Here a slope is at most exp(32), about 8e13, whose square leaves room for a sum over 1e10 of them; and a ratio of
# densities of exp(32) is none that a network of any use has met.
_LARGEST_EXPONENT = 32.0


def _exp(v: jax.Array) -> jax.Array:
    """exp, continued along its tangent: both factors are constant on one side, so the slope is exp's, then fixed."""
    return jnp.exp(jnp.minimum(v, _LARGEST_EXPONENT)) * (1.0 + jnp.maximum(v - _LARGEST_EXPONENT, 0.0))


KL = Divergence(activation=lambda v: v, conjugate=lambda v: _exp(v - 1.0), boundary=1.0)
REVERSE_KL = Divergence(activation=lambda v: -_exp(-v), conjugate=lambda v: v - 1.0, boundary=0.0)
PEARSON = Divergence(activation=lambda v: v, conjugate=lambda v: 0.25 * v**2 + v, boundary=0.0)
SQUARED_HELLINGER = Divergence(activation=lambda v: 1.0 - _exp(-v), conjugate=lambda v: _exp(v) - 1.0, boundary=0.0)
JENSEN_SHANNON = Divergence(
    activation=lambda v: math.log(2.0) - jax.nn.softplus(-v),
    conjugate=lambda v: jax.nn.softplus(v) - math.log(2.0),
    boundary=0.0,
)

kl = f_gan(KL)
reverse_kl = f_gan(REVERSE_KL)
pearson = f_gan(PEARSON)
squared_hellinger = f_gan(SQUARED_HELLINGER)
jensen_shannon = f_gan(JENSEN_SHANNON)

"""Numbers that change during a training, as functions of the step: what optimisers, penalties and averages take.

Each takes the number of steps before this one and is pure, so it can be compiled, and resumed anywhere.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Schedule = Callable[[jax.Array | int], jax.Array]


def cosine(start: float, end: float, steps: int, *, burn_in: int = 0) -> Schedule:
    """From one value to another by half a cosine: `end + (start - end) (1 + cos(pi t / steps)) / 2`.

    `t` is the step, less `burn_in`; before, the value is `start`, and after `steps` more it is `end`. R3GAN moves its
    learning rate, Adam's second decay, the weight of its penalties, its average's half-life and its augmentation
    together, over the first 20 million images:

    >>> beta = cosine(0.9, 0.99, 1000)
    >>> [round(float(beta(step)), 4) for step in (0, 100, 500, 1000, 5000)]
    [0.9, 0.9022, 0.945, 0.99, 0.99]

    Args:
      start: value at first.
      end: value at last; it may lie above `start`.
      steps: how many the change takes, at least 1.
      burn_in: steps before it.

    Returns:
      `step -> value`.

    Raises:
      ValueError: for fewer steps than 1, or fewer of burn-in than 0.

    References:
      Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts, https://arxiv.org/abs/1608.03983,
      2017, Eq. 5; Huang et al., The GAN is dead; long live the GAN!, https://arxiv.org/abs/2501.05441, 2024.
    """
    if steps < 1 or burn_in < 0:
        raise ValueError(f"steps={steps}, burn_in={burn_in}: expected at least 1 step, and no fewer of burn-in than 0")

    def value(step):
        share = jnp.clip((jnp.asarray(step, jnp.float32) - burn_in) / steps, 0.0, 1.0)
        return start + (end - start) * jnp.sin(0.5 * jnp.pi * share) ** 2  # the same, and exact where it starts

    return value


def half_life_decay(half_life: float | Schedule, batch_size: int) -> Schedule:
    """The decay of an average that forgets half of what it knows in so many images: `2 ** (-batch_size / half_life)`.

    Such an average keeps its length in images, whatever the batch, and so is what `make_gan` takes as `ema_decay`. With
    a half-life of 0 it is the newest value alone. R3GAN lets its half-life grow from there:

    >>> decay = half_life_decay(cosine(0.0, 500_000.0, 1000), batch_size=256)
    >>> [round(float(decay(step)), 3) for step in (0, 10, 100, 1000)]
    [0.0, 0.237, 0.986, 1.0]

    Args:
      half_life: in images, or a schedule of it.
      batch_size: images in a step.

    Returns:
      `step -> decay`, 0 to 1.
    """

    def decay(step):
        images = jnp.asarray(half_life(step) if callable(half_life) else half_life, jnp.float32)
        return jnp.exp2(-batch_size / jnp.maximum(images, 1e-8))

    return decay

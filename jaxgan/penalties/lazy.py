"""Lazy regularisation: a penalty at every k-th step only, k times as strong."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any


class Remembering(NamedTuple):
    """A penalty that remembers something from step to step.

    Attributes:
      init: `() -> memory`.
      apply: `(memory, key, step, ...) -> (values, memory)`.
    """

    init: Callable
    apply: Callable


def lazy(penalty: Any, every: int) -> Any:
    """A penalty that is computed at the steps 0, k, 2k, ... alone, where it counts k times, and is zero between.

    `k * penalty` or `0`, the same in the mean over steps. What is skipped is a branch not taken and costs nothing,
    but for `vmap` over step counts (a population): then every step computes it.

        discriminator_penalty=lazy(lambda key, step, critic, real, fake: 5.0 * gradient_squared_norm(critic, real), 16)

    StyleGAN2 gives loss and penalty an update each, so k + 1 for k steps, and keeps Adam's pace with `c = k / (k + 1)`:
    the learning rate times c, and `b1^c` and `b2^c` for its decays. Where the penalty shares the loss's update, as in
    a GAN here, there are k, and Adam stays as it is.

    Args:
      penalty: `(key, step, ...) -> values`, or an object with `init` and `apply` as of `Remembering`; what it remembers
        stays as it is in a step that is skipped.
      every: k, at least 1.

    Returns:
      A penalty of the same kind and arguments, with values of the same shapes and dtypes.

    Raises:
      ValueError: for an interval below 1.

    References:
      Karras et al., Analyzing and Improving the Image Quality of StyleGAN, https://arxiv.org/abs/1912.04958, 2019,
      Appendix B.
    """
    if every < 1:
        raise ValueError(f"every={every}: expected at least 1")

    def sometimes(step: jax.Array, compute: Callable, memory: PyTree) -> tuple[PyTree, PyTree]:
        def now():
            values, moved = compute()
            return jax.tree.map(lambda value: every * value, values), moved

        def later():
            shapes, _ = jax.eval_shape(now)
            return jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), shapes), memory

        return jax.lax.cond(step % every == 0, now, later)

    if hasattr(penalty, "apply"):
        return Remembering(
            penalty.init,
            lambda memory, key, step, *rest: sometimes(step, lambda: penalty.apply(memory, key, step, *rest), memory),
        )
    return lambda key, step, *rest: sometimes(step, lambda: (penalty(key, step, *rest), ()), ())[0]

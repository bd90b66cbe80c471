"""Gradient transformations that adversarial training needs and optax does not have."""

import jax
import jax.numpy as jnp
import optax


def weight_clip(limit: float) -> optax.GradientTransformation:
    """Weight clipping of the Wasserstein GAN: updated parameters lie in `[-limit, limit]`.

    `clip(params + updates, -limit, limit) - params`, so it comes last in a chain:

        optax.chain(optax.rmsprop(5e-5), weight_clip(0.01))

    `optax.apply_updates` adds the parameters back. Both operations round, so a parameter may pass the limit by one unit
    in the last place of the limit, or of the old parameter where that was larger (at the first step, if weights start
    outside); the excess does not accumulate.

    Args:
      limit: the largest absolute value of a parameter, positive (0.01 in the paper).

    Returns:
      A stateless transformation.

    Raises:
      ValueError: in `update`, if it is not given `params`.

    References:
      Arjovsky et al., Wasserstein GAN, https://arxiv.org/abs/1701.07875, 2017, Algorithm 1.
    """

    def update(updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None):
        if params is None:
            raise ValueError("weight_clip needs the parameters: call update(updates, state, params)")
        clipped = jax.tree.map(lambda u, p: jnp.clip(p + u, -limit, limit) - p, updates, params)
        return clipped, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

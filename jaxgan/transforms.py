"""Gradient transformations that adversarial training needs and optax does not have."""

import jax
import jax.numpy as jnp
import optax

from jaxgan.penalties import orthogonality


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


def add_orthogonality(weight: float, *, diagonal: bool = True) -> optax.GradientTransformation:
    """Orthogonal regularisation of a player's kernels, as `optax.add_decayed_weights` is decay.

    `updates + weight * grad(orthogonality(params))`: before Adam in a chain it is the gradient of the loss with the
    penalty; after it, the decoupled form.

        optax.chain(add_orthogonality(1e-4, diagonal=False), optax.adam(2e-4))

    Args:
      weight: of the penalty (1e-4 in BigGAN, without the diagonal).
      diagonal: see `penalties.orthogonality`.

    Returns:
      A stateless transformation.

    Raises:
      ValueError: in `update`, if it is not given `params`.

    References:
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis,
      https://arxiv.org/abs/1809.11096, 2019, Eq. 3.
    """

    def update(updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None):
        if params is None:
            raise ValueError("add_orthogonality needs the parameters: call update(updates, state, params)")
        slopes = jax.grad(lambda params: orthogonality(params, diagonal=diagonal))(params)
        return jax.tree.map(lambda u, slope: u + weight * slope, updates, slopes), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

"""Self-attention between the pixels of a feature map."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.dense import Dense


class SelfAttention(nn.Module):
    """Adds to each pixel a mixture of all pixels, weighted by likeness: `[B,H,W,C] -> [B,H,W,C]`.

    `y_j = x_j + gamma W_v sum_i beta_ji W_h x_i`, where `beta_ji` is the softmax over i of `(W_f x_i) . (W_g x_j)`:
    pixel j asks with g, is answered by f, and takes h. Gamma is learned and starts at 0, so the layer starts as the
    identity. Memory and time grow with the square of `H W`. This is the paper's layer; the authors' code, and those
    that follow it (BigGAN, mimicry), give h half the channels and take f and h after a max pooling of 2 x 2 pixels.

    Attributes:
      reduction: channels of the feature map to each of f, g and h.

    References:
      Zhang et al., Self-attention generative adversarial networks, https://arxiv.org/abs/1805.08318, 2019, Eq. 1-4.
    """

    reduction: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        wide = jnp.promote_types(x.dtype, jnp.float32)

        def linear(features, name, x):
            return Dense(features, use_bias=False, kernel_init=nn.initializers.glorot_uniform(), name=name)(x)

        pixels = x.reshape(x.shape[0], -1, channels)
        f, g, h = (linear(channels // self.reduction, name, pixels) for name in "fgh")
        weights = nn.softmax(jnp.einsum("bjc,bic->bji", g, f).astype(wide), axis=-1).astype(x.dtype)
        mixed = linear(channels, "v", jnp.einsum("bji,bic->bjc", weights, h)).reshape(x.shape)
        gamma = self.param("gamma", nn.initializers.zeros, ())
        # Gamma's gradient is a sum over everything: in float32.
        return (x.astype(wide) + gamma.astype(wide) * mixed.astype(wide)).astype(x.dtype)

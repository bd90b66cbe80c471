"""Bidirectional GANs: a generator and an encoder against a discriminator of pairs of samples and latents.

Data `x` have a latent `E(x)`, latents z a sample `G(z)`; the discriminator tells `(x, E(x))` from `(G(z), z)`. Both
together play the generator's part, of a game with

    latent=lambda key, batch: {"z": normal_latents(n)(key, batch), "x": batch["x"]},
    sides=lambda batch, made: (made["real"], made["fake"]),
    shown=lambda made: made["fake"]["x"],

and `losses.exchanged`, since they make a part of what is real. Where nobody can tell the pairs apart, G and E are
each other's inverse.

References:
  Donahue et al., Adversarial Feature Learning, https://arxiv.org/abs/1605.09782, 2017, Section 3.
  Dumoulin et al., Adversarially Learned Inference, https://arxiv.org/abs/1606.00704, 2017.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense
from jaxgan.networks import mlp


class Generator(nn.Module):
    """`{"z": [B, n], "x": [B, *shape]}` to `{"real": {"x", "z": E(x)}, "fake": {"x": G(z), "z"}}`.

    Multilayer perceptrons of the sizes of the first paper's on MNIST, without its batch normalisation; samples end in
    tanh.

    Attributes:
      widths: sizes of the hidden layers of G, and, backwards, of E.
    """

    widths: tuple[int, ...] = (1024, 1024)

    @nn.compact
    def __call__(self, latents: Any) -> Any:
        z, x = latents["z"], latents["x"]
        shape = x.shape[1:]
        encoder = mlp.Generator((z.shape[-1],), self.widths[::-1], nn.leaky_relu, name="encoder")
        generator = mlp.Generator(shape, self.widths, nn.relu, jnp.tanh, name="generator")
        return {"real": {"x": x, "z": encoder(x.reshape(x.shape[0], -1))}, "fake": {"x": generator(z), "z": z}}


class Discriminator(nn.Module):
    """Pairs `{"x": [B, ...], "z": [B, n]}` to logits `[B]`.

    Attributes:
      widths: sizes of the hidden layers.
    """

    widths: tuple[int, ...] = (1024, 1024)

    @nn.compact
    def __call__(self, pair: Any) -> jax.Array:
        x = jnp.concatenate([pair["x"].reshape(pair["x"].shape[0], -1), pair["z"]], axis=-1)
        for width in self.widths:
            x = nn.leaky_relu(Dense(width)(x))
        return Dense(1)(x)[:, 0]

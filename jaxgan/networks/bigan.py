"""Bidirectional GANs: a generator and an encoder against a discriminator of pairs of samples and latents.

Data `x` have a latent `E(x)`, latents z a sample `G(z)`; the discriminator tells `(x, E(x))` from `(G(z), z)`. Both
together play the generator's part, of a game with

    latent=lambda key, batch: {"z": uniform_latents(n)(key, batch), "x": batch["x"]},
    sides=lambda batch, made: (made["real"], made["fake"]),
    shown=lambda made: made["fake"]["x"],

and `losses.exchanged`, since they make a part of what is real. Where nobody can tell the pairs apart, G and E are
each other's inverse.

References:
  Donahue et al., Adversarial Feature Learning, https://arxiv.org/abs/1605.09782, 2017, Section 3.
  Dumoulin et al., Adversarially Learned Inference, https://arxiv.org/abs/1606.00704, 2017.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense

SLOPE = 0.2
"""Of leaky ReLUs below zero."""


class Generator(nn.Module):
    """`{"z": [B, n], "x": [B, *shape]}` to `{"real": {"x", "z": E(x)}, "fake": {"x": G(z), "z"}}`.

    Multilayer perceptrons as those of the first paper's authors on MNIST: batch normalisation without scales and shifts
    after each hidden layer but E's first, ReLU in G, leaky ReLU in E. Both end in tanh (E in tanh(a / 2), which is the
    authors' sigmoid, from -1 to 1): latents are to be uniform. Theirs also give z to G's second layer, and start from
    kernels of a standard deviation of 0.02.

    Attributes:
      widths: sizes of the hidden layers of G, and, backwards, of E.
      axis_name: mapped axis over which batch statistics are taken together (`pmap`).
    """

    widths: tuple[int, ...] = (1024, 1024)
    axis_name: str | None = None

    @nn.compact
    def __call__(self, latents: Any, train: bool = False) -> Any:
        z, x = latents["z"], latents["x"]
        shape = x.shape[1:]
        encoder = Perceptron(self.widths[::-1], z.shape[-1], SLOPE, True, self.axis_name, name="encoder")
        generator = Perceptron(self.widths, math.prod(shape), 0.0, False, self.axis_name, name="generator")
        code = jnp.tanh(0.5 * encoder(x.reshape(x.shape[0], -1), train))
        return {"real": {"x": x, "z": code}, "fake": {"x": jnp.tanh(generator(z, train)).reshape(-1, *shape), "z": z}}


class Perceptron(nn.Module):
    """`[B, n] -> [B, size]`, hidden layers normalised over the batch, and a linear one.

    Attributes:
      widths: sizes of the hidden layers.
      size: of the output.
      slope: of their leaky ReLUs below zero.
      bare: whether the first hidden layer is not normalised.
      axis_name: as of `Generator`.
    """

    widths: tuple[int, ...]
    size: int
    slope: float
    bare: bool
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for i, width in enumerate(self.widths):
            bare = self.bare and i == 0
            x = Dense(width, use_bias=bare)(x)
            if not bare:
                x = nn.BatchNorm(not train, momentum=0.99, use_scale=False, use_bias=False, axis_name=self.axis_name)(x)
            x = nn.leaky_relu(x, self.slope)
        return Dense(self.size)(x)


class Discriminator(nn.Module):
    """Pairs `{"x": [B, ...], "z": [B, n]}` to logits `[B]`: z joins after the first hidden layer.

    Without batch normalisation, so every pair is judged by itself, as gradient penalties need; the first paper's
    authors normalise the second hidden layer.

    Attributes:
      widths: sizes of the hidden layers.
    """

    widths: tuple[int, ...] = (1024, 1024)

    @nn.compact
    def __call__(self, pair: Any) -> jax.Array:
        x = pair["x"].reshape(pair["x"].shape[0], -1)
        for i, width in enumerate(self.widths):
            x = nn.leaky_relu(Dense(width)(x), SLOPE)
            if i == 0:
                x = jnp.concatenate([x, pair["z"].astype(x.dtype)], axis=-1)
        return Dense(1)(x)[:, 0]

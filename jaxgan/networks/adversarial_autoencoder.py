"""Adversarial autoencoders: an autoencoder whose codes a discriminator compares with a prior's.

The generator's part is the autoencoder's, its samples are codes: the discriminator tells the prior's draws z (real)
from the codes `E(x)` of data (fake), and the generator's penalty is the error of reconstruction. A game with

    latent=lambda key, batch: {"z": normal_latents(n)(key, batch), "x": batch["x"]},
    sides=lambda batch, made: (made["prior"], made["code"]),
    shown=lambda made: made["sample"].

References:
  Makhzani et al., Adversarial Autoencoders, https://arxiv.org/abs/1511.05644, 2015, Section 2 and Appendix A.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.networks import mlp

Discriminator = mlp.Discriminator


class Generator(nn.Module):
    """`{"z": [B, n], "x": [B, *shape]}` to the prior's draw, code, reconstruction and sample of each.

    `{"prior": z, "code": E(x), "reconstruction": G(E(x)), "sample": G(z)}`, with a deterministic encoder E and a
    decoder G that ends in tanh; both are multilayer perceptrons.

    Attributes:
      widths: sizes of the hidden layers of the decoder, and, backwards, of the encoder.
    """

    widths: tuple[int, ...] = (1000, 1000)

    @nn.compact
    def __call__(self, latents: Any) -> Any:
        z, x = latents["z"], latents["x"]
        encoder = mlp.Generator((z.shape[-1],), self.widths[::-1], name="encoder")
        decoder = mlp.Generator(x.shape[1:], self.widths, nn.relu, jnp.tanh, name="decoder")
        code = encoder(x.reshape(x.shape[0], -1))
        # One pass of the decoder for both.
        reconstruction, sample = jnp.split(decoder(jnp.concatenate([code, z.astype(code.dtype)])), 2)
        return {"prior": z, "code": code, "reconstruction": reconstruction, "sample": sample}

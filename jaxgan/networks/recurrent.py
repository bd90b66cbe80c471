"""Recurrent GANs: sequences made frame by frame and judged from both ends, by long short-term memories (LSTMs).

A sequence is `[B, T, *frame]`: events with some numbers each, tokens, or the rows of an image `[B, H, W, C]`. Latents
are `[B, T, n]`: a draw for each frame, as in C-RNN-GAN,

    latent=normal_latents(T, n),

or one that all frames of an example share,

    latent=lambda key, batch: jnp.repeat(normal_latents(1, n)(key, batch), T, axis=1).

Samples are functions of them, and as long as they are.

The networks are C-RNN-GAN's: two layers of 350, the frame before beside a frame's latents, a discriminator of two
directions, the mean of its outputs over frames. But its latents are from U(0, 1), and in its code the frame before the
first is drawn too (zero here) and a ReLU layer precedes the generator's first LSTM; its discriminator's directions meet
after the last layer alone (after each here); it averages probabilities (logits here). Its training is not here:
descent with weight decay, a generator first taught to predict the next event and then to match the discriminator's
features, and a discriminator that waits while it leads.

References:
  Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9 (8), 1997.
  Mogren, C-RNN-GAN: Continuous recurrent neural networks with adversarial training, https://arxiv.org/abs/1611.09904,
  2016, and its code, https://github.com/olofmogren/c-rnn-gan.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense

FORGET = 1.0
"""Added to the forget gates, so that a cell remembers at first; as in C-RNN-GAN's code."""


class Generator(nn.Module):
    """Latents `[B, T, n]` to sequences `[B, T, *frame]`: layers of LSTMs, and a dense layer to each frame.

    The first layer sees the frame's latents and the frame before, zero at first, so a frame depends on its own latents
    and on those before.

    Attributes:
      frame: shape of a frame.
      widths: size of each layer.
      output: applied to each frame, `[B, *frame]`, e.g. `jax.numpy.tanh` for images in [-1, 1]; None leaves it as is.
    """

    frame: tuple[int, ...]
    widths: tuple[int, ...] = (350, 350)
    output: Callable | None = None

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        if z.ndim != 3:
            raise ValueError(f"expected latents [B, T, n], some for each frame, got an array of shape {z.shape}")
        batch, length, latents = z.shape
        size = math.prod(self.frame)
        inputs = (latents + size, *self.widths[:-1])
        layers = [Kernels(width)(below) for width, below in zip(self.widths, inputs, strict=True)]
        last = self.param("kernel", nn.initializers.lecun_normal(), (self.widths[-1], size))
        bias = self.param("bias", nn.initializers.zeros, (size,))
        z, _ = nn.dtypes.promote_dtype(z, last)  # as Flax's own layers do
        layers, last, bias = _widened((layers, last, bias))

        def step(carry, z):
            states, x = carry
            x = jnp.concatenate([z, x], axis=-1)
            moved = []
            for kernels, state in zip(layers, states, strict=True):
                moved.append(_step(kernels, state, x))
                _, x = moved[-1]
            x = ((x @ last.astype(x.dtype)).astype(bias.dtype) + bias[None]).astype(x.dtype)
            if self.output is not None:
                x = self.output(x.reshape(batch, *self.frame)).reshape(batch, size)
            return (moved, x), x

        start = [_start(batch, width, z.dtype) for width in self.widths], jnp.zeros((batch, size), z.dtype)
        _, frames = jax.lax.scan(step, start, jnp.swapaxes(z, 0, 1))
        return jnp.swapaxes(frames, 0, 1).reshape(batch, length, *self.frame)


class Discriminator(nn.Module):
    """Sequences `[B, T, *frame]` to logits `[B]`, the means of a logit for each frame.

    Layers of two LSTMs each, one from the first frame on and one from the last back, whose outputs are joined; one
    dense layer, the same for all frames.

    Attributes:
      widths: size of each layer, in each direction.
    """

    widths: tuple[int, ...] = (350, 350)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x.reshape(*x.shape[:2], -1), 0, 1)
        for width in self.widths:
            both = [_recur(Kernels(width)(x.shape[-1]), x, reverse) for reverse in (False, True)]
            x = jnp.concatenate(both, axis=-1)
        return jnp.mean(Dense(1)(x)[..., 0], axis=0)


class Kernels(nn.Module):
    """What one LSTM learns, for `_step`, which takes it into a loop.

    Attributes:
      width: size of its state.
    """

    width: int

    @nn.compact
    def __call__(self, inputs: int) -> dict[str, jax.Array]:
        gates = 4 * self.width
        return {
            "input": self.param("input", nn.initializers.lecun_normal(), (inputs, gates)),
            "recurrent": self.param("recurrent", nn.initializers.orthogonal(), (self.width, gates)),
            "bias": self.param("bias", nn.initializers.zeros, (gates,)),
        }


def _recur(kernels: dict[str, jax.Array], x: jax.Array, reverse: bool) -> jax.Array:
    """`[T, B, n] -> [T, B, width]`, an LSTM's outputs from the first frame on, or from the last back."""
    x, _ = nn.dtypes.promote_dtype(x, kernels["input"])
    kernels = _widened(kernels)

    def step(state, x):
        state = _step(kernels, state, x)
        return state, state[1]

    start = _start(x.shape[1], kernels["recurrent"].shape[0], x.dtype)
    return jax.lax.scan(step, start, x, reverse=reverse)[1]


def _step(
    kernels: dict[str, jax.Array], state: tuple[jax.Array, jax.Array], x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """An LSTM's state `(c, h)` after one more input: `c' = s(f + 1) c + s(i) tanh(g)`, `h' = s(o) tanh(c')`.

    `(i, f, g, o) = W x + U h + b`, and s is the sigmoid. Products are in the dtype of x, all else in float32 at least.
    """
    c, h = state
    # W x of all frames at once, before the loop, is slower on a CPU: a gradient penalty's gradient took twice the time.
    y = x @ kernels["input"].astype(x.dtype) + h @ kernels["recurrent"].astype(x.dtype)
    c, h = _gate(c, y.astype(c.dtype) + kernels["bias"][None])
    return c, h.astype(x.dtype)


# Computed once more in the backward pass rather than kept: a gradient penalty's gradient takes a quarter less time on a
# CPU, whose memory is slow.
@functools.partial(jax.checkpoint, prevent_cse=False)
def _gate(c: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = nn.sigmoid(f + FORGET) * c + nn.sigmoid(i) * jnp.tanh(g)
    return c, nn.sigmoid(o) * jnp.tanh(c)


def _start(batch: int, width: int, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """An LSTM's first state, zero."""
    return jnp.zeros((batch, width), jnp.promote_types(dtype, jnp.float32)), jnp.zeros((batch, width), dtype)


def _widened(tree: Any) -> Any:
    """Parameters as a loop takes them: their gradients are sums over its steps, taken in the dtype they come in."""
    return jax.tree.map(lambda v: v.astype(jnp.promote_types(v.dtype, jnp.float32)), tree)

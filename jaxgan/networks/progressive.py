"""Progressive growing: both players begin with small images, and layers for twice the size fade in one after another.

All parameters are there from the start, and which of them act is a function of the step: a growth is no event in a run.
Layers that do not act yet have gradients of exactly zero, which leave them as they are under Adam. Images are of full
size throughout: what a stage makes is enlarged, what it judges is averaged down to its size.

Only the layers of the stage are computed, though memory is set aside for all of them. Members of a population that are
mapped over with their steps (`lift.population`) compute all stages.

Adam counts on while a layer waits, so that its second moments, zero until then, are taken for known: with `b2 = 0.99`
the first moves of a new layer are ten learning rates long, which takes a few hundred steps to pass, while its weight is
small. The authors' code starts the optimisers anew when a stage begins to fade in and when it has.

References:
  Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
  https://arxiv.org/abs/1710.10196, 2018, Section 2, and Table 2 for the layers.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import (
    EqualisedConv,
    EqualisedDense,
    EqualisedEnlargedConv,
    EqualisedHalvedConv,
    MinibatchStddev,
    add_bias,
    enlarge,
    pixel_norm,
)

GAIN = math.sqrt(2.0)
"""Gain of the layers that a leaky ReLU follows."""
FEATURES = (512, 512, 512, 512, 256, 128, 64, 32, 16)
"""Channels of Table 2, for 4 to 1,024 pixels."""
STAGE_STEPS = 50_000
"""The paper's 800,000 images, in batches of 16."""


def stage_at(step: Any, stages: int, stage_steps: int) -> tuple[Any, Any]:
    """The stage that a step belongs to, and how far its layers have faded in.

    Stage 0 is trained alone for `stage_steps` steps. Then each stage fades in over as many, and is trained for as many.

    Args:
      step: int32 scalar, or None for the finished network.
      stages: how many there are.
      stage_steps: steps of fading in, and of training each stage once it has.

    Returns:
      The stage, from 0 to `stages - 1`, and the weight of its own path, from 0 to 1; numbers of Python for None.
    """
    if step is None:
        return stages - 1, 1.0
    phase = step // stage_steps  # 0: stage 0; 1: stage 1 fades in; 2: stage 1; 3: stage 2 fades in; ...
    fading = (phase % 2 == 1) & (phase < 2 * (stages - 1))
    alpha = jnp.where(fading, (step % stage_steps) / stage_steps, 1.0)
    return jnp.minimum((phase + 1) // 2, stages - 1), alpha.astype(jnp.float32)


def images_at(step: Any, images: jax.Array, stages: int, stage_steps: int) -> jax.Array:
    """Real images as the paper shows them to the discriminator at a step, in full size.

    They have the detail of the stage's size, and while it fades in, `alpha x + (1 - alpha) x'` with `x'` of half that
    size, like the generator's images. A discriminator alone averages real images down, but cannot fade them: it would
    fade the generator's a second time.

    Args:
      step: as of `stage_at`, like `stages` and `stage_steps`.
      images: `[B, side, side, C]`, the side a multiple of `2**(stages - 1)`.
      stages: how many there are.
      stage_steps: steps of each.

    Returns:
      Images, same shape and dtype.
    """
    stage, alpha = stage_at(step, stages, stage_steps)

    def lower(s: int) -> Callable:
        block = 2 ** (stages - 1 - s)

        def apply(x, alpha):
            y = _averaged(x, block)
            if s > 0:
                y = _mix(alpha, y, enlarge(_averaged(y, 2), 2))
            return enlarge(y, block)

        return apply

    return jax.lax.switch(stage, [lower(s) for s in range(stages)], images, alpha)


class Generator(nn.Module):
    """Latents `[B, n]` to images `[B, side, side, channels]`, not bounded, `side = start * 2**(len(features) - 1)`.

    Latents and all feature maps are normalised pixel by pixel. Each stage has two 3x3 convolutions, of which the first
    enlarges, and one to an image of its own.

    Attributes:
      channels: 1 (grey) or 3 (RGB).
      start: side of the first stage's images, pixels.
      features: channels of the feature maps, one for each stage.
      stage_steps: steps over which a stage fades in, and steps that it is then trained for; see `stage_at`.
    """

    channels: int = 3
    start: int = 4
    features: tuple[int, ...] = FEATURES
    stage_steps: int = STAGE_STEPS

    def setup(self):
        # The fan-in is that of the paper's first layer, a transposed convolution of `start x start` taps.
        self.dense = EqualisedDense(self.start**2 * self.features[0], use_bias=False, gain=GAIN / self.start)
        self.bias = self.param("bias", nn.initializers.zeros, (self.features[0],))
        self.enlarge = [EqualisedEnlargedConv(features, 3, gain=GAIN) for features in self.features[1:]]
        self.refine = [EqualisedConv(features, 3, gain=GAIN) for features in self.features]
        self.to_image = [EqualisedConv(self.channels, 1) for _ in self.features]

    def __call__(self, z: jax.Array, step: jax.Array | None = None) -> jax.Array:
        x = self.dense(pixel_norm(z)).reshape(-1, self.start, self.start, self.features[0])
        x = pixel_norm(_activated(add_bias(x, self.bias)))
        x = pixel_norm(_activated(self.refine[0](x)))
        return self._images(0, None, x, stage_at(step, len(self.features), self.stage_steps))

    def _images(self, s: int, smaller: jax.Array | None, x: jax.Array, now: tuple) -> jax.Array:
        """Images at `now`, a stage, not before s, and its weight, from the feature maps of s and of the one before."""
        last = len(self.features) - 1

        def show(self, smaller, x, now):
            image = self.to_image[s](x)
            if s > 0:
                image = _mix(now[1], image, enlarge(self.to_image[s - 1](smaller), 2))
            return enlarge(image, 2 ** (last - s))

        def grow(self, smaller, x, now):
            y = pixel_norm(_activated(self.enlarge[s](x)))
            y = pixel_norm(_activated(self.refine[s + 1](y)))
            return self._images(s + 1, x, y, now)

        return _either(s < last, s < now[0], grow, show, self, smaller, x, now)


class Discriminator(nn.Module):
    """Images `[B, side, side, C]` to logits `[B]`, the side a multiple of `2**(len(features) - 1)`.

    The generator's mirror image, without normalisation: a 1x1 convolution from the image, then two 3x3 convolutions for
    each stage, of which the second halves. At the end one more channel with the spread of a group of examples
    (`MinibatchStddev`), a convolution and two dense layers.

    Attributes:
      features: channels of the feature maps, one for each stage, smallest images first.
      stage_steps: as of the generator.
      group_size: examples whose spread is taken; with 1 each is judged by itself.
    """

    features: tuple[int, ...] = FEATURES
    stage_steps: int = STAGE_STEPS
    group_size: int = 4

    def setup(self):
        self.from_image = [EqualisedConv(features, 1, gain=GAIN) for features in self.features]
        self.refine = [EqualisedConv(features, 3, gain=GAIN) for features in self.features]
        self.halve = [EqualisedHalvedConv(features, 3, gain=GAIN) for features in self.features[:-1]]
        self.spread = MinibatchStddev(self.group_size)
        self.hidden = EqualisedDense(self.features[0], gain=GAIN)
        self.logit = EqualisedDense(1)

    def __call__(self, x: jax.Array, step: jax.Array | None = None) -> jax.Array:
        block = 2 ** (len(self.features) - 1)
        if x.shape[1] % block or x.shape[2] % block:
            raise ValueError(
                f"expected images of a side that is a multiple of {block}, got {x.shape[1]} x {x.shape[2]}"
            )
        x = self._features(0, x, stage_at(step, len(self.features), self.stage_steps))
        x = _activated(self.refine[0](self.spread(x)))
        x = _activated(self.hidden(x.reshape(x.shape[0], -1)))
        return self.logit(x)[:, 0]

    def _features(self, s: int, x: jax.Array, now: tuple) -> jax.Array:
        """Feature maps of the size of stage s, at `now`: a stage, not before s, and its weight."""
        last = len(self.features) - 1

        def enter(self, x, now):
            return _activated(self.from_image[s](_averaged(x, 2 ** (last - s))))

        def shrink(self, x, now):
            stage, alpha = now
            y = _activated(self.refine[s + 1](self._features(s + 1, x, now)))
            y = _activated(self.halve[s](y))
            return _mix(jnp.where(stage == s + 1, alpha, 1.0), y, enter(self, x, now))

        return _either(s < last, s < now[0], shrink, enter, self, x, now)


def _either(possible: bool, pred: Any, yes: Callable, no: Callable, module: nn.Module, *operands: Any) -> jax.Array:
    """`yes(module, *operands)` where it is possible and `pred` holds, else `no`; only that one is computed."""
    if not possible:
        return no(module, *operands)
    if module.is_initializing():  # both, so that every layer gets its parameters
        no(module, *operands)
        return yes(module, *operands)
    if isinstance(pred, bool):
        return (yes if pred else no)(module, *operands)
    return nn.cond(pred, yes, no, module, *operands)


def _activated(x: jax.Array) -> jax.Array:
    return nn.leaky_relu(x, 0.2)


def _mix(weight: Any, new: jax.Array, old: jax.Array) -> jax.Array:
    """`weight new + (1 - weight) old`, exactly one of them at 1 and at 0."""
    weight = jnp.asarray(weight, new.dtype)
    return weight * new + (1 - weight) * old


def _averaged(x: jax.Array, block: int) -> jax.Array:
    """Means of squares of `block x block` pixels."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // block, block, width // block, block, channels).mean((2, 4))

"""Adaptive strength: as much augmentation as keeps the discriminator from overfitting."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.augment.ada import ada
from jaxgan.errors import InputError

PyTree = Any


class Adaptation(NamedTuple):
    """What an adaptive strength remembers, float32 scalars, from one update of the discriminator to the next.

    Attributes:
      strength: p, as of the last move.
      signs: sum over the batches since then of the mean sign of the logits of data.
      batches: their number.
    """

    strength: jax.Array
    signs: jax.Array
    batches: jax.Array


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """`ada` with a strength that follows `r = E[sign(D(x))]` over data, which tends to 1 as D overfits.

    After every fourth batch p moves by `batch_size * every / images`: up where r is above the target, else down; never
    below 0 or above 1. Logits must be positive for what D takes to be data and negative for samples: take
    `loss.boundary` off them where it is not 0; where there is none (critics, relativistic losses), r says nothing.

    A batch's own part in the memory, its mean sign, is added to it as it is, and p moves by what was remembered before:
    memories of devices or microbatches that started from the same one may be averaged, and are then what one device
    would have of the whole batch.

        adaptive = Adaptive(batch_size)
        memory = adaptive.init()
        for step in range(steps):
            x = adaptive.apply(memory, key, step, x)          # of data and samples, as often as is needed
            memory = adaptive.update(memory, step, logits)    # once for each batch of data

    A strength that does not move is no state: `lambda key, step, x: ada(key, 0.3, x)`.

    Attributes:
      batch_size: examples of data in a batch, over all devices and microbatches.
      target: of r.
      every: batches from move to move.
      images: how many images of data take p from 0 to 1.

    Raises:
      InputError: a number that must be at least 1 is not.

    References:
      Karras et al., Training Generative Adversarial Networks with Limited Data, https://arxiv.org/abs/2006.06676, 2020,
      Section 3.
    """

    batch_size: int
    target: float = 0.6
    every: int = 4
    images: int = 500_000

    def __post_init__(self):
        for name in ("batch_size", "every", "images"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: expected at least 1")

    def init(self) -> Adaptation:
        """The memory before the first batch: no augmentation."""
        return Adaptation(*(jnp.zeros((), jnp.float32) for _ in Adaptation._fields))

    def strength(self, memory: Adaptation) -> jax.Array:
        """The strength to apply now: the remembered one, moved if enough batches have been measured."""
        r = memory.signs / jnp.maximum(memory.batches, 1.0)
        move = jnp.sign(r - self.target) * (self.batch_size * self.every / self.images)
        return jnp.where(self._is_due(memory), jnp.clip(memory.strength + move, 0.0, 1.0), memory.strength)

    def apply(self, memory: Adaptation, key: jax.Array, step: jax.Array, x: jax.Array) -> jax.Array:
        """Images, augmented with the strength of now; see `ada`."""
        return ada(key, self.strength(memory), x)

    def update(self, memory: Adaptation, step: jax.Array, real_logits: PyTree) -> Adaptation:
        """The memory after a batch of data.

        Args:
          memory: before.
          step: not read.
          real_logits: of this batch, augmented; of a pytree every leaf counts alike.

        Returns:
          The memory after; the mean over devices, or over microbatches, is that of the whole batch.
        """
        leaves = [jnp.mean(jnp.sign(v.astype(jnp.float32))) for v in jax.tree.leaves(real_logits)]
        signs, batches = (jnp.where(self._is_due(memory), 0.0, v) for v in (memory.signs, memory.batches))
        return Adaptation(self.strength(memory), signs + sum(leaves) / len(leaves), batches + 1.0)

    def _is_due(self, memory: Adaptation) -> jax.Array:
        return memory.batches >= self.every
